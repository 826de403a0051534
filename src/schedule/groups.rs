//! Ranks in groups that follow each other: within a group data moves cheaply, between groups it does not.
//!
//! Apart from the algorithms, because a placement on devices and the command line speak of groups, too.

use std::fmt;

/// Sizes of groups, in rank order: of `[3, 5]` the first holds ranks 0 to 2, the second 3 to 7.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Groups {
    /// First rank of each group, and the end.
    first: Vec<u32>,
}

/// Sizes that make no groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group has at least one rank, and there is at least one group; write sizes such as 4,4")]
#[non_exhaustive]
pub struct GroupsError;

impl Groups {
    /// Groups of these sizes.
    ///
    /// # Errors
    /// [`GroupsError`] where one is empty, there is none, or they are more than 2^32 ranks.
    pub fn new(sizes: impl IntoIterator<Item = u32>) -> Result<Self, GroupsError> {
        let mut first = vec![0_u32];
        for size in sizes {
            let end = first.last().and_then(|end| end.checked_add(size)).filter(|_| size > 0);
            first.push(end.ok_or(GroupsError)?);
        }
        if first.len() < 2 { Err(GroupsError) } else { Ok(Self { first }) }
    }

    /// `count` groups of `ranks` ranks, as even as can be: the first ones are the larger. Of more groups than ranks, one a rank.
    pub fn even(ranks: u32, count: u32) -> Self {
        let count = count.clamp(1, ranks.max(1));
        let first = (0..=count).map(|group| group * (ranks / count) + group.min(ranks % count));
        Self { first: first.collect() }
    }

    /// Where nobody said any: about as many groups as a group has ranks, of equal size if the number of ranks has such a divisor.
    pub fn usual(ranks: u32) -> Self {
        let root = ranks.max(1).isqrt();
        let divisor = (2..=root).rev().find(|count| ranks.is_multiple_of(*count));
        Self::even(ranks, divisor.unwrap_or(root))
    }

    /// Ranks of all groups.
    pub fn ranks(&self) -> u32 {
        self.first.last().copied().unwrap_or(0)
    }

    /// How many groups there are.
    pub fn count(&self) -> u32 {
        self.first.len() as u32 - 1
    }

    /// Ranks of a group.
    pub fn size(&self, group: u32) -> u32 {
        self.first[group as usize + 1] - self.first[group as usize]
    }

    /// The ranks of a group.
    pub fn members(&self, group: u32) -> std::ops::Range<u32> {
        self.first[group as usize]..self.first[group as usize + 1]
    }

    /// The group of a rank, and its place in it.
    pub fn of(&self, rank: u32) -> (u32, u32) {
        let group = self.first.partition_point(|&first| first <= rank) as u32 - 1;
        (group, rank - self.first[group as usize])
    }

    /// Who of a group stands for place `index`, which a smaller group does not have.
    pub(crate) fn holder(&self, group: u32, index: u32) -> u32 {
        self.first[group as usize] + index % self.size(group)
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in 0..self.count() {
            write!(f, "{}{}", if group == 0 { "" } else { "," }, self.size(group))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_in_groups() {
        for (ranks, usual) in [
            (1, "1"),
            (2, "2"),
            (3, "3"),
            (4, "2,2"),
            (5, "3,2"),
            (6, "3,3"),
            (7, "4,3"),
            (8, "4,4"),
            (9, "3,3,3"),
            (12, "4,4,4"),
            (16, "4,4,4,4"),
            (11, "4,4,3"),
        ] {
            assert_eq!(Groups::usual(ranks).to_string(), usual, "{ranks}");
        }
        let groups = Groups::new([3, 5]).unwrap();
        assert_eq!((groups.ranks(), groups.count(), groups.members(1)), (8, 2, 3..8));
        assert_eq!([0, 2, 3, 7].map(|rank| groups.of(rank)), [(0, 0), (0, 2), (1, 0), (1, 4)]);
        assert_eq!((groups.holder(0, 4), groups.holder(1, 4)), (1, 7));
        for wrong in [&[][..], &[0], &[2, 0], &[u32::MAX, 1]] {
            assert!(Groups::new(wrong.iter().copied()).is_err(), "{wrong:?}");
        }
    }
}
