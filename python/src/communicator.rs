//! Communicators that Python's calls share, and how they are made again in a process that was forked off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use wgccl::collective::{Collective, Op, Task};

use crate::buffers::Buffers;
use crate::device::{Device, Runs, Settings, forks};
use crate::errors;

/// Communicators that calls without one keep.
const KEPT: usize = 16;

/// Ranks on a device.
pub(crate) struct Comm {
    ranks: u32,
    /// As the caller said it.
    name: String,
    settings: Settings,
    /// Calls take long whatever their size: they wait for a driver.
    slow: bool,
    /// With how often this process had been forked off when it was made.
    runs: Mutex<(u64, Arc<dyn Runs>)>,
}

impl Comm {
    pub(crate) fn new(py: Python<'_>, ranks: u32, name: &str, settings: Settings) -> PyResult<Self> {
        let device = Device::find(py, name)?;
        let (slow, runs) = (!device.is_cpu(), device.communicator(ranks, &settings));
        Ok(Self { ranks, name: name.to_owned(), settings, slow, runs: Mutex::new((forks(), runs)) })
    }

    /// The one that calls with these settings share.
    pub(crate) fn shared(py: Python<'_>, ranks: usize, name: &str, settings: Settings) -> PyResult<Arc<Self>> {
        static KNOWN: Mutex<Vec<Arc<Comm>>> = Mutex::new(Vec::new());
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let ranks = ranks_of(py, ranks)?;
        {
            let mut known = known();
            let is = |of: &Arc<Self>| of.ranks == ranks && of.name == name && of.settings == settings;
            if let Some(place) = known.iter().position(is) {
                // The last one stands first, so that a loop finds its own at once.
                known[..=place].rotate_right(1);
                return Ok(known[0].clone());
            }
        }
        let fresh = Arc::new(Self::new(py, ranks, name, settings)?);
        let mut known = known();
        known.truncate(KEPT - 1);
        known.insert(0, fresh.clone());
        Ok(fresh)
    }

    pub(crate) fn ranks(&self) -> u32 {
        self.ranks
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether calls take long whatever their size.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow
    }

    /// Made anew in a process that was forked off, where the threads of the old one are gone.
    pub(crate) fn runs(&self, py: Python<'_>) -> PyResult<Arc<dyn Runs>> {
        let locked =
            || -> MutexGuard<'_, (u64, Arc<dyn Runs>)> { self.runs.lock().unwrap_or_else(PoisonError::into_inner) };
        {
            let known = locked();
            if known.0 == forks() {
                return Ok(known.1.clone());
            }
        }
        let fresh = Device::find(py, &self.name)?.communicator(self.ranks, &self.settings);
        // What a forked process would wait for while it drops the old one is not there.
        std::mem::forget(std::mem::replace(&mut *locked(), (forks(), fresh.clone())));
        Ok(fresh)
    }

    /// A call of `task` over what was given.
    pub(crate) fn call<'py>(&self, buffers: Buffers<'py>, op: Op) -> PyResult<Bound<'py, PyAny>> {
        let py = buffers.py();
        let (task, data_type) = (buffers.task().clone(), buffers.data_type());
        let place = buffers.place(py, false)?;
        let runs = self.runs(py)?;
        let ran = buffers.launch(py, self.slow, place, move |inputs, outputs, place| match place {
            Some(place) => runs.run_in_place(task, data_type, place, op),
            None => runs.run(task, data_type, inputs, outputs, op),
        })?;
        ran.map_err(|error| errors::either(py, error))?;
        Ok(buffers.back())
    }

    pub(crate) fn barrier(&self, py: Python<'_>) -> PyResult<()> {
        let (runs, ranks) = (self.runs(py)?, self.ranks as usize);
        let ran = py.detach(|| {
            let mut outputs: Vec<&mut [u8]> = (0..ranks).map(|_| <&mut [u8]>::default()).collect();
            let task = Task::from(Collective::Barrier);
            runs.run(task, wgccl::element::DataType::U8, &vec![&[][..]; ranks], &mut outputs, Op::Sum)
        });
        ran.map(drop).map_err(|error| errors::either(py, error))
    }
}

pub(crate) fn ranks_of(py: Python<'_>, ranks: usize) -> PyResult<u32> {
    let most = wgccl::schedule::MAX_RANKS;
    match u32::try_from(ranks) {
        Ok(ranks) if (1..=most).contains(&ranks) => Ok(ranks),
        _ => Err(errors::input(py, format!("{ranks} ranks; give 1 to {most}"))),
    }
}
