//! MSCCL XML: a folder of real files, whose verdicts an independent model has written down.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wgccl::format::msccl::{self, LowerError, LowerOptions};
use wgccl::proof::{self, Proof, Verdict, check};

/// Where the files are.
fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("WGCCL_MSCCL").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/msccl");
    given.or_else(|| beside.is_dir().then_some(beside))
}

/// What we say of a file.
fn verdict(text: &[u8]) -> (&'static str, String) {
    let algo = match msccl::read(text) {
        Ok(algo) => algo,
        Err(error) => return ("unreadable", error.to_string()),
    };
    let imported = match algo.lower(&LowerOptions::default()) {
        Ok(imported) => imported,
        Err(LowerError::Problems(problems)) => return ("invalid", problems[0].to_string()),
        Err(error) => return ("refused", error.to_string()),
    };
    let report = check(&imported.schedule, proof::Options::default().in_place(imported.in_place));
    let fails = |proof| report.outcome(proof).is_some_and(|outcome| matches!(outcome.verdict, Verdict::Fails));
    let said = report.failures().to_string();
    match () {
        () if fails(Proof::Structure) => ("structure", said),
        () if fails(Proof::DeadlockFree) => ("deadlock", said),
        () if fails(Proof::RaceFree) => ("race", said),
        () if !report.ok() => ("wrong", said),
        () if fails(Proof::BitIdentical) => ("right, ranks differ in bits", String::new()),
        () => ("right", String::new()),
    }
}

#[test]
fn real_files_are_what_an_independent_model_says() {
    let Some(folder) = folder() else {
        println!("skipped: no folder of MSCCL files; WGCCL_MSCCL names one");
        return;
    };
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            files.insert(path.file_name().unwrap().to_string_lossy().into_owned(), path);
        }
    }
    for (name, path) in files {
        let text = fs::read(path).unwrap();
        let start = Instant::now();
        let (verdict, said) = verdict(&text);
        println!("{name:<60} {verdict:<30} {:?}\n    {}", start.elapsed(), said.chars().take(600).collect::<String>());
    }
}
