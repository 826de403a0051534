//! What executes a proved schedule, as two traits: make it ready for one shape, then run it over bytes.
//!
//! Communicators, program and benchmarks know executors by these traits alone; an executor of another kind (several
//! devices, hosts, a browser) has to implement nothing else.

mod share;

use std::time::Duration;

use serde::Serialize;

use crate::collective::{Op, named};
use crate::element::DataType;
use crate::error::{PrepareError, RunError};
use crate::fault::Fault;
use crate::lower::mode::{Mode, Protocol};
use crate::proof::Proved;
use crate::schedule::{DeviceKind, Groups};
use crate::trace::Trace;
pub(crate) use share::Moment;
pub use share::{Member, Message, Share, Transport, pieces, split};

/// How long the host waits for a submission, and a device for a message of another, if nobody says how long.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// What errors call a launch on several devices.
pub(crate) const SEVERAL: &str = "a launch on several devices";

/// What a launch is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Shape {
    /// Elements of a part: what NCCL's calls take as count.
    pub count: usize,
    /// Element type.
    pub data_type: DataType,
    /// Reduction; collectives that reduce nothing do not look at it.
    pub op: Op,
}

impl Shape {
    /// Parts of `count` elements of this type, reduced so.
    pub fn new(count: usize, data_type: DataType, op: Op) -> Self {
        Self { count, data_type, op }
    }
}

/// How launches are to be prepared; the default suits every shape and device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Independent slices of every chunk; chosen by size and device if not given.
    pub channels: Option<u32>,
    /// A defect to put in.
    pub fault: Option<Fault>,
    /// On a GPU: the dispatch mode. If not given: fused where it is sound, passed its check and all lanes run together;
    /// else per-step.
    pub dispatch: Option<Mode>,
    /// On a GPU: how lanes know that data has arrived.
    pub protocol: Protocol,
    /// On a GPU: most bytes of the inputs, outputs and slots in an arena, below the device's own bound. Larger payloads go
    /// in pieces, through two arenas in turn. Signals, or the lines of the `ll` protocol, come on top.
    pub arena_bytes: Option<u64>,
    /// On a GPU: most workgroups that share out the lanes of a channel, below what the device is known to run at the same
    /// time.
    pub workgroups: Option<u32>,
    /// On a GPU: how long the host waits for a submission before it gives up; on several devices, how long one waits for a
    /// message of another; [`DEFAULT_TIMEOUT`] if not given.
    pub timeout: Option<Duration>,
    /// On the CPU: threads, the calling one included; one for each [core](crate::cpu::cores) if not given, and never more
    /// than there is work for.
    pub workers: Option<usize>,
    /// On the CPU: who runs what.
    pub spread: Spread,
    /// On the CPU: how a sum gets to more than one place, in the place of what is known to be best of this
    /// [processor](crate::cpu::Processor).
    pub further_results: Option<FurtherResults>,
    /// On the CPU: from how many bytes on results are written past the caches, in the place of
    /// [what is known of this processor](crate::cpu::Processor::stream_bytes). Bytes are those of all ranks' inputs or of all ranks'
    /// outputs, whichever are more. Payloads that the calling thread reduces by itself never are.
    pub stream_bytes: Option<u64>,
    /// Whether launches note when each instruction ran, for [`Ready::trace`]. They are slower then; if not, nothing is paid.
    pub trace: bool,
}

/// How the CPU executor shares out lanes among workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Spread {
    /// Small payloads on the calling thread, which others may help where launches follow each other closely; large ones as
    /// [`Spread::Channels`].
    #[default]
    Auto,
    /// The lanes of every channel over all workers: every notify may come from another thread. Shows the protocol at
    /// work, not the best speed.
    Lanes,
    /// Whole channels to a worker, which runs all their lanes: nobody waits for another thread.
    Channels,
}

named!(Spread, "spread", { Auto => "auto", Lanes => "lanes", Channels => "channels" });

/// How a sum gets to more than one place, where all places are too much for the first-level cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FurtherResults {
    /// Copied from the first, block by block. Intel's `rep movsb` overwrites lines without fetching them: on a Xeon that pays
    /// above the first-level cache, on an EPYC it costs a quarter.
    Copied,
    /// Stored together with the first, from registers.
    Stored,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),+ $(,)?) => {
        impl Options {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $name: impl Into<$type>) -> Self {
                self.$name = $name.into();
                self
            })+
        }
    };
}

setters! {
    /// Sets [`channels`](Self::channels).
    channels: Option<u32>,
    /// Sets [`fault`](Self::fault).
    fault: Option<Fault>,
    /// Sets [`dispatch`](Self::dispatch).
    dispatch: Option<Mode>,
    /// Sets [`protocol`](Self::protocol).
    protocol: Protocol,
    /// Sets [`arena_bytes`](Self::arena_bytes).
    arena_bytes: Option<u64>,
    /// Sets [`workgroups`](Self::workgroups).
    workgroups: Option<u32>,
    /// Sets [`timeout`](Self::timeout).
    timeout: Option<Duration>,
    /// Sets [`workers`](Self::workers).
    workers: Option<usize>,
    /// Sets [`spread`](Self::spread).
    spread: Spread,
    /// Sets [`further_results`](Self::further_results).
    further_results: Option<FurtherResults>,
    /// Sets [`stream_bytes`](Self::stream_bytes).
    stream_bytes: Option<u64>,
    /// Sets [`trace`](Self::trace).
    trace: bool,
}

impl Options {
    /// Those of these that a device of this kind has, for one device among several: what is for devices of another kind is
    /// left out.
    #[must_use]
    pub fn of_kind(&self, kind: DeviceKind) -> Self {
        match kind {
            DeviceKind::Cpu => Self {
                dispatch: None,
                protocol: Protocol::default(),
                arena_bytes: None,
                workgroups: None,
                timeout: None,
                ..*self
            },
            _ => Self { workers: None, spread: Spread::Auto, further_results: None, stream_bytes: None, ..*self },
        }
    }
}

/// What a launch took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Ran {
    /// Dispatches of the schedule, over all pieces; 0 on the CPU.
    pub dispatches: u32,
    /// What it took as the host sees it: a [`Ready::run`] from the first upload to the last element of the last output, a
    /// [`Ready::launch`] from submission to completion. None of a [`Ready::run`] on the CPU that is so small that a look at
    /// the clock would take longer.
    pub time: Option<Duration>,
    /// The dispatches by the device's own clock, where it has one and nothing else was timed with them.
    pub device: Option<Duration>,
}

/// How a launch was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prepared {
    /// The dispatch mode and protocol, on a GPU.
    pub dispatch: Option<(Mode, Protocol)>,
    /// Independent slices of every chunk.
    pub channels: u32,
    /// Pieces that the payload goes in, one after the other.
    pub pieces: usize,
    /// Bytes of device memory that it holds, on a GPU.
    pub device_bytes: Option<u64>,
}

/// Something that executes proved schedules.
pub trait Backend {
    /// A schedule made ready for one shape.
    type Ready: Ready;

    /// What kind of device it is, for the choice of algorithms.
    fn kind(&self) -> DeviceKind;

    /// Ranks that share a device, of so many, where there are several devices: between these groups data moves slowly.
    fn groups(&self, ranks: u32) -> Option<Groups> {
        let _ = ranks;
        None
    }

    /// Whether buffers of `rank`, of so many, are given in this process. Those of other processes' ranks are empty here.
    fn is_here(&self, rank: u32, ranks: u32) -> bool {
        let _ = (rank, ranks);
        true
    }

    /// Refuses what it has not, whatever the schedule: asked before one is built and proved, for that is what costs.
    ///
    /// # Errors
    /// [`PrepareError`], the same as [`prepare`](Self::prepare) would give.
    fn admit(&self, ranks: u32, options: &Options) -> Result<(), PrepareError> {
        let _ = (ranks, options);
        Ok(())
    }

    /// Makes `proved` ready for launches of `shape`: all memory is taken here, and nothing is proved or compiled later.
    ///
    /// # Errors
    /// [`PrepareError`].
    fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Self::Ready, PrepareError>;
}

/// A schedule made ready for one shape. Buffers are one for each rank, in rank order, empty where a rank has none; their
/// bytes are elements of the shape's type in the machine's order, and begin at a multiple of the element's size.
pub trait Ready {
    /// How it was prepared.
    fn prepared(&self) -> Prepared;

    /// One launch from inputs to outputs, of a schedule that was proved out of place.
    ///
    /// # Errors
    /// [`RunError`]; outputs then hold nothing of use. The next launch is not affected, except over several processes: a failure of one ends
    /// the launches of all.
    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Ran, RunError>;

    /// One launch in which every rank's buffer is its input and becomes its output, of a schedule that was proved in
    /// place. Where these differ in length the buffer is as long as the longer, and the shorter is the rank's part of it,
    /// as in NCCL.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    fn run_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<Ran, RunError>;

    /// Puts piece `piece` of inputs, or in place of buffers, where the executor works, for any number of
    /// [`launch`](Self::launch)es. Of [`Prepared::pieces`], one is there at a time; after an error none is.
    ///
    /// # Errors
    /// [`RunError`].
    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError>;

    /// One launch over what is loaded. In place, the outputs of a launch are the inputs of the next. After one that failed there is
    /// nothing to [`fetch`](Self::fetch), and in place nothing is loaded any more: buffers may hold parts of sums.
    ///
    /// # Errors
    /// [`RunError`].
    fn launch(&mut self) -> Result<Ran, RunError>;

    /// Copies what belongs to the loaded piece of the outputs, or in place of the buffers, to the host.
    ///
    /// # Errors
    /// [`RunError`]; [`RunError::NotLaunched`] where nothing was launched over it.
    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError>;

    /// Launches `launches` times over what is loaded, and says what each took. Nothing is read back between two of them,
    /// and no time is given out unless all of them finished.
    ///
    /// # Errors
    /// [`RunError`].
    fn time(&mut self, launches: usize) -> Result<Vec<Ran>, RunError> {
        (0..launches).map(|_| self.launch()).collect()
    }

    /// Takes the timeline of the last launch, where it was prepared with [`Options::trace`] and the launch succeeded. Launches
    /// of [`time`](Self::time) have none.
    fn trace(&mut self) -> Option<Trace> {
        None
    }
}
