//! The device's clock around every dispatch of a launch that is traced.
//!
//! Each is a pass of its own then: a stamp between two dispatches of a pass is a rarer feature. That costs a launch more than
//! the dispatches of a small one take, so it is done only for a trace.

use super::clock::Stamps;
use super::device::Device;
use crate::error::DeviceError;
use crate::lower::Times;

/// Pairs of stamps in a query set.
const IN_A_SET: usize = 2048;

/// Stamps of all dispatches of a launch.
pub(super) struct Marks {
    sets: Vec<Stamps>,
}

impl Marks {
    /// None where the device has no clock.
    pub(super) fn new(device: &Device, dispatches: usize) -> Result<Option<Self>, DeviceError> {
        if !device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let sets = (0..dispatches).step_by(IN_A_SET).map(|first| {
            let pairs = IN_A_SET.min(dispatches - first);
            Stamps::of(device, pairs as u32)
        });
        Ok(Some(Self { sets: sets.collect::<Result<_, _>>()? }))
    }

    /// Both stamps of a dispatch.
    pub(super) fn writes(&self, dispatch: usize) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let set = self.sets.get(dispatch / IN_A_SET)?;
        Some(set.writes((dispatch % IN_A_SET) as u32))
    }

    /// Times of the first dispatches, `each` for every piece. None of a clock that cannot be believed.
    pub(super) fn read(&self, device: &Device, pieces: usize, each: usize) -> Result<Option<Vec<Times>>, DeviceError> {
        let mut stamps = Vec::new();
        for set in &self.sets {
            stamps.extend(set.read(device)?);
        }
        stamps.truncate(pieces * each);
        let times = times(&stamps, device.queue.get_timestamp_period().into());
        Ok(times.map(|times| times.chunks(each.max(1)).map(<[_]>::to_vec).collect()))
    }
}

/// Nanoseconds since the first stamp. No dispatch begins before the one before it has ended, whatever moment a device stamps,
/// for there is a barrier between them. A clock that runs backwards all the same, or stands still, is none.
fn times(stamps: &[[u64; 2]], period: f64) -> Option<Times> {
    let first = stamps.first()?[0];
    let mut last = 0;
    let mut times = Times::with_capacity(stamps.len());
    for stamp in stamps {
        let [begin, end] = stamp.map(|stamp| stamp.checked_sub(first).map(|ticks| (ticks as f64 * period) as u64));
        let (begin, end) = (begin?.max(last), end?);
        if end < begin {
            return None;
        }
        last = end;
        times.push((begin, end));
    }
    (last > 0).then_some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_goes_on_is_believed() {
        for (stamps, period, expected) in [
            (&[[5, 7], [8, 8], [9, 19]][..], 2.0, Some(vec![(0, 4), (6, 6), (8, 28)])),
            // The next is stamped when it is fetched, before the last one has ended.
            (&[[10, 20], [15, 30]], 1.0, Some(vec![(0, 10), (10, 20)])),
            (&[[10, 20], [5, 30]], 1.0, None),
            (&[[10, 20], [12, 18]], 1.0, None),
            (&[[7, 6]], 1.0, None),
            (&[[0, 0], [0, 0]], 1.0, None),
            (&[[3, 3]], 1.0, None),
            (&[], 1.0, None),
        ] {
            assert_eq!(times(stamps, period), expected, "{stamps:?}");
        }
    }
}
