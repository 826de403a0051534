//! The whole product: collective by algorithm and sync, element type, operation, in and out of place, ranks, root, count,
//! device and dispatch mode. Every case is launched twice on one window, with different inputs, and every output is held
//! against the golden in every bit; where no rounding depends on an order, also against NCCL's manual.
//!
//! The product has hundreds of thousands of cases on every device. It is thinned by this rule: **on every device, every
//! two values of any two axes that go together at all meet in at least one case that is run; and, with several ranks, every
//! schedule meets every type with every operation, and so does every mode.** What does not go together is what the library
//! refuses, each by the name of its reason. What the cases covered is counted after they were run, and held against the
//! whole product.
//!
//! Other tests show what two launches of a case do not: faults, limits, edge values, every count, hundreds of ranks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use wgccl::backend::{Options, Ready, Spread};
use wgccl::collective::{Collective, Op, Task};
use wgccl::cpu;
use wgccl::element::{DataType, Element, bf16, f8e4m3, f8e5m2, f16, supported};
use wgccl::error::PrepareError;
use wgccl::golden::compare;
use wgccl::low_level::inputs::{Fill, generate_parts};
use wgccl::low_level::payload::{Payload, VECTOR_BYTES};
use wgccl::lower::LowerError;
use wgccl::lower::Mode;
use wgccl::proof::{Proof, Proved, prove};
use wgccl::schedule::{Algorithm, BuildError, SyncStyle, build};

use crate::common::cover::{Meet, covered, design, pairs};
use crate::common::devices::{Device, Typed, Way, devices, one_at_a_time};
use crate::common::{Variant, defined};

/// The axes of a case, which is a number on each.
const FAMILY: usize = 0;
const TYPE: usize = 1;
const OP: usize = 2;
const PLACE: usize = 3;
const RANK: usize = 4;
const ROOT: usize = 5;
const COUNT: usize = 6;
const MODE: usize = 7;
const AXES: usize = 8;

type Case = [usize; AXES];

/// A kernel that no case had before is compiled in the time of many launches: it must bring more than one meeting more.
const KERNEL_PRICE: usize = 1;

const RANKS: [u32; 7] = [1, 2, 3, 4, 5, 8, 16];

const COUNTS: [Count; 7] =
    [Count::Nothing, Count::Of(1), Count::Of(3), Count::Of(255), Count::Of(1000), Count::Of(4099), Count::InPieces];

/// Elements of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    /// Of a barrier.
    Nothing,
    Of(usize),
    /// As many as go in three pieces through an arena that is small enough. A CPU has no arena.
    InPieces,
}

/// Vectors of a chunk of a payload that goes in pieces, and how many of them the arena has room for.
const IN_PIECES: (usize, usize) = (8, 3);

/// Which rank is the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// No rank is.
    None,
    First,
    Middle,
    Last,
}

const ROOTS: [Root; 4] = [Root::None, Root::First, Root::Middle, Root::Last];

impl Root {
    /// Nothing, where that is no root or another one's name for it.
    fn of(self, collective: Collective, ranks: u32) -> Option<u32> {
        let rooted = collective.has_root();
        match self {
            Self::None => (!rooted).then_some(0),
            Self::First => rooted.then_some(0),
            Self::Middle => (rooted && ranks > 2).then_some(ranks / 2),
            Self::Last => (rooted && ranks > 1).then_some(ranks - 1),
        }
    }
}

/// Where a case is run.
enum Target {
    /// With so many channels, and this is who runs what.
    Cpu([(Spread, Option<u32>); 3]),
    Gpu(&'static Device, Vec<Way>),
}

impl Target {
    fn all() -> Vec<Self> {
        let cpu = Self::Cpu([(Spread::Auto, None), (Spread::Lanes, Some(2)), (Spread::Channels, Some(3))]);
        let gpus = devices().iter().map(|device| Self::Gpu(device, device.sound()));
        std::iter::once(cpu).chain(gpus).collect()
    }

    fn name(&self) -> &str {
        match self {
            Self::Cpu(_) => "CPU",
            Self::Gpu(device, _) => &device.name,
        }
    }

    fn modes(&self) -> usize {
        match self {
            Self::Cpu(spreads) => spreads.len(),
            Self::Gpu(_, modes) => modes.len(),
        }
    }
}

fn gpu_options(way: Way, arena_bytes: Option<u64>) -> Options {
    way.options().arena_bytes(arena_bytes)
}

enum Executor<T: Element> {
    Cpu(Box<cpu::Executor<T>>),
    Gpu(Box<Typed<T>>),
}

impl<T: Element> Executor<T> {
    fn new(
        target: &Target,
        proved: &Proved,
        payload: Payload,
        op: Op,
        mode: usize,
        arena_bytes: Option<u64>,
    ) -> Result<Self, String> {
        match target {
            Target::Cpu(spreads) => {
                let (spread, channels) = spreads[mode];
                let options = Options::default().workers(2).spread(spread).channels(channels);
                cpu::Executor::new(proved, payload.count, op, &options)
                    .map(Box::new)
                    .map(Self::Cpu)
                    .map_err(|error| error.to_string())
            }
            Target::Gpu(device, modes) => {
                let options = gpu_options(modes[mode], arena_bytes);
                let executor = Typed::new(&device.gpu, proved, payload.count, op, options);
                executor.map(Box::new).map(Self::Gpu).map_err(|error| error.to_string())
            }
        }
    }

    /// In place where there are no inputs.
    fn run(&mut self, inputs: Option<&[&[T]]>, buffers: &mut [&mut [T]]) -> Result<(), String> {
        match (self, inputs) {
            (Self::Cpu(executor), Some(inputs)) => executor.run(inputs, buffers).map_err(|error| error.to_string()),
            (Self::Cpu(executor), None) => executor.run_in_place(buffers).map_err(|error| error.to_string()),
            (Self::Gpu(executor), Some(inputs)) => {
                executor.run(inputs, buffers).map(drop).map_err(|error| error.to_string())
            }
            (Self::Gpu(executor), None) => executor.run_in_place(buffers).map(drop).map_err(|error| error.to_string()),
        }
    }
}

/// Runs an expression with the Rust type of a [`DataType`].
macro_rules! with_type {
    ($data_type:expr, $T:ident => $run:expr) => {
        match $data_type {
            DataType::F32 => with_type!(@ f32, $T => $run),
            DataType::F16 => with_type!(@ f16, $T => $run),
            DataType::BF16 => with_type!(@ bf16, $T => $run),
            DataType::F64 => with_type!(@ f64, $T => $run),
            DataType::F8E4M3 => with_type!(@ f8e4m3, $T => $run),
            DataType::F8E5M2 => with_type!(@ f8e5m2, $T => $run),
            DataType::I32 => with_type!(@ i32, $T => $run),
            DataType::U32 => with_type!(@ u32, $T => $run),
            DataType::I64 => with_type!(@ i64, $T => $run),
            DataType::U64 => with_type!(@ u64, $T => $run),
            DataType::I8 => with_type!(@ i8, $T => $run),
            DataType::U8 => with_type!(@ u8, $T => $run),
            other => panic!("{other} has no line here"),
        }
    };
    (@ $type:ty, $T:ident => $run:expr) => {{
        type $T = $type;
        $run
    }};
}

/// A proved schedule.
struct Schedule {
    variant: Variant,
    proved: Proved,
    /// Whether it can average.
    scalable: bool,
    /// Operands and destinations of its instructions, for which kernels are made.
    shapes: BTreeSet<(usize, usize)>,
}

/// The schedules of the product, by their numbers on the axes that they take up.
struct Product {
    families: Vec<(Collective, Algorithm, SyncStyle)>,
    schedules: BTreeMap<[usize; 4], Schedule>,
}

impl Product {
    /// Every combination is asked for; what is missing was refused by the name of its reason.
    fn new() -> Self {
        let mut families = Vec::new();
        for &collective in Collective::ALL {
            for (&algorithm, &sync) in Algorithm::ALL.iter().flat_map(|a| SyncStyle::ALL.iter().map(move |s| (a, s))) {
                match build(collective, algorithm, 4, sync) {
                    Ok(_) => families.push((collective, algorithm, sync)),
                    Err(BuildError::Pair { .. } | BuildError::Sync { .. }) => {}
                    Err(error) => panic!("{collective} {algorithm} {sync}: {error}"),
                }
            }
        }
        let mut product = Self { families, schedules: BTreeMap::new() };
        for (family, &(collective, algorithm, sync)) in product.families.iter().enumerate() {
            for (rank, &ranks) in RANKS.iter().enumerate() {
                for (root, at) in
                    ROOTS.iter().enumerate().filter_map(|(i, root)| Some((i, root.of(collective, ranks)?)))
                {
                    for place in [0, 1] {
                        let variant = Variant { collective, root: at, algorithm, sync, ranks, in_place: place == 1 };
                        let schedule = Schedule::new(variant).map(|schedule| ([family, place, rank, root], schedule));
                        product.schedules.extend(schedule);
                    }
                }
            }
        }
        product
    }

    fn schedule(&self, case: &Case) -> &Schedule {
        &self.schedules[&[case[FAMILY], case[PLACE], case[RANK], case[ROOT]]]
    }

    /// Every case that there is on a device with so many modes.
    fn cases(&self, modes: usize) -> Vec<Case> {
        let mut cases = Vec::new();
        for (&[family, place, rank, root], schedule) in &self.schedules {
            let collective = schedule.variant.collective;
            let counts = COUNTS.iter().enumerate();
            let fits = |count: &Count| (*count == Count::Nothing) == (collective == Collective::Barrier);
            for (count, _) in counts.filter(|(_, count)| fits(count)) {
                for (data_type, op, mode) in operations(schedule)
                    .into_iter()
                    .flat_map(|(data_type, op)| (0..modes).map(move |mode| (data_type, op, mode)))
                {
                    cases.push([family, data_type, op, place, rank, root, count, mode]);
                }
            }
        }
        cases
    }
}

/// Numbers of types with those of their operations. Where nothing is combined there is only one, and it says nothing.
fn operations(schedule: &Schedule) -> Vec<(usize, usize)> {
    let pairs = (0..DataType::ALL.len()).flat_map(|data_type| (0..Op::ALL.len()).map(move |op| (data_type, op)));
    let has = |&(data_type, op): &(usize, usize)| match (schedule.variant.collective.reduces(), Op::ALL[op]) {
        (false, _) => op == 0,
        (true, Op::Avg) if !schedule.scalable => false,
        (true, op) => supported(DataType::ALL[data_type], op).is_ok(),
    };
    pairs.filter(has).collect()
}

impl Schedule {
    fn new(variant: Variant) -> Option<Self> {
        let task = Task::from(variant.collective).root(variant.root);
        let schedule = match build(task, variant.algorithm, variant.ranks, variant.sync) {
            Err(BuildError::PowerOfTwo { .. }) if !defined(variant.algorithm, variant.ranks) => return None,
            built => built.unwrap_or_else(|error| panic!("{variant}: {error}")),
        };
        let proved = match prove(schedule, variant.options()) {
            Ok(proved) => proved,
            Err(refused) => {
                let named = refused.to_string().contains("has no form in place");
                assert!(named && variant.in_place && variant.nccl().in_place(0).is_none(), "{variant}: {refused}");
                return None;
            }
        };
        let scalable = variant.collective.reduces() && {
            let payload = Payload::new(proved.schedule(), 1, 4).unwrap();
            match cpu::Executor::<f32>::new(&proved, payload.count, Op::Avg, &Options::default()) {
                Ok(_) => true,
                Err(PrepareError::Unscalable(_)) if variant.in_place => false,
                Err(error) => panic!("{variant}: {error}"),
            }
        };
        let instructions = proved.schedule().lanes.iter().flat_map(|lane| &lane.instructions);
        let shapes =
            instructions.map(|i| (i.from.len(), i.to.len())).filter(|&(from, to)| from > 0 && to > 0).collect();
        Some(Self { variant, proved, scalable, shapes })
    }
}

/// What the product lacks is refused on `target` as well.
fn refuses(target: &Target, product: &Product) {
    for schedule in product.schedules.values().filter(|schedule| schedule.variant.collective.reduces()) {
        let payload = |bytes| Payload::new(schedule.proved.schedule(), 1, bytes).unwrap();
        if !schedule.scalable {
            let refused = Executor::<f32>::new(target, &schedule.proved, payload(4), Op::Avg, 0, None).err().unwrap();
            assert!(refused.starts_with("avg in place is refused"), "{}: {refused}", schedule.variant);
        }
        for &data_type in DataType::ALL.iter().filter(|data_type| !data_type.is_float()) {
            let payload = payload(data_type.bytes());
            let refused = with_type!(data_type, T => {
                Executor::<T>::new(target, &schedule.proved, payload, Op::Avg, 0, None).err().unwrap()
            });
            assert!(refused.starts_with(&format!("avg of {data_type} is refused")), "{}: {refused}", schedule.variant);
        }
    }
    let Target::Gpu(device, sound) = target else { return };
    for way in Way::all().filter(|way| !sound.contains(way)) {
        let proved = &product.schedules.values().next().unwrap().proved;
        let refused = Typed::<f32>::new(&device.gpu, proved, 1, Op::Sum, gpu_options(way, None));
        let Err(PrepareError::Lower { error: LowerError::Unsound { .. }, .. }) = refused else {
            panic!("{} {way}", device.name)
        };
    }
}

/// One case, as it is told to a reader.
struct Told<'a>(&'a Target, &'a Schedule, Case);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(target, Schedule { variant, .. }, case) = self;
        let mode: &dyn fmt::Debug = match target {
            Target::Cpu(spreads) => &spreads[case[MODE]],
            Target::Gpu(_, modes) => &modes[case[MODE]],
        };
        let (data_type, op, count) = (DataType::ALL[case[TYPE]], Op::ALL[case[OP]], COUNTS[case[COUNT]]);
        write!(f, "{} {mode:?}: {variant}, {op} of {count:?} {data_type}", target.name())
    }
}

/// Two launches on one window. Returns how many elements came out as on a device without subnormals.
fn twice<T: Element>(target: &Target, schedule: &Schedule, case: &Case) -> u64 {
    let told = Told(target, schedule, *case);
    let Schedule { variant, proved, .. } = schedule;
    let (nccl, op, ranks) = (variant.nccl(), Op::ALL[case[OP]], variant.ranks);
    let count = match COUNTS[case[COUNT]] {
        Count::Nothing => 0,
        Count::Of(count) => count,
        // The last vector of the last chunk is not full.
        Count::InPieces => proved.schedule().chunks as usize * IN_PIECES.0 * (VECTOR_BYTES / size_of::<T>()) - 1,
    };
    let payload = Payload::new(proved.schedule(), count, size_of::<T>()).unwrap();
    let arena_bytes = (COUNTS[case[COUNT]] == Count::InPieces).then(|| {
        let places = proved.address_map().len();
        (places * IN_PIECES.1 * VECTOR_BYTES) as u64
    });
    let mut executor = Executor::<T>::new(target, proved, payload, op, case[MODE], arena_bytes)
        .unwrap_or_else(|error| panic!("{told}: {error}"));
    if let (Executor::Gpu(executor), Some(_)) = (&executor, arena_bytes) {
        assert_eq!(executor.executor.prepared().pieces, 3, "{told}");
    }
    let mut flushed = 0;
    for (seed, fill) in [(1, Fill::Exact), (2, Fill::Normal)] {
        let mut inputs = vec![Vec::new(); ranks as usize];
        (0..).zip(&mut inputs).for_each(|(rank, input)| {
            generate_parts::<T>(input, proved.schedule(), fill, seed, rank, count);
        });
        // Where in its buffer a rank's input and output begin, by the manual and not by the library.
        let first = |rank: u32| if variant.in_place { nccl.in_place(rank).unwrap() } else { (0, 0) };
        let before: Vec<Vec<T>> = (0..ranks)
            .map(|rank| {
                let (gives, gets) = nccl.parts(rank);
                let parts = if variant.in_place { gives.max(gets) } else { gets };
                let mut buffer = vec![T::poison(); parts as usize * count];
                if variant.in_place {
                    let input = &inputs[rank as usize];
                    buffer[first(rank).0 as usize * count..][..input.len()].copy_from_slice(input);
                }
                buffer
            })
            .collect();
        let mut after = before.clone();
        let given: Vec<&[T]> = inputs.iter().map(Vec::as_slice).collect();
        let mut buffers: Vec<&mut [T]> = after.iter_mut().map(Vec::as_mut_slice).collect();
        let launched = executor.run((!variant.in_place).then_some(&given), &mut buffers);
        launched.unwrap_or_else(|error| panic!("{told}, {fill}: {error}"));

        let output = |rank: u32| {
            let start = first(rank).1 as usize * count;
            start..start + nccl.parts(rank).1 as usize * count
        };
        let outputs: Vec<&[T]> = (0..).zip(&after).map(|(rank, buffer)| &buffer[output(rank)]).collect();
        let comparison = compare(proved, &payload, op, &given, &outputs).unwrap();
        let identical = comparison.bit_identical || !proved.report().holds(Proof::BitIdentical);
        assert!(comparison.wrong == 0 && identical, "{told}, {fill}: {comparison:?}");
        flushed += comparison.flushed;

        let orderless = !T::TYPE.is_float()
            || !variant.collective.reduces()
            || matches!(op, Op::Min | Op::Max)
            || (op, fill) == (Op::Sum, Fill::Exact);
        for (rank, output) in (0..ranks).map(|rank| (rank, output(rank))) {
            let bytes = |elements: &[T]| bytemuck::cast_slice::<T, u8>(elements).to_vec();
            let (now, then) = (&after[rank as usize], &before[rank as usize]);
            if orderless {
                let expected = nccl.combined(rank, count, &inputs, |a, b| T::combine(op, a, b));
                let same = bytes(&now[output.clone()]) == bytes(&expected);
                assert!(same, "{told}, {fill}: rank {rank} has not what NCCL gives");
            }
            let rest = |buffer: &[T]| [bytes(&buffer[..output.start]), bytes(&buffer[output.end..])];
            assert!(rest(now) == rest(then), "{told}, {fill}: rank {rank} was written outside its output");
        }
    }
    flushed
}

/// What must meet: see the head of this file.
fn rule() -> Vec<Meet> {
    let of_several_ranks = Some((RANK, 0));
    let mut rule = vec![Meet { axes: vec![FAMILY, TYPE, OP], not: of_several_ranks }];
    rule.push(Meet { axes: vec![TYPE, OP, MODE], not: of_several_ranks });
    rule.extend(pairs(AXES));
    rule
}

/// Runs the thinned product on `target`, and says what it was.
fn run(target: &Target, product: &Product) -> String {
    let start = Instant::now();
    refuses(target, product);
    let whole = product.cases(target.modes());
    let mode = |case: &Case| match target {
        Target::Gpu(_, modes) => Some(modes[case[MODE]]),
        Target::Cpu(_) => None,
    };
    // Data that carries its own flag is moved by one kernel, whatever the shapes.
    let shapes = |case: &Case| (mode(case) != Some(Way::LL)).then(|| &product.schedule(case).shapes);
    let fused = |case: &Case| mode(case).is_some_and(|way: Way| way.mode == Mode::Fused);
    let kernel = |case: &Case| (case[TYPE], case[OP], fused(case), shapes(case));
    let cases = design(&whole, &rule(), kernel, KERNEL_PRICE);
    let (mut done, mut flushed) = (Vec::new(), 0);
    for case in &cases {
        let schedule = product.schedule(case);
        flushed += with_type!(DataType::ALL[case[TYPE]], T => twice::<T>(target, schedule, case));
        done.push(*case);
    }
    assert!(flushed == 0 || matches!(target, Target::Gpu(..)), "the CPU keeps subnormals");
    let (needed, met, name) = (covered(&rule(), &whole), covered(&rule(), &done), target.name());
    let missing: Vec<_> = needed.difference(&met).take(5).collect();
    assert!(missing.is_empty(), "{name}: values that do not meet: {missing:?}");
    assert!(done.len() < whole.len() / 100, "{name}: {} cases are not thinned", done.len());
    let kernels: BTreeSet<_> = done.iter().map(kernel).collect();
    let time = start.elapsed();
    format!(
        "{name}: {} of {} cases, two launches each, by {} kernels, cover {} pairs and triples; {flushed} elements without \
         subnormals; {time:.1?}",
        done.len(),
        whole.len(),
        kernels.len(),
        needed.len(),
    )
}

/// All devices at once: they mostly compile, each on one core.
#[test]
fn all_that_goes_together_agrees_with_the_golden() {
    let _turn = one_at_a_time();
    let product = Product::new();
    let (targets, start) = (Target::all(), Instant::now());
    let lines: Vec<String> = std::thread::scope(|scope| {
        let product = &product;
        let running: Vec<_> = targets.iter().map(|target| scope.spawn(move || run(target, product))).collect();
        running.into_iter().map(|running| running.join().expect("its message stands above")).collect()
    });
    lines.iter().for_each(|line| println!("{line}"));
    println!("{} schedules of {} families; {:.1?}", product.schedules.len(), product.families.len(), start.elapsed());
}
