//! A tensor file that is being looked at: bytes in bounds, and errors that name the file.
//!
//! Readers of formats take everything through it, so none of them can trust a length.

use std::io::Read;
use std::path::Path;

use wgccl::element::DataType;

use super::error::{self, TensorError, numpy_name};
use super::packed::Packed;
use super::stored::Stored;
use crate::text::one_line;

/// Where a file keeps the elements of a tensor, as its header says.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// None where this program has no such type.
    pub(super) data_type: Option<DataType>,
    /// The type in words.
    pub(super) type_text: String,
    pub(super) shape: Vec<u64>,
    /// The tensor's, where the format has names.
    pub(super) name: Option<String>,
    pub(super) data: Data,
    pub(super) big_endian: bool,
    pub(super) fortran: bool,
}

/// The bytes of a tensor.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Plain(Stored),
    /// Compressed: read from the beginning only.
    Packed(Packed),
}

impl Data {
    /// How many there are.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Plain(stored) => stored.bytes,
            Self::Packed(packed) => packed.bytes,
        }
    }
}

/// What is being looked at, and the errors that name it.
pub(super) struct Input<'a, R> {
    pub(super) path: &'a Path,
    format: &'static str,
    reader: R,
    /// How far it has been read.
    pub(super) at: u64,
    pub(super) bytes: u64,
}

impl<'a, R: Read> Input<'a, R> {
    /// `bytes` bytes that `reader` gives.
    pub(super) fn new(path: &'a Path, format: &'static str, reader: R, bytes: u64) -> Result<Self, TensorError> {
        match bytes {
            0 => Err(TensorError::Empty { path: path.to_owned(), format }),
            _ => Ok(Self { path, format, reader, at: 0, bytes }),
        }
    }

    /// The next `length` bytes, or nothing if there are fewer; `length` has been compared with a limit.
    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<Vec<u8>, TensorError> {
        let left = self.bytes.saturating_sub(self.at);
        if length as u64 > left {
            return Err(self.malformed(format!("its {what} of {length} bytes is cut short after {left}")));
        }
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).map_err(|error| match error.raw_os_error() {
            Some(_) => TensorError::Read { path: self.path.to_owned(), error },
            None => self.malformed(error.to_string()),
        })?;
        self.at += length as u64;
        Ok(bytes)
    }

    pub(super) fn malformed(&self, reason: impl AsRef<str>) -> TensorError {
        malformed(self.path, self.format, reason)
    }
}

/// That the file at `path` is not what a `format` is.
pub(super) fn malformed(path: &Path, format: &'static str, reason: impl AsRef<str>) -> TensorError {
    TensorError::Malformed { path: path.to_owned(), format, reason: one_line(reason.as_ref(), error::SENTENCE) }
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
