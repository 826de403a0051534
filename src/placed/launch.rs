//! A launch on several devices: a thread for each, and one verdict of all.
//!
//! Buffers of all ranks come in one list and are handed to the devices that have those ranks.

use std::panic::resume_unwind;
use std::thread::{Builder, ScopedJoinHandle};

use super::mail::{Courier, Mail};
use crate::backend::{Ran, Share, Transport};
use crate::error::{RunError, TransportError};
use crate::schedule::Placement;

/// Calls `launch` on every device, each on a thread of its own, the first on the calling one.
pub(super) fn all<A: Send>(
    shares: &mut [Box<dyn Share>],
    given: Vec<A>,
    mail: &Mail,
    launch: impl Fn(&mut dyn Share, A, &mut dyn Transport) -> Result<Ran, RunError> + Sync,
) -> Result<Ran, RunError> {
    mail.clear();
    let one = |me: u32, share: &mut Box<dyn Share>, given: A| {
        // Also where it unwinds.
        let mut told = Told { mail, me, well: false };
        let ran = launch(&mut **share, given, &mut Courier { mail, me });
        told.well = ran.is_ok();
        ran
    };
    let mut numbered = (0..).zip(shares).zip(given).map(|((me, share), given)| (me, share, given));
    let Some(first) = numbered.next() else { return Ok(Ran::default()) };
    let results: Vec<Result<Ran, RunError>> = std::thread::scope(|scope| {
        let start = |(me, share, given)| {
            let started = Builder::new().spawn_scoped(scope, move || one(me, share, given));
            // The others would wait for it.
            started.inspect_err(|_| mail.fail(me))
        };
        let others: Vec<_> = numbered.map(start).collect();
        let (me, share, given) = first;
        let first = one(me, share, given);
        let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        let joined = others.into_iter().map(|other| other.map_err(RunError::Threads).and_then(join));
        [first].into_iter().chain(joined).collect()
    });
    verdict(results)
}

/// Tells the others if a device fails.
struct Told<'a> {
    mail: &'a Mail,
    me: u32,
    well: bool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.well {
            self.mail.fail(self.me);
        }
    }
}

/// What all took together, or what went wrong first: a device's own failure before what others say of it.
fn verdict(results: Vec<Result<Ran, RunError>>) -> Result<Ran, RunError> {
    let rank = |error: &RunError| match error {
        RunError::Transport(TransportError::PeerFailed { .. }) => 2,
        RunError::Transport(_) => 1,
        _ => 0,
    };
    let (mut ran, mut wrong) = (Ran::default(), None::<RunError>);
    for result in results {
        match result {
            Ok(one) => ran.dispatches += one.dispatches,
            Err(error) if wrong.as_ref().is_none_or(|known| rank(&error) < rank(known)) => wrong = Some(error),
            Err(_) => {}
        }
    }
    wrong.map_or(Ok(ran), Err)
}

/// For each device, the inputs of all ranks: empty for those that are elsewhere.
pub(super) fn inputs_of<'a>(placement: &Placement, inputs: &[&'a [u8]]) -> Vec<Vec<&'a [u8]>> {
    let of = |device: u32| {
        let here = |(rank, &input): (u32, &&'a [u8])| if placement.device(rank) == device { input } else { &[] };
        (0..).zip(inputs).map(here).collect()
    };
    (0..placement.devices()).map(of).collect()
}

/// The same of outputs, or of buffers in place.
pub(super) fn outputs_of<'a>(placement: &Placement, outputs: &'a mut [&mut [u8]]) -> Vec<Vec<&'a mut [u8]>> {
    let mut of_devices: Vec<Vec<&mut [u8]>> = (0..placement.devices()).map(|_| Vec::new()).collect();
    for (rank, output) in (0..).zip(outputs) {
        let mut output = Some(&mut **output);
        for (device, of) in (0..).zip(&mut of_devices) {
            let here = placement.device(rank) == device;
            of.push(output.take_if(|_| here).unwrap_or_default());
        }
    }
    of_devices
}
