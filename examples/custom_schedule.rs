//! A schedule of one's own: built by hand, proved, run on the CPU and on a GPU; and one that is refused, with the reason.
//!
//! A star: the leaves' contributions are added up at rank 0, one after the other, and rank 0 hands out the sum.

use wgccl::Communicator;
use wgccl::backend::{Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::gpu::Gpu;
use wgccl::proof::{self, check};
use wgccl::schedule::{Address, Instruction, Lane, Schedule};

const RANKS: u32 = 4;
const COUNT: usize = 1000;

/// The row of every matrix on which a rank hears that rank 0's output is complete.
const COMPLETE: u32 = 0;

/// Rank 0 gathers; the others wait until it tells them, and take the sum over.
fn star() -> Schedule {
    let sum = Address::output(0, 0);
    let mut center = Lane::new(0);
    let all = (0..RANKS).map(|rank| Address::input(rank, 0));
    let mut add = Instruction::new(("RS", 1)).reduce_all(all).to(sum);
    for leaf in 1..RANKS {
        add = add.notify(leaf, COMPLETE);
    }
    center.push(add);
    let leaf = |rank| {
        let take = Instruction::new(("AG", 1)).wait(COMPLETE, 0).copy(sum).to(Address::output(rank, 0));
        Lane::new(rank).with(take)
    };
    let schedule = Schedule::new("star", Collective::AllReduce, RANKS, 1).signal_rows(1).lane(center);
    (1..RANKS).fold(schedule, |schedule, rank| schedule.lane(leaf(rank)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = check(&star(), proof::Options::default());
    assert!(report.ok(), "{report}");
    println!("the star: no deadlock, no race, right result\n");

    // The same without the wait of rank 2: it may copy before the sum is there.
    let mut hasty = star();
    hasty.lanes[2].instructions[0].waits.clear();
    println!("without a wait:\n{}\n", check(&hasty, proof::Options::default()));

    let inputs: Vec<Vec<f32>> = (0..RANKS).map(|rank| vec![0.1 * rank as f32; COUNT]).collect();
    let mut on_cpu = vec![vec![0.0; COUNT]; RANKS as usize];
    let mut on_gpu = on_cpu.clone();
    let shape = Shape::new(COUNT, DataType::F32, Op::Sum);
    let inputs: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    Communicator::cpu(RANKS).prepare_schedule(star(), shape, false)?.run(&inputs, &mut bytes(&mut on_cpu))?;
    let comm = Communicator::new(Gpu::best()?, RANKS);
    comm.prepare_schedule(star(), shape, false)?.run(&inputs, &mut bytes(&mut on_gpu))?;
    assert_eq!(on_cpu, on_gpu);
    println!("CPU and {} agree in every bit: {}", comm.backend().info().title(), on_gpu[0][0]);

    // Nothing that is not proved reaches a device.
    assert!(comm.prepare_schedule(hasty, shape, false).is_err());
    Ok(())
}

fn bytes(vectors: &mut [Vec<f32>]) -> Vec<&mut [u8]> {
    vectors.iter_mut().map(|vector| bytemuck::cast_slice_mut(vector)).collect()
}
