//! The memory that a proof takes, asked for before it is taken: a schedule is input, and input must not end the process.
//!
//! A few words can name millions of chunks and lanes can know of each other, so what grows with either is counted here.
//! All else that a proof makes is as long as the schedule itself, up to a factor: of that it is only asked whether it is there.

use std::fmt;

use crate::schedule::{Instruction, room};

/// Bytes that every proof may take for chunks, clocks and terms.
const FLOOR: u64 = 1 << 30;

/// And for every byte of the schedule.
const PER_BYTE: u64 = 4;

/// Most items of one list: they are numbered in 32 bits.
const MOST_ITEMS: usize = 1 << 31;

/// How large a schedule is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) waits: u64,
    pub(super) notifies: u64,
    instructions: u64,
    bytes: u64,
}

impl Size {
    /// With one more instruction.
    pub(super) fn add(&mut self, instruction: &Instruction) {
        self.waits += instruction.waits.len() as u64;
        self.notifies += instruction.notifies.len() as u64;
        self.instructions += 1;
        self.bytes += (size_of::<Instruction>() + instruction.heap_bytes()) as u64;
    }

    /// What is as long as the schedule: the graph and the order, and a copy if instructions are to be left out.
    fn as_long(&self, copied: bool) -> u64 {
        32 * self.instructions + 64 * self.waits.max(self.notifies) + if copied { self.bytes } else { 0 }
    }
}

/// More than a proof may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    /// What for.
    what: &'static str,
    /// What it would have taken by then.
    needs: u64,
    /// What it may, unless the machine had less.
    may: u64,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, needs, may } = self;
        write!(f, "with its {what} the proof takes at least {needs} bytes of memory beyond the schedule's own, and ")?;
        match needs > may {
            true => write!(f, "it may take {may}: if the schedule is meant so, give more in proof::Options::memory"),
            false => f.write_str("there are not so many; use fewer ranks, lanes or chunks"),
        }
    }
}

/// What a proof has taken and may take.
#[derive(Debug)]
pub(super) struct Memory {
    most: u64,
    taken: u64,
}

impl Memory {
    /// For a schedule of this size, or what a user allows.
    pub(super) fn new(size: &Size, most: Option<u64>) -> Self {
        Self { most: most.unwrap_or(FLOOR + PER_BYTE * size.bytes), taken: 0 }
    }

    /// Asks for what is as long as the schedule, a copy of it too if it may be `copied`.
    pub(super) fn ask(&self, size: &Size, copied: bool) -> Result<(), Short> {
        let needs = size.as_long(copied);
        let short = Short { what: "signals and order", needs, may: needs };
        if room::is_there(needs) { Ok(()) } else { Err(short) }
    }

    /// What is taken now.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Everything that was taken after `taken` was read has been given back.
    pub(super) fn back_to(&mut self, taken: u64) {
        self.taken = taken;
    }

    /// Takes `bytes`, or tells that they are not there.
    pub(super) fn take(&mut self, what: &'static str, bytes: u64) -> Result<(), Short> {
        let needs = self.taken.saturating_add(bytes);
        if needs > self.most {
            return Err(Short { what, needs, may: self.most });
        }
        self.taken = needs;
        Ok(())
    }

    /// A list of `len` times `value`.
    pub(super) fn filled<T: Clone>(&mut self, what: &'static str, value: T, len: usize) -> Result<Vec<T>, Short> {
        let mut list = Vec::new();
        self.room(what, &mut list, len)?;
        list.resize(len, value);
        Ok(list)
    }

    /// Appends a value.
    #[inline]
    pub(super) fn push<T>(&mut self, what: &'static str, list: &mut Vec<T>, value: T) -> Result<(), Short> {
        if list.len() == list.capacity() {
            self.grow(what, list, 1)?;
        }
        list.push(value);
        Ok(())
    }

    /// Makes room for `more` values, and for some after them.
    #[cold]
    pub(super) fn grow<T>(&mut self, what: &'static str, list: &mut Vec<T>, more: usize) -> Result<(), Short> {
        const FEW: usize = 64;
        self.room(what, list, more.max(list.len() / 2).max(FEW)).or_else(|_| self.room(what, list, more))
    }

    fn room<T>(&mut self, what: &'static str, list: &mut Vec<T>, more: usize) -> Result<(), Short> {
        let free = list.capacity() - list.len();
        let bytes = (more.saturating_sub(free) as u64).saturating_mul(size_of::<T>() as u64);
        let before = self.taken;
        self.take(what, bytes)?;
        let short = Short { what, needs: self.taken, may: self.most };
        let fits = list.len().checked_add(more).is_some_and(|len| len <= MOST_ITEMS);
        if !fits || list.try_reserve_exact(more).is_err() {
            self.taken = before;
            return Err(short);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(most: u64) -> Memory {
        Memory::new(&Size::default(), Some(most))
    }

    #[test]
    fn nothing_is_taken_that_may_not_be() {
        let mut memory = memory(1000);
        let list = memory.filled("places", 0_u32, 200).unwrap();
        assert_eq!((list.len(), memory.taken()), (200, 800));
        let short = memory.filled("places", 0_u64, 1 << 60).unwrap_err();
        assert!(short.needs > 1 << 60 && memory.taken() == 800, "{short:?}");
        assert!(memory.take("terms", u64::MAX).is_err());
        assert_eq!(memory.filled("places", 0_u8, 200).unwrap().len(), 200);
        let told = memory.take("terms", 1).unwrap_err().to_string();
        assert!(told.contains("its terms") && told.contains("1001 bytes") && told.contains("may take 1000"), "{told}");
        memory.back_to(800);
        assert_eq!(memory.take("terms", 200), Ok(()));
    }

    /// Up to the last byte, and told apart from what the machine does not have.
    #[test]
    fn a_list_grows_as_far_as_it_may() {
        let (mut memory, mut list) = (memory(4000), Vec::new());
        while memory.push("reads", &mut list, 7_u32).is_ok() {}
        assert_eq!((list.len(), memory.taken()), (1000, 4000));
        let mut memory = Memory::new(&Size::default(), Some(u64::MAX));
        let told = memory.filled("places", 0_u64, 1 << 58).unwrap_err().to_string();
        assert!(told.contains("there are not so many"), "{told}");
    }

    #[test]
    fn larger_schedules_may_take_more() {
        let mut size = Size::default();
        size.add(&Instruction::new("move").notify(0, 0).wait(0, 0));
        assert_eq!((size.waits, size.notifies, size.bytes), (1, 1, 128));
        size.add(&Instruction::new("move").notify(0, 0).notify(1, 0));
        assert_eq!((size.notifies, size.bytes), (3, 256 + 16));
        assert_eq!(Memory::new(&size, None).most, (1 << 30) + 4 * 272);
    }
}
