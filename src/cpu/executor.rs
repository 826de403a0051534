//! A proved schedule made ready for one element type and count: prepared once, launched many times without proof or
//! allocation.
//!
//! All bounds rest on the payload's arithmetic, so an executor makes the payload itself from the schedule that it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::cut::Cut;
use super::hot::{Hot, SliceByWorker};
use super::kernel::Reduction;
use super::memory::{Bases, Slices, Slots};
use super::program::Program;
use super::recorder::Recorder;
use super::stall::Stall;
use super::straight::Straight;
use super::team::Team;
use super::worker::{Shared, Worker};
use super::{admit, signal};
use crate::backend::Options;
use crate::buffers::{BufferError, UserBuffer};
use crate::collective::Op;
use crate::cores::cores;
use crate::element::{Element, supported};
use crate::error::{PrepareError, RunError};
use crate::hang::{Evidence, Hang, StuckChannel};
use crate::payload::{Payload, VECTOR_BYTES};
use crate::proof::Proved;
use crate::schedule::{Buffer, Signal};
use crate::trace::{Clock, MOST_SPANS, Trace};

/// A launch that the calling thread can make by itself.
enum Small<T: Element> {
    Alone(Straight<T>),
    /// So large that others help, if they are awake.
    Hot(Box<Hot<T>>),
}

/// A proved schedule made ready for one payload: prepared once, launched many times without proof or allocation.
///
/// ```
/// use wgccl::collective::{Collective, Op};
/// use wgccl::cpu::Executor;
/// use wgccl::proof::prove;
/// use wgccl::schedule::{Algorithm, SyncStyle, build};
///
/// let proved = prove(build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor)?, Default::default())?;
/// let mut executor = Executor::<f32>::new(&proved, 3, Op::Sum, &Default::default())?;
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
    small: Option<Small<T>>,
    team: Arc<Team>,
    /// Launches are traced, and the last one succeeded.
    traced: Option<bool>,
}

impl<T: Element> Executor<T> {
    /// Prepares launches of `proved` over parts of `count` elements.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn new(proved: &Proved, count: usize, op: Op, options: &Options) -> Result<Self, PrepareError> {
        if proved.is_part() {
            return Err(PrepareError::Part);
        }
        Self::with_team(Arc::default(), proved, count, op, options)
    }

    /// As [`new`](Self::new), with worker threads that other executors use as well.
    pub(super) fn with_team(
        team: Arc<Team>,
        proved: &Proved,
        count: usize,
        op: Op,
        options: &Options,
    ) -> Result<Self, PrepareError> {
        Self::in_pieces(team, proved, count, op, None, options)
    }

    /// As [`with_team`](Self::with_team); of a part, with slices that are of one piece of so many vectors each.
    pub(super) fn in_pieces(
        team: Arc<Team>,
        proved: &Proved,
        count: usize,
        op: Op,
        vectors: Option<usize>,
        options: &Options,
    ) -> Result<Self, PrepareError> {
        let schedule = proved.schedule();
        admit(schedule.ranks, options)?;
        let op = schedule.task.collective.op(op);
        supported(T::TYPE, op)?;
        let op = op.over(schedule.ranks);
        if op == Op::Avg {
            proved.scalable()?;
        }
        let payload = Payload::new(schedule, count, size_of::<T>())?;
        let program = Program::new(proved, options.fault);
        let in_place = proved.in_place();
        let extents = proved.extents(payload.count);
        let elements = extents.total(UserBuffer::Input).max(extents.total(UserBuffer::Output));
        let lengths = |what| (0..schedule.ranks).map(|rank| extents.len(what, rank)).collect();
        let lengths = (lengths(UserBuffer::Input), lengths(extents.results()));
        let mut cut = Cut::new(program.lanes(), elements, &payload, options, proved.is_part())?;
        if let Some(vectors) = vectors {
            cut = cut.in_pieces(&payload, vectors);
        }
        let (ranks, slots) = (schedule.ranks as usize, proved.address_map().all(Buffer::Slot).len());
        let pitch = if cut.kept { payload.chunk_elements } else { cut.per };
        let slices = Slices { payload, per: cut.per, pitch, slots, ranks };
        let mut how = Reduction::new(op, schedule.ranks);
        how.further = options.further_results.unwrap_or(how.further);
        // What is joined to one step has no times for each instruction.
        let plain = options.channels.is_none() && options.fault.is_none() && !options.trace;
        // Nor is there one order of several pieces.
        let plain = plain && vectors.is_none_or(|vectors| vectors >= payload.chunk_vectors());
        let small = cut.inline && plain;
        let straight = small.then(|| Straight::new(proved, &program, slices, how)).flatten();
        let small =
            straight.map(|straight| match SliceByWorker::new(&straight, proved, &program, slices, how, cut.awake) {
                Some(slices) => Small::Hot(Box::new(Hot::new(straight, slices))),
                None => Small::Alone(straight),
            });
        let shared = Arc::new(share(program, how, slices, &cut, in_place)?);
        if options.trace {
            record(&shared, cut.channels)?;
        }
        team.grow(cut.workers).map_err(PrepareError::Threads)?;
        let channels = if small.is_some() { 1 } else { cut.channels as u32 };
        let traced = options.trace.then_some(false);
        Ok(Self { proved: proved.clone(), lengths, channels, shared, small, team, traced })
    }

    /// What was executed is this schedule.
    pub(super) fn proved(&self) -> &Proved {
        &self.proved
    }

    /// Of the schedule, whichever device they are on.
    pub(super) fn ranks(&self) -> usize {
        self.shared.slices.ranks
    }

    /// Elements of a part.
    pub(super) fn count(&self) -> usize {
        self.shared.slices.payload.count
    }

    /// Whether launches are so small that they take less time than a look at the clock.
    pub(super) fn is_small(&self) -> bool {
        matches!(self.small, Some(Small::Alone(_)))
    }

    /// Slices that every chunk is cut into. Where other threads help with a small launch, each has a slice of its own.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// Threads that take part in every launch, the calling one included. With small ones in a row others may help.
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// One launch. `inputs` and `outputs` have a slice for each rank: as many parts of `payload.count` elements as the
    /// collective gives it, one after the other, and empty where that is none.
    ///
    /// # Errors
    /// [`RunError::Buffers`], [`RunError::Placement`]; [`RunError::Hang`] with a fault; [`RunError::Panicked`].
    pub fn run(&mut self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<(), RunError> {
        if self.proved.in_place() {
            return Err(RunError::Placement { in_place: true });
        }
        self.check(UserBuffer::Input, inputs.iter().map(|input| input.len()))?;
        self.check(UserBuffer::Output, outputs.iter().map(|output| output.len()))?;
        // SAFETY: the borrows last until it returns, and their lengths have been checked.
        unsafe { self.launch(inputs.iter().map(|x| x.as_ptr()), outputs.iter_mut().map(|x| x.as_mut_ptr())) }
    }

    /// One launch in which every rank's buffer is its input and its output. Where these differ in length the buffer is as
    /// long as the longer, and the shorter is the rank's part of it, as in NCCL:
    /// [`Extents`](crate::buffers::Extents) says which.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_in_place(&mut self, buffers: &mut [&mut [T]]) -> Result<(), RunError> {
        if !self.proved.in_place() {
            return Err(RunError::Placement { in_place: false });
        }
        self.check(UserBuffer::InPlace, buffers.iter().map(|buffer| buffer.len()))?;
        // SAFETY: the borrows last until it returns, and their lengths have been checked.
        unsafe { self.launch([].into_iter(), buffers.iter_mut().map(|x| x.as_mut_ptr())) }
    }

    /// As [`run`](Self::run), over the bytes of elements.
    pub(super) fn run_bytes(&mut self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        if self.proved.in_place() {
            return Err(RunError::Placement { in_place: true });
        }
        self.check_bytes(UserBuffer::Input, inputs.iter().map(|x| (x.as_ptr(), x.len())))?;
        self.check_bytes(UserBuffer::Output, outputs.iter().map(|x| (x.as_ptr(), x.len())))?;
        let (inputs, outputs) =
            (inputs.iter().map(|x| x.as_ptr().cast()), outputs.iter_mut().map(|x| x.as_mut_ptr().cast()));
        // SAFETY: the borrows last until it returns; their lengths have been checked, and that elements may lie there. All
        // bytes are elements, and the reverse.
        unsafe { self.launch(inputs, outputs) }
    }

    /// As [`run_in_place`](Self::run_in_place), over the bytes of elements.
    pub(super) fn run_bytes_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<(), RunError> {
        if !self.proved.in_place() {
            return Err(RunError::Placement { in_place: false });
        }
        self.check_bytes(UserBuffer::InPlace, buffers.iter().map(|x| (x.as_ptr(), x.len())))?;
        // SAFETY: as in `run_bytes`.
        unsafe { self.launch([].into_iter(), buffers.iter_mut().map(|x| x.as_mut_ptr().cast())) }
    }

    fn check(&self, what: UserBuffer, lengths: impl ExactSizeIterator<Item = usize> + Clone) -> Result<(), RunError> {
        let right = self.lengths(what);
        if lengths.len() == right.len() && lengths.clone().zip(right).all(|(got, &right)| got == right) {
            return Ok(());
        }
        Ok(self.proved.extents(self.count()).check(what, lengths)?)
    }

    /// Lengths, and that elements may begin where the buffers do.
    pub(super) fn check_bytes(
        &self,
        what: UserBuffer,
        buffers: impl ExactSizeIterator<Item = (*const u8, usize)> + Clone,
    ) -> Result<(), RunError> {
        let right = self.lengths(what);
        let (size, aligned) = (size_of::<T>(), |at: *const u8| at.cast::<T>().is_aligned());
        let fits = |((at, got), &right): ((*const u8, usize), &usize)| got == right * size && (got == 0 || aligned(at));
        if buffers.len() == right.len() && buffers.clone().zip(right).all(fits) {
            return Ok(());
        }
        for (rank, (at, got)) in (0..).zip(buffers.clone()) {
            if !got.is_multiple_of(size) {
                return Err(BufferError::Ragged { what, rank, got, element_bytes: size }.into());
            }
            if got > 0 && !aligned(at) {
                return Err(BufferError::Misaligned { what, rank, align: align_of::<T>() }.into());
            }
        }
        Ok(self.proved.extents(self.count()).check(what, buffers.map(|(_, got)| got / size))?)
    }

    fn lengths(&self, what: UserBuffer) -> &[usize] {
        if what == UserBuffer::Input { &self.lengths.0 } else { &self.lengths.1 }
    }

    /// No worker uses the pointers after the call: `Team::run` returns when all have left.
    ///
    /// # Safety
    /// The pointers are those of borrows that outlive the call, shared ones of inputs and exclusive ones of outputs or
    /// buffers in place, whose lengths have been checked.
    pub(super) unsafe fn launch(
        &mut self,
        inputs: impl ExactSizeIterator<Item = *const T>,
        outputs: impl ExactSizeIterator<Item = *mut T>,
    ) -> Result<(), RunError> {
        // SAFETY: handed on, by both.
        unsafe {
            match &mut self.small {
                Some(Small::Alone(straight)) => return straight.launch(self.shared.how, inputs, outputs),
                Some(Small::Hot(hot)) => return hot.launch(&self.team, inputs, outputs),
                None => {}
            }
        }
        self.shared.reset(0, 0..self.channels as usize);
        self.bases().set(inputs, outputs);
        if self.traced.is_none() {
            return self.launch_all();
        }
        let began = Instant::now();
        for index in 0..self.workers() {
            self.shared.worker(index).recorder.iter_mut().for_each(|recorder| recorder.begin(began));
        }
        let launched = self.launch_all();
        self.traced = Some(launched.is_ok());
        launched
    }

    /// An epoch of a part, after those before it, over these channels. `bases` are inputs, outputs, and last the
    /// [slots](Self::slots).
    ///
    /// # Safety
    /// As for [`launch`](Self::launch); of ranks that are not on this device the pointers are to what the map keeps of them.
    /// All epochs of a launch have the same pointers.
    pub(super) unsafe fn launch_epoch(
        &mut self,
        epoch: u32,
        channels: std::ops::Range<usize>,
        bases: &[*mut T],
    ) -> Result<(), RunError> {
        if let Some(Small::Alone(straight)) = &self.small {
            // SAFETY: handed on.
            return unsafe { straight.launch_epoch(self.shared.how, epoch, bases) };
        }
        self.shared.reset(epoch, channels);
        let (inputs, outputs) = bases.split_at(self.shared.slices.ranks);
        self.bases()
            .set(inputs.iter().map(|base| base.cast_const()), outputs[..self.shared.slices.ranks].iter().copied());
        self.launch_all()
    }

    /// Of a part: where its slots lie one after the other, a whole chunk each.
    pub(super) fn slots(&self) -> *mut T {
        match &self.small {
            Some(Small::Alone(straight)) => straight.slots(),
            _ => self.shared.slots.as_ptr(),
        }
    }

    /// Vectors of a channel's slice of a chunk.
    pub(super) fn slice_vectors(&self) -> usize {
        self.shared.slices.per * size_of::<T>() / VECTOR_BYTES
    }

    /// How the payload is cut into chunks.
    pub(super) fn payload(&self) -> &Payload {
        &self.shared.slices.payload
    }

    /// Takes the timeline of the last launch, if it was to be traced and succeeded.
    pub fn trace(&mut self) -> Option<Trace> {
        if !std::mem::take(self.traced.as_mut()?) {
            return None;
        }
        let spans = (0..self.workers()).flat_map(|index| {
            let worker = self.shared.worker(index);
            worker
                .recorder
                .as_ref()
                .map_or_else(Vec::new, |recorder| recorder.spans(index as u32, &self.shared.program))
        });
        Some(Trace::new(Clock::Host, spans.collect()))
    }

    fn bases(&self) -> RwLockWriteGuard<'_, Bases<T>> {
        self.shared.bases.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// By all workers, over the buffers that the bases point to, which are forgotten.
    fn launch_all(&self) -> Result<(), RunError> {
        self.team.run(&self.shared, self.workers());
        self.bases().clear();
        if self.shared.panicked.load(Ordering::Relaxed) {
            return Err(RunError::Panicked);
        }
        if self.shared.hung.load(Ordering::Relaxed) {
            return Err(RunError::Hang(Box::new(self.explain())));
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
        // Where a worker has not come to a channel, its lanes there only wait for it to leave another.
        let workers = 0..if shared.private { 0 } else { self.workers() };
        workers.for_each(|index| stuck.retain(|&channel, _| shared.worker(index).has_begun(channel)));
        let cells: FxHashMap<Signal, usize> =
            (0..graph.cells()).map(|cell| (graph.signal(cell), cell as usize)).collect();
        let signals = stuck.iter().map(|(&channel, &(owner, _))| {
            let signals = shared.signals_of(shared.set(owner, channel as usize));
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

/// Makes room for the notes of launches that are traced.
fn record<T>(shared: &Shared<T>, channels: usize) -> Result<(), PrepareError> {
    let instructions = channels.saturating_mul(shared.program.steps.len());
    if instructions > MOST_SPANS {
        return Err(PrepareError::Trace { instructions, most: MOST_SPANS });
    }
    let memory = || PrepareError::Memory((instructions * Recorder::BYTES) as u64);
    (0..shared.workers.len()).try_for_each(|index| shared.worker(index).record(&shared.program).ok_or_else(memory))
}

/// All that launches of lanes need.
fn share<T: Element>(
    program: Program,
    how: Reduction<T>,
    slices: Slices,
    cut: &Cut,
    in_place: bool,
) -> Result<Shared<T>, PrepareError> {
    /// Signals in a cache line. Sets lie a line apart, so that private ones do not share any.
    const LINE: usize = 16;
    let signal_stride = program.cells.next_multiple_of(LINE) + LINE;
    let signal_count = cut.sets().saturating_mul(signal_stride);
    let all_slots = slices.slot_elements();
    // Channels of a part have slices of the same slots.
    let (slot_stride, slot_sets) = if cut.kept { (Some(slices.per), 1) } else { (all_slots, cut.sets()) };
    let slot_count = all_slots.and_then(|elements| elements.checked_mul(slot_sets));
    let bytes = slot_count.map_or(usize::MAX, |elements| elements.saturating_mul(size_of::<T>()));
    let memory = || PrepareError::Memory(bytes.saturating_add(signal_count.saturating_mul(4)) as u64);

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
        reused: cut.reused(),
        epoch: AtomicU32::new(0),
        channels: cut.kept.then(|| RwLock::new(0..cut.channels)),
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
        spins: if cut.workers > cores() { 0 } else { 200 },
    })
}
