//! Writes every rank's output as `rank{r}.npy`, all of them or none.
//!
//! Whoever finds the files may rely on them being whole and of one run, so they get their names only when all are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{TensorError, npy};
use crate::element::Element;

/// Writes `outputs[r]` to `rank{r}.npy` in `dir`, which is created if it is missing; a rank without an output, whose vector
/// is empty, gets no file.
///
/// Files of these names are replaced once all of the new ones are complete; other files in `dir` are left alone.
///
/// # Errors
/// [`TensorError::Target`] or [`TensorError::Write`]; then nothing that this call wrote before the renaming is left.
pub fn save<T: Element>(dir: &Path, outputs: &[&[T]]) -> Result<(), TensorError> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let refused = |path: &Path, problem| Err(TensorError::Target { path: path.to_owned(), problem });
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| TensorError::Write { path, error }
    };
    if dir.as_os_str().is_empty() {
        return refused(dir, "no directory was named; name one, or '.' for this one");
    }
    if dir.exists() && !dir.is_dir() {
        return refused(dir, "it is a file; name a directory");
    }
    let outputs = || outputs.iter().enumerate().filter(|(_, output)| !output.is_empty());
    let targets: Vec<PathBuf> = outputs().map(|(rank, _)| dir.join(format!("rank{rank}.npy"))).collect();
    if let Some(target) = targets.iter().find(|target| target.is_dir()) {
        return refused(target, "a directory has the name of an output file; move it away or name another directory");
    }

    let mut undo = Undo::default();
    undo.create_dir(dir).map_err(failed(dir))?;
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    for (rank, output) in outputs() {
        let temporary = dir.join(format!(".rank{rank}.npy.{}-{call}.tmp", std::process::id()));
        let mut file = undo.create_file(&temporary).map_err(failed(&temporary))?;
        write(&mut file, output).map_err(failed(&temporary))?;
    }
    for (temporary, target) in undo.files.iter().zip(&targets) {
        fs::rename(temporary, target).map_err(failed(target))?;
    }
    undo.forget();
    Ok(())
}

fn write<T: Element>(file: &mut File, values: &[T]) -> io::Result<()> {
    file.write_all(&npy::header(T::TYPE, values.len()))?;
    let bytes = bytemuck::cast_slice::<T, u8>(values);
    if cfg!(target_endian = "little") {
        return file.write_all(bytes);
    }
    let little: Vec<u8> =
        bytes.chunks_exact(size_of::<T>()).flat_map(|element| element.iter().rev().copied()).collect();
    file.write_all(&little)
}

/// What has been created so far; removed again when dropped.
#[derive(Default)]
struct Undo {
    files: Vec<PathBuf>,
    /// The deepest first.
    dirs: Vec<PathBuf>,
}

impl Undo {
    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        let missing = |dir: &&Path| !dir.as_os_str().is_empty() && dir.symlink_metadata().is_err();
        self.dirs = dir.ancestors().take_while(missing).map(Path::to_owned).collect();
        fs::create_dir_all(dir)
    }

    fn create_file(&mut self, path: &Path) -> io::Result<File> {
        let file = File::create_new(path)?;
        self.files.push(path.to_owned());
        Ok(file)
    }

    fn forget(&mut self) {
        self.files.clear();
        self.dirs.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // A second failure here has nobody to tell; directories go only while they are empty.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        for dir in &self.dirs {
            let _ = fs::remove_dir(dir);
        }
    }
}
