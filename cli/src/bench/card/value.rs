//! What a card says, before it is text or a picture.

use serde::Serialize;

use crate::bench::machine::Machine;
use crate::bench::result::{Clock, Device, RoofBy};

/// The layout of the JSON.
pub const SCHEMA: &str = "wgccl-card/1";

/// What a card says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Every result was bit-exact.
    pub ok: bool,
    /// Of the program.
    pub version: &'static str,
    /// Of the program, where its build knew.
    pub commit: Option<&'static str>,
    /// When it was begun.
    pub time_utc: String,
    /// What was measured.
    pub device: Device,
    /// On what.
    pub machine: Machine,
    /// Participants, all on the device.
    pub ranks: u32,
    /// Barriers from submission to completion: nothing moves, so that is what a launch costs.
    pub launch: Vec<Launch>,
    /// The fastest copy of all ranks' vectors, of the largest size.
    pub roof: Option<CopyRoof>,
    /// All-reduces of f32, the best for each size.
    pub all_reduce: Vec<Best>,
    /// What was not measured, and why.
    pub left_out: Vec<LeftOut>,
    /// Launches whose results were compared with the golden.
    pub checked: u64,
    /// Elements of them that differed.
    pub wrong: u64,
}

/// What a launch costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Launch {
    /// Mode and protocol; none on cores.
    pub dispatch: Option<String>,
    /// Median in microseconds by the host's clock.
    pub us: f64,
}

/// What a copy reaches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CopyRoof {
    /// Of all ranks' vectors.
    pub bytes: u64,
    /// GB/s, read and written.
    pub bandwidth: f64,
    /// What copied fastest.
    pub by: Option<RoofBy>,
}

/// The best of what was tried for a size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Best {
    /// Of a rank's vector.
    pub bytes: u64,
    /// Median in microseconds, and the ends of the middle half of the launches.
    pub us: f64,
    /// Lower quartile and upper quartile.
    pub quartiles_us: [f64; 2],
    /// By which clock.
    pub clock: Clock,
    /// GB/s, as nccl-tests defines it.
    pub bus_bw: f64,
    /// What the schedule reads and writes, in percent of a copy of all ranks' vectors.
    pub roof_pct: f64,
    /// By which schedule.
    pub algorithm: String,
    /// Mode and protocol; none on cores.
    pub dispatch: Option<String>,
    /// How many schedules and modes were tried.
    pub tried: usize,
}

/// What is not on a card.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOut {
    /// For people.
    pub what: String,
    /// For people.
    pub why: String,
    /// Of a rank's vector, where it is a size.
    pub bytes: Option<u64>,
}
