//! What another program computed, held against the golden of a schedule: equal in every bit, or where and by how much not.
//!
//! Files are read piece by piece, so they may be larger than memory.

mod pieces;

use serde::Serialize;
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::{DataType, Element, supported};
use wgccl::error::UserBuffer;
use wgccl::golden::Tolerance;
pub use wgccl::golden::{Difference, Differences, OfRank};
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Algorithm, Recipe, SyncStyle};

use crate::error::Error;
use crate::run::{Accuracy, part_of, ranks_of};
use crate::tensor::{Rows, Tensors};
use pieces::Files;
pub use pieces::Watch;

/// Which order of additions is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// That of one algorithm.
    Of(Algorithm),
    /// That of any, which is looked for.
    Any,
}

/// What is to be verified.
#[derive(Debug, Clone)]
pub struct Request {
    /// What was computed.
    pub task: Task,
    /// In which order.
    pub expected: Expected,
    /// Reduction.
    pub op: Op,
    /// Of which, where they do not say so.
    pub ranks: Option<u32>,
    /// What went in.
    pub inputs: Tensors,
    /// What came out.
    pub outputs: Tensors,
    /// How far apart they may be; nothing for not at all.
    pub tolerance: Option<Tolerance>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was computed.
    pub collective: Collective,
    /// Reduction, where there is one.
    pub op: Option<Op>,
    /// Element type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Participants.
    pub ranks: u32,
    /// Elements of a part.
    pub count: usize,
    /// Elements of all outputs that were compared.
    pub elements: u64,
    /// Those whose order of additions was tried.
    pub tried: Vec<Algorithm>,
    /// Those whose order gives these very bits.
    pub equal: Vec<Algorithm>,
    /// Whose order the differences are from.
    pub against: Algorithm,
    /// What differs.
    #[serde(flatten)]
    pub differences: Differences,
    /// How near reductions are to exact ones, where something differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// Equal in every bit, or within the tolerance that was asked for.
    pub ok: bool,
}

/// Verifies `request`.
///
/// # Errors
/// [`Error`]; that something differs is none here, see [`Report::ok`].
pub fn verify<T: Element>(request: &Request, watch: &Watch) -> Result<Report, Error> {
    let Request { task, op, tolerance, .. } = request;
    let collective = task.collective;
    if collective.reduces() {
        supported(T::TYPE, *op)?;
    }
    let ranks = ranks_of(task, &request.inputs, request.ranks)?;
    let inputs: Rows<T> = request.inputs.rows(collective.only_root_gives())?;
    let count = part_of(task, &lengths_of(task, ranks, &inputs.lengths()))?;
    let (tried, candidates) = candidates(request, ranks, count)?;
    let first = candidates.first().ok_or_else(|| nothing_defined(task, ranks))?;
    let outputs = outputs_of(&request.outputs, first, count)?;
    let mut files = Files::new(first, count, inputs, outputs)?;

    let mut equal = Vec::new();
    if request.expected == Expected::Any {
        for (&algorithm, proved) in tried.iter().zip(&candidates) {
            if files.agree(proved, *op, watch)? {
                equal.push(algorithm);
            }
        }
    }
    // Of those that gave these bits the first, and of none the one that a user would expect.
    let place = equal.first().and_then(|of| tried.iter().position(|tried| tried == of)).unwrap_or(0);
    let (against, proved) = (tried[place], &candidates[place]);
    let (differences, accuracy) = files.compare(proved, *op, *tolerance, watch)?;
    let exact = differences.differing == 0;
    if request.expected != Expected::Any && exact {
        equal.push(against);
    }
    let close = tolerance.is_some() && differences.beyond == 0;
    Ok(Report {
        collective,
        op: collective.reduces().then_some(*op),
        data_type: T::TYPE,
        ranks,
        count,
        elements: proved.extents(count).total(UserBuffer::Output) as u64,
        tried,
        equal,
        against,
        accuracy: (collective.reduces() && !exact).then(|| Accuracy::new(&accuracy, T::TYPE)),
        differences,
        ok: exact || close,
    })
}

/// Lengths of all ranks' inputs, where the files may be the root's alone.
fn lengths_of(task: &Task, ranks: u32, given: &[usize]) -> Vec<usize> {
    if !task.collective.only_root_gives() {
        return given.to_vec();
    }
    let length = given.first().copied().unwrap_or(0);
    (0..ranks).map(|rank| if rank == task.root { length } else { 0 }).collect()
}

/// A row for each rank that has an output, or where one may stand for all, a single file as one: outputs have axes, too.
fn outputs_of<T: Element>(files: &Tensors, proved: &Proved, count: usize) -> Result<Rows<T>, Error> {
    let (schedule, extents) = (proved.schedule(), proved.extents(count));
    let lengths = (0..schedule.ranks).map(|rank| extents.len(UserBuffer::Output, rank));
    let wanted: Vec<usize> = lengths.filter(|&length| length > 0).collect();
    let alone = files.len() == 1 && (wanted.len() == 1 || schedule.task.collective.gives_all_the_same());
    let rows = files.rows(false);
    let fits = rows.as_ref().is_ok_and(|rows| rows.lengths() == wanted);
    Ok(if alone && !fits { files.rows(true)? } else { rows? })
}

fn nothing_defined(task: &Task, ranks: u32) -> Error {
    Error::Usage(format!("no algorithm carries out {} over {ranks} ranks", task.collective))
}

/// The schedules whose orders are tried: of algorithms that are defined for these ranks, and that prove right.
fn candidates(request: &Request, ranks: u32, count: usize) -> Result<(Vec<Algorithm>, Vec<Proved>), Error> {
    let build = |algorithm| -> Result<Proved, Error> {
        let recipe = Recipe::new(request.task.clone(), ranks).algorithm(algorithm).sync(SyncStyle::Neighbor);
        let proved = prove(recipe.build()?, proof::Options::default())?;
        proved.payload(count, DataType::U8)?;
        Ok(proved)
    };
    match request.expected {
        Expected::Of(algorithm) => Ok((vec![algorithm], vec![build(algorithm)?])),
        Expected::Any => {
            let all = Algorithm::of(request.task.collective);
            let defined: Vec<_> =
                all.iter().filter_map(|&algorithm| Some((algorithm, build(algorithm).ok()?))).collect();
            match (defined.is_empty(), all.first()) {
                // What is wrong with the first is wrong with all.
                (true, Some(&algorithm)) => Ok((vec![algorithm], vec![build(algorithm)?])),
                _ => Ok(defined.into_iter().unzip()),
            }
        }
    }
}
