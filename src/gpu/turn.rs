//! Threads that share an OpenGL device take turns.
//!
//! OpenGL has one context, which a call keeps until it is through: a launch where the driver executes at once, a whole
//! compilation. wgpu panics in the thread that has waited for it for some seconds (`CONTEXT_LOCK_TIMEOUT_SECS` of wgpu-hal's
//! `gles`, 6 by EGL, 1 on Windows). Who waits here waits as long as it takes.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    /// A callback that wgpu runs in a turn may call wgccl again.
    static MINE: Cell<bool> = const { Cell::new(false) };
}

/// Whose turn it is, where somebody must have it.
#[derive(Debug)]
pub(super) struct Turns(Option<Mutex<()>>);

/// Ends when it is dropped.
pub(super) struct Turn<'a>(Option<MutexGuard<'a, ()>>);

impl Turns {
    /// `shared`: whether threads can be in each other's way.
    pub(super) fn new(shared: bool) -> Self {
        Self(shared.then(Mutex::default))
    }

    /// This thread's turn, once others have had theirs.
    pub(super) fn take(&self) -> Turn<'_> {
        let Some(turns) = self.0.as_ref().filter(|_| !MINE.get()) else { return Turn(None) };
        let turn = turns.lock().unwrap_or_else(PoisonError::into_inner);
        MINE.set(true);
        Turn(Some(turn))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.0.is_some() {
            MINE.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_and_within_a_turn_at_once() {
        let (turns, inside) = (Turns::new(true), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let _turn = turns.take();
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        drop(turns.take());
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
        });
        // A turn that panicked is over.
        let thrown = std::panic::catch_unwind(|| {
            let _turn = turns.take();
            std::panic::resume_unwind(Box::new("in a turn"));
        });
        assert!(thrown.is_err() && turns.take().0.is_some() && Turns::new(false).take().0.is_none());
    }
}
