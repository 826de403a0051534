//! Runs a file without data: whether its thread blocks get through with so many messages on their way.
//!
//! Every block does one thing after another and waits for one thing at a time, so one run decides it for every timing.

use rustc_hash::FxHashMap;

use super::file::{Algo, Block, Gpu, Step};
use super::flags::Flags;
use super::problems::Connection;

/// The state of a run.
pub(super) struct Replay<'a> {
    algo: &'a Algo,
    /// By gpu.
    flags: Vec<Flags<'a>>,
    /// Messages that a connection holds.
    fifo_slots: u32,
    /// Steps that each block has done, by gpu and block.
    done: Vec<Vec<usize>>,
    /// Messages that have been sent and taken.
    messages: FxHashMap<Connection, (u32, u32)>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(algo: &'a Algo, fifo_slots: u32) -> Self {
        let done = algo.gpus.iter().map(|gpu| vec![0; gpu.blocks.len()]).collect();
        let flags = algo.gpus.iter().map(Flags::of).collect();
        Self { algo, flags, fifo_slots, done, messages: FxHashMap::default() }
    }

    /// Runs as far as it goes, shows `each` the steps in the order in which they are done, and says whether all were.
    pub(super) fn run(&mut self, mut each: impl FnMut(&'a Gpu, &'a Block, &'a Step)) -> bool {
        let algo = self.algo;
        loop {
            let (mut moved, mut left) = (false, false);
            for (g, gpu) in algo.gpus.iter().enumerate() {
                for (b, block) in gpu.blocks.iter().enumerate() {
                    while let Some(step) = block.steps.get(self.done[g][b]) {
                        if !self.ready(gpu, block, step) {
                            left = true;
                            break;
                        }
                        each(gpu, block, step);
                        self.done[g][b] += 1;
                        moved = true;
                    }
                }
            }
            if !moved || !left {
                return !left;
            }
        }
    }

    /// Steps that have not been done.
    pub(super) fn left(&self) -> impl Iterator<Item = (&'a Gpu, &'a Block, &'a Step)> {
        let algo = self.algo;
        algo.gpus.iter().zip(&self.done).flat_map(|(gpu, done)| {
            gpu.blocks
                .iter()
                .zip(done)
                .flat_map(move |(block, &done)| block.steps.iter().skip(done).map(move |step| (gpu, block, step)))
        })
    }

    /// Whether a step can go on, which then counts as done.
    fn ready(&mut self, gpu: &Gpu, block: &Block, step: &Step) -> bool {
        if let Some((other, after)) = step.after {
            let done = self.done.get(gpu.id as usize).and_then(|done| done.get(other as usize)).copied().unwrap_or(0);
            let awaited = self.flags.get(gpu.id as usize).and_then(|flags| flags.ends(other, after));
            if awaited.is_none_or(|awaited| awaited.number as usize >= done) {
                return false;
            }
        }
        let from = block.recv.filter(|_| step.kind.receives()).map(|peer| (peer, gpu.id, block.channel));
        let to = block.send.filter(|_| step.kind.sends()).map(|peer| (gpu.id, peer, block.channel));
        let count = |connection: &Connection| self.messages.get(connection).copied().unwrap_or_default();
        let full = from.is_none_or(|from| count(&from).0 > count(&from).1);
        let free = to.is_none_or(|to| count(&to).0 - count(&to).1 < self.fifo_slots);
        if !(full && free) {
            return false;
        }
        from.into_iter().for_each(|from| self.messages.entry(from).or_default().1 += 1);
        to.into_iter().for_each(|to| self.messages.entry(to).or_default().0 += 1);
        true
    }
}

impl Algo {
    /// The fewest messages on a connection with which all blocks get through; none if they never do.
    pub fn fewest_fifo_slots(&self) -> Option<u32> {
        let completes = |slots| Replay::new(self, slots).run(|_, _, _| {});
        completes(u32::MAX).then(|| (1..).find(|&slots| completes(slots))).flatten()
    }
}
