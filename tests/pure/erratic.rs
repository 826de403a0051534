//! Messages that come late, and out of the order in which they were sent, but for those of one device to another.
//!
//! A schedule over several devices may depend on nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use wgccl::backend::{Member, Message, Options, Prepared, Ran, Shape, Share, Transport};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::{PrepareError, RunError, TransportError};
use wgccl::lower::{Part, Pieced};
use wgccl::placed::Placed;
use wgccl::proof::{self, prove};
use wgccl::schedule::{DeviceKind, Placement};

use crate::common::placed::{Over, wrong};
use crate::common::{other_variants, variants};
use crate::oracle::case::{Case, Kind};
use crate::oracle::random::Random;

/// A device behind an erratic network, which works on few vectors at a time, so that pieces overtake each other, too.
struct Far {
    inner: Cpu,
    seed: u64,
    vectors: usize,
}

struct FarShare {
    inner: Box<dyn Share>,
    random: Random,
}

/// A message that was held back.
type Held = (Message, Vec<u8>);

/// Holds messages back, and lets those for any device go before those for another.
struct Erratic<'a> {
    inner: &'a mut dyn Transport,
    random: &'a mut Random,
    /// By device.
    held: Vec<(u32, VecDeque<Held>)>,
}

impl Erratic<'_> {
    /// Lets one message go, the oldest for a device drawn by lot.
    fn release(&mut self) -> Result<(), TransportError> {
        let drawn = self.random.below(self.held.len() as u32) as usize;
        let (_, queue) = &mut self.held[drawn];
        let Some((message, bytes)) = queue.pop_front() else { return Ok(()) };
        if queue.is_empty() {
            self.held.swap_remove(drawn);
        }
        self.sleep();
        self.inner.send(message, &mut |into| into.copy_from_slice(&bytes))
    }

    fn release_all(&mut self) -> Result<(), TransportError> {
        while !self.held.is_empty() {
            self.release()?;
        }
        Ok(())
    }

    fn sleep(&mut self) {
        if self.random.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(self.random.below(200).into()));
        }
    }
}

impl Transport for Erratic<'_> {
    fn send(&mut self, message: Message, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError> {
        let mut bytes = vec![0; message.bytes];
        fill(&mut bytes);
        match self.held.iter_mut().find(|(peer, _)| *peer == message.peer) {
            Some((_, queue)) => queue.push_back((message, bytes)),
            None => self.held.push((message.peer, VecDeque::from([(message, bytes)]))),
        }
        if self.random.below(3) == 0 { self.release() } else { Ok(()) }
    }

    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        // Somebody may wait for them before this one can come.
        self.release_all()?;
        self.sleep();
        self.inner.receive(message, take)
    }
}

impl Member for Far {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }

    fn name(&self) -> String {
        "far".to_owned()
    }

    fn most_vectors(&self, _: &Part, _: Shape, _: &Options) -> Result<usize, PrepareError> {
        Ok(self.vectors)
    }

    fn prepare_part(
        &self,
        part: &Part,
        shape: Shape,
        pieced: Pieced,
        options: &Options,
    ) -> Result<Box<dyn Share>, PrepareError> {
        let inner = self.inner.prepare_part(part, shape, pieced, options)?;
        Ok(Box::new(FarShare { inner, random: Random::new(self.seed, 5) }))
    }
}

impl FarShare {
    fn over(
        &mut self,
        transport: &mut dyn Transport,
        launch: impl FnOnce(&mut dyn Share, &mut dyn Transport) -> Result<Ran, RunError>,
    ) -> Result<Ran, RunError> {
        let mut erratic = Erratic { inner: transport, random: &mut self.random, held: Vec::new() };
        let ran = launch(&mut *self.inner, &mut erratic)?;
        erratic.release_all()?;
        Ok(ran)
    }
}

impl Share for FarShare {
    fn prepared(&self) -> Prepared {
        self.inner.prepared()
    }

    fn run(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        transport: &mut dyn Transport,
    ) -> Result<Ran, RunError> {
        self.over(transport, |share, transport| share.run(inputs, outputs, transport))
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]], transport: &mut dyn Transport) -> Result<Ran, RunError> {
        self.over(transport, |share, transport| share.run_in_place(buffers, transport))
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.inner.load(piece, inputs)
    }

    fn launch(&mut self, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        self.over(transport, |share, transport| share.launch(transport))
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.inner.fetch(outputs)
    }
}

fn far(placement: Placement, seed: u64, vectors: usize) -> Placed {
    let device =
        |device| Arc::new(Far { inner: Cpu::new(), seed: seed * 16 + u64::from(device), vectors }) as Arc<dyn Member>;
    Placed::new((0..placement.devices()).map(device).collect()).placement(placement)
}

fn drawn(random: &mut Random, ranks: u32) -> Placement {
    let devices = random.between(1, ranks.min(4));
    let of = (0..ranks).map(|rank| if rank < devices { rank } else { random.below(devices) });
    Placement::new(of.collect::<Vec<_>>()).unwrap()
}

#[test]
fn random_schedules_over_an_erratic_network() {
    let mut launched = 0;
    for seed in 0..400 {
        let case = Case::new(seed);
        if case.kind != Kind::Right {
            continue;
        }
        let Ok(proved) = prove(case.schedule, proof::Options::default().in_place(case.in_place)) else { continue };
        let random = &mut Random::new(seed, 7);
        let placement = drawn(random, proved.schedule().ranks);
        let n = match proved.schedule().granularity {
            wgccl::schedule::Granularity::DivisibleBy(n) => n as usize,
            _ => 1,
        };
        let count = if proved.schedule().task.collective == Collective::Barrier { 0 } else { 24 * n };
        let over = Over { shape: Shape::new(count, DataType::I32, Op::Sum), launches: 2 };
        let vectors = random.between(1, 4) as usize;
        let wrong = wrong(&far(placement.clone(), seed, vectors), &proved, over, Options::default());
        assert_eq!(wrong, 0, "seed {seed} on {placement}, {vectors} vectors at a time");
        launched += 1;
    }
    assert!(launched > 100, "{launched}");
}

#[test]
fn collectives_over_an_erratic_network() {
    for (seed, variant) in (0..).zip(variants([4, 6]).into_iter().chain(other_variants([4]))) {
        let Ok(proved) = prove(variant.schedule(), variant.options()) else { continue };
        let random = &mut Random::new(seed, 11);
        let placement = drawn(random, variant.ranks);
        let count = if variant.collective == Collective::Barrier { 0 } else { 400 };
        let over = Over { shape: Shape::new(count, DataType::F32, Op::Sum), launches: 2 };
        let wrong = wrong(&far(placement.clone(), seed, 9), &proved, over, Options::default());
        assert_eq!(wrong, 0, "{variant} on {placement}");
    }
}
