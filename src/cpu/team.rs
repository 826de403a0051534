//! Worker threads that outlive a launch: parked between launches, joined on drop, shared by the executors of a
//! communicator.
//!
//! Starting threads for each launch would cost more than a launch of a megabyte takes. The caller is worker 0.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::cut::cores;

/// What every worker does in a launch. It must not panic.
pub(super) trait Work: Send + Sync + 'static {
    fn work(&self, worker: usize);
}

#[derive(Default)]
pub(super) struct Team {
    gate: Arc<Gate>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How long a thread spins before it parks: about what waking it takes in a virtual machine.
const PATIENCE: Duration = Duration::from_micros(50);
/// Turns between two looks at the clock.
const TURNS: u32 = 64;

#[derive(Default)]
struct Gate {
    /// Held while a launch runs.
    turn: Mutex<()>,
    state: Mutex<State>,
    start: Condvar,
    done: Condvar,
    /// Copies of the state for spinning; what counts is read under the lock.
    launch: AtomicU64,
    running: AtomicUsize,
    /// Not to spin before parking, where workers would take each other's cores.
    crowded: AtomicBool,
}

#[derive(Default)]
struct State {
    launch: u64,
    /// What to do, and how many workers do it.
    work: Option<Arc<dyn Work>>,
    workers: usize,
    running: usize,
    closing: bool,
}

impl Team {
    /// Starts threads until there are `workers`, the caller included.
    pub(super) fn grow(&self, workers: usize) -> io::Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for worker in threads.len() + 1..workers {
            let gate = self.gate.clone();
            let thread = Builder::new().name(format!("wgccl-cpu-{worker}")).spawn(move || {
                let mut seen = 0;
                while let Some(work) = gate.next(&mut seen, worker) {
                    work.work(worker);
                    // The launch is over for those who wait only when nothing of it is held any more.
                    drop(work);
                    gate.leave();
                }
            })?;
            threads.push(thread);
        }
        self.gate.crowded.store(threads.len() >= cores(), Ordering::Relaxed);
        Ok(())
    }

    /// One launch of at most as many workers as the team has grown to: returns once every one of them is done.
    pub(super) fn run<W: Work>(&self, work: &Arc<W>, workers: usize) {
        if workers <= 1 {
            return work.work(0);
        }
        let _turn = self.gate.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.gate.open(work.clone(), workers);
        work.work(0);
        self.gate.join();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.gate.lock().closing = true;
        self.gate.start.notify_all();
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // `work` does not panic, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, work: Arc<dyn Work>, workers: usize) {
        let mut state = self.lock();
        state.launch += 1;
        state.work = Some(work);
        state.workers = workers;
        state.running = workers - 1;
        self.running.store(state.running, Ordering::Relaxed);
        self.launch.store(state.launch, Ordering::Relaxed);
        drop(state);
        self.start.notify_all();
    }

    /// Waits for a launch that was not `seen` and that `worker` takes part in; none when the team is dissolved.
    fn next(&self, seen: &mut u64, worker: usize) -> Option<Arc<dyn Work>> {
        loop {
            self.spin(|| self.launch.load(Ordering::Relaxed) != *seen);
            let mut state = self.lock();
            while state.launch == *seen && !state.closing {
                state = self.start.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closing {
                return None;
            }
            *seen = state.launch;
            if worker < state.workers
                && let Some(work) = &state.work
            {
                return Some(work.clone());
            }
        }
    }

    fn leave(&self) {
        let mut state = self.lock();
        state.running -= 1;
        self.running.store(state.running, Ordering::Relaxed);
        if state.running == 0 {
            self.done.notify_one();
        }
    }

    fn join(&self) {
        self.spin(|| self.running.load(Ordering::Relaxed) == 0);
        let mut state = self.lock();
        while state.running > 0 {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.work = None;
    }

    fn spin(&self, until: impl Fn() -> bool) {
        let start = Instant::now();
        while !self.crowded.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
            for _ in 0..TURNS {
                if until() {
                    return;
                }
                std::hint::spin_loop();
            }
        }
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
}
