//! Schedule documents: read, written, read again; proved in both places; and judged where the proof accepts.
//!
//! Bounded before the proof, whose memory grows with what a document asks for.
#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use oracle::judge::Judge;
use oracle::random::Random;
use wgccl::proof::{Options, check};
use wgccl::schedule::Schedule;

fn is_small(schedule: &Schedule) -> bool {
    let slots: u64 = schedule.slots.iter().map(|&slots| u64::from(slots)).sum();
    (schedule.ranks <= 16 || schedule.ranks > 4096)
        && schedule.chunks <= 64
        && schedule.signal_rows <= 64
        && schedule.lanes.len() <= 64
        && slots <= 1024
        && schedule.instructions() <= 1000
}

fuzz_target!(|data: &[u8]| {
    let Ok(schedule) = serde_json::from_slice::<Schedule>(data) else { return };
    let text = serde_json::to_string(&schedule).expect("a schedule is JSON");
    assert_eq!(serde_json::from_str::<Schedule>(&text).expect("what was written is read"), schedule);
    if !is_small(&schedule) {
        return;
    }
    for in_place in [false, true] {
        if !check(&schedule, Options::default().in_place(in_place)).ok() {
            continue;
        }
        let mut judge = Judge::new(&schedule, in_place).expect("what is proved is well formed");
        for stream in 0..4 {
            judge.run(&mut Random::new(data.len() as u64, stream)).expect("what is proved goes right");
        }
    }
});
