//! A schedule made ready on a device, and what of it the benchmark wants to know beyond what every executor can do.

use std::time::Instant;

use wgccl::backend::{Prepared, Ran, Ready};
use wgccl::cpu;
use wgccl::element::Element;
use wgccl::error::RunError;
use wgccl::golden::Goldens;
use wgccl::gpu;
use wgccl::lower::Split;
use wgccl::placed;
use wgccl::schedule::Buffer;
use wgccl::trace::Trace;

use crate::views::Host;

/// A schedule made ready on a device.
pub enum Loaded {
    /// On cores.
    Cpu(cpu::Ready),
    /// On a GPU.
    Gpu(Box<gpu::Executor>),
    /// On several devices.
    Several(Box<placed::Ready>),
    /// On those of several processes.
    #[cfg(feature = "mpi")]
    Processes(Box<wgccl_mpi::MpiReady>),
}

impl Loaded {
    /// From now on calls `watch` with the number of pieces that are done, where there are several.
    pub fn on_piece(&mut self, watch: impl FnMut(usize) + Send + 'static) {
        if let Self::Gpu(executor) = self {
            executor.on_piece(watch);
        }
    }

    /// How it is split, on several devices.
    pub(crate) fn split(&self) -> Option<&Split> {
        match self {
            Self::Several(ready) => Some(ready.split()),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => Some(ready.split()),
            _ => None,
        }
    }

    /// The shader that runs, on a GPU.
    pub fn source(&self) -> Option<String> {
        match self {
            Self::Gpu(executor) => Some(executor.package().source().text),
            _ => None,
        }
    }

    /// Bytes of device memory, on a GPU: of inputs and outputs, and of windows. Of a payload in pieces, those of the two
    /// pieces that are on the device at a time.
    pub fn device_bytes(&self) -> Option<(u64, u64)> {
        let Self::Gpu(executor) = self else { return None };
        let all = self.prepared().device_bytes?;
        let arena = &executor.package().arena;
        let user = arena.region(Buffer::Output).end * (all / arena.bytes().max(1));
        Some((user, all - user))
    }

    /// How several devices were prepared.
    pub fn several(&self) -> Option<&placed::Ready> {
        match self {
            Self::Several(ready) => Some(ready),
            _ => None,
        }
    }

    /// Puts a piece where timed launches find it. Cores, and several devices, find it in the caller's memory.
    pub fn place(&mut self, piece: usize, host: &Host<'_>) -> Result<(), RunError> {
        match self {
            Self::Gpu(executor) => executor.load(piece, &host.given()),
            _ => Ok(()),
        }
    }

    /// Launches over what was placed, each timed: on a GPU what stays there, on cores the caller's memory, however it lies, and so
    /// on several devices, which takes the copies to and from them.
    pub fn time(&mut self, launches: usize, host: &mut Host<'_>) -> Result<Vec<Ran>, RunError> {
        match self {
            Self::Gpu(executor) => executor.time(launches),
            Self::Cpu(ready) => (0..launches).map(|_| over(ready, host)).collect(),
            Self::Several(ready) => (0..launches).map(|_| over(&mut **ready, host)).collect(),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => (0..launches).map(|_| over(&mut **ready, host)).collect(),
        }
    }

    /// One launch over fresh inputs and poisoned outputs: elements that differ from the golden, counted where the outputs
    /// are. None where that is the host's memory, where whoever runs it can count.
    pub fn count_wrong<T: Element>(
        &mut self,
        inputs: &[&[T]],
        goldens: &Goldens<'_, T>,
    ) -> Result<Option<u64>, RunError> {
        match self {
            Self::Gpu(executor) => executor.count_wrong(inputs, goldens).map(Some),
            _ => Ok(None),
        }
    }
}

/// One launch over the caller's memory, timed.
fn over(ready: &mut impl Ready, host: &mut Host<'_>) -> Result<Ran, RunError> {
    let (inputs, outputs) = host.both();
    let start = Instant::now();
    let mut ran = match inputs {
        Some(inputs) => ready.run(inputs, outputs)?,
        None => ready.run_in_place(outputs)?,
    };
    ran.time = Some(start.elapsed());
    Ok(ran)
}

impl Ready for Loaded {
    fn prepared(&self) -> Prepared {
        match self {
            Self::Cpu(ready) => ready.prepared(),
            Self::Several(ready) => ready.prepared(),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => ready.prepared(),
            Self::Gpu(executor) => executor.prepared(),
        }
    }

    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        match self {
            Self::Cpu(ready) => ready.run(inputs, outputs),
            Self::Several(ready) => ready.run(inputs, outputs),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => ready.run(inputs, outputs),
            Self::Gpu(executor) => executor.run(inputs, outputs),
        }
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        match self {
            Self::Cpu(ready) => ready.run_in_place(buffers),
            Self::Several(ready) => ready.run_in_place(buffers),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => ready.run_in_place(buffers),
            Self::Gpu(executor) => executor.run_in_place(buffers),
        }
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        match self {
            Self::Cpu(ready) => ready.load(piece, inputs),
            Self::Several(ready) => ready.load(piece, inputs),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => ready.load(piece, inputs),
            Self::Gpu(executor) => executor.load(piece, inputs),
        }
    }

    fn launch(&mut self) -> Result<Ran, RunError> {
        match self {
            Self::Cpu(ready) => ready.launch(),
            Self::Several(ready) => ready.launch(),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => ready.launch(),
            Self::Gpu(executor) => executor.launch(),
        }
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        match self {
            Self::Cpu(ready) => ready.fetch(outputs),
            Self::Several(ready) => ready.fetch(outputs),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => ready.fetch(outputs),
            Self::Gpu(executor) => executor.fetch(outputs),
        }
    }

    fn trace(&mut self) -> Option<Trace> {
        match self {
            Self::Cpu(ready) => ready.trace(),
            Self::Several(ready) => ready.trace(),
            #[cfg(feature = "mpi")]
            Self::Processes(ready) => ready.trace(),
            Self::Gpu(executor) => executor.trace(),
        }
    }
}
