//! How the value of a place was made: back from the place, over the instructions that wrote it, to contributions.
//!
//! The proof of the result keeps values and forgets who made them, for it looks at all places. This looks at one, and costs a
//! walk through the run and memory for what went into it.

use std::fmt::Write;

use rustc_hash::FxHashMap;

use super::run::Run;
use crate::schedule::{Address, Instruction};

/// Values that went into one, which is the first.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) values: Vec<Value>,
    /// Values in an order in which each comes before those that it is made of.
    pub(super) order: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Value {
    /// As the instruction that reads it says; of the first, as it was asked for.
    pub(super) place: Address,
    pub(super) maker: Maker,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// The instruction of this number, from these values.
    Instruction(u32, Vec<u32>),
    /// This chunk of an input.
    Input(Address),
    /// Nobody wrote it.
    Nobody,
}

impl Made {
    /// How what lies at `place` after `order` was made.
    pub(super) fn of(run: &Run<'_>, order: &[u32], place: Address) -> Self {
        let mut made = Self::default();
        // Places whose writer is still to be met, on the way back.
        let mut wanted = FxHashMap::<usize, u32>::default();
        made.want(run, &mut wanted, place);
        let mut written = Vec::new();
        for &id in order.iter().rev() {
            if wanted.is_empty() {
                break;
            }
            let instruction = run.graph.instruction(&run.schedule, id);
            if instruction.from.is_empty() {
                continue;
            }
            for k in 0..instruction.chunks {
                written.clear();
                let places = instruction.to.iter().map(|&to| run.map.index(nth(to, k)));
                written.extend(places.filter_map(|place| wanted.remove(&place)));
                if written.is_empty() {
                    continue;
                }
                let from: Vec<u32> =
                    instruction.from.iter().map(|&from| made.want(run, &mut wanted, nth(from, k))).collect();
                for &value in &written {
                    made.values[value as usize].maker = Maker::Instruction(id, from.clone());
                    made.order.push(value);
                }
            }
        }
        let mut rest: Vec<u32> = wanted.into_values().collect();
        rest.sort_unstable();
        for &value in &rest {
            let value = &mut made.values[value as usize];
            value.maker = run.input_at(value.place).map_or(Maker::Nobody, Maker::Input);
        }
        made.order.extend(rest);
        made
    }

    fn want(&mut self, run: &Run<'_>, wanted: &mut FxHashMap<usize, u32>, place: Address) -> u32 {
        *wanted.entry(run.map.index(place)).or_insert_with(|| {
            self.values.push(Value { place, maker: Maker::Nobody });
            self.values.len() as u32 - 1
        })
    }

    /// How often each contribution went into it, and whether memory that nobody wrote did.
    pub(super) fn contributions(&self) -> (FxHashMap<Address, u32>, bool) {
        let mut paths = vec![0_u32; self.values.len()];
        paths[0] = 1;
        let (mut contributions, mut unwritten) = (FxHashMap::default(), false);
        for &value in &self.order {
            let ways = paths[value as usize];
            match &self.values[value as usize].maker {
                Maker::Instruction(_, from) => from.iter().for_each(|&from| {
                    let paths = &mut paths[from as usize];
                    *paths = paths.saturating_add(ways);
                }),
                Maker::Input(input) => *contributions.entry(*input).or_insert(0) = ways,
                Maker::Nobody => unwritten = true,
            }
        }
        (contributions, unwritten)
    }

    /// Instructions that it was made by.
    pub(super) fn makers(&self) -> impl Iterator<Item = u32> + '_ {
        self.values.iter().filter_map(|value| match value.maker {
            Maker::Instruction(id, _) => Some(id),
            _ => None,
        })
    }

    /// The chunk that all contributions to all of these are, if it is one and the same.
    pub(super) fn chunk(all: &[&Self]) -> Option<u32> {
        let mut chunks = all.iter().flat_map(|made| &made.values).filter_map(|value| match value.maker {
            Maker::Input(input) => Some(input.chunk),
            _ => None,
        });
        let first = chunks.next()?;
        chunks.all(|chunk| chunk == first).then_some(first)
    }

    /// The exact order of additions, such as `((in[1] + in[2]) + in[0]`; contributions as [`leaf`] names them. Long ones are cut.
    pub(super) fn expression(&self, chunk: Option<u32>) -> String {
        const LONGEST: usize = 4000;
        enum Part {
            Value(u32, bool),
            Text(&'static str),
        }
        let (mut text, mut stack) = (String::new(), vec![Part::Value(0, false)]);
        while let Some(part) = stack.pop() {
            if text.len() > LONGEST {
                text += "...";
                break;
            }
            let (value, within) = match part {
                Part::Text(part) => {
                    text += part;
                    continue;
                }
                Part::Value(value, within) => (value, within),
            };
            match &self.values[value as usize].maker {
                Maker::Instruction(_, from) => {
                    // Last first. From left to right: ((a + b) + c) + d.
                    let sums = from.len().saturating_sub(1);
                    if within && sums > 0 {
                        stack.push(Part::Text(")"));
                    }
                    for (n, &operand) in from.iter().enumerate().rev() {
                        if n > 0 && n < sums {
                            stack.push(Part::Text(")"));
                        }
                        stack.push(Part::Value(operand, within || sums > 0));
                        if n > 0 {
                            stack.push(Part::Text(" + "));
                        }
                    }
                    let opened = sums.saturating_sub(1) + usize::from(within && sums > 0);
                    stack.extend((0..opened).map(|_| Part::Text("(")));
                }
                Maker::Input(input) => text += &leaf(*input, chunk),
                Maker::Nobody => text.push('?'),
            }
        }
        text
    }
}

/// What a reader calls a contribution: by its rank alone, if all are of `chunk`.
pub(super) fn leaf(input: Address, chunk: Option<u32>) -> String {
    let mut text = format!("in[{}]", input.rank);
    if chunk != Some(input.chunk) {
        let _ = write!(text, "[{}]", input.chunk);
    }
    text
}

/// Values by number: equal ones of several are one. `a + b` and `b + a` are equal, as in the proof of the result.
#[derive(Debug, Default)]
pub(super) struct Equal {
    inputs: FxHashMap<Address, u32>,
    sums: FxHashMap<(u32, u32), u32>,
    next: u32,
}

impl Equal {
    /// The number of what nobody wrote, and whatever is made of it.
    pub(super) const UNKNOWN: u32 = 0;

    pub(super) fn number(&mut self, made: &Made) -> u32 {
        let mut numbers = vec![Self::UNKNOWN; made.values.len()];
        for &value in made.order.iter().rev() {
            numbers[value as usize] = match &made.values[value as usize].maker {
                Maker::Nobody => Self::UNKNOWN,
                Maker::Input(input) => {
                    let next = &mut self.next;
                    *self.inputs.entry(*input).or_insert_with(|| {
                        *next += 1;
                        *next
                    })
                }
                Maker::Instruction(_, from) => {
                    let operands = from.iter().map(|&from| numbers[from as usize]);
                    operands.reduce(|a, b| self.sum(a, b)).unwrap_or(Self::UNKNOWN)
                }
            };
        }
        numbers[0]
    }

    fn sum(&mut self, a: u32, b: u32) -> u32 {
        if a == Self::UNKNOWN || b == Self::UNKNOWN {
            return Self::UNKNOWN;
        }
        let next = &mut self.next;
        *self.sums.entry((a.min(b), a.max(b))).or_insert_with(|| {
            *next += 1;
            *next
        })
    }
}

/// The k-th chunk of an operand or destination.
pub(super) fn nth(start: Address, k: u32) -> Address {
    Address { chunk: start.chunk + k, ..start }
}

/// Chunks that an instruction reads.
pub(super) fn reads(instruction: &Instruction) -> impl Iterator<Item = Address> + '_ {
    instruction.from.iter().flat_map(|&from| (0..instruction.chunks).map(move |k| nth(from, k)))
}

/// Chunks that an instruction writes.
pub(super) fn writes(instruction: &Instruction) -> impl Iterator<Item = Address> + '_ {
    instruction.to.iter().flat_map(|&to| (0..instruction.chunks).map(move |k| nth(to, k)))
}
