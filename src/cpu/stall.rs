//! Exact hang detection without timers: a launch is stuck once every unfinished worker has looked in vain.
//!
//! Progress is numbered. A worker that makes a full pass over its tasks in vain registers for the number that it read
//! before the pass; any progress starts a new number and forgets the registrations. So when all unfinished workers are
//! registered, all of them looked after the last notify, and nothing can ever change.

use std::sync::atomic::{AtomicU64, Ordering};

/// Number of the progress, unfinished workers, registered workers: 32, 16 and 16 bits.
pub(super) struct Stall(AtomicU64);

const UNFINISHED: u64 = 1 << 16;
const PROGRESS: u64 = 1 << 32;

/// What became of a registration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// Somebody has made progress since: look again.
    Outdated,
    /// Others are still at it.
    Registered,
    /// This was the last: nobody can go on.
    Stuck,
}

impl Stall {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Before a launch of that many workers.
    pub(super) fn reset(&self, workers: usize) {
        self.0.store(workers as u64 * UNFINISHED, Ordering::Release);
    }

    /// To be read before a pass. Acquires the notifies that the progress stands for.
    pub(super) fn progress(&self) -> u32 {
        (self.0.load(Ordering::Acquire) / PROGRESS) as u32
    }

    /// After a pass with progress; `finished` if it was the worker's last.
    pub(super) fn advance(&self, finished: bool) {
        self.update(|state| {
            let unfinished = (state % PROGRESS) / UNFINISHED - u64::from(finished);
            (state / PROGRESS).wrapping_add(1).wrapping_mul(PROGRESS) + unfinished * UNFINISHED
        });
    }

    /// After a pass in vain that began at `progress`; once for each.
    pub(super) fn idle(&self, progress: u32) -> Idle {
        let mut verdict = Idle::Outdated;
        self.update(|state| {
            if (state / PROGRESS) as u32 != progress {
                verdict = Idle::Outdated;
                return state;
            }
            let (idle, unfinished) = (state % UNFINISHED + 1, (state % PROGRESS) / UNFINISHED);
            verdict = if idle == unfinished { Idle::Stuck } else { Idle::Registered };
            state + 1
        });
        verdict
    }

    fn update(&self, mut next: impl FnMut(u64) -> u64) {
        let mut state = self.0.load(Ordering::Relaxed);
        while let Err(now) = self.0.compare_exchange_weak(state, next(state), Ordering::AcqRel, Ordering::Relaxed) {
            state = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuck_only_when_all_unfinished_workers_looked_after_the_last_progress() {
        let stall = Stall::new();
        stall.reset(3);
        let old = stall.progress();
        assert_eq!(stall.idle(old), Idle::Registered);
        stall.advance(false);
        assert_eq!(stall.idle(old), Idle::Outdated);
        let new = stall.progress();
        assert_eq!(stall.idle(new), Idle::Registered);
        assert_eq!(stall.idle(new), Idle::Registered);
        stall.advance(true);
        let new = stall.progress();
        assert_eq!(stall.idle(new), Idle::Registered);
        assert_eq!(stall.idle(new), Idle::Stuck);
    }
}
