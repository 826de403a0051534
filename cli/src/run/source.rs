//! Where the inputs of a run come from: generated, or read from files.
//!
//! Headers decide the number of ranks before data is read, and data the count before a schedule is built.

use wgccl::collective::{Collective, Task};
use wgccl::element::Element;
use wgccl::error::UserBuffer;
use wgccl::low_level::buffers::Extents;
use wgccl::low_level::inputs::generate_parts;
use wgccl::schedule::Schedule;

use super::request::{Request, Source};
use crate::error::Error;
use crate::memory::{address_map, reserved};
use crate::tensor::Tensors;

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

/// How many ranks there are, as the headers of `tensors` say, or `given` where they cannot.
pub(crate) fn ranks_of(task: &Task, tensors: &Tensors, given: Option<u32>) -> Result<u32, Error> {
    let Task { collective, root, .. } = *task;
    let usage = |text: &str| Err(Error::Usage(format!("{collective}: {text}")));
    if collective == Collective::Barrier {
        return usage("there is nothing to give in; leave --input out");
    }
    match (collective.only_root_gives(), given) {
        (false, given) => match (u32::try_from(tensors.ranks()?).unwrap_or(u32::MAX), given) {
            (ranks, Some(given)) if given != ranks => usage(&match tensors.len() {
                1 => format!(
                    "--ranks says {given}, and the first axis of the input is {ranks} ranks; leave --ranks out, or say 1 to take \
                     it whole"
                ),
                files => format!("--ranks says {given}, and the {files} inputs are {ranks} ranks; leave --ranks out"),
            }),
            (ranks, _) => Ok(ranks),
        },
        (true, None) => usage("--input is the root's alone and does not say how many ranks there are; give --ranks"),
        (true, Some(_)) if tensors.len() > 1 => usage("only the root has an input; give one file"),
        (true, Some(ranks)) if root >= ranks => usage(&format!("root {root} is not a rank; there are {ranks}")),
        (true, Some(ranks)) => Ok(ranks),
    }
}

/// One vector for each of `ranks`, empty where the collective gives it no input.
pub(super) fn load<T: Element>(task: &Task, tensors: &Tensors, ranks: u32) -> Result<Vec<Vec<T>>, Error> {
    if !task.collective.only_root_gives() {
        return Ok(tensors.read()?);
    }
    let mut inputs: Vec<Vec<T>> = (0..ranks).map(|_| Vec::new()).collect();
    if let Some(input) = inputs.get_mut(task.root as usize) {
        *input = tensors.read_whole()?;
    }
    Ok(inputs)
}

/// Elements of a part, where inputs are whole, of these lengths and equal ones.
pub(crate) fn part_of(task: &Task, lengths: &[usize]) -> Result<usize, Error> {
    let giver = lengths.iter().position(|&length| length > 0).unwrap_or(0);
    let length = lengths.get(giver).copied().unwrap_or(0);
    let parts = task.input_parts(giver as u32, lengths.len() as u32).max(1) as usize;
    if length % parts == 0 {
        return Ok(length / parts);
    }
    let collective = task.collective;
    Err(Error::Usage(format!(
        "{collective}: an input of {length} elements has no equal parts for {parts} ranks; give a multiple of {parts}"
    )))
}
