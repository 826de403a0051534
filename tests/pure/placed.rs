//! Several devices of this process, all of them CPU executors: every collective and algorithm, placements, failures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wgccl::Communicator;
use wgccl::backend::{Backend, Member, Message, Options, Ran, Ready, Shape, Spread, Transport, pieces, split};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::{DeviceError, PrepareError, RunError, TransportError};
use wgccl::placed::Placed;
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, Placement, Recipe, SyncStyle, build};

use crate::common::behind::{Around, Behind, Launch, Watched};
use crate::common::placed::{Over, shapes, wrong};
use crate::common::schedules::{star, turned};
use crate::common::{other_variants, variants};
use crate::oracle::case::{Case, Kind};
use crate::oracle::random::Random;

fn cpus(devices: u32) -> Vec<Arc<dyn Member>> {
    (0..devices).map(|_| Arc::new(Cpu::new()) as Arc<dyn Member>).collect()
}

fn on(placement: &Placement) -> Placed {
    Placed::new(cpus(placement.devices())).placement(placement.clone())
}

#[test]
fn every_collective_on_every_placement() {
    let shapes = shapes();
    let mut at = 0;
    for ranks in [1, 2, 3, 5, 8] {
        for variant in variants([ranks]).into_iter().chain(other_variants([ranks])) {
            let Ok(proved) = prove(variant.schedule(), variant.options()) else { continue };
            for placement in [Placement::even(ranks, 2), Placement::even(ranks, 3), interleaved(ranks)] {
                // Every pair of these occurs, because the lengths have no common factor.
                at += 1;
                let mut shape = shapes[at % shapes.len()];
                if variant.collective == Collective::Barrier {
                    shape.count = 0;
                }
                if shape.op == Op::Avg && variant.in_place {
                    shape.op = Op::Sum;
                }
                let options = match at % 3 {
                    0 => Options::default(),
                    1 => Options::default().spread(Spread::Lanes).workers(2),
                    _ => Options::default().channels(3),
                };
                let wrong = wrong(&on(&placement), &proved, Over { shape, launches: 2 }, options);
                assert_eq!(wrong, 0, "{variant} on {placement}: {shape:?}");
            }
        }
    }
}

fn interleaved(ranks: u32) -> Placement {
    Placement::new((0..ranks).map(|rank| rank % 2).collect::<Vec<_>>()).unwrap()
}

#[test]
fn schedules_of_a_users_own() {
    let granularity = wgccl::schedule::Granularity::DivisibleBy(3);
    for (schedule, count) in [(star(4), 1000), (star(3), 1), (turned(granularity), 300)] {
        let proved = prove(schedule, proof::Options::default()).unwrap();
        let ranks = proved.schedule().ranks;
        for placement in [Placement::even(ranks, 2), interleaved(ranks), Placement::even(ranks, ranks)] {
            let over = Over { shape: Shape::new(count, DataType::F32, Op::Sum), launches: 2 };
            assert_eq!(wrong(&on(&placement), &proved, over, Options::default()), 0, "{placement}");
        }
    }
    for seed in 0..300 {
        let case = Case::new(seed);
        if case.kind != Kind::Right {
            continue;
        }
        let Ok(proved) = prove(case.schedule, proof::Options::default().in_place(case.in_place)) else { continue };
        let (random, ranks) = (&mut Random::new(seed, 3), proved.schedule().ranks);
        let devices = random.between(1, ranks.min(3));
        let of = (0..ranks).map(|rank| if rank < devices { rank } else { random.below(devices) });
        let placement = Placement::new(of.collect::<Vec<_>>()).unwrap();
        let n = match proved.schedule().granularity {
            wgccl::schedule::Granularity::DivisibleBy(n) => n as usize,
            _ => 1,
        };
        let count = if proved.schedule().task.collective == Collective::Barrier { 0 } else { 24 * n };
        let over = Over { shape: Shape::new(count, DataType::I32, Op::Sum), launches: 2 };
        assert_eq!(wrong(&on(&placement), &proved, over, Options::default()), 0, "seed {seed} on {placement}");
    }
}

/// Nothing that changes a launch.
struct Nothing;

impl Around for Nothing {
    fn launch(&mut self, transport: &mut dyn Transport, launch: Launch<'_>) -> Result<Ran, RunError> {
        launch(transport)
    }
}

/// A device that works on a few vectors of each chunk at a time, so that all that share its launch do.
fn narrow(vectors: usize) -> Arc<dyn Member> {
    Arc::new(Behind { name: "narrow", vectors, around: || Nothing })
}

#[test]
fn payloads_in_pieces() {
    let mut most = 0;
    for (at, variant) in variants([4]).into_iter().chain(other_variants([4])).enumerate() {
        let Ok(proved) = prove(variant.schedule(), variant.options()) else { continue };
        if variant.collective == Collective::Barrier {
            continue;
        }
        for (vectors, count) in [[(1, 77), (64, 5001)], [(7, 1000), (3000, 30_000)]][at % 2] {
            let placed = Placed::new(vec![narrow(vectors), Arc::new(Cpu::new())]);
            let shape = Shape::new(count, [DataType::F32, DataType::I8][at % 2], Op::Sum);
            let options = match at % 3 {
                0 => Options::default(),
                1 => Options::default().spread(Spread::Lanes).workers(2),
                _ => Options::default().channels(5),
            };
            let ready = placed.prepare(&proved, shape, &options).unwrap();
            most = most.max(ready.prepared().pieces);
            let wrong = wrong(&placed, &proved, Over { shape, launches: 2 }, options);
            assert_eq!(wrong, 0, "{variant}: {shape:?} in {} pieces", ready.prepared().pieces);
        }
    }
    assert!(most > 10, "{most}");
    // What was loaded is what is fetched.
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let placed = Placed::new(vec![narrow(1), Arc::new(Cpu::new())]);
    let mut ready = placed.prepare(&proved, Shape::new(64, DataType::F32, Op::Sum), &Options::default()).unwrap();
    let pieces = ready.prepared().pieces;
    assert!(matches!(ready.launch(), Err(RunError::NotLoaded)));
    assert!(matches!(ready.load(pieces, &[&[0; 256][..]; 4]), Err(RunError::NoSuchPiece { .. })));
    let input: &[u8] = bytemuck::cast_slice(&[0.0_f32; 64]);
    ready.load(0, &[input; 4]).unwrap();
    let mut outputs = vec![vec![0_u8; 256]; 4];
    let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    assert!(matches!(ready.fetch(&mut views), Err(RunError::NotLaunched)));
    // Where one device refuses what another has taken, none launches over a mixture.
    for wrong in [&[input, input, input, &input[..4]][..], &[input, &input[..4], input, input], &[input; 3]] {
        ready.load(0, &[input; 4]).unwrap();
        ready.launch().unwrap();
        assert!(ready.load(1, wrong).is_err());
        assert!(matches!(ready.fetch(&mut views), Err(RunError::NotLaunched)));
        assert!(matches!(ready.launch(), Err(RunError::NotLoaded)));
    }
}

/// By a communicator: in groups by itself, an algorithm that is named as named.
#[test]
fn communicators_choose_by_devices() {
    let (inputs, ranks) = ([[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], 4);
    let inputs: Vec<&[f32]> = inputs.iter().map(|input| &input[..]).collect();
    for algorithm in [None, Some(Algorithm::Ring)] {
        let comm = Communicator::new(Placed::new(cpus(2)), ranks);
        let comm = match algorithm {
            Some(algorithm) => comm.algorithm(algorithm),
            None => comm,
        };
        let mut outputs = [[0.0_f32; 2]; 4];
        let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(|output| &mut output[..]).collect();
        comm.all_reduce(&inputs, &mut views, Op::Sum).unwrap();
        assert!(outputs.iter().all(|output| *output == [16.0, 20.0]));
        let ready = comm.prepare(Collective::AllReduce, Shape::new(2, DataType::F32, Op::Sum), false).unwrap();
        let name = ready.split().whole().schedule().origin.name().to_owned();
        assert_eq!(name, algorithm.map_or("hierarchical-one-phase", |_| "ring"));
        assert_eq!(ready.parts().count(), 2);
    }
    // By what moves, and over how many devices.
    for (collective, devices, bytes, name) in [
        (Collective::AllReduce, 2, u64::MAX, "hierarchical-one-phase"),
        (Collective::AllReduce, 3, 48 << 10, "hierarchical-one-phase"),
        (Collective::AllReduce, 3, 64 << 10, "hierarchical-two-phase"),
        (Collective::AllReduce, 4, 8 << 10, "hierarchical-one-phase"),
        (Collective::AllReduce, 4, 16 << 10, "hierarchical-doubling"),
        (Collective::AllReduce, 4, 128 << 10, "hierarchical-doubling"),
        (Collective::AllReduce, 4, 256 << 10, "hierarchical-two-phase"),
        (Collective::AllReduce, 8, 1 << 10, "hierarchical-doubling"),
        (Collective::AllReduce, 65, 1 << 10, "hierarchical-doubling"),
        (Collective::AllReduce, 64, 1 << 30, "hierarchical-two-phase"),
        (Collective::AllReduce, 65, 1 << 30, "hierarchical"),
        (Collective::AllGather, 4, 1 << 20, "hierarchical"),
        (Collective::AllToAll, 2, 1 << 10, "mesh"),
    ] {
        let placed = Placement::even(130, devices).groups();
        let recipe = Recipe::new(collective, 130).placed(placed).part_bytes(bytes);
        assert_eq!(recipe.chosen().name(), name, "{collective} over {devices} devices of {bytes} bytes");
    }
}

/// How messages are handed to a transport that moves nothing.
#[derive(Default)]
struct Handed {
    copied: usize,
    sent_from_memory: usize,
    landing: usize,
}

impl Transport for Handed {
    fn send(&mut self, _: Message, _: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError> {
        self.copied += 1;
        Ok(())
    }

    unsafe fn send_from(&mut self, _: Message, _: *const u8) -> Result<(), TransportError> {
        self.sent_from_memory += 1;
        Ok(())
    }

    unsafe fn land(&mut self, _: Message, _: *mut u8) {
        self.landing += 1;
    }

    fn receive(&mut self, _: Message, _: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        Ok(())
    }
}

/// What groups exchange lies in one stretch of the part's own memory, on both sides; what goes to a user's buffer does not.
#[test]
fn groups_exchange_without_copies_into_messages() {
    for (algorithm, devices, direct) in [
        (Algorithm::HierarchicalOnePhase, 2, true),
        (Algorithm::HierarchicalOnePhase, 4, true),
        (Algorithm::HierarchicalDoubling, 4, true),
        (Algorithm::HierarchicalDoubling, 6, true),
        (Algorithm::HierarchicalTwoPhase, 2, true),
        (Algorithm::HierarchicalTwoPhase, 3, true),
        (Algorithm::HierarchicalTwoPhase, 4, true),
        (Algorithm::Hierarchical, 4, false),
    ] {
        let placement = Placement::even(12, devices);
        let recipe = Recipe::new(Collective::AllReduce, 12).algorithm(algorithm).groups(placement.groups());
        let proved = prove(recipe.build().unwrap(), proof::Options::default()).unwrap();
        // On one thread without signals, and with.
        for count in [12 << 10, 12 << 16] {
            let shape = Shape::new(count, DataType::F32, Op::Sum);
            let split = split(&proved, &placement, shape).unwrap();
            let pieced = pieces(&proved, shape, usize::MAX).unwrap();
            for (device, part) in (0..).zip(split.parts()) {
                let mut share = Cpu::new().prepare_part(part, shape, pieced, &Options::default()).unwrap();
                let inputs = vec![vec![0_u8; 4 * count]; 12];
                let here = |(rank, input)| if placement.device(rank) == device { input } else { &[][..] };
                let inputs: Vec<&[u8]> = (0..).zip(inputs.iter().map(Vec::as_slice)).map(here).collect();
                share.load(0, &inputs).unwrap();
                let mut handed = Handed::default();
                share.launch(&mut handed).unwrap();
                let sent = (0..part.boundaries()).map(|boundary| part.sends(boundary).len()).sum::<usize>();
                let received = (0..part.boundaries()).map(|boundary| part.receives(boundary).len()).sum::<usize>();
                assert_eq!(handed.copied + handed.sent_from_memory, sent, "{algorithm} on {devices}");
                assert_eq!(
                    handed.copied == 0 && handed.landing == received,
                    direct,
                    "{algorithm} on {devices}, {count}"
                );
            }
        }
    }
}

#[test]
fn what_cannot_be_placed_is_refused() {
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let shape = Shape::new(8, DataType::F32, Op::Sum);
    let refused = |placed: Placed| placed.prepare(&proved, shape, &Options::default()).unwrap_err().to_string();
    let too_many = Placed::new(cpus(2)).placement(Placement::even(4, 3));
    assert!(refused(too_many).contains("names 3 devices, and there are 2"));
    let other = Placed::new(cpus(2)).placement(Placement::even(5, 2));
    assert!(refused(other).contains("the placement is of 5 ranks and the schedule of 4"));
    // A part alone computes nothing of use.
    let placed = Placed::new(cpus(2));
    let ready = placed.prepare(&proved, shape, &Options::default()).unwrap();
    let part = ready.split().parts()[0].proved();
    assert!(matches!(Cpu::new().prepare(part, shape, &Options::default()), Err(PrepareError::Part)));
    assert!(matches!(placed.prepare(part, shape, &Options::default()), Err(PrepareError::Part)));
    // Buffers that are not one a rank.
    let mut ready = placed.prepare(&proved, shape, &Options::default()).unwrap();
    let error = ready.run(&[&[0_u8; 32][..]; 3], &mut []).unwrap_err();
    assert!(error.to_string().contains("3 inputs for 4 ranks"), "{error}");
}

/// Fails at the so manieth message that it sends.
struct Breaks(u32);

impl Around for Breaks {
    fn launch(&mut self, transport: &mut dyn Transport, launch: Launch<'_>) -> Result<Ran, RunError> {
        let left = &mut self.0;
        let mut turn = |sent| {
            if sent {
                if *left == 0 {
                    // Unwinds, as a defect in a driver's binding would.
                    *left = u32::MAX;
                    std::panic::resume_unwind(Box::new("this failure is part of the test"));
                }
                *left -= 1;
            }
            Ok(())
        };
        let mut watched = Watched { inner: transport, turn: &mut turn };
        let lost =
            |_| DeviceError::Lost { device: "one that breaks".to_owned(), reason: "the test says so".to_owned() };
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| launch(&mut watched)));
        ran.map_err(lost)?
    }
}

fn breaks(at: u32) -> Arc<dyn Member> {
    Behind::member("one that breaks", move || Breaks(at))
}

/// Launches nothing for longer than others have patience.
struct Silent;

impl Around for Silent {
    fn launch(&mut self, _: &mut dyn Transport, _: Launch<'_>) -> Result<Ran, RunError> {
        std::thread::sleep(Duration::from_millis(400));
        Ok(Ran::default())
    }
}

/// What an earlier launch has left is no result of one that failed.
#[test]
fn a_launch_that_failed_has_no_outputs() {
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    // More messages than it sends in one launch.
    let messages = 6;
    let placed = Placed::new(vec![Arc::new(Cpu::new()), breaks(messages)]);
    let mut ready = placed.prepare(&proved, Shape::new(8, DataType::F32, Op::Sum), &Options::default()).unwrap();
    let input: &[u8] = bytemuck::cast_slice(&[1.0_f32; 8]);
    ready.load(0, &[input; 4]).unwrap();
    let mut launches = 0;
    while ready.launch().is_ok() {
        launches += 1;
        assert!(launches < 100, "it never breaks");
    }
    assert!(launches > 0);
    let mut outputs = vec![vec![0_u8; 32]; 4];
    let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    assert!(matches!(ready.fetch(&mut views), Err(RunError::NotLaunched)));
    assert!(outputs.iter().flatten().all(|&byte| byte == 0), "what an earlier launch left");
}

/// Whichever message a device fails at, the launch ends with that device's own error, and the next one is right again.
#[test]
fn a_device_that_fails_ends_the_launch_of_all() {
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 6, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let shape = Shape::new(600, DataType::F32, Op::Sum);
    let (input, mut failed) = (vec![1_u8; 2400], 0);
    for at in 0..64 {
        let placed = Placed::new(vec![Arc::new(Cpu::new()), breaks(at), Arc::new(Cpu::new())]);
        let mut ready = placed.prepare(&proved, shape, &Options::default()).unwrap();
        let mut run = || {
            let mut outputs = vec![vec![0_u8; 2400]; 6];
            let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            let ran = ready.run(&[&input[..]; 6], &mut views);
            (ran, outputs)
        };
        let begun = Instant::now();
        match run().0 {
            Err(error) => {
                assert!(matches!(error, RunError::Device(DeviceError::Lost { .. })), "message {at}: {error}");
                assert!(begun.elapsed() < Duration::from_secs(30), "nobody waits for what will not come");
                failed += 1;
                // It breaks once: what was on the way is forgotten.
                let (again, outputs) = run();
                again.unwrap();
                assert!(outputs.iter().all(|output| output == &outputs[0]));
            }
            Ok(_) => break,
        }
    }
    assert!(failed > 4, "{failed}");
}

#[test]
fn a_device_that_is_silent_is_named_after_the_deadline() {
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let placed = Placed::new(vec![Arc::new(Cpu::new()), Behind::member("one that breaks", || Silent)]);
    let options = Options::default().timeout(Duration::from_millis(50));
    let mut ready = placed.prepare(&proved, Shape::new(8, DataType::F32, Op::Sum), &options).unwrap();
    let mut outputs = vec![vec![0_u8; 32]; 4];
    let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let error = ready.run(&[&[0_u8; 32][..]; 4], &mut views).unwrap_err().to_string();
    assert!(error.contains("device 0 (the CPU executor) waited 50ms"), "{error}");
    assert!(error.contains("device 1 (one that breaks) at boundary 0 of"), "{error}");
}
