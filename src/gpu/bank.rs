//! Device memory for a piece, with what a launch over the host's slices takes beside it: poison, and what the host reads.
//!
//! Where a payload goes in pieces there are two banks, so that one can be filled while the device works in the other.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use super::host::Host;
use super::ledger::Numbered;
use super::marks::Marks;
use super::memory::Memory;
use super::poison::Poison;
use crate::error::{DeviceError, RunError};
use crate::lower::Package;
use crate::lower::words::Progress;
use crate::schedule::Buffer;

/// Memory, and what the host reads of it: outputs of all ranks, then progress; or the trace of a hang.
pub(super) struct Bank {
    pub(super) memory: Arc<Memory>,
    /// The launch that was recorded last, over what lies in the memory.
    pub(super) last: Cell<Option<Numbered>>,
    poison: Poison,
    readback: wgpu::Buffer,
}

impl Bank {
    pub(super) fn new(memory: Arc<Memory>) -> Result<Self, DeviceError> {
        let package = &memory.loaded.package;
        let read = length(&package.arena.region(Buffer::Output)) + package.progress_bytes();
        let readback = memory.loaded.device.readback("readback", read.max(package.trace_bytes()))?;
        Ok(Self { poison: Poison::new(&memory)?, memory, last: Cell::new(None), readback })
    }

    fn package(&self) -> &Package {
        &self.memory.loaded.package
    }

    /// Every chunk's slice of every input (in place, of every buffer): on the device when the next submission begins.
    pub(super) fn upload(&self, piece: usize, host: &Host<'_, '_>) -> Result<(), DeviceError> {
        let (device, package) = (&self.memory.loaded.device, self.package());
        let region = package.arena.region(Buffer::Input);
        device.scoped(|| {
            let view = wgpu::BufferSize::new(length(&region))
                .and_then(|bytes| device.queue.write_buffer_with(&self.memory.own.arena, region.start, bytes));
            let Some(mut view) = view else { return };
            for rank in 0..package.proved().schedule().ranks {
                let parts = package.proved().address_map().user_parts(Buffer::Input, rank);
                for (at, bytes) in package.runs(piece, Buffer::Input, rank, 0..parts) {
                    view.slice(at..at + bytes.len()).copy_from_slice(host.input(rank as usize, bytes));
                }
            }
        })
    }

    /// Poison, dispatches; of a launch that is traced with stamps, from that pair on.
    pub(super) fn encode_launch(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        piece: usize,
        marks: Option<(&Marks, usize)>,
    ) {
        let launch = self.memory.next(encoder);
        self.last.set(Some(launch));
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.poison.encode(&mut pass);
        let dispatches = self.package().first_dispatches;
        match marks {
            None => self.memory.dispatches(&mut pass, piece, Some(launch), dispatches),
            Some(marks) => {
                drop(pass);
                self.memory.marked_dispatches(encoder, piece, launch, dispatches, marks);
            }
        }
    }

    /// Begins a launch that goes epoch by epoch; poisons before it if that is wanted.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn begin(&self, encoder: &mut wgpu::CommandEncoder, poisoned: bool) -> Numbered {
        let launch = self.memory.next(encoder);
        self.last.set(Some(launch));
        if poisoned {
            self.poison.encode(&mut encoder.begin_compute_pass(&Default::default()));
        }
        launch
    }

    /// An epoch of it, in so many dispatches.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn encode_epoch(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        piece: usize,
        launch: Numbered,
        epoch: u32,
    ) -> u32 {
        self.memory.epoch(&mut encoder.begin_compute_pass(&Default::default()), piece, launch, epoch)
    }

    /// Where inputs, outputs and slots lie.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn arena(&self) -> &wgpu::Buffer {
        &self.memory.own.arena
    }

    /// The launch alone, every dispatch with its stamps.
    pub(super) fn encode_marked(&self, encoder: &mut wgpu::CommandEncoder, piece: usize, marks: &Marks) {
        let launch = self.memory.next(encoder);
        self.last.set(Some(launch));
        self.memory.marked_dispatches(encoder, piece, launch, self.package().first_dispatches, (marks, 0));
    }

    /// The launch alone, with timestamps around it.
    pub(super) fn encode_bare(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        piece: usize,
        dispatches: usize,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) -> Numbered {
        let launch = self.memory.next(encoder);
        self.last.set(Some(launch));
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        self.memory.dispatches(&mut pass, piece, Some(launch), dispatches);
        launch
    }

    /// As many dispatches as always suffice for lanes that were not scheduled together.
    pub(super) fn encode_rest(&self, encoder: &mut wgpu::CommandEncoder, piece: usize) -> usize {
        let more = self.package().plan.dispatches.len();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.memory.dispatches(&mut pass, piece, None, more);
        more
    }

    /// Outputs and progress to where the host reads them.
    pub(super) fn encode_readback(&self, encoder: &mut wgpu::CommandEncoder) {
        let region = self.package().arena.region(Buffer::Output);
        let (outputs, own) = (length(&region), &self.memory.own);
        if outputs > 0 {
            encoder.copy_buffer_to_buffer(&own.arena, region.start, &self.readback, 0, outputs);
        }
        encoder.copy_buffer_to_buffer(&own.progress, 0, &self.readback, outputs, self.package().progress_bytes());
    }

    /// Takes the outputs that `submitted` has left in the readback, or the progress of a launch that is not finished.
    pub(super) fn take(
        &self,
        submitted: &wgpu::SubmissionIndex,
        piece: usize,
        host: &mut Host<'_, '_>,
    ) -> Result<Option<Vec<Progress>>, DeviceError> {
        let package = self.package();
        let outputs = length(&package.arena.region(Buffer::Output));
        let bytes = outputs + package.progress_bytes();
        self.memory.loaded.device.read(submitted, &self.readback, bytes, |view| {
            let now: Vec<Progress> = bytemuck::pod_collect_to_vec(&view[outputs as usize..]);
            if !self.finished(&now) {
                return Some(now);
            }
            let map = package.proved().address_map();
            for rank in 0..map.ranks() {
                for (at, bytes) in package.runs(piece, Buffer::Output, rank, map.parts(Buffer::Output, rank)) {
                    let from = &view[at..at + bytes.len()];
                    host.output(rank as usize, bytes).copy_from_slice(from);
                }
            }
            None
        })
    }

    /// The outputs of `piece`, or the progress of a launch that is not finished.
    pub(super) fn download(&self, piece: usize, host: &mut Host<'_, '_>) -> Result<Option<Vec<Progress>>, DeviceError> {
        let device = &self.memory.loaded.device;
        let mut encoder = device.encoder();
        self.encode_readback(&mut encoder);
        let submitted = device.submit(encoder.finish())?;
        self.take(&submitted, piece, host)
    }

    /// Waits for what was launched, and takes its progress.
    pub(super) fn progress(&self) -> Result<Vec<Progress>, DeviceError> {
        let (device, bytes) = (&self.memory.loaded.device, self.package().progress_bytes());
        device.read_back(&self.memory.own.progress, &self.readback, bytes, bytemuck::pod_collect_to_vec)
    }

    /// Whether this is the progress of the last launch, and it is through.
    pub(super) fn finished(&self, now: &[Progress]) -> bool {
        let Some(launch) = self.last.get().filter(|launch| self.package().finished(now, launch.number)) else {
            return false;
        };
        self.memory.ledger.finished(launch);
        true
    }

    /// Why lanes with this progress go no further.
    pub(super) fn stopped(&self, now: &[Progress]) -> Result<RunError, DeviceError> {
        let Some(launch) = self.last.get() else { return Ok(RunError::NotLaunched) };
        self.memory.ledger.unfinished();
        let (device, package) = (&self.memory.loaded.device, self.package());
        if !package.begun(now, launch.number) {
            device.here()?;
            return Ok(RunError::NotExecuted { device: device.info().title() });
        }
        let mut encoder = device.encoder();
        self.memory.copy_trace(&mut encoder, &self.readback);
        let submitted = device.submit(encoder.finish())?;
        let trace: Vec<u32> =
            device.read(&submitted, &self.readback, package.trace_bytes(), bytemuck::pod_collect_to_vec)?;
        Ok(RunError::Hang(Box::new(package.explain(launch.number, now, &trace))))
    }
}

fn length(region: &Range<u64>) -> u64 {
    region.end - region.start
}
