//! Every type with every operation: golden and executors against arithmetic written down a second time, on edge values
//! and on random patterns, in every bit but those of a NaN.

use wgccl::backend::Options;
use wgccl::collective::{Collective, Op};
use wgccl::cpu;
use wgccl::element::{DataType, Element, bf16, f8e4m3, f8e5m2, f16, scale, supported};
use wgccl::error::{PrepareError, UserBuffer};
use wgccl::golden;
use wgccl::low_level::Numeric;
use wgccl::low_level::inputs::{Fill, generate, generate_parts};
use wgccl::low_level::payload::Payload;
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};

use crate::oracle::arithmetic;

/// An element with its arithmetic written a second time, as plainly as can be.
trait Plain: Element {
    fn edges() -> Vec<Self>;
    fn of_bits(bits: u64) -> Self;
    fn plain(op: Op, a: Self, b: Self) -> Self;
}

/// By comparison, in words of the standard.
macro_rules! plain_extreme {
    ($op:expr, $a:expr, $b:expr) => {{
        let (a, b) = ($a, $b);
        let (less, greater) = match (a.partial_cmp(&b), a.is_sign_negative(), b.is_sign_negative()) {
            (Some(std::cmp::Ordering::Less), ..) | (Some(std::cmp::Ordering::Equal), true, _) => (a, b),
            _ => (b, a),
        };
        match (a.is_nan(), b.is_nan()) {
            (true, true) => Self::NAN,
            (true, false) => b,
            (false, true) => a,
            (false, false) if $op == Op::Min => less,
            (false, false) => greater,
        }
    }};
}

macro_rules! plain_float {
    ($($type:ident: $bits:ident, $infinity:literal, $least_normal:literal),+) => {$(
        impl Plain for $type {
            fn edges() -> Vec<Self> {
                let (infinity, normal): ($bits, $bits) = ($infinity, $least_normal);
                let one = Self::from_f64(1.0).to_bits();
                let magnitudes = [
                    0, 1, 2, 3, normal - 2, normal - 1, normal, normal + 1, 2 * normal, 2 * normal + 1, one - 1, one,
                    one + 1, one + normal, one + normal / 2, infinity / 4, infinity / 2, infinity / 2 + 1,
                    infinity - normal, infinity - 2, infinity - 1, infinity, infinity + 1, infinity | (normal >> 1),
                    <$bits>::MAX >> 1,
                ];
                let sign = 1 << (<$bits>::BITS - 1);
                magnitudes.into_iter().flat_map(|bits| [bits, bits | sign]).map(Self::from_bits).collect()
            }
            fn of_bits(bits: u64) -> Self {
                Self::from_bits(bits as $bits)
            }
            fn plain(op: Op, a: Self, b: Self) -> Self {
                match op {
                    Op::Sum | Op::Avg => a + b,
                    Op::Prod => a * b,
                    _ => plain_extreme!(op, a, b),
                }
            }
        }
    )+};
}

plain_float!(
    f32: u32, 0x7f80_0000, 0x0080_0000,
    f64: u64, 0x7ff0_0000_0000_0000, 0x0010_0000_0000_0000,
    f16: u16, 0x7c00, 0x0400,
    bf16: u16, 0x7f80, 0x0080
);

/// All codes, and so every pair of them; those of the ends and zeros come first.
macro_rules! plain_fp8 {
    ($($type:ident),+) => {$(
        impl Plain for $type {
            fn edges() -> Vec<Self> {
                let magnitudes = (0x70..0x80).chain(0..0x70);
                magnitudes.flat_map(|bits| [bits, bits | 0x80]).map(Self::from_bits).collect()
            }
            fn of_bits(bits: u64) -> Self {
                Self::from_bits(bits as u8)
            }
            fn plain(op: Op, a: Self, b: Self) -> Self {
                Self::of_bits(arithmetic::combine(Self::TYPE, op, a.to_bits().into(), b.to_bits().into()))
            }
        }
    )+};
}

plain_fp8!(f8e4m3, f8e5m2);

macro_rules! plain_integer {
    ($($type:ident),+) => {$(
        impl Plain for $type {
            fn edges() -> Vec<Self> {
                let halves = [0x55, 0xaa, 0x0f, 0xf0].map(|byte| Self::from_ne_bytes([byte; size_of::<Self>()]));
                let bits = (0..Self::BITS).flat_map(|bit| [(1 as Self) << bit, ((1 as Self) << bit).wrapping_sub(1)]);
                let around = [0, 1, 2, Self::MAX, Self::MAX - 1, Self::MIN, Self::MIN + 1, (0 as Self).wrapping_sub(1)];
                bits.chain(around).chain(halves).collect()
            }
            fn of_bits(bits: u64) -> Self {
                bits as Self
            }
            fn plain(op: Op, a: Self, b: Self) -> Self {
                let (x, y) = (i128::from(a), i128::from(b));
                let result = match op {
                    Op::Sum | Op::Avg => x + y,
                    Op::Prod => x.wrapping_mul(y),
                    Op::Min => if x < y { x } else { y },
                    Op::Max => if x > y { x } else { y },
                    _ => unreachable!(),
                };
                result as Self
            }
        }
    )+};
}

plain_integer!(i32, u32, i64, u64, i8, u8);

/// Runs a generic check for every type.
macro_rules! every_type {
    ($check:ident $(, $argument:expr)*) => {
        $check::<f32>($($argument),*);
        $check::<f16>($($argument),*);
        $check::<bf16>($($argument),*);
        $check::<f64>($($argument),*);
        $check::<f8e4m3>($($argument),*);
        $check::<f8e5m2>($($argument),*);
        $check::<i32>($($argument),*);
        $check::<u32>($($argument),*);
        $check::<i64>($($argument),*);
        $check::<u64>($($argument),*);
        $check::<i8>($($argument),*);
        $check::<u8>($($argument),*);
    };
}

/// SplitMix64.
fn random(index: u64) -> u64 {
    let mut x = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Left and right operands: every edge with every edge; all patterns of 16 bits with random ones, and the same of 8;
/// random patterns, also ones that are close to each other, so that sums cancel.
fn operands<T: Plain>() -> [Vec<T>; 2] {
    let edges = T::edges();
    let mut pairs: Vec<(T, T)> = edges.iter().flat_map(|&a| edges.iter().map(move |&b| (a, b))).collect();
    let sweep = if T::TYPE.bytes() <= 2 { 1 << 16 } else { 1 << 15 };
    for i in 0..sweep {
        let (a, b) = if T::TYPE.bytes() <= 2 { (i, random(i)) } else { (random(2 * i), random(2 * i + 1)) };
        pairs.push((T::of_bits(a), T::of_bits(b)));
        pairs.push((T::of_bits(b), T::of_bits(a ^ (b & 0xff) ^ b)));
        let close = a ^ (random(i) >> (8 + i % 56)) ^ (i & 1) << (8 * T::TYPE.bytes() as u64 - 1);
        pairs.push((T::of_bits(a), T::of_bits(close)));
        // Exponents near each other, significands free: sums that align by a few places.
        let near = (a & !0 << (8 * T::TYPE.bytes() as u64 - 5)) | (b & !(!0 << (8 * T::TYPE.bytes() as u64 - 5)));
        pairs.push((T::of_bits(a), T::of_bits(near)));
    }
    pairs.into_iter().unzip::<T, T, Vec<T>, Vec<T>>().into()
}

fn proved(algorithm: Algorithm, ranks: u32, in_place: bool) -> Proved {
    let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
    prove(schedule, proof::Options::default().in_place(in_place)).unwrap()
}

fn operations<T: Element>() -> impl Iterator<Item = Op> {
    Op::ALL.iter().copied().filter(|&op| supported(T::TYPE, op).is_ok())
}

#[test]
fn combine_is_plain_arithmetic() {
    fn check<T: Plain>() {
        let [left, right] = operands::<T>();
        for op in Op::ALL.iter().copied().filter(|&op| op != Op::Avg) {
            for (&a, &b) in left.iter().zip(&right) {
                let (got, expected) = (T::combine(op, a, b), T::plain(op, a, b));
                assert!(got.agrees(expected), "{} {a} {op} {b} = {got}, not {expected}", T::TYPE);
                let turned = T::combine(op, b, a);
                assert!(got.agrees(turned), "{} {a} {op} {b} does not commute", T::TYPE);
            }
        }
    }
    every_type!(check);
}

/// Bit for bit, NaN included: a minimum must not depend on the order of a schedule.
#[test]
fn min_and_max_commute_and_associate_in_every_bit() {
    fn check<T: Plain>() {
        let bytes = |value: T| bytemuck::bytes_of(&value).to_vec();
        let edges: Vec<T> = T::edges().into_iter().take(60).collect();
        for op in [Op::Min, Op::Max] {
            for &a in &edges {
                for &b in &edges {
                    let ab = T::combine(op, a, b);
                    assert_eq!(bytes(ab), bytes(T::combine(op, b, a)), "{} {op} {a} {b}", T::TYPE);
                    for &c in &edges {
                        let (one, other) = (T::combine(op, ab, c), T::combine(op, a, T::combine(op, b, c)));
                        assert_eq!(bytes(one), bytes(other), "{} {op} {a} {b} {c}", T::TYPE);
                    }
                }
            }
        }
    }
    every_type!(check);
}

#[test]
fn nan_loses_and_negative_zero_is_below_positive_zero() {
    for (op, a, b, expected) in [
        (Op::Min, f32::NAN, 1.0, 1.0_f32),
        (Op::Max, 1.0, f32::NAN, 1.0),
        (Op::Min, f32::NAN, f32::INFINITY, f32::INFINITY),
        (Op::Min, 0.0, -0.0, -0.0),
        (Op::Max, -0.0, 0.0, 0.0),
        (Op::Max, f32::NEG_INFINITY, -0.0, -0.0),
    ] {
        assert_eq!(f32::combine(op, a, b).to_bits(), expected.to_bits(), "{op} {a} {b}");
    }
    assert_eq!(f32::combine(Op::Min, f32::from_bits(0xffc0_0001), f32::poison()).to_bits(), 0x7fc0_0000);
    assert_eq!(f16::combine(Op::Max, f16::NAN, f16::poison()).to_bits(), 0x7e00);
    assert_eq!(bf16::combine(Op::Max, bf16::NAN, bf16::poison()).to_bits(), 0x7fc0);
    assert_eq!(f8e4m3::combine(Op::Max, f8e4m3::NAN, f8e4m3::poison()).to_bits(), 0x7f);
    assert_eq!(f8e5m2::combine(Op::Max, f8e5m2::NAN, f8e5m2::poison()).to_bits(), 0x7e);
    // An infinity is chosen, and not saturated.
    assert_eq!(f8e5m2::combine(Op::Max, f8e5m2::from_bits(0x7c), f8e5m2::MAX).to_bits(), 0x7c);
    assert_eq!(f64::combine(Op::Max, f64::NAN, f64::poison()).to_bits(), 0x7ff8_0000_0000_0000);
}

/// Three contributions in the only three orders that there are, each scaled first where it is an average.
fn three_ways<T: Plain>(op: Op, [a, b, c]: [T; 3]) -> [T; 3] {
    let leaf = |x| scale::<T>(op, 3).map_or(x, |by| T::plain(Op::Prod, x, by));
    let [a, b, c] = [a, b, c].map(leaf);
    let f = |x, y| T::plain(op, x, y);
    [f(f(a, b), c), f(f(b, c), a), f(f(c, a), b)]
}

fn views<T>(vectors: &[Vec<T>]) -> Vec<&[T]> {
    vectors.iter().map(Vec::as_slice).collect()
}

/// Every rank's outputs of a launch on the CPU.
fn on_cpu<T: Element>(proved: &Proved, op: Op, inputs: &[Vec<T>]) -> Vec<Vec<T>> {
    let payload = Payload::new(proved.schedule(), inputs[0].len(), size_of::<T>()).unwrap();
    let mut executor = cpu::Executor::<T>::new(proved, payload.count, op, &Options::default()).unwrap();
    let in_place = proved.options().in_place;
    let mut outputs: Vec<Vec<T>> = match in_place {
        true => inputs.to_vec(),
        false => vec![vec![T::poison(); payload.count]; inputs.len()],
    };
    let mut buffers: Vec<&mut [T]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    match in_place {
        true => executor.run_in_place(&mut buffers).unwrap(),
        false => executor.run(&views(inputs), &mut buffers).unwrap(),
    }
    outputs
}

#[test]
fn executor_and_golden_compute_what_plain_arithmetic_does() {
    fn check<T: Plain>() {
        let [left, right] = operands::<T>();
        let mut third = right.clone();
        third.reverse();
        let inputs = [left, right, third];
        for op in operations::<T>() {
            // The same for every algorithm.
            let ways: Vec<[T; 3]> =
                (0..inputs[0].len()).map(|i| three_ways(op, [0, 1, 2].map(|rank| inputs[rank][i]))).collect();
            let defined = |&a: &Algorithm| build(Collective::AllReduce, a, 3, SyncStyle::Neighbor).is_ok();
            let algorithms = Algorithm::of(Collective::AllReduce).into_iter().filter(defined);
            for (algorithm, in_place) in algorithms.flat_map(|a| [(a, false), (a, true)]) {
                let proved = proved(algorithm, 3, in_place);
                let outputs = on_cpu(&proved, op, &inputs);
                for (ways, &got) in ways.iter().zip(&outputs[0]) {
                    let known = ways.iter().any(|way| way.agrees(got));
                    assert!(known, "{} {op} {algorithm}: {got} is none of {}", T::TYPE, ways[0]);
                }
                let payload = Payload::new(proved.schedule(), inputs[0].len(), size_of::<T>()).unwrap();
                let comparison = golden::compare(&proved, &payload, op, &views(&inputs), &views(&outputs)).unwrap();
                assert_eq!((comparison.wrong, comparison.flushed), (0, 0), "{} {op} {algorithm}", T::TYPE);
            }
        }
    }
    every_type!(check);
}

/// Every fill, many operands in one instruction and odd counts; and an average that comes out as the mean.
#[test]
fn every_type_runs_on_many_ranks() {
    fn check<T: Plain>() {
        for (algorithm, ranks, count) in [(Algorithm::Direct, 9, 1001), (Algorithm::Ring, 8, 70_003)] {
            let placed = [false, true].map(|in_place| proved(algorithm, ranks, in_place));
            for &fill in Fill::ALL {
                let inputs: Vec<Vec<T>> = (0..ranks).map(|rank| generate(fill, 3, rank, ranks, count)).collect();
                for (op, proved) in operations::<T>().flat_map(|op| placed.each_ref().map(|proved| (op, proved))) {
                    let outputs = on_cpu(proved, op, &inputs);
                    let payload = Payload::new(proved.schedule(), count, size_of::<T>()).unwrap();
                    let comparison = golden::compare(proved, &payload, op, &views(&inputs), &views(&outputs)).unwrap();
                    let context = format!("{} {op} {algorithm} {fill}: {comparison:?}", T::TYPE);
                    assert!(comparison.wrong == 0 && comparison.bit_identical, "{context}");
                    let exact =
                        !T::TYPE.is_float() || matches!(op, Op::Min | Op::Max) || (op, fill) == (Op::Sum, Fill::Exact);
                    assert!(!exact || comparison.accuracy.backward.is_none_or(|worst| worst.error == 0.0), "{context}");
                }
            }
        }
    }
    every_type!(check);
}

/// Elements by rank and part, and every rank's outputs of a launch on the CPU, held against the golden.
fn other_collective<T: Plain>(collective: Collective, op: Op) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
    let schedule = build(collective, Algorithm::default_of(collective), 3, SyncStyle::Neighbor).unwrap();
    let payload = Payload::new(&schedule, 101, size_of::<T>()).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let extents = proved.extents(101);
    let mut inputs = vec![Vec::new(); 3];
    (0..).zip(&mut inputs).for_each(|(rank, input)| {
        generate_parts::<T>(input, proved.schedule(), Fill::Normal, 7, rank, 101);
    });
    let mut outputs: Vec<Vec<T>> =
        (0..3).map(|rank| vec![T::poison(); extents.len(UserBuffer::Output, rank)]).collect();
    let mut executor = cpu::Executor::<T>::new(&proved, payload.count, op, &Options::default()).unwrap();
    let mut buffers: Vec<&mut [T]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    executor.run(&views(&inputs), &mut buffers).unwrap();
    let comparison = golden::compare(&proved, &payload, op, &views(&inputs), &views(&outputs)).unwrap();
    assert_eq!((comparison.wrong, comparison.flushed), (0, 0), "{} {op} {collective}", T::TYPE);
    (inputs, outputs)
}

#[test]
fn other_collectives_reduce_every_type_and_leave_alone_what_they_only_move() {
    fn check<T: Plain>() {
        for op in operations::<T>() {
            let (inputs, outputs) = other_collective::<T>(Collective::ReduceScatter, op);
            for (rank, output) in outputs.iter().enumerate() {
                for (i, &got) in output.iter().enumerate() {
                    let ways = three_ways(op, [0, 1, 2].map(|from| inputs[from][rank * 101 + i]));
                    assert!(ways.iter().any(|way| way.agrees(got)), "{} {op}", T::TYPE);
                }
            }
        }
        // An operation says nothing where nothing is combined, also one that the type does not have.
        let (inputs, outputs) = other_collective::<T>(Collective::AllGather, Op::Avg);
        assert!(outputs.iter().all(|output| *output == inputs.concat()), "{}", T::TYPE);
    }
    every_type!(check);
}

#[test]
fn the_average_of_integers_is_refused_by_executors() {
    let proved = proved(Algorithm::Ring, 2, false);
    let payload = Payload::new(proved.schedule(), 8, 4).unwrap();
    let error = cpu::Executor::<i32>::new(&proved, payload.count, Op::Avg, &Options::default()).unwrap_err();
    assert!(matches!(error, PrepareError::Unsupported(_)), "{error}");
    assert!(DataType::ALL.len() == 12 && Op::ALL.len() == 5, "extend every_type! and Plain");
}

/// The same operands through the shaders, on every device. Every mode, schedule and placement: `tests/device/matrix.rs`.
#[cfg(feature = "gpu")]
mod gpu {
    use std::time::Instant;

    use super::*;
    use crate::common::devices::{Device, Typed, devices, one_at_a_time};

    /// Every rank's outputs of a launch out of place.
    fn launch<T: Element>(device: &Device, proved: &Proved, op: Op, inputs: &[Vec<T>]) -> Vec<Vec<T>> {
        let payload = Payload::new(proved.schedule(), inputs[0].len(), size_of::<T>()).unwrap();
        let mut executor = Typed::<T>::new(&device.gpu, proved, payload.count, op, Options::default()).unwrap();
        let mut outputs: Vec<Vec<T>> = vec![vec![T::poison(); payload.count]; inputs.len()];
        let mut buffers: Vec<&mut [T]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        executor.run(&views(inputs), &mut buffers).unwrap();
        outputs
    }

    /// Two ranks: every element is one combination, so that a wrong one names its operands.
    #[test]
    fn shaders_combine_as_elements_do() {
        fn check<T: Plain>(device: &Device) {
            let start = Instant::now();
            let inputs = operands::<T>();
            let mut flushed = 0;
            for op in operations::<T>() {
                let proved = proved(Algorithm::Direct, 2, false);
                let outputs = launch(device, &proved, op, &inputs);
                let by = scale::<T>(op, 2);
                for output in &outputs {
                    for ((&a, &b), &got) in inputs[0].iter().zip(&inputs[1]).zip(output) {
                        let leaf = |x| by.map_or(x, |by| T::combine(Op::Prod, x, by));
                        if got.agrees(T::combine(op, leaf(a), leaf(b))) {
                            continue;
                        }
                        let leaf = |x| by.map_or(x, |by| T::combine_flushed(Op::Prod, x, by));
                        let expected = T::combine_flushed(op, leaf(a), leaf(b));
                        let bits = bytemuck::bytes_of(&got).iter().rev().map(|byte| format!("{byte:02x}"));
                        let bits = bits.collect::<String>();
                        assert!(
                            got.agrees(expected),
                            "{} {}: {a} {op} {b} = {got} ({bits}), not {expected}",
                            device.name,
                            T::TYPE
                        );
                        flushed += 1;
                    }
                }
            }
            assert!(flushed == 0 || T::TYPE.bytes() > 1, "{} {}: nothing of it can be flushed", device.name, T::TYPE);
            println!(
                "{} {}: {} pairs, {flushed} flushed, {:.1?}",
                device.name,
                T::TYPE,
                inputs[0].len(),
                start.elapsed()
            );
        }
        let _turn = one_at_a_time();
        for device in devices() {
            every_type!(check, device);
        }
    }
}
