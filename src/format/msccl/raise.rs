//! A proved schedule as MSCCL XML: what a rank reads of another becomes a message, what orders accesses a dependence.
//!
//! The signals of a schedule have no counterpart: only messages cross ranks. So they are dropped, and the accesses that they order
//! are put in order anew, within each rank, by what really depends on what. All thread blocks follow one order of the whole
//! schedule, in which a message is received right after it was sent: whatever the number of slots, nothing can hang.

use rustc_hash::FxHashMap;

use super::file::{Algo, Block, Gpu, Kind, Memory, Place, Proto, Step};
use super::problems::parts;
use crate::collective::Collective;
use crate::proof::Proved;
use crate::schedule::{Address, Buffer, Graph, Instruction, Schedule, Sources};

/// Why a schedule cannot be said in MSCCL XML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RaiseError {
    /// The format has no such collective.
    #[error(
        "MSCCL XML has no {0}; it has all-reduce, all-gather, reduce-scatter, broadcast, reduce, gather, scatter and all-to-all"
    )]
    Collective(Collective),
}

/// A step of a thread block: gpu, block, step.
type At = (u32, u32, u32);

/// Who has touched a chunk since it was written.
#[derive(Default)]
struct Touched {
    written: Option<At>,
    read: Vec<At>,
}

/// What a thread block is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Role {
    Local,
    Send(u32),
    Recv(u32),
}

/// Who does something, in which thread block, with how many chunks.
#[derive(Clone, Copy)]
struct Acting {
    rank: u32,
    role: Role,
    count: u32,
}

/// A result that is formed.
#[derive(Clone, Copy)]
struct Formed {
    at: Acting,
    result: Address,
}

struct Raising<'a> {
    schedule: &'a Schedule,
    gpus: Vec<Gpu>,
    roles: FxHashMap<(u32, Role), u32>,
    touched: FxHashMap<Address, Touched>,
    /// Numbers of spare places behind a rank's slots, by rank.
    spares: Vec<FxHashMap<Role, u32>>,
    /// Chunks of the longest instruction, and of a spare place.
    widest: u32,
    /// The steps that others depend on.
    awaited: Vec<At>,
}

impl Algo {
    /// The algorithm that `proved` is, for calls out of place.
    ///
    /// # Errors
    /// [`RaiseError`] of a collective that the format does not have.
    pub fn of(proved: &Proved, proto: Proto) -> Result<Self, RaiseError> {
        let schedule = proved.schedule();
        let collective = schedule.task.collective;
        if matches!(collective, Collective::Barrier | Collective::SendRecv) {
            return Err(RaiseError::Collective(collective));
        }
        let mut raising = Raising::new(schedule);
        let graph = Graph::new(schedule);
        for level in in_levels(&graph, schedule) {
            // What is formed first is sent behind: else every rank waits for the results of those before it.
            let formed = level.into_iter().filter_map(|id| {
                let lane = &schedule.lanes[graph.lane_of(id) as usize];
                let instruction = graph.instruction(schedule, id);
                raising.form(lane.rank, instruction).map(|result| (instruction, result))
            });
            for (instruction, formed) in formed.collect::<Vec<_>>() {
                raising.spread(instruction, formed);
            }
        }
        let gpus = raising.finish();
        Ok(Self {
            name: schedule.origin.name().to_owned(),
            coll: spelling(collective).to_owned(),
            proto,
            ranks: schedule.ranks,
            collective: Some(collective),
            chunks_per_loop: schedule.chunks * parts(collective, schedule.ranks),
            in_place: false,
            out_of_place: Some(true),
            channels: 1,
            min_bytes: Some(0),
            max_bytes: Some(0),
            gpus,
            ignored: Vec::new(),
        })
    }
}

/// As RCCL and the Azure executor spell it; MSCCL has another word for reduce-scatter only.
fn spelling(collective: Collective) -> &'static str {
    match collective {
        Collective::AllReduce => "allreduce",
        Collective::AllGather => "allgather",
        Collective::ReduceScatter => "reducescatter",
        Collective::Broadcast => "broadcast",
        Collective::Reduce => "reduce",
        Collective::Gather => "gather",
        Collective::Scatter => "scatter",
        Collective::AllToAll => "alltoall",
        _ => "custom",
    }
}

/// Instructions by the longest chain of waits before them. Those of one level are not ordered, so they do not touch the same memory.
fn in_levels(graph: &Graph, schedule: &Schedule) -> Vec<Vec<u32>> {
    let all = graph.instructions();
    let mut levels = vec![0_u32; all as usize];
    let mut left = vec![0_u32; all as usize];
    let mut followers: Vec<Vec<u32>> = vec![Vec::new(); all as usize];
    for lane in 0..graph.lanes() {
        for id in graph.lane(lane) {
            let mut before: Vec<u32> = (id > graph.lane(lane).start).then(|| id - 1).into_iter().collect();
            for &wait in graph.waits_of(id) {
                if let Sources::Known(notifiers) = graph.sources(wait) {
                    before.extend(notifiers);
                }
            }
            left[id as usize] = before.len() as u32;
            before.iter().for_each(|&before| followers[before as usize].push(id));
        }
    }
    let mut ready: Vec<u32> = (0..all).filter(|&id| left[id as usize] == 0).collect();
    let mut order = Vec::with_capacity(all as usize);
    while let Some(id) = ready.pop() {
        order.push(id);
        for &next in &followers[id as usize] {
            levels[next as usize] = levels[next as usize].max(levels[id as usize] + 1);
            left[next as usize] -= 1;
            if left[next as usize] == 0 {
                ready.push(next);
            }
        }
    }
    order.sort_by_key(|&id| (levels[id as usize], schedule.lanes[graph.lane_of(id) as usize].rank, id));
    order.chunk_by(|&a, &b| levels[a as usize] == levels[b as usize]).map(<[u32]>::to_vec).collect()
}

impl<'a> Raising<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        let lengths = schedule.lanes.iter().flat_map(|lane| &lane.instructions).map(|instruction| instruction.chunks);
        let widest = lengths.max().unwrap_or(0);
        let gpu = |id| Gpu {
            id,
            input_chunks: 0,
            output_chunks: 0,
            scratch_chunks: 0,
            blocks: Vec::new(),
            copies: Vec::new(),
        };
        Self {
            schedule,
            gpus: (0..schedule.ranks).map(gpu).collect(),
            roles: FxHashMap::default(),
            touched: FxHashMap::default(),
            spares: vec![FxHashMap::default(); schedule.ranks as usize],
            widest,
            awaited: Vec::new(),
        }
    }

    /// Forms the result of an instruction of `rank`, by no other steps than every runtime has: `s`, `r`, `cpy`, `re` and `nop`. Returns
    /// where it is, if it has yet to be spread from there.
    fn form(&mut self, rank: u32, instruction: &Instruction) -> Option<Formed> {
        let mut at = Acting { rank, role: Role::Local, count: instruction.chunks };
        let (from, to) = (&instruction.from, &instruction.to);
        let (&first, others) = from.split_first()?;
        let own = |place: Address| place.rank == rank;
        // Where the result is formed: at a destination of this rank's that no later operand is, or that is the only one.
        let free = |to: &&Address| own(**to) && (!others.contains(to) || others.len() == 1);
        let result = match to.iter().find(free) {
            Some(&place) => place,
            None if others.is_empty() && own(first) => first,
            None => self.spare(at),
        };
        let mut rest = others;
        match others.split_first() {
            Some((&second, _)) if second == result => {
                self.reduce(&mut at, first, result);
                rest = &[];
            }
            // What comes goes where the result is to be, and one's own is added to it: no copy.
            Some((&second, behind)) if own(first) && !own(second) && first != result => {
                self.receive(&mut at, second, result);
                self.reduce(&mut at, first, result);
                rest = behind;
            }
            _ if !own(first) => self.receive(&mut at, first, result),
            _ if first != result => self.step(rank, at.role, Kind::Copy, first, result, at.count),
            _ => {}
        }
        for &other in rest {
            self.reduce(&mut at, other, result);
        }
        let formed = Formed { at, result };
        if to.contains(&result) || first == result {
            return Some(formed);
        }
        // A spare place is the next instruction's, too.
        self.spread(instruction, formed);
        None
    }

    /// Takes what was formed to the other destinations.
    fn spread(&mut self, instruction: &Instruction, Formed { at, result }: Formed) {
        for &to in instruction.to.iter().filter(|&&to| to != result) {
            match to.rank == at.rank {
                true => self.step(at.rank, at.role, Kind::Copy, result, to, at.count),
                false => self.message(result, to, at.count),
            }
        }
    }

    /// Takes over `source` of another rank.
    fn receive(&mut self, at: &mut Acting, source: Address, destination: Address) {
        self.message(source, destination, at.count);
        // What follows belongs to what came.
        at.role = Role::Recv(source.rank);
    }

    /// Adds `source`, which may be another rank's, to `result`.
    fn reduce(&mut self, at: &mut Acting, source: Address, result: Address) {
        let mut source = source;
        if source.rank != at.rank {
            let spare = self.spare(Acting { role: Role::Recv(source.rank), ..*at });
            self.receive(at, source, spare);
            source = spare;
        }
        self.step(at.rank, at.role, Kind::Reduce, source, result, at.count);
    }

    /// Scratch that the schedule does not know, of its own for each thread block.
    fn spare(&mut self, Acting { rank, role, .. }: Acting) -> Address {
        let spares = &mut self.spares[rank as usize];
        let next = spares.len() as u32;
        let number = *spares.entry(role).or_insert(next);
        Address::slot(rank, self.schedule.slots_of(rank) + number * self.widest)
    }

    /// Sends `source` to where it is to be.
    fn message(&mut self, source: Address, destination: Address, count: u32) {
        self.step(source.rank, Role::Send(destination.rank), Kind::Send, source, source, count);
        self.step(destination.rank, Role::Recv(source.rank), Kind::Recv, destination, destination, count);
    }

    fn step(&mut self, rank: u32, role: Role, kind: Kind, source: Address, destination: Address, count: u32) {
        let block = self.block(rank, role);
        let on = |at: Address, i: u32| Address { chunk: at.chunk + i, ..at };
        let mut after: Vec<At> = Vec::new();
        for i in 0..count {
            if kind.reads_source() {
                after.extend(self.touched.get(&on(source, i)).and_then(|of| of.written));
            }
            if kind.writes() {
                let of = self.touched.entry(on(destination, i)).or_default();
                after.extend(of.written);
                after.extend(&of.read);
            }
        }
        // Of each block the last step; a block's own order is its own.
        after.retain(|&(_, other, _)| other != block);
        after.sort_unstable();
        let last: Vec<At> = after.chunk_by(|a, b| a.1 == b.1).filter_map(|of| of.last().copied()).collect();
        let steps = &mut self.gpus[rank as usize].blocks[block as usize].steps;
        let place = |at: Address, used: bool| Place {
            memory: match at.buffer {
                Buffer::Input => Memory::Input,
                Buffer::Output => Memory::Output,
                Buffer::Slot => Memory::Scratch,
            },
            chunk: used.then_some(at.chunk),
        };
        let (own, nops) = match last.split_last() {
            Some((own, nops)) => (Some(*own), nops),
            None => (None, &[][..]),
        };
        let mut push = |kind: Kind, count, after: Option<At>| {
            steps.push(Step {
                number: steps.len() as u32,
                kind,
                source: place(source, kind.reads_source()),
                destination: place(destination, kind.writes()),
                count,
                after: after.map(|(_, block, step)| (block, step)),
                published: false,
                line: 0,
            });
        };
        nops.iter().for_each(|&after| push(Kind::Nop, 0, Some(after)));
        push(kind, count, own);
        let at = (rank, block, steps.len() as u32 - 1);
        self.awaited.extend(last);
        for i in 0..count {
            if kind.writes() {
                let of = self.touched.entry(on(destination, i)).or_default();
                *of = Touched { written: Some(at), read: Vec::new() };
            }
            if kind.reads_source() && !(kind.writes() && on(source, i) == on(destination, i)) {
                self.touched.entry(on(source, i)).or_default().read.push(at);
            }
        }
    }

    fn block(&mut self, rank: u32, role: Role) -> u32 {
        let blocks = &mut self.gpus[rank as usize].blocks;
        *self.roles.entry((rank, role)).or_insert_with(|| {
            let (send, recv) = match role {
                Role::Local => (None, None),
                Role::Send(peer) => (Some(peer), None),
                Role::Recv(peer) => (None, Some(peer)),
            };
            let id = blocks.len() as u32;
            blocks.push(Block { id, send, recv, channel: 0, steps: Vec::new(), line: 0 });
            id
        })
    }

    fn finish(mut self) -> Vec<Gpu> {
        for &(gpu, block, step) in &self.awaited {
            self.gpus[gpu as usize].blocks[block as usize].steps[step as usize].published = true;
        }
        for (gpu, spares) in self.gpus.iter_mut().zip(&self.spares) {
            gpu.input_chunks = self.schedule.buffer_chunks(Buffer::Input, gpu.id);
            gpu.output_chunks = self.schedule.buffer_chunks(Buffer::Output, gpu.id);
            gpu.scratch_chunks = self.schedule.slots_of(gpu.id) + spares.len() as u32 * self.widest;
        }
        self.gpus
    }
}
