//! Long work that Ctrl-C ends: it runs on a thread of its own, while the calling one looks for signals.
//!
//! Work that was left goes on to its end, so it owns or keeps alive all that it touches.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors;

/// Between two looks for signals.
const LOOK: Duration = Duration::from_millis(20);

/// What `work` gives, or the exception of a signal that arrived before.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (done, mut result) = mpsc::sync_channel(1);
    let started = thread::Builder::new().name("wgccl".to_owned()).spawn(move || {
        // Nobody may be there any more.
        let _ = done.send(work());
    });
    started.map_err(|error| errors::device(py, format!("cannot start a thread: {error}")))?;
    loop {
        // Exclusive, because nobody else may wait for it.
        let result = &mut result;
        match py.detach(move || result.recv_timeout(LOOK)) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("wgccl: a thread panicked; please report this"));
            }
        }
    }
}
