//! What happens before a launch: building a schedule, proving it, planning dispatches, evaluating the golden.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wgccl::collective::{Collective, Op};
use wgccl::golden::Golden;
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::low_level::lower::Plan;
use wgccl::low_level::payload::Payload;
use wgccl::lower::Mode;
use wgccl::proof::{Options, check, prove};
use wgccl::schedule::{Algorithm, Schedule, SyncStyle, build};

const RANKS: [u32; 4] = [8, 32, 128, 512];

fn schedule(algorithm: Algorithm, ranks: u32) -> Schedule {
    build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap()
}

fn before_a_launch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.sample_size(10);
    for ranks in RANKS {
        let built = schedule(Algorithm::Ring, ranks);
        group.throughput(Throughput::Elements(built.instructions() as u64));
        group.bench_function(BenchmarkId::new("build", ranks), |b| {
            b.iter(|| schedule(Algorithm::Ring, black_box(ranks)));
        });
        group.bench_function(BenchmarkId::new("verify", ranks), |b| b.iter(|| check(&built, Options::default())));
        let proved = prove(built.clone(), Options::default()).unwrap();
        group.bench_function(BenchmarkId::new("plan per-step", ranks), |b| {
            b.iter(|| Plan::new(&proved, Mode::PerStep, |_| 1, u64::MAX));
        });
    }
}

fn golden(criterion: &mut Criterion) {
    const COUNT: usize = 1 << 20;
    let mut group = criterion.benchmark_group("golden of 1 Mi f32");
    group.sample_size(10);
    for ranks in [2, 8] {
        let proved = prove(schedule(Algorithm::Ring, ranks), Options::default()).unwrap();
        let payload = Payload::new(proved.schedule(), COUNT, 4).unwrap();
        let inputs: Vec<Vec<f32>> = (0..ranks).map(|rank| generate(Fill::Exact, 0, rank, ranks, COUNT)).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        group.throughput(Throughput::Bytes(ranks as u64 * COUNT as u64 * 4));
        group.bench_function(BenchmarkId::from_parameter(ranks), |b| {
            b.iter(|| Golden::new(&proved, &payload, Op::Sum, &inputs).unwrap());
        });
    }
}

criterion_group!(benches, before_a_launch, golden);
criterion_main!(benches);
