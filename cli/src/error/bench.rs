//! What can end a benchmark besides the launches themselves.
//!
//! Apart from the results, because half of it is refused before anything runs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a benchmark cannot run, or what it found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what each field is")]
pub enum BenchError {
    /// A sweep that makes no sense.
    #[error("sizes from {first} to {last} bytes: {why}")]
    Range { first: u64, last: u64, why: &'static str },
    /// None of the sizes fits the file's schedule.
    #[error(
        "no size from {first} to {last} bytes is a multiple of the {n} elements that the file's schedule wants; give larger ones, or --force-size"
    )]
    Granularity { first: u64, last: u64, n: usize },
    /// A row took longer than it may.
    #[error("Test timeout ({} s): {what}", .limit.as_secs_f64())]
    Timeout { limit: Duration, what: String },
    /// Elements that differ from the golden.
    #[error("{0} elements differ from the golden")]
    Wrong(u64),
    /// Slower than `WGCCL_MIN_BW` allows.
    #[error("average bus bandwidth {average:.4} GB/s is below 0.9 x WGCCL_MIN_BW ({least} GB/s)")]
    Slow { average: f64, least: f64 },
    /// A file that cannot be read.
    #[error("cannot read {}: {error}; check the path and its permissions", .path.display())]
    Read { path: PathBuf, error: io::Error },
    /// A file that cannot be written.
    #[error("cannot write {}: {error}; name a file that can be written", .path.display())]
    Write { path: PathBuf, error: io::Error },
    /// A name that nothing can be written to, or must not be.
    #[error("{}: {why}", .path.display())]
    Target { path: PathBuf, why: &'static str },
    /// A row of a comparison is slower than allowed.
    #[error("{rows} of the compared rows take more than {ratio} times as long, beyond noise")]
    Regressed { rows: usize, ratio: f64 },
    /// Not a record of a benchmark.
    #[error("{}: no benchmark record: {why}", .path.display())]
    Record { path: PathBuf, why: String },
    /// Two records that have no row in common.
    #[error("the two records have no row in common: sizes, ranks, algorithms or devices differ throughout")]
    Unrelated,
    /// A picture could not be drawn.
    #[error("{}: cannot be drawn: {why}", .path.display())]
    Plot { path: PathBuf, why: String },
}

impl BenchError {
    /// Of a file that was to be new.
    pub(crate) fn unwritten(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Self::Target { path, why: "it exists, and nothing is overwritten; name another file" }
            }
            _ => Self::Write { path, error },
        }
    }
}
