//! What a file may ask for: its numbers are a few digits, and what they ask for is time and memory.
//!
//! In proportion to its steps, so that nothing takes longer than a file of that length may.

use std::fmt;

use super::file::{Algo, Memory};
use super::problems::chunks;
use crate::collective::Collective;

/// Chunks of each that any file may have: a check of as many takes a third of a second and 35 MB.
const FLOOR: u64 = 1 << 19;

/// And for each of its steps. Runtimes refuse a step of more than 71.
const PER_STEP: u64 = 256;

/// What a file has chunks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Amount {
    /// Inputs and outputs of all ranks.
    Buffers,
    /// What steps move.
    Moved,
    /// Scratch buffers, and what connections hold.
    Slots,
}

/// As the beginning of a sentence.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffers => "inputs and outputs are",
            Self::Moved => "steps move",
            Self::Slots => "scratch buffers and connections hold",
        })
    }
}

impl Amount {
    /// The attributes that say how many.
    pub(super) fn attributes(self) -> &'static str {
        match self {
            Self::Buffers => "nchunksperloop",
            Self::Moved => "cnt",
            Self::Slots => "s_chunks or cnt",
        }
    }
}

/// More than a file may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its {of} {chunks} chunks, and a file of so few steps may have {most}: lower {}", .of.attributes())]
#[non_exhaustive]
pub struct Excess {
    /// Of what.
    pub of: Amount,
    /// How much there is.
    pub chunks: u64,
    /// How much there may be.
    pub most: u64,
}

/// The most of each that a file may have.
pub(super) struct Limit {
    most: u64,
}

impl Limit {
    /// That of `algo`, whose buffers and steps keep it. Numbers of its chunks can then be added up in 32 bits.
    pub(super) fn of(algo: &Algo, collective: Collective) -> Result<Self, Excess> {
        let limit = Self { most: FLOOR.max((algo.steps() as u64).saturating_mul(PER_STEP)).min(u32::MAX.into()) };
        let buffers = |gpu| [Memory::Input, Memory::Output].map(|memory| chunks(algo, gpu, collective, memory).into());
        limit.keep(Amount::Buffers, algo.gpus.iter().flat_map(buffers))?;
        let steps = algo.gpus.iter().flat_map(|gpu| &gpu.blocks).flat_map(|block| &block.steps);
        limit.keep(Amount::Moved, steps.map(|step| step.count.into()))?;
        Ok(limit)
    }

    /// Refuses more.
    pub(super) fn keep(&self, of: Amount, chunks: impl IntoIterator<Item = u64>) -> Result<(), Excess> {
        match chunks.into_iter().fold(0, u64::saturating_add) {
            chunks if chunks > self.most => Err(Excess { of, chunks, most: self.most }),
            _ => Ok(()),
        }
    }
}
