//! The GPU executor agrees with the golden in every bit where `tests/device/matrix.rs` does not go: every count and number of
//! ranks, large payloads, pieces, channels, limits; with hashed and with random inputs, launched twice on one window.
//!
//! The executor knows no algorithm, so the rule is: **the ring, out of place, is launched with every number of ranks and
//! every count in every sound mode. Every other all-reduce, sync and placement, is launched only with the numbers of ranks
//! that the matrix leaves out, and with a third of the pairs of count and mode, in turn; with a large count it is launched
//! only out of place, with two numbers of ranks.**

use wgccl::backend::{Options, Ready};
use wgccl::collective::{Collective, Op};
use wgccl::golden::compare;
use wgccl::gpu::MAX_RANKS;
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::low_level::payload::Payload;
use wgccl::proof::{self, Proof, Proved, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};

use crate::common::devices::{Device, Typed, devices, one_at_a_time};
use crate::common::{Variant, variants};

const RANKS: [u32; 9] = [1, 2, 3, 4, 5, 7, 8, 16, 33];
const LARGE: usize = (1 << 18) + 3;

fn small_counts(ranks: u32) -> Vec<usize> {
    let p = ranks as usize;
    let mut counts = vec![1, 3, p.saturating_sub(1), p, 255, 256, 1000];
    counts.retain(|&count| count > 0);
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// Launches twice on one window, with hashed and then with random inputs, and compares every bit.
fn agrees(device: &Device, proved: &Proved, count: usize, options: Options, case: &str) {
    let ranks = proved.schedule().ranks;
    let payload = Payload::new(proved.schedule(), count, 4).unwrap();
    let mut executor = Typed::<f32>::new(&device.gpu, proved, count, Op::Sum, options)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    for (seed, fill) in [(1, Fill::Exact), (2, Fill::Normal)] {
        let inputs: Vec<Vec<f32>> = (0..ranks).map(|rank| generate(fill, seed, rank, ranks, count)).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let in_place = proved.options().in_place;
        let mut outputs: Vec<Vec<f32>> = match in_place {
            true => inputs.iter().map(|input| input.to_vec()).collect(),
            false => vec![vec![f32::NAN; count]; ranks as usize],
        };
        let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let launched = match in_place {
            true => executor.run_in_place(&mut views),
            false => executor.run(&inputs, &mut views),
        };
        launched.unwrap_or_else(|error| panic!("{case}: {error}"));
        let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
        let comparison = compare(proved, &payload, Op::Sum, &inputs, &outputs).unwrap();
        assert_eq!(comparison.wrong, 0, "{case} {fill}: {comparison:?}");
        let identical = comparison.bit_identical || !proved.report().holds(Proof::BitIdentical);
        assert!(identical, "{case} {fill}: ranks differ");
        assert!(
            fill == Fill::Normal || comparison.accuracy.backward.is_none_or(|worst| worst.error == 0.0),
            "{case} {fill}: {comparison:?}"
        );
    }
}

fn is_ring(variant: &Variant) -> bool {
    (variant.algorithm, variant.sync, variant.in_place) == (Algorithm::Ring, SyncStyle::Neighbor, false)
}

/// Every count for the ring, and for the `others` a third of the pairs of count and mode: over three schedules every count
/// meets every mode.
fn matrix(others: impl Fn(&Variant) -> bool, counts: impl Fn(u32) -> Vec<usize>) {
    let _turn = one_at_a_time();
    for device in devices() {
        let (start, mut cases, mut schedules) = (std::time::Instant::now(), 0, 0);
        for variant in variants(RANKS).into_iter().filter(|variant| is_ring(variant) || others(variant)) {
            let proved = prove(variant.schedule(), variant.options()).unwrap();
            for (c, &count) in counts(variant.ranks).iter().enumerate() {
                for (m, way) in device.sound().into_iter().enumerate() {
                    if !is_ring(&variant) && (c + m + schedules) % 3 != 0 {
                        continue;
                    }
                    let case = format!("{} {way} {variant} x {count}", device.name);
                    agrees(device, &proved, count, way.options(), &case);
                    cases += 1;
                }
            }
            schedules += 1;
        }
        println!("{}: {cases} cases, two launches each, {:.1?}", device.name, start.elapsed());
    }
}

#[test]
fn every_small_count() {
    matrix(|variant| [7, 33].contains(&variant.ranks), small_counts);
}

#[test]
fn a_large_count() {
    matrix(|variant| !variant.in_place && [7, 8].contains(&variant.ranks), |_| vec![LARGE]);
}

#[test]
fn payloads_above_a_binding_go_in_pieces() {
    let _turn = one_at_a_time();
    for device in devices() {
        for way in device.sound() {
            for (ranks, count, in_place) in
                [(2, 100_000, false), (3, 99_999, false), (5, 1 << 18, true), (16, 20_001, false)]
            {
                let schedule = build(Collective::AllReduce, Algorithm::RingStaged, ranks, SyncStyle::Neighbor).unwrap();
                let proved = prove(schedule, proof::Options::default().in_place(in_place)).unwrap();
                let options = way.options().arena_bytes(256 << 10);
                let Typed { executor, .. } = Typed::<f32>::new(&device.gpu, &proved, count, Op::Sum, options).unwrap();
                assert!(executor.prepared().pieces > 1, "{:?}", executor.prepared());
                drop(executor);
                let case = format!("{} {way} {ranks} x {count} in pieces", device.name);
                agrees(device, &proved, count, options, &case);
            }
        }
    }
}

/// One channel over a chunk this large would make more loop turns in one instruction than llvmpipe allows: it takes more
/// channels than were asked for, or pieces.
#[test]
fn an_instruction_above_the_loop_limit_is_cut() {
    const COUNT: usize = 42 << 20;
    let _turn = one_at_a_time();
    for device in devices() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 1, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, proof::Options::default()).unwrap();
        let options = Options::default().channels(1);
        let Typed { executor, .. } = Typed::<f32>::new(&device.gpu, &proved, COUNT, Op::Sum, options).unwrap();
        // Hardware has wider groups, and need not cut it.
        let prepared = executor.prepared();
        let cut = prepared.channels > 1 || prepared.pieces > 1;
        assert!(cut || !device.gpu.info().is_software(), "{}", device.name);
        drop(executor);
        agrees(device, &proved, COUNT, options, &format!("{} 1 x {COUNT}", device.name));
    }
}

/// As many ranks as a device takes, by schedules with the fewest and with the most steps, in the mode that it would choose.
#[test]
fn the_most_ranks_agree_with_the_golden() {
    let _turn = one_at_a_time();
    for device in devices() {
        for (ranks, in_place, algorithms) in [
            (
                MAX_RANKS,
                false,
                &[Algorithm::Direct, Algorithm::RecursiveDoubling, Algorithm::Tree, Algorithm::Ring][..],
            ),
            (MAX_RANKS, true, &[Algorithm::HalvingDoubling]),
            (MAX_RANKS - 1, false, &[Algorithm::OnePhase, Algorithm::BidirectionalRing]),
        ] {
            for &algorithm in algorithms {
                let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
                let proved = prove(schedule, proof::Options::default().in_place(in_place)).unwrap();
                let case = format!("{} {algorithm} {ranks} ranks", device.name);
                agrees(device, &proved, 1000, Options::default(), &case);
            }
        }
    }
}

#[test]
fn any_number_of_channels_gives_the_same_bits() {
    let _turn = one_at_a_time();
    for device in devices() {
        for way in device.sound() {
            for channels in [1, 2, 3, 16, 1000] {
                let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
                let proved = prove(schedule, proof::Options::default()).unwrap();
                let options = way.options().channels(channels);
                agrees(device, &proved, 5000, options, &format!("{} {way} {channels} channels", device.name));
            }
        }
    }
}
