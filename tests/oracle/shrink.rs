//! A failing schedule made small: whatever can be left out without the failure going away is left out.

use wgccl::schedule::Schedule;

/// The smallest schedule that `fails` has been seen to fail on, by greed; at most so many are tried.
pub(crate) fn shrunk(schedule: &Schedule, tries: usize, fails: impl Fn(&Schedule) -> bool) -> Schedule {
    let (mut best, mut tries, mut is_smaller) = (schedule.clone(), tries, true);
    while std::mem::take(&mut is_smaller) {
        let mut at = 0;
        while let Some(smaller) = without(&best, at).filter(|_| tries > 0) {
            if smaller == best {
                at += 1;
                continue;
            }
            tries -= 1;
            if fails(&smaller) {
                (best, is_smaller) = (smaller, true);
            } else {
                at += 1;
            }
        }
    }
    best
}

/// Without the `at`-th thing that can be left out: lanes, instructions, then what is in them, then what is around them.
fn without(schedule: &Schedule, mut at: usize) -> Option<Schedule> {
    let mut smaller = schedule.clone();
    if at < smaller.lanes.len() {
        smaller.lanes.remove(at);
        return Some(smaller);
    }
    at -= smaller.lanes.len();
    for lane in &mut smaller.lanes {
        if at < lane.instructions.len() {
            lane.instructions.remove(at);
            return Some(smaller);
        }
        at -= lane.instructions.len();
    }
    for instruction in smaller.lanes.iter_mut().flat_map(|lane| &mut lane.instructions) {
        macro_rules! lists {
            ($($list:ident),+) => {$(
                if at < instruction.$list.len() {
                    instruction.$list.remove(at);
                    return Some(smaller);
                }
                at -= instruction.$list.len();
            )+};
        }
        lists!(waits, notifies, from, to);
        match at {
            0 => instruction.chunks = 1,
            1 => instruction.zeroes_signals = false,
            _ => {
                at -= 2;
                continue;
            }
        }
        return Some(smaller);
    }
    match at {
        0 => smaller.signal_rows = smaller.signal_rows.saturating_sub(1),
        1 => smaller.granularity = Default::default(),
        2 => _ = smaller.slots.pop(),
        3 => smaller.slots.iter_mut().for_each(|slots| *slots = slots.saturating_sub(1)),
        _ => return None,
    }
    Some(smaller)
}

#[cfg(test)]
mod tests {
    use wgccl::collective::Collective;
    use wgccl::schedule::{Algorithm, SyncStyle, build};

    use super::*;

    /// Of a ring in which some instruction has two operands and is awaited, these alone are left.
    #[test]
    fn nothing_is_left_that_is_not_needed() {
        let ring = build(Collective::AllReduce, Algorithm::RingStaged, 4, SyncStyle::Neighbor).unwrap();
        let fails = |schedule: &Schedule| {
            let mut all = schedule.lanes.iter().flat_map(|lane| &lane.instructions);
            all.any(|one| one.from.len() == 2 && !one.notifies.is_empty())
        };
        let smallest = shrunk(&ring, 1000, fails);
        assert!(fails(&smallest));
        let [lane] = &smallest.lanes[..] else { panic!("{smallest:?}") };
        let [one] = &lane.instructions[..] else { panic!("{smallest:?}") };
        assert_eq!((one.from.len(), one.to.len(), one.notifies.len(), one.waits.len()), (2, 0, 1, 0));
    }
}
