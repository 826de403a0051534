//! Keeps the tables of the benchmark pages what the records say: `cargo run --example tables [-- --check]`.
//!
//! It is no part of wgccl: it reads `benches/definitions` and `benches/results` of this repository, and writes its pages.

mod tables;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("usage: tables [--check]");
            return ExitCode::from(2);
        }
    };
    let pages = match tables::stale_pages(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        Ok(pages) => pages,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    for page in &pages {
        let name = page.path.display();
        if check {
            eprintln!("{name}: its tables are not what the records say; run: cargo run --example tables");
        } else if let Err(error) = std::fs::write(&page.path, &page.text) {
            eprintln!("error: {name}: {error}");
            return ExitCode::FAILURE;
        } else {
            println!("{name}: written");
        }
    }
    if check && !pages.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
