//! Outputs and slots filled with a value that no result has, before a launch, so that nothing stale can pass.

use std::sync::Arc;

use super::device::GpuError;
use super::encoded::{Encoded, Memory};
use super::kernel::{Kernel, Variant};
use super::program::two_words;
use crate::element::Element;

/// Poisons one memory.
pub(super) struct Poison {
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    workgroups: u32,
}

/// Enough for any device to be busy; each invocation loops.
const WORKGROUPS: u32 = 1024;

impl Poison {
    pub(super) fn new<T: Element>(encoded: &Encoded, memory: &Memory) -> Result<Self, GpuError> {
        let (gpu, workgroup) = (&encoded.gpu, encoded.shape.workgroup);
        let kernel = gpu.kernel(Variant::Fill { workgroup })?;
        let vectors = encoded.arena.poisoned();
        let workgroups = (vectors.len() as u32).div_ceil(workgroup).clamp(1, WORKGROUPS);
        let [poison, _] = two_words(T::poison());
        let region = [vectors.start, vectors.end, poison, workgroups * workgroup];
        let region = gpu.buffer_of("fill", bytemuck::cast_slice(&region), wgpu::BufferUsages::UNIFORM)?;
        let group = gpu.bind(&kernel, &[encoded.vectors(&memory.arena), region.as_entire_buffer_binding()])?;
        Ok(Self { kernel, group, workgroups })
    }

    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}
