//! Sums over rows, as a footer and the exit code have them; and which rows one footer is of.
//!
//! Apart from the rows, because what makes a section of them is what was asked for.

use super::request::Request;
use super::result::{Measured, Row};

/// Sums over rows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// Wrong elements.
    pub wrong: u64,
    /// Plain mean of busbw over all sizes and both placements, as far as they were measured.
    pub average_bus_bw: f64,
    /// What `WGCCL_MIN_BW` asks for.
    pub least_bus_bw: Option<f64>,
    /// The mean of the slowest section.
    pub slowest: f64,
}

/// nccl-tests' tolerance below the demanded bandwidth.
const TOLERANCE: f64 = 0.9;

impl Summary {
    /// Sums up `rows` of `request`.
    pub fn of(request: &Request, rows: &[Row], least_bus_bw: Option<f64>) -> Self {
        let sections = rows.chunk_by(|a, b| is_one_section(request, a, b)).map(average_bus_bw);
        Self {
            wrong: placements(rows).filter_map(|placement| placement.nwrong).sum(),
            average_bus_bw: average_bus_bw(rows),
            least_bus_bw,
            slowest: sections.reduce(f64::min).unwrap_or_default(),
        }
    }

    /// Whether every section reaches the demanded bandwidth; `None` if none is demanded.
    pub fn fast_enough(&self) -> Option<bool> {
        self.least_bus_bw.map(|least| self.slowest >= TOLERANCE * least)
    }
}

fn placements(rows: &[Row]) -> impl Iterator<Item = &Measured> {
    rows.iter().flat_map(Row::placements).map(|(_, placement, _)| placement)
}

fn average_bus_bw(rows: &[Row]) -> f64 {
    placements(rows).map(|placement| placement.bus_bw).sum::<f64>() / placements(rows).count().max(1) as f64
}

/// Whether nccl-tests' columns tell two rows of a sweep apart, and so one section holds both. Where an algorithm or a mode was
/// chosen for each size, that is one way to go about it.
pub(super) fn is_one_section(request: &Request, a: &Row, b: &Row) -> bool {
    let way = |row: &Row| row.first().map(|(placement, _)| (placement.dispatch, placement.protocol));
    let common = |row: &Row| (row.device, row.collective, row.sync, row.ranks, row.algorithm_auto);
    common(a) == common(b)
        && (a.algorithm_auto || a.origin == b.origin)
        && (request.dispatch.len() == 1 || way(a) == way(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::{apart, in_place_only, row};

    /// A fast section must not make up for a slow one.
    #[test]
    fn every_section_has_to_be_fast_enough() {
        let of = |ranks, bus_bw| {
            let mut row = Row { ranks, in_place: None, in_place_per_iter: None, ..row(1024, 1.0) };
            apart(&mut row).bus_bw = bus_bw;
            row
        };
        for (rows, average, slowest, fast_enough) in [
            (vec![of(4, 8.0), of(4, 2.0)], 5.0, 5.0, true),
            (vec![of(4, 8.0), of(8, 2.0)], 5.0, 2.0, false),
            (vec![of(4, 8.0), of(8, 3.6)], 5.8, 3.6, true),
        ] {
            let summary = Summary::of(&Request::default(), &rows, Some(4.0));
            assert_eq!((summary.average_bus_bw, summary.slowest), (average, slowest));
            assert_eq!(summary.fast_enough(), Some(fast_enough), "{summary:?}");
        }
        // Over what was measured: three placements.
        let mut both = row(1024, 1.0);
        apart(&mut both).bus_bw = 6.0;
        both.in_place.as_mut().unwrap().bus_bw = 2.0;
        let only = in_place_only(Row { size: 2048, ..both.clone() });
        let summary = Summary::of(&Request::default(), &[both, only], None);
        assert!((summary.average_bus_bw - 10.0 / 3.0).abs() < 1e-12, "{summary:?}");
        assert_eq!(Summary::of(&Request::default(), &[], None).fast_enough(), None);
    }
}
