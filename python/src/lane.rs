//! A chain of instructions of one rank, as a program writes them: wait, move or reduce, notify.
//!
//! Verbs join into one instruction as long as they come in that order, which is the order in which an instruction does them; a verb
//! that cannot join begins the next one.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use wgccl::schedule::{Address, Buffer, Instruction, Label, Notify};

use crate::errors;
use crate::written::{PyAddress, PySchedule, number};

/// A rank's lane, at its end.
#[pyclass(module = "wgccl", name = "Rank")]
pub(crate) struct PyRank {
    schedule: Py<PySchedule>,
    rank: u32,
    lane: usize,
    label: Option<Label>,
    /// The instruction that verbs may still join.
    open: Option<usize>,
}

/// What an instruction was last told to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Wait,
    Act,
    Notify,
}

impl PyRank {
    pub(crate) fn new(
        schedule: &Bound<'_, PySchedule>,
        rank: i64,
        label: Option<&Bound<'_, PyAny>>,
        lane: i64,
    ) -> PyResult<Self> {
        let py = schedule.py();
        let ranks = schedule.try_borrow()?.schedule().ranks;
        let rank = match u32::try_from(rank) {
            Ok(rank) if rank < ranks => rank,
            _ => {
                let message = format!("there is no rank {rank}: there are ranks 0 to {}", ranks.saturating_sub(1));
                return Err(errors::input(py, message));
            }
        };
        let label = label.map(label_of).transpose()?;
        let lane = number(py, "lane", lane)?;
        if lane > 1 << 10 {
            return Err(errors::input(py, format!("lane {lane}: lanes of a rank are counted from 0, and few")));
        }
        let lane = schedule.try_borrow_mut()?.lane(rank, lane);
        Ok(Self { schedule: schedule.clone().unbind(), rank, lane, label, open: None })
    }

    /// The instruction that a verb of `stage` belongs to, to be changed.
    fn at<R>(&mut self, py: Python<'_>, stage: Stage, change: impl FnOnce(&mut Instruction) -> R) -> PyResult<R> {
        let mut schedule = self.schedule.bind(py).try_borrow_mut()?;
        let joins = |open: &usize| {
            let instruction = &schedule.schedule().lanes[self.lane].instructions[*open];
            let reached = match (instruction.from.is_empty(), instruction.notifies.is_empty()) {
                (_, false) => Stage::Notify,
                (false, true) => Stage::Act,
                (true, true) => Stage::Wait,
            };
            reached < stage || (reached == stage && stage != Stage::Act)
        };
        let instruction = match self.open.filter(joins) {
            Some(open) => open,
            None => schedule.append(py, self.lane, self.label.clone())?,
        };
        self.open = Some(instruction);
        Ok(change(&mut schedule.change().lanes[self.lane].instructions[instruction]))
    }

    fn act(&mut self, py: Python<'_>, from: Vec<Address>, to: Option<&Bound<'_, PyAny>>, chunks: i64) -> PyResult<()> {
        let chunks = number(py, "chunks", chunks)?;
        let to = to.map(addresses).transpose()?.unwrap_or_default();
        self.at(py, Stage::Act, |instruction| {
            instruction.from = from.into_iter().collect();
            instruction.to = to.into_iter().collect();
            instruction.chunks = chunks;
        })
    }

    fn own(&self, py: Python<'_>, what: &str, address: PyAddress, own: bool) -> PyResult<Address> {
        let PyAddress(address) = address;
        match (address.rank == self.rank) == own {
            true => Ok(address),
            false => {
                let whose = if own { "this rank's own memory" } else { "another rank's memory" };
                let message = format!(
                    "{what} is {}, and must be {whose}, rank {}'s; copy moves between any two",
                    shown(address),
                    self.rank
                );
                Err(errors::input(py, message))
            }
        }
    }
}

fn shown(address: Address) -> String {
    format!("rank {} {}[{}]", address.rank, address.buffer, address.chunk)
}

/// A text, or a text and a number: ("RS", 3) is "RS round 3".
fn label_of(label: &Bound<'_, PyAny>) -> PyResult<Label> {
    if let Ok(text) = label.cast::<PyString>() {
        return Ok(Label::new(text.to_cow()?.as_ref()));
    }
    let (text, round): (String, u32) = label.extract().map_err(|_| {
        errors::input(label.py(), "a label is a text, or a text and a number: ('RS', 3) is 'RS round 3'")
    })?;
    Ok(Label::numbered(format!("{text} round").into(), round))
}

/// One address, or several in a list or tuple.
fn addresses(given: &Bound<'_, PyAny>) -> PyResult<Vec<Address>> {
    if let Ok(one) = given.extract::<PyAddress>() {
        return Ok(vec![one.0]);
    }
    let all: Vec<PyAddress> = given.extract().map_err(|_| {
        errors::input(given.py(), "that is no chunk; make one by input, output or slot of a schedule or a rank")
    })?;
    Ok(all.into_iter().map(|of| of.0).collect())
}

#[pymethods]
impl PyRank {
    /// Which rank it is.
    #[getter]
    fn rank(&self) -> u32 {
        self.rank
    }

    /// A chunk of this rank's input.
    #[pyo3(signature = (chunk=0, *, part=0))]
    fn input(&self, py: Python<'_>, chunk: i64, part: i64) -> PyResult<PyAddress> {
        self.address(py, Buffer::Input, chunk, part)
    }

    /// A chunk of this rank's output.
    #[pyo3(signature = (chunk=0, *, part=0))]
    fn output(&self, py: Python<'_>, chunk: i64, part: i64) -> PyResult<PyAddress> {
        self.address(py, Buffer::Output, chunk, part)
    }

    /// A chunk slot in this rank's window.
    #[pyo3(signature = (slot=0))]
    fn slot(&self, py: Python<'_>, slot: i64) -> PyResult<PyAddress> {
        self.address(py, Buffer::Slot, slot, 0)
    }

    /// Waits until `sender` has notified this rank's signal: once more than all waits for it before, or `at_least` times.
    #[pyo3(signature = (sender, signal=None, at_least=None))]
    fn wait<'py>(
        slf: Bound<'py, Self>,
        sender: i64,
        signal: Option<&Bound<'py, PyAny>>,
        at_least: Option<i64>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let sender = number(py, "sender", sender)?;
        let at_least = at_least.map(|n| number(py, "at_least", n)).transpose()?;
        {
            let mut this = slf.try_borrow_mut()?;
            let wait = this.schedule.bind(py).try_borrow_mut()?.wait(py, this.rank, signal, sender, at_least)?;
            this.at(py, Stage::Wait, |instruction| instruction.waits.push(wait))?;
        }
        Ok(slf)
    }

    /// Notifies a signal of `peer`, once what was moved before is in memory.
    #[pyo3(signature = (peer, signal=None))]
    fn notify<'py>(slf: Bound<'py, Self>, peer: i64, signal: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        {
            let mut this = slf.try_borrow_mut()?;
            let peer = number(py, "peer", peer)?;
            let row = this.schedule.bind(py).try_borrow_mut()?.row(py, signal)?;
            this.at(py, Stage::Notify, |instruction| instruction.notifies.push(Notify { peer, row }))?;
        }
        Ok(slf)
    }

    /// As `notify`, which MSCCL++ calls so.
    #[pyo3(signature = (peer, signal=None))]
    fn signal<'py>(slf: Bound<'py, Self>, peer: i64, signal: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, Self>> {
        Self::notify(slf, peer, signal)
    }

    /// Copies a chunk, or several one after the other, to where `to` says.
    #[pyo3(signature = (source, to=None, *, chunks=1))]
    fn copy<'py>(
        slf: Bound<'py, Self>,
        source: PyAddress,
        to: Option<&Bound<'py, PyAny>>,
        chunks: i64,
    ) -> PyResult<Bound<'py, Self>> {
        slf.try_borrow_mut()?.act(slf.py(), vec![source.0], to, chunks)?;
        Ok(slf)
    }

    /// Reduces chunks from left to right, to where `to` says.
    #[pyo3(signature = (*operands, to=None, chunks=1))]
    fn reduce<'py>(
        slf: Bound<'py, Self>,
        operands: &Bound<'py, PyTuple>,
        to: Option<&Bound<'py, PyAny>>,
        chunks: i64,
    ) -> PyResult<Bound<'py, Self>> {
        let mut from = Vec::with_capacity(operands.len());
        for operand in operands {
            from.extend(addresses(&operand)?);
        }
        if from.len() < 2 {
            return Err(errors::input(slf.py(), "reduce takes two chunks or more; copy moves one"));
        }
        slf.try_borrow_mut()?.act(slf.py(), from, to, chunks)?;
        Ok(slf)
    }

    /// Where what was copied or reduced goes; several get the same.
    #[pyo3(signature = (*places))]
    fn to<'py>(slf: Bound<'py, Self>, places: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        {
            let this = slf.try_borrow()?;
            let mut to = Vec::with_capacity(places.len());
            for place in places {
                to.extend(addresses(&place)?);
            }
            let mut schedule = this.schedule.bind(py).try_borrow_mut()?;
            let lane = this.lane;
            let acts = |open: &usize| !schedule.schedule().lanes[lane].instructions[*open].from.is_empty();
            let Some(open) = this.open.filter(acts) else {
                return Err(errors::input(
                    py,
                    "nothing was copied or reduced that could go anywhere; call copy or reduce first",
                ));
            };
            let instruction = &mut schedule.change().lanes[lane].instructions[open];
            to.into_iter().for_each(|to| instruction.to.push(to));
        }
        Ok(slf)
    }

    /// Copies a chunk of this rank's own to `destination`, in another rank's memory.
    #[pyo3(signature = (destination, source, *, chunks=1))]
    fn put<'py>(
        slf: Bound<'py, Self>,
        destination: PyAddress,
        source: PyAddress,
        chunks: i64,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let (from, to) = {
            let this = slf.try_borrow()?;
            (this.own(py, "what is put", source, true)?, this.own(py, "where it is put", destination, false)?)
        };
        let to = PyAddress(to).into_pyobject(py)?.into_any();
        slf.try_borrow_mut()?.act(py, vec![from], Some(&to), chunks)?;
        Ok(slf)
    }

    /// Copies a chunk of another rank's to `destination`, in this rank's memory.
    #[pyo3(signature = (destination, source, *, chunks=1))]
    fn get<'py>(
        slf: Bound<'py, Self>,
        destination: PyAddress,
        source: PyAddress,
        chunks: i64,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let (from, to) = {
            let this = slf.try_borrow()?;
            (this.own(py, "what is got", source, false)?, this.own(py, "where it is put", destination, true)?)
        };
        let to = PyAddress(to).into_pyobject(py)?.into_any();
        slf.try_borrow_mut()?.act(py, vec![from], Some(&to), chunks)?;
        Ok(slf)
    }

    fn __repr__(&self) -> String {
        format!("<Rank {}>", self.rank)
    }
}

impl PyRank {
    fn address(&self, py: Python<'_>, buffer: Buffer, chunk: i64, part: i64) -> PyResult<PyAddress> {
        let (chunk, part) = (number(py, "chunk", chunk)?, number(py, "part", part)?);
        let chunks = self.schedule.bind(py).try_borrow()?.schedule().chunks;
        let chunk = part.saturating_mul(chunks).saturating_add(chunk);
        Ok(PyAddress(Address { rank: self.rank, buffer, chunk }))
    }
}
