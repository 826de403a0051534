//! The critical path of a launch: the chain of instructions that ended last, and why none of them began sooner.
//!
//! Times of lanes hide it: a lane that waits is late because of another. Walking back from the end over whoever let an
//! instruction go names those that a faster launch would have to shorten.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::edges::Edges;
use super::{Clock, Span, Trace};
use crate::proof::Proved;
use crate::schedule::Site;

/// The chain of instructions that ended last. Times are nanoseconds by the trace's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CriticalPath {
    /// From the beginning of the launch, by a device's clock of its first dispatch, to the end of the last instruction: `moving` and `waiting` together.
    pub total: u64,
    /// How long the chain moved data.
    pub moving: u64,
    /// How long nothing of the chain did.
    pub waiting: u64,
    /// The chain, from its first instruction to its last.
    pub links: Vec<Link>,
    /// What all lanes did.
    pub lanes: Totals,
}

/// An instruction of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Link {
    /// The instruction.
    #[serde(flatten)]
    pub site: Site,
    /// Its channel, where channels are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
    /// Its piece of the payload.
    pub piece: u32,
    /// How long it moved data. Nothing, where the device's clock did not tell it from the link before.
    pub moving: u64,
    /// How long nothing moved between the link before, or the beginning of the launch, and this one.
    pub waiting: u64,
    /// What the link before is to it: what it could not begin without.
    pub after: After,
}

/// Why an instruction did not begin sooner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum After {
    /// There is nothing before it.
    Begin,
    /// Its lane was with the instruction before it.
    Lane,
    /// The thread that runs it was with another lane; on the CPU.
    Core,
    /// It waited for a notify of this instruction.
    Notify(Site),
}

/// Times of all lanes of all channels, added up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Lanes moved data.
    pub moving: u64,
    /// They waited for notifies that had not been sent.
    pub waiting: u64,
    /// All that they waited for had come, and nobody ran them: a core was with other lanes, or the next dispatch had not
    /// begun.
    pub turn: u64,
    /// Of `waiting`: for whom, longest first.
    pub waited_for: Vec<Waited>,
}

/// How long lanes waited for the notifies of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Waited {
    /// The rank.
    pub rank: u32,
    /// The time.
    pub time: u64,
}

impl Trace {
    /// Why the launch took as long as it did. None of a trace without times, without spans or of another schedule.
    pub fn critical_path(&self, proved: &Proved) -> Option<CriticalPath> {
        let edges = Edges::new(self, proved).filter(|_| self.clock.has_times())?;
        // Of a device the first dispatch begins the launch: what the host did before is known within the clock's uncertainty only.
        let launch = match self.clock {
            Clock::Device { .. } => self.spans.iter().map(|span| span.begin).min().unwrap_or(0),
            _ => 0,
        };
        Walk { spans: &self.spans, edges, proved, shifts: shifts(&self.spans), launch }.path()
    }
}

/// What each thread ran, in the order in which it did, as places among the spans.
type Shifts = FxHashMap<u32, Vec<usize>>;

fn shifts(spans: &[Span]) -> Shifts {
    let mut shifts = Shifts::default();
    for (at, span) in spans.iter().enumerate() {
        if let Some(worker) = span.worker {
            shifts.entry(worker).or_default().push(at);
        }
    }
    shifts.values_mut().for_each(|shift| shift.sort_unstable_by_key(|&at| (spans[at].ready, spans[at].end)));
    shifts
}

struct Walk<'a> {
    spans: &'a [Span],
    edges: Edges<'a>,
    proved: &'a Proved,
    shifts: Shifts,
    /// When it began.
    launch: u64,
}

/// What a span comes after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    // In the order in which they are believed where several end at once.
    Core,
    Notify,
    Lane,
}

impl Walk<'_> {
    fn path(&self) -> Option<CriticalPath> {
        // Of several that end at once the last of its lane: what it comes after has ended by then.
        let last = (0..self.spans.len()).max_by_key(|&at| (self.spans[at].end, self.spans[at].instruction))?;
        let mut links = Vec::new();
        let mut next = Some(last);
        while let Some(at) = next {
            let before = self.before(at);
            let since = before.map_or(self.launch, |(before, _)| self.spans[before].end);
            let span = &self.spans[at];
            let ready = span.ready.max(since);
            links.push(Link {
                site: self.site(span),
                channel: span.channel,
                piece: span.piece,
                moving: span.end.saturating_sub(ready),
                waiting: ready - since,
                after: match before {
                    None => After::Begin,
                    Some((_, Why::Lane)) => After::Lane,
                    Some((_, Why::Core)) => After::Core,
                    Some((before, Why::Notify)) => After::Notify(self.site(&self.spans[before])),
                },
            });
            next = before.map(|(before, _)| before);
        }
        links.reverse();
        let sum = |of: fn(&Link) -> u64| links.iter().map(of).sum();
        let (moving, waiting) = (sum(|link| link.moving), sum(|link| link.waiting));
        Some(CriticalPath { total: moving + waiting, moving, waiting, links, lanes: self.totals() })
    }

    /// What ended last of all that the span had to come after. The walk ends: it goes to what was ready no later, by lanes and
    /// notifies to what the proof has before it, and by threads to what was ready sooner.
    fn before(&self, at: usize) -> Option<(usize, Why)> {
        let span = &self.spans[at];
        let in_lane = self.edges.before(span).map(|before| (before, Why::Lane));
        let notifiers = self.edges.notifiers(span).map(|notifier| (notifier, Why::Notify));
        let shift = span.worker.and_then(|worker| self.shifts.get(&worker));
        let of_thread = shift.and_then(|shift| {
            let sooner = shift.partition_point(|&other| self.spans[other].ready < span.ready);
            Some((shift[sooner.checked_sub(1)?], Why::Core))
        });
        let all = in_lane.into_iter().chain(notifiers).chain(of_thread);
        let in_time = |before: &Span| before.ready <= span.ready && before.end <= span.end;
        all.filter(|&(before, _)| in_time(&self.spans[before]))
            .max_by_key(|&(before, why)| (self.spans[before].end, why))
    }

    fn site(&self, span: &Span) -> Site {
        Site::of(self.proved.schedule(), span.lane as usize, span.instruction as usize)
    }

    fn totals(&self) -> Totals {
        let (mut totals, mut ranks) = (Totals::default(), FxHashMap::<u32, u64>::default());
        let mut before: Option<&Span> = None;
        for span in self.spans {
            // Instructions of a lane that one dispatch ran have one time, which counts once.
            let once = before.is_some_and(|before| {
                (before.lane, before.channel, before.ready, before.end)
                    == (span.lane, span.channel, span.ready, span.end)
                    && span.worker.is_none()
            });
            before = Some(span);
            if once {
                continue;
            }
            totals.moving += span.end.saturating_sub(span.ready);
            let last = self.edges.notifiers(span).max_by_key(|&notifier| self.spans[notifier].end);
            let come =
                last.map_or(span.begin, |last| self.spans[last].end).clamp(span.begin, span.ready.max(span.begin));
            totals.waiting += come - span.begin;
            totals.turn += span.ready.saturating_sub(come);
            if let Some(last) = last.filter(|_| come > span.begin) {
                *ranks.entry(self.site(&self.spans[last]).rank).or_default() += come - span.begin;
            }
        }
        totals.waited_for = ranks.into_iter().map(|(rank, time)| Waited { rank, time }).collect();
        totals.waited_for.sort_by_key(|waited| (Reverse(waited.time), waited.rank));
        totals
    }
}
