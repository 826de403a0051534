//! A proved schedule prepared for one device, and launched: data in, dispatches, check that it finished, data out.
//!
//! A result is a result only when every lane's progress word says so: watchdogs, loop limits and starved workgroups all
//! show there, and nothing else would show them.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::cut::{Cut, choose_mode, cut};
use super::device::{Gpu, GpuError};
use super::kernel::{Kernel, Source, Variant};
use super::program::{Moves, Params, Program, Progress, two_words};
use super::tuning::Tuning;
use crate::buffers::{BufferError, Extents, Given};
use crate::collective::Op;
use crate::element::{Element, Unsupported, scale, supported};
use crate::hang::{Fault, Hang};
use crate::plan::{Mode, Plan};
use crate::schedule::{Buffer, Instruction, Schedule};
use crate::verify::{Proved, Signal, Unscalable};
use crate::window::{Arena, BINDING_ALIGN, Payload, Pieces, WindowError};

/// Most ranks on a GPU.
pub const MAX_RANKS: u32 = 256;

/// Which dispatch mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Choice {
    /// Fused where it is sound, passed its check and finished in one dispatch; else the mode with fewer dispatches.
    #[default]
    Auto,
    /// This one or none.
    Named(Mode),
}

/// How to prepare a launch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Dispatch mode.
    pub dispatch: Choice,
    /// Channels; chosen by size and device if not given.
    pub channels: Option<u32>,
    /// A defect to put in.
    pub fault: Option<Fault>,
    /// Upper bound for the arena in bytes, below the device's own; larger payloads go in pieces.
    pub arena_bytes: Option<u64>,
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
    /// The window cannot be laid out.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// More ranks than the executor takes.
    #[error("{0} ranks are too many for the GPU executor, which takes up to {MAX_RANKS}; use --device cpu")]
    Ranks(u32),
    /// The named mode would be wrong on this device.
    #[error("dispatch mode {mode} is refused on {device}: {reason}; use per-step or per-rank")]
    Unsound {
        /// The mode.
        mode: Mode,
        /// The adapter's title.
        device: String,
        /// Why.
        reason: String,
    },
    /// Not even one vector of every chunk fits.
    #[error("{ranks} ranks are too large for {device}: {what}; use fewer ranks or --device cpu")]
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
    /// Outputs were asked for before any launch over the loaded inputs.
    #[error("nothing has been launched over these inputs yet, so there are no outputs")]
    NotLaunched,
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
    /// From submission to completion of the schedule's dispatches as the host sees it, over all pieces; copies of data
    /// to and from the device are not in it.
    pub time: Duration,
}

/// A schedule prepared for a payload on a device.
pub struct Executor<'g, T> {
    pub(super) gpu: &'g Gpu,
    pub(super) schedule: Schedule,
    in_place: bool,
    pub(super) payload: Payload,
    pub(super) pieces: Pieces,
    pub(super) arena: Arena,
    pub(super) plan: Plan,
    kernel: std::sync::Arc<Kernel>,
    fill: std::sync::Arc<Kernel>,
    fill_group: wgpu::BindGroup,
    group: wgpu::BindGroup,
    pub(super) buffers: Buffers,
    /// Lanes and channels that are not done when a launch begins.
    pub(super) begun: Vec<Progress>,
    source: Source,
    /// What contributions are multiplied by, if the operation does.
    scale: [u32; 2],
    element: PhantomData<T>,
}

pub(super) struct Buffers {
    pub(super) arena: wgpu::Buffer,
    params: wgpu::Buffer,
    pub(super) progress: wgpu::Buffer,
    pub(super) fresh_progress: wgpu::Buffer,
    /// Outputs of all ranks, then progress, then signals: what the host reads.
    readback: wgpu::Buffer,
}

impl<'g, T: Element> Executor<'g, T> {
    /// Prepares `proved` for `payload` on `gpu`.
    ///
    /// # Errors
    /// [`LaunchError`], all but `Buffers`, `Placement` and `Hang`.
    pub fn new(gpu: &'g Gpu, proved: &Proved, payload: Payload, op: Op, options: Options) -> Result<Self, LaunchError> {
        let schedule = proved.schedule();
        if schedule.ranks > MAX_RANKS {
            return Err(LaunchError::Ranks(schedule.ranks));
        }
        let op = schedule.task.collective.op(op);
        supported(T::TYPE, op)?;
        if op == Op::Avg {
            proved.scalable()?;
        }
        let mode = choose_mode(gpu, proved, options.dispatch)?;
        Self::prepare(gpu, proved, payload, op, mode, options)
    }

    /// As [`new`](Self::new), in a mode that is known to be sound.
    pub(super) fn prepare(
        gpu: &'g Gpu,
        proved: &Proved,
        payload: Payload,
        op: Op,
        mode: Mode,
        options: Options,
    ) -> Result<Self, LaunchError> {
        let schedule = proved.schedule().clone();
        let in_place = proved.options().in_place;
        let tuning = Tuning::of(gpu, mode);
        let Cut { pieces, arena, plan } = cut(gpu, proved, &payload, mode, &tuning, &options)?;
        let slice_vectors = (arena.chunk_vectors as u64).div_ceil(arena.channels.into());
        let turns = |instruction: &Instruction| tuning.turns(instruction, slice_vectors);
        let program = Program::new(&schedule, &plan, &arena, turns, options.fault);

        let coherent = mode == Mode::Fused;
        let (shape, moves) = (tuning.shape, Moves::of(&schedule));
        let kernel = gpu.kernel(Variant::Executor { data_type: T::TYPE, op, coherent, shape, moves })?;
        let fill = gpu.kernel(Variant::Fill { workgroup: tuning.shape.workgroup })?;

        use wgpu::BufferUsages as Usage;
        let progress = bytemuck::cast_slice(&program.progress);
        let buffers = Buffers {
            arena: gpu.buffer("arena", arena.bytes(), Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST)?,
            params: gpu.buffer(
                "params",
                (plan.dispatches.len() * BINDING_ALIGN) as u64,
                Usage::UNIFORM | Usage::COPY_DST,
            )?,
            progress: gpu.buffer(
                "progress",
                progress.len() as u64,
                Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST,
            )?,
            fresh_progress: gpu.buffer_of("fresh progress", progress, Usage::COPY_SRC)?,
            readback: gpu.buffer(
                "readback",
                bytes(&arena.region(Buffer::Output)) + progress.len() as u64 + arena.signal_bytes(),
                Usage::MAP_READ | Usage::COPY_DST,
            )?,
        };
        let instructions = gpu.buffer_of("program", bytemuck::cast_slice(&program.instructions), Usage::STORAGE)?;
        let links = gpu.buffer_of("links", bytemuck::cast_slice(&program.links), Usage::STORAGE)?;
        let starts = gpu.buffer_of("starts", bytemuck::cast_slice(&program.starts), Usage::STORAGE)?;
        let payload_range = range(&buffers.arena, 0, arena.vector_bytes());
        let mut bindings = vec![
            payload_range.clone(),
            range(&buffers.arena, arena.signal_offset(), arena.signal_bytes()),
            instructions.as_entire_buffer_binding(),
            links.as_entire_buffer_binding(),
            buffers.progress.as_entire_buffer_binding(),
            range(&buffers.params, 0, size_of::<Params>() as u64),
        ];
        if !coherent {
            bindings.push(starts.as_entire_buffer_binding());
        }
        let group = gpu.bind(&kernel, &bindings)?;
        let poisoned = arena.poisoned();
        let workgroups = (poisoned.len() as u32).div_ceil(tuning.shape.workgroup).clamp(1, FILL_WORKGROUPS);
        let [poison, _] = two_words(T::poison());
        let region = [poisoned.start, poisoned.end, poison, workgroups * tuning.shape.workgroup];
        let region = gpu.buffer_of("fill", bytemuck::cast_slice(&region), Usage::UNIFORM)?;
        let fill_group = gpu.bind(&fill, &[payload_range, region.as_entire_buffer_binding()])?;
        let executor = Self {
            gpu,
            schedule,
            in_place,
            payload,
            pieces,
            arena,
            plan,
            kernel,
            fill,
            fill_group,
            group,
            buffers,
            begun: program.progress,
            source: Source::executor(T::TYPE, op, coherent),
            scale: scale::<T>(op, proved.schedule().ranks).map_or([0; 2], two_words),
            element: PhantomData,
        };
        // No lane has anything to do while progress is all zero: a driver that compiles on first use does so here.
        executor.submit(executor.plan.dispatches.len().min(1))?;
        Ok(executor)
    }

    /// The dispatch mode in use.
    pub fn mode(&self) -> Mode {
        self.plan.mode
    }

    /// Channels in use.
    pub fn channels(&self) -> u32 {
        self.arena.channels
    }

    /// Pieces that the payload goes in.
    pub fn pieces(&self) -> usize {
        self.pieces.count()
    }

    /// The shader that runs.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Bytes of device memory: of all inputs and outputs, and of the windows.
    pub fn device_bytes(&self) -> (u64, u64) {
        let user = self.arena.region(Buffer::Output).end;
        (user, self.arena.bytes() - user)
    }

    /// Launches once: `inputs` and `outputs` have one slice for every rank, as many parts of the payload's count as the
    /// collective gives it, one after the other, and empty where that is none.
    ///
    /// # Errors
    /// [`LaunchError`]; outputs then hold nothing of use. The next launch is not affected.
    pub fn run(&mut self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<Launched, LaunchError> {
        if self.in_place {
            return Err(LaunchError::Placement { in_place: true });
        }
        self.extents().check(Given::Input, inputs.iter().map(|input| input.len()))?;
        self.extents().check(Given::Output, outputs.iter().map(|output| output.len()))?;
        self.run_pieces(
            |rank, range| &inputs[rank][range],
            |rank, range, bytes| {
                bytemuck::cast_slice_mut(&mut outputs[rank][range]).copy_from_slice(bytes);
            },
        )
    }

    /// Launches once in place: every buffer is a rank's input and becomes its output. Where these differ in length the
    /// buffer is as long as the longer, and the shorter is the rank's part of it, as in NCCL: [`Extents`] says which.
    ///
    /// # Errors
    /// [`LaunchError`]; buffers may then hold outputs of some pieces. The next launch is not affected.
    pub fn run_in_place(&mut self, buffers: &mut [&mut [T]]) -> Result<Launched, LaunchError> {
        if !self.in_place {
            return Err(LaunchError::Placement { in_place: false });
        }
        self.extents().check(Given::InPlace, buffers.iter().map(|buffer| buffer.len()))?;
        let buffers = std::cell::RefCell::new(buffers);
        self.run_pieces(
            |rank, range| buffers.borrow()[rank][range].to_vec(),
            |rank, range, bytes| {
                bytemuck::cast_slice_mut(&mut buffers.borrow_mut()[rank][range]).copy_from_slice(bytes);
            },
        )
    }

    pub(super) fn extents(&self) -> Extents<'_> {
        Extents { schedule: &self.schedule, count: self.payload.count, in_place: self.in_place }
    }

    fn run_pieces<S: AsRef<[T]>>(
        &mut self,
        input: impl Fn(usize, std::ops::Range<usize>) -> S,
        mut output: impl FnMut(usize, std::ops::Range<usize>, &[u8]),
    ) -> Result<Launched, LaunchError> {
        let mut launched = Launched { dispatches: 0, pieces: self.pieces.count(), time: Duration::ZERO };
        for piece in 0..self.pieces.count() {
            self.upload(piece, &input)?;
            self.reset()?;
            self.launch(&mut launched)?;
            self.download(piece, &mut output)?;
        }
        Ok(launched)
    }

    /// Every chunk's slice of every input (in place, of every buffer), and the dispatches' parameters, which depend on the
    /// slice's length.
    pub(super) fn upload<S: AsRef<[T]>>(
        &self,
        piece: usize,
        input: &impl Fn(usize, std::ops::Range<usize>) -> S,
    ) -> Result<(), GpuError> {
        let region = self.arena.region(Buffer::Input);
        let view = wgpu::BufferSize::new(bytes(&region))
            .and_then(|bytes| self.gpu.queue.write_buffer_with(&self.buffers.arena, region.start, bytes));
        self.gpu.check()?;
        if let Some(mut view) = view {
            for rank in 0..self.schedule.ranks {
                let parts = self.schedule.user_parts(Buffer::Input, rank, self.in_place);
                for (at, elements) in self.runs(piece, Buffer::Input, rank, 0..parts) {
                    let elements = input(rank as usize, elements);
                    let bytes: &[u8] = bytemuck::cast_slice(elements.as_ref());
                    view.slice(at..at + bytes.len()).copy_from_slice(bytes);
                }
            }
        }
        let vectors = self.pieces.vectors(piece).len() as u32;
        let mut params = vec![0_u8; self.plan.dispatches.len() * BINDING_ALIGN];
        for (i, dispatch) in self.plan.dispatches.iter().enumerate() {
            let lanes = self.plan.lanes.len() as u32;
            let dispatch = Params::new(i as u32, dispatch, lanes, &self.arena, vectors, self.scale);
            params[i * BINDING_ALIGN..][..size_of::<Params>()].copy_from_slice(bytemuck::bytes_of(&dispatch));
        }
        self.gpu.queue.write_buffer(&self.buffers.params, 0, &params);
        self.gpu.check()
    }

    /// Contiguous runs of a part's elements that `piece` holds, each with the chunk at which it starts.
    pub(super) fn runs_of_part(&self, piece: usize) -> impl Iterator<Item = (u32, std::ops::Range<usize>)> + '_ {
        // Whole chunks lie one after the other in the arena as they do for the user.
        let whole = self.pieces.count() == 1;
        let chunks = if whole { 1 } else { self.payload.chunks };
        (0..chunks)
            .map(move |chunk| {
                let elements =
                    if whole { 0..self.payload.count } else { self.pieces.elements(&self.payload, chunk, piece) };
                (chunk, elements)
            })
            .filter(|(_, elements)| !elements.is_empty())
    }

    /// Contiguous runs of the elements of these parts of `rank`'s buffer that `piece` holds, each with its first byte in
    /// the region of all ranks' buffers.
    fn runs(
        &self,
        piece: usize,
        buffer: Buffer,
        rank: u32,
        parts: std::ops::Range<u32>,
    ) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + '_ {
        let (first, chunk_bytes) = (self.arena.user_byte(buffer, rank), self.arena.chunk_bytes() as usize);
        parts.flat_map(move |part| {
            let start = part as usize * self.payload.count;
            self.runs_of_part(piece).map(move |(chunk, elements)| {
                let at = (part * self.payload.chunks + chunk) as usize;
                (first + at * chunk_bytes, start + elements.start..start + elements.end)
            })
        })
    }

    /// Signals to zero, lanes to their beginning, poison wherever a result is to be. By the host's command stream: a
    /// kernel that did it could erase what a faster workgroup has already notified.
    pub(super) fn reset(&self) -> Result<(), GpuError> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&self.buffers.arena, self.arena.signal_offset(), Some(self.arena.signal_bytes()));
        let bytes = self.buffers.progress.size();
        encoder.copy_buffer_to_buffer(&self.buffers.fresh_progress, 0, &self.buffers.progress, 0, bytes);
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&self.fill.pipeline);
            pass.set_bind_group(0, &self.fill_group, &[]);
            pass.dispatch_workgroups(FILL_WORKGROUPS, 1, 1);
        }
        self.gpu.run(encoder.finish())
    }

    /// Hardware runs a fused launch of this size in one dispatch; the progress words say if it did not.
    pub(super) fn first_dispatches(&self) -> usize {
        let fused_hardware = self.plan.mode == Mode::Fused && !self.gpu.info().is_software();
        if fused_hardware { 1 } else { self.plan.dispatches.len() }
    }

    /// All dispatches in one submission; in fused mode more of them as long as lanes get further.
    pub(super) fn launch(&self, launched: &mut Launched) -> Result<(), LaunchError> {
        let mut dispatches = self.first_dispatches();
        let mut before = self.begun.clone();
        loop {
            let start = Instant::now();
            self.submit(dispatches)?;
            launched.time += start.elapsed();
            launched.dispatches += dispatches as u32;
            let now = self.progress()?;
            if now.iter().all(|lane| lane.next == lane.end) {
                return Ok(());
            }
            if self.plan.mode != Mode::Fused || now == before {
                return Err(LaunchError::Hang(Box::new(self.explain(&now)?)));
            }
            before = now;
            dispatches = self.plan.dispatches.len();
        }
    }

    fn submit(&self, dispatches: usize) -> Result<(), GpuError> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.encode(&mut pass, dispatches);
        }
        self.gpu.run(encoder.finish())
    }

    /// The first `dispatches` dispatches of the plan, and the plan again from its beginning if they are more.
    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>, dispatches: usize) {
        pass.set_pipeline(&self.kernel.pipeline);
        for (i, dispatch) in self.plan.dispatches.iter().enumerate().cycle().take(dispatches) {
            pass.set_bind_group(0, &self.group, &[(i * BINDING_ALIGN) as u32]);
            pass.dispatch_workgroups(dispatch.lanes * self.arena.channels, 1, 1);
        }
    }

    pub(super) fn progress(&self) -> Result<Vec<Progress>, GpuError> {
        let bytes = self.buffers.progress.size();
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.buffers.progress, 0, &self.buffers.readback, 0, bytes);
        self.gpu.run(encoder.finish())?;
        self.gpu.read(&self.buffers.readback, bytes, bytemuck::pod_collect_to_vec)
    }

    /// The first channel that is stuck, in the schedule's own names.
    pub(super) fn explain(&self, progress: &[Progress]) -> Result<Hang, GpuError> {
        let lanes = self.plan.lanes.len();
        let stuck = progress.iter().position(|lane| lane.next != lane.end).unwrap_or(0) / lanes;
        let mut next = vec![0; lanes];
        for (i, &lane) in self.plan.lanes.iter().enumerate() {
            let at = stuck * lanes + i;
            next[lane as usize] = progress[at].next - self.begun[at].next;
        }
        let bytes = self.arena.signal_bytes();
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let from = self.arena.signal_offset();
        encoder.copy_buffer_to_buffer(&self.buffers.arena, from, &self.buffers.readback, 0, bytes);
        self.gpu.run(encoder.finish())?;
        let signals: Vec<u32> = self.gpu.read(&self.buffers.readback, bytes, bytemuck::pod_collect_to_vec)?;
        let first = stuck * self.arena.channel_signals();
        let signal = |signal: Signal| signals[first + self.arena.signal(signal)];
        Ok(Hang::explain(&self.schedule, stuck as u32, &next, signal))
    }

    pub(super) fn download(
        &self,
        piece: usize,
        output: &mut impl FnMut(usize, std::ops::Range<usize>, &[u8]),
    ) -> Result<(), GpuError> {
        let region = self.arena.region(Buffer::Output);
        if region.is_empty() {
            return Ok(());
        }
        let (start, bytes) = (region.start, bytes(&region));
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.buffers.arena, start, &self.buffers.readback, 0, bytes);
        self.gpu.run(encoder.finish())?;
        self.gpu.read(&self.buffers.readback, bytes, |view| {
            for rank in 0..self.schedule.ranks {
                let first = if self.in_place { self.schedule.task.output_in_place(rank) } else { 0 };
                let parts = first..first + self.schedule.task.output_parts(rank, self.schedule.ranks);
                for (at, elements) in self.runs(piece, Buffer::Output, rank, parts) {
                    let bytes = elements.len() * self.payload.element_bytes;
                    output(rank as usize, elements, &view[at..at + bytes]);
                }
            }
        })
    }
}

fn bytes(region: &std::ops::Range<u64>) -> u64 {
    region.end - region.start
}

/// Enough for any device to be busy; each invocation loops.
const FILL_WORKGROUPS: u32 = 1024;

pub(super) fn range(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset, size: std::num::NonZeroU64::new(size) }
}
