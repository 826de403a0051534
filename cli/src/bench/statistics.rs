//! What a sample of times says: centre, tails, spread.
//!
//! One mean hides a bimodal machine, so every row carries enough to judge whether two of them differ.

use serde::{Deserialize, Serialize};

/// A sample, summed up. All of it in the sample's unit but `cv_pct`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Smallest.
    #[serde(rename = "min_us")]
    pub min: f64,
    /// Largest.
    #[serde(rename = "max_us")]
    pub max: f64,
    /// Mean.
    #[serde(rename = "avg_us")]
    pub mean: f64,
    /// Median, by nearest rank.
    #[serde(rename = "p50_us")]
    pub p50: f64,
    /// 99th percentile by nearest rank: the largest of fewer than 100.
    #[serde(rename = "p99_us")]
    pub p99: f64,
    /// Standard deviation of the sample as a population, as nccl-tests has it.
    #[serde(rename = "stdev_us")]
    pub stdev: f64,
    /// Standard deviation in percent of the mean.
    pub cv_pct: f64,
}

impl Statistics {
    /// Sums up `sample`; `None` if it is empty.
    pub fn of(sample: &[f64]) -> Option<Self> {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let stdev = (sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        let cv_pct = if mean > 0.0 { 100.0 * stdev / mean } else { 0.0 };
        Some(Self { min, max, mean, p50: nearest_rank(&sorted, 50), p99: nearest_rank(&sorted, 99), stdev, cv_pct })
    }
}

/// The ends of the middle half of `sample`, around its median, by nearest rank; `None` if it is empty.
pub(super) fn quartiles(sample: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| [25, 50, 75].map(|percent| nearest_rank(&sorted, percent)))
}

/// The smallest value that `percent` percent of the sorted sample do not exceed.
pub(super) fn nearest_rank(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (sample, p50, p99, max) in [
            (vec![7.0], 7.0, 7.0, 7.0),
            (vec![2.0, 1.0], 1.0, 2.0, 2.0),
            (vec![3.0, 1.0, 2.0], 2.0, 3.0, 3.0),
            (hundred, 50.0, 99.0, 100.0),
        ] {
            let statistics = Statistics::of(&sample).unwrap();
            assert_eq!((statistics.p50, statistics.p99, statistics.max), (p50, p99, max), "{sample:?}");
        }
        assert_eq!(Statistics::of(&[]), None);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            (quartiles(&hundred), quartiles(&[7.0]), quartiles(&[])),
            (Some([25.0, 50.0, 75.0]), Some([7.0; 3]), None)
        );
    }

    #[test]
    fn spread_is_that_of_the_population() {
        let statistics = Statistics::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((statistics.min, statistics.mean, statistics.stdev), (2.0, 5.0, 2.0));
        assert_eq!(statistics.cv_pct, 40.0);
        assert_eq!(Statistics::of(&[0.0, 0.0]).unwrap().cv_pct, 0.0);
    }
}
