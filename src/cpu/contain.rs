//! Panics of an element type's arithmetic, which end where they happen: other workers are still in the caller's buffers.
//!
//! What is thrown may have a destructor that panics in turn, so it is forgotten, not dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `f` returns, unless it panics.
pub(super) fn contained<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).map_err(std::mem::forget).ok()
}
