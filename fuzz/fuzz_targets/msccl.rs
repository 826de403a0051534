//! MSCCL XML: read, made a schedule, proved; and written again as what it was read as.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wgccl::collective::Collective;
use wgccl::format::msccl::{self, LowerOptions};
use wgccl::proof::{self, Hints, check, prove};

/// What a run may take: more is refused by the library's own limits, later.
const STEPS: usize = 2000;

fuzz_target!(|data: &[u8]| {
    let Ok(algo) = msccl::read(data) else { return };
    let again = algo.to_string();
    if algo.ignored.is_empty() {
        let read = msccl::read(again.as_bytes()).expect("what is written can be read");
        assert_eq!(read.to_string(), again);
    }
    let _ = algo.lint();
    if algo.steps() + algo.copies() > STEPS || algo.chunks_per_loop > 4096 || algo.ranks > 64 {
        return;
    }
    for (fifo_slots, elide) in [(None, false), (Some(1), false), (Some(u32::MAX), false), (None, true)] {
        let mut options = LowerOptions::default();
        options.fifo_slots = fifo_slots;
        options.elide = elide;
        let Ok(imported) = algo.lower(&options) else { return };
        let _ = check(&imported.schedule, proof::Options::default().in_place(imported.in_place));
    }
    let _ = algo.copies_are_in_place(algo.collective.unwrap_or(Collective::AllReduce));
    if let Ok(imported) = algo.copies_first().lower(&LowerOptions::default()) {
        if let Ok(proved) = prove(imported.schedule, proof::Options::default().in_place(imported.in_place)) {
            let _ = Hints::of(&proved, |_| true);
        }
    }
});
