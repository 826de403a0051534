//! The collectives as Python calls them: functions, and methods of a communicator that is kept.

use std::str::FromStr;

use pyo3::prelude::*;
use pyo3::types::PyString;
use wgccl::backend::Options;
use wgccl::collective::{Collective, Op, Task, UnknownName};
use wgccl::schedule::{Algorithm, Selection, SyncStyle};

use crate::buffers::Buffers;
use crate::communicator::{Comm, ranks_of};
use crate::device::{DeviceArg, Settings, seconds};
use crate::errors;

type Array<'a, 'py> = &'a Bound<'py, PyAny>;
type Out<'a, 'py> = Option<&'a Bound<'py, PyAny>>;
type Name<'a, 'py> = Option<&'a Bound<'py, PyString>>;

/// A name of ours, or what is said where there is none.
pub(crate) fn named<T: FromStr<Err = UnknownName>>(name: Name<'_, '_>, default: T) -> PyResult<T> {
    let Some(name) = name else { return Ok(default) };
    let text = name.to_cow()?;
    text.parse().map_err(|error: UnknownName| errors::input(name.py(), error))
}

/// A call without a communicator of the caller's.
#[allow(clippy::too_many_arguments)]
fn call<'py>(
    arrays: Array<'_, 'py>,
    task: Task,
    op: Name<'_, 'py>,
    ranks: Option<usize>,
    algorithm: Name<'_, 'py>,
    device: Option<&DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = arrays.py();
    let ranks = |given: usize| ranks_of(py, ranks.unwrap_or(given));
    let buffers = Buffers::read(arrays, task, ranks, out)?;
    let settings = Settings::new(named(algorithm, Selection::Auto)?);
    let comm = DeviceArg::with(device, |device| Comm::shared(py, buffers.ranks() as usize, device, settings))?;
    comm.call(buffers, named(op, Op::Sum)?)
}

/// A task whose root is a rank.
fn rooted(py: Python<'_>, collective: Collective, root: i64) -> PyResult<Task> {
    let root = u32::try_from(root).map_err(|_| errors::input(py, format!("root is {root}; give a rank from 0 on")))?;
    Ok(Task::from(collective).root(root))
}

fn send_recv_task(py: Python<'_>, sources: Option<Vec<i64>>) -> PyResult<Task> {
    let of = |source: i64| {
        u32::try_from(source).map_err(|_| errors::input(py, format!("{source} is no rank; give ranks from 0 on")))
    };
    Ok(Task::send_recv(sources.unwrap_or_default().into_iter().map(of).collect::<PyResult<_>>()?))
}

/// Of collectives in which only the root gives: said, or as many as there are outputs.
fn ranks_or_out(py: Python<'_>, ranks: Option<usize>, out: Out<'_, '_>) -> PyResult<usize> {
    match (ranks, out) {
        (Some(ranks), _) => Ok(ranks),
        (None, Some(out)) => out.len(),
        (None, None) => Err(errors::input(py, "one array does not say how many ranks there are; give ranks= or out=")),
    }
}

/// Reduces over all ranks; every rank gets the result.
#[pyfunction]
#[pyo3(signature = (arrays, op=None, *, algorithm=None, device=None, out=None))]
pub(crate) fn all_reduce<'py>(
    arrays: Array<'_, 'py>,
    op: Name<'_, 'py>,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(arrays, Collective::AllReduce.into(), op, None, algorithm, device.as_ref(), out)
}

/// Every rank gets the arrays of all ranks, joined along the first axis.
#[pyfunction]
#[pyo3(signature = (arrays, *, algorithm=None, device=None, out=None))]
pub(crate) fn all_gather<'py>(
    arrays: Array<'_, 'py>,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(arrays, Collective::AllGather.into(), None, None, algorithm, device.as_ref(), out)
}

/// Reduces over all ranks; rank r gets part r of the result, which is cut along the first axis.
#[pyfunction]
#[pyo3(signature = (arrays, op=None, *, algorithm=None, device=None, out=None))]
pub(crate) fn reduce_scatter<'py>(
    arrays: Array<'_, 'py>,
    op: Name<'_, 'py>,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(arrays, Collective::ReduceScatter.into(), op, None, algorithm, device.as_ref(), out)
}

/// Every rank gets the root's array.
#[pyfunction]
#[pyo3(signature = (array, ranks=None, root=0, *, algorithm=None, device=None, out=None))]
pub(crate) fn broadcast<'py>(
    array: Array<'_, 'py>,
    ranks: Option<usize>,
    root: i64,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(
        array,
        rooted(array.py(), Collective::Broadcast, root)?,
        None,
        Some(ranks_or_out(array.py(), ranks, out)?),
        algorithm,
        device.as_ref(),
        out,
    )
}

/// Reduces over all ranks; the root gets the result, which is returned.
#[pyfunction]
#[pyo3(signature = (arrays, op=None, root=0, *, algorithm=None, device=None, out=None))]
pub(crate) fn reduce<'py>(
    arrays: Array<'_, 'py>,
    op: Name<'_, 'py>,
    root: i64,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(arrays, rooted(arrays.py(), Collective::Reduce, root)?, op, None, algorithm, device.as_ref(), out)
}

/// The root gets the arrays of all ranks, joined along the first axis; that array is returned.
#[pyfunction]
#[pyo3(signature = (arrays, root=0, *, algorithm=None, device=None, out=None))]
pub(crate) fn gather<'py>(
    arrays: Array<'_, 'py>,
    root: i64,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(arrays, rooted(arrays.py(), Collective::Gather, root)?, None, None, algorithm, device.as_ref(), out)
}

/// Rank r gets part r of the root's array, which is cut along the first axis.
#[pyfunction]
#[pyo3(signature = (array, ranks=None, root=0, *, algorithm=None, device=None, out=None))]
pub(crate) fn scatter<'py>(
    array: Array<'_, 'py>,
    ranks: Option<usize>,
    root: i64,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(
        array,
        rooted(array.py(), Collective::Scatter, root)?,
        None,
        Some(ranks_or_out(array.py(), ranks, out)?),
        algorithm,
        device.as_ref(),
        out,
    )
}

/// Rank r gets part r of every rank's array, in rank order; arrays are cut and joined along the first axis.
#[pyfunction]
#[pyo3(signature = (arrays, *, algorithm=None, device=None, out=None))]
pub(crate) fn all_to_all<'py>(
    arrays: Array<'_, 'py>,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(arrays, Collective::AllToAll.into(), None, None, algorithm, device.as_ref(), out)
}

/// Rank r gets the array of rank `sources[r]`, or of the one before it.
#[pyfunction]
#[pyo3(signature = (arrays, sources=None, *, algorithm=None, device=None, out=None))]
pub(crate) fn send_recv<'py>(
    arrays: Array<'_, 'py>,
    sources: Option<Vec<i64>>,
    algorithm: Name<'_, 'py>,
    device: Option<DeviceArg<'py>>,
    out: Out<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(arrays, send_recv_task(arrays.py(), sources)?, None, None, algorithm, device.as_ref(), out)
}

/// P ranks on a device, which keep what calls of a shape have prepared.
///
/// Can be shared among threads: calls of unlike shapes run side by side, calls of one shape one after the other.
#[pyclass(frozen, module = "wgccl", name = "Communicator")]
pub(crate) struct PyCommunicator(Comm);

#[pymethods]
impl PyCommunicator {
    #[new]
    #[pyo3(signature = (ranks, device=None, *, algorithm=None, sync=None, channels=None, workers=None, timeout=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        ranks: usize,
        device: Option<DeviceArg<'_>>,
        algorithm: Name<'_, '_>,
        sync: Name<'_, '_>,
        channels: Option<u32>,
        workers: Option<usize>,
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let options = Options::default().channels(channels).workers(workers).timeout(seconds(py, timeout)?);
        let settings = Settings {
            algorithm: named(algorithm, Selection::Auto)?,
            sync: named(sync, SyncStyle::default())?,
            options,
        };
        let ranks = ranks_of(py, ranks)?;
        DeviceArg::with(device.as_ref(), |device| Ok(Self(Comm::new(py, ranks, device, settings)?)))
    }

    /// Participants.
    #[getter]
    fn ranks(&self) -> u32 {
        self.0.ranks()
    }

    /// As it was named.
    #[getter]
    fn device(&self) -> &str {
        self.0.name()
    }

    /// As it was named, or "auto".
    #[getter]
    fn algorithm(&self) -> String {
        self.0.settings().algorithm.to_string()
    }

    /// As `wgccl.all_reduce`.
    #[pyo3(signature = (arrays, op=None, *, out=None))]
    fn all_reduce<'py>(
        &self,
        arrays: Array<'_, 'py>,
        op: Name<'_, 'py>,
        out: Out<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.call(arrays, Collective::AllReduce.into(), op, out)
    }

    /// As `wgccl.all_gather`.
    #[pyo3(signature = (arrays, *, out=None))]
    fn all_gather<'py>(&self, arrays: Array<'_, 'py>, out: Out<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        self.call(arrays, Collective::AllGather.into(), None, out)
    }

    /// As `wgccl.reduce_scatter`.
    #[pyo3(signature = (arrays, op=None, *, out=None))]
    fn reduce_scatter<'py>(
        &self,
        arrays: Array<'_, 'py>,
        op: Name<'_, 'py>,
        out: Out<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.call(arrays, Collective::ReduceScatter.into(), op, out)
    }

    /// As `wgccl.broadcast`.
    #[pyo3(signature = (array, root=0, *, out=None))]
    fn broadcast<'py>(&self, array: Array<'_, 'py>, root: i64, out: Out<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        self.call(array, rooted(array.py(), Collective::Broadcast, root)?, None, out)
    }

    /// As `wgccl.reduce`.
    #[pyo3(signature = (arrays, op=None, root=0, *, out=None))]
    fn reduce<'py>(
        &self,
        arrays: Array<'_, 'py>,
        op: Name<'_, 'py>,
        root: i64,
        out: Out<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.call(arrays, rooted(arrays.py(), Collective::Reduce, root)?, op, out)
    }

    /// As `wgccl.gather`.
    #[pyo3(signature = (arrays, root=0, *, out=None))]
    fn gather<'py>(&self, arrays: Array<'_, 'py>, root: i64, out: Out<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        self.call(arrays, rooted(arrays.py(), Collective::Gather, root)?, None, out)
    }

    /// As `wgccl.scatter`.
    #[pyo3(signature = (array, root=0, *, out=None))]
    fn scatter<'py>(&self, array: Array<'_, 'py>, root: i64, out: Out<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        self.call(array, rooted(array.py(), Collective::Scatter, root)?, None, out)
    }

    /// As `wgccl.all_to_all`.
    #[pyo3(signature = (arrays, *, out=None))]
    fn all_to_all<'py>(&self, arrays: Array<'_, 'py>, out: Out<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        self.call(arrays, Collective::AllToAll.into(), None, out)
    }

    /// As `wgccl.send_recv`.
    #[pyo3(signature = (arrays, sources=None, *, out=None))]
    fn send_recv<'py>(
        &self,
        arrays: Array<'_, 'py>,
        sources: Option<Vec<i64>>,
        out: Out<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.call(arrays, send_recv_task(arrays.py(), sources)?, None, out)
    }

    /// No rank goes on before all have arrived.
    fn barrier(&self, py: Python<'_>) -> PyResult<()> {
        self.0.barrier(py)
    }

    /// Drops what calls have prepared, with its memory.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let runs = self.0.runs(py)?;
        py.detach(|| runs.release());
        Ok(())
    }

    fn __repr__(&self) -> String {
        let Self(comm) = self;
        format!("<Communicator: {} ranks on {}, {}>", comm.ranks(), comm.name(), comm.settings().algorithm)
    }
}

impl PyCommunicator {
    fn call<'py>(
        &self,
        arrays: Array<'_, 'py>,
        task: Task,
        op: Name<'_, 'py>,
        out: Out<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let buffers = Buffers::read(arrays, task, |_| Ok(self.0.ranks()), out)?;
        self.0.call(buffers, named(op, Op::Sum)?)
    }
}

/// The names of all algorithms of a collective, the one that `build` takes by default first.
#[pyfunction]
#[pyo3(signature = (collective=None))]
pub(crate) fn algorithms(collective: Name<'_, '_>) -> PyResult<Vec<&'static str>> {
    let collective = named(collective, Collective::AllReduce)?;
    let default = Algorithm::default_of(collective);
    let mut all = Algorithm::of(collective);
    all.sort_by_key(|&algorithm| algorithm != default);
    Ok(all.into_iter().map(Algorithm::name).collect())
}
