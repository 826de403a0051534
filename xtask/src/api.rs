//! Keeps the list of the public API what the source says: `cargo run -p xtask -- api` writes `xtask/api.txt`.
//!
//! A change of that file in review is a change of what users build on.

mod listing;
#[cfg(test)]
mod tests;

use std::path::Path;

/// Writes the list of the repository at `root`.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    let path = root.join("xtask/api.txt");
    std::fs::write(&path, listing::of(root)?).map_err(|error| format!("{}: {error}", path.display()))
}
