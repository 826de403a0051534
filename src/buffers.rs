//! The buffers that users give for a launch: how long each is, and what of it is input and output.
//!
//! Both executors, the program and the tests ask this, so that one rule and one error message hold for all of them.

mod slices;

use std::fmt;
use std::ops::Range;

pub use slices::SliceError;

use crate::element::Element;
use crate::schedule::{AddressMap, Buffer};

/// Which of a launch's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserBuffer {
    /// Inputs, one for each rank.
    Input,
    /// Outputs, one for each rank.
    Output,
    /// In place: one buffer for each rank, as long as the longer of its input and output.
    InPlace,
}

impl fmt::Display for UserBuffer {
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
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum BufferError {
    /// Not one buffer for each rank.
    #[error("{got} {what}s for {ranks} ranks; give one for each rank, empty where it has none")]
    Number { what: UserBuffer, got: usize, ranks: u32 },
    /// A buffer of the wrong length.
    #[error("the {what} of rank {rank} has {got} elements, but {}", must(*.parts, *.count))]
    Length { what: UserBuffer, rank: u32, got: usize, parts: u32, count: usize },
    /// Bytes that are no whole number of elements.
    #[error("the {what} of rank {rank} has {got} bytes, which is no whole number of elements of {element_bytes} bytes")]
    Ragged { what: UserBuffer, rank: u32, got: usize, element_bytes: usize },
    /// Bytes that cannot be elements where they are.
    #[error("the {what} of rank {rank} begins at an address that is no multiple of {align}, as its elements' must be")]
    Misaligned { what: UserBuffer, rank: u32, align: usize },
}

fn must(parts: u32, count: usize) -> String {
    match parts {
        0 => "this rank has none in the collective; give an empty one".to_owned(),
        1 => format!("the payload has {count}"),
        _ => {
            let all = (parts as usize).saturating_mul(count);
            format!("it must have {all}: {parts} parts of the payload's {count}")
        }
    }
}

/// Lengths in elements of all ranks' buffers, for parts of `count` elements. Of counts that no memory has room for, all
/// lengths are `usize::MAX`, which no buffer has.
#[derive(Debug, Clone, Copy)]
pub struct Extents<'a> {
    map: &'a AddressMap,
    count: usize,
}

/// Elements of a part, by the first of all ranks' buffers that must be there; buffers that do not agree with it are
/// refused later.
pub(crate) fn count_of(lengths: impl Iterator<Item = usize>, parts: impl Fn(u32) -> u32) -> Option<usize> {
    let mut with_parts = (0..).zip(lengths).map(|(rank, length)| (length, parts(rank) as usize));
    with_parts.find(|&(_, parts)| parts > 0).map(|(length, parts)| length / parts)
}

impl<'a> Extents<'a> {
    /// Of the buffers in `map`.
    pub fn new(map: &'a AddressMap, count: usize) -> Self {
        Self { map, count }
    }

    /// Participants.
    pub fn ranks(&self) -> u32 {
        self.map.ranks()
    }

    /// Which buffers a user gives for results.
    pub fn results(&self) -> UserBuffer {
        if self.map.in_place() { UserBuffer::InPlace } else { UserBuffer::Output }
    }

    fn parts(&self, what: UserBuffer, rank: u32) -> u32 {
        match what {
            UserBuffer::Input => self.map.parts(Buffer::Input, rank).len() as u32,
            UserBuffer::Output => self.map.parts(Buffer::Output, rank).len() as u32,
            UserBuffer::InPlace => {
                self.map.parts(Buffer::Input, rank).len().max(self.map.parts(Buffer::Output, rank).len()) as u32
            }
        }
    }

    /// Length of a buffer of `rank`.
    pub fn len(&self, what: UserBuffer, rank: u32) -> usize {
        (self.parts(what, rank) as usize).saturating_mul(self.count)
    }

    /// Length of that buffer of all ranks together.
    pub fn total(&self, what: UserBuffer) -> usize {
        (0..self.map.ranks()).fold(0, |sum: usize, rank| sum.saturating_add(self.len(what, rank)))
    }

    /// Where `rank`'s input is in the buffer that is given for it.
    pub fn input(&self, rank: u32) -> Range<usize> {
        self.range(Buffer::Input, rank)
    }

    /// Where `rank`'s output is in the buffer that is given for it.
    pub fn output(&self, rank: u32) -> Range<usize> {
        self.range(Buffer::Output, rank)
    }

    fn range(&self, buffer: Buffer, rank: u32) -> Range<usize> {
        let parts = self.map.parts(buffer, rank);
        (parts.start as usize).saturating_mul(self.count)..(parts.end as usize).saturating_mul(self.count)
    }

    /// Holds the lengths of all ranks' buffers against what they must be.
    ///
    /// # Errors
    /// [`BufferError`] for the first that is wrong.
    pub fn check(&self, what: UserBuffer, lengths: impl ExactSizeIterator<Item = usize>) -> Result<(), BufferError> {
        let (got, ranks) = (lengths.len(), self.map.ranks());
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
        let (start, what) = (into.len(), self.results());
        into.resize(start + self.len(what, rank), T::poison());
        if self.map.in_place() {
            into[start..][self.input(rank)].copy_from_slice(input);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::Schedule;

    /// A length is never one that a real buffer could have by mistake.
    #[test]
    fn lengths_end_with_the_numbers() {
        let map = AddressMap::new(&Schedule::new("", Collective::AllGather, 3, 1), false).unwrap();
        for (count, input, output) in [(5, 5, 15), (usize::MAX, usize::MAX, usize::MAX), (1 << 63, 1 << 63, usize::MAX)]
        {
            let extents = Extents::new(&map, count);
            let len = |what| extents.len(what, 1);
            assert_eq!((len(UserBuffer::Input), len(UserBuffer::Output)), (input, output), "{count}");
            assert_eq!(extents.total(UserBuffer::Output), if count == 5 { 45 } else { usize::MAX });
            assert_eq!(extents.output(1).end, output);
            let refused = extents.check(UserBuffer::Output, [0; 3].into_iter()).unwrap_err();
            assert!(refused.to_string().contains(&format!("it must have {output}")), "{refused}");
        }
    }
}
