//! The program as scripts see it: output, JSON keys, exit codes, and one clear error for everything that can be wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::root;

fn wgccl(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.args(args).env("NO_COLOR", "1").env("RUST_BACKTRACE", "1").output().unwrap()
}

/// As on a machine without any GPU driver.
fn without_drivers(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.args(args).env("WGPU_BACKEND", "vulkan");
    command.env("VK_DRIVER_FILES", "/nonexistent.json").env("VK_ICD_FILENAMES", "/nonexistent.json").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The one JSON value on stdout.
fn json(args: &[&str]) -> Value {
    let output = wgccl(args);
    serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", stdout(&output)))
}

fn gradients() -> Vec<PathBuf> {
    (0..4).map(|r| root().join(format!("assets/gradients/rank{r}.npy"))).collect()
}

/// What `--device` takes on this machine.
fn devices() -> Vec<String> {
    let list = json(&["devices", "--json"])["devices"].clone();
    let index = |device: &Value| device["index"].to_string().trim_matches('"').to_owned();
    list.as_array().unwrap().iter().map(index).collect()
}

#[test]
fn without_arguments_it_runs_the_ring_and_judges_it() {
    for output in [wgccl(&[]), wgccl(&["run"]), wgccl(&["run", "all-reduce", "--device", "cpu"])] {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = stdout(&output);
        for fragment in ["all-reduce by ring", "4 ranks of 256 f32", "device", "bit-exact: 1024 of 1024"] {
            assert!(text.contains(fragment), "'{fragment}' is not in:\n{text}");
        }
        assert!(!text.contains('\x1b'), "colour although this is no terminal");
    }
}

#[test]
fn without_a_driver_it_says_so_in_one_line_and_uses_the_cpu() {
    let output = without_drivers(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.lines().filter(|line| line.contains("no GPU driver found")).count(), 1, "{text}");
    assert!(text.contains("CPU executor") && text.contains("bit-exact"), "{text}");
    assert_eq!(without_drivers(&["run", "--device", "0"]).status.code(), Some(2));
}

/// Nobody looks for a driver where a variable is to blame.
#[test]
fn a_variable_that_hides_devices_is_named() {
    let with = |value: &str, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
        command.args(args).env("WGPU_BACKEND", value).env("NO_COLOR", "1").output().unwrap()
    };
    let said = "WGPU_BACKEND is 'nonsense', which names no backend; give vulkan, metal, dx12 or gl";
    for (args, code) in [
        (&["run"][..], 0),
        (&["run", "--json"], 0),
        (&["bench", "-e", "1K", "-n", "1"], 0),
        (&["devices"], 0),
        (&["devices", "--json"], 0),
        (&["run", "--device", "0"], 2),
        (&["check", "--algorithm", "auto", "--device", "0"], 2),
    ] {
        let output = with("nonsense", args);
        let text = stdout(&output) + &stderr(&output);
        assert_eq!((output.status.code(), text.contains(said)), (Some(code), true), "{args:?}: {text}");
    }
    let text = stderr(&with("dx12, Metal", &["run", "--device", "0"]));
    assert!(text.contains("WGPU_BACKEND is 'dx12, Metal', so others are not looked for"), "{text}");
    let text = stderr(&with("x\u{1b}[31m", &["run", "--device", "0"]));
    assert!(text.contains("WGPU_BACKEND is 'x [31m'") && !text.contains('\u{1b}'), "{text:?}");
}

/// Of a terminal that a stranger's file name would act on.
#[test]
fn errors_are_plain_text() {
    let text = stderr(&wgccl(&["run", "--input", "\u{1b}[31m\u{202e}.npy"]));
    assert!(text.contains("cannot read  [31m .npy"), "{text:?}");
}

/// A bar needs a thread, and nothing else that small does. No machine has a stack as large as this one.
#[test]
fn where_no_thread_can_start_there_is_no_bar() {
    for args in [
        "run --device cpu --json",
        "run --device cpu",
        "check --json",
        "layout --json",
        "bench --device cpu -e 1K -n 2 --json",
        "bench --device cpu -e 32K -n 2",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
        command.args(args.split(' ')).env("RUST_MIN_STACK", (1_u64 << 62).to_string());
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""), "{args}");
        if args.ends_with("--json") {
            let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
            assert_eq!(value["ok"], true, "{args}");
        }
    }
}

/// What is refused for a number alone is refused before gigabytes of schedule are built.
#[cfg(target_os = "linux")]
#[test]
fn refusals_cost_nothing() {
    for (args, fragment) in [
        ("run --ranks 4096 --device cpu", "4096 ranks"),
        ("run --ranks 4096 --device cpu --sync barrier", "4096 ranks"),
        ("run --ranks 4096 --device cpu --algorithm ring-exchange --count 1G", "4096 ranks"),
        ("run all-to-all --ranks 1024 --device cpu --algorithm ring --count 64G", "smaller count"),
        ("run --ranks 1024 --device cpu --sync barrier --count 0", "0 elements"),
        ("bench --device cpu -P 4096", "4096 ranks"),
        ("bench --device cpu -P 4,2048 --sync barrier", "2048 ranks"),
        ("bench --device cpu -P 1024 --sync barrier -b 1024G -e 1024G", "smaller count"),
        ("bench --device cpu -P 1024 --sync barrier -e 1K -n 0", "-n 1"),
        ("bench --device cpu -P 1024 --sync barrier -o avg -d int32", "avg of i32"),
        ("layout --ranks 4096 --count 0", "0 elements"),
        ("layout --ranks 4096 --count 18446744073709551615", "more than memory"),
        ("layout --ranks 4096 --stride classic", "4096 ranks"),
        ("layout send-recv --ranks 4096 --root 0", "no root"),
        ("show ring --ranks 4096", "more than 1048576 instructions"),
        ("check --ranks 4096 --svg no/such/folder.svg", "more than 1048576 instructions"),
    ] {
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("ulimit -v 1000000; exec \"$0\" {args}"), env!("CARGO_BIN_EXE_wgccl")]);
        let output = sh.env("NO_COLOR", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{args}: {output:?}");
        assert!(stderr(&output).contains(fragment), "{args}: {}", stderr(&output));
    }
}

/// A result that nobody could get is not passed over in silence.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_told_on_stderr() {
    for (args, code, fragment) in [
        ("run --device cpu --json", 1, "cannot write the result: No space left"),
        ("run --device cpu", 1, "cannot write the result"),
        ("check --json", 1, "cannot write the result"),
        ("layout --json", 1, "cannot write the result"),
        ("devices --json", 1, "cannot write the result"),
        ("bench --device cpu -e 1K -n 1 --json", 1, "cannot write the result"),
        ("bench --device cpu -e 1K -n 1", 1, "cannot write the result"),
        ("--help", 1, "cannot write the result"),
        ("run --help", 1, "cannot write the result"),
        ("--version", 1, "cannot write the result"),
        ("run --device cpu --ranks 0 --json", 6, "0 ranks"),
        ("run --no-such-option --json", 6, "--no-such-option"),
    ] {
        let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
        command.args(args.split(' ')).env("NO_COLOR", "1");
        let output = command.stdout(full()).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args}: {text}");
        assert!(text.contains(fragment) && !text.contains("panicked"), "{args}: {text}");
        // With nobody to tell, the code is the same.
        assert_eq!(command.stdout(full()).stderr(full()).status().unwrap().code(), Some(code), "{args}");
    }
}

#[test]
fn json_of_run_has_the_promised_keys() {
    for device in devices() {
        let run = json(&["run", "--device", &device, "--ranks", "3", "--count", "1000", "--fill", "normal", "--json"]);
        for (key, value) in [
            ("collective", "all-reduce".into()),
            ("algorithm", "ring".into()),
            ("ranks", 3.into()),
            ("count", 1000.into()),
            ("type", "f32".into()),
            ("op", "sum".into()),
            ("wrong", 0.into()),
            ("bit_identical", true.into()),
            ("ok", true.into()),
        ] as [(&str, Value); 9]
        {
            assert_eq!(run[key], value, "{device} {key}: {run}");
        }
        assert!(run["max_ulp"].is_number() && run["time_us"].as_f64().unwrap() > 0.0, "{run}");
        assert!(run["dispatches"].is_u64());
        match device.as_str() {
            "cpu" => {
                assert_eq!((&run["device"], &run["backend"]), (&"cpu".into(), &"cpu".into()));
                assert_eq!(run["dispatch"], Value::Null);
            }
            _ => assert!(run["dispatch"].is_string() && run["dispatches"].as_u64().unwrap() > 0, "{run}"),
        }
    }
}

#[test]
fn json_of_devices_lists_what_device_takes() {
    let found = json(&["devices", "--json"]);
    assert_eq!((&found["ok"], found.as_object().unwrap().len()), (&true.into(), 2), "{found}");
    let list = &found["devices"];
    for device in list.as_array().unwrap() {
        for key in ["index", "name", "backend", "type", "driver", "limits", "dispatch_modes", "types"] {
            assert!(!device[key].is_null(), "{key}: {device}");
        }
    }
    assert_eq!(list.as_array().unwrap().last().unwrap()["index"], "cpu");
    for device in list.as_array().unwrap() {
        assert_eq!(device["types"].as_array().unwrap().len(), 12, "{device}");
    }
    for device in list.as_array().unwrap() {
        let ranks = if device["index"] == "cpu" { 1024 } else { 256 };
        assert_eq!(device["limits"]["max_ranks"], ranks, "{device}");
    }
    let processor = &list.as_array().unwrap().last().unwrap()["processor"];
    let mib = processor["stream_bytes"].as_u64().unwrap() >> 20;
    assert!(mib <= 16 && ["copied", "stored"].contains(&processor["further_results"].as_str().unwrap()), "{processor}");
    let text = stdout(&wgccl(&["devices"]));
    let chosen = format!("cpu: {}, ", processor["vendor"].as_str().unwrap());
    assert!(text.contains(&chosen) && text.contains(&format!("results of {mib} MiB and more go past")), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with("cpu") && line.contains(" 1024 ")), "{text}");
    assert!(text.contains("cpu: native f32 f64 i32") && text.contains("emulated f16 bf16 f8e4m3 f8e5m2"), "{text}");
}

#[test]
fn json_of_layout_has_the_known_numbers() {
    for (ranks, classic, compact, percent) in [("2", 128, 16, 87.5), ("4", 384, 96, 75.0), ("8", 896, 448, 50.0)] {
        let layout = |stride| json(&["layout", "--ranks", ranks, "--count", "256", "--stride", stride, "--json"]);
        let (wide, narrow) = (layout("classic"), layout("compact"));
        assert_eq!((&wide["signal_bytes"], &narrow["signal_bytes"]), (&classic.into(), &compact.into()));
        assert_eq!(narrow["signal_bytes_saved_percent"], percent);
        assert_eq!(wide["signal_bytes_saved_percent"], 0.0);
        assert_eq!(wide["signal_stride"], 16);
        let p: u64 = ranks.parse().unwrap();
        assert_eq!(narrow["chunk_elements"], 256 / p);
        assert_eq!(narrow["signal_rows"], 2 * (p - 1));
        // Those of its neighbour, but for the row that only staging needs.
        assert_eq!((&narrow["signals_used"], &wide["signals_used_bytes"]), (&(2 * p - 3).into(), &(8 * p - 12).into()));
        assert_eq!(narrow["exchange_bytes_saved"], 1024 / p);
        assert_eq!(narrow["slot_bytes"], 1024);
        assert_eq!(narrow["window_bytes"], 1024 + compact);
    }
    let exchange = json(&["layout", "--algorithm", "ring-exchange", "--ranks", "2", "--json"]);
    assert_eq!((&exchange["slot_bytes"], &exchange["exchange_bytes_saved"]), (&1536.into(), &0.into()));
    let text = stdout(&wgccl(&["layout", "--ranks", "2"]));
    for region in ["slot[0]", "slot[1]", "signals[0]", "signals[1]", "ring uses 1", "no exchange slot", "87.5 %"] {
        assert!(text.contains(region), "{region} is not in:\n{text}");
    }
}

#[test]
fn check_prints_six_proofs() {
    let check = json(&["check", "--algorithm", "ring-exchange", "--sync", "barrier", "--ranks", "5", "--json"]);
    assert_eq!(check["ok"], true);
    let proofs: Vec<&str> = check["proofs"].as_array().unwrap().iter().map(|p| p["proof"].as_str().unwrap()).collect();
    let all = ["structure", "deadlock-free", "race-free", "result", "bit-identical", "initialised"];
    assert_eq!(proofs, all);
    let text = stdout(&wgccl(&["check", "--in-place"]));
    assert!(all.iter().all(|proof| text.contains(proof)), "{text}");
    for (algorithm, ranks, instructions) in [("ring", 1024, 1024 * 2046), ("recursive-doubling", 4096, 4096 * 12)] {
        let check = json(&["check", "--algorithm", algorithm, "--ranks", &ranks.to_string(), "--json"]);
        assert_eq!((&check["ok"], &check["ranks"]), (&true.into(), &ranks.into()), "{algorithm}");
        assert_eq!(check["instructions"], instructions, "{algorithm}");
        assert!(check["proofs"].as_array().unwrap().iter().all(|proof| proof["verdict"] == "holds"), "{check}");
    }
}

/// What `auto` takes is named, and what is named is taken.
#[test]
fn auto_says_what_it_chose() {
    for (args, algorithm, auto) in [
        ("run --algorithm auto --device cpu", "direct", true),
        ("run --algorithm auto --device cpu --type f16", "direct", true),
        ("run --algorithm auto --device cpu --type f64", "direct", true),
        ("run --algorithm auto --device cpu --ranks 3", "direct", true),
        ("run --algorithm auto --device cpu --ranks 200 --count 1K", "tree", true),
        ("run --algorithm auto --device cpu --count 1M --in-place", "direct", true),
        ("run all-gather --algorithm auto --device cpu", "mesh", true),
        ("run barrier --algorithm auto --device cpu", "mesh", true),
        ("run --algorithm tree --device cpu", "tree", false),
        ("run --device cpu", "ring", false),
        ("check --algorithm auto --device cpu", "direct", true),
        ("check --algorithm auto --device cpu --count 1M", "direct", true),
        ("check --algorithm auto --device cpu --count 257", "direct", true),
        ("check --algorithm auto --device cpu --ranks 1024 --type f64", "tree", true),
        ("check barrier --algorithm auto", "mesh", true),
        ("check", "ring", false),
        ("layout --algorithm auto --device cpu", "direct", true),
        ("layout --algorithm auto --device cpu --count 1M", "direct", true),
        ("layout", "ring", false),
    ] {
        let mut all: Vec<&str> = args.split(' ').collect();
        let text = stdout(&wgccl(&all));
        let line = text.lines().find(|line| line.contains(" by ")).unwrap_or_default();
        let shown = if auto { format!("by {algorithm} (auto") } else { format!("by {algorithm}") };
        assert!(line.contains(&shown) && line.contains("auto") == auto, "{args}: {text}");
        all.push("--json");
        let json = json(&all);
        assert_eq!(json["origin"], "builtin", "{args}");
        assert_eq!((&json["algorithm"], &json["algorithm_auto"]), (&algorithm.into(), &auto.into()), "{args}");
        assert_eq!(json["ok"], true, "{args}: {json}");
    }
    for device in devices() {
        let args = ["--algorithm", "auto", "--device", &device, "--count", "2000", "--json"];
        let chosen = |command: &str| json(&[&[command][..], &args[..]].concat())["algorithm"].clone();
        assert_eq!((chosen("run"), chosen("check")), (chosen("layout"), "direct".into()), "{device}");
    }
    assert_eq!(wgccl(&["check", "--algorithm", "auto", "--device", "nonesuch"]).status.code(), Some(2));
    assert!(stdout(&wgccl(&["run", "--help"])).contains("Algorithm, or auto"));
}

/// The acceptance of the whole path: a real input, the same bytes from every device.
#[test]
fn gradients_come_out_alike_on_every_device() {
    let dir = tempfile::tempdir().unwrap();
    let files = gradients();
    let mut expected: Option<Vec<u8>> = None;
    for device in devices() {
        for mode in ["out of place", "in place"] {
            let out = dir.path().join(format!("{device} {mode}"));
            let mut args =
                vec!["run", "--device", &device, "--op", "sum", "--output", out.to_str().unwrap(), "--input"];
            args.extend(files.iter().map(|file| file.to_str().unwrap()));
            if mode == "in place" {
                args.push("--in-place");
            }
            let output = wgccl(&args);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            for rank in 0..4 {
                let bytes = std::fs::read(out.join(format!("rank{rank}.npy"))).unwrap();
                assert_eq!(&bytes, expected.get_or_insert(bytes.clone()), "{device} {mode} rank {rank}");
            }
        }
    }
    // The ring adds chunk c as ((x[c+1] + x[c+2]) + x[c+3]) + x[c]; these bits were computed so with numpy.
    let bytes = expected.unwrap();
    let first: Vec<u32> =
        bytes[bytes.len() - 4 * 2410..].chunks(4).take(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(first, [0x3e01_f351, 0xbc65_8c6e, 0x3d86_2287, 0xbda4_bd6c]);
}

/// Every collective from files to files: who gives, who gets, and how much.
#[test]
fn files_go_through_every_collective() {
    let files = Files { dir: tempfile::tempdir().unwrap() };
    let npy = |rank: u32| {
        let data: Vec<u8> = (0..6).flat_map(|i| (100.0 * rank as f32 + i as f32).to_le_bytes()).collect();
        files.npy(&format!("rank{rank}.npy"), "<f4", "(2, 3)", &data)
    };
    let (a, b) = (npy(0), npy(1));
    let both = vec!["--input", &a, &b];
    let root = vec!["--ranks", "2", "--root", "1", "--input", &a];
    for (collective, args, root_arg, lengths, count) in [
        ("all-reduce", &both, None, [Some(6), Some(6)], 6),
        ("all-gather", &both, None, [Some(12), Some(12)], 6),
        ("reduce-scatter", &both, None, [Some(3), Some(3)], 3),
        ("all-to-all", &both, None, [Some(6), Some(6)], 3),
        ("send-recv", &both, None, [Some(6), Some(6)], 6),
        ("reduce", &both, Some("1"), [None, Some(6)], 6),
        ("gather", &both, Some("0"), [Some(12), None], 6),
        ("broadcast", &root, None, [Some(6), Some(6)], 6),
        ("scatter", &root, None, [Some(3), Some(3)], 3),
    ] {
        for in_place in [false, true] {
            if in_place && ["all-to-all", "send-recv"].contains(&collective) {
                continue;
            }
            let out = files.dir.path().join(format!("{collective} {in_place}"));
            let mut all = vec!["run", collective, "--device", "cpu", "--json", "--output", out.to_str().unwrap()];
            all.extend(args);
            root_arg.iter().for_each(|root| all.extend(["--root", root]));
            if in_place {
                all.push("--in-place");
            }
            let run = json(&all);
            assert_eq!((&run["ok"], &run["count"]), (&true.into(), &count.into()), "{run}");
            for (rank, length) in lengths.into_iter().enumerate() {
                let bytes = std::fs::read(out.join(format!("rank{rank}.npy"))).ok();
                let case = format!("{collective}, in place: {in_place}, rank {rank}");
                assert_eq!(bytes.as_ref().map(|bytes| (bytes.len() - 128) / 4), length, "{case}");
                // As long as the input, it has the input's shape.
                let shaped = bytes.map(|bytes| String::from_utf8_lossy(&bytes).contains("'shape': (2, 3), "));
                assert_eq!(shaped, length.map(|length| length == 6), "{case}");
            }
        }
    }
}

#[test]
fn every_collective_runs_is_checked_and_laid_out_by_name() {
    for (collective, fragments) in [
        ("all-gather", ["parts of 256 f32", "bit-exact: 4096 of 4096", "ranks agree"]),
        ("reduce-scatter", ["by mesh", "bit-exact: 1024 of 1024", "rounding"]),
        ("broadcast", ["root 0", "     1  - ", "bit-exact: 1024 of 1024"]),
        ("reduce", ["root 0", "bit-exact: 256 of 256", "rounding"]),
        ("gather", ["root 0", "parts of 256 f32", "bit-exact: 1024 of 1024"]),
        ("scatter", ["root 0", "     1  - ", "bit-exact: 1024 of 1024"]),
        ("all-to-all", ["by mesh", "parts of 256 f32", "bit-exact: 4096 of 4096"]),
        ("send-recv", ["by mesh", "of 256 f32", "bit-exact: 1024 of 1024"]),
        ("barrier", ["4 ranks\n", "proved", "passed: no rank left"]),
    ] {
        for device in devices() {
            let output = wgccl(&["run", collective, "--device", &device]);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            let text = stdout(&output);
            assert!(fragments.iter().all(|fragment| text.contains(fragment)), "{fragments:?} in\n{text}");
        }
        assert_eq!(json(&["check", collective, "--json"])["ok"], true);
        assert_eq!(json(&["layout", collective, "--json"])["collective"], collective);
    }
    assert_eq!(json(&["run", "all-gather", "--device", "cpu", "--json"])["op"], Value::Null);
    for &(collective, algorithms) in &[
        ("all-gather", &["ring", "recursive-doubling"][..]),
        ("reduce-scatter", &["ring", "halving"]),
        ("broadcast", &["ring", "tree"]),
        ("reduce", &["ring", "tree"]),
        ("all-to-all", &["ring"]),
        ("barrier", &["dissemination"]),
    ] {
        for algorithm in algorithms {
            let output = wgccl(&["run", collective, "--algorithm", algorithm, "--device", "cpu"]);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            assert!(stdout(&output).contains(&format!("{collective} by {algorithm}")), "{}", stdout(&output));
            assert_eq!(json(&["check", collective, "--algorithm", algorithm, "--json"])["ok"], true);
        }
    }
    assert_eq!(json(&["run", "reduce", "--root", "2", "--device", "cpu", "--json"])["root"], 2);
}

/// Rank r receives from the r-th of them: outputs are the others' inputs.
#[test]
fn send_recv_has_sources() {
    let args = |command| [command, "send-recv", "--ranks", "3", "--sources", "2,2,0"];
    let files = tempfile::tempdir().unwrap();
    let dir = files.path().to_str().unwrap();
    let run = [&args("run")[..], &["--fill", "pattern", "--count", "1", "--device", "cpu", "--output", dir]].concat();
    let output = wgccl(&run);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).starts_with("send-recv by mesh (neighbor): 3 ranks of 1 f32, from 2,2,0\n"),
        "{}",
        stdout(&output)
    );
    for (rank, value) in [200.0_f32, 200.0, 0.0].into_iter().enumerate() {
        let file = std::fs::read(files.path().join(format!("rank{rank}.npy"))).unwrap();
        assert!(file.ends_with(&value.to_le_bytes()), "rank {rank}");
    }
    let text = stdout(&wgccl(&args("check")));
    assert!(text.starts_with("send-recv by mesh (neighbor): 3 ranks, from 2,2,0, 3 lanes"), "{text}");
    assert_eq!(json(&[&args("check")[..], &["--json"]].concat())["sources"], serde_json::json!([2, 2, 0]));
    let run = [&args("run")[..], &["--device", "cpu", "--json"]].concat();
    assert_eq!(json(&run)["sources"], serde_json::json!([2, 2, 0]));
    assert_eq!(json(&["run", "send-recv", "--device", "cpu", "--json"])["sources"], Value::Null);
}

#[test]
fn a_lost_notify_ends_with_exit_code_4_and_a_report() {
    for device in devices() {
        let barrier = wgccl(&["run", "barrier", "--device", &device, "--drop-notify", "1:0"]);
        assert_eq!(barrier.status.code(), Some(4), "{device}");
        assert!(stderr(&barrier).contains("[row 0][sender 1]"), "{device}: {}", stderr(&barrier));
        let output = wgccl(&["run", "--device", &device, "--drop-notify", "1:2"]);
        assert_eq!(output.status.code(), Some(4), "{device}");
        let text = stderr(&output);
        for fragment in ["did not finish", "cause: rank 2 RS round 3", "[row 2][sender 1]", "rank 1 sent its notify"] {
            assert!(text.contains(fragment), "{device}: '{fragment}' is not in:\n{text}");
        }
        assert!(output.stdout.is_empty(), "{}", stdout(&output));
        assert_eq!(text.matches("did not finish").count(), 1, "{device}: {text}");
        let report = json(&["run", "--device", &device, "--drop-notify", "1:2", "--json"]);
        assert_eq!(report["ok"], false);
        assert_eq!(report["hang"]["waiting"][0]["site"]["rank"], 2);
        assert_eq!(report["hang"]["channels"][0][0], 0);
    }
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn npy(&self, name: &str, dtype: &str, shape: &str, data: &[u8]) -> String {
        let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        while (header.len() + 11) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        self.write(name, &bytes)
    }
}

/// Arguments, exit code, and what the error must say.
type Case = (Vec<String>, i32, Vec<&'static str>);

fn mistakes(files: &Files) -> Vec<Case> {
    let four = files.npy("four.npy", "<f4", "(4,)", &[0; 16]);
    let three = files.npy("three.npy", "<f4", "(3,)", &[0; 12]);
    let double = files.npy("double.npy", "<f8", "(4,)", &[0; 32]);
    let short = files.npy("short.npy", "<f4", "(4,)", &[0; 15]);
    let huge = files.npy("huge.npy", "<f4", "(2684354560,)", &[0; 16]);
    let garbage = files.write("garbage.npy", b"this is no array at all");
    let empty = files.write("empty.npy", b"");
    let text = files.write("numbers.txt", b"1 2 3");
    let tensors = files.write("bad.safetensors", &[255; 64]);
    let missing = files.dir.path().join("missing.npy").to_str().unwrap().to_owned();
    let case = |args: &str, code, fragments: &[&'static str]| -> Case {
        (args.split(' ').map(str::to_owned).collect(), code, fragments.to_vec())
    };
    let input = |paths: &[&String], fragments: &[&'static str]| -> Case {
        let mut args = vec!["run".to_owned(), "--device".to_owned(), "cpu".to_owned(), "--input".to_owned()];
        args.extend(paths.iter().map(|path| (*path).clone()));
        (args, 6, fragments.to_vec())
    };
    vec![
        case("run --ranks 0", 6, &["0 ranks", "1 to"]),
        case("run --ranks 5000", 6, &["5000 ranks"]),
        case("run --ranks 1025 --device cpu", 6, &["1025 ranks", "1024"]),
        case("run --ranks -1", 6, &["'-1' for '--ranks <P>'", "give a whole number"]),
        case("bench -b -1", 6, &["'-1' is no size"]),
        case("run --seed 18446744073709551616", 6, &["too large; give at most 18446744073709551615"]),
        case("run --count 0", 6, &["0 elements"]),
        case("run --count 1.5", 6, &["whole number"]),
        case("run --count 17179869184G", 6, &["too large; give at most 18446744073709551615"]),
        case("run --count 1099511627776 --device cpu", 6, &["1099511627776 elements", "smaller count"]),
        case("run --count 4611686018427387904 --device cpu", 6, &["4611686018427387904"]),
        case("run --algorithm trees", 6, &["'trees'", "mesh, ring, ring-staged, ring-exchange"]),
        case("run --algorithm auto --sync barrier --device cpu", 6, &["direct", "leave --sync out"]),
        case("run --algorithm auto --ranks 0", 6, &["0 ranks"]),
        case("run --algorithm recursive-doubling --ranks 6", 6, &["power of two", "4 or 8 ranks", "such as ring"]),
        case(
            "check reduce-scatter --algorithm halving --ranks 3",
            6,
            &["halving needs a power of two", "2 or 4 ranks"],
        ),
        case("run --algorithm tree --sync barrier", 6, &["tree", "barrier", "--sync"]),
        case("run all-gather --op max", 6, &["all-gather reduces nothing", "leave --op out"]),
        case("run barrier --type f64", 6, &["barrier has no payload", "leave --type out"]),
        case("run barrier --channels 2", 6, &["barrier has no payload", "leave --channels out"]),
        case("check barrier --algorithm auto --type f64", 6, &["barrier has no payload", "leave --type out"]),
        case("layout barrier --type f64", 6, &["barrier has no payload", "leave --type out"]),
        case("layout broadcast --root 1", 6, &["all ranks have windows of one layout", "leave --root out"]),
        case("layout send-recv --sources 1,2,3,0", 6, &["of one layout", "leave --sources out"]),
        case("layout --root 1", 6, &["no root", "leave --root out"]),
        case("layout --sources 1,2,3,0", 6, &["only send-recv has sources"]),
        case("run barrier --output zz", 6, &["barrier has no payload", "leave --output out"]),
        case("run --fill pattern --seed 1", 6, &["the pattern has no seed", "leave --seed out"]),
        case("run barrier --seed 1", 6, &["barrier has no payload", "leave --seed out"]),
        case("check --count 5", 6, &["a proof holds for every payload", "leave --count out"]),
        case("check --type f64", 6, &["leave --type out"]),
        case("check --device cpu", 6, &["only matters to --algorithm auto", "leave --device out"]),
        case("layout --device cpu", 6, &["only matters to --algorithm auto", "leave --device out"]),
        case("run --type f8", 6, &["'f8'", "f32, f16"]),
        case("run --op xor", 6, &["'xor'", "sum, prod"]),
        case("run --op avg --type int64", 6, &["avg of i64 is refused", "use sum"]),
        case("run --sync none", 6, &["'none'", "neighbor, barrier"]),
        case("run --dispatch magic", 6, &["'magic'", "per-step", "auto"]),
        case("run ring", 6, &["ring is an algorithm; give it by --algorithm ring"]),
        case("show ringg", 6, &["did you mean ring?", "all-reduce", "dissemination"]),
        case("run --output zz --trace ./zz", 6, &["--output and --trace name one file"]),
        case("bench -J zz --plot zz", 6, &["-J and --plot name one file"]),
        case(
            "bench -J no/such/zz.json -e 1K -n 1 --device cpu",
            6,
            &["cannot write no/such/zz.json: there is no directory no/such;"],
        ),
        case("run --output no/such/..", 6, &["it ends with no name"]),
        case("run --input all-reduce", 6, &["--input has taken all-reduce for a file; put it first"]),
        case("run --input x.npy --tensor a b a", 6, &["--tensor names a twice"]),
        case("run all-to-none", 6, &["'all-to-none'", "all-reduce", "all-to-all"]),
        case("run barrier --algorithm ring", 6, &["no barrier by ring", "choose one of: mesh, dissemination"]),
        case("run broadcast --algorithm ring --sync barrier", 6, &["broadcast by ring", "leave --sync out"]),
        case("run --algorithm mesh", 6, &["no all-reduce by mesh", "ring, ring-staged"]),
        case("run barrier --count 5", 6, &["barrier has no payload", "not 5"]),
        case("run broadcast --root 4", 6, &["root 4 is not a rank", "ranks 0 to 3"]),
        case("run gather --sync barrier", 6, &["leave --sync out"]),
        case("run all-to-all --in-place", 6, &["all-to-all has no form in place"]),
        case("run send-recv --root 0", 6, &["send-recv has no root"]),
        case("run send-recv --sources 1,0,3", 6, &["3 sources for 4 ranks", "one for each rank"]),
        case("check send-recv --ranks 3 --sources 1,0,3", 6, &["rank 2 receives from rank 3", "ranks 0 to 2"]),
        case("layout send-recv --sources 1,x", 6, &["'x'", "--sources"]),
        case("run broadcast --sources 1,0,2,3", 6, &["only send-recv has sources", "leave --sources out"]),
        case("check send-recv --in-place", 6, &["send-recv has no form in place"]),
        case("layout barrier --count 1", 6, &["barrier has no payload"]),
        case("run schedule.xml", 6, &["cannot read schedule.xml"]),
        case("run --root 1", 6, &["no root"]),
        case("run --device nonesuch", 2, &["no device 'nonesuch'", "cpu"]),
        case("run --device 99", 2, &["no device '99'", "cpu"]),
        case("run --device cpu --dispatch fused", 6, &["CPU executor has no dispatch modes"]),
        case("run --device cpu --protocol ll", 6, &["CPU executor has no protocol but simple", "leave --protocol out"]),
        case("run --dispatch fused-ll --protocol simple", 6, &["fused-ll is fused by protocol ll"]),
        case("run --device cpu --channels 0", 6, &["0"]),
        case("run --device cpu --timeout 5", 6, &["CPU executor has no timeout", "leave it out"]),
        case("run --timeout 0", 6, &["--timeout", "seconds above 0"]),
        case("run --device cpu --drop-notify 9:0", 6, &["rank 9", "row 0", "RANK:ROW 0:1 0:2 "]),
        case(
            "run --device cpu --ranks 8 --algorithm tree --drop-notify 0:1",
            6,
            &["rank 0 notifies nobody on signal row 1", "choose one of RANK:ROW 0:0 "],
        ),
        case("run --device cpu --ranks 99 --drop-notify 0:999", 6, &["RANK:ROW 0:1 0:2 ", "0:12 ..."]),
        case(
            "run all-gather --algorithm mesh --device cpu --drop-notify 1:0",
            6,
            &["nobody notifies in", "leave --drop-notify out"],
        ),
        case("run --drop-notify x", 6, &["rank and a signal row"]),
        case("run --no-such-option", 6, &["--no-such-option"]),
        case("no-such-command", 6, &["no-such-command"]),
        case("check --ranks 0", 6, &["0 ranks"]),
        case("check nonsense", 6, &["'nonsense'", "all-reduce"]),
        case("layout --stride classic --ranks 17", 6, &["17 ranks", "compact"]),
        case("layout --count 0", 6, &["0 elements"]),
        case("run --tensor x", 6, &["--input"]),
        input(&[&four, &three], &["four.npy", "three.npy", "4", "3"]),
        (
            format!("run reduce-scatter --device cpu --input {three} {three}").split(' ').map(str::to_owned).collect(),
            6,
            vec!["an input of 3 elements has no equal parts for 2 ranks"],
        ),
        (
            format!("run broadcast --device cpu --input {three}").split(' ').map(str::to_owned).collect(),
            6,
            vec!["the root's alone", "--ranks"],
        ),
        (
            format!("run scatter --ranks 2 --device cpu --input {four} {four}").split(' ').map(str::to_owned).collect(),
            6,
            vec!["only the root has an input"],
        ),
        (
            format!("run barrier --device cpu --input {four}").split(' ').map(str::to_owned).collect(),
            6,
            vec!["nothing to give in"],
        ),
        (
            format!("run all-gather --ranks 3 --device cpu --input {four} {four}")
                .split(' ')
                .map(str::to_owned)
                .collect(),
            6,
            vec!["leave --ranks out"],
        ),
        (
            format!("run --device cpu --type f32 --input {double}").split(' ').map(str::to_owned).collect(),
            6,
            vec!["double.npy holds f64", "--type says f32", "leave --type out"],
        ),
        (
            format!("run --device cpu --seed 3 --input {four}").split(' ').map(str::to_owned).collect(),
            6,
            vec!["inputs come from files", "leave --seed out"],
        ),
        input(&[&four, &double], &["double.npy", "f64"]),
        input(&[&short], &["short.npy"]),
        input(&[&huge], &["huge.npy"]),
        input(&[&garbage], &["garbage.npy"]),
        input(&[&empty], &["empty.npy"]),
        input(&[&text], &["numbers.txt", ".npy"]),
        input(&[&tensors], &["bad.safetensors"]),
        input(&[&missing], &["missing.npy"]),
    ]
}

#[test]
fn every_mistake_gets_one_clear_error() {
    let files = Files { dir: tempfile::tempdir().unwrap() };
    for (args, code, fragments) in mistakes(&files) {
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = wgccl(&args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(output.stdout.is_empty(), "{args:?} printed {}", stdout(&output));
        for fragment in &fragments {
            assert!(text.contains(fragment), "{args:?}: '{fragment}' is not in: {text}");
        }
        assert!(!text.contains("panicked") && !text.contains("backtrace"), "{args:?}: {text}");

        args.push("--json");
        let output = wgccl(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let failure: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(failure["ok"], false, "{args:?}");
        let error = failure["error"].as_str().unwrap();
        assert!(!error.contains("--help"), "{args:?}: {error}");
        assert!(!error.is_empty() && fragments.iter().all(|f| error.contains(f)), "{args:?}: {fragments:?} in {error}");
    }
}

#[test]
fn unusable_output_folders_are_refused_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a file");
    std::fs::write(&file, b"keep me").unwrap();
    for out in [file.clone(), file.join("below")] {
        // Found out before anything is computed: 16 MiB elements of 1024 ranks are more than the machine has.
        let output =
            wgccl(&["run", "--device", "cpu", "--ranks", "1024", "--count", "16M", "--output", out.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
        assert!(stderr(&output).contains("a file is a file; name a directory"), "{}", stderr(&output));
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"keep me");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Neither an input nor what another run wrote is replaced or mixed with.
#[test]
fn outputs_go_to_a_directory_of_their_own() {
    let files = Files { dir: tempfile::tempdir().unwrap() };
    let (dir, out) = (files.dir.path(), files.dir.path().join("out"));
    let input = files.npy("x.npy", "<f4", "(4, 1)", &[1; 16]);
    let run = |args: &[&str], out: &Path| {
        let output = wgccl(&[&["run", "--device", "cpu", "--output", out.to_str().unwrap()], args].concat());
        (output.status.code(), stderr(&output))
    };
    assert_eq!(run(&["--ranks", "4"], &out).0, Some(0));
    let first = std::fs::read(out.join("rank3.npy")).unwrap();
    for (args, out, fragment) in [
        (&["--ranks", "2", "--seed", "9"][..], &*out, "out': it holds rank"),
        (&["reduce"], &*out, "already"),
        (&["--input", &input], dir, "holds the input"),
        (&[], dir, "already"),
    ] {
        let (code, error) = run(args, out);
        assert_eq!(code, Some(6), "{args:?}: {error}");
        assert!(error.contains(fragment) && error.contains("another directory"), "{args:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 4);
    assert_eq!(std::fs::read(out.join("rank3.npy")).unwrap(), first);
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 2);
}

/// The verdict is not lost when what was computed cannot be kept.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_does_not_take_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    for (json, says) in [("", "bit-exact: 262144 of 262144"), (" --json", "\"ok\": false")] {
        let limited = format!(
            "trap '' XFSZ; ulimit -f 64; exec \"$0\" run --device cpu --ranks 2 --count 128K --output \"$1\"{json}"
        );
        let mut sh = Command::new("sh");
        sh.args(["-c", &limited, env!("CARGO_BIN_EXE_wgccl"), dir.path().join("out").to_str().unwrap()]);
        let output = sh.env("NO_COLOR", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
        assert!(stdout(&output).contains(says) && !stdout(&output).contains("written   "), "{}", stdout(&output));
        let error = if json.is_empty() { stderr(&output) } else { stdout(&output) };
        assert!(error.contains("rank0.npy: File too large"), "{error}");
    }
}

#[test]
fn the_type_of_inputs_is_that_of_the_files() {
    let files = Files { dir: tempfile::tempdir().unwrap() };
    for (descr, bytes, name) in
        [("<f8", 8, "f64"), ("|u1", 1, "u8"), ("<V2", 2, "bf16"), ("<f1", 1, "f8e5m2"), ("<f4", 4, "f32")]
    {
        let input = files.npy("x.npy", descr, "(2, 3)", &vec![0; 6 * bytes]);
        let run = json(&["run", "--device", "cpu", "--json", "--input", &input]);
        assert_eq!((&run["ok"], &run["type"]), (&true.into(), &name.into()), "{run}");
    }
}

/// Small words that were wrong once.
#[test]
fn texts_agree_with_their_numbers() {
    let files = Files { dir: tempfile::tempdir().unwrap() };
    let nan = files.npy("nan.npy", "<f4", "(2, 1)", &[255; 8]);
    for (args, says, says_not) in [
        ("run --ranks 1 --device cpu", "1 instruction in", "1 instructions"),
        ("check --ranks 1", "1 rank, 1 lane, 1 instruction\n", "1 ranks"),
        ("layout --ranks 1", "1 rank, 256 f32 in 1 chunk of 256", "1 ranks"),
        ("layout barrier", "4 ranks, no payload\n", "f32"),
        (&format!("run --device cpu --input {nan}"), "none: every finite sum is exact", "every sum"),
        ("run --device cpu", "none: every sum is exact", "with copies"),
        (
            "check --algorithm one-phase-own-first",
            "bit-identical ranks add in different orders",
            "all ranks add in the same",
        ),
        ("check --algorithm one-phase-own-first", "ranks 2, 3 add in another order than rank 0", "rank 2,"),
    ] {
        let text = stdout(&wgccl(&args.split(' ').collect::<Vec<_>>()));
        assert!(text.contains(says) && !text.contains(says_not), "{args}: {text}");
    }
    for device in devices().into_iter().filter(|device| device != "cpu") {
        let text = stdout(&wgccl(&["run", "--device", &device]));
        assert!(text.contains(" us with copies\n") || text.contains(" ms with copies\n"), "{text}");
    }
}

#[test]
fn a_mode_that_is_not_sound_is_refused_when_named() {
    for device in json(&["devices", "--json"])["devices"].as_array().unwrap() {
        let modes = device["dispatch_modes"].as_array().unwrap();
        if device["index"] != "cpu" && !modes.contains(&"fused".into()) {
            let output = wgccl(&["run", "--device", &device["index"].to_string(), "--dispatch", "fused"]);
            assert_eq!(output.status.code(), Some(6));
            assert!(stderr(&output).contains("fused with protocol simple is refused"), "{}", stderr(&output));
        }
    }
}

#[test]
fn nan_and_infinity_are_data() {
    let files = Files { dir: tempfile::tempdir().unwrap() };
    let data: Vec<u8> =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let (a, b) = (files.npy("a.npy", "<f4", "(4,)", &data), files.npy("b.npy", "<f4", "(2, 2)", &data));
    for device in devices() {
        let run = json(&["run", "--device", &device, "--input", &a, &b, "--json"]);
        assert_eq!((&run["ok"], &run["ranks"], &run["count"]), (&true.into(), &2.into(), &4.into()), "{run}");
    }
}

/// A number of ranks is no reason to end in an allocation: these would take terabytes.
#[cfg(target_os = "linux")]
#[test]
fn a_barrier_of_too_many_ranks_is_refused_before_it_is_built() {
    for command in ["check", "layout"] {
        let limited = format!("ulimit -v 3000000; exec \"$0\" {command} --ranks 4096 --sync barrier --json");
        let output = Command::new("sh").args(["-c", &limited, env!("CARGO_BIN_EXE_wgccl")]).output().unwrap();
        let printed: Value =
            serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!((output.status.code(), &printed["ok"]), (Some(6), &false.into()));
        let error = printed["error"].as_str().unwrap();
        assert!(error.contains("use up to 323 ranks, or leave --sync out"), "{error}");
    }
}

/// Near the end of all numbers nothing begins again at 0.
#[test]
fn counts_beyond_all_memory_are_refused() {
    for count in ["18446744073709551615", "9223372036854775807", "4611686018427387904", "17179869183G"] {
        for collective in ["broadcast", "all-reduce", "scatter"] {
            for args in [&["layout"][..], &["run", "--device", "cpu"]] {
                let output = wgccl(&[args, &[collective, "--count", count]].concat());
                assert_eq!(output.status.code(), Some(6), "{args:?} {collective} {count}: {}", stdout(&output));
            }
        }
    }
}
