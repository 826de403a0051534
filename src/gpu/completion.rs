//! Whether a recorded launch finished, asked for when the caller wants to know, and not before.
//!
//! The answer is the progress of all lanes. It lies in a small buffer of the launch's own, which is mapped once the
//! caller's submission has completed.

use std::sync::Arc;

use futures_channel::oneshot;

use super::communicator::Resident;
use super::device::GpuError;
use super::launch::LaunchError;
use super::ledger::Launch;
use super::program::Progress;

/// A launch that was recorded. Outputs are results once [`check`](Self::check) or [`wait`](Self::wait) says so; who drops
/// this without asking takes the schedule's proof and the driver's word for it. A launch that did not finish also stops those
/// that were recorded before anybody asked; the ones recorded afterwards are right again.
#[must_use = "a result is a result once this has been checked"]
pub struct Completion {
    resident: Arc<Resident>,
    /// Progress of every piece.
    status: Pending,
    /// Of every piece.
    pub(super) launches: Vec<Launch>,
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
        resident: &Arc<Resident>,
        encoder: &wgpu::CommandEncoder,
    ) -> Result<(Self, wgpu::Buffer), GpuError> {
        let bytes = resident.encoded.progress_bytes() * resident.encoded.pieces.count() as u64;
        let status = Pending::new(resident, encoder, bytes)?;
        let buffer = status.buffer.clone();
        Ok((Self { resident: Arc::clone(resident), status, launches: Vec::new() }, buffer))
    }

    /// Resolves when the submission has completed. As with every mapped buffer of wgpu, somebody has to submit or poll the
    /// device meanwhile. Whoever drops the future may ask again.
    ///
    /// # Errors
    /// [`LaunchError::Hang`], [`LaunchError::NotLaunched`] if the commands were dropped, and [`LaunchError::Gpu`].
    pub async fn check(&mut self) -> Result<(), LaunchError> {
        self.status.arrive(&self.resident).await?;
        let Some((launch, now)) = self.unfinished()? else { return Ok(()) };
        let mut signals = signals(&self.resident)?;
        signals.arrive(&self.resident).await?;
        Err(hang(&self.resident, launch, &now, &signals.buffer)?)
    }

    /// Polls the device until everything that was submitted to it has completed, and checks.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`LaunchError::NotLaunched`] also if the commands have not been submitted yet: submit them
    /// and ask again.
    pub fn wait(&mut self) -> Result<(), LaunchError> {
        self.status.block(&self.resident)?;
        let Some((launch, now)) = self.unfinished()? else { return Ok(()) };
        let mut signals = signals(&self.resident)?;
        signals.block(&self.resident)?;
        Err(hang(&self.resident, launch, &now, &signals.buffer)?)
    }

    /// Whether the submission has completed, so that [`wait`](Self::wait) answers at once. Polls the device, and does not
    /// wait for it.
    ///
    /// # Errors
    /// [`LaunchError::NotLaunched`] if the commands were dropped, and [`LaunchError::Gpu`].
    pub fn is_finished(&mut self) -> Result<bool, LaunchError> {
        self.resident.encoded.gpu.poll()?;
        self.status.look(&self.resident)
    }

    /// The first piece that did not finish, and its progress.
    fn unfinished(&self) -> Result<Option<(Launch, Vec<Progress>)>, LaunchError> {
        let Resident { encoded, memory } = &*self.resident;
        let words: Vec<Progress> = words(&self.resident, &self.status.buffer)?;
        // The buffer may be longer than what is recorded into it.
        for (now, &launch) in words.chunks(encoded.progress_words().max(1)).zip(&self.launches) {
            if !encoded.finished(now, launch) {
                memory.ledger.unfinished();
                return Ok(Some((launch, now.to_vec())));
            }
            memory.ledger.finished(launch);
        }
        Ok(None)
    }
}

impl Pending {
    fn new(resident: &Resident, encoder: &wgpu::CommandEncoder, bytes: u64) -> Result<Self, GpuError> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let gpu = &resident.encoded.gpu;
        let buffer = gpu.buffer("status", bytes, usage)?;
        let (tell, mapped) = oneshot::channel();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| {
            // Nobody may want to know any more.
            let _ = tell.send(result);
        });
        Ok(Self { buffer, mapped, arrived: false })
    }

    async fn arrive(&mut self, resident: &Resident) -> Result<(), LaunchError> {
        if !self.arrived {
            let mapped = (&mut self.mapped).await;
            self.arrived = take(resident, mapped.map(Some))?;
        }
        Ok(())
    }

    fn block(&mut self, resident: &Resident) -> Result<(), LaunchError> {
        resident.encoded.gpu.wait(None)?;
        if self.look(resident)? { Ok(()) } else { Err(LaunchError::NotLaunched) }
    }

    /// Whether it is mapped by now.
    fn look(&mut self, resident: &Resident) -> Result<bool, LaunchError> {
        if !self.arrived {
            self.arrived = take(resident, self.mapped.try_recv())?;
        }
        Ok(self.arrived)
    }
}

/// Whether there was something, unless it was an error.
fn take(
    resident: &Resident,
    mapped: Result<Option<Result<(), wgpu::BufferAsyncError>>, oneshot::Canceled>,
) -> Result<bool, LaunchError> {
    match mapped {
        Ok(None) => Ok(false),
        Ok(Some(Ok(()))) => Ok(true),
        Ok(Some(Err(error))) => Err(resident.encoded.gpu.refused(error).into()),
        Err(oneshot::Canceled) => Err(LaunchError::NotLaunched),
    }
}

fn words<W: bytemuck::Pod>(resident: &Resident, buffer: &wgpu::Buffer) -> Result<Vec<W>, LaunchError> {
    let view = buffer.get_mapped_range(..).map_err(|error| resident.encoded.gpu.refused(error))?;
    Ok(bytemuck::pod_collect_to_vec(&view))
}

/// Only now, for a report: signals and progress of whatever was launched last.
fn signals(resident: &Resident) -> Result<Pending, LaunchError> {
    let Resident { encoded, memory } = resident;
    let mut encoder = encoded.gpu.encoder();
    let pending = Pending::new(resident, &encoder, encoded.trace_bytes())?;
    encoded.encode_trace(&mut encoder, memory, &pending.buffer);
    encoded.gpu.submit(encoder.finish())?;
    Ok(pending)
}

fn hang(
    resident: &Resident,
    launch: Launch,
    now: &[Progress],
    buffer: &wgpu::Buffer,
) -> Result<LaunchError, LaunchError> {
    let trace: Vec<u32> = words(resident, buffer)?;
    Ok(LaunchError::Hang(Box::new(resident.encoded.explain(launch, now, &trace))))
}
