//! What every executor can do, as this one does it: whole launches, and launches over what stays on the device.
//!
//! Apart from the machinery of launches, which knows no trait.

use super::blocking::Instant;
use super::executor::{Executor, look};
use super::host::Host;
use super::timing;
use crate::backend::{Prepared, Ran, Ready};
use crate::buffers::UserBuffer;
use crate::error::RunError;
use crate::trace::Trace;

impl Ready for Executor {
    fn prepared(&self) -> Prepared {
        let (package, arenas) = (self.package(), self.banks.len().max(1) as u64);
        Prepared {
            dispatch: Some((package.mode(), package.protocol)),
            channels: package.arena.channels,
            pieces: self.pieces(),
            device_bytes: Some(arenas * package.arena.bytes()),
        }
    }

    /// The next launch is not affected by an error; outputs may then hold those of some pieces.
    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        if self.package().proved().in_place() {
            return Err(RunError::Placement { in_place: true });
        }
        self.check(UserBuffer::Input, inputs.iter().map(|input| input.len()))?;
        self.check(UserBuffer::Output, outputs.iter().map(|output| output.len()))?;
        self.run_all(&mut Host::Apart { inputs, outputs })
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        if !self.package().proved().in_place() {
            return Err(RunError::Placement { in_place: false });
        }
        self.check(UserBuffer::InPlace, buffers.iter().map(|buffer| buffer.len()))?;
        self.run_all(&mut Host::InPlace(buffers))
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.piece = None;
        self.check(self.sources(), inputs.iter().map(|input| input.len()))?;
        let pieces = self.pieces();
        if piece >= pieces {
            return Err(RunError::NoSuchPiece { piece, pieces });
        }
        self.furnish()?;
        self.banks[0].upload(piece, &Host::inputs(inputs))?;
        self.piece = Some(piece);
        self.banks[0].last.set(None);
        // Writes wait for the next submission, and must not be part of the first launch.
        let device = &self.loaded.device;
        Ok(device.run(device.encoder().finish())?)
    }

    /// Outputs are not poisoned before.
    fn launch(&mut self) -> Result<Ran, RunError> {
        let launched = self.launch_resident();
        self.kept(launched)
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.check(self.results(), outputs.iter().map(|output| output.len()))?;
        let (bank, piece) = self.loaded_piece().map_err(|_| RunError::NotLaunched)?;
        if bank.last.get().is_none() {
            return Err(RunError::NotLaunched);
        }
        let unfinished = match bank.download(piece, &mut Host::Apart { inputs: &[], outputs })? {
            None => return Ok(()),
            Some(now) => timing::stopped(bank, now)?,
        };
        self.kept(Err(unfinished))
    }

    fn time(&mut self, launches: usize) -> Result<Vec<Ran>, RunError> {
        let timed = timing::time(self, launches);
        self.kept(timed)
    }

    fn trace(&mut self) -> Option<Trace> {
        self.tracing.as_mut()?.last.take()
    }
}

impl Executor {
    /// What a launch that did not succeed has left of in-place buffers is no input for another.
    fn kept<R>(&mut self, launched: Result<R, RunError>) -> Result<R, RunError> {
        if launched.is_err() && self.package().proved().in_place() {
            self.piece = None;
        }
        launched
    }

    fn launch_resident(&mut self) -> Result<Ran, RunError> {
        self.forget();
        let (bank, piece) = self.loaded_piece()?;
        let device = &self.loaded.device;
        let start = Instant::now();
        let first = self.package().first_dispatches;
        let mut encoder = device.encoder();
        match self.tracing.as_ref().and_then(|tracing| tracing.marks.as_ref()) {
            Some(marks) => bank.encode_marked(&mut encoder, piece, marks),
            None => drop(bank.encode_bare(&mut encoder, piece, first, None)),
        }
        let (commands, at) = (encoder.finish(), start.elapsed());
        let submitted = device.submit(commands)?;
        let mut ran = Ran { dispatches: first as u32, ..Ran::default() };
        ran.dispatches += self.settle(bank, piece, submitted, |_| look(bank))?;
        ran.time = Some(start.elapsed());
        self.look_at(0, at, start.elapsed())?;
        self.note(piece..piece + 1)?;
        Ok(ran)
    }
}
