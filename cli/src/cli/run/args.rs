//! What `wgccl run` takes, and the requests that it makes of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use wgccl::collective::{Collective, Op};
use wgccl::element::{DataType, supported};
use wgccl::fault::Fault;
use wgccl::low_level::inputs::Fill;
use wgccl::lower::Protocol;
use wgccl::schedule::Placement;

use crate::amount::whole;
use crate::cli::args::{FileArgs, ScheduleArgs, Subject, default_count, ranks_of, subjects};
use crate::cli::output::note_aside;
use crate::cli::values::ALL;
use crate::cli::values::{dispatch as dispatch_mode, one_of, together};
use crate::device::{AUTO, Device};
use crate::dispatch::Wanted;
use crate::error::Error;
use crate::plan::Plan;
use crate::run::{Request, Source};
use crate::tensor::{Files, Tensors};
use crate::text::plain;

/// Where nobody says how many.
const RANKS: u32 = 4;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What to compute: a collective, or a file with a schedule
    #[arg(default_value = "all-reduce", value_name = "COLLECTIVE|FILE", value_parser = subjects())]
    pub(super) what: Subject,
    #[command(flatten)]
    pub(super) schedule: ScheduleArgs,
    #[command(flatten)]
    pub(super) file: FileArgs,
    /// Number of ranks [default: 4, or as many as there are inputs]
    #[arg(short = 'P', long, alias = "nranks", value_name = "P", value_parser = whole::<u32>)]
    pub(super) ranks: Option<u32>,
    /// Elements of a part, NCCL's count: 1000, 64K, 1e6 [default: 256, or as the inputs have]
    ///
    /// What a rank gives in an all-gather and gets in a reduce-scatter, an all-reduce's whole vector. K, M and G are powers of
    /// 1024 [default: 256, or as the inputs have].
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub(super) count: Option<usize>,
    /// Element type, by these names or NCCL's [default: f32, or that of the inputs]
    #[arg(short = 'd', long = "type", visible_alias = "datatype", alias = "dtype", value_name = "TYPE", value_parser = one_of(DataType::ALL, DataType::name))]
    pub(super) data_type: Option<DataType>,
    /// Reduction; avg is of floats [default: sum]
    #[arg(short, long, alias = "redop", value_name = "OP", value_parser = one_of(Op::ALL, Op::name))]
    pub(super) op: Option<Op>,
    /// auto, cpu, or an index or words of a name from `wgccl devices`; several share the ranks: 0+cpu, all
    #[arg(long, default_value = AUTO, value_name = "DEVICE", value_parser = together)]
    pub(super) device: String,
    /// Which ranks are on which of several devices, counted as --device lists them [default: in blocks]
    #[arg(long, value_name = "RANKS:N,..")]
    pub(super) place: Option<Placement>,
    #[arg(long, default_value = AUTO, value_name = "MODE", value_parser = dispatch_mode(), help = DISPATCH, long_help = DISPATCH_LONG)]
    pub(super) dispatch: Wanted,
    #[arg(long, alias = "proto", value_name = "NAME", value_parser = one_of(Protocol::ALL, Protocol::name), help = PROTOCOL, long_help = PROTOCOL_LONG)]
    pub(super) protocol: Option<Protocol>,
    /// Generated inputs [default: exact]
    ///
    /// Exact (sums exact in any order), pattern (the upstream kernels', i + 100 * rank) or normal [default: exact].
    #[arg(long, value_name = "KIND", value_parser = one_of(Fill::ALL, Fill::name))]
    pub(super) fill: Option<Fill>,
    /// Seed of generated inputs [default: 0]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub(super) seed: Option<u64>,
    /// Inputs: .npy, .npz or .safetensors, a file per rank
    ///
    /// One file per rank, or one of shape [ranks, n], which --ranks 1 takes whole; of broadcast and scatter the root's alone. An
    /// index of safetensors files stands for all of them, - is standard input. Of files that hold several tensors all are taken.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub(super) input: Vec<PathBuf>,
    /// Of files that hold several tensors, take these
    #[arg(long, num_args = 1.., value_name = "NAME", requires = "input")]
    pub(super) tensor: Vec<String>,
    /// Write the outputs there: a new or an empty directory
    ///
    /// As rank0.npy, rank1.npy, ... or in the format of the inputs, of the ranks that have one. The directory appears with all
    /// of them or not at all.
    #[arg(long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Let every rank's input and output be one buffer, by NCCL's rules
    #[arg(long)]
    pub(super) in_place: bool,
    /// Independent slices of every chunk, the unit of parallelism [default: by size and device]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) channels: Option<u32>,
    /// Seconds to wait for a submission on a GPU, another device or process (exit code 4) [default: 60]
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = crate::cli::args::seconds)]
    pub(super) timeout: Option<Duration>,
    /// Lose the notifies that a rank sends on a signal row, to see the report
    #[arg(long, value_name = "RANK:ROW", value_parser = drop_notify)]
    pub(super) drop_notify: Option<Fault>,
    /// Write when each instruction waited and moved, for ui.perfetto.dev, and print the critical path
    ///
    /// A file that does not exist yet, of Chrome trace events: a process a rank, a thread a lane, arrows from notify to wait.
    /// If its name ends with .html: the page of wgccl show, which plays the launch. Cores have times of every instruction,
    /// per-rank and per-step dispatch those of each dispatch, fused dispatch the order without times. A launch that is traced
    /// is slower.
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
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
pub(crate) const DISPATCH: &str = "How the schedule is cut into dispatches";
pub(crate) const DISPATCH_LONG: &str = "How the schedule is cut into dispatches\n\nPer-rank (one after the other, as far as each \
                                        can go), per-step (all ranks, a step at a time), fused (all in one, where it works \
                                        on the device), fused-ll (fused, with --protocol ll) or auto (fused on hardware where \
                                        it works, else per-rank or per-step)";

/// What `--protocol` means.
pub(crate) const PROTOCOL: &str = "How lanes know that data has arrived [default: simple, or by the file]";
pub(crate) const PROTOCOL_LONG: &str = "How lanes know that data has arrived [default: simple, or by the file]\n\nSimple (signals) \
                                        or ll (data carries its own flag, in fused dispatch: for small payloads). A file of \
                                        MSCCL XML that says proto LL or LL128 goes by ll where that can be [default: simple, \
                                        or by the file]";

fn drop_notify(text: &str) -> Result<Fault, String> {
    let parts = text.split_once(':').and_then(|(rank, row)| Some((rank.parse().ok()?, row.parse().ok()?)));
    let (rank, row) = parts.ok_or("give a rank and a signal row, such as 1:2")?;
    Ok(Fault::DropNotify { rank, row })
}

/// What `--input` names.
pub(super) fn files(args: &RunArgs) -> Result<Option<Files>, Error> {
    if args.input.is_empty() {
        return Ok(None);
    }
    if let Some((_, name)) = (1..).zip(&args.tensor).find(|(n, name)| args.tensor[*n..].contains(name)) {
        return Err(Error::Usage(format!("--tensor names {} twice; name each tensor once", plain(name))));
    }
    // --input takes all that follows it.
    let swallowed =
        |path: &&PathBuf| path.to_str().is_some_and(|name| name.parse::<Collective>().is_ok()) && !path.exists();
    if let Some(name) = args.input.iter().find(swallowed) {
        let name = name.display();
        return Err(Error::Usage(format!(
            "--input has taken {name} for a file; put it first: wgccl run {name} --input ..."
        )));
    }
    let files = Files::open(&args.input, &args.tensor)?.taken_as(args.data_type);
    Ok(Some(if args.ranks == Some(1) { files.as_one_rank() } else { files }))
}

/// A flag without effect is more likely a mistake than a whim.
pub(super) fn check_flags(args: &RunArgs, collective: Collective) -> Result<(), Error> {
    crate::cli::args::check_op(collective, args.op.is_some(), "--op")?;
    let seeded = [(args.fill.is_some(), "--fill"), (args.seed.is_some(), "--seed")];
    if !args.input.is_empty() {
        crate::cli::args::refuse_flags("inputs come from files", &seeded)?;
    }
    if let Some(path) = &args.trace {
        crate::cli::args::check_trace(path)?;
    }
    if args.fill == Some(Fill::Pattern) {
        crate::cli::args::refuse_flags("the pattern has no seed", &seeded[1..])?;
    }
    if collective == Collective::Barrier {
        let flags = [
            (args.data_type.is_some(), "--type"),
            (args.output.is_some(), "--output"),
            (args.channels.is_some(), "--channels"),
        ];
        crate::cli::args::refuse_flags("a barrier has no payload", &[&seeded[..], &flags].concat())?;
    }
    Ok(())
}

/// What is to be said of inputs that were given otherwise than they may have been meant.
pub(super) fn of_tensors(args: &RunArgs, plan: &Plan, tensors: &Tensors) -> Vec<String> {
    let asked = args.ranks.or(plan.ranks()).is_some();
    let taken = (!asked && !plan.collective().only_root_gives()).then(|| tensors.first_axis()).flatten();
    taken.into_iter().chain(tensors.unlike()).collect()
}

/// What is to be said of a schedule file.
pub(super) fn of_file(args: &RunArgs, plan: &Plan) -> Vec<String> {
    let Some(loaded) = plan.file() else { return Vec::new() };
    let in_place =
        (loaded.in_place && !args.in_place).then(|| "in place: the file is made for calls in place".to_owned());
    in_place.into_iter().chain(loaded.few_warnings()).collect()
}

/// The error as it is. What is to be said of a file that was refused is said here, as there will be no table to say it in.
pub(super) fn of_refused(args: &RunArgs, plan: &Plan, error: Error) -> Error {
    if matches!(error, Error::Refused(_)) {
        of_file(args, plan).iter().for_each(|note| note_aside(note));
    }
    error
}

/// Before a device is opened.
pub(super) fn check_op(request: &Request) -> Result<(), Error> {
    if request.plan.collective().reduces() {
        supported(request.data_type, request.op)?;
    }
    Ok(())
}

/// What `--device` and `--place` say.
pub(super) fn found(args: &RunArgs, notes: &mut Vec<String>) -> Result<Device, Error> {
    #[cfg(feature = "mpi")]
    if crate::device::processes::rank().is_some() {
        return Device::of_processes(&args.device, args.timeout, notes)?.place(args.place.as_ref());
    }
    let device = match args.device.as_str() {
        ALL => Device::together(Device::all(notes)),
        // Where ranks are placed, devices are counted as `wgccl devices` lists them.
        AUTO if args.place.is_some() => Device::together(Device::all(notes)),
        wanted => Device::find(wanted, notes)?,
    };
    device.place(args.place.as_ref())
}

pub(super) fn request(args: &RunArgs, plan: &Plan, inputs: Option<Tensors>) -> Result<Request, Error> {
    let data_type = match &inputs {
        Some(inputs) => crate::cli::args::type_of(inputs, &args.input, args.data_type)?,
        None => args.data_type.unwrap_or(DataType::F32),
    };
    let source = match inputs {
        None => {
            let ranks = ranks_of(plan, args.ranks, RANKS)?;
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
        trace: args.trace.is_some(),
    })
}
