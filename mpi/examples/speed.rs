//! All-reduce of f32 sums over processes: this crate, MPI alone, and MPI with the sums inside a process by hand.
//!
//! ```sh
//! mpirun -n 2 target/release/examples/speed placed 4              # 2 processes of 4 ranks: this crate, and by hand, in turn
//! mpirun -n 2 target/release/examples/speed placed 4 65536 ring   # up to 64 KiB, by this algorithm
//! mpirun -n 8 target/release/examples/speed plain                 # 8 processes: MPI_Allreduce alone
//! ```
//!
//! One line of JSON for each size, from process 0. Times are medians, of the process that took longest each time.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use mpi::collective::SystemOperation;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _};
use wgccl::Communicator;
use wgccl::backend::{Ready as _, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::schedule::Algorithm;
use wgccl_mpi::{MpiBackend, mpi};

const MOST_BYTES: usize = 64 << 20;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let universe = mpi::initialize().ok_or("MPI was initialised before")?;
    let world = universe.world();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["placed", ranks] => placed(&world, ranks.parse()?, MOST_BYTES, None),
        ["placed", ranks, most] => placed(&world, ranks.parse()?, most.parse()?, None),
        ["placed", ranks, most, algorithm] => placed(&world, ranks.parse()?, most.parse()?, Some(algorithm.parse()?)),
        ["plain"] => plain(&world, MOST_BYTES),
        ["plain", most] => plain(&world, most.parse()?),
        _ => {
            Err("give 'placed' and the ranks of a process, or 'plain', and then the most bytes and an algorithm".into())
        }
    }
}

fn sizes(most: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1 << 10), |bytes| Some(bytes * 4)).take_while(move |&bytes| bytes <= most)
}

/// Enough for a median, and no more than a second or so.
fn rounds(bytes: usize) -> usize {
    ((256 << 20) / bytes / 8).clamp(7, 300)
}

/// What the slowest process took, in microseconds.
fn slowest(world: &SimpleCommunicator, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    world.barrier();
    let start = Instant::now();
    run()?;
    let (mine, mut all) = (start.elapsed().as_secs_f64() * 1e6, 0.0);
    world.all_reduce_into(&mine, &mut all, SystemOperation::max());
    Ok(all)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(world: &SimpleCommunicator, what: &str, ranks: usize, bytes: usize, times: &mut [f64]) {
    if world.rank() == 0 {
        let (processes, rounds, median) = (world.size(), times.len(), median(times));
        println!(
            "{{\"what\":\"{what}\",\"processes\":{processes},\"ranks\":{ranks},\"bytes\":{bytes},\"rounds\":{rounds},\"median_us\":{median:.1}}}"
        );
    }
}

fn plain(world: &SimpleCommunicator, most: usize) -> Result<()> {
    for bytes in sizes(most) {
        let count = bytes / 4;
        let (input, mut output) = (vec![world.rank() as f32; count], vec![0.0_f32; count]);
        let mut times = Vec::new();
        for round in 0..rounds(bytes) + 2 {
            let time = slowest(world, || {
                world.all_reduce_into(&input[..], &mut output[..], SystemOperation::sum());
                Ok(())
            })?;
            // The first ones touch memory and make connections.
            times.extend((round > 1).then_some(time));
        }
        report(world, "plain", world.size() as usize, bytes, &mut times);
    }
    Ok(())
}

fn placed(world: &SimpleCommunicator, local: u32, most: usize, algorithm: Option<Algorithm>) -> Result<()> {
    let backend = MpiBackend::over(world, Arc::new(Cpu::new()))?;
    let (ranks, me) = (local * backend.processes(), backend.process());
    let mut comm = Communicator::new(backend, ranks);
    if let Some(algorithm) = algorithm {
        comm = comm.algorithm(algorithm);
    }
    let all = ranks as usize;
    let own = (me * local) as usize..((me + 1) * local) as usize;
    for bytes in sizes(most) {
        let count = bytes / 4;
        let here = |rank: usize| if own.contains(&rank) { count } else { 0 };
        let inputs: Vec<Vec<f32>> = (0..all).map(|rank| vec![rank as f32; here(rank)]).collect();
        let mut outputs: Vec<Vec<f32>> = (0..all).map(|rank| vec![0.0; here(rank)]).collect();
        let given: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
        let shape = Shape::new(count, DataType::F32, Op::Sum);
        let mut ready = comm.prepare(Collective::AllReduce, shape, false)?;
        let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
        let mut sum = vec![0.0_f32; count];
        for round in 0..rounds(bytes) + 2 {
            let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
            let time = slowest(world, || Ok(ready.run(&given, &mut views).map(|_| ())?))?;
            ours.extend((round > 1).then_some(time));
            let time = slowest(world, || {
                hand(world, &inputs[own.clone()], &mut sum, &mut outputs[own.clone()]);
                Ok(())
            })?;
            by_hand.extend((round > 1).then_some(time));
        }
        report(world, "placed", all, bytes, &mut ours);
        report(world, "by hand", all, bytes, &mut by_hand);
    }
    Ok(())
}

/// What a program does that has several arrays in a process and knows MPI.
fn hand(world: &SimpleCommunicator, inputs: &[Vec<f32>], sum: &mut [f32], outputs: &mut [Vec<f32>]) {
    sum.copy_from_slice(&inputs[0]);
    for input in &inputs[1..] {
        sum.iter_mut().zip(input).for_each(|(sum, x)| *sum += x);
    }
    if let Some((first, others)) = outputs.split_first_mut() {
        world.all_reduce_into(&*sum, &mut first[..], SystemOperation::sum());
        others.iter_mut().for_each(|output| output.copy_from_slice(first));
    }
}
