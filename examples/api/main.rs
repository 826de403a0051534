//! Keeps the list of the public API what the source says: `cargo run --example api` writes `tests/api.txt`.
//!
//! A change of that file in review is a change of what users build on.

mod listing;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = listing::of(root).and_then(|text| {
        let path = root.join("tests/api.txt");
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
