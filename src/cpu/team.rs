//! Worker threads that outlive a launch: parked between launches, joined on drop, shared by the executors of a
//! communicator.
//!
//! Starting threads for each launch would cost more than a launch of a megabyte takes. The caller is worker 0.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::contain::contained;
use super::gate::{Gate, Turn, Work};
use super::haste::Haste;
use super::rest::Rest;
use crate::cores::cores;

#[derive(Default)]
pub(super) struct Team {
    gate: Arc<Gate>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    haste: Mutex<Haste>,
}

impl Team {
    /// Starts threads until there are `workers`, the caller included. They run where the calling thread may.
    pub(super) fn grow(&self, workers: usize) -> io::Result<()> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        self.gate.set_cores(cores());
        for worker in threads.len() + 1..workers {
            let (gate, start) = (self.gate.clone(), Arc::<Rest>::default());
            let waits = start.clone();
            let thread = Builder::new().name(format!("wgccl-cpu-{worker}")).spawn(move || {
                let mut seen = 0;
                while let Some(work) = gate.next(&waits, &mut seen, worker) {
                    // Whoever panics must leave as well, or the caller would wait for ever.
                    let _ = contained(|| work.work(worker));
                    // The launch is over for those who wait only when nothing of it is held any more.
                    drop(work);
                    gate.leave();
                }
            })?;
            threads.push(thread);
            self.gate.add(start);
        }
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
        self.gate.turn()
    }

    /// The turn to launch on so many workers, if there are so many, none sleeps, and nobody else has it.
    pub(super) fn awake(&self, workers: usize) -> Option<Turn<'_>> {
        if self.gate.is_awake(workers) { self.gate.free() } else { None }
    }

    /// After a launch of the calling thread alone, which so many workers would have helped with: they are woken where another is to
    /// be expected soon, unless they cannot be had.
    pub(super) fn launched_alone(&self, began: Instant, ended: Instant, workers: usize) {
        // Two threads that launch at once need no help.
        if let Some(stay) = self.haste.try_lock().ok().and_then(|mut haste| haste.alone(began, ended)) {
            self.rouse(workers, stay);
        }
    }

    fn rouse(&self, workers: usize, stay: Duration) {
        // Where it may run is asked of the system only if threads are missing: that takes as long as a launch.
        let missing = self.gate.workers() < workers;
        if missing && (workers > cores() || self.grow(workers).is_err()) || !self.gate.is_roomy(workers) {
            return;
        }
        if let Some(turn) = self.gate.free() {
            turn.rouse(workers, stay);
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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
            std::thread::sleep(Duration::from_millis(20));
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

    /// They stay on their cores for a while after they were woken, and nobody is woken where threads outnumber cores.
    #[test]
    fn nobody_is_asked_who_sleeps() {
        let team = Team::default();
        assert!(team.awake(2).is_none(), "there is nobody");
        team.rouse(cores() + 1, Duration::ZERO);
        assert_eq!(team.gate.workers(), 1, "each would take another's core");
        team.grow(cores() + 1).unwrap();
        assert!(team.awake(cores() + 1).is_none(), "each would take another's core");
        let turn = team.turn();
        assert!(team.awake(1).is_none(), "another thread launches");
        drop(turn);
        assert!(team.awake(1).is_some(), "there is nobody who could sleep");
    }
}
