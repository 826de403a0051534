//! Where a thread waits for another: on its core as long as waking it would take, then asleep.
//!
//! Waking a thread costs more than a launch of a megabyte. A waker takes no lock to see that nobody sleeps: it would
//! contend for that lock with the thread that it has just woken. loom tries every interleaving of the two, as it does of `signal`.

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};
#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};

use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How long a thread stays on its core where nothing else is known: about what waking it takes in a virtual machine.
pub(super) const PATIENCE: Duration = Duration::from_micros(50);
/// Turns until it yields between two: the thread that it waits for may have been put on the same core.
const TURNS: u32 = 200;
/// Giving way takes longer only if somebody else ran.
const IDLE_YIELD: Duration = Duration::from_micros(5);

#[derive(Default)]
pub(super) struct Rest {
    sleepers: AtomicUsize,
    /// Another thread ran on the core of a thread that yielded, so the next one sleeps. Schedulers move a thread to another
    /// core when they wake it; two threads that take turns on one core stay there for tens of milliseconds.
    shared_core: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Rest {
    /// Returns once `ready`, of which every load acquires; sleeps until then when its `patience` is over, or at once without one.
    pub(super) fn until(&self, patience: Option<Duration>, ready: impl Fn() -> bool) {
        if patience.is_some_and(|patience| self.stay(patience, &ready)) {
            return;
        }
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        // One of this fence and the waker's is first: either what makes it `ready` is seen here, or the sleeper there. And a
        // waker that has seen it does not ring before this thread, which holds the lock, listens.
        fence(Ordering::SeqCst);
        while !ready() {
            held = self.bell.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    /// After a store that made somebody `ready` at each of them.
    pub(super) fn wake_all<'a>(rests: impl IntoIterator<Item = &'a Self>) {
        fence(Ordering::SeqCst);
        for rest in rests {
            if rest.sleepers.load(Ordering::Relaxed) > 0 {
                let _held = rest.lock.lock().unwrap_or_else(PoisonError::into_inner);
                rest.bell.notify_all();
            }
        }
    }

    /// Whether no thread sleeps here now.
    pub(super) fn is_awake(&self) -> bool {
        self.sleepers.load(Ordering::Relaxed) == 0
    }

    /// On its core, until `ready` or out of patience.
    fn stay(&self, patience: Duration, ready: impl Fn() -> bool) -> bool {
        for _ in 0..TURNS {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if self.shared_core.swap(false, Ordering::Relaxed) {
            return false;
        }
        let (start, mut before) = (Instant::now(), Instant::now());
        while before - start < patience {
            std::thread::yield_now();
            let now = Instant::now();
            if now - before > IDLE_YIELD {
                self.shared_core.store(true, Ordering::Relaxed);
            }
            if ready() {
                return true;
            }
            before = now;
        }
        false
    }
}

#[cfg(all(test, loom))]
#[allow(clippy::unwrap_used)]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    use super::Rest;

    /// Two sleepers, a waker: loom fails the model if any thread is left asleep.
    #[test]
    fn nobody_sleeps_through_the_bell() {
        loom::model(|| {
            let shared = Arc::new((Rest::default(), AtomicUsize::new(0)));
            let sleepers: Vec<_> = (0..2)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || shared.0.until(None, || shared.1.load(Ordering::Acquire) == 1))
                })
                .collect();
            shared.1.store(1, Ordering::Release);
            Rest::wake_all([&shared.0]);
            sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        });
    }
}
