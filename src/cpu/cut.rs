//! How a payload is cut into channels and who works on them: sizes that were measured, in one place.
//!
//! Too small a slice and the steps cost more than the data; too large and a peer finds what it reads no longer in cache.

use std::ops::Range;

use super::processor::Processor;
use crate::backend::{Options, Spread};
use crate::cores::cores;
use crate::error::PrepareError;
use crate::payload::{Payload, VECTOR_BYTES};

/// What all lanes of a channel touch between two accesses to the same data, at best.
const CHANNEL_BYTES: usize = 512 << 10;
/// A step moves a slice of its operands and its destination.
const RUNS: usize = 3;
/// Smaller slices cost more in steps than they gain.
const LEAST_SLICE_BYTES: usize = 16 << 10;
/// But so small they may be if that gives every worker a channel.
const SMALLEST_SLICE_BYTES: usize = 2 << 10;
/// Where the lanes of a channel are on several workers, a step must outweigh the way of a signal between cores.
const SHARED_SLICE_BYTES: usize = 64 << 10;
/// Slices of whole pages stream from memory a tenth faster. Rounding to them unbalances workers with few channels.
const PAGE_BYTES: usize = 4 << 10;
const CHANNELS_TO_ROUND: usize = 8;
/// Payloads of all ranks up to this are done before another thread has woken up.
const INLINE_BYTES: usize = 512 << 10;
/// Of all ranks, for each thread that takes part in one of many such launches in a row: it is awake, and hears of it in half a
/// microsecond.
const AWAKE_BYTES: usize = 64 << 10;
/// Channels that a worker has begun at once where it may have to wait for others.
const SHARED_DEPTH: usize = 2;
/// More threads than any machine has cores.
const MAX_WORKERS: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) workers: usize,
    pub(super) channels: usize,
    /// Elements of a channel's slice of a chunk.
    pub(super) per: usize,
    /// Whole channels belong to one worker.
    pub(super) private: bool,
    /// Results go past the caches.
    pub(super) stream: bool,
    /// Small enough for the calling thread alone.
    pub(super) inline: bool,
    /// How many threads it is for, if it is, where they are awake anyway.
    pub(super) awake: usize,
    /// What is in a channel's slots and signals is kept from one epoch to the next.
    pub(super) kept: bool,
    lanes: usize,
}

impl Cut {
    /// `elements` are those of all ranks' inputs or outputs, whichever are more; `kept` is what becomes of slots and signals.
    pub(super) fn new(
        lanes: usize,
        elements: usize,
        payload: &Payload,
        options: &Options,
        kept: bool,
    ) -> Result<Self, PrepareError> {
        if options.workers == Some(0) {
            return Err(PrepareError::Nothing("workers"));
        }
        if options.channels == Some(0) {
            return Err(PrepareError::Nothing("channels"));
        }
        let bytes = elements * payload.element_bytes;
        let inline = options.spread == Spread::Auto && bytes <= INLINE_BYTES;
        let most = if inline { 1 } else { options.workers.unwrap_or_else(cores).min(MAX_WORKERS) };
        let private = options.spread != Spread::Lanes;

        let vectors = payload.chunk_vectors();
        let wanted = match options.channels {
            Some(channels) => channels as usize,
            None if private => {
                let slice = (CHANNEL_BYTES / RUNS / lanes.max(1)).max(LEAST_SLICE_BYTES);
                let channels = payload.chunk_bytes().div_ceil(slice);
                let most_channels = payload.chunk_bytes().div_ceil(SMALLEST_SLICE_BYTES);
                channels.next_multiple_of(most).min(most_channels.max(channels))
            }
            None => payload.chunk_bytes().div_ceil(SHARED_SLICE_BYTES),
        };
        let mut per = vectors.div_ceil(wanted.min(vectors));
        if options.channels.is_none() && wanted >= CHANNELS_TO_ROUND * most {
            per = per.next_multiple_of(PAGE_BYTES / VECTOR_BYTES);
        }
        let channels = vectors.div_ceil(per);
        let workers = most.min(if private { channels } else { lanes.max(1) });
        Ok(Self {
            workers,
            channels,
            per: per * (VECTOR_BYTES / payload.element_bytes),
            private,
            stream: bytes as u64 >= options.stream_bytes.unwrap_or(Processor::here().stream_bytes),
            inline,
            // An epoch of a part is no launch.
            awake: if kept {
                1
            } else {
                options.workers.unwrap_or(MAX_WORKERS).min(cores()).min(bytes / AWAKE_BYTES).min(vectors)
            },
            kept,
            lanes,
        })
    }

    /// Sets of slots and signals.
    pub(super) fn sets(&self) -> usize {
        if self.reused() { self.workers } else { self.channels }
    }

    /// Whether a worker has one set for all of its channels.
    pub(super) fn reused(&self) -> bool {
        self.private && !self.kept
    }

    /// With slices of which each is of one piece of `vectors` vectors, where chunks go in pieces.
    pub(super) fn in_pieces(mut self, payload: &Payload, vectors: usize) -> Self {
        let per_vector = VECTOR_BYTES / payload.element_bytes;
        if vectors < payload.chunk_vectors() {
            let least = vectors.div_ceil(self.per / per_vector);
            // A whole piece always is one.
            let slices = (least..=vectors).find(|slices| vectors.is_multiple_of(*slices)).unwrap_or(vectors);
            self.per = vectors / slices * per_vector;
            self.channels = payload.chunk_vectors().div_ceil(vectors / slices);
        }
        self
    }

    /// A worker's channels: neighbours, because they are neighbours in memory.
    pub(super) fn channels_of(&self, worker: usize) -> Range<usize> {
        if self.private { portion(0..self.channels, worker, self.workers) } else { 0..self.channels }
    }

    /// A worker's lanes of its channels, and the step between them: neighbours go to different workers.
    pub(super) fn lanes_of(&self, worker: usize) -> (Range<u32>, usize) {
        if self.private { (0..self.lanes as u32, 1) } else { (worker as u32..self.lanes as u32, self.workers) }
    }

    pub(super) fn depth(&self) -> usize {
        if self.private { 1 } else { SHARED_DEPTH }
    }
}

/// A worker's of channels that whole workers have.
pub(super) fn portion(channels: Range<usize>, worker: usize, workers: usize) -> Range<usize> {
    let (first, all) = (channels.start, channels.len());
    first + worker * all / workers..first + (worker + 1) * all / workers
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Algorithm, SyncStyle, build};

    #[test]
    fn results_go_past_the_caches_from_the_bytes_that_are_asked_for() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor).unwrap();
        let payload = Payload::new(&schedule, 1000, 4).unwrap();
        let known = Processor::here().stream_bytes;
        for (bytes, stream) in [(Some(8000), true), (Some(8001), false), (None, 8000 >= known)] {
            let cut = Cut::new(2, 2000, &payload, &Options::default().stream_bytes(bytes), false).unwrap();
            assert_eq!(cut.stream, stream, "{bytes:?}");
        }
    }

    #[test]
    fn every_lane_of_every_channel_has_one_worker() {
        for ranks in [1, 2, 3, 8] {
            let schedule = build(Collective::AllReduce, Algorithm::Ring, ranks, SyncStyle::Neighbor).unwrap();
            // Arithmetic, of which Miri proves nothing, element by element.
            for count in [1, 1000, if cfg!(miri) { 1 << 12 } else { 1 << 20 }] {
                let payload = Payload::new(&schedule, count, 4).unwrap();
                for spread in [Spread::Auto, Spread::Lanes, Spread::Channels] {
                    for (workers, channels) in [(1, None), (5, None), (2, Some(3)), (7, Some(1_000_000))] {
                        let options = Options::default().workers(workers).spread(spread).channels(channels);
                        let cut = Cut::new(ranks as usize, ranks as usize * count, &payload, &options, false).unwrap();
                        let mut owners = vec![0; cut.channels * ranks as usize];
                        for worker in 0..cut.workers {
                            let (lanes, step) = cut.lanes_of(worker);
                            for channel in cut.channels_of(worker) {
                                for lane in lanes.clone().step_by(step) {
                                    owners[channel * ranks as usize + lane as usize] += 1;
                                }
                            }
                        }
                        assert!(owners.iter().all(|&n| n == 1), "{ranks} ranks, {count}, {options:?}");
                        assert!((1..=workers).contains(&cut.workers));
                        let last = (cut.channels - 1) * cut.per;
                        assert!(last < payload.chunk_elements && last + cut.per >= payload.chunk_elements);
                    }
                }
            }
        }
    }
}
