//! The memory that lanes share, as raw pointers, and the one argument why they may access it.
//!
//! # Why this is sound
//! Lanes run on several threads, and an instruction may name any rank's memory. Every access is made by
//! [`Channel::execute`], which stands in these facts:
//! * *In bounds.* The proof of structure puts every address into its buffer: slots are allocated whole, and user memory
//!   is clipped to `payload.count` elements, which each launch checks against the slices that it is given.
//! * *Exclusive.* The race proof orders any two accesses to one chunk of which one is a write, by program order and
//!   notify -> wait edges. A lane is one task of one worker, and [`Signal`](super::signal::Signal) makes each such edge
//!   a happens-before edge. Channels touch disjoint slices of every chunk, and a set of slots that serves several
//!   channels belongs to one worker, which runs them one after the other. So while an instruction executes nobody else
//!   accesses what it writes or writes what it reads, and references to these may be formed.
//! * *Alive.* User slices are borrowed by the launch, which ends, by return or panic, only after every worker has left.
//! * *Writable.* The proof of structure lets nobody write an input unless the launch is in place, and then inputs have
//!   become outputs; outputs come from `&mut` slices.
//! * *Same or disjoint.* The proof of structure refuses operands that overlap a destination otherwise than exactly.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use super::kernel;
use super::program::{Operand, Step};
use crate::collective::Op;
use crate::element::Element;
use crate::schedule::Buffer;
use crate::window::Payload;

/// A cache line; slots start at one.
const LINE: usize = 64;
/// A second destination is written while this much of the first is still in the first-level cache.
const BLOCK_BYTES: usize = 8 << 10;

/// Zeroed elements for chunk slots. Pages that are never touched cost nothing.
pub(super) struct Slots<T> {
    start: NonNull<T>,
    layout: Layout,
}

// SAFETY: it owns its memory as a `Vec<T>` does; access goes through raw pointers only, under this module's argument.
unsafe impl<T: Element> Send for Slots<T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for Slots<T> {}

impl<T: Element> Slots<T> {
    /// None where there is not so much memory.
    pub(super) fn new(elements: usize) -> Option<Self> {
        let layout = Layout::array::<T>(elements).ok()?.align_to(LINE).ok()?;
        if layout.size() == 0 {
            return Some(Self { start: NonNull::dangling(), layout });
        }
        // SAFETY: the layout's size is not zero. Zeroes are a value of any `Pod`.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }.cast())?;
        Some(Self { start, layout })
    }

    /// Valid for every element that was asked for.
    pub(super) fn as_ptr(&self) -> *mut T {
        self.start.as_ptr()
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.start.as_ptr().cast(), self.layout) };
        }
    }
}

/// Where the users' buffers of a launch are, one a rank; empty between launches.
pub(super) struct Bases<T> {
    pub(super) inputs: Vec<*const T>,
    pub(super) outputs: Vec<*mut T>,
}

// SAFETY: the pointers stand for the launch's borrows of `&[T]` and `&mut [T]`, which are `Send` and `Sync` as elements
// are both; they are dereferenced under this module's argument only.
unsafe impl<T: Element> Send for Bases<T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for Bases<T> {}

impl<T> Bases<T> {
    pub(super) fn set(&mut self, inputs: &[&[T]], outputs: &mut [&mut [T]]) {
        self.inputs.clear();
        self.inputs.extend(inputs.iter().map(|input| input.as_ptr()));
        self.outputs.clear();
        self.outputs.extend(outputs.iter_mut().map(|output| output.as_mut_ptr()));
    }
}

/// How a payload is cut into channels.
#[derive(Clone, Copy)]
pub(super) struct Slices {
    pub(super) payload: Payload,
    /// Elements of a channel's slice of a chunk; the last channel's may be shorter.
    pub(super) per: usize,
    /// Chunk slots of a rank.
    pub(super) slots: usize,
    pub(super) ranks: usize,
}

impl Slices {
    /// Elements of one channel's slots, in whole lines.
    pub(super) fn slot_elements(&self) -> Option<usize> {
        let line = LINE / self.payload.element_bytes;
        self.ranks.checked_mul(self.slots)?.checked_mul(self.per)?.checked_next_multiple_of(line)
    }
}

/// One channel: its slice of every chunk of every buffer.
pub(super) struct Channel<'a, T> {
    pub(super) bases: &'a Bases<T>,
    pub(super) slices: &'a Slices,
    /// The channel's slots, rank by rank, each `per` elements long.
    pub(super) slots: *mut T,
    pub(super) index: usize,
}

impl<T: Element> Channel<'_, T> {
    /// Moves what the step moves.
    ///
    /// # Safety
    /// `step` belongs to a proved schedule, its waits are over, it has not executed in this launch, and bases, slices
    /// and slots are those of that schedule and launch: see the module.
    pub(super) unsafe fn execute(&self, op: Op, step: &Step) {
        let [Some(a), b] = step.from else { return };
        for k in 0..step.chunks {
            let (mut len, from_a) = self.locate(a, k, self.slice_len());
            let mut place = |operand: Option<Operand>| {
                operand.map(|operand| {
                    let (shortest, pointer) = self.locate(operand, k, len);
                    len = shortest;
                    pointer
                })
            };
            let (from_b, to, also) = (place(b), place(step.to[0]), place(step.to[1]));
            let Some(to) = to else { return };
            // SAFETY: the pointers are valid for `len` elements, the shortest run of them; the rest of the contract is
            // the module's argument.
            unsafe { transfer(op, from_a, from_b, to, also, len) };
        }
    }

    fn slice_len(&self) -> usize {
        self.slices.per.min(self.slices.payload.chunk_elements - self.index * self.slices.per)
    }

    /// Where the channel's slice of the operand's `k`-th chunk is, and how much of `len` elements exists there.
    fn locate(&self, operand: Operand, k: u32, len: usize) -> (usize, *mut T) {
        let (rank, chunk) = (usize::from(operand.rank), operand.chunk as usize + k as usize);
        let Slices { payload, per, slots, .. } = self.slices;
        if operand.buffer == Buffer::Slot {
            return (len, self.slots.wrapping_add((rank * slots + chunk) * per));
        }
        let start = (chunk * payload.chunk_elements + self.index * per).min(payload.count);
        let base = match operand.buffer {
            Buffer::Input => self.bases.inputs[rank].cast_mut(),
            Buffer::Output | Buffer::Slot => self.bases.outputs[rank],
        };
        (len.min(payload.count - start), base.wrapping_add(start))
    }
}

/// # Safety
/// That of [`kernel::reduce`], for each destination; the destinations are disjoint.
unsafe fn transfer<T: Element>(op: Op, a: *const T, b: Option<*mut T>, to: *mut T, also: Option<*mut T>, len: usize) {
    let block = if also.is_some() { BLOCK_BYTES / size_of::<T>() } else { len };
    let mut start = 0;
    while start < len {
        let n = block.min(len - start);
        // SAFETY: `start + n <= len`, so this is the contract on a part. Where `also` is an operand it is overwritten
        // block by block, each after its last use.
        unsafe {
            let (a, to) = (a.add(start), to.add(start));
            match b {
                None => kernel::copy(to, a, n),
                Some(b) => kernel::reduce(op, to, a, b.add(start), n),
            }
            if let Some(also) = also {
                kernel::copy(also.add(start), to, n);
            }
        }
        start += n;
    }
}
