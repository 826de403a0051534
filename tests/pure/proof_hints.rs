//! What a right schedule could do without: barriers, and waits that others imply, held against schedules without them.

use wgccl::collective::Collective;
use wgccl::proof::{Hints, Options, check, prove};
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, Schedule, Signal, Site, SyncStyle, build};

fn hints(schedule: Schedule) -> Hints {
    Hints::of(&prove(schedule, Options::default()).unwrap_or_else(|refused| panic!("{refused}")), |_| true)
}

/// A ring with a barrier in each round waits for all and touches one; whoever waits for those that it reads of has none.
#[test]
fn a_barrier_in_each_round_is_named() {
    for (collective, algorithm, sync, ranks, expected) in [
        (Collective::AllReduce, Algorithm::Ring, SyncStyle::Barrier, 8, Some((13, 8 * 13 * 7, 6))),
        (Collective::AllReduce, Algorithm::Ring, SyncStyle::Neighbor, 8, None),
        (Collective::AllReduce, Algorithm::OnePhase, SyncStyle::Neighbor, 8, None),
        (Collective::AllGather, Algorithm::Mesh, SyncStyle::Neighbor, 8, None),
        (Collective::Barrier, Algorithm::Mesh, SyncStyle::Neighbor, 8, None),
        // All are neighbours.
        (Collective::AllReduce, Algorithm::Ring, SyncStyle::Barrier, 3, None),
    ] {
        let found = hints(build(collective, algorithm, ranks, sync).unwrap());
        let case = format!("{collective} by {algorithm} of {ranks}, {sync}: {found:?}");
        match (&found.barriers, expected) {
            (Some(barriers), Some((rounds, waits, spare))) => {
                assert_eq!((barriers.rounds, barriers.waits), (rounds, waits), "{case}");
                assert_eq!(barriers.spare, barriers.instructions * spare, "{case}");
                assert_eq!(barriers.first.to_string(), "rank 0 RS round 2 (lane 0, instruction 1)");
            }
            (None, None) => {}
            _ => panic!("{case}"),
        }
    }
}

/// A broadcast in which rank 1 waits for rank 0 and rank 2 for rank 1, with `more` said by rank 0 and waited for by rank 2.
fn chain(said: &[u32], waited: [&[(u32, u32)]; 2]) -> Schedule {
    let copy =
        |label: &'static str, rank| Instruction::new(label).copy(Address::output(0, 0)).to(Address::output(rank, 0));
    let first = Instruction::new("first").copy(Address::input(0, 0)).to(Address::output(0, 0)).notify(1, 0);
    let first = said.iter().fold(first, |on, &row| on.notify(2, row));
    let [last, later] = waited;
    let waits =
        |on: Instruction, waits: &[(u32, u32)]| waits.iter().fold(on, |on, &(row, sender)| on.wait(row, sender));
    Schedule::new("chain", Collective::Broadcast, 3, 1)
        .signal_rows(2)
        .lane(Lane::new(0).with(first))
        .lane(Lane::new(1).with(copy("second", 1).wait(0, 0).notify(2, 0)))
        .lane(Lane::new(2).with(waits(copy("last", 2), last)).with(waits(Instruction::new("later"), later)))
}

#[test]
fn waits_that_others_imply_are_counted_and_named() {
    for (said, waited, expected) in [
        (&[][..], [&[(0, 1)][..], &[][..]], &[][..]),
        (&[0], [&[(0, 1), (0, 0)], &[]], &["last waits for [row 0][sender 0]"]),
        (&[0], [&[(0, 0), (0, 1)], &[]], &["last waits for [row 0][sender 0]"]),
        // Known by program order.
        (&[1], [&[(0, 1)], &[(1, 0)]], &["later waits for [row 1][sender 0]"]),
        // Of two for the same, one stays.
        (&[0, 1], [&[(0, 0), (1, 0)], &[(0, 1)]], &["last waits for [row 1][sender 0]"]),
        // What comes later implies nothing of what came before.
        (&[0], [&[(0, 0)], &[(0, 1)]], &[]),
    ] {
        let found = hints(chain(said, waited));
        let redundant = found.redundant.unwrap();
        let name = |(site, signal): &(Site, Signal)| {
            format!("{} waits for [row {}][sender {}]", site.label, signal.row, signal.sender)
        };
        let named: Vec<String> = redundant.first.iter().map(name).collect();
        assert_eq!(named, expected, "{said:?} {waited:?}");
        assert_eq!((redundant.waits, redundant.of), (expected.len() as u64, found.waits), "{said:?} {waited:?}");
    }
    let proved = prove(chain(&[0], [&[(0, 1), (0, 0)], &[]]), Options::default()).unwrap();
    let of_one = Hints::of(&proved, |signal| signal.sender == 1).redundant.unwrap();
    assert_eq!((of_one.waits, of_one.of), (0, 1));
}

/// Without a wait and its notify: those that come after are one fewer. None where others wait for that notify, too.
fn without(schedule: &Schedule, site: &Site, signal: Signal) -> Option<Schedule> {
    let Signal { rank, row, sender, .. } = signal;
    let mut schedule = schedule.clone();
    let waits = |lane: &Lane| {
        lane.instructions
            .iter()
            .flat_map(|i| &i.waits)
            .filter(|w| (w.row, w.sender) == (row, sender))
            .map(|w| w.at_least)
            .collect::<Vec<_>>()
    };
    let n = schedule.lanes[site.lane as usize].instructions[site.instruction as usize]
        .waits
        .iter()
        .find(|w| (w.row, w.sender) == (row, sender))?
        .at_least;
    let of_rank = schedule.lanes.iter().filter(|lane| lane.rank == rank).flat_map(waits);
    let senders = schedule.lanes.iter().filter(|lane| lane.rank == sender);
    let notifying = senders
        .filter(|lane| lane.instructions.iter().flat_map(|i| &i.notifies).any(|n| (n.peer, n.row) == (rank, row)));
    if of_rank.filter(|&at_least| at_least == n).count() != 1 || notifying.count() != 1 {
        return None;
    }
    let mut sent = 0;
    for lane in &mut schedule.lanes {
        for instruction in &mut lane.instructions {
            if lane.rank == rank {
                let kept =
                    instruction.waits.iter().filter(|w| (w.row, w.sender, w.at_least) != (row, sender, n)).copied();
                let mut kept: Vec<_> = kept.collect();
                let later = kept.iter_mut().filter(|w| (w.row, w.sender) == (row, sender) && w.at_least > n);
                later.for_each(|w| w.at_least -= 1);
                instruction.waits = kept.into_iter().collect();
            }
            if lane.rank == sender {
                let mut kept = Vec::new();
                for &notify in instruction.notifies.iter() {
                    let is = (notify.peer, notify.row) == (rank, row);
                    sent += u32::from(is);
                    if !(is && sent == n) {
                        kept.push(notify);
                    }
                }
                instruction.notifies = kept.into_iter().collect();
            }
        }
    }
    Some(schedule)
}

/// What is said to be redundant can go, and everything holds as before.
#[test]
fn nothing_breaks_without_a_redundant_wait() {
    let mut gone = 0;
    let mut try_all = |schedule: &Schedule, case: &str| {
        let Ok(proved) = prove(schedule.clone(), Options::default()) else { return };
        for (site, signal) in Hints::of(&proved, |_| true).redundant.unwrap().first {
            let Some(less) = without(schedule, &site, signal) else { continue };
            let report = check(&less, Options::default());
            assert!(report.ok(), "{case}: without {signal} at {site}: {}", report.failures());
            gone += 1;
        }
    };
    for &collective in Collective::ALL {
        for algorithm in Algorithm::of(collective) {
            for sync in [SyncStyle::Neighbor, SyncStyle::Barrier] {
                let Ok(schedule) = build(collective, algorithm, 4, sync) else { continue };
                try_all(&schedule, &format!("{collective} by {algorithm}, {sync}"));
            }
        }
    }
    for seed in 0..3000 {
        let mut random = crate::oracle::random::Random::new(seed, 0);
        let (schedule, in_place) = crate::oracle::grow::grown(&mut random, 6);
        if !in_place {
            try_all(&schedule, &format!("seed {seed}"));
        }
    }
    println!("{gone} waits were left out");
    assert!(gone > 100, "{gone}");
}
