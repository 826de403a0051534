//! The copy that every bandwidth is held against, by whatever copies fastest on a device, and that warms it up.
//!
//! The command that copies buffers may be given to an engine that is slower than the memory: on an H200 a kernel is five
//! times as fast.

use std::sync::Arc;
use std::time::Duration;

use super::blocking::Instant;
use super::clock::{Stamps, Timed, timed, wall};
use super::context::Context;
use super::kernels::Compiled;
use crate::error::DeviceError;
use crate::lower::kernel::Kernel;
use crate::payload::VECTOR_BYTES;

/// How memory is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyBy {
    /// The command that copies a buffer to a buffer.
    Command,
    /// A kernel that does nothing else.
    Kernel,
}

/// Copies one buffer to another by the kernel.
struct Copier {
    kernel: Arc<Compiled>,
    group: wgpu::BindGroup,
    workgroups: u32,
}

/// How long hardware is kept busy before it is timed. Idle, it lowers its clocks and is slow to raise them: an H200 at
/// 345 of 1980 MHz took 2.5 times as long for a launch 100 ms later, and was at its full clock 500 ms later.
const WARM_UP: Duration = Duration::from_millis(500);
/// The work that keeps it busy: copies of this size, this many a submission. Launches of a kilobyte leave gaps, in which
/// clocks stay low.
const WARM_UP_BYTES: u64 = 64 << 20;
const WARM_UP_COPIES: usize = 16;

/// Of one measurement: their timestamps must fit a query set.
const MOST_COPIES: usize = 512;

/// Invocations of a workgroup, and vectors that each of them copies at a time, as in the shader.
const WORKGROUP: u32 = 256;
const EACH: u32 = 4;

impl Copier {
    fn new(context: &Context, from: &wgpu::Buffer, to: &wgpu::Buffer) -> Result<Self, DeviceError> {
        let device = &context.device;
        let workgroup = device.limits.max_compute_invocations_per_workgroup.min(WORKGROUP);
        let kernel = context.kernels.get(device, Kernel::Copy { workgroup })?;
        let group = kernel.bind(device, &[from.as_entire_buffer_binding(), to.as_entire_buffer_binding()])?;
        let blocks = from.size().div_ceil(u64::from(workgroup * EACH) * VECTOR_BYTES as u64);
        let workgroups = blocks.min(device.limits.max_compute_workgroups_per_dimension.into()) as u32;
        Ok(Self { kernel, group, workgroups })
    }

    fn encode(&self, encoder: &mut wgpu::CommandEncoder, stamps: Option<wgpu::ComputePassTimestampWrites<'_>>) {
        let mut pass =
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes: stamps });
        pass.set_pipeline(&self.kernel.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}

/// Keeps hardware busy until its clocks are those of work, unless they are up already. Software devices have no such clocks.
pub(super) fn warm_up(context: &Context) -> Result<(), DeviceError> {
    if context.device.info().is_software() || context.warmth.is_warm() {
        return Ok(());
    }
    keep_busy(context, WARM_UP, WARM_UP_BYTES.min(context.device.limits.max_storage_buffer_binding_size))?;
    context.warmth.warm();
    Ok(())
}

/// By copies of `bytes` bytes.
fn keep_busy(context: &Context, time: Duration, bytes: u64) -> Result<(), DeviceError> {
    let device = &context.device;
    let from = device.buffer("warm-up source", bytes, wgpu::BufferUsages::STORAGE)?;
    let to = device.buffer("warm-up destination", bytes, wgpu::BufferUsages::STORAGE)?;
    let copier = Copier::new(context, &from, &to)?;
    let start = Instant::now();
    while start.elapsed() < time {
        let mut encoder = device.encoder();
        (0..WARM_UP_COPIES).for_each(|_| copier.encode(&mut encoder, None));
        device.run(encoder.finish())?;
    }
    Ok(())
}

/// Copies `bytes` bytes from one buffer to another, `launches` times, each copy a submission of its own, once it is warm.
pub(super) fn time_copy(context: &Context, by: CopyBy, bytes: u64, launches: usize) -> Result<Vec<Timed>, DeviceError> {
    let device = &context.device;
    use wgpu::BufferUsages as Usage;
    // The first one is not counted: memory is touched for the first time.
    let count = launches.min(MOST_COPIES) as u32 + 1;
    let usage = Usage::COPY_SRC | Usage::COPY_DST | Usage::STORAGE;
    let bytes = bytes.next_multiple_of(VECTOR_BYTES as u64);
    let from = device.buffer("copy source", bytes, usage)?;
    let to = device.buffer("copy destination", bytes, usage)?;
    let stamps = Stamps::new(device, count)?;
    let copier = match by {
        CopyBy::Command => None,
        CopyBy::Kernel => Some(Copier::new(context, &from, &to)?),
    };
    let encode = |copy: u32| {
        let mut encoder = device.encoder();
        match (&copier, &stamps) {
            (Some(copier), stamps) => {
                copier.encode(&mut encoder, stamps.as_ref().map(|stamps| stamps.writes(copy)));
            }
            (None, None) => encoder.copy_buffer_to_buffer(&from, 0, &to, 0, bytes),
            (None, Some(stamps)) => {
                stamps.mark(&mut encoder, copy, 0);
                encoder.copy_buffer_to_buffer(&from, 0, &to, 0, bytes);
                stamps.mark(&mut encoder, copy, 1);
            }
        }
        encoder.finish()
    };
    warm_up(context)?;
    let walls = (0..count)
        .map(|copy| wall(device, &context.warmth, encode(copy)))
        .collect::<Result<Vec<Duration>, DeviceError>>()?;
    Ok(timed(device, &walls, stamps)?.into_iter().skip(1).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::opened;
    use super::*;

    /// Lengths around a workgroup's block, and more blocks than one workgroup each.
    #[test]
    fn the_kernel_copies_everything() {
        for gpu in opened() {
            for vectors in [1, 2, 255, 256, 257, 767, 768, 769, 1023, 1024, 1025, 5000] {
                for workgroups in [None, Some(1), Some(2)] {
                    use wgpu::BufferUsages as Usage;
                    let words: Vec<u32> = (0..4 * vectors).collect();
                    let bytes = 16 * u64::from(vectors);
                    let from = gpu.device.buffer_of("from", bytemuck::cast_slice(&words), Usage::STORAGE).unwrap();
                    let to = gpu.device.buffer("to", bytes, Usage::STORAGE | Usage::COPY_SRC).unwrap();
                    let mut copier = Copier::new(&gpu, &from, &to).unwrap();
                    copier.workgroups = workgroups.unwrap_or(copier.workgroups);
                    let mut encoder = gpu.device.encoder();
                    copier.encode(&mut encoder, None);
                    gpu.device.run(encoder.finish()).unwrap();
                    let copied: Vec<u32> = gpu.device.words(&to).unwrap();
                    assert!(copied == words, "{}: {vectors} vectors, {workgroups:?}", gpu.device.info().title());
                }
            }
        }
    }

    #[test]
    fn every_device_times_copies_and_keeps_busy() {
        for gpu in opened() {
            keep_busy(&gpu, Duration::from_millis(1), 1 << 10).unwrap();
            for by in [CopyBy::Command, CopyBy::Kernel] {
                for (bytes, launches, timed) in [(1, 1, 1), (1 << 20, 3, 3), (64, 600, 512)] {
                    let times = time_copy(&gpu, by, bytes, launches).unwrap();
                    assert_eq!(times.len(), timed, "{}: {by:?} {bytes}", gpu.device.info().title());
                }
            }
        }
    }
}
