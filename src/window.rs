//! Where everything lies in memory: the only place with byte arithmetic.
//!
//! A rank's window is its chunk slots followed by its signal matrix. On a device all inputs, outputs and slots are one
//! run of 16-byte vectors and the signals in use one run of u32, so that a shader addresses each by a single index.

use std::ops::Range;

use serde::Serialize;

use crate::collective::{Collective, named};
use crate::schedule::{Address, Buffer, Places, Schedule};

/// Chunks are padded to this many bytes: one vector of the device, and what NCCL aligns to.
pub const VECTOR_BYTES: usize = 16;
/// Ranges of one buffer that are bound separately start at multiples of this many bytes, on every device.
pub const BINDING_ALIGN: usize = 256;
/// Columns of the classic signal matrix, whatever the number of ranks: the upstream kernels' `MAX_RANKS`.
pub const CLASSIC_STRIDE: u32 = 16;
/// Bytes of a signal.
pub const SIGNAL_BYTES: usize = 4;
/// Words that show a vector to other lanes without a signal: half a word of data in each, and half a word of flag.
pub const LINE_WORDS: usize = 8;

/// Columns of the signal matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Stride {
    /// One for each rank.
    #[default]
    Compact,
    /// [`CLASSIC_STRIDE`], as the upstream kernels had it.
    Classic,
}

named!(Stride, "stride", { Compact => "compact", Classic => "classic" });

impl Stride {
    /// Columns for `ranks` ranks.
    pub fn columns(self, ranks: u32) -> u32 {
        match self {
            Self::Compact => ranks,
            Self::Classic => CLASSIC_STRIDE,
        }
    }
}

/// Why a window cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// Nothing to do.
    #[error("a count of 0 elements leaves nothing to do; give at least 1")]
    Empty,
    /// Elements for a collective that takes none.
    #[error("a {0} has no payload; give a count of 0, not {1}")]
    NoPayload(Collective, usize),
    /// More ranks than the classic matrix has columns.
    #[error("the classic stride has {CLASSIC_STRIDE} columns, too few for {0} ranks; use the compact stride")]
    Classic(u32),
    /// Sizes that do not fit this machine's addresses.
    #[error(
        "a count of {count} elements for {ranks} ranks is more than memory can be addressed for; use a smaller count"
    )]
    TooLarge {
        /// Elements per rank.
        count: usize,
        /// Ranks.
        ranks: u32,
    },
}

/// How the `count` elements of a part are cut into chunks.
///
/// Every chunk has `chunk_elements` elements but for the last ones of a part, which may be short or empty: any count works,
/// divisible or not. In a user's buffer chunk c of part p begins at element p * `count` + c * `chunk_elements`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Payload {
    /// Elements of a part: what NCCL's calls take as count.
    pub count: usize,
    /// Bytes of an element.
    pub element_bytes: usize,
    /// Chunks of a part.
    pub chunks: u32,
    /// Elements of a whole chunk, padded to [`VECTOR_BYTES`].
    pub chunk_elements: usize,
}

impl Payload {
    /// Cuts `count` elements of `element_bytes` bytes as `schedule` wants it.
    ///
    /// # Errors
    /// [`WindowError::Empty`] and [`WindowError::TooLarge`].
    pub fn new(schedule: &Schedule, count: usize, element_bytes: usize) -> Result<Self, WindowError> {
        let collective = schedule.task.collective;
        match (collective == Collective::Barrier, count) {
            (false, 0) => return Err(WindowError::Empty),
            (true, 1..) => return Err(WindowError::NoPayload(collective, count)),
            _ => {}
        }
        let chunks = schedule.chunks.max(1);
        let lanes = VECTOR_BYTES / element_bytes;
        // Nothing at all is a vector long, so that nobody divides by its length.
        let chunk_elements = count.div_ceil(chunks as usize).div_ceil(lanes).max(1) * lanes;
        // Inputs, outputs and slots together must be addressable; every later product is smaller.
        let buffers = [Buffer::Input, Buffer::Output, Buffer::Slot];
        let chunks_of = |rank| buffers.map(|buffer| u64::from(schedule.buffer_chunks(buffer, rank)));
        let places: u64 = (0..schedule.ranks).flat_map(chunks_of).sum();
        (chunk_elements as u64)
            .checked_mul(element_bytes as u64)
            .and_then(|bytes| bytes.checked_mul(places.max(1)))
            .filter(|&bytes| bytes <= isize::MAX as u64)
            .ok_or(WindowError::TooLarge { count, ranks: schedule.ranks })?;
        Ok(Self { count, element_bytes, chunks, chunk_elements })
    }

    /// Bytes of a whole chunk.
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_elements * self.element_bytes
    }

    /// Vectors of a whole chunk.
    pub fn chunk_vectors(&self) -> usize {
        self.chunk_bytes() / VECTOR_BYTES
    }

    /// Elements of a part that chunk `chunk` of it holds: short or empty at the end.
    pub fn elements(&self, chunk: u32) -> Range<usize> {
        let start = (chunk as usize * self.chunk_elements).min(self.count);
        start..(start + self.chunk_elements).min(self.count)
    }
}

/// One rank's window for a payload.
///
/// Its matrix is what schedules, proofs and reports name signals by. Executors store only those that a schedule uses, each
/// once a channel: see [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// Participants.
    pub ranks: u32,
    /// The payload's cut.
    pub payload: Payload,
    /// Chunk slots.
    pub slots: u32,
    /// Rows of the signal matrix.
    pub signal_rows: u32,
    /// Columns of the signal matrix.
    pub signal_stride: u32,
    /// Signals of the matrix that the schedule uses, at most by any rank.
    pub signals_used: u32,
}

/// What a window saves against the upstream kernels' first one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Savings {
    /// The exchange slot: a chunk, unless this window has one.
    pub exchange_bytes: usize,
    /// Share of the signals' bytes that [`CLASSIC_STRIDE`] columns would add; `None` for more ranks than columns.
    pub signal_percent: Option<f64>,
}

/// A named run of bytes of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Region {
    /// What lies there.
    pub name: String,
    /// First byte, from the start of the window.
    pub offset: usize,
    /// Length.
    pub bytes: usize,
}

impl Window {
    /// Lays out the window of `schedule` for `payload`.
    ///
    /// # Errors
    /// [`WindowError::Classic`] where the stride has too few columns.
    pub fn new(schedule: &Schedule, payload: Payload, stride: Stride) -> Result<Self, WindowError> {
        let signal_stride = stride.columns(schedule.ranks);
        if signal_stride < schedule.ranks {
            return Err(WindowError::Classic(schedule.ranks));
        }
        Ok(Self {
            ranks: schedule.ranks,
            payload,
            slots: schedule.slots,
            signal_rows: schedule.signal_rows,
            signal_stride,
            signals_used: schedule.signals_used(),
        })
    }

    /// Bytes of all chunk slots.
    pub fn slot_bytes(&self) -> usize {
        self.slots as usize * self.payload.chunk_bytes()
    }

    /// Signals of the matrix.
    pub fn signals(&self) -> usize {
        self.signal_rows as usize * self.signal_stride as usize
    }

    /// Bytes of the signal matrix.
    pub fn signal_bytes(&self) -> usize {
        self.signals() * SIGNAL_BYTES
    }

    /// Bytes of the signals in use: what executors store of the matrix, for each channel.
    pub fn used_signal_bytes(&self) -> usize {
        self.signals_used as usize * SIGNAL_BYTES
    }

    /// Bytes of the window.
    pub fn bytes(&self) -> usize {
        self.slot_bytes() + self.signal_bytes()
    }

    /// Index of a signal in the matrix.
    pub fn signal_index(&self, row: u32, sender: u32) -> usize {
        row as usize * self.signal_stride as usize + sender as usize
    }

    /// What the window does without, and what that would cost.
    pub fn savings(&self) -> Savings {
        let classic = self.signal_rows as usize * CLASSIC_STRIDE as usize * SIGNAL_BYTES;
        let comparable = self.ranks <= CLASSIC_STRIDE && classic > 0;
        Savings {
            exchange_bytes: if self.slots > self.payload.chunks { 0 } else { self.payload.chunk_bytes() },
            signal_percent: comparable.then(|| 100.0 * (1.0 - self.signal_bytes() as f64 / classic as f64)),
        }
    }

    /// Every region, in order and without gaps.
    pub fn regions(&self) -> Vec<Region> {
        let chunk = self.payload.chunk_bytes();
        let slots = (0..self.slots as usize).map(|slot| Region {
            name: format!("slot[{slot}]"),
            offset: slot * chunk,
            bytes: chunk,
        });
        let row = self.signal_stride as usize * SIGNAL_BYTES;
        let rows = (0..self.signal_rows as usize).map(|r| Region {
            name: format!("signals[{r}]"),
            offset: self.slot_bytes() + r * row,
            bytes: row,
        });
        slots.chain(rows).collect()
    }
}

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

    /// How many.
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
/// Vectors first, in the order of [`Places`]: every rank's input, then every rank's output, then every rank's slots. Then,
/// at the next [`BINDING_ALIGN`], what lanes share as atomics. These are the signals: those of all matrices that the schedule
/// uses, numbered without gaps, and so for each channel. A ring uses one in P of its matrices, and they are read back where a
/// launch hangs. Or, in fused-ll, lines: chunks of [`LINE_WORDS`] words for each vector, the first words of all its vectors, then
/// the second ones, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arena {
    places: Places,
    in_place: bool,
    /// Vectors of a chunk's slice.
    pub chunk_vectors: usize,
    signals: usize,
    lines: usize,
    /// Independent copies of every lane, each over its part of a chunk's slice.
    pub channels: u32,
}

impl Arena {
    /// Lays out an arena whose chunk slices have `chunk_vectors` vectors, for a schedule that uses `signals` signals.
    pub fn new(schedule: &Schedule, signals: u32, chunk_vectors: usize, channels: u32, in_place: bool) -> Self {
        let (places, signals) = (Places::new(schedule, in_place), signals as usize);
        Self { places, in_place, chunk_vectors, signals, lines: 0, channels }
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

    /// Vectors of a chunk's slice of which so many lines fit `most_bytes`.
    pub fn most_line_vectors(lines: u32, most_bytes: u64) -> u64 {
        most_bytes / (u64::from(lines.max(1)) * (LINE_WORDS * SIGNAL_BYTES) as u64)
    }

    /// Index of the first word of a line; its other words of the same vector follow at distances of `chunk_vectors`.
    pub fn line(&self, line: u32) -> usize {
        line as usize * LINE_WORDS * self.chunk_vectors
    }

    /// Index of the first vector at `address`.
    pub fn vector(&self, address: Address) -> usize {
        self.places.index(address) * self.chunk_vectors
    }

    /// First byte of the buffer that a user gives for `rank`'s input or output, from the first byte of all ranks'.
    pub fn user_byte(&self, buffer: Buffer, rank: u32) -> usize {
        let place = self.places.user(buffer, rank) - self.places.all(buffer).start;
        place * self.chunk_vectors * VECTOR_BYTES
    }

    /// Bytes of one chunk's slice.
    pub fn chunk_bytes(&self) -> u64 {
        (self.chunk_vectors * VECTOR_BYTES) as u64
    }

    /// All ranks' inputs, outputs or slots, in bytes; in place, inputs and outputs are the same bytes.
    pub fn region(&self, buffer: Buffer) -> Range<u64> {
        let places = self.places.all(buffer);
        places.start as u64 * self.chunk_bytes()..places.end as u64 * self.chunk_bytes()
    }

    /// Bytes of all vectors; never 0, because nothing can be bound to an empty range.
    pub fn vector_bytes(&self) -> u64 {
        (self.places.len() as u64 * self.chunk_bytes()).max(VECTOR_BYTES as u64)
    }

    /// The vectors that hold something before the launch only if a user put it there: outputs (unless they are also
    /// inputs) and slots. Poisoned before every launch.
    pub fn poisoned(&self) -> Range<u32> {
        let first = if self.in_place { Buffer::Slot } else { Buffer::Output };
        let vectors = |places: usize| (places * self.chunk_vectors) as u32;
        vectors(self.places.all(first).start)..vectors(self.places.len())
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

    fn window(algorithm: Algorithm, ranks: u32, count: usize, stride: Stride) -> Window {
        let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
        Window::new(&schedule, Payload::new(&schedule, count, 4).unwrap(), stride).unwrap()
    }

    /// The upstream kernel's numbers for 256 f32.
    #[test]
    fn known_sizes_of_256_f32() {
        for (ranks, classic, compact) in [(2, 128, 16), (4, 384, 96), (8, 896, 448)] {
            let signal_bytes = |stride| window(Algorithm::Ring, ranks, 256, stride).signal_bytes();
            assert_eq!(signal_bytes(Stride::Classic), classic);
            assert_eq!(signal_bytes(Stride::Compact), compact);
        }
        for (algorithm, used) in [(Algorithm::Ring, 13), (Algorithm::Direct, 0)] {
            assert_eq!(window(algorithm, 8, 256, Stride::Compact).used_signal_bytes(), used * 4, "{algorithm}");
        }
        for (ranks, percent) in [(2, 87.5), (4, 75.0), (8, 50.0)] {
            assert_eq!(window(Algorithm::Ring, ranks, 256, Stride::Compact).savings().signal_percent, Some(percent));
        }
        assert_eq!(window(Algorithm::Ring, 2, 256, Stride::Compact).savings().exchange_bytes, 512);
        let bytes = |algorithm| window(algorithm, 2, 256, Stride::Compact).slot_bytes();
        assert_eq!(bytes(Algorithm::RingExchange) - bytes(Algorithm::Ring), 512);
    }

    #[test]
    fn regions_tile_the_window() {
        for ranks in [1, 2, 3, 16] {
            for stride in Stride::ALL {
                let window = window(Algorithm::RingExchange, ranks, 1000, *stride);
                let mut end = 0;
                for region in window.regions() {
                    assert_eq!(region.offset, end, "{region:?}");
                    end += region.bytes;
                }
                assert_eq!(end, window.bytes());
            }
        }
    }

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
    fn what_cannot_be_laid_out_is_refused() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 17, SyncStyle::Neighbor).unwrap();
        assert_eq!(Payload::new(&schedule, 0, 4), Err(WindowError::Empty));
        assert!(matches!(Payload::new(&schedule, usize::MAX / 8, 4), Err(WindowError::TooLarge { .. })));
        let payload = Payload::new(&schedule, 1, 4).unwrap();
        assert_eq!(Window::new(&schedule, payload, Stride::Classic), Err(WindowError::Classic(17)));
    }

    #[test]
    fn arena_places_do_not_overlap() {
        let schedule = build(Collective::AllReduce, Algorithm::RingExchange, 3, SyncStyle::Neighbor).unwrap();
        let payload = Payload::new(&schedule, 100, 4).unwrap();
        for in_place in [false, true] {
            let arena = Arena::new(&schedule, 6, payload.chunk_vectors(), 2, in_place);
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
    fn a_barrier_has_no_payload_and_nothing_else_is_without() {
        let barrier = build(Collective::Barrier, Algorithm::Mesh, 3, SyncStyle::Neighbor).unwrap();
        assert_eq!(Payload::new(&barrier, 1, 4), Err(WindowError::NoPayload(Collective::Barrier, 1)));
        let payload = Payload::new(&barrier, 0, 4).unwrap();
        assert!(payload.chunk_vectors() > 0 && payload.elements(0).is_empty());
        let arena = Arena::new(&barrier, 6, 1, 1, false);
        assert!(arena.poisoned().is_empty() && arena.region(Buffer::Input).is_empty());
        assert_eq!(arena.vector_bytes(), VECTOR_BYTES as u64);
    }
}
