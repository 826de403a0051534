//! A proved schedule encoded for one device: pipeline, program and dispatches, without any payload.
//!
//! What every launch shares stands here once, whoever records it: [`super::Executor`] over the host's slices,
//! [`super::Prepared`] over a caller's device buffers.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::cut::{Cut, cut};
use super::device::{Gpu, GpuError};
use super::kernel::{Kernel, Shape, Source, Variant};
use super::launch::{LaunchError, Options};
use super::program::{Moves, Params, Program, Progress, two_words};
use super::tuning::Tuning;
use crate::buffers::Extents;
use crate::collective::Op;
use crate::element::{Element, scale};
use crate::hang::Hang;
use crate::plan::{Mode, Plan};
use crate::schedule::{Buffer, Schedule};
use crate::verify::{Graph, Proved, Signal};
use crate::window::{Arena, BINDING_ALIGN, Payload, Pieces};

/// What launches of one schedule over one payload have in common.
pub(super) struct Encoded {
    pub(super) gpu: Gpu,
    pub(super) schedule: Schedule,
    pub(super) in_place: bool,
    pub(super) payload: Payload,
    pub(super) pieces: Pieces,
    pub(super) arena: Arena,
    pub(super) plan: Plan,
    pub(super) shape: Shape,
    pub(super) source: Source,
    /// Lanes and channels that are not done when a launch begins.
    pub(super) begun: Vec<Progress>,
    kernel: Arc<Kernel>,
    /// Of the dispatches over a piece of full length, then of those over the last piece.
    params: wgpu::Buffer,
    instructions: wgpu::Buffer,
    links: wgpu::Buffer,
    starts: Option<wgpu::Buffer>,
    fresh_progress: wgpu::Buffer,
}

/// The device memory that one launch at a time works in.
pub(super) struct Memory {
    pub(super) arena: wgpu::Buffer,
    pub(super) progress: wgpu::Buffer,
    group: wgpu::BindGroup,
}

impl Encoded {
    /// Encodes `proved` for `payload`, in a mode that is known to be sound.
    pub(super) fn new<T: Element>(
        gpu: &Gpu,
        proved: &Proved,
        payload: Payload,
        op: Op,
        mode: Mode,
        options: Options,
    ) -> Result<Self, LaunchError> {
        let schedule = proved.schedule().clone();
        let tuning = Tuning::of(gpu, mode);
        let Cut { pieces, arena, plan } = cut(gpu, proved, &payload, mode, &tuning, &options)?;
        let slice_vectors = (arena.chunk_vectors as u64).div_ceil(arena.channels.into());
        let program = Program::new(
            &schedule,
            &plan,
            &arena,
            |instruction| tuning.turns(instruction, slice_vectors),
            options.fault,
        );
        let coherent = mode == Mode::Fused;
        let (shape, moves) = (tuning.shape, Moves::of(&schedule));
        let kernel = gpu.kernel(Variant::Executor { data_type: T::TYPE, op, coherent, shape, moves })?;

        use wgpu::BufferUsages as Usage;
        let scale = scale::<T>(op, schedule.ranks).map_or([0; 2], two_words);
        let params = params(&plan, &arena, &pieces, scale);
        let storage = |label: &str, words: &[u8]| gpu.buffer_of(label, words, Usage::STORAGE);
        let starts = || storage("starts", bytemuck::cast_slice(&program.starts));
        Ok(Self {
            params: gpu.buffer_of("params", &params, Usage::UNIFORM)?,
            instructions: storage("program", bytemuck::cast_slice(&program.instructions))?,
            links: storage("links", bytemuck::cast_slice(&program.links))?,
            starts: (!coherent).then(starts).transpose()?,
            fresh_progress: gpu.buffer_of(
                "fresh progress",
                bytemuck::cast_slice(&program.progress),
                Usage::COPY_SRC,
            )?,
            gpu: gpu.clone(),
            schedule,
            in_place: proved.options().in_place,
            payload,
            pieces,
            arena,
            plan,
            shape,
            source: Source::executor(T::TYPE, op, coherent),
            begun: program.progress,
            kernel,
        })
    }

    /// Memory for one launch at a time, all zero.
    pub(super) fn memory(&self) -> Result<Memory, GpuError> {
        use wgpu::BufferUsages as Usage;
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let arena = self.gpu.buffer("arena", self.arena.bytes(), usage)?;
        let progress = self.gpu.buffer("progress", self.progress_bytes(), usage)?;
        let mut bindings = vec![
            self.vectors(&arena),
            range(&arena, self.arena.signal_offset(), self.arena.signal_bytes()),
            self.instructions.as_entire_buffer_binding(),
            self.links.as_entire_buffer_binding(),
            progress.as_entire_buffer_binding(),
            range(&self.params, 0, size_of::<Params>() as u64),
        ];
        bindings.extend(self.starts.as_ref().map(wgpu::Buffer::as_entire_buffer_binding));
        let group = self.gpu.bind(&self.kernel, &bindings)?;
        Ok(Memory { arena, progress, group })
    }

    /// A driver that compiles on first use does so here: in memory that is all zero no lane has anything to do.
    pub(super) fn warm_up(&self, memory: &Memory) -> Result<(), GpuError> {
        let mut encoder = self.gpu.encoder();
        self.encode_dispatches(&mut encoder.begin_compute_pass(&Default::default()), memory, 0, 1);
        self.gpu.run(encoder.finish())
    }

    /// All inputs, outputs and slots.
    pub(super) fn vectors<'a>(&self, arena: &'a wgpu::Buffer) -> wgpu::BufferBinding<'a> {
        range(arena, 0, self.arena.vector_bytes())
    }

    pub(super) fn progress_bytes(&self) -> u64 {
        size_of_val(self.begun.as_slice()) as u64
    }

    pub(super) fn extents(&self) -> Extents<'_> {
        Extents { schedule: &self.schedule, count: self.payload.count, in_place: self.in_place }
    }

    /// Signals to zero, lanes to their beginning. By the command stream: a kernel that did it could erase what a faster
    /// workgroup has already notified.
    pub(super) fn encode_reset(&self, encoder: &mut wgpu::CommandEncoder, memory: &Memory) {
        let (signals, bytes) = (self.arena.signal_offset(), self.arena.signal_bytes());
        encoder.clear_buffer(&memory.arena, signals, Some(bytes));
        let words = memory.progress.size();
        encoder.copy_buffer_to_buffer(&self.fresh_progress, 0, &memory.progress, 0, words);
    }

    /// The first `dispatches` dispatches of the plan over `piece`, and the plan again from its beginning if they are more.
    pub(super) fn encode_dispatches(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        memory: &Memory,
        piece: usize,
        dispatches: usize,
    ) {
        let last = usize::from(piece + 1 == self.pieces.count());
        let first_row = last * self.plan.dispatches.len();
        pass.set_pipeline(&self.kernel.pipeline);
        for (row, dispatch) in (first_row..).zip(&self.plan.dispatches).cycle().take(dispatches) {
            pass.set_bind_group(0, &memory.group, &[(row * BINDING_ALIGN) as u32]);
            pass.dispatch_workgroups(dispatch.lanes * self.arena.channels, 1, 1);
        }
    }

    /// Hardware runs a fused launch of this size in one dispatch; the progress words say if it did not.
    pub(super) fn first_dispatches(&self) -> usize {
        let fused_hardware = self.plan.mode == Mode::Fused && !self.gpu.info().is_software();
        if fused_hardware { 1 } else { self.plan.dispatches.len() }
    }

    /// Held against where lanes end, for before a launch all words are zero.
    pub(super) fn finished(&self, now: &[Progress]) -> bool {
        now.iter().zip(&self.begun).all(|(now, begun)| now.next == begun.end)
    }

    /// The first channel that is stuck, in the schedule's own names; `signals` are those of all channels.
    pub(super) fn explain(&self, progress: &[Progress], signals: &[u32]) -> Hang {
        let lanes = self.plan.lanes.len();
        let stuck = progress.iter().position(|lane| lane.next != lane.end).unwrap_or(0) / lanes.max(1);
        let mut next = vec![0; lanes];
        for (i, &lane) in self.plan.lanes.iter().enumerate() {
            let at = stuck * lanes + i;
            next[lane as usize] = progress[at].next - self.begun[at].next;
        }
        let first = stuck * self.arena.channel_signals();
        let graph = Graph::new(&self.schedule);
        let cells: FxHashMap<Signal, usize> =
            (0..graph.cells()).map(|cell| (graph.signal(cell), first + cell as usize)).collect();
        let signal = |signal: Signal| cells.get(&signal).map_or(0, |&cell| signals[cell]);
        Hang::explain(&self.schedule, stuck as u32, &next, signal)
    }

    /// Contiguous runs of a part's elements that `piece` holds, each with the chunk at which it starts.
    pub(super) fn runs_of_part(&self, piece: usize) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
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
    pub(super) fn runs(
        &self,
        piece: usize,
        buffer: Buffer,
        rank: u32,
        parts: Range<u32>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let (first, chunk_bytes) = (self.arena.user_byte(buffer, rank), self.arena.chunk_bytes() as usize);
        parts.flat_map(move |part| {
            let start = part as usize * self.payload.count;
            self.runs_of_part(piece).map(move |(chunk, elements)| {
                let at = (part * self.payload.chunks + chunk) as usize;
                (first + at * chunk_bytes, start + elements.start..start + elements.end)
            })
        })
    }

    /// The parts of `rank`'s user buffer that its output is.
    pub(super) fn output_parts(&self, rank: u32) -> Range<u32> {
        let first = if self.in_place { self.schedule.task.output_in_place(rank) } else { 0 };
        first..first + self.schedule.task.output_parts(rank, self.schedule.ranks)
    }
}

/// Rows of [`Params`] for a piece of full length, then rows for the last piece.
fn params(plan: &Plan, arena: &Arena, pieces: &Pieces, scale: [u32; 2]) -> Vec<u8> {
    let lanes = plan.lanes.len() as u32;
    let lengths = [0, pieces.count() - 1].map(|piece| pieces.vectors(piece).len() as u32);
    let mut rows = vec![0_u8; lengths.len() * plan.dispatches.len() * BINDING_ALIGN];
    let dispatches = lengths.iter().flat_map(|&vectors| (0..).zip(&plan.dispatches).map(move |row| (vectors, row)));
    for (row, (vectors, (number, dispatch))) in rows.chunks_mut(BINDING_ALIGN).zip(dispatches) {
        let params = Params::new(number, dispatch, lanes, arena, vectors, scale);
        row[..size_of::<Params>()].copy_from_slice(bytemuck::bytes_of(&params));
    }
    rows
}

pub(super) fn range(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset, size: std::num::NonZeroU64::new(size) }
}
