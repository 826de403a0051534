//! Which devices there are, what each is called, and which dispatch modes are sound on it and why.
//!
//! The judgement is by what naga emits for a backend and what that backend's memory model then promises; see
//! `shaders/README.md`. A mode that is not sound is never chosen and is refused when named.

use serde::Serialize;

use super::blocking::block_on;
use crate::element::DataType;
use crate::lower::mode::{Mode, Protocol};
use crate::lower::{Arithmetic, DeviceClass, Limits, Target, Unsound, arithmetic};
use crate::schedule::DeviceKind;

/// An adapter that wgpu found.
pub struct Adapter {
    pub(super) adapter: wgpu::Adapter,
    info: AdapterInfo,
}

/// What is known of an adapter without opening it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// What `--device` takes. Adapters are sorted best first.
    pub index: usize,
    /// As the driver says.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: &'static str,
    /// What kind of device it is.
    #[serde(rename = "type")]
    pub class: DeviceClass,
    /// Driver and version.
    pub driver: String,
    /// Vendor and device on the PCI bus, as `10de:2335`, where the driver says it.
    pub pci: Option<String>,
    /// The limits that decide about sizes.
    pub limits: AdapterLimits,
    /// Sound dispatch modes of the default protocol, by name.
    pub dispatch_modes: Vec<Mode>,
    /// Modes that are refused, with the reason.
    pub refused_modes: Vec<Refusal>,
    /// Protocols that have any sound mode.
    pub protocols: Vec<Protocol>,
    /// Element types, and how each is computed.
    pub types: Vec<TypeSupport>,
    /// What packages are lowered for.
    #[serde(skip)]
    pub target: Target,
}

/// How a device computes an element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypeSupport {
    /// The type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// How the device computes it.
    pub arithmetic: Arithmetic,
}

/// Every type on a device.
pub fn types(how: impl Fn(DataType) -> Arithmetic) -> Vec<TypeSupport> {
    DataType::ALL.iter().map(|&data_type| TypeSupport { data_type, arithmetic: how(data_type) }).collect()
}

/// A dispatch mode that would be wrong on an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The mode.
    pub mode: Mode,
    /// The reason.
    pub reason: String,
}

/// Limits of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdapterLimits {
    /// Ranks that share the device, at most.
    pub max_ranks: u32,
    /// Largest storage range that a shader can see, in bytes. Larger payloads go in pieces.
    pub max_binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Invocations of a workgroup.
    pub max_workgroup_invocations: u32,
    /// Workgroups of a dispatch, in one dimension.
    pub max_workgroups: u32,
}

/// No adapter fits what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// Nothing has that index or name.
    #[error("there is no device '{wanted}'; choose one of:\n{known}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// The devices, a line each.
        known: String,
    },
    /// Several different devices have that name.
    #[error("several devices are called '{wanted}'; choose one by its index:\n{known}")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// The devices, a line each.
        known: String,
    },
}

/// All adapters that drivers on this machine offer, best first. Obeys `WGPU_BACKEND`. None in a browser, where nobody may wait
/// for the answer: there a program requests a device itself.
pub fn adapters() -> Vec<Adapter> {
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    let backends = descriptor.backends - wgpu::Backends::NOOP;
    let instance = wgpu::Instance::new(descriptor);
    let mut found = block_on(instance.enumerate_adapters(backends)).unwrap_or_default();
    found.retain(|adapter| adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    found.sort_by_cached_key(|adapter| preference(&adapter.get_info()));
    found.into_iter().enumerate().map(|(index, adapter)| Adapter::new(index, adapter)).collect()
}

/// Hardware before software; then backends by how much of the executor is sound on them.
fn preference(info: &wgpu::AdapterInfo) -> (u8, u8, String, String) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    let backend = match info.backend {
        wgpu::Backend::Vulkan | wgpu::Backend::Metal => 0,
        wgpu::Backend::Dx12 => 1,
        wgpu::Backend::Gl => 2,
        wgpu::Backend::BrowserWebGpu | wgpu::Backend::Noop => 3,
    };
    (kind, backend, info.name.to_lowercase(), info.driver_info.clone())
}

/// What a device with these features and limits can do.
pub(super) fn describe(
    index: usize,
    info: wgpu::AdapterInfo,
    limits: &wgpu::Limits,
    features: wgpu::Features,
) -> AdapterInfo {
    let class = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceClass::Discrete,
        wgpu::DeviceType::IntegratedGpu => DeviceClass::Integrated,
        wgpu::DeviceType::VirtualGpu => DeviceClass::Virtual,
        wgpu::DeviceType::Cpu => DeviceClass::Software,
        wgpu::DeviceType::Other => DeviceClass::Other,
    };
    let target = Target::new(
        class,
        Limits::new(
            limits.max_storage_buffer_binding_size,
            limits.max_buffer_size,
            limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            limits.max_compute_workgroups_per_dimension,
        ),
        unordered(info.backend, features),
    );
    // Where the two differ, nothing is said.
    let subgroup = (info.subgroup_min_size == info.subgroup_max_size).then_some(info.subgroup_min_size);
    let target = target.subgroup(subgroup);
    let (mut dispatch_modes, mut refused_modes) = (Vec::new(), Vec::new());
    for &mode in Mode::ALL {
        match target.support(mode, Protocol::default()) {
            Ok(()) => dispatch_modes.push(mode),
            Err(reason) => refused_modes.push(Refusal { mode, reason: reason.to_string() }),
        }
    }
    let any = |protocol: &&Protocol| Mode::ALL.iter().any(|&mode| target.support(mode, **protocol).is_ok());
    AdapterInfo {
        index,
        name: info.name,
        backend: backend_name(info.backend),
        class,
        pci: pci(info.vendor, info.device),
        driver: [info.driver, info.driver_info].join(" ").trim().to_owned(),
        limits: AdapterLimits {
            max_ranks: MAX_RANKS,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
        },
        dispatch_modes,
        refused_modes,
        protocols: Protocol::ALL.iter().filter(any).copied().collect(),
        types: types(arithmetic),
        target,
    }
}

/// Interfaces without PCI ids say 0, and vendors without one have numbers beyond 16 bits.
fn pci(vendor: u32, device: u32) -> Option<String> {
    let is_id = |id| (1..=0xffff).contains(&id);
    (is_id(vendor) && is_id(device)).then(|| format!("{vendor:04x}:{device:04x}"))
}

/// Most ranks on a GPU.
pub const MAX_RANKS: u32 = 256;

fn backend_name(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "vulkan",
        wgpu::Backend::Metal => "metal",
        wgpu::Backend::Dx12 => "dx12",
        wgpu::Backend::Gl => "gl",
        wgpu::Backend::BrowserWebGpu => "webgpu",
        wgpu::Backend::Noop => "noop",
    }
}

/// Why a notify may overtake the data that it announces to another workgroup, by what naga emits and what the interface then
/// promises.
fn unordered(backend: wgpu::Backend, features: wgpu::Features) -> Option<&'static str> {
    match backend {
        wgpu::Backend::Vulkan | wgpu::Backend::Dx12 => {
            let coherent = features.contains(wgpu::Features::MEMORY_DECORATION_COHERENT);
            (!coherent).then_some("this device has no coherent memory across workgroups")
        }
        wgpu::Backend::Metal => {
            Some("on Metal a barrier orders memory within a threadgroup only, so a notify may overtake the data")
        }
        wgpu::Backend::Gl => {
            Some("OpenGL does not say how atomics and coherent memory order each other across workgroups")
        }
        wgpu::Backend::BrowserWebGpu | wgpu::Backend::Noop => {
            Some("WGSL barriers order memory within a workgroup only")
        }
    }
}

impl Adapter {
    fn new(index: usize, adapter: wgpu::Adapter) -> Self {
        let info = describe(index, adapter.get_info(), &adapter.limits(), adapter.features());
        Self { adapter, info }
    }

    /// What is known of it.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }
}

impl AdapterInfo {
    /// Name and backend, for one line.
    pub fn title(&self) -> String {
        format!("{} ({}, {})", self.name, self.backend, self.class)
    }

    /// Whether all instructions of all workgroups run on processor cores.
    pub fn is_software(&self) -> bool {
        self.class.is_software()
    }

    /// What [`Algorithm::choose`](crate::schedule::Algorithm::choose) asks for.
    pub fn device_kind(&self) -> DeviceKind {
        self.class.kind()
    }

    /// Whether `mode` may be used with `protocol`.
    ///
    /// # Errors
    /// Why not.
    pub fn support(&self, mode: Mode, protocol: Protocol) -> Result<(), Unsound> {
        self.target.support(mode, protocol)
    }

    /// Whether every word of `wanted` occurs in the name, backend, type or driver.
    fn matches(&self, wanted: &str) -> bool {
        let text = format!("{} {} {} {}", self.name, self.backend, self.class, self.driver).to_lowercase();
        let mut words = wanted.split_whitespace().peekable();
        words.peek().is_some() && words.all(|word| text.contains(&word.to_lowercase()))
    }
}

/// The adapter with that index, or the best one whose name, backend, type and driver contain every word of `wanted`.
///
/// # Errors
/// [`SelectError`], which lists what there is.
pub fn select<'a>(adapters: &'a [Adapter], wanted: &str) -> Result<&'a Adapter, SelectError> {
    let infos: Vec<&AdapterInfo> = adapters.iter().map(Adapter::info).collect();
    select_index(&infos, wanted).map(|index| &adapters[index])
}

fn select_index(infos: &[&AdapterInfo], wanted: &str) -> Result<usize, SelectError> {
    let list = |which: &mut dyn Iterator<Item = usize>| -> String {
        which.map(|i| format!("  {i}  {}", infos[i].title())).collect::<Vec<_>>().join("\n")
    };
    if let Ok(index) = wanted.parse::<usize>()
        && index < infos.len()
    {
        return Ok(index);
    }
    let matching: Vec<usize> = (0..infos.len()).filter(|&i| infos[i].matches(wanted)).collect();
    match matching[..] {
        // One device under several backends is no ambiguity: the best backend comes first.
        [first, ..] if matching.iter().all(|&i| infos[i].name == infos[first].name) => Ok(first),
        [] => {
            let known = format!("{}\n  cpu  the CPU executor", list(&mut (0..infos.len())));
            Err(SelectError::Unknown { wanted: wanted.to_owned(), known: known.trim_start_matches('\n').to_owned() })
        }
        _ => Err(SelectError::Ambiguous { wanted: wanted.to_owned(), known: list(&mut matching.into_iter()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(index: usize, name: &str, backend: &'static str) -> AdapterInfo {
        AdapterInfo {
            index,
            name: name.to_owned(),
            backend,
            class: DeviceClass::Discrete,
            driver: "driver 1.0".to_owned(),
            pci: None,
            limits: AdapterLimits {
                max_ranks: 0,
                max_binding_bytes: 0,
                max_buffer_bytes: 0,
                max_workgroup_invocations: 0,
                max_workgroups: 0,
            },
            dispatch_modes: Vec::new(),
            refused_modes: Vec::new(),
            protocols: Vec::new(),
            types: Vec::new(),
            target: Target::new(DeviceClass::Discrete, Limits::WEBGPU, None),
        }
    }

    #[test]
    fn ids_are_those_of_the_bus() {
        for (vendor, device, text) in [
            (0x10de, 0x2335, Some("10de:2335")),
            (0x5, 0x1, Some("0005:0001")),
            (0, 0, None),
            (0x8086, 0, None),
            // Mesa's, of a software device.
            (0x10005, 0, None),
        ] {
            assert_eq!(pci(vendor, device).as_deref(), text, "{vendor:x}");
        }
    }

    #[test]
    fn devices_are_found_by_index_and_by_words() {
        let infos = [info(0, "Alpha 100", "vulkan"), info(1, "Beta 200", "vulkan"), info(2, "Alpha 100", "gl")];
        let infos: Vec<&AdapterInfo> = infos.iter().collect();
        for (wanted, found) in [("0", 0), ("2", 2), ("alpha", 0), ("ALPHA gl", 2), ("gl", 2), ("beta", 1)] {
            assert_eq!(select_index(&infos, wanted), Ok(found), "{wanted}");
        }
        assert!(matches!(select_index(&infos, "vulkan"), Err(SelectError::Ambiguous { .. })));
        for wanted in ["3", "gamma", ""] {
            let error = select_index(&infos, wanted).unwrap_err().to_string();
            assert!(error.contains("Alpha 100") && error.contains("cpu"), "{error}");
        }
    }

    #[test]
    fn fused_is_sound_where_the_memory_model_says_so() {
        let coherent = wgpu::Features::MEMORY_DECORATION_COHERENT;
        for (backend, features, sound) in [
            (wgpu::Backend::Vulkan, coherent, true),
            (wgpu::Backend::Dx12, coherent, true),
            (wgpu::Backend::Vulkan, wgpu::Features::empty(), false),
            (wgpu::Backend::Metal, coherent, false),
            (wgpu::Backend::Gl, coherent, false),
            (wgpu::Backend::BrowserWebGpu, coherent, false),
        ] {
            let target = Target::new(DeviceClass::Discrete, Limits::WEBGPU, unordered(backend, features));
            for &mode in Mode::ALL {
                let stepped = mode != Mode::Fused;
                assert_eq!(target.support(mode, Protocol::Simple).is_ok(), stepped || sound, "{backend} {mode}");
                assert_eq!(target.support(mode, Protocol::Ll).is_ok(), !stepped, "{backend} {mode}");
            }
        }
    }
}
