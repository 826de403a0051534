//! The copy that every bandwidth is held against: all ranks' longer vectors, read once and written once.
//!
//! No all-reduce can do with less traffic, so it is also the shortest time that one could take on this device.

use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wgccl::backend::Backend;
use wgccl::element::Element;
use wgccl::error::UserBuffer;
use wgccl::gpu::Gpu;
use wgccl::low_level::buffers::Extents;
use wgccl::low_level::copy_past;
use wgccl::low_level::gpu::CopyBy;

use super::bandwidth::rate;
use super::result::{Clock, Roof, RoofBy};
use super::statistics::Statistics;
use crate::device::Device;
use crate::error::Error;
use crate::memory::reserved;
use crate::views::{microseconds, views};

/// A time by the host's clock and, where there is one, by the device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Timed {
    pub(super) wall: Duration,
    pub(super) device: Option<Duration>,
}

/// Copies every rank's input or output, whichever is longer, `times` times by everything that copies.
pub(super) fn copy<T: Element>(
    device: &Device,
    extents: &Extents<'_>,
    pieces: usize,
    times: usize,
) -> Result<Roof, Error> {
    let ranks = extents.ranks();
    let length = |rank| if device.is_here(rank, ranks) { extents.len(UserBuffer::InPlace, rank) } else { 0 };
    let lengths = (0..ranks).map(length);
    if let Some(gpu) = device.gpu() {
        return on_gpu(gpu, lengths.sum::<usize>() as u64 * T::TYPE.bytes() as u64, pieces, times);
    }
    let filled = |length| {
        let mut vector = reserved(ranks, length)?;
        vector.resize(length, T::poison());
        Ok(vector)
    };
    let from = lengths.clone().map(filled).collect::<Result<Vec<Vec<T>>, Error>>()?;
    let mut to = lengths.map(filled).collect::<Result<Vec<Vec<T>>, Error>>()?;
    let mine = on_cpu(&views(&from), &mut to, device.copying(), times);
    // Those of several processes together, all of which copy at a time.
    let all = device.decide((mine.time, mine.bandwidth), |all| {
        let slowest = all.iter().map(|(time, _)| *time).fold(0.0, f64::max);
        (slowest, all.iter().map(|(_, bandwidth)| bandwidth).sum::<f64>())
    });
    all.map(|(time, bandwidth)| Roof { time, bandwidth, ..mine })
}

/// On a GPU: buffer to buffer, by what is faster there, in as many pieces as the launch goes in.
fn on_gpu(gpu: &Gpu, bytes: u64, pieces: usize, times: usize) -> Result<Roof, Error> {
    let piece = bytes.div_ceil(pieces.max(1) as u64);
    let time = |by, way| -> Result<Roof, Error> {
        let copies = gpu.time_copy(way, piece, times)?;
        let copies: Vec<_> = copies.iter().map(|copy| Timed { wall: copy.wall, device: copy.device }).collect();
        let (clock, times) = microseconds_of(&copies);
        Ok(roof(by, bytes, clock, &times, pieces))
    };
    let command = time(RoofBy::Command, CopyBy::Command)?;
    if piece > gpu.info().limits.max_binding_bytes {
        return Ok(command);
    }
    Ok(faster(command, time(RoofBy::Kernel, CopyBy::Kernel)?))
}

fn faster(one: Roof, other: Roof) -> Roof {
    if other.bandwidth > one.bandwidth { other } else { one }
}

/// The device's clock where all have it, else the host's.
pub(super) fn microseconds_of(times: &[Timed]) -> (Clock, Vec<f64>) {
    let device: Option<Vec<f64>> = times.iter().map(|timed| timed.device.map(microseconds)).collect();
    match device {
        Some(times) => (Clock::Device, times),
        None => (Clock::Host, times.iter().map(|timed| microseconds(timed.wall)).collect()),
    }
}

/// On cores: by what is fastest. A small copy is over before a second thread has woken up, a large one is faster past the
/// caches.
fn on_cpu<T: Element>(inputs: &[&[T]], outputs: &mut [Vec<T>], threads: usize, times: usize) -> Roof {
    let bytes: u64 = inputs.iter().map(|input| size_of_val(*input) as u64).sum();
    let mut time = |by, threads, copy| {
        let times = copies(inputs, outputs, (threads, times), copy);
        roof(by, bytes, Clock::Host, &times, 1)
    };
    let alone = time(RoofBy::Memcpy, 1, memcpy);
    let together = time(RoofBy::Memcpy, threads, memcpy);
    faster(faster(alone, together), time(RoofBy::Streaming, threads, copy_past))
}

fn memcpy<T: Element>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}

/// Every thread copies its part of every vector; one thread everything, where others cannot start.
fn copies<T: Element>(
    inputs: &[&[T]],
    outputs: &mut [Vec<T>],
    (threads, times): (usize, usize),
    copy: fn(&[T], &mut [T]),
) -> Vec<f64> {
    let by = |threads, outputs: &mut [Vec<T>]| copies_by(inputs, outputs, (threads, times), copy);
    by(threads, outputs).or_else(|| by(1, outputs)).unwrap_or_default()
}

/// None where not all of `threads` can start.
fn copies_by<T: Element>(
    inputs: &[&[T]],
    outputs: &mut [Vec<T>],
    (threads, times): (usize, usize),
    copy: fn(&[T], &mut [T]),
) -> Option<Vec<f64>> {
    let mut parts: Vec<Vec<(&[T], &mut [T])>> = (0..threads).map(|_| Vec::new()).collect();
    for (input, output) in inputs.iter().zip(outputs) {
        let part = input.len().div_ceil(threads).max(1);
        for (thread, pair) in input.chunks(part).zip(output.chunks_mut(part)).enumerate() {
            parts[thread].push(pair);
        }
    }
    let (begin, end) = (Barrier::new(threads), Barrier::new(threads));
    let work = |part: &mut Vec<(&[T], &mut [T])>| {
        (0..=times)
            .map(|_| {
                begin.wait();
                let start = Instant::now();
                for (input, output) in &mut *part {
                    copy(std::hint::black_box(input), output);
                    std::hint::black_box(&output);
                }
                end.wait();
                microseconds(start.elapsed())
            })
            // The first copy warms up.
            .skip(1)
            .collect()
    };
    let work = &work;
    std::thread::scope(|scope| {
        let mut parts = parts.iter_mut();
        let mine = parts.next();
        let mut starts = Vec::new();
        for part in parts {
            let (start, started) = channel();
            // Nobody waits for those that never come: a thread begins when all are there, and ends if they are not.
            let thread = move || {
                if started.recv().is_ok() {
                    let _: Vec<f64> = work(part);
                }
            };
            Builder::new().spawn_scoped(scope, thread).ok()?;
            starts.push(start);
        }
        for start in &starts {
            let _ = start.send(());
        }
        Some(mine.map_or_else(Vec::new, work))
    })
}

fn roof(by: RoofBy, bytes: u64, clock: Clock, times: &[f64], pieces: usize) -> Roof {
    let time = Statistics::of(times).map_or(0.0, |statistics| statistics.p50) * pieces as f64;
    Roof { time, clock, bandwidth: rate(2.0 * bytes as f64, time), by: Some(by) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_copies_everything() {
        for count in [1_usize, 5, 1000] {
            for threads in [1, 2, 3] {
                let inputs: Vec<Vec<u32>> = (0..3).map(|rank| (rank..rank + count as u32).collect()).collect();
                let views: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
                for copy in [memcpy, copy_past] {
                    let mut outputs = vec![vec![0; count]; 3];
                    assert_eq!(copies(&views, &mut outputs, (threads, 3), copy).len(), 3);
                    assert_eq!(inputs, outputs, "{count} {threads}");
                }
            }
        }
    }
}
