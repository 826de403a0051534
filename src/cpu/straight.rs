//! Small launches: the steps of all lanes in one order that the proof has found, on the calling thread, without signals.
//!
//! A launch of a kilobyte takes less time than its bookkeeping would. In the proof's order every wait is over when its
//! turn comes, so nobody has to look; where the data is, but for the users' buffers, is known beforehand; and steps that
//! continue each other in memory are one.

use std::ops::Range;

use super::contain::contained;
use super::kernel::{MOST_OPERANDS, Reduction, Store, fold};
use super::memory::{AT_ONCE_BYTES, LINE, Slices, Slots, reduce};
use super::program::{Operand, Program};
use super::short::{self, Short};
use crate::element::Element;
use crate::error::RunError;
use crate::proof::Proved;
use crate::schedule::Buffer;

/// Operands of a schedule above which its signals cost little beside its data.
const MOST_TO_STRAIGHTEN: usize = 1 << 16;
/// Pairs of operands and destinations up to which steps are tried for continuing each other.
const MOST_PAIRS: usize = 1 << 15;

/// A proved schedule over one payload, in one order.
pub(super) struct Straight<T: Element> {
    steps: Vec<Step>,
    /// Those that are short; there are none where contributions are scaled.
    shorts: Vec<Short>,
    runs: Vec<Run>,
    /// Where the runs of each epoch end, while steps are still gathered their steps; a whole schedule is one epoch.
    ends: Vec<usize>,
    /// Operands, then destinations, of every step.
    places: Vec<Place>,
    slots: Slots<T>,
    ranks: usize,
    /// All that a launch does is to reduce all inputs, whole and by rank, into all outputs.
    whole: bool,
    /// Inputs and outputs of a launch, then slots; the former dangle between launches.
    bases: Vec<*mut T>,
}

// SAFETY: the pointers are dereferenced only by functions whose callers answer for what they point to; of others' buffers they are
// without meaning after a launch.
unsafe impl<T: Element> Send for Straight<T> {}
// SAFETY: as above; and who calls these functions answers for nobody else's doing so at that time.
unsafe impl<T: Element> Sync for Straight<T> {}

#[derive(Clone, Copy)]
struct Step {
    first: usize,
    from: usize,
    to: usize,
    len: usize,
}

impl Step {
    fn is_short(&self) -> bool {
        matches!((self.from, self.to), (1 | 2, 1)) && self.len <= short::MOST_ELEMENTS
    }
}

/// Steps that come one after the other.
enum Run {
    Any(Range<usize>),
    /// Of all short ones.
    Short(Range<usize>),
}

/// Where an operand begins.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    base: u32,
    contribution: bool,
    offset: usize,
}

impl Place {
    /// Whether runs of `len` elements from here and there share memory without being the same.
    fn straddles(self, other: Self, len: usize) -> bool {
        self.base == other.base && self.offset != other.offset && self.offset.abs_diff(other.offset) < len
    }

    fn continues(self, other: Self, len: usize) -> bool {
        (self.base, self.contribution, self.offset) == (other.base, other.contribution, other.offset + len)
    }
}

impl<T: Element> Straight<T> {
    /// Of whole chunks. None where the schedule is so large that this would gain nothing, or there is no memory for it.
    pub(super) fn new(proved: &Proved, program: &Program, slices: Slices, how: Reduction<T>) -> Option<Self> {
        let (per, pitch) = (slices.payload.chunk_elements, slices.payload.chunk_elements);
        Self::of_channel(0, proved, program, Slices { per, pitch, ..slices }, how)
    }

    /// Of a channel's slice of each chunk.
    pub(super) fn of_channel(
        channel: usize,
        proved: &Proved,
        program: &Program,
        slices: Slices,
        how: Reduction<T>,
    ) -> Option<Self> {
        if program.operands.len() > MOST_TO_STRAIGHTEN {
            return None;
        }
        let whole = slices.len(channel);
        let slots = Slots::new(slices.slot_elements()?)?;
        let mut bases = vec![std::ptr::null_mut(); 2 * slices.ranks];
        bases.push(slots.as_ptr());
        let (steps, places, ends, ranks) = (Vec::new(), Vec::new(), Vec::new(), slices.ranks);
        let (shorts, runs) = (Vec::new(), Vec::new());
        let mut straight = Self { steps, shorts, runs, ends, places, slots, ranks, whole: false, bases };
        let mut order = proved.order().to_vec();
        order.sort_by_key(|&id| proved.epoch(id));
        for id in order {
            straight.ends.resize(proved.epoch(id) as usize, straight.steps.len());
            let step = &program.steps[id as usize];
            let (from, to) = program.operands(step);
            if from.is_empty() || to.is_empty() {
                continue;
            }
            for k in 0..step.chunks {
                let exists = |operand: &Operand| slices.exists(channel, *operand, k);
                let len = from.iter().chain(to).map(exists).fold(whole, usize::min);
                let first = straight.places.len();
                straight.places.extend(from.iter().chain(to).map(|&operand| Place {
                    base: match operand.buffer() {
                        Buffer::Input => operand.rank(),
                        Buffer::Output => slices.ranks + operand.rank(),
                        Buffer::Slot => 2 * slices.ranks,
                    } as u32,
                    contribution: operand.is_contribution(),
                    offset: slices.offset(channel, operand, k),
                }));
                straight.push(Step { first, from: from.len(), to: to.len(), len });
            }
        }
        straight.ends.resize(proved.epochs() as usize, straight.steps.len());
        straight.whole = !proved.is_part() && straight.is_whole();
        straight.find_runs(how.scales());
        Some(straight)
    }

    /// Its elements in so many parts, if it is one step over users' buffers: what that makes of an element needs no other.
    pub(super) fn split(&self, parts: usize, how: Reduction<T>) -> Option<Vec<Self>> {
        let [step] = self.steps[..] else { return None };
        if self.places.iter().any(|place| place.base as usize == 2 * self.ranks) {
            return None;
        }
        let per = step.len.div_ceil(parts).next_multiple_of(LINE / size_of::<T>());
        let part = |part: usize| {
            let (start, end) = ((part * per).min(step.len), ((part + 1) * per).min(step.len));
            let places = self.places.iter().map(|place| Place { offset: place.offset + start, ..*place }).collect();
            let mut straight = Self {
                steps: vec![Step { len: end - start, ..step }],
                shorts: Vec::new(),
                runs: Vec::new(),
                ends: vec![1],
                places,
                slots: Slots::new(0)?,
                ranks: self.ranks,
                whole: false,
                bases: self.bases.clone(),
            };
            straight.find_runs(how.scales());
            Some(straight)
        };
        (0..parts).map(part).collect()
    }

    /// Finds the runs of every epoch, once all steps are there.
    fn find_runs(&mut self, scales: bool) {
        let (mut first, is_short) = (0, |step: &Step| !scales && step.is_short());
        for end in &mut self.ends {
            for steps in self.steps[first..*end].chunk_by(|a, b| is_short(a) == is_short(b)) {
                let shorts = self.shorts.len();
                if is_short(&steps[0]) {
                    self.shorts.extend(steps.iter().map(|step| short(step, &self.places)));
                    self.runs.push(Run::Short(shorts..self.shorts.len()));
                } else {
                    self.runs.push(Run::Any(first..first + steps.len()));
                }
                first += steps.len();
            }
            *end = self.runs.len();
        }
    }

    fn is_whole(&self) -> bool {
        let [step] = self.steps[..] else { return false };
        let in_order = (0..).zip(&self.places).all(|(base, place)| place.base == base && place.offset == 0);
        in_order && (step.from, step.to) == (self.ranks, self.ranks)
    }

    /// Adds a step whose places are already there, to the last one if it does nothing but go on where that ended.
    fn push(&mut self, step: Step) {
        if step.len == 0 {
            return self.places.truncate(step.first);
        }
        let of_epoch = self.ends.last().copied().unwrap_or(0);
        if let Some(last) = self.steps[of_epoch..].last_mut()
            && (last.from, last.to) == (step.from, step.to)
            && step.from * step.to <= MOST_PAIRS
        {
            let (before, after) = (&self.places[last.first..step.first], &self.places[step.first..]);
            let len = last.len + step.len;
            let continues = after.iter().zip(before).all(|(after, before)| after.continues(*before, last.len));
            // As of every step: what is written is an operand, or shares nothing with one; and no other destination.
            let (from, to) = before.split_at(step.from);
            let apart = |(i, to_i): (usize, &Place)| {
                !from.iter().any(|from| from.straddles(*to_i, len))
                    && !to[..i].iter().any(|other| other == to_i || other.straddles(*to_i, len))
            };
            if continues && to.iter().enumerate().all(apart) {
                last.len = len;
                return self.places.truncate(step.first);
            }
        }
        self.steps.push(step);
    }

    /// One launch over buffers whose lengths have been checked; in place there are no inputs.
    ///
    /// # Safety
    /// The pointers are those of a caller's borrows, shared ones of inputs and exclusive ones of outputs, of the lengths that
    /// the schedule has for this payload.
    pub(super) unsafe fn launch(
        &mut self,
        how: Reduction<T>,
        inputs: impl ExactSizeIterator<Item = *const T>,
        outputs: impl ExactSizeIterator<Item = *mut T>,
    ) -> Result<(), RunError> {
        let ranks = inputs.len();
        if self.whole && is_few(how, self.steps[0].len, ranks, outputs.len()) {
            let (mut from, mut to) = ([std::ptr::null(); MOST_OPERANDS], [std::ptr::null_mut(); MOST_OPERANDS]);
            from.iter_mut().zip(inputs).for_each(|(from, input)| *from = input);
            to.iter_mut().zip(outputs).for_each(|(to, output)| *to = output);
            // SAFETY: handed on; a whole sum is of whole buffers.
            return unsafe { sum_whole(how, self.steps[0].len, &from[..ranks], &to[..ranks]) };
        }
        self.give(inputs, outputs);
        // SAFETY: the bases are those of this launch.
        unsafe { self.launch_given(how) }
    }

    /// Over which buffers [`launch_given`](Self::launch_given) goes.
    pub(super) fn give(&mut self, inputs: impl Iterator<Item = *const T>, outputs: impl Iterator<Item = *mut T>) {
        let (of_inputs, of_outputs) = self.bases.split_at_mut(self.ranks);
        of_inputs.iter_mut().zip(inputs).for_each(|(base, input)| *base = input.cast_mut());
        of_outputs.iter_mut().zip(outputs).for_each(|(base, output)| *base = output);
    }

    /// The same as to another of the same schedule.
    pub(super) fn give_as(&mut self, other: &Self) {
        let users = 2 * self.ranks;
        self.bases[..users].copy_from_slice(&other.bases[..users]);
    }

    /// One launch over the buffers that were given last.
    ///
    /// # Safety
    /// That of [`launch`](Self::launch) of these.
    pub(super) unsafe fn launch_given(&self, how: Reduction<T>) -> Result<(), RunError> {
        // SAFETY: handed on.
        unsafe { self.execute(how, &self.runs, &self.bases) }
    }

    /// The steps of an epoch of a part, over inputs, outputs and, last, [slots](Self::slots).
    ///
    /// # Safety
    /// That of [`launch`](Self::launch), of what the bases point to; epochs come in order.
    pub(super) unsafe fn launch_epoch(&self, how: Reduction<T>, epoch: u32, bases: &[*mut T]) -> Result<(), RunError> {
        let epoch = epoch as usize;
        let first = epoch.checked_sub(1).map_or(0, |before| self.ends[before]);
        // SAFETY: handed on.
        unsafe { self.execute(how, &self.runs[first..self.ends[epoch]], bases) }
    }

    /// Where its slots begin.
    pub(super) fn slots(&self) -> *mut T {
        self.slots.as_ptr()
    }

    /// Steps over the buffers at the bases. Apart, so that it is compiled once for an element type.
    ///
    /// # Safety
    /// That of [`launch`](Self::launch), of what the bases point to.
    unsafe fn execute(&self, how: Reduction<T>, runs: &[Run], bases: &[*mut T]) -> Result<(), RunError> {
        // An element type's own arithmetic may panic.
        contained(|| {
            let place = |place: &Place| bases[place.base as usize].wrapping_add(place.offset);
            for run in runs {
                // SAFETY: by the argument of `memory`, with the exclusive access of one thread: offsets are those of a
                // proved schedule's addresses, clipped to the payload; in place no address is in an input; and in the
                // proof's order everything that a step reads has been written. Steps that were joined still have
                // destinations that are the same as or disjoint from each operand. Short ones are of bases that are there.
                unsafe {
                    match run {
                        Run::Short(run) => short::each(how, &self.shorts[run.clone()], bases),
                        Run::Any(run) => {
                            for step in &self.steps[run.clone()] {
                                let (from, to) = self.places[step.first..][..step.from + step.to].split_at(step.from);
                                reduce(how, (from, to), place, |place| place.contribution, step.len, Store::Cached);
                            }
                        }
                    }
                }
            }
        })
        .map_or_else(panicked, Ok)
    }
}

fn short(step: &Step, places: &[Place]) -> Short {
    let at = |n: usize| (places[step.first + n].base, places[step.first + n].offset);
    Short { to: at(step.from), a: at(0), b: at(step.from - 1), len: step.len as u32, copies: step.from == 1 }
}

/// Made only when it is needed: dropping an error that nobody sees takes as long as adding a hundred elements.
#[cold]
fn panicked() -> Result<(), RunError> {
    Err(RunError::Panicked)
}

/// Whether these are a few small vectors: reading any list would take a noticeable part of their launch.
fn is_few<T: Element>(how: Reduction<T>, len: usize, inputs: usize, outputs: usize) -> bool {
    let few = inputs <= MOST_OPERANDS && inputs == outputs;
    few && !how.scales() && 2 * inputs * len * size_of::<T>() <= AT_ONCE_BYTES
}

/// What `direct` does to them.
///
/// # Safety
/// That of [`Straight::launch`]; all buffers have `len` elements, and there are as many outputs as inputs, up to
/// [`MOST_OPERANDS`].
unsafe fn sum_whole<T: Element>(
    how: Reduction<T>,
    len: usize,
    from: &[*const T],
    to: &[*mut T],
) -> Result<(), RunError> {
    // An element type's own arithmetic may panic.
    let done = contained(|| {
        // SAFETY: by the same argument as in `launch`: whole buffers, whose lengths have been checked; the borrows keep
        // outputs apart from each other and from inputs.
        unsafe { fold(how, to, from, 0, len, Store::Cached) }
    });
    done.map_or_else(panicked, Ok)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::collective::{Collective, Op};
    use crate::element::DataType;
    use crate::proof::{Options, prove};
    use crate::schedule::{Algorithm, SyncStyle, build};

    /// An all-reduce of f32, and how its chunks are cut where they are not.
    pub(in crate::cpu) fn uncut(
        algorithm: Algorithm,
        ranks: u32,
        count: usize,
        in_place: bool,
    ) -> (Proved, Program, Slices) {
        let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, Options::default().in_place(in_place)).unwrap();
        let payload = proved.payload(count, DataType::F32).unwrap();
        let slots = proved.address_map().all(Buffer::Slot).len();
        let (per, pitch) = (payload.chunk_elements, payload.chunk_elements);
        let slices = Slices { payload, per, pitch, slots, ranks: ranks as usize };
        let program = Program::new(&proved, None);
        (proved, program, slices)
    }

    fn straight(algorithm: Algorithm, ranks: u32, count: usize, in_place: bool) -> Straight<f32> {
        let (proved, program, slices) = uncut(algorithm, ranks, count, in_place);
        Straight::new(&proved, &program, slices, Reduction::new(Op::Sum, ranks)).unwrap()
    }

    /// `direct` is a sum of all inputs, whatever the number of chunks; a ring's rounds stay apart.
    #[test]
    fn steps_that_continue_each_other_are_one() {
        for (algorithm, ranks, count, steps) in [
            (Algorithm::Direct, 2, 256, 1),
            (Algorithm::Direct, 8, 256, 1),
            (Algorithm::Direct, 8, 253, 1),
            (Algorithm::Direct, 17, 1000, 1),
            (Algorithm::Ring, 2, 256, 4),
        ] {
            let straight = straight(algorithm, ranks, count, false);
            assert_eq!(straight.steps.len(), steps, "{algorithm} {ranks} {count}");
            let moved: usize = straight.steps.iter().map(|step| step.len * step.to).sum();
            assert!(moved >= ranks as usize * count, "{algorithm} {ranks} {count}");
        }
    }

    /// All steps are in one run or the other, in their order; what is scaled, long or of many operands is not short.
    #[test]
    fn short_steps_are_found() {
        for (algorithm, ranks, count, op, shorts) in [
            (Algorithm::Ring, 4, 256, Op::Sum, 24),
            (Algorithm::Ring, 4, 256, Op::Avg, 0),
            (Algorithm::Ring, 4, 4 * 260, Op::Sum, 0),
            (Algorithm::TwoPhase, 4, 256, Op::Sum, 12),
            (Algorithm::Direct, 4, 256, Op::Sum, 0),
        ] {
            let mut straight = straight(algorithm, ranks, count, false);
            let how = Reduction::<f32>::new(op, ranks);
            (straight.shorts, straight.runs) = Default::default();
            straight.ends = vec![straight.steps.len()];
            straight.find_runs(how.scales());
            assert_eq!(straight.shorts.len(), shorts, "{algorithm} {count} {op}");
            let len = |run: &Run| match run {
                Run::Any(run) | Run::Short(run) => run.len(),
            };
            assert_eq!(straight.runs.iter().map(len).sum::<usize>(), straight.steps.len(), "{algorithm} {count} {op}");
            assert_eq!(straight.ends, [straight.runs.len()], "{algorithm} {count} {op}");
        }
    }

    #[test]
    fn direct_is_whole_and_nothing_else_is() {
        for (algorithm, ranks, count, in_place, whole) in [
            (Algorithm::Direct, 1, 256, false, true),
            (Algorithm::Direct, 2, 256, false, true),
            (Algorithm::Direct, 4, 253, false, true),
            (Algorithm::Direct, 8, 256, false, true),
            (Algorithm::Direct, 2, 256, true, false),
            (Algorithm::Ring, 2, 256, false, false),
            (Algorithm::OnePhase, 2, 256, false, false),
        ] {
            assert_eq!(straight(algorithm, ranks, count, in_place).whole, whole, "{algorithm} {ranks} {in_place}");
        }
    }

    /// By the short way and the long one, for what is few enough and what is not.
    #[test]
    fn whole_sums_are_those_of_the_steps() {
        for (ranks, count) in [(1, 7), (2, 256), (2, 2048), (2, 2049), (3, 100), (4, 5), (4, 1024), (5, 64)] {
            let inputs: Vec<Vec<f32>> = (0..ranks)
                .map(|rank| (0..count).map(|i| 0.1 + (i * 7 + rank as usize * 13) as f32 / 3.0).collect())
                .collect();
            let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let mut straight = straight(Algorithm::Direct, ranks, count, false);
            let mut launch = |whole| {
                straight.whole = whole;
                let mut outputs = vec![vec![f32::NAN; count]; ranks as usize];
                let mut views: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                let (from, to) = (inputs.iter().map(|x| x.as_ptr()), views.iter_mut().map(|x| x.as_mut_ptr()));
                // SAFETY: all have `count` elements, as the schedule was cut for.
                unsafe { straight.launch(Reduction::new(Op::Sum, ranks), from, to) }.unwrap();
                outputs
            };
            let (short, long) = (launch(true), launch(false));
            assert_eq!(short, long, "{ranks} {count}");
            assert!(short.iter().flatten().all(|x| x.is_finite()), "{ranks} {count}");
        }
    }

    #[test]
    fn joined_steps_do_not_straddle() {
        let place = |offset| Place { base: 0, contribution: false, offset };
        assert!(place(0).straddles(place(8), 16) && place(8).straddles(place(0), 16));
        assert!(!place(0).straddles(place(8), 8) && !place(0).straddles(place(0), 8));
        // A shift by one chunk: each step is sound, and both together would read what they write.
        let mut shift = straight(Algorithm::Direct, 1, 4, true);
        shift.steps.clear();
        shift.places.clear();
        for first in [0, 8] {
            let at = shift.places.len();
            shift.places.extend([place(first), place(first + 8)]);
            shift.push(Step { first: at, from: 1, to: 1, len: 8 });
        }
        assert_eq!(shift.steps.len(), 2);
    }
}
