//! Launches one after the other over inputs that stay on the device, each timed, none counted that did not finish.
//!
//! Nothing is read back between two launches: each leaves a copy of its progress words in a log, and all of them are
//! checked before any time is given out.

use super::clock::{Stamps, Timed, read, timed, wall};
use super::device::GpuError;
use super::launch::{Bank, Executor, Host, LaunchError};
use super::ledger::Launch;
use super::program::Progress;
use crate::buffers::UserBuffer;
use crate::element::Element;

/// Times of launches that all finished.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// Dispatches of one launch.
    pub dispatches: u32,
    /// One entry a launch.
    pub launches: Vec<Timed>,
}

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
        let what = if self.encoded.proved.in_place() { UserBuffer::InPlace } else { UserBuffer::Input };
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
            if !plan.mode.is_fused() || before.as_ref() == Some(&now) {
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
    /// [`Gpu::finish`](super::Gpu::finish) waits, and [`fetch`](Self::fetch) tells if it finished.
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
        extents.check(extents.results(), outputs.iter().map(|output| output.len()))?;
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
        let launch = self.encoded.launch(encoder, memory);
        last.set(Some(launch));
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: stamps.map(|(stamps, submission)| stamps.writes(submission)),
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
            walls.push(wall(gpu, encoder.finish())?);
            // Of no concern to whoever only launches: not timed, and over before the next one is.
            let mut encoder = gpu.encoder();
            encoder.copy_buffer_to_buffer(progress, 0, &log, words * i as u64, words);
            gpu.run(encoder.finish())?;
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
        Ok((timed(gpu, &walls, stamps)?, unfinished))
    }
}
