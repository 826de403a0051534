//! Whether a recorded launch finished, asked for when the caller wants to know, and not before.
//!
//! The answer is the progress of all lanes. It lies in a small buffer of the launch's own, which is mapped once the
//! caller's submission has completed.

use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;

use super::blocking::{Instant, MAY_WAIT};
use super::device::Device;
use super::ledger::Numbered;
use super::memory::Memory;
use crate::error::{DeviceError, RunError};
use crate::lower::words::Progress;

/// How long a callback that was taken may take to come. What was never submitted is known by then.
const CALLBACK: Duration = Duration::from_millis(100);

/// A launch that was recorded. Outputs are results once [`check`](Self::check) or [`wait`](Self::wait) says so; who drops
/// this without asking takes the schedule's proof and the driver's word for it. A launch that did not finish also stops those
/// that were recorded before anybody asked; the ones recorded afterwards are right again.
#[must_use = "a result is a result once this has been checked"]
pub struct Completion {
    memory: Arc<Memory>,
    /// Progress of every piece.
    status: Pending,
    /// Of every piece.
    pub(super) launches: Vec<Numbered>,
}

/// A buffer that will be mapped when the submission that writes it has completed.
struct Pending {
    buffer: wgpu::Buffer,
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
    arrived: bool,
}

impl Completion {
    /// A completion, and the buffer to which the progress of every piece is to be recorded, one after the other.
    pub(super) fn new(
        memory: &Arc<Memory>,
        encoder: &wgpu::CommandEncoder,
    ) -> Result<(Self, wgpu::Buffer), DeviceError> {
        let package = &memory.loaded.package;
        let bytes = package.progress_bytes() * package.pieces.count() as u64;
        let status = Pending::new(device(memory), encoder, bytes)?;
        let buffer = status.buffer.clone();
        Ok((Self { memory: Arc::clone(memory), status, launches: Vec::new() }, buffer))
    }

    /// Resolves when the submission has completed: at once where it has, and later when somebody submits to or polls the
    /// device, as with every mapped buffer of wgpu. Of a launch that failed, the report is waited for. Whoever drops the future
    /// may ask again.
    ///
    /// # Errors
    /// [`RunError::Hang`], [`RunError::NotLaunched`] if the commands were dropped, and [`RunError::Device`].
    pub async fn check(&mut self) -> Result<(), RunError> {
        device(&self.memory).poll()?;
        self.status.arrive(device(&self.memory)).await?;
        let Some((launch, now)) = self.unfinished()? else { return Ok(()) };
        let mut trace = trace(&self.memory)?;
        // Nobody else knows of this submission, so nobody would poll for it.
        if MAY_WAIT {
            trace.block(device(&self.memory))?;
        } else {
            trace.arrive(device(&self.memory)).await?;
        }
        Err(hang(&self.memory, launch, &now, &trace.buffer)?)
    }

    /// Polls the device until everything that was submitted to it has completed, and checks.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`RunError::NotLaunched`] also if the commands have not been submitted yet: submit them
    /// and ask again.
    pub fn wait(&mut self) -> Result<(), RunError> {
        self.status.block(device(&self.memory))?;
        let Some((launch, now)) = self.unfinished()? else { return Ok(()) };
        let mut trace = trace(&self.memory)?;
        trace.block(device(&self.memory))?;
        Err(hang(&self.memory, launch, &now, &trace.buffer)?)
    }

    /// Whether the submission has completed, so that [`wait`](Self::wait) answers at once. Polls the device, and does not
    /// wait for it.
    ///
    /// # Errors
    /// [`RunError::NotLaunched`] if the commands were dropped, and [`RunError::Device`].
    pub fn is_finished(&mut self) -> Result<bool, RunError> {
        device(&self.memory).poll()?;
        self.status.look(device(&self.memory))
    }

    /// The first piece that did not finish, and its progress.
    fn unfinished(&self) -> Result<Option<(Numbered, Vec<Progress>)>, RunError> {
        let (package, ledger) = (&self.memory.loaded.package, &self.memory.ledger);
        let words: Vec<Progress> = words(device(&self.memory), &self.status.buffer)?;
        // The buffer may be longer than what is recorded into it.
        for (now, &launch) in words.chunks(package.progress_words().max(1)).zip(&self.launches) {
            if !package.finished(now, launch.number) {
                ledger.unfinished();
                if !package.begun(now, launch.number) {
                    device(&self.memory).here()?;
                    return Err(RunError::NotExecuted { device: device(&self.memory).info().title() });
                }
                return Ok(Some((launch, now.to_vec())));
            }
            ledger.finished(launch);
        }
        Ok(None)
    }
}

fn device(memory: &Memory) -> &Device {
    &memory.loaded.device
}

impl Pending {
    fn new(device: &Device, encoder: &wgpu::CommandEncoder, bytes: u64) -> Result<Self, DeviceError> {
        let buffer = device.readback("status", bytes)?;
        let (tell, mapped) = oneshot::channel();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| {
            // Nobody may want to know any more.
            let _ = tell.send(result);
        });
        Ok(Self { buffer, mapped, arrived: false })
    }

    async fn arrive(&mut self, device: &Device) -> Result<(), RunError> {
        if !self.arrived {
            let mapped = (&mut self.mapped).await;
            self.arrived = self.take(device, mapped.map(Some))?;
        }
        Ok(())
    }

    fn block(&mut self, device: &Device) -> Result<(), RunError> {
        device.wait(None)?;
        // Another thread that polls may have taken the callback, and be about to call it.
        let start = Instant::now();
        while !self.look(device)? {
            if start.elapsed() > CALLBACK {
                return Err(RunError::NotLaunched);
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Whether it is mapped by now.
    fn look(&mut self, device: &Device) -> Result<bool, RunError> {
        if !self.arrived {
            let mapped = self.mapped.try_recv();
            self.arrived = self.take(device, mapped)?;
        }
        Ok(self.arrived)
    }

    /// Whether there was something, unless it was an error.
    fn take(
        &self,
        device: &Device,
        mapped: Result<Option<Result<(), wgpu::BufferAsyncError>>, oneshot::Canceled>,
    ) -> Result<bool, RunError> {
        match mapped {
            Ok(None) => Ok(false),
            Ok(Some(Ok(()))) => Ok(true),
            Ok(Some(Err(error))) => Err(device.refused(error).into()),
            // wgpu may drop a callback on its way: the buffer itself knows whether it is mapped.
            Err(oneshot::Canceled) if self.buffer.get_mapped_range(..).is_ok() => Ok(true),
            Err(oneshot::Canceled) => Err(RunError::NotLaunched),
        }
    }
}

fn words<W: bytemuck::Pod>(device: &Device, buffer: &wgpu::Buffer) -> Result<Vec<W>, RunError> {
    let view = buffer.get_mapped_range(..).map_err(|error| device.refused(error))?;
    Ok(bytemuck::pod_collect_to_vec(&view))
}

/// Only now, for a report: signals and progress of whatever was launched last.
fn trace(memory: &Memory) -> Result<Pending, RunError> {
    let device = device(memory);
    let mut encoder = device.encoder();
    let pending = Pending::new(device, &encoder, memory.loaded.package.trace_bytes())?;
    memory.copy_trace(&mut encoder, &pending.buffer);
    device.submit(encoder.finish())?;
    Ok(pending)
}

fn hang(memory: &Memory, launch: Numbered, now: &[Progress], buffer: &wgpu::Buffer) -> Result<RunError, RunError> {
    let trace: Vec<u32> = words(device(memory), buffer)?;
    Ok(RunError::Hang(Box::new(memory.loaded.package.explain(launch.number, now, &trace))))
}
