//! Launches that are out of the ordinary: lost notifies, hand-made schedules, special numbers, limits, bad requests.

use wgccl::backend::{Options, Ran, Ready};
use wgccl::collective::{Collective, Op};
use wgccl::error::{PrepareError, RunError};
use wgccl::fault::Fault;
use wgccl::golden::{Comparison, Goldens, compare};
use wgccl::hang::{Hang, Silence};
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::low_level::payload::Payload;
use wgccl::lower::Mode;
use wgccl::lower::{LowerError, Unsound};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, Schedule, SyncStyle, build};

use crate::common::devices::{Device, Typed, Way, devices, one_at_a_time};

fn ring(algorithm: Algorithm, sync: SyncStyle, ranks: u32) -> Proved {
    prove(build(Collective::AllReduce, algorithm, ranks, sync).unwrap(), proof::Options::default()).unwrap()
}

fn executor(device: &Device, proved: &Proved, count: usize, options: Options) -> Typed<f32> {
    Typed::new(&device.gpu, proved, count, Op::Sum, options).unwrap()
}

fn launch(executor: &mut Typed<f32>, proved: &Proved, inputs: &[Vec<f32>]) -> Result<(Comparison, Ran), RunError> {
    let count = inputs[0].len();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs = vec![vec![0.0; count]; inputs.len()];
    let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let launched = executor.run(&inputs, &mut views)?;
    let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
    let payload = Payload::new(proved.schedule(), count, 4).unwrap();
    Ok((compare(proved, &payload, Op::Sum, &inputs, &outputs).unwrap(), launched))
}

fn random(ranks: u32, count: usize) -> Vec<Vec<f32>> {
    (0..ranks).map(|rank| generate(Fill::Normal, 3, rank, ranks, count)).collect()
}

#[test]
fn a_lost_notify_is_explained_and_the_next_launch_is_right() {
    let _turn = one_at_a_time();
    for device in devices() {
        for way in device.sound() {
            for (algorithm, sync) in [
                (Algorithm::Ring, SyncStyle::Neighbor),
                (Algorithm::RingStaged, SyncStyle::Barrier),
                (Algorithm::RingExchange, SyncStyle::Neighbor),
            ] {
                let proved = ring(algorithm, sync, 4);
                let fault = Some(Fault::DropNotify { rank: 1, row: 3 });
                let mut broken = executor(device, &proved, 1000, way.options().fault(fault));
                let case = format!("{} {way} {algorithm} {sync}", device.name);
                for _ in 0..2 {
                    let result = launch(&mut broken, &proved, &random(4, 1000));
                    let Err(RunError::Hang(hang)) = result else { panic!("{case}: {result:?}") };
                    explained(&hang, way, &case);
                }
                let mut sound = executor(device, &proved, 1000, way.options());
                let (comparison, _) = launch(&mut sound, &proved, &random(4, 1000)).unwrap();
                assert_eq!(comparison.wrong, 0, "{case} after the hang");
            }
        }
    }
}

/// The cause comes first: somebody waits on row 3 for rank 1, which has sent its notify.
fn explained(hang: &Hang, way: Way, case: &str) {
    let cause = hang.waiting.first().unwrap_or_else(|| panic!("{case}: {hang}"));
    assert_eq!((cause.signal.row, cause.signal.sender), (3, 1), "{case}: {hang}");
    assert_eq!(cause.site.rank, cause.signal.rank, "{case}: {hang}");
    let Silence::Lost { notifier } = &cause.silence else { panic!("{case}: {hang}") };
    assert_eq!(notifier.rank, 1, "{case}: {hang}");
    let text = hang.to_string();
    let told = match way {
        Way::LL => ["cause: rank", "round", "waits for data from rank 1, which has not arrived", "rank 1 sent it"],
        _ => ["cause: rank", "round", "[row 3][sender 1]", "rank 1 sent its notify"],
    };
    // Where there are no signals, no value of one is told.
    assert!(hang.waiting.iter().all(|waiting| waiting.seen.is_some() == (way != Way::LL)), "{case}: {hang}");
    for fragment in told {
        assert!(text.contains(fragment), "{case}: '{fragment}' is not in:\n{text}");
    }
}

/// Two ranks, two chunks, two lanes a rank: one lane pushes into the peer's slots, the other awaits both and reduces
/// into its own and the peer's output.
fn push_schedule() -> Schedule {
    let mut schedule = Schedule::new("push", Collective::AllReduce, 2, 2).slots(3).signal_rows(2);
    for rank in 0..2 {
        let peer = 1 - rank;
        let push = Instruction::new("stage-in")
            .copy(Address::input(rank, 0))
            .to(Address::slot(peer, 0))
            .chunks(2)
            .notify(peer, 0);
        let ready = Instruction::new(("stage-in", 1))
            .copy(Address::input(rank, rank))
            .to(Address::slot(rank, 2))
            .notify(rank, 1);
        let reduce = Instruction::new(("RS", 1))
            .wait(0, peer)
            .wait(1, rank)
            .reduce(Address::slot(rank, rank), Address::slot(rank, 2))
            .to(Address::output(rank, rank))
            .to(Address::output(peer, rank));
        schedule = schedule.lane(Lane::new(rank).with(push)).lane(Lane::new(rank).with(ready));
        schedule = schedule.lane(Lane::new(rank).with(reduce));
    }
    schedule
}

#[test]
fn push_two_destinations_several_lanes_and_waits() {
    let _turn = one_at_a_time();
    let proved = prove(push_schedule(), proof::Options::default()).unwrap();
    for device in devices() {
        for way in device.sound() {
            for count in [1, 7, 8, 1000, 50_000] {
                let mut executor = executor(device, &proved, count, way.options());
                for _ in 0..2 {
                    let (comparison, _) = launch(&mut executor, &proved, &random(2, count)).unwrap();
                    assert_eq!(comparison.wrong, 0, "{} {way} {count}", device.name);
                }
            }
        }
    }
}

/// NaN, infinities, signed zeros and subnormals go through; a device may flush subnormals, and then it is counted.
#[test]
fn special_numbers_are_data() {
    let _turn = one_at_a_time();
    let special =
        [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -1e-42, f32::MAX, f32::MIN_POSITIVE, 1.5];
    let inputs: Vec<Vec<f32>> =
        (0..3).map(|rank| (0..100).map(|i| special[(i / (1 + 9 * (rank % 2)) + rank) % 10]).collect()).collect();
    for device in devices() {
        for way in device.sound() {
            for algorithm in [Algorithm::Ring, Algorithm::RingExchange] {
                let proved = ring(algorithm, SyncStyle::Neighbor, 3);
                let mut executor = executor(device, &proved, 100, way.options());
                let (comparison, _) = launch(&mut executor, &proved, &inputs).unwrap();
                assert_eq!(comparison.wrong, 0, "{} {way}: {comparison:?}", device.name);
                println!("{} {way}: {} subnormals flushed", device.name, comparison.flushed);
            }
        }
    }
}

/// Counted on the device with the inputs that were launched, against the golden of inputs of which `edits` differ.
fn wrong_on_device(
    device: &Device,
    proved: &Proved,
    inputs: &[Vec<f32>],
    edits: &[(usize, usize, f32)],
    options: Options,
) -> u64 {
    let mut executor = executor(device, proved, inputs[0].len(), options);
    let launched: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut edited = inputs.to_vec();
    for &(rank, index, value) in edits {
        edited[rank][index] = value;
    }
    let edited: Vec<&[f32]> = edited.iter().map(Vec::as_slice).collect();
    let payload = Payload::new(proved.schedule(), inputs[0].len(), 4).unwrap();
    let goldens = Goldens::new(proved, &payload, Op::Sum, &edited).unwrap();
    let counts: Vec<u64> = (0..2).map(|_| executor.executor.count_wrong(&launched, &goldens).unwrap()).collect();
    assert_eq!(counts[0], counts[1], "a count does not go into the next one");
    counts[0]
}

#[test]
fn wrong_elements_are_counted_on_the_device() {
    let _turn = one_at_a_time();
    const COUNT: usize = 2503;
    let nan = f32::from_bits(0x7fc1_2345);
    for device in devices() {
        for way in device.sound() {
            for in_place in [false, true] {
                // The second arena is so small that the payload goes in pieces.
                for arena_bytes in [None, Some(16 << 10)] {
                    let schedule = build(Collective::AllReduce, Algorithm::Ring, 3, SyncStyle::Neighbor).unwrap();
                    let proved = prove(schedule, proof::Options::default().in_place(in_place)).unwrap();
                    let mut inputs = random(3, COUNT);
                    inputs[1][77] = f32::NAN;
                    inputs[2][2000] = f32::INFINITY;
                    for (edits, wrong) in [
                        (&[][..], 0),
                        (&[(0, 0, 9.0)], 3),
                        (&[(2, COUNT - 1, 9.0)], 3),
                        (&[(0, 5, 9.0), (1, 5, 9.0), (1, 1200, 9.0), (2, 2501, 9.0)], 9),
                        // NaN for a number, a number for NaN, one NaN for another, NaN for infinity.
                        (&[(0, 3, nan)], 3),
                        (&[(1, 77, 9.0)], 3),
                        (&[(0, 77, nan), (1, 77, nan)], 0),
                        (&[(2, 2000, nan)], 3),
                    ] {
                        let options = way.options().arena_bytes(arena_bytes);
                        let counted = wrong_on_device(device, &proved, &inputs, edits, options);
                        let case = format!("{} {way} in place: {in_place} {arena_bytes:?} {edits:?}", device.name);
                        assert_eq!(counted, wrong, "{case}");
                    }
                }
            }
        }
    }
}

/// Three ranks sum in different orders, so that each has a golden of its own.
#[test]
fn every_rank_is_held_against_its_own_golden() {
    let _turn = one_at_a_time();
    let mut schedule = Schedule::new("own orders", Collective::AllReduce, 3, 1);
    for rank in 0..3 {
        let operands = (0..3).map(|i| Address::input((rank + i) % 3, 0));
        let sum = Instruction::new("RS").reduce_all(operands).to(Address::output(rank, 0));
        schedule = schedule.lane(Lane::new(rank).with(sum));
    }
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let mut inputs = random(3, 3000);
    // Partial sums among the subnormals, so that goldens of devices that flush them differ between ranks, too.
    inputs.iter_mut().flat_map(|input| input.iter_mut().step_by(3)).for_each(|x| *x *= 2.0 * f32::MIN_POSITIVE);
    let views: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let payload = Payload::new(proved.schedule(), 3000, 4).unwrap();
    let goldens = Goldens::new(&proved, &payload, Op::Sum, &views).unwrap();
    for golden in [goldens.golden(), goldens.flushed()] {
        let third = |rank| golden.expected(rank).iter().step_by(3).collect::<Vec<_>>();
        assert_ne!(third(0), third(1));
    }
    for device in devices() {
        let options = Way::simple(Mode::PerStep).options();
        assert_eq!(wrong_on_device(device, &proved, &inputs, &[], options), 0, "{}", device.name);
        assert_eq!(wrong_on_device(device, &proved, &inputs, &[(1, 17, 9.0)], options), 3, "{}", device.name);
    }
}

/// Several blocks of golden: above 4 MiB. And what the host counts when it compares, subnormals among it.
#[test]
fn device_and_host_count_the_same() {
    let _turn = one_at_a_time();
    let proved = ring(Algorithm::Direct, SyncStyle::Neighbor, 2);
    for count in [1000, (5 << 18) + 3] {
        let mut inputs = random(2, count);
        for i in (0..count).step_by(3) {
            inputs[0][i] *= 1e-39;
            inputs[1][i] *= 1e-39;
        }
        let edits: Vec<(usize, usize, f32)> = (0..count).step_by(11).map(|i| (i % 2, i, 1e-40)).collect();
        let mut edited = inputs.clone();
        edits.iter().for_each(|&(rank, index, value)| edited[rank][index] = value);
        let edited: Vec<&[f32]> = edited.iter().map(Vec::as_slice).collect();
        let views: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let payload = Payload::new(proved.schedule(), count, 4).unwrap();
        for device in devices() {
            let mut executor = executor(device, &proved, count, Options::default());
            let mut outputs = vec![vec![0.0; count]; 2];
            let mut output_views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            executor.run(&views, &mut output_views).unwrap();
            let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
            let on_host = compare(&proved, &payload, Op::Sum, &edited, &outputs).unwrap();
            assert!(on_host.wrong > 0, "{on_host:?}");
            let on_device = wrong_on_device(device, &proved, &inputs, &edits, Options::default());
            assert_eq!(on_device, on_host.wrong, "{} {count}: {on_host:?}", device.name);
            assert_eq!(wrong_on_device(device, &proved, &inputs, &[], Options::default()), 0, "{}", device.name);
        }
    }
}

#[test]
fn a_golden_of_another_shape_is_refused() {
    let _turn = one_at_a_time();
    for device in devices() {
        let (proved, inputs) = (ring(Algorithm::Ring, SyncStyle::Neighbor, 2), random(2, 9));
        let views: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let payload = Payload::new(proved.schedule(), 9, 4).unwrap();
        let goldens = Goldens::new(&proved, &payload, Op::Sum, &views).unwrap();
        let short: Vec<&[f32]> = inputs.iter().map(|input| &input[..8]).collect();
        let error =
            executor(device, &proved, 8, Options::default()).executor.count_wrong(&short, &goldens).unwrap_err();
        assert!(error.to_string().contains("output of rank 0 has 9 elements"), "{error}");
    }
}

/// A lane that moves chunks to and fro `rounds` times: each by copies of `chunks` chunks, or by reductions of many
/// operands into many destinations.
fn long_lane(rounds: u32, chunks: u32, step: impl Fn(u32, u32) -> Instruction) -> Proved {
    let mut lane = Lane::new(0);
    for half in 0..2 {
        let to = Address::slot(0, half * chunks);
        lane.push(Instruction::new("stage-in").copy(Address::input(0, 0)).to(to).chunks(chunks));
    }
    for round in 1..rounds {
        lane.push(step(round, chunks));
    }
    let to = Address::output(0, 0);
    lane.push(Instruction::new("stage-out").copy(Address::slot(0, 0)).to(to).chunks(chunks));
    let schedule = Schedule::new("long", Collective::AllReduce, 1, chunks).slots(3 * chunks).lane(lane);
    prove(schedule, proof::Options::default()).unwrap()
}

fn to_and_fro(round: u32, chunks: u32) -> Instruction {
    let (from, to) = (Address::slot(0, (round + 1) % 2 * chunks), Address::slot(0, round % 2 * chunks));
    Instruction::new(("move", round)).copy(from).to(to).chunks(chunks)
}

/// Sums that nobody uses, of five operands into four destinations.
fn many_to_many(round: u32, chunks: u32) -> Instruction {
    let operands = (0..5).map(|i| Address::slot(0, i % chunks));
    let sum = Instruction::new(("move", round)).reduce_all(operands);
    (0..4).fold(sum, |sum, i| sum.to(Address::slot(0, 2 * chunks + i)))
}

/// llvmpipe ends loops after 65535 turns without a word; these lanes would need more in one dispatch. If the host thought
/// an instruction cheaper than it is, a launch would not finish.
#[test]
fn lanes_longer_than_the_loop_limit_of_a_device() {
    let _turn = one_at_a_time();
    let cases = [
        ("short copies", long_lane(40_000, 1, to_and_fro), 4),
        ("long copies", long_lane(3_000, 1, to_and_fro), 4 * 64 * 40),
        ("copies of several chunks", long_lane(10_000, 7, to_and_fro), 7 * 4),
        ("many to many", long_lane(10_000, 4, many_to_many), 4 * 4),
        ("long many to many", long_lane(1_000, 4, many_to_many), 4 * 4 * 64 * 20),
    ];
    for device in devices() {
        for way in device.sound() {
            for (case, proved, count) in &cases {
                let options = way.options().channels(1);
                let mut executor = executor(device, proved, *count, options);
                let result = launch(&mut executor, proved, &random(1, *count));
                let (comparison, launched) =
                    result.unwrap_or_else(|error| panic!("{} {way} {case}: {error}", device.name));
                assert_eq!(comparison.wrong, 0, "{} {way} {case}", device.name);
                assert!(launched.dispatches > 1, "{} {way} {case}: {launched:?}", device.name);
            }
        }
    }
}

#[test]
fn what_cannot_be_launched_is_refused_with_a_reason() {
    let _turn = one_at_a_time();
    for device in devices() {
        let title = device.gpu.info().title();
        let proved = ring(Algorithm::Ring, SyncStyle::Neighbor, 2);
        let fused = Way::simple(Mode::Fused);
        let new = |proved: &Proved, options| Typed::<f32>::new(&device.gpu, proved, 8, Op::Sum, options);
        if let Err(reason) = device.gpu.info().support(fused.mode, fused.protocol) {
            let error = new(&proved, fused.options()).err().unwrap();
            let unsound = matches!(error, PrepareError::Lower { error: LowerError::Unsound { .. }, .. });
            assert!(unsound && matches!(reason, Unsound::Device(_)), "{error}");
            assert!(error.to_string().contains(&reason.to_string()) && error.to_string().contains(&title), "{error}");
            assert!(error.to_string().ends_with("use protocol ll, or per-step"), "{error}");
        }
        for mode in [Mode::PerStep, Mode::PerRank] {
            let error = new(&proved, Way { mode, ..Way::LL }.options()).err().unwrap();
            let PrepareError::Lower { error: LowerError::Unsound { reason, .. }, .. } = error else {
                panic!("{error}")
            };
            assert_eq!(reason, Unsound::Stepped);
        }
        // Two lanes use one slot one after the other, which only a signal can order.
        let sum = |label| Instruction::new(("move", label)).reduce(Address::input(0, 0), Address::input(1, 0));
        let first = Lane::new(0)
            .with(sum(1).to(Address::slot(0, 0)))
            .with(Instruction::new(("move", 2)).copy(Address::slot(0, 0)).to(Address::output(0, 0)).notify(0, 0));
        let second = Lane::new(0)
            .with(sum(1).wait(0, 0).to(Address::slot(0, 0)))
            .with(Instruction::new(("move", 2)).copy(Address::slot(0, 0)).to(Address::output(1, 0)));
        let shared = Schedule::new("shared", Collective::AllReduce, 2, 1).slots(1).signal_rows(1);
        let shared = prove(shared.lane(first).lane(second), Default::default()).unwrap();
        assert!(new(&shared, Way::simple(Mode::PerStep).options()).is_ok());
        let error = new(&shared, Way::LL.options()).err().unwrap().to_string();
        assert!(error.contains("both write rank 0 slot[0]") && error.contains("use per-step"), "{error}");

        let many = ring(Algorithm::Ring, SyncStyle::Neighbor, 257);
        let error = new(&many, Options::default()).err().unwrap();
        assert!(error.to_string().contains("257 ranks"), "{error}");

        let mut executor = executor(device, &proved, 8, Options::default());
        let (short, right) = (vec![0.0; 7], vec![0.0; 8]);
        let mut outputs = vec![right.clone(); 2];
        let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        for inputs in [vec![&right[..]], vec![&right[..], &short[..]], vec![&right[..]; 3]] {
            assert!(matches!(executor.run(&inputs, &mut views), Err(RunError::Buffers(_))));
        }
        assert!(matches!(executor.run_in_place(&mut views), Err(RunError::Placement { .. })));
        executor.run(&[&right, &right], &mut views).unwrap();
    }
}

#[test]
fn options_that_can_do_nothing_are_refused() {
    let _turn = one_at_a_time();
    let proved = ring(Algorithm::Ring, SyncStyle::Neighbor, 4);
    for device in devices() {
        let refused = |options| Typed::<f32>::new(&device.gpu, &proved, 1000, Op::Sum, options).err().unwrap();
        let error = refused(Options::default().channels(0));
        assert!(matches!(error, PrepareError::Nothing("channels")), "{error}");
        let error = refused(Options::default().workgroups(0));
        assert!(matches!(error, PrepareError::Nothing("workgroups")), "{error}");
        let error = refused(Options::default().workers(2));
        assert!(matches!(error, PrepareError::NoSuchOption { option: "workers", .. }), "{error}");
        let error = refused(Options::default().stream_bytes(1 << 20));
        assert!(matches!(error, PrepareError::NoSuchOption { option: "stream_bytes", .. }), "{error}");
    }
}

/// No element at all is no error, and nothing is launched.
#[test]
fn nothing_takes_no_dispatch() {
    let _turn = one_at_a_time();
    for device in devices() {
        let proved = ring(Algorithm::Ring, SyncStyle::Neighbor, 3);
        let mut executor = executor(device, &proved, 0, Options::default());
        let ran = executor.run(&[&[], &[], &[]], &mut [&mut [], &mut [], &mut []]).unwrap();
        assert_eq!(ran.dispatches, 0, "{}", device.name);
    }
}

/// What is launched over must be there, and so must be what is fetched.
#[test]
fn resident_launches_come_after_inputs_and_before_outputs() {
    let _turn = one_at_a_time();
    let proved = ring(Algorithm::Ring, SyncStyle::Neighbor, 2);
    for device in devices() {
        let mut executor = executor(device, &proved, 8, Options::default());
        let (a, b) = ([1.0; 8], [2.0; 8]);
        let mut results = vec![vec![0.0; 8]; 2];
        let mut outputs: Vec<&mut [f32]> = results.iter_mut().map(Vec::as_mut_slice).collect();
        assert!(matches!(executor.executor.launch(), Err(RunError::NotLoaded)), "{}", device.name);
        assert!(matches!(executor.fetch(&mut outputs), Err(RunError::NotLaunched)), "{}", device.name);
        executor.load(&[&a, &b]).unwrap();
        assert!(matches!(executor.fetch(&mut outputs), Err(RunError::NotLaunched)), "{}", device.name);
        assert!(executor.executor.launch().unwrap().dispatches > 0);
        let ran = executor.executor.time(3).unwrap();
        assert!(ran.len() == 3 && ran.iter().all(|ran| ran.time.is_some() && ran.dispatches > 0));
        executor.fetch(&mut outputs).unwrap();
        assert_eq!(outputs, [[3.0; 8]; 2], "{}", device.name);
        let beyond = executor.executor.load(1, &[&[], &[]]);
        assert!(matches!(beyond, Err(RunError::Buffers(_) | RunError::NoSuchPiece { piece: 1, pieces: 1 })));
        // After inputs that were refused, none are there.
        assert!(matches!(executor.executor.launch(), Err(RunError::NotLoaded)), "{}", device.name);
        assert!(matches!(executor.fetch(&mut outputs), Err(RunError::NotLaunched)), "{}", device.name);
    }
}

#[test]
fn a_window_that_no_binding_holds_is_refused() {
    let _turn = one_at_a_time();
    for device in devices() {
        let proved = ring(Algorithm::Ring, SyncStyle::Neighbor, 4);
        let options = Options::default().arena_bytes(100);
        let error = Typed::<f32>::new(&device.gpu, &proved, 64, Op::Sum, options).err().unwrap();
        assert!(matches!(error, PrepareError::Lower { error: LowerError::Places { .. }, .. }), "{error}");
    }
}

#[test]
fn auto_takes_a_sound_mode_and_the_ring_needs_few_dispatches() {
    let _turn = one_at_a_time();
    for device in devices() {
        for (ranks, per_step) in [(1, 1), (2, 2), (4, 6), (8, 14)] {
            let proved = ring(Algorithm::Ring, SyncStyle::Neighbor, ranks);
            let mut executor = executor(device, &proved, 256, Options::default());
            let (mode, protocol) = executor.executor.prepared().dispatch.unwrap();
            let way = Way { mode, protocol };
            assert!(device.sound().contains(&way), "{} {way}", device.name);
            let (comparison, launched) = launch(&mut executor, &proved, &random(ranks, 256)).unwrap();
            assert_eq!(comparison.wrong, 0);
            assert!(launched.dispatches <= per_step, "{} {way}: {launched:?}", device.name);
        }
    }
}

/// Workgroups that run on a few cores wait in turn: fused launches of them need more than one dispatch.
#[test]
fn lanes_run_together_only_where_there_is_hardware_for_it() {
    let _turn = one_at_a_time();
    for device in devices() {
        assert!(!device.gpu.runs_together(257), "more than any ladder has");
        if device.gpu.info().is_software() {
            assert!([2, 16, 17, 256].iter().all(|&lanes| !device.gpu.runs_together(lanes)), "{}", device.name);
        }
    }
}
