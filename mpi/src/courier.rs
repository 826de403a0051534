//! Messages of a launch as MPI messages: receives are posted before they are needed, and buffers are used again.
//!
//! A message whose runs lie apart in memory is a buffer of its own; others are sent from where they lie. A receive that is posted
//! early lets MPI put bytes where they belong instead of in a buffer of its own first.

use std::collections::VecDeque;
use std::time::Duration;

use wgccl::backend::{Message, Transport};
use wgccl::error::TransportError;

use crate::line::{Code, Envelope, Flight};
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

impl Traffic {
    /// The smallest that is large enough, else the largest, made longer.
    fn buffer(&mut self, bytes: usize) -> Vec<u8> {
        let spare = &mut self.spare;
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
}

/// The messages of one launch.
#[derive(Debug)]
pub(crate) struct Courier<'a> {
    world: &'a World,
    traffic: &'a mut Traffic,
    /// What is received, in order.
    plan: &'a [Message],
    tag: i32,
    /// Where messages of the plan are put that are not given to anybody.
    landing: VecDeque<(Message, *mut u8)>,
    posted: VecDeque<(Message, Flight)>,
    /// Of the plan, the first that is not posted.
    next: usize,
    sent: Vec<(Message, Flight)>,
}

impl<'a> Courier<'a> {
    pub(crate) fn new(world: &'a World, traffic: &'a mut Traffic, plan: &'a [Message], launch: u64) -> Self {
        let tags = (i16::MAX as u64) - FIRST_DATA_TAG as u64;
        let tag = FIRST_DATA_TAG + (traffic.number.wrapping_mul(257).wrapping_add(launch) % tags) as i32;
        let (landing, posted, sent) = (VecDeque::new(), VecDeque::new(), Vec::new());
        Self { world, traffic, plan, tag, landing, posted, next: 0, sent }
    }

    /// Waits until everything that was sent has been taken: only then may a program be gone for long.
    pub(crate) fn finish(mut self) -> Result<(), TransportError> {
        let mut patience = Patience::spinning(self.traffic.timeout, self.world.spins);
        while let Some((message, flight)) = self.sent.last_mut() {
            let message = *message;
            match flight.test() {
                Ok(true) => {
                    self.traffic.spare.extend(self.sent.pop().and_then(|(_, flight)| flight.landed()));
                    patience.refresh();
                }
                Ok(false) => {
                    self.attend(&patience, message)?;
                    if !patience.turn() {
                        return Err(self.over(message));
                    }
                }
                Err(code) => return Err(self.lost(message, code)),
            }
        }
        Ok(())
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
        let (envelope, line) = (self.envelope(message), &self.world.line);
        let lands = self.landing.front().is_some_and(|(landing, _)| *landing == message);
        let flight = match if lands { self.landing.pop_front() } else { None } {
            // SAFETY: whoever said so said that nobody else accesses it.
            Some((_, at)) => unsafe { line.receive_at(at, envelope) },
            None => line.receive(self.traffic.buffer(message.bytes), envelope),
        };
        self.posted.push_back((message, flight.map_err(|code| self.lost(message, code))?));
        self.next += 1;
        Ok(())
    }

    fn envelope(&self, message: Message) -> Envelope {
        Envelope { peer: message.peer, tag: self.tag, bytes: message.bytes, piece: self.traffic.piece }
    }

    /// Takes back the buffers of messages that have left. Not before there are many of them: MPI uses the occasion to look for
    /// messages, or to offer the core to others, while some are still to be sent.
    fn reclaim(&mut self) -> Result<(), TransportError> {
        let under_way: usize = self.sent.iter().map(|(message, _)| message.bytes).sum();
        if under_way < AHEAD_BYTES {
            return Ok(());
        }
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
        self.post_ahead()?;
        self.reclaim()?;
        let mut buffer = self.traffic.buffer(message.bytes);
        fill(&mut buffer[..message.bytes]);
        let flight = self.world.line.send(buffer, self.envelope(message));
        self.sent.push((message, flight.map_err(|code| self.lost(message, code))?));
        Ok(())
    }

    unsafe fn send_from(&mut self, message: Message, from: *const u8) -> Result<(), TransportError> {
        self.post_ahead()?;
        self.reclaim()?;
        // SAFETY: handed on: the launch ends when all messages have left, or the memory is leaked.
        let flight = unsafe { self.world.line.send_from(from, self.envelope(message)) };
        self.sent.push((message, flight.map_err(|code| self.lost(message, code))?));
        Ok(())
    }

    unsafe fn land(&mut self, message: Message, at: *mut u8) {
        self.landing.push_back((message, at));
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
        Ok(())
    }
}
