//! One device's part of a schedule on worker threads: an epoch is a launch, and between two of them chunks are copied out and in.
//!
//! It works in the caller's memory, as whole schedules do, with memory of its own for what it keeps of ranks on other devices.

use std::ops::Range;
use std::time::Instant;

use super::executor::Executor;
use super::memory::Slots;
use super::ready::Resident;
use super::{Cpu, NAME};
use crate::backend::{Backend, Member, Moment, Options, Prepared, Ran, Shape, Share, Transport};
use crate::buffers::UserBuffer;
use crate::element::{Element, dispatch};
use crate::error::{PrepareError, RunError};
use crate::lower::{Part, Pieced, Run};
use crate::schedule::{Address, Buffer, DeviceKind};

impl Member for Cpu {
    fn kind(&self) -> DeviceKind {
        Backend::kind(self)
    }

    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn most_vectors(&self, _part: &Part, _shape: Shape, _options: &Options) -> Result<usize, PrepareError> {
        Ok(usize::MAX)
    }

    fn prepare_part(
        &self,
        part: &Part,
        shape: Shape,
        pieced: Pieced,
        options: &Options,
    ) -> Result<Box<dyn Share>, PrepareError> {
        if options.trace {
            return Err(PrepareError::NoSuchOption { executor: "a launch on several devices", option: "trace" });
        }
        let Shape { count, data_type, op } = shape;
        let (team, proved) = (self.team.clone(), part.proved());
        dispatch!(data_type, T => {
            let vectors = Some(pieced.pieces.piece_vectors);
            let executor = Executor::<T>::in_pieces(team, proved, count, op, vectors, options)?;
            Ok(Box::new(Placed::new(executor, part.clone(), pieced)?))
        })
    }
}

/// A part made ready for one type.
struct Placed<T: Element> {
    executor: Executor<T>,
    part: Part,
    pieced: Pieced,
    ghosts: Vec<Kept<T>>,
    /// All pieces, and which of them launches are over.
    resident: Option<(Resident<T>, usize)>,
}

/// What is kept of a buffer of a rank on another device.
struct Kept<T> {
    rank: u32,
    buffer: Buffer,
    memory: Slots<T>,
    /// The elements of that buffer which are kept.
    elements: Range<usize>,
}

/// Where all ranks' buffers are in a launch; in place there are no inputs.
struct Bases<T> {
    inputs: Vec<*const T>,
    outputs: Vec<*mut T>,
}

impl<T: Element> Placed<T> {
    fn new(executor: Executor<T>, part: Part, pieced: Pieced) -> Result<Self, PrepareError> {
        let payload = executor.payload();
        let first = |chunk: u32| {
            let (of_part, chunk) = ((chunk / payload.chunks) as usize, chunk % payload.chunks);
            of_part * payload.count + payload.elements(chunk).start
        };
        // Slots of all ranks are the executor's own.
        let users = part.proved().address_map().ghosts().iter().filter(|ghost| ghost.buffer != Buffer::Slot);
        let kept = users.map(|ghost| {
            let last = ghost.chunks.end - 1;
            let elements = first(ghost.chunks.start)..first(last) + payload.held(ghost.buffer, last);
            let bytes = (elements.len() * size_of::<T>()) as u64;
            let memory = Slots::new(elements.len()).ok_or(PrepareError::Memory(bytes))?;
            Ok(Kept { rank: ghost.rank, buffer: ghost.buffer, memory, elements })
        });
        let ghosts = kept.collect::<Result<_, PrepareError>>()?;
        Ok(Self { executor, part, pieced, ghosts, resident: None })
    }

    /// What a piece holds of a user's buffer of `len` elements.
    fn of_piece(&self, piece: usize, len: usize) -> Vec<Range<usize>> {
        let payload = self.executor.payload();
        let parts = len.checked_div(payload.count).unwrap_or(0);
        let chunks = (0..parts).flat_map(|part| (0..payload.chunks).map(move |chunk| (part, chunk)));
        let elements = chunks.map(|(part, chunk)| {
            let (first, held) = (payload.elements(chunk).start, self.pieced.held(Buffer::Output, chunk, piece));
            let start = part * payload.count + first;
            start + held.start..start + held.end
        });
        elements.filter(|elements| !elements.is_empty()).collect()
    }

    fn in_place(&self) -> bool {
        self.executor.proved().in_place()
    }

    /// One launch, over all pieces or one of them.
    ///
    /// # Safety
    /// As for [`Executor::launch`].
    unsafe fn launch_over(
        &mut self,
        inputs: impl Iterator<Item = *const T>,
        outputs: impl Iterator<Item = *mut T>,
        only: Option<usize>,
        transport: &mut dyn Transport,
    ) -> Result<Ran, RunError> {
        let mut bases = Bases { inputs: inputs.collect(), outputs: outputs.collect() };
        for Kept { rank, buffer, memory, elements } in &self.ghosts {
            // Where the buffer would begin: only what is kept is named.
            let start = memory.as_ptr().wrapping_sub(elements.start);
            match buffer {
                Buffer::Input => bases.inputs[*rank as usize] = start,
                _ => bases.outputs[*rank as usize] = start,
            }
        }
        let start = Instant::now();
        let order = self.pieced.order(self.part.boundaries());
        for (piece, boundary) in order.into_iter().filter(|(piece, _)| only.is_none_or(|only| only == *piece)) {
            let memory = Memory { executor: &self.executor, bases: &bases, pieced: &self.pieced, piece };
            let moment = Moment { part: &self.part, pieced: &self.pieced, piece, boundary };
            // SAFETY: no epoch runs, so nobody else accesses what the launch may access.
            moment.send(transport, |run, bytes| unsafe { memory.read(run, bytes) })?;
            moment.receive(transport, |run, bytes| {
                // SAFETY: as above.
                unsafe { memory.write(run, bytes) };
                Ok(())
            })?;
            let channels = memory.channels();
            if boundary < self.part.epochs() {
                let Bases { inputs, outputs } = &bases;
                // SAFETY: handed on; ghosts are as long as what the part's lanes name.
                unsafe {
                    self.executor.launch_epoch(boundary, channels, inputs.iter().copied(), outputs.iter().copied())?;
                }
            }
        }
        Ok(Ran { time: Some(start.elapsed()), ..Ran::default() })
    }
}

/// All that a part may access, while none of its epochs runs.
struct Memory<'a, T: Element> {
    executor: &'a Executor<T>,
    bases: &'a Bases<T>,
    pieced: &'a Pieced,
    piece: usize,
}

impl<T: Element> Memory<'_, T> {
    /// # Safety
    /// Nobody else accesses the part's memory.
    unsafe fn read(&self, run: &Run, bytes: &mut [u8]) {
        let mut at = 0;
        self.pieces(run.at, run.chunks, |from, len| {
            let into = &mut bytes[at..at + len * size_of::<T>()];
            // SAFETY: `from` is valid for `len` elements, and `into` is as long.
            unsafe { into.as_mut_ptr().copy_from_nonoverlapping(from.cast(), into.len()) };
            at += into.len();
        });
    }

    /// # Safety
    /// As for [`read`](Self::read).
    unsafe fn write(&self, run: &Run, bytes: &[u8]) {
        for &to in &*run.to {
            let mut at = 0;
            self.pieces(to, run.chunks, |into, len| {
                let from = &bytes[at..at + len * size_of::<T>()];
                // SAFETY: as in `read`. What arrives is for a place that the schedule writes, so for one that is writable, or
                // for a ghost.
                unsafe { into.cast::<u8>().copy_from_nonoverlapping(from.as_ptr(), from.len()) };
                at += from.len();
            });
        }
    }

    /// Channels of the piece, each of which is of one piece.
    fn channels(&self) -> Range<usize> {
        let all = self.executor.channels() as usize;
        let of_piece = self.pieced.pieces.piece_vectors.div_ceil(self.executor.slice_vectors());
        (self.piece * of_piece).min(all)..((self.piece + 1) * of_piece).min(all)
    }

    /// Every run of elements that the piece holds of `chunks` chunks from `at` on.
    fn pieces(&self, at: Address, chunks: u32, mut each: impl FnMut(*mut T, usize)) {
        let (map, payload) = (self.executor.proved().address_map(), self.executor.payload());
        for chunk in at.chunk..at.chunk + chunks {
            let address = Address { chunk, ..at };
            let (buffer, part, chunk) = map.in_user_buffer(address);
            let rank = address.rank as usize;
            let held = self.pieced.held(buffer, chunk, self.piece);
            let start = part as usize * payload.count + payload.elements(chunk).start + held.start;
            let len = held.len();
            match buffer {
                Buffer::Slot => {
                    let slot = map.index(address) - map.all(Buffer::Slot).start;
                    for channel in self.channels() {
                        let (piece, elements) = self.executor.slot(channel, slot);
                        each(piece, elements.len());
                    }
                }
                Buffer::Input => each(self.bases.inputs[rank].cast_mut().wrapping_add(start), len),
                Buffer::Output => each(self.bases.outputs[rank].wrapping_add(start), len),
            }
        }
    }
}

impl<T: Element> Share for Placed<T> {
    fn prepared(&self) -> Prepared {
        Prepared { dispatch: None, channels: self.executor.channels(), pieces: self.pieced.count(), device_bytes: None }
    }

    fn run(
        &mut self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        transport: &mut dyn Transport,
    ) -> Result<Ran, RunError> {
        if self.in_place() {
            return Err(RunError::Placement { in_place: true });
        }
        self.executor.check_bytes(UserBuffer::Input, inputs.iter().map(|x| (x.as_ptr(), x.len())))?;
        self.executor.check_bytes(UserBuffer::Output, outputs.iter().map(|x| (x.as_ptr(), x.len())))?;
        let (inputs, outputs) =
            (inputs.iter().map(|x| x.as_ptr().cast()), outputs.iter_mut().map(|x| x.as_mut_ptr().cast()));
        // SAFETY: the borrows last until it returns, and their lengths and alignment have been checked.
        unsafe { self.launch_over(inputs, outputs, None, transport) }
    }

    fn run_in_place(&mut self, buffers: &mut [&mut [u8]], transport: &mut dyn Transport) -> Result<Ran, RunError> {
        if !self.in_place() {
            return Err(RunError::Placement { in_place: false });
        }
        self.executor.check_bytes(UserBuffer::InPlace, buffers.iter().map(|x| (x.as_ptr(), x.len())))?;
        // SAFETY: as in `run`.
        unsafe { self.launch_over([].into_iter(), buffers.iter_mut().map(|x| x.as_mut_ptr().cast()), None, transport) }
    }

    fn load(&mut self, piece: usize, inputs: &[&[u8]]) -> Result<(), RunError> {
        let mut resident = self.resident.take().map(|(resident, _)| resident);
        let loaded = Resident::load(&mut resident, &self.executor, |len| self.of_piece(piece, len), inputs);
        self.resident = resident.map(|resident| (resident, piece));
        loaded
    }

    fn launch(&mut self, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        // Out of `self`, which the launch borrows.
        let Some((mut resident, piece)) = self.resident.take() else { return Err(RunError::NotLoaded) };
        let (inputs, outputs) = resident.launching();
        // SAFETY: they live until it returns, and were made as long as the schedule has them.
        let ran = unsafe { self.launch_over(inputs, outputs, Some(piece), transport) };
        if ran.is_err() {
            resident.failed();
        }
        self.resident = Some((resident, piece));
        ran
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        let Some((resident, piece)) = &self.resident else { return Err(RunError::NotLaunched) };
        Resident::fetch(Some(resident), &self.executor, |len| self.of_piece(*piece, len), outputs)
    }
}
