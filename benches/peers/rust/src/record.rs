//! The record: everything that was measured, and on what, but nothing of the environment.
//!
//! Table and picture are made from it alone, so records of parts of a run can be joined.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::error::Error;
use crate::machine::Machine;

/// It changes when a key changes its meaning or goes.
const SCHEMA: &str = "wgccl-peers/1";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub schema: String,
    /// Of the first and the last measurement, local time.
    pub start_time: String,
    pub end_time: String,
    pub machine: Machine,
    /// By name of a library, tool or adapter.
    pub versions: BTreeMap<String, String>,
    pub method: Method,
    pub peers: Vec<Peer>,
    /// What could not be measured.
    pub skipped: Vec<Skipped>,
    pub cells: Vec<Cell>,
}

/// How a time comes about; see the README.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// Seconds that the back-to-back calls of a repetition should take.
    pub seconds: f64,
    /// Most repetitions in a round.
    pub repetitions: usize,
    /// Seconds for all repetitions of a round, where three take less.
    pub budget: f64,
}

/// A library in one of its variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub id: String,
    /// Variants of one library share a row of the table, in which the best stands.
    pub row: String,
    pub variant: String,
    pub role: Role,
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Copies and does not sum.
    Floor,
    /// What ratios refer to.
    Subject,
    /// Does the same as the subject: each rank owns its result.
    Peer,
    /// Anything else that is worth knowing.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub peer: String,
    /// None where it could not be started at all.
    pub cell: Option<(usize, usize)>,
    pub why: String,
}

/// One peer at one number of ranks and one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub peer: String,
    pub ranks: usize,
    /// Of a rank's vector.
    pub bytes: usize,
    pub rounds: Vec<Round>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Back-to-back calls in a repetition.
    pub calls: usize,
    /// Microseconds a call, one for each repetition.
    pub times_us: Vec<f64>,
    /// Elements that differ from the exact sum, over all ranks.
    pub wrong: usize,
    /// Share of the machine's time that other processes took meanwhile, where that is known.
    #[serde(default)]
    pub others: Option<f64>,
}

impl Record {
    pub fn new(machine: Machine, versions: BTreeMap<String, String>, method: Method, peers: Vec<Peer>) -> Self {
        let now = wgccl_cli::bench::now();
        let (skipped, cells) = (Vec::new(), Vec::new());
        let (start_time, end_time) = (now.clone(), now);
        Self { schema: SCHEMA.to_owned(), start_time, end_time, machine, versions, method, peers, skipped, cells }
    }

    /// Adds a round to the cell that it belongs to.
    pub fn add(&mut self, peer: &str, (ranks, bytes): (usize, usize), round: Round) {
        self.end_time = wgccl_cli::bench::now();
        match self.cells.iter_mut().find(|cell| (cell.peer.as_str(), cell.ranks, cell.bytes) == (peer, ranks, bytes)) {
            Some(cell) => cell.rounds.push(round),
            None => self.cells.push(Cell { peer: peer.to_owned(), ranks, bytes, rounds: vec![round] }),
        }
    }

    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = fs::read(path).map_err(|error| Error::File { path: path.to_owned(), error })?;
        let refused = |why: String| Error::Record { path: path.to_owned(), why };
        let record: Self = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        match record.schema == SCHEMA {
            true => Ok(record),
            false => Err(refused(format!("its schema is {}, not {SCHEMA}", record.schema))),
        }
    }

    /// Adds what was measured on the same machine in the same way at another time; `path` is for the error.
    pub fn join(&mut self, other: Self, path: &Path) -> Result<(), Error> {
        let unlike = |why: String| Err(Error::Unlike { path: path.to_owned(), why });
        if self.machine != other.machine {
            return unlike("it is of another machine".to_owned());
        }
        if self.method != other.method {
            return unlike("its times were taken in another way".to_owned());
        }
        for (name, version) in other.versions {
            let known = self.versions.entry(name).or_insert_with(|| version.clone());
            if *known != version {
                return unlike(format!("it has {version} instead of {known}"));
            }
        }
        for peer in other.peers {
            match self.peers.iter().find(|known| known.id == peer.id) {
                None => self.peers.push(peer),
                Some(known) if *known == peer => {}
                Some(_) => return unlike(format!("by {} it means something else", peer.id)),
            }
        }
        for skipped in other.skipped {
            if !self.skipped.contains(&skipped) {
                self.skipped.push(skipped);
            }
        }
        self.start_time = self.start_time.clone().min(other.start_time);
        let end_time = self.end_time.clone().max(other.end_time);
        for cell in other.cells {
            cell.rounds.into_iter().for_each(|round| self.add(&cell.peer, (cell.ranks, cell.bytes), round));
        }
        self.end_time = end_time;
        Ok(())
    }

    /// JSON with a line for each peer and each cell.
    pub fn json(&self) -> Result<String, Error> {
        let value = serde_json::to_value(self).map_err(Error::peer)?;
        let serde_json::Value::Object(object) = value else { return Err(Error::Peer("no object".to_owned())) };
        let members: Vec<String> = object
            .iter()
            .map(|(key, value)| match value {
                serde_json::Value::Array(lines) if !lines.is_empty() => {
                    let lines: Vec<String> = lines.iter().map(|line| format!("    {line}")).collect();
                    format!("  \"{key}\": [\n{}\n  ]", lines.join(",\n"))
                }
                other => format!("  \"{key}\": {other}"),
            })
            .collect();
        Ok(format!("{{\n{}\n}}\n", members.join(",\n")))
    }
}

/// The three files of a run: `NAME.json`, `NAME.md`, `NAME.svg`.
pub struct Files(Vec<PathBuf>);

impl Files {
    /// Refuses names that are taken, before anything is measured.
    pub fn new(name: &Path) -> Result<Self, Error> {
        let with = |ending: &str| {
            let mut path = name.as_os_str().to_owned();
            path.push(ending);
            PathBuf::from(path)
        };
        let paths: Vec<PathBuf> = [".json", ".md", ".svg"].map(with).into();
        match paths.iter().find(|path| path.exists()) {
            Some(path) => Err(Error::Usage(format!("{} exists already; choose another --out", path.display()))),
            None => Ok(Self(paths)),
        }
    }

    /// Each file appears whole or not at all, and replaces none.
    pub fn write(&self, texts: [&str; 3]) -> Result<(), Error> {
        for (path, text) in self.0.iter().zip(texts) {
            let failed = |error| Error::File { path: path.clone(), error };
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = NamedTempFile::new_in(directory).map_err(failed)?;
            readable_by_all(&file).map_err(failed)?;
            file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
            file.persist_noclobber(path).map_err(|error| failed(error.error))?;
        }
        Ok(())
    }
}

/// Temporary files are private.
#[cfg(unix)]
fn readable_by_all(file: &NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_: &NamedTempFile) -> std::io::Result<()> {
    Ok(())
}
