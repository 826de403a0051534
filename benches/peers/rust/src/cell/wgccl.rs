//! wgccl's executors, prepared once and launched many times, as its users do.

use std::time::{Duration, Instant};

use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::DataType;
use wgccl::schedule::{Algorithm, SyncStyle, build};
use wgccl::proof::{self, Proved, prove};
use wgccl::payload::Payload;
use wgccl::{cpu, gpu};
use wgccl_cli::views::{bytes, bytes_mut};

use crate::error::Error;
use crate::sample::Case;

fn prepare(case: Case, task: Task, algorithm: Algorithm) -> Result<(Proved, Payload), Error> {
    let ranks = u32::try_from(case.ranks).map_err(|error| Error::Usage(error.to_string()))?;
    let schedule = build(task, algorithm, ranks, SyncStyle::Neighbor).map_err(Error::peer)?;
    let payload = Payload::new(&schedule, case.count, size_of::<f32>()).map_err(Error::peer)?;
    Ok((prove(schedule, proof::Options::default()).map_err(Error::peer)?, payload))
}

pub(super) fn on_cpu(case: Case, algorithm: Algorithm) -> Result<String, Error> {
    launches(case, Collective::AllReduce.into(), algorithm, |_, output| case.wrong(output))
}

/// Every rank's vector to itself: a copy by the executor, which goes past the caches where memcpy may not.
pub(super) fn copy(case: Case) -> Result<String, Error> {
    let sources = (0..case.ranks as u32).collect();
    launches(case, Task::send_recv(sources), Algorithm::Mesh, |input, output| usize::from(input != output))
}

fn launches(
    case: Case,
    task: Task,
    algorithm: Algorithm,
    wrong: impl Fn(&[f32], &[f32]) -> usize,
) -> Result<String, Error> {
    let (proved, payload) = prepare(case, task, algorithm)?;
    let mut executor = cpu::Executor::<f32>::new(&proved, payload.count, Op::Sum, &Default::default())?;
    let inputs = case.inputs();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs = vec![vec![f32::NAN; case.count]; case.ranks];
    let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let times = case.measure(|calls| {
        let start = Instant::now();
        for _ in 0..calls {
            executor.run(&inputs, &mut views)?;
        }
        Ok::<_, Error>(start.elapsed())
    })?;
    views.iter_mut().for_each(|output| output.fill(f32::NAN));
    executor.run(&inputs, &mut views)?;
    Ok(times.line(inputs.iter().zip(&outputs).map(|(input, output)| wrong(input, output)).sum()))
}

/// Inputs and outputs stay on the device; each call is submitted and waited for.
pub(super) fn on_gpu(case: Case, algorithm: Algorithm, adapter: usize) -> Result<String, Error> {
    let adapters = gpu::adapters();
    let adapter = adapters.get(adapter).ok_or_else(|| Error::Usage(format!("there is no adapter {adapter}")))?;
    let (proved, payload) = prepare(case, Collective::AllReduce.into(), algorithm)?;
    let gpu = gpu::Gpu::open(adapter).map_err(Error::peer)?;
    let shape = Shape::new(payload.count, DataType::F32, Op::Sum);
    let mut executor = gpu.prepare(&proved, shape, &Options::default())?;
    let inputs = case.inputs();
    let inputs = bytes(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let times = case.measure(|calls| {
        let mut took = Duration::ZERO;
        for piece in 0..executor.prepared().pieces {
            executor.load(piece, &inputs)?;
            took += executor.time(calls)?.iter().filter_map(|ran| ran.time).sum::<Duration>();
        }
        Ok::<_, Error>(took)
    })?;
    let mut outputs = vec![vec![f32::NAN; case.count]; case.ranks];
    executor.run(&inputs, &mut bytes_mut(&mut outputs, 0))?;
    Ok(times.line(outputs.iter().map(|output| case.wrong(output)).sum()))
}
