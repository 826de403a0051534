//! What a package is lowered for: a class of device, its limits, and what its interface promises about memory.
//!
//! Plain data, so that a package can be made for a device that is not there.

use super::error::Unsound;
use super::mode::{Mode, Protocol};
use crate::collective::named;
use crate::schedule::DeviceKind;

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceClass {
    /// A graphics card with memory of its own.
    Discrete,
    /// Graphics hardware that shares the host's memory.
    Integrated,
    /// A share of graphics hardware, given to a virtual machine.
    Virtual,
    /// A program that runs on processor cores, such as lavapipe, SwiftShader or WARP.
    Software,
    /// Nobody says.
    Other,
}

named!(DeviceClass, "device class", {
    Discrete => "discrete", Integrated => "integrated", Virtual => "virtual", Software => "software", Other => "other"
});

impl DeviceClass {
    /// Whether all instructions of all workgroups run on processor cores.
    pub fn is_software(self) -> bool {
        self == Self::Software
    }

    /// What [`Algorithm::choose`](crate::schedule::Algorithm::choose) asks for.
    pub fn kind(self) -> DeviceKind {
        if self.is_software() { DeviceKind::Software } else { DeviceKind::Gpu }
    }
}

/// The limits of a device that decide about sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest storage range that a shader can see, in bytes.
    pub binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Workgroups of a dispatch.
    pub workgroups: u32,
}

impl Limits {
    /// Those that WebGPU promises of every device.
    pub const WEBGPU: Self =
        Self { binding_bytes: 128 << 20, buffer_bytes: 256 << 20, invocations: 256, workgroups: 65_535 };

    /// Limits of a device.
    pub fn new(binding_bytes: u64, buffer_bytes: u64, invocations: u32, workgroups: u32) -> Self {
        Self { binding_bytes, buffer_bytes, invocations, workgroups }
    }
}

/// A device as lowering sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Its class.
    pub class: DeviceClass,
    /// Its limits.
    pub limits: Limits,
    /// Why a notify may overtake the data that it announces to another workgroup of the same dispatch, if it may.
    pub unordered: Option<&'static str>,
    /// Invocations of a subgroup, where they are of one size: those that run as one.
    pub subgroup: Option<u32>,
}

impl Target {
    /// A device on which notifies of one dispatch and the data that they announce are ordered, or not for that reason.
    pub fn new(class: DeviceClass, limits: Limits, unordered: Option<&'static str>) -> Self {
        Self { class, limits, unordered, subgroup: None }
    }

    /// Sets [`subgroup`](Self::subgroup).
    #[must_use]
    pub fn subgroup(self, subgroup: impl Into<Option<u32>>) -> Self {
        Self { subgroup: subgroup.into(), ..self }
    }

    /// The soundness table; `shaders/README.md` argues for every line of it.
    ///
    /// # Errors
    /// Why launches in this mode by this protocol may be wrong there.
    pub fn support(&self, mode: Mode, protocol: Protocol) -> Result<(), Unsound> {
        match (mode, protocol) {
            // Between two dispatches every interface puts a barrier.
            (Mode::PerRank | Mode::PerStep, Protocol::Simple) => Ok(()),
            (Mode::PerRank | Mode::PerStep, Protocol::Ll) => Err(Unsound::Stepped),
            (Mode::Fused, Protocol::Simple) => self.unordered.map_or(Ok(()), |reason| Err(Unsound::Device(reason))),
            // Lanes share nothing but relaxed atomics, and nothing orders two of them.
            (Mode::Fused, Protocol::Ll) => Ok(()),
        }
    }

    /// The mode for launches by `protocol` where a user names none: the only one, or fused where it is sound and
    /// `together` says that all workgroups run at the same time; else per-step.
    ///
    /// Per-rank never has fewer dispatches than per-step. In both, every wait is met by an *earlier* dispatch than the one it
    /// stands in, so numbers grow along every chain of program order and notify -> wait edges, and by one at every edge at
    /// least: the longest chain is a bound from below for both. Per-step gives every instruction the least number that
    /// these edges, and the turns of its lane, leave: what per-rank gives it satisfies the same conditions, and is not less.
    pub fn choose(&self, protocol: Protocol, together: impl FnOnce() -> bool) -> Mode {
        let stepped = self.support(Mode::PerStep, protocol).is_ok();
        // On cores the workgroups of a launch hardly ever run together: fused would step as well, and spin between.
        let fused = || !self.class.is_software() && self.support(Mode::Fused, protocol).is_ok() && together();
        if !stepped || fused() { Mode::Fused } else { Mode::PerStep }
    }
}
