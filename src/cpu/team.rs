//! Worker threads that outlive a launch: parked between launches, joined on drop, shared by the executors of a
//! communicator.
//!
//! Starting threads for each launch would cost more than a launch of a megabyte takes. The caller is worker 0.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::thread::{Builder, JoinHandle};

use super::contain::contained;
use super::rest::Rest;
use crate::cores::cores;

/// What every worker does in a launch. A panic on the calling thread unwinds from the launch once all other workers have left; a
/// panic on another thread ends there, and nobody hears of it but from the work itself.
pub(super) trait Work: Send + Sync + 'static {
    fn work(&self, worker: usize);
}

#[derive(Default)]
pub(super) struct Team {
    gate: Arc<Gate>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Lock-free where nobody sleeps: a launch of 100 KiB takes less time than to get a lock for which two cores compete.
#[derive(Default)]
struct Gate {
    /// Held while a launch runs.
    turn: Mutex<()>,
    running: Running,
    /// Number of the launch and, below [`NUMBER`], how many workers take part in it; or [`CLOSED`].
    launch: AtomicU64,
    /// Of the launch; written before it begins, read by those who take part in it.
    work: RwLock<Option<Arc<dyn Work>>>,
    /// Workers until the next launch, and the caller until all have finished.
    start: Rest,
    done: Rest,
    /// Threads that were started, all that a launch may count on.
    threads: AtomicUsize,
    /// Workers would take each other's cores if they did not sleep at once.
    crowded: AtomicBool,
}

/// Who takes part and has not finished, the caller aside. In cache lines of its own: whoever leaves would take away the line from
/// those who already watch for the next launch.
#[derive(Default)]
#[repr(align(128))]
struct Running(AtomicUsize);

/// More than a team has workers.
const NUMBER: u64 = 1 << 16;
/// No launch's: the team is dissolved.
const CLOSED: u64 = u64::MAX;

impl Team {
    /// Starts threads until there are `workers`, the caller included.
    pub(super) fn grow(&self, workers: usize) -> io::Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for worker in threads.len() + 1..workers {
            let gate = self.gate.clone();
            let thread = Builder::new().name(format!("wgccl-cpu-{worker}")).spawn(move || {
                let mut seen = 0;
                while let Some(work) = gate.next(&mut seen, worker) {
                    // Whoever panics must leave as well, or the caller would wait for ever.
                    let _ = contained(|| work.work(worker));
                    // The launch is over for those who wait only when nothing of it is held any more.
                    drop(work);
                    gate.leave();
                }
            })?;
            threads.push(thread);
        }
        self.gate.threads.store(threads.len(), Ordering::Relaxed);
        self.gate.crowded.store(threads.len() >= cores(), Ordering::Relaxed);
        Ok(())
    }

    /// One launch, when nobody else has the turn; see [`Turn::run`].
    pub(super) fn run<W: Work>(&self, work: &Arc<W>, workers: usize) {
        if workers <= 1 {
            return work.work(0);
        }
        self.turn().run(work, workers);
    }

    /// The turn to launch, when nobody else has it.
    pub(super) fn turn(&self) -> Turn<'_> {
        Turn { gate: &self.gate, _held: self.gate.turn.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The turn to launch on so many workers, if there are so many, none sleeps, and nobody else has it.
    pub(super) fn awake(&self, workers: usize) -> Option<Turn<'_>> {
        let there = self.gate.threads.load(Ordering::Relaxed) + 1 >= workers;
        if !there || !self.gate.patient() || !self.gate.start.is_awake() {
            return None;
        }
        Some(Turn { gate: &self.gate, _held: free(&self.gate.turn)? })
    }

    /// Wakes all workers, of which there are so many then, for a launch that comes soon; or none, where these cannot be had.
    pub(super) fn rouse(&self, workers: usize) {
        if self.grow(workers).is_err() || !self.gate.patient() {
            return;
        }
        if let Some(_turn) = free(&self.gate.turn) {
            self.gate.number(0);
        }
    }
}

fn free<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Nobody else launches meanwhile.
pub(super) struct Turn<'a> {
    gate: &'a Gate,
    _held: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// One launch of at most as many workers as the team has grown to: returns once every one of them is done.
    pub(super) fn run<W: Work>(self, work: &Arc<W>, workers: usize) {
        self.gate.open(work.clone(), workers);
        let _joined = Joined(self.gate);
        work.work(0);
    }
}

/// Waits for all workers when it is dropped, so that the caller's buffers outlive them also where it unwinds.
struct Joined<'a>(&'a Gate);

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.0.join();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.gate.close();
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Panics are contained, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Gate {
    /// Nobody takes part in an earlier launch any more, so nobody reads what is written here.
    fn open(&self, work: Arc<dyn Work>, workers: usize) {
        self.hold(Some(work));
        self.running.0.store(workers - 1, Ordering::Relaxed);
        self.number(workers);
    }

    /// Begins the next launch.
    fn number(&self, workers: usize) {
        let number = self.launch.load(Ordering::Relaxed) / NUMBER + 1;
        self.launch.store(number * NUMBER + workers as u64, Ordering::Release);
        self.start.wake();
    }

    fn close(&self) {
        self.launch.store(CLOSED, Ordering::Release);
        self.start.wake();
    }

    /// Waits for a launch that was not `seen` and that `worker` takes part in; none when the team is dissolved.
    fn next(&self, seen: &mut u64, worker: usize) -> Option<Arc<dyn Work>> {
        loop {
            self.start.until(self.patient(), || self.launch.load(Ordering::Acquire) != *seen);
            // Whoever takes part in a launch sees it, because there is no other before they have left.
            *seen = self.launch.load(Ordering::Acquire);
            if *seen == CLOSED {
                return None;
            }
            if (worker as u64) < *seen % NUMBER {
                return self.work.read().unwrap_or_else(PoisonError::into_inner).clone();
            }
        }
    }

    fn leave(&self) {
        if self.running.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.wake();
        }
    }

    fn join(&self) {
        self.done.until(self.patient(), || self.running.0.load(Ordering::Acquire) == 0);
        self.hold(None);
    }

    fn hold(&self, work: Option<Arc<dyn Work>>) {
        *self.work.write().unwrap_or_else(PoisonError::into_inner) = work;
    }

    fn patient(&self) -> bool {
        !self.crowded.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Count(Vec<AtomicUsize>);

    impl Work for Count {
        fn work(&self, worker: usize) {
            self.0[worker].fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_worker_works_once_a_launch() {
        let team = Team::default();
        for workers in [1, 2, 5, 3, 2, 1] {
            let count = Arc::new(Count((0..5).map(|_| AtomicUsize::new(0)).collect()));
            team.grow(workers).unwrap();
            for launch in 1..=20 {
                team.run(&count, workers);
                let times = |times: &AtomicUsize| times.load(Ordering::Relaxed);
                assert!(count.0[..workers].iter().all(|count| times(count) == launch));
                assert!(count.0[workers..].iter().all(|count| times(count) == 0));
            }
            assert_eq!(Arc::strong_count(&count), 1, "nothing of a launch outlives it");
        }
    }

    /// Panics on one worker, and says who came to its end.
    struct Breaks {
        at: usize,
        ended: AtomicUsize,
    }

    impl Work for Breaks {
        fn work(&self, worker: usize) {
            if worker == self.at {
                std::panic::panic_any("this panic is part of the test");
            }
            // The caller has unwound by then, if it does not wait.
            std::thread::sleep(std::time::Duration::from_millis(20));
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_panic_waits_for_all_workers_and_the_team_goes_on() {
        let team = Team::default();
        team.grow(3).unwrap();
        for at in [0, 1, 2] {
            let work = Arc::new(Breaks { at, ended: AtomicUsize::new(0) });
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| team.run(&work, 3)));
            assert_eq!(work.ended.load(Ordering::Relaxed), 2, "worker {at}");
            assert_eq!(outcome.is_err(), at == 0);
            let count = Arc::new(Count((0..3).map(|_| AtomicUsize::new(0)).collect()));
            team.run(&count, 3);
            assert!(count.0.iter().all(|count| count.load(Ordering::Relaxed) == 1), "worker {at}");
        }
    }
}
