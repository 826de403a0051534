//! Where nobody may wait: in a browser a thread that blocks is one that never goes on.
//!
//! Every call that waits asks here, so that none of them hangs or panics there.

/// Whether calls may wait at all.
pub(super) const MAY_WAIT: bool = cfg!(not(target_arch = "wasm32"));

/// What `future` gives, or nothing where nobody may wait for it.
pub(super) fn block_on<F: Future>(future: F) -> Option<F::Output> {
    MAY_WAIT.then(|| pollster::block_on(future))
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) use std::time::Instant;

/// The standard library's panics there.
#[cfg(target_arch = "wasm32")]
pub(super) use web_time::Instant;
