//! Results of all processes, brought to the first one, which judges them.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wgccl::error::TransportError;
use wgccl::schedule::Placement;

use crate::agree::agree;
use crate::backend::MpiBackend;
use crate::line::{Code, Envelope, Flight};
use crate::patience::Patience;
use crate::world::{COLLECT_TAG, World};

impl MpiBackend {
    /// Brings every rank's buffer to the first process: there all of `buffers` are as long as the ranks' are, elsewhere those
    /// of its own ranks. All processes call it.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn collect(&self, buffers: &mut [&mut [u8]], timeout: Duration) -> Result<(), TransportError> {
        let world = self.world();
        world.usable()?;
        let placement = self.placement_of(buffers.len() as u32);
        let collected = collect(world, &placement, buffers, self.piece(), timeout);
        collected.inspect_err(|error| world.fail(error.to_string()))
    }

    /// What `judge` says, on the first process, of what all processes tell, in their order. All processes call it.
    ///
    /// # Errors
    /// [`TransportError`], and with it all launches end.
    pub fn decide<Q, A>(&self, mine: Q, timeout: Duration, judge: impl FnOnce(Vec<Q>) -> A) -> Result<A, TransportError>
    where
        Q: Serialize + DeserializeOwned,
        A: Serialize + DeserializeOwned,
    {
        let decided = agree(self.world(), mine, timeout, |all| judge(all.into_iter().flatten().collect()));
        decided.inspect_err(|error| self.world().fail(error.to_string()))
    }

    /// Ends all launches of all processes, who are told this reason: for what goes wrong on one between launches.
    pub fn fail(&self, reason: &str) {
        self.world().fail(reason.to_owned());
    }

    /// Whether a process has failed, so that nothing can be launched any more and `MPI_Finalize` may wait for the dead.
    pub fn has_failed(&self) -> bool {
        self.world().news().is_some()
    }
}

fn collect(
    world: &World,
    placement: &Placement,
    buffers: &mut [&mut [u8]],
    piece: usize,
    timeout: Duration,
) -> Result<(), TransportError> {
    let lost = |peer, Code(reason)| {
        let (me, peer) = (world.my_name(), world.name(peer));
        TransportError::Gone { me, peer, reason }
    };
    let of = |rank: usize| placement.device(rank as u32);
    let moved = (0..buffers.len()).filter(|&rank| if world.me == 0 { of(rank) != 0 } else { of(rank) == world.me });
    for rank in moved.collect::<Vec<_>>() {
        let (buffer, peer) = (&mut buffers[rank], if world.me == 0 { of(rank) } else { 0 });
        let bytes = buffer.len();
        let envelope = Envelope { peer, tag: COLLECT_TAG, bytes, piece };
        let flight = match world.me {
            0 => world.line.receive(vec![0; bytes], envelope),
            _ => world.line.send(buffer.to_vec(), envelope),
        };
        let landed = wait(world, flight.map_err(|code| lost(peer, code))?, peer, timeout);
        let landed = landed.map_err(|code| lost(peer, code))?;
        let Some(landed) = landed else {
            world.usable()?;
            return Err(TransportError::Unheard { me: world.my_name(), peer: world.name(peer), timeout });
        };
        if world.me == 0 {
            buffer.copy_from_slice(&landed);
        }
    }
    Ok(())
}

/// The buffer, or none where it did not come in time or somebody failed.
fn wait(world: &World, mut flight: Flight, peer: u32, timeout: Duration) -> Result<Option<Vec<u8>>, Code> {
    let mut patience = Patience::new(timeout);
    while !flight.test()? {
        if (patience.is_long() && world.attend(peer).is_some()) || !patience.turn() {
            return Ok(None);
        }
    }
    Ok(flight.landed())
}
