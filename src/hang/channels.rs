//! A set of channels, which people and records read as ranges.
//!
//! A launch that hangs does so in all of its channels or in a few; a list of a thousand numbers says neither.

use std::fmt;

use serde::Serialize;

/// Channels, as ascending ranges that do not touch: first and last of each. `Display` is `channel 3` or `channels 0-15, 17`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Channels(Vec<(u32, u32)>);

impl Channels {
    /// Puts `channel` into the set.
    pub(super) fn insert(&mut self, channel: u32) {
        let at = self.0.partition_point(|&(_, last)| last < channel);
        if self.0.get(at).is_some_and(|&(first, _)| first <= channel) {
            return;
        }
        let after_left = at > 0 && self.0[at - 1].1 + 1 == channel;
        let before_right = self.0.get(at).is_some_and(|&(first, _)| first - 1 == channel);
        match (after_left, before_right) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = channel,
            (false, true) => self.0[at].0 = channel,
            (false, false) => self.0.insert(at, (channel, channel)),
        }
    }

    /// First and last channel of every range, in ascending order.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Every channel, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }
}

impl FromIterator<u32> for Channels {
    fn from_iter<I: IntoIterator<Item = u32>>(channels: I) -> Self {
        let mut set = Self::default();
        channels.into_iter().for_each(|channel| set.insert(channel));
        set
    }
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let one = matches!(self.0[..], [(first, last)] if first == last);
        f.write_str(if one { "channel " } else { "channels " })?;
        for (i, &(first, last)) in self.0.iter().take(SHOWN).enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            match last == first {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            _ => f.write_str(", ..."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_ranges_in_whatever_order_they_come() {
        let text = |channels: &[u32]| channels.iter().copied().collect::<Channels>().to_string();
        assert_eq!(text(&[3]), "channel 3");
        assert_eq!(text(&[0, 1, 2, 5]), "channels 0-2, 5");
        assert_eq!(text(&[5, 2, 0, 1, 1, 4, 3]), "channels 0-5");
        assert_eq!(text(&[0, 2, 4, 6, 8, 10, 12, 14, 16]), "channels 0, 2, 4, 6, 8, 10, 12, 14, ...");
        assert_eq!([4, 0, 1].into_iter().collect::<Channels>().iter().collect::<Vec<_>>(), [0, 1, 4]);
        assert_eq!(
            [4, 0, 1, u32::MAX].into_iter().collect::<Channels>().ranges(),
            [(0, 1), (4, 4), (u32::MAX, u32::MAX)]
        );
    }
}
