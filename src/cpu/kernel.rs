//! The inner loop: a few operands combined into any number of destinations, over raw memory.
//!
//! Operands may be the very memory of a destination. The loop reads a line of every operand before it writes one, with
//! no reference to either, so it needs no case for that and vectorises without asking whether pointers coincide.

use super::processor::Processor;
use crate::backend::FurtherResults;
use crate::collective::Op;
use crate::element::{Element, scale, with_op};

/// Most operands of one pass; and of one over what the first-level cache holds, or which writes past the caches and so is better at
/// reading many streams than at reading some twice.
pub(super) const OPERANDS: usize = 4;
pub(super) const MOST_OPERANDS: usize = 8;
/// Elements that are read before any is written: many, so that a load seldom meets a store to the same place in another
/// page that is still under way (64 doubles what 16 reach in cache); then fewer, for what is left.
const LONG: usize = 64;
const SHORT: usize = 16;
const SHORTEST: usize = 4;
/// Lines begin at a cache line of the destination where there are many: stores that cross two cost a tenth.
const CACHE_LINE: usize = 64;
const MANY: usize = 16 * LONG;

/// The widest instructions that are used. Made by [`Width::widest`] alone.
///
/// AVX-512 is not among them: measured on a Xeon, it gained a nanosecond or two on one kibibyte and lost a tenth to a fifth
/// from 64 KiB up, where users' buffers begin anywhere and each of its loads crosses two cache lines.
#[derive(Debug, Clone, Copy)]
pub(super) enum Width {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Any,
}

impl Width {
    /// Asks the processor, which takes tens of microseconds in a virtual machine.
    fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::Any
    }
}

/// What is done to operands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reduction<T> {
    pub(super) op: Op,
    /// What contributions are multiplied by when they are read.
    scale: Option<T>,
    pub(super) width: Width,
    pub(super) further: FurtherResults,
}

/// How results are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    /// As any store.
    Cached,
    /// Past the caches, where they are larger than these and no lane reads them again: a plain store would first fetch every
    /// line that it overwrites. [`stream_end`] must follow before anybody is notified.
    Past,
}

impl Store {
    /// Most operands of one pass.
    pub(super) fn operands(self) -> usize {
        match self {
            Self::Cached => OPERANDS,
            Self::Past => MOST_OPERANDS,
        }
    }
}

impl<T: Element> Reduction<T> {
    pub(super) fn new(op: Op, ranks: u32) -> Self {
        Self { op, scale: scale(op, ranks), width: Width::widest(), further: Processor::here().further_results }
    }

    /// Whether it matters which operands are contributions.
    pub(super) fn scales(self) -> bool {
        self.scale.is_some()
    }
}

/// Bit i: operand i is a contribution that is to be scaled. None is set where a reduction does not scale.
pub(super) type Contributions = u8;

/// All of `to` become the operands combined from left to right; one is copied.
///
/// # Safety
/// There are 1 to [`MOST_OPERANDS`] operands. All pointers are valid for `len` elements; each of `to` is either the same
/// as or disjoint from each operand, and disjoint from the others. Until the call returns, or for [`Store::Past`] until
/// [`stream_end`], nobody else accesses `to` or writes an operand. For [`Store::Past`] `to` are [`alike`].
#[inline(always)]
pub(super) unsafe fn fold<T: Element>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &[*const T],
    scaled: Contributions,
    len: usize,
    store: Store,
) {
    // The pointers stay where they are: just written one by one, they could not be read as a whole without a stall.
    // SAFETY: handed on, in all cases.
    unsafe {
        match (from, to) {
            _ if store == Store::Past => widest::<T, _, true>(how, to, &from, scaled, len),
            (&[a], &[to]) if scaled == 0 => {
                if !std::ptr::eq(a, to) {
                    a.copy_to_nonoverlapping(to, len);
                }
            }
            (&[a], _) => widest::<T, _, false>(how, to, &[a], scaled, len),
            ([_, _], _) => of::<T, 2>(how, to, from, scaled, len),
            ([_, _, _], _) => of::<T, 3>(how, to, from, scaled, len),
            ([_, _, _, _], _) => of::<T, OPERANDS>(how, to, from, scaled, len),
            _ => many::<T>(how, to, from, scaled, len),
        }
    }
}

/// The first `N`.
///
/// # Safety
/// That of [`fold`].
#[inline(always)]
unsafe fn of<T: Element, const N: usize>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &[*const T],
    scaled: Contributions,
    len: usize,
) {
    let Some(from) = from.first_chunk::<N>() else { return };
    // SAFETY: handed on.
    unsafe { widest::<T, _, false>(how, to, from, scaled, len) }
}

/// More than [`OPERANDS`], up to [`MOST_OPERANDS`]. Apart, so that few of them do not take longer.
///
/// # Safety
/// That of [`fold`].
#[inline(never)]
unsafe fn many<T: Element>(how: Reduction<T>, to: &[*mut T], from: &[*const T], scaled: Contributions, len: usize) {
    // SAFETY: handed on.
    unsafe { widest::<T, _, false>(how, to, &from, scaled, len) }
}

/// Operands of a pass: arrays, whose length the compiler knows; or a slice, where memory is slower than a loop.
pub(super) trait Operands<T>: Copy + AsRef<[*const T]> {}
impl<T, F: Copy + AsRef<[*const T]>> Operands<T> for F {}

/// # Safety
/// That of [`fold`].
unsafe fn widest<T: Element, F: Operands<T>, const PAST: bool>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &F,
    scaled: Contributions,
    len: usize,
) {
    // SAFETY: the processor has what `width` says; otherwise handed on.
    unsafe {
        match how.width {
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => with_avx2::<T, F, PAST>(how, to, from, scaled, len),
            Width::Any => lines::<T, F, PAST>(how, to, from, scaled, len),
        }
    }
}

/// # Safety
/// That of [`fold`], on a processor with AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn with_avx2<T: Element, F: Operands<T>, const PAST: bool>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &F,
    scaled: Contributions,
    len: usize,
) {
    // SAFETY: handed on.
    unsafe { lines::<T, F, PAST>(how, to, from, scaled, len) }
}

/// # Safety
/// That of [`fold`].
#[inline(always)]
unsafe fn lines<T: Element, F: Operands<T>, const PAST: bool>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &F,
    scaled: Contributions,
    len: usize,
) {
    // One loop an operation, so that no loop has a branch in it.
    // SAFETY: handed on.
    unsafe {
        match how.scale {
            None => with_op!(how.op, OP => combine::<T, F, PAST>(to, from, len, None, |a, b| T::combine(OP, a, b))),
            Some(by) => combine::<T, F, PAST>(to, from, len, Some((by, scaled)), |a, b| T::combine(Op::Sum, a, b)),
        }
    }
}

/// # Safety
/// That of [`fold`].
#[inline(always)]
unsafe fn combine<T: Element, F: Operands<T>, const PAST: bool>(
    to: &[*mut T],
    from: &F,
    len: usize,
    scale: Option<(T, Contributions)>,
    f: impl Fn(T, T) -> T,
) {
    let aligned = || to.first().map_or(0, |to| to.align_offset(CACHE_LINE)).min(len);
    let (from, mut done) = (*from, 0);
    // SAFETY: each call stays below `len`, for which all pointers are valid.
    unsafe {
        if PAST {
            let head = aligned();
            while done < head {
                run::<T, F, 1>(done, to, from, scale, &f, cached);
                done += 1;
            }
            while len - done >= LONG {
                run::<T, F, LONG>(done, to, from, scale, &f, past);
                done += LONG;
            }
        }
        let head = if !PAST && len >= MANY { aligned() } else { done };
        for end in [head, len] {
            while end - done >= LONG {
                run::<T, F, LONG>(done, to, from, scale, &f, cached);
                done += LONG;
            }
            while end - done >= SHORT {
                run::<T, F, SHORT>(done, to, from, scale, &f, cached);
                done += SHORT;
            }
            while end - done >= SHORTEST {
                run::<T, F, SHORTEST>(done, to, from, scale, &f, cached);
                done += SHORTEST;
            }
            while done < end {
                run::<T, F, 1>(done, to, from, scale, &f, cached);
                done += 1;
            }
        }
    }
}

/// `L` elements from `at` on: all are read from every operand before any is written.
///
/// # Safety
/// That of [`fold`], for `at + L` elements.
#[inline(always)]
pub(super) unsafe fn run<T: Element, F: Operands<T>, const L: usize>(
    at: usize,
    to: &[*mut T],
    from: F,
    scale: Option<(T, Contributions)>,
    f: impl Fn(T, T) -> T,
    store: unsafe fn(*mut [T; L], [T; L]),
) {
    // SAFETY: valid for these elements by the contract; no alignment is asked for beyond the element's.
    unsafe {
        let read = |number: usize, from: *const T| {
            let mut line: [T; L] = from.add(at).cast::<[T; L]>().read();
            if let Some((by, scaled)) = scale
                && scaled >> number & 1 == 1
            {
                line.iter_mut().for_each(|a| *a = T::combine(Op::Prod, *a, by));
            }
            line
        };
        let Some((&first, more)) = from.as_ref().split_first() else { return };
        let mut line = read(0, first);
        for (number, &from) in (1..).zip(more) {
            let other = read(number, from);
            // Not by iterators: these would take a line that is streamed through memory.
            for i in 0..L {
                line[i] = f(line[i], other[i]);
            }
        }
        for to in to {
            store(to.add(at).cast(), line);
        }
    }
}

/// # Safety
/// As of [`std::ptr::write_unaligned`].
#[inline(always)]
pub(super) unsafe fn cached<T>(to: *mut T, line: T) {
    // SAFETY: handed on.
    unsafe { to.write_unaligned(line) };
}

/// Whether [`Store::Past`] can write them together: where one is at a [`VECTOR`], all are. It is faster still where all
/// begin at the same place of a line.
pub(super) fn alike<T>(mut to: impl Iterator<Item = *mut T>) -> bool {
    let Some(first) = to.next() else { return true };
    to.all(|to| to.addr() % VECTOR == first.addr() % VECTOR)
}

/// Bytes of a store past the caches, which must be aligned to as many.
const VECTOR: usize = 16;

/// # Safety
/// As of [`std::ptr::write`], at a [`VECTOR`]; nobody else accesses `to` until [`stream_end`].
#[inline(always)]
unsafe fn past<T: Element, const L: usize>(to: *mut [T; L], line: [T; L]) {
    // Miri knows no streaming store, and watches a plain one.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the line is plain data and as long as the vectors, at whose boundary `to` is.
    unsafe {
        use std::mem::transmute_copy;
        // By arrays of vectors, or the compiler would take the line through memory.
        match size_of::<[T; L]>() / VECTOR {
            4 => stream::<4>(to.cast(), transmute_copy(&line)),
            8 => stream::<8>(to.cast(), transmute_copy(&line)),
            16 => stream::<16>(to.cast(), transmute_copy(&line)),
            32 => stream::<32>(to.cast(), transmute_copy(&line)),
            _ => to.write(line),
        }
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    // SAFETY: handed on.
    unsafe {
        to.write(line)
    };
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn stream<const N: usize>(to: *mut std::arch::x86_64::__m128i, line: [std::arch::x86_64::__m128i; N]) {
    for (i, vector) in line.into_iter().enumerate() {
        // SAFETY: as of `past`.
        unsafe { std::arch::x86_64::_mm_stream_si128(to.add(i), vector) };
    }
}

/// Makes what was streamed part of what a following notify publishes: streaming stores are not ordered by a release.
pub(super) fn stream_end() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 processor has SSE.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From any place to two others that are alike.
    #[test]
    fn past_the_caches_goes_any_run() {
        const N: usize = 400;
        let input: Vec<f32> = (0..N as u16).map(f32::from).collect();
        for (start, len) in [(0, 0), (0, 1), (1, 15), (3, 16), (0, 64), (5, 100), (7, 193), (15, 385), (1, 256)] {
            for operands in 1..=MOST_OPERANDS {
                let mut memory = vec![-1.0_f32; 2 * N];
                let to = [start, N + start].map(|at| memory.as_mut_ptr().wrapping_add(at));
                let from = vec![input.as_ptr().wrapping_add(start); operands];
                assert!(alike(to.into_iter()) && !alike([to[0], to[1].wrapping_add(1)].into_iter()));
                // SAFETY: `start + len` elements are there, in two halves and a vector.
                unsafe { fold(Reduction::new(Op::Sum, 1), &to, &from, 0, len, Store::Past) };
                stream_end();
                for i in 0..N {
                    let sum = if (start..start + len).contains(&i) { input[i] * operands as f32 } else { -1.0 };
                    assert_eq!([memory[i], memory[N + i]], [sum; 2], "{start} {len} {operands} {i}");
                }
            }
        }
    }

    /// Every choice of destination and of one to four operands among four runs of memory.
    #[test]
    fn destinations_may_be_operands() {
        const N: usize = 37;
        let start: Vec<f32> = (0..4 * N as u32).map(|i| 1.0 + i as f32).collect();
        // Miri takes minutes for all of them; the step has no common divisor with their number.
        for choice in (0..4_usize.pow(5)).step_by(if cfg!(miri) { 37 } else { 1 }) {
            let digit = |n: u32| choice / 4_usize.pow(n) % 4;
            let (to, operands) = (digit(0), [digit(1), digit(2), digit(3), digit(4)]);
            for n in 1..=OPERANDS {
                let mut memory = start.clone();
                let base = memory.as_mut_ptr();
                // SAFETY: four disjoint runs of N elements; destination and operands are whole runs of them.
                unsafe {
                    let from: Vec<*const f32> =
                        operands[..n].iter().map(|&run| base.add(run * N).cast_const()).collect();
                    fold(Reduction::new(Op::Sum, 4), &[base.add(to * N)], &from, 0, N, Store::Cached);
                }
                for i in 0..N {
                    let sum = operands[..n].iter().map(|run| start[run * N + i]).reduce(|a, b| a + b).unwrap();
                    assert_eq!(memory[to * N + i], sum, "{to} = {:?}", &operands[..n]);
                }
            }
        }
    }
}
