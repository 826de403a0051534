//! The library inside another wgpu program: recorded into its encoder, over its buffers, on its device, bit for bit.

use wgccl::backend::Options;
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::{DataType, Element, bf16, f8e4m3, f8e5m2, f16};
use wgccl::error::{Error, PrepareError, RunError, SliceError};
use wgccl::fault::Fault;
use wgccl::golden::Goldens;
use wgccl::gpu::{Completion, Gpu, Resident};
use wgccl::low_level::inputs::{Fill, generate_parts};
use wgccl::low_level::payload::Payload;
use wgccl::lower::LowerError;
use wgccl::lower::Mode;
use wgccl::proof::prove;
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, Schedule};
use wgpu::BufferUsages as Usage;

use crate::common::devices::{Device, Way, devices, one_at_a_time};

pub(crate) type Communicator = wgccl::Communicator<Gpu>;

/// A program with a device of its own, with no more than wgpu's default limits where the adapter has them.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
}

/// On every adapter that is under test.
pub(crate) fn hosts() -> Vec<Host> {
    devices().iter().map(host).collect()
}

pub(crate) fn communicator(host: &Host, ranks: u32) -> Communicator {
    Communicator::new(Gpu::adopt(&host.device, &host.queue), ranks)
}

pub(crate) fn host(under_test: &Device) -> Host {
    host_on(&adapter(under_test), under_test)
}

/// The adapter of a device under test, in an instance of its own.
pub(crate) fn adapter(under_test: &Device) -> wgpu::Adapter {
    let info = under_test.gpu.info();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let same = |adapter: &wgpu::Adapter| {
        let other = adapter.get_info();
        let driver = [other.driver, other.driver_info].join(" ").trim().to_owned();
        other.name == info.name && driver == info.driver && other.backend.to_str() == info.backend
    };
    adapters.into_iter().find(same).unwrap()
}

pub(crate) fn host_on(adapter: &wgpu::Adapter, under_test: &Device) -> Host {
    let defaults = wgpu::Limits::default();
    let limits = if defaults.check_limits(&adapter.limits()) { defaults } else { adapter.limits() };
    let request = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&request)).unwrap();
    Host { name: under_test.name.clone(), device, queue }
}

/// Where ranks' slices lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Every slice is a buffer.
    Buffers,
    /// All slices are in one buffer, with gaps between.
    OneBuffer,
}

/// Buffers and the ranges that are the slices of ranks that have one.
pub(crate) struct Slices {
    pub(crate) buffers: Vec<wgpu::Buffer>,
    ranges: Vec<(usize, std::ops::Range<u64>)>,
}

const GAP: u64 = 12;

impl Slices {
    pub(crate) fn new(host: &Host, place: Place, contents: &[Vec<u8>]) -> Self {
        let having = contents.iter().filter(|bytes| !bytes.is_empty());
        let usage = Usage::COPY_SRC | Usage::COPY_DST;
        let buffer = |size: u64| {
            let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
            host.device.create_buffer(&descriptor)
        };
        let mut slices = Self { buffers: Vec::new(), ranges: Vec::new() };
        let mut end = GAP;
        for bytes in having.clone() {
            let length = bytes.len() as u64;
            match place {
                Place::Buffers => {
                    slices.ranges.push((slices.buffers.len(), 0..length));
                    slices.buffers.push(buffer(length));
                }
                Place::OneBuffer => {
                    slices.ranges.push((0, end..end + length));
                    end += length + GAP;
                }
            }
        }
        if place == Place::OneBuffer {
            slices.buffers.push(buffer(end));
        }
        for ((buffer, range), bytes) in slices.ranges.iter().zip(having) {
            host.queue.write_buffer(&slices.buffers[*buffer], range.start, bytes);
        }
        slices
    }

    pub(crate) fn of_ranks(&self) -> Vec<wgpu::BufferSlice<'_>> {
        self.ranges.iter().map(|(buffer, range)| self.buffers[*buffer].slice(range.clone())).collect()
    }

    /// What is in all buffers, whole.
    fn read(&self, host: &Host) -> Vec<Vec<u8>> {
        let read = |buffer: &wgpu::Buffer| {
            let usage = Usage::MAP_READ | Usage::COPY_DST;
            let descriptor =
                wgpu::BufferDescriptor { label: None, size: buffer.size(), usage, mapped_at_creation: false };
            let readback = host.device.create_buffer(&descriptor);
            let mut encoder = host.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(buffer, 0, &readback, 0, buffer.size());
            encoder.map_buffer_on_submit(&readback, wgpu::MapMode::Read, .., |result| result.unwrap());
            host.queue.submit([encoder.finish()]);
            host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
            readback.get_mapped_range(..).unwrap().to_vec()
        };
        self.buffers.iter().map(read).collect()
    }

    /// The slices' bytes; between them nothing may have been written.
    pub(crate) fn contents(&self, host: &Host, case: &str) -> Vec<Vec<u8>> {
        let buffers = self.read(host);
        if let [(0, first), ..] = &self.ranges[..]
            && first.start == GAP
        {
            let mut end = 0;
            for (_, range) in &self.ranges {
                assert!(buffers[0][end..range.start as usize].iter().all(|&byte| byte == 0), "{case}: gap");
                end = range.end as usize;
            }
            assert!(buffers[0][end..].iter().all(|&byte| byte == 0), "{case}: gap");
        }
        self.ranges
            .iter()
            .map(|(buffer, range)| buffers[*buffer][range.start as usize..range.end as usize].to_vec())
            .collect()
    }
}

fn inputs<T: Element>(schedule: &Schedule, count: usize, fill: Fill) -> Vec<Vec<T>> {
    let mut inputs = vec![Vec::new(); schedule.ranks as usize];
    (0..).zip(&mut inputs).for_each(|(rank, input)| generate_parts(input, schedule, fill, 3, rank, count));
    inputs
}

fn bytes<T: Element>(vectors: &[Vec<T>]) -> Vec<Vec<u8>> {
    vectors.iter().map(|vector| bytemuck::cast_slice(vector).to_vec()).collect()
}

/// Outputs against the golden of the schedule's own order; those of ranks without one are left out of `outputs`.
fn judge<T: Element>(schedule: &Schedule, count: usize, op: Op, given: &[Vec<T>], outputs: &[Vec<u8>], case: &str) {
    let proved = prove(schedule.clone(), Default::default()).unwrap();
    let payload = Payload::new(schedule, count, T::TYPE.bytes()).unwrap();
    let mut outputs = outputs.iter();
    let gets = |rank| schedule.task.output_parts(rank, schedule.ranks) > 0;
    let whole: Vec<Vec<T>> = (0..schedule.ranks)
        .map(|rank| if gets(rank) { bytemuck::pod_collect_to_vec(outputs.next().unwrap()) } else { Vec::new() })
        .collect();
    let given: Vec<&[T]> = given.iter().map(Vec::as_slice).collect();
    let whole: Vec<&[T]> = whole.iter().map(Vec::as_slice).collect();
    let comparison = Goldens::new(&proved, &payload, op, &given).unwrap().compare(&whole).unwrap();
    assert_eq!(comparison.wrong, 0, "{case}: {comparison:?}");
}

/// Two different launches of the same shape in one submission.
fn twice<T: Element>(host: &Host, comm: &Communicator, task: &Task, count: usize, op: Op, place: Place, case: &str) {
    let schedule = comm.resident::<T>(task.clone(), count, op).unwrap().proved().schedule().clone();
    let given = [Fill::Exact, Fill::Normal].map(|fill| inputs::<T>(&schedule, count, fill));
    let outputs: Vec<Vec<u8>> = (0..schedule.ranks)
        .map(|rank| vec![0xa5; task.output_parts(rank, schedule.ranks) as usize * count * T::TYPE.bytes()])
        .collect();
    let sources = given.each_ref().map(|given| Slices::new(host, place, &bytes(given)));
    let results = [0, 1].map(|_| Slices::new(host, place, &outputs));
    let mut encoder = host.device.create_command_encoder(&Default::default());
    let done = [0, 1].map(|i| {
        comm.record::<T>(&mut encoder, task.clone(), &sources[i].of_ranks(), &results[i].of_ranks(), op)
            .unwrap_or_else(|error| panic!("{case}: {error}"))
    });
    host.queue.submit([encoder.finish()]);
    for ((mut done, given), result) in done.into_iter().zip(&given).zip(&results) {
        done.wait().unwrap_or_else(|error| panic!("{case}: {error}"));
        judge(&schedule, count, op, given, &result.contents(host, case), case);
    }
}

type Twice = fn(&Host, &Communicator, &Task, usize, Op, Place, &str);

/// [`twice`] with elements of this type.
fn twice_of(data_type: DataType) -> Twice {
    match data_type {
        DataType::F32 => twice::<f32>,
        DataType::F16 => twice::<f16>,
        DataType::BF16 => twice::<bf16>,
        DataType::F64 => twice::<f64>,
        DataType::F8E4M3 => twice::<f8e4m3>,
        DataType::F8E5M2 => twice::<f8e5m2>,
        DataType::I32 => twice::<i32>,
        DataType::U32 => twice::<u32>,
        DataType::I64 => twice::<i64>,
        DataType::U64 => twice::<u64>,
        DataType::I8 => twice::<i8>,
        DataType::U8 => twice::<u8>,
        other => panic!("{other} is not tested"),
    }
}

fn tasks(ranks: u32) -> Vec<Task> {
    let sources = (0..ranks).map(|rank| (rank + 2) % ranks).collect();
    let all = Collective::ALL.iter().filter(|&&collective| collective != Collective::Barrier);
    all.map(|&collective| match collective {
        Collective::SendRecv => Task::send_recv(Vec::clone(&sources)),
        other => Task::from(other).root(ranks - 1),
    })
    .collect()
}

#[test]
fn every_collective_over_a_callers_buffers() {
    let _turn = one_at_a_time();
    for host in hosts() {
        for ranks in [1, 3, 4] {
            let comm = communicator(&host, ranks);
            let in_pieces = Options::default().arena_bytes(16 << 10);
            let pieces = communicator(&host, ranks).options(in_pieces);
            for (i, task) in tasks(ranks).into_iter().enumerate() {
                for (count, comm) in [(1, &comm), (1000, &comm), (5003, &pieces)] {
                    for place in [Place::Buffers, Place::OneBuffer] {
                        let data_type = [DataType::F32, DataType::I32, DataType::F64][i % 3];
                        let case = format!("{} {task:?} of {ranks}, {count} {data_type}, {place:?}", host.name);
                        twice_of(data_type)(&host, comm, &task, count, Op::Sum, place, &case);
                    }
                }
            }
        }
    }
}

#[test]
fn every_type_and_operation() {
    let _turn = one_at_a_time();
    let host = hosts().into_iter().next();
    let Some(host) = host else { return };
    let comm = communicator(&host, 3);
    for &data_type in DataType::ALL {
        for &op in Op::ALL.iter().filter(|&&op| wgccl::element::supported(data_type, op).is_ok()) {
            let (task, case) = (Collective::AllReduce.into(), format!("{data_type} {op}"));
            twice_of(data_type)(&host, &comm, &task, 1004, op, Place::OneBuffer, &case);
        }
    }
    let error = comm.resident::<i32>(Collective::AllReduce, 4, Op::Avg).err().unwrap();
    assert!(matches!(error, Error::Prepare(PrepareError::Unsupported(_))), "{error}");
}

/// Inputs are read before outputs are written, so that they may be the same memory: in any way where all of it is read at
/// once, and else where no piece of an output meets another's of an input.
#[test]
fn outputs_may_be_inputs() {
    let _turn = one_at_a_time();
    const COUNT: usize = 3001;
    for host in hosts() {
        for arena_bytes in [None, Some(16 << 10)] {
            let options = Options::default().arena_bytes(arena_bytes);
            let comm = communicator(&host, 4).options(options);
            let prepared = comm.resident::<f32>(Collective::AllReduce, COUNT, Op::Sum).unwrap();
            assert_eq!(prepared.pieces() > 1, arena_bytes.is_some());
            let given = inputs::<f32>(prepared.proved().schedule(), COUNT, Fill::Normal);
            let buffers = Slices::new(&host, Place::OneBuffer, &bytes(&given));
            let slices = buffers.of_ranks();
            comm.submit(|encoder| comm.record::<f32>(encoder, Collective::AllReduce, &slices, &slices, Op::Sum))
                .unwrap();
            let case = format!("{} {arena_bytes:?}", host.name);
            judge(prepared.proved().schedule(), COUNT, Op::Sum, &given, &buffers.contents(&host, &case), &case);

            let shifted = |by: u64| {
                let at = move |rank: u64| 4 * (rank * COUNT as u64 + by);
                (0..4)
                    .map(|rank| slices[0].buffer().slice(at(rank)..at(rank) + 4 * (COUNT as u64 - 1)))
                    .collect::<Vec<_>>()
            };
            let result = comm.submit(|encoder| {
                comm.record::<f32>(encoder, Collective::AllReduce, &shifted(0), &shifted(1), Op::Sum)
            });
            match result {
                Ok(()) => assert!(arena_bytes.is_none(), "{case}"),
                Err(Error::Run(RunError::Slices(SliceError::Overlap { input: 0, output: 0 }))) => {
                    assert!(arena_bytes.is_some(), "{case}");
                }
                Err(error) => panic!("{case}: {error}"),
            }
        }
    }
}

/// More shapes than are kept, each of them right, on the device and from the host.
#[test]
fn any_number_of_shapes_can_be_used() {
    let _turn = one_at_a_time();
    for host in hosts() {
        let comm = communicator(&host, 2);
        for count in (1..40).chain(1..40) {
            let given = [vec![1_i32; count], vec![count as i32; count]];
            let mut results = vec![vec![0; count]; 2];
            let mut outputs: Vec<&mut [i32]> = results.iter_mut().map(Vec::as_mut_slice).collect();
            comm.run(Collective::AllReduce, &[&given[0], &given[1]], &mut outputs, Op::Sum).unwrap();
            assert_eq!(results, vec![vec![1 + count as i32; count]; 2], "{}", host.name);
            comm.resident::<i32>(Collective::AllReduce, count, Op::Sum).unwrap();
        }
    }
}

/// Every algorithm in every mode that is sound on the caller's device.
#[test]
fn named_algorithms_and_modes_are_taken() {
    let _turn = one_at_a_time();
    for host in hosts() {
        for algorithm in [Algorithm::Ring, Algorithm::Tree, Algorithm::RecursiveDoubling] {
            for way in Way::all() {
                let options = way.options();
                let comm = communicator(&host, 4).algorithm(algorithm).options(options);
                let case = format!("{} {algorithm} {way}", host.name);
                if comm.backend().info().support(way.mode, way.protocol).is_err() {
                    let error = comm.resident::<f32>(Collective::AllReduce, 100, Op::Sum).err().unwrap();
                    let Error::Prepare(PrepareError::Lower { error: LowerError::Unsound { .. }, .. }) = error else {
                        panic!("{case}: {error}")
                    };
                    continue;
                }
                let prepared = comm.resident::<f32>(Collective::AllReduce, 100, Op::Sum).unwrap();
                let package = prepared.package();
                assert_eq!((package.mode(), package.protocol), (way.mode, way.protocol), "{case}");
                assert_eq!(prepared.proved().schedule().origin.name(), algorithm.name(), "{case}");
                let task = Collective::AllReduce.into();
                twice::<f32>(&host, &comm, &task, 100, Op::Sum, Place::Buffers, &case);
            }
        }
        let comm = communicator(&host, 3).algorithm(Algorithm::RecursiveDoubling);
        let error = comm.resident::<f32>(Collective::AllReduce, 100, Op::Sum).err().unwrap();
        assert!(matches!(error, Error::Prepare(PrepareError::Build(_))), "{error}");
    }
}

/// Fused dispatch needs a feature that a caller's device may have been created without.
#[test]
fn fused_works_on_an_adopted_device_that_has_what_it_needs() {
    let _turn = one_at_a_time();
    for device in devices().iter().filter(|device| device.sound().contains(&Way::simple(Mode::Fused))) {
        let (raw, queue) = device.gpu.wgpu();
        let host = Host { name: device.name.clone(), device: raw.clone(), queue: queue.clone() };
        let options = Options::default().dispatch(Mode::Fused);
        let comm = communicator(&host, 4).algorithm(Algorithm::Ring).options(options);
        assert_eq!(comm.resident::<f32>(Collective::AllReduce, 5000, Op::Sum).unwrap().package().mode(), Mode::Fused);
        let task = Collective::AllReduce.into();
        twice::<f32>(&host, &comm, &task, 5000, Op::Sum, Place::OneBuffer, &host.name);
    }
}

/// Inputs written where they are read, results read where they are written.
#[test]
fn resident_memory_needs_no_copies() {
    let _turn = one_at_a_time();
    for host in hosts() {
        let comm = communicator(&host, 3);
        for (collective, count) in
            [(Collective::AllReduce, 1000), (Collective::AllGather, 1001), (Collective::ReduceScatter, 7)]
        {
            let prepared = comm.resident::<f32>(collective, count, Op::Sum).unwrap();
            let given = inputs::<f32>(prepared.proved().schedule(), count, Fill::Normal);
            let parts = |elements: &[f32]| elements.len() / count;
            for (rank, elements) in (0..).zip(&given) {
                let slice = prepared.input(rank).unwrap();
                for (part, elements) in (0..parts(elements) as u64).zip(elements.chunks(count)) {
                    let at = slice.offset() + part * prepared.part_stride();
                    host.queue.write_buffer(slice.buffer(), at, bytemuck::cast_slice(elements));
                }
            }
            comm.submit(|encoder| prepared.record_resident(encoder)).unwrap();
            let outputs: Vec<Vec<u8>> = (0..3).map(|rank| resident(&host, &prepared, rank, count)).collect();
            judge(
                prepared.proved().schedule(),
                count,
                Op::Sum,
                &given,
                &outputs,
                &format!("{} {collective}", host.name),
            );
            assert!(prepared.input(3).is_none());
        }
        let root = comm.resident::<f32>(Task::from(Collective::Reduce).root(1), 8, Op::Sum).unwrap();
        assert!(root.output(0).is_none() && root.output(1).is_some());

        let options = Options::default().arena_bytes(16 << 10);
        let pieces = communicator(&host, 3).options(options);
        let pieces = pieces.resident::<f32>(Collective::AllReduce, 100_000, Op::Sum).unwrap();
        assert!(pieces.input(0).is_none());
        let mut encoder = host.device.create_command_encoder(&Default::default());
        let error = pieces.record_resident(&mut encoder).err().unwrap();
        assert!(matches!(error, RunError::InPieces { .. }), "{error}");
    }
}

/// The parts of a resident output, without what pads them.
fn resident(host: &Host, prepared: &Resident, rank: u32, count: usize) -> Vec<u8> {
    let slice = prepared.output(rank).unwrap();
    let copy = Slices::new(host, Place::Buffers, &[vec![0; slice.size() as usize]]);
    let mut encoder = host.device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(slice.buffer(), slice.offset(), &copy.buffers[0], 0, slice.size());
    host.queue.submit([encoder.finish()]);
    let [bytes] = &copy.contents(host, "resident")[..] else { panic!("one buffer") };
    bytes.chunks(prepared.part_stride() as usize).flat_map(|part| part[..4 * count].to_vec()).collect()
}

#[test]
fn completion_tells_what_happened() {
    let _turn = one_at_a_time();
    const COUNT: usize = 64;
    for host in hosts() {
        let fault = Some(Fault::DropNotify { rank: 1, row: 2 });
        let sound = communicator(&host, 4).algorithm(Algorithm::Ring);
        let broken = communicator(&host, 4).algorithm(Algorithm::Ring).options(Options::default().fault(fault));
        let buffers = Slices::new(&host, Place::Buffers, &vec![vec![0; 4 * COUNT]; 4]);
        let slices = buffers.of_ranks();
        let record = |comm: &Communicator| {
            let mut encoder = host.device.create_command_encoder(&Default::default());
            let done = comm.record::<f32>(&mut encoder, Collective::AllReduce, &slices, &slices, Op::Sum).unwrap();
            (encoder, done)
        };

        let (encoder, mut done) = record(&sound);
        assert!(matches!(done.wait(), Err(RunError::NotLaunched)), "not submitted yet");
        assert!(!done.is_finished().unwrap(), "not submitted yet");
        host.queue.submit([encoder.finish()]);
        while !done.is_finished().unwrap() {
            std::thread::yield_now();
        }
        done.wait().unwrap();
        pollster::block_on(done.check()).unwrap();
        // What nobody asks after does no harm.
        let (encoder, _) = record(&sound);
        host.queue.submit([encoder.finish()]);
        let (encoder, mut done) = record(&sound);
        drop(encoder);
        assert!(matches!(done.is_finished(), Err(RunError::NotLaunched)), "never submitted");
        assert!(matches!(pollster::block_on(done.check()), Err(RunError::NotLaunched)), "never submitted");

        for blocking in [true, false] {
            let (encoder, mut done) = record(&broken);
            host.queue.submit([encoder.finish()]);
            let result = if blocking { done.wait() } else { polled(&host, done) };
            let Err(RunError::Hang(hang)) = result else { panic!("{}: {result:?}", host.name) };
            assert!(hang.to_string().contains("rank 1 sent its notify"), "{hang}");
            let (encoder, mut done) = record(&sound);
            host.queue.submit([encoder.finish()]);
            let result = if blocking { done.wait() } else { polled(&host, done) };
            assert!(result.is_ok(), "{}: {result:?}", host.name);
        }
    }
}

/// As in a program with an event loop, which polls its device anyway.
fn polled(host: &Host, mut done: Completion) -> Result<(), RunError> {
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                host.device.poll(wgpu::PollType::Poll).unwrap();
                std::thread::yield_now();
            }
        });
        let result = pollster::block_on(done.check());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    })
}

#[test]
fn slices_that_do_not_fit_are_refused_before_anything_is_recorded() {
    let _turn = one_at_a_time();
    let Some(host) = hosts().into_iter().next() else { return };
    let comm = communicator(&host, 2);
    let buffer = |size: u64, usage: Usage| {
        host.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let both = buffer(1024, Usage::COPY_SRC | Usage::COPY_DST);
    let (source, destination) = (buffer(1024, Usage::COPY_SRC), buffer(1024, Usage::COPY_DST));
    let (a, b) = (both.slice(0..64), both.slice(64..128));
    type Case<'a> = (Vec<wgpu::BufferSlice<'a>>, Vec<wgpu::BufferSlice<'a>>, &'a str);
    let cases: [Case<'_>; 10] = [
        (vec![a], vec![a, b], "1 input slices for 2 ranks"),
        (vec![a, b], vec![a, b, a], "3 output slices for 2 ranks"),
        (vec![a, both.slice(64..132)], vec![a, b], "the input slice of rank 1 has 68 bytes, but it must have 64"),
        (vec![a, b], vec![both.slice(0..60), b], "the output slice of rank 0 has 60 bytes, but it must have 64"),
        (vec![a, both.slice(66..130)], vec![a, b], "begins at byte 66"),
        (vec![a, destination.slice(0..64)], vec![a, b], "without BufferUsages::COPY_SRC"),
        (vec![a, b], vec![source.slice(0..64), b], "without BufferUsages::COPY_DST"),
        (vec![a, b], vec![a, a], "the outputs of rank 0 and rank 1 overlap"),
        (vec![a, b], vec![both.slice(32..96), a], "the outputs of rank 0 and rank 1 overlap"),
        (vec![both.slice(0..6); 2], vec![both.slice(0..6); 2], "6 bytes, but it must have 4"),
    ];
    for (inputs, outputs, text) in cases {
        let mut encoder = host.device.create_command_encoder(&Default::default());
        let error = comm.record::<f32>(&mut encoder, Collective::AllReduce, &inputs, &outputs, Op::Sum).err().unwrap();
        assert!(matches!(error, Error::Run(RunError::Slices(_))) && error.to_string().contains(text), "{error}");
        // Submitting what has been recorded so far, nothing, is no error of the device.
        host.queue.submit([encoder.finish()]);
    }
    let error = comm.resident::<u8>(Collective::AllReduce, 3, Op::Sum).err().unwrap();
    assert!(matches!(error, Error::Run(RunError::Slices(SliceError::Part { bytes: 3 }))), "{error}");
    // Nothing is no error, and is recorded as that.
    let mut encoder = host.device.create_command_encoder(&Default::default());
    let mut done = comm.record::<f32>(&mut encoder, Collective::AllReduce, &[], &[], Op::Sum).unwrap();
    host.queue.submit([encoder.finish()]);
    done.wait().unwrap();
    let many = communicator(&host, 257).algorithm(Algorithm::Ring);
    let error = many.resident::<f32>(Collective::AllReduce, 4, Op::Sum).err().unwrap();
    assert!(matches!(error, Error::Prepare(PrepareError::Ranks { ranks: 257, .. })), "{error}");
}

#[test]
fn a_device_with_too_small_limits_is_refused_with_the_limit() {
    let _turn = one_at_a_time();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    for adapter in pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN)) {
        let required_limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 5, ..Default::default() };
        let request = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&request)).unwrap();
        let comm = Communicator::new(Gpu::adopt(&device, &queue), 2);
        let error = comm.resident::<f32>(Collective::AllReduce, 4, Op::Sum).err().unwrap().to_string();
        assert!(error.contains("max_storage_buffers_per_shader_stage = 5, and wgccl needs 6"), "{error}");
    }
}

/// One call over the host's slices, in pieces where it must be.
#[test]
fn host_slices_by_one_call() {
    let _turn = one_at_a_time();
    for device in devices() {
        for (arena_bytes, count) in [(None, 1001), (Some(16 << 10), 20_000)] {
            let options = Options::default().arena_bytes(arena_bytes);
            let comm = Communicator::new(device.gpu.clone(), 3).options(options);
            for task in tasks(3) {
                let schedule = comm.resident::<f32>(task.clone(), 4, Op::Sum).unwrap().proved().schedule().clone();
                let given = inputs::<f32>(&schedule, count, Fill::Normal);
                let mut outputs: Vec<Vec<f32>> =
                    (0..3).map(|rank| vec![f32::NAN; task.output_parts(rank, 3) as usize * count]).collect();
                let views: Vec<&[f32]> = given.iter().map(Vec::as_slice).collect();
                let mut views_mut: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                let ran = comm.run(task.clone(), &views, &mut views_mut, Op::Sum).unwrap();
                let pieces = comm.resident::<f32>(task.clone(), count, Op::Sum);
                if let Ok(resident) = pieces {
                    assert_eq!(resident.pieces() > 1, arena_bytes.is_some(), "{task:?}");
                }
                assert!(ran.dispatches > 0);
                outputs.retain(|output| !output.is_empty());
                let case = format!("{} {task:?}", device.name);
                judge(&schedule, count, Op::Sum, &given, &bytes(&outputs), &case);
            }
        }
    }
}

/// What wgpu refuses while a collective is prepared comes back as a value; the program's own handlers never hear of it.
#[test]
fn errors_stay_out_of_the_callers_handlers() {
    let _turn = one_at_a_time();
    for host in hosts() {
        host.device.on_uncaptured_error(std::sync::Arc::new(|error| panic!("reached the handler: {error}")));
        // A window as large as a buffer may be, for a device that need not have so much memory.
        let limits = host.device.limits();
        let count = (limits.max_storage_buffer_binding_size.min(limits.max_buffer_size / 2) / 4 / 4) as usize;
        let comm = communicator(&host, 2);
        let kept: Vec<_> = (1..=4).map(|i| comm.resident::<f32>(Collective::AllReduce, count / i, Op::Sum)).collect();
        for result in kept {
            assert!(matches!(result, Ok(_) | Err(Error::Prepare(PrepareError::Device(_)))));
        }
        comm.release();
    }
}

/// Two ranks, one chunk: each adds the other's input to its own.
fn pair() -> Schedule {
    let (a, b) = (Address::input(0, 0), Address::input(1, 0));
    let add = |rank| Instruction::new(("move", 1)).reduce(a, b).to(Address::output(rank, 0));
    let lane = |rank| Lane::new(rank).with(add(rank));
    Schedule::new("pair", Collective::AllReduce, 2, 1).lane(lane(0)).lane(lane(1))
}

#[test]
fn custom_schedules_are_proved_on_entry() {
    let _turn = one_at_a_time();
    for host in hosts() {
        let comm = communicator(&host, 2);
        let prepared = comm.resident_schedule::<f32>(pair(), 100, Op::Sum).unwrap();
        let given = inputs::<f32>(prepared.proved().schedule(), 100, Fill::Normal);
        let buffers = Slices::new(&host, Place::Buffers, &bytes(&given));
        let slices = buffers.of_ranks();
        comm.submit(|encoder| prepared.record(encoder, &slices, &slices)).unwrap();
        judge(prepared.proved().schedule(), 100, Op::Sum, &given, &buffers.contents(&host, "pair"), &host.name);

        let mut racy = pair();
        racy.lanes[1].instructions[0].to[0].rank = 0;
        let error = comm.resident_schedule::<f32>(racy, 100, Op::Sum).err().unwrap();
        assert!(matches!(error, Error::Prepare(PrepareError::Refused(_))), "{error}");
        let three = communicator(&host, 3);
        let error = three.resident_schedule::<f32>(pair(), 100, Op::Sum).err().unwrap();
        assert!(matches!(error, Error::Prepare(PrepareError::OtherRanks { schedule: 2, communicator: 3 })), "{error}");
    }
}

#[test]
fn handles_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Communicator>();
    crosses::<Resident>();
    fn moves<T: Send>() {}
    moves::<Completion>();
}
