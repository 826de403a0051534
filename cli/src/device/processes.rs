//! The processes that `mpirun` has started, each with a device, as one device.
//!
//! Every process runs the same command; the first one judges and says everything.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wgccl::backend::{Backend, DEFAULT_TIMEOUT, Options, Shape};
use wgccl::cpu::Cpu;
use wgccl::error::{PrepareError, RunError, TransportError};
use wgccl::gpu::{Gpu, adapters};
use wgccl::low_level::payload::Payload;
use wgccl::proof::Proved;
use wgccl::schedule::{DeviceKind, Placement};
use wgccl_mpi::{MpiBackend, MpiError, MpiReady, mpi};

use super::description::{Description, MPI, Process};
use super::several::{Either, Share, Shares};
use crate::error::{Error, exit};

/// By which of these Open MPI, MPICH and PMIx tell a process its number.
const RANKS: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"];
/// And its number among those of its host.
const LOCAL_RANKS: [&str; 3] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];

fn number(of: &[&str]) -> Option<usize> {
    of.iter().find_map(|name| std::env::var(name).ok()?.parse().ok())
}

/// This process's number, where `mpirun` has started it.
pub(crate) fn rank() -> Option<usize> {
    number(&RANKS)
}

/// Whether this process says what there is to say.
pub(crate) fn is_first() -> bool {
    rank().unwrap_or(0) == 0
}

/// All processes.
pub struct Processes {
    /// Before the universe goes.
    backend: Option<MpiBackend>,
    universe: Option<mpi::environment::Universe>,
    timeout: Duration,
    /// Each of them, in order.
    all: Vec<Process>,
}

impl Processes {
    /// With the device that was found for this process. If one has none, all are told.
    pub(super) fn new(found: Result<(Either, Process), Error>, timeout: Option<Duration>) -> Result<Self, Error> {
        // Whoever has no device still says so to the others.
        let (member, this) = match found {
            Ok((member, this)) => (member, Ok(this)),
            Err(error) => (Either::Cpu(Cpu::new()), Err(error)),
        };
        let universe = mpi::initialize().ok_or_else(|| Error::Usage("MPI was initialised twice".to_owned()))?;
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        let backend = MpiBackend::over_within(&universe.world(), member.into(), timeout);
        match backend {
            Ok(backend) => {
                let mut processes = Self { backend: Some(backend), universe: Some(universe), timeout, all: Vec::new() };
                processes.all = processes.introduced(this)?;
                Ok(processes)
            }
            Err(error) => {
                // Others may never come to the end.
                std::mem::forget(universe);
                Err(error.into())
            }
        }
    }

    /// Every process with its device, or the first error that one has.
    fn introduced(&self, this: Result<Process, Error>) -> Result<Vec<Process>, Error> {
        let host = mpi::environment::processor_name().unwrap_or_default();
        let mine = match &this {
            Ok(this) => Ok(Process { host, ..this.clone() }),
            Err(error) => Err((rank().unwrap_or(0), host, error.to_string())),
        };
        let judged: Result<_, (usize, String, String)> = self.decide(mine, |all| all.into_iter().collect())?;
        judged.map_err(|(process, host, reason)| match this {
            Err(error) if rank() == Some(process) => error,
            _ => PrepareError::Peer { peer: format!("process {process} on {host}"), reason }.into(),
        })
    }

    /// With ranks so.
    pub(crate) fn place(mut self, placement: &Placement) -> Self {
        self.backend = self.backend.take().map(|backend| backend.placement(placement.clone()));
        self
    }

    pub(crate) fn is_first(&self) -> bool {
        self.backend.as_ref().is_some_and(|backend| backend.process() == 0)
    }

    pub(crate) fn backend(&self) -> Result<&MpiBackend, PrepareError> {
        self.backend.as_ref().ok_or(PrepareError::Part)
    }

    /// Brings all outputs to the first process, with the time that the slowest took; elsewhere it is done with that.
    pub(crate) fn collect(&self, outputs: &mut [&mut [u8]], time: Duration) -> Result<Duration, Error> {
        let backend = self.backend()?;
        let time = self.decide(time, |all| all.into_iter().max().unwrap_or_default())?;
        backend.collect(outputs, self.timeout).map_err(PrepareError::from)?;
        match backend.process() {
            0 => Ok(time),
            _ => Err(Error::Told),
        }
    }

    pub(super) fn describe(&self) -> Description {
        let (name, processes) = (format!("{} processes", self.all.len()), self.all.clone());
        let (backend, kind) = (MPI.to_owned(), MPI.to_owned());
        Description { index: None, name, backend, kind, driver: None, threads: None, pci: None, processes }
    }

    pub(super) fn decide<Q, A>(&self, mine: Q, judge: impl FnOnce(Vec<Q>) -> A) -> Result<A, Error>
    where
        Q: Serialize + DeserializeOwned,
        A: Serialize + DeserializeOwned,
    {
        Ok(self.backend()?.decide(mine, self.timeout, judge).map_err(PrepareError::from)?)
    }

    /// What all have found alike is no news.
    pub(super) fn fail(&self, error: &Error) {
        let alike = matches!(error, Error::Told | Error::Refused(_) | Error::Build(_) | Error::Prepare(_));
        if let Some(backend) = self.backend.as_ref().filter(|_| !alike) {
            backend.fail(&error.to_string());
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.backend.as_ref().map_or(1, MpiBackend::workers)
    }

    pub(super) fn kind(&self) -> DeviceKind {
        self.backend.as_ref().map_or(DeviceKind::Cpu, Backend::kind)
    }

    pub(super) fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<MpiReady, PrepareError> {
        self.backend()?.prepare(proved, shape, options)
    }

    /// How `ready`, which it prepared, goes over them.
    pub(crate) fn shares(&self, ready: &MpiReady, payload: &Payload) -> Shares {
        use wgccl::backend::Ready;
        let (split, channels) = (ready.split(), ready.prepared().channels);
        let names = self.backend.iter().flat_map(MpiBackend::names);
        let devices = (0..).zip(names).map(|(device, name)| Share {
            device: name.clone(),
            backend: MPI.to_owned(),
            ranks: split.placement().ranks_of(device).collect(),
            dispatch: None,
            channels,
            device_bytes: None,
        });
        Shares { epochs: split.epochs(), devices: devices.collect(), links: split.links(payload) }
    }
}

impl Drop for Processes {
    /// Whoever waits for the dead waits for ever: then the process just ends, and `mpirun` ends the others.
    fn drop(&mut self) {
        let failed = self.backend.take().is_some_and(|backend| backend.has_failed());
        if let Some(universe) = self.universe.take().filter(|_| failed) {
            std::mem::forget(universe);
        }
    }
}

/// Longest that a process with an error waits for the first one to say it, which may be in the middle of a long computation. `mpirun`
/// ends all processes as soon as one has ended with an error: so this one may not end sooner, and ends when the first does.
const LINGER: Duration = Duration::from_secs(10);

/// Of several processes only one says what went wrong: the first, unless it is the one that is silent.
pub(crate) fn told_once(result: Result<u8, Error>) -> Result<u8, Error> {
    match result {
        Err(Error::Told) => Ok(exit::OK),
        Err(error) if !is_first() && !is_first_silent(&error) => {
            std::thread::sleep(LINGER);
            Ok(error.exit_code())
        }
        result => result,
    }
}

/// Whether the first process is silent, or may be, so that another has to say so.
fn is_first_silent(error: &Error) -> bool {
    let (Error::Run(RunError::Transport(error))
    | Error::Prepare(PrepareError::Transport(error))
    | Error::Mpi(MpiError::Transport(error))) = error
    else {
        return false;
    };
    match error {
        TransportError::Silent { silent: who, .. }
        | TransportError::Deadline { peer: who, .. }
        | TransportError::Unheard { peer: who, .. }
        | TransportError::Lost { peer: who, .. }
        | TransportError::Gone { peer: who, .. } => {
            who == "process 0" || who.starts_with("process 0 ") || who == "another process"
        }
        _ => false,
    }
}

/// Of the GPUs of this host, that whose turn it is.
pub(super) fn turn() -> Result<Option<Gpu>, Error> {
    let adapters = adapters();
    let gpus: Vec<_> = adapters.iter().filter(|adapter| adapter.info().device_kind() == DeviceKind::Gpu).collect();
    let local = number(&LOCAL_RANKS).or_else(rank).unwrap_or(0);
    Ok(gpus.get(local % gpus.len().max(1)).map(|gpu| Gpu::open(gpu)).transpose()?)
}
