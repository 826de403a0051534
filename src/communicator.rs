//! Collectives by one call each, over the host's slices, on whichever backend.
//!
//! The calls are written here once; what is prepared once is used by every further call of the same task, count, type and
//! operation.

mod calls;
mod nothing;
mod views;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use rustc_hash::FxBuildHasher;

use crate::backend::{Backend, Options, Ran, Ready, Shape};
use crate::buffers::{UserBuffer, count_of};
use crate::collective::{Op, Task};
use crate::element::{DataType, Element, supported};
use crate::error::{DeviceError, Error, PrepareError};
use crate::proof::{self, Proved, prove};
use crate::schedule::{Recipe, Schedule, Selection, SyncStyle};
use views::{bytes_of, bytes_of_mut};

/// P ranks on one backend.
///
/// Buffers are one slice for every rank, in rank order, with NCCL's lengths, which decide the count. Where the count is 0
/// there is nothing to do, and nothing is done.
///
/// A communicator can be shared among threads. Calls with different shapes may run concurrently, as far as the backend lets them;
/// calls with the same shape are serialised.
///
/// ```
/// use wgccl::Communicator;
/// use wgccl::collective::Op;
///
/// let comm = Communicator::cpu(2);
/// let (mut a, mut b) = ([0.0; 3], [0.0; 3]);
/// comm.all_reduce(&[&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]], &mut [&mut a, &mut b], Op::Sum)?;
/// assert_eq!((a, b), ([11.0, 22.0, 33.0], [11.0, 22.0, 33.0]));
/// # Ok::<(), wgccl::error::Error>(())
/// ```
pub struct Communicator<B: Backend> {
    backend: B,
    ranks: u32,
    algorithm: Selection,
    sync: SyncStyle,
    options: Options,
    known: Mutex<Known<B::Ready>>,
}

/// What a call works with. Whoever has taken it out of the cache holds it while it runs.
pub(crate) type Shared<R> = Arc<Mutex<R>>;

type Known<R> = LruCache<Key, Shared<R>, FxBuildHasher>;

/// Shapes of calls that are kept; beyond it the one that was used longest ago goes.
const KEPT: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// What calls of the same shape have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    task: Task,
    shape: Shape,
    in_place: bool,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B: Backend> Communicator<B> {
    /// A communicator of `ranks` ranks on `backend`.
    pub fn new(backend: B, ranks: u32) -> Self {
        let known = Mutex::new(LruCache::with_hasher(KEPT, FxBuildHasher));
        let (algorithm, sync) = (Selection::Auto, SyncStyle::default());
        Self { backend, ranks, algorithm, sync, options: Options::default(), known }
    }

    /// Names the algorithm of all calls; by default [`Algorithm::choose`](crate::schedule::Algorithm::choose) does.
    #[must_use]
    pub fn algorithm(mut self, algorithm: impl Into<Selection>) -> Self {
        self.algorithm = algorithm.into();
        self.forgetting()
    }

    /// Who waits for whom, in algorithms that have several ways.
    #[must_use]
    pub fn sync(mut self, sync: SyncStyle) -> Self {
        self.sync = sync;
        self.forgetting()
    }

    /// How launches of all calls are prepared.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self.forgetting()
    }

    /// Without what was prepared otherwise.
    fn forgetting(self) -> Self {
        locked(&self.known).clear();
        self
    }

    /// Participants.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// The backend that runs the calls.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Any task: what the other calls do. Buffers are one for every rank, empty where it has none.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn run<T: Element>(
        &self,
        task: impl Into<Task>,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        op: Op,
    ) -> Result<Ran, Error> {
        self.run_bytes(task, T::TYPE, &bytes_of(inputs), &mut bytes_of_mut(outputs), op)
    }

    /// Any task that has a form in place: every rank's buffer is its input and becomes its output. Where these differ in
    /// length the buffer is as long as the longer, and the shorter is the rank's part of it, as in NCCL.
    ///
    /// # Errors
    /// [`Error`]; buffers then hold nothing of use.
    pub fn run_in_place<T: Element>(
        &self,
        task: impl Into<Task>,
        buffers: &mut [&mut [T]],
        op: Op,
    ) -> Result<Ran, Error> {
        self.run_bytes_in_place(task, T::TYPE, &mut bytes_of_mut(buffers), op)
    }

    /// As [`run`](Self::run) by a schedule of the caller's own, which is proved first.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn run_schedule<T: Element>(
        &self,
        schedule: Schedule,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        op: Op,
    ) -> Result<Ran, Error> {
        let (given, got) = (inputs.iter().map(|input| input.len()), outputs.iter().map(|output| output.len()));
        let count = self.count(&schedule.task, given, got);
        let mut ready = self.prepare_schedule(schedule, Shape::new(count, T::TYPE, op), false)?;
        Ok(ready.run(&bytes_of(inputs), &mut bytes_of_mut(outputs))?)
    }

    /// As [`run`](Self::run), over elements of a type that is known only when the program runs. Buffers begin at multiples
    /// of the element's size.
    ///
    /// # Errors
    /// [`Error`]; outputs then hold nothing of use.
    pub fn run_bytes(
        &self,
        task: impl Into<Task>,
        data_type: DataType,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        op: Op,
    ) -> Result<Ran, Error> {
        let (task, elements) = (task.into(), data_type.bytes());
        let given = inputs.iter().map(|input| input.len() / elements);
        let count = self.count(&task, given, outputs.iter().map(|output| output.len() / elements));
        let key = self.key(task, Shape::new(count, data_type, op), false);
        if key.is_nothing() {
            self.check(&key, UserBuffer::Input, inputs.iter().map(|input| input.len()))?;
            self.check(&key, UserBuffer::Output, outputs.iter().map(|output| output.len()))?;
            return Ok(Ran::default());
        }
        let ready = self.ready(key)?;
        Ok(locked(&ready).run(inputs, outputs)?)
    }

    /// As [`run_in_place`](Self::run_in_place), over elements of a type that is known only when the program runs. Buffers
    /// begin at multiples of the element's size.
    ///
    /// # Errors
    /// [`Error`]; buffers then hold nothing of use.
    pub fn run_bytes_in_place(
        &self,
        task: impl Into<Task>,
        data_type: DataType,
        buffers: &mut [&mut [u8]],
        op: Op,
    ) -> Result<Ran, Error> {
        let (task, ranks) = (task.into(), self.ranks);
        let lengths = buffers.iter().map(|buffer| buffer.len() / data_type.bytes());
        let parts = |rank| task.input_parts(rank, ranks).max(task.output_parts(rank, ranks));
        let count = count_of(lengths, |rank| self.here(rank, parts));
        let key = self.key(task, Shape::new(count.unwrap_or(0), data_type, op), true);
        if key.is_nothing() {
            self.check(&key, UserBuffer::InPlace, buffers.iter().map(|buffer| buffer.len()))?;
            return Ok(Ran::default());
        }
        let ready = self.ready(key)?;
        Ok(locked(&ready).run_in_place(buffers)?)
    }

    /// Makes `task` ready for launches of `shape`: what the calls above keep for themselves, here for the caller to keep.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn prepare(&self, task: impl Into<Task>, shape: Shape, in_place: bool) -> Result<B::Ready, PrepareError> {
        let key = self.key(task.into(), shape, in_place);
        self.with_room(|| self.prepare_now(self.schedule(&key)?, key.shape, in_place, &B::prepare))
    }

    /// Proves `schedule`, a caller's own, and makes it ready for launches of `shape`.
    ///
    /// # Errors
    /// [`PrepareError`]; of a schedule that could hang, race or compute something else, [`PrepareError::Refused`] with the
    /// reason.
    pub fn prepare_schedule(&self, schedule: Schedule, shape: Shape, in_place: bool) -> Result<B::Ready, PrepareError> {
        self.check_ranks(&schedule)?;
        self.with_room(|| self.prepare_now(schedule.clone(), shape, in_place, &B::prepare))
    }

    /// Drops what earlier calls have made ready, with its memory, once no call uses it.
    pub fn release(&self) {
        locked(&self.known).clear();
    }

    /// What calls of this shape work with, prepared by the first of them as `prepare` says.
    #[cfg(feature = "gpu")]
    pub(crate) fn prepared_by(
        &self,
        task: Task,
        shape: Shape,
        prepare: impl Fn(&B, &Proved, Shape, &Options) -> Result<B::Ready, PrepareError>,
    ) -> Result<Shared<B::Ready>, PrepareError> {
        self.ready_by(self.key(task, shape, false), prepare)
    }

    /// As [`prepare_schedule`](Self::prepare_schedule) out of place, as `prepare` says.
    #[cfg(feature = "gpu")]
    pub(crate) fn prepare_schedule_by(
        &self,
        schedule: Schedule,
        shape: Shape,
        prepare: impl Fn(&B, &Proved, Shape, &Options) -> Result<B::Ready, PrepareError>,
    ) -> Result<B::Ready, PrepareError> {
        self.check_ranks(&schedule)?;
        self.with_room(|| self.prepare_now(schedule.clone(), shape, false, &prepare))
    }

    /// What calls of this shape work with, prepared by the first of them.
    pub(crate) fn prepared(&self, task: Task, shape: Shape, in_place: bool) -> Result<Shared<B::Ready>, PrepareError> {
        self.ready(self.key(task, shape, in_place))
    }

    /// Elements of a part, by the first buffer that there must be.
    fn count(&self, task: &Task, given: impl Iterator<Item = usize>, got: impl Iterator<Item = usize>) -> usize {
        let inputs = |rank| task.input_parts(rank, self.ranks);
        let outputs = |rank| task.output_parts(rank, self.ranks);
        let of_inputs = count_of(given, |rank| self.here(rank, inputs));
        of_inputs.or_else(|| count_of(got, |rank| self.here(rank, outputs))).unwrap_or(0)
    }

    /// Parts of a rank's buffer in this process.
    fn here(&self, rank: u32, parts: impl Fn(u32) -> u32) -> u32 {
        if self.backend.is_here(rank, self.ranks) { parts(rank) } else { 0 }
    }

    fn key(&self, task: Task, mut shape: Shape, in_place: bool) -> Key {
        shape.op = task.collective.op(shape.op);
        Key { task, shape, in_place }
    }

    fn check_ranks(&self, schedule: &Schedule) -> Result<(), PrepareError> {
        match (schedule.ranks, self.ranks) {
            (schedule, communicator) if schedule == communicator => self.backend.admit(self.ranks, &self.options),
            (schedule, communicator) => Err(PrepareError::OtherRanks { schedule, communicator }),
        }
    }

    fn ready(&self, key: Key) -> Result<Shared<B::Ready>, PrepareError> {
        self.ready_by(key, B::prepare)
    }

    fn ready_by(
        &self,
        key: Key,
        prepare: impl Fn(&B, &Proved, Shape, &Options) -> Result<B::Ready, PrepareError>,
    ) -> Result<Shared<B::Ready>, PrepareError> {
        if let Some(ready) = locked(&self.known).get(&key) {
            return Ok(ready.clone());
        }
        let ready = self.with_room(|| self.prepare_now(self.schedule(&key)?, key.shape, key.in_place, &prepare))?;
        let ready = Arc::new(Mutex::new(ready));
        locked(&self.known).put(key, ready.clone());
        Ok(ready)
    }

    fn schedule(&self, key: &Key) -> Result<Schedule, PrepareError> {
        // A schedule of thousands of ranks takes gigabytes, only to be refused.
        self.backend.admit(self.ranks, &self.options)?;
        let Shape { count, data_type, op } = key.shape;
        supported(data_type, op)?;
        let bytes = count.saturating_mul(data_type.bytes()) as u64;
        let recipe = Recipe::new(key.task.clone(), self.ranks).algorithm(self.algorithm).sync(self.sync);
        let recipe = recipe.part_bytes(bytes).device(self.backend.kind());
        Ok(recipe.placed(self.backend.groups(self.ranks)).build()?)
    }

    fn prepare_now(
        &self,
        schedule: Schedule,
        shape: Shape,
        in_place: bool,
        prepare: &impl Fn(&B, &Proved, Shape, &Options) -> Result<B::Ready, PrepareError>,
    ) -> Result<B::Ready, PrepareError> {
        let proved = prove(schedule, proof::Options::default().in_place(in_place))?;
        prepare(&self.backend, &proved, shape, &self.options)
    }

    /// What `make` makes, if need be in the memory that earlier calls have left.
    fn with_room<R>(&self, make: impl Fn() -> Result<R, PrepareError>) -> Result<R, PrepareError> {
        match make() {
            Err(PrepareError::Device(DeviceError::Memory { .. }) | PrepareError::Memory(_)) => {
                self.release();
                make()
            }
            made => made,
        }
    }
}

impl<B: Backend> fmt::Debug for Communicator<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Communicator")
            .field("ranks", &self.ranks)
            .field("algorithm", &self.algorithm)
            .field("known", &locked(&self.known).iter().map(|(key, _)| key).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
