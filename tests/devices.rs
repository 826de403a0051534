//! The summary that `tests/run.sh` ends with: which devices the suite has run on.

#![cfg(feature = "gpu")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

#[test]
fn summary() {
    let devices = common::devices::devices();
    let names: Vec<&str> = std::iter::once("CPU").chain(devices.iter().map(|device| device.name.as_str())).collect();
    println!("devices tested: {}", names.join(", "));
    println!("devices skipped: {}", common::devices::missing_from(devices).len());
}
