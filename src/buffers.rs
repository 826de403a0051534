//! The buffers that users give for a launch: how long each is, and what of it is input and output.
//!
//! Both executors, the program and the tests ask this, so that one rule and one error message hold for all of them.

use std::fmt;
use std::ops::Range;

use crate::element::Element;
use crate::schedule::{Buffer, Schedule};

/// Which of a launch's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Inputs, one for each rank.
    Input,
    /// Outputs, one for each rank.
    Output,
    /// In place: one buffer for each rank, as long as the longer of its input and output.
    InPlace,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::InPlace => "buffer",
        })
    }
}

/// Buffers that do not fit the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BufferError {
    /// Not one buffer for each rank.
    #[error("{got} {what}s for {ranks} ranks; give one for each rank, empty where it has none")]
    Number {
        /// Which buffers.
        what: Given,
        /// How many were given.
        got: usize,
        /// How many there must be.
        ranks: u32,
    },
    /// A buffer of the wrong length.
    #[error("the {what} of rank {rank} has {got} elements, but {}", must(*.parts, *.count))]
    Length {
        /// Which buffer.
        what: Given,
        /// Whose.
        rank: u32,
        /// Its length.
        got: usize,
        /// Parts that it must have.
        parts: u32,
        /// Elements of a part.
        count: usize,
    },
}

fn must(parts: u32, count: usize) -> String {
    match parts {
        0 => "this rank has none in the collective; give an empty one".to_owned(),
        1 => format!("the payload has {count}"),
        _ => format!("it must have {}: {parts} parts of the payload's {count}", parts as usize * count),
    }
}

/// Lengths in elements of all ranks' buffers, for a payload of `count`.
#[derive(Debug, Clone, Copy)]
pub struct Extents<'a> {
    /// Of what.
    pub schedule: &'a Schedule,
    /// Elements of a part.
    pub count: usize,
    /// Whether input and output are one buffer.
    pub in_place: bool,
}

/// Elements of a part, by the first of all ranks' buffers that must be there; buffers that do not agree with it are
/// refused later.
pub(crate) fn count_of(lengths: impl Iterator<Item = usize>, parts: impl Fn(u32) -> u32) -> Option<usize> {
    let mut with_parts = (0..).zip(lengths).map(|(rank, length)| (length, parts(rank) as usize));
    with_parts.find(|&(_, parts)| parts > 0).map(|(length, parts)| length / parts)
}

impl Extents<'_> {
    fn parts(&self, what: Given, rank: u32) -> u32 {
        match what {
            Given::Input => self.schedule.user_parts(Buffer::Input, rank, false),
            Given::Output => self.schedule.user_parts(Buffer::Output, rank, false),
            Given::InPlace => self.schedule.user_parts(Buffer::Output, rank, true),
        }
    }

    /// Length of a buffer of `rank`.
    pub fn len(&self, what: Given, rank: u32) -> usize {
        self.parts(what, rank) as usize * self.count
    }

    /// Length of that buffer of all ranks together.
    pub fn total(&self, what: Given) -> usize {
        (0..self.schedule.ranks).map(|rank| self.len(what, rank)).sum()
    }

    /// Where `rank`'s input is in the buffer that is given for it.
    pub fn input(&self, rank: u32) -> Range<usize> {
        let first = if self.in_place { self.schedule.task.input_in_place(rank) as usize } else { 0 };
        first * self.count..first * self.count + self.len(Given::Input, rank)
    }

    /// Where `rank`'s output is in the buffer that is given for it.
    pub fn output(&self, rank: u32) -> Range<usize> {
        let first = if self.in_place { self.schedule.task.output_in_place(rank) as usize } else { 0 };
        first * self.count..first * self.count + self.len(Given::Output, rank)
    }

    /// Holds the lengths of all ranks' buffers against what they must be.
    ///
    /// # Errors
    /// [`BufferError`] for the first that is wrong.
    pub fn check(&self, what: Given, lengths: impl ExactSizeIterator<Item = usize>) -> Result<(), BufferError> {
        let (got, ranks) = (lengths.len(), self.schedule.ranks);
        if got != ranks as usize {
            return Err(BufferError::Number { what, got, ranks });
        }
        match (0..).zip(lengths).find(|&(rank, got)| got != self.len(what, rank)) {
            Some((rank, got)) => {
                Err(BufferError::Length { what, rank, got, parts: self.parts(what, rank), count: self.count })
            }
            None => Ok(()),
        }
    }

    /// Appends to `into` what `rank`'s output is before a launch: poison, and in place its buffer with `input` in it.
    pub fn prepare<T: Element>(&self, rank: u32, input: &[T], into: &mut Vec<T>) {
        let (start, what) = (into.len(), if self.in_place { Given::InPlace } else { Given::Output });
        into.resize(start + self.len(what, rank), T::poison());
        if self.in_place {
            into[start..][self.input(rank)].copy_from_slice(input);
        }
    }
}
