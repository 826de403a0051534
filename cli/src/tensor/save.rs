//! Writes every rank's output as `rank{r}.npy`, all of them or none.
//!
//! Whoever finds the files may rely on them being whole and of one run, so they get their names only when all are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wgccl::element::Element;

use super::{TensorError, npy};

/// Refuses what [`save`] would refuse, and a directory that holds one of `inputs`: before anything is computed.
///
/// # Errors
/// [`TensorError::Target`] or [`TensorError::Write`].
pub fn check_target(dir: &Path, inputs: &[PathBuf]) -> Result<(), TensorError> {
    let refused = |problem: String| Err(TensorError::Target { path: dir.to_owned(), problem });
    if dir.as_os_str().is_empty() {
        return refused("no directory was named; name one, or '.' for this one".to_owned());
    }
    let failed = |error| TensorError::Write { path: dir.to_owned(), error };
    // What will be written in: the directory, or the one that it will be made in.
    let exists = |dir: &&Path| dir.as_os_str().is_empty() || dir.exists();
    let parent = dir.ancestors().find(exists).map_or(Path::new("."), here);
    if !parent.is_dir() {
        return refused(format!("{} is a file; name a directory", parent.display()));
    }
    if dir.exists() {
        for entry in fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if is_output(&name.to_string_lossy()) {
                return refused(format!(
                    "it holds {} already, and nothing is overwritten; name another directory",
                    name.to_string_lossy()
                ));
            }
        }
        let whole = dir.canonicalize().map_err(failed)?;
        let beside =
            |input: &&PathBuf| input.parent().is_some_and(|of| here(of).canonicalize().is_ok_and(|of| of == whole));
        if let Some(input) = inputs.iter().find(beside) {
            return refused(format!("it holds the input {}; name another directory", input.display()));
        }
    }
    let probe = temporary(parent, "probe");
    File::create_new(&probe).and_then(|_| fs::remove_file(&probe)).map_err(failed)
}

/// The empty path is this directory.
fn here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

/// `rank0.npy`, `rank1.npy`, ...: one of them left from another run would be taken for a rank of this one.
fn is_output(name: &str) -> bool {
    let digits = name.strip_prefix("rank").and_then(|name| name.strip_suffix(".npy"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A name that no other call uses.
fn temporary(dir: &Path, what: &str) -> PathBuf {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    dir.join(format!(".{what}.{}-{call}.tmp", std::process::id()))
}

/// Writes `outputs[r]` to `rank{r}.npy` in `dir`, which is created if it is missing; a rank without an output, whose vector
/// is empty, gets no file.
///
/// Nothing is overwritten: a directory that holds such a file is refused. Other files in `dir` are left alone.
///
/// # Errors
/// [`TensorError::Target`] or [`TensorError::Write`]; then nothing that this call wrote before the renaming is left.
pub fn save<T: Element>(dir: &Path, outputs: &[&[T]]) -> Result<(), TensorError> {
    check_target(dir, &[])?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| TensorError::Write { path, error }
    };
    let outputs = outputs.iter().enumerate().filter(|(_, output)| !output.is_empty());
    let mut targets = Vec::new();
    let mut undo = Undo::default();
    undo.create_dir(dir).map_err(failed(dir))?;
    for (rank, output) in outputs {
        let target = dir.join(format!("rank{rank}.npy"));
        let mut file = undo.create_file(&temporary(dir, &format!("rank{rank}.npy"))).map_err(failed(&target))?;
        write(&mut file, output).map_err(failed(&target))?;
        targets.push(target);
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
