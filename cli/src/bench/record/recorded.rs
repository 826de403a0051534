//! What is read of a record again: to compare it, to draw it.
//!
//! A record may be a stranger's, so its text is made plain here, before anything can print or draw it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::SCHEMA;
use crate::bench::machine::Machine;
use crate::bench::older;
use crate::bench::plot::Shown;
use crate::bench::result::{Device, Row};
use crate::error::BenchError;
use crate::text::one_line;

/// What is read of a record.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    /// The sweep went to its end.
    #[serde(default = "yes")]
    pub complete: bool,
    #[serde(default)]
    config: RecordedConfig,
    /// What it was measured on. Older records do not say.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Devices that rows name by index; each of them is there.
    pub devices: Vec<Device>,
    /// What was measured.
    pub results: Vec<Row>,
}

#[derive(Debug, Default, Deserialize)]
struct RecordedConfig {
    #[serde(default)]
    sources: Vec<u32>,
}

/// Records of before that key were only written at the end.
fn yes() -> bool {
    true
}

impl Recorded {
    /// Reads the JSON at `path`.
    ///
    /// # Errors
    /// [`BenchError::Read`] and [`BenchError::Record`].
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        Self::parse(&text(path)?).map_err(|why| BenchError::Record { path: path.to_owned(), why })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// Why it is no record.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::of(plain(text)?)
    }

    /// Reads JSON that is plain.
    pub(in crate::bench) fn of(mut value: Value) -> Result<Self, String> {
        match value["schema"].as_str() {
            Some(SCHEMA) => {}
            Some(older::SCHEMA) => older::upgrade(&mut value),
            Some(other) => return Err(format!("its schema is '{other}', not '{SCHEMA}'")),
            None => return Err("it names no schema".to_owned()),
        }
        let record: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let results = &record.results;
        match results.iter().find(|row| row.device >= record.devices.len()) {
            Some(row) => Err(format!("it has no device {}", row.device)),
            None if results.iter().any(|row| row.first().is_none()) => {
                Err("a result has times neither out of place nor in place".to_owned())
            }
            None => Ok(record),
        }
    }

    /// As a picture shows it, under this name.
    pub fn shown(self, name: String) -> Shown {
        let Self { machine, devices, results, .. } = self;
        Shown { name, machine, devices, rows: results }
    }

    /// Of send-recv, where given.
    pub fn sources(&self) -> &[u32] {
        &self.config.sources
    }
}

/// A record of three million iterations; one takes up to some twenty times as much memory to be read.
const MOST_BYTES: u64 = 64 << 20;

/// The text at `path`, unless it is longer than any record.
///
/// # Errors
/// [`BenchError::Read`] and [`BenchError::Record`].
pub(in crate::bench) fn text(path: &Path) -> Result<String, BenchError> {
    let failed = |error| BenchError::Read { path: path.to_owned(), error };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    match file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(failed)? as u64 > MOST_BYTES {
        true => Err(BenchError::Record {
            path: path.to_owned(),
            why: format!("it is longer than {} MiB", MOST_BYTES >> 20),
        }),
        false => Ok(text),
    }
}

/// JSON whose texts are plain.
///
/// # Errors
/// Why it is none.
pub(in crate::bench) fn plain(text: &str) -> Result<Value, String> {
    let mut value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    clean(&mut value);
    Ok(value)
}

/// Every text on one line, without what acts on a terminal; and names are no novels.
fn clean(value: &mut Value) {
    const LONGEST: usize = 200;
    match value {
        Value::String(text) => *text = one_line(text, LONGEST),
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(values) => values.values_mut().for_each(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Contents, json};
    use super::*;
    use crate::bench::request::Request;
    use crate::bench::summary::Summary;
    use crate::bench::testing::row;

    /// One placement may be missing, as null or altogether, and not both.
    #[test]
    fn a_result_has_times_in_some_place() {
        let (request, summary) = (Request::default(), Summary::default());
        let contents = Contents {
            args: &[],
            machine: &Machine::default(),
            start_time_utc: "",
            request: &request,
            devices: &[crate::bench::testing::device()],
            rows: &[row(1024, 10.0)],
            summary: &summary,
            errors: &[],
            start_time: "",
            complete: true,
        };
        let value: Value = serde_json::from_str(&json(&contents).unwrap()).unwrap();
        let (apart, in_place) =
            (["out_of_place", "out_of_place_per_iter"].as_slice(), ["in_place", "in_place_per_iter"].as_slice());
        for (gone, left) in [
            (vec![], &["out_of_place", "in_place"][..]),
            (vec![in_place], &["out_of_place"]),
            (vec![apart], &["in_place"]),
            (vec![apart, in_place], &[]),
            // A placement without its times is none.
            (vec![&apart[1..]], &["in_place"]),
            (vec![&apart[..1], &in_place[1..]], &[]),
        ] {
            for as_null in [false, true] {
                let mut value = value.clone();
                let row = value["results"][0].as_object_mut().unwrap();
                for key in gone.concat() {
                    if as_null { row[key] = Value::Null } else { drop(row.remove(key)) }
                }
                let found = Recorded::parse(&value.to_string());
                match left.is_empty() {
                    true => {
                        assert_eq!(
                            found.unwrap_err(),
                            "a result has times neither out of place nor in place",
                            "{gone:?}"
                        )
                    }
                    false => {
                        let row = &found.unwrap().results[0];
                        assert_eq!(row.placements().map(|(name, ..)| name).collect::<Vec<_>>(), left, "{gone:?}");
                    }
                }
            }
        }
    }

    /// Wherever a stranger's record is printed or drawn, it was read here.
    #[test]
    fn no_text_of_a_record_acts_on_a_terminal() {
        let evil = "\u{1b}]0;x\u{7}\u{202e}\r\n\u{9b}31m";
        let device = Device {
            index: None,
            name: format!("gpu{evil}"),
            backend: format!("cpu{evil}"),
            kind: evil.to_owned(),
            driver: Some(evil.repeat(1000)),
            threads: None,
            pci: Some(evil.to_owned()),
            processes: Vec::new(),
        };
        let mut rows = [row(1024, 10.0)];
        rows[0].origin = wgccl::schedule::Origin::Custom(format!("mine{evil}"));
        rows[0].timestamp = evil.to_owned();
        let machine = Machine { processor: Some(format!("core{evil}")), ..Machine::default() };
        let (request, summary) = (Request::default(), Summary::default());
        let contents = Contents {
            args: &[],
            machine: &machine,
            start_time_utc: evil,
            request: &request,
            devices: std::slice::from_ref(&device),
            rows: &rows,
            summary: &summary,
            errors: &[],
            start_time: evil,
            complete: true,
        };
        let text = json(&contents).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (path, picture) = (dir.path().join("a.json"), dir.path().join("a.svg"));
        fs::write(&path, &text).unwrap();
        let record = Recorded::read(&path).unwrap();
        let mut shown = crate::bench::compare::compare(&path, &path).unwrap().text;
        shown += &crate::bench::report::Report::new(Default::default(), &request, record.devices.clone(), None)
            .row(&record.results[0]);
        crate::bench::plot::draw(&picture, &[Recorded::parse(&text).unwrap().shown(String::new())]).unwrap();
        shown += &fs::read_to_string(&picture).unwrap();
        for (from, to) in
            [("\"custom\"", "\"\\u001b[2J\""), ("wgccl-bench/2", "\\u001b[2J"), ("\"neighbor\"", "\"\\u009b2J\"")]
        {
            shown += &Recorded::parse(&text.replacen(from, to, 1)).unwrap_err();
        }
        assert!(
            shown.contains("gpu") && shown.contains("core") && shown.contains("mine") && shown.contains("2J"),
            "{shown}"
        );
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(acts), "{:?}", shown.chars().find(|&c| acts(c)));
        assert!(record.devices[0].driver.as_ref().unwrap().len() < 300);
    }
}
