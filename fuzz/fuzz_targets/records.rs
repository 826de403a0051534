//! Records of benchmarks, and what nccl-tests wrote: read, compared with themselves, drawn.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use wgccl_cli::bench::compare::compare;
use wgccl_cli::bench::plot::{draw, draw_comparison};
use wgccl_cli::bench::record::Recorded;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let directory = tempfile::tempdir().expect("a directory for the files");
    let path = directory.path().join("record.json");
    fs::write(&path, data).expect("room for the file");
    if let Ok(comparison) = compare(&path, &path)
        && comparison.rows.len() <= 8
    {
        let _ = draw_comparison(&directory.path().join("ratios.svg"), &comparison);
    }
    let Ok(record) = Recorded::parse(text) else { return };
    if record.results.len() <= 8 {
        let _ = draw(&directory.path().join("picture.svg"), &[record.shown(String::new())]);
    }
});
