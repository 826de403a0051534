//! The sweep: devices, ranks, algorithms and sizes, one row after the other.
//!
//! It prints nothing: an observer sees each row as it comes, so that a long sweep shows something and a failed one
//! keeps what it had.

use std::thread::{Builder, ScopedJoinHandle};
use std::time::Instant;

use wgccl::backend::{Backend, Options, Shape};
use wgccl::collective::Op;
use wgccl::element::{DataType, Element};
use wgccl::error::UserBuffer;
use wgccl::low_level::inputs::{Fill, generate_parts};
use wgccl::low_level::{Typed, typed};
use wgccl::proof::{self, Proved, Refused, prove};
use wgccl::schedule::{Algorithm, Schedule, Selection};

use super::measure::{Case, Deadline};
use super::request::{ALL, Request, Way};
use super::result::{self, Group, Roof, Row};
use super::roof;
use super::size::Parts;
use super::stamp::now;
use crate::device::Device;
use crate::dispatch::Dispatch;
use crate::error::{BenchError, Error};
use crate::memory::reserved;
use crate::protocol::settle;
use crate::trace::Traced;
use crate::views::views_from;

/// Sees a sweep while it goes on.
pub trait Observer {
    /// Before the first row: what is tested, and what a cycle will be.
    ///
    /// # Errors
    /// Ends the sweep.
    fn begin(&mut self, devices: &[result::Device], plan: &Plan, notes: &[String]) -> Result<(), Error>;
    /// Before each row.
    fn next(&mut self, next: Next);
    /// After each row.
    ///
    /// # Errors
    /// Ends the sweep.
    fn row(&mut self, row: Row) -> Result<(), Error>;
    /// After a row that was to be traced.
    ///
    /// # Errors
    /// Ends the sweep.
    fn traced(&mut self, traced: Traced) -> Result<(), Error> {
        drop(traced);
        Ok(())
    }
}

/// What a cycle of a sweep will be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// How many rows.
    pub rows: u64,
    /// How long they take together, in no unit.
    pub work: u64,
    /// What `auto` takes, where it is measured.
    pub auto: Vec<&'static str>,
}

/// A row that is about to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// For people.
    pub what: String,
    /// Its share of [`Plan::work`].
    pub work: u64,
}

/// What a row takes that moves nothing, in bytes of all ranks that take as long.
const LEAST_WORK: u64 = 1 << 20;

/// How long a row takes, as far as its size decides.
fn work(request: &Request, data_type: DataType, ranks: u32, count: usize) -> u64 {
    let part = count as u64 * data_type.bytes() as u64;
    let size = part.saturating_mul(Parts::of(request.collective, ranks).number());
    size.saturating_mul(ranks.into()).saturating_add(LEAST_WORK)
}

/// Runs `request`.
///
/// # Errors
/// [`Error`]; wrong elements are counted in rows and are none.
pub fn sweep(request: &Request, observer: &mut impl Observer) -> Result<(), Error> {
    let mut notes = Vec::new();
    request.check_numbers()?;
    request.redops(&mut Vec::new())?;
    let devices = devices(request, &mut notes)?;
    sweep_on(request, &devices, notes, observer)
}

/// Runs `request` on `devices`, whatever it says of them; `notes` come before those of the sweep.
///
/// # Errors
/// As [`sweep`].
pub(super) fn sweep_on(
    request: &Request,
    devices: &[Device],
    mut notes: Vec<String>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    request.check_numbers()?;
    let redops = request.redops(&mut notes)?;
    for device in devices {
        if !request.only_sound {
            request.dispatch.iter().try_for_each(|&dispatch| device.check_dispatch(dispatch))?;
        }
        if device.gpu().is_some() && request.unalign > 0 {
            return Err(Error::Usage(
                "-u: a GPU's buffers are laid out by the executor, always aligned; use it with --device cpu".to_owned(),
            ));
        }
        for &ranks in &request.ranks {
            device.check_ranks(ranks)?;
            device.admit(ranks, &Options::default())?;
        }
    }
    let mut lines = Vec::new();
    for &ranks in &request.ranks {
        let of_ranks = request.lines(ranks, &mut notes)?;
        request.check(ranks, &of_ranks)?;
        lines.push((ranks, of_ranks));
    }
    let mut plan = Plan::default();
    for (ranks, lines) in &lines {
        let ranks = *ranks;
        for &(data_type, _) in &redops {
            for count in request.counts(data_type, ranks)? {
                plan.rows += lines.len() as u64;
                let work = work(request, data_type, ranks, count).saturating_mul(lines.len() as u64);
                plan.work = plan.work.saturating_add(work);
            }
        }
        for &data_type in &request.data_types {
            let parts = Parts::of(request.collective, ranks);
            let least = request.range.least(data_type.bytes(), parts);
            if parts != Parts::None && request.range.first < least {
                notes.push(format!("sizes below {least} bytes leave nothing for each of {ranks} ranks: left out"));
            }
        }
    }
    notes.extend(request.file.iter().flat_map(|file| file.few_warnings()));
    for &ranks in &request.ranks {
        for &data_type in &request.data_types {
            notes.extend(said_of_sizes(request, ranks, data_type)?);
        }
    }
    notes.extend(said_of_protocols(request, devices, &redops)?);
    let ways = devices.iter().map(|device| request.dispatch_on(device, &mut notes).len() as u64).sum::<u64>();
    let auto = auto(request, devices)?;
    plan = Plan { rows: plan.rows * ways, work: plan.work.saturating_mul(ways), auto };
    let descriptions: Vec<result::Device> = devices.iter().map(Device::describe).collect();
    observer.begin(&descriptions, &plan, &notes)?;
    let mut cycle = 0;
    while request.cycles == 0 || cycle < request.cycles {
        for (index, device) in devices.iter().enumerate() {
            for &(data_type, redop) in &redops {
                let (lines, observer) = (&lines[..], &mut *observer);
                let done = typed(data_type, OfDevice { request, lines, index, device, redop, cycle, observer });
                done.inspect_err(|error| device.fail(error))?;
            }
        }
        cycle += 1;
    }
    Ok(())
}

/// What `auto` takes, of all that is measured by it.
fn auto(request: &Request, devices: &[Device]) -> Result<Vec<&'static str>, BenchError> {
    let mut names = Vec::new();
    if !request.algorithms.contains(&Selection::Auto) {
        return Ok(names);
    }
    for (device, &ranks) in devices.iter().flat_map(|device| request.ranks.iter().map(move |ranks| (device, ranks))) {
        for &data_type in &request.data_types {
            for count in request.counts(data_type, ranks)? {
                let algorithm = request.algorithm_on(Some(Selection::Auto), ranks, data_type, count, device);
                names.extend(algorithm.map(Algorithm::name).filter(|name| !names.contains(name)));
            }
        }
    }
    Ok(names)
}

/// The smallest and the largest size for which the file is not made.
fn said_of_sizes(request: &Request, ranks: u32, data_type: DataType) -> Result<Vec<String>, Error> {
    let Some(file) = &request.file else { return Ok(Vec::new()) };
    let parts = Parts::of(request.collective, ranks).number();
    let counts = request.counts(data_type, ranks)?;
    let (least, most) = (counts.iter().min(), counts.iter().max());
    let sizes = least.into_iter().chain(most.filter(|most| least != Some(most)));
    let said = sizes.filter_map(|&count| {
        file.said_of_size((count as u64).saturating_mul(data_type.bytes() as u64).saturating_mul(parts))
    });
    Ok(said.collect())
}

/// Which protocol the file runs by where nobody named one, of the smallest launch on each device.
fn said_of_protocols(
    request: &Request,
    devices: &[Device],
    redops: &[(DataType, Option<Op>)],
) -> Result<Vec<String>, Error> {
    let mut said = Vec::new();
    let (Some(file), Some(wish)) = (&request.file, request.wish()) else { return Ok(said) };
    let ((Some(&(data_type, op)), Some(&ranks)), true) =
        ((redops.first(), request.ranks.first()), devices.iter().any(|device| device.gpu().is_some()))
    else {
        return Ok(said);
    };
    let (proved, _) = proofs(request, &file.schedule, None)?;
    let count = request.counts(data_type, ranks)?.into_iter().min().unwrap_or(0);
    let shape = Shape::new(count, data_type, op.unwrap_or(Op::Sum));
    for device in devices {
        for dispatch in request.dispatch_on(device, &mut Vec::new()) {
            let note = settle(device, &proved, shape, (dispatch, Some(wish)), Dispatch::options).note;
            said.extend(note.filter(|note| !said.contains(note)));
        }
    }
    Ok(said)
}

fn devices(request: &Request, notes: &mut Vec<String>) -> Result<Vec<Device>, Error> {
    let mut found = Vec::new();
    #[cfg(feature = "mpi")]
    if let (true, [name]) = (crate::device::processes::rank().is_some(), &request.devices[..]) {
        let processes = Device::of_processes(name, request.timeout, notes)?;
        return Ok(vec![processes.place(request.place.as_ref())?]);
    }
    for name in &request.devices {
        match name.as_str() {
            ALL => found.extend(Device::all(notes)),
            name => found.push(Device::find(name, notes)?),
        }
    }
    found.into_iter().map(|device| device.place(request.place.as_ref())).collect()
}

/// Roots and algorithms over a number of ranks.
type Lines = (u32, Vec<(u32, Way)>);

/// All rows of one device, element type and reduction.
struct OfDevice<'a, O> {
    request: &'a Request,
    lines: &'a [Lines],
    index: usize,
    device: &'a Device,
    redop: Option<Op>,
    cycle: u64,
    observer: &'a mut O,
}

impl<O: Observer> Typed for OfDevice<'_, O> {
    type Output = Result<(), Error>;

    fn run<T: Element>(self) -> Result<(), Error> {
        let Self { request, lines, index, device, redop, cycle, observer } = self;
        of_device::<T>(request, lines, (index, device), redop, cycle, observer)
    }
}

fn of_device<T: Element>(
    request: &Request,
    lines: &[Lines],
    (index, device): (usize, &Device),
    redop: Option<Op>,
    cycle: u64,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let Request { collective, sync, .. } = *request;
    let (data_type, choices) = (T::TYPE, request.dispatch_on(device, &mut Vec::new()));
    for (ranks, lines) in lines {
        let ranks = *ranks;
        let counts = request.counts(data_type, ranks)?;
        // The copy knows no algorithm and no root: measured once for a size.
        let mut roofs: Vec<Option<Roof>> = vec![None; counts.len()];
        for (dispatch, (root, selection)) in choices.iter().flat_map(|choice| lines.iter().map(move |l| (*choice, *l)))
        {
            let group_root = if collective.has_root() { root as i32 } else { -1 };
            let mut test: Option<Test<'_>> = None;
            for (&count, roof) in counts.iter().zip(&mut roofs) {
                let algorithm = request.algorithm_on(selection, ranks, data_type, count, device);
                let test = match &mut test {
                    Some(test) if test.algorithm == algorithm => test,
                    test => {
                        let schedule = request.schedule_on(root, algorithm, ranks, device.groups(ranks))?;
                        let (proved, also_in_place) = proofs(request, &schedule, algorithm)?;
                        let group = Group {
                            device: index,
                            collective,
                            root: group_root,
                            origin: (!selection.is_some_and(Selection::is_auto)).then(|| schedule.origin.clone()),
                            sync,
                            ranks,
                            data_type,
                            redop,
                            cycle,
                            in_place: proved.options().in_place,
                            dispatch: None,
                        };
                        test.insert(Test { request, device, dispatch, proved, also_in_place, algorithm, group })
                    }
                };
                let work = work(request, data_type, ranks, count);
                observer.next(Next { what: test.what(count), work });
                let (row, traced) = test.row::<T>(count, roof)?;
                observer.row(row)?;
                traced.map_or(Ok(()), |traced| observer.traced(traced))?;
            }
        }
    }
    Ok(())
}

/// The schedule out of place, and in place where that is measured, too. A file may be right in one of them only, which is the
/// first then.
fn proofs(
    request: &Request,
    schedule: &Schedule,
    algorithm: Option<Algorithm>,
) -> Result<(Proved, Option<Proved>), Box<Refused>> {
    let proved = |in_place| prove(schedule.clone(), proof::Options::default().in_place(in_place));
    if !request.collective.has_in_place() || request.only_apart {
        return Ok((proved(false)?, None));
    }
    if algorithm.is_some() {
        return Ok((proved(false)?, Some(proved(true)?)));
    }
    let made_for_in_place = request.file.as_ref().is_some_and(|file| file.in_place);
    match (proved(false), proved(true)) {
        (Ok(apart), in_place) => Ok((apart, in_place.ok())),
        (Err(_), Ok(in_place)) => Ok((in_place, None)),
        (Err(apart), Err(in_place)) => Err(if made_for_in_place { in_place } else { apart }),
    }
}

/// What is measured over all sizes.
struct Test<'a> {
    request: &'a Request,
    device: &'a Device,
    dispatch: Dispatch,
    /// Out of place, or in place where the schedule is right in place only.
    proved: Proved,
    /// In place, where that is measured after the other.
    also_in_place: Option<Proved>,
    /// That of the group, or the one that it chose.
    algorithm: Option<Algorithm>,
    group: Group,
}

impl Test<'_> {
    /// A row, for people.
    fn what(&self, count: usize) -> String {
        let Group { collective, ranks, data_type, .. } = self.group;
        format!("{collective} by {}, {ranks} ranks of {count} {data_type}", self.proved.schedule().origin)
    }

    fn row<T: Element>(&self, count: usize, known_roof: &mut Option<Roof>) -> Result<(Row, Option<Traced>), Error> {
        let Self { request, device, dispatch, .. } = *self;
        let Group { device: index, collective, root, sync, ranks, data_type, redop, cycle, .. } = self.group;
        let schedule = self.proved.schedule();
        let payload = self.proved.payload(count, T::TYPE)?;
        let origin = schedule.origin.clone();
        let deadline =
            Deadline { at: request.timeout.map(|limit| (Instant::now() + limit, limit)), what: self.what(count) };
        let extents = self.proved.extents(count);
        let input = |rank| {
            let mut parts = reserved(ranks, extents.len(UserBuffer::Input, rank))?;
            generate_parts::<T>(&mut parts, schedule, Fill::Exact, request.seed, rank, count);
            if request.unalign == 0 {
                return Ok(parts);
            }
            let mut input = reserved(ranks, request.unalign + parts.len())?;
            input.resize(request.unalign, T::poison());
            input.append(&mut parts);
            Ok(input)
        };
        let inputs = if extents.total(UserBuffer::Input) > MOST_ALONE {
            side_by_side(ranks, input)
        } else {
            (0..ranks).map(input).collect::<Result<_, _>>()
        };
        let inputs: Vec<Vec<T>> = inputs?;
        let inputs = views_from(&inputs, request.unalign);
        let size = count as u64 * T::TYPE.bytes() as u64 * Parts::of(collective, ranks).number();
        let mut roof = |pieces: usize| match *known_roof {
            Some(roof) => Ok(roof),
            None => Ok(*known_roof.insert(roof::copy::<T>(device, &extents, pieces, request.copies)?)),
        };
        let op = redop.unwrap_or(Op::Sum);
        let wish = request.wish().filter(|_| self.algorithm.is_none());
        let of = |proved| Case {
            request,
            device,
            dispatch,
            wish,
            proved,
            payload,
            op,
            inputs: &inputs,
            size,
            deadline: &deadline,
        };
        let mut measure = |case: Case<'_, T>| case.measure(&mut roof);
        let first = measure(of(&self.proved))?;
        let pieces = first.0.pieces;
        let (out_of_place, in_place) = match self.proved.options().in_place {
            true => (None, Some(first)),
            false => (Some(first), self.also_in_place.as_ref().map(|proved| measure(of(proved))).transpose()?),
        };
        let (out_of_place, out_of_place_per_iter) = out_of_place.unzip();
        let (in_place, in_place_per_iter) = in_place.unzip();
        let roof = roof(pieces)?;
        let traced = if request.trace { of(&self.proved).traced()? } else { None };
        let row = Row {
            size,
            count,
            data_type,
            redop,
            root,
            collective,
            origin,
            algorithm_auto: self.group.origin.is_none(),
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
        };
        Ok((row, traced))
    }
}

/// Elements up to which threads are not worth starting.
const MOST_ALONE: usize = 1 << 20;

/// What `make` makes of every rank, in their order, by one thread a core. Of vectors of a gibibyte one thread takes minutes.
fn side_by_side<R: Send>(ranks: u32, make: impl Fn(u32) -> Result<R, Error> + Sync) -> Result<Vec<R>, Error> {
    let threads = wgccl::cpu::cores().clamp(1, ranks.max(1) as usize);
    let make = &make;
    let share = |first: usize| (first as u32..ranks).step_by(threads).map(make).collect::<Result<Vec<R>, _>>();
    let share = &share;
    std::thread::scope(|scope| {
        // The share of a thread that cannot start is made here.
        let start = |first| Builder::new().spawn_scoped(scope, move || share(first)).map_err(|_| first);
        let running: Vec<_> = (0..threads).map(start).collect();
        let made = running.into_iter().map(|thread| match thread.map(ScopedJoinHandle::join) {
            Ok(Ok(made)) => made,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(first) => share(first),
        });
        let mut made: Vec<_> = made.collect::<Result<Vec<_>, _>>()?.into_iter().map(Vec::into_iter).collect();
        Ok((0..ranks as usize).filter_map(|rank| made[rank % threads].next()).collect())
    })
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
