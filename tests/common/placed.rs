//! Launches on several devices, held against the golden in every bit.

use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::collective::Op;
use wgccl::element::Element;
use wgccl::golden::compare;
use wgccl::low_level::inputs::{Fill, generate_parts};
use wgccl::low_level::{Typed, typed};
use wgccl::placed::Placed;
use wgccl::proof::Proved;

/// What is launched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over {
    pub(crate) shape: Shape,
    pub(crate) launches: u64,
}

/// Elements that are wrong, of all launches, each over other inputs, by both ways in which a launch is made.
pub(crate) fn wrong(placed: &Placed, proved: &Proved, over: Over, options: Options) -> u64 {
    struct Run<'a>(&'a Placed, &'a Proved, Over, Options);
    impl Typed for Run<'_> {
        type Output = u64;
        fn run<T: Element>(self) -> u64 {
            let Self(placed, proved, Over { shape, launches }, options) = self;
            let mut ready = placed.prepare(proved, shape, &options).unwrap();
            (0..launches).map(|seed| once::<T>(&mut ready, proved, shape, seed)).sum()
        }
    }
    typed(over.shape.data_type, Run(placed, proved, over, options))
}

fn once<T: Element>(ready: &mut impl Ready, proved: &Proved, shape: Shape, seed: u64) -> u64 {
    let (schedule, extents) = (proved.schedule(), proved.extents(shape.count));
    let made = (0..schedule.ranks).map(|rank| {
        let mut input = Vec::new();
        generate_parts(&mut input, schedule, Fill::Normal, seed, rank, shape.count);
        input
    });
    let inputs: Vec<Vec<T>> = made.collect();
    let inputs: Vec<&[T]> = inputs.iter().map(Vec::as_slice).collect();
    let poisoned = || -> Vec<Vec<T>> {
        let of = |(rank, input): (u32, &&[T])| {
            let mut output = Vec::new();
            extents.prepare(rank, input, &mut output);
            output
        };
        (0..).zip(&inputs).map(of).collect()
    };
    let count = |outputs: &[Vec<T>]| {
        let views: Vec<&[T]> = (0..).zip(outputs).map(|(rank, output)| &output[extents.output(rank)]).collect();
        let payload = proved.payload(shape.count, T::TYPE).unwrap();
        compare(proved, &payload, shape.op, &inputs, &views).unwrap().wrong
    };
    let bytes: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    let mut outputs = poisoned();
    let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
    match proved.in_place() {
        true => ready.run_in_place(&mut views).unwrap(),
        false => ready.run(&bytes, &mut views).unwrap(),
    };
    let by_run = count(&outputs);
    let mut outputs = poisoned();
    // As they were given, which in place is not what they become piece by piece.
    let buffers = outputs.clone();
    let given: Vec<&[u8]> = match proved.in_place() {
        true => buffers.iter().map(|buffer| bytemuck::cast_slice(buffer)).collect(),
        false => bytes,
    };
    for piece in 0..ready.prepared().pieces {
        ready.load(piece, &given).unwrap();
        ready.launch().unwrap();
        let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
        ready.fetch(&mut views).unwrap();
    }
    by_run + count(&outputs)
}

/// Lengths that divide or do not, shorter than the ranks are many, and elements of every length.
pub(crate) fn shapes() -> Vec<Shape> {
    use wgccl::element::DataType::{BF16, F32, F64, I8};
    [(1, F32, Op::Sum), (257, F32, Op::Avg), (1000, BF16, Op::Sum), (77, I8, Op::Max), (5000, F64, Op::Prod)]
        .map(|(count, data_type, op)| Shape::new(count, data_type, op))
        .to_vec()
}
