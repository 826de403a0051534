//! How a launch is cut: dispatch mode, pieces of the payload, channels and dispatches, within a device's limits.
//!
//! All limits act on each other, so they are settled in one place, before any buffer is made.

use super::adapter::Support;
use super::device::Gpu;
use super::flow::Flow;
use super::kernel::TURN_LIMIT;
use super::launch::{Choice, LaunchError, Options};
use super::ll_program::LlProgram;
use super::program::Program;
use super::tuning::Tuning;
use crate::lower::arena::{Arena, Pieces};
use crate::lower::plan::{Mode, Plan};
use crate::payload::{Payload, VECTOR_BYTES};
use crate::proof::Proved;

pub(super) fn choose_mode(gpu: &Gpu, proved: &Proved, choice: Choice) -> Result<Mode, LaunchError> {
    match choice {
        Choice::Named(mode) if mode.is_fused() => {
            let unsound = |reason| LaunchError::Unsound { mode, device: gpu.info().title(), reason };
            match gpu.info().support(mode) {
                Support::Unsound(reason) => Err(unsound(reason)),
                Support::Sound => gpu.fused_probe(mode).map(|_| mode).map_err(unsound),
            }
        }
        Choice::Named(mode) => Ok(mode),
        Choice::Auto => {
            let fused = gpu.info().support(Mode::Fused) == Support::Sound;
            // On cores the workgroups of a launch hardly ever run together: fused would step as well, and spin between.
            let lanes = proved.schedule().lanes.len() as u32;
            let together =
                || gpu.fused_probe(Mode::Fused).is_ok_and(|probe| probe.in_one_dispatch) && gpu.runs_together(lanes);
            if fused && !gpu.info().is_software() && together() {
                return Ok(Mode::Fused);
            }
            let dispatches =
                |mode| Plan::new(proved, mode, |_| 0, u64::MAX).map_or(usize::MAX, |plan| plan.dispatches.len());
            Ok(if dispatches(Mode::PerStep) <= dispatches(Mode::PerRank) { Mode::PerStep } else { Mode::PerRank })
        }
    }
}

/// Pieces, channels and dispatches that keep to the device's limits together.
pub(super) struct Cut {
    pub(super) pieces: Pieces,
    pub(super) arena: Arena,
    pub(super) plan: Plan,
    /// What runs in place of the schedule's instructions in fused-ll.
    pub(super) flow: Option<Flow>,
}

pub(super) fn cut(
    gpu: &Gpu,
    proved: &Proved,
    payload: &Payload,
    tuning: &Tuning,
    options: &Options,
) -> Result<Cut, LaunchError> {
    let schedule = proved.schedule();
    let flow = match tuning.mode {
        Mode::FusedLl => Some(Flow::new(proved).map_err(|shared| LaunchError::Unsound {
            mode: tuning.mode,
            device: gpu.info().title(),
            reason: shared.to_string(),
        })?),
        _ => None,
    };
    let signals = if flow.is_some() { 0 } else { proved.graph().cells() };
    let too_large = |what: String| LaunchError::TooLarge { ranks: schedule.ranks, device: gpu.info().title(), what };
    let limits = &gpu.limits;
    let most_binding = limits.max_storage_buffer_binding_size.min(tuning.arena_bytes);
    let most_vectors = most_binding.min(options.arena_bytes.unwrap_or(u64::MAX)).min(limits.max_buffer_size / 2);
    let places = proved.address_map().len();
    let mut pieces = Pieces::fit(payload, places, most_vectors as usize)
        .ok_or_else(|| too_large(format!("{places} chunk slices do not fit a binding of {most_vectors} bytes")))?;
    if let Some(Flow { lines, .. }) = flow {
        let most = Arena::most_line_vectors(lines, most_binding.min(limits.max_buffer_size / 2)) as usize;
        if most == 0 {
            return Err(too_large(format!("{lines} lines do not fit a binding of {most_binding} bytes")));
        }
        pieces.piece_vectors = pieces.piece_vectors.min(most);
    }

    // Signals of one channel bound the channels, and so do the workgroups of a dispatch.
    let lanes = schedule.lanes.len().max(1) as u32;
    let most_workgroups = limits.max_compute_workgroups_per_dimension / lanes;
    let most_channels = Arena::most_channels(signals, most_binding).min(most_workgroups.into()) as u32;
    if most_channels == 0 {
        return Err(too_large(format!("{signals} signals in {lanes} lanes are above the device's limits")));
    }
    let words = flow.as_ref().map_or_else(|| Program::bytes(schedule), LlProgram::bytes);
    if words > most_binding {
        return Err(too_large(format!("its signals take {words} bytes of program, a binding holds {most_binding}")));
    }
    loop {
        let vectors = pieces.piece_vectors;
        let wanted = options.channels.unwrap_or_else(|| tuning.channels(vectors * VECTOR_BYTES, lanes));
        let mut channels = wanted.clamp(1, most_channels).min(vectors.min(u32::MAX as usize) as u32);
        loop {
            let mut arena = Arena::new(proved.address_map(), signals, vectors, channels);
            let slice_vectors = (vectors as u64).div_ceil(channels.into());
            let plan = if let Some(flow) = &flow {
                arena = arena.with_lines(flow.lines);
                flow.plan(proved, |this| tuning.move_turns(this, slice_vectors), TURN_LIMIT.into())
            } else {
                Plan::new(proved, tuning.mode, |i| tuning.turns(i, slice_vectors), TURN_LIMIT.into())
            };
            match plan {
                Ok(plan) => return Ok(Cut { pieces, arena, plan, flow }),
                Err(_) if channels < most_channels && (channels as usize) < vectors => {
                    channels = (channels * 2).min(most_channels).min(vectors as u32);
                }
                Err(too_long) if vectors == 1 => return Err(too_large(too_long.to_string())),
                Err(_) => break,
            }
        }
        pieces.piece_vectors = vectors.div_ceil(2);
    }
}
