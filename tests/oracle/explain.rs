//! Why a schedule in which nothing goes wrong may be refused: the list of what is allowed to be.
//!
//! A proof may be stricter than the judge where a schedule says what cannot be meant, or what only happens to do no harm.
//! Every finding of every failed proof must be on the list, or the refusal is counted as unexplained and looked at.
//!
//! | finding | why it is refused though nothing goes wrong |
//! | --- | --- |
//! | a notify that nobody waits for | the wait for it was forgotten, and it would count in the next launch |
//! | a wait for some of the notifies of several lanes | which of them is not known; nothing can be derived from it |
//! | a wait for none | it is none |
//! | an instruction without destination, or a length of nothing | it does nothing |
//! | a destination that is named twice | executors write it twice, at once |
//! | a zeroing of signals | the host's work, and never a lane's |
//! | a longer chunk in a place that may be shorter | it is cut there, whatever is made of it later |

use wgccl::proof::{Proof, Report, Verdict};

/// Texts of findings, and what each is called in the summary.
const ALLOWED: [(Proof, &str, &str); 8] = [
    (Proof::Structure, "but nobody waits for it", "a notify that nobody waits for"),
    (Proof::Structure, "it cannot know which", "a wait for some notifies of several lanes"),
    (Proof::Structure, "which is no wait", "a wait for none"),
    (Proof::Structure, "has no destination", "an instruction without destination"),
    (Proof::Structure, "but moves nothing", "a length of nothing"),
    (Proof::Structure, "has overlapping destinations", "a destination twice"),
    (Proof::Structure, "zeroes signals inside the launch", "a zeroing of signals"),
    (Proof::Result, "would cut it", "a chunk in a place that may be shorter"),
];

/// What else follows from a wait that orders nothing, or from a zeroing.
const FOLLOWS: [(Proof, &str); 4] = [
    (Proof::RaceFree, "not ordered with"),
    (Proof::RaceFree, "may erase"),
    (Proof::Result, "can leave the barrier before"),
    (Proof::Initialised, "holds nothing that anybody wrote"),
];

/// The first reason on the list.
///
/// # Errors
/// The first finding that is not on it.
pub(crate) fn explained(report: &Report) -> Result<&'static str, String> {
    let failed = || report.proofs.iter().filter(|o| o.verdict == Verdict::Fails && !o.proof.is_information());
    let findings = failed().flat_map(|outcome| outcome.findings.iter().map(move |finding| (outcome.proof, finding)));
    let mut reason = None;
    for (proof, finding) in findings {
        let allowed = ALLOWED.iter().find(|(of, text, _)| *of == proof && finding.message.contains(text));
        let orders_nothing = |reason: &str| reason == ALLOWED[1].2 || reason == ALLOWED[6].2;
        match (allowed, reason) {
            (Some((.., why)), _) => reason = reason.or(Some(*why)),
            (None, Some(why))
                if orders_nothing(why)
                    && FOLLOWS.iter().any(|(of, text)| *of == proof && finding.message.contains(text)) => {}
            (None, _) => return Err(format!("{proof}: {finding}")),
        }
    }
    reason.ok_or_else(|| "refused without a finding".to_owned())
}
