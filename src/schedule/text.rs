//! Schedules as text: one line an instruction, in the words that findings and hang reports use.
//!
//! Apart from the value, because how it reads is of no concern to who proves or executes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Address, Buffer, Granularity, Instruction, Lane, Notify, Schedule, Wait};

impl Schedule {
    /// `address` for people: in buffers of several parts, part and chunk.
    pub(crate) fn show(&self, address: Address) -> String {
        let Address { rank, buffer, chunk } = address;
        // Ranks and chunks out of range are shown as well.
        let parts = match buffer {
            Buffer::Input => self.task.input_parts(rank, self.ranks),
            Buffer::Output => self.task.output_parts(rank, self.ranks),
            Buffer::Slot => 0,
        };
        match self.chunks {
            _ if parts < 2 => address.to_string(),
            1 => format!("rank {rank} {buffer}[part {chunk}]"),
            chunks => format!("rank {rank} {buffer}[part {}, chunk {}]", chunk / chunks, chunk % chunks),
        }
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Slot => "slot",
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} {}[{}]", self.rank, self.buffer, self.chunk)
    }
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address; write it as 'rank 0 input[0]', with input, output or slot")]
pub struct AddressError(
    /// The text.
    pub String,
);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parse = || {
            let (rank, place) = text.strip_prefix("rank ")?.split_once(' ')?;
            let (buffer, chunk) = place.strip_suffix(']')?.split_once('[')?;
            let buffers = [Buffer::Input, Buffer::Output, Buffer::Slot];
            let buffer = buffers.into_iter().find(|known| known.to_string() == buffer)?;
            Some(Self { rank: rank.parse().ok()?, buffer, chunk: chunk.parse().ok()? })
        };
        parse().ok_or_else(|| AddressError(text.to_owned()))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, sender, at_least } = self;
        write!(f, "row {row} from rank {sender}")?;
        if *at_least == 1 { Ok(()) } else { write!(f, " x{at_least}") }
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} row {}", self.peer, self.row)
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ragged => f.write_str("any count"),
            Self::DivisibleBy(n) => write!(f, "counts divisible by {n}"),
        }
    }
}

/// `label: wait ...; operand + operand -> destination, destination (x chunks); notify ...`
impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, waits, from, to, chunks, notifies, zeroes_signals } = self;
        write!(f, "{label}:")?;
        let mut before = "";
        if *zeroes_signals {
            write!(f, " zero all signals")?;
            before = ";";
        }
        if !waits.is_empty() {
            write!(f, "{before} wait {}", List(waits, ", "))?;
            before = ";";
        }
        if !from.is_empty() || !to.is_empty() {
            write!(f, "{before} {} -> {}", List(from, " + "), List(to, ", "))?;
            if *chunks != 1 {
                write!(f, ", {chunks} chunks")?;
            }
            before = ";";
        }
        if !notifies.is_empty() {
            write!(f, "{before} notify {}", List(notifies, ", "))?;
            before = ";";
        }
        if before.is_empty() { f.write_str(" nothing") } else { Ok(()) }
    }
}

impl fmt::Debug for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} ", self.rank)?;
        f.debug_list().entries(&self.instructions).finish()
    }
}

/// A line of totals, then every lane with an instruction a line.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, task, ranks, chunks, granularity, signal_rows, lanes, .. } = self;
        write!(f, "{} by {origin}: {ranks} ranks, {chunks} chunks", task.collective)?;
        write!(f, ", {} slots, {signal_rows} signal rows, {granularity}", self.most_slots())?;
        for (number, lane) in lanes.iter().enumerate() {
            write!(f, "\nlane {number}, rank {}", lane.rank)?;
            for instruction in &lane.instructions {
                write!(f, "\n  {instruction}")?;
            }
        }
        Ok(())
    }
}

/// Values with something between them.
struct List<'a, T>(&'a [T], &'static str);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.0.iter().enumerate() {
            write!(f, "{}{value}", if i == 0 { "" } else { self.1 })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::{Algorithm, SyncStyle, build};

    #[test]
    fn a_schedule_reads_like_its_reports() {
        let ring = build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor).unwrap();
        assert_eq!(
            ring.to_string(),
            "all-reduce by ring: 2 ranks, 2 chunks, 2 slots, 2 signal rows, any count\n\
             lane 0, rank 0\n  \
             RS round 1: rank 1 input[0] + rank 0 input[0] -> rank 0 output[0]; notify rank 1 row 1\n  \
             AG round 1: wait row 1 from rank 1; rank 1 output[1] -> rank 0 output[1]\n\
             lane 1, rank 1\n  \
             RS round 1: rank 0 input[1] + rank 1 input[1] -> rank 1 output[1]; notify rank 0 row 1\n  \
             AG round 1: wait row 1 from rank 0; rank 0 output[0] -> rank 1 output[0]"
        );
        let nothing = Instruction::new("idle");
        assert_eq!(format!("{nothing:?}"), "idle: nothing");
        let push = Instruction::new(("RS", 1)).wait_for(2, 1, 3).copy(Address::input(0, 1)).to(Address::slot(1, 0));
        assert_eq!(
            push.chunks(2).notify(1, 4).to_string(),
            "RS round 1: wait row 2 from rank 1 x3; rank 0 input[1] -> rank 1 slot[0], 2 chunks; notify rank 1 row 4"
        );
    }
}
