//! Proofs 2 and 3: one simulated run decides deadlock, clocks over it decide races.
//!
//! A race is two accesses to one chunk, at least one a write, that neither program order nor notify -> wait edges order.
//! A notify is also racing with a zeroing of the signals it lands in: that is the erased notify.

use rustc_hash::FxHashMap;

use super::clocks::{Clocks, Edges, Time, Told, Vectors};
use super::memory::{Memory, Short};
use super::report::{Finding, Findings};
use super::simulate::{Lanes, Stuck};
use super::turn::{Each, Turn, Turns};
use crate::collective::{Collective, Ranks};
use crate::schedule::{Address, AddressMap, Graph, Schedule, Signal, Sources};

const NOBODY: u32 = u32::MAX;

/// Runs every lane as far as it goes; returns the order of execution, and why lanes are stuck if any is.
pub(super) fn simulate(schedule: &Schedule, graph: &Graph) -> (Vec<u32>, Findings) {
    let mut lanes = Lanes::new(graph);
    lanes.run(|_| false);
    let findings = explain(schedule, graph, &lanes.next, &lanes.stuck());
    (lanes.order, findings)
}

/// First the wait cycles and the waits that nobody could ever meet, since these are causes; the rest only follows.
fn explain(schedule: &Schedule, graph: &Graph, next: &[u32], stuck: &[Stuck]) -> Findings {
    let mut findings = Findings::default();
    let mut of_lane = vec![NOBODY; graph.lanes() as usize];
    for (i, s) in stuck.iter().enumerate() {
        of_lane[graph.lane_of(s.id) as usize] = i as u32;
    }
    // The first notify that is missing, if it exists, is still ahead in its lane. Many lanes may wait for one signal.
    let mut first_ahead = FxHashMap::default();
    for s in stuck {
        let ahead = || graph.notifiers_of(s.cell).iter().copied().find(|&id| id >= next[graph.lane_of(id) as usize]);
        first_ahead.entry(s.cell).or_insert_with(ahead);
    }
    let missing = |s: &Stuck| first_ahead.get(&s.cell).copied().flatten();
    let line = |s: &Stuck| {
        let (site, signal) = (graph.site(schedule, s.id), graph.signal(s.cell));
        format!("{site} waits for {signal} >= {}, which is {}", s.at_least, s.arrived)
    };
    const UNSEEN: u32 = 0;
    // Of a cycle; nobody reads more of them.
    const SHOWN: usize = 64;
    let mut walk = vec![UNSEEN; stuck.len()];
    let mut followers = Vec::new();
    for start in 0..stuck.len() {
        let mut path = Vec::new();
        let mut at = start;
        loop {
            if walk[at] != UNSEEN {
                if walk[at] == start as u32 + 1 {
                    let from = path.iter().position(|&i| i == at).unwrap_or(0);
                    let (s, cycle) = (&stuck[at], &path[from..]);
                    let turn = |&i: &usize| {
                        let who = missing(&stuck[i]).map(|id| graph.site(schedule, id).to_string());
                        format!("\n    {}; {} should notify", line(&stuck[i]), who.unwrap_or_default())
                    };
                    findings.push(|| {
                        let shown: String = cycle.iter().take(SHOWN).map(turn).collect();
                        let rest = match cycle.len().saturating_sub(SHOWN) {
                            0 => String::new(),
                            more => format!("\n    and {more} more"),
                        };
                        Finding::new(format!("wait cycle of {}:{shown}{rest}", cycle.len()))
                            .at(graph.site(schedule, s.id))
                            .on(graph.signal(s.cell))
                            .with(cycle[1..].iter().map(|&i| graph.site(schedule, stuck[i].id)))
                    });
                    path.truncate(from);
                }
                break;
            }
            walk[at] = start as u32 + 1;
            path.push(at);
            match missing(&stuck[at]) {
                Some(id) => at = of_lane[graph.lane_of(id) as usize] as usize,
                None => {
                    let s = &stuck[at];
                    let signal = graph.signal(s.cell);
                    findings.push(|| {
                        Finding::new(format!("{}, and rank {} never notifies it", line(s), signal.sender))
                            .at(graph.site(schedule, s.id))
                            .on(signal)
                    });
                    path.pop();
                    break;
                }
            }
        }
        followers.extend(path);
    }
    for i in followers {
        let s = &stuck[i];
        findings.push(|| {
            let who = missing(s).map(|id| graph.site(schedule, id));
            Finding::new(line(s)).at(graph.site(schedule, s.id)).on(graph.signal(s.cell)).with(who)
        });
    }
    findings
}

/// One earlier access: whose, and that lane's clock from that access on.
#[derive(Clone, Copy)]
struct Access {
    other: u32,
    time: u32,
}

const NEVER: Access = Access { other: NOBODY, time: 0 };

/// A read in the list of its place, or one that is free.
#[derive(Clone, Copy)]
struct Read {
    by: Access,
    next: u32,
}

/// Accesses since the last write of a place.
struct History {
    writes: Vec<Access>,
    read_heads: Vec<u32>,
    reads: Vec<Read>,
    free: u32,
}

/// What the happens-before order shows.
#[derive(Default)]
pub(super) struct Ordered {
    /// Accesses and notifies that it does not order.
    pub(super) races: Findings,
    /// Ranks that can leave before another has come. Of interest in a barrier only, and only then looked for.
    pub(super) early: Findings,
}

/// What one edge orders is ordered; only where that leaves anything open, the whole order is looked at. It costs a
/// vector of all lanes for every lane that learns something.
///
/// # Errors
/// [`Short`] of memory.
pub(super) fn races(
    schedule: &Schedule,
    map: &AddressMap,
    graph: &Graph,
    order: &[u32],
    memory: &mut Memory,
) -> Result<Ordered, Short> {
    let proof = Races { schedule, map, graph, order, turns: &Each::new(map) };
    let before = memory.taken();
    let near = proof.by(Edges::new(graph.lanes(), graph.waits() as usize), memory)?;
    memory.back_to(before);
    if near.races.is_empty() && near.early.is_empty() {
        return Ok(near);
    }
    let ordered = proof.by_vectors(memory);
    memory.back_to(before);
    ordered
}

/// Whether the whole order leaves nothing open, where `schedule` has the lanes of rank 0, which stand for all.
///
/// # Errors
/// [`Short`] of memory.
pub(super) fn is_ordered(
    schedule: &Schedule,
    map: &AddressMap,
    graph: &Graph,
    order: &[u32],
    turns: &Turn,
    memory: &mut Memory,
) -> Result<bool, Short> {
    let ordered = Races { schedule, map, graph, order, turns }.by_vectors(memory)?;
    Ok(ordered.races.is_empty() && ordered.early.is_empty())
}

struct Races<'a, T> {
    schedule: &'a Schedule,
    map: &'a AddressMap,
    graph: &'a Graph,
    order: &'a [u32],
    turns: &'a T,
}

impl<T: Turns> Races<'_, T> {
    fn by_vectors(&self, memory: &mut Memory) -> Result<Ordered, Short> {
        let graph = self.graph;
        let longest = (0..graph.lanes()).map(|lane| graph.lane(lane).len()).max().unwrap_or(0);
        match longest <= i16::MAX as usize {
            true => self.by_vectors_of::<i16>(memory),
            false => self.by_vectors_of::<i32>(memory),
        }
    }

    fn by_vectors_of<U: Time>(&self, memory: &mut Memory) -> Result<Ordered, Short> {
        self.by(Vectors::<U>::new(memory, self.graph.lanes(), self.turns.turns())?, memory)
    }

    fn by<C: Clocks>(&self, mut clocks: C, memory: &mut Memory) -> Result<Ordered, Short> {
        let Self { schedule, map, graph, order, turns } = *self;
        let mut findings = Findings::default();
        let mut history = History::new(turns.places(), memory)?;
        // Neither is of use one edge far.
        let (mut kept, uses) = match C::NEAR {
            true => (Vec::new(), Vec::new()),
            false => (vec![0; graph.instructions() as usize], uses(graph)),
        };
        let zeroings = Zeroings::new(schedule, graph);

        for &id in order {
            let lane = graph.lane_of(id);
            for &wait in graph.waits_of(id) {
                let Sources::Known(sources) = graph.sources(wait) else { continue };
                let turn = if T::FOLDED { graph.signal(wait.cell).sender } else { 0 };
                for &source in sources {
                    let (from, time) = (graph.lane_of(source), graph.index(source) + 1);
                    let kept = if C::NEAR { 0 } else { kept[source as usize] };
                    clocks.join(memory, lane, Told { lane: from, turn, time, kept })?;
                }
            }
            let time = graph.index(id) + 1;
            clocks.at(lane, time);
            let instruction = graph.instruction(schedule, id);
            let mut race = |address: Address, what: &str, other: Access, did: &str| {
                findings.push(|| {
                    let site = graph.site(schedule, id);
                    let other = graph.site(schedule, graph.lane(turns.lane(other.other)).start + other.time - 1);
                    let shown = schedule.show(address);
                    Finding::new(format!("{site} {what} {shown}, not ordered with {other}, which {did} it"))
                        .at(site)
                        .with([other])
                        .over([address])
                });
            };
            let known = |other: Access, turn: u32| clocks.known(lane, turns.seen(other.other, turn)) >= other.time;
            for &start in instruction.from.iter().filter(|start| !map.is_only_read(start.buffer)) {
                for chunk in start.chunk..start.chunk + instruction.chunks {
                    let address = Address { chunk, ..start };
                    let (place, turn) = turns.place(map, address);
                    let write = history.writes[place];
                    if write.other != NOBODY && !known(write, turn) {
                        race(address, "reads", write, "writes");
                    }
                    history.read(memory, place, Access { other: turns.other(lane, turn), time })?;
                }
            }
            for &start in &instruction.to {
                for chunk in start.chunk..start.chunk + instruction.chunks {
                    let address = Address { chunk, ..start };
                    let (place, turn) = turns.place(map, address);
                    let write = history.writes[place];
                    if write.other != NOBODY && !known(write, turn) {
                        race(address, "writes", write, "also writes");
                    }
                    history.write(place, Access { other: turns.other(lane, turn), time }, |read| {
                        if !known(read, turn) {
                            race(address, "writes", read, "reads");
                        }
                    });
                }
            }
            if !C::NEAR && uses[id as usize] > 0 {
                kept[id as usize] = clocks.keep(lane, uses[id as usize]);
            }
            for &cell in graph.notifies_of(id).iter().filter(|_| !zeroings.is_empty()) {
                let signal = graph.signal(cell);
                let unordered = |&zeroing: &u32| clocks.known(lane, graph.lane_of(zeroing)) <= graph.index(zeroing);
                if let Some(&zeroing) = zeroings.of(signal).iter().find(|zeroing| unordered(zeroing)) {
                    findings.push(|| {
                        let (site, eraser) = (graph.site(schedule, id), graph.site(schedule, zeroing));
                        let text = format!("{site} notifies {signal}, which {eraser} may erase: it zeroes in-kernel");
                        Finding::new(text).at(site).on(signal).with([eraser])
                    });
                }
            }
            // What one edge leaves open is looked at again; and who stands for others is not named.
            if (C::NEAR || T::FOLDED) && !findings.is_empty() {
                break;
            }
        }
        let barrier = schedule.task.collective == Collective::Barrier;
        let early = if barrier { early(schedule, graph, turns, &clocks) } else { Findings::default() };
        Ok(Ordered { races: findings, early })
    }
}

/// Ranks that end without knowing that every other has begun.
fn early<T: Turns>(schedule: &Schedule, graph: &Graph, turns: &T, clocks: &impl Clocks) -> Findings {
    let mut findings = Findings::default();
    let rank_of = |lane: u32| schedule.lanes[lane as usize].rank;
    // Of rank 0, where its lanes are all there are.
    let of_other = |other: u32| if T::FOLDED { other % schedule.ranks } else { rank_of(other) };
    let mut lanes: Vec<u32> = (0..graph.lanes()).collect();
    lanes.sort_by_key(|&lane| rank_of(lane));
    let mut lanes = lanes.as_slice();
    for rank in 0..schedule.ranks / turns.turns() {
        let (own, rest) = lanes.split_at(lanes.partition_point(|&lane| rank_of(lane) == rank));
        lanes = rest;
        let mut known = vec![false; schedule.ranks as usize];
        known[rank as usize] = true;
        own.iter().for_each(|&lane| clocks.known_of(lane, &mut |other| known[of_other(other) as usize] = true));
        let absent: Vec<u32> = (0..schedule.ranks).filter(|&peer| !known[peer as usize]).collect();
        if !absent.is_empty() {
            let ranks = Ranks(&absent);
            findings.push(|| {
                Finding::new(format!("rank {rank} can leave the barrier before rank {ranks} has come"))
                    .lacks(absent.iter().copied())
            });
        }
    }
    findings
}

const CHUNKS: &str = "chunks and slots";
const READS: &str = "reads that are followed by no write";

impl History {
    fn new(places: usize, memory: &mut Memory) -> Result<Self, Short> {
        let (writes, read_heads) = (memory.filled(CHUNKS, NEVER, places)?, memory.filled(CHUNKS, NOBODY, places)?);
        Ok(Self { writes, read_heads, reads: Vec::new(), free: NOBODY })
    }

    /// A lane's later read stands for its earlier ones. Looked for among the latest only: where all ranks read one place,
    /// a whole walk a read would be quadratic, and an earlier read that stays in the list says nothing false.
    fn read(&mut self, memory: &mut Memory, place: usize, by: Access) -> Result<(), Short> {
        const LATEST: usize = 4;
        let head = self.read_heads[place];
        let mut read = head;
        for _ in 0..LATEST {
            if read == NOBODY {
                break;
            }
            let known = &mut self.reads[read as usize];
            if known.by.other == by.other {
                known.by.time = by.time;
                return Ok(());
            }
            read = known.next;
        }
        self.read_heads[place] = if self.free == NOBODY {
            memory.push(READS, &mut self.reads, Read { by, next: head })?;
            self.reads.len() as u32 - 1
        } else {
            let free = self.free;
            self.free = std::mem::replace(&mut self.reads[free as usize], Read { by, next: head }).next;
            free
        };
        Ok(())
    }

    /// A write ends the list of reads; `each` sees them.
    fn write(&mut self, place: usize, by: Access, mut each: impl FnMut(Access)) {
        self.writes[place] = by;
        let mut read = std::mem::replace(&mut self.read_heads[place], NOBODY);
        while read != NOBODY {
            let known = &mut self.reads[read as usize];
            each(known.by);
            let next = std::mem::replace(&mut known.next, self.free);
            self.free = read;
            read = next;
        }
    }
}

/// How many waits an instruction's notifies will end, so that what its lane knew can be dropped after the last.
fn uses(graph: &Graph) -> Vec<u32> {
    let mut uses = vec![0; graph.instructions() as usize];
    for id in 0..graph.instructions() {
        for &wait in graph.waits_of(id) {
            if let Sources::Known(sources) = graph.sources(wait) {
                sources.iter().for_each(|&source| uses[source as usize] += 1);
            }
        }
    }
    uses
}

/// The last instruction of each lane that zeroes its rank's signals: what comes after that, comes after all of them.
struct Zeroings(FxHashMap<u32, Vec<u32>>);

impl Zeroings {
    fn new(schedule: &Schedule, graph: &Graph) -> Self {
        let mut of_ranks = FxHashMap::<u32, Vec<u32>>::default();
        for (number, lane) in (0..).zip(&schedule.lanes) {
            let last = lane.instructions.iter().rposition(|instruction| instruction.zeroes_signals);
            let last = last.map(|index| graph.lane(number).start + index as u32);
            if let Some(id) = last {
                of_ranks.entry(lane.rank).or_default().push(id);
            }
        }
        Self(of_ranks)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that erase `signal`.
    fn of(&self, signal: Signal) -> &[u32] {
        self.0.get(&signal.rank).map_or(&[], Vec::as_slice)
    }
}
