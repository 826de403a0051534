//! A schedule without signals as the words that `shaders/fused_ll.wgsl` declares. No wgpu type: data in, data out.

use bytemuck::{Pod, Zeroable};

use super::flow::{Flow, Move, Operand};
use super::program::starts;
use crate::fault::Fault;
use crate::lower::arena::Arena;
use crate::lower::plan::Plan;
use crate::schedule::{Address, Buffer, Schedule};

/// `Operand.source` in the shader.
const NOTHING: u32 = 0;
const MEMORY: u32 = 1;
const INPUT: u32 = 2;
const LINE: u32 = 3;
const NO_LINE: u32 = u32::MAX;

/// `Operand` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct OperandWord {
    index: u32,
    source: u32,
}

/// `Move` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct MoveWord {
    first: OperandWord,
    second: OperandWord,
    destination: u32,
    more_operands: u32,
    more_destinations: u32,
    end: u32,
    stores: u32,
    line: u32,
    turns: u32,
    unused: u32,
}

/// What a device needs to execute a schedule without signals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LlProgram {
    /// One more than there are, because the shader reads ahead.
    pub(super) moves: Vec<MoveWord>,
    pub(super) operands: Vec<OperandWord>,
    /// Moves of every lane, in the plan's order.
    pub(super) lanes: Vec<std::ops::Range<u32>>,
    /// As in [`super::program::Program`].
    pub(super) starts: Vec<u32>,
}

impl LlProgram {
    /// Bytes of the largest buffer that the program of `flow` takes.
    pub(super) fn bytes(flow: &Flow) -> u64 {
        let moves = || flow.lanes.iter().flatten();
        let operands: usize = moves().map(|m| m.from.len() + m.to.len()).sum();
        (operands * size_of::<OperandWord>()).max((moves().count() + 1) * size_of::<MoveWord>()) as u64
    }

    /// Encodes `flow` for `plan` over `arena`; `turns` is what a move costs for each vector of an invocation. Every index fits
    /// 32 bits, because a binding is below 4 GiB.
    pub(super) fn new(
        schedule: &Schedule,
        flow: &Flow,
        plan: &Plan,
        arena: &Arena,
        turns: impl Fn(&Move) -> u64,
        fault: Option<Fault>,
    ) -> Self {
        let (mut moves, mut operands, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        let vector = |address: Address| arena.vector(address) as u32;
        let operand = |operand: &Operand| match *operand {
            Operand::Memory(address) => {
                let source = if address.buffer == Buffer::Input { INPUT } else { MEMORY };
                OperandWord { index: vector(address), source }
            }
            Operand::Line(line) => OperandWord { index: arena.line(line) as u32, source: LINE },
        };
        let nothing = OperandWord { index: 0, source: NOTHING };
        for &lane_index in &plan.lanes {
            let lane = &schedule.lanes[lane_index as usize];
            let first = moves.len() as u32;
            for this in &flow.lanes[lane_index as usize] {
                // There are no notifies; what is lost is the result that would have come with one.
                let notifies = &lane.instructions[this.instruction as usize].notifies;
                let lost = fault.is_some_and(|f| notifies.iter().any(|n| f.drops(lane.rank, n.row)));
                let more_operands = operands.len() as u32;
                operands.extend(this.from.iter().skip(2).map(operand));
                let more_destinations = operands.len() as u32;
                let stored = |&address: &Address| OperandWord { index: vector(address), source: MEMORY };
                operands.extend(this.to.iter().skip(1).map(stored));
                moves.push(MoveWord {
                    first: this.from.first().map_or(nothing, operand),
                    second: this.from.get(1).map_or(nothing, operand),
                    destination: this.to.first().map_or(0, |&address| vector(address)),
                    more_operands,
                    more_destinations,
                    end: operands.len() as u32,
                    stores: u32::from(!this.to.is_empty()),
                    line: this.line.filter(|_| !lost).map_or(NO_LINE, |line| arena.line(line) as u32),
                    turns: turns(this) as u32,
                    unused: 0,
                });
            }
            lanes.push(first..moves.len() as u32);
        }
        moves.push(MoveWord::zeroed());
        // Nothing can be bound to an empty range.
        operands.push(nothing);
        let starts = starts(plan, &lanes);
        Self { moves, operands, lanes, starts }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;
    use crate::gpu::program::tests::layout;
    use crate::gpu::sources;

    fn executor() -> naga::Module {
        let source = sources().into_iter().find(|source| source.name.starts_with("fused-ll"));
        naga::front::wgsl::parse_str(&source.unwrap().text).unwrap()
    }

    #[test]
    fn host_and_shader_agree() {
        let module = executor();
        macro_rules! same_layout {
            ($shader:literal, $host:ident { $($member:ident),+ }) => {
                let host = vec![$((stringify!($member).to_owned(), offset_of!($host, $member) as u32)),+];
                assert_eq!(layout(&module, $shader), (host, size_of::<$host>() as u32), $shader);
            };
        }
        same_layout!("Operand", OperandWord { index, source });
        same_layout!(
            "Move",
            MoveWord { first, second, destination, more_operands, more_destinations, end, stores, line, turns, unused }
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
