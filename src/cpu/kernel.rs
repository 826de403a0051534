//! The inner loop: one to four operands combined into any number of destinations, over raw memory.
//!
//! Operands may be the very memory of a destination. The loop reads a line of every operand before it writes one, with
//! no reference to either, so it needs no case for that and vectorises without asking whether pointers coincide.

use crate::collective::Op;
use crate::element::{Element, scale, with_op};

/// Most operands of one pass.
pub(super) const OPERANDS: usize = 4;
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
enum Width {
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
    op: Op,
    /// What contributions are multiplied by when they are read.
    scale: Option<T>,
    width: Width,
}

impl<T: Element> Reduction<T> {
    pub(super) fn new(op: Op, ranks: u32) -> Self {
        Self { op, scale: scale(op, ranks), width: Width::widest() }
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
/// There are 1 to [`OPERANDS`] operands. All pointers are valid for `len` elements; each of `to` is either the same as or
/// disjoint from each operand, and disjoint from the others. Until the call returns nobody else accesses `to` or writes an
/// operand.
#[inline]
pub(super) unsafe fn fold<T: Element>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &[*const T],
    scaled: Contributions,
    len: usize,
) {
    // The pointers stay where they are: just written one by one, they could not be read as a whole without a stall.
    // SAFETY: handed on, in all cases.
    unsafe {
        if let (&[a], 0) = (from, scaled) {
            to.iter().filter(|&&to| !std::ptr::eq(a, to)).for_each(|&to| a.copy_to_nonoverlapping(to, len));
        } else if let Some(from) = from.first_chunk::<OPERANDS>() {
            widest(how, to, from, scaled, len);
        } else if let Some(from) = from.first_chunk::<3>() {
            widest(how, to, from, scaled, len);
        } else if let Some(from) = from.first_chunk::<2>() {
            widest(how, to, from, scaled, len);
        } else if let Some(from) = from.first_chunk::<1>() {
            widest(how, to, from, scaled, len);
        }
    }
}

/// # Safety
/// That of [`fold`].
unsafe fn widest<T: Element, const N: usize>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &[*const T; N],
    scaled: Contributions,
    len: usize,
) {
    // SAFETY: the processor has what `width` says; otherwise handed on.
    unsafe {
        match how.width {
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => with_avx2(how, to, from, scaled, len),
            Width::Any => lines(how, to, from, scaled, len),
        }
    }
}

/// # Safety
/// That of [`fold`], on a processor with AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn with_avx2<T: Element, const N: usize>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &[*const T; N],
    scaled: Contributions,
    len: usize,
) {
    // SAFETY: handed on.
    unsafe { lines(how, to, from, scaled, len) }
}

/// # Safety
/// That of [`fold`].
#[inline(always)]
unsafe fn lines<T: Element, const N: usize>(
    how: Reduction<T>,
    to: &[*mut T],
    from: &[*const T; N],
    scaled: Contributions,
    len: usize,
) {
    // One loop an operation, so that no loop has a branch in it.
    // SAFETY: handed on.
    unsafe {
        match how.scale {
            None => with_op!(how.op, OP => combine(to, from, len, None, |a, b| T::combine(OP, a, b))),
            Some(by) => combine(to, from, len, Some((by, scaled)), |a, b| T::combine(Op::Sum, a, b)),
        }
    }
}

/// # Safety
/// That of [`fold`].
#[inline(always)]
unsafe fn combine<T: Element, const N: usize>(
    to: &[*mut T],
    from: &[*const T; N],
    len: usize,
    scale: Option<(T, Contributions)>,
    f: impl Fn(T, T) -> T,
) {
    let head = if len >= MANY { to.first().map_or(0, |to| to.align_offset(CACHE_LINE)).min(len) } else { 0 };
    let (from, mut done) = (*from, 0);
    for end in [head, len] {
        // SAFETY: each call stays below `len`, for which all pointers are valid.
        unsafe {
            while end - done >= LONG {
                run::<T, N, LONG>(done, to, from, scale, &f);
                done += LONG;
            }
            while end - done >= SHORT {
                run::<T, N, SHORT>(done, to, from, scale, &f);
                done += SHORT;
            }
            while end - done >= SHORTEST {
                run::<T, N, SHORTEST>(done, to, from, scale, &f);
                done += SHORTEST;
            }
            while done < end {
                run::<T, N, 1>(done, to, from, scale, &f);
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
unsafe fn run<T: Element, const N: usize, const L: usize>(
    at: usize,
    to: &[*mut T],
    from: [*const T; N],
    scale: Option<(T, Contributions)>,
    f: impl Fn(T, T) -> T,
) {
    // SAFETY: valid for these elements by the contract; no alignment is asked for beyond the element's.
    unsafe {
        let read = |number: usize| {
            let mut line: [T; L] = from[number].add(at).cast::<[T; L]>().read();
            if let Some((by, scaled)) = scale
                && scaled >> number & 1 == 1
            {
                line.iter_mut().for_each(|a| *a = T::combine(Op::Prod, *a, by));
            }
            line
        };
        let mut line = read(0);
        for number in 1..N {
            for (a, b) in line.iter_mut().zip(read(number)) {
                *a = f(*a, b);
            }
        }
        for to in to {
            to.add(at).cast::<[T; L]>().write(line);
        }
    }
}

/// `to` becomes `from`, past the caches: for results that are larger than these and that no lane reads again. A plain
/// store would first fetch every line that it overwrites. [`stream_end`] must follow before anybody is notified.
///
/// # Safety
/// Both are valid for `len` elements and disjoint. Until [`stream_end`] nobody else accesses `to`.
pub(super) unsafe fn stream<T: Element>(to: *mut T, from: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        const VECTOR: usize = size_of::<__m128i>();
        const CACHE_LINE: usize = 4 * VECTOR;
        let (bytes, to, from) = (len * size_of::<T>(), to.cast::<u8>(), from.cast::<u8>());
        let head = to.align_offset(CACHE_LINE).min(bytes);
        let lines = (bytes - head) / CACHE_LINE;
        let tail = head + lines * CACHE_LINE;
        // SAFETY: all ranges lie within `bytes`; elements are plain data, so they may be moved as bytes. The streamed part
        // begins at a cache line, which is more than the alignment that a streaming store asks for.
        unsafe {
            std::ptr::copy_nonoverlapping(from, to, head);
            for offset in (head..tail).step_by(CACHE_LINE) {
                let (from, to) = (from.add(offset).cast::<__m128i>(), to.add(offset).cast::<__m128i>());
                let line = [0, 1, 2, 3].map(|i| _mm_loadu_si128(from.add(i)));
                for (i, vector) in line.into_iter().enumerate() {
                    _mm_stream_si128(to.add(i), vector);
                }
            }
            std::ptr::copy_nonoverlapping(from.add(tail), to.add(tail), bytes - tail);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: valid and disjoint by the contract.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, len);
    }
}

/// Makes what was streamed part of what a following notify publishes: streaming stores are not ordered by a release.
pub(super) fn stream_end() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has SSE.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_copies_any_run_at_any_place() {
        let from: Vec<f32> = (0..200_u8).map(f32::from).collect();
        for (start, len) in [(0, 0), (0, 1), (1, 15), (3, 16), (0, 64), (5, 100), (7, 193)] {
            let mut to = vec![-1.0_f32; 200];
            // SAFETY: `start + len` elements are there, in two vectors.
            unsafe { stream(to.as_mut_ptr().add(start), from.as_ptr().add(start), len) };
            stream_end();
            for i in 0..200 {
                assert_eq!(to[i], if (start..start + len).contains(&i) { from[i] } else { -1.0 }, "{start} {len} {i}");
            }
        }
    }

    /// Every choice of destination and of one to four operands among four runs of memory.
    #[test]
    fn destinations_may_be_operands() {
        const N: usize = 37;
        let start: Vec<f32> = (0..4 * N as u32).map(|i| 1.0 + i as f32).collect();
        for choice in 0..4_usize.pow(5) {
            let digit = |n: u32| choice / 4_usize.pow(n) % 4;
            let (to, operands) = (digit(0), [digit(1), digit(2), digit(3), digit(4)]);
            for n in 1..=OPERANDS {
                let mut memory = start.clone();
                let base = memory.as_mut_ptr();
                // SAFETY: four disjoint runs of N elements; destination and operands are whole runs of them.
                unsafe {
                    let from: Vec<*const f32> =
                        operands[..n].iter().map(|&run| base.add(run * N).cast_const()).collect();
                    fold(Reduction::new(Op::Sum, 4), &[base.add(to * N)], &from, 0, N);
                }
                for i in 0..N {
                    let sum = operands[..n].iter().map(|run| start[run * N + i]).reduce(|a, b| a + b).unwrap();
                    assert_eq!(memory[to * N + i], sum, "{to} = {:?}", &operands[..n]);
                }
            }
        }
    }
}
