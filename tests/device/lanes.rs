//! More lanes than workgroups: each workgroup hosts several, in every mode by every protocol, and blocks on none.

use wgccl::collective::Op;
use wgccl::error::RunError;
use wgccl::fault::Fault;
use wgccl::golden::compare;
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::lower::Mode;
use wgccl::proof::{self, prove};

use crate::common::devices::{Typed, devices, one_at_a_time};
use crate::common::lanes::crowded;

/// Of a rank; a thousand in all.
const LANES: u32 = 500;

#[test]
fn a_thousand_lanes_run_on_every_device() {
    let _turn = one_at_a_time();
    let proved = prove(crowded(LANES), proof::Options::default()).unwrap();
    assert_eq!(proved.schedule().lanes.len(), 1000);
    for device in devices() {
        for way in device.sound() {
            for workgroups in [None, Some(1), Some(3), Some(7), Some(200)] {
                let count = if workgroups.is_none() { 6007 } else { 1999 };
                let options = way.options().workgroups(workgroups);
                let case = format!("{} {way}, {workgroups:?} workgroups", device.name);
                let mut executor = Typed::<f32>::new(&device.gpu, &proved, count, Op::Sum, options)
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                for seed in 0..2 {
                    let inputs: Vec<Vec<f32>> = (0..2).map(|r| generate(Fill::Normal, seed, r, 2, count)).collect();
                    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
                    let mut outputs = vec![vec![f32::NAN; count]; 2];
                    let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                    let ran = executor.run(&inputs, &mut views).unwrap_or_else(|error| panic!("{case}: {error}"));
                    let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
                    let payload = executor.executor.package().payload;
                    assert_eq!(compare(&proved, &payload, Op::Sum, &inputs, &outputs).unwrap().wrong, 0, "{case}");
                    // Hardware begins with a part of them.
                    let planned = executor.executor.package().plan.dispatches.len() as u32;
                    let as_planned = ran.dispatches == planned || !device.gpu.info().is_software();
                    assert!(as_planned, "{case}: {} dispatches, {planned} planned", ran.dispatches);
                }
            }
        }
    }
}

/// Lanes behind one that waits for ever go on, and the report names the one that is the cause.
#[test]
fn a_lost_notify_stops_those_that_wait_for_it_alone() {
    let _turn = one_at_a_time();
    let proved = prove(crowded(40), proof::Options::default()).unwrap();
    for device in devices() {
        for way in device.sound() {
            let options = way.options().workgroups(3).fault(Fault::DropNotify { rank: 1, row: 5 });
            let mut executor = Typed::<f32>::new(&device.gpu, &proved, 400, Op::Sum, options).unwrap();
            let inputs: Vec<Vec<f32>> = (0..2).map(|rank| generate(Fill::Normal, 3, rank, 2, 400)).collect();
            let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let mut outputs = vec![vec![0.0; 400]; 2];
            let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            let case = format!("{} {way}", device.name);
            let result = executor.run(&inputs, &mut views);
            let Err(RunError::Hang(hang)) = result else { panic!("{case}: {result:?}") };
            let cause = &hang.waiting[0];
            assert_eq!((cause.signal.row, cause.signal.sender), (5, 1), "{case}: {hang}");
            // The lane that waits for it and those before it in its group, of 80; by flags, which are read by both ranks, of
            // both.
            let most = if way.mode == Mode::Fused { 12 } else { 6 };
            assert!(hang.unfinished <= most, "{case}: {hang}");
        }
    }
}
