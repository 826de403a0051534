//! Who is to blame for silence: of those that wait for each other, the one that does not answer.
//!
//! In a ring everybody waits as soon as one process stands still, and whose deadline is over first knows only its neighbour.

use std::time::Duration;

use crate::patience::Patience;
use crate::world::{Failed, World};

pub(crate) const ASK_TAG: i32 = 2;
pub(crate) const ANSWER_TAG: i32 = 3;

/// Whoever waits looks for questions far more often.
const GRACE: Duration = Duration::from_secs(1);

impl World {
    /// While this process waits for `peer`: answers who asks, and says who has failed.
    pub(crate) fn attend(&self, peer: u32) -> Option<Failed> {
        while let Ok(Some(asked)) = self.line.look(None, ASK_TAG) {
            let taken = self.take(asked.source, asked.bytes, ASK_TAG, GRACE);
            if !matches!(taken, Ok(Some(_))) {
                break;
            }
            self.send_off(asked.source, ANSWER_TAG, &peer);
        }
        self.news()
    }

    /// Follows who waits for whom from `peer` on, up to one that does not answer; `peer` itself where they wait in a circle.
    pub(crate) fn silent(&self, peer: u32) -> Result<u32, Failed> {
        let (mut suspect, mut asked) = (peer, vec![self.me]);
        while !asked.contains(&suspect) {
            asked.push(suspect);
            self.send_off(suspect, ASK_TAG, &());
            match self.answer(suspect, peer)? {
                Some(next) => suspect = next,
                None => return Ok(suspect),
            }
        }
        Ok(peer)
    }

    fn answer(&self, suspect: u32, peer: u32) -> Result<Option<u32>, Failed> {
        let mut patience = Patience::new(GRACE);
        loop {
            if let Ok(Some(answer)) = self.line.look(Some(suspect), ANSWER_TAG) {
                let text = self.take(suspect, answer.bytes, ANSWER_TAG, GRACE).ok().flatten();
                return Ok(text.and_then(|text| serde_json::from_slice(&text).ok()));
            }
            if let Some(failed) = self.attend(peer) {
                return Err(failed);
            }
            if !patience.turn() {
                return Ok(None);
            }
        }
    }
}
