//! A process that fails or falls silent in the middle of a launch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator as _;
use wgccl::backend::{Backend, Member, Message, Options, Prepared, Ran, Ready, Shape, Share, Transport};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::{DeviceError, PrepareError, RunError, TransportError};
use wgccl::lower::{Part, Pieced};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, DeviceKind, SyncStyle, build};
use wgccl_mpi::{MpiBackend, MpiReady, mpi};

use crate::check::{over, wrong};

/// A device that breaks, or sleeps, at the so manieth message.
struct Breaks {
    at: u32,
    sleeps: Option<Duration>,
}

struct BreakingShare {
    inner: Box<dyn Share>,
    left: AtomicU32,
    sleeps: Option<Duration>,
}

struct Breaking<'a> {
    inner: &'a mut dyn Transport,
    left: &'a AtomicU32,
    sleeps: Option<Duration>,
}

impl Breaking<'_> {
    fn turn(&self) -> Result<(), TransportError> {
        if self.left.fetch_sub(1, Ordering::Relaxed) != 0 {
            return Ok(());
        }
        match self.sleeps {
            Some(time) => {
                std::thread::sleep(time);
                Ok(())
            }
            None => {
                let (me, peer, reason) = ("it".to_owned(), "itself".to_owned(), "the test says so".to_owned());
                Err(TransportError::Lost { me, peer, boundary: 0, boundaries: 0, reason })
            }
        }
    }
}

impl Transport for Breaking<'_> {
    fn send(&mut self, message: Message, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError> {
        self.turn()?;
        self.inner.send(message, fill)
    }

    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        self.turn()?;
        self.inner.receive(message, take)
    }
}

impl Member for Breaks {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }

    fn name(&self) -> String {
        "one that breaks".to_owned()
    }

    fn most_vectors(&self, part: &Part, shape: Shape, options: &Options) -> Result<usize, PrepareError> {
        Cpu::new().most_vectors(part, shape, options)
    }

    fn prepare_part(
        &self,
        part: &Part,
        shape: Shape,
        pieced: Pieced,
        options: &Options,
    ) -> Result<Box<dyn Share>, PrepareError> {
        let (inner, sleeps) = (Cpu::new().prepare_part(part, shape, pieced, options)?, self.sleeps);
        Ok(Box::new(BreakingShare { inner, left: AtomicU32::new(self.at), sleeps }))
    }
}

impl Share for BreakingShare {
    fn prepared(&self) -> Prepared {
        self.inner.prepared()
    }

    fn run(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        transport: &mut dyn Transport,
    ) -> Result<Ran, RunError> {
        let mut breaking = Breaking { inner: transport, left: &self.left, sleeps: self.sleeps };
        let lost = || DeviceError::Lost { device: "a device".to_owned(), reason: "the test says so".to_owned() };
        let ran = self.inner.run(inputs, outputs, &mut breaking);
        // In the first launch or never.
        self.left.store(u32::MAX, Ordering::Relaxed);
        ran.map_err(|error| match error {
            RunError::Transport(TransportError::Lost { .. }) => lost().into(),
            error => error,
        })
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]], transport: &mut dyn Transport) -> Result<Ran, RunError> {
        self.inner.run_in_place(buffers, transport)
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.inner.load(piece, inputs)
    }

    fn launch(&mut self, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        self.inner.launch(transport)
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.inner.fetch(outputs)
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
        let member: Arc<dyn Member> = if odd { Arc::new(Breaks { at, sleeps: None }) } else { Arc::new(Cpu::new()) };
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
        let member: Arc<dyn Member> = if odd { Arc::new(Breaks { at, sleeps }) } else { Arc::new(Cpu::new()) };
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
