//! Devices under test: each absent one is a printed, counted skip, and a failure where `WGCCL_REQUIRE_GPU=1` is set. With
//! `WGCCL_REQUIRE_GPU=any`, for systems that have others, it is a failure to have none at all.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use wgccl::backend::{Backend, Options, Ran, Ready, Shape};
use wgccl::collective::Op;
use wgccl::element::Element;
use wgccl::error::{PrepareError, RunError};
use wgccl::gpu::{AdapterInfo, Executor, Gpu, open_all};
use wgccl::lower::{Mode, Protocol};
use wgccl::proof::Proved;

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

/// A dispatch mode by a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) mode: Mode,
    pub(crate) protocol: Protocol,
}

impl Way {
    /// The data carries its own flag.
    pub(crate) const LL: Self = Self { mode: Mode::Fused, protocol: Protocol::Ll };

    /// By signals.
    pub(crate) fn simple(mode: Mode) -> Self {
        Self { mode, protocol: Protocol::Simple }
    }

    /// All, sound or not.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let protocols = |&mode: &Mode| Protocol::ALL.iter().map(move |&protocol| Self { mode, protocol });
        Mode::ALL.iter().flat_map(protocols)
    }

    pub(crate) fn options(self) -> Options {
        Options::default().dispatch(self.mode).protocol(self.protocol)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.mode, self.protocol)
    }
}

impl Device {
    /// What may be used on it.
    pub(crate) fn sound(&self) -> Vec<Way> {
        Way::all().filter(|way| self.gpu.info().support(way.mode, way.protocol).is_ok()).collect()
    }
}

/// An executor over elements instead of bytes.
pub(crate) struct Typed<T> {
    pub(crate) executor: Executor,
    element: PhantomData<T>,
}

impl<T: Element> Typed<T> {
    pub(crate) fn new(
        gpu: &Gpu,
        proved: &Proved,
        count: usize,
        op: Op,
        options: Options,
    ) -> Result<Self, PrepareError> {
        let executor = gpu.prepare(proved, Shape::new(count, T::TYPE, op), &options)?;
        Ok(Self { executor, element: PhantomData })
    }

    pub(crate) fn run(&mut self, inputs: &[&[T]], outputs: &mut [&mut [T]]) -> Result<Ran, RunError> {
        self.executor.run(&bytes(inputs), &mut bytes_mut(outputs))
    }

    pub(crate) fn run_in_place(&mut self, buffers: &mut [&mut [T]]) -> Result<Ran, RunError> {
        self.executor.run_in_place(&mut bytes_mut(buffers))
    }

    pub(crate) fn load(&mut self, inputs: &[&[T]]) -> Result<(), RunError> {
        self.executor.load(0, &bytes(inputs))
    }

    pub(crate) fn fetch(&mut self, outputs: &mut [&mut [T]]) -> Result<(), RunError> {
        self.executor.fetch(&mut bytes_mut(outputs))
    }
}

fn bytes<'a, T: Element>(slices: &[&'a [T]]) -> Vec<&'a [u8]> {
    slices.iter().map(|slice| bytemuck::cast_slice(slice)).collect()
}

fn bytes_mut<'a, T: Element>(slices: &'a mut [&mut [T]]) -> Vec<&'a mut [u8]> {
    slices.iter_mut().map(|slice| bytemuck::cast_slice_mut(slice)).collect()
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
        let any = std::env::var("WGCCL_REQUIRE_GPU").is_ok_and(|value| value == "any");
        assert!(!any || !found.is_empty(), "WGCCL_REQUIRE_GPU=any, but no device opens");
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
