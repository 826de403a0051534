//! One device's part of a schedule on a GPU: an epoch is a few dispatches, and between two of them chunks go through the host.
//!
//! Whatever is sent is copied to a buffer that the host reads, in the submission that computes it; whatever arrives is written
//! before the next one.

use super::blocking::Instant;
use super::executor::{Executor, look};
use super::handle::Gpu;
use super::host::Host;
use crate::backend::{Backend, Member, Options, Prepared, Ran, Ready, Shape, Share, Transport, receive, send};
use crate::buffers::UserBuffer;
use crate::error::{DeviceError, PrepareError, RunError};
use crate::lower::{LowerError, Mode, Part, Run, Unsound};
use crate::payload::VECTOR_BYTES;
use crate::schedule::{Address, DeviceKind};

impl Member for Gpu {
    fn kind(&self) -> DeviceKind {
        Backend::kind(self)
    }

    fn name(&self) -> String {
        self.info().title()
    }

    fn prepare_part(&self, part: &Part, shape: Shape, options: &Options) -> Result<Box<dyn Share>, PrepareError> {
        if options.trace {
            return Err(PrepareError::NoSuchOption { executor: "a launch on several devices", option: "trace" });
        }
        // Epochs end between dispatches.
        let options = match options.dispatch {
            None => options.dispatch(Mode::PerStep),
            Some(Mode::Fused) => {
                let (mode, protocol) = (Mode::Fused, options.protocol);
                let error = LowerError::Unsound { mode, protocol, reason: Unsound::Part };
                return Err(PrepareError::Lower { device: self.info().title(), error });
            }
            Some(_) => *options,
        };
        let mut executor = self.load(part.proved(), shape, &options)?;
        let pieces = executor.pieces();
        if pieces > 1 {
            let error = LowerError::PartInPieces { pieces };
            return Err(PrepareError::Lower { device: self.info().title(), error });
        }
        executor.furnish()?;
        Ok(Box::new(Placed::new(executor, part.clone())?))
    }
}

/// A part made ready.
struct Placed {
    executor: Executor,
    part: Part,
    /// What the host reads of a boundary's messages.
    outbox: wgpu::Buffer,
    is_loaded: bool,
    is_launched: bool,
}

/// The one piece.
const PIECE: usize = 0;

/// Bytes of a chunk in the arena, and how many of them are elements.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    bytes: usize,
}

impl Place {
    /// Copies take whole words; a chunk's memory is whole vectors, so what is more is its own.
    fn padded(self) -> u64 {
        (self.bytes as u64).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT)
    }
}

impl Placed {
    fn new(executor: Executor, part: Part) -> Result<Self, DeviceError> {
        let most = (0..part.boundaries()).map(|boundary| outgoing(&executor, &part, boundary).map(Place::padded).sum());
        let outbox = executor.loaded.device.readback("outbox", most.max().unwrap_or(0))?;
        Ok(Self { executor, part, outbox, is_loaded: false, is_launched: false })
    }

    /// One launch over what the device holds.
    fn launch_over(&mut self, poisoned: bool, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        let start = Instant::now();
        let (bank, device, package) =
            (&self.executor.banks[0], &self.executor.loaded.device, &self.executor.loaded.package);
        let mut ran = Ran::default();
        let mut encoder = device.encoder();
        let launch = bank.begin(&mut encoder, poisoned);
        for boundary in 0..self.part.boundaries() {
            // What the last epoch computed, and what of it is sent.
            let mut offset = 0;
            for place in outgoing(&self.executor, &self.part, boundary) {
                encoder.copy_buffer_to_buffer(bank.arena(), place.start, &self.outbox, offset, place.padded());
                offset += place.padded();
            }
            let submitted = device.submit(encoder.finish())?;
            if !self.part.sends(boundary).is_empty() {
                let mut places = outgoing(&self.executor, &self.part, boundary);
                let mut at = 0;
                let mut fill = |view: &[u8]| {
                    send(&self.part, boundary, &package.payload, transport, |run, mut bytes| {
                        for place in places.by_ref().take(run.chunks as usize) {
                            let (now, rest) = std::mem::take(&mut bytes).split_at_mut(place.bytes);
                            now.copy_from_slice(&view[at..at + place.bytes]);
                            at += place.padded() as usize;
                            bytes = rest;
                        }
                    })
                };
                match offset {
                    0 => fill(&[])?,
                    _ => device.read(&submitted, &self.outbox, offset, fill)??,
                }
            }
            receive(&self.part, boundary, &package.payload, transport, |run, bytes| self.put(run, bytes))?;
            encoder = device.encoder();
            if boundary < self.part.epochs() {
                ran.dispatches += bank.encode_epoch(&mut encoder, PIECE, launch, boundary);
            }
        }
        device.submit(encoder.finish())?;
        ran.time = Some(start.elapsed());
        Ok(ran)
    }

    /// Puts what has arrived where the next submission finds it.
    fn put(&self, run: &Run, bytes: &[u8]) -> Result<(), RunError> {
        let (bank, device) = (&self.executor.banks[0], &self.executor.loaded.device);
        for &to in &*run.to {
            let mut rest = bytes;
            for place in places(&self.executor, to, run.chunks).filter(|place| place.bytes > 0) {
                let (now, later) = rest.split_at(place.bytes);
                device.scoped(|| {
                    let view = wgpu::BufferSize::new(place.padded())
                        .and_then(|bytes| device.queue.write_buffer_with(bank.arena(), place.start, bytes));
                    let Some(mut view) = view else { return };
                    view.slice(..now.len()).copy_from_slice(now);
                    view.slice(now.len()..).fill(0);
                })?;
                rest = later;
            }
        }
        Ok(())
    }

    /// Takes outputs, or in place buffers, and says whether the launch finished.
    fn take(&self, host: &mut Host<'_, '_>) -> Result<(), RunError> {
        let bank = &self.executor.banks[0];
        match bank.download(PIECE, host)? {
            None => Ok(()),
            Some(now) => Err(bank.stopped(&now)?),
        }
    }

    fn run_all(&mut self, host: &mut Host<'_, '_>, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        let start = Instant::now();
        (self.is_loaded, self.is_launched) = (false, false);
        self.executor.banks[0].upload(PIECE, host)?;
        let launched = self.launch_over(true, transport).and_then(|ran| self.take(host).map(|()| ran));
        Ok(Ran { time: Some(start.elapsed()), ..self.settled(launched)? })
    }

    /// After a launch that did not succeed the next one begins with signals at zero.
    fn settled<R>(&self, launched: Result<R, RunError>) -> Result<R, RunError> {
        launched.inspect_err(|_| self.executor.banks[0].memory.ledger.unfinished())
    }
}

/// Where the chunks of these addresses lie.
fn places(executor: &Executor, at: Address, chunks: u32) -> impl Iterator<Item = Place> + '_ {
    let (arena, payload) = (&executor.loaded.package.arena, &executor.loaded.package.payload);
    (at.chunk..at.chunk + chunks).map(move |chunk| Place {
        start: (arena.vector(Address { chunk, ..at }) * VECTOR_BYTES) as u64,
        bytes: payload.held(at.buffer, chunk) * payload.element_bytes,
    })
}

/// Where the chunks of all messages of a boundary lie, in their order.
fn outgoing<'a>(executor: &'a Executor, part: &'a Part, boundary: u32) -> impl Iterator<Item = Place> + 'a {
    let runs = part.sends(boundary).iter().flat_map(|route| &route.runs);
    runs.flat_map(move |run| places(executor, run.at, run.chunks))
}

impl Share for Placed {
    fn prepared(&self) -> Prepared {
        self.executor.prepared()
    }

    fn run(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        transport: &mut dyn Transport,
    ) -> Result<Ran, RunError> {
        if self.executor.package().proved().in_place() {
            return Err(RunError::Placement { in_place: true });
        }
        self.executor.check(UserBuffer::Input, inputs.iter().map(|input| input.len()))?;
        self.executor.check(UserBuffer::Output, outputs.iter().map(|output| output.len()))?;
        self.run_all(&mut Host::Apart { inputs, outputs }, transport)
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]], transport: &mut dyn Transport) -> Result<Ran, RunError> {
        if !self.executor.package().proved().in_place() {
            return Err(RunError::Placement { in_place: false });
        }
        self.executor.check(UserBuffer::InPlace, buffers.iter().map(|buffer| buffer.len()))?;
        self.run_all(&mut Host::InPlace(buffers), transport)
    }

    fn load(&mut self, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.executor.load(PIECE, inputs)?;
        (self.is_loaded, self.is_launched) = (true, false);
        Ok(())
    }

    fn launch(&mut self, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        if !self.is_loaded {
            return Err(RunError::NotLoaded);
        }
        let start = Instant::now();
        let launched = self.launch_over(false, transport).and_then(|ran| {
            let bank = &self.executor.banks[0];
            match look(bank)? {
                None => Ok(ran),
                Some(now) => Err(bank.stopped(&now)?),
            }
        });
        let ran = self.settled(launched)?;
        self.is_launched = true;
        Ok(Ran { time: Some(start.elapsed()), ..ran })
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.executor.check(self.executor.results(), outputs.iter().map(|output| output.len()))?;
        if !self.is_launched {
            return Err(RunError::NotLaunched);
        }
        self.take(&mut Host::Apart { inputs: &[], outputs })
    }
}
