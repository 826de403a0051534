//! Messages between the devices of one process: each has a thread, and a message is a buffer that changes hands.
//!
//! Whoever waits is woken when a peer fails, so that nobody waits in vain for what will not come.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::backend::{Message, Transport};
use crate::error::TransportError;

/// Between two looks, where there is no deadline.
const FOREVER: Duration = Duration::from_secs(3600);

/// What the devices of a launch share.
#[derive(Debug)]
pub(super) struct Mail {
    state: Mutex<State>,
    arrived: Condvar,
    names: Vec<String>,
    boundaries: u32,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// By sender and receiver.
    on_the_way: FxHashMap<(u32, u32), VecDeque<Vec<u8>>>,
    /// Buffers of messages that were taken, for the next ones: fresh pages cost more than a copy.
    spare: Vec<Vec<u8>>,
    failed: Option<u32>,
}

/// One device's access to it.
pub(super) struct Courier<'a> {
    pub(super) mail: &'a Mail,
    pub(super) me: u32,
}

impl Mail {
    pub(super) fn new(names: Vec<String>, boundaries: u32, patience: Duration) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), names, boundaries, patience }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a launch: nothing is on the way, and nobody has failed.
    pub(super) fn clear(&self) {
        let State { on_the_way, spare, failed } = &mut *self.state();
        *failed = None;
        on_the_way.values_mut().for_each(|messages| spare.extend(messages.drain(..)));
    }

    /// Tells everybody that `me` will send nothing any more.
    pub(super) fn fail(&self, me: u32) {
        self.state().failed.get_or_insert(me);
        self.arrived.notify_all();
    }

    fn name(&self, device: u32) -> String {
        format!("device {device} ({})", self.names.get(device as usize).map_or("?", String::as_str))
    }
}

impl Transport for Courier<'_> {
    fn send(&mut self, message: Message, fill: &mut dyn FnMut(&mut [u8])) -> Result<(), TransportError> {
        let mut buffer = {
            let spare = &mut self.mail.state().spare;
            // The smallest that is large enough, else the largest.
            let fits = (0..spare.len()).filter(|&i| spare[i].len() >= message.bytes).min_by_key(|&i| spare[i].len());
            let any = fits.or_else(|| (0..spare.len()).max_by_key(|&i| spare[i].len()));
            any.map(|i| spare.swap_remove(i)).unwrap_or_default()
        };
        if buffer.len() < message.bytes {
            buffer.resize(message.bytes, 0);
        }
        fill(&mut buffer[..message.bytes]);
        let mut state = self.mail.state();
        state.on_the_way.entry((self.me, message.peer)).or_default().push_back(buffer);
        drop(state);
        self.mail.arrived.notify_all();
        Ok(())
    }

    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        let Message { peer, boundary, bytes, .. } = message;
        // A patience that no clock can count is one for ever.
        let (mail, until) = (self.mail, Instant::now().checked_add(self.mail.patience));
        let mut state = mail.state();
        let buffer = loop {
            if let Some(buffer) = state.on_the_way.get_mut(&(peer, self.me)).and_then(VecDeque::pop_front) {
                break buffer;
            }
            let (me, boundaries) = (mail.name(self.me), mail.boundaries);
            if let Some(failed) = state.failed {
                return Err(TransportError::PeerFailed { me, peer: mail.name(failed), boundary, boundaries });
            }
            let left = until.map_or(FOREVER, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                let (peer, timeout) = (mail.name(peer), mail.patience);
                return Err(TransportError::Deadline { me, peer, boundary, boundaries, timeout });
            }
            state = mail.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        take(&buffer[..bytes]);
        mail.state().spare.push(buffer);
        Ok(())
    }
}
