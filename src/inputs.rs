//! Generated inputs: the same on every machine and device, from (seed, index, rank) alone.
//!
//! Nothing has to be shipped or stored, and the exact kind makes every order of additions give the same bits.

use crate::collective::{Collective, named};
use crate::element::{DataType, Element};
use crate::schedule::Schedule;

/// Which inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
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
    into.extend((0..count).map(|index| match fill {
        Fill::Exact => exact(seed, rank, ranks, index),
        Fill::Pattern => T::scaled(index as i64 + 100 * i64::from(rank), 0),
        Fill::Normal => T::from_f64(normal(seed, rank, index) * deviation(T::TYPE)),
    }));
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
    let parts = schedule.task.input_parts(rank, schedule.ranks) as usize;
    if (fill, schedule.task.collective) != (Fill::Pattern, Collective::AllToAll) {
        return generate_into(into, fill, seed, rank, schedule.ranks, parts.saturating_mul(count));
    }
    into.clear();
    let pattern = |part| (0..count).map(move |index| 1000 * i64::from(rank) + (100 * part + index) as i64);
    into.extend((0..parts).flat_map(pattern).map(|value| T::scaled(value, 0)));
}

/// Partial sums are at most 2^(precision - 1) multiples of one power of two, hence exact whatever the order.
fn exact<T: Element>(seed: u64, rank: u32, ranks: u32, index: usize) -> T {
    let most = 1_u64 << (T::TYPE.precision() - 1);
    let ranks = u64::from(ranks.max(1)).next_power_of_two();
    let random = hash(seed, index, rank);
    let of_element = hash(seed, index, u32::MAX);
    // More ranks than that: as many as may contribute, spread over all of them.
    let silent = ranks > most && u64::from(rank).wrapping_add(of_element >> 32) % (ranks / most) != 0;
    let bound = if silent { 0 } else { (most / ranks).max(1) };
    // `bound` is at most 2^63, and that only for one rank of u64.
    let multiple =
        if signed(T::TYPE) { (random % (2 * bound + 1)) as i64 - bound as i64 } else { (random % (bound + 1)) as i64 };
    let exponent = (of_element % 9) as i32 - T::TYPE.precision() as i32;
    T::scaled(multiple, exponent)
}

fn signed(data_type: DataType) -> bool {
    !matches!(data_type, DataType::U32 | DataType::U64 | DataType::U8)
}

/// Floats of variance 1; integers spread over two thirds of their bits, so that their products wrap.
fn deviation(data_type: DataType) -> f64 {
    if data_type.is_float() { 1.0 } else { f64::from(data_type.precision() * 2 / 3).exp2() }
}

fn normal(seed: u64, rank: u32, index: usize) -> f64 {
    // Box-Muller; the first uniform is never 0.
    let bits = hash(seed, index, rank);
    let unit = |bits: u64| (bits as f64 + 0.5) / f64::from(u32::MAX) / (1.0 + f64::EPSILON);
    let (radius, angle) = (unit(bits >> 32).min(1.0), unit(bits & 0xffff_ffff));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
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
    use crate::collective::Op;
    use crate::element::dispatch;

    fn sums_alike<T: Element>(ranks: u32) {
        let inputs: Vec<Vec<T>> = (0..ranks).map(|rank| generate(Fill::Exact, 7, rank, ranks, 100)).collect();
        let mut moved = 0;
        for i in 0..100 {
            let sum = |a: T, b: T| T::combine(Op::Sum, a, b);
            let element = || inputs.iter().map(|input| input[i]);
            let (forward, backward) = (element().reduce(sum).unwrap(), element().rev().reduce(sum).unwrap());
            let exact = element().map(T::widen).reduce(|a, b| T::combine_wide(Op::Sum, a, b)).unwrap();
            assert_eq!(bytemuck::bytes_of(&forward), bytemuck::bytes_of(&backward), "{} {ranks}", T::TYPE);
            assert_eq!(forward.ulp_error(exact), 0.0, "{} {ranks}: {forward}", T::TYPE);
            let pairs = element().step_by(2).zip(element().skip(1).step_by(2)).map(|(a, b)| sum(a, b));
            assert!(ranks % 2 == 1 || pairs.reduce(sum).unwrap().agrees(forward), "{} {ranks}", T::TYPE);
            moved += usize::from(element().any(|x| x.to_f64() != 0.0));
        }
        assert!(moved > 90, "{} {ranks}: {moved} elements are not all zero", T::TYPE);
    }

    #[test]
    fn exact_inputs_sum_alike_in_any_order() {
        for ranks in [1_u32, 2, 3, 8, 33, 256, 1024] {
            for &data_type in DataType::ALL {
                dispatch!(data_type, T => sums_alike::<T>(ranks));
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
        assert_eq!(generate::<u8>(Fill::Pattern, 0, 3, 4, 2), [44, 45]);
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
