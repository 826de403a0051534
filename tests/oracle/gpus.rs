//! The GPUs of this machine as the oracle's devices.
//!
//! Apart, because the library without its feature `gpu` has none.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use wgccl::backend::{Backend, Ready};
use wgccl::gpu::Gpu;
use wgccl::low_level::lower::Kernel;
use wgccl::lower::{Mode, Protocol};

use super::oracle::launch::Device;

/// Of a device's time, the part that compiling may take, in percent. A kernel takes as long as hundreds of launches.
const COMPILING: u64 = 40;

/// `gpu` as a device of the oracle.
pub(crate) fn device(gpu: Gpu) -> Device {
    let info = gpu.info();
    let all = Mode::ALL.iter().flat_map(|&mode| Protocol::ALL.iter().map(move |&protocol| (mode, protocol)));
    let ways = all.filter(|&(mode, protocol)| info.support(mode, protocol).is_ok()).collect();
    let name = info.title();
    let (known, compiling, opened) = (Mutex::new(HashSet::<Kernel>::new()), AtomicU64::new(0), Instant::now());
    let prepare = move |proved: &_, shape, options: &_, must: bool| {
        let made = |made: Result<_, _>| made.map(|ready| Box::new(ready) as Box<dyn Ready>);
        let package = match gpu.lower(proved, shape, options) {
            Ok(package) => package,
            Err(error) => return Some(Err(error)),
        };
        let is_new = !known.lock().expect("nobody panics with it").contains(&package.kernel);
        let spent = compiling.load(Ordering::Relaxed);
        // The first few seconds are for compiling.
        if is_new && !must && spent > 3000 + opened.elapsed().as_millis() as u64 * COMPILING / 100 {
            return None;
        }
        let start = Instant::now();
        let ready = made(gpu.prepare(proved, shape, options));
        if is_new {
            known.lock().expect("nobody panics with it").insert(package.kernel);
            compiling.fetch_add(start.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
        Some(ready)
    };
    Device { name, ways, prepare: Box::new(prepare) }
}
