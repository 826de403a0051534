//! Every example does what it says: each checks its own result, and fails where it is not as promised.
//!
//! On software adapters under test alone, where no driver is an example has nothing to show.

use std::path::PathBuf;
use std::process::Command;

use crate::common::devices::{devices, one_at_a_time};

/// Where cargo has put it: it builds all examples before it runs tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

#[test]
fn examples_do_what_they_say() {
    let _turn = one_at_a_time();
    if devices().is_empty() {
        println!("skipped: there is no device");
        return;
    }
    for (name, says) in [
        ("all_reduce", "every rank has [1111.0, 2222.0]"),
        ("asynchronous", "both collectives have finished"),
        ("custom_schedule", "agree in every bit"),
        ("sgd", "replicas are equal in every bit"),
    ] {
        let path = example(name);
        assert!(path.exists(), "{} is not built; a plain cargo test builds it", path.display());
        let output = Command::new(path).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stdout.contains(says), "{name}:\n{stdout}\n{stderr}");
    }
}
