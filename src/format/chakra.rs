//! Chakra execution traces: what each rank sends, receives and computes, for ASTRA-sim and the tools around MLCommons' Chakra.
//!
//! One stream of protobuf messages a rank, each behind its length. Attributes are those that ASTRA-sim's own samples have and those
//! that its converter from MSCCL XML writes. Source: mlcommons/chakra, `schema/protobuf/et_def.proto`.

use std::collections::BTreeMap;

use prost::Message;

use super::msccl::{Algo, Flags, Gpu, Kind};

/// How a schedule is written down.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ChakraOptions {
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// Microseconds that a rank takes to reduce or copy a byte.
    pub microseconds_per_byte: f64,
}

impl ChakraOptions {
    /// Chunks of so many bytes, at 10 GB/s.
    pub fn new(chunk_bytes: u64) -> Self {
        Self { chunk_bytes, microseconds_per_byte: 1e-4 }
    }
}

/// The schema that is written.
const SCHEMA: &str = "1.0.2-chakra.0.0.4";

#[derive(Clone, PartialEq, Message)]
struct GlobalMetadata {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(message, repeated, tag = "2")]
    attr: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(oneof = "Value", tags = "7, 9, 11, 13, 27, 29")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(int32, tag = "7")]
    Int32(i32),
    #[prost(int64, tag = "9")]
    Int64(i64),
    #[prost(uint32, tag = "11")]
    Uint32(u32),
    #[prost(uint64, tag = "13")]
    Uint64(u64),
    #[prost(bool, tag = "27")]
    Bool(bool),
    #[prost(string, tag = "29")]
    Text(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
enum NodeType {
    Invalid = 0,
    Compute = 4,
    Send = 5,
    Recv = 6,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(enumeration = "NodeType", tag = "3")]
    kind: i32,
    #[prost(uint64, repeated, tag = "4")]
    ctrl_deps: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    data_deps: Vec<u64>,
    #[prost(uint64, tag = "6")]
    start_time_micros: u64,
    #[prost(uint64, tag = "7")]
    duration_micros: u64,
    #[prost(message, repeated, tag = "10")]
    attr: Vec<Attribute>,
}

/// The traces of `algo`, one for each rank: the contents of `PREFIX.RANK.et`.
pub fn chakra(algo: &Algo, options: ChakraOptions) -> Vec<Vec<u8>> {
    algo.gpus.iter().map(|gpu| of_rank(algo, gpu, options)).collect()
}

fn of_rank(algo: &Algo, gpu: &Gpu, options: ChakraOptions) -> Vec<u8> {
    let text =
        |name: &str, value: &str| Attribute { name: name.to_owned(), value: Some(Value::Text(value.to_owned())) };
    let metadata = GlobalMetadata {
        version: "0.0.4".to_owned(),
        attr: vec![text("schema", SCHEMA), text("input_file", &algo.name), text("collective", &algo.coll)],
    };
    let mut bytes = metadata.encode_length_delimited_to_vec();
    let flags = Flags::of(gpu);
    let mut trace = Trace { algo, gpu, flags, options, nodes: Vec::new(), last: BTreeMap::new(), waiting: Vec::new() };
    // A node's dependences must have been written before it, so blocks take turns, as they would when they run.
    let mut next = vec![0; gpu.blocks.len()];
    while let Some(block) = trace.ready(&next) {
        trace.step(block, next[block]);
        next[block] += 1;
    }
    bytes.extend(trace.nodes.iter().flat_map(Message::encode_length_delimited_to_vec));
    bytes
}

struct Trace<'a> {
    algo: &'a Algo,
    gpu: &'a Gpu,
    flags: Flags<'a>,
    options: ChakraOptions,
    nodes: Vec<Node>,
    /// The last node of each step that has been written, by block and step.
    last: BTreeMap<(u32, u32), u64>,
    /// Dependences of nops, by block, which the next step takes over.
    waiting: Vec<(u32, u64)>,
}

impl Trace<'_> {
    /// The first block whose next step depends on nothing that is not there, or any that is left.
    fn ready(&self, next: &[usize]) -> Option<usize> {
        let steps = |block: usize| self.gpu.blocks.get(block).map_or(&[][..], |block| &block.steps);
        let left = |&block: &usize| next[block] < steps(block).len();
        let free = |&block: &usize| {
            let after = steps(block).get(next[block]).and_then(|step| step.after);
            after.is_none_or(|(other, after)| {
                let done = next.get(other as usize).copied().unwrap_or(0);
                self.flags.ends(other, after).is_some_and(|awaited| (awaited.number as usize) < done)
            })
        };
        let all = || 0..next.len();
        all().filter(left).find(free).or_else(|| all().find(left))
    }

    fn step(&mut self, block: usize, index: usize) {
        let Some(block) = self.gpu.blocks.get(block) else { return };
        let Some(step) = block.steps.get(index) else { return };
        let mut deps: Vec<u64> = Vec::new();
        if let Some((other, after)) = step.after {
            let awaited = self.flags.ends(other, after);
            deps.extend(awaited.and_then(|step| self.last.get(&(other, step.number))));
        }
        if step.kind == Kind::Nop {
            self.waiting.extend(deps.into_iter().map(|node| (block.id, node)));
            return;
        }
        let before = step.number.checked_sub(1).and_then(|before| {
            let of_block = self.last.range((block.id, 0)..=(block.id, before));
            of_block.last().map(|(_, &node)| node)
        });
        deps.extend(before);
        deps.extend(self.waiting.iter().filter(|(of, _)| *of == block.id).map(|(_, node)| *node));
        self.waiting.retain(|(of, _)| *of != block.id);
        let bytes = u64::from(step.count).saturating_mul(self.options.chunk_bytes);
        let mut parts = Vec::new();
        if step.kind.receives() {
            parts.push(NodeType::Recv);
        }
        if step.kind.reduces_message() || matches!(step.kind, Kind::Copy | Kind::Reduce) {
            parts.push(NodeType::Compute);
        }
        if step.kind.sends() {
            parts.push(NodeType::Send);
        }
        for part in parts {
            let id = self.nodes.len() as u64;
            let (peer, verb) = match part {
                NodeType::Send => (block.send, "SEND"),
                NodeType::Recv => (block.recv, "RECV"),
                _ => (None, "COMP"),
            };
            let mut attr = Vec::new();
            let mut add = |name: &str, value| attr.push(Attribute { name: name.to_owned(), value: Some(value) });
            add("is_cpu_op", Value::Bool(false));
            if let Some(peer) = peer {
                let side = if part == NodeType::Send { "comm_dst" } else { "comm_src" };
                add("comm_type", Value::Int64(part as i64));
                add("comm_size", Value::Int64(i64::try_from(bytes).unwrap_or(i64::MAX)));
                add(side, Value::Int32(peer as i32));
                add("comm_tag", Value::Int32(block.channel as i32));
                let place = if part == NodeType::Send { step.source } else { step.destination };
                add("msg_chunk_cnt", Value::Int32(step.count as i32));
                add("msg_chunk_idx", Value::Int32(place.chunk.unwrap_or(0) as i32));
                add("total_chunk_cnt", Value::Int32(self.algo.chunks_per_loop as i32));
                add("tb_id", Value::Int32(block.id as i32));
            }
            let micros = bytes as f64 * self.options.microseconds_per_byte;
            let compute = part == NodeType::Compute;
            self.nodes.push(Node {
                id,
                name: format!("{verb}_tb{}_step{}_{}", block.id, step.number, step.kind.name()),
                kind: part as i32,
                ctrl_deps: Vec::new(),
                data_deps: std::mem::take(&mut deps),
                start_time_micros: 0,
                duration_micros: if compute { micros.ceil() as u64 } else { 0 },
                attr,
            });
            deps.push(id);
            self.last.insert((block.id, step.number), id);
        }
    }
}
