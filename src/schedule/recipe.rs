//! Choose an algorithm, then build its schedule: the one place where both happen.
//!
//! Communicators, program and benchmarks all start from what a user said; they must not differ in what they make of it.

use super::algorithms::draft_in_groups;
use super::{Algorithm, BuildError, DeviceKind, Draft, Groups, Schedule, Selection, SyncStyle};
use crate::collective::Task;

/// All that decides which schedule a collective runs by.
///
/// ```
/// use wgccl::collective::Collective;
/// use wgccl::schedule::{DeviceKind, Recipe};
///
/// let schedule = Recipe::new(Collective::AllReduce, 4).part_bytes(1 << 20).device(DeviceKind::Gpu).build()?;
/// assert_eq!(schedule.origin.name(), "direct");
/// # Ok::<(), wgccl::schedule::BuildError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipe {
    /// What is computed.
    pub task: Task,
    /// Participants.
    pub ranks: u32,
    /// The algorithm, or `auto`.
    pub algorithm: Selection,
    /// Who waits for whom between rounds.
    pub sync: SyncStyle,
    /// Groups of ranks, of an algorithm that [has any](Algorithm::has_groups); [`Groups::usual`] if there are none.
    pub groups: Option<Groups>,
    /// Ranks that share a device, where there are several: `auto` then takes an algorithm that has groups where there is one, and such
    /// an algorithm takes these groups where [`groups`](Self::groups) are not given.
    pub placed: Option<Groups>,
    /// Bytes of a part of the payload; only `auto` looks at them.
    pub part_bytes: u64,
    /// What is to execute it; only `auto` looks at that.
    pub device: DeviceKind,
}

impl Recipe {
    /// By the algorithm that is presumed to be the fastest for small payloads on the CPU executor.
    pub fn new(task: impl Into<Task>, ranks: u32) -> Self {
        let (algorithm, sync) = (Selection::Auto, SyncStyle::default());
        Self {
            task: task.into(),
            ranks,
            algorithm,
            sync,
            groups: None,
            placed: None,
            part_bytes: 0,
            device: DeviceKind::Cpu,
        }
    }

    /// Names the algorithm, or leaves it to the table.
    #[must_use]
    pub fn algorithm(mut self, algorithm: impl Into<Selection>) -> Self {
        self.algorithm = algorithm.into();
        self
    }

    /// Sets who waits for whom between rounds.
    #[must_use]
    pub fn sync(mut self, sync: SyncStyle) -> Self {
        self.sync = sync;
        self
    }

    /// Sets the groups of ranks.
    #[must_use]
    pub fn groups(mut self, groups: impl Into<Option<Groups>>) -> Self {
        self.groups = groups.into();
        self
    }

    /// Sets which ranks share a device. One group is as good as none.
    #[must_use]
    pub fn placed(mut self, groups: impl Into<Option<Groups>>) -> Self {
        self.placed = groups.into().filter(|groups: &Groups| groups.count() > 1);
        self
    }

    /// Sets the bytes of a part of the payload.
    #[must_use]
    pub fn part_bytes(mut self, bytes: u64) -> Self {
        self.part_bytes = bytes;
        self
    }

    /// Sets what is to execute it.
    #[must_use]
    pub fn device(mut self, device: DeviceKind) -> Self {
        self.device = device;
        self
    }

    /// Builds the schedule.
    ///
    /// # Errors
    /// [`BuildError`] where the algorithm is not defined for that task or number of ranks.
    pub fn build(&self) -> Result<Schedule, BuildError> {
        self.draft()?.build()
    }

    /// The algorithm: the one that was named, or the one that `auto` takes.
    pub fn chosen(&self) -> Algorithm {
        let collective = self.task.collective;
        match &self.placed {
            Some(groups) if self.algorithm.is_auto() => {
                Algorithm::choose_placed(collective, groups, self.part_bytes, self.device)
            }
            _ => self.algorithm.algorithm(collective, self.ranks, self.part_bytes, self.device),
        }
    }

    /// As [`build`](Self::build), but for its lanes, which are made when they are asked for.
    ///
    /// # Errors
    /// [`BuildError`] where the algorithm is not defined for that task or number of ranks.
    pub fn draft(&self) -> Result<Draft, BuildError> {
        let algorithm = self.chosen();
        let placed = self.placed.as_ref().filter(|_| algorithm.has_groups());
        let groups = self.groups.as_ref().or(placed).cloned();
        draft_in_groups(self.task.clone(), algorithm, self.ranks, self.sync, groups)
    }
}
