//! Launches in one device memory as the host numbers them: whose progress is it, and must the memory be reset before the next?
//!
//! Nothing precedes a launch: signals count on from one to the next. Only a launch that stopped half-way leaves them short.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::lower::words::NUMBERS;

/// The launches of one memory.
#[derive(Default)]
pub(super) struct Ledger {
    recorded: AtomicU32,
    /// Launches that were found unfinished.
    unfinished: AtomicU32,
    /// How many of these lie before a reset that is known to have run.
    settled: AtomicU32,
}

/// A launch, recorded but perhaps never submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbered {
    /// 1 to [`NUMBERS`].
    pub(super) number: u32,
    /// The memory must be reset before.
    pub(super) resets: bool,
    unfinished: u32,
}

impl Ledger {
    pub(super) fn next(&self) -> Numbered {
        let number = 1 + self.recorded.fetch_add(1, Ordering::Relaxed) % NUMBERS;
        let unfinished = self.unfinished.load(Ordering::Relaxed);
        Numbered { number, resets: unfinished != self.settled.load(Ordering::Relaxed), unfinished }
    }

    /// `launch` finished. If it began with a reset, what was unfinished when it was recorded is done with.
    pub(super) fn finished(&self, launch: Numbered) {
        if launch.resets {
            self.settled.fetch_max(launch.unfinished, Ordering::Relaxed);
        }
    }

    /// A launch did not finish: later ones are to be recorded with a reset, until one of them has finished.
    pub(super) fn unfinished(&self) {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_for_long_and_are_never_zero() {
        let ledger = Ledger::default();
        let numbers: Vec<u32> = (0..3 * NUMBERS).map(|_| ledger.next().number).collect();
        for window in numbers.windows(NUMBERS as usize) {
            let mut sorted = window.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (1..=NUMBERS).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_reset_stays_due_until_a_launch_that_began_with_it_has_finished() {
        let ledger = Ledger::default();
        let before = ledger.next();
        assert!(!before.resets);
        ledger.unfinished();
        // Recorded before the failure was known, or never submitted: neither settles it.
        ledger.finished(before);
        assert!(ledger.next().resets);
        let reset = ledger.next();
        assert!(reset.resets);
        // Another one failed meanwhile; the reset does not cover it.
        ledger.unfinished();
        ledger.finished(reset);
        let again = ledger.next();
        assert!(again.resets);
        ledger.finished(again);
        assert!(!ledger.next().resets);
    }
}
