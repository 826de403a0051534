//! Names of what stands in a schedule, an instruction or a signal, as findings and hang reports call them.
//!
//! Proofs, plans and executors speak of both, so the words belong to the schedule and not to any of these.

use std::fmt::{self, Write};

use serde::Serialize;

use super::{Label, Schedule};

/// An instruction by all its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Site {
    /// The rank whose lane it is in.
    pub rank: u32,
    /// Index into the schedule's lanes.
    pub lane: u32,
    /// Index into the lane's instructions.
    pub instruction: u32,
    /// What the schedule calls it.
    pub label: Label,
}

impl Site {
    pub(crate) fn of(schedule: &Schedule, lane: usize, instruction: usize) -> Self {
        let in_lane = &schedule.lanes[lane];
        Self {
            rank: in_lane.rank,
            lane: lane as u32,
            instruction: instruction as u32,
            label: in_lane.instructions[instruction].label.clone(),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, lane, instruction, label } = self;
        write!(f, "rank {rank} {} (lane {lane}, instruction {instruction})", Brief(label))
    }
}

impl Label {
    /// As messages and pictures have it.
    pub(crate) fn plain(&self) -> impl fmt::Display + '_ {
        Brief(self)
    }
}

/// A label as a message has it. Whoever wrote the schedule chose its text: a long one is cut, and what would control a
/// terminal is left out.
struct Brief<'a>(&'a Label);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut { into: f, left: 100 };
        // An error of its own says that there was no room for more.
        match write!(cut, "{}", self.0) {
            Err(_) if cut.left == 0 => cut.into.write_str("..."),
            written => written,
        }
    }
}

struct Cut<'a, 'f> {
    into: &'a mut fmt::Formatter<'f>,
    left: usize,
}

impl Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars().filter(|c| !c.is_control()) {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.into.write_char(c)?;
        }
        Ok(())
    }
}

/// A signal by its full name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Signal {
    /// Whose matrix.
    pub rank: u32,
    /// Row.
    pub row: u32,
    /// Column: the rank that notifies it.
    pub sender: u32,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signal [row {}][sender {}] of rank {}", self.row, self.sender, self.rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_in_messages_are_short_and_plain() {
        let named = |label: String| Site { rank: 1, lane: 2, instruction: 3, label: label.into() }.to_string();
        let exact = "x".repeat(100);
        for (label, shown) in [
            ("RS round 2".to_owned(), "RS round 2".to_owned()),
            ("\u{1b}[31mred\n".to_owned(), "[31mred".to_owned()),
            (exact.clone(), exact.clone()),
            ("x".repeat(101), format!("{exact}...")),
            ("é".repeat(1 << 20), format!("{}...", "é".repeat(100))),
        ] {
            assert_eq!(named(label), format!("rank 1 {shown} (lane 2, instruction 3)"));
        }
    }
}
