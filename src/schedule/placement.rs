//! Which ranks live on which device.
//!
//! A schedule says nothing about devices, so that it is proved once and placed in any way.

use std::fmt;
use std::str::FromStr;

use super::{Groups, MAX_RANKS};

/// The device of every rank. Devices are numbered from 0, and each of them has a rank.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Placement {
    device_of: Vec<u32>,
    devices: u32,
}

/// Ranks that cannot be placed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum PlacementError {
    /// No text of a placement.
    #[error("'{0}' places no ranks; write ranks and their device, such as 0-3:0,4-7:1")]
    Text(String),
    /// A rank without a device.
    #[error("rank {0} is on no device; place every rank, as in 0-3:0,4-7:1")]
    Missing(u32),
    /// A rank on two devices.
    #[error("rank {0} is placed twice; place every rank once")]
    Twice(u32),
    /// A device without a rank.
    #[error("no rank is on device {0}; number devices from 0 without gaps, or leave that device out")]
    Idle(u32),
    /// More ranks than a schedule may have, or none.
    #[error("a placement is of 1 to {MAX_RANKS} ranks")]
    Ranks,
}

impl Placement {
    /// `device_of[r]` is the device of rank r.
    ///
    /// # Errors
    /// [`PlacementError`] where devices are not numbered without gaps, or there is no rank.
    pub fn new(device_of: impl Into<Vec<u32>>) -> Result<Self, PlacementError> {
        let device_of = device_of.into();
        let most = device_of.iter().copied().max().ok_or(PlacementError::Ranks)?;
        if device_of.len() > MAX_RANKS as usize {
            return Err(PlacementError::Ranks);
        }
        let mut has = vec![false; device_of.len()];
        for &device in &device_of {
            if let Some(has) = has.get_mut(device as usize) {
                *has = true;
            }
        }
        match has.iter().position(|has| !has).map(|device| device as u32) {
            Some(idle) if idle <= most => Err(PlacementError::Idle(idle)),
            _ => Ok(Self { device_of, devices: most + 1 }),
        }
    }

    /// `ranks` ranks in blocks over `devices` devices, as even as can be: the first ones have more. Of more devices than
    /// ranks, the last ones are left out.
    pub fn even(ranks: u32, devices: u32) -> Self {
        Self::from(&Groups::even(ranks, devices))
    }

    /// The device of a rank.
    pub fn device(&self, rank: u32) -> u32 {
        self.device_of[rank as usize]
    }

    /// Ranks.
    pub fn ranks(&self) -> u32 {
        self.device_of.len() as u32
    }

    /// Devices.
    pub fn devices(&self) -> u32 {
        self.devices
    }

    /// The ranks on a device, ascending.
    pub fn ranks_of(&self, device: u32) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.device_of).filter(move |&(_, &of)| of == device).map(|(rank, _)| rank)
    }

    /// The groups that devices make of ranks, where those of a device follow each other.
    pub fn groups(&self) -> Option<Groups> {
        let runs: Vec<&[u32]> = self.device_of.chunk_by(|a, b| a == b).collect();
        let sizes = runs.iter().map(|run| run.len() as u32);
        (runs.len() == self.devices as usize).then(|| Groups::new(sizes).ok()).flatten()
    }
}

impl From<&Groups> for Placement {
    /// A device for each group.
    fn from(groups: &Groups) -> Self {
        let device_of = (0..groups.ranks()).map(|rank| groups.of(rank).0).collect();
        Self { device_of, devices: groups.count() }
    }
}

/// Runs of ranks with their device: `0-3:0,4-7:1`.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = 0;
        for run in self.device_of.chunk_by(|a, b| a == b) {
            let end = first + run.len();
            let comma = if first == 0 { "" } else { "," };
            match run.len() {
                1 => write!(f, "{comma}{first}:{}", run[0])?,
                _ => write!(f, "{comma}{first}-{}:{}", end - 1, run[0])?,
            }
            first = end;
        }
        Ok(())
    }
}

impl FromStr for Placement {
    type Err = PlacementError;

    /// Reads what [`Display`](fmt::Display) writes, in any order.
    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let wrong = || PlacementError::Text(text.to_owned());
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
        let mut device_of: Vec<Option<u32>> = Vec::new();
        for run in text.split(',') {
            let (ranks, device) = run.split_once(':').ok_or_else(wrong)?;
            let (first, last) = match ranks.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(ranks)?, number(ranks)?),
            };
            let device = number(device)?;
            if last < first {
                return Err(wrong());
            }
            if last >= MAX_RANKS || device >= MAX_RANKS {
                return Err(PlacementError::Ranks);
            }
            for rank in first..=last {
                if device_of.len() <= rank as usize {
                    device_of.resize(rank as usize + 1, None);
                }
                if device_of[rank as usize].replace(device).is_some() {
                    return Err(PlacementError::Twice(rank));
                }
            }
        }
        let placed = (0..).zip(device_of).map(|(rank, device)| device.ok_or(PlacementError::Missing(rank)));
        Self::new(placed.collect::<Result<Vec<u32>, _>>()?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn placements_are_read_as_they_are_written() {
        for (text, devices, groups) in [
            ("0:0", 1, Some("1")),
            ("0-3:0,4-7:1", 2, Some("4,4")),
            ("0-3:1,4-7:0", 2, Some("4,4")),
            ("0:0,1:1,2:0", 2, None),
            ("0-1:2,2-4:0,5:1", 3, Some("2,3,1")),
        ] {
            let placement: Placement = text.parse().unwrap();
            assert_eq!(placement.to_string(), text);
            assert_eq!(placement.devices(), devices, "{text}");
            assert_eq!(placement.groups().map(|groups| groups.to_string()).as_deref(), groups, "{text}");
            let all: usize = (0..devices).map(|device| placement.ranks_of(device).count()).sum();
            assert_eq!(all as u32, placement.ranks());
        }
        assert_eq!("4-5:1, 0-3:0".parse::<Placement>().unwrap().to_string(), "0-3:0,4-5:1");
        assert_eq!(Placement::even(7, 3).to_string(), "0-2:0,3-4:1,5-6:2");
        assert_eq!(Placement::even(2, 5).devices(), 2);
    }

    #[test]
    fn ranks_that_cannot_be_placed_so_are_refused() {
        for (text, reason) in [
            ("", "places no ranks"),
            ("0-3", "places no ranks"),
            ("3-0:1", "places no ranks"),
            ("0-x:1", "places no ranks"),
            ("1:0", "rank 0 is on no device"),
            ("0-2:0,2:1", "rank 2 is placed twice"),
            ("0:0,1:2", "no rank is on device 1"),
            ("0-4096:0", "1 to 4096 ranks"),
            ("0:4294967295", "1 to 4096 ranks"),
        ] {
            let error = text.parse::<Placement>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(Placement::new([]), Err(PlacementError::Ranks));
        assert_eq!(Placement::new([0, 7]), Err(PlacementError::Idle(1)));
    }
}
