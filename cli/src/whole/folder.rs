//! A directory whose files appear together: it is filled under a hidden name, then renamed as a whole.
//!
//! Renaming succeeds onto nothing and onto an empty directory only, so that of two writers one wins.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Filling, hidden, parent, prefix};
use crate::signals::{Held, hold};

/// A directory that is being filled; unless it is published, nothing of it stays.
#[derive(Debug)]
pub(crate) struct Folder {
    target: PathBuf,
    /// None once it has its name.
    hidden: Option<TempDir>,
    files: Vec<PathBuf>,
    /// Directories above it that it made, the deepest first.
    made: Vec<PathBuf>,
    /// Dropped last, when nothing is left to remove.
    held: Held,
}

impl Folder {
    /// One that is to be `target`, with the directories above it that are missing.
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        let held = hold();
        let above = parent(target);
        let made = above.ancestors().take_while(|dir| missing(dir)).map(Path::to_owned).collect();
        let mut folder = Self { target: target.to_owned(), hidden: None, files: Vec::new(), made, held };
        fs::create_dir_all(above)?;
        folder.hidden = Some(hidden(&prefix(target), 0o777).tempdir_in(above)?);
        Ok(folder)
    }

    /// Writes a file, of what `fill` puts into it.
    pub(crate) fn write(&mut self, name: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let Some(hidden) = &self.hidden else { return Err(io::ErrorKind::NotFound.into()) };
        let path = hidden.path().join(name);
        let file = File::create_new(&path)?;
        self.files.push(path);
        fill(&mut Filling { file: &file, held: &self.held })
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// Where the name is no longer free: [`io::ErrorKind::DirectoryNotEmpty`] or what else the system says.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        let Some(hidden) = &mut self.hidden else { return Err(io::ErrorKind::NotFound.into()) };
        // All are written by now, so the first of these waits for most of them.
        for file in &self.files {
            self.held.go_on()?;
            File::options().write(true).open(file)?.sync_all()?;
        }
        sync_dir(hidden.path());
        self.held.go_on()?;
        if let Ok(there) = fs::metadata(&self.target) {
            fs::set_permissions(hidden.path(), there.permissions())?;
        }
        fs::rename(hidden.path(), &self.target)?;
        hidden.disable_cleanup(true);
        self.hidden = None;
        self.made.clear();
        sync_dir(parent(&self.target));
        Ok(())
    }
}

fn missing(dir: &Path) -> bool {
    !dir.as_os_str().is_empty() && dir.symlink_metadata().is_err()
}

/// Names survive a power failure, too, where the file system can write a directory through.
fn sync_dir(dir: &Path) {
    if cfg!(unix) {
        let _ = File::open(dir).and_then(|dir| dir.sync_all());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A second failure here has nobody to tell; directories above go only while they are empty.
        drop(self.hidden.take());
        for dir in &self.made {
            let _ = fs::remove_dir(dir);
        }
    }
}
