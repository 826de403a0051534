//! One placement of one size on one device: warm up, time, check.
//!
//! Timing and checking are separate launches: a checked one poisons its outputs first and is read back, a timed one not.

use std::time::{Duration, Instant};

use wgccl::buffers::Extents;
use wgccl::collective::Op;
use wgccl::element::Element;
use wgccl::golden::Goldens;
use wgccl::gpu::{Gpu, Timed};
use wgccl::low_level::warm_up;
use wgccl::payload::Payload;
use wgccl::proof::Proved;
use wgccl::{cpu, gpu};

use super::bandwidth::{bus_factor, elements_moved, rate};
use super::request::Request;
use super::result::{Placement, Roof, Samples};
use super::roof::microseconds_of;
use super::stamp::hash;
use super::statistics::Statistics;
use crate::error::{BenchError, Error};
use crate::run::{microseconds, views};

/// How long cores are warmed up at least. Of two virtual ones a scheduler gave both workers the same for as long as 20 ms.
const SETTLING: Duration = Duration::from_millis(20);

/// When a row must be done.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    /// The moment and the limit that led to it.
    pub(super) at: Option<(Instant, Duration)>,
    /// What runs, for people.
    pub(super) what: String,
}

impl Deadline {
    pub(super) fn check(&self) -> Result<(), BenchError> {
        match self.at {
            Some((at, limit)) if Instant::now() > at => Err(BenchError::Timeout { limit, what: self.what.clone() }),
            _ => Ok(()),
        }
    }

    /// Launches between two looks at the clock.
    fn batch(&self, launches: usize) -> usize {
        if self.at.is_some() { 1 } else { launches }
    }
}

/// What is measured.
#[derive(Clone, Copy)]
pub(super) struct Case<'a, T> {
    pub(super) request: &'a Request,
    /// On a GPU.
    pub(super) dispatch: gpu::Choice,
    pub(super) proved: &'a Proved,
    pub(super) payload: Payload,
    pub(super) op: Op,
    pub(super) inputs: &'a [&'a [T]],
    /// As nccl-tests counts.
    pub(super) size: u64,
    pub(super) deadline: &'a Deadline,
}

/// What differs between devices, before bandwidths are made of it.
struct Raw {
    times: Vec<Timed>,
    nwrong: Option<u64>,
    dispatch: Option<wgccl::lower::plan::Mode>,
    dispatches: Option<u32>,
    channels: u32,
    pieces: usize,
    device_bytes: Option<(u64, u64)>,
    kernel: Option<String>,
}

impl<T: Element> Case<'_, T> {
    pub(super) fn on_gpu(
        &self,
        gpu: &Gpu,
        roof: &mut impl FnMut(usize) -> Result<Roof, Error>,
    ) -> Result<(Placement, Samples), Error> {
        let options = gpu::Options::default().dispatch(self.dispatch);
        let mut executor = gpu::Executor::<T>::new(gpu, self.proved, self.payload, self.op, options)?;
        let (mut times, mut dispatches) = (Vec::<Timed>::new(), 0);
        let buffers = if self.in_place() { self.buffers()? } else { Vec::new() };
        let given = if self.in_place() { views(&buffers) } else { self.inputs.to_vec() };
        for piece in 0..executor.pieces() {
            executor.load(piece, &given)?;
            warm_up(gpu)?;
            let mut launch = |launches: usize| -> Result<Vec<Timed>, Error> {
                let mut times = Vec::with_capacity(launches);
                while times.len() < launches {
                    let timing = executor.time(self.deadline.batch(launches))?;
                    dispatches = dispatches.max(timing.dispatches);
                    times.extend(timing.launches);
                    self.deadline.check()?;
                }
                Ok(times)
            };
            launch(self.request.warmup)?;
            let of_piece = launch(self.request.iterations)?;
            match times.is_empty() {
                true => times = of_piece,
                false => times.iter_mut().zip(of_piece).for_each(|(sum, timed)| *sum = add(*sum, timed)),
            }
        }
        drop(given);
        drop(buffers);
        let nwrong = self.wrong(|goldens| Ok(executor.count_wrong(self.inputs, goldens)?))?;
        let raw = Raw {
            times,
            nwrong,
            dispatch: Some(executor.mode()),
            dispatches: Some(dispatches),
            channels: executor.channels(),
            pieces: executor.pieces(),
            device_bytes: Some(executor.device_bytes()),
            kernel: Some(hash(&executor.source().text)),
        };
        drop(executor);
        let roof = roof(raw.pieces)?;
        self.placement(raw, &roof)
    }

    pub(super) fn on_cpu(
        &self,
        roof: &mut impl FnMut(usize) -> Result<Roof, Error>,
    ) -> Result<(Placement, Samples), Error> {
        let mut executor = cpu::Executor::<T>::new(self.proved, self.payload, self.op, cpu::Options::default())?;
        let in_place = self.in_place();
        let mut buffers = self.buffers()?;
        let mut launch = |executor: &mut cpu::Executor<T>| -> Result<Timed, Error> {
            let mut outputs = self.outputs(&mut buffers);
            let start = Instant::now();
            match in_place {
                true => executor.run_in_place(&mut outputs)?,
                false => executor.run(self.inputs, &mut outputs)?,
            }
            let wall = start.elapsed();
            self.deadline.check()?;
            Ok(Timed { wall, device: None })
        };
        let start = Instant::now();
        let mut warm = 0;
        while warm < self.request.warmup || executor.workers() > 1 && start.elapsed() < SETTLING {
            launch(&mut executor)?;
            warm += 1;
        }
        let times = (0..self.request.iterations).map(|_| launch(&mut executor)).collect::<Result<_, _>>()?;
        drop(buffers);
        let nwrong = self.wrong(|goldens| {
            let mut buffers = self.buffers()?;
            let mut outputs = self.outputs(&mut buffers);
            match in_place {
                true => executor.run_in_place(&mut outputs)?,
                false => executor.run(self.inputs, &mut outputs)?,
            }
            let views = views_from(&buffers, self.request.unalign);
            let outputs: Vec<&[T]> = (0..).zip(views).map(|(rank, view)| &view[self.extents().output(rank)]).collect();
            Ok(goldens.compare(&outputs).wrong)
        })?;
        let raw = Raw {
            times,
            nwrong,
            dispatch: None,
            dispatches: None,
            channels: executor.channels(),
            pieces: 1,
            device_bytes: None,
            kernel: None,
        };
        drop(executor);
        let roof = roof(1)?;
        self.placement(raw, &roof)
    }

    /// Elements that differ from the golden in all checked launches; as nccl-tests, it stops at the first wrong one.
    /// Each launch is of fresh inputs and poisoned outputs.
    fn wrong(&self, mut launch: impl FnMut(&Goldens<'_, T>) -> Result<u64, Error>) -> Result<Option<u64>, Error> {
        if self.request.checks == 0 {
            return Ok(None);
        }
        let goldens = Goldens::new(self.proved, &self.payload, self.op, self.inputs);
        let mut wrong = 0;
        for _ in 0..self.request.checks {
            self.deadline.check()?;
            wrong += launch(&goldens)?;
            self.deadline.check()?;
            if wrong > 0 {
                break;
            }
        }
        Ok(Some(wrong))
    }

    /// Bytes that a launch reads and writes by the schedule.
    pub(super) fn bytes_moved(&self) -> u64 {
        elements_moved(self.proved.schedule(), &self.payload) * self.payload.element_bytes as u64
    }

    fn in_place(&self) -> bool {
        self.proved.options().in_place
    }

    fn extents(&self) -> Extents<'_> {
        self.proved.extents(self.payload.count)
    }

    /// Outputs, or buffers in place, as they are before a launch; as far from an aligned address as was asked for.
    fn buffers(&self) -> Result<Vec<Vec<T>>, Error> {
        let (unalign, extents) = (self.request.unalign, self.extents());
        let ranks = self.proved.schedule().ranks;
        (0..)
            .zip(self.inputs)
            .map(|(rank, input)| {
                let mut buffer = crate::run::reserved(ranks, extents.len(extents.results(), rank) + unalign)?;
                buffer.resize(unalign, T::poison());
                extents.prepare(rank, input, &mut buffer);
                Ok(buffer)
            })
            .collect()
    }

    fn outputs<'b>(&self, buffers: &'b mut [Vec<T>]) -> Vec<&'b mut [T]> {
        buffers.iter_mut().map(|buffer| &mut buffer[self.request.unalign..]).collect()
    }

    fn placement(&self, raw: Raw, roof: &Roof) -> Result<(Placement, Samples), Error> {
        let (clock, times) = microseconds_of(&raw.times);
        let skip = self.request.skip.min(times.len().saturating_sub(1));
        let Some(statistics) = Statistics::of(&times[skip..]) else {
            return Err(Error::Usage("0 iterations measure nothing; give at least -n 1".to_owned()));
        };
        let mean = |value: &dyn Fn(&Timed) -> Option<f64>| {
            let values: Option<Vec<f64>> = raw.times[skip..].iter().map(value).collect();
            values.and_then(|values| Statistics::of(&values)).map(|statistics| statistics.mean)
        };
        let time = statistics.mean;
        let schedule = self.proved.schedule();
        let alg_bw = rate(self.size as f64, time);
        let mem_bw = rate(self.bytes_moved() as f64, time);
        let placement = Placement {
            time,
            clock,
            host_time: mean(&|timed| Some(microseconds(timed.wall))).unwrap_or(time),
            alg_bw,
            bus_bw: alg_bw * bus_factor(schedule.task.collective, schedule.ranks),
            mem_bw,
            roof_pct: if roof.bandwidth > 0.0 { 100.0 * mem_bw / roof.bandwidth } else { f64::NAN },
            nwrong: raw.nwrong,
            dispatch: raw.dispatch,
            dispatches: raw.dispatches,
            channels: raw.channels,
            pieces: raw.pieces,
            device_bytes: raw.device_bytes,
            kernel: raw.kernel,
        };
        Ok((placement, Samples { skipped_iterations: skip, statistics, times_us: times }))
    }
}

/// The same iteration of two pieces.
fn add(a: Timed, b: Timed) -> Timed {
    let device = a.device.zip(b.device).map(|(a, b)| a + b);
    Timed { wall: a.wall + b.wall, device }
}

/// As [`views`], from `unalign` elements on.
pub(super) fn views_from<T>(vectors: &[Vec<T>], unalign: usize) -> Vec<&[T]> {
    views(vectors).into_iter().map(|view| &view[unalign..]).collect()
}
