//! When a worker's instructions ran: noted by the worker in memory of its own, put together after the launch.
//!
//! A launch that is not traced is another instance of the same code, in which none of this exists.

use std::time::Instant;

use rustc_hash::FxHashMap;

use super::program::Program;
use crate::trace::Span;

/// Sees a worker's tasks come and go.
pub(super) trait Watch {
    /// The lanes of a channel may begin.
    fn channel(&mut self, _channel: u32) {}
    /// The waits of an instruction are over.
    fn ready(&mut self) {}
    /// The result of a lane's step is in memory; its notifies have not been sent.
    fn done(&mut self, _channel: u32, _lane: u32, _step: u32) {}
}

/// Nobody looks.
impl Watch for () {}

/// A worker's notes of one launch.
pub(super) struct Recorder {
    /// When the launch began.
    began: Instant,
    ready: u64,
    /// What each channel's lanes began with.
    channels: Vec<(u32, u64)>,
    done: Vec<Done>,
}

/// An instruction that was executed.
struct Done {
    channel: u32,
    lane: u32,
    step: u32,
    ready: u64,
    end: u64,
}

impl Recorder {
    /// With room for so many channels and instructions; none where there is no memory for them.
    pub(super) fn new(channels: usize, instructions: usize) -> Option<Self> {
        let mut recorder = Self { began: Instant::now(), ready: 0, channels: Vec::new(), done: Vec::new() };
        recorder.channels.try_reserve_exact(channels).ok()?;
        recorder.done.try_reserve_exact(instructions).ok()?;
        Some(recorder)
    }

    /// Bytes for an instruction.
    pub(super) const BYTES: usize = size_of::<Done>();

    /// Forgets, and counts from `began`.
    pub(super) fn begin(&mut self, began: Instant) {
        self.began = began;
        self.channels.clear();
        self.done.clear();
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// What worker `worker` did, in the order in which it did it.
    pub(super) fn spans(&self, worker: u32, program: &Program) -> Vec<Span> {
        // Where each lane of a channel stands: a worker has whole lanes of channels, which come one after the other or a few
        // at a time.
        let mut reached = FxHashMap::<(u32, u32), u64>::default();
        let begun: FxHashMap<u32, u64> = self.channels.iter().copied().collect();
        let of = |done: &Done| {
            let first = begun.get(&done.channel).copied().unwrap_or(0);
            let begin = reached.insert((done.channel, done.lane), done.end).unwrap_or(first);
            Span::new(done.lane, done.step - program.lane(done.lane).start)
                .channel(done.channel)
                .worker(worker)
                .at(begin, done.ready, done.end)
        };
        self.done.iter().map(of).collect()
    }
}

impl Watch for Recorder {
    fn channel(&mut self, channel: u32) {
        self.channels.push((channel, self.now()));
    }

    fn ready(&mut self) {
        self.ready = self.now();
    }

    fn done(&mut self, channel: u32, lane: u32, step: u32) {
        self.done.push(Done { channel, lane, step, ready: self.ready, end: self.now() });
    }
}
