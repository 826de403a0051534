//! A payload in pieces, as all devices of one launch cut it: the same slice of every chunk is one piece.
//!
//! Devices bind unlike sizes, and a message is of one piece; so the pieces are agreed on before anything is prepared.

use std::ops::Range;

use super::arena::Pieces;
use crate::payload::{Payload, VECTOR_BYTES};
use crate::schedule::Buffer;

/// A payload and its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pieced {
    /// The payload.
    pub payload: Payload,
    /// Its pieces.
    pub pieces: Pieces,
}

impl Pieced {
    /// Cuts every chunk in slices of at most `vectors` vectors, as even as can be; of none, as one.
    pub fn new(payload: Payload, vectors: usize) -> Self {
        let chunk_vectors = payload.chunk_vectors();
        Self { payload, pieces: Pieces { chunk_vectors, piece_vectors: vectors.clamp(1, chunk_vectors) } }
    }

    /// Pieces.
    pub fn count(&self) -> usize {
        self.pieces.count()
    }

    /// Elements of chunk `chunk` of a buffer that `piece` holds, from the beginning of that chunk.
    pub fn held(&self, buffer: Buffer, chunk: u32, piece: usize) -> Range<usize> {
        let vectors = self.pieces.vectors(piece);
        let len = self.payload.held(buffer, chunk);
        let at = |vector: usize| (vector * (VECTOR_BYTES / self.payload.element_bytes)).min(len);
        at(vectors.start)..at(vectors.end)
    }

    /// Pieces and boundaries in the order in which every device comes to them: a piece begins when the one before it is half
    /// through, so that a device computes one while the host moves the other, and no more than two are under way.
    pub fn order(&self, boundaries: u32) -> Vec<(usize, u32)> {
        let half = u64::from(boundaries).div_ceil(2).max(1);
        let all = (0..self.count()).flat_map(|piece| (0..boundaries).map(move |boundary| (piece, boundary)));
        let mut all: Vec<(usize, u32)> = all.collect();
        all.sort_by_key(|&(piece, boundary)| (piece as u64 * half + u64::from(boundary), piece));
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Algorithm, SyncStyle, build};

    #[test]
    fn pieces_hold_every_element_once_and_two_are_under_way() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 3, SyncStyle::Neighbor).unwrap();
        for (count, element_bytes, vectors) in [(1, 4, 1), (1000, 4, 7), (1000, 1, 100), (77, 8, 3), (5000, 2, 1)] {
            let payload = Payload::new(&schedule, count, element_bytes).unwrap();
            let pieced = Pieced::new(payload, vectors);
            for chunk in 0..3 {
                let all = (0..pieced.count()).flat_map(|piece| pieced.held(Buffer::Output, chunk, piece));
                assert!(all.eq(0..payload.elements(chunk).len()));
            }
            for boundaries in 1..9 {
                let order = pieced.order(boundaries);
                assert_eq!(order.len(), pieced.count() * boundaries as usize);
                let mut reached = vec![0; pieced.count()];
                for (piece, boundary) in order {
                    assert_eq!(reached[piece], boundary, "a piece goes on where it was");
                    reached[piece] += 1;
                    let under_way = reached.iter().filter(|&&at| at > 0 && at < boundaries).count();
                    assert!(under_way <= 2);
                    // So that the memory of a piece is free when the one after the next begins.
                    assert!(piece < 2 || reached[piece - 2] == boundaries, "{piece} of {boundaries}");
                }
            }
        }
    }
}
