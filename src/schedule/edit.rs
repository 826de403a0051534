//! Every small way to break a schedule, as data: to see what the proofs find, and what a launch would do.
//!
//! The tests of the proofs and whoever learns what a wait is for take the same edits, so they belong to the schedule.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use rustc_hash::FxHashSet;
use serde::{Serialize, Serializer};

use super::find::distance;
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
    #[error("no edit is called '{name}': did you mean '{meant}'? There are {}", names())]
    Unknown {
        /// The name.
        name: String,
        /// The nearest.
        meant: &'static str,
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

/// An edit for people: how it is written, and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EditForm {
    /// Its name.
    pub name: &'static str,
    /// What follows the name and a colon.
    pub takes: &'static str,
    /// What it does.
    pub does: &'static str,
}

const FORMS: [EditForm; 15] = {
    const fn form(name: &'static str, takes: &'static str, does: &'static str) -> EditForm {
        EditForm { name, takes, does }
    }
    const N: &str = "INSTRUCTION[:N]";
    [
        form("drop-wait", N, "the instruction does not wait (for its N-th wait, from 0)"),
        form("drop-notify", N, "the instruction does not notify"),
        form("drop-pair", N, "neither a wait nor the notify that it is for"),
        form("drop-row", "ROW", "no wait and no notify on a row, of all ranks: a round without synchronisation"),
        form("drop-row-waits", "ROW", "no wait on a row, of all ranks"),
        form("shift-read", N, "the instruction reads the next chunk"),
        form("shift-write", N, "the instruction writes the next chunk"),
        form("next-rank-read", N, "the instruction reads from the next rank"),
        form("next-rank-write", N, "the instruction writes to the next rank"),
        form("next-sender", N, "the instruction waits for the next rank"),
        form("next-peer", N, "the instruction notifies the next rank"),
        form("swap-operands", "INSTRUCTION", "a + b becomes b + a"),
        form("swap-with-next", "INSTRUCTION", "the instruction and the one after it change places"),
        form("zero-signals", "RANK", "the rank zeroes its signals inside the launch, first of all"),
        form("share-slot", "RANK:A:B", "what the rank has in slot B lies in slot A"),
    ]
};

/// What an instruction has several of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Waits,
    Notifies,
    Operands,
    Destinations,
}

impl Of {
    fn word(self) -> &'static str {
        match self {
            Self::Waits => "wait",
            Self::Notifies => "notify",
            Self::Operands => "operand",
            Self::Destinations => "destination",
        }
    }

    fn list(self, schedule: &Schedule, instruction: &Instruction) -> Vec<String> {
        let shown = |addresses: &[Address]| addresses.iter().map(|&address| schedule.show(address)).collect();
        match self {
            Self::Waits => instruction.waits.iter().map(Wait::to_string).collect(),
            Self::Notifies => instruction.notifies.iter().map(Notify::to_string).collect(),
            Self::Operands => shown(&instruction.from),
            Self::Destinations => shown(&instruction.to),
        }
    }

    fn count(self, instruction: &Instruction) -> usize {
        match self {
            Self::Waits => instruction.waits.len(),
            Self::Notifies => instruction.notifies.len(),
            Self::Operands => instruction.from.len(),
            Self::Destinations => instruction.to.len(),
        }
    }
}

impl Edit {
    /// All edits that there are, for people.
    pub fn forms() -> &'static [EditForm] {
        &FORMS
    }

    /// Reads an edit: its name, a colon, and what it edits: an instruction by any name that [`Schedule::find`] takes, then a
    /// colon and which of its waits, notifies, operands or destinations, from 0, where it has several.
    ///
    /// # Errors
    /// [`EditError`] that says what to write instead.
    pub fn parse(text: &str, schedule: &Schedule) -> Result<Self, EditError> {
        let (name, rest) = split(text);
        let form = form(name)?;
        let unread = || unread(text, form);
        let edit = match name {
            "drop-row" => Self::DropRow(rest.parse().map_err(|_| unread())?),
            "drop-row-waits" => Self::DropRowWaits(rest.parse().map_err(|_| unread())?),
            "zero-signals" => Self::ZeroSignals(first_lane(rest, schedule).ok_or_else(unread)?),
            "share-slot" => share(rest).ok_or_else(unread)?,
            _ => {
                // A number at the end may belong to the name.
                let (site, n) = match (schedule.find(rest), rest.rsplit_once(':')) {
                    (Ok(site), _) => (site, None),
                    (Err(error), None) => return Err(error.into()),
                    (Err(_), Some((site, n))) => (schedule.find(site)?, Some(n.trim().parse().map_err(|_| unread())?)),
                };
                let at = At { lane: site.lane, instruction: site.instruction };
                let edit = Self::of(name, at, n.unwrap_or(0)).ok_or_else(unread)?;
                if let (Some(of), None) = (edit.counts(), n) {
                    let list = at.of(schedule).map_or_else(Vec::new, |instruction| of.list(schedule, instruction));
                    if list.len() > 1 {
                        let example = format!("{name}:{}:{}", rest.trim(), list.len() - 1);
                        return Err(EditError::Which { site, what: of.word(), list, example });
                    }
                }
                edit
            }
        };
        edit.fits(schedule)?;
        Ok(edit)
    }

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

    /// What it changes, in a sentence.
    pub fn explain(&self, schedule: &Schedule) -> Result<String, EditError> {
        self.fits(schedule)?;
        let site = |at: At| Site::of(schedule, at.lane as usize, at.instruction as usize);
        let named = |at: At, n: u32, of: Of| {
            let list = at.of(schedule).map_or_else(Vec::new, |instruction| of.list(schedule, instruction));
            list.into_iter().nth(n as usize).unwrap_or_default()
        };
        let next_rank = |rank: u32| (rank + 1) % schedule.ranks.max(1);
        Ok(match *self {
            Self::DropWait(at, n) => format!("{} does not wait for {}", site(at), named(at, n, Of::Waits)),
            Self::DropNotify(at, n) => format!("{} does not notify {}", site(at), named(at, n, Of::Notifies)),
            Self::DropPair(at, n) => {
                format!("{} does not wait for {}, and that is not notified", site(at), named(at, n, Of::Waits))
            }
            Self::DropRow(row) => format!("nobody waits on row {row}, and nobody notifies it"),
            Self::DropRowWaits(row) => format!("nobody waits on row {row}"),
            Self::ShiftRead(at, n) => {
                format!("{} reads the chunk after {}", site(at), named(at, n, Of::Operands))
            }
            Self::NextRankRead(at, n) => {
                format!("{} does not read {}, but the next rank's", site(at), named(at, n, Of::Operands))
            }
            Self::ShiftWrite(at, n) => {
                format!("{} writes the chunk after {}", site(at), named(at, n, Of::Destinations))
            }
            Self::NextRankWrite(at, n) => {
                format!("{} does not write {}, but the next rank's", site(at), named(at, n, Of::Destinations))
            }
            Self::NextSender(at, n) => {
                let sender = at.of(schedule).map_or(0, |i| i.waits[n as usize].sender);
                let (wait, next) = (named(at, n, Of::Waits), next_rank(sender));
                format!("{} does not wait for {wait}, but for rank {next}", site(at))
            }
            Self::NextPeer(at, n) => {
                let peer = at.of(schedule).map_or(0, |i| i.notifies[n as usize].peer);
                let (notify, next) = (named(at, n, Of::Notifies), next_rank(peer));
                format!("{} does not notify {notify}, but rank {next}", site(at))
            }
            Self::SwapOperands(at) => {
                let [a, b] = [0, 1].map(|n| named(at, n, Of::Operands));
                format!("{} adds {b} + {a}", site(at))
            }
            Self::SwapWithNext(at) => {
                let next = At { instruction: at.instruction + 1, ..at };
                format!("{} comes after {}", site(at), site(next))
            }
            Self::ZeroSignals(lane) => {
                let rank = schedule.lanes[lane as usize].rank;
                format!("rank {rank} zeroes its signals at the start of lane {lane}, inside the launch")
            }
            Self::ShareSlot { rank, keep, give_up } => {
                format!("what rank {rank} has in slot {give_up} lies in slot {keep}")
            }
        })
    }

    /// Where there is something to edit.
    fn fits(&self, schedule: &Schedule) -> Result<(), EditError> {
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
    fn counts(&self) -> Option<Of> {
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

    /// Of the edits of one instruction.
    fn of(name: &str, at: At, n: u32) -> Option<Self> {
        Some(match name {
            "drop-wait" => Self::DropWait(at, n),
            "drop-notify" => Self::DropNotify(at, n),
            "drop-pair" => Self::DropPair(at, n),
            "shift-read" => Self::ShiftRead(at, n),
            "shift-write" => Self::ShiftWrite(at, n),
            "next-rank-read" => Self::NextRankRead(at, n),
            "next-rank-write" => Self::NextRankWrite(at, n),
            "next-sender" => Self::NextSender(at, n),
            "next-peer" => Self::NextPeer(at, n),
            "swap-operands" if n == 0 => Self::SwapOperands(at),
            "swap-with-next" if n == 0 => Self::SwapWithNext(at),
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DropWait(..) => "drop-wait",
            Self::DropNotify(..) => "drop-notify",
            Self::DropPair(..) => "drop-pair",
            Self::DropRow(_) => "drop-row",
            Self::DropRowWaits(_) => "drop-row-waits",
            Self::ShiftRead(..) => "shift-read",
            Self::ShiftWrite(..) => "shift-write",
            Self::NextRankRead(..) => "next-rank-read",
            Self::NextRankWrite(..) => "next-rank-write",
            Self::NextSender(..) => "next-sender",
            Self::NextPeer(..) => "next-peer",
            Self::SwapOperands(_) => "swap-operands",
            Self::SwapWithNext(_) => "swap-with-next",
            Self::ZeroSignals(_) => "zero-signals",
            Self::ShareSlot { .. } => "share-slot",
        }
    }
}

impl At {
    /// The instruction itself, if it exists.
    fn of(self, schedule: &Schedule) -> Option<&Instruction> {
        schedule.lanes.get(self.lane as usize)?.instructions.get(self.instruction as usize)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.lane, self.instruction)
    }
}

impl FromStr for At {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (lane, instruction) = text.split_once('.').ok_or(())?;
        Ok(Self { lane: lane.parse().map_err(drop)?, instruction: instruction.parse().map_err(drop)? })
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match (self, self.at()) {
            (Self::SwapOperands(at) | Self::SwapWithNext(at), _) => write!(f, ":{at}"),
            (_, Some((at, n))) => write!(f, ":{at}:{n}"),
            (Self::DropRow(row) | Self::DropRowWaits(row), _) => write!(f, ":{row}"),
            (Self::ZeroSignals(lane), _) => write!(f, ":lane-{lane}"),
            (Self::ShareSlot { rank, keep, give_up }, _) => write!(f, ":{rank}:{keep}:{give_up}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Edit {
    type Err = EditError;

    /// Reads what `Display` writes, without a schedule: instructions by their numbers.
    fn from_str(text: &str) -> Result<Self, EditError> {
        let (name, rest) = split(text);
        let form = form(name)?;
        let read = || match name {
            "drop-row" => rest.parse().ok().map(Self::DropRow),
            "drop-row-waits" => rest.parse().ok().map(Self::DropRowWaits),
            "zero-signals" => rest.strip_prefix("lane-")?.parse().ok().map(Self::ZeroSignals),
            "share-slot" => share(rest),
            _ => {
                let (at, n) = rest.split_once(':').unwrap_or((rest, "0"));
                Self::of(name, at.parse().ok()?, n.parse().ok()?)
            }
        };
        read().ok_or_else(|| unread(text, form))
    }
}

impl Serialize for Edit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn split(text: &str) -> (&str, &str) {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    (name.trim(), rest.trim())
}

fn form(name: &str) -> Result<&'static EditForm, EditError> {
    let near = |form: &&EditForm| distance(name, form.name);
    let nearest = FORMS.iter().min_by_key(near).unwrap_or(&FORMS[0]);
    if nearest.name == name {
        Ok(nearest)
    } else {
        Err(EditError::Unknown { name: name.to_owned(), meant: nearest.name })
    }
}

fn unread(text: &str, form: &EditForm) -> EditError {
    let example = match form.takes {
        "ROW" => "1",
        "RANK" => "rank 2",
        "RANK:A:B" => "1:0:1, by which slot 1 of rank 1 lies in slot 0",
        "INSTRUCTION" => "2.1, for instruction 1 of lane 2",
        _ => "2.1:0, for the first one of instruction 1 of lane 2",
    };
    let EditForm { name, takes, .. } = form;
    EditError::Form { text: text.to_owned(), form: format!("{name}:{takes}, such as {name}:{example}") }
}

fn names() -> String {
    FORMS.map(|form| form.name).join(", ")
}

fn plural(what: &str, count: usize) -> String {
    let es = if what.ends_with('y') { format!("{}ies", &what[..what.len() - 1]) } else { format!("{what}s") };
    format!("{count} {}", if count == 1 { what.to_owned() } else { es })
}

/// The numbers in a text of numbers and these words.
fn numbers<const N: usize>(text: &str, words: &[&str]) -> Option<[u32; N]> {
    let parts = text.split([' ', ':', ',', '.', '-']).filter(|part| !part.is_empty() && !words.contains(part));
    parts.map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()?.try_into().ok()
}

fn share(text: &str) -> Option<Edit> {
    let [rank, keep, give_up] = numbers(text, &["rank", "slot", "slots"])?;
    Some(Edit::ShareSlot { rank, keep, give_up })
}

/// The first lane of a rank, or a lane.
fn first_lane(text: &str, schedule: &Schedule) -> Option<u32> {
    if text.starts_with("lane") {
        return numbers(text, &["lane"]).map(|[lane]| lane);
    }
    let [rank] = numbers(text, &["rank"])?;
    schedule.lanes.iter().position(|lane| lane.rank == rank).map(|lane| lane as u32)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Algorithm, Lane, SyncStyle, build};

    fn built(algorithm: Algorithm, sync: SyncStyle) -> Schedule {
        build(Collective::AllReduce, algorithm, 4, sync).unwrap()
    }

    #[test]
    fn edits_are_read_by_name_and_by_number() {
        let ring = built(Algorithm::RingStaged, SyncStyle::Neighbor);
        let barrier = built(Algorithm::RingStaged, SyncStyle::Barrier);
        let plain = built(Algorithm::Ring, SyncStyle::Neighbor);
        for (schedule, text, written) in [
            (&ring, "drop-wait:rank 2 RS round 1", "drop-wait:2.1:0"),
            (&ring, " drop-wait : r2-rs-1 ", "drop-wait:2.1:0"),
            (&ring, "drop-notify:2.1", "drop-notify:2.1:0"),
            (&ring, "shift-read:rank 2 RS round 1:1", "shift-read:2.1:1"),
            (&ring, "next-peer:rank 2 RS round 1 (lane 2, instruction 1)", "next-peer:2.1:0"),
            (&ring, "swap-with-next:rank 0 stage-in", "swap-with-next:0.0"),
            (&ring, "swap-operands:3 RS 2", "swap-operands:3.2"),
            (&ring, "drop-row:2", "drop-row:2"),
            (&ring, "zero-signals:rank 2", "zero-signals:lane-2"),
            (&ring, "zero-signals:2", "zero-signals:lane-2"),
            (&ring, "zero-signals:lane 3", "zero-signals:lane-3"),
            (&plain, "share-slot:rank 1 2 3", "share-slot:1:2:3"),
            (&plain, "share-slot:1:2:3", "share-slot:1:2:3"),
            (&plain, "share-slot:rank-1-2-3", "share-slot:1:2:3"),
            (&barrier, "drop-pair:rank 2 RS round 1:2", "drop-pair:2.1:2"),
        ] {
            let edit = Edit::parse(text, schedule).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(edit.to_string(), written, "{text}");
        }
        for schedule in [&ring, &barrier, &plain] {
            for edit in Edit::all(schedule) {
                let text = edit.to_string();
                assert_eq!((text.parse(), Edit::parse(&text, schedule)), (Ok(edit), Ok(edit)), "{text}");
                assert!(Edit::forms().iter().any(|form| text.starts_with(&format!("{}:", form.name))), "{text}");
                assert!(edit.explain(schedule).is_ok_and(|said| said.len() > 20), "{text}");
                assert_ne!(edit.apply(schedule).as_ref(), Ok(schedule), "{text} changes nothing");
            }
        }
        for form in Edit::forms() {
            let any = |schedule| Edit::all(schedule).iter().any(|edit| edit.name() == form.name);
            assert!(any(&plain), "no {}", form.name);
        }
    }

    #[test]
    fn edits_that_cannot_be_are_told_what_to_write() {
        let ring = built(Algorithm::Ring, SyncStyle::Neighbor);
        let barrier = built(Algorithm::Ring, SyncStyle::Barrier);
        let staged = built(Algorithm::RingStaged, SyncStyle::Neighbor);
        let one = Schedule::new("one", Collective::AllReduce, 1, 1)
            .lane(Lane::new(0).with(Instruction::new("move").copy(Address::input(0, 0)).to(Address::output(0, 0))));
        for (schedule, text, says) in [
            (
                &ring,
                "drop-wiat:2.1",
                "no edit is called 'drop-wiat': did you mean 'drop-wait'? There are drop-wait, drop-notify",
            ),
            (&ring, "drop-wait", "no instruction is called ''; did you mean"),
            (&ring, "drop-wait:rank 2 AG round 9", "did you mean 'rank 2 AG round 1'"),
            (&ring, "drop-wait:2.1:x", "write drop-wait:INSTRUCTION[:N], such as drop-wait:2.1:0"),
            (&ring, "drop-wait:2.0", "rank 2 RS round 1 (lane 2, instruction 0) has no wait"),
            (&ring, "drop-wait:2.1:1", "rank 2 RS round 2 (lane 2, instruction 1) has one wait, which is number 0"),
            (&ring, "shift-read:2.0:7", "has 2 operands, numbered 0 to 1"),
            (
                &ring,
                "shift-read:2.0",
                "has 2 operands: rank 1 input[0], rank 2 input[0]; say which, such as shift-read:2.0:1",
            ),
            (&barrier, "drop-notify:2.0", "has 3 notifies: rank 0 row 1, rank 1 row 1, rank 3 row 1; say which"),
            (&ring, "drop-row:9", "nobody waits on row 9, of rows 0 to 5"),
            (&ring, "drop-row:x", "write drop-row:ROW, such as drop-row:1"),
            (&ring, "zero-signals:x", "such as zero-signals:rank 2"),
            (&ring, "zero-signals:lane 7", "there is no lane 7"),
            (&ring, "share-slot:1:0", "such as share-slot:1:0:1"),
            (&staged, "share-slot:1:0:1", "slot 1 is one of 4 that an instruction takes in a row"),
            (&ring, "share-slot:1:0:1", "nobody uses slot 1 of rank 1, only 2, 3"),
            (&ring, "share-slot:1:0:9", "rank 1 has slots 0 to 3"),
            (&ring, "share-slot:1:1:1", "that is one slot already"),
            (&ring, "share-slot:9:0:1", "rank 9 has no slots"),
            (&ring, "swap-operands:2.3", "rank 2 AG round 1 (lane 2, instruction 3) adds nothing"),
            (&ring, "swap-with-next:2.5", "instruction 2.5 is the last of its lane"),
            (&one, "next-rank-read:0.0", "there is one rank only"),
            (&one, "shift-write:0.0", "rank 0's output has no other chunk"),
        ] {
            let said = Edit::parse(text, schedule).map_err(|error| error.to_string()).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
        for (text, says) in [
            ("swap-operands:9.9", "there is no instruction 9.9"),
            ("drop-wait:9.9:0", "there is no instruction 9.9"),
            ("swap-with-next:0.4294967295", "there is no instruction 0.4294967295"),
        ] {
            let error = text.parse::<Edit>().unwrap().apply(&ring).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn what_an_edit_does_is_what_it_says() {
        let plain = built(Algorithm::Ring, SyncStyle::Neighbor);
        let ring = built(Algorithm::RingStaged, SyncStyle::Neighbor);
        for (text, says, becomes) in [
            (
                "drop-wait:2.1",
                "rank 2 RS round 1 (lane 2, instruction 1) does not wait for row 0 from rank 1",
                "RS round 1: rank 1 slot[0] + rank 2 slot[0] -> rank 2 slot[0]; notify rank 3 row 1",
            ),
            ("shift-read:2.1:1", "reads the chunk after rank 2 slot[0]", "+ rank 2 slot[1] ->"),
            ("next-rank-write:2.1", "does not write rank 2 slot[0], but the next rank's", "-> rank 3 slot[0]"),
            ("next-sender:2.1", "does not wait for row 0 from rank 1, but for rank 2", "wait row 0 from rank 2"),
            ("next-peer:2.1", "does not notify rank 3 row 1, but rank 0", "notify rank 0 row 1"),
            ("swap-operands:2.1", "adds rank 2 slot[0] + rank 1 slot[0]", "rank 2 slot[0] + rank 1 slot[0] ->"),
            ("swap-with-next:2.1", "comes after rank 2 RS round 2 (lane 2, instruction 2)", "RS round 2"),
            ("drop-row:0", "nobody waits on row 0, and nobody notifies it", "RS round 1: rank 1 slot[0]"),
        ] {
            let edit = Edit::parse(text, &ring).unwrap();
            assert!(edit.explain(&ring).unwrap().contains(says), "{}", edit.explain(&ring).unwrap());
            let edited = edit.apply(&ring).unwrap().lanes[2].instructions[1].to_string();
            assert!(edited.contains(becomes), "{text}: {edited}");
        }
        // Every use of it, whoever's.
        let shared = Edit::parse("share-slot:1:2:3", &plain).unwrap().apply(&plain).unwrap().to_string();
        let uses = plain.to_string().matches("rank 1 slot[3]").count();
        assert!(uses > 1 && !shared.contains("rank 1 slot[3]"), "{shared}");
    }
}
