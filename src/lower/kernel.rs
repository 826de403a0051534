//! Kernels as plain data: which source, which numbers in place of its overrides, which bindings.
//!
//! What compiles them keeps what it has compiled by this value.

use Access::{Read, Uniform, UniformRow, Write};

use super::source::{self, Interpreter, Source};
use crate::collective::Op;
use crate::element::DataType;

/// A kernel that the library asks a device to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// Executes a schedule.
    Executor {
        /// The element type.
        data_type: DataType,
        /// The operation.
        op: Op,
        /// Who waits and notifies.
        interpreter: Interpreter,
        /// Whether sums are hidden from compilers that may change their order.
        opaque: bool,
        /// What its overrides are.
        numbers: Numbers,
        /// Ways of moving data.
        moves: Moves,
        /// Whether instructions of a fused launch say in which order they ran.
        tickets: bool,
    },
    /// Copies a buffer.
    Copy {
        /// Invocations of a workgroup.
        workgroup: u32,
    },
    /// Poisons outputs and slots.
    Fill {
        /// Invocations of a workgroup.
        workgroup: u32,
    },
    /// Counts elements that differ.
    Verify {
        /// How elements are compared.
        bits: Bits,
        /// Invocations of a workgroup.
        workgroup: u32,
    },
}

/// The override constants of an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Numbers {
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Adjacent invocations that walk a part of a slice together.
    pub group: u32,
    /// Polls of a wait before the workgroup goes on with its next lane, or gives up until the next dispatch.
    pub polls: u32,
    /// Lanes of a workgroup, at most.
    pub hosted: u32,
    /// Passes over the lanes of a workgroup in a dispatch, at most.
    pub passes: u32,
    /// Passes without progress, one after the other, before it gives up until the next dispatch.
    pub idle: u32,
    /// Loop turns of an invocation for one lane in one pass.
    pub turn_limit: u32,
}

/// Which ways of moving data a schedule has; what it does not have is left out of its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Moves {
    /// One operand to one destination.
    pub copies: bool,
    /// Two to one.
    pub reductions: bool,
    /// Operands and destinations that are written out, where the schedule has any such instruction.
    pub unrolled: (u32, u32),
    /// Whether addresses of these are evenly apart, by one distance in an instruction, so that none is looked up.
    pub even: bool,
    /// Any other.
    pub others: bool,
    /// More than one chunk at a time.
    pub runs: bool,
    /// Whether anything waits or notifies.
    pub signals: bool,
}

/// How the bits of an element type are compared; the numbers of `shaders/verify.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Bits {
    /// Bytes of an element.
    pub bytes: u32,
    /// The greatest magnitude that is no NaN: of the topmost 32 bits, or of all if there are no more. 0 where the type has
    /// no NaN.
    pub greatest: u32,
}

impl Bits {
    /// Those of `data_type`.
    pub fn of(data_type: DataType) -> Self {
        let greatest = match data_type {
            DataType::F32 => 0x7f80_0000,
            DataType::F16 => 0x7c00,
            DataType::BF16 => 0x7f80,
            DataType::F64 => 0x7ff0_0000,
            DataType::F8E4M3 => 0x7e,
            DataType::F8E5M2 => 0x7c,
            DataType::I32 | DataType::U32 | DataType::I64 | DataType::U64 | DataType::I8 | DataType::U8 => 0,
        };
        Self { bytes: data_type.bytes() as u32, greatest }
    }
}

/// What a kernel may do with a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read it, as storage.
    Read,
    /// Read and write it, as storage.
    Write,
    /// Read it, as uniform.
    Uniform,
    /// Read one row of it, as uniform, which each dispatch names by an offset.
    UniformRow,
}

impl Access {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "storage, read",
            Self::Write => "storage, read-write",
            Self::Uniform => "uniform",
            Self::UniformRow => "uniform, by row",
        }
    }
}

/// Name and access of a binding. Its number is its place in a kernel's list.
pub type Slot = (&'static str, Access);

const BY_SIGNALS: [Slot; 8] = [
    ("payload", Write),
    ("signals", Write),
    ("program", Read),
    ("links", Read),
    ("progress", Write),
    ("params", UniformRow),
    ("starts", Read),
    ("launch", UniformRow),
];
const BY_SIGNALS_WITH_TICKETS: [Slot; 9] = {
    let mut all = [("tickets", Write); 9];
    let mut i = 0;
    while i < BY_SIGNALS.len() {
        all[i] = BY_SIGNALS[i];
        i += 1;
    }
    all
};
const BY_LINES: [Slot; 9] = [
    ("payload", Write),
    ("lines", Write),
    ("moves", Read),
    ("operands", Read),
    ("progress", Write),
    ("params", UniformRow),
    ("starts", Read),
    ("launch", UniformRow),
    ("positions", Write),
];

impl Kernel {
    /// Its text.
    pub fn source(&self) -> Source {
        match *self {
            Self::Executor { data_type, op, interpreter, opaque, tickets, .. } => {
                source::executor(data_type, op, interpreter, opaque, tickets)
            }
            Self::Copy { .. } => source::copy(),
            Self::Fill { .. } => source::fill(),
            Self::Verify { .. } => source::verify(),
        }
    }

    /// The function that runs.
    pub fn entry_point(&self) -> &'static str {
        match self {
            Self::Executor { .. } => "execute",
            Self::Copy { .. } => "copy",
            Self::Fill { .. } => "fill",
            Self::Verify { .. } => "verify",
        }
    }

    /// Its bindings, in the order of their numbers.
    pub fn slots(&self) -> &'static [Slot] {
        match self {
            Self::Executor { interpreter: Interpreter::FusedLl, .. } => &BY_LINES,
            Self::Executor { tickets: true, .. } => &BY_SIGNALS_WITH_TICKETS,
            Self::Executor { .. } => &BY_SIGNALS,
            Self::Copy { .. } => &[("source", Read), ("destination", Write)],
            Self::Fill { .. } => &[("payload", Write), ("region", Uniform)],
            Self::Verify { .. } => {
                &[("payload", Write), ("expected", Read), ("outputs", Read), ("wrong", Write), ("block", Uniform)]
            }
        }
    }

    /// How many of its bindings are storage buffers.
    pub fn storage_buffers(&self) -> u32 {
        self.slots().iter().filter(|(_, access)| matches!(access, Read | Write)).count() as u32
    }

    /// Names and values of its override constants.
    pub fn overrides(&self) -> Vec<(&'static str, u32)> {
        match *self {
            Self::Executor { interpreter, numbers, moves, .. } => {
                let mut all =
                    vec![("WORKGROUP", numbers.workgroup), ("POLLS", numbers.polls), ("HOSTED", numbers.hosted)];
                if interpreter != Interpreter::FusedLl {
                    all.extend([
                        ("GROUP", numbers.group),
                        ("OPERANDS", moves.unrolled.0),
                        ("DESTINATIONS", moves.unrolled.1),
                        ("COPIES", moves.copies.into()),
                        ("REDUCTIONS", moves.reductions.into()),
                        ("EVEN", moves.even.into()),
                        ("OTHERS", moves.others.into()),
                        ("RUNS", moves.runs.into()),
                    ]);
                }
                if interpreter == Interpreter::Stepped {
                    all.push(("SIGNALS", moves.signals.into()));
                } else {
                    all.extend([
                        ("PASSES", numbers.passes),
                        ("IDLE", numbers.idle),
                        ("TURN_LIMIT", numbers.turn_limit),
                    ]);
                }
                all
            }
            Self::Copy { workgroup } | Self::Fill { workgroup } => vec![("WORKGROUP", workgroup)],
            Self::Verify { bits, workgroup } => {
                vec![("WORKGROUP", workgroup), ("ELEMENT_BYTES", bits.bytes), ("GREATEST", bits.greatest)]
            }
        }
    }

    /// Whether every index of it is in range by construction, so that nobody needs to check.
    ///
    /// Of an executor: addresses and signals by the schedule's proof of structure, over an arena laid out for that
    /// schedule; vectors within a chunk by the slices' ends; instructions, links, lanes and rows because they are counted
    /// from the lists that they fill, which are padded where something is read ahead; words of lines, because the arena has
    /// eight for each vector of each line; positions, one an invocation and lane; tickets, two for each channel and instruction.
    pub fn is_in_range(&self) -> bool {
        matches!(self, Self::Executor { .. })
    }
}
