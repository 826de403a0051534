//! What a schedule that is right could do without: barriers of all ranks, and waits whose order others give already.
//!
//! Hints and no findings: nothing is wrong with a schedule that waits more than it must. It only costs.

use std::ops::Range;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::Proved;
use crate::collective::Collective;
use crate::schedule::{CellWait, Graph, Schedule, Signal, Site, Sources};

/// Words of clocks that are kept at a time: 32 MiB.
const MOST_WORDS: usize = 1 << 23;
/// Words that are compared at most: some tenths of a second. How many there would be is known before anything is made for it.
const MOST_WORK: usize = 1 << 28;
/// Waits that are named.
const SHOWN: usize = 4;
/// Among fewer ranks all are neighbours.
const FEWEST_RANKS: u32 = 4;

/// What a proved schedule costs beyond what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hints {
    /// Notifies, those of a rank to itself included.
    pub notifies: u64,
    /// Waits.
    pub waits: u64,
    /// Barriers of all ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barriers: Option<Barriers>,
    /// None of schedules that are so large that it is not looked for.
    pub redundant: Option<Redundant>,
}

/// Instructions that wait for all other ranks and then touch the memory of few of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Barriers {
    /// Most of a lane.
    pub rounds: u32,
    /// Of all lanes.
    pub instructions: u64,
    /// Their waits for other ranks.
    pub waits: u64,
    /// Those of them for ranks whose memory is not touched before the next barrier.
    pub spare: u64,
    /// The first.
    pub first: Site,
}

/// Waits that order nothing which program order and other waits do not order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Redundant {
    /// Waits that were looked at.
    pub of: u64,
    /// Those that could all be left out together, with their notifies.
    pub waits: u64,
    /// The first of them, by lane and instruction: which instruction waits, and for what.
    pub first: Vec<(Site, Signal)>,
}

impl Hints {
    /// Of a schedule. Redundant waits are looked for among those that `counts` says yes to: not every wait can be left out where a
    /// schedule stands for something else.
    pub fn of(proved: &Proved, counts: impl Fn(Signal) -> bool) -> Self {
        let (schedule, graph) = (proved.schedule(), proved.graph());
        Self {
            notifies: graph.notifies().into(),
            waits: graph.waits().into(),
            barriers: barriers(schedule, graph),
            redundant: redundant(proved, counts),
        }
    }
}

fn barriers(schedule: &Schedule, graph: &Graph) -> Option<Barriers> {
    if schedule.ranks < FEWEST_RANKS || schedule.task.collective == Collective::Barrier {
        return None;
    }
    let mut found: Option<Barriers> = None;
    // By rank, the number of the barrier since which a lane waits for it, and touches its memory.
    let mut waited = vec![0_u64; schedule.ranks as usize];
    let mut touched = waited.clone();
    let mut number = 0;
    for lane in 0..graph.lanes() {
        let rank = schedule.lanes[lane as usize].rank;
        let ids = graph.lane(lane);
        let is_barrier = |id: u32, waited: &mut [u64], number: u64| {
            let senders = graph.waits_of(id).iter().map(|wait| graph.signal(wait.cell).sender);
            let mut others = 0;
            for sender in senders.filter(|&sender| sender != rank) {
                if std::mem::replace(&mut waited[sender as usize], number) != number {
                    others += 1;
                }
            }
            others == schedule.ranks - 1
        };
        let mut rounds = 0;
        let mut at = ids.start;
        while at < ids.end {
            number += 1;
            let (id, is) = (at, is_barrier(at, &mut waited, number));
            at += 1;
            if !is {
                continue;
            }
            let (begun, mut near) = (number, 0_u32);
            let mut touch = |id: u32| {
                let instruction = graph.instruction(schedule, id);
                for address in instruction.from.iter().chain(instruction.to.iter()).filter(|at| at.rank != rank) {
                    near += u32::from(std::mem::replace(&mut touched[address.rank as usize], begun) != begun);
                }
            };
            touch(id);
            while at < ids.end {
                number += 1;
                if is_barrier(at, &mut waited, number) {
                    break;
                }
                touch(at);
                at += 1;
            }
            let spare = schedule.ranks - 1 - near;
            if spare <= near {
                continue;
            }
            rounds += 1;
            let all = found.get_or_insert_with(|| Barriers {
                rounds: 0,
                instructions: 0,
                waits: 0,
                spare: 0,
                first: graph.site(schedule, id),
            });
            all.rounds = all.rounds.max(rounds);
            all.instructions += 1;
            all.waits += u64::from(schedule.ranks - 1);
            all.spare += u64::from(spare);
        }
    }
    found
}

/// The greatest of some numbers, and the greatest of those that somebody else has.
#[derive(Clone, Copy, Default)]
struct Greatest {
    most: u32,
    whose: u32,
    next: u32,
}

impl Greatest {
    fn add(&mut self, number: u32, whose: u32) {
        if number > self.most {
            if whose != self.whose {
                self.next = self.most;
            }
            (self.most, self.whose) = (number, whose);
        } else if whose != self.whose {
            self.next = self.next.max(number);
        }
    }

    fn of_others(&self, own: u32) -> u32 {
        if self.whose == own { self.next } else { self.most }
    }
}

/// A wait is redundant if what it waits for is known without it: to its lane before, or from the instruction's other waits. Of two that
/// wait for the same, the later one is.
fn redundant(proved: &Proved, counts: impl Fn(Signal) -> bool) -> Option<Redundant> {
    let (schedule, graph) = (proved.schedule(), proved.graph());
    let lanes = graph.lanes() as usize;
    let work = (graph.waits() as usize + graph.instructions() as usize).checked_mul(lanes);
    if work.is_none_or(|words| words > MOST_WORK) {
        return None;
    }
    let mut awaited = vec![false; graph.instructions() as usize];
    let mut first_wait = Vec::with_capacity(awaited.len());
    let (mut again, mut seen) = (Vec::with_capacity(graph.waits() as usize), FxHashMap::default());
    for id in 0..graph.instructions() {
        first_wait.push(again.len());
        for &wait in graph.waits_of(id) {
            sources(graph, wait).for_each(|source| awaited[source as usize] = true);
            again.push(seen.insert(identity(graph, wait), id) == Some(id));
        }
    }
    let kept = awaited.iter().filter(|&&awaited| awaited).count();
    let width = (MOST_WORDS / (kept + lanes).max(1)).clamp(1, lanes.max(1));
    let mut unknown = vec![false; again.len()];
    for begin in (0..lanes).step_by(width) {
        let of = begin..(begin + width).min(lanes);
        mark_unknown(proved, of, &awaited, &first_wait, &mut unknown);
    }
    let (mut of, mut spare) = (0, Vec::new());
    for id in 0..graph.instructions() {
        for (n, &wait) in (first_wait[id as usize]..).zip(graph.waits_of(id)) {
            if !counts(graph.signal(wait.cell)) {
                continue;
            }
            of += 1;
            if again[n] || (!unknown[n] && sources(graph, wait).next().is_some()) {
                spare.push((id, wait.cell));
            }
        }
    }
    let first = spare.iter().take(SHOWN).map(|&(id, cell)| (graph.site(schedule, id), graph.signal(cell))).collect();
    Some(Redundant { of, waits: spare.len() as u64, first })
}

/// Marks the waits that tell something new of the lanes `of`: clocks of these, along the order of the proof.
fn mark_unknown(proved: &Proved, of: Range<usize>, awaited: &[bool], first_wait: &[usize], unknown: &mut [bool]) {
    let graph = proved.graph();
    let width = of.len();
    let mut now = vec![0_u32; graph.lanes() as usize * width];
    let mut after: Vec<Option<Box<[u32]>>> = vec![None; awaited.len()];
    let mut greatest = vec![Greatest::default(); width];
    for &id in proved.order() {
        let lane = graph.lane_of(id) as usize;
        let own = &mut now[lane * width..(lane + 1) * width];
        let waits = graph.waits_of(id);
        let clocks = |wait: CellWait| sources(graph, wait).filter_map(|source| after[source as usize].as_deref());
        if waits.len() > 1 {
            greatest.fill(Greatest::default());
            for &wait in waits {
                let whose = identity(graph, wait);
                for clock in clocks(wait) {
                    greatest.iter_mut().zip(clock).for_each(|(greatest, &time)| greatest.add(time, whose));
                }
            }
        }
        for (n, &wait) in (first_wait[id as usize]..).zip(waits) {
            let whose = identity(graph, wait);
            for source in sources(graph, wait) {
                let (from, time) = (graph.lane_of(source) as usize, graph.index(source) + 1);
                let Some(at) = from.checked_sub(of.start).filter(|&at| at < width) else { continue };
                let others = if waits.len() > 1 { greatest[at].of_others(whose) } else { 0 };
                unknown[n] |= own[at].max(others) < time;
            }
        }
        for &wait in waits {
            for clock in clocks(wait) {
                own.iter_mut().zip(clock).for_each(|(now, &time)| *now = time.max(*now));
            }
        }
        if let Some(at) = lane.checked_sub(of.start).filter(|&at| at < width) {
            own[at] = graph.index(id) + 1;
        }
        if awaited[id as usize] {
            after[id as usize] = Some((&*own).into());
        }
    }
}

/// The same for waits for the same: the instruction that ends it, or the cell where that is several.
fn identity(graph: &Graph, wait: CellWait) -> u32 {
    match graph.sources(wait) {
        Sources::Known(&[source]) => source + 1,
        _ => u32::MAX - wait.cell,
    }
}

/// What has certainly happened once a wait is over.
fn sources(graph: &Graph, wait: CellWait) -> impl Iterator<Item = u32> + '_ {
    let known = match graph.sources(wait) {
        Sources::Known(sources) => sources,
        Sources::Ambiguous | Sources::Never => &[],
    };
    known.iter().copied()
}
