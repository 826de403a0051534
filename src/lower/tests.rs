//! Packages as text, for every mode, protocol and class of device: no device is needed.
//!
//! `WGCCL_BLESS=1 cargo test -p wgccl --lib packages_read` writes down what they are now; the difference is for a reader.

use std::fmt::Write;

use super::kernel::Access;
use super::mode::{Mode, Protocol};
use super::{Binding, Contents, DeviceClass, Limits, LowerError, Package, Request, Target, Unsound, lower};
use crate::collective::{Collective, Op};
use crate::element::DataType;
use crate::proof::{Options, Proved, prove};
use crate::schedule::{Address, Algorithm, Instruction, Lane, Schedule, SyncStyle, build};

fn proved(algorithm: Algorithm, ranks: u32) -> Proved {
    prove(build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap(), Options::default()).unwrap()
}

fn target(class: DeviceClass) -> Target {
    Target::new(class, Limits::WEBGPU, None)
}

const WAYS: [(Mode, Protocol); 4] = [
    (Mode::PerRank, Protocol::Simple),
    (Mode::PerStep, Protocol::Simple),
    (Mode::Fused, Protocol::Simple),
    (Mode::Fused, Protocol::Ll),
];

/// Every way for two classes of devices.
fn all(mut visit: impl FnMut(&str, Package)) {
    for algorithm in [Algorithm::Ring, Algorithm::Direct, Algorithm::Tree] {
        let proved = proved(algorithm, 4);
        for class in [DeviceClass::Software, DeviceClass::Discrete] {
            for (mode, protocol) in WAYS {
                let request = Request::new(1000, DataType::F32, Op::Sum).dispatch(mode, protocol);
                let package = lower(&proved, &request, &target(class)).unwrap();
                visit(&format!("{class}: {algorithm} {mode} {protocol}"), package);
            }
        }
    }
}

#[test]
fn packages_read_as_they_did() {
    let mut text = String::new();
    all(|name, package| writeln!(text, "== {name}\n{package}\n").unwrap());
    if std::env::var_os("WGCCL_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lower/snapshots/packages.txt");
        return std::fs::write(path, text).unwrap();
    }
    let known = include_str!("snapshots/packages.txt");
    for (package, known) in text.split("== ").zip(known.split("== ")) {
        assert_eq!(package, known, "\n{package}\n{known}");
    }
    assert_eq!(text.len(), known.len());
}

/// Whoever loads a package needs nothing else to know what to create.
#[test]
fn bindings_are_what_the_shader_declares() {
    all(|name, package| {
        let module = naga::front::wgsl::parse_str(&package.source().text).unwrap();
        for (binding, Binding { name: buffer, access, .. }) in (0..).zip(&package.bindings) {
            let (_, variable) = module
                .global_variables
                .iter()
                .find(|(_, variable)| variable.binding.as_ref().is_some_and(|at| at.binding == binding))
                .unwrap_or_else(|| panic!("{name}: nothing has number {binding}"));
            assert_eq!(variable.name.as_deref(), Some(*buffer), "{name}");
            let uniform = variable.space == naga::AddressSpace::Uniform;
            assert_eq!(uniform, matches!(access, Access::Uniform | Access::UniformRow), "{name}: {buffer}");
            let read = naga::AddressSpace::Storage { access: naga::StorageAccess::LOAD };
            assert_eq!(variable.space == read, *access == Access::Read, "{name}: {buffer}");
        }
        let declared = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count();
        assert_eq!(declared, package.bindings.len(), "{name}");
        for (number, _) in package.kernel.overrides() {
            assert!(module.overrides.iter().any(|(_, over)| over.name.as_deref() == Some(number)), "{name}: {number}");
        }
        assert!(package.kernel.storage_buffers() <= if package.protocol == Protocol::Simple { 6 } else { 7 });
    });
}

#[test]
fn a_package_is_data() {
    let package = lower(
        &proved(Algorithm::Ring, 2),
        &Request::new(100, DataType::I64, Op::Max),
        &target(DeviceClass::Integrated),
    );
    let json = serde_json::to_value(package.unwrap()).unwrap();
    assert_eq!((json["mode"].as_str(), json["protocol"].as_str()), (Some("per-step"), Some("simple")));
    assert!(json["shader"]["text"].as_str().unwrap().contains("fn execute"));
    let program = &json["bindings"][2];
    assert_eq!(program["name"], "program");
    assert_eq!(program["words"].as_array().unwrap().len() as u64 * 4, program["bytes"].as_u64().unwrap());
    assert_eq!(json["dispatches"].as_array().unwrap().len(), 2);
}

#[test]
fn what_would_be_wrong_is_refused() {
    let (proved, request) = (proved(Algorithm::Ring, 2), Request::new(8, DataType::F32, Op::Sum));
    let metal = Target { unordered: Some("overtakes"), ..target(DeviceClass::Integrated) };
    for (mode, protocol, reason) in [
        (Mode::PerStep, Protocol::Ll, Unsound::Stepped),
        (Mode::PerRank, Protocol::Ll, Unsound::Stepped),
        (Mode::Fused, Protocol::Simple, Unsound::Device("overtakes")),
    ] {
        let error = lower(&proved, &request.dispatch(mode, protocol), &metal).unwrap_err();
        assert_eq!(error, LowerError::Unsound { mode, protocol, reason });
    }
    assert!(lower(&proved, &request.dispatch(Mode::Fused, Protocol::Ll), &metal).is_ok());
    assert_eq!(metal.choose(Protocol::Simple, || true), Mode::PerStep);
    assert_eq!(metal.choose(Protocol::Ll, || false), Mode::Fused);
    let hardware = target(DeviceClass::Discrete);
    assert_eq!([true, false].map(|is| hardware.choose(Protocol::Simple, || is)), [Mode::Fused, Mode::PerStep]);
    assert_eq!(target(DeviceClass::Software).choose(Protocol::Simple, || true), Mode::PerStep);
}

#[test]
fn a_device_that_can_do_nothing_is_refused() {
    let (proved, request) = (proved(Algorithm::Ring, 2), Request::new(8, DataType::F32, Op::Sum));
    for (class, (mode, protocol)) in DeviceClass::ALL.iter().flat_map(|&class| WAYS.map(|way| (class, way))) {
        let Limits { binding_bytes, buffer_bytes, invocations, workgroups } = Limits::WEBGPU;
        let lowered =
            |limits| lower(&proved, &request.dispatch(mode, protocol), &Target::new(class, limits, None)).err();
        let [none, one] = [0, 1].map(|most| lowered(Limits::new(binding_bytes, buffer_bytes, most, workgroups)));
        assert_eq!((none, one), (Some(LowerError::Limit("invocations")), None), "{class} {mode} {protocol}");
        let none = lowered(Limits::new(binding_bytes, buffer_bytes, invocations, 0));
        assert_eq!(none, Some(LowerError::Limit("workgroups")), "{class} {mode} {protocol}");
        let places = lowered(Limits::new(0, 0, invocations, workgroups));
        assert!(matches!(places, Some(LowerError::Places { .. })), "{class} {mode} {protocol}: {places:?}");
    }
}

/// A chain of lanes has as many steps as lanes, and a row of all lanes for each of them.
#[test]
fn rows_that_a_binding_does_not_hold_are_refused() {
    const LANES: u32 = 2000;
    let lane = |number: u32| {
        let step = Instruction::new("move");
        let step = if number > 0 { step.wait(number - 1, 0) } else { step };
        Lane::new(0).with(if number + 1 < LANES { step.notify(0, number) } else { step })
    };
    let mut schedule = Schedule::new("chain", Collective::Barrier, 1, 1).signal_rows(LANES);
    schedule.lanes = (0..LANES).map(lane).collect();
    let proved = prove(schedule, Options::default()).unwrap();
    let lowered = |bytes| {
        let limits = Limits::new(bytes, 1 << 30, 256, 65_535);
        lower(&proved, &Request::new(0, DataType::F32, Op::Sum), &Target::new(DeviceClass::Software, limits, None))
    };
    let words = u64::from((LANES + 2) * LANES * 4);
    assert_eq!(lowered(words - 1).unwrap_err(), LowerError::Words { words, bytes: words - 1 });
    assert_eq!(lowered(words).unwrap().bindings[6].bytes, words);
}

/// The lemma by which a mode is chosen without making plans: see [`Target::choose`].
#[test]
fn per_step_never_has_more_dispatches_than_per_rank() {
    for &algorithm in Algorithm::ALL {
        for &sync in SyncStyle::ALL {
            for ranks in [1, 2, 3, 4, 7, 8] {
                let Ok(schedule) = build(Collective::AllReduce, algorithm, ranks, sync) else { continue };
                let proved = prove(schedule, Options::default()).unwrap();
                let dispatches = |mode, count| {
                    let request = Request::new(count, DataType::F32, Op::Sum).dispatch(mode, Protocol::Simple);
                    lower(&proved, &request, &target(DeviceClass::Software)).unwrap().plan.dispatches.len()
                };
                for count in [8, 1 << 20] {
                    let [per_step, per_rank] = [Mode::PerStep, Mode::PerRank].map(|mode| dispatches(mode, count));
                    assert!(per_step <= per_rank, "{algorithm} {sync} {ranks}: {per_step}, {per_rank}");
                }
            }
        }
    }
}

/// Words of a package name nothing beyond what is bound.
#[test]
fn steps_name_rows_that_exist() {
    all(|name, package| {
        let bytes = |binding: usize| match &package.bindings[binding].contents {
            Contents::Words(words) => words.len() * 4,
            other => panic!("{name}: {other:?}"),
        };
        let steps = [0, package.pieces.count() - 1].map(|piece| package.steps(piece, Some(255), 1000));
        for step in steps.into_iter().flatten().chain([package.nothing()]) {
            for (binding, row) in [5, 7].into_iter().zip(step.rows) {
                assert!(row as u64 + package.bindings[binding].bytes <= bytes(binding) as u64, "{name}: {step:?}");
            }
            assert!(step.workgroups > 0, "{name}");
        }
    });
}

/// The `ll` shader counts the vectors of all moves of a lane in one word, so a long lane goes in more pieces.
#[test]
fn vectors_of_a_lane_can_be_counted() {
    const MOVES: u32 = 20_000;
    let slot = |i| Address::slot(0, i % 2);
    let mut lane = Lane::new(0).with(Instruction::new("first").copy(Address::input(0, 0)).to(slot(0)));
    for i in 1..MOVES {
        lane.push(Instruction::new("on").copy(slot(i - 1)).to(slot(i)));
    }
    lane.push(Instruction::new("last").copy(slot(MOVES - 1)).to(Address::output(0, 0)));
    let schedule = Schedule::new("long", Collective::AllReduce, 1, 1).slots(2).lane(lane);
    let proved = prove(schedule, Options::default()).unwrap();
    let limits = Limits { binding_bytes: 1 << 31, buffer_bytes: 1 << 32, ..Limits::WEBGPU };
    let target = Target::new(DeviceClass::Discrete, limits, None);
    let request = Request::new(4 << 20, DataType::F32, Op::Sum).dispatch(Mode::Fused, Protocol::Ll);
    let package = lower(&proved, &request, &target).unwrap();
    let moves = u64::from(MOVES) + 1;
    assert!(package.pieces.piece_vectors as u64 * moves <= u32::MAX.into(), "{:?}", package.pieces);
    // Above one piece of this payload, or the test shows nothing.
    assert!((4 << 20) / 4 * moves > u32::MAX.into());
}
