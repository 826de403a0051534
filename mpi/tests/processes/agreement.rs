//! What processes are asked for is compared before anything moves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator as _;
use wgccl::backend::{Backend, Member, Options, Shape, Share};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::PrepareError;
use wgccl::lower::{Part, Pieced};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, DeviceKind, Placement, SyncStyle, build};
use wgccl_mpi::{MpiBackend, mpi};

use crate::check::{over, wrong};

fn ring(ranks: u32) -> Proved {
    of(Algorithm::Ring, ranks, false)
}

fn of(algorithm: Algorithm, ranks: u32, in_place: bool) -> Proved {
    let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
    prove(schedule, proof::Options::default().in_place(in_place)).unwrap()
}

fn shape() -> Shape {
    Shape::new(10, DataType::F32, Op::Sum)
}

/// Whatever process 1 is asked for otherwise, all are told what it is, and the next preparation goes well.
pub(crate) fn unequal_plans(world: &SimpleCommunicator) {
    let mut backend = over(world);
    let odd = backend.process() == 1;
    type Plan = (Proved, Shape, Option<Placement>);
    let cases: [(&str, fn() -> Plan); 6] = [
        ("another count", || (ring(4), Shape::new(11, DataType::F32, Op::Sum), None)),
        ("another element type", || (ring(4), Shape::new(10, DataType::I32, Op::Sum), None)),
        ("another operation", || (ring(4), Shape::new(10, DataType::F32, Op::Max), None)),
        ("another schedule", || (of(Algorithm::BidirectionalRing, 4, false), shape(), None)),
        ("another form", || (of(Algorithm::Ring, 4, true), shape(), None)),
        ("another placement", || (ring(4), shape(), Some("0:0,1-2:1,3:2".parse().unwrap()))),
    ];
    for (what, other) in cases {
        let (proved, shape, placement) = if odd { other() } else { (ring(4), shape(), None) };
        backend = backend.placement(placement);
        let error = backend.prepare(&proved, shape, &Options::default()).unwrap_err().to_string();
        assert!(
            error.contains("process 1 (the CPU") && error.contains("process 0 (the CPU") && error.contains(what),
            "{error}"
        );
        backend = backend.placement(None);
        assert_eq!(wrong(&backend, &ring(4), self::shape(), Options::default()), 0, "after {what}");
    }
    let error = over(world).piece_bytes(if odd { 100 } else { 200 }).prepare(&ring(4), shape(), &Options::default());
    assert!(error.unwrap_err().to_string().contains("another limit of a message"));
}

/// A device that cannot carry out its part.
struct Refuses;

impl Member for Refuses {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }

    fn name(&self) -> String {
        "one that refuses".to_owned()
    }

    fn most_vectors(&self, _: &Part, _: Shape, _: &Options) -> Result<usize, PrepareError> {
        Ok(usize::MAX)
    }

    fn prepare_part(&self, _: &Part, _: Shape, _: Pieced, _: &Options) -> Result<Box<dyn Share>, PrepareError> {
        Err(PrepareError::Memory(5 << 20))
    }
}

pub(crate) fn one_that_cannot(world: &SimpleCommunicator) {
    let member: Arc<dyn Member> = if world.rank() == 1 { Arc::new(Refuses) } else { Arc::new(Cpu::new()) };
    let backend = MpiBackend::over(world, member).unwrap();
    for _ in 0..2 {
        let error = backend.prepare(&ring(4), shape(), &Options::default()).unwrap_err().to_string();
        assert!(error.contains("process 1 (one that refuses") && error.contains("no memory for 5 MiB"), "{error}");
    }
    // By a communicator, which tries again where memory is short: all processes must, or none.
    let comm = wgccl::Communicator::new(backend, 4);
    let error = comm.prepare(Collective::AllReduce, shape(), false).unwrap_err().to_string();
    assert!(error.contains("no memory for 5 MiB"), "{error}");
}

pub(crate) fn more_processes_than_ranks(world: &SimpleCommunicator) {
    let backend = over(world);
    let error = backend.prepare(&ring(2), shape(), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("2 of 3 processes"), "{error}");
    let backend = backend.placement(Placement::even(4, 4));
    let error = backend.prepare(&ring(4), shape(), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("4 devices, and there are 3"), "{error}");
}

/// Whoever does not come is named by all, whether it is the first process or another.
pub(crate) fn one_that_does_not_come(world: &SimpleCommunicator) {
    for absent in [0, 1, 2] {
        let backend = over(world);
        let begun = Instant::now();
        let options = Options::default().timeout(Duration::from_secs(2));
        if backend.process() != absent {
            let error = backend.prepare(&ring(4), shape(), &options).unwrap_err().to_string();
            assert!(error.contains("waited 2s") && error.contains(&format!("for process {absent} (")), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(30));
            let error = backend.prepare(&ring(4), shape(), &options).unwrap_err().to_string();
            assert!(error.contains("launches nothing any more"), "{error}");
        } else {
            std::thread::sleep(Duration::from_secs(8));
            let error = backend.prepare(&ring(4), shape(), &options).unwrap_err().to_string();
            assert!(error.contains("launches nothing any more"), "{error}");
        }
    }
    // New ones work.
    assert_eq!(wrong(&over(world), &ring(4), shape(), Options::default()), 0);
}
