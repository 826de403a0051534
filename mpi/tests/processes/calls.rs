//! The calls of a communicator whose ranks are on several processes.

use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination as _, Source as _};
use wgccl::Communicator;
use wgccl::backend::{Ready as _, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::schedule::Placement;
use wgccl_mpi::{MpiBackend, mpi};

use crate::check::over;

/// A buffer for each rank, of `length(rank)` elements where the rank is here.
fn buffers(
    placement: &Placement,
    me: u32,
    length: impl Fn(u32) -> usize,
    element: impl Fn(u32, usize) -> f64,
) -> Vec<Vec<f64>> {
    let of = |rank| {
        if placement.device(rank) == me { (0..length(rank)).map(|i| element(rank, i)).collect() } else { Vec::new() }
    };
    (0..placement.ranks()).map(of).collect()
}

fn slices(of: &[Vec<f64>]) -> Vec<&[f64]> {
    of.iter().map(Vec::as_slice).collect()
}

fn slices_mut(of: &mut [Vec<f64>]) -> Vec<&mut [f64]> {
    of.iter_mut().map(Vec::as_mut_slice).collect()
}

pub(crate) fn every_call(world: &SimpleCommunicator) {
    let backend = over(world);
    let (ranks, count, me) = (6_u32, 37_usize, backend.process());
    let placement = backend.placement_of(ranks);
    let comm = Communicator::new(backend, ranks);
    let value = |rank: u32, i: usize| f64::from(rank * 1000) + i as f64;
    let sum = |i: usize| (0..ranks).map(|rank| value(rank, i)).sum::<f64>();
    let here = |rank: u32| placement.device(rank) == me;
    let all = ranks as usize * count;
    let zero = |_: u32, _: usize| 0.0;
    // Twice, so that what the first call prepared serves the second.
    for _ in 0..2 {
        let inputs = buffers(&placement, me, |_| count, value);
        let mut outputs = buffers(&placement, me, |_| count, zero);
        comm.all_reduce(&slices(&inputs), &mut slices_mut(&mut outputs), Op::Sum).unwrap();
        assert_eq!(outputs, buffers(&placement, me, |_| count, |_, i| sum(i)));

        let mut gathered = buffers(&placement, me, |_| all, zero);
        comm.all_gather(&slices(&inputs), &mut slices_mut(&mut gathered)).unwrap();
        let of_all = |_: u32, i: usize| value((i / count) as u32, i % count);
        assert_eq!(gathered, buffers(&placement, me, |_| all, of_all));

        let long = buffers(&placement, me, |_| all, value);
        comm.reduce_scatter(&slices(&long), &mut slices_mut(&mut outputs), Op::Sum).unwrap();
        assert_eq!(outputs, buffers(&placement, me, |_| count, |rank, i| sum(rank as usize * count + i)));

        comm.all_to_all(&slices(&long), &mut slices_mut(&mut gathered)).unwrap();
        let turned = |rank: u32, i: usize| value((i / count) as u32, rank as usize * count + i % count);
        assert_eq!(gathered, buffers(&placement, me, |_| all, turned));

        // Of the root's buffer, others have nothing.
        for root in [0, ranks - 1] {
            let at_root = |length| if here(root) { length } else { 0 };
            let input: Vec<f64> = (0..at_root(count)).map(|i| value(root, i)).collect();
            comm.broadcast(&input, &mut slices_mut(&mut outputs), root).unwrap();
            assert_eq!(outputs, buffers(&placement, me, |_| count, |_, i| value(root, i)));
            let mut output = vec![0.0; at_root(count)];
            comm.reduce(&slices(&inputs), &mut output, Op::Max, root).unwrap();
            assert_eq!(output, (0..at_root(count)).map(|i| value(ranks - 1, i)).collect::<Vec<_>>());
        }

        let mut buffers_in_place = buffers(&placement, me, |_| count, value);
        comm.run_in_place(Collective::AllReduce, &mut slices_mut(&mut buffers_in_place), Op::Sum).unwrap();
        assert_eq!(buffers_in_place, buffers(&placement, me, |_| count, |_, i| sum(i)));

        comm.run::<f64>(
            Collective::Barrier,
            &[&[][..]; 6],
            &mut (0..6).map(|_| &mut [][..]).collect::<Vec<_>>(),
            Op::Sum,
        )
        .unwrap();
    }
    let ready = comm.prepare(Collective::AllReduce, Shape::new(5, DataType::F32, Op::Sum), false).unwrap();
    assert_eq!(ready.split().whole().schedule().origin.name(), "hierarchical-one-phase");
    // Nothing is done of nothing, on each process by itself.
    let nothing = buffers(&placement, me, |_| 0, zero);
    comm.all_reduce(&slices(&nothing), &mut slices_mut(&mut nothing.clone()), Op::Sum).unwrap();
}

/// Messages of the user's, with tags that we use as well, are neither taken nor disturbed.
pub(crate) fn beside_other_traffic(world: &SimpleCommunicator) {
    let (me, all) = (world.rank(), world.size());
    for tag in 0..8 {
        let sent = [me; 3];
        mpi::request::scope(|scope| {
            let next = world.process_at_rank((me + 1) % all);
            let request = next.immediate_send_with_tag(scope, &sent, tag);
            every_call(world);
            let (got, _) = world.process_at_rank((me + all - 1) % all).receive_vec_with_tag::<i32>(tag);
            assert_eq!(got, [(me + all - 1) % all; 3]);
            request.wait();
        });
    }
}

/// Schedules that are ready at the same time do not meet each other's messages, whichever is launched when.
pub(crate) fn several_at_once(world: &SimpleCommunicator) {
    let backend = over(world);
    let (ranks, me) = (4_u32, backend.process());
    let placement = backend.placement_of(ranks);
    let comm: Communicator<MpiBackend> = Communicator::new(backend, ranks);
    let prepare =
        |count| comm.prepare(Collective::AllReduce, Shape::new(count, DataType::F64, Op::Sum), false).unwrap();
    let mut ready: Vec<_> = (1..6).map(|count| (count, prepare(count))).collect();
    for i in 0..200_usize {
        let (count, ready) = &mut ready[i * i % 5];
        let inputs = buffers(&placement, me, |_| *count, |rank, _| f64::from(rank) + i as f64);
        let mut outputs = buffers(&placement, me, |_| *count, |_, _| 0.0);
        let bytes: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
        let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
        ready.run(&bytes, &mut views).unwrap();
        assert_eq!(outputs, buffers(&placement, me, |_| *count, |_, _| 6.0 + 4.0 * i as f64));
    }
}
