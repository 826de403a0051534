//! GOAL: what each rank sends, receives and computes, for LogGOPSim and the simulators around it.
//!
//! Text, of which `txt2bin` makes what they read. Source: spcl/LogGOPSim, `txt2bin.re` and `Parser.hpp`.

use std::fmt::{self, Write};

use super::msccl::{Algo, Block, Flags, Kind};

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
        // Behind all operations: `txt2bin` refuses a label whose operation it has not read.
        let mut dependences = String::new();
        // Into a text nothing fails.
        let flags = Flags::of(gpu);
        let _ = gpu.blocks.iter().try_for_each(|of| block(&mut text, &mut dependences, &flags, of, options));
        text.push_str(&dependences);
        text.push_str("}\n");
    }
    text
}

/// What a step is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Send,
    Recv,
    Calc,
}

/// The parts of a step, in order.
fn parts(kind: Kind) -> &'static [Part] {
    match kind {
        Kind::Send => &[Part::Send],
        Kind::Recv => &[Part::Recv],
        Kind::RecvCopySend => &[Part::Recv, Part::Send],
        Kind::RecvReduceSend | Kind::RecvReduceCopySend => &[Part::Recv, Part::Calc, Part::Send],
        Kind::RecvReduceCopy => &[Part::Recv, Part::Calc],
        Kind::Copy | Kind::Reduce => &[Part::Calc],
        Kind::Nop => &[],
    }
}

/// One operation, as others name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operation {
    block: u32,
    step: u32,
    part: Part,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Send => 's',
            Part::Recv => 'r',
            Part::Calc => 'c',
        };
        write!(f, "b{}s{}{part}", self.block, self.step)
    }
}

fn block(
    text: &mut String,
    dependences: &mut String,
    flags: &Flags<'_>,
    block: &Block,
    options: GoalOptions,
) -> fmt::Result {
    let mut before: Vec<Operation> = Vec::new();
    for step in &block.steps {
        let bytes = u64::from(step.count).saturating_mul(options.chunk_bytes);
        if let Some((other, after)) = step.after {
            before.extend(awaited(flags, other, after));
        }
        for &part in parts(step.kind) {
            let operation = Operation { block: block.id, step: step.number, part };
            write!(text, "{operation}: ")?;
            match part {
                Part::Send => writeln!(text, "send {bytes}b to {} tag {}", block.send.unwrap_or(0), block.channel)?,
                Part::Recv => writeln!(text, "recv {bytes}b from {} tag {}", block.recv.unwrap_or(0), block.channel)?,
                Part::Calc => writeln!(text, "calc {}", (bytes as f64 * options.nanoseconds_per_byte).ceil() as u64)?,
            }
            for before in before.drain(..) {
                // A message lies in its connection once it is sent. `requires` would wait for the receiver, where it is so long that
                // simulators send it by rendezvous, and a thread block that sends before it receives would hang.
                let word = if before.part == Part::Send { "irequires" } else { "requires" };
                writeln!(dependences, "{operation} {word} {before}")?;
            }
            before.push(operation);
        }
    }
    Ok(())
}

/// The last operation of the step that ends a wait for step `after` of block `other`.
fn awaited(flags: &Flags<'_>, other: u32, after: u32) -> Option<Operation> {
    let step = flags.ends(other, after)?;
    parts(step.kind).last().map(|&part| Operation { block: other, step: step.number, part })
}
