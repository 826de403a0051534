//! How long submissions take, by the host's clock and by the device's own.
//!
//! Apart from what is timed, launches or copies, because both are held against each other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::blocking::Instant;
use super::device::Device;
use crate::error::DeviceError;

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

/// Whether times can come from the device's own clock. That of a software adapter is the host's, and a look at it costs more
/// than a small launch (lavapipe: 100 us).
pub(super) fn has_clock(device: &Device) -> bool {
    !device.info().is_software() && device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
}

/// From submission to completion.
pub(super) fn wall(device: &Device, warmth: &Warmth, commands: wgpu::CommandBuffer) -> Result<Duration, DeviceError> {
    let warm = warmth.is_warm();
    let start = Instant::now();
    device.run(commands)?;
    let time = start.elapsed();
    if warm {
        warmth.warm();
    }
    Ok(time)
}

/// Joins both clocks. A device whose timestamps run backwards or stand still while it works has no clock.
pub(super) fn timed(device: &Device, walls: &[Duration], stamps: Option<Stamps>) -> Result<Vec<Timed>, DeviceError> {
    let period = f64::from(device.queue.get_timestamp_period());
    let span = |[start, end]: [u64; STAMPS as usize]| {
        let ticks = end.checked_sub(start).filter(|&ticks| ticks > 0)?;
        Some(Duration::from_nanos((ticks as f64 * period) as u64))
    };
    let stamps = stamps.map(|stamps| stamps.read(device)).transpose()?;
    let spans: Option<Vec<Duration>> = stamps.and_then(|stamps| stamps.into_iter().map(span).collect());
    let of = |i: usize| spans.as_ref().and_then(|spans| spans.get(i).copied());
    Ok(walls.iter().enumerate().map(|(i, &wall)| Timed { wall, device: of(i) }).collect())
}

/// Timestamps of several submissions.
pub(super) struct Stamps {
    set: wgpu::QuerySet,
    count: u32,
}

impl Stamps {
    pub(super) fn new(device: &Device, submissions: u32) -> Result<Option<Self>, DeviceError> {
        if !has_clock(device) {
            return Ok(None);
        }
        Self::of(device, submissions).map(Some)
    }

    /// Whatever they cost.
    pub(super) fn of(device: &Device, submissions: u32) -> Result<Self, DeviceError> {
        let count = submissions * STAMPS;
        let descriptor = wgpu::QuerySetDescriptor { label: Some("stamps"), ty: wgpu::QueryType::Timestamp, count };
        let set = device.scoped(|| device.device.create_query_set(&descriptor))?;
        Ok(Self { set, count })
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

    pub(super) fn read(&self, device: &Device) -> Result<Vec<[u64; STAMPS as usize]>, DeviceError> {
        let bytes = u64::from(self.count) * u64::from(wgpu::QUERY_SIZE);
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = device.buffer("resolved stamps", bytes, usage)?;
        let mut encoder = device.encoder();
        encoder.resolve_query_set(&self.set, 0..self.count, &resolved, 0);
        device.run(encoder.finish())?;
        device.words(&resolved)
    }
}
