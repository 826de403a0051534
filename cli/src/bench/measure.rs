//! One placement of one size on one device: warm up, time, check.
//!
//! Timing and checking are separate launches: a checked one poisons its outputs first and is read back, a timed one not.

use std::time::{Duration, Instant};

use wgccl::backend::{Backend, Options, Prepared, Ready, Shape};
use wgccl::collective::Op;
use wgccl::element::Element;
use wgccl::golden::Goldens;
use wgccl::low_level::buffers::Extents;
use wgccl::low_level::payload::Payload;
use wgccl::proof::Proved;

use super::bandwidth::{elements_moved, rate};
use super::request::Request;
use super::result::{Measured, Roof, Samples};
use super::roof::{Timed, microseconds_of};
use super::stamp::hash;
use super::statistics::Statistics;
use crate::device::{Device, Loaded};
use crate::dispatch::Dispatch;
use crate::error::{BenchError, Error};
use crate::memory::reserved;
use crate::protocol::{Wish, settle};
use crate::trace::Traced;
use crate::views::{Host, bytes, bytes_mut, microseconds, views_from};

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
    pub(super) device: &'a Device,
    pub(super) dispatch: Dispatch,
    /// What the file says of the protocol, where it is the file that runs.
    pub(super) wish: Option<Wish>,
    pub(super) proved: &'a Proved,
    pub(super) payload: Payload,
    pub(super) op: Op,
    pub(super) inputs: &'a [&'a [T]],
    /// As nccl-tests counts.
    pub(super) size: u64,
    pub(super) deadline: &'a Deadline,
}

/// What was measured, before bandwidths are made of it.
struct Raw {
    times: Vec<Timed>,
    nwrong: Option<u64>,
    dispatches: u32,
    prepared: Prepared,
    device_bytes: Option<(u64, u64)>,
    kernel: Option<String>,
}

impl<T: Element> Case<'_, T> {
    pub(super) fn measure(
        &self,
        roof: &mut impl FnMut(usize) -> Result<Roof, Error>,
    ) -> Result<(Measured, Samples), Error> {
        let shape = Shape::new(self.payload.count, T::TYPE, self.op);
        let mut ready = self.device.prepare(self.proved, shape, &self.options(self.settled(shape)))?;
        let prepared = ready.prepared();
        let (times, dispatches) = self.times(&mut ready)?;
        let nwrong = self.wrong(&mut ready)?;
        let (device_bytes, kernel) = (ready.device_bytes(), ready.source().map(|text| hash(&text)));
        drop(ready);
        let roof = roof(prepared.pieces)?;
        self.placement(Raw { times, nwrong, dispatches, prepared, device_bytes, kernel }, &roof)
    }

    /// The last of a few launches, each from inputs to outputs: what was measured stays as it was.
    pub(super) fn traced(&self) -> Result<Option<Traced>, Error> {
        let shape = Shape::new(self.payload.count, T::TYPE, self.op);
        let mut ready = self.device.prepare(self.proved, shape, &self.options(self.settled(shape)).trace(true))?;
        let (unalign, mut buffers) = (self.request.unalign, self.buffers()?);
        for _ in 0..=self.request.warmup {
            match self.in_place() {
                true => ready.run_in_place(&mut bytes_mut(&mut buffers, unalign))?,
                false => ready.run(&bytes(self.inputs), &mut bytes_mut(&mut buffers, unalign))?,
            };
            self.deadline.check()?;
        }
        let (device, prepared) = (self.device.describe(), ready.prepared());
        let collective = self.proved.schedule().task.collective;
        let op = collective.reduces().then_some(self.op);
        let (proved, payload, data_type) = (self.proved.clone(), self.payload, T::TYPE);
        Ok(ready.trace().map(|trace| Traced { trace, proved, payload, device, prepared, data_type, op }))
    }

    /// What a row may take bounds every wait of it.
    fn options(&self, dispatch: Dispatch) -> Options {
        let bounded = self.device.gpu().is_some() || self.device.is_of_processes();
        let timeout = if bounded { self.request.timeout } else { None };
        dispatch.options().timeout(timeout)
    }

    fn settled(&self, shape: Shape) -> Dispatch {
        let wanted = (self.dispatch, self.wish);
        settle(self.device, self.proved, shape, wanted, |dispatch| self.options(dispatch)).dispatch
    }

    /// Times of the iterations, each over all pieces, and most dispatches of a launch.
    fn times(&self, ready: &mut Loaded) -> Result<(Vec<Timed>, u32), Error> {
        let (mut times, mut dispatches) = (Vec::<Timed>::new(), 0);
        let mut buffers = self.buffers()?;
        let given = self.given();
        let inputs = (!self.in_place()).then(|| bytes(&given));
        let mut host = Host::new(inputs, bytes_mut(&mut buffers, self.request.unalign));
        let prepared = ready.prepared();
        for piece in 0..prepared.pieces {
            ready.place(piece, &host)?;
            self.device.warm_up()?;
            let mut launch = |launches: usize| -> Result<Vec<Timed>, Error> {
                let mut times = Vec::with_capacity(launches);
                while times.len() < launches {
                    for ran in ready.time(self.deadline.batch(launches), &mut host)? {
                        dispatches = dispatches.max(ran.dispatches);
                        times.push(Timed { wall: ran.time.unwrap_or_default(), device: ran.device });
                    }
                    self.deadline.check()?;
                }
                Ok(times)
            };
            let start = Instant::now();
            launch(self.request.warmup)?;
            // Workers of a launch in channels. Several processes launch as often as each other, whatever their clocks say.
            let alone = !self.device.is_of_processes();
            let settles = alone && prepared.dispatch.is_none() && prepared.channels > 1;
            while settles && start.elapsed() < SETTLING {
                launch(1)?;
            }
            let of_piece = launch(self.request.iterations)?;
            match times.is_empty() {
                true => times = of_piece,
                false => times.iter_mut().zip(of_piece).for_each(|(sum, timed)| *sum = add(*sum, timed)),
            }
        }
        Ok((self.device.decide(times, slowest)?, dispatches))
    }

    /// Elements that differ from the golden in all checked launches; as nccl-tests, it stops at the first wrong one.
    /// Each launch is of fresh inputs and poisoned outputs.
    fn wrong(&self, ready: &mut Loaded) -> Result<Option<u64>, Error> {
        if self.request.checks == 0 {
            return Ok(None);
        }
        let goldens = Goldens::new(self.proved, &self.payload, self.op, self.inputs)?;
        let mut wrong = 0;
        for _ in 0..self.request.checks {
            self.deadline.check()?;
            let here = match ready.count_wrong(self.inputs, &goldens)? {
                Some(wrong) => wrong,
                None => self.wrong_on_host(ready, &goldens)?,
            };
            self.deadline.check()?;
            wrong += self.device.decide(here, |all| all.into_iter().sum::<u64>())?;
            if wrong > 0 {
                break;
            }
        }
        Ok(Some(wrong))
    }

    fn wrong_on_host(&self, ready: &mut Loaded, goldens: &Goldens<'_, T>) -> Result<u64, Error> {
        let (unalign, mut buffers) = (self.request.unalign, self.buffers()?);
        match self.in_place() {
            true => ready.run_in_place(&mut bytes_mut(&mut buffers, unalign))?,
            false => ready.run(&bytes(&self.given()), &mut bytes_mut(&mut buffers, unalign))?,
        };
        let of_rank = |(rank, view): (u32, &[T])| {
            let output = if self.is_here(rank) { &view[self.extents().output(rank)] } else { &[] };
            let pairs = (0..).zip(output).zip(goldens.golden().expected(rank));
            let wrong = pairs.filter(|((i, got), expected)| {
                !got.agrees(**expected) && !got.agrees(goldens.flushed().expected(rank)[*i])
            });
            wrong.count() as u64
        };
        Ok((0..).zip(views_from(&buffers, unalign)).map(of_rank).sum())
    }

    /// Whether this process has that rank.
    fn is_here(&self, rank: u32) -> bool {
        self.device.is_here(rank, self.proved.schedule().ranks)
    }

    /// Inputs of the ranks that this process has.
    fn given(&self) -> Vec<&[T]> {
        (0..).zip(self.inputs).map(|(rank, input)| if self.is_here(rank) { *input } else { &[] }).collect()
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
                let here = self.is_here(rank);
                let len = if here { extents.len(extents.results(), rank) } else { 0 };
                let mut buffer = reserved(ranks, len + unalign)?;
                buffer.resize(unalign, T::poison());
                if here {
                    extents.prepare(rank, input, &mut buffer);
                }
                Ok(buffer)
            })
            .collect()
    }

    fn placement(&self, raw: Raw, roof: &Roof) -> Result<(Measured, Samples), Error> {
        let (clock, times) = microseconds_of(&raw.times);
        let skip = self.request.skip.min(times.len().saturating_sub(1));
        let Some(statistics) = Statistics::of(&times[skip..]) else {
            return Err(Error::Usage("0 iterations measure nothing; give at least -n 1".to_owned()));
        };
        let by_host: Vec<f64> = raw.times[skip..].iter().map(|timed| microseconds(timed.wall)).collect();
        let by_host = Statistics::of(&by_host);
        let time = statistics.mean;
        let schedule = self.proved.schedule();
        let alg_bw = rate(self.size as f64, time);
        let mem_bw = rate(self.bytes_moved() as f64, time);
        let Prepared { dispatch, channels, pieces, .. } = raw.prepared;
        let placement = Measured {
            time,
            clock,
            host_time: by_host.map_or(time, |by_host| by_host.mean),
            host_p50: by_host.map(|by_host| by_host.p50),
            alg_bw,
            bus_bw: alg_bw * schedule.task.collective.bus_factor(schedule.ranks),
            mem_bw,
            roof_pct: if roof.bandwidth > 0.0 { 100.0 * mem_bw / roof.bandwidth } else { f64::NAN },
            nwrong: raw.nwrong,
            dispatch: dispatch.map(|(mode, _)| mode),
            protocol: dispatch.map(|(_, protocol)| protocol),
            dispatches: dispatch.map(|_| raw.dispatches),
            channels,
            pieces,
            device_bytes: raw.device_bytes,
            kernel: raw.kernel,
        };
        Ok((placement, Samples { skipped_iterations: skip, statistics, times_us: times }))
    }
}

/// Of each iteration, what the process took that took longest.
fn slowest(all: Vec<Vec<Timed>>) -> Vec<Timed> {
    let together = |mut slowest: Vec<Timed>, other: Vec<Timed>| {
        slowest.iter_mut().zip(other).for_each(|(slowest, other)| {
            let device = slowest.device.zip(other.device).map(|(a, b)| a.max(b));
            *slowest = Timed { wall: slowest.wall.max(other.wall), device };
        });
        slowest
    };
    all.into_iter().reduce(together).unwrap_or_default()
}

/// The same iteration of two pieces.
fn add(a: Timed, b: Timed) -> Timed {
    let device = a.device.zip(b.device).map(|(a, b)| a + b);
    Timed { wall: a.wall + b.wall, device }
}
