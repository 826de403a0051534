//! A schedule with all that a drawing shows of it: levels, values, signals, verdicts.
//!
//! Plain data, so that text, SVG, HTML and a notebook show the same, and a page can be given it as JSON.

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::collective::Holds;
use crate::proof::{Finding, Options, Replay, Report, Run, Verdict};
use crate::schedule::{Address, Buffer, Draft, Graph, Schedule, Site, Sources};

/// Most instructions that a picture is made of: a page of more could not be looked at.
pub const MAX_STEPS: usize = 1 << 20;

/// A schedule as it is drawn. Steps, terms and places are numbered; lists hold these numbers.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Picture {
    /// What it computes, as "all-reduce".
    pub collective: String,
    /// The name of the algorithm or file.
    pub origin: String,
    /// Participants.
    pub ranks: u32,
    /// Chunks of a part.
    pub chunks: u32,
    /// Every rank's input and output are one memory.
    pub in_place: bool,
    /// Bytes of a chunk, where a size was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_bytes: Option<u64>,
    /// How many levels there are: the longest chain of instructions that follow or wait for each other.
    pub levels: u32,
    /// Instruction streams, in the schedule's order.
    pub lanes: Vec<LaneOf>,
    /// Names of steps; each text stands once.
    pub labels: Vec<String>,
    /// All instructions, by lane and then in program order.
    pub steps: Vec<Step>,
    /// Steps in an order in which they may execute; those that never get their turn are missing.
    pub order: Vec<u32>,
    /// Where each rank's buffers lie in the row of all places, by rank.
    pub buffers: Vec<BufferOf>,
    /// What the outputs must hold in the end: by part, those of rank 0 first. None in a barrier.
    pub expected: Vec<PartOf>,
    /// Contributions: the lowest terms. Term 0 is what nobody wrote.
    pub inputs: Inputs,
    /// The terms after these, in order: each is the reduction of two earlier ones, the left operand first.
    pub reductions: Vec<[u32; 2]>,
    /// The six proofs.
    pub proofs: Vec<ProofOf>,
    /// The steps of the longest chain, by the chunks that they read and write; the last ends last.
    pub critical: Vec<u32>,
    /// Ways of launching it, if [`Picture::mode`] was given any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<ModeOf>,
}

/// An instruction stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LaneOf {
    /// The rank that the lane belongs to.
    pub rank: u32,
    /// Its first step.
    pub first: u32,
    /// How many steps it has.
    pub steps: u32,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// The lane that it is in.
    pub lane: u32,
    /// Index into [`Picture::labels`].
    pub label: u32,
    /// From 0: the longest chain of steps that come before it. None of a step that never gets its turn.
    pub level: Option<u32>,
    /// First places of the operands, reduced from left to right; one is a copy.
    pub from: Vec<u32>,
    /// First places of the destinations.
    pub to: Vec<u32>,
    /// Length of each operand and destination, in consecutive places.
    pub chunks: u32,
    /// By operand: the step that wrote it last, the latest one if its chunks are of several. None of an input.
    pub made_by: Vec<Option<u32>>,
    /// By chunk: the term that is written. Empty where nothing is, or the step never gets its turn.
    pub values: Vec<u32>,
    /// What it waits for first.
    pub waits: Vec<StepWait>,
    /// Whom it notifies at the end.
    pub notifies: Vec<StepNotify>,
    /// It zeroes its rank's signals, which is a fault.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub zeroes: bool,
}

/// A wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepWait {
    /// Row of the waiting rank's signals.
    pub row: u32,
    /// The rank that notifies.
    pub sender: u32,
    /// Notifies that must have arrived.
    pub at_least: u32,
    /// The steps whose notifies end it. Empty where nobody sends so many.
    pub by: Vec<u32>,
}

/// A notify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StepNotify {
    /// The rank whose signal it is.
    pub peer: u32,
    /// Row of it.
    pub row: u32,
}

/// A buffer of a rank. In place, input and output share places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BufferOf {
    /// The rank that the buffer belongs to.
    pub rank: u32,
    /// Input, output or slots.
    #[serde(serialize_with = "by_name")]
    pub buffer: Buffer,
    /// Its first place.
    pub first: u32,
    /// How many places it has.
    pub chunks: u32,
}

/// What a part of an output must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartOf {
    /// The only rank whose contribution it is. None of a reduction over all ranks.
    pub rank: Option<u32>,
    /// Which part of the input it is, or of the inputs.
    pub part: u32,
}

/// The terms that are contributions: of rank r, chunk c is term 1 + r * chunks + c; where only one rank gives, 1 + c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// How many there are.
    pub terms: u32,
    /// Chunks of a contribution, through all its parts.
    pub chunks: u32,
    /// The only rank that gives, if it is one.
    pub only: Option<u32>,
}

/// A proof and how it ended.
#[derive(Debug, Clone, Serialize)]
pub struct ProofOf {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Whether a schedule may run although it fails.
    pub information: bool,
    /// What was proved, or what is the case instead.
    pub statement: String,
    /// What is wrong.
    pub findings: Vec<FindingOf>,
    /// How many findings there are, also of those that are not listed.
    pub count: usize,
}

/// A finding, with what of the picture it is about.
#[derive(Debug, Clone, Serialize)]
pub struct FindingOf {
    /// The sentence.
    pub message: String,
    /// The steps: the one it is about first. Where it is about a place only, those that wrote there last.
    pub steps: Vec<u32>,
    /// The places.
    pub places: Vec<u32>,
    /// Ranks whose contribution the first place lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<u32>,
    /// Ranks whose contribution the first place holds more than once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub twice: Vec<u32>,
}

/// A way of launching it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModeOf {
    /// Its name, as "per-step".
    pub name: String,
    /// By step: the dispatch in which it runs, from 0.
    pub dispatches: Vec<u32>,
}

fn by_name<S: serde::Serializer>(buffer: &Buffer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(buffer)
}

/// Why a schedule has no picture.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NoPicture {
    /// It names what does not exist.
    #[error("the schedule cannot be drawn:\n{}", .0.failures())]
    Structure(Box<Report>),
    /// It is too large.
    #[error("the schedule has more than {MAX_STEPS} instructions, which is the most that is drawn; use fewer ranks")]
    TooLarge,
}

impl Picture {
    /// The picture of `schedule`, right or wrong: of one that hangs up to there, of one that races in one order that is allowed.
    ///
    /// # Errors
    /// [`NoPicture`] where it cannot be followed, or there is too much of it.
    pub fn new(schedule: &Schedule, options: Options) -> Result<Self, NoPicture> {
        if schedule.instructions() > MAX_STEPS {
            return Err(NoPicture::TooLarge);
        }
        let replay = Replay::new(schedule, options).map_err(|report| NoPicture::Structure(Box::new(report)))?;
        Ok(Self::of(&replay, options.in_place))
    }

    /// Whether `draft` is small enough for a picture, asked before it is written out.
    ///
    /// # Errors
    /// [`NoPicture::TooLarge`].
    pub fn check_size(draft: &Draft) -> Result<(), NoPicture> {
        draft.instructions(MAX_STEPS).map(drop).ok_or(NoPicture::TooLarge)
    }

    fn of(replay: &Replay<'_>, in_place: bool) -> Self {
        let Replay { run, terms, report, .. } = replay;
        let (schedule, graph, map, order) = (run.schedule(), &*run.graph, &*run.map, &*run.order);
        let mut labels = Labels::default();
        let lanes = (0..).zip(&schedule.lanes).map(|(number, lane)| {
            let ids = graph.lane(number);
            LaneOf { rank: lane.rank, first: ids.start, steps: ids.len() as u32 }
        });
        let mut steps: Vec<Step> = (0..graph.instructions()).map(|id| step(replay, id, &mut labels)).collect();
        let levels = follow(run, &mut steps);
        let all = [Buffer::Input, Buffer::Output, Buffer::Slot];
        let buffers = (0..schedule.ranks).flat_map(|rank| all.map(|buffer| (rank, buffer)));
        let buffers = buffers.filter_map(|(rank, buffer)| {
            let chunks = schedule.buffer_chunks(buffer, rank);
            let first = || map.index(Address { rank, buffer, chunk: 0 }) as u32;
            (chunks > 0).then(|| BufferOf { rank, buffer, first: first(), chunks })
        });
        let place = |address: &Address| map.index(*address) as u32;
        // Where no instruction is named, the last one that wrote there.
        let wrote = |place: u32| {
            let writes = |id: &u32| {
                steps[*id as usize].to.iter().any(|&to| (to..to + steps[*id as usize].chunks).contains(&place))
            };
            order.iter().rev().copied().find(writes)
        };
        let finding = |finding: &Finding| {
            let places: Vec<u32> = finding.places.iter().map(place).collect();
            let mut of: Vec<u32> = finding.site.iter().chain(&finding.with).map(|site| step_of(graph, site)).collect();
            if of.is_empty() {
                of = places.iter().filter_map(|&place| wrote(place)).collect();
            }
            let (lacks, twice) = (finding.lacks.clone(), finding.twice.clone());
            FindingOf { message: finding.message.clone(), steps: of, places, lacks, twice }
        };
        let proofs: Vec<ProofOf> = report
            .proofs
            .iter()
            .map(|outcome| ProofOf {
                name: outcome.proof.to_string(),
                verdict: outcome.verdict,
                information: outcome.proof.is_information(),
                statement: outcome.statement.to_owned(),
                findings: outcome.findings.iter().map(finding).collect(),
                count: outcome.count,
            })
            .collect();
        let outputs = (0..schedule.ranks).flat_map(|rank| {
            (0..schedule.task.output_parts(rank, schedule.ranks)).map(move |part| match schedule.holds(rank, part) {
                Holds::Reduction { part } => PartOf { rank: None, part },
                Holds::Copy { rank, part } => PartOf { rank: Some(rank), part },
            })
        });
        let (inputs, chunks, only) = terms.contributions();
        Self {
            collective: schedule.task.collective.to_string(),
            origin: schedule.origin.to_string(),
            ranks: schedule.ranks,
            chunks: schedule.chunks,
            in_place,
            chunk_bytes: None,
            levels,
            lanes: lanes.collect(),
            critical: critical(order, &steps),
            steps,
            labels: labels.texts,
            order: order.to_vec(),
            buffers: buffers.collect(),
            expected: outputs.collect(),
            inputs: Inputs { terms: inputs, chunks, only },
            reductions: terms.reductions().collect(),
            proofs,
            modes: Vec::new(),
        }
    }

    /// Says how long a chunk is.
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: u64) -> Self {
        self.chunk_bytes = Some(bytes);
        self
    }

    /// Adds a way of launching it: by lane, the dispatch of each instruction, as in
    /// [`Plan::numbers`](crate::low_level::lower::Plan::numbers).
    #[must_use]
    pub fn mode(mut self, name: impl Into<String>, numbers: &[Vec<u32>]) -> Self {
        let mut used: Vec<u32> = numbers.iter().flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        let dispatch = |number: &u32| used.partition_point(|used| used < number) as u32;
        self.modes.push(ModeOf { name: name.into(), dispatches: numbers.iter().flatten().map(dispatch).collect() });
        self
    }

    /// The rank of a step.
    pub fn rank_of(&self, step: &Step) -> u32 {
        self.lanes[step.lane as usize].rank
    }

    /// The buffer in which a place lies, and the chunk in it. In place, what input and output share is output.
    pub fn at(&self, place: u32) -> Option<(&BufferOf, u32)> {
        let holds = |of: &&BufferOf| (of.first..of.first + of.chunks).contains(&place);
        let mut holding = self.buffers.iter().filter(holds);
        let first = holding.next()?;
        let of = holding.find(|of| of.buffer == Buffer::Output).unwrap_or(first);
        Some((of, place - of.first))
    }

    /// Whether nothing forbids to run it.
    pub fn is_right(&self) -> bool {
        self.proofs.iter().all(|proof| proof.verdict == Verdict::Holds || proof.information)
    }
}

/// Texts of labels, each once.
#[derive(Default)]
struct Labels {
    texts: Vec<String>,
    known: FxHashMap<String, u32>,
}

impl Labels {
    fn number(&mut self, text: String) -> u32 {
        let next = self.texts.len() as u32;
        *self.known.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        })
    }
}

/// All of a step but when it comes and what its operands come from.
fn step(replay: &Replay<'_>, id: u32, labels: &mut Labels) -> Step {
    let (schedule, graph, map) = (replay.run.schedule(), &*replay.run.graph, &*replay.run.map);
    let instruction = graph.instruction(schedule, id);
    let place = |address: &Address| map.index(*address) as u32;
    let waits = instruction.waits.iter().zip(graph.waits_of(id)).map(|(wait, &cell)| StepWait {
        row: wait.row,
        sender: wait.sender,
        at_least: wait.at_least,
        by: match graph.sources(cell) {
            Sources::Known(sources) => sources.to_vec(),
            Sources::Ambiguous => graph.notifiers_of(cell.cell).to_vec(),
            Sources::Never => Vec::new(),
        },
    });
    Step {
        lane: graph.lane_of(id),
        label: labels.number(instruction.label.plain().to_string()),
        level: None,
        from: instruction.from.iter().map(place).collect(),
        to: instruction.to.iter().map(place).collect(),
        chunks: instruction.chunks,
        made_by: vec![None; instruction.from.len()],
        values: replay.values(id).iter().map(|value| value.number()).collect(),
        waits: waits.collect(),
        notifies: instruction.notifies.iter().map(|to| StepNotify { peer: to.peer, row: to.row }).collect(),
        zeroes: instruction.zeroes_signals,
    }
}

/// Walks the steps in order: the level of each, and who made what it reads. Returns the number of levels.
fn follow(run: &Run<'_>, steps: &mut [Step]) -> u32 {
    let (graph, map, order) = (&*run.graph, &*run.map, &*run.order);
    let mut next = vec![0; graph.lanes() as usize];
    let mut written: Vec<Option<u32>> = vec![None; map.len()];
    let mut levels = 0;
    for (turn, &id) in (0..).zip(order) {
        let step = &steps[id as usize];
        let after = |by: &u32| steps[*by as usize].level.map_or(0, |level| level + 1);
        let level = step.waits.iter().flat_map(|wait| &wait.by).map(after).fold(next[step.lane as usize], u32::max);
        next[step.lane as usize] = level + 1;
        levels = levels.max(level + 1);
        let places = |first: u32| first as usize..(first + step.chunks) as usize;
        let latest = |&from: &u32| written[places(from)].iter().copied().max().flatten();
        let made_by: Vec<Option<u32>> = step.from.iter().map(latest).collect();
        let made_by = made_by.into_iter().map(|turn| turn.map(|turn: u32| order[turn as usize])).collect();
        for &to in &step.to {
            written[places(to)].fill(Some(turn));
        }
        let step = &mut steps[id as usize];
        (step.level, step.made_by) = (Some(level), made_by);
    }
    levels
}

/// The chain of steps that takes longest, where a chunk that is read or written takes as long as any other.
fn critical(order: &[u32], steps: &[Step]) -> Vec<u32> {
    let mut ends: Vec<(u64, Option<u32>)> = vec![(0, None); steps.len()];
    let mut last_of_lane = FxHashMap::default();
    let mut last: Option<u32> = None;
    for &id in order {
        let step = &steps[id as usize];
        let before = step.waits.iter().flat_map(|wait| &wait.by).chain(last_of_lane.get(&step.lane));
        // Of several that end at the same time it is the first that is named.
        let (begin, after) = before
            .map(|&by| (ends[by as usize].0, Some(by)))
            .max_by_key(|&(end, by)| (end, by.map(std::cmp::Reverse)))
            .unwrap_or((0, None));
        let takes = u64::from(step.chunks) * (step.from.len() + step.to.len()) as u64;
        ends[id as usize] = (begin + takes.max(1), after);
        last_of_lane.insert(step.lane, id);
        if last.is_none_or(|last| ends[last as usize].0 < ends[id as usize].0) {
            last = Some(id);
        }
    }
    let mut chain: Vec<u32> = std::iter::successors(last, |&id| ends[id as usize].1).collect();
    chain.reverse();
    chain
}

fn step_of(graph: &Graph, site: &Site) -> u32 {
    graph.lane(site.lane).start + site.instruction
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Algorithm, SyncStyle, build, draft};

    fn ring(ranks: u32) -> Schedule {
        build(Collective::AllReduce, Algorithm::Ring, ranks, SyncStyle::Neighbor).unwrap()
    }

    #[test]
    fn the_ring_is_drawn_round_by_round() {
        let picture = Picture::new(&ring(4), Options::default()).unwrap();
        assert_eq!((picture.lanes.len(), picture.steps.len(), picture.levels), (4, 24, 6));
        assert_eq!(
            picture.labels,
            ["RS round 1", "RS round 2", "RS round 3", "AG round 1", "AG round 2", "AG round 3"]
        );
        assert!(picture.is_right());
        for (id, step) in picture.steps.iter().enumerate() {
            assert_eq!(step.level, Some(id as u32 % 6));
            assert_eq!(step.values.len(), 1);
            // Rounds take what the left rank made in the round before, if that is not an input.
            let by = step.made_by.iter().flatten().copied().collect::<Vec<_>>();
            let left = (picture.rank_of(step) + 3) % 4;
            let before = (id % 6 > 0).then(|| left * 6 + id as u32 % 6 - 1);
            assert_eq!(by, before.into_iter().collect::<Vec<_>>(), "{step:?}");
            assert_eq!(step.waits.iter().flat_map(|wait| wait.by.clone()).collect::<Vec<_>>(), by);
        }
        // What every output holds in the end has all four contributions.
        let picture_terms = |term: u32| {
            let (mut ranks, mut stack) = (Vec::new(), vec![term]);
            while let Some(term) = stack.pop() {
                match term.checked_sub(1 + picture.inputs.terms) {
                    Some(at) => stack.extend(picture.reductions[at as usize]),
                    None => ranks.push((term - 1) / picture.inputs.chunks),
                }
            }
            ranks.sort_unstable();
            ranks
        };
        assert!(
            picture
                .steps
                .iter()
                .filter(|step| step.level >= Some(2))
                .all(|step| picture_terms(step.values[0]) == [0, 1, 2, 3])
        );
        assert_eq!(picture.critical.len(), 6);
        assert_eq!(picture.expected, [PartOf { rank: None, part: 0 }; 4]);
    }

    #[test]
    fn what_hangs_is_drawn_up_to_there() {
        let mut schedule = ring(3);
        schedule.lanes[1].instructions[1].notifies.clear();
        let picture = Picture::new(&schedule, Options::default()).unwrap();
        let stuck: Vec<u32> = (0..12).filter(|&id| picture.steps[id as usize].level.is_none()).collect();
        assert!(!picture.is_right());
        assert_eq!(picture.order.len() + stuck.len(), 12);
        assert!(stuck.contains(&10), "{stuck:?}");
        assert!(picture.steps.iter().filter(|step| step.level.is_none()).all(|step| step.values.is_empty()));
        schedule.lanes[0].instructions[0].to[0].chunk = 99;
        let error = Picture::new(&schedule, Options::default()).unwrap_err().to_string();
        assert!(error.contains("99"), "{error}");
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_there() {
        for (ranks, fits) in [(724, true), (725, false), (4096, false)] {
            let draft = draft(Collective::AllReduce, Algorithm::Ring, ranks, SyncStyle::Neighbor).unwrap();
            let said = Picture::check_size(&draft).map_err(|error| error.to_string());
            assert_eq!(said.is_ok(), fits, "{ranks}: {said:?}");
            assert!(said.is_ok() || said == Err(NoPicture::TooLarge.to_string()));
        }
    }

    #[test]
    fn dispatches_are_counted_from_0() {
        let picture = Picture::new(&ring(2), Options::default()).unwrap().mode("per-rank", &[vec![0, 2], vec![1, 5]]);
        assert_eq!(picture.modes[0].dispatches, [0, 2, 1, 3]);
    }
}
