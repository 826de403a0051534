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
use std::time::Duration;

use crate::backend::{Backend, Member, Options, Shape, Spread};
use crate::collective::Op;
use crate::error::PrepareError;
use crate::lower::{Pieced, Split};
use crate::proof::Proved;
use crate::schedule::{DeviceKind, Groups, Placement};
pub use ready::Ready;

/// How long a device waits for a message of another if nobody says how long.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
}

impl Backend for Placed {
    type Ready = Ready;

    /// The kind that most ranks would run on if nobody said where: that of the first device.
    fn kind(&self) -> DeviceKind {
        self.members.first().map_or(DeviceKind::Cpu, |member| member.kind())
    }

    fn groups(&self, ranks: u32) -> Option<Groups> {
        self.placement_of(ranks).groups()
    }

    fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Ready, PrepareError> {
        if proved.is_part() {
            return Err(PrepareError::Part);
        }
        let schedule = proved.schedule();
        let placement = self.placement_of(schedule.ranks);
        if placement.devices() as usize > self.members.len() {
            let (placement, devices) = (placement.devices(), self.members.len());
            return Err(PrepareError::Devices { placement, devices });
        }
        if schedule.task.collective.op(shape.op).over(schedule.ranks) == Op::Avg {
            proved.scalable()?;
        }
        let split = Split::new(proved, &placement)?;
        let members = || self.members.iter().zip(split.parts());
        let most =
            members().map(|(member, part)| member.most_vectors(part, shape, &options_for(member.kind(), options)));
        let most = most.collect::<Result<Vec<_>, _>>()?.into_iter().min().unwrap_or(usize::MAX);
        let pieced = Pieced::new(proved.payload(shape.count, shape.data_type)?, pieces(most));
        let shares = members().map(|(member, part)| {
            let share = member.prepare_part(part, shape, pieced, &options_for(member.kind(), options))?;
            Ok((member.name(), share))
        });
        let shares = shares.collect::<Result<Vec<_>, PrepareError>>()?;
        Ok(Ready::new(split, pieced, shares, options.timeout.unwrap_or(PATIENCE)))
    }
}

/// Vectors of a chunk in a piece, of at most `most`: a round number where that is many, so that cores have slices that divide it.
fn pieces(most: usize) -> usize {
    if most > ROUND { most / ROUND * ROUND } else { most }
}

/// 32 KiB.
const ROUND: usize = 1 << 11;

/// What each kind of device has of these.
fn options_for(kind: DeviceKind, options: &Options) -> Options {
    match kind {
        DeviceKind::Cpu => Options {
            dispatch: None,
            protocol: Default::default(),
            arena_bytes: None,
            workgroups: None,
            timeout: None,
            ..*options
        },
        _ => Options { workers: None, spread: Spread::Auto, ..*options },
    }
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.members.iter().map(|member| member.name()).collect();
        f.debug_struct("Placed").field("members", &names).field("placement", &self.placement).finish()
    }
}
