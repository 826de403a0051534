//! Outputs and slots filled with a value that no result has, before a launch, so that nothing stale can pass.
//!
//! A kernel of its own: a command that fills buffers knows only zero.

use std::sync::Arc;

use super::kernels::{Compiled, range};
use super::memory::Memory;
use crate::error::DeviceError;
use crate::lower::kernel::Kernel;
use crate::lower::words::poison;

/// Poisons one memory.
pub(super) struct Poison {
    kernel: Arc<Compiled>,
    group: wgpu::BindGroup,
    workgroups: u32,
}

/// Enough for any device to be busy; each invocation loops.
const WORKGROUPS: u32 = 1024;

impl Poison {
    pub(super) fn new(memory: &Memory) -> Result<Self, DeviceError> {
        let (context, package) = (&memory.loaded.context, &memory.loaded.package);
        let (device, workgroup) = (&memory.loaded.device, package.workgroup);
        let kernel = context.kernels.get(device, Kernel::Fill { workgroup })?;
        let vectors = package.arena.poisoned();
        let workgroups = (vectors.len() as u32).div_ceil(workgroup).clamp(1, WORKGROUPS);
        let region = [vectors.start, vectors.end, poison(package.data_type), workgroups * workgroup];
        let region = device.buffer_of("fill", bytemuck::cast_slice(&region), wgpu::BufferUsages::UNIFORM)?;
        let vectors = range(&memory.own.arena, 0, package.arena.vector_bytes());
        let group = kernel.bind(device, &[vectors, region.as_entire_buffer_binding()])?;
        Ok(Self { kernel, group, workgroups })
    }

    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}
