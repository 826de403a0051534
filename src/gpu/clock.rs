//! How long submissions take, by the host's clock and by the device's own.
//!
//! Apart from what is timed, launches or copies, because both are held against each other.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::device::{Gpu, GpuError};

/// What one of several equal submissions took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// From submission to completion, as the host sees it.
    pub wall: Duration,
    /// By the device's own clock, where it has one: the schedule's dispatches, or the copy.
    pub device: Option<Duration>,
}

/// Timestamps of a submission: before and after the work.
const STAMPS: u32 = 2;
/// After so much idleness the clocks of hardware are still up.
const STILL_WARM: Duration = Duration::from_millis(50);

/// When a device was busy last, with its clocks up.
#[derive(Debug, Default)]
pub(super) struct Warmth(Mutex<Option<Instant>>);

impl Warmth {
    pub(super) fn is_warm(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last.elapsed() < STILL_WARM)
    }

    pub(super) fn warm(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Gpu {
    /// Whether times can come from the device's own clock. That of a software adapter is the host's, and a look at it
    /// costs more than a small launch (lavapipe: 100 us).
    pub fn has_clock(&self) -> bool {
        !self.info().is_software() && self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }
}

/// From submission to completion.
pub(super) fn wall(gpu: &Gpu, commands: wgpu::CommandBuffer) -> Result<Duration, GpuError> {
    let warm = gpu.warmth.is_warm();
    let start = Instant::now();
    gpu.run(commands)?;
    let time = start.elapsed();
    if warm {
        gpu.warmth.warm();
    }
    Ok(time)
}

/// Joins both clocks. A device whose timestamps run backwards or stand still while it works has no clock.
pub(super) fn timed(gpu: &Gpu, walls: &[Duration], stamps: Option<Stamps>) -> Result<Vec<Timed>, GpuError> {
    let period = f64::from(gpu.queue.get_timestamp_period());
    let span = |[start, end]: [u64; STAMPS as usize]| {
        let ticks = end.checked_sub(start).filter(|&ticks| ticks > 0)?;
        Some(Duration::from_nanos((ticks as f64 * period) as u64))
    };
    let stamps = stamps.map(|stamps| stamps.read(gpu)).transpose()?;
    let device: Option<Vec<Duration>> = stamps.and_then(|stamps| stamps.into_iter().map(span).collect());
    let of = |i: usize| device.as_ref().and_then(|device| device.get(i).copied());
    Ok(walls.iter().enumerate().map(|(i, &wall)| Timed { wall, device: of(i) }).collect())
}

/// Timestamps of several submissions.
pub(super) struct Stamps {
    set: wgpu::QuerySet,
    count: u32,
}

impl Stamps {
    pub(super) fn new(gpu: &Gpu, submissions: u32) -> Result<Option<Self>, GpuError> {
        if !gpu.has_clock() {
            return Ok(None);
        }
        let count = submissions * STAMPS;
        let descriptor = wgpu::QuerySetDescriptor { label: Some("stamps"), ty: wgpu::QueryType::Timestamp, count };
        let set = gpu.scoped(|| gpu.device.create_query_set(&descriptor))?;
        Ok(Some(Self { set, count }))
    }

    /// Both, around a pass.
    pub(super) fn writes(&self, submission: u32) -> wgpu::ComputePassTimestampWrites<'_> {
        let [first, last] = [0, 1].map(|stamp| Some(submission * STAMPS + stamp));
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: first,
            end_of_pass_write_index: last,
        }
    }

    /// One of both between two commands: that of a pass without dispatches. Stamps inside an encoder are a rarer feature.
    pub(super) fn mark(&self, encoder: &mut wgpu::CommandEncoder, submission: u32, stamp: u32) {
        let mut writes = self.writes(submission);
        writes.beginning_of_pass_write_index = Some(submission * STAMPS + stamp);
        writes.end_of_pass_write_index = None;
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) });
    }

    fn read(&self, gpu: &Gpu) -> Result<Vec<[u64; STAMPS as usize]>, GpuError> {
        let bytes = u64::from(self.count) * u64::from(wgpu::QUERY_SIZE);
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.buffer("resolved stamps", bytes, usage)?;
        let mut encoder = gpu.encoder();
        encoder.resolve_query_set(&self.set, 0..self.count, &resolved, 0);
        gpu.run(encoder.finish())?;
        read(gpu, &resolved, bytes)
    }
}

pub(super) fn read<A: bytemuck::Pod>(gpu: &Gpu, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<A>, GpuError> {
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let readback = gpu.buffer("timing readback", bytes, usage)?;
    let mut encoder = gpu.encoder();
    encoder.copy_buffer_to_buffer(buffer, 0, &readback, 0, bytes);
    gpu.run_and_read(encoder.finish(), &readback, bytes, bytemuck::pod_collect_to_vec)
}
