//! GOAL: what each rank sends, receives and computes, for LogGOPSim and the simulators around it.
//!
//! Text, of which `txt2bin` makes what they read. Source: spcl/LogGOPSim, `txt2bin.re` and `Parser.hpp`.

use std::fmt::{self, Write};

use super::msccl::{Algo, Block, Gpu, Kind, Step};

/// What it costs to write down a schedule as GOAL.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct GoalOptions {
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// Nanoseconds that a rank takes to reduce or copy a byte.
    pub nanoseconds_per_byte: f64,
}

impl GoalOptions {
    /// Chunks of so many bytes, at 10 GB/s.
    pub fn new(chunk_bytes: u64) -> Self {
        Self { chunk_bytes, nanoseconds_per_byte: 0.1 }
    }
}

/// The text of `algo`.
pub fn goal(algo: &Algo, options: GoalOptions) -> String {
    let mut text = format!("num_ranks {}\n", algo.ranks);
    for gpu in &algo.gpus {
        let _ = writeln!(text, "\nrank {} {{", gpu.id);
        // Into a text nothing fails.
        let _ = gpu.blocks.iter().try_for_each(|of| block(&mut text, gpu, of, options));
        text.push_str("}\n");
    }
    text
}

/// What a step is called once it is done, and before.
fn label(block: u32, step: u32, part: &str) -> String {
    format!("b{block}s{step}{part}")
}

/// The parts of a step, in order.
fn parts(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Send => &["s"],
        Kind::Recv => &["r"],
        Kind::RecvCopySend => &["r", "s"],
        Kind::RecvReduceSend | Kind::RecvReduceCopySend => &["r", "c", "s"],
        Kind::RecvReduceCopy => &["r", "c"],
        Kind::Copy | Kind::Reduce => &["c"],
        Kind::Nop => &[],
    }
}

fn block(text: &mut String, gpu: &Gpu, block: &Block, options: GoalOptions) -> fmt::Result {
    let mut before: Vec<String> = Vec::new();
    for step in &block.steps {
        let bytes = u64::from(step.count).saturating_mul(options.chunk_bytes);
        if let Some((other, after)) = step.after {
            before.extend(published(gpu, other, after));
        }
        for &part in parts(step.kind) {
            let label = label(block.id, step.number, part);
            match part {
                "s" => writeln!(text, "{label}: send {bytes}b to {} tag {}", block.send.unwrap_or(0), block.channel)?,
                "r" => writeln!(text, "{label}: recv {bytes}b from {} tag {}", block.recv.unwrap_or(0), block.channel)?,
                _ => writeln!(text, "{label}: calc {}", (bytes as f64 * options.nanoseconds_per_byte).ceil() as u64)?,
            }
            for before in before.drain(..) {
                writeln!(text, "{label} requires {before}")?;
            }
            before.push(label);
        }
    }
    Ok(())
}

/// The last part of the step that ends a wait for step `after` of block `other`, or of one before it that has a part.
fn published(gpu: &Gpu, other: u32, after: u32) -> Option<String> {
    let steps: &[Step] = &gpu.blocks.get(other as usize)?.steps;
    let until = steps.iter().position(|step| step.number >= after && step.published)?;
    let last = steps[..=until].iter().rev().find(|step| step.kind != Kind::Nop)?;
    Some(label(other, last.number, parts(last.kind).last()?))
}
