//! What each collective promises, from NCCL's manual, and where its buffers lie.
//!
//! Written down once more, so that a mistake in the library's own table is found and not shared.

use wgccl::collective::{Collective, Task};
use wgccl::schedule::{Address, Buffer, Schedule};

/// A collective among so many ranks.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) collective: Collective,
    pub(crate) root: u32,
    /// Of send-recv, empty for "the one before".
    sources: Vec<u32>,
    pub(crate) ranks: u32,
}

impl Promise {
    pub(crate) fn new(task: &Task, ranks: u32) -> Self {
        Self { collective: task.collective, root: task.root, sources: task.sources.clone(), ranks }
    }

    /// Parts of `rank`'s input.
    pub(crate) fn gives(&self, rank: u32) -> u32 {
        let root = u32::from(rank == self.root);
        match self.collective {
            Collective::Barrier => 0,
            Collective::Broadcast => root,
            Collective::Scatter => root * self.ranks,
            Collective::ReduceScatter | Collective::AllToAll => self.ranks,
            _ => 1,
        }
    }

    /// Parts of `rank`'s output.
    pub(crate) fn gets(&self, rank: u32) -> u32 {
        let root = u32::from(rank == self.root);
        match self.collective {
            Collective::Barrier => 0,
            Collective::Reduce => root,
            Collective::Gather => root * self.ranks,
            Collective::AllGather | Collective::AllToAll => self.ranks,
            _ => 1,
        }
    }

    pub(crate) fn reduces(&self) -> bool {
        matches!(self.collective, Collective::AllReduce | Collective::Reduce | Collective::ReduceScatter)
    }

    /// The parts of inputs, by rank and part, that part `part` of `rank`'s output is the reduction of.
    pub(crate) fn terms(&self, rank: u32, part: u32) -> Vec<(u32, u32)> {
        let from_all = |part| (0..self.ranks).map(|peer| (peer, part)).collect();
        match self.collective {
            Collective::AllReduce | Collective::Reduce => from_all(0),
            Collective::ReduceScatter => from_all(rank),
            Collective::AllGather | Collective::Gather => vec![(part, 0)],
            Collective::Broadcast => vec![(self.root, 0)],
            Collective::Scatter => vec![(self.root, rank)],
            Collective::AllToAll => vec![(part, rank)],
            Collective::SendRecv => {
                let before = (rank + self.ranks - 1) % self.ranks;
                vec![(self.sources.get(rank as usize).copied().unwrap_or(before), 0)]
            }
            _ => Vec::new(),
        }
    }

    /// The parts of a rank's one buffer at which its input and output begin, where there is a form in place.
    pub(crate) fn in_place(&self, rank: u32) -> Option<(u32, u32)> {
        match self.collective {
            Collective::AllReduce | Collective::Broadcast | Collective::Reduce => Some((0, 0)),
            Collective::AllGather => Some((rank, 0)),
            Collective::ReduceScatter => Some((0, rank)),
            Collective::Gather => Some((if rank == self.root { rank } else { 0 }, 0)),
            Collective::Scatter => Some((0, if rank == self.root { rank } else { 0 })),
            _ => None,
        }
    }
}

/// Every chunk of memory by a number: what has the same number is the same memory.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) promise: Promise,
    chunks: u32,
    in_place: bool,
    /// First chunk of each rank's input, output and slots.
    first: Vec<[u32; 3]>,
    slots: Vec<u32>,
    pub(crate) len: u32,
}

impl Places {
    /// Of a schedule whose task is one of so many ranks.
    pub(crate) fn new(schedule: &Schedule, in_place: bool) -> Self {
        let promise = Promise::new(&schedule.task, schedule.ranks);
        let (mut first, mut len) = (Vec::new(), 0);
        let mut slots = schedule.slots.clone();
        slots.resize(schedule.ranks as usize, 0);
        for rank in 0..schedule.ranks {
            let (gives, gets) = (promise.gives(rank) * schedule.chunks, promise.gets(rank) * schedule.chunks);
            let (input, output);
            if in_place {
                let (a, b) = promise.in_place(rank).unwrap_or_default();
                (input, output) = (len + a * schedule.chunks, len + b * schedule.chunks);
                len += gives.max(gets);
            } else {
                (input, output) = (len, len + gives);
                len += gives + gets;
            }
            first.push([input, output, len]);
            len += slots[rank as usize];
        }
        Self { promise, chunks: schedule.chunks, in_place, first, slots, len }
    }

    /// Chunks of a buffer of a rank that exists.
    pub(crate) fn chunks_of(&self, rank: u32, buffer: Buffer) -> u32 {
        match buffer {
            Buffer::Input => self.promise.gives(rank) * self.chunks,
            Buffer::Output => self.promise.gets(rank) * self.chunks,
            Buffer::Slot => self.slots[rank as usize],
        }
    }

    /// Whether all `chunks` chunks from there exist.
    pub(crate) fn exists(&self, at: Address, chunks: u32) -> bool {
        at.rank < self.promise.ranks
            && u64::from(at.chunk) + u64::from(chunks) <= u64::from(self.chunks_of(at.rank, at.buffer))
    }

    /// Of an address that exists.
    pub(crate) fn of(&self, at: Address) -> u32 {
        let [input, output, slot] = self.first[at.rank as usize];
        at.chunk
            + match at.buffer {
                Buffer::Input => input,
                Buffer::Output => output,
                Buffer::Slot => slot,
            }
    }

    /// Whether a chunk is part of its rank's output, by whatever name.
    pub(crate) fn is_output(&self, at: Address, chunks: u32) -> bool {
        let (place, output) = (self.of(at), self.first[at.rank as usize][1]);
        at.buffer != Buffer::Slot
            && place >= output
            && place + chunks <= output + self.chunks_of(at.rank, Buffer::Output)
    }

    /// Parts of a user's buffer: (of the one for input, of the one for output). In place they are one.
    pub(crate) fn buffer_parts(&self, rank: u32) -> (u32, u32) {
        let (gives, gets) = (self.promise.gives(rank), self.promise.gets(rank));
        if self.in_place { (gives.max(gets), gives.max(gets)) } else { (gives, gets) }
    }

    /// Parts of those buffers before input and output begin.
    pub(crate) fn offsets(&self, rank: u32) -> (u32, u32) {
        if self.in_place { self.promise.in_place(rank).unwrap_or_default() } else { (0, 0) }
    }
}
