//! Every collective gives what NCCL's does, bit for bit: every number of ranks, root, count and placement on the CPU
//! executor (on devices: `tests/device/matrix.rs`); schedules of one's own, everywhere; and the upstream kernels' own test.

use wgccl::backend::{Options, Spread};
use wgccl::collective::{Collective, Op, Task};
use wgccl::cpu;
use wgccl::error::{RunError, UserBuffer};
use wgccl::golden::compare;
use wgccl::low_level::inputs::{Fill, generate_parts};
use wgccl::low_level::payload::Payload;
use wgccl::proof::{self, Proof, Proved, prove};
use wgccl::schedule::{Address, Algorithm, BuildError, Instruction, Lane, Schedule, SyncStyle, build};

use crate::common::{Variant, other_variants, variants};

const COUNTS: [usize; 4] = [1, 3, 17, 256];
/// Recognisable, and nothing that a test computes.
const STALE: f32 = -12345.0;

fn counts(collective: Collective) -> &'static [usize] {
    if collective == Collective::Barrier { &[0] } else { &COUNTS }
}

/// With two chunks in a part, through slots, in instructions that reach over several parts: what `mesh` does not have.
fn staged(variant: Variant) -> Option<Schedule> {
    const CHUNKS: u32 = 2;
    let (ranks, all) = (variant.ranks, CHUNKS * variant.ranks);
    let peers = |rank| (0..ranks).filter(move |&peer| peer != rank);
    let step = |round| Instruction::new(("move", round));
    let mut schedule = Schedule::new("staged", variant.collective, ranks, CHUNKS).slots(all).signal_rows(1);
    for rank in 0..ranks {
        let (stage, fetch) = match variant.collective {
            // Into all ranks' slots, and out of the own ones.
            Collective::AllGather => {
                let push = step(1).copy(Address::input(rank, 0)).chunks(CHUNKS);
                let push = (0..ranks).fold(push, |push, peer| push.to(Address::slot(peer, CHUNKS * rank)));
                (push, vec![step(2).copy(Address::slot(rank, 0)).to(Address::output(rank, 0)).chunks(all)])
            }
            // Into the own slots, and out of all ranks'.
            Collective::AllToAll => {
                let fetch = |peer| {
                    let (from, to) = (Address::slot(peer, CHUNKS * rank), Address::output(rank, CHUNKS * peer));
                    step(2).copy(from).to(to).chunks(CHUNKS)
                };
                let stage = step(1).copy(Address::input(rank, 0)).to(Address::slot(rank, 0)).chunks(all);
                (stage, (0..ranks).map(fetch).collect())
            }
            _ => return None,
        };
        let stage = peers(rank).fold(stage, |stage, peer| stage.notify(peer, 0));
        let barrier = peers(rank).fold(step(2), |barrier, peer| barrier.wait(0, peer));
        schedule = schedule.lane(fetch.into_iter().fold(Lane::new(rank).with(stage).with(barrier), Lane::with));
    }
    Some(schedule)
}

/// The variant's own schedule, and the staged one of the same collective.
fn both(variant: Variant) -> impl Iterator<Item = Proved> {
    let staged = staged(variant)
        .map(|schedule| prove(schedule, variant.options()).unwrap_or_else(|error| panic!("staged {variant}: {error}")));
    std::iter::once(proved(variant)).chain(staged)
}

fn proved(variant: Variant) -> Proved {
    prove(variant.schedule(), variant.options()).unwrap_or_else(|error| panic!("{variant}: {error}"))
}

fn inputs(schedule: &Schedule, fill: Fill, count: usize) -> Vec<Vec<f32>> {
    let mut inputs = vec![Vec::new(); schedule.ranks as usize];
    (0..).zip(&mut inputs).for_each(|(rank, input)| generate_parts(input, schedule, fill, 7, rank, count));
    inputs
}

/// What a launch is given: outputs, or in place the buffers, by the rules that this test knows by itself.
fn buffers(variant: Variant, count: usize, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    (0..variant.ranks)
        .map(|rank| {
            let (gives, gets) = variant.nccl().parts(rank);
            if !variant.in_place {
                return vec![STALE; gets as usize * count];
            }
            let (first, _) = variant.nccl().in_place(rank).unwrap();
            let mut buffer = vec![STALE; gives.max(gets) as usize * count];
            let input = &inputs[rank as usize];
            buffer[first as usize * count..][..input.len()].copy_from_slice(input);
            buffer
        })
        .collect()
}

/// Outputs are as promised, and in place everything that is not output is as it was.
fn judge(variant: Variant, count: usize, inputs: &[Vec<f32>], buffers: &[Vec<f32>], before: &[Vec<f32>], case: &str) {
    for rank in 0..variant.ranks {
        let (nccl, buffer) = (variant.nccl(), &buffers[rank as usize]);
        let expected = nccl.output(rank, count, inputs);
        let first = if variant.in_place { nccl.in_place(rank).unwrap().1 as usize * count } else { 0 };
        assert_eq!(buffer[first..][..expected.len()], expected, "{case}: rank {rank}");
        let rest = |buffer: &[f32]| [&buffer[..first], &buffer[first + expected.len()..]].concat();
        assert_eq!(rest(buffer), rest(&before[rank as usize]), "{case}: rank {rank} outside its output");
    }
}

fn slices(vectors: &[Vec<f32>]) -> Vec<&[f32]> {
    vectors.iter().map(Vec::as_slice).collect()
}

fn slices_mut(vectors: &mut [Vec<f32>]) -> Vec<&mut [f32]> {
    vectors.iter_mut().map(Vec::as_mut_slice).collect()
}

/// The library's own judgement of the same launch: the golden of the schedule's own order.
fn compares(proved: &Proved, payload: &Payload, inputs: &[Vec<f32>], buffers: &[Vec<f32>], case: &str) {
    let extents = proved.extents(payload.count);
    let outputs: Vec<&[f32]> = (0..).zip(buffers).map(|(rank, buffer)| &buffer[extents.output(rank)]).collect();
    let comparison = compare(proved, payload, Op::Sum, &slices(inputs), &outputs).unwrap();
    let identical = comparison.bit_identical || !proved.report().holds(Proof::BitIdentical);
    assert!(comparison.wrong == 0 && identical, "{case}: {comparison:?}");
}

fn on_cpu(variant: Variant, proved: &Proved) {
    for &count in counts(variant.collective) {
        let payload = Payload::new(proved.schedule(), count, 4).unwrap();
        for (spread, channels) in [(Spread::Auto, None), (Spread::Lanes, Some(2)), (Spread::Channels, Some(3))] {
            let options = Options::default().workers(2).spread(spread).channels(channels);
            let mut executor = cpu::Executor::new(proved, payload.count, Op::Sum, &options).unwrap();
            // Random sums depend on the order, which only the library's golden knows.
            for fill in [Fill::Exact, Fill::Normal] {
                let inputs = inputs(proved.schedule(), fill, count);
                let before = buffers(variant, count, &inputs);
                let mut after = before.clone();
                let case = format!("{} {variant}, {count} elements, {spread:?}", proved.schedule().origin);
                match variant.in_place {
                    true => executor.run_in_place(&mut slices_mut(&mut after)),
                    false => executor.run(&slices(&inputs), &mut slices_mut(&mut after)),
                }
                .unwrap_or_else(|error| panic!("{case}: {error}"));
                compares(proved, &payload, &inputs, &after, &case);
                if fill == Fill::Exact {
                    judge(variant, count, &inputs, &after, &before, &case);
                }
            }
        }
    }
}

#[test]
fn every_collective_is_nccls_on_the_cpu() {
    for variant in other_variants(1..=8).into_iter().chain(variants([1, 2, 3, 8])) {
        both(variant).for_each(|proved| on_cpu(variant, &proved));
    }
}

/// `tests/device/matrix.rs` has every collective of the library on every device; these are schedules that the library does not
/// have, in every sound mode; counts that fit, that pad every part, and that go in pieces.
#[cfg(feature = "gpu")]
#[test]
fn staged_schedules_are_nccls_on_every_device() {
    use crate::common::devices::{Typed, devices, one_at_a_time};

    let _turn = one_at_a_time();
    let variants: Vec<Variant> =
        other_variants([1, 2, 5, 8]).into_iter().filter(|variant| variant.algorithm == Algorithm::Mesh).collect();
    for device in devices() {
        let mut cases = 0;
        for (variant, schedule) in variants.iter().filter_map(|&variant| Some((variant, staged(variant)?))) {
            let proved = prove(schedule, variant.options()).unwrap_or_else(|error| panic!("{variant}: {error}"));
            for (count, arena_bytes) in [(1, None), (256, None), (1001, None), (1001, Some(16 << 10))] {
                let payload = Payload::new(proved.schedule(), count, 4).unwrap();
                // Every mode shows addresses as well as the other: they take turns, so that each meets every count.
                let ways = device.sound();
                let way = ways[(cases + cases / 4) % ways.len()];
                cases += 1;
                let options = way.options().arena_bytes(arena_bytes);
                let name = &proved.schedule().origin;
                let case = format!("{} {way} {name} {variant}, {count} elements, {arena_bytes:?}", device.name);
                let mut executor = Typed::new(&device.gpu, &proved, count, Op::Sum, options)
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                for fill in [Fill::Exact, Fill::Normal] {
                    let inputs = inputs(proved.schedule(), fill, count);
                    let before = buffers(variant, count, &inputs);
                    let mut after = before.clone();
                    match variant.in_place {
                        true => executor.run_in_place(&mut slices_mut(&mut after)),
                        false => executor.run(&slices(&inputs), &mut slices_mut(&mut after)),
                    }
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                    compares(&proved, &payload, &inputs, &after, &case);
                    if fill == Fill::Exact {
                        judge(variant, count, &inputs, &after, &before, &case);
                    }
                }
            }
        }
        println!("{}: {cases} cases, two launches each", device.name);
    }
}

/// The upstream kernels' test: their inputs, their formulas, their counts, up to their largest number of ranks.
#[test]
fn upstream_goldens() {
    for (collective, count) in [
        (Collective::AllReduce, 256),
        (Collective::AllGather, 64),
        (Collective::ReduceScatter, 64),
        (Collective::Broadcast, 64),
        (Collective::AllToAll, 64),
    ] {
        for algorithm in Algorithm::of(collective) {
            for ranks in 2..=16_u32 {
                let root = ranks / 2;
                let task = Task::from(collective).root(root);
                let Ok(schedule) = build(task, algorithm, ranks, SyncStyle::Neighbor) else { continue };
                let proved = prove(schedule, proof::Options::default()).unwrap();
                let inputs = inputs(proved.schedule(), Fill::Pattern, count);
                let (p, n) = (f64::from(ranks), count);
                let all = 100.0 * p * (p - 1.0) / 2.0;
                let expected = |rank: usize, i: usize| match collective {
                    Collective::AllReduce => p * i as f64 + all,
                    Collective::AllGather => (100 * (i / n) + i % n) as f64,
                    Collective::ReduceScatter => p * (rank * n + i) as f64 + all,
                    Collective::Broadcast => f64::from(100 * root) + i as f64,
                    _ => (1000 * (i / n) + 100 * rank + i % n) as f64,
                };
                let payload = Payload::new(proved.schedule(), count, 4).unwrap();
                let extents = proved.extents(count);
                let mut outputs: Vec<Vec<f32>> =
                    (0..ranks).map(|rank| vec![STALE; extents.len(UserBuffer::Output, rank)]).collect();
                let mut executor = cpu::Executor::new(&proved, payload.count, Op::Sum, &Options::default()).unwrap();
                executor.run(&slices(&inputs), &mut slices_mut(&mut outputs)).unwrap();
                for (rank, output) in outputs.iter().enumerate() {
                    assert!(!output.is_empty());
                    for (i, &got) in output.iter().enumerate() {
                        assert_eq!(f64::from(got), expected(rank, i), "{collective} {algorithm} {ranks}: {rank} {i}");
                    }
                }
            }
        }
    }
}

/// Any rank may receive from any other, several from one, and a rank from itself.
#[test]
fn send_recv_goes_where_it_is_told() {
    for sources in [vec![1, 0], vec![0, 1, 2], vec![2, 2, 0, 1], vec![3, 2, 1, 0]] {
        let schedule =
            build(Task::send_recv(sources.clone()), Algorithm::Mesh, sources.len() as u32, SyncStyle::Neighbor);
        let proved = prove(schedule.unwrap(), proof::Options::default()).unwrap();
        let inputs = inputs(proved.schedule(), Fill::Normal, 5);
        let payload = Payload::new(proved.schedule(), 5, 4).unwrap();
        let mut outputs = vec![vec![STALE; 5]; sources.len()];
        let mut executor = cpu::Executor::new(&proved, payload.count, Op::Sum, &Options::default()).unwrap();
        executor.run(&slices(&inputs), &mut slices_mut(&mut outputs)).unwrap();
        let expected: Vec<_> = sources.iter().map(|&source| inputs[source as usize].clone()).collect();
        assert_eq!(outputs, expected, "{sources:?}");
    }
}

#[test]
fn what_does_not_exist_is_refused_by_name() {
    let text = |task: Task, algorithm, sync| build(task, algorithm, 4, sync).unwrap_err().to_string();
    assert_eq!(
        text(Collective::Barrier.into(), Algorithm::RingExchange, SyncStyle::Neighbor),
        "there is no barrier by ring-exchange; choose one of: mesh, dissemination"
    );
    assert!(text(Collective::AllReduce.into(), Algorithm::Mesh, SyncStyle::Neighbor).contains("ring, ring-staged"));
    assert!(
        text(Task::from(Collective::Reduce).root(4), Algorithm::Mesh, SyncStyle::Neighbor).contains("root 4 is not")
    );
    assert!(text(Collective::Scatter.into(), Algorithm::Mesh, SyncStyle::Barrier).contains("leave --sync out"));
    for &collective in Collective::ALL {
        // Of several the one with the fewest steps, and the all-reduce's as ever.
        let default = if collective == Collective::AllReduce { Algorithm::Ring } else { Algorithm::Mesh };
        assert_eq!(Algorithm::default_of(collective), default);
        assert_eq!(Algorithm::of(collective)[0], default);
        assert!(!matches!(
            build(collective, Algorithm::default_of(collective), 4, SyncStyle::Neighbor),
            Err(BuildError::Pair { .. })
        ));
        if !collective.has_in_place() {
            let schedule = build(collective, Algorithm::default_of(collective), 4, SyncStyle::Neighbor).unwrap();
            let refused = prove(schedule, proof::Options::default().in_place(true)).unwrap_err().to_string();
            assert!(refused.contains("has no form in place"), "{refused}");
        }
    }
}

/// Buffers that do not fit are named with what they must be.
#[test]
fn buffers_of_the_wrong_length_are_refused() {
    let launch = |collective: Collective, in_place: bool, inputs: &[usize], outputs: &[usize]| {
        let schedule = build(Task::from(collective).root(1), Algorithm::Mesh, 2, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, proof::Options::default().in_place(in_place)).unwrap();
        let payload = Payload::new(proved.schedule(), 3, 4).unwrap();
        let mut executor = cpu::Executor::new(&proved, payload.count, Op::Sum, &Options::default()).unwrap();
        let of = |lengths: &[usize]| lengths.iter().map(|&length| vec![STALE; length]).collect::<Vec<_>>();
        let (inputs, mut outputs) = (of(inputs), of(outputs));
        match in_place {
            true => executor.run_in_place(&mut slices_mut(&mut outputs)),
            false => executor.run(&slices(&inputs), &mut slices_mut(&mut outputs)),
        }
        .map_err(|error: RunError| error.to_string())
    };
    for (collective, in_place, inputs, outputs, text) in [
        (Collective::AllGather, false, &[3, 3][..], &[6, 6][..], None),
        (
            Collective::AllGather,
            false,
            &[3, 3],
            &[6, 3],
            Some("the output of rank 1 has 3 elements, but it must have 6: 2 parts of the payload's 3"),
        ),
        (
            Collective::AllGather,
            false,
            &[3],
            &[6, 6],
            Some("1 inputs for 2 ranks; give one for each rank, empty where it has none"),
        ),
        (Collective::AllGather, true, &[], &[6, 6], None),
        (Collective::AllGather, true, &[], &[6, 3], Some("the buffer of rank 1 has 3 elements, but it must have 6")),
        (
            Collective::ReduceScatter,
            false,
            &[6, 6],
            &[3, 6],
            Some("the output of rank 1 has 6 elements, but the payload has 3"),
        ),
        (Collective::Broadcast, false, &[0, 3], &[3, 3], None),
        (
            Collective::Broadcast,
            false,
            &[3, 3],
            &[3, 3],
            Some("the input of rank 0 has 3 elements, but this rank has none in the collective; give an empty one"),
        ),
        (Collective::Gather, true, &[], &[3, 6], None),
        (Collective::Gather, true, &[], &[6, 6], Some("the buffer of rank 0 has 6 elements, but the payload has 3")),
    ] {
        let result = launch(collective, in_place, inputs, outputs);
        match text {
            None => result.unwrap(),
            Some(text) => assert!(result.as_ref().is_err_and(|error| error.contains(text)), "{collective}: {result:?}"),
        }
    }
}
