//! What of other lanes has happened before what a lane does now: one edge far, or all of it.
//!
//! Apart from the proof of races, which asks and does not care how it is known. One edge far costs as much as there are
//! edges, and orders nearly every schedule; all of it is a vector of all lanes for every lane that others know of.

use rustc_hash::FxHashMap;

use super::memory::{Memory, Short};

/// Whom a lane has waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// Whose notify it was: a lane, of the rank so many further on. Where lanes stand for nobody else, it is 0.
    pub(super) lane: u32,
    pub(super) turn: u32,
    /// Which of its instructions, from 1.
    pub(super) time: u32,
    /// What it knew then.
    pub(super) kept: u32,
}

/// Who knows how much of whom. An *other* is a lane; where the lanes of a rank stand for those of `turns` ranks, it is
/// lane * turns + how many ranks further on.
pub(super) trait Clocks {
    /// Whether it tells only of what one edge orders.
    const NEAR: bool;

    /// How many instructions of `other` have happened before what `lane` does now.
    fn known(&self, lane: u32, other: u32) -> u32;

    /// `lane` is at its `time`-th instruction, from 1.
    fn at(&mut self, lane: u32, time: u32);

    /// Keeps what `lane` knows for `uses` waits that follow; the answer is for [`join`](Self::join).
    fn keep(&mut self, lane: u32, uses: u32) -> u32;

    /// `lane` has waited.
    fn join(&mut self, memory: &mut Memory, lane: u32, told: Told) -> Result<(), Short>;

    /// Calls `each` with every other that `lane` knows something of.
    fn known_of(&self, lane: u32, each: &mut dyn FnMut(u32));
}

/// Program order up to a notify and from its wait on.
pub(super) struct Edges {
    now: Vec<u32>,
    of: Times,
}

/// Of every lane, how far it knows others to be. Where most know most others a table is smaller, and faster.
enum Times {
    Table(Vec<u32>),
    Maps(Vec<FxHashMap<u32, u32>>),
}

impl Edges {
    /// For so many lanes, which wait so many times.
    pub(super) fn new(lanes: u32, waits: usize) -> Self {
        let lanes = lanes as usize;
        let table = lanes.checked_mul(lanes).filter(|&all| all / 4 <= waits + lanes);
        let of = match table {
            Some(all) => Times::Table(vec![0; all]),
            None => Times::Maps(vec![FxHashMap::default(); lanes]),
        };
        Self { now: vec![0; lanes], of }
    }
}

impl Clocks for Edges {
    const NEAR: bool = true;

    fn known(&self, lane: u32, other: u32) -> u32 {
        match &self.of {
            _ if lane == other => self.now[lane as usize],
            Times::Table(times) => times[lane as usize * self.now.len() + other as usize],
            Times::Maps(maps) => maps[lane as usize].get(&other).copied().unwrap_or(0),
        }
    }

    fn at(&mut self, lane: u32, time: u32) {
        self.now[lane as usize] = time;
    }

    fn keep(&mut self, _lane: u32, _uses: u32) -> u32 {
        0
    }

    fn join(&mut self, _memory: &mut Memory, lane: u32, told: Told) -> Result<(), Short> {
        let Told { lane: from, time, .. } = told;
        let known = match &mut self.of {
            Times::Table(times) => &mut times[lane as usize * self.now.len() + from as usize],
            Times::Maps(maps) => maps[lane as usize].entry(from).or_insert(0),
        };
        *known = time.max(*known);
        Ok(())
    }

    fn known_of(&self, lane: u32, each: &mut dyn FnMut(u32)) {
        let lanes = self.now.len();
        match &self.of {
            Times::Table(times) => {
                let row = (0..).zip(&times[lane as usize * lanes..][..lanes]);
                row.filter(|&(_, &time)| time > 0).for_each(|(other, _)| each(other));
            }
            Times::Maps(maps) => maps[lane as usize].keys().for_each(|&other| each(other)),
        }
    }
}

/// How far a lane has come, in instructions. Signed and as narrow as a schedule allows: every instruction set has an
/// instruction for the greater of two such vectors.
pub(super) trait Time: Copy + Ord + Default + TryFrom<u32> + Into<i32> {}

impl Time for i16 {}
impl Time for i32 {}

/// The whole happens-before order: vector clocks of all lanes. Those that know the same share it, so that a vector is made
/// only where a lane learns something after it was asked.
///
/// Where lanes stand for those of other ranks, a vector is of all those, by lane and turn. What one hears of a rank that is
/// further on is that rank's vector, turned: the rank that is x further on for him is x and as far as he is for the listener.
pub(super) struct Vectors<T> {
    now: Vec<u32>,
    /// Ranks that each lane stands for.
    turns: usize,
    /// Of a vector.
    width: usize,
    /// Vectors, one after the other; of the lane whose it is, none says the time.
    rows: Vec<T>,
    /// Who has that vector: lanes, and waits that are still to come.
    owners: Vec<u32>,
    free: Vec<u32>,
    row_of: Vec<u32>,
}

/// The vector of who knows nothing, which is never written.
const NOTHING: u32 = 0;
const CLOCKS: &str = "clocks of lanes";

impl<T: Time> Vectors<T> {
    pub(super) fn new(memory: &mut Memory, lanes: u32, turns: u32) -> Result<Self, Short> {
        let (count, turns) = (lanes as usize, turns as usize);
        let width = count * turns;
        let rows = memory.filled(CLOCKS, T::default(), width)?;
        Ok(Self {
            now: vec![0; count],
            turns,
            width,
            rows,
            owners: vec![lanes.saturating_add(1)],
            free: Vec::new(),
            row_of: vec![NOTHING; count],
        })
    }

    fn start(&self, row: u32) -> usize {
        row as usize * self.width
    }

    fn give_back(&mut self, row: u32) {
        let owners = &mut self.owners[row as usize];
        *owners -= 1;
        if *owners == 0 && row != NOTHING {
            self.free.push(row);
        }
    }

    /// A vector of `lane`'s own, that knows what `lane` does.
    fn own(&mut self, memory: &mut Memory, lane: u32) -> Result<u32, Short> {
        let (old, width) = (self.row_of[lane as usize], self.width);
        if old != NOTHING && self.owners[old as usize] == 1 {
            return Ok(old);
        }
        let row = match self.free.pop() {
            Some(row) => {
                self.owners[row as usize] = 1;
                row
            }
            None => {
                if self.rows.capacity() - self.rows.len() < width {
                    memory.grow(CLOCKS, &mut self.rows, width)?;
                }
                self.rows.resize(self.rows.len() + width, T::default());
                self.owners.push(1);
                self.owners.len() as u32 - 1
            }
        };
        let (from, to) = (self.start(old), self.start(row));
        self.rows.copy_within(from..from + width, to);
        self.give_back(old);
        self.row_of[lane as usize] = row;
        Ok(row)
    }
}

impl<T: Time> Clocks for Vectors<T> {
    const NEAR: bool = false;

    fn known(&self, lane: u32, other: u32) -> u32 {
        if lane as usize * self.turns == other as usize {
            return self.now[lane as usize];
        }
        let time: i32 = self.rows[self.start(self.row_of[lane as usize]) + other as usize].into();
        time as u32
    }

    fn at(&mut self, lane: u32, time: u32) {
        self.now[lane as usize] = time;
    }

    fn keep(&mut self, lane: u32, uses: u32) -> u32 {
        let row = self.row_of[lane as usize];
        // Never written, so that nobody counts.
        if row != NOTHING {
            self.owners[row as usize] += uses;
        }
        row
    }

    fn join(&mut self, memory: &mut Memory, lane: u32, told: Told) -> Result<(), Short> {
        let Told { lane: from, turn, time, kept } = told;
        let from = from as usize * self.turns + turn as usize;
        // A clock that knows the sender's time already holds all that came with it.
        if self.known(lane, from as u32) < time {
            let (row, width) = (self.own(memory, lane)?, self.width);
            let (to, then) = (self.start(row), self.start(kept));
            if kept != NOTHING && row != kept {
                let (now, then) = match to < then {
                    true => {
                        let (before, after) = self.rows.split_at_mut(then);
                        (&mut before[to..to + width], &after[..width])
                    }
                    false => {
                        let (before, after) = self.rows.split_at_mut(to);
                        (&mut after[..width], &before[then..then + width])
                    }
                };
                match turn as usize {
                    0 => greater(now, then),
                    turn => {
                        for (now, then) in now.chunks_exact_mut(self.turns).zip(then.chunks_exact(self.turns)) {
                            let (last, first) = then.split_at(self.turns - turn);
                            greater(&mut now[turn..], last);
                            greater(&mut now[..turn], first);
                        }
                    }
                }
            }
            // The caller has chosen a type in which every time fits.
            self.rows[to + from] = T::try_from(time).unwrap_or_default();
        }
        if kept != NOTHING {
            self.give_back(kept);
        }
        Ok(())
    }

    fn known_of(&self, lane: u32, each: &mut dyn FnMut(u32)) {
        let row = &self.rows[self.start(self.row_of[lane as usize])..][..self.width];
        let own = lane * self.turns as u32;
        let known = (0..).zip(row).filter(|&(other, &time)| other != own && time > T::default());
        known.for_each(|(other, _)| each(other));
    }
}

/// The greater of each two.
fn greater<T: Time>(now: &mut [T], then: &[T]) {
    for (now, then) in now.iter_mut().zip(then) {
        *now = (*now).max(*then);
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Size;
    use super::*;

    fn memory(most: u64) -> Memory {
        Memory::new(&Size::default(), Some(most))
    }

    fn told(lane: u32, time: u32, kept: u32) -> Told {
        Told { lane, turn: 0, time, kept }
    }

    /// A chain of lanes, each of which waits for the one before: one edge far, or as far as it goes.
    #[test]
    fn what_is_known_of_others() {
        fn chain(clocks: &mut impl Clocks) -> Vec<u32> {
            let mut memory = memory(1 << 20);
            let mut kept = 0;
            for lane in 0..4 {
                if lane > 0 {
                    clocks.join(&mut memory, lane, told(lane - 1, 2, kept)).unwrap();
                }
                clocks.at(lane, 2);
                kept = clocks.keep(lane, 1);
            }
            let mut of = Vec::new();
            clocks.known_of(3, &mut |other| of.push(other));
            of.sort_unstable();
            assert!(of.iter().all(|&other| clocks.known(3, other) == 2));
            assert_eq!((clocks.known(0, 3), clocks.known(3, 3)), (0, 2));
            of
        }
        assert_eq!(chain(&mut Edges::new(4, 3)), [2]);
        assert!(matches!(Edges::new(100, 99).of, Times::Maps(_)));
        assert_eq!(chain(&mut Edges::new(100, 99)), [2]);
        assert_eq!(chain(&mut Vectors::<i16>::new(&mut memory(1 << 20), 4, 1).unwrap()), [0, 1, 2]);
    }

    /// What was kept says what was known then, whatever the lane learns later.
    #[test]
    fn what_is_kept_does_not_change() {
        let mut memory = memory(1 << 20);
        let mut clocks = Vectors::<i32>::new(&mut memory, 4, 1).unwrap();
        let nothing = clocks.keep(0, 1);
        clocks.join(&mut memory, 1, told(0, 1, nothing)).unwrap();
        let early = clocks.keep(1, 2);
        let nothing = clocks.keep(2, 1);
        clocks.join(&mut memory, 1, told(2, 5, nothing)).unwrap();
        clocks.join(&mut memory, 3, told(1, 1, early)).unwrap();
        assert_eq!([0, 1, 2].map(|other| clocks.known(3, other)), [1, 1, 0]);
        assert_eq!([0, 2].map(|other| clocks.known(1, other)), [1, 5]);
        // Known already: nothing is learned, and the last use gives the vector back.
        clocks.join(&mut memory, 3, told(1, 1, early)).unwrap();
        assert_eq!(clocks.free, [early]);
        let before = clocks.owners.len();
        let again = clocks.keep(3, 1);
        clocks.join(&mut memory, 0, told(3, 7, again)).unwrap();
        assert_eq!((clocks.owners.len(), [1, 2, 3].map(|other| clocks.known(0, other))), (before, [1, 0, 7]));
    }

    /// Who notifies a thousand times and learns nothing between takes one vector.
    #[test]
    fn lanes_that_learn_nothing_take_nothing() {
        let mut memory = memory(1 << 20);
        let mut clocks = Vectors::<i16>::new(&mut memory, 100, 1).unwrap();
        let taken = memory.taken();
        for lane in 0..50 {
            for time in 1..=1000 {
                clocks.at(lane, time);
                assert_eq!(clocks.keep(lane, 1), NOTHING);
            }
        }
        assert_eq!(memory.taken(), taken);
        // Room for fifty vectors of two bytes a lane, one of which is that of who knows nothing.
        let mut few = Memory::new(&Size::default(), Some(50 * 100 * 2));
        let mut clocks = Vectors::<i16>::new(&mut few, 100, 1).unwrap();
        let learned = (1..100).take_while(|&lane| clocks.join(&mut few, lane, told(0, 1, NOTHING)).is_ok());
        assert_eq!(learned.count(), 49);
    }

    /// Two lanes of each of five ranks: what the rank two further on knows of others, is known of those two further on.
    #[test]
    fn what_others_know_is_turned() {
        let mut memory = memory(1 << 20);
        let mut clocks = Vectors::<i16>::new(&mut memory, 2, 5).unwrap();
        let hear =
            |clocks: &mut Vectors<i16>, memory: &mut Memory, lane, told| clocks.join(memory, lane, told).unwrap();
        hear(&mut clocks, &mut memory, 1, Told { lane: 0, turn: 4, time: 7, kept: NOTHING });
        clocks.at(1, 3);
        let kept = clocks.keep(1, 1);
        hear(&mut clocks, &mut memory, 0, Told { lane: 1, turn: 2, time: 3, kept });
        let known: Vec<u32> = (0..10).map(|other| clocks.known(0, other)).collect();
        assert_eq!(known, [0, 7, 0, 0, 0, 0, 0, 3, 0, 0]);
        let mut of = Vec::new();
        clocks.known_of(0, &mut |other| of.push(other));
        assert_eq!(of, [1, 7]);
    }
}
