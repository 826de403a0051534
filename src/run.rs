//! One collective from inputs to a judged result: build, prove, prepare, launch, compare with the golden.
//!
//! What `wgccl run` does, without any printing; the same request always gives the same bits.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::collective::{Collective, Op};
use crate::element::{DataType, Element, supported};
use crate::error::Error;
use crate::golden::{Comparison, compare};
use crate::gpu::{self, Adapter, AdapterInfo, Choice, Gpu, adapters};
use crate::hang::Fault;
use crate::inputs::{Fill, generate_into};
use crate::plan::Mode;
use crate::schedule::{Algorithm, Schedule, Sync, build};
use crate::verify::{self, Proved, prove};
use crate::window::{Payload, WindowError};
use crate::{cpu, tensor};

/// The device that is always there.
pub const CPU: &str = "cpu";
/// Choose a device.
pub const AUTO: &str = "auto";

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is computed.
    pub collective: Collective,
    /// How.
    pub algorithm: Algorithm,
    /// Who waits for whom.
    pub sync: Sync,
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
        /// Elements of each.
        count: usize,
    },
    /// Read from files.
    Files {
        /// One per rank, or one for all.
        files: Vec<PathBuf>,
        /// The tensor in a file that has several.
        tensor: Option<String>,
    },
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What was computed.
    pub collective: Collective,
    /// How.
    pub algorithm: Algorithm,
    /// Who waited for whom.
    pub sync: Sync,
    /// Participants.
    pub ranks: u32,
    /// Elements of each.
    pub count: usize,
    /// Element type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Reduction.
    pub op: Op,
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
    /// Instructions of the schedule.
    pub instructions: usize,
    /// Elements that differ from the golden, over all ranks.
    pub wrong: u64,
    /// Elements that agree only where subnormals are flushed to zero.
    pub flushed: u64,
    /// All ranks hold the same bits.
    pub bit_identical: bool,
    /// Largest error against a reference of higher precision, in units of the last place.
    pub max_ulp: f64,
    /// Microseconds from submission to completion, copies to and from the device not counted.
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
    /// What went in: one vector per rank.
    pub inputs: Vec<Vec<T>>,
    /// One vector per rank.
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
        let elements = u64::from(self.outcome.ranks) * self.outcome.count as u64;
        (!self.outcome.ok).then_some(Error::Wrong { wrong: self.outcome.wrong, elements, rank, index })
    }
}

/// Runs `request`.
///
/// # Errors
/// [`Error`]; a wrong result is not one here, see [`Finished::error`].
pub fn run<T: Element>(request: &Request) -> Result<Finished<T>, Error> {
    supported(T::TYPE, request.op)?;
    let mut notes = Vec::new();
    let device = Device::find(&request.device, &mut notes)?;
    if matches!(device, Device::Cpu) && request.dispatch != Choice::Auto {
        return Err(Error::Usage("the CPU executor has no dispatch modes; leave --dispatch out".to_owned()));
    }
    let ranks = match &request.source {
        Source::Generated { ranks, .. } => Some(*ranks),
        Source::Files { .. } => None,
    };
    // Everything that can be refused without data is refused before data is made.
    if let (Some(ranks), Source::Generated { count, .. }) = (ranks, &request.source) {
        let schedule = build(request.collective, request.algorithm, ranks, request.sync)?;
        device.check_ranks(ranks)?;
        Payload::new(&schedule, *count, T::TYPE.bytes())?;
        check_memory::<T>(ranks, *count)?;
    }
    let inputs = inputs::<T>(&request.source)?;
    let (ranks, count) = (inputs.len() as u32, inputs.first().map_or(0, Vec::len));
    let schedule = build(request.collective, request.algorithm, ranks, request.sync)?;
    device.check_ranks(ranks)?;
    let payload = Payload::new(&schedule, count, T::TYPE.bytes())?;
    check_memory::<T>(ranks, count)?;

    if let Some(fault) = request.fault {
        check_fault(fault, &schedule)?;
    }

    let start = Instant::now();
    let proved = prove(schedule, verify::Options { in_place: request.in_place })?;
    let proof = start.elapsed();

    let mut outputs = Vec::new();
    for input in &inputs {
        let mut output = reserved(ranks, count)?;
        match request.in_place {
            true => output.extend_from_slice(input),
            false => output.resize(count, T::poison()),
        }
        outputs.push(output);
    }
    let ran = device.launch(request, &proved, payload, &inputs, &mut outputs)?;

    let (input_views, output_views) = (views(&inputs), views(&outputs));
    let Comparison { wrong, first_wrong, flushed, bit_identical, max_ulp } =
        compare(&proved, &payload, request.op, &input_views, &output_views);
    let outcome = Outcome {
        collective: request.collective,
        algorithm: request.algorithm,
        sync: request.sync,
        ranks,
        count,
        data_type: T::TYPE,
        op: request.op,
        in_place: request.in_place,
        device: ran.device,
        backend: ran.backend,
        driver: ran.driver,
        dispatch: ran.dispatch,
        dispatches: ran.dispatches,
        channels: ran.channels,
        pieces: ran.pieces,
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

/// A fault that changes nothing would be taken for a launch that survived it.
fn check_fault(fault: Fault, schedule: &Schedule) -> Result<(), Error> {
    let hit = schedule.lanes.iter().any(|lane| {
        let mut notifies = lane.instructions.iter().flat_map(|instruction| &instruction.notifies);
        notifies.any(|notify| fault.drops(lane.rank, notify.row))
    });
    let Fault::DropNotify { rank, row } = fault;
    if hit {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "rank {rank} notifies nobody on signal row {row}; {} of {} ranks uses rows up to {}",
        schedule.name,
        schedule.ranks,
        schedule.signal_rows.saturating_sub(1)
    )))
}

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn views<T>(vectors: &[Vec<T>]) -> Vec<&[T]> {
    vectors.iter().map(Vec::as_slice).collect()
}

fn inputs<T: Element>(source: &Source) -> Result<Vec<Vec<T>>, Error> {
    match source {
        Source::Generated { fill, seed, ranks, count } => (0..*ranks)
            .map(|rank| {
                let mut input = reserved(*ranks, *count)?;
                generate_into(&mut input, *fill, *seed, rank, *ranks, *count);
                Ok(input)
            })
            .collect(),
        Source::Files { files, tensor } => Ok(tensor::load(files, tensor.as_deref())?),
    }
}

pub(crate) fn reserved<T>(ranks: u32, count: usize) -> Result<Vec<T>, Error> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(count).map_err(|_| WindowError::TooLarge { count, ranks })?;
    Ok(vector)
}

/// Inputs, outputs, the golden and one copy on the way to a device must fit what the system has free, where it says so:
/// being killed half-way is the worst of all error messages.
pub(crate) fn check_memory<T>(ranks: u32, count: usize) -> Result<(), Error> {
    let needed = (count as u64).saturating_mul(size_of::<T>() as u64).saturating_mul(3 * u64::from(ranks) + 1);
    match available_memory() {
        Some(available) if needed > available => Err(Error::Usage(format!(
            "{count} elements for each of {ranks} ranks need about {} MiB of memory, and {} MiB are free; use a smaller count",
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

/// How a launch went.
struct Ran {
    device: String,
    backend: &'static str,
    driver: Option<String>,
    dispatch: Option<Mode>,
    dispatches: u32,
    channels: u32,
    pieces: usize,
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
    ) -> Result<Ran, Error> {
        let inputs = views(inputs);
        let mut outputs: Vec<&mut [T]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        match self {
            Self::Cpu => {
                let options =
                    cpu::Options { channels: request.channels, fault: request.fault, ..cpu::Options::default() };
                let mut executor = cpu::Executor::new(proved, payload, request.op, options)?;
                let start = Instant::now();
                match request.in_place {
                    true => executor.run_in_place(&mut outputs)?,
                    false => executor.run(&inputs, &mut outputs)?,
                }
                let time = start.elapsed();
                let channels = executor.channels();
                let (device, backend) = (CPU.to_owned(), CPU);
                Ok(Ran { device, backend, driver: None, dispatch: None, dispatches: 0, channels, pieces: 1, time })
            }
            Self::Gpu(gpu) => {
                let options = gpu::Options {
                    dispatch: request.dispatch,
                    channels: request.channels,
                    fault: request.fault,
                    arena_bytes: None,
                };
                let mut executor = gpu::Executor::new(gpu, proved, payload, request.op, options)?;
                let launched = match request.in_place {
                    true => executor.run_in_place(&mut outputs)?,
                    false => executor.run(&inputs, &mut outputs)?,
                };
                let AdapterInfo { name, backend, driver, .. } = gpu.info().clone();
                Ok(Ran {
                    device: name,
                    backend,
                    driver: Some(driver),
                    dispatch: Some(executor.mode()),
                    dispatches: launched.dispatches,
                    channels: executor.channels(),
                    pieces: launched.pieces,
                    time: launched.time,
                })
            }
        }
    }
}
