//! One case from its seed: a schedule, what is done with it, and what is wrong if anything is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wgccl::collective::{Collective, Task};
use wgccl::cpu::Cpu;
use wgccl::proof::{Options, Proof, Report, Verdict, check, prove};
use wgccl::schedule::{Algorithm, MAX_RANKS, Schedule, SyncStyle, build};

use super::explain::explained;
use super::grow::grown;
use super::judge::{Judge, Right, Wrong};
use super::launch::{Device, Differs, Launch, Launched};
use super::mutate::mutate;
use super::promise::{Places, Promise};
use super::random::Random;
use super::shrink::shrunk;
use super::tally::Tally;
use super::wild::wild;

/// Where a schedule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// By construction.
    Right,
    /// By a few edits of such a one, or of one of the library's.
    Mutant,
    /// Tiny, and wholly at random.
    Wild,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Right => "right",
            Self::Mutant => "mutants",
            Self::Wild => "random",
        })
    }
}

/// A schedule from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) schedule: Schedule,
    pub(crate) in_place: bool,
}

impl Case {
    pub(crate) fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed, 1);
        let kind = *random.pick(&[Kind::Right, Kind::Right, Kind::Mutant, Kind::Mutant, Kind::Mutant, Kind::Wild]);
        let (mut schedule, mut in_place) = match kind {
            Kind::Right => grown(random, 8),
            Kind::Mutant if random.percent(20) => built(random).unwrap_or_else(|| grown(random, 5)),
            Kind::Mutant => grown(random, 5),
            Kind::Wild => wild(random),
        };
        if kind == Kind::Mutant {
            mutate(random, &mut schedule, &mut in_place);
        }
        Self { seed, kind, schedule, in_place }
    }
}

/// One of the library's own schedules, as a value: its rounds are deeper than what grows here.
fn built(random: &mut Random) -> Option<(Schedule, bool)> {
    let collective = *random.pick(Collective::ALL);
    let algorithm = *random.pick(&Algorithm::of(collective));
    let ranks = random.between(2, 5);
    let task = Task::from(collective).root(if collective.has_root() { random.below(ranks) } else { 0 });
    let in_place = random.percent(50) && Promise::new(&task, ranks).in_place(0).is_some();
    Some((build(task, algorithm, ranks, *random.pick(SyncStyle::ALL)).ok()?, in_place))
}

/// What is done with every schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Interleavings of each.
    pub(crate) interleavings: u32,
    /// Types and counts that an accepted one is launched with on the CPU, and launches of each.
    pub(crate) shapes: u32,
    pub(crate) launches: u32,
    /// Of a hundred accepted ones, how many are launched on a GPU, and how often each is.
    pub(crate) gpu_percent: u32,
    pub(crate) gpu_launches: u32,
    /// On every device by every way that is sound there, whatever has to be compiled for that.
    pub(crate) everywhere: bool,
}

/// What the cases run on.
pub(crate) struct Machines<'a> {
    pub(crate) cpu: &'a Cpu,
    pub(crate) devices: &'a [Device],
}

/// What two that must agree do not agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Matter {
    /// The proof accepts what goes wrong.
    Accepted,
    /// The proof refuses what is right by construction.
    Refused,
    /// A proof holds, or does not, against what was seen.
    Proof,
    /// Golden and evaluation.
    Golden,
    /// The CPU executor and the evaluation.
    Cpu,
    /// A device and the evaluation.
    Gpu,
    /// Something panicked.
    Panic,
}

/// A disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disagreement {
    pub(crate) matter: Matter,
    pub(crate) text: String,
}

fn disagree<T>(matter: Matter, text: impl Into<String>) -> Result<T, Disagreement> {
    Err(Disagreement { matter, text: text.into() })
}

/// A disagreement, all that brings it back, and the smallest schedule that it was seen on.
pub(crate) struct Failure {
    pub(crate) case: Case,
    pub(crate) disagreement: Disagreement,
    pub(crate) smallest: Schedule,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, disagreement, smallest } = self;
        let place = if case.in_place { "in place" } else { "out of place" };
        writeln!(f, "seed {}, {}, {place}: {:?}: {}", case.seed, case.kind, disagreement.matter, disagreement.text)?;
        write!(f, "{}", serde_json::to_string_pretty(smallest).unwrap_or_else(|error| error.to_string()))
    }
}

/// Examines the case of `seed`.
///
/// # Errors
/// Its disagreement.
pub(crate) fn examine(
    seed: u64,
    effort: Effort,
    machines: &Machines<'_>,
    tally: &mut Tally,
) -> Result<(), Box<Failure>> {
    let case = Case::new(seed);
    let Err(disagreement) = tried(&case, effort, machines, tally) else { return Ok(()) };
    let again = |schedule: &Schedule| {
        let case = Case { schedule: schedule.clone(), ..case.clone() };
        let kind = Effort { everywhere: disagreement.matter == Matter::Gpu, ..effort };
        let again = tried(&case, kind, machines, &mut Tally::default());
        again.is_err_and(|other| other.matter == disagreement.matter)
    };
    // A schedule that is right by construction is not, with anything left out.
    let tries = if disagreement.matter == Matter::Gpu { 100 } else { 3000 };
    let smallest = if disagreement.matter == Matter::Refused {
        case.schedule.clone()
    } else {
        shrunk(&case.schedule, tries, again)
    };
    Err(Box::new(Failure { case, disagreement, smallest }))
}

fn tried(case: &Case, effort: Effort, machines: &Machines<'_>, tally: &mut Tally) -> Result<(), Disagreement> {
    let run = || {
        let mut local = Tally::default();
        let result = run(case, effort, machines, &mut local);
        (result, local)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok((result, local)) => {
            tally.add(local);
            result
        }
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
            disagree(Matter::Panic, text.unwrap_or_default())
        }
    }
}

fn run(case: &Case, effort: Effort, machines: &Machines<'_>, tally: &mut Tally) -> Result<(), Disagreement> {
    let Case { kind, ref schedule, in_place, .. } = *case;
    let report = check(schedule, Options::default().in_place(in_place));
    let judged = judge(case, effort, tally);
    agree(&report, &judged)?;
    tally.schedules(kind, report.ok());
    if report.ok() {
        return match judged {
            Ok(_) => launch(case, effort, machines, tally),
            Err(wrong) => disagree(Matter::Accepted, format!("the proof accepts it, and it goes wrong: {wrong:?}")),
        };
    }
    let text = || report.failures().to_string();
    match judged {
        Err(wrong) => tally.refuted(&report, wrong),
        Ok(_) if kind == Kind::Right => return disagree(Matter::Refused, text()),
        Ok(_) => match explained(&report) {
            Ok(why) => tally.harmless(why),
            Err(finding) => tally.unexplained(case.seed, finding),
        },
    }
    Ok(())
}

/// The first thing that goes wrong in several interleavings, or how all ended.
fn judge(case: &Case, effort: Effort, tally: &mut Tally) -> Result<Right, Wrong> {
    let mut judge = Judge::new(&case.schedule, case.in_place)?;
    let random = &mut Random::new(case.seed, 2);
    let mut right = Right { identical: true, steps: 0 };
    for _ in 0..effort.interleavings {
        tally.interleavings += 1;
        right = judge.run(random)?;
        tally.steps += u64::from(right.steps);
    }
    Ok(right)
}

/// What single proofs say, against what was seen: one run decides deadlock for all of them, a race that was seen is one,
/// and where there is none there is one result.
fn agree(report: &Report, judged: &Result<Right, Wrong>) -> Result<(), Disagreement> {
    let verdict = |proof| report.outcome(proof).map_or(Verdict::NotReached, |outcome| outcome.verdict);
    let (deadlock, race) = (verdict(Proof::DeadlockFree), verdict(Proof::RaceFree));
    let refuted =
        |proof: Proof| disagree(Matter::Proof, format!("{proof} {:?}, and {judged:?} was seen", verdict(proof)));
    match judged {
        Err(Wrong::Deadlock) if deadlock == Verdict::Holds => refuted(Proof::DeadlockFree),
        Ok(_) if deadlock == Verdict::Fails => refuted(Proof::DeadlockFree),
        Err(Wrong::Race | Wrong::Erased) if race == Verdict::Holds => refuted(Proof::RaceFree),
        Err(Wrong::Result | Wrong::Early) if race == Verdict::Holds && report.holds(Proof::Result) => {
            refuted(Proof::Result)
        }
        Err(Wrong::Uninitialised) if race == Verdict::Holds && report.holds(Proof::Initialised) => {
            refuted(Proof::Initialised)
        }
        Ok(right) if report.ok() && right.identical != report.holds(Proof::BitIdentical) => {
            refuted(Proof::BitIdentical)
        }
        _ => Ok(()),
    }
}

fn launch(case: &Case, effort: Effort, machines: &Machines<'_>, tally: &mut Tally) -> Result<(), Disagreement> {
    let Case { seed, ref schedule, in_place, .. } = *case;
    if schedule.ranks > MAX_RANKS.min(64) {
        return Ok(());
    }
    let proved = match prove(schedule.clone(), Options::default().in_place(in_place)) {
        Ok(proved) => proved,
        Err(refused) => return disagree(Matter::Proof, format!("checked, and not proved: {refused}")),
    };
    let places = Places::new(schedule, in_place);
    let random = &mut Random::new(seed, 3);
    let told = |matter| {
        move |differs| match differs {
            Differs::Golden(text) => Disagreement { matter: Matter::Golden, text },
            Differs::Executor(text) => Disagreement { matter, text },
        }
    };
    for _ in 0..effort.shapes {
        let most = if random.percent(3) { 3000 } else { 60 };
        let launch = Launch::new(random, schedule, &proved, &places, in_place, most);
        let done = launch.on_cpu(random, machines.cpu, effort.launches).map_err(told(Matter::Cpu))?;
        tally.cpu(done);
    }
    let random = &mut Random::new(seed, 4);
    let is_chosen = random.percent(effort.gpu_percent);
    if machines.devices.is_empty() || !(effort.everywhere || is_chosen) {
        return Ok(());
    }
    let most = if random.percent(3) { 2000 } else { 60 };
    let launch = Launch::new(random, schedule, &proved, &places, in_place, most);
    // The first turn of every device is what it would be without the others.
    let mut on = |device: &Device, turn: usize, must: bool| -> Result<Launched, Disagreement> {
        let random = &mut Random::new(seed, 5 + turn as u64);
        let done = launch.on(random, device, effort.gpu_launches, must).map_err(told(Matter::Gpu))?;
        tally.gpu(&device.name, done);
        Ok(done)
    };
    if effort.everywhere {
        for device in machines.devices {
            for turn in 0..4 * device.ways.len() {
                on(device, turn, true)?;
            }
        }
        return Ok(());
    }
    let first = seed as usize % machines.devices.len();
    for turn in 0..machines.devices.len() {
        let device = &machines.devices[(first + turn) % machines.devices.len()];
        if !on(device, 0, false)?.put_off {
            break;
        }
    }
    Ok(())
}
