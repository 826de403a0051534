//! `wgccl bench`: nccl-tests' flags in, its report out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use indicatif::{ProgressBar, ProgressStyle};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::lower::Protocol;
use wgccl::schedule::{Algorithm, Selection, SyncStyle};

use super::args::collectives;
use super::output::{is_quiet, plural, print, print_error};
use super::run::{DISPATCH, DISPATCH_LONG, PROTOCOL, PROTOCOL_LONG};
use super::values::{ALL, List, Names, device, list, one_of};
use crate::amount::{bytes, whole};
use crate::bench::machine::Machine;
use crate::bench::record::{self, Contents, Record, Recorded};
use crate::bench::report::Report;
use crate::bench::request::{Request, Roots};
use crate::bench::result::{Device, Row};
use crate::bench::size::{Parts, Range, Step};
use crate::bench::summary::Summary;
use crate::bench::sweep::{Observer, sweep};
use crate::bench::table::Columns;
use crate::bench::{check_new, command, compare, now, plot, utc};
use crate::device::AUTO;
use crate::dispatch::{Dispatch, Wanted};
use crate::error::{BenchError, Error, exit};
use crate::names::{self, parse};
use crate::signals::say;
use crate::text::plain;
use crate::whole;

/// What a CI sets to demand a bandwidth, in GB/s.
const MIN_BW: &str = "WGCCL_MIN_BW";

#[derive(Debug, Args)]
#[command(
    after_long_help = "Sizes: 8, 1K, 32M, 1.5G, also KB, KiB, ..., 1e6, 1_000: letters are powers of 1024. Flags are those of nccl-tests; of one that is repeated the last counts.\n\
WGCCL_MIN_BW=X fails the run (exit code 7) when the average busbw is below 0.9 x X GB/s.\n\
A record (-J) is written anew after every row: what is ended early, by Ctrl-C say, leaves the rows so far, and says so \
(\"complete\": false).\n\
--compare: B/A is of medians, with its 95 % interval by bootstrap and the p-value of a Mann-Whitney test; a row whose \
interval leaves 1 out is no noise. Two runs of one program may differ by 15 % by the host's clock, and by far more on a busy \
machine: repeat before you believe."
)]
pub(super) struct BenchArgs {
    /// What to compute
    #[arg(default_value = "all-reduce", value_parser = collectives())]
    collective: Collective,
    /// Number of ranks, several separated by commas
    #[arg(short = 'P', long, alias = "nranks", value_name = "P,..", value_delimiter = ',', default_value = "4", value_parser = whole::<u32>)]
    ranks: Vec<u32>,
    /// Algorithms, separated by commas [default: auto; ring with --sync barrier]
    ///
    /// Auto is for each size the fastest on the device; all are those that are defined for the collective and P
    /// [default: auto; ring with --sync barrier].
    #[arg(long, alias = "algo", value_name = "NAME,..", value_parser = algorithms())]
    algorithm: Option<List<Selection>>,
    /// Who waits for whom between rounds
    #[arg(long, default_value = "neighbor", value_name = "NAME", value_parser = one_of(SyncStyle::ALL, SyncStyle::name))]
    sync: SyncStyle,
    /// Devices as in `wgccl devices`, separated by commas or given repeatedly; or all
    #[arg(long, value_name = "DEVICE,..", value_delimiter = ',', default_value = AUTO, value_parser = device)]
    device: Vec<String>,
    #[arg(long, default_value = AUTO, value_name = "MODE,..", value_parser = dispatch_modes(),
          help = format!("{DISPATCH}, several separated by commas"),
          long_help = format!("{DISPATCH_LONG}; several separated by commas, or all that are sound on a device"))]
    dispatch: List<Wanted>,
    #[arg(long, alias = "proto", value_name = "NAME", value_parser = one_of(Protocol::ALL, Protocol::name), help = PROTOCOL, long_help = PROTOCOL_LONG)]
    protocol: Option<Protocol>,
    /// First size, of a rank's input or output, whichever is longer [default: 1K]
    #[arg(short = 'b', long = "minbytes", value_name = "SIZE", value_parser = bytes)]
    first: Option<u64>,
    /// Last size [default: 4M]
    #[arg(short = 'e', long = "maxbytes", value_name = "SIZE", value_parser = bytes)]
    last: Option<u64>,
    /// Add so much from one size to the next
    #[arg(short = 'i', long = "stepbytes", value_name = "SIZE", value_parser = bytes)]
    step: Option<u64>,
    /// Multiply from one size to the next; wins over -i [default: 4]
    #[arg(short = 'f', long = "stepfactor", value_name = "N", value_parser = whole::<u64>)]
    factor: Option<u64>,
    /// Timed iterations
    #[arg(short = 'n', long = "iters", alias = "iterations", value_name = "N", default_value_t = 20, value_parser = whole::<usize>)]
    iterations: usize,
    /// Iterations before them
    #[arg(short = 'w', long = "warmup_iters", alias = "warmup", value_name = "N", default_value_t = 5, value_parser = whole::<usize>)]
    warmup: usize,
    /// Checked iterations, apart from the timed ones; 0 for none
    #[arg(short = 'c', long = "check", value_name = "N", default_value_t = 1, value_parser = whole::<usize>)]
    checks: usize,
    /// Operations, separated by commas [default: sum]
    #[arg(short = 'o', long, alias = "redop", value_name = "OP,..", value_parser = several(Op::ALL, Op::name, |text| list(text, parse)))]
    op: Option<List<Op>>,
    /// Element types, separated by commas, by these names or nccl-tests' [default: f32]
    #[arg(short = 'd', long = "datatype", visible_alias = "type", alias = "dtype", value_name = "TYPE,..", value_parser = several(DataType::ALL, DataType::name, |text| list(text, parse)))]
    data_type: Option<List<DataType>>,
    /// Root rank of broadcast, reduce, gather and scatter, or all [default: 0]
    #[arg(short = 'r', long, value_name = "RANK", value_parser = roots)]
    root: Option<Roots>,
    #[command(flatten)]
    sources: super::args::SourcesArgs,
    /// Repeat everything; 0 for ever
    #[arg(short = 'N', long = "run_cycles", alias = "cycles", value_name = "N", default_value_t = 1, value_parser = whole::<u64>)]
    cycles: u64,
    /// Columns of the table: nccl, which are exactly those of nccl-tests, or wgccl, with membw, roof% and dispatches to their right
    #[arg(long, value_name = "nccl|wgccl", default_value = "nccl", value_parser = ["nccl", "wgccl"])]
    columns: String,
    /// 1: statistics of the iterations in every row
    #[arg(short = 'I', long = "per_iter_timing", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    per_iteration: bool,
    /// Leave the first iterations out of times and statistics; the record keeps them
    #[arg(short = 'K', long = "per_iter_skip", value_name = "N", default_value_t = 0, value_parser = whole::<usize>)]
    skip: usize,
    /// 1: when each row was done
    #[arg(short = 'S', long = "report_timestamps", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    timestamps: bool,
    /// 1: device memory
    #[arg(short = 'M', long = "memory", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    memory: bool,
    /// Write a record, CSV where the name ends in .csv; an existing name gets .0, .1, ...
    #[arg(short = 'J', long = "output_file", value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print the record, one JSON object, in place of the table
    #[arg(long)]
    json: bool,
    /// Draw time and busbw over size, to a file that does not exist yet
    #[arg(long, value_name = "FILE.svg|png")]
    plot: Option<PathBuf>,
    /// Seconds that one row may take (exit code 4)
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = super::args::seconds)]
    timeout: Option<Duration>,
    /// Index of the first element in every buffer; CPU executor only
    #[arg(short = 'u', long, value_name = "N", default_value_t = 0, value_parser = whole::<usize>)]
    unalign: usize,
    /// Seed of the inputs [default: 0]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    seed: Option<u64>,
    /// Draw the --plot of a record instead of measuring
    #[arg(long, value_name = "RECORD.json", requires = "plot")]
    from: Option<PathBuf>,
    /// Compare two records instead of measuring: which rows of B are faster, slower or within noise
    ///
    /// What nccl-tests printed or wrote with -J is read, too.
    #[arg(long, num_args = 2, value_names = ["A", "B"], action = ArgAction::Set)]
    compare: Vec<PathBuf>,
    /// With --compare: fail (exit code 7) where a row of B takes more than RATIO times as long
    ///
    /// And is slower beyond noise.
    #[arg(long, value_name = "RATIO", requires = "compare", value_parser = ratio)]
    fail_above: Option<f64>,
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
        let command = INAPPLICABLE.iter().fold(command, |command, &(short, name, _)| {
            let arg = Arg::new(name).short(short).long(name).hide(true).num_args(0..=1).action(ArgAction::Set);
            command.arg(arg.value_parser(clap::value_parser!(OsString)))
        });
        // These flags are the last to be added, so all others are there: none of them means anything where nothing is measured.
        let all: Vec<_> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
        [["compare", "fail_above"], ["from", "plot"]].into_iter().fold(command, |command, pair| {
            let others = all.iter().filter(|id| !pair.contains(&id.as_str()));
            command.mut_arg(pair[0], |arg| arg.conflicts_with_all(others))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Some of the names, or all.
fn several<T>(every: &[T], name: fn(T) -> &'static str, parse: fn(&str) -> Result<List<T>, String>) -> Names<List<T>>
where
    T: Copy,
{
    Names::new(every.iter().map(|&value| name(value)).chain([ALL]), parse)
}

/// All is all of the named ones: what `auto` takes is one of them.
fn algorithms() -> Names<List<Selection>> {
    let every = [AUTO].into_iter().chain(Algorithm::ALL.iter().map(|algorithm| algorithm.name()));
    Names::new(every.chain([ALL]), |text| list(text, parse))
}

/// All is every mode, that the device supports.
fn dispatch_modes() -> Names<List<Wanted>> {
    Names::new(Wanted::names().chain([ALL]), |text| list(text, Wanted::parse))
}

fn roots(text: &str) -> Result<Roots, String> {
    match text {
        text if names::is(text, ALL) => Ok(Roots::All),
        rank => whole(rank).map(Roots::One).map_err(|_| "give a rank, or all".to_owned()),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("give 0 or 1".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|&ratio: &f64| ratio >= 1.0 && ratio.is_finite());
    ratio.ok_or_else(|| "give a ratio of times of at least 1, such as 1.1".to_owned())
}

fn request(args: &BenchArgs) -> Result<Request, Error> {
    if let Some((short, name, hint)) = args.refused.0.and_then(|index| INAPPLICABLE.get(index)) {
        return Err(Error::Usage(format!("-{short} (--{name}) of nccl-tests does not apply: {hint}")));
    }
    let collective = args.collective;
    if args.root.is_some() && !collective.has_root() {
        return Err(Error::Usage(format!("{} has no root; leave -r out", args.collective)));
    }
    super::args::check_op(collective, args.op.is_some(), "-o")?;
    if collective == Collective::Barrier {
        let sizes = [args.first, args.last, args.step, args.factor];
        let flags = ["-b", "-e", "-i", "-f"].into_iter().zip(sizes).map(|(flag, size)| (size.is_some(), flag));
        let others = [(args.data_type.is_some(), "-d"), (args.unalign > 0, "-u"), (args.seed.is_some(), "--seed")];
        let flags: Vec<_> = flags.chain(others).collect();
        super::args::refuse_flags("a barrier has no payload", &flags)?;
    }
    if args.json {
        let columns = (args.columns != "nccl", "--columns");
        let flags = [(args.per_iteration, "-I"), (args.timestamps, "-S"), (args.memory, "-M"), columns];
        super::args::refuse_flags("--json prints the record, which always has what these add to the table", &flags)?;
    }
    if args.cycles == 0 && (args.record.is_some() || args.plot.is_some() || args.json) {
        return Err(Error::Usage("-N 0 never ends, so no result would be whole; give a number of cycles".to_owned()));
    }
    let defaults = Request::default();
    let first = args.first.unwrap_or(defaults.range.first.min(args.last.unwrap_or(u64::MAX)));
    let last = args.last.unwrap_or(defaults.range.last.max(first));
    let step = match (args.factor, args.step) {
        (None | Some(1), Some(bytes)) => Step::Bytes(bytes),
        (Some(factor), _) => Step::Factor(factor),
        (None, None) => defaults.range.step,
    };
    let algorithms = match &args.algorithm {
        // The table of `auto` is of neighbours.
        None if args.sync == SyncStyle::Barrier => vec![Algorithm::default_of(collective).into()],
        None => vec![Selection::Auto],
        Some(List { all: true, .. }) => Algorithm::of(collective).into_iter().map(Selection::from).collect(),
        Some(List { names, .. }) => names.clone(),
    };
    let dispatch = match &args.dispatch {
        List { all: true, .. } => Dispatch::all(args.protocol),
        List { names, .. } => names.iter().map(|name| name.by(args.protocol)).collect::<Result<_, _>>()?,
    };
    Ok(Request {
        collective,
        roots: args.root.unwrap_or(Roots::One(0)),
        sources: args.sources.of(collective)?,
        algorithms,
        only_defined: args.algorithm.as_ref().is_some_and(|algorithm| algorithm.all),
        sync: args.sync,
        ranks: args.ranks.clone(),
        data_types: args.data_type.as_ref().map_or(defaults.data_types, |data_type| data_type.or_all(DataType::ALL)),
        ops: args.op.as_ref().map_or(defaults.ops, |op| op.or_all(Op::ALL)),
        devices: args.device.clone(),
        dispatch,
        only_sound: args.dispatch.all,
        range: Range { first, last, step },
        iterations: args.iterations,
        warmup: args.warmup,
        skip: args.skip,
        checks: args.checks,
        cycles: args.cycles,
        unalign: args.unalign,
        timeout: args.timeout,
        seed: args.seed.unwrap_or(0),
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

/// Prints and records rows as they come.
struct Printer<'a> {
    args: &'a BenchArgs,
    request: &'a Request,
    least: Option<f64>,
    /// By the local clock and in UTC.
    start: [String; 2],
    machine: Machine,
    /// Once the sweep has begun.
    report: Option<Report<'a>>,
    record: Option<Record>,
    devices: Vec<Device>,
    rows: Vec<Row>,
    bar: ProgressBar,
    /// What a signal leaves.
    kept: Arc<Mutex<String>>,
}

impl Printer<'_> {
    /// A line of the table. A reader that has gone ends the sweep.
    fn line(&self, text: &str) -> Result<(), Error> {
        match self.args.json {
            true => Ok(()),
            false => self.bar.suspend(|| super::output::print_or_fail(text)),
        }
    }

    fn with_contents<T>(&self, errors: &[String], complete: bool, then: impl FnOnce(&Contents<'_>) -> T) -> T {
        then(&Contents {
            args: &command::cleaned(std::env::args_os()),
            machine: &self.machine,
            request: self.request,
            devices: &self.devices,
            rows: &self.rows,
            summary: &self.summary(),
            errors,
            start_time: &self.start[0],
            start_time_utc: &self.start[1],
            complete,
        })
    }

    fn summary(&self) -> Summary {
        Summary::of(self.request, &self.rows, self.least)
    }

    /// Notes what a signal leaves from now on.
    fn keep(&self) {
        let rows = plural(self.rows.len() as u64, "row");
        let text = match &self.record {
            Some(record) => format!("interrupted: {} keeps {rows}", shown(record.path())),
            None => format!("interrupted after {rows}: with -J FILE a record keeps them"),
        };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn update_record(&mut self) -> Result<(), Error> {
        let written = match self.record.take() {
            None => true,
            Some(mut record) => {
                let updated = self.with_contents(&[], false, |contents| record.update(contents));
                self.record = Some(record);
                updated?
            }
        };
        if written {
            self.keep();
        }
        Ok(())
    }
}

impl Observer for Printer<'_> {
    fn begin(&mut self, devices: &[Device], rows: usize, notes: &[String]) -> Result<(), Error> {
        let BenchArgs { per_iteration, timestamps, memory, .. } = *self.args;
        self.devices = devices.to_vec();
        // Everything has been found to make sense by now.
        if let Some(path) = &self.args.record {
            self.record = Some(self.with_contents(&[], false, |contents| Record::create(path, contents))?);
        }
        self.keep();
        let columns = Columns { ours: self.args.columns == "wgccl", per_iteration, timestamps, memory };
        self.report = Some(Report::new(columns, self.request, devices.to_vec(), self.least));
        if let Some(record) = &self.record {
            self.line(&format!("# Writing record to {}", shown(record.path())))?;
        }
        let written = self.args.record.iter().chain(&self.args.plot);
        let notes = notes
            .iter()
            .cloned()
            .chain(chosen(self.args, self.request, devices))
            .chain(written.flat_map(|path| whole::notes(path)));
        for note in notes.filter(|_| !is_quiet()) {
            self.line(&format!("# note: {}", plain(&note)))?;
        }
        // Nothing is drawn where stderr is no terminal, and nothing between rows: a ticking thread would be measured.
        self.bar.set_length(rows as u64 * self.request.cycles.max(1));
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} rows, {elapsed} (about {eta} left)") {
            self.bar.set_style(style);
        }
        self.bar.tick();
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<(), Error> {
        let text = self.report.as_mut().map_or_else(String::new, |report| report.row(&row));
        self.rows.push(row);
        self.update_record()?;
        self.line(&text)?;
        self.bar.inc(1);
        Ok(())
    }
}

/// What `auto` takes, where nobody named an algorithm.
fn chosen(args: &BenchArgs, request: &Request, devices: &[Device]) -> Option<String> {
    if args.algorithm.is_some() || !request.algorithms.contains(&Selection::Auto) {
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for (device, &ranks) in devices.iter().flat_map(|device| request.ranks.iter().map(move |ranks| (device, ranks))) {
        for &data_type in &request.data_types {
            let bytes = data_type.bytes() as u64;
            let counts =
                request.range.counts(data_type.bytes(), Parts::of(request.collective, ranks)).unwrap_or_default();
            for count in counts {
                let algorithm =
                    Algorithm::choose(request.collective, ranks, count as u64 * bytes, device.device_kind());
                if !names.contains(&algorithm.name()) {
                    names.push(algorithm.name());
                }
            }
        }
    }
    Some(format!("no --algorithm: measuring {}, which auto takes here", names.join(" and ")))
}

/// A path that a glob may have found.
fn shown(path: &Path) -> String {
    plain(&path.display().to_string())
}

pub(super) fn bench(args: &BenchArgs) -> Result<u8, Error> {
    if let [a, b] = &args.compare[..] {
        let comparison = compare::compare(a, b)?;
        print(&comparison.text)?;
        return match args.fail_above.map(|ratio| (comparison.slower_than(ratio), ratio)) {
            Some((rows, ratio)) if rows > 0 => Err(BenchError::Regressed { rows, ratio }.into()),
            _ => Ok(exit::OK),
        };
    }
    if let (Some(record), Some(path)) = (&args.from, &args.plot) {
        let record = Recorded::read(record)?;
        plot::draw(path, &record.devices, &record.results)?;
        print(&format!("# Picture written to {}", shown(path)))?;
        return Ok(exit::OK);
    }
    let (request, least) = (request(args)?, least_bandwidth()?);
    if let Some(path) = &args.plot {
        check_new(path)?;
    }
    let mut printer = Printer {
        args,
        request: &request,
        least,
        start: [now(), utc()],
        machine: Machine::this(),
        report: None,
        record: None,
        devices: Vec::new(),
        rows: Vec::new(),
        bar: if is_quiet() { ProgressBar::hidden() } else { ProgressBar::new(0) },
        kept: Arc::new(Mutex::new("interrupted before the first row".to_owned())),
    };
    let kept = printer.kept.clone();
    let saying = say(move || kept.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let result = sweep(&request, &mut printer);
    drop(saying);
    printer.bar.finish_and_clear();
    if printer.report.is_none() {
        return result.map(|()| exit::OK);
    }

    let (complete, summary) = (result.is_ok(), printer.summary());
    let gone = matches!(&result, Err(Error::Print(error)) if error.kind() == std::io::ErrorKind::BrokenPipe);
    let mut error = match result {
        Err(_) if gone => None,
        Err(error) => Some(error),
        Ok(()) if summary.wrong > 0 => Some(BenchError::Wrong(summary.wrong).into()),
        Ok(()) if summary.fast_enough() == Some(false) => {
            let (average, least) = (summary.slowest, least.unwrap_or_default());
            Some(BenchError::Slow { average, least }.into())
        }
        Ok(()) => None,
    };
    let said = |error: &Option<Error>| error.iter().map(ToString::to_string).collect::<Vec<_>>();
    if let Some(mut record) = printer.record.take() {
        let written = printer.with_contents(&said(&error), complete, |contents| record.write(contents));
        error = error.or(written.err().map(Error::from));
    }
    if let (Some(path), false) = (&args.plot, printer.rows.is_empty()) {
        match plot::draw(path, &printer.devices, &printer.rows) {
            Ok(()) => drop(printer.line(&format!("# Picture written to {}", shown(path)))),
            Err(failed) => error = error.or(Some(failed.into())),
        }
    }
    if gone {
        return Ok(exit::OK);
    }
    let errors = said(&error);
    if args.json {
        let text = printer.with_contents(&errors, complete, record::json).map_err(std::io::Error::from)?;
        print(text.trim_end())?;
    } else if let Some(report) = &printer.report {
        print(&report.finish(&errors))?;
    }
    Ok(match error {
        Some(error) => {
            if !args.json {
                print_error(&error);
            }
            error.exit_code()
        }
        None => exit::OK,
    })
}
