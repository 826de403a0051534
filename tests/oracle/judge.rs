//! The judge: executes one interleaving after the other over symbols, with clocks of its own, and says what goes wrong.
//!
//! Lanes go on one access at a time. A value is a hash of its contributions, each counted, and one of the tree that combined
//! them. Signals only grow, so one run decides deadlock; clocks decide races in the run at hand, by what its waits have seen:
//! a wait for n synchronises with the first n notifies that arrived. Several interleavings are tried, because where several
//! lanes notify one signal these differ.

use wgccl::collective::Collective;
use wgccl::schedule::{Address, Buffer, Granularity, Schedule};

use super::promise::Places;
use super::random::{Random, mixed};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Wrong {
    /// It names what does not exist, or writes what nobody may, or its meaning depends on the order within an instruction.
    Malformed(&'static str),
    Deadlock,
    /// Two accesses, one a write, and nothing orders them.
    Race,
    /// Memory is read that nobody wrote.
    Uninitialised,
    /// A notify can be erased.
    Erased,
    /// An output chunk is not what the collective promises.
    Result,
    /// It is, but went through a place that may be too short for it.
    CutShort,
    /// A rank leaves a barrier before another has come.
    Early,
}

/// One step of a lane.
#[derive(Debug, Clone, Copy)]
enum Step {
    Wait {
        cell: u32,
        at_least: u32,
    },
    /// Into the register; all but the first operand are combined with what is there.
    Read {
        place: u32,
        register: u32,
        first: bool,
    },
    Write {
        place: u32,
        register: u32,
    },
    Notify {
        cell: u32,
        rank: u32,
    },
    Zero,
}

/// A symbolic value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Value {
    /// Sum of the contributions' codes.
    contributions: u64,
    tree: u64,
    /// How many contributions there are; 0 of what nobody wrote.
    leaves: u32,
    /// The greatest index in its part of all users' chunks that it went through.
    reach: u32,
}

#[derive(Debug, Clone, Default)]
struct Cell {
    arrived: u32,
    /// What the first so many notifies knew, a clock of all lanes for each.
    known: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Access {
    lane: u32,
    time: u32,
}

/// What an output chunk must hold.
#[derive(Debug, Clone, Copy)]
struct Must {
    place: u32,
    contributions: u64,
    leaves: u32,
    index: u32,
    /// Chunks that hold the same have the same number.
    same: u32,
}

/// A lane's steps with the number of the instruction that each belongs to, from 1.
type Program = Vec<(Step, u32)>;

/// A schedule, ready to be executed again and again.
pub(crate) struct Judge {
    /// With all reads of an instruction before its writes, and chunk by chunk: both are right.
    programs: [Vec<Program>; 2],
    rank_of: Vec<u32>,
    ranks: u32,
    ragged: bool,
    barrier: bool,
    cells: usize,
    /// First cell of each rank, and the end.
    cells_of: Vec<u32>,
    registers: usize,
    inputs: Vec<(u32, Value)>,
    /// By place: its index in its part; none of slots.
    user: Vec<Option<u32>>,
    outputs: Vec<Must>,
    // What a run needs, kept for the next.
    memory: Vec<Value>,
    written: Vec<Access>,
    readers: Vec<Vec<Access>>,
    signals: Vec<Cell>,
    clocks: Vec<u32>,
    held: Vec<Value>,
    zeroed: Vec<Access>,
}

/// How a run ended that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Right {
    /// Outputs that must hold the same were made by the same tree.
    pub(crate) identical: bool,
    /// Steps that were executed.
    pub(crate) steps: u32,
}

impl Judge {
    /// # Errors
    /// [`Wrong::Malformed`].
    pub(crate) fn new(schedule: &Schedule, in_place: bool) -> Result<Self, Wrong> {
        let places = Places::new(well_formed(schedule, in_place)?, in_place);
        let promise = &places.promise;
        let mut judge = Self {
            programs: [Vec::new(), Vec::new()],
            rank_of: schedule.lanes.iter().map(|lane| lane.rank).collect(),
            ranks: schedule.ranks,
            ragged: schedule.granularity == Granularity::Ragged,
            barrier: promise.collective == Collective::Barrier,
            cells: (schedule.ranks * schedule.ranks * schedule.signal_rows) as usize,
            cells_of: (0..=schedule.ranks).map(|rank| rank * schedule.ranks * schedule.signal_rows).collect(),
            registers: 1,
            inputs: Vec::new(),
            user: vec![None; places.len as usize],
            outputs: Vec::new(),
            memory: Vec::new(),
            written: Vec::new(),
            readers: Vec::new(),
            signals: Vec::new(),
            clocks: Vec::new(),
            held: Vec::new(),
            zeroed: Vec::new(),
        };
        for by_chunk in [false, true] {
            judge.programs[usize::from(by_chunk)] = judge.compile(schedule, &places, in_place, by_chunk)?;
        }
        let chunks = schedule.chunks;
        let mut known: Vec<Vec<(u32, u32)>> = Vec::new();
        for rank in 0..schedule.ranks {
            for chunk in 0..promise.gives(rank) * chunks {
                let code = code(rank, chunk);
                let value = Value { contributions: code, tree: code, leaves: 1, reach: chunk % chunks };
                let place = places.of(Address::input(rank, chunk));
                judge.inputs.push((place, value));
                judge.user[place as usize] = Some(chunk % chunks);
            }
            for chunk in 0..promise.gets(rank) * chunks {
                let terms = promise.terms(rank, chunk / chunks);
                let index = chunk % chunks;
                let contributions = terms.iter().map(|&(from, part)| code(from, part * chunks + index));
                let contributions = contributions.fold(0, u64::wrapping_add);
                let leaves = terms.len() as u32;
                let same = known.iter().position(|other| *other == terms).unwrap_or_else(|| {
                    known.push(terms);
                    known.len() - 1
                });
                let place = places.of(Address::output(rank, chunk));
                judge.user[place as usize] = Some(index);
                let same = same as u32 * chunks + index;
                judge.outputs.push(Must { place, contributions, leaves, index, same });
            }
        }
        Ok(judge)
    }

    fn compile(
        &mut self,
        schedule: &Schedule,
        places: &Places,
        in_place: bool,
        by_chunk: bool,
    ) -> Result<Vec<Program>, Wrong> {
        let cell = |rank: u32, row: u32, sender: u32| (rank * schedule.signal_rows + row) * schedule.ranks + sender;
        let exists = |row: u32, rank: u32| row < schedule.signal_rows && rank < schedule.ranks;
        let mut programs = Vec::new();
        for lane in &schedule.lanes {
            let mut program = Program::new();
            for (time, instruction) in (1..).zip(&lane.instructions) {
                let mut step = |step| program.push((step, time));
                for wait in &instruction.waits {
                    if !exists(wait.row, wait.sender) {
                        return Err(Wrong::Malformed("a wait for a signal that does not exist"));
                    }
                    step(Step::Wait { cell: cell(lane.rank, wait.row, wait.sender), at_least: wait.at_least });
                }
                if instruction.zeroes_signals {
                    step(Step::Zero);
                }
                let from = &instruction.from;
                let idle = |to: &Address| {
                    in_place && from.len() == 1 && to.buffer != from[0].buffer && places.of(*to) == places.of(from[0])
                };
                let to: Vec<u32> = instruction.to.iter().filter(|to| !idle(to)).map(|to| places.of(*to)).collect();
                let is_idle = to.is_empty() && !instruction.to.is_empty();
                let from: Vec<u32> =
                    if is_idle { Vec::new() } else { from.iter().map(|from| places.of(*from)).collect() };
                let chunks = if from.is_empty() { 0 } else { instruction.chunks };
                self.registers = self.registers.max(chunks as usize);
                let reads = |k: u32| {
                    let read =
                        move |(i, place): (usize, &u32)| Step::Read { place: place + k, register: k, first: i == 0 };
                    from.iter().enumerate().map(read)
                };
                let writes = |k: u32| to.iter().map(move |place| Step::Write { place: place + k, register: k });
                if by_chunk {
                    (0..chunks).for_each(|k| reads(k).chain(writes(k)).for_each(&mut step));
                } else {
                    (0..chunks).flat_map(reads).chain((0..chunks).flat_map(writes)).for_each(&mut step);
                }
                for notify in &instruction.notifies {
                    if !exists(notify.row, notify.peer) {
                        return Err(Wrong::Malformed("a notify of a signal that does not exist"));
                    }
                    step(Step::Notify { cell: cell(notify.peer, notify.row, lane.rank), rank: notify.peer });
                }
                // An instruction that does nothing has been executed, too: in a barrier it is an arrival.
                if program.last().is_none_or(|&(_, last)| last != time) {
                    program.push((Step::Wait { cell: 0, at_least: 0 }, time));
                }
            }
            programs.push(program);
        }
        Ok(programs)
    }

    /// One interleaving.
    ///
    /// # Errors
    /// The first thing that goes wrong in it.
    pub(crate) fn run(&mut self, random: &mut Random) -> Result<Right, Wrong> {
        let lanes = self.rank_of.len();
        self.reset(lanes);
        let program = random.index(2);
        // Lanes by fits and starts, one step at a time, or each as far as it goes.
        let patience = *random.pick(&[0, 50, 80, 97, 100]);
        let mut next = vec![0_usize; lanes];
        let mut ready: Vec<usize> = (0..lanes).filter(|&lane| !self.programs[program][lane].is_empty()).collect();
        let mut blocked: Vec<(u32, u32, usize)> = Vec::new();
        let (mut at, mut steps) = (0, 0);
        while !ready.is_empty() {
            if at >= ready.len() || !random.percent(patience) {
                at = random.index(ready.len());
            }
            let lane = ready[at];
            let (step, time) = self.programs[program][lane][next[lane]];
            if let Step::Wait { cell, at_least } = step
                && at_least > 0
                && self.signals[cell as usize].arrived < at_least
            {
                blocked.push((cell, at_least, lane));
                ready.swap_remove(at);
                continue;
            }
            self.clocks[lane * lanes + lane] = time;
            self.step(step, lane, time)?;
            steps += 1;
            if let Step::Notify { cell, .. } = step {
                let arrived = self.signals[cell as usize].arrived;
                let mut at = 0;
                while at < blocked.len() {
                    if blocked[at].0 == cell && blocked[at].1 <= arrived {
                        ready.push(blocked.swap_remove(at).2);
                    } else {
                        at += 1;
                    }
                }
            }
            next[lane] += 1;
            if next[lane] == self.programs[program][lane].len() {
                ready.swap_remove(at);
            }
        }
        if !blocked.is_empty() {
            return Err(Wrong::Deadlock);
        }
        if self.barrier && self.is_early() {
            return Err(Wrong::Early);
        }
        Ok(Right { identical: self.outputs()?, steps })
    }

    fn reset(&mut self, lanes: usize) {
        let places = self.user.len();
        self.memory.clear();
        self.memory.resize(places, Value::default());
        for &(place, value) in &self.inputs {
            self.memory[place as usize] = value;
        }
        self.written.clear();
        self.written.resize(places, Access::default());
        self.readers.resize_with(places, Vec::new);
        self.readers.iter_mut().for_each(Vec::clear);
        self.signals.resize_with(self.cells, Cell::default);
        for cell in &mut self.signals {
            cell.arrived = 0;
            cell.known.clear();
        }
        self.clocks.clear();
        self.clocks.resize(lanes * lanes, 0);
        self.held.clear();
        self.held.resize(lanes * self.registers, Value::default());
        self.zeroed.clear();
        self.zeroed.resize(self.ranks as usize, Access::default());
    }

    fn knows(&self, lane: usize, access: Access) -> bool {
        self.clocks[lane * self.rank_of.len() + access.lane as usize] >= access.time
    }

    fn step(&mut self, step: Step, lane: usize, time: u32) -> Result<(), Wrong> {
        let lanes = self.rank_of.len();
        let me = Access { lane: lane as u32, time };
        match step {
            Step::Wait { at_least: 0, .. } => {}
            Step::Wait { cell, at_least } => {
                let then = &self.signals[cell as usize].known[(at_least as usize - 1) * lanes..][..lanes];
                let now = &mut self.clocks[lane * lanes..][..lanes];
                now.iter_mut().zip(then).for_each(|(now, &then)| *now = then.max(*now));
            }
            Step::Read { place, register, first } => {
                let place = place as usize;
                if !self.knows(lane, self.written[place]) {
                    return Err(Wrong::Race);
                }
                let readers = &mut self.readers[place];
                match readers.iter_mut().find(|reader| reader.lane == me.lane) {
                    Some(reader) => reader.time = time,
                    None => readers.push(me),
                }
                let value = self.memory[place];
                if value.leaves == 0 {
                    return Err(Wrong::Uninitialised);
                }
                let held = &mut self.held[lane * self.registers + register as usize];
                *held = if first { value } else { combined(*held, value) };
            }
            Step::Write { place, register } => {
                let place = place as usize;
                let is_known = |&access: &Access| self.knows(lane, access);
                if !is_known(&self.written[place]) || !self.readers[place].iter().all(is_known) {
                    return Err(Wrong::Race);
                }
                self.readers[place].clear();
                self.written[place] = me;
                let mut value = self.held[lane * self.registers + register as usize];
                value.reach = value.reach.max(self.user[place].unwrap_or(0));
                self.memory[place] = value;
            }
            Step::Notify { cell, rank } => {
                if !self.knows(lane, self.zeroed[rank as usize]) {
                    return Err(Wrong::Erased);
                }
                let cell = &mut self.signals[cell as usize];
                cell.arrived += 1;
                let (start, now) = (cell.known.len(), &self.clocks[lane * lanes..][..lanes]);
                cell.known.extend_from_slice(now);
                if let Some(before) = start.checked_sub(lanes) {
                    for i in 0..lanes {
                        cell.known[start + i] = cell.known[start + i].max(cell.known[before + i]);
                    }
                }
            }
            Step::Zero => {
                let rank = self.rank_of[lane] as usize;
                let cells = self.cells_of[rank] as usize..self.cells_of[rank + 1] as usize;
                if self.signals[cells].iter().any(|cell| cell.arrived > 0) {
                    return Err(Wrong::Erased);
                }
                self.zeroed[rank] = me;
            }
        }
        Ok(())
    }

    /// Whether some rank's lanes end without knowing that every other rank has begun.
    fn is_early(&self) -> bool {
        let lanes = self.rank_of.len();
        let knows = |rank: u32, peer: u32| {
            (0..lanes).filter(|&lane| self.rank_of[lane] == rank).any(|lane| {
                let has_come = |other: usize| self.clocks[lane * lanes + other] > 0;
                (0..lanes).any(|other| self.rank_of[other] == peer && has_come(other))
            })
        };
        (0..self.ranks).any(|rank| (0..self.ranks).any(|peer| peer != rank && !knows(rank, peer)))
    }

    /// Whether all that hold the same hold the same tree.
    fn outputs(&self) -> Result<bool, Wrong> {
        let mut trees: Vec<Option<u64>> = Vec::new();
        let mut identical = true;
        for must in &self.outputs {
            let value = self.memory[must.place as usize];
            if (value.leaves, value.contributions) != (must.leaves, must.contributions) {
                return Err(Wrong::Result);
            }
            if self.ragged && value.reach > must.index {
                return Err(Wrong::CutShort);
            }
            let same = must.same as usize;
            trees.resize(trees.len().max(same + 1), None);
            identical &= *trees[same].get_or_insert(value.tree) == value.tree;
        }
        Ok(identical)
    }
}

/// The code of a contribution.
fn code(rank: u32, chunk: u32) -> u64 {
    mixed((u64::from(rank) << 32 | u64::from(chunk)).wrapping_add(0x1234_5678_9abc_def1))
}

/// Whichever comes first.
fn combined(a: Value, b: Value) -> Value {
    Value {
        contributions: a.contributions.wrapping_add(b.contributions),
        tree: mixed(mixed(a.tree.min(b.tree)).wrapping_add(a.tree.max(b.tree)) ^ 0x5851_f42d_4c95_7f2d),
        leaves: a.leaves.saturating_add(b.leaves),
        reach: a.reach.max(b.reach),
    }
}

/// All but signals, which are looked at on the way.
fn well_formed(schedule: &Schedule, in_place: bool) -> Result<&Schedule, Wrong> {
    let malformed = |what| Err(Wrong::Malformed(what));
    let (ranks, task) = (schedule.ranks, &schedule.task);
    if !(1..=64).contains(&ranks) || !(1..=1024).contains(&schedule.chunks) || schedule.signal_rows > 4096 {
        return malformed("nothing, or more than is tried here");
    }
    if let Granularity::DivisibleBy(n) = schedule.granularity
        && (n == 0 || n % schedule.chunks != 0)
    {
        return malformed("counts that do not divide into the chunks");
    }
    if task.collective.has_root() && task.root >= ranks {
        return malformed("a root that is no rank");
    }
    let sources = &task.sources;
    let is_map = sources.is_empty() || (sources.len() == ranks as usize && sources.iter().all(|&from| from < ranks));
    if task.collective == Collective::SendRecv && !is_map {
        return malformed("sources that are no ranks");
    }
    if schedule.slots.iter().any(|&slots| slots > 4096) {
        return malformed("more slots than are tried here");
    }
    if schedule.slots.len() > ranks as usize {
        return malformed("slots of ranks that do not exist");
    }
    let places = Places::new(schedule, in_place);
    if in_place && places.promise.in_place(0).is_none() {
        return malformed("a collective that has no form in place");
    }
    for lane in &schedule.lanes {
        if lane.rank >= ranks {
            return malformed("a lane of a rank that does not exist");
        }
        for instruction in &lane.instructions {
            let (from, to, chunks) = (&instruction.from, &instruction.to, instruction.chunks);
            if chunks == 0 {
                return malformed("an instruction of no length");
            }
            if from.is_empty() && !to.is_empty() {
                return malformed("a destination of nothing");
            }
            if !from.iter().chain(to).all(|&at| places.exists(at, chunks)) {
                return malformed("an address that does not exist");
            }
            if to.iter().any(|&at| at.buffer == Buffer::Input && !places.is_output(at, chunks)) {
                return malformed("a write to an input");
            }
            let askew = |a: &Address, b: &Address| {
                let distance = places.of(*a).abs_diff(places.of(*b));
                distance > 0 && distance < chunks
            };
            let among = |list: &[Address]| to.iter().any(|a| list.iter().any(|b| askew(a, b)));
            if among(from) || among(to) {
                return malformed("addresses that overlap in part");
            }
        }
    }
    Ok(schedule)
}

impl Wrong {
    /// For summaries.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Deadlock => "deadlock",
            Self::Race => "race",
            Self::Uninitialised => "uninitialised",
            Self::Erased => "erased notify",
            Self::Result => "wrong result",
            Self::CutShort => "cut short",
            Self::Early => "early",
        }
    }
}
