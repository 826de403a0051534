//! Every schedule is proved, in and out of place, for every root.

mod common;

use wgccl::collective::Collective;
use wgccl::schedule::{Algorithm, Sync, build};
use wgccl::verify::{self, Options};

#[test]
fn every_variant_is_proved_for_any_number_of_ranks() {
    for variant in common::variants((1..=17).chain([33, 64])) {
        let report = verify::check(&variant.schedule(), variant.options());
        assert!(report.proofs.iter().all(|proof| proof.ok), "{variant}\n{report}\n{:?}", report.proofs);
    }
}

#[test]
fn every_other_collective_is_proved_for_any_number_of_ranks_and_root() {
    for variant in common::other_variants((1..=9).chain([17, 33])) {
        let report = verify::check(&variant.schedule(), variant.options());
        assert!(report.proofs.iter().all(|proof| proof.ok), "{variant}\n{report}\n{:?}", report.proofs);
    }
}

/// Not a timed test: it would merely take very long if a proof were quadratic in the number of instructions.
#[test]
fn a_ring_of_256_ranks_is_proved() {
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 256, Sync::Neighbor).unwrap();
    let start = std::time::Instant::now();
    assert!(verify::check(&schedule, Options::default()).ok());
    println!("256 ranks, {} instructions: {:?}", schedule.instructions(), start.elapsed());
}
