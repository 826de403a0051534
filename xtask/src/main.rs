//! Tools of this repository: `cargo run -p xtask -- COMMAND`.
//!
//! Apart from the program, because nobody who uses wgccl has a use for them.

mod api;
mod gallery;
mod hosts;
mod scale;
mod soak;
mod tables;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- COMMAND

  api                write xtask/api.txt, the list of the public API, from the source
  gallery [--check]  draw the gallery of the documentation from the schedules
  hosts [--check]    hold the laws of docs/scale.md against schedules, and write its tables
  tables [--check]   write the tables and pictures of the benchmark pages from the records
  scale [--out NAME] [--device NAME]
                     measure how cost grows with ranks and size, and write NAME.json and NAME.md (use --release)
  scale --from RECORD.json --out NAME
                     draw such a record as NAME.svg
  soak [--minutes N] [--seed S] [--device NAME]...
                     hold random schedules against an oracle, on the CPU and on every GPU (use --release)";

/// Of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["api"] => api::write(root()),
        ["gallery"] => gallery::write(root()),
        ["gallery", "--check"] => gallery::check(root()),
        ["hosts"] => hosts::write(root()),
        ["hosts", "--check"] => hosts::check(root()),
        ["tables"] => tables::write(root()),
        ["tables", "--check"] => tables::check(root()),
        ["scale", ref options @ ..] => scale::measure(options),
        ["soak", ref options @ ..] => soak::run(options),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
