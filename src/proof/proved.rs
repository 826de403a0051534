//! A schedule with its proofs and all that they derived: signal graph, address map, order, summation trees.
//!
//! Executors, golden and pictures take these from here; nobody derives them again.

use std::sync::Arc;

use super::epochs::Epochs;
use super::report::Report;
use super::result::Terms;
use crate::buffers::Extents;
use crate::element::DataType;
use crate::payload::{Payload, PayloadError};
use crate::schedule::{AddressMap, Graph, Schedule};

/// What is presumed about a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Options {
    /// Every rank's input and output are the same memory, by NCCL's rules: of buffers of unlike length, the shorter is
    /// the rank's part of the longer.
    pub in_place: bool,
    /// Most bytes that the proof may take for chunks, clocks and terms, which a few words of a schedule can ask for without
    /// end; more is a finding. If not given: 1 GiB, and four bytes for each of the schedule's. All else that a proof takes is
    /// at most 16 times as long as the schedule, and as a rule once to twice.
    pub memory: Option<u64>,
}

impl Options {
    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub fn memory(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.memory = bytes.into();
        self
    }

    /// With every rank's input and output in one memory, or apart.
    #[must_use]
    pub fn in_place(mut self, in_place: bool) -> Self {
        self.in_place = in_place;
        self
    }
}

/// A schedule with its proofs. Executors take nothing else. Clones share all of it.
#[derive(Debug, Clone)]
pub struct Proved(Arc<Parts>);

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) schedule: Schedule,
    pub(super) options: Options,
    pub(super) graph: Graph,
    pub(super) map: AddressMap,
    /// Instructions, by their number in the graph, in an order in which they may execute.
    pub(super) order: Vec<u32>,
    pub(super) terms: Arc<Terms>,
    pub(super) report: Arc<Report>,
    /// Of one device's part.
    pub(super) epochs: Option<Epochs>,
}

impl Proved {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The schedule as it is in effect: in place, copies from a place to itself are left out.
    pub fn schedule(&self) -> &Schedule {
        &self.0.schedule
    }

    /// What was presumed.
    pub fn options(&self) -> Options {
        self.0.options
    }

    /// Whether every rank's input and output are one buffer.
    pub fn in_place(&self) -> bool {
        self.0.options.in_place
    }

    /// The proofs.
    pub fn report(&self) -> &Report {
        &self.0.report
    }

    /// What every output chunk is made of, in exact order.
    pub fn terms(&self) -> &Terms {
        &self.0.terms
    }

    pub(super) fn shared_terms(&self) -> &Arc<Terms> {
        &self.0.terms
    }

    pub(super) fn shared_report(&self) -> &Arc<Report> {
        &self.0.report
    }

    pub(super) fn epochs_of_part(&self) -> Option<&Epochs> {
        self.0.epochs.as_ref()
    }

    /// Which addresses are the same memory.
    pub fn address_map(&self) -> &AddressMap {
        &self.0.map
    }

    /// Who notifies whom.
    pub(crate) fn graph(&self) -> &Graph {
        &self.0.graph
    }

    /// Instructions, by their number in the graph, in an order in which they may execute.
    pub(crate) fn order(&self) -> &[u32] {
        &self.0.order
    }

    /// How `count` elements of a part are cut into the schedule's chunks.
    ///
    /// # Errors
    /// [`PayloadError`] for a count that the schedule cannot be launched over.
    pub fn payload(&self, count: usize, data_type: DataType) -> Result<Payload, PayloadError> {
        Payload::new(self.schedule(), count, data_type.bytes())
    }

    /// Lengths of all ranks' buffers for parts of `count` elements.
    pub fn extents(&self, count: usize) -> Extents<'_> {
        Extents::new(self.address_map(), count)
    }
}
