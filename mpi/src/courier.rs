//! Messages of a launch as MPI messages: receives are posted before they are needed, and buffers are used again.
//!
//! A message is a buffer of its own, because its runs lie apart in memory; a receive that is posted early lets MPI put bytes
//! where they belong instead of in a buffer of its own first.

use std::collections::VecDeque;
use std::time::Duration;

use wgccl::backend::{Message, Transport};
use wgccl::error::TransportError;

use crate::line::{Code, Flight};
use crate::patience::Patience;
use crate::world::{FIRST_DATA_TAG, Failed, World};

/// Receives posted beyond the one that is waited for.
const AHEAD: usize = 16;
const AHEAD_BYTES: usize = 32 << 20;

/// What launches of one schedule have in common.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) boundaries: u32,
    /// Of the schedule, by which its messages are told from others'.
    pub(crate) number: u64,
    /// Longest message, in bytes.
    pub(crate) piece: usize,
    pub(crate) timeout: Duration,
    pub(crate) spare: Vec<Vec<u8>>,
}

/// The messages of one launch.
#[derive(Debug)]
pub(crate) struct Courier<'a> {
    world: &'a World,
    traffic: &'a mut Traffic,
    /// What is received, in order.
    plan: &'a [Message],
    tag: i32,
    posted: VecDeque<(Message, Flight)>,
    /// Of the plan, the first that is not posted.
    next: usize,
    sent: Vec<(Message, Flight)>,
}

impl<'a> Courier<'a> {
    pub(crate) fn new(
        world: &'a World,
        traffic: &'a mut Traffic,
        plan: &'a [Message],
        launch: u64,
    ) -> Result<Self, TransportError> {
        let tags = (i16::MAX as u64) - FIRST_DATA_TAG as u64;
        let tag = FIRST_DATA_TAG + (traffic.number.wrapping_mul(257).wrapping_add(launch) % tags) as i32;
        let mut courier = Self { world, traffic, plan, tag, posted: VecDeque::new(), next: 0, sent: Vec::new() };
        courier.post_ahead()?;
        Ok(courier)
    }

    /// Waits until everything that was sent has been taken: only then may a program be gone for long.
    pub(crate) fn finish(mut self) -> Result<(), TransportError> {
        let mut patience = Patience::spinning(self.traffic.timeout, self.world.spins);
        loop {
            let before = self.sent.len();
            self.reclaim()?;
            let Some(&(message, _)) = self.sent.first() else { return Ok(()) };
            if self.sent.len() < before {
                patience.refresh();
            }
            self.attend(&patience, message)?;
            if !patience.turn() {
                return Err(self.over(message));
            }
        }
    }

    fn post_ahead(&mut self) -> Result<(), TransportError> {
        while let Some(&message) = self.plan.get(self.next) {
            let posted: usize = self.posted.iter().map(|(message, _)| message.bytes).sum();
            let room = self.posted.len() < AHEAD && posted + message.bytes <= AHEAD_BYTES;
            if !room && !self.posted.is_empty() {
                break;
            }
            self.post(message)?;
        }
        Ok(())
    }

    fn post(&mut self, message: Message) -> Result<(), TransportError> {
        let buffer = self.buffer(message.bytes);
        let (bytes, piece) = (message.bytes, self.traffic.piece);
        let flight = self.world.line.receive(buffer, bytes, piece, message.peer, self.tag);
        self.posted.push_back((message, flight.map_err(|code| self.lost(message, code))?));
        self.next += 1;
        Ok(())
    }

    /// The smallest that is large enough, else the largest, made longer.
    fn buffer(&mut self, bytes: usize) -> Vec<u8> {
        let spare = &mut self.traffic.spare;
        let fits = (0..spare.len()).filter(|&i| spare[i].len() >= bytes).min_by_key(|&i| spare[i].len());
        let any = fits.or_else(|| (0..spare.len()).max_by_key(|&i| spare[i].len()));
        let mut buffer = any.map(|i| spare.swap_remove(i)).unwrap_or_default();
        if buffer.len() < bytes {
            // What is in it is of no use.
            buffer.clear();
            buffer.resize(bytes, 0);
        }
        buffer
    }

    /// Takes back the buffers of messages that have left.
    fn reclaim(&mut self) -> Result<(), TransportError> {
        let mut i = 0;
        while let Some((message, flight)) = self.sent.get_mut(i) {
            let message = *message;
            match flight.test() {
                Ok(true) => self.traffic.spare.extend(self.sent.swap_remove(i).1.landed()),
                Ok(false) => i += 1,
                Err(code) => return Err(self.lost(message, code)),
            }
        }
        Ok(())
    }

    /// Now and then: whoever has failed sends nothing any more.
    fn attend(&self, patience: &Patience, at: Message) -> Result<(), TransportError> {
        let failed = if patience.is_long() { self.world.attend(at.peer) } else { None };
        failed.map_or(Ok(()), |failed| Err(self.reported(at, failed)))
    }

    fn reported(&self, at: Message, Failed { process, reason }: Failed) -> TransportError {
        let (me, peer) = (self.world.my_name(), self.world.name(process));
        TransportError::PeerReported { me, peer, boundary: at.boundary, boundaries: self.traffic.boundaries, reason }
    }

    /// The time is over, and somebody is to blame.
    fn over(&self, at: Message) -> TransportError {
        let (me, peer, timeout) = (self.world.my_name(), self.world.name(at.peer), self.traffic.timeout);
        let (boundary, boundaries) = (at.boundary, self.traffic.boundaries);
        match self.world.silent(at.peer) {
            Err(failed) => self.reported(at, failed),
            Ok(silent) if silent == at.peer => TransportError::Deadline { me, peer, boundary, boundaries, timeout },
            Ok(silent) => {
                let silent = self.world.name(silent);
                TransportError::Silent { me, peer, silent, boundary, boundaries, timeout }
            }
        }
    }

    fn lost(&self, at: Message, Code(reason): Code) -> TransportError {
        let (me, peer) = (self.world.my_name(), self.world.name(at.peer));
        TransportError::Lost { me, peer, boundary: at.boundary, boundaries: self.traffic.boundaries, reason }
    }
}

impl Transport for Courier<'_> {
    fn send(&mut self, message: Message, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError> {
        self.reclaim()?;
        let mut buffer = self.buffer(message.bytes);
        fill(&mut buffer[..message.bytes]);
        let (bytes, piece) = (message.bytes, self.traffic.piece);
        let flight = self.world.line.send(buffer, bytes, piece, message.peer, self.tag);
        self.sent.push((message, flight.map_err(|code| self.lost(message, code))?));
        Ok(())
    }

    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        let at = loop {
            match self.posted.iter().position(|(posted, _)| *posted == message) {
                Some(at) => break at,
                None => match self.plan.get(self.next).copied() {
                    Some(next) => self.post(next)?,
                    None => return Err(self.lost(message, Code("no such message is in the schedule".to_owned()))),
                },
            }
        };
        let Some((_, mut flight)) = self.posted.remove(at) else { return Ok(()) };
        let mut patience = Patience::spinning(self.traffic.timeout, self.world.spins);
        while !flight.test().map_err(|code| self.lost(message, code))? {
            self.attend(&patience, message)?;
            if !patience.turn() {
                return Err(self.over(message));
            }
        }
        if let Some(buffer) = flight.landed() {
            take(&buffer[..message.bytes]);
            self.traffic.spare.push(buffer);
        }
        self.post_ahead()
    }
}
