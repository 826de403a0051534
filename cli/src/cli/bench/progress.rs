//! How far a sweep has come, on a terminal: rows weigh what they move, and the time that is left runs down within a row.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressState, ProgressStyle};

use crate::bench::sweep::{Next, Plan};
use crate::cli::output::Ticking;

/// How often it is drawn. Drawing takes a fraction of a millisecond of one core, which launches that are timed may need.
const TICK: Duration = Duration::from_secs(1);
/// Characters of the bar.
const WIDTH: usize = 20;

/// A line that says how far a sweep is.
pub(super) struct Progress {
    ticking: Option<Ticking>,
    sweep: Arc<Mutex<Sweep>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { ticking: None, sweep: Arc::default() }
    }

    /// The sweep begins; of 0 cycles it never ends.
    pub(super) fn begin(&mut self, plan: &Plan, cycles: u64) {
        let (rows, work) = (plan.rows * cycles.max(1), plan.work.saturating_mul(cycles.max(1)));
        let all = Plan { rows, work, auto: Vec::new() };
        *locked(&self.sweep) = Sweep { all, endless: cycles == 0, began: Some(Instant::now()), ..Sweep::default() };
        let ticking = Ticking::every(TICK);
        let sweep = self.sweep.clone();
        let shown = move |_: &ProgressState, text: &mut dyn Write| {
            let _ = text.write_str(&locked(&sweep).line(Instant::now()));
        };
        if let Ok(style) = ProgressStyle::with_template("{sweep}") {
            ticking.bar().set_style(style.with_key("sweep", shown));
        }
        self.ticking = Some(ticking);
    }

    /// A row begins.
    pub(super) fn next(&self, next: Next) {
        locked(&self.sweep).row = Some((next, Instant::now()));
    }

    /// It is done.
    pub(super) fn done(&self) {
        locked(&self.sweep).done(Instant::now());
    }

    /// Prints where the line is not.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.ticking {
            Some(ticking) => ticking.bar().suspend(print),
            None => print(),
        }
    }

    /// Takes the line away.
    pub(super) fn finish(&mut self) {
        self.ticking = None;
    }
}

fn locked(sweep: &Mutex<Sweep>) -> MutexGuard<'_, Sweep> {
    sweep.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Sweep {
    all: Plan,
    endless: bool,
    began: Option<Instant>,
    done: Plan,
    /// What the rows that are done took.
    took: Duration,
    row: Option<(Next, Instant)>,
}

impl Sweep {
    fn done(&mut self, now: Instant) {
        if let Some((next, since)) = self.row.take() {
            self.done.rows += 1;
            self.done.work = self.done.work.saturating_add(next.work);
            self.took += now.saturating_duration_since(since);
        }
    }

    /// Which share is done, and how many seconds are left; `None` before anything says how long work takes.
    fn left(&self, now: Instant) -> Option<(f64, f64)> {
        let done = self.done.work as f64;
        let mut rate = if done > 0.0 { self.took.as_secs_f64() / done } else { 0.0 };
        let (mut work, mut within) = (0.0, 0.0);
        if let Some((next, since)) = &self.row {
            (work, within) = (next.work as f64, now.saturating_duration_since(*since).as_secs_f64());
            // A row that takes longer than it should is as slow as it has been at least.
            rate = if done > 0.0 { rate.max(within / work) } else { 0.0 };
        }
        if rate <= 0.0 {
            return None;
        }
        let all = self.all.work as f64;
        let left = ((all - done) * rate - within).max(0.0);
        let come = done + (within / rate).min(work);
        Some(((come / all).min(1.0), left))
    }

    fn line(&self, now: Instant) -> String {
        let elapsed = self.began.map_or(0, |began| now.saturating_duration_since(began).as_secs());
        let row = self.row.as_ref().map_or_else(String::new, |(next, _)| format!(": {}", next.what));
        // The row that runs is the one that people count.
        let number = self.done.rows + u64::from(self.row.is_some());
        if self.endless {
            return format!("row {number}, {elapsed} s{row}");
        }
        let (share, left) = match self.left(now) {
            // The last row has taken as long as it should, and nothing says how long it still takes.
            Some((share, left)) if left < 0.5 && self.row.is_some() => (share, String::new()),
            Some((share, left)) => (share, format!(", about {left:.0} s left")),
            None => (0.0, String::new()),
        };
        // Full is done.
        let most = WIDTH - usize::from(self.row.is_some());
        let full = ((share * WIDTH as f64) as usize).min(most);
        let bar = "█".repeat(full) + &"░".repeat(WIDTH - full);
        format!("{bar} row {number} of {}, {elapsed} s{left}{row}", self.all.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten rows that each move four times as much as the one before: what is left is nearly all of it before the last two.
    #[test]
    fn the_last_rows_are_not_about_to_be_over() {
        let work: Vec<u64> = (0..10).map(|n| 4_u64.pow(n)).collect();
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let all = Plan { rows: 10, work: work.iter().sum(), auto: Vec::new() };
        let mut sweep = Sweep { all, began: Some(began), ..Sweep::default() };
        assert_eq!(sweep.line(at(0)), format!("{} row 0 of 10, 0 s", "░".repeat(WIDTH)));
        // A second for each 1000 units, so 350 s in all.
        let mut now = began;
        for &work in &work[..8] {
            sweep.row = Some((Next { what: "a".to_owned(), work }, now));
            now += Duration::from_millis(work);
            sweep.done(now);
        }
        sweep.row = Some((Next { what: "b".to_owned(), work: work[8] }, now));
        let line = |sweep: &Sweep, seconds: u64| sweep.line(now + Duration::from_secs(seconds));
        assert_eq!(line(&sweep, 0), format!("█{} row 9 of 10, 21 s, about 328 s left: b", "░".repeat(WIDTH - 1)));
        // It goes on within a row, also one that takes longer than it should.
        assert!(line(&sweep, 30).contains("51 s, about 298 s left"), "{}", line(&sweep, 30));
        assert!(line(&sweep, 131).contains("152 s, about 524 s left"), "{}", line(&sweep, 131));
        assert!(line(&sweep, 30).starts_with("██░"), "{}", line(&sweep, 30));
        now += Duration::from_millis(work[8]);
        sweep.done(now);
        sweep.row = Some((Next { what: "c".to_owned(), work: work[9] }, now));
        assert!(sweep.line(now).contains("row 10 of 10, 87 s, about 262 s left: c"), "{}", sweep.line(now));
        // Where it takes longer than it should, nobody knows when it ends.
        let over = sweep.line(now + Duration::from_secs(400));
        assert_eq!(over, format!("{}░ row 10 of 10, 487 s: c", "█".repeat(WIDTH - 1)));
        now += Duration::from_millis(work[9]);
        sweep.done(now);
        assert!(sweep.line(now).starts_with(&"█".repeat(WIDTH)), "{}", sweep.line(now));
        assert!(sweep.line(now).contains("about 0 s left"), "{}", sweep.line(now));
    }

    #[test]
    fn without_an_end_nothing_is_left() {
        let began = Instant::now();
        let mut sweep = Sweep { endless: true, began: Some(began), ..Sweep::default() };
        sweep.row = Some((Next { what: "a".to_owned(), work: 1 }, began));
        sweep.done(began);
        sweep.row = Some((Next { what: "b".to_owned(), work: 1 }, began));
        assert_eq!(sweep.line(began + Duration::from_secs(3)), "row 2, 3 s: b");
    }
}
