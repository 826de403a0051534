//! The words that every interpreter is told beside its program, as `shaders/place.wgsl` declares them.
//!
//! Host and shader call them the same; a test compares the two member by member, so neither can change alone.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::arena::{Arena, BINDING_ALIGN};
use super::mode::Mode;
use super::plan::{Dispatch, Plan};
use crate::collective::Op;
use crate::element::numeric::Numeric;
use crate::element::{DataType, Element, dispatch, scale};

/// Numbers of launches in use. What is left of an earlier launch is mistaken for the present one only if just as many lie
/// between.
pub const NUMBERS: u32 = 255;

/// One dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs, reason = "the shader says what each member is")]
pub struct Params {
    pub row: u32,
    pub first_lane: u32,
    pub lanes: u32,
    pub hosts: u32,
    pub all_lanes: u32,
    pub chunk_stride: u32,
    pub chunk_vectors: u32,
    pub slice_vectors: u32,
    pub channel_signals: u32,
    pub scale_low: u32,
    pub scale_high: u32,
    pub zero: u32,
}

/// How far a (lane, channel) got, in which launch: the device's own count of them, and the host's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs, reason = "the shader says what each member is")]
pub struct Progress {
    pub next: u32,
    pub launches: u32,
    pub number: u32,
}

/// What a dispatch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs, reason = "the shader says what it is")]
pub struct Launch {
    pub number: u32,
}

/// How lanes of a dispatch are shared out among workgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hosting {
    /// Most workgroups of a channel.
    pub(super) hosts: u32,
    /// Most lanes that one of them hosts in a dispatch.
    pub(super) hosted: u32,
}

impl Hosting {
    /// Workgroups of a channel of this dispatch.
    pub(super) fn of(self, dispatch: &Dispatch) -> u32 {
        dispatch.lanes.min(self.hosts)
    }

    /// Most lanes of a dispatch.
    pub(super) fn lanes(self) -> u32 {
        self.hosts.saturating_mul(self.hosted)
    }
}

/// What all rows of [`Params`] have in common.
pub(super) struct Common<'a> {
    pub(super) plan: &'a Plan,
    pub(super) arena: &'a Arena,
    pub(super) hosting: Hosting,
    pub(super) scale: [u32; 2],
}

impl Common<'_> {
    /// Rows for pieces of these lengths, in vectors of a chunk, and one for a lane that has nothing to do.
    pub(super) fn params(&self, lengths: [u32; 2]) -> Vec<u32> {
        let rows = rows(self.plan) as u32;
        let nothing = Dispatch { number: 0, first_lane: 0, lanes: 1 };
        let row = |number: usize| (number as u32).min(rows.saturating_sub(1));
        let of_length = |&vectors: &u32| {
            self.plan.dispatches.iter().enumerate().map(move |(i, dispatch)| (row(i), dispatch, vectors))
        };
        let all = lengths.iter().flat_map(of_length).chain([(rows, &nothing, 0)]);
        aligned(all.map(|(row, dispatch, vectors)| self.row(row, dispatch, vectors)))
    }

    fn row(&self, row: u32, dispatch: &Dispatch, chunk_vectors: u32) -> Params {
        let arena = self.arena;
        Params {
            row,
            first_lane: dispatch.first_lane,
            lanes: dispatch.lanes,
            hosts: self.hosting.of(dispatch),
            all_lanes: self.plan.lanes.len() as u32,
            chunk_stride: arena.chunk_vectors as u32,
            chunk_vectors,
            slice_vectors: (arena.chunk_vectors as u32).div_ceil(arena.channels),
            channel_signals: arena.channel_signals() as u32,
            scale_low: self.scale[0],
            scale_high: self.scale[1],
            zero: 0,
        }
    }
}

/// Of a dispatch that begins nothing, then of those that begin a launch of each number.
pub(super) fn launches() -> Vec<u32> {
    aligned((0..=NUMBERS).map(|number| Launch { number }))
}

/// Rows that a dynamic offset can name.
fn aligned<R: Pod>(rows: impl Iterator<Item = R>) -> Vec<u32> {
    let mut words = Vec::new();
    for row in rows {
        let start = words.len();
        words.extend_from_slice(bytemuck::cast_slice(&[row]));
        words.resize(start + BINDING_ALIGN / size_of::<u32>(), 0);
    }
    words
}

/// Rows of `starts` that have something to do: in fused mode all dispatches go by one.
fn rows(plan: &Plan) -> usize {
    let dispatches = plan.dispatches.len();
    if plan.mode == Mode::Fused { dispatches.min(1) } else { dispatches }
}

/// The first instruction of every lane in every dispatch, lanes fastest. Two rows follow, both with the lanes' ends: one ends
/// the last dispatch, and both together are a dispatch that has nothing to do. All dispatches of fused mode are one row. `lanes` are the instructions of every lane, in the plan's order.
pub(super) fn starts(plan: &Plan, lanes: &[Range<u32>]) -> Vec<u32> {
    let mut row: Vec<u32> = lanes.iter().map(|lane| lane.start).collect();
    let mut starts = row.clone();
    if plan.mode == Mode::Fused {
        starts.extend(lanes.iter().map(|lane| lane.end));
        starts.extend(lanes.iter().map(|lane| lane.end));
        return starts;
    }
    for dispatch in &plan.dispatches {
        let taking_part = dispatch.first_lane as usize..(dispatch.first_lane + dispatch.lanes) as usize;
        for (lane, next) in taking_part.clone().zip(&mut row[taking_part]) {
            let numbers = &plan.numbers[plan.lanes[lane] as usize];
            *next = lanes[lane].start + numbers.partition_point(|&number| number <= dispatch.number) as u32;
        }
        starts.extend_from_slice(&row);
    }
    starts.extend_from_slice(&row);
    starts
}

/// As many elements of one value as two words hold.
fn two_words<T: Element>(value: T) -> [u32; 2] {
    let bytes = bytemuck::bytes_of(&value);
    [0, 4].map(|start| u32::from_ne_bytes(std::array::from_fn(|i| bytes[(start + i) % bytes.len()])))
}

/// What contributions are multiplied by; of no use to operations that do not scale.
pub(super) fn scale_words(data_type: DataType, op: Op, ranks: u32) -> [u32; 2] {
    dispatch!(data_type, T => scale::<T>(op, ranks).map_or([0; 2], two_words))
}

/// The word that outputs and slots are filled with before a launch, so that nothing stale can pass.
pub fn poison(data_type: DataType) -> u32 {
    dispatch!(data_type, T => two_words(T::poison())[0])
}
