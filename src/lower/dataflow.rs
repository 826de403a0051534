//! A proved schedule as results that travel with their own flag: who reads whose result, and nothing to wait for beside it.
//!
//! For the `ll` protocol, where a word holds half a word of data and the launch that wrote it. What a lane reads of another
//! lane then has arrived when it can be read, so no signal and no order of memory is needed; but only if lanes share nothing
//! else. That is computed here by numbering values, and refused where it cannot be had.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::error::Unsound;
use super::mode::Mode;
use super::plan::{Dispatch, Plan, Reached, TooLong, device_order};
use crate::collective::Collective;
use crate::proof::Proved;
use crate::schedule::{Address, AddressMap, Buffer, Sources};

/// A schedule without signals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dataflow {
    /// Moves of every lane of the schedule, in program order.
    pub(crate) lanes: Vec<Vec<Move>>,
    /// Results that other lanes read, numbered from 0.
    pub(crate) lines: u32,
    /// Lane and index of every move, so that each line is written before it is read.
    order: Vec<(u32, u32)>,
}

/// Combine chunks from left to right, store the result, show it to other lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    /// The instruction of the lane that it is, or is a part of.
    pub(crate) instruction: u32,
    pub(crate) from: SmallVec<[Operand; 2]>,
    /// What the lane itself reads again, and outputs. Nobody else touches these during the launch.
    pub(crate) to: SmallVec<[Address; 2]>,
    /// The line that it writes, if another lane reads its result.
    pub(crate) line: Option<u32>,
}

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    /// A chunk that no other lane writes during the launch.
    Memory(Address),
    /// The result of another lane's move.
    Line(u32),
}

/// Lane and index in it, in the order of drafts.
type At = (u32, u32);

/// A move before it is known who reads its result.
struct Draft {
    instruction: u32,
    from: SmallVec<[Read; 2]>,
    to: SmallVec<[Address; 2]>,
    live: SmallVec<[bool; 2]>,
    line: Option<u32>,
}

#[derive(Clone, Copy)]
enum Read {
    /// What was there before the launch.
    Initial(Address),
    /// What that move has stored there.
    Stored(Address, At),
    /// Nothing: that move has happened.
    Happened(At),
}

impl Dataflow {
    /// # Errors
    /// [`Unsound::Shared`] where two lanes store in one place what must stay there.
    pub(crate) fn new(proved: &Proved) -> Result<Self, Unsound> {
        let schedule = proved.schedule();
        let places = proved.address_map();
        let (mut drafts, order, last_writer) = drafts(proved, places);
        mark_live(&mut drafts, places, &last_writer);

        // A place belongs to the one lane that stores in it.
        let mut owner: Vec<Option<u32>> = vec![None; places.len()];
        for (lane, drafts) in (0..).zip(&drafts) {
            for (&address, _) in drafts.iter().flat_map(|d| d.to.iter().zip(&d.live)).filter(|(_, live)| **live) {
                let known = *owner[places.index(address)].get_or_insert(lane);
                if known != lane {
                    let rank = |lane: u32| schedule.lanes[lane as usize].rank;
                    return Err(Unsound::Shared { address, ranks: (rank(known), rank(lane)) });
                }
            }
        }

        let mut lines = 0;
        let mut new_line = || {
            lines += 1;
            lines - 1
        };
        // The owner of a place shows what it held before the launch to every lane that reads it, before it stores there.
        let mut shown: FxHashMap<Address, u32> = FxHashMap::default();
        let mut lanes: Vec<Vec<Move>> = vec![Vec::new(); drafts.len()];
        let mut new_order = Vec::with_capacity(order.len());
        for (lane, reads) in (0..).zip(&drafts) {
            for read in reads.iter().flat_map(|draft| &draft.from) {
                let Read::Initial(address) = *read else { continue };
                let Some(owner) = owner[places.index(address)].filter(|&owner| owner != lane) else { continue };
                shown.entry(address).or_insert_with(|| {
                    let (line, moves) = (new_line(), &mut lanes[owner as usize]);
                    new_order.push((owner, moves.len() as u32));
                    moves.push(Move {
                        instruction: 0,
                        from: SmallVec::from_slice(&[Operand::Memory(address)]),
                        to: SmallVec::new(),
                        line: Some(line),
                    });
                    line
                });
            }
        }

        for &(lane, index) in &order {
            let mut from = SmallVec::new();
            for read in drafts[lane as usize][index as usize].from.clone() {
                from.push(match read {
                    Read::Initial(address) => match shown.get(&address) {
                        Some(&line) if owner[places.index(address)] != Some(lane) => Operand::Line(line),
                        _ => Operand::Memory(address),
                    },
                    Read::Stored(address, (writer, _)) if writer == lane => Operand::Memory(address),
                    Read::Stored(_, (writer, index)) | Read::Happened((writer, index)) => {
                        let line = &mut drafts[writer as usize][index as usize].line;
                        Operand::Line(*line.get_or_insert_with(&mut new_line))
                    }
                });
            }
            let draft = &drafts[lane as usize][index as usize];
            let live = draft.to.iter().zip(&draft.live).filter(|(_, live)| **live);
            let moves = &mut lanes[lane as usize];
            new_order.push((lane, moves.len() as u32));
            moves.push(Move {
                instruction: draft.instruction,
                from,
                to: live.map(|(&address, _)| address).collect(),
                line: None,
            });
        }
        // Only now it is known which results are read.
        for (moves, drafts) in lanes.iter_mut().zip(&drafts) {
            let first = moves.len() - drafts.len();
            moves[first..].iter_mut().zip(drafts).for_each(|(m, draft)| m.line = draft.line);
        }
        Ok(Self { lanes, lines, order: new_order })
    }

    /// Plans dispatches that always suffice, as [`Plan::new`] does for fused mode: each of them brings every lane that is
    /// furthest behind on, because what that one reads was written by an earlier dispatch.
    ///
    /// # Errors
    /// [`TooLong`] where a single move is over the limit.
    pub(crate) fn plan(&self, proved: &Proved, turns: impl Fn(&Move) -> u64, limit: u64) -> Result<Plan, TooLong> {
        let (mut of_line, mut reached) = (vec![0_u32; self.lines as usize], vec![Reached::default(); self.lanes.len()]);
        for &(lane, index) in &self.order {
            let this = &self.lanes[lane as usize][index as usize];
            let turns = turns(this);
            if turns > limit {
                return Err(TooLong { turns, limit });
            }
            let awaited = this.from.iter().filter_map(|operand| match operand {
                Operand::Line(line) => Some(of_line[*line as usize] + 1),
                Operand::Memory(_) => None,
            });
            let number = reached[lane as usize].step(awaited.max().unwrap_or(0), turns, limit, |number| number);
            if let Some(line) = this.line {
                of_line[line as usize] = number;
            }
        }
        let lanes = device_order(proved.schedule());
        let dispatches = reached.iter().map(|reached| reached.number as usize + 1).max().unwrap_or(0);
        Ok(Plan {
            mode: Mode::Fused,
            dispatches: vec![Dispatch { number: u32::MAX, first_lane: 0, lanes: lanes.len() as u32 }; dispatches],
            numbers: self.lanes.iter().map(|moves| vec![0; moves.len()]).collect(),
            lanes,
            ends: Vec::new(),
        })
    }
}

/// The schedule chunk by chunk, with who stored what each move reads; the moves in the order of the proof; and who stored last
/// in every place.
fn drafts(proved: &Proved, places: &AddressMap) -> (Vec<Vec<Draft>>, Vec<At>, Vec<Option<At>>) {
    let (schedule, graph) = (proved.schedule(), proved.graph());
    let mut drafts: Vec<Vec<Draft>> = schedule.lanes.iter().map(|_| Vec::new()).collect();
    let mut order = Vec::new();
    let mut writer: Vec<Option<At>> = vec![None; places.len()];
    // The move that an instruction ends with.
    let mut last_move: FxHashMap<u32, At> = FxHashMap::default();
    for &id in proved.order() {
        let (lane, instruction) = (graph.lane_of(id), graph.instruction(schedule, id));
        let moves = &mut drafts[lane as usize];
        let index = graph.index(id);
        let mut push = |from, to: SmallVec<[Address; 2]>| {
            let at = (lane, moves.len() as u32);
            let live = SmallVec::from_elem(false, to.len());
            moves.push(Draft { instruction: index, from, to, live, line: None });
            order.push(at);
            at
        };
        if schedule.task.collective == Collective::Barrier {
            // Nothing is moved, so what counts is that it happened.
            let sources = graph.waits_of(id).iter().filter_map(|wait| match graph.sources(*wait) {
                Sources::Known(sources) => Some(sources),
                Sources::Ambiguous | Sources::Never => None,
            });
            let happened = sources.flatten().filter_map(|source| last_move.get(source)).copied();
            let at = push(happened.map(Read::Happened).collect(), SmallVec::new());
            last_move.insert(id, at);
            continue;
        }
        if instruction.from.is_empty() || instruction.to.is_empty() {
            continue;
        }
        for chunk in 0..instruction.chunks {
            let nth = |start: &Address| Address { chunk: start.chunk + chunk, ..*start };
            let reads = instruction.from.iter().map(nth).map(|address| match writer[places.index(address)] {
                None => Read::Initial(address),
                Some(at) => Read::Stored(address, at),
            });
            let at = push(reads.collect(), instruction.to.iter().map(nth).collect());
            instruction.to.iter().map(nth).for_each(|address| writer[places.index(address)] = Some(at));
        }
    }
    (drafts, order, writer)
}

/// A store is needed if its lane reads it again, or if it is what an output ends with.
fn mark_live(drafts: &mut [Vec<Draft>], places: &AddressMap, last_writer: &[Option<At>]) {
    let mut needed: Vec<(At, usize)> = Vec::new();
    for (lane, reads) in (0..).zip(drafts.iter()) {
        needed.extend(reads.iter().flat_map(|draft| &draft.from).filter_map(|read| match *read {
            Read::Stored(address, at) if at.0 == lane => Some((at, places.index(address))),
            _ => None,
        }));
    }
    let outputs = places.all(Buffer::Output);
    needed.extend(outputs.filter_map(|place| last_writer[place].map(|at| (at, place))));
    for ((lane, index), place) in needed {
        let draft = &mut drafts[lane as usize][index as usize];
        for (address, live) in draft.to.iter().zip(&mut draft.live) {
            *live |= places.index(*address) == place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Task;
    use crate::proof::{Options, prove};
    use crate::schedule::{Algorithm, BuildError, Schedule, SyncStyle, build};

    /// Every family, in place and not.
    fn all(visit: &mut dyn FnMut(&str, &Proved)) {
        for &collective in Collective::ALL {
            for (&algorithm, &sync) in Algorithm::ALL.iter().flat_map(|a| SyncStyle::ALL.iter().map(move |s| (a, s))) {
                for ranks in [1, 2, 3, 4, 5, 8] {
                    let task = Task::from(collective).root(ranks / 2);
                    let schedule = match build(task, algorithm, ranks, sync) {
                        Ok(schedule) => schedule,
                        Err(BuildError::Pair { .. } | BuildError::Sync { .. } | BuildError::PowerOfTwo { .. }) => {
                            continue;
                        }
                        Err(error) => panic!("{collective} {algorithm} {sync} {ranks}: {error}"),
                    };
                    for in_place in [false, true] {
                        if let Ok(proved) = prove(schedule.clone(), Options::default().in_place(in_place)) {
                            visit(&format!("{collective} {algorithm} {sync} {ranks} {in_place}"), &proved);
                        }
                    }
                }
            }
        }
    }

    /// Contributions of every chunk, run as the device runs it: lanes in any order, each as far as its lines have come.
    fn run(flow: &Dataflow, schedule: &Schedule, places: &AddressMap, backwards: bool) -> Vec<Vec<Address>> {
        let mut memory: Vec<Vec<Address>> = vec![Vec::new(); places.len()];
        for rank in 0..schedule.ranks {
            for chunk in 0..schedule.buffer_chunks(Buffer::Input, rank) {
                let address = Address::input(rank, chunk);
                memory[places.index(address)] = vec![address];
            }
        }
        let mut lines: Vec<Option<Vec<Address>>> = vec![None; flow.lines as usize];
        let mut next = vec![0; flow.lanes.len()];
        loop {
            let mut progress = false;
            for i in 0..flow.lanes.len() {
                let lane = if backwards { flow.lanes.len() - 1 - i } else { i };
                while let Some(this) = flow.lanes[lane].get(next[lane]) {
                    let operands: Option<Vec<Vec<Address>>> = this
                        .from
                        .iter()
                        .map(|operand| match operand {
                            Operand::Memory(address) => Some(memory[places.index(*address)].clone()),
                            Operand::Line(line) => lines[*line as usize].clone(),
                        })
                        .collect();
                    let Some(operands) = operands else { break };
                    let value = operands.concat();
                    this.to.iter().for_each(|address| memory[places.index(*address)] = value.clone());
                    if let Some(line) = this.line {
                        assert!(lines[line as usize].is_none(), "a line is written once");
                        lines[line as usize] = Some(value);
                    }
                    next[lane] += 1;
                    progress = true;
                }
            }
            if !progress {
                let all: Vec<usize> = flow.lanes.iter().map(Vec::len).collect();
                assert_eq!(next, all, "every lane ends");
                return memory;
            }
        }
    }

    /// The order of contributions is the schedule's, whatever the order in which lanes run.
    #[test]
    fn every_family_gives_the_same_results_without_signals() {
        let mut families = 0;
        all(&mut |name, proved| {
            let schedule = proved.schedule();
            let places = proved.address_map();
            let flow = Dataflow::new(proved).unwrap_or_else(|shared| panic!("{name}: {shared}"));
            let (forwards, backwards) = (run(&flow, schedule, places, false), run(&flow, schedule, places, true));
            // The schedule itself, in the order of its proof.
            let graph = proved.graph();
            let mut memory: Vec<Vec<Address>> = vec![Vec::new(); places.len()];
            for rank in 0..schedule.ranks {
                for chunk in 0..schedule.buffer_chunks(Buffer::Input, rank) {
                    memory[places.index(Address::input(rank, chunk))] = vec![Address::input(rank, chunk)];
                }
            }
            for &id in proved.order() {
                let instruction = graph.instruction(schedule, id);
                for chunk in 0..instruction.chunks {
                    let place = |start: &Address| places.index(Address { chunk: start.chunk + chunk, ..*start });
                    let value =
                        instruction.from.iter().flat_map(|from| memory[place(from)].clone()).collect::<Vec<_>>();
                    instruction.to.iter().for_each(|to| memory[place(to)] = value.clone());
                }
            }
            for place in places.all(Buffer::Output) {
                assert_eq!(forwards[place], memory[place], "{name}");
                assert_eq!(backwards[place], memory[place], "{name}");
            }
            families += 1;
        });
        assert!(families > 300, "{families}");
    }

    /// What a lane reads from memory no other lane writes, so relaxed atomics are all that lanes share.
    #[test]
    fn lanes_share_nothing_but_lines() {
        all(&mut |name, proved| {
            let places = proved.address_map();
            let flow = Dataflow::new(proved).unwrap();
            let mut stored = vec![None; places.len()];
            for (lane, moves) in flow.lanes.iter().enumerate() {
                for address in moves.iter().flat_map(|m| &m.to) {
                    assert_eq!(*stored[places.index(*address)].get_or_insert(lane), lane, "{name}: {address}");
                }
            }
            for (lane, moves) in flow.lanes.iter().enumerate() {
                for operand in moves.iter().flat_map(|m| &m.from) {
                    if let Operand::Memory(address) = operand {
                        let stored = stored[places.index(*address)];
                        assert!(stored.is_none_or(|by| by == lane), "{name}: {address}");
                    }
                }
            }
        });
    }

    #[test]
    fn a_ring_of_results_takes_as_many_steps_as_one_of_signals() {
        for (in_place, steps, lines) in [(false, 14, 8 * 13), (true, 15, 8 * 14)] {
            let schedule = build(Collective::AllReduce, Algorithm::Ring, 8, SyncStyle::Neighbor).unwrap();
            let proved = prove(schedule, Options::default().in_place(in_place)).unwrap();
            let flow = Dataflow::new(&proved).unwrap();
            // In place each rank first shows the chunk that its neighbour begins with.
            assert_eq!(flow.lines, lines);
            let plan = flow.plan(&proved, |_| 10, u64::MAX).unwrap();
            assert_eq!((plan.dispatches.len(), plan.mode), (steps, Mode::Fused));
            let short = flow.plan(&proved, |_| 10, 10).unwrap();
            assert!(short.dispatches.len() >= plan.dispatches.len());
            assert_eq!(flow.plan(&proved, |_| 11, 10), Err(TooLong { turns: 11, limit: 10 }));
        }
    }
}
