//! The interpreter against kernels written by hand for one algorithm, interleaved on the same device: what it costs that
//! the shader knows no algorithm.
//!
//! `cargo bench --bench kernels -- [DEVICE NAME]...`; each round runs every contestant once, and the ratio is that of
//! the medians. The floor is `copy_buffer_to_buffer` of all inputs to all outputs.

use std::error::Error;
use std::time::{Duration, Instant};

use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::gpu::{self, Gpu};
use wgccl::low_level::gpu::CopyBy;
use wgccl::proof::prove;
use wgccl::schedule::{Algorithm, SyncStyle, build};

const ROUNDS: usize = 9;
const RANKS: [u32; 3] = [2, 4, 8];
const SIZES: [u64; 5] = [1 << 10, 64 << 10, 1 << 20, 4 << 20, 16 << 20];

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    println!("| device | ranks | bytes | direct by hand | direct | ratio | ring by hand | ring | ratio | copy |");
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    for adapter in gpu::adapters() {
        let info = adapter.info();
        let title = format!("{} {}", info.name, info.backend);
        if !wanted.is_empty() && !wanted.iter().any(|name| title.to_lowercase().contains(&name.to_lowercase())) {
            continue;
        }
        let gpu = match Gpu::open(&adapter) {
            Ok(gpu) => gpu,
            Err(error) => {
                eprintln!("left out: {error}");
                continue;
            }
        };
        for ranks in RANKS {
            for bytes in SIZES {
                let most = gpu.info().limits.max_binding_bytes;
                if 3 * bytes * u64::from(ranks) > most {
                    continue;
                }
                let row = row(&gpu, ranks, bytes)?;
                println!("| {title} | {ranks} | {bytes} | {row}");
            }
        }
    }
    Ok(())
}

/// Microseconds of every contestant and their ratios.
fn row(gpu: &Gpu, ranks: u32, bytes: u64) -> Result<String, Box<dyn Error>> {
    let hand = Hand::new(gpu, ranks, bytes)?;
    let count = (bytes / 4) as usize;
    let inputs: Vec<Vec<f32>> = (0..ranks).map(|rank| vec![rank as f32; count]).collect();
    let views: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    let prepare = |algorithm| -> Result<_, Box<dyn Error>> {
        let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor)?;
        let proved = prove(schedule, Default::default())?;
        let mut executor = gpu.prepare(&proved, Shape::new(count, DataType::F32, Op::Sum), &Options::default())?;
        executor.load(0, &views)?;
        Ok(executor)
    };
    let (mut direct, mut ring) = (prepare(Algorithm::Direct)?, prepare(Algorithm::Ring)?);
    let mut times: [Vec<f64>; 5] = Default::default();
    for round in 0..=ROUNDS {
        // As the kernels by hand are timed: nothing beside the launch.
        let ours = |executor: &mut gpu::Executor| -> Result<f64, Box<dyn Error>> {
            let mut times = Vec::new();
            for _ in 0..3 {
                let start = Instant::now();
                executor.enqueue()?;
                gpu.finish()?;
                times.push(micros(start.elapsed()));
            }
            Ok(median(times))
        };
        let copy = |by| -> Result<f64, Box<dyn Error>> {
            let times = gpu.time_copy(by, bytes * u64::from(ranks), 3)?;
            Ok(median(times.iter().map(|timed| micros(timed.wall)).collect()))
        };
        let one = [
            hand.time(|pass| hand.direct(pass))?,
            ours(&mut direct)?,
            hand.time(|pass| hand.ring(pass))?,
            ours(&mut ring)?,
            copy(CopyBy::Command)?.min(copy(CopyBy::Kernel)?),
        ];
        // The first round warms up.
        if round > 0 {
            times.iter_mut().zip(one).for_each(|(times, time)| times.push(time));
        }
    }
    for executor in [&mut direct, &mut ring] {
        // What was timed did finish.
        let mut outputs = vec![vec![0.0_f32; count]; ranks as usize];
        executor.fetch(&mut outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect::<Vec<_>>())?;
    }
    let [by_hand, direct, ring_by_hand, ring, copy] = times.map(median);
    Ok(format!(
        "{by_hand:.0} | {direct:.0} | {:.2} | {ring_by_hand:.0} | {ring:.0} | {:.2} | {copy:.0} |",
        direct / by_hand,
        ring / ring_by_hand
    ))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The kernels written by hand, on a device of their own over the same adapter.
struct Hand {
    device: wgpu::Device,
    queue: wgpu::Queue,
    ranks: u32,
    workgroups: u32,
    direct: wgpu::ComputePipeline,
    /// By [`Hand::form`].
    ring: Vec<wgpu::ComputePipeline>,
    group: wgpu::BindGroup,
}

/// Uniform buffers are bound at multiples of this.
const ALIGN: u32 = 256;
/// Forms of a round of the ring: see `kernels/ring.wgsl`.
const FORMS: u32 = 5;

impl Hand {
    fn new(gpu: &Gpu, ranks: u32, bytes: u64) -> Result<Self, Box<dyn Error>> {
        use wgpu::BufferUsages as Usage;
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        let backends = descriptor.backends;
        let instance = wgpu::Instance::new(descriptor);
        let mut adapters = pollster::block_on(instance.enumerate_adapters(backends)).into_iter();
        let info = gpu.info();
        let same = |adapter: &wgpu::Adapter| {
            let other = adapter.get_info();
            other.name == info.name && format!("{:?}", other.backend).to_lowercase() == info.backend
        };
        let adapter = adapters.find(same).ok_or("the adapter has gone")?;
        let (device, queue) = pollster::block_on(
            adapter.request_device(&wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() }),
        )?;
        let vectors = (bytes / 16) as u32;
        let software = info.is_software();
        let (workgroup, group, workgroups) =
            if software { (64, 8, (vectors / 1024).clamp(1, 64)) } else { (256, 256, (vectors / 1024).clamp(1, 1024)) };
        let per_rank = (workgroups / ranks).max(1);
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes * u64::from(ranks),
                usage: Usage::STORAGE | usage,
                mapped_at_creation: false,
            })
        };
        let (inputs, outputs, slots) = (buffer(Usage::COPY_DST), buffer(Usage::COPY_DST), buffer(Usage::COPY_DST));
        // One for `direct`, then one a round of the ring.
        let rounds = 2 * (ranks - 1);
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(ALIGN * (rounds + 1)),
            usage: Usage::UNIFORM | Usage::COPY_DST,
            mapped_at_creation: false,
        });
        queue.write_buffer(&params, 0, bytemuck::cast_slice(&[vectors, workgroups, 0, 0]));
        for round in 0..rounds {
            let words = [vectors, per_rank, round, ranks];
            queue.write_buffer(&params, u64::from(ALIGN * (round + 1)), bytemuck::cast_slice(&words));
        }
        let sum: Vec<String> = (0..ranks).map(|rank| format!("inputs[{rank}u * n + i]")).collect();
        let stores: String = (0..ranks).map(|rank| format!("outputs[{rank}u * n + i] = sum;\n")).collect();
        let direct = include_str!("kernels/direct.wgsl");
        let direct = direct.replace("= SUM", &format!("= {}", sum.join(" + "))).replace("        STORES", &stores);
        let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
        let entry = |(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: binding == 2, min_binding_size: None },
            count: None,
        };
        let types = [storage(true), storage(false), wgpu::BufferBindingType::Uniform, storage(false)];
        let entries: Vec<_> = (0..).zip(types).map(entry).collect();
        let layout =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = |text: &str, form: Option<u32>| {
            let descriptor =
                wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(text.into()) };
            let checks = wgpu::ShaderRuntimeChecks::unchecked();
            // SAFETY: loops count up to numbers that they do not change; every index is below the buffer's length.
            let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
            let mut constants = vec![("WORKGROUP", f64::from(workgroup)), ("GROUP", f64::from(group))];
            constants.extend(form.map(|form| ("FORM", f64::from(form))));
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: None,
                compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
                cache: None,
            })
        };
        let direct = pipeline(&direct, None);
        let ring = (0..FORMS).map(|form| pipeline(include_str!("kernels/ring.wgsl"), Some(form))).collect();
        let slice = wgpu::BufferBinding { buffer: &params, offset: 0, size: wgpu::BufferSize::new(16) };
        let resources = [
            inputs.as_entire_binding(),
            outputs.as_entire_binding(),
            wgpu::BindingResource::Buffer(slice),
            slots.as_entire_binding(),
        ];
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        let group =
            device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        Ok(Self { device, queue, ranks, workgroups, direct, ring, group })
    }

    fn direct(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.direct);
        pass.set_bind_group(0, &self.group, &[0]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }

    fn ring(&self, pass: &mut wgpu::ComputePass<'_>) {
        for round in 0..2 * (self.ranks - 1) {
            pass.set_pipeline(&self.ring[self.form(round) as usize]);
            pass.set_bind_group(0, &self.group, &[ALIGN * (round + 1)]);
            pass.dispatch_workgroups((self.workgroups / self.ranks).max(1) * self.ranks, 1, 1);
        }
    }

    /// `FORM` of the shader.
    fn form(&self, round: u32) -> u32 {
        let (first, last) = (round == 0, round + 2 == self.ranks);
        match round + 1 < self.ranks {
            true if first && last => 1,
            true if first => 2,
            true if last => 3,
            true => 4,
            false => 0,
        }
    }

    /// From encoding to completion, the median of three.
    fn time(&self, encode: impl Fn(&mut wgpu::ComputePass<'_>)) -> Result<f64, Box<dyn Error>> {
        let mut times = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encode(&mut encoder.begin_compute_pass(&Default::default()));
            let index = self.queue.submit([encoder.finish()]);
            self.device.poll(wgpu::PollType::Wait { submission_index: Some(index), timeout: None })?;
            times.push(micros(start.elapsed()));
        }
        Ok(median(times))
    }
}
