//! A schedule made ready on several devices.
//!
//! To whoever launches it, it is like that of one device.

use std::fmt;
use std::time::{Duration, Instant};

use super::launch::{all, inputs_of, outputs_of};
use super::mail::Mail;
use crate::backend::{self, Prepared, Ran, Share};
use crate::buffers::{BufferError, UserBuffer};
use crate::error::RunError;
use crate::lower::{Pieced, Split};

/// A schedule made ready on several devices.
pub struct Ready {
    split: Split,
    pieced: Pieced,
    shares: Vec<Box<dyn Share>>,
    names: Vec<String>,
    mail: Mail,
    /// All devices have the same piece loaded, and whether a launch over it succeeded on all.
    loaded: Option<bool>,
}

impl Ready {
    pub(super) fn new(split: Split, pieced: Pieced, shares: Vec<(String, Box<dyn Share>)>, patience: Duration) -> Self {
        let (names, shares): (Vec<String>, Vec<_>) = shares.into_iter().unzip();
        let mail = Mail::new(names.clone(), split.epochs() + 1, patience);
        Self { split, pieced, shares, names, mail, loaded: None }
    }

    /// What each device carries out, and what moves between them.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Each device's name, and how its part was prepared.
    pub fn parts(&self) -> impl Iterator<Item = (&str, Prepared)> {
        self.names.iter().map(String::as_str).zip(self.shares.iter().map(|share| share.prepared()))
    }

    /// Refuses a list that is not one of all ranks: who would have which part of it is not known then.
    fn check(&self, what: UserBuffer, got: usize) -> Result<(), RunError> {
        let ranks = self.split.placement().ranks();
        match got == ranks as usize {
            true => Ok(()),
            false => Err(BufferError::Number { what, got, ranks }.into()),
        }
    }

    fn sources(&self) -> UserBuffer {
        if self.split.whole().in_place() { UserBuffer::InPlace } else { UserBuffer::Input }
    }

    fn timed(&mut self, launch: impl FnOnce(&mut Self) -> Result<Ran, RunError>) -> Result<Ran, RunError> {
        let start = Instant::now();
        let ran = launch(self)?;
        Ok(Ran { time: Some(start.elapsed()), ..ran })
    }
}

impl backend::Ready for Ready {
    /// Channels are those of the device that has most, device memory is that of all.
    fn prepared(&self) -> Prepared {
        let parts: Vec<Prepared> = self.shares.iter().map(|share| share.prepared()).collect();
        let bytes = parts.iter().filter_map(|part| part.device_bytes);
        Prepared {
            dispatch: None,
            channels: parts.iter().map(|part| part.channels).max().unwrap_or(1),
            pieces: self.pieced.count(),
            device_bytes: bytes.reduce(|a, b| a + b),
        }
    }

    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        self.check(UserBuffer::Input, inputs.len())?;
        self.check(UserBuffer::Output, outputs.len())?;
        self.timed(|ready| {
            let placement = ready.split.placement();
            let given = inputs_of(placement, inputs).into_iter().zip(outputs_of(placement, outputs)).collect();
            all(&mut ready.shares, given, &ready.mail, |share, (inputs, mut outputs), transport| {
                share.run(&inputs, &mut outputs, transport)
            })
        })
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        self.check(UserBuffer::InPlace, buffers.len())?;
        self.timed(|ready| {
            let given = outputs_of(ready.split.placement(), buffers);
            all(&mut ready.shares, given, &ready.mail, |share, mut buffers, transport| {
                share.run_in_place(&mut buffers, transport)
            })
        })
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.loaded = None;
        let pieces = self.pieced.count();
        if piece >= pieces {
            return Err(RunError::NoSuchPiece { piece, pieces });
        }
        self.check(self.sources(), inputs.len())?;
        let given = inputs_of(self.split.placement(), inputs);
        self.shares.iter_mut().zip(given).try_for_each(|(share, inputs)| share.load(piece, &inputs))?;
        self.loaded = Some(false);
        Ok(())
    }

    fn launch(&mut self) -> Result<Ran, RunError> {
        self.loaded.take().ok_or(RunError::NotLoaded)?;
        let launched = self.timed(|ready| {
            let given = vec![(); ready.shares.len()];
            all(&mut ready.shares, given, &ready.mail, |share, (), transport| share.launch(transport))
        });
        // In place there may be results on some devices, and inputs on others.
        let kept = launched.is_ok() || !self.split.whole().in_place();
        self.loaded = kept.then_some(launched.is_ok());
        launched
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.check(self.split.whole().extents(0).results(), outputs.len())?;
        if self.loaded != Some(true) {
            return Err(RunError::NotLaunched);
        }
        let given = outputs_of(self.split.placement(), outputs);
        self.shares.iter_mut().zip(given).try_for_each(|(share, mut outputs)| share.fetch(&mut outputs))
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("placement", self.split.placement()).field("devices", &self.names).finish()
    }
}
