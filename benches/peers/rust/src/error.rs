//! What can end a measurement; peers that cannot be had end nothing and are skipped.

use std::io;
use std::path::PathBuf;

use wgccl::error::{PrepareError, RunError};
use wgccl_cli::error::exit;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Peer(String),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{}: no record of this benchmark: {why}", .path.display())]
    Record { path: PathBuf, why: String },
    #[error("{}: {why}; only records of one machine, one set of versions and one method can be joined", .path.display())]
    Unlike { path: PathBuf, why: String },
    #[error("the picture cannot be drawn: {0}")]
    Plot(String),
    #[error("wrong results: {0}")]
    Wrong(String),
}

impl Error {
    pub fn peer(error: impl std::fmt::Display) -> Self {
        Self::Peer(error.to_string())
    }

    /// As wgccl's own program numbers them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Record { .. } | Self::Unlike { .. } | Self::File { .. } => exit::USAGE,
            Self::Peer(_) | Self::Prepare(_) | Self::Run(_) | Self::Plot(_) => exit::INTERNAL,
            Self::Wrong(_) => exit::WRONG,
        }
    }
}
