//! How a process waits: briefly at full speed, then so that others get the core, then asleep.
//!
//! More processes than cores are ordinary on one machine, and whoever spins there keeps from running what it waits for.

use std::time::{Duration, Instant};

/// Turns at full speed where every process has a core: some milliseconds, longer than others need for their share of a launch.
pub(crate) const ALONE: u32 = 20_000;
/// Turns at full speed where processes share cores: what an answer takes that is on its way.
pub(crate) const CROWDED: u32 = 32;
/// Turns in which only the core is offered to others.
const YIELDS: u32 = 2000;
const NAP: Duration = Duration::from_micros(50);
/// Looks at the clock cost, so not at every turn.
const TURNS_A_LOOK: u32 = 32;

/// One wait.
#[derive(Debug)]
pub(crate) struct Patience {
    until: Option<Instant>,
    timeout: Duration,
    spins: u32,
    turns: u32,
}

impl Patience {
    /// Of a few words, which are soon there or late.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self::spinning(timeout, CROWDED)
    }

    /// With so many turns at full speed.
    pub(crate) fn spinning(timeout: Duration, spins: u32) -> Self {
        Self { until: None, timeout, spins, turns: 0 }
    }

    /// Waits a little longer each time. False when the time is over.
    pub(crate) fn turn(&mut self) -> bool {
        self.turns = self.turns.saturating_add(1);
        match self.turns.saturating_sub(self.spins) {
            0 => std::hint::spin_loop(),
            1..=YIELDS => std::thread::yield_now(),
            _ => std::thread::sleep(NAP),
        }
        if !self.turns.is_multiple_of(TURNS_A_LOOK) {
            return true;
        }
        // The clock starts at the first look: those that do not wait need none.
        let (now, timeout) = (Instant::now(), self.timeout);
        now < *self.until.get_or_insert_with(|| now.checked_add(timeout).unwrap_or(now + FOREVER))
    }

    /// Whether it is time for what is too expensive for every turn.
    pub(crate) fn is_long(&self) -> bool {
        self.turns > 0 && self.turns.is_multiple_of(TURNS_A_LOOK)
    }

    /// Something has happened, so the next thing may be soon.
    pub(crate) fn refresh(&mut self) {
        self.turns = 0;
    }
}

/// A hundred years.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends() {
        let mut patience = Patience::new(Duration::ZERO);
        let turns = (0..1000).take_while(|_| patience.turn()).count();
        assert!(turns < 64, "{turns}");
        assert!((0..5000).all(|_| Patience::new(Duration::MAX).turn()));
    }
}
