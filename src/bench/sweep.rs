//! The sweep: devices, ranks, algorithms and sizes, one row after the other.
//!
//! It prints nothing: an observer sees each row as it comes, so that a long sweep shows something and a failed one
//! keeps what it had.

use std::time::{Duration, Instant};

use super::BenchError;
use super::bandwidth::elements_moved;
use super::measure::{Case, Deadline, views_from};
use super::record::now;
use super::result::{self, Group, Roof, Row};
use super::roof;
use super::size::{Range, Step};
use crate::collective::{Collective, Op};
use crate::element::{DataType, Element, dispatch, supported};
use crate::error::Error;
use crate::gpu::{AdapterInfo, Choice, adapters};
use crate::inputs::{Fill, generate};
use crate::run::{AUTO, CPU, Device, check_memory, reserved};
use crate::schedule::{Algorithm, Sync, build};
use crate::verify::{self, Proved, prove};
use crate::window::Payload;

/// Every device that there is.
pub const ALL: &str = "all";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is computed.
    pub collective: Collective,
    /// How, one after the other.
    pub algorithms: Vec<Algorithm>,
    /// Who waits for whom.
    pub sync: Sync,
    /// Numbers of participants, one after the other.
    pub ranks: Vec<u32>,
    /// Element types, one after the other.
    pub data_types: Vec<DataType>,
    /// Reductions, one after the other.
    pub ops: Vec<Op>,
    /// Devices, one after the other, as `--device` takes them.
    pub devices: Vec<String>,
    /// Dispatch mode on a GPU.
    pub dispatch: Choice,
    /// Sizes.
    pub range: Range,
    /// Timed launches of a row.
    pub iterations: usize,
    /// Launches before them.
    pub warmup: usize,
    /// First timed launches that statistics leave out.
    pub skip: usize,
    /// Checked launches after them.
    pub checks: usize,
    /// Repetitions of everything; 0 is for ever.
    pub cycles: u64,
    /// First element of every buffer.
    pub unalign: usize,
    /// What a row may take.
    pub timeout: Option<Duration>,
    /// Of the generated inputs.
    pub seed: u64,
}

impl Default for Request {
    /// Seven sizes, seconds on anything.
    fn default() -> Self {
        Self {
            collective: Collective::AllReduce,
            algorithms: vec![Algorithm::Ring],
            sync: Sync::Neighbor,
            ranks: vec![4],
            data_types: vec![DataType::F32],
            ops: vec![Op::Sum],
            devices: vec![AUTO.to_owned()],
            dispatch: Choice::Auto,
            range: Range { first: 1 << 10, last: 4 << 20, step: Step::Factor(4) },
            iterations: 20,
            warmup: 5,
            skip: 0,
            checks: 1,
            cycles: 1,
            unalign: 0,
            timeout: None,
            seed: 0,
        }
    }
}

/// Sees a sweep while it goes on.
pub trait Observer {
    /// Before the first row: what is tested, and how many rows there will be in a cycle.
    ///
    /// # Errors
    /// Ends the sweep.
    fn begin(&mut self, devices: &[result::Device], rows: usize, notes: &[String]) -> Result<(), Error>;
    /// After each row.
    ///
    /// # Errors
    /// Ends the sweep.
    fn row(&mut self, row: Row) -> Result<(), Error>;
}

impl Request {
    /// The dispatch mode's name.
    pub fn dispatch_name(&self) -> String {
        match self.dispatch {
            Choice::Auto => AUTO.to_owned(),
            Choice::Named(mode) => mode.to_string(),
        }
    }

    /// Every type with every operation that it has. Where several were asked for, one that does not exist is only noted.
    fn pairs(&self, notes: &mut Vec<String>) -> Result<Vec<(DataType, Op)>, Error> {
        let mut pairs = Vec::new();
        let mut refused = None;
        for (&data_type, &op) in self.data_types.iter().flat_map(|t| self.ops.iter().map(move |op| (t, op))) {
            match supported(data_type, op) {
                Ok(()) => pairs.push((data_type, op)),
                Err(unsupported) => {
                    notes.push(unsupported.to_string());
                    refused.get_or_insert(unsupported);
                }
            }
        }
        match refused {
            Some(unsupported) if pairs.is_empty() => Err(unsupported.into()),
            _ => Ok(pairs),
        }
    }

    /// Refuses what can be refused without a device.
    fn check(&self) -> Result<(), Error> {
        for (&algorithm, &ranks) in self.algorithms.iter().flat_map(|a| self.ranks.iter().map(move |r| (a, r))) {
            build(self.collective, algorithm, ranks, self.sync)?;
        }
        for &data_type in &self.data_types {
            let counts = self.range.counts(data_type.bytes())?;
            let (largest, ranks) = (counts.last().copied().unwrap_or(0), self.ranks.iter().copied().max().unwrap_or(0));
            dispatch!(data_type, T => check_memory::<T>(ranks, largest.saturating_add(self.unalign)))?;
        }
        match self {
            _ if self.iterations == 0 => {
                Err(Error::Usage("0 iterations measure nothing; give at least -n 1".to_owned()))
            }
            _ if self.skip >= self.iterations => Err(Error::Usage(format!(
                "-K {} leaves out all of the {} iterations; give more of them with -n",
                self.skip, self.iterations
            ))),
            _ => Ok(()),
        }
    }
}

/// Runs `request`.
///
/// # Errors
/// [`Error`]; wrong elements are counted in rows and are none.
pub fn sweep(request: &Request, observer: &mut impl Observer) -> Result<(), Error> {
    request.check()?;
    let mut notes = Vec::new();
    let devices = devices(&request.devices, &mut notes)?;
    for device in &devices {
        let is_cpu = matches!(device, Device::Cpu);
        if is_cpu && request.dispatch != Choice::Auto {
            return Err(Error::Usage("the CPU executor has no dispatch modes; leave --dispatch out".to_owned()));
        }
        if !is_cpu && request.unalign > 0 {
            return Err(Error::Usage(
                "-u: a GPU's buffers are laid out by the executor, always aligned; use it with --device cpu".to_owned(),
            ));
        }
        request.ranks.iter().try_for_each(|&ranks| device.check_ranks(ranks))?;
    }
    let pairs = request.pairs(&mut notes)?;
    let counts: usize =
        pairs.iter().map(|(t, _)| Ok(request.range.counts(t.bytes())?.len())).sum::<Result<_, BenchError>>()?;
    let rows = counts * request.ranks.len() * request.algorithms.len() * devices.len();
    let descriptions: Vec<result::Device> = devices.iter().map(describe).collect();
    observer.begin(&descriptions, rows, &notes)?;
    let mut cycle = 0;
    while request.cycles == 0 || cycle < request.cycles {
        for (index, device) in devices.iter().enumerate() {
            for &(data_type, op) in &pairs {
                dispatch!(data_type, T => of_device::<T>(request, (index, device), op, cycle, observer))?;
            }
        }
        cycle += 1;
    }
    Ok(())
}

fn devices(wanted: &[String], notes: &mut Vec<String>) -> Result<Vec<Device>, Error> {
    let mut found = Vec::new();
    for name in wanted {
        if name == ALL {
            for adapter in &adapters() {
                found.push(Device::find(&adapter.info().index.to_string(), notes)?);
            }
            found.push(Device::Cpu);
        } else {
            found.push(Device::find(name, notes)?);
        }
    }
    Ok(found)
}

fn describe(device: &Device) -> result::Device {
    match device {
        Device::Cpu => result::Device {
            index: None,
            name: "CPU executor".to_owned(),
            backend: CPU,
            kind: CPU,
            driver: None,
            threads: Some(threads()),
        },
        Device::Gpu(gpu) => {
            let AdapterInfo { index, name, backend, kind, driver, .. } = gpu.info().clone();
            result::Device { index: Some(index), name, backend, kind, driver: Some(driver), threads: None }
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn of_device<T: Element>(
    request: &Request,
    (index, device): (usize, &Device),
    redop: Op,
    cycle: u64,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let counts = request.range.counts(T::TYPE.bytes())?;
    for &ranks in &request.ranks {
        // The copy knows no algorithm: measured once for a size.
        let mut roofs: Vec<Option<Roof>> = vec![None; counts.len()];
        for &algorithm in &request.algorithms {
            let schedule = build(request.collective, algorithm, ranks, request.sync)?;
            let proved = |in_place| prove(schedule.clone(), verify::Options { in_place });
            let Request { collective, sync, .. } = *request;
            let group = Group { device: index, collective, algorithm, sync, ranks, data_type: T::TYPE, redop, cycle };
            let test = Test { request, device, proved: [proved(false)?, proved(true)?], group };
            for (&count, roof) in counts.iter().zip(&mut roofs) {
                observer.row(test.row::<T>(count, roof)?)?;
            }
        }
    }
    Ok(())
}

/// What is measured over all sizes.
struct Test<'a> {
    request: &'a Request,
    device: &'a Device,
    /// Out of place, in place.
    proved: [Proved; 2],
    group: Group,
}

impl Test<'_> {
    fn row<T: Element>(&self, count: usize, known_roof: &mut Option<Roof>) -> Result<Row, Error> {
        let Self { request, device, .. } = *self;
        let Group { device: index, collective, algorithm, sync, ranks, data_type, redop, cycle } = self.group;
        let schedule = self.proved[0].schedule();
        let payload = Payload::new(schedule, count, T::TYPE.bytes())?;
        let deadline = Deadline {
            at: request.timeout.map(|limit| (Instant::now() + limit, limit)),
            what: format!("{collective} by {algorithm}, {ranks} ranks of {count} {}", T::TYPE),
        };
        let inputs = (0..ranks)
            .map(|rank| {
                let mut input = reserved(ranks, request.unalign + count)?;
                input.resize(request.unalign, T::poison());
                input.extend(generate::<T>(Fill::Exact, request.seed, rank, ranks, count));
                Ok(input)
            })
            .collect::<Result<Vec<Vec<T>>, Error>>()?;
        let inputs = views_from(&inputs, request.unalign);
        let bytes_moved = elements_moved(schedule, &payload) * T::TYPE.bytes() as u64;
        let mut roof = |pieces: usize| match *known_roof {
            Some(roof) => Ok(roof),
            None => Ok(*known_roof.insert(copy(device, &inputs, pieces)?)),
        };
        let mut measure = |proved: &Proved| {
            let case = Case { request, proved, payload, op: redop, inputs: &inputs, bytes_moved, deadline: &deadline };
            match device {
                Device::Cpu => case.on_cpu(&mut roof),
                Device::Gpu(gpu) => case.on_gpu(gpu, &mut roof),
            }
        };
        let (out_of_place, out_of_place_per_iter) = measure(&self.proved[0])?;
        let (in_place, in_place_per_iter) = measure(&self.proved[1])?;
        let roof = roof(out_of_place.pieces)?;
        Ok(Row {
            size: (count * T::TYPE.bytes()) as u64,
            count,
            data_type,
            redop,
            root: -1,
            collective,
            algorithm,
            sync,
            ranks,
            device: index,
            cycle,
            timestamp: now(),
            bytes_moved,
            roof,
            out_of_place,
            out_of_place_per_iter,
            in_place,
            in_place_per_iter,
        })
    }
}

fn copy<T: Element>(device: &Device, inputs: &[&[T]], pieces: usize) -> Result<Roof, Error> {
    match device {
        Device::Cpu => {
            let mut outputs: Vec<Vec<T>> = inputs.iter().map(|input| vec![T::poison(); input.len()]).collect();
            Ok(roof::on_cpu(inputs, &mut outputs, threads()))
        }
        Device::Gpu(gpu) => {
            let bytes = inputs.iter().map(|input| size_of_val(*input) as u64).sum();
            roof::on_gpu(gpu, bytes, pieces)
        }
    }
}
