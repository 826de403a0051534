//! Several devices that share the ranks of one launch.
//!
//! To a command they are one device; what each of them did is told beside it.

use std::sync::Arc;

use serde::Serialize;
use wgccl::backend::Member;
use wgccl::cpu::Cpu;
use wgccl::gpu::Gpu;
use wgccl::low_level::payload::Payload;
use wgccl::lower::{Link, Mode};
use wgccl::placed::{self, Placed};
use wgccl::schedule::Placement;

use super::description::{Description, SEVERAL};
use crate::error::Error;

/// What stands between devices that share the ranks, as in `0+cpu`.
pub(crate) const AND: char = '+';

/// Several devices, each open.
#[derive(Debug)]
pub struct Several {
    placed: Placed,
    parts: Vec<Description>,
}

/// What one of them does.
#[derive(Debug, Clone, Serialize)]
pub struct Share {
    /// Its name.
    pub device: String,
    /// Its backend.
    pub backend: String,
    /// Which ranks it has, as `--place` would say it.
    pub ranks: Vec<u32>,
    /// Dispatch mode, on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatch: Option<Mode>,
    /// Independent slices.
    pub channels: u32,
    /// Bytes of device memory, on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_bytes: Option<u64>,
}

/// How a launch went over several devices.
#[derive(Debug, Clone, Serialize)]
pub struct Shares {
    /// Times that devices exchange messages, and one more.
    pub epochs: u32,
    /// What each device does.
    pub devices: Vec<Share>,
    /// What moves between them in a launch.
    pub links: Vec<Link>,
}

impl Several {
    /// Of the CPU executor, and of GPUs, with their descriptions.
    pub(super) fn new(of: Vec<(Either, Description)>) -> Self {
        let (members, parts) = of.into_iter().map(|(member, part)| (member.into(), part)).unzip();
        Self { placed: Placed::new(members), parts }
    }

    /// With ranks so.
    pub(crate) fn place(self, placement: &Placement) -> Result<Self, Error> {
        let (named, there) = (placement.devices(), self.parts.len());
        if named as usize > there {
            let list: Vec<String> = (0..).zip(&self.parts).map(|(i, part)| format!("{i} {}", part.name)).collect();
            return Err(Error::Usage(format!(
                "--place names {named} devices, and there are {there}: {}; number them as --device lists them",
                list.join(", ")
            )));
        }
        Ok(Self { placed: self.placed.placement(placement.clone()), ..self })
    }

    /// The backend.
    pub(crate) fn placed(&self) -> &Placed {
        &self.placed
    }

    /// Each of them.
    pub(crate) fn parts(&self) -> &[Description] {
        &self.parts
    }

    /// All of them as one.
    pub(super) fn describe(&self) -> Description {
        let names: Vec<&str> = self.parts.iter().map(|part| part.name.as_str()).collect();
        Description {
            index: None,
            name: names.join(" + "),
            backend: SEVERAL.to_owned(),
            kind: SEVERAL.to_owned(),
            driver: None,
            threads: None,
            pci: None,
            processes: Vec::new(),
        }
    }

    /// How `ready`, which it prepared, goes over them.
    pub(crate) fn shares(&self, ready: &placed::Ready, payload: &Payload) -> Shares {
        let split = ready.split();
        let devices = (0..).zip(ready.parts()).zip(&self.parts).map(|((device, (_, prepared)), part)| Share {
            device: part.name.clone(),
            backend: part.backend.clone(),
            ranks: split.placement().ranks_of(device).collect(),
            dispatch: prepared.dispatch.map(|(mode, _)| mode),
            channels: prepared.channels,
            device_bytes: prepared.device_bytes,
        });
        Shares { epochs: split.epochs(), devices: devices.collect(), links: split.links(payload) }
    }
}

/// What a device among several may be.
pub(super) enum Either {
    Cpu(Cpu),
    Gpu(Box<Gpu>),
}

impl From<Either> for Arc<dyn Member> {
    fn from(either: Either) -> Self {
        match either {
            Either::Cpu(cpu) => Arc::new(cpu),
            Either::Gpu(gpu) => Arc::from(gpu as Box<dyn Member>),
        }
    }
}
