//! The record of a benchmark: JSON with nccl-tests' key names where the meaning is the same, or CSV.
//!
//! A record is evidence, so it is never overwritten, and it holds what was run on what, but nothing of the environment. It is
//! written anew after every row, whole or not at all: whatever ends the process, what was measured is there.

mod recorded;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::machine::Machine;
use super::request::Request;
use super::result::{Device, Row, redop_name};
use super::size::Step;
use super::stamp::{now, utc};
use super::summary::Summary;
use crate::error::BenchError;
use crate::whole;
pub use recorded::Recorded;
pub(super) use recorded::{plain, text};

/// The layout of the JSON; it changes when a key changes its meaning or goes.
pub const SCHEMA: &str = "wgccl-bench/2";

/// A file that did not exist before.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// By the name that was asked for.
    is_csv: bool,
    /// When it was written last, and how long that took.
    written: Option<(Instant, Duration)>,
}

#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    version: &'static str,
    /// Complete, right, and as fast as was demanded.
    ok: bool,
    /// The sweep went to its end.
    complete: bool,
    /// Of the program, where its build knew.
    commit: Option<&'static str>,
    start_time: &'a str,
    /// The same moment, anywhere.
    start_time_utc: &'a str,
    args: &'a [String],
    machine: &'a Machine,
    config: Config<'a>,
    devices: &'a [Device],
    results: &'a [Row],
    out_of_bounds: OutOfBounds,
    average_bus_bandwidth: Average,
    errors: &'a [String],
    end_time: String,
    end_time_utc: String,
}

#[derive(Serialize)]
struct Config<'a> {
    minimum_bytes: u64,
    maximum_bytes: u64,
    step_factor: Option<u64>,
    step_bytes: Option<u64>,
    warmup_iters: usize,
    iterations: usize,
    per_iter_skip: usize,
    validation: usize,
    run_cycles: u64,
    unalign: usize,
    seed: u64,
    ranks: &'a [u32],
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    sources: &'a [u32],
    dispatch: String,
}

#[derive(Serialize)]
struct OutOfBounds {
    count: u64,
    okay: bool,
}

#[derive(Serialize)]
struct Average {
    bandwidth: f64,
    /// Null where nothing was demanded.
    okay: Option<bool>,
}

/// What a record is made of.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// Command line, [cleaned](super::command::cleaned).
    pub args: &'a [String],
    /// What it runs on.
    pub machine: &'a Machine,
    /// What was asked for.
    pub request: &'a Request,
    /// Devices that rows name by index.
    pub devices: &'a [Device],
    /// What was measured.
    pub rows: &'a [Row],
    /// Their sums.
    pub summary: &'a Summary,
    /// What went wrong.
    pub errors: &'a [String],
    /// When it began, by the local clock and in UTC.
    pub start_time: &'a str,
    /// The same moment.
    pub start_time_utc: &'a str,
    /// The sweep went to its end.
    pub complete: bool,
}

impl Record {
    /// Writes `contents` to `path`, or, where it exists, the first free of `path.0`, `path.1`, ...
    ///
    /// # Errors
    /// [`BenchError::Target`] where `path` is no file, and [`BenchError::Write`].
    pub fn create(path: &Path, contents: &Contents<'_>) -> Result<Self, BenchError> {
        if path.as_os_str() == "-" || path.metadata().is_ok_and(|found| !found.is_file()) {
            let why = "a record goes to a file of its own; give -J a new name, or take --json for standard output";
            return Err(BenchError::Target { path: path.to_owned(), why });
        }
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let start = Instant::now();
        let mut record = Self { path: path.to_owned(), is_csv, written: None };
        let text = record.text(contents)?;
        for next in 0_u32.. {
            let created = match record.path.symlink_metadata() {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => whole::create(&record.path, text.as_bytes()),
            };
            match created {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(record.failed(error)),
            }
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{next}"));
            record.path = name.into();
        }
        record.written = Some((Instant::now(), start.elapsed()));
        Ok(record)
    }

    /// The name that was free.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As [`Self::write`], unless that would take more than a tenth of the time: many quick rows in a long record. Whether it
    /// was written.
    ///
    /// # Errors
    /// [`BenchError::Write`].
    pub fn update(&mut self, contents: &Contents<'_>) -> Result<bool, BenchError> {
        match self.written {
            Some((at, took)) if at.elapsed() < 10 * took => Ok(false),
            _ => self.write(contents).map(|()| true),
        }
    }

    /// Writes `contents` in place of what was there: CSV where the name that was asked for ends in `.csv`, else JSON.
    ///
    /// # Errors
    /// [`BenchError::Write`].
    pub fn write(&mut self, contents: &Contents<'_>) -> Result<(), BenchError> {
        let start = Instant::now();
        let text = self.text(contents)?;
        let written = whole::replace(&self.path, text.as_bytes());
        self.written = Some((Instant::now(), start.elapsed()));
        written.map_err(|error| self.failed(error))
    }

    fn text(&self, contents: &Contents<'_>) -> Result<String, BenchError> {
        match self.is_csv {
            true => Ok(csv(contents)),
            false => json(contents).map_err(|error| self.failed(error.into())),
        }
    }

    fn failed(&self, error: io::Error) -> BenchError {
        BenchError::Write { path: self.path.clone(), error }
    }
}

/// The record as JSON.
///
/// # Errors
/// None in practice.
pub fn json(contents: &Contents<'_>) -> Result<String, serde_json::Error> {
    let Contents { args, machine, request, devices, rows, summary, errors, complete, .. } = *contents;
    let (step_factor, step_bytes) = match request.range.step {
        Step::Factor(by) => (Some(by), None),
        Step::Bytes(by) => (None, Some(by)),
    };
    let mut text = serde_json::to_string_pretty(&Json {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        ok: complete && errors.is_empty(),
        complete,
        commit: option_env!("WGCCL_COMMIT"),
        start_time: contents.start_time,
        start_time_utc: contents.start_time_utc,
        args,
        machine,
        config: Config {
            minimum_bytes: request.range.first,
            maximum_bytes: request.range.last,
            step_factor,
            step_bytes,
            warmup_iters: request.warmup,
            iterations: request.iterations,
            per_iter_skip: request.skip,
            validation: request.checks,
            run_cycles: request.cycles,
            unalign: request.unalign,
            seed: request.seed,
            ranks: &request.ranks,
            sources: &request.sources,
            dispatch: request.dispatch_names(),
        },
        devices,
        results: rows,
        out_of_bounds: OutOfBounds { count: summary.wrong, okay: summary.wrong == 0 },
        average_bus_bandwidth: Average { bandwidth: summary.average_bus_bw, okay: summary.fast_enough() },
        errors,
        end_time: now(),
        end_time_utc: utc(),
    })?;
    text.push('\n');
    Ok(text)
}

const CSV_HEADER: &str = "size,count,type,redop,root,collective,algorithm,origin,algorithm_auto,sync,ranks,device,backend,driver,cycle,placement,dispatch,protocol,\
                          dispatches,channels,pieces,clock,time_us,host_time_us,alg_bw,bus_bw,mem_bw,roof_pct,\
                          nwrong,min_us,p50_us,p99_us,max_us,stdev_us,cv_pct,bytes_moved,roof_time_us,roof_bw,roof_by,kernel,timestamp";

/// One line for each placement.
fn csv(contents: &Contents<'_>) -> String {
    let mut text = CSV_HEADER.to_owned();
    for row in contents.rows {
        let device = contents.devices.get(row.device);
        for (name, placement, samples) in row.placements() {
            let s = &samples.statistics;
            let clock = match placement.clock {
                super::result::Clock::Device => "device",
                super::result::Clock::Host => "host",
            };
            let fields = [
                row.size.to_string(),
                row.count.to_string(),
                row.data_type.to_string(),
                redop_name(row.redop).to_owned(),
                row.root.to_string(),
                row.collective.to_string(),
                quoted(row.origin.name()),
                row.origin.kind().to_owned(),
                row.algorithm_auto.to_string(),
                row.sync.to_string(),
                row.ranks.to_string(),
                device.map_or_else(String::new, |device| quoted(&device.name)),
                device.map_or_else(String::new, |device| device.backend.clone()),
                device.and_then(|device| device.driver.as_deref()).map_or_else(String::new, quoted),
                row.cycle.to_string(),
                name.to_owned(),
                optional(placement.dispatch),
                optional(placement.protocol),
                optional(placement.dispatches),
                placement.channels.to_string(),
                placement.pieces.to_string(),
                clock.to_owned(),
                placement.time.to_string(),
                placement.host_time.to_string(),
                placement.alg_bw.to_string(),
                placement.bus_bw.to_string(),
                placement.mem_bw.to_string(),
                placement.roof_pct.to_string(),
                optional(placement.nwrong),
                s.min.to_string(),
                s.p50.to_string(),
                s.p99.to_string(),
                s.max.to_string(),
                s.stdev.to_string(),
                s.cv_pct.to_string(),
                row.bytes_moved.to_string(),
                row.roof.time.to_string(),
                row.roof.bandwidth.to_string(),
                optional(row.roof.by),
                placement.kernel.clone().unwrap_or_default(),
                row.timestamp.clone(),
            ];
            text.push('\n');
            text.push_str(&fields.join(","));
        }
    }
    text.push('\n');
    text
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Names of devices hold commas.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;
    use crate::bench::testing::{apart, in_place_only, row};

    #[test]
    fn names_that_exist_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (request, summary) = (Request::default(), Summary::default());
        let contents = Contents {
            args: &[],
            machine: &Machine::default(),
            start_time_utc: "",
            request: &request,
            devices: &[],
            rows: &[],
            summary: &summary,
            errors: &[],
            start_time: "",
            complete: false,
        };
        let path = dir.path().join("a.json");
        for name in ["a.json", "a.json.0", "a.json.1"] {
            assert_eq!(Record::create(&path, &contents).unwrap().path(), dir.path().join(name));
            // Whole from the moment that it is there.
            assert!(!Recorded::read(&dir.path().join(name)).unwrap().complete);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        let missing = dir.path().join("none").join("a.json");
        assert!(matches!(Record::create(&missing, &contents), Err(BenchError::Write { .. })));
        for path in [Path::new("-"), dir.path()] {
            assert!(matches!(Record::create(path, &contents), Err(BenchError::Target { .. })), "{}", path.display());
        }
    }

    #[test]
    fn csv_has_a_field_for_every_column() {
        let rows = [row(1024, 10.0), in_place_only(row(2048, 10.0))];
        let device = Device {
            index: None,
            name: "a, \"b\"".to_owned(),
            backend: "cpu".to_owned(),
            kind: "cpu".to_owned(),
            driver: None,
            threads: Some(2),
            pci: None,
            processes: Vec::new(),
        };
        let (request, summary) = (Request::default(), Summary::default());
        let contents = Contents {
            args: &[],
            machine: &Machine::default(),
            start_time_utc: "",
            request: &request,
            devices: &[device],
            rows: &rows,
            summary: &summary,
            errors: &[],
            start_time: "",
            complete: true,
        };
        let text = csv(&contents);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[3].starts_with("2048,") && lines[3].contains(",in_place,"), "{text}");
        assert!(lines[1].contains("\"a, \"\"b\"\"\""));
        let commas = |line: &str| line.replace("a, ", "").matches(',').count();
        assert!(lines.iter().all(|line| commas(line) == commas(lines[0])), "{text}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut rows = [row(1024, 10.0), row(2048, 20.0), row(4096, 20.0)];
        apart(&mut rows[0]).roof_pct = 0.0;
        rows[1].redop = None;
        rows[2] = in_place_only(rows[2].clone());
        let device = Device {
            index: Some(1),
            name: "x".to_owned(),
            backend: "gl".to_owned(),
            kind: "software".to_owned(),
            driver: None,
            threads: None,
            pci: None,
            processes: Vec::new(),
        };
        let request = Request { sources: vec![1, 0], ..Request::default() };
        let contents = Contents {
            args: &[],
            machine: &Machine::default(),
            start_time_utc: "",
            request: &request,
            devices: std::slice::from_ref(&device),
            rows: &rows,
            summary: &Summary::default(),
            errors: &[],
            start_time: "",
            complete: false,
        };
        let read = Recorded::parse(&json(&contents).unwrap()).unwrap();
        assert_eq!(
            (&read.results[..], &read.devices[..], read.sources()),
            (&rows[..], std::slice::from_ref(&device), &[1, 0][..])
        );
        assert!(!read.complete);
        let text = json(&contents).unwrap().replacen("\"roof_pct\": 0.0", "\"roof_pct\": null", 1);
        assert!(Recorded::parse(&text).unwrap().results[0].first().unwrap().0.roof_pct.is_nan());
    }

    #[test]
    fn nan_is_null_and_booleans_are_booleans() {
        let mut rows = [row(1024, 10.0)];
        apart(&mut rows[0]).roof_pct = f64::NAN;
        let (request, summary) = (Request::default(), Summary::default());
        let contents = Contents {
            args: &["x".to_owned()],
            machine: &Machine::default(),
            start_time_utc: "",
            request: &request,
            devices: &[],
            rows: &rows,
            summary: &summary,
            errors: &[],
            start_time: "now",
            complete: false,
        };
        let json: Value = serde_json::from_str(&json(&contents).unwrap()).unwrap();
        assert_eq!(json["schema"], "wgccl-bench/2");
        let again = Recorded::parse(&json.to_string()).unwrap_err();
        assert_eq!(again, "it has no device 0");
        assert_eq!((&json["ok"], &json["complete"]), (&false.into(), &false.into()));
        assert!(json["results"][0]["out_of_place"]["roof_pct"].is_null());
        assert_eq!(json["results"][0]["in_place"]["nwrong"], Value::Null);
        assert_eq!(json["out_of_bounds"]["okay"], true);
        assert!(json["average_bus_bandwidth"]["okay"].is_null());
        for key in ["min_us", "avg_us", "p50_us", "p99_us", "stdev_us", "cv_pct", "times_us"] {
            assert!(!json["results"][0]["out_of_place_per_iter"][key].is_null(), "{key}");
        }
    }
}
