//! An executor of a type that is known only when the program runs.
//!
//! Which type it is was decided once, when it was prepared; a launch costs a call through a table and a look at where its
//! buffers begin.

use std::fmt;
use std::ops::Range;
use std::time::Instant;

use super::executor::Executor;
use crate::backend::{self, Prepared, Ran};
use crate::buffers::UserBuffer;
use crate::element::Element;
use crate::error::RunError;
use crate::trace::Trace;

/// A schedule made ready for the CPU executor.
pub struct Ready(Box<dyn backend::Ready + Send>);

impl Ready {
    pub(super) fn new<T: Element>(executor: Executor<T>) -> Self {
        Self(Box::new(Typed { executor, resident: None }))
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&backend::Ready::prepared(self)).finish()
    }
}

impl backend::Ready for Ready {
    fn prepared(&self) -> Prepared {
        self.0.prepared()
    }

    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        self.0.run(inputs, outputs)
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        self.0.run_in_place(buffers)
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        self.0.load(piece, inputs)
    }

    fn launch(&mut self) -> Result<Ran, RunError> {
        self.0.launch()
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        self.0.fetch(outputs)
    }

    fn trace(&mut self) -> Option<Trace> {
        self.0.trace()
    }
}

struct Typed<T: Element> {
    executor: Executor<T>,
    resident: Option<Resident<T>>,
}

/// Copies of the caller's buffers, over which launches go without it.
pub(super) struct Resident<T> {
    /// Empty in place.
    inputs: Vec<Vec<T>>,
    /// In place, buffers.
    outputs: Vec<Vec<T>>,
    launched: bool,
}

/// What a caller gives a launch to work on first: inputs, or in place buffers.
fn given<T: Element>(executor: &Executor<T>) -> UserBuffer {
    if executor.proved().in_place() { UserBuffer::InPlace } else { UserBuffer::Input }
}

impl<T: Element> Typed<T> {
    /// The clock of a small launch would take longer than the launch.
    fn timed(&mut self, launch: impl FnOnce(&mut Executor<T>) -> Result<(), RunError>) -> Result<Ran, RunError> {
        if self.executor.is_small() {
            return launch(&mut self.executor).map(|()| Ran::default());
        }
        timed(|| launch(&mut self.executor))
    }
}

fn timed(launch: impl FnOnce() -> Result<(), RunError>) -> Result<Ran, RunError> {
    let start = Instant::now();
    launch()?;
    Ok(Ran { time: Some(start.elapsed()), ..Ran::default() })
}

impl<T: Element> backend::Ready for Typed<T> {
    fn prepared(&self) -> Prepared {
        Prepared { dispatch: None, channels: self.executor.channels(), pieces: 1, device_bytes: None }
    }

    fn run(&mut self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        self.timed(|executor| executor.run_bytes(inputs, outputs))
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        self.timed(|executor| executor.run_bytes_in_place(buffers))
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        if piece > 0 {
            self.resident = None;
            return Err(RunError::NoSuchPiece { piece, pieces: 1 });
        }
        Resident::load(&mut self.resident, &self.executor, all, inputs)
    }

    fn launch(&mut self) -> Result<Ran, RunError> {
        Resident::launch(&mut self.resident, |inputs, outputs| {
            // SAFETY: they are borrowed until it returns, and were made as long as the schedule has them.
            timed(|| unsafe {
                self.executor.launch(inputs.iter().map(Vec::as_ptr), outputs.iter_mut().map(Vec::as_mut_ptr))
            })
        })
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        Resident::fetch(self.resident.as_ref(), &self.executor, all, outputs)
    }

    fn trace(&mut self) -> Option<Trace> {
        self.executor.trace()
    }
}

impl<T: Element> Resident<T> {
    fn new(executor: &Executor<T>, given: UserBuffer) -> Result<Self, RunError> {
        let extents = executor.proved().extents(executor.count());
        let zeros =
            |what| (0..extents.ranks()).map(|rank| zeros::<T>(extents.len(what, rank))).collect::<Result<_, _>>();
        let (inputs, outputs) = match given {
            UserBuffer::Input => (zeros(UserBuffer::Input)?, zeros(UserBuffer::Output)?),
            _ => (Vec::new(), zeros(UserBuffer::InPlace)?),
        };
        Ok(Self { inputs, outputs, launched: false })
    }

    /// Copies `what` there is of the caller's inputs, or in place buffers, into what is there, or is made. After an error nothing is.
    pub(super) fn load(
        resident: &mut Option<Self>,
        executor: &Executor<T>,
        what: impl Fn(usize) -> Vec<Range<usize>>,
        inputs: &[&[u8]],
    ) -> Result<(), RunError> {
        let (given, before) = (given(executor), resident.take());
        executor.check_bytes(given, inputs.iter().map(|x| (x.as_ptr(), x.len())))?;
        let mut loaded = before.map_or_else(|| Self::new(executor, given), Ok)?;
        let targets = if given == UserBuffer::Input { &mut loaded.inputs } else { &mut loaded.outputs };
        for (target, input) in targets.iter_mut().zip(inputs) {
            for elements in what(target.len()) {
                let bytes = elements.start * size_of::<T>()..elements.end * size_of::<T>();
                bytemuck::cast_slice_mut::<T, u8>(&mut target[elements]).copy_from_slice(&input[bytes]);
            }
        }
        loaded.launched = false;
        *resident = Some(loaded);
        Ok(())
    }

    /// One launch, over inputs, which are none in place, and outputs. What one that does not succeed has left is no result, and in
    /// place no input for another.
    pub(super) fn launch<R>(
        resident: &mut Option<Self>,
        launch: impl FnOnce(&[Vec<T>], &mut [Vec<T>]) -> Result<R, RunError>,
    ) -> Result<R, RunError> {
        let Some(mut taken) = resident.take() else { return Err(RunError::NotLoaded) };
        let launched = launch(&taken.inputs, &mut taken.outputs);
        taken.launched = launched.is_ok();
        if launched.is_ok() || !taken.inputs.is_empty() {
            *resident = Some(taken);
        }
        launched
    }

    /// Copies `what` there is of results to the caller's outputs, or in place buffers.
    pub(super) fn fetch(
        resident: Option<&Self>,
        executor: &Executor<T>,
        what: impl Fn(usize) -> Vec<Range<usize>>,
        outputs: &mut [&mut [u8]],
    ) -> Result<(), RunError> {
        let results = executor.proved().extents(executor.count()).results();
        executor.check_bytes(results, outputs.iter().map(|x| (x.as_ptr(), x.len())))?;
        let resident = resident.filter(|resident| resident.launched).ok_or(RunError::NotLaunched)?;
        for (output, result) in outputs.iter_mut().zip(&resident.outputs) {
            for elements in what(result.len()) {
                let bytes = elements.start * size_of::<T>()..elements.end * size_of::<T>();
                output[bytes].copy_from_slice(bytemuck::cast_slice(&result[elements]));
            }
        }
        Ok(())
    }
}

/// All of a buffer.
fn all(len: usize) -> Vec<Range<usize>> {
    std::iter::once(0..len).collect()
}

fn zeros<T: Element>(len: usize) -> Result<Vec<T>, RunError> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(len).map_err(|_| RunError::Memory((len * size_of::<T>()) as u64))?;
    vector.resize(len, T::zeroed());
    Ok(vector)
}
