//! A schedule of one's own: built by hand, proved, run on the CPU and on a GPU; and one that is refused, with the reason.
//!
//! A star: the leaves' contributions are added up at rank 0, one after the other, and rank 0 hands out the sum.

use wgccl::collective::{Collective, Op};
use wgccl::gpu::{self, Gpu};
use wgccl::proof::check;
use wgccl::schedule::{Address, Instruction, Lane, Schedule};
use wgccl::{cpu, proof};

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
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut on_cpu = vec![vec![0.0; COUNT]; RANKS as usize];
    let mut on_gpu = on_cpu.clone();
    let shape = Shape::new(COUNT, DataType::F32, Op::Sum);
    let mut executor = Communicator::cpu(RANKS).prepare_schedule(star(), shape, false)?;
    executor
        .run(&inputs.iter().map(|input| bytemuck::cast_slice(input)).collect::<Vec<_>>(), &mut bytes(&mut on_cpu))?;
    let comm = gpu::Communicator::on(Gpu::best()?, RANKS);
    comm.run_schedule_on_host(star(), &inputs, &mut views(&mut on_gpu), Op::Sum)?;
    assert_eq!(on_cpu, on_gpu);
    println!("CPU and {} agree in every bit: {}", comm.gpu().info().title(), on_gpu[0][0]);

    // Nothing that is not proved reaches a device.
    assert!(comm.prepare_schedule::<f32>(hasty, COUNT, Op::Sum).is_err());
    Ok(())
}

fn views(vectors: &mut [Vec<f32>]) -> Vec<&mut [f32]> {
    vectors.iter_mut().map(Vec::as_mut_slice).collect()
}
