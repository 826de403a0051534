//! Arguments that several commands share: which schedule, and which launch `auto` chooses for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use wgccl::collective::{Collective, Task};
use wgccl::element::DataType;
use wgccl::schedule::{Algorithm, DeviceKind, Draft, Groups, Placement, Selection, SyncStyle};

use super::values::{Names, device, one_of, selection};
use crate::amount::whole;
use crate::device::{AUTO, kind_of};
use crate::error::Error;
use crate::file::{Options, STDIN, load};
use crate::names;
use crate::plan::{Grouping, Plan};
use crate::tensor::Tensors;
use crate::whole as files;

/// See [`default_count`].
const COUNT: usize = 256;

/// Which schedule.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ScheduleArgs {
    /// Algorithm, or auto [default: ring for an all-reduce, else mesh]
    ///
    /// Auto takes the one that measured fastest for an all-reduce of this size, number of ranks and device, else mesh. An algorithm
    /// that the collective does not have is refused, with a list of those that it has [default: ring for an all-reduce, else mesh].
    #[arg(long, alias = "algo", value_name = "NAME", value_parser = selection())]
    pub(super) algorithm: Option<Selection>,
    /// Who waits for whom between rounds [default: neighbor]
    #[arg(long, value_name = "NAME", value_parser = one_of(SyncStyle::ALL, SyncStyle::name))]
    pub(super) sync: Option<SyncStyle>,
    /// Root rank of broadcast, reduce, gather and scatter [default: 0]
    #[arg(short, long, value_name = "RANK", value_parser = whole::<u32>)]
    pub(super) root: Option<u32>,
    /// Of hierarchical algorithms: the number of groups of ranks, or their sizes as 4,4 [default: about as many as a group has ranks]
    #[arg(long, value_name = "N|SIZE,..", value_parser = groups)]
    pub(super) groups: Option<Grouping>,
    #[command(flatten)]
    pub(super) sources: SourcesArgs,
}

fn groups(text: &str) -> Result<Grouping, String> {
    let numbers: Vec<u32> = text.split(',').map(|number| whole(number.trim())).collect::<Result<_, _>>()?;
    match numbers[..] {
        [0] => Err("there is at least one group".to_owned()),
        [count] => Ok(Grouping::Number(count)),
        _ => Groups::new(numbers).map(Grouping::Sizes).map_err(|error| error.to_string()),
    }
}

/// Who sends to whom.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SourcesArgs {
    /// Of send-recv: the rank from which each receives, as 2,0,1 [default: the one before it]
    #[arg(long, value_name = "RANK,..", value_delimiter = ',', value_parser = whole::<u32>)]
    pub(super) sources: Vec<u32>,
}

impl SourcesArgs {
    pub(super) fn of(&self, collective: Collective) -> Result<Vec<u32>, Error> {
        match collective {
            Collective::SendRecv => Ok(self.sources.clone()),
            _ if self.sources.is_empty() => Ok(Vec::new()),
            _ => Err(Error::Usage(format!("only send-recv has sources, not {collective}; leave --sources out"))),
        }
    }
}

impl ScheduleArgs {
    pub(super) fn algorithm(&self, collective: Collective) -> Selection {
        let default = match self.groups {
            Some(_) => Algorithm::Hierarchical,
            None => Algorithm::default_of(collective),
        };
        self.algorithm.unwrap_or_else(|| default.into())
    }

    pub(super) fn task(&self, collective: Collective) -> Result<Task, Error> {
        if self.root.is_some() && !collective.has_root() {
            return Err(Error::Usage(format!("{collective} has no root; leave --root out")));
        }
        let mut task = Task::from(collective).root(self.root.unwrap_or(0));
        task.sources = self.sources.of(collective)?;
        Ok(task)
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    // As long as anybody waits; a clock must be able to show when that is over.
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86400);
    let seconds = text.parse().ok().filter(|&seconds: &f64| seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map(|seconds| seconds.min(CENTURY))
        .ok_or_else(|| "give a number of seconds above 0".to_owned())
}

/// Elements of a part where nobody said how many.
pub(super) fn default_count(plan: &Plan) -> usize {
    if plan.collective() == Collective::Barrier { 0 } else { plan.count_from(COUNT) }
}

/// The launch that `auto` chooses an algorithm for, where nothing is launched.
#[derive(Debug, Clone, Args)]
pub(super) struct LaunchArgs {
    /// Elements of a part, NCCL's count: 1000, 64K, 1e6 [default: 256]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub(super) count: Option<usize>,
    /// Element type, by these names or NCCL's [default: f32]
    #[arg(short = 'd', long = "type", visible_alias = "datatype", alias = "dtype", value_name = "TYPE", value_parser = one_of(DataType::ALL, DataType::name))]
    pub(super) data_type: Option<DataType>,
    /// For --algorithm auto, as `wgccl run` takes it [default: auto]
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub(super) device: Option<String>,
    /// Which ranks are on which device, as 0-3:0,4-7:1, to see what moves between them
    ///
    /// Where an algorithm is chosen, or is hierarchical, ranks of a device are a group.
    #[arg(long, value_name = "RANKS:N,..")]
    pub(super) place: Option<Placement>,
}

impl LaunchArgs {
    pub(super) fn count(&self, plan: &Plan) -> usize {
        self.count.unwrap_or_else(|| default_count(plan))
    }

    pub(super) fn data_type(&self) -> DataType {
        self.data_type.unwrap_or(DataType::F32)
    }

    /// Refuses a type where nothing has one.
    pub(super) fn check(&self, collective: Collective) -> Result<(), Error> {
        let typed = collective == Collective::Barrier && self.data_type.is_some();
        refuse_flags("a barrier has no payload", &[(typed, "--type")])
    }

    /// The schedule, by a chosen algorithm if none is named. The device is looked for only then.
    pub(super) fn draft(&self, plan: &Plan, ranks: u32) -> Result<Draft, Error> {
        let groups = || self.place.as_ref().and_then(Placement::groups);
        if let Some(placement) = &self.place {
            check_placement(placement, ranks)?;
        }
        if !plan.is_auto() {
            let device = [(self.device.is_some(), "--device")];
            refuse_flags("a device only matters to --algorithm auto, and nothing is launched", &device)?;
            return plan.draft_on(ranks, 0, DeviceKind::Cpu, groups());
        }
        let part_bytes = (self.count(plan) as u64).saturating_mul(self.data_type().bytes() as u64);
        plan.draft_on(ranks, part_bytes, kind_of(self.device.as_deref().unwrap_or(AUTO))?, groups())
    }
}

/// Refuses a placement of other ranks, before anything is built.
fn check_placement(placement: &Placement, ranks: u32) -> Result<(), Error> {
    match placement.ranks() {
        placed if placed == ranks => Ok(()),
        placed => {
            Err(Error::Usage(format!("--place is of {placed} ranks, and there are {ranks}; place every rank once")))
        }
    }
}

/// The type of `inputs`, which are in `files`, if it is none other than `wanted`.
pub(super) fn type_of(inputs: &Tensors, files: &[PathBuf], wanted: Option<DataType>) -> Result<DataType, Error> {
    let found = inputs.data_type()?;
    match (wanted, files.first()) {
        (Some(wanted), Some(file)) if wanted != found => Err(Error::Usage(format!(
            "{} holds {found}, and --type says {wanted}; leave --type out to take what the inputs hold",
            file.display()
        ))),
        _ => Ok(found),
    }
}

/// Refuses the first of some flags that was given: it would have no effect.
pub(super) fn refuse_flags(why: &str, flags: &[(bool, &str)]) -> Result<(), Error> {
    match flags.iter().find(|(given, _)| *given) {
        Some((_, flag)) => Err(Error::Usage(format!("{why}; leave {flag} out"))),
        None => Ok(()),
    }
}

pub(super) fn check_op(collective: Collective, given: bool, flag: &str) -> Result<(), Error> {
    refuse_flags(&format!("{collective} reduces nothing"), &[(given && !collective.reduces(), flag)])
}

/// Of a file that was to be new.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::AlreadyExists => "it exists, and nothing is overwritten; name a new file".to_owned(),
        _ => format!("{error}; name a file that can be written"),
    };
    Error::Usage(format!("cannot write {}: {why}", path.display()))
}

/// Refuses two files of one name: one would be lost.
pub(super) fn check_apart(files: &[(&str, Option<&Path>)]) -> Result<(), Error> {
    let absolute = |&(flag, path): &(_, Option<&Path>)| Some((flag, std::path::absolute(path?).ok()?));
    let named: Vec<(&str, PathBuf)> = files.iter().filter_map(absolute).collect();
    for (i, (flag, path)) in named.iter().enumerate() {
        if let Some((first, _)) = named[..i].iter().find(|(_, other)| other == path) {
            return Err(Error::Usage(format!("{first} and {flag} name one file; give each its own")));
        }
    }
    Ok(())
}

/// Whether a trace can be written to `path`, asked before anything runs.
pub(super) fn check_trace(path: &Path) -> Result<(), Error> {
    if path.as_os_str() == STDIN {
        return Err(Error::Usage("standard output has the report; give --trace the name of a file".to_owned()));
    }
    files::check(path).map_err(|error| cannot_write(path, &error))
}

/// A collective, where no file will do.
pub(super) fn collectives() -> Names<Collective> {
    Names::new(Collective::ALL.iter().map(|collective| collective.name()), names::parse)
}

/// The positional argument: a collective, or a file with a schedule of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Collective(Collective),
    File(PathBuf),
}

pub(super) fn subjects() -> Names<Subject> {
    Names::new(Collective::ALL.iter().map(|collective| collective.name()), |text| subject(text, &[]))
}

/// What is no name and looks like a path, or is one, is a file. `more` words are taken in the same place.
pub(super) fn subject(text: &str, more: &[&str]) -> Result<Subject, String> {
    let path = Path::new(text);
    let is_path = text == STDIN || path.extension().is_some() || path.components().count() > 1 || path.exists();
    match text.parse::<Collective>() {
        Ok(collective) => Ok(Subject::Collective(collective)),
        Err(_) if is_path => Ok(Subject::File(path.to_owned())),
        Err(error) => match text.parse::<Algorithm>() {
            Ok(algorithm) => Err(format!("{algorithm} is an algorithm; give it by --algorithm {algorithm}")),
            Err(_) => Err(format!("{}; or give a file with a schedule", names::explain(&error, more))),
        },
    }
}

/// How a schedule file is read.
#[derive(Debug, Clone, Args)]
pub(super) struct FileArgs {
    /// Of MSCCL XML: messages on a connection [default: by its proto, Simple 2, LL and LL128 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) fifo_slots: Option<u32>,
    /// Of MSCCL XML that says custom: what it computes
    #[arg(long, value_name = "NAME", value_parser = collectives())]
    pub(super) collective: Option<Collective>,
    /// Of MSCCL XML: receivers read senders' buffers themselves, where that is proved
    #[arg(long)]
    pub(super) elide: bool,
    /// Of MSCCL XML: do what <copy> of SCCL and TACCL says, before the first step; runtimes pass over it
    #[arg(long)]
    pub(super) copies: bool,
    /// Any count, also one that the file is not made for: its last chunks are shorter, where that is proved
    #[arg(long)]
    pub(super) force_size: bool,
}

impl Subject {
    /// The schedule that it is about.
    pub(super) fn plan(&self, args: &ScheduleArgs, file: &FileArgs) -> Result<Plan, Error> {
        match self {
            Self::Collective(collective) => {
                let flags = [
                    (file.fifo_slots.is_some(), "--fifo-slots"),
                    (file.collective.is_some(), "--collective"),
                    (file.elide, "--elide"),
                    (file.copies, "--copies"),
                    (file.force_size, "--force-size"),
                ];
                refuse_flags("these options are of schedule files", &flags)?;
                let (algorithm, sync) = (args.algorithm(*collective), args.sync.unwrap_or_default());
                let groups = args.groups.clone();
                Ok(Plan::Builtin { task: args.task(*collective)?, algorithm, sync, groups })
            }
            Self::File(path) => {
                let flags = [
                    (args.algorithm.is_some(), "--algorithm"),
                    (args.sync.is_some(), "--sync"),
                    (args.groups.is_some(), "--groups"),
                    (!args.sources.sources.is_empty(), "--sources"),
                ];
                refuse_flags("a file has the one schedule that it has", &flags)?;
                let FileArgs { fifo_slots, collective, elide, copies, force_size } = *file;
                let options = Options { fifo_slots, collective, root: args.root, elide, copies, force_size };
                let loaded = load(path, &options).map_err(Box::new)?;
                let task = &loaded.schedule.task;
                if args.root.is_some() && !task.collective.has_root() {
                    return Err(Error::Usage(format!("{} has no root; leave --root out", task.collective)));
                }
                let forced = [(force_size && !loaded.forced, "--force-size")];
                refuse_flags("this schedule is for any count already", &forced)?;
                Ok(Plan::File(Arc::new(loaded)))
            }
        }
    }
}

/// The ranks of a file, or those that were asked for.
pub(super) fn ranks_of(plan: &Plan, given: Option<u32>, default: u32) -> Result<u32, Error> {
    match (plan.ranks(), given) {
        (Some(ranks), Some(given)) if ranks != given => {
            Err(Error::Usage(format!("--ranks says {given}, and the file has {ranks}; leave --ranks out")))
        }
        (Some(ranks), _) => Ok(ranks),
        (None, given) => Ok(given.unwrap_or(default)),
    }
}
