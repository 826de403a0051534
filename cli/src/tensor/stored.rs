//! A stretch of bytes in a file, or in what came through a pipe.
//!
//! It is read at positions, so that one open file serves any number of readers, and a stretch of a stretch is one again.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use rawzip::{FileReader, ReaderAt};

/// Where bytes lie. Files are opened when they are read: there may be more of them than a process may have open.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    origin: Arc<Origin>,
    pub(super) start: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
enum Origin {
    Named(PathBuf),
    /// A file without a name.
    Kept(Arc<FileReader>),
}

impl Stored {
    pub(super) fn named(path: PathBuf, bytes: u64) -> Self {
        Self { origin: Arc::new(Origin::Named(path)), start: 0, bytes }
    }

    pub(super) fn kept(file: File, bytes: u64) -> Self {
        Self { origin: Arc::new(Origin::Kept(Arc::new(file.into()))), start: 0, bytes }
    }

    /// What begins `start` bytes in and is `bytes` long, as far as it exists.
    pub(super) fn part(&self, start: u64, bytes: u64) -> Self {
        let start = start.min(self.bytes);
        Self { origin: Arc::clone(&self.origin), start: self.start + start, bytes: bytes.min(self.bytes - start) }
    }

    pub(super) fn open(&self) -> io::Result<Region> {
        let file = match &*self.origin {
            Origin::Named(path) => Arc::new(File::open(path)?.into()),
            Origin::Kept(file) => Arc::clone(file),
        };
        Ok(Region { file, start: self.start, bytes: self.bytes, at: 0 })
    }
}

/// A stretch that is open.
#[derive(Debug, Clone)]
pub(super) struct Region {
    file: Arc<FileReader>,
    start: u64,
    bytes: u64,
    /// Where [`Read`] goes on.
    at: u64,
}

impl ReaderAt for Region {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = into.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        self.file.read_at(&mut into[..length], self.start + offset)
    }
}

impl Read for Region {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.read_at(into, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}
