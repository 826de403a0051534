//! All six proofs of a schedule in which every rank does what rank 0 does, turned: by the lanes of rank 0.
//!
//! Apart, because it is a short way to "all of it holds" and to nothing else: the schedule is looked at once, to see that it is
//! turned, and what is proved after that is as long as one rank's lanes. Whatever does not hold, or is not seen to, is
//! proved rank by rank, by proofs that say where and why.
//!
//! Why it decides the same. A turn by r takes rank q to q + r modulo P, and chunks and parts to places that [`Turn`] says; it is
//! a permutation of all addresses and signals that keeps what is the same memory and what outputs must hold. If it takes the
//! lanes of rank 0 to those of rank r, for each r, then it takes the schedule to itself, so what one rank may or may not do,
//! all may or may not.
//! - Structure: what exists of rank 0's, exists turned. Signals pair up on rank 0's matrix as on any: a notify of rank 0 to a
//!   peer d further on is, turned back by d, one of the rank d before to rank 0. [`Graph::folded`] has these.
//! - Deadlock: signals only grow, so lanes may go in any order, and these go in step: when an instruction of rank 0 can go,
//!   so can its turns, none of which can keep another from it. In this run the signals of rank 0 stand for all, which is the
//!   run of the folded graph.
//! - Order: in that run every rank's clock is that of rank 0, turned, so one for each of its lanes is enough. An access of
//!   rank 0 to a place of rank q is, turned back by q, one of the rank q before to a place of rank 0; so are all accesses to
//!   those places found, each by whom it is.
//! - Result: what an address holds is what the one of rank 0 holds that stands for it, turned. A tree and a turn say
//!   it, and all ranks agree in a chunk if what the next rank holds is that tree again.

use std::slice::Iter;

use super::memory::{Memory, Short};
use super::proved::Options;
use super::turn::{Moves, Turn};
use super::{orbits, order, structure};
use crate::schedule::room::is_there;
use crate::schedule::{Address, AddressMap, Draft, Graph, Instruction, Lane, MAX_RANKS, Notify, Schedule, Wait};

/// Whoever has the lanes of all ranks.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// Of each rank as many, one rank after the other.
    Schedule(&'a Schedule),
    /// Made when they are looked at.
    Draft(&'a Draft),
}

impl<'a> Source<'a> {
    /// What they are lanes of, which may have none.
    fn head(self) -> &'a Schedule {
        match self {
            Self::Schedule(schedule) => schedule,
            Self::Draft(draft) => draft.head(),
        }
    }

    /// The lanes of `rank`, for which there is `room`.
    fn lanes<'r>(self, rank: u32, room: &'r mut Vec<Lane>) -> &'r [Lane]
    where
        'a: 'r,
    {
        match self {
            Self::Schedule(schedule) => {
                let of_each = schedule.lanes.len() / schedule.ranks as usize;
                &schedule.lanes[rank as usize * of_each..][..of_each]
            }
            Self::Draft(draft) => {
                room.clear();
                draft.lanes(rank, room);
                room
            }
        }
    }
}

/// Most instructions that are numbered, and most lanes: those of all ranks are not more than rank by rank.
const MOST: u64 = u32::MAX as u64;

/// Lanes and instructions of all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) lanes: usize,
    pub(super) instructions: usize,
}

/// How much there is of the schedule, if all ranks do the same and all six proofs hold. `enough` says of instructions, waits and
/// notifies of rank 0 whether they are worth it.
pub(super) fn holds(source: Source<'_>, options: Options, enough: impl Fn(u64) -> bool) -> Option<Size> {
    let first = first(source, enough)?;
    let (map, size) = structure::ranges(&first, options).ok()?;
    let mut memory = Memory::new(&size, options.memory);
    memory.ask(&size, options.in_place).ok()?;

    let mut room = Vec::new();
    let next = source.lanes(1, &mut room);
    let turned = Turn::of(&first, &map).into_iter().find_map(|turn| {
        let mut turned = Turned::new(turn, &first)?;
        turned.takes(&first.lanes, next, 1).then_some(turned)
    });
    let mut turned = turned?;
    if !(2..first.ranks).all(|rank| turned.takes(&first.lanes, source.lanes(rank, &mut room), rank)) {
        return None;
    }
    let Turned { turn, alike, instructions, .. } = turned;
    if instructions > MOST {
        return None;
    }
    let size = Size { lanes: first.lanes.len() * first.ranks as usize, instructions: instructions as usize };
    let first = match options.in_place {
        true => structure::without_idle_copies(&first, &map).unwrap_or(first),
        false => first,
    };
    let held = hold(&first, &map, &turn, &alike, &mut memory);
    held.is_ok_and(|held| held).then_some(size)
}

/// The schedule with the lanes of rank 0 only, if it can be one in which these stand for all.
fn first(source: Source<'_>, enough: impl Fn(u64) -> bool) -> Option<Schedule> {
    let head = source.head();
    let ranks = head.ranks;
    let most = ranks as usize;
    if !(2..=MAX_RANKS).contains(&ranks) || head.slots.len() > most || head.task.sources.len() > most {
        return None;
    }
    if let Source::Schedule(schedule) = source
        && !schedule.lanes.len().is_multiple_of(ranks as usize)
    {
        return None;
    }
    let mut room = Vec::new();
    let lanes = source.lanes(0, &mut room);
    let parts = |instruction: &Instruction| (1 + instruction.waits.len() + instruction.notifies.len()) as u64;
    let of_one = lanes.iter().flat_map(|lane| &lane.instructions).map(parts).sum::<u64>();
    let fits = lanes.len() <= structure::MAX_LANES / ranks as usize && of_one <= MOST / u64::from(ranks);
    if !fits || !enough(of_one) || lanes.iter().any(|lane| lane.rank != 0) {
        return None;
    }
    // A copy, if the schedule is somebody's.
    if !is_there(lanes.iter().map(|lane| lane.heap_bytes() as u64).sum()) {
        return None;
    }
    let lanes = match source {
        Source::Schedule(_) => lanes.to_vec(),
        Source::Draft(_) => room,
    };
    let Schedule { ref origin, ref task, chunks, granularity, ref slots, signal_rows, .. } = *head;
    let (origin, task, slots) = (origin.clone(), task.clone(), slots.clone());
    Some(Schedule { origin, task, ranks, chunks, granularity, slots, signal_rows, lanes })
}

fn hold(first: &Schedule, map: &AddressMap, turn: &Turn, alike: &[bool], memory: &mut Memory) -> Result<bool, Short> {
    let graph = Graph::folded(first);
    if !structure::signals(first, &graph).is_empty() {
        return Ok(false);
    }
    let (order, stuck) = order::simulate(first, &graph);
    if !stuck.is_empty() {
        return Ok(false);
    }
    let before = memory.taken();
    let ordered = order::is_ordered(first, map, &graph, &order, turn, memory)?;
    memory.back_to(before);
    Ok(ordered && orbits::hold(first, map, &graph, &order, turn, alike, memory)?)
}

/// A turn that takes all lanes that were looked at to each other.
struct Turned {
    turn: Turn,
    /// By instruction of rank 0, how its chunks turn.
    moves: Vec<Moves>,
    /// By instruction of rank 0, whether all ranks take operands in its order.
    alike: Vec<bool>,
    /// Of all ranks that were looked at.
    instructions: u64,
}

impl Turned {
    /// None if chunks of an instruction go apart.
    fn new(turn: Turn, first: &Schedule) -> Option<Self> {
        let instructions = || first.lanes.iter().flat_map(|lane| &lane.instructions);
        let moves = instructions().map(|instruction| turn.moves(instruction)).collect::<Option<Vec<_>>>()?;
        let (alike, instructions) = (vec![true; moves.len()], moves.len() as u64);
        Some(Self { turn, moves, alike, instructions })
    }

    /// Whether `first`, which are those of rank 0, are taken to `lanes` by a turn by `rank`.
    fn takes(&mut self, first: &[Lane], lanes: &[Lane], rank: u32) -> bool {
        let mut number = 0;
        first.len() == lanes.len()
            && first.iter().zip(lanes).all(|(ours, theirs)| {
                let mut rest = theirs.instructions.iter();
                let mut same = |instruction| {
                    number += 1;
                    self.is_next(number - 1, instruction, &mut rest, rank)
                };
                let all = theirs.rank == rank && ours.instructions.iter().all(&mut same);
                self.instructions += theirs.instructions.len() as u64;
                all && rest.next().is_none()
            })
    }

    /// Whether `theirs` goes on with `ours`, turned: in as many pieces as the turn makes of its chunks, between which nobody
    /// waits and nobody is notified, so that they are as one.
    fn is_next(&mut self, number: usize, ours: &Instruction, theirs: &mut Iter<'_, Instruction>, by: u32) -> bool {
        let mut done = 0;
        for piece in theirs.by_ref() {
            let (first, last) = (done == 0, done + piece.chunks.min(ours.chunks) >= ours.chunks);
            let (waits, notifies) =
                (if first { &ours.waits[..] } else { &[] }, if last { &ours.notifies[..] } else { &[] });
            let turn = &self.turn;
            let wait = |wait: &Wait| Wait { sender: turn.rank(wait.sender, by), ..*wait };
            let notify = |notify: &Notify| Notify { peer: turn.rank(notify.peer, by), ..*notify };
            let same = (1..=ours.chunks - done).contains(&piece.chunks)
                && piece.zeroes_signals == ours.zeroes_signals
                && around(waits, &piece.waits, wait).is_some()
                && around(notifies, &piece.notifies, notify).is_some()
                && self.moves_alike(number, ours, done, piece, by);
            if !same || last {
                return same;
            }
            done += piece.chunks;
        }
        false
    }

    /// Whether `theirs` moves what `ours` does from its chunk `done` on, turned.
    fn moves_alike(&mut self, number: usize, ours: &Instruction, done: u32, theirs: &Instruction, by: u32) -> bool {
        let (turn, moves) = (&self.turn, self.moves[number]);
        let at = |address: &Address| Address { chunk: address.chunk + done, ..*address };
        let turned = |address: &Address| match moves {
            Moves::Around => turn.address(at(address), by),
            Moves::Within => Address { rank: turn.rank(address.rank, by), ..at(address) },
        };
        let addresses = || ours.from.iter().chain(&ours.to);
        let one = theirs.chunks == 1 || moves == Moves::Within;
        if !one && !addresses().all(|address| turn.keeps(at(address), theirs.chunks, by)) {
            return false;
        }
        let from = around(&ours.from, &theirs.from, turned);
        self.alike[number] &= from == Some(0);
        from.is_some() && around(&ours.to, &theirs.to, turned).is_some()
    }
}

/// Where in `theirs` all of `ours` begins, turned, and goes round: the order of what is in a list means nothing, or what this
/// tells, and whoever lists all ranks begins with the first or with himself.
#[inline]
fn around<T: PartialEq>(ours: &[T], theirs: &[T], turned: impl Fn(&T) -> T) -> Option<usize> {
    if ours.len() != theirs.len() {
        return None;
    }
    let same = |(ours, theirs): (&T, &T)| turned(ours) == *theirs;
    if ours.iter().zip(theirs).all(same) {
        return Some(0);
    }
    let first = turned(ours.first()?);
    let start = theirs.iter().position(|of| *of == first)?;
    let (before, after) = theirs.split_at(start);
    let (to_end, rest) = ours.split_at(after.len());
    (to_end.iter().zip(after).all(same) && rest.iter().zip(before).all(same)).then_some(start)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::collective::Collective;
    use crate::proof::Report;
    use crate::schedule::{Algorithm, Buffer, SyncStyle, build};

    fn short_way(schedule: &Schedule, options: Options) -> bool {
        holds(Source::Schedule(schedule), options, |_| true).is_some()
    }

    /// Rank by rank.
    fn long_way(schedule: &Schedule, options: Options) -> Report {
        super::super::prove::rank_by_rank(schedule, options)
    }

    fn all_hold(report: &Report) -> bool {
        report.proofs.iter().all(|outcome| outcome.ok)
    }

    /// Every built-in schedule, in and out of place.
    fn built() -> impl Iterator<Item = (Schedule, Options)> {
        let pairs = Collective::ALL.iter().flat_map(|&c| Algorithm::of(c).into_iter().map(move |a| (c, a)));
        let all = pairs.flat_map(|(collective, algorithm)| {
            let ranks = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12].into_iter();
            let of = move |ranks| [SyncStyle::Neighbor, SyncStyle::Barrier].map(|sync| (ranks, sync));
            ranks.flat_map(of).filter_map(move |(ranks, sync)| build(collective, algorithm, ranks, sync).ok())
        });
        all.flat_map(|schedule| {
            let places = if schedule.task.collective.has_in_place() { &[false, true][..] } else { &[false] };
            places.iter().map(move |&in_place| (schedule.clone(), Options::default().in_place(in_place)))
        })
    }

    /// The same of every rank, in which this is a mistake of all.
    fn everywhere(schedule: &Schedule, turn: &Turn, lane: usize, index: usize, with: &Instruction) -> Schedule {
        let mut changed = schedule.clone();
        let of_each = schedule.lanes.len() / schedule.ranks as usize;
        for rank in 0..schedule.ranks {
            changed.lanes[rank as usize * of_each + lane].instructions[index] = turned(with, turn, rank);
        }
        changed
    }

    fn turned(instruction: &Instruction, turn: &Turn, by: u32) -> Instruction {
        let mut all = instruction.clone();
        let within = turn.moves(instruction) == Some(Moves::Within);
        for address in all.from.iter_mut().chain(all.to.iter_mut()) {
            let chunk = address.chunk;
            *address = turn.address(*address, by);
            if within {
                address.chunk = chunk;
            }
        }
        all.waits.iter_mut().for_each(|wait| wait.sender = turn.rank(wait.sender, by));
        all.notifies.iter_mut().for_each(|notify| notify.peer = turn.rank(notify.peer, by));
        all
    }

    /// The turn of a schedule that has one.
    fn turn_of(schedule: &Schedule, options: Options) -> Option<Turn> {
        let of_each = schedule.lanes.len() / schedule.ranks as usize;
        let first = Schedule { lanes: schedule.lanes[..of_each].to_vec(), ..schedule.clone() };
        let (map, _) = structure::ranges(&first, options).ok()?;
        Turn::of(&first, &map).into_iter().find(|turn| {
            let of = |rank: u32| &schedule.lanes[rank as usize * of_each..][..of_each];
            let turned = Turned::new(turn.clone(), &first);
            turned.is_some_and(|mut turned| (1..schedule.ranks).all(|rank| turned.takes(&first.lanes, of(rank), rank)))
        })
    }

    /// What may be wrong with an instruction, or may not be.
    fn mutants(instruction: &Instruction) -> Vec<Instruction> {
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Instruction)| {
            let mut changed = instruction.clone();
            change(&mut changed);
            all.push(changed);
        };
        for n in 0..instruction.waits.len() {
            with(&|i| {
                i.waits.remove(n);
            });
            with(&|i| i.waits[n].at_least += 1);
            with(&|i| i.waits[n].at_least -= 1);
            with(&|i| i.waits[n].sender ^= 1);
            with(&|i| i.waits.push(i.waits[n]));
        }
        for n in 0..instruction.notifies.len() {
            with(&|i| {
                i.notifies.remove(n);
            });
            with(&|i| i.notifies[n].peer ^= 1);
            with(&|i| i.notifies.push(i.notifies[n]));
        }
        for n in 0..instruction.from.len() {
            with(&|i| i.from[n].chunk += 1);
            with(&|i| i.from[n].rank ^= 1);
            with(&|i| i.from.push(i.from[n]));
            with(&|i| {
                i.from.remove(n);
            });
            with(&|i| i.from.rotate_left(1));
        }
        for n in 0..instruction.to.len() {
            with(&|i| i.to[n].chunk += 1);
            with(&|i| i.to[n].rank ^= 1);
            with(&|i| i.to[n].buffer = Buffer::Slot);
            with(&|i| {
                i.to.remove(n);
            });
        }
        with(&|i| i.zeroes_signals = true);
        with(&|i| i.from.clear());
        all
    }

    #[test]
    fn built_in_schedules_go_the_short_way() {
        let mut short = BTreeSet::new();
        for (schedule, options) in built().filter(|(schedule, _)| schedule.ranks == 5) {
            if short_way(&schedule, options) {
                let Schedule { task, origin, .. } = &schedule;
                short.insert(format!("{} by {origin}", task.collective));
            }
        }
        let all = [
            "all-gather by mesh",
            "all-gather by ring",
            "all-reduce by bidirectional-ring",
            "all-reduce by direct",
            "all-reduce by ibing",
            "all-reduce by ring",
            "all-reduce by ring-exchange",
            "all-reduce by ring-staged",
            "all-reduce by two-phase",
            "all-to-all by mesh",
            "all-to-all by ring",
            "barrier by dissemination",
            "barrier by mesh",
            "reduce-scatter by mesh",
            "reduce-scatter by ring",
            "send-recv by mesh",
        ];
        assert_eq!(short.iter().map(String::as_str).collect::<Vec<_>>(), all);
    }

    #[test]
    fn both_ways_lead_to_the_same() {
        for (schedule, options) in built() {
            if short_way(&schedule, options) {
                let report = long_way(&schedule, options);
                assert!(all_hold(&report), "{:?} of {}\n{report}", schedule.origin, schedule.ranks);
                assert_eq!(Report::all_hold().to_string(), report.to_string());
            }
        }
    }

    /// How both ways judge what all ranks do wrong, or do otherwise.
    #[derive(Debug, Default)]
    struct Judged {
        right: u32,
        wrong: u32,
        /// What only the long way sees to be right.
        unseen: BTreeSet<String>,
    }

    impl Judged {
        /// # Panics
        /// If the short way holds what the long way does not.
        fn judge(&mut self, schedule: &Schedule, options: Options) {
            let report = long_way(schedule, options);
            match (short_way(schedule, options), all_hold(&report)) {
                (true, false) => panic!("{schedule:?} {options:?}\n{report}"),
                (true, true) => self.right += 1,
                (false, false) => self.wrong += 1,
                (false, true) => {
                    self.unseen.insert(schedule.origin.to_string());
                }
            }
        }
    }

    fn exists(instruction: &Instruction, ranks: u32) -> bool {
        let addresses = instruction.from.iter().chain(&instruction.to).map(|address| address.rank);
        let signals = instruction.waits.iter().map(|wait| wait.sender);
        addresses.chain(signals).chain(instruction.notifies.iter().map(|notify| notify.peer)).all(|rank| rank < ranks)
    }

    #[test]
    fn mistakes_of_all_ranks_are_found_either_way() {
        let (mut judged, mut two) = (Judged::default(), Judged::default());
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for (schedule, options) in built().filter(|(schedule, _)| (2..=5).contains(&schedule.ranks)) {
            let Some(turn) = turn_of(&schedule, options) else { continue };
            let of_each = schedule.lanes.len() / schedule.ranks as usize;
            let mut all = Vec::new();
            for lane in 0..of_each {
                for (index, instruction) in schedule.lanes[lane].instructions.iter().enumerate() {
                    let mutants = mutants(instruction).into_iter().filter(|mutant| exists(mutant, schedule.ranks));
                    all.extend(mutants.map(|mutant| (lane, index, mutant)));
                }
            }
            for (lane, index, mutant) in &all {
                judged.judge(&everywhere(&schedule, &turn, *lane, *index, mutant), options);
                // Of one rank only it is no turn, or it is none of the schedule.
                let mut one = schedule.clone();
                one.lanes[*lane].instructions[*index] = mutant.clone();
                if short_way(&one, options) {
                    assert!(all_hold(&long_way(&one, options)), "{one:?}");
                }
            }
            for _ in 0..all.len() {
                let [(lane, index, mutant), (other, at, second)] = [0, 0].map(|_| &all[random(all.len())]);
                let changed = everywhere(&schedule, &turn, *lane, *index, mutant);
                two.judge(&everywhere(&changed, &turn, *other, *at, second), options);
            }
        }
        println!("{judged:?} {two:?}");
        for Judged { right, wrong, unseen } in [judged, two] {
            assert!(wrong > 10_000 && right > 100, "{wrong} {right}");
            // Ranks that add in orders of their own, which happen to agree.
            assert!(unseen.iter().all(|name| name.contains("one-phase") || name == "recursive-doubling"), "{unseen:?}");
        }
    }
}
