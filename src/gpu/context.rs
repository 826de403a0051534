//! A device with what is kept for it: compiled kernels, and whether its clocks are up.
//!
//! Everything that launches holds one; what judges a device by launches stands above them.

use super::clock::Warmth;
use super::device::Device;
use super::kernels::Kernels;

/// What all launches on a device share.
pub(super) struct Context {
    pub(super) device: Device,
    pub(super) kernels: Kernels,
    pub(super) warmth: Warmth,
}

impl Context {
    pub(super) fn new(device: Device) -> Self {
        Self { device, kernels: Kernels::default(), warmth: Warmth::default() }
    }
}
