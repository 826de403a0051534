//! A schedule out of a file, whichever format it has: the one place that tells formats apart.
//!
//! By content and not by name. Nothing is proved here.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use wgccl::collective::Collective;
use wgccl::format::msccl::{self, Algo, Imported, LowerError, LowerOptions, ReadError};
use wgccl::proof::{self, Outcome, Verdict};
use wgccl::schedule::{Granularity, Origin, Schedule};

use crate::text::one_line;

/// The name of standard input.
pub(crate) const STDIN: &str = "-";
/// Bytes of a file at most.
const LONGEST: u64 = 256 << 20;
/// Messages that may be on their way where nothing is to wait for room.
const UNBOUNDED: u32 = u32::MAX;
/// Characters of a reason.
const REASON: usize = 400;
/// Warnings that are few.
const FEW: usize = 3;

/// A file of which no schedule can be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot read {}: {error}; check the path and its permissions", path.display())]
    Read { path: PathBuf, error: io::Error },
    /// Standard input, where nothing was directed to it.
    #[error("standard input is a terminal; direct a schedule file to it")]
    Terminal,
    /// Longer than any schedule.
    #[error("{} is longer than {} MiB; no schedule is", path.display(), LONGEST >> 20)]
    Long { path: PathBuf },
    /// None of the formats.
    #[error(
        "{} is no schedule: it begins neither like MSCCL XML (<algo) nor like a document of wgccl's ({{); \
         name a collective or a file of these formats",
        path.display()
    )]
    Format { path: PathBuf },
    /// MSCCL XML that cannot be read.
    #[error("{}: {error}", path.display())]
    Xml { path: PathBuf, error: ReadError },
    /// MSCCL XML that contradicts itself.
    #[error("{}: {}", path.display(), lowered(error))]
    Lower { path: PathBuf, error: LowerError },
    /// A document that cannot be read.
    #[error("{} is no wgccl-schedule/1: {why}", path.display())]
    Document { path: PathBuf, why: String },
    /// An option of another format's.
    #[error("{} is a document of wgccl's, which says that itself; leave {option} out", path.display())]
    Option { path: PathBuf, option: &'static str },
    /// Copies that are not there.
    #[error("{} has no <copy>; leave --copies out", path.display())]
    Copies { path: PathBuf },
}

fn lowered(error: &LowerError) -> String {
    match error {
        LowerError::Custom => format!("{error}: --collective all-reduce, for example"),
        _ => error.to_string(),
    }
}

/// How a file is read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Messages on a connection, of MSCCL files.
    pub fifo_slots: Option<u32>,
    /// What it computes, of MSCCL files.
    pub collective: Option<Collective>,
    /// The root, of MSCCL files.
    pub root: Option<u32>,
    /// Of MSCCL files: no copy on the way, where that is right.
    pub elide: bool,
    /// Of MSCCL files: what `<copy>` says, before the first step.
    pub copies: bool,
    /// Any count, with last chunks that are shorter than the others, where the proof says that this is right.
    pub force_size: bool,
}

/// A schedule, and what its file says beside it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The schedule.
    pub schedule: Schedule,
    /// It is made for calls in place.
    pub in_place: bool,
    /// It is launched over counts that it is not made for.
    pub forced: bool,
    /// Of MSCCL XML.
    pub msccl: Option<Msccl>,
}

/// What only MSCCL XML has.
#[derive(Debug, Clone)]
pub struct Msccl {
    /// The file.
    pub algo: Algo,
    /// Messages that a connection holds.
    pub fifo_slots: u32,
    /// What may not be meant as it is written.
    pub warnings: Vec<String>,
    /// The same with room for all messages: where nothing waits for room, nothing is in order by chance.
    pub unbounded: Schedule,
}

impl Loaded {
    /// The last chunks of a part are as short as the count makes them. Whether chunks then fit where they go is for the proof to say.
    fn force_size(&mut self) {
        self.forced = self.schedule.granularity != Granularity::Ragged;
        self.schedule.granularity = Granularity::Ragged;
        if let Some(of) = &mut self.msccl {
            of.unbounded.granularity = Granularity::Ragged;
        }
    }

    /// Why runtimes would not take it for buffers of so many bytes, the longer ones of ranks.
    pub(crate) fn said_of_size(&self, bytes: u64) -> Option<String> {
        let Algo { min_bytes, max_bytes, .. } = self.msccl.as_ref()?.algo;
        let (rule, limit) = match (min_bytes, max_bytes) {
            (Some(least), _) if bytes < least => ("below its minBytes", least),
            (_, Some(most)) if most > 0 && bytes > most => ("above its maxBytes", most),
            _ => return None,
        };
        Some(format!(
            "the file is not made for {bytes} bytes, which are {rule} of {limit}: runtimes take another algorithm there"
        ))
    }

    /// The first of what may not be meant as the file says it, for those who say something else beside.
    pub(crate) fn few_warnings(&self) -> impl Iterator<Item = String> {
        let forced = self.forced.then(|| {
            "sizes are forced: the last chunks of a part may be shorter than the others, or empty, which the file does not provide for"
                .to_owned()
        });
        self.msccl.iter().flat_map(|of| &of.warnings).take(FEW).cloned().chain(forced)
    }
}

/// Reads the schedule of `path`.
///
/// # Errors
/// [`FileError`].
pub fn load(path: &Path, options: &Options) -> Result<Loaded, FileError> {
    let (path, bytes) = bytes(path)?;
    // Some editors begin files with it.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii_start();
    let mut loaded = match text.first() {
        Some(b'<') => of_msccl(path, &bytes, options)?,
        Some(b'{') => of_document(path, text, options)?,
        _ => return Err(FileError::Format { path }),
    };
    if options.force_size {
        loaded.force_size();
    }
    Ok(loaded)
}

/// What the file holds, and what errors call it.
fn bytes(path: &Path) -> Result<(PathBuf, Vec<u8>), FileError> {
    let (shown, opened): (PathBuf, Box<dyn Read>) = match path.as_os_str() == STDIN {
        true if io::stdin().is_terminal() => return Err(FileError::Terminal),
        true => ("standard input".into(), Box::new(io::stdin())),
        false => {
            let failed = |error| FileError::Read { path: path.to_owned(), error };
            (path.to_owned(), Box::new(File::open(path).map_err(failed)?))
        }
    };
    let mut bytes = Vec::new();
    let read = opened.take(LONGEST + 1).read_to_end(&mut bytes);
    match read {
        Err(error) => Err(FileError::Read { path: shown, error }),
        Ok(length) if length as u64 > LONGEST => Err(FileError::Long { path: shown }),
        Ok(_) => Ok((shown, bytes)),
    }
}

fn of_msccl(path: PathBuf, bytes: &[u8], options: &Options) -> Result<Loaded, FileError> {
    let algo = match msccl::read(bytes) {
        Ok(algo) => algo,
        Err(error) => return Err(FileError::Xml { path, error }),
    };
    if options.copies && algo.copies() == 0 {
        return Err(FileError::Copies { path });
    }
    let algo = if options.copies { algo.copies_first() } else { algo };
    let lower = |fifo_slots| {
        let mut of = LowerOptions::default();
        of.fifo_slots = fifo_slots;
        of.collective = options.collective;
        of.root = options.root.unwrap_or(0);
        algo.lower(&of)
    };
    let (imported, unbounded) = match lower(options.fifo_slots).and_then(|of| Ok((of, lower(Some(UNBOUNDED))?))) {
        Ok(both) => both,
        Err(error) => return Err(FileError::Lower { path, error }),
    };
    let Imported { mut schedule, in_place, fifo_slots, warnings, .. } = imported;
    let mut warnings: Vec<String> = warnings.iter().map(|warning| one_line(&warning.to_string(), REASON)).collect();
    warnings.extend(passed_over(&algo, schedule.task.collective));
    if options.elide {
        match elided(&algo, options, in_place) {
            Ok(direct) => schedule = direct,
            Err(why) => warnings.push(match failure(&schedule, in_place) {
                None => format!("--elide: messages are copied all the same: without copies {why}"),
                Some(own) => {
                    let path = one_line(&path.display().to_string(), REASON);
                    format!("--elide: the file itself is not right, so no copy is left out: {own}; wgccl check {path} says where")
                }
            }),
        }
    }
    schedule.origin = origin(&path, &algo.name, bytes);
    Ok(Loaded {
        schedule,
        in_place,
        forced: false,
        msccl: Some(Msccl { algo, fifo_slots, warnings, unbounded: unbounded.schedule }),
    })
}

/// Copies that would change something, which no runtime makes.
fn passed_over(algo: &Algo, collective: Collective) -> Option<String> {
    let copies = algo.copies();
    (copies > 0 && !algo.copies_are_in_place(collective)).then(|| {
        format!("<copy>, {copies} of them, is passed over, as runtimes do; --copies copies input to output before the first step")
    })
}

/// The schedule without copies, or why it would be wrong.
fn elided(algo: &Algo, options: &Options, in_place: bool) -> Result<Schedule, String> {
    let mut of = LowerOptions::default();
    of.collective = options.collective;
    of.root = options.root.unwrap_or(0);
    of.elide = true;
    let schedule = algo.lower(&of).map_err(|error| error.to_string())?.schedule;
    match failure(&schedule, in_place) {
        None => Ok(schedule),
        Some(why) => Err(why),
    }
}

/// The first proof that fails, and what is the case instead.
fn failure(schedule: &Schedule, in_place: bool) -> Option<String> {
    let report = proof::check(schedule, proof::Options::default().in_place(in_place));
    let failed = |outcome: &&Outcome| outcome.verdict == Verdict::Fails && !outcome.proof.is_information();
    let outcome = report.proofs.iter().find(failed)?;
    Some(format!("{} fails: {}", outcome.proof, outcome.statement))
}

fn of_document(path: PathBuf, bytes: &[u8], options: &Options) -> Result<Loaded, FileError> {
    let given = [
        (options.fifo_slots.is_some(), "--fifo-slots"),
        (options.collective.is_some(), "--collective"),
        (options.root.is_some(), "--root"),
        (options.elide, "--elide"),
        (options.copies, "--copies"),
    ];
    if let Some((_, option)) = given.into_iter().find(|(given, _)| *given) {
        return Err(FileError::Option { path, option });
    }
    let mut schedule: Schedule = match serde_json::from_slice(bytes) {
        Ok(schedule) => schedule,
        Err(error) => return Err(FileError::Document { path, why: one_line(&error.to_string(), REASON) }),
    };
    schedule.origin = origin(&path, schedule.origin.name(), bytes);
    Ok(Loaded { schedule, in_place: false, forced: false, msccl: None })
}

/// By the name that the file gives itself.
fn origin(path: &Path, name: &str, bytes: &[u8]) -> Origin {
    let name = match name.trim() {
        "" => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        name => name.to_owned(),
    };
    Origin::file(one_line(&name, 64), bytes)
}
