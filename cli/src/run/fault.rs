//! Whether a defect that a user wants put in can change anything.
//!
//! One that cannot would be taken for a launch that survived it.

use std::collections::BTreeSet;

use wgccl::fault::Fault;
use wgccl::schedule::Schedule;

use crate::error::Error;

/// Refuses a fault without effect on a schedule, or on the parts of one, and names those that have one in `what`.
pub(super) fn check_fault<'a>(
    fault: Fault,
    what: &str,
    parts: impl Iterator<Item = &'a Schedule>,
) -> Result<(), Error> {
    const SHOWN: usize = 12;
    let Fault::DropNotify { rank, row } = fault else { return Ok(()) };
    let notifies = parts.flat_map(|part| &part.lanes).flat_map(|lane| {
        let notifies = lane.instructions.iter().flat_map(|instruction| &instruction.notifies);
        notifies.map(|notify| (lane.rank, notify.row))
    });
    let all: BTreeSet<(u32, u32)> = notifies.collect();
    if all.contains(&(rank, row)) {
        return Ok(());
    }
    if all.is_empty() {
        return Err(Error::Usage(format!("nobody notifies in {what}; leave --drop-notify out")));
    }
    // What is nearest to what was wanted: that rank, or that row.
    let near: Vec<_> = all.iter().filter(|(of, at)| *of == rank || *at == row).collect();
    let near = if near.is_empty() { all.iter().collect() } else { near };
    let mut shown: Vec<String> = near.iter().take(SHOWN).map(|(rank, row)| format!("{rank}:{row}")).collect();
    shown.extend((near.len() > SHOWN).then(|| "...".to_owned()));
    Err(Error::Usage(format!(
        "rank {rank} notifies nobody on signal row {row} in {what}; choose one of RANK:ROW {}",
        shown.join(" ")
    )))
}
