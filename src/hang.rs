//! Why a launch did not finish, in names: who waits, in which round, on which signal, and which peer is silent.
//!
//! Both executors leave the same trace, how far each lane got and what its signals hold, so one pure function explains it.

use std::fmt;

use serde::Serialize;

use crate::schedule::{Graph, Schedule, Signal, Site, Sources};

/// A defect put into a launch on purpose, to see what happens and that it is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Fault {
    /// The notifies that `rank` sends to signal row `row` of its peers get lost.
    DropNotify {
        /// The rank that falls silent.
        rank: u32,
        /// The row on which it does.
        row: u32,
    },
}

impl Fault {
    /// Whether the fault swallows a notify from `sender` on `row`.
    pub fn drops(self, sender: u32, row: u32) -> bool {
        match self {
            Self::DropNotify { rank, row: dropped } => sender == rank && row == dropped,
        }
    }
}

/// Why a signal is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Silence {
    /// The peer executed its notify, but the signal does not show it.
    Lost {
        /// The instruction that notified.
        notifier: Site,
    },
    /// The peer has not come to its notify.
    Behind {
        /// The instruction that is to notify.
        notifier: Site,
        /// Where the peer stands instead.
        stands: Site,
    },
    /// No instruction of the schedule sends it.
    NeverSent,
}

/// A lane that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Waiting {
    /// The instruction that cannot begin.
    pub site: Site,
    /// The first signal that it misses.
    pub signal: Signal,
    /// What the signal must be.
    pub at_least: u32,
    /// What it is.
    pub seen: u32,
    /// Why.
    pub silence: Silence,
}

/// A launch that did not finish: the state of the first channel that is stuck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hang {
    /// Which channel.
    pub channel: u32,
    /// Lanes of the schedule.
    pub lanes: u32,
    /// Lanes that wait for a signal, those that are the cause first.
    pub waiting: Vec<Waiting>,
    /// Lanes that did not finish although all their signals have come: the device stopped executing them.
    pub stalled: Vec<Site>,
}

impl Hang {
    /// As an executor does, of any schedule whose signals are in range.
    pub fn explain(schedule: &Schedule, channel: u32, next: &[u32], signal: impl Fn(Signal) -> u32) -> Self {
        Self::of(schedule, &Graph::new(schedule), channel, next, signal)
    }

    /// Explains channel `channel`, in which lane `l` has `next[l]` as the index of its next instruction and `signal`
    /// gives what a signal holds.
    pub(crate) fn of(
        schedule: &Schedule,
        graph: &Graph,
        channel: u32,
        next: &[u32],
        signal: impl Fn(Signal) -> u32,
    ) -> Self {
        let done = |id: u32| graph.index(id) < next[graph.lane_of(id) as usize];
        let mut hang = Self { channel, lanes: graph.lanes(), waiting: Vec::new(), stalled: Vec::new() };
        for (lane, instructions) in (0..graph.lanes()).map(|lane| (lane, graph.lane(lane))) {
            let id = instructions.start + next[lane as usize];
            if id >= instructions.end {
                continue;
            }
            let site = graph.site(schedule, id);
            let unmet = graph.waits_of(id).iter().find(|wait| signal(graph.signal(wait.cell)) < wait.at_least);
            let Some(wait) = unmet else {
                hang.stalled.push(site);
                continue;
            };
            let signal_name = graph.signal(wait.cell);
            let (at_least, seen) = (wait.at_least, signal(signal_name));
            let notifiers = graph.notifiers_of(wait.cell);
            // Later notifies of the same signal do not matter; those of several lanes come in any order.
            let needed = match graph.sources(*wait) {
                Sources::Known(_) => &notifiers[..(at_least as usize).min(notifiers.len())],
                Sources::Ambiguous | Sources::Never => notifiers,
            };
            let late = needed.iter().copied().find(|&id| !done(id));
            let silence = match (late, needed.last()) {
                (Some(late), _) => {
                    let peer = graph.lane_of(late);
                    let stands = graph.site(schedule, graph.lane(peer).start + next[peer as usize]);
                    Silence::Behind { notifier: graph.site(schedule, late), stands }
                }
                (None, Some(&last)) if (seen as usize) < needed.len() => {
                    Silence::Lost { notifier: graph.site(schedule, last) }
                }
                (None, _) => Silence::NeverSent,
            };
            hang.waiting.push(Waiting { site, signal: signal_name, at_least, seen, silence });
        }
        hang.waiting.sort_by_key(|waiting| matches!(waiting.silence, Silence::Behind { .. }));
        hang
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, signal, at_least, seen, silence } = self;
        write!(f, "{site} waits for {signal} >= {at_least}, which is {seen}: ")?;
        match silence {
            Silence::Lost { notifier } => {
                write!(f, "rank {} sent its notify in {} but it never arrived", notifier.rank, notifier.label)
            }
            Silence::Behind { notifier, stands } => {
                write!(f, "rank {} notifies in {} and stands in {}", notifier.rank, notifier.label, stands.label)
            }
            Silence::NeverSent if *seen == 0 => {
                write!(f, "no instruction of rank {} ever notifies it", signal.sender)
            }
            Silence::NeverSent => write!(f, "rank {} never notifies it that often", signal.sender),
        }
    }
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let unfinished = self.waiting.len() + self.stalled.len();
        write!(f, "{unfinished} of {} lanes did not finish (channel {})", self.lanes, self.channel)?;
        for waiting in self.waiting.iter().take(SHOWN) {
            let cause = !matches!(waiting.silence, Silence::Behind { .. });
            write!(f, "\n  {}{waiting}", if cause { "cause: " } else { "" })?;
        }
        if self.waiting.len() > SHOWN {
            write!(f, "\n  and {} more wait", self.waiting.len() - SHOWN)?;
        }
        for site in self.stalled.iter().take(SHOWN) {
            write!(f, "\n  {site} could go on, but the device stopped executing it")?;
        }
        Ok(())
    }
}
