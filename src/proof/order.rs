//! Proofs 2 and 3: one simulated run decides deadlock, clocks over it decide races.
//!
//! A race is two accesses to one chunk, at least one a write, that neither program order nor notify -> wait edges order.
//! A notify is also racing with a zeroing of the signals it lands in: that is the erased notify.

use super::report::{Finding, Findings};
use crate::collective::{Collective, Ranks};
use crate::schedule::{Address, AddressMap, Graph, Schedule, Signal, Sources};

const NOBODY: u32 = u32::MAX;

/// Runs every lane as far as it goes; returns the order of execution, and why lanes are stuck if any is.
pub(super) fn simulate(schedule: &Schedule, graph: &Graph) -> (Vec<u32>, Findings) {
    let mut order = Vec::with_capacity(graph.instructions() as usize);
    let mut arrived = vec![0_u32; graph.cells() as usize];
    let mut next: Vec<u32> = (0..graph.lanes()).map(|lane| graph.lane(lane).start).collect();
    let mut blocked_on = vec![None; graph.lanes() as usize];
    // Lanes that wait for a cell, as linked lists.
    let mut waiting = vec![NOBODY; graph.cells() as usize];
    let mut also_waiting = vec![NOBODY; graph.lanes() as usize];

    let mut ready: std::collections::VecDeque<u32> = (0..graph.lanes()).collect();
    while let Some(lane) = ready.pop_front() {
        let end = graph.lane(lane).end;
        while next[lane as usize] < end {
            let id = next[lane as usize];
            let unmet = graph.waits_of(id).iter().find(|wait| arrived[wait.cell as usize] < wait.at_least);
            if let Some(&wait) = unmet {
                blocked_on[lane as usize] = Some(wait);
                also_waiting[lane as usize] = waiting[wait.cell as usize];
                waiting[wait.cell as usize] = lane;
                break;
            }
            blocked_on[lane as usize] = None;
            order.push(id);
            next[lane as usize] += 1;
            for &cell in graph.notifies_of(id) {
                arrived[cell as usize] += 1;
                let mut woken = std::mem::replace(&mut waiting[cell as usize], NOBODY);
                while woken != NOBODY {
                    ready.push_back(woken);
                    woken = std::mem::replace(&mut also_waiting[woken as usize], NOBODY);
                }
            }
        }
    }
    let stuck: Vec<Stuck> = blocked_on
        .iter()
        .enumerate()
        .filter_map(|(lane, wait)| {
            wait.map(|wait| {
                let arrived = arrived[wait.cell as usize];
                Stuck { id: next[lane], cell: wait.cell, at_least: wait.at_least, arrived }
            })
        })
        .collect();
    let findings = explain(schedule, graph, &next, &stuck);
    (order, findings)
}

/// A lane that waits for ever.
struct Stuck {
    id: u32,
    cell: u32,
    at_least: u32,
    arrived: u32,
}

/// First the wait cycles and the waits that nobody could ever meet, since these are causes; the rest only follows.
fn explain(schedule: &Schedule, graph: &Graph, next: &[u32], stuck: &[Stuck]) -> Findings {
    let mut findings = Findings::default();
    let mut of_lane = vec![NOBODY; graph.lanes() as usize];
    for (i, s) in stuck.iter().enumerate() {
        of_lane[graph.lane_of(s.id) as usize] = i as u32;
    }
    // The first notify that is missing, if it exists, is still ahead in its lane.
    let missing = |s: &Stuck| {
        let notifiers = graph.notifiers_of(s.cell);
        notifiers.iter().copied().find(|&id| id >= next[graph.lane_of(id) as usize])
    };
    let line = |s: &Stuck| {
        let (site, signal) = (graph.site(schedule, s.id), graph.signal(s.cell));
        format!("{site} waits for {signal} >= {}, which is {}", s.at_least, s.arrived)
    };
    const UNSEEN: u32 = 0;
    let mut walk = vec![UNSEEN; stuck.len()];
    let mut followers = Vec::new();
    for start in 0..stuck.len() {
        let mut path = Vec::new();
        let mut at = start;
        loop {
            if walk[at] != UNSEEN {
                if walk[at] == start as u32 + 1 {
                    let from = path.iter().position(|&i| i == at).unwrap_or(0);
                    let cycle: Vec<String> = path[from..]
                        .iter()
                        .map(|&i| {
                            let who = missing(&stuck[i]).map(|id| graph.site(schedule, id).to_string());
                            format!("{}; {} should notify", line(&stuck[i]), who.unwrap_or_default())
                        })
                        .collect();
                    let s = &stuck[at];
                    findings.push(|| {
                        Finding::new(format!("wait cycle of {}:\n    {}", cycle.len(), cycle.join("\n    ")))
                            .at(graph.site(schedule, s.id))
                            .on(graph.signal(s.cell))
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
        findings.push(|| Finding::new(line(s)).at(graph.site(schedule, s.id)).on(graph.signal(s.cell)));
    }
    findings
}

/// How far a lane has come, in instructions. Signed and as narrow as a schedule allows: every instruction set has an
/// instruction for the greater of two such vectors.
trait Time: Copy + Ord + Default + TryFrom<u32> + Into<i32> {}

impl Time for i16 {}
impl Time for i32 {}

/// How much of the happens-before order clocks hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Program order up to a notify and from its wait on, one edge far: most accesses are ordered by that already.
    OneEdge,
    /// All of it.
    All,
}

/// Vector clocks of all lanes, and the snapshots that travel with notifies.
struct Clocks<T> {
    lanes: usize,
    now: Vec<T>,
    snapshots: Vec<T>,
    free: Vec<u32>,
}

impl<T: Time> Clocks<T> {
    fn new(lanes: usize) -> Self {
        Self { lanes, now: vec![T::default(); lanes * lanes], snapshots: Vec::new(), free: Vec::new() }
    }

    /// How many instructions of `other` have happened before what `lane` does now.
    fn known(&self, lane: u32, other: u32) -> u32 {
        let time: i32 = self.now[lane as usize * self.lanes + other as usize].into();
        time as u32
    }

    fn set(&mut self, lane: u32, other: u32, time: u32) {
        // The caller has chosen a type in which every time fits.
        self.now[lane as usize * self.lanes + other as usize] = T::try_from(time).unwrap_or_default();
    }

    fn snapshot(&mut self, lane: u32) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.snapshots.resize(self.snapshots.len() + self.lanes, T::default());
            (self.snapshots.len() / self.lanes) as u32 - 1
        });
        let from = lane as usize * self.lanes;
        self.snapshots[index as usize * self.lanes..][..self.lanes].copy_from_slice(&self.now[from..from + self.lanes]);
        index
    }

    fn join(&mut self, lane: u32, snapshot: u32) {
        let now = &mut self.now[lane as usize * self.lanes..][..self.lanes];
        let then = &self.snapshots[snapshot as usize * self.lanes..][..self.lanes];
        for (now, then) in now.iter_mut().zip(then) {
            *now = (*now).max(*then);
        }
    }
}

/// One earlier access: the lane, and its clock from that access on.
#[derive(Clone, Copy)]
struct Access {
    lane: u32,
    time: u32,
    /// Next in a list of reads.
    next: u32,
}

/// Reads since the last write of a chunk, in a pool.
struct History {
    writes: Vec<Access>,
    read_heads: Vec<u32>,
    reads: Vec<Access>,
}

/// What the happens-before order shows.
pub(super) struct Ordered {
    /// Accesses and notifies that it does not order.
    pub(super) races: Findings,
    /// Ranks that can leave before another has come. Of interest in a barrier only, and only then looked for.
    pub(super) early: Findings,
}

/// What one edge orders is ordered; only where that leaves anything open, the whole order is looked at. It costs a
/// vector of all lanes for every notify and wait.
pub(super) fn races(schedule: &Schedule, map: &AddressMap, graph: &Graph, order: &[u32]) -> Ordered {
    let longest = (0..graph.lanes()).map(|lane| graph.lane(lane).len()).max().unwrap_or(0);
    let races_in = if longest <= i16::MAX as usize { races_in::<i16> } else { races_in::<i32> };
    let near = races_in(Reach::OneEdge, schedule, map, graph, order);
    if near.races.is_empty() && near.early.is_empty() {
        return near;
    }
    races_in(Reach::All, schedule, map, graph, order)
}

fn races_in<T: Time>(reach: Reach, schedule: &Schedule, map: &AddressMap, graph: &Graph, order: &[u32]) -> Ordered {
    let mut findings = Findings::default();
    let mut clocks = Clocks::<T>::new(graph.lanes() as usize);
    let never = Access { lane: NOBODY, time: 0, next: NOBODY };
    let mut history =
        History { writes: vec![never; map.len()], read_heads: vec![NOBODY; map.len()], reads: Vec::new() };
    // Neither is of use one edge far.
    let (mut snapshot_of, mut uses) = match reach {
        Reach::OneEdge => (Vec::new(), Vec::new()),
        Reach::All => (vec![NOBODY; graph.instructions() as usize], snapshot_uses(graph)),
    };
    let zeroings = zeroings(schedule, graph);

    for &id in order {
        let lane = graph.lane_of(id);
        for &wait in graph.waits_of(id) {
            let Sources::Known(sources) = graph.sources(wait) else { continue };
            for &source in sources {
                let from = graph.lane_of(source);
                let known = clocks.known(lane, from) > graph.index(source);
                if reach == Reach::OneEdge {
                    if !known {
                        clocks.set(lane, from, graph.index(source) + 1);
                    }
                    continue;
                }
                // A clock that knows the sender's time already holds all that came with it.
                if !known {
                    clocks.join(lane, snapshot_of[source as usize]);
                }
                uses[source as usize] -= 1;
                if uses[source as usize] == 0 {
                    clocks.free.push(snapshot_of[source as usize]);
                }
            }
        }
        let time = graph.index(id) + 1;
        clocks.set(lane, lane, time);
        let instruction = graph.instruction(schedule, id);
        let mut race = |address: Address, what: &str, other: Access, did: &str| {
            findings.push(|| {
                let site = graph.site(schedule, id);
                let other = graph.site(schedule, graph.lane(other.lane).start + other.time - 1);
                let address = schedule.show(address);
                Finding::new(format!("{site} {what} {address}, not ordered with {other}, which {did} it")).at(site)
            });
        };
        for &start in instruction.from.iter().filter(|start| !map.is_only_read(start.buffer)) {
            for chunk in start.chunk..start.chunk + instruction.chunks {
                let address = Address { chunk, ..start };
                let place = map.index(address);
                let write = history.writes[place];
                if write.lane != NOBODY && clocks.known(lane, write.lane) < write.time {
                    race(address, "reads", write, "writes");
                }
                history.read(place, lane, time);
            }
        }
        for &start in &instruction.to {
            for chunk in start.chunk..start.chunk + instruction.chunks {
                let address = Address { chunk, ..start };
                let place = map.index(address);
                let write = history.writes[place];
                if write.lane != NOBODY && clocks.known(lane, write.lane) < write.time {
                    race(address, "writes", write, "also writes");
                }
                let mut read = history.read_heads[place];
                while read != NOBODY {
                    let access = history.reads[read as usize];
                    if clocks.known(lane, access.lane) < access.time {
                        race(address, "writes", access, "reads");
                    }
                    read = access.next;
                }
                history.read_heads[place] = NOBODY;
                history.writes[place] = Access { lane, time, next: NOBODY };
            }
        }
        if reach == Reach::All && uses[id as usize] > 0 {
            snapshot_of[id as usize] = clocks.snapshot(lane);
        }
        if !zeroings.is_empty() {
            for &cell in graph.notifies_of(id) {
                let signal = graph.signal(cell);
                for &zeroing in zeroings.iter().filter(|&&zeroing| erases(schedule, graph, zeroing, signal)) {
                    if clocks.known(lane, graph.lane_of(zeroing)) <= graph.index(zeroing) {
                        let (site, eraser) = (graph.site(schedule, id), graph.site(schedule, zeroing));
                        findings.push(|| {
                            let text =
                                format!("{site} notifies {signal}, which {eraser} may erase: it zeroes in-kernel");
                            Finding::new(text).at(site).on(signal)
                        });
                    }
                }
            }
        }
    }
    let barrier = schedule.task.collective == Collective::Barrier;
    let early = if barrier { early(schedule, graph, &clocks) } else { Findings::default() };
    Ordered { races: findings, early }
}

/// Ranks that end without knowing that every other has begun.
fn early<T: Time>(schedule: &Schedule, graph: &Graph, clocks: &Clocks<T>) -> Findings {
    let mut findings = Findings::default();
    let lanes_of = |rank| (0..graph.lanes()).filter(move |&lane| schedule.lanes[lane as usize].rank == rank);
    let ranks = schedule.ranks as usize;
    let mut known = vec![false; ranks];
    for rank in 0..schedule.ranks {
        known.fill(false);
        known[rank as usize] = true;
        for lane in lanes_of(rank) {
            let others = (0..graph.lanes()).filter(|&other| clocks.known(lane, other) > 0);
            others.for_each(|other| known[schedule.lanes[other as usize].rank as usize] = true);
        }
        let absent: Vec<u32> = (0..schedule.ranks).filter(|&peer| !known[peer as usize]).collect();
        if !absent.is_empty() {
            let ranks = Ranks(&absent);
            findings.push(|| Finding::new(format!("rank {rank} can leave the barrier before rank {ranks} has come")));
        }
    }
    findings
}

impl History {
    /// A lane's later read stands for its earlier ones. Looked for among the latest only: where all ranks read one place,
    /// a whole walk a read would be quadratic, and an earlier read that stays in the list says nothing false.
    fn read(&mut self, place: usize, lane: u32, time: u32) {
        const LATEST: usize = 4;
        let mut read = self.read_heads[place];
        for _ in 0..LATEST {
            if read == NOBODY {
                break;
            }
            let access = &mut self.reads[read as usize];
            if access.lane == lane {
                access.time = time;
                return;
            }
            read = access.next;
        }
        self.reads.push(Access { lane, time, next: self.read_heads[place] });
        self.read_heads[place] = self.reads.len() as u32 - 1;
    }
}

/// How many waits an instruction's notifies will end, so that its snapshot can be dropped after the last.
fn snapshot_uses(graph: &Graph) -> Vec<u32> {
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

fn zeroings(schedule: &Schedule, graph: &Graph) -> Vec<u32> {
    (0..graph.instructions()).filter(|&id| graph.instruction(schedule, id).zeroes_signals).collect()
}

fn erases(schedule: &Schedule, graph: &Graph, zeroing: u32, signal: Signal) -> bool {
    schedule.lanes[graph.lane_of(zeroing) as usize].rank == signal.rank
}
