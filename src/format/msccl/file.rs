//! A file as it says it: gpus, thread blocks, steps.

use std::fmt;

use crate::collective::Collective;

/// An algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Algo {
    /// Its name.
    pub name: String,
    /// What its connections are made of.
    pub proto: Proto,
    /// Ranks.
    pub ranks: u32,
    /// The collective, as it spells it.
    pub coll: String,
    /// What it claims to compute; `None` is `custom`, which claims nothing.
    pub collective: Option<Collective>,
    /// Chunks that a launch's payload is cut into.
    pub chunks_per_loop: u32,
    /// It is made for calls in place.
    pub in_place: bool,
    /// It says for which calls out of place it is made: what RCCL and the Azure executor demand.
    pub out_of_place: Option<bool>,
    /// Channels that it says it has.
    pub channels: u32,
    /// Payloads that it is made for, in bytes: from the first to the second.
    pub min_bytes: Option<u64>,
    /// See [`Self::min_bytes`]; 0 is without a limit.
    pub max_bytes: Option<u64>,
    /// In rank order.
    pub gpus: Vec<Gpu>,
    /// What it holds that no runtime looks at, once each.
    pub ignored: Vec<String>,
}

/// A rank.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gpu {
    /// The rank.
    pub id: u32,
    /// Chunks of its input that it uses, or 0.
    pub input_chunks: u32,
    /// Chunks of its output that it uses, or 0.
    pub output_chunks: u32,
    /// Chunks of its scratch buffer.
    pub scratch_chunks: u32,
    /// Its thread blocks, in the order of their ids.
    pub blocks: Vec<Block>,
    /// What is to be in the output before the first step.
    pub copies: Vec<Copied>,
}

/// A `<copy>`: a chunk of the input that is to be in the output before the first step. Runtimes pass over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The chunk of the input.
    pub input: u32,
    /// Where it goes.
    pub output: u32,
    /// Where it stands in the file.
    pub line: u32,
}

/// A thread block: one instruction stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Its number in its gpu.
    pub id: u32,
    /// The rank that it sends to.
    pub send: Option<u32>,
    /// The rank that it receives from.
    pub recv: Option<u32>,
    /// With the peer it names a connection.
    pub channel: u32,
    /// In order.
    pub steps: Vec<Step>,
    /// Where it stands in the file.
    pub line: u32,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Its number, as the file has it.
    pub number: u32,
    /// What it does.
    pub kind: Kind,
    /// The local operand.
    pub source: Place,
    /// Where a result goes.
    pub destination: Place,
    /// Consecutive chunks.
    pub count: u32,
    /// Thread block of this gpu and step of it that must have been published.
    pub after: Option<(u32, u32)>,
    /// It is published once it is done.
    pub published: bool,
    /// Where it stands in the file.
    pub line: u32,
}

/// A place in a rank's memory; without a chunk it is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// Which memory.
    pub memory: Memory,
    /// Its first chunk.
    pub chunk: Option<u32>,
}

/// A rank's memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memory {
    /// `i`
    Input,
    /// `o`
    Output,
    /// `s`
    Scratch,
}

/// What connections are made of, and with it how many messages may be on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proto {
    /// Whole chunks, then a flag.
    Simple,
    /// A flag in every 8 bytes.
    LowLatency,
    /// A flag in every 128 bytes.
    LowLatency128,
}

/// What a step does with the next message of its thread block's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `s`: send the source.
    Send,
    /// `r`: receive into the destination.
    Recv,
    /// `rcs`: receive into the destination and send on.
    RecvCopySend,
    /// `rrs`: send what comes, reduced with the source.
    RecvReduceSend,
    /// `rrc`: what comes, reduced with the source, into the destination.
    RecvReduceCopy,
    /// `rrcs`: both.
    RecvReduceCopySend,
    /// `cpy`: source to destination.
    Copy,
    /// `re`: reduce the source into the destination.
    Reduce,
    /// `nop`: carries a dependence of the next step.
    Nop,
}

impl Proto {
    /// Messages that a connection holds: NCCL's 8 slots, of which a message of `Simple` takes 4.
    pub fn fifo_slots(self) -> u32 {
        match self {
            Self::Simple => 2,
            Self::LowLatency | Self::LowLatency128 => 8,
        }
    }

    /// As files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "Simple",
            Self::LowLatency => "LL",
            Self::LowLatency128 => "LL128",
        }
    }
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Send,
        Self::Recv,
        Self::RecvCopySend,
        Self::RecvReduceSend,
        Self::RecvReduceCopy,
        Self::RecvReduceCopySend,
        Self::Copy,
        Self::Reduce,
        Self::Nop,
    ];

    /// As files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "s",
            Self::Recv => "r",
            Self::RecvCopySend => "rcs",
            Self::RecvReduceSend => "rrs",
            Self::RecvReduceCopy => "rrc",
            Self::RecvReduceCopySend => "rrcs",
            Self::Copy => "cpy",
            Self::Reduce => "re",
            Self::Nop => "nop",
        }
    }

    /// The one that files spell `name`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// It takes a message.
    pub fn receives(self) -> bool {
        !matches!(self, Self::Send | Self::Copy | Self::Reduce | Self::Nop)
    }

    /// It makes a message.
    pub fn sends(self) -> bool {
        matches!(self, Self::Send | Self::RecvCopySend | Self::RecvReduceSend | Self::RecvReduceCopySend)
    }

    /// It reads the source.
    pub fn reads_source(self) -> bool {
        !matches!(self, Self::Recv | Self::RecvCopySend | Self::Nop)
    }

    /// It writes the destination.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Send | Self::RecvReduceSend | Self::Nop)
    }

    /// It takes a message and a local operand.
    pub fn reduces_message(self) -> bool {
        matches!(self, Self::RecvReduceSend | Self::RecvReduceCopy | Self::RecvReduceCopySend)
    }
}

impl Memory {
    pub(super) fn letter(self) -> char {
        match self {
            Self::Input => 'i',
            Self::Output => 'o',
            Self::Scratch => 's',
        }
    }
}

/// As `i[3]`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chunk {
            Some(chunk) => write!(f, "{}[{chunk}]", self.memory.letter()),
            None => write!(f, "{}[-]", self.memory.letter()),
        }
    }
}

impl Algo {
    /// The same over other connections.
    #[must_use]
    pub fn proto(mut self, proto: Proto) -> Self {
        self.proto = proto;
        self
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.gpus.iter().flat_map(|gpu| &gpu.blocks).map(|block| block.steps.len()).sum()
    }

    /// Number of thread blocks.
    pub fn blocks(&self) -> usize {
        self.gpus.iter().map(|gpu| gpu.blocks.len()).sum()
    }
}
