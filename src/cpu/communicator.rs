//! Collectives by one call each, over slices, on worker threads that all calls share.
//!
//! The shape is that of `gpu::Communicator`: what is prepared once is used by every further call of the same task, count,
//! type and operation.

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::team::Team;
use super::{CpuError, Executor, Options};
use crate::buffers::count_of;
use crate::collective::{Collective, Op, Task};
use crate::element::{DataType, Element};
use crate::payload::PayloadError;
use crate::proof::{self, Refused, prove};
use crate::schedule::{BuildError, DeviceKind, Recipe, Schedule, Selection, SyncStyle};

/// Why a collective was not carried out.
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
    /// The launch cannot be prepared, or did not succeed.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}

/// P ranks in one process.
///
/// Buffers are one slice for every rank, in rank order, with NCCL's lengths, which decide the count.
///
/// ```
/// use wgccl::collective::Op;
/// use wgccl::cpu::Communicator;
///
/// let mut comm = Communicator::new(2);
/// let (mut a, mut b) = ([0.0; 3], [0.0; 3]);
/// comm.all_reduce(&[&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]], &mut [&mut a, &mut b], Op::Sum)?;
/// assert_eq!((a, b), ([11.0, 22.0, 33.0], [11.0, 22.0, 33.0]));
/// # Ok::<(), wgccl::cpu::CommunicatorError>(())
/// ```
pub struct Communicator {
    ranks: u32,
    algorithm: Selection,
    sync: SyncStyle,
    options: Options,
    team: Arc<Team>,
    /// Executors of the key's type.
    known: LruCache<Key, Box<dyn Any + Send>>,
}

/// Shapes of calls that are kept; beyond it the one that was used longest ago goes.
const KEPT: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// What calls of the same shape have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    task: Task,
    count: usize,
    data_type: DataType,
    op: Op,
    in_place: bool,
}

impl Communicator {
    /// A communicator of `ranks` ranks.
    pub fn new(ranks: u32) -> Self {
        let (options, team, known) = (Options::default(), Arc::default(), LruCache::new(KEPT));
        Self { ranks, algorithm: Selection::Auto, sync: SyncStyle::default(), options, team, known }
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

    /// Workers and channels of all calls.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Participants.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// Reduces over all ranks; every rank gets the result. All slices are equally long.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn all_reduce<T: Element>(
        &mut self,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        op: Op,
    ) -> Result<(), CommunicatorError> {
        self.run(Collective::AllReduce, inputs, outputs, op)
    }

    /// Every rank gets the inputs of all ranks, in rank order: outputs are P times as long as inputs.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn all_gather<T: Element>(
        &mut self,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
    ) -> Result<(), CommunicatorError> {
        self.run(Collective::AllGather, inputs, outputs, Op::Sum)
    }

    /// Reduces over all ranks; rank r gets part r of the result: inputs are P times as long as outputs.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn reduce_scatter<T: Element>(
        &mut self,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        op: Op,
    ) -> Result<(), CommunicatorError> {
        self.run(Collective::ReduceScatter, inputs, outputs, op)
    }

    /// Every rank gets the root's input.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn broadcast<T: Element>(
        &mut self,
        input: &[T],
        outputs: &mut [&mut [T]],
        root: u32,
    ) -> Result<(), CommunicatorError> {
        let inputs = self.only(root, input);
        self.run(Task::from(Collective::Broadcast).root(root), &inputs, outputs, Op::Sum)
    }

    /// Reduces over all ranks; the root gets the result.
    ///
    /// # Errors
    /// [`CommunicatorError`]; the output then holds nothing of use.
    pub fn reduce<T: Element>(
        &mut self,
        inputs: &[&[T]],
        output: &mut [T],
        op: Op,
        root: u32,
    ) -> Result<(), CommunicatorError> {
        let mut outputs = self.only(root, output);
        self.run(Task::from(Collective::Reduce).root(root), inputs, &mut outputs, op)
    }

    /// The root gets the inputs of all ranks, in rank order.
    ///
    /// # Errors
    /// [`CommunicatorError`]; the output then holds nothing of use.
    pub fn gather<T: Element>(
        &mut self,
        inputs: &[&[T]],
        output: &mut [T],
        root: u32,
    ) -> Result<(), CommunicatorError> {
        let mut outputs = self.only(root, output);
        self.run(Task::from(Collective::Gather).root(root), inputs, &mut outputs, Op::Sum)
    }

    /// Rank r gets part r of the root's input.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn scatter<T: Element>(
        &mut self,
        input: &[T],
        outputs: &mut [&mut [T]],
        root: u32,
    ) -> Result<(), CommunicatorError> {
        let inputs = self.only(root, input);
        self.run(Task::from(Collective::Scatter).root(root), &inputs, outputs, Op::Sum)
    }

    /// Rank r gets part r of every rank's input, in rank order. All slices are equally long.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn all_to_all<T: Element>(
        &mut self,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
    ) -> Result<(), CommunicatorError> {
        self.run(Collective::AllToAll, inputs, outputs, Op::Sum)
    }

    /// Rank r gets the input of rank `sources[r]`.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn send_recv<T: Element>(
        &mut self,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        sources: &[u32],
    ) -> Result<(), CommunicatorError> {
        self.run(Task::send_recv(sources.to_vec()), inputs, outputs, Op::Sum)
    }

    /// Any task: what the other calls do. Buffers are one for every rank, empty where it has none.
    ///
    /// # Errors
    /// [`CommunicatorError`]; outputs then hold nothing of use.
    pub fn run<T: Element>(
        &mut self,
        task: impl Into<Task>,
        inputs: &[&[T]],
        outputs: &mut [&mut [T]],
        op: Op,
    ) -> Result<(), CommunicatorError> {
        let (task, ranks) = (task.into(), self.ranks);
        let given = inputs.iter().map(|input| input.len());
        let got = outputs.iter().map(|output| output.len());
        let count = count_of(given, |rank| task.input_parts(rank, ranks))
            .or_else(|| count_of(got, |rank| task.output_parts(rank, ranks)));
        Ok(self.executor(task, count.unwrap_or(0), op, false)?.run(inputs, outputs)?)
    }

    /// Any task that has a form in place: every rank's buffer is its input and becomes its output, by NCCL's rules as
    /// [`Executor::run_in_place`] has them.
    ///
    /// # Errors
    /// [`CommunicatorError`]; buffers then hold nothing of use.
    pub fn run_in_place<T: Element>(
        &mut self,
        task: impl Into<Task>,
        buffers: &mut [&mut [T]],
        op: Op,
    ) -> Result<(), CommunicatorError> {
        let (task, ranks) = (task.into(), self.ranks);
        let lengths = buffers.iter().map(|buffer| buffer.len());
        let count = count_of(lengths, |rank| task.input_parts(rank, ranks).max(task.output_parts(rank, ranks)));
        Ok(self.executor(task, count.unwrap_or(0), op, true)?.run_in_place(buffers)?)
    }

    /// Proves `schedule`, a caller's own, and makes it ready, on the worker threads of this communicator.
    ///
    /// # Errors
    /// [`CommunicatorError`]; of a schedule that could hang, race or compute something else, [`Refused`] with the reason.
    pub fn prepare_schedule<T: Element>(
        &self,
        schedule: Schedule,
        count: usize,
        op: Op,
        in_place: bool,
    ) -> Result<Executor<T>, CommunicatorError> {
        if schedule.ranks != self.ranks {
            return Err(CommunicatorError::Ranks { schedule: schedule.ranks, communicator: self.ranks });
        }
        let proved = prove(schedule, proof::Options { in_place })?;
        Ok(Executor::with_team(self.team.clone(), &proved, proved.payload(count, T::TYPE)?, op, self.options.clone())?)
    }

    /// Drops what earlier calls have made ready; the worker threads stay.
    pub fn release(&mut self) {
        self.known.clear();
    }

    fn executor<T: Element>(
        &mut self,
        task: Task,
        count: usize,
        op: Op,
        in_place: bool,
    ) -> Result<&mut Executor<T>, CommunicatorError> {
        let key = Key { op: task.collective.op(op), task, count, data_type: T::TYPE, in_place };
        if !self.known.contains(&key) {
            let bytes = count.saturating_mul(T::TYPE.bytes()) as u64;
            let recipe = Recipe::new(key.task.clone(), self.ranks).algorithm(self.algorithm).sync(self.sync);
            let schedule = recipe.part_bytes(bytes).device(DeviceKind::Cpu).build()?;
            let executor = self.prepare_schedule::<T>(schedule, count, op, in_place)?;
            self.known.put(key.clone(), Box::new(executor));
        }
        // The key has the type.
        let known = self.known.get_mut(&key).and_then(|executor| executor.downcast_mut());
        Ok(known.ok_or(CpuError::Payload)?)
    }

    /// The root's buffer, and an empty one for everybody else.
    fn only<B: Default>(&self, root: u32, buffer: B) -> Vec<B> {
        let mut buffers: Vec<B> = (0..self.ranks).map(|_| B::default()).collect();
        // A root that is no rank is refused when the schedule is built.
        if let Some(place) = buffers.get_mut(root as usize) {
            *place = buffer;
        }
        buffers
    }
}

impl fmt::Debug for Communicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Communicator")
            .field("ranks", &self.ranks)
            .field("algorithm", &self.algorithm)
            .field("known", &self.known.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
