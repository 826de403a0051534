//! The Rust side of `calls.py`: nanoseconds of an all-reduce of 4 ranks over slices, a line for each size that is named.

use std::hint::black_box;
use std::time::{Duration, Instant};

use wgccl::Communicator;
use wgccl::collective::Op;

const RANKS: usize = 4;

/// How long a size is measured.
const SPAN: Duration = Duration::from_millis(400);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comm = Communicator::cpu(RANKS as u32);
    for size in std::env::args().skip(1) {
        let count = size.parse::<usize>()? / size_of::<f32>();
        // Not zeros: those would be one page of the system, mapped again and again.
        let inputs: Vec<Vec<f32>> = (1..=RANKS).map(|rank| vec![rank as f32; count]).collect();
        let mut outputs = vec![vec![0.0_f32; count]; RANKS];
        let given: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut got: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let batch = (16_384 / count).max(1);
        let (mut times, begin) = (Vec::new(), Instant::now());
        while begin.elapsed() < SPAN || times.len() < 5 {
            let start = Instant::now();
            for _ in 0..batch {
                comm.all_reduce(black_box(&given), black_box(&mut got), Op::Sum)?;
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / batch as f64);
        }
        times.sort_by(f64::total_cmp);
        println!("{}", times[times.len() / 10]);
    }
    Ok(())
}
