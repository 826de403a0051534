//! Why a chunk holds what it holds: the chain of instructions that made it, down to inputs, and what it lacks.
//!
//! The proof of the result says of every chunk whether it is right. This shows it of one, in the exact order of additions, so
//! that a reader can follow a right one and sees where a wrong one goes astray.

use std::fmt;

use serde::Serialize;

use super::lost::{self, Lost};
use super::made::{self, Maker, leaf};
use super::proved::Proved;
use super::run::Run;
use crate::collective::Ranks;
use crate::schedule::{Address, Schedule, Site};

/// How a chunk came to hold what it holds at the end of a run.
///
/// `Display` is the expression, the chain with an instruction a line, and then what is wrong; it shows up to 60 values.
///
/// ```
/// use wgccl::collective::Collective;
/// use wgccl::proof::{self, prove};
/// use wgccl::schedule::{Address, Algorithm, Recipe};
///
/// let ring = Recipe::new(Collective::AllReduce, 4).algorithm(Algorithm::Ring).build()?;
/// let why = prove(ring, proof::Options::default())?.run().why(Address::output(0, 2))?;
/// assert_eq!(why.expression, "((in[3] + in[0]) + in[1]) + in[2]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Why {
    /// The chunk that was asked about.
    pub place: Address,
    /// The exact order of additions: `in[1]` is rank 1's contribution, `?` what nobody wrote. If contributions of several chunks
    /// went into it, `in[1][2]` is chunk 2 of rank 1's input. Beyond some 4000 characters it is cut.
    pub expression: String,
    /// All values that went into it; the first is its own.
    pub made: Vec<Made>,
    /// Ranks whose contribution it should hold and does not.
    pub lacks: Vec<u32>,
    /// Ranks whose contribution it holds more than once.
    pub twice: Vec<u32>,
    /// Chunks of inputs that it holds and should not.
    pub strange: Vec<Address>,
    /// Memory that nobody wrote went into it.
    pub unwritten: bool,
    /// Where what it lacks was lost; of more than 64 ranks, of the first 64.
    pub lost: Vec<Lost>,
    /// Instructions that never ran, so that it is not known what they would have done.
    pub never_ran: usize,
    /// The chunk that all contributions are, if it is one and the same.
    pub chunk: Option<u32>,
}

/// A value on the way to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Made {
    /// Where it lay.
    pub place: Address,
    /// The instruction that wrote it there; none of an input, or what nobody wrote.
    pub by: Option<Site>,
    /// What it was made from, as indices into [`Why::made`]: a sum is taken from left to right.
    pub from: Vec<u32>,
    /// The contribution, if it is one.
    pub input: Option<Address>,
    /// The place in a user's words.
    #[serde(skip)]
    name: String,
}

/// A question about a chunk that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} does not exist: {there}")]
#[non_exhaustive]
pub struct WhyError {
    /// The chunk.
    pub place: Address,
    there: String,
}

impl WhyError {
    fn new(schedule: &Schedule, place: Address) -> Self {
        let there = match schedule.ranks {
            ranks if place.rank >= ranks => format!("there are ranks 0 to {}", ranks.saturating_sub(1)),
            _ => match schedule.buffer_chunks(place.buffer, place.rank) {
                0 => format!("rank {} has no {}", place.rank, place.buffer),
                chunks => format!("rank {}'s {} has chunks 0 to {}", place.rank, place.buffer, chunks - 1),
            },
        };
        Self { place, there }
    }
}

impl Run<'_> {
    /// How what `place` holds at the end was made. After a race the end of the one run that was looked at.
    ///
    /// # Errors
    /// [`WhyError`] for a chunk that does not exist.
    pub fn why(&self, place: Address) -> Result<Why, WhyError> {
        if !self.exists(place) {
            return Err(WhyError::new(self.schedule(), place));
        }
        let values = made::Made::of(self, &self.order, place);
        let (contributions, unwritten) = values.contributions();
        let chunk = made::Made::chunk(&[&values]);
        let (mut lacking, mut twice, mut strange) = (Vec::new(), Vec::new(), Vec::new());
        if let Some((only, chunk)) = lost::expected(self, place) {
            let belongs = |input: &Address| input.chunk == chunk && only.is_none_or(|rank| rank == input.rank);
            let ranks = only.map_or(0..self.schedule.ranks, |rank| rank..rank + 1);
            lacking.extend(
                ranks.map(|rank| Address::input(rank, chunk)).filter(|input| !contributions.contains_key(input)),
            );
            twice
                .extend(contributions.iter().filter(|(input, ways)| belongs(input) && **ways > 1).map(|(i, _)| i.rank));
            strange.extend(contributions.keys().filter(|input| !belongs(input)).copied());
            twice.sort_unstable();
            strange.sort_unstable();
        }
        let expression = values.expression(chunk);
        let lost = lost::lost(self, &values, &lacking);
        let made = values.values.iter().map(|value| {
            let name = self.schedule.show(value.place);
            let (by, from, input) = match &value.maker {
                Maker::Instruction(id, from) => (Some(self.site(*id)), from.clone(), None),
                Maker::Input(input) => (None, Vec::new(), Some(*input)),
                Maker::Nobody => (None, Vec::new(), None),
            };
            Made { place: value.place, by, from, input, name }
        });
        Ok(Why {
            place,
            expression,
            made: made.collect(),
            lacks: lacking.iter().map(|input| input.rank).collect(),
            twice,
            strange,
            unwritten,
            lost,
            never_ran: self.graph.instructions() as usize - self.order.len(),
            chunk,
        })
    }
}

impl Proved {
    /// How what `place` holds at the end was made.
    ///
    /// # Errors
    /// [`WhyError`] for a chunk that does not exist.
    pub fn why(&self, place: Address) -> Result<Why, WhyError> {
        self.run().why(place)
    }
}

impl Why {
    /// Whether nothing is wrong with it, as far as the task says what it is to hold.
    pub fn ok(&self) -> bool {
        self.lacks.is_empty() && self.twice.is_empty() && self.strange.is_empty() && !self.unwritten
    }

    /// How a value is called where it is read.
    fn operand(&self, value: u32) -> String {
        let Made { input, by, name, .. } = &self.made[value as usize];
        match (input, by) {
            (Some(input), _) => leaf(*input, self.chunk),
            (None, None) => format!("{name} (never written)"),
            _ => name.clone(),
        }
    }
}

/// Values that are shown.
const SHOWN: usize = 60;

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.made[0].name, self.expression)?;
        match self.chunk {
            Some(chunk) => write!(f, "\nin[r]: chunk {chunk} of rank r's input")?,
            None if self.made.iter().any(|made| made.input.is_some()) => {
                f.write_str("\nin[r][c]: chunk c of rank r's input")?;
            }
            None => {}
        }
        // What two instructions read is shown below the first.
        let mut shown = vec![false; self.made.len()];
        let (mut stack, mut lines) = (vec![(0_u32, 1_usize)], Vec::new());
        while let Some((value, depth)) = stack.pop() {
            let made = &self.made[value as usize];
            let Some(by) = &made.by else { continue };
            if std::mem::replace(&mut shown[value as usize], true) {
                continue;
            }
            let from: Vec<String> = made.from.iter().map(|&from| self.operand(from)).collect();
            lines.push((format!("{:1$}{2} = {3}", "", 2 * depth, made.name, from.join(" + ")), by));
            let below = || made.from.iter().filter(|&&from| self.made[from as usize].by.is_some());
            // A chain stays in one column.
            let depth = depth + usize::from(below().count() > 1);
            stack.extend(below().rev().map(|&from| (from, depth)));
        }
        const WIDEST: usize = 64;
        let width =
            lines.iter().take(SHOWN).map(|(line, _)| line.len()).filter(|&len| len <= WIDEST).max().unwrap_or(0);
        for (line, by) in lines.iter().take(SHOWN) {
            write!(f, "\n{line:width$}  {by}")?;
        }
        if lines.len() > SHOWN {
            write!(f, "\n  and {} more", lines.len() - SHOWN)?;
        }
        if !self.lacks.is_empty() {
            write!(f, "\nit lacks the contribution of rank {}", Ranks(&self.lacks))?;
        }
        if !self.twice.is_empty() {
            write!(f, "\nit holds the contribution of rank {} more than once", Ranks(&self.twice))?;
        }
        if !self.strange.is_empty() {
            let strange: Vec<String> = self.strange.iter().take(8).map(Address::to_string).collect();
            write!(f, "\nit holds what does not belong there: {}", strange.join(", "))?;
        }
        if self.unwritten {
            f.write_str("\nit is made of memory that nobody wrote")?;
        }
        for lost in &self.lost {
            write!(f, "\n{lost}")?;
        }
        match self.never_ran {
            0 => Ok(()),
            1 => f.write_str("\n1 instruction never ran"),
            count => write!(f, "\n{count} instructions never ran"),
        }
    }
}
