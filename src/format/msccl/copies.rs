//! `<copy>`, which generators of SCCL and TACCL wrote: inputs that are in their place in the output before the first step.
//!
//! Later generators write `cpy` steps instead, and no runtime that is known reads the old form. So it is passed over, unless
//! somebody asks for what it means.

use super::file::{Algo, Block, Copied, Gpu, Kind, Memory, Place, Step};
use super::problems::parts;
use crate::collective::Collective;

impl Algo {
    /// Number of [`Copied`].
    pub fn copies(&self) -> usize {
        self.gpus.iter().map(|gpu| gpu.copies.len()).sum()
    }

    /// Whether what is to be copied lies there already: a file for calls in place, whose input is that part of the output.
    pub fn copies_are_in_place(&self, collective: Collective) -> bool {
        let part = self.chunks_per_loop / parts(collective, self.ranks);
        self.in_place
            && self.gpus.iter().all(|gpu| {
                let first = match collective {
                    Collective::AllGather | Collective::Gather => Some(gpu.id.saturating_mul(part)),
                    Collective::ReduceScatter | Collective::Scatter => None,
                    _ => Some(0),
                };
                let stays = |copy: &Copied| first.is_some_and(|first| copy.output == first.saturating_add(copy.input));
                gpu.copies.iter().all(stays)
            })
    }

    /// The same with its copies as `cpy` steps: a thread block of each gpu that has some, for which all others wait.
    #[must_use]
    pub fn copies_first(mut self) -> Self {
        for gpu in &mut self.gpus {
            if !gpu.copies.is_empty() {
                copy_first(gpu);
            }
        }
        self
    }
}

/// The chunk after `count` chunks from `place` on.
fn behind(place: Place, count: u32) -> Option<u32> {
    place.chunk?.checked_add(count)
}

fn copy_first(gpu: &mut Gpu) {
    let copies = std::mem::take(&mut gpu.copies);
    let id = gpu.blocks.len() as u32;
    let mut steps: Vec<Step> = Vec::new();
    for &Copied { input, output, line } in &copies {
        let place = |memory, chunk| Place { memory, chunk: Some(chunk) };
        match steps.last_mut() {
            Some(last)
                if behind(last.source, last.count) == Some(input)
                    && behind(last.destination, last.count) == Some(output) =>
            {
                last.count += 1;
            }
            _ => steps.push(Step {
                number: steps.len() as u32,
                kind: Kind::Copy,
                source: place(Memory::Input, input),
                destination: place(Memory::Output, output),
                count: 1,
                after: None,
                published: false,
                line,
            }),
        }
    }
    let after = steps.last_mut().map(|last| {
        last.published = true;
        (id, last.number)
    });
    // One step has one dependence: where the first has one already, a nop takes the other, and all numbers move on by one.
    let has_own = |block: &Block| block.steps.first().is_some_and(|first| first.after.is_some());
    let moved: Vec<bool> = gpu.blocks.iter().map(has_own).collect();
    for (block, &moved) in gpu.blocks.iter_mut().zip(&moved) {
        match block.steps.first_mut() {
            Some(first) if moved => {
                let nothing = Place { memory: Memory::Input, chunk: None };
                let nop = Step {
                    number: 0,
                    kind: Kind::Nop,
                    source: nothing,
                    destination: nothing,
                    count: 0,
                    after,
                    published: false,
                    line: first.line,
                };
                block.steps.insert(0, nop);
                block.steps.iter_mut().skip(1).for_each(|step| step.number = step.number.saturating_add(1));
            }
            Some(first) => first.after = after,
            None => {}
        }
    }
    for (other, step) in gpu.blocks.iter_mut().flat_map(|block| &mut block.steps).filter_map(|step| step.after.as_mut())
    {
        if moved.get(*other as usize) == Some(&true) {
            *step = step.saturating_add(1);
        }
    }
    let line = copies.first().map_or(0, |copy| copy.line);
    let channel = gpu.blocks.first().map_or(0, |block| block.channel);
    gpu.blocks.push(Block { id, send: None, recv: None, channel, steps, line });
}
