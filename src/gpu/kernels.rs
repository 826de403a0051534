//! Compiled kernels of one device: each made once, on first use.
//!
//! What a kernel is stands in [`crate::lower::kernel`]; here it meets the device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::device::Device;
use crate::error::DeviceError;
use crate::lower::kernel::{Access, Kernel};

/// A pipeline and the layout of its one bind group.
pub(super) struct Compiled {
    pub(super) pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// Kernels by what they are.
#[derive(Default)]
pub(super) struct Kernels(Mutex<HashMap<Kernel, Arc<Compiled>>>);

impl Kernels {
    /// The kernel, compiled on first use.
    pub(super) fn get(&self, device: &Device, kernel: Kernel) -> Result<Arc<Compiled>, DeviceError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = known.get(&kernel) {
            return Ok(Arc::clone(compiled));
        }
        let (limit, has, needs) = (
            "max_storage_buffers_per_shader_stage",
            device.limits.max_storage_buffers_per_shader_stage,
            kernel.storage_buffers(),
        );
        // Every adapter has that many, but a caller's device may have been requested with less.
        if has < needs {
            return Err(DeviceError::Limit { device: device.info().title(), limit, has, needs });
        }
        let compiled = Arc::new(device.scoped(|| compile(&device.device, &kernel))?);
        known.insert(kernel, Arc::clone(&compiled));
        Ok(compiled)
    }
}

fn compile(device: &wgpu::Device, kernel: &Kernel) -> Compiled {
    use wgpu::BufferBindingType::{Storage, Uniform};
    let source = kernel.source();
    let entries: Vec<_> = (0..)
        .zip(kernel.slots())
        .map(|(binding, (_, access))| {
            let (ty, has_dynamic_offset) = match access {
                Access::Read => (Storage { read_only: true }, false),
                Access::Write => (Storage { read_only: false }, false),
                Access::Uniform => (Uniform, false),
                Access::UniformRow => (Uniform, true),
            };
            wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
                count: None,
            }
        })
        .collect();
    let label = Some(source.name.as_str());
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let descriptor =
        wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.text.as_str().into()) };
    // What checks cost was measured: half of the speed on SwiftShader.
    let checks = wgpu::ShaderRuntimeChecks {
        bounds_checks: !kernel.is_in_range(),
        force_loop_bounding: false,
        ..wgpu::ShaderRuntimeChecks::checked()
    };
    // SAFETY: loops end, because each counts up to a number that it does not change; `tests/device/shaders.rs` holds the IR of
    // every source to that form. Indices are in range where `Kernel::is_in_range` says so, and why; elsewhere they are checked.
    let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&layout)],
        ..Default::default()
    });
    let constants: Vec<(&str, f64)> =
        kernel.overrides().into_iter().map(|(name, value)| (name, value.into())).collect();
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(kernel.entry_point()),
        compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
        cache: None,
    });
    Compiled { pipeline, layout }
}

impl Compiled {
    /// A bind group of whole buffers and ranges, in binding order.
    pub(super) fn bind(
        &self,
        device: &Device,
        bindings: &[wgpu::BufferBinding<'_>],
    ) -> Result<wgpu::BindGroup, DeviceError> {
        let entries: Vec<_> = (0..)
            .zip(bindings)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(buffer.clone()),
            })
            .collect();
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &self.layout, entries: &entries };
        device.scoped(|| device.device.create_bind_group(&descriptor))
    }
}

/// A range of a buffer.
pub(super) fn range(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset, size: std::num::NonZeroU64::new(size) }
}
