//! What differs between two outputs: how many elements, on which ranks, and the first of them bit by bit.
//!
//! Apart from who compares, because outputs are in files or in memory.

use serde::Serialize;

use super::accuracy::Tolerance;
use crate::element::Element;

/// Differences that are kept whole.
const SHOWN: usize = 8;

/// What differs.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Differences {
    /// Elements that differ, over all ranks.
    pub differing: u64,
    /// Elements that agree only where subnormals are flushed to zero.
    pub flushed: u64,
    /// Differing elements that are farther apart than the tolerance, if there is one.
    pub beyond: u64,
    /// The most by which one differs, in units of the last place of what was expected.
    pub max_ulp_apart: f64,
    /// The ranks on which something differs.
    pub ranks_differing: Vec<OfRank>,
    /// The first elements that differ.
    pub first: Vec<Difference>,
}

/// What differs on a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OfRank {
    /// The rank, from 0.
    pub rank: u32,
    /// Elements that differ on this rank, at least 1.
    pub differing: u64,
}

/// An element that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// On which rank.
    pub rank: u32,
    /// Element of its output.
    pub index: usize,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Bits of what was expected, in hexadecimal digits, the most significant first.
    pub expected_bits: String,
    /// Bits of what was found.
    pub found_bits: String,
    /// Bits that differ, counted from the least significant one.
    pub bits: Vec<u32>,
    /// By how many units of the last place of what was expected; not where either is no finite number.
    pub ulp: Option<f64>,
}

impl Differences {
    /// Adds an element, by rank and index, that is not what was expected.
    pub fn add<T: Element>(
        &mut self,
        (rank, index): (u32, usize),
        expected: T,
        found: T,
        tolerance: Option<Tolerance>,
    ) {
        self.differing += 1;
        match self.ranks_differing.iter_mut().find(|of| of.rank == rank) {
            Some(of) => of.differing += 1,
            None => self.ranks_differing.push(OfRank { rank, differing: 1 }),
        }
        let finite = expected.to_f64().is_finite() && found.to_f64().is_finite();
        let ulp = finite.then(|| found.ulp_error(expected.widen()));
        self.max_ulp_apart = self.max_ulp_apart.max(ulp.unwrap_or(0.0));
        if let Some(tolerance) = tolerance {
            let error = if finite { found.error(expected.widen()) } else { f64::NAN };
            self.beyond += u64::from(tolerance.exceeded(error, expected.to_f64()));
        }
        if self.first.len() < SHOWN || self.first.last().is_some_and(|last| (rank, index) < (last.rank, last.index)) {
            let of = difference((rank, index), expected, found, ulp);
            let place = self.first.partition_point(|first| (first.rank, first.index) < (rank, index));
            self.first.insert(place, of);
            self.first.truncate(SHOWN);
        }
    }

    /// With ranks in order, once all is added.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.ranks_differing.sort_unstable_by_key(|of| of.rank);
        self
    }
}

fn difference<T: Element>((rank, index): (u32, usize), expected: T, found: T, ulp: Option<f64>) -> Difference {
    let (a, b) = (significant_first(&expected), significant_first(&found));
    let apart = a.iter().zip(&b).rev().enumerate().flat_map(|(byte, (a, b))| {
        (0..8).filter(move |bit| (a ^ b) >> bit & 1 == 1).map(move |bit| 8 * byte as u32 + bit)
    });
    Difference {
        rank,
        index,
        expected: expected.to_string(),
        found: found.to_string(),
        expected_bits: hexadecimal(&a),
        found_bits: hexadecimal(&b),
        bits: apart.collect(),
        ulp,
    }
}

fn significant_first<T: Element>(value: &T) -> Vec<u8> {
    let mut bytes = bytemuck::bytes_of(value).to_vec();
    if cfg!(target_endian = "little") {
        bytes.reverse();
    }
    bytes
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use crate::element::bf16;

    use super::*;

    #[test]
    fn a_difference_is_told_by_its_bits() {
        let mut differences = Differences::default();
        differences.add((3, 7), 1.0_f32, 1.5, Some(Tolerance::new(0.1, 0.0)));
        differences.add((1, 9), 0.0_f32, -0.0, Some(Tolerance::new(0.1, 0.0)));
        differences.add((1, 2), f32::INFINITY, 1.0, Some(Tolerance::new(0.1, 0.0)));
        assert_eq!((differences.differing, differences.beyond), (3, 2));
        let places: Vec<_> = differences.first.iter().map(|first| (first.rank, first.index)).collect();
        assert_eq!(places, [(1, 2), (1, 9), (3, 7)]);
        let last = &differences.first[2];
        assert_eq!((&*last.expected_bits, &*last.found_bits, &last.bits[..]), ("3f800000", "3fc00000", &[22][..]));
        assert_eq!(
            (last.ulp, differences.first[0].ulp, differences.first[1].ulp),
            (Some(4_194_304.0), None, Some(0.0))
        );
        assert_eq!(differences.first[1].bits, [31]);
        let sorted = differences.sorted();
        let ranks: Vec<_> = sorted.ranks_differing.iter().map(|of| (of.rank, of.differing)).collect();
        assert_eq!(ranks, [(1, 2), (3, 1)]);
    }

    #[test]
    fn the_first_differences_are_kept_whatever_their_order() {
        let mut differences = Differences::default();
        for index in (0..100).rev() {
            differences.add((0, index), bf16::from_f32(1.0), bf16::from_f32(2.0), None);
        }
        assert_eq!(differences.first.iter().map(|first| first.index).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        assert_eq!((differences.differing, differences.beyond, differences.max_ulp_apart), (100, 0, 128.0));
    }
}
