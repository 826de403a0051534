//! Every interleaving of small schedules, exhaustively: what the proofs accept ends in one way, the right one.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};
use wgccl::collective::{Collective, Task};
use wgccl::proof::{Options, Proof, Verdict, check};
use wgccl::schedule::{Address, Algorithm, Buffer, Edit, Instruction, Lane, Schedule, SyncStyle};

use crate::common::edit::{Kind, Kinds};
use crate::common::nccl::Nccl;
use crate::common::{Variant, other_variants, variants};

/// A multiset of contributions, interned; 0 is what nobody wrote, and whatever is made of it.
type Symbol = u8;

/// How a launch can end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Right,
    /// With these outputs, all ranks' in a row.
    Wrong(Vec<Symbol>),
    /// With lanes standing at these instructions.
    Deadlock(Vec<u8>),
}

/// Sequentially consistent memory and one micro-step at a time, of any lane that can take one: read all operands once the
/// waits hold; write all destinations; then notify, one peer a step. So another lane can step in between any two.
///
/// A state is a string of bytes: the chunks of all ranks, their signals, and of every lane the instruction, the micro-step
/// and what it has read.
struct Model<'s> {
    schedule: &'s Schedule,
    nccl: Nccl,
    options: Options,
    /// Where each rank's input, output and slots begin.
    first: Vec<[usize; 3]>,
    /// The number of each rank's first contribution.
    contributions: Vec<usize>,
    signals: usize,
    lanes: usize,
    lane_bytes: usize,
    /// The lanes that move, and what they may touch; the others stand still.
    moving: Vec<usize>,
    touched: FxHashSet<usize>,
    known: FxHashMap<Vec<u8>, Symbol>,
    multisets: Vec<Vec<u8>>,
    sums: FxHashMap<(Symbol, Symbol), Symbol>,
}

type State = Box<[u8]>;

/// Where a lane's bytes are: instruction, micro-step (0 read, 1 write, then notifies), values held.
const INSTRUCTION: usize = 0;
const STEP: usize = 1;
const HELD: usize = 2;

impl<'s> Model<'s> {
    fn new(schedule: &'s Schedule, options: Options) -> Self {
        let ranks = schedule.ranks as usize;
        let Task { collective, root, .. } = schedule.task;
        let nccl = Nccl { collective, root, ranks: schedule.ranks };
        let (mut signals, mut all, mut first, mut contributions) = (0, 0, Vec::new(), Vec::new());
        for rank in 0..schedule.ranks {
            let chunks = |parts: u32| (parts * schedule.chunks) as usize;
            let (gives, gets) = nccl.parts(rank);
            let (input, output, user) = match nccl.in_place(rank).filter(|_| options.in_place) {
                Some((input, output)) => (input, output, gives.max(gets)),
                None => (gets, 0, gives + gets),
            };
            first.push([input, output, user].map(|parts| signals + chunks(parts)));
            signals += chunks(user) + schedule.slots_of(rank) as usize;
            contributions.push(all);
            all += chunks(gives);
        }
        let lanes = signals + ranks * schedule.signal_rows as usize * ranks;
        let longest = crate::common::edit::instructions(schedule).map(|i| i.chunks).max().unwrap_or(0) as usize;
        let mut model = Self {
            schedule,
            nccl,
            options,
            first,
            contributions,
            signals,
            lanes,
            lane_bytes: HELD + longest,
            moving: Vec::new(),
            touched: FxHashSet::default(),
            known: FxHashMap::default(),
            multisets: vec![Vec::new()],
            sums: FxHashMap::default(),
        };
        for contribution in 0..all {
            model.intern((0..all).map(|c| u8::from(c == contribution)).collect());
        }
        model
    }

    fn intern(&mut self, multiset: Vec<u8>) -> Symbol {
        let Self { known, multisets, .. } = self;
        *known.entry(multiset).or_insert_with_key(|multiset| {
            multisets.push(multiset.clone());
            u8::try_from(multisets.len() - 1).expect("few different sums")
        })
    }

    fn sum(&mut self, a: Symbol, b: Symbol) -> Symbol {
        if a == 0 || b == 0 {
            return 0;
        }
        if let Some(&sum) = self.sums.get(&(a, b)) {
            return sum;
        }
        let (a_of, b_of) = (&self.multisets[a as usize], &self.multisets[b as usize]);
        let multiset = a_of.iter().zip(b_of).map(|(a, b)| a + b).collect();
        let sum = self.intern(multiset);
        self.sums.insert((a, b), sum);
        sum
    }

    fn chunk(&self, address: Address, k: u32) -> usize {
        let [input, output, slot] = self.first[address.rank as usize];
        let base = match address.buffer {
            Buffer::Input => input,
            Buffer::Output => output,
            Buffer::Slot => slot,
        };
        base + (address.chunk + k) as usize
    }

    /// Destinations, without that of a copy from an input to an output that is the same memory, which does nothing.
    fn destinations<'i>(&self, i: &'i Instruction) -> impl Iterator<Item = Address> + use<'i> {
        let (in_place, single) = (self.options.in_place, i.from.len() == 1);
        let from = i.from.first().copied().map(|from| (from.buffer, self.chunk(from, 0)));
        let to: Vec<usize> = i.to.iter().map(|&to| self.chunk(to, 0)).collect();
        let idle = move |(to, place): (&Address, usize)| {
            let same = from.is_some_and(|(buffer, from)| buffer != to.buffer && place == from);
            (!(in_place && single && same)).then_some(*to)
        };
        i.to.iter().zip(to).filter_map(idle)
    }

    fn signal(&self, rank: u32, row: u32, sender: u32) -> usize {
        let ranks = self.schedule.ranks as usize;
        let row = rank as usize * self.schedule.signal_rows as usize + row as usize;
        self.signals + row * ranks + sender as usize
    }

    fn start(&self) -> State {
        let mut state = vec![0; self.lanes + self.schedule.lanes.len() * self.lane_bytes];
        for rank in 0..self.schedule.ranks {
            for chunk in 0..self.nccl.parts(rank).0 * self.schedule.chunks {
                let contribution = self.contributions[rank as usize] + chunk as usize;
                state[self.chunk(Address::input(rank, chunk), 0)] = 1 + contribution as u8;
            }
        }
        state.into()
    }

    /// The state after lane `l`'s next micro-step, if it can take one.
    fn step(&mut self, state: &State, l: usize) -> Option<State> {
        let lane: &'s Lane = &self.schedule.lanes[l];
        let at = self.lanes + l * self.lane_bytes;
        let instruction: &'s Instruction = lane.instructions.get(state[at + INSTRUCTION] as usize)?;
        let mut after = state.clone();
        let step = state[at + STEP] as usize;
        let moves = self.destinations(instruction).next().is_some();
        match step {
            0 => {
                let mut waits = instruction.waits.iter();
                if !waits.all(|w| u32::from(state[self.signal(lane.rank, w.row, w.sender)]) >= w.at_least) {
                    return None;
                }
                if instruction.zeroes_signals {
                    let matrix = self.schedule.signal_rows as usize * self.schedule.ranks as usize;
                    after[self.signals + lane.rank as usize * matrix..][..matrix].fill(0);
                }
                for k in 0..if moves { instruction.chunks } else { 0 } {
                    let operands: Vec<u8> = instruction.from.iter().map(|&a| state[self.chunk(a, k)]).collect();
                    let value = operands.into_iter().reduce(|a, b| self.sum(a, b)).unwrap_or(0);
                    after[at + HELD + k as usize] = value;
                }
            }
            1 => {
                for to in self.destinations(instruction) {
                    for k in 0..instruction.chunks {
                        after[self.chunk(to, k)] = state[at + HELD + k as usize];
                    }
                }
                after[at + HELD..at + self.lane_bytes].fill(0);
            }
            _ => {
                let notify = instruction.notifies[step - 2];
                after[self.signal(notify.peer, notify.row, lane.rank)] += 1;
            }
        }
        // An instruction that moves nothing has no step for writing.
        let next = if step == 0 && !moves { 2 } else { step + 1 };
        if next < 2 + instruction.notifies.len() {
            after[at + STEP] = next as u8;
        } else {
            after[at + STEP] = 0;
            after[at + INSTRUCTION] += 1;
        }
        Some(after)
    }

    fn end(&mut self, state: &State) -> End {
        let at = |l: usize| state[self.lanes + l * self.lane_bytes];
        if self.moving.iter().any(|&l| (at(l) as usize) < self.schedule.lanes[l].instructions.len()) {
            return End::Deadlock((0..self.schedule.lanes.len()).map(at).collect());
        }
        let (mut outputs, mut is_right) = (Vec::new(), true);
        for rank in 0..self.schedule.ranks {
            for chunk in 0..self.nccl.parts(rank).1 * self.schedule.chunks {
                let place = self.chunk(Address::output(rank, chunk), 0);
                if self.touched.contains(&place) {
                    outputs.push(state[place]);
                    is_right &= state[place] == self.right(rank, chunk);
                }
            }
        }
        if is_right { End::Right } else { End::Wrong(outputs) }
    }

    /// What a chunk of an output must hold.
    fn right(&mut self, rank: u32, chunk: u32) -> Symbol {
        let (part, within) = (chunk / self.schedule.chunks, chunk % self.schedule.chunks);
        let mut multiset = vec![0; self.multisets[1].len()];
        for (from, part) in self.nccl.terms(rank, part) {
            multiset[self.contributions[from as usize] + (part * self.schedule.chunks + within) as usize] += 1;
        }
        self.intern(multiset)
    }

    /// The bytes of a state that lane `l` reads or writes, its own aside.
    fn touches(&self, l: usize) -> FxHashSet<usize> {
        let Lane { rank, instructions, .. } = &self.schedule.lanes[l];
        let mut bytes = FxHashSet::default();
        for i in instructions {
            for &address in i.from.iter().chain(&i.to) {
                bytes.extend((0..i.chunks).map(|k| self.chunk(address, k)));
            }
            bytes.extend(i.waits.iter().map(|wait| self.signal(*rank, wait.row, wait.sender)));
            bytes.extend(i.notifies.iter().map(|notify| self.signal(notify.peer, notify.row, *rank)));
            if i.zeroes_signals {
                bytes.extend(self.signal(*rank, 0, 0)..self.signal(rank + 1, 0, 0));
            }
        }
        bytes
    }

    /// Lanes in groups of which none touches what another does: a ring in either direction, say, or one of two trees.
    fn groups(&self) -> Vec<(Vec<usize>, FxHashSet<usize>)> {
        let mut groups: Vec<(Vec<usize>, FxHashSet<usize>)> = Vec::new();
        for lane in 0..self.schedule.lanes.len() {
            let mut merged = (vec![lane], self.touches(lane));
            let (apart, joined) = groups.into_iter().partition(|(_, bytes)| bytes.is_disjoint(&merged.1));
            groups = apart;
            for (lanes, bytes) in joined {
                merged.0.extend(lanes);
                merged.1.extend(bytes);
            }
            groups.push(merged);
        }
        // What nobody touches is judged, too.
        let touched: FxHashSet<usize> = groups.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        groups[0].1.extend((0..self.signals).filter(|byte| !touched.contains(byte)));
        groups
    }

    /// All ends, and the number of states on the way. Groups that share nothing are run one after the other: every end of
    /// one goes with every end of the others.
    fn explore(mut self) -> (BTreeSet<End>, usize) {
        let (mut ends, mut states, mut right) = (BTreeSet::new(), 0, true);
        for (moving, touched) in self.groups() {
            (self.moving, self.touched) = (moving, touched);
            let (mut of_group, states_of_group) = self.explore_group();
            right &= of_group.remove(&End::Right);
            ends.append(&mut of_group);
            states += states_of_group;
        }
        ends.extend(right.then_some(End::Right));
        (ends, states)
    }

    fn explore_group(&mut self) -> (BTreeSet<End>, usize) {
        let start = self.start();
        let mut seen = FxHashSet::from_iter([start.clone()]);
        let (mut now, mut ends) = (vec![start], BTreeSet::new());
        while !now.is_empty() {
            let mut later = Vec::new();
            for state in now {
                let mut last = true;
                for lane in self.moving.clone() {
                    let Some(after) = self.step(&state, lane) else { continue };
                    last = false;
                    if seen.insert(after.clone()) {
                        later.push(after);
                    }
                }
                if last {
                    ends.insert(self.end(&state));
                }
            }
            now = later;
        }
        (ends, seen.len())
    }
}

fn explore(schedule: &Schedule, options: Options) -> (BTreeSet<End>, usize) {
    Model::new(schedule, options).explore()
}

fn only_right(ends: &BTreeSet<End>) -> bool {
    *ends == BTreeSet::from([End::Right])
}

/// Whether the model can execute it at all.
fn in_range(schedule: &Schedule) -> bool {
    crate::common::edit::instructions(schedule).all(|i| {
        let mut addresses = i.from.iter().chain(&i.to).copied();
        addresses.all(|a| a.chunk + i.chunks <= schedule.buffer_chunks(a.buffer, a.rank))
    })
}

/// The other collectives. A barrier moves nothing that could be told; the proofs' oracle knows when it is wrong.
fn others(ranks: impl IntoIterator<Item = u32> + Clone) -> impl Iterator<Item = Variant> {
    other_variants(ranks).into_iter().filter(|variant| variant.collective != Collective::Barrier)
}

#[test]
fn every_algorithm_of_another_collective_ends_in_one_way() {
    // Every root of three ranks, one of four; with five a ring all-to-all fills its slots for the second time.
    let five = others([5]).filter(|v| (v.collective, v.algorithm) == (Collective::AllToAll, Algorithm::Ring));
    for variant in others(2..=4).filter(|v| v.ranks < 4 || v.root < 2).chain(five) {
        let (ends, states) = explore(&variant.schedule(), variant.options());
        println!("{variant}: {states} states");
        assert!(only_right(&ends), "{variant}: {ends:?}");
    }
}

#[test]
fn every_algorithm_ends_in_one_way() {
    let fast = |v: &Variant| v.sync == SyncStyle::Neighbor && v.algorithm != Algorithm::RingExchange;
    let five = variants([5]).into_iter().filter(fast);
    let trees = variants(6..=8).into_iter().filter(|v| v.algorithm == Algorithm::Tree);
    for variant in variants(2..=4).into_iter().chain(five).chain(trees) {
        let (ends, states) = explore(&variant.schedule(), variant.options());
        println!("{variant}: {states} states");
        assert!(check(&variant.schedule(), variant.options()).ok(), "{variant}");
        assert!(only_right(&ends), "{variant}: {ends:?}");
    }
}

#[derive(Default)]
struct Count {
    mutants: u32,
    proved: u32,
    /// Refused, and some interleaving goes wrong.
    bad: u32,
    /// Refused, though every interleaving ends right.
    harmless: u32,
    not_tried: u32,
    states: usize,
}

/// Proved mutants must end right in every interleaving. The refused ones prove nothing about the proofs, but show that the
/// model can fail: every `nth` of them is tried, if any.
fn sweep(variants: impl IntoIterator<Item = Variant>, nth: Option<usize>) -> BTreeMap<Kind, Count> {
    let mut table = BTreeMap::<Kind, Count>::new();
    for variant in variants {
        let schedule = variant.schedule();
        for (n, edit) in Edit::all(&schedule).into_iter().enumerate() {
            let mutant = edit.apply(&schedule).unwrap();
            let count = table.entry(edit.kind()).or_default();
            count.mutants += 1;
            let report = check(&mutant, variant.options());
            let proved = report.ok();
            if !in_range(&mutant) || !(proved || nth.is_some_and(|nth| n % nth == 0)) {
                assert!(!proved, "{variant}, {edit:?}");
                count.not_tried += 1;
                continue;
            }
            let (ends, states) = explore(&mutant, variant.options());
            count.states += states;
            match (proved, only_right(&ends)) {
                (true, right) => {
                    assert!(right, "proved, but wrong: {variant}, {edit:?}: {ends:?}");
                    count.proved += 1;
                }
                (false, false) => count.bad += 1,
                // Proof 1 may be strict, the others must not be. Copies of one chunk race, too, and do no harm.
                (false, true) => {
                    let copies = !variant.collective.reduces();
                    let strict = |proof| proof == Proof::Structure || (copies && proof == Proof::RaceFree);
                    let failed = report.proofs.iter().filter(|outcome| outcome.verdict == Verdict::Fails);
                    let fair = failed.map(|outcome| outcome.proof).all(strict);
                    assert!(fair, "{variant}, {edit:?}\n{report}");
                    count.harmless += 1;
                }
            }
        }
    }
    table
}

fn print(title: &str, table: &BTreeMap<Kind, Count>) {
    let mut text = format!("{title:22}  mutants   proved      bad harmless not tried     states\n");
    for (kind, c) in table {
        text += &format!(
            "{kind:21} {:9}{:9}{:9}{:9}{:10}{:11}\n",
            c.mutants, c.proved, c.bad, c.harmless, c.not_tried, c.states
        );
    }
    println!("{text}");
}

#[test]
fn proved_mutants_of_two_ranks_end_right() {
    let table = sweep(variants([2]), Some(1));
    print("2 ranks", &table);
    // The model can fail, at every kind of defect.
    for kind in Kind::ALL {
        match kind {
            Kind::Operands => assert_eq!(table[&kind].bad, 0),
            _ => assert!(table[&kind].bad > 0, "no mutant of '{kind}' goes wrong in the model"),
        }
    }
}

#[test]
fn proved_mutants_of_three_ranks_end_right() {
    // A mutant that joins two lanes of a rank has as many states as the product of theirs.
    let (several, one): (Vec<_>, Vec<_>) = variants([3]).into_iter().partition(|v| v.schedule().lanes.len() > 3);
    print("3 ranks", &sweep(one, Some(1)));
    print("3 ranks, two lanes", &sweep(several, Some(16)));
}

#[test]
fn proved_mutants_of_other_collectives_end_right() {
    let table = sweep(others([2]), Some(1));
    print("2 ranks, other collectives", &table);
    print("3 ranks, other collectives", &sweep(others([3]).filter(|v| v.root == 0), Some(4)));
}

/// Of four ranks only those that are proved, as only they can refute a proof.
#[test]
fn proved_mutants_of_four_ranks_end_right() {
    let table = sweep(variants([4]), None);
    print("4 ranks", &table);
}

/// Without the wait of any single round the neighbour ring has several ends: there is no slack in it.
#[test]
fn no_round_of_a_neighbor_ring_can_do_without_its_wait() {
    for variant in variants([2, 3]).into_iter().filter(|v| v.is_ring() && v.sync == SyncStyle::Neighbor) {
        let schedule = variant.schedule();
        let ends_of = |kind| {
            let edits = Edit::all(&schedule).into_iter().filter(move |edit| edit.kind() == kind);
            edits.map(|edit| (edit, explore(&edit.apply(&schedule).unwrap(), variant.options()).0))
        };
        let mut counts = Vec::new();
        for (edit, ends) in ends_of(Kind::RowWaits) {
            assert!(ends.len() > 1 && ends.contains(&End::Right), "{variant}, {edit:?}: {ends:?}");
            counts.push(ends.len());
        }
        // An earlier model in Python, which shares no code with this one, counted the same.
        if variant.algorithm == Algorithm::RingStaged && variant.ranks == 3 {
            assert_eq!(counts, [7, 7, 22, 13]);
        }
        for (edit, ends) in ends_of(Kind::Notify) {
            let ends: Vec<_> = ends.into_iter().collect();
            assert!(matches!(ends[..], [End::Deadlock(_)]), "{variant}, {edit:?}: {ends:?}");
        }
    }
}

/// A race that hides in every other end: one rank's read falls between the other's read and its write.
#[test]
fn reads_and_writes_are_separate_steps() {
    let step = || Instruction::new("move");
    let (slot, output) = (Address::slot(0, 0), Address::output);
    let add = |rank| step().reduce(slot, Address::input(rank, 0)).to(slot);
    // Both add to one slot at the same time: each addition can be lost.
    let schedule = Schedule::new("lost update", Collective::AllReduce, 2, 1)
        .slots(1)
        .signal_rows(3)
        .lane(
            Lane::new(0)
                .with(step().copy(Address::input(0, 0)).to(slot).notify(1, 0))
                .with(add(0))
                .with(step().wait(1, 1).copy(slot).to(output(0, 0))),
        )
        .lane(Lane::new(1).with(step().wait(0, 0)).with(add(1)).with(step().copy(slot).to(output(1, 0)).notify(0, 1)));
    assert!(!check(&schedule, Options::default()).ok());
    let (ends, _) = explore(&schedule, Options::default());
    assert!(ends.len() > 2, "{ends:?}");
    // With one addition less it is right, unless the two overlap.
    let mut schedule = schedule;
    schedule.lanes[0].instructions[1] = step().copy(slot).to(slot);
    let (ends, _) = explore(&schedule, Options::default());
    assert!(ends.contains(&End::Right) && ends.len() > 1, "{ends:?}");
}
