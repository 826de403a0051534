//! Schedules of a caller's own on the CPU: unlike windows, divisible counts, documents.

use wgccl::Communicator;
use wgccl::backend::{Options, Ready, Shape, Spread};
use wgccl::collective::Op;
use wgccl::element::DataType;
use wgccl::error::{PayloadError, PrepareError};
use wgccl::golden::compare;
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::proof::{self, Proof, check, prove};
use wgccl::schedule::{Granularity, Schedule};

use crate::common::schedules::{star, turned};

/// Bit for bit as the golden, however lanes and channels are shared out.
fn runs(schedule: &Schedule, count: usize) {
    let proved = prove(schedule.clone(), proof::Options::default()).unwrap();
    let payload = proved.payload(count, DataType::F32).unwrap();
    let inputs: Vec<Vec<f32>> =
        (0..schedule.ranks).map(|rank| generate(Fill::Normal, 3, rank, schedule.ranks, count)).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    for (spread, channels) in [(Spread::Auto, None), (Spread::Channels, Some(3)), (Spread::Lanes, Some(2))] {
        let options = Options::default().spread(spread).channels(channels).workers(2);
        let comm = Communicator::cpu(schedule.ranks).options(options);
        let shape = Shape::new(count, DataType::F32, Op::Sum);
        let mut ready = comm.prepare_schedule(schedule.clone(), shape, false).unwrap();
        let mut outputs = vec![vec![f32::NAN; count]; schedule.ranks as usize];
        let bytes: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
        let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|o| bytemuck::cast_slice_mut(o)).collect();
        ready.run(&bytes, &mut views).unwrap();
        let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
        let comparison = compare(&proved, &payload, Op::Sum, &inputs, &outputs).unwrap();
        assert_eq!(comparison.wrong, 0, "{} of {count}, {spread} {channels:?}", schedule.origin);
    }
}

#[test]
fn windows_of_unlike_ranks() {
    for ranks in [2, 3, 5] {
        for count in [1, 7, 256, 5000] {
            runs(&star(ranks), count);
        }
    }
}

#[test]
fn chunks_of_divisible_counts_may_take_each_others_place() {
    let divisible = turned(Granularity::DivisibleBy(6));
    for count in [6, 12, 18, 66, 6000] {
        runs(&divisible, count);
    }
    let ragged = check(&turned(Granularity::Ragged), proof::Options::default());
    assert!(!ragged.holds(Proof::Result), "{ragged}");
    assert!(ragged.to_string().contains("which may be shorter and would cut it"), "{ragged}");
}

#[test]
fn counts_that_do_not_divide_are_refused() {
    let shape = Shape::new(8, DataType::F32, Op::Sum);
    let schedule = turned(Granularity::DivisibleBy(6));
    let refused = Communicator::cpu(2).prepare_schedule(schedule, shape, false).err().unwrap();
    let expected = PayloadError::Indivisible { count: 8, n: 6 };
    assert!(matches!(&refused, PrepareError::Payload(error) if *error == expected), "{refused}");
    for n in [0, 4] {
        let report = check(&turned(Granularity::DivisibleBy(n)), proof::Options::default());
        assert!(!report.holds(Proof::Structure), "{n}: {report}");
        assert!(report.to_string().contains("do not divide into 3 equal chunks"), "{report}");
    }
}
