//! Schedules as Python objects: written line by line, built, or read from a file; then proved, run, drawn and converted.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use wgccl::backend::Shape;
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::{DataType, Element};
use wgccl::format::chakra::{ChakraOptions, chakra};
use wgccl::format::goal::{GoalOptions, goal};
use wgccl::format::msccl::{Algo, Proto};
use wgccl::golden::{Golden, GoldenError};
use wgccl::low_level::payload::Payload;
use wgccl::low_level::{Typed, typed};
use wgccl::proof::{self, Effect, Proved, Refused, Run, check, prove};
use wgccl::schedule::{Address, Edit, Granularity, Schedule, Selection};

use crate::arrays;
use crate::buffers::Buffers;
use crate::calls::named;
use crate::communicator::Comm;
use crate::device::{AnyReady, DeviceArg, Settings};
use crate::errors;
use crate::lane::PyRank;
use crate::picture::{self, PyPage};
use crate::report::{PyReport, annotate, told};
use crate::signals::interruptible;
use crate::written::{PyAddress, PySchedule, number};

/// Instructions from which on work on a schedule looks for signals. Less takes a few milliseconds.
const LONG: usize = 20_000;

/// Slots of every rank alike, or of each.
#[derive(FromPyObject)]
enum Slots {
    Each(u32),
    OfRanks(Vec<u32>),
}

impl PySchedule {
    fn options(&self, in_place: Option<bool>) -> proof::Options {
        proof::Options::default().in_place(in_place.unwrap_or(self.in_place))
    }

    /// Work on the schedule, which signals may end if it is long.
    fn work<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Schedule) -> T + Send + 'static,
    ) -> PyResult<T> {
        let schedule = self.schedule.clone();
        match schedule.instructions() < LONG {
            true => Ok(py.detach(|| work(&schedule))),
            false => interruptible(py, move || work(&schedule)),
        }
    }

    fn told(&self, text: &str) -> String {
        told(text, &self.schedule, &self.lines, &self.rows)
    }

    /// The exception of a schedule that was refused.
    fn refused(&self, py: Python<'_>, mut refused: Refused, in_place: bool) -> PyErr {
        annotate(&mut refused.report, &self.schedule, &self.lines, &self.rows);
        let report = PyReport::new(refused.report.clone(), self.lines.clone(), (self.schedule.clone(), in_place));
        errors::refused(py, &refused, report)
    }

    fn proved(&self, py: Python<'_>, options: proof::Options) -> PyResult<Proved> {
        let proved = self.work(py, move |schedule| prove(schedule.clone(), options))?;
        proved.map_err(|refused| self.refused(py, *refused, options.in_place))
    }

    /// As MSCCL has it.
    fn algo(&self, py: Python<'_>, proto: Option<Proto>) -> PyResult<(Arc<Algo>, Proved)> {
        let proved = self.proved(py, self.options(None))?;
        if let Some(algo) = &self.algo {
            let proto = proto.unwrap_or(algo.proto);
            return Ok((Arc::new((**algo).clone().proto(proto)), proved));
        }
        let algo = py.detach(|| Algo::of(&proved, proto.unwrap_or(Proto::Simple)));
        Ok((Arc::new(algo.map_err(|error| errors::schedule(py, error))?), proved))
    }

    fn chunk_bytes(&self, py: Python<'_>, proved: &Proved, count: Option<usize>, data_type: DataType) -> PyResult<u64> {
        let granularity = match self.schedule.granularity {
            Granularity::DivisibleBy(n) => n.max(1) as usize,
            _ => 1,
        };
        let count = count.unwrap_or_else(|| 256_usize.next_multiple_of(granularity));
        let payload = Payload::new(proved.schedule(), count, data_type.bytes());
        Ok(payload.map_err(|error| errors::input(py, error))?.chunk_bytes() as u64)
    }

    fn buffers<'py>(&self, arrays: &Bound<'py, PyAny>, out: Option<&Bound<'py, PyAny>>) -> PyResult<Buffers<'py>> {
        Buffers::read(arrays, self.schedule.task.clone(), |_| Ok(self.schedule.ranks), out)
    }

    /// Made ready for the last shape, device and place that was asked for.
    fn ready(
        &self,
        py: Python<'_>,
        device: &str,
        shape: Shape,
        in_place: bool,
    ) -> PyResult<(Arc<Mutex<AnyReady>>, bool)> {
        let comm = Comm::shared(py, self.schedule.ranks as usize, device, Settings::new(Selection::Auto))?;
        let runs = comm.runs(py)?;
        let known = || self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((key, ready)) = &*known()
            && key.0 == device
            && (key.1, key.2) == (shape, in_place)
        {
            return Ok((ready.clone(), comm.is_slow()));
        }
        let prepared = self.work(py, move |schedule| runs.prepare(schedule.clone(), shape, in_place))?;
        let ready = match prepared {
            Ok(ready) => Arc::new(Mutex::new(ready)),
            Err(wgccl::error::PrepareError::Refused(refused)) => return Err(self.refused(py, *refused, in_place)),
            Err(error) => return Err(errors::prepare(py, error)),
        };
        *known() = Some(((device.to_owned(), shape, in_place), ready.clone()));
        Ok((ready, comm.is_slow()))
    }
}

#[pymethods]
impl PySchedule {
    #[new]
    #[pyo3(signature = (name, collective, ranks, chunks=1, slots=None, *, root=0, sources=None, divisible_by=None, in_place=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        name: String,
        collective: &Bound<'_, PyString>,
        ranks: i64,
        chunks: i64,
        slots: Option<Slots>,
        root: i64,
        sources: Option<Vec<u32>>,
        divisible_by: Option<u32>,
        in_place: bool,
    ) -> PyResult<Self> {
        let collective = named(Some(collective), Collective::AllReduce)?;
        let mut task = Task::from(collective).root(number(py, "root", root)?);
        task.sources = sources.unwrap_or_default();
        let (ranks, chunks) = (number(py, "ranks", ranks)?, number(py, "chunks", chunks)?);
        let mut schedule = Schedule::new(name, task, ranks, chunks);
        schedule = match slots {
            None => schedule,
            Some(Slots::Each(slots)) => schedule.slots(slots),
            Some(Slots::OfRanks(slots)) => schedule.slots_of_ranks(slots),
        };
        if let Some(n) = divisible_by {
            schedule = schedule.granularity(Granularity::DivisibleBy(n));
        }
        Ok(Self::of(schedule, in_place))
    }

    #[getter]
    fn name(&self) -> &str {
        self.schedule.origin.name()
    }

    #[getter]
    fn collective(&self) -> &'static str {
        self.schedule.task.collective.name()
    }

    #[getter]
    fn root(&self) -> Option<u32> {
        self.schedule.task.collective.has_root().then_some(self.schedule.task.root)
    }

    #[getter]
    fn ranks(&self) -> u32 {
        self.schedule.ranks
    }

    #[getter]
    fn chunks(&self) -> u32 {
        self.schedule.chunks
    }

    /// Chunk slots in the largest window.
    #[getter]
    fn slots(&self) -> u32 {
        self.schedule.most_slots()
    }

    /// Rows of each rank's signal matrix.
    #[getter]
    fn signal_rows(&self) -> u32 {
        self.schedule.signal_rows
    }

    #[getter]
    fn lanes(&self) -> usize {
        self.schedule.lanes.len()
    }

    /// Number of instructions of all lanes.
    #[getter]
    fn instructions(&self) -> usize {
        self.schedule.instructions()
    }

    /// It is made for calls in place.
    #[getter]
    fn in_place(&self) -> bool {
        self.in_place
    }

    /// A chain of instructions of `rank`, which go behind those that its lane has.
    #[pyo3(signature = (rank, label=None, *, lane=0))]
    fn rank(slf: &Bound<'_, Self>, rank: i64, label: Option<&Bound<'_, PyAny>>, lane: i64) -> PyResult<PyRank> {
        PyRank::new(slf, rank, label, lane)
    }

    /// A chunk of a rank's input.
    #[pyo3(signature = (rank, chunk=0, *, part=0))]
    fn input(&self, py: Python<'_>, rank: i64, chunk: i64, part: i64) -> PyResult<PyAddress> {
        let chunk = self.chunk(py, chunk, part)?;
        Ok(PyAddress(Address::input(number(py, "rank", rank)?, chunk)))
    }

    /// A chunk of a rank's output.
    #[pyo3(signature = (rank, chunk=0, *, part=0))]
    fn output(&self, py: Python<'_>, rank: i64, chunk: i64, part: i64) -> PyResult<PyAddress> {
        let chunk = self.chunk(py, chunk, part)?;
        Ok(PyAddress(Address::output(number(py, "rank", rank)?, chunk)))
    }

    /// A chunk slot in a rank's window.
    #[pyo3(signature = (rank, slot=0))]
    fn slot(&self, py: Python<'_>, rank: i64, slot: i64) -> PyResult<PyAddress> {
        Ok(PyAddress(Address::slot(number(py, "rank", rank)?, number(py, "slot", slot)?)))
    }

    /// Tries the six proofs and says how each ended.
    #[pyo3(signature = (*, in_place=None))]
    fn check(&self, py: Python<'_>, in_place: Option<bool>) -> PyResult<PyReport> {
        let options = self.options(in_place);
        let mut report = self.work(py, move |schedule| check(schedule, options))?;
        annotate(&mut report, &self.schedule, &self.lines, &self.rows);
        Ok(PyReport::new(report, self.lines.clone(), (self.schedule.clone(), options.in_place)))
    }

    /// Raises `ScheduleError` unless the schedule may be run; returns the report.
    #[pyo3(signature = (*, in_place=None))]
    fn prove(&self, py: Python<'_>, in_place: Option<bool>) -> PyResult<PyReport> {
        let options = self.options(in_place);
        let mut report = self.proved(py, options)?.report().clone();
        annotate(&mut report, &self.schedule, &self.lines, &self.rows);
        Ok(PyReport::new(report, self.lines.clone(), (self.schedule.clone(), options.in_place)))
    }

    /// A copy with one thing broken, as `wgccl check --break` does it.
    fn edit(&self, py: Python<'_>, edit: &str) -> PyResult<Self> {
        let edited = Edit::parse(edit, &self.schedule).and_then(|edit| edit.apply(&self.schedule));
        let mut edited = Self::of(edited.map_err(|error| errors::input(py, error))?, self.in_place);
        edited.rows = self.rows.clone();
        let lengths = |of: &Schedule| of.lanes.iter().map(|lane| lane.instructions.len()).collect::<Vec<_>>();
        // Edits change instructions, or put one in; where lanes have other lengths, lines would name the wrong ones.
        if lengths(&edited.schedule) == lengths(&self.schedule) {
            edited.lines = self.lines.clone();
        }
        Ok(edited)
    }

    /// What a launch would do, right or wrong: of a race, a run that goes wrong.
    fn effect(&self, py: Python<'_>) -> PyResult<String> {
        let options = self.options(None);
        Ok(self.told(&self.work(py, move |schedule| Effect::of(schedule, options).to_string())?))
    }

    /// Why a chunk holds what it holds: "2:1" is chunk 1 of rank 2's output, "2 slot 0" a slot.
    fn why(&self, py: Python<'_>, chunk: &str) -> PyResult<String> {
        let place = self.schedule.place(chunk).map_err(|error| errors::input(py, error))?;
        let options = self.options(None);
        let why = self.work(py, move |schedule| {
            let run = Run::of(schedule, options)?;
            Ok::<_, Box<Refused>>(run.why(place).map(|why| why.to_string()).map_err(|error| error.to_string()))
        })?;
        let why = why.map_err(|refused| self.refused(py, *refused, options.in_place))?;
        Ok(self.told(&why.map_err(|error| errors::input(py, error))?))
    }

    /// What orders two instructions, by their names: "rank 0 RS round 1".
    fn order(&self, py: Python<'_>, a: &str, b: &str) -> PyResult<String> {
        let site = |text: &str| self.schedule.find(text).map_err(|error| errors::input(py, error));
        let (a, b, options) = (site(a)?, site(b)?, self.options(None));
        let order = self.work(py, move |schedule| {
            let run = Run::of(schedule, options)?;
            Ok::<_, Box<Refused>>(run.between(&a, &b).map(|order| order.to_string()).map_err(|error| error.to_string()))
        })?;
        let order = order.map_err(|refused| self.refused(py, *refused, options.in_place))?;
        Ok(self.told(&order.map_err(|error| errors::input(py, error))?))
    }

    /// Proves the schedule and runs it over arrays of all ranks.
    #[pyo3(signature = (arrays, op=None, device=None, *, out=None))]
    fn run<'py>(
        &self,
        arrays: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, PyString>>,
        device: Option<DeviceArg<'py>>,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = arrays.py();
        let op = self.schedule.task.collective.reduces().then(|| named(op, Op::Sum)).transpose()?.unwrap_or(Op::Sum);
        let buffers = self.buffers(arrays, out)?;
        let shape = Shape::new(buffers.count(), buffers.data_type(), op);
        let place = buffers.place(py, self.in_place)?;
        let in_place = place.is_some();
        if shape.count == 0 {
            self.proved(py, self.options(Some(in_place)))?;
            return Ok(buffers.back());
        }
        let (ready, slow) = DeviceArg::with(device.as_ref(), |device| self.ready(py, device, shape, in_place))?;
        let ran = buffers.launch(py, slow, place, move |inputs, outputs, place| {
            let mut ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
            match place {
                Some(place) => ready.run_in_place(place),
                None => ready.run(inputs, outputs),
            }
        })?;
        ran.map_err(|error| errors::run(py, error))?;
        Ok(buffers.back())
    }

    /// What every rank must get, in every bit: evaluated on the processor in the schedule's own order.
    #[pyo3(signature = (arrays, op=None))]
    fn golden<'py>(
        &self,
        arrays: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, PyString>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = arrays.py();
        let op = named(op, Op::Sum)?;
        let buffers = self.buffers(arrays, None)?;
        let proved = self.proved(py, self.options(None))?;
        let (count, data_type) = (buffers.count(), buffers.data_type());
        if count == 0 {
            return Ok(buffers.back());
        }
        let evaluated = buffers.launch(py, true, None, move |inputs, outputs, _| {
            typed(data_type, Evaluate { proved, count, op, inputs, outputs })
        })?;
        evaluated.map_err(|error| errors::input(py, error))?;
        Ok(buffers.back())
    }

    /// The page that plays it, as `wgccl show --html` writes it: whether it is right or wrong.
    #[pyo3(signature = (*, height=720))]
    fn show(&self, py: Python<'_>, height: u32) -> PyResult<PyPage> {
        let in_place = self.in_place;
        let page = self.work(py, move |schedule| picture::page(schedule, in_place))?;
        let title = format!("{} by {}", self.collective(), self.name());
        Ok(PyPage::new(page.map_err(|error| errors::schedule(py, error))?, title, height))
    }

    /// The space-time diagram.
    #[pyo3(signature = (*, animated=false))]
    fn svg(&self, py: Python<'_>, animated: bool) -> PyResult<String> {
        let in_place = self.in_place;
        let drawn = self.work(py, move |schedule| picture::drawing(schedule, in_place, animated))?;
        drawn.map_err(|error| errors::schedule(py, error))
    }

    /// As a document of wgccl's.
    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        serde_json::to_string_pretty(&*self.schedule).map_err(|error| errors::schedule(py, error))
    }

    /// As MSCCL XML, which MSCCL, RCCL and the Azure executor run.
    #[pyo3(signature = (*, proto=None))]
    fn to_xml(&self, py: Python<'_>, proto: Option<&Bound<'_, PyString>>) -> PyResult<String> {
        let (algo, _) = self.algo(py, proto_of(proto)?)?;
        Ok(algo.to_string())
    }

    /// As Chakra execution traces, which ASTRA-sim reads: the bytes of PREFIX.RANK.et, for each rank.
    #[pyo3(signature = (*, count=None, dtype=None))]
    fn to_chakra<'py>(
        &self,
        py: Python<'py>,
        count: Option<usize>,
        dtype: Option<&Bound<'_, PyString>>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let (algo, proved) = self.algo(py, None)?;
        let chunk_bytes = self.chunk_bytes(py, &proved, count, named(dtype, DataType::F32)?)?;
        let traces = py.detach(|| chakra(&algo, ChakraOptions::new(chunk_bytes)));
        Ok(traces.iter().map(|trace| PyBytes::new(py, trace)).collect())
    }

    /// As GOAL, which LogGOPSim reads.
    #[pyo3(signature = (*, count=None, dtype=None))]
    fn to_goal(&self, py: Python<'_>, count: Option<usize>, dtype: Option<&Bound<'_, PyString>>) -> PyResult<String> {
        let (algo, proved) = self.algo(py, None)?;
        let chunk_bytes = self.chunk_bytes(py, &proved, count, named(dtype, DataType::F32)?)?;
        Ok(py.detach(|| goal(&algo, GoalOptions::new(chunk_bytes))))
    }

    fn __repr__(&self) -> String {
        let Schedule { task, ranks, .. } = &*self.schedule;
        let of = format!("{} of {ranks} ranks", task.collective);
        format!("<Schedule '{}': {of}, {} lanes, {} instructions>", self.name(), self.lanes(), self.instructions())
    }

    /// As `wgccl show` prints it.
    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let in_place = self.in_place;
        let lines = self.work(py, move |schedule| picture::lines(schedule, in_place))?;
        Ok(lines.unwrap_or_else(|_| self.__repr__()))
    }

    fn _repr_html_(&self) -> String {
        let caption = format!("<pre>{}</pre>", picture::escape(&self.__repr__()));
        caption + &picture::drawing(&self.schedule, self.in_place, false).unwrap_or_default()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.borrow();
            let same = |a: &Schedule, b: &Schedule| a.task == b.task && a.lanes == b.lanes && a.slots == b.slots;
            let head = |of: &Schedule| (of.ranks, of.chunks, of.granularity, of.signal_rows);
            same(&self.schedule, &other.schedule) && head(&self.schedule) == head(&other.schedule)
        })
    }

    fn __copy__(&self) -> Self {
        Self {
            schedule: self.schedule.clone(),
            in_place: self.in_place,
            lines: self.lines.clone(),
            rows: self.rows.clone(),
            awaited: self.awaited.clone(),
            algo: self.algo.clone(),
            warnings: self.warnings.clone(),
            ready: Mutex::new(None),
        }
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> Self {
        self.__copy__()
    }

    /// So that it can be sent to another process.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let loads = py.import("wgccl")?.getattr("loads")?;
        Ok((loads, PyTuple::new(py, [self.to_json(py)?])?))
    }
}

impl PySchedule {
    fn chunk(&self, py: Python<'_>, chunk: i64, part: i64) -> PyResult<u32> {
        let (chunk, part) = (number(py, "chunk", chunk)?, number(py, "part", part)?);
        Ok(part.saturating_mul(self.schedule.chunks).saturating_add(chunk))
    }
}

fn proto_of(proto: Option<&Bound<'_, PyString>>) -> PyResult<Option<Proto>> {
    let Some(proto) = proto else { return Ok(None) };
    let name = proto.to_cow()?;
    let all = [Proto::Simple, Proto::LowLatency, Proto::LowLatency128];
    match all.into_iter().find(|of| of.name().eq_ignore_ascii_case(&name)) {
        Some(found) => Ok(Some(found)),
        None => {
            Err(errors::input(proto.py(), format!("proto '{name}' does not exist; choose one of: Simple, LL, LL128")))
        }
    }
}

/// A golden into the arrays that are given back.
struct Evaluate<'a, 'b> {
    proved: Proved,
    count: usize,
    op: Op,
    inputs: &'a [&'a [u8]],
    outputs: &'a mut [&'b mut [u8]],
}

impl Typed for Evaluate<'_, '_> {
    type Output = Result<(), String>;

    fn run<T: Element>(self) -> Result<(), String> {
        let said = |error: GoldenError| error.to_string();
        let payload = self.proved.payload(self.count, T::TYPE).map_err(|error| error.to_string())?;
        let inputs = arrays::elements::<T>(self.inputs)?;
        let golden = Golden::new(&self.proved, &payload, self.op, &inputs).map_err(said)?;
        for (rank, output) in (0..).zip(self.outputs) {
            output.copy_from_slice(bytemuck::cast_slice(golden.expected(rank)));
        }
        Ok(())
    }
}
