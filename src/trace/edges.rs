//! Which spans a span waited for: the schedule's notify -> wait edges, found among the spans of a trace.
//!
//! Files draw them and the critical path walks them, so they are looked up in one place.

use super::{Span, Trace};
use crate::proof::Proved;
use crate::schedule::{Graph, Sources};

/// A trace beside the schedule that it is of.
#[derive(Clone, Copy)]
pub(super) struct Edges<'a> {
    spans: &'a [Span],
    graph: &'a Graph,
}

impl<'a> Edges<'a> {
    /// None where a span names no instruction of the schedule, or the spans are in no order: then it is of another one.
    pub(super) fn new(trace: &'a Trace, proved: &'a Proved) -> Option<Self> {
        let edges = Self { spans: &trace.spans, graph: proved.graph() };
        let known = trace.spans.iter().all(|span| {
            let lane = (span.lane < edges.graph.lanes()).then(|| edges.graph.lane(span.lane));
            lane.is_some_and(|lane| (span.instruction as usize) < lane.len())
        });
        (known && trace.spans.is_sorted_by_key(Span::key)).then_some(edges)
    }

    /// The instruction's number in the graph.
    pub(super) fn id(&self, span: &Span) -> u32 {
        self.graph.lane(span.lane).start + span.instruction
    }

    /// Whether it awaits signals.
    pub(super) fn waits(&self, span: &Span) -> bool {
        !self.graph.waits_of(self.id(span)).is_empty()
    }

    /// Where the spans are whose notifies it awaited.
    pub(super) fn notifiers(self, span: &'a Span) -> impl Iterator<Item = usize> + 'a {
        let sources = self.graph.waits_of(self.id(span)).iter().flat_map(move |&wait| match self.graph.sources(wait) {
            Sources::Known(sources) => sources,
            Sources::Ambiguous | Sources::Never => &[],
        });
        sources.filter_map(move |&id| {
            let (lane, instruction) = (self.graph.lane_of(id), self.graph.index(id));
            self.find(&Span { lane, instruction, ..*span })
        })
    }

    /// Where the span of the lane's instruction before it is.
    pub(super) fn before(&self, span: &Span) -> Option<usize> {
        self.find(&Span { instruction: span.instruction.checked_sub(1)?, ..*span })
    }

    fn find(&self, wanted: &Span) -> Option<usize> {
        self.spans.binary_search_by_key(&wanted.key(), Span::key).ok()
    }
}
