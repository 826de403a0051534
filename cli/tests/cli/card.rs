//! `wgccl bench --card`: what is on it, in what, and that it is made in time. Never how long a launch took.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::devices::{devices, one_at_a_time};

fn card(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.current_dir(dir).args(["bench", "--card"]).args(args.split_whitespace()).env("NO_COLOR", "1");
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every size is there, measured or left out, on every device, and all of it was checked.
#[test]
fn every_device_has_a_card() {
    let _turn = one_at_a_time();
    let names = devices().iter().map(|device| device.gpu.info().index.to_string()).chain(["cpu".to_owned()]);
    for name in names {
        let begun = Instant::now();
        let text = stdout(&card(Path::new("."), &format!("--device {name} -T 6 --json")));
        assert!(begun.elapsed() < Duration::from_secs(20), "{name}: {:?}", begun.elapsed());
        let card: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&card["schema"], &card["ok"], &card["wrong"]), (&"wgccl-card/1".into(), &true.into(), &0.into()));
        let of = |key: &str| card[key].as_array().unwrap().clone();
        let measured: Vec<u64> = of("all_reduce").iter().map(|best| best["bytes"].as_u64().unwrap()).collect();
        let left_out: Vec<u64> = of("left_out").iter().filter_map(|left| left["bytes"].as_u64()).collect();
        assert!(measured.contains(&1024), "{card}");
        for size in [1 << 10, 1 << 20, 64 << 20] {
            let cut =
                of("left_out").iter().any(|left| left["why"].as_str().unwrap().contains("all that was to follow"));
            assert!(measured.contains(&size) || left_out.contains(&size) || cut, "{size}: {card}");
        }
        assert!(card["checked"].as_u64().unwrap() as usize >= measured.len(), "{card}");
        for best in of("all_reduce") {
            let positive = |key: &str| best[key].as_f64().is_some_and(|value| value > 0.0);
            assert!(["us", "bus_bw", "roof_pct"].into_iter().all(positive), "{best}");
            assert_eq!(best["dispatch"].is_null(), name == "cpu", "{best}");
        }
        assert!(!of("launch").is_empty() && card["roof"]["bandwidth"].as_f64().unwrap() > 0.0, "{card}");
    }
}

/// However little time there is, there is a card, and it says what is missing.
#[test]
fn what_does_not_fit_is_left_out() {
    // Within the opening of a device, within a row, between two of them: no driver makes the end of the process a crash.
    let _turn = one_at_a_time();
    for device in devices() {
        for seconds in [0.05, 0.15, 0.3, 0.6] {
            let args = format!("--device {} -T {seconds}", device.gpu.info().index);
            let output = card(Path::new("."), &args);
            assert!([Some(0), Some(4)].contains(&output.status.code()), "{args}: {output:?}");
        }
    }
    let begun = Instant::now();
    let text = stdout(&card(Path::new("."), "--device cpu -T 1"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(text.contains("left out: 64 MiB: ") || text.contains("all that was to follow"), "{text}");
    assert!(text.contains("\nevery result bit-exact\n") && text.lines().count() <= 20, "{text}");
}

#[test]
fn a_card_goes_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    for (name, begins) in [("c.txt", &b"device "[..]), ("c.md", b"### "), ("c.svg", b"<svg"), ("c.png", b"\x89PNG")] {
        let text = stdout(&card(dir.path(), &format!("{name} --device cpu -T 1")));
        assert_eq!(text, format!("# Card written to {name}\n"));
        assert!(std::fs::read(dir.path().join(name)).unwrap().starts_with(begins), "{name}");
        // Refused before anything is measured.
        let again = card(dir.path(), &format!("{name} --device cpu -T 1e6"));
        assert_eq!(again.status.code(), Some(6), "{name}");
    }
}

#[test]
fn what_means_nothing_to_a_card_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (args, fragments) in [
        ("-P 4", ["--card", "--ranks"]),
        ("-e 1K", ["--card", "--maxbytes"]),
        ("--plot p.svg", ["--card", "--plot"]),
        ("-J r.json", ["--card", "--output_file"]),
        ("--algorithm ring", ["--card", "--algorithm"]),
        ("--compare a.json b.json", ["--card", "--compare"]),
        ("--columns wgccl", ["--card", "--columns"]),
        ("c.pdf", ["c.pdf", ".txt, .md, .svg or .png"]),
        ("all-gather", ["all-gather", ".txt, .md, .svg or .png"]),
        ("--device cpu all-gather", ["--card", "COLLECTIVE"]),
        ("--device all", ["of one device", "--device"]),
        ("--device cpu,cpu", ["of one device", "--device"]),
    ] {
        let output = card(dir.path(), args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{args}: {text}");
        assert!(fragments.iter().all(|fragment| text.contains(fragment)), "{args}: {text}");
    }
    assert_eq!(card(dir.path(), "--device nonesuch").status.code(), Some(2));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
