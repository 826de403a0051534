//! What carries out one device's part of a schedule while other devices carry out the rest.
//!
//! Apart from whole schedules, because a part runs epoch by epoch, with messages between; how these get to the others is the
//! transport's affair and nobody else's.

use super::{Options, Prepared, Ran, Shape};
use crate::collective::Op;
use crate::error::{PrepareError, RunError, TransportError};
use crate::lower::{Part, Pieced, Route, Split};
use crate::proof::Proved;
use crate::schedule::{DeviceKind, Placement};

/// A backend that can carry out a part of a schedule.
pub trait Member: Send + Sync {
    /// What kind of device it is.
    fn kind(&self) -> DeviceKind;

    /// What it is called in reports.
    fn name(&self) -> String;

    /// Vectors of 16 bytes of each chunk that it can work on at a time; `usize::MAX` if nothing bounds them.
    ///
    /// # Errors
    /// [`PrepareError`], the same as [`prepare_part`](Self::prepare_part) would give.
    fn most_vectors(&self, part: &Part, shape: Shape, options: &Options) -> Result<usize, PrepareError>;

    /// Makes a part ready for launches of `shape`, in pieces as all devices of the launch have them: of no more than
    /// [`most_vectors`](Self::most_vectors).
    ///
    /// # Errors
    /// [`PrepareError`].
    fn prepare_part(
        &self,
        part: &Part,
        shape: Shape,
        pieced: Pieced,
        options: &Options,
    ) -> Result<Box<dyn Share>, PrepareError>;
}

/// A part made ready for one shape. Buffers are one for each rank of the whole, empty for those on other devices.
///
/// A launch comes to all boundaries of all pieces in the order of [`Pieced::order`]: to each it sends all of its own messages, then
/// it waits for those of others.
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

    /// As [`Ready::load`](super::Ready::load).
    ///
    /// # Errors
    /// [`RunError`].
    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError>;

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
    /// Of which piece.
    pub piece: usize,
    /// At which boundary.
    pub boundary: u32,
    /// How long it is.
    pub bytes: usize,
}

impl Message {
    /// What a device receives in a launch over all pieces, or over one, in the order in which its share takes it.
    pub fn received(part: &Part, pieced: &Pieced, only: Option<usize>) -> Vec<Self> {
        let order = pieced.order(part.boundaries()).into_iter();
        let wanted = order.filter(|(piece, _)| only.is_none_or(|only| only == *piece));
        let at = |(piece, boundary)| {
            let moment = Moment { part, pieced, piece, boundary };
            part.receives(boundary).iter().map(move |route| moment.message(route))
        };
        wanted.flat_map(at).collect()
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

/// The pieces of a payload on devices that work on at most so many vectors of each chunk at a time.
///
/// # Errors
/// [`PrepareError::Payload`].
pub fn pieces(proved: &Proved, shape: Shape, most_vectors: usize) -> Result<Pieced, PrepareError> {
    /// 32 KiB: of a round number, where that is many, cores have slices that divide it.
    const ROUND: usize = 1 << 11;
    let vectors = if most_vectors > ROUND { most_vectors / ROUND * ROUND } else { most_vectors };
    Ok(Pieced::new(proved.payload(shape.count, shape.data_type)?, vectors))
}

/// Brings messages from one device to another, those of two devices in order.
pub trait Transport {
    /// Sends a message that `fill` writes. Returns before it has arrived, whether or not the peer waits for it.
    ///
    /// # Errors
    /// [`TransportError`] where the peer cannot be reached any more.
    fn send(&mut self, message: Message, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError>;

    /// As [`send`](Self::send), of what lies at `from`, which a transport may read later than it returns.
    ///
    /// # Safety
    /// `from` is valid for the message's bytes, and nobody writes there, until the launch has returned; and where it returned an
    /// error, for ever: whoever launched leaks the [`Share`] then.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    unsafe fn send_from(&mut self, message: Message, from: *const u8) -> Result<(), TransportError> {
        // SAFETY: valid for so many bytes.
        self.send(message, &mut |bytes| unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(from, bytes.len()) })
    }

    /// Says where a message is to be put: before anything is sent or received, and of several in the order in which they are
    /// received. A transport that puts it there by itself does not give it to [`receive`](Self::receive)'s `take`.
    ///
    /// # Safety
    /// `at` is valid for writes of the message's bytes, and nobody else accesses them until the message has been received, or
    /// where the launch failed, for ever, as with [`send_from`](Self::send_from).
    unsafe fn land(&mut self, _message: Message, _at: *mut u8) {}

    /// Waits for a message and gives it to `take`.
    ///
    /// # Errors
    /// [`TransportError`] where it will not come, or not in time.
    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError>;
}

/// A boundary of a piece, and what there is to know of it.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) part: &'a Part,
    pub(crate) pieced: &'a Pieced,
    pub(crate) piece: usize,
    pub(crate) boundary: u32,
}

impl Moment<'_> {
    pub(crate) fn message(&self, route: &Route) -> Message {
        let Self { pieced, piece, boundary, .. } = *self;
        Message { peer: route.peer, piece, boundary, bytes: route.bytes_of(pieced, piece) }
    }
}
