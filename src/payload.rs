//! How a payload is cut into chunks: the arithmetic that golden, executors and window share.
//!
//! [`Proved::payload`](crate::proof::Proved::payload) gives it out, so that it fits the schedule it was made from.

use std::ops::Range;

use serde::Serialize;

use crate::collective::Collective;
use crate::schedule::{Buffer, Granularity, MAX_RANKS, Schedule};

/// Chunks are padded to this many bytes: one vector of the device, and what NCCL aligns to.
pub const VECTOR_BYTES: usize = 16;

/// Why a payload cannot be cut for a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum PayloadError {
    /// Elements for a collective that takes none.
    #[error("a {0} has no payload; give a count of 0, not {1}")]
    NoPayload(Collective, usize),
    /// A count that would make chunks of unlike lengths.
    #[error("a count of {count} elements is no multiple of {n}, as the schedule wants it; use {}", near(*.count, *.n))]
    Indivisible { count: usize, n: u32 },
    /// Elements that do not fill a vector evenly, as no type's do.
    #[error("there are no elements of {0} bytes; the types have 1, 2, 4 or 8")]
    Element(usize),
    /// Sizes that do not fit this machine's addresses.
    #[error(
        "a count of {count} elements for {ranks} ranks is more than memory can be addressed for; use a smaller count"
    )]
    TooLarge { count: usize, ranks: u32 },
}

/// The multiples of `n` next to `count`.
fn near(count: usize, n: u32) -> String {
    let n = n.max(1) as usize;
    match (count / n * n, (count / n + 1).checked_mul(n)) {
        (0, Some(above)) => above.to_string(),
        (below, Some(above)) => format!("{below} or {above}"),
        (below, None) => below.to_string(),
    }
}

/// How the `count` elements of a part are cut into chunks.
///
/// In a user's buffer chunk c of part p begins at element p * `count` + c * `step`. Of a ragged schedule every chunk has `step`
/// elements but for the last ones of a part, which may be short or empty: any count works. Of a schedule whose counts are
/// divisible, all chunks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Payload {
    /// Elements of a part: what NCCL's calls take as count.
    pub count: usize,
    /// Bytes of an element.
    pub element_bytes: usize,
    /// Chunks of a part.
    pub chunks: u32,
    /// Elements from one chunk to the next in a user's buffer.
    pub step: usize,
    /// Elements that a whole chunk takes in a slot: `step`, padded to [`VECTOR_BYTES`].
    pub chunk_elements: usize,
}

impl Payload {
    /// Cuts `count` elements of `element_bytes` bytes as `schedule` wants it. A count of 0 has chunks of a vector, all empty.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn new(schedule: &Schedule, count: usize, element_bytes: usize) -> Result<Self, PayloadError> {
        let collective = schedule.task.collective;
        if collective == Collective::Barrier && count > 0 {
            return Err(PayloadError::NoPayload(collective, count));
        }
        if element_bytes == 0 || !VECTOR_BYTES.is_multiple_of(element_bytes) {
            return Err(PayloadError::Element(element_bytes));
        }
        let too_large = PayloadError::TooLarge { count, ranks: schedule.ranks };
        let chunks = schedule.chunks.max(1);
        let lanes = VECTOR_BYTES / element_bytes;
        // Nothing at all is a vector long, so that nobody divides by its length.
        let vectors = count.div_ceil(chunks as usize).div_ceil(lanes).max(1);
        let padded = vectors.checked_mul(lanes).ok_or(too_large)?;
        let (step, chunk_elements) = match schedule.granularity {
            Granularity::Ragged => (padded, padded),
            Granularity::DivisibleBy(n) if count.is_multiple_of(n.max(1) as usize) => {
                ((count / chunks as usize).max(1), padded)
            }
            Granularity::DivisibleBy(n) => return Err(PayloadError::Indivisible { count, n }),
        };
        // Inputs, outputs and slots together must be addressable, and a part as well, also where it is nobody's; every later
        // product is smaller.
        let buffers = [Buffer::Input, Buffer::Output, Buffer::Slot];
        let chunks_of = |rank| buffers.map(|buffer| u64::from(schedule.buffer_chunks(buffer, rank)));
        let places: u64 = (0..schedule.ranks.min(MAX_RANKS)).flat_map(chunks_of).sum();
        (chunk_elements as u64)
            .checked_mul(element_bytes as u64)
            .and_then(|bytes| bytes.checked_mul(places.max(chunks.into())))
            .filter(|&bytes| bytes <= isize::MAX as u64)
            .ok_or(too_large)?;
        Ok(Self { count, element_bytes, chunks, step, chunk_elements })
    }

    /// Bytes of a whole chunk.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_elements * self.element_bytes
    }

    /// Vectors of a whole chunk.
    pub fn chunk_vectors(&self) -> usize {
        self.chunk_bytes() / VECTOR_BYTES
    }

    /// Elements that chunk `chunk` of a buffer holds, counted through all its parts; of a slot, as many as it has room for.
    pub fn held(&self, buffer: Buffer, chunk: u32) -> usize {
        match buffer {
            Buffer::Slot => self.step,
            Buffer::Input | Buffer::Output => self.elements(chunk % self.chunks.max(1)).len(),
        }
    }

    /// Elements of a part that chunk `chunk` of it holds: short or empty at the end.
    pub fn elements(&self, chunk: u32) -> Range<usize> {
        let start = (chunk as usize).saturating_mul(self.step).min(self.count);
        start..start.saturating_add(self.step).min(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Algorithm, SyncStyle, build};

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 17, SyncStyle::Neighbor).unwrap();
        assert!(matches!(Payload::new(&schedule, usize::MAX / 8, 4), Err(PayloadError::TooLarge { .. })));
        for element_bytes in [0, 3, 32, usize::MAX] {
            assert_eq!(Payload::new(&schedule, 1, element_bytes), Err(PayloadError::Element(element_bytes)));
        }
    }

    /// Close to the end of all numbers a product must not begin again at 0.
    #[test]
    fn counts_beyond_all_memory_are_refused() {
        let mesh = |collective| build(collective, Algorithm::Mesh, 2, SyncStyle::Neighbor).unwrap();
        let divisible = mesh(Collective::Broadcast).granularity(Granularity::DivisibleBy(1));
        let unowned = Schedule::new("", Collective::AllReduce, 0, 3);
        for schedule in [mesh(Collective::Broadcast), mesh(Collective::AllToAll), divisible, unowned] {
            for bytes in [1, 2, 4, 8] {
                for less in [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31] {
                    for count in [usize::MAX, usize::MAX / 2 + 1, usize::MAX / bytes].map(|count| count - less) {
                        let refused = Payload::new(&schedule, count, bytes);
                        let ranks = schedule.ranks;
                        assert_eq!(refused, Err(PayloadError::TooLarge { count, ranks }), "{bytes}");
                    }
                }
            }
        }
        // The most that a machine could have.
        let most = isize::MAX as usize / 16 * 16;
        assert!(Payload::new(&Schedule::new("", Collective::Broadcast, 0, 1), most, 1).is_ok());
    }

    #[test]
    fn nothing_has_chunks_without_elements() {
        let barrier = build(Collective::Barrier, Algorithm::Mesh, 3, SyncStyle::Neighbor).unwrap();
        assert_eq!(Payload::new(&barrier, 1, 4), Err(PayloadError::NoPayload(Collective::Barrier, 1)));
        let ring = build(Collective::AllReduce, Algorithm::Ring, 3, SyncStyle::Neighbor).unwrap();
        for schedule in [barrier, ring] {
            let payload = Payload::new(&schedule, 0, 4).unwrap();
            assert!(payload.chunk_vectors() > 0 && (0..3).all(|chunk| payload.elements(chunk).is_empty()));
        }
    }

    #[test]
    fn divisible_counts_have_equal_chunks() {
        let ring = build(Collective::AllReduce, Algorithm::Ring, 3, SyncStyle::Neighbor).unwrap();
        let schedule = ring.granularity(Granularity::DivisibleBy(6));
        for (count, step) in [(6, 2), (12, 4), (6000, 2000)] {
            let payload = Payload::new(&schedule, count, 4).unwrap();
            assert_eq!((payload.step, payload.chunk_bytes() % VECTOR_BYTES), (step, 0));
            assert!((0..3).all(|chunk| payload.elements(chunk).len() == step), "{count}");
            assert_eq!(payload.elements(2).end, count);
        }
        for (count, hint) in [(7, "6 or 12"), (3, "use 6")] {
            let refused = Payload::new(&schedule, count, 4).unwrap_err();
            assert_eq!(refused, PayloadError::Indivisible { count, n: 6 });
            assert!(refused.to_string().ends_with(hint), "{refused}");
        }
    }
}
