//! A package on a device: its kernel compiled, its words in buffers.
//!
//! It decides nothing. What every launch shares stands here once, whoever records it.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::device::Device;
use super::kernels::{Compiled, range};
use crate::error::DeviceError;
use crate::lower::kernel::Access;
use crate::lower::{Binding, Contents, Package};

/// What launches of one package on one device have in common.
pub(super) struct Loaded {
    pub(super) context: Arc<Context>,
    /// The context's, for waits of these launches.
    pub(super) device: Device,
    pub(super) package: Package,
    pub(super) kernel: Arc<Compiled>,
    /// By binding, where it is the same in every launch.
    words: Vec<Option<wgpu::Buffer>>,
}

impl Loaded {
    pub(super) fn new(
        context: &Arc<Context>,
        package: Package,
        timeout: Option<Duration>,
    ) -> Result<Self, DeviceError> {
        let device = context.device.patient(timeout);
        let kernel = context.kernels.get(&device, package.kernel)?;
        let words = package.bindings.iter().map(|binding| {
            let Contents::Words(words) = &binding.contents else { return Ok(None) };
            let usage = match binding.access {
                Access::Uniform | Access::UniformRow => wgpu::BufferUsages::UNIFORM,
                Access::Read | Access::Write => wgpu::BufferUsages::STORAGE,
            };
            device.buffer_of(binding.name, bytemuck::cast_slice(words), usage).map(Some)
        });
        let words = words.collect::<Result<_, _>>()?;
        Ok(Self { context: Arc::clone(context), device, kernel, words, package })
    }

    /// Binds what is the same in every launch together with a launch's own buffers.
    pub(super) fn bind(&self, own: &Own) -> Result<wgpu::BindGroup, DeviceError> {
        let all = self.package.bindings.iter().zip(&self.words);
        let arena = &self.package.arena;
        let bindings = all.filter_map(|(Binding { bytes, contents, .. }, words)| {
            Some(match contents {
                Contents::Vectors => range(&own.arena, 0, *bytes),
                Contents::Atomics => range(&own.arena, arena.atomic_offset(), *bytes),
                Contents::Progress => own.progress.as_entire_buffer_binding(),
                Contents::Memory => own.memory.as_ref()?.as_entire_buffer_binding(),
                Contents::Tickets { .. } => own.tickets.as_ref()?.as_entire_buffer_binding(),
                Contents::Words(_) => match words.as_ref()? {
                    words if words.size() > *bytes => range(words, 0, *bytes),
                    words => words.as_entire_buffer_binding(),
                },
            })
        });
        self.kernel.bind(&self.device, &bindings.collect::<Vec<_>>())
    }
}

/// The buffers that one launch at a time works in.
pub(super) struct Own {
    pub(super) arena: wgpu::Buffer,
    pub(super) progress: wgpu::Buffer,
    pub(super) memory: Option<wgpu::Buffer>,
    /// Of launches that are traced, where instructions say in which order they ran.
    pub(super) tickets: Option<wgpu::Buffer>,
}
