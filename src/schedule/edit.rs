//! Every small way to break a schedule, as data: to see what the proofs find, and what a launch would do.
//!
//! The tests of the proofs and whoever learns what a wait is for take the same edits, so they belong to the schedule.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use super::{Address, Buffer, Instruction, Notify, Schedule, Site, SiteError, Wait};

/// An instruction by its numbers. `Display` is `lane.instruction`, as [`Schedule::find`] reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct At {
    /// Index into the schedule's lanes.
    pub lane: u32,
    /// Index into the lane's instructions.
    pub instruction: u32,
}

/// One edit. The number beside an instruction counts its waits, notifies, operands or destinations, from 0.
///
/// `Display` and `FromStr` are `drop-wait:2.3:0`, an edit and what it edits; [`Edit::parse`] also takes the names of a schedule:
/// ```
/// use wgccl::collective::Collective;
/// use wgccl::schedule::{Algorithm, Edit, Recipe};
///
/// let ring = Recipe::new(Collective::AllReduce, 4).algorithm(Algorithm::Ring).build()?;
/// let edit = Edit::parse("drop-wait:rank 2 AG round 1", &ring)?;
/// assert_eq!(edit.to_string(), "drop-wait:2.3:0");
/// assert!(!wgccl::proof::check(&edit.apply(&ring)?, Default::default()).ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Edit {
    /// The instruction does not wait for it.
    DropWait(At, u32),
    /// The instruction does not send it.
    DropNotify(At, u32),
    /// Neither the wait nor the notify that it consumes.
    DropPair(At, u32),
    /// Every wait and every notify on one row, of all ranks: one round without synchronisation.
    DropRow(u32),
    /// Every wait on one row, of all ranks.
    DropRowWaits(u32),
    /// The operand's chunk is the next one of its buffer; after the last comes the first.
    ShiftRead(At, u32),
    /// The destination's chunk is the next one of its buffer; after the last comes the first.
    ShiftWrite(At, u32),
    /// The operand is in the next rank's memory.
    NextRankRead(At, u32),
    /// The destination is in the next rank's memory.
    NextRankWrite(At, u32),
    /// The wait is for the next rank.
    NextSender(At, u32),
    /// The notify is for the next rank.
    NextPeer(At, u32),
    /// `a + b` becomes `b + a`.
    SwapOperands(At),
    /// The instruction and the one after it change places.
    SwapWithNext(At),
    /// This lane zeroes its rank's signals first.
    ZeroSignals(u32),
    /// What `rank` has in one slot lies in another, which is in use.
    ShareSlot {
        /// Whose window.
        rank: u32,
        /// The slot that both use.
        keep: u32,
        /// The slot that nobody uses any more.
        give_up: u32,
    },
}

/// An edit that cannot be read, or of which there is nothing to edit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is no such edit.
    #[error("no edit is called '{name}': did you mean '{meant}'? There are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest.
        meant: &'static str,
        /// All that there are.
        known: String,
    },
    /// What it edits cannot be read.
    #[error("'{text}' cannot be read: write {form}")]
    Form {
        /// The text.
        text: String,
        /// How it is written, and an example.
        form: String,
    },
    /// What it edits is not there.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The instruction has several of what it edits.
    #[error("{site} has {}: {}; say which, such as {example}", plural(.what, .list.len()), .list.join(", "))]
    Which {
        /// The instruction.
        site: Site,
        /// What it has.
        what: &'static str,
        /// All of them, in the order in which they are counted.
        list: Vec<String>,
        /// How the last of them is named.
        example: String,
    },
    /// There is nothing to edit.
    #[error("there is nothing to edit in '{edit}': {why}")]
    Nothing {
        /// The edit.
        edit: String,
        /// Why.
        why: String,
    },
}

/// What an instruction has several of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Waits,
    Notifies,
    Operands,
    Destinations,
}

impl Of {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Waits => "wait",
            Self::Notifies => "notify",
            Self::Operands => "operand",
            Self::Destinations => "destination",
        }
    }

    pub(super) fn list(self, schedule: &Schedule, instruction: &Instruction) -> Vec<String> {
        let shown = |addresses: &[Address]| addresses.iter().map(|&address| schedule.show(address)).collect();
        match self {
            Self::Waits => instruction.waits.iter().map(Wait::to_string).collect(),
            Self::Notifies => instruction.notifies.iter().map(Notify::to_string).collect(),
            Self::Operands => shown(&instruction.from),
            Self::Destinations => shown(&instruction.to),
        }
    }

    pub(super) fn count(self, instruction: &Instruction) -> usize {
        match self {
            Self::Waits => instruction.waits.len(),
            Self::Notifies => instruction.notifies.len(),
            Self::Operands => instruction.from.len(),
            Self::Destinations => instruction.to.len(),
        }
    }
}

impl Edit {
    /// All edits of `schedule`; of slots, those that share with the one before.
    pub fn all(schedule: &Schedule) -> Vec<Self> {
        let mut edits = Vec::new();
        let instructions = || schedule.lanes.iter().flat_map(|lane| &lane.instructions);
        let notified: FxHashSet<u32> = instructions().flat_map(|i| &i.notifies).map(|notify| notify.peer).collect();
        for (l, lane) in (0..).zip(&schedule.lanes) {
            // Where nobody notifies, zeroing erases nothing.
            if notified.contains(&lane.rank) {
                edits.push(Self::ZeroSignals(l));
            }
            for (i, instruction) in (0..).zip(&lane.instructions) {
                let at = At { lane: l, instruction: i };
                let each = |of: Of| 0..of.count(instruction) as u32;
                for n in each(Of::Waits) {
                    edits.extend([Self::DropWait(at, n), Self::DropPair(at, n), Self::NextSender(at, n)]);
                }
                for n in each(Of::Notifies) {
                    edits.extend([Self::DropNotify(at, n), Self::NextPeer(at, n)]);
                }
                edits.extend(each(Of::Operands).flat_map(|n| [Self::ShiftRead(at, n), Self::NextRankRead(at, n)]));
                edits
                    .extend(each(Of::Destinations).flat_map(|n| [Self::ShiftWrite(at, n), Self::NextRankWrite(at, n)]));
                edits.extend([Self::SwapOperands(at), Self::SwapWithNext(at)]);
            }
        }
        for row in 0..schedule.signal_rows {
            edits.extend([Self::DropRow(row), Self::DropRowWaits(row)]);
        }
        for rank in 0..schedule.ranks {
            edits.extend((1..schedule.slots_of(rank)).map(|slot| Self::ShareSlot {
                rank,
                keep: slot - 1,
                give_up: slot,
            }));
        }
        edits.retain(|edit| edit.fits(schedule).is_ok());
        edits
    }

    /// `schedule` with this edit.
    ///
    /// # Errors
    /// [`EditError::Nothing`] where the schedule has nothing of the kind.
    pub fn apply(&self, schedule: &Schedule) -> Result<Schedule, EditError> {
        self.fits(schedule)?;
        let mut edited = schedule.clone();
        let next_chunk = |a: Address| Address { chunk: (a.chunk + 1) % schedule.buffer_chunks(a.buffer, a.rank), ..a };
        let next_rank = |rank: u32| (rank + 1) % schedule.ranks;
        let at = |At { lane, instruction }: At, edited: &mut Schedule, change: &dyn Fn(&mut Instruction)| {
            change(&mut edited.lanes[lane as usize].instructions[instruction as usize]);
        };
        match *self {
            Self::DropWait(a, n) => at(a, &mut edited, &|i| _ = i.waits.remove(n as usize)),
            Self::DropNotify(a, n) => at(a, &mut edited, &|i| _ = i.notifies.remove(n as usize)),
            Self::DropPair(a, n) => drop_pair(&mut edited, a, n as usize),
            Self::DropRow(row) => every(&mut edited, |i| {
                i.waits.retain(|wait| wait.row != row);
                i.notifies.retain(|notify| notify.row != row);
            }),
            Self::DropRowWaits(row) => every(&mut edited, |i| i.waits.retain(|wait| wait.row != row)),
            Self::ShiftRead(a, n) => at(a, &mut edited, &|i| i.from[n as usize] = next_chunk(i.from[n as usize])),
            Self::ShiftWrite(a, n) => at(a, &mut edited, &|i| i.to[n as usize] = next_chunk(i.to[n as usize])),
            Self::NextRankRead(a, n) => {
                at(a, &mut edited, &|i| i.from[n as usize].rank = next_rank(i.from[n as usize].rank));
            }
            Self::NextRankWrite(a, n) => {
                at(a, &mut edited, &|i| i.to[n as usize].rank = next_rank(i.to[n as usize].rank));
            }
            Self::NextSender(a, n) => {
                at(a, &mut edited, &|i| i.waits[n as usize].sender = next_rank(i.waits[n as usize].sender));
            }
            Self::NextPeer(a, n) => {
                at(a, &mut edited, &|i| i.notifies[n as usize].peer = next_rank(i.notifies[n as usize].peer));
            }
            Self::SwapOperands(a) => at(a, &mut edited, &|i| i.from.swap(0, 1)),
            Self::SwapWithNext(At { lane, instruction }) => {
                let first = instruction as usize;
                edited.lanes[lane as usize].instructions.swap(first, first + 1);
            }
            Self::ZeroSignals(lane) => {
                let mut zero = Instruction::new("move");
                zero.zeroes_signals = true;
                edited.lanes[lane as usize].instructions.insert(0, zero);
            }
            Self::ShareSlot { rank, keep, give_up } => every(&mut edited, |i| {
                let slot = Address::slot(rank, give_up);
                for address in i.from.iter_mut().chain(&mut i.to).filter(|address| **address == slot) {
                    address.chunk = keep;
                }
            }),
        }
        Ok(edited)
    }

    /// Where there is something to edit.
    pub(super) fn fits(&self, schedule: &Schedule) -> Result<(), EditError> {
        self.misfit(schedule).map_or(Ok(()), |why| Err(EditError::Nothing { edit: self.to_string(), why }))
    }

    fn misfit(&self, schedule: &Schedule) -> Option<String> {
        let missing = |at: At| format!("there is no instruction {at}");
        if let (Some(of), Some((at, n))) = (self.counts(), self.at()) {
            let Some(instruction) = at.of(schedule) else { return Some(missing(at)) };
            let site = Site::of(schedule, at.lane as usize, at.instruction as usize);
            let count = of.count(instruction);
            if n as usize >= count {
                return Some(match count {
                    0 => format!("{site} has no {}", of.word()),
                    1 => format!("{site} has one {}, which is number 0", of.word()),
                    _ => format!("{site} has {}, numbered 0 to {}", plural(of.word(), count), count - 1),
                });
            }
            let address = match of {
                Of::Operands => Some(instruction.from[n as usize]),
                Of::Destinations => Some(instruction.to[n as usize]),
                Of::Waits | Of::Notifies => None,
            };
            match (self, address) {
                (Self::ShiftRead(..) | Self::ShiftWrite(..), Some(a)) => {
                    let chunks = schedule.buffer_chunks(a.buffer, a.rank);
                    if chunks < 2 || a.chunk >= chunks {
                        return Some(format!("rank {}'s {} has no other chunk", a.rank, a.buffer));
                    }
                }
                (Self::DropWait(..) | Self::DropNotify(..) | Self::DropPair(..), _) => {}
                _ if schedule.ranks < 2 => return Some("there is one rank only".to_owned()),
                // Out of range, and so is the next.
                (_, Some(a)) if a.rank >= schedule.ranks => return Some(format!("there is no rank {}", a.rank)),
                _ => {}
            }
            return None;
        }
        match *self {
            Self::SwapOperands(at) => match at.of(schedule) {
                None => Some(missing(at)),
                Some(instruction) if instruction.from.len() < 2 => {
                    let site = Site::of(schedule, at.lane as usize, at.instruction as usize);
                    Some(format!("{site} adds nothing"))
                }
                Some(_) => None,
            },
            Self::SwapWithNext(at) => {
                let next = At { instruction: at.instruction.saturating_add(1), ..at };
                match (at.of(schedule), next.of(schedule)) {
                    (None, _) => Some(missing(at)),
                    (_, None) => Some(format!("instruction {at} is the last of its lane")),
                    _ => None,
                }
            }
            Self::DropRow(row) | Self::DropRowWaits(row) => {
                let mut waits = schedule.lanes.iter().flat_map(|lane| &lane.instructions).flat_map(|i| &i.waits);
                let used = waits.any(|wait| wait.row == row);
                let rows = schedule.signal_rows;
                (!used).then(|| format!("nobody waits on row {row}, of rows 0 to {}", rows.saturating_sub(1)))
            }
            Self::ZeroSignals(lane) => {
                ((lane as usize) >= schedule.lanes.len()).then(|| format!("there is no lane {lane}"))
            }
            Self::ShareSlot { rank, keep, give_up } => unshared(schedule, rank, keep, give_up),
            _ => None,
        }
    }

    /// What its number counts.
    pub(super) fn counts(&self) -> Option<Of> {
        match self {
            Self::DropWait(..) | Self::DropPair(..) | Self::NextSender(..) => Some(Of::Waits),
            Self::DropNotify(..) | Self::NextPeer(..) => Some(Of::Notifies),
            Self::ShiftRead(..) | Self::NextRankRead(..) => Some(Of::Operands),
            Self::ShiftWrite(..) | Self::NextRankWrite(..) => Some(Of::Destinations),
            _ => None,
        }
    }

    /// The instruction, and which of its waits or the like.
    pub(crate) fn at(&self) -> Option<(At, u32)> {
        match *self {
            Self::DropWait(at, n)
            | Self::DropNotify(at, n)
            | Self::DropPair(at, n)
            | Self::ShiftRead(at, n)
            | Self::ShiftWrite(at, n)
            | Self::NextRankRead(at, n)
            | Self::NextRankWrite(at, n)
            | Self::NextSender(at, n)
            | Self::NextPeer(at, n) => Some((at, n)),
            Self::SwapOperands(at) | Self::SwapWithNext(at) => Some((at, 0)),
            Self::DropRow(_) | Self::DropRowWaits(_) | Self::ZeroSignals(_) | Self::ShareSlot { .. } => None,
        }
    }
}

impl At {
    /// The instruction itself, if it exists.
    pub(super) fn of(self, schedule: &Schedule) -> Option<&Instruction> {
        schedule.lanes.get(self.lane as usize)?.instructions.get(self.instruction as usize)
    }
}

fn plural(what: &str, count: usize) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {what}s"),
    }
}

/// Why these slots cannot be made one.
fn unshared(schedule: &Schedule, rank: u32, keep: u32, give_up: u32) -> Option<String> {
    let slots = if rank < schedule.ranks { schedule.slots_of(rank) } else { 0 };
    if keep.max(give_up) >= slots {
        return Some(match slots {
            0 => format!("rank {rank} has no slots"),
            slots => format!("rank {rank} has slots 0 to {}", slots - 1),
        });
    }
    if keep == give_up {
        return Some("that is one slot already".to_owned());
    }
    let mut used = BTreeSet::new();
    for instruction in schedule.lanes.iter().flat_map(|lane| &lane.instructions) {
        for address in instruction.from.iter().chain(&instruction.to) {
            if address.buffer != Buffer::Slot || address.rank != rank {
                continue;
            }
            used.insert(address.chunk);
            if (address.chunk..address.chunk.saturating_add(instruction.chunks)).contains(&give_up)
                && instruction.chunks > 1
            {
                return Some(format!(
                    "slot {give_up} is one of {} that an instruction takes in a row",
                    instruction.chunks
                ));
            }
        }
    }
    let others: Vec<String> = used.iter().take(8).map(u32::to_string).collect();
    (!used.contains(&give_up)).then(|| format!("nobody uses slot {give_up} of rank {rank}, only {}", others.join(", ")))
}

fn every(schedule: &mut Schedule, change: impl Fn(&mut Instruction)) {
    schedule.lanes.iter_mut().flat_map(|lane| &mut lane.instructions).for_each(change);
}

/// A wait for n consumes the sender's n-th notify of that signal; waits for later ones then count one less.
fn drop_pair(schedule: &mut Schedule, At { lane, instruction }: At, n: usize) {
    let dropping = &mut schedule.lanes[lane as usize];
    let receiver = dropping.rank;
    let Wait { row, sender, at_least } = dropping.instructions[instruction as usize].waits.remove(n);
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
