//! How a launch is partitioned: workgroups, pieces of the payload, channels and dispatches, within a device's limits.
//!
//! All limits act on each other, so they are settled in one place, before any word is written.

use super::arena::{Arena, Pieces};
use super::code::Code;
use super::error::LowerError;
use super::mode::Mode;
use super::plan::Plan;
use super::request::Request;
use super::target::Limits;
use super::tuning::Tuning;
use super::words::Hosting;
use crate::payload::{Payload, VECTOR_BYTES};
use crate::proof::Proved;
use crate::schedule::Schedule;

/// Lanes that a workgroup hosts in one dispatch, at most: cores that end loops silently leave each of them a part of their
/// turns, which must be enough for an instruction. Of more lanes, dispatches take some after the others.
const MOST_HOSTED: u32 = 32;
/// Workgroups of a channel that a device is tried to run at the same time. More lanes than that share them.
pub(super) const MOST_HOSTS: u32 = 256;

/// How the lanes of `schedule` are shared out.
pub(super) fn hosting(schedule: &Schedule, mode: Mode, workgroups: Option<u32>) -> Hosting {
    let lanes_of = |rank| schedule.lanes.iter().filter(|lane| lane.rank == rank).count();
    // Lanes of the largest dispatch.
    let lanes = match mode {
        Mode::PerRank => (0..schedule.ranks).map(lanes_of).max().unwrap_or(0),
        Mode::PerStep | Mode::Fused => schedule.lanes.len(),
    };
    let lanes = lanes.max(1) as u32;
    let hosts = workgroups.unwrap_or(MOST_HOSTS).clamp(1, MOST_HOSTS).min(lanes);
    Hosting { hosts, hosted: lanes.div_ceil(hosts).min(MOST_HOSTED) }
}

/// Pieces, channels and dispatches that keep to the device's limits together.
pub(super) struct Partition {
    pub(super) pieces: Pieces,
    pub(super) arena: Arena,
    pub(super) plan: Plan,
}

/// What is to be partitioned.
pub(super) struct Whole<'a> {
    pub(super) proved: &'a Proved,
    pub(super) payload: &'a Payload,
    pub(super) code: &'a dyn Code,
    pub(super) tuning: &'a Tuning,
    pub(super) hosting: Hosting,
    pub(super) limits: &'a Limits,
    pub(super) request: &'a Request,
}

impl Whole<'_> {
    pub(super) fn partition(&self) -> Result<Partition, LowerError> {
        let Self { proved, payload, code, tuning, hosting, limits, request } = *self;
        // Either half of the arena may be as large as half of a buffer.
        let most_binding = limits.binding_bytes.min(tuning.arena_bytes);
        let half = limits.buffer_bytes / 2;
        let bytes = most_binding.min(request.arena_bytes.unwrap_or(u64::MAX)).min(half);
        let places = proved.address_map().len();
        let mut pieces = Pieces::fit(payload, places, bytes as usize).ok_or(LowerError::Places { places, bytes })?;
        pieces.piece_vectors = pieces.piece_vectors.min(code.most_vectors(most_binding.min(half))?);
        pieces.piece_vectors =
            request.piece_vectors.map_or(pieces.piece_vectors, |most| pieces.piece_vectors.min(most));

        // Signals of one channel bound the channels, and so do the workgroups of a dispatch.
        let (signals, lanes) = (code.signals(), proved.schedule().lanes.len() as u32);
        let most_channels =
            Arena::most_channels(signals, most_binding).min((limits.workgroups / hosting.hosts).into()) as u32;
        if most_channels == 0 {
            return Err(LowerError::Signals { signals, lanes });
        }
        let words = code.word_bytes();
        if words > most_binding {
            return Err(LowerError::Words { words, bytes: most_binding });
        }
        let limit = u64::from(tuning.numbers.turn_limit);
        loop {
            let vectors = pieces.piece_vectors;
            let wanted = request.channels.unwrap_or_else(|| tuning.channels(vectors * VECTOR_BYTES, hosting.hosts));
            let mut channels = wanted.clamp(1, most_channels).min(vectors.min(u32::MAX as usize) as u32);
            loop {
                let arena = code.arena(vectors, channels);
                match code.plan(request.mode, tuning, arena.slice_vectors(), limit) {
                    Ok(plan) => return Ok(Partition { pieces, arena, plan: plan.of_at_most(hosting.lanes()) }),
                    Err(_) if channels < most_channels && (channels as usize) < vectors => {
                        channels = (channels * 2).min(most_channels).min(vectors as u32);
                    }
                    Err(too_long) if vectors == 1 => return Err(too_long.into()),
                    Err(_) => break,
                }
            }
            pieces.piece_vectors = vectors.div_ceil(2);
        }
    }
}
