//! Whether a schedule can be averaged: an average scales a contribution where an instruction reads it as an input.
//!
//! In place an input is also an output. A schedule that reads a contribution by the output's name leaves it unscaled, and
//! one that reads a scaled value by the input's name scales it twice. Sums do not notice either.

use super::proved::Proved;
use crate::schedule::{Address, Buffer, Site};

/// A read that an average would scale twice or not at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("avg in place is refused: {site} reads {address} {when}; launch it out of place, or use sum and divide")]
#[non_exhaustive]
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
        // Of a part nobody knows what others have written; the whole was asked.
        if !self.in_place() || self.is_part() {
            return Ok(());
        }
        let (schedule, map, graph) = (self.schedule(), self.address_map(), self.graph());
        let mut written = vec![false; map.len()];
        for &id in self.order() {
            let instruction = graph.instruction(schedule, id);
            for k in 0..instruction.chunks {
                let at = |start: Address| Address { chunk: start.chunk + k, ..start };
                for address in instruction.from.iter().copied().map(at) {
                    let when = match (address.buffer, written[map.index(address)]) {
                        (Buffer::Input, true) => "after it was written, so it may be scaled already",
                        (Buffer::Output, false) => "before it was written, so it is an input that is not scaled",
                        _ => continue,
                    };
                    return Err(Unscalable { site: graph.site(schedule, id), address, when });
                }
                instruction.to.iter().for_each(|&to| written[map.index(at(to))] = true);
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
    use crate::proof::{Options, prove};
    use crate::schedule::{Algorithm, Instruction, Lane, Schedule, SyncStyle, build};

    /// Rank 0 takes its contribution through a slot to its output, where it already is, then reduces it by the name `own`
    /// with rank 1's.
    fn keeps(own: Address) -> Proved {
        let results = [Address::output(0, 0), Address::output(1, 0)];
        let fetch = Instruction::new(("move", 1)).copy(Address::input(0, 0)).to(Address::slot(0, 0));
        let keep = Instruction::new(("move", 2)).copy(Address::slot(0, 0)).to(results[0]);
        let reduce = Instruction::new(("move", 3)).reduce(own, Address::input(1, 0)).to(results[0]).to(results[1]);
        let schedule = Schedule::new("keep", Collective::AllReduce, 2, 1)
            .slots(1)
            .signal_rows(1)
            .lane(Lane::new(0).with(fetch).with(keep).with(reduce.notify(1, 0)))
            .lane(Lane::new(1).with(Instruction::new(("move", 4)).wait(0, 0)));
        prove(schedule, Options::default().in_place(true)).unwrap()
    }

    /// As `keeps`, without the way through the slot: the copy in place is left out.
    fn stays(own: Address) -> Proved {
        let results = [Address::output(0, 0), Address::output(1, 0)];
        let keep = Instruction::new(("move", 1)).copy(Address::input(0, 0)).to(results[0]);
        let reduce = Instruction::new(("move", 2)).reduce(own, Address::input(1, 0)).to(results[0]).to(results[1]);
        let schedule = Schedule::new("stay", Collective::AllReduce, 2, 1)
            .signal_rows(1)
            .lane(Lane::new(0).with(keep).with(reduce.notify(1, 0)))
            .lane(Lane::new(1).with(Instruction::new(("move", 3)).wait(0, 0)));
        prove(schedule, Options::default().in_place(true)).unwrap()
    }

    #[test]
    fn a_contribution_under_another_name_is_found() {
        let (input, output) = (Address::input(0, 0), Address::output(0, 0));
        assert_eq!((keeps(output).scalable(), stays(input).scalable()), (Ok(()), Ok(())));
        let twice = keeps(input).scalable().unwrap_err().to_string();
        assert!(twice.contains("rank 0") && twice.contains("after it was written"), "{twice}");
        let never = stays(output).scalable().unwrap_err().to_string();
        assert!(never.contains("before it was written"), "{never}");
    }

    #[test]
    fn built_in_schedules_can_be_averaged_in_place() {
        let collectives = Collective::ALL.iter().filter(|collective| collective.reduces());
        for (&collective, ranks) in collectives.flat_map(|collective| [1, 2, 4, 5].map(|ranks| (collective, ranks))) {
            for algorithm in Algorithm::of(collective) {
                // Some algorithms are for powers of two only.
                let Ok(schedule) = build(collective, algorithm, ranks, SyncStyle::Neighbor) else { continue };
                assert_eq!(
                    prove(schedule, Options::default().in_place(true)).unwrap().scalable(),
                    Ok(()),
                    "{algorithm}"
                );
            }
        }
    }
}
