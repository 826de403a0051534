//! Which chunks have been written so far, while a file is followed step by step.

use super::file::{Algo, Gpu, Memory};
use super::problems::chunks;
use crate::collective::Collective;
use crate::schedule::Buffer;

/// A chunk of a gpu's memory.
pub(super) type At = (u32, Buffer, u32);

/// By gpu, buffer and chunk.
#[derive(Default)]
pub(super) struct Written(Vec<[Vec<bool>; 3]>);

impl Written {
    pub(super) fn new(algo: &Algo, collective: Collective) -> Self {
        let none = |gpu: &Gpu| {
            [Memory::Input, Memory::Output, Memory::Scratch]
                .map(|memory| vec![false; chunks(algo, gpu, collective, memory) as usize])
        };
        Self(algo.gpus.iter().map(none).collect())
    }

    pub(super) fn note(&mut self, (gpu, buffer, chunk): At) {
        let of_gpu = self.0.get_mut(gpu as usize);
        if let Some(written) = of_gpu.and_then(|buffers| buffers[buffer as usize].get_mut(chunk as usize)) {
            *written = true;
        }
    }

    pub(super) fn has(&self, (gpu, buffer, chunk): At) -> bool {
        let of_gpu = self.0.get(gpu as usize);
        of_gpu.and_then(|buffers| buffers[buffer as usize].get(chunk as usize)).copied().unwrap_or(false)
    }
}
