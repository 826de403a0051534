//! What progress words say: whether a launch finished, and if not, who waits for whom.
//!
//! A result is a result only when every lane's word says so: watchdogs, loop limits and starved workgroups all show there,
//! and nothing else would show them.

use super::code::Trace;
use super::package::Package;
use super::words::Progress;
use crate::hang::Hang;
use crate::window::SIGNAL_BYTES;

impl Package {
    /// Whether every lane went through launch `number`, all of them in the same launch of the device's count. A word that an
    /// earlier launch has left, or none, is that of a lane which has not begun.
    pub fn finished(&self, now: &[Progress], number: u32) -> bool {
        self.state(now, number).all(|(done, instructions)| done == instructions)
    }

    /// Whether any lane has begun launch `number`.
    pub fn begun(&self, now: &[Progress], number: u32) -> bool {
        now.is_empty() || now.iter().any(|lane| lane.number == number)
    }

    /// Of every (channel, lane): instructions that it is through with in the launch, and all that it has.
    fn state(&self, now: &[Progress], number: u32) -> impl Iterator<Item = (u32, u32)> {
        let launches = now.iter().find(|lane| lane.number == number).map(|lane| lane.launches);
        now.iter().zip(self.lanes.iter().cycle()).map(move |(now, lane)| {
            let begun = now.number == number && Some(now.launches) == launches;
            let done = if begun { now.next.clamp(lane.start, lane.end) - lane.start } else { 0 };
            (done, lane.end - lane.start)
        })
    }

    /// Bytes of a trace: all signals, then all progress, as the memory holds them after the last launch.
    pub fn trace_bytes(&self) -> u64 {
        self.arena.signal_bytes() + self.progress_bytes()
    }

    /// All channels in which launch `number` is stuck, in the schedule's own names; `now` is its progress, and `trace` what
    /// the memory holds.
    pub fn explain(&self, number: u32, now: &[Progress], trace: &[u32]) -> Hang {
        let lanes = self.lanes.len().max(1);
        let state: Vec<(u32, u32)> = self.state(now, number).collect();
        let stuck = (0..).zip(state.chunks(lanes));
        let stuck = stuck.filter(|(_, channel)| channel.iter().any(|(done, instructions)| done != instructions));
        let stuck = stuck.map(|(channel, state)| {
            let mut next = vec![0; state.len()];
            for (&lane, (done, _)) in self.plan.lanes.iter().zip(state) {
                next[lane as usize] = self.code.instructions_done(lane, *done);
            }
            (channel, next)
        });
        let (signals, last) = trace.split_at(self.arena.signal_bytes() as usize / SIGNAL_BYTES);
        let last = bytemuck::cast_slice(&last[..self.progress_bytes() as usize / size_of::<u32>()]);
        self.code.explain(&Trace { arena: &self.arena, signals, last, fault: self.fault }, stuck.collect())
    }
}
