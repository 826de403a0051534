//! Launches one after the other over inputs that stay on the device, each timed, none counted that did not finish.
//!
//! Nothing is read back between two launches: each leaves a copy of its progress words in a log, and all of them are
//! checked before any time is given out.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::device::{Gpu, GpuError};
use super::launch::{Bank, Executor, Host, LaunchError};
use super::ledger::Launch;
use super::program::Progress;
use crate::buffers::Given;
use crate::element::Element;
use crate::plan::Mode;

/// What one of several equal submissions took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timed {
    /// From submission to completion, as the host sees it.
    pub wall: Duration,
    /// The same by the device's clock, where it has one.
    pub device: Option<DeviceTime>,
}

/// Times from the device's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceTime {
    /// What precedes the dispatches: nothing, but after a launch that did not finish.
    pub reset: Duration,
    /// The schedule's dispatches; for a copy, the copy.
    pub work: Duration,
}

/// Times of launches that all finished.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// Dispatches of one launch.
    pub dispatches: u32,
    /// One entry a launch.
    pub launches: Vec<Timed>,
}

/// Timestamps of a submission: before the reset, before the work, after the work.
const STAMPS: u32 = 3;
/// Launches between two looks at the log: their timestamps must fit a query set of 4096, their progress words this.
const MOST_LAUNCHES: usize = 512;
const MOST_LOG_BYTES: u64 = 16 << 20;

impl<T: Element> Executor<T> {
    /// Puts one piece of every rank's input, in place of its buffer, on the device, where it stays for
    /// [`time`](Self::time) and [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// [`LaunchError::Buffers`] and [`LaunchError::Gpu`].
    pub fn load(&mut self, piece: usize, inputs: &[&[T]]) -> Result<(), LaunchError> {
        let extents = self.encoded.extents();
        let what = if extents.in_place { Given::InPlace } else { Given::Input };
        extents.check(what, inputs.iter().map(|input| input.len()))?;
        self.upload(&self.banks[0], piece, &Host::Apart { inputs, outputs: &mut [] })?;
        self.loaded = piece;
        self.banks[0].last.set(None);
        // Writes wait for the next submission, and must not be part of the first launch.
        Ok(self.encoded.gpu.run(self.encoded.gpu.encoder().finish())?)
    }

    /// Launches over the loaded piece, each launch a submission of its own: the dispatches, and nothing before them. Outputs are
    /// not poisoned, and in place the outputs of a launch are the inputs of the next.
    ///
    /// # Errors
    /// [`LaunchError::Hang`] and [`LaunchError::Gpu`]; no time is known then.
    pub fn time(&mut self, launches: usize) -> Result<Timing, LaunchError> {
        let most = (MOST_LOG_BYTES / self.encoded.progress_bytes().max(1)).clamp(1, MOST_LAUNCHES as u64) as usize;
        let plan = &self.encoded.plan;
        let mut dispatches = self.encoded.first_dispatches();
        let mut timing = Timing { dispatches: 0, launches: Vec::with_capacity(launches) };
        let mut before: Option<Vec<u32>> = None;
        while timing.launches.len() < launches {
            let count = (launches - timing.launches.len()).min(most);
            let (times, unfinished) = self.batch(count, dispatches)?;
            let Some(unfinished) = unfinished else {
                timing.launches.extend(times);
                continue;
            };
            // Fused lanes that did not run at the same time need more dispatches. None of these launches counts.
            // How far lanes got says if more have helped; in which launch that was does not.
            let now = unfinished.iter().map(|lane| lane.next).collect();
            if plan.mode != Mode::Fused || before.as_ref() == Some(&now) {
                return Err(self.hang_of(unfinished)?);
            }
            timing.launches.clear();
            dispatches = (2 * dispatches).max(plan.dispatches.len());
            before = Some(now);
        }
        timing.dispatches = dispatches as u32;
        Ok(timing)
    }

    /// Encodes and submits one launch over the loaded piece as [`time`](Self::time) does, and returns while it runs;
    /// [`Gpu::finish`] waits, and [`fetch`](Self::fetch) tells if it finished.
    ///
    /// # Errors
    /// [`GpuError`].
    pub fn enqueue(&mut self) -> Result<(), GpuError> {
        let mut encoder = self.encoded.gpu.encoder();
        self.encode_timed(&mut encoder, self.encoded.first_dispatches(), None);
        self.encoded.gpu.submit(encoder.finish()).map(drop)
    }

    /// The outputs that the last launch left, as far as they belong to `piece`, which must be the one that is loaded.
    ///
    /// # Errors
    /// [`LaunchError::Buffers`], [`LaunchError::Gpu`], [`LaunchError::NotLaunched`] and [`LaunchError::Hang`].
    pub fn fetch(&mut self, piece: usize, outputs: &mut [&mut [T]]) -> Result<(), LaunchError> {
        let extents = self.encoded.extents();
        let what = if extents.in_place { Given::InPlace } else { Given::Output };
        extents.check(what, outputs.iter().map(|output| output.len()))?;
        if self.banks[0].last.get().is_none() {
            return Err(LaunchError::NotLaunched);
        }
        match self.download(piece, &mut Host::Apart { inputs: &[], outputs })? {
            None => Ok(()),
            Some(now) => Err(self.hang_of(now)?),
        }
    }

    /// The signals in memory are those of the last launch, so its words explain best, if it did not finish either.
    fn hang_of(&self, logged: Vec<Progress>) -> Result<LaunchError, GpuError> {
        let last = self.progress(&self.banks[0])?;
        let now = if self.finished(&self.banks[0], &last) { logged } else { last };
        self.hang(&self.banks[0], &now)
    }

    /// The dispatches over the loaded piece, with timestamps of the given submission around them, and before what may have
    /// to precede them.
    fn encode_timed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: usize,
        stamps: Option<(&Stamps, u32)>,
    ) -> Launch {
        let Bank { memory, last, .. } = &self.banks[0];
        mark(encoder, stamps, 0);
        let launch = self.encoded.launch(encoder, memory);
        last.set(Some(launch));
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: stamps.map(|(stamps, submission)| stamps.writes(submission, 1, Some(2))),
        });
        self.encoded.encode_dispatches(&mut pass, memory, self.loaded, Some(launch), dispatches);
        launch
    }

    /// Times, and the progress words of the first launch that did not finish.
    fn batch(&self, count: usize, dispatches: usize) -> Result<(Vec<Timed>, Option<Vec<Progress>>), GpuError> {
        let gpu = &self.encoded.gpu;
        let (progress, words) = (&self.banks[0].memory.progress, self.encoded.progress_bytes());
        let log_bytes = words * count as u64;
        let log = gpu.buffer("progress log", log_bytes, wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST)?;
        let stamps = Stamps::new(gpu, count as u32)?;
        let (mut walls, mut launches) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for i in 0..count {
            let mut encoder = gpu.encoder();
            launches.push(self.encode_timed(
                &mut encoder,
                dispatches,
                stamps.as_ref().map(|stamps| (stamps, i as u32)),
            ));
            encoder.copy_buffer_to_buffer(progress, 0, &log, words * i as u64, words);
            walls.push(wall(gpu, encoder.finish())?);
        }
        let log: Vec<Progress> = read(gpu, &log, log_bytes)?;
        let ledger = &self.banks[0].memory.ledger;
        let mut unfinished = None;
        for (now, launch) in log.chunks(self.encoded.progress_words().max(1)).zip(launches) {
            if !self.encoded.finished(now, launch) {
                ledger.unfinished();
                unfinished = Some(now.to_vec());
                break;
            }
            ledger.finished(launch);
        }
        let stamps = stamps.map(|stamps| stamps.read(gpu)).transpose()?;
        Ok((timed(gpu, &walls, stamps, |[start, ready, end]| (start..ready, ready..end)), unfinished))
    }
}

impl Gpu {
    /// Whether times can come from the device's own clock. That of a software adapter is the host's, and a look at it
    /// costs more than a small launch (lavapipe: 100 us).
    pub fn has_clock(&self) -> bool {
        !self.info().is_software() && self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Copies `bytes` bytes from one buffer to another, `launches` times, each copy a submission of its own: what the
    /// device's memory does when nothing is computed. The first copy warms up and is not counted.
    ///
    /// # Errors
    /// [`GpuError`].
    pub fn time_copy(&self, bytes: u64, launches: usize) -> Result<Vec<Timed>, GpuError> {
        use wgpu::BufferUsages as Usage;
        let count = launches.min(MOST_LAUNCHES) + 1;
        let from = self.buffer("copy source", bytes, Usage::COPY_SRC | Usage::COPY_DST)?;
        let to = self.buffer("copy destination", bytes, Usage::COPY_SRC | Usage::COPY_DST)?;
        let stamps = Stamps::new(self, count as u32)?;
        let mut walls = Vec::with_capacity(count);
        for i in 0..count as u32 {
            let mut encoder = self.encoder();
            let stamps = stamps.as_ref().map(|stamps| (stamps, i));
            mark(&mut encoder, stamps, 0);
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, from.size());
            mark(&mut encoder, stamps, 1);
            mark(&mut encoder, stamps, 2);
            walls.push(wall(self, encoder.finish())?);
        }
        let stamps = stamps.map(|stamps| stamps.read(self)).transpose()?;
        let times = timed(self, &walls, stamps, |[start, end, _]| (start..start, start..end));
        Ok(times.into_iter().skip(1).collect())
    }
}

/// From submission to completion.
fn wall(gpu: &Gpu, commands: wgpu::CommandBuffer) -> Result<Duration, GpuError> {
    let start = Instant::now();
    gpu.run(commands)?;
    Ok(start.elapsed())
}

/// A timestamp between two commands: that of a pass without dispatches. Stamps inside an encoder are a rarer feature.
fn mark(encoder: &mut wgpu::CommandEncoder, stamps: Option<(&Stamps, u32)>, stamp: u32) {
    if let Some((stamps, submission)) = stamps {
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(stamps.writes(submission, stamp, None)),
        });
    }
}

/// Joins both clocks. A device whose timestamps run backwards or stand still while it works has no clock.
fn timed(
    gpu: &Gpu,
    walls: &[Duration],
    stamps: Option<Vec<[u64; STAMPS as usize]>>,
    spans: impl Fn([u64; STAMPS as usize]) -> (Range<u64>, Range<u64>),
) -> Vec<Timed> {
    let period = f64::from(gpu.queue.get_timestamp_period());
    let span = |range: Range<u64>| {
        let ticks = range.end.checked_sub(range.start)?;
        Some(Duration::from_nanos((ticks as f64 * period) as u64))
    };
    let device = |stamps: [u64; STAMPS as usize]| {
        let (reset, work) = spans(stamps);
        let (reset, work) = (span(reset)?, span(work)?);
        (!work.is_zero()).then_some(DeviceTime { reset, work })
    };
    let device: Option<Vec<DeviceTime>> =
        stamps.and_then(|stamps| stamps.into_iter().map(device).collect::<Option<Vec<_>>>());
    let of = |i: usize| device.as_ref().and_then(|device| device.get(i).copied());
    walls.iter().enumerate().map(|(i, &wall)| Timed { wall, device: of(i) }).collect()
}

/// Timestamps of several submissions.
struct Stamps {
    set: wgpu::QuerySet,
    count: u32,
}

impl Stamps {
    fn new(gpu: &Gpu, submissions: u32) -> Result<Option<Self>, GpuError> {
        if !gpu.has_clock() {
            return Ok(None);
        }
        let count = submissions * STAMPS;
        let descriptor = wgpu::QuerySetDescriptor { label: Some("stamps"), ty: wgpu::QueryType::Timestamp, count };
        let set = gpu.scoped(|| gpu.device.create_query_set(&descriptor))?;
        Ok(Some(Self { set, count }))
    }

    fn writes(&self, submission: u32, begin: u32, end: Option<u32>) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(submission * STAMPS + begin),
            end_of_pass_write_index: end.map(|end| submission * STAMPS + end),
        }
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

fn read<A: bytemuck::Pod>(gpu: &Gpu, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<A>, GpuError> {
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let readback = gpu.buffer("timing readback", bytes, usage)?;
    let mut encoder = gpu.encoder();
    encoder.copy_buffer_to_buffer(buffer, 0, &readback, 0, bytes);
    gpu.run_and_read(encoder.finish(), &readback, bytes, bytemuck::pod_collect_to_vec)
}
