//! What a launch costs beside its work: encoding, submitting and waiting, against the floor of the same device.
//!
//! Payloads are 1 KiB a rank. The floor is an empty submission, and one of a single dispatch, encoded by hand.

#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used)]

#[path = "../tests/common/devices.rs"]
mod devices;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use devices::{Typed, devices};
use wgccl::backend::{Options, Ready};
use wgccl::collective::{Collective, Op};
use wgccl::golden::Goldens;
use wgccl::gpu::Gpu;
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::low_level::payload::Payload;
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};

const COUNT: usize = 256;

/// `submit` alone, and with the wait. The device is idle whenever `submit` begins.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, gpu: &Gpu, name: &str, mut submit: impl FnMut()) {
    group.bench_function(format!("{name}: encode, submit"), |b| {
        b.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    let start = Instant::now();
                    submit();
                    let time = start.elapsed();
                    gpu.finish().unwrap();
                    time
                })
                .sum::<Duration>()
        });
    });
    group.bench_function(format!("{name}: encode, submit, wait"), |b| {
        b.iter(|| {
            submit();
            gpu.finish().unwrap();
        });
    });
}

/// A pipeline that adds 1 to a word, and all that one dispatch of it takes.
fn one_dispatch(device: &wgpu::Device) -> (wgpu::ComputePipeline, wgpu::BindGroup) {
    let source = "@group(0) @binding(0) var<storage, read_write> word: array<u32>;
        @compute @workgroup_size(1) fn add() { word[0] += 1u; }";
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let word = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: word.as_entire_binding() }],
    });
    (pipeline, group)
}

fn launches(criterion: &mut Criterion) {
    for device in devices() {
        let gpu = &device.gpu;
        let mut group = criterion.benchmark_group(&device.name);
        group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));

        let (raw, queue) = gpu.wgpu();
        measure(&mut group, gpu, "floor, empty", || {
            queue.submit([raw.create_command_encoder(&Default::default()).finish()]);
        });
        let (pipeline, bind_group) = one_dispatch(raw);
        measure(&mut group, gpu, "floor, one dispatch", || {
            let mut encoder = raw.create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &bind_group, &[]);
                pass.dispatch_workgroups(1, 1, 1);
            }
            queue.submit([encoder.finish()]);
        });
        for algorithm in [Algorithm::Direct, Algorithm::Ring] {
            for ranks in [2, 8] {
                let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
                let proved = prove(schedule, proof::Options::default()).unwrap();
                let payload = Payload::new(proved.schedule(), COUNT, 4).unwrap();
                let mut executor = Typed::<f32>::new(gpu, &proved, COUNT, Op::Sum, Options::default()).unwrap();
                let inputs: Vec<Vec<f32>> =
                    (0..ranks).map(|rank| generate(Fill::Exact, 0, rank, ranks, COUNT)).collect();
                let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
                executor.load(&inputs).unwrap();
                let dispatches = executor.executor.time(1).unwrap()[0].dispatches;
                let mode = executor.executor.package().mode();
                let name = format!("{algorithm}, {ranks} ranks, {mode} of {dispatches}");
                measure(&mut group, gpu, &name, || executor.executor.enqueue().unwrap());
                // What was timed did finish, and was right.
                let mut outputs = vec![vec![0.0_f32; COUNT]; ranks as usize];
                let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                executor.fetch(&mut views).unwrap();
                let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
                let wrong = Goldens::new(&proved, &payload, Op::Sum, &inputs).unwrap().compare(&outputs).unwrap().wrong;
                assert_eq!(wrong, 0, "{name}");
            }
        }
        group.finish();
    }
}

criterion_group!(benches, launches);
criterion_main!(benches);
