//! Devices under test: each absent one is a printed, counted skip, and a failure where `WGCCL_REQUIRE_GPU=1` is set.

#![allow(dead_code)]

use std::sync::OnceLock;

use wgccl::gpu::{Adapter, Gpu, adapters};

/// The software devices that every test machine can have: name for the summary, backend, and a word of name or driver.
const EXPECTED: [(&str, &str, &str); 3] =
    [("lavapipe", "vulkan", "llvmpipe"), ("SwiftShader", "vulkan", "swiftshader"), ("llvmpipe GL", "gl", "llvmpipe")];

/// A device under test.
pub struct Device {
    /// Its name in the summary.
    pub name: String,
    /// The index that `--device` takes.
    pub index: usize,
    /// The open device.
    pub gpu: Gpu,
}

fn name(adapter: &Adapter) -> String {
    let info = adapter.info();
    let text = format!("{} {}", info.name, info.driver).to_lowercase();
    let known = EXPECTED.iter().find(|(_, backend, word)| info.backend == *backend && text.contains(word));
    known.map_or_else(|| info.title(), |(name, ..)| (*name).to_owned())
}

/// Every device of this machine, opened once. Prints what is tested and what is skipped.
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let found: Vec<Device> = adapters()
            .iter()
            .map(|adapter| Device {
                name: name(adapter),
                index: adapter.info().index,
                gpu: Gpu::open(adapter).unwrap(),
            })
            .collect();
        for device in &found {
            println!("device tested: {} [{}]", device.name, device.gpu.info().title());
        }
        let missing: Vec<&str> = EXPECTED
            .iter()
            .map(|(name, ..)| *name)
            .filter(|name| !found.iter().any(|device| device.name == *name))
            .collect();
        for name in &missing {
            println!("device skipped: {name} is not installed; ./tests/run.sh installs it");
        }
        let required = std::env::var("WGCCL_REQUIRE_GPU").is_ok_and(|value| value == "1");
        assert!(!required || missing.is_empty(), "WGCCL_REQUIRE_GPU=1, but there is no {}", missing.join(", "));
        found
    })
}
