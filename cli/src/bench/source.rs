//! What a comparison reads: a record of `wgccl bench`, or what nccl-tests wrote, as entries of one kind.

use std::path::Path;

use serde_json::Value;
use wgccl::collective::Collective;

use super::machine::Machine;
use super::nccl::{self, Test};
use super::record::{Recorded, plain, text};
use super::result::{self, Clock, redop_name};
use crate::error::BenchError;

/// One placement of one row.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// `None` where nccl-tests does not say.
    pub(super) collective: Option<Collective>,
    pub(super) data_type: String,
    pub(super) redop: String,
    pub(super) size: u64,
    pub(super) placement: &'static str,
    /// Root and sources.
    pub(super) roles: String,
    pub(super) ranks: Option<u32>,
    /// Device, dispatch mode, algorithm, synchronisation: what a comparison may be about.
    pub(super) how: [String; HOW.len()],
    /// Mean in microseconds.
    pub(super) mean: f64,
    /// Of the iterations that count, where each was reported.
    pub(super) times: Vec<f64>,
    /// By how much two runs of one program differ by this clock.
    pub(super) between_runs: f64,
}

/// What an entry may be told apart by.
pub(super) const HOW: [&str; 4] = ["device", "dispatch", "algorithm", "sync"];

/// By the host's clock: of 300 pairs of rows of the CPU executor in identical runs, on a machine of two cores that others used,
/// 5 to 11 % differ by more.
const BY_HOST: f64 = 0.15;
/// By the device's own clock, which neither other processes nor submission are part of. On hardware not measured yet.
const BY_DEVICE: f64 = 0.03;

/// What was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) entries: Vec<Entry>,
    /// By nccl-tests: nothing is known of its algorithms, and its ranks are GPUs.
    pub(super) is_nccl: bool,
    /// The sweep went to its end, as far as is known.
    pub(super) complete: bool,
    pub(super) machine: Machine,
}

impl Source {
    /// Reads what is at `path`.
    ///
    /// # Errors
    /// [`BenchError::Read`] and [`BenchError::Record`].
    pub(super) fn read(path: &Path) -> Result<Self, BenchError> {
        Self::parse(&text(path)?).map_err(|why| BenchError::Record { path: path.to_owned(), why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        if !text.trim_start().starts_with(['{', '[']) {
            return nccl::table(text).map(Self::of_nccl);
        }
        let value = plain(text)?;
        // nccl-tests' JSON has our keys, and no schema.
        match value.get("schema").is_none() && value.get("results").is_some_and(Value::is_array) {
            true => nccl::json(value).map(Self::of_nccl),
            false => Recorded::of(value).map(Self::of_record),
        }
    }

    fn of_record(record: Recorded) -> Self {
        let sources = record.sources();
        let sources = if sources.is_empty() { String::new() } else { format!(" from {sources:?}") };
        let mut entries = Vec::new();
        for row in &record.results {
            let device = record.devices.get(row.device).map(|device| format!("{} ({})", device.name, device.backend));
            let root = if row.root < 0 { String::new() } else { format!(" root {}", row.root) };
            for (name, placement, samples) in row.placements() {
                let mode = placement.dispatch_name().unwrap_or_default();
                entries.push(Entry {
                    collective: Some(row.collective),
                    data_type: row.data_type.name().to_owned(),
                    redop: redop_name(row.redop).to_owned(),
                    size: row.size,
                    placement: if name == result::IN_PLACE { IN_PLACE } else { OUT_OF_PLACE },
                    roles: format!("{root}{sources}"),
                    ranks: Some(row.ranks),
                    how: [device.clone().unwrap_or_default(), mode, row.origin.to_string(), row.sync.to_string()],
                    mean: placement.time,
                    times: samples.times_us.get(samples.skipped_iterations..).unwrap_or_default().to_vec(),
                    between_runs: match placement.clock {
                        Clock::Device => BY_DEVICE,
                        Clock::Host => BY_HOST,
                    },
                });
            }
        }
        Self { entries, is_nccl: false, complete: record.complete, machine: record.machine.unwrap_or_default() }
    }

    fn of_nccl(tests: Vec<Test>) -> Self {
        let entry = |Test { collective, ranks, size, data_type, redop, in_place, time, times }| Entry {
            collective,
            data_type,
            redop,
            size,
            placement: if in_place { IN_PLACE } else { OUT_OF_PLACE },
            roles: String::new(),
            ranks,
            how: Default::default(),
            mean: time,
            times,
            between_runs: BY_HOST,
        };
        let entries = tests.into_iter().map(entry).collect();
        Self { entries, is_nccl: true, complete: true, machine: Machine::default() }
    }
}

const OUT_OF_PLACE: &str = "out-of-place";
const IN_PLACE: &str = "in-place";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_what_it_is() {
        for (text, found) in [
            ("8 2 float sum -1 5 0 0 0 6 0 0 0\n", Ok((true, 2))),
            (r#" {"results": [{"size": 8, "type": "float", "out_of_place": {"time": 1}}]}"#, Ok((true, 1))),
            (r#"{"schema": "wgccl-bench/2", "devices": [], "results": []}"#, Ok((false, 0))),
            (r#"{"schema": "wgccl-bench/3", "devices": [], "results": []}"#, Err("wgccl-bench/3")),
            (r#"{"schema": null, "results": []}"#, Err("names no schema")),
            ("{}", Err("names no schema")),
            ("[1]", Err("names no schema")),
            ("[", Err("EOF")),
            ("", Err("neither JSON nor a table")),
            ("RIFF", Err("neither JSON nor a table")),
        ] {
            let source = Source::parse(text);
            match (source, found) {
                (Ok(source), Ok(found)) => assert_eq!((source.is_nccl, source.entries.len()), found, "{text}"),
                (Err(error), Err(why)) => assert!(error.contains(why), "{text}: {error}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
        assert!(Source::parse(&"[".repeat(100_000)).unwrap_err().contains("recursion"));
    }

    #[test]
    fn what_is_longer_than_a_record_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        std::fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
        assert_eq!(
            Source::read(&path).unwrap_err().to_string(),
            format!("{}: no benchmark record: it is longer than 64 MiB", path.display())
        );
        assert!(matches!(Recorded::read(&path), Err(BenchError::Record { .. })));
    }
}
