//! What hands type from other programs, and what people look for first: spellings, repeats, help, completions, colours, quiet.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const COMMANDS: [&str; 11] =
    ["run", "bench", "check", "verify", "show", "lint", "convert", "layout", "devices", "completions", "man"];

fn command(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgccl"));
    command.args(args.split_whitespace()).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("CLICOLOR");
    command
}

fn wgccl(args: &str) -> Output {
    command(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(args: &str) -> Value {
    let output = wgccl(args);
    serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{args}: {error}: {output:?}"))
}

/// A pair of spellings, and what of the output has to be the same: nothing of how long it took.
#[test]
fn one_option_has_one_meaning_in_every_spelling() {
    for (short, long, keys) in [
        (
            "run AllReduce --device CPU -P 3 -d FP16 -o MAX --json",
            "run all-reduce --device cpu --ranks 3 --type f16 --op max --json",
            &["collective", "ranks", "type", "op", "algorithm"][..],
        ),
        (
            "run all_reduce --device Cpu --datatype half --redop SUM --json --algo DIRECT",
            "run --device cpu --type f16 --op sum --json --algorithm direct",
            &["collective", "type", "op", "algorithm"],
        ),
        (
            "run sendrecv --device cpu --dtype bfloat16 --count 1_000 --json",
            "run send-recv --device cpu --type bf16 --count 1000 --json",
            &["collective", "type", "count"],
        ),
        (
            "run bcast --device cpu -r 2 --count 1.5K --in_place --json",
            "run broadcast --device cpu --root 2 --count 1536 --in-place --json",
            &["collective", "root", "count", "in_place"],
        ),
        (
            "run --device cpu --count 1e3 -P 2 -P 5 --json --json",
            "run --device cpu --count 1000 --ranks 5 --json",
            &["count", "ranks"],
        ),
        (
            "check ReduceScatter -P 8 --algorithm HALVING --json",
            "check reduce-scatter --ranks 8 --algorithm halving --json",
            &["collective", "ranks", "algorithm", "instructions"],
        ),
        (
            "layout alltoall -P 3 -d DOUBLE --count 64KiB --stride Classic --json",
            "layout all-to-all --ranks 3 --type f64 --count 65536 --stride classic --json",
            &["collective", "ranks", "type", "count", "signal_stride", "window_bytes"],
        ),
    ] {
        let (short_json, long_json) = (json(short), json(long));
        for key in keys {
            assert!(!long_json[key].is_null(), "{long}: {key} in {long_json}");
            assert_eq!(short_json[key], long_json[key], "{short}: {key}");
        }
    }
}

/// The rows of a sweep by their size, type, operation, root and whose they are.
fn swept(args: &str) -> Vec<String> {
    let record = json(&format!("bench {args} --device cpu -w 0 --json"));
    let rows = record["results"].as_array().unwrap_or_else(|| panic!("{args}: {record}"));
    let of = |row: &Value, key: &str| row[key].to_string().trim_matches('"').to_owned();
    let row = |row: &Value| ["size", "type", "redop", "root", "ranks", "algorithm"].map(|key| of(row, key)).join(" ");
    let iterations = format!("iterations {}", record["config"]["iterations"]);
    rows.iter().map(row).chain([iterations]).collect()
}

#[test]
fn bench_takes_every_spelling_and_the_last_of_repeated_options() {
    for (args, same) in [
        ("all_reduce -b 1K -e 1K -n 2 --ranks 2,3 --type half --op sum", "-b 1K -e 1K -n 2 -P 2,3 -d f16 -o sum"),
        ("-n 7 -n 2 -b 8 -b 1K -e 8 -e 1K -d half -d float -o max -o sum", "-b 1K -e 1K -n 2"),
        ("-b 1K -e 1K --iters 1 --iterations 2 -f 4 -f 2", "-b 1K -e 1K -n 2"),
        ("-b 1024 -e 1_024 --iters 2 --warmup-iters 1 --warmup_iters 0", "-b 1K -e 1K -n 2"),
        ("-b 1e3 -e 1e3 -n 2", "-b 1000 -e 1000 -n 2"),
        ("-b 1KiB -e 1.5KiB -i 512 -n 2 -f 1", "-b 1K -e 1536 -i 512 -n 2"),
        ("-b 1K -e 1K -n 2 -o SUM,Max -d Float,INT32", "-b 1K -e 1K -n 2 -o sum,max -d f32,i32"),
        ("-b 1K -e 1K -n 2 -o ALL -d Float", "-b 1K -e 1K -n 2 -o all -d f32"),
        ("reduce -b 1K -e 1K -n 2 -r All -P 2", "reduce -b 1K -e 1K -n 2 --root all --ranks 2"),
        ("-b 1K -e 1K -n 2 --algo Ring,Halving_Doubling", "-b 1K -e 1K -n 2 --algorithm ring,halving-doubling"),
        ("-b 1K -e 1K -n 2 -S 1 -S 0", "-b 1K -e 1K -n 2"),
    ] {
        assert_eq!(swept(args), swept(same), "{args}");
    }
    // Several devices are several options or one, as before.
    assert_eq!(swept("-b 1K -e 1K -n 1 --device CPU").len(), 3);
}

#[test]
fn what_is_meant_is_said() {
    for (args, fragments) in [
        ("run all-redcue", &["'all-redcue'", "did you mean all-reduce?", "choose one of: all-reduce, all-gather"][..]),
        ("run --algorithm rign", &["did you mean ring?", "dissemination, auto"]),
        ("bench --algorithm ring,dirct", &["'dirct'", "did you mean direct?"]),
        ("check --type f23", &["did you mean f32?", "f16, bf16"]),
        ("run --dispatch fuse", &["did you mean fused?", "fused-ll, auto"]),
        ("run --op xor", &["'xor'", "sum, prod"]),
        ("run --rnaks 4", &["--rnaks", "--ranks"]),
        ("chek", &["chek", "check"]),
        ("run -n 20", &["-n", "'wgccl bench' takes -n"]),
        ("run --iters 20", &["--iters", "'wgccl bench' takes --iters"]),
        ("check --op sum", &["--op", "'wgccl run' and 'wgccl bench' and 'wgccl verify' take --op"]),
        (
            "bench --count 5",
            &["'wgccl run' and 'wgccl check' and 'wgccl show' and 'wgccl convert' and 'wgccl layout' take --count"],
        ),
        ("completions fishy", &["fishy", "fish"]),
        ("man runn", &["'runn'", "run, bench"]),
        ("run --color sometimes", &["sometimes", "auto, always, never"]),
        ("bench --device cpu -b 8 -e 16 -f 1", &["the step leads nowhere"]),
        ("bench -i 64X", &["'64X' is no size"]),
        ("bench -n 1.5", &["whole number"]),
        ("run -P 5000000000", &["too large"]),
        ("bench --compare a.json b.json --compare c.json d.json", &["c.json"]),
    ] {
        let output = wgccl(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(6), "{args}: {text}");
        assert!(fragments.iter().all(|fragment| text.contains(fragment)), "{args}: {fragments:?} in {text}");
    }
    let text = stderr(&wgccl("run --type f8"));
    assert!(!text.contains("did you mean"), "{text}");
}

#[test]
fn help_is_grouped_narrow_and_ends_in_examples() {
    // On a wide terminal, too.
    let lines = |args: &str| {
        let output = command(args).env("COLUMNS", "300").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {}", stderr(&output));
        stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for name in COMMANDS {
        let (long, short) = (lines(&format!("{name} --help")), lines(&format!("{name} -h")));
        for line in long.iter().chain(&short) {
            assert!(line.chars().count() <= 100, "{name}: {line}");
        }
        assert!(short.len() < long.len(), "{name}");
        let at = |word: &str| long.iter().position(|line| line == word);
        let examples = at("Examples:").unwrap_or_else(|| panic!("{name} has no examples"));
        let example = |line: &&String| line.starts_with(&format!("  wgccl {name}"));
        assert!(long[examples..].iter().filter(example).count() >= 2, "{name}: {long:?}");
        assert!(!short.contains(&"Examples:".to_owned()), "{name}");
        // Of the options without a heading there is help alone.
        let start = at("Options:").unwrap();
        let options = long[start + 1..].iter().take_while(|line| line.is_empty() || line.starts_with(' '));
        let names: Vec<&str> = options.map(|line| line.trim()).filter(|line| line.starts_with('-')).collect();
        assert_eq!(names, ["-h, --help"], "{name}");
    }
    for heading in ["Schedule:", "Data:", "Device:", "Files:", "Report:"] {
        assert!(lines("run --help").contains(&heading.to_owned()), "{heading}");
    }
    for heading in ["Sizes:", "Iterations:"] {
        assert!(lines("bench -h").contains(&heading.to_owned()), "{heading}");
    }
    let program = lines("--help").join("\n");
    assert!(COMMANDS.iter().all(|name| program.contains(&format!("\n  {name}  "))), "{program}");
    assert!(program.contains("Exit codes:") && program.contains("--color"), "{program}");
}

/// What an example shows is what the program takes.
#[test]
fn examples_are_command_lines() {
    for name in COMMANDS {
        let text = stdout(&wgccl(&format!("{name} --help")));
        for example in text.lines().filter_map(|line| line.strip_prefix("  wgccl ")) {
            let words = example.split("  ").next().unwrap().split(" > ").next().unwrap();
            let accepted = wgccl_cli::cli::accepts(["wgccl"].into_iter().chain(words.split(' ')).map(Into::into));
            assert!(accepted, "{name}: {words}");
        }
    }
}

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = wgccl(&format!("completions {shell}"));
        let text = stdout(&output);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{shell}");
        for word in COMMANDS.iter().chain(&["ranks", "iters", "quiet"]) {
            assert!(text.contains(word), "{shell} does not know {word}");
        }
        // Those of the other shells complete no values of options.
        if ["bash", "fish", "zsh"].contains(&shell) {
            assert!(["bf16", "recursive-doubling", "per-step"].iter().all(|value| text.contains(value)), "{shell}");
        }
    }
    assert_eq!(stdout(&wgccl("completions BASH")), stdout(&wgccl("completions bash")));
    // Read by the shell itself, where there is one.
    let script = stdout(&wgccl("completions bash"));
    if let Ok(status) = Command::new("bash").args(["-n", "-c", &script]).status() {
        assert!(status.success());
    }
}

#[test]
fn the_manual_has_every_command_and_every_option() {
    let page = stdout(&wgccl("man")).replace('\\', "");
    assert!(page.contains(".TH wgccl 1"), "{page}");
    for name in COMMANDS {
        assert!(page.contains(&format!("wgccl-{name}(1)")), "{name}");
        let page = stdout(&wgccl(&format!("man {name}"))).replace('\\', "");
        assert!(page.contains(&format!(".TH wgccl-{name} 1")), "{name}: {page}");
        let help = stdout(&wgccl(&format!("{name} --help")));
        let long = |line: &str| line.trim().split(' ').find_map(|word| word.strip_prefix("--").map(str::to_owned));
        for option in help.lines().filter(|line| line.trim_start().starts_with('-')).filter_map(long) {
            assert!(page.contains(&format!("--{option}")), "{name}: --{option}");
        }
        assert!(page.contains("Examples:"), "{name}: {page}");
    }
}

/// The option before the variables, of which NO_COLOR is the stronger.
#[test]
fn colours_are_as_they_are_asked_for() {
    for (args, variables, coloured) in [
        ("check", &[][..], false),
        ("check --color always", &[], true),
        ("check --COLOR always", &[], false),
        ("--color=ALWAYS check", &[], true),
        ("check --colour always --color never", &[], false),
        ("check", &[("CLICOLOR_FORCE", "1")], true),
        ("check --color never", &[("CLICOLOR_FORCE", "1")], false),
        ("check", &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        ("check --color always", &[("NO_COLOR", "1")], true),
        ("run --help --color always", &[], true),
        ("run --help", &[], false),
        ("run --type f8 --color always", &[], true),
        ("run --type f8", &[], false),
        ("run --device cpu --ranks 0 --color always", &[], true),
        ("run --device cpu --ranks 0", &[], false),
        ("check --json --color always", &[], false),
    ] {
        let output = command(args).envs(variables.iter().copied()).output().unwrap();
        let text = stdout(&output) + &stderr(&output);
        assert_eq!(text.contains('\u{1b}'), coloured, "{args} {variables:?}: {text:?}");
    }
}

/// As where there is no driver, which is a note.
#[test]
fn quiet_leaves_results_and_errors() {
    for (args, noted, kept) in [
        ("run", &["no GPU driver found", "--algorithm auto takes"][..], "bit-exact: 1024 of 1024"),
        ("devices", &["WGPU_BACKEND is 'vulkan'"], "CPU executor"),
        ("bench -e 1K -n 1", &["# note: no GPU driver found", "# note: no --algorithm"], "# Avg bus bandwidth"),
    ] {
        let with = |extra: &str| {
            let mut command = command(&format!("{args} {extra}"));
            command.env("WGPU_BACKEND", "vulkan").env("VK_DRIVER_FILES", "/nonexistent.json");
            let output = command.env("VK_ICD_FILENAMES", "/nonexistent.json").output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{args} {extra}: {}", stderr(&output));
            stdout(&output)
        };
        let loud = with("");
        assert!(noted.iter().all(|note| loud.contains(note)) && loud.contains(kept), "{args}: {loud}");
        for quiet in ["-q", "--quiet"] {
            let text = with(quiet);
            assert!(!noted.iter().any(|note| text.contains(note)) && text.contains(kept), "{args}: {text}");
        }
    }
    let output = wgccl("run --device cpu --ranks 0 -q");
    assert_eq!((output.status.code(), stderr(&output).contains("0 ranks")), (Some(6), true));
}

#[test]
fn bench_measures_what_auto_takes_and_says_so_and_run_names_it() {
    for (args, note) in [
        ("bench --device cpu -e 1K -n 1", "# note: no --algorithm: measuring direct, which auto takes here\n"),
        ("bench all-gather --device cpu -e 1K -n 1", "measuring mesh, which auto takes"),
        ("bench --device cpu -b 2K -e 4K -f 2 -n 1 -w 0 -P 128", "measuring direct and tree, which auto takes"),
        ("bench --device cpu -e 1K -n 1 --algorithm auto", ""),
        ("bench --device cpu -e 1K -n 1 --sync barrier", ""),
    ] {
        let text = stdout(&wgccl(args));
        assert_eq!(text.matches("no --algorithm").count(), usize::from(!note.is_empty()), "{args}: {text}");
        assert!(text.contains(note), "{args}: {text}");
    }
    assert!(swept("-b 1K -e 1K -n 1")[0].ends_with(" direct"));
    assert!(swept("-b 1K -e 1K -n 1 --sync barrier")[0].ends_with(" ring"));
    for (args, named) in [
        ("run --device cpu", Some("direct")),
        ("run --device cpu -P 200 --count 1K", Some("tree")),
        ("run --device cpu --algorithm ring", None),
        ("run --device cpu --sync barrier", None),
        ("run all-gather --device cpu", None),
        ("run barrier --device cpu", None),
    ] {
        let text = stdout(&wgccl(args));
        let line = named.map(|name| format!("\nfaster    {name} is what --algorithm auto takes here\n"));
        assert_eq!(text.contains("auto takes"), line.is_some(), "{args}: {text}");
        assert!(line.is_none_or(|line| text.contains(&line)), "{args}: {text}");
    }
}

/// Of one name there are two where Mesa has Vulkan and OpenGL.
#[test]
fn which_of_several_devices_was_taken_is_said() {
    let devices = json("devices --json")["devices"].clone();
    let devices = devices.as_array().unwrap();
    for device in devices.iter().filter(|device| device["index"] != "cpu") {
        let name = device["name"].as_str().unwrap();
        let same: Vec<&Value> = devices.iter().filter(|other| other["name"] == name).collect();
        let run = |wanted: &str| {
            let mut command = command("run --device");
            stdout(&command.arg(wanted).output().unwrap())
        };
        let text = run(name);
        assert_eq!(text.contains("names several"), same.len() > 1, "{name}: {text}");
        if same.len() > 1 {
            let [first, second] = [same[0], same[1]].map(|device| format!("{} {name}", device["index"]));
            let line = text.lines().next().unwrap();
            assert!(line.contains(&format!("took {first}")) && line.contains(&format!("not {second}")), "{line}");
            assert!(!run(&device["index"].to_string()).contains("names several"));
        }
    }
}

/// A `.npy` file of float32.
fn npy(dir: &Path, name: &str, shape: &str, elements: usize) -> String {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + 4 * elements, 0);
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn ranks_beside_inputs_may_agree_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let (flat, rows) = (npy(dir.path(), "flat.npy", "(4,)", 4), npy(dir.path(), "rows.npy", "(3, 4)", 12));
    let tall = npy(dir.path(), "tall.npy", "(1025, 2)", 2050);
    for (args, files, ranks, refused) in [
        ("-P 2", vec![&flat, &flat], 2, ""),
        ("--ranks 3", vec![&rows], 3, ""),
        ("", vec![&rows], 3, ""),
        ("--ranks 1", vec![&flat], 1, ""),
        ("--ranks 3", vec![&flat, &flat], 0, "--ranks says 3, and the 2 inputs are 2 ranks; leave --ranks out"),
        ("", vec![&tall], 0, "tall.npy, which is 1025 long, was taken as ranks: give a file for each rank"),
        ("--ranks 2", vec![&rows], 0, "first axis of the input is 3 ranks; leave --ranks out"),
    ] {
        let mut command = command(&format!("run --device cpu --json {args} --input"));
        let output = command.args(&files).output().unwrap();
        let run: Value = serde_json::from_str(&stdout(&output)).unwrap();
        match refused {
            "" => assert_eq!((&run["ok"], &run["ranks"]), (&true.into(), &ranks.into()), "{args}: {run}"),
            why => {
                assert_eq!(output.status.code(), Some(6), "{args}: {run}");
                assert!(run["error"].as_str().unwrap().contains(why), "{args}: {run}");
            }
        }
    }
}

/// One line, and the signal is what a shell sees.
#[cfg(unix)]
#[test]
fn a_signal_says_what_was_kept() {
    use std::os::unix::process::ExitStatusExt;

    // A run of some seconds: it must not be over by then.
    for (args, after, said) in [
        ("bench --device cpu -b 1K -e 1K -n 20000 -N 0", 1500, "with -J FILE a record keeps them\n"),
        ("bench --device cpu -b 1K -e 1K -n 20000 -N 1000 -J r.json", 1500, "interrupted: r.json keeps "),
        ("run --device cpu --ranks 64 --count 2M", 700, "interrupted before there was a result: nothing is kept\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut started = command(args);
        started.current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = started.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(after));
        let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(kill.unwrap().success(), "{args}");
        let output = child.wait_with_output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.signal(), Some(15), "{args}: {text}");
        assert!(text.starts_with("interrupted") && text.contains(said), "{args}: {text}");
        assert_eq!(text.lines().count(), 1, "{args}: {text}");
        if args.contains("-J") {
            let record: Value = serde_json::from_slice(&std::fs::read(dir.path().join("r.json")).unwrap()).unwrap();
            let rows = record["results"].as_array().unwrap().len();
            // A signal at the moment in which a row is written finds it not yet counted.
            let said = [rows, rows - 1].map(|rows| format!("keeps {rows} row"));
            assert!(said.iter().any(|said| text.contains(said)), "{rows}: {text}");
        }
    }
}
