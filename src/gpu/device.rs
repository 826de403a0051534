//! An open device: every wgpu error comes back as a value, and every wait for the device ends.
//!
//! wgpu's defaults are to panic on uncaught errors and on device loss; neither may reach a user.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::adapter::{Adapter, AdapterInfo, adapters, describe};
use super::clock::Warmth;
use super::kernel::Kernels;
use super::probe::{LADDER, Probe};
use crate::payload::VECTOR_BYTES;

/// How long one submission may take. Nothing in the kernel waits without a bound, so only a broken driver needs it.
const DEADLINE: Duration = Duration::from_secs(120);
/// OpenGL clamps a single wait to about two seconds; waiting in slices works on every backend.
const SLICE: Duration = Duration::from_millis(500);

/// Those of the executor: payload, signals, instructions, links, progress, starts.
const STORAGE_BUFFERS: u32 = 6;

/// Features that are used where they are: fused dispatch needs the first, times from the device's own clock the second.
const OPTIONAL: wgpu::Features = wgpu::Features::MEMORY_DECORATION_COHERENT.union(wgpu::Features::TIMESTAMP_QUERY);

/// What can go wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// There is none.
    #[error("no GPU driver found (Vulkan, Metal, DX12 or OpenGL); install one, or use the CPU executor")]
    Absent,
    /// It could not be opened.
    #[error("{device} cannot be opened: {reason}")]
    Open {
        /// The adapter's title.
        device: String,
        /// What wgpu says.
        reason: String,
    },
    /// It went away.
    #[error("{device} was lost: {reason}; run again, or use another device")]
    Lost {
        /// The adapter's title.
        device: String,
        /// What wgpu says.
        reason: String,
    },
    /// A caller created it with less than wgccl needs.
    #[error(
        "{device} was requested with {limit} = {has}, and wgccl needs {needs}; ask for that in its required_limits"
    )]
    Limit {
        /// The adapter's title.
        device: String,
        /// The limit of [`wgpu::Limits`].
        limit: &'static str,
        /// What it is.
        has: u32,
        /// What it must be.
        needs: u32,
    },
    /// It refused what was asked for.
    #[error("{device} refused a request: {reason}")]
    Refused {
        /// The adapter's title.
        device: String,
        /// What wgpu says.
        reason: String,
    },
    /// It has not enough memory.
    #[error("{device} has not enough memory for this; use a smaller count, fewer ranks or the CPU executor")]
    Memory {
        /// The adapter's title.
        device: String,
    },
    /// A submission was still running after two minutes.
    #[error("{device} did not complete a submission within {} s; its driver may be stuck", DEADLINE.as_secs())]
    Deadline {
        /// The adapter's title.
        device: String,
    },
}

/// An open device. Clones are handles of the same one, and share its compiled kernels.
#[derive(Clone)]
pub struct Gpu {
    info: Arc<AdapterInfo>,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) limits: wgpu::Limits,
    faults: Arc<Faults>,
    pub(super) kernels: Arc<Kernels>,
    pub(super) fused: Arc<OnceLock<Result<Probe, String>>>,
    pub(super) fused_ll: Arc<OnceLock<Result<Probe, String>>>,
    /// Whether so many lanes as the ladder says run together.
    pub(super) together: Arc<[OnceLock<bool>; LADDER.len()]>,
    pub(super) warmth: Arc<Warmth>,
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

/// Every adapter, best first, opened; or why it cannot be: some are listed by drivers that then refuse them.
pub fn open_all() -> Vec<Result<Gpu, GpuError>> {
    adapters().iter().map(Gpu::open).collect()
}

/// Those that open.
#[cfg(test)]
pub(super) fn opened() -> Vec<Gpu> {
    open_all().into_iter().filter_map(Result::ok).collect()
}

impl Gpu {
    /// Opens an adapter with all of its limits.
    ///
    /// # Errors
    /// [`GpuError::Open`].
    pub fn open(adapter: &Adapter) -> Result<Self, GpuError> {
        let info = adapter.info().clone();
        let request = adapter.adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("wgccl"),
            required_features: adapter.adapter.features() & OPTIONAL,
            required_limits: adapter.adapter.limits(),
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request)
            .map_err(|error| GpuError::Open { device: info.title(), reason: error.to_string() })?;
        let faults = Arc::new(Faults::default());
        let on_error = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            locked(&on_error.stray).get_or_insert(error.into());
        }));
        let on_loss = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, text| {
            // Dropping a device is reported as a loss, too.
            if reason != wgpu::DeviceLostReason::Destroyed {
                locked(&on_loss.lost).get_or_insert(text);
            }
        });
        Ok(Self::of(info, device, queue, faults))
    }

    /// The best adapter that opens: hardware before software.
    ///
    /// # Errors
    /// [`GpuError::Absent`] where there is no adapter, or why the last one did not open.
    pub fn best() -> Result<Self, GpuError> {
        let mut result = Err(GpuError::Absent);
        for adapter in adapters() {
            result = Self::open(&adapter);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// A caller's own device. Its features and limits decide what can be done on it: fused dispatch needs
    /// `MEMORY_DECORATION_COHERENT`, large payloads in one piece a large `max_storage_buffer_binding_size`.
    ///
    /// It must have been requested with at least 6 `max_storage_buffers_per_shader_stage`, below wgpu's default of 8; a launch
    /// says so where it was not. Nothing of the caller's is changed: handlers of uncaptured errors and of device loss stay as
    /// they are, and no error of what wgccl prepares reaches them.
    pub fn adopt(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let info = describe(0, device.adapter_info(), &device.limits(), device.features());
        Self::of(info, device.clone(), queue.clone(), Arc::default())
    }

    fn of(info: AdapterInfo, device: wgpu::Device, queue: wgpu::Queue, faults: Arc<Faults>) -> Self {
        let limits = device.limits();
        let (info, kernels) = (Arc::new(info), Arc::new(Kernels::new()));
        let (fused, fused_ll, together, warmth) = Default::default();
        Self { info, device, queue, limits, faults, kernels, fused, fused_ll, together, warmth }
    }

    /// Every adapter has these limits but a caller's device may have been requested with less.
    pub(super) fn check_limits(&self) -> Result<(), GpuError> {
        let (limit, has, needs) =
            ("max_storage_buffers_per_shader_stage", self.limits.max_storage_buffers_per_shader_stage, STORAGE_BUFFERS);
        if has >= needs { Ok(()) } else { Err(GpuError::Limit { device: self.info.title(), limit, has, needs }) }
    }

    /// Calls `f`, and returns what wgpu finds wrong meanwhile. Scopes belong to the calling thread: no error of another's
    /// comes in, and none of these reaches a handler, which may be a caller's.
    pub(super) fn scoped<R>(&self, f: impl FnOnce() -> R) -> Result<R, GpuError> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let scopes = [Validation, Internal, OutOfMemory].map(|filter| self.device.push_error_scope(filter));
        let result = f();
        // Ready at once on native backends; popped in reverse, as scopes nest. What follows a failed allocation is only
        // its consequence.
        let mut errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop()));
        let first = errors.next();
        errors.for_each(drop);
        self.check()?;
        first.map_or(Ok(result), |error| Err(self.error(error.into())))
    }

    /// What it is.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Whether the device is still there, and nothing was wrong with a program's own work on it.
    fn check(&self) -> Result<(), GpuError> {
        if let Some(reason) = locked(&self.faults.lost).clone() {
            return Err(GpuError::Lost { device: self.info.title(), reason });
        }
        locked(&self.faults.stray).take().map_or(Ok(()), |stray| Err(self.error(stray)))
    }

    fn error(&self, error: Reported) -> GpuError {
        match error {
            Reported::Memory => GpuError::Memory { device: self.info.title() },
            Reported::Other(reason) => self.refused(reason),
        }
    }

    pub(super) fn refused(&self, reason: impl ToString) -> GpuError {
        GpuError::Refused { device: self.info.title(), reason: reason.to_string() }
    }

    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// Submits, and returns what can be waited for; a submission that was refused has nothing.
    pub(super) fn submit(&self, commands: wgpu::CommandBuffer) -> Result<wgpu::SubmissionIndex, GpuError> {
        self.scoped(|| self.queue.submit([commands]))
    }

    /// Submits, and waits until the device is through with it.
    pub(super) fn run(&self, commands: wgpu::CommandBuffer) -> Result<(), GpuError> {
        let submitted = self.submit(commands)?;
        self.wait(Some(&submitted))?;
        self.check()
    }

    /// Waits until the device is through with everything that was submitted.
    ///
    /// # Errors
    /// [`GpuError`].
    pub fn finish(&self) -> Result<(), GpuError> {
        self.wait(None)?;
        self.check()
    }

    /// The device and its queue, for work of a program's own. Where wgccl has opened the device, errors that such work
    /// causes are returned by the next call.
    pub fn wgpu(&self) -> (&wgpu::Device, &wgpu::Queue) {
        (&self.device, &self.queue)
    }

    /// Lets callbacks of what has completed run, and returns at once.
    ///
    /// # Errors
    /// [`GpuError::Lost`].
    pub fn poll(&self) -> Result<(), GpuError> {
        match self.try_poll(wgpu::PollType::Poll) {
            Err(error) => Err(error),
            Ok(Ok(_) | Err(_)) => self.check(),
        }
    }

    /// wgpu panics when the device is lost while it polls.
    fn try_poll(&self, poll: wgpu::PollType) -> Result<Result<wgpu::PollStatus, wgpu::PollError>, GpuError> {
        catch_unwind(AssertUnwindSafe(|| self.device.poll(poll))).map_err(|_| {
            let reason =
                locked(&self.faults.lost).get_or_insert_with(|| "the driver gave no reason".to_owned()).clone();
            GpuError::Lost { device: self.info.title(), reason }
        })
    }

    /// For one submission, or for all.
    pub(super) fn wait(&self, submitted: Option<&wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        let start = Instant::now();
        loop {
            let poll = wgpu::PollType::Wait { submission_index: submitted.cloned(), timeout: Some(SLICE) };
            match self.try_poll(poll)? {
                Ok(_) => return Ok(()),
                Err(wgpu::PollError::Timeout) if start.elapsed() < DEADLINE => {}
                Err(wgpu::PollError::Timeout) => return Err(GpuError::Deadline { device: self.info.title() }),
                Err(error) => {
                    self.check()?;
                    return Err(self.refused(error));
                }
            }
        }
    }

    /// Submits `commands`, the last use of `buffer`, and hands the buffer's bytes to `read` once they have run.
    pub(super) fn run_and_read<R>(
        &self,
        commands: wgpu::CommandBuffer,
        buffer: &wgpu::Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, GpuError> {
        let submitted = self.submit(commands)?;
        self.read(&submitted, buffer, bytes, read)
    }

    /// Hands the bytes of `buffer` to `read` once `submitted`, the last use of it, is through.
    pub(super) fn read<R>(
        &self,
        submitted: &wgpu::SubmissionIndex,
        buffer: &wgpu::Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, GpuError> {
        let slice = buffer.slice(..bytes);
        let (mapped, arrived) = std::sync::mpsc::channel();
        self.scoped(|| {
            slice.map_async(wgpu::MapMode::Read, move |result| {
                // The receiver is alive until it has this.
                let _ = mapped.send(result);
            });
        })?;
        let result = self.wait(Some(submitted)).and_then(|()| {
            match arrived.try_recv() {
                Ok(result) => result.map_err(|error| self.refused(error))?,
                Err(_) => return Err(self.refused("a buffer could not be mapped")),
            }
            slice.get_mapped_range().map(|view| read(&view)).map_err(|error| self.refused(error))
        });
        // Also if the device is late: a buffer that became mapped after all would spoil the next submission.
        self.scoped(|| buffer.unmap())?;
        result
    }

    /// A buffer without contents, or why it cannot be had.
    pub(super) fn buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, GpuError> {
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
    ) -> Result<wgpu::Buffer, GpuError> {
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
