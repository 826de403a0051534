//! What is drawn of which rows; what it looks like is looked at.

use wgccl::collective::Collective;
use wgccl::lower::{Mode, Protocol};
use wgccl::schedule::Algorithm;

use super::*;
use crate::bench::chart::COLOURS;
use crate::bench::machine::Machine;
use crate::bench::result::{Device, Row};
use crate::bench::testing::{apart, apart_times, in_place_only, row};

fn record(devices: &[Device], rows: &[Row]) -> [Shown; 1] {
    [Shown { devices: devices.to_vec(), rows: rows.to_vec(), ..Shown::default() }]
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = (10..24).step_by(2).map(|n| row(1 << n, 10.0 + f64::from(1 << n) / 1e3)).collect();
    let slow = |row: &Row| Row { origin: Algorithm::RingExchange.into(), ..row.clone() };
    rows.extend(rows.clone().iter().map(slow));
    rows
}

fn over_ranks(rows: &[Row]) -> Vec<Row> {
    [2, 4, 8].iter().flat_map(|&ranks| rows.iter().map(move |row| Row { ranks, ..row.clone() })).collect()
}

/// On devices, in modes.
fn modes(rows: &[Row], on: &[(usize, Option<(Mode, Protocol)>)]) -> Vec<Row> {
    let with = |&(device, dispatch): &(usize, Option<(Mode, Protocol)>)| {
        rows.iter().cloned().map(move |mut row| {
            row.device = device;
            (apart(&mut row).dispatch, apart(&mut row).protocol) = dispatch.unzip();
            row
        })
    };
    on.iter().flat_map(with).collect()
}

#[test]
fn what_lines_have_in_common_is_the_title() {
    let one = |rows: &[Row]| rows[..7].to_vec();
    for (rows, title, labels, captions) in [
        (rows(), "all-reduce f32 sum, per-step, 4 ranks", vec!["ring", "ring-exchange"], vec![""]),
        (
            over_ranks(&rows()),
            "all-reduce f32 sum, per-step",
            vec!["ring", "ring-exchange"],
            vec!["2 ranks", "4 ranks", "8 ranks"],
        ),
        // One algorithm: its lines over ranks are best beside each other.
        (
            over_ranks(&one(&rows())),
            "all-reduce f32 sum, ring, per-step",
            vec!["2 ranks", "4 ranks", "8 ranks"],
            vec![""],
        ),
        (one(&rows()), "all-reduce f32 sum, ring, per-step, 4 ranks", vec!["ring"], vec![""]),
        // Modes that were named side by side are lines; those that devices chose are nobody's.
        (
            modes(&rows(), &[(0, Some((Mode::PerStep, Protocol::Simple))), (0, Some((Mode::Fused, Protocol::Ll)))]),
            "all-reduce f32 sum, 4 ranks",
            vec!["ring, per-step", "ring-exchange, per-step", "ring, fused-ll", "ring-exchange, fused-ll"],
            vec![""],
        ),
        (
            modes(
                &one(&rows()),
                &[(0, Some((Mode::Fused, Protocol::Simple))), (0, Some((Mode::PerRank, Protocol::Simple)))],
            ),
            "all-reduce f32 sum, ring, 4 ranks",
            vec!["fused", "per-rank"],
            vec![""],
        ),
        // What is in place only says so, as a title or as a line.
        (
            one(&rows()).into_iter().map(in_place_only).collect(),
            "all-reduce f32 sum, ring, per-step, in place, 4 ranks",
            vec!["ring"],
            vec![""],
        ),
        (
            rows().into_iter().enumerate().map(|(n, row)| if n < 7 { in_place_only(row) } else { row }).collect(),
            "all-reduce f32 sum, per-step, 4 ranks",
            vec!["ring, in place", "ring-exchange"],
            vec![""],
        ),
        (
            modes(&rows(), &[(0, Some((Mode::PerStep, Protocol::Simple))), (1, None)]),
            "all-reduce f32 sum, 4 ranks",
            vec!["ring", "ring-exchange"],
            vec![""],
        ),
    ] {
        let picture = Lines::of(&record(&[], &rows));
        let found: Vec<&str> = picture.panels.iter().map(|(caption, _)| caption.as_str()).collect();
        assert_eq!(
            (picture.title.as_str(), &picture.labels, found),
            (title, &labels.iter().map(|&l| l.to_owned()).collect(), captions)
        );
    }
}

/// Everything by every algorithm over ranks and devices: no two lines of a panel look alike, and a style is one
/// algorithm in all of them.
#[test]
fn one_style_is_one_algorithm() {
    let algorithms = Algorithm::of(Collective::AllReduce);
    let mut rows = Vec::new();
    for row in over_ranks(&rows_of(&algorithms)) {
        rows.extend([Row { device: 0, ..row.clone() }, Row { device: 1, ..row }]);
    }
    let device = |name: &str| Device {
        index: Some(0),
        name: name.to_owned(),
        backend: "vulkan".to_owned(),
        kind: "software".to_owned(),
        driver: None,
        threads: None,
        pci: None,
        processes: Vec::new(),
    };
    let picture = Lines::of(&record(&[device("a"), device("b")], &rows));
    assert_eq!((picture.panels.len(), picture.labels.len()), (6, algorithms.len()));
    assert!(picture.labels.len() <= 3 * COLOURS.len());
    for (caption, series) in &picture.panels {
        assert_eq!(series.len(), algorithms.len(), "{caption}");
        for line in series {
            assert_eq!(picture.labels[line.style], line.group.algorithm(), "{caption}");
        }
    }
}

fn rows_of(algorithms: &[Algorithm]) -> Vec<Row> {
    let of = |&algorithm: &Algorithm| [1024, 4096].map(|size| Row { origin: algorithm.into(), ..row(size, 10.0) });
    algorithms.iter().flat_map(of).collect()
}

#[test]
fn pictures_are_what_their_names_say() {
    let dir = tempfile::tempdir().unwrap();
    for (name, magic) in [("a.svg", &b"<svg"[..]), ("a.png", b"\x89PNG"), ("b.PNG", b"\x89PNG")] {
        let path = dir.path().join(name);
        draw(&path, &record(&[], &rows())).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(magic), "{name}");
        assert!(matches!(draw(&path, &record(&[], &rows())), Err(BenchError::Target { .. })), "{name}");
    }
    let text = std::fs::read_to_string(dir.path().join("a.svg")).unwrap();
    for fragment in ["ring-exchange", "busbw (GB/s)", "64K", "roof", "bytes of a rank's vector"] {
        assert!(text.replace("&apos;", "'").contains(fragment), "{fragment}");
    }
    assert!(matches!(draw(&dir.path().join("a.pdf"), &record(&[], &rows())), Err(BenchError::Plot { .. })));
    // One row, one rank, nothing measurable: no picture of it may fail.
    let mut alone = row(1024, 10.0);
    apart(&mut alone).bus_bw = 0.0;
    alone.roof.time = 0.0;
    draw(&dir.path().join("alone.svg"), &record(&[], &[alone])).unwrap();
}

/// What has no size, or one, is seen all the same: one size as bars, for which a line is none.
#[test]
fn nothing_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let barrier = |ranks| Row { size: 0, ranks, redop: None, collective: Collective::Barrier, ..row(1024, 10.0) };
    let gather = Row { collective: Collective::AllGather, redop: None, ..row(1024, 10.0) };
    let ring_and_tree = [row(1024, 10.0), Row { origin: Algorithm::Tree.into(), ..row(1024, 20.0) }].to_vec();
    for (name, rows, circles, bars, says, says_not) in [
        ("one.svg", vec![row(1024, 10.0)], 0, 4, "roof: plain copy", "ranks<"),
        ("two.svg", ring_and_tree, 0, 6, "20.0 us", "ranks<"),
        ("barrier.svg", vec![barrier(4)], 0, 1, "barrier, ring", "roof"),
        ("barriers.svg", [2, 4, 8].map(barrier).to_vec(), 3, 0, "\nranks\n", "busbw"),
        ("gather.svg", vec![gather], 0, 4, "all-gather f32, ring, per-step, 4 ranks", " none"),
    ] {
        let path = dir.path().join(name);
        draw(&path, &record(&[], &rows)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        // A filled circle and its edge for every point, and for the legend; the ground is a rectangle, too.
        assert_eq!(text.matches("<circle").count(), if circles > 0 { 2 * (circles + 1) } else { 0 }, "{name}: {text}");
        assert_eq!(text.matches("<rect").count(), bars + 1, "{name}: {text}");
        assert!(text.contains(says) && !text.contains(says_not), "{name}: {text}");
    }
}

/// A record may be a stranger's.
#[test]
fn no_number_of_a_record_ends_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let mut hostile = rows();
    for (n, times) in [vec![0.0, 1.0, f64::MAX], vec![-1.0; 5], vec![f64::MIN_POSITIVE], vec![1e300, 1.0], vec![]]
        .into_iter()
        .enumerate()
    {
        apart_times(&mut hostile[n]).times_us = times;
    }
    hostile[0].size = u64::MAX;
    (hostile[1].size, hostile[1].ranks) = (0, 0);
    hostile[2].roof.time = f64::MIN_POSITIVE;
    apart_times(&mut hostile[3]).statistics.p50 = f64::NAN;
    hostile[4].roof.time = -1.0;
    for name in ["a.svg", "a.png"] {
        draw(&dir.path().join(name), &record(&[], &hostile)).unwrap();
        for n in 0..5 {
            draw(&dir.path().join(format!("{n}{name}")), &record(&[], &hostile[n..=n])).unwrap();
        }
    }
    // Nor how much it holds.
    let many: Vec<Row> = (0..101).flat_map(|ranks| rows().into_iter().map(move |row| Row { ranks, ..row })).collect();
    let refused = draw(&dir.path().join("many.png"), &record(&[], &many)).unwrap_err();
    assert!(refused.to_string().contains("101 panels are no picture any more"), "{refused}");
}

fn device(name: &str) -> Device {
    Device { name: name.to_owned(), ..crate::bench::testing::device() }
}

#[test]
fn points_are_medians_with_the_middle_half() {
    let mut one = row(1 << 20, 10.0);
    // Its mean is 22.
    apart_times(&mut one).times_us = vec![100.0, 4.0, 3.0, 2.0, 1.0];
    let lines = Lines::of(&record(&[], std::slice::from_ref(&one)));
    let point = *lines.points().next().unwrap();
    assert_eq!(point.time, [2.0, 3.0, 4.0]);
    let bus_bw = [2.0, 3.0, 4.0].map(|us| 1.5 * f64::from(1 << 20) / us / 1e3);
    assert!(point.bus_bw.iter().zip(bus_bw).all(|(a, b)| (a / b - 1.0).abs() < 1e-12), "{:?}", point.bus_bw);
    // The first is left out of it.
    apart_times(&mut one).skipped_iterations = 1;
    assert_eq!(Lines::of(&record(&[], std::slice::from_ref(&one))).points().next().unwrap().time, [1.0, 2.0, 3.0]);
    // In place, where there is nothing else.
    one.in_place_per_iter.as_mut().unwrap().times_us = vec![7.0; 5];
    assert_eq!(Lines::of(&record(&[], &[in_place_only(one)])).points().next().unwrap().time, [7.0; 3]);
}

#[test]
fn records_are_drawn_together() {
    let machine = |name: &str| Some(Machine { processor: Some(name.to_owned()), ..Machine::default() });
    let of = |name: &str, machine: &Option<Machine>, device: Device, rows: Vec<Row>| Shown {
        name: name.to_owned(),
        machine: machine.clone(),
        devices: vec![device],
        rows,
    };
    let (here, there) = (machine("here"), machine("there"));
    let ring = rows()[..7].to_vec();
    let tree: Vec<Row> = ring.iter().map(|row| Row { origin: Algorithm::Tree.into(), ..row.clone() }).collect();
    for (records, labels, captions, notes) in [
        // The same again: each line says of which record it is.
        (
            vec![of("old", &here, device("a"), ring.clone()), of("new", &here, device("a"), ring.clone())],
            vec!["old", "new"],
            vec![""],
            vec!["a (vulkan), driver 1", "here"],
        ),
        // What tells lines apart anyhow needs no name.
        (
            vec![of("old", &here, device("a"), ring.clone()), of("new", &here, device("a"), tree.clone())],
            vec!["ring", "tree"],
            vec![""],
            vec!["a (vulkan), driver 1", "here"],
        ),
        (
            vec![of("old", &here, device("a"), rows()), of("new", &here, device("b"), rows())],
            vec!["ring", "ring-exchange"],
            vec!["a (vulkan)", "b (vulkan)"],
            vec!["here"],
        ),
        // Of one device in two machines it does.
        (
            vec![of("old", &here, device("a"), ring.clone()), of("new", &there, device("a"), tree)],
            vec!["ring, old", "tree, new"],
            vec![""],
            vec!["a (vulkan), driver 1", "old: here", "new: there"],
        ),
    ] {
        let lines = Lines::of(&records);
        let found: Vec<&str> = lines.panels.iter().map(|(caption, _)| caption.as_str()).collect();
        assert_eq!((lines.labels.iter().map(String::as_str).collect(), found), (labels, captions));
        assert_eq!(lines.notes, notes);
    }
}

/// All devices and algorithms once were 6548 pixels with the legend at their end.
#[test]
fn a_picture_of_everything_is_seen_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let devices: Vec<Device> = (0..6).map(|n| device(&format!("device {n}"))).collect();
    let algorithms = Algorithm::of(Collective::AllReduce);
    let mut rows = Vec::new();
    for index in 0..6 {
        // Decades apart.
        let time = |time: f64| time * 10_f64.powi(index as i32);
        let slower = |row: Row| {
            let mut row = Row { device: index, ..row };
            apart_times(&mut row).times_us.iter_mut().for_each(|us| *us = time(*us));
            row
        };
        rows.extend(over_ranks(&rows_of(&algorithms)).into_iter().map(slower));
    }
    let records = record(&devices, &rows);
    let picture = Picture::of(&records);
    assert_eq!(picture.lines.panels.len(), 18);
    assert!(picture.height() < 2000, "{}", picture.height());
    let path = dir.path().join("all.svg");
    draw(&path, &records).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let at = |what: &str| text.find(&format!("\n{what}\n")).unwrap_or_else(|| panic!("{what}"));
    // The legend comes before the first panel, and every panel has the same axis.
    assert!(at(algorithms.last().unwrap().name()) < at("2 ranks, device 0"));
    for label in ["1", "1e6"] {
        assert_eq!(text.matches(&format!("\n{label}\n")).count(), 18, "{label}");
    }
}

#[test]
fn a_comparison_is_drawn_with_its_intervals() {
    use crate::bench::compare::{Compared, Comparison, Verdict};
    let dir = tempfile::tempdir().unwrap();
    let compared =
        |line: &str, over, ratio, interval, verdict| Compared { line: line.to_owned(), over, ratio, interval, verdict };
    let rows = vec![
        compared("out-of-place", 1024, 0.5, Some((0.4, 0.6)), Verdict::Faster),
        compared("out-of-place", 4096, 1.01, Some((0.9, 1.2)), Verdict::WithinNoise),
        compared("in-place", 1024, 3.0, None, Verdict::Unknown),
        compared("in-place", 4096, f64::INFINITY, None, Verdict::Unknown),
    ];
    let comparison = |rows| Comparison {
        text: String::new(),
        rows,
        title: "B against A: all-reduce".to_owned(),
        about: vec!["A: old.json, B: new.json".to_owned()],
    };
    let lines_without_whiskers = {
        let bare = rows.iter().cloned().map(|row| Compared { interval: None, ..row }).collect();
        let path = dir.path().join("bare.svg");
        draw_comparison(&path, &comparison(bare)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        text.matches("<polyline").count() + text.matches("<line").count()
    };
    let path = dir.path().join("c.svg");
    draw_comparison(&path, &comparison(rows)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for what in ["B against A: all-reduce", "A: old.json, B: new.json", "in-place", "faster", "within noise", "0.5"] {
        assert!(text.contains(&format!("\n{what}\n")), "{what}: {text}");
    }
    assert!(!text.contains("slower"), "{text}");
    // Three points and three entries of the legend, each with its edge: what is infinite is nowhere.
    assert_eq!(text.matches("<circle").count(), 2 * (3 + 3));
    // A whisker is a line with an end to either side.
    assert_eq!(text.matches("<polyline").count() + text.matches("<line").count(), lines_without_whiskers + 2 * 3);
    draw_comparison(&dir.path().join("none.svg"), &comparison(Vec::new())).unwrap();
}
