//! A tensor file that is being looked at: bytes in bounds, and errors that name the file.
//!
//! Readers of formats take everything through it, so none of them can trust a length.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;

use wgccl::element::DataType;

use super::error::{self, TensorError, numpy_name};
use crate::text::one_line;

/// Where a file keeps its elements, as its header says.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// None where this program has no such type.
    pub(super) data_type: Option<DataType>,
    /// The type in words.
    pub(super) type_text: String,
    pub(super) shape: Vec<u64>,
    /// The tensor's, where the format has names.
    pub(super) name: Option<String>,
    /// Offset of the first element.
    pub(super) start: u64,
    /// Bytes from there that belong to the tensor.
    pub(super) bytes: u64,
    pub(super) big_endian: bool,
    pub(super) fortran: bool,
}

/// A file that is being looked at, and the errors that name it.
pub(super) struct Input<'a> {
    pub(super) path: &'a Path,
    pub(super) format: &'static str,
    pub(super) file: File,
    pub(super) bytes: u64,
}

impl<'a> Input<'a> {
    pub(super) fn open(path: &'a Path, format: &'static str) -> Result<Self, TensorError> {
        let failed = |error| TensorError::Read { path: path.to_owned(), error };
        // Asked before opening: opening a pipe would wait for a writer.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(TensorError::NotAFile { path: path.to_owned() });
        }
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes == 0 {
            return Err(TensorError::Empty { path: path.to_owned(), format });
        }
        Ok(Self { path, format, file, bytes })
    }

    /// The next `length` bytes, or nothing if the file is shorter; `length` has been compared with a limit.
    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<Vec<u8>, TensorError> {
        let failed = |error| TensorError::Read { path: self.path.to_owned(), error };
        let left = self.bytes.saturating_sub(self.file.stream_position().map_err(failed)?);
        if length as u64 > left {
            return Err(self.malformed(format!("its {what} of {length} bytes is cut short after {left}")));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    pub(super) fn malformed(&self, reason: impl AsRef<str>) -> TensorError {
        TensorError::Malformed {
            path: self.path.to_owned(),
            format: self.format,
            reason: one_line(reason.as_ref(), error::SENTENCE),
        }
    }
}

impl Layout {
    /// That its elements, of the file at `path`, are not of the type that is wanted.
    pub(super) fn wrong_type(&self, path: &Path, wanted: DataType) -> TensorError {
        let found = one_line(&self.type_text, error::NAME);
        TensorError::Type { path: path.to_owned(), found, wanted, numpy: numpy_name(wanted) }
    }

    /// That its elements, of the file at `path`, are of no type of this program.
    pub(super) fn no_type(&self, path: &Path) -> TensorError {
        TensorError::NoType { path: path.to_owned(), found: one_line(&self.type_text, error::NAME) }
    }
}
