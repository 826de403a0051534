//! A schedule that a program writes, and what is remembered of who wrote which part: what `Schedule` and the chains of its ranks share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyString;
use wgccl::backend::Shape;
use wgccl::format::msccl::Algo;
use wgccl::schedule::{Address, Instruction, Label, Lane, Schedule, Wait};

use crate::device::AnyReady;
use crate::errors;
use crate::lines::Lines;
use crate::report::{self, Rows};

/// What every rank does, step by step.
#[pyclass(module = "wgccl", name = "Schedule")]
pub(crate) struct PySchedule {
    pub(crate) schedule: Arc<Schedule>,
    pub(crate) in_place: bool,
    pub(crate) lines: Lines,
    pub(crate) rows: Rows,
    /// How many notifies a rank has awaited so far: by rank, row and sender.
    pub(crate) awaited: HashMap<(u32, u32, u32), u32>,
    /// Of MSCCL XML, as it was read.
    pub(crate) algo: Option<Arc<Algo>>,
    #[pyo3(get)]
    pub(crate) warnings: Vec<String>,
    pub(crate) ready: Mutex<Option<(Key, Arc<Mutex<AnyReady>>)>>,
}

/// For what the last run was prepared.
pub(crate) type Key = (String, Shape, bool);

/// A chunk of some rank's memory.
#[pyclass(frozen, eq, hash, from_py_object, module = "wgccl", name = "Address")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyAddress(pub(crate) Address);

#[pymethods]
impl PyAddress {
    #[getter]
    fn rank(&self) -> u32 {
        self.0.rank
    }

    /// "input", "output" or "slot".
    #[getter]
    fn buffer(&self) -> String {
        self.0.buffer.to_string()
    }

    #[getter]
    fn chunk(&self) -> u32 {
        self.0.chunk
    }

    fn __repr__(&self) -> String {
        format!("rank {} {}[{}]", self.0.rank, self.0.buffer, self.0.chunk)
    }
}

/// A number of something, from 0 on.
pub(crate) fn number(py: Python<'_>, what: &str, number: i64) -> PyResult<u32> {
    u32::try_from(number).map_err(|_| errors::input(py, format!("{what} is {number}; give a number from 0 on")))
}

impl PySchedule {
    pub(crate) fn of(schedule: Schedule, in_place: bool) -> Self {
        Self {
            schedule: Arc::new(schedule),
            in_place,
            lines: Lines::default(),
            rows: Rows::default(),
            awaited: HashMap::new(),
            algo: None,
            warnings: Vec::new(),
            ready: Mutex::new(None),
        }
    }

    pub(crate) fn of_msccl(schedule: Schedule, in_place: bool, algo: Algo, warnings: Vec<String>) -> Self {
        Self { algo: Some(Arc::new(algo)), warnings, ..Self::of(schedule, in_place) }
    }

    pub(crate) fn schedule(&self) -> &Arc<Schedule> {
        &self.schedule
    }

    /// To be changed: what was made of it is no longer true.
    pub(crate) fn change(&mut self) -> &mut Schedule {
        self.algo = None;
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Arc::make_mut(&mut self.schedule)
    }

    /// The lane of that number among the rank's, made if there is none yet.
    pub(crate) fn lane(&mut self, rank: u32, number: u32) -> usize {
        let of_rank = |schedule: &Schedule| {
            (0..schedule.lanes.len()).filter(|&lane| schedule.lanes[lane].rank == rank).collect::<Vec<_>>()
        };
        let mut known = of_rank(&self.schedule);
        while known.len() <= number as usize {
            let schedule = self.change();
            schedule.lanes.push(Lane::new(rank));
            known.push(schedule.lanes.len() - 1);
        }
        known[number as usize]
    }

    /// Appends an instruction that the calling line makes.
    pub(crate) fn append(&mut self, py: Python<'_>, lane: usize, label: Option<Label>) -> PyResult<usize> {
        let instructions = self.schedule.lanes[lane].instructions.len();
        self.lines.skip(lane, instructions);
        let line = self.lines.push(py, lane)?;
        let label = label.or_else(|| line.as_ref().map(report::label));
        let label = label.unwrap_or_else(|| Label::new("instruction"));
        self.change().lanes[lane].push(Instruction::new(label));
        Ok(instructions)
    }

    /// The row of a signal: named ones get the next that is free.
    pub(crate) fn row(&mut self, py: Python<'_>, signal: Option<&Bound<'_, PyAny>>) -> PyResult<u32> {
        let Some(signal) = signal else { return Ok(self.used(0)) };
        if let Ok(name) = signal.cast::<PyString>() {
            let name = name.to_cow()?;
            if let Some((row, _)) = self.rows.iter().find(|(_, known)| *known == *name) {
                return Ok(*row);
            }
            let row = self.schedule.signal_rows;
            self.rows.push((row, name.into_owned()));
            return Ok(self.used(row));
        }
        let row =
            signal.extract::<i64>().map_err(|_| errors::input(py, "a signal is a name or the number of a row"))?;
        let row = number(py, "the row of a signal", row)?;
        if let Some((_, name)) = self.rows.iter().find(|(known, _)| *known == row) {
            return Err(errors::input(py, format!("row {row} is the signal '{name}'; use its name, or another row")));
        }
        Ok(self.used(row))
    }

    /// A wait of `rank`: for one notify more than its waits for that signal before, unless it is said for how many.
    pub(crate) fn wait(
        &mut self,
        py: Python<'_>,
        rank: u32,
        signal: Option<&Bound<'_, PyAny>>,
        sender: u32,
        at_least: Option<u32>,
    ) -> PyResult<Wait> {
        let row = self.row(py, signal)?;
        let awaited = self.awaited.entry((rank, row, sender)).or_insert(0);
        let at_least = at_least.unwrap_or(awaited.saturating_add(1));
        *awaited = at_least.max(*awaited);
        Ok(Wait { row, sender, at_least })
    }

    fn used(&mut self, row: u32) -> u32 {
        let rows = row.saturating_add(1);
        if self.schedule.signal_rows < rows {
            self.change().signal_rows = rows;
        }
        row
    }
}
