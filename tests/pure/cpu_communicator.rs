//! Collectives by one call each on the CPU: every one, in and out of place, against NCCL's semantics; and what is refused.

use wgccl::collective::{Collective, Op, Task};
use wgccl::cpu::{Communicator, CommunicatorError, CpuError, Options};
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, Schedule};

use crate::common::{Variant, other_variants, variants};

/// Numbers whose sums are exact, so that no order of additions matters.
fn inputs(variant: Variant, count: usize) -> Vec<Vec<f32>> {
    let element = |rank: u32, i: usize| (1000 * rank + i as u32) as f32;
    let length = |rank| variant.nccl().parts(rank).0 as usize * count;
    (0..variant.ranks).map(|rank| (0..length(rank)).map(|i| element(rank, i)).collect()).collect()
}

fn slices(vectors: &[Vec<f32>]) -> Vec<&[f32]> {
    vectors.iter().map(Vec::as_slice).collect()
}

/// By the call that a user makes.
fn call(
    comm: &mut Communicator,
    variant: Variant,
    inputs: &[&[f32]],
    outputs: &mut [&mut [f32]],
) -> Result<(), CommunicatorError> {
    let Variant { collective, root, ranks, .. } = variant;
    let at = root as usize;
    match collective {
        Collective::AllReduce => comm.all_reduce(inputs, outputs, Op::Sum),
        Collective::AllGather => comm.all_gather(inputs, outputs),
        Collective::ReduceScatter => comm.reduce_scatter(inputs, outputs, Op::Sum),
        Collective::Broadcast => comm.broadcast(inputs[at], outputs, root),
        Collective::Reduce => comm.reduce(inputs, outputs[at], Op::Sum, root),
        Collective::Gather => comm.gather(inputs, outputs[at], root),
        Collective::Scatter => comm.scatter(inputs[at], outputs, root),
        Collective::AllToAll => comm.all_to_all(inputs, outputs),
        Collective::SendRecv => {
            let sources: Vec<u32> = (0..ranks).map(|rank| (rank + ranks - 1) % ranks).collect();
            comm.send_recv(inputs, outputs, &sources)
        }
        other => comm.run(other, inputs, outputs, Op::Sum),
    }
}

/// One communicator for all counts and roots, so that what it remembers is used and not confused.
#[test]
fn every_collective_by_one_call() {
    for ranks in [1, 2, 3, 8] {
        let mut chosen = Communicator::new(ranks).options(Options::default().workers(3));
        let all = variants([ranks]).into_iter().chain(other_variants([ranks]));
        for variant in all.filter(|variant| variant.collective != Collective::Barrier) {
            let mut named = Communicator::new(ranks).algorithm(variant.algorithm).sync(variant.sync);
            for (comm, times) in [(&mut chosen, 2), (&mut named, 1)] {
                for count in [1, 257, 100_000].into_iter().cycle().take(if ranks == 3 { 3 * times } else { 2 }) {
                    once(comm, variant, count);
                }
            }
        }
    }
}

fn once(comm: &mut Communicator, variant: Variant, count: usize) {
    let (nccl, given) = (variant.nccl(), inputs(variant, count));
    let case = format!("{variant}, {count} elements");
    let lengths = (0..variant.ranks).map(|rank| nccl.parts(rank));
    if !variant.in_place {
        let mut outputs: Vec<Vec<f32>> = lengths.map(|(_, gets)| vec![-1.0; gets as usize * count]).collect();
        let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        call(comm, variant, &slices(&given), &mut views).unwrap_or_else(|error| panic!("{case}: {error}"));
        for (rank, output) in (0..).zip(&outputs) {
            assert_eq!(*output, nccl.output(rank, count, &given), "{case}: rank {rank}");
        }
        return;
    }
    let mut buffers: Vec<Vec<f32>> =
        lengths.map(|(gives, gets)| vec![-1.0; gives.max(gets) as usize * count]).collect();
    for (rank, buffer) in (0..).zip(&mut buffers) {
        let (first, input) = (nccl.in_place(rank).unwrap().0 as usize, &given[rank as usize]);
        buffer[first * count..][..input.len()].copy_from_slice(input);
    }
    let mut views: Vec<&mut [f32]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
    let task = Task::from(variant.collective).root(variant.root);
    comm.run_in_place(task, &mut views, Op::Sum).unwrap_or_else(|error| panic!("{case}: {error}"));
    for (rank, buffer) in (0..).zip(&buffers) {
        let (first, expected) = (nccl.in_place(rank).unwrap().1 as usize, nccl.output(rank, count, &given));
        assert_eq!(buffer[first * count..][..expected.len()], expected, "{case}: rank {rank}");
    }
}

#[test]
fn types_do_not_get_in_each_others_way() {
    let mut comm = Communicator::new(2);
    let (mut a, mut b) = ([0_u8; 2], [0_u8; 2]);
    comm.all_reduce(&[&[200, 1], &[100, 2]], &mut [&mut a, &mut b], Op::Max).unwrap();
    assert_eq!((a, b), ([200, 2], [200, 2]));
    let (mut a, mut b) = ([0_i64; 2], [0_i64; 2]);
    comm.all_reduce(&[&[200, 1], &[100, 2]], &mut [&mut a, &mut b], Op::Max).unwrap();
    assert_eq!((a, b), ([200, 2], [200, 2]));
    comm.release();
    comm.all_reduce(&[&[200, 1], &[100, 2]], &mut [&mut a, &mut b], Op::Min).unwrap();
    assert_eq!((a, b), ([100, 1], [100, 1]));
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut comm = Communicator::new(2);
    let (mut a, mut b) = ([0.0_f32; 3], [0.0_f32; 3]);
    let input = [1.0; 3];
    let error = comm.all_reduce(&[&input], &mut [&mut a, &mut b], Op::Sum).err().unwrap();
    assert!(matches!(error, CommunicatorError::Cpu(CpuError::Buffers(_))), "{error}");
    let error = comm.all_reduce(&[&input, &input[..2]], &mut [&mut a, &mut b], Op::Sum).err().unwrap();
    assert!(error.to_string().contains("the input of rank 1 has 2 elements"), "{error}");
    let error = comm.broadcast(&input, &mut [&mut a, &mut b], 2).err().unwrap();
    assert!(error.to_string().contains("root 2 is not a rank"), "{error}");
    let error = comm.run_in_place(Collective::AllToAll, &mut [&mut a, &mut b], Op::Sum).err().unwrap();
    assert!(matches!(error, CommunicatorError::Refused(_) | CommunicatorError::Payload(_)), "{error:?}");
    let error = Communicator::new(3)
        .algorithm(Algorithm::HalvingDoubling)
        .all_reduce(&[&input[..]; 3], &mut [&mut a, &mut b, &mut [0.0; 3]], Op::Sum)
        .err()
        .unwrap();
    assert!(matches!(error, CommunicatorError::Build(_)), "{error}");
}

#[test]
fn custom_schedules_are_proved_on_entry() {
    let (a, b) = (Address::input(0, 0), Address::input(1, 0));
    let lane = |rank, to| Lane::new(rank).with(Instruction::new(("move", 1)).reduce(a, b).to(Address::output(to, 0)));
    let pair = |to| Schedule::new("pair", Collective::AllReduce, 2, 1).lane(lane(0, 0)).lane(lane(1, to));
    let comm = Communicator::new(2);
    let mut executor = comm.prepare_schedule::<f32>(pair(1), 2, Op::Sum, false).unwrap();
    let (mut x, mut y) = ([0.0; 2], [0.0; 2]);
    executor.run(&[&[1.0, 2.0], &[3.0, 4.0]], &mut [&mut x, &mut y]).unwrap();
    assert_eq!((x, y), ([4.0, 6.0], [4.0, 6.0]));
    let racy = comm.prepare_schedule::<f32>(pair(0), 2, Op::Sum, false).err().unwrap();
    assert!(matches!(racy, CommunicatorError::Refused(_)), "{racy}");
    let three = Communicator::new(3).prepare_schedule::<f32>(pair(1), 2, Op::Sum, false).err().unwrap();
    assert!(matches!(three, CommunicatorError::Ranks { schedule: 2, communicator: 3 }), "{three}");
}
