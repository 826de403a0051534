//! The GPU executor: one WGSL kernel interprets any proved schedule, one workgroup per (lane, channel).
//!
//! Nothing here knows an algorithm. Adapters are described and judged in `adapter`, a schedule becomes words in
//! `program` and dispatches in [`crate::plan`], and `launch` moves data in and out and checks that it finished.

mod adapter;
mod clock;
mod communicator;
mod completion;
pub(crate) mod copy;
mod cut;
mod device;
mod encoded;
mod flow;
mod kernel;
mod launch;
mod ledger;
mod ll_program;
mod poison;
mod probe;
mod program;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod protocol;
mod slices;
mod timing;
mod tuning;
mod verify;

pub use adapter::{
    Adapter, AdapterInfo, AdapterLimits, Refusal, SelectError, Support, TypeSupport, adapters, select, types,
};
pub use clock::Timed;
pub use communicator::{Communicator, CommunicatorError, Prepared};
pub use completion::Completion;
pub use copy::CopyBy;
pub use device::{Gpu, GpuError, open_all};
pub use kernel::{Arithmetic, Source, arithmetic, sources};
pub use launch::{Choice, Executor, LaunchError, Launched, MAX_RANKS, Options};
pub use probe::Probe;
pub use slices::SliceError;
pub use timing::Timing;
