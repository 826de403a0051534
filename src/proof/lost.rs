//! Where a contribution was lost that a place lacks: the last values that held it, and what became of them.
//!
//! A contribution spreads: whoever reads a value that holds it makes another that does, and what is added to another chunk is
//! of no more use. So it ends where a value that holds it is read by nobody but for that, and each such end says truly why it
//! went no further: it was mixed up, it was overwritten, or nobody read it. Ends in outputs that are to hold it are as they
//! should be, so they are told only if there are no others.

use std::collections::BTreeMap;
use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use smallvec::SmallVec;

use super::made::{Made, nth, reads};
use super::memory::{Memory, Short};
use super::run::Run;
use crate::collective::{Holds, Ranks};
use crate::schedule::{Address, Buffer, Site, Sources};

/// Contributions that a place lacks and that were lost in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lost {
    /// Whose contributions.
    pub ranks: Vec<u32>,
    /// Where they ended: the most telling first, of those that tell alike the latest; at most four.
    pub ends: Vec<End>,
    /// How many more such ends there are.
    pub more: usize,
}

/// A value that held a contribution and that nobody read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct End {
    /// Where it lay.
    pub places: Vec<Address>,
    /// Who made it; none if it is the contribution itself, in its input.
    pub made_by: Option<Site>,
    /// Who added it to another chunk.
    pub mixed_by: Option<Site>,
    /// Who overwrote it; none if it lies there to the end.
    pub overwritten_by: Option<Site>,
    /// Who might have read it, as far as that shows.
    pub missed_by: Option<Missed>,
    /// One of its places is an output that is to hold the contribution.
    pub delivered: bool,
}

/// An instruction that might have read a value and did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Missed {
    /// The instruction. Unless it never ran, the place that lacks the contribution was made by it.
    pub site: Site,
    /// How it missed it.
    pub how: How,
    /// What it reads.
    pub reads: Vec<Address>,
}

/// How an instruction missed a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum How {
    /// It read the place before the value was there.
    TooEarly,
    /// It waits for who made the value, or reads the rank's input, and takes another chunk.
    Elsewhere,
    /// It would have read the place, but its lane never came to it.
    NeverRan,
}

/// Contributions that are followed at once, by bits of a word.
const FOLLOWED: usize = 64;

/// A value that holds some of the contributions, and no other chunk.
struct Held {
    bits: u64,
    made_by: Option<u32>,
    places: SmallVec<[Address; 2]>,
    /// Of those, how many still have it.
    left: usize,
    read: bool,
    mixed_by: Option<u32>,
}

/// An end, in numbers.
struct Ended {
    held: Held,
    overwritten_by: Option<u32>,
}

/// Where the `lacking` contributions to `made` ended; of more than 64 only the first are looked at. Nothing, where that takes more
/// memory than a proof may.
pub(super) fn lost(run: &Run<'_>, made: &Made, lacking: &[Address]) -> Vec<Lost> {
    let lacking = &lacking[..lacking.len().min(FOLLOWED)];
    if lacking.is_empty() {
        return Vec::new();
    }
    let Ok(ends) = follow(run, lacking) else { return Vec::new() };
    let search = Search::new(run, made, &ends);
    let mut all: Vec<Lost> = Vec::new();
    for (bit, contribution) in lacking.iter().enumerate() {
        let of = ends.iter().rev().filter(|end| end.held.bits >> bit & 1 == 1);
        let mut told: Vec<(u32, End)> = of.map(|end| search.tell(end, *contribution)).collect();
        // Stable: of those that tell alike the latest stays first.
        told.sort_by_key(|(worth, _)| *worth);
        let undelivered = told.iter().filter(|(_, end)| !end.delivered).count();
        told.truncate(if undelivered > 0 { undelivered } else { told.len() });
        let more = told.len().saturating_sub(SHOWN);
        let ends: Vec<End> = told.into_iter().take(SHOWN).map(|(_, end)| end).collect();
        match all.iter_mut().find(|lost| lost.ends == ends && lost.more == more) {
            Some(lost) => lost.ranks.push(contribution.rank),
            None => all.push(Lost { ranks: vec![contribution.rank], ends, more }),
        }
    }
    all
}

const SHOWN: usize = 4;

/// All values that held one of the contributions and that nobody read, in the order in which they ended.
///
/// # Errors
/// [`Short`] of memory.
fn follow(run: &Run<'_>, lacking: &[Address]) -> Result<Vec<Ended>, Short> {
    let mut values = BTreeMap::<usize, Held>::new();
    let mut at = FxHashMap::<usize, usize>::default();
    let mut memory = Memory::new(&Default::default(), run.options.memory);
    let mut chunks = memory.filled("chunks and slots", Chunk::None, run.map.len())?;
    for rank in 0..run.schedule.ranks {
        for chunk in 0..run.schedule.buffer_chunks(Buffer::Input, rank) {
            chunks[run.map.index(Address::input(rank, chunk))] = Chunk::Only(chunk);
        }
    }
    let mut ends = Vec::new();
    for (bit, &input) in lacking.iter().enumerate() {
        at.insert(run.map.index(input), bit);
        let places = [input].into_iter().collect();
        values.insert(bit, Held { bits: 1 << bit, made_by: None, places, left: 1, read: false, mixed_by: None });
    }
    let mut next = values.len();
    for &id in run.order.iter() {
        let instruction = run.graph.instruction(&run.schedule, id);
        if instruction.from.is_empty() {
            continue;
        }
        for k in 0..instruction.chunks {
            let (mut bits, mut chunk) = (0, Chunk::None);
            for &from in &instruction.from {
                let place = run.map.index(nth(from, k));
                chunk = chunk.and(chunks[place]);
                bits |= at.get(&place).and_then(|value| values.get(value)).map_or(0, |held| held.bits);
            }
            for &from in instruction.from.iter().filter(|_| bits > 0) {
                let Some(held) = at.get(&run.map.index(nth(from, k))).and_then(|value| values.get_mut(value)) else {
                    continue;
                };
                match chunk {
                    Chunk::Several => held.mixed_by = held.mixed_by.or(Some(id)),
                    _ => held.read = true,
                }
            }
            for &to in &instruction.to {
                let place = run.map.index(nth(to, k));
                chunks[place] = chunk;
                let Some(old) = at.remove(&place) else { continue };
                let Some(held) = values.get_mut(&old) else { continue };
                held.left -= 1;
                if held.left == 0 {
                    let held = values.remove(&old).filter(|held| !held.read);
                    ends.extend(held.map(|held| Ended { held, overwritten_by: Some(id) }));
                }
            }
            if bits == 0 || chunk == Chunk::Several {
                continue;
            }
            let places: SmallVec<[Address; 2]> = instruction.to.iter().map(|&to| nth(to, k)).collect();
            places.iter().for_each(|&place| _ = at.insert(run.map.index(place), next));
            let left = places.len();
            values.insert(next, Held { bits, made_by: Some(id), places, left, read: false, mixed_by: None });
            next += 1;
        }
    }
    let unread = values.into_values().filter(|held| !held.read);
    ends.extend(unread.map(|held| Ended { held, overwritten_by: None }));
    Ok(ends)
}

/// The chunk of inputs that all of a value is made of, apart from what nobody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    None,
    Only(u32),
    Several,
}

impl Chunk {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, one) | (one, Self::None) => one,
            (a, b) if a == b => a,
            _ => Self::Several,
        }
    }
}

/// Who might have read what.
struct Search<'r, 's> {
    run: &'r Run<'s>,
    /// Instructions that the place was made by, in the order of the run.
    makers: Vec<(usize, u32)>,
    /// Of all that are asked about, their place in that order.
    positions: FxHashMap<u32, usize>,
    never_ran: Vec<u32>,
}

impl<'r, 's> Search<'r, 's> {
    fn new(run: &'r Run<'s>, made: &Made, ends: &[Ended]) -> Self {
        let makers: FxHashSet<u32> = made.makers().collect();
        let asked: FxHashSet<u32> =
            ends.iter().filter_map(|end| end.held.made_by).chain(makers.iter().copied()).collect();
        let positions: FxHashMap<u32, usize> =
            (0..).zip(run.order.iter()).filter(|(_, id)| asked.contains(id)).map(|(at, &id)| (id, at)).collect();
        let mut makers: Vec<(usize, u32)> =
            makers.into_iter().filter_map(|id| Some((*positions.get(&id)?, id))).collect();
        makers.sort_unstable();
        let never_ran = match run.finished() {
            true => Vec::new(),
            false => {
                let ran: FxHashSet<u32> = run.order.iter().copied().collect();
                (0..run.graph.instructions()).filter(|id| !ran.contains(id)).collect()
            }
        };
        Self { run, makers, positions, never_ran }
    }

    /// The end in names, and how little it tells.
    fn tell(&self, end: &Ended, contribution: Address) -> (u32, End) {
        let Self { run, .. } = self;
        let missed_by = self.missed(end, contribution);
        let delivered =
            end.overwritten_by.is_none() && end.held.places.iter().any(|&place| delivers(run, place, contribution));
        let explained = missed_by.is_some() || end.overwritten_by.is_some() || end.held.mixed_by.is_some();
        let worth = u32::from(delivered) * 2 + u32::from(!explained);
        let end = End {
            places: end.held.places.to_vec(),
            made_by: end.held.made_by.map(|id| run.site(id)),
            mixed_by: end.held.mixed_by.map(|id| run.site(id)),
            overwritten_by: end.overwritten_by.map(|id| run.site(id)),
            missed_by,
            delivered,
        };
        (worth, end)
    }

    fn missed(&self, end: &Ended, contribution: Address) -> Option<Missed> {
        let Self { run, makers, positions, never_ran } = self;
        let instruction = |id: u32| run.graph.instruction(&run.schedule, id);
        let places: SmallVec<[usize; 2]> = end.held.places.iter().map(|&place| run.map.index(place)).collect();
        let reads_it = |id: u32| reads(instruction(id)).any(|from| places.contains(&run.map.index(from)));
        let found = match end.held.made_by {
            Some(writer) => {
                let written = positions.get(&writer).copied().unwrap_or(0);
                let waits = |id: u32| {
                    let mut waits = run.graph.waits_of(id).iter();
                    waits.any(|&wait| matches!(run.graph.sources(wait), Sources::Known(of) if of.contains(&writer)))
                };
                let mut before = makers.iter().rev().filter(|(at, _)| *at < written);
                let early = before.find(|(_, id)| reads_it(*id)).map(|&(_, id)| (id, How::TooEarly));
                early.or_else(|| makers.iter().find(|(_, id)| waits(*id)).map(|&(_, id)| (id, How::Elsewhere)))
            }
            None => {
                let of_input = |id: u32| {
                    let mut from = reads(instruction(id));
                    from.any(|from| run.input_at(from).is_some_and(|input| input.rank == contribution.rank))
                };
                makers.iter().find(|(_, id)| of_input(*id)).map(|&(_, id)| (id, How::Elsewhere))
            }
        };
        let never = || never_ran.iter().find(|&&id| reads_it(id)).map(|&id| (id, How::NeverRan));
        let (id, how) = found.or_else(never)?;
        Some(Missed { site: run.site(id), how, reads: instruction(id).from.to_vec() })
    }
}

/// Whether `place` is an output that is to hold the contribution.
fn delivers(run: &Run<'_>, place: Address, contribution: Address) -> bool {
    place.buffer == Buffer::Output
        && expected(run, place).is_some_and(|(only, chunk)| {
            contribution.chunk == chunk && only.is_none_or(|rank| rank == contribution.rank)
        })
}

impl Run<'_> {
    /// Whether an output holds what it must after `order`.
    pub(super) fn is_right(&self, order: &[u32], place: Address) -> bool {
        let Some((only, chunk)) = expected(self, place) else { return true };
        let (contributions, unwritten) = Made::of(self, order, place).contributions();
        let ranks = only.map_or(0..self.schedule.ranks, |rank| rank..rank + 1);
        let has = |rank| contributions.get(&Address::input(rank, chunk)) == Some(&1);
        !unwritten && contributions.len() == ranks.len() && ranks.into_iter().all(has)
    }
}

/// What an output chunk is to hold: that of one rank or all ranks, and which chunk of their inputs.
pub(super) fn expected(run: &Run<'_>, place: Address) -> Option<(Option<u32>, u32)> {
    let chunks = run.schedule.chunks;
    let (part, c) = (place.chunk / chunks, place.chunk % chunks);
    (place.buffer == Buffer::Output).then(|| match run.schedule.holds(place.rank, part) {
        Holds::Reduction { part } => (None, part * chunks + c),
        Holds::Copy { rank, part } => (Some(rank), part * chunks + c),
    })
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.ranks.len() > 1 { "s" } else { "" };
        write!(f, "the contribution{s} of rank {} ended in", Ranks(&self.ranks))?;
        for end in &self.ends {
            write!(f, "\n  {end}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, place) in self.places.iter().enumerate() {
            write!(f, "{}{place}", if i == 0 { "" } else { ", " })?;
        }
        if let Some(site) = &self.made_by {
            write!(f, ", made by {site}")?;
        }
        match (&self.mixed_by, &self.overwritten_by) {
            (Some(site), _) => write!(f, ": added to another chunk by {site}")?,
            (None, Some(site)) => write!(f, ": overwritten by {site} before anybody read it")?,
            (None, None) if self.delivered => f.write_str(": it arrived there, and nobody read it")?,
            (None, None) => f.write_str(": nobody read it")?,
        }
        let Some(Missed { site, how, reads }) = &self.missed_by else { return Ok(()) };
        match how {
            How::TooEarly => write!(f, "; {site} read that place too early"),
            How::NeverRan => write!(f, "; {site} would have, but never ran"),
            How::Elsewhere => {
                write!(f, "; {site} reads ")?;
                for (i, place) in reads.iter().enumerate() {
                    write!(f, "{}{place}", if i == 0 { "" } else { " + " })?;
                }
                Ok(())
            }
        }
    }
}
