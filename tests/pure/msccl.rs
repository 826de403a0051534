//! MSCCL XML: a folder of real files, whose verdicts an independent model has written down.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wgccl::collective::Collective;
use wgccl::format::msccl::{self, Algo, LowerError, LowerOptions, Proto};
use wgccl::proof::{self, Proof, Verdict, check, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};

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

/// Every built-in schedule that the format can express comes back with the same proof, at the fewest slots, in every number of ranks.
#[test]
fn what_is_written_is_read_again() {
    let mut written = 0;
    for &collective in Collective::ALL {
        for algorithm in Algorithm::of(collective) {
            for ranks in [1, 2, 3, 4, 5, 8] {
                let Ok(schedule) = build(collective, algorithm, ranks, SyncStyle::Neighbor) else { continue };
                let proved = prove(schedule, proof::Options::default()).unwrap();
                let algo = match Algo::of(&proved, Proto::Simple) {
                    Ok(algo) => algo,
                    Err(error) => {
                        assert!(matches!(collective, Collective::Barrier | Collective::SendRecv), "{error}");
                        continue;
                    }
                };
                let case = format!("{collective} by {algorithm} of {ranks}");
                let text = algo.to_string();
                let read = msccl::read(text.as_bytes()).unwrap_or_else(|error| panic!("{case}: {error}\n{text}"));
                assert_eq!(read.to_string(), text, "{case}");
                for fifo_slots in [Some(1), None, Some(u32::MAX)] {
                    let mut options = LowerOptions::default();
                    options.fifo_slots = fifo_slots;
                    let imported = read.lower(&options).unwrap_or_else(|error| panic!("{case}: {error}\n{text}"));
                    assert!(imported.warnings.is_empty(), "{case}: {:?}", imported.warnings);
                    let report = check(&imported.schedule, proof::Options::default());
                    assert!(report.ok(), "{case}: {}\n{text}", report.failures());
                    assert_eq!(report.holds(Proof::BitIdentical), proved.report().holds(Proof::BitIdentical), "{case}");
                    written += 1;
                }
                assert_eq!(read.fewest_fifo_slots(), Some(1), "{case}");
            }
        }
    }
    assert!(written > 300, "{written}");
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
