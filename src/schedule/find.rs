//! Which instruction or chunk a text means: by the name that reports give it, by a part of that, or by number.
//!
//! People copy names from reports and shorten them where they type. Questions and edits read them here, so that one grammar
//! serves all.

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Address, Buffer, Label, Schedule, Site};

/// A text that names no instruction, or several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// Nothing is called so.
    #[error("no instruction is called '{text}'{}", Meant(.meant))]
    Unknown {
        /// The text.
        text: String,
        /// What may have been meant, the nearest first; if nothing is near, how to write it.
        meant: Vec<String>,
    },
    /// There is no such number.
    #[error("there is no {what} {number}: {}", Numbers(.of, *.count))]
    Range {
        /// Of what: `rank`, `lane` or `instruction`.
        what: &'static str,
        /// The number.
        number: u32,
        /// Where: of an instruction its lane, else nothing.
        of: String,
        /// How many there are.
        count: usize,
    },
    /// More than one is.
    #[error("'{text}' is {count} instructions: {}; name one by its lane, as in '0.1'", Listed(.first, *.count))]
    Several {
        /// The text.
        text: String,
        /// The first few.
        first: Vec<Site>,
        /// How many there are.
        count: usize,
    },
}

/// A text that names no chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It cannot be read.
    #[error("'{0}' is no chunk; write rank:chunk for one of an output, such as '0:1', or 'rank 0 slot 1'")]
    Unknown(
        /// The text.
        String,
    ),
    /// There is no such number.
    #[error("there is no {what} {number}: {}", Numbers(.of, *.count))]
    Range {
        /// Of what: `rank` or `chunk`.
        what: &'static str,
        /// The number.
        number: u32,
        /// Where: of a chunk its buffer, else nothing.
        of: String,
        /// How many there are.
        count: usize,
    },
}

impl Site {
    /// The instruction of that number in the lane of that number, if there is one.
    pub fn at(schedule: &Schedule, lane: u32, instruction: u32) -> Option<Self> {
        let instructions = &schedule.lanes.get(lane as usize)?.instructions;
        ((instruction as usize) < instructions.len()).then(|| Self::of(schedule, lane as usize, instruction as usize))
    }
}

impl Schedule {
    /// The instruction that `text` names, in any case and with anything between words: `rank 2 AG round 1` as reports call it,
    /// `r2-ag-1`, a label that only one instruction has, with `lane 3` before it if a rank has several lanes, or numbers:
    /// `lane 3 instruction 2`, `3.2`.
    ///
    /// ```
    /// use wgccl::collective::Collective;
    /// use wgccl::schedule::Recipe;
    ///
    /// let ring = Recipe::new(Collective::AllReduce, 4).build()?;
    /// assert_eq!(ring.find("lane 2 instruction 3")?, ring.find("2.3")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SiteError`] for a text that names none, or several.
    pub fn find(&self, text: &str) -> Result<Site, SiteError> {
        let words = words(text);
        let wanted = match self.labelled(&words) {
            true => Wanted { label: words, ..Wanted::default() },
            false => Wanted::read(&words),
        };
        let range = |what, number: Option<u32>, of: &str, count: usize| match number {
            Some(number) if number as usize >= count => {
                Err(SiteError::Range { what, number, of: of.to_owned(), count })
            }
            _ => Ok(()),
        };
        range("rank", wanted.rank, "", self.ranks as usize)?;
        range("lane", wanted.lane, "", self.lanes.len())?;
        if let Some(lane) = wanted.lane {
            let count = self.lanes[lane as usize].instructions.len();
            range("instruction", wanted.instruction, &format!("lane {lane}"), count)?;
        }
        let (mut first, mut count) = (Vec::new(), 0);
        if wanted.instruction.is_some() || !wanted.label.is_empty() {
            self.each(&wanted, |site| {
                count += 1;
                if first.len() < SHOWN {
                    first.push(site());
                }
            });
        }
        match first.pop() {
            Some(site) if count == 1 => Ok(site),
            Some(site) => {
                first.push(site);
                Err(SiteError::Several { text: text.trim().to_owned(), first, count })
            }
            None => Err(SiteError::Unknown { text: text.trim().to_owned(), meant: self.meant(&wanted) }),
        }
    }

    /// The chunk that `text` names: `2:1` is chunk 1 of rank 2's output, counted through all its parts; `rank 2 slot[1]` and
    /// `2 input 0` are those of other buffers, and `rank 0 output[part 1, chunk 0]` is as reports have it.
    ///
    /// # Errors
    /// [`PlaceError`] for a text that cannot be read, or a chunk that does not exist.
    pub fn place(&self, text: &str) -> Result<Address, PlaceError> {
        let unknown = || PlaceError::Unknown(text.trim().to_owned());
        let words = words(text);
        let mut rest: &[String] = &words;
        let mut skip = |names: &[&str]| match rest.split_first() {
            Some((word, after)) if names.contains(&word.as_str()) => {
                rest = after;
                true
            }
            _ => false,
        };
        skip(&["rank", "r"]);
        let rank = number(&mut rest).ok_or_else(unknown)?;
        let mut skip = |names: &[&str]| match rest.split_first() {
            Some((word, after)) if names.contains(&word.as_str()) => {
                rest = after;
                true
            }
            _ => false,
        };
        let buffer = match () {
            () if skip(&["input", "in"]) => Buffer::Input,
            () if skip(&["slot", "slots"]) => Buffer::Slot,
            () => {
                skip(&["output", "out"]);
                Buffer::Output
            }
        };
        let in_part = skip(&["part"]);
        let first = number(&mut rest).ok_or_else(unknown)?;
        let chunk = match in_part {
            false => Some(first),
            true => {
                rest = rest.strip_prefix(&["chunk".to_owned()]).unwrap_or(rest);
                let in_part = if rest.is_empty() { Some(0) } else { number(&mut rest) };
                first.checked_mul(self.chunks).zip(in_part).and_then(|(first, chunk)| first.checked_add(chunk))
            }
        };
        let chunk = chunk.filter(|_| rest.is_empty()).ok_or_else(unknown)?;
        let range = |what, number: u32, of: String, count: u32| match number < count {
            true => Ok(()),
            false => Err(PlaceError::Range { what, number, of, count: count as usize }),
        };
        range("rank", rank, String::new(), self.ranks)?;
        range("chunk", chunk, format!("rank {rank}'s {buffer}"), self.buffer_chunks(buffer, rank))?;
        Ok(Address { rank, buffer, chunk })
    }

    /// Whether some label is all of `words`.
    fn labelled(&self, words: &[String]) -> bool {
        let mut seen = FxHashSet::default();
        let mut labels = self.lanes.iter().flat_map(|lane| &lane.instructions).map(|instruction| &instruction.label);
        !words.is_empty() && labels.any(|label| seen.insert(label) && is(label, words))
    }

    /// All instructions that are as `wanted`.
    fn each(&self, wanted: &Wanted, mut found: impl FnMut(&dyn Fn() -> Site)) {
        let mut known = FxHashMap::<&Label, bool>::default();
        for (l, lane) in self.lanes.iter().enumerate() {
            if wanted.lane.is_some_and(|lane| lane as usize != l) || wanted.rank.is_some_and(|rank| rank != lane.rank) {
                continue;
            }
            for (i, instruction) in lane.instructions.iter().enumerate() {
                let label = &instruction.label;
                let numbered = wanted.instruction.is_none_or(|wanted| wanted as usize == i);
                let mut named = || *known.entry(label).or_insert_with(|| is(label, &wanted.label));
                if numbered && (wanted.label.is_empty() || named()) {
                    found(&|| Site::of(self, l, i));
                }
            }
        }
    }

    /// Names near to what was wanted or, without any, how to write one.
    fn meant(&self, wanted: &Wanted) -> Vec<String> {
        const LOOKED_AT: usize = 1 << 14;
        let lanes = self.lanes.iter().filter(|lane| wanted.rank.is_none_or(|rank| rank == lane.rank));
        let mut seen = FxHashSet::default();
        let labels = lanes.flat_map(|lane| &lane.instructions).map(|instruction| &instruction.label);
        let labels: Vec<&Label> = labels.take(LOOKED_AT).filter(|label| seen.insert(*label)).collect();
        let text = wanted.label.join(" ");
        let mut near: Vec<(usize, &Label)> = labels
            .iter()
            .map(|label| (distance(&text, &words(&label.to_string()).join(" ")), *label))
            .filter(|(distance, _)| *distance <= text.len().div_ceil(2))
            .collect();
        near.sort_by_key(|(distance, _)| *distance);
        let rank = wanted.rank.map_or_else(String::new, |rank| format!("rank {rank} "));
        let names: Vec<String> = near.iter().take(3).map(|(_, label)| format!("{rank}{label}")).collect();
        match (names.is_empty(), labels.first()) {
            (true, Some(label)) => {
                vec![format!("rank {} {label}", wanted.rank.unwrap_or(0)), "lane 0 instruction 0".to_owned()]
            }
            _ => names,
        }
    }
}

/// What is known of an instruction that somebody wants.
#[derive(Debug, Default)]
struct Wanted {
    rank: Option<u32>,
    lane: Option<u32>,
    instruction: Option<u32>,
    label: Vec<String>,
}

impl Wanted {
    fn read(words: &[String]) -> Self {
        let mut wanted = Self::default();
        let mut rest = words;
        // As reports end: (lane 3, instruction 2).
        if let [before @ .., lane, l, instruction, i] = rest
            && let (true, true) = (lane == "lane", instruction == "instruction")
            && let (Ok(l), Ok(i)) = (l.parse(), i.parse())
        {
            (wanted.lane, wanted.instruction, rest) = (Some(l), Some(i), before);
        }
        if let [lane, instruction] = rest
            && let (Ok(lane), Ok(instruction)) = (lane.parse(), instruction.parse())
        {
            return Self { lane: Some(lane), instruction: Some(instruction), ..wanted };
        }
        loop {
            let (what, number, after) = match rest {
                [what, number, after @ ..] if number.parse::<u32>().is_ok() => (what.as_str(), number, after),
                _ => break,
            };
            let into = match what {
                "rank" | "r" => &mut wanted.rank,
                "lane" | "l" => &mut wanted.lane,
                "instruction" | "i" => &mut wanted.instruction,
                _ => break,
            };
            (*into, rest) = (number.parse().ok(), after);
        }
        // A rank without the word: 2 AG 1.
        if let ([number, after @ ..], None, None) = (rest, wanted.rank, wanted.lane)
            && let (Ok(rank), false) = (number.parse(), after.is_empty())
        {
            (wanted.rank, rest) = (Some(rank), after);
        }
        wanted.label = rest.to_vec();
        wanted
    }
}

const SHOWN: usize = 4;

fn is(label: &Label, words: &[String]) -> bool {
    self::words(&label.to_string()) == words
}

/// Words and numbers, in lower case. `round` says nothing that the number after it does not.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = None;
    for c in text.chars().flat_map(char::to_lowercase) {
        let kind = c.is_alphanumeric().then(|| c.is_ascii_digit());
        match (kind, words.last_mut()) {
            (None, _) => {}
            (Some(_), Some(word)) if kind == before => word.push(c),
            (Some(_), _) => words.push(c.to_string()),
        }
        before = kind;
    }
    words.retain(|word| word != "round");
    words
}

fn number(rest: &mut &[String]) -> Option<u32> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    first.parse().ok()
}

/// Characters to insert, remove, replace or swap with the next between two texts. What people mean is short.
pub(super) fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LONGEST).collect(), b.chars().take(LONGEST).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// `: did you mean this or that?`
struct Meant<'a>(&'a [String]);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str(": the schedule has no instruction"),
            meant => write!(f, "; did you mean '{}'?", meant.join("' or '")),
        }
    }
}

/// Which numbers there are.
struct Numbers<'a>(&'a str, usize);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(of, count) = *self;
        if of.is_empty() {
            f.write_str("there ")?
        } else {
            write!(f, "{of} has ")?
        }
        match (of.is_empty(), count) {
            (true, 0) => f.write_str("is none"),
            (false, 0) => f.write_str("none"),
            (true, 1) => f.write_str("is only 0"),
            (false, 1) => f.write_str("only 0"),
            (true, _) => write!(f, "are 0 to {}", count - 1),
            (false, _) => write!(f, "0 to {}", count - 1),
        }
    }
}

struct Listed<'a>(&'a [Site], usize);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(sites, count) = *self;
        for (i, site) in sites.iter().enumerate() {
            write!(f, "{}{site}", if i == 0 { "" } else { ", " })?;
        }
        match count.saturating_sub(sites.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Algorithm, Instruction, Lane, SyncStyle, build};

    fn ring(algorithm: Algorithm) -> Schedule {
        build(Collective::AllReduce, algorithm, 4, SyncStyle::Neighbor).unwrap()
    }

    #[test]
    fn an_instruction_is_found_by_all_its_names() {
        let ring = ring(Algorithm::Ring);
        let mut names: Vec<(String, (u32, u32))> = Vec::new();
        for (l, lane) in (0..).zip(&ring.lanes) {
            for (i, _) in (0..).zip(&lane.instructions) {
                names.push((Site::of(&ring, l as usize, i as usize).to_string(), (l, i)));
            }
        }
        let typed = [
            "rank 2 AG round 1",
            "r2-ag-1",
            "2 ag 1",
            "R2 AG1",
            "rank=2, AG: round=1",
            "lane 2 instruction 3",
            "2.3",
            "2:3",
            "lane 2, AG round 1",
            "l2i3",
            "rank 2 lane 2 AG 1",
            "(lane 2, instruction 3)",
        ];
        names.extend(typed.map(|text| (text.to_owned(), (2, 3))));
        for (text, at) in names {
            let site = ring.find(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((site.lane, site.instruction), at, "{text}");
        }
        // In a file's own terms.
        let lane = |gpu: u32| Lane::new(gpu).with(Instruction::new(format!("gpu {gpu} tb 1 step 2")));
        let file = Schedule::new("file", Collective::AllReduce, 2, 1).lane(lane(0)).lane(lane(1));
        assert_eq!(file.find("gpu 1 tb 1 step 2").unwrap().lane, 1);
    }

    #[test]
    fn what_is_not_found_is_told_with_what_is() {
        let (ring, two) = (ring(Algorithm::Ring), ring(Algorithm::BidirectionalRing));
        for (schedule, text, says) in [
            (
                &ring,
                "rank 2 AG round 7",
                "no instruction is called 'rank 2 AG round 7'; did you mean 'rank 2 AG round 1' or",
            ),
            (&ring, "rank 2 GA round 1", "did you mean 'rank 2 AG round 1'"),
            (&ring, "rank 9 AG round 1", "there is no rank 9: there are 0 to 3"),
            (&ring, "lane 4 instruction 0", "there is no lane 4: there are 0 to 3"),
            (&ring, "3.6", "there is no instruction 6: lane 3 has 0 to 5"),
            (
                &ring,
                "something",
                "no instruction is called 'something'; did you mean 'rank 0 RS round 1' or 'lane 0 instruction 0'?",
            ),
            (&ring, "rank 1", "did you mean"),
            (&ring, "", "did you mean"),
            (&ring, "rank 1 RS round 1 (lane 2, instruction 0)", "no instruction is called"),
            (&ring, "RS round 1", "'RS round 1' is 4 instructions: rank 0 RS round 1 (lane 0, instruction 0), rank 1"),
            (&two, "rank 1 RS round 1", "is 2 instructions: rank 1 RS round 1 (lane 2, instruction 0), rank 1"),
            (&two, "RS round 1", "and 4 more; name one by its lane, as in '0.1'"),
            (&Schedule::new("", Collective::Barrier, 1, 1), "0.0", "there is no lane 0: there is none"),
            (&Schedule::new("", Collective::Barrier, 1, 1), "RS", "the schedule has no instruction"),
        ] {
            let said = schedule.find(text).map_err(|error| error.to_string()).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn chunks_are_found_by_all_their_names() {
        let all = ring(Algorithm::Ring);
        let gather = Schedule::new("", Collective::AllGather, 3, 2);
        for (schedule, text, expected) in [
            (&all, "2:1", Ok(Address::output(2, 1))),
            (&all, "rank 2 output[1]", Ok(Address::output(2, 1))),
            (&all, "2 slot 0", Ok(Address::slot(2, 0))),
            (&all, "r2 in 3", Ok(Address::input(2, 3))),
            (&gather, "rank 1 output[part 2, chunk 1]", Ok(Address::output(1, 5))),
            (&gather, "1:5", Ok(Address::output(1, 5))),
            (&gather, "1 output part 2", Ok(Address::output(1, 4))),
            (&gather, "1:6", Err("there is no chunk 6: rank 1's output has 0 to 5")),
            (&gather, "1 slot 0", Err("there is no chunk 0: rank 1's slot has none")),
            (&all, "4:0", Err("there is no rank 4: there are 0 to 3")),
            (&all, "2", Err("'2' is no chunk; write rank:chunk")),
            (&all, "2:1:1", Err("'2:1:1' is no chunk")),
            (&all, "2:x", Err("'2:x' is no chunk")),
            (&gather, "1 output part 4294967295", Err("is no chunk")),
        ] {
            match (schedule.place(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{text}: {error}"),
                (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn distances_count_mistakes_of_fingers() {
        for (a, b, expected) in [
            ("", "", 0),
            ("ag 1", "ag 1", 0),
            ("ag", "ga", 1),
            ("ab", "cd", 2),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
