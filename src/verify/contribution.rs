//! Whether every contribution is read as an input exactly while it is one, which averages need: they scale it there.
//!
//! Out of place it cannot be otherwise. In place an input is also an output, and a schedule may keep one where it is and
//! read it under the other name; no sum would notice.

use super::order::Places;
use super::{Graph, Proved, Site};
use crate::schedule::{Address, Buffer};

/// A read that an average would scale twice or not at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("avg in place is refused: {site} reads {address} {when}; launch it out of place, or use sum and divide")]
pub struct Unscalable {
    /// Who reads.
    pub site: Site,
    /// What it reads, in its own words.
    pub address: Address,
    when: &'static str,
}

impl Proved {
    /// Whether inputs can be multiplied by something when they are read.
    pub(crate) fn scalable(&self) -> Result<(), Unscalable> {
        if !self.options.in_place {
            return Ok(());
        }
        let (schedule, places) = (&self.schedule, Places::new(&self.schedule, self.options));
        let graph = Graph::new(schedule);
        let mut written = vec![false; places.len(schedule)];
        for &id in &self.order {
            let instruction = graph.instruction(schedule, id);
            for k in 0..instruction.chunks {
                let at = |start: Address| Address { chunk: start.chunk + k, ..start };
                for address in instruction.from.iter().copied().map(at) {
                    let when = match (address.buffer, written[places.index(address)]) {
                        (Buffer::Input, true) => "after it was written, so it may be scaled already",
                        (Buffer::Output, false) => "before it was written, so it is an input that is not scaled",
                        _ => continue,
                    };
                    return Err(Unscalable { site: graph.site(schedule, id), address, when });
                }
                instruction.to.iter().for_each(|&to| written[places.index(at(to))] = true);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Algorithm, Instruction, Lane, Phase, Schedule, Sync, build};
    use crate::verify::{Options, prove};

    /// Rank 0 puts its contribution where it already is, then reduces `own`, one of its names, with rank 1's input.
    fn keeps(own: Address) -> Proved {
        let results = [Address::output(0, 0), Address::output(1, 0)];
        let keep = Instruction::new(Phase::Move, 1).copy(Address::input(0, 0)).to(results[0]);
        let reduce = Instruction::new(Phase::Move, 2).reduce(own, Address::input(1, 0)).to(results[0]).to(results[1]);
        let schedule = Schedule::new("keep", Collective::AllReduce, 2, 1)
            .signal_rows(1)
            .lane(Lane::new(0).with(keep).with(reduce.notify(1, 0)))
            .lane(Lane::new(1).with(Instruction::new(Phase::Move, 3).wait(0, 0)));
        prove(schedule, Options { in_place: true }).unwrap()
    }

    #[test]
    fn a_contribution_under_another_name_is_found() {
        assert_eq!(keeps(Address::output(0, 0)).scalable(), Ok(()));
        let twice = keeps(Address::input(0, 0)).scalable().unwrap_err().to_string();
        assert!(twice.contains("rank 0") && twice.contains("after it was written"), "{twice}");
    }

    #[test]
    fn built_in_schedules_can_be_averaged_in_place() {
        for &algorithm in Algorithm::ALL {
            for ranks in [1, 2, 5] {
                let schedule = build(Collective::AllReduce, algorithm, ranks, Sync::Neighbor).unwrap();
                assert_eq!(prove(schedule, Options { in_place: true }).unwrap().scalable(), Ok(()), "{algorithm}");
            }
        }
    }
}
