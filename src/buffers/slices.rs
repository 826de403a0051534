//! Why device buffers of a caller do not fit a launch.
//!
//! Plain data beside the other errors of buffers, so that errors of launches can hold it with no device in sight.

use super::UserBuffer;

/// Device buffers that do not fit the launch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// Two outputs in one place.
    #[error("the outputs of rank {first} and rank {second} overlap; give each rank memory of its own")]
    Outputs {
        /// A rank.
        first: u32,
        /// Another.
        second: u32,
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
    /// What wgccl itself works in.
    #[error(
        "the {what} slice of rank {rank} lies in the memory of the collective itself; record_resident works there, without \
         any copy"
    )]
    Own {
        /// Which slice.
        what: UserBuffer,
        /// Whose.
        rank: u32,
    },
    /// A buffer of another device.
    #[error("the {what} slice of rank {rank} cannot be copied on this device: {reason}")]
    Uncopyable {
        /// Which slice.
        what: UserBuffer,
        /// Whose.
        rank: u32,
        /// In the words of wgpu.
        reason: String,
    },
}
