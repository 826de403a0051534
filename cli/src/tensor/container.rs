//! A file of tensors, whichever format it has and whether it is a file or a pipe: the one place that tells these apart.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use super::error::{NAME, TensorError};
use super::input::{Data, Input, Layout};
use super::npy;
use super::npz;
use super::safetensors::{self, Contents, Metadata};
use super::stored::Stored;
use super::{index, source::Source};
use crate::text::one_line;

/// The name of standard input.
pub(super) const STDIN: &str = "-";
/// Bytes that tell formats apart.
const MAGIC: usize = 9;
/// Names that an error lists.
const SHOWN: usize = 8;

/// What a file can be, and an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Npy,
    Npz,
    Safetensors,
    /// Of several safetensors files.
    Index,
}

/// A file whose header has been read.
#[derive(Debug)]
pub(super) struct Container {
    path: PathBuf,
    pub(super) format: Format,
    /// By name; an array without one is alone.
    layouts: BTreeMap<String, Layout>,
    pub(super) metadata: Metadata,
}

impl Container {
    pub(super) fn open(path: &Path) -> Result<Self, TensorError> {
        let failed = |error| TensorError::Read { path: path.to_owned(), error };
        if path.as_os_str() == STDIN {
            let (path, stdin) = (Path::new("standard input"), io::stdin());
            if stdin.is_terminal() {
                return Err(TensorError::Terminal);
            }
            let (format, stored) = keep(path, &mut stdin.lock())?;
            return Self::of(path, format, &stored);
        }
        let metadata = fs::metadata(path).map_err(failed)?;
        if is_pipe(&metadata) {
            let (format, stored) = keep(path, &mut File::open(path).map_err(failed)?)?;
            return Self::of(path, format, &stored);
        }
        if !metadata.is_file() {
            return Err(TensorError::NotAFile { path: path.to_owned() });
        }
        let stored = Stored::named(path.to_owned(), metadata.len());
        let format = match by_name(path) {
            Some(format) => format,
            None => {
                let mut magic = Vec::new();
                stored.open().and_then(|region| region.take(MAGIC as u64).read_to_end(&mut magic)).map_err(failed)?;
                by_magic(&magic).ok_or_else(|| TensorError::Format { path: path.to_owned() })?
            }
        };
        Self::of(path, format, &stored)
    }

    fn of(path: &Path, format: Format, stored: &Stored) -> Result<Self, TensorError> {
        let alone = |layouts| Contents { layouts, metadata: Metadata::new() };
        let Contents { layouts, metadata } = match format {
            Format::Npy => {
                let region = stored.open().map_err(|error| TensorError::Read { path: path.to_owned(), error })?;
                let mut input = Input::new(path, "npy", region, stored.bytes)?;
                alone(vec![npy::layout(&mut input, |start| Data::Plain(stored.part(start, u64::MAX)))?])
            }
            Format::Npz => alone(npz::layouts(path, stored)?),
            Format::Safetensors => safetensors::contents(path, stored)?,
            Format::Index => index::contents(path, stored)?,
        };
        let layouts = layouts.into_iter().map(|layout| (layout.name.clone().unwrap_or_default(), layout)).collect();
        Ok(Self { path: path.to_owned(), format, layouts, metadata })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.layouts.keys().map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.layouts.contains_key(name)
    }

    pub(super) fn is_one(&self) -> bool {
        self.layouts.len() == 1
    }

    /// Its tensor, if it has one only.
    pub(super) fn only(&self) -> Result<Option<Source>, TensorError> {
        match (self.layouts.len(), self.layouts.values().next()) {
            (1, Some(only)) => Ok(Some(Source { path: self.path.clone(), layout: only.clone() })),
            (0, _) => Err(self.choice("holds no tensor; save it again with one".to_owned())),
            _ => Ok(None),
        }
    }

    /// That of its tensors that is called `name`.
    pub(super) fn named(&self, name: &str) -> Result<Source, TensorError> {
        if self.format == Format::Npy {
            return Err(TensorError::Unnamed { path: self.path.clone() });
        }
        let shown = one_line(name, NAME);
        match self.layouts.get(name) {
            Some(layout) if self.layouts.len() == 1 => Ok(Source { path: self.path.clone(), layout: layout.clone() }),
            Some(layout) => {
                // Errors are of this one.
                let path = PathBuf::from(format!("{}['{shown}']", self.path.display()));
                Ok(Source { path, layout: layout.clone() })
            }
            None => Err(self.choice(format!("holds no tensor '{shown}'; choose one of: {}", self.listed()))),
        }
    }

    /// That one of its tensors must be named.
    pub(super) fn several(&self) -> TensorError {
        self.choice(format!("holds {} tensors; name the one to read: {}", self.layouts.len(), self.listed()))
    }

    pub(super) fn choice(&self, problem: String) -> TensorError {
        TensorError::Choice { path: self.path.clone(), problem }
    }

    fn listed(&self) -> String {
        let shown = self.names().take(SHOWN).map(|name| one_line(name, NAME)).collect::<Vec<_>>().join(", ");
        match self.layouts.len().saturating_sub(SHOWN) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

fn by_name(path: &Path) -> Option<Format> {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref()? {
        "npy" => Some(Format::Npy),
        "npz" => Some(Format::Npz),
        "safetensors" => Some(Format::Safetensors),
        "json" => Some(Format::Index),
        _ => None,
    }
}

fn by_magic(magic: &[u8]) -> Option<Format> {
    match magic {
        [0x93, b'N', b'U', b'M', ..] => Some(Format::Npy),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Format::Npz),
        [.., b'{'] if magic.len() == MAGIC && magic[MAGIC - 2] == 0 => Some(Format::Safetensors),
        _ if magic.trim_ascii_start().starts_with(b"{") => Some(Format::Index),
        _ => None,
    }
}

#[cfg(unix)]
fn is_pipe(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &fs::Metadata) -> bool {
    false
}

/// Keeps what `from` gives in a file without a name, once its beginning is that of a format: others may have no end.
fn keep(path: &Path, from: &mut dyn Read) -> Result<(Format, Stored), TensorError> {
    let failed = |error| TensorError::Read { path: path.to_owned(), error };
    let mut magic = Vec::new();
    from.take(MAGIC as u64).read_to_end(&mut magic).map_err(failed)?;
    if magic.is_empty() {
        return Err(TensorError::Empty { path: path.to_owned(), format: "npy or .safetensors" });
    }
    let format = by_magic(&magic).ok_or_else(|| TensorError::Format { path: path.to_owned() })?;
    if format == Format::Index {
        return Err(TensorError::Format { path: path.to_owned() });
    }
    let kept = tempfile::tempfile().and_then(|mut file| {
        let bytes = io::copy(&mut magic.as_slice().chain(from), &mut file)?;
        Ok(Stored::kept(file, bytes))
    });
    kept.map(|stored| (format, stored)).map_err(|error| TensorError::Keep { path: path.to_owned(), error })
}
