//! The `simple` protocol: a proved schedule as instructions that wait for signals and notify, in the words that
//! `shaders/program.wgsl` declares.
//!
//! Host and shader call them the same; a test compares the two member by member, so neither can change alone.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use rustc_hash::FxHashMap;

use super::arena::Arena;
use super::code::{Code, Trace, Words};
use super::error::LowerError;
use super::kernel::Moves;
use super::mode::Mode;
use super::plan::{Plan, TooLong};
use super::source::Interpreter;
use super::tuning::Tuning;
use crate::fault::Fault;
use crate::hang::{Evidence, Hang, StuckChannel};
use crate::proof::Proved;
use crate::schedule::{self, Address, AddressMap, Buffer, Signal};

/// `Instruction.kind` in the shader.
const NOTHING: u32 = 0;
const COPY: u32 = 1;
const REDUCE: u32 = 2;
const UNROLLED: u32 = 3;
const OTHER: u32 = 4;
/// `Link.kind` in the shader.
const WAIT: u32 = 1;
const NOTIFY: u32 = 2;
const MEMORY: u32 = 3;
const INPUT: u32 = 4;
/// Operands, and destinations, for which the shader has lines of text.
const MOST_UNROLLED: u32 = 16;
/// Links behind the last that the unrolled kind may read.
const PADDING: usize = 2 * MOST_UNROLLED as usize;

/// `Instruction` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Instruction {
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
    awaited: Wait,
    notified: u32,
    second: u32,
}

/// `Wait` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
struct Wait {
    signal: u32,
    at_least: u32,
    each: u32,
}

/// `Link` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
struct Link {
    kind: u32,
    index: u32,
    at_least: u32,
    each: u32,
}

impl Link {
    fn to(kind: u32, index: u32) -> Self {
        Self { kind, index, at_least: 0, each: 0 }
    }
}

/// By how many chunks' memory the operands of an instruction, and its destinations, are apart, if that is one distance.
fn distance(map: &AddressMap, instruction: &schedule::Instruction) -> Option<usize> {
    let apart = |addresses: &[Address]| {
        let apart = addresses.windows(2).map(|two| map.index(two[1]).wrapping_sub(map.index(two[0])));
        apart.collect::<Vec<_>>()
    };
    let mut all = [apart(&instruction.from), apart(&instruction.to)].concat();
    all.dedup();
    if let [distance] = all[..] { Some(distance) } else { None }
}

/// Writes out the shape that moves most chunks.
fn moves_of(proved: &Proved) -> Moves {
    let schedule = proved.schedule();
    let mut moves = Moves { signals: proved.graph().cells() > 0, ..Moves::default() };
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
    let mut instructions = schedule.lanes.iter().flat_map(|lane| &lane.instructions);
    moves.runs = instructions.clone().any(|instruction| instruction.chunks > 1);
    moves.even = most.is_some()
        && instructions.all(|instruction| {
            kind(&moves, instruction) != UNROLLED || distance(proved.address_map(), instruction).is_some()
        });
    moves
}

fn kind(moves: &Moves, instruction: &schedule::Instruction) -> u32 {
    match (instruction.from.len() as u32, instruction.to.len() as u32) {
        (0, _) | (_, 0) => NOTHING,
        (1, 1) => COPY,
        (2, 1) => REDUCE,
        shape if shape == moves.unrolled => UNROLLED,
        _ => OTHER,
    }
}

/// A schedule that waits for signals.
#[derive(Debug)]
pub(super) struct Simple {
    proved: Proved,
    moves: Moves,
}

impl Simple {
    pub(super) fn new(proved: &Proved) -> Self {
        Self { proved: proved.clone(), moves: moves_of(proved) }
    }

    fn program(
        &self,
        plan: &Plan,
        arena: &Arena,
        turns: impl Fn(&schedule::Instruction) -> u64,
        fault: Option<Fault>,
    ) -> Program {
        let (schedule, graph) = (self.proved.schedule(), self.proved.graph());
        let (mut instructions, mut links, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        for &lane_index in &plan.lanes {
            let lane = &schedule.lanes[lane_index as usize];
            let first = instructions.len() as u32;
            for (id, instruction) in graph.lane(lane_index).zip(&lane.instructions) {
                let first_wait = links.len() as u32;
                links.extend(graph.waits_of(id).iter().map(|wait| Link {
                    kind: WAIT,
                    index: wait.cell,
                    at_least: wait.at_least,
                    each: graph.notifiers_of(wait.cell).len() as u32,
                }));
                let end_wait = links.len() as u32;
                let kept = graph.notifies_of(id).iter().filter(|&&cell| {
                    let signal = graph.signal(cell);
                    !fault.is_some_and(|fault| fault.drops(signal.sender, signal.row))
                });
                links.extend(kept.map(|&cell| Link::to(NOTIFY, cell)));
                let end_notify = links.len() as u32;
                let vector = |address: &Address| arena.vector(*address) as u32;
                let is_input = |address: &Address| address.buffer == Buffer::Input;
                let with_input = |bits, (i, from): (u32, &Address)| bits | u32::from(is_input(from)) << i;
                let operand = |from| Link::to(if is_input(from) { INPUT } else { MEMORY }, vector(from));
                links.extend(instruction.from.iter().skip(1).map(operand));
                let end_operand = links.len() as u32;
                links.extend(instruction.to.iter().skip(1).map(|to| Link::to(MEMORY, vector(to))));
                let first_of = |range: Range<u32>| links[range.start as usize..range.end as usize].first();
                let index_of = |range| first_of(range).map_or(0, |link| link.index);
                let second = match (&*instruction.from, &*instruction.to) {
                    // Read for its distance alone.
                    ([from], [first, next, ..]) => vector(from).wrapping_add(vector(next).wrapping_sub(vector(first))),
                    _ => index_of(end_notify..end_operand),
                };
                let wait = |link: &Link| Wait { signal: link.index, at_least: link.at_least, each: link.each };
                instructions.push(Instruction {
                    kind: kind(&self.moves, instruction),
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
                    awaited: first_of(first_wait..end_wait).map(wait).unwrap_or_default(),
                    notified: index_of(end_wait..end_notify),
                    second,
                });
            }
            lanes.push(first..instructions.len() as u32);
        }
        // The unrolled kind reads a fixed number of links, whatever their number.
        links.resize(links.len() + PADDING, Link::default());
        instructions.push(Instruction::zeroed());
        Program { instructions, links, lanes }
    }
}

/// What a device needs to execute a schedule.
struct Program {
    instructions: Vec<Instruction>,
    links: Vec<Link>,
    lanes: Vec<Range<u32>>,
}

impl Code for Simple {
    fn interpreter(&self, mode: Mode, software: bool) -> Interpreter {
        // Barriers cost cores more than what they would spread over a workgroup.
        match (mode, software) {
            (Mode::Fused, _) => Interpreter::Fused,
            (_, true) => Interpreter::Stepped,
            (_, false) => Interpreter::Spread,
        }
    }

    fn moves(&self) -> Moves {
        self.moves
    }

    fn signals(&self) -> u32 {
        self.proved.graph().cells()
    }

    fn most_vectors(&self, _bytes: u64) -> Result<usize, LowerError> {
        Ok(usize::MAX)
    }

    fn word_bytes(&self) -> u64 {
        let instructions = || self.proved.schedule().lanes.iter().flat_map(|lane| &lane.instructions);
        let links: usize = instructions().map(|i| i.waits.len() + i.notifies.len() + i.from.len() + i.to.len()).sum();
        ((links + PADDING) * size_of::<Link>()).max((instructions().count() + 1) * size_of::<Instruction>()) as u64
    }

    fn arena(&self, vectors: usize, channels: u32) -> Arena {
        Arena::new(self.proved.address_map(), self.signals(), vectors, channels)
    }

    fn plan(&self, mode: Mode, tuning: &Tuning, slice_vectors: u64, limit: u64) -> Result<Plan, TooLong> {
        Plan::new(&self.proved, mode, |instruction| tuning.turns(instruction, slice_vectors), limit)
    }

    fn words(&self, plan: &Plan, arena: &Arena, tuning: &Tuning, fault: Option<Fault>) -> Words {
        let slice_vectors = arena.slice_vectors();
        let turns = |instruction: &_| tuning.turns(instruction, slice_vectors);
        let Program { instructions, links, lanes } = self.program(plan, arena, turns, fault);
        Words {
            instructions: bytemuck::cast_slice(&instructions).to_vec(),
            links: bytemuck::cast_slice(&links).to_vec(),
            lanes,
        }
    }

    fn remembered(&self) -> u32 {
        0
    }

    fn whole_pieces(&self) -> bool {
        false
    }

    fn instructions_done(&self, _lane: u32, done: u32) -> u32 {
        done
    }

    fn explain(&self, trace: &Trace<'_>, stuck: Vec<(u32, Vec<u32>)>) -> Hang {
        let graph = self.proved.graph();
        let before = trace.last.iter().map(|lane| lane.launches).max().unwrap_or(0).saturating_sub(1);
        let signals: Vec<FxHashMap<Signal, u32>> = stuck
            .iter()
            .map(|(channel, _)| {
                let signals = &trace.signals[*channel as usize * trace.arena.channel_signals()..];
                let value = |cell: u32| {
                    let each = graph.notifiers_of(cell).len() as u32;
                    let counted = signals[cell as usize].wrapping_sub(before.wrapping_mul(each));
                    counted.cast_signed().max(0).cast_unsigned()
                };
                (0..graph.cells()).map(|cell| (graph.signal(cell), value(cell))).collect()
            })
            .collect();
        let signals: Vec<_> = signals.iter().map(|of| |signal| of.get(&signal).copied().unwrap_or(0)).collect();
        let stuck = stuck.into_iter().zip(&signals).map(|((channel, next), signal)| StuckChannel {
            channel,
            next,
            evidence: Evidence::Signals(signal),
        });
        Hang::of(self.proved.schedule(), graph, stuck)
    }
}

// Those runs do without naga, which these tests read shaders by.
#[cfg(test)]
#[cfg(not(any(loom, miri, sanitized)))]
pub(super) mod tests {
    use super::*;
    use crate::lower::source::sources;
    use crate::lower::words::{Launch, Params, Progress};

    fn executor() -> naga::Module {
        let source = sources().into_iter().find(|source| source.name.starts_with("stepped"));
        naga::front::wgsl::parse_str(&source.unwrap().text).unwrap()
    }

    /// Name and offset of every member of a struct of the shader, and the struct's size.
    pub(in crate::lower) fn layout(module: &naga::Module, name: &str) -> (Vec<(String, u32)>, u32) {
        let (_, found) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).unwrap();
        let naga::TypeInner::Struct { members, span } = &found.inner else { panic!("{name} is no struct") };
        (members.iter().map(|member| (member.name.clone().unwrap(), member.offset)).collect(), *span)
    }

    macro_rules! same_layout {
        ($module:expr, $host:ident { $($member:ident),+ }) => {
            let (members, span) = $crate::lower::simple::tests::layout(&$module, stringify!($host));
            let host = vec![$((stringify!($member).to_owned(), std::mem::offset_of!($host, $member) as u32)),+];
            assert_eq!((members, span), (host, size_of::<$host>() as u32), stringify!($host));
        };
    }
    pub(in crate::lower) use same_layout;

    #[test]
    fn host_and_shader_agree_on_every_member() {
        let module = executor();
        same_layout!(
            module,
            Params {
                row,
                first_lane,
                lanes,
                hosts,
                all_lanes,
                chunk_stride,
                chunk_vectors,
                slice_vectors,
                channel_signals,
                scale_low,
                scale_high,
                zero
            }
        );
        same_layout!(
            module,
            Instruction {
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
        same_layout!(module, Wait { signal, at_least, each });
        same_layout!(module, Link { kind, index, at_least, each });
        same_layout!(module, Progress { next, launches, number });
        same_layout!(module, Launch { number });
    }

    #[test]
    fn host_and_shader_agree_on_every_constant() {
        let module = executor();
        for (name, value) in
            [("NOTHING", NOTHING), ("COPY", COPY), ("REDUCE", REDUCE), ("UNROLLED", UNROLLED), ("OTHER", OTHER)]
                .into_iter()
                .chain([("WAIT", WAIT), ("NOTIFY", NOTIFY), ("MEMORY", MEMORY), ("INPUT", INPUT)])
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
            let simple = Simple::new(&proved);
            let plan = Plan::new(&proved, Mode::PerStep, |_| 1, u64::MAX).unwrap();
            let Program { instructions, links, lanes } = simple.program(&plan, &simple.arena(3, 1), |_| 1, None);
            let (ahead, words) = instructions.split_last().unwrap();
            assert_eq!(*ahead, Instruction::zeroed());
            assert_eq!(words.len(), lanes.iter().map(|lane| lane.len()).sum::<usize>());
            for word in words {
                let first = |start: u32, end: u32| if start < end { links[start as usize] } else { Link::default() };
                let case = format!("{algorithm} {sync}: {word:?}");
                let awaited = first(word.first_wait, word.end_wait);
                let Link { index: signal, at_least, each, .. } = awaited;
                assert_eq!(word.awaited, Wait { signal, at_least, each }, "{case}");
                let kinds = |start: u32, end: u32, allowed: &[u32]| {
                    links[start as usize..end as usize].iter().all(|link| allowed.contains(&link.kind))
                };
                assert!(kinds(word.first_wait, word.end_wait, &[WAIT]), "{case}");
                assert!(kinds(word.end_wait, word.end_notify, &[NOTIFY]), "{case}");
                assert!(kinds(word.end_notify, word.end_operand, &[MEMORY, INPUT]), "{case}");
                assert!(kinds(word.end_operand, word.end_destination, &[MEMORY]), "{case}");
                assert_eq!(word.notified, first(word.end_wait, word.end_notify).index, "{case}");
                let several = word.end_notify == word.end_operand && word.end_operand < word.end_destination;
                let second = if several {
                    let apart = first(word.end_operand, word.end_destination).index.wrapping_sub(word.destination);
                    word.operand.wrapping_add(apart)
                } else {
                    first(word.end_notify, word.end_operand).index
                };
                assert_eq!(word.second, second, "{case}");
            }
        }
    }

    /// What the shader computes in place of links is what stands there.
    #[test]
    fn what_is_evenly_apart_is_not_looked_up() {
        use crate::collective::Collective;
        use crate::proof::{Options, prove};
        use crate::schedule::{Algorithm, SyncStyle, build};
        for (algorithm, in_place, even, runs, signals) in [
            (Algorithm::Direct, false, true, false, false),
            (Algorithm::Direct, true, true, false, false),
            (Algorithm::TwoPhase, false, true, false, true),
            (Algorithm::OnePhaseOwnFirst, false, false, false, true),
            (Algorithm::HalvingDoubling, false, false, true, true),
            (Algorithm::Ring, false, false, false, true),
        ] {
            let case = format!("{algorithm} {in_place}");
            let schedule = build(Collective::AllReduce, algorithm, 8, SyncStyle::Neighbor).unwrap();
            let proved = prove(schedule, Options::default().in_place(in_place)).unwrap();
            let simple = Simple::new(&proved);
            let Moves { even: is, runs: are, signals: has, .. } = simple.moves;
            assert_eq!((is, are, has), (even, runs, signals), "{case}");
            let plan = Plan::new(&proved, Mode::PerStep, |_| 1, u64::MAX).unwrap();
            let Program { instructions, links, .. } = simple.program(&plan, &simple.arena(3, 1), |_| 1, None);
            for word in instructions.iter().filter(|word| even && word.kind == UNROLLED) {
                let distance = word.second.wrapping_sub(word.operand);
                let at = |first: u32, end: u32| links[first as usize..end as usize].iter().map(|link| link.index);
                for (first, mut further) in [
                    (word.operand, at(word.end_notify, word.end_operand)),
                    (word.destination, at(word.end_operand, word.end_destination)),
                ] {
                    let computed = |number: u32| first.wrapping_add(number.wrapping_mul(distance));
                    assert!((1..).map(computed).zip(further.by_ref()).all(|(a, b)| a == b), "{case}: {word:?}");
                }
            }
        }
    }
}
