//! How sure it is that two samples of times differ: an interval of the ratio of their medians, and the p-value of a rank test.
//!
//! Times have no shape that one could assume: the interval is by resampling, the test (Mann and Whitney's) knows only which
//! time is longer. Both say the same of the same samples, whenever they are asked.

use fastrand::Rng;

use super::statistics::quartiles;

/// What two samples say together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Significance {
    /// Ends of the 95 % interval of B's median over A's.
    pub(super) interval: (f64, f64),
    /// How often samples of one distribution differ so much in rank.
    pub(super) p: f64,
}

/// Of fewer, hardly any order is rare: with three a side, one of two has p = 0.1 whatever was measured.
pub(super) const LEAST_SAMPLES: usize = 5;
/// Of more, evenly spread ones are resampled: the interval is no narrower for it.
const MOST_SAMPLES: usize = 1000;
const RESAMPLES: usize = 2000;
const RARE: f64 = 0.05;

impl Significance {
    /// Of times of A and B; `None` where there are too few, or some that are no times.
    pub(super) fn of(a: &[f64], b: &[f64]) -> Option<Self> {
        let is_time = |time: &f64| time.is_finite() && *time > 0.0;
        let enough = a.len().min(b.len()) >= LEAST_SAMPLES;
        if !enough || !a.iter().chain(b).all(is_time) {
            return None;
        }
        let (a, b) = (sorted(a), sorted(b));
        Some(Self { interval: interval(&a, &b), p: rank_test(&a, &b) })
    }

    /// Whether neither the medians nor the ranks tell the samples apart. A tail can make the interval wide where ranks still do.
    pub(super) fn is_noise(&self) -> bool {
        let (low, high) = self.interval;
        low <= 1.0 && 1.0 <= high && self.p >= RARE
    }
}

fn sorted(times: &[f64]) -> Vec<f64> {
    let step = times.len().div_ceil(MOST_SAMPLES);
    let mut times: Vec<f64> = times.iter().copied().step_by(step).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Percentiles of what the ratio is in samples drawn from these.
fn interval(a: &[f64], b: &[f64]) -> (f64, f64) {
    let mut rng = Rng::with_seed(0);
    let mut drawn = Vec::new();
    let mut median = |sorted: &[f64]| {
        drawn.clear();
        drawn.extend((0..sorted.len()).map(|_| rng.usize(..sorted.len())));
        // Places in a sorted sample are in the order of its times.
        let (_, place, _) = drawn.select_nth_unstable((sorted.len() - 1) / 2);
        sorted[*place]
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES).map(|_| median(b) / median(a)).collect();
    ratios.sort_by(f64::total_cmp);
    let cut = RESAMPLES / 40;
    (ratios[cut], ratios[RESAMPLES - 1 - cut])
}

/// Two-sided, by the normal distribution, corrected for ties and for continuity.
fn rank_test(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|&time| (time, true)).chain(b.iter().map(|&time| (time, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut ranks_of_a, mut ties, mut before) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|x, y| x.0 == y.0) {
        let count = equal.len() as f64;
        let of_a = equal.iter().filter(|(_, is_a)| *is_a).count() as f64;
        ranks_of_a += of_a * (before + (count + 1.0) / 2.0);
        ties += count.powi(3) - count;
        before += count;
    }
    let (n, m, all) = (a.len() as f64, b.len() as f64, all.len() as f64);
    let u = ranks_of_a - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    let away = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    // Where all times are equal nothing is rare.
    if variance > 0.0 { libm::erfc(away / (2.0 * variance).sqrt()).min(1.0) } else { 1.0 }
}

/// How far the middle half of the times reaches to either side, in percent of the median.
pub(super) fn spread_pct(times: &[f64]) -> Option<f64> {
    let [low, middle, high] = quartiles(times)?;
    Some(50.0 * (high - low) / middle).filter(|pct| pct.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::statistics::nearest_rank;

    /// Times around `median` with a long tail above, as launches have them: the sum of two exponentials is no normal.
    fn times(rng: &mut Rng, median: f64, spread: f64, count: usize) -> Vec<f64> {
        (0..count).map(|_| median * (1.0 + spread * (rng.f64() - 0.5 + 0.3 * -(1.0 - rng.f64()).ln()))).collect()
    }

    #[test]
    fn a_shift_is_found_and_chance_is_not() {
        // Shift of B, spread of both, iterations; least and most of 200 pairs that count as different.
        for (shift, spread, count, least, most) in [
            (1.0, 0.1, 20, 0, 20),
            (1.0, 2.0, 20, 0, 20),
            (1.0, 0.1, 200, 0, 20),
            (1.0, 0.1, 5, 0, 30),
            (1.1, 0.1, 20, 198, 200),
            (0.9, 0.1, 20, 198, 200),
            (1.02, 0.1, 200, 180, 200),
            (3.2, 1.0, 10, 195, 200),
        ] {
            let mut rng = Rng::with_seed(7);
            let (mut different, mut rare, mut inside) = (0, 0, 0);
            for _ in 0..200 {
                let (a, b) = (times(&mut rng, 50.0, spread, count), times(&mut rng, 50.0 * shift, spread, count));
                let found = Significance::of(&a, &b).unwrap();
                different += usize::from(!found.is_noise());
                rare += usize::from(found.p < 0.05);
                inside += usize::from(found.interval.0 <= shift && shift <= found.interval.1);
                // The other way round it is the other way round, and again the same.
                assert_eq!(found, Significance::of(&a, &b).unwrap());
                assert!((found.p - Significance::of(&b, &a).unwrap().p).abs() < 1e-12);
            }
            let case = format!("{shift} {spread} {count}: {different} differ, {rare} rare, {inside} inside");
            assert!((least..=most).contains(&different), "{case}");
            assert!((least..=most).contains(&rare), "{case}");
            assert!(inside >= 160, "{case}");
        }
    }

    /// A wide tail hid this once: the median of one is three times that of the other.
    #[test]
    fn forty_two_and_a_hundred_and_thirty_three_differ() {
        let a: Vec<f64> =
            (0..20).map(|i| if i < 14 { 41.0 + 0.09 * f64::from(i) } else { 90.0 + 10.0 * f64::from(i) }).collect();
        let b: Vec<f64> = (0..20).map(|i| if i < 3 { 60.0 } else { 130.0 + 0.457 * f64::from(i) }).collect();
        let found = Significance::of(&a, &b).unwrap();
        assert_eq!(nearest_rank(&sorted(&a), 50), 41.81);
        assert!(!found.is_noise() && found.interval.0 > 1.3 && found.interval.1 < 3.3, "{found:?}");
        assert!(found.p < 0.05, "{found:?}");
    }

    /// Of the formula, in another language.
    #[test]
    fn p_values_are_those_of_mann_and_whitney() {
        let upto = |first: i32, last: i32| (first..=last).map(f64::from).collect::<Vec<_>>();
        for (a, b, p) in [
            (upto(1, 5), upto(6, 10), 0.012_186),
            (vec![10.0; 5], vec![20.0; 5], 0.003_977),
            (vec![10.0; 5], vec![10.0; 5], 1.0),
            (upto(1, 9), upto(1, 9), 1.0),
        ] {
            let found = rank_test(&a, &b);
            assert!((found - p).abs() < 1e-6, "{found} {p}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        let five = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert!(Significance::of(&five, &five).is_some());
        for bad in [&five[..4], &[][..], &[1.0, 2.0, 3.0, 4.0, 0.0], &[1.0, 2.0, 3.0, 4.0, f64::NAN]] {
            assert_eq!((Significance::of(&five, bad), Significance::of(bad, &five)), (None, None), "{bad:?}");
        }
        let equal = Significance::of(&[3.0; 9], &[3.0; 9]).unwrap();
        assert_eq!((equal.interval, equal.p, equal.is_noise()), ((1.0, 1.0), 1.0, true));
        // A sample of any length takes no more time than a long one.
        let many: Vec<f64> = (0..1_000_000).map(|i| 1.0 + f64::from(i % 10)).collect();
        assert!(Significance::of(&many, &many).unwrap().is_noise());
        assert_eq!((spread_pct(&[]), spread_pct(&[4.0, 1.0, 2.0, 3.0])), (None, Some(50.0)));
    }
}
