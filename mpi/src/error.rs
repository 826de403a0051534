//! Why processes cannot work together.

use wgccl::error::TransportError;

/// Why there is no backend over a communicator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum MpiError {
    /// Programs that do not understand each other.
    #[error("{peer} runs wgccl {theirs} and {first} {ours}; start the same program on all hosts")]
    Version { peer: String, theirs: String, first: String, ours: String },
    /// A process was not heard of.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// MPI refused a call.
    #[error("MPI failed: {0}")]
    Mpi(String),
}
