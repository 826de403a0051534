//! The numbers that differ between device classes, and what an instruction costs in loop turns under them.
//!
//! Software adapters run one vector of invocations at a time and gain nothing from waiting; hardware is the reverse.

use super::device::Gpu;
use super::flow::{Move, Operand};
use super::kernel::{Interpreter, Shape};
use crate::lower::plan::Mode;
use crate::schedule::Instruction;

/// What differs between devices that run workgroups on cores and those that have hardware for it.
pub(super) struct Tuning {
    software: bool,
    pub(super) mode: Mode,
    pub(super) shape: Shape,
    grains: &'static [Grain],
    /// Most bytes of an arena: keeps one submission far below the watchdogs of desktop systems, and memory bounded.
    pub(super) arena_bytes: u64,
}

/// How small slices may become for more workgroups.
#[derive(Debug, Clone, Copy)]
struct Grain {
    /// Bytes of a chunk that make another channel worth while,
    slice_bytes: usize,
    /// up to so many workgroups.
    workgroups: u32,
}

/// By what was measured on lavapipe and SwiftShader.
const SOFTWARE: [Grain; 1] = [Grain { slice_bytes: 64 << 10, workgroups: 64 }];
/// By what was measured on an H200 (`benches/results/2026-11-27-h200/tuning.md`): slices of a vector for each invocation until all
/// multiprocessors are filled, and of four to hide latency where there is enough for even more workgroups.
const HARDWARE: [Grain; 2] =
    [Grain { slice_bytes: 4 << 10, workgroups: 1024 }, Grain { slice_bytes: 16 << 10, workgroups: 2048 }];
/// Not measured yet. The same by vectors for each invocation, of which workgroups have fewer, because nothing is gained from
/// more: they share no barrier.
const HARDWARE_LL: [Grain; 2] =
    [Grain { slice_bytes: 1 << 10, workgroups: 1024 }, Grain { slice_bytes: 4 << 10, workgroups: 2048 }];

impl Tuning {
    pub(super) fn of(gpu: &Gpu, mode: Mode) -> Self {
        Self::new(gpu, mode, gpu.info().is_software())
    }

    pub(super) fn new(gpu: &Gpu, mode: Mode, software: bool) -> Self {
        let most = gpu.limits.max_compute_invocations_per_workgroup.min(gpu.limits.max_compute_workgroup_size_x);
        if software {
            // A spinning workgroup only keeps the notifier from running.
            let polls = if mode.is_fused() { 16 } else { 1 };
            let workgroup = most.min(8);
            Self {
                software,
                mode,
                shape: Shape { workgroup, group: workgroup, polls },
                grains: &SOFTWARE,
                arena_bytes: 512 << 20,
            }
        } else {
            let polls = if mode.is_fused() { 1 << 14 } else { 1 };
            let (workgroup, grains) = match mode {
                Mode::FusedLl => (most.min(64), &HARDWARE_LL),
                _ => (most.min(256), &HARDWARE),
            };
            Self {
                software,
                mode,
                shape: Shape { workgroup, group: workgroup, polls },
                grains,
                arena_bytes: if gpu.info().kind == "discrete" { 1 << 30 } else { 512 << 20 },
            }
        }
    }

    /// Channels for chunks of `chunk_bytes` in so many lanes.
    pub(super) fn channels(&self, chunk_bytes: usize, lanes: u32) -> u32 {
        channels(self.grains, chunk_bytes, lanes)
    }

    /// Barriers cost cores more than what they would spread over a workgroup.
    pub(super) fn interpreter(&self) -> Interpreter {
        match (self.mode, self.software) {
            (Mode::Fused, _) => Interpreter::Fused,
            (Mode::FusedLl, _) => Interpreter::FusedLl,
            (_, true) => Interpreter::Stepped,
            (_, false) => Interpreter::Spread,
        }
    }

    /// WGSL lets compilers change the order of sums. Those of software adapters do not, as every test of them shows.
    pub(super) fn opaque(&self) -> bool {
        !self.software
    }

    /// Loop turns that an instruction costs an invocation at most, when a channel has `slice_vectors` of every chunk.
    ///
    /// llvmpipe counts a turn or two for every loop that the kernel has, also those on branches not taken, because it
    /// executes both sides under a mask. Measured on Mesa 22.3.6, by where a long lane was cut off: 17 for an instruction
    /// of one chunk of one vector. The numbers here leave room above that; a test of long lanes holds them to it.
    pub(super) fn turns(&self, instruction: &Instruction, slice_vectors: u64) -> u64 {
        let Shape { workgroup, group, .. } = self.shape;
        let part = slice_vectors.div_ceil(u64::from(workgroup / group));
        let each = |n: usize| (n as u64).div_ceil(workgroup.into());
        // Every further operand or destination is a turn for every vector, and so is the end of either loop.
        let more = instruction.from.len().saturating_sub(1) + instruction.to.len().saturating_sub(1);
        let each_vector = if more > 0 { more as u64 + 8 } else { 1 };
        let moves = u64::from(instruction.chunks) * (part.div_ceil(group.into()) * each_vector + 14);
        let polls = self.counted_polls();
        10 + moves + each(instruction.waits.len()) * (2 + polls) + each(instruction.notifies.len()) * 2
    }

    /// The same for each vector that a move is for an invocation.
    pub(super) fn vector_turns(&self, this: &Move) -> u64 {
        let lines = this.from.iter().filter(|operand| matches!(operand, Operand::Line(_))).count() as u64;
        let more = this.from.len().saturating_sub(2) + this.to.len().saturating_sub(1);
        16 + lines * (2 + self.counted_polls()) + more as u64 * 6
    }

    /// The same for a move.
    pub(super) fn move_turns(&self, this: &Move, slice_vectors: u64) -> u64 {
        slice_vectors.div_ceil(self.shape.workgroup.into()) * self.vector_turns(this)
    }

    /// Hardware has no limit of turns, and its long waits must not count as work.
    fn counted_polls(&self) -> u64 {
        if self.software { self.shape.polls.into() } else { 0 }
    }
}

fn channels(grains: &[Grain], chunk_bytes: usize, lanes: u32) -> u32 {
    let most = |grain: &Grain| (grain.workgroups / lanes.max(1)) as usize;
    grains.iter().map(|grain| chunk_bytes.div_ceil(grain.slice_bytes).min(most(grain)) as u32).max().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_grow_with_the_chunk_up_to_what_fills_the_device() {
        for (grains, chunk_bytes, lanes, expected) in [
            (&SOFTWARE[..], 16, 4, 1),
            (&SOFTWARE, 256 << 10, 4, 4),
            (&SOFTWARE, 64 << 20, 4, 16),
            (&SOFTWARE, 64 << 20, 256, 1),
            (&HARDWARE, 0, 2, 1),
            (&HARDWARE, 512, 2, 1),
            (&HARDWARE, 64 << 10, 8, 16),
            (&HARDWARE, 1 << 20, 8, 128),
            (&HARDWARE, 4 << 20, 8, 256),
            (&HARDWARE, 32 << 20, 2, 1024),
            (&HARDWARE, 32 << 20, 256, 8),
            (&HARDWARE_LL, 128, 8, 1),
            (&HARDWARE_LL, 8 << 10, 8, 8),
            (&HARDWARE_LL, 1 << 20, 8, 256),
        ] {
            assert_eq!(channels(grains, chunk_bytes, lanes), expected, "{chunk_bytes} bytes, {lanes} lanes");
        }
    }
}
