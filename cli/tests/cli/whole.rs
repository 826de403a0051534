//! Outputs, records and pictures are there whole or not at all: under signals, kills, full disks and rival writers.
//!
//! `WGCCL_ROUNDS` sets how often each is tried; some misfortunes are rare.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const RANKS: usize = 200;

fn rounds() -> u64 {
    std::env::var("WGCCL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10)
}

fn run(dir: &Path, out: &str, seed: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    let args = ["run", "--device", "cpu", "--algorithm", "direct", "--count", "400", "--ranks", &RANKS.to_string()];
    command.current_dir(dir).args(args).args(["--output", out, "--seed", &seed.to_string()]).env("NO_COLOR", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every file of a directory.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    names(dir).into_iter().map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap())).collect()
}

/// What runs with seeds 0 and 1 write.
fn expected() -> [BTreeMap<String, Vec<u8>>; 2] {
    let dir = tempfile::tempdir().unwrap();
    [0, 1].map(|seed| {
        let output = run(dir.path(), &seed.to_string(), seed).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let files = contents(&dir.path().join(seed.to_string()));
        assert_eq!(files.len(), RANKS);
        files
    })
}

#[test]
fn of_two_runs_into_one_directory_one_wins() {
    let expected = expected();
    let mut meanwhile = 0;
    for round in 0..rounds() {
        let dir = tempfile::tempdir().unwrap();
        // New, empty, and below a directory that is new as well.
        let out = ["out", "out", "new/out"][round as usize % 3];
        if round % 3 == 1 {
            std::fs::create_dir(dir.path().join(out)).unwrap();
        }
        let children = [0, 1].map(|seed| run(dir.path(), out, seed).spawn().unwrap());
        let outputs: [Output; 2] = children.map(|child| child.wait_with_output().unwrap());
        let codes = outputs.each_ref().map(|output| output.status.code());
        let winner = codes.iter().position(|&code| code == Some(0)).unwrap_or_else(|| panic!("{outputs:?}"));
        let loser = &outputs[1 - winner];
        assert_eq!(codes[1 - winner], Some(6), "round {round}: {outputs:?}");
        let error = text(&loser.stderr);
        assert!(error.lines().count() == 1 && error.contains("name another directory"), "{error}");
        assert!(!text(&loser.stdout).contains("written   "), "{}", text(&loser.stdout));
        meanwhile += u64::from(error.contains("meanwhile"));
        let files = contents(&dir.path().join(out));
        assert!(files == expected[winner], "round {round}: {} files, not those of run {winner}", files.len());
        let above = dir.path().join(out).parent().unwrap().to_owned();
        assert_eq!((names(&above), names(dir.path()).len()), (vec!["out".to_owned()], 1));
    }
    println!("{meanwhile} of {} were lost at the last moment", rounds());
}

/// Waits until something hidden is there, for outputs a directory, or the process has ended.
fn hidden(dir: &Path, child: &mut Child, is: fn(&Path) -> bool) -> Option<PathBuf> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let mut all = names(dir).into_iter().map(|name| (name.starts_with('.'), dir.join(name)));
        if let Some((_, path)) = all.find(|(hidden, path)| *hidden && is(path)) {
            return Some(path);
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
    }
    panic!("neither written nor ended");
}

/// Microseconds from the first file to the last and a little more.
fn span() -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let mut child = run(dir.path(), "out", 0).spawn().unwrap();
    hidden(dir.path(), &mut child, Path::is_dir);
    let start = Instant::now();
    child.wait().unwrap();
    start.elapsed().as_micros() as u64 * 5 / 4
}

fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).output();
    assert!(kill.is_ok(), "{kill:?}");
}

/// xorshift64: the same moments on every machine.
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

#[test]
fn a_signal_leaves_all_files_or_none() {
    let expected = expected();
    let (span, mut state, mut seen, mut whole) = (span(), 0x5eed, 0, 0);
    for round in 0..rounds() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = run(dir.path(), "out", 0).spawn().unwrap();
        // Some before anything is written, while it is looked where it will be.
        match round % 10 {
            9 => drop(hidden(dir.path(), &mut child, |_| true)),
            _ => {
                seen += u64::from(hidden(dir.path(), &mut child, Path::is_dir).is_some());
                std::thread::sleep(Duration::from_micros(random(&mut state, span)));
            }
        }
        signal(&child, ["TERM", "INT", "HUP"][round as usize % 3]);
        let output = child.wait_with_output().unwrap();
        match &names(dir.path())[..] {
            [] => assert!(matches!(output.status.signal(), Some(1 | 2 | 15)), "round {round}: {}", output.status),
            [out] if out == "out" => {
                whole += 1;
                let files = contents(&dir.path().join(out));
                assert!(files == expected[0], "round {round}: {} files", files.len());
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
    println!("{seen} of {} while files were written; {whole} left all files, the others none", rounds());
    assert!(seen > 0);
}

#[test]
fn what_a_kill_leaves_is_named() {
    let expected = expected();
    let (span, mut state, mut left) = (span(), 0xdead, 0);
    for round in 0..rounds() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = run(dir.path(), "out", 0).spawn().unwrap();
        hidden(dir.path(), &mut child, Path::is_dir);
        // The first one surely leaves something.
        std::thread::sleep(Duration::from_micros(if round == 0 { 0 } else { random(&mut state, span) }));
        child.kill().unwrap();
        child.wait().unwrap();
        if dir.path().join("out").exists() {
            assert!(contents(&dir.path().join("out")) == expected[0], "round {round}");
            continue;
        }
        let Some(name) = names(dir.path()).into_iter().next() else { continue };
        left += 1;
        let output = run(dir.path(), "out", 1).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let note = format!("{name} is of a run that was killed");
        assert!(text(&output.stdout).contains(&note), "'{note}' is not in {}", text(&output.stdout));
        assert!(contents(&dir.path().join("out")) == expected[1], "round {round}");
        std::fs::remove_dir_all(dir.path().join("out")).unwrap();
        let output = run(dir.path(), "out", 1).arg("--json").output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(json["notes"][0].as_str().unwrap().contains(&note), "{json}");
    }
    println!("{left} of {} left something", rounds());
    assert!(left > 0);
}

fn bench(dir: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.current_dir(dir).args(["bench", "--device", "cpu"]).args(args.split(' ')).env("NO_COLOR", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_signal_leaves_a_whole_record_and_nothing_else() {
    let (mut state, mut rows) = (0xbeef, 0);
    for round in 0..rounds() {
        let dir = tempfile::tempdir().unwrap();
        // Of so many iterations that a record takes a while.
        let mut child = bench(dir.path(), "-e 1K -n 20000 -N 1000 -J r.json").stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random(&mut state, 200_000)));
        hidden(dir.path(), &mut child, |_| true);
        // The others may be ignored where this test runs, and the sweep would go on.
        signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        match &names(dir.path())[..] {
            [] => {}
            [name] if name == "r.json" => {
                let record: Value = serde_json::from_slice(&std::fs::read(dir.path().join("r.json")).unwrap()).unwrap();
                rows += record["results"].as_array().unwrap().len();
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
    println!("{rows} rows in {} records", rounds());
}

/// A limit on the size of files, as a full disk: nothing stays under the final name, nor under another.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_file() {
    for (args, fragment) in [
        ("run --device cpu --ranks 2 --count 128K --output out", "rank0.npy: File too large"),
        ("run --device cpu --ranks 2 --count 128K --output new/out", "rank0.npy: File too large"),
        ("bench --device cpu -e 1K -n 2 -J r.json", "r.json: File too large"),
        ("bench --device cpu -e 1K -n 2 -J r.csv", "r.csv: File too large"),
        ("bench --device cpu -e 1K -n 2 --plot p.svg", "p.svg: File too large"),
        ("bench --device cpu -e 1K -n 2 --plot p.png", "p.png: File too large"),
    ] {
        for before in ["", "trap '' XFSZ; "] {
            let dir = tempfile::tempdir().unwrap();
            let limited = format!("{before}ulimit -f 0; exec \"$0\" {args}");
            let mut sh = Command::new("sh");
            sh.current_dir(dir.path()).args(["-c", &limited, env!("CARGO_BIN_EXE_wgccl")]).env("NO_COLOR", "1");
            let output = sh.output().unwrap();
            assert_eq!(output.status.code(), Some(6), "{args}: {output:?}");
            assert!(text(&output.stderr).contains(fragment), "{args}: {}", text(&output.stderr));
            assert_eq!(names(dir.path()), [""; 0], "{args}");
        }
    }
}

/// What `nohup` and a shell's background jobs ask for.
#[cfg(target_os = "linux")]
#[test]
fn an_ignored_signal_stays_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let mut sh = Command::new("sh");
    let program = "trap '' HUP; exec \"$0\" run --device cpu --ranks 200 --output out";
    sh.current_dir(dir.path()).args(["-c", program, env!("CARGO_BIN_EXE_wgccl")]);
    let mut child = sh.stdout(Stdio::null()).spawn().unwrap();
    hidden(dir.path(), &mut child, Path::is_dir);
    signal(&child, "HUP");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(names(&dir.path().join("out")).len(), 200);
}

/// Nothing is pulled away from under a shell, mixed with what is there, or written where nobody looks.
#[test]
fn a_directory_that_cannot_be_replaced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (full, empty) = (dir.path().join("full"), dir.path().join("empty"));
    for of in [&full, &empty] {
        std::fs::create_dir(of).unwrap();
    }
    std::fs::write(full.join("notes.txt"), b"mine").unwrap();
    let refused = |current: &Path, out: &str, fragments: &[&str]| {
        let output = run(current, out, 0).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(6), 0), "{out}: {error}");
        assert!(fragments.iter().all(|fragment| error.contains(fragment)), "{out}: {fragments:?} in {error}");
    };
    refused(dir.path(), "full", &["holds notes.txt already", "a new or an empty one"]);
    refused(dir.path(), ".", &["already"]);
    refused(&empty, ".", &["the current one", "name a new one in it"]);
    refused(&empty, "../empty", &["the current one"]);
    refused(dir.path(), "/proc/self/x/y", &["/proc/self", "must be writable"]);
    std::os::unix::fs::symlink(&empty, dir.path().join("link")).unwrap();
    let output = run(dir.path(), "link", 0).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!((names(&empty).len(), names(&full)), (RANKS, vec!["notes.txt".to_owned()]));
    assert_eq!(names(dir.path()), ["empty", "full", "link"]);
}

/// An empty directory keeps who may look into it, and a new one has what any has.
#[test]
fn permissions_are_as_for_any_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    for name in ["private", "any"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("file"), b"").unwrap();
    let mode = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(dir.path().join("private"), PermissionsExt::from_mode(0o710)).unwrap();
    for out in ["private", "new"] {
        assert_eq!(run(dir.path(), out, 0).output().unwrap().status.code(), Some(0));
    }
    assert_eq!((mode("private"), mode("new")), (0o710, mode("any")));
    assert_eq!(mode("new/rank0.npy"), mode("file"));
    assert_eq!(bench(dir.path(), "-e 1K -n 2 -J r.json --plot p.svg").output().unwrap().status.code(), Some(0));
    assert_eq!((mode("r.json"), mode("p.svg")), (mode("file"), mode("file")));
}
