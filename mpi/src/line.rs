//! The calls of MPI that messages need, with their errors as errors and buffers that live as long as MPI may touch them.
//!
//! rsmpi's own calls drop MPI's error codes and count elements in 31 bits; waits for a peer must be able to end.
//!
//! # Why the unsafe code is sound
//! * Handles are those of MPI while it is initialised: a [`Line`] duplicates a communicator that lives, and nothing is called
//!   after `MPI_Finalize` but in [`Drop`], which asks first.
//! * A buffer that MPI reads or writes is owned by its [`Flight`], which gives it away only when MPI has completed all
//!   requests on it, and otherwise leaks it. Lengths are those of the buffer.
//! * Handles are of one thread: a [`Line`] is neither `Send` nor `Sync`.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::Duration;

use mpi::ffi;

use crate::error::MpiError;
use crate::patience::Patience;

/// A communicator of our own, so that nobody else's messages are met.
#[derive(Debug)]
pub(crate) struct Line {
    comm: ffi::MPI_Comm,
    /// Not freed where messages may still be on the way.
    pub(crate) keep: std::cell::Cell<bool>,
    of_one_thread: PhantomData<*const ()>,
}

/// What MPI says of a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) String);

impl From<Code> for MpiError {
    fn from(Code(reason): Code) -> Self {
        Self::Mpi(reason)
    }
}

fn check(code: c_int) -> Result<(), Code> {
    if code == 0 {
        return Ok(());
    }
    let (mut text, mut length) = ([0_u8; 1024], 0);
    // SAFETY: the text is longer than MPI_MAX_ERROR_STRING of any MPI.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut length) };
    let length = usize::try_from(length).unwrap_or(0).min(text.len());
    Err(Code(String::from_utf8_lossy(&text[..length]).into_owned()))
}

/// A message that has come and was not received yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) source: u32,
    pub(crate) bytes: usize,
}

impl Line {
    /// Duplicates `comm`, as all of its processes must. None where others did not come in time.
    pub(crate) fn over(comm: ffi::MPI_Comm, timeout: Duration) -> Result<Option<Self>, MpiError> {
        // SAFETY: constants of MPI.
        let (null, none) = unsafe { (ffi::RSMPI_COMM_NULL, ffi::RSMPI_REQUEST_NULL) };
        // MPI writes there when all have come, so it stays where it is until then.
        let made = Box::into_raw(Box::new(null));
        let (mut request, mut done) = (none, 0);
        // SAFETY: `made` is freed below, once MPI has written it.
        check(unsafe { ffi::MPI_Comm_idup(comm, made, &mut request) })?;
        let mut patience = Patience::new(timeout);
        loop {
            // SAFETY: a request of above.
            check(unsafe { ffi::MPI_Test(&mut request, &mut done, ffi::RSMPI_STATUS_IGNORE) })?;
            if done != 0 {
                break;
            }
            if !patience.turn() {
                return Ok(None);
            }
        }
        // SAFETY: MPI has completed the request.
        let comm = *unsafe { Box::from_raw(made) };
        // SAFETY: a communicator of ours. What fails on it shall be told and not end the process.
        check(unsafe { ffi::MPI_Comm_set_errhandler(comm, ffi::RSMPI_ERRORS_RETURN) })?;
        Ok(Some(Self { comm, keep: false.into(), of_one_thread: PhantomData }))
    }

    /// This process, and how many there are, of a communicator.
    pub(crate) fn place_in(comm: ffi::MPI_Comm) -> Result<(u32, u32), Code> {
        let (mut me, mut all) = (0, 0);
        // SAFETY: `comm` is a communicator.
        unsafe {
            check(ffi::MPI_Comm_rank(comm, &mut me))?;
            check(ffi::MPI_Comm_size(comm, &mut all))?;
        }
        Ok((me.unsigned_abs(), all.unsigned_abs()))
    }

    /// A message of `source`, or of anybody, with this tag, that waits to be received.
    pub(crate) fn look(&self, source: Option<u32>, tag: c_int) -> Result<Option<Waiting>, Code> {
        // SAFETY: a constant of MPI.
        let source = source.map_or(unsafe { ffi::RSMPI_ANY_SOURCE }, |source| source as c_int);
        let (mut found, mut status, mut bytes) = (0, MaybeUninit::<ffi::MPI_Status>::zeroed(), 0);
        // SAFETY: MPI writes the status if it found something, and only then it is read; of zeros it is one anyway.
        unsafe {
            check(ffi::MPI_Iprobe(source, tag, self.comm, &mut found, status.as_mut_ptr()))?;
            if found == 0 {
                return Ok(None);
            }
            let status = status.assume_init();
            check(ffi::MPI_Get_count(&status, ffi::RSMPI_UINT8_T, &mut bytes))?;
            Ok(Some(Waiting { source: status.MPI_SOURCE.unsigned_abs(), bytes: bytes.unsigned_abs() as usize }))
        }
    }

    /// Sends what a buffer begins with.
    pub(crate) fn send(&self, mut buffer: Vec<u8>, envelope: Envelope) -> Result<Flight, Code> {
        let at = buffer[..envelope.bytes].as_mut_ptr();
        // SAFETY: the buffer is the flight's, which gives it back when MPI has done with it.
        unsafe { self.begin(Way::Out, at, Some(buffer), envelope) }
    }

    /// Receives what was sent so.
    pub(crate) fn receive(&self, mut buffer: Vec<u8>, envelope: Envelope) -> Result<Flight, Code> {
        let at = buffer[..envelope.bytes].as_mut_ptr();
        // SAFETY: as in `send`.
        unsafe { self.begin(Way::In, at, Some(buffer), envelope) }
    }

    /// Sends what lies at `at`.
    ///
    /// # Safety
    /// `at` is valid for so many bytes, which nobody writes until the flight is over, and after an error for ever.
    pub(crate) unsafe fn send_from(&self, at: *const u8, envelope: Envelope) -> Result<Flight, Code> {
        // SAFETY: handed on; nothing is written there.
        unsafe { self.begin(Way::Out, at.cast_mut(), None, envelope) }
    }

    /// Receives it at `at`.
    ///
    /// # Safety
    /// As of [`send_from`](Self::send_from), and nobody else reads there.
    pub(crate) unsafe fn receive_at(&self, at: *mut u8, envelope: Envelope) -> Result<Flight, Code> {
        // SAFETY: handed on.
        unsafe { self.begin(Way::In, at, None, envelope) }
    }

    /// Begins a request for each piece of a message that is at `at`, which is in `buffer`, or somebody else's.
    ///
    /// # Safety
    /// `at` is valid for the message's bytes until the flight is over: nobody writes there, nor reads if it comes in.
    unsafe fn begin(
        &self,
        way: Way,
        at: *mut u8,
        buffer: Option<Vec<u8>>,
        Envelope { peer, tag, bytes, piece }: Envelope,
    ) -> Result<Flight, Code> {
        let (peer, piece) = (peer as c_int, piece.clamp(1, MOST_BYTES));
        let mut flight = Flight { buffer, requests: Vec::new() };
        let mut first = 0;
        loop {
            let count = piece.min(bytes - first);
            let (at, length) = (at.wrapping_add(first).cast::<c_void>(), count as c_int);
            // SAFETY: `at` is valid for `count` bytes until the request is complete, which the flight waits for; constants of MPI.
            unsafe {
                let (byte, mut request) = (ffi::RSMPI_UINT8_T, ffi::RSMPI_REQUEST_NULL);
                check(match way {
                    Way::Out => ffi::MPI_Isend(at, length, byte, peer, tag, self.comm, &mut request),
                    Way::In => ffi::MPI_Irecv(at, length, byte, peer, tag, self.comm, &mut request),
                })?;
                flight.requests.push(request);
            }
            first += count;
            // Also nothing at all is a message.
            if first == bytes {
                return Ok(flight);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

/// Whom a message is to or from, by which tag, how long it is, and in messages of MPI of at most how many bytes it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope {
    pub(crate) peer: u32,
    pub(crate) tag: c_int,
    pub(crate) bytes: usize,
    pub(crate) piece: usize,
}

/// MPI counts in a C int. Whole mebibytes, so that pieces stay aligned.
pub(crate) const MOST_BYTES: usize = (c_int::MAX as usize) >> 20 << 20;

impl Drop for Line {
    fn drop(&mut self) {
        if !self.keep.get() && !mpi::is_finalized() {
            // SAFETY: a communicator of ours, which nobody uses any more. An error changes nothing here.
            unsafe { ffi::MPI_Comm_free(&mut self.comm) };
        }
    }
}

/// A buffer that MPI sends or fills; none where it does so with memory of somebody else.
#[derive(Debug)]
pub(crate) struct Flight {
    buffer: Option<Vec<u8>>,
    requests: Vec<ffi::MPI_Request>,
}

impl Flight {
    /// Whether it has arrived, or its buffer may be used again.
    pub(crate) fn test(&mut self) -> Result<bool, Code> {
        let mut done = 0;
        let count = self.requests.len() as c_int;
        let requests = self.requests.as_mut_ptr();
        // SAFETY: requests of ours, and as many.
        check(unsafe { ffi::MPI_Testall(count, requests, &mut done, ffi::RSMPI_STATUSES_IGNORE) })?;
        if done != 0 {
            self.requests.clear();
        }
        Ok(done != 0)
    }

    /// The buffer, if nobody uses it any more.
    pub(crate) fn landed(mut self) -> Option<Vec<u8>> {
        if self.requests.is_empty() { self.buffer.take() } else { None }
    }
}

impl Drop for Flight {
    /// What MPI may still touch is left to it.
    fn drop(&mut self) {
        if !self.requests.is_empty() {
            std::mem::forget(self.buffer.take());
        }
    }
}
