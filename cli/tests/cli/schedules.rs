//! Schedule files at the command line: checked, run, linted, converted, by the program as users have it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::devices::devices;
use crate::root;

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

/// A file of what `wgccl convert` writes.
fn converted(dir: &TempDir, name: &str, args: &[&str]) -> PathBuf {
    let path = dir.path().join(name);
    ok(&[&["convert", "--output", path.to_str().unwrap()], args].concat());
    path
}

/// What is written in a format is the same schedule when it is read: it proves, and gives the bits of the one that it came from.
#[test]
fn what_is_converted_is_checked_and_run_as_it_was() {
    let dir = TempDir::new().unwrap();
    for (name, source, ranks) in [
        ("ring", &["ring"][..], "4"),
        ("tree", &["tree"], "5"),
        ("halving", &["halving", "--collective", "reduce-scatter"], "8"),
        ("all-to-all", &["all-to-all"], "3"),
        ("broadcast", &["broadcast", "--algorithm", "ring"], "4"),
    ] {
        for format in ["msccl", "wgccl"] {
            let file =
                converted(&dir, &format!("{name}.{format}"), &[source, &["--ranks", ranks, "--to", format]].concat());
            let file = file.to_str().unwrap();
            let json: Value = serde_json::from_str(&ok(&["check", file, "--json"])).unwrap();
            assert_eq!(
                (&json["ok"], &json["origin"], json["ranks"].to_string()),
                (&true.into(), &"file".into(), ranks.into())
            );
            assert_eq!(json["msccl"].is_object(), format == "msccl", "{json}");
            let json: Value =
                serde_json::from_str(&ok(&["run", file, "--device", "cpu", "--json", "--fill", "normal"])).unwrap();
            assert_eq!(json["wrong"], 0, "{json}");
            ok(&["layout", file]);
            if format == "msccl" {
                // Without copies there is less to do, and the bits are the same.
                let less = |flag: &[&str]| {
                    let json: Value = serde_json::from_str(&ok(&[&["check", file, "--json"], flag].concat())).unwrap();
                    json["instructions"].as_u64().unwrap()
                };
                assert!(less(&["--elide"]) <= less(&[]));
                ok(&["run", file, "--device", "cpu", "--fill", "normal", "--elide"]);
            }
        }
    }
    // A file, too, is converted, and comes back as it is.
    let xml = dir.path().join("ring.msccl");
    let again = ok(&["convert", xml.to_str().unwrap(), "--to", "msccl"]);
    assert_eq!(again, fs::read_to_string(&xml).unwrap());
}

#[test]
fn every_device_and_mode_runs_a_file() {
    let dir = TempDir::new().unwrap();
    let file = converted(&dir, "ring.xml", &["ring", "--ranks", "4", "--to", "msccl", "--proto", "ll"]);
    for device in devices() {
        let index = device.gpu.info().index.to_string();
        for way in device.sound() {
            let how = ["--dispatch", way.mode.name(), "--protocol", way.protocol.name()];
            let place = ["run", file.to_str().unwrap(), "--device", &index, "--count", "4K", "--json"];
            let args = [&place[..], &how].concat();
            let json: Value = serde_json::from_str(&ok(&args)).unwrap();
            assert_eq!((&json["ok"], &json["wrong"]), (&true.into(), &0.into()), "{}: {json}", device.name);
        }
    }
}

/// An all-gather of two in which two thread blocks write one chunk, one after the other: what signals order and flags do not.
const WRITTEN_TWICE: &str = r#"<algo name="twice" proto="LL" nchannels="1" nchunksperloop="2" ngpus="2" coll="allgather" inplace="0">
<gpu id="0" i_chunks="1" o_chunks="2" s_chunks="0">
<tb id="0" send="1" recv="1" chan="0">
<step s="0" type="cpy" srcbuf="i" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="1" type="s" srcbuf="o" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="2" type="r" srcbuf="i" srcoff="0" dstbuf="o" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="1"/></tb>
<tb id="1" send="-1" recv="-1" chan="0">
<step s="0" type="cpy" srcbuf="i" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="0" deps="2" hasdep="0"/></tb></gpu>
<gpu id="1" i_chunks="1" o_chunks="2" s_chunks="0">
<tb id="0" send="0" recv="0" chan="0">
<step s="0" type="s" srcbuf="i" srcoff="0" dstbuf="o" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="1" type="r" srcbuf="i" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="2" type="cpy" srcbuf="i" srcoff="0" dstbuf="o" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="0"/></tb></gpu></algo>"#;

/// The file's proto is the protocol, unless a user names one, or it cannot be: then the output says why.
#[test]
fn the_proto_of_a_file_is_the_protocol_where_it_can_be() {
    let dir = TempDir::new().unwrap();
    let of =
        |proto| converted(&dir, &format!("{proto}.xml"), &["ring", "--ranks", "4", "--to", "msccl", "--proto", proto]);
    let [simple, ll, ll128] = ["simple", "ll", "ll128"].map(of);
    let twice = dir.path().join("twice.xml");
    fs::write(&twice, WRITTEN_TWICE).unwrap();
    let cases: &[(&Path, &[&str], &str, &str)] = &[
        (&simple, &[], "simple", ""),
        (&ll, &[], "ll", "protocol ll: the file says proto LL"),
        (&ll128, &[], "ll", "protocol ll: the file says proto LL128"),
        (&ll, &["--protocol", "simple"], "simple", ""),
        (&simple, &["--protocol", "ll"], "ll", ""),
        (
            &ll,
            &["--dispatch", "per-step"],
            "simple",
            "protocol simple, though the file says proto LL: data that carries its own flag is for fused dispatch",
        ),
        (
            &twice,
            &[],
            "simple",
            "protocol simple, though the file says proto LL: lanes of rank 0 and rank 0 both write",
        ),
    ];
    let notes =
        |json: &Value| json["notes"].as_array().into_iter().flatten().map(|note| note.to_string()).collect::<String>();
    for device in devices() {
        let index = device.gpu.info().index.to_string();
        for (file, how, protocol, note) in cases {
            let file = file.to_str().unwrap();
            let json: Value =
                serde_json::from_str(&ok(&[&["run", file, "--device", &index, "--json"], *how].concat())).unwrap();
            assert_eq!((&json["protocol"], &json["ok"]), (&(*protocol).into(), &true.into()), "{file} {how:?} {json}");
            let told = notes(&json);
            assert!(told.contains(note) && told.contains("protocol") != note.is_empty(), "{file} {how:?} {told}");

            let sizes = ["-b", "64", "-e", "64", "-n", "1", "-w", "0", "--algorithm", "ring"];
            let args = [&["bench", file, "--device", &index], *how, &sizes].concat();
            let record: Value = serde_json::from_str(&ok(&[&args[..], &["--json"]].concat())).unwrap();
            // The algorithm beside it has no wishes.
            let expected = [*protocol, if how.contains(&"ll") { "ll" } else { "simple" }];
            for (row, expected) in record["results"].as_array().unwrap().iter().zip(expected) {
                assert_eq!(row["out_of_place"]["protocol"], expected, "{file} {how:?} {row}");
            }
            let table = said(&wgccl(&args));
            assert!(table.contains(note), "{file} {how:?} {table}");
        }
    }
    // Cores have one protocol, and nothing is to be said of it.
    let json: Value = serde_json::from_str(&ok(&["run", ll.to_str().unwrap(), "--device", "cpu", "--json"])).unwrap();
    assert_eq!((&json["protocol"], notes(&json)), (&Value::Null, String::new()));
}

/// A file is measured at the sizes that it can have, and beside the algorithms that are named.
#[test]
fn a_file_is_measured_beside_the_algorithms() {
    let dir = TempDir::new().unwrap();
    let file = converted(&dir, "ring.xml", &["ring", "--ranks", "4", "--to", "msccl"]);
    let file = file.to_str().unwrap();
    let args = [
        "bench",
        file,
        "--device",
        "cpu",
        "--algorithm",
        "direct",
        "-b",
        "40",
        "-e",
        "4K",
        "-f",
        "10",
        "-n",
        "2",
        "--json",
    ];
    let record: Value = serde_json::from_str(&ok(&args)).unwrap();
    let rows: Vec<(&str, &str, u64)> = record["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["origin"].as_str().unwrap(), row["algorithm"].as_str().unwrap(), row["size"].as_u64().unwrap()))
        .collect();
    // 40, 400 and 4000 bytes, as multiples of 16.
    let expected = [("file", "ring"), ("builtin", "direct")]
        .map(|(origin, name)| [32, 400, 4000].map(|size| (origin, name, size)));
    assert_eq!(rows, expected.concat());
    for (args, part) in [
        (&["bench", file, "-P", "8"][..], "the file has 4 ranks"),
        (
            &["bench", file, "-b", "4", "-e", "12", "-f", "2"],
            "no size from 4 to 12 bytes is a multiple of the 4 elements",
        ),
    ] {
        let output = wgccl(&[args, &["--device", "cpu"]].concat());
        assert!(output.status.code() == Some(6) && said(&output).contains(part), "{args:?}: {}", said(&output));
    }
}

/// All-gather of two ranks that send what is theirs, and never copy it into the own output: right in place only.
const IN_PLACE_ONLY: &str = r#"<algo name="halves" proto="Simple" nchannels="1" nchunksperloop="2" ngpus="2" coll="allgather" inplace="1">
<gpu id="0" i_chunks="0" o_chunks="2" s_chunks="0"><tb id="0" send="1" recv="1" chan="0">
<step s="0" type="s" srcbuf="o" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="1" type="r" srcbuf="o" srcoff="1" dstbuf="o" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="0"/>
</tb></gpu>
<gpu id="1" i_chunks="0" o_chunks="2" s_chunks="0"><tb id="0" send="0" recv="0" chan="0">
<step s="0" type="s" srcbuf="o" srcoff="1" dstbuf="o" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="1" type="r" srcbuf="o" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
</tb></gpu></algo>"#;

#[test]
fn a_file_that_is_right_in_place_only_is_measured_in_place() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (file, record, picture) = (at("halves.xml"), at("a.json"), at("a.svg"));
    fs::write(&file, IN_PLACE_ONLY).unwrap();
    let sizes = ["--device", "cpu", "-b", "64", "-e", "4K", "-f", "8", "-n", "6"];
    let with =
        |more: &[&str]| [&["bench", file.as_str()], &sizes[..], more].concat().iter().map(|&s| s.to_owned()).collect();
    let run = |more: &[&str]| {
        let args: Vec<String> = with(more);
        ok(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let table = run(&["-J", &record, "--plot", &picture]);
    let rows: Vec<Vec<&str>> =
        table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{table}");
    for row in &rows {
        assert_eq!((row.len(), &row[5..9], row[12]), (13, &["N/A"; 4][..], "0"), "{table}");
        assert!(row[9..12].iter().all(|cell| cell.parse::<f64>().is_ok()), "{table}");
    }
    assert_eq!(table.matches("halves is right in place only").count(), 1, "{table}");

    let json: Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    let results = json["results"].as_array().unwrap();
    let mean = |of: &dyn Fn(&Value) -> f64| results.iter().map(of).sum::<f64>() / results.len() as f64;
    for row in results {
        assert!(row["out_of_place"].is_null() && row["out_of_place_per_iter"].is_null(), "{row}");
        assert_eq!(
            (&row["in_place"]["nwrong"], row["in_place_per_iter"]["times_us"].as_array().unwrap().len()),
            (&0.into(), 6)
        );
    }
    let average = json["average_bus_bandwidth"]["bandwidth"].as_f64().unwrap();
    assert!((average - mean(&|row| row["in_place"]["bus_bw"].as_f64().unwrap())).abs() <= 1e-9 * average, "{json}");
    assert!(fs::read_to_string(&picture).unwrap().contains("in place"));

    // With itself, and with the table as nccl-tests writes it, which is read again.
    let as_table = at("a.txt");
    fs::write(&as_table, &table).unwrap();
    for other in [&record, &as_table] {
        let compared = ok(&["bench", "--compare", &record, other]);
        assert_eq!(compared.matches("  in-place  ").count(), 3, "{compared}");
        assert!(!compared.contains("out-of-place"), "{compared}");
    }
    // Beside an algorithm that is right in both.
    let both = run(&["--algorithm", "mesh", "--json"]);
    let json: Value = serde_json::from_str(&both).unwrap();
    let places: Vec<[bool; 2]> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["out_of_place", "in_place"].map(|place| row[place].is_object()))
        .collect();
    assert_eq!(places, [[[false, true]; 3], [[true, true]; 3]].concat(), "{both}");
    // A file that is wrong in place, for which it is made, says that.
    let wrong = at("wrong.xml");
    fs::write(
        &wrong,
        IN_PLACE_ONLY.replacen(
            r#"type="r" srcbuf="o" srcoff="1" dstbuf="o" dstoff="1""#,
            r#"type="r" srcbuf="o" srcoff="1" dstbuf="o" dstoff="0""#,
            1,
        ),
    )
    .unwrap();
    let output = wgccl(&[&["bench", wrong.as_str()], &sizes[..]].concat());
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    // Out of place rank 1 would lack its part as well.
    let said = said(&output);
    assert!(said.contains("rank 0 output[part 0] holds chunk 0 of rank 1's input"), "{said}");
    assert!(!said.contains("rank 1 output"), "{said}");
}

/// Where the file is not right, that is what there is to say, and not how it would look without copies.
#[test]
fn elide_says_that_the_file_is_not_right() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("cycle.xml");
    // Each receives before it sends.
    let moved = |xml: &str| {
        let moved = xml.replace(r#"<step s="0" type="s""#, r#"<step s="x" type="s""#);
        let moved = moved.replace(r#"<step s="1""#, r#"<step s="0""#).replace(r#"<step s="x""#, r#"<step s="1""#);
        let mut lines: Vec<&str> = moved.lines().collect();
        (0..lines.len())
            .filter(|n| lines[*n].contains(r#"type="s""#))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|n| lines.swap(n, n + 1));
        lines.join("\n")
    };
    fs::write(&file, moved(IN_PLACE_ONLY)).unwrap();
    let file = file.to_str().unwrap();
    let sizes = ["-b", "64", "-e", "64"];
    for (args, code) in [
        (&["check", file, "--elide"][..], 4),
        (&["run", file, "--elide", "--device", "cpu"], 4),
        (&[&["bench", file, "--elide", "--device", "cpu"], &sizes[..]].concat(), 4),
    ] {
        let output = wgccl(args);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        let note = format!(
            "--elide: the file itself is not right, so no copy is left out: deadlock-free fails: a lane never reaches its end; wgccl \
             check {file} says where"
        );
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(flat.matches(&note).count(), 1, "{args:?}: {said}");
        assert!(!flat.contains("slot["), "{args:?}: {said}");
    }
}

/// An all-gather of two as TACCL writes it: what a rank has itself is in a `<copy>`.
const OLD: &str = r#"<algo name="old" proto="Simple" nchannels="1" nchunksperloop="2" ngpus="2" coll="allgather" inplace="0">
<gpu id="0" i_chunks="1" o_chunks="2" s_chunks="0"><copy i_off="0" o_off="0"/>
<tb id="0" send="1" recv="1" chan="0">
<step s="0" type="s" srcbuf="i" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="1" type="r" srcbuf="i" srcoff="0" dstbuf="o" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="0"/></tb></gpu>
<gpu id="1" i_chunks="1" o_chunks="2" s_chunks="0"><copy i_off="0" o_off="1"/>
<tb id="0" send="0" recv="0" chan="0">
<step s="0" type="s" srcbuf="o" srcoff="1" dstbuf="o" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="0"/>
<step s="1" type="r" srcbuf="i" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/></tb></gpu></algo>"#;

/// What runtimes pass over is done where somebody asks for it, and named where it is not.
#[test]
fn copies_of_old_files_are_named_and_made() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("old.xml");
    fs::write(&file, OLD).unwrap();
    let file = file.to_str().unwrap();
    let wrong = wgccl(&["check", file]);
    assert_eq!(wrong.status.code(), Some(7), "{}", said(&wrong));
    let flat = said(&wrong).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("<copy>, 2 of them, is passed over, as runtimes do; --copies copies input to output"),
        "{flat}"
    );
    for args in [&["check", file, "--copies"][..], &["run", file, "--copies", "--device", "cpu", "--fill", "normal"]] {
        assert!(!ok(args).contains("<copy>"), "{args:?}");
    }
}

/// Any size can be forced, and is told to be; what would not fit into a shorter chunk is refused by the proof.
#[test]
fn any_size_can_be_forced() {
    let dir = TempDir::new().unwrap();
    for (name, source, format, output) in [
        ("a.xml", &["ring", "--ranks", "4"][..], "msccl", 28),
        ("b.xml", &["all-gather", "--ranks", "3"], "msccl", 63),
        ("c.xml", &["reduce-scatter", "--ranks", "3"], "msccl", 21),
    ] {
        let file = converted(&dir, name, &[source, &["--to", format]].concat());
        let text = fs::read_to_string(&file).unwrap();
        // What convert writes has no limits.
        let text = text.replacen("minBytes=\"0\" maxBytes=\"0\"", "minBytes=\"200\" maxBytes=\"300\"", 1);
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let run = |more: &[&str]| {
            let json = ok(&[&["run", file, "--force-size", "--json", "--fill", "normal"], more].concat());
            serde_json::from_str::<Value>(&json).unwrap()
        };
        let devices = devices().iter().map(|device| device.gpu.info().index.to_string()).chain(["cpu".to_owned()]);
        for device in devices {
            // Reductions write over what others still read, in place.
            for place in [&[][..], &["--in-place"]].iter().take(1 + usize::from(name == "b.xml")) {
                let json = run(&[&["--device", &device, "--count", "7"][..], place].concat());
                assert_eq!((&json["wrong"], &json["elements"]), (&0.into(), &output.into()), "{json}");
                let notes = json["notes"].to_string();
                assert!(notes.contains("sizes are forced") && notes.contains("below its minBytes of 200"), "{notes}");
            }
        }
        let json = run(&["--device", "cpu", "--count", "1001"]);
        assert!(json["notes"].to_string().contains("above its maxBytes of 300"), "{json}");
        let bench = ["-b", "84", "-e", "84K", "-f", "1000", "-n", "1", "-w", "0", "--device", "cpu", "--force-size"];
        let table = ok(&[&["bench", file], &bench[..]].concat());
        for said in ["sizes are forced", "minBytes of 200", "maxBytes of 300"] {
            assert!(table.contains(said), "{table}");
        }
    }
    // Chunk 0 is put where the last chunk belongs, and would be cut there.
    let step = |s, from, to| {
        format!(
            "<step s=\"{s}\" type=\"cpy\" srcbuf=\"i\" srcoff=\"{from}\" dstbuf=\"o\" dstoff=\"{to}\" cnt=\"1\" depid=\"-1\" deps=\"-1\" hasdep=\"0\"/>"
        )
    };
    let head =
        r#"<algo name="cut" proto="Simple" nchannels="1" nchunksperloop="2" ngpus="1" coll="broadcast" inplace="0">"#;
    let tb = r#"<gpu id="0" i_chunks="2" o_chunks="2" s_chunks="0"><tb id="0" send="-1" recv="-1" chan="0">"#;
    let file = dir.path().join("cut.xml");
    fs::write(&file, [head, tb, &step(0, 0, 1), &step(1, 0, 0), &step(2, 1, 1), "</tb></gpu></algo>"].concat())
        .unwrap();
    let file = file.to_str().unwrap();
    ok(&["run", file, "--device", "cpu", "--count", "8"]);
    let refused = wgccl(&["run", file, "--device", "cpu", "--count", "7", "--force-size"]);
    assert_eq!(refused.status.code(), Some(7), "{}", said(&refused));
    assert!(said(&refused).contains("which may be shorter and would cut it"), "{}", said(&refused));
}

#[test]
fn what_does_not_go_with_a_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = converted(&dir, "ring.xml", &["ring", "--to", "msccl"]);
    let own = converted(&dir, "ring.json", &["ring", "--to", "wgccl"]);
    let (file, own) = (file.to_str().unwrap(), own.to_str().unwrap());
    let nothing = dir.path().join("nothing");
    fs::write(&nothing, "a ring\n").unwrap();
    let custom = dir.path().join("custom.xml");
    fs::write(&custom, fs::read_to_string(file).unwrap().replace("\"allreduce\"", "\"custom\"")).unwrap();
    let custom = custom.to_str().unwrap();
    let large = dir.path().join("large.xml");
    let chunks = |number: &str| format!("nchunksperloop=\"{number}\"");
    fs::write(&large, fs::read_to_string(file).unwrap().replace(&chunks("4"), &chunks("2147483648"))).unwrap();
    let large = large.to_str().unwrap();
    let document = fs::read_to_string(own).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(document.contains(from), "{from} in {document}");
        let path = dir.path().join(format!("{}.json", to.replace(|c: char| !c.is_alphanumeric(), "")));
        fs::write(&path, document.replace(from, to)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // As some editors write it.
    let marked = dir.path().join("marked.json");
    fs::write(&marked, format!("\u{feff}{document}")).unwrap();
    ok(&["check", marked.to_str().unwrap()]);
    for (args, part) in [
        (&["check", file, "--algorithm", "ring"][..], "leave --algorithm out"),
        (&["check", file, "--sync", "barrier"], "leave --sync out"),
        (&["check", file, "--ranks", "3"], "--ranks says 3, and the file has 4"),
        (&["check", file, "--root", "1"], "all-reduce has no root"),
        (&["check", own, "--fifo-slots", "3"], "leave --fifo-slots out"),
        (&["check", file, "--copies"], "has no <copy>; leave --copies out"),
        (&["check", own, "--copies"], "leave --copies out"),
        (&["check", own, "--force-size"], "for any count already; leave --force-size out"),
        (
            &["layout", &changed("\"signal_rows\": 6", "\"signal_rows\": 4294967295")],
            "more than the 1048576 that are listed",
        ),
        (&["layout", &changed("\"slots\": 4", "\"slots\": 4294967295")], "there is no window to lay out"),
        (&["layout", &changed("\"ranks\": 4", "\"ranks\": 0")], "0 ranks: a schedule has 1 to 4096 ranks"),
        (
            &["check", &changed("\"ranks\": 4", "\"root\": 1, \"ranks\": 4")],
            "all-reduce has no root; leave \"root\" out",
        ),
        (&["check", &changed("\"ranks\": 4", "\"sources\": [1], \"ranks\": 4")], "leave \"sources\" out"),
        (&["check", &changed("\"slots\": 4", "\"slots\": -1")], "slots are a number, or a list"),
        (&["check", "all-reduce", "--copies"], "these options are of schedule files"),
        (&["check", "all-reduce", "--fifo-slots", "3"], "these options are of schedule files"),
        (&["check", large], "so few steps may have 524288: lower nchunksperloop"),
        (&["check", custom], "name the collective that it is: --collective all-reduce"),
        (
            &["run", file, "--count", "7"],
            "7 elements is no multiple of 4, as the schedule wants it; use 4 or 8, or let its last chunks be shorter with --force-size",
        ),
        (&["run", "all-reduce", "--force-size"], "these options are of schedule files"),
        (&["run", nothing.to_str().unwrap()], "is no schedule: it begins neither like MSCCL XML"),
        (&["run", "no/such.xml"], "cannot read no/such.xml"),
        (&["run", "all-redcue"], "did you mean all-reduce?"),
        (&["lint", "no/such.xml"], "cannot read no/such.xml"),
        (&["convert", "ring", "--to", "chakra"], "give --output PREFIX"),
        (&["convert", "ring", "--to", "chakra", "--output", "."], "is a directory; add to it, as in ./ring"),
        (&["convert", "ring", "--to", "chakra", "--output", "no/such/"], "is a directory"),
        (&["convert", "ring", "--to", "goal", "--count", "0"], "0 elements"),
        (&["convert", "barrier", "--to", "goal"], "MSCCL XML has no barrier"),
        (&["convert", "ring", "--to", "msccl", "--count", "4"], "leave --count out"),
        (&["convert", "ring", "--to", "msccl", "--output", file], "nothing is overwritten"),
    ] {
        let output = wgccl(args);
        assert_eq!(output.status.code(), Some(6), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(part), "{args:?}: {}", said(&output));
    }
    ok(&["check", custom, "--collective", "all-reduce"]);
    // Files have no root, which whoever reads them must name.
    let reduce = dir.path().join("reduce.xml");
    let reduce = reduce.to_str().unwrap();
    let output = wgccl(&["convert", "reduce", "--root", "3", "--to", "msccl", "--output", reduce]);
    assert!(
        output.status.success() && said(&output).contains("note: MSCCL XML does not say who the root is"),
        "{}",
        said(&output)
    );
    assert!(ok(&["check", reduce, "--root", "3"]).contains("root 3"));
}

/// Two ranks that both send before they receive: with room for one message neither gets through.
#[test]
fn a_deadlock_has_an_exit_code_a_cycle_and_a_remedy() {
    let dir = TempDir::new().unwrap();
    let step = |s, kind: &str, chunk| {
        format!(
            r#"<step s="{s}" type="{kind}" srcbuf="i" srcoff="{chunk}" dstbuf="o" dstoff="{chunk}" cnt="1" depid="-1" deps="-1" hasdep="0"/>"#
        )
    };
    let gpu = |id: u32, peer: u32| {
        let moves: Vec<String> = [(0, "s"), (1, "s"), (2, "r"), (3, "r")]
            .iter()
            .map(|&(s, kind)| {
                // All-to-all of two chunks a part.
                let chunk = if kind == "s" { 2 * peer + s } else { 2 * peer + s - 2 };
                step(s, kind, chunk)
            })
            .collect();
        let own = [step(0, "cpy", 2 * id), step(1, "cpy", 2 * id + 1)].concat();
        format!(
            r#"<gpu id="{id}" i_chunks="4" o_chunks="4" s_chunks="0"><tb id="0" send="{peer}" recv="{peer}" chan="0">{}</tb><tb id="1" send="-1" recv="-1" chan="0">{own}</tb></gpu>"#,
            moves.concat()
        )
    };
    let xml = format!(
        r#"<algo name="both" proto="Simple" nchannels="1" nchunksperloop="4" ngpus="2" coll="alltoall" inplace="0">{}{}</algo>"#,
        gpu(0, 1),
        gpu(1, 0)
    );
    let file = dir.path().join("both.xml");
    fs::write(&file, &xml).unwrap();
    let file = file.to_str().unwrap();
    ok(&["check", file]);
    let output = wgccl(&["check", file, "--fifo-slots", "1"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    for part in [
        "with 2 messages on a connection it gets through: --fifo-slots 2",
        "gpu 0 tb 0 step 1",
        "gpu 1 tb 0 step 1",
        "wait cycle",
    ] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    let output = wgccl(&["check", file, "--fifo-slots", "1", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["msccl"]["fewest_fifo_slots"], 2, "{json}");
    // A wrong chunk is a wrong result.
    let wrong = dir.path().join("wrong.xml");
    fs::write(&wrong, xml.replacen("srcoff=\"2\"", "srcoff=\"3\"", 1)).unwrap();
    let output = wgccl(&["check", wrong.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    // By standard input.
    let mut child = Command::new(env!("CARGO_BIN_EXE_wgccl"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn lint_names_barriers_and_what_is_implied_by_others() {
    let dir = TempDir::new().unwrap();
    let own = converted(&dir, "barrier.json", &["ring", "--ranks", "8", "--sync", "barrier", "--to", "wgccl"]);
    let twice = dir.path().join("twice.xml");
    // The second thread block waits for a step and then, once more, for the one before it.
    let again = r#"<step s="1" type="cpy" srcbuf="i" srcoff="0" dstbuf="o" dstoff="0" cnt="1" depid="0" deps="1" hasdep="0"/></tb></gpu>
<gpu id="1""#;
    let text = WRITTEN_TWICE.replace("</tb></gpu>\n<gpu id=\"1\"", &format!("\n{again}"));
    let text = text.replace(
        "cnt=\"1\" depid=\"-1\" deps=\"-1\" hasdep=\"0\"/>\n<step s=\"2\"",
        "cnt=\"1\" depid=\"-1\" deps=\"-1\" hasdep=\"1\"/>\n<step s=\"2\"",
    );
    fs::write(&twice, text).unwrap();
    for (args, parts) in [
        (
            &["lint", own.to_str().unwrap()][..],
            &[
                "in each of 13 rounds: 728 waits, 624 of them",
                "the first is rank 0 RS round 2",
                "none of 728 waits is implied",
            ][..],
        ),
        (&["lint", "ring", "-P", "8", "--sync", "barrier"], &["in each of 13 rounds: 728 waits, 624 of them"]),
        (
            &["lint", "ring", "-P", "8"],
            &["112 instructions; 104 signals sent, 104 waits for them", "none of 104 waits is implied"],
        ),
        (
            &["lint", twice.to_str().unwrap()],
            &["1 of 2 dependences imply nothing that others do not", "gpu 0 tb 1 step 1"],
        ),
    ] {
        let text = said(&wgccl(args)).split_whitespace().collect::<Vec<_>>().join(" ");
        for part in parts {
            assert!(text.contains(part), "{args:?}: {part}: {text}");
        }
        assert_eq!(text.contains("barrier of all ranks"), parts[0].contains("13 rounds"), "{args:?}: {text}");
        let json: Value = serde_json::from_slice(&wgccl(&[args, &["--json"]].concat()).stdout).unwrap();
        assert_eq!(json["hints"]["barriers"].is_object(), parts[0].contains("13 rounds"), "{json}");
        assert_eq!(json["hints"]["redundant"]["waits"] == 1, parts[0].contains("1 of 2"), "{json}");
    }
    ok(&["lint", own.to_str().unwrap()]);
}

#[test]
fn lint_says_who_would_refuse_a_file_and_what_it_moves() {
    let dir = TempDir::new().unwrap();
    let file = converted(&dir, "ring.xml", &["ring", "--ranks", "4", "--to", "msccl"]);
    let text = ok(&["lint", file.to_str().unwrap()]);
    for part in [
        "24 messages of 24 chunks",
        "1.50 payloads, and no schedule of this collective less than 1.50",
        "taken     by RCCL",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let bare = dir.path().join("bare.xml");
    let xml = fs::read_to_string(&file).unwrap();
    fs::write(&bare, xml.replace(" outofplace=\"1\"", "").replace("nchannels=\"1\"", "nchannels=\"2\"")).unwrap();
    let output = wgccl(&["lint", bare.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(7));
    for part in [
        "refused   by RCCL",
        "<algo> must have outofplace",
        "nchannels is 2, and thread blocks name 1 channels",
        "taken     by MSCCL",
    ] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
}

#[test]
fn goal_and_chakra_hold_every_message() {
    let dir = TempDir::new().unwrap();
    let goal = ok(&["convert", "ring", "--ranks", "4", "--to", "goal", "--count", "1K"]);
    assert!(goal.starts_with("num_ranks 4\n\nrank 0 {\n"), "{goal}");
    let lines = |word: &str| goal.lines().filter(|line| line.contains(word)).count();
    assert_eq!((lines(": send 1024b to "), lines(": recv 1024b from "), lines(": calc ")), (24, 24, 12));
    let prefix = dir.path().join("ring");
    ok(&["convert", "ring", "--ranks", "4", "--to", "chakra", "--count", "1K", "--output", prefix.to_str().unwrap()]);
    for rank in 0..4 {
        let bytes = fs::read(format!("{}.{rank}.et", prefix.display())).unwrap();
        // Messages, each behind its length, to the end of the file.
        let (mut at, mut messages) = (0, 0);
        while at < bytes.len() {
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = bytes[at];
                at += 1;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            at += length;
            messages += 1;
        }
        assert_eq!((at, messages), (bytes.len(), 1 + 6 + 6 + 3), "rank {rank}");
    }
    let output = wgccl(&["convert", "ring", "--to", "chakra", "--output", prefix.to_str().unwrap()]);
    assert!(output.status.code() == Some(6) && said(&output).contains("nothing is overwritten"), "{}", said(&output));
}

/// The examples of the documentation are right, and read as they are written.
#[test]
fn examples_are_checked_and_run() {
    let folder = root().join("docs/examples");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        ok(&["check", path.to_str().unwrap()]);
        ok(&["run", path.to_str().unwrap(), "--device", "cpu"]);
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
}

/// Real files, where they are: each that completes runs on the CPU and on every device, in every sound mode.
#[test]
fn real_files_run_everywhere() {
    let given = std::env::var_os("WGCCL_MSCCL").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| root().join("../shared/msccl"));
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("skipped: no folder of MSCCL files; WGCCL_MSCCL names one");
        return;
    };
    let run = |file: &Path, device: &str, how: &[&str]| {
        let args = [&["run", file.to_str().unwrap(), "--device", device, "--fill", "normal", "--json"], how].concat();
        let json: Value = serde_json::from_str(&ok(&args)).unwrap();
        assert_eq!((&json["wrong"], &json["ok"]), (&0.into(), &true.into()), "{args:?}: {json}");
    };
    let mut ran = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let xml = path.extension().is_some_and(|extension| extension == "xml");
        if !xml || !wgccl(&["check", path.to_str().unwrap()]).status.success() {
            continue;
        }
        run(&path, "cpu", &[]);
        run(&path, "cpu", &["--force-size", "--count", "3"]);
        for device in devices() {
            let index = device.gpu.info().index.to_string();
            for way in device.sound().iter().filter(|way| way.protocol == wgccl::lower::Protocol::Simple) {
                run(&path, &index, &["--dispatch", way.mode.name(), "--protocol", way.protocol.name()]);
                ran += 1;
            }
            // By the protocol of the file, and over what it is not made for.
            run(&path, &index, &[]);
            run(&path, &index, &["--force-size", "--count", "1001"]);
            ran += 2;
        }
    }
    println!("{ran} runs on devices");
}
