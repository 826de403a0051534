//! An open device: every wgpu error comes back as a value, and every wait for the device ends.
//!
//! wgpu's defaults are to panic on uncaught errors and on device loss; neither may reach a user.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::adapter::{Adapter, AdapterInfo, describe};
use super::blocking::{Instant, MAY_WAIT, block_on};
use super::turn::Turns;
use crate::backend::DEFAULT_TIMEOUT;
use crate::error::DeviceError;
use crate::payload::VECTOR_BYTES;

/// OpenGL clamps a single wait to about two seconds, and lets no other thread in meanwhile.
const GL_SLICE: Duration = Duration::from_millis(500);
/// What wgpu-core's `Device::maintain` panics with where a wait has ended early and then another thread was faster to poll.
/// Nothing is wrong then but its assertion; callbacks that it was about to call are dropped, however.
const OVERTAKEN: &str = "If the queue is empty, the current submission index";

/// Features that are used where they are: fused dispatch needs the first, times from the device's own clock the second.
const OPTIONAL: wgpu::Features = wgpu::Features::MEMORY_DECORATION_COHERENT.union(wgpu::Features::TIMESTAMP_QUERY);

/// An open device. Clones are handles of the same.
#[derive(Clone)]
pub(super) struct Device {
    info: AdapterInfo,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) limits: wgpu::Limits,
    faults: Arc<Faults>,
    turns: Arc<Turns>,
    patience: Duration,
}

/// What wgpu reported outside of any call of wgccl's.
#[derive(Default)]
struct Faults {
    /// An error of a program's own work on a device that wgccl has opened.
    stray: Mutex<Option<Reported>>,
    /// Why the device went away. It does not come back.
    lost: Mutex<Option<String>>,
}

/// An error of wgpu.
enum Reported {
    Memory,
    Other(String),
}

impl From<wgpu::Error> for Reported {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::Memory,
            _ => Self::Other(one_line(&error)),
        }
    }
}

fn locked<T>(slot: &Mutex<Option<T>>) -> MutexGuard<'_, Option<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// Opens an adapter with all of its limits.
    ///
    /// # Errors
    /// [`DeviceError::Open`].
    pub(super) fn open(adapter: &Adapter) -> Result<Self, DeviceError> {
        let info = adapter.info().clone();
        let request = adapter.adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("wgccl"),
            required_features: adapter.adapter.features() & OPTIONAL,
            required_limits: adapter.adapter.limits(),
            ..Default::default()
        });
        let (device, queue) = block_on(request)
            .ok_or_else(|| DeviceError::CannotWait { device: info.title() })?
            .map_err(|error| DeviceError::Open { device: info.title(), reason: error.to_string() })?;
        let faults = Arc::new(Faults::default());
        let on_error = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            locked(&on_error.stray).get_or_insert(error.into());
        }));
        let on_loss = Arc::clone(&faults);
        // Dropping the last handle is reported as a loss, too, when nobody is left to ask.
        device.set_device_lost_callback(move |_, text| {
            locked(&on_loss.lost).get_or_insert(text);
        });
        Ok(Self::of(info, device, queue, faults))
    }

    /// A caller's own.
    pub(super) fn adopt(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let info = describe(0, device.adapter_info(), &device.limits(), device.features());
        Self::of(info, device.clone(), queue.clone(), Arc::default())
    }

    fn of(info: AdapterInfo, device: wgpu::Device, queue: wgpu::Queue, faults: Arc<Faults>) -> Self {
        let limits = device.limits();
        let turns = Arc::new(Turns::new(device.adapter_info().backend == wgpu::Backend::Gl));
        Self { info, device, queue, limits, faults, turns, patience: DEFAULT_TIMEOUT }
    }

    /// A handle whose waits end after `patience`, if that is given.
    pub(super) fn patient(&self, patience: Option<Duration>) -> Self {
        Self { patience: patience.unwrap_or(DEFAULT_TIMEOUT), ..self.clone() }
    }

    /// Calls `f`, and returns what wgpu finds wrong meanwhile.
    pub(super) fn scoped<R>(&self, f: impl FnOnce() -> R) -> Result<R, DeviceError> {
        let (result, wrong) = self.watched(f);
        self.check()?;
        wrong.map_or(Ok(result), |error| Err(self.error(error.into())))
    }

    /// Calls `f`, with the first thing that wgpu finds wrong meanwhile. Scopes belong to the calling thread: no error of
    /// another's comes in, and none of these reaches a handler, which may be a caller's.
    fn watched<R>(&self, f: impl FnOnce() -> R) -> (R, Option<wgpu::Error>) {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let _turn = self.turns.take();
        let scopes = [Validation, Internal, OutOfMemory].map(|filter| self.device.push_error_scope(filter));
        let result = f();
        // Ready at once on native backends, and in a browser nobody may wait for them; popped in reverse, as scopes nest. What
        // follows a failed allocation is only its consequence.
        let mut errors = scopes.into_iter().rev().filter_map(|scope| block_on(scope.pop()).flatten());
        let first = errors.next();
        errors.for_each(drop);
        (result, first)
    }

    /// What it is.
    pub(super) fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Whether the device is still there, and nothing was wrong with a program's own work on it.
    fn check(&self) -> Result<(), DeviceError> {
        if let Some(reason) = locked(&self.faults.lost).clone() {
            return Err(DeviceError::Lost { device: self.info.title(), reason });
        }
        locked(&self.faults.stray).take().map_or(Ok(()), |stray| Err(self.error(stray)))
    }

    fn error(&self, error: Reported) -> DeviceError {
        match error {
            Reported::Memory => DeviceError::Memory { device: self.info.title() },
            Reported::Other(reason) => self.refused(reason),
        }
    }

    /// What a lost device is asked for it refuses as well, and its loss is the better reason.
    pub(super) fn refused(&self, reason: impl ToString) -> DeviceError {
        match self.here() {
            Ok(()) => DeviceError::Refused { device: self.info.title(), reason: reason.to_string() },
            Err(lost) => lost,
        }
    }

    /// Whether the device is still there. A caller's own tells nobody but the caller when it goes, and then answers every
    /// request with an object that is invalid, without an error.
    pub(super) fn here(&self) -> Result<(), DeviceError> {
        let usage = wgpu::BufferUsages::COPY_SRC;
        let probe = wgpu::BufferDescriptor { label: Some("probe"), size: 4, usage, mapped_at_creation: true };
        match self.watched(|| self.device.create_buffer(&probe).get_mapped_range(..).is_ok()) {
            (true, _) | (false, Some(_)) => Ok(()),
            (false, None) => {
                let reason = locked(&self.faults.lost).clone().unwrap_or_else(|| "it was destroyed".to_owned());
                Err(DeviceError::Lost { device: self.info.title(), reason })
            }
        }
    }

    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// Submits, and returns what can be waited for; a submission that was refused has nothing.
    pub(super) fn submit(&self, commands: wgpu::CommandBuffer) -> Result<wgpu::SubmissionIndex, DeviceError> {
        self.scoped(|| self.queue.submit([commands]))
    }

    /// Submits, and waits until the device is through with it.
    pub(super) fn run(&self, commands: wgpu::CommandBuffer) -> Result<(), DeviceError> {
        let submitted = self.submit(commands)?;
        self.wait(Some(&submitted))?;
        self.check()
    }

    /// Waits until the device is through with everything that was submitted.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub(super) fn finish(&self) -> Result<(), DeviceError> {
        self.wait(None)?;
        self.check()
    }

    /// Lets callbacks of what has completed run, and returns at once.
    ///
    /// # Errors
    /// [`DeviceError::Lost`].
    pub(super) fn poll(&self) -> Result<(), DeviceError> {
        match self.try_poll(wgpu::PollType::Poll) {
            Err(error) => Err(error),
            Ok(Ok(_) | Err(_)) => self.check(),
        }
    }

    /// wgpu panics when the device is lost while it polls, and so may a callback of a program's own.
    fn try_poll(&self, poll: wgpu::PollType) -> Result<Result<wgpu::PollStatus, wgpu::PollError>, DeviceError> {
        let _turn = self.turns.take();
        let thrown = match catch_unwind(AssertUnwindSafe(|| self.device.poll(poll))) {
            Ok(status) => return Ok(status),
            Err(thrown) => thrown,
        };
        let said = thrown.downcast_ref::<String>().map(String::as_str).or(thrown.downcast_ref::<&str>().copied());
        let said = said.unwrap_or("the driver gave no reason").to_owned();
        // Dropped, it might panic again.
        std::mem::forget(thrown);
        if said.starts_with(OVERTAKEN) {
            return Ok(Err(wgpu::PollError::Timeout));
        }
        if self.here().is_ok() {
            return Err(DeviceError::Refused { device: self.info.title(), reason: said });
        }
        let reason = locked(&self.faults.lost).get_or_insert(said).clone();
        Err(DeviceError::Lost { device: self.info.title(), reason })
    }

    /// For one submission, or for all.
    pub(super) fn wait(&self, submitted: Option<&wgpu::SubmissionIndex>) -> Result<(), DeviceError> {
        if !MAY_WAIT {
            return Err(DeviceError::CannotWait { device: self.info.title() });
        }
        // Where nothing forces it, no wait ends early: see `OVERTAKEN`.
        let slice = if self.info.backend == "gl" { GL_SLICE } else { self.patience };
        let start = Instant::now();
        loop {
            let timeout = Some(slice.min(self.patience));
            let poll = wgpu::PollType::Wait { submission_index: submitted.cloned(), timeout };
            match self.try_poll(poll)? {
                Ok(_) => return Ok(()),
                Err(wgpu::PollError::Timeout) if start.elapsed() < self.patience => {}
                Err(wgpu::PollError::Timeout) => {
                    return Err(self.late());
                }
                Err(error) => {
                    self.check()?;
                    return Err(self.refused(error));
                }
            }
        }
    }

    fn late(&self) -> DeviceError {
        DeviceError::Deadline { device: self.info.title(), timeout: self.patience }
    }

    /// Hands the first bytes of `from` to `read`, once all that was submitted before is through. `readback` is at least as long.
    pub(super) fn read_back<R>(
        &self,
        from: &wgpu::Buffer,
        readback: &wgpu::Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, DeviceError> {
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(from, 0, readback, 0, bytes);
        let submitted = self.submit(encoder.finish())?;
        self.read(&submitted, readback, bytes, read)
    }

    /// The words of a whole buffer, by way of a readback of its own.
    pub(super) fn words<W: bytemuck::Pod>(&self, from: &wgpu::Buffer) -> Result<Vec<W>, DeviceError> {
        let readback = self.readback("readback", from.size())?;
        self.read_back(from, &readback, from.size(), bytemuck::pod_collect_to_vec)
    }

    /// A buffer that the host can read.
    pub(super) fn readback(&self, label: &str, bytes: u64) -> Result<wgpu::Buffer, DeviceError> {
        self.buffer(label, bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)
    }

    /// Hands the bytes of `buffer` to `read` once `submitted`, the last use of it, is through.
    pub(super) fn read<R>(
        &self,
        submitted: &wgpu::SubmissionIndex,
        buffer: &wgpu::Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, DeviceError> {
        let slice = buffer.slice(..bytes);
        let (mapped, arrived) = channel();
        self.scoped(|| {
            slice.map_async(wgpu::MapMode::Read, move |result| {
                // The receiver is alive until it has this.
                let _ = mapped.send(result);
            });
        })?;
        let result = self.wait(Some(submitted)).and_then(|()| {
            // Another thread that polls may have taken the callback, and be about to call it.
            match arrived.recv_timeout(self.patience) {
                Ok(result) => result.map_err(|error| self.refused(error))?,
                Err(RecvTimeoutError::Timeout) => return Err(self.late()),
                // Lost on the way (see `OVERTAKEN`): the buffer itself knows whether it is mapped.
                Err(RecvTimeoutError::Disconnected) => {}
            }
            slice.get_mapped_range().map(|view| read(&view)).map_err(|error| self.refused(error))
        });
        // Also if the device is late: a buffer that became mapped after all would spoil the next submission. While another
        // thread maps it, wgpu takes it for one that is not mapped: it is with the callback.
        match self.scoped(|| buffer.unmap()) {
            Err(DeviceError::Refused { .. }) if result.is_err() => {
                let _ = arrived.recv_timeout(DEFAULT_TIMEOUT);
                self.scoped(|| buffer.unmap())?;
            }
            unmapped => unmapped?,
        }
        result
    }

    /// A buffer without contents, or why it cannot be had.
    pub(super) fn buffer(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, DeviceError> {
        // An empty buffer cannot be bound: a schedule of one rank has no links.
        let size = size.max(VECTOR_BYTES as u64).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        self.scoped(|| self.device.create_buffer(&descriptor))
    }

    /// A buffer that holds `contents`.
    pub(super) fn buffer_of(
        &self,
        label: &str,
        contents: &[u8],
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, DeviceError> {
        let buffer = self.buffer(label, contents.len() as u64, usage | wgpu::BufferUsages::COPY_DST)?;
        if !contents.is_empty() {
            self.scoped(|| self.queue.write_buffer(&buffer, 0, contents))?;
        }
        Ok(buffer)
    }
}

/// wgpu's errors span lines; a user gets one.
fn one_line(error: &wgpu::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
