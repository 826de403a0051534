//! The devices that the program runs on, as one backend: the CPU executor, or an open GPU.
//!
//! Whatever a command does, it does to a [`Device`]; which kind it is matters here and to the copy that bandwidths are held
//! against.

mod loaded;

use serde::{Deserialize, Serialize};
use wgccl::backend::{Backend, Options, Shape};
use wgccl::cpu::{self, Cpu};
use wgccl::error::PrepareError;
use wgccl::gpu::{self, Adapter, AdapterInfo, Gpu, adapters, open_all};
use wgccl::lower::{Mode, Protocol};
use wgccl::proof::Proved;
use wgccl::schedule::DeviceKind;

pub use loaded::Loaded;

pub use crate::dispatch::AUTO;
use crate::dispatch::Dispatch;
use crate::error::Error;
use crate::text::{one_line, plain};

/// The device that is always there.
pub const CPU: &str = "cpu";

/// A device that is ready.
pub enum Device {
    /// The CPU executor.
    Cpu(Cpu),
    /// An open GPU.
    Gpu(Box<Gpu>),
}

/// A device in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// What `--device` takes; `None` is the CPU executor.
    pub index: Option<usize>,
    /// As the driver says.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, `gl` or `cpu`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software`, `other` or `cpu`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Driver and version.
    pub driver: Option<String>,
    /// Threads of the CPU executor.
    pub threads: Option<usize>,
    /// Vendor and device on the PCI bus, as `10de:2335`, where a driver says it.
    #[serde(default)]
    pub pci: Option<String>,
}

impl Description {
    /// The kind of device that it is to [`Algorithm::choose`](wgccl::schedule::Algorithm::choose).
    pub fn device_kind(&self) -> DeviceKind {
        match self.kind.as_str() {
            CPU => DeviceKind::Cpu,
            "software" => DeviceKind::Software,
            _ => DeviceKind::Gpu,
        }
    }
}

/// Threads that the CPU executor may use.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The kind of device that a name stands for, without opening it.
pub(crate) fn kind_of(wanted: &str) -> Result<DeviceKind, Error> {
    match wanted {
        CPU => Ok(DeviceKind::Cpu),
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

    /// What `--device` says; `notes` tell why another device was taken than a user would expect.
    pub(crate) fn find(wanted: &str, notes: &mut Vec<String>) -> Result<Self, Error> {
        match wanted {
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
                threads: Some(threads()),
                pci: None,
            },
            Self::Gpu(gpu) => {
                let AdapterInfo { index, name, backend, class, driver, pci, .. } = gpu.info().clone();
                let (name, driver) = (plain(&name), plain(&driver));
                let (backend, kind) = (backend.to_owned(), class.to_string());
                Description { index: Some(index), name, backend, kind, driver: Some(driver), threads: None, pci }
            }
        }
    }

    /// The GPU, if it is one.
    pub(crate) fn gpu(&self) -> Option<&Gpu> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu(gpu) => Some(gpu),
        }
    }

    /// Refuses more ranks than it runs, as its executor would after the inputs have been made.
    pub(crate) fn check_ranks(&self, ranks: u32) -> Result<(), Error> {
        let (most, executor, instead) = match self {
            Self::Cpu(_) => (cpu::MAX_RANKS, "the CPU executor", "fewer ranks"),
            Self::Gpu(_) => (gpu::MAX_RANKS, "the GPU executor", "the CPU executor"),
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
            (Self::Cpu(_), dispatch) if dispatch.mode.is_none() && dispatch.protocol() == Protocol::default() => Ok(()),
            (Self::Cpu(_), Dispatch { mode: Some(_), .. }) => {
                Err(Error::Usage("the CPU executor has no dispatch modes; leave --dispatch out".to_owned()))
            }
            (Self::Cpu(_), _) => {
                Err(Error::Usage("the CPU executor has no protocol but simple; leave --protocol out".to_owned()))
            }
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
        }
    }

    fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Loaded, PrepareError> {
        match self {
            Self::Cpu(cpu) => cpu.prepare(proved, shape, options).map(Loaded::Cpu),
            Self::Gpu(gpu) => gpu.prepare(proved, shape, options).map(|executor| Loaded::Gpu(Box::new(executor))),
        }
    }
}
