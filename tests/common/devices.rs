//! Devices under test: each absent one is a printed, counted skip, and a failure where `WGCCL_REQUIRE_GPU=1` is set.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use wgccl::gpu::{AdapterInfo, Gpu, Support, open_all};
use wgccl::lower::plan::Mode;

/// The software devices that every test machine can have: name for the summary, backend, and a word of name or driver.
pub(crate) const EXPECTED: [(&str, &str, &str); 3] = [
    ("lavapipe (Vulkan)", "vulkan", "llvmpipe"),
    ("SwiftShader (Vulkan)", "vulkan", "swiftshader"),
    ("llvmpipe (GL)", "gl", "llvmpipe"),
];

/// A device under test.
pub(crate) struct Device {
    /// Its name in the summary.
    pub(crate) name: String,
    /// The open device.
    pub(crate) gpu: Gpu,
}

impl Device {
    /// The modes that may be used on it.
    pub(crate) fn sound_modes(&self) -> Vec<Mode> {
        Mode::ALL.iter().copied().filter(|&mode| self.gpu.info().support(mode) == Support::Sound).collect()
    }
}

fn name(info: &AdapterInfo) -> String {
    let text = format!("{} {}", info.name, info.driver).to_lowercase();
    let known = EXPECTED.iter().find(|(_, backend, word)| info.backend == *backend && text.contains(word));
    known.map_or_else(|| info.title(), |(name, ..)| (*name).to_owned())
}

/// Every device of this machine, opened once.
pub(crate) fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let mut found = Vec::new();
        for opened in open_all() {
            match opened {
                Ok(gpu) => found.push(Device { name: name(gpu.info()), gpu }),
                Err(error) => println!("device skipped: {error}"),
            }
        }
        let missing = missing_from(&found);
        for name in &missing {
            println!("device skipped: {name} is not installed; ./tests/run.sh installs it");
        }
        assert!(!required() || missing.is_empty(), "WGCCL_REQUIRE_GPU=1, but there is no {}", missing.join(", "));
        found
    })
}

/// Whether an absent device is a failure.
pub(crate) fn required() -> bool {
    std::env::var("WGCCL_REQUIRE_GPU").is_ok_and(|value| value == "1")
}

/// Expected devices that are not there.
pub(crate) fn missing_from(found: &[Device]) -> Vec<&'static str> {
    EXPECTED.iter().map(|(name, ..)| *name).filter(|name| !found.iter().any(|device| device.name == *name)).collect()
}

/// Software devices use all cores: two at a time only slow each other down.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
