//! A device in words, as tables, records and pictures tell of it.
//!
//! Apart from devices, because records are read where there are none.

use serde::{Deserialize, Serialize};
use wgccl::schedule::DeviceKind;

/// The device that is always there.
pub const CPU: &str = "cpu";
/// The backend, and the kind of device, of several.
pub(crate) const SEVERAL: &str = "several";
/// The same of the devices of several processes.
pub(crate) const MPI: &str = "mpi";

/// A device in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// What `--device` takes; `None` is the CPU executor.
    pub index: Option<usize>,
    /// As the driver says.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, `gl` or `cpu`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software`, `other` or `cpu`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Driver and version.
    pub driver: Option<String>,
    /// Threads of the CPU executor.
    pub threads: Option<usize>,
    /// Vendor and device on the PCI bus, as `10de:2335`, where a driver says it.
    #[serde(default)]
    pub pci: Option<String>,
    /// Of the devices of several processes: each of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
}

/// One of several processes, and its device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// As the system of its host numbers it.
    pub pid: u32,
    /// Where it runs.
    pub host: String,
    /// What `--device` takes there; `None` is the CPU executor.
    pub index: Option<usize>,
    /// As the driver says.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, `gl` or `cpu`.
    pub backend: String,
}

impl Description {
    /// The kind of device that it is to [`Algorithm::choose`](wgccl::schedule::Algorithm::choose).
    pub fn device_kind(&self) -> DeviceKind {
        match self.kind.as_str() {
            CPU => DeviceKind::Cpu,
            "software" => DeviceKind::Software,
            _ => DeviceKind::Gpu,
        }
    }
}
