//! `wgccl bench` as scripts see it: flags, refusals, columns, records, comparisons, exit codes. Never how long it took.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use wgccl::backend::{Backend, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::error::RunError;
use wgccl::fault::Fault;
use wgccl::golden::compare;
use wgccl::low_level::inputs::{Fill, generate};
use wgccl::low_level::payload::Payload;
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};

use crate::devices::{devices, one_at_a_time};

fn bench(args: &[&str]) -> Output {
    bench_in(Path::new("."), args, &[])
}

fn bench_in(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.current_dir(dir).arg("bench").args(args).env("NO_COLOR", "1").env_remove("WGCCL_MIN_BW");
    command.envs(environment.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Rows, split into words.
fn rows(output: &Output) -> Vec<Vec<String>> {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    let text = stdout(output);
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split_whitespace().map(str::to_owned).collect()).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

const QUICK: [&str; 6] = ["--device", "cpu", "-n", "5", "-w", "1"];

#[test]
fn flags_choose_the_sizes() {
    for (args, sizes) in [
        ("-b 8 -e 64 -f 2", "8 16 32 64"),
        ("-b 1K -e 2k -i 512", "1024 1536 2048"),
        ("-b 1K -e 4K -i 1K -f 4", "1024 4096"),
        ("-b 1K -e 2K -i 1K -f 1", "1024 2048"),
        ("-b 1.5K -e 1.5KB", "1536"),
        ("--minbytes 1KiB --maxbytes 4KiB --stepfactor 2", "1024 2048 4096"),
        ("-b 9 -e 11 -i 1", "8"),
        ("-e 1K", "1024"),
    ] {
        let mut all: Vec<&str> = QUICK.to_vec();
        all.extend(args.split(' '));
        let got: Vec<String> = rows(&bench(&all)).into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(got.join(" "), sizes, "{args}");
    }
}

/// Every type with every operation that it has, by nccl-tests' names; averages of integers are noted, not forgotten.
#[test]
fn all_types_and_operations_are_swept() {
    let mut all: Vec<&str> = QUICK.to_vec();
    all.extend(["-b", "1000", "-e", "1000", "-P", "3", "-o", "all", "-d", "all"]);
    let output = bench(&all);
    let rows = rows(&output);
    let floats = ["float", "half", "bfloat16", "double", "f8e4m3", "f8e5m2"];
    let integers = ["int32", "uint32", "int64", "uint64", "int8", "uint8"];
    let mut expected = Vec::new();
    for name in [floats, integers].concat() {
        let ops = ["sum", "prod", "min", "max", "avg"];
        expected.extend(ops[..if floats.contains(&name) { 5 } else { 4 }].iter().map(|op| format!("{name} {op} 0 0")));
    }
    let got: Vec<String> = rows.iter().map(|row| format!("{} {} {} {}", row[2], row[3], row[8], row[12])).collect();
    assert_eq!(got, expected);
    assert_eq!(stdout(&output).matches("# note: avg of ").count(), 6, "{}", stdout(&output));
}

#[test]
fn rows_have_the_columns_of_nccl_tests() {
    // Flags, words of a row, the column of in-place #wrong.
    for (args, words, wrong) in [
        ("", 13, "0"),
        ("-c 0", 13, "N/A"),
        ("-c 2", 13, "0"),
        ("-I 1", 21, "0"),
        ("-I 0 -S 0", 13, "0"),
        ("-S 1", 15, "0"),
        ("-I -S", 23, "0"),
        ("--columns wgccl", 16, "0"),
        ("--columns wgccl -I -S", 27, "0"),
        ("-M 1 -K 2 -N 1 -T 100 -u 3 -o sum -d float --seed 3", 13, "0"),
        ("-o sum --sync barrier --algorithm ring", 13, "0"),
    ] {
        let mut all: Vec<&str> = QUICK.to_vec();
        all.extend(["-b", "1000", "-e", "1000", "-P", "3"]);
        all.extend(args.split_whitespace());
        let output = bench(&all);
        let rows = rows(&output);
        assert_eq!(rows.len(), 1, "{args}");
        let row = &rows[0];
        assert_eq!(row.len(), words, "{args}: {row:?}");
        assert_eq!(row[..5], ["1000", "250", "float", "sum", "-1"], "{args}");
        let per_placement = if args.contains("-I 1") || args.contains("-I -S") { 8 } else { 4 };
        assert_eq!(row[5 + per_placement + 3], wrong, "{args}: {row:?}");
        for line in [
            "# Collective test starting: wgccl bench all-reduce",
            "# Using devices",
            "#  Rank  2 Group  0 Pid",
            "# Out of bounds values : 0 OK",
            "# Avg bus bandwidth    : ",
            "# Collective test concluded: wgccl bench all-reduce",
        ] {
            assert!(stdout(&output).contains(line), "{args}: '{line}' is not in {}", stdout(&output));
        }
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
        assert_eq!(stdout(&output).contains("# GPU memory usage     : User-Allocated"), args.contains("-M 1"));
    }
}

/// Size, count, operation and root as nccl-tests prints them; busbw is algbw by its factor; N/A where it cannot be in place.
#[test]
fn every_collective_has_nccl_tests_rows() {
    for (args, expected, factor) in [
        ("all-reduce", "1000 250 float sum -1", 1.5),
        ("all-gather", "960 60 float none -1", 0.75),
        ("reduce-scatter", "960 60 float sum -1", 0.75),
        ("all-to-all", "960 60 float none -1", 0.75),
        ("gather -r 2", "960 60 float none 2", 0.75),
        ("scatter", "960 60 float none 0", 0.75),
        ("broadcast -r 3", "1000 250 float none 3", 1.0),
        ("reduce", "1000 250 float sum 0", 1.0),
        ("send-recv", "1000 250 float none -1", 1.0),
        ("barrier", "0 0 float none -1", 0.0),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut all: Vec<&str> = args.split(' ').collect();
        all.extend(QUICK);
        all.extend(["-I", "1", "-J", "r.json", "--plot", "p.svg"]);
        if args != "barrier" {
            all.extend(["-u", "1", "-b", "1000", "-e", "1000"]);
        }
        let rows = rows(&bench_in(dir.path(), &all, &[]));
        assert_eq!((rows.len(), rows[0][..5].join(" ")), (1, expected.to_owned()), "{args}");
        assert_eq!(rows[0].len(), 21, "{args}: {:?}", rows[0]);
        assert_eq!(rows[0][8], "0", "{args}: {:?}", rows[0]);
        let in_place = !["all-to-all", "send-recv", "barrier"].contains(&args);
        assert_eq!(rows[0][16], if in_place { "0" } else { "N/A" }, "{args}: {:?}", rows[0]);

        let row = &json(&dir.path().join("r.json"))["results"][0];
        assert_eq!((row["in_place"].is_object(), row["in_place_per_iter"].is_object()), (in_place, in_place), "{row}");
        let number = |key: &str| row["out_of_place"][key].as_f64().unwrap();
        assert!((number("bus_bw") - factor * number("alg_bw")).abs() <= 1e-9 * number("alg_bw"), "{args}: {row}");
        assert_eq!(number("alg_bw") > 0.0, args != "barrier");
        let again = bench_in(dir.path(), &["--compare", "r.json", "r.json"], &[]);
        assert_eq!(again.status.code(), Some(0), "{args}: {}", stderr(&again));
    }
    let mut all = vec!["reduce", "-r", "all", "-P", "2,3", "-b", "1K", "-e", "1K"];
    all.extend(QUICK);
    let roots: Vec<String> = rows(&bench(&all)).iter().map(|row| row[4].clone()).collect();
    assert_eq!(roots, ["0", "1", "0", "1", "2"]);
    let output = bench(&["all-gather", "--device", "cpu", "-n", "2", "-b", "8", "-e", "256", "-f", "2"]);
    assert!(stdout(&output).contains("# note: sizes below 64 bytes leave nothing for each of 4 ranks"));
    let sizes: Vec<String> = rows(&output).iter().map(|row| row[0].clone()).collect();
    assert_eq!(sizes, ["64", "128", "256"]);
}

#[test]
fn every_collective_is_measured_on_every_device() {
    let _turn = one_at_a_time();
    for &collective in Collective::ALL {
        let mut args =
            vec![collective.name(), "--device", "all", "--algorithm", "all", "-P", "3", "-n", "2", "-w", "1"];
        if collective != Collective::Barrier {
            args.extend(["-b", "4K", "-e", "4K"]);
        }
        let rows = rows(&bench(&args));
        let algorithms = Algorithm::of(collective).into_iter().filter(|algorithm| !algorithm.needs_power_of_two());
        assert_eq!(rows.len(), (devices().len() + 1) * algorithms.count(), "{collective}");
        let wrong = |row: &[String]| [row[8].clone(), row[12].clone()];
        let second = if collective.has_in_place() { "0" } else { "N/A" };
        assert!(rows.iter().all(|row| wrong(row) == ["0", second]), "{collective}: {rows:?}");
    }
}

#[test]
fn every_device_and_algorithm_has_its_rows() {
    let _turn = one_at_a_time();
    let args = ["--device", "all", "--algorithm", "all", "-P", "1,3", "-b", "4", "-e", "4K", "-f", "32", "-n", "3"];
    let rows = rows(&bench(&args));
    // 4 B, 128 B and 4 KiB; the CPU executor is a device, too. Those for powers of two have none of three ranks.
    let algorithms = Algorithm::of(Collective::AllReduce);
    let of_three = algorithms.iter().filter(|algorithm| !algorithm.needs_power_of_two()).count();
    assert_eq!(rows.len(), (devices().len() + 1) * (algorithms.len() + of_three) * 3);
    for row in &rows {
        assert_eq!((row[8].as_str(), row[12].as_str()), ("0", "0"), "{row:?}");
    }
    let named = bench(&["--device", "cpu,cpu", "--device", "cpu", "-e", "1K", "-n", "3", "-P", "1"]);
    assert_eq!(self::rows(&named).len(), 3);
}

/// Another permutation is another thing that is measured.
/// Every mode that a device bears, and the CPU executor, which has none, once.
#[test]
fn several_dispatch_modes_are_measured_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let args =
        ["--device", "all", "--dispatch", "all", "-e", "1K", "-n", "1", "-w", "0", "-J", "r.json", "--plot", "p.svg"];
    let output = bench_in(dir.path(), &args, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let record = json(&dir.path().join("r.json"));
    assert_eq!(record["config"]["dispatch"], "all");
    let of_device = |device: usize| -> Vec<String> {
        let rows = record["results"].as_array().unwrap().iter().filter(|row| row["device"] == device);
        let way = |row: &Value| {
            let of = |key| row["out_of_place"][key].as_str();
            match (of("dispatch"), of("protocol")) {
                (Some(mode), Some("simple")) => mode.to_owned(),
                (Some(mode), Some(protocol)) => format!("{mode}-{protocol}"),
                (None, None) => "none".to_owned(),
                other => panic!("{other:?}"),
            }
        };
        rows.map(way).collect()
    };
    let mut measured = 0;
    for (index, device) in record["devices"].as_array().unwrap().iter().enumerate() {
        match device["backend"].as_str().unwrap() {
            "cpu" => assert_eq!(of_device(index), ["none"]),
            "gl" => {
                assert_eq!(of_device(index), ["per-rank", "per-step", "fused-ll"]);
                assert!(stdout(&output).contains("left out: fused on "), "{}", stdout(&output));
            }
            _ => assert_eq!(of_device(index), ["per-rank", "per-step", "fused", "fused-ll"]),
        }
        measured += of_device(index).len();
    }
    assert_eq!(measured, rows(&output).len());
    let picture = std::fs::read_to_string(dir.path().join("p.svg")).unwrap();
    assert!(devices().is_empty() || picture.contains("fused-ll"), "{picture}");

    let one =
        devices().first().map(|_| bench(&["--device", "0", "--dispatch", "per-step,fused-ll", "-e", "1K", "-n", "1"]));
    assert!(one.is_none_or(|output| rows(&output).len() == 2));
    let args = ["--device", "0", "--dispatch", "fused-ll", "--protocol", "ll", "-e", "1K", "-n", "1", "-w", "0"];
    let one = devices().first().map(|_| bench(&args));
    assert!(one.is_none_or(|output| stdout(&output).contains("fused-ll") && rows(&output).len() == 1));
}

#[test]
fn sources_are_recorded_and_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for (sources, name) in [("1,0", "a.json"), ("0,1", "b.json")] {
        let mut args = vec!["send-recv", "-P", "2", "-b", "64", "-e", "64", "--sources", sources, "-J", name];
        args.extend(QUICK);
        let output = bench_in(dir.path(), &args, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains(&format!(" sources: {sources}\n")), "{}", stdout(&output));
    }
    assert_eq!(json(&dir.path().join("a.json"))["config"]["sources"], serde_json::json!([1, 0]));
    let compare = |a, b| bench_in(dir.path(), &["--compare", a, b], &[]).status.code();
    assert_eq!((compare("a.json", "a.json"), compare("a.json", "b.json")), (Some(0), Some(6)));
}

/// For each size anew; the rows say what they are of, and are one line in a picture.
#[test]
fn auto_is_chosen_for_every_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<&str> = QUICK.to_vec();
    all.extend(["--algorithm", "auto,tree", "-P", "3,128", "-b", "2K", "-e", "4K", "-f", "2"]);
    all.extend(["-J", "r.json", "--plot", "p.svg"]);
    let output = bench_in(dir.path(), &all, &[]);
    assert_eq!(rows(&output).len(), 8);
    let text = stdout(&output);
    let shown = |line: &&str| line.contains(" by ") || line.starts_with("# chosen: ");
    let parts: Vec<&str> = text.lines().filter(shown).map(|line| &line[2..line.len().min(41)]).collect();
    let expected = [
        "all-reduce by auto (neighbor), 3 ranks,",
        "chosen: direct for 2048 to 4096 bytes",
        "all-reduce by tree (neighbor), 3 ranks,",
        "all-reduce by auto (neighbor), 128 rank",
        "chosen: direct for 2048 bytes",
        "chosen: tree for 4096 bytes",
        "all-reduce by tree (neighbor), 128 rank",
    ];
    assert_eq!(parts, expected, "{text}");
    let record = json(&dir.path().join("r.json"));
    let results = record["results"].as_array().unwrap();
    let of: Vec<String> =
        results.iter().map(|row| format!("{} {} {}", row["size"], row["algorithm"], row["algorithm_auto"])).collect();
    assert_eq!(of[4..7], ["2048 \"direct\" true", "4096 \"tree\" true", "2048 \"tree\" false"]);
    let picture = std::fs::read_to_string(dir.path().join("p.svg")).unwrap();
    assert!(picture.contains("\nauto\n") && picture.contains("\n128 ranks\n"), "{picture}");
    // The same from its record.
    let again = bench_in(dir.path(), &["--from", "r.json", "--plot", "q.svg"], &[]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert_eq!(std::fs::read_to_string(dir.path().join("q.svg")).unwrap(), picture);
}

#[test]
fn cycles_repeat_everything() {
    let output = bench(&["--device", "cpu", "-b", "64", "-e", "128", "-f", "2", "-n", "2", "-N", "3"]);
    let sizes: Vec<String> = rows(&output).iter().map(|row| row[0].clone()).collect();
    assert_eq!(sizes, ["64", "128", "64", "128", "64", "128"]);
}

#[test]
fn every_mistake_gets_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code, fragments) in [
        ("-t 2", 6, vec!["-t (--nthreads)", "-P"]),
        ("-g 8", 6, vec!["-g (--ngpus)", "--device"]),
        ("--ngpus 8", 6, vec!["-g (--ngpus)"]),
        ("-p 1", 6, vec!["-p (--parallel_init)"]),
        ("-z 0", 6, vec!["-z (--blocking)"]),
        ("-y 1", 6, vec!["-y (--stream_null)"]),
        ("-G 4", 6, vec!["-G (--cudagraph)"]),
        ("-R 1", 6, vec!["-R (--local_register)"]),
        ("-x 1", 6, vec!["-x (--cta_policy)", "--dispatch"]),
        ("-C 1", 6, vec!["-C (--report_cputime)", "host_time"]),
        ("-D 2", 6, vec!["-D (--device_implementation)", "--algorithm"]),
        ("-V 16", 6, vec!["-V (--device_cta_count)"]),
        ("-m 4", 6, vec!["-m (--agg_iters)", "-n"]),
        ("-a 1", 6, vec!["-a (--average)"]),
        ("-b 8X", 6, vec!["'8X' is no size", "32M"]),
        ("-b 8MBx", 6, vec!["'8MBx'"]),
        ("-b 8K -e 1K", 6, vec!["8192 to 1024", "above the last"]),
        ("-b 0", 6, vec!["less than an element"]),
        ("-b 8 -e 16 -i 0", 6, vec!["leads nowhere"]),
        ("-b 8 -e 16 -f 0", 6, vec!["leads nowhere"]),
        ("-b 8 -e 16 -f 1", 6, vec!["leads nowhere"]),
        ("-e 1K -n 0", 6, vec!["-n 1"]),
        ("-e 1K -n 5 -K 5", 6, vec!["-K 5", "5 iterations"]),
        ("-o mulsum", 6, vec!["'mulsum'", "sum, prod"]),
        ("-d f8e3m4", 6, vec!["'f8e3m4'", "did you mean f8e4m3?", "f32, f16"]),
        ("-o avg -d int32", 6, vec!["avg of i32 is refused", "use sum"]),
        ("-r 0", 6, vec!["no root"]),
        ("-I 2", 6, vec!["0 or 1"]),
        ("-T 0", 6, vec!["above 0"]),
        ("-N 0 -J x.json", 6, vec!["never ends"]),
        ("--device nonesuch -J x.json --plot x.svg", 2, vec!["no device 'nonesuch'"]),
        ("--device cpu --dispatch fused -J x.json", 6, vec!["no dispatch modes"]),
        ("--device cpu -J -", 6, vec!["-: a record goes to a file", "new name", "--json"]),
        ("--device cpu -J .", 6, vec![".: a record goes to a file", "new name"]),
        ("--device cpu -J /dev/null", 6, vec!["/dev/null: a record goes to a file", "new name"]),
        ("--device cpu --plot none/such/x.svg", 6, vec!["x.svg"]),
        ("--device cpu --plot /dev/null.d/x.svg", 6, vec!["x.svg"]),
        ("--algorithm auto,all", 6, vec!["'all' stands alone"]),
        ("-o sum,all", 6, vec!["'all' stands alone"]),
        ("all-gather -o max", 6, vec!["all-gather reduces nothing", "leave -o out"]),
        ("barrier -d double", 6, vec!["no payload", "leave -d out"]),
        ("barrier -f 2", 6, vec!["no payload", "leave -f out"]),
        ("barrier -u 1 --device cpu", 6, vec!["no payload", "leave -u out"]),
        ("barrier --seed 0", 6, vec!["no payload", "leave --seed out"]),
        ("--compare a.json b.json --device cpu", 6, vec!["--compare", "--device"]),
        ("all-gather --compare a.json b.json", 6, vec!["--compare", "COLLECTIVE"]),
        ("--compare a.json b.json -J zzz.json -b 8G", 6, vec!["--compare", "cannot be used with"]),
        ("--from a.json", 6, vec!["--plot"]),
        ("--from a.json --plot p.svg -P 2", 6, vec!["--from", "--ranks"]),
        ("--from a.json --plot p.svg", 6, vec!["a.json"]),
        ("--fail-above 2", 6, vec!["--compare"]),
        ("--compare a.json b.json --fail-above 0.5", 6, vec!["at least 1"]),
        ("-P 0", 6, vec!["0 ranks"]),
        ("-P 2000 --device cpu -e 1K", 6, vec!["2000 ranks", "1024"]),
        ("--algorithm ring,halving-doubling -P 3", 6, vec!["power of two", "2 or 4 ranks"]),
        ("--algorithm ring,trees", 6, vec!["'trees'", "ring-staged"]),
        ("--algorithm auto --sync barrier -e 1K", 6, vec!["leave --sync out"]),
        ("--sync none", 6, vec!["'none'"]),
        ("--dispatch magic", 6, vec!["'magic'"]),
        ("--dispatch per-step,all", 6, vec!["'all'"]),
        ("--dispatch fused-ll --protocol simple", 6, vec!["fused-ll is fused by protocol ll"]),
        ("--protocol magic", 6, vec!["'magic'", "simple, ll"]),
        ("--device cpu --protocol ll", 6, vec!["no protocol but simple", "--protocol"]),
        ("--device cpu --dispatch auto,per-step", 6, vec!["no dispatch modes"]),
        ("--device cpu --dispatch fused", 6, vec!["no dispatch modes"]),
        ("--device nonesuch", 2, vec!["no device 'nonesuch'"]),
        ("--device cpu -b 1024G -e 1024G", 6, vec!["memory"]),
        ("--plot picture.pdf", 6, vec!["picture.pdf", ".svg or .png"]),
        ("-J none/such/dir.json", 6, vec!["dir.json"]),
        ("--compare a.json", 6, vec!["--compare"]),
        ("--compare a.json b.json", 6, vec!["a.json"]),
        ("all-to-none", 6, vec!["'all-to-none'", "all-to-all"]),
        ("send-recv --sources 1,2,0", 6, vec!["3 sources for 4 ranks"]),
        ("all-reduce --sources 1,2,3,0", 6, vec!["only send-recv has sources"]),
        ("reduce-scatter --algorithm halving -P 6", 6, vec!["power of two", "4 or 8 ranks"]),
        ("gather --algorithm ring", 6, vec!["no gather by ring", "mesh"]),
        ("reduce -r 4", 6, vec!["root 4 is not a rank"]),
        ("reduce -r some", 6, vec!["a rank, or all"]),
        ("all-gather -r all", 6, vec!["no root"]),
        ("barrier -b 8", 6, vec!["no payload", "-b"]),
        ("all-gather -b 8 -e 32", 6, vec!["less than 16 bytes for each rank"]),
    ] {
        let output = bench_in(dir.path(), &args.split(' ').collect::<Vec<_>>(), &[]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args}: {text}");
        assert!(fragments.iter().all(|fragment| text.contains(fragment)), "{args}: {fragments:?} in {text}");
        assert!(!stdout(&output).lines().any(|line| !line.starts_with('#')), "{args}: {}", stdout(&output));
        assert!(!text.contains("panicked"), "{args}: {text}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a refused run leaves no file");
}

#[test]
fn a_demanded_bandwidth_decides_the_exit_code() {
    for (least, code, verdict) in
        [("1e-9", 0, "OK"), ("1e9", 7, "FAILED"), ("-1", 0, "OK"), ("fast", 6, ""), ("nan", 6, "")]
    {
        let args = ["--device", "cpu", "-e", "1K", "-n", "2"];
        let output = bench_in(Path::new("."), &args, &[("WGCCL_MIN_BW", least)]);
        assert_eq!(output.status.code(), Some(code), "{least}: {}", stderr(&output));
        let text = stdout(&output);
        let line = text.lines().find(|line| line.starts_with("# Avg bus bandwidth"));
        assert_eq!(line.is_some(), code != 6);
        assert!(line.is_none_or(|line| line.ends_with(verdict)), "{line:?}");
        assert_eq!(text.contains("# error: "), code == 7);
    }
}

#[test]
fn a_row_that_takes_too_long_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--device", "cpu", "-e", "1K", "-T", "1e-9", "-J", "r.json"];
    let output = bench_in(dir.path(), &args, &[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("Test timeout") && stdout(&output).contains("# error: Test timeout"));
    let record = json(&dir.path().join("r.json"));
    assert!(record["errors"][0].as_str().unwrap().contains("Test timeout"), "{record}");
}

#[test]
fn records_hold_what_was_run_and_are_never_overwritten() {
    let _turn = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let mut args = vec!["--device", "all", "-b", "1K", "-e", "1K", "-n", "4", "-K", "1", "-J", "r.json"];
    args.extend(["--algorithm", "ring"]);
    for name in ["r.json", "r.json.0", "r.json.1"] {
        let output = bench_in(dir.path(), &args, &[("WGCCL_A_SECRET", "hunter2")]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains(&format!("# Writing record to {name}\n")), "{}", stdout(&output));
        assert!(!std::fs::read_to_string(dir.path().join(name)).unwrap().contains("hunter2"));
    }
    let record = json(&dir.path().join("r.json"));
    assert_eq!(record["schema"], "wgccl-bench/2");
    for key in ["version", "start_time", "args", "config", "devices", "results", "out_of_bounds", "end_time"] {
        assert!(!record[key].is_null(), "{key}");
    }
    // What it was measured on, when, by which command; and not where on whose disk.
    for key in ["architecture", "logical_cores", "memory_bytes"] {
        assert!(!record["machine"][key].is_null(), "{key}: {}", record["machine"]);
    }
    for key in ["start_time_utc", "end_time_utc"] {
        assert!(record[key].as_str().is_some_and(|time| time.len() == 20 && time.ends_with('Z')), "{record}");
    }
    let asked: Vec<Value> = ["wgccl", "bench"].iter().chain(&args).map(|&arg| arg.into()).collect();
    assert_eq!(record["args"], Value::from(asked));
    let elsewhere = dir.path().join("elsewhere.json");
    let args = ["--device", "cpu", "-e", "1K", "-n", "2", "-J", elsewhere.to_str().unwrap()];
    assert_eq!(bench_in(dir.path(), &args, &[]).status.code(), Some(0));
    let text = std::fs::read_to_string(&elsewhere).unwrap();
    let here = [dir.path(), Path::new(env!("CARGO_BIN_EXE_wgccl"))].map(|path| path.to_str().unwrap());
    assert!(text.contains("\"elsewhere.json\"") && !here.iter().any(|path| text.contains(path)), "{text}");
    assert_eq!(record["out_of_bounds"]["okay"], true);
    assert_eq!(record["average_bus_bandwidth"]["okay"], Value::Null);
    assert_eq!(record["config"]["iterations"], 4);
    assert_eq!(record["errors"].as_array().unwrap().len(), 0);
    let results = record["results"].as_array().unwrap();
    assert_eq!(results.len(), record["devices"].as_array().unwrap().len());
    for row in results {
        assert_eq!((&row["size"], &row["count"], &row["type"]), (&1024.into(), &256.into(), &"f32".into()));
        // Per rank and chunk of a ring of 4: RS 3 x (2 reads, 1 write), AG 3 x (1 read, 1 write).
        assert_eq!(row["bytes_moved"], 4 * 15 * 256);
        let device = &record["devices"][row["device"].as_u64().unwrap() as usize];
        let copied_by = row["roof"]["by"].as_str();
        match device["backend"] == "cpu" {
            true => assert!(matches!(copied_by, Some("memcpy" | "streaming")), "{row}"),
            false => assert!(matches!(copied_by, Some("command" | "kernel")), "{row}"),
        }
        for placement in ["out_of_place", "in_place"] {
            for key in ["time", "host_time", "alg_bw", "bus_bw", "mem_bw", "roof_pct"] {
                assert!(row[placement][key].as_f64().unwrap() > 0.0, "{key}: {row}");
            }
            assert_eq!(row[placement]["nwrong"], 0);
            let on_gpu = device["backend"] != "cpu";
            assert_eq!(row[placement]["kernel"].as_str().map(str::len), on_gpu.then_some(16));
            assert_eq!(row[placement]["dispatches"].is_u64(), on_gpu);
            let samples = &row[format!("{placement}_per_iter")];
            assert_eq!(samples["times_us"].as_array().unwrap().len(), 4);
            assert_eq!(samples["skipped_iterations"], 1);
        }
    }
    let output = bench_in(dir.path(), &["--device", "cpu", "-e", "1K", "-n", "2", "-J", "r.csv"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let csv = std::fs::read_to_string(dir.path().join("r.csv")).unwrap();
    assert_eq!(csv.lines().count(), 3);
    assert!(csv.starts_with("size,count,type,redop,root,"), "{csv}");
}

/// As a reader gets it that needs no file.
#[test]
fn json_is_the_record_on_stdout_and_nothing_else() {
    let args = ["--device", "cpu", "-e", "1K", "-n", "2", "--json"];
    let output = bench(&args);
    let record: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert_eq!((&record["schema"], &record["ok"]), (&"wgccl-bench/2".into(), &true.into()));
    assert_eq!((&record["complete"], record["results"].as_array().unwrap().len()), (&true.into(), 1));
    for (extra, code, error) in [
        ("-T 1e-9", 4, "Test timeout"),
        ("-T 0", 6, "above 0"),
        ("-N 0", 6, "never ends"),
        ("-I", 6, "leave -I out"),
        ("-S 1", 6, "leave -S out"),
        ("-M", 6, "leave -M out"),
        ("--columns wgccl", 6, "leave --columns out"),
        ("--device nonesuch", 2, "no device"),
    ] {
        let output = bench(&[&args[..], &extra.split(' ').collect::<Vec<_>>()].concat());
        assert_eq!(output.status.code(), Some(code), "{extra}");
        let failed: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert!(failed["ok"] == false && !stderr(&output).contains(error), "{failed}");
        assert!(
            failed["error"].to_string().contains(error) || failed["errors"].to_string().contains(error),
            "{failed}"
        );
    }
}

/// Starts a sweep that takes minutes.
fn long_sweep(dir: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.current_dir(dir).args(["bench", "--device", "cpu", "-b", "1K", "-e", "4M", "-n", "20"]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Whatever ends the process.
#[test]
fn a_sweep_that_is_killed_leaves_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = long_sweep(dir.path(), &["-N", "1000", "-J", "r.json"]);
    let start = Instant::now();
    let mut rows = 0;
    while rows == 0 && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
        // Never half of one: from the moment that it is there it is whole.
        let text = std::fs::read_to_string(dir.path().join("r.json")).unwrap_or_default();
        let record: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        rows = record["results"].as_array().map_or(0, Vec::len);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let record = json(&dir.path().join("r.json"));
    assert_eq!((&record["ok"], &record["complete"]), (&false.into(), &false.into()));
    assert!(rows > 0 && record["results"].as_array().unwrap().len() >= rows, "{record}");
    let text = stdout(&bench_in(dir.path(), &["--compare", "r.json", "r.json"], &[]));
    assert!(text.starts_with("# note: A is incomplete") && text.contains("# note: B is incomplete"), "{text}");
}

/// `wgccl bench | head`.
#[test]
fn a_reader_that_goes_ends_the_sweep() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["-N", "0"][..], &["-N", "1000", "-J", "r.json"]] {
        let mut child = long_sweep(dir.path(), args);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if start.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{args:?}");
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "", "{args:?}");
    }
    assert_eq!(json(&dir.path().join("r.json"))["complete"], false);
}

#[test]
fn records_are_compared_row_by_row() {
    let dir = tempfile::tempdir().unwrap();
    for (name, algorithm) in [("a.json", "ring"), ("b.json", "ring-exchange")] {
        let args =
            ["--device", "cpu", "-b", "1K", "-e", "4K", "-f", "4", "-n", "5", "--algorithm", algorithm, "-J", name];
        assert_eq!(bench_in(dir.path(), &args, &[]).status.code(), Some(0));
    }
    let same = bench_in(dir.path(), &["--compare", "a.json", "a.json"], &[]);
    assert_eq!(same.status.code(), Some(0), "{}", stderr(&same));
    assert!(stdout(&same).contains("# B against A: 4 within noise; geometric mean of B/A 1.000 over 4 rows"));
    let text = stdout(&bench_in(dir.path(), &["--compare", "a.json", "b.json"], &[]));
    for fragment in ["# algorithm: A ring, B ring-exchange", "out-of-place", "in-place", "over 4 rows"] {
        assert!(text.contains(fragment), "'{fragment}' is not in\n{text}");
    }
    // Twice the time, as a CI asks.
    let mut slow = json(&dir.path().join("a.json"));
    for row in slow["results"].as_array_mut().unwrap() {
        for samples in ["out_of_place_per_iter", "in_place_per_iter"] {
            row[samples]["times_us"] = vec![10.0; 5].into();
            row[samples]["p50_us"] = 10.0.into();
            row[samples]["min_us"] = 10.0.into();
        }
    }
    std::fs::write(dir.path().join("fast.json"), slow.to_string()).unwrap();
    let slow = slow.to_string().replace("10.0", "20.0");
    std::fs::write(dir.path().join("slow.json"), slow).unwrap();
    for (a, b, ratio, code) in
        [("fast", "slow", "1.9", 7), ("fast", "slow", "2.1", 0), ("slow", "fast", "1", 0), ("fast", "fast", "1", 0)]
    {
        let (a, b) = (format!("{a}.json"), format!("{b}.json"));
        let output = bench_in(dir.path(), &["--compare", &a, &b, "--fail-above", ratio], &[]);
        assert_eq!(output.status.code(), Some(code), "{a} {b} {ratio}: {}", stdout(&output));
        assert_eq!(stderr(&output).contains("4 of the compared rows take more than 1.9 times as long"), code == 7);
    }
    std::fs::write(dir.path().join("c.json"), "{\"version\": 3}").unwrap();
    let other = bench_in(dir.path(), &["--compare", "a.json", "c.json"], &[]);
    assert_eq!(other.status.code(), Some(6));
    assert!(stderr(&other).contains("c.json: no benchmark record"), "{}", stderr(&other));
}

#[test]
fn pictures_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    for (name, magic) in [("p.svg", &b"<svg"[..]), ("p.png", b"\x89PNG")] {
        let args = ["--device", "cpu", "-e", "4K", "-n", "2", "--algorithm", "ring,ring-staged", "--plot", name];
        let output = bench_in(dir.path(), &args, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(std::fs::read(dir.path().join(name)).unwrap().starts_with(magic), "{name}");
        // Refused before anything is measured: this would take for ever.
        let again = bench_in(dir.path(), &["--device", "cpu", "-e", "4K", "-n", "1000000000", "--plot", name], &[]);
        assert_eq!(again.status.code(), Some(6), "{name}");
        assert!(stderr(&again).contains("nothing is overwritten"), "{}", stderr(&again));
        assert!(std::fs::read(dir.path().join(name)).unwrap().starts_with(magic), "{name}");
    }
}

/// Two runs as one picture, and what became of one: with the machine, and with names where these tell lines apart.
#[test]
fn records_are_drawn_together_and_against_each_other() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["old.json", "new.json"] {
        let output = bench_in(dir.path(), &["--device", "cpu", "-e", "4K", "-n", "9", "-J", name], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let os = json(&dir.path().join("old.json"))["machine"]["os"].as_str().unwrap().to_owned();
    for (args, says) in [
        ("--from old.json new.json --plot both.svg", vec!["\nold\n", "\nnew\n", "all-reduce f32 sum", &os]),
        ("--plot same.svg --records old.json new.json", vec!["\nold\n", "\nnew\n"]),
        ("--from old.json --plot one.svg", vec!["\nauto\n", &os]),
        (
            "--compare old.json new.json --plot ratio.svg",
            vec!["B against A: all-reduce f32 sum", "A: old.json, B: new.json", "\nin-place\n", "95 % interval", &os],
        ),
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        let output = bench_in(dir.path(), &args, &[]);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        let name = args.iter().find(|arg| arg.ends_with(".svg")).unwrap();
        assert!(stdout(&output).contains(&format!("# Picture written to {name}")), "{}", stdout(&output));
        let picture = read(name);
        assert!(says.iter().all(|what| picture.contains(what)), "{args:?}: {says:?} in {picture}");
    }
    assert_eq!(read("both.svg"), read("same.svg"));
    // Nothing is compared where the picture cannot be written.
    let again = bench_in(dir.path(), &["--compare", "old.json", "new.json", "--plot", "ratio.svg"], &[]);
    assert_eq!((again.status.code(), stdout(&again).as_str()), (Some(6), ""));
}

#[test]
fn repeated_launches_leave_the_right_result() {
    let _turn = one_at_a_time();
    const COUNT: usize = 3000;
    let proved = prove(
        build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap(),
        proof::Options::default(),
    )
    .unwrap();
    let payload = Payload::new(proved.schedule(), COUNT, 4).unwrap();
    let inputs: Vec<Vec<f32>> = (0..4).map(|rank| generate(Fill::Normal, 1, rank, 4, COUNT)).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let bytes: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    for device in devices() {
        for way in device.sound() {
            // The second arena is so small that the payload goes in pieces.
            for arena_bytes in [None, Some(32 << 10)] {
                let case = format!("{} {way} {arena_bytes:?}", device.name);
                let shape = Shape::new(COUNT, DataType::F32, Op::Sum);
                let options = way.options().arena_bytes(arena_bytes);
                let mut executor = device.gpu.prepare(&proved, shape, &options).unwrap();
                let pieces = executor.prepared().pieces;
                assert_eq!(pieces > 1, arena_bytes.is_some(), "{case}");
                let mut outputs = vec![vec![0.0_f32; COUNT]; 4];
                for piece in 0..pieces {
                    let mut views = bytes_of(&mut outputs);
                    executor.load(piece, &bytes).unwrap();
                    let early = executor.fetch(&mut views);
                    assert!(matches!(early, Err(RunError::NotLaunched)), "{case}: {early:?}");
                    let launches = executor.time(3).unwrap();
                    assert_eq!(launches.len(), 3, "{case}");
                    assert!(launches.iter().all(|ran| ran.dispatches > 0), "{case}");
                    executor.fetch(&mut views).unwrap();
                }
                let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
                assert_eq!(compare(&proved, &payload, Op::Sum, &inputs, &outputs).unwrap().wrong, 0, "{case}");
            }
        }
    }
}

fn bytes_of(outputs: &mut [Vec<f32>]) -> Vec<&mut [u8]> {
    outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect()
}

#[test]
fn a_launch_that_does_not_finish_has_no_time() {
    let _turn = one_at_a_time();
    let proved = prove(
        build(Collective::AllReduce, Algorithm::Ring, 4, SyncStyle::Neighbor).unwrap(),
        proof::Options::default(),
    )
    .unwrap();
    let inputs = vec![vec![1.0_f32; 1000]; 4];
    let inputs: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
    for device in devices() {
        for way in device.sound() {
            let options = way.options().fault(Fault::DropNotify { rank: 1, row: 2 });
            let shape = Shape::new(1000, DataType::F32, Op::Sum);
            let mut executor = device.gpu.prepare(&proved, shape, &options).unwrap();
            executor.load(0, &inputs).unwrap();
            let result = executor.time(2);
            let Err(RunError::Hang(hang)) = result else { panic!("{} {way}: {result:?}", device.name) };
            assert!(hang.to_string().contains("rank 2 RS round 3"), "{} {way}: {hang}", device.name);
            let mut outputs = vec![vec![0.0_f32; 1000]; 4];
            let fetched = executor.fetch(&mut bytes_of(&mut outputs));
            assert!(matches!(fetched, Err(RunError::Hang(_))), "{} {way}", device.name);
        }
    }
}
