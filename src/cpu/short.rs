//! Short steps in a row: sums of two operands and copies of one, of few elements, each into one place.
//!
//! Small launches of a ring or a tree consist of them. To find out what each is, where it is and which loop is for it would take
//! several times as long as the loop, so all that is known beforehand is in one place, and the rest is asked once.

use super::kernel::{Reduction, Width, cached, run};
use crate::element::{Element, with_op};

/// Most elements of a short step: finding the loop for more, in [`kernel`](super::kernel), takes little beside running it.
pub(super) const MOST_ELEMENTS: usize = 256;

/// A step over memory that is named by a base and, from there, an offset in elements.
pub(super) struct Short {
    pub(super) to: (u32, usize),
    pub(super) a: (u32, usize),
    /// The same as `a` where that is copied.
    pub(super) b: (u32, usize),
    pub(super) len: u32,
    pub(super) copies: bool,
}

/// One after the other.
///
/// # Safety
/// There is a base for every step's memory, of which the step's elements are valid for reads, and of `to` for writes; `to` is the
/// same as or disjoint from `a`, and from `b`. Nobody else accesses `to`s or writes operands. The reduction does not scale.
pub(super) unsafe fn each<T: Element>(how: Reduction<T>, steps: &[Short], bases: &[*mut T]) {
    // SAFETY: the processor has what `width` says; otherwise handed on.
    unsafe {
        match how.width {
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => with_avx2(how, steps, bases),
            Width::Any => of_op(how, steps, bases),
        }
    }
}

/// # Safety
/// That of [`each`], on a processor with AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn with_avx2<T: Element>(how: Reduction<T>, steps: &[Short], bases: &[*mut T]) {
    // SAFETY: handed on.
    unsafe { of_op(how, steps, bases) }
}

/// # Safety
/// That of [`each`].
#[inline(always)]
unsafe fn of_op<T: Element>(how: Reduction<T>, steps: &[Short], bases: &[*mut T]) {
    // SAFETY: handed on.
    with_op!(how.op, OP => unsafe { all(steps, bases, |a, b| T::combine(OP, a, b)) });
}

/// # Safety
/// That of [`each`].
#[inline(always)]
unsafe fn all<T: Element>(steps: &[Short], bases: &[*mut T], f: impl Fn(T, T) -> T) {
    for step in steps {
        // SAFETY: every base is there, and the offset in its memory; each line stays below `len`.
        unsafe {
            let place = |(base, offset): (u32, usize)| bases.get_unchecked(base as usize).wrapping_add(offset);
            let (to, a, len) = (place(step.to), place(step.a).cast_const(), step.len as usize);
            if step.copies {
                lines(len, |at, length| match length {
                    Line::Long => run::<T, _, LONG>(at, &[to], [a], None, &f, cached),
                    Line::Short => run::<T, _, SHORT>(at, &[to], [a], None, &f, cached),
                    Line::One => run::<T, _, 1>(at, &[to], [a], None, &f, cached),
                });
            } else {
                let from = [a, place(step.b).cast_const()];
                lines(len, |at, length| match length {
                    Line::Long => run::<T, _, LONG>(at, &[to], from, None, &f, cached),
                    Line::Short => run::<T, _, SHORT>(at, &[to], from, None, &f, cached),
                    Line::One => run::<T, _, 1>(at, &[to], from, None, &f, cached),
                });
            }
        }
    }
}

const LONG: usize = 16;
const SHORT: usize = 4;

#[derive(Clone, Copy)]
enum Line {
    Long,
    Short,
    One,
}

/// Where lines begin, and how long each is.
#[inline(always)]
fn lines(len: usize, line: impl Fn(usize, Line)) {
    let mut done = 0;
    while len - done >= LONG {
        line(done, Line::Long);
        done += LONG;
    }
    while len - done >= SHORT {
        line(done, Line::Short);
        done += SHORT;
    }
    while done < len {
        line(done, Line::One);
        done += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Op;
    use crate::element::numeric::Numeric;

    /// Of every length that ends in another line: a sum of two places, into a third or one of them, and a copy of what came out.
    #[test]
    fn runs_of_sums_and_copies_are_those_of_their_elements() {
        const N: usize = MOST_ELEMENTS + 1;
        for len in [1, 3, 4, 5, 15, 16, 17, 21, 32, 63, 100, MOST_ELEMENTS] {
            for (sum, op) in [(2, Op::Sum), (0, Op::Max), (1, Op::Prod)] {
                let mut memory: Vec<f32> = (0..4 * N as u16).map(|i| 0.5 + f32::from(i * 37 % 101)).collect();
                let (before, base) = (memory.clone(), memory.as_mut_ptr());
                let bases = [base, base.wrapping_add(N), base.wrapping_add(2 * N)];
                let step = |to, a, b, copies| Short { to, a, b, len: len as u32, copies };
                let steps = [step((sum, 0), (0, 0), (1, 0), false), step((2, N), (sum, 0), (sum, 0), true)];
                // SAFETY: four runs of `N` elements, each of them whole.
                unsafe { each(Reduction::new(op, 2), &steps, &bases) };
                for i in 0..N {
                    let right = f32::combine(op, before[i], before[N + i]);
                    for run in 0..4 {
                        let written = i < len && (run == 3 || run == sum as usize);
                        let value = if written { right } else { before[run * N + i] };
                        assert_eq!(memory[run * N + i], value, "{len} {op} {run} {i}");
                    }
                }
            }
        }
    }
}
