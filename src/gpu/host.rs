//! The host's buffers of all ranks, as bytes: apart, or every rank's input and output in one.
//!
//! Uploads and readbacks see both the same way.

use std::ops::Range;

use crate::buffers::{BufferError, Extents, UserBuffer};

/// The host's buffers of all ranks.
pub(super) enum Host<'a, 'b> {
    Apart { inputs: &'a [&'a [u8]], outputs: &'a mut [&'b mut [u8]] },
    InPlace(&'a mut [&'b mut [u8]]),
}

impl<'a> Host<'a, '_> {
    /// To put in only.
    pub(super) fn inputs(inputs: &'a [&'a [u8]]) -> Self {
        Self::Apart { inputs, outputs: &mut [] }
    }

    pub(super) fn input(&self, rank: usize, bytes: Range<usize>) -> &[u8] {
        match self {
            Self::Apart { inputs, .. } => &inputs[rank][bytes],
            Self::InPlace(buffers) => &buffers[rank][bytes],
        }
    }

    pub(super) fn output(&mut self, rank: usize, bytes: Range<usize>) -> &mut [u8] {
        match self {
            Self::Apart { outputs, .. } => &mut outputs[rank][bytes],
            Self::InPlace(buffers) => &mut buffers[rank][bytes],
        }
    }
}

/// Checks lengths in bytes.
pub(super) fn check(
    extents: &Extents<'_>,
    what: UserBuffer,
    lengths: impl ExactSizeIterator<Item = usize> + Clone,
    element_bytes: usize,
) -> Result<(), BufferError> {
    let ragged = (0..).zip(lengths.clone()).find(|(_, bytes)| !bytes.is_multiple_of(element_bytes));
    match ragged {
        Some((rank, got)) if rank < extents.ranks() => Err(BufferError::Ragged { what, rank, got, element_bytes }),
        _ => extents.check(what, lengths.map(|bytes| bytes / element_bytes)),
    }
}
