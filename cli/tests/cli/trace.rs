//! Traces at the command line: written whole, told in a few lines, refused where they make no sense.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::devices::devices;
use crate::tensor::npz;

fn wgccl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgccl")).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn ok(args: &[&str]) -> String {
    let output = wgccl(args);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The slices that are instructions: from the file as a viewer reads it.
fn instructions(trace: &Value) -> usize {
    let slices = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X");
    let of = |slice: &Value| match (slice["cat"].as_str(), slice["args"]["one time for"].as_array()) {
        (Some("wait"), _) => 0,
        (_, Some(several)) => several.len(),
        _ => 1,
    };
    slices.map(of).sum()
}

fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// By the name of the file.
#[test]
fn a_page_plays_a_launch() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run.HTML");
    let text = ok(&["run", "--device", "cpu", "--in-place", "--trace", path.to_str().unwrap()]);
    let page = fs::read_to_string(path).unwrap();
    assert!(text.contains("for a browser") && page.starts_with("<!doctype html>"), "{text}");
    assert!(page.contains("\"clock\":\"host\"") && page.ends_with("</html>\n"));
}

#[test]
fn run_writes_a_trace_and_tells_of_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run.json");
    let path = path.to_str().unwrap();
    let text = ok(&["run", "--device", "cpu", "-P", "3", "--count", "1000", "-d", "i32", "--trace", path]);
    let trace = read(path);
    // Two rounds of each half, by three ranks.
    assert_eq!(instructions(&trace), 12, "{trace}");
    let other = |name: &str| trace["otherData"][name].as_str().unwrap_or_default();
    assert_eq!(
        ["schedule", "collective", "ranks", "count", "type", "op", "device", "channels", "wgccl"].map(other),
        ["ring", "all-reduce", "3", "1000", "i32", "sum", "CPU executor", "1", env!("CARGO_PKG_VERSION")]
    );
    assert!(other("tracing").starts_with("on") && other("clock") == "the host's clock");
    for part in ["bit-exact", "trace     ", "12 spans by the host's clock", "critical  ", "lanes     ", " % moving"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Nothing is overwritten, and without a trace nothing is said of one.
    let again = wgccl(&["run", "--device", "cpu", "--trace", path]);
    assert!(again.status.code() == Some(6) && said(&again).contains("nothing is overwritten"), "{}", said(&again));
    assert!(!ok(&["run", "--device", "cpu"]).contains("critical"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn json_has_the_whole_path() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run.json");
    let path = path.to_str().unwrap();
    let run = ["run", "--device", "cpu", "--json"];
    let json: Value = serde_json::from_str(&ok(&[&run[..], &["--trace", path]].concat())).unwrap();
    let trace = &json["trace"];
    assert_eq!((&trace["file"], &trace["spans"], &trace["clock"]), (&path.into(), &24.into(), &"host".into()));
    let critical = &trace["critical_path"];
    let links = critical["links"].as_array().unwrap();
    let sum = |name: &str| links.iter().map(|link| link[name].as_u64().unwrap()).sum::<u64>();
    let number = |name: &str| critical[name].as_u64().unwrap();
    assert_eq!((number("moving"), number("waiting")), (sum("moving"), sum("waiting")));
    assert_eq!(number("total"), number("moving") + number("waiting"));
    assert!(links.iter().all(|link| link["label"].is_string() && link["rank"].is_u64()));
    assert_eq!(trace["instructions"], links.len());
    assert_eq!((&links[0]["after"], number("total") > 0), (&"begin".into(), true));
    assert!(
        critical["lanes"]["waited_for"].as_array().is_some_and(|ranks| !ranks.is_empty()),
        "in a ring somebody waits"
    );
    let json: Value = serde_json::from_str(&ok(&run)).unwrap();
    assert!(json.get("trace").is_none());
}

/// One more launch, and what is measured is what it is without it.
#[test]
fn bench_traces_one_row() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (path, again) = (file("bench.json"), file("again.json"));
    let row = ["bench", "--device", "cpu", "-P", "2", "-b", "4K", "-e", "4K", "-n", "2"];
    let text = ok(&[&row[..], &["--algorithm", "ring", "--trace", &path]].concat());
    assert_eq!(instructions(&read(&path)), 4, "{text}");
    assert!(text.contains("# trace") && text.contains("# critical") && text.contains("# lanes"), "{text}");
    let record: Value =
        serde_json::from_str(&ok(&[&row[..], &["--algorithm", "ring", "--json", "--trace", &again]].concat())).unwrap();
    assert!(record["results"].as_array().unwrap().len() == 1 && record.get("trace").is_none(), "{record}");
    assert_eq!(read(&again)["otherData"]["count"], "1024");
    for several in
        [&["-P", "2,4"][..], &["-e", "1M"], &["-d", "f32,i32"], &["--algorithm", "ring,direct"], &["-N", "2"]]
    {
        let none = file("none.json");
        let output = wgccl(&[&row[..], &["--trace", &none], several].concat());
        assert!(
            output.status.code() == Some(6) && said(&output).contains("--trace is of one row, and these are"),
            "{several:?}: {}",
            said(&output)
        );
        assert!(!fs::exists(none).unwrap());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (several, out, outputs) = (file("two.npz"), file("out.json"), file("outputs"));
    ok(&["run", "--device", "cpu", "-P", "2", "--count", "4", "--output", &outputs]);
    let tensor = fs::read(dir.path().join("outputs/rank0.npy")).unwrap();
    fs::write(&several, npz(&[("x", &tensor), ("y", &tensor)], false)).unwrap();
    for (args, part) in [
        (&["run", "--trace", "-"][..], "standard output has the report"),
        (&["bench", "--trace", "-"], "standard output has the report"),
        (&["run", "--trace", "/no/such/directory/run.json"], "cannot write /no/such/directory/run.json"),
        (
            &["run", "--device", "cpu", "-P", "200", "--channels", "24", "--count", "64K", "--trace", &out],
            "use fewer channels",
        ),
        (&["bench", "--card", "--trace", &out], "cannot be used with"),
        (&["run", "--input", &several, "--trace", &out], "the inputs hold 2 tensors; choose one with --tensor"),
    ] {
        let output = wgccl(args);
        assert!(output.status.code() == Some(6) && said(&output).contains(part), "{args:?}: {}", said(&output));
    }
    // Of a launch that does not finish there is none.
    let output = wgccl(&["run", "--device", "cpu", "--drop-notify", "1:2", "--trace", &out]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(!fs::exists(out).unwrap());
}

/// Every device says whose clock it is, and none makes up times.
#[test]
fn every_device_and_mode_has_a_trace() {
    let dir = TempDir::new().unwrap();
    for device in devices() {
        let index = device.gpu.info().index.to_string();
        for way in device.sound() {
            let (mode, protocol) = (way.mode.name(), way.protocol.name());
            let path = dir.path().join(format!("{index}-{mode}-{protocol}.json"));
            let path = path.to_str().unwrap();
            let place = ["run", "--device", &index, "--count", "4K", "--trace", path];
            let text = ok(&[&place[..], &["--dispatch", mode, "--protocol", protocol]].concat());
            let trace = read(path);
            let clock = trace["otherData"]["clock"].as_str().unwrap();
            let context = format!("{} {mode} {protocol}: {clock}: {text}", device.name);
            assert_eq!(instructions(&trace), 24, "{context}");
            assert!(mode != "fused" || clock.starts_with("order only"), "{context}");
            assert_eq!(text.contains("critical"), clock.starts_with("the device's clock"), "{context}");
        }
    }
}
