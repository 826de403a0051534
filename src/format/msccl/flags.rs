//! Which step's flag ends a wait: the first that is published from the awaited one on.
//!
//! Looked up and not searched for: a thread block may be thousands of steps long, and each may wait.

use super::file::{Gpu, Kind, Step};

/// The published steps of a gpu, by thread block and in order.
pub(in crate::format) struct Flags<'a>(Vec<Vec<&'a Step>>);

impl<'a> Flags<'a> {
    pub(in crate::format) fn of(gpu: &'a Gpu) -> Self {
        Self(gpu.blocks.iter().map(|block| block.steps.iter().filter(|step| published(step)).collect()).collect())
    }

    /// The step that ends a wait for step `after` of block `other`. Numbers of steps must grow.
    pub(in crate::format) fn ends(&self, other: u32, after: u32) -> Option<&'a Step> {
        let steps = self.0.get(other as usize)?;
        steps.get(steps.partition_point(|step| step.number < after)).copied()
    }
}

/// Runtimes lose the flag of a nop.
pub(super) fn published(step: &Step) -> bool {
    step.published && step.kind != Kind::Nop
}
