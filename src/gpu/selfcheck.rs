//! Short checks, once for an open device, before fused dispatch is used: does what theory promises happen here?
//!
//! They run the very kernel that will be used, with waits between workgroups, and compare bits.

use std::sync::{Arc, OnceLock};

use super::adapter::MAX_RANKS;
use super::context::Context;
use super::executor::Executor;
use crate::backend::{Ran, Ready};
use crate::collective::{Collective, Op};
use crate::element::DataType;
use crate::error::{DeviceError, RunError};
use crate::golden::compare;
use crate::inputs::{Fill, generate};
use crate::lower::mode::{Mode, Protocol};
use crate::lower::{LowerError, Request, lower};
use crate::proof::{self, Refused, prove};
use crate::schedule::{Algorithm, BuildError, SyncStyle, build};

/// Numbers of workgroups of which it is tried whether they run together. More than the last never have to: lanes share them.
const LADDER: [u32; 5] = [16, 32, 64, 128, MAX_RANKS];

/// What a check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelfCheck {
    /// Every launch finished in its first dispatch: all workgroups ran at the same time.
    pub in_one_dispatch: bool,
}

/// Why fused dispatch is not to be trusted here.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SelfCheckError {
    /// Bits that are not the golden's.
    #[error("{wrong} of {elements} elements were wrong")]
    Wrong {
        /// Elements that were wrong.
        wrong: u64,
        /// Elements that were compared.
        elements: u64,
    },
    /// A launch that did not succeed.
    #[error(transparent)]
    Run(Arc<RunError>),
    /// The device failed before.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no such launch for this device.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// There is no such schedule.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The schedule is not safe to run.
    #[error(transparent)]
    Refused(Arc<Refused>),
}

impl From<RunError> for SelfCheckError {
    fn from(error: RunError) -> Self {
        Self::Run(Arc::new(error))
    }
}

impl From<Box<Refused>> for SelfCheckError {
    fn from(refused: Box<Refused>) -> Self {
        Self::Refused(Arc::from(refused))
    }
}

/// The checks of one device, each made on first use.
#[derive(Default)]
pub(super) struct SelfChecks {
    fused: [OnceLock<Result<SelfCheck, SelfCheckError>>; Protocol::ALL.len()],
    /// For each step of the ladder: whether that number of workgroups runs together.
    together: [OnceLock<bool>; LADDER.len()],
}

impl SelfChecks {
    pub(super) fn fused(&self, context: &Arc<Context>, protocol: Protocol) -> Result<SelfCheck, SelfCheckError> {
        self.fused[protocol as usize].get_or_init(|| check(context, protocol)).clone()
    }

    pub(super) fn runs_together(&self, context: &Arc<Context>, workgroups: u32) -> bool {
        let step = LADDER.iter().zip(&self.together).find(|&(&most, _)| workgroups <= most);
        step.is_some_and(|(&most, tried)| {
            *tried.get_or_init(|| finishes_in_one_dispatch(context, most).unwrap_or(false))
        })
    }
}

const RANKS: u32 = 8;
const COUNT: usize = 8 * 1024;
const LAUNCHES: u64 = 4;

/// Launches of a ring that has to wait for every neighbour.
fn check(context: &Arc<Context>, protocol: Protocol) -> Result<SelfCheck, SelfCheckError> {
    let schedule = build(Collective::AllReduce, Algorithm::RingStaged, RANKS, SyncStyle::Neighbor)?;
    let proved = prove(schedule, proof::Options::default())?;
    let request = Request::new(COUNT, DataType::F32, Op::Sum).dispatch(Mode::Fused, protocol).channels(4);
    let package = lower(&proved, &request, &context.device.info().target)?;
    let payload = package.payload;
    let mut executor = Executor::new(context, package, None)?;
    let mut outputs = vec![vec![0.0_f32; COUNT]; RANKS as usize];
    let mut dispatches = 0;
    for seed in 0..LAUNCHES {
        let inputs: Vec<Vec<f32>> = (0..RANKS).map(|rank| generate(Fill::Normal, seed, rank, RANKS, COUNT)).collect();
        dispatches += run(&mut executor, &inputs, &mut outputs)?.dispatches;
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let outputs: Vec<&[f32]> = outputs.iter().map(|output| &**output).collect();
        let elements = COUNT as u64 * u64::from(RANKS);
        // These are data of this launch, so that it can only be compared.
        let wrong =
            compare(&proved, &payload, Op::Sum, &inputs, &outputs).map_or(elements, |comparison| comparison.wrong);
        if wrong > 0 {
            return Err(SelfCheckError::Wrong { wrong, elements });
        }
    }
    Ok(SelfCheck { in_one_dispatch: u64::from(dispatches) == LAUNCHES })
}

/// A barrier: nobody leaves before all have come, and if they cannot, it takes few dispatches.
fn finishes_in_one_dispatch(context: &Arc<Context>, ranks: u32) -> Result<bool, SelfCheckError> {
    let schedule = build(Collective::Barrier, Algorithm::Dissemination, ranks, SyncStyle::Neighbor)?;
    let proved = prove(schedule, proof::Options::default())?;
    let request = Request::new(0, DataType::F32, Op::Sum).dispatch(Mode::Fused, Protocol::default());
    let mut executor = Executor::new(context, lower(&proved, &request, &context.device.info().target)?, None)?;
    let nothing = vec![Vec::new(); ranks as usize];
    Ok(run(&mut executor, &nothing, &mut nothing.clone())?.dispatches == 1)
}

fn run(executor: &mut Executor, inputs: &[Vec<f32>], outputs: &mut [Vec<f32>]) -> Result<Ran, RunError> {
    let inputs: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    let mut outputs: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
    executor.run(&inputs, &mut outputs)
}
