//! The memory that lanes share, as raw pointers, and the one argument why they may access it.
//!
//! # Why this is sound
//! Lanes run on several threads, and an instruction may name any rank's memory. Accesses are made by [`Channel::execute`], or by
//! [`Straight`](super::straight) where one thread has all lanes of a slice, and stand in these facts:
//! * *In bounds.* The proof of structure puts every address into its buffer: slots are allocated whole, and in user memory
//!   every part is clipped to `payload.count` elements; each launch checks that the slices that it is given have as many
//!   parts as the proof says.
//! * *Exclusive.* The race proof orders any two accesses to one chunk of which one is a write, by program order and
//!   notify -> wait edges. A lane is one task of one worker, and [`Signal`](super::signal::Signal) makes each such edge
//!   a happens-before edge. Channels touch disjoint slices of every chunk, and a set of slots that serves several
//!   channels belongs to one worker, which runs them one after the other. So while an instruction executes nobody else
//!   accesses what it writes or writes what it reads.
//! * *Alive.* User slices are borrowed by the launch, which ends, by return or panic, only after every worker has left.
//! * *Writable.* The proof of structure lets nobody write an input, unless it is in place also output; in place all user
//!   memory, and else every output, comes from `&mut` slices.
//! * *Published.* A notify is a release; stores past the caches are not ordered by one, so a fence ends each such step.
//! * *Same or disjoint.* The proof of structure refuses operands that overlap a destination otherwise than exactly.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::kernel::{self, Contributions, Reduction, Store};
use super::program::Operand;
use crate::backend::FurtherResults;
use crate::element::Element;
use crate::payload::Payload;
use crate::schedule::Buffer;

/// Which of up to [`kernel::MOST_OPERANDS`] operands are contributions.
fn contributions(are: impl Iterator<Item = bool>) -> Contributions {
    are.enumerate().fold(0, |bits, (i, is)| bits | Contributions::from(is) << i)
}

/// A cache line; slots start at one.
pub(super) const LINE: usize = 64;
/// Bytes that are combined together where there are many operands or destinations: a block of each is to stay in cache.
const BLOCK_BYTES: usize = under_miri(256, 8 << 10);
/// The same for a few operands and two destinations, of which one is a copy, and where unlike results go past the caches.
const LARGE_BLOCK_BYTES: usize = under_miri(512, 32 << 10);
/// Most destinations that are written straight from registers.
const AT_ONCE: usize = 8;
/// Up to this many bytes of operands and destinations, which the first-level cache holds, that is cheaper than copies.
pub(super) const AT_ONCE_BYTES: usize = under_miri(512, 32 << 10);
/// Above it, only where the processor is better at that, and to no more operands and destinations together than that cache has ways:
/// buffers from an allocator often begin at the same place of a page.
const WAYS: usize = 8;

/// Miri takes a minute for a megabyte, so there a few hundred elements already have several blocks.
const fn under_miri(bytes: usize, otherwise: usize) -> usize {
    if cfg!(miri) { bytes } else { otherwise }
}

#[repr(align(64))]
struct Block<const BYTES: usize>([MaybeUninit<u8>; BYTES]);

/// Zeroed elements for chunk slots. Pages that are never touched cost nothing, and the others belong to the memory of the
/// worker that touches them first.
pub(super) struct Slots<T> {
    start: NonNull<T>,
    /// What was allocated, with which layout; nothing, where there are no elements.
    memory: Option<(NonNull<u8>, Layout)>,
}

// SAFETY: it owns its memory as a `Vec<T>` does; access goes through raw pointers only, under this module's argument.
unsafe impl<T: Element> Send for Slots<T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for Slots<T> {}

impl<T: Element> Slots<T> {
    /// None where there is not so much memory.
    pub(super) fn new(elements: usize) -> Option<Self> {
        const { assert!(align_of::<T>() <= LINE) };
        let bytes = elements.checked_mul(size_of::<T>())?;
        if bytes == 0 {
            return Some(Self { start: NonNull::dangling(), memory: None });
        }
        // A line more, because memory that is aligned by the allocator is zeroed byte by byte, on this thread.
        let layout = Layout::array::<u8>(bytes.checked_add(LINE)?).ok()?;
        // SAFETY: the layout's size is not zero. Zeroes are a value of any `Pod`.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let to_line = memory.addr().get().next_multiple_of(LINE) - memory.addr().get();
        // SAFETY: less than the line that was allocated beyond the elements.
        let start = unsafe { memory.add(to_line) }.cast();
        Some(Self { start, memory: Some((memory, layout)) })
    }

    /// Valid for every element that was asked for.
    pub(super) fn as_ptr(&self) -> *mut T {
        self.start.as_ptr()
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        if let Some((memory, layout)) = self.memory {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(memory.as_ptr(), layout) };
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
    pub(super) fn set(&mut self, inputs: impl Iterator<Item = *const T>, outputs: impl Iterator<Item = *mut T>) {
        self.clear();
        self.inputs.extend(inputs);
        self.outputs.extend(outputs);
    }

    pub(super) fn clear(&mut self) {
        self.inputs.clear();
        self.outputs.clear();
    }
}

/// How a payload is cut into channels.
#[derive(Clone, Copy)]
pub(super) struct Slices {
    pub(super) payload: Payload,
    /// Elements of a channel's slice of a chunk; the last channel's may be shorter.
    pub(super) per: usize,
    /// Elements from one slot of a set of slots to the next: [`per`](Self::per) where a set is a channel's alone. Of a part it is a
    /// whole chunk's, so that slots lie in memory as messages have them.
    pub(super) pitch: usize,
    /// Chunk slots of all ranks.
    pub(super) slots: usize,
    pub(super) ranks: usize,
}

impl Slices {
    /// Elements of one set of slots, in whole lines.
    pub(super) fn slot_elements(&self) -> Option<usize> {
        let line = LINE / self.payload.element_bytes;
        self.slots.checked_mul(self.pitch)?.checked_next_multiple_of(line)
    }

    /// Elements of a channel's slice of a chunk, where all of them are there.
    pub(super) fn len(&self, channel: usize) -> usize {
        // Where counts are divisible, a chunk ends before its padding does, and another begins there.
        self.per.min(self.payload.step.saturating_sub(channel * self.per))
    }

    /// First element, in a part of the users' buffers, of the channel's slice of the part's chunk `chunk`.
    fn start(&self, channel: usize, chunk: usize) -> usize {
        (chunk * self.payload.step + channel * self.per).min(self.payload.count)
    }

    /// How many elements there are from the beginning of the channel's slice of the operand's `k`-th chunk; in slots, as
    /// many as can be asked for.
    pub(super) fn exists(&self, channel: usize, operand: Operand, k: u32) -> usize {
        match operand.buffer() {
            Buffer::Slot => usize::MAX,
            Buffer::Input | Buffer::Output => {
                let (_, chunk) = operand.at(k, self.payload.chunks);
                self.payload.count - self.start(channel, chunk)
            }
        }
    }

    /// Where that slice begins in the rank's buffer; of slots, in those of all ranks.
    pub(super) fn offset(&self, channel: usize, operand: Operand, k: u32) -> usize {
        match operand.buffer() {
            Buffer::Slot => operand.slot(k) * self.pitch,
            Buffer::Input | Buffer::Output => {
                let (part, chunk) = operand.at(k, self.payload.chunks);
                part * self.payload.count + self.start(channel, chunk)
            }
        }
    }
}

/// One channel: its slice of every chunk of every buffer.
pub(super) struct Channel<'a, T> {
    pub(super) bases: &'a Bases<T>,
    pub(super) slices: &'a Slices,
    /// The channel's slots, rank by rank, [`Slices::pitch`] elements apart.
    pub(super) slots: *mut T,
    pub(super) index: usize,
}

impl<T: Element> Channel<'_, T> {
    /// Reduces what `from` names, from left to right, into all that `to` names.
    ///
    /// # Safety
    /// These are operands and destinations of a step of a proved schedule, its waits are over, it has not executed in
    /// this launch, and bases, slices and slots are those of that schedule and launch: see the module.
    pub(super) unsafe fn execute(
        &self,
        how: Reduction<T>,
        chunks: u32,
        (from, to): (&[Operand], &[Operand]),
        store: Store,
    ) {
        if from.is_empty() || to.is_empty() {
            return;
        }
        for k in 0..chunks {
            let len = from
                .iter()
                .chain(to)
                .fold(self.slices.len(self.index), |len, &operand| len.min(self.exists(operand, k)));
            // Buffers without elements may begin where none can be.
            if len == 0 {
                continue;
            }
            let place = |operand: &Operand| self.place(*operand, k);
            // SAFETY: the pointers are valid for `len` elements, the shortest run of them; the rest of the contract is
            // the module's argument.
            unsafe { reduce(how, (from, to), place, |operand| operand.is_contribution(), len, store) };
        }
    }

    fn exists(&self, operand: Operand, k: u32) -> usize {
        self.slices.exists(self.index, operand, k)
    }

    /// Where the channel's slice of the operand's `k`-th chunk is.
    fn place(&self, operand: Operand, k: u32) -> *mut T {
        let (rank, offset) = (operand.rank(), self.slices.offset(self.index, operand, k));
        match operand.buffer() {
            Buffer::Slot => self.slots.wrapping_add(offset),
            Buffer::Input => self.bases.inputs[rank].wrapping_add(offset).cast_mut(),
            Buffer::Output => self.bases.outputs[rank].wrapping_add(offset),
        }
    }
}

/// Reduces what `from` names, from left to right, into all that `to` names.
///
/// # Safety
/// `place` of all operands and destinations is valid for `len` elements; each destination is the same as or disjoint from
/// each operand, and disjoint from other destinations. Until the call returns nobody else accesses a destination or writes
/// an operand.
#[inline]
pub(super) unsafe fn reduce<T: Element, O>(
    how: Reduction<T>,
    (from, to): (&[O], &[O]),
    place: impl Fn(&O) -> *mut T,
    is_contribution: impl Fn(&O) -> bool,
    len: usize,
    store: Store,
) {
    let bytes = || (from.len() + to.len()) * len * size_of::<T>();
    let group = match store {
        Store::Cached if to.len() == 1 => 1,
        Store::Cached if to.len() <= AT_ONCE && bytes() <= AT_ONCE_BYTES => AT_ONCE,
        Store::Cached if how.further == FurtherResults::Copied || from.len() + to.len() > WAYS => 1,
        Store::Cached => AT_ONCE,
        Store::Past if kernel::alike(to.iter().map(&place)) => AT_ONCE,
        Store::Past => 1,
    };
    // SAFETY: handed on. More than one of `to` are in a group only where they may be.
    unsafe {
        let one_pass =
            from.len() <= store.operands() || from.len() <= kernel::MOST_OPERANDS && bytes() <= AT_ONCE_BYTES;
        if to.len() <= group && one_pass {
            at_once(how, (from, to), place, is_contribution, len, store);
        } else if store == Store::Past && group == 1 {
            blocks::<T, O, LARGE_BLOCK_BYTES>(how, (from, to), place, is_contribution, len, store, group);
        } else {
            blocks::<T, O, BLOCK_BYTES>(how, (from, to), place, is_contribution, len, store, group);
        }
    }
    if store == Store::Past {
        kernel::stream_end();
    }
}

/// Up to [`kernel::MOST_OPERANDS`] operands and [`AT_ONCE`] destinations, which for [`Store::Past`] are alike.
///
/// # Safety
/// That of [`reduce`].
#[inline(always)]
unsafe fn at_once<T: Element, O>(
    how: Reduction<T>,
    (from, to): (&[O], &[O]),
    place: impl Fn(&O) -> *mut T,
    is_contribution: impl Fn(&O) -> bool,
    len: usize,
    store: Store,
) {
    let mut operands = [std::ptr::null(); kernel::MOST_OPERANDS];
    let mut destinations = [std::ptr::null_mut(); AT_ONCE];
    operands.iter_mut().zip(from).for_each(|(pointer, operand)| *pointer = place(operand).cast_const());
    destinations.iter_mut().zip(to).for_each(|(pointer, operand)| *pointer = place(operand));
    let scaled = if how.scales() { contributions(from.iter().map(is_contribution)) } else { 0 };
    // SAFETY: handed on.
    unsafe { kernel::fold(how, &destinations[..to.len()], &operands[..from.len()], scaled, len, store) };
}

/// Any number of operands and destinations, block by block: what is combined stays in the first-level cache. Destinations
/// are written in groups of at most `group`, up to [`AT_ONCE`], which for [`Store::Past`] are alike.
///
/// # Safety
/// That of [`reduce`].
#[inline(never)]
unsafe fn blocks<T: Element, O, const BYTES: usize>(
    how: Reduction<T>,
    (from, to): (&[O], &[O]),
    place: impl Fn(&O) -> *mut T,
    is_contribution: impl Fn(&O) -> bool,
    len: usize,
    store: Store,
    group: usize,
) {
    const { assert!(align_of::<T>() <= align_of::<Block<BYTES>>()) };
    let [first_to, ..] = to else { return };
    let mut partial = Block([const { MaybeUninit::uninit() }; BYTES]);
    let partial: *mut T = partial.0.as_mut_ptr().cast();
    let pair = store == Store::Cached && group == 1 && from.len() <= kernel::OPERANDS && to.len() == 2;
    let block = if pair { LARGE_BLOCK_BYTES } else { BYTES } / size_of::<T>();
    // The last pass writes the first group, from which others are copied; or `partial`, where what it wrote is not in cache.
    let keeps = store == Store::Past && to.len() > group;
    let last_store = if keeps { Store::Cached } else { store };
    let (first_group, more_to) = to.split_at(if keeps { 0 } else { group.min(to.len()) });
    // No block ends within a line that goes past the caches.
    let past_line = if store == Store::Past { place(first_to).addr() % LINE / size_of::<T>() } else { 0 };
    let mut start = 0;
    while start < len {
        let n = if start == 0 { block - past_line } else { block }.min(len - start);
        let place = |operand: &O| place(operand).wrapping_add(start);
        let places = |group: &[O]| {
            let mut places = [partial; AT_ONCE];
            places.iter_mut().zip(group).for_each(|(pointer, operand)| *pointer = place(operand));
            places
        };
        let results = &places(first_group)[..first_group.len().max(1)];
        // A destination may be a later operand's memory, so the sum leaves `partial` only with the last of them. A pair's
        // blocks are larger than `partial`, which it has no use for.
        let mut operands = [partial.cast_const(); kernel::MOST_OPERANDS];
        let (mut held, mut rest) = (0, from);
        // SAFETY: `start + n <= len`, so this is the contract on a part. Every destination is written after all
        // operands of the block have been read for the last time.
        unsafe {
            loop {
                let last = held + rest.len() <= last_store.operands();
                let (now, later) = rest.split_at(if last { rest.len() } else { kernel::OPERANDS - held });
                for (slot, operand) in operands[held..].iter_mut().zip(now) {
                    *slot = place(operand);
                }
                let scaled = if how.scales() { contributions(now.iter().map(&is_contribution)) << held } else { 0 };
                let operands_now = &operands[..held + now.len()];
                if last {
                    kernel::fold(how, results, operands_now, scaled, n, last_store);
                    break;
                }
                kernel::fold(how, &[partial], operands_now, scaled, n, Store::Cached);
                (held, rest, operands[0]) = (1, later, partial);
            }
            let sum = [results[0].cast_const()];
            more_to.chunks(group).for_each(|to| kernel::fold(how, &places(to)[..to.len()], &sum, 0, n, store));
        }
        start += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Op;

    /// Every way through `reduce`: passes, blocks, stores and copies, to destinations that are alike or not, or an operand.
    #[test]
    fn every_way_reduces_the_same() {
        /// Odd, so that of two neighbours in memory one begins at a vector and the other does not.
        const STRIDE: usize = under_miri(85, 9001);
        const MOST: usize = 13;
        let scaled = |operand: usize| operand.is_multiple_of(3);
        let values: Vec<f64> = (0..(MOST * STRIDE) as u32).map(|i| f64::from(i % 1021)).collect();
        let shapes = [(1, 1), (1, 5), (2, 2), (3, 9), (4, 4), (5, 2), (8, 8), (9, 3), (MOST, 7)];
        let lengths: &[usize] = if cfg!(miri) { &[1, 70] } else { &[1, 100, 513, 8900] };
        let cases = shapes.into_iter().flat_map(|shape| lengths.iter().map(move |&len| (shape, len)));
        let ways = [
            (Store::Cached, FurtherResults::Stored),
            (Store::Cached, FurtherResults::Copied),
            (Store::Past, FurtherResults::Stored),
        ];
        let kinds = [(Op::Sum, true, false), (Op::Sum, false, false), (Op::Avg, true, false), (Op::Max, true, true)];
        for (((from, to), len), (store, further)) in cases.flat_map(|case| ways.map(|way| (case, way))) {
            // In place nothing is streamed.
            for (op, alike, in_place) in kinds.into_iter().filter(|kind| store == Store::Cached || !kind.2) {
                let case = (from, to, len, store, further, op, alike, in_place);
                let mut how = Reduction::new(op, 4);
                how.further = further;
                let mut memory = values.clone();
                memory.resize((MOST + 10) * STRIDE, -1.0);
                let base = memory.as_mut_ptr();
                let operands: Vec<usize> = (0..from).map(|n| n * STRIDE).collect();
                let result = |n: usize| (MOST + n) * STRIDE + if alike { n % 2 } else { 0 };
                let mut results: Vec<usize> = (0..to).map(result).collect();
                if in_place {
                    results[0] = operands[from - 1];
                }
                // SAFETY: all runs are in `memory`, and disjoint but for one that is both.
                unsafe {
                    reduce(
                        how,
                        (&operands, &results),
                        |&at| base.wrapping_add(at),
                        |&at| scaled(at / STRIDE),
                        len,
                        store,
                    );
                }
                for i in 0..len {
                    let value = |n: usize| values[n * STRIDE + i] / if op == Op::Avg && scaled(n) { 4.0 } else { 1.0 };
                    let right = (0..from).map(value).reduce(|a, b| if op == Op::Max { a.max(b) } else { a + b });
                    assert!(results.iter().all(|at| Some(memory[at + i]) == right), "{case:?} {i}");
                }
                assert!(in_place || results.iter().all(|at| memory[at + len] == -1.0), "{case:?}");
            }
        }
    }
}
