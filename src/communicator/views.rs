//! Typed slices as bytes.
//!
//! Small calls take less time than an allocation does, so the lists of a few ranks live on the stack.

use smallvec::SmallVec;

use crate::element::Element;

/// Ranks up to which a list of slices needs no allocation.
const FEW: usize = 8;

pub(super) fn bytes_of<'a, T: Element>(slices: &[&'a [T]]) -> SmallVec<[&'a [u8]; FEW]> {
    slices.iter().map(|slice| bytemuck::cast_slice(slice)).collect()
}

pub(super) fn bytes_of_mut<'a, T: Element>(slices: &'a mut [&mut [T]]) -> SmallVec<[&'a mut [u8]; FEW]> {
    slices.iter_mut().map(|slice| bytemuck::cast_slice_mut(slice)).collect()
}
