//! Traces of launches on devices: what their clocks say of dispatches, and an order where there is no clock.

use wgccl::backend::{Backend, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::fault::Fault;
use wgccl::lower::Mode;
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};
use wgccl::trace::Clock;

use crate::common::devices::{devices, one_at_a_time};
use crate::common::traces::consistent;

const COUNT: usize = 3000;

/// Every device in every mode, over one piece and several, whole launches and those over what is loaded.
#[test]
fn devices_time_dispatches_or_say_that_they_do_not() {
    let _turn = one_at_a_time();
    let inputs = vec![vec![1_u8; 4 * COUNT]; 4];
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    for (device, algorithm) in
        devices().iter().flat_map(|device| [(device, Algorithm::Ring), (device, Algorithm::Tree)])
    {
        let schedule = build(Collective::AllReduce, algorithm, 4, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, proof::Options::default()).unwrap();
        for way in device.sound() {
            for arena_bytes in [None, Some(16 << 10)] {
                let options = way.options().arena_bytes(arena_bytes).trace(true);
                let case = format!("{} {way} {algorithm} {arena_bytes:?}", device.name);
                let shape = Shape::new(COUNT, DataType::F32, Op::Sum);
                let mut ready = device.gpu.prepare(&proved, shape, &options).unwrap();
                let pieces = ready.prepared().pieces;
                assert_eq!(pieces > 1, arena_bytes.is_some(), "{case}");
                assert_eq!(ready.trace(), None, "{case}: nothing was launched");
                let mut results = Vec::new();
                for launch in 0..2 {
                    let mut outputs = vec![vec![0_u8; 4 * COUNT]; 4];
                    ready.run(&inputs, &mut outputs.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
                    results.push(outputs);
                    let trace = ready.trace().unwrap_or_else(|| panic!("{case}, launch {launch}: no trace"));
                    consistent(&trace, &proved, &case);
                    assert_eq!(trace.spans.len(), pieces * proved.schedule().instructions(), "{case}");
                    // GL has no timestamps; nobody has any inside of a kernel.
                    let clock = match way.mode {
                        Mode::Fused => Clock::Order { measured: false },
                        _ if device.name.ends_with("(GL)") => trace.clock,
                        _ => Clock::Device { calibrated: false },
                    };
                    assert_eq!(trace.clock, clock, "{case}");
                    assert_eq!(trace.critical_path(&proved).is_some(), trace.clock.has_times(), "{case}");
                }
                assert_eq!(results[0], results[1], "{case}");
                // The last piece alone, as it was loaded.
                ready.load(pieces - 1, &inputs).unwrap();
                ready.launch().unwrap();
                let trace = ready.trace().unwrap_or_else(|| panic!("{case}: no trace of a launch"));
                assert!(trace.spans.iter().all(|span| span.piece as usize == pieces - 1), "{case}");
                assert_eq!(trace.spans.len(), proved.schedule().instructions(), "{case}");
            }
        }
    }
}

#[test]
fn launches_that_do_not_finish_and_those_not_to_be_traced_have_none() {
    let _turn = one_at_a_time();
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let inputs = [[0_u8; 64]; 4];
    let inputs: Vec<&[u8]> = inputs.iter().map(|input| &input[..]).collect();
    for device in devices() {
        for way in device.sound() {
            let fault = Fault::DropNotify { rank: 1, row: 2 };
            for (options, succeeds) in [(way.options(), true), (way.options().trace(true).fault(fault), false)] {
                let shape = Shape::new(16, DataType::F32, Op::Sum);
                let mut ready = device.gpu.prepare(&proved, shape, &options).unwrap();
                let mut outputs = [[0_u8; 64]; 4];
                let mut outputs: Vec<&mut [u8]> = outputs.iter_mut().map(|output| &mut output[..]).collect();
                let case = format!("{} {way}", device.name);
                assert_eq!(ready.run(&inputs, &mut outputs).is_ok(), succeeds, "{case}");
                assert_eq!(ready.trace(), None, "{case}");
            }
        }
    }
}
