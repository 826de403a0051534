//! A plain copy by the executor's own inner loop.
//!
//! Benchmarks hold bandwidths against it, so it must store as the executor does.

use super::kernel::{self, Reduction};
use crate::collective::Op;
use crate::element::Element;

/// Copies past the caches: what memory does for results that are larger than these.
pub fn copy_past<T: Element>(from: &[T], to: &mut [T]) {
    let len = from.len().min(to.len());
    let how = Reduction::new(Op::Sum, 1);
    // SAFETY: both are valid for `len` elements, and the borrows keep them apart until the stream has ended.
    unsafe { kernel::fold(how, &[to.as_mut_ptr()], &[from.as_ptr()], 0, len, kernel::Store::Past) };
    kernel::stream_end();
}
