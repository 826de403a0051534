//! A launch that did not finish is explained by its cause: a lost notify, a peer behind, a notify never sent, a stall.

use std::collections::BTreeMap;

use wgccl::collective::Collective;
use wgccl::fault::Fault;
use wgccl::hang::{Hang, Silence};
use wgccl::schedule::{Instruction, Lane, Schedule, Signal};

use crate::common::variants;

type Signals = BTreeMap<(u32, u32, u32), u32>;

fn explain(schedule: &Schedule, next: &[u32], signals: &Signals) -> Hang {
    Hang::explain(schedule, 0, next, |Signal { rank, row, sender }| {
        signals.get(&(rank, row, sender)).copied().unwrap_or(0)
    })
}

/// Three ranks: 0 notifies 1 twice on row 0, 1 then notifies 2 on row 1, and 2 waits for that.
fn chain() -> Schedule {
    let step = |round| Instruction::new(("move", round));
    Schedule::new("chain", Collective::AllReduce, 3, 1)
        .signal_rows(2)
        .lane(Lane::new(0).with(step(1).notify(1, 0)).with(step(2).notify(1, 0)))
        .lane(Lane::new(1).with(step(1).wait_for(0, 0, 1)).with(step(2).wait_for(0, 0, 2).notify(2, 1)))
        .lane(Lane::new(2).with(step(1).wait(1, 1)))
}

struct Case {
    name: &'static str,
    schedule: Schedule,
    /// Next instruction of each lane.
    next: &'static [u32],
    /// Those that are not 0: rank, row, sender, value.
    signals: &'static [(u32, u32, u32, u32)],
    lines: &'static [&'static str],
}

#[test]
fn every_cause_has_its_words() {
    let case = |name, next, signals, lines| Case { name, schedule: chain(), next, signals, lines };
    let mut once = chain();
    once.lanes[0].instructions.pop();
    let mut from_two_lanes = chain().lane(Lane::new(0).with(Instruction::new(("move", 7)).notify(1, 0)));
    from_two_lanes.lanes[1].instructions[1].waits[0].at_least = 3;
    let cases = [
        case(
            "a lost notify comes before who follows from it",
            &[2, 0, 0],
            &[],
            &[
                "2 of 3 lanes did not finish (channel 0)",
                "  cause: rank 1 move round 1 (lane 1, instruction 0) waits for signal [row 0][sender 0] of rank 1 >= 1, \
                 which is 0: rank 0 sent its notify in move round 1, but it never arrived",
                "  rank 2 move round 1 (lane 2, instruction 0) waits for signal [row 1][sender 1] of rank 2 >= 1, which \
                 is 0: rank 1 notifies it in move round 2, but is still in move round 1",
            ],
        ),
        case(
            "the first notify is lost while the second is still to come",
            &[1, 0, 0],
            &[],
            &[
                "3 of 3 lanes did not finish (channel 0)",
                "  cause: rank 1 move round 1 (lane 1, instruction 0) waits for signal [row 0][sender 0] of rank 1 >= 1, \
                 which is 0: rank 0 sent its notify in move round 1, but it never arrived",
                "  rank 2 move round 1 (lane 2, instruction 0) waits for signal [row 1][sender 1] of rank 2 >= 1, which \
                 is 0: rank 1 notifies it in move round 2, but is still in move round 1",
                "  rank 0 move round 2 (lane 0, instruction 1) could go on, but the device stopped executing it",
            ],
        ),
        case(
            "the second notify is lost",
            &[2, 1, 0],
            &[(1, 0, 0, 1)],
            &[
                "2 of 3 lanes did not finish (channel 0)",
                "  cause: rank 1 move round 2 (lane 1, instruction 1) waits for signal [row 0][sender 0] of rank 1 >= 2, \
                 which is 1: rank 0 sent its notify in move round 2, but it never arrived",
                "  rank 2 move round 1 (lane 2, instruction 0) waits for signal [row 1][sender 1] of rank 2 >= 1, which \
                 is 0: rank 1 notifies it in move round 2, which it has not finished",
            ],
        ),
        case(
            "the device stopped executing a peer",
            &[1, 1, 0],
            &[(1, 0, 0, 1)],
            &[
                "3 of 3 lanes did not finish (channel 0)",
                "  rank 1 move round 2 (lane 1, instruction 1) waits for signal [row 0][sender 0] of rank 1 >= 2, which \
                 is 1: rank 0 notifies it in move round 2, which it has not finished",
                "  rank 2 move round 1 (lane 2, instruction 0) waits for signal [row 1][sender 1] of rank 2 >= 1, which \
                 is 0: rank 1 notifies it in move round 2, which it has not finished",
                "  rank 0 move round 2 (lane 0, instruction 1) could go on, but the device stopped executing it",
            ],
        ),
        case(
            "stalled alone",
            &[2, 2, 0],
            &[(1, 0, 0, 2), (2, 1, 1, 1)],
            &[
                "1 of 3 lanes did not finish (channel 0)",
                "  rank 2 move round 1 (lane 2, instruction 0) could go on, but the device stopped executing it",
            ],
        ),
        Case {
            name: "the schedule sends one less than is awaited",
            schedule: once,
            next: &[1, 1, 0],
            signals: &[(1, 0, 0, 1)],
            lines: &[
                "2 of 3 lanes did not finish (channel 0)",
                "  cause: rank 1 move round 2 (lane 1, instruction 1) waits for signal [row 0][sender 0] of rank 1 >= 2, \
                 which is 1: rank 0 never notifies it that often",
                "  rank 2 move round 1 (lane 2, instruction 0) waits for signal [row 1][sender 1] of rank 2 >= 1, which \
                 is 0: rank 1 notifies it in move round 2, which it has not finished",
            ],
        },
        Case {
            name: "nobody sends it",
            schedule: Schedule::new("alone", Collective::AllReduce, 1, 1)
                .signal_rows(1)
                .lane(Lane::new(0).with(Instruction::new(("RS", 1)).wait(0, 0))),
            next: &[0],
            signals: &[],
            lines: &[
                "1 of 1 lanes did not finish (channel 0)",
                "  cause: rank 0 RS round 1 (lane 0, instruction 0) waits for signal [row 0][sender 0] of rank 0 >= 1, \
                 which is 0: no instruction of rank 0 ever notifies it",
            ],
        },
        Case {
            name: "all notifies of two lanes, one of which is behind",
            schedule: from_two_lanes,
            next: &[2, 1, 0, 0],
            signals: &[(1, 0, 0, 2)],
            lines: &[
                "3 of 4 lanes did not finish (channel 0)",
                "  rank 1 move round 2 (lane 1, instruction 1) waits for signal [row 0][sender 0] of rank 1 >= 3, which \
                 is 2: rank 0 notifies it in move round 7, which it has not finished",
                "  rank 2 move round 1 (lane 2, instruction 0) waits for signal [row 1][sender 1] of rank 2 >= 1, which \
                 is 0: rank 1 notifies it in move round 2, which it has not finished",
                "  rank 0 move round 7 (lane 3, instruction 0) could go on, but the device stopped executing it",
            ],
        },
    ];
    for Case { name, schedule, next, signals, lines } in cases {
        let signals = signals.iter().map(|&(rank, row, sender, value)| ((rank, row, sender), value)).collect();
        assert_eq!(explain(&schedule, next, &signals).to_string(), lines.join("\n"), "{name}");
    }
}

/// Runs `schedule` as far as it goes while `fault` swallows notifies.
fn run(schedule: &Schedule, fault: Fault) -> (Vec<u32>, Signals) {
    let (mut next, mut signals) = (vec![0_u32; schedule.lanes.len()], Signals::new());
    loop {
        let before = next.clone();
        for (lane, next) in schedule.lanes.iter().zip(&mut next) {
            let met = |instruction: &Instruction| {
                let mut waits = instruction.waits.iter();
                waits.all(|w| signals.get(&(lane.rank, w.row, w.sender)).copied().unwrap_or(0) >= w.at_least)
            };
            let Some(instruction) = lane.instructions.get(*next as usize).filter(|i| met(i)) else { continue };
            *next += 1;
            for notify in instruction.notifies.iter().filter(|notify| !fault.drops(lane.rank, notify.row)) {
                *signals.entry((notify.peer, notify.row, lane.rank)).or_default() += 1;
            }
        }
        if next == before {
            return (next, signals);
        }
    }
}

/// Whatever else waits, the causes name the silent rank and row, and all that is named is what the fault swallowed.
#[test]
fn a_swallowed_notify_is_the_cause_in_every_schedule() {
    for variant in variants(2..=6).into_iter().filter(|variant| !variant.in_place) {
        let schedule = variant.schedule();
        for rank in 0..variant.ranks {
            for row in 0..schedule.signal_rows {
                let lanes = schedule.lanes.iter().filter(|lane| lane.rank == rank);
                let mut notifies = lanes.flat_map(|lane| &lane.instructions).flat_map(|i| &i.notifies);
                if !notifies.any(|notify| notify.row == row) {
                    continue;
                }
                let fault = Fault::DropNotify { rank, row };
                let (next, signals) = run(&schedule, fault);
                let hang = explain(&schedule, &next, &signals);
                let causes: Vec<_> =
                    hang.waiting.iter().filter(|w| !matches!(w.silence, Silence::Behind { .. })).collect();
                assert!(!causes.is_empty(), "{variant}, {fault:?}\n{hang}");
                assert!(hang.stalled.is_empty(), "{variant}, {fault:?}\n{hang}");
                for cause in causes {
                    let Silence::Lost { notifier } = &cause.silence else {
                        panic!("{variant}, {fault:?}\n{hang}");
                    };
                    assert_eq!((cause.signal.sender, cause.signal.row), (rank, row), "{variant}, {fault:?}\n{hang}");
                    // The notify by which the signal would have become what is waited for.
                    let instructions = &schedule.lanes[notifier.lane as usize].instructions;
                    let sent = instructions
                        .iter()
                        .enumerate()
                        .filter(|(_, i)| i.notifies.iter().any(|n| (n.peer, n.row) == (cause.signal.rank, row)));
                    let nth = sent.map(|(index, _)| index as u32).nth(cause.at_least as usize - 1);
                    assert_eq!(Some(notifier.instruction), nth, "{variant}, {fault:?}\n{hang}");
                }
            }
        }
    }
}

#[test]
fn eight_of_many_are_shown() {
    let schedule = (0..12).fold(Schedule::new("many", Collective::AllReduce, 12, 1).signal_rows(1), |s, rank| {
        s.lane(Lane::new(rank).with(Instruction::new("move").wait(0, rank)))
    });
    let text = explain(&schedule, &[0; 12], &Signals::new()).to_string();
    assert!(text.starts_with("12 of 12 lanes did not finish"), "{text}");
    assert!(text.contains("rank 7 move") && !text.contains("rank 8 move"), "{text}");
    assert!(text.ends_with("\n  and 4 more wait"), "{text}");
}

/// In both channels of a launch the same cause; in one more than in the other what follows from it.
#[test]
fn a_record_names_channels_as_ranges() {
    let hang = explain(&chain(), &[2, 0, 0], &Signals::new());
    let json = serde_json::to_value(&hang).unwrap();
    assert_eq!(json["channels"], serde_json::json!([[0, 0]]));
    assert_eq!((&json["lanes"], &json["unfinished"]), (&3.into(), &2.into()));
    let waiting = &json["waiting"][0];
    assert_eq!((&waiting["seen"], &waiting["at_least"], &waiting["site"]["rank"]), (&0.into(), &1.into(), &1.into()));
    let stalled = explain(&chain(), &[1, 0, 0], &Signals::new());
    assert_eq!(serde_json::to_value(&stalled.stalled[0]).unwrap()["rank"], 0);
}
