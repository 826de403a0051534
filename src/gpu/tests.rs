//! Tests of launches that must see or set what lies in device memory.
//!
//! The argument that they hold the code to is in `shaders/README.md`, "From launch to launch".

use std::sync::Arc;

use super::context::Context;
use super::executor::Executor;
use super::host::Host;
use super::memory::Memory;
use super::opened;
use super::resident::Resident;
use crate::backend::Ready;
use crate::collective::{Collective, Op};
use crate::element::DataType;
use crate::error::RunError;
use crate::fault::Fault;
use crate::golden::compare;
use crate::inputs::{Fill, generate};
use crate::lower::kernel::Kernel;
use crate::lower::mode::{Mode, Protocol};
use crate::lower::source::LINE;
use crate::lower::words::Progress;
use crate::lower::{DeviceClass, Request, Target, lower};
use crate::payload::Payload;
use crate::proof::{Proved, prove};
use crate::schedule::{Address, Algorithm, Instruction, Lane, Schedule, SyncStyle, build};

type Way = (Mode, Protocol);

const COUNT: usize = 1000;

fn ways(gpu: &Context) -> Vec<Way> {
    let all = Mode::ALL.iter().flat_map(|&mode| Protocol::ALL.iter().map(move |&protocol| (mode, protocol)));
    all.filter(|&(mode, protocol)| gpu.device.info().support(mode, protocol).is_ok()).collect()
}

/// Those that count signals.
fn signal_modes(gpu: &Context) -> impl Iterator<Item = Way> {
    ways(gpu).into_iter().filter(|&(_, protocol)| protocol == Protocol::Simple)
}

/// Two ranks, two chunks: each notifies its peer twice on one signal, and the peer waits for the first and the second.
fn twice() -> Schedule {
    let mut schedule = Schedule::new("twice", Collective::AllReduce, 2, 2).slots(2).signal_rows(1);
    for rank in 0..2 {
        let peer = 1 - rank;
        let mut lane = Lane::new(rank);
        for c in 0..2 {
            let stage = Instruction::new(("stage-in", c + 1)).copy(Address::input(rank, c));
            lane.push(stage.to(Address::slot(rank, c)).notify(peer, 0));
        }
        for c in 0..2 {
            let of = |other| if other == rank { Address::input(rank, c) } else { Address::slot(other, c) };
            let sum = Instruction::new(("move", c + 1)).wait_for(0, peer, c + 1).reduce(of(0), of(1));
            lane.push(sum.to(Address::output(rank, c)));
        }
        schedule = schedule.lane(lane);
    }
    schedule
}

fn schedules() -> [Proved; 3] {
    let ring = |algorithm, sync| build(Collective::AllReduce, algorithm, 4, sync).unwrap();
    [ring(Algorithm::Ring, SyncStyle::Neighbor), ring(Algorithm::RingStaged, SyncStyle::Barrier), twice()]
        .map(|schedule| prove(schedule, Default::default()).unwrap())
}

fn payload(proved: &Proved) -> Payload {
    Payload::new(proved.schedule(), COUNT, 4).unwrap()
}

fn request((mode, protocol): Way) -> Request {
    Request::new(COUNT, DataType::F32, Op::Sum).dispatch(mode, protocol)
}

fn executor(gpu: &Arc<Context>, proved: &Proved, request: Request) -> Executor {
    executor_for(gpu, proved, request, &gpu.device.info().target)
}

fn executor_for(gpu: &Arc<Context>, proved: &Proved, request: Request, target: &Target) -> Executor {
    let mut executor = Executor::new(gpu, lower(proved, &request, target).unwrap(), None).unwrap();
    executor.furnish().unwrap();
    executor
}

fn inputs(ranks: u32, seed: u64) -> Vec<Vec<f32>> {
    (0..ranks).map(|rank| generate(Fill::Normal, seed, rank, ranks, COUNT)).collect()
}

/// Launches over inputs of that seed; what comes back as result must be one.
fn launch(executor: &mut Executor, proved: &Proved, seed: u64, case: &str) -> Result<(), RunError> {
    let ranks = proved.schedule().ranks;
    let inputs = inputs(ranks, seed);
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs = vec![vec![0.0; COUNT]; ranks as usize];
    let given: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    executor.run(&given, &mut views(&mut outputs))?;
    let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
    assert_eq!(
        compare(proved, &payload(proved), Op::Sum, &inputs, &outputs).unwrap().wrong,
        0,
        "{case}, launch {seed}"
    );
    Ok(())
}

fn views(outputs: &mut [Vec<f32>]) -> Vec<&mut [u8]> {
    outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect()
}

/// As after `launches` launches, the last of which made `short` notifies too few of every signal. Of lines, every word is of
/// the last launch, and its data is nothing that anybody wants.
fn preset(memory: &Memory, launches: u32, short: u32) {
    let (queue, package) = (&memory.loaded.device.queue, &memory.loaded.package);
    let lane = Progress { next: 0, launches, number: 0 };
    queue.write_buffer(&memory.own.progress, 0, bytemuck::cast_slice(&vec![lane; package.progress_words()]));
    let atomics = package.arena.atomic_offset();
    if package.protocol == Protocol::Ll {
        let words = vec![launches << 16 | 0xbeef; package.arena.atomic_bytes() as usize / 4];
        queue.write_buffer(&memory.own.arena, atomics, bytemuck::cast_slice(&words));
        return;
    }
    let graph = package.proved().graph();
    let value = |cell| launches.wrapping_mul(graph.notifiers_of(cell).len() as u32).wrapping_sub(short);
    let values: Vec<u32> = (0..package.arena.channels).flat_map(|_| (0..graph.cells()).map(value)).collect();
    queue.write_buffer(&memory.own.arena, atomics, bytemuck::cast_slice(&values));
}

fn progress(executor: &Executor) -> Vec<Progress> {
    executor.banks[0].progress().unwrap()
}

/// Nothing precedes a launch, and the counts wrap between two of them.
#[test]
fn launches_follow_each_other_also_where_the_counts_wrap() {
    for gpu in opened() {
        for (mode, protocol) in ways(&gpu) {
            for proved in schedules() {
                for channels in [1, 3] {
                    let mut executor = executor(&gpu, &proved, request((mode, protocol)).channels(channels));
                    let case = format!("{} {mode} {protocol} {}", gpu.device.info().title(), proved.schedule().origin);
                    for start in [0, 0xfffd, u32::MAX / 2 - 1, i32::MAX as u32 - 1, u32::MAX - 2] {
                        preset(&executor.banks[0].memory, start, 0);
                        for seed in 0..5 {
                            launch(&mut executor, &proved, seed, &case).unwrap();
                        }
                        let now = progress(&executor);
                        assert!(now.iter().all(|lane| lane.launches == start.wrapping_add(5)), "{case}: {now:?}");
                    }
                    assert!(!executor.banks[0].memory.ledger.next().resets, "{case}");
                }
            }
        }
    }
}

/// What a launch that stopped half-way left undone is missing in the next as well, which therefore hangs and is never early;
/// after the reset that this brings about, launches are right.
#[test]
fn a_short_signal_delays_and_is_never_early() {
    for gpu in opened() {
        for (mode, protocol) in signal_modes(&gpu) {
            for proved in schedules() {
                let mut executor = executor(&gpu, &proved, request((mode, protocol)));
                let case = format!("{} {mode} {protocol} {}", gpu.device.info().title(), proved.schedule().origin);
                // By so many that the launch's own notifies do not make up for it, too.
                for (start, short) in [(7, 1), (0, 1), (7, 1000), (0, 1000)] {
                    preset(&executor.banks[0].memory, start, short);
                    let result = launch(&mut executor, &proved, 0, &case);
                    let Err(RunError::Hang(hang)) = result else { panic!("{case}: {result:?}") };
                    let waiting = hang.waiting.first().unwrap_or_else(|| panic!("{case}: {hang}"));
                    assert!(waiting.seen.is_none_or(|seen| seen < waiting.at_least), "{case}: {hang}");
                    launch(&mut executor, &proved, 1, &case).unwrap();
                    assert!(!executor.banks[0].memory.ledger.next().resets, "{case}");
                    launch(&mut executor, &proved, 2, &case).unwrap();
                }
            }
        }
    }
}

/// Words of a line at distances of five. Every workgroup publishes a vector to a line of its own, of which one word then is
/// put back to another flag, and receives; the last one's is left as it is.
const LINES: &str = "
struct Numbers { chunk_stride: u32, flag: u32, stale: u32 }
@group(0) @binding(0) var<storage, read_write> received: array<vec4<u32>>;
@group(0) @binding(2) var<uniform> params: Numbers;
@compute @workgroup_size(1)
fn look(@builtin(workgroup_id) workgroup: vec3<u32>) {
    let line = workgroup.x;
    publish(line * 40u, vec4<u32>(0xffff0001u, 0x89abcdefu, 0u, 0xffffffffu) + vec4<u32>(line), params.flag);
    if (line < 8u) {
        let word = line * 40u + line * 5u;
        atomicStore(&lines[word], (atomicLoad(&lines[word]) & 0xffffu) | (params.stale << 16u));
    }
    let got = receive(line * 40u, params.flag);
    received[line] = select(vec4<u32>(), got.vector, got.arrived);
}";

#[test]
fn a_vector_has_arrived_when_all_its_flags_say_so() {
    use wgpu::BufferUsages as Usage;
    for gpu in opened() {
        let text = [LINES, LINE].join("\n");
        let module = gpu.device.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let pipeline = gpu.device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("look"),
            compilation_options: Default::default(),
            cache: None,
        });
        for (flag, stale) in [(1, 0), (0, 0xffff), (0xffff, 0xfffe), (0x8000, 0), (2, 3), (0x0100, 0x0101)] {
            let numbers = gpu
                .device
                .buffer_of("numbers", bytemuck::cast_slice(&[5_u32, flag, stale, 0]), Usage::UNIFORM)
                .unwrap();
            let lines = gpu.device.buffer("lines", 9 * 40 * 4, Usage::STORAGE).unwrap();
            let received = gpu.device.buffer("received", 9 * 16, Usage::STORAGE | Usage::COPY_SRC).unwrap();
            let entries = [(0, &received), (1, &lines), (2, &numbers)]
                .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
            let group = gpu.device.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            let mut encoder = gpu.device.encoder();
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(9, 1, 1);
            drop(pass);
            gpu.device.run(encoder.finish()).unwrap();
            let got: Vec<[u32; 4]> = gpu.device.words(&received).unwrap();
            let mut expected = vec![[0; 4]; 8];
            expected.push([0xffff_0001, 0x89ab_cdef, 0, u32::MAX].map(|word: u32| word.wrapping_add(8)));
            assert_eq!(got, expected, "{}, flag {flag:#x}, {stale:#x}", gpu.device.info().title());
        }
    }
}

/// Lines as they are, and one lane a launch ahead of the others, or behind: a launch in which lanes do not mean the same by their
/// flags is no result, and after the reset that this brings about, launches are right.
#[test]
fn lanes_that_count_differently_never_agree_on_a_result() {
    for gpu in opened() {
        for proved in schedules() {
            let mut executor = executor(&gpu, &proved, request((Mode::Fused, Protocol::Ll)));
            let case = format!("{} {}", gpu.device.info().title(), proved.schedule().origin);
            for lane in [0, executor.package().progress_words() - 1] {
                for launches in [6, 8] {
                    let memory = &executor.banks[0].memory;
                    preset(memory, 7, 0);
                    let other = Progress { next: 0, launches, number: 0 };
                    let at = (lane * size_of::<Progress>()) as u64;
                    gpu.device.queue.write_buffer(&memory.own.progress, at, bytemuck::bytes_of(&other));
                    let result = launch(&mut executor, &proved, 0, &case);
                    assert!(matches!(result, Err(RunError::Hang(_))), "{case}: {result:?}");
                    for seed in 1..3 {
                        launch(&mut executor, &proved, seed, &case).unwrap();
                    }
                    assert!(!executor.banks[0].memory.ledger.next().resets, "{case}");
                }
            }
        }
    }
}

/// The last launch's progress, outputs and time are not those of one that was recorded and never ran.
#[test]
fn what_an_earlier_launch_left_is_not_taken_for_the_next() {
    for gpu in opened() {
        for (mode, protocol) in ways(&gpu) {
            let [proved, ..] = schedules();
            let mut executor = executor(&gpu, &proved, request((mode, protocol)));
            let case = format!("{} {mode} {protocol}", gpu.device.info().title());
            launch(&mut executor, &proved, 0, &case).unwrap();
            let bank = &executor.banks[0];
            let (now, last) = (progress(&executor), bank.last.get().unwrap());
            let (package, last) = (executor.package(), last.number);
            assert!(package.finished(&now, last), "{case}");
            assert!(!package.finished(&now, bank.memory.ledger.next().number), "{case}");
            // One lane that did not begin, and one in another launch of the device's count.
            let edits: [fn(&mut Progress); 2] = [|lane| lane.number ^= 1, |lane| lane.launches += 1];
            for edit in edits {
                let mut edited = now.clone();
                edit(edited.last_mut().unwrap());
                assert!(!package.finished(&edited, last) && package.begun(&edited, last), "{case}");
            }

            let mut outputs = vec![vec![7.0_f32; COUNT]; 4];
            let mut host = Host::Apart { inputs: &[], outputs: &mut views(&mut outputs) };
            assert!(bank.download(0, &mut host).unwrap().is_none(), "{case}");
            // As a driver that ignores a submission: recorded, never run.
            bank.encode_launch(&mut gpu.device.encoder(), 0, None);
            outputs.iter_mut().for_each(|output| output.fill(7.0));
            let mut host = Host::Apart { inputs: &[], outputs: &mut views(&mut outputs) };
            let now = bank.download(0, &mut host).unwrap().unwrap_or_else(|| panic!("{case}: handed out"));
            assert!(outputs.iter().flatten().all(|&value| value == 7.0), "{case}");
            let error = bank.stopped(&now).unwrap();
            assert!(matches!(error, RunError::NotExecuted { .. }), "{case}: {error}");
            // The memory is reset, and what ran before is no excuse.
            launch(&mut executor, &proved, 1, &case).unwrap();
        }
    }
}

fn resident(gpu: &Arc<Context>, way: Way, algorithm: Algorithm) -> Resident {
    let schedule = build(Collective::AllReduce, algorithm, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, Default::default()).unwrap();
    Resident::from(&executor(gpu, &proved, request(way)))
}

/// Recorded in one order, submitted in another or not at all.
#[test]
fn recorded_launches_may_be_dropped_and_reordered() {
    for gpu in opened() {
        for (mode, protocol) in ways(&gpu) {
            let prepared = resident(&gpu, (mode, protocol), Algorithm::Direct);
            let case = format!("{} {mode} {protocol}", gpu.device.info().title());
            let recorded: Vec<_> = (0..6)
                .map(|_| {
                    let mut encoder = gpu.device.encoder();
                    let done = prepared.record_resident(&mut encoder).unwrap();
                    (encoder.finish(), done)
                })
                .collect();
            let mut waiting = Vec::new();
            for (i, (commands, mut done)) in recorded.into_iter().enumerate().rev() {
                match i {
                    1 | 4 => {
                        drop(commands);
                        assert!(matches!(done.wait(), Err(RunError::NotLaunched)), "{case}");
                    }
                    _ => {
                        gpu.device.submit(commands).unwrap();
                        waiting.push(done);
                    }
                }
            }
            waiting.into_iter().for_each(|mut done| done.wait().unwrap_or_else(|error| panic!("{case}: {error}")));
        }
    }
}

/// Two launches were recorded when the memory was found short: neither is handed out as a result, and the next one is right.
#[test]
fn a_completion_that_failed_resets_the_memory_for_the_next_launch() {
    for gpu in opened() {
        for (mode, protocol) in signal_modes(&gpu) {
            let prepared = resident(&gpu, (mode, protocol), Algorithm::Ring);
            let case = format!("{} {mode} {protocol}", gpu.device.info().title());
            let record = || {
                let mut encoder = gpu.device.encoder();
                let done = prepared.record_resident(&mut encoder).unwrap();
                (encoder.finish(), done)
            };
            let memory = &prepared.memory;
            preset(memory, 3, 1);
            let (first, second) = (record(), record());
            let done: Vec<_> = [first, second]
                .into_iter()
                .map(|(commands, done)| (gpu.device.submit(commands).unwrap(), done))
                .collect();
            for (_, mut done) in done {
                assert!(matches!(done.wait(), Err(RunError::Hang(_))), "{case}");
            }
            for _ in 0..2 {
                let (commands, mut done) = record();
                gpu.device.submit(commands).unwrap();
                done.wait().unwrap_or_else(|error| panic!("{case}: {error}"));
            }
            assert!(!memory.ledger.next().resets, "{case}");
        }
    }
}

#[test]
fn warming_up_moves_nothing() {
    for gpu in opened() {
        for (mode, protocol) in ways(&gpu) {
            let proved = prove(
                build(Collective::AllReduce, Algorithm::Direct, 4, SyncStyle::Neighbor).unwrap(),
                Default::default(),
            )
            .unwrap();
            let executor = executor(&gpu, &proved, request((mode, protocol)));
            let inputs = inputs(4, 0);
            let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let bank = &executor.banks[0];
            let given: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
            bank.upload(0, &Host::inputs(&given)).unwrap();
            bank.memory.warm_up().unwrap();
            let arena: Vec<u32> = gpu.device.words(&bank.memory.own.arena).unwrap();
            let layout = &executor.package().arena;
            let (arena, outputs) = (&arena[..layout.vector_bytes() as usize / 4], layout.poisoned().start as usize * 4);
            let case = format!("{} {mode} {protocol}", gpu.device.info().title());
            assert!(arena[..outputs].iter().any(|&word| word != 0), "{case}");
            assert!(arena[outputs..].iter().all(|&word| word == 0), "{case}");
        }
    }
}

/// The kernel that hardware steps with, on whatever there is.
#[test]
fn stepping_with_spread_waits_is_right_and_explains_a_lost_notify() {
    for gpu in opened() {
        for mode in [Mode::PerRank, Mode::PerStep] {
            for proved in schedules() {
                let case = format!("{} {mode} {}", gpu.device.info().title(), proved.schedule().origin);
                let hardware = Target { class: DeviceClass::Other, ..gpu.device.info().target };
                let way = (mode, Protocol::Simple);
                let mut sound = executor_for(&gpu, &proved, request(way), &hardware);
                assert!(sound.package().source().name.starts_with("stepped-spread-opaque"), "{case}");
                for seed in 0..3 {
                    launch(&mut sound, &proved, seed, &case).unwrap();
                }
                let row = proved.schedule().signal_rows / 2;
                let fault = Fault::DropNotify { rank: 1, row };
                let mut broken = executor_for(&gpu, &proved, request(way).fault(fault), &hardware);
                for seed in 0..2 {
                    let result = launch(&mut broken, &proved, seed, &case);
                    let Err(RunError::Hang(hang)) = result else { panic!("{case}: {result:?}") };
                    assert_eq!((hang.waiting[0].signal.row, hang.waiting[0].signal.sender), (row, 1), "{case}: {hang}");
                }
            }
        }
    }
}

/// What hardware does where workgroups host several lanes, on whatever there is: sweeps over them within a dispatch. Few of
/// them, because cores end loops silently.
#[test]
fn sweeps_over_hosted_lanes_begin_once_and_go_on_past_those_that_wait() {
    // Ranks hand a sum round twice, and workgroups host those that are far apart.
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 12, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, Default::default()).unwrap();
    for gpu in opened() {
        let hardware = Target { class: DeviceClass::Other, ..gpu.device.info().target };
        for way in ways(&gpu).into_iter().filter(|way| way.0 == Mode::Fused) {
            for workgroups in [1, 5, 12] {
                let mut package = lower(&proved, &request(way).workgroups(workgroups).channels(2), &hardware).unwrap();
                let Kernel::Executor { numbers, .. } = &mut package.kernel else { panic!("an executor") };
                assert_eq!(numbers.hosted, 12_u32.div_ceil(workgroups));
                assert!((numbers.passes > 1) == (workgroups < 12) && package.first_dispatches == 1);
                (numbers.passes, numbers.idle, numbers.polls) = (40, 3, 2);
                let mut executor = Executor::new(&gpu, package, None).unwrap();
                let case = format!("{} {way:?} {workgroups}", gpu.device.info().title());
                for seed in 0..3 {
                    launch(&mut executor, &proved, seed, &case).unwrap();
                }
                if workgroups == 1 {
                    // All lanes of a channel are in one workgroup, which needs no other to come to its end.
                    let given = inputs(12, 9);
                    let given: Vec<&[u8]> = given.iter().map(|input| bytemuck::cast_slice(input)).collect();
                    let mut outputs = vec![vec![0.0; COUNT]; 12];
                    assert_eq!(executor.run(&given, &mut views(&mut outputs)).unwrap().dispatches, 1, "{case}");
                }
            }
        }
    }
}
