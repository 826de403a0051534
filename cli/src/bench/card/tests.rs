//! What a card says of what; what it looks like is looked at.

use super::*;
use crate::bench::machine::Machine;
use crate::bench::result::{Clock, Device, RoofBy};
use crate::bench::testing::device;

fn card() -> Card {
    let best = |bytes: u64, us: f64, algorithm: &str| Best {
        bytes,
        us,
        quartiles_us: [0.9 * us, 1.1 * us],
        clock: Clock::Device,
        bus_bw: 1.75 * bytes as f64 / us / 1e3,
        roof_pct: 71.4,
        algorithm: algorithm.to_owned(),
        dispatch: Some("fused-ll".to_owned()),
        tried: 3,
    };
    let launch = |name: &str, us| Launch { dispatch: Some(name.to_owned()), us };
    Card {
        schema: SCHEMA,
        ok: true,
        version: "1.2.3",
        commit: Some("0123456789abcdef"),
        time_utc: "2026-01-02T03:04:05Z".to_owned(),
        device: Device { name: "Some_GPU | 9000".to_owned(), kind: "discrete".to_owned(), ..device() },
        machine: Machine {
            processor: Some("Some Processor".to_owned()),
            logical_cores: Some(16),
            os: Some("Some Linux".to_owned()),
            ..Machine::default()
        },
        ranks: 8,
        launch: vec![launch("fused", 9.87), launch("per-step", 21.0), launch("per-rank", 61.234)],
        roof: Some(CopyRoof { bytes: 512 << 20, bandwidth: 3812.3, by: Some(RoofBy::Kernel) }),
        all_reduce: vec![
            best(1 << 10, 6.88, "direct"),
            best(1 << 20, 9.44, "direct"),
            best(64 << 20, 24_500.0, "ring"),
        ],
        left_out: Vec::new(),
        checked: 20,
        wrong: 0,
    }
}

#[test]
fn text_fits_a_post() {
    let expected = "\
device      Some_GPU | 9000 (vulkan, discrete)
driver      driver 1
machine     Some Processor, 16 logical cores
system      Some Linux
launch us   fused 9.87, per-step 21.0, per-rank 61.2
roof        3812 GB/s, a copy of 512 MiB by kernel

size              time        busbw  of roof  algorithm
1 KiB          6.88 us   0.260 GB/s     71 %  direct, fused-ll
1 MiB          9.44 us     194 GB/s     71 %  direct, fused-ll
64 MiB         24.5 ms    4.79 GB/s     71 %  ring, fused-ll

all-reduce of f32, 8 ranks, medians by the device's clock
every result bit-exact
wgccl 1.2.3 (0123456789), 2026-01-02T03:04:05Z";
    assert_eq!(text(&card()), expected);
    let mut long = card();
    long.device.name = "n".repeat(500);
    long.device.driver = Some("d".repeat(500));
    long.machine.processor = Some("p".repeat(500));
    assert!(text(&long).lines().all(|line| line.chars().count() <= 76), "{}", text(&long));
}

#[test]
fn nothing_that_went_wrong_is_kept_quiet() {
    let mut bad = card();
    bad.all_reduce.truncate(2);
    bad.left_out =
        vec![LeftOut { what: "64 MiB".to_owned(), why: "the time was over".to_owned(), bytes: Some(64 << 20) }];
    (bad.ok, bad.wrong) = (false, 3);
    for text in [text(&bad), markdown(&bad)] {
        assert!(text.contains("left out: 64 MiB: the time was over"), "{text}");
        assert!(text.contains("WRONG: 3 elements differ"), "{text}");
        assert!(!text.contains("bit-exact"), "{text}");
    }
    // Nothing was checked, and nothing is claimed.
    let none = Card { checked: 0, ..card() };
    assert!(text(&none).contains("no result was checked"), "{}", text(&none));
}

#[test]
fn markdown_holds_what_names_hold() {
    let text = markdown(&card());
    assert!(text.starts_with("### Some\\_GPU \\| 9000 (vulkan, discrete)\n"), "{text}");
    for line in [
        "| launch | fused 9.87 us, per-step 21.0 us, per-rank 61.2 us |",
        "| 1 KiB | 6.88 us | 0.260 GB/s | 71 % | direct, fused-ll |",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let mut columns = text.lines().filter(|line| line.starts_with("| ") && line.contains("KiB"));
    assert_eq!(columns.next().map(|line| line.matches('|').count()), Some(6));
}

#[test]
fn a_card_is_what_its_name_says() {
    let dir = tempfile::tempdir().unwrap();
    for (name, begins) in [
        ("a.txt", &b"device "[..]),
        ("a.md", b"### "),
        ("a.svg", b"<svg"),
        ("a.png", b"\x89PNG"),
        ("b.PNG", b"\x89PNG"),
    ] {
        let path = dir.path().join(name);
        check_new(&path).unwrap();
        write(&path, &card()).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(begins), "{name}");
        assert!(matches!(write(&path, &card()), Err(BenchError::Target { .. })), "{name}");
        assert!(matches!(check_new(&path), Err(BenchError::Target { .. })), "{name}");
    }
    let svg = std::fs::read_to_string(dir.path().join("a.svg")).unwrap();
    for what in ["Some_GPU | 9000 (vulkan, discrete)", "64 MiB", "24.5 ms", "every result bit-exact", "per-rank"] {
        assert!(svg.contains(&format!("\n{what}\n")), "{what}: {svg}");
    }
    for name in ["a", "a.pdf", "all-reduce"] {
        assert!(matches!(check_new(&dir.path().join(name)), Err(BenchError::Target { .. })), "{name}");
    }
    // Nothing but the device is known.
    let bare = Card {
        launch: Vec::new(),
        roof: None,
        all_reduce: Vec::new(),
        machine: Machine::default(),
        commit: None,
        ..card()
    };
    write(&dir.path().join("bare.svg"), &bare).unwrap();
    assert!(text(&bare).contains("wgccl 1.2.3, 2026-01-02T03:04:05Z"));
}
