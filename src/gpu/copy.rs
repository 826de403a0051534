//! The copy that every bandwidth is held against, by whatever copies fastest on a device, and that warms it up.
//!
//! The command that copies buffers may be given to an engine that is slower than the memory: on an H200 a kernel is five
//! times as fast.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::{Stamps, Timed, timed, wall};
use super::device::{Gpu, GpuError};
use super::kernel::{Kernel, Variant};
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
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    workgroups: u32,
}

/// How long hardware is kept busy before it is timed. Idle, it lowers its clocks and is slow to raise them: an H200 at
/// 345 of 1980 MHz took 2.5 times as long for a launch 100 ms later, and was at its full clock 500 ms later.
const WARM_UP: Duration = Duration::from_millis(500);
/// What it does meanwhile: copies of so many bytes, so many a submission. Launches of a kilobyte leave it idle in between,
/// and its clocks where they are.
const WARM_UP_BYTES: u64 = 64 << 20;
const WARM_UP_COPIES: usize = 16;

/// Of one measurement: their timestamps must fit a query set.
const MOST_COPIES: usize = 512;

/// Invocations of a workgroup, and vectors that each of them copies at a time, as in the shader.
const WORKGROUP: u32 = 256;
const EACH: u32 = 4;

impl Copier {
    fn new(gpu: &Gpu, from: &wgpu::Buffer, to: &wgpu::Buffer) -> Result<Self, GpuError> {
        let workgroup = gpu.limits.max_compute_invocations_per_workgroup.min(WORKGROUP);
        let kernel = gpu.kernel(Variant::Copy { workgroup })?;
        let group = gpu.bind(&kernel, &[from.as_entire_buffer_binding(), to.as_entire_buffer_binding()])?;
        let blocks = from.size().div_ceil(u64::from(workgroup * EACH) * VECTOR_BYTES as u64);
        let workgroups = blocks.min(gpu.limits.max_compute_workgroups_per_dimension.into()) as u32;
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
///
/// # Errors
/// [`GpuError`].
pub fn warm_up(gpu: &Gpu) -> Result<(), GpuError> {
    if gpu.info().is_software() || gpu.warmth.is_warm() {
        return Ok(());
    }
    gpu.keep_busy(WARM_UP, WARM_UP_BYTES.min(gpu.limits.max_storage_buffer_binding_size))?;
    gpu.warmth.warm();
    Ok(())
}

impl Gpu {
    /// By copies of `bytes` bytes.
    fn keep_busy(&self, time: Duration, bytes: u64) -> Result<(), GpuError> {
        let from = self.buffer("warm-up source", bytes, wgpu::BufferUsages::STORAGE)?;
        let to = self.buffer("warm-up destination", bytes, wgpu::BufferUsages::STORAGE)?;
        let copier = Copier::new(self, &from, &to)?;
        let start = Instant::now();
        while start.elapsed() < time {
            let mut encoder = self.encoder();
            (0..WARM_UP_COPIES).for_each(|_| copier.encode(&mut encoder, None));
            self.run(encoder.finish())?;
        }
        Ok(())
    }

    /// Copies `bytes` bytes from one buffer to another, `launches` times (at most 512), each copy a submission of its own:
    /// what the device's memory does when nothing is computed, once it is warm.
    ///
    /// # Errors
    /// [`GpuError`]; a kernel sees no more than `max_binding_bytes` of a buffer.
    pub fn time_copy(&self, by: CopyBy, bytes: u64, launches: usize) -> Result<Vec<Timed>, GpuError> {
        use wgpu::BufferUsages as Usage;
        // The first one is not counted: memory is touched for the first time.
        let count = launches.min(MOST_COPIES) as u32 + 1;
        let usage = Usage::COPY_SRC | Usage::COPY_DST | Usage::STORAGE;
        let bytes = bytes.next_multiple_of(VECTOR_BYTES as u64);
        let from = self.buffer("copy source", bytes, usage)?;
        let to = self.buffer("copy destination", bytes, usage)?;
        let stamps = Stamps::new(self, count)?;
        let copier = match by {
            CopyBy::Command => None,
            CopyBy::Kernel => Some(Copier::new(self, &from, &to)?),
        };
        let encode = |copy: u32| {
            let mut encoder = self.encoder();
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
        warm_up(self)?;
        let walls = (0..count).map(|copy| wall(self, encode(copy))).collect::<Result<Vec<Duration>, GpuError>>()?;
        Ok(timed(self, &walls, stamps)?.into_iter().skip(1).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::device::opened;
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
                    let from = gpu.buffer_of("from", bytemuck::cast_slice(&words), Usage::STORAGE).unwrap();
                    let to = gpu.buffer("to", bytes, Usage::STORAGE | Usage::COPY_SRC).unwrap();
                    let readback = gpu.buffer("readback", bytes, Usage::MAP_READ | Usage::COPY_DST).unwrap();
                    let mut copier = Copier::new(&gpu, &from, &to).unwrap();
                    copier.workgroups = workgroups.unwrap_or(copier.workgroups);
                    let mut encoder = gpu.encoder();
                    copier.encode(&mut encoder, None);
                    encoder.copy_buffer_to_buffer(&to, 0, &readback, 0, bytes);
                    let copied: Vec<u32> =
                        gpu.run_and_read(encoder.finish(), &readback, bytes, bytemuck::pod_collect_to_vec).unwrap();
                    assert!(copied == words, "{}: {vectors} vectors, {workgroups:?}", gpu.info().title());
                }
            }
        }
    }

    #[test]
    fn every_device_times_copies_and_keeps_busy() {
        for gpu in opened() {
            gpu.keep_busy(Duration::from_millis(1), 1 << 10).unwrap();
            for by in [CopyBy::Command, CopyBy::Kernel] {
                for (bytes, launches, timed) in [(1, 1, 1), (1 << 20, 3, 3), (64, 600, 512)] {
                    let times = gpu.time_copy(by, bytes, launches).unwrap();
                    assert_eq!(times.len(), timed, "{}: {by:?} {bytes}", gpu.info().title());
                }
            }
        }
    }
}
