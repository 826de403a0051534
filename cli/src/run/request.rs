//! What a run is asked for.
//!
//! Apart from what a run does, because reading its inputs needs it, too.

use std::time::Duration;

use wgccl::collective::Op;
use wgccl::element::DataType;
use wgccl::fault::Fault;
use wgccl::low_level::inputs::Fill;

use crate::dispatch::Dispatch;
use crate::plan::Plan;
use crate::tensor::Tensors;

/// What to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// By which schedule.
    pub plan: Plan,
    /// Element type.
    pub data_type: DataType,
    /// Reduction.
    pub op: Op,
    /// Input is output.
    pub in_place: bool,
    /// Where inputs come from.
    pub source: Source,
    /// Dispatch mode and protocol on a GPU.
    pub dispatch: Dispatch,
    /// Channels; chosen if not given.
    pub channels: Option<u32>,
    /// How long to wait for a submission on a GPU.
    pub timeout: Option<Duration>,
    /// A defect to put in.
    pub fault: Option<Fault>,
    /// Note when each instruction runs.
    pub trace: bool,
}

/// Where inputs come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Generated.
    Generated {
        /// Which kind.
        fill: Fill,
        /// Of what seed.
        seed: u64,
        /// For how many ranks.
        ranks: u32,
        /// Elements of a part.
        count: usize,
    },
    /// Read from files.
    Files {
        /// One per rank, or one for all. Where only the root gives something: its input, in one file.
        tensors: Tensors,
        /// For how many ranks, where files do not say so because only the root's is there.
        ranks: Option<u32>,
    },
}
