//! What a worker does in a launch: run each of its lanes until it would wait, then take the next.
//!
//! A task is one lane of one channel and belongs to one worker for good. A worker that has nothing to run can only be
//! helped by others, so lanes never block a core, however many more of them there are than cores.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::contain::contained;
use super::cut::portion;
use super::gate::Work;
use super::kernel::{Reduction, Store};
use super::memory::{Bases, Channel, LINE, Slices, Slots};
use super::program::Program;
use super::recorder::{Recorder, Watch};
use super::signal::Signal;
use super::stall::{Idle, Stall};
use crate::element::Element;

/// Everything that the workers of an executor share.
pub(super) struct Shared<T> {
    pub(super) program: Program,
    pub(super) how: Reduction<T>,
    pub(super) slices: Slices,
    /// Results are larger than the caches, so that those which nobody reads again go past them.
    pub(super) stream: bool,
    /// Whole channels belong to one worker; otherwise their lanes belong to different ones.
    pub(super) private: bool,
    /// A worker reuses one set of slots and signals for its channels; otherwise every channel has its own.
    pub(super) reused: bool,
    /// Of a part: what a launch runs, and over which channels.
    pub(super) epoch: AtomicU32,
    pub(super) channels: Option<RwLock<Range<usize>>>,
    pub(super) slots: Slots<T>,
    /// Elements from one set of slots to the next.
    pub(super) slot_stride: usize,
    pub(super) signals: Vec<Signal>,
    /// From one set of signals to the next.
    pub(super) signal_stride: usize,
    pub(super) bases: RwLock<Bases<T>>,
    pub(super) workers: Vec<Mutex<Worker>>,
    pub(super) stall: Stall,
    /// Nobody is to go on.
    pub(super) stop: AtomicBool,
    pub(super) hung: AtomicBool,
    pub(super) panicked: AtomicBool,
    /// Turns of spinning while there is nothing to run; none where there are fewer cores than workers.
    pub(super) spins: u32,
}

/// A worker's share and how far it got, in cache lines of its own: workers write at every step.
#[repr(align(128))]
pub(super) struct Worker {
    index: usize,
    /// Its lanes in each of its channels, in steps of `lane_step`.
    lanes: Range<u32>,
    lane_step: usize,
    channels: Range<usize>,
    /// Channels that it works on at once.
    depth: usize,
    next_channel: usize,
    tasks: Vec<Task>,
    /// Its last pass over the tasks was in vain.
    pub(super) stuck: bool,
    /// What it notes of a launch that is traced.
    pub(super) recorder: Option<Recorder>,
}

/// A lane of a channel and how far it got.
#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) channel: u32,
    pub(super) lane: u32,
    /// Next step.
    pub(super) step: u32,
    /// Where this launch ends.
    end: u32,
    /// Next wait: signals only grow, so a wait that was over stays over.
    wait: u32,
    notify: u32,
}

impl Worker {
    /// None where there is no memory for its tasks.
    pub(super) fn new(
        index: usize,
        lanes: Range<u32>,
        lane_step: usize,
        channels: Range<usize>,
        depth: usize,
    ) -> Option<Self> {
        let (tasks, recorder) = (Vec::new(), None);
        let mut worker =
            Self { index, lanes, lane_step, channels, depth, next_channel: 0, tasks, stuck: false, recorder };
        // Those of the next worker, allocated right after, begin beyond a line that this one writes.
        worker.tasks.try_reserve_exact(depth * worker.own() + LINE.div_ceil(size_of::<Task>())).ok()?;
        Some(worker)
    }

    /// Unfinished tasks, of the last launch that was stuck.
    pub(super) fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Whether it has come to this channel, one of its own.
    pub(super) fn has_begun(&self, channel: u32) -> bool {
        (channel as usize) < self.next_channel
    }

    /// Makes room for notes of launches of `program`; none where there is no memory for them.
    pub(super) fn record(&mut self, program: &Program) -> Option<()> {
        let lanes = self.lanes.clone().step_by(self.lane_step);
        let of_channel: usize = lanes.map(|lane| program.lane(lane).len()).sum();
        let instructions = of_channel.checked_mul(self.channels.len())?;
        self.recorder = Some(Recorder::new(self.channels.len(), instructions)?);
        Some(())
    }

    fn own(&self) -> usize {
        self.lanes.len().div_ceil(self.lane_step)
    }

    fn begin<T>(&mut self, shared: &Shared<T>) {
        self.tasks.clear();
        if let Some(channels) = &shared.channels {
            let channels = channels.read().unwrap_or_else(PoisonError::into_inner).clone();
            let workers = shared.workers.len();
            self.channels = if shared.private { portion(channels, self.index, workers) } else { channels };
        }
        self.next_channel = self.channels.start;
        self.stuck = false;
    }

    /// Starts channels while there is room. The lowest unfinished channel of all is thus always being worked on by
    /// whoever has a lane in it, so a worker that runs ahead cannot keep others from finishing.
    fn refill<T>(&mut self, shared: &Shared<T>, watch: &mut impl Watch) {
        while self.next_channel < self.channels.end && self.tasks.len() <= (self.depth - 1) * self.own() {
            let channel = self.next_channel;
            self.next_channel += 1;
            watch.channel(channel as u32);
            if shared.reused {
                shared.signals_of(self.index).iter().for_each(Signal::reset);
            }
            let epoch = shared.epoch.load(Ordering::Relaxed);
            self.tasks.extend(self.lanes.clone().step_by(self.lane_step).map(|lane| {
                let (start, end) = shared.program.span(lane, epoch);
                Task { channel: channel as u32, lane, step: start.step, end, wait: start.wait, notify: start.notify }
            }));
        }
    }
}

impl<T> Shared<T> {
    pub(super) fn signals_of(&self, set: usize) -> &[Signal] {
        &self.signals[set * self.signal_stride..][..self.program.cells]
    }

    pub(super) fn worker(&self, index: usize) -> MutexGuard<'_, Worker> {
        self.workers[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The set of slots and signals of a channel that belongs to `worker`.
    pub(super) fn set(&self, worker: usize, channel: usize) -> usize {
        if self.reused { worker } else { channel }
    }

    /// Before a launch, while no worker runs; of a part, before each epoch. Over these channels, which for a whole schedule are all.
    pub(super) fn reset(&self, epoch: u32, channels: Range<usize>) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.stop.store(false, Ordering::Relaxed);
        self.hung.store(false, Ordering::Relaxed);
        self.panicked.store(false, Ordering::Relaxed);
        self.stall.reset(self.workers.len());
        if !self.reused && epoch == 0 {
            channels.clone().for_each(|channel| self.signals_of(channel).iter().for_each(Signal::reset));
        }
        if let Some(of_launch) = &self.channels {
            *of_launch.write().unwrap_or_else(PoisonError::into_inner) = channels;
        }
    }
}

impl<T: Element> Work for Shared<T> {
    fn work(&self, worker: usize) {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        let mut me = self.worker(worker);
        // An element type's own arithmetic may panic. The others must not wait for this worker then.
        let mut recorder = me.recorder.take();
        let done = contained(|| match &mut recorder {
            None => self.launch(&mut me, &bases, &mut ()),
            Some(recorder) => self.launch(&mut me, &bases, recorder),
        });
        me.recorder = recorder;
        if done.is_none() {
            self.panicked.store(true, Ordering::Relaxed);
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl<T: Element> Shared<T> {
    fn launch(&self, me: &mut Worker, bases: &Bases<T>, watch: &mut impl Watch) {
        me.begin(self);
        let mut backoff = Backoff { spins: self.spins, turns: 0 };
        let mut registered = None;
        while !self.stop.load(Ordering::Relaxed) {
            let progress = self.stall.progress();
            me.refill(self, watch);
            let moved = self.pass(me, bases, watch);
            me.stuck = !moved && !me.tasks.is_empty();
            if !me.stuck {
                let finished = me.tasks.is_empty() && me.next_channel == me.channels.end;
                if !self.private {
                    self.stall.advance(finished);
                }
                if finished {
                    return;
                }
                backoff.turns = 0;
                continue;
            }
            // Nobody else notifies a private channel. The other workers' channels get stuck by themselves, so that always
            // the same one is reported.
            if self.private {
                return self.hung.store(true, Ordering::Relaxed);
            }
            if registered != Some(progress) {
                match self.stall.idle(progress) {
                    Idle::Outdated => continue,
                    Idle::Registered => registered = Some(progress),
                    Idle::Stuck => {
                        self.hung.store(true, Ordering::Relaxed);
                        return self.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
            backoff.wait();
        }
    }

    /// Runs every task as far as it goes; whether any got further.
    fn pass(&self, me: &mut Worker, bases: &Bases<T>, watch: &mut impl Watch) -> bool {
        let mut moved = false;
        let index = me.index;
        me.tasks.retain_mut(|task| {
            let channel = task.channel as usize;
            let set = self.set(index, channel);
            let slots = self.slots.as_ptr().wrapping_add(set * self.slot_stride);
            let memory = Channel { bases, slices: &self.slices, slots, index: channel };
            let (before, end) = (task.step, task.end);
            self.advance(task, end, &memory, self.signals_of(set), watch);
            moved |= task.step != before || task.step == end;
            task.step < end
        });
        moved
    }

    fn advance(&self, task: &mut Task, end: u32, memory: &Channel<'_, T>, signals: &[Signal], watch: &mut impl Watch) {
        let program = &self.program;
        while task.step < end {
            let step = &program.steps[task.step as usize];
            for wait in &program.waits[task.wait as usize..step.waits_end as usize] {
                if !signals[wait.cell as usize].wait(wait.at_least) {
                    return;
                }
                task.wait += 1;
            }
            watch.ready();
            let store = if self.stream && step.last { Store::Past } else { Store::Cached };
            // SAFETY: a program is made of a proved schedule; the waits are over; a task is in one worker's list once
            // a launch and only goes forward; the executor built slices and slots for this schedule and checked the
            // buffers of this launch.
            unsafe { memory.execute(self.how, step.chunks, program.operands(step), store) };
            // Before the notifies, so that no wait for them is over before it by the clock.
            watch.done(task.channel, task.lane, task.step);
            for &cell in &program.notifies[task.notify as usize..step.notifies_end as usize] {
                signals[cell as usize].notify();
            }
            task.notify = step.notifies_end;
            task.step += 1;
        }
    }
}

/// How a worker without a runnable task passes the time: hardly at all, then giving way, then sleeping.
struct Backoff {
    spins: u32,
    turns: u32,
}

impl Backoff {
    const YIELDS: u32 = 200;
    const NAP: Duration = Duration::from_micros(50);

    fn wait(&mut self) {
        self.turns = self.turns.saturating_add(1);
        if self.turns <= self.spins {
            std::hint::spin_loop();
        } else if self.turns <= self.spins + Self::YIELDS {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Self::NAP);
        }
    }
}
