//! A proved schedule over several devices: what each carries out, and what moves between them when.
//!
//! The schedule stays whole and is proved once; a split only says where things happen. So the same proof, golden and bits hold
//! wherever ranks live.
//!
//! # Why it is right
//! Every instruction has an *epoch*: along program order it does not fall, and from a notify to its wait it rises where the
//! two are on different devices. So two instructions of one epoch that program order and signals order, are ordered by those on
//! one device alone. At *boundary* b, after epoch b - 1 and before epoch b, bytes move. A device keeps a copy of each place of
//! another device that its instructions name: they read and write there.
//!
//! The whole is free of races, so of the accesses to a place every write is ordered with each of the others. Let w write it in
//! epoch e on device W. Its value is sent at boundary e + 1 to every other device of which an instruction reads it, and to
//! the place's owner if it is what an output holds in the end.
//! * *In time.* A reader on another device comes after w by a chain that changes devices, so in epoch e + 1 or later.
//! * *Not too early.* Whoever read or wrote the place before w is in epoch e or earlier, so what arrives at boundary e + 1
//!   overwrites nothing that is still to be read.
//! * *From where.* It is sent from the place that it is for, or from another place that the same instruction wrote and that is
//!   sent at the same boundary to the same device; so it crosses once.
//! * *Not too late.* The next write to the place comes after every reader of w's value. Where one of these is on another device
//!   than W, a write on W comes after it by a chain that changes devices, so its epoch is later than e + 1 and boundary e + 1
//!   sends what w wrote. Where none is, nothing is sent, but for an output that nobody writes again.
//! * *Nobody needs to be told that something was read.* Copies are overwritten only by what arrives at a boundary.
//!
//! A device goes on as soon as what it receives at a boundary is there: the bytes are the signal. A barrier moves none; there,
//! an empty message stands for each notify that crosses.

use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::pieced::Pieced;
use crate::collective::Collective;
use crate::payload::Payload;
use crate::proof::{PartTooLarge, Proved};
use crate::schedule::{Address, Buffer, Few, Placement, Sources};

/// A proved schedule placed on several devices.
#[derive(Debug, Clone)]
pub struct Split {
    whole: Proved,
    placement: Placement,
    epochs: u32,
    parts: Vec<Part>,
}

/// What one device carries out.
#[derive(Debug, Clone)]
pub struct Part {
    proved: Proved,
    /// By boundary.
    sends: Vec<Vec<Route>>,
    receives: Vec<Vec<Route>>,
}

/// What one device sends another at a boundary, in the order in which its bytes follow each other. It may be nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The other device.
    pub peer: u32,
    /// What is sent.
    pub runs: Vec<Run>,
}

/// Chunks that follow each other in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// The first of them, where its sender has it.
    pub at: Address,
    /// Where the receiver puts it: mostly the same place, and several where the same value goes to many ranks of a device.
    pub to: Few<Address, 1>,
    /// Number of chunks.
    pub chunks: u32,
}

/// What one device sends another in a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Link {
    /// Who sends.
    pub from: u32,
    /// Who receives.
    pub to: u32,
    /// Bytes of all messages.
    pub bytes: u64,
    /// Messages.
    pub messages: usize,
}

/// Why a schedule cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum SplitError {
    /// A placement of other ranks.
    #[error("the placement is of {placement} ranks and the schedule of {schedule}; place every rank once")]
    Ranks { placement: u32, schedule: u32 },
    /// A part that is too large.
    #[error(transparent)]
    TooLarge(#[from] PartTooLarge),
}

/// The value that a place holds, during the walk through all instructions.
#[derive(Debug, Clone)]
struct Value {
    address: Address,
    made: Made,
    /// Where it was made.
    device: u32,
    /// The first boundary at which it can be sent.
    boundary: u32,
    /// Other devices that it is sent to.
    sent: Few<u32, 2>,
}

/// What tells values apart that are written to several places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Made {
    /// A place's input.
    Given(usize),
    /// By an instruction, as its so manieth chunk.
    By(u32, u32),
}

/// A chunk that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Move {
    boundary: u32,
    from: u32,
    to: u32,
    /// Where it is sent from, and where it arrives. None of a message that says only that it was sent.
    chunk: Option<(Address, Few<Address, 1>)>,
}

/// All of them, each value once for each device.
#[derive(Debug, Default)]
struct Moves {
    all: Vec<Move>,
    of_value: FxHashMap<(Made, u32), usize>,
    bare: FxHashSet<(u32, u32, u32)>,
}

impl Split {
    /// Splits `proved` by `placement`.
    ///
    /// # Errors
    /// [`SplitError`].
    pub fn new(proved: &Proved, placement: &Placement) -> Result<Self, SplitError> {
        let schedule = proved.schedule();
        if placement.ranks() != schedule.ranks {
            return Err(SplitError::Ranks { placement: placement.ranks(), schedule: schedule.ranks });
        }
        let epochs = epochs(proved, placement);
        let count = epochs.iter().max().map_or(0, |last| last + 1);
        let moves = moves(proved, placement, &epochs);
        let parts = (0..placement.devices()).map(|device| {
            let proved = proved.part(|rank| placement.device(rank) == device, &epochs, count)?;
            let of = |mine: fn(&Move) -> (u32, u32)| {
                let mut routes = vec![Vec::<Route>::new(); count as usize + 1];
                for moved in moves.iter().filter(|moved| mine(moved).0 == device) {
                    add(&mut routes[moved.boundary as usize], mine(moved).1, moved.chunk.as_ref());
                }
                routes
            };
            Ok(Part { proved, sends: of(|m| (m.from, m.to)), receives: of(|m| (m.to, m.from)) })
        });
        let parts = parts.collect::<Result<_, SplitError>>()?;
        Ok(Self { whole: proved.clone(), placement: placement.clone(), epochs: count, parts })
    }

    /// The whole schedule, with its proofs.
    pub fn whole(&self) -> &Proved {
        &self.whole
    }

    /// Which ranks are where.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Epochs; there is a boundary before each, and one at the end.
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// What each device carries out.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What moves between every two devices in a launch over `payload`, where anything does.
    pub fn links(&self, payload: &Payload) -> Vec<Link> {
        let devices = || 0..self.placement.devices();
        let pairs = devices().flat_map(|from| devices().map(move |to| (from, to)));
        let link =
            |(from, to)| Link { from, to, bytes: self.bytes(from, to, payload), messages: self.messages(from, to) };
        pairs.map(link).filter(|link| link.messages > 0).collect()
    }

    /// Bytes that device `from` sends device `to` in a launch over `payload`.
    pub fn bytes(&self, from: u32, to: u32, payload: &Payload) -> u64 {
        let routes = self.parts[from as usize].sends.iter().flatten().filter(|route| route.peer == to);
        routes.map(|route| route.bytes(payload) as u64).sum()
    }

    /// Messages that device `from` sends device `to` in a launch.
    pub fn messages(&self, from: u32, to: u32) -> usize {
        self.parts[from as usize].sends.iter().flatten().filter(|route| route.peer == to).count()
    }
}

impl Part {
    /// Its lanes, as an executor takes them. A launch of them alone computes nothing of use.
    pub fn proved(&self) -> &Proved {
        &self.proved
    }

    /// Epochs, its own and those in which only others do something.
    pub fn epochs(&self) -> u32 {
        self.proved.epochs()
    }

    /// What it sends at a boundary, at most one message to a device.
    pub fn sends(&self, boundary: u32) -> &[Route] {
        &self.sends[boundary as usize]
    }

    /// What it receives at a boundary, at most one message from a device.
    pub fn receives(&self, boundary: u32) -> &[Route] {
        &self.receives[boundary as usize]
    }

    /// Boundaries: one before each epoch, and one at the end.
    pub fn boundaries(&self) -> u32 {
        self.sends.len() as u32
    }

    /// The epoch of an instruction of one of its lanes.
    pub fn epoch(&self, lane: u32, instruction: u32) -> u32 {
        self.proved.epoch(self.proved.graph().lane(lane).start + instruction)
    }

    /// Whether it has an instruction in this epoch.
    pub fn acts(&self, epoch: u32) -> bool {
        (0..self.proved.graph().instructions()).any(|id| self.proved.epoch(id) == epoch)
    }
}

impl Route {
    /// Bytes of the message for a piece.
    pub fn bytes_of(&self, pieced: &Pieced, piece: usize) -> usize {
        self.runs.iter().map(|run| run.bytes_of(pieced, piece)).sum()
    }

    /// Bytes of the messages for all pieces.
    pub fn bytes(&self, payload: &Payload) -> usize {
        self.runs.iter().map(|run| run.bytes(payload)).sum()
    }
}

impl Run {
    /// Bytes of what a piece holds of these chunks.
    pub fn bytes_of(&self, pieced: &Pieced, piece: usize) -> usize {
        let each = |chunk: u32| pieced.held(self.at.buffer, chunk, piece).len();
        (self.at.chunk..self.at.chunk + self.chunks).map(each).sum::<usize>() * pieced.payload.element_bytes
    }

    /// Bytes of these chunks.
    pub fn bytes(&self, payload: &Payload) -> usize {
        let each = |chunk: u32| payload.held(self.at.buffer, chunk) * payload.element_bytes;
        (self.at.chunk..self.at.chunk + self.chunks).map(each).sum()
    }
}

/// The least epoch of every instruction.
fn epochs(proved: &Proved, placement: &Placement) -> Vec<u32> {
    let (schedule, graph) = (proved.schedule(), proved.graph());
    let device = |id: u32| placement.device(schedule.lanes[graph.lane_of(id) as usize].rank);
    let mut epochs = vec![0; graph.instructions() as usize];
    let mut reached = vec![0; graph.lanes() as usize];
    for &id in proved.order() {
        let lane = graph.lane_of(id) as usize;
        for &wait in graph.waits_of(id) {
            if let Sources::Known(sources) = graph.sources(wait) {
                let after = |&source: &u32| epochs[source as usize] + u32::from(device(source) != device(id));
                reached[lane] = sources.iter().map(after).max().unwrap_or(0).max(reached[lane]);
            }
        }
        epochs[id as usize] = reached[lane];
    }
    epochs
}

/// Every chunk that moves, in order.
fn moves(proved: &Proved, placement: &Placement, epochs: &[u32]) -> Vec<Move> {
    let (schedule, graph, map) = (proved.schedule(), proved.graph(), proved.address_map());
    let device_of = |id: u32| placement.device(schedule.lanes[graph.lane_of(id) as usize].rank);
    let mut moves = Moves::default();
    let mut values: Vec<Option<Value>> = vec![None; map.len()];
    for &id in proved.order() {
        let instruction = graph.instruction(schedule, id);
        let (device, boundary) = (device_of(id), epochs[id as usize] + 1);
        for k in 0..instruction.chunks {
            let chunk = |&start: &Address| Address { chunk: start.chunk + k, ..start };
            for address in instruction.from.iter().map(chunk) {
                let place = map.index(address);
                let given = || Value::new(address, Made::Given(place), placement.device(address.rank), 0);
                moves.send(values[place].get_or_insert_with(given), device);
            }
            for address in instruction.to.iter().map(chunk) {
                values[map.index(address)] = Some(Value::new(address, Made::By(id, k), device, boundary));
            }
        }
        if schedule.task.collective == Collective::Barrier {
            for &wait in graph.waits_of(id) {
                let Sources::Known(sources) = graph.sources(wait) else { continue };
                for &source in sources {
                    moves.tell(epochs[source as usize] + 1, device_of(source), device);
                }
            }
        }
    }
    for value in values.iter_mut().flatten().filter(|value| is_output(proved, value.address)) {
        moves.send(value, placement.device(value.address.rank));
    }
    moves.all.sort_by_key(|m| (m.boundary, m.from, m.to, m.chunk.as_ref().map(|(at, _)| *at)));
    moves.all
}

/// Whether what lies there in the end is a result. In place, an output's place may also be named as an input.
fn is_output(proved: &Proved, address: Address) -> bool {
    match address.buffer {
        Buffer::Output => true,
        Buffer::Slot => false,
        Buffer::Input => {
            let outputs = proved.schedule().buffer_chunks(Buffer::Output, address.rank);
            proved.in_place() && proved.address_map().is_output(address, 1, outputs)
        }
    }
}

impl Value {
    fn new(address: Address, made: Made, device: u32, boundary: u32) -> Self {
        Self { address, made, device, boundary, sent: Few::new() }
    }
}

impl Moves {
    /// Makes `value` be at its place on `device` as well.
    fn send(&mut self, value: &mut Value, device: u32) {
        if device == value.device || value.sent.contains(&device) {
            return;
        }
        value.sent.push(device);
        let Value { address, device: from, boundary, .. } = *value;
        match self.of_value.entry((value.made, device)) {
            Entry::Occupied(known) => {
                if let Some((_, to)) = &mut self.all[*known.get()].chunk {
                    to.push(address);
                }
            }
            Entry::Vacant(new) => {
                new.insert(self.all.len());
                let to = [address].into_iter().collect();
                self.all.push(Move { boundary, from, to: device, chunk: Some((address, to)) });
            }
        }
    }

    /// Makes `to` know that `from` has come to this boundary.
    fn tell(&mut self, boundary: u32, from: u32, to: u32) {
        if from != to && self.bare.insert((boundary, from, to)) {
            self.all.push(Move { boundary, from, to, chunk: None });
        }
    }
}

/// Adds a chunk to the message for `peer`, which grows in order.
fn add(routes: &mut Vec<Route>, peer: u32, chunk: Option<&(Address, Few<Address, 1>)>) {
    let index = routes.iter().position(|route| route.peer == peer).unwrap_or_else(|| {
        routes.push(Route { peer, runs: Vec::new() });
        routes.len() - 1
    });
    let Some((at, to)) = chunk else { return };
    let runs = &mut routes[index].runs;
    if let Some(run) = runs.last_mut() {
        let next = |start: &Address| Address { chunk: start.chunk + run.chunks, ..*start };
        if next(&run.at) == *at && run.to.len() == to.len() && run.to.iter().zip(to.iter()).all(|(a, b)| next(a) == *b)
        {
            run.chunks += 1;
            return;
        }
    }
    runs.push(Run { at: *at, to: to.clone(), chunks: 1 });
}
