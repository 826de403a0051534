//! Generated inputs: the same on every machine and device, from (seed, index, rank) alone.
//!
//! Nothing has to be shipped or stored, and the exact kind makes every order of additions give the same bits.

use crate::collective::{Collective, named};
use crate::element::Element;
use crate::schedule::{Buffer, Schedule};

/// Which inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fill {
    /// Hashed small multiples of a power of two per element: sums are exact in any order (nccl-tests' idea).
    #[default]
    Exact,
    /// The upstream kernels' pattern: i + 100 * rank, whose sum is P*i + 100*P(P-1)/2; of an all-to-all, for rank d,
    /// 1000 * rank + 100 * d + i.
    Pattern,
    /// Normally distributed: every order of additions rounds differently.
    Normal,
}

named!(Fill, "fill", { Exact => "exact", Pattern => "pattern", Normal => "normal" });

/// Rank `rank`'s input of `count` elements; `ranks` bounds the exact kind so that sums stay exact.
pub fn generate<T: Element>(fill: Fill, seed: u64, rank: u32, ranks: u32, count: usize) -> Vec<T> {
    let mut input = Vec::new();
    generate_into(&mut input, fill, seed, rank, ranks, count);
    input
}

/// As [`generate`], into memory that the caller may have reserved.
pub fn generate_into<T: Element>(into: &mut Vec<T>, fill: Fill, seed: u64, rank: u32, ranks: u32, count: usize) {
    into.clear();
    into.extend((0..count).map(|index| T::from_f64(value(fill, seed, rank, ranks, index))));
}

/// `rank`'s input of `schedule` for a payload of `count` elements, into memory that the caller may have reserved: every
/// part that the collective gives the rank, and nothing where that is none.
pub fn generate_parts<T: Element>(
    into: &mut Vec<T>,
    schedule: &Schedule,
    fill: Fill,
    seed: u64,
    rank: u32,
    count: usize,
) {
    let parts = schedule.user_parts(Buffer::Input, rank, false) as usize;
    if (fill, schedule.task.collective) != (Fill::Pattern, Collective::AllToAll) {
        return generate_into(into, fill, seed, rank, schedule.ranks, parts * count);
    }
    into.clear();
    let pattern = |part| (0..count).map(move |index| 1000.0 * f64::from(rank) + (100 * part + index) as f64);
    into.extend((0..parts).flat_map(pattern).map(T::from_f64));
}

fn value(fill: Fill, seed: u64, rank: u32, ranks: u32, index: usize) -> f64 {
    match fill {
        Fill::Exact => {
            // Partial sums are below 2^24 multiples of one power of two, hence exact in f32 whatever the order.
            let bound = (1_u64 << 23) / u64::from(ranks.max(1)).next_power_of_two();
            let multiple = (hash(seed, index, rank) % (2 * bound + 1)) as f64 - bound as f64;
            let exponent = (hash(seed, index, u32::MAX) % 9) as i32 - 24;
            multiple * f64::from(exponent).exp2()
        }
        Fill::Pattern => index as f64 + 100.0 * f64::from(rank),
        Fill::Normal => {
            // Box-Muller; the first uniform is never 0.
            let bits = hash(seed, index, rank);
            let unit = |bits: u64| (bits as f64 + 0.5) / f64::from(u32::MAX) / (1.0 + f64::EPSILON);
            let (radius, angle) = (unit(bits >> 32).min(1.0), unit(bits & 0xffff_ffff));
            (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
        }
    }
}

/// SplitMix64's finaliser over a mix of the three words.
fn hash(seed: u64, index: usize, rank: u32) -> u64 {
    let mut x = seed
        .wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(u64::from(rank).wrapping_add(1).wrapping_mul(0xd1b5_4a32_d192_ed03));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_inputs_sum_alike_in_any_order() {
        for ranks in [1_u32, 2, 3, 8, 33, 256] {
            let inputs: Vec<Vec<f32>> = (0..ranks).map(|rank| generate(Fill::Exact, 7, rank, ranks, 300)).collect();
            for i in 0..300 {
                let forward: f32 = inputs.iter().map(|input| input[i]).sum();
                let backward: f32 = inputs.iter().rev().map(|input| input[i]).sum();
                let exact: f64 = inputs.iter().map(|input| f64::from(input[i])).sum();
                assert_eq!(forward.to_bits(), backward.to_bits());
                assert_eq!(f64::from(forward), exact);
            }
        }
    }

    #[test]
    fn ranks_and_seeds_differ() {
        let input = |seed, rank| generate::<f32>(Fill::Exact, seed, rank, 4, 64);
        assert_ne!(input(0, 0), input(0, 1));
        assert_ne!(input(0, 0), input(1, 0));
        assert_eq!(input(3, 2), input(3, 2));
    }

    #[test]
    fn the_upstream_pattern() {
        let input = generate::<f32>(Fill::Pattern, 0, 3, 4, 5);
        assert_eq!(input, [300.0, 301.0, 302.0, 303.0, 304.0]);
    }

    #[test]
    fn normal_inputs_have_mean_0_and_variance_1() {
        let input = generate::<f32>(Fill::Normal, 1, 0, 4, 20_000);
        assert!(input.iter().all(|x| x.is_finite()));
        let mean = input.iter().sum::<f32>() / 20_000.0;
        let variance = input.iter().map(|x| x * x).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
