//! How a launch begins and ends for workers: they wait for its number, and the caller for all whom it has called.
//!
//! Apart from the threads, because loom tries the interleavings of this, as it does of `rest`. Lock-free where nobody sleeps: a launch
//! of 100 KiB takes less time than to get a lock for which two cores compete.

#[cfg(loom)]
use loom::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use super::rest::{PATIENCE, Rest};

/// What every worker does in a launch. A panic on the calling thread unwinds from the launch once all other workers have left; a
/// panic on another thread ends there, and nobody hears of it but from the work itself.
pub(super) trait Work: Send + Sync + 'static {
    fn work(&self, worker: usize);
}

#[derive(Default)]
pub(super) struct Gate {
    /// Held while a launch runs.
    turn: Mutex<()>,
    running: Running,
    /// What workers are called to last: a count and, below [`NUMBER`], [`ROUSED`] and how many are called, the caller of the launch
    /// included; or [`CLOSED`].
    call: AtomicU64,
    /// Of the launch; written before it begins, read by those who take part in it.
    work: RwLock<Option<Arc<dyn Work>>>,
    /// Where each worker waits, from worker 1 on: all threads that were started, so all that a launch may count on.
    starts: RwLock<Vec<Arc<Rest>>>,
    done: Rest,
    /// Cores beside the caller's.
    spare: AtomicUsize,
    /// For how many microseconds those who are roused stay.
    stay: AtomicU64,
}

/// Who takes part and has not finished, the caller aside. In cache lines of its own: whoever leaves would take away the line from
/// those who already watch for the next launch.
#[derive(Default)]
#[repr(align(128))]
struct Running(AtomicUsize);

/// More than a team has workers, twice.
const NUMBER: u64 = 1 << 16;
/// To no work, but to stay on their cores for a while.
const ROUSED: u64 = NUMBER >> 1;
/// No launch's: the team is dissolved.
const CLOSED: u64 = u64::MAX;

/// How many are called.
fn called(call: u64) -> usize {
    (call % ROUSED) as usize
}

impl Gate {
    /// Another worker, whose thread has been started and waits there.
    pub(super) fn add(&self, start: Arc<Rest>) {
        self.starts.write().unwrap_or_else(PoisonError::into_inner).push(start);
    }

    /// How many workers there are, a caller included.
    pub(super) fn workers(&self) -> usize {
        self.starts.read().unwrap_or_else(PoisonError::into_inner).len() + 1
    }

    /// Threads that find no core of their own do not wait on one.
    pub(super) fn set_cores(&self, cores: usize) {
        self.spare.store(cores.saturating_sub(1), Ordering::Relaxed);
    }

    /// The turn to launch, when nobody else has it.
    pub(super) fn turn(&self) -> Turn<'_> {
        Turn { gate: self, _held: self.turn.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The turn to launch, if nobody else has it.
    pub(super) fn free(&self) -> Option<Turn<'_>> {
        let held = match self.turn.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Turn { gate: self, _held: held })
    }

    /// Whether so many workers are there, none of them sleeps, and each has a core.
    pub(super) fn is_awake(&self, workers: usize) -> bool {
        let starts = self.starts.read().unwrap_or_else(PoisonError::into_inner);
        let others = workers.checked_sub(1).and_then(|others| starts.get(..others));
        self.is_roomy(workers) && others.is_some_and(|others| others.iter().all(|start| start.is_awake()))
    }

    /// Whether so many do not take each other's cores: if they would, whoever waits sleeps at once.
    pub(super) fn is_roomy(&self, workers: usize) -> bool {
        !cfg!(loom) && workers <= self.spare.load(Ordering::Relaxed) + 1
    }

    /// How long whoever was called last stays on its core.
    fn patience(&self, call: u64) -> Option<Duration> {
        let roused = if call & ROUSED == 0 { 0 } else { self.stay.load(Ordering::Relaxed) };
        self.is_roomy(called(call)).then(|| PATIENCE.max(Duration::from_micros(roused)))
    }

    /// Calls the first of the workers. Whoever holds the turn does.
    fn call(&self, workers: usize, roused: u64) {
        let number = self.call.load(Ordering::Relaxed) / NUMBER + 1;
        self.call.store(number * NUMBER + roused + workers as u64, Ordering::Release);
        let starts = self.starts.read().unwrap_or_else(PoisonError::into_inner);
        Rest::wake_all(starts.iter().take(workers.saturating_sub(1)).map(|start| &**start));
    }

    /// Dissolves the team, when no launch runs.
    pub(super) fn close(&self) {
        self.call.store(CLOSED, Ordering::Release);
        Rest::wake_all(self.starts.read().unwrap_or_else(PoisonError::into_inner).iter().map(|start| &**start));
    }

    /// Waits at its `start` for a launch that was not `seen` and to which `worker` is called; none when the team is dissolved.
    pub(super) fn next(&self, start: &Rest, seen: &mut u64, worker: usize) -> Option<Arc<dyn Work>> {
        loop {
            start.until(self.patience(*seen), || {
                let call = self.call.load(Ordering::Acquire);
                call == CLOSED || call != *seen && worker < called(call)
            });
            // Whoever takes part in a launch sees it, because there is no other call before they have left.
            *seen = self.call.load(Ordering::Acquire);
            if *seen == CLOSED {
                return None;
            }
            if worker < called(*seen) && *seen & ROUSED == 0 {
                return self.work.read().unwrap_or_else(PoisonError::into_inner).clone();
            }
        }
    }

    /// Of whoever took part in a launch, and holds nothing of it any more.
    pub(super) fn leave(&self) {
        if self.running.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            Rest::wake_all([&self.done]);
        }
    }

    fn hold(&self, work: Option<Arc<dyn Work>>) {
        *self.work.write().unwrap_or_else(PoisonError::into_inner) = work;
    }
}

/// Nobody else launches meanwhile.
pub(super) struct Turn<'a> {
    gate: &'a Gate,
    _held: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// One launch of at most as many workers as there are: returns once every one of them is done.
    pub(super) fn run<W: Work>(self, work: &Arc<W>, workers: usize) {
        // Nobody takes part in an earlier launch any more, so nobody reads what is written here.
        self.gate.hold(Some(work.clone()));
        self.gate.running.0.store(workers - 1, Ordering::Relaxed);
        self.gate.call(workers, 0);
        let _joined = Joined { gate: self.gate, workers };
        work.work(0);
    }

    /// Has the first of the workers wait on their cores for a launch that comes within `stay`.
    pub(super) fn rouse(self, workers: usize, stay: Duration) {
        self.gate.stay.store(stay.as_micros() as u64, Ordering::Relaxed);
        self.gate.call(workers, ROUSED);
    }
}

/// Waits for all workers when it is dropped, so that the caller's buffers outlive them also where it unwinds.
struct Joined<'a> {
    gate: &'a Gate,
    workers: usize,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let Self { gate, workers } = self;
        gate.done.until(gate.patience(*workers as u64), || gate.running.0.load(Ordering::Acquire) == 0);
        gate.hold(None);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[cfg(loom)]
    use loom::thread::{JoinHandle, spawn};
    #[cfg(not(loom))]
    use std::thread::{JoinHandle, spawn};

    use super::*;

    struct Count(Vec<AtomicUsize>);

    impl Work for Count {
        fn work(&self, worker: usize) {
            self.0[worker].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Of so many workers beside the caller: how often each has worked, where the others wait, and their threads.
    fn team(gate: &Arc<Gate>, others: usize) -> (Arc<Count>, Vec<Arc<Rest>>, Vec<JoinHandle<()>>) {
        let count = Arc::new(Count((0..=others).map(|_| AtomicUsize::new(0)).collect()));
        let worker = |worker| {
            let (gate, start) = (gate.clone(), Arc::<Rest>::default());
            gate.add(start.clone());
            let waits = start.clone();
            let thread = spawn(move || {
                let mut seen = 0;
                while let Some(work) = gate.next(&waits, &mut seen, worker) {
                    work.work(worker);
                    drop(work);
                    gate.leave();
                }
            });
            (start, thread)
        };
        let (starts, threads) = (1..=others).map(worker).unzip();
        (count, starts, threads)
    }

    /// Launches of so many, one after the other; 0 for a rousing of all.
    fn calls(others: usize, calls: &[usize]) {
        let gate = Arc::new(Gate::default());
        let (count, _, threads) = team(&gate, others);
        let mut times = vec![0; others + 1];
        for &workers in calls {
            if workers == 0 {
                gate.turn().rouse(others + 1, PATIENCE);
                continue;
            }
            gate.turn().run(&count, workers);
            times[..workers].iter_mut().for_each(|times| *times += 1);
            let counted: Vec<usize> = count.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            assert_eq!(counted, times, "{calls:?}");
        }
        gate.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Nobody sleeps through a call, works twice in a launch or without being called, or is waited for in vain.
    #[test]
    fn who_is_called_works_once() {
        for (others, launches, preemptions) in [
            (1, &[2, 2][..], Some(3)),
            (1, &[2, 0, 2], Some(3)),
            (2, &[3, 2, 3], Some(2)),
            (2, &[2, 0, 3], Some(2)),
            (2, &[0, 2], Some(2)),
        ] {
            #[cfg(loom)]
            {
                let mut builder = loom::model::Builder::new();
                builder.preemption_bound = preemptions;
                builder.check(move || calls(others, launches));
            }
            #[cfg(not(loom))]
            {
                let _: Option<usize> = preemptions;
                calls(others, launches);
            }
        }
    }

    /// Two of three are called again and again: the third does not keep a core from others.
    #[test]
    #[cfg(not(any(loom, miri)))]
    fn who_is_not_called_sleeps() {
        let gate = Arc::new(Gate::default());
        let (count, starts, threads) = team(&gate, 2);
        gate.set_cores(3);
        let long = std::time::Instant::now() + Duration::from_secs(60);
        while starts[1].is_awake() {
            gate.turn().run(&count, 2);
            assert!(std::time::Instant::now() < long, "the third is kept awake");
        }
        gate.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
