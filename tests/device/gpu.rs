//! The GPU executor agrees with the golden in every bit where `tests/device/matrix.rs` does not go: every count and number of
//! ranks, large payloads, pieces, channels, limits; with hashed and with random inputs, launched twice on one window.
//!
//! The executor knows no algorithm, so the rule is: **the ring, out of place, is launched with every number of ranks and
//! every count in every sound mode. Every other all-reduce, sync and placement, is launched only with the numbers of ranks
//! that the matrix leaves out, and with a third of the pairs of count and mode, in turn; with a large count it is launched
//! only out of place, with two numbers of ranks.**

use std::collections::BTreeMap;
use std::time::Instant;

use wgccl::backend::{Options, Ready};
use wgccl::collective::{Collective, Op};
use wgccl::golden::Goldens;
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

/// Calls `each` with what launches `proved` on a device, twice on one window, with hashed and then with random inputs, and
/// compares every bit. Inputs and goldens are the same on every device, so they are made once.
fn launches(proved: &Proved, count: usize, each: impl FnOnce(&dyn Fn(&Device, Options, &str))) {
    let ranks = proved.schedule().ranks;
    let payload = Payload::new(proved.schedule(), count, 4).unwrap();
    let fills = [(1, Fill::Exact), (2, Fill::Normal)];
    let inputs = fills.map(|(seed, fill)| (0..ranks).map(|rank| generate(fill, seed, rank, ranks, count)).collect());
    let inputs = inputs.each_ref().map(|inputs: &Vec<Vec<f32>>| inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let goldens = inputs.each_ref().map(|inputs| Goldens::new(proved, &payload, Op::Sum, inputs).unwrap());
    each(&|device, options, case| {
        let mut executor = Typed::<f32>::new(&device.gpu, proved, count, Op::Sum, options)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        for ((inputs, goldens), (_, fill)) in inputs.iter().zip(&goldens).zip(fills) {
            agrees(&mut executor, proved, inputs, goldens, &format!("{case} {fill}"), fill == Fill::Exact);
        }
    });
}

/// One launch; `exact` inputs have sums without rounding.
fn agrees(
    executor: &mut Typed<f32>,
    proved: &Proved,
    inputs: &[&[f32]],
    goldens: &Goldens<'_, f32>,
    case: &str,
    exact: bool,
) {
    let in_place = proved.options().in_place;
    let mut outputs: Vec<Vec<f32>> = match in_place {
        true => inputs.iter().map(|input| input.to_vec()).collect(),
        false => inputs.iter().map(|input| vec![f32::NAN; input.len()]).collect(),
    };
    let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let launched = match in_place {
        true => executor.run_in_place(&mut views),
        false => executor.run(inputs, &mut views),
    };
    launched.unwrap_or_else(|error| panic!("{case}: {error}"));
    let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
    let comparison = goldens.compare(&outputs).unwrap();
    assert_eq!(comparison.wrong, 0, "{case}: {comparison:?}");
    let identical = comparison.bit_identical || !proved.report().holds(Proof::BitIdentical);
    assert!(identical, "{case}: ranks differ");
    let rounded = comparison.accuracy.backward.is_some_and(|worst| worst.error != 0.0);
    assert!(!exact || !rounded, "{case}: {comparison:?}");
}

fn is_ring(variant: &Variant) -> bool {
    (variant.algorithm, variant.sync, variant.in_place) == (Algorithm::Ring, SyncStyle::Neighbor, false)
}

/// Every count for the ring, and for the `others` a third of the pairs of count and mode: over three schedules every count
/// meets every mode.
fn matrix(others: impl Fn(&Variant) -> bool, counts: impl Fn(u32) -> Vec<usize>) {
    let _turn = one_at_a_time();
    let (start, mut cases, mut schedules) = (Instant::now(), BTreeMap::<&str, usize>::new(), 0);
    for variant in variants(RANKS).into_iter().filter(|variant| is_ring(variant) || others(variant)) {
        let proved = prove(variant.schedule(), variant.options()).unwrap();
        for (c, &count) in counts(variant.ranks).iter().enumerate() {
            launches(&proved, count, |launch| {
                for device in devices() {
                    for (m, way) in device.sound().into_iter().enumerate() {
                        if !is_ring(&variant) && (c + m + schedules) % 3 != 0 {
                            continue;
                        }
                        launch(device, way.options(), &format!("{} {way} {variant} x {count}", device.name));
                        *cases.entry(&device.name).or_default() += 1;
                    }
                }
            });
        }
        schedules += 1;
    }
    println!("cases of two launches each: {cases:?}; {:.1?}", start.elapsed());
}

#[test]
fn every_small_count() {
    matrix(|variant| [7, 33].contains(&variant.ranks), small_counts);
}

#[test]
fn a_large_count() {
    matrix(|variant| !variant.in_place && [7, 8].contains(&variant.ranks), |_| vec![LARGE]);
}

fn all_reduce(algorithm: Algorithm, ranks: u32, in_place: bool) -> Proved {
    let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
    prove(schedule, proof::Options::default().in_place(in_place)).unwrap()
}

#[test]
fn payloads_above_a_binding_go_in_pieces() {
    let _turn = one_at_a_time();
    for (ranks, count, in_place) in [(2, 100_000, false), (3, 99_999, false), (5, 1 << 18, true), (16, 20_001, false)] {
        let proved = all_reduce(Algorithm::RingStaged, ranks, in_place);
        launches(&proved, count, |launch| {
            for device in devices() {
                for way in device.sound() {
                    let options = way.options().arena_bytes(256 << 10);
                    let Typed { executor, .. } =
                        Typed::<f32>::new(&device.gpu, &proved, count, Op::Sum, options).unwrap();
                    assert!(executor.prepared().pieces > 1, "{:?}", executor.prepared());
                    drop(executor);
                    launch(device, options, &format!("{} {way} {ranks} x {count} in pieces", device.name));
                }
            }
        });
    }
}

/// One channel over a chunk this large would make more loop turns in one instruction than llvmpipe allows: it takes more
/// channels than were asked for, or pieces. Input and output are also more than the 128 MiB that llvmpipe's bindings hold.
#[test]
fn an_instruction_above_the_loop_limit_is_cut() {
    const COUNT: usize = 17 << 20;
    let _turn = one_at_a_time();
    let proved = all_reduce(Algorithm::Ring, 1, false);
    launches(&proved, COUNT, |launch| {
        for device in devices() {
            let options = Options::default().channels(1);
            let Typed { executor, .. } = Typed::<f32>::new(&device.gpu, &proved, COUNT, Op::Sum, options).unwrap();
            // Hardware has wider groups, and need not cut it.
            let prepared = executor.prepared();
            let cut = prepared.channels > 1 || prepared.pieces > 1;
            assert!(cut || !device.gpu.info().is_software(), "{}", device.name);
            println!("{}: {prepared:?}", device.name);
            drop(executor);
            launch(device, options, &format!("{} 1 x {COUNT}", device.name));
        }
    });
}

/// As many ranks as a device takes, by schedules with the fewest and with the most steps, in the mode that it would choose.
#[test]
fn the_most_ranks_agree_with_the_golden() {
    let _turn = one_at_a_time();
    for (ranks, in_place, algorithms) in [
        (MAX_RANKS, false, &[Algorithm::Direct, Algorithm::RecursiveDoubling, Algorithm::Tree, Algorithm::Ring][..]),
        (MAX_RANKS, true, &[Algorithm::HalvingDoubling]),
        (MAX_RANKS - 1, false, &[Algorithm::OnePhase, Algorithm::BidirectionalRing]),
    ] {
        for &algorithm in algorithms {
            launches(&all_reduce(algorithm, ranks, in_place), 1000, |launch| {
                for device in devices() {
                    launch(device, Options::default(), &format!("{} {algorithm} {ranks} ranks", device.name));
                }
            });
        }
    }
}

#[test]
fn any_number_of_channels_gives_the_same_bits() {
    let _turn = one_at_a_time();
    launches(&all_reduce(Algorithm::Ring, 4, false), 5000, |launch| {
        for device in devices() {
            for way in device.sound() {
                for channels in [1, 2, 3, 16, 1000] {
                    let options = way.options().channels(channels);
                    launch(device, options, &format!("{} {way} {channels} channels", device.name));
                }
            }
        }
    });
}
