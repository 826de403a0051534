//! A file as a schedule: a thread block is a lane, a connection's FIFO a few slots in the receiver's window with signals for full
//! and empty, a dependence a signal of the rank to itself.
//!
//! In place, `i` and `o` are one memory. Which of the two a step means is decided where it runs: what nobody has written yet is the
//! input. So that a file for calls in place is a schedule for both kinds of call, where it is right for both.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::file::{Algo, Block, Gpu, Kind, Memory, Place, Step};
use super::flags::Flags;
use super::problems::{Connection, Problem, Problems, Where, chunks, parts};
use super::replay::Replay;
use super::size::{Amount, Excess, Limit};
use super::written::{At, Written};
use crate::collective::{Collective, Task};
use crate::schedule::{Address, Buffer, Granularity, Instruction, Label, Lane, Origin, Schedule};

/// How a file becomes a schedule.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LowerOptions {
    /// Messages that a connection holds; by the file's protocol if not given.
    pub fifo_slots: Option<u32>,
    /// What it computes, for files that say `custom`.
    pub collective: Option<Collective>,
    /// The root, which files do not name.
    pub root: u32,
    /// Receivers read senders' buffers themselves, without a copy in between, but for sums that nobody keeps. Whether that is right
    /// is for the proofs to say: nothing then keeps a sender from going on.
    pub elide: bool,
}

/// A file as a schedule.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Imported {
    /// What it does.
    pub schedule: Schedule,
    /// It is made for calls in place.
    pub in_place: bool,
    /// Messages that a connection holds in it.
    pub fifo_slots: u32,
    /// What may not be meant as it is written.
    pub warnings: Vec<Problem>,
}

/// Why a file is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// It claims nothing that could be proved.
    #[error("coll=\"custom\" does not say what is right; name the collective that it is")]
    Custom,
    /// It contradicts itself.
    #[error("{}", listed(.0))]
    Problems(Vec<Problem>),
    /// Its numbers are out of all proportion to its length.
    #[error(transparent)]
    TooLarge(#[from] Excess),
}

fn listed(problems: &[Problem]) -> String {
    const SHOWN: usize = 8;
    let mut lines: Vec<String> = problems.iter().take(SHOWN).map(Problem::to_string).collect();
    if problems.len() > SHOWN {
        lines.push(format!("and {} more", problems.len() - SHOWN));
    }
    lines.join("\n")
}

impl Algo {
    /// The schedule that it is.
    ///
    /// # Errors
    /// [`LowerError`]. Whether it can hang, race or compute something else is for the proofs to say.
    pub fn lower(&self, options: &LowerOptions) -> Result<Imported, LowerError> {
        let collective = options.collective.or(self.collective).ok_or(LowerError::Custom)?;
        let problems = Problems::of(self, collective);
        if !problems.is_empty() {
            return Err(LowerError::Problems(problems));
        }
        // Whatever is counted in what follows is below the limit.
        let limit = Limit::of(self, collective)?;
        let fifo_slots = options.fifo_slots.unwrap_or(self.proto.fifo_slots()).max(1);
        let mut lowering = Lowering::new(self, collective, fifo_slots, options.elide, &limit)?;
        // Which memory a step means does not depend on the slots.
        let mut replay = Replay::new(self, u32::MAX);
        replay.run(|gpu, block, step| lowering.step(gpu, block, step));
        // These wait for ever, as the proof will say.
        replay.left().for_each(|(gpu, block, step)| lowering.step(gpu, block, step));
        let task = Task::from(collective).root(options.root);
        let warnings = self.warnings();
        Ok(Imported { schedule: lowering.schedule(task), in_place: self.in_place, fifo_slots, warnings })
    }

    /// Reductions whose local operand is not where the result goes: kernels take the source, generators may mean the destination.
    fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        for (gpu, block) in self.gpus.iter().flat_map(|gpu| gpu.blocks.iter().map(move |block| (gpu, block))) {
            for step in block.steps.iter().filter(|step| step.kind.reduces_message() && step.source != step.destination)
            {
                let (name, source, destination) = (step.kind.name(), step.source, step.destination);
                let what = format!(
                    "{name} has src {source} and dst {destination}: kernels reduce with src, and generators that write the sender's \
                     chunk there mean dst"
                );
                warnings.push(Problem { at: Where::step(gpu, block, step), what });
            }
        }
        warnings
    }
}

/// A connection's FIFO.
struct Fifo {
    /// Its first slot in the receiver's window.
    base: u32,
    /// Slots of a message.
    width: u32,
    /// Messages that it holds.
    depth: u32,
    /// Messages of a run that take a slot.
    messages: u32,
    /// Signal row of full slots; the next one is of empty slots.
    row: u32,
    /// Messages so far, and those that took a slot.
    sent: u32,
    sent_by_slot: u32,
    taken: u32,
    taken_by_slot: u32,
    /// On the way: where each message lies that takes no slot.
    direct: VecDeque<Option<Vec<Address>>>,
}

/// Where a message lies.
enum Message {
    Slot(Address),
    /// By chunk.
    Direct(Vec<Address>),
}

impl Message {
    fn chunk(&self, i: u32) -> Option<Address> {
        match self {
            Self::Slot(first) => Some(Address { chunk: first.chunk + i, ..*first }),
            Self::Direct(chunks) => chunks.get(i as usize).copied(),
        }
    }
}

struct Lowering<'a> {
    algo: &'a Algo,
    elide: bool,
    collective: Collective,
    /// Chunks of a part.
    part: u32,
    fifos: FxHashMap<Connection, Fifo>,
    /// Where each gpu keeps what it writes over its input, if it does.
    shadows: Vec<Option<u32>>,
    slots: Vec<u32>,
    /// By gpu.
    flags: Vec<Flags<'a>>,
    /// Steps of each block that others wait for, by gpu and block, and the signal row of the block.
    awaited: FxHashMap<(u32, u32), (u32, Vec<u32>)>,
    rows: u32,
    /// Lanes by gpu and block.
    lanes: Vec<Vec<Lane>>,
    labels: FxHashMap<(u32, u32), Arc<str>>,
    written: Written,
}

impl<'a> Lowering<'a> {
    fn new(
        algo: &'a Algo,
        collective: Collective,
        fifo_slots: u32,
        elide: bool,
        limit: &Limit,
    ) -> Result<Self, LowerError> {
        let part = algo.chunks_per_loop / parts(collective, algo.ranks);
        let mut lowering = Self {
            algo,
            elide,
            collective,
            part,
            fifos: FxHashMap::default(),
            shadows: Vec::new(),
            slots: Vec::new(),
            flags: algo.gpus.iter().map(Flags::of).collect(),
            awaited: FxHashMap::default(),
            rows: 0,
            lanes: Vec::new(),
            labels: FxHashMap::default(),
            written: Written::default(),
        };
        let mut slots: Vec<u64> = algo.gpus.iter().map(|gpu| u64::from(gpu.scratch_chunks)).collect();
        for (gpu, slots) in algo.gpus.iter().zip(&mut slots) {
            let shadowed = gpu.blocks.iter().flat_map(|block| &block.steps).any(|step| {
                step.kind.writes() && (0..step.count).any(|i| lowering.is_bare_input(gpu, step.destination, i))
            });
            lowering.shadows.push(shadowed.then_some(*slots as u32));
            if shadowed {
                *slots += u64::from(chunks(algo, gpu, collective, Memory::Input));
            }
        }
        let mut channels: Vec<u32> = algo.gpus.iter().flat_map(|gpu| &gpu.blocks).map(|block| block.channel).collect();
        channels.sort_unstable();
        channels.dedup();
        for (gpu, block) in algo.gpus.iter().flat_map(|gpu| gpu.blocks.iter().map(move |block| (gpu, block))) {
            let Some(receiver) = block.send else { continue };
            let sends = block.steps.iter().filter(|step| step.kind.sends());
            let by_slot = || sends.clone().filter(|step| !elide || step.kind == Kind::RecvReduceSend);
            if sends.clone().next().is_some() {
                let (width, messages) = (by_slot().map(|step| step.count).max().unwrap_or(0), by_slot().count() as u32);
                let base = &mut slots[receiver as usize];
                let depth = fifo_slots.min(messages);
                let row = 2 * channels.binary_search(&block.channel).unwrap_or(0) as u32;
                let (base_slot, direct) = (*base as u32, VecDeque::new());
                let (sent, sent_by_slot, taken, taken_by_slot) = (0, 0, 0, 0);
                *base += u64::from(depth) * u64::from(width);
                let fifo = Fifo {
                    base: base_slot,
                    width,
                    depth,
                    messages,
                    row,
                    sent,
                    sent_by_slot,
                    taken,
                    taken_by_slot,
                    direct,
                };
                lowering.fifos.insert((gpu.id, receiver, block.channel), fifo);
            }
        }
        limit.keep(Amount::Slots, slots.iter().copied())?;
        lowering.written = Written::new(algo, collective);
        lowering.slots = slots.into_iter().map(|slots| slots as u32).collect();
        lowering.rows = 2 * channels.len() as u32;
        lowering.dependences();
        for gpu in &algo.gpus {
            lowering.lanes.push(gpu.blocks.iter().map(|_| Lane::new(gpu.id)).collect());
            for block in &gpu.blocks {
                let label = format!("gpu {} tb {} step", gpu.id, block.id).into();
                lowering.labels.insert((gpu.id, block.id), label);
            }
        }
        Ok(lowering)
    }

    /// Which steps are waited for, and a signal row for each block that has some.
    fn dependences(&mut self) {
        let mut most = 0;
        for (gpu, flags) in self.algo.gpus.iter().zip(&self.flags) {
            let mut rows = 0;
            for step in gpu.blocks.iter().flat_map(|block| &block.steps) {
                let Some((other, after)) = step.after else { continue };
                let Some(step) = flags.ends(other, after) else { continue };
                let row = self.rows + rows;
                let (_, steps) = self.awaited.entry((gpu.id, other)).or_insert_with(|| {
                    rows += 1;
                    (row, Vec::new())
                });
                steps.push(step.number);
            }
            most = most.max(rows);
        }
        for (_, steps) in self.awaited.values_mut() {
            steps.sort_unstable();
            steps.dedup();
        }
        self.rows += most;
    }

    /// Appends what `step` does to its lane.
    fn step(&mut self, gpu: &Gpu, block: &Block, step: &Step) {
        let mut waits = Vec::new();
        if let Some((other, after)) = step.after
            && let Some(awaited) = self.flags.get(gpu.id as usize).and_then(|flags| flags.ends(other, after))
            && let Some((row, steps)) = self.awaited.get(&(gpu.id, other))
        {
            let at_least = steps.partition_point(|&s| s < awaited.number) as u32 + 1;
            waits.push((*row, gpu.id, at_least));
        }
        let Some(label) = self.labels.get(&(gpu.id, block.id)).cloned() else { return };
        let label = Label::numbered(label, step.number);
        if step.kind == Kind::Nop {
            let instruction =
                waits.into_iter().fold(Instruction::new(label), |on, (row, of, n)| on.wait_for(row, of, n));
            return self.push(gpu, block, instruction);
        }
        let (mut message, mut next, mut notifies) = (None, None, Vec::new());
        let taken = block.recv.filter(|_| step.kind.receives()).map(|peer| (peer, gpu.id, block.channel));
        if let Some(connection @ (sender, ..)) = taken
            && let Some(fifo) = self.fifos.get_mut(&connection)
        {
            fifo.taken += 1;
            waits.push((fifo.row, sender, fifo.taken));
            message = Some(match fifo.direct.pop_front().flatten() {
                Some(chunks) => Message::Direct(chunks),
                None => {
                    let k = fifo.taken_by_slot;
                    fifo.taken_by_slot += 1;
                    // Nobody waits for the last ones to be empty again.
                    if k + fifo.depth < fifo.messages {
                        notifies.push((sender, fifo.row + 1));
                    }
                    Message::Slot(Address::slot(gpu.id, fifo.base + k % fifo.depth.max(1) * fifo.width))
                }
            });
        }
        let sent = block.send.filter(|_| step.kind.sends()).map(|peer| (gpu.id, peer, block.channel));
        let direct = self.direct(gpu, step);
        if let Some(connection @ (_, receiver, _)) = sent
            && let Some(fifo) = self.fifos.get_mut(&connection)
        {
            fifo.sent += 1;
            if direct.is_none() {
                let k = fifo.sent_by_slot;
                fifo.sent_by_slot += 1;
                if k >= fifo.depth {
                    waits.push((fifo.row + 1, receiver, k - fifo.depth + 1));
                }
                next = Some(Address::slot(receiver, fifo.base + k % fifo.depth.max(1) * fifo.width));
            }
            fifo.direct.push_back(direct);
            notifies.push((receiver, fifo.row));
        }
        if let Some((row, steps)) = self.awaited.get(&(gpu.id, block.id))
            && steps.binary_search(&step.number).is_ok()
        {
            notifies.push((gpu.id, *row));
        }
        let pieces = match step.kind == Kind::Send && next.is_none() {
            // Nothing is moved, and that it may be read is told all the same.
            true => vec![(SmallVec::new(), SmallVec::new(), 1)],
            false => self.pieces(gpu, step, message.as_ref(), next),
        };
        let last = pieces.len().saturating_sub(1);
        for (i, (from, to, chunks)) in pieces.into_iter().enumerate() {
            let mut instruction = Instruction::new(label.clone()).reduce_all(from).chunks(chunks);
            instruction = to.into_iter().fold(instruction, Instruction::to);
            if i == 0 {
                instruction = waits.iter().fold(instruction, |on, &(row, of, n)| on.wait_for(row, of, n));
            }
            if i == last {
                instruction = notifies.iter().fold(instruction, |on, &(peer, row)| on.notify(peer, row));
            }
            self.push(gpu, block, instruction);
        }
        if step.kind.writes() {
            for i in 0..step.count {
                if let Some(at) = self.place(gpu, step.destination, i) {
                    self.written.note(at);
                }
            }
        }
    }

    /// Where a receiver finds what `step` sends, if it is to read it there.
    fn direct(&self, gpu: &Gpu, step: &Step) -> Option<Vec<Address>> {
        let at = |i| match step.kind {
            Kind::Send => self.read(gpu, step.source, i),
            Kind::RecvCopySend | Kind::RecvReduceCopySend => self.write(gpu, step.destination, i),
            _ => None,
        };
        if self.elide { (0..step.count).map(at).collect() } else { None }
    }

    fn push(&mut self, gpu: &Gpu, block: &Block, instruction: Instruction) {
        if let Some(lane) = self.lanes.get_mut(gpu.id as usize).and_then(|lanes| lanes.get_mut(block.id as usize)) {
            lane.push(instruction);
        }
    }

    /// Operands, destinations and lengths of a step: one, unless its chunks lie in different memories.
    fn pieces(&self, gpu: &Gpu, step: &Step, message: Option<&Message>, next: Option<Address>) -> Vec<Piece> {
        let on = |at: Address, i: u32| Address { chunk: at.chunk + i, ..at };
        let mut pieces: Vec<Piece> = Vec::new();
        for i in 0..step.count {
            let mut from: SmallVec<[Address; 3]> = message.and_then(|message| message.chunk(i)).into_iter().collect();
            if step.kind == Kind::Reduce {
                from.extend(self.read(gpu, step.destination, i));
            }
            if step.kind.reads_source() {
                from.extend(self.read(gpu, step.source, i));
            }
            let mut to: SmallVec<[Address; 2]> = SmallVec::new();
            if step.kind.writes() {
                to.extend(self.write(gpu, step.destination, i));
            }
            to.extend(next.map(|at| on(at, i)));
            match pieces.last_mut() {
                Some((first, into, length)) if follows(first, &from, *length) && follows(into, &to, *length) => {
                    *length += 1
                }
                _ => pieces.push((from, to, 1)),
            }
        }
        pieces
    }

    /// Which memory a chunk is, whatever the file calls it.
    fn place(&self, gpu: &Gpu, place: Place, i: u32) -> Option<At> {
        let chunk = place.chunk? + i;
        let own = gpu.id * self.part;
        let output = match (place.memory, self.algo.in_place, self.collective) {
            (Memory::Scratch, ..) => return Some((gpu.id, Buffer::Slot, chunk)),
            (Memory::Output, ..) => Some(chunk),
            (Memory::Input, false, _) => None,
            (_, true, Collective::AllGather | Collective::Gather) => Some(own + chunk),
            (_, true, Collective::ReduceScatter | Collective::Scatter) => {
                chunk.checked_sub(own).filter(|&chunk| chunk < self.part)
            }
            (_, true, _) => Some(chunk),
        };
        Some(output.map_or((gpu.id, Buffer::Input, chunk), |chunk| (gpu.id, Buffer::Output, chunk)))
    }

    fn is_bare_input(&self, gpu: &Gpu, place: Place, i: u32) -> bool {
        self.place(gpu, place, i).is_some_and(|(_, buffer, _)| buffer == Buffer::Input)
    }

    fn write(&self, gpu: &Gpu, place: Place, i: u32) -> Option<Address> {
        let (rank, buffer, chunk) = self.place(gpu, place, i)?;
        Some(match (buffer, self.shadows.get(rank as usize)) {
            (Buffer::Input, Some(&Some(shadow))) => Address::slot(rank, shadow + chunk),
            _ => Address { rank, buffer, chunk },
        })
    }

    fn read(&self, gpu: &Gpu, place: Place, i: u32) -> Option<Address> {
        let at @ (rank, buffer, chunk) = self.place(gpu, place, i)?;
        if self.written.has(at) {
            return self.write(gpu, place, i);
        }
        let own = gpu.id * self.part;
        let input = match (buffer, self.algo.in_place, self.collective) {
            (Buffer::Output, true, Collective::AllGather | Collective::Gather) => {
                chunk.checked_sub(own).filter(|&chunk| chunk < self.part)
            }
            (Buffer::Output, true, Collective::ReduceScatter | Collective::Scatter) => Some(own + chunk),
            (Buffer::Output, true, _) | (Buffer::Input, ..) => Some(chunk),
            _ => None,
        };
        Some(input.map_or(Address { rank, buffer, chunk }, |chunk| Address::input(rank, chunk)))
    }

    fn schedule(self, task: Task) -> Schedule {
        let origin = Origin::File { name: self.algo.name.clone(), hash: 0 };
        let mut schedule = Schedule::new(origin, task, self.algo.ranks, self.part)
            .granularity(Granularity::DivisibleBy(self.part))
            .slots_of_ranks(self.slots)
            .signal_rows(self.rows);
        schedule.lanes = self.lanes.into_iter().flatten().filter(|lane| !lane.instructions.is_empty()).collect();
        schedule
    }
}

/// Operands, destinations, and the chunks of each.
type Piece = (SmallVec<[Address; 3]>, SmallVec<[Address; 2]>, u32);

/// Whether each of `next` is `length` chunks behind each of `first`.
fn follows(first: &[Address], next: &[Address], length: u32) -> bool {
    let behind = |(a, b): (&Address, &Address)| Address { chunk: a.chunk + length, ..*a } == *b;
    first.len() == next.len() && first.iter().zip(next).all(behind)
}
