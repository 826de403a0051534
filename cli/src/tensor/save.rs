//! Writes every rank's output as `rank{r}.npy`, all of them at once or none.
//!
//! Whoever finds the files may rely on them being whole and of one run, so their directory appears with all of them in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wgccl::element::Element;

use super::{TensorError, npy};
use crate::text::plain;
use crate::whole::{self, Folder};

/// Refuses what [`save`] would refuse, before anything is computed. Of a directory that holds one of `inputs` it says so.
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

fn refused<T>(dir: &Path, problem: String) -> Result<T, TensorError> {
    Err(TensorError::Target { path: dir.to_owned(), problem })
}

/// Where the directory is to be, if it may be there.
fn place(dir: &Path, inputs: &[PathBuf]) -> Result<PathBuf, TensorError> {
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
        false => (dir.to_owned(), nearest.to_owned()),
    };
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
    let digits = name.strip_prefix("rank").and_then(|name| name.strip_suffix(".npy"));
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

/// Writes `outputs[r]` to `rank{r}.npy` in `dir`, which must not exist yet or be empty; a rank without an output, whose vector is
/// empty, gets no file.
///
/// `dir` appears with all files in it. Of several calls for one directory one succeeds.
///
/// # Errors
/// [`TensorError::Target`] or [`TensorError::Write`]; then nothing that this call wrote is left.
pub fn save<T: Element>(dir: &Path, outputs: &[&[T]]) -> Result<(), TensorError> {
    save_as(dir, outputs, None)
}

/// As [`save`], outputs of as many elements as `shape` in that shape, others flat.
///
/// # Errors
/// As [`save`].
pub fn save_as<T: Element>(dir: &Path, outputs: &[&[T]], shape: Option<&[u64]>) -> Result<(), TensorError> {
    let place = place(dir, &[])?;
    let failed = |path: PathBuf| move |error| TensorError::Write { path, error };
    let mut folder = Folder::create(&place).map_err(failed(dir.to_owned()))?;
    for (rank, output) in outputs.iter().enumerate().filter(|(_, output)| !output.is_empty()) {
        let name = format!("rank{rank}.npy");
        let flat = [output.len() as u64];
        let fits = |shape: &&[u64]| shape.iter().try_fold(1_u64, |all, &axis| all.checked_mul(axis)) == Some(flat[0]);
        let header = npy::header(T::TYPE, shape.filter(fits).unwrap_or(&flat));
        let written = match cfg!(target_endian = "little") {
            true => folder.write(&name, &[&header, bytemuck::cast_slice(output)]),
            false => folder.write(&name, &[&header, &turned(output)]),
        };
        written.map_err(failed(dir.join(name)))?;
    }
    folder.publish().or_else(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => refused(
            dir,
            "another run, or somebody else, has written to it meanwhile, and nothing is overwritten; name another directory"
                .to_owned(),
        ),
        io::ErrorKind::ResourceBusy => {
            refused(dir, "it is in use as a whole, as a mount point say; name a new one in it".to_owned())
        }
        _ => Err(failed(dir.to_owned())(error)),
    })
}

/// Elements with their bytes in the other order.
fn turned<T: Element>(values: &[T]) -> Vec<u8> {
    let bytes = bytemuck::cast_slice::<T, u8>(values);
    bytes.chunks_exact(size_of::<T>()).flat_map(|element| element.iter().rev().copied()).collect()
}
