//! `wgccl layout`: a rank's window, byte by byte, and what the things that it does without would cost.

use std::fmt::Write;

use clap::Args;
use serde::Serialize;
use wgccl::collective::Collective;
use wgccl::element::DataType;
use wgccl::error::PayloadError;
use wgccl::low_level::payload::Payload;
use wgccl::low_level::window::{Region, Stride, Window, WindowError};
use wgccl::proof::{self, Proof};
use wgccl::schedule::{Algorithm, Origin, Schedule};

use super::args::{FileArgs, LaunchArgs, ScheduleArgs, Subject, subjects};
use super::output::{DIM, Ticking, plural, print, print_json};
use super::placed::Placed;
use super::values::one_of;
use crate::amount::whole;
use crate::error::{Error, exit};
use crate::identity;
use crate::memory::check_count;
use crate::plan::Plan;

/// Where nobody says how many.
const RANKS: u32 = 4;
/// Slots and rows of signals that are listed: more than any algorithm of 4096 ranks has.
const MOST_REGIONS: u32 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct LayoutArgs {
    /// What the schedule computes: a collective, or a file with a schedule
    #[arg(default_value = "all-reduce", value_name = "COLLECTIVE|FILE", value_parser = subjects())]
    what: Subject,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    file: FileArgs,
    /// Number of ranks, at most 4096 [default: 4]
    ///
    /// The schedule is built whole: a ring of 1024 takes a quarter of a GB, of 4096 some 4 GB.
    /// With --sync barrier: 323 in an all-reduce by ring, in some 2 GB
    #[arg(short = 'P', long, alias = "nranks", value_name = "P", value_parser = whole::<u32>)]
    ranks: Option<u32>,
    #[command(flatten)]
    launch: LaunchArgs,
    /// Columns of the signal matrix: one per rank, or 16
    #[arg(long, default_value = "compact", value_name = "STRIDE", value_parser = one_of(Stride::ALL, Stride::name))]
    stride: Stride,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json {
    ok: bool,
    collective: Collective,
    #[serde(flatten, with = "identity")]
    origin: Origin,
    algorithm_auto: bool,
    ranks: u32,
    count: usize,
    #[serde(rename = "type")]
    data_type: DataType,
    chunks: u32,
    chunk_elements: usize,
    chunk_bytes: usize,
    slots: u32,
    slots_written: u32,
    slot_bytes: usize,
    signal_rows: u32,
    signal_stride: u32,
    signal_bytes: usize,
    signals_used: u32,
    signals_used_bytes: usize,
    window_bytes: usize,
    exchange_bytes_saved: usize,
    signal_bytes_saved_percent: Option<f64>,
    regions: Vec<Region>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placed: Option<Placed>,
}

pub(super) fn layout(args: &LayoutArgs) -> Result<u8, Error> {
    let plan = args.what.plan(&args.schedule, &args.file)?;
    let collective = plan.collective();
    let ranks = super::args::ranks_of(&plan, args.ranks, RANKS)?;
    let (count, data_type) = (args.launch.count(&plan), args.launch.data_type());
    check_flags(args, &plan)?;
    check_count(collective, count)?;
    if count.checked_mul(data_type.bytes()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(PayloadError::TooLarge { count, ranks }.into());
    }
    if args.stride.columns(ranks) < ranks {
        return Err(WindowError::Stride(ranks).into());
    }
    let spinner = Ticking::spinner("building the schedule");
    let schedule = args.launch.draft(&plan, ranks)?.build()?;
    let in_place = plan.file().is_some_and(|loaded| loaded.in_place);
    if plan.file().is_some() {
        check_structure(&schedule, in_place)?;
    }
    let payload = Payload::new(&schedule, count, data_type.bytes())?;
    let window = Window::new(&schedule, payload, args.stride)?;
    if window.slots.saturating_add(window.signal_rows) > MOST_REGIONS {
        return Err(Error::Usage(format!(
            "{} slots and {} rows of signals are more than the {MOST_REGIONS} that are listed; lower them in the file",
            window.slots, window.signal_rows
        )));
    }
    let placed = Placed::of(&args.launch, &plan, &schedule, in_place)?;
    drop(spinner);
    let savings = window.savings();
    let json = Json {
        ok: true,
        collective,
        origin: schedule.origin.clone(),
        algorithm_auto: plan.is_auto(),
        ranks,
        count,
        data_type,
        chunks: payload.chunks,
        chunk_elements: payload.chunk_elements,
        chunk_bytes: payload.chunk_bytes(),
        slots: window.slots,
        slots_written: schedule.slots_written(),
        slot_bytes: window.slot_bytes(),
        signal_rows: window.signal_rows,
        signal_stride: window.signal_stride,
        signal_bytes: window.signal_bytes(),
        signals_used: window.signals_used,
        signals_used_bytes: window.used_signal_bytes(),
        window_bytes: window.bytes(),
        exchange_bytes_saved: savings.exchange_bytes,
        signal_bytes_saved_percent: savings.signal_percent,
        regions: window.regions().collect(),
        placed,
    };
    if args.json {
        print_json(&json)?
    } else {
        print(&table(&json))?
    }
    Ok(exit::OK)
}

/// Only of a schedule with addresses in range there is anything to lay out.
fn check_structure(schedule: &Schedule, in_place: bool) -> Result<(), Error> {
    let report = proof::check(schedule, proof::Options::default().in_place(in_place));
    match report.holds(Proof::Structure) {
        true => Ok(()),
        false => Err(Error::Usage(format!("there is no window to lay out:\n{}", report.failures()))),
    }
}

/// A window is as large as that of the rank that needs most, whoever that is.
fn check_flags(args: &LayoutArgs, plan: &Plan) -> Result<(), Error> {
    args.launch.check(plan.collective())?;
    let ScheduleArgs { root, sources, .. } = &args.schedule;
    let flags = [(root.is_some(), "--root"), (!sources.sources.is_empty(), "--sources")];
    super::args::refuse_flags("all ranks have windows of one layout, whoever gives and gets", &flags)
}

fn table(layout: &Json) -> String {
    let Json { collective, origin, count, data_type, chunks, chunk_elements, .. } = layout;
    let payload = match collective {
        Collective::Barrier => "no payload".to_owned(),
        _ => format!("{count} {data_type} in {} of {chunk_elements}", plural((*chunks).into(), "chunk")),
    };
    let mut text = format!(
        "window of one rank: {collective} by {origin}{}, {}, {payload}\n\n\
         {DIM}{:>12} {:>12}  region{DIM:#}\n",
        if layout.algorithm_auto { " (auto)" } else { "" },
        plural(layout.ranks.into(), "rank"),
        "offset",
        "bytes"
    );
    for region in &layout.regions {
        let _ = writeln!(text, "{:>12} {:>12}  {}", region.offset, region.bytes, region.name);
    }
    let _ = writeln!(text, "{:>12} {:>12}  end of the window", layout.window_bytes, "");
    let _ = writeln!(
        text,
        "\nslots      {} bytes in {}, of which {origin} writes {}\nsignals    {} bytes: {} rows of {} columns, \
         of which {origin} uses {}: executors store only these, {} bytes a channel",
        layout.slot_bytes,
        layout.slots,
        layout.slots_written,
        layout.signal_bytes,
        layout.signal_rows,
        layout.signal_stride,
        layout.signals_used,
        layout.signals_used_bytes
    );
    // Only the upstream kernels' ring has had an exchange slot.
    let exchange = match origin.algorithm() {
        Some(Algorithm::RingExchange) => {
            Some("nothing: the last slot is the exchange slot, which ring and ring-staged do without".to_owned())
        }
        Some(Algorithm::Ring | Algorithm::RingStaged) => {
            Some(format!("{} bytes: no exchange slot", layout.exchange_bytes_saved))
        }
        _ => None,
    };
    let stride = layout
        .signal_bytes_saved_percent
        .map(|percent| format!("{percent} % of the signals' bytes, against 16 columns"));
    for (line, name) in exchange.into_iter().chain(stride).zip(["saved", ""]) {
        let _ = writeln!(text, "{name:<10} {line}");
    }
    if let Some(placed) = &layout.placed {
        let _ = write!(text, "\n{}", placed.text());
    }
    text.truncate(text.trim_end().len());
    text
}
