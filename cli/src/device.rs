//! The devices that the program runs on, as one backend: the CPU executor, or an open GPU.
//!
//! Whatever a command does, it does to a [`Device`]; which kind it is matters here and to the copy that bandwidths are held
//! against.

mod description;
mod loaded;
#[cfg(feature = "mpi")]
pub(crate) mod processes;
mod several;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wgccl::backend::{Backend, Options, Shape};
use wgccl::cpu::{self, Cpu};
use wgccl::element::Element;
use wgccl::error::PrepareError;
use wgccl::gpu::{self, Adapter, AdapterInfo, Gpu, adapters, open_all};
use wgccl::low_level::buffers::Extents;
use wgccl::low_level::payload::Payload;
use wgccl::lower::{Mode, Protocol};
use wgccl::proof::Proved;
use wgccl::schedule::{DeviceKind, Groups, Placement};

pub(crate) use description::MPI;
pub use description::{CPU, Description, Process};
pub use loaded::Loaded;
use several::{AND, Either};
pub use several::{Several, Share, Shares};

pub use crate::dispatch::AUTO;
use crate::dispatch::Dispatch;
use crate::error::Error;
use crate::text::{one_line, plain};
#[cfg(feature = "mpi")]
use crate::views::bytes_mut;

/// A device that is ready.
pub enum Device {
    /// The CPU executor.
    Cpu(Cpu),
    /// An open GPU.
    Gpu(Box<Gpu>),
    /// Several, which share the ranks.
    Several(Box<Several>),
    /// Those of several processes.
    #[cfg(feature = "mpi")]
    Processes(Box<processes::Processes>),
}

/// The kind of device that a name stands for, without opening it.
pub(crate) fn kind_of(wanted: &str) -> Result<DeviceKind, Error> {
    match wanted {
        CPU => Ok(DeviceKind::Cpu),
        several if several.contains(AND) => kind_of(several.split(AND).next().unwrap_or(AUTO)),
        AUTO => Ok(adapters().first().map_or(DeviceKind::Cpu, |adapter| adapter.info().device_kind())),
        name => Ok(select(&adapters(), name)?.info().device_kind()),
    }
}

/// By which wgpu looks for some devices only.
const BACKENDS: &str = "WGPU_BACKEND";

/// What [`BACKENDS`] says, where it is set: why there may be fewer devices than a user expects.
pub(crate) fn narrowed() -> Option<String> {
    let value = std::env::var_os(BACKENDS)?;
    let value = value.to_string_lossy();
    // As wgpu reads it, which passes over other names.
    let known = |name: &str| {
        let name = name.trim().to_lowercase();
        ["vulkan", "vk", "dx12", "d3d12", "metal", "mtl", "opengl", "gles", "gl", "webgpu", "noop"]
            .contains(&name.as_str())
    };
    let shown = one_line(&value, 48);
    Some(match value.split(',').all(known) {
        true => format!("{BACKENDS} is '{shown}', so others are not looked for"),
        false => format!(
            "{BACKENDS} is '{shown}', which names no backend; give vulkan, metal, dx12 or gl, or several with commas, or unset it"
        ),
    })
}

/// [`gpu::select`], with what may hide a device.
fn select<'a>(adapters: &'a [Adapter], wanted: &str) -> Result<&'a Adapter, Error> {
    gpu::select(adapters, wanted).map_err(|error| match narrowed() {
        Some(why) => Error::Narrowed { error, why },
        None => error.into(),
    })
}

/// Which of several devices of a name was taken. An index names one.
fn also(adapters: &[Adapter], taken: &Adapter, wanted: &str) -> Option<String> {
    let others = |adapter: &&Adapter| {
        adapter.info().index != taken.info().index && gpu::select(std::slice::from_ref(*adapter), wanted).is_ok()
    };
    let line = |adapter: &Adapter| format!("{} {}", adapter.info().index, plain(&adapter.info().title()));
    let others: Vec<String> = match wanted.parse::<usize>() {
        Ok(index) if index < adapters.len() => return None,
        _ => adapters.iter().filter(others).map(line).collect(),
    };
    let (wanted, taken) = (one_line(wanted, 48), line(taken));
    (!others.is_empty()).then(|| {
        format!("--device {wanted} names several: took {taken}, not {}; give an index to choose", others.join(", "))
    })
}

impl Device {
    /// The CPU executor.
    pub fn cpu() -> Self {
        Self::Cpu(Cpu::new())
    }

    /// What `--device` says, several of them joined by `+`; `notes` tell why another device was taken than a user would expect.
    pub(crate) fn find(wanted: &str, notes: &mut Vec<String>) -> Result<Self, Error> {
        match wanted {
            several if several.contains(AND) => {
                let found = several.split(AND).map(|name| Self::find(name.trim(), notes));
                Ok(Self::together(found.collect::<Result<_, _>>()?))
            }
            CPU => Ok(Self::cpu()),
            AUTO => Ok(Self::best(&adapters(), notes)),
            name => {
                let adapters = adapters();
                let adapter = select(&adapters, name)?;
                notes.extend(also(&adapters, adapter, name));
                Ok(Self::Gpu(Box::new(Gpu::open(adapter)?)))
            }
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
        notes.extend(narrowed());
        Self::cpu()
    }

    /// These as one, which share the ranks.
    pub(crate) fn together(devices: Vec<Self>) -> Self {
        let mut of = Vec::new();
        for device in devices {
            let described = device.describe();
            match device {
                Self::Cpu(cpu) => of.push((Either::Cpu(cpu), described)),
                Self::Gpu(gpu) => of.push((Either::Gpu(gpu), described)),
                // Found by one name, which has no `+` in it.
                Self::Several(several) => return Self::Several(several),
                #[cfg(feature = "mpi")]
                Self::Processes(processes) => return Self::Processes(processes),
            }
        }
        Self::Several(Box::new(Several::new(of)))
    }

    /// With ranks placed so, of several devices.
    pub(crate) fn place(self, placement: Option<&Placement>) -> Result<Self, Error> {
        match (self, placement) {
            (device, None) => Ok(device),
            (Self::Several(several), Some(placement)) => Ok(Self::Several(Box::new(several.place(placement)?))),
            #[cfg(feature = "mpi")]
            (Self::Processes(processes), Some(placement)) => Ok(Self::Processes(Box::new(processes.place(placement)))),
            (_, Some(_)) => Err(Error::Usage(
                "--place is of several devices, and --device names one; join them with +, as 0+cpu, or say all"
                    .to_owned(),
            )),
        }
    }

    /// Every GPU that opens, then the CPU executor.
    pub(crate) fn all(notes: &mut Vec<String>) -> Vec<Self> {
        let mut found = Vec::new();
        for opened in open_all() {
            match opened {
                Ok(gpu) => found.push(Self::Gpu(Box::new(gpu))),
                Err(error) => notes.push(format!("left out: {error}")),
            }
        }
        found.push(Self::cpu());
        found
    }

    /// The device in words.
    pub fn describe(&self) -> Description {
        match self {
            Self::Cpu(_) => Description {
                index: None,
                name: "CPU executor".to_owned(),
                backend: CPU.to_owned(),
                kind: CPU.to_owned(),
                driver: None,
                threads: Some(cpu::cores()),
                pci: None,
                processes: Vec::new(),
            },
            Self::Several(several) => several.describe(),
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => processes.describe(),
            Self::Gpu(gpu) => {
                let AdapterInfo { index, name, backend, class, driver, pci, .. } = gpu.info().clone();
                let (name, driver) = (plain(&name), plain(&driver));
                let (backend, kind) = (backend.to_owned(), class.to_string());
                Description {
                    index: Some(index),
                    name,
                    backend,
                    kind,
                    driver: Some(driver),
                    threads: None,
                    pci,
                    processes: Vec::new(),
                }
            }
        }
    }

    /// The processes that `mpirun` has started, this one with the device that `--device` says, or the one of its turn on its host.
    #[cfg(feature = "mpi")]
    pub(crate) fn of_processes(
        wanted: &str,
        timeout: Option<Duration>,
        notes: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let found = Self::of_process(wanted, notes);
        Ok(Self::Processes(Box::new(processes::Processes::new(found, timeout)?)))
    }

    #[cfg(feature = "mpi")]
    fn of_process(wanted: &str, notes: &mut Vec<String>) -> Result<(Either, Process), Error> {
        let turn = if wanted == AUTO { processes::turn()? } else { None };
        let device = turn.map_or_else(|| Self::find(wanted, notes), |gpu| Ok(Self::Gpu(Box::new(gpu))))?;
        let Description { index, name, backend, .. } = device.describe();
        // MPI, once it has begun, says what the host is called.
        let this = Process { pid: std::process::id(), host: String::new(), index, name, backend };
        match device {
            Self::Cpu(cpu) => Ok((Either::Cpu(cpu), this)),
            Self::Gpu(gpu) => Ok((Either::Gpu(gpu), this)),
            _ => Err(Error::Usage(
                "a process has one device, and --device names several; start a process for each".to_owned(),
            )),
        }
    }

    /// How `ready`, which it prepared, goes over several.
    pub(crate) fn shares(&self, ready: &Loaded, payload: &Payload) -> Option<Shares> {
        match (self, ready) {
            (Self::Several(several), Loaded::Several(ready)) => Some(several.shares(ready, payload)),
            #[cfg(feature = "mpi")]
            (Self::Processes(processes), Loaded::Processes(ready)) => Some(processes.shares(ready, payload)),
            _ => None,
        }
    }

    /// Brings the outputs of other processes here, with the time of the slowest.
    pub(crate) fn collect<T: Element>(
        &self,
        extents: &Extents<'_>,
        outputs: &mut [Vec<T>],
        time: Duration,
    ) -> Result<Duration, Error> {
        match self {
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => {
                for (rank, output) in (0..).zip(&mut *outputs) {
                    if processes.is_first() {
                        output.resize(extents.len(extents.results(), rank), T::poison());
                    }
                }
                processes.collect(&mut bytes_mut(outputs, 0), time)
            }
            _ => {
                let _ = (extents, outputs);
                Ok(time)
            }
        }
    }

    /// What `judge` makes of what each of several processes has; of one that is this, what it makes of that alone.
    pub(crate) fn decide<Q, A>(&self, mine: Q, judge: impl FnOnce(Vec<Q>) -> A) -> Result<A, Error>
    where
        Q: Serialize + DeserializeOwned,
        A: Serialize + DeserializeOwned,
    {
        match self {
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => processes.decide(mine, judge),
            _ => Ok(judge(vec![mine])),
        }
    }

    /// Tells other processes of an error that they do not know of, so that they do not wait for this one.
    pub(crate) fn fail(&self, error: &Error) {
        match self {
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => processes.fail(error),
            _ => {
                let _ = error;
            }
        }
    }

    /// Threads that copy what this process has of the payload.
    pub(crate) fn copying(&self) -> usize {
        match self {
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => processes.workers(),
            _ => cpu::cores(),
        }
    }

    /// Whether it is the devices of several processes.
    pub(crate) fn is_of_processes(&self) -> bool {
        self.describe().kind == MPI
    }

    /// The GPU, if it is one.
    pub(crate) fn gpu(&self) -> Option<&Gpu> {
        match self {
            Self::Gpu(gpu) => Some(gpu),
            _ => None,
        }
    }

    /// Refuses more ranks than it runs, as its executor would after the inputs have been made.
    pub(crate) fn check_ranks(&self, ranks: u32) -> Result<(), Error> {
        let (most, executor, instead) = match self {
            Self::Cpu(_) => (cpu::MAX_RANKS, "the CPU executor", "fewer ranks"),
            Self::Several(several) if several.parts().iter().all(|part| part.kind == CPU) => {
                (cpu::MAX_RANKS, "the CPU executor", "fewer ranks")
            }
            #[cfg(feature = "mpi")]
            Self::Processes(processes) if processes.kind() == DeviceKind::Cpu => {
                (cpu::MAX_RANKS, "the CPU executor", "fewer ranks")
            }
            _ => (gpu::MAX_RANKS, "the GPU executor", "the CPU executor"),
        };
        match ranks > most {
            true => Err(PrepareError::Ranks { ranks, most, executor, instead }.into()),
            false => Ok(()),
        }
    }

    /// Refuses a dispatch mode or protocol where there is none, in the program's words.
    pub(crate) fn check_dispatch(&self, dispatch: Dispatch) -> Result<(), Error> {
        match (self, dispatch) {
            (Self::Gpu(_), _) => Ok(()),
            #[cfg(feature = "mpi")]
            (Self::Processes(processes), _) if processes.kind() != DeviceKind::Cpu => Ok(()),
            (Self::Several(several), _) if several.parts().iter().any(|part| part.kind != CPU) => Ok(()),
            (_, dispatch) if dispatch.mode.is_none() && dispatch.protocol() == Protocol::default() => Ok(()),
            (_, Dispatch { mode: Some(_), .. }) => {
                Err(Error::Usage("the CPU executor has no dispatch modes; leave --dispatch out".to_owned()))
            }
            (_, _) => Err(Error::Usage("the CPU executor has no protocol but simple; leave --protocol out".to_owned())),
        }
    }

    /// Why a mode and protocol would be wrong here, if they would.
    pub(crate) fn refuses(&self, dispatch: Dispatch) -> Option<String> {
        let (gpu, Some(mode)) = (self.gpu()?, dispatch.mode) else { return None };
        match gpu.info().support(mode, dispatch.protocol()) {
            Err(reason) => Some(reason.to_string()),
            Ok(()) if mode == Mode::Fused => gpu.self_check(dispatch.protocol()).err().map(|error| error.to_string()),
            Ok(()) => None,
        }
    }

    /// Keeps hardware busy until its clocks are those of work.
    pub(crate) fn warm_up(&self) -> Result<(), Error> {
        self.gpu().map_or(Ok(()), |gpu| Ok(gpu.warm_up()?))
    }
}

impl Backend for Device {
    type Ready = Loaded;

    fn kind(&self) -> DeviceKind {
        match self {
            Self::Cpu(cpu) => cpu.kind(),
            Self::Gpu(gpu) => gpu.kind(),
            Self::Several(several) => several.placed().kind(),
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => processes.kind(),
        }
    }

    fn groups(&self, ranks: u32) -> Option<Groups> {
        match self {
            Self::Several(several) => several.placed().groups(ranks),
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => processes.backend().ok().and_then(|backend| backend.groups(ranks)),
            _ => None,
        }
    }

    fn is_here(&self, rank: u32, ranks: u32) -> bool {
        match self {
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => processes.backend().is_ok_and(|backend| backend.is_here(rank, ranks)),
            _ => {
                let _ = (rank, ranks);
                true
            }
        }
    }

    fn admit(&self, ranks: u32, options: &Options) -> Result<(), PrepareError> {
        match self {
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => processes.backend()?.admit(ranks, options),
            _ => {
                let _ = (ranks, options);
                Ok(())
            }
        }
    }

    fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Loaded, PrepareError> {
        match self {
            Self::Cpu(cpu) => cpu.prepare(proved, shape, options).map(Loaded::Cpu),
            Self::Gpu(gpu) => gpu.prepare(proved, shape, options).map(|executor| Loaded::Gpu(Box::new(executor))),
            Self::Several(several) => {
                several.placed().prepare(proved, shape, options).map(|ready| Loaded::Several(Box::new(ready)))
            }
            #[cfg(feature = "mpi")]
            Self::Processes(processes) => {
                processes.prepare(proved, shape, options).map(|ready| Loaded::Processes(Box::new(ready)))
            }
        }
    }
}
