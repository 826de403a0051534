//! Several devices of this machine as one: GPUs of unlike drivers with each other and with the CPU executor.

use std::sync::Arc;

use wgccl::backend::{Backend, Member, Options, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::PrepareError;
use wgccl::lower::{LowerError, Mode};
use wgccl::placed::Placed;
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, Placement, SyncStyle, build};

use crate::common::devices::{Device, devices, one_at_a_time};
use crate::common::placed::{Over, wrong};
use crate::common::schedules::{star, turned};
use crate::common::{Variant, other_variants, variants};

/// Devices of which each carries out a part.
struct Team {
    names: Vec<String>,
    members: Vec<Arc<dyn Member>>,
}

impl Team {
    fn of(gpus: &[&Device], cpus: usize) -> Self {
        let names = gpus.iter().map(|device| device.name.clone());
        let members = gpus.iter().map(|device| Arc::new(device.gpu.clone()) as Arc<dyn Member>);
        let cpu = || Arc::new(Cpu::new()) as Arc<dyn Member>;
        Self {
            names: names.chain((0..cpus).map(|_| "cpu".to_owned())).collect(),
            members: members.chain((0..cpus).map(|_| cpu())).collect(),
        }
    }

    fn on(&self, placement: &Placement) -> Placed {
        let members = self.members.iter().take(placement.devices() as usize).cloned().collect();
        Placed::new(members).placement(placement.clone())
    }
}

/// Every device with the CPU executor, every two devices, and all that there are.
fn teams() -> Vec<Team> {
    let all: Vec<&Device> = devices().iter().collect();
    let mut teams: Vec<Team> = all.iter().map(|device| Team::of(&[device], 1)).collect();
    for (i, a) in all.iter().enumerate() {
        teams.extend(all[i + 1..].iter().map(|b| Team::of(&[a, b], 0)));
    }
    // A device twice: two queues of work for one driver.
    teams.extend(all.iter().take(1).map(|device| Team::of(&[device, device], 0)));
    if all.len() > 1 {
        teams.push(Team::of(&all, 1));
    }
    teams
}

fn placements(ranks: u32, devices: u32) -> Vec<Placement> {
    let turns = (0..ranks).map(|rank| rank % devices.min(ranks)).collect::<Vec<_>>();
    vec![Placement::even(ranks, devices), Placement::new(turns).unwrap()]
}

#[test]
fn every_collective_on_unlike_devices() {
    let _turn = one_at_a_time();
    let of = |ranks| variants([ranks]).into_iter().chain(other_variants([ranks]));
    let all: Vec<Variant> = [2, 3, 4, 8].into_iter().flat_map(of).collect();
    let shapes = [
        Shape::new(1000, DataType::F32, Op::Sum),
        Shape::new(3, DataType::F32, Op::Sum),
        Shape::new(257, DataType::I8, Op::Max),
        Shape::new(4099, DataType::BF16, Op::Avg),
    ];
    let teams = teams();
    let (mut ran, mut at) = (vec![0; teams.len()], 0);
    for variant in all {
        let Ok(proved) = prove(variant.schedule(), variant.options()) else { continue };
        // Each schedule on one team, each team all collectives.
        let number = at % teams.len();
        let team = &teams[number];
        let placements = placements(variant.ranks, team.members.len() as u32);
        let placement = &placements[at / teams.len() % placements.len()];
        let mut shape = shapes[at / 3 % shapes.len()];
        at += 1;
        if variant.collective == Collective::Barrier {
            shape.count = 0;
        }
        if shape.op == Op::Avg && variant.in_place {
            shape.op = Op::Sum;
        }
        let mode = [Mode::PerStep, Mode::PerRank][at % 2];
        let options = Options::default().dispatch(mode);
        let wrong = wrong(&team.on(placement), &proved, Over { shape, launches: 2 }, options);
        assert_eq!(wrong, 0, "{variant} on {} as {placement}: {shape:?}, {mode}", team.names.join(", "));
        ran[number] += 1;
    }
    println!("{ran:?} schedules on {} teams", teams.len());
    assert!(ran.iter().all(|&ran| ran > 10), "{ran:?}");
}

#[test]
fn a_users_own_schedules_on_unlike_devices() {
    let _turn = one_at_a_time();
    let granularity = wgccl::schedule::Granularity::DivisibleBy(3);
    for team in teams() {
        for (schedule, count) in [(star(4), 1000), (star(3), 1), (turned(granularity), 300)] {
            let proved = prove(schedule, proof::Options::default()).unwrap();
            for placement in placements(proved.schedule().ranks, team.members.len() as u32) {
                let over = Over { shape: Shape::new(count, DataType::F32, Op::Sum), launches: 2 };
                let wrong = wrong(&team.on(&placement), &proved, over, Options::default());
                assert_eq!(wrong, 0, "{placement} of {}", team.names.join(", "));
            }
        }
    }
}

/// Payloads that are larger than a device's arena, beside devices that have another one or none.
#[test]
fn payloads_in_pieces() {
    let _turn = one_at_a_time();
    for team in teams() {
        let devices = team.members.len() as u32;
        for (algorithm, in_place) in
            [(Algorithm::Ring, false), (Algorithm::Hierarchical, true), (Algorithm::Direct, false)]
        {
            let schedule = build(Collective::AllReduce, algorithm, 4, SyncStyle::Neighbor).unwrap();
            let proved = prove(schedule, proof::Options::default().in_place(in_place)).unwrap();
            let placed = team.on(&Placement::even(4, devices.min(4)));
            for (count, arena_bytes) in [(50_001, 1 << 16), (3000, 1 << 10)] {
                let options = Options::default().arena_bytes(arena_bytes);
                let shape = Shape::new(count, DataType::F32, Op::Sum);
                let ready = placed.prepare(&proved, shape, &options).unwrap();
                assert!(ready.prepared().pieces > 2, "{:?}", ready.prepared());
                let wrong = wrong(&placed, &proved, Over { shape, launches: 2 }, options);
                assert_eq!(wrong, 0, "{algorithm} on {}", team.names.join(", "));
            }
        }
    }
}

#[test]
fn what_parts_cannot_do_is_refused() {
    let _turn = one_at_a_time();
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, proof::Options::default()).unwrap();
    for device in devices() {
        let placed = Team::of(&[device], 1).on(&Placement::even(4, 2));
        let refused = |count, options| {
            let shape = Shape::new(count, DataType::F32, Op::Sum);
            match placed.prepare(&proved, shape, &options) {
                Err(PrepareError::Lower { error, .. }) => error,
                other => panic!("{}: {other:?}", device.name),
            }
        };
        let fused = refused(8, Options::default().dispatch(Mode::Fused));
        assert!(matches!(fused, LowerError::Unsound { .. }), "{fused}");
        let ready = placed.prepare(&proved, Shape::new(8, DataType::F32, Op::Sum), &Options::default()).unwrap();
        let part = ready.split().parts()[0].proved();
        let whole = device.gpu.prepare(part, Shape::new(8, DataType::F32, Op::Sum), &Options::default());
        assert!(matches!(whole, Err(PrepareError::Part)));
    }
}
