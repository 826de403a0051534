//! The numbers that differ between device classes, and what an instruction costs in loop turns under them.
//!
//! Software adapters run one vector of invocations at a time and gain nothing from waiting; hardware is the reverse.

use super::device::Gpu;
use super::kernel::{Interpreter, Shape};
use crate::plan::Mode;
use crate::schedule::Instruction;

/// What differs between devices that run workgroups on cores and those that have hardware for it.
pub(super) struct Tuning {
    software: bool,
    pub(super) mode: Mode,
    pub(super) shape: Shape,
    /// Bytes of a chunk that make another channel worth while.
    pub(super) slice_bytes: usize,
    /// Workgroups beyond which more channels only cost.
    pub(super) workgroups: u32,
}

impl Tuning {
    pub(super) fn of(gpu: &Gpu, mode: Mode) -> Self {
        Self::new(gpu, mode, gpu.info().is_software())
    }

    pub(super) fn new(gpu: &Gpu, mode: Mode, software: bool) -> Self {
        let most = gpu.limits.max_compute_invocations_per_workgroup.min(gpu.limits.max_compute_workgroup_size_x);
        if software {
            // A spinning workgroup only keeps the notifier from running.
            let polls = if mode == Mode::Fused { 16 } else { 1 };
            let workgroup = most.min(8);
            Self {
                software,
                mode,
                shape: Shape { workgroup, group: workgroup, polls },
                slice_bytes: 64 << 10,
                workgroups: 64,
            }
        } else {
            let polls = if mode == Mode::Fused { 1 << 14 } else { 1 };
            let workgroup = most.min(256);
            Self {
                software,
                mode,
                shape: Shape { workgroup, group: workgroup, polls },
                slice_bytes: 16 << 10,
                workgroups: 256,
            }
        }
    }

    /// Barriers cost cores more than what they would spread over a workgroup.
    pub(super) fn interpreter(&self) -> Interpreter {
        match (self.mode, self.software) {
            (Mode::Fused, _) => Interpreter::Fused,
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
        let Shape { workgroup, group, polls } = self.shape;
        let part = slice_vectors.div_ceil(u64::from(workgroup / group));
        let each = |n: usize| (n as u64).div_ceil(workgroup.into());
        // Every further operand or destination is a turn for every vector, and so is the end of either loop.
        let more = instruction.from.len().saturating_sub(1) + instruction.to.len().saturating_sub(1);
        let each_vector = if more > 0 { more as u64 + 8 } else { 1 };
        let moves = u64::from(instruction.chunks) * (part.div_ceil(group.into()) * each_vector + 14);
        // Hardware has no such limit, and its long waits must not count as work.
        let polls = if self.software { u64::from(polls) } else { 0 };
        10 + moves + each(instruction.waits.len()) * (2 + polls) + each(instruction.notifies.len()) * 2
    }
}
