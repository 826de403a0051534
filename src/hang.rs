//! Why a launch did not finish, in names: who waits, in which round, for what, and which peer is silent.
//!
//! All executors leave the same trace, how far each lane of each channel got and what its signals hold, so one pure
//! function explains it, and channels that are stuck alike are one cause.

mod channels;
#[cfg(test)]
mod tests;

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

pub use channels::Channels;

use crate::fault::Fault;
use crate::schedule::{CellWait, Graph, Schedule, Signal, Site, Sources};

/// Why what a lane waits for is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Silence {
    /// The peer executed its notify, but nothing shows it.
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
    /// The first signal that it misses; of data that carries its own flag, the one that would have announced it.
    pub signal: Signal,
    /// What the signal must be.
    pub at_least: u32,
    /// What it is. None where data carries its own flag, so that there are no signals.
    pub seen: Option<u32>,
    /// Why it is missing.
    pub silence: Silence,
    /// Where.
    pub channels: Channels,
}

/// A lane that does not wait and yet did not finish: the device stopped executing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stalled {
    /// The instruction that could begin.
    #[serde(flatten)]
    pub site: Site,
    /// Where.
    pub channels: Channels,
}

/// A launch that did not finish: the state of all channels that are stuck, each cause told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hang {
    /// Channels that are stuck.
    pub channels: Channels,
    /// Lanes of the schedule.
    pub lanes: u32,
    /// Lanes that did not finish in some channel.
    pub unfinished: u32,
    /// Lanes that wait, those that are the cause first.
    pub waiting: Vec<Waiting>,
    /// Lanes that did not finish although all that they need has come.
    pub stalled: Vec<Stalled>,
}

/// What a channel that is stuck has left behind.
pub(crate) struct StuckChannel<'a> {
    pub(crate) channel: u32,
    /// Index of each lane's next instruction.
    pub(crate) next: Vec<u32>,
    pub(crate) evidence: Evidence<'a>,
}

/// How lanes of a channel know that data has arrived, as far as that can be read afterwards.
#[derive(Clone, Copy)]
pub(crate) enum Evidence<'a> {
    /// What each signal holds.
    Signals(&'a dyn Fn(Signal) -> u32),
    /// Nothing: data carries its own flag. What got lost on purpose is known.
    #[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "signals are all that cores have"))]
    Data { lost: Option<Fault> },
}

/// What a lane of one channel waits for, in numbers of the graph: equal ones are told once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Cause {
    id: u32,
    cell: u32,
    at_least: u32,
    seen: Option<u32>,
    silence: Why,
}

/// [`Silence`] in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Why {
    Lost { notifier: u32 },
    Behind { notifier: u32, stands: u32 },
    NeverSent,
}

impl Hang {
    /// As an executor does of one channel, of any schedule whose signals are in range.
    pub fn explain(schedule: &Schedule, channel: u32, next: &[u32], signal: impl Fn(Signal) -> u32) -> Self {
        let evidence = Evidence::Signals(&signal);
        Self::of(schedule, &Graph::new(schedule), [StuckChannel { channel, next: next.to_vec(), evidence }])
    }

    /// Explains the channels that did not finish.
    pub(crate) fn of<'a>(
        schedule: &Schedule,
        graph: &Graph,
        stuck: impl IntoIterator<Item = StuckChannel<'a>>,
    ) -> Self {
        let (mut waiting, mut stalled) = (Told::default(), Told::default());
        let (mut channels, mut unfinished) = (Channels::default(), FxHashSet::default());
        for stuck in stuck {
            channels.insert(stuck.channel);
            for lane in 0..graph.lanes() {
                let Some(id) = stuck.stands(graph, lane) else { continue };
                unfinished.insert(lane);
                match stuck.cause(graph, id) {
                    Some(cause) => waiting.add(cause, stuck.channel),
                    None => stalled.add(id, stuck.channel),
                }
            }
        }
        let site = |id| graph.site(schedule, id);
        let mut waiting: Vec<Waiting> = waiting
            .into_iter()
            .map(|(Cause { id, cell, at_least, seen, silence }, channels)| Waiting {
                site: site(id),
                signal: graph.signal(cell),
                at_least,
                seen,
                silence: match silence {
                    Why::Lost { notifier } => Silence::Lost { notifier: site(notifier) },
                    Why::Behind { notifier, stands } => {
                        Silence::Behind { notifier: site(notifier), stands: site(stands) }
                    }
                    Why::NeverSent => Silence::NeverSent,
                },
                channels,
            })
            .collect();
        waiting.sort_by_key(|waiting| matches!(waiting.silence, Silence::Behind { .. }));
        let stalled = stalled.into_iter().map(|(id, channels)| Stalled { site: site(id), channels }).collect();
        Self { channels, lanes: graph.lanes(), unfinished: unfinished.len() as u32, waiting, stalled }
    }
}

/// What was told, in the order of its first channel, and of which channels.
struct Told<K> {
    places: FxHashMap<K, usize>,
    all: Vec<(K, Channels)>,
}

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self { places: FxHashMap::default(), all: Vec::new() }
    }
}

impl<K: Copy + Eq + std::hash::Hash> Told<K> {
    fn add(&mut self, what: K, channel: u32) {
        let place = *self.places.entry(what).or_insert_with(|| {
            self.all.push((what, Channels::default()));
            self.all.len() - 1
        });
        self.all[place].1.insert(channel);
    }

    fn into_iter(self) -> impl Iterator<Item = (K, Channels)> {
        self.all.into_iter()
    }
}

impl StuckChannel<'_> {
    /// The instruction at which a lane stands, unless it is through.
    fn stands(&self, graph: &Graph, lane: u32) -> Option<u32> {
        let instructions = graph.lane(lane);
        let id = instructions.start + self.next[lane as usize];
        (id < instructions.end).then_some(id)
    }

    fn done(&self, graph: &Graph, id: u32) -> bool {
        graph.index(id) < self.next[graph.lane_of(id) as usize]
    }

    /// What instruction `id` waits for, if it does.
    fn cause(&self, graph: &Graph, id: u32) -> Option<Cause> {
        let waits = graph.waits_of(id);
        let cause =
            |wait: CellWait, seen, silence| Cause { id, cell: wait.cell, at_least: wait.at_least, seen, silence };
        match self.evidence {
            Evidence::Signals(signal) => {
                let value = |wait: &CellWait| signal(graph.signal(wait.cell));
                let wait = waits.iter().find(|wait| value(wait) < wait.at_least)?;
                let (seen, needed) = (value(wait), needed(graph, *wait));
                let silence = match (self.late(graph, needed), needed.last()) {
                    (Some(behind), _) => behind,
                    (None, Some(&notifier)) if (seen as usize) < needed.len() => Why::Lost { notifier },
                    (None, _) => Why::NeverSent,
                };
                Some(cause(*wait, Some(seen), silence))
            }
            Evidence::Data { lost } => {
                let is_lost = |wait: &&CellWait| {
                    let signal = graph.signal(wait.cell);
                    lost.is_some_and(|fault| fault.drops(signal.sender, signal.row))
                };
                let of = |wait: &CellWait| {
                    let needed = needed(graph, *wait);
                    let lost = || needed.last().map_or(Why::NeverSent, |&notifier| Why::Lost { notifier });
                    cause(*wait, None, self.late(graph, needed).unwrap_or_else(lost))
                };
                let is_behind = |cause: &Cause| matches!(cause.silence, Why::Behind { .. });
                // What is known to be lost is the cause. Else whatever is still to come; and where everything was sent and
                // the lane stands still, it was not seen to arrive.
                let known = waits.iter().filter(is_lost).map(of).find(|cause| !is_behind(cause));
                known.or_else(|| waits.iter().map(of).find(is_behind)).or_else(|| waits.first().map(of))
            }
        }
    }

    /// The first of `needed` that has not executed, and where its lane stands.
    fn late(&self, graph: &Graph, needed: &[u32]) -> Option<Why> {
        let notifier = needed.iter().copied().find(|&id| !self.done(graph, id))?;
        let stands = self.stands(graph, graph.lane_of(notifier))?;
        Some(Why::Behind { notifier, stands })
    }
}

/// Notifiers that a wait needs. Later notifies of the same signal do not matter; those of several lanes come in any order.
fn needed(graph: &Graph, wait: CellWait) -> &[u32] {
    let notifiers = graph.notifiers_of(wait.cell);
    match graph.sources(wait) {
        Sources::Known(_) => &notifiers[..(wait.at_least as usize).min(notifiers.len())],
        Sources::Ambiguous | Sources::Never => notifiers,
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, signal, at_least, seen, silence, .. } = self;
        let Some(seen) = seen else {
            write!(f, "{site} waits for data from rank {}, which has not arrived: ", signal.sender)?;
            return match silence {
                Silence::Lost { notifier } => write!(f, "rank {} sent it in {}", notifier.rank, notifier.label),
                Silence::Behind { notifier, stands } => {
                    write!(f, "rank {} sends it in {}, ", notifier.rank, notifier.label)?;
                    behind(f, notifier, stands)
                }
                Silence::NeverSent => write!(f, "no instruction of rank {} ever sends it", signal.sender),
            };
        };
        write!(f, "{site} waits for {signal} >= {at_least}, which is {seen}: ")?;
        match silence {
            Silence::Lost { notifier } => {
                write!(f, "rank {} sent its notify in {}, but it never arrived", notifier.rank, notifier.label)
            }
            Silence::Behind { notifier, stands } => {
                write!(f, "rank {} notifies it in {}, ", notifier.rank, notifier.label)?;
                behind(f, notifier, stands)
            }
            Silence::NeverSent if *seen == 0 => {
                write!(f, "no instruction of rank {} ever notifies it", signal.sender)
            }
            Silence::NeverSent => write!(f, "rank {} never notifies it that often", signal.sender),
        }
    }
}

/// How far the rank is that something is wanted from.
fn behind(f: &mut fmt::Formatter<'_>, wanted: &Site, stands: &Site) -> fmt::Result {
    match wanted == stands {
        true => write!(f, "which it has not finished"),
        false => write!(f, "but is still in {}", stands.label),
    }
}

/// What happened, then each cause and what follows from it on a line of its own. Where a line does not hold in all of the
/// channels that are stuck it says in which.
impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        write!(f, "{} of {} lanes did not finish ({})", self.unfinished, self.lanes, self.channels)?;
        let place = |f: &mut fmt::Formatter<'_>, channels: &Channels| match *channels == self.channels {
            true => Ok(()),
            false => write!(f, " ({channels})"),
        };
        for waiting in self.waiting.iter().take(SHOWN) {
            let cause = !matches!(waiting.silence, Silence::Behind { .. });
            write!(f, "\n  {}{waiting}", if cause { "cause: " } else { "" })?;
            place(f, &waiting.channels)?;
        }
        if self.waiting.len() > SHOWN {
            write!(f, "\n  and {} more wait", self.waiting.len() - SHOWN)?;
        }
        for Stalled { site, channels } in self.stalled.iter().take(SHOWN) {
            write!(f, "\n  {site} could go on, but the device stopped executing it")?;
            place(f, channels)?;
        }
        Ok(())
    }
}
