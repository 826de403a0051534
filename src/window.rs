//! A rank's window, byte by byte: its chunk slots, then its signal matrix.
//!
//! Schedules, proofs and reports name slots and signals by it; executors lay out the memory that they need of it.

use serde::Serialize;

use crate::collective::named;
use crate::payload::Payload;
use crate::schedule::Schedule;

/// Columns of the classic signal matrix, whatever the number of ranks: the upstream kernels' `MAX_RANKS`.
pub const CLASSIC_STRIDE: u32 = 16;
/// Bytes of a signal.
pub const SIGNAL_BYTES: usize = 4;

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

/// Why there is no such window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum WindowError {
    /// More ranks than the classic matrix has columns.
    #[error("the classic stride has {CLASSIC_STRIDE} columns, too few for {0} ranks; use the compact stride")]
    Stride(u32),
    /// More bytes than this machine has addresses.
    #[error(
        "{slots} slots of {chunk_bytes} bytes and {signal_rows} rows of signals are more than memory can be addressed for"
    )]
    TooLarge { slots: u32, chunk_bytes: usize, signal_rows: u32 },
}

/// One rank's window for a payload.
///
/// Its matrix is what schedules, proofs and reports name signals by. Executors store only those that a schedule uses, each
/// once a channel.
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
    /// Lays out the window of the rank with most slots in `schedule`, for `payload`.
    ///
    /// # Errors
    /// [`WindowError`] where the stride has too few columns, or the window more bytes than there are addresses.
    pub fn new(schedule: &Schedule, payload: Payload, stride: Stride) -> Result<Self, WindowError> {
        let (slots, signal_rows) = (schedule.most_slots(), schedule.signal_rows);
        let signal_stride = stride.columns(schedule.ranks);
        if signal_stride < schedule.ranks {
            return Err(WindowError::Stride(schedule.ranks));
        }
        let chunk_bytes = payload.chunk_bytes();
        // Of the classic matrix as well, against which savings are counted.
        let row = signal_stride.max(CLASSIC_STRIDE) as usize * SIGNAL_BYTES;
        (slots as usize)
            .checked_mul(chunk_bytes)
            .zip((signal_rows as usize).checked_mul(row))
            .and_then(|(slots, signals)| slots.checked_add(signals))
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .ok_or(WindowError::TooLarge { slots, chunk_bytes, signal_rows })?;
        Ok(Self {
            ranks: schedule.ranks,
            payload,
            slots,
            signal_rows,
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
    pub fn regions(&self) -> impl Iterator<Item = Region> + use<> {
        let (chunk, slot_bytes) = (self.payload.chunk_bytes(), self.slot_bytes());
        let slots = (0..self.slots as usize).map(move |slot| Region {
            name: format!("slot[{slot}]"),
            offset: slot * chunk,
            bytes: chunk,
        });
        let row = self.signal_stride as usize * SIGNAL_BYTES;
        let rows = (0..self.signal_rows as usize).map(move |r| Region {
            name: format!("signals[{r}]"),
            offset: slot_bytes + r * row,
            bytes: row,
        });
        slots.chain(rows)
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
    fn the_classic_matrix_has_sixteen_columns() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 17, SyncStyle::Neighbor).unwrap();
        let payload = Payload::new(&schedule, 1, 4).unwrap();
        assert_eq!(Window::new(&schedule, payload, Stride::Classic), Err(WindowError::Stride(17)));
    }

    /// A schedule that nobody has proved may claim anything.
    #[test]
    fn windows_beyond_all_memory_are_refused() {
        let schedule =
            |slots, rows| Schedule::new("", Collective::AllReduce, 2, 1).slots_of_ranks([slots]).signal_rows(rows);
        let window = |slots, rows, ranks: u32| {
            let mut schedule = schedule(slots, rows);
            let payload = Payload::new(&schedule, 1 << 40, 4).unwrap();
            schedule.ranks = ranks;
            Window::new(&schedule, payload, Stride::Compact)
        };
        let largest = window(1000, u32::MAX, 2).unwrap();
        assert_eq!(largest.regions().nth(1001).unwrap().offset, 4000 * (1 << 40) + 8);
        assert_eq!(largest.bytes(), 4000 * (1 << 40) + 8 * u32::MAX as usize);
        for (rows, ranks) in [(u32::MAX, u32::MAX), (1 << 31, 1 << 31)] {
            assert!(matches!(window(1000, rows, ranks), Err(WindowError::TooLarge { slots: 1000, .. })));
        }
    }
}
