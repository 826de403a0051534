//! The program over several processes, which `mpirun` starts.

use std::process::{Command, Output};

use serde_json::Value;

fn wgccl(processes: u32, args: &[&str]) -> Output {
    mpirun(&[(processes, args)])
}

/// Of each, so many processes with these arguments.
fn mpirun(programs: &[(u32, &[&str])]) -> Output {
    let mpirun = std::env::var("WGCCL_MPIRUN").unwrap_or_else(|_| "mpirun".to_owned());
    let version = Command::new(&mpirun).arg("--version").output().unwrap_or_else(|error| panic!("{mpirun}: {error}"));
    let mut command = Command::new(mpirun);
    if String::from_utf8_lossy(&version.stdout).contains("Open MPI") {
        command.arg("--oversubscribe").env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
    for (i, (processes, args)) in programs.iter().enumerate() {
        command.args((i > 0).then_some(":")).args(["-n", &processes.to_string()]);
        command.arg(env!("CARGO_BIN_EXE_wgccl")).args(*args);
    }
    command.output().unwrap()
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The program's errors; drivers have others.
fn said(error: &str) -> Vec<&str> {
    error.lines().filter(|line| line.starts_with("error:") && !line.contains("XDG_RUNTIME_DIR")).collect()
}

/// One table, whose rows are checked on every process, with a line for each rank.
#[test]
fn bench_is_told_once() {
    for (processes, args, expected) in [
        (
            4,
            &["bench", "-P", "16", "--device", "cpu", "-b", "1K", "-e", "16K", "-n", "3", "-w", "1"][..],
            &[
                "16 ranks over 4 processes on 1 host",
                "of the slowest process",
                "measuring hierarchical-one-phase and hierarchical-doubling",
            ][..],
        ),
        (
            2,
            &[
                "bench",
                "all-gather",
                "-P",
                "5",
                "--device",
                "cpu",
                "-b",
                "1K",
                "-e",
                "1K",
                "-n",
                "2",
                "--columns",
                "wgccl",
            ],
            &["5 ranks over 2 processes", "roof%", "measuring hierarchical,"],
        ),
        (
            2,
            &[
                "bench",
                "-P",
                "3",
                "--device",
                "cpu",
                "--place",
                "0:1,1:0,2:1",
                "-b",
                "4K",
                "-e",
                "4K",
                "--algorithm",
                "ring",
            ],
            &["3 ranks over 2 processes"],
        ),
        (3, &["bench", "barrier", "-P", "6", "--device", "cpu", "-c", "0"], &["6 ranks over 3 processes", "N/A"]),
    ] {
        let output = wgccl(processes, args);
        let (out, error) = text(&output);
        assert!(output.status.success(), "{args:?}: {out}{error}");
        expected.iter().for_each(|expected| assert!(out.contains(expected), "{args:?} lacks {expected}: {out}"));
        assert_eq!(out.matches("# Using devices").count(), 1, "{out}");
        assert!(out.contains("# Out of bounds values : 0 OK"), "{out}");
        let ranks: Vec<&str> = out.lines().filter(|line| line.starts_with("#  Rank")).collect();
        assert_eq!(ranks.len().to_string(), args[args.iter().position(|&arg| arg == "-P").unwrap() + 1], "{out}");
        let mut pids: Vec<&str> = ranks.iter().filter_map(|line| line.split_whitespace().nth(6)).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), processes as usize, "{out}");
    }
}

#[test]
fn the_record_names_all_processes() {
    let output = wgccl(2, &["bench", "-P", "4", "--device", "cpu", "-b", "1K", "-e", "1K", "-n", "4", "--json"]);
    let (out, error) = text(&output);
    let record: Value = serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}{error}"));
    let text = record.to_string();
    assert_eq!(text.matches("\"pid\":").count(), 2, "{text}");
    assert!(text.contains("\"nwrong\":0"), "{text}");
}

/// Whatever goes wrong, and on which process: one of them says it, and none waits for another.
#[test]
fn an_error_is_told_once() {
    for (processes, args, code, why) in [
        (2, &["bench", "--device", "cpu,cpu"][..], 6, "a process has one device"),
        (3, &["bench", "--place", "0,2:1"], 6, "places no ranks"),
        (2, &["bench", "--device", "cpu", "--card"], 6, "of one process"),
        (3, &["bench", "--device", "cpu", "-P", "2"], 6, "names 2 of 3 processes"),
        (2, &["bench", "--device", "cpu", "-b", "64M", "-e", "64M", "-n", "1000", "-T", "0.2"], 4, "0.2"),
        (2, &["bench", "--device", "99"], 2, "99"),
        (2, &["run", "--device", "cpu+cpu"], 6, "a process has one device"),
        (3, &["run", "--device", "cpu", "-P", "2"], 2, "names 2 of 3 processes"),
        (3, &["run", "--device", "99"], 2, "99"),
        // On the first, or on another one of which the others hear: it has a report, the first an error that quotes it.
        (3, &["run", "--device", "cpu", "-P", "6", "--algorithm", "ring", "--drop-notify", "0:1"], 4, "did not finish"),
        (3, &["run", "--device", "cpu", "-P", "6", "--algorithm", "ring", "--drop-notify", "2:1"], 2, "process 1"),
        (3, &["run", "--device", "cpu", "-P", "6", "--algorithm", "ring", "--drop-notify", "4:1"], 2, "process 2"),
    ] {
        let output = wgccl(processes, args);
        let (out, error) = text(&output);
        assert_eq!(said(&error).len(), 1, "{args:?}: {out}{error}");
        assert!(error.contains(why), "{args:?}: {error}");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
}

/// Only one has no device: the first says which.
#[test]
fn a_process_without_a_device_is_named() {
    for command in ["run", "bench"] {
        let output =
            mpirun(&[(2, &[command, "--device", "cpu", "-P", "6"]), (1, &[command, "--device", "99", "-P", "6"])]);
        let (out, error) = text(&output);
        assert!(
            matches!(said(&error)[..], [said] if said.starts_with("error: process 2 on ") && said.contains("99")),
            "{out}{error}"
        );
        assert_eq!(output.status.code(), Some(2), "{error}");
    }
}
