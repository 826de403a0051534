//! The one notify and the one wait of the CPU executor.
//!
//! Kept by themselves because all sharing of memory between workers rests on these two orderings; loom tries every
//! interleaving of them: `RUSTFLAGS="--cfg loom" cargo test -p wgccl --release --no-default-features --lib cpu::signal`.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering};

/// A counter of notifies.
pub(super) struct Signal(AtomicU32);

impl Signal {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Publishes everything that this lane has done, and what it has learnt from others by waiting.
    pub(super) fn notify(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// Whether `at_least` notifies have come; if so, all that went before them is visible. Several lanes may notify the
    /// same signal: a read-modify-write continues the release sequence of the one before.
    pub(super) fn wait(&self, at_least: u32) -> bool {
        self.0.load(Ordering::Acquire) >= at_least
    }

    /// Back to zero, before any lane of the next launch runs.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// For reports, once no lane runs any more.
    pub(super) fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, loom))]
#[allow(clippy::unwrap_used)]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::Signal;

    /// Memory that loom watches: it fails the model where two accesses, one a write, are not ordered.
    struct Slot(UnsafeCell<u32>);

    // SAFETY: loom itself checks that accesses are ordered, which is what is being tested.
    unsafe impl Sync for Slot {}

    impl Slot {
        fn new() -> Self {
            Self(UnsafeCell::new(0))
        }

        fn write(&self, value: u32) {
            // SAFETY: loom panics before the access if it is not exclusive.
            self.0.with_mut(|slot| unsafe { *slot = value });
        }

        fn read(&self) -> u32 {
            // SAFETY: loom panics before the access if a write may be concurrent.
            self.0.with(|slot| unsafe { *slot })
        }
    }

    fn until(signal: &Signal, at_least: u32) {
        while !signal.wait(at_least) {
            thread::yield_now();
        }
    }

    #[test]
    fn what_was_written_before_a_notify_is_read_after_the_wait() {
        loom::model(|| {
            let shared = Arc::new((Slot::new(), Signal::new()));
            let peer = shared.clone();
            let lane = thread::spawn(move || {
                peer.0.write(7);
                peer.1.notify();
            });
            until(&shared.1, 1);
            assert_eq!(shared.0.read(), 7);
            lane.join().unwrap();
        });
    }

    /// The ring's other direction: a slot is written again only once its reader has said that it is done.
    #[test]
    fn a_slot_is_reused_after_its_reader_notifies() {
        loom::model(|| {
            let shared = Arc::new((Slot::new(), Signal::new(), Signal::new()));
            let peer = shared.clone();
            let writer = thread::spawn(move || {
                let (slot, full, empty) = &*peer;
                slot.write(1);
                full.notify();
                until(empty, 1);
                slot.write(2);
                full.notify();
            });
            let (slot, full, empty) = &*shared;
            until(full, 1);
            assert_eq!(slot.read(), 1);
            empty.notify();
            until(full, 2);
            assert_eq!(slot.read(), 2);
            writer.join().unwrap();
        });
    }

    /// Two lanes of one rank notify the same signal; a wait for both sees what both wrote.
    #[test]
    fn a_wait_for_two_lanes_sees_both() {
        loom::model(|| {
            let shared = Arc::new((Slot::new(), Slot::new(), Signal::new()));
            let lanes = [false, true].map(|second| {
                let peer = shared.clone();
                thread::spawn(move || {
                    let (a, b, both) = &*peer;
                    if second {
                        b.write(2)
                    } else {
                        a.write(1)
                    }
                    both.notify();
                })
            });
            until(&shared.2, 2);
            assert_eq!((shared.0.read(), shared.1.read()), (1, 2));
            lanes.into_iter().for_each(|lane| lane.join().unwrap());
        });
    }
}
