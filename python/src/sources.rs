//! Schedules that a program did not write: built by the library's algorithms, or read from a file.

use std::fs;
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyString;
use wgccl::collective::{Collective, Task};
use wgccl::element::DataType;
use wgccl::format::msccl::{self, LowerOptions};
use wgccl::schedule::{Algorithm, Groups, Origin, Recipe, Schedule, Selection, SyncStyle};

use crate::calls::named;
use crate::device::{Device, DeviceArg};
use crate::errors;
use crate::written::{PySchedule, number};

type Name<'a, 'py> = Option<&'a Bound<'py, PyString>>;

/// Groups of ranks: how many, or how large each.
#[derive(FromPyObject)]
pub(crate) enum Grouping {
    Number(u32),
    Sizes(Vec<u32>),
}

/// The schedule of an algorithm. Only "auto" looks at count, dtype and device.
#[pyfunction]
#[pyo3(signature = (
    algorithm=None, ranks=4, collective=None, *, sync=None, root=0, sources=None, groups=None, count=256, dtype=None,
    device=None
))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn build(
    py: Python<'_>,
    algorithm: Name<'_, '_>,
    ranks: i64,
    collective: Name<'_, '_>,
    sync: Name<'_, '_>,
    root: i64,
    sources: Option<Vec<u32>>,
    groups: Option<Grouping>,
    count: u64,
    dtype: Name<'_, '_>,
    device: Option<DeviceArg<'_>>,
) -> PyResult<PySchedule> {
    let collective = named(collective, Collective::AllReduce)?;
    let ranks = number(py, "ranks", ranks)?;
    let default = match groups {
        Some(_) => Algorithm::Hierarchical,
        None => Algorithm::default_of(collective),
    };
    let algorithm = named(algorithm, Selection::from(default))?;
    let mut task = Task::from(collective).root(number(py, "root", root)?);
    task.sources = sources.unwrap_or_default();
    let groups = match groups {
        None => None,
        Some(Grouping::Number(n)) if (1..=ranks).contains(&n) => Some(Groups::even(ranks, n)),
        Some(Grouping::Number(n)) => {
            return Err(errors::input(py, format!("{n} groups of {ranks} ranks; give 1 to {ranks}")));
        }
        Some(Grouping::Sizes(sizes)) => Some(Groups::new(sizes).map_err(|error| errors::input(py, error))?),
    };
    let mut recipe = Recipe::new(task, ranks).algorithm(algorithm).sync(named(sync, SyncStyle::default())?);
    recipe = recipe.groups(groups);
    if algorithm.is_auto() {
        let bytes = count.saturating_mul(named(dtype, DataType::F32)?.bytes() as u64);
        let kind = DeviceArg::with(device.as_ref(), |name| Ok(Device::find(py, name)?.kind()))?;
        recipe = recipe.part_bytes(bytes).device(kind);
    }
    let built = crate::signals::interruptible(py, move || recipe.build())?;
    Ok(PySchedule::of(built.map_err(|error| errors::input(py, error))?, false))
}

/// The schedule of a file: MSCCL XML, or a document of wgccl's. By its content, not by its name.
#[pyfunction]
#[pyo3(signature = (path, *, collective=None, root=0, fifo_slots=None, elide=false))]
pub(crate) fn load(
    py: Python<'_>,
    path: PathBuf,
    collective: Name<'_, '_>,
    root: i64,
    fifo_slots: Option<u32>,
    elide: bool,
) -> PyResult<PySchedule> {
    let bytes = fs::read(&path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    read(py, &name, &bytes, collective, root, fifo_slots, elide)
}

/// The schedule of a text, as `load` reads it from a file.
#[pyfunction]
#[pyo3(signature = (text, *, collective=None, root=0, fifo_slots=None, elide=false))]
pub(crate) fn loads(
    py: Python<'_>,
    text: &Bound<'_, PyAny>,
    collective: Name<'_, '_>,
    root: i64,
    fifo_slots: Option<u32>,
    elide: bool,
) -> PyResult<PySchedule> {
    match text.cast::<PyString>() {
        Ok(text) => read(py, "text", text.to_cow()?.as_bytes(), collective, root, fifo_slots, elide),
        Err(_) => read(py, "text", text.extract::<&[u8]>()?, collective, root, fifo_slots, elide),
    }
}

fn read(
    py: Python<'_>,
    name: &str,
    bytes: &[u8],
    collective: Name<'_, '_>,
    root: i64,
    fifo_slots: Option<u32>,
    elide: bool,
) -> PyResult<PySchedule> {
    let failed = |why: &dyn ToString| errors::schedule(py, format!("{name}: {}", why.to_string()));
    let begin = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start().first();
    match begin {
        Some(b'<') => {
            let algo = msccl::read(bytes).map_err(|error| failed(&error))?;
            let mut options = LowerOptions::default();
            options.fifo_slots = fifo_slots;
            options.collective = collective.map(|name| named(Some(name), Collective::AllReduce)).transpose()?;
            options.root = number(py, "root", root)?;
            options.elide = elide;
            let lowered = algo.lower(&options).map_err(|error| failed(&error))?;
            let (mut schedule, in_place) = (lowered.schedule, lowered.in_place);
            schedule.origin = origin(name, &algo.name, bytes);
            let warnings = lowered.warnings.iter().map(ToString::to_string).collect();
            Ok(PySchedule::of_msccl(schedule, in_place, algo, warnings))
        }
        Some(b'{') => {
            if collective.is_some() || fifo_slots.is_some() || elide || root != 0 {
                let message =
                    "a document of wgccl's says that itself; leave collective, root, fifo_slots and elide out";
                return Err(errors::input(py, message));
            }
            let mut schedule: Schedule = serde_json::from_slice(bytes).map_err(|error| failed(&error))?;
            schedule.origin = origin(name, schedule.origin.name(), bytes);
            Ok(PySchedule::of(schedule, false))
        }
        _ => Err(failed(
            &"it is no schedule: it begins neither like MSCCL XML (<algo) nor like a document of wgccl's ({)",
        )),
    }
}

/// By the name that the file gives itself.
fn origin(file: &str, name: &str, bytes: &[u8]) -> Origin {
    let name = if name.trim().is_empty() { file } else { name };
    Origin::file(name.chars().filter(|c| !c.is_control()).take(64).collect::<String>(), bytes)
}
