//! Where the inputs of a run come from: generated, or read from files.
//!
//! Files decide the number of ranks and the count, so they are read before anything else is known.

use std::path::PathBuf;

use wgccl::buffers::{Extents, UserBuffer};
use wgccl::collective::{Collective, Task};
use wgccl::element::Element;
use wgccl::inputs::{Fill, generate_parts};
use wgccl::schedule::Schedule;

use super::Request;
use crate::error::Error;
use crate::memory::{address_map, reserved};
use crate::tensor;

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
        files: Vec<PathBuf>,
        /// The tensor in a file that has several.
        tensor: Option<String>,
        /// For how many ranks, where files do not say so because only the root's is there.
        ranks: Option<u32>,
    },
}

pub(super) fn generated<T: Element>(
    request: &Request,
    schedule: &Schedule,
    count: usize,
) -> Result<Vec<Vec<T>>, Error> {
    let Source::Generated { fill, seed, .. } = request.source else { return Ok(Vec::new()) };
    let map = address_map(schedule, count)?;
    let extents = Extents::new(&map, count);
    (0..schedule.ranks)
        .map(|rank| {
            let mut input = reserved(schedule.ranks, extents.len(UserBuffer::Input, rank))?;
            generate_parts(&mut input, schedule, fill, seed, rank, count);
            Ok(input)
        })
        .collect()
}

/// One vector for each rank, empty where the collective gives it no input.
pub(super) fn load<T: Element>(
    request: &Request,
    files: &[PathBuf],
    tensor: Option<&str>,
    ranks: Option<u32>,
) -> Result<Vec<Vec<T>>, Error> {
    let Task { collective, root, .. } = request.task;
    let usage = |text: &str| Err(Error::Usage(format!("{collective}: {text}")));
    if collective == Collective::Barrier {
        return usage("there is nothing to give in; leave --input out");
    }
    if !collective.only_root_gives() {
        if ranks.is_some() {
            return usage("--input decides the number of ranks; leave --ranks out");
        }
        return Ok(tensor::load(files, tensor)?);
    }
    let Some(ranks) = ranks else {
        return usage("--input is the root's alone and does not say how many ranks there are; give --ranks");
    };
    let [file] = files else {
        return usage("only the root has an input; give one file");
    };
    if root >= ranks {
        return usage(&format!("root {root} is not a rank; there are {ranks}"));
    }
    let mut inputs: Vec<Vec<T>> = (0..ranks).map(|_| Vec::new()).collect();
    inputs[root as usize] = tensor::load_whole(file, tensor)?;
    Ok(inputs)
}

/// Elements of a part, where `inputs` are whole inputs of equal length.
pub(super) fn part_of<T>(task: &Task, inputs: &[Vec<T>]) -> Result<usize, Error> {
    let giver = inputs.iter().position(|input| !input.is_empty()).unwrap_or(0);
    let length = inputs.get(giver).map_or(0, Vec::len);
    let parts = task.input_parts(giver as u32, inputs.len() as u32).max(1) as usize;
    if length % parts == 0 {
        return Ok(length / parts);
    }
    let collective = task.collective;
    Err(Error::Usage(format!(
        "{collective}: an input of {length} elements has no equal parts for {parts} ranks; give a multiple of {parts}"
    )))
}
