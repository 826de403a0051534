//! Pictures at the command line: on the terminal, in files, of what is right and what is not.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn wgccl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgccl")).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_is_shown() {
    for (args, expected) in [
        (&["show"][..], &["all-reduce by ring: 4 ranks", "RS round 1", "from r-1", "((1 + 2) + 3) + 0", "proved"][..]),
        (&["show", "halving-doubling", "-P", "8"], &["from r xor 2", "o4-7"]),
        (
            &["show", "ring", "--collective", "all-gather", "-P", "64"],
            &["4 of 64 ranks are shown", "more of this kind"],
        ),
        (&["show", "-P", "64", "--only", "63"], &["rank 63"]),
        (&["show", "barrier"], &["barrier by"]),
        (&["show", "--groups", "3,1"], &["all-reduce by hierarchical"]),
        (&["show", "--in-place"], &["in place"]),
        (&["show", "--svg", "-"], &["<svg ", "RS round 3", "</svg>"]),
        (&["show", "--svg", "-", "--animate"], &["@keyframes"]),
        (&["check", "--break", "help"], &["drop-wait:INSTRUCTION[:N]", "share-slot"]),
    ] {
        let output = wgccl(args);
        let text = text(&output);
        assert!(output.status.success(), "{args:?}: {text}");
        expected.iter().for_each(|expected| assert!(text.contains(expected), "{args:?} lacks {expected}: {text}"));
    }
}

#[test]
fn what_is_refused() {
    for (args, why) in [
        (&["show", "--only", "4"][..], "--only names rank 4"),
        (&["show", "--only", "3-1"], "no range of ranks"),
        (&["show", "--svg", "-", "--json"], "standard output has the object of --json; give --svg"),
        (&["check", "--html", "-"], "standard output has the report; give --html"),
        (&["show", "--svg", "never.svg", "--html", "./never.svg"], "--svg and --html name one file"),
        (&["check", "--only", "0"], "none is drawn; leave --only out"),
        (&["show", "--only", "a"], "'a' is no rank"),
        (&["show", "--animate"], "--svg"),
        (&["show", "--groups", "5"], "give at most 4"),
        (&["show", "--groups", "3,3"], "give sizes whose sum is 4"),
        (&["show", "ring", "--groups", "2"], "has no groups"),
        (&["show", "-P", "200", "--svg", "-"], "--only 0-3"),
        (&["show", "--device", "cpu"], "--device"),
        (&["show", "--svg", "no/such/folder/x.svg"], "no/such/folder"),
        (&["show", "nothing.xml"], "nothing.xml"),
        (&["check", "--break", "drop-wait:r9-ag-1"], "rank 9"),
        (&["check", "--break", "drop-it"], "did you mean"),
    ] {
        let output = wgccl(args);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(6), "{args:?}: {text}");
        assert!(text.contains(why), "{args:?}: {text}");
    }
}

#[test]
fn what_is_broken_is_drawn_and_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("broken.svg");
    let path = path.to_str().unwrap();
    for (edit, code, found, drawn) in [
        // A notify is left over as well.
        ("drop-wait:r2-ag-1", 6, "race-free", "class=\"wrong\""),
        ("drop-notify:r1-rs-2", 6, "deadlock-free", ">never</text>"),
        ("shift-read:r0-rs-1:0", 7, "result", " bad\""),
        ("swap-operands:r0-rs-1", 0, "bit-identical", "class=\"box "),
    ] {
        let output = wgccl(&["check", "--break", edit, "--svg", path, "--json"]);
        assert_eq!(output.status.code(), Some(code), "{edit}: {}", text(&output));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["ok"], code == 0, "{json}");
        assert!(json["break"]["what"].as_str().is_some_and(|what| !what.is_empty()), "{json}");
        let outcome = json["proofs"].as_array().unwrap().iter().find(|proof| proof["proof"] == found).unwrap();
        assert_eq!(outcome["ok"], code == 0, "{outcome}");
        // What was there is written over.
        assert!(fs::read_to_string(path).unwrap().contains(drawn), "{edit}");
    }
}

/// A page is given the picture as this.
#[test]
fn the_data_of_a_picture() {
    let json: Value =
        serde_json::from_slice(&wgccl(&["show", "--json", "--count", "1000", "-d", "f64"]).stdout).unwrap();
    assert_eq!((json["levels"].as_u64(), json["steps"].as_array().map(Vec::len)), (Some(6), Some(24)));
    assert_eq!(json["chunk_bytes"], 2000);
    let modes: Vec<&str> = json["modes"].as_array().unwrap().iter().filter_map(|mode| mode["name"].as_str()).collect();
    assert_eq!(modes, ["per-rank", "per-step", "fused"]);
}
