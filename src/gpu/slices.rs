//! The device buffers that a caller gives for a launch: what they must be, and the copies that they take part in.
//!
//! All is checked before anything is recorded, because what is wrong in an encoder shows only when it is finished.

use super::encoded::Encoded;
use crate::buffers::UserBuffer;
use crate::schedule::Buffer;

/// Device buffers that do not fit the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// Not one for each rank that has one.
    #[error("{got} {what} slices for {must} ranks that have an {what}; give one for each of them, in rank order")]
    Number {
        /// Which slices.
        what: UserBuffer,
        /// How many were given.
        got: usize,
        /// How many there must be.
        must: usize,
    },
    /// A slice of the wrong length.
    #[error("the {what} slice of rank {rank} has {got} bytes, but it must have {must}")]
    Length {
        /// Which slice.
        what: UserBuffer,
        /// Whose.
        rank: u32,
        /// Bytes that it has.
        got: u64,
        /// Bytes that it must have.
        must: u64,
    },
    /// A slice that does not begin at a whole word.
    #[error("the {what} slice of rank {rank} begins at byte {offset} of its buffer; begin at a multiple of 4")]
    Unaligned {
        /// Which slice.
        what: UserBuffer,
        /// Whose.
        rank: u32,
        /// Where it begins.
        offset: u64,
    },
    /// A part that does not end at a whole word.
    #[error(
        "a part of {bytes} bytes does not end at a multiple of 4, and device buffers are copied by words; pad the count"
    )]
    Part {
        /// Bytes of a part.
        bytes: u64,
    },
    /// A piece of an output would overwrite what a later piece reads.
    #[error(
        "the input of rank {input} and the output of rank {output} overlap otherwise than by whole parts, and the payload \
         goes through the device in pieces; use separate memory"
    )]
    Overlap {
        /// Whose input.
        input: u32,
        /// Whose output.
        output: u32,
    },
    /// A buffer that may not be copied from or to.
    #[error("the {what} buffer of rank {rank} was created without BufferUsages::{missing}; add it")]
    Usage {
        /// Which slice.
        what: UserBuffer,
        /// Whose.
        rank: u32,
        /// The usage that it lacks.
        missing: &'static str,
    },
}

/// A caller's slices of one kind, checked: the ranks that have one, in order, each with its slice.
pub(super) struct Slices<'a> {
    buffer: Buffer,
    of_rank: Vec<(u32, wgpu::BufferSlice<'a>)>,
}

impl<'a> Slices<'a> {
    pub(super) fn new(
        encoded: &Encoded,
        what: UserBuffer,
        slices: &[wgpu::BufferSlice<'a>],
    ) -> Result<Self, SliceError> {
        let (buffer, usage, missing) = match what {
            UserBuffer::Input => (Buffer::Input, wgpu::BufferUsages::COPY_SRC, "COPY_SRC"),
            UserBuffer::Output | UserBuffer::InPlace => (Buffer::Output, wgpu::BufferUsages::COPY_DST, "COPY_DST"),
        };
        let extents = encoded.extents();
        let having: Vec<u32> = (0..encoded.schedule().ranks).filter(|&rank| extents.len(what, rank) > 0).collect();
        if having.len() != slices.len() {
            return Err(SliceError::Number { what, got: slices.len(), must: having.len() });
        }
        let of_rank: Vec<_> = having.into_iter().zip(slices.iter().copied()).collect();
        for &(rank, slice) in &of_rank {
            let (got, must) = (slice.size(), (extents.len(what, rank) * encoded.payload.element_bytes) as u64);
            if got != must {
                return Err(SliceError::Length { what, rank, got, must });
            }
            if !slice.offset().is_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT) {
                return Err(SliceError::Unaligned { what, rank, offset: slice.offset() });
            }
            if !slice.buffer().usage().contains(usage) {
                return Err(SliceError::Usage { what, rank, missing });
            }
        }
        Ok(Self { buffer, of_rank })
    }

    /// Pieces take the same range of every part, so one does not touch another's unless parts lie askew.
    pub(super) fn check_overlap(&self, outputs: &Slices<'_>, encoded: &Encoded) -> Result<(), SliceError> {
        let part = (encoded.payload.count * encoded.payload.element_bytes) as u64;
        for &(input, from) in &self.of_rank {
            for &(output, to) in &outputs.of_rank {
                let apart = from.offset() >= to.offset() + to.size() || to.offset() >= from.offset() + from.size();
                if from.buffer() == to.buffer() && !apart && from.offset().abs_diff(to.offset()) % part.max(1) != 0 {
                    return Err(SliceError::Overlap { input, output });
                }
            }
        }
        Ok(())
    }

    /// Calls `copy` with every run of bytes that `piece` holds: the caller's buffer and the run's first byte in it, its
    /// first byte in the arena, and its length.
    pub(super) fn for_each_run(
        &self,
        encoded: &Encoded,
        piece: usize,
        mut copy: impl FnMut(&wgpu::Buffer, u64, u64, u64),
    ) {
        let bytes = encoded.payload.element_bytes;
        let region = encoded.arena.region(self.buffer).start;
        for &(rank, slice) in &self.of_rank {
            let parts = encoded.proved.address_map().user_parts(self.buffer, rank);
            for (at, elements) in encoded.runs(piece, self.buffer, rank, 0..parts) {
                let first = slice.offset() + (elements.start * bytes) as u64;
                copy(slice.buffer(), first, region + at as u64, (elements.len() * bytes) as u64);
            }
        }
    }
}
