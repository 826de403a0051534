//! Short checks, once for an open device, before fused dispatch is used: does what theory promises happen here?
//!
//! It runs the very kernel that will be used, with real notifies and waits between workgroups, and compares bits.

use super::device::Gpu;
use super::launch::{Executor, LaunchError, MAX_RANKS, Options};
use super::tuning::Tuning;
use crate::collective::{Collective, Op};
use crate::element::DataType;
use crate::golden::compare;
use crate::inputs::{Fill, generate};
use crate::lower::plan::Mode;
use crate::proof::{self, prove};
use crate::schedule::{Algorithm, SyncStyle, build};

/// Numbers of lanes for which it is tried whether they run together.
pub(super) const LADDER: [u32; 5] = [16, 32, 64, 128, MAX_RANKS];

/// What the check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Every launch finished in its first dispatch: all workgroups ran at the same time.
    pub in_one_dispatch: bool,
}

const RANKS: u32 = 8;
const COUNT: usize = 8 * 1024;
const LAUNCHES: u64 = 4;

impl Gpu {
    /// Runs the check of `mode`, fused or fused-ll, on first use.
    ///
    /// # Errors
    /// Why fused dispatch is not to be trusted here.
    pub fn fused_probe(&self, mode: Mode) -> Result<Probe, String> {
        let known = if mode == Mode::FusedLl { &self.fused_ll } else { &self.fused };
        known.get_or_init(|| probe(self, mode)).clone()
    }

    /// Whether so many workgroups of a fused launch run at the same time; tried on first use. Where they do not, those that
    /// run spin for those that cannot begin, and a launch takes longer than one step after the other.
    pub fn runs_together(&self, lanes: u32) -> bool {
        let step = LADDER.iter().zip(self.together.iter()).find(|&(&most, _)| lanes <= most);
        step.is_some_and(|(&most, tried)| *tried.get_or_init(|| finishes_in_one_dispatch(self, most) == Some(true)))
    }
}

/// A barrier: nobody leaves before all have come, and if they cannot, it takes few dispatches.
fn finishes_in_one_dispatch(gpu: &Gpu, ranks: u32) -> Option<bool> {
    let schedule = build(Collective::Barrier, Algorithm::Dissemination, ranks, SyncStyle::Neighbor).ok()?;
    let proved = prove(schedule, proof::Options::default()).ok()?;
    let payload = proved.payload(0, DataType::F32).ok()?;
    let mut executor =
        Executor::<f32>::prepare(gpu, &proved, payload, Op::Sum, Tuning::of(gpu, Mode::Fused), Options::default())
            .ok()?;
    let inputs: Vec<&[f32]> = vec![&[]; ranks as usize];
    let mut outputs: Vec<&mut [f32]> = (0..ranks).map(|_| Default::default()).collect();
    Some(executor.run(&inputs, &mut outputs).ok()?.dispatches == 1)
}

fn probe(gpu: &Gpu, mode: Mode) -> Result<Probe, String> {
    let failed = |what: String| format!("its in-process check failed: {what}");
    let schedule = build(Collective::AllReduce, Algorithm::RingStaged, RANKS, SyncStyle::Neighbor)
        .map_err(|e| failed(e.to_string()))?;
    let proved = prove(schedule, proof::Options::default()).map_err(|e| failed(e.to_string()))?;
    let payload = proved.payload(COUNT, DataType::F32).map_err(|e| failed(e.to_string()))?;
    let options = Options { channels: Some(4), ..Options::default() };
    let launch_failed = |error: LaunchError| failed(error.to_string());
    let mut executor = Executor::<f32>::prepare(gpu, &proved, payload, Op::Sum, Tuning::of(gpu, mode), options)
        .map_err(launch_failed)?;
    let mut outputs = vec![vec![0.0_f32; COUNT]; RANKS as usize];
    let mut dispatches = 0;
    for seed in 0..LAUNCHES {
        let inputs: Vec<Vec<f32>> = (0..RANKS).map(|rank| generate(Fill::Normal, seed, rank, RANKS, COUNT)).collect();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        dispatches += executor.run(&inputs, &mut outputs).map_err(launch_failed)?.dispatches;
        let outputs: Vec<&[f32]> = outputs.iter().map(|output| &**output).collect();
        let wrong = compare(&proved, &payload, Op::Sum, &inputs, &outputs).wrong;
        if wrong > 0 {
            return Err(failed(format!("{wrong} of {} elements were wrong", COUNT * RANKS as usize)));
        }
    }
    Ok(Probe { in_one_dispatch: u64::from(dispatches) == LAUNCHES })
}
