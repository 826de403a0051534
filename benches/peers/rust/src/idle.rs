//! How much of the machine others take, from Linux's counters.
//!
//! A time that was taken beside a build says nothing, so measurements wait for an idle machine, and each is recorded with
//! what others took of it. The host of a virtual machine shows only as far as it admits to stealing time.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for counters that advance in hundredths of a second.
const LOOK: Duration = Duration::from_millis(400);

/// The counters at one time, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// Of all processors.
    all: u64,
    /// Of those, not idle.
    busy: u64,
    /// Of those, this process and the children that it has waited for.
    own: u64,
}

impl Ticks {
    /// None where there are no such counters.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?, &fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// `/proc/stat` and `/proc/self/stat`.
    fn parse(machine: &str, process: &str) -> Option<Self> {
        let words = machine.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let all: Vec<u64> = words.take(8).map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [user, nice, system, idle, iowait, irq, softirq, steal] = all[..] else { return None };
        let busy = user + nice + system + irq + softirq + steal;
        // The name of the program may hold anything, so words are counted from its end: utime, stime, cutime, cstime.
        let words = process.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        let own: Vec<u64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        (own.len() == 4).then_some(Self { all: busy + idle + iowait, busy, own: own.iter().sum() })
    }

    /// What others took of all processors' time until `later`, from 0 to 1.
    pub fn others(self, later: Self) -> f64 {
        let busy = later.busy.saturating_sub(self.busy);
        let others = busy.saturating_sub(later.own.saturating_sub(self.own));
        others as f64 / later.all.saturating_sub(self.all).max(1) as f64
    }
}

/// Until others take no more than `most`, or `patience` ends.
pub fn wait(most: f64, patience: Duration) {
    let start = Instant::now();
    while start.elapsed() < patience {
        let Some(before) = Ticks::now() else { return };
        thread::sleep(LOOK);
        if Ticks::now().is_none_or(|now| before.others(now) <= most) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_is_not_that_of_others() {
        let process = |own: u64| format!("7 (a) b) R 1 1 1 0 -1 0 0 0 0 0 {own} 1 2 3 20 0");
        let at = |machine: &str, own| Ticks::parse(machine, &process(own)).unwrap();
        let start = at("cpu  100 0 50 800 10 1 2 37 0 0\ncpu0 1", 4);
        assert_eq!(start, Ticks { all: 1000, busy: 190, own: 10 });
        for (machine, own, others) in [
            ("cpu  180 0 70 800 10 1 2 37 0 0", 104, 0.0),
            ("cpu  130 0 50 850 10 1 2 57 0 0", 34, 0.2),
            ("cpu  130 10 50 850 10 1 2 47 0 0", 4, 0.5),
            ("cpu  100 0 50 800 10 1 2 37 0 0", 4, 0.0),
        ] {
            assert_eq!(start.others(at(machine, own)), others, "{machine}");
        }
        for (machine, process) in [("", ""), ("cpu  1 2 3", "7 (a) R 1"), ("cpu  1 2 3 4 5 6 7 8", "7 (a) R 1 2")] {
            assert_eq!(Ticks::parse(machine, process), None, "{machine}");
        }
    }
}
