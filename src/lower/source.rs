//! The shaders: files joined as they are.
//!
//! No text is ever edited: what differs between two kernels is a file of its own, numbers are put in by `override`.

use crate::collective::Op;
use crate::element::{DataType, supported};

const PAYLOAD_PLAIN: &str = include_str!("../../shaders/payload/plain.wgsl");
const PAYLOAD_COHERENT: &str = include_str!("../../shaders/payload/coherent.wgsl");
const SIGNAL: &str = include_str!("../../shaders/signal.wgsl");
const TICKET_NONE: &str = include_str!("../../shaders/ticket/none.wgsl");
const TICKET_DRAWN: &str = include_str!("../../shaders/ticket/drawn.wgsl");
const PLACE: &str = include_str!("../../shaders/place.wgsl");
const PROGRAM: &str = include_str!("../../shaders/program.wgsl");
pub(crate) const LINE: &str = include_str!("../../shaders/line.wgsl");
const MOVE: &str = include_str!("../../shaders/move.wgsl");
const STEPPED: &str = include_str!("../../shaders/stepped.wgsl");
const FUSED: &str = include_str!("../../shaders/fused.wgsl");
const FUSED_LL: &str = include_str!("../../shaders/fused_ll.wgsl");
const COPY: &str = include_str!("../../shaders/copy.wgsl");
const FILL: &str = include_str!("../../shaders/fill.wgsl");
const VERIFY: &str = include_str!("../../shaders/verify.wgsl");

/// A complete shader.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Source {
    /// Its name: interpreter, type and operation.
    pub name: String,
    /// Whether it needs coherent memory across workgroups.
    pub coherent: bool,
    /// WGSL.
    pub text: String,
}

macro_rules! shader {
    ($($name:literal),+) => { &[$(include_str!(concat!("../../shaders/", $name, ".wgsl"))),+] };
}

/// The files with the arithmetic of a type: `sum`, `prod`, `least` and `greatest` of two vectors.
fn element(data_type: DataType) -> &'static [&'static str] {
    match data_type {
        DataType::F32 => shader!["element/order", "element/f32"],
        DataType::F16 => shader!["element/order", "element/pairs", "element/format", "element/f16"],
        DataType::BF16 => shader!["element/order", "element/pairs", "element/bf16"],
        DataType::F64 => shader!["element/wide", "element/f64"],
        DataType::F8E4M3 => shader!["element/order", "element/quads", "element/format", "element/f8e4m3"],
        DataType::F8E5M2 => shader!["element/order", "element/quads", "element/format", "element/f8e5m2"],
        DataType::I32 => shader!["element/i32"],
        DataType::U32 => shader!["element/u32"],
        DataType::I64 => shader!["element/wide", "element/words", "element/i64"],
        DataType::U64 => shader!["element/wide", "element/words", "element/u64"],
        DataType::I8 => shader!["element/bytes", "element/i8"],
        DataType::U8 => shader!["element/bytes", "element/u8"],
    }
}

/// The file with what becomes of a sum or product, for the types that the device computes in floats of their own width.
fn result(data_type: DataType, opaque: bool) -> &'static [&'static str] {
    match (data_type, opaque) {
        (DataType::F32, false) => shader!["result/plain"],
        (DataType::F32, true) => shader!["result/opaque"],
        _ => &[],
    }
}

/// The files with what an operation does: `combine` two vectors, and read a `contribution`.
fn operation(op: Op) -> &'static [&'static str] {
    match op {
        Op::Sum => shader!["op/sum", "contribution/raw"],
        Op::Prod => shader!["op/prod", "contribution/raw"],
        Op::Min => shader!["op/min", "contribution/raw"],
        Op::Max => shader!["op/max", "contribution/raw"],
        Op::Avg => shader!["op/sum", "contribution/scaled"],
    }
}

/// Who waits and notifies in a workgroup, and whether other workgroups run meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interpreter {
    /// One invocation; dispatches order everything.
    Stepped,
    /// All of them; dispatches order everything.
    Spread,
    /// All of them; waits order what happens in one dispatch.
    Fused,
    /// Nobody: data carries its own flag.
    FusedLl,
}

impl Interpreter {
    const ALL: [Self; 4] = [Self::Stepped, Self::Spread, Self::Fused, Self::FusedLl];
}

/// The executor's shader for an element type and operation; `opaque` where compilers may change the order of sums, `tickets` where
/// instructions of a fused launch are to say in which order they ran.
pub(super) fn executor(data_type: DataType, op: Op, interpreter: Interpreter, opaque: bool, tickets: bool) -> Source {
    let (name, before, after): (_, &[&str], &[&str]) = match interpreter {
        Interpreter::Stepped => ("stepped", &[PAYLOAD_PLAIN, PLACE, PROGRAM, SIGNAL], &[MOVE, STEPPED]),
        Interpreter::Spread => {
            ("stepped-spread", &[PAYLOAD_PLAIN, PLACE, PROGRAM, SIGNAL], &[MOVE, TICKET_NONE, FUSED])
        }
        Interpreter::Fused if tickets => {
            ("fused-tickets", &[PAYLOAD_COHERENT, PLACE, PROGRAM, SIGNAL], &[MOVE, TICKET_DRAWN, FUSED])
        }
        Interpreter::Fused => ("fused", &[PAYLOAD_COHERENT, PLACE, PROGRAM, SIGNAL], &[MOVE, TICKET_NONE, FUSED]),
        Interpreter::FusedLl => ("fused-ll", &[PAYLOAD_PLAIN, PLACE, LINE], &[FUSED_LL]),
    };
    Source {
        name: format!("{name}{} {data_type} {op}", if opaque { "-opaque" } else { "" }),
        coherent: interpreter == Interpreter::Fused,
        text: [before, element(data_type), result(data_type, opaque), operation(op), after].concat().join("\n"),
    }
}

pub(super) fn copy() -> Source {
    Source { name: "copy".to_owned(), coherent: false, text: COPY.to_owned() }
}

pub(super) fn fill() -> Source {
    Source { name: "fill".to_owned(), coherent: false, text: [PAYLOAD_PLAIN, FILL].join("\n") }
}

pub(super) fn verify() -> Source {
    Source { name: "verify".to_owned(), coherent: false, text: [PAYLOAD_PLAIN, VERIFY].join("\n") }
}

/// Every shader that the library can ask a device to run.
pub fn sources() -> Vec<Source> {
    let types = DataType::ALL.iter().flat_map(|&t| Op::ALL.iter().map(move |&op| (t, op)));
    let types = types.filter(|&(t, op)| supported(t, op).is_ok());
    let opaque = |t: DataType| if result(t, true).is_empty() { &[false][..] } else { &[false, true] };
    let executors = types.flat_map(|(t, op)| {
        let plain = Interpreter::ALL.into_iter().map(|how| (how, false));
        let all = plain.chain([(Interpreter::Fused, true)]);
        opaque(t)
            .iter()
            .flat_map(move |&opaque| all.clone().map(move |(how, tickets)| executor(t, op, how, opaque, tickets)))
    });
    executors.chain([copy(), fill(), verify()]).collect()
}
