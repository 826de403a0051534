//! What another program computed, held against the golden of a schedule: equal in every bit, or where and by how much not.

use numpy::PyUntypedArray;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::{Element, supported};
use wgccl::golden::{Differences, Goldens, Tolerance, compare};
use wgccl::low_level::{Typed, typed};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, Recipe, Schedule, SyncStyle};

use crate::arrays::{self, Few, Given, Order, View};
use crate::buffers::{count, one_gets, only};
use crate::calls::named;
use crate::communicator::ranks_of;
use crate::errors;
use crate::signals::interruptible;
use crate::types;
use crate::written::{PySchedule, number};

/// The word for any algorithm.
const ANY: &str = "any";

/// Whose order of additions is expected.
#[derive(FromPyObject)]
pub(crate) enum Expected<'py> {
    Schedule(PyRef<'py, PySchedule>),
    Name(Bound<'py, PyString>),
}

/// What came of it.
#[pyclass(frozen, get_all, module = "wgccl", name = "Verification")]
pub(crate) struct PyVerification {
    /// Equal in every bit, or within the tolerance that was asked for.
    ok: bool,
    collective: &'static str,
    op: Option<&'static str>,
    dtype: &'static str,
    ranks: u32,
    /// Elements of a part.
    count: usize,
    /// Elements of all outputs.
    elements: usize,
    /// Whose order of additions was tried.
    tried: Vec<String>,
    /// Whose order gives these very bits.
    equal: Vec<String>,
    /// Whose order the differences are from: of those that were tried, the first that differs least.
    against: String,
    /// Elements that differ.
    differing: u64,
    /// Elements that agree only where subnormals are flushed to zero.
    flushed: u64,
    /// Differing elements beyond the tolerance.
    beyond: u64,
    /// The most by which one differs, in units of the last place of what was expected.
    max_ulp_apart: f64,
    /// The largest error of a reduction over the magnitudes of what was reduced.
    backward_error: Option<f64>,
    /// The first elements that differ.
    first: Vec<Py<PyDifference>>,
}

/// An element that differs.
#[pyclass(frozen, get_all, module = "wgccl", name = "Difference")]
pub(crate) struct PyDifference {
    rank: u32,
    index: usize,
    expected: String,
    found: String,
    /// In hexadecimal digits.
    expected_bits: String,
    found_bits: String,
    ulp: Option<f64>,
}

/// Inputs and outputs of a call that somebody else has made.
struct Sides<'py> {
    given: Given<'py>,
    found: Given<'py>,
    inputs: Few<View>,
    outputs: Few<View>,
    ranks: u32,
}

impl<'py> Sides<'py> {
    /// Where all ranks get the same, one array may stand for all.
    fn read(
        inputs: &Bound<'py, PyAny>,
        outputs: &Bound<'py, PyAny>,
        task: &Task,
        ranks: Option<usize>,
    ) -> PyResult<Self> {
        let (py, collective) = (inputs.py(), task.collective);
        let (one_gives, one_gets) = (collective.only_root_gives(), one_gets(collective));
        let listed = outputs.is_instance_of::<PyList>() || outputs.is_instance_of::<PyTuple>();
        let side = |given: &Bound<'py, PyAny>, one: bool| match one {
            true => Given::one(given, Order::Rows),
            false => Given::all(given, Order::Rows),
        };
        let given = side(inputs, one_gives)?;
        let mut found = side(outputs, one_gets)?;
        let ranks = ranks.unwrap_or(if one_gives { found.views.len() } else { given.views.len() });
        let parts = task.output_parts(0, ranks as u32) as usize / task.input_parts(0, ranks as u32).max(1) as usize;
        let one = given.views[0].bytes * parts.max(1);
        if !listed && !one_gets && collective.gives_all_the_same() && found.bytes() == one {
            found = side(outputs, true)?;
        }
        let ranks = ranks_of(py, ranks)?;
        task.check(ranks).map_err(|error| errors::input(py, error))?;
        if found.data_type != given.data_type {
            let (a, b) = (types::name(found.data_type), types::name(given.data_type));
            return Err(errors::input(py, format!("the outputs hold {a}, and the inputs {b}; give both of one type")));
        }
        let every = |views: &Few<View>, one: bool, same: bool| match views[..] {
            [view] if one => only(view, task.root, ranks),
            [view] if same => smallvec::smallvec![view; ranks as usize],
            _ => views.clone(),
        };
        let outputs = every(&found.views, one_gets, collective.gives_all_the_same());
        let inputs = every(&given.views, one_gives, false);
        Ok(Self { given, found, inputs, outputs, ranks })
    }

    /// Elements of a part.
    fn count(&self, task: &Task) -> usize {
        count(task, &self.inputs, self.given.data_type)
    }

    fn keep(&self) -> Vec<Py<PyUntypedArray>> {
        self.given.arrays.iter().chain(&self.found.arrays).map(|array| array.clone().unbind()).collect()
    }
}

/// What is compared.
struct Compare<'a> {
    candidates: &'a [Proved],
    count: usize,
    op: Op,
    tolerance: Option<Tolerance>,
    inputs: &'a [&'a [u8]],
    outputs: &'a [&'a [u8]],
}

/// Which candidates are equal, the first of those that differ least, what differs, and the error of the reduction.
type Compared = (Vec<usize>, usize, Differences, Option<f64>);

impl Typed for Compare<'_> {
    type Output = Result<Compared, String>;

    fn run<T: Element>(self) -> Result<Compared, String> {
        let inputs = arrays::elements::<T>(self.inputs)?;
        let outputs = arrays::elements::<T>(self.outputs)?;
        let said = |error: &dyn ToString| error.to_string();
        let (mut equal, mut nearest) = (Vec::new(), None::<(u64, usize)>);
        for (number, proved) in self.candidates.iter().enumerate() {
            let payload = proved.payload(self.count, T::TYPE).map_err(|error| said(&error))?;
            let compared = compare(proved, &payload, self.op, &inputs, &outputs).map_err(|error| said(&error))?;
            if compared.wrong == 0 {
                equal.push(number);
            }
            nearest = Some(nearest.map_or((compared.wrong, number), |least| least.min((compared.wrong, number))));
        }
        let (_, number) = nearest.ok_or("nothing was compared")?;
        let proved = &self.candidates[number];
        let payload = proved.payload(self.count, T::TYPE).map_err(|error| said(&error))?;
        let goldens = Goldens::new(proved, &payload, self.op, &inputs).map_err(|error| said(&error))?;
        let compared = goldens.compare(&outputs).map_err(|error| said(&error))?;
        let mut differences = Differences::default();
        differences.flushed = compared.flushed;
        if compared.wrong > 0 {
            self.differences(&goldens, &outputs, &mut differences);
        }
        Ok((equal, number, differences.sorted(), compared.accuracy.backward.map(|worst| worst.error)))
    }
}

impl Compare<'_> {
    fn differences<T: Element>(&self, goldens: &Goldens<'_, T>, outputs: &[&[T]], into: &mut Differences) {
        for (rank, output) in (0..).zip(outputs) {
            let (expected, flushed) = (goldens.golden().expected(rank), goldens.flushed().expected(rank));
            for (index, ((&found, &expected), &flushed)) in output.iter().zip(expected).zip(flushed).enumerate() {
                if !found.agrees(expected) && !found.agrees(flushed) {
                    into.add((rank, index), expected, found, self.tolerance);
                }
            }
        }
    }
}

/// Holds what another program computed against the golden of an algorithm, of any that gives these bits, or of a schedule.
#[pyfunction]
#[pyo3(signature = (
    inputs, outputs, algorithm=None, op=None, collective=None, *, ranks=None, root=0, sources=None, rtol=None, atol=None
))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn verify<'py>(
    inputs: &Bound<'py, PyAny>,
    outputs: &Bound<'py, PyAny>,
    algorithm: Option<Expected<'py>>,
    op: Option<&Bound<'py, PyString>>,
    collective: Option<&Bound<'py, PyString>>,
    ranks: Option<usize>,
    root: i64,
    sources: Option<Vec<u32>>,
    rtol: Option<f64>,
    atol: Option<f64>,
) -> PyResult<PyVerification> {
    let py = inputs.py();
    let own = match &algorithm {
        Some(Expected::Schedule(schedule)) => Some(schedule.schedule().clone()),
        _ => None,
    };
    let task = match &own {
        Some(own) => own.task.clone(),
        None => {
            let mut task = Task::from(named(collective, Collective::AllReduce)?).root(number(py, "root", root)?);
            task.sources = sources.unwrap_or_default();
            task
        }
    };
    let op = named(op, Op::Sum)?;
    let tolerance = tolerance(py, rtol, atol)?;
    let sides = Sides::read(inputs, outputs, &task, own.as_ref().map(|own| own.ranks as usize).or(ranks))?;
    let (data_type, count, ranks) = (sides.given.data_type, sides.count(&task), sides.ranks);
    if task.collective.reduces() {
        supported(data_type, op).map_err(|error| errors::input(py, error))?;
    }
    let (tried, candidates) = match (&own, &algorithm) {
        (Some(own), _) => (vec![own.origin.name().to_owned()], vec![proved(py, own)?]),
        (None, Some(Expected::Name(name))) if !name.to_cow()?.eq_ignore_ascii_case(ANY) => {
            let algorithm = named(Some(name), Algorithm::Ring)?;
            let built = recipe(&task, ranks, algorithm).build().map_err(|error| errors::input(py, error))?;
            (vec![algorithm.name().to_owned()], vec![proved(py, &built)?])
        }
        _ => every(py, &task, ranks, count)?,
    };
    let (given, found, keep) = (sides.inputs.clone(), sides.outputs.clone(), sides.keep());
    let (compared, _keep) = interruptible(py, move || {
        // SAFETY: as in `arrays`; both are only read, and kept alive.
        let bytes = |views: &[View]| views.iter().map(|view| unsafe { view.bytes() }).collect::<Vec<_>>();
        let (inputs, outputs) = (bytes(&given), bytes(&found));
        let compare = Compare { candidates: &candidates, count, op, tolerance, inputs: &inputs, outputs: &outputs };
        (typed(data_type, compare), keep)
    })?;
    let (equal, against, differences, error) = compared.map_err(|error| errors::input(py, error))?;
    let reduces = task.collective.reduces();
    let elements = (0..ranks).map(|rank| task.output_parts(rank, ranks) as usize * count).sum();
    let first = differences.first.iter().map(|of| {
        let of = of.clone();
        Py::new(
            py,
            PyDifference {
                rank: of.rank,
                index: of.index,
                expected: of.expected,
                found: of.found,
                expected_bits: of.expected_bits,
                found_bits: of.found_bits,
                ulp: of.ulp,
            },
        )
    });
    let exact = differences.differing == 0;
    Ok(PyVerification {
        ok: exact || (tolerance.is_some() && differences.beyond == 0),
        collective: task.collective.name(),
        op: reduces.then(|| op.name()),
        dtype: types::name(data_type),
        ranks,
        count,
        elements,
        equal: equal.iter().map(|&number| tried[number].clone()).collect(),
        against: tried[against].clone(),
        tried,
        differing: differences.differing,
        flushed: differences.flushed,
        beyond: differences.beyond,
        max_ulp_apart: differences.max_ulp_apart,
        backward_error: error.filter(|_| reduces && !exact),
        first: first.collect::<PyResult<_>>()?,
    })
}

fn tolerance(py: Python<'_>, rtol: Option<f64>, atol: Option<f64>) -> PyResult<Option<Tolerance>> {
    for (name, value) in [("rtol", rtol), ("atol", atol)] {
        if value.is_some_and(|value| !value.is_finite() || value < 0.0) {
            return Err(errors::input(py, format!("{name} must be a number that is not negative")));
        }
    }
    let some = rtol.is_some() || atol.is_some();
    Ok(some.then(|| Tolerance::new(rtol.unwrap_or(0.0), atol.unwrap_or(0.0))))
}

fn recipe(task: &Task, ranks: u32, algorithm: Algorithm) -> Recipe {
    Recipe::new(task.clone(), ranks).algorithm(algorithm).sync(SyncStyle::Neighbor)
}

fn proved(py: Python<'_>, schedule: &Schedule) -> PyResult<Proved> {
    let schedule = schedule.clone();
    let proved = interruptible(py, move || prove(schedule, proof::Options::default()))?;
    proved.map_err(|refused| errors::prepare(py, refused.into()))
}

/// Those of all algorithms that are defined for these ranks and this count.
fn every(py: Python<'_>, task: &Task, ranks: u32, count: usize) -> PyResult<(Vec<String>, Vec<Proved>)> {
    let all = Algorithm::of(task.collective);
    let (mut tried, mut candidates) = (Vec::new(), Vec::new());
    for &algorithm in &all {
        let recipe = recipe(task, ranks, algorithm);
        let proved = interruptible(py, move || {
            let proved = prove(recipe.build().ok()?, proof::Options::default()).ok()?;
            proved.payload(count, wgccl::element::DataType::U8).ok()?;
            Some(proved)
        })?;
        if let Some(proved) = proved {
            tried.push(algorithm.name().to_owned());
            candidates.push(proved);
        }
    }
    match candidates.is_empty() {
        true => Err(errors::input(py, format!("no algorithm carries out {} over {ranks} ranks", task.collective))),
        false => Ok((tried, candidates)),
    }
}

#[pymethods]
impl PyVerification {
    fn __bool__(&self) -> bool {
        self.ok
    }

    fn __repr__(&self) -> String {
        let Self { collective, ranks, count, dtype, elements, differing, against, .. } = self;
        let op = self.op.map_or_else(String::new, |op| format!(", {op}"));
        let mut text = format!("{collective}: {ranks} ranks of {count} {dtype}{op}\n");
        if self.tried.len() > 1 {
            let equal = if self.equal.is_empty() { "none of them gives these bits" } else { &self.equal.join(", ") };
            text += &format!("tried  {}\nequal  {equal}\n", self.tried.join(", "));
        }
        if *differing == 0 {
            return text + &format!("equal in every bit to {against}: {elements} elements");
        }
        let verdict = if self.ok { "close to" } else { "differs from" };
        text += &format!("{verdict} {against}: {differing} of {elements} elements differ");
        text += &format!(", by at most {:.1} ulp", self.max_ulp_apart);
        for first in &self.first {
            let PyDifference { rank, index, expected, found, expected_bits, found_bits, .. } = first.get();
            text += &format!(
                "\n  rank {rank} element {index}: expected {expected} ({expected_bits}), found {found} ({found_bits})"
            );
        }
        text
    }
}

#[pymethods]
impl PyDifference {
    fn __repr__(&self) -> String {
        let Self { rank, index, expected, found, .. } = self;
        format!("<Difference: rank {rank} element {index}: expected {expected}, found {found}>")
    }
}
