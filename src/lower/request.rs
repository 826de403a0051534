//! What is to be lowered for: the shape of a launch, and what a user named of the way in which it runs.
//!
//! Apart from the options of a backend, so that lowering knows nothing of what executes.

use super::mode::{Mode, Protocol};
use crate::collective::Op;
use crate::element::DataType;
use crate::fault::Fault;

/// What a package is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Elements of a part.
    pub count: usize,
    /// Element type.
    pub data_type: DataType,
    /// Reduction; collectives that reduce nothing do not look at it.
    pub op: Op,
    /// The dispatch mode.
    pub mode: Mode,
    /// How lanes know that data has arrived.
    pub protocol: Protocol,
    /// Independent slices of every chunk; by size and device if not given.
    pub channels: Option<u32>,
    /// Most bytes of the inputs, outputs and slots in an arena, below the device's own bound.
    pub arena_bytes: Option<u64>,
    /// Most vectors of a chunk in a piece.
    pub piece_vectors: Option<usize>,
    /// Most workgroups that share out the lanes of a channel.
    pub workgroups: Option<u32>,
    /// A defect to put in.
    pub fault: Option<Fault>,
    /// Whether instructions of a fused launch by signals say in which order they ran.
    pub tickets: bool,
}

impl Request {
    /// Parts of `count` elements of this type, reduced so: stepwise, by signals, which is sound on every device.
    pub fn new(count: usize, data_type: DataType, op: Op) -> Self {
        Self {
            count,
            data_type,
            op,
            mode: Mode::PerStep,
            protocol: Protocol::Simple,
            channels: None,
            arena_bytes: None,
            piece_vectors: None,
            workgroups: None,
            fault: None,
            tickets: false,
        }
    }

    /// Sets the dispatch mode and the protocol.
    #[must_use]
    pub fn dispatch(mut self, mode: Mode, protocol: Protocol) -> Self {
        (self.mode, self.protocol) = (mode, protocol);
        self
    }

    /// Sets [`piece_vectors`](Self::piece_vectors).
    #[must_use]
    pub fn piece_vectors(mut self, vectors: impl Into<Option<usize>>) -> Self {
        self.piece_vectors = vectors.into();
        self
    }

    /// Sets [`channels`](Self::channels).
    #[must_use]
    pub fn channels(mut self, channels: impl Into<Option<u32>>) -> Self {
        self.channels = channels.into();
        self
    }

    /// Sets [`arena_bytes`](Self::arena_bytes).
    #[must_use]
    pub fn arena_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.arena_bytes = bytes.into();
        self
    }

    /// Sets [`workgroups`](Self::workgroups).
    #[must_use]
    pub fn workgroups(mut self, workgroups: impl Into<Option<u32>>) -> Self {
        self.workgroups = workgroups.into();
        self
    }

    /// Sets [`tickets`](Self::tickets).
    #[must_use]
    pub fn tickets(mut self, tickets: bool) -> Self {
        self.tickets = tickets;
        self
    }

    /// Sets [`fault`](Self::fault).
    #[must_use]
    pub fn fault(mut self, fault: impl Into<Option<Fault>>) -> Self {
        self.fault = fault.into();
        self
    }
}
