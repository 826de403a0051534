//! One row of a benchmark: an algorithm over one size on one device, timed, then compared with its golden.
//!
//! Timed launches are not checked and checked ones not timed. Sweeps and what is made of the times are Python's.

use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyString;
use wgccl::backend::Shape;
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::{DataType, Element, supported};
use wgccl::golden::compare;
use wgccl::low_level::inputs::{Fill, generate_parts};
use wgccl::low_level::{Typed, typed};
use wgccl::proof::{self, prove};
use wgccl::schedule::{Recipe, Schedule, Selection};

use crate::calls::named;
use crate::communicator::ranks_of;
use crate::device::{AnyReady, Device, DeviceArg, Settings};
use crate::errors;
use crate::signals::interruptible;

/// Of generated inputs.
const SEED: u64 = 1;

/// A row.
#[pyclass(frozen, get_all, module = "wgccl._wgccl", name = "Row")]
pub(crate) struct PyRow {
    collective: &'static str,
    algorithm: String,
    device: String,
    /// Elements of a part.
    count: usize,
    /// As nccl-tests counts.
    bytes: u64,
    /// What nccl-tests multiplies algbw with to get busbw.
    bus_factor: f64,
    /// Microseconds of each launch.
    times: Vec<f64>,
    /// Elements that differ from the golden.
    wrong: u64,
}

/// Times launches over parts of as many elements as make `bytes`.
#[pyfunction]
#[pyo3(signature = (collective, algorithm, ranks, bytes, dtype, op, device, warmup, iterations))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn bench_row(
    py: Python<'_>,
    collective: &Bound<'_, PyString>,
    algorithm: &Bound<'_, PyString>,
    ranks: usize,
    bytes: u64,
    dtype: &Bound<'_, PyString>,
    op: &Bound<'_, PyString>,
    device: DeviceArg<'_>,
    warmup: usize,
    iterations: usize,
) -> PyResult<PyRow> {
    let collective = named(Some(collective), Collective::AllReduce)?;
    let algorithm = named(Some(algorithm), Selection::Auto)?;
    let (data_type, op, ranks) = (named(Some(dtype), DataType::F32)?, named(Some(op), Op::Sum)?, ranks_of(py, ranks)?);
    let device = DeviceArg::with(Some(&device), |name| Device::find(py, name))?;
    if collective.reduces() {
        supported(data_type, op).map_err(|error| errors::input(py, error))?;
    }
    let parts = u64::from(collective.size_parts(ranks));
    let count = bytes.checked_div(parts).unwrap_or(0) / data_type.bytes() as u64;
    if parts > 0 && count == 0 {
        return Err(errors::input(py, format!("{bytes} bytes are less than an element for each part; give more")));
    }
    let recipe = Recipe::new(Task::from(collective), ranks).algorithm(algorithm);
    let recipe = recipe.part_bytes(count * data_type.bytes() as u64).device(device.kind());
    let title = device.title();
    let measured = interruptible(py, move || -> Result<(String, Measured), Fail> {
        let schedule = recipe.build().map_err(|error| Fail::Input(error.to_string()))?;
        let shape = Shape::new(count as usize, data_type, op);
        let runs = device.communicator(ranks, &Settings::new(algorithm));
        let ready = runs.prepare(schedule.clone(), shape, false).map_err(Fail::Prepare)?;
        device.warm_up().map_err(Fail::Device)?;
        let name = schedule.origin.name().to_owned();
        let on_cpu = device.is_cpu();
        Ok((name, typed(data_type, Case { schedule, ready, shape, on_cpu, warmup, iterations })?))
    })?;
    let (algorithm, Measured { times, wrong }) = measured.map_err(|fail| match fail {
        Fail::Input(why) => errors::input(py, why),
        Fail::Device(why) => errors::device(py, why),
        Fail::Prepare(error) => errors::prepare(py, error),
        Fail::Run(error) => errors::run(py, error),
    })?;
    Ok(PyRow {
        collective: collective.name(),
        algorithm,
        device: title,
        count: count as usize,
        bytes: count * data_type.bytes() as u64 * parts,
        bus_factor: collective.bus_factor(ranks),
        times,
        wrong,
    })
}

/// Why there is no row.
enum Fail {
    Input(String),
    Device(String),
    Prepare(wgccl::error::PrepareError),
    Run(wgccl::error::RunError),
}

struct Measured {
    times: Vec<f64>,
    wrong: u64,
}

struct Case {
    schedule: Schedule,
    ready: AnyReady,
    shape: Shape,
    on_cpu: bool,
    warmup: usize,
    iterations: usize,
}

impl Typed for Case {
    type Output = Result<Measured, Fail>;

    fn run<T: Element>(mut self) -> Result<Measured, Fail> {
        let Shape { count, op, .. } = self.shape;
        let (task, ranks) = (&self.schedule.task, self.schedule.ranks);
        let inputs: Vec<Vec<T>> = (0..ranks)
            .map(|rank| {
                let mut input = Vec::new();
                generate_parts(&mut input, &self.schedule, Fill::Exact, SEED, rank, count);
                input
            })
            .collect();
        let length = |rank| task.output_parts(rank, ranks) as usize * count;
        let mut outputs: Vec<Vec<T>> = (0..ranks).map(|rank| vec![T::poison(); length(rank)]).collect();
        let given: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
        let times = self.times(&given, &mut outputs).map_err(Fail::Run)?;
        outputs.iter_mut().flatten().for_each(|element| *element = T::poison());
        let mut got: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
        self.ready.run(&given, &mut got).map_err(Fail::Run)?;
        if count == 0 {
            return Ok(Measured { times, wrong: 0 });
        }
        let said = |error: &dyn ToString| Fail::Input(error.to_string());
        let proved = prove(self.schedule, proof::Options::default()).map_err(|error| said(&error))?;
        let payload = proved.payload(count, T::TYPE).map_err(|error| said(&error))?;
        let inputs: Vec<&[T]> = inputs.iter().map(Vec::as_slice).collect();
        let outputs: Vec<&[T]> = outputs.iter().map(Vec::as_slice).collect();
        let compared = compare(&proved, &payload, op, &inputs, &outputs).map_err(|error| said(&error))?;
        Ok(Measured { times, wrong: compared.wrong })
    }
}

impl Case {
    /// Microseconds of each launch: on the processor over the caller's memory, on a device over what lies there.
    fn times<T: Element>(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [Vec<T>],
    ) -> Result<Vec<f64>, wgccl::error::RunError> {
        let mut outputs: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
        if self.on_cpu {
            let mut times = Vec::with_capacity(self.iterations);
            for number in 0..self.warmup + self.iterations {
                let start = Instant::now();
                self.ready.run(inputs, &mut outputs)?;
                let time = start.elapsed();
                if number >= self.warmup {
                    times.push(time.as_secs_f64() * 1e6);
                }
            }
            return Ok(times);
        }
        let mut times = vec![0.0; self.iterations];
        for piece in 0..self.ready.prepared().pieces {
            self.ready.load(piece, inputs)?;
            self.ready.time(self.warmup)?;
            for (sum, ran) in times.iter_mut().zip(self.ready.time(self.iterations)?) {
                *sum += ran.device.or(ran.time).unwrap_or_default().as_secs_f64() * 1e6;
            }
        }
        Ok(times)
    }
}
