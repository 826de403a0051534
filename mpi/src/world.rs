//! What a process knows of the others: who they are, and whether one of them has failed.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wgccl::error::TransportError;

use crate::line::{Code, Envelope, Flight, Line};
use crate::patience::{CROWDED, Patience};

/// Tags below this are ours; those of launches follow. Every MPI has tags up to 32767.
pub(crate) const FIRST_DATA_TAG: i32 = 5;
pub(crate) const AGREE_TAG: i32 = 0;
const FAILED_TAG: i32 = 1;
pub(crate) const COLLECT_TAG: i32 = 4;

/// Longest that a process which has failed waits for the others to take the news.
const PARTING: Duration = Duration::from_secs(1);

/// The processes of a backend, as one of them sees them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) line: Line,
    /// This process.
    pub(crate) me: u32,
    /// How many there are.
    pub(crate) all: u32,
    /// What they are called in reports, all of them once they have introduced themselves.
    pub(crate) names: Vec<String>,
    /// Turns that a wait for a message spins.
    pub(crate) spins: u32,
    /// Schedules that were prepared.
    pub(crate) prepared: Cell<u64>,
    failed: RefCell<Option<Failed>>,
    /// Words that nobody waits for.
    off: RefCell<Vec<Flight>>,
}

/// What the others are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) process: u32,
    pub(crate) reason: String,
}

impl World {
    pub(crate) fn new(line: Line, me: u32, all: u32) -> Self {
        Self {
            line,
            me,
            all,
            names: Vec::new(),
            spins: CROWDED,
            prepared: Cell::new(0),
            failed: RefCell::default(),
            off: RefCell::default(),
        }
    }

    pub(crate) fn name(&self, process: u32) -> String {
        self.names.get(process as usize).cloned().unwrap_or_else(|| format!("process {process}"))
    }

    /// This process's name.
    pub(crate) fn my_name(&self) -> String {
        self.name(self.me)
    }

    /// Refuses everything once a process has failed.
    pub(crate) fn usable(&self) -> Result<(), TransportError> {
        self.news()
            .map_or(Ok(()), |failed| Err(TransportError::Ended { me: self.my_name(), reason: self.blame(&failed) }))
    }

    /// "process 2 failed: reason".
    fn blame(&self, Failed { process, reason }: &Failed) -> String {
        format!("{} failed: {reason}", self.name(*process))
    }

    /// Who has failed, if anybody did.
    pub(crate) fn news(&self) -> Option<Failed> {
        let mut failed = self.failed.borrow_mut();
        if failed.is_none() {
            let waiting = self.line.look(None, FAILED_TAG).ok().flatten()?;
            let text = self.take(waiting.source, waiting.bytes, FAILED_TAG, PARTING).ok().flatten()?;
            let unreadable = |_| Failed { process: waiting.source, reason: "it did not say why".to_owned() };
            *failed = Some(serde_json::from_slice(&text).unwrap_or_else(unreadable));
            self.line.keep.set(true);
        }
        failed.clone()
    }

    /// Ends all launches, here and, by telling the others, there.
    pub(crate) fn fail(&self, reason: String) {
        // Whoever was told need not tell: the first one told everybody.
        if self.news().is_some() {
            return;
        }
        let failed = Failed { process: self.me, reason };
        self.line.keep.set(true);
        (0..self.all).filter(|&peer| peer != self.me).for_each(|peer| self.send_off(peer, FAILED_TAG, &failed));
        *self.failed.borrow_mut() = Some(failed);
        let mut patience = Patience::new(PARTING);
        while !self.all_gone() && patience.turn() {}
    }

    /// Sends words that nobody waits for.
    pub(crate) fn send_off(&self, peer: u32, tag: i32, words: &impl Serialize) {
        self.all_gone();
        self.off.borrow_mut().extend(self.post(peer, tag, words));
    }

    fn all_gone(&self) -> bool {
        let mut off = self.off.borrow_mut();
        off.retain_mut(|flight| !flight.test().unwrap_or(false));
        off.is_empty()
    }

    /// Begins to send a few words.
    pub(crate) fn post(&self, peer: u32, tag: i32, words: &impl Serialize) -> Result<Flight, Code> {
        let text = serde_json::to_vec(words).map_err(|error| Code(error.to_string()))?;
        let bytes = text.len();
        self.line.send(text, Envelope { peer, tag, bytes, piece: usize::MAX })
    }

    /// Receives words that are there.
    pub(crate) fn take(&self, peer: u32, bytes: usize, tag: i32, timeout: Duration) -> Result<Option<Vec<u8>>, Code> {
        let mut flight = self.line.receive(vec![0; bytes], Envelope { peer, tag, bytes, piece: usize::MAX })?;
        let mut patience = Patience::new(timeout);
        while !flight.test()? {
            if !patience.turn() {
                return Ok(None);
            }
        }
        Ok(flight.landed())
    }
}
