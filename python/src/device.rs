//! Devices by name, and communicators on them whatever kind they are of.
//!
//! Arrays are in the host's memory, so the processor is what `auto` takes; a GPU is named.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use wgccl::Communicator;
use wgccl::backend::{Backend, Options, Ran, Ready, Shape};
use wgccl::collective::{Op, Task};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::{Error, PrepareError};
#[cfg(feature = "gpu")]
use wgccl::gpu::{Adapter, Gpu, adapters, select};
use wgccl::schedule::{DeviceKind, Schedule, Selection, SyncStyle};

use crate::errors;
#[cfg(feature = "gpu")]
use crate::signals::interruptible;

/// The processor's name, and the two that stand for others.
pub(crate) const CPU: &str = "cpu";
pub(crate) const AUTO: &str = "auto";
#[cfg(feature = "gpu")]
const GPU: &str = "gpu";

/// A communicator on any backend.
pub(crate) trait Runs: Send + Sync {
    fn run(
        &self,
        task: Task,
        data_type: DataType,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        op: Op,
    ) -> Result<Ran, Error>;
    fn run_in_place(&self, task: Task, data_type: DataType, buffers: &mut [&mut [u8]], op: Op) -> Result<Ran, Error>;
    fn prepare(&self, schedule: Schedule, shape: Shape, in_place: bool) -> Result<AnyReady, PrepareError>;
    fn release(&self);
}

pub(crate) type AnyReady = Box<dyn Ready + Send>;

impl<B: Backend<Ready: Send + 'static> + Send + Sync> Runs for Communicator<B> {
    fn run(
        &self,
        task: Task,
        data_type: DataType,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        op: Op,
    ) -> Result<Ran, Error> {
        self.run_bytes(task, data_type, inputs, outputs, op)
    }

    fn run_in_place(&self, task: Task, data_type: DataType, buffers: &mut [&mut [u8]], op: Op) -> Result<Ran, Error> {
        self.run_bytes_in_place(task, data_type, buffers, op)
    }

    fn prepare(&self, schedule: Schedule, shape: Shape, in_place: bool) -> Result<AnyReady, PrepareError> {
        Ok(Box::new(self.prepare_schedule(schedule, shape, in_place)?))
    }

    fn release(&self) {
        Communicator::release(self);
    }
}

/// What a communicator is made of, beside its ranks.
#[derive(Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) algorithm: Selection,
    pub(crate) sync: SyncStyle,
    pub(crate) options: Options,
}

impl Settings {
    pub(crate) fn new(algorithm: Selection) -> Self {
        Self { algorithm, sync: SyncStyle::default(), options: Options::default() }
    }
}

/// A device that is open.
#[derive(Clone)]
pub(crate) enum Device {
    Cpu(Cpu),
    #[cfg(feature = "gpu")]
    Gpu(Box<Gpu>),
}

/// Devices that are open, and how often this process was forked off another: its threads are gone then.
struct Open {
    forks: u64,
    cpu: Cpu,
    #[cfg(feature = "gpu")]
    gpus: Vec<(usize, Gpu)>,
}

static FORKS: AtomicU64 = AtomicU64::new(0);

/// How often this process was forked off another.
#[inline]
pub(crate) fn forks() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// Called in a process that was just forked off.
#[pyfunction]
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

fn open() -> MutexGuard<'static, Option<Open>> {
    static OPEN: Mutex<Option<Open>> = Mutex::new(None);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if open.as_ref().is_none_or(|open| open.forks != forks()) {
        let fresh = Open {
            forks: forks(),
            cpu: Cpu::new(),
            #[cfg(feature = "gpu")]
            gpus: Vec::new(),
        };
        // What a forked process would wait for while it drops this is not there.
        std::mem::forget(open.replace(fresh));
    }
    open
}

impl Device {
    /// The one that a caller named.
    pub(crate) fn find(py: Python<'_>, name: &str) -> PyResult<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is(CPU) || is(AUTO) { Ok(Self::cpu()) } else { Self::other(py, name) }
    }

    pub(crate) fn cpu() -> Self {
        Self::Cpu(open().as_ref().map(|open| open.cpu.clone()).unwrap_or_default())
    }

    #[cfg(not(feature = "gpu"))]
    fn other(py: Python<'_>, name: &str) -> PyResult<Self> {
        Err(errors::device(py, format!("there is no device '{name}': this build has the CPU executor only; use cpu")))
    }

    #[cfg(feature = "gpu")]
    fn other(py: Python<'_>, name: &str) -> PyResult<Self> {
        let wanted = name.to_owned();
        let found = interruptible(py, move || -> Result<Gpu, String> {
            let adapters = adapters();
            if wanted.eq_ignore_ascii_case(GPU) {
                let mut why = wgccl::error::DeviceError::Absent.to_string();
                for adapter in &adapters {
                    match opened(adapter) {
                        Ok(gpu) => return Ok(gpu),
                        Err(error) => why = error,
                    }
                }
                return Err(why);
            }
            opened(select(&adapters, &wanted).map_err(|error| error.to_string())?)
        })?;
        found.map(|gpu| Self::Gpu(Box::new(gpu))).map_err(|why| errors::device(py, why))
    }

    pub(crate) fn communicator(&self, ranks: u32, settings: &Settings) -> Arc<dyn Runs> {
        fn of<B: Backend<Ready: Send + 'static> + Send + Sync + 'static>(
            backend: B,
            ranks: u32,
            settings: &Settings,
        ) -> Arc<dyn Runs> {
            let Settings { algorithm, sync, options } = *settings;
            Arc::new(Communicator::new(backend, ranks).algorithm(algorithm).sync(sync).options(options))
        }
        match self {
            Self::Cpu(cpu) => of(cpu.clone(), ranks, settings),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => of((**gpu).clone(), ranks, settings),
        }
    }

    pub(crate) fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu(_))
    }

    /// Keeps hardware busy until its clocks are those of work.
    pub(crate) fn warm_up(&self) -> Result<(), String> {
        match self {
            Self::Cpu(_) => Ok(()),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.warm_up().map_err(|error| error.to_string()),
        }
    }

    pub(crate) fn kind(&self) -> DeviceKind {
        match self {
            Self::Cpu(cpu) => cpu.kind(),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.kind(),
        }
    }

    /// As records have it.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Cpu(_) => CPU.to_owned(),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.info().title(),
        }
    }
}

/// Opened once each.
#[cfg(feature = "gpu")]
fn opened(adapter: &Adapter) -> Result<Gpu, String> {
    let index = adapter.info().index;
    let known = |open: &Option<Open>| {
        open.as_ref().and_then(|open| open.gpus.iter().find(|(of, _)| *of == index).map(|(_, gpu)| gpu.clone()))
    };
    if let Some(gpu) = known(&open()) {
        return Ok(gpu);
    }
    let gpu = Gpu::open(adapter).map_err(|error| error.to_string())?;
    if let Some(open) = open().as_mut() {
        open.gpus.push((index, gpu.clone()));
    }
    Ok(gpu)
}

/// A device, by name or by its number in `devices()`.
#[derive(FromPyObject)]
pub(crate) enum DeviceArg<'py> {
    Index(usize),
    Name(Bound<'py, pyo3::types::PyString>),
}

impl DeviceArg<'_> {
    pub(crate) fn with<R>(this: Option<&Self>, use_name: impl FnOnce(&str) -> PyResult<R>) -> PyResult<R> {
        match this {
            None => use_name(AUTO),
            Some(Self::Index(index)) => use_name(&index.to_string()),
            Some(Self::Name(name)) => use_name(name.to_cow()?.as_ref()),
        }
    }
}

/// A device that a call can name.
#[pyclass(frozen, get_all, module = "wgccl", name = "Device")]
pub(crate) struct PyDevice {
    /// What `device=` takes; None is the processor, which is called "cpu".
    index: Option<usize>,
    name: String,
    backend: String,
    r#type: String,
    driver: Option<String>,
    /// Largest buffer in bytes, of a GPU.
    max_buffer_bytes: Option<u64>,
}

#[pymethods]
impl PyDevice {
    fn __repr__(&self) -> String {
        match self.index {
            None => format!("<Device 'cpu': {}>", self.name),
            Some(index) => format!("<Device {index}: {}, {}, {}>", self.name, self.backend, self.r#type),
        }
    }
}

/// All devices: GPUs, best first, then the processor.
#[pyfunction]
pub(crate) fn devices(py: Python<'_>) -> PyResult<Vec<PyDevice>> {
    #[cfg(feature = "gpu")]
    let mut all = interruptible(py, || {
        let of = |adapter: &Adapter| {
            let info = adapter.info();
            PyDevice {
                index: Some(info.index),
                name: info.name.clone(),
                backend: info.backend.to_owned(),
                r#type: info.class.to_string(),
                driver: Some(info.driver.clone()),
                max_buffer_bytes: Some(info.limits.max_buffer_bytes),
            }
        };
        adapters().iter().map(of).collect::<Vec<_>>()
    })?;
    #[cfg(not(feature = "gpu"))]
    let mut all = Vec::new();
    let _ = py;
    all.push(PyDevice {
        index: None,
        name: "CPU executor".to_owned(),
        backend: CPU.to_owned(),
        r#type: CPU.to_owned(),
        driver: None,
        max_buffer_bytes: None,
    });
    Ok(all)
}

/// A number of seconds that a host may wait.
pub(crate) fn seconds(py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Duration>> {
    let of = |seconds: f64| {
        let some = Duration::try_from_secs_f64(seconds).ok().filter(|some| !some.is_zero());
        some.ok_or_else(|| errors::input(py, format!("timeout is {seconds}; give a number of seconds above 0")))
    };
    timeout.map(of).transpose()
}
