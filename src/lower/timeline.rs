//! What the times of dispatches say of a launch's instructions.
//!
//! Outside fused mode the plan knows the dispatch of every instruction, so its times are theirs. In fused mode no clock can be
//! read: all that is known is an order, by the numbers that instructions drew, or one that the proof allows.

use std::ops::Range;

use super::mode::Mode;
use super::package::Package;
use crate::trace::{Clock, Span, Trace};

/// When each dispatch of a piece began and ended, in nanoseconds since the launch's first began.
pub(crate) type Times = Vec<(u64, u64)>;

/// What was measured of a launch, piece by piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// Of dispatches, where the device has a clock that can be believed.
    pub(crate) times: Option<Vec<Times>>,
    /// Nanoseconds by the host's clock since the launch began: before the piece was submitted, and once it was known to be done.
    pub(crate) seen: Vec<(u64, u64)>,
    /// What instructions drew, where they did, as the device left it.
    pub(crate) tickets: Vec<Vec<u32>>,
}

impl Measured {
    /// How far the device's first stamp lies behind the launch's beginning by the host's clock, and how far from there it may be.
    /// All dispatches of a piece ran between the two moments that the host saw of it: whatever the device's clock is set to, that
    /// leaves little room. None if it leaves none, for then the two clocks do not run alike.
    fn held_against_the_host(&self) -> Option<(u64, u64)> {
        let times = self.times.as_ref().filter(|times| times.len() == self.seen.len())?;
        let (mut least, mut most) = (0_i64, i64::MAX);
        for (times, &(submitted, done)) in times.iter().zip(&self.seen) {
            let (&(begin, _), &(_, end)) = times.first().zip(times.last())?;
            let [begin, end, submitted, done] = [begin, end, submitted, done].map(|at| i64::try_from(at).ok());
            least = least.max(submitted?.checked_sub(begin?)?);
            most = most.min(done?.checked_sub(end?)?);
        }
        let room = u64::try_from(most.checked_sub(least)?).ok()?;
        Some((least.cast_unsigned() + room / 2, room.div_ceil(2)))
    }
}

impl Package {
    /// The timeline of a launch over `pieces`: by the times of its dispatches, or in the order that was measured, or else in one that
    /// the proof allows.
    pub(crate) fn timeline(&self, pieces: Range<usize>, measured: &Measured) -> Trace {
        if let Some(spans) = self.as_drawn(pieces.clone(), &measured.tickets) {
            return Trace::new(Clock::Order { measured: true }, spans);
        }
        let held = measured.held_against_the_host();
        let late = held.map_or(0, |(late, _)| late);
        let by_host = |times: &Times| times.iter().map(|&(begin, end)| (late + begin, late + end)).collect::<Times>();
        let times = measured.times.as_ref().map(|times| times.iter().map(by_host).collect::<Vec<_>>());
        let one_after_the_other = |place: usize| {
            let first = place * self.plan.dispatches.len();
            (first..first + self.plan.dispatches.len()).map(|at| (at as u64, at as u64 + 1)).collect::<Times>()
        };
        let spans = (0..).zip(pieces).flat_map(|(place, piece)| match (self.plan.mode, &times) {
            (Mode::Fused, _) => self.in_order(place, piece),
            (_, Some(times)) => times.get(place).map_or_else(Vec::new, |times| self.by_dispatches(piece, times)),
            (_, None) => self.by_dispatches(piece, &one_after_the_other(place)),
        });
        let clock = match times {
            Some(_) if self.plan.mode != Mode::Fused => Clock::Device { calibrated: held.is_some() },
            _ => Clock::Order { measured: false },
        };
        let uncertainty = held.filter(|_| clock.has_times()).map(|(_, uncertainty)| uncertainty);
        Trace::new(clock, spans.collect()).uncertainty(uncertainty)
    }

    /// Every instruction at the time of its dispatch: from the end of its lane's last one it waits.
    fn by_dispatches(&self, piece: usize, times: &Times) -> Vec<Span> {
        let mut reached = vec![times.first().map_or(0, |&(begin, _)| begin); self.plan.lanes.len()];
        let mut spans = Vec::new();
        for (dispatch, &(begin, end)) in self.plan.dispatches.iter().zip(times) {
            let lanes = dispatch.first_lane as usize..(dispatch.first_lane + dispatch.lanes) as usize;
            for &lane in &self.plan.lanes[lanes] {
                let numbers = &self.plan.numbers[lane as usize];
                let first = numbers.partition_point(|&number| number < dispatch.number);
                let here = numbers[first..].iter().take_while(|&&number| number == dispatch.number).count();
                let since = reached[lane as usize];
                for instruction in first..first + here {
                    let span = Span::new(lane, instruction as u32).piece(piece as u32);
                    spans.push(span.at(since, begin, end));
                }
                if here > 0 {
                    reached[lane as usize] = end;
                }
            }
        }
        spans
    }

    /// In the order of the numbers that were drawn, piece after piece. None if there are none, or not those of a whole launch.
    fn as_drawn(&self, pieces: Range<usize>, tickets: &[Vec<u32>]) -> Option<Vec<Span>> {
        if tickets.is_empty() || tickets.len() != pieces.len() {
            return None;
        }
        let instructions = self.proved().schedule().instructions();
        let all = 2 * instructions * self.arena.channels as usize;
        let mut spans = Vec::with_capacity(all / 2 * pieces.len());
        for ((place, piece), words) in (0..).zip(pieces).zip(tickets) {
            let [drawn, _, numbers @ ..] = &words[..] else { return None };
            if numbers.len() < all || *drawn as usize != all || numbers[..all].iter().any(|&number| number >= *drawn) {
                return None;
            }
            let first = (place * all) as u64;
            let at = |channel: u32, instruction: u32, which: usize| {
                first + u64::from(numbers[2 * (channel as usize * instructions + instruction as usize) + which])
            };
            for channel in 0..self.arena.channels {
                for (&lane, range) in self.plan.lanes.iter().zip(&self.lanes) {
                    let mut begin = first;
                    for instruction in range.clone() {
                        let (ready, end) = (at(channel, instruction, 0), at(channel, instruction, 1));
                        // Before it came to it, or twice in one launch: nobody drew that.
                        if ready < begin || end <= ready {
                            return None;
                        }
                        let span = Span::new(lane, instruction - range.start).channel(channel).piece(piece as u32);
                        spans.push(span.at(begin, ready, end));
                        begin = end;
                    }
                }
            }
        }
        Some(spans)
    }

    /// The order that the proof has found.
    fn in_order(&self, place: usize, piece: usize) -> Vec<Span> {
        let graph = self.proved().graph();
        let first = (place * graph.instructions() as usize) as u64;
        let mut reached = vec![first; graph.lanes() as usize];
        let of = |(at, &id): (u64, &u32)| {
            let lane = graph.lane_of(id);
            let begin = std::mem::replace(&mut reached[lane as usize], at + 1);
            Span::new(lane, graph.index(id)).piece(piece as u32).at(begin, at, at + 1)
        };
        (first..).zip(self.proved().order()).map(of).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::{Collective, Op};
    use crate::element::DataType;
    use crate::lower::{DeviceClass, Limits, Request, Target, lower};
    use crate::proof::{Options, prove};
    use crate::schedule::{Algorithm, Sources, SyncStyle, build};

    fn package(algorithm: Algorithm, ranks: u32, mode: Mode) -> Package {
        let schedule = build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, Options::default()).unwrap();
        let request = Request::new(1000, DataType::F32, Op::Sum).dispatch(mode, Default::default());
        lower(&proved, &request, &Target::new(DeviceClass::Discrete, Limits::WEBGPU, None)).unwrap()
    }

    /// All dispatches ran between the two moments that the host saw, so the device's clock is known as well as that leaves room.
    #[test]
    fn a_clock_is_calibrated_as_well_as_the_host_saw() {
        let package = package(Algorithm::Ring, 4, Mode::PerStep);
        let dispatches = package.plan.dispatches.len() as u64;
        let of_piece = |first: u64| (0..dispatches).map(|at| (first + 10 * at, first + 10 * at + 9)).collect::<Times>();
        let length = 10 * dispatches - 1;
        for (starts, seen, expected) in [
            (vec![0], vec![(100, 100 + length)], Some((100, 0))),
            (vec![0], vec![(100, 106 + length)], Some((103, 3))),
            (vec![0], vec![(100, 107 + length)], Some((103, 4))),
            // The second piece leaves less room at either end.
            (vec![0, 1000], vec![(100, 900 + length), (1150, 1160 + length)], Some((155, 5))),
            (vec![0, 1000], vec![(100, 130 + length), (1050, 1200 + length)], Some((115, 15))),
            // It ran longer than the host saw.
            (vec![0], vec![(100, 99 + length)], None),
            (vec![0, 1000], vec![(0, 10 + length), (1050, 1100 + length)], None),
            // Nobody looked.
            (vec![0], vec![], None),
        ] {
            let times = Some(starts.iter().map(|&start| of_piece(start)).collect());
            let measured = Measured { times, seen: seen.clone(), tickets: Vec::new() };
            let trace = package.timeline(0..starts.len(), &measured);
            let first = trace.spans.iter().map(|span| span.ready).min().unwrap();
            assert_eq!(
                (first, trace.uncertainty),
                (expected.map_or(0, |(late, _)| late), expected.map(|(_, of)| of)),
                "{seen:?}"
            );
            assert_eq!(trace.clock, Clock::Device { calibrated: expected.is_some() }, "{seen:?}");
        }
        // Without times there is nothing to hold against anything.
        let trace = package.timeline(0..1, &Measured { seen: vec![(1, 2)], ..Measured::default() });
        assert_eq!((trace.clock, trace.uncertainty), (Clock::Order { measured: false }, None));
    }

    /// What instructions drew is their order; what no launch can have drawn is not believed.
    #[test]
    fn numbers_are_believed_where_a_launch_can_have_drawn_them() {
        let schedule = build(Collective::AllReduce, Algorithm::Ring, 3, SyncStyle::Neighbor).unwrap();
        let proved = prove(schedule, Options::default()).unwrap();
        let target = Target::new(DeviceClass::Discrete, Limits::WEBGPU, None);
        let request = Request::new(1000, DataType::F32, Op::Sum).dispatch(Mode::Fused, Default::default());
        let request = request.channels(2).tickets(true);
        let package = lower(&proved, &request, &target).unwrap();
        assert!(package.tells_order() && package.source().name.starts_with("fused-tickets"));
        let instructions = proved.schedule().instructions();
        let all = 4 * instructions;
        // Lane by lane, the second channel after the first.
        let right: Vec<u32> = [all as u32, instructions as u32].into_iter().chain(0..all as u32).collect();
        let timeline = |tickets| package.timeline(4..6, &Measured { tickets, ..Measured::default() });
        let trace = timeline(vec![right.clone(), right.clone()]);
        assert_eq!((trace.clock, trace.spans.len()), (Clock::Order { measured: true }, all));
        let first = trace.spans[0];
        assert_eq!((first.piece, first.channel, first.begin, first.ready, first.end), (4, Some(0), 0, 0, 1));
        let last = trace.spans[all - 1];
        let end = 2 * all as u64;
        assert_eq!((last.piece, last.channel, last.ready, last.end), (5, Some(1), end - 2, end - 1));
        let broken = |edit: fn(&mut Vec<u32>)| {
            let mut words = right.clone();
            edit(&mut words);
            words
        };
        for (case, pieces) in [
            ("none", vec![]),
            ("of one piece", vec![right.clone()]),
            ("short", vec![right.clone(), right[..10].to_vec()]),
            ("too few were drawn", vec![broken(|words| words[0] -= 1), right.clone()]),
            ("beyond what was drawn", vec![right.clone(), broken(|words| words[7] = 10_000)]),
            ("ended before it began", vec![broken(|words| words.swap(2, 3)), right.clone()]),
            ("before the one before it", vec![broken(|words| words.swap(3, 4)), right.clone()]),
            ("nothing", vec![Vec::new(), Vec::new()]),
        ] {
            let trace = timeline(pieces);
            assert_eq!(trace.clock, Clock::Order { measured: false }, "{case}");
            assert_eq!(trace.spans.len(), 2 * instructions, "{case}");
        }
        // Of other modes nobody draws, and whoever does not ask pays nothing.
        for request in [request.dispatch(Mode::PerStep, Default::default()), request.tickets(false)] {
            let package = lower(&proved, &request, &target).unwrap();
            assert!(!package.tells_order() && !package.source().text.contains("tickets"), "{request:?}");
        }
    }

    /// Everything once a piece, no wait over before its notify, and times only where there were any.
    #[test]
    fn every_instruction_has_the_time_of_its_dispatch() {
        for (algorithm, ranks) in [(Algorithm::Ring, 4), (Algorithm::Tree, 7), (Algorithm::BidirectionalRing, 5)] {
            for (mode, clocked) in
                [(Mode::PerStep, true), (Mode::PerStep, false), (Mode::PerRank, true), (Mode::Fused, false)]
            {
                let package = package(algorithm, ranks, mode);
                let dispatches = package.plan.dispatches.len() as u64;
                let of_piece =
                    |first: u64| (0..dispatches).map(|at| (first + 10 * at + 1, first + 10 * at + 9)).collect();
                let times: Vec<Times> = vec![of_piece(0), of_piece(10 * dispatches)];
                let trace =
                    package.timeline(3..5, &Measured { times: clocked.then_some(times), ..Measured::default() });
                let context = format!("{algorithm} {mode} {clocked}");
                assert_eq!(trace.clock.has_times(), clocked, "{context}");
                let graph = package.proved().graph();
                assert_eq!(trace.spans.len() as u32, 2 * graph.instructions(), "{context}");
                let find = |piece, id: u32| {
                    let wanted = (piece, graph.lane_of(id), graph.index(id));
                    *trace.spans.iter().find(|span| (span.piece, span.lane, span.instruction) == wanted).unwrap()
                };
                for (piece, id) in
                    [3, 4].into_iter().flat_map(|piece| (0..graph.instructions()).map(move |id| (piece, id)))
                {
                    let span = find(piece, id);
                    assert!(span.begin <= span.ready && span.ready < span.end, "{context}: {span:?}");
                    if clocked {
                        assert_eq!((span.ready % 10, span.end - span.ready), (1, 8), "{context}: {span:?}");
                    }
                    for &wait in graph.waits_of(id) {
                        let Sources::Known(sources) = graph.sources(wait) else { unreachable!() };
                        assert!(sources.iter().all(|&of| find(piece, of).end <= span.ready), "{context}: {span:?}");
                    }
                    assert!(piece == 4 || span.end <= find(4, id).ready, "{context}: pieces follow each other");
                }
            }
        }
    }
}
