//! The library's errors as exceptions: one class for schedules, one for devices, one for what a caller gave.
//!
//! Their sentences are the library's. The classes are Python's own, so that they can have several bases.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use wgccl::error::{Error, PrepareError, RunError};
use wgccl::proof::Refused;

use crate::report::PyReport;

/// A class of exceptions.
#[derive(Clone, Copy)]
enum Class {
    Schedule,
    Device,
    Input,
}

impl Class {
    fn of(self, py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
        static SCHEDULE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static DEVICE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static INPUT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let (cell, name) = match self {
            Self::Schedule => (&SCHEDULE, "ScheduleError"),
            Self::Device => (&DEVICE, "DeviceError"),
            Self::Input => (&INPUT, "InputError"),
        };
        Ok(cell.import(py, "wgccl._errors", name)?.clone())
    }

    fn error(self, py: Python<'_>, message: String) -> PyErr {
        match self.of(py) {
            Ok(class) => PyErr::from_type(class, (message,)),
            Err(error) => error,
        }
    }
}

/// What a caller gave cannot be taken.
pub(crate) fn input(py: Python<'_>, message: impl ToString) -> PyErr {
    Class::Input.error(py, message.to_string())
}

/// A device failed.
pub(crate) fn device(py: Python<'_>, message: impl ToString) -> PyErr {
    Class::Device.error(py, message.to_string())
}

/// A schedule, or a file of one, is not right.
pub(crate) fn schedule(py: Python<'_>, message: impl ToString) -> PyErr {
    Class::Schedule.error(py, message.to_string())
}

/// A schedule was refused; the exception has the report.
pub(crate) fn refused(py: Python<'_>, refused: &Refused, report: PyReport) -> PyErr {
    let error = schedule(py, refused);
    match Py::new(py, report).and_then(|report| error.value(py).setattr("report", report)) {
        Ok(()) => error,
        Err(error) => error,
    }
}

/// It could not be prepared.
pub(crate) fn prepare(py: Python<'_>, error: PrepareError) -> PyErr {
    match error {
        PrepareError::Refused(of) => refused(py, &of, PyReport::bare(of.report.clone())),
        PrepareError::Lower { .. } | PrepareError::Memory(_) | PrepareError::Threads(_) | PrepareError::Device(_) => {
            device(py, error)
        }
        _ => input(py, error),
    }
}

/// It did not succeed.
pub(crate) fn run(py: Python<'_>, error: RunError) -> PyErr {
    match error {
        RunError::Buffers(_) | RunError::Slices(_) | RunError::Placement { .. } => input(py, error),
        _ => device(py, error),
    }
}

/// Either.
pub(crate) fn either(py: Python<'_>, error: Error) -> PyErr {
    match error {
        Error::Prepare(error) => prepare(py, error),
        Error::Run(error) => run(py, error),
        _ => device(py, error),
    }
}
