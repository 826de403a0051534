//! The timeline of a launch: when each instruction began to wait, when it began to move data, and when it was done.
//!
//! All executors leave the same plain value, so that files, pictures and the critical path are made of it in one place. It
//! says whose clock it is by, and holds no time that nobody measured.

mod chrome;
mod critical;
mod edges;

use serde::{Deserialize, Serialize};

pub use critical::{After, CriticalPath, Link, Totals, Waited};

/// Most spans of a trace: the file of so many is most of a gigabyte.
pub const MOST_SPANS: usize = 1 << 20;

/// The timeline of one launch.
///
/// ```
/// use wgccl::Communicator;
/// use wgccl::backend::{Options, Ready, Shape};
/// use wgccl::collective::{Collective, Op};
/// use wgccl::element::DataType;
///
/// let comm = Communicator::cpu(2).options(Options::default().trace(true));
/// let mut ready = comm.prepare(Collective::Barrier, Shape::new(0, DataType::F32, Op::Sum), false)?;
/// ready.run(&[&[], &[]], &mut [&mut [], &mut []])?;
/// let trace = ready.trace().expect("traced, as was asked for");
/// assert!(trace.spans.iter().all(|span| span.begin <= span.ready && span.ready <= span.end));
/// # Ok::<(), wgccl::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trace {
    /// What the numbers of the spans are.
    pub clock: Clock,
    /// One for every instruction, channel and piece: by piece, channel and lane, in program order.
    pub spans: Vec<Span>,
    /// Of a device's clock that was held against the host's: by how many nanoseconds all spans together may be earlier or later by
    /// the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<u64>,
}

/// What the numbers of a trace are, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Clock {
    /// Nanoseconds by the host's clock since the launch began.
    Host,
    /// Nanoseconds by the device's own clock. If it is not calibrated, they count from the first dispatch and say nothing of
    /// what the host did meanwhile; else from the launch's beginning by the host's clock, give or take [`Trace::uncertainty`].
    Device {
        /// Whether it was held against the host's.
        calibrated: bool,
    },
    /// Places in an order, and no times at all: that something ended at 7 and something else began at 7 means that it came
    /// after it, and differences mean nothing.
    Order {
        /// Whether the device said in which order instructions ran. Else it is one of those that the proof allows.
        measured: bool,
    },
}

/// An instruction of one channel and piece. `begin <= ready <= end`, in what the trace's [`Clock`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Span {
    /// Index into the lanes of the proved schedule, as in [`Site`](crate::schedule::Site).
    pub lane: u32,
    /// Index into the lane's instructions.
    pub instruction: u32,
    /// The slice of every chunk. None where all channels ran at once and were not told apart.
    pub channel: Option<u32>,
    /// The piece of the payload, where that goes in several, one after the other; else 0.
    pub piece: u32,
    /// The thread that ran it, on the CPU; the calling one is 0.
    pub worker: Option<u32>,
    /// The lane came to it: the one before it was done, or the channel was begun.
    pub begin: u64,
    /// Its waits were over and somebody ran it: until then it waited, from then on it moved data.
    pub ready: u64,
    /// Its result was in memory. Its notifies came next.
    pub end: u64,
}

impl Trace {
    /// Puts the spans in order.
    pub fn new(clock: Clock, mut spans: Vec<Span>) -> Self {
        spans.sort_unstable_by_key(Span::key);
        Self { clock, spans, uncertainty: None }
    }

    /// Sets [`uncertainty`](Self::uncertainty).
    #[must_use]
    pub fn uncertainty(mut self, nanoseconds: impl Into<Option<u64>>) -> Self {
        self.uncertainty = nanoseconds.into();
        self
    }
}

impl Clock {
    /// Whether differences are nanoseconds.
    pub fn has_times(self) -> bool {
        !matches!(self, Self::Order { .. })
    }

    /// What it is, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Host => "the host's clock",
            Self::Device { calibrated: true } => "the device's clock, calibrated to the host's",
            Self::Device { calibrated: false } => "the device's clock, not calibrated to the host's",
            Self::Order { measured: true } => "order only, as the device said; no times",
            Self::Order { measured: false } => "order only, one that the proof allows; no times, nothing measured",
        }
    }
}

impl Span {
    /// An instruction that has not begun.
    pub fn new(lane: u32, instruction: u32) -> Self {
        Self { lane, instruction, channel: None, piece: 0, worker: None, begin: 0, ready: 0, end: 0 }
    }

    /// Sets [`channel`](Self::channel).
    #[must_use]
    pub fn channel(mut self, channel: impl Into<Option<u32>>) -> Self {
        self.channel = channel.into();
        self
    }

    /// Sets [`piece`](Self::piece).
    #[must_use]
    pub fn piece(mut self, piece: u32) -> Self {
        self.piece = piece;
        self
    }

    /// Sets [`worker`](Self::worker).
    #[must_use]
    pub fn worker(mut self, worker: impl Into<Option<u32>>) -> Self {
        self.worker = worker.into();
        self
    }

    /// Sets [`begin`](Self::begin), [`ready`](Self::ready) and [`end`](Self::end).
    #[must_use]
    pub fn at(mut self, begin: u64, ready: u64, end: u64) -> Self {
        (self.begin, self.ready, self.end) = (begin, ready, end);
        self
    }

    /// By which spans are in order.
    fn key(&self) -> (u32, Option<u32>, u32, u32) {
        (self.piece, self.channel, self.lane, self.instruction)
    }
}
