//! A package for people, and as data for whoever loads it elsewhere.
//!
//! The words themselves are in the data only: nobody reads them.

use std::fmt;

use serde::{Serialize, Serializer};

use super::kernel::Access;
use super::mode::{Mode, Protocol};
use super::package::{Contents, Package};
use super::plan::Dispatch;
use crate::schedule::Buffer;

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedule = self.proved.schedule();
        let place = if self.proved.in_place() { ", in place" } else { "" };
        writeln!(
            f,
            "{} of {} ranks by {}: {} of {} {}{place}",
            schedule.task.collective, schedule.ranks, schedule.origin, self.op, self.payload.count, self.data_type
        )?;
        writeln!(f, "dispatch    {}, protocol {}", self.mode(), self.protocol)?;
        let overrides = self.kernel.overrides().into_iter().map(|(name, value)| format!("{name} {value}"));
        writeln!(f, "shader      {}: {}", self.source().name, overrides.collect::<Vec<_>>().join(", "))?;
        let lanes = self.plan.lanes.len();
        writeln!(f, "channels    {} of {lanes} lanes in {} workgroups", self.arena.channels, self.hosting.hosts)?;
        writeln!(
            f,
            "pieces      {} of {} of {} vectors a chunk",
            self.pieces.count(),
            self.pieces.piece_vectors,
            self.pieces.chunk_vectors
        )?;
        let regions = [("inputs", Buffer::Input), ("outputs", Buffer::Output), ("slots", Buffer::Slot)];
        let regions = regions.map(|(name, buffer)| {
            let region = self.arena.region(buffer);
            format!("{name} {}..{}", region.start, region.end)
        });
        let atomics = self.arena.atomic_offset();
        writeln!(
            f,
            "arena       {} bytes: {}, {} {atomics}..{}",
            self.arena.bytes(),
            regions.join(", "),
            self.bindings.get(1).map_or("atomics", |binding| binding.name),
            self.arena.bytes()
        )?;
        for (number, binding) in self.bindings.iter().enumerate() {
            let all = match &binding.contents {
                Contents::Words(words) if binding.access == Access::UniformRow => {
                    format!(" of {}", words.len() * size_of::<u32>())
                }
                _ => String::new(),
            };
            let access = binding.access.name();
            writeln!(f, "binding {number}   {:<9} {access:<19} {} bytes{all}", binding.name, binding.bytes)?;
        }
        write!(f, "dispatches  {}", self.plan.dispatches.len())?;
        for run in self.plan.dispatches.chunk_by(|a, b| (a.first_lane, a.lanes) == (b.first_lane, b.lanes)) {
            let [Dispatch { first_lane, lanes, .. }, ..] = run else { continue };
            let workgroups = self.hosting.of(&run[0]) * self.arena.channels;
            write!(f, "\n  {} x lanes {first_lane}..{} in {workgroups} workgroups", run.len(), first_lane + lanes)?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Shader {
    name: String,
    entry_point: &'static str,
    needs_coherent_memory: bool,
    overrides: Vec<(&'static str, u32)>,
    text: String,
}

#[derive(Serialize)]
struct BindingData<'a> {
    name: &'static str,
    access: &'static str,
    bytes: u64,
    contents: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<&'a [u32]>,
}

#[derive(Serialize)]
struct Arena {
    bytes: u64,
    chunk_bytes: u64,
    inputs: std::ops::Range<u64>,
    outputs: std::ops::Range<u64>,
    slots: std::ops::Range<u64>,
    atomics: std::ops::Range<u64>,
}

#[derive(Serialize)]
struct Data<'a> {
    origin: String,
    mode: Mode,
    protocol: Protocol,
    payload: crate::payload::Payload,
    channels: u32,
    pieces: usize,
    shader: Shader,
    arena: Arena,
    bindings: Vec<BindingData<'a>>,
    /// Of one launch over a piece: offsets of both rows, where number 1 begins, and workgroups.
    dispatches: Vec<([u32; 2], u32)>,
}

impl Serialize for Package {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let source = self.source();
        let bindings = self.bindings.iter().map(|binding| {
            let (contents, words) = match &binding.contents {
                Contents::Vectors => ("vectors", None),
                Contents::Atomics => ("atomics", None),
                Contents::Progress => ("progress", None),
                Contents::Memory => ("memory", None),
                Contents::Tickets { .. } => ("tickets", None),
                Contents::Words(words) => ("words", Some(&words[..])),
            };
            BindingData { name: binding.name, access: binding.access.name(), bytes: binding.bytes, contents, words }
        });
        let steps = self.steps(0, Some(1), self.plan.dispatches.len()).map(|step| (step.rows, step.workgroups));
        let data = Data {
            origin: self.proved.schedule().origin.to_string(),
            mode: self.mode(),
            protocol: self.protocol,
            payload: self.payload,
            channels: self.arena.channels,
            pieces: self.pieces.count(),
            shader: Shader {
                name: source.name,
                entry_point: self.kernel.entry_point(),
                needs_coherent_memory: source.coherent,
                overrides: self.kernel.overrides(),
                text: source.text,
            },
            arena: Arena {
                bytes: self.arena.bytes(),
                chunk_bytes: self.arena.chunk_bytes(),
                inputs: self.arena.region(Buffer::Input),
                outputs: self.arena.region(Buffer::Output),
                slots: self.arena.region(Buffer::Slot),
                atomics: self.arena.atomic_offset()..self.arena.bytes(),
            },
            bindings: bindings.collect(),
            dispatches: steps.collect(),
        };
        data.serialize(serializer)
    }
}
