//! MSCCL XML: algorithms as thread blocks that send and receive chunks over connections.
//!
//! What counts is what the kernels of MSCCL and RCCL do with a file, not what its generator meant: the local operand of a
//! reduction is `srcbuf`/`srcoff`, connections are FIFOs of a few slots, and dependences are flags that only grow.
//! Source: microsoft/msccl, `src/graph/topo.cc` and `src/collectives/device/msccl_interpreter.h`.

mod copies;
mod file;
mod flags;
mod lint;
mod lower;
mod problems;
mod raise;
mod read;
mod replay;
mod size;
mod write;
mod written;

pub use file::{Algo, Block, Copied, Gpu, Kind, Memory, Place, Proto, Step};
pub(super) use flags::Flags;
pub use lint::{Cost, Lint, Runtime};
pub use lower::{Imported, LowerError, LowerOptions};
pub use problems::{Problem, Where};
pub use raise::RaiseError;
pub use read::{ReadError, read};
pub use size::{Amount, Excess};
