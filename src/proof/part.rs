//! What of a proved schedule one device carries out, as executors take it.
//!
//! Only a split of a whole proof makes one: its lanes are right because the whole is, and wrong without what moves between
//! devices from one epoch to the next.

use std::sync::Arc;

use super::epochs::Epochs;
use super::proved::{Parts, Proved};
use crate::schedule::{Graph, Schedule};

/// A part whose places are more than numbers can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a device's part of the schedule has more than 2^32 chunks; use fewer ranks or chunks")]
#[non_exhaustive]
pub struct PartTooLarge;

impl Proved {
    /// The part of the ranks for which `is_on_it`: their lanes, with the signals among them. Of others there are places for what
    /// these lanes read and write. `epochs` has the epoch of every instruction, of `count`; along program order and signals it
    /// never falls.
    pub(crate) fn part(
        &self,
        is_on_it: impl Fn(u32) -> bool,
        epochs: &[u32],
        count: u32,
    ) -> Result<Self, PartTooLarge> {
        let (whole, graph) = (self.schedule(), self.graph());
        let lanes = (0..).zip(&whole.lanes).filter(|(_, lane)| is_on_it(lane.rank));
        let mut schedule = Schedule { lanes: Vec::new(), ..clone_without_lanes(whole) };
        // Of instructions of this part: their number in it.
        let mut number = vec![u32::MAX; graph.instructions() as usize];
        let mut of = Vec::new();
        for (index, lane) in lanes {
            let mut kept = lane.clone();
            for instruction in &mut kept.instructions {
                instruction.waits.retain(|wait| is_on_it(wait.sender));
                instruction.notifies.retain(|notify| is_on_it(notify.peer));
            }
            for id in graph.lane(index) {
                number[id as usize] = of.len() as u32;
                of.push(epochs[id as usize]);
            }
            schedule.lanes.push(kept);
        }
        let order = self.order().iter().map(|&id| number[id as usize]).filter(|&id| id != u32::MAX).collect();
        let map = self.address_map().of_part(&schedule, is_on_it).ok_or(PartTooLarge)?;
        Ok(Self::new(Parts {
            graph: Graph::new(&schedule),
            schedule,
            options: self.options(),
            map,
            order,
            terms: Arc::clone(self.shared_terms()),
            report: Arc::clone(self.shared_report()),
            epochs: Some(Epochs { of, count }),
        }))
    }

    /// Whether it is one device's part, which means nothing by itself.
    pub(crate) fn is_part(&self) -> bool {
        self.epochs_of_part().is_some()
    }

    /// Epochs of a part; a whole schedule is one.
    pub(crate) fn epochs(&self) -> u32 {
        self.epochs_of_part().map_or(1, |epochs| epochs.count)
    }

    /// The epoch of an instruction, by its number in the graph.
    pub(crate) fn epoch(&self, id: u32) -> u32 {
        self.epochs_of_part().map_or(0, |epochs| epochs.of[id as usize])
    }
}

/// Lanes are most of a schedule, and a part has few of them.
fn clone_without_lanes(whole: &Schedule) -> Schedule {
    let mut schedule = Schedule::new(whole.origin.clone(), whole.task.clone(), whole.ranks, whole.chunks)
        .granularity(whole.granularity)
        .signal_rows(whole.signal_rows);
    schedule.slots.clone_from(&whole.slots);
    schedule
}
