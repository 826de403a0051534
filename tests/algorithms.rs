//! Every algorithm is proved, in and out of place, for every number of ranks that it is defined for, and has the shape that
//! the README promises: steps, traffic, slots, signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Instant;

use common::{defined, other_variants, variants};
use wgccl::collective::Collective;
use wgccl::plan::{Mode, Plan};
use wgccl::schedule::{Algorithm, BuildError, Schedule, Sync, build};
use wgccl::verify::{Options, Proof, check, prove};

fn neighbor(algorithm: Algorithm, ranks: u32) -> Schedule {
    build(Collective::AllReduce, algorithm, ranks, Sync::Neighbor).unwrap()
}

#[test]
fn every_variant_is_proved_for_every_number_of_ranks() {
    for variant in variants((1..=17).chain([24, 32, 33, 64])) {
        let report = check(&variant.schedule(), variant.options());
        // Its name says it: with three ranks and more each adds in an order of its own.
        let differs = variant.algorithm == Algorithm::OnePhaseOwnFirst && variant.ranks > 2;
        for outcome in &report.proofs {
            let expected = !(differs && outcome.proof == Proof::BitIdentical);
            assert_eq!(outcome.ok, expected, "{variant}, {}\n{report}\n{:?}", outcome.proof, report.proofs);
        }
    }
}

#[test]
fn every_other_collective_is_proved_for_any_number_of_ranks_and_root() {
    for variant in other_variants((1..=9).chain([17, 33])) {
        let report = check(&variant.schedule(), variant.options());
        assert!(report.proofs.iter().all(|proof| proof.ok), "{variant}\n{report}\n{:?}", report.proofs);
    }
}

#[test]
fn own_first_is_reported_as_information() {
    let report = check(&neighbor(Algorithm::OnePhaseOwnFirst, 4), Options::default());
    assert!(report.ok());
    let outcome = report.outcome(Proof::BitIdentical).unwrap();
    assert_eq!(outcome.findings[0].message, "chunk 0: rank 2, 3 adds in another order than rank 0");
}

#[test]
fn powers_of_two_only() {
    let build = |algorithm, ranks| build(Collective::AllReduce, algorithm, ranks, Sync::Neighbor);
    for algorithm in Algorithm::of(Collective::AllReduce) {
        for ranks in (1..=70).chain([4095, 4096]).filter(|&ranks| !defined(algorithm, ranks)) {
            assert_eq!(build(algorithm, ranks), Err(BuildError::PowerOfTwo { algorithm, ranks }));
        }
    }
    assert_eq!(
        build(Algorithm::HalvingDoubling, 6).unwrap_err().to_string(),
        "halving-doubling needs a power of two: take 4 or 8 ranks instead of 6, or an algorithm for any number of ranks, \
         such as tree or ring"
    );
    let above = build(Algorithm::RecursiveDoubling, 3000).unwrap_err().to_string();
    assert!(above.contains("take 2048 or 4096 ranks instead of 3000"), "{above}");
}

#[test]
fn only_rounds_can_have_barriers() {
    use Algorithm::{BidirectionalRing, Ring, RingExchange, RingStaged};
    for algorithm in Algorithm::of(Collective::AllReduce) {
        let built = build(Collective::AllReduce, algorithm, 4, Sync::Barrier);
        match algorithm {
            Ring | RingStaged | RingExchange | BidirectionalRing => assert!(built.is_ok(), "{algorithm}"),
            _ => assert_eq!(built, Err(BuildError::Sync(algorithm, Sync::Barrier))),
        }
    }
}

/// What a schedule of some number of ranks is made of.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    /// Dispatches in per-step mode: links of the longest chain of waits.
    steps: u32,
    /// Payloads read or written, by all ranks together.
    payloads: u32,
    /// Slots of a rank that are written.
    slots: u32,
    /// Signals of a rank, of which each is a counter.
    signals: u32,
    /// Of all ranks.
    lanes: u32,
}

fn shape(schedule: Schedule) -> Shape {
    let instructions = || schedule.lanes.iter().flat_map(|lane| &lane.instructions);
    let chunks: usize = instructions().map(|i| (i.from.len() + i.to.len()) * i.chunks as usize).sum();
    assert_eq!(chunks % schedule.chunks as usize, 0);
    let signals = (0..schedule.ranks).map(|rank| {
        let notifies = schedule.lanes.iter().flat_map(|lane| {
            let notifies = lane.instructions.iter().flat_map(|i| &i.notifies);
            notifies.filter(|notify| notify.peer == rank).map(|notify| (notify.row, lane.rank))
        });
        notifies.collect::<std::collections::BTreeSet<_>>().len() as u32
    });
    let signals = signals.max().unwrap();
    let (payloads, slots) = (chunks as u32 / schedule.chunks, schedule.slots_written());
    let lanes = schedule.lanes.len() as u32;
    let proved = prove(schedule, Options::default()).unwrap();
    let plan = Plan::new(&proved, Mode::PerStep, |_| 1, u64::MAX).unwrap();
    Shape { steps: plan.dispatches.len() as u32, payloads, slots, signals, lanes }
}

#[test]
fn every_algorithm_has_its_shape() {
    let mut text = format!("{:22}ranks  steps payloads  slots signals lanes\n", "");
    for algorithm in Algorithm::of(Collective::AllReduce) {
        for p in (1..=17).chain([24, 32, 33, 64]).filter(|&ranks| defined(algorithm, ranks)) {
            let log = p.next_power_of_two().ilog2();
            let (rounds, even) = (2 * (p - 1), p % 2 == 0);
            let got = shape(neighbor(algorithm, p));
            let (steps, payloads, slots, signals, lanes) = match (algorithm, p) {
                (Algorithm::RingStaged, _) => (rounds + 1, 5 * (p - 1) + 4 * p, p, rounds, p),
                // An instruction publishes, the next one reads what the left neighbour has published.
                (Algorithm::RingExchange, 1) => (1, 4, 1, 0, p),
                (Algorithm::RingExchange, 2) => (4, 17, 3, 2, p),
                (Algorithm::RingExchange, _) => (2 * rounds, 9 * (p - 1) + 4 * p, p + 1, 2 * rounds - 1, p),
                (Algorithm::BidirectionalRing | Algorithm::Tree, 1) => (1, 2, 0, 0, 2),
                (_, 1) => (1, 2, 0, 0, 1),
                (Algorithm::Ring, _) => (rounds, 5 * (p - 1), p - 2, rounds - 1, p),
                (Algorithm::BidirectionalRing, _) => (rounds, 5 * (p - 1), 0, 2 * (rounds - 1), 2 * p),
                (Algorithm::Ibing, 2) => (2, 10, 2, 1, p),
                (Algorithm::Ibing, _) if even => (p - 1, 5 * p - 4, 2, 2, p),
                (Algorithm::Ibing, _) => (p - 1, 5 * p - 7, 0, 2, p),
                (Algorithm::Direct, _) => (1, 2 * p, 0, 0, p),
                (Algorithm::OnePhase | Algorithm::OnePhaseOwnFirst, _) => (2, p * (p + 3), 1, p - 1, p),
                (Algorithm::TwoPhase, _) => (2, 3 * p - 1, 0, p - 1, p),
                // In place two ranks may overwrite their inputs only when both have been read.
                (Algorithm::RecursiveDoubling, 2) => (2, 10, 1, 1, p),
                (Algorithm::RecursiveDoubling, _) => (log, 3 * p * log, (log - 1).min(2), log, p),
                (Algorithm::HalvingDoubling, _) => (2 * log, 5 * (p - 1), 0, log, p),
                // Of each tree half of the ranks are inner ones, all but the root have a parent, and who is both has two
                // lanes. Three neighbours notify an inner rank, one a leaf; small trees have less.
                (Algorithm::Tree, _) => {
                    let inner = p.div_ceil(2);
                    let signals = if p < 9 { got.signals.min(4) } else { 4 };
                    (2 * log, 3 * (p - 1) + 2 * inner, 0, signals, 2 * (inner + p - 1))
                }
                _ => unreachable!(),
            };
            text += &format!(
                "{algorithm:22}{p:5}{:7}{:9}{:7}{:8}{:6}\n",
                got.steps, got.payloads, got.slots, got.signals, got.lanes
            );
            assert_eq!(got, Shape { steps, payloads, slots, signals, lanes }, "{algorithm}, {p} ranks");
        }
    }
    println!("{text}");
}

/// No limit: the time is for the reader, and a proof that were quadratic in the instructions would not come back.
#[test]
fn many_ranks_are_proved() {
    for (algorithm, ranks) in [
        (Algorithm::Ring, 1024),
        (Algorithm::BidirectionalRing, 512),
        (Algorithm::Ibing, 256),
        (Algorithm::Direct, 2048),
        (Algorithm::OnePhase, 1024),
        (Algorithm::TwoPhase, 256),
        (Algorithm::RecursiveDoubling, 4096),
        (Algorithm::HalvingDoubling, 2048),
        (Algorithm::Tree, 1024),
    ] {
        let schedule = neighbor(algorithm, ranks);
        let start = Instant::now();
        assert!(check(&schedule, Options::default()).ok());
        println!("{algorithm}, {ranks} ranks, {} instructions: {:?}", schedule.instructions(), start.elapsed());
    }
}
