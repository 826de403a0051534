//! Several devices as one backend: a schedule is proved whole, then split, and every device carries out its part.
//!
//! Devices need not be alike, nor share memory: what one needs of another goes through the host, between dispatches.
//!
//! ```
//! use std::sync::Arc;
//! use wgccl::Communicator;
//! use wgccl::collective::Op;
//! use wgccl::cpu::Cpu;
//! use wgccl::placed::Placed;
//!
//! // Two devices, of two ranks each.
//! let comm = Communicator::new(Placed::new(vec![Arc::new(Cpu::new()), Arc::new(Cpu::new())]), 4);
//! let mut outputs = [[0.0; 2]; 4];
//! let mut outputs: Vec<&mut [f64]> = outputs.iter_mut().map(|output| &mut output[..]).collect();
//! comm.all_reduce(&[&[1.0, 2.0], &[3.0, 4.0], &[5.0, 6.0], &[7.0, 8.0]], &mut outputs, Op::Sum)?;
//! assert!(outputs.iter().all(|output| *output == [16.0, 20.0]));
//! # Ok::<(), wgccl::error::Error>(())
//! ```

mod launch;
mod mail;
mod ready;

use std::fmt;
use std::sync::Arc;

use crate::backend::{Backend, DEFAULT_TIMEOUT, Member, Options, SEVERAL, Shape, pieces, split};
use crate::cores::cores;
use crate::error::PrepareError;
use crate::proof::Proved;
use crate::schedule::{DeviceKind, Groups, Placement};
pub use ready::Ready;

/// Several devices. Ranks are spread over them in blocks, unless a placement says otherwise.
pub struct Placed {
    members: Vec<Arc<dyn Member>>,
    placement: Option<Placement>,
}

impl Placed {
    /// Of these devices, numbered in this order.
    pub fn new(members: Vec<Arc<dyn Member>>) -> Self {
        Self { members, placement: None }
    }

    /// Places ranks so.
    #[must_use]
    pub fn placement(mut self, placement: impl Into<Option<Placement>>) -> Self {
        self.placement = placement.into();
        self
    }

    /// The devices.
    pub fn members(&self) -> &[Arc<dyn Member>] {
        &self.members
    }

    /// Where `ranks` ranks live.
    pub fn placement_of(&self, ranks: u32) -> Placement {
        self.placement.clone().unwrap_or_else(|| Placement::even(ranks, self.members.len() as u32))
    }

    /// Those for one of them. CPU executors share the cores: with threads for all of them each, they would wait for each other's.
    fn options(&self, member: &dyn Member, options: &Options) -> Options {
        let options = options.of_kind(member.kind());
        let sharing = self.members.iter().filter(|member| member.kind() == DeviceKind::Cpu).count();
        match member.kind() {
            DeviceKind::Cpu if sharing > 1 && options.workers.is_none() => options.workers((cores() / sharing).max(1)),
            _ => options,
        }
    }
}

impl Backend for Placed {
    type Ready = Ready;

    /// The kind that most ranks would run on if nobody said where: that of the first device.
    fn kind(&self) -> DeviceKind {
        self.members.first().map_or(DeviceKind::Cpu, |member| member.kind())
    }

    fn groups(&self, ranks: u32) -> Option<Groups> {
        // Of a placement of other ranks the split will tell.
        Some(self.placement_of(ranks)).filter(|placement| placement.ranks() == ranks)?.groups()
    }

    fn admit(&self, ranks: u32, options: &Options) -> Result<(), PrepareError> {
        if options.trace {
            return Err(PrepareError::NoSuchOption { executor: SEVERAL, option: "trace" });
        }
        match (self.placement_of(ranks).devices(), self.members.len()) {
            (placement, devices) if placement as usize > devices => Err(PrepareError::Devices { placement, devices }),
            _ => Ok(()),
        }
    }

    fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Ready, PrepareError> {
        self.admit(proved.schedule().ranks, options)?;
        let placement = self.placement_of(proved.schedule().ranks);
        let split = split(proved, &placement, shape)?;
        let members = || self.members.iter().zip(split.parts());
        let most = members().map(|(member, part)| member.most_vectors(part, shape, &self.options(&**member, options)));
        let most = most.collect::<Result<Vec<_>, _>>()?.into_iter().min().unwrap_or(usize::MAX);
        let pieced = pieces(proved, shape, most)?;
        let shares = members().map(|(member, part)| {
            let share = member.prepare_part(part, shape, pieced, &self.options(&**member, options))?;
            Ok((member.name(), share))
        });
        let shares = shares.collect::<Result<Vec<_>, PrepareError>>()?;
        Ok(Ready::new(split, pieced, shares, options.timeout.unwrap_or(DEFAULT_TIMEOUT)))
    }
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.members.iter().map(|member| member.name()).collect();
        f.debug_struct("Placed").field("members", &names).field("placement", &self.placement).finish()
    }
}
