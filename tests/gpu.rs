//! The GPU executor agrees with the golden in every bit: every variant, any size, every device, every sound mode.
//!
//! The whole product of cases would take hours on two cores. The rule of thinning: every (variant, sync, ranks, mode)
//! runs on every device with a count that rotates through the list, so that each count meets each of them somewhere;
//! the largest count runs with the default variant at every number of ranks and in every mode.

#![cfg(feature = "gpu")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Device, devices};
use wgccl::collective::{Collective, Op};
use wgccl::golden::compare;
use wgccl::gpu::{Choice, Executor, LaunchError, Options, Support};
use wgccl::hang::{Fault, Silence};
use wgccl::inputs::{Fill, generate};
use wgccl::plan::Mode;
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, Phase, Schedule, Sync, build};
use wgccl::verify::{self, Proved, prove};
use wgccl::window::Payload;

const RANKS: [u32; 9] = [1, 2, 3, 4, 5, 7, 8, 16, 33];
const LARGE: usize = (1 << 18) + 3;

fn counts(ranks: u32) -> Vec<usize> {
    let p = ranks as usize;
    let mut counts = vec![1, 3, p.saturating_sub(1), p, 255, 256, 1000];
    counts.retain(|&count| count > 0);
    counts
}

fn proved(algorithm: Algorithm, sync: Sync, ranks: u32, in_place: bool) -> Proved {
    let schedule = build(Collective::AllReduce, algorithm, ranks, sync).unwrap();
    prove(schedule, verify::Options { in_place }).unwrap()
}

fn sound_modes(device: &Device) -> Vec<Mode> {
    Mode::ALL.iter().copied().filter(|&mode| device.gpu.info().support(mode) == Support::Sound).collect()
}

/// Launches twice on one window, with hashed and then with random inputs, and compares every bit.
fn agrees(device: &Device, proved: &Proved, count: usize, options: Options, case: &str) {
    let schedule = proved.schedule();
    let payload = Payload::new(schedule, count, 4).unwrap();
    let mut executor = Executor::<f32>::new(&device.gpu, proved, payload, Op::Sum, options)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    for (seed, fill) in [(1, Fill::Exact), (2, Fill::Normal)] {
        let inputs: Vec<Vec<f32>> =
            (0..schedule.ranks).map(|rank| generate(fill, seed, rank, schedule.ranks, count)).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<Vec<f32>> = if proved.options().in_place {
            inputs.iter().map(|input| input.to_vec()).collect()
        } else {
            vec![vec![f32::NAN; count]; schedule.ranks as usize]
        };
        let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let launched = match proved.options().in_place {
            true => executor.run_in_place(&mut views),
            false => executor.run(&inputs, &mut views),
        };
        launched.unwrap_or_else(|error| panic!("{case}: {error}"));
        let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
        let comparison = compare(proved, &payload, Op::Sum, &inputs, &outputs);
        assert_eq!(comparison.wrong, 0, "{case} {fill}: {comparison:?}");
        assert!(comparison.bit_identical, "{case} {fill}: ranks differ");
        assert!(fill == Fill::Normal || comparison.max_ulp == 0.0, "{case} {fill}: {comparison:?}");
    }
}

#[test]
fn every_variant_on_every_device_in_every_sound_mode() {
    let (mut cases, mut rotation) = (0, 0);
    for device in devices() {
        for mode in sound_modes(device) {
            for &algorithm in Algorithm::ALL {
                for &sync in Sync::ALL {
                    for ranks in RANKS {
                        let counts = counts(ranks);
                        let count = counts[rotation % counts.len()];
                        rotation += 1;
                        let in_place = rotation % 4 == 0;
                        let case = format!("{} {mode} {algorithm} {sync} {ranks} x {count}", device.name);
                        let proved = proved(algorithm, sync, ranks, in_place);
                        let options = Options { dispatch: Choice::Named(mode), ..Options::default() };
                        agrees(device, &proved, count, options, &case);
                        cases += 1;
                    }
                }
            }
        }
    }
    println!("{cases} cases");
}

#[test]
fn a_large_payload_at_every_number_of_ranks_in_every_sound_mode() {
    for device in devices() {
        for mode in sound_modes(device) {
            for ranks in RANKS {
                let case = format!("{} {mode} {ranks} x {LARGE}", device.name);
                let options = Options { dispatch: Choice::Named(mode), ..Options::default() };
                agrees(device, &proved(Algorithm::Ring, Sync::Neighbor, ranks, false), LARGE, options, &case);
            }
        }
    }
}
