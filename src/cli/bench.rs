//! `wgccl bench`: nccl-tests' flags in, its report out.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use indicatif::{ProgressBar, ProgressStyle};

use super::{print, print_error};
use crate::bench::record::{Contents, Record, now};
use crate::bench::result::{Device, Row, Summary};
use crate::bench::size::{self, Range, Step};
use crate::bench::sweep::{Observer, Request, Roots, sweep};
use crate::bench::table::{Columns, Table};
use crate::bench::{BenchError, Format, compare, plot};
use crate::collective::{Collective, Op, UnknownName, parse};
use crate::element::DataType;
use crate::error::{Error, exit};
use crate::run::AUTO;
use crate::schedule::{Algorithm, Selection, Sync};

/// What a CI sets to demand a bandwidth, in GB/s.
const MIN_BW: &str = "WGCCL_MIN_BW";

#[derive(Debug, Args)]
#[command(after_help = "Sizes: 8, 1K, 32M, 1.5G, also KB, KiB, ...: all binary. Flags are those of nccl-tests.\n\
WGCCL_MIN_BW=X fails the run (exit code 7) when the average busbw is below 0.9 x X GB/s.")]
pub(super) struct BenchArgs {
    /// What to compute
    #[arg(default_value = "all-reduce", value_parser = super::collective)]
    collective: Collective,
    /// Number of ranks, several separated by commas
    #[arg(short = 'P', long, value_name = "P,..", value_delimiter = ',', default_value = "4")]
    ranks: Vec<u32>,
    #[arg(long, value_name = "NAME,..", value_parser = algorithms,
          help = format!("Algorithms separated by commas, or all that are defined for the collective and P: auto (for each \
                          size the fastest on the device), {} [default: mesh, of \
                          an all-reduce ring]", super::algorithms()))]
    algorithm: Option<List<Selection>>,
    /// Who waits for whom between rounds: neighbor or barrier
    #[arg(long, default_value = "neighbor", value_name = "NAME", value_parser = parse::<Sync>)]
    sync: Sync,
    /// Devices as in `wgccl devices`, separated by commas or given repeatedly; or all
    #[arg(long, value_name = "DEVICE,..", value_delimiter = ',', default_value = AUTO)]
    device: Vec<String>,
    /// How the schedule is cut into dispatches: auto, per-rank, per-step or fused
    #[arg(long, default_value = AUTO, value_name = "MODE", value_parser = super::run::dispatch_mode)]
    dispatch: crate::gpu::Choice,
    /// First size, of a rank's input or output, whichever is longer [default: 1K]
    #[arg(short = 'b', long = "minbytes", value_name = "SIZE", value_parser = size::parse)]
    first: Option<u64>,
    /// Last size [default: 4M]
    #[arg(short = 'e', long = "maxbytes", value_name = "SIZE", value_parser = size::parse)]
    last: Option<u64>,
    /// Add so much from one size to the next
    #[arg(short = 'i', long = "stepbytes", value_name = "SIZE", value_parser = size::parse)]
    step: Option<u64>,
    /// Multiply from one size to the next; wins over -i [default: 4]
    #[arg(short = 'f', long = "stepfactor", value_name = "N")]
    factor: Option<u64>,
    /// Timed iterations
    #[arg(short = 'n', long = "iters", value_name = "N", default_value_t = 20)]
    iterations: usize,
    /// Iterations before them
    #[arg(short = 'w', long = "warmup_iters", value_name = "N", default_value_t = 5)]
    warmup: usize,
    /// Checked iterations, apart from the timed ones; 0 for none
    #[arg(short = 'c', long = "check", value_name = "N", default_value_t = 1)]
    checks: usize,
    /// Operations separated by commas: sum, prod, min, max, avg; or all
    #[arg(short = 'o', long, value_name = "OP", default_value = "sum", value_parser = list::<Op>)]
    op: List<Op>,
    /// Element types separated by commas, by nccl-tests' names or ours: float, half, bfloat16, double, int32, uint32, int64,
    /// uint64, int8, uint8; or all
    #[arg(short = 'd', long = "datatype", value_name = "TYPE", default_value = "f32", value_parser = list::<DataType>)]
    data_type: List<DataType>,
    /// Root rank of broadcast, reduce, gather and scatter, or all [default: 0]
    #[arg(short = 'r', long, value_name = "RANK", value_parser = roots)]
    root: Option<Roots>,
    #[command(flatten)]
    sources: super::SourcesArgs,
    /// Repeat everything; 0 for ever
    #[arg(short = 'N', long = "run_cycles", value_name = "N", default_value_t = 1)]
    cycles: u64,
    /// 1: statistics of the iterations in every row
    #[arg(short = 'I', long = "per_iter_timing", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    per_iteration: bool,
    /// Leave the first iterations out of times and statistics; the record keeps them
    #[arg(short = 'K', long = "per_iter_skip", value_name = "N", default_value_t = 0)]
    skip: usize,
    /// 1: when each row was done
    #[arg(short = 'S', long = "report_timestamps", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    timestamps: bool,
    /// 1: device memory
    #[arg(short = 'M', long = "memory", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    memory: bool,
    /// Write a record, CSV where the name ends in .csv; an existing name gets .0, .1, ...
    #[arg(short = 'J', long = "output_file", visible_alias = "json", value_name = "FILE")]
    record: Option<PathBuf>,
    /// Draw time and busbw over size
    #[arg(long, value_name = "FILE.svg|png")]
    plot: Option<PathBuf>,
    /// Seconds that one row may take (exit code 4)
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Index of the first element in every buffer; CPU executor only
    #[arg(short = 'u', long, value_name = "N", default_value_t = 0)]
    unalign: usize,
    /// Seed of the inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Compare two records instead of measuring
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"])]
    compare: Vec<PathBuf>,
    #[command(flatten)]
    refused: Refused,
}

/// Flags of nccl-tests that have no meaning here, and what to do instead.
const INAPPLICABLE: [(char, &str, &str); 13] = [
    ('t', "nthreads", "all ranks are on one device; give their number with -P"),
    ('g', "ngpus", "all ranks are on one device; give their number with -P, and devices with --device"),
    ('p', "parallel_init", "nothing is initialised per thread; leave it out"),
    ('z', "blocking", "every launch is waited for; leave it out"),
    ('y', "stream_null", "wgpu has no streams; leave it out"),
    ('G', "cudagraph", "a launch is one submission already; leave it out"),
    ('R', "local_register", "buffers live on the device already; leave it out"),
    ('x', "cta_policy", "choose how a launch is cut with --dispatch"),
    ('C', "report_cputime", "the record holds both clocks (time and host_time); write one with -J"),
    ('D', "device_implementation", "choose a schedule with --algorithm and its kernel with --dispatch"),
    ('V', "device_cta_count", "the number of workgroups follows from size and device; leave it out"),
    ('m', "agg_iters", "every iteration is one launch; use -n for more of them"),
    ('a', "average", "ranks of one device have one time; leave it out"),
];

/// The first flag among [`INAPPLICABLE`] that was given.
#[derive(Debug, Clone, Default)]
struct Refused(Option<usize>);

impl FromArgMatches for Refused {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |(_, name, _): &(char, &str, &str)| matches.contains_id(name);
        Ok(Self(INAPPLICABLE.iter().position(given)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Refused {
    fn augment_args(command: Command) -> Command {
        INAPPLICABLE.iter().fold(command, |command, &(short, name, _)| {
            let arg = Arg::new(name).short(short).long(name).hide(true).num_args(0..=1).action(ArgAction::Set);
            command.arg(arg.value_parser(clap::value_parser!(OsString)))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Several names, or all of them. A type of its own, for to clap a vector means a flag that is given repeatedly.
#[derive(Debug, Clone)]
struct List<T> {
    names: Vec<T>,
    /// "all" was given, and not these names.
    all: bool,
}

fn list<T>(text: &str) -> Result<List<T>, UnknownName>
where
    T: crate::collective::Named + std::str::FromStr<Err = UnknownName>,
{
    match text {
        "all" => Ok(List { names: T::ALL.to_vec(), all: true }),
        names => Ok(List { names: names.split(',').map(parse).collect::<Result<_, _>>()?, all: false }),
    }
}

/// All is all of the named ones: what `auto` takes is one of them.
fn algorithms(text: &str) -> Result<List<Selection>, UnknownName> {
    match text {
        "all" => Ok(List { names: Vec::new(), all: true }),
        names => Ok(List { names: names.split(',').map(parse).collect::<Result<_, _>>()?, all: false }),
    }
}

fn roots(text: &str) -> Result<Roots, String> {
    match text {
        "all" => Ok(Roots::All),
        rank => rank.parse().map(Roots::One).map_err(|_| "give a rank, or all".to_owned()),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("give 0 or 1".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds: &f64| seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds above 0".to_owned())
}

fn request(args: &BenchArgs) -> Result<Request, Error> {
    if let Some((short, name, hint)) = args.refused.0.and_then(|index| INAPPLICABLE.get(index)) {
        return Err(Error::Usage(format!("-{short} (--{name}) of nccl-tests does not apply: {hint}")));
    }
    let collective = args.collective;
    if args.root.is_some() && !collective.has_root() {
        return Err(Error::Usage(format!("{} has no root; leave -r out", args.collective)));
    }
    if collective == Collective::Barrier && (args.first, args.last) != (None, None) {
        return Err(Error::Usage("a barrier has no payload, hence no sizes; leave -b and -e out".to_owned()));
    }
    if args.cycles == 0 && (args.record.is_some() || args.plot.is_some()) {
        return Err(Error::Usage("-N 0 never ends, so nothing would be written; give a number of cycles".to_owned()));
    }
    let defaults = Request::default();
    let first = args.first.unwrap_or(defaults.range.first.min(args.last.unwrap_or(u64::MAX)));
    let last = args.last.unwrap_or(defaults.range.last.max(first));
    let step = match (args.factor.filter(|&factor| factor != 1), args.step) {
        (Some(factor), _) => Step::Factor(factor),
        (None, Some(bytes)) => Step::Bytes(bytes),
        (None, None) => defaults.range.step,
    };
    let algorithms = match &args.algorithm {
        None => vec![Algorithm::default_of(collective).into()],
        Some(List { all: true, .. }) => Algorithm::of(collective).into_iter().map(Selection::from).collect(),
        Some(List { names, .. }) => names.clone(),
    };
    Ok(Request {
        collective,
        roots: args.root.unwrap_or(Roots::One(0)),
        sources: args.sources.of(collective)?,
        algorithms,
        only_defined: args.algorithm.as_ref().is_some_and(|algorithm| algorithm.all),
        sync: args.sync,
        ranks: args.ranks.clone(),
        data_types: args.data_type.names.clone(),
        ops: args.op.names.clone(),
        devices: args.device.clone(),
        dispatch: args.dispatch,
        range: Range { first, last, step },
        iterations: args.iterations,
        warmup: args.warmup,
        skip: args.skip,
        checks: args.checks,
        cycles: args.cycles,
        unalign: args.unalign,
        timeout: args.timeout,
        seed: args.seed,
    })
}

/// What `WGCCL_MIN_BW` demands.
fn least_bandwidth() -> Result<Option<f64>, Error> {
    match std::env::var(MIN_BW) {
        Err(_) => Ok(None),
        Ok(text) => match text.parse::<f64>() {
            Ok(least) if least.is_finite() => Ok(Some(least)),
            _ => Err(Error::Usage(format!("{MIN_BW} is '{text}'; give a bandwidth in GB/s"))),
        },
    }
}

/// Prints rows as they come.
struct Printer<'a> {
    request: &'a Request,
    columns: Columns,
    table: Option<Table>,
    devices: Vec<Device>,
    rows: Vec<Row>,
    bar: ProgressBar,
}

impl Printer<'_> {
    fn line(&self, text: &str) -> Result<(), Error> {
        self.bar.suspend(|| print(text))
    }
}

impl Observer for Printer<'_> {
    fn begin(&mut self, devices: &[Device], rows: usize, notes: &[String]) -> Result<(), Error> {
        self.devices = devices.to_vec();
        let table = Table::new(self.columns, devices.to_vec());
        for note in notes {
            self.line(&format!("# note: {note}"))?;
        }
        self.line(&table.header(self.request))?;
        self.table = Some(table);
        // Nothing is drawn where stderr is no terminal, and nothing between rows: a ticking thread would be measured.
        self.bar.set_length(rows as u64 * self.request.cycles.max(1));
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} rows, {elapsed} (about {eta} left)") {
            self.bar.set_style(style);
        }
        self.bar.tick();
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<(), Error> {
        let text = self.table.as_mut().map_or_else(String::new, |table| table.row(&row));
        self.line(&text)?;
        self.rows.push(row);
        self.bar.inc(1);
        Ok(())
    }
}

pub(super) fn bench(args: &BenchArgs) -> Result<u8, Error> {
    if let [a, b] = &args.compare[..] {
        print(&compare::compare(a, b)?)?;
        return Ok(exit::OK);
    }
    let (request, least) = (request(args)?, least_bandwidth()?);
    if let Some(path) = &args.plot {
        Format::of(path)?;
    }
    let start_time = now();
    let record = args.record.as_deref().map(Record::create).transpose()?;
    let columns = Columns { per_iteration: args.per_iteration, timestamps: args.timestamps, memory: args.memory };
    let mut printer = Printer {
        request: &request,
        columns,
        table: None,
        devices: Vec::new(),
        rows: Vec::new(),
        bar: ProgressBar::new(0),
    };
    if let Some(record) = &record {
        print(&format!("# Writing record to {}", record.path().display()))?;
    }
    let result = sweep(&request, &mut printer);
    printer.bar.finish_and_clear();

    let summary = Summary::of(&printer.rows, least);
    let error = match result {
        Err(error) => Some(error),
        Ok(()) if summary.wrong > 0 => Some(BenchError::Wrong(summary.wrong).into()),
        Ok(()) if summary.fast_enough() == Some(false) => {
            let (average, least) = (summary.average_bus_bw, least.unwrap_or_default());
            Some(BenchError::Slow { average, least }.into())
        }
        Ok(()) => None,
    };
    let errors: Vec<String> = error.iter().map(ToString::to_string).collect();
    if let Some(table) = &printer.table {
        print(&table.footer(&request, &summary, &errors))?;
    }
    if let (Some(record), Some(wanted)) = (record, &args.record) {
        let arguments: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        record.write(
            wanted,
            &Contents {
                args: &arguments,
                request: &request,
                devices: &printer.devices,
                rows: &printer.rows,
                summary: &summary,
                errors: &errors,
                start_time: &start_time,
            },
        )?;
    }
    if let (Some(path), false) = (&args.plot, printer.rows.is_empty()) {
        plot::draw(path, &printer.devices, &printer.rows)?;
        print(&format!("# Picture written to {}", path.display()))?;
    }
    Ok(match error {
        Some(error) => {
            print_error(&error);
            error.exit_code()
        }
        None => exit::OK,
    })
}
