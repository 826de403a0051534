//! Launches on several devices, beside what no such launch can do without, in one run, in turn, medians:
//! * the copies: inputs to each device, outputs back, and what crosses, out of one and into the other;
//! * the kernels: what each device computes, of data that is there and with messages that move nothing. Software devices take a
//!   good part of a launch for these, on the cores that copy as well.
//!
//! `cargo bench --bench placed`, of some devices and bytes with `-- CPU+CPU 65536 1048576`. Ranks and sizes are those of the goal:
//! at most 1.25 times the copies from 1 MiB on.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has nothing to go on with")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use wgccl::backend::{Backend, Member, Message, Options, Ready, Shape, Share, Transport, pieces, split};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::TransportError;
use wgccl::gpu::{Gpu, open_all};
use wgccl::lower::{Pieced, Split};
use wgccl::placed::Placed;
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, Placement, Recipe};
use wgccl::wgpu;

const RANKS: u32 = 8;
const SIZES: [usize; 5] = [64 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
const ROUNDS: usize = 9;

/// A device, and what it copies in a launch.
enum Device {
    Cpu,
    Gpu(Box<Gpu>),
}

impl Device {
    fn name(&self) -> String {
        match self {
            Self::Cpu => "cpu".to_owned(),
            Self::Gpu(gpu) => gpu.info().title(),
        }
    }

    fn member(&self) -> Arc<dyn Member> {
        match self {
            Self::Cpu => Arc::new(Cpu::new()),
            Self::Gpu(gpu) => Arc::new((**gpu).clone()),
        }
    }
}

/// What must be copied of one device.
#[derive(Clone, Copy)]
struct Bytes {
    given: u64,
    got: u64,
    sent: u64,
    received: u64,
}

/// Buffers for these copies.
struct Copies {
    bytes: Bytes,
    host: Vec<u8>,
    mail: Vec<u8>,
    gpu: Option<(Gpu, wgpu::Buffer, wgpu::Buffer)>,
}

impl Copies {
    fn new(device: &Device, bytes: Bytes) -> Self {
        let most = bytes.given.max(bytes.got).max(bytes.sent).max(bytes.received).max(16);
        let gpu = match device {
            Device::Cpu => None,
            Device::Gpu(gpu) => {
                use wgpu::BufferUsages as Usage;
                let buffer = |usage| {
                    let descriptor =
                        wgpu::BufferDescriptor { label: None, size: most, usage, mapped_at_creation: false };
                    gpu.wgpu().0.create_buffer(&descriptor)
                };
                let there = buffer(Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC);
                Some(((**gpu).clone(), there, buffer(Usage::MAP_READ | Usage::COPY_DST)))
            }
        };
        Self { bytes, host: vec![1; most as usize], mail: vec![1; most as usize], gpu }
    }

    fn up(&mut self, bytes: u64) {
        let Some((gpu, there, _)) = &self.gpu else { return };
        let Some(size) = wgpu::BufferSize::new(bytes) else { return };
        let queue = gpu.wgpu().1;
        let mut view = queue.write_buffer_with(there, 0, size).unwrap();
        view.slice(..bytes as usize).copy_from_slice(&self.host[..bytes as usize]);
        drop(view);
        queue.submit([]);
    }

    fn down(&mut self, bytes: u64) {
        let Some((gpu, there, back)) = &self.gpu else { return };
        if bytes == 0 {
            return;
        }
        let (device, queue) = gpu.wgpu();
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(there, 0, back, 0, bytes);
        queue.submit([encoder.finish()]);
        back.slice(..bytes).map_async(wgpu::MapMode::Read, |result| result.unwrap());
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        self.host[..bytes as usize].copy_from_slice(&back.slice(..bytes).get_mapped_range().unwrap());
        back.unmap();
    }

    /// Everything once. Cores have inputs and outputs where they are: only what crosses is copied, out and in.
    fn all(&mut self) {
        let Bytes { given, got, sent, received } = self.bytes;
        self.up(given);
        if self.gpu.is_none() {
            self.mail[..sent as usize].copy_from_slice(&self.host[..sent as usize]);
            self.host[..received as usize].copy_from_slice(&self.mail[..received as usize]);
        }
        self.down(sent);
        self.up(received);
        self.down(got);
    }
}

/// Messages that move nothing.
struct Void;

impl Transport for Void {
    fn send(&mut self, _: Message, _: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError> {
        Ok(())
    }

    fn receive(&mut self, _: Message, _: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        Ok(())
    }
}

/// What a device computes in a launch over all pieces.
struct Kernels {
    share: Box<dyn Share>,
    pieces: usize,
}

impl Kernels {
    /// With inputs that are there.
    fn new(
        member: &dyn Member,
        split: &Split,
        device: usize,
        (shape, pieced): (Shape, Pieced),
        options: &Options,
        inputs: &[&[u8]],
    ) -> Self {
        let options = options.of_kind(member.kind());
        let mut share = member.prepare_part(&split.parts()[device], shape, pieced, &options).unwrap();
        let here = |rank| split.placement().device(rank) == device as u32;
        let inputs: Vec<&[u8]> =
            (0..).zip(inputs).map(|(rank, input)| if here(rank) { input } else { &[][..] }).collect();
        share.load(0, &inputs).unwrap();
        Self { share, pieces: pieced.count() }
    }

    fn all(&mut self) {
        for _ in 0..self.pieces {
            self.share.launch(&mut Void).unwrap();
        }
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// How long it takes until all have done so, the first of them on this thread, as in a launch.
fn together<T: Send>(of: &mut [T], each: impl Fn(&mut T) + Sync) -> Duration {
    let (start, Some((first, others))) = (Instant::now(), of.split_first_mut()) else { return Duration::ZERO };
    std::thread::scope(|scope| {
        others.iter_mut().for_each(|one| drop(scope.spawn(|| each(one))));
        each(first);
    });
    start.elapsed()
}

fn measure(devices: &[&Device], proved: &Proved, placement: &Placement, bytes: usize) {
    let (count, shape) = (bytes / 4, Shape::new(bytes / 4, DataType::F32, Op::Sum));
    let split = split(proved, placement, shape).unwrap();
    let payload = proved.payload(count, DataType::F32).unwrap();
    let links = split.links(&payload);
    let placed = Placed::new(devices.iter().map(|device| device.member()).collect()).placement(placement.clone());
    // Two CPU executors share the cores, in a launch as beside it.
    let cores = wgccl::cpu::cores();
    let executors = devices.iter().filter(|device| matches!(device, Device::Cpu)).count().max(1);
    let options = Options::default().workers((cores / executors).max(1));
    let mut ready = match placed.prepare(proved, shape, &options) {
        Ok(ready) => ready,
        Err(error) => return println!("{bytes:>10}  {error}"),
    };
    let mut copies: Vec<Copies> = (0..)
        .zip(devices)
        .map(|(number, device)| {
            let own = placement.ranks_of(number).count() as u64 * bytes as u64;
            let over =
                |of: &dyn Fn(&wgccl::lower::Link) -> bool| links.iter().filter(|link| of(link)).map(|l| l.bytes).sum();
            let (sent, received) = (over(&|link| link.from == number), over(&|link| link.to == number));
            Copies::new(device, Bytes { given: own, got: own, sent, received })
        })
        .collect();
    let inputs = vec![vec![0_u8; bytes]; RANKS as usize];
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs = vec![vec![0_u8; bytes]; RANKS as usize];
    let members: Vec<_> = devices.iter().map(|device| device.member()).collect();
    let most = members
        .iter()
        .zip(split.parts())
        .map(|(member, part)| member.most_vectors(part, shape, &options.of_kind(member.kind())).unwrap());
    let pieced = pieces(proved, shape, most.min().unwrap()).unwrap();
    let numbered = (0..).zip(&members);
    let mut kernels: Vec<Kernels> = numbered
        .map(|(number, member)| Kernels::new(&**member, &split, number, (shape, pieced), &options, &inputs))
        .collect();
    let (mut launches, mut copying, mut computing) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (copied, computed) = (together(&mut copies, Copies::all), together(&mut kernels, Kernels::all));
        let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let ran = ready.run(&inputs, &mut views).unwrap();
        if round > 0 {
            copying.push(copied);
            computing.push(computed);
            launches.push(ran.time.unwrap());
        }
    }
    let [launch, copies, kernels] = [launches, copying, computing].map(|mut times| median(&mut times));
    let (of_copies, of_both) = (launch / copies, launch / (copies + kernels));
    println!(
        "{bytes:>10}  {launch:>10.3}  {copies:>10.3}  {kernels:>10.3}  {of_copies:>9.2}  {of_both:>7.2}  {:>6}",
        pieced.count()
    );
}

fn main() {
    let gpus: Vec<Device> = open_all().into_iter().flatten().map(|gpu| Device::Gpu(Box::new(gpu))).collect();
    let cpu = [Device::Cpu, Device::Cpu];
    let mut teams: Vec<Vec<&Device>> = gpus.iter().map(|gpu| vec![gpu, &cpu[0]]).collect();
    if let [first, second, ..] = &gpus[..] {
        teams.push(vec![first, second]);
    }
    teams.push(cpu.iter().collect());
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (sizes, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.parse::<usize>().is_ok());
    let sizes: Vec<usize> = sizes.iter().filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    for team in teams {
        let placement = Placement::even(RANKS, team.len() as u32);
        // What `auto` takes for two devices.
        let algorithm = Algorithm::HierarchicalOnePhase;
        let recipe = Recipe::new(Collective::AllReduce, RANKS).algorithm(algorithm);
        let schedule = recipe.groups(placement.groups()).build().unwrap();
        let proved = prove(schedule, proof::Options::default()).unwrap();
        let name = team.iter().map(|device| device.name()).collect::<Vec<_>>().join("+");
        if !names.iter().all(|wanted| name.to_lowercase().contains(&wanted.to_lowercase())) {
            continue;
        }
        println!("\n{name}: all-reduce by {algorithm}, {RANKS} ranks");
        println!("     bytes   launch ms   copies ms  kernels ms  / copies  / both  pieces");
        sizes.iter().for_each(|&bytes| measure(&team, &proved, &placement, bytes));
    }
}
