//! Processes compare what they are about to do: all tell the first one, which judges and tells all.
//!
//! Two messages for a process, by which it is known who did not come; MPI's own gathering calls cannot say that, nor end.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wgccl::error::TransportError;

use crate::line::{Code, Flight};
use crate::patience::Patience;
use crate::world::{AGREE_TAG, World};

/// The first process waits first, so that it, and not silence, tells the others who is missing.
const MORE: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
enum Answer<A> {
    Judged(A),
    Unheard(u32),
}

/// What cannot be read, because another version wrote it, is none.
pub(crate) type Told<Q> = Option<Q>;

/// What `judge` says, on the first process, of what all have told, in their order.
pub(crate) fn agree<Q, A>(
    world: &World,
    mine: Q,
    timeout: Duration,
    judge: impl FnOnce(Vec<Told<Q>>) -> A,
) -> Result<A, TransportError>
where
    Q: Serialize + DeserializeOwned,
    A: Serialize + DeserializeOwned,
{
    world.usable()?;
    if world.me > 0 {
        let flight = world.post(0, AGREE_TAG, &mine).map_err(|code| lost(world, 0, code))?;
        let answer = hear(world, 0, timeout.saturating_add(MORE), timeout)?;
        settle(world, vec![(0, flight)], timeout)?;
        return match serde_json::from_slice(&answer) {
            Ok(Answer::Judged(answer)) => Ok(answer),
            Ok(Answer::Unheard(me)) if me == world.me => {
                let reason = format!("the others waited {timeout:?} for it");
                Err(TransportError::Ended { me: world.my_name(), reason })
            }
            Ok(Answer::Unheard(peer)) => Err(unheard(world, peer, timeout)),
            Err(error) => Err(lost(world, 0, Code(error.to_string()))),
        };
    }
    // One time for all: whoever told early waits no longer for an answer.
    let (start, mut all) = (Instant::now(), vec![Some(mine)]);
    for peer in 1..world.all {
        match hear(world, peer, timeout.saturating_sub(start.elapsed()), timeout) {
            Ok(told) => all.push(serde_json::from_slice(&told).ok()),
            Err(error) => {
                // They wait for an answer; what becomes of it is not waited for.
                (1..world.all).for_each(|other| world.send_off(other, AGREE_TAG, &Answer::<()>::Unheard(peer)));
                return Err(error);
            }
        }
    }
    let answer = Answer::Judged(judge(all));
    let post = |peer| {
        world.post(peer, AGREE_TAG, &answer).map(|flight| (peer, flight)).map_err(|code| lost(world, peer, code))
    };
    let flights = (1..world.all).map(post).collect::<Result<_, _>>()?;
    settle(world, flights, timeout)?;
    match answer {
        Answer::Judged(answer) => Ok(answer),
        Answer::Unheard(peer) => Err(unheard(world, peer, timeout)),
    }
}

/// Waits for the words of one process.
fn hear(world: &World, peer: u32, wait: Duration, timeout: Duration) -> Result<Vec<u8>, TransportError> {
    let mut patience = Patience::new(wait);
    loop {
        if let Some(waiting) = world.line.look(Some(peer), AGREE_TAG).map_err(|code| lost(world, peer, code))? {
            let text = world.take(peer, waiting.bytes, AGREE_TAG, wait).map_err(|code| lost(world, peer, code))?;
            return text.ok_or_else(|| unheard(world, peer, timeout));
        }
        if patience.is_long() && world.attend(peer).is_some() {
            world.usable()?;
        }
        if !patience.turn() {
            return Err(unheard(world, peer, timeout));
        }
    }
}

/// Waits until words have been taken.
fn settle(world: &World, mut flights: Vec<(u32, Flight)>, timeout: Duration) -> Result<(), TransportError> {
    let mut patience = Patience::new(timeout);
    while let Some((peer, flight)) = flights.last_mut() {
        match flight.test() {
            Ok(true) => drop(flights.pop()),
            Ok(false) if patience.turn() => {}
            Ok(false) => return Err(unheard(world, *peer, timeout)),
            Err(code) => return Err(lost(world, *peer, code)),
        }
    }
    Ok(())
}

fn unheard(world: &World, peer: u32, timeout: Duration) -> TransportError {
    TransportError::Unheard { me: world.my_name(), peer: world.name(peer), timeout }
}

fn lost(world: &World, peer: u32, Code(reason): Code) -> TransportError {
    TransportError::Gone { me: world.my_name(), peer: world.name(peer), reason }
}
