//! Schedules of a caller's own on every device: unlike windows and divisible counts, in every mode and protocol.

use wgccl::Communicator;
use wgccl::backend::{Ready, Shape};
use wgccl::collective::Op;
use wgccl::element::DataType;
use wgccl::golden::compare;
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::proof::{self, prove};
use wgccl::schedule::{Granularity, Schedule};

use crate::common::devices::{devices, one_at_a_time};
use crate::common::schedules::{star, turned};

/// Bit for bit as the golden, also in pieces and channels.
fn runs(schedule: &Schedule, count: usize) {
    let proved = prove(schedule.clone(), proof::Options::default()).unwrap();
    let payload = proved.payload(count, DataType::F32).unwrap();
    let inputs: Vec<Vec<f32>> =
        (0..schedule.ranks).map(|rank| generate(Fill::Normal, 3, rank, schedule.ranks, count)).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let bytes: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    for device in devices() {
        for way in device.sound() {
            for (channels, arena_bytes) in [(None, None), (Some(3), None), (None, Some(4 << 10))] {
                let options = way.options().channels(channels);
                let comm =
                    Communicator::new(device.gpu.clone(), schedule.ranks).options(options.arena_bytes(arena_bytes));
                let case = format!("{}, {way}, {} of {count}", device.name, schedule.origin);
                let shape = Shape::new(count, DataType::F32, Op::Sum);
                let ready = comm.prepare_schedule(schedule.clone(), shape, false);
                let mut ready = match ready {
                    Ok(ready) => ready,
                    // Two lanes that store in one place need signals.
                    Err(error) if error.to_string().contains("needs signals") => continue,
                    Err(error) => panic!("{case}: {error}"),
                };
                let mut outputs = vec![vec![f32::NAN; count]; schedule.ranks as usize];
                let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|o| bytemuck::cast_slice_mut(o)).collect();
                ready.run(&bytes, &mut views).unwrap();
                let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
                assert_eq!(compare(&proved, &payload, Op::Sum, &inputs, &outputs).unwrap().wrong, 0, "{case}");
            }
        }
    }
}

#[test]
fn windows_of_unlike_ranks() {
    let _turn = one_at_a_time();
    for (ranks, count) in [(2, 7), (3, 5000), (5, 256)] {
        runs(&star(ranks), count);
    }
}

#[test]
fn chunks_of_divisible_counts_may_take_each_others_place() {
    let _turn = one_at_a_time();
    for count in [6, 66, 6000] {
        runs(&turned(Granularity::DivisibleBy(6)), count);
    }
}
