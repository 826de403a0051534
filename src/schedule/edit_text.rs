//! Edits as text: how they are typed, read and explained.
//!
//! Apart from what they do, which needs no names. Instructions are named as [`Schedule::find`] reads them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::edit::{At, Edit, EditError, Of};
use super::find::distance;
use super::{Schedule, Site};

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

    /// What it changes, in a sentence.
    ///
    /// # Errors
    /// [`EditError::Nothing`] where the schedule has nothing of the kind.
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
        Err(EditError::Unknown {
            name: name.to_owned(),
            meant: nearest.name,
            known: FORMS.map(|form| form.name).join(", "),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Address, Algorithm, Instruction, Lane, SyncStyle, build};

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

    /// Whatever is typed ends in an edit that fits or in an error.
    #[test]
    fn no_text_is_too_strange() {
        let ring = built(Algorithm::Ring, SyncStyle::Neighbor);
        let odd = [
            "",
            ":",
            "::",
            "1",
            "-1",
            "4294967296",
            "99999999999999999999",
            "é",
            "\u{1b}[1m",
            "rank",
            "lane",
            "2.1",
            "round",
            "\0",
            "(",
            "slot 0",
        ];
        let pairs = || odd.into_iter().flat_map(|a| odd.map(|b| [format!("{a}{b}"), format!("{a}:{b}")])).flatten();
        for text in pairs() {
            if let Ok(site) = ring.find(&text) {
                assert_eq!(Site::at(&ring, site.lane, site.instruction), Some(site), "{text}");
            }
            if let Ok(place) = ring.place(&text) {
                assert!(place.rank < 4 && place.chunk < 4, "{text}");
            }
        }
        for text in Edit::forms().iter().flat_map(|form| pairs().step_by(3).map(|text| format!("{}:{text}", form.name)))
        {
            if let Ok(edit) = Edit::parse(&text, &ring) {
                assert!(edit.apply(&ring).is_ok() && edit.explain(&ring).is_ok(), "{text}");
            }
            // Read without a schedule, it may not fit one; then that is said.
            if let Ok(edit) = text.parse::<Edit>() {
                assert_eq!(edit.apply(&ring).is_ok(), edit.explain(&ring).is_ok(), "{text}");
            }
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
