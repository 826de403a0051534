//! Keeps tables and pictures of the benchmark pages what the records say: `cargo run -p xtask -- tables [--check]`.
//!
//! A published figure that nobody typed cannot be wrong.

mod pages;
mod records;
#[cfg(test)]
mod tests;

use std::path::Path;

/// Writes every page of the repository at `root` whose tables are stale, and every picture that is.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    for page in pages::stale_pages(root).map_err(|error| error.to_string())? {
        let name = page.path.display();
        std::fs::write(&page.path, &page.text).map_err(|error| format!("{name}: {error}"))?;
        println!("{name}: written");
    }
    Ok(())
}

/// Fails where a page or a picture is stale.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let pages = pages::stale_pages(root).map_err(|error| error.to_string())?;
    let names: Vec<String> = pages.iter().map(|page| page.path.display().to_string()).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(format!("not what the records say: {}; run: cargo run -p xtask -- tables", names.join(", "))),
    }
}
