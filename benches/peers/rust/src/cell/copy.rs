//! The floor: every rank's vector copied once, by threads that stay up.
//!
//! An all-reduce must read P vectors and write P vectors. Nothing that does only this can be beaten by much.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sample::Case;

/// One thread's part of every vector.
type Part<'a> = Vec<(&'a [f32], &'a mut [f32])>;

pub(super) fn measure(case: Case, threads: usize) -> Result<String, Error> {
    let threads = threads.max(1);
    let inputs = case.inputs();
    let mut outputs = vec![vec![f32::NAN; case.count]; case.ranks];
    let mut parts: Vec<Part<'_>> = (0..threads).map(|_| Vec::new()).collect();
    let length = case.count.div_ceil(threads);
    for (input, output) in inputs.iter().zip(&mut outputs) {
        for (part, pair) in parts.iter_mut().zip(input.chunks(length).zip(output.chunks_mut(length))) {
            part.push(pair);
        }
    }
    let times = case.measure(|calls| Ok::<_, Error>(batch(&mut parts, calls)))?;
    drop(parts);
    Ok(times.line(inputs.iter().zip(&outputs).filter(|(input, output)| input != output).count()))
}

fn batch(parts: &mut [Part<'_>], calls: usize) -> Duration {
    let barrier = Barrier { threads: parts.len(), arrived: AtomicUsize::new(0) };
    let work = |part: &mut Part<'_>| {
        barrier.wait(0);
        let start = Instant::now();
        for call in 1..=calls {
            for (input, output) in &mut *part {
                output.copy_from_slice(black_box(input));
                black_box(&mut *output);
            }
            barrier.wait(call);
        }
        start.elapsed()
    };
    let work = &work;
    thread::scope(|scope| {
        let mut parts = parts.iter_mut();
        let mine = parts.next();
        for part in parts {
            scope.spawn(move || work(part));
        }
        mine.map_or(Duration::ZERO, work)
    })
}

/// Threads meet after every call. They spin, for a floor must not include waking a thread, and yield where others run.
struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
}

impl Barrier {
    fn wait(&self, round: usize) {
        if self.threads == 1 {
            return;
        }
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let mut turns = 0_u32;
        while self.arrived.load(Ordering::Acquire) < self.threads * (round + 1) {
            turns += 1;
            if turns.is_multiple_of(1000) { thread::yield_now() } else { spin_loop() }
        }
    }
}
