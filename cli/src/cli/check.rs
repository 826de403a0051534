//! `wgccl check`: the six proofs of a schedule, printed.

mod answers;
mod broken;

use std::fmt::Write;

use clap::Args;
use serde::Serialize;
use wgccl::collective::Collective;
use wgccl::proof::{self, Checked, Outcome, Proof, Report, Verdict};
use wgccl::schedule::{Draft, Origin, Schedule, SyncStyle};

use super::args::{FileArgs, LaunchArgs, ScheduleArgs, Subject, refuse_flags, subjects};
use super::output::{BAD, DIM, GOOD, Ticking, details, how, named, of_notes, plural, print, print_json};
use super::picture::{PictureArgs, check_size, picture};
use super::placed::Placed;
use crate::amount::whole;
use crate::error::{Error, exit, of_report};
use crate::file::{Loaded, Msccl};
use crate::identity;
use crate::plan::Plan;
use crate::run::check_place;
use answers::{Answers, Questions, races};
use broken::Broken;

/// Where nobody says how many.
const RANKS: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// What the schedule is to compute: a collective, or a file with a schedule
    #[arg(default_value = "all-reduce", value_name = "COLLECTIVE|FILE", value_parser = subjects())]
    what: Subject,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    file: FileArgs,
    /// Number of ranks, at most 4096 [default: 4]
    ///
    /// Rings, also those of other collectives, take a second or two and a few MB for all 4096. What is not the same for every
    /// rank is written out. With --sync barrier signals grow with the cube: 323 in an all-reduce by ring
    /// [default: 4].
    #[arg(short = 'P', long, alias = "nranks", value_name = "P", value_parser = whole::<u32>)]
    ranks: Option<u32>,
    #[command(flatten)]
    launch: LaunchArgs,
    /// Let every rank's input and output be one buffer, by NCCL's rules
    ///
    /// A file that is made for calls in place is checked so in any case.
    #[arg(long)]
    in_place: bool,
    /// Break the schedule first, to see what the proofs find: drop-wait:rank 2 AG round 1; help lists the ways
    #[arg(long = "break", value_name = "EDIT")]
    broken: Option<String>,
    /// Say why a chunk holds what it holds: 2:1 is chunk 1 of rank 2's output, "2 slot 0" a slot
    ///
    /// The instructions that made it, down to the contributions, and the order of additions; of a chunk that lacks a
    /// contribution, where that was lost.
    #[arg(long, value_name = "RANK:CHUNK")]
    why: Vec<String>,
    /// Say what orders two instructions, such as "r0 RS 1" "r2 AG 1"
    #[arg(long, value_names = ["A", "B"], num_args = 2)]
    order: Vec<String>,
    #[command(flatten)]
    picture: PictureArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    ok: bool,
    collective: Collective,
    root: Option<u32>,
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    sources: &'a [u32],
    #[serde(flatten, with = "identity")]
    origin: &'a Origin,
    algorithm_auto: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync: Option<SyncStyle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msccl: Option<OfMsccl<'a>>,
    ranks: u32,
    in_place: bool,
    #[serde(skip_serializing_if = "Option::is_none", rename = "break")]
    broken: Option<&'a Broken>,
    lanes: usize,
    instructions: usize,
    proofs: &'a [Outcome],
    #[serde(skip_serializing_if = "Option::is_none")]
    placed: Option<Placed>,
    #[serde(flatten)]
    answers: Answers,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What only MSCCL files have.
#[derive(Serialize)]
struct OfMsccl<'a> {
    proto: &'static str,
    fifo_slots: u32,
    /// The fewest with which it gets through, where that was asked: it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    fewest_fifo_slots: Option<u32>,
    thread_blocks: usize,
    steps: usize,
    warnings: &'a [String],
}

pub(super) fn check(args: &CheckArgs) -> Result<u8, Error> {
    if args.broken.as_deref() == Some("help") {
        refuse_flags("the ways to break a schedule are text", &[(args.json, "--json")])?;
        print(&broken::help())?;
        return Ok(exit::OK);
    }
    args.picture.check_targets(Some("the report"))?;
    if !args.picture.is_given() {
        let only = [(args.picture.is_cut(), "--only")];
        refuse_flags("only a picture leaves ranks out, and none is drawn", &only)?;
    }
    let plan = args.what.plan(&args.schedule, &args.file)?;
    let collective = plan.collective();
    let in_place = args.in_place || plan.file().is_some_and(|loaded| loaded.in_place);
    check_place(collective, in_place)?;
    args.launch.check(collective)?;
    if !plan.is_auto() && args.launch.place.is_none() {
        let LaunchArgs { count, data_type, .. } = &args.launch;
        let flags = [(count.is_some(), "--count"), (data_type.is_some(), "--type")];
        refuse_flags("a proof holds for every payload, and only --algorithm auto looks at it", &flags)?;
    }
    let ranks = super::args::ranks_of(&plan, args.ranks, RANKS)?;
    let spinner = Ticking::spinner("proving");
    let draft = args.launch.draft(&plan, ranks)?;
    let (task, origin) = (draft.head().task.clone(), draft.head().origin.clone());
    let options = proof::Options::default().in_place(in_place);
    let questions = Questions { why: &args.why, order: &args.order };
    let Looked { checked, broken, schedule } = look(args, draft, options, &questions)?;
    let Checked { report, lanes, instructions, .. } = checked;
    let (report, by_chance) = if broken.is_some() { (report, false) } else { without_chance(&plan, report, options) };
    let msccl = plan.file().and_then(|loaded| loaded.msccl.as_ref());
    let hangs = report.outcome(Proof::DeadlockFree).is_some_and(|outcome| matches!(outcome.verdict, Verdict::Fails));
    let fewest = msccl.filter(|_| hangs).map(|of| of.algo.fewest_fifo_slots());
    let mut answers = Answers::default();
    if let Some(schedule) = &schedule {
        answers = Answers::of(schedule, options, &questions)?;
        if args.picture.is_given() {
            args.picture.write(&picture(&plan, &args.launch, schedule, options)?)?;
        }
    }
    if let (Some(broken), Some(schedule)) = (&broken, &schedule) {
        answers.launch(schedule, options);
        answers.harmless(&broken.whole, broken.edit, options)?;
    } else if races(&report) {
        match msccl.filter(|_| by_chance) {
            Some(of) => answers.launch(&of.unbounded, options),
            None => answers.launch(&args.launch.draft(&plan, ranks)?.build()?, options),
        }
    }
    let placed = match &schedule {
        Some(schedule) if report.ok() => Placed::of(&args.launch, &plan, schedule, in_place)?,
        _ => None,
    };
    drop(spinner);
    let (root, sources) = (collective.has_root().then_some(task.root), &task.sources);
    if args.json {
        print_json(&Json {
            ok: report.ok(),
            collective,
            root,
            sources,
            origin: &origin,
            algorithm_auto: plan.is_auto(),
            sync: plan.sync(),
            msccl: msccl.map(|of| OfMsccl {
                proto: of.algo.proto.name(),
                fifo_slots: of.fifo_slots,
                fewest_fifo_slots: fewest.flatten(),
                thread_blocks: of.algo.blocks(),
                steps: of.algo.steps(),
                warnings: &of.warnings,
            }),
            ranks,
            in_place,
            broken: broken.as_ref(),
            lanes,
            instructions,
            proofs: &report.proofs,
            placed,
            answers,
            error: (!report.ok()).then(|| report.to_string()),
        })?;
    } else {
        let place = if in_place { ", in place" } else { "" };
        let details = details(root, sources);
        let title = format!(
            "{collective} by {}: {}{details}, {}, {}{place}\n",
            how(&origin, plan.is_auto(), plan.sync()),
            plural(ranks.into(), "rank"),
            plural(lanes as u64, "lane"),
            plural(instructions as u64, "instruction")
        );
        let mut file = plan.file().map_or_else(String::new, |loaded| of_file(loaded, by_chance, fewest));
        file += &broken.as_ref().map_or_else(String::new, Broken::text);
        let answers = placed.map_or_else(String::new, |placed| placed.text()) + &answers.text();
        print(format!("{title}{file}\n{}\n{answers}", proofs(&report)).trim_end())?;
    }
    Ok(of_report(&report))
}

/// What was found out.
struct Looked {
    checked: Checked,
    broken: Option<Broken>,
    /// All of it, where that was needed.
    schedule: Option<Schedule>,
}

fn look(args: &CheckArgs, draft: Draft, options: proof::Options, questions: &Questions<'_>) -> Result<Looked, Error> {
    let all = args.picture.is_given() || questions.are_there() || args.launch.place.is_some();
    if args.broken.is_none() && !all {
        return Ok(Looked { checked: proof::check_draft(draft, options)?, broken: None, schedule: None });
    }
    args.picture.only(draft.head().ranks)?;
    if args.picture.is_given() {
        check_size(&draft)?;
    }
    let mut schedule = draft.build()?;
    let broken = args.broken.as_ref().map(|edit| Broken::new(edit, &mut schedule)).transpose()?;
    let checked = proof::check_draft(Draft::from(schedule.clone()), options)?;
    Ok(Looked { checked, broken, schedule: Some(schedule) })
}

/// Where only room in FIFOs keeps accesses in order, that is chance: with more room they race. Then the report of that, and true.
fn without_chance(plan: &Plan, report: Report, options: proof::Options) -> (Report, bool) {
    let Some(of) = plan.file().and_then(|loaded| loaded.msccl.as_ref()).filter(|_| report.ok()) else {
        return (report, false);
    };
    let unbounded = proof::check(&of.unbounded, options);
    if unbounded.holds(Proof::RaceFree) { (report, false) } else { (unbounded, true) }
}

/// What there is to say of a file.
fn of_file(loaded: &Loaded, by_chance: bool, fewest: Option<Option<u32>>) -> String {
    let Some(Msccl { algo, fifo_slots, warnings, .. }) = &loaded.msccl else { return String::new() };
    let (blocks, steps) = (plural(algo.blocks() as u64, "thread block"), plural(algo.steps() as u64, "step"));
    let proto = algo.proto.name();
    let mut text =
        named("file", &format!("MSCCL XML, {blocks}, {steps}, {proto}: {fifo_slots} messages on a connection"));
    match fewest {
        None => {}
        Some(Some(n)) => {
            text += &named("", &format!("with {n} messages on a connection it gets through: --fifo-slots {n}"))
        }
        Some(None) => text += &named("", "with any number of messages on a connection it hangs"),
    }
    if by_chance {
        text += &named("", "only full FIFOs keep what follows in order: with more messages on a connection it races");
    }
    const SHOWN: usize = 8;
    text += &of_notes(&warnings[..warnings.len().min(SHOWN)]);
    if warnings.len() > SHOWN {
        text += &named("", &format!("and {} more like these", warnings.len() - SHOWN));
    }
    text
}

/// The report's own words, the verdicts in colour.
fn proofs(report: &Report) -> String {
    const VERDICT: usize = 11;
    let mut text = String::new();
    for outcome in &report.proofs {
        let style = match outcome.verdict {
            Verdict::Holds => GOOD,
            Verdict::Fails if !outcome.proof.is_information() => BAD,
            _ => DIM,
        };
        let line = outcome.to_string();
        let (verdict, rest) = line.split_at_checked(VERDICT).unwrap_or((&line, ""));
        let _ = writeln!(text, "{style}{verdict}{style:#}{rest}");
    }
    text.truncate(text.trim_end().len());
    text
}
