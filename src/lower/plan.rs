//! In which dispatch every instruction runs: the schedule simulated once on the host.
//!
//! Outside fused mode a wait is met by an *earlier* dispatch, so that visibility comes from the barrier between two
//! dispatches and never from a signal seen early. Pure: it knows dispatches and lanes, but no device.

#[cfg(any(test, all(feature = "gpu", not(target_arch = "wasm32"))))]
use std::ops::Range;

use serde::Serialize;

use super::mode::Mode;
use crate::proof::Proved;
use crate::schedule::{Graph, Instruction, Schedule, Sources};

/// The dispatches of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The mode that it carries out.
    pub mode: Mode,
    /// Schedule lanes in device order: those of a rank are adjacent.
    pub lanes: Vec<u32>,
    /// The dispatch of every instruction, by schedule lane.
    pub numbers: Vec<Vec<u32>>,
    /// In order of execution.
    pub dispatches: Vec<Dispatch>,
    /// Of one device's part, for each of its epochs: the number at which the next begins.
    pub(crate) ends: Vec<u32>,
}

/// One dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Dispatch {
    /// Instructions up to this number run.
    pub number: u32,
    /// First lane in device order.
    pub first_lane: u32,
    /// Lanes that take part.
    pub lanes: u32,
}

/// One instruction alone is more than a dispatch may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one instruction needs {turns} loop turns of an invocation, of {limit} in a dispatch")]
#[non_exhaustive]
pub struct TooLong {
    /// Turns of the longest instruction.
    pub turns: u64,
    /// The limit.
    pub limit: u64,
}

impl Plan {
    /// Plans `proved` so that no invocation makes more than `limit` loop turns in a dispatch; `turns` says what an
    /// instruction costs. Fused dispatches keep to the limit by themselves.
    ///
    /// # Errors
    /// [`TooLong`] where a single instruction is over the limit.
    pub fn new(proved: &Proved, mode: Mode, turns: impl Fn(&Instruction) -> u64, limit: u64) -> Result<Self, TooLong> {
        let schedule = proved.schedule();
        let graph = proved.graph();
        let turns = |id: u32| turns(graph.instruction(schedule, id));
        let most = (0..graph.instructions()).map(turns).max().unwrap_or(0);
        if most > limit {
            return Err(TooLong { turns: most, limit });
        }
        let lanes = device_order(schedule);

        let planner = Planner { proved, graph, turns: &turns, limit };
        let ((numbers, ends), dispatches) = match mode {
            Mode::PerRank => {
                let rank_of: Vec<u32> = schedule.lanes.iter().map(|lane| lane.rank).collect();
                let (sweep, numbers) =
                    (schedule.ranks, planner.numbers(|lane| (rank_of[lane as usize], schedule.ranks)));
                let dispatches = in_use(&numbers.0).into_iter().map(|number| {
                    let rank = number % sweep;
                    let first = lanes.partition_point(|&lane| rank_of[lane as usize] < rank) as u32;
                    let end = lanes.partition_point(|&lane| rank_of[lane as usize] <= rank) as u32;
                    Dispatch { number, first_lane: first, lanes: end - first }
                });
                let dispatches = dispatches.collect();
                (numbers, dispatches)
            }
            Mode::PerStep | Mode::Fused => {
                let numbers = planner.numbers(|_| (0, 1));
                let all = |number| Dispatch { number, first_lane: 0, lanes: graph.lanes() };
                let dispatches = in_use(&numbers.0).into_iter().map(all).collect();
                (numbers, dispatches)
            }
        };
        let mut plan = Self { mode, lanes, numbers: per_lane(graph, numbers), dispatches, ends };
        if mode == Mode::Fused {
            // Each dispatch brings every lane that is furthest behind one step on, whatever the device schedules.
            let last = Dispatch { number: u32::MAX, first_lane: 0, lanes: graph.lanes() };
            plan.dispatches.fill(last);
            plan.numbers.iter_mut().for_each(|numbers| numbers.fill(0));
        }
        Ok(plan)
    }
}

impl Plan {
    /// The dispatches of one of a part's epochs, stepwise.
    #[cfg(any(test, all(feature = "gpu", not(target_arch = "wasm32"))))]
    pub(crate) fn epoch(&self, epoch: u32) -> Range<usize> {
        let before = |number: u32| self.dispatches.partition_point(|dispatch| dispatch.number < number);
        let first = epoch.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        before(first)..before(self.ends[epoch as usize])
    }

    /// The same with no more than `most` lanes in a dispatch: what one did, several do, one after the other. No lane of a
    /// dispatch waits for another of the same, and in fused mode each round of them still visits every lane.
    #[must_use]
    pub(crate) fn of_at_most(mut self, most: u32) -> Self {
        if self.dispatches.iter().any(|dispatch| dispatch.lanes > most) {
            let parts = |dispatch: &Dispatch| {
                let Dispatch { number, first_lane, lanes } = *dispatch;
                let starts = (first_lane..first_lane + lanes).step_by(most.max(1) as usize);
                let end = first_lane + lanes;
                starts.map(move |start| Dispatch { number, first_lane: start, lanes: most.min(end - start) })
            };
            self.dispatches = self.dispatches.iter().flat_map(parts).collect();
        }
        self
    }
}

struct Planner<'a> {
    proved: &'a Proved,
    graph: &'a Graph,
    turns: &'a dyn Fn(u32) -> u64,
    limit: u64,
}

impl Planner<'_> {
    /// The smallest number of every instruction that is greater than those of all instructions whose notifies it
    /// awaits and of all earlier epochs, not less than its predecessor's, and congruent to what `residue` says for its lane.
    /// And where each epoch ends.
    fn numbers(&self, residue: impl Fn(u32) -> (u32, u32)) -> (Vec<u32>, Vec<u32>) {
        let mut numbers = vec![0_u32; self.graph.instructions() as usize];
        let mut reached = vec![Reached::default(); self.graph.lanes() as usize];
        let (mut ends, mut next) = (Vec::new(), 0);
        // Along edges epochs do not fall, so that this is an order of execution, too.
        let mut order = self.proved.order().to_vec();
        if self.proved.is_part() {
            order.sort_by_key(|&id| self.proved.epoch(id));
        }
        for id in order {
            let lane = self.graph.lane_of(id);
            while (ends.len() as u32) < self.proved.epoch(id) {
                ends.push(next);
            }
            let mut earliest = ends.last().copied().unwrap_or(0);
            for &wait in self.graph.waits_of(id) {
                if let Sources::Known(sources) = self.graph.sources(wait) {
                    let latest = sources.iter().map(|&source| numbers[source as usize] + 1).max();
                    earliest = earliest.max(latest.unwrap_or(0));
                }
            }
            let (residue, modulus) = residue(lane);
            let congruent = |number: u32| number + (modulus + residue - number % modulus) % modulus;
            let turns = (self.turns)(id);
            numbers[id as usize] = reached[lane as usize].step(earliest, turns, self.limit, congruent);
            next = next.max(numbers[id as usize] + 1);
        }
        ends.resize(self.proved.epochs() as usize, next);
        (numbers, ends)
    }
}

/// Lanes of a schedule in device order: those of a rank are adjacent.
pub(crate) fn device_order(schedule: &Schedule) -> Vec<u32> {
    let mut lanes: Vec<u32> = (0..schedule.lanes.len() as u32).collect();
    lanes.sort_by_key(|&lane| schedule.lanes[lane as usize].rank);
    lanes
}

/// The dispatch that a lane's plan has reached, and the loop turns that it takes there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reached {
    pub(crate) number: u32,
    turns: u64,
}

impl Reached {
    /// The dispatch of the lane's next instruction, which takes `turns` turns: not before `earliest`, and one that `allowed`
    /// makes of it.
    pub(crate) fn step(&mut self, earliest: u32, turns: u64, limit: u64, allowed: impl Fn(u32) -> u32) -> u32 {
        let mut number = self.number.max(earliest);
        if number == self.number && self.turns + turns > limit {
            number += 1;
        }
        let number = allowed(number);
        self.turns = if number == self.number { self.turns + turns } else { turns };
        self.number = number;
        number
    }
}

fn in_use(numbers: &[u32]) -> Vec<u32> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn per_lane(graph: &Graph, numbers: Vec<u32>) -> Vec<Vec<u32>> {
    (0..graph.lanes())
        .map(|lane| {
            let ids = graph.lane(lane);
            numbers[ids.start as usize..ids.end as usize].to_vec()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::lower::Split;
    use crate::proof::{Options, prove};
    use crate::schedule::{Algorithm, Placement, SyncStyle, build};

    const NO_LIMIT: u64 = u64::MAX;

    fn plan(algorithm: Algorithm, sync: SyncStyle, ranks: u32, mode: Mode, limit: u64) -> (Proved, Plan) {
        let schedule = build(Collective::AllReduce, algorithm, ranks, sync).unwrap();
        let proved = prove(schedule, Options::default()).unwrap();
        let plan = Plan::new(&proved, mode, |_| 10, limit).unwrap();
        (proved, plan)
    }

    #[test]
    fn dispatches_of_the_ring() {
        for (algorithm, ranks, per_step) in [
            (Algorithm::Ring, 1, 1),
            (Algorithm::Ring, 2, 2),
            (Algorithm::Ring, 4, 6),
            (Algorithm::Ring, 8, 14),
            (Algorithm::RingStaged, 4, 7),
            (Algorithm::RingExchange, 4, 12),
            (Algorithm::Direct, 8, 1),
        ] {
            for mode in [Mode::PerStep, Mode::Fused] {
                let (_, plan) = plan(algorithm, SyncStyle::Neighbor, ranks, mode, NO_LIMIT);
                assert_eq!(plan.dispatches.len(), per_step, "{algorithm} {ranks} {mode}");
            }
            let (_, per_rank) = plan(algorithm, SyncStyle::Neighbor, ranks, Mode::PerRank, NO_LIMIT);
            println!("{algorithm} {ranks} ranks: {} per-rank dispatches", per_rank.dispatches.len());
            if algorithm == Algorithm::Ring {
                assert!(per_rank.dispatches.len() <= 3 * ranks as usize);
            }
        }
    }

    /// The promise that makes stepping sound: what a lane awaits was notified by an earlier dispatch.
    #[test]
    fn every_wait_is_met_by_an_earlier_dispatch() {
        for algorithm in Algorithm::of(Collective::AllReduce) {
            for &sync in SyncStyle::ALL {
                let built = |&ranks: &u32| build(Collective::AllReduce, algorithm, ranks, sync).is_ok();
                for ranks in [1, 2, 3, 4, 7, 16].into_iter().filter(built) {
                    for (mode, limit) in
                        [(Mode::PerStep, NO_LIMIT), (Mode::PerRank, NO_LIMIT), (Mode::PerStep, 10), (Mode::PerRank, 15)]
                    {
                        let (proved, plan) = plan(algorithm, sync, ranks, mode, limit);
                        let graph = Graph::new(proved.schedule());
                        let number = |id: u32| plan.numbers[graph.lane_of(id) as usize][graph.index(id) as usize];
                        for id in 0..graph.instructions() {
                            for &wait in graph.waits_of(id) {
                                let Sources::Known(sources) = graph.sources(wait) else { unreachable!() };
                                assert!(sources.iter().all(|&source| number(source) < number(id)));
                            }
                            let in_dispatch = plan.dispatches.iter().any(|d| {
                                let lanes = &plan.lanes[d.first_lane as usize..(d.first_lane + d.lanes) as usize];
                                d.number == number(id) && lanes.contains(&graph.lane_of(id))
                            });
                            assert!(in_dispatch, "instruction {id} is in no dispatch");
                        }
                        for numbers in &plan.numbers {
                            assert!(numbers.is_sorted());
                            assert!(numbers.chunk_by(|a, b| a == b).all(|run| run.len() as u64 * 10 <= limit.max(10)));
                        }
                    }
                }
            }
        }
    }

    /// Between two epochs bytes move, so that no dispatch belongs to two.
    #[test]
    fn epochs_are_dispatches_of_their_own() {
        for (algorithm, mode) in [
            (Algorithm::Ring, Mode::PerStep),
            (Algorithm::Ring, Mode::PerRank),
            (Algorithm::Direct, Mode::PerStep),
            (Algorithm::Hierarchical, Mode::PerStep),
        ] {
            let schedule = build(Collective::AllReduce, algorithm, 8, SyncStyle::Neighbor).unwrap();
            let proved = prove(schedule, Options::default()).unwrap();
            for part in Split::new(&proved, &Placement::even(8, 2)).unwrap().parts() {
                let part = part.proved();
                let plan = Plan::new(part, mode, |_| 10, NO_LIMIT).unwrap();
                let all: Vec<usize> = (0..part.epochs()).flat_map(|epoch| plan.epoch(epoch)).collect();
                assert!(all.into_iter().eq(0..plan.dispatches.len()), "{algorithm} {mode}");
                let graph = part.graph();
                for id in 0..graph.instructions() {
                    let number = plan.numbers[graph.lane_of(id) as usize][graph.index(id) as usize];
                    let of_epoch = &plan.dispatches[plan.epoch(part.epoch(id))];
                    assert!(of_epoch.iter().any(|dispatch| dispatch.number == number), "{algorithm} {mode} {id}");
                }
            }
        }
    }

    #[test]
    fn dispatches_of_few_lanes_take_all_of_them_in_order() {
        for mode in [Mode::PerStep, Mode::PerRank, Mode::Fused] {
            let (_, whole) = plan(Algorithm::Ring, SyncStyle::Neighbor, 7, mode, NO_LIMIT);
            assert_eq!(whole.clone().of_at_most(7), whole);
            let parts = whole.clone().of_at_most(3);
            let mut expected = Vec::new();
            for Dispatch { number, first_lane, lanes } in whole.dispatches {
                let lanes_of = (first_lane..first_lane + lanes).collect::<Vec<_>>();
                expected.extend(lanes_of.chunks(3).map(|lanes| (number, lanes.to_vec())));
            }
            let lanes = |d: &Dispatch| (d.number, (d.first_lane..d.first_lane + d.lanes).collect::<Vec<_>>());
            assert_eq!(parts.dispatches.iter().map(lanes).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_instruction_over_the_limit_is_refused() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, Options::default()).unwrap();
        assert_eq!(Plan::new(&proved, Mode::PerStep, |_| 11, 10), Err(TooLong { turns: 11, limit: 10 }));
    }
}
