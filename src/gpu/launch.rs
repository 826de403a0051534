//! Launches over the host's slices: data in, dispatches, check that it finished, data out, in one submission a piece.
//!
//! A result is a result only when every lane's progress word says so: watchdogs, loop limits and starved workgroups all
//! show there, and nothing else would show them.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::cut::choose_mode;
use super::device::{Gpu, GpuError};
use super::encoded::{Encoded, Memory};
use super::kernel::Source;
use super::ledger::Launch;
use super::poison::Poison;
use super::program::Progress;
use super::tuning::Tuning;
use crate::buffers::{BufferError, UserBuffer};
use crate::collective::Op;
use crate::element::{Element, Unsupported, supported};
use crate::fault::Fault;
use crate::hang::Hang;
use crate::lower::plan::Mode;
use crate::payload::{Payload, PayloadError};
use crate::proof::{Proved, Unscalable};
use crate::schedule::Buffer;

/// Most ranks on a GPU.
pub const MAX_RANKS: u32 = 256;

/// Which dispatch mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Choice {
    /// Fused where it is sound, passed its check and so many lanes run together; else the mode with fewer dispatches.
    #[default]
    Auto,
    /// This one or none.
    Named(Mode),
}

/// How to prepare a launch; the default suits every payload and device.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Options {
    /// Dispatch mode.
    pub dispatch: Choice,
    /// Channels; chosen by size and device if not given.
    pub channels: Option<u32>,
    /// A defect to put in.
    pub fault: Option<Fault>,
    /// Upper bound in bytes for the inputs, outputs and slots in an arena, below the device's own. Larger payloads go in pieces,
    /// through two arenas in turn. Signals, or the lines of fused-ll, come on top.
    pub arena_bytes: Option<u64>,
}

impl Options {
    /// Sets the dispatch mode.
    #[must_use]
    pub fn dispatch(mut self, dispatch: impl Into<Choice>) -> Self {
        self.dispatch = dispatch.into();
        self
    }

    /// Sets the number of channels.
    #[must_use]
    pub fn channels(mut self, channels: impl Into<Option<u32>>) -> Self {
        self.channels = channels.into();
        self
    }

    /// Puts a defect in.
    #[must_use]
    pub fn fault(mut self, fault: impl Into<Option<Fault>>) -> Self {
        self.fault = fault.into();
        self
    }

    /// Sets the upper bound for an arena.
    #[must_use]
    pub fn arena_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.arena_bytes = bytes.into();
        self
    }
}

impl From<Mode> for Choice {
    fn from(mode: Mode) -> Self {
        Self::Named(mode)
    }
}

/// Why a launch cannot be prepared or did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// An operation that the type does not have.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// An average in place of a schedule that reads contributions as outputs.
    #[error(transparent)]
    Unscalable(#[from] Unscalable),
    /// The payload was cut for another schedule or element type.
    #[error("the payload was cut for another schedule or element type; make it with Payload::new from this schedule")]
    Payload,
    /// An option that is zero.
    #[error("0 {0} can do nothing; give at least 1")]
    Nothing(&'static str),
    /// No such payload.
    #[error(transparent)]
    Cut(#[from] PayloadError),
    /// More ranks than the executor takes.
    #[error("{0} ranks are too many for the GPU executor, which takes up to {MAX_RANKS}; use the CPU executor")]
    Ranks(u32),
    /// The named mode would be wrong on this device.
    #[error(
        "dispatch mode {mode} is refused on {device}: {reason}; use {}",
        if *.mode == Mode::Fused { "fused-ll or per-step" } else { "per-step or per-rank" }
    )]
    Unsound {
        /// The mode.
        mode: Mode,
        /// The adapter's title.
        device: String,
        /// Why.
        reason: String,
    },
    /// Not even one vector of every chunk fits.
    #[error("{ranks} ranks are too large for {device}: {what}; use fewer ranks or the CPU executor")]
    TooLarge {
        /// Ranks.
        ranks: u32,
        /// The adapter's title.
        device: String,
        /// Which limit.
        what: String,
    },
    /// Buffers that do not fit the schedule and the payload.
    #[error(transparent)]
    Buffers(#[from] BufferError),
    /// The launch was prepared in place and given two buffers a rank, or the reverse.
    #[error("the schedule was proved {}; launch it so", if *.in_place { "in place" } else { "out of place" })]
    Placement {
        /// What it was proved for.
        in_place: bool,
    },
    /// Outputs were asked for before any launch over these inputs, or its commands were never submitted.
    #[error("nothing has been launched over these inputs yet, so there are no outputs; submit the commands first")]
    NotLaunched,
    /// Inputs that lie on the device as a whole were asked for, but they do not.
    #[error("the payload goes through the device in {pieces} pieces; record it over buffers of your own")]
    InPieces {
        /// How many.
        pieces: usize,
    },
    /// Some lanes did not finish.
    #[error("the launch did not finish: {0}")]
    Hang(Box<Hang>),
}

/// What a launch took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Launched {
    /// Dispatches of the schedule, over all pieces.
    pub dispatches: u32,
    /// Pieces that the payload went in.
    pub pieces: usize,
    /// From the first upload to the last element of the last output, as the host sees it.
    pub time: Duration,
}

/// A schedule prepared for a payload on a device.
pub struct Executor<T> {
    pub(super) encoded: Encoded,
    /// Two where the payload goes in pieces, so that one can be filled while the device works in the other.
    pub(super) banks: Vec<Bank>,
    /// The piece that [`load`](Self::load) put into the first bank.
    pub(super) loaded: usize,
    watch: Option<Watch>,
    element: PhantomData<T>,
}

/// Called with the number of pieces that are done.
type Watch = Box<dyn FnMut(usize) + Send>;

/// Device memory for a piece, and what the host reads of it: outputs of all ranks, then progress; or the trace of a hang.
pub(super) struct Bank {
    pub(super) memory: Memory,
    /// The launch that was recorded last, over what lies in the memory.
    pub(super) last: Cell<Option<Launch>>,
    poison: Poison,
    readback: wgpu::Buffer,
}

/// The host's buffers of all ranks.
pub(super) enum Host<'a, 'b, T> {
    Apart { inputs: &'a [&'a [T]], outputs: &'a mut [&'b mut [T]] },
    InPlace(&'a mut [&'b mut [T]]),
}

impl<T> Host<'_, '_, T> {
    fn input(&self, rank: usize, elements: Range<usize>) -> &[T] {
        match self {
            Self::Apart { inputs, .. } => &inputs[rank][elements],
            Self::InPlace(buffers) => &buffers[rank][elements],
        }
    }

    fn output(&mut self, rank: usize, elements: Range<usize>) -> &mut [T] {
        match self {
            Self::Apart { outputs, .. } => &mut outputs[rank][elements],
            Self::InPlace(buffers) => &mut buffers[rank][elements],
        }
    }
}

/// A piece that was submitted.
struct Flying {
    piece: usize,
    submitted: wgpu::SubmissionIndex,
}

impl<T: Element> Executor<T> {
    /// Prepares `proved` for `payload` on `gpu`.
    ///
    /// # Errors
    /// [`LaunchError`], all but `Buffers`, `Placement` and `Hang`.
    pub fn new(gpu: &Gpu, proved: &Proved, payload: Payload, op: Op, options: Options) -> Result<Self, LaunchError> {
        let (op, mode) = admit::<T>(gpu, proved, payload, op, &options)?;
        Self::prepare(gpu, proved, payload, op, Tuning::of(gpu, mode), options)
    }

    /// As [`new`](Self::new), in a mode that is known to be sound.
    pub(super) fn prepare(
        gpu: &Gpu,
        proved: &Proved,
        payload: Payload,
        op: Op,
        tuning: Tuning,
        options: Options,
    ) -> Result<Self, LaunchError> {
        let encoded = Encoded::new::<T>(gpu, proved, payload, op, tuning, options)?;
        let mut banks = vec![Bank::new::<T>(&encoded)?];
        encoded.warm_up(&banks[0].memory)?;
        if encoded.pieces.count() > 1 {
            match Bank::new::<T>(&encoded) {
                Ok(second) => banks.push(second),
                // Without it pieces do not overlap, and that is all.
                Err(GpuError::Memory { .. }) => log::warn!("no memory for a second arena: pieces will not overlap"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { encoded, banks, loaded: 0, watch: None, element: PhantomData })
    }

    /// The dispatch mode in use.
    pub fn mode(&self) -> Mode {
        self.encoded.plan.mode
    }

    /// Channels in use.
    pub fn channels(&self) -> u32 {
        self.encoded.arena.channels
    }

    /// Pieces that the payload goes in.
    pub fn pieces(&self) -> usize {
        self.encoded.pieces.count()
    }

    /// The shader that runs.
    pub fn source(&self) -> &Source {
        &self.encoded.source
    }

    /// Bytes of device memory: of all inputs and outputs, and of the windows. Of a payload in pieces, those of the two
    /// pieces that are on the device at a time.
    pub fn device_bytes(&self) -> (u64, u64) {
        let arena = &self.encoded.arena;
        let (user, banks) = (arena.region(Buffer::Output).end, self.banks.len() as u64);
        (banks * user, banks * (arena.bytes() - user))
    }

    /// From now on calls `watch` with the number of pieces that are done, whenever another one is.
    pub fn on_piece(&mut self, watch: impl FnMut(usize) + Send + 'static) {
        self.watch = Some(Box::new(watch));
    }

    /// Launches once: `inputs` and `outputs` have one slice for every rank, as many parts of the payload's count as the
    /// collective gives it, one after the other, and empty where that is none.
    ///
    /// # Errors
    /// [`LaunchError`]; outputs may then hold those of some pieces. The next launch is not affected.
    pub fn run(&mut self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<Launched, LaunchError> {
        let extents = self.encoded.extents();
        if self.encoded.proved.in_place() {
            return Err(LaunchError::Placement { in_place: true });
        }
        extents.check(UserBuffer::Input, inputs.iter().map(|input| input.len()))?;
        extents.check(UserBuffer::Output, outputs.iter().map(|output| output.len()))?;
        self.run_all(&mut Host::Apart { inputs, outputs })
    }

    /// Launches once in place: every buffer is a rank's input and becomes its output. Where these differ in length the
    /// buffer is as long as the longer, and the shorter is the rank's part of it, as in NCCL: [`Extents`] says which.
    ///
    /// # Errors
    /// [`LaunchError`]; buffers may then hold outputs of some pieces. The next launch is not affected.
    ///
    /// [`Extents`]: crate::buffers::Extents
    pub fn run_in_place(&mut self, buffers: &mut [&mut [T]]) -> Result<Launched, LaunchError> {
        let extents = self.encoded.extents();
        if !self.encoded.proved.in_place() {
            return Err(LaunchError::Placement { in_place: false });
        }
        extents.check(UserBuffer::InPlace, buffers.iter().map(|buffer| buffer.len()))?;
        self.run_all(&mut Host::InPlace(buffers))
    }

    fn run_all(&mut self, host: &mut Host<'_, '_, T>) -> Result<Launched, LaunchError> {
        let launched = self.run_pieces(host);
        if launched.is_err() {
            // Nobody looks any more what became of other pieces.
            self.banks.iter().for_each(|bank| bank.memory.ledger.unfinished());
        }
        launched
    }

    /// Pieces one after the other, as many at a time as there are banks: while the device works on one, the host takes
    /// the outputs of the last and puts in the inputs of the next.
    fn run_pieces(&mut self, host: &mut Host<'_, '_, T>) -> Result<Launched, LaunchError> {
        let start = Instant::now();
        let (pieces, banks) = (self.encoded.pieces.count(), self.banks.len());
        let mut launched = Launched { pieces, ..Launched::default() };
        let mut flying: Vec<Flying> = Vec::with_capacity(banks);
        for piece in 0..pieces + banks {
            if piece >= banks {
                let landed = flying.remove(0);
                self.land(&landed, host, &mut launched)?;
                if let Some(watch) = &mut self.watch {
                    watch(landed.piece + 1);
                }
            }
            if piece < pieces {
                let bank = &self.banks[piece % banks];
                self.upload(bank, piece, host)?;
                let mut encoder = self.encoded.gpu.encoder();
                self.encode_launch(&mut encoder, bank, piece);
                self.encode_readback(&mut encoder, bank);
                launched.dispatches += self.encoded.first_dispatches() as u32;
                flying.push(Flying { piece, submitted: self.encoded.gpu.submit(encoder.finish())? });
            }
        }
        launched.time = start.elapsed();
        Ok(launched)
    }

    /// Every chunk's slice of every input (in place, of every buffer): on the device when the next submission begins.
    pub(super) fn upload(&self, bank: &Bank, piece: usize, host: &Host<'_, '_, T>) -> Result<(), GpuError> {
        let Encoded { gpu, arena, proved, .. } = &self.encoded;
        let region = arena.region(Buffer::Input);
        gpu.scoped(|| {
            let view = wgpu::BufferSize::new(bytes(&region))
                .and_then(|bytes| gpu.queue.write_buffer_with(&bank.memory.arena, region.start, bytes));
            let Some(mut view) = view else { return };
            for rank in 0..proved.schedule().ranks {
                let parts = proved.address_map().user_parts(Buffer::Input, rank);
                for (at, elements) in self.encoded.runs(piece, Buffer::Input, rank, 0..parts) {
                    let bytes: &[u8] = bytemuck::cast_slice(host.input(rank as usize, elements));
                    view.slice(at..at + bytes.len()).copy_from_slice(bytes);
                }
            }
        })
    }

    /// Poison, dispatches.
    pub(super) fn encode_launch(&self, encoder: &mut wgpu::CommandEncoder, bank: &Bank, piece: usize) {
        let launch = self.encoded.launch(encoder, &bank.memory);
        bank.last.set(Some(launch));
        let mut pass = encoder.begin_compute_pass(&Default::default());
        bank.poison.encode(&mut pass);
        self.encoded.encode_dispatches(&mut pass, &bank.memory, piece, Some(launch), self.encoded.first_dispatches());
    }

    /// Outputs and progress to where the host reads them.
    fn encode_readback(&self, encoder: &mut wgpu::CommandEncoder, bank: &Bank) {
        let region = self.encoded.arena.region(Buffer::Output);
        let (outputs, progress) = (bytes(&region), self.encoded.progress_bytes());
        if outputs > 0 {
            encoder.copy_buffer_to_buffer(&bank.memory.arena, region.start, &bank.readback, 0, outputs);
        }
        encoder.copy_buffer_to_buffer(&bank.memory.progress, 0, &bank.readback, outputs, progress);
    }

    /// Waits for a piece and takes its outputs.
    fn land(&self, flying: &Flying, host: &mut Host<'_, '_, T>, launched: &mut Launched) -> Result<(), LaunchError> {
        let bank = &self.banks[flying.piece % self.banks.len()];
        let take = |submitted: &_| self.take(submitted, bank, flying.piece, host);
        launched.dispatches += self.settle(bank, flying.piece, flying.submitted.clone(), take)?;
        Ok(())
    }

    /// One launch over a piece that is on the device; its outputs stay there.
    pub(super) fn launch(&self, bank: &Bank, piece: usize) -> Result<(), LaunchError> {
        let mut encoder = self.encoded.gpu.encoder();
        self.encode_launch(&mut encoder, bank, piece);
        let submitted = self.encoded.gpu.submit(encoder.finish())?;
        let look = |_: &_| {
            let now = self.progress(bank)?;
            Ok((!self.finished(bank, &now)).then_some(now))
        };
        self.settle(bank, piece, submitted, look).map(drop)
    }

    /// Calls `take` until it has no unfinished progress to tell of; in fused mode with more dispatches, as long as lanes
    /// get further. Returns how many more there were.
    fn settle(
        &self,
        bank: &Bank,
        piece: usize,
        mut submitted: wgpu::SubmissionIndex,
        mut take: impl FnMut(&wgpu::SubmissionIndex) -> Result<Option<Vec<Progress>>, GpuError>,
    ) -> Result<u32, LaunchError> {
        let Encoded { gpu, plan, .. } = &self.encoded;
        let (mut before, mut more) = (None, 0);
        while let Some(now) = take(&submitted)? {
            if !plan.mode.is_fused() || before.as_ref() == Some(&now) {
                return Err(self.hang(bank, &now)?);
            }
            before = Some(now);
            more += plan.dispatches.len();
            let mut encoder = gpu.encoder();
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.encoded.encode_dispatches(&mut pass, &bank.memory, piece, None, plan.dispatches.len());
            drop(pass);
            self.encode_readback(&mut encoder, bank);
            submitted = gpu.submit(encoder.finish())?;
        }
        Ok(more as u32)
    }

    /// Takes the outputs that `submitted` has left in the readback, or the progress of a launch that is not finished.
    fn take(
        &self,
        submitted: &wgpu::SubmissionIndex,
        bank: &Bank,
        piece: usize,
        host: &mut Host<'_, '_, T>,
    ) -> Result<Option<Vec<Progress>>, GpuError> {
        let Encoded { gpu, arena, proved, payload, .. } = &self.encoded;
        let outputs = bytes(&arena.region(Buffer::Output));
        gpu.read(submitted, &bank.readback, outputs + self.encoded.progress_bytes(), |view| {
            let now: Vec<Progress> = bytemuck::pod_collect_to_vec(&view[outputs as usize..]);
            if !self.finished(bank, &now) {
                return Some(now);
            }
            for rank in 0..proved.schedule().ranks {
                for (at, elements) in self.encoded.runs(piece, Buffer::Output, rank, self.encoded.output_parts(rank)) {
                    let bytes = &view[at..at + elements.len() * payload.element_bytes];
                    bytemuck::cast_slice_mut(host.output(rank as usize, elements)).copy_from_slice(bytes);
                }
            }
            None
        })
    }

    /// The outputs of `piece` in the first bank, or the progress of a launch that is not finished.
    pub(super) fn download(&self, piece: usize, host: &mut Host<'_, '_, T>) -> Result<Option<Vec<Progress>>, GpuError> {
        let mut encoder = self.encoded.gpu.encoder();
        self.encode_readback(&mut encoder, &self.banks[0]);
        let submitted = self.encoded.gpu.submit(encoder.finish())?;
        self.take(&submitted, &self.banks[0], piece, host)
    }

    /// Waits for what was launched in `bank`, and takes its progress.
    pub(super) fn progress(&self, bank: &Bank) -> Result<Vec<Progress>, GpuError> {
        let bytes = self.encoded.progress_bytes();
        let mut encoder = self.encoded.gpu.encoder();
        encoder.copy_buffer_to_buffer(&bank.memory.progress, 0, &bank.readback, 0, bytes);
        self.encoded.gpu.run_and_read(encoder.finish(), &bank.readback, bytes, bytemuck::pod_collect_to_vec)
    }

    /// Whether this is the progress of the bank's last launch, and it is through.
    pub(super) fn finished(&self, bank: &Bank, now: &[Progress]) -> bool {
        let Some(launch) = bank.last.get().filter(|&launch| self.encoded.finished(now, launch)) else { return false };
        bank.memory.ledger.finished(launch);
        true
    }

    /// Why lanes with this progress go no further.
    pub(super) fn hang(&self, bank: &Bank, progress: &[Progress]) -> Result<LaunchError, GpuError> {
        let Some(launch) = bank.last.get() else { return Ok(LaunchError::NotLaunched) };
        bank.memory.ledger.unfinished();
        let (mut encoder, bytes) = (self.encoded.gpu.encoder(), self.encoded.trace_bytes());
        self.encoded.encode_trace(&mut encoder, &bank.memory, &bank.readback);
        let trace: Vec<u32> =
            self.encoded.gpu.run_and_read(encoder.finish(), &bank.readback, bytes, bytemuck::pod_collect_to_vec)?;
        Ok(LaunchError::Hang(Box::new(self.encoded.explain(launch, progress, &trace))))
    }
}

impl Bank {
    fn new<T: Element>(encoded: &Encoded) -> Result<Self, GpuError> {
        let memory = encoded.memory()?;
        let read = bytes(&encoded.arena.region(Buffer::Output)) + encoded.progress_bytes();
        let read = read.max(encoded.trace_bytes());
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readback = encoded.gpu.buffer("readback", read, usage)?;
        Ok(Self { poison: Poison::new::<T>(encoded, &memory)?, memory, last: Cell::new(None), readback })
    }
}

/// The operation as the collective has it, and a sound mode; or why there is no such launch.
pub(super) fn admit<T: Element>(
    gpu: &Gpu,
    proved: &Proved,
    payload: Payload,
    op: Op,
    options: &Options,
) -> Result<(Op, Mode), LaunchError> {
    let schedule = proved.schedule();
    if schedule.ranks > MAX_RANKS {
        return Err(LaunchError::Ranks(schedule.ranks));
    }
    gpu.check_limits()?;
    let op = schedule.task.collective.op(op);
    supported(T::TYPE, op)?;
    if op == Op::Avg {
        proved.scalable()?;
    }
    // All places in the arena rest on the payload's arithmetic, so it is not taken on trust.
    if size_of::<T>() != T::TYPE.bytes() || Payload::new(schedule, payload.count, size_of::<T>()) != Ok(payload) {
        return Err(LaunchError::Payload);
    }
    if options.channels == Some(0) {
        return Err(LaunchError::Nothing("channels"));
    }
    Ok((op, choose_mode(gpu, proved, options.dispatch)?))
}

fn bytes(region: &Range<u64>) -> u64 {
    region.end - region.start
}
