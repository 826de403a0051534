//! `wgccl run`: one collective, judged bit for bit.

mod all;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use wgccl::collective::{Collective, Op};
use wgccl::element::{DataType, Element, supported};
use wgccl::error::PrepareError;
use wgccl::fault::Fault;
use wgccl::low_level::inputs::Fill;
use wgccl::low_level::{Typed, typed};
use wgccl::lower::Protocol;
use wgccl::schedule::{Algorithm, DeviceKind, SyncStyle};

use super::args::{FileArgs, ScheduleArgs, Subject, default_count, subjects};
use super::output::{DIM, Ticking, print, print_json};
use super::values::{device, dispatch as dispatch_mode, one_of};
use crate::amount::whole;
use crate::device::{AUTO, Device};
use crate::dispatch::Wanted;
use crate::error::{Error, exit};
use crate::plan::Plan;
use crate::run::{Outcome, Request, Source, Stage, Watch, run as execute};
use crate::signals::say;
use crate::tensor::{self, Files, Output, Outputs, Tensors};
use crate::text::plain;
use text::table;

const RANKS: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// What to compute: a collective, or a file with a schedule
    #[arg(default_value = "all-reduce", value_name = "COLLECTIVE|FILE", value_parser = subjects())]
    what: Subject,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    file: FileArgs,
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
    /// Inputs: .npy, .npz or .safetensors, a file per rank
    ///
    /// One file per rank, or one of shape [ranks, n], which --ranks 1 takes whole; of broadcast and scatter the root's alone. An
    /// index of safetensors files stands for all of them, - is standard input. Of files that hold several tensors all are taken.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Of files that hold several tensors, take these
    #[arg(long, num_args = 1.., value_name = "NAME", requires = "input")]
    tensor: Vec<String>,
    /// Write the outputs there: a new or an empty directory
    ///
    /// As rank0.npy, rank1.npy, ... or in the format of the inputs, of the ranks that have one. The directory appears with all
    /// of them or not at all.
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
                                        can go), per-step (all ranks, a step at a time), fused (all in one, where it works \
                                        on the device), fused-ll (fused, with --protocol ll) or auto (fused on hardware where \
                                        it works, else per-rank or per-step)";

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
    let plan = args.what.plan(&args.schedule, &args.file)?;
    check_flags(args, plan.collective())?;
    if let Some(dir) = &args.output {
        tensor::check_target(dir, &args.input)?;
    }
    let Some(files) = files(args)? else {
        let request = request(args, &plan, None)?;
        return one(args, request, &Outputs::default());
    };
    match &files.tensors[..] {
        [only] => one(args, request(args, &plan, Some(only.clone()))?, &files.outputs),
        _ => all::run(args, &plan, &files),
    }
}

/// What `--input` names.
fn files(args: &RunArgs) -> Result<Option<Files>, Error> {
    if args.input.is_empty() {
        return Ok(None);
    }
    let files = Files::open(&args.input, &args.tensor)?;
    Ok(Some(if args.ranks == Some(1) { files.as_one_rank() } else { files }))
}

fn one(args: &RunArgs, request: Request, outputs: &Outputs) -> Result<u8, Error> {
    let mut notes = Vec::new();
    check_op(&request)?;
    let device = Device::find(&args.device, &mut notes)?;
    typed(request.data_type, One { args, request, outputs, device, notes })
}

/// A run whose element type is known.
struct One<'a> {
    args: &'a RunArgs,
    request: Request,
    outputs: &'a Outputs,
    device: Device,
    notes: Vec<String>,
}

impl Typed for One<'_> {
    type Output = Result<u8, Error>;

    fn run<T: Element>(self) -> Result<u8, Error> {
        run_one::<T>(self)
    }
}

/// A flag without effect is more likely a mistake than a whim.
fn check_flags(args: &RunArgs, collective: Collective) -> Result<(), Error> {
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

fn run_one<T: Element>(of: One<'_>) -> Result<u8, Error> {
    let One { args, request, outputs, device, mut notes } = of;
    let bar = Ticking::new();
    let watch: Watch = {
        let bar = bar.bar().clone();
        Arc::new(move |stage| show(&bar, stage))
    };
    let saying = say(|| INTERRUPTED.to_owned());
    let finished = execute::<T>(&request, &device, &watch);
    drop((saying, bar));
    let mut finished = finished.map_err(|error| of_first_axis(args, request.plan.collective(), error))?;
    let files = match &request.source {
        Source::Files { tensors, .. } => Some(tensors),
        Source::Generated { .. } => None,
    };
    notes.extend(of_file(args, &request.plan));
    notes.extend(files.into_iter().flat_map(|tensors| of_tensors(args, &request.plan, tensors)));
    if let Some(dir) = &args.output {
        notes.extend(tensor::left_behind(dir));
    }
    let mut error = finished.error();
    let mut text = if args.json { String::new() } else { table(&finished, &notes, faster(args, &finished.outcome)) };
    if let (Some(dir), None) = (&args.output, &error) {
        let views: Vec<&[T]> = finished.outputs.iter().map(Vec::as_slice).collect();
        let shape = files.and_then(|files| files.shape(request.plan.collective().only_root_gives()));
        let name = files.and_then(Tensors::name);
        // The verdict stands, even if the disk is full by now.
        match outputs.save(dir, &[Output::new(name, &views, shape)]) {
            Ok(()) => text += &written(dir),
            Err(failed) => error = Some(failed.into()),
        }
    }
    finished.outcome.ok = error.is_none();
    if args.json {
        let error = error.as_ref().map(Error::to_string);
        print_json(&Json { outcome: &finished.outcome, notes: &notes, error })?;
    } else {
        print(&text)?;
        if let Some(error) = &error {
            super::output::print_error(error);
        }
    }
    Ok(error.map_or(exit::OK, |error| error.exit_code()))
}

/// What a signal says.
const INTERRUPTED: &str = "interrupted before there was a result: nothing is kept";

fn written(dir: &Path) -> String {
    format!("\n{DIM}written{DIM:#}   {}", plain(&dir.display().to_string()))
}

/// What is to be said of inputs that were given otherwise than they may have been meant.
fn of_tensors(args: &RunArgs, plan: &Plan, tensors: &Tensors) -> Vec<String> {
    let asked = args.ranks.or(plan.ranks()).is_some();
    let taken = (!asked && !plan.collective().only_root_gives()).then(|| tensors.first_axis()).flatten();
    taken.into_iter().chain(tensors.unlike()).collect()
}

/// What is to be said of a schedule file.
fn of_file(args: &RunArgs, plan: &Plan) -> Vec<String> {
    let Some(loaded) = plan.file() else { return Vec::new() };
    let in_place =
        (loaded.in_place && !args.in_place).then(|| "in place: the file is made for calls in place".to_owned());
    in_place.into_iter().chain(loaded.msccl.iter().flat_map(|of| of.warnings.clone()).take(WARNINGS)).collect()
}

/// Of a file's warnings so many are shown.
const WARNINGS: usize = 3;

/// Before a device is opened.
fn check_op(request: &Request) -> Result<(), Error> {
    if request.plan.collective().reduces() {
        supported(request.data_type, request.op)?;
    }
    Ok(())
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

fn request(args: &RunArgs, plan: &Plan, inputs: Option<Tensors>) -> Result<Request, Error> {
    let data_type = data_type(args, inputs.as_ref())?;
    let source = match inputs {
        None => {
            let ranks = super::args::ranks_of(plan, args.ranks, RANKS)?;
            let count = args.count.unwrap_or_else(|| default_count(plan));
            Source::Generated { fill: args.fill.unwrap_or_default(), seed: args.seed.unwrap_or(0), ranks, count }
        }
        Some(_) if args.count.is_some() => {
            return Err(Error::Usage("--input decides the count; leave --count out".to_owned()));
        }
        Some(tensors) => Source::Files { tensors, ranks: args.ranks.or(plan.ranks()) },
    };
    Ok(Request {
        plan: plan.clone(),
        data_type,
        op: args.op.unwrap_or(Op::Sum),
        in_place: args.in_place || plan.file().is_some_and(|loaded| loaded.in_place),
        source,
        dispatch: args.dispatch.by(args.protocol)?,
        channels: args.channels,
        timeout: args.timeout,
        fault: args.drop_notify,
    })
}

/// Where a file's first axis is more ranks than there can be, it hardly was meant so.
fn of_first_axis(args: &RunArgs, collective: Collective, error: Error) -> Error {
    match (&error, &args.input[..]) {
        (Error::Prepare(PrepareError::Ranks { ranks, .. }), [file]) if !collective.only_root_gives() => {
            Error::Usage(format!(
                "{error}\nthe first axis of {}, which is {ranks} long, was taken as ranks: give a file for each rank, or \
                 --ranks 1 for one rank",
                file.display()
            ))
        }
        _ => error,
    }
}

/// What `auto` takes in place of an algorithm that nobody named.
fn faster(args: &RunArgs, o: &Outcome) -> Option<Algorithm> {
    if o.sync != Some(SyncStyle::default()) || args.schedule.algorithm.is_some() {
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
