//! A proved schedule encoded for one device: pipeline, program and dispatches, without any payload.
//!
//! What every launch shares stands here once, whoever records it: [`super::Executor`] over the host's slices,
//! [`super::Prepared`] over a caller's device buffers.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::cut::{Cut, cut};
use super::device::{Gpu, GpuError};
use super::flow::Flow;
use super::kernel::{Kernel, Shape, Source, Variant};
use super::launch::{LaunchError, Options};
use super::ledger::{Launch, Ledger, NUMBERS};
use super::ll_program::LlProgram;
use super::program::{Begin, Moves, Params, Program, Progress, rows, two_words};
use super::tuning::Tuning;
use crate::buffers::Extents;
use crate::collective::Op;
use crate::element::{DataType, Element, scale};
use crate::fault::Fault;
use crate::hang::{Evidence, Hang, StuckChannel};
use crate::lower::arena::{Arena, BINDING_ALIGN, Pieces};
use crate::lower::plan::{Dispatch, Plan};
use crate::payload::Payload;
use crate::proof::Proved;
use crate::schedule::{Buffer, Schedule, Signal};
use crate::window::SIGNAL_BYTES;

/// What launches of one schedule over one payload have in common.
pub(super) struct Encoded {
    pub(super) gpu: Gpu,
    pub(super) proved: Proved,
    pub(super) payload: Payload,
    pub(super) pieces: Pieces,
    pub(super) arena: Arena,
    pub(super) plan: Plan,
    pub(super) shape: Shape,
    pub(super) source: Source,
    /// What runs in place of the schedule's instructions in fused-ll.
    flow: Option<Flow>,
    fault: Option<Fault>,
    /// Instructions, or moves, of every lane, in the plan's order.
    lanes: Vec<Range<u32>>,
    kernel: Arc<Kernel>,
    /// Of the dispatches over a piece of full length, of those over the last piece, and of one that does nothing.
    params: wgpu::Buffer,
    /// What a dispatch begins: nothing, or the launch of that number.
    begins: wgpu::Buffer,
    /// Dispatches that are the first of a launch for their lanes.
    first: Vec<bool>,
    instructions: wgpu::Buffer,
    links: wgpu::Buffer,
    starts: wgpu::Buffer,
}

/// The device memory that one launch at a time works in.
pub(super) struct Memory {
    pub(super) arena: wgpu::Buffer,
    pub(super) progress: wgpu::Buffer,
    pub(super) ledger: Ledger,
    group: wgpu::BindGroup,
}

impl Encoded {
    /// Encodes `proved` for `payload`, in a mode that is known to be sound.
    pub(super) fn new<T: Element>(
        gpu: &Gpu,
        proved: &Proved,
        payload: Payload,
        op: Op,
        tuning: Tuning,
        options: Options,
    ) -> Result<Self, LaunchError> {
        let schedule = proved.schedule();
        let moves = Moves::of(schedule);
        let Cut { pieces, arena, plan, flow } = cut(gpu, proved, &payload, &tuning, &options)?;
        let slice_vectors = (arena.chunk_vectors as u64).div_ceil(arena.channels.into());
        use wgpu::BufferUsages as Usage;
        let storage = |label: &str, words: &[u8]| gpu.buffer_of(label, words, Usage::STORAGE);
        let (instructions, links, lanes, starts) = match &flow {
            None => {
                let turns = |instruction: &_| tuning.turns(instruction, slice_vectors);
                let Program { instructions, links, lanes, starts } =
                    Program::new(proved, moves, &plan, &arena, turns, options.fault);
                let instructions = storage("program", bytemuck::cast_slice(&instructions))?;
                (instructions, storage("links", bytemuck::cast_slice(&links))?, lanes, starts)
            }
            Some(flow) => {
                let turns = |this: &_| tuning.vector_turns(this);
                let LlProgram { moves, operands, lanes, starts } =
                    LlProgram::new(schedule, flow, &plan, &arena, turns, options.fault);
                let moves = storage("moves", bytemuck::cast_slice(&moves))?;
                (moves, storage("operands", bytemuck::cast_slice(&operands))?, lanes, starts)
            }
        };
        let moves = if flow.is_some() { Moves::default() } else { moves };
        let (shape, interpreter) = (tuning.shape, tuning.interpreter());
        // Of other types there is no such kernel.
        let opaque = tuning.opaque() && T::TYPE == DataType::F32;
        let kernel = gpu.kernel(Variant::Executor { data_type: T::TYPE, op, interpreter, opaque, shape, moves })?;

        let scale = scale::<T>(op, schedule.ranks).map_or([0; 2], two_words);
        // All words of all lines are written in every launch, so that none keeps a flag for long: a last piece that is shorter
        // moves behind its end what nobody reads.
        let last = if flow.is_some() { 0 } else { pieces.count() - 1 };
        let lengths = [0, last].map(|piece| pieces.vectors(piece).len() as u32);
        let params = params(&plan, &arena, lengths, scale);
        Ok(Self {
            params: gpu.buffer_of("params", &params, Usage::UNIFORM)?,
            begins: gpu.buffer_of("begins", &begins(), Usage::UNIFORM)?,
            first: first_of_lanes(&plan),
            instructions,
            links,
            starts: storage("starts", bytemuck::cast_slice(&starts))?,
            gpu: gpu.clone(),
            proved: proved.clone(),
            payload,
            pieces,
            arena,
            plan,
            shape,
            source: Source::executor(T::TYPE, op, interpreter, opaque),
            flow,
            fault: options.fault,
            lanes,
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
            range(&arena, self.arena.atomic_offset(), self.arena.atomic_bytes()),
            self.instructions.as_entire_buffer_binding(),
            self.links.as_entire_buffer_binding(),
            progress.as_entire_buffer_binding(),
            range(&self.params, 0, size_of::<Params>() as u64),
            self.starts.as_entire_buffer_binding(),
            range(&self.begins, 0, size_of::<Begin>() as u64),
        ];
        let positions;
        if self.flow.is_some() {
            let invocations = self.progress_words() as u64 * u64::from(self.shape.workgroup);
            positions = self.gpu.buffer("positions", invocations * size_of::<u32>() as u64, Usage::STORAGE)?;
            bindings.push(positions.as_entire_buffer_binding());
        }
        let group = self.gpu.bind(&self.kernel, &bindings)?;
        Ok(Memory { arena, progress, group, ledger: Ledger::default() })
    }

    /// A driver that compiles on first use does so here, by a workgroup that begins nothing and has nothing to do.
    pub(super) fn warm_up(&self, memory: &Memory) -> Result<(), GpuError> {
        let mut encoder = self.gpu.encoder();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.kernel.pipeline);
        let nothing = 2 * self.plan.dispatches.len();
        pass.set_bind_group(0, &memory.group, &[(nothing * BINDING_ALIGN) as u32, 0]);
        pass.dispatch_workgroups(self.lanes.len().min(1) as u32, 1, 1);
        drop(pass);
        self.gpu.run(encoder.finish())
    }

    /// All inputs, outputs and slots.
    pub(super) fn vectors<'a>(&self, arena: &'a wgpu::Buffer) -> wgpu::BufferBinding<'a> {
        range(arena, 0, self.arena.vector_bytes())
    }

    pub(super) fn progress_bytes(&self) -> u64 {
        (self.progress_words() * size_of::<Progress>()) as u64
    }

    /// One for each (channel, lane), lanes in the plan's order, fastest.
    pub(super) fn progress_words(&self) -> usize {
        self.lanes.len() * self.arena.channels as usize
    }

    pub(super) fn schedule(&self) -> &Schedule {
        self.proved.schedule()
    }

    pub(super) fn extents(&self) -> Extents<'_> {
        self.proved.extents(self.payload.count)
    }

    /// Another launch in `memory`. Nothing has to precede it, because signals count on from where the last one left them,
    /// unless one stopped half-way: then the command stream puts signals, or lines, and counts to zero. It, because a kernel
    /// that did so could erase what a faster workgroup has already notified.
    pub(super) fn launch(&self, encoder: &mut wgpu::CommandEncoder, memory: &Memory) -> Launch {
        let launch = memory.ledger.next();
        if launch.resets {
            let (atomics, bytes) = (self.arena.atomic_offset(), self.arena.atomic_bytes());
            encoder.clear_buffer(&memory.arena, atomics, Some(bytes));
            encoder.clear_buffer(&memory.progress, 0, None);
        }
        launch
    }

    /// The first `dispatches` dispatches of the plan over `piece`, and the plan again from its beginning if they are more;
    /// they begin `launch`, or go on with what was begun before.
    pub(super) fn encode_dispatches(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        memory: &Memory,
        piece: usize,
        launch: Option<Launch>,
        dispatches: usize,
    ) {
        let last = usize::from(piece + 1 == self.pieces.count());
        let first_row = last * self.plan.dispatches.len();
        pass.set_pipeline(&self.kernel.pipeline);
        let rows = (first_row..).zip(&self.plan.dispatches).cycle();
        let first = self.first.iter().copied().chain(iter::repeat(false));
        for ((row, dispatch), first) in rows.zip(first).take(dispatches) {
            let begins = launch.filter(|_| first).map_or(0, |launch| launch.number as usize);
            let offsets = [row, begins].map(|row| (row * BINDING_ALIGN) as u32);
            pass.set_bind_group(0, &memory.group, &offsets);
            pass.dispatch_workgroups(dispatch.lanes * self.arena.channels, 1, 1);
        }
    }

    /// Hardware runs a fused launch of this size in one dispatch; the progress words say if it did not.
    pub(super) fn first_dispatches(&self) -> usize {
        let fused_hardware = self.plan.mode.is_fused() && !self.gpu.info().is_software();
        if fused_hardware { 1 } else { self.plan.dispatches.len() }
    }

    /// Whether every lane went through `launch`, all of them in the same launch of the device's count. A word that an
    /// earlier launch has left, or none, is that of a lane which has not begun.
    pub(super) fn finished(&self, now: &[Progress], launch: Launch) -> bool {
        self.state(now, launch).all(|(done, instructions)| done == instructions)
    }

    /// Of every (channel, lane): instructions that it is through with in `launch`, and all that it has.
    fn state(&self, now: &[Progress], launch: Launch) -> impl Iterator<Item = (u32, u32)> {
        let launches = now.iter().find(|lane| lane.number == launch.number).map(|lane| lane.launches);
        now.iter().zip(self.lanes.iter().cycle()).map(move |(now, lane)| {
            let begun = now.number == launch.number && Some(now.launches) == launches;
            let done = if begun { now.next.clamp(lane.start, lane.end) - lane.start } else { 0 };
            (done, lane.end - lane.start)
        })
    }

    /// Bytes that [`encode_trace`](Self::encode_trace) copies.
    pub(super) fn trace_bytes(&self) -> u64 {
        self.arena.signal_bytes() + self.progress_bytes()
    }

    /// Signals and progress of `memory`, from which a launch that did not finish is explained.
    pub(super) fn encode_trace(&self, encoder: &mut wgpu::CommandEncoder, memory: &Memory, to: &wgpu::Buffer) {
        let (from, bytes) = (self.arena.atomic_offset(), self.arena.signal_bytes());
        if bytes > 0 {
            encoder.copy_buffer_to_buffer(&memory.arena, from, to, 0, bytes);
        }
        encoder.copy_buffer_to_buffer(&memory.progress, 0, to, bytes, self.progress_bytes());
    }

    /// The first channel in which `launch` is stuck, in the schedule's own names; `now` is its progress, and `trace` what
    /// the memory holds.
    pub(super) fn explain(&self, launch: Launch, now: &[Progress], trace: &[u32]) -> Hang {
        let lanes = self.lanes.len();
        let state: Vec<(u32, u32)> = self.state(now, launch).collect();
        let stuck = state.iter().position(|(done, instructions)| done != instructions).unwrap_or(0) / lanes.max(1);
        let mut next = vec![0; lanes];
        for (&lane, (done, _)) in self.plan.lanes.iter().zip(&state[stuck * lanes..]) {
            next[lane as usize] = self.instructions_done(lane, *done);
        }
        let graph = self.proved.graph();
        if self.flow.is_some() {
            // Signals as they would stand, without those of the results that got lost on purpose.
            let dropped = |signal: Signal| self.fault.is_some_and(|fault| fault.drops(signal.sender, signal.row));
            let done = |&&id: &&u32| graph.index(id) < next[graph.lane_of(id) as usize];
            let value = |cell: u32| graph.notifiers_of(cell).iter().filter(done).count() as u32;
            let cells = (0..graph.cells()).map(|cell| (graph.signal(cell), value(cell)));
            let values: FxHashMap<Signal, u32> = cells.filter(|&(signal, _)| !dropped(signal)).collect();
            let signal = |signal| values.get(&signal).copied().unwrap_or(0);
            let evidence = Evidence::Signals(&signal);
            return Hang::of(self.schedule(), graph, [StuckChannel { channel: stuck as u32, next, evidence }]);
        }
        let (signals, last) = trace.split_at(self.arena.signal_bytes() as usize / SIGNAL_BYTES);
        let last: &[Progress] = bytemuck::cast_slice(&last[..self.progress_bytes() as usize / size_of::<u32>()]);
        let before = last.iter().map(|lane| lane.launches).max().unwrap_or(0).saturating_sub(1);
        let signals = &signals[stuck * self.arena.channel_signals()..];
        let value = |cell: u32| {
            let each = graph.notifiers_of(cell).len() as u32;
            let counted = signals[cell as usize].wrapping_sub(before.wrapping_mul(each));
            counted.cast_signed().max(0).cast_unsigned()
        };
        let values: FxHashMap<Signal, u32> = (0..graph.cells()).map(|cell| (graph.signal(cell), value(cell))).collect();
        let signal = |signal| values.get(&signal).copied().unwrap_or(0);
        let evidence = Evidence::Signals(&signal);
        Hang::of(self.schedule(), graph, [StuckChannel { channel: stuck as u32, next, evidence }])
    }

    /// Instructions of schedule lane `lane` that are over with its first `done` instructions or moves.
    fn instructions_done(&self, lane: u32, done: u32) -> u32 {
        match &self.flow {
            None => done,
            Some(flow) => {
                let all = self.schedule().lanes[lane as usize].instructions.len() as u32;
                flow.lanes[lane as usize].get(done as usize).map_or(all, |next| next.instruction)
            }
        }
    }

    /// Contiguous runs of a part's elements that `piece` holds, each with the chunk at which it starts.
    pub(super) fn runs_of_part(&self, piece: usize) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
        // Whole chunks lie one after the other in the arena as they do for the user.
        let whole = self.pieces.count() == 1 && self.payload.step == self.payload.chunk_elements;
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
        self.proved.address_map().parts(Buffer::Output, rank)
    }
}

/// Rows of [`Params`] for pieces of these lengths, in vectors of a chunk, and one for a lane that has nothing to do.
fn params(plan: &Plan, arena: &Arena, lengths: [u32; 2], scale: [u32; 2]) -> Vec<u8> {
    let (lanes, rows) = (plan.lanes.len() as u32, rows(plan) as u32);
    let nothing = Dispatch { number: 0, first_lane: 0, lanes: 1 };
    let row = |number: usize| (number as u32).min(rows.saturating_sub(1));
    let of_length =
        |&vectors: &u32| plan.dispatches.iter().enumerate().map(move |(i, dispatch)| (row(i), dispatch, vectors));
    let all = lengths.iter().flat_map(of_length).chain([(rows, &nothing, 0)]);
    aligned(all.map(|(row, dispatch, vectors)| Params::new(row, dispatch, lanes, arena, vectors, scale)))
}

fn begins() -> Vec<u8> {
    aligned((0..=NUMBERS).map(|number| Begin { number, unused: [0; 3] }))
}

/// Rows that a dynamic offset can name.
fn aligned<R: bytemuck::Pod>(rows: impl Iterator<Item = R>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        let start = bytes.len();
        bytes.extend_from_slice(bytemuck::bytes_of(&row));
        bytes.resize(start + BINDING_ALIGN, 0);
    }
    bytes
}

fn first_of_lanes(plan: &Plan) -> Vec<bool> {
    let mut known = FxHashSet::default();
    plan.dispatches.iter().map(|dispatch| known.insert(dispatch.first_lane)).collect()
}

pub(super) fn range(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset, size: std::num::NonZeroU64::new(size) }
}
