//! Launches one after the other over inputs that stay on the device, each timed, none counted that did not finish.
//!
//! Nothing is read back between two launches: each leaves a copy of its progress words in a log, and all of them are
//! checked before any time is given out.

use super::bank::Bank;
use super::clock::{Stamps, Timed, timed, wall};
use super::executor::Executor;
use crate::backend::Ran;
use crate::error::{DeviceError, RunError};
use crate::lower::words::Progress;

/// Launches between two looks at the log: their timestamps must fit a query set of 4096, their progress words this.
const MOST_LAUNCHES: usize = 512;
const MOST_LOG_BYTES: u64 = 16 << 20;

/// Launches over the loaded piece, each launch a submission of its own: the dispatches, and nothing before them. Outputs are
/// not poisoned, and in place the outputs of a launch are the inputs of the next.
pub(super) fn time(executor: &Executor, launches: usize) -> Result<Vec<Ran>, RunError> {
    let package = executor.package();
    let most = (MOST_LOG_BYTES / package.progress_bytes().max(1)).clamp(1, MOST_LAUNCHES as u64) as usize;
    let mut dispatches = package.first_dispatches;
    let mut all: Vec<Ran> = Vec::with_capacity(launches);
    let mut before: Option<Vec<u32>> = None;
    while all.len() < launches {
        let count = (launches - all.len()).min(most);
        let (times, unfinished) = batch(executor, count, dispatches)?;
        let Some(unfinished) = unfinished else {
            let dispatches = dispatches as u32;
            all.extend(times.into_iter().map(|Timed { wall, device }| Ran { dispatches, time: Some(wall), device }));
            continue;
        };
        // Fused lanes that did not run at the same time need more dispatches. None of these launches counts.
        // How far lanes got says if more have helped; in which launch that was does not.
        let now = unfinished.iter().map(|lane| lane.next).collect();
        if !package.may_go_on() || before.as_ref() == Some(&now) {
            return Err(stopped(&executor.banks[0], unfinished)?);
        }
        all.clear();
        dispatches = (2 * dispatches).max(package.plan.dispatches.len());
        before = Some(now);
    }
    Ok(all)
}

impl Executor {
    /// Encodes and submits one launch over the loaded piece as [`Ready::time`](crate::backend::Ready::time) does, and returns
    /// while it runs; [`Gpu::finish`](super::Gpu::finish) waits, and [`Ready::fetch`](crate::backend::Ready::fetch) tells if it
    /// finished.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn enqueue(&mut self) -> Result<(), RunError> {
        let (bank, piece) = self.loaded_piece()?;
        let device = &self.loaded.device;
        let mut encoder = device.encoder();
        bank.encode_bare(&mut encoder, piece, self.package().first_dispatches, None);
        Ok(device.submit(encoder.finish()).map(drop)?)
    }
}

/// The signals in memory are those of the last launch, so its words explain best, if it did not finish either.
pub(super) fn stopped(bank: &Bank, logged: Vec<Progress>) -> Result<RunError, DeviceError> {
    let last = bank.progress()?;
    let now = if bank.finished(&last) { logged } else { last };
    bank.stopped(&now)
}

/// Times, and the progress words of the first launch that did not finish.
fn batch(
    executor: &Executor,
    count: usize,
    dispatches: usize,
) -> Result<(Vec<Timed>, Option<Vec<Progress>>), RunError> {
    let (context, package) = (&executor.loaded.context, executor.package());
    let (bank, piece) = executor.loaded_piece()?;
    let (device, words) = (&executor.loaded.device, package.progress_bytes());
    let log_bytes = words * count as u64;
    let log = device.buffer("progress log", log_bytes, wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST)?;
    let stamps = Stamps::new(device, count as u32)?;
    let (mut walls, mut launches) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for i in 0..count {
        let mut encoder = device.encoder();
        let writes = stamps.as_ref().map(|stamps| stamps.writes(i as u32));
        launches.push(bank.encode_bare(&mut encoder, piece, dispatches, writes));
        walls.push(wall(device, &context.warmth, encoder.finish())?);
        // Of no concern to whoever only launches: not timed, and over before the next one is.
        let mut encoder = device.encoder();
        encoder.copy_buffer_to_buffer(&bank.memory.own.progress, 0, &log, words * i as u64, words);
        device.run(encoder.finish())?;
    }
    let log: Vec<Progress> = device.words(&log)?;
    let ledger = &bank.memory.ledger;
    let mut unfinished = None;
    for (now, launch) in log.chunks(package.progress_words().max(1)).zip(launches) {
        if !package.finished(now, launch.number) {
            ledger.unfinished();
            unfinished = Some(now.to_vec());
            break;
        }
        ledger.finished(launch);
    }
    Ok((timed(device, &walls, stamps)?, unfinished))
}
