//! `wgccl run`: one collective, judged bit for bit.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{BAD, COUNT, DIM, GOOD, ScheduleArgs, details, how, plural, print, print_json};
use crate::collective::{Collective, Op, parse};
use crate::element::{DataType, Element, dispatch};
use crate::error::{Error, exit};
use crate::gpu::Choice;
use crate::hang::Fault;
use crate::inputs::Fill;
use crate::plan::Mode;
use crate::run::{AUTO, Finished, Outcome, Request, Source, Stage, Watch, run as execute};
use crate::tensor;

const RANKS: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// What to compute
    #[arg(default_value = "all-reduce", value_parser = super::collective)]
    collective: Collective,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// Number of ranks [default: 4, or as many as there are inputs]
    #[arg(long, value_name = "P")]
    ranks: Option<u32>,
    /// Elements of a part, NCCL's count: what a rank gives in an all-gather and gets in a reduce-scatter, an all-reduce's
    /// whole vector; K, M and G multiply by powers of 1024 [default: 256, or as the inputs have]
    #[arg(long, value_name = "N", value_parser = super::count)]
    count: Option<usize>,
    /// Element type: f32, f16, bf16, f64, i32, u32, i64, u64, i8 or u8
    #[arg(long = "type", default_value = "f32", value_name = "TYPE", value_parser = parse::<DataType>)]
    data_type: DataType,
    /// Reduction: sum, prod, min, max or avg (of floats)
    #[arg(long, default_value = "sum", value_name = "OP", value_parser = parse::<Op>)]
    op: Op,
    /// auto, cpu, or an index or words of a name from `wgccl devices`
    #[arg(long, default_value = AUTO, value_name = "DEVICE")]
    device: String,
    /// How the schedule is cut into dispatches: auto, per-rank, per-step or fused
    #[arg(long, default_value = AUTO, value_name = "MODE", value_parser = dispatch_mode)]
    dispatch: Choice,
    /// Generated inputs: exact (sums exact in any order), pattern (the upstream kernels', i + 100 * rank) or normal
    #[arg(long, default_value = "exact", value_name = "KIND", value_parser = parse::<Fill>)]
    fill: Fill,
    /// Seed of generated inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Inputs: .npy or .safetensors, one file per rank or one of shape [ranks, n]; of broadcast and scatter the root's alone
    #[arg(long, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Tensor of a .safetensors file that holds several
    #[arg(long, value_name = "NAME", requires = "input")]
    tensor: Option<String>,
    /// Write the outputs there, as rank0.npy, rank1.npy, ..., of the ranks that have one
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Let every rank's input and output be one buffer, by NCCL's rules
    #[arg(long)]
    in_place: bool,
    /// Independent slices of every chunk, the unit of parallelism [default: by size and device]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    channels: Option<u32>,
    /// Lose the notifies that a rank sends on a signal row, to see the report: RANK:ROW
    #[arg(long, value_name = "RANK:ROW", value_parser = drop_notify)]
    drop_notify: Option<Fault>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Default for RunArgs {
    /// What the program does without arguments.
    fn default() -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            args: RunArgs,
        }
        Alone::parse_from(["wgccl"]).args
    }
}

pub(super) fn dispatch_mode(name: &str) -> Result<Choice, String> {
    match name {
        AUTO => Ok(Choice::Auto),
        name => parse::<Mode>(name).map(Choice::Named).map_err(|error| format!("{error}, auto")),
    }
}

fn drop_notify(text: &str) -> Result<Fault, String> {
    let parts = text.split_once(':').and_then(|(rank, row)| Some((rank.parse().ok()?, row.parse().ok()?)));
    let (rank, row) = parts.ok_or("give a rank and a signal row, such as 1:2")?;
    Ok(Fault::DropNotify { rank, row })
}

/// The outcome, and why it is not well if it is not.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn run(args: &RunArgs) -> Result<u8, Error> {
    dispatch!(args.data_type, T => run_typed::<T>(args))
}

fn run_typed<T: Element>(args: &RunArgs) -> Result<u8, Error> {
    let request = request(args)?;
    let bar = ProgressBar::new(0);
    let watch: Watch = {
        let bar = bar.clone();
        Arc::new(move |stage| show(&bar, stage))
    };
    let finished = execute::<T>(&request, &watch);
    bar.finish_and_clear();
    let finished = finished?;
    let error = finished.error();
    if let (Some(dir), None) = (&args.output, &error) {
        let outputs: Vec<&[T]> = finished.outputs.iter().map(Vec::as_slice).collect();
        tensor::save(dir, &outputs)?;
    }
    if args.json {
        print_json(&Json { outcome: &finished.outcome, error: error.as_ref().map(Error::to_string) })?;
    } else {
        print(&table(&finished, args))?;
        if let Some(error) = &error {
            super::print_error(error);
        }
    }
    Ok(error.map_or(exit::OK, |error| error.exit_code()))
}

/// Draws what the run is at, on a terminal only, and only if it takes longer than a tick.
fn show(bar: &ProgressBar, stage: Stage) {
    const TICK: Duration = Duration::from_millis(250);
    let (template, message) = match stage {
        Stage::Launch { pieces, .. } if pieces > 1 => {
            ("{msg}  {bar:30} {bytes}/{total_bytes} of each part, {bytes_per_sec}, about {eta} left", "launch")
        }
        Stage::Launch { .. } => ("{spinner} {msg}", "launch"),
        Stage::Inputs => ("{spinner} {msg}", "inputs"),
        _ => ("{spinner} {msg}", "comparing every bit"),
    };
    match stage {
        Stage::Launch { done, pieces, part_bytes } if done > 0 => {
            bar.set_position(part_bytes / pieces as u64 * done as u64);
        }
        _ => {
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            if let Stage::Launch { part_bytes, .. } = stage {
                bar.set_length(part_bytes);
            }
            bar.set_message(message);
            bar.enable_steady_tick(TICK);
        }
    }
}

fn request(args: &RunArgs) -> Result<Request, Error> {
    let collective = args.collective;
    let source = if args.input.is_empty() {
        let default = if collective == Collective::Barrier { 0 } else { COUNT };
        let (ranks, count) = (args.ranks.unwrap_or(RANKS), args.count.unwrap_or(default));
        Source::Generated { fill: args.fill, seed: args.seed, ranks, count }
    } else if args.count.is_some() {
        return Err(Error::Usage("--input decides the count; leave --count out".to_owned()));
    } else {
        Source::Files { files: args.input.clone(), tensor: args.tensor.clone(), ranks: args.ranks }
    };
    Ok(Request {
        task: args.schedule.task(collective)?,
        algorithm: args.schedule.algorithm(collective),
        sync: args.schedule.sync,
        data_type: args.data_type,
        op: args.op,
        in_place: args.in_place,
        source,
        device: args.device.clone(),
        dispatch: args.dispatch,
        channels: args.channels,
        fault: args.drop_notify,
    })
}

/// What was computed, in a line.
fn title(o: &Outcome) -> String {
    let how = how(o.algorithm, o.algorithm_auto, o.sync);
    let mut text = format!("{} by {how}: {}", o.collective, plural(o.ranks.into(), "rank"));
    let size = format!("{} {}", o.count, o.data_type);
    match o.collective {
        Collective::Barrier => {}
        Collective::AllReduce | Collective::Broadcast | Collective::Reduce | Collective::SendRecv => {
            let _ = write!(text, " of {size}");
        }
        _ => {
            let _ = write!(text, ", parts of {size}");
        }
    }
    if let Some(op) = o.op {
        let _ = write!(text, ", {op}");
    }
    text.push_str(&details(o.root, &o.sources));
    if o.in_place {
        text.push_str(", in place");
    }
    text
}

/// What a person reads.
fn table<T: Element>(finished: &Finished<T>, args: &RunArgs) -> String {
    let o = &finished.outcome;
    let mut text = String::new();
    for note in &finished.notes {
        let _ = writeln!(text, "{DIM}note{DIM:#}      {note}");
    }
    let _ = writeln!(text, "{}\n", title(o));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{DIM}{name:<9}{DIM:#} {value}");
    };
    line(
        "proved",
        &format!("no deadlock, no race, right result: {} instructions in {}", o.instructions, time(o.proof_us)),
    );
    match (&o.driver, o.dispatch) {
        (Some(driver), Some(mode)) => {
            line("device", &format!("{}, {}, {driver}", o.device, o.backend));
            let (dispatches, channels) =
                (plural(o.dispatches.into(), "dispatch"), plural(o.channels.into(), "channel"));
            line("launch", &format!("{mode}: {dispatches}, {channels}{}, {}", pieces(o), time(o.time_us)));
        }
        _ => {
            line("device", "CPU executor");
            line("launch", &format!("{}, {}", plural(o.channels.into(), "channel"), time(o.time_us)));
        }
    }

    if o.collective == Collective::Barrier {
        let _ = write!(text, "\n{GOOD}passed{GOOD:#}: no rank left before every rank had come");
        return text;
    }
    let _ = writeln!(text, "\n{DIM}{:>6}  {:<34}  output{DIM:#}", "rank", "input");
    const SHOWN: usize = 8;
    for rank in 0..finished.inputs.len().min(SHOWN) {
        let (input, output) = (first(&finished.inputs[rank]), first(&finished.outputs[rank]));
        let _ = writeln!(text, "{rank:>6}  {input:<34}  {output}");
    }
    if finished.inputs.len() > SHOWN {
        let _ = writeln!(text, "{:>6}  and {} more ranks", "", finished.inputs.len() - SHOWN);
    }
    let style = if o.ok { GOOD } else { BAD };
    let verdict = if o.ok { "bit-exact" } else { "WRONG" };
    let identical = match (o.collective.gives_all_the_same(), o.bit_identical) {
        (false, _) => "",
        (true, true) => ", ranks agree in every bit",
        (true, false) => ", ranks differ",
    };
    let flushed = if o.flushed > 0 { format!(", {} subnormals flushed", o.flushed) } else { String::new() };
    let _ = write!(
        text,
        "\n{style}{verdict}{style:#}: {} of {} elements equal the golden{flushed}{identical}",
        o.elements - o.wrong,
        o.elements
    );
    if let Some(op) = o.op {
        let _ = write!(text, "\n{DIM}rounding{DIM:#}  {}", rounding(op, o.max_ulp));
    }
    if let (Some(dir), true) = (&args.output, o.ok) {
        let _ = write!(text, "\nwritten   {}", dir.display());
    }
    text
}

fn pieces(o: &Outcome) -> String {
    match (o.pieces, o.device_bytes) {
        (1, _) => String::new(),
        (pieces, None) => format!(", {pieces} pieces"),
        (pieces, Some(bytes)) => format!(", {pieces} pieces through {} MiB of device memory", bytes.div_ceil(1 << 20)),
    }
}

fn rounding(op: Op, ulp: f64) -> String {
    let what = match op {
        Op::Sum => "sum",
        Op::Prod => "product",
        Op::Min => "minimum",
        Op::Max => "maximum",
        Op::Avg => "average",
    };
    match ulp {
        0.0 => format!("none: every {what} is exact"),
        ulp => {
            format!("at most {ulp:.2} ulp from the {what} in higher precision, in the order that the schedule takes")
        }
    }
}

fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// The first elements, short enough for a column.
fn first<T: Element>(values: &[T]) -> String {
    const WIDTH: usize = 32;
    if values.is_empty() {
        return "-".to_owned();
    }
    let mut text = String::new();
    for (i, value) in values.iter().enumerate() {
        let value = format!("{value:.5}");
        let value = if value.contains('.') { value.trim_end_matches('0').trim_end_matches('.') } else { &value };
        if text.len() + value.len() + 3 > WIDTH {
            return format!("{text} …");
        }
        let _ = write!(text, "{}{value}", if i == 0 { "" } else { " " });
    }
    text
}
