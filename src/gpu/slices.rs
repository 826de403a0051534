//! The device buffers that a caller gives for a launch: what they must be, and the copies that they take part in.
//!
//! All is checked before anything is recorded, because what is wrong in an encoder shows only when it is finished.

use super::device::Device;
use crate::buffers::{SliceError, UserBuffer};
use crate::error::{DeviceError, RunError};
use crate::lower::Package;
use crate::schedule::Buffer;

/// A caller's slices of one kind, checked: the ranks that have one, in order, each with its slice.
pub(super) struct Slices<'a> {
    what: UserBuffer,
    buffer: Buffer,
    of_rank: Vec<(u32, wgpu::BufferSlice<'a>)>,
}

impl<'a> Slices<'a> {
    pub(super) fn new(
        package: &Package,
        what: UserBuffer,
        slices: &[wgpu::BufferSlice<'a>],
    ) -> Result<Self, SliceError> {
        let (buffer, usage, missing) = match what {
            UserBuffer::Input => (Buffer::Input, wgpu::BufferUsages::COPY_SRC, "COPY_SRC"),
            UserBuffer::Output | UserBuffer::InPlace => (Buffer::Output, wgpu::BufferUsages::COPY_DST, "COPY_DST"),
        };
        let extents = package.proved().extents(package.payload.count);
        let having: Vec<u32> =
            (0..package.proved().schedule().ranks).filter(|&rank| extents.len(what, rank) > 0).collect();
        if having.len() != slices.len() {
            return Err(SliceError::Number { what, got: slices.len(), must: having.len() });
        }
        let of_rank: Vec<_> = having.into_iter().zip(slices.iter().copied()).collect();
        for &(rank, slice) in &of_rank {
            let (got, must) = (slice.size(), (extents.len(what, rank) * package.payload.element_bytes) as u64);
            if got != must {
                return Err(SliceError::Length { what, rank, got, must });
            }
            if !slice.offset().is_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT) {
                return Err(SliceError::Unaligned { what, rank, offset: slice.offset() });
            }
            if !slice.buffer().usage().contains(usage) {
                return Err(SliceError::Usage { what, rank, missing });
            }
        }
        let slices = Self { what, buffer, of_rank };
        if buffer == Buffer::Output {
            slices.check_apart()?;
        }
        Ok(slices)
    }

    /// Tries the copies in an encoder that is thrown away: only there does wgpu tell a buffer of another device from one of
    /// this, and in the caller's it would take all commands with it.
    pub(super) fn check_copies(&self, device: &Device, arena: &wgpu::Buffer) -> Result<(), RunError> {
        let Self { what, ref of_rank, .. } = *self;
        if let Some(&(rank, _)) = of_rank.iter().find(|(_, slice)| slice.buffer() == arena) {
            return Err(SliceError::Own { what, rank }.into());
        }
        let copy = |slices: &[(u32, wgpu::BufferSlice<'_>)]| {
            let copies = device.scoped(|| {
                let mut encoder = device.encoder();
                for (_, slice) in slices {
                    let ((from, at), (to, then)) = match self.buffer {
                        Buffer::Input => ((slice.buffer(), slice.offset()), (arena, 0)),
                        _ => ((arena, 0), (slice.buffer(), slice.offset())),
                    };
                    encoder.copy_buffer_to_buffer(from, at, to, then, wgpu::COPY_BUFFER_ALIGNMENT);
                }
                encoder.finish()
            });
            copies.map(drop)
        };
        if copy(of_rank).is_ok() {
            return Ok(());
        }
        for slice in of_rank {
            if let Err(error) = copy(std::slice::from_ref(slice)) {
                return Err(match error {
                    DeviceError::Refused { reason, .. } => {
                        SliceError::Uncopyable { what, rank: slice.0, reason }.into()
                    }
                    error => error.into(),
                });
            }
        }
        Ok(())
    }

    /// Of two results in one place only one would be left.
    fn check_apart(&self) -> Result<(), SliceError> {
        let mut sorted: Vec<_> = self.of_rank.iter().collect();
        sorted.sort_by_key(|(_, slice)| slice.offset());
        for (i, (first, slice)) in sorted.iter().enumerate() {
            let later = sorted[i + 1..].iter().take_while(|(_, other)| other.offset() < slice.offset() + slice.size());
            if let Some((second, _)) = later.into_iter().find(|(_, other)| other.buffer() == slice.buffer()) {
                return Err(SliceError::Outputs { first: *first.min(second), second: *first.max(second) });
            }
        }
        Ok(())
    }

    /// Pieces take the same range of every part, so one does not touch another's unless parts lie askew.
    pub(super) fn check_overlap(&self, outputs: &Slices<'_>, package: &Package) -> Result<(), SliceError> {
        let part = (package.payload.count * package.payload.element_bytes) as u64;
        for &(input, from) in &self.of_rank {
            for &(output, to) in &outputs.of_rank {
                let apart = from.offset() >= to.offset() + to.size() || to.offset() >= from.offset() + from.size();
                if from.buffer() == to.buffer() && !apart && from.offset().abs_diff(to.offset()) % part.max(1) != 0 {
                    return Err(SliceError::Overlap { input, output });
                }
            }
        }
        Ok(())
    }

    /// Calls `copy` with every run of bytes that `piece` holds: the caller's buffer and the run's first byte in it, its
    /// first byte in the arena, and its length.
    pub(super) fn for_each_run(
        &self,
        package: &Package,
        piece: usize,
        mut copy: impl FnMut(&wgpu::Buffer, u64, u64, u64),
    ) {
        let region = package.arena.region(self.buffer).start;
        for &(rank, slice) in &self.of_rank {
            let parts = package.proved().address_map().user_parts(self.buffer, rank);
            for (at, bytes) in package.runs(piece, self.buffer, rank, 0..parts) {
                let first = slice.offset() + bytes.start as u64;
                copy(slice.buffer(), first, region + at as u64, bytes.len() as u64);
            }
        }
    }
}
