//! One collective from inputs to a judged result: build, prove, prepare, launch, compare with the golden.
//!
//! What `wgccl run` does, without any printing; the same request always gives the same bits.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use wgccl::buffers::{Extents, UserBuffer};
use wgccl::collective::{Collective, Op, Task};
use wgccl::cpu;
use wgccl::element::{DataType, Element, supported};
use wgccl::fault::Fault;
use wgccl::golden::{Comparison, compare};
use wgccl::gpu::{self, Adapter, AdapterInfo, Choice, Gpu, adapters};
use wgccl::inputs::{Fill, generate_parts};
use wgccl::lower::plan::Mode;
use wgccl::payload::{Payload, PayloadError};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{AddressMap, Algorithm, DeviceKind, Schedule, Selection, SyncStyle, build};

use crate::error::Error;
use crate::tensor;

/// The device that is always there.
pub const CPU: &str = "cpu";
/// Choose a device.
pub const AUTO: &str = "auto";

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is computed.
    pub task: Task,
    /// How.
    pub algorithm: Selection,
    /// Who waits for whom.
    pub sync: SyncStyle,
    /// Element type.
    pub data_type: DataType,
    /// Reduction.
    pub op: Op,
    /// Input is output.
    pub in_place: bool,
    /// Where inputs come from.
    pub source: Source,
    /// `auto`, `cpu`, an index or words of a name.
    pub device: String,
    /// Dispatch mode on a GPU.
    pub dispatch: Choice,
    /// Channels; chosen if not given.
    pub channels: Option<u32>,
    /// A defect to put in.
    pub fault: Option<Fault>,
}

/// Where inputs come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Generated.
    Generated {
        /// Which kind.
        fill: Fill,
        /// Of what seed.
        seed: u64,
        /// For how many ranks.
        ranks: u32,
        /// Elements of a part.
        count: usize,
    },
    /// Read from files.
    Files {
        /// One per rank, or one for all. Where only the root gives something: its input, in one file.
        files: Vec<PathBuf>,
        /// The tensor in a file that has several.
        tensor: Option<String>,
        /// For how many ranks, where files do not say so because only the root's is there.
        ranks: Option<u32>,
    },
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What was computed.
    pub collective: Collective,
    /// The root, where there is one.
    pub root: Option<u32>,
    /// Of send-recv: from whom each rank received, where that was not the one before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<u32>,
    /// How.
    pub algorithm: Algorithm,
    /// The algorithm was chosen by [`Algorithm::choose`] and not named.
    pub algorithm_auto: bool,
    /// Who waited for whom.
    pub sync: SyncStyle,
    /// Participants.
    pub ranks: u32,
    /// Elements of a part: what NCCL's calls take as count.
    pub count: usize,
    /// Elements of all outputs together.
    pub elements: u64,
    /// Element type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Reduction, where there is one.
    pub op: Option<Op>,
    /// Input was output.
    pub in_place: bool,
    /// Name of the device.
    pub device: String,
    /// Its backend.
    pub backend: &'static str,
    /// Its driver.
    pub driver: Option<String>,
    /// Dispatch mode, on a GPU.
    pub dispatch: Option<Mode>,
    /// Dispatches, on a GPU.
    pub dispatches: u32,
    /// Independent slices.
    pub channels: u32,
    /// Pieces that the payload went in.
    pub pieces: usize,
    /// Bytes of device memory that it took, on a GPU: bounded, whatever the payload.
    pub device_bytes: Option<u64>,
    /// Instructions of the schedule.
    pub instructions: usize,
    /// Elements that differ from the golden, over all ranks.
    pub wrong: u64,
    /// Elements that agree only where subnormals are flushed to zero.
    pub flushed: u64,
    /// Ranks that must hold the same hold the same bits.
    pub bit_identical: bool,
    /// Largest error against a reference of higher precision, in units of the last place.
    pub max_ulp: f64,
    /// Microseconds from the first input to the last output, copies to and from the device included.
    pub time_us: f64,
    /// Microseconds that the proof took.
    pub proof_us: f64,
    /// Nothing is wrong.
    pub ok: bool,
}

/// An outcome with the data behind it.
#[derive(Debug)]
pub struct Finished<T> {
    /// What came out.
    pub outcome: Outcome,
    /// What went in: one vector per rank, empty where it has none.
    pub inputs: Vec<Vec<T>>,
    /// What came out: one vector per rank, empty where it has none.
    pub outputs: Vec<Vec<T>>,
    /// Where the first wrong element is.
    pub first_wrong: Option<(u32, usize)>,
    /// Why a device other than the one that a user would expect was taken.
    pub notes: Vec<String>,
}

impl<T> Finished<T> {
    /// The error that a wrong result is.
    pub fn error(&self) -> Option<Error> {
        let (rank, index) = self.first_wrong.unwrap_or_default();
        let Outcome { ok, wrong, elements, .. } = self.outcome;
        (!ok).then_some(Error::Wrong { wrong, elements, rank, index })
    }
}

/// What a run is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Inputs are made.
    Inputs,
    /// The collective runs.
    Launch {
        /// Pieces of the payload that are done.
        done: usize,
        /// Of how many.
        pieces: usize,
        /// Bytes of a part of the payload, over all pieces.
        part_bytes: u64,
    },
    /// Outputs are held against the golden.
    Compare,
}

/// Is told what a run is at.
pub type Watch = Arc<dyn Fn(Stage) + Send + Sync>;

/// Runs `request`, and tells `watch` how far it is.
///
/// # Errors
/// [`Error`]; a wrong result is not one here, see [`Finished::error`].
pub fn run<T: Element>(request: &Request, watch: &Watch) -> Result<Finished<T>, Error> {
    let collective = request.task.collective;
    if collective.reduces() {
        supported(T::TYPE, request.op)?;
    }
    let mut notes = Vec::new();
    let device = Device::find(&request.device, &mut notes)?;
    if matches!(device, Device::Cpu) && request.dispatch != Choice::Auto {
        return Err(Error::Usage("the CPU executor has no dispatch modes; leave --dispatch out".to_owned()));
    }
    check_place(collective, request.in_place)?;
    // Everything that can be refused without data is refused before data is made.
    let (ranks, loaded) = match &request.source {
        Source::Generated { ranks, .. } => (*ranks, None),
        Source::Files { files, tensor, ranks } => {
            let inputs = load::<T>(request, files, tensor.as_deref(), *ranks)?;
            (inputs.len() as u32, Some(inputs))
        }
    };
    let count = match (&request.source, &loaded) {
        (_, Some(inputs)) => part_of(&request.task, inputs)?,
        (Source::Generated { count, .. }, _) => *count,
        (Source::Files { .. }, None) => 0,
    };
    let part_bytes = (count as u64).saturating_mul(T::TYPE.bytes() as u64);
    let algorithm = request.algorithm.algorithm(collective, ranks, part_bytes, device.kind());
    let schedule = build(request.task.clone(), algorithm, ranks, request.sync)?;
    device.check_ranks(ranks)?;
    check_count(collective, count)?;
    Payload::new(&schedule, count, T::TYPE.bytes())?;
    check_memory(&schedule, count, T::TYPE.bytes())?;
    if let Some(fault) = request.fault {
        check_fault(fault, &schedule)?;
    }
    watch(Stage::Inputs);
    let inputs = match loaded {
        Some(inputs) => inputs,
        None => generated(request, &schedule, count)?,
    };

    let start = Instant::now();
    let proved = prove(schedule, proof::Options::default().in_place(request.in_place))?;
    let proof = start.elapsed();

    let payload = proved.payload(count, T::TYPE)?;
    let extents = proved.extents(count);
    let mut outputs = Vec::new();
    for (rank, input) in (0..).zip(&inputs) {
        let mut output = reserved(ranks, extents.len(extents.results(), rank))?;
        extents.prepare(rank, input, &mut output);
        outputs.push(output);
    }
    let ran = device.launch(request, &proved, payload, &inputs, &mut outputs, watch)?;
    // What else is in a buffer in place is the rank's input.
    for (rank, output) in (0..).zip(&mut outputs) {
        let range = extents.output(rank);
        output.truncate(range.end);
        output.drain(..range.start);
    }

    watch(Stage::Compare);
    let (input_views, output_views) = (views(&inputs), views(&outputs));
    let Comparison { wrong, first_wrong, flushed, bit_identical, max_ulp, .. } =
        compare(&proved, &payload, request.op, &input_views, &output_views);
    let outcome = Outcome {
        collective,
        root: collective.has_root().then_some(request.task.root),
        sources: request.task.sources.clone(),
        algorithm,
        algorithm_auto: request.algorithm.is_auto(),
        sync: request.sync,
        ranks,
        count,
        elements: extents.total(UserBuffer::Output) as u64,
        data_type: T::TYPE,
        op: collective.reduces().then_some(request.op),
        in_place: request.in_place,
        device: ran.device,
        backend: ran.backend,
        driver: ran.driver,
        dispatch: ran.dispatch,
        dispatches: ran.dispatches,
        channels: ran.channels,
        pieces: ran.pieces,
        device_bytes: ran.device_bytes,
        instructions: proved.schedule().instructions(),
        wrong,
        flushed,
        bit_identical,
        max_ulp,
        time_us: microseconds(ran.time),
        proof_us: microseconds(proof),
        ok: wrong == 0,
    };
    Ok(Finished { outcome, inputs, outputs, first_wrong, notes })
}

/// Said in the program's words, before the proof says it in its own.
pub(crate) fn check_place(collective: Collective, in_place: bool) -> Result<(), Error> {
    match in_place && !collective.has_in_place() {
        true => Err(Error::Usage(format!("{collective} has no form in place; leave --in-place out"))),
        false => Ok(()),
    }
}

/// A fault that changes nothing would be taken for a launch that survived it.
fn check_fault(fault: Fault, schedule: &Schedule) -> Result<(), Error> {
    const SHOWN: usize = 12;
    let Fault::DropNotify { rank, row } = fault else { return Ok(()) };
    let notifies = schedule.lanes.iter().flat_map(|lane| {
        let notifies = lane.instructions.iter().flat_map(|instruction| &instruction.notifies);
        notifies.map(|notify| (lane.rank, notify.row))
    });
    let all: BTreeSet<(u32, u32)> = notifies.collect();
    if all.contains(&(rank, row)) {
        return Ok(());
    }
    let what = format!("{} of {} ranks", schedule.origin, schedule.ranks);
    if all.is_empty() {
        return Err(Error::Usage(format!("nobody notifies in {what}; leave --drop-notify out")));
    }
    // What is nearest to what was wanted: that rank, or that row.
    let near: Vec<_> = all.iter().filter(|(of, at)| *of == rank || *at == row).collect();
    let near = if near.is_empty() { all.iter().collect() } else { near };
    let mut shown: Vec<String> = near.iter().take(SHOWN).map(|(rank, row)| format!("{rank}:{row}")).collect();
    shown.extend((near.len() > SHOWN).then(|| "...".to_owned()));
    Err(Error::Usage(format!(
        "rank {rank} notifies nobody on signal row {row} in {what}; choose one of RANK:ROW {}",
        shown.join(" ")
    )))
}

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn views<T>(vectors: &[Vec<T>]) -> Vec<&[T]> {
    vectors.iter().map(Vec::as_slice).collect()
}

fn generated<T: Element>(request: &Request, schedule: &Schedule, count: usize) -> Result<Vec<Vec<T>>, Error> {
    let Source::Generated { fill, seed, .. } = request.source else { return Ok(Vec::new()) };
    let map = address_map(schedule, count)?;
    let extents = Extents::new(&map, count);
    (0..schedule.ranks)
        .map(|rank| {
            let mut input = reserved(schedule.ranks, extents.len(UserBuffer::Input, rank))?;
            generate_parts(&mut input, schedule, fill, seed, rank, count);
            Ok(input)
        })
        .collect()
}

/// One vector for each rank, empty where the collective gives it no input.
fn load<T: Element>(
    request: &Request,
    files: &[PathBuf],
    tensor: Option<&str>,
    ranks: Option<u32>,
) -> Result<Vec<Vec<T>>, Error> {
    let Task { collective, root, .. } = request.task;
    let usage = |text: &str| Err(Error::Usage(format!("{collective}: {text}")));
    if collective == Collective::Barrier {
        return usage("there is nothing to give in; leave --input out");
    }
    if !collective.only_root_gives() {
        if ranks.is_some() {
            return usage("--input decides the number of ranks; leave --ranks out");
        }
        return Ok(tensor::load(files, tensor)?);
    }
    let Some(ranks) = ranks else {
        return usage("--input is the root's alone and does not say how many ranks there are; give --ranks");
    };
    let [file] = files else {
        return usage("only the root has an input; give one file");
    };
    if root >= ranks {
        return usage(&format!("root {root} is not a rank; there are {ranks}"));
    }
    let mut inputs: Vec<Vec<T>> = (0..ranks).map(|_| Vec::new()).collect();
    inputs[root as usize] = tensor::load_whole(file, tensor)?;
    Ok(inputs)
}

/// Elements of a part, where `inputs` are whole inputs of equal length.
fn part_of<T>(task: &Task, inputs: &[Vec<T>]) -> Result<usize, Error> {
    let giver = inputs.iter().position(|input| !input.is_empty()).unwrap_or(0);
    let length = inputs.get(giver).map_or(0, Vec::len);
    let parts = task.input_parts(giver as u32, inputs.len() as u32).max(1) as usize;
    if length % parts == 0 {
        return Ok(length / parts);
    }
    let collective = task.collective;
    Err(Error::Usage(format!(
        "{collective}: an input of {length} elements has no equal parts for {parts} ranks; give a multiple of {parts}"
    )))
}

pub(crate) fn reserved<T>(ranks: u32, count: usize) -> Result<Vec<T>, Error> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(count).map_err(|_| PayloadError::TooLarge { count, ranks })?;
    Ok(vector)
}

/// Inputs and outputs as they lie apart from each other.
pub(crate) fn address_map(schedule: &Schedule, count: usize) -> Result<AddressMap, Error> {
    let too_large = PayloadError::TooLarge { count, ranks: schedule.ranks };
    AddressMap::new(schedule, false).ok_or_else(|| too_large.into())
}

/// Refuses a count of which nothing would come.
pub(crate) fn check_count(collective: Collective, count: usize) -> Result<(), Error> {
    if count == 0 && collective != Collective::Barrier { Err(Error::Empty) } else { Ok(()) }
}

/// Inputs, outputs, the golden and one copy on the way to a device must fit what the system has free, where it says so:
/// being killed half-way is the worst of all error messages. `count` has been found to be addressable.
pub(crate) fn check_memory(schedule: &Schedule, count: usize, element_bytes: usize) -> Result<(), Error> {
    let map = address_map(schedule, count)?;
    let extents = Extents::new(&map, count);
    let [inputs, outputs] = [UserBuffer::Input, UserBuffer::Output].map(|what| extents.total(what) as u64);
    let elements = inputs.saturating_add(outputs.saturating_mul(2)).saturating_add(count as u64);
    let needed = elements.saturating_mul(element_bytes as u64);
    match available_memory() {
        Some(available) if needed > available => Err(Error::Usage(format!(
            "a count of {count} elements for {} ranks needs about {} MiB of memory, and {} MiB are free; use a smaller count",
            schedule.ranks,
            needed >> 20,
            available >> 20
        ))),
        _ => Ok(()),
    }
}

/// Bytes that can be had without swapping, on Linux.
fn available_memory() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

/// A device that is ready.
pub(crate) enum Device {
    /// The CPU executor.
    Cpu,
    /// An open GPU.
    Gpu(Box<Gpu>),
}

/// The kind of device that a name stands for, without opening it.
pub(crate) fn kind_of(wanted: &str) -> Result<DeviceKind, Error> {
    match wanted {
        CPU => Ok(DeviceKind::Cpu),
        AUTO => Ok(adapters().first().map_or(DeviceKind::Cpu, |adapter| adapter.info().device_kind())),
        name => Ok(gpu::select(&adapters(), name)?.info().device_kind()),
    }
}

/// How a launch went.
struct Ran {
    device: String,
    backend: &'static str,
    driver: Option<String>,
    dispatch: Option<Mode>,
    dispatches: u32,
    channels: u32,
    pieces: usize,
    device_bytes: Option<u64>,
    time: Duration,
}

impl Device {
    pub(crate) fn find(wanted: &str, notes: &mut Vec<String>) -> Result<Self, Error> {
        match wanted {
            CPU => Ok(Self::Cpu),
            AUTO => Ok(Self::best(&adapters(), notes)),
            name => Ok(Self::Gpu(Box::new(Gpu::open(gpu::select(&adapters(), name)?)?))),
        }
    }

    /// The best device that opens, and the CPU executor if none does.
    fn best(adapters: &[Adapter], notes: &mut Vec<String>) -> Self {
        for adapter in adapters {
            match Gpu::open(adapter) {
                Ok(gpu) => return Self::Gpu(Box::new(gpu)),
                Err(error) => notes.push(error.to_string()),
            }
        }
        notes.push("no GPU driver found (Vulkan, Metal, DX12 or OpenGL): using the CPU executor".to_owned());
        Self::Cpu
    }

    pub(crate) fn kind(&self) -> DeviceKind {
        match self {
            Self::Cpu => DeviceKind::Cpu,
            Self::Gpu(gpu) => gpu.info().device_kind(),
        }
    }

    pub(crate) fn check_ranks(&self, ranks: u32) -> Result<(), Error> {
        match self {
            Self::Cpu if ranks > cpu::MAX_RANKS => Err(cpu::CpuError::Ranks(ranks).into()),
            Self::Gpu(_) if ranks > gpu::MAX_RANKS => Err(gpu::LaunchError::Ranks(ranks).into()),
            _ => Ok(()),
        }
    }

    fn launch<T: Element>(
        &self,
        request: &Request,
        proved: &Proved,
        payload: Payload,
        inputs: &[Vec<T>],
        outputs: &mut [Vec<T>],
        watch: &Watch,
    ) -> Result<Ran, Error> {
        let part_bytes = (payload.count * payload.element_bytes) as u64;
        let inputs = views(inputs);
        let mut outputs: Vec<&mut [T]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        match self {
            Self::Cpu => {
                let options = cpu::Options::default().channels(request.channels).fault(request.fault);
                let mut executor = cpu::Executor::new(proved, payload, request.op, options)?;
                watch(Stage::Launch { done: 0, pieces: 1, part_bytes });
                let start = Instant::now();
                match request.in_place {
                    true => executor.run_in_place(&mut outputs)?,
                    false => executor.run(&inputs, &mut outputs)?,
                }
                let time = start.elapsed();
                let channels = executor.channels();
                let (device, backend) = (CPU.to_owned(), CPU);
                Ok(Ran {
                    device,
                    backend,
                    driver: None,
                    dispatch: None,
                    dispatches: 0,
                    channels,
                    pieces: 1,
                    device_bytes: None,
                    time,
                })
            }
            Self::Gpu(gpu) => {
                let options =
                    gpu::Options::default().dispatch(request.dispatch).channels(request.channels).fault(request.fault);
                let mut executor = gpu::Executor::new(gpu, proved, payload, request.op, options)?;
                let (pieces, watch) = (executor.pieces(), watch.clone());
                watch(Stage::Launch { done: 0, pieces, part_bytes });
                executor.on_piece(move |done| watch(Stage::Launch { done, pieces, part_bytes }));
                let launched = match request.in_place {
                    true => executor.run_in_place(&mut outputs)?,
                    false => executor.run(&inputs, &mut outputs)?,
                };
                let (user, windows) = executor.device_bytes();
                let AdapterInfo { name, backend, driver, .. } = gpu.info().clone();
                Ok(Ran {
                    device: name,
                    backend,
                    driver: Some(driver),
                    dispatch: Some(executor.mode()),
                    dispatches: launched.dispatches,
                    channels: executor.channels(),
                    pieces: launched.pieces,
                    device_bytes: Some(user + windows),
                    time: launched.time,
                })
            }
        }
    }
}
