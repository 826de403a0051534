//! What can be refused before memory is taken: counts of nothing, and more than the machine has free.
//!
//! Being killed half-way is the worst of all error messages.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use wgccl::collective::{Collective, Task};
use wgccl::error::PayloadError;
use wgccl::low_level::AddressMap;
use wgccl::schedule::Schedule;

use crate::error::Error;

/// An empty vector with room for `count` elements.
pub(crate) fn reserved<T>(ranks: u32, count: usize) -> Result<Vec<T>, Error> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(count).map_err(|_| PayloadError::TooLarge { count, ranks })?;
    Ok(vector)
}

/// Inputs and outputs as they lie apart from each other.
pub(crate) fn address_map(schedule: &Schedule, count: usize) -> Result<AddressMap, Error> {
    let too_large = PayloadError::TooLarge { count, ranks: schedule.ranks };
    AddressMap::new(schedule, false).ok_or_else(|| too_large.into())
}

/// Refuses a count of which nothing would come.
pub(crate) fn check_count(collective: Collective, count: usize) -> Result<(), Error> {
    if count == 0 && collective != Collective::Barrier { Err(Error::Empty) } else { Ok(()) }
}

/// Refuses what does not fit the memory that the system has free, where it says so: inputs, outputs, the golden and one
/// copy on the way to a device. No schedule is needed for that.
pub(crate) fn check_memory(task: &Task, ranks: u32, count: usize, element_bytes: usize) -> Result<(), Error> {
    let total = |parts: &dyn Fn(u32) -> u32| (0..ranks).map(|rank| u64::from(parts(rank))).sum::<u64>();
    let [inputs, outputs] =
        [total(&|rank| task.input_parts(rank, ranks)), total(&|rank| task.output_parts(rank, ranks))]
            .map(|parts| parts.saturating_mul(count as u64));
    let elements = inputs.saturating_add(outputs.saturating_mul(2)).saturating_add(count as u64);
    let needed = elements.saturating_mul(element_bytes as u64);
    match available() {
        Some(available) if needed > available => Err(Error::Usage(format!(
            "a count of {count} elements for {ranks} ranks needs about {} MiB of memory, and {} MiB are free; use a smaller count",
            needed >> 20,
            available >> 20
        ))),
        _ => Ok(()),
    }
}

/// Bytes that can be had without swapping: what the machine has free, or a container may still take, whichever is less.
fn available() -> Option<u64> {
    let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(ram);
    let free = Some(system.available_memory()).filter(|&bytes| bytes > 0)?;
    Some(least(free, system.cgroup_limits().map(|limits| (limits.total_memory, limits.rss))))
}

/// A container's files in memory are not in its way: they are dropped when it wants more.
fn least(free: u64, container: Option<(u64, u64)>) -> u64 {
    container.map_or(free, |(limit, taken)| free.min(limit.saturating_sub(taken)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_what_is_left_of_its_limit() {
        for (free, container, available) in
            [(100, None, 100), (100, Some((1000, 10)), 100), (100, Some((60, 10)), 50), (100, Some((60, 70)), 0)]
        {
            assert_eq!(least(free, container), available, "{free} {container:?}");
        }
        assert!(available().is_none_or(|bytes| bytes > 0));
    }
}
