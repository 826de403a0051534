//! One device's part of a schedule on worker threads: an epoch is a launch, and between two of them chunks are copied out and in.
//!
//! It works in the caller's memory, as whole schedules do, with memory of its own for what it keeps of ranks on other devices.

use std::ops::Range;
use std::time::Instant;

use super::executor::Executor;
use super::memory::Slots;
use super::ready::Resident;
use super::{Cpu, NAME};
use crate::backend::{Backend, Member, Message, Moment, Options, Prepared, Ran, SEVERAL, Shape, Share, Transport};
use crate::buffers::UserBuffer;
use crate::element::{Element, dispatch};
use crate::error::{PrepareError, RunError};
use crate::lower::{Part, Pieced, Route, Run};
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
            return Err(PrepareError::NoSuchOption { executor: SEVERAL, option: "trace" });
        }
        let Shape { count, data_type, op } = shape;
        let (team, proved) = (self.team.clone(), part.proved());
        dispatch!(data_type, T => {
            let vectors = Some(pieced.pieces.piece_vectors);
            let executor = Executor::<T>::in_pieces(team, proved, count, op, vectors, options)?;
            Ok(Box::new(CpuShare::new(executor, part.clone(), pieced)?))
        })
    }
}

/// A part made ready for one type.
struct CpuShare<T: Element> {
    executor: Executor<T>,
    part: Part,
    pieced: Pieced,
    ghosts: Ghosts<T>,
    /// All boundaries of all pieces, in order.
    order: Vec<(usize, u32)>,
    /// What moves at each boundary, where the payload is in one piece; of many it is found out when its turn comes.
    laid: Vec<Boundary>,
    /// All pieces, and which of them launches are over.
    resident: Option<Resident<T>>,
    /// Of which piece.
    loaded_piece: usize,
}

/// What is kept of buffers of ranks on other devices, one after the other.
struct Ghosts<T> {
    memory: Slots<T>,
    /// Which elements of that buffer of that rank, and where they are in `memory`.
    kept: Vec<(u32, Buffer, Range<usize>, usize)>,
}

/// What moves at a boundary.
#[derive(Default)]
struct Boundary {
    sends: Vec<Laid>,
    receives: Vec<Laid>,
}

/// A message, and where in memory what it brings is, or is put.
struct Laid {
    message: Message,
    segments: Vec<Segment>,
    /// It is one segment of the part's own memory that is written once in a launch: the transport may read it, or write it, while
    /// epochs run.
    direct: bool,
}

/// Elements that follow each other in memory and in a message.
struct Segment {
    /// Of a launch's bases: inputs, outputs, slots, ghosts.
    base: usize,
    at: usize,
    len: usize,
    /// In the message, in bytes.
    from: usize,
}

impl<T: Element> Ghosts<T> {
    fn new(executor: &Executor<T>, part: &Part) -> Result<Self, PrepareError> {
        let payload = executor.payload();
        let first = |chunk: u32| {
            let (of_part, chunk) = ((chunk / payload.chunks) as usize, chunk % payload.chunks);
            of_part * payload.count + payload.elements(chunk).start
        };
        let mut all = 0;
        // Slots of all ranks are the executor's own.
        let users = part.proved().address_map().ghosts().iter().filter(|ghost| ghost.buffer != Buffer::Slot);
        let kept = users.map(|ghost| {
            let last = ghost.chunks.end - 1;
            let elements = first(ghost.chunks.start)..first(last) + payload.held(ghost.buffer, last);
            let at = all;
            all += elements.len();
            (ghost.rank, ghost.buffer, elements, at)
        });
        let kept: Vec<_> = kept.collect();
        let memory = Slots::new(all).ok_or(PrepareError::Memory((all * size_of::<T>()) as u64))?;
        Ok(Self { memory, kept })
    }

    /// Where an element of a rank's buffer is kept, if it is.
    fn find(&self, rank: u32, buffer: Buffer, element: usize) -> Option<usize> {
        let mut of_buffer = self.kept.iter().filter(|(of, what, ..)| (*of, *what) == (rank, buffer));
        of_buffer.next().map(|(_, _, elements, at)| at + element - elements.start)
    }
}

impl<T: Element> CpuShare<T> {
    fn new(executor: Executor<T>, part: Part, pieced: Pieced) -> Result<Self, PrepareError> {
        let ghosts = Ghosts::new(&executor, &part)?;
        let order = pieced.order(part.boundaries());
        let mut share =
            Self { executor, part, pieced, ghosts, order, laid: Vec::new(), resident: None, loaded_piece: 0 };
        if pieced.count() == 1 {
            let writes = share.writes();
            let boundaries = 0..share.part.boundaries();
            share.laid = boundaries.map(|boundary| share.lay(0, boundary, Some(&writes))).collect();
        }
        Ok(share)
    }

    /// How often a launch writes each place, by an instruction or with what arrives.
    fn writes(&self) -> Vec<u32> {
        let (proved, map) = (self.part.proved(), self.part.proved().address_map());
        let mut writes = vec![0_u32; map.len()];
        let mut write = |to: Address, chunks: u32| {
            let first = map.index(to);
            writes[first..first + chunks as usize].iter_mut().for_each(|writes| *writes = writes.saturating_add(1));
        };
        for instruction in proved.schedule().lanes.iter().flat_map(|lane| &lane.instructions) {
            instruction.to.iter().for_each(|&to| write(to, instruction.chunks));
        }
        let receives = (0..self.part.boundaries()).flat_map(|boundary| self.part.receives(boundary));
        for run in receives.flat_map(|route| &route.runs) {
            run.to.iter().for_each(|&to| write(to, run.chunks));
        }
        writes
    }

    /// What moves at a boundary of a piece; none of it directly where nobody counted `writes`.
    fn lay(&self, piece: usize, boundary: u32, writes: Option<&[u32]>) -> Boundary {
        let moment = Moment { part: &self.part, pieced: &self.pieced, piece, boundary };
        let lay = |route: &Route, places: fn(&Run) -> &[Address]| {
            let (mut segments, mut from, mut once) = (Vec::new(), 0, true);
            for run in &route.runs {
                for &place in places(run) {
                    let mut from = from;
                    for k in 0..run.chunks {
                        let address = Address { chunk: place.chunk + k, ..place };
                        from += self.lay_chunk(&mut segments, address, piece, from);
                        let index = self.part.proved().address_map().index(address);
                        once &= writes.is_some_and(|writes| writes[index] <= 1);
                    }
                }
                from += run.bytes_of(&self.pieced, piece);
            }
            let own = matches!(&segments[..], [one] if one.base >= 2 * self.executor.ranks());
            Laid { message: moment.message(route), segments, direct: own && once }
        };
        let sends = moment.part.sends(boundary).iter().map(|route| lay(route, |run| std::slice::from_ref(&run.at)));
        let receives = moment.part.receives(boundary).iter().map(|route| lay(route, |run| &run.to));
        Boundary { sends: sends.collect(), receives: receives.collect() }
    }

    /// Adds what a piece holds of a chunk, which begins so far from the message's beginning; its bytes.
    fn lay_chunk(&self, segments: &mut Vec<Segment>, address: Address, piece: usize, from: usize) -> usize {
        let (map, payload, ranks) = (self.part.proved().address_map(), self.executor.payload(), self.executor.ranks());
        let (buffer, part, chunk) = map.in_user_buffer(address);
        let held = self.pieced.held(buffer, chunk, piece);
        let (base, at) = match buffer {
            Buffer::Slot => {
                let slot = map.index(address) - map.all(Buffer::Slot).start;
                (2 * ranks, slot * payload.chunk_elements + held.start)
            }
            Buffer::Input | Buffer::Output => {
                let element = part as usize * payload.count + payload.elements(chunk).start + held.start;
                let buffers = if buffer == Buffer::Input { 0 } else { ranks };
                match self.ghosts.find(address.rank, buffer, element) {
                    Some(at) => (2 * ranks + 1, at),
                    None => (buffers + address.rank as usize, element),
                }
            }
        };
        let (len, bytes) = (held.len(), held.len() * size_of::<T>());
        match segments.last_mut() {
            _ if len == 0 => {}
            Some(last)
                if (last.base, last.at + last.len, last.from + last.len * size_of::<T>()) == (base, at, from) =>
            {
                last.len += len;
            }
            _ => segments.push(Segment { base, at, len, from }),
        }
        bytes
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

    /// Channels of a piece, each of which is of one piece.
    fn channels(&self, piece: usize) -> Range<usize> {
        let all = self.executor.channels() as usize;
        let of_piece = self.pieced.pieces.piece_vectors.div_ceil(self.executor.slice_vectors());
        (piece * of_piece).min(all)..((piece + 1) * of_piece).min(all)
    }

    /// Where all buffers of a launch are: inputs, outputs or in place buffers, slots, ghosts.
    fn bases(&self, inputs: impl Iterator<Item = *const T>, outputs: impl Iterator<Item = *mut T>) -> Vec<*mut T> {
        let ranks = self.executor.ranks();
        let mut bases = Vec::with_capacity(2 * ranks + 2);
        bases.extend(inputs.map(<*const T>::cast_mut));
        // In place there are none.
        bases.resize(ranks, std::ptr::null_mut());
        bases.extend(outputs);
        bases.extend([self.executor.slots(), self.ghosts.memory.as_ptr()]);
        for (rank, buffer, elements, at) in &self.ghosts.kept {
            // Where the buffer would begin: only what is kept is named.
            let start = self.ghosts.memory.as_ptr().wrapping_add(*at).wrapping_sub(elements.start);
            bases[*rank as usize + if *buffer == Buffer::Input { 0 } else { ranks }] = start;
        }
        bases
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
        let start = Instant::now();
        let bases = self.bases(inputs, outputs);
        for Laid { message, segments, .. } in self.laid.iter().flat_map(|at| &at.receives).filter(|laid| laid.direct) {
            for segment in segments {
                // SAFETY: own memory, as long as the message, that nothing else writes in this launch and nobody reads before
                // it has come; it lives as long as the share.
                unsafe { transport.land(*message, segment.start(&bases).cast()) };
            }
        }
        for &(piece, boundary) in self.order.iter().filter(|(piece, _)| only.is_none_or(|only| only == *piece)) {
            let made;
            let moves = match self.laid.get(boundary as usize) {
                Some(laid) => laid,
                None => {
                    made = self.lay(piece, boundary, None);
                    &made
                }
            };
            // SAFETY: no epoch runs, so nobody else accesses what the launch may access; segments are in the buffers that the
            // launch was given, or in own memory.
            unsafe { moves.carry(&bases, transport)? };
            let channels = self.channels(piece);
            if boundary < self.part.epochs() {
                // SAFETY: handed on; ghosts are as long as what the part's lanes name.
                unsafe { self.executor.launch_epoch(boundary, channels, &bases)? };
            }
        }
        Ok(Ran { time: Some(start.elapsed()), ..Ran::default() })
    }
}

impl Segment {
    fn start<T>(&self, bases: &[*mut T]) -> *mut T {
        bases[self.base].wrapping_add(self.at)
    }
}

impl Boundary {
    /// Sends what is sent and waits for what is received.
    ///
    /// # Safety
    /// Nobody else accesses the memory at the bases; what arrives is for places that the schedule writes, so for writable ones.
    unsafe fn carry<T: Element>(&self, bases: &[*mut T], transport: &mut dyn Transport) -> Result<(), RunError> {
        for Laid { message, segments, direct } in &self.sends {
            if let ([segment], true) = (&segments[..], direct) {
                // SAFETY: valid for the message's bytes and written by nobody until the launch is over, as `direct` says; it lives
                // as long as the share.
                unsafe { transport.send_from(*message, segment.start(bases).cast::<u8>().cast_const())? };
                continue;
            }
            transport.send(*message, &mut |bytes| {
                for segment in segments {
                    let into = &mut bytes[segment.from..][..segment.len * size_of::<T>()];
                    // SAFETY: the segment is valid for its elements, and `into` is as long.
                    unsafe { into.as_mut_ptr().copy_from_nonoverlapping(segment.start(bases).cast(), into.len()) };
                }
            })?;
        }
        for Laid { message, segments, .. } in &self.receives {
            transport.receive(*message, &mut |bytes| {
                for segment in segments {
                    let from = &bytes[segment.from..][..segment.len * size_of::<T>()];
                    let into = segment.start(bases).cast::<u8>();
                    // SAFETY: as above.
                    unsafe { into.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
                }
            })?;
        }
        Ok(())
    }
}

impl<T: Element> Share for CpuShare<T> {
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
        let mut resident = self.resident.take();
        let loaded = Resident::load(&mut resident, &self.executor, |len| self.of_piece(piece, len), inputs);
        (self.resident, self.loaded_piece) = (resident, piece);
        loaded
    }

    fn launch(&mut self, transport: &mut dyn Transport) -> Result<Ran, RunError> {
        // Out of `self`, which the launch borrows.
        let (mut resident, piece) = (self.resident.take(), self.loaded_piece);
        let ran = Resident::launch(&mut resident, |inputs, outputs| {
            let (inputs, outputs) = (inputs.iter().map(Vec::as_ptr), outputs.iter_mut().map(Vec::as_mut_ptr));
            // SAFETY: they live until it returns, and were made as long as the schedule has them.
            unsafe { self.launch_over(inputs, outputs, Some(piece), transport) }
        });
        self.resident = resident;
        ran
    }

    fn fetch(&mut self, outputs: &mut [&mut [u8]]) -> Result<(), RunError> {
        let of_piece = |len| self.of_piece(self.loaded_piece, len);
        Resident::fetch(self.resident.as_ref(), &self.executor, of_piece, outputs)
    }
}
