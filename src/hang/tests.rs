//! What executors give and users cannot: several channels, and data without signals.

use super::*;
use crate::collective::Collective;
use crate::schedule::{Instruction, Lane};

/// Rank 0 notifies 1 twice on row 0, rank 1 then 2 on row 1, and 2 waits for that.
fn chain() -> Schedule {
    let step = |round| Instruction::new(("move", round));
    Schedule::new("chain", Collective::AllReduce, 3, 1)
        .signal_rows(2)
        .lane(Lane::new(0).with(step(1).notify(1, 0)).with(step(2).notify(1, 0)))
        .lane(Lane::new(1).with(step(1).wait_for(0, 0, 1)).with(step(2).wait_for(0, 0, 2).notify(2, 1)))
        .lane(Lane::new(2).with(step(1).wait(1, 1)))
}

fn told(channels: &[(u32, [u32; 3])], evidence: Evidence<'_>) -> String {
    let schedule = chain();
    let stuck = channels.iter().map(|&(channel, next)| StuckChannel { channel, next: next.to_vec(), evidence });
    Hang::of(&schedule, &Graph::new(&schedule), stuck).to_string()
}

#[test]
fn channels_that_are_stuck_alike_are_one_cause() {
    let signals = |_| 0;
    let text = told(&[(0, [2, 0, 0]), (1, [2, 0, 0]), (2, [2, 0, 0])], Evidence::Signals(&signals));
    assert_eq!(
        text,
        "2 of 3 lanes did not finish (channels 0-2)\n  cause: rank 1 move round 1 (lane 1, instruction 0) waits for signal \
         [row 0][sender 0] of rank 1 >= 1, which is 0: rank 0 sent its notify in move round 1, but it never arrived\n  rank 2 \
         move round 1 (lane 2, instruction 0) waits for signal [row 1][sender 1] of rank 2 >= 1, which is 0: rank 1 \
         notifies it in move round 2, but is still in move round 1"
    );
}

#[test]
fn what_holds_in_some_channels_says_in_which() {
    let signals = |_| 0;
    let text = told(&[(0, [2, 0, 0]), (1, [2, 0, 1]), (5, [1, 0, 1])], Evidence::Signals(&signals));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "3 of 3 lanes did not finish (channels 0-1, 5)");
    assert!(lines[1].contains("cause: rank 1 move") && lines[1].ends_with("never arrived"), "{text}");
    assert!(lines[2].contains("rank 2 move") && lines[2].ends_with(" (channel 0)"), "{text}");
    assert!(lines[3].contains("rank 0 move round 2") && lines[3].ends_with("executing it (channel 5)"), "{text}");
    assert_eq!(lines.len(), 4, "{text}");
}

#[test]
fn without_signals_no_values_are_told() {
    let lost = Evidence::Data { lost: Some(Fault::DropNotify { rank: 0, row: 0 }) };
    assert_eq!(
        told(&[(0, [2, 0, 0])], lost),
        "2 of 3 lanes did not finish (channel 0)\n  cause: rank 1 move round 1 (lane 1, instruction 0) waits for data from rank \
         0, which has not arrived: rank 0 sent it in move round 1\n  rank 2 move round 1 (lane 2, instruction 0) waits for data \
         from rank 1, which has not arrived: rank 1 sends it in move round 2, but is still in move round 1"
    );
    // Without a fault whoever has not come to it is to blame, and if nobody, the data.
    let text = told(&[(0, [1, 1, 0])], Evidence::Data { lost: None });
    assert!(text.contains("rank 0 sends it in move round 2, which it has not finished"), "{text}");
    let text = told(&[(0, [2, 1, 0])], Evidence::Data { lost: None });
    assert!(text.contains("cause: rank 1 move round 2") && text.contains("rank 0 sent it in move round 2"), "{text}");
    let schedule = chain();
    let stuck = StuckChannel { channel: 0, next: vec![2, 0, 0], evidence: lost };
    let hang = Hang::of(&schedule, &Graph::new(&schedule), [stuck]);
    assert!(hang.waiting.iter().all(|waiting| waiting.seen.is_none()), "{hang:?}");
}
