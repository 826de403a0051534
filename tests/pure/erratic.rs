//! Messages that come late, and out of the order in which they were sent, but for those of one device to another.
//!
//! A schedule over several devices may depend on nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use wgccl::backend::{Member, Message, Options, Ran, Shape, Transport};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::error::{RunError, TransportError};
use wgccl::placed::Placed;
use wgccl::proof::{self, prove};
use wgccl::schedule::Placement;

use crate::common::behind::{Around, Behind, Launch};
use crate::common::placed::{Over, wrong};
use crate::common::{other_variants, variants};
use crate::oracle::case::{Case, Kind};
use crate::oracle::random::Random;

/// The network that a device is behind.
struct Network(Random);

/// A message that was held back.
type Held = (Message, What);

/// Its bytes, or where they still lie.
enum What {
    Copied(Vec<u8>),
    At(*const u8),
}

/// Holds messages back, and lets those for any device go before those for another.
struct Erratic<'a> {
    inner: &'a mut dyn Transport,
    random: &'a mut Random,
    /// By device.
    held: Vec<(u32, VecDeque<Held>)>,
    /// Where messages are put.
    landing: VecDeque<(Message, *mut u8)>,
}

impl Erratic<'_> {
    /// Lets one message go, the oldest for a device drawn by lot.
    fn release(&mut self) -> Result<(), TransportError> {
        let drawn = self.random.below(self.held.len() as u32) as usize;
        let (_, queue) = &mut self.held[drawn];
        let Some((message, what)) = queue.pop_front() else { return Ok(()) };
        if queue.is_empty() {
            self.held.swap_remove(drawn);
        }
        self.sleep();
        self.inner.send(message, &mut |into| match &what {
            What::Copied(bytes) => into.copy_from_slice(bytes),
            // SAFETY: as whoever sent it said; the launch is not over.
            What::At(from) => unsafe { into.as_mut_ptr().copy_from_nonoverlapping(*from, into.len()) },
        })
    }

    /// As if messages came now that are still to be received, and were others: at any time they may.
    fn disturb(&self) {
        for (message, at) in &self.landing {
            // SAFETY: as whoever says where it is to be put says.
            unsafe { at.write_bytes(0xa5, message.bytes) };
        }
    }

    fn hold(&mut self, message: Message, what: What) -> Result<(), TransportError> {
        self.disturb();
        match self.held.iter_mut().find(|(peer, _)| *peer == message.peer) {
            Some((_, queue)) => queue.push_back((message, what)),
            None => self.held.push((message.peer, VecDeque::from([(message, what)]))),
        }
        if self.random.below(3) == 0 { self.release() } else { Ok(()) }
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
        self.hold(message, What::Copied(bytes))
    }

    unsafe fn send_from(&mut self, message: Message, from: *const u8) -> Result<(), TransportError> {
        self.hold(message, What::At(from))
    }

    unsafe fn land(&mut self, message: Message, at: *mut u8) {
        self.landing.push_back((message, at));
    }

    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        // Somebody may wait for them before this one can come.
        self.release_all()?;
        self.sleep();
        self.disturb();
        if self.landing.front().is_none_or(|(landing, _)| *landing != message) {
            return self.inner.receive(message, take);
        }
        let Some((_, at)) = self.landing.pop_front() else { return Ok(()) };
        // SAFETY: as in `land`.
        self.inner.receive(message, &mut |bytes| unsafe { at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) })
    }
}

impl Around for Network {
    fn launch(&mut self, transport: &mut dyn Transport, launch: Launch<'_>) -> Result<Ran, RunError> {
        let mut erratic = Erratic { inner: transport, random: &mut self.0, held: Vec::new(), landing: VecDeque::new() };
        let ran = launch(&mut erratic)?;
        erratic.release_all()?;
        Ok(ran)
    }
}

/// Devices that work on few vectors at a time, so that pieces overtake each other, too.
fn far(placement: Placement, seed: u64, vectors: usize) -> Placed {
    let device = |device| {
        let around = move || Network(Random::new(seed * 16 + u64::from(device), 5));
        Arc::new(Behind { name: "far", vectors, around }) as Arc<dyn Member>
    };
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
