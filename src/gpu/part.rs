//! One device's part of a schedule on a GPU: an epoch is a few dispatches, and between two of them chunks go through the host.
//!
//! Whatever is sent is copied to a buffer that the host reads, in the submission that computes it; whatever arrives is written
//! before the next one. Of two pieces that are under way, the device works on one while the host moves the other.

use super::blocking::Instant;
use super::executor::{Executor, look};
use super::handle::Gpu;
use super::host::Host;
use super::ledger::Numbered;
use crate::backend::{Backend, Member, Moment, Options, Prepared, Ran, Ready, SEVERAL, Shape, Share, Transport};
use crate::buffers::UserBuffer;
use crate::error::{DeviceError, PrepareError, RunError, TransportError};
use crate::lower::{LowerError, Mode, Part, Pieced, Run, Unsound};
use crate::payload::VECTOR_BYTES;
use crate::schedule::{Address, DeviceKind};

impl Member for Gpu {
    fn kind(&self) -> DeviceKind {
        Backend::kind(self)
    }

    fn name(&self) -> String {
        self.info().title()
    }

    fn most_vectors(&self, part: &Part, shape: Shape, options: &Options) -> Result<usize, PrepareError> {
        Ok(self.lower(part.proved(), shape, &self.stepped(options)?)?.pieces.piece_vectors)
    }

    fn prepare_part(
        &self,
        part: &Part,
        shape: Shape,
        pieced: Pieced,
        options: &Options,
    ) -> Result<Box<dyn Share>, PrepareError> {
        if options.trace {
            return Err(PrepareError::NoSuchOption { executor: SEVERAL, option: "trace" });
        }
        let vectors = pieced.pieces.piece_vectors;
        let package = self.lower_in_pieces(part.proved(), shape, Some(vectors), &self.stepped(options)?)?;
        if package.pieces != pieced.pieces {
            let error = LowerError::OtherPieces { wanted: vectors, found: package.pieces.piece_vectors };
            return Err(PrepareError::Lower { device: self.info().title(), error });
        }
        let mut executor = self.executor(package, options)?;
        executor.furnish()?;
        // Two pieces are under way, on whatever device.
        if executor.banks.len() < executor.pieces().min(2) {
            return Err(DeviceError::Memory { device: self.info().title() }.into());
        }
        Ok(Box::new(GpuShare::new(executor, part.clone(), pieced)?))
    }
}

impl Gpu {
    /// Epochs end between dispatches.
    fn stepped(&self, options: &Options) -> Result<Options, PrepareError> {
        match options.dispatch {
            None => Ok(options.dispatch(Mode::PerStep)),
            Some(Mode::Fused) => {
                let (mode, protocol) = (Mode::Fused, options.protocol);
                let error = LowerError::Unsound { mode, protocol, reason: Unsound::Part };
                Err(PrepareError::Lower { device: self.info().title(), error })
            }
            Some(_) => Ok(*options),
        }
    }
}

/// A part made ready.
struct GpuShare {
    executor: Executor,
    part: Part,
    pieced: Pieced,
    /// What the host reads of a boundary's messages, one for each bank.
    outboxes: Vec<wgpu::Buffer>,
    /// The piece that is loaded, and whether a launch of it succeeded.
    loaded: Option<(usize, bool)>,
}

/// Bytes of a chunk's slice in the arena, and how many of them are elements.
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

/// Those that hold anything, as one where they follow each other: a copy of a megabyte takes hardly longer than that of a kilobyte.
fn joined(places: impl Iterator<Item = Place>) -> Vec<Place> {
    let mut joined = Vec::<Place>::new();
    for place in places.filter(|place| place.bytes > 0) {
        match joined.last_mut() {
            // In the message nothing lies between them, so nothing may here.
            Some(last) if last.padded() == last.bytes as u64 && last.start + last.padded() == place.start => {
                last.bytes += place.bytes;
            }
            _ => joined.push(place),
        }
    }
    joined
}

/// A piece, and where it is worked on.
#[derive(Clone, Copy)]
struct At<'a> {
    of: &'a GpuShare,
    piece: usize,
    bank: usize,
}

impl At<'_> {
    /// Where what this piece holds of these chunks lies.
    fn places(self, at: Address, chunks: u32) -> impl Iterator<Item = Place> {
        let (arena, pieced) = (&self.of.executor.loaded.package.arena, &self.of.pieced);
        (at.chunk..at.chunk + chunks).map(move |chunk| Place {
            start: (arena.vector(Address { chunk, ..at }) * VECTOR_BYTES) as u64,
            bytes: pieced.held(at.buffer, chunk, self.piece).len() * pieced.payload.element_bytes,
        })
    }

    /// The same of the chunks of all messages of a boundary, in their order.
    fn outgoing(self, boundary: u32) -> impl Iterator<Item = Place> {
        let runs = self.of.part.sends(boundary).iter().flat_map(|route| &route.runs);
        runs.flat_map(move |run| self.places(run.at, run.chunks))
    }

    /// Submits an epoch, and the copies of what is sent after it.
    fn submit(self, encoder: wgpu::CommandEncoder, boundary: u32) -> Result<wgpu::SubmissionIndex, DeviceError> {
        let (device, arena) = (&self.of.executor.loaded.device, self.of.executor.banks[self.bank].arena());
        let (mut encoder, mut offset) = (encoder, 0);
        for place in joined(self.outgoing(boundary)) {
            encoder.copy_buffer_to_buffer(arena, place.start, &self.of.outboxes[self.bank], offset, place.padded());
            offset += place.padded();
        }
        device.submit(encoder.finish())
    }

    /// Sends what `submitted` has left in the outbox.
    fn send(
        self,
        submitted: &wgpu::SubmissionIndex,
        moment: Moment<'_>,
        transport: &mut dyn Transport,
    ) -> Result<(), RunError> {
        let mut places = self.outgoing(moment.boundary);
        let mut at = 0;
        let mut fill = |view: &[u8]| {
            moment.send(transport, |run, mut bytes| {
                for place in places.by_ref().take(run.chunks as usize) {
                    let (now, rest) = std::mem::take(&mut bytes).split_at_mut(place.bytes);
                    now.copy_from_slice(&view[at..at + place.bytes]);
                    at += place.padded() as usize;
                    bytes = rest;
                }
            })
        };
        match self.outgoing(moment.boundary).map(Place::padded).sum() {
            0 => fill(&[])?,
            bytes => self.of.executor.loaded.device.read(submitted, &self.of.outboxes[self.bank], bytes, fill)??,
        }
        Ok(())
    }

    /// Puts what has arrived where the next submission finds it.
    fn put(self, run: &Run, bytes: &[u8]) -> Result<(), RunError> {
        let (arena, device) = (self.of.executor.banks[self.bank].arena(), &self.of.executor.loaded.device);
        for &to in &*run.to {
            let mut rest = bytes;
            for place in joined(self.places(to, run.chunks)) {
                let (now, later) = rest.split_at(place.bytes);
                device.scoped(|| {
                    let view = wgpu::BufferSize::new(place.padded())
                        .and_then(|bytes| device.queue.write_buffer_with(arena, place.start, bytes));
                    let Some(mut view) = view else { return };
                    view.slice(..now.len()).copy_from_slice(now);
                    view.slice(now.len()..).fill(0);
                })?;
                rest = later;
            }
        }
        Ok(())
    }
}

impl GpuShare {
    fn new(executor: Executor, part: Part, pieced: Pieced) -> Result<Self, DeviceError> {
        let mut share = Self { executor, part, pieced, outboxes: Vec::new(), loaded: None };
        let whole = At { of: &share, piece: 0, bank: 0 };
        let of_boundary = |boundary| whole.outgoing(boundary).map(Place::padded).sum();
        let most: u64 = (0..share.part.boundaries()).map(of_boundary).max().unwrap_or(0);
        let outbox = |_: &_| share.executor.loaded.device.readback("outbox", most);
        share.outboxes = share.executor.banks.iter().map(outbox).collect::<Result<_, _>>()?;
        Ok(share)
    }

    /// Comes to all boundaries of these pieces. With `host` it puts inputs in and takes outputs; without, a piece is there and
    /// stays.
    fn launch_over(
        &self,
        only: Option<usize>,
        mut host: Option<&mut Host<'_, '_>>,
        transport: &mut dyn Transport,
    ) -> Result<Ran, RunError> {
        let start = Instant::now();
        let (device, banks) = (&self.executor.loaded.device, &self.executor.banks);
        let mut ran = Ran::default();
        let mut launches: Vec<Option<Numbered>> = vec![None; banks.len()];
        let mut submitted: Vec<Option<wgpu::SubmissionIndex>> = vec![None; banks.len()];
        let last = self.part.boundaries() - 1;
        let order = self.pieced.order(self.part.boundaries());
        for (piece, boundary) in order.into_iter().filter(|(piece, _)| only.is_none_or(|only| only == *piece)) {
            // What was loaded is in the first.
            let number = if only.is_some() { 0 } else { piece % banks.len() };
            let (bank, at) = (&banks[number], At { of: self, piece, bank: number });
            if boundary == 0 {
                if let Some(host) = &host {
                    bank.upload(piece, host)?;
                }
                let mut encoder = device.encoder();
                launches[number] = Some(bank.begin(&mut encoder, host.is_some()));
                submitted[number] = Some(at.submit(encoder, boundary)?);
            }
            let (Some(launch), Some(last_submitted)) = (launches[number], &submitted[number]) else { continue };
            let moment = Moment { part: &self.part, pieced: &self.pieced, piece, boundary };
            if !self.part.sends(boundary).is_empty() {
                at.send(last_submitted, moment, transport)?;
            }
            moment.receive(transport, |run, bytes| at.put(run, bytes))?;
            if boundary < last {
                let mut encoder = device.encoder();
                ran.dispatches += bank.encode_epoch(&mut encoder, piece, launch, boundary);
                submitted[number] = Some(at.submit(encoder, boundary + 1)?);
                continue;
            }
            let unfinished = match &mut host {
                Some(host) => bank.download(piece, host)?,
                None => {
                    // What has arrived must be there also if nothing else is submitted.
                    device.submit(device.encoder().finish())?;
                    look(bank)?
                }
            };
            if let Some(now) = unfinished {
                return Err(bank.stopped(&now)?);
            }
        }
        ran.time = Some(start.elapsed());
        Ok(ran)
    }

    fn run_all(&mut self, host: &mut Host<'_, '_>, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        self.loaded = None;
        self.settled(self.launch_over(None, Some(host), transport))
    }

    /// After a launch that did not succeed the next one begins with signals at zero.
    fn settled<R>(&self, launched: Result<R, RunError>) -> Result<R, RunError> {
        launched.inspect_err(|_| self.executor.banks.iter().for_each(|bank| bank.memory.ledger.unfinished()))
    }
}

impl Moment<'_> {
    /// Sends all messages; `read` copies each run of them out, one after the other.
    ///
    /// # Errors
    /// [`TransportError`].
    fn send(&self, transport: &mut dyn Transport, mut read: impl FnMut(&Run, &mut [u8])) -> Result<(), TransportError> {
        self.part.sends(self.boundary).iter().try_for_each(|route| {
            transport.send(self.message(route), &mut |mut bytes| {
                for run in &route.runs {
                    let (now, rest) = std::mem::take(&mut bytes).split_at_mut(run.bytes_of(self.pieced, self.piece));
                    read(run, now);
                    bytes = rest;
                }
            })
        })
    }

    /// Waits for all messages; `write` puts each run of them where it belongs. Its first error ends it.
    ///
    /// # Errors
    /// [`TransportError`], and those of `write`.
    fn receive(
        &self,
        transport: &mut dyn Transport,
        mut write: impl FnMut(&Run, &[u8]) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        self.part.receives(self.boundary).iter().try_for_each(|route| {
            let mut written = Ok(());
            transport.receive(self.message(route), &mut |mut bytes| {
                for run in &route.runs {
                    let (now, rest) = bytes.split_at(run.bytes_of(self.pieced, self.piece));
                    if written.is_ok() {
                        written = write(run, now);
                    }
                    bytes = rest;
                }
            })?;
            written
        })
    }
}

impl Share for GpuShare {
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

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.loaded = None;
        self.executor.load(piece, inputs)?;
        self.loaded = Some((piece, false));
        Ok(())
    }

    fn launch(&mut self, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        let Some((piece, launched)) = &mut self.loaded else { return Err(RunError::NotLoaded) };
        *launched = false;
        let piece = *piece;
        let launched = self.settled(self.launch_over(Some(piece), None, transport));
        // What a launch that did not succeed has left of in-place buffers is no input for another.
        let kept = launched.is_ok() || !self.executor.package().proved().in_place();
        self.loaded = kept.then_some((piece, launched.is_ok()));
        launched
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.executor.check(self.executor.results(), outputs.iter().map(|output| output.len()))?;
        let Some((piece, true)) = self.loaded else { return Err(RunError::NotLaunched) };
        let bank = &self.executor.banks[0];
        match bank.download(piece, &mut Host::Apart { inputs: &[], outputs })? {
            None => Ok(()),
            Some(now) => Err(bank.stopped(&now)?),
        }
    }
}
