//! What was done and what came of it, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use wgccl::proof::{Proof, Report, Verdict};

use super::case::Kind;
use super::judge::Wrong;
use super::launch::Launched;

/// Unexplained refusals of which the seed is kept.
const KEPT: usize = 20;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Launches {
    /// Schedules, each with a type, an operation and a count.
    pub(crate) prepared: u64,
    pub(crate) launches: u64,
    pub(crate) refused: u64,
    pub(crate) put_off: u64,
    pub(crate) flushed: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Accepted and refused.
    pub(crate) of_kind: BTreeMap<Kind, [u64; 2]>,
    pub(crate) interleavings: u64,
    pub(crate) steps: u64,
    pub(crate) on_cpu: Launches,
    pub(crate) on_gpus: BTreeMap<String, Launches>,
    /// Refused by the first of these proofs, and rightly, since this was seen.
    pub(crate) refuted: BTreeMap<(String, Wrong), u64>,
    /// Refused and harmless, for a reason that is allowed.
    pub(crate) harmless: BTreeMap<&'static str, u64>,
    /// Refused and harmless, and nobody knows why: how many, and seeds and findings of some.
    pub(crate) unexplained: u64,
    pub(crate) examples: Vec<(u64, String)>,
}

impl Launches {
    fn add(&mut self, done: Launched) {
        self.prepared += u64::from(done.launches > 0);
        self.launches += done.launches;
        self.flushed += done.flushed;
        self.refused += u64::from(done.refused);
        self.put_off += u64::from(done.put_off);
    }

    fn merge(&mut self, other: Self) {
        self.prepared += other.prepared;
        self.launches += other.launches;
        self.flushed += other.flushed;
        self.refused += other.refused;
        self.put_off += other.put_off;
    }
}

impl Tally {
    pub(crate) fn schedules(&mut self, kind: Kind, accepted: bool) {
        self.of_kind.entry(kind).or_default()[usize::from(!accepted)] += 1;
    }

    pub(crate) fn refuted(&mut self, report: &Report, wrong: Wrong) {
        let failed = |proof: &Proof| report.outcome(*proof).is_some_and(|outcome| outcome.verdict == Verdict::Fails);
        let first = Proof::ALL.into_iter().filter(|proof| !proof.is_information()).find(failed);
        let first = first.map_or_else(String::new, |proof| proof.to_string());
        *self.refuted.entry((first, wrong)).or_default() += 1;
    }

    pub(crate) fn harmless(&mut self, why: &'static str) {
        *self.harmless.entry(why).or_default() += 1;
    }

    pub(crate) fn unexplained(&mut self, seed: u64, finding: String) {
        self.unexplained += 1;
        if self.examples.len() < KEPT {
            self.examples.push((seed, finding));
        }
    }

    pub(crate) fn cpu(&mut self, done: Launched) {
        self.on_cpu.add(done);
    }

    pub(crate) fn gpu(&mut self, device: &str, done: Launched) {
        self.on_gpus.entry(device.to_owned()).or_default().add(done);
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (kind, [accepted, refused]) in other.of_kind {
            let all = self.of_kind.entry(kind).or_default();
            all[0] += accepted;
            all[1] += refused;
        }
        self.interleavings += other.interleavings;
        self.steps += other.steps;
        self.on_cpu.merge(other.on_cpu);
        for (device, launches) in other.on_gpus {
            self.on_gpus.entry(device).or_default().merge(launches);
        }
        for (what, n) in other.refuted {
            *self.refuted.entry(what).or_default() += n;
        }
        for (why, n) in other.harmless {
            *self.harmless.entry(why).or_default() += n;
        }
        self.unexplained += other.unexplained;
        let room = KEPT.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }

    pub(crate) fn all(&self) -> u64 {
        self.of_kind.values().flatten().sum()
    }

    pub(crate) fn gpu_launches(&self) -> u64 {
        self.on_gpus.values().map(|launches| launches.launches).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:12} {:>12} {:>12} {:>12}", "schedules", "all", "accepted", "refused")?;
        for (kind, [accepted, refused]) in &self.of_kind {
            writeln!(f, "{kind:12} {:12} {accepted:12} {refused:12}", accepted + refused)?;
        }
        writeln!(f, "interleavings {}, of {} steps", self.interleavings, self.steps)?;
        let devices = self.on_gpus.iter().map(|(name, launches)| (name.as_str(), launches));
        for (name, all) in [("CPU", &self.on_cpu)].into_iter().chain(devices) {
            let Launches { prepared, launches, refused, put_off, flushed } = all;
            write!(f, "{name}: {launches} launches of {prepared} schedules")?;
            for (what, n) in [("refused", refused), ("put off", put_off), ("elements without subnormals", flushed)] {
                if *n > 0 {
                    write!(f, ", {n} {what}")?;
                }
            }
            writeln!(f)?;
        }
        writeln!(f, "refused by, and what goes wrong indeed:")?;
        let mut refuted = BTreeMap::<(&str, &str), u64>::new();
        for ((proof, wrong), n) in &self.refuted {
            *refuted.entry((proof, wrong.name())).or_default() += n;
        }
        for ((proof, wrong), n) in refuted {
            writeln!(f, "  {proof:14} {wrong:16} {n:12}")?;
        }
        writeln!(f, "refused, and nothing goes wrong:")?;
        for (why, n) in &self.harmless {
            writeln!(f, "  {why:44} {n:12}")?;
        }
        writeln!(f, "  {:44} {:12}", "for no reason that is known", self.unexplained)?;
        for (seed, finding) in &self.examples {
            writeln!(f, "    seed {seed}: {finding}")?;
        }
        Ok(())
    }
}
