//! What a user of rayon would write instead of using a library.
//!
//! All that can be prepared is prepared outside of the timing, and calls are made from inside the pool, where rayon is
//! fastest.

use std::time::Instant;

use rayon::prelude::*;

use crate::error::Error;
use crate::sample::Case;

/// 64 KiB of f32: measured best for sums and copies that alternate between cache and memory.
const BLOCK: usize = 16 << 10;

/// Block by block: the inputs' blocks and the outputs' blocks.
pub(super) type Block<'a> = (Vec<&'a [f32]>, Vec<&'a mut [f32]>);

pub(super) fn measure(case: Case, call: fn(&mut [Block<'_>])) -> Result<String, Error> {
    let inputs = case.inputs();
    let mut outputs = vec![vec![f32::NAN; case.count]; case.ranks];
    let mut blocks: Vec<Block<'_>> = (0..case.count.div_ceil(BLOCK)).map(|_| (Vec::new(), Vec::new())).collect();
    for input in &inputs {
        blocks.iter_mut().zip(input.chunks(BLOCK)).for_each(|((from, _), block)| from.push(block));
    }
    for output in &mut outputs {
        blocks.iter_mut().zip(output.chunks_mut(BLOCK)).for_each(|((_, to), block)| to.push(block));
    }
    let pool = rayon::ThreadPoolBuilder::new().build().map_err(|error| Error::Peer(error.to_string()))?;
    let times = pool.install(|| {
        case.measure(|calls| {
            let start = Instant::now();
            (0..calls).for_each(|_| call(&mut blocks));
            Ok::<_, Error>(start.elapsed())
        })
    })?;
    blocks.iter_mut().for_each(|(_, to)| to.iter_mut().for_each(|output| output.fill(f32::NAN)));
    pool.install(|| call(&mut blocks));
    drop(blocks);
    Ok(times.line(outputs.iter().map(|output| case.wrong(output)).sum()))
}

/// Each block is summed and handed out while it is in cache.
pub(super) fn fused(blocks: &mut [Block<'_>]) {
    on_all(blocks, |(from, to)| {
        let Some((sum, copies)) = to.split_first_mut() else { return };
        match from[..] {
            [] => {}
            [only] => sum.copy_from_slice(only),
            [a, b, ref others @ ..] => {
                sum.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum = a + b);
                others.iter().for_each(|other| add(sum, other));
            }
        }
        copies.iter_mut().for_each(|copy| copy.copy_from_slice(sum));
    });
}

/// One operation after the other over whole vectors.
pub(super) fn naive(blocks: &mut [Block<'_>]) {
    let ranks = blocks.first().map_or(0, |(from, _)| from.len());
    on_all(blocks, |(from, to)| to[0].copy_from_slice(from[0]));
    for rank in 1..ranks {
        on_all(blocks, |(from, to)| add(to[0], from[rank]));
    }
    for rank in 1..ranks {
        on_all(blocks, |(_, to)| {
            if let Some((sum, copies)) = to.split_first_mut() {
                copies[rank - 1].copy_from_slice(sum);
            }
        });
    }
}

fn add(sum: &mut [f32], input: &[f32]) {
    sum.iter_mut().zip(input).for_each(|(sum, input)| *sum += input);
}

/// A single block is not worth a task.
fn on_all(blocks: &mut [Block<'_>], work: impl Fn(&mut Block<'_>) + Send + Sync) {
    match blocks {
        [only] => work(only),
        _ => blocks.par_iter_mut().for_each(work),
    }
}
