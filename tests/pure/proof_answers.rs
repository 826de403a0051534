//! Why, what orders two, what goes wrong: every answer about every mutant is held against a plain replay of the schedule.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wgccl::collective::Collective;
use wgccl::low_level::{AddressMap, Node, Term, Terms};
use wgccl::proof::{
    AccessKind, Between, Edge, Effect, End, Harmless, How, Interleaving, Options, Order, Over, Proof, Reason, Run, Why,
    Yields, check, prove,
};
use wgccl::schedule::{Address, Algorithm, Buffer, Edit, Instruction, Lane, Schedule, Signal, Site, SyncStyle, build};

use crate::common::oracle::truth;
use crate::common::{Variant, other_variants, variants};

/// What a place holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Unwritten,
    Input(u32, u32),
    Sum(Box<Value>, Box<Value>),
}

impl Value {
    fn leaves(&self, each: &mut impl FnMut(Option<(u32, u32)>)) {
        match self {
            Self::Unwritten => each(None),
            Self::Input(rank, chunk) => each(Some((*rank, *chunk))),
            Self::Sum(a, b) => {
                a.leaves(each);
                b.leaves(each);
            }
        }
    }

    /// As expressions are written: with the chunks of contributions, and without them if they are all the same.
    fn written(&self) -> Vec<String> {
        fn text(value: &Value, within: bool, chunks: bool) -> String {
            match value {
                Value::Unwritten => "?".to_owned(),
                Value::Input(rank, chunk) if chunks => format!("in[{rank}][{chunk}]"),
                Value::Input(rank, _) => format!("in[{rank}]"),
                Value::Sum(a, b) => {
                    let sum = format!("{} + {}", text(a, true, chunks), text(b, true, chunks));
                    if within { format!("({sum})") } else { sum }
                }
            }
        }
        let mut all = BTreeSet::new();
        self.leaves(&mut |leaf| all.extend(leaf.map(|(_, chunk)| chunk)));
        let long = text(self, false, true);
        if all.len() > 1 { vec![long] } else { vec![text(self, false, false), long] }
    }
}

/// Instructions, executed one after the other, each as a whole.
struct Replay<'s> {
    schedule: &'s Schedule,
    map: AddressMap,
    held: BTreeMap<usize, Value>,
    next: Vec<usize>,
    signals: HashMap<Signal, u32>,
}

impl<'s> Replay<'s> {
    fn new(schedule: &'s Schedule, options: Options) -> Self {
        let map = AddressMap::new(schedule, options.in_place).unwrap();
        let mut held = BTreeMap::new();
        for rank in 0..schedule.ranks {
            for chunk in 0..schedule.buffer_chunks(Buffer::Input, rank) {
                held.insert(map.index(Address::input(rank, chunk)), Value::Input(rank, chunk));
            }
        }
        Self { schedule, map, held, next: vec![0; schedule.lanes.len()], signals: HashMap::new() }
    }

    fn at(&self, address: Address) -> Value {
        self.held.get(&self.map.index(address)).cloned().unwrap_or(Value::Unwritten)
    }

    fn can(&self, lane: usize) -> bool {
        let Lane { rank, instructions, .. } = &self.schedule.lanes[lane];
        let Some(instruction) = instructions.get(self.next[lane]) else { return false };
        instruction.waits.iter().all(|wait| {
            let signal = Signal { rank: *rank, row: wait.row, sender: wait.sender };
            self.signals.get(&signal).copied().unwrap_or(0) >= wait.at_least
        })
    }

    /// The next instruction of the lane, which must be able to run.
    fn step(&mut self, lane: usize) {
        assert!(self.can(lane), "lane {lane} cannot run");
        let Lane { rank, instructions, .. } = &self.schedule.lanes[lane];
        let instruction = &instructions[self.next[lane]];
        self.next[lane] += 1;
        let nth = |address: Address, k| Address { chunk: address.chunk + k, ..address };
        if !instruction.from.is_empty() {
            for k in 0..instruction.chunks {
                let operands = instruction.from.iter().map(|&from| self.at(nth(from, k)));
                let value = operands.reduce(|a, b| Value::Sum(a.into(), b.into())).unwrap();
                for &to in &instruction.to {
                    self.held.insert(self.map.index(nth(to, k)), value.clone());
                }
            }
        }
        for notify in &instruction.notifies {
            *self.signals.entry(Signal { rank: notify.peer, row: notify.row, sender: *rank }).or_insert(0) += 1;
        }
    }

    fn is_next(&self, site: &Site) -> bool {
        self.next[site.lane as usize] == site.instruction as usize
    }

    /// Runs these, each of which must be the next of its lane.
    fn run<'a>(&mut self, sites: impl IntoIterator<Item = &'a Site>) {
        for site in sites {
            assert!(self.is_next(site), "{site} is not the next");
            self.step(site.lane as usize);
        }
    }

    /// As far as it goes; calls `each` before every instruction.
    fn finish(&mut self, mut each: impl FnMut(&Self, usize)) {
        while let Some(lane) = (0..self.next.len()).find(|&lane| self.can(lane)) {
            each(self, lane);
            self.step(lane);
        }
    }
}

fn instruction<'s>(schedule: &'s Schedule, site: &Site) -> &'s Instruction {
    let instruction = &schedule.lanes[site.lane as usize].instructions[site.instruction as usize];
    assert_eq!((schedule.lanes[site.lane as usize].rank, &instruction.label), (site.rank, &site.label));
    instruction
}

fn chunks<'a>(addresses: &'a [Address], instruction: &Instruction) -> impl Iterator<Item = Address> + use<'a> {
    let length = instruction.chunks;
    addresses.iter().flat_map(move |&a| (0..length).map(move |k| Address { chunk: a.chunk + k, ..a }))
}

/// What the chain says, followed to the end.
fn value_of(why: &Why, at: u32) -> Value {
    let made = &why.made[at as usize];
    match (made.input, &made.by) {
        (Some(input), _) => Value::Input(input.rank, input.chunk),
        (None, None) => Value::Unwritten,
        _ => {
            let operands = made.from.iter().map(|&from| value_of(why, from));
            operands.reduce(|a, b| Value::Sum(a.into(), b.into())).unwrap()
        }
    }
}

/// A chain of edges that exist, from one instruction to the other.
fn check_chain(schedule: &Schedule, first: &Site, then: &Site, chain: &[Edge]) {
    assert_eq!((&chain[0].from, &chain.last().unwrap().to), (first, then));
    assert!(chain.windows(2).all(|pair| pair[0].to == pair[1].from));
    let notifies = chain.iter().filter(|edge| edge.signal.is_some()).count();
    assert_eq!(notifies, fewest(schedule, first, then), "{first}, {then}");
    for Edge { from, to, signal, .. } in chain {
        match signal {
            None => assert!(from.lane == to.lane && from.instruction < to.instruction),
            Some(Signal { rank, row, sender }) => {
                let sent = instruction(schedule, from).notifies.iter().any(|n| (n.peer, n.row) == (*rank, *row));
                let awaited = instruction(schedule, to).waits.iter().any(|w| (w.row, w.sender) == (*row, *sender));
                assert!(sent && awaited && from.rank == *sender && to.rank == *rank);
            }
        }
    }
}

/// The fewest notifies on a way from one instruction to another.
fn fewest(schedule: &Schedule, first: &Site, then: &Site) -> usize {
    let mut notifiers = HashMap::<Signal, Vec<(usize, usize)>>::new();
    for (l, lane) in schedule.lanes.iter().enumerate() {
        for (i, instruction) in lane.instructions.iter().enumerate() {
            for notify in &instruction.notifies {
                let signal = Signal { rank: notify.peer, row: notify.row, sender: lane.rank };
                notifiers.entry(signal).or_default().push((l, i));
            }
        }
    }
    let mut hops = HashMap::from([((first.lane as usize, first.instruction as usize), 0)]);
    loop {
        let mut nearer = Vec::new();
        for (l, lane) in schedule.lanes.iter().enumerate() {
            for (i, instruction) in lane.instructions.iter().enumerate() {
                let before = i.checked_sub(1).and_then(|i| hops.get(&(l, i))).copied();
                let waits = instruction.waits.iter().flat_map(|wait| {
                    let signal = Signal { rank: lane.rank, row: wait.row, sender: wait.sender };
                    let all = &notifiers[&signal];
                    let of_one_lane = all.iter().all(|(l, _)| *l == all[0].0);
                    let n = wait.at_least as usize;
                    let sources = match of_one_lane {
                        true => &all[n - 1..n],
                        false => {
                            if n == all.len() {
                                &all[..]
                            } else {
                                &[]
                            }
                        }
                    };
                    sources.iter().filter_map(|source| hops.get(source)).map(|hops| hops + 1)
                });
                let least = before.into_iter().chain(waits).min();
                if let Some(least) = least.filter(|least| hops.get(&(l, i)).is_none_or(|hops| least < hops)) {
                    nearer.push(((l, i), least));
                }
            }
        }
        if nearer.is_empty() {
            return hops[&(then.lane as usize, then.instruction as usize)];
        }
        hops.extend(nearer);
    }
}

/// All that must run before an instruction, with a chain or without: whether `then` can run where `first` is held back.
fn needs(schedule: &Schedule, options: Options, then: &Site, first: &Site) -> bool {
    let mut replay = Replay::new(schedule, options);
    while let Some(lane) =
        (0..replay.next.len()).find(|&lane| replay.can(lane) && !(lane == first.lane as usize && replay.is_next(first)))
    {
        replay.step(lane);
    }
    replay.next[then.lane as usize] <= then.instruction as usize
}

fn check_between(schedule: &Schedule, options: Options, between: &Between) {
    let Between { a, b, order, shared, .. } = between;
    let needs = |then, first| needs(schedule, options, then, first);
    match order {
        Order::Before { chain } => {
            assert!(needs(b, a));
            check_chain(schedule, a, b, chain);
        }
        Order::After { chain } => {
            assert!(needs(a, b));
            check_chain(schedule, b, a, chain);
        }
        Order::Both { .. } | Order::NeverRun { .. } => panic!("it runs"),
        Order::Unordered { before } => {
            for [first, then] in [[a, b], [b, a]] {
                let mut replay = Replay::new(schedule, options);
                replay.run(before.iter().chain([first, then]));
            }
            // Nothing of it is for nothing.
            assert!(before.iter().all(|site| needs(a, site) || needs(b, site)));
        }
        _ => panic!("{order:?}"),
    }
    let map = AddressMap::new(schedule, options.in_place).unwrap();
    let places = |site: &Site, writes: bool| -> BTreeSet<usize> {
        let instruction = instruction(schedule, site);
        let of = if writes { &instruction.to[..] } else { &instruction.from[..] };
        chunks(of, instruction).map(|address| map.index(address)).collect()
    };
    let [reads_a, reads_b] = [a, b].map(|site| places(site, false));
    let [writes_a, writes_b] = [a, b].map(|site| places(site, true));
    let touches = |reads: &BTreeSet<usize>, writes: &BTreeSet<usize>| reads.union(writes).copied().collect();
    let (all_a, all_b): (BTreeSet<usize>, BTreeSet<usize>) =
        (touches(&reads_a, &writes_a), touches(&reads_b, &writes_b));
    let both: BTreeSet<usize> =
        all_a.intersection(&all_b).copied().filter(|p| writes_a.contains(p) || writes_b.contains(p)).collect();
    assert_eq!(shared.as_ref().map_or(0, |shared| shared.places), both.len(), "{between}");
    let Some(shared) = shared else { return };
    let place = map.index(shared.place);
    assert!(both.contains(&place));
    let access =
        |reads: &BTreeSet<usize>, writes: &BTreeSet<usize>| match (reads.contains(&place), writes.contains(&place)) {
            (true, true) => AccessKind::Updates,
            (false, true) => AccessKind::Writes,
            _ => AccessKind::Reads,
        };
    assert_eq!((shared.a, shared.b), (access(&reads_a, &writes_a), access(&reads_b, &writes_b)));
    let Order::Unordered { before } = order else {
        assert_eq!(shared.race, None);
        return;
    };
    let Yields { a_first, b_first, .. } = shared.race.as_ref().unwrap();
    for ([first, then], access, yields) in
        [([a, b], [shared.a, shared.b], a_first), ([b, a], [shared.b, shared.a], b_first)]
    {
        let value = yielded(schedule, options, before, first, then, access, shared.place);
        assert!(value.written().contains(yields), "{yields}, not {value:?}\n{between}");
    }
}

/// What is read at `place`, or left there if both write.
fn yielded(
    schedule: &Schedule,
    options: Options,
    before: &[Site],
    first: &Site,
    then: &Site,
    access: [AccessKind; 2],
    place: Address,
) -> Value {
    let mut replay = Replay::new(schedule, options);
    replay.run(before);
    for (site, access) in [first, then].into_iter().zip(access) {
        if access == AccessKind::Reads {
            return replay.at(place);
        }
        replay.run([site]);
    }
    replay.at(place)
}

fn check_interleaving(schedule: &Schedule, options: Options, told: &Interleaving, races: usize) {
    let Over::Chunk { place, first, second, .. } = told.over else {
        assert!(told.to_string().contains("zeroes its signals"));
        return;
    };
    let value = yielded(schedule, options, &told.before, &told.first, &told.second, [first, second], place);
    let meant = yielded(schedule, options, &told.before, &told.second, &told.first, [second, first], place);
    assert!(value.written().contains(&told.yields), "{told}\n{value:?}");
    assert!(meant.written().contains(&told.meant), "{told}\n{meant:?}");
    // They are wrong in the end, and would not be. Other races would leave that open.
    if races > 1 {
        return;
    }
    let ends = [[&told.first, &told.second], [&told.second, &told.first]].map(|pair| {
        let mut replay = Replay::new(schedule, options);
        replay.run(told.before.iter().chain(pair));
        replay.finish(|_, _| ());
        let right = |place| is_right(schedule, place, &replay.at(place));
        let outputs = (0..schedule.ranks).flat_map(|rank| (0..schedule.chunks).map(move |c| Address::output(rank, c)));
        (
            told.wrong.iter().map(|&place| right(place)).collect::<Vec<_>>(),
            outputs.filter(|&place| !right(place)).count(),
        )
    });
    // Of the two it is the one that goes wrong.
    assert!(ends[0].1 >= ends[1].1, "{told}\n{ends:?}");
    let ends = ends.map(|(right, _)| right);
    assert!(ends[0].iter().all(|right| !right) && ends[1].iter().all(|right| *right), "{told}\n{ends:?}");
}

/// Only of all-reduce, whose outputs hold every rank's contribution of their own chunk.
fn is_right(schedule: &Schedule, place: Address, value: &Value) -> bool {
    let mut leaves = Vec::new();
    value.leaves(&mut |leaf| leaves.push(leaf));
    leaves.sort_unstable();
    leaves == (0..schedule.ranks).map(|rank| Some((rank, place.chunk))).collect::<Vec<_>>()
}

/// What is told of a wrong chunk happened.
fn check_why(schedule: &Schedule, options: Options, why: &Why) {
    let mut replay = Replay::new(schedule, options);
    replay.finish(|_, _| ());
    let value = replay.at(why.place);
    assert_eq!(value_of(why, 0), value, "{why}");
    assert!(value.written().contains(&why.expression), "{why}\n{value:?}");
    let mut times = vec![0; schedule.ranks as usize];
    value.leaves(&mut |leaf| {
        if let Some((rank, _)) = leaf.filter(|&(_, chunk)| chunk == why.place.chunk) {
            times[rank as usize] += 1;
        }
    });
    let those = |wanted: fn(u32) -> bool| -> Vec<u32> {
        (0..schedule.ranks).filter(|&rank| wanted(times[rank as usize])).collect()
    };
    assert_eq!((&why.lacks, &why.twice), (&those(|n| n == 0), &those(|n| n > 1)), "{why}");
    assert_eq!(why.ok(), is_right(schedule, why.place, &value), "{why}");
    let mut lost: Vec<u32> = why.lost.iter().flat_map(|lost| lost.ranks.iter().copied()).collect();
    lost.sort_unstable();
    assert_eq!(lost, why.lacks, "{why}");
    for told in &why.lost {
        assert!(!told.ends.is_empty(), "{why}");
        for end in &told.ends {
            told.ranks.iter().for_each(|&rank| check_end(schedule, options, why, rank, end));
        }
    }
}

/// The value was there, held the contribution, and ended as is said.
fn check_end(schedule: &Schedule, options: Options, why: &Why, rank: u32, end: &End) {
    let map = AddressMap::new(schedule, options.in_place).unwrap();
    let mut left: BTreeSet<usize> = end.places.iter().map(|&place| map.index(place)).collect();
    let mut written = end.made_by.is_none();
    // Of those that nothing orders either may be told.
    let (mut mixed, mut overwritten, mut early) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut replay = Replay::new(schedule, options);
    let mut see = |replay: &Replay<'_>, lane: usize| {
        let site = Site::at(schedule, lane as u32, replay.next[lane] as u32).unwrap();
        let i = instruction(schedule, &site);
        let reads = chunks(&i.from, i).any(|from| left.contains(&map.index(from)));
        if !written {
            if reads {
                early.insert(site.to_string());
            }
            written = end.made_by.as_ref() == Some(&site);
            return;
        }
        if reads {
            // Only together with another chunk.
            let mut of = BTreeSet::new();
            for from in chunks(&i.from, i) {
                replay.at(from).leaves(&mut |leaf| of.extend(leaf.map(|(_, chunk)| chunk)));
            }
            assert!(of.len() > 1, "{site} reads it: {end}");
            mixed.push(site.clone());
        }
        if i.from.is_empty() {
            return;
        }
        for to in chunks(&i.to, i) {
            if left.remove(&map.index(to)) {
                overwritten.push(site.clone());
            }
        }
    };
    let mut held = None;
    while let Some(lane) = (0..replay.next.len()).find(|&lane| replay.can(lane)) {
        let site = Site::at(schedule, lane as u32, replay.next[lane] as u32).unwrap();
        if held.is_none() && end.made_by.is_none() {
            held = Some(replay.at(end.places[0]));
        }
        see(&replay, lane);
        replay.step(lane);
        if end.made_by.as_ref() == Some(&site) {
            held = Some(replay.at(end.places[0]));
        }
    }
    let mut holds = false;
    held.unwrap().leaves(&mut |leaf| holds |= leaf == Some((rank, why.place.chunk)));
    assert!(holds, "{end} did not hold rank {rank}'s\n{why}");
    assert_eq!(
        (mixed.is_empty(), left.is_empty()),
        (end.mixed_by.is_none(), end.overwritten_by.is_some()),
        "{end}\n{why}"
    );
    assert!(end.mixed_by.iter().all(|site| mixed.contains(site)), "{end}\n{why}");
    assert!(end.overwritten_by.iter().all(|site| overwritten.contains(site)), "{end}\n{why}");
    let Some(missed) = &end.missed_by else { return };
    assert_eq!(*missed.reads, *instruction(schedule, &missed.site).from);
    let made = why.made.iter().any(|made| made.by.as_ref() == Some(&missed.site));
    match missed.how {
        How::TooEarly => assert!(made && early.contains(&missed.site.to_string()), "{end}"),
        How::Elsewhere => assert!(made, "{end}"),
        How::NeverRan => assert!(replay.next[missed.site.lane as usize] <= missed.site.instruction as usize, "{end}"),
        _ => panic!("{end}"),
    }
}

fn check_harmless(before: &Schedule, after: &Schedule, options: Options, harmless: &Harmless) {
    for reason in &harmless.reasons {
        match reason {
            Reason::Implied { first, then, chain } => {
                assert!(needs(after, options, then, first), "{harmless}");
                check_chain(after, first, then, chain);
            }
            Reason::Unneeded { first, then } => assert!(!needs(after, options, then, first), "{harmless}"),
            Reason::SameValue { site, was, now, .. } => {
                let found = [(before, was), (after, now)].map(|(schedule, &place)| {
                    let (mut replay, mut found) = (Replay::new(schedule, options), None);
                    replay.finish(|replay, lane| {
                        if lane == site.lane as usize && replay.is_next(site) {
                            found = Some(sorted(&replay.at(place)));
                        }
                    });
                    found.unwrap()
                });
                assert_eq!(found[0], found[1], "{harmless}");
            }
            _ => {}
        }
    }
}

/// A value in which it does not matter which operand comes first.
fn sorted(value: &Value) -> String {
    match value {
        Value::Sum(a, b) => {
            let mut both = [sorted(a), sorted(b)];
            both.sort();
            format!("({} + {})", both[0], both[1])
        }
        _ => format!("{value:?}"),
    }
}

/// Every edit of every algorithm: what a launch would do is what brute force says, and all that is told of it is true.
fn sweep(variants: impl IntoIterator<Item = Variant>, every: usize) {
    let mut seen = BTreeMap::<&str, u32>::new();
    for variant in variants {
        let (schedule, options) = (variant.schedule(), variant.options());
        for edit in Edit::all(&schedule).into_iter().step_by(every) {
            let edited = edit.apply(&schedule).unwrap();
            let truth = truth(&edited, variant.nccl(), variant.in_place);
            let effect = Effect::of(&edited, options);
            let name = format!("{variant}, {edit}: {truth:?}\n{effect}");
            let kind = match &effect {
                Effect::Right => "right",
                Effect::RightButRefused { .. } => "right, but refused",
                Effect::Impossible { .. } => "impossible",
                Effect::Hangs { .. } => "hangs",
                Effect::MayHang { .. } => "may hang",
                Effect::MayBeWrong { .. } => "may be wrong",
                Effect::Wrong { .. } => "wrong",
                _ => panic!("{name}"),
            };
            *seen.entry(kind).or_default() += 1;
            let expected = match () {
                () if truth.malformed => "impossible",
                () if truth.deadlock => "hangs",
                () if truth.erases => "may hang",
                () if truth.race => "may be wrong",
                () if truth.wrong => "wrong",
                () if check(&edited, options).ok() => "right",
                () => "right, but refused",
            };
            assert_eq!(kind, expected, "{name}");
            let harmless = Harmless::of(&schedule, edit, options).unwrap();
            assert_eq!(harmless.is_some(), kind == "right", "{name}");
            if let Some(harmless) = &harmless {
                assert!(!harmless.reasons.is_empty(), "{name}");
                check_harmless(&schedule, &edited, options, harmless);
            }
            let Ok(run) = Run::of(&edited, options) else { continue };
            let report = check(&edited, options);
            let races = report.outcome(Proof::RaceFree).unwrap();
            for finding in &races.findings {
                let told = run.interleaving(finding).unwrap_or_else(|| panic!("{name}\n{finding}"));
                check_interleaving(&edited, options, &told, races.count);
                if finding.signal.is_none() {
                    let between = run.between(finding.site.as_ref().unwrap(), &finding.with[0]).unwrap();
                    assert!(between.shared.as_ref().is_some_and(|shared| shared.race.is_some()), "{name}\n{between}");
                    check_between(&edited, options, &between);
                }
            }
            // A race leaves it open which run it was; of a schedule that hangs nobody knows whether there is one, but where it
            // only lacks a notify.
            if truth.race || truth.erases || truth.deadlock && !matches!(edit, Edit::DropNotify(..)) {
                continue;
            }
            for rank in 0..schedule.ranks {
                for chunk in 0..schedule.chunks {
                    check_why(&edited, options, &run.why(Address::output(rank, chunk)).unwrap());
                }
            }
        }
    }
    println!("{seen:?}");
    assert!(
        ["right", "right, but refused", "hangs", "may hang", "may be wrong", "wrong"]
            .iter()
            .all(|kind| seen.contains_key(kind))
    );
}

#[test]
fn answers_about_mutants_of_three_ranks_are_true() {
    sweep(variants([2, 3]), 1);
}

#[test]
fn answers_about_mutants_of_four_ranks_are_true() {
    sweep(variants([4]), 7);
}

/// Every pair of instructions of every algorithm.
#[test]
fn what_orders_two_is_true() {
    let all = variants([3]).into_iter().chain(variants([4]).into_iter().step_by(5));
    for variant in all.chain(other_variants([3]).into_iter().filter(|variant| variant.root == 1)) {
        let (schedule, options) = (variant.schedule(), variant.options());
        let proved = prove(schedule, options).unwrap();
        let schedule = proved.schedule();
        let lanes = (0..).zip(&schedule.lanes);
        let sites: Vec<Site> = lanes
            .flat_map(|(l, lane)| (0..lane.instructions.len() as u32).map(move |i| (l, i)))
            .map(|(l, i)| Site::at(schedule, l, i).unwrap())
            .collect();
        for (n, a) in sites.iter().enumerate() {
            for b in sites.iter().skip(n % 3).step_by(3).filter(|&b| a != b) {
                let between = proved.between(a, b).unwrap();
                check_between(schedule, options, &between);
                // What is proved has no races.
                assert!(between.shared.as_ref().is_none_or(|shared| shared.race.is_none()), "{variant}\n{between}");
            }
        }
    }
}

/// The exact order of additions is that of the trees which golden and executors use.
#[test]
fn expressions_are_the_trees_of_the_proof() {
    fn tree(terms: &Terms, term: Term) -> Value {
        match terms.node(term) {
            Node::Input { rank, chunk } => Value::Input(rank, chunk),
            Node::Reduce(a, b) => Value::Sum(tree(terms, a).into(), tree(terms, b).into()),
            _ => Value::Unwritten,
        }
    }
    for variant in variants(2..=9).into_iter().chain(other_variants(2..=4)) {
        let proved = prove(variant.schedule(), variant.options()).unwrap();
        let schedule = proved.schedule();
        for rank in 0..schedule.ranks {
            for chunk in 0..schedule.buffer_chunks(Buffer::Output, rank) {
                let why = proved.why(Address::output(rank, chunk)).unwrap();
                let expected = tree(proved.terms(), proved.terms().output(rank, chunk));
                assert_eq!(sorted(&value_of(&why, 0)), sorted(&expected), "{variant}\n{why}");
                assert!(why.ok() && why.lost.is_empty() && why.never_ran == 0, "{variant}\n{why}");
                assert!(value_of(&why, 0).written().contains(&why.expression), "{variant}\n{why}");
            }
        }
    }
}

fn ring(ranks: u32) -> Schedule {
    build(Collective::AllReduce, Algorithm::Ring, ranks, SyncStyle::Neighbor).unwrap()
}

fn broken(edit: &str) -> Schedule {
    Edit::parse(edit, &ring(4)).unwrap().apply(&ring(4)).unwrap()
}

#[test]
fn a_chain_reads_from_the_chunk_down_to_inputs() {
    let options = Options::default();
    let why = prove(ring(4), options).unwrap().why(Address::output(0, 2)).unwrap();
    assert_eq!(
        why.to_string(),
        "rank 0 output[2] = ((in[3] + in[0]) + in[1]) + in[2]\n\
         in[r]: chunk 2 of rank r's input\n  \
         rank 0 output[2] = rank 3 output[2]        rank 0 AG round 2 (lane 0, instruction 4)\n  \
         rank 3 output[2] = rank 2 output[2]        rank 3 AG round 1 (lane 3, instruction 3)\n  \
         rank 2 output[2] = rank 1 slot[2] + in[2]  rank 2 RS round 3 (lane 2, instruction 2)\n  \
         rank 1 slot[2] = rank 0 slot[2] + in[1]    rank 1 RS round 2 (lane 1, instruction 1)\n  \
         rank 0 slot[2] = in[3] + in[0]             rank 0 RS round 1 (lane 0, instruction 0)"
    );
    // Two that are added are shown below their sum, further to the right.
    let tree = build(Collective::AllReduce, Algorithm::HalvingDoubling, 4, SyncStyle::Neighbor).unwrap();
    let text = prove(tree, options).unwrap().why(Address::output(0, 2)).unwrap().to_string();
    assert!(text.starts_with("rank 0 output[2] = (in[2] + in[0]) + (in[3] + in[1])\n"), "{text}");
    assert!(
        text.contains("\n  rank 2 output[2] = ") && text.contains("\n    rank 3 output[2] = in[3] + in[1] "),
        "{text}"
    );
    // However long, a reader sees so much of it.
    let text = prove(ring(64), options).unwrap().why(Address::output(0, 2)).unwrap().to_string();
    assert_eq!((text.lines().count(), text.ends_with("\n  and 65 more")), (63, true), "{text}");
    assert!(text.lines().next().unwrap().len() < 1000);

    let json = serde_json::to_value(&why).unwrap();
    assert_eq!(json["expression"], "((in[3] + in[0]) + in[1]) + in[2]");
    assert_eq!(json["made"][0]["place"], "rank 0 output[2]");
    assert_eq!(json["made"][0]["by"]["label"], "AG round 2");
    assert_eq!((&json["lacks"], &json["chunk"]), (&serde_json::json!([]), &2.into()));
}

#[test]
fn what_a_chunk_lacks_is_followed_to_where_it_was_lost() {
    let absent = |address| Run::of(&ring(4), Options::default()).unwrap().why(address).unwrap_err().to_string();
    assert_eq!(absent(Address::output(4, 0)), "rank 4 output[0] does not exist: there are ranks 0 to 3");
    assert_eq!(absent(Address::output(0, 4)), "rank 0 output[4] does not exist: rank 0's output has chunks 0 to 3");
    for (edit, place, says) in [
        // It reads the next slot, which nobody has written.
        (
            "shift-read:1.1:0",
            "0:2",
            &[
                "rank 0 output[2] = (? + in[1]) + in[2]",
                "rank 1 slot[2] = rank 0 slot[3] (never written) + in[1]  rank 1 RS round 2 (lane 1, instruction 1)",
                "it lacks the contribution of rank 0, 3\nit is made of memory that nobody wrote",
                "the contributions of rank 0, 3 ended in\n  rank 0 slot[2], made by rank 0 RS round 1 (lane 0, \
                 instruction 0): nobody read it; rank 1 RS round 2 (lane 1, instruction 1) reads rank 0 slot[3] + rank 1 \
                 input[2]",
            ][..],
        ),
        (
            "shift-read:0.0:1",
            "3:2",
            &[
                "rank 3 output[2] = ((in[3][2] + in[0][3]) + in[1][2]) + in[2][2]",
                "in[r][c]: chunk c of rank r's input",
                "it holds what does not belong there: rank 0 input[3]",
                "the contribution of rank 0 ended in\n  rank 0 input[2]: nobody read it; rank 0 RS round 1 (lane 0, \
                 instruction 0) reads rank 3 input[2] + rank 0 input[3]",
            ],
        ),
        (
            "shift-write:1.1:0",
            "0:2",
            &[
                "rank 1 slot[3], made by rank 1 RS round 2 (lane 1, instruction 1): added to another chunk by rank 2 RS round 2",
            ],
        ),
        (
            "next-rank-read:0.4:0",
            "0:2",
            &[
                "rank 3 output[2], made by rank 3 AG round 1 (lane 3, instruction 3): it arrived there, and nobody read it; \
                 rank 0 AG round 2 (lane 0, instruction 4) reads rank 0 output[2]",
            ],
        ),
        (
            "drop-notify:0.1:0",
            "1:1",
            &[
                "rank 0 slot[1], made by rank 0 RS round 2 (lane 0, instruction 1): nobody read it; rank 1 RS round 3 (lane \
                 1, instruction 2) would have, but never ran",
                "\n10 instructions never ran",
            ],
        ),
    ] {
        let schedule = broken(edit);
        let run = Run::of(&schedule, Options::default()).unwrap();
        let told = run.why(schedule.place(place).unwrap()).unwrap().to_string();
        says.iter().for_each(|says| assert!(told.contains(says), "{edit}: no '{says}' in\n{told}"));
    }
    // Read before it is written, and overwritten before it is read.
    let step = || Instruction::new("move");
    let (slot, out) = (Address::slot(0, 0), Address::output(0, 0));
    let one = |first: Instruction, second: Instruction| {
        let other = step().reduce(Address::input(0, 0), Address::input(1, 0)).to(Address::output(1, 0));
        Schedule::new("by hand", Collective::AllReduce, 2, 1)
            .slots(1)
            .lane(Lane::new(0).with(step().copy(Address::input(0, 0)).to(slot)).with(first).with(second))
            .lane(Lane::new(1).with(other))
    };
    let fetch = || step().copy(Address::input(1, 0)).to(slot);
    let add = || step().reduce(Address::input(0, 0), slot).to(out);
    for (schedule, says) in [
        (
            one(add(), fetch()),
            "made by rank 0 move (lane 0, instruction 2): nobody read it; rank 0 move (lane 0, instruction 1) read that place too early",
        ),
        (
            one(fetch(), step().copy(slot).to(out)),
            "the contribution of rank 0 ended in\n  rank 0 slot[0], made by rank 0 move (lane 0, instruction 0): overwritten by \
             rank 0 move (lane 0, instruction 1) before anybody read it",
        ),
    ] {
        let told = Run::of(&schedule, Options::default()).unwrap().why(out).unwrap().to_string();
        assert!(told.contains(says), "no '{says}' in\n{told}");
    }
}

#[test]
fn what_orders_two_is_told_by_edges_or_by_a_run() {
    let step = || Instruction::new("move");
    let turn = (0..2).fold(Schedule::new("turn", Collective::AllReduce, 2, 1).signal_rows(1), |schedule, rank| {
        schedule.lane(Lane::new(rank).with(step().wait(0, 1 - rank)).with(step().notify(1 - rank, 0)))
    });
    // Either of two notifies will do, and both come after the first instruction.
    let either = {
        let tell = || Lane::new(0).with(step().wait(0, 0)).with(step().notify(1, 1));
        Schedule::new("either", Collective::AllReduce, 2, 1)
            .signal_rows(2)
            .lane(Lane::new(0).with(step().notify(0, 0)))
            .lane(tell())
            .lane(tell())
            .lane(Lane::new(1).with(step().wait(1, 0)))
    };
    // One notify and a long way in the lane, or two and a short one.
    let long = {
        let mut lane = Lane::new(1).with(step().wait(0, 0));
        (0..8).for_each(|_| lane.push(step()));
        Schedule::new("long", Collective::AllReduce, 2, 1)
            .signal_rows(3)
            .lane(Lane::new(0).with(step().notify(1, 0).notify(0, 1)))
            .lane(Lane::new(0).with(step().wait(1, 0).notify(1, 2)))
            .lane(lane.with(step().wait(2, 0)).with(step()))
    };
    let (plain, racing) = (ring(4), broken("drop-wait:1.2:0"));
    for (schedule, a, b, says) in [
        (
            &plain,
            "0.0",
            "3.3",
            "rank 0 RS round 1 (lane 0, instruction 0) comes before rank 3 AG round 1 (lane 3, instruction 3):\n  \
             rank 0 RS round 1 (lane 0, instruction 0) notifies signal [row 1][sender 0] of rank 1, for which rank 1 RS round 2 \
             (lane 1, instruction 1) waits\n  \
             rank 1 RS round 2 (lane 1, instruction 1) notifies signal [row 2][sender 1] of rank 2, for which rank 2 RS round 3 \
             (lane 2, instruction 2) waits\n  \
             rank 2 RS round 3 (lane 2, instruction 2) notifies signal [row 3][sender 2] of rank 3, for which rank 3 AG round 1 \
             (lane 3, instruction 3) waits\n\
             they touch no chunk in common of which one writes",
        ),
        (
            &plain,
            "1.5",
            "1.1",
            "rank 1 RS round 2 (lane 1, instruction 1) comes before rank 1 AG round 3 (lane 1, instruction 5):\n  \
             rank 1 RS round 2 (lane 1, instruction 1) stands before rank 1 AG round 3 (lane 1, instruction 5) in its lane\nthey",
        ),
        (
            &plain,
            "0.1",
            "2.1",
            "nothing orders rank 0 RS round 2 (lane 0, instruction 1) and rank 2 RS round 2 (lane 2, instruction 1): either may \
             come first\n  once these have run:\n  rank 0 RS round 1 (lane 0, instruction 0)\n",
        ),
        (
            &plain,
            "0.1",
            "1.2",
            "\nrank 0 RS round 2 (lane 0, instruction 1) writes rank 0 slot[1], and rank 1 RS round 3 (lane 1, instruction 2) reads it",
        ),
        (
            &racing,
            "0.1",
            "1.2",
            "reads it: a race\n  with rank 0 RS round 2 (lane 0, instruction 1) first, (in[2] + in[3]) + in[0] is read\n  with \
             rank 1 RS round 3 (lane 1, instruction 2) first, ? is read",
        ),
        (
            &turn,
            "0.0",
            "1.0",
            "rank 0 move (lane 0, instruction 0) and rank 1 move (lane 1, instruction 0) wait for each other, so neither runs:\n  \
             rank 0 move (lane 0, instruction 0) stands before rank 0 move (lane 0, instruction 1) in its lane\n",
        ),
        (
            &either,
            "0.0",
            "3.0",
            "rank 0 move (lane 0, instruction 0) comes before rank 1 move (lane 3, instruction 0):\n  of the notifies that it \
             waits for, too few come without",
        ),
        (
            &long,
            "0.0",
            "2.10",
            "waits\n  rank 1 move (lane 2, instruction 0) stands before rank 1 move (lane 2, instruction 10) in its lane\nthey",
        ),
        (&either, "1.1", "3.0", "nothing orders rank 0 move (lane 1, instruction 1) and rank 1 move"),
    ] {
        let run = Run::of(schedule, Options::default()).unwrap();
        let [a, b] = [a, b].map(|text| schedule.find(text).unwrap());
        let (there, back) = (run.between(&a, &b).unwrap(), run.between(&b, &a).unwrap());
        let told = there.to_string();
        assert!(told.contains(says), "no '{says}' in\n{told}");
        let [there, back] = [there, back].map(|told| serde_json::to_value(&told).unwrap()["order"]["is"].clone());
        let turned = match there.as_str().unwrap() {
            "before" => "after",
            "after" => "before",
            same => same,
        };
        assert_eq!(back, turned, "{told}");
    }
    let run = Run::of(&plain, Options::default()).unwrap();
    let site = plain.find("0.1").unwrap();
    assert_eq!(run.between(&site, &site).unwrap_err().to_string(), format!("{site} is one instruction: name two"));
    let other = ring(8).find("7.3").unwrap();
    assert_eq!(run.between(&site, &other).unwrap_err().to_string(), "the schedule has no lane 7, instruction 3");
    // What never runs, since what it waits for is not sent.
    let hanging = broken("drop-notify:0.1:0");
    let run = Run::of(&hanging, Options::default()).unwrap();
    let told = run.between(&hanging.find("1.2").unwrap(), &hanging.find("3.0").unwrap()).unwrap().to_string();
    assert!(told.starts_with("rank 1 RS round 3 (lane 1, instruction 2) never runs: nothing is known"), "{told}");
}

#[test]
fn what_a_launch_would_do_is_told() {
    let barrier = build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Barrier).unwrap();
    let plain = ring(4);
    for (schedule, edit, effect, says) in [
        (
            &plain,
            "drop-notify:0.1",
            "hangs",
            &["a launch hangs, whatever the timing: 4 of 4 lanes did not finish", "\n  cause: rank 1 RS round 3"][..],
        ),
        (
            &plain,
            "drop-wait:1.2",
            "may-be-wrong",
            &[
                "a launch may end right or wrong: 1 race\na run that goes wrong:\n  rank 0 RS round 1 (lane 0, instruction 0)\n",
                "\n  rank 1 RS round 3 (lane 1, instruction 2) reads rank 0 slot[1]: it finds ?, not (in[2] + in[3]) + in[0]\n  \
                 rank 0 RS round 2 (lane 0, instruction 1) writes rank 0 slot[1]\n  in the end these are wrong: rank 0 output[1], \
                 rank 1 output[1], rank 2 output[1], rank 3 output[1]",
            ],
        ),
        (
            &plain,
            "zero-signals:rank 2",
            "may-hang",
            &[
                "a launch may hang: 3 notifies can be erased\na run that goes wrong:\n  rank 1 RS round 1 (lane 1, instruction 0) \
                 notifies signal [row 1][sender 1] of rank 2\n  rank 2 move (lane 2, instruction 0) zeroes its signals\n  signal \
                 [row 1][sender 1] of rank 2 is 0, for the notify is erased, so whoever waits for it waits for ever",
            ],
        ),
        (
            &plain,
            "shift-read:0.0:1",
            "wrong",
            &["a launch ends with a wrong result:\n  rank 0 output[2] holds chunk 3 of rank 0's input"],
        ),
        (
            &plain,
            "swap-operands:1.0",
            "right",
            &[
                "does no harm:\n  rank 1 RS round 1 (lane 1, instruction 0) adds two values, and a + b is b + a in every bit",
            ],
        ),
        (
            &plain,
            "swap-with-next:1.0",
            "right",
            &[
                "neither of rank 1 RS round 1 (lane 1, instruction 0) and rank 1 RS round 2 (lane 1, instruction 1) writes what the other touches",
            ],
        ),
        (
            &barrier,
            "drop-pair:1.2:1",
            "right",
            &[
                "rank 2 RS round 2 (lane 2, instruction 1) need not come before rank 1 RS round 3 (lane 1, instruction 2): no two accesses",
            ],
        ),
        (
            &barrier,
            "drop-wait:1.2:1",
            "right-but-refused",
            &["a launch ends right, and is refused all the same:\n  rank 2 RS round 2", "but nobody waits for it"],
        ),
    ] {
        let edit = Edit::parse(edit, schedule).unwrap();
        let told = Effect::of(&edit.apply(schedule).unwrap(), Options::default());
        assert_eq!(serde_json::to_value(&told).unwrap()["effect"], effect, "{edit}");
        let harmless = Harmless::of(schedule, edit, Options::default()).unwrap();
        let told = format!("{told}\n{}", harmless.map_or_else(String::new, |harmless| harmless.to_string()));
        says.iter().for_each(|says| assert!(told.contains(says), "{edit}: no '{says}' in\n{told}"));
    }
    let step = || Instruction::new("move");
    let barrier = Schedule::new("", Collective::Barrier, 2, 1).lane(Lane::new(0)).lane(Lane::new(1));
    // Slot 1 is read, and nothing comes of it.
    let unwritten = Schedule::new("", Collective::AllReduce, 1, 1).slots(2).lane(
        Lane::new(0)
            .with(step().copy(Address::slot(0, 1)).to(Address::slot(0, 0)))
            .with(step().copy(Address::input(0, 0)).to(Address::output(0, 0))),
    );
    // Nobody knows which of two notifies ends the wait; the first of either comes after what then races on paper.
    let tell = || Lane::new(0).with(step().wait(0, 0)).with(step().notify(1, 1));
    let on_paper = Schedule::new("", Collective::AllReduce, 2, 1)
        .slots(1)
        .signal_rows(2)
        .lane(Lane::new(0).with(step().copy(Address::input(0, 0)).to(Address::slot(0, 0)).notify(0, 0)))
        .lane(tell())
        .lane(tell())
        .lane(Lane::new(1).with(step().wait(1, 0).copy(Address::slot(0, 0)).to(Address::output(1, 0))));
    let mut absent = ring(4);
    absent.lanes[0].instructions[0].from[0].rank = 9;
    for (schedule, says) in [
        (barrier, "a launch ends too early:\n  rank 0 can leave the barrier before rank 1 has come"),
        (
            unwritten,
            "a launch ends right, and is refused all the same:\n  rank 0 move (lane 0, instruction 0) reads rank 0 slot[1]",
        ),
        (
            on_paper,
            "a launch may end right or wrong: 1 race\n  rank 1 move (lane 3, instruction 0) reads rank 0 slot[0], not ordered",
        ),
        (
            absent,
            "it cannot be launched:\n  rank 0 RS round 1 (lane 0, instruction 0): names rank 9 input[2], but there are 4 ranks",
        ),
    ] {
        let told = Effect::of(&schedule, Options::default()).to_string();
        assert!(told.contains(says), "no '{says}' in\n{told}");
    }
}

#[test]
fn every_reason_why_an_edit_does_no_harm_is_told() {
    let step = || Instruction::new("move");
    let (input, slot, output) = (Address::input, Address::slot, Address::output);
    // It stages one value in one slot three times, and twice where nobody reads; it waits for two notifies of one instruction, for one of them twice.
    let more_than_enough = Schedule::new("by hand", Collective::AllReduce, 2, 1)
        .slots(3)
        .signal_rows(3)
        .lane(
            Lane::new(0)
                .with(step().copy(input(0, 0)).to(slot(0, 0)))
                .with(step().copy(input(0, 0)).to(slot(0, 0)))
                .with(step().copy(input(0, 0)).to(slot(0, 1)))
                .with(step().copy(slot(0, 0)).to(slot(0, 2)))
                .with(step().copy(input(0, 0)).to(slot(0, 0)))
                .with(
                    step()
                        .wait(0, 1)
                        .wait(1, 1)
                        .wait(0, 1)
                        .reduce(slot(0, 0), slot(1, 0))
                        .to(output(0, 0))
                        .notify(1, 2),
                ),
        )
        .lane(
            Lane::new(1)
                .with(step().copy(input(1, 0)).to(slot(1, 0)).notify(0, 0).notify(0, 1))
                .with(step().wait(2, 0).copy(output(0, 0)).to(output(1, 0))),
        );
    let mut reasons = BTreeSet::new();
    for (edit, because, says) in [
        (
            "drop-pair:0.5:1",
            "implied",
            "rank 1 move (lane 1, instruction 0) comes before rank 0 move (lane 0, instruction 5) all the same:\n    rank 1 move \
             (lane 1, instruction 0) notifies signal [row 0][sender 1] of rank 0, for which rank 0 move",
        ),
        ("drop-wait:0.5:2", "repeated", "another wait is for the same notify"),
        (
            "next-rank-write:0.2:0",
            "unread",
            "nobody reads what rank 0 move (lane 0, instruction 2) writes to rank 0 slot[1]; where it writes now it disturbs \
             nobody",
        ),
        ("shift-write:0.1:0", "same-result", "all proofs hold"),
        (
            "shift-read:0.5:0",
            "same-value",
            "rank 0 move (lane 0, instruction 5) finds in rank 0 slot[1] what it found in rank 0 slot[0]: in[0]",
        ),
        ("swap-with-next:0.1", "independent", "neither of rank 0 move (lane 0, instruction 1) and rank 0 move"),
        // The second writes what the first wrote, or read.
        ("swap-with-next:0.0", "same-result", "all proofs hold"),
        ("swap-with-next:0.3", "same-result", "all proofs hold"),
    ] {
        let edit = Edit::parse(edit, &more_than_enough).unwrap();
        let harmless = Harmless::of(&more_than_enough, edit, Options::default()).unwrap().expect("harmless");
        let told = serde_json::to_value(&harmless).unwrap()["reasons"][0]["because"].clone();
        assert_eq!(told, because, "{harmless}");
        assert!(harmless.to_string().contains(says), "no '{says}' in\n{harmless}");
        reasons.insert(because.to_owned());
    }
    for variant in variants([3, 4]).into_iter().filter(|variant| !variant.in_place) {
        let schedule = variant.schedule();
        for edit in Edit::all(&schedule).into_iter().step_by(3) {
            if let Ok(Some(harmless)) = Harmless::of(&schedule, edit, variant.options()) {
                let json = serde_json::to_value(&harmless).unwrap();
                let all = json["reasons"].as_array().unwrap().iter();
                reasons.extend(all.map(|reason| reason["because"].as_str().unwrap().to_owned()));
            }
        }
    }
    let all = [
        "commutes",
        "implied",
        "independent",
        "not-at-once",
        "repeated",
        "same-result",
        "same-value",
        "unneeded",
        "unread",
    ];
    assert!(reasons.iter().eq(all.iter()), "{reasons:?}");
}
