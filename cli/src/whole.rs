//! Files that are there whole or not at all, whatever ends the program.
//!
//! What is written has a hidden name beside its own until all of it is on disk. A failure and every signal that can be caught
//! remove it; a kill leaves it, and [`left_behind`] names it.

mod folder;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::signals::{Held, hold};
pub(crate) use folder::Folder;

/// Before and after what is random in a hidden name.
const MARKS: [&str; 2] = [".wgccl-", ".tmp"];
/// Bytes between two looks at signals.
const BLOCK: usize = 1 << 20;

/// Writes a file that does not exist yet.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where it does by then, and nothing is left behind.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_by(path, |out| out.write_all(bytes))
}

/// As [`create`], what `write` writes bit by bit.
///
/// # Errors
/// As [`create`], and what `write` returns.
pub(crate) fn create_by(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let held = hold();
    let file = written(path, write, &held)?;
    file.persist_noclobber(path).map(drop).map_err(|failed| failed.error)
}

/// Writes a file in place of what is there, with the permissions of that. Where a link leads the file is replaced, and not the
/// link; what is no file, such as a pipe, is written to.
///
/// # Errors
/// A file that was there is there still.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let there = match fs::metadata(path) {
        Ok(there) if there.is_file() => Some(there.permissions()),
        // Nothing is left half-written that a signal should wait for, and a pipe may wait for its reader.
        Ok(_) => return File::options().write(true).open(path)?.write_all(bytes),
        Err(_) => None,
    };
    let held = hold();
    let path = &match fs::read_link(path) {
        Ok(_) if there.is_some() => path.canonicalize()?,
        // It leads to nothing yet.
        Ok(to) => parent(path).join(to),
        Err(_) => path.to_owned(),
    };
    let file = written(path, |out| out.write_all(bytes), &held)?;
    if let Some(permissions) = there {
        file.as_file().set_permissions(permissions)?;
    }
    file.persist(path).map(drop).map_err(|failed| failed.error)
}

/// Whether [`create`] could write there.
///
/// # Errors
/// As [`create`].
pub(crate) fn check(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    probe(path)
}

/// Whether something hidden can be written beside `path`.
pub(crate) fn probe(path: &Path) -> io::Result<()> {
    let held = hold();
    written(path, |_| Ok(()), &held).map(drop)
}

/// Hidden files and directories beside `path` that killed runs have left, or that others are writing.
pub(crate) fn left_behind(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent(path)) else { return Vec::new() };
    let prefix = prefix(path);
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(MARKS[1])
        })
        .collect();
    found.sort();
    found
}

/// What to say of [`left_behind`].
pub(crate) fn notes(path: &Path) -> Vec<String> {
    let note = |left: &PathBuf| {
        format!(
            "{} is of a run that was killed, or of one that is still going on; remove it if none is",
            left.display()
        )
    };
    left_behind(path).iter().map(note).collect()
}

/// The directory of a name; the empty path is this one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Of the hidden names for `path`, which may itself be as long as names can be.
fn prefix(path: &Path) -> String {
    const LONGEST: usize = 48;
    let name: String = path.file_name().unwrap_or_default().to_string_lossy().chars().take(LONGEST).collect();
    format!(".{name}{}", MARKS[0])
}

/// With the permissions that any new file has; `tempfile`'s own are for secrets.
fn hidden<'a>(prefix: &'a str, _mode: u32) -> Builder<'a, 'static> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(MARKS[1]);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(_mode));
    builder
}

fn written(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    held: &Held,
) -> io::Result<NamedTempFile> {
    let parent = parent(path);
    let file = hidden(&prefix(path), 0o666).tempfile_in(parent).map_err(|error| unnamed(error, parent))?;
    let mut out = BufWriter::with_capacity(BLOCK, Filling { file: file.as_file(), held });
    write(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file().sync_all()?;
    held.go_on()?;
    Ok(file)
}

/// The error without the hidden name, which nobody knows.
fn unnamed(error: io::Error, parent: &Path) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), format!("there is no directory {}", parent.display())),
        kind => kind.into(),
    }
}

/// A file that is being filled, until a signal comes.
struct Filling<'a> {
    file: &'a File,
    held: &'a Held,
}

impl Write for Filling<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.go_on()?;
        self.file.write(&bytes[..bytes.len().min(BLOCK)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_new_or_replaced_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        check(&path).unwrap();
        assert_eq!(names(dir.path()), [""; 0]);
        create(&path, b"one").unwrap();
        for taken in [create(&path, b"two"), check(&path)] {
            assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, &[b'x'; 3 * BLOCK / 2]).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 3 * BLOCK / 2);
        assert!(create(&dir.path().join("none/a"), b"").is_err());
        assert_eq!(names(dir.path()), ["a"]);
        // As long as a name may be.
        let long = dir.path().join("l".repeat(255));
        create(&long, b"").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
            fs::write(dir.path().join("b"), b"").unwrap();
            assert_eq!(mode(&path), mode(&dir.path().join("b")));
            // What is there keeps what it is.
            let (link, secret) = (dir.path().join("link"), fs::Permissions::from_mode(0o600));
            fs::set_permissions(&path, secret).unwrap();
            std::os::unix::fs::symlink("a", &link).unwrap();
            replace(&link, b"by a link").unwrap();
            assert!(link.is_symlink());
            assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path) & 0o777), (&b"by a link"[..], 0o600));
            std::os::unix::fs::symlink("new", dir.path().join("dangling")).unwrap();
            replace(&dir.path().join("dangling"), b"new").unwrap();
            assert_eq!(fs::read(dir.path().join("new")).unwrap(), b"new");
            let null = Path::new("/dev/null");
            replace(null, b"anything").unwrap();
            assert!(!null.is_file());
            assert!(replace(dir.path(), b"").is_err());
        }
    }

    #[test]
    fn what_a_kill_left_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".a.wgccl-x.tmp", ".b.wgccl-y.tmp", ".a.tmp", "a"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        assert_eq!(left_behind(&dir.path().join("a")), [dir.path().join(".a.wgccl-x.tmp")]);
        assert!(notes(&dir.path().join("b"))[0].contains(".b.wgccl-y.tmp is of a run that was killed"));
    }
}
