//! What `wgccl bench` takes: nccl-tests' flags, those of its own, and which of them do not go together.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use wgccl::collective::Op;
use wgccl::element::DataType;
use wgccl::lower::Protocol;
use wgccl::schedule::{Algorithm, Placement, Selection, SyncStyle};

use crate::amount::{bytes, whole};
use crate::bench::request::Roots;
use crate::cli::args::{FileArgs, SourcesArgs, Subject, seconds, subjects};
use crate::cli::run::{DISPATCH, DISPATCH_LONG, PROTOCOL, PROTOCOL_LONG};
use crate::cli::values::{ALL, List, Names, device, list, one_of};
use crate::device::AUTO;
use crate::dispatch::Wanted;
use crate::names::{self, parse};

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
pub(crate) struct BenchArgs {
    /// What to compute: a collective, or a file with a schedule, which is measured before the algorithms that are named
    #[arg(default_value = "all-reduce", value_name = "COLLECTIVE|FILE", value_parser = subjects())]
    pub(super) what: Subject,
    #[command(flatten)]
    pub(super) file: FileArgs,
    /// Number of ranks, several separated by commas [default: 4]
    #[arg(short = 'P', long, alias = "nranks", value_name = "P,..", value_delimiter = ',', value_parser = whole::<u32>)]
    pub(super) ranks: Vec<u32>,
    /// Algorithms, separated by commas [default: auto; ring with --sync barrier]
    ///
    /// Auto is for each size the fastest on the device; all are those that are defined for the collective and P
    /// [default: auto; ring with --sync barrier].
    #[arg(long, alias = "algo", value_name = "NAME,..", value_parser = algorithms())]
    pub(super) algorithm: Option<List<Selection>>,
    /// Who waits for whom between rounds
    #[arg(long, default_value = "neighbor", value_name = "NAME", value_parser = one_of(SyncStyle::ALL, SyncStyle::name))]
    pub(super) sync: SyncStyle,
    /// Devices as in `wgccl devices`, separated by commas or given repeatedly, or all; 0+cpu share the ranks
    #[arg(long, value_name = "DEVICE,..", value_delimiter = ',', default_value = AUTO, value_parser = device)]
    pub(super) device: Vec<String>,
    /// Which ranks are on which of several devices that are joined by +, as 0-3:0,4-7:1 [default: in blocks]
    #[arg(long, value_name = "RANKS:N,..")]
    pub(super) place: Option<Placement>,
    #[arg(long, default_value = AUTO, value_name = "MODE,..", value_parser = dispatch_modes(),
          help = format!("{DISPATCH}, several separated by commas"),
          long_help = format!("{DISPATCH_LONG}; several separated by commas, or all that are sound on a device"))]
    pub(super) dispatch: List<Wanted>,
    #[arg(long, alias = "proto", value_name = "NAME", value_parser = one_of(Protocol::ALL, Protocol::name), help = PROTOCOL, long_help = PROTOCOL_LONG)]
    pub(super) protocol: Option<Protocol>,
    /// First size, of a rank's input or output, whichever is longer [default: 1K]
    #[arg(short = 'b', long = "minbytes", value_name = "SIZE", value_parser = bytes)]
    pub(super) first: Option<u64>,
    /// Last size [default: 4M]
    #[arg(short = 'e', long = "maxbytes", value_name = "SIZE", value_parser = bytes)]
    pub(super) last: Option<u64>,
    /// Add so much from one size to the next
    #[arg(short = 'i', long = "stepbytes", value_name = "SIZE", value_parser = bytes)]
    pub(super) step: Option<u64>,
    /// Multiply from one size to the next; wins over -i [default: 4]
    #[arg(short = 'f', long = "stepfactor", value_name = "N", value_parser = whole::<u64>)]
    pub(super) factor: Option<u64>,
    /// Timed iterations
    #[arg(short = 'n', long = "iters", alias = "iterations", value_name = "N", default_value_t = 20, value_parser = whole::<usize>)]
    pub(super) iterations: usize,
    /// Iterations before them
    #[arg(short = 'w', long = "warmup_iters", alias = "warmup", value_name = "N", default_value_t = 5, value_parser = whole::<usize>)]
    pub(super) warmup: usize,
    /// Checked iterations, apart from the timed ones; 0 for none
    #[arg(short = 'c', long = "check", value_name = "N", default_value_t = 1, value_parser = whole::<usize>)]
    pub(super) checks: usize,
    /// Operations, separated by commas [default: sum]
    #[arg(short = 'o', long, alias = "redop", value_name = "OP,..", value_parser = several(Op::ALL, Op::name, |text| list(text, parse)))]
    pub(super) op: Option<List<Op>>,
    /// Element types, separated by commas, by these names or nccl-tests' [default: f32]
    #[arg(short = 'd', long = "datatype", visible_alias = "type", alias = "dtype", value_name = "TYPE,..", value_parser = several(DataType::ALL, DataType::name, |text| list(text, parse)))]
    pub(super) data_type: Option<List<DataType>>,
    /// Root rank of broadcast, reduce, gather and scatter, or all [default: 0]
    #[arg(short = 'r', long, value_name = "RANK", value_parser = roots)]
    pub(super) root: Option<Roots>,
    #[command(flatten)]
    pub(super) sources: SourcesArgs,
    /// Repeat everything; 0 for ever
    #[arg(short = 'N', long = "run_cycles", alias = "cycles", value_name = "N", default_value_t = 1, value_parser = whole::<u64>)]
    pub(super) cycles: u64,
    /// Columns of the table: nccl, which are exactly those of nccl-tests, or wgccl, with membw, roof% and dispatches to their right
    #[arg(long, value_name = "nccl|wgccl", default_value = "nccl", value_parser = ["nccl", "wgccl"])]
    pub(super) columns: String,
    /// 1: statistics of the iterations in every row
    #[arg(short = 'I', long = "per_iter_timing", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    pub(super) per_iteration: bool,
    /// Leave the first iterations out of times and statistics; the record keeps them
    #[arg(short = 'K', long = "per_iter_skip", value_name = "N", default_value_t = 0, value_parser = whole::<usize>)]
    pub(super) skip: usize,
    /// 1: when each row was done
    #[arg(short = 'S', long = "report_timestamps", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    pub(super) timestamps: bool,
    /// 1: device memory
    #[arg(short = 'M', long = "memory", value_name = "0|1", default_value = "0", value_parser = flag, num_args = 0..=1, default_missing_value = "1")]
    pub(super) memory: bool,
    /// Write a record, CSV where the name ends in .csv; an existing name gets .0, .1, ...
    #[arg(short = 'J', long = "output_file", value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Print the record, one JSON object, in place of the table
    #[arg(long)]
    pub(super) json: bool,
    /// Draw time and busbw over size, or what is compared, to a file that does not exist yet
    #[arg(long, value_name = "FILE.svg|png")]
    pub(super) plot: Option<PathBuf>,
    /// Write a trace of one more launch, for ui.perfetto.dev, to a file that does not exist yet, and print its critical path
    ///
    /// As `wgccl run --trace` does. What is measured is not traced. Of one row: one size, device, mode, number of ranks, type,
    /// operation and algorithm.
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
    /// Seconds that one row may take (exit code 4), or all of a card [default: none, of a card 55]
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) timeout: Option<Duration>,
    /// Index of the first element in every buffer; CPU executor only
    #[arg(short = 'u', long, value_name = "N", default_value_t = 0, value_parser = whole::<usize>)]
    pub(super) unalign: usize,
    /// Seed of the inputs [default: 0]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub(super) seed: Option<u64>,
    /// Draw the --plot of records instead of measuring: several are one picture
    #[arg(long, alias = "records", value_name = "RECORD.json", requires = "plot", num_args = 1..)]
    pub(super) from: Vec<PathBuf>,
    /// Measure what fits a post, in less than a minute: print it, or write it as text, Markdown or a picture
    ///
    /// Launch latency, the copy roof, and the best all-reduce at 1 KiB, 1 MiB and 64 MiB of one device, every result checked.
    /// What does not fit into the time or the memory is left out, and the card says so.
    #[arg(long, value_name = "FILE.txt|md|svg|png", num_args = 0..=1)]
    pub(super) card: Option<Option<PathBuf>>,
    /// Compare two records instead of measuring: which rows of B are faster, slower or within noise
    ///
    /// What nccl-tests printed or wrote with -J is read, too.
    #[arg(long, num_args = 2, value_names = ["A", "B"], action = ArgAction::Set)]
    pub(super) compare: Vec<PathBuf>,
    /// With --compare: fail (exit code 7) where a row of B takes more than RATIO times as long
    ///
    /// And is slower beyond noise.
    #[arg(long, value_name = "RATIO", requires = "compare", value_parser = ratio)]
    pub(super) fail_above: Option<f64>,
    #[command(flatten)]
    pub(super) refused: Refused,
}

/// Flags of nccl-tests that have no meaning here, and what to do instead.
pub(super) const INAPPLICABLE: [(char, &str, &str); 13] = [
    ('t', "nthreads", "a rank takes no thread of its own; give their number with -P"),
    ('g', "ngpus", "a rank takes no GPU of its own; give their number with -P, and devices with --device"),
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
    (
        'a',
        "average",
        "ranks of one device have one time, and those of several processes that of the slowest; leave it out",
    ),
];

/// The first flag among [`INAPPLICABLE`] that was given.
#[derive(Debug, Clone, Default)]
pub(super) struct Refused(pub(super) Option<usize>);

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
        const INSTEAD: [&[&str]; 3] =
            [&["compare", "fail_above", "plot"], &["from", "plot"], &["card", "device", "json", "timeout"]];
        INSTEAD.into_iter().fold(command, |command, with| {
            let others = all.iter().filter(|id| !with.contains(&id.as_str()));
            command.mut_arg(with[0], |arg| arg.conflicts_with_all(others))
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

/// All is every mode that the device supports.
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
