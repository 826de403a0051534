//! Accepted schedules on real data: executors and golden against the plain evaluation, in every bit.
//!
//! All buffers of a launch lie in one block of memory with gaps between them, so that a write outside of them is seen.

use std::ops::Range;

use wgccl::backend::{Backend, Options, Ready, Shape, Spread};
use wgccl::collective::Op;
use wgccl::cpu::Cpu;
use wgccl::element::{DataType, Element};
use wgccl::error::PrepareError;
use wgccl::golden::{Golden, Goldens};
use wgccl::low_level::{Typed, typed};
use wgccl::lower::{LowerError, Mode, Protocol, Unsound};
use wgccl::proof::Proved;
use wgccl::schedule::{Granularity, Schedule};

use super::arithmetic::{bytes, element, is_nan};
use super::evaluate::{Cut, evaluate};
use super::promise::Places;
use super::random::Random;

/// What a device made of a request.
pub(crate) type Made = Result<Box<dyn Ready>, PrepareError>;

/// A device, whatever it is.
pub(crate) struct Device {
    pub(crate) name: String,
    /// Dispatch modes and protocols that are sound on it.
    pub(crate) ways: Vec<(Mode, Protocol)>,
    /// None where it would take long, unless it must: a kernel that has not been compiled yet.
    #[allow(clippy::type_complexity)]
    pub(crate) prepare: Box<dyn Fn(&Proved, Shape, &Options, bool) -> Option<Made> + Send + Sync>,
}

/// A schedule to be launched over some type.
pub(crate) struct Launch<'a> {
    schedule: &'a Schedule,
    proved: &'a Proved,
    places: &'a Places,
    in_place: bool,
    pub(crate) data_type: DataType,
    pub(crate) op: Op,
    pub(crate) count: usize,
}

/// Why a launch is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Differs {
    /// The library's own golden.
    Golden(String),
    /// An executor.
    Executor(String),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Launched {
    pub(crate) launches: u64,
    /// Elements as of a device that takes subnormals for zero.
    pub(crate) flushed: u64,
    /// Not launched, because the schedule cannot be: an average in place that a name hides, or lanes that share too much
    /// for data that carries its own flag.
    pub(crate) refused: bool,
    /// Not launched, because it would have taken long.
    pub(crate) put_off: bool,
}

impl<'a> Launch<'a> {
    /// Of a random type, operation and count.
    pub(crate) fn new(
        random: &mut Random,
        schedule: &'a Schedule,
        proved: &'a Proved,
        places: &'a Places,
        in_place: bool,
        most: u32,
    ) -> Self {
        let data_type = *random.pick(DataType::ALL);
        let ops: Vec<Op> = Op::ALL.iter().copied().filter(|&op| op != Op::Avg || data_type.is_float()).collect();
        let op = *random.pick(&ops);
        let count = random.below(most + 1).min(random.below(most + 1));
        let count = match schedule.granularity {
            _ if places.promise.collective == wgccl::collective::Collective::Barrier => 0,
            Granularity::DivisibleBy(n) if n > 4096 => 0,
            Granularity::DivisibleBy(n) => count.next_multiple_of(n),
            _ => count,
        };
        Self { schedule, proved, places, in_place, data_type, op, count: count as usize }
    }

    fn shape(&self) -> Shape {
        Shape::new(self.count, self.data_type, self.op)
    }

    /// Inputs of all ranks by the bits of their elements.
    fn inputs(&self, random: &mut Random) -> Vec<Vec<u64>> {
        let length = |rank| self.places.promise.gives(rank) as usize * self.count;
        let input = |rank| (0..length(rank)).map(|_| element(random, self.data_type)).collect();
        (0..self.schedule.ranks).map(input).collect()
    }

    fn expected(&self, inputs: &[Vec<u64>]) -> Vec<Vec<u64>> {
        let cut = Cut::new(self.schedule, self.count, self.data_type);
        evaluate(self.schedule, self.places, self.in_place, (self.data_type, self.op), cut, inputs)
    }

    /// # Errors
    /// What differs.
    pub(crate) fn on_cpu(&self, random: &mut Random, cpu: &Cpu, launches: u32) -> Result<Launched, Differs> {
        let mut options = Options::default().spread(*random.pick(Spread::ALL));
        if random.percent(60) {
            options = options.workers(1 + random.index(3));
        }
        if random.percent(40) {
            options = options.channels(random.between(1, 4));
        }
        let made = cpu.prepare(self.proved, self.shape(), &options).map(|ready| Box::new(ready) as Box<dyn Ready>);
        self.launch(random, made, launches, false)
    }

    /// # Errors
    /// What differs.
    pub(crate) fn on(
        &self,
        random: &mut Random,
        device: &Device,
        launches: u32,
        must: bool,
    ) -> Result<Launched, Differs> {
        let (mode, protocol) = *random.pick(&device.ways);
        let mut options = Options::default().dispatch(mode).protocol(protocol);
        if random.percent(25) {
            options = options.channels(random.between(1, 3));
        }
        if random.percent(25) {
            options = options.workgroups(random.between(1, 3));
        }
        if random.percent(25) {
            // Two or three vectors of every chunk: larger payloads go in pieces.
            options = options.arena_bytes(u64::from(self.places.len.max(1) * random.between(2, 3) * 16));
        }
        match (device.prepare)(self.proved, self.shape(), &options, must) {
            None => Ok(Launched { put_off: true, ..Launched::default() }),
            Some(made) => self.launch(random, made, launches, true).map_err(|differs| match differs {
                Differs::Executor(text) => Differs::Executor(format!("{}, {mode} {protocol}: {text}", device.name)),
                golden => golden,
            }),
        }
    }

    fn launch(&self, random: &mut Random, made: Made, launches: u32, may_flush: bool) -> Result<Launched, Differs> {
        let failed =
            |text: String| Differs::Executor(format!("{} {} of {}: {text}", self.op, self.data_type, self.count));
        let mut ready = match made {
            Ok(ready) => ready,
            Err(PrepareError::Unscalable(_)) if self.in_place && self.op == Op::Avg => {
                return Ok(Launched { refused: true, ..Launched::default() });
            }
            Err(PrepareError::Lower { error: LowerError::Unsound { reason: Unsound::Shared { .. }, .. }, .. }) => {
                return Ok(Launched { refused: true, ..Launched::default() });
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut launched = Launched::default();
        for _ in 0..launches {
            let inputs = self.inputs(random);
            let expected = self.expected(&inputs);
            let given = self.given(random, &inputs);
            self.golden(&given, &expected)?;
            let is_loaded = random.percent(20);
            let results = self.execute(random, &mut *ready, &given, is_loaded).map_err(&failed)?;
            launched.flushed += self.compare(&given, &results, &expected, may_flush).map_err(&failed)?;
            launched.launches += 1;
        }
        Ok(launched)
    }

    /// The inputs in memory.
    fn given(&self, random: &mut Random, inputs: &[Vec<u64>]) -> Block {
        let mut block = Block::new(random, bytes(self.data_type), inputs.iter().map(Vec::len));
        block.slices_mut().into_iter().zip(inputs).for_each(|(to, from)| put(to, from, bytes(self.data_type)));
        block
    }

    fn execute(
        &self,
        random: &mut Random,
        ready: &mut dyn Ready,
        given: &Block,
        loaded: bool,
    ) -> Result<Block, String> {
        let size = bytes(self.data_type);
        let length = |rank| self.places.buffer_parts(rank).1 as usize * self.count;
        let mut results = Block::new(random, size, (0..self.schedule.ranks).map(length));
        if self.in_place {
            for (rank, (to, from)) in (0..).zip(results.slices_mut().into_iter().zip(given.slices())) {
                let start = self.places.offsets(rank).0 as usize * self.count * size;
                to[start..start + from.len()].copy_from_slice(from);
            }
        }
        let before = results.clone();
        let told = |error: wgccl::error::RunError| error.to_string();
        if loaded {
            for piece in 0..ready.prepared().pieces {
                let from = if self.in_place { before.slices() } else { given.slices() };
                ready.load(piece, &from).map_err(told)?;
                ready.launch().map_err(told)?;
                ready.fetch(&mut results.slices_mut()).map_err(told)?;
            }
        } else if self.in_place {
            ready.run_in_place(&mut results.slices_mut()).map_err(told)?;
        } else {
            ready.run(&given.slices(), &mut results.slices_mut()).map_err(told)?;
        }
        if !results.is_intact() {
            return Err("memory between the buffers was written".to_owned());
        }
        for (rank, (now, then)) in (0..).zip(results.slices().into_iter().zip(before.slices())) {
            let Range { start, end } = self.output(rank);
            if now[..start] != then[..start] || now[end..] != then[end..] {
                return Err(format!("rank {rank}'s buffer was written outside its output"));
            }
        }
        Ok(results)
    }

    /// Bytes of `rank`'s output in the buffer for it.
    fn output(&self, rank: u32) -> Range<usize> {
        let part = self.count * bytes(self.data_type);
        let start = self.places.offsets(rank).1 as usize * part;
        start..start + self.places.promise.gets(rank) as usize * part
    }

    /// How many elements are only what flushing subnormals makes of them.
    fn compare(&self, given: &Block, results: &Block, expected: &[Vec<u64>], may_flush: bool) -> Result<u64, String> {
        let outputs: Vec<&[u8]> =
            (0..).zip(results.slices()).map(|(rank, buffer)| &buffer[self.output(rank)]).collect();
        let Err(text) = self.same(&outputs, expected) else { return Ok(0) };
        // What a device without subnormals makes of it is the library's own word.
        if may_flush && matches!(self.data_type, DataType::F32 | DataType::BF16) {
            let flushed = Flushed { launch: self, inputs: &given.slices(), outputs: &outputs };
            if let Some(flushed) = typed(self.data_type, flushed) {
                return Ok(flushed);
            }
        }
        Err(text)
    }

    fn same(&self, got: &[&[u8]], expected: &[Vec<u64>]) -> Result<(), String> {
        let size = bytes(self.data_type);
        for (rank, (got, expected)) in got.iter().zip(expected).enumerate() {
            if got.len() != expected.len() * size {
                return Err(format!("rank {rank} has {} bytes, not {} elements", got.len(), expected.len()));
            }
            for (i, (got, &expected)) in got.chunks_exact(size).zip(expected).enumerate() {
                let got = taken(got);
                let nan =
                    self.places.promise.reduces() && is_nan(self.data_type, got) && is_nan(self.data_type, expected);
                if got != expected && !nan {
                    return Err(format!("rank {rank} has {got:#x} at {i}, not {expected:#x}"));
                }
            }
        }
        Ok(())
    }

    fn golden(&self, given: &Block, expected: &[Vec<u64>]) -> Result<(), Differs> {
        let golden = typed(self.data_type, Expected { launch: self, inputs: &given.slices() });
        let golden: Vec<&[u8]> = golden.iter().map(Vec::as_slice).collect();
        let what = |text| Differs::Golden(format!("golden, {} {} of {}: {text}", self.op, self.data_type, self.count));
        self.same(&golden, expected).map_err(what)
    }
}

/// The golden's outputs.
struct Expected<'a> {
    launch: &'a Launch<'a>,
    inputs: &'a [&'a [u8]],
}

fn elements<'a, T: Element>(slices: &[&'a [u8]]) -> Vec<&'a [T]> {
    slices.iter().map(|slice| bytemuck::cast_slice(slice)).collect()
}

impl Typed for Expected<'_> {
    type Output = Vec<Vec<u8>>;

    fn run<T: Element>(self) -> Vec<Vec<u8>> {
        let Launch { proved, count, op, schedule, .. } = *self.launch;
        let payload = proved.payload(count, T::TYPE).expect("a count that the schedule takes");
        let golden = Golden::new(proved, &payload, op, &elements::<T>(self.inputs)).expect("inputs of every rank");
        (0..schedule.ranks).map(|rank| bytemuck::cast_slice(golden.expected(rank)).to_vec()).collect()
    }
}

/// How many elements agree only with the golden of a device without subnormals, if no other differs.
struct Flushed<'a> {
    launch: &'a Launch<'a>,
    inputs: &'a [&'a [u8]],
    outputs: &'a [&'a [u8]],
}

impl Typed for Flushed<'_> {
    type Output = Option<u64>;

    fn run<T: Element>(self) -> Option<u64> {
        let Launch { proved, count, op, .. } = *self.launch;
        let payload = proved.payload(count, T::TYPE).expect("a count that the schedule takes");
        // Where its elements must not lie, they are brought.
        let outputs: Vec<Vec<T>> = self
            .outputs
            .iter()
            .map(|output| output.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
            .collect();
        let outputs: Vec<&[T]> = outputs.iter().map(Vec::as_slice).collect();
        let inputs = elements::<T>(self.inputs);
        let goldens = Goldens::new(proved, &payload, op, &inputs).expect("inputs of every rank");
        let mut flushed = 0;
        for (rank, output) in (0..).zip(outputs) {
            let (kept, without) = (goldens.golden().expected(rank), goldens.flushed().expected(rank));
            for (i, got) in output.iter().enumerate() {
                match (got.agrees(kept[i]), got.agrees(without[i])) {
                    (true, _) => {}
                    (false, true) => flushed += 1,
                    (false, false) => return None,
                }
            }
        }
        Some(flushed)
    }
}

fn put(to: &mut [u8], from: &[u64], size: usize) {
    to.chunks_exact_mut(size).zip(from).for_each(|(to, from)| to.copy_from_slice(&from.to_le_bytes()[..size]));
}

fn taken(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte))
}

/// Buffers in one block of memory, filled with a pattern.
#[derive(Clone)]
struct Block {
    words: Vec<u64>,
    buffers: Vec<Range<usize>>,
}

impl Block {
    const PATTERN: u64 = 0xa5c3_a5c3_a5c3_a5c3;
    const GAP: usize = 64;

    /// Of so many elements each; they begin where elements may.
    fn new(random: &mut Random, size: usize, lengths: impl Iterator<Item = usize>) -> Self {
        let (mut buffers, mut at) = (Vec::new(), 0);
        for length in lengths {
            let start = at + Self::GAP + random.index(4) * size;
            buffers.push(start..start + length * size);
            at = (start + length * size).next_multiple_of(8);
        }
        Self { words: vec![Self::PATTERN; (at + Self::GAP) / 8], buffers }
    }

    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words)
    }

    fn slices(&self) -> Vec<&[u8]> {
        self.buffers.iter().map(|range| &self.bytes()[range.clone()]).collect()
    }

    fn slices_mut(&mut self) -> Vec<&mut [u8]> {
        let (mut rest, mut at, mut slices): (&mut [u8], _, _) =
            (bytemuck::cast_slice_mut(&mut self.words), 0, Vec::new());
        for Range { start, end } in &self.buffers {
            let (_, after) = rest.split_at_mut(start - at);
            let (slice, after) = after.split_at_mut(end - start);
            slices.push(slice);
            (rest, at) = (after, *end);
        }
        slices
    }

    /// Whether the gaps are as they were.
    fn is_intact(&self) -> bool {
        let pattern = Self::PATTERN.to_le_bytes();
        let ends = [0].into_iter().chain(self.buffers.iter().map(|buffer| buffer.end));
        let starts = self.buffers.iter().map(|buffer| buffer.start).chain([self.words.len() * 8]);
        ends.zip(starts).all(|(from, to)| (from..to).all(|i| self.bytes()[i] == pattern[i % 8]))
    }
}
