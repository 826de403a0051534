//! The device memory that one launch at a time works in, and how launches in it are recorded.
//!
//! Shared by launches over the host's slices and over a caller's buffers, so that both begin and end alike.

use std::sync::Arc;

use super::device::Device;
use super::ledger::{Ledger, Numbered};
use super::loaded::{Loaded, Own};
use super::marks::Marks;
use crate::error::DeviceError;
use crate::lower::{Binding, Contents, Step};

/// Memory for one launch at a time.
pub(super) struct Memory {
    pub(super) loaded: Arc<Loaded>,
    pub(super) own: Own,
    pub(super) ledger: Ledger,
    group: wgpu::BindGroup,
}

/// Numbers to draw, if it is for them.
fn tickets(device: &Device, binding: &Binding) -> Option<Result<wgpu::Buffer, DeviceError>> {
    use wgpu::BufferUsages as Usage;
    let Contents::Tickets { instructions } = binding.contents else { return None };
    let mut words = vec![0_u32; binding.bytes as usize / size_of::<u32>()];
    *words.get_mut(1)? = instructions;
    Some(device.buffer_of(binding.name, bytemuck::cast_slice(&words), Usage::STORAGE | Usage::COPY_SRC))
}

impl Memory {
    /// All zero.
    pub(super) fn new(loaded: &Arc<Loaded>) -> Result<Self, DeviceError> {
        use wgpu::BufferUsages as Usage;
        let (device, package) = (&loaded.device, &loaded.package);
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let remembered = package.bindings.iter().find(|binding| binding.contents == Contents::Memory);
        let own = Own {
            arena: device.buffer("arena", package.arena.bytes(), usage)?,
            progress: device.buffer("progress", package.progress_bytes(), usage)?,
            memory: remembered.map(|binding| device.buffer(binding.name, binding.bytes, Usage::STORAGE)).transpose()?,
            tickets: package.bindings.iter().find_map(|binding| tickets(device, binding)).transpose()?,
        };
        let group = loaded.bind(&own)?;
        Ok(Self { loaded: Arc::clone(loaded), own, ledger: Ledger::default(), group })
    }

    /// A driver that compiles on first use does so here, by a workgroup that begins nothing and has nothing to do.
    pub(super) fn warm_up(&self) -> Result<(), DeviceError> {
        // A compiler may take longer than a launch.
        let device = &self.loaded.context.device;
        let mut encoder = device.encoder();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.loaded.kernel.pipeline);
        self.dispatch(&mut pass, self.loaded.package.nothing());
        drop(pass);
        device.run(encoder.finish())
    }

    fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, Step { rows, workgroups }: Step) {
        pass.set_bind_group(0, &self.group, &rows);
        pass.dispatch_workgroups(workgroups, 1, 1);
    }

    /// Begins to record another launch. A launch needs no reset: signals keep counting. After one that did not finish the
    /// encoder clears them, and counts; a kernel must not, because it could erase a notify of a faster workgroup.
    pub(super) fn next(&self, encoder: &mut wgpu::CommandEncoder) -> Numbered {
        let launch = self.ledger.next();
        if launch.resets {
            let arena = &self.loaded.package.arena;
            encoder.clear_buffer(&self.own.arena, arena.atomic_offset(), Some(arena.atomic_bytes()));
            encoder.clear_buffer(&self.own.progress, 0, None);
        }
        if let Some(tickets) = &self.own.tickets {
            encoder.clear_buffer(tickets, 0, Some(size_of::<u32>() as u64));
        }
        launch
    }

    /// What instructions of the last launch drew, which is through.
    pub(super) fn tickets(&self) -> Result<Option<Vec<u32>>, DeviceError> {
        self.own.tickets.as_ref().map(|tickets| self.loaded.device.words(tickets)).transpose()
    }

    /// The first `dispatches` dispatches of the plan over `piece`, and the plan again from its beginning if they are more;
    /// they begin `launch`, or go on with what was begun before.
    pub(super) fn dispatches(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        piece: usize,
        launch: Option<Numbered>,
        dispatches: usize,
    ) {
        pass.set_pipeline(&self.loaded.kernel.pipeline);
        let number = launch.map(|launch| launch.number);
        for step in self.loaded.package.steps(piece, number, dispatches) {
            self.dispatch(pass, step);
        }
    }

    /// The dispatches of one of a part's epochs, and how many they are.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn epoch(&self, pass: &mut wgpu::ComputePass<'_>, piece: usize, launch: Numbered, epoch: u32) -> u32 {
        pass.set_pipeline(&self.loaded.kernel.pipeline);
        let steps = self.loaded.package.steps_of_epoch(piece, launch.number, epoch);
        steps.map(|step| self.dispatch(pass, step)).count() as u32
    }

    /// As [`dispatches`](Self::dispatches), each in a pass of its own with stamps around it, from the `first` pair of `marks`
    /// on.
    pub(super) fn marked_dispatches(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        piece: usize,
        launch: Numbered,
        dispatches: usize,
        (marks, first): (&Marks, usize),
    ) {
        for (at, step) in (first..).zip(self.loaded.package.steps(piece, Some(launch.number), dispatches)) {
            let timestamp_writes = marks.writes(at);
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
            pass.set_pipeline(&self.loaded.kernel.pipeline);
            self.dispatch(&mut pass, step);
        }
    }

    /// Signals and progress, from which a launch that did not finish is explained.
    pub(super) fn copy_trace(&self, encoder: &mut wgpu::CommandEncoder, to: &wgpu::Buffer) {
        let package = &self.loaded.package;
        let (from, bytes) = (package.arena.atomic_offset(), package.arena.signal_bytes());
        if bytes > 0 {
            encoder.copy_buffer_to_buffer(&self.own.arena, from, to, 0, bytes);
        }
        encoder.copy_buffer_to_buffer(&self.own.progress, 0, to, bytes, package.progress_bytes());
    }
}
