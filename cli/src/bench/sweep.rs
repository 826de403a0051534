//! The sweep: devices, ranks, algorithms and sizes, one row after the other.
//!
//! It prints nothing: an observer sees each row as it comes, so that a long sweep shows something and a failed one
//! keeps what it had.

use std::time::{Duration, Instant};

use wgccl::buffers::{Extents, Given};
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::{DataType, Element, supported};
use wgccl::gpu::{AdapterInfo, Choice, Support, open_all};
use wgccl::inputs::{Fill, generate_parts};
use wgccl::low_level::{Typed, typed};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, BuildError, DeviceKind, Schedule, Selection, SyncStyle, build};
use wgccl::window::Payload;

use super::BenchError;
use super::measure::{Case, Deadline, views_from};
use super::record::now;
use super::result::{self, Group, Roof, Row};
use super::roof;
use super::size::{Parts, Range, Step};
use crate::error::Error;
use crate::run::{AUTO, CPU, Device, check_memory, reserved, views};

/// Every device that there is.
pub const ALL: &str = "all";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is computed.
    pub collective: Collective,
    /// For collectives that have one.
    pub roots: Roots,
    /// Of send-recv: from whom each rank receives; empty is the rank before it.
    pub sources: Vec<u32>,
    /// How, one after the other.
    pub algorithms: Vec<Selection>,
    /// Leave out, and note, an algorithm that is not defined for a number of ranks, in place of refusing everything.
    pub only_defined: bool,
    /// Who waits for whom.
    pub sync: SyncStyle,
    /// Numbers of participants, one after the other.
    pub ranks: Vec<u32>,
    /// Element types, one after the other.
    pub data_types: Vec<DataType>,
    /// Reductions, one after the other.
    pub ops: Vec<Op>,
    /// Devices, one after the other, as `--device` takes them.
    pub devices: Vec<String>,
    /// Dispatch modes on GPUs, one after the other.
    pub dispatch: Vec<Choice>,
    /// Leave out, and note, modes that a device does not bear, in place of refusing everything.
    pub only_sound: bool,
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

/// Which roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// This one.
    One(u32),
    /// Every rank, one after the other.
    All,
}

impl Default for Request {
    /// Seven sizes, seconds on anything.
    fn default() -> Self {
        Self {
            collective: Collective::AllReduce,
            roots: Roots::One(0),
            sources: Vec::new(),
            algorithms: vec![Algorithm::Ring.into()],
            only_defined: false,
            sync: SyncStyle::Neighbor,
            ranks: vec![4],
            data_types: vec![DataType::F32],
            ops: vec![Op::Sum],
            devices: vec![AUTO.to_owned()],
            dispatch: vec![Choice::Auto],
            only_sound: false,
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
    /// The dispatch modes' names.
    pub fn dispatch_names(&self) -> String {
        let name = |choice: &Choice| match choice {
            Choice::Named(mode) => mode.to_string(),
            _ => AUTO.to_owned(),
        };
        if self.only_sound { ALL.to_owned() } else { self.dispatch.iter().map(name).collect::<Vec<_>>().join(",") }
    }

    /// The dispatch modes that are measured on `device`, and why any is left out.
    fn dispatch_on(&self, device: &Device, notes: &mut Vec<String>) -> Vec<Choice> {
        let Device::Gpu(gpu) = device else { return vec![Choice::Auto] };
        let mut sound = self.dispatch.clone();
        sound.retain(|&choice| {
            let Choice::Named(mode) = choice else { return true };
            let reason = match gpu.info().support(mode) {
                Support::Unsound(reason) => Some(reason),
                _ if mode.is_fused() => gpu.fused_probe(mode).err(),
                _ => None,
            };
            match reason {
                Some(reason) if self.only_sound => {
                    notes.push(format!("left out: {mode} on {}: {reason}", gpu.info().title()));
                    false
                }
                _ => true,
            }
        });
        sound
    }

    /// The reductions of every type, one after the other. Where several were asked for, one that does not exist is only
    /// noted.
    fn redops(&self, notes: &mut Vec<String>) -> Result<Vec<(DataType, Option<Op>)>, Error> {
        if !self.collective.reduces() {
            return Ok(self.data_types.iter().map(|&data_type| (data_type, None)).collect());
        }
        let mut pairs = Vec::new();
        let mut refused = None;
        for (&data_type, &op) in self.data_types.iter().flat_map(|t| self.ops.iter().map(move |op| (t, op))) {
            match supported(data_type, op) {
                Ok(()) => pairs.push((data_type, Some(op))),
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

    /// The roots among so many ranks; one where roots mean nothing.
    fn roots(&self, ranks: u32) -> std::ops::Range<u32> {
        match self.roots {
            Roots::One(root) => root..root + 1,
            Roots::All => 0..if self.collective.has_root() { ranks } else { 1 },
        }
    }

    /// Elements of a part in every size.
    fn counts(&self, data_type: DataType, ranks: u32) -> Result<Vec<usize>, BenchError> {
        self.range.counts(data_type.bytes(), Parts::of(self.collective, ranks))
    }

    /// Roots and algorithms over `ranks` ranks, and why any is left out.
    fn lines(&self, ranks: u32, notes: &mut Vec<String>) -> Result<Vec<(u32, Selection)>, BuildError> {
        let mut lines = Vec::new();
        for (root, &selection) in self.roots(ranks).flat_map(|r| self.algorithms.iter().map(move |a| (r, a))) {
            let built = match selection {
                Selection::Named(algorithm) => self.schedule(root, algorithm, ranks).map(drop),
                _ => Ok(()),
            };
            match built {
                Ok(()) => lines.push((root, selection)),
                Err(error) if self.only_defined && !matches!(error, BuildError::Ranks(_)) => {
                    let note = format!("left out: {error}");
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(lines)
    }

    fn schedule(&self, root: u32, algorithm: Algorithm, ranks: u32) -> Result<Schedule, BuildError> {
        let mut task = Task::from(self.collective).root(root);
        task.sources.clone_from(&self.sources);
        build(task, algorithm, ranks, self.sync)
    }

    /// Which algorithm a part of `count` elements goes by.
    fn algorithm(
        &self,
        selection: Selection,
        ranks: u32,
        data_type: DataType,
        count: usize,
        kind: DeviceKind,
    ) -> Algorithm {
        selection.algorithm(self.collective, ranks, count as u64 * data_type.bytes() as u64, kind)
    }

    /// Refuses what can be refused without a device, whichever algorithm it would choose.
    fn check(&self) -> Result<(), Error> {
        for &ranks in &self.ranks {
            for (root, selection) in self.lines(ranks, &mut Vec::new())? {
                for &data_type in &self.data_types {
                    let counts = self.counts(data_type, ranks)?;
                    let mut largest = Vec::<(Algorithm, usize)>::new();
                    for (&kind, &count) in DeviceKind::ALL.iter().flat_map(|kind| counts.iter().map(move |c| (kind, c)))
                    {
                        let algorithm = self.algorithm(selection, ranks, data_type, count, kind);
                        match largest.iter_mut().find(|(known, _)| *known == algorithm) {
                            Some((_, largest)) => *largest = count.max(*largest),
                            None => largest.push((algorithm, count)),
                        }
                    }
                    for (algorithm, count) in largest {
                        let schedule = self.schedule(root, algorithm, ranks)?;
                        let count = count.saturating_add(self.unalign);
                        if self.collective != Collective::Barrier {
                            Payload::new(&schedule, count, data_type.bytes())?;
                        }
                        check_memory(&schedule, count, data_type.bytes())?;
                    }
                }
            }
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
    let mut notes = Vec::new();
    for &ranks in &request.ranks {
        request.lines(ranks, &mut notes)?;
    }
    request.check()?;
    let devices = devices(&request.devices, &mut notes)?;
    for device in &devices {
        let is_cpu = matches!(device, Device::Cpu);
        if is_cpu && !request.only_sound && request.dispatch.iter().any(|&choice| choice != Choice::Auto) {
            return Err(Error::Usage("the CPU executor has no dispatch modes; leave --dispatch out".to_owned()));
        }
        if !is_cpu && request.unalign > 0 {
            return Err(Error::Usage(
                "-u: a GPU's buffers are laid out by the executor, always aligned; use it with --device cpu".to_owned(),
            ));
        }
        request.ranks.iter().try_for_each(|&ranks| device.check_ranks(ranks))?;
    }
    let redops = request.redops(&mut notes)?;
    let mut rows = 0;
    for &ranks in &request.ranks {
        let lines = request.lines(ranks, &mut Vec::new())?.len();
        for &(data_type, _) in &redops {
            rows += request.counts(data_type, ranks)?.len() * lines;
        }
        for &data_type in &request.data_types {
            let parts = Parts::of(request.collective, ranks);
            let least = request.range.least(data_type.bytes(), parts);
            if parts != Parts::None && request.range.first < least {
                notes.push(format!("sizes below {least} bytes leave nothing for each of {ranks} ranks: left out"));
            }
        }
    }
    rows *= devices.iter().map(|device| request.dispatch_on(device, &mut notes).len()).sum::<usize>();
    let descriptions: Vec<result::Device> = devices.iter().map(describe).collect();
    observer.begin(&descriptions, rows, &notes)?;
    let mut cycle = 0;
    while request.cycles == 0 || cycle < request.cycles {
        for (index, device) in devices.iter().enumerate() {
            for &(data_type, redop) in &redops {
                let observer = &mut *observer;
                typed(data_type, OfDevice { request, index, device, redop, cycle, observer })?;
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
            for opened in open_all() {
                match opened {
                    Ok(gpu) => found.push(Device::Gpu(Box::new(gpu))),
                    Err(error) => notes.push(format!("left out: {error}")),
                }
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
            backend: CPU.to_owned(),
            kind: CPU.to_owned(),
            driver: None,
            threads: Some(threads()),
        },
        Device::Gpu(gpu) => {
            let AdapterInfo { index, name, backend, kind, driver, .. } = gpu.info().clone();
            let (backend, kind) = (backend.to_owned(), kind.to_owned());
            result::Device { index: Some(index), name, backend, kind, driver: Some(driver), threads: None }
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// All rows of one device, element type and reduction.
struct OfDevice<'a, O> {
    request: &'a Request,
    index: usize,
    device: &'a Device,
    redop: Option<Op>,
    cycle: u64,
    observer: &'a mut O,
}

impl<O: Observer> Typed for OfDevice<'_, O> {
    type Output = Result<(), Error>;

    fn run<T: Element>(self) -> Result<(), Error> {
        let Self { request, index, device, redop, cycle, observer } = self;
        of_device::<T>(request, (index, device), redop, cycle, observer)
    }
}

fn of_device<T: Element>(
    request: &Request,
    (index, device): (usize, &Device),
    redop: Option<Op>,
    cycle: u64,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let Request { collective, sync, .. } = *request;
    let (data_type, choices) = (T::TYPE, request.dispatch_on(device, &mut Vec::new()));
    for &ranks in &request.ranks {
        let counts = request.counts(data_type, ranks)?;
        // The copy knows no algorithm and no root: measured once for a size.
        let mut roofs: Vec<Option<Roof>> = vec![None; counts.len()];
        let lines = request.lines(ranks, &mut Vec::new())?;
        for (dispatch, (root, selection)) in choices.iter().flat_map(|choice| lines.iter().map(move |l| (*choice, *l)))
        {
            let group_root = if collective.has_root() { root as i32 } else { -1 };
            let mut test: Option<Test<'_>> = None;
            for (&count, roof) in counts.iter().zip(&mut roofs) {
                let algorithm = request.algorithm(selection, ranks, data_type, count, device.kind());
                let test = match &mut test {
                    Some(test) if test.algorithm == algorithm => test,
                    test => {
                        let schedule = request.schedule(root, algorithm, ranks)?;
                        let proved = |in_place| prove(schedule.clone(), proof::Options::default().in_place(in_place));
                        let in_place = if collective.has_in_place() { Some(proved(true)?) } else { None };
                        let group = Group {
                            device: index,
                            collective,
                            root: group_root,
                            algorithm: selection,
                            sync,
                            ranks,
                            data_type,
                            redop,
                            cycle,
                            dispatch: None,
                        };
                        let proved = proved(false)?;
                        test.insert(Test { request, device, dispatch, proved, in_place, algorithm, group })
                    }
                };
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
    dispatch: Choice,
    proved: Proved,
    /// For collectives that have that.
    in_place: Option<Proved>,
    /// That of the group, or the one that it chose.
    algorithm: Algorithm,
    group: Group,
}

impl Test<'_> {
    fn row<T: Element>(&self, count: usize, known_roof: &mut Option<Roof>) -> Result<Row, Error> {
        let Self { request, device, dispatch, algorithm, .. } = *self;
        let Group { device: index, collective, root, sync, ranks, data_type, redop, cycle, .. } = self.group;
        let schedule = self.proved.schedule();
        let payload = Payload::new(schedule, count, T::TYPE.bytes())?;
        let deadline = Deadline {
            at: request.timeout.map(|limit| (Instant::now() + limit, limit)),
            what: format!("{collective} by {algorithm}, {ranks} ranks of {count} {}", T::TYPE),
        };
        let extents = Extents { schedule, count, in_place: false };
        let input = |rank| {
            let mut parts = reserved(ranks, extents.len(Given::Input, rank))?;
            generate_parts::<T>(&mut parts, schedule, Fill::Exact, request.seed, rank, count);
            if request.unalign == 0 {
                return Ok(parts);
            }
            let mut input = reserved(ranks, request.unalign + parts.len())?;
            input.resize(request.unalign, T::poison());
            input.append(&mut parts);
            Ok(input)
        };
        let inputs = if extents.total(Given::Input) > MOST_ALONE {
            side_by_side(ranks, input)
        } else {
            (0..ranks).map(input).collect::<Result<_, _>>()
        };
        let inputs: Vec<Vec<T>> = inputs?;
        let inputs = views_from(&inputs, request.unalign);
        let size = count as u64 * T::TYPE.bytes() as u64 * Parts::of(collective, ranks).number();
        let mut roof = |pieces: usize| match *known_roof {
            Some(roof) => Ok(roof),
            None => Ok(*known_roof.insert(copy::<T>(device, &extents, pieces)?)),
        };
        let op = redop.unwrap_or(Op::Sum);
        let of = |proved| Case { request, dispatch, proved, payload, op, inputs: &inputs, size, deadline: &deadline };
        let mut measure = |case: Case<'_, T>| match device {
            Device::Cpu => case.on_cpu(&mut roof),
            Device::Gpu(gpu) => case.on_gpu(gpu, &mut roof),
        };
        let (out_of_place, out_of_place_per_iter) = measure(of(&self.proved))?;
        let in_place = self.in_place.as_ref().map(|proved| measure(of(proved))).transpose()?;
        let (in_place, in_place_per_iter) = in_place.unzip();
        let roof = roof(out_of_place.pieces)?;
        Ok(Row {
            size,
            count,
            data_type,
            redop,
            root,
            collective,
            algorithm,
            algorithm_auto: self.group.algorithm.is_auto(),
            sync,
            ranks,
            device: index,
            cycle,
            timestamp: now(),
            bytes_moved: of(&self.proved).bytes_moved(),
            roof,
            out_of_place,
            out_of_place_per_iter,
            in_place,
            in_place_per_iter,
        })
    }
}

/// Elements up to which threads are not worth starting.
const MOST_ALONE: usize = 1 << 20;

/// What `make` makes of every rank, in their order, by one thread a core. Of vectors of a gibibyte one thread takes minutes.
fn side_by_side<R: Send>(ranks: u32, make: impl Fn(u32) -> Result<R, Error> + Sync) -> Result<Vec<R>, Error> {
    let threads = threads().clamp(1, ranks.max(1) as usize);
    let make = &make;
    std::thread::scope(|scope| {
        let of_thread = |first| move || (first as u32..ranks).step_by(threads).map(make).collect::<Result<Vec<R>, _>>();
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(of_thread(first))).collect();
        let made = running.into_iter().map(|thread| match thread.join() {
            Ok(made) => made,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        let mut made: Vec<_> = made.collect::<Result<Vec<_>, _>>()?.into_iter().map(Vec::into_iter).collect();
        Ok((0..ranks as usize).filter_map(|rank| made[rank % threads].next()).collect())
    })
}

/// Copies every rank's input or output, whichever is longer.
fn copy<T: Element>(device: &Device, extents: &Extents<'_>, pieces: usize) -> Result<Roof, Error> {
    let ranks = extents.schedule.ranks;
    let lengths = (0..ranks).map(|rank| extents.len(Given::InPlace, rank));
    match device {
        Device::Cpu => {
            let filled = |length| {
                let mut vector = reserved(ranks, length)?;
                vector.resize(length, T::poison());
                Ok(vector)
            };
            let from = lengths.clone().map(filled).collect::<Result<Vec<Vec<T>>, Error>>()?;
            let mut to = lengths.map(filled).collect::<Result<Vec<Vec<T>>, Error>>()?;
            Ok(roof::on_cpu(&views(&from), &mut to, threads()))
        }
        Device::Gpu(gpu) => roof::on_gpu(gpu, lengths.sum::<usize>() as u64 * T::TYPE.bytes() as u64, pieces),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_side_by_side_is_in_the_order_of_ranks() {
        for ranks in [0, 1, 2, 3, 5, 64] {
            assert_eq!(side_by_side(ranks, Ok).unwrap(), (0..ranks).collect::<Vec<_>>());
            let failed = side_by_side(ranks, |rank| match rank {
                4 => Err(Error::Usage("no".to_owned())),
                _ => Ok(rank),
            });
            assert_eq!(failed.is_err(), ranks > 4, "{ranks}");
        }
    }
}
