//! `wgccl lint`: what runtimes would refuse of an MSCCL file, and what it moves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use wgccl::format::msccl::Runtime;

use super::args::{FileArgs, ScheduleArgs, Subject};
use super::output::{BAD, GOOD, named, plural, print, print_json};
use crate::error::{Error, exit};

#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// A file of MSCCL XML, or - for standard input
    #[arg(value_name = "FILE")]
    path: PathBuf,
    #[command(flatten)]
    file: FileArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    ok: bool,
    name: &'a str,
    messages: u64,
    chunks: u64,
    most_sent: f64,
    least: f64,
    refused: &'a [Refusal],
    notes: &'a [String],
}

#[derive(Serialize)]
struct Refusal {
    runtime: &'static str,
    reasons: Vec<String>,
}

pub(super) fn lint(args: &LintArgs) -> Result<u8, Error> {
    let none = ScheduleArgs::default();
    let plan = Subject::File(args.path.clone()).plan(&none, &args.file)?;
    let loaded = plan.file().and_then(|loaded| loaded.msccl.as_ref());
    let Some(of) = loaded else {
        return Err(Error::Usage("this is a document of wgccl's, which no runtime reads".to_owned()));
    };
    let cost = of.algo.cost(plan.collective());
    let mut by_runtime: BTreeMap<Runtime, Vec<String>> = BTreeMap::new();
    let mut notes: Vec<String> = of.warnings.clone();
    notes.extend(of.algo.ignored.iter().map(|what| format!("{what} is passed over, as runtimes do")));
    if of.algo.copies() > 0 && of.algo.copies_are_in_place(plan.collective()) {
        notes.push("<copy> is passed over, as runtimes do; in place it moves nothing".to_owned());
    }
    for lint in of.algo.lint() {
        match lint.runtime {
            Some(runtime) => by_runtime.entry(runtime).or_default().push(lint.problem.to_string()),
            None => notes.push(lint.problem.to_string()),
        }
    }
    let refused: Vec<Refusal> =
        by_runtime.into_iter().map(|(runtime, reasons)| Refusal { runtime: runtime.name(), reasons }).collect();
    let ok = refused.is_empty() && notes.is_empty();
    if args.json {
        let (name, refused, notes) = (of.algo.name.as_str(), &refused[..], &notes[..]);
        let (messages, chunks, most_sent, least) = (cost.messages, cost.chunks, cost.most_sent, cost.least);
        print_json(&Json { ok, name, messages, chunks, most_sent, least, refused, notes })?;
        return Ok(if ok { exit::OK } else { exit::WRONG });
    }
    let mut text = format!("{} by {}: {}\n\n", plan.collective(), of.algo.name, plural(of.algo.ranks.into(), "rank"));
    text += &named(
        "moves",
        &format!(
            "{} of {}; who sends most sends {:.2} payloads, and no schedule of this collective less than {:.2}",
            plural(cost.messages, "message"),
            plural(cost.chunks, "chunk"),
            cost.most_sent,
            cost.least
        ),
    );
    const SHOWN: usize = 6;
    let listed = |name: &str, all: &[String]| {
        let mut text = String::new();
        for (i, one) in all.iter().take(SHOWN).enumerate() {
            text += &named(if i == 0 { name } else { "" }, one);
        }
        if all.len() > SHOWN {
            text += &named("", &format!("and {} more", all.len() - SHOWN));
        }
        text
    };
    text += &listed("note", &notes);
    for runtime in Runtime::ALL {
        let refusal = refused.iter().find(|refusal| refusal.runtime == runtime.name());
        text += &match refusal {
            None => format!("\n{GOOD}taken{GOOD:#}     by {}\n", runtime.name()),
            Some(refusal) => format!("\n{BAD}refused{BAD:#}   by {}\n{}", runtime.name(), listed("", &refusal.reasons)),
        };
    }
    print(text.trim_end())?;
    Ok(if ok { exit::OK } else { exit::WRONG })
}
