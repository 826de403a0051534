//! Several devices at the command line: the CPU executor twice, which every machine has.

use std::process::{Command, Output};

use serde_json::Value;

fn wgccl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgccl")).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_is_said() {
    for (args, expected) in [
        (
            &["run", "--device", "cpu+cpu", "-P", "8"][..],
            &["0-3 on CPU executor", "4-7 on CPU executor", "0 -> 1: 1792 bytes in 5 messages", "bit-exact"][..],
        ),
        (
            &["run", "--device", "cpu,cpu", "-P", "8", "--algorithm", "auto"],
            &["by hierarchical-one-phase (auto", "0 -> 1: 1024 bytes in 1 message", "bit-exact"],
        ),
        (
            &["run", "all-gather", "--device", "cpu+cpu", "-P", "3", "--place", "0:0,1:1,2:0", "-d", "bf16"],
            &["0,2 on CPU executor", "1 on CPU executor", "bit-exact"],
        ),
        (&["run", "barrier", "--device", "cpu+cpu"], &["passed", "0 -> 1: 0 bytes in"]),
        (&["run", "--device", "cpu+cpu", "--in-place", "--count", "1"], &["bit-exact"]),
        // More seconds than a clock can count.
        (&["run", "--device", "cpu+cpu", "--timeout", "1e19"], &["bit-exact"]),
        (&["bench", "--device", "cpu", "-e", "1K", "-n", "1", "-T", "1e19"], &["# Avg bus bandwidth"]),
        (
            &["layout", "-P", "8", "--place", "0-3:0,4-7:1"],
            &["0-3:0,4-7:1 on 2 devices, 5 epochs; of 256 f32 moves", "1 -> 0: 1792 bytes in 5 messages"],
        ),
        (&["check", "-P", "4", "--place", "0-3:0"], &["0-3:0 on 1 device, 1 epoch;", "nothing from device to device"]),
        (
            &["check", "--algorithm", "hierarchical", "-P", "6", "--place", "0-3:0,4-5:1", "--count", "1000"],
            &["1 -> 0: 4000 bytes in 2 messages", "initialised"],
        ),
        (&["show", "-P", "4", "--place", "0-1:0,2-3:1"], &["RS round 1", "0-1:0,2-3:1 on 2 devices"]),
        (
            &["bench", "--device", "cpu+cpu,cpu", "-b", "4K", "-e", "4K", "-n", "2", "-w", "0"],
            &["CPU executor + CPU executor"],
        ),
    ] {
        let output = wgccl(args);
        let text = text(&output);
        assert!(output.status.success(), "{args:?}: {text}");
        expected.iter().for_each(|expected| assert!(text.contains(expected), "{args:?} lacks {expected}: {text}"));
    }
}

#[test]
fn what_is_refused() {
    for (args, why) in [
        (&["run", "--device", "cpu", "--place", "0-3:0"][..], "join them with +"),
        (&["run", "--device", "cpu+cpu", "--place", "0-3:0,4:2"], "no rank is on device 1"),
        (&["run", "--device", "cpu+cpu", "--place", "0:0,1:1,2:2,3:0"], "--place names 3 devices, and there are 2"),
        (&["run", "--device", "cpu+cpu", "--place", "0-4:0,5:1"], "the placement is of 6 ranks and the schedule of 4"),
        (
            &["run", "--device", "cpu+cpu", "--algorithm", "auto", "--place", "0-4:0,5:1"],
            "the placement is of 6 ranks and the schedule of 4",
        ),
        (&["run", "--device", "cpu+cpu", "--place", "0-3"], "places no ranks"),
        (&["run", "--device", "cpu+cpu", "--dispatch", "per-step"], "leave --dispatch out"),
        (&["run", "--device", "cpu+cpu", "--trace", "never.json"], "has no trace"),
        // Between devices that notify is a message, which would not be lost.
        (
            &["run", "--device", "cpu+cpu", "--drop-notify", "1:2"],
            "in ring of 4 ranks within one device (between devices, messages take the place of notifies); choose one of RANK:ROW 0:2 2:2",
        ),
        (&["layout", "-P", "8", "--place", "0-3:0"], "--place is of 4 ranks, and there are 8"),
        (&["check", "--place", "1-3:0"], "rank 0 is on no device"),
    ] {
        let output = wgccl(args);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(6), "{args:?}: {text}");
        assert!(text.contains(why), "{args:?} does not say '{why}': {text}");
    }
}

#[test]
fn json_has_devices_and_links() {
    let output = wgccl(&["run", "--device", "cpu+cpu", "-P", "4", "--place", "0-2:0,3:1", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["backend"], "several");
    assert_eq!(value["shares"]["devices"][0]["ranks"], serde_json::json!([0, 1, 2]));
    assert_eq!(value["shares"]["links"][0]["bytes"], 1536);
    for command in ["layout", "check", "show"] {
        let output = wgccl(&[command, "-P", "4", "--place", "0-2:0,3:1", "--json"]);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            value["placed"]["links"],
            serde_json::json!([
                {"from": 0, "to": 1, "bytes": 1536, "messages": 4},
                {"from": 1, "to": 0, "bytes": 1536, "messages": 4},
            ]),
            "{command}"
        );
    }
}
