//! Panics of an element type's arithmetic, which end where they happen: other workers are still in the caller's buffers.
//!
//! What is thrown may have a destructor that throws in turn.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often what was thrown is dropped, where dropping it throws again; then it is forgotten.
const TRIES: usize = 8;

/// What `f` returns, unless it panics.
pub(super) fn contained<R>(f: impl FnOnce() -> R) -> Option<R> {
    let mut thrown = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => return Some(result),
        Err(thrown) => thrown,
    };
    for _ in 0..TRIES {
        match catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
            Ok(()) => return None,
            Err(again) => thrown = again,
        }
    }
    std::mem::forget(thrown);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Throws another when it is dropped, so many times in all.
    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Bomb(self.0 - 1));
            }
        }
    }

    #[test]
    fn nothing_that_is_thrown_gets_out() {
        assert_eq!(contained(|| 1), Some(1));
        for throws in [0, 1, TRIES - 1] {
            assert_eq!(contained(|| std::panic::panic_any(Bomb(throws))), None::<()>);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "forgets what is thrown, which is a leak")]
    fn nor_without_end() {
        assert_eq!(contained(|| std::panic::panic_any(Bomb(1000))), None::<()>);
    }
}
