//! `wgccl check`: the six proofs of a schedule, printed.

use std::fmt::Write;

use clap::Args;
use serde::Serialize;
use wgccl::collective::Collective;
use wgccl::proof::{self, Outcome, Report, Verdict};
use wgccl::schedule::{Origin, SyncStyle};

use super::args::{LaunchArgs, ScheduleArgs, collectives};
use super::output::{BAD, DIM, GOOD, Ticking, details, how, plural, print, print_json};
use crate::amount::whole;
use crate::error::{Error, of_report};
use crate::identity;
use crate::run::check_place;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// What the schedule is to compute
    #[arg(default_value = "all-reduce", value_parser = collectives())]
    collective: Collective,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// Number of ranks, at most 4096
    ///
    /// What grows with their square takes its time: a ring of 1024 a second and half a GB, of
    /// 4096 some 20 seconds and 8 GB. With --sync barrier it is their cube: 323 in an all-reduce by ring, in some 5 GB
    #[arg(short = 'P', long, alias = "nranks", default_value_t = 4, value_name = "P", value_parser = whole::<u32>)]
    ranks: u32,
    #[command(flatten)]
    launch: LaunchArgs,
    /// Let every rank's input and output be one buffer, by NCCL's rules
    #[arg(long)]
    in_place: bool,
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
    sync: SyncStyle,
    ranks: u32,
    in_place: bool,
    lanes: usize,
    instructions: usize,
    proofs: &'a [Outcome],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn check(args: &CheckArgs) -> Result<u8, Error> {
    let (collective, sync) = (args.collective, args.schedule.sync);
    check_place(collective, args.in_place)?;
    let selection = args.schedule.algorithm(collective);
    args.launch.check(collective)?;
    if !selection.is_auto() {
        let LaunchArgs { count, data_type, .. } = &args.launch;
        let flags = [(count.is_some(), "--count"), (data_type.is_some(), "--type")];
        super::args::refuse_flags("a proof holds for every payload, and only --algorithm auto looks at it", &flags)?;
    }
    let spinner = Ticking::spinner("proving");
    let schedule = args.launch.build(&args.schedule, collective, args.ranks)?;
    let report = proof::check(&schedule, proof::Options::default().in_place(args.in_place));
    drop(spinner);
    let (root, sources) = (collective.has_root().then_some(schedule.task.root), &schedule.task.sources);
    let (lanes, instructions) = (schedule.lanes.len(), schedule.instructions());
    if args.json {
        print_json(&Json {
            ok: report.ok(),
            collective,
            root,
            sources,
            origin: &schedule.origin,
            algorithm_auto: selection.is_auto(),
            sync,
            ranks: args.ranks,
            in_place: args.in_place,
            lanes,
            instructions,
            proofs: &report.proofs,
            error: (!report.ok()).then(|| report.to_string()),
        })?;
    } else {
        let place = if args.in_place { ", in place" } else { "" };
        let details = details(root, sources);
        print(&format!(
            "{collective} by {}: {}{details}, {}, {}{place}\n\n{}",
            how(&schedule.origin, selection.is_auto(), sync),
            plural(args.ranks.into(), "rank"),
            plural(lanes as u64, "lane"),
            plural(instructions as u64, "instruction"),
            proofs(&report)
        ))?;
    }
    Ok(of_report(&report))
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
