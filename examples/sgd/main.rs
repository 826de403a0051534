//! Data-parallel SGD inside a wgpu program: P replicas of a network on one device, each with its share of the batch.
//!
//! A step is one command encoder of the program's own: a pass of its own computes every replica's gradient, the library's
//! all-reduce averages them over the program's own buffer, and another pass updates every replica. The result is that of
//! one replica that sees the whole batch, but for rounding, and the replicas stay equal in every bit.

use std::f32::consts::TAU;

use wgccl::Communicator;
use wgccl::collective::{Collective, Op};
use wgccl::gpu::Gpu;
use wgpu::util::{BufferInitDescriptor, DeviceExt};

const REPLICAS: u32 = 4;
const SAMPLES: u32 = 256;
const STEPS: u32 = 400;
/// As in the shader.
const HIDDEN: usize = 16;
const PARAMETERS: usize = 4 * HIDDEN + 1;
const GRADIENTS: usize = PARAMETERS + 1;

type Failure = Box<dyn std::error::Error>;

/// What a training leaves: the loss before every 50th step, and every replica's parameters.
struct Trained {
    losses: Vec<f32>,
    replicas: Vec<Vec<f32>>,
}

fn main() -> Result<(), Failure> {
    let (device, queue) = pollster::block_on(open())?;
    println!("{}: {REPLICAS} replicas, {SAMPLES} samples", device.adapter_info().name);
    let parallel = train(&device, &queue, REPLICAS)?;
    let single = train(&device, &queue, 1)?;

    println!("  step  loss of {REPLICAS} replicas  loss of one with the whole batch");
    for (i, (a, b)) in parallel.losses.iter().zip(&single.losses).enumerate() {
        println!("{:>6}  {a:>18.6}  {b:>32.6}", 50 * i);
    }
    let apart = |(a, b): (&f32, &f32)| (a - b).abs();
    let furthest = parallel.replicas[0].iter().zip(&single.replicas[0]).map(apart).fold(0.0, f32::max);
    println!("parameters differ by {furthest:.1e} at most; replicas are equal in every bit");

    assert!(parallel.replicas.iter().all(|replica| *replica == parallel.replicas[0]), "replicas differ");
    assert!(parallel.losses.windows(2).all(|pair| pair[1] < pair[0]), "the loss does not fall");
    assert!(furthest < 1e-3, "not the training of the whole batch");
    Ok(())
}

/// As any program does it: the library needs no features, and wgpu's default limits are more than enough.
async fn open() -> Result<(wgpu::Device, wgpu::Queue), Failure> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = instance.request_adapter(&Default::default()).await?;
    Ok(adapter.request_device(&Default::default()).await?)
}

fn train(device: &wgpu::Device, queue: &wgpu::Queue, replicas: u32) -> Result<Trained, Failure> {
    use wgpu::BufferUsages as Usage;
    let buffer = |contents: &[f32], usage| {
        let contents = bytemuck::cast_slice(contents);
        device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage })
    };
    let count = replicas as usize;
    let samples = buffer(&spirals(), Usage::STORAGE);
    let parameters = buffer(&initial().repeat(count), Usage::STORAGE | Usage::COPY_SRC);
    let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
    let gradients = buffer(&vec![0.0; count * GRADIENTS], usage);

    let module = device.create_shader_module(wgpu::include_wgsl!("replicas.wgsl"));
    let bindings = [&samples, &parameters, &gradients];
    let backward = Pass::new(device, &module, "backward", &bindings, SAMPLES / replicas);
    let update = Pass::new(device, &module, "update", &bindings, SAMPLES / replicas);

    // Every replica's gradients are a slice of the program's own buffer, and are averaged where they are.
    let comm = Communicator::new(Gpu::adopt(device, queue), replicas);
    let bytes = size_of::<[f32; GRADIENTS]>() as u64;
    let slices: Vec<_> = (0..u64::from(replicas)).map(|r| gradients.slice(r * bytes..(r + 1) * bytes)).collect();

    let mut losses = Vec::new();
    for step in 0..STEPS {
        let mut encoder = device.create_command_encoder(&Default::default());
        backward.record(&mut encoder, replicas);
        let mut averaged = comm.record::<f32>(&mut encoder, Collective::AllReduce, &slices, &slices, Op::Avg)?;
        update.record(&mut encoder, replicas);
        queue.submit([encoder.finish()]);
        // Nothing has waited so far. Who wants a result asks if there is one.
        if step % 50 == 0 {
            averaged.wait()?;
            losses.push(read(device, queue, &gradients)?[PARAMETERS]);
        }
    }
    let replicas = read(device, queue, &parameters)?.chunks(PARAMETERS).map(<[f32]>::to_vec).collect();
    Ok(Trained { losses, replicas })
}

/// A compute pass of the program's own.
struct Pass {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
}

impl Pass {
    fn new(
        device: &wgpu::Device,
        module: &wgpu::ShaderModule,
        entry_point: &str,
        buffers: &[&wgpu::Buffer; 3],
        shard: u32,
    ) -> Self {
        let binding = |binding: u32, read_only| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &[binding(0, true), binding(1, false), binding(2, false)],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: Some(&pipeline_layout),
            module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[("SHARD", f64::from(shard))],
                ..Default::default()
            },
            cache: None,
        });
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group =
            device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        Self { pipeline, group }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder, replicas: u32) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(replicas, 1, 1);
    }
}

fn read(device: &wgpu::Device, queue: &wgpu::Queue, buffer: &wgpu::Buffer) -> Result<Vec<f32>, Failure> {
    let copy = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, buffer.size());
    encoder.map_buffer_on_submit(&copy, wgpu::MapMode::Read, .., drop);
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely())?;
    Ok(bytemuck::pod_collect_to_vec(&copy.get_mapped_range(..)?))
}

/// Two arms of a spiral, in turn, so that every share of the batch has both.
fn spirals() -> Vec<f32> {
    let sample = |i: u32| {
        let (along, label) = ((i / 2) as f32 / (SAMPLES / 2) as f32, (i % 2) as f32);
        let (angle, radius) = (0.5 * TAU * (along + label), 0.2 + along);
        [radius * angle.cos(), radius * angle.sin(), label, 0.0]
    };
    // Neighbours along an arm go to different replicas.
    (0..SAMPLES).flat_map(|i| sample((i % 64) * (SAMPLES / 64) + i / 64)).collect()
}

/// Small different weights, the same for every replica.
fn initial() -> Vec<f32> {
    (0..PARAMETERS).map(|i| (1.7 * i as f32).sin()).collect()
}
