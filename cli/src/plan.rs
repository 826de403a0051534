//! Which schedule a command is about: a built-in one, by its recipe, or that of a file.
//!
//! Commands differ in what they do with a schedule and not in where it comes from.

use std::sync::Arc;

use wgccl::backend::Backend;
use wgccl::collective::{Collective, Task};
use wgccl::schedule::{DeviceKind, Draft, Granularity, Groups, Recipe, Schedule, Selection, SyncStyle};

use crate::error::Error;
use crate::file::Loaded;

/// Groups of ranks, of how many ranks there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// So many, as even as can be.
    Number(u32),
    /// Of these sizes.
    Sizes(Groups),
}

impl Grouping {
    /// Those of so many ranks.
    fn of(&self, ranks: u32) -> Result<Groups, Error> {
        match self {
            Self::Number(count) if *count > ranks => Err(Error::Usage(format!(
                "--groups says {count} groups, and there are {ranks} ranks; give at most {ranks}"
            ))),
            Self::Number(count) => Ok(Groups::even(ranks, *count)),
            Self::Sizes(groups) => Ok(groups.clone()),
        }
    }
}

/// Where a schedule comes from.
#[derive(Debug, Clone)]
pub enum Plan {
    /// An algorithm of the library.
    Builtin {
        /// What is computed.
        task: Task,
        /// The algorithm, or `auto`.
        algorithm: Selection,
        /// Who waits for whom.
        sync: SyncStyle,
        /// Groups of ranks, if somebody said some.
        groups: Option<Grouping>,
    },
    /// A file that has been read.
    File(Arc<Loaded>),
}

impl Plan {
    /// What is computed.
    pub fn task(&self) -> &Task {
        match self {
            Self::Builtin { task, .. } => task,
            Self::File(loaded) => &loaded.schedule.task,
        }
    }

    /// What is computed, without its root.
    pub fn collective(&self) -> Collective {
        self.task().collective
    }

    /// Ranks, of a file.
    pub fn ranks(&self) -> Option<u32> {
        self.file().map(|loaded| loaded.schedule.ranks)
    }

    /// The file.
    pub fn file(&self) -> Option<&Loaded> {
        match self {
            Self::Builtin { .. } => None,
            Self::File(loaded) => Some(loaded),
        }
    }

    /// Who waits for whom, where that can be chosen.
    pub fn sync(&self) -> Option<SyncStyle> {
        match self {
            Self::Builtin { sync, .. } => Some(*sync),
            Self::File(_) => None,
        }
    }

    /// The algorithm is chosen by the library.
    pub fn is_auto(&self) -> bool {
        matches!(self, Self::Builtin { algorithm, .. } if algorithm.is_auto())
    }

    /// The schedule, whose lanes need not be there together; only `auto` looks at bytes and device.
    ///
    /// # Errors
    /// [`Error::Build`] where the algorithm is not defined for that task or number of ranks.
    pub fn draft(&self, ranks: u32, part_bytes: u64, device: DeviceKind) -> Result<Draft, Error> {
        self.draft_on(ranks, part_bytes, device, None)
    }

    /// As [`draft`](Self::draft), where these ranks share a device.
    ///
    /// # Errors
    /// As [`draft`](Self::draft).
    pub fn draft_on(
        &self,
        ranks: u32,
        part_bytes: u64,
        device: DeviceKind,
        placed: Option<Groups>,
    ) -> Result<Draft, Error> {
        match self {
            Self::Builtin { task, algorithm, sync, groups } => {
                let groups = groups.as_ref().map(|groups| groups.of(ranks)).transpose()?;
                let recipe = Recipe::new(task.clone(), ranks).algorithm(*algorithm).sync(*sync).groups(groups);
                Ok(recipe.part_bytes(part_bytes).device(device).placed(placed).draft()?)
            }
            Self::File(loaded) => Ok(Draft::from(loaded.schedule.clone())),
        }
    }

    /// Builds the schedule; only `auto` looks at bytes and device, and `hierarchical` at which ranks share one.
    ///
    /// # Errors
    /// As [`draft`](Self::draft), and where there is no memory for it.
    pub fn schedule(&self, ranks: u32, part_bytes: u64, device: &impl Backend) -> Result<Schedule, Error> {
        Ok(self.draft_on(ranks, part_bytes, device.kind(), device.groups(ranks))?.build()?)
    }

    /// The first count from `count` on that it can be launched over.
    pub fn count_from(&self, count: usize) -> usize {
        match self.file().map(|loaded| loaded.schedule.granularity) {
            Some(Granularity::DivisibleBy(n)) => count.checked_next_multiple_of(n.max(1) as usize).unwrap_or(count),
            _ => count,
        }
    }
}
