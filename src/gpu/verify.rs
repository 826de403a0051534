//! `#wrong` without reading results back: outputs are held against the golden where they lie, on the device.
//!
//! The golden goes up in blocks through a small buffer, so a check needs no more memory for a larger payload.

use bytemuck::{Pod, Zeroable};

use super::bank::Bank;
use super::context::Context;
use super::executor::Executor;
use super::host::Host;
use super::kernels::{Compiled, range};
use crate::buffers::UserBuffer;
use crate::element::Element;
use crate::error::{DeviceError, RunError};
use crate::golden::Goldens;
use crate::lower::kernel::{Bits, Kernel};
use crate::payload::VECTOR_BYTES;
use crate::schedule::Address;

/// Most bytes of a golden that are on the device at a time.
const BLOCK_BYTES: usize = 4 << 20;
/// Vectors of a block that an invocation compares. At 18 loop turns a vector of the smallest elements, all of them
/// wrong, far below the loop limit of llvmpipe.
const VECTORS_EACH: u32 = 16;

/// `Block` in the shader.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Block {
    vectors: u32,
    elements: u32,
    alternative: u32,
    stride: u32,
}

/// Compares blocks of one buffer of vectors, and counts.
struct Comparer<'g> {
    context: &'g Context,
    kernel: std::sync::Arc<Compiled>,
    group: wgpu::BindGroup,
    bits: Bits,
    workgroup: u32,
    block_bytes: usize,
    /// A block of one right answer, then of the other.
    expected: wgpu::Buffer,
    outputs: wgpu::Buffer,
    wrong: wgpu::Buffer,
    block: wgpu::Buffer,
    readback: wgpu::Buffer,
}

impl<'g> Comparer<'g> {
    /// For up to `most_outputs` outputs in `vectors`, in blocks of at most `block_bytes`, a multiple of a vector.
    fn new(
        context: &'g Context,
        vectors: wgpu::BufferBinding<'_>,
        bits: Bits,
        workgroup: u32,
        most_outputs: u32,
        block_bytes: usize,
    ) -> Result<Self, DeviceError> {
        use wgpu::BufferUsages as Usage;
        let storage = Usage::STORAGE | Usage::COPY_DST;
        let counter = size_of::<u32>() as u64;
        let device = &context.device;
        let kernel = context.kernels.get(device, Kernel::Verify { bits, workgroup })?;
        let expected = device.buffer("expected", 2 * block_bytes as u64, storage)?;
        let outputs = device.buffer("outputs", u64::from(most_outputs) * counter, storage)?;
        let wrong = device.buffer("wrong", counter, storage | Usage::COPY_SRC)?;
        let block = device.buffer("block", size_of::<Block>() as u64, Usage::UNIFORM | Usage::COPY_DST)?;
        let readback = device.readback("wrong readback", counter)?;
        let group = kernel.bind(
            device,
            &[
                vectors,
                expected.as_entire_buffer_binding(),
                outputs.as_entire_buffer_binding(),
                wrong.as_entire_buffer_binding(),
                block.as_entire_buffer_binding(),
            ],
        )?;
        Ok(Self { context, kernel, group, bits, workgroup, block_bytes, expected, outputs, wrong, block, readback })
    }

    /// Holds the runs of vectors that begin at `outputs` against `expected`, and where they differ against `alternative`
    /// of the same length.
    fn compare(&self, outputs: &[u32], expected: &[u8], alternative: Option<&[u8]>) -> Result<(), DeviceError> {
        let mut outputs = outputs.to_vec();
        let mut start = 0;
        while start < expected.len() {
            let end = (start + self.block_bytes).min(expected.len());
            self.put(0, &expected[start..end])?;
            if let Some(alternative) = alternative {
                self.put(self.block_bytes, &alternative[start..end])?;
            }
            let vectors = (end - start).div_ceil(VECTOR_BYTES) as u32;
            let workgroups = vectors.div_ceil(self.workgroup * VECTORS_EACH);
            let block = Block {
                vectors,
                elements: (end - start) as u32 / self.bits.bytes,
                alternative: alternative.map_or(0, |_| (self.block_bytes / VECTOR_BYTES) as u32),
                stride: workgroups * self.workgroup,
            };
            let device = &self.context.device;
            device.scoped(|| {
                device.queue.write_buffer(&self.block, 0, bytemuck::bytes_of(&block));
                device.queue.write_buffer(&self.outputs, 0, bytemuck::cast_slice(&outputs));
            })?;
            let mut encoder = device.encoder();
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&self.kernel.pipeline);
                pass.set_bind_group(0, &self.group, &[]);
                pass.dispatch_workgroups(workgroups, outputs.len() as u32, 1);
            }
            // Waited for, so that no more than a block is on its way.
            device.run(encoder.finish())?;
            outputs.iter_mut().for_each(|output| *output += vectors);
            start = end;
        }
        Ok(())
    }

    /// Writes whole vectors: the last one is padded, as it is in the outputs.
    fn put(&self, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        let size = wgpu::BufferSize::new(bytes.len().next_multiple_of(VECTOR_BYTES) as u64);
        let device = &self.context.device;
        device.scoped(|| {
            let view = size.and_then(|size| device.queue.write_buffer_with(&self.expected, offset as u64, size));
            if let Some(mut view) = view {
                view.slice(..bytes.len()).copy_from_slice(bytes);
                view.slice(bytes.len()..).fill(0);
            }
        })
    }

    /// How many elements were wrong since the last call. Their number must fit 32 bits: an arena is far below 4 GiB.
    fn take(&self) -> Result<u32, DeviceError> {
        let (device, bytes) = (&self.context.device, self.wrong.size());
        let counter = |view: &[u8]| bytemuck::pod_read_unaligned(&view[..size_of::<u32>()]);
        let count = device.read_back(&self.wrong, &self.readback, bytes, counter)?;
        let mut encoder = device.encoder();
        encoder.clear_buffer(&self.wrong, 0, None);
        device.run(encoder.finish())?;
        Ok(count)
    }
}

impl Executor {
    /// Launches once, outputs poisoned before and `inputs` uploaded again, in place or not, and counts on the device the
    /// elements of all ranks' outputs that differ from `goldens`. Outputs are not read back.
    ///
    /// It takes up to 8 MiB of device memory beside the executor's, for the time of the call.
    ///
    /// # Errors
    /// [`RunError`]. The next launch is not affected.
    pub fn count_wrong<T: Element>(&mut self, inputs: &[&[T]], goldens: &Goldens<'_, T>) -> Result<u64, RunError> {
        self.furnish()?;
        let package = self.package();
        let (proved, payload) = (package.proved(), &package.payload);
        let extents = proved.extents(payload.count);
        let bytes = |lengths: usize| lengths * size_of::<T>();
        self.check(UserBuffer::Input, inputs.iter().map(|input| bytes(input.len())))?;
        let lengths: Vec<usize> = goldens.golden().lengths().collect();
        self.check(UserBuffer::Output, lengths.iter().copied().map(bytes))?;
        let mut buffers: Vec<Vec<T>> = Vec::new();
        if proved.in_place() {
            buffers.extend((0..).zip(inputs).map(|(rank, input)| {
                let mut buffer = Vec::new();
                extents.prepare(rank, input, &mut buffer);
                buffer
            }));
        }
        let given: Vec<&[u8]> = match proved.in_place() {
            true => buffers.iter().map(|buffer| bytemuck::cast_slice(buffer)).collect(),
            false => inputs.iter().map(|input| bytemuck::cast_slice(input)).collect(),
        };
        let most = (payload.count * payload.element_bytes).next_multiple_of(VECTOR_BYTES);
        let bank = &self.banks[0];
        let comparer = Comparer::new(
            &self.loaded.context,
            range(&bank.memory.own.arena, 0, package.arena.vector_bytes()),
            Bits::of(T::TYPE),
            package.workgroup,
            proved.schedule().ranks,
            most.clamp(VECTOR_BYTES, BLOCK_BYTES),
        )?;
        let mut wrong = 0;
        for piece in 0..package.pieces.count() {
            bank.upload(piece, &Host::inputs(&given))?;
            self.launch_poisoned(bank, piece)?;
            wrong += match count_piece(bank, &comparer, piece, goldens, false)? {
                0 => 0,
                // Only now: devices that keep subnormals never need the other golden.
                _ => count_piece(bank, &comparer, piece, goldens, true)?,
            };
        }
        Ok(wrong)
    }
}

/// Compares what the launch of `piece` left in the arena.
fn count_piece<T: Element>(
    bank: &Bank,
    comparer: &Comparer<'_>,
    piece: usize,
    goldens: &Goldens<'_, T>,
    may_flush: bool,
) -> Result<u64, DeviceError> {
    let package = &bank.memory.loaded.package;
    for (expected, ranks) in goldens.golden().distinct() {
        // Ranks that share one golden share the other.
        let flushed = may_flush.then(|| goldens.flushed().expected(ranks[0]));
        let count = package.payload.count;
        for part in 0..expected.len() / count.max(1) {
            for (chunk, elements) in package.runs_of_part(piece) {
                let chunk = part as u32 * package.payload.chunks + chunk;
                let elements = part * count + elements.start..part * count + elements.end;
                let output = |&rank: &u32| package.arena.vector(Address::output(rank, chunk)) as u32;
                let outputs: Vec<u32> = ranks.iter().map(output).collect();
                let flushed = flushed.map(|flushed| bytemuck::cast_slice(&flushed[elements.clone()]));
                comparer.compare(&outputs, bytemuck::cast_slice(&expected[elements]), flushed)?;
            }
        }
    }
    Ok(comparer.take()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::opened;

    const fn bits(bytes: u32, greatest: u32) -> Bits {
        Bits { bytes, greatest }
    }

    /// Integers of every size, f8e4m3, f8e5m2, f16, bf16, f32 and f64.
    const TYPES: [Bits; 10] = [
        bits(1, 0),
        bits(2, 0),
        bits(4, 0),
        bits(8, 0),
        bits(1, 0x7e),
        bits(1, 0x7c),
        bits(2, 0x7c00),
        bits(2, 0x7f80),
        bits(4, 0x7f80_0000),
        bits(8, 0x7ff0_0000),
    ];

    /// As numbers of 64 bits; what has more than an infinity's bits is NaN.
    fn agree(bits: Bits, a: &[u8], b: &[u8]) -> bool {
        let value = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        let infinity = u64::from(bits.greatest) << (8 * bits.bytes).saturating_sub(32);
        let magnitude = u64::MAX >> (65 - 8 * bits.bytes);
        let is_nan = |value: u64| infinity > 0 && value & magnitude > infinity;
        let (a, b) = (value(a), value(b));
        a == b || is_nan(a) && is_nan(b)
    }

    /// Elements of which many are zeros, infinities and NaN of both ends.
    fn random(seed: u64, bits: Bits, elements: usize) -> Vec<u8> {
        let infinity = u64::from(bits.greatest) << (8 * bits.bytes).saturating_sub(32);
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state ^ (state >> 29)
        };
        let mut element = || match (next() >> 13) % 8 {
            0 => 0,
            1 => infinity,
            2 => infinity | 1,
            3 => u64::MAX >> (65 - 8 * bits.bytes),
            4 => u64::MAX,
            _ => next(),
        };
        (0..elements).flat_map(|_| element().to_le_bytes().into_iter().take(bits.bytes as usize)).collect()
    }

    struct Case {
        bits: Bits,
        elements: usize,
        block_bytes: usize,
        /// Every so many-th element differs; 1 for all.
        every: usize,
        alternative: bool,
    }

    /// Two of three outputs are compared. Of each, some elements are taken from elsewhere, and padding is never equal.
    fn counted(context: &Context, case: &Case) -> (u32, u32) {
        let Case { bits, elements, block_bytes, every, alternative } = *case;
        let (size, padded) = (bits.bytes as usize, (elements * bits.bytes as usize).next_multiple_of(VECTOR_BYTES));
        let expected = random(1, bits, elements);
        let other = random(2, bits, elements);
        let mut arena = Vec::new();
        let mut wrong = 0;
        for output in 0..3 {
            let mut got = expected.clone();
            let strange = random(3 + output, bits, elements);
            for element in (0..elements).step_by(every) {
                let range = element * size..(element + 1) * size;
                let source = if element % 3 == 0 { &other } else { &strange };
                got[range.clone()].copy_from_slice(&source[range.clone()]);
                let right = agree(bits, &got[range.clone()], &expected[range.clone()])
                    || alternative && agree(bits, &got[range.clone()], &other[range]);
                wrong += u32::from(!right && output != 1);
            }
            got.resize(padded, 0x55);
            arena.extend(got);
        }
        let vectors = context.device.buffer_of("vectors", &arena, wgpu::BufferUsages::STORAGE).unwrap();
        let whole = vectors.as_entire_buffer_binding();
        let comparer = Comparer::new(context, whole, bits, 64, 2, block_bytes).unwrap();
        let outputs = [0, 2 * (padded / VECTOR_BYTES) as u32];
        comparer.compare(&outputs, &expected, alternative.then_some(&other[..])).unwrap();
        let counted = comparer.take().unwrap();
        assert_eq!(comparer.take().unwrap(), 0, "the counter begins anew");
        (counted, wrong)
    }

    #[test]
    fn wrong_elements_of_every_type_are_counted_on_every_device() {
        let gpus = opened();
        if gpus.is_empty() {
            println!("skipped: there is no device");
        }
        for gpu in gpus {
            for bits in TYPES {
                let sizes = [1, 2, 3, 15, 16, 17, 1000, 5003];
                for elements in sizes {
                    for (every, alternative) in [(usize::MAX, false), (7, false), (1, false), (1, true), (5, true)] {
                        let case = Case { bits, elements, block_bytes: 4096, every, alternative };
                        let (counted, wrong) = counted(&gpu, &case);
                        let title = gpu.device.info().title();
                        assert_eq!(counted, wrong, "{title} {bits:?} {elements} {every} {alternative}");
                    }
                }
            }
        }
    }

    /// The longest that an invocation can take.
    #[test]
    fn a_whole_block_of_wrong_bytes_is_below_the_loop_limit() {
        for gpu in opened() {
            let elements = BLOCK_BYTES + 3;
            let case = Case { bits: TYPES[0], elements, block_bytes: BLOCK_BYTES, every: 1, alternative: true };
            let (counted, wrong) = counted(&gpu, &case);
            assert!(wrong > 1 << 20, "{wrong}");
            assert_eq!(counted, wrong, "{}", gpu.device.info().title());
        }
    }
}
