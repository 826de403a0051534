//! What runtimes would refuse of a file that is right, and what it moves, against the least that its collective needs.
//!
//! Sources: microsoft/msccl `src/graph/topo.cc`, ROCm/rccl `src/misc/msccl/msccl_parser.cc`, Azure/msccl-executor-nccl, of the same name.

use super::file::{Algo, Gpu, Kind};
use super::flags::published;
use super::problems::{Problem, Where};
use crate::collective::Collective;

/// Who executes files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Runtime {
    /// microsoft/msccl.
    Msccl,
    /// ROCm/rccl.
    Rccl,
    /// Azure/msccl-executor-nccl.
    Azure,
}

/// What a runtime would not take, or would do otherwise than it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lint {
    /// Whose rule it is; none where it is any runtime's.
    pub runtime: Option<Runtime>,
    /// Where, and what.
    pub problem: Problem,
}

/// What crosses between ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// Messages in all.
    pub messages: u64,
    /// Chunks in all messages.
    pub chunks: u64,
    /// Of the rank that sends most, in payloads: the bytes of a rank's longer buffer.
    pub most_sent: f64,
    /// The least that the rank that sends most must send, in payloads.
    pub least: f64,
}

impl Runtime {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Msccl, Self::Rccl, Self::Azure];

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Msccl => "MSCCL",
            Self::Rccl => "RCCL",
            Self::Azure => "Azure executor",
        }
    }
}

/// Steps of a thread block, thread blocks of a gpu and of a channel, chunks of a step, XML nodes of a gpu.
struct Limits {
    steps: usize,
    blocks: usize,
}

fn limits(runtime: Runtime) -> Limits {
    match runtime {
        Runtime::Msccl => Limits { steps: 256, blocks: 216 },
        Runtime::Rccl => Limits { steps: 64, blocks: 64 },
        Runtime::Azure => Limits { steps: 256, blocks: 1024 },
    }
}

const CHANNELS: u32 = 32;
const BLOCKS_OF_A_CHANNEL: usize = 32;
const MOST_COUNT: u32 = 71;
const MOST_NODES: usize = 4096;
const MOST_CHILDREN: usize = 1024;

struct Lints {
    found: Vec<Lint>,
}

impl Lints {
    fn say(&mut self, runtime: impl Into<Option<Runtime>>, at: Where, what: String) {
        self.found.push(Lint { runtime: runtime.into(), problem: Problem { at, what } });
    }

    /// Attributes of `<algo>`.
    fn head(&mut self, algo: &Algo) {
        let whole = Where::default();
        for runtime in [Runtime::Rccl, Runtime::Azure] {
            let missing = [
                ("outofplace", algo.out_of_place.is_none()),
                ("minBytes", algo.min_bytes.is_none()),
                ("maxBytes", algo.max_bytes.is_none()),
            ];
            let missing: Vec<&str> = missing.iter().filter(|(_, missing)| *missing).map(|(name, _)| *name).collect();
            if !missing.is_empty() {
                self.say(runtime, whole, format!("<algo> must have {}, which it has not", missing.join(", ")));
            }
            if matches!(algo.coll.as_str(), "reduce_scatter" | "custom") {
                self.say(runtime, whole, format!("coll=\"{}\" is not known there; reducescatter is", algo.coll));
            }
        }
        if matches!(algo.coll.as_str(), "reducescatter" | "gather" | "scatter") {
            self.say(Runtime::Msccl, whole, format!("coll=\"{}\" is not known there; reduce_scatter is", algo.coll));
        }
        let used =
            algo.gpus.iter().flat_map(|gpu| &gpu.blocks).map(|block| u64::from(block.channel) + 1).max().unwrap_or(0);
        if u64::from(algo.channels) != used {
            self.say(None, whole, format!("nchannels is {}, and thread blocks name {used} channels", algo.channels));
        }
        if used > CHANNELS.into() {
            self.say(None, whole, format!("{used} channels are more than the {CHANNELS} that there are"));
        }
    }

    fn gpu(&mut self, gpu: &Gpu) {
        let at = Where::gpu(gpu);
        let nodes = 1 + gpu.blocks.len() + gpu.blocks.iter().map(|block| block.steps.len()).sum::<usize>();
        if nodes > MOST_NODES {
            self.say(None, at, format!("{nodes} elements are more than the {MOST_NODES} that are kept for a rank"));
        }
        let mut of_channel = vec![0_usize; CHANNELS as usize];
        for block in &gpu.blocks {
            if let Some(blocks) = of_channel.get_mut(block.channel as usize) {
                *blocks += 1;
            }
        }
        if let Some(channel) = of_channel.iter().position(|&blocks| blocks > BLOCKS_OF_A_CHANNEL) {
            let blocks = of_channel[channel];
            self.say(
                Runtime::Msccl,
                at,
                format!("channel {channel} has {blocks} thread blocks, of {BLOCKS_OF_A_CHANNEL} at most"),
            );
        }
        for &runtime in Runtime::ALL {
            let Limits { steps, blocks } = limits(runtime);
            if gpu.blocks.len() > blocks {
                self.say(runtime, at, format!("{} thread blocks are more than {blocks}", gpu.blocks.len()));
            }
            if let Some(block) = gpu.blocks.iter().find(|block| block.steps.len() > steps) {
                let at = Where::block(gpu, block);
                self.say(runtime, at, format!("{} steps are more than {steps}", block.steps.len()));
            }
        }
        if let Some(block) = gpu.blocks.iter().find(|block| block.steps.len() > MOST_CHILDREN) {
            let at = Where::block(gpu, block);
            self.say(
                None,
                at,
                format!("{} steps are more elements than the {MOST_CHILDREN} that one may hold", block.steps.len()),
            );
        }
        let fused = |kind: Kind| kind.receives() && !matches!(kind, Kind::Recv);
        let all = || gpu.blocks.iter().flat_map(|block| block.steps.iter().map(move |step| (block, step)));
        if let Some((block, step)) = all().find(|(_, step)| fused(step.kind)) {
            let at = Where::step(gpu, block, step);
            self.say(
                Runtime::Rccl,
                at,
                format!("{} is refused there, as rcs, rrs, rrc and rrcs are", step.kind.name()),
            );
        }
        if let Some((block, step)) = all().find(|(_, step)| step.count > MOST_COUNT) {
            let at = Where::step(gpu, block, step);
            self.say(None, at, format!("cnt=\"{}\" is more than {MOST_COUNT}", step.count));
        }
        if let Some((block, step)) = all().find(|(_, step)| step.published && !published(step)) {
            self.say(
                None,
                Where::step(gpu, block, step),
                "hasdep of a nop is lost: it vanishes when a file is read".to_owned(),
            );
        }
        for block in &gpu.blocks {
            let unequal = block.steps.windows(2).find(|pair| {
                let [first, second] = pair else { return false };
                let alike = first.kind == Kind::Reduce && second.kind == Kind::Reduce;
                let one = first.destination == second.destination && first.source.memory == second.source.memory;
                alike && one && second.after.is_none() && !first.published && first.count != second.count
            });
            if let Some(pair) = unequal {
                let at = Where::step(gpu, block, &pair[1]);
                self.say(
                    None,
                    at,
                    "re is merged with the one before it, whose cnt is another: one of them is lost".to_owned(),
                );
            }
        }
    }
}

impl Algo {
    /// What runtimes would refuse or do otherwise, each kind once a gpu.
    pub fn lint(&self) -> Vec<Lint> {
        let mut lints = Lints { found: Vec::new() };
        lints.head(self);
        self.gpus.iter().for_each(|gpu| lints.gpu(gpu));
        lints.found
    }

    /// What crosses between ranks, and the least that the collective needs.
    pub fn cost(&self, collective: Collective) -> Cost {
        let sent = |gpu: &Gpu| {
            let steps = gpu.blocks.iter().flat_map(|block| &block.steps).filter(|step| step.kind.sends());
            steps.fold((0_u64, 0_u64), |(messages, chunks), step| (messages + 1, chunks + u64::from(step.count)))
        };
        let all: Vec<(u64, u64)> = self.gpus.iter().map(sent).collect();
        let most = all.iter().map(|(_, chunks)| *chunks).max().unwrap_or(0);
        let p = f64::from(self.ranks);
        let others = p - 1.0;
        let least = match collective {
            Collective::AllReduce => 2.0 * others / p,
            Collective::AllGather | Collective::ReduceScatter | Collective::AllToAll => others / p,
            Collective::Scatter => others / p,
            Collective::Gather => 1.0 / p,
            _ if self.ranks > 1 => 1.0,
            _ => 0.0,
        };
        Cost {
            messages: all.iter().map(|(messages, _)| messages).sum(),
            chunks: all.iter().map(|(_, chunks)| chunks).sum(),
            most_sent: most as f64 / f64::from(self.chunks_per_loop.max(1)),
            least,
        }
    }
}
