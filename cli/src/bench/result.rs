//! What was measured: one row per size, in both placements, with all that is needed to judge it later.
//!
//! Table, record, comparison and picture are all made from these values and from nothing else.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::lower::{Mode, Protocol};
use wgccl::schedule::{Origin, Selection, SyncStyle};

use super::statistics::Statistics;
/// A device under test.
pub use crate::device::Description as Device;
use crate::dispatch;
use crate::identity;

/// Where times come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The device's own timestamps around the dispatches.
    Device,
    /// The host, from submission to completion.
    Host,
}

/// Times of one placement, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// First iterations that the statistics leave out.
    pub skipped_iterations: usize,
    /// Of the others.
    #[serde(flatten)]
    pub statistics: Statistics,
    /// All of them.
    pub times_us: Vec<f64>,
}

/// One placement of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Mean time of a launch in microseconds.
    pub time: f64,
    /// By which clock.
    pub clock: Clock,
    /// Mean time from submission to completion by the host's clock.
    pub host_time: f64,
    /// Median of the same. Older records do not say.
    #[serde(default)]
    pub host_p50: Option<f64>,
    /// [`Row::size`] / time.
    pub alg_bw: f64,
    /// As nccl-tests defines it.
    pub bus_bw: f64,
    /// Bytes that the schedule reads and writes / time.
    pub mem_bw: f64,
    /// `mem_bw` in percent of the copy bandwidth; NaN where there is nothing to copy.
    #[serde(deserialize_with = "nan_if_null")]
    pub roof_pct: f64,
    /// Elements that differ from the golden in the checked iterations, over all ranks; `None` if unchecked.
    pub nwrong: Option<u64>,
    /// Dispatch mode, on a GPU.
    pub dispatch: Option<Mode>,
    /// Protocol, on a GPU.
    pub protocol: Option<Protocol>,
    /// Dispatches of a launch, on a GPU.
    pub dispatches: Option<u32>,
    /// Independent slices.
    pub channels: u32,
    /// Pieces that the payload goes in, one after the other.
    pub pieces: usize,
    /// Bytes of device memory for inputs and outputs, and for the windows, on a GPU.
    pub device_bytes: Option<(u64, u64)>,
    /// Hash of the WGSL that ran.
    pub kernel: Option<String>,
}

/// What the device's memory does for the same bytes when nothing is computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Roof {
    /// Median time in microseconds to copy all ranks' vectors once.
    pub time: f64,
    /// By which clock.
    pub clock: Clock,
    /// Bytes read and written / time.
    pub bandwidth: f64,
    /// What copied fastest. Older records do not say: of GPUs they are by the command, of cores by memcpy.
    #[serde(default)]
    pub by: Option<RoofBy>,
}

/// How the roof's memory was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RoofBy {
    /// On a GPU, the command that copies a buffer to a buffer.
    Command,
    /// On a GPU, a kernel that does nothing else.
    Kernel,
    /// On cores, memcpy.
    Memcpy,
    /// On cores, stores past the caches.
    Streaming,
}

impl fmt::Display for RoofBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Command => "command",
            Self::Kernel => "kernel",
            Self::Memcpy => "memcpy",
            Self::Streaming => "streaming",
        })
    }
}

/// One size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Bytes of a rank's largest buffer.
    pub size: u64,
    /// Elements of a part of it.
    pub count: usize,
    /// Its element type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Reduction, where there is one.
    #[serde(serialize_with = "redop_as_text", deserialize_with = "redop_from_text")]
    pub redop: Option<Op>,
    /// -1 where there is none.
    pub root: i32,
    /// What is computed.
    pub collective: Collective,
    /// By which schedule.
    #[serde(flatten, with = "identity")]
    pub origin: Origin,
    /// The algorithm was chosen by [`Algorithm::choose`](wgccl::schedule::Algorithm::choose) for this size, and not named.
    #[serde(default)]
    pub algorithm_auto: bool,
    /// Who waits for whom.
    pub sync: SyncStyle,
    /// Participants.
    pub ranks: u32,
    /// Index into the devices.
    pub device: usize,
    /// Which repetition of the sweep, from 0.
    pub cycle: u64,
    /// When it was done.
    pub timestamp: String,
    /// Bytes that one launch reads and writes by the schedule.
    pub bytes_moved: u64,
    /// Copy bandwidth for this size on this device in this run.
    pub roof: Roof,
    /// Inputs and outputs apart; `None` of a schedule that is right in place only. A row has this placement or the other.
    pub out_of_place: Option<Measured>,
    /// Its times.
    pub out_of_place_per_iter: Option<Samples>,
    /// Input and output in one buffer, for collectives that have that.
    pub in_place: Option<Measured>,
    /// Its times.
    pub in_place_per_iter: Option<Samples>,
}

/// The key of a placement in records.
pub(super) const OUT_OF_PLACE: &str = "out_of_place";
/// The other one.
pub(super) const IN_PLACE: &str = "in_place";

/// As nccl-tests calls it.
pub fn redop_name(redop: Option<Op>) -> &'static str {
    redop.map_or("none", Op::name)
}

fn redop_as_text<S: serde::Serializer>(redop: &Option<Op>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(redop_name(*redop))
}

fn redop_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Op>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "none" => Ok(None),
        name => name.parse().map(Some).map_err(D::Error::custom),
    }
}

/// JSON has no NaN.
fn nan_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl Row {
    /// What was measured, with its times: out of place, then in place.
    pub fn placements(&self) -> impl Iterator<Item = (&'static str, &Measured, &Samples)> {
        let Self { out_of_place, out_of_place_per_iter, in_place, in_place_per_iter, .. } = self;
        let apart = out_of_place.as_ref().zip(out_of_place_per_iter.as_ref());
        let in_place = in_place.as_ref().zip(in_place_per_iter.as_ref());
        let named = |name| move |(placement, samples)| (name, placement, samples);
        apart.map(named(OUT_OF_PLACE)).into_iter().chain(in_place.map(named(IN_PLACE)))
    }

    /// What stands for the row where there is room for one placement: out of place, or in place where that is all. Every row that
    /// was measured or read has it.
    pub fn first(&self) -> Option<(&Measured, &Samples)> {
        self.placements().next().map(|(_, placement, samples)| (placement, samples))
    }

    /// Whether [`Self::first`] is in place.
    pub fn in_place_only(&self) -> bool {
        self.placements().next().is_some_and(|(name, ..)| name == IN_PLACE)
    }

    /// Dispatch mode and protocol of [`Self::first`] in one word, on a GPU.
    pub fn dispatch_name(&self) -> Option<String> {
        self.first().and_then(|(placement, _)| placement.dispatch_name())
    }

    /// Rows of one line in a picture.
    pub fn group(&self) -> Group {
        let Self { device, collective, root, sync, ranks, data_type, redop, cycle, .. } = *self;
        let origin = (!self.algorithm_auto).then(|| self.origin.clone());
        let (in_place, dispatch) = (self.in_place_only(), self.dispatch_name());
        Group { device, collective, root, origin, sync, ranks, data_type, redop, cycle, in_place, dispatch }
    }
}

impl Measured {
    /// Dispatch mode and protocol in one word, on a GPU.
    pub fn dispatch_name(&self) -> Option<String> {
        self.dispatch.map(|mode| dispatch::name(mode, self.protocol.unwrap_or_default()))
    }
}

/// What all rows of a sweep have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    /// Index into the devices.
    pub device: usize,
    /// What is computed.
    pub collective: Collective,
    /// -1 where there is none.
    pub root: i32,
    /// By which schedule; None where the algorithm was chosen for each size.
    pub origin: Option<Origin>,
    /// Who waits for whom.
    pub sync: SyncStyle,
    /// Participants.
    pub ranks: u32,
    /// Element type.
    pub data_type: DataType,
    /// Reduction, where there is one.
    pub redop: Option<Op>,
    /// Repetition.
    pub cycle: u64,
    /// In place, which is all that there is.
    pub in_place: bool,
    /// Dispatch mode and protocol, on a GPU.
    pub dispatch: Option<String>,
}

impl Group {
    /// The algorithm's name, or that it was chosen.
    pub fn algorithm(&self) -> &str {
        self.origin.as_ref().map_or(Selection::AUTO, Origin::name)
    }
}
