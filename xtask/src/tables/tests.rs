//! Pages and pictures are up to date, and whatever makes them stale or contradicts a record is found.

use std::path::PathBuf;

use super::pages::{Page, stale_pages};
use crate::root;

#[test]
fn tables_and_pictures_are_those_of_the_records() {
    let stale = stale_pages(root()).unwrap();
    let names: Vec<_> = stale.iter().map(|page| &page.path).collect();
    assert!(names.is_empty(), "run cargo run -p xtask -- tables: {names:?}");
}

/// Copies what the tables are made from, edits one file of it, and asks.
fn stale_after(file: &str, from: &str, to: &str) -> Result<Vec<String>, String> {
    let (root, copy) = (root(), tempfile::tempdir().unwrap());
    let mut dirs: Vec<PathBuf> =
        [".", "benches", "benches/definitions", "benches/pictures", "benches/results"].map(PathBuf::from).into();
    while let Some(dir) = dirs.pop() {
        std::fs::create_dir_all(copy.path().join(&dir)).unwrap();
        for entry in std::fs::read_dir(root.join(&dir)).unwrap() {
            let path = entry.unwrap().path();
            let to = dir.join(path.file_name().unwrap());
            if path.extension().is_some_and(|end| ["toml", "json", "md", "svg"].iter().any(|kind| end == *kind)) {
                std::fs::copy(&path, copy.path().join(&to)).unwrap();
            }
            if path.is_dir() && dir.ends_with("results") {
                dirs.push(to);
            }
        }
    }
    let edited = copy.path().join(file);
    let text = std::fs::read_to_string(&edited).unwrap_or_default();
    assert!(text.contains(from), "'{from}' is not in {file}");
    std::fs::write(&edited, text.replacen(from, to, 1)).unwrap();
    let pages = stale_pages(copy.path()).map_err(|error| error.to_string())?;
    let name = |page: &Page| page.path.strip_prefix(copy.path()).unwrap().to_string_lossy().into_owned();
    // What is written is then up to date.
    pages.iter().for_each(|page| std::fs::write(&page.path, &page.text).unwrap());
    assert_eq!(stale_pages(copy.path()).unwrap().len(), 0);
    Ok(pages.iter().map(name).collect())
}

#[test]
fn stale_tables_and_unexplained_records_are_found() {
    let definition = "benches/definitions/all-reduce.toml";
    let record = format!("benches/results/{}.json", {
        let text = std::fs::read_to_string(root().join(definition)).unwrap();
        text.split("record = \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    });
    let peers = "benches/results/2026-11-22-xeon-2vcpu/peers-16m.json".to_owned();
    let both = ["BENCHMARKS.md".to_owned(), "benches/README.md".to_owned()];
    let picture = ["benches/pictures/software.svg".to_owned()];
    for (file, from, to, stale) in [
        ("BENCHMARKS.md", "| 4 | 1 KiB | ring |", "| 4 | 1 KiB | ring | 0.1 |", &both[..1]),
        ("benches/README.md", "busbw", "bandwidth", &both[1..]),
        (definition, "label = \"", "label = \"another ", &both),
        (definition, "title = \"", "title = \"Another ", &both[1..]),
        (&record, "\"p50_us\": ", "\"p50_us\": 1", &both[1..]),
        (&picture[0], "<svg", "<svg ", &picture),
        // A row that is in place only is one all the same, and says so.
        (&record, "\"out_of_place\": {", "\"apart\": {", &both[1..]),
    ] {
        assert_eq!(stale_after(file, from, to).unwrap(), stale, "{file}: {to}");
    }
    for (file, from, to, error) in [
        ("BENCHMARKS.md", "<!-- table: all-reduce in short -->", "", "no place for table 'all-reduce in short'"),
        (
            "BENCHMARKS.md",
            "<!-- table: all-reduce in",
            "<!-- table: broadcast in",
            "no definition has a table 'broadcast in",
        ),
        ("BENCHMARKS.md", "<!-- end -->", "", "has no <!-- end -->"),
        (definition, "-f 16", "-f 8", "its definition says"),
        (definition, "title", "titel", "all-reduce.toml"),
        (definition, "record = \"", "record = \"none-such-", "none-such-"),
        (&record, "\"okay\": true", "\"okay\": false", "wrong elements"),
        (definition, "record = \"2026-11-27", "record = \"2026-11-28", "2026-11-28"),
        (&record, "\"start_time\": \"2026", "\"start_time\": \"2027", "it was measured on 2027"),
        (definition, "records = [\"2026-11-27-2vcpu/cpu", "records = [\"none-such", "none of its definition's records"),
        ("benches/results/stray.json", "", "{}", "stray: no definition names this record"),
        ("benches/results/2026-11-27-2vcpu/stray.json", "", "{}", "2vcpu/stray: no definition names this record"),
        (&record, "\"target/release/wgccl\"", "\"/opt/wgccl\"", "a path of the machine: /opt/wgccl"),
        (
            "benches/results/2026-11-27-h200/large.json",
            "wgccl-bench/1",
            "wgccl-bench/9",
            "its schema is 'wgccl-bench/9'",
        ),
        ("benches/results/2026-11-27-h200/large.json", "\"2026-11-27 ", "\"2026-11-28 ", "measured on 2026-11-28"),
        (&peers, "\"cells\"", "\"cell\"", "it holds no results"),
        (&peers, "\"start_time\": \"2026", "\"start_time\": \"2027", "measured on 2027"),
        ("benches/pictures/stray.svg", "", "<svg/>", "stray.svg: no definition draws this picture"),
    ] {
        let got = stale_after(file, from, to).unwrap_err();
        assert!(got.contains(error), "{file}: {to}: {got}");
    }
}
