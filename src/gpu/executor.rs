//! Launches over the host's slices: data in, dispatches, check that it finished, data out, in one submission a piece.
//!
//! Everything is bytes; what they are is the package's to know.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::bank::Bank;
use super::blocking::Instant;
use super::context::Context;
use super::host::{Host, check};
use super::loaded::Loaded;
use super::marks::Marks;
use super::memory::Memory;
use crate::backend::Ran;
use crate::buffers::UserBuffer;
use crate::collective::Collective;
use crate::error::{DeviceError, RunError};
use crate::lower::words::Progress;
use crate::lower::{Measured, Mode, Package};
use crate::trace::Trace;

/// A schedule prepared for a payload on a device.
pub struct Executor {
    pub(super) loaded: Arc<Loaded>,
    memory: Arc<Memory>,
    /// What launches over the host's slices take beside the memory; two where the payload goes in pieces.
    pub(super) banks: Vec<Bank>,
    /// The piece that lies in the first bank, if any does.
    pub(super) piece: Option<usize>,
    watch: Option<Watch>,
    /// Of launches that are traced.
    pub(super) tracing: Option<Tracing>,
}

/// What a launch that is traced leaves.
pub(super) struct Tracing {
    /// None where nobody can say when a dispatch ran, or all of them are one.
    pub(super) marks: Option<Marks>,
    /// Of the launch, so far.
    measured: Measured,
    pub(super) last: Option<Trace>,
}

/// Called with the number of pieces that are done.
type Watch = Box<dyn FnMut(usize) + Send>;

/// A piece that was submitted.
struct InFlight {
    piece: usize,
    /// Since the launch began.
    at: Duration,
    submitted: wgpu::SubmissionIndex,
}

impl Executor {
    /// Loads a package, with memory for launches that are recorded into a caller's encoder, and for no others yet.
    pub(super) fn new(
        context: &Arc<Context>,
        package: Package,
        timeout: Option<Duration>,
    ) -> Result<Self, DeviceError> {
        let loaded = Arc::new(Loaded::new(context, package, timeout)?);
        let memory = Arc::new(Memory::new(&loaded)?);
        memory.warm_up()?;
        Ok(Self { loaded, memory, banks: Vec::new(), piece: None, watch: None, tracing: None })
    }

    /// Takes what launches over the host's slices need, unless it is there.
    pub(super) fn furnish(&mut self) -> Result<(), DeviceError> {
        if !self.banks.is_empty() {
            return Ok(());
        }
        let mut banks = vec![Bank::new(Arc::clone(&self.memory))?];
        if self.pieces() > 1 {
            match Memory::new(&self.loaded).and_then(|memory| Bank::new(Arc::new(memory))) {
                Ok(second) => banks.push(second),
                // Without it pieces do not overlap, and that is all.
                Err(DeviceError::Memory { .. }) => log::warn!("no memory for a second arena: pieces will not overlap"),
                Err(error) => return Err(error),
            }
        }
        self.banks = banks;
        Ok(())
    }

    /// From now on launches are traced.
    pub(super) fn trace(&mut self) -> Result<(), DeviceError> {
        let (package, pieces) = (self.package(), self.pieces());
        let marks = match package.mode() {
            Mode::Fused => None,
            Mode::PerRank | Mode::PerStep => Marks::new(&self.loaded.device, pieces * package.first_dispatches)?,
        };
        self.tracing = Some(Tracing { marks, measured: Measured::default(), last: None });
        Ok(())
    }

    /// Before a launch that may not succeed.
    pub(super) fn forget(&mut self) {
        if let Some(tracing) = &mut self.tracing {
            tracing.last = None;
            tracing.measured = Measured::default();
        }
    }

    /// After a piece, before the next one over the memory of that bank: submitted and known to be done so long after the launch
    /// began.
    pub(super) fn look_at(&mut self, bank: usize, submitted: Duration, done: Duration) -> Result<(), DeviceError> {
        if let (Some(tracing), Some(bank)) = (&mut self.tracing, self.banks.get(bank)) {
            let nanoseconds = |time: Duration| time.as_nanos().try_into().unwrap_or(u64::MAX);
            tracing.measured.seen.push((nanoseconds(submitted), nanoseconds(done)));
            tracing.measured.tickets.extend(bank.memory.tickets()?);
        }
        Ok(())
    }

    /// After a launch over `pieces`, the first of whose stamps are its own.
    pub(super) fn note(&mut self, pieces: Range<usize>) -> Result<(), DeviceError> {
        let Some(tracing) = &mut self.tracing else { return Ok(()) };
        let package = &self.loaded.package;
        tracing.measured.times = match &tracing.marks {
            Some(marks) => marks.read(&self.loaded.device, pieces.len(), package.first_dispatches)?,
            None => None,
        };
        tracing.last = Some(package.timeline(pieces, &tracing.measured));
        Ok(())
    }

    /// What runs.
    pub fn package(&self) -> &Package {
        &self.loaded.package
    }

    /// Memory for launches that are recorded into a caller's encoder.
    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub(super) fn pieces(&self) -> usize {
        self.package().pieces.count()
    }

    /// From now on calls `watch` with the number of pieces that are done, whenever another one is.
    pub fn on_piece(&mut self, watch: impl FnMut(usize) + Send + 'static) {
        self.watch = Some(Box::new(watch));
    }

    /// The bank and the piece that inputs were loaded to.
    pub(super) fn loaded_piece(&self) -> Result<(&Bank, usize), RunError> {
        self.banks.first().zip(self.piece).ok_or(RunError::NotLoaded)
    }

    pub(super) fn check(
        &self,
        what: UserBuffer,
        lengths: impl ExactSizeIterator<Item = usize> + Clone,
    ) -> Result<(), RunError> {
        let payload = &self.package().payload;
        Ok(check(&self.package().proved().extents(payload.count), what, lengths, payload.element_bytes)?)
    }

    /// Outputs, or in place buffers.
    pub(super) fn results(&self) -> UserBuffer {
        self.package().proved().extents(0).results()
    }

    /// Inputs, or in place buffers.
    pub(super) fn sources(&self) -> UserBuffer {
        if self.package().proved().in_place() { UserBuffer::InPlace } else { UserBuffer::Input }
    }

    /// Whether there is nothing to move. A barrier moves nothing and has something to do.
    fn is_nothing(&self) -> bool {
        let package = self.package();
        package.payload.count == 0 && package.proved().schedule().task.collective != Collective::Barrier
    }

    pub(super) fn run_all(&mut self, host: &mut Host<'_, '_>) -> Result<Ran, RunError> {
        if self.is_nothing() {
            return Ok(Ran::default());
        }
        self.furnish()?;
        self.piece = None;
        self.forget();
        let ran = self.run_pieces(host).and_then(|ran| {
            self.note(0..self.pieces())?;
            Ok(ran)
        });
        if ran.is_err() {
            // Nobody looks any more what became of other pieces.
            self.banks.iter().for_each(|bank| bank.memory.ledger.unfinished());
        }
        ran
    }

    /// Pieces one after the other, as many at a time as there are banks: while the device works on one, the host takes
    /// the outputs of the last and puts in the inputs of the next.
    fn run_pieces(&mut self, host: &mut Host<'_, '_>) -> Result<Ran, RunError> {
        let start = Instant::now();
        let (pieces, banks) = (self.pieces(), self.banks.len());
        let mut ran = Ran::default();
        let mut in_flight: Vec<InFlight> = Vec::with_capacity(banks);
        for piece in 0..pieces + banks {
            if piece >= banks && !in_flight.is_empty() {
                let InFlight { piece, at, submitted } = in_flight.remove(0);
                let bank = &self.banks[piece % banks];
                ran.dispatches += self.settle(bank, piece, submitted, |submitted| bank.take(submitted, piece, host))?;
                self.look_at(piece % banks, at, start.elapsed())?;
                if let Some(watch) = &mut self.watch {
                    watch(piece + 1);
                }
            }
            if piece < pieces {
                let (bank, device) = (&self.banks[piece % banks], &self.loaded.device);
                bank.upload(piece, host)?;
                let mut encoder = device.encoder();
                let marks = self.tracing.as_ref().and_then(|tracing| tracing.marks.as_ref());
                let first = piece * self.package().first_dispatches;
                bank.encode_launch(&mut encoder, piece, marks.map(|marks| (marks, first)));
                bank.encode_readback(&mut encoder);
                ran.dispatches += self.package().first_dispatches as u32;
                let (commands, at) = (encoder.finish(), start.elapsed());
                in_flight.push(InFlight { piece, at, submitted: device.submit(commands)? });
            }
        }
        ran.time = Some(start.elapsed());
        Ok(ran)
    }

    /// One launch over a piece that is on the device; its outputs stay there.
    pub(super) fn launch_poisoned(&self, bank: &Bank, piece: usize) -> Result<(), RunError> {
        let device = &self.loaded.device;
        let mut encoder = device.encoder();
        bank.encode_launch(&mut encoder, piece, None);
        let submitted = device.submit(encoder.finish())?;
        self.settle(bank, piece, submitted, |_| look(bank)).map(drop)
    }

    /// Calls `take` until it has no unfinished progress to tell of; in fused mode with more dispatches, as long as lanes
    /// get further. Returns how many more there were.
    pub(super) fn settle(
        &self,
        bank: &Bank,
        piece: usize,
        mut submitted: wgpu::SubmissionIndex,
        mut take: impl FnMut(&wgpu::SubmissionIndex) -> Result<Option<Vec<Progress>>, DeviceError>,
    ) -> Result<u32, RunError> {
        let (device, package) = (&self.loaded.device, self.package());
        let (mut before, mut more) = (None, 0);
        while let Some(now) = take(&submitted)? {
            if !package.may_go_on() || before.as_ref() == Some(&now) {
                return Err(bank.stopped(&now)?);
            }
            before = Some(now);
            let mut encoder = device.encoder();
            more += bank.encode_rest(&mut encoder, piece);
            bank.encode_readback(&mut encoder);
            submitted = device.submit(encoder.finish())?;
        }
        Ok(more as u32)
    }
}

/// Progress, unless the launch is through.
pub(super) fn look(bank: &Bank) -> Result<Option<Vec<Progress>>, DeviceError> {
    let now = bank.progress()?;
    Ok((!bank.finished(&now)).then_some(now))
}
