//! From rounds to numbers: a median of medians for each cell, and the best variant for each row.

use wgccl_cli::bench::Statistics;

use crate::record::{Cell, Peer, Record, Role};

/// A cell in numbers.
#[derive(Debug, Clone, Copy)]
pub struct Time<'a> {
    pub peer: &'a Peer,
    /// Median of the rounds' medians, in microseconds.
    pub median: f64,
    /// Shortest repetition of all rounds.
    pub shortest: f64,
    pub rounds: usize,
    pub wrong: usize,
}

/// What the README asks readers not to take for a difference.
pub const NOISE: f64 = 1.3;

impl Record {
    /// Numbers of ranks and sizes that were measured, in order.
    pub fn axes(&self) -> (Vec<usize>, Vec<usize>) {
        let sorted = |of: fn(&Cell) -> usize| {
            let mut values: Vec<usize> = self.cells.iter().map(of).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        (sorted(|cell| cell.ranks), sorted(|cell| cell.bytes))
    }

    /// Rows of the table in the order of the peers, each with its role.
    pub fn rows(&self) -> Vec<(&str, Role)> {
        let mut rows: Vec<(&str, Role)> = Vec::new();
        for peer in &self.peers {
            if !rows.iter().any(|(row, _)| *row == peer.row) {
                rows.push((&peer.row, peer.role));
            }
        }
        rows
    }

    /// Every variant at one number of ranks and one size.
    pub fn times(&self, ranks: usize, bytes: usize) -> impl Iterator<Item = Time<'_>> {
        self.peers.iter().filter_map(move |peer| {
            let is_wanted = |cell: &&Cell| cell.peer == peer.id && cell.ranks == ranks && cell.bytes == bytes;
            time(peer, self.cells.iter().find(is_wanted)?)
        })
    }

    /// The row's best variant there.
    pub fn best(&self, row: &str, ranks: usize, bytes: usize) -> Option<Time<'_>> {
        self.times(ranks, bytes).filter(|time| time.peer.row == row).min_by(|a, b| a.median.total_cmp(&b.median))
    }

    /// The best time of a role there.
    pub fn best_of(&self, role: Role, ranks: usize, bytes: usize) -> Option<f64> {
        let of_role = self.times(ranks, bytes).filter(|time| time.peer.role == role);
        of_role.map(|time| time.median).min_by(f64::total_cmp)
    }

    /// Cells with elements that differ from the exact sum.
    pub fn wrong(&self) -> Vec<String> {
        let wrong = self.cells.iter().filter(|cell| cell.rounds.iter().any(|round| round.wrong > 0));
        wrong.map(|cell| format!("{}, {} ranks of {}", cell.peer, cell.ranks, size(cell.bytes))).collect()
    }
}

fn time<'a>(peer: &'a Peer, cell: &Cell) -> Option<Time<'a>> {
    let rounds: Option<Vec<Statistics>> = cell.rounds.iter().map(|round| Statistics::of(&round.times_us)).collect();
    let rounds = rounds?;
    let medians: Vec<f64> = rounds.iter().map(|round| round.p50).collect();
    Some(Time {
        peer,
        median: Statistics::of(&medians)?.p50,
        shortest: rounds.iter().map(|round| round.min).fold(f64::MAX, f64::min),
        rounds: rounds.len(),
        wrong: cell.rounds.iter().map(|round| round.wrong).sum(),
    })
}

/// Bytes as people write them.
pub fn size(bytes: usize) -> String {
    match bytes {
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

/// Microseconds with three digits.
pub fn duration(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        us if us < 1e3 => (us, "us"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// Three digits, or all of a larger number.
pub fn digits(value: f64) -> String {
    format!("{value:.*}", if value < 10.0 { 2 } else { usize::from(value < 100.0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::record::{Method, Round};

    fn record() -> Record {
        let machine =
            Machine { cpu: "x".into(), threads: 2, memory_gib: None, os: "y".into(), transparent_huge_pages: None };
        let peer = |id: &str, row: &str, role| Peer { id: id.into(), row: row.into(), variant: id.into(), role };
        let peers = vec![
            peer("f", "floor", Role::Floor),
            peer("w", "wgccl", Role::Subject),
            peer("a", "MPI", Role::Peer),
            peer("b", "MPI", Role::Peer),
        ];
        let mut record =
            Record::new(machine, Default::default(), Method { seconds: 0.1, repetitions: 3, budget: 1.0 }, peers);
        let cases: [(&str, &[f64]); 7] = [
            ("f", &[1.0]),
            ("w", &[2.0]),
            ("a", &[9.0, 5.0, 7.0]),
            ("a", &[100.0, 100.0, 4.0]),
            ("a", &[8.0, 8.0, 8.0]),
            ("b", &[6.0]),
            ("b", &[50.0]),
        ];
        for (peer, times) in cases {
            record.add(peer, (2, 1024), Round { calls: 3, times_us: times.to_vec(), wrong: 0, others: None });
        }
        record
    }

    #[test]
    fn a_cell_is_the_median_of_medians_and_a_row_its_best_variant() {
        let record = record();
        let a = record.times(2, 1024).find(|time| time.peer.id == "a").unwrap();
        assert_eq!((a.median, a.shortest, a.rounds), (8.0, 4.0, 3));
        let best = record.best("MPI", 2, 1024).unwrap();
        assert_eq!((best.peer.id.as_str(), best.median), ("b", 6.0));
        assert_eq!(record.best_of(Role::Floor, 2, 1024), Some(1.0));
        assert!(record.best("MPI", 4, 1024).is_none());
        assert_eq!(record.rows().len(), 3);
    }

    #[test]
    fn records_of_one_machine_join_and_others_do_not() {
        let path = std::path::Path::new("other.json");
        let mut joined = record();
        joined.join(record(), path).unwrap();
        assert_eq!(joined.times(2, 1024).find(|time| time.peer.id == "a").unwrap().rounds, 6);
        let unlike: [fn(&mut Record); 4] = [
            |record| record.machine.threads = 3,
            |record| record.method.repetitions = 4,
            |record| record.peers[2].variant = "other".into(),
            |record| record.versions.extend([("MPI".to_owned(), "2".to_owned())]),
        ];
        for (index, change) in unlike.into_iter().enumerate() {
            let (mut known, mut other) = (record(), record());
            known.versions.extend([("MPI".to_owned(), "1".to_owned())]);
            change(&mut other);
            assert!(known.join(other, path).is_err(), "{index}");
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, record().json().unwrap()).unwrap();
        let read = Record::load(&path).unwrap();
        assert_eq!((read.cells, read.peers), (record().cells, record().peers));
        for text in ["", "{}", &record().json().unwrap().replace("wgccl-peers/1", "wgccl-peers/0")] {
            std::fs::write(&path, text).unwrap();
            assert!(Record::load(&path).is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_elements_are_named() {
        let mut record = record();
        assert!(record.wrong().is_empty());
        record.add("w", (4, 1 << 20), Round { calls: 3, times_us: vec![1.0], wrong: 5, others: None });
        assert_eq!(record.wrong(), ["w, 4 ranks of 1 MiB"]);
    }

    #[test]
    fn numbers_are_readable() {
        for (time, text) in [(0.04, "0.04 us"), (41.26, "41.3 us"), (999.0, "999 us"), (1500.0, "1.50 ms")] {
            assert_eq!(duration(time), text);
        }
        for (bytes, text) in [(1000, "1000 B"), (1024, "1 KiB"), (3 << 19, "1536 KiB"), (64 << 20, "64 MiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
