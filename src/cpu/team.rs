//! Worker threads that outlive a launch: parked between launches, joined on drop.
//!
//! Starting threads for each launch would cost more than a launch of a megabyte takes. The caller is worker 0.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::cut::cores;

/// What every worker does in a launch. It must not panic.
pub(super) trait Work: Send + Sync + 'static {
    fn work(&self, worker: usize);
}

pub(super) struct Team<W> {
    work: Arc<W>,
    gate: Arc<Gate>,
    threads: Vec<JoinHandle<()>>,
}

/// How long a thread spins before it parks: about what waking it takes in a virtual machine.
const PATIENCE: Duration = Duration::from_micros(50);
/// Turns between two looks at the clock.
const TURNS: u32 = 64;

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    start: Condvar,
    done: Condvar,
    /// Copies of the state for spinning; what counts is read under the lock.
    launch: AtomicU64,
    running: AtomicUsize,
    /// Whether to spin before parking: not where workers would take each other's cores.
    spins: bool,
}

#[derive(Default)]
struct State {
    launch: u64,
    running: usize,
    closing: bool,
}

impl<W: Work> Team<W> {
    /// A team of `workers`, the caller included.
    pub(super) fn new(work: Arc<W>, workers: usize) -> io::Result<Self> {
        let gate = Gate { spins: workers <= cores(), ..Gate::default() };
        let mut team = Self { work, gate: Arc::new(gate), threads: Vec::new() };
        for worker in 1..workers {
            let (work, gate) = (team.work.clone(), team.gate.clone());
            let thread = Builder::new().name(format!("wgccl-cpu-{worker}")).spawn(move || {
                let mut seen = 0;
                while gate.next(&mut seen) {
                    work.work(worker);
                    gate.leave();
                }
            })?;
            team.threads.push(thread);
        }
        Ok(team)
    }

    /// One launch: returns once every worker is done.
    pub(super) fn run(&self) {
        if self.threads.is_empty() {
            return self.work.work(0);
        }
        self.gate.open(self.threads.len());
        self.work.work(0);
        self.gate.join();
    }
}

impl<W> Drop for Team<W> {
    fn drop(&mut self) {
        self.gate.lock().closing = true;
        self.gate.start.notify_all();
        for thread in self.threads.drain(..) {
            // `work` does not panic, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, running: usize) {
        let mut state = self.lock();
        state.launch += 1;
        state.running = running;
        self.running.store(running, Ordering::Relaxed);
        self.launch.store(state.launch, Ordering::Relaxed);
        drop(state);
        self.start.notify_all();
    }

    /// Waits for a launch that was not `seen`; false when the team is dissolved.
    fn next(&self, seen: &mut u64) -> bool {
        self.spin(|| self.launch.load(Ordering::Relaxed) != *seen);
        let mut state = self.lock();
        while state.launch == *seen && !state.closing {
            state = self.start.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *seen = state.launch;
        !state.closing
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
    }

    fn spin(&self, until: impl Fn() -> bool) {
        let start = Instant::now();
        while self.spins && start.elapsed() < PATIENCE {
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
        for workers in [1, 2, 5] {
            let count = Arc::new(Count((0..workers).map(|_| AtomicUsize::new(0)).collect()));
            let team = Team::new(count.clone(), workers).unwrap();
            for launch in 1..=20 {
                team.run();
                assert!(count.0.iter().all(|times| times.load(Ordering::Relaxed) == launch));
            }
        }
    }
}
