//! The `ll` protocol: a schedule without signals as moves whose results carry their own flag, as in NCCL's LL, in the words
//! that `shaders/fused_ll.wgsl` declares.
//!
//! Host and shader call them the same; a test compares the two member by member, so neither can change alone.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::arena::Arena;
use super::code::{Code, Trace, Words};
use super::dataflow::{self, Dataflow};
use super::error::{LowerError, Unsound};
use super::kernel::Moves;
use super::mode::Mode;
use super::plan::{Plan, TooLong};
use super::source::Interpreter;
use super::tuning::Tuning;
use crate::fault::Fault;
use crate::hang::{Evidence, Hang, StuckChannel};
use crate::proof::Proved;
use crate::schedule::{Address, Buffer, Instruction, Schedule};

/// `Operand.source` in the shader.
const NOTHING: u32 = 0;
const MEMORY: u32 = 1;
const INPUT: u32 = 2;
const LINE: u32 = 3;
const NO_LINE: u32 = u32::MAX;

/// `Operand` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Operand {
    index: u32,
    source: u32,
}

/// `Move` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Move {
    first: Operand,
    second: Operand,
    destination: u32,
    more_operands: u32,
    more_destinations: u32,
    end: u32,
    stores: u32,
    line: u32,
    turns: u32,
    unused: u32,
}

/// A schedule without signals.
#[derive(Debug)]
pub(super) struct Ll {
    proved: Proved,
    flow: Dataflow,
}

/// Most moves of single chunks: each is some hundreds of bytes on the host before anything is asked of the device.
const MOST_MOVES: u64 = 1 << 22;

impl Ll {
    /// # Errors
    /// [`LowerError::Moves`] where the list would be too long to make.
    pub(super) fn admit(schedule: &Schedule) -> Result<(), LowerError> {
        let instructions = schedule.lanes.iter().flat_map(|lane| &lane.instructions);
        let of = |instruction: &Instruction| {
            u64::from(instruction.chunks) * instruction.from.len().max(instruction.to.len()) as u64
        };
        let moves = instructions.fold(0_u64, |moves, instruction| moves.saturating_add(of(instruction)));
        if moves > MOST_MOVES { Err(LowerError::Moves { moves, most: MOST_MOVES }) } else { Ok(()) }
    }

    /// # Errors
    /// [`Unsound::Shared`] where lanes share more than results.
    pub(super) fn new(proved: &Proved) -> Result<Self, Unsound> {
        Ok(Self { proved: proved.clone(), flow: Dataflow::new(proved)? })
    }
}

impl Code for Ll {
    fn interpreter(&self, _mode: Mode, _software: bool) -> Interpreter {
        Interpreter::FusedLl
    }

    /// One kernel moves all shapes.
    fn moves(&self) -> Moves {
        Moves::default()
    }

    fn signals(&self) -> u32 {
        0
    }

    fn most_vectors(&self, bytes: u64) -> Result<usize, LowerError> {
        let lines = self.flow.lines;
        // Shaders count all vectors of all moves of a lane in a word.
        let longest = self.flow.lanes.iter().map(Vec::len).max().unwrap_or(0);
        let countable = u32::MAX as usize / longest.max(1);
        match Arena::most_line_vectors(lines, bytes) {
            0 => Err(LowerError::Lines { lines, bytes }),
            most => Ok(usize::try_from(most).unwrap_or(usize::MAX).min(countable.max(1))),
        }
    }

    fn word_bytes(&self) -> u64 {
        let moves = || self.flow.lanes.iter().flatten();
        let operands: usize = moves().map(|m| m.from.len() + m.to.len()).sum();
        ((operands + 1) * size_of::<Operand>()).max((moves().count() + 1) * size_of::<Move>()) as u64
    }

    fn arena(&self, vectors: usize, channels: u32) -> Arena {
        Arena::new(self.proved.address_map(), 0, vectors, channels).with_lines(self.flow.lines)
    }

    fn plan(&self, _mode: Mode, tuning: &Tuning, slice_vectors: u64, limit: u64) -> Result<Plan, TooLong> {
        self.flow.plan(&self.proved, |this| tuning.move_turns(this, slice_vectors), limit)
    }

    fn words(&self, plan: &Plan, arena: &Arena, tuning: &Tuning, fault: Option<Fault>) -> Words {
        let (mut moves, mut operands, mut lanes) = (Vec::new(), Vec::new(), Vec::<Range<u32>>::new());
        let vector = |address: Address| arena.vector(address) as u32;
        let operand = |operand: &dataflow::Operand| match *operand {
            dataflow::Operand::Memory(address) => {
                let source = if address.buffer == Buffer::Input { INPUT } else { MEMORY };
                Operand { index: vector(address), source }
            }
            dataflow::Operand::Line(line) => Operand { index: arena.line(line) as u32, source: LINE },
        };
        let nothing = Operand { index: 0, source: NOTHING };
        for &lane_index in &plan.lanes {
            let lane = &self.proved.schedule().lanes[lane_index as usize];
            let first = moves.len() as u32;
            for this in &self.flow.lanes[lane_index as usize] {
                // There are no notifies; what is lost is the result that would have come with one.
                let notifies = &lane.instructions[this.instruction as usize].notifies;
                let lost = fault.is_some_and(|f| notifies.iter().any(|n| f.drops(lane.rank, n.row)));
                let more_operands = operands.len() as u32;
                operands.extend(this.from.iter().skip(2).map(operand));
                let more_destinations = operands.len() as u32;
                let stored = |&address: &Address| Operand { index: vector(address), source: MEMORY };
                operands.extend(this.to.iter().skip(1).map(stored));
                moves.push(Move {
                    first: this.from.first().map_or(nothing, operand),
                    second: this.from.get(1).map_or(nothing, operand),
                    destination: this.to.first().map_or(0, |&address| vector(address)),
                    more_operands,
                    more_destinations,
                    end: operands.len() as u32,
                    stores: u32::from(!this.to.is_empty()),
                    line: this.line.filter(|_| !lost).map_or(NO_LINE, |line| arena.line(line) as u32),
                    turns: tuning.vector_turns(this) as u32,
                    unused: 0,
                });
            }
            lanes.push(first..moves.len() as u32);
        }
        moves.push(Move::zeroed());
        // Nothing can be bound to an empty range.
        operands.push(nothing);
        Words {
            instructions: bytemuck::cast_slice(&moves).to_vec(),
            links: bytemuck::cast_slice(&operands).to_vec(),
            lanes,
        }
    }

    /// Its position.
    fn remembered(&self) -> u32 {
        1
    }

    /// All words of all lines are written in every launch, so that none keeps a flag for long: a shorter last piece moves
    /// something, which nobody reads, behind its end as well.
    fn whole_pieces(&self) -> bool {
        true
    }

    fn instructions_done(&self, lane: u32, done: u32) -> u32 {
        let all = self.proved.schedule().lanes[lane as usize].instructions.len() as u32;
        self.flow.lanes[lane as usize].get(done as usize).map_or(all, |next| next.instruction)
    }

    fn explain(&self, trace: &Trace<'_>, stuck: Vec<(u32, Vec<u32>)>) -> Hang {
        let evidence = Evidence::Data { lost: trace.fault };
        let stuck = stuck.into_iter().map(|(channel, next)| StuckChannel { channel, next, evidence });
        Hang::of(self.proved.schedule(), self.proved.graph(), stuck)
    }
}

#[cfg(test)]
#[cfg(not(any(loom, miri, sanitized)))]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::lower::simple::tests::same_layout;
    use crate::lower::source::sources;
    use crate::schedule::Lane;

    fn executor() -> naga::Module {
        let source = sources().into_iter().find(|source| source.name.starts_with("fused-ll"));
        naga::front::wgsl::parse_str(&source.unwrap().text).unwrap()
    }

    #[test]
    fn moves_are_counted_before_they_are_listed() {
        let copy = Instruction::new("move").copy(Address::input(0, 0)).to(Address::output(0, 0));
        let of = |chunks| {
            let lane = Lane::new(0).with(copy.clone().chunks(chunks)).with(copy.clone());
            Ll::admit(&Schedule::new("long", Collective::AllReduce, 1, chunks).lane(lane))
        };
        assert_eq!(of(MOST_MOVES as u32 - 1), Ok(()));
        assert_eq!(of(MOST_MOVES as u32), Err(LowerError::Moves { moves: MOST_MOVES + 1, most: MOST_MOVES }));
    }

    #[test]
    fn host_and_shader_agree() {
        let module = executor();
        same_layout!(module, Operand { index, source });
        same_layout!(
            module,
            Move { first, second, destination, more_operands, more_destinations, end, stores, line, turns, unused }
        );
        for (name, value) in
            [("NOTHING", NOTHING), ("MEMORY", MEMORY), ("INPUT", INPUT), ("LINE", LINE), ("NO_LINE", NO_LINE)]
        {
            let (_, constant) = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some(name)).unwrap();
            let literal = &module.global_expressions[constant.init];
            assert_eq!(*literal, naga::Expression::Literal(naga::Literal::U32(value)), "{name}");
        }
    }
}
