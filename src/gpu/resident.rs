//! A collective of one shape that is recorded into a caller's encoder, over a caller's buffers or over its own memory.
//!
//! Recording submits nothing, waits for nothing and reads nothing back; whether a launch finished is a [`Completion`],
//! asked for when the caller likes.

use std::sync::Arc;

use super::completion::Completion;
use super::executor::Executor;
use super::ledger::Numbered;
use super::memory::Memory;
use super::slices::Slices;
use crate::buffers::UserBuffer;
use crate::error::RunError;
use crate::lower::Package;
use crate::proof::Proved;
use crate::schedule::Buffer;

/// A collective of one shape made ready for a device: proved, loaded, with memory to work in. Clones are handles of the same
/// memory, and launches of them follow one another on the queue.
#[derive(Clone)]
pub struct Resident {
    pub(super) memory: Arc<Memory>,
}

type Slice<'a> = wgpu::BufferSlice<'a>;

impl From<&Executor> for Resident {
    fn from(executor: &Executor) -> Self {
        Self { memory: Arc::clone(executor.memory()) }
    }
}

impl Resident {
    /// Records a launch over a caller's slices: copies in, the launch, copies out. A payload above a binding goes in
    /// pieces, one after the other; all of them are in `encoder`, so a gibibyte on a device that is watched by a desktop
    /// had better go in several calls.
    ///
    /// # Errors
    /// [`RunError::Slices`] and [`RunError::Device`]; nothing has been recorded then. An encoder of another device cannot be
    /// told from one of this before it is finished, and its `finish` reports it; of buffers of another `wgpu::Instance` wgpu
    /// itself knows nothing.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[Slice<'_>],
        outputs: &[Slice<'_>],
    ) -> Result<Completion, RunError> {
        let package = self.package();
        let inputs = Slices::new(package, UserBuffer::Input, inputs)?;
        let outputs = Slices::new(package, UserBuffer::Output, outputs)?;
        if package.pieces.count() > 1 {
            inputs.check_overlap(&outputs, package)?;
        }
        let arena = &self.memory.own.arena;
        for slices in [&inputs, &outputs] {
            slices.check_copies(&self.memory.loaded.device, arena)?;
        }
        let (mut completion, status) = Completion::new(&self.memory, encoder)?;
        for piece in 0..package.pieces.count() {
            inputs.for_each_run(package, piece, |buffer, from, to, bytes| {
                encoder.copy_buffer_to_buffer(buffer, from, arena, to, bytes);
            });
            completion.launches.push(self.encode(encoder, piece, &status));
            outputs.for_each_run(package, piece, |buffer, to, from, bytes| {
                encoder.copy_buffer_to_buffer(arena, from, buffer, to, bytes);
            });
        }
        Ok(completion)
    }

    /// Records a launch over what lies in [`input`](Self::input), and leaves results in [`output`](Self::output): no copy
    /// at all.
    ///
    /// # Errors
    /// [`RunError::Device`], and [`RunError::InPieces`]; nothing has been recorded then.
    pub fn record_resident(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Completion, RunError> {
        let pieces = self.pieces();
        if pieces > 1 {
            return Err(RunError::InPieces { pieces });
        }
        let (mut completion, status) = Completion::new(&self.memory, encoder)?;
        completion.launches.push(self.encode(encoder, 0, &status));
        Ok(completion)
    }

    /// Where a rank's input lies on the device: its parts one after the other, each padded to whole chunks of whole
    /// vectors. A caller's passes may write there (`STORAGE`, `COPY_DST`) before every launch. None where the rank has
    /// none, and where the payload goes in pieces.
    pub fn input(&self, rank: u32) -> Option<Slice<'_>> {
        self.slice(Buffer::Input, rank)
    }

    /// Where a rank's output lies after a launch, as [`input`](Self::input).
    pub fn output(&self, rank: u32) -> Option<Slice<'_>> {
        self.slice(Buffer::Output, rank)
    }

    /// Bytes from one part of a rank's input or output to the next, where [`input`](Self::input) has several.
    pub fn part_stride(&self) -> u64 {
        u64::from(self.package().payload.chunks) * self.package().arena.chunk_bytes()
    }

    /// The schedule that runs, with its proofs.
    pub fn proved(&self) -> &Proved {
        self.package().proved()
    }

    /// What runs: mode, protocol, sizes.
    pub fn package(&self) -> &Package {
        &self.memory.loaded.package
    }

    /// Pieces that the payload goes in.
    pub fn pieces(&self) -> usize {
        self.package().pieces.count()
    }

    fn slice(&self, buffer: Buffer, rank: u32) -> Option<Slice<'_>> {
        let (package, map) = (self.package(), self.proved().address_map());
        let parts = (rank < map.ranks()).then(|| map.user_parts(buffer, rank)).filter(|&parts| parts > 0)?;
        (self.pieces() == 1).then(|| {
            let start = package.arena.region(buffer).start + package.arena.user_byte(buffer, rank) as u64;
            self.memory.own.arena.slice(start..start + u64::from(parts) * self.part_stride())
        })
    }

    /// Dispatches, and progress to `status`. In fused mode as many dispatches as always suffice: nobody looks
    /// whether the first one did.
    fn encode(&self, encoder: &mut wgpu::CommandEncoder, piece: usize, status: &wgpu::Buffer) -> Numbered {
        let package = self.package();
        let launch = self.memory.next(encoder);
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.memory.dispatches(&mut pass, piece, Some(launch), package.plan.dispatches.len());
        drop(pass);
        let words = package.progress_bytes();
        encoder.copy_buffer_to_buffer(&self.memory.own.progress, 0, status, words * piece as u64, words);
        launch
    }
}
