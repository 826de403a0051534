//! Why a launch cannot be prepared, why it did not succeed, and what went wrong with a device: one enum each.
//!
//! All executors share them, so that a program handles them once. Reasons that only a driver knows are its own words.

use std::io;
use std::time::Duration;

pub use crate::buffers::{BufferError, SliceError, UserBuffer};
use crate::element::Unsupported;
use crate::hang::Hang;
use crate::lower::{LowerError, SplitError};
pub use crate::payload::PayloadError;
use crate::proof::{Refused, Unscalable};
use crate::schedule::BuildError;

/// What can go wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum DeviceError {
    /// There is none.
    #[error("no GPU driver found (Vulkan, Metal, DX12 or OpenGL); install one, or use the CPU executor")]
    Absent,
    /// It could not be opened.
    #[error("{device} cannot be opened: {reason}")]
    Open { device: String, reason: String },
    /// It went away.
    #[error("{device} was lost: {reason}; run again, or use another device")]
    Lost { device: String, reason: String },
    /// A caller created it with less than wgccl needs.
    #[error(
        "{device} was requested with {limit} = {has}, and wgccl needs {needs}; ask for that in its required_limits"
    )]
    Limit { device: String, limit: &'static str, has: u32, needs: u32 },
    /// It refused what was asked for.
    #[error("{device} refused a request: {reason}")]
    Refused { device: String, reason: String },
    /// It has not enough memory.
    #[error("{device} has not enough memory for this; use a smaller count, fewer ranks or the CPU executor")]
    Memory { device: String },
    /// A submission was still running after as long as the host waits.
    #[error("{device} did not complete a submission within {timeout:?}; allow more time, or its driver may be stuck")]
    Deadline { device: String, timeout: Duration },
    /// A call that waits, where nobody may.
    #[error("a browser's thread cannot wait for {device}; use the asynchronous form of this call")]
    CannotWait { device: String },
}

/// Why a launch cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum PrepareError {
    /// No such schedule.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A schedule that is not safe to run.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// A schedule for another number of ranks than the communicator's.
    #[error("the schedule has {schedule} ranks and the communicator {communicator}; make both the same")]
    OtherRanks { schedule: u32, communicator: u32 },
    /// More ranks than the executor runs.
    #[error("{ranks} ranks are too many for {executor}, which takes up to {most}; use {instead}")]
    Ranks { ranks: u32, most: u32, executor: &'static str, instead: &'static str },
    /// No such payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// An operation that the type does not have.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// An average in place of a schedule that reads contributions as outputs.
    #[error(transparent)]
    Unscalable(#[from] Unscalable),
    /// An option that is zero.
    #[error("0 {0} can do nothing; give at least 1")]
    Nothing(&'static str),
    /// An option that this executor does not have.
    #[error("{executor} has no {option}; leave it out")]
    NoSuchOption { executor: &'static str, option: &'static str },
    /// A schedule that cannot be placed so.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A placement on more devices than there are.
    #[error("the placement names {placement} devices, and there are {devices}; number them from 0")]
    Devices { placement: u32, devices: usize },
    /// One device's part, which computes nothing of use without the others'.
    #[error("this is one device's part of a schedule; run it with the others, through `placed`")]
    Part,
    /// Processes that were not asked for the same.
    #[error(
        "{peer} is to prepare another {what} than {first}: {theirs}, not {ours}; make the same calls in all processes"
    )]
    Unequal { peer: String, what: String, theirs: String, first: String, ours: String },
    /// Another process cannot prepare its part.
    #[error("{peer} cannot prepare its part: {reason}")]
    Peer { peer: String, reason: String },
    /// Processes without ranks, which could not know what the others do.
    #[error("the placement names {placement} of {processes} processes; give each of them a rank, or start fewer")]
    Idle { placement: u32, processes: u32 },
    /// Another process was not heard of.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The schedule, or the payload, does not fit the device, or the named mode or protocol would be wrong there.
    #[error("{device}: {error}")]
    Lower {
        device: String,
        #[source]
        error: LowerError,
    },
    /// Not enough memory on the host.
    #[error("no memory for {}; use a smaller count or fewer ranks", bytes(*.0))]
    Memory(u64),
    /// A trace that nobody could look at.
    #[error("a trace of {instructions} instructions is more than {most}; use fewer channels or ranks")]
    Trace { instructions: usize, most: usize },
    /// A worker thread could not be started.
    #[error("cannot start a worker thread; use fewer workers")]
    Threads(#[source] io::Error),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Why a launch did not succeed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum RunError {
    /// Buffers that do not fit the schedule and the shape.
    #[error(transparent)]
    Buffers(#[from] BufferError),
    /// Device buffers that do not fit the schedule and the shape.
    #[error(transparent)]
    Slices(#[from] SliceError),
    /// The schedule was proved for launches in place and given two buffers a rank, or the reverse.
    #[error("the schedule was proved {}; launch it so", if *.in_place { "in place" } else { "out of place" })]
    Placement { in_place: bool },
    /// A launch before any inputs were loaded.
    #[error("nothing is loaded that could be launched over; load inputs first")]
    NotLoaded,
    /// A piece beyond the last.
    #[error("there is no piece {piece}: the payload goes in {pieces}, counted from 0")]
    NoSuchPiece { piece: usize, pieces: usize },
    /// Not enough memory on the host for copies of the inputs and outputs.
    #[error("no memory for {}; use a smaller count or fewer ranks", bytes(*.0))]
    Memory(u64),
    /// Outputs were asked for before any launch over these inputs, or its commands were never submitted.
    #[error("nothing has been launched over these inputs yet, so there are no outputs; submit the commands first")]
    NotLaunched,
    /// The commands were submitted and the device has not begun them.
    #[error(
        "the launch was never executed: {device} refused its commands, or what they were submitted with; its validation \
         error says why"
    )]
    NotExecuted { device: String },
    /// The whole payload was to lie on the device, but does not.
    #[error("the payload goes through the device in {pieces} pieces; launch it over buffers of your own")]
    InPieces { pieces: usize },
    /// Some lanes did not finish. Outputs are unspecified; the next launch starts afresh.
    #[error("{0}")]
    Hang(Box<Hang>),
    /// The arithmetic of the element type panicked. Outputs are unspecified; the next launch starts afresh.
    #[error("the element type's arithmetic panicked on a worker thread")]
    Panicked,
    /// The thread of one of several devices could not be started.
    #[error("cannot start a thread for each device; use fewer devices, or allow more threads")]
    Threads(#[source] io::Error),
    /// Another device was not heard of, or failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Why a message between devices did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum TransportError {
    /// It did not come in time.
    #[error(
        "{me} waited {timeout:?} for a message of {peer} at boundary {boundary} of {boundaries}; allow more time, or {peer} may \
         be stuck"
    )]
    Deadline { me: String, peer: String, boundary: u32, boundaries: u32, timeout: Duration },
    /// The peer failed, and says itself why.
    #[error("{me} gave up at boundary {boundary} of {boundaries}, because {peer} failed")]
    PeerFailed { me: String, peer: String, boundary: u32, boundaries: u32 },
    /// The peer failed, and has said why.
    #[error("{me} gave up at boundary {boundary} of {boundaries}, because {peer} failed: {reason}")]
    PeerReported { me: String, peer: String, boundary: u32, boundaries: u32, reason: String },
    /// The peer waits as well, and the one at the end of those that wait for each other does not answer.
    #[error(
        "{me} waited {timeout:?} for a message of {peer} at boundary {boundary} of {boundaries}, and {peer} for {silent}; allow \
         more time, or {silent} may be stuck"
    )]
    Silent { me: String, peer: String, silent: String, boundary: u32, boundaries: u32, timeout: Duration },
    /// The peer did not come to where all have to agree.
    #[error(
        "{me} waited {timeout:?} for {peer} to make the same call; make the same calls, in the same order, in all processes"
    )]
    Unheard { me: String, peer: String, timeout: Duration },
    /// Processes that have failed before.
    #[error("{me} launches nothing any more, because {reason}; make a new backend over these processes, or end them")]
    Ended { me: String, reason: String },
    /// The peer, or the way to it, is gone.
    #[error("{me} lost {peer} at boundary {boundary} of {boundaries}: {reason}")]
    Lost { me: String, peer: String, boundary: u32, boundaries: u32, reason: String },
    /// The same outside a launch.
    #[error("{me} lost {peer}: {reason}")]
    Gone { me: String, peer: String, reason: String },
}

/// Why a collective was not carried out: it could not be prepared, or did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It could not be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It did not succeed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl RunError {
    /// The report of a launch that did not finish.
    pub fn hang(&self) -> Option<&Hang> {
        match self {
            Self::Hang(hang) => Some(hang),
            _ => None,
        }
    }
}

impl Error {
    /// The report of a launch that did not finish.
    pub fn hang(&self) -> Option<&Hang> {
        match self {
            Self::Prepare(_) => None,
            Self::Run(error) => error.hang(),
        }
    }

    /// What is wrong with the device, if that is it.
    pub fn device(&self) -> Option<&DeviceError> {
        match self {
            Self::Prepare(PrepareError::Device(error)) | Self::Run(RunError::Device(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        Self::Run(error.into())
    }
}

/// For people.
fn bytes(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mib => format!("{mib} MiB"),
    }
}
