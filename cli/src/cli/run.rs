//! `wgccl run`: one collective, judged bit for bit.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use wgccl::collective::{Collective, Op};
use wgccl::element::{DataType, Element};
use wgccl::error::PrepareError;
use wgccl::fault::Fault;
use wgccl::low_level::inputs::Fill;
use wgccl::low_level::{Typed, typed};
use wgccl::lower::Protocol;
use wgccl::schedule::{Algorithm, DeviceKind, SyncStyle};

use super::args::{COUNT, ScheduleArgs, collectives};
use super::output::{BAD, DIM, GOOD, Ticking, details, how, is_quiet, plural, print, print_json};
use super::values::{device, dispatch as dispatch_mode, one_of};
use crate::amount::whole;
use crate::device::AUTO;
use crate::dispatch::{self, Wanted};
use crate::error::{Error, exit};
use crate::run::{Finished, Outcome, Request, Source, Stage, Watch, run as execute};
use crate::signals::say;
use crate::tensor::{self, Tensors};
use crate::text::plain;

const RANKS: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// What to compute
    #[arg(default_value = "all-reduce", value_parser = collectives())]
    collective: Collective,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// Number of ranks [default: 4, or as many as there are inputs]
    #[arg(short = 'P', long, alias = "nranks", value_name = "P", value_parser = whole::<u32>)]
    ranks: Option<u32>,
    /// Elements of a part, NCCL's count: 1000, 64K, 1e6 [default: 256, or as the inputs have]
    ///
    /// What a rank gives in an all-gather and gets in a reduce-scatter, an all-reduce's whole vector. K, M and G are powers of
    /// 1024 [default: 256, or as the inputs have].
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    count: Option<usize>,
    /// Element type, by these names or NCCL's [default: f32, or that of the inputs]
    #[arg(short = 'd', long = "type", visible_alias = "datatype", alias = "dtype", value_name = "TYPE", value_parser = one_of(DataType::ALL, DataType::name))]
    data_type: Option<DataType>,
    /// Reduction; avg is of floats [default: sum]
    #[arg(short, long, alias = "redop", value_name = "OP", value_parser = one_of(Op::ALL, Op::name))]
    op: Option<Op>,
    /// auto, cpu, or an index or words of a name from `wgccl devices`
    #[arg(long, default_value = AUTO, value_name = "DEVICE", value_parser = device)]
    device: String,
    #[arg(long, default_value = AUTO, value_name = "MODE", value_parser = dispatch_mode(), help = DISPATCH, long_help = DISPATCH_LONG)]
    dispatch: Wanted,
    #[arg(long, alias = "proto", value_name = "NAME", value_parser = one_of(Protocol::ALL, Protocol::name), help = PROTOCOL, long_help = PROTOCOL_LONG)]
    protocol: Option<Protocol>,
    /// Generated inputs [default: exact]
    ///
    /// Exact (sums exact in any order), pattern (the upstream kernels', i + 100 * rank) or normal [default: exact].
    #[arg(long, value_name = "KIND", value_parser = one_of(Fill::ALL, Fill::name))]
    fill: Option<Fill>,
    /// Seed of generated inputs [default: 0]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    seed: Option<u64>,
    /// Inputs: .npy or .safetensors, a file per rank
    ///
    /// One file per rank, or one of shape [ranks, n]; of broadcast and scatter the root's alone.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Tensor of a .safetensors file that holds several
    #[arg(long, value_name = "NAME", requires = "input")]
    tensor: Option<String>,
    /// Write the outputs there: a new or an empty directory
    ///
    /// As rank0.npy, rank1.npy, ..., of the ranks that have one. The directory appears with all of them or not at all.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Let every rank's input and output be one buffer, by NCCL's rules
    #[arg(long)]
    in_place: bool,
    /// Independent slices of every chunk, the unit of parallelism [default: by size and device]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    channels: Option<u32>,
    /// Seconds to wait for a submission on a GPU (exit code 4) [default: 60]
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = super::args::seconds)]
    timeout: Option<Duration>,
    /// Lose the notifies that a rank sends on a signal row, to see the report
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

/// What `--dispatch` means.
pub(super) const DISPATCH: &str = "How the schedule is cut into dispatches";
pub(super) const DISPATCH_LONG: &str = "How the schedule is cut into dispatches\n\nPer-rank (one after the other, as far as each \
                                        can go), per-step (all ranks, a step at a time), fused (all in one, where the device \
                                        is found to bear it), fused-ll (fused, with --protocol ll) or auto (fused on hardware \
                                        that bears it, else per-step)";

/// What `--protocol` means.
pub(super) const PROTOCOL: &str = "How lanes know that data has arrived [default: simple]";
pub(super) const PROTOCOL_LONG: &str = "How lanes know that data has arrived [default: simple]\n\nSimple (signals) or ll (data \
                                        carries its own flag, in fused dispatch: for small payloads)";

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
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn run(args: &RunArgs) -> Result<u8, Error> {
    check_flags(args)?;
    if let Some(dir) = &args.output {
        tensor::check_target(dir, &args.input)?;
    }
    let inputs = match args.input.is_empty() {
        true => None,
        false => Some(Tensors::open(&args.input, args.tensor.as_deref())?),
    };
    let request = request(args, inputs)?;
    typed(request.data_type, Run { args, request })
}

/// A run whose element type is known.
struct Run<'a> {
    args: &'a RunArgs,
    request: Request,
}

impl Typed for Run<'_> {
    type Output = Result<u8, Error>;

    fn run<T: Element>(self) -> Result<u8, Error> {
        run_typed::<T>(self.args, &self.request)
    }
}

/// A flag without effect is more likely a mistake than a whim.
fn check_flags(args: &RunArgs) -> Result<(), Error> {
    let RunArgs { collective, .. } = *args;
    super::args::check_op(collective, args.op.is_some(), "--op")?;
    let seeded = [(args.fill.is_some(), "--fill"), (args.seed.is_some(), "--seed")];
    if !args.input.is_empty() {
        super::args::refuse_flags("inputs come from files", &seeded)?;
    }
    if args.fill == Some(Fill::Pattern) {
        super::args::refuse_flags("the pattern has no seed", &seeded[1..])?;
    }
    if collective == Collective::Barrier {
        let flags = [
            (args.data_type.is_some(), "--type"),
            (args.output.is_some(), "--output"),
            (args.channels.is_some(), "--channels"),
        ];
        super::args::refuse_flags("a barrier has no payload", &[&seeded[..], &flags].concat())?;
    }
    Ok(())
}

/// That of the inputs, where there are files.
fn data_type(args: &RunArgs, inputs: Option<&Tensors>) -> Result<DataType, Error> {
    let Some(inputs) = inputs else { return Ok(args.data_type.unwrap_or(DataType::F32)) };
    let found = inputs.data_type()?;
    match (args.data_type, args.input.first()) {
        (Some(wanted), Some(file)) if wanted != found => Err(Error::Usage(format!(
            "{} holds {found}, and --type says {wanted}; leave --type out to take what the inputs hold",
            file.display()
        ))),
        _ => Ok(found),
    }
}

fn run_typed<T: Element>(args: &RunArgs, request: &Request) -> Result<u8, Error> {
    let bar = Ticking::new();
    let watch: Watch = {
        let bar = bar.bar().clone();
        Arc::new(move |stage| show(&bar, stage))
    };
    let saying = say(|| "interrupted before there was a result: nothing is kept".to_owned());
    let finished = execute::<T>(request, &watch);
    drop((saying, bar));
    let mut finished = finished.map_err(|error| of_first_axis(args, error))?;
    let files = match &request.source {
        Source::Files { tensors, .. } => Some(tensors),
        Source::Generated { .. } => None,
    };
    finished.notes.extend(files.and_then(Tensors::unlike));
    if let Some(dir) = &args.output {
        finished.notes.extend(tensor::left_behind(dir));
    }
    let mut error = finished.error();
    let mut text = if args.json { String::new() } else { table(&finished, faster(args, &finished.outcome)) };
    if let (Some(dir), None) = (&args.output, &error) {
        let outputs: Vec<&[T]> = finished.outputs.iter().map(Vec::as_slice).collect();
        // The verdict stands, even if the disk is full by now.
        let shape = files.and_then(|files| files.shape(args.collective.only_root_gives()));
        match tensor::save_as(dir, &outputs, shape.as_deref()) {
            Ok(()) => {
                let _ = write!(text, "\nwritten   {}", plain(&dir.display().to_string()));
            }
            Err(failed) => error = Some(failed.into()),
        }
    }
    finished.outcome.ok = error.is_none();
    if args.json {
        let error = error.as_ref().map(Error::to_string);
        print_json(&Json { outcome: &finished.outcome, notes: &finished.notes, error })?;
    } else {
        print(&text)?;
        if let Some(error) = &error {
            super::output::print_error(error);
        }
    }
    Ok(error.map_or(exit::OK, |error| error.exit_code()))
}

/// Says what the run is at.
fn show(bar: &ProgressBar, stage: Stage) {
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
        }
    }
}

fn request(args: &RunArgs, inputs: Option<Tensors>) -> Result<Request, Error> {
    let collective = args.collective;
    let data_type = data_type(args, inputs.as_ref())?;
    let source = match inputs {
        None => {
            let default = if collective == Collective::Barrier { 0 } else { COUNT };
            let (ranks, count) = (args.ranks.unwrap_or(RANKS), args.count.unwrap_or(default));
            Source::Generated { fill: args.fill.unwrap_or_default(), seed: args.seed.unwrap_or(0), ranks, count }
        }
        Some(_) if args.count.is_some() => {
            return Err(Error::Usage("--input decides the count; leave --count out".to_owned()));
        }
        Some(tensors) => Source::Files { tensors, ranks: args.ranks },
    };
    Ok(Request {
        task: args.schedule.task(collective)?,
        algorithm: args.schedule.algorithm(collective),
        sync: args.schedule.sync,
        data_type,
        op: args.op.unwrap_or(Op::Sum),
        in_place: args.in_place,
        source,
        device: args.device.clone(),
        dispatch: args.dispatch.by(args.protocol)?,
        channels: args.channels,
        timeout: args.timeout,
        fault: args.drop_notify,
    })
}

/// Where a file's first axis is more ranks than there can be, it hardly was meant so.
fn of_first_axis(args: &RunArgs, error: Error) -> Error {
    match (&error, &args.input[..]) {
        (Error::Prepare(PrepareError::Ranks { ranks, .. }), [file]) if !args.collective.only_root_gives() => {
            Error::Usage(format!(
                "{error}\nthe first axis of {}, which is {ranks} long, was taken as ranks: give a file for each rank, or one \
                 of a single axis for one rank",
                file.display()
            ))
        }
        _ => error,
    }
}

/// What was computed, in a line.
fn title(o: &Outcome) -> String {
    let how = how(&o.origin, o.algorithm_auto, o.sync);
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

/// What `auto` takes in place of an algorithm that nobody named.
fn faster(args: &RunArgs, o: &Outcome) -> Option<Algorithm> {
    if args.schedule.algorithm.is_some() || args.schedule.sync != SyncStyle::default() {
        return None;
    }
    let kinds: &[DeviceKind] = match o.dispatch {
        None => &[DeviceKind::Cpu],
        Some(_) => &[DeviceKind::Software, DeviceKind::Gpu],
    };
    let part_bytes = (o.count as u64).saturating_mul(o.data_type.bytes() as u64);
    let mut chosen = kinds.iter().map(|&kind| Algorithm::choose(o.collective, o.ranks, part_bytes, kind));
    let first = chosen.next()?;
    (chosen.all(|other| other == first) && o.origin.algorithm() != Some(first)).then_some(first)
}

/// What a person reads.
fn table<T: Element>(finished: &Finished<T>, faster: Option<Algorithm>) -> String {
    let o = &finished.outcome;
    let mut text = String::new();
    for note in finished.notes.iter().filter(|_| !is_quiet()) {
        let _ = writeln!(text, "{DIM}note{DIM:#}      {}", plain(note));
    }
    let _ = writeln!(text, "{}\n", title(o));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{DIM}{name:<9}{DIM:#} {value}");
    };
    line(
        "proved",
        &format!(
            "no deadlock, no race, right result: {} in {}",
            plural(o.instructions as u64, "instruction"),
            time(o.proof_us)
        ),
    );
    match (&o.driver, o.dispatch.zip(o.protocol)) {
        (Some(driver), Some((mode, protocol))) => {
            let mode = dispatch::name(mode, protocol);
            line("device", &format!("{}, {}, {driver}", o.device, o.backend));
            let (dispatches, channels) =
                (plural(o.dispatches.into(), "dispatch"), plural(o.channels.into(), "channel"));
            line("launch", &format!("{mode}: {dispatches}, {channels}{}, {} with copies", pieces(o), time(o.time_us)));
        }
        _ => {
            line("device", "CPU executor");
            line("launch", &format!("{}, {}", plural(o.channels.into(), "channel"), time(o.time_us)));
        }
    }

    if let Some(faster) = faster.filter(|_| !is_quiet()) {
        line("faster", &format!("{faster} is what --algorithm auto takes here"));
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
    for (name, said) in o.op.zip(o.accuracy).map(|(op, accuracy)| accuracy.lines(op, o.data_type)).into_iter().flatten()
    {
        let _ = write!(text, "\n{DIM}{name:<9}{DIM:#} {said}");
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

fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// The first elements, short enough for a column; at least one of them.
fn first<T: Element>(values: &[T]) -> String {
    const WIDTH: usize = 32;
    if values.is_empty() {
        return "-".to_owned();
    }
    let mut text = String::new();
    for (i, &value) in values.iter().enumerate() {
        let value = legible(value);
        if i > 0 && text.len() + value.len() + 3 > WIDTH {
            return format!("{text} …");
        }
        let _ = write!(text, "{}{value}", if i == 0 { "" } else { " " });
    }
    text
}

/// Integers whole; floats with some six digits, and with an exponent where these would be zeros.
fn legible<T: Element>(value: T) -> String {
    let magnitude = value.to_f64().abs();
    if !T::TYPE.is_float() || magnitude == 0.0 || !magnitude.is_finite() {
        return value.to_string();
    }
    let (text, exponent) = match magnitude {
        1e-4..1e6 => (format!("{:.5}", value.to_f64()), None),
        _ => {
            let text = format!("{:.4e}", value.to_f64());
            match text.split_once('e') {
                Some((mantissa, exponent)) => (mantissa.to_owned(), Some(format!("e{exponent}"))),
                None => (text, None),
            }
        }
    };
    let digits = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{digits}{}", exponent.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use wgccl::element::{bf16, f16};

    use super::*;

    #[test]
    fn values_are_legible_whatever_their_size() {
        for (value, shown) in [
            (0.0_f32, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.125_73, "-0.12573"),
            (1e-5, "1e-5"),
            (1.175e-38, "1.175e-38"),
            (f32::from_bits(1), "1.4013e-45"),
            (3.4e38, "3.4e38"),
            (999_999.0, "999999"),
            (1e6, "1e6"),
            (123_456_789.0, "1.2346e8"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(legible(value), shown, "{value:e}");
        }
        assert_eq!((legible(u64::MAX), legible(-128_i8)), ("18446744073709551615".to_owned(), "-128".to_owned()));
        assert_eq!(
            (legible(f16::from_f32(65504.0)), legible(bf16::from_f32(-0.0625))),
            ("65504".into(), "-0.0625".into())
        );
        assert_eq!(first(&[i64::MIN, i64::MIN]), "-9223372036854775808 …");
        assert_eq!(first(&[1.0_f64, 1e-300]), "1 1e-300");
        assert_eq!(first::<f32>(&[]), "-");
    }
}
