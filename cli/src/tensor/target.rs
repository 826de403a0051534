//! The directory that outputs are to be in: whether it may be there, before anything is computed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::TensorError;
use crate::text::plain;
use crate::whole;

/// Refuses what [`save`](super::save) would refuse, before anything is computed. Of a directory that holds one of `inputs` it says so.
///
/// # Errors
/// [`TensorError::Target`] or [`TensorError::Write`].
pub fn check_target(dir: &Path, inputs: &[PathBuf]) -> Result<(), TensorError> {
    place(dir, inputs).map(drop)
}

/// What a run that was killed has left beside `dir`, in words.
pub(crate) fn left_behind(dir: &Path) -> Vec<String> {
    whole::notes(&dir.canonicalize().unwrap_or_else(|_| dir.to_owned()))
}

pub(super) fn refused<T>(dir: &Path, problem: String) -> Result<T, TensorError> {
    Err(TensorError::Target { path: dir.to_owned(), problem })
}

/// Where the directory is to be, if it may be there.
pub(super) fn place(dir: &Path, inputs: &[PathBuf]) -> Result<PathBuf, TensorError> {
    if dir.as_os_str().is_empty() {
        return refused(dir, "no directory was named; name a new one".to_owned());
    }
    let failed = |error| TensorError::Write { path: dir.to_owned(), error };
    let exists = |of: &&Path| of.as_os_str().is_empty() || of.exists();
    let nearest = dir.ancestors().find(exists).map_or(Path::new("."), here);
    if !nearest.is_dir() {
        return refused(dir, format!("{} is a file; name a directory", nearest.display()));
    }
    let (place, above) = match dir.exists() {
        true => {
            let place = dir.canonicalize().map_err(failed)?;
            check_empty(dir, &place, inputs)?;
            let above = place.parent().unwrap_or(&place).to_owned();
            check_replaceable(dir, &place, &above)?;
            (place, above)
        }
        // Without a `.` at its end, which nothing can be renamed to.
        false => (dir.components().collect(), nearest.to_owned()),
    };
    if place.file_name().is_none() {
        return refused(dir, "it ends with no name; name a new directory".to_owned());
    }
    whole::probe(&above.join(place.file_name().unwrap_or_default())).or_else(|error| {
        refused(
            dir,
            format!(
                "it appears with all files in it, so {} must be writable, and that says: {}; name a directory in one that is",
                above.display(),
                error.kind()
            ),
        )
    })?;
    Ok(place)
}

/// The empty path is this directory.
fn here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

/// One file more would be mixed with the outputs.
fn check_empty(dir: &Path, place: &Path, inputs: &[PathBuf]) -> Result<(), TensorError> {
    let beside =
        |input: &&PathBuf| input.parent().is_some_and(|of| here(of).canonicalize().is_ok_and(|of| of == place));
    if let Some(input) = inputs.iter().find(beside) {
        return refused(dir, format!("it holds the input {}; name another directory", input.display()));
    }
    let failed = |error| TensorError::Write { path: dir.to_owned(), error };
    let names = fs::read_dir(place).map_err(failed)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<io::Result<Vec<String>>>().map_err(failed)?;
    match names.iter().min_by_key(|name| !is_output(name)) {
        None => Ok(()),
        Some(name) => refused(
            dir,
            format!(
                "it holds {} already, and outputs get a directory of their own; name another directory, a new or an empty one",
                plain(name)
            ),
        ),
    }
}

/// `rank0.npy`, `rank1.npy`, ...: what another run has written.
fn is_output(name: &str) -> bool {
    let written = name.strip_prefix("rank").and_then(|name| name.rsplit_once('.'));
    let digits = written.filter(|(_, format)| ["npy", "npz", "safetensors"].contains(format)).map(|(digits, _)| digits);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// An empty directory is replaced by the full one, which must be possible, and must not pull it away from under a shell.
fn check_replaceable(dir: &Path, place: &Path, above: &Path) -> Result<(), TensorError> {
    let replaced = "is replaced by one with all files in it";
    if std::env::current_dir().and_then(|current| current.canonicalize()).is_ok_and(|current| current == place) {
        return refused(
            dir,
            format!("an empty directory {replaced}, and this is the current one; name a new one in it"),
        );
    }
    if is_mount(place, above) {
        return refused(dir, format!("an empty directory {replaced}, and this is a mount point; name a new one in it"));
    }
    Ok(())
}

#[cfg(unix)]
fn is_mount(place: &Path, above: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    place == above || device(place) != device(above)
}

#[cfg(not(unix))]
fn is_mount(place: &Path, above: &Path) -> bool {
    place == above
}
