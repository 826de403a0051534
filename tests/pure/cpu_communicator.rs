//! Collectives by one call each on the CPU: every one, in and out of place, against NCCL's semantics; and what is refused.

use wgccl::Communicator;
use wgccl::backend::{Options, Ran, Ready, Shape};
use wgccl::collective::{Collective, Op, Task};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::{BufferError, Error, PrepareError, RunError};
use wgccl::fault::Fault;
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, Schedule, SyncStyle};

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
    comm: &Communicator<Cpu>,
    variant: Variant,
    inputs: &[&[f32]],
    outputs: &mut [&mut [f32]],
) -> Result<Ran, Error> {
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
        Collective::Barrier => comm.barrier(),
        other => comm.run(other, inputs, outputs, Op::Sum),
    }
}

/// One communicator for all counts and roots, so that what it remembers is used and not confused.
#[test]
fn every_collective_by_one_call() {
    for ranks in [1, 2, 3, 8] {
        let chosen = Communicator::cpu(ranks).options(Options::default().workers(3));
        let all = variants([ranks]).into_iter().chain(other_variants([ranks]));
        for variant in all.filter(|variant| variant.collective != Collective::Barrier) {
            let named = Communicator::cpu(ranks).algorithm(variant.algorithm).sync(variant.sync);
            for (comm, times) in [(&chosen, 2), (&named, 1)] {
                for count in [1, 257, 100_000].into_iter().cycle().take(if ranks == 3 { 3 * times } else { 2 }) {
                    once(comm, variant, count);
                }
            }
        }
    }
}

fn once(comm: &Communicator<Cpu>, variant: Variant, count: usize) {
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
    let comm = Communicator::cpu(2);
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

/// What was prepared before is not what is meant then.
#[test]
fn what_is_set_holds_for_shapes_that_were_called_before() {
    let comm = Communicator::cpu(2).algorithm(Algorithm::Ring);
    let call = |comm: &Communicator<Cpu>| {
        let (mut a, mut b) = ([0_u8; 2], [0_u8; 2]);
        comm.all_reduce(&[&[1, 2], &[3, 4]], &mut [&mut a, &mut b], Op::Sum)
    };
    call(&comm).unwrap();
    let comm = comm.options(Options::default().fault(Fault::DropNotify { rank: 0, row: 1 }));
    assert!(call(&comm).unwrap_err().hang().is_some());
    // Which has no notify to lose.
    let comm = comm.algorithm(Algorithm::Direct);
    call(&comm).unwrap();
    assert!(matches!(call(&comm.sync(SyncStyle::Barrier)), Err(Error::Prepare(PrepareError::Build(_)))));
}

#[test]
fn what_does_not_fit_is_refused() {
    let comm = Communicator::cpu(2);
    let (mut a, mut b) = ([0.0_f32; 3], [0.0_f32; 3]);
    let input = [1.0; 3];
    let error = comm.all_reduce(&[&input], &mut [&mut a, &mut b], Op::Sum).err().unwrap();
    assert!(matches!(error, Error::Run(RunError::Buffers(_))), "{error}");
    let error = comm.all_reduce(&[&input, &input[..2]], &mut [&mut a, &mut b], Op::Sum).err().unwrap();
    assert!(error.to_string().contains("the input of rank 1 has 2 elements"), "{error}");
    let error = comm.broadcast(&input, &mut [&mut a, &mut b], 2).err().unwrap();
    assert!(error.to_string().contains("root 2 is not a rank"), "{error}");
    let error = comm.run_in_place(Collective::AllToAll, &mut [&mut a, &mut b], Op::Sum).err().unwrap();
    assert!(matches!(error, Error::Prepare(PrepareError::Refused(_) | PrepareError::Payload(_))), "{error:?}");
    let error = Communicator::cpu(3)
        .algorithm(Algorithm::HalvingDoubling)
        .all_reduce(&[&input[..]; 3], &mut [&mut a, &mut b, &mut [0.0; 3]], Op::Sum)
        .err()
        .unwrap();
    assert!(matches!(error, Error::Prepare(PrepareError::Build(_))), "{error}");
}

#[test]
fn custom_schedules_are_proved_on_entry() {
    let (a, b) = (Address::input(0, 0), Address::input(1, 0));
    let lane = |rank, to| Lane::new(rank).with(Instruction::new(("move", 1)).reduce(a, b).to(Address::output(to, 0)));
    let pair = |to| Schedule::new("pair", Collective::AllReduce, 2, 1).lane(lane(0, 0)).lane(lane(1, to));
    let comm = Communicator::cpu(2);
    let shape = Shape::new(2, DataType::F32, Op::Sum);
    let mut executor = comm.prepare_schedule(pair(1), shape, false).unwrap();
    let (inputs, mut outputs) = ([[1.0_f32, 2.0], [3.0, 4.0]], [[0.0_f32; 2]; 2]);
    let inputs = inputs.each_ref().map(|input| bytemuck::cast_slice(input));
    executor.run(&inputs, &mut outputs.each_mut().map(|output| bytemuck::cast_slice_mut(output))).unwrap();
    assert_eq!(outputs, [[4.0, 6.0], [4.0, 6.0]]);
    let (mut x, mut y) = ([0.0; 2], [0.0; 2]);
    comm.run_schedule(pair(1), &[&[1.0, 2.0], &[3.0, 4.0]], &mut [&mut x, &mut y], Op::Max).unwrap();
    assert_eq!((x, y), ([3.0, 4.0], [3.0, 4.0]));
    let racy = comm.prepare_schedule(pair(0), shape, false).err().unwrap();
    assert!(matches!(racy, PrepareError::Refused(_)), "{racy}");
    let three = Communicator::cpu(3).prepare_schedule(pair(1), shape, false).err().unwrap();
    assert!(matches!(three, PrepareError::OtherRanks { schedule: 2, communicator: 3 }), "{three}");
}

/// As with NCCL: nothing to do is done, and what is wrong apart from that is still refused.
#[test]
fn zero_elements_are_a_no_op() {
    let comm = Communicator::cpu(3);
    let none: [&[f32]; 3] = [&[]; 3];
    let mut outputs: [&mut [f32]; 3] = [&mut [], &mut [], &mut []];
    comm.all_reduce(&none, &mut outputs, Op::Avg).unwrap();
    comm.reduce_scatter(&none, &mut outputs, Op::Sum).unwrap();
    comm.all_to_all(&none, &mut outputs).unwrap();
    comm.broadcast(&[], &mut outputs, 1).unwrap();
    comm.gather(&none, &mut [], 2).unwrap();
    comm.send_recv(&none, &mut outputs, &[1, 2, 0]).unwrap();
    comm.run_in_place(Collective::AllReduce, &mut outputs, Op::Sum).unwrap();
    assert!(format!("{comm:?}").contains("known: []"), "nothing is prepared: {comm:?}");
    comm.run(Collective::Barrier, &none, &mut outputs, Op::Sum).unwrap();
    assert!(format!("{comm:?}").contains("Barrier"), "a barrier has something to do: {comm:?}");

    let text = |result: Result<Ran, Error>| result.unwrap_err().to_string();
    let refused = text(comm.all_reduce(&none[..2], &mut outputs, Op::Sum));
    assert!(refused.contains("2 inputs for 3 ranks"), "{refused}");
    let refused = text(comm.all_reduce(&[&[], &[1.0], &[]], &mut outputs, Op::Sum));
    assert!(refused.contains("the input of rank 1 has 1 elements, but the payload has 0"), "{refused}");
    let refused = text(comm.reduce_scatter(&[&[1.0, 2.0][..]; 3], &mut outputs, Op::Sum));
    assert!(refused.contains("the input of rank 0 has 2 elements"), "no whole part is not nothing: {refused}");
    let refused = text(comm.broadcast(&[], &mut outputs, 3));
    assert!(refused.contains("root 3 is not a rank"), "{refused}");
    let refused = text(comm.run_in_place(Collective::AllToAll, &mut outputs, Op::Sum));
    assert!(refused.contains("has no form in place"), "{refused}");
    let none: [&[i32]; 3] = [&[]; 3];
    let refused = text(comm.all_reduce(&none, &mut [&mut [], &mut [], &mut []], Op::Avg));
    assert!(refused.contains("avg of i32"), "{refused}");
}

#[test]
fn bytes_are_elements_of_the_type_that_is_named() {
    let comm = Communicator::cpu(2);
    let inputs = [[1_i32, -2, 3], [10, 20, 30]];
    let bytes = inputs.each_ref().map(|input| bytemuck::cast_slice(input));
    let mut outputs = [[0_i32; 3]; 2];
    let mut views = outputs.each_mut().map(|output| bytemuck::cast_slice_mut(output));
    comm.run_bytes(Collective::AllReduce, DataType::I32, &bytes, &mut views, Op::Sum).unwrap();
    assert_eq!(outputs, [[11, 18, 33]; 2]);
    // The same bytes as wrapping bytes, in place.
    let mut buffers = inputs;
    let mut views = buffers.each_mut().map(|buffer| bytemuck::cast_slice_mut(buffer));
    comm.run_bytes_in_place(Collective::AllReduce, DataType::U8, &mut views, Op::Sum).unwrap();
    let sum = |i: usize| {
        i32::from_ne_bytes(std::array::from_fn(|b| {
            inputs[0][i].to_ne_bytes()[b].wrapping_add(inputs[1][i].to_ne_bytes()[b])
        }))
    };
    assert_eq!(buffers, [[sum(0), sum(1), sum(2)]; 2]);
}

#[test]
fn bytes_that_cannot_be_elements_are_refused() {
    let comm = Communicator::cpu(2);
    let words = [0_u64; 4];
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    let (mut a, mut b) = ([0_u64; 2], [0_u64; 2]);
    let mut run = |inputs: [&[u8]; 2], skipped: usize| {
        let outputs =
            &mut [&mut bytemuck::cast_slice_mut(&mut a)[..16], &mut bytemuck::cast_slice_mut(&mut b)[skipped..]];
        comm.run_bytes(Collective::AllReduce, DataType::F64, &inputs, outputs, Op::Sum).unwrap_err()
    };
    let refused = run([&bytes[..16], &bytes[4..20]], 0);
    let misaligned =
        matches!(refused, Error::Run(RunError::Buffers(BufferError::Misaligned { rank: 1, align: 8, .. })));
    assert!(misaligned, "{refused}");
    let refused = run([&bytes[..16], &bytes[..12]], 0);
    let ragged = matches!(refused, Error::Run(RunError::Buffers(BufferError::Ragged { rank: 1, got: 12, .. })));
    assert!(ragged, "{refused}");
    let refused = run([&bytes[..16]; 2], 3);
    assert!(refused.to_string().contains("the output of rank 1 has 13 bytes"), "{refused}");
    // A rank that has nothing may have it anywhere.
    let (nothing, mut output) = (&bytes[1..1], [0_u64; 4]);
    let mut outputs = [bytemuck::cast_slice_mut(&mut output[..]), &mut []];
    comm.run_bytes(Collective::Gather, DataType::F64, &[&bytes[..16]; 2], &mut outputs, Op::Sum).unwrap();
    let mut outputs = outputs.map(|output| &mut output[..0]);
    comm.run_bytes(Collective::AllReduce, DataType::F64, &[nothing; 2], &mut outputs, Op::Sum).unwrap();
}

/// Calls of one shape and of unlike ones, at the same time.
#[test]
fn threads_share_a_communicator() {
    let comm = Communicator::cpu(2);
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let comm = &comm;
            scope.spawn(move || {
                for count in [3, 5, 3] {
                    let input = vec![thread as f32; count];
                    let (mut a, mut b) = (vec![0.0; count], vec![0.0; count]);
                    comm.all_reduce(&[&input, &input], &mut [&mut a, &mut b], Op::Sum).unwrap();
                    assert_eq!((&a, &b), (&vec![2.0 * thread as f32; count], &a));
                }
            });
        }
    });
}
