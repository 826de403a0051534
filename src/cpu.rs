//! The CPU executor: a proved schedule's lanes as resumable tasks on worker threads.
//!
//! It runs the same instructions as a device, so it needs no driver to try a schedule, and it is the second witness of
//! every result. A task runs until it would wait; then its worker takes another, so ranks may outnumber cores freely.

mod communicator;
pub(crate) mod copy;
mod cut;
mod kernel;
mod memory;
mod program;
mod rest;
mod signal;
mod stall;
mod straight;
mod team;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustc_hash::FxHashMap;

use crate::buffers::{BufferError, UserBuffer};
use crate::collective::Op;
use crate::element::{Element, Unsupported, supported};
use crate::fault::Fault;
use crate::hang::{Evidence, Hang, StuckChannel};
use crate::payload::Payload;
use crate::proof::{Proved, Unscalable};
use crate::schedule::{Buffer, Signal};
pub use communicator::{Communicator, CommunicatorError};
use cut::Cut;
use kernel::Reduction;
use memory::{Bases, Slices, Slots};
use program::Program;
use stall::Stall;
use straight::Straight;
use team::Team;
use worker::{Shared, Worker};

/// Most ranks that this executor runs.
pub const MAX_RANKS: u32 = 1024;

/// How an executor is to run; the default suits every payload.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Threads, the calling one included; by default one for each core. Never more than there is work for.
    pub workers: Option<usize>,
    /// Who runs what.
    pub spread: Spread,
    /// Slices of every chunk; by default so many that a slice of all ranks' data stays in cache.
    pub channels: Option<u32>,
    /// A defect to inject.
    pub fault: Option<Fault>,
}

impl Options {
    /// Sets [`workers`](Self::workers).
    #[must_use]
    pub fn workers(mut self, workers: impl Into<Option<usize>>) -> Self {
        self.workers = workers.into();
        self
    }

    /// Sets [`spread`](Self::spread).
    #[must_use]
    pub fn spread(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }

    /// Sets [`channels`](Self::channels).
    #[must_use]
    pub fn channels(mut self, channels: impl Into<Option<u32>>) -> Self {
        self.channels = channels.into();
        self
    }

    /// Sets [`fault`](Self::fault).
    #[must_use]
    pub fn fault(mut self, fault: impl Into<Option<Fault>>) -> Self {
        self.fault = fault.into();
        self
    }
}

/// How lanes are shared out among workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Spread {
    /// Small payloads on the calling thread alone, large ones as [`Spread::Channels`].
    #[default]
    Auto,
    /// The lanes of every channel over all workers: every notify may come from another thread. Shows the protocol at
    /// work, not the best speed.
    Lanes,
    /// Whole channels to a worker, which runs all their lanes: nobody waits for another thread.
    Channels,
}

/// Why a launch cannot be prepared or did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// Above [`MAX_RANKS`].
    #[error("{0} ranks are more than the {MAX_RANKS} that the CPU executor runs; use fewer ranks")]
    Ranks(u32),
    /// An operation that the type does not have.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// An average in place of a schedule that reads contributions as outputs.
    #[error(transparent)]
    Unscalable(#[from] Unscalable),
    /// The payload was cut for another schedule or element type.
    #[error("the payload was cut for another schedule or element type; make it with Payload::new from this schedule")]
    Payload,
    /// An option that is zero.
    #[error("0 {0} can do nothing; give at least 1")]
    Nothing(&'static str),
    /// Not enough memory for the windows.
    #[error("no memory for {0} of chunk slots and signals; use a smaller count, fewer ranks or Spread::Channels")]
    Memory(Bytes),
    /// A worker thread could not be started.
    #[error("cannot start a worker thread; use fewer workers")]
    Threads(#[source] io::Error),
    /// Buffers that do not fit the schedule and the payload.
    #[error(transparent)]
    Buffers(#[from] BufferError),
    /// [`Executor::run`] of a schedule that was proved for in-place buffers.
    #[error("this schedule was proved for launches in place; use run_in_place, or prove it without in_place")]
    ProvedInPlace,
    /// [`Executor::run_in_place`] of a schedule that was proved for separate buffers.
    #[error("this schedule was proved for separate inputs and outputs; use run, or prove it with in_place")]
    NotProvedInPlace,
    /// No lane could go on. Outputs are unspecified; the next launch starts afresh.
    #[error("{0}")]
    Hang(Hang),
    /// The arithmetic of the element type panicked. Outputs are unspecified; the next launch starts afresh.
    #[error("the element type's arithmetic panicked on a worker thread")]
    Panicked,
}

/// A number of bytes, printed for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(
    /// How many, or what is larger than any memory.
    pub usize,
);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 20 {
            0 => write!(f, "{} bytes", self.0),
            mib => write!(f, "{mib} MiB"),
        }
    }
}

/// A proved schedule made ready for one payload: prepared once, launched many times without proof or allocation.
///
/// ```
/// use wgccl::collective::{Collective, Op};
/// use wgccl::cpu::{Executor, Options};
/// use wgccl::schedule::{Algorithm, SyncStyle, build};
/// use wgccl::proof::prove;
/// use wgccl::element::DataType;
///
/// let proved = prove(build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor)?, Default::default())?;
/// let payload = proved.payload(3, DataType::F32)?;
/// let mut executor = Executor::<f32>::new(&proved, payload, Op::Sum, Options::default())?;
/// let (mut a, mut b) = ([0.0; 3], [0.0; 3]);
/// executor.run(&[&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]], &mut [&mut a, &mut b])?;
/// assert_eq!((a, b), ([11.0, 22.0, 33.0], [11.0, 22.0, 33.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Executor<T: Element> {
    proved: Proved,
    /// Of inputs, and of outputs or, in place, buffers; known beforehand because small launches would feel the search.
    lengths: (Vec<usize>, Vec<usize>),
    channels: u32,
    shared: Arc<Shared<T>>,
    /// Takes the place of all lanes where a launch is small.
    straight: Option<Straight<T>>,
    team: Arc<Team>,
}

impl<T: Element> Executor<T> {
    /// Prepares launches of `proved` over `payload`.
    ///
    /// # Errors
    /// Every [`CpuError`] that does not speak of buffers or a launch.
    pub fn new(proved: &Proved, payload: Payload, op: Op, options: Options) -> Result<Self, CpuError> {
        Self::with_team(Arc::default(), proved, payload, op, options)
    }

    /// As [`new`](Self::new), with worker threads that other executors use as well.
    fn with_team(
        team: Arc<Team>,
        proved: &Proved,
        payload: Payload,
        op: Op,
        options: Options,
    ) -> Result<Self, CpuError> {
        let schedule = proved.schedule();
        if schedule.ranks > MAX_RANKS {
            return Err(CpuError::Ranks(schedule.ranks));
        }
        let op = schedule.task.collective.op(op);
        supported(T::TYPE, op)?;
        if op == Op::Avg {
            proved.scalable()?;
        }
        // All bounds rest on the payload's arithmetic, so it is not taken on trust.
        if size_of::<T>() != T::TYPE.bytes() || Payload::new(schedule, payload.count, size_of::<T>()) != Ok(payload) {
            return Err(CpuError::Payload);
        }
        let program = Program::new(proved, options.fault);
        let in_place = proved.in_place();
        let extents = proved.extents(payload.count);
        let elements = extents.total(UserBuffer::Input).max(extents.total(UserBuffer::Output));
        let lengths = |what| (0..schedule.ranks).map(|rank| extents.len(what, rank)).collect();
        let lengths = (lengths(UserBuffer::Input), lengths(extents.results()));
        let cut = Cut::new(program.lanes(), elements, &payload, &options)?;
        let (ranks, slots) = (schedule.ranks as usize, proved.address_map().all(Buffer::Slot).len());
        let slices = Slices { payload, per: cut.per, slots, ranks };
        let how = Reduction::new(op, schedule.ranks);
        let small = cut.inline && options.channels.is_none() && options.fault.is_none();
        let straight = small.then(|| Straight::new(proved, &program, slices)).flatten();
        let shared = Arc::new(share(program, how, slices, &cut, in_place)?);
        team.grow(cut.workers).map_err(CpuError::Threads)?;
        let channels = if straight.is_some() { 1 } else { cut.channels as u32 };
        Ok(Self { proved: proved.clone(), lengths, channels, shared, straight, team })
    }

    /// Slices that every chunk is cut into.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// Threads that take part, the calling one included.
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// One launch. `inputs` and `outputs` have a slice for each rank: as many parts of `payload.count` elements as the
    /// collective gives it, one after the other, and empty where that is none.
    ///
    /// # Errors
    /// [`CpuError::Buffers`], [`CpuError::ProvedInPlace`]; [`CpuError::Hang`] with a fault; [`CpuError::Panicked`].
    pub fn run(&mut self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<(), CpuError> {
        if self.proved.in_place() {
            return Err(CpuError::ProvedInPlace);
        }
        self.check(UserBuffer::Input, inputs.iter().map(|input| input.len()))?;
        self.check(UserBuffer::Output, outputs.iter().map(|output| output.len()))?;
        self.launch(inputs, outputs)
    }

    /// One launch in which every rank's buffer is its input and its output. Where these differ in length the buffer is as
    /// long as the longer, and the shorter is the rank's part of it, as in NCCL: [`Extents`] says which.
    ///
    /// # Errors
    /// As [`run`](Self::run), with [`CpuError::NotProvedInPlace`] in place of its opposite.
    pub fn run_in_place(&mut self, buffers: &mut [&mut [T]]) -> Result<(), CpuError> {
        if !self.proved.in_place() {
            return Err(CpuError::NotProvedInPlace);
        }
        self.check(UserBuffer::InPlace, buffers.iter().map(|buffer| buffer.len()))?;
        self.launch(&[], buffers)
    }

    fn check(&self, what: UserBuffer, lengths: impl ExactSizeIterator<Item = usize> + Clone) -> Result<(), CpuError> {
        let right = if what == UserBuffer::Input { &self.lengths.0 } else { &self.lengths.1 };
        if lengths.len() == right.len() && lengths.clone().zip(right).all(|(got, &right)| got == right) {
            return Ok(());
        }
        Ok(self.proved.extents(self.shared.slices.payload.count).check(what, lengths)?)
    }

    /// The borrows outlive the call, and no worker uses the pointers after it: `Team::run` returns when all have left.
    fn launch(&mut self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<(), CpuError> {
        if let Some(straight) = &mut self.straight {
            return straight.launch(self.shared.how, inputs, outputs);
        }
        let bases = || self.shared.bases.write().unwrap_or_else(PoisonError::into_inner);
        self.shared.reset();
        bases().set(inputs, outputs);
        self.team.run(&self.shared, self.workers());
        bases().set(&[], &mut []);
        if self.shared.panicked.load(Ordering::Relaxed) {
            return Err(CpuError::Panicked);
        }
        if self.shared.hung.load(Ordering::Relaxed) {
            return Err(CpuError::Hang(self.explain()));
        }
        Ok(())
    }

    /// Every channel that is stuck. A worker of private channels goes on to none after its first.
    fn explain(&self) -> Hang {
        let shared = &self.shared;
        let graph = self.proved.graph();
        let ends: Vec<u32> = (0..graph.lanes()).map(|lane| graph.lane(lane).len() as u32).collect();
        // Channels, with the worker that owns them where they are private.
        let mut stuck = BTreeMap::<u32, (usize, Vec<u32>)>::new();
        for index in 0..self.workers() {
            let worker = shared.worker(index);
            for task in worker.tasks().iter().filter(|_| worker.stuck) {
                let (_, next) = stuck.entry(task.channel).or_insert_with(|| (index, ends.clone()));
                next[task.lane as usize] = task.step - graph.lane(task.lane).start;
            }
        }
        let cells: FxHashMap<Signal, usize> =
            (0..graph.cells()).map(|cell| (graph.signal(cell), cell as usize)).collect();
        let signals = stuck.iter().map(|(&channel, &(owner, _))| {
            let signals = shared.signals_of(if shared.private { owner } else { channel as usize });
            let cells = &cells;
            move |signal: Signal| cells.get(&signal).map_or(0, |&cell| signals[cell].value())
        });
        let signals: Vec<_> = signals.collect();
        Hang::of(
            self.proved.schedule(),
            graph,
            stuck.into_iter().zip(&signals).map(|((channel, (_, next)), signal)| StuckChannel {
                channel,
                next,
                evidence: Evidence::Signals(signal),
            }),
        )
    }
}

impl<T: Element> fmt::Debug for Executor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("schedule", &self.proved.schedule().origin)
            .field("ranks", &self.proved.schedule().ranks)
            .field("channels", &self.channels)
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

/// All that launches need; the only allocations of an executor's life.
fn share<T: Element>(
    program: Program,
    how: Reduction<T>,
    slices: Slices,
    cut: &Cut,
    in_place: bool,
) -> Result<Shared<T>, CpuError> {
    /// Signals in a cache line. Sets lie a line apart, so that private ones do not share any.
    const LINE: usize = 16;
    let signal_stride = program.cells.next_multiple_of(LINE) + LINE;
    let signal_count = cut.sets().saturating_mul(signal_stride);
    let slot_stride = slices.slot_elements();
    let slot_count = slot_stride.and_then(|stride| stride.checked_mul(cut.sets()));
    let bytes = slot_count.map_or(usize::MAX, |elements| elements.saturating_mul(size_of::<T>()));
    let memory = || CpuError::Memory(Bytes(bytes.saturating_add(signal_count.saturating_mul(4))));

    let mut signals = Vec::new();
    signals.try_reserve_exact(signal_count).map_err(|_| memory())?;
    signals.resize_with(signal_count, signal::Signal::new);
    let bases = Bases {
        inputs: Vec::with_capacity(if in_place { 0 } else { slices.ranks }),
        outputs: Vec::with_capacity(slices.ranks),
    };
    let workers = (0..cut.workers).map(|index| {
        let (lanes, lane_step) = cut.lanes_of(index);
        Worker::new(index, lanes, lane_step, cut.channels_of(index), cut.depth()).map(Mutex::new)
    });
    Ok(Shared {
        program,
        how,
        slices,
        stream: cut.stream,
        private: cut.private,
        slots: slot_count.and_then(Slots::new).ok_or_else(memory)?,
        slot_stride: slot_stride.unwrap_or_default(),
        signals,
        signal_stride,
        bases: RwLock::new(bases),
        workers: workers.collect::<Option<_>>().ok_or_else(memory)?,
        stall: Stall::new(),
        stop: AtomicBool::new(false),
        hung: AtomicBool::new(false),
        panicked: AtomicBool::new(false),
        spins: if cut.workers > cut::cores() { 0 } else { 200 },
    })
}
