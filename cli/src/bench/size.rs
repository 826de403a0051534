//! The sizes of a sweep.
//!
//! People paste `-b 8 -e 128M -f 2` from elsewhere, so it must mean the same here.

use wgccl::collective::Collective;
use wgccl::low_level::payload::VECTOR_BYTES;

use crate::error::BenchError;

/// How a sweep goes from one size to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Add this many bytes.
    Bytes(u64),
    /// Multiply.
    Factor(u64),
}

/// A sweep of sizes, both ends included where a step meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Smallest size in bytes.
    pub first: u64,
    /// Largest size in bytes.
    pub last: u64,
    /// From one to the next.
    pub step: Step,
}

/// What a size is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// There is no payload.
    None,
    /// It is one vector.
    One,
    /// A part for each rank.
    Several(u32),
}

impl Parts {
    /// Of nccl-tests' size of that collective.
    pub fn of(collective: Collective, ranks: u32) -> Self {
        match collective.size_parts(ranks) {
            0 => Self::None,
            1 if collective.size_parts(2) == 1 => Self::One,
            ranks => Self::Several(ranks),
        }
    }

    /// How many.
    pub fn number(self) -> u64 {
        match self {
            Self::None => 0,
            Self::One => 1,
            Self::Several(number) => number.into(),
        }
    }
}

/// More sizes than anybody waits for; a step of one byte by mistake would otherwise run for ever.
const MOST: usize = 100_000;

impl Range {
    /// Elements of a part in every size of the sweep, smallest first and each once. As nccl-tests does, a size of one part
    /// is rounded down to whole elements, and one of several parts so that each is a multiple of 16 bytes; sizes that leave
    /// nothing are left out.
    ///
    /// # Errors
    /// [`BenchError::Range`] for a sweep without sizes or without an end.
    pub fn counts(self, element_bytes: usize, parts: Parts) -> Result<Vec<usize>, BenchError> {
        let unit = match parts {
            Parts::None => return Ok(vec![0]),
            Parts::One => 1,
            Parts::Several(_) => VECTOR_BYTES / element_bytes,
        };
        let least = self.least(element_bytes, parts);

        let refused = |why| Err(BenchError::Range { first: self.first, last: self.last, why });
        if self.first > self.last {
            return refused("the first size is above the last");
        }
        if self.first < element_bytes as u64 {
            return refused("the first size is less than an element");
        }
        if matches!(self.step, Step::Bytes(0) | Step::Factor(0 | 1)) && self.first < self.last {
            return refused("the step leads nowhere");
        }
        let (mut counts, mut taken) = (Vec::new(), 0);
        let mut size = Some(self.first);
        while let Some(bytes) = size.filter(|&bytes| bytes <= self.last) {
            if taken == MOST {
                return refused("the step gives more than 100000 sizes");
            }
            taken += 1;
            if bytes >= least {
                let whole = (bytes / (element_bytes as u64 * parts.number())) as usize;
                counts.push(whole / unit * unit);
            }
            size = match self.step {
                Step::Bytes(by) => bytes.checked_add(by.max(1)),
                Step::Factor(by) => bytes.checked_mul(by.max(2)),
            };
        }
        counts.dedup();
        if counts.is_empty() {
            return refused("the last size leaves less than 16 bytes for each rank");
        }
        Ok(counts)
    }

    /// The smallest size that leaves something in every part.
    pub fn least(self, element_bytes: usize, parts: Parts) -> u64 {
        match parts {
            Parts::Several(number) => VECTOR_BYTES as u64 * u64::from(number),
            Parts::None | Parts::One => element_bytes as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_step_by_bytes_or_by_a_factor() {
        for (first, last, step, counts) in [
            (8, 64, Step::Factor(2), Some(vec![2, 4, 8, 16])),
            (8, 63, Step::Factor(2), Some(vec![2, 4, 8])),
            (8, 32, Step::Bytes(8), Some(vec![2, 4, 6, 8])),
            (8, 12, Step::Bytes(1), Some(vec![2, 3])),
            (8, 8, Step::Bytes(0), Some(vec![2])),
            (8, 16, Step::Bytes(0), None),
            (8, 16, Step::Factor(1), None),
            (16, 8, Step::Factor(2), None),
            (0, 8, Step::Factor(2), None),
            (3, 8, Step::Factor(2), None),
            (4, 1 << 40, Step::Bytes(4), None),
            (1 << 62, u64::MAX, Step::Factor(4), Some(vec![1 << 60])),
        ] {
            assert_eq!(Range { first, last, step }.counts(4, Parts::One).ok(), counts, "{first} {last} {step:?}");
        }
    }

    /// `(size / ranks) & -(16 / sizeof(type))` of nccl-tests.
    #[test]
    fn sizes_of_several_parts_are_shared_in_units_of_16_bytes() {
        for (first, last, ranks, counts) in [
            (64, 256, 4, Some(vec![4, 8, 16])),
            (8, 256, 4, Some(vec![4, 8, 16])),
            (100, 100, 3, Some(vec![8])),
            (100, 100, 1, Some(vec![24])),
            (8, 32, 4, None),
        ] {
            let range = Range { first, last, step: Step::Factor(2) };
            assert_eq!(range.counts(4, Parts::Several(ranks)).ok(), counts, "{first} {last} {ranks}");
        }
        assert_eq!(Range { first: 8, last: 64, step: Step::Factor(2) }.counts(4, Parts::None).unwrap(), [0]);
        assert_eq!(Parts::of(Collective::AllGather, 1), Parts::Several(1));
        assert_eq!(Parts::of(Collective::Broadcast, 7), Parts::One);
        assert_eq!(Parts::of(Collective::Barrier, 7), Parts::None);
    }
}
