//! Whether launches follow each other so fast that it pays to keep workers awake.
//!
//! Of all executors of a team: whoever launches over one shape and another in turn makes launches in a row.

use std::time::{Duration, Instant};

/// A launch that begins so soon after another ended is followed by more: less than a worker stays on its core.
const SOON: Duration = Duration::from_micros(40);
/// Workers who are woken in vain, because others need their cores, are left alone for so long.
const AGAIN: Duration = Duration::from_millis(1);
/// Longer than that nobody is kept from other work.
const STAY: Duration = Duration::from_micros(500);

/// How fast launches follow each other.
#[derive(Default)]
pub(super) struct Haste {
    /// When the last one without workers ended.
    ended: Option<Instant>,
    roused: Option<Instant>,
}

impl Haste {
    /// After a launch without workers: whether to wake them for another, and how long that may be in coming.
    pub(super) fn alone(&mut self, began: Instant, ended: Instant) -> Option<Duration> {
        let within = |time: Option<Instant>, limit| time.is_some_and(|time| began.duration_since(time) < limit);
        let wanted = within(self.ended, SOON) && !within(self.roused, AGAIN);
        self.ended = Some(ended);
        if wanted {
            self.roused = Some(ended);
        }
        // The next one begins before they are there, and may be longer than they would stay.
        wanted.then(|| STAY.min(2 * (ended - began) + SOON))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_woken_for_launches_in_a_row_and_not_all_the_time() {
        let start = Instant::now();
        let mut haste = Haste::default();
        let at = |micros| start + Duration::from_micros(micros);
        for (began, ended, stay) in [
            (0, 10, None),
            (100, 190, None),
            // However long it takes itself.
            (200, 500, Some(500)),
            (510, 520, None),
            (1400, 1499, None),
            // Long enough after the last time, but not in a row.
            (1600, 1610, None),
            (1649, 1700, Some(142)),
            (1701, 1702, None),
        ] {
            assert_eq!(haste.alone(at(began), at(ended)), stay.map(Duration::from_micros), "{began}");
        }
    }
}
