//! Every algorithm is broken in every small way; the proofs must notice, or brute force must show that nothing broke.

use std::collections::BTreeMap;

use wgccl::collective::Collective;
use wgccl::proof::{Options, Proof, Verdict, check};
use wgccl::schedule::{Algorithm, At, Edit, Notify, Schedule, Signal, SyncStyle, Wait, build};

use crate::common::edit::{Kind, Kinds, instructions};
use crate::common::oracle::truth;
use crate::common::{Variant, other_variants, variants};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    mutants: u32,
    /// Refused, and brute force finds it wrong too.
    reported: u32,
    /// Refused although it would run right: a notify is left over that nobody waits for.
    strict: u32,
    /// Proved, and brute force finds it right.
    equivalent: u32,
}

/// The report says of every proof just what brute force says; only proof 1 may be stricter.
fn judge(mutant: &Schedule, variant: Variant, edit: Edit, count: &mut Count) {
    let report = check(mutant, variant.options());
    let truth = truth(mutant, variant.nccl(), variant.in_place);
    let name = || format!("{variant}, {edit:?}\n{truth:?}\n{report}");
    let verdict = |proof| report.outcome(proof).unwrap().verdict;
    let failed = |proof| verdict(proof) == Verdict::Fails;
    assert_eq!(verdict(Proof::DeadlockFree) == Verdict::NotReached, truth.malformed, "{}", name());
    assert_eq!(failed(Proof::DeadlockFree), truth.deadlock, "{}", name());
    assert_eq!(failed(Proof::RaceFree), truth.race || truth.erases, "{}", name());
    // Of several interleavings one decides nothing.
    let later = [Proof::Result, Proof::BitIdentical, Proof::Initialised];
    let undecided = truth.malformed || truth.deadlock || truth.race || truth.erases;
    assert_eq!(later.map(|proof| verdict(proof) == Verdict::NotReached), [undecided; 3], "{}", name());
    if !undecided {
        assert_eq!(failed(Proof::Result), truth.wrong, "{}", name());
        assert_eq!(failed(Proof::Initialised), truth.uninitialised, "{}", name());
    }
    count.mutants += 1;
    match (report.ok(), truth.good()) {
        (true, true) => count.equivalent += 1,
        (true, false) => panic!("neither reported nor equivalent: {}", name()),
        (false, false) => count.reported += 1,
        (false, true) => {
            let findings = &report.outcome(Proof::Structure).unwrap().findings;
            let unawaited = findings.iter().all(|f| f.message.contains("but nobody waits for it"));
            assert!(failed(Proof::Structure) && unawaited, "{}", name());
            count.strict += 1;
        }
    }
}

/// Numbers of mutants by kind.
fn count(title: &str, variants: impl IntoIterator<Item = Variant>) -> BTreeMap<(String, Kind), Count> {
    let mut table = BTreeMap::<(String, Kind), Count>::new();
    for variant in variants {
        let schedule = variant.schedule();
        for edit in Edit::all(&schedule) {
            judge(
                &edit.apply(&schedule).unwrap(),
                variant,
                edit,
                table.entry((variant.family(), edit.kind())).or_default(),
            );
        }
    }
    let mut text = format!("{title:52}  mutants reported   strict equivalent\n");
    for ((family, kind), Count { mutants, reported, strict, equivalent }) in &table {
        text += &format!("{family:31}{kind:21} {mutants:8} {reported:8} {strict:8} {equivalent:10}\n");
        assert_eq!(*mutants, reported + strict + equivalent);
    }
    println!("{text}");
    table
}

fn sweep(is_ring: bool, sync: SyncStyle) {
    let variants = variants(2..=8).into_iter().filter(|variant| (variant.is_ring(), variant.sync) == (is_ring, sync));
    for ((family, kind), Count { mutants, reported, equivalent, .. }) in
        count("2 to 8 ranks, in and out of place", variants)
    {
        match kind {
            Kind::Operands => assert_eq!(equivalent, mutants, "{family}: sums are commutative"),
            // Two ranks wait for each other in place only: out of place nothing is overwritten.
            Kind::Row | Kind::RowWaits if family.starts_with("recursive-doubling") => {}
            Kind::Notify | Kind::Zero | Kind::Row | Kind::RowWaits => assert_eq!(reported, mutants, "{family}, {kind}"),
            // What makes the neighbour ring cheap is also that nothing in it can go.
            Kind::Wait | Kind::Pair | Kind::Rank if is_ring && sync == SyncStyle::Neighbor => {
                // Where chunks travel to the left, the next rank has had the complete chunk even before.
                let earlier = kind == Kind::Rank && family.starts_with("bidirectional");
                assert!(reported == mutants || earlier, "{family}, {kind}");
            }
            _ => {}
        }
    }
}

/// Roots and places as well.
#[test]
fn every_mutant_of_the_other_collectives_is_reported_or_equivalent() {
    let table = count("2 to 5 ranks, every root, in and out of place", other_variants(2..=5));
    for &collective in Collective::ALL.iter().filter(|&&collective| collective != Collective::AllReduce) {
        for algorithm in Algorithm::of(collective) {
            // Without payload there are no operands and destinations to get wrong, and without waits nothing else.
            let waits = collective == Collective::Barrier || algorithm != Algorithm::Mesh;
            let kinds = [Kind::Wait, Kind::Notify, Kind::Pair, Kind::Row, Kind::RowWaits];
            for &kind in kinds.iter().filter(|_| waits).chain(&[Kind::Rank]) {
                let Count { mutants, reported, .. } = table[&(format!("{collective} {algorithm} neighbor"), kind)];
                // In a tree the next rank may be one further up, who has had the chunk even before.
                let earlier = (collective, algorithm, kind) == (Collective::Broadcast, Algorithm::Tree, Kind::Rank);
                assert!(
                    mutants > 0 && (reported == mutants || earlier),
                    "{collective} {algorithm}, {kind}: {reported} of {mutants}"
                );
            }
        }
    }
}

// Several tests, so that they run at the same time.
#[test]
fn every_mutant_of_a_neighbor_ring_is_reported_or_equivalent() {
    sweep(true, SyncStyle::Neighbor);
}

#[test]
fn every_mutant_of_a_barrier_ring_is_reported_or_equivalent() {
    sweep(true, SyncStyle::Barrier);
}

#[test]
fn every_mutant_of_another_algorithm_is_reported_or_equivalent() {
    sweep(false, SyncStyle::Neighbor);
}

/// No schedule has a wait too many: without any one of them, and its notify, it is refused in place or out of place.
/// Barriers do, that is what they cost.
#[test]
fn every_wait_is_needed() {
    for &collective in Collective::ALL {
        for algorithm in Algorithm::of(collective) {
            for ranks in (2..=9).chain([16]).filter(|&ranks| crate::common::defined(algorithm, ranks)) {
                let schedule = build(collective, algorithm, ranks, SyncStyle::Neighbor).unwrap();
                let places = if collective.has_in_place() { &[false, true][..] } else { &[false] };
                for edit in Edit::all(&schedule).into_iter().filter(|edit| edit.kind() == Kind::Pair) {
                    let mutant = edit.apply(&schedule).unwrap();
                    let refused =
                        places.iter().any(|&in_place| !check(&mutant, Options::default().in_place(in_place)).ok());
                    assert!(refused, "{collective} by {algorithm}, {ranks} ranks: {edit:?}");
                }
            }
        }
    }
}

/// The cause comes first, whoever else then waits: the lane that waits, the signal, and the peer that is silent.
#[test]
fn a_dropped_notify_is_explained() {
    for variant in variants(2..=5) {
        let schedule = variant.schedule();
        for edit in Edit::all(&schedule) {
            let Edit::DropNotify(At { lane, instruction }, n) = edit else { continue };
            let (lane, index, n) = (lane as usize, instruction as usize, n as usize);
            let Notify { peer, row } = schedule.lanes[lane].instructions[index].notifies[n];
            let sender = schedule.lanes[lane].rank;
            let report = check(&edit.apply(&schedule).unwrap(), variant.options());
            let first = &report.outcome(Proof::DeadlockFree).unwrap().findings[0];
            let site = first.site.clone().unwrap();
            let waits = &schedule.lanes[site.lane as usize].instructions[site.instruction as usize].waits;
            let wait = waits.iter().rev().find(|wait| wait.row == row && wait.sender == sender);
            let name = format!("{variant}, {edit:?}: {}", first.message);
            assert_eq!(site.rank, peer, "{name}");
            assert_eq!(first.signal, Some(Signal { rank: peer, row, sender }), "{name}");
            let at_least = wait.expect(&name).at_least;
            let expected = format!(
                "rank {peer} {} (lane {}, instruction {}) waits for signal [row {row}][sender {sender}] of rank {peer} \
                 >= {at_least}, which is {}, and rank {sender} never notifies it",
                site.label,
                site.lane,
                site.instruction,
                at_least - 1
            );
            assert_eq!(first.message, expected, "{variant}, {edit:?}");
        }
    }
}

/// Dropping a wait of the neighbour ring is found twice: by the notify that is left over, and by what then races.
#[test]
fn a_dropped_wait_is_explained() {
    for variant in variants(2..=5).into_iter().filter(|v| v.is_ring() && v.sync == SyncStyle::Neighbor) {
        let schedule = variant.schedule();
        for edit in Edit::all(&schedule) {
            let Edit::DropWait(At { lane, instruction }, n) = edit else { continue };
            let (lane, index, n) = (lane as usize, instruction as usize, n as usize);
            let Wait { row, sender, at_least } = schedule.lanes[lane].instructions[index].waits[n];
            let signal = Signal { rank: schedule.lanes[lane].rank, row, sender };
            let report = check(&edit.apply(&schedule).unwrap(), variant.options());
            let unawaited = &report.outcome(Proof::Structure).unwrap().findings;
            let races = &report.outcome(Proof::RaceFree).unwrap().findings;
            // The exchange of two ranks sends "free" and "ready" on one signal: a wait for both is left.
            let shared = unawaited.is_empty() && variant.ranks == 2 && at_least == 1;
            assert!(shared || unawaited.iter().any(|f| f.signal == Some(signal)), "{variant}, {edit:?}\n{report}");
            let reader = races
                .iter()
                .any(|f| f.site.as_ref().is_some_and(|s| (s.lane, s.instruction) == (lane as u32, index as u32)));
            let other = format!("(lane {lane}, instruction {index})");
            assert!(reader || races.iter().any(|f| f.message.contains(&other)), "{variant}, {edit:?}\n{report}");
        }
    }
}

/// The erased notify is named, and so is who erases it.
#[test]
fn zeroing_in_kernel_is_explained() {
    for variant in variants(2..=8) {
        let schedule = variant.schedule();
        // Where nobody notifies, zeroing erases nothing.
        if schedule.signal_rows == 0 {
            continue;
        }
        for lane in 0..schedule.lanes.len() {
            let rank = schedule.lanes[lane].rank;
            let report = check(&Edit::ZeroSignals(lane as u32).apply(&schedule).unwrap(), variant.options());
            let structure = &report.outcome(Proof::Structure).unwrap().findings;
            assert!(structure.iter().any(|f| f.message.contains("zeroes signals inside the launch")), "{report}");
            let races = &report.outcome(Proof::RaceFree).unwrap().findings;
            let eraser = format!("which rank {rank} move (lane {lane}, instruction 0) may erase: it zeroes in-kernel");
            for race in races {
                assert!(race.message.contains(&eraser), "{variant}: {}", race.message);
                assert_eq!(race.signal.unwrap().rank, rank, "{variant}: {}", race.message);
            }
            assert!(!races.is_empty(), "{variant}, lane {lane}\n{report}");
            if !variant.is_ring() {
                continue;
            }
            // The first notify that reaches the lane's matrix is one of those that can be early.
            let first = instructions(&schedule).flat_map(|i| &i.notifies).filter(|n| n.peer == rank);
            let row = first.map(|n| n.row).min().unwrap();
            assert!(races.iter().any(|f| f.signal.unwrap().row == row), "{variant}, lane {lane}\n{report}");
        }
    }
}
