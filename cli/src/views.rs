//! Vectors as slices, elements as bytes, times as numbers: what every command needs to talk to an executor.

use std::time::Duration;

use wgccl::element::Element;

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn views<T>(vectors: &[Vec<T>]) -> Vec<&[T]> {
    vectors.iter().map(Vec::as_slice).collect()
}

/// As [`views`], from `unalign` elements on.
pub(crate) fn views_from<T>(vectors: &[Vec<T>], unalign: usize) -> Vec<&[T]> {
    vectors.iter().map(|vector| &vector[unalign..]).collect()
}

/// Elements as bytes.
pub fn bytes<'a, T: Element>(slices: &[&'a [T]]) -> Vec<&'a [u8]> {
    slices.iter().map(|slice| bytemuck::cast_slice(slice)).collect()
}

/// Bytes of what begins `unalign` elements into each vector.
pub fn bytes_mut<T: Element>(vectors: &mut [Vec<T>], unalign: usize) -> Vec<&mut [u8]> {
    vectors.iter_mut().map(|vector| bytemuck::cast_slice_mut(&mut vector[unalign..])).collect()
}

/// The host's buffers of launches that are timed.
pub struct Host<'a> {
    /// None in place.
    inputs: Option<Vec<&'a [u8]>>,
    /// Outputs, or in place buffers.
    outputs: Vec<&'a mut [u8]>,
}

impl<'a> Host<'a> {
    /// Inputs, unless it is in place, and outputs or buffers.
    pub(crate) fn new(inputs: Option<Vec<&'a [u8]>>, outputs: Vec<&'a mut [u8]>) -> Self {
        Self { inputs, outputs }
    }

    /// What a launch starts from: inputs, or in place buffers.
    pub(crate) fn given(&self) -> Vec<&[u8]> {
        match &self.inputs {
            Some(inputs) => inputs.clone(),
            None => self.outputs.iter().map(|buffer| &**buffer).collect(),
        }
    }

    /// Inputs, unless it is in place, and outputs or buffers.
    pub(crate) fn both(&mut self) -> (Option<&[&'a [u8]]>, &mut [&'a mut [u8]]) {
        (self.inputs.as_deref(), &mut self.outputs)
    }
}
