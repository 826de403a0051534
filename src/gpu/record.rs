//! Collectives for programs that have a wgpu device of their own: recorded into their encoder, over their buffers.
//!
//! Only here a communicator knows what its backend is; what is prepared once is used by every further call of the same shape.

use super::completion::Completion;
use super::handle::Gpu;
use super::resident::Resident;
use crate::backend::Shape;
use crate::buffers::SliceError;
use crate::collective::{Op, Task};
use crate::communicator::{Communicator, locked};
use crate::element::{DataType, Element};
use crate::error::Error;
use crate::schedule::Schedule;

/// Slices of a call are one for every rank that has such a buffer, in rank order: of buffers of their own, or of one buffer
/// at several offsets. Outputs may be inputs: inputs are read before any output is written, and of a payload that is too
/// large to be read at once, overlaps that would break that are refused. Lengths are NCCL's, and decide the count. Devices
/// copy words: a slice begins at a multiple of 4 bytes, and a part has a multiple of 4 bytes, so of five u8 eight. Buffers need `COPY_SRC` to be inputs and `COPY_DST` to be outputs.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (device, queue): (wgpu::Device, wgpu::Queue) = todo!();
/// # let gradients: wgpu::Buffer = todo!();
/// use wgccl::Communicator;
/// use wgccl::collective::{Collective, Op};
/// use wgccl::gpu::Gpu;
///
/// let comm = Communicator::new(Gpu::adopt(&device, &queue), 4);
/// let mut encoder = device.create_command_encoder(&Default::default());
/// // One buffer with the 1024 gradients of each rank, one after the other.
/// let slices: Vec<_> = (0..4).map(|rank| gradients.slice(rank * 4096..(rank + 1) * 4096)).collect();
/// let mut done = comm.record::<f32>(&mut encoder, Collective::AllReduce, &slices, &slices, Op::Avg)?;
/// queue.submit([encoder.finish()]);
/// done.wait()?;
/// # Ok(())
/// # }
/// ```
impl Communicator<Gpu> {
    /// Records `task` over a caller's slices: copies in, the launch, copies out. The first use of a device with hardware of
    /// its own checks there if fused dispatch works, and waits for that. No element at all is nothing to record.
    ///
    /// # Errors
    /// [`Error`]; nothing has been recorded then.
    pub fn record<T: Element>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        task: impl Into<Task>,
        inputs: &[wgpu::BufferSlice<'_>],
        outputs: &[wgpu::BufferSlice<'_>],
        op: Op,
    ) -> Result<Completion, Error> {
        let task = task.into();
        let count = self.count_of_slices(&task, inputs, outputs, T::TYPE);
        let resident = self.resident::<T>(task, count, op)?;
        Ok(resident.record(encoder, inputs, outputs)?)
    }

    /// Makes `task` over parts of `count` elements ready to be recorded, or returns what an earlier call has made ready.
    ///
    /// # Errors
    /// [`Error`].
    pub fn resident<T: Element>(&self, task: impl Into<Task>, count: usize, op: Op) -> Result<Resident, Error> {
        let shape = Shape::new(count, T::TYPE, op);
        whole_words(shape)?;
        let ready = self.prepared_by(task.into(), shape, Gpu::load)?;
        Ok(Resident::from(&*locked(&ready)))
    }

    /// Proves `schedule`, a caller's own, and makes it ready to be recorded. What this returns is the caller's to keep.
    ///
    /// # Errors
    /// [`Error`]; of a schedule that could hang, race or compute something else, [`PrepareError::Refused`](crate::error::PrepareError::Refused) with the reason.
    pub fn resident_schedule<T: Element>(&self, schedule: Schedule, count: usize, op: Op) -> Result<Resident, Error> {
        let shape = Shape::new(count, T::TYPE, op);
        whole_words(shape)?;
        Ok(Resident::from(&self.prepare_schedule_by(schedule, shape, Gpu::load)?))
    }

    /// Records with `record` into an encoder of its own, submits, waits and checks.
    ///
    /// # Errors
    /// [`Error`].
    pub fn submit<E: Into<Error>>(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<Completion, E>,
    ) -> Result<(), Error> {
        let device = self.backend().device();
        let mut encoder = device.encoder();
        let mut done = record(&mut encoder).map_err(Into::into)?;
        device.submit(encoder.finish())?;
        Ok(done.wait()?)
    }

    /// Elements of a part, by the first slice that there is; slices that do not agree with it are refused later.
    fn count_of_slices(
        &self,
        task: &Task,
        inputs: &[wgpu::BufferSlice<'_>],
        outputs: &[wgpu::BufferSlice<'_>],
        data_type: DataType,
    ) -> usize {
        let ranks = self.ranks();
        let first = |slices: &[wgpu::BufferSlice<'_>], parts: &dyn Fn(u32) -> u32| {
            let having = (0..ranks).map(parts).filter(|&parts| parts > 0);
            having.zip(slices).next().map(|(parts, slice)| slice.size() / u64::from(parts))
        };
        let bytes = first(inputs, &|rank| task.input_parts(rank, ranks))
            .or_else(|| first(outputs, &|rank| task.output_parts(rank, ranks)));
        (bytes.unwrap_or(0) / data_type.bytes() as u64) as usize
    }
}

/// Device buffers are copied by words.
fn whole_words(shape: Shape) -> Result<(), Error> {
    let bytes = (shape.count as u64).saturating_mul(shape.data_type.bytes() as u64);
    match bytes.is_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT) {
        true => Ok(()),
        false => Err(Error::Run(SliceError::Part { bytes }.into())),
    }
}
