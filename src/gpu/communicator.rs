//! Collectives for programs that have a wgpu device of their own: recorded into their encoder, over their buffers.
//!
//! Recording submits nothing, waits for nothing and reads nothing back; whether a launch finished is a [`Completion`],
//! asked for when the caller likes. What is prepared once is used by every further call of the same shape.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::completion::Completion;
use super::device::{Gpu, GpuError};
use super::encoded::{Encoded, Memory};
use super::launch::{Executor, LaunchError, Launched, Options, admit};
use super::ledger::Launch;
use super::slices::{SliceError, Slices};
use super::tuning::Tuning;
use crate::buffers::{UserBuffer, count_of};
use crate::collective::{Collective, Op, Task};
use crate::element::{DataType, Element};
use crate::lower::plan::Mode;
use crate::payload::PayloadError;
use crate::proof::{Refused, prove};
use crate::schedule::{Buffer, BuildError, Recipe, Schedule, Selection, SyncStyle};

/// Why a collective was not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommunicatorError {
    /// No such schedule.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A schedule that is not safe to run.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// A schedule for another number of ranks.
    #[error("the schedule has {schedule} ranks and the communicator {communicator}; make both the same")]
    Ranks {
        /// The schedule's.
        schedule: u32,
        /// The communicator's.
        communicator: u32,
    },
    /// No such payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Device buffers that do not fit.
    #[error(transparent)]
    Slices(#[from] SliceError),
    /// The launch cannot be prepared, or did not finish.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

impl From<GpuError> for CommunicatorError {
    fn from(error: GpuError) -> Self {
        Self::Launch(error.into())
    }
}

/// P ranks on one device.
///
/// Slices of a call are one for every rank that has such a buffer, in rank order: of buffers of their own, or of one buffer
/// at several offsets. Outputs may be inputs: inputs are read before any output is written, and of a payload that is too
/// large to be read at once, overlaps that would break that are refused. Lengths are NCCL's, and decide the count.
/// Buffers need `COPY_SRC` to be inputs and `COPY_DST` to be outputs.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (device, queue): (wgpu::Device, wgpu::Queue) = todo!();
/// # let gradients: wgpu::Buffer = todo!();
/// use wgccl::collective::Op;
/// use wgccl::gpu::Communicator;
///
/// let comm = Communicator::new(&device, &queue, 4);
/// let mut encoder = device.create_command_encoder(&Default::default());
/// // One buffer with the 1024 gradients of each rank, one after the other.
/// let slices: Vec<_> = (0..4).map(|rank| gradients.slice(rank * 4096..(rank + 1) * 4096)).collect();
/// let mut done = comm.all_reduce::<f32>(&mut encoder, &slices, &slices, Op::Avg)?;
/// queue.submit([encoder.finish()]);
/// done.wait()?;
/// # Ok(())
/// # }
/// ```
pub struct Communicator {
    gpu: Gpu,
    ranks: u32,
    algorithm: Selection,
    sync: SyncStyle,
    options: Options,
    known: Mutex<LruCache<Key, Prepared>>,
    /// Executors of the key's type, for the host's slices; one that is at work is not among them.
    hosts: Mutex<LruCache<Key, Box<dyn Any + Send>>>,
}

/// Shapes of calls that are kept, with their device memory; beyond it the one that was used longest ago goes.
const KEPT: NonZeroUsize = NonZeroUsize::new(16).unwrap();

fn locked<V>(kept: &Mutex<LruCache<Key, V>>) -> MutexGuard<'_, LruCache<Key, V>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What calls of the same shape have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    task: Task,
    count: usize,
    data_type: DataType,
    op: Op,
}

impl Key {
    fn new<T: Element>(task: Task, count: usize, op: Op) -> Self {
        Self { op: task.collective.op(op), task, count, data_type: T::TYPE }
    }
}

/// A collective of one shape made ready for a device: proved, encoded, with memory to work in. Clones are handles of the
/// same memory, and launches of them follow one another on the queue.
#[derive(Clone)]
pub struct Prepared {
    resident: Arc<Resident>,
}

/// An encoded schedule and the memory that its launches work in.
pub(super) struct Resident {
    pub(super) encoded: Encoded,
    pub(super) memory: Memory,
}

type Slice<'a> = wgpu::BufferSlice<'a>;

impl Communicator {
    /// A communicator of `ranks` ranks on a caller's device; see [`Gpu::adopt`] for what that leaves alone.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, ranks: u32) -> Self {
        Self::on(Gpu::adopt(device, queue), ranks)
    }

    /// A communicator of `ranks` ranks on a device that wgccl has opened. Several may share one.
    pub fn on(gpu: Gpu, ranks: u32) -> Self {
        Self {
            gpu,
            ranks,
            algorithm: Selection::Auto,
            sync: SyncStyle::default(),
            options: Options::default(),
            known: Mutex::new(LruCache::new(KEPT)),
            hosts: Mutex::new(LruCache::new(KEPT)),
        }
    }

    /// Names the algorithm of all calls; by default [`Algorithm::choose`](crate::schedule::Algorithm::choose) does.
    #[must_use]
    pub fn algorithm(mut self, algorithm: impl Into<Selection>) -> Self {
        self.algorithm = algorithm.into();
        self
    }

    /// Who waits for whom, in algorithms that have several ways.
    #[must_use]
    pub fn sync(mut self, sync: SyncStyle) -> Self {
        self.sync = sync;
        self
    }

    /// Dispatch mode, channels and bounds of all calls.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Participants.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Reduces over all ranks; every rank gets the result. All slices are equally long.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn all_reduce<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        outputs: &[Slice<'_>],
        op: Op,
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Collective::AllReduce, inputs, outputs, op)
    }

    /// Every rank gets the inputs of all ranks, in rank order: outputs are P times as long as inputs.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn all_gather<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        outputs: &[Slice<'_>],
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Collective::AllGather, inputs, outputs, Op::Sum)
    }

    /// Reduces over all ranks; rank r gets part r of the result: inputs are P times as long as outputs.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn reduce_scatter<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        outputs: &[Slice<'_>],
        op: Op,
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Collective::ReduceScatter, inputs, outputs, op)
    }

    /// Every rank gets the root's input.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn broadcast<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: Slice<'_>,
        outputs: &[Slice<'_>],
        root: u32,
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Task::from(Collective::Broadcast).root(root), &[input], outputs, Op::Sum)
    }

    /// Reduces over all ranks; the root gets the result.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn reduce<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        output: Slice<'_>,
        op: Op,
        root: u32,
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Task::from(Collective::Reduce).root(root), inputs, &[output], op)
    }

    /// The root gets the inputs of all ranks, in rank order.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn gather<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        output: Slice<'_>,
        root: u32,
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Task::from(Collective::Gather).root(root), inputs, &[output], Op::Sum)
    }

    /// Rank r gets part r of the root's input.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn scatter<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: Slice<'_>,
        outputs: &[Slice<'_>],
        root: u32,
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Task::from(Collective::Scatter).root(root), &[input], outputs, Op::Sum)
    }

    /// Rank r gets part r of every rank's input, in rank order. All slices are equally long.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn all_to_all<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        outputs: &[Slice<'_>],
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Collective::AllToAll, inputs, outputs, Op::Sum)
    }

    /// Rank r gets the input of rank `sources[r]`.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn send_recv<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        outputs: &[Slice<'_>],
        sources: &[u32],
    ) -> Result<Completion, CommunicatorError> {
        self.record::<T>(encoder, Task::send_recv(sources.to_vec()), inputs, outputs, Op::Sum)
    }

    /// Any task over a caller's slices: what the other calls do.
    ///
    /// # Errors
    /// [`CommunicatorError`]; nothing has been recorded then.
    pub fn record<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        task: impl Into<Task>,
        inputs: &[Slice<'_>],
        outputs: &[Slice<'_>],
        op: Op,
    ) -> Result<Completion, CommunicatorError> {
        let task = task.into();
        let count = self.count::<T>(&task, inputs, outputs);
        self.prepare::<T>(task, count, op)?.record(encoder, inputs, outputs)
    }

    /// Records with `record` into an encoder of its own, submits, waits and checks.
    ///
    /// # Errors
    /// [`CommunicatorError`].
    pub fn run(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<Completion, CommunicatorError>,
    ) -> Result<(), CommunicatorError> {
        let mut encoder = self.gpu.encoder();
        let mut done = record(&mut encoder)?;
        self.gpu.submit(encoder.finish())?;
        Ok(done.wait()?)
    }

    /// Any task over the host's slices, by one call that waits: inputs go up, outputs come back, in pieces where the
    /// payload is above a binding. Buffers are one for every rank, empty where it has none.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn run_on_host<T: Element>(
        &self,
        task: impl Into<Task>,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        op: Op,
    ) -> Result<Launched, CommunicatorError> {
        let task = task.into();
        let count = self.count_on_host(&task, inputs, outputs);
        let key = Key::new::<T>(task, count, op);
        let kept = locked(&self.hosts).pop(&key).and_then(|executor| executor.downcast::<Executor<T>>().ok());
        let mut executor = match kept {
            Some(executor) => executor,
            None => self.with_room(|| Ok(Box::new(self.executor::<T>(self.schedule(&key)?, count, op)?)))?,
        };
        let launched = executor.run(inputs, outputs)?;
        locked(&self.hosts).put(key, executor);
        Ok(launched)
    }

    /// As [`run_on_host`](Self::run_on_host) by a schedule of the caller's own, which is proved first.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn run_schedule_on_host<T: Element>(
        &self,
        schedule: Schedule,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        op: Op,
    ) -> Result<Launched, CommunicatorError> {
        let count = self.count_on_host(&schedule.task, inputs, outputs);
        Ok(self.executor::<T>(schedule, count, op)?.run(inputs, outputs)?)
    }

    fn executor<T: Element>(&self, schedule: Schedule, count: usize, op: Op) -> Result<Executor<T>, CommunicatorError> {
        self.check_ranks(&schedule)?;
        let proved = prove(schedule, Default::default())?;
        let payload = proved.payload(count, T::TYPE)?;
        Ok(Executor::new(&self.gpu, &proved, payload, op, self.options)?)
    }

    /// What `make` makes, if need be in the memory that earlier calls have left.
    fn with_room<R>(&self, make: impl Fn() -> Result<R, CommunicatorError>) -> Result<R, CommunicatorError> {
        match make() {
            Err(CommunicatorError::Launch(LaunchError::Gpu(GpuError::Memory { .. }))) => {
                self.release();
                make()
            }
            made => made,
        }
    }

    /// Makes `task` over parts of `count` elements ready, or returns what an earlier call has made ready. The first use of
    /// a device with hardware of its own checks there if fused dispatch works, and waits for that.
    ///
    /// # Errors
    /// [`CommunicatorError`].
    pub fn prepare<T: Element>(
        &self,
        task: impl Into<Task>,
        count: usize,
        op: Op,
    ) -> Result<Prepared, CommunicatorError> {
        let key = Key::new::<T>(task.into(), count, op);
        if let Some(prepared) = locked(&self.known).get(&key) {
            return Ok(prepared.clone());
        }
        let prepared = self.with_room(|| self.prepare_schedule::<T>(self.schedule(&key)?, count, op))?;
        locked(&self.known).put(key, prepared.clone());
        Ok(prepared)
    }

    /// Proves `schedule`, a caller's own, and makes it ready. What this returns is the caller's to keep.
    ///
    /// # Errors
    /// [`CommunicatorError`]; of a schedule that could hang, race or compute something else, [`Refused`] with the reason.
    pub fn prepare_schedule<T: Element>(
        &self,
        schedule: Schedule,
        count: usize,
        op: Op,
    ) -> Result<Prepared, CommunicatorError> {
        self.check_ranks(&schedule)?;
        let bytes = (count * T::TYPE.bytes()) as u64;
        if !bytes.is_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT) {
            return Err(SliceError::Part { bytes }.into());
        }
        let proved = prove(schedule, Default::default())?;
        let payload = proved.payload(count, T::TYPE)?;
        let (op, mode) = admit::<T>(&self.gpu, &proved, payload, op, &self.options)?;
        let tuning = Tuning::of(&self.gpu, mode);
        let encoded = Encoded::new::<T>(&self.gpu, &proved, payload, op, tuning, self.options)?;
        let memory = encoded.memory()?;
        Ok(Prepared { resident: Arc::new(Resident { encoded, memory }) })
    }

    /// Drops what earlier calls have made ready, with its device memory, unless a handle of it is in use.
    pub fn release(&self) {
        locked(&self.known).clear();
        locked(&self.hosts).clear();
    }

    fn check_ranks(&self, schedule: &Schedule) -> Result<(), CommunicatorError> {
        match (schedule.ranks, self.ranks) {
            (schedule, communicator) if schedule == communicator => Ok(()),
            (schedule, communicator) => Err(CommunicatorError::Ranks { schedule, communicator }),
        }
    }

    fn schedule(&self, key: &Key) -> Result<Schedule, BuildError> {
        let kind = self.gpu.info().device_kind();
        let bytes = key.count.saturating_mul(key.data_type.bytes()) as u64;
        let recipe = Recipe::new(key.task.clone(), self.ranks).algorithm(self.algorithm).sync(self.sync);
        recipe.part_bytes(bytes).device(kind).build()
    }

    fn count_on_host<T>(&self, task: &Task, inputs: &[&[T]], outputs: &[&mut [T]]) -> usize {
        let given = count_of(inputs.iter().map(|input| input.len()), |rank| task.input_parts(rank, self.ranks));
        let got = || count_of(outputs.iter().map(|output| output.len()), |rank| task.output_parts(rank, self.ranks));
        given.or_else(got).unwrap_or(0)
    }

    /// Elements of a part, by the first slice that there is; slices that do not agree with it are refused later.
    fn count<T: Element>(&self, task: &Task, inputs: &[Slice<'_>], outputs: &[Slice<'_>]) -> usize {
        let ranks = self.ranks;
        let first = |slices: &[Slice<'_>], parts: &dyn Fn(u32) -> u32| {
            let having = (0..ranks).map(parts).filter(|&parts| parts > 0);
            having.zip(slices).next().map(|(parts, slice)| slice.size() / u64::from(parts))
        };
        let bytes = first(inputs, &|rank| task.input_parts(rank, ranks))
            .or_else(|| first(outputs, &|rank| task.output_parts(rank, ranks)));
        (bytes.unwrap_or(0) / T::TYPE.bytes() as u64) as usize
    }
}

impl Prepared {
    /// Records a launch over a caller's slices: copies in, the launch, copies out. A payload above a binding goes in
    /// pieces, one after the other; all of them are in `encoder`, so a gibibyte on a device that is watched by a desktop
    /// had better go in several calls.
    ///
    /// # Errors
    /// [`CommunicatorError::Slices`] and [`CommunicatorError::Launch`]; nothing has been recorded then.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        outputs: &[Slice<'_>],
    ) -> Result<Completion, CommunicatorError> {
        let Resident { encoded, memory } = &*self.resident;
        let inputs = Slices::new(encoded, UserBuffer::Input, inputs)?;
        let outputs = Slices::new(encoded, UserBuffer::Output, outputs)?;
        if encoded.pieces.count() > 1 {
            inputs.check_overlap(&outputs, encoded)?;
        }
        let (mut completion, status) = Completion::new(&self.resident, encoder)?;
        for piece in 0..encoded.pieces.count() {
            inputs.for_each_run(encoded, piece, |buffer, from, to, bytes| {
                encoder.copy_buffer_to_buffer(buffer, from, &memory.arena, to, bytes);
            });
            completion.launches.push(self.encode(encoder, piece, &status));
            outputs.for_each_run(encoded, piece, |buffer, to, from, bytes| {
                encoder.copy_buffer_to_buffer(&memory.arena, from, buffer, to, bytes);
            });
        }
        Ok(completion)
    }

    /// Records a launch over what lies in [`input`](Self::input), and leaves results in [`output`](Self::output): no copy
    /// at all.
    ///
    /// # Errors
    /// [`LaunchError::Gpu`], and [`LaunchError::InPieces`]; nothing has been recorded then.
    pub fn record_resident(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Completion, CommunicatorError> {
        let pieces = self.pieces();
        if pieces > 1 {
            return Err(LaunchError::InPieces { pieces }.into());
        }
        let (mut completion, status) = Completion::new(&self.resident, encoder)?;
        completion.launches.push(self.encode(encoder, 0, &status));
        Ok(completion)
    }

    /// Where a rank's input lies on the device: its parts one after the other, each padded to whole chunks of whole
    /// vectors. A caller's passes may write there (`STORAGE`, `COPY_DST`) before every launch. None where the rank has
    /// none, and where the payload goes in pieces.
    pub fn input(&self, rank: u32) -> Option<Slice<'_>> {
        self.slice(Buffer::Input, rank)
    }

    /// Where a rank's output lies after a launch, as [`input`](Self::input).
    pub fn output(&self, rank: u32) -> Option<Slice<'_>> {
        self.slice(Buffer::Output, rank)
    }

    /// Bytes from one part of a rank's input or output to the next, where [`input`](Self::input) has several.
    pub fn part_stride(&self) -> u64 {
        u64::from(self.resident.encoded.payload.chunks) * self.resident.encoded.arena.chunk_bytes()
    }

    /// The dispatch mode in use.
    pub fn mode(&self) -> Mode {
        self.resident.encoded.plan.mode
    }

    /// The schedule that runs.
    pub fn schedule(&self) -> &Schedule {
        self.resident.encoded.schedule()
    }

    /// Pieces that the payload goes in.
    pub fn pieces(&self) -> usize {
        self.resident.encoded.pieces.count()
    }

    /// Bytes of device memory that it holds.
    pub fn device_bytes(&self) -> u64 {
        self.resident.encoded.arena.bytes()
    }

    fn slice(&self, buffer: Buffer, rank: u32) -> Option<Slice<'_>> {
        let Resident { encoded, memory } = &*self.resident;
        let has = rank < encoded.schedule().ranks && encoded.proved.address_map().user_parts(buffer, rank) > 0;
        (has && self.pieces() == 1).then(|| {
            let start = encoded.arena.region(buffer).start + encoded.arena.user_byte(buffer, rank) as u64;
            let parts = encoded.proved.address_map().user_parts(buffer, rank);
            memory.arena.slice(start..start + u64::from(parts) * self.part_stride())
        })
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (&Encoded, &Memory) {
        (&self.resident.encoded, &self.resident.memory)
    }

    /// Dispatches, and progress to `status`. In fused mode as many dispatches as always suffice: nobody looks
    /// whether the first one did.
    fn encode(&self, encoder: &mut wgpu::CommandEncoder, piece: usize, status: &wgpu::Buffer) -> Launch {
        let Resident { encoded, memory } = &*self.resident;
        let (launch, dispatches) = (encoded.launch(encoder, memory), encoded.plan.dispatches.len());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        encoded.encode_dispatches(&mut pass, memory, piece, Some(launch), dispatches);
        drop(pass);
        let words = encoded.progress_bytes();
        encoder.copy_buffer_to_buffer(&memory.progress, 0, status, words * piece as u64, words);
        launch
    }
}
