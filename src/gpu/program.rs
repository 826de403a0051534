//! A proved schedule as the words that `shaders/executor.wgsl` reads. No wgpu type: data in, data out.
//!
//! The layouts here and in the shader are compared by a test, so neither can change alone.

use bytemuck::{Pod, Zeroable};

use crate::element::Element;
use crate::hang::Fault;
use crate::plan::{Dispatch, Plan};
use crate::schedule::{Address, Buffer, Instruction, Schedule};
use crate::verify::Signal;
use crate::window::Arena;

/// `Instruction.kind` in the shader.
pub(super) const NOTHING: u32 = 0;
pub(super) const COPY: u32 = 1;
pub(super) const REDUCE: u32 = 2;
pub(super) const REDUCE_ALL: u32 = 3;
/// An address that an instruction does not have.
pub(super) const NOWHERE: u32 = u32::MAX;
/// Operands, and destinations, that have a place in the instruction itself.
pub(super) const OWN: usize = 2;

/// `Params` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub(super) dispatch: u32,
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
    a: u32,
    b: u32,
    to: u32,
    also_to: u32,
    chunks: u32,
    dispatch: u32,
    turns: u32,
    first_wait: u32,
    end_wait: u32,
    first_notify: u32,
    end_notify: u32,
    first_more: u32,
    end_more_from: u32,
    end_more_to: u32,
    inputs: u32,
}

/// `Link` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Link {
    index: u32,
    at_least: u32,
}

/// `Progress` in the shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Progress {
    pub(super) next: u32,
    pub(super) end: u32,
}

/// What a device needs to execute a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) instructions: Vec<Word>,
    pub(super) links: Vec<Link>,
    /// Before the first dispatch: one for each (channel, lane), lanes in the plan's order, fastest.
    pub(super) progress: Vec<Progress>,
}

impl Program {
    /// Bytes of the largest buffer that the program of `schedule` takes.
    pub(super) fn bytes(schedule: &Schedule) -> u64 {
        let instructions = || schedule.lanes.iter().flat_map(|lane| &lane.instructions);
        let links: usize = instructions().map(|i| i.waits.len() + i.notifies.len() + i.from.len() + i.to.len()).sum();
        (links * size_of::<Link>()).max(instructions().count() * size_of::<Word>()) as u64
    }

    /// Encodes `schedule` for `plan` over `arena`. Every index fits 32 bits, because a binding is below 4 GiB.
    pub(super) fn new(
        schedule: &Schedule,
        plan: &Plan,
        arena: &Arena,
        turns: impl Fn(&Instruction) -> u64,
        fault: Option<Fault>,
    ) -> Self {
        let (mut instructions, mut links, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        for &lane_index in &plan.lanes {
            let lane = &schedule.lanes[lane_index as usize];
            let first = instructions.len() as u32;
            for (instruction, &dispatch) in lane.instructions.iter().zip(&plan.numbers[lane_index as usize]) {
                let first_wait = links.len() as u32;
                links.extend(instruction.waits.iter().map(|wait| Link {
                    index: arena.signal(Signal { rank: lane.rank, row: wait.row, sender: wait.sender }) as u32,
                    at_least: wait.at_least,
                }));
                let first_notify = links.len() as u32;
                let kept = instruction
                    .notifies
                    .iter()
                    .filter(|notify| !fault.is_some_and(|fault| fault.drops(lane.rank, notify.row)));
                links.extend(kept.map(|notify| Link {
                    index: arena.signal(Signal { rank: notify.peer, row: notify.row, sender: lane.rank }) as u32,
                    at_least: 0,
                }));
                let first_more = links.len() as u32;
                let is_input = |address: Address| u32::from(address.buffer == Buffer::Input);
                let operand = |&from| Link { index: arena.vector(from) as u32, at_least: is_input(from) };
                links.extend(instruction.from.iter().skip(OWN).map(operand));
                let end_more_from = links.len() as u32;
                let destination = |&to| Link { index: arena.vector(to) as u32, at_least: 0 };
                links.extend(instruction.to.iter().skip(OWN).map(destination));
                let address = |list: &[Address], i: usize| list.get(i).map_or(NOWHERE, |&a| arena.vector(a) as u32);
                instructions.push(Word {
                    kind: match (instruction.from.len(), instruction.to.len()) {
                        (0, _) => NOTHING,
                        (1, ..=OWN) => COPY,
                        (2, ..=OWN) => REDUCE,
                        _ => REDUCE_ALL,
                    },
                    a: address(&instruction.from, 0),
                    b: address(&instruction.from, 1),
                    to: address(&instruction.to, 0),
                    also_to: address(&instruction.to, 1),
                    chunks: instruction.chunks,
                    dispatch,
                    turns: turns(instruction) as u32,
                    first_wait,
                    end_wait: first_notify,
                    first_notify,
                    end_notify: first_more,
                    first_more,
                    end_more_from,
                    end_more_to: links.len() as u32,
                    inputs: (instruction.from.iter().take(OWN).enumerate())
                        .fold(0, |bits, (i, &from)| bits | is_input(from) << i),
                });
            }
            lanes.push(Progress { next: first, end: instructions.len() as u32 });
        }
        let progress = lanes.repeat(arena.channels as usize);
        Self { instructions, links, progress }
    }
}

/// As many elements of one value as two words hold.
pub(super) fn two_words<T: Element>(value: T) -> [u32; 2] {
    let bytes = bytemuck::bytes_of(&value);
    [0, 4].map(|start| u32::from_ne_bytes(std::array::from_fn(|i| bytes[(start + i) % bytes.len()])))
}

impl Params {
    /// One dispatch over `chunk_vectors` vectors of every chunk; `scale` is of no use to operations that do not scale.
    pub(super) fn new(
        dispatch: &Dispatch,
        all_lanes: u32,
        arena: &Arena,
        chunk_vectors: u32,
        [scale_low, scale_high]: [u32; 2],
    ) -> Self {
        Self {
            dispatch: dispatch.number,
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
mod tests {
    use std::mem::offset_of;

    use super::*;
    use crate::gpu::sources;

    fn executor() -> naga::Module {
        let source = sources().into_iter().find(|source| source.name.starts_with("executor") && !source.coherent);
        naga::front::wgsl::parse_str(&source.unwrap().text).unwrap()
    }

    /// Name and offset of every member of a struct of the shader, and the struct's size.
    fn layout(module: &naga::Module, name: &str) -> (Vec<(String, u32)>, u32) {
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
                dispatch,
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
                a,
                b,
                to,
                also_to,
                chunks,
                dispatch,
                turns,
                first_wait,
                end_wait,
                first_notify,
                end_notify,
                first_more,
                end_more_from,
                end_more_to,
                inputs
            }
        );
        same_layout!(module, "Link", Link { index, at_least });
        same_layout!(module, "Progress", Progress { next, end });
    }

    #[test]
    fn host_and_shader_agree_on_every_constant() {
        let module = executor();
        for (name, value) in
            [("NOTHING", NOTHING), ("COPY", COPY), ("REDUCE", REDUCE), ("REDUCE_ALL", REDUCE_ALL), ("NOWHERE", NOWHERE)]
        {
            let (_, constant) = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some(name)).unwrap();
            let literal = &module.global_expressions[constant.init];
            assert_eq!(*literal, naga::Expression::Literal(naga::Literal::U32(value)), "{name}");
        }
    }
}
