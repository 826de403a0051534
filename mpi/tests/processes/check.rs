//! Launches over this process's ranks, held against the golden in every bit.

use std::sync::Arc;

use mpi::topology::SimpleCommunicator;
use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::cpu::Cpu;
use wgccl::element::Element;
use wgccl::golden::Golden;
use wgccl::low_level::inputs::{Fill, generate_parts};
use wgccl::low_level::{Typed, typed};
use wgccl::proof::Proved;
use wgccl_mpi::{MpiBackend, MpiReady, mpi};

/// All processes, each with its CPU cores.
pub(crate) fn over(world: &SimpleCommunicator) -> MpiBackend {
    MpiBackend::over(world, Arc::new(Cpu::new())).unwrap()
}

/// Elements of this process's ranks that are wrong, of three launches by each of the two ways.
pub(crate) fn wrong(backend: &MpiBackend, proved: &Proved, shape: Shape, options: Options) -> u64 {
    struct Run<'a>(&'a MpiBackend, &'a Proved, Shape, Options);
    impl Typed for Run<'_> {
        type Output = u64;
        fn run<T: Element>(self) -> u64 {
            let Self(backend, proved, shape, options) = self;
            let mut ready = backend.prepare(proved, shape, &options).unwrap();
            (0..3).map(|seed| once::<T>(backend, &mut ready, proved, shape, seed)).sum()
        }
    }
    typed(shape.data_type, Run(backend, proved, shape, options))
}

/// Elements that are wrong of one launch by each of the two ways.
pub(crate) fn once<T: Element>(
    backend: &MpiBackend,
    ready: &mut MpiReady,
    proved: &Proved,
    shape: Shape,
    seed: u64,
) -> u64 {
    let (schedule, extents) = (proved.schedule(), proved.extents(shape.count));
    let here = |rank| backend.is_here(rank, schedule.ranks);
    let made = (0..schedule.ranks).map(|rank| {
        let mut input = Vec::new();
        generate_parts(&mut input, schedule, Fill::Normal, seed, rank, shape.count);
        input
    });
    let all: Vec<Vec<T>> = made.collect();
    let all: Vec<&[T]> = all.iter().map(Vec::as_slice).collect();
    let payload = proved.payload(shape.count, T::TYPE).unwrap();
    let golden = Golden::new(proved, &payload, shape.op, &all).unwrap();
    let poisoned = || -> Vec<Vec<T>> {
        let of = |(rank, input): (u32, &&[T])| {
            let mut output = Vec::new();
            if here(rank) {
                extents.prepare(rank, input, &mut output);
            }
            output
        };
        (0..).zip(&all).map(of).collect()
    };
    let count = |outputs: &[Vec<T>]| -> u64 {
        let of = |(rank, output): (u32, &Vec<T>)| {
            let got = &output[extents.output(rank)];
            got.iter().zip(golden.expected(rank)).filter(|(got, expected)| !got.agrees(**expected)).count() as u64
        };
        (0..).zip(outputs).filter(|&(rank, _)| here(rank)).map(of).sum()
    };
    let mine = |(rank, input)| if here(rank) { bytemuck::cast_slice(input) } else { &[] };
    let bytes: Vec<&[u8]> = (0..).zip(all.iter().copied()).map(mine).collect();

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
