//! The GPU executor: a WGSL kernel interprets any proved schedule, workgroups host its lanes.
//!
//! Nothing here knows an algorithm or decides how it is carried out: a schedule becomes a [`crate::lower::Package`], and what
//! is here loads it into buffers, records its dispatches, moves data in and out and checks that launches finished.

mod adapter;
mod bank;
mod blocking;
pub(crate) mod clock;
mod completion;
mod context;
pub(crate) mod copy;
mod device;
mod executor;
mod handle;
mod host;
mod kernels;
mod ledger;
mod loaded;
mod marks;
mod memory;
// In a browser nobody may wait, and what wgpu gives there stays on its thread.
#[cfg(not(target_arch = "wasm32"))]
mod part;
mod poison;
mod ready;
mod record;
mod resident;
mod selfcheck;
mod slices;
#[cfg(test)]
mod tests;
mod timing;
mod turn;
mod verify;

pub use adapter::{
    Adapter, AdapterInfo, AdapterLimits, MAX_RANKS, Refusal, SelectError, TypeSupport, adapters, select, types,
};
pub use completion::Completion;
pub use executor::Executor;
pub use handle::{Gpu, open_all};
pub use resident::Resident;
pub use selfcheck::{SelfCheck, SelfCheckError};

/// The devices that open.
#[cfg(test)]
fn opened() -> Vec<std::sync::Arc<context::Context>> {
    open_all().into_iter().filter_map(Result::ok).map(|gpu| std::sync::Arc::clone(gpu.context())).collect()
}
