//! `wgccl lint`: what runtimes would refuse of an MSCCL file, what it moves, and what any schedule could do without.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use wgccl::format::msccl::Runtime;
use wgccl::proof::{self, Barriers, Hints, Redundant, prove};
use wgccl::schedule::{DeviceKind, Schedule};

use super::args::{FileArgs, ScheduleArgs, default_count, ranks_of};
use super::output::{BAD, GOOD, Ticking, how, named, plural, print, print_json};
use super::source::{Source, sources};
use crate::amount::whole;
use crate::error::{Error, exit};
use crate::file::Msccl;
use crate::plan::Plan;

/// What waits are called where they stand for nothing else.
const WAIT: &str = "wait";

/// What the spinner says.
const LOOKING: &str = "looking for what could go";

/// Where nobody says how many.
const RANKS: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// A file with a schedule, or - for standard input; a collective, or an algorithm of the all-reduce or of --collective
    #[arg(value_name = "COLLECTIVE|ALGORITHM|FILE", value_parser = sources())]
    what: Source,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    file: FileArgs,
    /// Number of ranks [default: 4]
    #[arg(short = 'P', long, alias = "nranks", value_name = "P", value_parser = whole::<u32>)]
    ranks: Option<u32>,
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
    /// None of a file that is not right.
    hints: Option<&'a Hints>,
}

/// Of a schedule that no runtime reads.
#[derive(Serialize)]
struct Own<'a> {
    ok: bool,
    name: String,
    ranks: u32,
    instructions: usize,
    hints: &'a Hints,
}

#[derive(Serialize)]
struct Refusal {
    runtime: &'static str,
    reasons: Vec<String>,
}

pub(super) fn lint(args: &LintArgs) -> Result<u8, Error> {
    let plan = args.what.plan(&args.schedule, &args.file)?;
    let ranks = ranks_of(&plan, args.ranks, RANKS)?;
    match plan.file().and_then(|loaded| loaded.msccl.as_ref().map(|of| (of, loaded.in_place))) {
        Some((of, in_place)) => of_msccl(args, &plan, of, in_place),
        None => of_own(args, &plan, ranks),
    }
}

/// A schedule of ours: what it waits for, which is all that there is to say of one that is right.
fn of_own(args: &LintArgs, plan: &Plan, ranks: u32) -> Result<u8, Error> {
    let bytes = default_count(plan) as u64 * 4;
    let spinner = Ticking::spinner(LOOKING);
    let schedule = plan.draft(ranks, bytes, DeviceKind::Cpu)?.build()?;
    let (origin, instructions) = (schedule.origin.clone(), schedule.instructions());
    let proved = prove(schedule, proof::Options::default())?;
    let hints = Hints::of(&proved, |_| true);
    drop(spinner);
    if args.json {
        print_json(&Own { ok: true, name: origin.to_string(), ranks, instructions, hints: &hints })?;
        return Ok(exit::OK);
    }
    let by = how(&origin, plan.is_auto(), plan.sync());
    let mut text = format!("{} by {by}: {}\n\n", plan.collective(), plural(ranks.into(), "rank"));
    let (signals, waits) = (plural(hints.notifies, "signal"), plural(hints.waits, "wait"));
    text +=
        &named("moves", &format!("{}; {signals} sent, {waits} for them", plural(instructions as u64, "instruction")));
    text += &hinted(&hints, (WAIT, "notifies"));
    print(text.trim_end())?;
    Ok(exit::OK)
}

/// Whose order of accesses is proved without relying on full connections, which keep nothing in order on purpose.
fn hints_of(unbounded: &Schedule, in_place: bool) -> Option<Hints> {
    let proved = prove(unbounded.clone(), proof::Options::default().in_place(in_place)).ok()?;
    // What crosses ranks is a message. A signal of a rank to itself is a dependence.
    Some(Hints::of(&proved, |signal| signal.rank == signal.sender))
}

/// Lines of what could be left out; `wait` is what a wait stands for, and `with` what goes with it.
fn hinted(hints: &Hints, (wait, with): (&str, &str)) -> String {
    let mut text = String::new();
    if let Some(Barriers { rounds, waits, spare, first, .. }) = &hints.barriers {
        text += &named(
            "barrier",
            &format!(
                "of all ranks, P (P - 1) notifies, in each of {}: {waits} waits, {spare} of them for ranks whose memory is not \
                 touched before the next",
                plural(u64::from(*rounds), "round")
            ),
        );
        text += &named("", &format!("the first is {first}"));
    }
    match &hints.redundant {
        None => {
            text += &named("spare", &format!("{wait}s that others imply are not looked for: there are too many lanes"))
        }
        Some(Redundant { waits: 0, of, .. }) if *of > 0 => {
            text += &named("spare", &format!("none of {} is implied by others", plural(*of, wait)));
        }
        Some(Redundant { waits, of, first, .. }) if *waits > 0 => {
            text += &named(
                "spare",
                &format!(
                    "{waits} of {} imply nothing that others do not, and could go with their {with}:",
                    plural(*of, wait)
                ),
            );
            for (site, signal) in first {
                // A file's dependence has no signal of its own.
                text += &named("", &if wait == WAIT { format!("{site} for {signal}") } else { site.label.to_string() });
            }
            if *waits > first.len() as u64 {
                text += &named("", &format!("and {} more", waits - first.len() as u64));
            }
        }
        Some(_) => {}
    }
    text
}

fn of_msccl(args: &LintArgs, plan: &Plan, of: &Msccl, in_place: bool) -> Result<u8, Error> {
    let spinner = Ticking::spinner(LOOKING);
    let hints = hints_of(&of.unbounded, in_place);
    drop(spinner);
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
        print_json(&Json { ok, name, messages, chunks, most_sent, least, refused, notes, hints: hints.as_ref() })?;
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
    text += &hints.iter().map(|hints| hinted(hints, ("dependence", "flags"))).collect::<String>();
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
