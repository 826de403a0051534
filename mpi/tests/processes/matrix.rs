//! Every collective and algorithm, on every kind of placement, over lengths that divide and that do not.

use mpi::topology::SimpleCommunicator;
use wgccl::backend::Options;
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::proof::prove;
use wgccl::schedule::Placement;
use wgccl_mpi::{MpiBackend, mpi};

use crate::check::{over, wrong};
use crate::common::placed::shapes;
use crate::common::{other_variants, variants};

/// Ranks that take turns, so that all neighbours are on other processes.
fn interleaved(ranks: u32, processes: u32) -> Placement {
    Placement::new((0..ranks).map(|rank| rank % processes).collect::<Vec<_>>()).unwrap()
}

/// In blocks, the first ones on the last process.
fn reversed(ranks: u32, processes: u32) -> Placement {
    let even = Placement::even(ranks, processes);
    Placement::new((0..ranks).map(|rank| processes - 1 - even.device(rank)).collect::<Vec<_>>()).unwrap()
}

pub(crate) fn every_collective(world: &SimpleCommunicator) {
    all(over(world), &[3, 5, 8]);
}

/// Pieces shorter than any message, and longer than some.
pub(crate) fn messages_in_pieces(world: &SimpleCommunicator) {
    for bytes in [40, 1000] {
        all(over(world).piece_bytes(bytes), &[4]);
    }
}

fn all(mut backend: MpiBackend, ranks: &[u32]) {
    let (shapes, processes) = (shapes(), backend.processes());
    let (mut at, mut checked) = (0, 0);
    for &ranks in ranks.iter().filter(|&&ranks| ranks >= processes) {
        for variant in variants([ranks]).into_iter().chain(other_variants([ranks])) {
            let Ok(proved) = prove(variant.schedule(), variant.options()) else { continue };
            let placements =
                [Placement::even(ranks, processes), interleaved(ranks, processes), reversed(ranks, processes)];
            // Every pair of these occurs, because the lengths have no common factor.
            at += 1;
            let placement = &placements[at % placements.len()];
            let mut shape = shapes[at % shapes.len()];
            if variant.collective == Collective::Barrier {
                shape.count = 0;
            }
            if shape.op == Op::Avg && (variant.in_place || shape.data_type == DataType::I8) {
                shape.op = Op::Sum;
            }
            let options = if at % 2 == 0 { Options::default() } else { Options::default().channels(3) };
            backend = backend.placement(placement.clone());
            assert_eq!(wrong(&backend, &proved, shape, options), 0, "{variant} on {placement}: {shape:?}");
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}
