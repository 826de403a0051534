//! What the times of dispatches say of a launch's instructions.
//!
//! Outside fused mode the plan knows the dispatch of every instruction, so its times are theirs. In fused mode no clock can be
//! read: all that is known is an order.

use std::ops::Range;

use super::mode::Mode;
use super::package::Package;
use crate::trace::{Clock, Span, Trace};

/// When each dispatch of a piece began and ended, in nanoseconds since the launch's first began.
pub(crate) type Times = Vec<(u64, u64)>;

impl Package {
    /// The timeline of a launch over `pieces`, of whose dispatches these times are known; or its order.
    pub(crate) fn timeline(&self, pieces: Range<usize>, times: Option<&[Times]>) -> Trace {
        let one_after_the_other = |place: usize| {
            let first = place * self.plan.dispatches.len();
            (first..first + self.plan.dispatches.len()).map(|at| (at as u64, at as u64 + 1)).collect::<Times>()
        };
        let spans = (0..).zip(pieces).flat_map(|(place, piece)| match (self.plan.mode, times) {
            (Mode::Fused, _) => self.in_order(place, piece),
            (_, Some(times)) => times.get(place).map_or_else(Vec::new, |times| self.by_dispatches(piece, times)),
            (_, None) => self.by_dispatches(piece, &one_after_the_other(place)),
        });
        let clock = match times {
            Some(_) if self.plan.mode != Mode::Fused => Clock::Device { calibrated: false },
            _ => Clock::Order { measured: false },
        };
        Trace::new(clock, spans.collect())
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
                let trace = package.timeline(3..5, clocked.then_some(&times));
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
