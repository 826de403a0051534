//! The summary that `tests/run.sh` ends with: which devices the suite has run on.

#[test]
fn summary() {
    let devices = crate::common::devices::devices();
    let names: Vec<&str> = std::iter::once("CPU").chain(devices.iter().map(|device| device.name.as_str())).collect();
    println!("devices tested: {}", names.join(", "));
    println!("devices skipped: {}", crate::common::devices::missing_from(devices).len());
}
