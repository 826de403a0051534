//! What can be refused before memory is taken: counts of nothing, and more than the machine has free.
//!
//! Being killed half-way is the worst of all error messages.

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

/// Bytes that can be had without swapping, on Linux.
fn available() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}
