//! What makes a file no algorithm at all, in the file's own terms: gpu, thread block, step.
//!
//! No runtime checks most of this: it hangs then, or computes something else.

use std::fmt;

use rustc_hash::FxHashMap;

use super::file::{Algo, Block, Gpu, Kind, Memory, Place, Step};
use super::flags::Flags;
use crate::collective::Collective;

/// Problems that are told; the first ones explain the others.
const SHOWN: usize = 32;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Where {
    /// The rank.
    pub gpu: Option<u32>,
    /// Its thread block.
    pub block: Option<u32>,
    /// The step's number.
    pub step: Option<u32>,
    /// From 1.
    pub line: Option<u32>,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where in the file.
    pub at: Where,
    /// What is wrong there.
    pub what: String,
}

/// As `gpu 3 tb 5 step 2 (line 77)`.
impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("gpu", self.gpu), ("tb", self.block), ("step", self.step)];
        let parts: Vec<String> = parts.iter().filter_map(|(name, n)| Some(format!("{name} {}", (*n)?))).collect();
        match (parts.is_empty(), self.line) {
            (true, _) => write!(f, "the file"),
            (false, None) => write!(f, "{}", parts.join(" ")),
            (false, Some(line)) => write!(f, "{} (line {line})", parts.join(" ")),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl Where {
    pub(super) fn gpu(gpu: &Gpu) -> Self {
        Self { gpu: Some(gpu.id), ..Self::default() }
    }

    pub(super) fn block(gpu: &Gpu, block: &Block) -> Self {
        Self { block: Some(block.id), line: Some(block.line), ..Self::gpu(gpu) }
    }

    pub(super) fn step(gpu: &Gpu, block: &Block, step: &Step) -> Self {
        Self { step: Some(step.number), line: Some(step.line), ..Self::block(gpu, block) }
    }
}

/// A connection: sender, receiver, channel.
pub(super) type Connection = (u32, u32, u32);

/// Finds what must not be, the worst first.
pub(super) struct Problems {
    pub(super) found: Vec<Problem>,
}

impl Problems {
    pub(super) fn of(algo: &Algo, collective: Collective) -> Vec<Problem> {
        let mut problems = Self { found: Vec::new() };
        problems.shape(algo, collective);
        if problems.found.is_empty() {
            for gpu in &algo.gpus {
                problems.gpu(algo, gpu, collective);
            }
        }
        if problems.found.is_empty() {
            problems.connections(algo);
        }
        problems.found
    }

    fn say(&mut self, at: Where, what: impl FnOnce() -> String) {
        if self.found.len() < SHOWN {
            self.found.push(Problem { at, what: what() });
        }
    }

    /// What the rest takes for granted.
    fn shape(&mut self, algo: &Algo, collective: Collective) {
        let ids = algo.gpus.iter().map(|gpu| gpu.id);
        if !ids.eq(0..algo.ranks) {
            let (gpus, ranks) = (algo.gpus.len(), algo.ranks);
            self.say(Where::default(), || {
                format!("ngpus is {ranks}, and there are {gpus} gpus; their ids must be 0 to {}", ranks - 1)
            });
        }
        let parts = parts(collective, algo.ranks);
        if algo.chunks_per_loop == 0 || !algo.chunks_per_loop.is_multiple_of(parts) {
            let chunks = algo.chunks_per_loop;
            self.say(Where::default(), || {
                format!(
                    "nchunksperloop is {chunks}, and {collective} over {} ranks needs a multiple of {parts}",
                    algo.ranks
                )
            });
        }
        for gpu in &algo.gpus {
            let blocks: Vec<u32> = gpu.blocks.iter().map(|block| block.id).collect();
            if !blocks.iter().copied().eq(0..blocks.len() as u32) {
                self.say(Where::gpu(gpu), || {
                    format!("ids of thread blocks must be 0 to {}, each once", blocks.len() - 1)
                });
            }
        }
    }

    fn gpu(&mut self, algo: &Algo, gpu: &Gpu, collective: Collective) {
        let flags = Flags::of(gpu);
        for block in &gpu.blocks {
            for (peer, what) in [(block.send, "send"), (block.recv, "recv")] {
                match peer {
                    Some(peer) if peer >= algo.ranks => self.say(Where::block(gpu, block), || {
                        format!("{what}=\"{peer}\" is no gpu; there are {}", algo.ranks)
                    }),
                    Some(peer) if peer == gpu.id => {
                        self.say(Where::block(gpu, block), || format!("{what}=\"{peer}\" is this gpu itself"));
                    }
                    _ => {}
                }
            }
            let mut dependences = false;
            for (index, step) in block.steps.iter().enumerate() {
                let at = Where::step(gpu, block, step);
                if step.number as usize != index {
                    self.say(at, || {
                        format!("s=\"{}\" is the step of index {index}: steps count from 0 without gaps", step.number)
                    });
                }
                self.step(algo, gpu, block, step, at, collective);
                self.dependence(gpu, &flags, block, step, at);
                if dependences && step.kind != Kind::Nop && step.after.is_none() {
                    self.say(at, || "follows a nop and has no dependence of its own, which runtimes refuse".to_owned());
                }
                dependences = step.kind == Kind::Nop;
            }
            if let Some(last) = block.steps.last().filter(|last| last.kind == Kind::Nop) {
                let at = Where::step(gpu, block, last);
                self.say(at, || "is a nop behind which nothing comes, so nothing waits for its dependence".to_owned());
            }
        }
    }

    fn step(&mut self, algo: &Algo, gpu: &Gpu, block: &Block, step: &Step, at: Where, collective: Collective) {
        let name = step.kind.name();
        if step.kind.sends() && block.send.is_none() {
            self.say(at, || format!("{name} sends, and its thread block has no send"));
        }
        if step.kind.receives() && block.recv.is_none() {
            self.say(at, || format!("{name} receives, and its thread block has no recv"));
        }
        if step.count == 0 && step.kind != Kind::Nop {
            self.say(at, || "cnt=\"0\" moves nothing".to_owned());
        }
        let used = [(step.kind.reads_source(), step.source, "src"), (step.kind.writes(), step.destination, "dst")];
        for (_, place, side) in used.into_iter().filter(|(used, ..)| *used) {
            let Place { memory, chunk } = place;
            let chunks = chunks(algo, gpu, collective, memory);
            match chunk {
                None => self.say(at, || format!("{name} uses {side}off, which is -1")),
                Some(chunk) if u64::from(chunk) + u64::from(step.count) > u64::from(chunks) => {
                    self.say(at, || {
                        format!(
                            "{name} uses {place}, {} chunks long, of {chunks} of {}buf=\"{}\"",
                            step.count,
                            side,
                            memory.letter()
                        )
                    });
                }
                Some(_) => {}
            }
        }
    }

    fn dependence(&mut self, gpu: &Gpu, flags: &Flags<'_>, block: &Block, step: &Step, at: Where) {
        let Some((other, after)) = step.after else { return };
        if other as usize >= gpu.blocks.len() {
            self.say(at, || format!("depid=\"{other}\" is no thread block of this gpu"));
        } else if other == block.id {
            self.say(at, || format!("depid=\"{other}\" is its own thread block"));
        } else if flags.ends(other, after).is_none() {
            self.say(at, || {
                format!("waits for tb {other} step {after}, and no step from there on has hasdep=\"1\": it would wait for ever")
            });
        }
    }

    /// Each connection has one sender and one receiver, and as many messages of the same lengths on both sides.
    fn connections(&mut self, algo: &Algo) {
        let mut owners: [FxHashMap<Connection, (Where, Vec<u32>)>; 2] = Default::default();
        for gpu in &algo.gpus {
            for block in &gpu.blocks {
                for (side, connection, messages) in ends(gpu, block) {
                    let at = Where::block(gpu, block);
                    if let Some((first, _)) = owners[side].insert(connection, (at, messages)) {
                        let (sender, receiver, channel) = connection;
                        let (does, peer) = if side == 0 { ("sends to", receiver) } else { ("receives from", sender) };
                        self.say(at, || {
                            format!("{does} gpu {peer} on channel {channel}, as {first} does: a connection has one thread block at each end")
                        });
                    }
                }
            }
        }
        let [senders, receivers] = owners;
        let mut all: Vec<Connection> = senders.keys().chain(receivers.keys()).copied().collect();
        all.sort_unstable();
        all.dedup();
        let none = (Where::default(), Vec::new());
        for connection in all {
            let (from, sent) = senders.get(&connection).unwrap_or(&none);
            let (to, taken) = receivers.get(&connection).unwrap_or(&none);
            let (sender, receiver, channel) = connection;
            let over = format!("from gpu {sender} to gpu {receiver} on channel {channel}");
            if sent.len() != taken.len() {
                let at = if sent.len() > taken.len() { *from } else { *to };
                self.say(at, || format!("{} messages are sent {over}, and {} are received", sent.len(), taken.len()));
            } else if let Some(k) = sent.iter().zip(taken).position(|(a, b)| a != b) {
                self.say(*from, || {
                    format!("message {k} {over} is sent as {} chunks and received as {}", sent[k], taken[k])
                });
            }
        }
    }
}

/// The connections of a thread block: 0 where it sends, 1 where it receives, and the chunks of each message.
pub(super) fn ends(gpu: &Gpu, block: &Block) -> Vec<(usize, Connection, Vec<u32>)> {
    let messages = |which: fn(Kind) -> bool| {
        block.steps.iter().filter(|step| which(step.kind)).map(|step| step.count).collect::<Vec<u32>>()
    };
    let sends = block.send.map(|to| (0, (gpu.id, to, block.channel), messages(Kind::sends)));
    let receives = block.recv.map(|from| (1, (from, gpu.id, block.channel), messages(Kind::receives)));
    // One that is named and never used is no end of it.
    sends.into_iter().chain(receives).filter(|(.., messages)| !messages.is_empty()).collect()
}

/// Parts that the chunks of a loop are of.
pub(super) fn parts(collective: Collective, ranks: u32) -> u32 {
    match collective {
        Collective::AllReduce | Collective::Broadcast | Collective::Reduce => 1,
        _ => ranks,
    }
}

/// Chunks of a memory of `gpu`.
pub(super) fn chunks(algo: &Algo, gpu: &Gpu, collective: Collective, memory: Memory) -> u32 {
    let part = algo.chunks_per_loop / parts(collective, algo.ranks);
    let (input, output) = match collective {
        Collective::AllGather | Collective::Gather => (1, algo.ranks),
        Collective::ReduceScatter | Collective::Scatter => (algo.ranks, 1),
        Collective::AllToAll => (algo.ranks, algo.ranks),
        _ => (1, 1),
    };
    match memory {
        Memory::Input => input * part,
        Memory::Output => output * part,
        Memory::Scratch => gpu.scratch_chunks,
    }
}
