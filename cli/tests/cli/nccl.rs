//! What reads nccl-tests reads `wgccl bench`, and `wgccl bench --compare` reads nccl-tests.
//!
//! The readers here are written as people write theirs: one goes by the header, others count columns from either end, match a
//! line, or name thirteen columns. Each must find the numbers that the record has.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regex::Regex;
use serde_json::Value;

use crate::root;

fn bench(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.current_dir(dir).arg("bench").args(args.split_whitespace()).env("NO_COLOR", "1").output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Size, and time, busbw and #wrong of both placements; as text, as they stand there.
type Found = Vec<[String; 7]>;

fn lines(section: &str) -> impl Iterator<Item = Vec<&str>> {
    section.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_whitespace().collect())
}

fn taken(words: &[&str], at: [usize; 7]) -> [String; 7] {
    at.map(|at| words[at].to_owned())
}

fn by_header(section: &str) -> Found {
    let header = section.lines().find(|line| line.starts_with("#") && line.contains(" size ")).unwrap();
    let names: Vec<&str> = header.split_whitespace().skip(1).collect();
    let nth = |name: &str, n: usize| names.iter().enumerate().filter(|(_, found)| **found == name).nth(n).unwrap().0;
    let at = [("size", 0), ("time", 0), ("busbw", 0), ("#wrong", 0), ("time", 1), ("busbw", 1), ("#wrong", 1)];
    lines(section).map(|words| taken(&words, at.map(|(name, n)| nth(name, n)))).collect()
}

fn from_the_left(section: &str) -> Found {
    lines(section).map(|words| taken(&words, [0, 5, 7, 8, 9, 11, 12])).collect()
}

fn from_the_right(section: &str) -> Found {
    lines(section).map(|words| taken(&words, [13, 8, 6, 5, 4, 2, 1].map(|back| words.len() - back))).collect()
}

fn by_expression(section: &str) -> Found {
    let number = r"(\d[\d.e+]*)";
    let placement = format!(r"\s+{number}\s+{number}\s+{number}\s+(\d+|N/A)");
    let row = Regex::new(&format!(r"^\s*(\d+)\s+\d+\s+[a-z0-9]+\s+[a-z]+\s+-?\d+{placement}{placement}\s*$")).unwrap();
    let rows = section.lines().filter_map(|line| row.captures(line));
    rows.map(|row| [1, 2, 4, 5, 6, 8, 9].map(|group| row[group].to_owned())).collect()
}

/// As a table of thirteen names is filled: a line with another number of words shifts or is refused.
fn by_thirteen_names(section: &str) -> Found {
    let row = |words: Vec<&str>| {
        let [size, _, _, _, _, time, _, bus, wrong, in_time, _, in_bus, in_wrong] = words[..] else {
            panic!("{} words: {words:?}", words.len())
        };
        [size, time, bus, wrong, in_time, in_bus, in_wrong].map(str::to_owned)
    };
    lines(section).map(row).collect()
}

/// Sections as one finds them that is read alone.
fn sections(text: &str) -> Vec<String> {
    let starts: Vec<usize> = text.match_indices("# wgccl version").map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| text[start..end].to_owned()).collect()
}

/// Numbers of the record as a table shows them, where they are not as wide that it drops decimals.
fn recorded(row: &Value) -> [String; 7] {
    let apart = &row["out_of_place"];
    let in_place = if row["in_place"].is_null() { apart } else { &row["in_place"] };
    let number = |placement: &Value, key: &str| placement[key].as_f64().unwrap();
    let decimals = |value: f64, width: f64| if value < 10_f64.powf(width) { 2 } else { 1 };
    let time = |placement| format!("{:.*}", decimals(number(placement, "time"), 4.0), number(placement, "time"));
    let bus = |placement| format!("{:.*}", decimals(number(placement, "bus_bw"), 3.0), number(placement, "bus_bw"));
    let wrong = |placement: &Value| placement["nwrong"].to_string();
    let last = if row["in_place"].is_null() { "N/A".to_owned() } else { wrong(in_place) };
    [row["size"].to_string(), time(apart), bus(apart), wrong(apart), time(in_place), bus(in_place), last]
}

/// A record drops digits that may decide how the last one of a cell is rounded.
fn is_same(a: &str, b: &str) -> bool {
    let apart = |a: f64, b: f64| (a - b).abs() < if a < 1000.0 { 0.011 } else { 0.11 };
    a == b || a.contains('.') && a.parse().is_ok_and(|a| b.parse().is_ok_and(|b| apart(a, b)))
}

#[test]
fn what_reads_nccl_tests_reads_this() {
    let average = Regex::new(r"(?m)^# Avg bus bandwidth    : ([\d.e+-]+) ?$").unwrap();
    let sound = Regex::new(r"(?m)^# Out of bounds values : 0 OK$").unwrap();
    let readers = [by_header, from_the_left, from_the_right, by_expression, by_thirteen_names];
    for (args, count) in [
        ("all-reduce --algorithm ring", 1),
        ("all-reduce --algorithm ring,direct -P 2,3", 4),
        ("all-reduce --algorithm auto -P 3", 1),
        ("all-reduce -d float,half -o sum,max -N 2 --algorithm ring", 1),
        ("all-to-all", 1),
        ("all-gather -P 2,4 --algorithm mesh", 2),
        ("reduce -r all --algorithm mesh", 1),
        ("send-recv", 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let text = stdout(&bench(dir.path(), &format!("{args} --device cpu -b 1K -e 16K -f 4 -n 3 -w 1 -J r.json")));
        let record: Value = serde_json::from_str(&std::fs::read_to_string(dir.path().join("r.json")).unwrap()).unwrap();
        let mut expected = record["results"].as_array().unwrap().iter().map(recorded);
        let sections = sections(&text);
        assert_eq!(sections.len(), count, "{args}: {text}");
        for section in &sections {
            let all = readers.map(|read| read(section));
            let rows: Found = expected.by_ref().take(all[0].len()).collect();
            assert!(rows.len() >= 3, "{args}: {section}");
            for found in all {
                let same =
                    found.iter().zip(&rows).all(|(found, row)| found.iter().zip(row).all(|(a, b)| is_same(a, b)));
                assert!(found.len() == rows.len() && same, "{args}: {found:?} {rows:?} {section}");
            }
            let average: Vec<f64> = average.captures_iter(section).map(|found| found[1].parse().unwrap()).collect();
            let bus = rows.iter().flat_map(|row| [&row[2], &row[5]]).map(|bus| bus.parse::<f64>().unwrap());
            let mean = bus.sum::<f64>() / (2 * rows.len()) as f64;
            assert!(average.len() == 1 && (average[0] - mean).abs() < 0.06, "{args}: {average:?} {mean} {section}");
            assert_eq!(sound.find_iter(section).count(), 1, "{args}: {section}");
        }
        assert_eq!(expected.next(), None, "{args}");
    }
}

/// Names, and places from the left, are as they were; what is new is on the right, and only on request.
#[test]
fn more_columns_stand_on_the_right_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let text = stdout(&bench(dir.path(), "--columns wgccl --device cpu -b 1K -e 4K -n 3"));
    assert_eq!((by_header(&text), lines(&text).next().unwrap().len()), (from_the_left(&text), 16), "{text}");
    assert!(text.contains("membw   roof%   disp\n"), "{text}");
    let text = stdout(&bench(dir.path(), "--columns wgccl all-to-all --device cpu -b 1K -e 1K -n 3"));
    assert_eq!(from_the_left(&text)[0][4..], ["N/A", "N/A", "N/A"], "{text}");
    let text = stdout(&bench(dir.path(), "all-to-all --device cpu -b 1K -e 1K -n 3"));
    for line in [
        "# in-place: all-to-all has none, so its numbers are those of out-of-place again",
        "# Memory bandwidth     : at most ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let refused = bench(dir.path(), "--columns all");
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(6) && error.contains("nccl, wgccl"), "{error}");
}

/// Files of our own making, in the forms of nccl-tests.
fn example(name: &str) -> PathBuf {
    root().join("cli/tests/nccl").join(name)
}

fn compare(dir: &Path, a: &Path, b: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.current_dir(dir).args(["bench", "--compare"]).args([a, b]).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn results_of_nccl_tests_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    drop(stdout(&bench(dir.path(), "--device cpu --algorithm ring,direct -b 1K -e 16K -f 4 -n 20 -J ours.json")));
    std::fs::write(dir.path().join("ours.txt"), stdout(&bench(dir.path(), "--device cpu -b 1K -e 16K -f 4 -n 20")))
        .unwrap();
    let ours = dir.path().join("ours.json");
    for (a, b, parts) in [
        (
            example("all_reduce.txt"),
            example("older.txt"),
            &["6 too few samples; geometric mean of B/A 2.000 over 6 rows\n", "B does not say of which collective"][..],
        ),
        (
            example("all_reduce.json"),
            example("all_reduce.json"),
            &["3 within noise, 3 too few samples", "   1.000    [0.976, 1.024]   1.000  within noise\n"],
        ),
        (example("all_reduce.txt"), ours.clone(), &["12 too few samples", " ring", " direct", "over 12 rows\n"]),
        (ours.clone(), example("older.txt"), &["12 too few samples", "over 12 rows\n", "B is by nccl-tests"]),
        // One algorithm's three rows out of place have samples there.
        (
            example("all_reduce.json"),
            ours.clone(),
            &["6 too few samples", "over 12 rows\n", "# note: A is by nccl-tests"],
        ),
        // What we print is as good.
        (example("all_reduce.txt"), dir.path().join("ours.txt"), &["6 too few samples", "over 6 rows\n"]),
    ] {
        let text = stdout(&compare(dir.path(), &a, &b));
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} {} {}\n{text}", a.display(), b.display());
    }
}

#[test]
fn what_is_no_result_gets_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let table = std::fs::read_to_string(example("all_reduce.txt")).unwrap();
    let json = std::fs::read_to_string(example("all_reduce.json")).unwrap();
    for (text, why) in [
        (String::new(), "neither JSON nor a table"),
        ("\u{1b}[2J hello\n".to_owned(), "neither JSON nor a table"),
        (
            table.replacen("sum      -1     9.00", "sum     9.00", 1),
            "line 15 has 12 fields, and 13 columns were announced",
        ),
        (table.replace("12.50", "12.5O"), "line 16: '12.5O' is no time"),
        (json.replace("\"results\"", "\"rows\""), "it names no schema"),
        (json.replace("1024", "\"many\""), "invalid type"),
        (json[..json.len() / 2].to_owned(), "EOF"),
        ("[".repeat(1 << 20), "recursion"),
        (format!("{{\"results\": [{}]}}", "{},".repeat(9)), "trailing comma"),
    ] {
        let path = dir.path().join("x");
        std::fs::write(&path, &text).unwrap();
        let output = compare(dir.path(), &example("all_reduce.txt"), &path);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(6), 0), "{why}: {error}");
        assert!(error.contains("x: no benchmark record: ") && error.contains(why), "{why}: {error}");
        assert!(!error.contains("panicked") && error.lines().count() == 1, "{error}");
    }
}
