//! An executor of a type that is known only when the program runs.
//!
//! Which type it is was decided once, when it was prepared; a launch costs a call through a table and a look at where its
//! buffers begin.

use std::fmt;
use std::time::Instant;

use smallvec::SmallVec;

use super::executor::Executor;
use crate::backend::{self, Prepared, Ran};
use crate::buffers::{BufferError, UserBuffer};
use crate::element::Element;
use crate::error::RunError;

/// Ranks up to which a list of slices needs no allocation.
const FEW: usize = 8;

type Views<'a, T> = SmallVec<[&'a [T]; FEW]>;
type ViewsMut<'a, T> = SmallVec<[&'a mut [T]; FEW]>;

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
}

struct Typed<T: Element> {
    executor: Executor<T>,
    resident: Option<Resident<T>>,
}

/// Copies of the caller's buffers, over which launches go without it.
struct Resident<T> {
    /// Empty in place.
    inputs: Vec<Vec<T>>,
    /// In place, buffers.
    outputs: Vec<Vec<T>>,
    launched: bool,
}

impl<T: Element> Typed<T> {
    /// What a caller gives a launch to work on first: inputs, or in place buffers.
    fn given(&self) -> UserBuffer {
        if self.executor.proved().in_place() { UserBuffer::InPlace } else { UserBuffer::Input }
    }

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
        let (inputs, mut outputs) = (elements(UserBuffer::Input, inputs)?, elements_mut(UserBuffer::Output, outputs)?);
        self.timed(|executor| executor.run(&inputs, &mut outputs))
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]]) -> Result<Ran, RunError> {
        let mut buffers = elements_mut(UserBuffer::InPlace, buffers)?;
        self.timed(|executor| executor.run_in_place(&mut buffers))
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        if piece > 0 {
            return Err(RunError::NoSuchPiece { piece, pieces: 1 });
        }
        let given = self.given();
        let (inputs, extents) = (elements::<T>(given, inputs)?, self.executor.proved().extents(self.executor.count()));
        extents.check(given, inputs.iter().map(|input| input.len()))?;
        if self.resident.is_none() {
            let zeros = |what| -> Result<Vec<Vec<T>>, RunError> {
                (0..extents.ranks()).map(|rank| zeros(extents.len(what, rank))).collect()
            };
            let (inputs, outputs) = match given {
                UserBuffer::Input => (zeros(UserBuffer::Input)?, zeros(UserBuffer::Output)?),
                _ => (Vec::new(), zeros(UserBuffer::InPlace)?),
            };
            self.resident = Some(Resident { inputs, outputs, launched: false });
        }
        let Some(resident) = &mut self.resident else { return Ok(()) };
        let targets = if given == UserBuffer::Input { &mut resident.inputs } else { &mut resident.outputs };
        targets.iter_mut().zip(&inputs).for_each(|(target, input)| target.copy_from_slice(input));
        resident.launched = false;
        Ok(())
    }

    fn launch(&mut self) -> Result<Ran, RunError> {
        let Some(Resident { inputs, outputs, launched }) = &mut self.resident else {
            return Err(RunError::NotLoaded);
        };
        let inputs: Views<'_, T> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: ViewsMut<'_, T> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        *launched = true;
        timed(|| self.executor.launch(&inputs, &mut outputs))
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        let extents = self.executor.proved().extents(self.executor.count());
        let mut outputs = elements_mut::<T>(extents.results(), outputs)?;
        extents.check(extents.results(), outputs.iter().map(|output| output.len()))?;
        match &self.resident {
            Some(resident) if resident.launched => {
                outputs.iter_mut().zip(&resident.outputs).for_each(|(output, result)| output.copy_from_slice(result));
                Ok(())
            }
            _ => Err(RunError::NotLaunched),
        }
    }
}

fn zeros<T: Element>(len: usize) -> Result<Vec<T>, RunError> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(len).map_err(|_| RunError::Memory((len * size_of::<T>()) as u64))?;
    vector.resize(len, T::zeroed());
    Ok(vector)
}

fn elements<'a, T: Element>(what: UserBuffer, buffers: &[&'a [u8]]) -> Result<Views<'a, T>, BufferError> {
    let view = |(rank, &buffer): (u32, &&'a [u8])| match buffer {
        [] => Ok(&[][..]),
        buffer => bytemuck::try_cast_slice(buffer).map_err(|_| unfit::<T>(what, rank, buffer)),
    };
    (0..).zip(buffers).map(view).collect()
}

fn elements_mut<'a, T: Element>(
    what: UserBuffer,
    buffers: &'a mut [&mut [u8]],
) -> Result<ViewsMut<'a, T>, BufferError> {
    let view = |(rank, buffer): (u32, &'a mut &mut [u8])| match bytemuck::try_cast_slice::<u8, T>(buffer) {
        _ if buffer.is_empty() => Ok(&mut [][..]),
        Ok(_) => Ok(bytemuck::cast_slice_mut(buffer)),
        Err(_) => Err(unfit::<T>(what, rank, buffer)),
    };
    (0..).zip(buffers).map(view).collect()
}

/// Why bytes cannot be elements.
fn unfit<T: Element>(what: UserBuffer, rank: u32, buffer: &[u8]) -> BufferError {
    let (got, element_bytes) = (buffer.len(), size_of::<T>());
    match got.is_multiple_of(element_bytes) {
        true => BufferError::Misaligned { what, rank, align: align_of::<T>() },
        false => BufferError::Ragged { what, rank, got, element_bytes },
    }
}
