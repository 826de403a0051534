//! A program that does what it must not, at every moment: one typed error, no panic, no endless wait, no encoder lost, and the
//! next call is right.

use std::time::Duration;

use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::error::{DeviceError, Error, RunError, SliceError, UserBuffer};
use wgccl::fault::Fault;
use wgccl::gpu::{Completion, Gpu, Resident};
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};
use wgpu::BufferUsages as Usage;

use crate::common::devices::{devices, one_at_a_time};
use crate::communicator::{Communicator, Host, Place, Slices, adapter, communicator, host, host_on, hosts};

const COUNT: usize = 16;
const BYTES: u64 = 4 * COUNT as u64;

fn ones(host: &Host) -> Slices {
    Slices::new(host, Place::Buffers, &vec![bytemuck::cast_slice(&[1.0_f32; COUNT]).to_vec(); 2])
}

fn resident(comm: &Communicator) -> Resident {
    comm.resident::<f32>(Collective::AllReduce, COUNT, Op::Sum).unwrap()
}

/// Two ranks' ones make twos, on a device that works.
fn is_right(host: &Host, comm: &Communicator, case: &str) {
    let buffers = ones(host);
    let slices = buffers.of_ranks();
    comm.submit(|encoder| resident(comm).record(encoder, &slices, &slices)).unwrap();
    for output in buffers.contents(host, case) {
        assert_eq!(bytemuck::cast_slice::<u8, f32>(&output), [2.0; COUNT], "{}: {case}", host.name);
    }
}

/// Takes what wgpu finds wrong with commands of the test's own.
fn caught<R>(device: &wgpu::Device, f: impl FnOnce() -> R) -> (R, bool) {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let result = f();
    (result, pollster::block_on(scope.pop()).is_some())
}

#[test]
fn slices_that_cannot_be_copied_cost_the_caller_no_commands() {
    let _turn = one_at_a_time();
    for under_test in devices() {
        // Of one instance: handles of another are numbers that mean something else here.
        let adapter = adapter(under_test);
        let (here, elsewhere) = (host_on(&adapter, under_test), host_on(&adapter, under_test));
        let comm = communicator(&here, 2);
        let resident = resident(&comm);
        let (good, foreign) = (ones(&here), ones(&elsewhere));
        let (good, foreign) = (good.of_ranks(), foreign.of_ranks());
        let own = [resident.input(0).unwrap().slice(..BYTES), resident.output(1).unwrap().slice(..BYTES)];
        for (inputs, outputs, what, rank, is_own) in [
            ([foreign[0], good[1]], [good[0], good[1]], UserBuffer::Input, 0, false),
            ([good[0], foreign[1]], [good[0], good[1]], UserBuffer::Input, 1, false),
            ([good[0], good[1]], [good[0], foreign[1]], UserBuffer::Output, 1, false),
            ([own[0], good[1]], [good[0], good[1]], UserBuffer::Input, 0, true),
            ([good[0], good[1]], [good[0], own[1]], UserBuffer::Output, 1, true),
        ] {
            // A command of the caller's own comes before, and must not be lost.
            let mark = Slices::new(&here, Place::Buffers, &[vec![7; 4]]);
            let mut encoder = here.device.create_command_encoder(&Default::default());
            encoder.clear_buffer(&mark.buffers[0], 0, None);
            let case = format!("{}: {what:?} {rank} {is_own}", here.name);
            let error = resident.record(&mut encoder, &inputs, &outputs).err().expect(&case);
            let right = match &error {
                RunError::Slices(SliceError::Uncopyable { what: w, rank: r, reason }) => {
                    !is_own && (*w, *r) == (what, rank) && !reason.is_empty()
                }
                RunError::Slices(SliceError::Own { what: w, rank: r }) => is_own && (*w, *r) == (what, rank),
                _ => false,
            };
            assert!(right, "{}: {error}", here.name);
            let (_, failed) = caught(&here.device, || here.queue.submit([encoder.finish()]));
            assert!(!failed, "{}: {error}", here.name);
            assert_eq!(mark.contents(&here, "mark"), [vec![0; 4]], "{}", here.name);
        }
        is_right(&here, &comm, "after slices that were refused");
    }
}

/// Every way to ask, of a launch that never was: all answer, and none waits for ever.
fn never_executed(host: &Host, mut done: Completion, case: &str) {
    for answer in [done.wait(), pollster::block_on(done.check()), done.wait()] {
        let error = answer.expect_err(case);
        assert!(
            matches!(error, RunError::NotExecuted { .. } | RunError::NotLaunched),
            "{}: {case}: {error}",
            host.name
        );
        assert!(error.hang().is_none(), "{case}");
    }
}

#[test]
fn what_wgpu_refuses_later_was_never_executed() {
    let _turn = one_at_a_time();
    for host in hosts() {
        let comm = communicator(&host, 2);
        let resident = resident(&comm);
        let record = |buffers: &Slices| {
            let slices = buffers.of_ranks();
            let mut encoder = host.device.create_command_encoder(&Default::default());
            let done = resident.record(&mut encoder, &slices, &slices).unwrap();
            (encoder, done)
        };
        // Destroyed before it is recorded, which WebGPU allows, and after.
        for before in [true, false] {
            let buffers = ones(&host);
            if before {
                buffers.buffers[0].destroy();
            }
            let (encoder, done) = record(&buffers);
            buffers.buffers[0].destroy();
            let (_, failed) = caught(&host.device, || host.queue.submit([encoder.finish()]));
            assert!(failed);
            never_executed(&host, done, "a destroyed buffer");
        }
        // Mapped when it is submitted.
        let usage = Usage::COPY_SRC | Usage::MAP_WRITE;
        let mapped = host.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: BYTES,
            usage,
            mapped_at_creation: true,
        });
        let buffers = ones(&host);
        let (inputs, outputs) = ([mapped.slice(..), mapped.slice(..)], buffers.of_ranks());
        let mut encoder = host.device.create_command_encoder(&Default::default());
        let done = resident.record(&mut encoder, &inputs, &outputs).unwrap();
        let (_, failed) = caught(&host.device, || host.queue.submit([encoder.finish()]));
        assert!(failed);
        never_executed(&host, done, "a mapped buffer");
        // Into an encoder that is spoilt already.
        let mut encoder = host.device.create_command_encoder(&Default::default());
        let (done, failed) = caught(&host.device, || {
            let pass = encoder.begin_compute_pass(&Default::default()).forget_lifetime();
            let slices = buffers.of_ranks();
            let done = resident.record(&mut encoder, &slices, &slices).unwrap();
            drop(pass);
            host.queue.submit([encoder.finish()]);
            done
        });
        assert!(failed);
        never_executed(&host, done, "an open pass");
        is_right(&host, &comm, "after commands that were refused");
    }
}

#[test]
fn whatever_is_dropped_first_the_answer_comes() {
    let _turn = one_at_a_time();
    for host in hosts() {
        let buffers = ones(&host);
        let slices = buffers.of_ranks();
        let comm = communicator(&host, 2);
        let mut encoder = host.device.create_command_encoder(&Default::default());
        let mut done = resident(&comm).record(&mut encoder, &slices, &slices).unwrap();
        let unasked = resident(&comm).record(&mut encoder, &slices, &slices).unwrap();
        drop((comm, unasked));
        host.queue.submit([encoder.finish()]);
        done.wait().unwrap();
        let output = &buffers.contents(&host, "dropped")[0];
        assert_eq!(bytemuck::cast_slice::<u8, f32>(output), [4.0; COUNT], "{}", host.name);
    }
}

/// Nobody polls any more once the launch is through: the report must come all the same.
#[test]
fn a_failed_launch_is_told_without_further_polls() {
    let _turn = one_at_a_time();
    for host in hosts() {
        let fault = Fault::DropNotify { rank: 1, row: 1 };
        let broken = communicator(&host, 2).algorithm(Algorithm::Ring).options(Options::default().fault(Some(fault)));
        let buffers = ones(&host);
        let slices = buffers.of_ranks();
        for polled in [true, false] {
            let mut encoder = host.device.create_command_encoder(&Default::default());
            let mut done = resident(&broken).record(&mut encoder, &slices, &slices).unwrap();
            host.queue.submit([encoder.finish()]);
            while polled && !done.is_finished().unwrap() {
                std::thread::yield_now();
            }
            if !polled {
                host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
            }
            let error = pollster::block_on(done.check()).unwrap_err();
            assert!(error.hang().is_some(), "{}: {error}", host.name);
        }
        is_right(&host, &communicator(&host, 2), "after a launch that failed");
    }
}

fn lost(outcome: Result<impl Sized, impl Into<Error>>, case: &str) {
    let error = outcome.map(drop).map_err(Into::into).expect_err(case);
    assert!(matches!(error.device(), Some(DeviceError::Lost { .. })), "{case}: {error}");
}

#[test]
fn a_lost_device_is_called_lost_at_every_moment() {
    let _turn = one_at_a_time();
    for under_test in devices() {
        for adopted in [false, true] {
            let case = |what: &str| format!("{}, adopted {adopted}: {what}", under_test.name);
            let host = host(under_test);
            let index = under_test.gpu.info().index;
            let gpu = match adopted {
                true => Gpu::adopt(&host.device, &host.queue),
                false => Gpu::open(&wgccl::gpu::adapters()[index]).unwrap(),
            };
            let comm = Communicator::new(gpu.clone(), 2);
            let inputs = vec![vec![0_u8; BYTES as usize]; 2];
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let mut outputs = vec![vec![0_u8; BYTES as usize]; 2];
            let schedule = build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor).unwrap();
            let proved = prove(schedule, proof::Options::default()).unwrap();
            let shape = Shape::new(COUNT, DataType::F32, Op::Sum);
            let mut ready = gpu.prepare(&proved, shape, &Options::default()).unwrap();
            ready.load(0, &inputs).unwrap();
            ready.launch().unwrap();
            let resident = resident(&comm);
            let record = || {
                let mut encoder = gpu.wgpu().0.create_command_encoder(&Default::default());
                let done = resident.record_resident(&mut encoder)?;
                caught(gpu.wgpu().0, || gpu.wgpu().1.submit([encoder.finish()]));
                Ok::<_, RunError>(done)
            };
            let mut in_flight = record().unwrap();

            gpu.wgpu().0.destroy();
            // What was through before may be known to be.
            if let Err(error) = in_flight.wait() {
                lost(Err::<(), _>(error), &case("in flight"));
            }
            let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            lost(ready.fetch(&mut views), &case("fetch"));
            lost(ready.time(2), &case("time"));
            lost(ready.launch(), &case("launch"));
            lost(ready.load(0, &inputs).and_then(|()| ready.launch()), &case("load"));
            lost(ready.run(&inputs, &mut views), &case("run"));
            lost(record().and_then(|mut done| done.wait()), &case("wait"));
            lost(record().and_then(|mut done| pollster::block_on(done.check())), &case("check"));
            lost(gpu.prepare(&proved, shape, &Options::default()).map_err(Error::from), &case("prepare"));
        }
        // Another device on the same adapter is not affected.
        let host = host(under_test);
        is_right(&host, &communicator(&host, 2), "after a device was lost");
    }
}

#[test]
fn no_wait_is_longer_than_its_timeout() {
    let _turn = one_at_a_time();
    const MUCH: usize = 1 << 21;
    for device in devices() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, proof::Options::default()).unwrap();
        let inputs = vec![bytemuck::cast_slice::<f32, u8>(&vec![1.0; MUCH]).to_vec(); 4];
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs = vec![vec![0_u8; 4 * MUCH]; 4];
        for (timeout, in_time) in [(Some(Duration::ZERO), false), (None, true)] {
            let options = Options::default().timeout(timeout);
            let mut ready = device.gpu.prepare(&proved, Shape::new(MUCH, DataType::F32, Op::Sum), &options).unwrap();
            let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            match ready.run(&inputs, &mut views) {
                // OpenGL may do all of it at once.
                Ok(_) => assert!(in_time || device.gpu.info().backend == "gl", "{}", device.name),
                Err(RunError::Device(DeviceError::Deadline { timeout: Duration::ZERO, .. })) => {
                    assert!(!in_time, "{}", device.name);
                }
                Err(error) => panic!("{}: {error}", device.name),
            }
            // Late, and whole: the device takes the next launch.
            device.gpu.finish().unwrap();
        }
        assert!(outputs.iter().all(|output| bytemuck::cast_slice::<u8, f32>(output).iter().all(|&x| x == 4.0)));
    }
}

/// What one thread waits for may be through, and seen to by another thread, right after the first has given up.
#[test]
fn a_wait_that_is_overtaken_loses_no_device() {
    let _turn = one_at_a_time();
    const ROUNDS: usize = 3000;
    for device in devices() {
        let schedule = build(Collective::AllReduce, Algorithm::Direct, 2, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, proof::Options::default()).unwrap();
        let launch = |timeout: Option<Duration>| {
            let options = Options::default().timeout(timeout);
            let mut ready = device.gpu.prepare(&proved, Shape::new(COUNT, DataType::F32, Op::Sum), &options).unwrap();
            let inputs = vec![bytemuck::cast_slice::<f32, u8>(&[1.0; COUNT]).to_vec(); 2];
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let mut outputs = vec![vec![0_u8; 4 * COUNT]; 2];
            for _ in 0..ROUNDS {
                let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                match ready.run(&inputs, &mut views) {
                    Ok(_) => {}
                    Err(RunError::Device(DeviceError::Deadline { .. })) => {
                        assert!(timeout.is_some(), "{}", device.name)
                    }
                    Err(error) => panic!("{}: {error}", device.name),
                }
            }
        };
        std::thread::scope(|scope| {
            for timeout in [Some(Duration::ZERO), Some(Duration::from_micros(30)), None] {
                let launch = &launch;
                scope.spawn(move || launch(timeout));
            }
        });
        device.gpu.finish().unwrap();
    }
}
