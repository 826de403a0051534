//! Launches on several devices, held against the golden in every bit.

use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::collective::Op;
use wgccl::element::Element;
use wgccl::golden::Goldens;
use wgccl::low_level::inputs::{Fill, generate_parts};
use wgccl::low_level::{Typed, typed};
use wgccl::proof::Proved;

/// What is launched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over {
    pub(crate) shape: Shape,
    pub(crate) launches: u64,
}

/// Elements that are wrong, of all launches, each over other inputs, by both ways in which a launch is made. Of several processes,
/// those of this one's ranks.
pub(crate) fn wrong<B: Backend>(backend: &B, proved: &Proved, over: Over, options: Options) -> u64 {
    struct Run<'a, B>(&'a B, &'a Proved, Over, Options);
    impl<B: Backend> Typed for Run<'_, B> {
        type Output = u64;
        fn run<T: Element>(self) -> u64 {
            let Self(backend, proved, Over { shape, launches }, options) = self;
            let mut ready = backend.prepare(proved, shape, &options).unwrap();
            let here = |rank| backend.is_here(rank, proved.schedule().ranks);
            (0..launches).map(|seed| once::<T>(&mut ready, here, proved, shape, seed)).sum()
        }
    }
    typed(over.shape.data_type, Run(backend, proved, over, options))
}

fn once<T: Element>(
    ready: &mut impl Ready,
    here: impl Fn(u32) -> bool,
    proved: &Proved,
    shape: Shape,
    seed: u64,
) -> u64 {
    let (schedule, extents) = (proved.schedule(), proved.extents(shape.count));
    let made = (0..schedule.ranks).map(|rank| {
        let mut input = Vec::new();
        generate_parts(&mut input, schedule, Fill::Normal, seed, rank, shape.count);
        input
    });
    let inputs: Vec<Vec<T>> = made.collect();
    let inputs: Vec<&[T]> = inputs.iter().map(Vec::as_slice).collect();
    let payload = proved.payload(shape.count, T::TYPE).unwrap();
    let goldens = Goldens::new(proved, &payload, shape.op, &inputs).unwrap();
    let poisoned = || -> Vec<Vec<T>> {
        let of = |(rank, input): (u32, &&[T])| {
            let mut output = Vec::new();
            if here(rank) {
                extents.prepare(rank, input, &mut output);
            }
            output
        };
        (0..).zip(&inputs).map(of).collect()
    };
    let count = |outputs: &[Vec<T>]| -> u64 {
        let of = |(rank, output): (u32, &Vec<T>)| {
            let pairs = (0..).zip(&output[extents.output(rank)]).zip(goldens.golden().expected(rank));
            let wrong = pairs.filter(|((i, got), expected)| {
                !got.agrees(**expected) && !got.agrees(goldens.flushed().expected(rank)[*i])
            });
            wrong.count() as u64
        };
        (0..).zip(outputs).filter(|&(rank, _)| here(rank)).map(of).sum()
    };
    let mine = |(rank, input)| if here(rank) { bytemuck::cast_slice(input) } else { &[] };
    let bytes: Vec<&[u8]> = (0..).zip(inputs.iter().copied()).map(mine).collect();
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
