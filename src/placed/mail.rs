//! Messages between the devices of one process: each has a thread, and a message is a buffer that changes hands, or the sender's
//! own memory, from which the receiver takes it.
//!
//! Whoever waits is woken when a peer fails, so that nobody waits in vain for what will not come.
//!
//! # Why receivers may read there
//! Whoever sends from own memory says that nobody writes there until the launch has returned ([`Transport::send_from`]), and a launch
//! returns when the threads of all devices have ended ([`super::launch::all`]). Messages are taken by these threads only, and what
//! a launch that failed has left is forgotten before the next one.

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

#[derive(Debug)]
enum Bytes {
    Own(Vec<u8>),
    /// The sender's memory.
    Lent(*const u8),
}

// SAFETY: bytes that nobody writes while they are read, by the argument above.
unsafe impl Send for Bytes {}

#[derive(Debug, Default)]
struct State {
    /// By sender and receiver.
    on_the_way: FxHashMap<(u32, u32), VecDeque<Bytes>>,
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
        for message in on_the_way.values_mut().flat_map(|messages| messages.drain(..)) {
            if let Bytes::Own(buffer) = message {
                spare.push(buffer);
            }
        }
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

impl Courier<'_> {
    fn post(&self, peer: u32, bytes: Bytes) {
        self.mail.state().on_the_way.entry((self.me, peer)).or_default().push_back(bytes);
        self.mail.arrived.notify_all();
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
        self.post(message.peer, Bytes::Own(buffer));
        Ok(())
    }

    unsafe fn send_from(&mut self, message: Message, from: *const u8) -> Result<(), TransportError> {
        self.post(message.peer, Bytes::Lent(from));
        Ok(())
    }

    fn receive(&mut self, message: Message, take: &mut dyn FnMut(&[u8])) -> Result<(), TransportError> {
        let Message { peer, boundary, bytes, .. } = message;
        // A patience that no clock can count is one for ever.
        let (mail, until) = (self.mail, Instant::now().checked_add(self.mail.patience));
        let mut state = mail.state();
        let message = loop {
            if let Some(message) = state.on_the_way.get_mut(&(peer, self.me)).and_then(VecDeque::pop_front) {
                break message;
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
        match message {
            Bytes::Own(buffer) => {
                take(&buffer[..bytes]);
                mail.state().spare.push(buffer);
            }
            // SAFETY: valid for the message's bytes and written by nobody, by the argument above.
            Bytes::Lent(from) => take(unsafe { std::slice::from_raw_parts(from, bytes) }),
        }
        Ok(())
    }
}
