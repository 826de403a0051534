//! The numbers that differ between device classes, and what an instruction costs in loop turns under them.
//!
//! Software adapters run one vector of invocations at a time and gain nothing from waiting; hardware is the reverse.

use super::dataflow::{Move, Operand};
use super::kernel::Numbers;
use super::mode::Mode;
use super::source::Interpreter;
use super::target::{DeviceClass, Target};
use crate::schedule::Instruction;

/// What differs between devices that run workgroups on cores and those that have hardware for it.
pub(super) struct Tuning {
    software: bool,
    pub(super) interpreter: Interpreter,
    pub(super) numbers: Numbers,
    grains: &'static [Grain],
    /// Most bytes of an arena: keeps one submission far below the watchdogs of desktop systems, and memory bounded.
    pub(super) arena_bytes: u64,
}

/// How small slices may become for more workgroups.
#[derive(Debug, Clone, Copy)]
struct Grain {
    /// Bytes of a chunk that make another channel worth while.
    slice_bytes: usize,
    /// Most workgroups that channels are added for.
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

/// Loop turns of one invocation in one dispatch: below llvmpipe's silent limit of 65535, with room for the host's
/// estimate of the loops around the loops.
const TURN_LIMIT: u32 = 60_000;
/// Of these, what it takes to look at a lane where there are several.
const VISIT: u32 = 20;
/// Polls of a wait where there are other lanes to go on with, on hardware; and passes without progress that make up for
/// them.
const FEW_POLLS: u32 = 16;
const IDLE: u32 = 1 << 10;
const POLLS: u32 = 1 << 14;
/// More than a dispatch needs: turns end it before.
const PASSES: u32 = 1 << 16;

impl Tuning {
    /// For `hosted` lanes in a workgroup.
    pub(super) fn new(target: &Target, mode: Mode, interpreter: Interpreter, hosted: u32) -> Self {
        let (most, alone, fused) = (target.limits.invocations, hosted <= 1, mode == Mode::Fused);
        let software = target.class.is_software();
        let turn_limit = if alone { TURN_LIMIT } else { (TURN_LIMIT / hosted).saturating_sub(VISIT) };
        let (workgroup, polls, passes, grains): (u32, u32, u32, &[Grain]) = match (software, interpreter) {
            // A spinning workgroup only keeps the notifier from running.
            (true, _) => (most.min(8), if fused && alone { 16 } else { 1 }, 1, &SOFTWARE),
            (false, _) if !fused => (most.min(256), 1, 1, &HARDWARE),
            (false, Interpreter::FusedLl) => {
                (most.min(64), if alone { POLLS } else { FEW_POLLS }, PASSES, &HARDWARE_LL)
            }
            (false, _) => (most.min(256), if alone { POLLS } else { FEW_POLLS }, PASSES, &HARDWARE),
        };
        let passes = if alone { 1 } else { passes };
        // On cores, of invocations that walk together but do not run as one, the first go through all of a slice before the others
        // do, which then find it no longer in the first cache: SwiftShader took 1.2 times as long from 4 MiB on.
        let as_one = target.subgroup.filter(|&as_one| software && as_one > 0 && workgroup.is_multiple_of(as_one));
        let group = as_one.unwrap_or(workgroup);
        Self {
            software,
            interpreter,
            numbers: Numbers { workgroup, group, polls, hosted, passes, idle: IDLE, turn_limit },
            grains,
            arena_bytes: if target.class == DeviceClass::Discrete { 1 << 30 } else { 512 << 20 },
        }
    }

    /// Channels for chunks of `chunk_bytes`, where each channel takes this number of workgroups.
    pub(super) fn channels(&self, chunk_bytes: usize, hosts: u32) -> u32 {
        channels(self.grains, chunk_bytes, hosts)
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
        let Numbers { workgroup, group, .. } = self.numbers;
        let part = slice_vectors.div_ceil(u64::from(workgroup / group));
        // One invocation alone waits and notifies in steps on cores.
        let waiters = if self.interpreter == Interpreter::Stepped { 1 } else { u64::from(workgroup) };
        let each = |n: usize| (n as u64).div_ceil(waiters);
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
        slice_vectors.div_ceil(self.numbers.workgroup.into()) * self.vector_turns(this)
    }

    /// Hardware has no limit of turns, and its long waits must not count as work.
    fn counted_polls(&self) -> u64 {
        if self.software { self.numbers.polls.into() } else { 0 }
    }
}

fn channels(grains: &[Grain], chunk_bytes: usize, hosts: u32) -> u32 {
    let most = |grain: &Grain| (grain.workgroups / hosts.max(1)) as usize;
    grains.iter().map(|grain| chunk_bytes.div_ceil(grain.slice_bytes).min(most(grain)) as u32).max().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each group walks a part of its own, so groups are whole subgroups; and workgroups are whole groups.
    #[test]
    fn on_cores_a_subgroup_walks_alone() {
        use crate::lower::target::Limits;
        for (class, invocations, subgroup, numbers) in [
            (DeviceClass::Software, 256, Some(4), (8, 4)),
            (DeviceClass::Software, 256, Some(8), (8, 8)),
            (DeviceClass::Software, 256, Some(16), (8, 8)),
            (DeviceClass::Software, 6, Some(4), (6, 6)),
            (DeviceClass::Software, 256, Some(0), (8, 8)),
            (DeviceClass::Software, 256, None, (8, 8)),
            (DeviceClass::Discrete, 256, Some(32), (256, 256)),
        ] {
            let limits = Limits { invocations, ..Limits::WEBGPU };
            let target = Target::new(class, limits, None).subgroup(subgroup);
            let Numbers { workgroup, group, .. } = Tuning::new(&target, Mode::PerStep, Interpreter::Stepped, 1).numbers;
            assert_eq!((workgroup, group), numbers, "{class} {invocations} {subgroup:?}");
        }
    }

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
