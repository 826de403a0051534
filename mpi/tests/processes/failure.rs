//! A process that fails or falls silent in the middle of a launch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator as _;
use wgccl::backend::{Backend, Member, Options, Ran, Ready, Shape, Transport};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::{DeviceError, RunError, TransportError};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};
use wgccl_mpi::{MpiBackend, MpiReady, mpi};

use crate::check::{over, wrong};
use crate::common::behind::{Around, Behind, Launch, Watched};

/// Breaks, or sleeps, at the so manieth message of the first launch.
struct Breaks {
    left: u32,
    sleeps: Option<Duration>,
}

/// A device that does.
fn breaks(at: u32, sleeps: Option<Duration>) -> Arc<dyn Member> {
    Behind::member("one that breaks", move || Breaks { left: at, sleeps })
}

impl Around for Breaks {
    fn launch(&mut self, transport: &mut dyn Transport, launch: Launch<'_>) -> Result<Ran, RunError> {
        let (left, sleeps) = (&mut self.left, self.sleeps);
        let mut turn = |_| {
            let now = *left == 0;
            *left = left.wrapping_sub(1);
            match sleeps {
                _ if !now => {}
                Some(time) => std::thread::sleep(time),
                None => {
                    let (me, peer, reason) = ("it".to_owned(), "itself".to_owned(), "the test says so".to_owned());
                    return Err(TransportError::Lost { me, peer, boundary: 0, boundaries: 0, reason });
                }
            }
            Ok(())
        };
        let ran = launch(&mut Watched { inner: transport, turn: &mut turn });
        // In the first launch or never.
        self.left = u32::MAX;
        let lost = || DeviceError::Lost { device: "a device".to_owned(), reason: "the test says so".to_owned() };
        ran.map_err(|error| match error {
            RunError::Transport(TransportError::Lost { .. }) => lost().into(),
            error => error,
        })
    }
}

const RANKS: u32 = 6;

fn ring() -> Proved {
    let schedule = build(Collective::AllReduce, Algorithm::Ring, RANKS, SyncStyle::Neighbor).unwrap();
    prove(schedule, proof::Options::default()).unwrap()
}

fn shape() -> Shape {
    // Above what Open MPI sends without asking the receiver.
    Shape::new(60_000, DataType::F32, Op::Sum)
}

/// The outcome of a launch, of which only this process's ranks have buffers.
fn launch(backend: &MpiBackend, options: &Options) -> (Result<Ran, RunError>, MpiReady) {
    let mut ready = backend.prepare(&ring(), shape(), options).unwrap();
    (once(backend, &mut ready), ready)
}

fn once(backend: &MpiBackend, ready: &mut impl Ready) -> Result<Ran, RunError> {
    let bytes = |rank| if backend.is_here(rank, RANKS) { shape().count * 4 } else { 0 };
    let inputs: Vec<Vec<f32>> = (0..RANKS).map(|rank| vec![1.0; bytes(rank) / 4]).collect();
    let mut outputs = inputs.clone();
    let inputs: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
    let ran = ready.run(&inputs, &mut views)?;
    assert!(outputs.iter().flatten().all(|&element| element == RANKS as f32), "all there or not at all");
    Ok(ran)
}

/// Whichever message the last process fails at, the others that wait for it are told why, nobody hangs, and a new backend works.
pub(crate) fn one_that_fails(world: &SimpleCommunicator) {
    let last = world.size() - 1;
    let mut failed = 0;
    for at in 0..64 {
        let odd = world.rank() == last;
        let member: Arc<dyn Member> = if odd { breaks(at, None) } else { Arc::new(Cpu::new()) };
        let backend = MpiBackend::over(world, member).unwrap();
        let begun = Instant::now();
        let (first, mut ready) = launch(&backend, &Options::default());
        // Those that the failing one had served already may be done; then the next launch tells them.
        let second = once(&backend, &mut ready);
        let error = match (first, second) {
            (Err(error), second) => {
                let again = second.unwrap_err().to_string();
                assert!(again.contains("launches nothing any more"), "{again}");
                error.to_string()
            }
            (Ok(_), Err(error)) => error.to_string(),
            // The last message was beyond the end.
            (Ok(_), Ok(_)) => break,
        };
        assert!(error.contains("the test says so"), "message {at}: {error}");
        assert!(odd || error.contains(&format!("process {last} (one that breaks")), "message {at}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody waits for what will not come");
        failed += 1;
        assert_eq!(wrong(&over(world), &ring(), shape(), Options::default()), 0, "after message {at}");
    }
    assert!(failed > 4, "{failed}");
}

/// A process that sleeps is named by those that wait for it, after the deadline.
pub(crate) fn one_that_is_silent(world: &SimpleCommunicator) {
    let odd = world.rank() == 1;
    for at in [0, 3] {
        let sleeps = Some(Duration::from_secs(8));
        let member: Arc<dyn Member> = if odd { breaks(at, sleeps) } else { Arc::new(Cpu::new()) };
        let backend = MpiBackend::over(world, member).unwrap();
        let error = launch(&backend, &Options::default().timeout(Duration::from_secs(2))).0.unwrap_err().to_string();
        // Process 0 waits for process 2, and that for process 1.
        assert!(error.contains("waited 2s for") && error.contains("or process 1 (one that breaks on"), "{error}");
    }
    assert_eq!(wrong(&over(world), &ring(), shape(), Options::default()), 0);
}

/// Buffers that are wrong on one process are an error on all.
pub(crate) fn wrong_lengths(world: &SimpleCommunicator) {
    let backend = over(world);
    let mut ready = backend.prepare(&ring(), shape(), &Options::default()).unwrap();
    let bytes = |rank| if backend.is_here(rank, RANKS) { shape().count * 4 - usize::from(rank == 1) * 4 } else { 0 };
    let inputs: Vec<Vec<u8>> = (0..RANKS).map(|rank| vec![0; bytes(rank)]).collect();
    let mut outputs = inputs.clone();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let error = ready.run(&inputs, &mut views).unwrap_err().to_string();
    assert!(error.contains("the input of rank 1 has 59999 elements"), "{error}");
    // Not one for each rank.
    let backend = over(world);
    let mut ready = backend.prepare(&ring(), shape(), &Options::default()).unwrap();
    let error = ready.run(&inputs[..3], &mut views).unwrap_err().to_string();
    assert!(error.contains("3 inputs for 6 ranks"), "{error}");
}
