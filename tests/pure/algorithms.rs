//! Every algorithm is proved, in and out of place, for every number of ranks that it is defined for, and has the shape that
//! docs/algorithms.md promises: steps, traffic, slots, signals.

use std::time::Instant;

use wgccl::collective::{Collective, Task};
use wgccl::low_level::lower::Plan;
use wgccl::lower::Mode;
use wgccl::proof::{Options, Proof, check, prove};
use wgccl::schedule::{Algorithm, BuildError, Groups, Schedule, SyncStyle, build};

use crate::common::{defined, other_variants, variants};

fn neighbor(algorithm: Algorithm, ranks: u32) -> Schedule {
    build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap()
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
    for variant in other_variants((1..=17).chain([33, 64])) {
        let report = check(&variant.schedule(), variant.options());
        assert!(report.proofs.iter().all(|proof| proof.ok), "{variant}\n{report}\n{:?}", report.proofs);
    }
}

#[test]
fn own_first_is_reported_as_information() {
    let report = check(&neighbor(Algorithm::OnePhaseOwnFirst, 4), Options::default());
    assert!(report.ok());
    let outcome = report.outcome(Proof::BitIdentical).unwrap();
    assert_eq!(outcome.findings[0].message, "chunk 0: ranks 2, 3 add in another order than rank 0");
}

#[test]
fn powers_of_two_only() {
    let mut names = Vec::new();
    for &collective in Collective::ALL {
        for algorithm in Algorithm::of(collective) {
            for ranks in (1..=70).chain([4095, 4096]).filter(|&ranks| !defined(algorithm, ranks)) {
                let built = build(collective, algorithm, ranks, SyncStyle::Neighbor);
                assert_eq!(built, Err(BuildError::PowerOfTwo { algorithm, ranks }), "{collective}");
            }
            names.extend((!defined(algorithm, 3)).then(|| format!("{collective} {algorithm}")));
        }
    }
    let all = ["all-reduce recursive-doubling", "all-reduce halving-doubling", "all-gather recursive-doubling"];
    assert_eq!(names, [&all[..], &["reduce-scatter halving"]].concat());
    let text = |collective: Collective, algorithm, ranks| {
        build(collective, algorithm, ranks, SyncStyle::Neighbor).unwrap_err().to_string()
    };
    assert_eq!(
        text(Collective::AllReduce, Algorithm::HalvingDoubling, 6),
        "halving-doubling needs a power of two: take 4 or 8 ranks instead of 6, or an algorithm for any number of ranks, \
         such as ring"
    );
    let above = text(Collective::AllGather, Algorithm::RecursiveDoubling, 3000);
    assert!(above.contains("take 2048 or 4096 ranks instead of 3000"), "{above}");
    // What it advises exists.
    for collective in [Collective::AllReduce, Collective::AllGather, Collective::ReduceScatter] {
        assert!(build(collective, Algorithm::Ring, 6, SyncStyle::Neighbor).is_ok());
    }
}

#[test]
fn only_rounds_can_have_barriers() {
    use Algorithm::{BidirectionalRing, Ring, RingExchange, RingStaged};
    use Collective::{AllGather, AllReduce, ReduceScatter};
    for &collective in Collective::ALL {
        for algorithm in Algorithm::of(collective) {
            let built = build(collective, algorithm, 4, SyncStyle::Barrier);
            match (collective, algorithm) {
                (AllReduce, Ring | RingStaged | RingExchange | BidirectionalRing)
                | (AllGather | ReduceScatter, Ring) => assert!(built.is_ok(), "{collective} {algorithm}"),
                _ => assert_eq!(built, Err(BuildError::Sync { collective, algorithm, sync: SyncStyle::Barrier })),
            }
        }
    }
}

/// What a schedule of some number of ranks is made of.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    /// Dispatches in per-step mode: links of the longest chain of waits.
    steps: u32,
    /// Payloads, or parts where a buffer has several, read or written, by all ranks together.
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

fn ranks() -> impl Iterator<Item = u32> {
    (1..=17).chain([24, 32, 33, 64])
}

fn sizes(groups: &Groups) -> Vec<u32> {
    (0..groups.count()).map(|group| groups.size(group)).collect()
}

/// Stages in which so many groups exchange, and whose sums a group reads in all of them: by the prime factors.
fn stages(count: u32) -> (u32, u32) {
    let (mut stages, mut read, mut left) = (0, 0, count);
    for factor in 2..=count {
        while left.is_multiple_of(factor) {
            (stages, read, left) = (stages + 1, read + factor, left / factor);
        }
    }
    (stages, read)
}

fn columns(groups: &Groups) -> u32 {
    let gcd = |mut a: u32, mut b: u32| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    sizes(groups).iter().fold(1, |a, &b| a * b / gcd(a, b))
}

/// Columns of which a rank is the holder, at most.
fn held(groups: &Groups) -> u32 {
    sizes(groups).iter().map(|&size| columns(groups).div_ceil(size)).max().unwrap_or(0)
}

/// Slots that a rank writes at most: in an all-reduce by hierarchical, and in a reduce-scatter.
fn of_groups(groups: &Groups) -> (u32, u32) {
    let (count, held) = (groups.count(), held(groups));
    let sizes = sizes(groups);
    // Of each column: the own group's chunks, and sums of several groups but for the last one, which is output.
    let all_reduce = if count > 1 { held * (2 * count - 2) } else { 0 };
    // Of each other group whose sum is formed here: the places for which the first rank stands.
    let of = |group: usize| -> u32 {
        let others = (0..sizes.len()).filter(|&other| other != group);
        others.map(|other| sizes[other].div_ceil(sizes[group])).sum()
    };
    (all_reduce, (0..sizes.len()).map(of).max().unwrap_or(0))
}

/// The same for every root.
#[test]
fn every_algorithm_of_another_collective_has_its_shape() {
    use Algorithm::{Dissemination, Halving, Hierarchical, Mesh, RecursiveDoubling, Ring, Tree};
    use Collective::{AllGather, AllToAll, Barrier, Broadcast, Gather, Reduce, ReduceScatter, Scatter, SendRecv};
    let mut text = format!("{:33}ranks  steps    parts  slots signals lanes\n", "");
    for &collective in Collective::ALL.iter().filter(|&&collective| collective != Collective::AllReduce) {
        for algorithm in Algorithm::of(collective) {
            for p in ranks().filter(|&ranks| defined(algorithm, ranks)) {
                let log = p.next_power_of_two().ilog2();
                // Ranks that add in a tree, the root among them; in a ring all but the last one.
                let inner = if algorithm == Tree { p.div_ceil(2) } else { p - 1 }.max(1);
                let shape_of =
                    |root| shape(build(Task::from(collective).root(root), algorithm, p, SyncStyle::Neighbor).unwrap());
                let got = shape_of(0);
                let slot = u32::from(p > 2);
                let groups = Groups::usual(p);
                let of = |limit: u32| got.signals.min(limit);
                let (steps, payloads, slots, signals, lanes) = match (collective, algorithm) {
                    (Barrier, Mesh) => (if p > 1 { 2 } else { 1 }, 0, 0, p - 1, p),
                    (Barrier, Dissemination) => (log + 1, 0, 0, log, p),
                    (AllGather | AllToAll, Mesh) => (1, 2 * p * p, 0, 0, p),
                    (ReduceScatter, Mesh) => (1, p * (p + 1), 0, 0, p),
                    (Reduce, Mesh) => (1, p + 1, 0, 0, p),
                    (Broadcast | Scatter | Gather | SendRecv, Mesh) => (1, 2 * p, 0, 0, p),
                    // A copy of the own part, and P-1 rounds.
                    (AllGather, Ring) => ((p - 1).max(1), 2 * p * p, 0, p.saturating_sub(2), p),
                    (AllGather, RecursiveDoubling) => (log.max(1), 2 * p * p, 0, log.saturating_sub(1), p),
                    (ReduceScatter, _) if p == 1 => (1, 2, 0, 0, 1),
                    (ReduceScatter, Ring) => (p - 1, 3 * p * (p - 1), p - 2, p - 2, p),
                    (ReduceScatter, Halving) => (log, 3 * p * (p - 1), slot * p / 2, log - 1, p),
                    // Each part goes 1, 2, ..., P-1 steps, and the own one none.
                    (AllToAll, Ring) => {
                        let slots = if p > 3 { 2 * p - 5 } else { slot };
                        (p.max(2) - 1, 2 * p + p * p * (p - 1), slots, got.signals.min(2), p)
                    }
                    (Broadcast, Ring) => (p.max(2) - 1, 2 * p, 0, slot, p),
                    (Broadcast, Tree) => (log.max(1), 2 * p, 0, slot, p),
                    // What inner ranks keep is written and read.
                    (Reduce, Ring) => (p.max(2) - 1, p + 2 * inner - 1, slot * 8, slot, inner),
                    (Reduce, Tree) => (log.max(1), p + 2 * inner - 1, slot * log, got.signals.min(2), inner),
                    // Groups have several ranks, so in the end every group takes from its holder.
                    (AllGather, Hierarchical) => (groups.count(), 2 * p * p, 0, of(p - 1), p),
                    (ReduceScatter, Hierarchical) => {
                        let count = groups.count();
                        (count, p * p + (2 * count - 1) * p, of_groups(&groups).1, of(count - 1), p)
                    }
                    (Broadcast, Hierarchical) => (groups.count(), 2 * p, 0, u32::from(groups.count() > 1), p),
                    _ => panic!("{collective} by {algorithm}: nobody has written down its shape"),
                };
                text += &format!(
                    "{:33}{p:5}{:7}{:9}{:7}{:8}{:6}\n",
                    format!("{collective} {algorithm}"),
                    got.steps,
                    got.payloads,
                    got.slots,
                    got.signals,
                    got.lanes
                );
                assert_eq!(
                    got,
                    Shape { steps, payloads, slots, signals, lanes },
                    "{collective}, {algorithm}, {p} ranks"
                );
                assert_eq!(shape_of(p - 1), got, "{collective}, {algorithm}, {p} ranks");
            }
        }
    }
    println!("{text}");
}

#[test]
fn every_algorithm_has_its_shape() {
    let mut text = format!("{:22}ranks  steps payloads  slots signals lanes\n", "");
    for algorithm in Algorithm::of(Collective::AllReduce) {
        for p in ranks().filter(|&ranks| defined(algorithm, ranks)) {
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
                (Algorithm::Hierarchical, _) => {
                    let groups = Groups::usual(p);
                    let (count, slots) = (groups.count(), of_groups(&groups).0);
                    (2 * count, 3 * p + 4 * count - 5, slots, got.signals.min(p - 1), p)
                }
                // Slots are those of a group's first rank.
                (Algorithm::HierarchicalOnePhase, _) => {
                    let groups = Groups::usual(p);
                    let (count, columns) = (groups.count(), columns(&groups));
                    match count {
                        1 => (1, 2 * p, 0, 0, p),
                        _ => (2, 2 * p + count + count * count, columns, got.signals.min(p - 1), p),
                    }
                }
                (Algorithm::HierarchicalDoubling, _) => {
                    let groups = Groups::usual(p);
                    let (count, columns) = (groups.count(), columns(&groups));
                    let (stages, read) = stages(count);
                    match count {
                        1 => (1, 2 * p, 0, 0, p),
                        _ => (1 + stages, 2 * p + count * (stages + read), columns * stages, got.signals.min(p - 1), p),
                    }
                }
                (Algorithm::HierarchicalTwoPhase, _) => {
                    let groups = Groups::usual(p);
                    let (count, columns) = (groups.count(), columns(&groups));
                    match count {
                        1 => (1, 2 * p, 0, 0, p),
                        _ => (3, 2 * p + 3 * count, columns * count, got.signals.min(p - 1), p),
                    }
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
    let all_reduce = [
        (Algorithm::Ring, 1024),
        (Algorithm::BidirectionalRing, 512),
        (Algorithm::Ibing, 256),
        (Algorithm::Direct, 2048),
        (Algorithm::OnePhase, 1024),
        (Algorithm::TwoPhase, 256),
        (Algorithm::RecursiveDoubling, 4096),
        (Algorithm::HalvingDoubling, 2048),
        (Algorithm::Tree, 1024),
        (Algorithm::Hierarchical, 256),
        (Algorithm::HierarchicalOnePhase, 256),
        (Algorithm::HierarchicalDoubling, 256),
        (Algorithm::HierarchicalTwoPhase, 256),
    ];
    let others = [
        (Collective::AllGather, Algorithm::Ring, 256),
        (Collective::AllGather, Algorithm::RecursiveDoubling, 1024),
        (Collective::ReduceScatter, Algorithm::Ring, 256),
        (Collective::ReduceScatter, Algorithm::Halving, 1024),
        (Collective::AllToAll, Algorithm::Ring, 64),
        (Collective::Broadcast, Algorithm::Ring, 1024),
        (Collective::Broadcast, Algorithm::Tree, 4096),
        (Collective::Reduce, Algorithm::Ring, 1024),
        (Collective::Reduce, Algorithm::Tree, 4096),
        (Collective::Barrier, Algorithm::Dissemination, 4096),
    ];
    let all_reduce = all_reduce.map(|(algorithm, ranks)| (Collective::AllReduce, algorithm, ranks));
    for (collective, algorithm, ranks) in all_reduce.into_iter().chain(others) {
        let schedule = build(collective, algorithm, ranks, SyncStyle::Neighbor).unwrap();
        let start = Instant::now();
        assert!(check(&schedule, Options::default()).ok());
        let instructions = schedule.instructions();
        println!("{collective}, {algorithm}, {ranks} ranks, {instructions} instructions: {:?}", start.elapsed());
    }
}
