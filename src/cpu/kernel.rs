//! The two inner loops, copy and reduce, over raw memory.
//!
//! Operands may be the very memory of a destination, so each way of coinciding has a loop of its own over slices that
//! do not overlap: that keeps the references legal and lets every loop vectorise.

use crate::collective::Op;
use crate::element::Element;

/// `to` becomes `from`.
///
/// # Safety
/// Both are valid for `len` elements, and either the same or disjoint. Until the call returns nobody else accesses
/// `to` or writes `from`.
pub(super) unsafe fn copy<T: Element>(to: *mut T, from: *const T, len: usize) {
    if !std::ptr::eq(to, from) {
        // SAFETY: valid and disjoint by the contract.
        unsafe { std::ptr::copy_nonoverlapping(from, to, len) };
    }
}

/// `to` becomes `a op b`.
///
/// # Safety
/// All are valid for `len` elements; `to` is either the same as or disjoint from each of `a` and `b`. Until the call
/// returns nobody else accesses `to` or writes `a` or `b`.
pub(super) unsafe fn reduce<T: Element>(op: Op, to: *mut T, a: *const T, b: *const T, len: usize) {
    // One loop an operation, so that no loop has a branch in it.
    // SAFETY: handed on.
    unsafe {
        match op {
            Op::Sum => combine(to, a, b, len, |a, b| T::combine(Op::Sum, a, b)),
        }
    }
}

/// # Safety
/// That of [`reduce`].
#[inline(always)]
unsafe fn combine<T: Element>(to: *mut T, a: *const T, b: *const T, len: usize, f: impl Fn(T, T) -> T) {
    // SAFETY: by the contract `to` is exclusive for the call and valid, as are the others for reading. A slice of an
    // operand is formed only where it differs from `to`, and then it is disjoint from it.
    unsafe {
        let out = std::slice::from_raw_parts_mut(to, len);
        match (std::ptr::eq(to, a), std::ptr::eq(to, b)) {
            (false, false) => {
                let (a, b) = (std::slice::from_raw_parts(a, len), std::slice::from_raw_parts(b, len));
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    *out = f(a, b);
                }
            }
            (true, false) => {
                for (out, &b) in out.iter_mut().zip(std::slice::from_raw_parts(b, len)) {
                    *out = f(*out, b);
                }
            }
            (false, true) => {
                for (out, &a) in out.iter_mut().zip(std::slice::from_raw_parts(a, len)) {
                    *out = f(a, *out);
                }
            }
            (true, true) => out.iter_mut().for_each(|out| *out = f(*out, *out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_may_be_operands() {
        const N: usize = 37;
        let start: Vec<f32> = (0..3 * N as u32).map(|i| 1.0 + i as f32).collect();
        for to in 0..3 {
            for a in 0..3 {
                for b in 0..3 {
                    let mut memory = start.clone();
                    let base = memory.as_mut_ptr();
                    // SAFETY: three disjoint runs of N elements; `to` is one of them, as are the operands.
                    unsafe { reduce(Op::Sum, base.add(to * N), base.add(a * N), base.add(b * N), N) };
                    for i in 0..N {
                        assert_eq!(memory[to * N + i], start[a * N + i] + start[b * N + i], "{to} {a} {b}");
                    }
                    // SAFETY: as above.
                    unsafe { copy(memory.as_mut_ptr().add(to * N), memory.as_ptr().add(a * N), N) };
                    assert_eq!(memory[to * N], memory[a * N]);
                }
            }
        }
    }
}
