//! Where everything lies in the one buffer of a device: pieces of the payload, vectors of chunks, signals or lines.
//!
//! Byte arithmetic of devices stands here, so that a shader addresses a vector or a signal by a single index.

use std::ops::Range;

use crate::payload::{Payload, VECTOR_BYTES};
use crate::schedule::{Address, AddressMap, Buffer};
use crate::window::SIGNAL_BYTES;

/// Ranges of one buffer that are bound separately start at multiples of this many bytes, on every device.
pub const BINDING_ALIGN: usize = 256;
/// Words that show a vector to other lanes without a signal: half a word of data in each, and half a word of flag.
pub const LINE_WORDS: usize = 8;

/// The slice of every chunk that one launch of a device works on. Large payloads take several, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pieces {
    /// Vectors of a whole chunk.
    pub chunk_vectors: usize,
    /// Vectors of every chunk in one piece; the last may have fewer.
    pub piece_vectors: usize,
}

impl Pieces {
    /// Cuts chunks of `payload` so that an arena of `places` chunk slices takes at most `most_bytes`.
    pub fn fit(payload: &Payload, places: usize, most_bytes: usize) -> Option<Self> {
        let chunk_vectors = payload.chunk_vectors();
        let most = most_bytes / VECTOR_BYTES / places.max(1);
        let count = chunk_vectors.div_ceil(most.min(chunk_vectors).max(1));
        (most > 0).then(|| Self { chunk_vectors, piece_vectors: chunk_vectors.div_ceil(count) })
    }

    /// Number of pieces, at least 1.
    pub fn count(&self) -> usize {
        self.chunk_vectors.div_ceil(self.piece_vectors)
    }

    /// Vectors of each chunk that piece `piece` holds.
    pub fn vectors(&self, piece: usize) -> Range<usize> {
        let start = piece * self.piece_vectors;
        start..(start + self.piece_vectors).min(self.chunk_vectors)
    }

    /// Elements of a part that piece `piece` holds of the part's chunk `chunk`.
    pub fn elements(&self, payload: &Payload, chunk: u32, piece: usize) -> Range<usize> {
        let per_vector = VECTOR_BYTES / payload.element_bytes;
        let whole = payload.elements(chunk);
        let vectors = self.vectors(piece);
        let at = |vector: usize| (whole.start + vector * per_vector).min(whole.end);
        at(vectors.start)..at(vectors.end)
    }
}

/// All windows, inputs and outputs of a launch in one device buffer.
///
/// Vectors first, in the order of [`AddressMap`]: every rank's input, then every rank's output, then every rank's slots. Then,
/// at the next [`BINDING_ALIGN`], what lanes share as atomics. These are the signals: those of all matrices that the schedule
/// uses, numbered without gaps, once for each channel: a ring uses one in P of its matrix. By the `ll` protocol lines take the
/// place of signals: [`LINE_WORDS`] words for each vector of a chunk, the first words of all vectors, then all second words,
/// and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arena {
    map: AddressMap,
    /// Vectors of a chunk's slice.
    pub chunk_vectors: usize,
    signals: usize,
    lines: usize,
    /// Independent copies of every lane, each over its part of a chunk's slice.
    pub channels: u32,
}

impl Arena {
    /// Lays out an arena whose chunk slices have `chunk_vectors` vectors, for a schedule that uses `signals` signals.
    pub fn new(map: &AddressMap, signals: u32, chunk_vectors: usize, channels: u32) -> Self {
        Self { map: map.clone(), chunk_vectors, signals: signals as usize, lines: 0, channels }
    }

    /// Lays out `lines` lines in place of the signals.
    #[must_use]
    pub fn with_lines(self, lines: u32) -> Self {
        Self { signals: 0, lines: lines as usize, ..self }
    }

    /// Channels whose signals fit `most_bytes`, where each has `signals`.
    pub fn most_channels(signals: u32, most_bytes: u64) -> u64 {
        most_bytes / (u64::from(signals.max(1)) * SIGNAL_BYTES as u64)
    }

    /// Most vectors of a chunk's slice for which this number of lines fits `most_bytes`.
    pub fn most_line_vectors(lines: u32, most_bytes: u64) -> u64 {
        most_bytes / (u64::from(lines.max(1)) * (LINE_WORDS * SIGNAL_BYTES) as u64)
    }

    /// Vectors of a chunk's slice that a channel takes.
    pub fn slice_vectors(&self) -> u64 {
        (self.chunk_vectors as u64).div_ceil(self.channels.into())
    }

    /// Index of the first word of a line; its other words of the same vector follow at distances of `chunk_vectors`.
    pub fn line(&self, line: u32) -> usize {
        line as usize * LINE_WORDS * self.chunk_vectors
    }

    /// Index of the first vector at `address`.
    pub fn vector(&self, address: Address) -> usize {
        self.map.index(address) * self.chunk_vectors
    }

    /// First byte of the buffer that a user gives for `rank`'s input or output, from the first byte of all ranks'.
    pub fn user_byte(&self, buffer: Buffer, rank: u32) -> usize {
        let place = self.map.user(buffer, rank) - self.map.all(buffer).start;
        place * self.chunk_vectors * VECTOR_BYTES
    }

    /// Bytes of one chunk's slice.
    pub fn chunk_bytes(&self) -> u64 {
        (self.chunk_vectors * VECTOR_BYTES) as u64
    }

    /// All ranks' inputs, outputs or slots, in bytes; in place, inputs and outputs are the same bytes.
    pub fn region(&self, buffer: Buffer) -> Range<u64> {
        let places = self.map.all(buffer);
        places.start as u64 * self.chunk_bytes()..places.end as u64 * self.chunk_bytes()
    }

    /// Bytes of all vectors; never 0, because nothing can be bound to an empty range.
    pub fn vector_bytes(&self) -> u64 {
        (self.map.len() as u64 * self.chunk_bytes()).max(VECTOR_BYTES as u64)
    }

    /// The vectors that hold something before the launch only if a user put it there: outputs (unless they are also
    /// inputs) and slots. Poisoned before every launch.
    pub fn poisoned(&self) -> Range<u32> {
        let first = if self.map.in_place() { Buffer::Slot } else { Buffer::Output };
        let vectors = |places: usize| (places * self.chunk_vectors) as u32;
        vectors(self.map.all(first).start)..vectors(self.map.len())
    }

    /// Signals of one channel.
    pub fn channel_signals(&self) -> usize {
        self.signals
    }

    /// Where the signals, or the lines, begin.
    pub fn atomic_offset(&self) -> u64 {
        self.vector_bytes().next_multiple_of(BINDING_ALIGN as u64)
    }

    /// Bytes of all signals.
    pub fn signal_bytes(&self) -> u64 {
        (self.channel_signals() * self.channels as usize * SIGNAL_BYTES) as u64
    }

    /// Bytes of all signals or lines; never 0, because nothing can be bound to an empty range.
    pub fn atomic_bytes(&self) -> u64 {
        let lines = self.lines * LINE_WORDS * self.chunk_vectors * SIGNAL_BYTES;
        (self.signal_bytes() + lines as u64).max(SIGNAL_BYTES as u64)
    }

    /// Bytes of the buffer.
    pub fn bytes(&self) -> u64 {
        self.atomic_offset() + self.atomic_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Algorithm, SyncStyle, build};

    #[test]
    fn any_count_is_cut_without_loss() {
        for ranks in [1, 2, 3, 7, 33] {
            let schedule = build(Collective::AllReduce, Algorithm::Ring, ranks, SyncStyle::Neighbor).unwrap();
            for count in [1, 2, 3, 5, 255, 256, 1000] {
                let payload = Payload::new(&schedule, count, 4).unwrap();
                assert_eq!(payload.chunk_bytes() % VECTOR_BYTES, 0);
                for most_bytes in [16, 48, 1 << 20] {
                    let pieces = Pieces::fit(&payload, 1, most_bytes).unwrap();
                    assert!(pieces.piece_vectors * VECTOR_BYTES <= most_bytes);
                    let covered: usize = (0..ranks)
                        .flat_map(|chunk| (0..pieces.count()).map(move |piece| (chunk, piece)))
                        .map(|(chunk, piece)| pieces.elements(&payload, chunk, piece).len())
                        .sum();
                    assert_eq!(covered, count, "{ranks} ranks, {most_bytes} bytes");
                }
            }
        }
    }

    #[test]
    fn arena_places_do_not_overlap() {
        let schedule = build(Collective::AllReduce, Algorithm::RingExchange, 3, SyncStyle::Neighbor).unwrap();
        let payload = Payload::new(&schedule, 100, 4).unwrap();
        for in_place in [false, true] {
            let arena = Arena::new(&AddressMap::new(&schedule, in_place).unwrap(), 6, payload.chunk_vectors(), 2);
            let mut starts: Vec<usize> = (0..3)
                .flat_map(|rank| {
                    let chunks = (0..3).map(move |c| Address::output(rank, c));
                    let inputs = (0..if in_place { 0 } else { 3 }).map(move |c| Address::input(rank, c));
                    chunks.chain(inputs).chain((0..4).map(move |c| Address::slot(rank, c)))
                })
                .map(|address| arena.vector(address))
                .collect();
            starts.sort_unstable();
            assert!(starts.iter().enumerate().all(|(i, &start)| start == i * arena.chunk_vectors));
            assert_eq!(arena.vector_bytes(), (starts.len() * payload.chunk_bytes()) as u64);
            assert_eq!(arena.atomic_offset() % BINDING_ALIGN as u64, 0);
            assert!(arena.atomic_offset() >= arena.vector_bytes());
            assert_eq!((arena.signal_bytes(), arena.bytes() - arena.atomic_offset()), (2 * 6 * 4, 2 * 6 * 4));
            let lines = arena.clone().with_lines(5);
            let line_bytes = arena.chunk_bytes() * 2;
            assert_eq!((lines.signal_bytes(), lines.atomic_bytes()), (0, 5 * line_bytes));
            assert_eq!(lines.line(3) * SIGNAL_BYTES, 3 * line_bytes as usize);
            assert_eq!(Arena::most_line_vectors(5, lines.atomic_bytes()), arena.chunk_vectors as u64);
            assert!(Arena::most_line_vectors(5, lines.atomic_bytes() - 1) < arena.chunk_vectors as u64);
            assert_eq!((Arena::most_channels(6, 48), Arena::most_channels(6, 23)), (2, 0));
        }
    }

    #[test]
    fn a_barrier_binds_a_vector() {
        let barrier = build(Collective::Barrier, Algorithm::Mesh, 3, SyncStyle::Neighbor).unwrap();
        let arena = Arena::new(&AddressMap::new(&barrier, false).unwrap(), 6, 1, 1);
        assert!(arena.poisoned().is_empty() && arena.region(Buffer::Input).is_empty());
        assert_eq!(arena.vector_bytes(), VECTOR_BYTES as u64);
    }
}
