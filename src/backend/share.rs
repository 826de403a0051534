//! What carries out one device's part of a schedule while other devices carry out the rest.
//!
//! Apart from whole schedules, because a part runs epoch by epoch, with messages between; how these get to the others is the
//! transport's affair and nobody else's.

use super::{Options, Prepared, Ran, Shape};
use crate::collective::Op;
use crate::error::{PrepareError, RunError, TransportError};
use crate::lower::{Part, Split};
use crate::payload::Payload;
use crate::proof::Proved;
use crate::schedule::{DeviceKind, Placement};

/// A backend that can carry out a part of a schedule.
pub trait Member: Send + Sync {
    /// What kind of device it is.
    fn kind(&self) -> DeviceKind;

    /// What it is called in reports.
    fn name(&self) -> String;

    /// Makes a part ready for launches of `shape`.
    ///
    /// # Errors
    /// [`PrepareError`].
    fn prepare_part(&self, part: &Part, shape: Shape, options: &Options) -> Result<Box<dyn Share>, PrepareError>;
}

/// A part made ready for one shape. Buffers are one for each rank of the whole, empty for those on other devices.
///
/// Each launch exchanges the messages of every boundary: first it sends all of its own, then it waits for those of others.
pub trait Share: Send {
    /// How it was prepared.
    fn prepared(&self) -> Prepared;

    /// As [`Ready::run`](super::Ready::run).
    ///
    /// # Errors
    /// [`RunError`].
    fn run(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        transport: &mut dyn Transport,
    ) -> Result<Ran, RunError>;

    /// As [`Ready::run_in_place`](super::Ready::run_in_place).
    ///
    /// # Errors
    /// [`RunError`].
    fn run_in_place(&mut self, buffers: &mut [&mut [u8]], transport: &mut dyn Transport) -> Result<Ran, RunError>;

    /// As [`Ready::load`](super::Ready::load), of the whole payload.
    ///
    /// # Errors
    /// [`RunError`].
    fn load(&mut self, inputs: &[&[u8]]) -> Result<(), RunError>;

    /// As [`Ready::launch`](super::Ready::launch).
    ///
    /// # Errors
    /// [`RunError`].
    fn launch(&mut self, transport: &mut dyn Transport) -> Result<Ran, RunError>;

    /// As [`Ready::fetch`](super::Ready::fetch).
    ///
    /// # Errors
    /// [`RunError`].
    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError>;
}

/// A message that is on its way in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The other device.
    pub peer: u32,
    /// At which boundary.
    pub boundary: u32,
    /// How long it is.
    pub bytes: usize,
}

impl Message {
    /// What a device receives in a launch over `payload`, in the order in which its share takes it.
    pub fn received<'a>(part: &'a Part, payload: &'a Payload) -> impl Iterator<Item = Self> + 'a {
        let at = |boundary| part.receives(boundary).iter().map(move |route| (boundary, route));
        let all = (0..part.boundaries()).flat_map(at);
        all.map(|(boundary, route)| Self { peer: route.peer, boundary, bytes: route.bytes(payload) })
    }
}

/// Splits a schedule for launches of `shape` on several devices.
///
/// # Errors
/// [`PrepareError`] where it is one device's part itself, or cannot be placed so, or not averaged.
pub fn split(proved: &Proved, placement: &Placement, shape: Shape) -> Result<Split, PrepareError> {
    if proved.is_part() {
        return Err(PrepareError::Part);
    }
    let schedule = proved.schedule();
    if schedule.task.collective.op(shape.op).over(schedule.ranks) == Op::Avg {
        proved.scalable()?;
    }
    Ok(Split::new(proved, placement)?)
}

/// Brings messages from one device to another, those of two devices in order.
pub trait Transport {
    /// Sends a message that `fill` writes. Returns before it has arrived, whether or not the peer waits for it.
    ///
    /// # Errors
    /// [`TransportError`] where the peer cannot be reached any more.
    fn send(&mut self, message: Message, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError>;

    /// Waits for a message and gives it to `take`.
    ///
    /// # Errors
    /// [`TransportError`] where it will not come, or not in time.
    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError>;
}

/// The messages of a boundary: `read` copies a run out to be sent, `write` puts one that has come where it belongs.
///
/// # Errors
/// [`TransportError`].
pub(crate) fn exchange<M>(
    part: &Part,
    boundary: u32,
    payload: &Payload,
    transport: &mut dyn Transport,
    memory: &mut M,
    read: impl Fn(&mut M, &crate::lower::Run, &mut [u8]),
    write: impl Fn(&mut M, &crate::lower::Run, &[u8]),
) -> Result<(), TransportError> {
    for route in part.sends(boundary) {
        let message = Message { peer: route.peer, boundary, bytes: route.bytes(payload) };
        transport.send(message, &mut |mut bytes| {
            for run in &route.runs {
                let (now, rest) = std::mem::take(&mut bytes).split_at_mut(run.bytes(payload));
                read(memory, run, now);
                bytes = rest;
            }
        })?;
    }
    for route in part.receives(boundary) {
        let message = Message { peer: route.peer, boundary, bytes: route.bytes(payload) };
        transport.receive(message, &mut |mut bytes| {
            for run in &route.runs {
                let (now, rest) = bytes.split_at(run.bytes(payload));
                write(memory, run, now);
                bytes = rest;
            }
        })?;
    }
    Ok(())
}
