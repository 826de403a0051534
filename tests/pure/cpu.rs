//! The CPU executor agrees with the golden in every bit, however lanes are spread, and explains what cannot finish.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use wgccl::backend::{Backend, FurtherResults, Options, Ready, Shape, Spread};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::{Cpu, Executor};
use wgccl::element::DataType;
use wgccl::error::{BufferError, PrepareError, RunError, UserBuffer};
use wgccl::fault::Fault;
use wgccl::golden::{Golden, Goldens};
use wgccl::hang::{Hang, Silence};
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::low_level::payload::Payload;
use wgccl::low_level::{Numeric, Sealed};
use wgccl::lower::{Mode, Protocol};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, Schedule, SyncStyle, build};

fn ring(algorithm: Algorithm, ranks: u32, sync: SyncStyle, in_place: bool) -> Proved {
    let schedule = build(Collective::AllReduce, algorithm, ranks, sync).unwrap();
    prove(schedule, proof::Options::default().in_place(in_place)).unwrap()
}

fn payload(proved: &Proved, count: usize) -> Payload {
    Payload::new(proved.schedule(), count, 4).unwrap()
}

fn options(spread: Spread, workers: usize, channels: Option<u32>) -> Options {
    Options::default().workers(workers).spread(spread).channels(channels)
}

fn fill(fill: Fill, ranks: u32, count: usize) -> Vec<Vec<f32>> {
    (0..ranks).map(|rank| generate(fill, 1, rank, ranks, count)).collect()
}

fn views(inputs: &[Vec<f32>]) -> Vec<&[f32]> {
    inputs.iter().map(Vec::as_slice).collect()
}

/// One launch into poisoned outputs, held against the golden.
fn launch(executor: &mut Executor<f32>, proved: &Proved, inputs: &[&[f32]], goldens: &Goldens<'_, f32>, context: &str) {
    let mut outputs: Vec<Vec<f32>> = inputs.iter().map(|input| vec![f32::poison(); input.len()]).collect();
    if proved.options().in_place {
        outputs.iter_mut().zip(inputs).for_each(|(output, input)| output.copy_from_slice(input));
        let mut buffers: Vec<&mut [f32]> = outputs.iter_mut().map(|output| &mut output[..]).collect();
        executor.run_in_place(&mut buffers).unwrap_or_else(|error| panic!("{context}: {error}"));
    } else {
        let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(|output| &mut output[..]).collect();
        executor.run(inputs, &mut outputs).unwrap_or_else(|error| panic!("{context}: {error}"));
    }
    let comparison = goldens.compare(&views(&outputs)).unwrap();
    let identical = comparison.bit_identical || !proved.report().holds(proof::Proof::BitIdentical);
    assert!(comparison.wrong == 0 && identical, "{context}: {comparison:?}");
}

/// Inputs of so many ranks, hashed and random.
fn given(ranks: u32, count: usize) -> [Vec<Vec<f32>>; 2] {
    [Fill::Exact, Fill::Normal].map(|kind| fill(kind, ranks, count))
}

/// For each of these options two launches of one executor, with hashed and then with random inputs: what the first leaves
/// behind would show. Returns workers and channels of each.
fn twice(proved: &Proved, given: &[Vec<Vec<f32>>; 2], options: impl IntoIterator<Item = Options>) -> Vec<(usize, u32)> {
    let inputs = given.each_ref().map(|inputs| views(inputs));
    let payload = payload(proved, inputs[0][0].len());
    let goldens = inputs.each_ref().map(|inputs| Goldens::new(proved, &payload, Op::Sum, inputs).unwrap());
    let Schedule { origin: name, ranks, .. } = proved.schedule();
    let launched = options.into_iter().map(|options| {
        let context = format!("{name} {ranks} ranks, {} elements, {options:?}", payload.count);
        let mut executor = Executor::new(proved, payload.count, Op::Sum, &options).unwrap();
        for (inputs, goldens) in inputs.iter().zip(&goldens) {
            launch(&mut executor, proved, inputs, goldens, &context);
        }
        (executor.workers(), executor.channels())
    });
    launched.collect()
}

/// [`twice`] over so many elements.
fn twice_of(proved: &Proved, count: usize, options: Options) -> (usize, u32) {
    twice(proved, &given(proved.schedule().ranks, count), [options])[0]
}

/// Every algorithm, sync, number of ranks, spread and placement meets every count. Workers and channels go round from case
/// to case, with periods that have no common divisor, so that each pair of values still meets somewhere. Above 4 ranks
/// the largest count is launched out of place and by channels only. Of the thousands of cases Miri takes seconds for each, and
/// ThreadSanitizer is only after who meets whom.
#[test]
fn every_algorithm_agrees_with_the_golden() {
    let (mut case, mut inputs) = (0, HashMap::new());
    for (algorithm, sync) in crate::common::algorithms() {
        let some: &[u32] = if algorithm.needs_power_of_two() { &[4] } else { &[3] };
        let all: &[u32] = if cfg!(sanitized) { &[2, 4, 5] } else { &[1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33] };
        let ranks = if cfg!(miri) { some } else { all };
        for ranks in ranks.iter().copied().filter(|&ranks| crate::common::defined(algorithm, ranks)) {
            for in_place in [false, true] {
                let proved = ring(algorithm, ranks, sync, in_place);
                let p = ranks as usize;
                let counts: &[usize] = match () {
                    () if cfg!(miri) => &[13],
                    () if cfg!(sanitized) => &[p - 1, 1000],
                    () => &[1, 3, p - 1, p, 255, 256, 1000, (1 << 18) + 3],
                };
                for count in counts.iter().copied().filter(|&n| n > 0) {
                    let wanted = |&spread: &Spread| {
                        let lanes = spread == Spread::Lanes;
                        !(count > 1000 && ranks > 4 && (in_place || lanes) || cfg!(miri) && in_place == lanes)
                    };
                    let spreads = [Spread::Lanes, Spread::Channels].into_iter().filter(wanted);
                    let ways: Vec<Options> = spreads
                        .map(|spread| {
                            let workers = [1, 2, 5][case % 3];
                            let channels = [None, Some(1), Some(3), None, Some(7)][case % 5];
                            case += 1;
                            options(spread, workers, channels)
                        })
                        .collect();
                    if !ways.is_empty() {
                        let given = inputs.entry((ranks, count)).or_insert_with(|| given(ranks, count));
                        twice(&proved, given, ways);
                    }
                }
            }
        }
    }
}

/// On the calling thread alone, where most steps are short, and with everything that may be chosen for a processor.
#[test]
fn choices_change_no_bit() {
    use FurtherResults::{Copied, Stored};
    let counts: &[usize] = if cfg!(miri) { &[37] } else { &[1, 37, 256, 1040, 9001] };
    // Miri takes seconds for each algorithm; these have all kinds of steps.
    let some = [Algorithm::Ring, Algorithm::Tree, Algorithm::TwoPhase];
    for (algorithm, sync) in crate::common::algorithms() {
        if cfg!(miri) && (!some.contains(&algorithm) || sync == SyncStyle::Barrier) {
            continue;
        }
        for ranks in [4, 8].into_iter().filter(|&ranks| ranks == 4 || !cfg!(miri)) {
            let proved = ring(algorithm, ranks, sync, false);
            for &count in counts {
                twice_of(&proved, count, Options::default());
            }
        }
    }
    for algorithm in [Algorithm::Direct, Algorithm::TwoPhase] {
        let proved = ring(algorithm, 4, SyncStyle::Neighbor, false);
        let choices = [(Stored, u64::MAX), (Copied, u64::MAX), (Stored, 0), (Copied, 0)];
        let options = Options::default().spread(Spread::Channels);
        let ways = choices.map(|(further, stream)| options.further_results(further).stream_bytes(stream));
        for &count in counts {
            twice(&proved, &given(4, count), ways);
        }
    }
}

/// Workers join in after the first few, if they are free: of two threads that launch by the same team, one goes alone. Inputs
/// change from launch to launch, so that nothing stale passes.
#[test]
#[cfg_attr(miri, ignore = "a minute; what workers access is in a test of cpu::hot")]
fn launches_in_a_row_are_as_any_other() {
    let (ranks, count, rows) = (4, 8197, if cfg!(sanitized) { 10 } else { 50 });
    let cpu = Cpu::new();
    let launch = |algorithm| {
        let proved = ring(algorithm, ranks, SyncStyle::Neighbor, false);
        let mut executor = Executor::<f32>::new(&proved, count, Op::Sum, &Options::default()).unwrap();
        let shape = Shape::new(count, DataType::F32, Op::Sum);
        let mut ready = cpu.prepare(&proved, shape, &Options::default()).unwrap();
        let inputs = given(ranks, count);
        let inputs = inputs.each_ref().map(|inputs| views(inputs));
        let golden = |inputs| Golden::new(&proved, &payload(&proved, count), Op::Sum, inputs).unwrap();
        let goldens = inputs.each_ref().map(|inputs| golden(inputs));
        let bytes = inputs.each_ref().map(|inputs| inputs.iter().map(|x| bytemuck::cast_slice(x)).collect::<Vec<_>>());
        let mut outputs = vec![vec![f32::poison(); count]; ranks as usize];
        for row in 0..rows {
            for launch in 0..9 {
                let which = (row + launch) % 2;
                let outputs = outputs.iter_mut().map(|output| &mut output[..]);
                if row % 4 == 3 {
                    executor.run(&inputs[which], &mut outputs.collect::<Vec<_>>()).unwrap();
                } else {
                    let mut outputs: Vec<&mut [u8]> = outputs.map(bytemuck::cast_slice_mut).collect();
                    ready.run(&bytes[which], &mut outputs).unwrap();
                }
            }
            for (rank, output) in (0..).zip(&outputs) {
                let bits = |elements: &[f32]| elements.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let right = bits(output) == bits(goldens[row % 2].expected(rank));
                assert!(right, "{algorithm}: row {row}, rank {rank}");
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| launch(Algorithm::Direct));
        scope.spawn(|| launch(Algorithm::Ring));
    });
}

/// Few elements and a step a time: as many switches between threads as there can be.
#[test]
fn lanes_of_one_channel_on_many_threads() {
    for sync in [SyncStyle::Neighbor, SyncStyle::Barrier] {
        let (workers, launches): (&[usize], _) = if cfg!(miri) { (&[3], 2) } else { (&[2, 3, 5], 50) };
        for &workers in workers {
            let proved = ring(Algorithm::RingExchange, 5, sync, false);
            let payload = payload(&proved, 50);
            let inputs = fill(Fill::Normal, 5, 50);
            let inputs = views(&inputs);
            let goldens = Goldens::new(&proved, &payload, Op::Sum, &inputs).unwrap();
            let mut executor =
                Executor::new(&proved, payload.count, Op::Sum, &options(Spread::Lanes, workers, Some(2))).unwrap();
            for _ in 0..launches {
                launch(&mut executor, &proved, &inputs, &goldens, "soak");
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "hours for a megabyte")]
fn auto_runs_small_payloads_inline_and_large_ones_on_every_worker() {
    let proved = ring(Algorithm::Ring, 4, SyncStyle::Neighbor, false);
    let auto = || Options::default().workers(3);
    assert_eq!(twice_of(&proved, 1000, auto()), (1, 1));
    let (workers, channels) = twice_of(&proved, 1 << 18, auto());
    assert!(workers == 3 && channels >= 3, "{workers} workers, {channels} channels");
}

#[test]
#[cfg_attr(any(miri, sanitized), ignore = "minutes to hours for its proofs")]
fn hundreds_of_ranks_on_a_few_threads() {
    for (algorithm, ranks, count) in [
        (Algorithm::Ring, 256, 1000),
        (Algorithm::Ring, 1024, 1024),
        (Algorithm::Direct, 1023, 1000),
        (Algorithm::RecursiveDoubling, 1024, 10),
        (Algorithm::HalvingDoubling, 1024, 1025),
        (Algorithm::Tree, 1000, 1024),
    ] {
        let start = Instant::now();
        let proved = ring(algorithm, ranks, SyncStyle::Neighbor, false);
        let proof = start.elapsed();
        twice_of(&proved, count, Options::default());
        if ranks == 256 {
            twice_of(&proved, count, options(Spread::Lanes, 2, None));
        }
        println!("{algorithm}, {ranks} ranks: proved in {proof:?}, run in {:?}", start.elapsed() - proof);
    }
}

const FEW: usize = if cfg!(miri) { 50 } else { 1000 };

fn expect_hang(proved: &Proved, options: Options) -> Hang {
    let payload = payload(proved, FEW);
    let ranks = proved.schedule().ranks as usize;
    let inputs = vec![vec![1.0_f32; FEW]; ranks];
    let inputs: Vec<&[f32]> = inputs.iter().map(|input| &input[..]).collect();
    let mut outputs = vec![vec![0.0_f32; FEW]; ranks];
    let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(|output| &mut output[..]).collect();
    let mut executor = Executor::new(proved, payload.count, Op::Sum, &options).unwrap();
    let hangs = [(); 2].map(|()| match executor.run(&inputs, &mut outputs) {
        Err(RunError::Hang(hang)) => *hang,
        other => panic!("a dropped notify must be a hang, not {other:?}"),
    });
    let [first, again] = hangs;
    assert_eq!(first, again, "one schedule has one outcome");
    first
}

#[test]
fn a_lost_notify_is_explained_at_once_and_leaves_nothing_behind() {
    let proved = ring(Algorithm::Ring, 4, SyncStyle::Neighbor, false);
    for spread in [Spread::Auto, Spread::Lanes, Spread::Channels] {
        for &workers in if cfg!(miri) { &[2][..] } else { &[1, 2, 5] } {
            for &(rank, row) in if cfg!(miri) { &[(2, 3)][..] } else { &[(0, 1), (2, 3), (3, 5)] } {
                let faulty = options(spread, workers, Some(3)).fault(Fault::DropNotify { rank, row });
                let start = Instant::now();
                let hang = expect_hang(&proved, faulty);
                assert!(start.elapsed() < Duration::from_secs(5));
                // The ring's right neighbour waits; the silent peer did execute its notify.
                let cause = &hang.waiting[0];
                assert_eq!((cause.site.rank, cause.signal.row, cause.signal.sender), ((rank + 1) % 4, row, rank));
                assert_eq!((cause.at_least, cause.seen), (1, Some(0)));
                assert!(matches!(&cause.silence, Silence::Lost { notifier } if notifier.rank == rank), "{cause}");
                assert!(hang.stalled.is_empty(), "{hang}");
                // Every channel that was begun is stuck alike: one cause, told once.
                let channels: Vec<u32> = hang.channels.iter().collect();
                assert!(channels.starts_with(&[0]), "{hang}");
                assert_eq!(hang.waiting[0].channels, hang.channels, "{hang}");
                let text = RunError::Hang(Box::new(hang)).to_string();
                assert!(text.contains("cause: ") && text.contains("never arrived"), "{text}");
                twice_of(&proved, FEW, options(spread, workers, Some(3)));
            }
        }
    }
}

/// Two ranks with two lanes each, one chunk a lane: rank 0 reduces both, pushing each sum into both ranks' memory at once.
fn push() -> Schedule {
    let half = |chunk: u32| {
        let row = chunk;
        let (theirs, staged) = (Address::input(1, chunk), Address::slot(0, chunk));
        let giver = Lane::new(1)
            .with(Instruction::new(("move", 1)).copy(theirs).to(staged).notify(0, row))
            .with(Instruction::new(("move", 3)).wait(row, 0).wait_for(2, 0, 2));
        let taker = Lane::new(0).with(
            Instruction::new(("move", 2))
                .wait(row, 1)
                .reduce(staged, Address::input(0, chunk))
                .to(Address::output(0, chunk))
                .to(Address::output(1, chunk))
                .notify(1, row)
                .notify(1, 2),
        );
        (giver, taker)
    };
    let ((give_0, take_0), (give_1, take_1)) = (half(0), half(1));
    Schedule::new("push", Collective::AllReduce, 2, 2)
        .slots(2)
        .signal_rows(3)
        .lane(take_0)
        .lane(give_0)
        .lane(take_1)
        .lane(give_1)
}

#[test]
fn push_with_two_destinations_two_lanes_and_several_waits() {
    for in_place in [false, true] {
        let proved = prove(push(), proof::Options::default().in_place(in_place)).unwrap();
        for &count in if cfg!(miri) { &[1, 50][..] } else { &[1, 7, 1000, 100_000] } {
            let spreads =
                |workers| [Spread::Auto, Spread::Lanes, Spread::Channels].map(|spread| options(spread, workers, None));
            twice(&proved, &given(2, count), [1, 2, 4].into_iter().flat_map(spreads));
        }
    }
}

#[test]
fn wrong_buffers_and_options_are_refused() {
    let (apart, in_place) =
        (ring(Algorithm::Ring, 2, SyncStyle::Neighbor, false), ring(Algorithm::Ring, 2, SyncStyle::Neighbor, true));
    let payload = payload(&apart, 10);
    let mut executor = Executor::<f32>::new(&apart, payload.count, Op::Sum, &Options::default()).unwrap();
    let (right, short) = ([0.0_f32; 10], [0.0_f32; 9]);
    let (mut a, mut b, mut c) = ([0.0_f32; 10], [0.0_f32; 10], [0.0_f32; 11]);
    let mut refused = |inputs: &[&[f32]], outputs: &mut [&mut [f32]], expected: &str| {
        let error = executor.run(inputs, outputs).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&[&right], &mut [&mut a, &mut b], "1 inputs for 2 ranks");
    refused(&[&right, &right], &mut [&mut a], "1 outputs for 2 ranks");
    refused(&[&right, &short], &mut [&mut a, &mut b], "the input of rank 1 has 9 elements, but the payload has 10");
    refused(&[&right, &right], &mut [&mut a, &mut c], "the output of rank 1 has 11 elements");
    assert!(matches!(executor.run_in_place(&mut [&mut a, &mut b]), Err(RunError::Placement { in_place: false })));

    let mut executor = Executor::<f32>::new(&in_place, payload.count, Op::Sum, &Options::default()).unwrap();
    assert!(matches!(
        executor.run(&[&right, &right], &mut [&mut a, &mut b]),
        Err(RunError::Placement { in_place: true })
    ));
    let refused = executor.run_in_place(&mut [&mut a]).unwrap_err();
    assert!(matches!(refused, RunError::Buffers(BufferError::Number { got: 1, .. })));
    let refused = executor.run_in_place(&mut [&mut a, &mut c]).unwrap_err();
    assert!(matches!(
        refused,
        RunError::Buffers(BufferError::Length { what: UserBuffer::InPlace, rank: 1, got: 11, .. })
    ));

    let new = |options| Executor::<f32>::new(&apart, 10, Op::Sum, &options).unwrap_err().to_string();
    let zero = |workers, channels| Options::default().workers(workers).channels(channels);
    assert!(new(zero(Some(0), None)).contains("0 workers"));
    assert!(new(zero(None, Some(0))).contains("0 channels"));
    // Addressable, but no machine has it. Miri ends where an allocation fails.
    if cfg!(miri) {
        return;
    }
    let huge = Payload::new(ring(Algorithm::Ring, 8, SyncStyle::Neighbor, false).schedule(), 1 << 55, 4).unwrap();
    let proved = ring(Algorithm::Ring, 8, SyncStyle::Neighbor, false);
    let lanes = options(Spread::Lanes, 2, Some(1));
    assert!(matches!(Executor::<f32>::new(&proved, huge.count, Op::Sum, &lanes), Err(PrepareError::Memory(_))));
}

#[test]
#[cfg_attr(miri, ignore = "minutes for its proof, and nothing is run")]
fn too_many_ranks_are_refused() {
    // One lane reduces all inputs and copies the result to every rank: cheap to prove.
    let mut lane = Lane::new(0);
    let output = |rank| Address::output(rank, 0);
    lane.push(Instruction::new(("move", 1)).reduce(Address::input(0, 0), Address::input(1, 0)).to(output(0)));
    for peer in 2..1025 {
        lane.push(Instruction::new(("move", 1)).reduce(output(0), Address::input(peer, 0)).to(output(0)));
    }
    for peer in 1..1025 {
        lane.push(Instruction::new(("move", 2)).copy(output(0)).to(output(peer)));
    }
    let schedule = Schedule::new("star", Collective::AllReduce, 1025, 1).lane(lane);
    let proved = prove(schedule, proof::Options::default()).unwrap();
    let error = Executor::<f32>::new(&proved, 4, Op::Sum, &Options::default()).unwrap_err();
    assert!(matches!(error, PrepareError::Ranks { ranks: 1025, most: 1024, .. }), "{error}");
}

/// What is thrown below: whoever drops it panics again.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("this panic is part of the test");
    }
}

/// An element whose arithmetic panics on a value.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
struct Fragile(f32);

impl std::fmt::Display for Fragile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Sealed for Fragile {}

impl Numeric for Fragile {
    const TYPE: DataType = DataType::F32;
    type Wide = f64;

    fn combine(op: Op, a: Self, b: Self) -> Self {
        if a.0 > 1e6 || b.0 > 1e6 {
            std::panic::panic_any(Bomb);
        }
        Self(f32::combine(op, a.0, b.0))
    }

    fn combine_flushed(op: Op, a: Self, b: Self) -> Self {
        Self(f32::combine_flushed(op, a.0, b.0))
    }

    fn flush(self) -> Self {
        Self(self.0.flush())
    }

    fn agrees(self, other: Self) -> bool {
        self.0.agrees(other.0)
    }

    fn poison() -> Self {
        Self(f32::poison())
    }

    fn to_f64(self) -> f64 {
        self.0.to_f64()
    }

    fn from_f64(value: f64) -> Self {
        Self(f32::from_f64(value))
    }

    fn reciprocal(ranks: u32) -> Self {
        Self(f32::reciprocal(ranks))
    }

    fn scaled(multiple: i64, exponent: i32) -> Self {
        Self(f32::scaled(multiple, exponent))
    }

    fn widen(self) -> f64 {
        self.0.widen()
    }

    fn combine_wide(op: Op, a: f64, b: f64) -> f64 {
        f32::combine_wide(op, a, b)
    }

    fn mean_wide(sum: f64, ranks: u32) -> f64 {
        f32::mean_wide(sum, ranks)
    }

    fn holds(reference: f64) -> bool {
        f32::holds(reference)
    }

    fn wide_to_f64(reference: f64) -> f64 {
        reference
    }

    fn error(self, reference: f64) -> f64 {
        self.0.error(reference)
    }

    fn ulp_error(self, reference: f64) -> f64 {
        self.0.ulp_error(reference)
    }
}

#[test]
fn a_panic_in_one_worker_ends_the_launch_and_no_more() {
    let proved = ring(Algorithm::Ring, 4, SyncStyle::Neighbor, false);
    let payload = payload(&proved, 100);
    for (spread, workers) in [(Spread::Lanes, 3), (Spread::Channels, 2), (Spread::Auto, 1)] {
        let mut executor = Executor::new(&proved, payload.count, Op::Sum, &options(spread, workers, Some(2))).unwrap();
        for broken in [false, true, false] {
            let mut inputs = vec![vec![Fragile(1.0); 100]; 4];
            if broken {
                inputs[2][60] = Fragile(1e7);
            }
            let inputs: Vec<&[Fragile]> = inputs.iter().map(|input| &input[..]).collect();
            let mut outputs = vec![vec![Fragile::poison(); 100]; 4];
            let mut outputs: Vec<&mut [Fragile]> = outputs.iter_mut().map(|output| &mut output[..]).collect();
            let outcome = executor.run(&inputs, &mut outputs);
            if broken {
                assert!(matches!(outcome, Err(RunError::Panicked)), "{outcome:?}");
            } else {
                outcome.unwrap();
                assert!(outputs.iter().all(|output| output.iter().all(|&x| x == Fragile(4.0))));
            }
        }
    }
}

/// Of many in a row, where the last elements are another thread's.
#[test]
#[cfg_attr(miri, ignore = "a minute")]
fn a_panic_among_launches_in_a_row_ends_one_of_them() {
    let proved = ring(Algorithm::Direct, 4, SyncStyle::Neighbor, false);
    let count = 9000;
    let mut executor = Executor::new(&proved, count, Op::Sum, &Options::default()).unwrap();
    let good = vec![vec![Fragile(1.0); count]; 4];
    let mut bad = good.clone();
    bad[2][count - 1] = Fragile(1e7);
    let mut outputs = vec![vec![Fragile::poison(); count]; 4];
    for launch in 0..60 {
        let inputs = if launch % 20 == 19 { &bad } else { &good };
        let inputs: Vec<&[Fragile]> = inputs.iter().map(|input| &input[..]).collect();
        let mut outputs: Vec<&mut [Fragile]> = outputs.iter_mut().map(|output| &mut output[..]).collect();
        let outcome = executor.run(&inputs, &mut outputs);
        assert_eq!(matches!(outcome, Err(RunError::Panicked)), launch % 20 == 19, "{launch}: {outcome:?}");
    }
    assert!(outputs.iter().all(|output| output[..count - 1].iter().all(|&x| x == Fragile(4.0))));
}

/// What is loaded stays for any number of launches, and is fetched when it is wanted.
#[test]
fn resident_buffers_are_launched_over() {
    let shape = Shape::new(3, DataType::F32, Op::Sum);
    let options = Options::default();
    for in_place in [false, true] {
        let proved = ring(Algorithm::Ring, 2, SyncStyle::Neighbor, in_place);
        let mut ready = Cpu::new().prepare(&proved, shape, &options).unwrap();
        assert!(matches!(ready.launch(), Err(RunError::NotLoaded)));
        let (inputs, mut outputs) = (vec![vec![1.0_f32, 2.0, 3.0], vec![10.0, 20.0, 30.0]], vec![vec![0.0_f32; 3]; 2]);
        let inputs: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
        assert!(matches!(ready.load(1, &inputs), Err(RunError::NoSuchPiece { piece: 1, pieces: 1 })));
        assert!(ready.load(0, &inputs[..1]).is_err());
        ready.load(0, &inputs).unwrap();
        let mut fetch = |ready: &mut <Cpu as Backend>::Ready| {
            let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|x| bytemuck::cast_slice_mut(x)).collect();
            ready.fetch(&mut views).map(|()| outputs[1].clone())
        };
        assert!(matches!(fetch(&mut ready), Err(RunError::NotLaunched)));
        assert_eq!(ready.time(2).unwrap().len(), 2);
        // In place the first launch's outputs were the second's inputs.
        let factor = if in_place { 2.0 } else { 1.0 };
        assert_eq!(fetch(&mut ready).unwrap(), [11.0, 22.0, 33.0].map(|x| factor * x));
        ready.load(0, &inputs).unwrap();
        assert!(matches!(fetch(&mut ready), Err(RunError::NotLaunched)), "those are other inputs");
        assert!(ready.launch().unwrap().time.is_some());
        assert_eq!(fetch(&mut ready).unwrap(), [11.0, 22.0, 33.0]);
    }
}

/// Of a launch that failed, and of inputs that were refused, nothing is left to be fetched or launched over by mistake.
#[test]
fn nothing_is_loaded_after_an_error() {
    let (shape, fault) = (Shape::new(3, DataType::F32, Op::Sum), Fault::DropNotify { rank: 0, row: 1 });
    for in_place in [false, true] {
        let proved = ring(Algorithm::Ring, 2, SyncStyle::Neighbor, in_place);
        let buffer: &[u8] = bytemuck::cast_slice(&[1.0_f32; 3]);
        let fetch = |ready: &mut <Cpu as Backend>::Ready| {
            let mut outputs = [[0.0_f32; 3]; 2];
            let fetched = ready.fetch(&mut outputs.each_mut().map(|output| bytemuck::cast_slice_mut(output)));
            assert!(matches!(fetched, Err(RunError::NotLaunched)), "{in_place}: {fetched:?}");
        };
        let mut ready = Cpu::new().prepare(&proved, shape, &Options::default().fault(fault)).unwrap();
        ready.load(0, &[buffer; 2]).unwrap();
        let launched = ready.launch();
        assert!(matches!(launched, Err(RunError::Hang(_))), "{in_place}: {launched:?}");
        fetch(&mut ready);
        // In place they hold half of a sum.
        match ready.launch() {
            Err(RunError::NotLoaded) => assert!(in_place),
            again => assert!(!in_place && matches!(again, Err(RunError::Hang(_))), "{again:?}"),
        }
        for wrong in [&[buffer; 1][..], &[buffer, &buffer[..8]]] {
            let mut ready = Cpu::new().prepare(&proved, shape, &Options::default()).unwrap();
            ready.load(0, &[buffer; 2]).unwrap();
            ready.launch().unwrap();
            assert!(ready.load(0, wrong).is_err());
            fetch(&mut ready);
            assert!(matches!(ready.launch(), Err(RunError::NotLoaded)));
        }
    }
}

/// Buffers without elements may begin anywhere.
#[test]
fn nothing_is_done_where_there_is_nothing() {
    let proved = ring(Algorithm::Ring, 2, SyncStyle::Neighbor, false);
    let bytes = [0_u8; 8];
    let odd = (0..8).find(|&at| !bytes[at..].as_ptr().cast::<f32>().is_aligned()).unwrap();
    for options in [Options::default(), options(Spread::Channels, 2, None), options(Spread::Auto, 1, Some(2))] {
        let mut ready = Cpu::new().prepare(&proved, Shape::new(0, DataType::F32, Op::Sum), &options).unwrap();
        let (input, mut outputs) = (&bytes[odd..odd], [[0_u8; 8]; 2]);
        ready.run(&[input; 2], &mut outputs.each_mut().map(|output| &mut output[odd..odd])).unwrap();
    }
}

#[test]
fn options_of_other_executors_are_refused() {
    let proved = ring(Algorithm::Ring, 2, SyncStyle::Neighbor, false);
    let shape = Shape::new(3, DataType::F32, Op::Sum);
    for (options, text) in [
        (Options::default().dispatch(Mode::PerStep), "the CPU executor has no dispatch modes; leave it out"),
        (Options::default().protocol(Protocol::Ll), "the CPU executor has no protocol but simple; leave it out"),
        (Options::default().arena_bytes(1 << 20), "the CPU executor has no arenas; leave it out"),
        (Options::default().workgroups(4), "the CPU executor has no workgroups; leave it out"),
    ] {
        assert_eq!(Cpu::new().prepare(&proved, shape, &options).unwrap_err().to_string(), text);
    }
}
