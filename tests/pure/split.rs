//! Splits over devices, executed by a plain model: devices with memories of their own, messages in any legal order.
//!
//! It shares no code with splits or executors, and values are symbols, so nothing that goes wrong is a wrong sum by chance.

use std::collections::{HashMap, VecDeque};

use wgccl::collective::Collective;
use wgccl::element::DataType;
use wgccl::lower::{Part, Run, Split};
use wgccl::proof::{Options, Proved, prove};
use wgccl::schedule::{Address, Algorithm, Buffer, Instruction, Placement, Recipe, Schedule, SyncStyle, build};

use crate::oracle::case::{Case, Kind};
use crate::oracle::promise::Places;
use crate::oracle::random::{Random, mixed};

type Memory = HashMap<u32, u64>;
/// Places, and what is for them.
type Letter = Vec<(u32, u64)>;

/// A value that says how it was made.
fn execute(instruction: &Instruction, places: &Places, memory: &mut Memory) {
    for k in 0..instruction.chunks {
        let place = |at: &Address| places.of(*at) + k;
        let read = |at: &Address| *memory.get(&place(at)).unwrap_or_else(|| panic!("{} reads {at}", instruction.label));
        let Some((first, rest)) = instruction.from.split_first() else { continue };
        let value = rest.iter().fold(read(first), |sum, at| mixed(sum ^ mixed(read(at)).rotate_left(1)));
        for to in &*instruction.to {
            memory.insert(place(to), value);
        }
    }
}

/// The inputs of these ranks.
fn inputs(schedule: &Schedule, places: &Places, is_here: impl Fn(u32) -> bool) -> Memory {
    let ranks = (0..schedule.ranks).filter(|&rank| is_here(rank));
    let chunks =
        ranks.flat_map(|rank| (0..places.chunks_of(rank, Buffer::Input)).map(move |c| Address::input(rank, c)));
    chunks.map(|at| (places.of(at), mixed(u64::from(places.of(at)) + 1))).collect()
}

fn outputs(places: &Places, memory: &Memory, rank: u32) -> Vec<Option<u64>> {
    let chunks = 0..places.chunks_of(rank, Buffer::Output);
    chunks.map(|chunk| memory.get(&places.of(Address::output(rank, chunk))).copied()).collect()
}

/// Lanes as far as they go, in a random order of turns, and which of them have gone how far.
struct Lanes<'a> {
    schedule: &'a Schedule,
    next: Vec<usize>,
    signals: HashMap<(u32, u32, u32), u32>,
}

impl<'a> Lanes<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        Self { schedule, next: vec![0; schedule.lanes.len()], signals: HashMap::new() }
    }

    /// Runs instructions for which `may` holds until no lane can go on.
    fn run(&mut self, random: &mut Random, may: impl Fn(u32, u32) -> bool, mut execute: impl FnMut(&Instruction)) {
        let mut order: Vec<usize> = (0..self.next.len()).collect();
        let mut moved = true;
        while std::mem::take(&mut moved) {
            random.shuffle(&mut order);
            for &lane in &order {
                let Some(instruction) = self.schedule.lanes[lane].instructions.get(self.next[lane]) else { continue };
                let rank = self.schedule.lanes[lane].rank;
                let arrived = |row, sender| self.signals.get(&(rank, row, sender)).copied().unwrap_or(0);
                let waits = instruction.waits.iter().any(|wait| arrived(wait.row, wait.sender) < wait.at_least);
                if waits || !may(lane as u32, self.next[lane] as u32) {
                    continue;
                }
                execute(instruction);
                for notify in &*instruction.notifies {
                    *self.signals.entry((notify.peer, notify.row, rank)).or_default() += 1;
                }
                self.next[lane] += 1;
                moved = true;
            }
        }
    }
}

fn whole(proved: &Proved, places: &Places, random: &mut Random) -> Memory {
    let schedule = proved.schedule();
    let mut memory = inputs(schedule, places, |_| true);
    Lanes::new(schedule).run(random, |_, _| true, |instruction| execute(instruction, places, &mut memory));
    memory
}

/// A device: what it has, and the boundary that it has come to.
struct Device<'a> {
    part: &'a Part,
    lanes: Lanes<'a>,
    memory: Memory,
    boundary: u32,
    has_sent: bool,
}

/// What the model is to get wrong.
#[derive(Clone, Copy, PartialEq)]
enum Broken {
    Nothing,
    /// The so manieth chunk does not arrive.
    Lost(usize),
}

/// The outputs of all ranks, or who did not come to an end.
fn split_run(split: &Split, places: &Places, random: &mut Random, broken: Broken) -> Vec<Vec<Option<u64>>> {
    let schedule = split.whole().schedule();
    let here = |device: usize| move |rank: u32| split.placement().device(rank) == device as u32;
    let mut devices: Vec<Device<'_>> = (0..)
        .zip(split.parts())
        .map(|(device, part)| Device {
            part,
            lanes: Lanes::new(part.proved().schedule()),
            memory: inputs(schedule, places, here(device)),
            boundary: 0,
            has_sent: false,
        })
        .collect();
    let mut mail: HashMap<(usize, usize), VecDeque<Letter>> = HashMap::new();
    let mut chunks = 0;
    loop {
        let able = |device: usize| {
            let Device { part, boundary, has_sent, .. } = &devices[device];
            let arrived = |peer: u32| mail.get(&(peer as usize, device)).is_some_and(|mail| !mail.is_empty());
            *boundary < part.boundaries()
                && (!has_sent || part.receives(*boundary).iter().all(|route| arrived(route.peer)))
        };
        let able: Vec<usize> = (0..devices.len()).filter(|&device| able(device)).collect();
        if able.is_empty() {
            break;
        }
        let now = *random.pick(&able);
        let Device { part, lanes, memory, boundary, has_sent } = &mut devices[now];
        if !std::mem::replace(has_sent, true) {
            for route in part.sends(*boundary) {
                let mut message = Vec::new();
                for Run { at, to, chunks: length, .. } in &route.runs {
                    for k in 0..*length {
                        let value = memory[&(places.of(*at) + k)];
                        let lost = broken == Broken::Lost(chunks);
                        chunks += 1;
                        message.extend(to.iter().filter(|_| !lost).map(|to| (places.of(*to) + k, value)));
                    }
                }
                mail.entry((now, route.peer as usize)).or_default().push_back(message);
            }
            continue;
        }
        for route in part.receives(*boundary) {
            memory.extend(mail.get_mut(&(route.peer as usize, now)).unwrap().pop_front().unwrap());
        }
        let epoch = *boundary;
        lanes.run(
            random,
            |lane, index| part.epoch(lane, index) <= epoch,
            |instruction| execute(instruction, places, memory),
        );
        for (number, (lane, &next)) in (0..).zip(lanes.schedule.lanes.iter().zip(&lanes.next)) {
            let is_over = lane.instructions.len() == next;
            assert!(is_over || part.epoch(number, next as u32) > epoch, "a lane is behind after epoch {epoch}");
        }
        *boundary += 1;
        *has_sent = false;
    }
    for (device, state) in devices.iter().enumerate() {
        assert_eq!(state.boundary, state.part.boundaries(), "device {device} waits for ever");
    }
    assert!(mail.values().all(VecDeque::is_empty), "something was sent that nobody takes");
    let of = |rank: u32| {
        let memory = &devices[split.placement().device(rank) as usize].memory;
        outputs(places, memory, rank)
    };
    (0..schedule.ranks).map(of).collect()
}

fn right(proved: &Proved, places: &Places, random: &mut Random) -> Vec<Vec<Option<u64>>> {
    let (schedule, memory) = (proved.schedule(), whole(proved, places, random));
    (0..schedule.ranks).map(|rank| outputs(places, &memory, rank)).collect()
}

fn random_placement(random: &mut Random, ranks: u32) -> Placement {
    let devices = random.between(1, ranks.min(4));
    loop {
        let of: Vec<u32> = (0..ranks).map(|_| random.below(devices)).collect();
        if let Ok(placement) = Placement::new(of) {
            return placement;
        }
    }
}

/// Random schedules on random devices, in random orders of everything that has no order.
#[test]
fn parts_compute_what_the_whole_does() {
    let cases: u64 = std::env::var("WGCCL_SPLITS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let (mut splits, mut moved, mut epochs) = (0_u64, 0_u64, 0);
    for seed in 0..cases {
        let case = Case::new(seed);
        if case.kind != Kind::Right && seed % 4 != 0 {
            continue;
        }
        let Ok(proved) = prove(case.schedule, Options::default().in_place(case.in_place)) else { continue };
        let random = &mut Random::new(seed, 77);
        let places = Places::new(proved.schedule(), case.in_place);
        let right = right(&proved, &places, random);
        for _ in 0..3 {
            let placement = random_placement(random, proved.schedule().ranks);
            let split = Split::new(&proved, &placement).unwrap();
            let got = split_run(&split, &places, random, Broken::Nothing);
            assert!(got == right, "seed {seed}, {placement}");
            splits += 1;
            moved += chunks_moved(&split);
            epochs = epochs.max(split.epochs());
        }
    }
    println!("{splits} splits, {moved} chunks moved, up to {epochs} epochs");
    assert!(splits > 1000 && moved > splits && epochs > 3);
}

fn chunks_moved(split: &Split) -> u64 {
    let routes = split.parts().iter().flat_map(|part| (0..part.boundaries()).flat_map(|b| part.sends(b)));
    routes.flat_map(|route| &route.runs).map(|run| u64::from(run.chunks)).sum()
}

/// Everything that moves is needed: where one chunk is lost, something goes wrong.
#[test]
fn every_chunk_that_moves_is_needed() {
    let (mut lost, mut harmless) = (0, 0);
    for collective in [Collective::AllReduce, Collective::AllGather, Collective::ReduceScatter, Collective::AllToAll] {
        for algorithm in Algorithm::of(collective) {
            let Ok(schedule) = build(collective, algorithm, 4, SyncStyle::Neighbor) else { continue };
            let proved = prove(schedule, Options::default()).unwrap();
            let places = Places::new(proved.schedule(), false);
            let random = &mut Random::new(1, 5);
            let right = right(&proved, &places, random);
            let split = Split::new(&proved, &Placement::even(4, 2)).unwrap();
            for chunk in 0..chunks_moved(&split) as usize {
                let run = || split_run(&split, &places, random, Broken::Lost(chunk));
                let got = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
                lost += 1;
                harmless += usize::from(got.is_ok_and(|got| got == right));
            }
        }
    }
    assert!(lost > 100 && harmless == 0, "{harmless} of {lost} chunks are not needed");
}

/// Bytes over each link are what the collective needs at least, where the algorithm is made for it.
#[test]
fn what_crosses_is_counted() {
    let bytes = |collective: Collective, algorithm: Algorithm, ranks: u32, devices: u32| {
        let placement = Placement::even(ranks, devices);
        let mut recipe = Recipe::new(collective, ranks).algorithm(algorithm);
        if algorithm.has_groups() {
            recipe = recipe.groups(placement.groups().unwrap());
        }
        let proved = prove(recipe.build().unwrap(), Options::default()).unwrap();
        let split = Split::new(&proved, &placement).unwrap();
        let payload = proved.payload(1 << 10, DataType::F32).unwrap();
        (split.bytes(0, 1, &payload), split.bytes(1, 0, &payload), split.epochs())
    };
    let payload = 4 << 10;
    for (collective, algorithm, ranks, expected) in [
        // A ring has one edge each way: reduce-scatter and all-gather each bring 7 of 8 chunks over it.
        (Collective::AllReduce, Algorithm::Ring, 8, (payload * 14 / 8, payload * 14 / 8)),
        // Half of the payload is reduced on either side, and the other half's result comes back, once and not once a rank.
        (Collective::AllReduce, Algorithm::Hierarchical, 8, (payload, payload)),
        (Collective::AllReduce, Algorithm::HierarchicalTwoPhase, 8, (payload, payload)),
        // Both groups take the other's sum.
        (Collective::AllReduce, Algorithm::HierarchicalOnePhase, 8, (payload, payload)),
        (Collective::AllGather, Algorithm::Mesh, 8, (payload * 4, payload * 4)),
        (Collective::AllReduce, Algorithm::Direct, 2, (payload, payload)),
    ] {
        let (there, back, epochs) = bytes(collective, algorithm, ranks, 2);
        assert_eq!((there, back), expected, "{collective} {algorithm}: {epochs} epochs");
    }
}

#[test]
fn a_placement_of_other_ranks_is_refused() {
    let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap();
    let proved = prove(schedule, Options::default()).unwrap();
    let error = Split::new(&proved, &Placement::even(5, 2)).unwrap_err();
    assert!(error.to_string().contains("5 ranks and the schedule of 4"), "{error}");
}
