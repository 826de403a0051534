//! Every small way to break a schedule, as data.

use std::fmt;

use wgccl::schedule::{Address, Instruction, Notify, Schedule, Wait};

/// Lane and instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At(pub(crate) usize, pub(crate) usize);

/// One edit; the last number counts the waits, notifies, operands or destinations of the instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    DropWait(At, usize),
    DropNotify(At, usize),
    /// A wait and the notify that it consumes.
    DropPair(At, usize),
    /// Every wait and every notify on one row, of all ranks: one round without synchronisation.
    DropRow(u32),
    /// Every wait on one row.
    DropRowWaits(u32),
    /// The operand's chunk is the next one.
    ShiftRead(At, usize),
    /// The destination's chunk is the next one.
    ShiftWrite(At, usize),
    /// The operand is in the next rank's memory.
    NextRankRead(At, usize),
    /// The destination is in the next rank's memory.
    NextRankWrite(At, usize),
    /// The wait is for the next rank.
    NextSender(At, usize),
    /// The notify is for the next rank.
    NextPeer(At, usize),
    /// `a op b` becomes `b op a`.
    SwapOperands(At),
    /// The instruction and the one after it change places.
    SwapWithNext(At),
    /// The lane zeroes its rank's signals first.
    Zero(usize),
}

/// What kinds of edit there are, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Wait,
    Notify,
    Pair,
    Row,
    RowWaits,
    Chunk,
    Rank,
    Operands,
    Order,
    Zero,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Wait,
        Self::Notify,
        Self::Pair,
        Self::Row,
        Self::RowWaits,
        Self::Chunk,
        Self::Rank,
        Self::Operands,
        Self::Order,
        Self::Zero,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Wait => "drop a wait",
            Self::Notify => "drop a notify",
            Self::Pair => "drop wait and notify",
            Self::Row => "drop a row's pairs",
            Self::RowWaits => "drop a row's waits",
            Self::Chunk => "next chunk",
            Self::Rank => "next rank",
            Self::Operands => "swap operands",
            Self::Order => "swap instructions",
            Self::Zero => "zero in-kernel",
        })
    }
}

impl Edit {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::DropWait(..) => Kind::Wait,
            Self::DropNotify(..) => Kind::Notify,
            Self::DropPair(..) => Kind::Pair,
            Self::DropRow(_) => Kind::Row,
            Self::DropRowWaits(_) => Kind::RowWaits,
            Self::ShiftRead(..) | Self::ShiftWrite(..) => Kind::Chunk,
            Self::NextRankRead(..) | Self::NextRankWrite(..) | Self::NextSender(..) | Self::NextPeer(..) => Kind::Rank,
            Self::SwapOperands(_) => Kind::Operands,
            Self::SwapWithNext(_) => Kind::Order,
            Self::Zero(_) => Kind::Zero,
        }
    }

    /// All edits of `schedule`.
    pub(crate) fn all(schedule: &Schedule) -> Vec<Self> {
        let mut edits = Vec::new();
        for (l, lane) in schedule.lanes.iter().enumerate() {
            // Where nobody notifies, zeroing erases nothing.
            if instructions(schedule).any(|i| i.notifies.iter().any(|notify| notify.peer == lane.rank)) {
                edits.push(Self::Zero(l));
            }
            for (i, instruction) in lane.instructions.iter().enumerate() {
                let at = At(l, i);
                for n in 0..instruction.waits.len() {
                    edits.extend([Self::DropWait(at, n), Self::DropPair(at, n), Self::NextSender(at, n)]);
                }
                for n in 0..instruction.notifies.len() {
                    edits.extend([Self::DropNotify(at, n), Self::NextPeer(at, n)]);
                }
                // A buffer of one chunk has no next one.
                let shifts = |a: &Address| schedule.buffer_chunks(a.buffer, a.rank) > 1;
                for (n, from) in instruction.from.iter().enumerate() {
                    edits.extend(shifts(from).then_some(Self::ShiftRead(at, n)));
                    edits.push(Self::NextRankRead(at, n));
                }
                for (n, to) in instruction.to.iter().enumerate() {
                    edits.extend(shifts(to).then_some(Self::ShiftWrite(at, n)));
                    edits.push(Self::NextRankWrite(at, n));
                }
                if instruction.from.len() == 2 {
                    edits.push(Self::SwapOperands(at));
                }
                if i + 1 < lane.instructions.len() {
                    edits.push(Self::SwapWithNext(at));
                }
            }
        }
        // The staging-free ring has nothing on row 0.
        let used = |row| instructions(schedule).any(|instruction| instruction.waits.iter().any(|w| w.row == row));
        for row in (0..schedule.signal_rows).filter(|&row| used(row)) {
            edits.extend([Self::DropRow(row), Self::DropRowWaits(row)]);
        }
        edits
    }

    /// `schedule` with this edit.
    pub(crate) fn apply(self, schedule: &Schedule) -> Schedule {
        let mut edited = schedule.clone();
        let next_chunk = |a: Address| Address { chunk: (a.chunk + 1) % schedule.buffer_chunks(a.buffer, a.rank), ..a };
        let next_rank = |rank: u32| (rank + 1) % schedule.ranks;
        let at = |At(l, i): At, edited: &mut Schedule, change: &dyn Fn(&mut Instruction)| {
            change(&mut edited.lanes[l].instructions[i]);
        };
        match self {
            Self::DropWait(a, n) => at(a, &mut edited, &|i| _ = i.waits.remove(n)),
            Self::DropNotify(a, n) => at(a, &mut edited, &|i| _ = i.notifies.remove(n)),
            Self::DropPair(a, n) => drop_pair(&mut edited, a, n),
            Self::DropRow(row) => every(&mut edited, |i| {
                i.waits.retain(|wait| wait.row != row);
                i.notifies.retain(|notify| notify.row != row);
            }),
            Self::DropRowWaits(row) => every(&mut edited, |i| i.waits.retain(|wait| wait.row != row)),
            Self::ShiftRead(a, n) => at(a, &mut edited, &|i| i.from[n] = next_chunk(i.from[n])),
            Self::ShiftWrite(a, n) => at(a, &mut edited, &|i| i.to[n] = next_chunk(i.to[n])),
            Self::NextRankRead(a, n) => at(a, &mut edited, &|i| i.from[n].rank = next_rank(i.from[n].rank)),
            Self::NextRankWrite(a, n) => at(a, &mut edited, &|i| i.to[n].rank = next_rank(i.to[n].rank)),
            Self::NextSender(a, n) => at(a, &mut edited, &|i| i.waits[n].sender = next_rank(i.waits[n].sender)),
            Self::NextPeer(a, n) => at(a, &mut edited, &|i| i.notifies[n].peer = next_rank(i.notifies[n].peer)),
            Self::SwapOperands(a) => at(a, &mut edited, &|i| i.from.swap(0, 1)),
            Self::SwapWithNext(At(l, i)) => edited.lanes[l].instructions.swap(i, i + 1),
            Self::Zero(l) => {
                let mut zero = Instruction::new("move");
                zero.zeroes_signals = true;
                edited.lanes[l].instructions.insert(0, zero);
            }
        }
        edited
    }
}

pub(crate) fn instructions(schedule: &Schedule) -> impl Iterator<Item = &Instruction> {
    schedule.lanes.iter().flat_map(|lane| &lane.instructions)
}

fn every(schedule: &mut Schedule, change: impl Fn(&mut Instruction)) {
    schedule.lanes.iter_mut().flat_map(|lane| &mut lane.instructions).for_each(change);
}

/// A wait for n consumes the sender's n-th notify of that signal; waits for later ones then count one less.
fn drop_pair(schedule: &mut Schedule, At(l, i): At, n: usize) {
    let receiver = schedule.lanes[l].rank;
    let dropped: Wait = schedule.lanes[l].instructions[i].waits.remove(n);
    let Wait { row, sender, at_least } = dropped;
    for lane in &mut schedule.lanes {
        let mut sent = 0;
        for instruction in &mut lane.instructions {
            if lane.rank == receiver {
                for wait in instruction.waits.iter_mut().filter(|wait| wait.row == row && wait.sender == sender) {
                    wait.at_least -= u32::from(wait.at_least > at_least);
                }
            }
            if lane.rank == sender {
                instruction.notifies.retain(|notify| {
                    sent += u32::from(*notify == Notify { peer: receiver, row });
                    *notify != Notify { peer: receiver, row } || sent != at_least
                });
            }
        }
    }
}
