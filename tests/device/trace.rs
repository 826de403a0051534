//! Traces of launches on devices: what their clocks say of dispatches, and an order where there is no clock.

use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::fault::Fault;
use wgccl::lower::{Mode, Protocol};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};
use wgccl::trace::{Clock, Trace};

use crate::common::devices::{devices, one_at_a_time};
use crate::common::traces::consistent;

const COUNT: usize = 3000;

/// Every device in every mode, over one piece and several, whole launches and those over what is loaded.
#[test]
fn devices_time_dispatches_or_say_that_they_do_not() {
    let _turn = one_at_a_time();
    let inputs = vec![vec![1_u8; 4 * COUNT]; 4];
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut calibrated = 0;
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
                    let views = &mut outputs.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>();
                    let ran = ready.run(&inputs, views).unwrap();
                    results.push(outputs);
                    let trace = ready.trace().unwrap_or_else(|| panic!("{case}, launch {launch}: no trace"));
                    consistent(&trace, &proved, &case);
                    let drawn = (way.mode, way.protocol) == (Mode::Fused, Protocol::Simple);
                    let channels = if drawn { ready.prepared().channels as usize } else { 1 };
                    assert_eq!(trace.spans.len(), pieces * channels * proved.schedule().instructions(), "{case}");
                    // GL has no timestamps; nobody has any inside of a kernel.
                    let clock = match way.mode {
                        Mode::Fused => Clock::Order { measured: drawn },
                        _ if device.name.ends_with("(GL)") => trace.clock,
                        // By two clocks that do not run alike nothing can be calibrated.
                        _ => Clock::Device { calibrated: trace.uncertainty.is_some() },
                    };
                    if let Some(within) = trace.uncertainty {
                        let last = trace.spans.iter().map(|span| span.end).max().unwrap();
                        let time = u64::try_from(ran.time.unwrap().as_nanos()).unwrap();
                        assert!(last <= time + within && within <= time, "{case}: {last} {time} {within}");
                        calibrated += 1;
                    }
                    assert_eq!(trace.clock, clock, "{case}");
                    assert_eq!(trace.critical_path(&proved).is_some(), trace.clock.has_times(), "{case}");
                }
                assert_eq!(results[0], results[1], "{case}");
                // The last piece alone, as it was loaded.
                ready.load(pieces - 1, &inputs).unwrap();
                ready.launch().unwrap();
                let trace = ready.trace().unwrap_or_else(|| panic!("{case}: no trace of a launch"));
                assert!(trace.spans.iter().all(|span| span.piece as usize == pieces - 1), "{case}");
                consistent_piece(&trace, &proved, &case);
            }
        }
    }
    println!("{calibrated} launches were calibrated");
}

/// The trace of a launch over one piece, whichever it was.
fn consistent_piece(trace: &Trace, proved: &Proved, case: &str) {
    let spans = trace.spans.iter().map(|span| span.piece(0)).collect();
    consistent(&Trace::new(trace.clock, spans), proved, case);
}

/// What was drawn differs from the proof's order where the device ran it otherwise, and from nothing else: every number is there once.
#[test]
fn fused_launches_say_in_which_order_they_ran() {
    let _turn = one_at_a_time();
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 8, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let inputs = vec![vec![1_u8; 4 * COUNT]; 8];
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut traced = 0;
    for device in devices() {
        let fused = device.sound().into_iter().find(|way| (way.mode, way.protocol) == (Mode::Fused, Protocol::Simple));
        let Some(way) = fused else { continue };
        for (channels, workgroups) in [(None, None), (Some(3), None), (Some(2), Some(3))] {
            let options: Options = way.options().trace(true).channels(channels).workgroups(workgroups);
            let case = format!("{} {channels:?} {workgroups:?}", device.name);
            let mut ready = device.gpu.prepare(&proved, Shape::new(COUNT, DataType::F32, Op::Sum), &options).unwrap();
            for _ in 0..3 {
                let mut outputs = vec![vec![0_u8; 4 * COUNT]; 8];
                ready.run(&inputs, &mut outputs.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
                let trace = ready.trace().unwrap();
                consistent(&trace, &proved, &case);
                assert_eq!(trace.clock, Clock::Order { measured: true }, "{case}");
                let mut numbers: Vec<u64> = trace.spans.iter().flat_map(|span| [span.ready, span.end]).collect();
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..2 * trace.spans.len() as u64), "{case}");
                traced += 1;
            }
        }
    }
    println!("{traced} launches were traced");
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
