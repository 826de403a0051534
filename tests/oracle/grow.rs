//! Schedules that are right by construction: random data movements, and what signals they need and hardly more.
//!
//! First a plan of values: which reductions and copies make what every output must hold, in random trees. Then instructions,
//! one value after the other in a random order that the plan allows, on random lanes, into random places. Whatever an
//! instruction must come after and does not already, it waits for, by a signal that is new or has counted before.

use std::collections::HashMap;

use wgccl::collective::{Collective, Task};
use wgccl::schedule::{Address, Buffer, Granularity, Instruction, Lane, Notify, Schedule, Wait};

use super::promise::Places;
use super::random::Random;

/// Slots of a rank, at most.
const SLOTS: u32 = 96;

/// A schedule, and whether it is for launches in place.
pub(crate) fn grown(random: &mut Random, most_ranks: u32) -> (Schedule, bool) {
    let collective = *random.pick(Collective::ALL);
    let ranks = 1 + random.below(most_ranks).min(random.below(most_ranks));
    let task = match collective {
        Collective::SendRecv if random.percent(60) => {
            Task::send_recv((0..ranks).map(|_| random.below(ranks)).collect())
        }
        _ => Task::from(collective).root(if collective.has_root() { random.below(ranks) } else { 0 }),
    };
    let chunks = if ranks > 4 { random.between(1, 2) } else { random.between(1, 4) };
    let mut schedule = Schedule::new("grown", task, ranks, chunks);
    if random.percent(40) {
        schedule.granularity = Granularity::DivisibleBy(chunks * random.between(1, 3));
    }
    let has_in_place = !matches!(collective, Collective::AllToAll | Collective::SendRecv | Collective::Barrier);
    let in_place = has_in_place && random.percent(50);
    let most_lanes = random.between(1, 3);
    for rank in 0..ranks {
        for _ in 0..random.between(1, most_lanes) {
            schedule.lanes.push(Lane::new(rank));
        }
    }
    random.shuffle(&mut schedule.lanes);
    let mut grow = Grow::new(random, schedule, in_place);
    match collective {
        Collective::Barrier => grow.barrier(),
        _ => grow.values(),
    }
    (grow.finished(), in_place)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Chunk of a rank's input.
    Input(u32, u32),
    Node(usize),
}

/// A value that an instruction makes, one chunk or more in a row.
#[derive(Debug, Clone)]
struct Node {
    from: Vec<Source>,
    /// First chunk in its part.
    index: u32,
    width: u32,
    /// Outputs that it goes to for good.
    finals: Vec<Address>,
    /// Nodes that read it and have not been made.
    readers: u32,
    /// Where it lies, once it is made, and whether that is an output for good.
    at: Option<(Address, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    lane: usize,
    at: usize,
}

/// Who notifies a signal.
enum Cell {
    /// One lane: positions of its notifies, in order.
    One(usize, Vec<usize>),
    /// Several; it is taken.
    Several,
}

struct Grow<'r> {
    random: &'r mut Random,
    schedule: Schedule,
    in_place: bool,
    /// With room for all slots that there may be.
    places: Places,
    slots: Vec<u32>,
    /// Slots of a rank before it prefers old ones.
    thrift: u32,
    nodes: Vec<Node>,
    /// By place: uses of the input there that are to come.
    uses: Vec<u32>,
    /// By place: values there that are still to be read.
    pins: Vec<u32>,
    /// By place: an output's last value is there.
    last: Vec<bool>,
    written: Vec<Option<Event>>,
    read: Vec<Vec<Event>>,
    /// By lane and instruction: how much of every lane it knows.
    clocks: Vec<Vec<Vec<usize>>>,
    cells: HashMap<(u32, u32, u32), Cell>,
}

impl<'r> Grow<'r> {
    fn new(random: &'r mut Random, schedule: Schedule, in_place: bool) -> Self {
        let places = Places::new(&schedule.clone().slots(SLOTS), in_place);
        let (len, lanes) = (places.len as usize, schedule.lanes.len());
        let thrift = random.below(4);
        Self {
            slots: vec![0; schedule.ranks as usize],
            thrift,
            nodes: Vec::new(),
            uses: vec![0; len],
            pins: vec![0; len],
            last: vec![false; len],
            written: vec![None; len],
            read: vec![Vec::new(); len],
            clocks: vec![Vec::new(); lanes],
            cells: HashMap::new(),
            random,
            schedule,
            in_place,
            places,
        }
    }

    fn finished(mut self) -> Schedule {
        if self.slots.iter().any(|&slots| slots > 0) || self.random.percent(10) {
            let spare = self.random.below(2);
            self.schedule.slots = self.slots.iter().map(|slots| slots + spare).collect();
        }
        self.schedule.signal_rows += u32::from(self.random.percent(10));
        self.schedule
    }

    // --- The plan ---

    fn values(&mut self) {
        let chunks = self.schedule.chunks;
        // Chunks that go together.
        let mut runs = Vec::new();
        let mut index = 0;
        while index < chunks {
            let width = self.random.between(1, chunks - index);
            runs.push((index, width));
            index += width;
        }
        type Terms = Vec<(u32, u32)>;
        let mut wanted: Vec<(Terms, Vec<(u32, u32)>)> = Vec::new();
        for rank in 0..self.schedule.ranks {
            for part in 0..self.places.promise.gets(rank) {
                let terms = self.places.promise.terms(rank, part);
                match wanted.iter_mut().find(|(other, _)| *other == terms) {
                    Some((_, outputs)) => outputs.push((rank, part)),
                    None => wanted.push((terms, vec![(rank, part)])),
                }
            }
        }
        for (terms, mut outputs) in wanted {
            for &(index, width) in &runs {
                self.random.shuffle(&mut outputs);
                let trees =
                    if self.random.percent(75) { 1 } else { self.random.between(1, outputs.len().min(3) as u32) };
                for group in outputs.chunks(outputs.len().div_ceil(trees as usize)) {
                    let finals = group.iter().map(|&(rank, part)| Address::output(rank, part * chunks + index));
                    self.value(&terms, index, width, finals.collect());
                }
            }
        }
        self.make();
    }

    fn value(&mut self, terms: &[(u32, u32)], index: u32, width: u32, mut finals: Vec<Address>) {
        let root = self.tree(terms, index, width);
        if let Source::Input(rank, chunk) = root {
            // In place it may be there already.
            let input = self.places.of(Address::input(rank, chunk));
            for at in (0..finals.len()).rev() {
                if self.places.of(finals[at]) == input {
                    (0..width).for_each(|k| self.last[(input + k) as usize] = true);
                    if self.random.percent(50) {
                        finals.swap_remove(at);
                    }
                }
            }
        }
        let mut holders = vec![root];
        if let Source::Node(node) = root
            && self.random.percent(80)
        {
            let direct = self.random.between(1, finals.len() as u32) as usize;
            self.nodes[node].finals = finals.split_off(finals.len() - direct);
        }
        while !finals.is_empty() {
            let from = *self.random.pick(&holders);
            let together = self.random.between(1, finals.len().min(3) as u32) as usize;
            let finals = finals.split_off(finals.len() - together);
            holders.push(self.node(vec![from], index, width, finals));
        }
    }

    /// The reduction of these parts of inputs, in a random tree.
    fn tree(&mut self, terms: &[(u32, u32)], index: u32, width: u32) -> Source {
        if let [(rank, part)] = *terms {
            let input = Source::Input(rank, part * self.schedule.chunks + index);
            let staged = self.random.percent(15);
            return if staged { self.node(vec![input], index, width, Vec::new()) } else { input };
        }
        let mut terms = terms.to_vec();
        self.random.shuffle(&mut terms);
        let most = terms.len().min(if self.random.percent(70) { 2 } else { 5 });
        let ways = self.random.between(2, most as u32) as usize;
        let mut cuts: Vec<usize> = (1..terms.len()).collect();
        self.random.shuffle(&mut cuts);
        cuts.truncate(ways - 1);
        cuts.extend([0, terms.len()]);
        cuts.sort_unstable();
        let from = cuts.windows(2).map(|cut| self.tree(&terms[cut[0]..cut[1]], index, width)).collect();
        self.node(from, index, width, Vec::new())
    }

    fn node(&mut self, from: Vec<Source>, index: u32, width: u32, finals: Vec<Address>) -> Source {
        for source in &from {
            match *source {
                Source::Input(rank, chunk) => {
                    let place = self.places.of(Address::input(rank, chunk));
                    (place..place + width).for_each(|place| self.uses[place as usize] += 1);
                }
                Source::Node(node) => self.nodes[node].readers += 1,
            }
        }
        self.nodes.push(Node { from, index, width, finals, readers: 0, at: None });
        Source::Node(self.nodes.len() - 1)
    }

    // --- From the plan to instructions ---

    fn make(&mut self) {
        let mut open: Vec<usize> = (0..self.nodes.len()).collect();
        while !open.is_empty() {
            let made = |source: &Source| !matches!(source, Source::Node(node) if self.nodes[*node].at.is_none());
            let mut ready: Vec<usize> =
                (0..open.len()).filter(|&at| self.nodes[open[at]].from.iter().all(made)).collect();
            self.random.shuffle(&mut ready);
            let free = ready.iter().copied().find(|&at| self.is_free(open[at]));
            // Where all that could be made would overwrite what is needed, one goes through a slot.
            let at = free.unwrap_or(ready[0]);
            let node = open.swap_remove(at);
            if free.is_none() || (!self.nodes[node].finals.is_empty() && self.random.percent(8)) {
                let Node { index, width, .. } = self.nodes[node];
                let finals = std::mem::take(&mut self.nodes[node].finals);
                self.node(vec![Source::Node(node)], index, width, finals);
                open.push(self.nodes.len() - 1);
            }
            self.make_node(node, free.is_none());
        }
    }

    fn is_free(&self, node: usize) -> bool {
        let Node { width, ref finals, ref from, .. } = self.nodes[node];
        finals.iter().all(|&to| {
            let first = self.places.of(to);
            (first..first + width).all(|place| {
                // What this node itself reads there, from the same chunk on, may go.
                let own = |source: &&Source| self.places.of(self.address(**source)) == first;
                let own = from.iter().filter(own).count() as u32;
                let place = place as usize;
                let inputs = self.uses[place].saturating_sub(own);
                let values = self.pins[place].saturating_sub(own);
                inputs == 0 && values == 0
            })
        })
    }

    fn address(&self, source: Source) -> Address {
        match source {
            Source::Input(rank, chunk) => Address::input(rank, chunk),
            Source::Node(node) => self.nodes[node].at.map_or(Address::input(0, 0), |(at, _)| at),
        }
    }

    fn make_node(&mut self, node: usize, slots_only: bool) {
        let Node { index, width, from: sources, finals, readers, .. } = self.nodes[node].clone();
        let from: Vec<Address> = sources.iter().map(|&source| self.address(source)).collect();
        // What it reads is read.
        let mut own = Vec::new();
        for (&source, &at) in sources.iter().zip(&from) {
            let first = self.places.of(at);
            match source {
                Source::Input(..) => (first..first + width).for_each(|place| self.uses[place as usize] -= 1),
                Source::Node(other) => {
                    self.nodes[other].readers -= 1;
                    let last = matches!(self.nodes[other].at, Some((_, true)));
                    if self.nodes[other].readers == 0 && !last {
                        (first..first + width).for_each(|place| self.pins[place as usize] -= 1);
                        own.push(at);
                    }
                }
            }
        }
        for &to in &finals {
            let first = self.places.of(to);
            (first..first + width).for_each(|place| self.last[place as usize] = true);
        }
        let mut to = finals.clone();
        if to.is_empty() || self.random.percent(5) {
            own.retain(|own| finals.iter().all(|to| self.places.of(*to) != self.places.of(*own)));
            to.push(self.room(index, width, &own, &from, slots_only));
        }
        // Where it goes for good, if it does.
        let at = if finals.is_empty() { to[0] } else { *self.random.pick(&finals) };
        self.nodes[node].at = Some((at, !finals.is_empty()));
        if finals.is_empty() && readers > 0 {
            let first = self.places.of(at);
            (first..first + width).for_each(|place| self.pins[place as usize] += 1);
        }
        self.random.shuffle(&mut to);
        let mut named: Vec<Address> = from.iter().map(|&at| self.renamed(at, width)).collect();
        self.random.shuffle(&mut named);
        self.emit(&named, &to, width);
    }

    /// In place, an input may be called by the name of the output that it is.
    fn renamed(&mut self, at: Address, width: u32) -> Address {
        if !self.in_place || at.buffer != Buffer::Input || !self.random.percent(15) {
            return at;
        }
        let place = self.places.of(at);
        let output = self.places.of(Address::output(at.rank, 0));
        match place.checked_sub(output) {
            Some(chunk) if self.places.exists(Address::output(at.rank, chunk), width) => {
                Address::output(at.rank, chunk)
            }
            _ => at,
        }
    }

    /// A place for a value that is not there for good.
    fn room(&mut self, index: u32, width: u32, own: &[Address], from: &[Address], slots_only: bool) -> Address {
        if !own.is_empty() && self.random.percent(30) {
            return *self.random.pick(own);
        }
        for _ in 0..3 {
            let rank = self.random.below(self.schedule.ranks);
            let scratch = !slots_only && self.random.percent(25);
            let buffer = if scratch { Buffer::Output } else { Buffer::Slot };
            let chunks = if scratch { self.places.chunks_of(rank, buffer) } else { self.slots[rank as usize] };
            if chunks < width || (!scratch && chunks < self.thrift) {
                continue;
            }
            let at = Address { rank, buffer, chunk: self.random.below(chunks - width + 1) };
            let first = self.places.of(at);
            let is_unused = (first..first + width).all(|place| {
                let place = place as usize;
                self.pins[place] == 0 && self.uses[place] == 0 && !self.last[place]
            });
            // A value must not be cut by a chunk that may be shorter.
            let ragged = self.schedule.granularity == Granularity::Ragged;
            let fits = (0..width).all(|k| (at.chunk + k) % self.schedule.chunks <= index + k);
            // Nor lie askew over what the same instruction reads.
            let askew = from.iter().any(|from| (1..width).contains(&self.places.of(*from).abs_diff(first)));
            if is_unused && !askew && (!scratch || !ragged || fits) {
                return at;
            }
        }
        let mut rank = self.random.below(self.schedule.ranks);
        if self.slots[rank as usize] + width > SLOTS {
            rank = (0..self.schedule.ranks).min_by_key(|&rank| self.slots[rank as usize]).unwrap_or(rank);
        }
        let chunk = self.slots[rank as usize];
        self.slots[rank as usize] += width;
        Address::slot(rank, chunk)
    }

    // --- Instructions and signals ---

    fn emit(&mut self, from: &[Address], to: &[Address], width: u32) {
        let ranks: Vec<u32> = from.iter().chain(to).map(|at| at.rank).collect();
        let wanted = *self.random.pick(&ranks);
        let near: Vec<usize> =
            (0..self.schedule.lanes.len()).filter(|&lane| self.schedule.lanes[lane].rank == wanted).collect();
        let lane = if self.random.percent(85) {
            *self.random.pick(&near)
        } else {
            self.random.index(self.schedule.lanes.len())
        };
        let is_idle = |to: &&Address| {
            let [from] = from else { return false };
            self.in_place && to.buffer != from.buffer && self.places.of(**to) == self.places.of(*from)
        };
        let real: Vec<u32> = to.iter().filter(|to| !is_idle(to)).map(|to| self.places.of(*to)).collect();
        let all = |starts: Vec<u32>| -> Vec<usize> {
            starts.into_iter().flat_map(|start| start..start + width).map(|place| place as usize).collect()
        };
        let reads =
            all(if real.is_empty() { Vec::new() } else { from.iter().map(|from| self.places.of(*from)).collect() });
        let writes = all(real);
        let mut after: Vec<Event> = reads.iter().filter_map(|&place| self.written[place]).collect();
        after.extend(writes.iter().filter_map(|&place| self.written[place]));
        after.extend(writes.iter().flat_map(|&place| &self.read[place]));
        let instruction = Instruction::new(("move", self.clocks[lane].len() as u32 + 1)).chunks(width);
        let instruction = to.iter().fold(instruction.reduce_all(from.iter().copied()), |i, &to| i.to(to));
        let event = self.push(lane, instruction, after);
        for place in reads {
            self.read[place].push(event);
        }
        for place in writes {
            self.read[place].clear();
            self.written[place] = Some(event);
        }
    }

    /// Appends an instruction that comes after all of these.
    fn push(&mut self, lane: usize, mut instruction: Instruction, mut after: Vec<Event>) -> Event {
        if self.random.percent(5) {
            // One that it need not wait for.
            let other = self.random.index(self.clocks.len());
            if !self.clocks[other].is_empty() {
                after.push(Event { lane: other, at: self.random.index(self.clocks[other].len()) });
            }
        }
        let lanes = self.clocks.len();
        let mut known = self.clocks[lane].last().cloned().unwrap_or_else(|| vec![0; lanes]);
        self.random.shuffle(&mut after);
        let mut waits = Vec::new();
        while let Some(event) = after.pop() {
            if event.lane == lane || known[event.lane] > event.at {
                continue;
            }
            let rank = self.schedule.lanes[event.lane].rank;
            let others: Vec<usize> = (0..after.len())
                .filter(|&i| {
                    let other = after[i].lane;
                    other != event.lane && other != lane && self.schedule.lanes[other].rank == rank
                })
                .collect();
            if !others.is_empty() && self.random.percent(30) {
                let other = after.swap_remove(*self.random.pick(&others));
                waits.push(self.wait_for_both(lane, [event, other], &mut known));
            } else {
                waits.push(self.wait_for(lane, event, &mut known));
            }
        }
        let separate = !waits.is_empty() && self.random.percent(10);
        let at = self.clocks[lane].len();
        known[lane] = at + 1;
        if separate {
            let mut wait = Instruction::new("wait");
            waits.drain(..).for_each(|one| wait.waits.push(one));
            self.schedule.lanes[lane].push(wait);
            self.clocks[lane].push(known.clone());
            known[lane] += 1;
        }
        waits.into_iter().for_each(|wait| instruction.waits.push(wait));
        self.schedule.lanes[lane].push(instruction);
        self.clocks[lane].push(known);
        Event { lane, at: self.clocks[lane].len() - 1 }
    }

    fn learn(&self, known: &mut [usize], event: Event) {
        known.iter_mut().zip(&self.clocks[event.lane][event.at]).for_each(|(now, &then)| *now = then.max(*now));
    }

    fn wait_for(&mut self, lane: usize, event: Event, known: &mut [usize]) -> Wait {
        let (rank, sender) = (self.schedule.lanes[lane].rank, self.schedule.lanes[event.lane].rank);
        // A notify that somebody else waits for will do.
        if self.random.percent(60) {
            for row in 0..self.schedule.signal_rows {
                let Some(Cell::One(from, sent)) = self.cells.get(&(rank, row, sender)) else { continue };
                if let (true, Some(n)) = (*from == event.lane, sent.iter().position(|&at| at >= event.at)) {
                    let event = Event { lane: event.lane, at: sent[n] };
                    self.learn(known, event);
                    return Wait { row, sender, at_least: n as u32 + 1 };
                }
            }
        }
        let end = self.clocks[event.lane].len() as u32 - 1;
        let at = if self.random.percent(70) { event.at } else { self.random.between(event.at as u32, end) as usize };
        let usable = |row: u32| match self.cells.get(&(rank, row, sender)) {
            None => true,
            Some(Cell::One(from, sent)) => *from == event.lane && sent.last().is_none_or(|&last| last <= at),
            Some(Cell::Several) => false,
        };
        let rows: Vec<u32> = (0..self.schedule.signal_rows).filter(|&row| usable(row)).collect();
        let row = if rows.is_empty() { self.new_row() } else { *self.random.pick(&rows) };
        let cell = self.cells.entry((rank, row, sender)).or_insert(Cell::One(event.lane, Vec::new()));
        let Cell::One(_, sent) = cell else { return Wait::default() };
        sent.push(at);
        let at_least = sent.len() as u32;
        self.notify(Event { lane: event.lane, at }, rank, row, known);
        Wait { row, sender, at_least }
    }

    /// Two lanes of a rank notify one signal, and both are awaited.
    fn wait_for_both(&mut self, lane: usize, events: [Event; 2], known: &mut [usize]) -> Wait {
        let (rank, sender) = (self.schedule.lanes[lane].rank, self.schedule.lanes[events[0].lane].rank);
        let free = (0..self.schedule.signal_rows).find(|&row| !self.cells.contains_key(&(rank, row, sender)));
        let row = free.unwrap_or_else(|| self.new_row());
        self.cells.insert((rank, row, sender), Cell::Several);
        events.into_iter().for_each(|event| self.notify(event, rank, row, known));
        Wait { row, sender, at_least: 2 }
    }

    fn notify(&mut self, event: Event, peer: u32, row: u32, known: &mut [usize]) {
        self.schedule.lanes[event.lane].instructions[event.at].notifies.push(Notify { peer, row });
        self.learn(known, event);
    }

    fn new_row(&mut self) -> u32 {
        self.schedule.signal_rows += 1;
        self.schedule.signal_rows - 1
    }

    // --- Barriers ---

    fn barrier(&mut self) {
        let ranks = self.schedule.ranks;
        let lanes_of = |schedule: &Schedule, rank: u32| -> Vec<usize> {
            (0..schedule.lanes.len()).filter(|&lane| schedule.lanes[lane].rank == rank).collect()
        };
        for rank in 0..ranks {
            let lane = *self.random.pick(&lanes_of(&self.schedule, rank));
            self.push(lane, Instruction::new("come"), Vec::new());
        }
        loop {
            let knows = |rank: u32, peer: u32| {
                let mut ends = lanes_of(&self.schedule, rank).into_iter().filter_map(|lane| self.clocks[lane].last());
                ends.any(|known| lanes_of(&self.schedule, peer).into_iter().any(|lane| known[lane] > 0))
            };
            let pairs = (0..ranks).flat_map(|rank| (0..ranks).map(move |peer| (rank, peer)));
            let missing: Vec<(u32, u32)> = pairs.filter(|&(rank, peer)| rank != peer && !knows(rank, peer)).collect();
            if missing.is_empty() {
                break;
            }
            let (rank, peer) = *self.random.pick(&missing);
            let lane = *self.random.pick(&lanes_of(&self.schedule, rank));
            let begun: Vec<usize> =
                lanes_of(&self.schedule, peer).into_iter().filter(|&lane| !self.clocks[lane].is_empty()).collect();
            let other = *self.random.pick(&begun);
            let at = self.random.index(self.clocks[other].len());
            self.push(lane, Instruction::new("meet"), vec![Event { lane: other, at }]);
        }
    }
}
