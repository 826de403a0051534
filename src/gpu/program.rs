//! A proved schedule as the words that `shaders/program.wgsl` and `shaders/place.wgsl` declare. No wgpu type: data in, data out.
//!
//! The layouts here and in the shader are compared by a test, so neither can change alone.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use rustc_hash::FxHashMap;

use crate::element::Element;
use crate::fault::Fault;
use crate::lower::arena::Arena;
use crate::lower::plan::{Dispatch, Plan};
use crate::proof::Proved;
use crate::schedule::{Address, Buffer, Instruction, Schedule};

/// `Instruction.kind` in the shader.
const NOTHING: u32 = 0;
const COPY: u32 = 1;
const REDUCE: u32 = 2;
const UNROLLED: u32 = 3;
const OTHER: u32 = 4;
/// Operands, and destinations, for which the shader has lines of text.
const MOST_UNROLLED: u32 = 16;
/// Links behind the last that the unrolled kind may read.
const PADDING: usize = 2 * MOST_UNROLLED as usize;

/// `Params` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub(super) row: u32,
    pub(super) first_lane: u32,
    pub(super) lanes: u32,
    pub(super) all_lanes: u32,
    pub(super) chunk_stride: u32,
    pub(super) chunk_vectors: u32,
    pub(super) slice_vectors: u32,
    pub(super) channel_signals: u32,
    pub(super) scale_low: u32,
    pub(super) scale_high: u32,
    pub(super) zero: u32,
    unused: u32,
}

/// `Instruction` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Word {
    kind: u32,
    chunks: u32,
    operand: u32,
    destination: u32,
    first_wait: u32,
    end_wait: u32,
    end_notify: u32,
    end_operand: u32,
    end_destination: u32,
    turns: u32,
    inputs: u32,
    awaited: Link,
    notified: u32,
    second: u32,
}

/// `Link` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Link {
    index: u32,
    at_least: u32,
    each: u32,
}

/// `Progress` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Progress {
    pub(super) next: u32,
    pub(super) launches: u32,
    pub(super) number: u32,
}

/// `Launch` in the shader, as long as a uniform binding should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Begin {
    pub(super) number: u32,
    pub(super) unused: [u32; 3],
}

/// Which ways of moving data a schedule has; what it does not have is left out of its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Moves {
    pub(super) copies: bool,
    pub(super) reductions: bool,
    /// Operands and destinations that are written out, where the schedule has any such instruction.
    pub(super) unrolled: (u32, u32),
    pub(super) others: bool,
}

impl Moves {
    /// Writes out the shape that moves most chunks.
    pub(super) fn of(schedule: &Schedule) -> Self {
        let mut moves = Self::default();
        let mut wide = FxHashMap::<(u32, u32), u64>::default();
        for instruction in schedule.lanes.iter().flat_map(|lane| &lane.instructions) {
            match (instruction.from.len() as u32, instruction.to.len() as u32) {
                (0, _) | (_, 0) => {}
                (1, 1) => moves.copies = true,
                (2, 1) => moves.reductions = true,
                shape => *wide.entry(shape).or_default() += u64::from(instruction.chunks),
            }
        }
        let fits = |&(from, to): &(u32, u32)| from <= MOST_UNROLLED && to <= MOST_UNROLLED;
        let most = wide.iter().filter(|(shape, _)| fits(shape)).max_by_key(|&(shape, chunks)| (chunks, shape));
        moves.unrolled = most.map_or((0, 0), |(&shape, _)| shape);
        moves.others = wide.keys().any(|&shape| shape != moves.unrolled);
        moves
    }

    fn kind(&self, instruction: &Instruction) -> u32 {
        match (instruction.from.len() as u32, instruction.to.len() as u32) {
            (0, _) | (_, 0) => NOTHING,
            (1, 1) => COPY,
            (2, 1) => REDUCE,
            shape if shape == self.unrolled => UNROLLED,
            _ => OTHER,
        }
    }
}

/// What a device needs to execute a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// One more than there are, because the shader reads ahead.
    pub(super) instructions: Vec<Word>,
    pub(super) links: Vec<Link>,
    /// Instructions of every lane, in the plan's order.
    pub(super) lanes: Vec<Range<u32>>,
    /// Where every lane starts in every dispatch, lanes fastest, where it ends in the last, and that again: the last row has
    /// nothing to do. All dispatches of fused mode are one row.
    pub(super) starts: Vec<u32>,
}

impl Program {
    /// Bytes of the largest buffer that the program of `schedule` takes.
    pub(super) fn bytes(schedule: &Schedule) -> u64 {
        let instructions = || schedule.lanes.iter().flat_map(|lane| &lane.instructions);
        let links: usize = instructions().map(|i| i.waits.len() + i.notifies.len() + i.from.len() + i.to.len()).sum();
        ((links + PADDING) * size_of::<Link>()).max((instructions().count() + 1) * size_of::<Word>()) as u64
    }

    /// Encodes `proved` for `plan` over `arena`. Every index fits 32 bits, because a binding is below 4 GiB.
    pub(super) fn new(
        proved: &Proved,
        moves: Moves,
        plan: &Plan,
        arena: &Arena,
        turns: impl Fn(&Instruction) -> u64,
        fault: Option<Fault>,
    ) -> Self {
        let (schedule, graph) = (proved.schedule(), proved.graph());
        let (mut instructions, mut links, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        for &lane_index in &plan.lanes {
            let lane = &schedule.lanes[lane_index as usize];
            let first = instructions.len() as u32;
            for (id, instruction) in graph.lane(lane_index).zip(&lane.instructions) {
                let first_wait = links.len() as u32;
                links.extend(graph.waits_of(id).iter().map(|wait| Link {
                    index: wait.cell,
                    at_least: wait.at_least,
                    each: graph.notifiers_of(wait.cell).len() as u32,
                }));
                let end_wait = links.len() as u32;
                let kept = graph.notifies_of(id).iter().filter(|&&cell| {
                    let signal = graph.signal(cell);
                    !fault.is_some_and(|fault| fault.drops(signal.sender, signal.row))
                });
                links.extend(kept.map(|&cell| Link { index: cell, at_least: 0, each: 0 }));
                let end_notify = links.len() as u32;
                let vector = |address: &Address| arena.vector(*address) as u32;
                let is_input = |address: &Address| u32::from(address.buffer == Buffer::Input);
                let with_input = |bits, (i, from): (u32, &Address)| bits | is_input(from) << i;
                let operand = |from| Link { index: vector(from), at_least: is_input(from), each: 0 };
                let destination = |to| Link { index: vector(to), at_least: 0, each: 0 };
                links.extend(instruction.from.iter().skip(1).map(operand));
                let end_operand = links.len() as u32;
                links.extend(instruction.to.iter().skip(1).map(destination));
                let first_of = |range: Range<u32>| links[range.start as usize..range.end as usize].first().copied();
                instructions.push(Word {
                    kind: moves.kind(instruction),
                    chunks: instruction.chunks,
                    operand: instruction.from.first().map_or(0, vector),
                    destination: instruction.to.first().map_or(0, vector),
                    first_wait,
                    end_wait,
                    end_notify,
                    end_operand,
                    end_destination: links.len() as u32,
                    turns: turns(instruction) as u32,
                    inputs: (0..).zip(instruction.from.iter().take(MOST_UNROLLED as usize)).fold(0, with_input),
                    awaited: first_of(first_wait..end_wait).unwrap_or_default(),
                    notified: first_of(end_wait..end_notify).map_or(0, |link| link.index),
                    second: first_of(end_notify..end_operand).map_or(0, |link| link.index),
                });
            }
            lanes.push(first..instructions.len() as u32);
        }
        // The unrolled kind reads a fixed number of links, whatever their number.
        links.resize(links.len() + PADDING, Link::default());
        instructions.push(Word::zeroed());
        let starts = starts(plan, &lanes);
        Self { instructions, links, lanes, starts }
    }
}

/// As many elements of one value as two words hold.
pub(super) fn two_words<T: Element>(value: T) -> [u32; 2] {
    let bytes = bytemuck::bytes_of(&value);
    [0, 4].map(|start| u32::from_ne_bytes(std::array::from_fn(|i| bytes[(start + i) % bytes.len()])))
}

/// Rows of `starts` that have something to do: dispatches of fused mode are all the same.
pub(super) fn rows(plan: &Plan) -> usize {
    let dispatches = plan.dispatches.len();
    if plan.mode.is_fused() { dispatches.min(1) } else { dispatches }
}

pub(super) fn starts(plan: &Plan, lanes: &[Range<u32>]) -> Vec<u32> {
    let mut row: Vec<u32> = lanes.iter().map(|lane| lane.start).collect();
    let mut starts = row.clone();
    for dispatch in &plan.dispatches[..rows(plan)] {
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

impl Params {
    /// Dispatch `row` of the plan, over `chunk_vectors` vectors of every chunk; `scale` is of no use to operations that do
    /// not scale.
    pub(super) fn new(
        row: u32,
        dispatch: &Dispatch,
        all_lanes: u32,
        arena: &Arena,
        chunk_vectors: u32,
        [scale_low, scale_high]: [u32; 2],
    ) -> Self {
        Self {
            row,
            first_lane: dispatch.first_lane,
            lanes: dispatch.lanes,
            all_lanes,
            chunk_stride: arena.chunk_vectors as u32,
            chunk_vectors,
            slice_vectors: (arena.chunk_vectors as u32).div_ceil(arena.channels),
            channel_signals: arena.channel_signals() as u32,
            scale_low,
            scale_high,
            zero: 0,
            unused: 0,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::mem::offset_of;

    use super::*;
    use crate::gpu::sources;
    use crate::lower::plan::Mode;

    fn executor() -> naga::Module {
        let source = sources().into_iter().find(|source| source.name.starts_with("stepped"));
        naga::front::wgsl::parse_str(&source.unwrap().text).unwrap()
    }

    /// Name and offset of every member of a struct of the shader, and the struct's size.
    pub(in crate::gpu) fn layout(module: &naga::Module, name: &str) -> (Vec<(String, u32)>, u32) {
        let (_, found) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).unwrap();
        let naga::TypeInner::Struct { members, span } = &found.inner else { panic!("{name} is no struct") };
        (members.iter().map(|member| (member.name.clone().unwrap(), member.offset)).collect(), *span)
    }

    macro_rules! same_layout {
        ($module:expr, $shader:literal, $host:ident { $($member:ident),+ }) => {
            let (members, span) = layout(&$module, $shader);
            let host = vec![$((stringify!($member).to_owned(), offset_of!($host, $member) as u32)),+];
            assert_eq!((members, span), (host, size_of::<$host>() as u32), $shader);
        };
    }

    #[test]
    fn host_and_shader_agree_on_every_member() {
        let module = executor();
        same_layout!(
            module,
            "Params",
            Params {
                row,
                first_lane,
                lanes,
                all_lanes,
                chunk_stride,
                chunk_vectors,
                slice_vectors,
                channel_signals,
                scale_low,
                scale_high,
                zero,
                unused
            }
        );
        same_layout!(
            module,
            "Instruction",
            Word {
                kind,
                chunks,
                operand,
                destination,
                first_wait,
                end_wait,
                end_notify,
                end_operand,
                end_destination,
                turns,
                inputs,
                awaited,
                notified,
                second
            }
        );
        same_layout!(module, "Link", Link { index, at_least, each });
        same_layout!(module, "Progress", Progress { next, launches, number });
    }

    #[test]
    fn host_and_shader_agree_on_every_constant() {
        let module = executor();
        for (name, value) in
            [("NOTHING", NOTHING), ("COPY", COPY), ("REDUCE", REDUCE), ("UNROLLED", UNROLLED), ("OTHER", OTHER)]
        {
            let (_, constant) = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some(name)).unwrap();
            let literal = &module.global_expressions[constant.init];
            assert_eq!(*literal, naga::Expression::Literal(naga::Literal::U32(value)), "{name}");
        }
    }

    /// What an instruction carries beside its links is the first of each, and one instruction may be read ahead.
    #[test]
    fn instructions_carry_the_first_of_their_links() {
        use crate::collective::Collective;
        use crate::schedule::{Algorithm, SyncStyle, build};
        for (algorithm, sync) in [
            (Algorithm::Ring, SyncStyle::Neighbor),
            (Algorithm::Ring, SyncStyle::Barrier),
            (Algorithm::Direct, SyncStyle::Neighbor),
            (Algorithm::Tree, SyncStyle::Neighbor),
        ] {
            let proved =
                crate::proof::prove(build(Collective::AllReduce, algorithm, 5, sync).unwrap(), Default::default())
                    .unwrap();
            let moves = Moves::of(proved.schedule());
            let plan = Plan::new(&proved, Mode::PerStep, |_| 1, u64::MAX).unwrap();
            let arena = Arena::new(proved.address_map(), proved.graph().cells(), 3, 1);
            let Program { instructions, links, lanes, .. } = Program::new(&proved, moves, &plan, &arena, |_| 1, None);
            let (ahead, words) = instructions.split_last().unwrap();
            assert_eq!(*ahead, Word::zeroed());
            assert_eq!(words.len(), lanes.iter().map(|lane| lane.len()).sum::<usize>());
            for word in words {
                let first = |start: u32, end: u32| if start < end { links[start as usize] } else { Link::default() };
                let case = format!("{algorithm} {sync}: {word:?}");
                assert_eq!(word.awaited, first(word.first_wait, word.end_wait), "{case}");
                assert_eq!(word.notified, first(word.end_wait, word.end_notify).index, "{case}");
                assert_eq!(word.second, first(word.end_notify, word.end_operand).index, "{case}");
            }
        }
    }
}
