//! Pictures in files: the options that say which, for every command that draws.
//!
//! Apart from `show`, because `check` draws what is wrong with the same options.

use std::path::{Path, PathBuf};

use clap::Args;
use wgccl::element::DataType;
use wgccl::low_level::lower::Plan as Dispatches;
use wgccl::low_level::payload::Payload;
use wgccl::lower::Mode;
use wgccl::proof::{self, prove};
use wgccl::schedule::{Draft, MAX_RANKS, Schedule};
use wgccl::show::{Drawing, NoPicture, Picture, html, svg};

use super::args::{LaunchArgs, check_apart};
use super::output::print;
use crate::amount::whole;
use crate::error::Error;
use crate::file::STDIN;
use crate::plan::Plan;
use crate::whole as files;

/// What is drawn, and where to.
#[derive(Debug, Clone, Args)]
pub(super) struct PictureArgs {
    /// Draw these ranks only, as 0,5-7
    #[arg(long, value_name = "RANK,..", value_parser = ranks)]
    only: Option<Ranks>,
    /// Write the space-time diagram: a row a rank, a column a level, an arrow a message
    ///
    /// It is for light pages and dark ones. What is there is written over; - is standard output, of `wgccl show`.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Let the levels of --svg appear one after the other
    #[arg(long, requires = "svg")]
    animate: bool,
    /// Write one HTML file that plays it: topology, grid and memory, step by step
    ///
    /// Everything is in that file, and it asks for nothing from any network. What is there is written over; - is standard output,
    /// of `wgccl show`.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A type of its own: clap takes a vector for an option that may be repeated.
#[derive(Debug, Clone)]
struct Ranks(Vec<u32>);

fn ranks(text: &str) -> Result<Ranks, String> {
    let mut ranks = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match [first, last].map(|text| whole::<u32>(text.trim())) {
            [Ok(first), Ok(last)] if first <= last && last - first < MAX_RANKS => ranks.extend(first..=last),
            _ => return Err(format!("'{part}' is no rank, and no range of ranks; write 0,5-7")),
        }
    }
    Ok(Ranks(ranks))
}

impl PictureArgs {
    /// The ranks that are drawn; none are all.
    pub(super) fn only(&self, ranks: u32) -> Result<&[u32], Error> {
        let only = self.only.as_ref().map_or(&[][..], |only| &only.0);
        match only.iter().find(|&&rank| rank >= ranks) {
            Some(rank) => Err(Error::Usage(format!("--only names rank {rank}, and there are {ranks}, from 0"))),
            None => Ok(only),
        }
    }

    /// Whether only some ranks are to be drawn.
    pub(super) fn is_cut(&self) -> bool {
        self.only.is_some()
    }

    /// Whether there is a file to write.
    pub(super) fn is_given(&self) -> bool {
        self.svg.is_some() || self.html.is_some()
    }

    /// Refuses what would be written over by another, also where standard output has `what` already.
    pub(super) fn check_targets(&self, what: Option<&str>) -> Result<(), Error> {
        let pictures = [("--svg", self.svg.as_deref()), ("--html", self.html.as_deref())];
        let to_stdout = pictures.iter().find(|(_, path)| *path == Some(Path::new(STDIN)));
        if let (Some(what), Some((flag, _))) = (what, to_stdout) {
            return Err(Error::Usage(format!("standard output has {what}; give {flag} the name of a file")));
        }
        check_apart(&pictures)
    }

    /// Writes the files that were asked for.
    pub(super) fn write(&self, picture: &Picture) -> Result<(), Error> {
        if let Some(path) = &self.svg {
            let drawing = Drawing::default().ranks(self.only(picture.ranks)?).animated(self.animate);
            put(path, &svg(picture, &drawing).map_err(|error| Error::Usage(error.to_string()))?)?;
        }
        if let Some(path) = &self.html {
            let mut page = Vec::new();
            // Nothing can fail in memory.
            html(picture, None, &mut page)
                .map_err(|error| Error::Usage(format!("the page cannot be made: {error}")))?;
            put(path, &String::from_utf8_lossy(&page))?;
        }
        Ok(())
    }
}

/// The picture of a schedule, with what is to be said of launches where it is right.
pub(super) fn picture(
    plan: &Plan,
    launch: &LaunchArgs,
    schedule: &Schedule,
    options: proof::Options,
) -> Result<Picture, Error> {
    let mut picture = Picture::new(schedule, options).map_err(no_picture)?;
    let data_type = launch.data_type.unwrap_or(DataType::F32);
    if let Ok(payload) = Payload::new(schedule, launch.count(plan), data_type.bytes()) {
        picture = picture.chunk_bytes(payload.chunk_bytes() as u64);
    }
    if let Ok(proved) = prove(schedule.clone(), options) {
        for mode in Mode::ALL {
            if let Ok(dispatches) = Dispatches::new(&proved, *mode, |_| 0, u64::MAX) {
                picture = picture.mode(mode.name(), &dispatches.numbers);
            }
        }
    }
    Ok(picture)
}

/// Refuses what is too large to be drawn, before it is written out.
pub(super) fn check_size(draft: &Draft) -> Result<(), Error> {
    Picture::check_size(draft).map_err(no_picture)
}

fn no_picture(error: NoPicture) -> Error {
    Error::Usage(error.to_string())
}

/// To a file, in place of what is there, or to standard output.
fn put(path: &Path, text: &str) -> Result<(), Error> {
    if path == Path::new(STDIN) {
        return print(text.trim_end());
    }
    let unwritten =
        |error| Error::Usage(format!("cannot write {}: {error}; name a file that can be written", path.display()));
    files::replace(path, text.as_bytes()).map_err(unwritten)
}
