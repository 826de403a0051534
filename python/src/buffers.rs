//! What arrays mean in a call: who gives and gets which, in place or apart; and the call itself, without the interpreter's lock.

use numpy::PyUntypedArray;
use pyo3::prelude::*;
use wgccl::collective::{Collective, Task};
use wgccl::element::DataType;

use crate::arrays::{Few, Given, Order, Results, View, is_writeable, overlap, shown};
use crate::errors;
use crate::signals::interruptible;

/// Bytes of a call from which on it looks for signals. Less takes a few milliseconds.
const LONG: usize = 64 << 20;

/// The arrays of a call.
pub(crate) struct Buffers<'py> {
    given: Given<'py>,
    results: Results<'py>,
    /// Of every rank, nothing where it has none.
    inputs: Few<View>,
    outputs: Few<View>,
    task: Task,
    ranks: u32,
}

/// A launch in place.
#[derive(Default)]
pub(crate) struct Place {
    /// Of every rank.
    buffers: Few<View>,
    /// What is copied before it, and after: from where, and to where.
    before: Few<(View, View)>,
    after: Few<(View, View)>,
    /// What of it lies in no array of the call.
    spare: Vec<Py<PyUntypedArray>>,
}

impl<'py> Buffers<'py> {
    /// Of a call of `task`: `arrays` of every rank, or the root's one, and where results go, if not to new arrays.
    pub(crate) fn read(
        arrays: &Bound<'py, PyAny>,
        task: Task,
        ranks: impl FnOnce(usize) -> PyResult<u32>,
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let (order, one_gives) = (Order::of(task.collective), task.collective.only_root_gives());
        let given = if one_gives { Given::one(arrays, order)? } else { Given::all(arrays, order)? };
        let ranks = ranks(given.views.len())?;
        Self::new(given, task, ranks, out)
    }

    fn new(given: Given<'py>, task: Task, ranks: u32, out: Option<&Bound<'py, PyAny>>) -> PyResult<Self> {
        let (py, all, collective) = (given.descr.py(), ranks as usize, task.collective);
        task.check(ranks).map_err(|error| errors::input(py, error))?;
        let (one_gives, one_gets) = (collective.only_root_gives(), one_gets(collective));
        if !one_gives && given.views.len() != all {
            let message = format!("{} arrays for {ranks} ranks; give one for each rank", given.views.len());
            return Err(errors::input(py, message));
        }
        let shape = result_shape(py, collective, &given.shape, all)?;
        let results = match (out, one_gets) {
            (None, true) => Results::alone(&given, &shape)?,
            (None, false) => Results::new(&given, all, &shape, given.stacked)?,
            (Some(out), true) => Results::one(&given, out, &shape)?,
            (Some(out), false) => Results::all(&given, out, all, &shape)?,
        };
        let inputs = if one_gives { only(given.views[0], task.root, ranks) } else { given.views.clone() };
        let outputs = if one_gets { only(results.views[0], task.root, ranks) } else { results.views.clone() };
        Ok(Self { given, results, inputs, outputs, task, ranks })
    }

    pub(crate) fn py(&self) -> Python<'py> {
        self.given.descr.py()
    }

    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    pub(crate) fn ranks(&self) -> u32 {
        self.ranks
    }

    pub(crate) fn data_type(&self) -> DataType {
        self.given.data_type
    }

    /// Elements of a part.
    pub(crate) fn count(&self) -> usize {
        count(&self.task, &self.inputs, self.data_type())
    }

    /// What the caller gets.
    pub(crate) fn back(self) -> Bound<'py, PyAny> {
        self.results.back
    }

    /// How it runs in place, if it does: because inputs and outputs are the same memory, or because it has to.
    pub(crate) fn place(&self, py: Python<'_>, must: bool) -> PyResult<Option<Place>> {
        if let Some(buffers) = self.shared() {
            return Ok(Some(Place { buffers, ..Place::default() }));
        }
        if let Some((outputs, a, b)) = overlap(&self.outputs, &self.inputs) {
            return Err(errors::input(py, overlapping(outputs, a, b)));
        }
        if must { self.staged().map(Some) } else { Ok(None) }
    }

    /// The buffers of a call whose inputs and outputs are the same memory: of every rank the longer of both, which the other is
    /// a part of, by NCCL's rules. Where a rank only gives, its input must be writeable, too: buffers in place are lent so.
    fn shared(&self) -> Option<Few<View>> {
        if !self.task.collective.has_in_place() {
            return None;
        }
        let mut buffers = Few::with_capacity(self.outputs.len());
        let (mut shared, mut gives) = (false, false);
        for (rank, (&input, &output)) in (0..).zip(self.inputs.iter().zip(&self.outputs)) {
            buffers.push(match (input.bytes, output.bytes) {
                (0, _) => output,
                (_, 0) => {
                    gives = true;
                    input
                }
                _ if input.is(self.input_in(rank, output)) => {
                    shared = true;
                    output
                }
                _ if output.is(self.output_in(rank, input)) => {
                    shared = true;
                    input
                }
                _ => return None,
            });
        }
        let writeable = || self.given.arrays.iter().all(is_writeable);
        (shared && (!gives || writeable()) && overlap(&buffers, &[]).is_none()).then_some(buffers)
    }

    /// The same with copies, of a schedule that is made for calls in place.
    fn staged(&self) -> PyResult<Place> {
        let mut place = Place::default();
        for (rank, (&input, &output)) in (0..).zip(self.inputs.iter().zip(&self.outputs)) {
            if output.bytes >= input.bytes {
                place.buffers.push(output);
                if input.bytes > 0 {
                    place.before.push((input, self.input_in(rank, output)));
                }
                continue;
            }
            let (array, view) = self.given.spare(input.bytes)?;
            place.spare.push(array.unbind());
            place.buffers.push(view);
            place.before.push((input, view));
            if output.bytes > 0 {
                place.after.push((self.output_in(rank, view), output));
            }
        }
        Ok(place)
    }

    /// Where a rank's input is in a buffer in place that is as long as its output.
    fn input_in(&self, rank: u32, output: View) -> View {
        let parts = self.task.output_parts(rank, self.ranks) / self.task.input_parts(rank, self.ranks).max(1);
        output.part(self.task.input_in_place(rank) as usize, parts as usize)
    }

    /// Where its output is in one that is as long as its input.
    fn output_in(&self, rank: u32, input: View) -> View {
        let parts = self.task.input_parts(rank, self.ranks) / self.task.output_parts(rank, self.ranks).max(1);
        input.part(self.task.output_in_place(rank) as usize, parts as usize)
    }

    /// Calls `work` with inputs and outputs, or with the buffers of a launch in place, without the interpreter's lock. What is
    /// long, or may be because it is `slow`, is left when a signal arrives.
    pub(crate) fn launch<R: Send + 'static>(
        &self,
        py: Python<'_>,
        slow: bool,
        place: Option<Place>,
        work: impl FnOnce(&[&[u8]], &mut [&mut [u8]], Option<&mut [&mut [u8]]>) -> R + Send + 'static,
    ) -> PyResult<R> {
        let bytes: usize = self.inputs.iter().chain(&self.outputs).map(|view| view.bytes).sum();
        if !slow && bytes < LONG {
            let (inputs, outputs) = (&self.inputs[..], &self.outputs[..]);
            return Ok(py.detach(|| launch(inputs, outputs, place, work)));
        }
        let (inputs, outputs, keep) = (self.inputs.clone(), self.outputs.clone(), self.keep());
        let (result, keep) = interruptible(py, move || (launch(&inputs, &outputs, place, work), keep))?;
        drop(keep);
        Ok(result)
    }

    /// All that the views lie in.
    fn keep(&self) -> Vec<Py<PyUntypedArray>> {
        self.given.arrays.iter().chain(&self.results.keep).map(|array| array.clone().unbind()).collect()
    }
}

/// Whether only the root gets something.
pub(crate) fn one_gets(collective: Collective) -> bool {
    matches!(collective, Collective::Reduce | Collective::Gather)
}

/// The root's view, and nothing for everybody else.
pub(crate) fn only(view: View, root: u32, ranks: u32) -> Few<View> {
    let mut every: Few<View> = smallvec::smallvec![View::NONE; ranks as usize];
    if let Some(place) = every.get_mut(root as usize) {
        *place = view;
    }
    every
}

/// Elements of a part, by all ranks' inputs.
pub(crate) fn count(task: &Task, inputs: &[View], data_type: DataType) -> usize {
    let ranks = inputs.len() as u32;
    let gives = (0..ranks).find(|&rank| task.input_parts(rank, ranks) > 0);
    gives.map_or(0, |rank| inputs[rank as usize].bytes / data_type.bytes() / task.input_parts(rank, ranks) as usize)
}

fn launch<R>(
    inputs: &[View],
    outputs: &[View],
    place: Option<Place>,
    work: impl FnOnce(&[&[u8]], &mut [&mut [u8]], Option<&mut [&mut [u8]]>) -> R,
) -> R {
    // SAFETY: as in `arrays`. Whoever called keeps the arrays alive. Outputs are writeable and overlap nothing, or are buffers in
    // place, of which there is one view each; what is copied before and after is done with when the next view is made.
    unsafe {
        let Some(Place { buffers, before, after, spare }) = place else {
            let inputs: Few<&[u8]> = inputs.iter().map(|view| view.bytes()).collect();
            let mut outputs: Few<&mut [u8]> = outputs.iter().map(|view| view.bytes_mut()).collect();
            return work(&inputs, &mut outputs, None);
        };
        before.iter().for_each(|(from, to)| to.bytes_mut().copy_from_slice(from.bytes()));
        let mut lent: Few<&mut [u8]> = buffers.iter().map(|view| view.bytes_mut()).collect();
        let result = work(&[], &mut [], Some(&mut lent));
        after.iter().for_each(|(from, to)| to.bytes_mut().copy_from_slice(from.bytes()));
        drop(spare);
        result
    }
}

fn overlapping(outputs: bool, a: usize, b: usize) -> String {
    match outputs {
        true => format!("the outputs of ranks {a} and {b} overlap in memory; give each rank an array of its own"),
        false => format!(
            "the input of rank {a} and the output of rank {b} overlap in memory; give arrays apart, or the same ones for all \
             ranks, which is the form in place"
        ),
    }
}

/// The shape of a rank's result. The first axis is what is joined or cut.
fn result_shape(py: Python<'_>, collective: Collective, shape: &[usize], ranks: usize) -> PyResult<Few<usize>> {
    let mut shape: Few<usize> = shape.into();
    let cut = match collective {
        Collective::AllGather | Collective::Gather => {
            match shape.first_mut() {
                Some(first) => *first = first.saturating_mul(ranks),
                None => shape.push(ranks),
            }
            return Ok(shape);
        }
        Collective::ReduceScatter | Collective::Scatter => ranks,
        Collective::AllToAll => 1,
        _ => return Ok(shape),
    };
    match shape.first_mut().filter(|first| first.is_multiple_of(ranks)) {
        Some(first) => {
            *first /= cut;
            Ok(shape)
        }
        None => Err(errors::input(
            py,
            format!(
                "{collective} cuts the first axis into {ranks} equal parts, and the arrays have shape {}; give a multiple of \
                 {ranks} there",
                shown(&shape)
            ),
        )),
    }
}
