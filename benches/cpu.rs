//! The CPU executor against its floor: memcpy of P input buffers to P output buffers, with as many threads.
//!
//! Throughput is that of the floor for all rows, P inputs read and P outputs written, so that rows compare directly.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wgccl::backend::{FurtherResults, Options, Spread};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Executor;
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};

const SIZES: [(&str, usize); 5] =
    [("1 KiB", 1 << 10), ("32 KiB", 32 << 10), ("1 MiB", 1 << 20), ("16 MiB", 16 << 20), ("64 MiB", 64 << 20)];

fn copy(inputs: &[Vec<f32>], outputs: &mut [Vec<f32>], threads: usize) {
    if threads == 1 {
        return inputs.iter().zip(outputs).for_each(|(input, output)| output.copy_from_slice(input));
    }
    // Each thread copies its part of every buffer, as the executor's workers take their channels.
    let part = inputs[0].len().div_ceil(threads);
    std::thread::scope(|scope| {
        let mut parts: Vec<Vec<(&[f32], &mut [f32])>> = (0..threads).map(|_| Vec::new()).collect();
        for (input, output) in inputs.iter().zip(outputs) {
            for (thread, pair) in input.chunks(part).zip(output.chunks_mut(part)).enumerate() {
                parts[thread].push(pair);
            }
        }
        for pairs in parts {
            scope.spawn(move || pairs.into_iter().for_each(|(input, output)| output.copy_from_slice(input)));
        }
    });
}

fn cpu(criterion: &mut Criterion) {
    let threads = wgccl::cpu::cores();
    for ranks in [2_u32, 4, 8] {
        for (name, bytes) in SIZES {
            let count = bytes / 4;
            let mut group = criterion.benchmark_group(format!("{ranks} ranks of {name}"));
            group.sample_size(10).throughput(Throughput::Bytes(2 * u64::from(ranks) * bytes as u64));
            let inputs: Vec<Vec<f32>> = (0..ranks).map(|rank| generate(Fill::Exact, 0, rank, ranks, count)).collect();
            let mut outputs = vec![vec![0.0_f32; count]; ranks as usize];
            group.bench_function("memcpy, 1 thread", |b| b.iter(|| copy(&inputs, &mut outputs, 1)));
            if bytes >= 1 << 20 {
                let id = BenchmarkId::new("memcpy, threads", threads);
                group.bench_function(id, |b| b.iter(|| copy(&inputs, &mut outputs, threads)));
            }
            for algorithm in [Algorithm::Direct, Algorithm::Ring] {
                let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
                let proved = prove(schedule, proof::Options::default()).unwrap();
                let mut executor = Executor::new(&proved, count, Op::Sum, &Options::default()).unwrap();
                let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
                let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                group.bench_function(algorithm.name(), |b| b.iter(|| executor.run(&inputs, &mut outputs)));
            }
        }
    }
}

/// What a trace costs, and that without one nothing is paid: the same launches by turns without a trace and with one. Both go
/// the long way, over workers and signals, also where they are small.
fn trace(criterion: &mut Criterion) {
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    for (name, bytes) in [("1 KiB", 1 << 10), ("1 MiB", 1 << 20), ("16 MiB", 16 << 20)] {
        let count = bytes / 4;
        let mut group = criterion.benchmark_group(format!("trace, 4 ranks of {name}"));
        group.sample_size(10).throughput(Throughput::Bytes(8 * bytes as u64));
        let inputs: Vec<Vec<f32>> = (0..4).map(|rank| generate(Fill::Exact, 0, rank, 4, count)).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs = vec![vec![0.0_f32; count]; 4];
        let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let mut executors = [false, true].map(|traced| {
            let options = Options::default().spread(Spread::Channels).trace(traced);
            Executor::new(&proved, count, Op::Sum, &options).unwrap()
        });
        for turn in 0..4 {
            for (way, executor) in ["off", "on"].into_iter().zip(&mut executors) {
                let id = BenchmarkId::new(way, turn);
                group.bench_function(id, |b| b.iter(|| executor.run(&inputs, &mut outputs)));
            }
        }
    }
}

/// What is chosen for a processor, each way: how further results are made, and whether results go past the caches. The best of each
/// is what `wgccl devices` should say of this one.
fn choices(criterion: &mut Criterion) {
    for (ranks, name, bytes) in [
        (2_u32, "1 MiB", 1 << 20),
        (4, "256 KiB", 256 << 10),
        (4, "1 MiB", 1 << 20),
        (8, "1 MiB", 1 << 20),
        (8, "4 MiB", 4 << 20),
        (4, "64 MiB", 64 << 20),
    ] {
        let count = bytes / 4;
        let schedule = build(Collective::AllReduce, Algorithm::Direct, ranks, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, proof::Options::default()).unwrap();
        let mut group = criterion.benchmark_group(format!("choices, {ranks} ranks of {name}"));
        group.sample_size(10).throughput(Throughput::Bytes(2 * u64::from(ranks) * bytes as u64));
        let inputs: Vec<Vec<f32>> = (0..ranks).map(|rank| generate(Fill::Exact, 0, rank, ranks, count)).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs = vec![vec![0.0_f32; count]; ranks as usize];
        let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let ways = [
            ("stored", FurtherResults::Stored, u64::MAX),
            ("copied", FurtherResults::Copied, u64::MAX),
            ("past the caches", FurtherResults::Stored, 0),
        ];
        for (way, further, stream) in ways {
            let options = Options::default().further_results(further).stream_bytes(stream);
            let mut executor = Executor::new(&proved, count, Op::Sum, &options).unwrap();
            group.bench_function(way, |b| b.iter(|| executor.run(&inputs, &mut outputs)));
        }
    }
}

criterion_group!(benches, cpu, choices, trace);
criterion_main!(benches);
