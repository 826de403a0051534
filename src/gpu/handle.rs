//! A GPU as a user holds it: an open device with its kernels and its self-checks, which executes proved schedules.
//!
//! Here modes are chosen and refused; below, everybody does as the package says.

use std::sync::Arc;

use super::adapter::{Adapter, AdapterInfo, MAX_RANKS, adapters};
use super::clock::{Timed, has_clock};
use super::context::Context;
use super::copy::{self, CopyBy};
use super::device::Device;
use super::executor::Executor;
use super::selfcheck::{SelfCheck, SelfCheckError, SelfChecks};
use crate::backend::{Backend, Options, Shape, Spread};
use crate::error::{DeviceError, PrepareError};
use crate::lower::mode::{Mode, Protocol};
use crate::lower::{LowerError, Package, Request, Unsound, lower};
use crate::proof::Proved;
use crate::schedule::DeviceKind;
use crate::trace::MOST_SPANS;

/// An open device. Clones are handles of the same one, and share its compiled kernels.
#[derive(Clone)]
pub struct Gpu {
    context: Arc<Context>,
    checks: Arc<SelfChecks>,
}

/// Every adapter, best first, opened; or why it cannot be: some are listed by drivers that then refuse them.
pub fn open_all() -> Vec<Result<Gpu, DeviceError>> {
    adapters().iter().map(Gpu::open).collect()
}

/// What this executor is called in errors.
const EXECUTOR: &str = "the GPU executor";

/// Storage buffers of a kernel whose instructions say in which order they ran.
const WITH_TICKETS: u32 = 7;

impl Gpu {
    /// Opens an adapter with all of its limits.
    ///
    /// # Errors
    /// [`DeviceError::Open`].
    pub fn open(adapter: &Adapter) -> Result<Self, DeviceError> {
        Device::open(adapter).map(Self::of)
    }

    /// The best adapter that opens: hardware before software.
    ///
    /// # Errors
    /// [`DeviceError::Absent`] where there is no adapter, or why the last one did not open.
    pub fn best() -> Result<Self, DeviceError> {
        let mut result = Err(DeviceError::Absent);
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
    /// It must have been requested with at least 6 `max_storage_buffers_per_shader_stage` (7 for the protocol `ll`), below
    /// wgpu's default of 8; a launch says so where it was not. Nothing of the caller's is changed: handlers of uncaptured
    /// errors and of device loss stay as they are, and no error of what wgccl prepares reaches them.
    pub fn adopt(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self::of(Device::adopt(device, queue))
    }

    fn of(device: Device) -> Self {
        Self { context: Arc::new(Context::new(device)), checks: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(super) fn device(&self) -> &Device {
        &self.context.device
    }

    /// What it is.
    pub fn info(&self) -> &AdapterInfo {
        self.device().info()
    }

    /// The device and its queue, for work of a program's own. Where wgccl has opened the device, errors that such work
    /// causes are returned by the next call.
    pub fn wgpu(&self) -> (&wgpu::Device, &wgpu::Queue) {
        (&self.device().device, &self.device().queue)
    }

    /// Waits until the device is through with everything that was submitted.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn finish(&self) -> Result<(), DeviceError> {
        self.device().finish()
    }

    /// Lets callbacks of what has completed run, and returns at once.
    ///
    /// # Errors
    /// [`DeviceError::Lost`].
    pub fn poll(&self) -> Result<(), DeviceError> {
        self.device().poll()
    }

    /// Whether times can come from the device's own clock.
    pub fn has_clock(&self) -> bool {
        has_clock(self.device())
    }

    /// Keeps hardware busy until its clocks are those of work, unless they are up already.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn warm_up(&self) -> Result<(), DeviceError> {
        copy::warm_up(&self.context)
    }

    /// Copies `bytes` bytes from one buffer to another, `launches` times (at most 512), each copy a submission of its own:
    /// what the device's memory does when nothing is computed, once it is warm.
    ///
    /// # Errors
    /// [`DeviceError`]; a kernel sees no more than `max_binding_bytes` of a buffer.
    pub fn time_copy(&self, by: CopyBy, bytes: u64, launches: usize) -> Result<Vec<Timed>, DeviceError> {
        copy::time_copy(&self.context, by, bytes, launches)
    }

    /// Runs the check of fused dispatch by `protocol`, on first use.
    ///
    /// # Errors
    /// Why fused dispatch is not to be trusted here.
    pub fn self_check(&self, protocol: Protocol) -> Result<SelfCheck, SelfCheckError> {
        self.checks.fused(&self.context, protocol)
    }

    /// Whether this number of workgroups of a fused launch runs at the same time; tried on first use. Where it does not, the
    /// workgroups that run spin for those that cannot begin, and stepping would be faster.
    pub fn runs_together(&self, workgroups: u32) -> bool {
        self.checks.runs_together(&self.context, workgroups)
    }

    /// The package of `proved` for launches of `shape` here, in a mode that is sound and was checked.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn lower(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Package, PrepareError> {
        self.lower_in_pieces(proved, shape, None, options)
    }

    /// As [`lower`](Self::lower), in pieces of at most so many vectors of each chunk.
    pub(super) fn lower_in_pieces(
        &self,
        proved: &Proved,
        shape: Shape,
        vectors: Option<usize>,
        options: &Options,
    ) -> Result<Package, PrepareError> {
        self.admit(proved.schedule().ranks, options)?;
        let request = Request::new(shape.count, shape.data_type, shape.op)
            .dispatch(self.mode(proved, options), options.protocol)
            .channels(options.channels)
            .arena_bytes(options.arena_bytes)
            .piece_vectors(vectors)
            .workgroups(options.workgroups)
            .fault(options.fault)
            .tickets(options.trace && self.device().limits.max_storage_buffers_per_shader_stage >= WITH_TICKETS);
        let package = lower(proved, &request, &self.info().target).map_err(|error| self.refused(error))?;
        if package.mode() == Mode::Fused {
            self.self_check(request.protocol).map_err(|error| {
                let (Request { mode, protocol, .. }, reason) = (request, Unsound::SelfCheck(error.to_string()));
                self.refused(LowerError::Unsound { mode, protocol, reason })
            })?;
        }
        Ok(package)
    }

    /// The named mode, or the one to take.
    fn mode(&self, proved: &Proved, options: &Options) -> Mode {
        options.dispatch.unwrap_or_else(|| {
            self.info().target.choose(options.protocol, || {
                let lanes = proved.schedule().lanes.len().min(MAX_RANKS as usize) as u32;
                let workgroups = options.workgroups.map_or(lanes, |most| most.min(lanes));
                self.self_check(options.protocol).is_ok_and(|check| check.in_one_dispatch)
                    && self.runs_together(workgroups)
            })
        })
    }

    fn refused(&self, error: LowerError) -> PrepareError {
        match error {
            LowerError::Payload(error) => error.into(),
            LowerError::Unsupported(error) => error.into(),
            LowerError::Unscalable(error) => error.into(),
            LowerError::Nothing(what) => PrepareError::Nothing(what),
            error => PrepareError::Lower { device: self.info().title(), error },
        }
    }

    /// Makes `proved` ready, with memory for launches that are recorded, and for no others yet.
    pub(super) fn load(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Executor, PrepareError> {
        self.executor(self.lower(proved, shape, options)?, options)
    }

    /// Loads a package.
    pub(super) fn executor(&self, package: Package, options: &Options) -> Result<Executor, PrepareError> {
        Ok(Executor::new(&self.context, package, options.timeout)?)
    }
}

impl Backend for Gpu {
    type Ready = Executor;

    fn kind(&self) -> DeviceKind {
        self.info().device_kind()
    }

    fn admit(&self, ranks: u32, options: &Options) -> Result<(), PrepareError> {
        if ranks > MAX_RANKS {
            let (most, instead) = (MAX_RANKS, "the CPU executor");
            return Err(PrepareError::Ranks { ranks, most, executor: EXECUTOR, instead });
        }
        let foreign = [
            ("workers", options.workers.is_some()),
            ("spread", options.spread != Spread::Auto),
            ("further_results", options.further_results.is_some()),
            ("stream_bytes", options.stream_bytes.is_some()),
        ];
        match foreign.into_iter().find(|&(_, given)| given) {
            Some((option, _)) => Err(PrepareError::NoSuchOption { executor: EXECUTOR, option }),
            None => Ok(()),
        }
    }

    fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Executor, PrepareError> {
        if proved.is_part() {
            return Err(PrepareError::Part);
        }
        let mut executor = self.load(proved, shape, options)?;
        executor.furnish()?;
        if options.trace {
            let channels =
                if executor.package().tells_order() { executor.package().arena.channels as usize } else { 1 };
            let launches = executor.pieces().saturating_mul(channels);
            let instructions = proved.schedule().instructions().saturating_mul(launches);
            if instructions > MOST_SPANS {
                return Err(PrepareError::Trace { instructions, most: MOST_SPANS });
            }
            executor.trace()?;
        }
        Ok(executor)
    }
}
