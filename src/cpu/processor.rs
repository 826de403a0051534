//! What the processor is, and what is chosen for it: how results are stored, and from which size on past the caches.
//!
//! Choices are in a table by vendor, each with what was measured; only a cache's size is asked of the processor.

use std::sync::LazyLock;

use serde::Serialize;

use crate::backend::FurtherResults;
use crate::cores::of_machine;

/// Results of as many bytes go past any cache, however large: they do not stay there until somebody reads them.
const MOST_CACHED_BYTES: u64 = 16 << 20;

/// A processor and what is chosen for it. Every executor of this process uses the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Processor {
    /// As it calls itself: "GenuineIntel", "AuthenticAMD"; elsewhere the architecture.
    pub vendor: String,
    /// Of the machine, each once, however many threads it runs at a time.
    pub cores: usize,
    /// The widest vectors that are used: "AVX2", or those that every processor of the architecture has.
    pub vectors: &'static str,
    /// Of the last cache that its cores share; none where it does not say.
    pub cache_bytes: Option<u64>,
    /// How the second and further results of a sum are made.
    pub further_results: FurtherResults,
    /// From this many bytes on, of all ranks' inputs or of all ranks' outputs, whichever are more, results are written past the
    /// caches: with the inputs they do not stay there.
    pub stream_bytes: u64,
}

/// By vendor. `cargo bench --bench cpu -- choices` measures both on the processor that it runs on.
fn further_results(vendor: &str) -> FurtherResults {
    match vendor {
        // Measured on a Xeon with AVX-512.
        "GenuineIntel" => FurtherResults::Copied,
        // Measured on EPYCs of the families 17h and 19h: 4 ranks of 1 MiB take 1.25 times as long by copies.
        "AuthenticAMD" => FurtherResults::Stored,
        // Not measured: what needs no special instruction.
        _ => FurtherResults::Stored,
    }
}

impl Processor {
    /// The one that this runs on. Asked once, which takes tens of microseconds in a virtual machine.
    pub fn here() -> &'static Self {
        static HERE: LazyLock<Processor> = LazyLock::new(|| Processor::of(vendor(), of_machine(), cache_bytes()));
        &HERE
    }

    fn of(vendor: String, cores: usize, cache_bytes: Option<u64>) -> Self {
        // Inputs are as large as results, and hold the cache if these leave it alone.
        let stream_bytes = cache_bytes.map_or(MOST_CACHED_BYTES, |bytes| (bytes / 2).min(MOST_CACHED_BYTES));
        let further_results = further_results(&vendor);
        Self { vendor, cores, vectors: vectors(), cache_bytes, further_results, stream_bytes }
    }
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if std::is_x86_feature_detected!("avx2") { "AVX2" } else { "SSE2" }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    "of the architecture"
}

// Miri knows no `cpuid`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use std::arch::x86_64::{__cpuid_count, CpuidResult};

    fn cpuid(leaf: u32, sub: u32) -> CpuidResult {
        // SAFETY: every x86-64 processor has the instruction. Newer compilers know, the oldest that we build with does not.
        #[allow(unused_unsafe)]
        unsafe {
            __cpuid_count(leaf, sub)
        }
    }

    pub(super) fn vendor() -> String {
        let vendor = cpuid(0, 0);
        let bytes = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        String::from_utf8_lossy(bytes.as_flattened()).into_owned()
    }

    /// By Intel's leaf 4 or AMD's of the same form.
    pub(super) fn cache_bytes() -> Option<u64> {
        let leaf = if vendor() == "AuthenticAMD" { 0x8000_001d } else { 4 };
        if cpuid(leaf & 0x8000_0000, 0).eax < leaf {
            return None;
        }
        let caches = (0..16).map(|sub| cpuid(leaf, sub)).take_while(|cache| cache.eax & 0x1f != 0);
        let last = caches.max_by_key(|cache| cache.eax >> 5 & 7)?;
        let field = |bits: u32, from: u32, count: u32| u64::from(bits >> from & ((1 << count) - 1)) + 1;
        let ways_and_line = field(last.ebx, 22, 10) * field(last.ebx, 12, 10) * field(last.ebx, 0, 12);
        Some(ways_and_line * (u64::from(last.ecx) + 1))
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
use x86::{cache_bytes, vendor};

#[cfg(any(not(target_arch = "x86_64"), miri))]
fn vendor() -> String {
    std::env::consts::ARCH.to_owned()
}

/// As Linux says it; other systems are not asked.
#[cfg(any(not(target_arch = "x86_64"), miri))]
fn cache_bytes() -> Option<u64> {
    if cfg!(miri) || !cfg!(target_os = "linux") {
        return None;
    }
    let read = |index: u32, what| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}")).ok()
    };
    let size = |index| Some((read(index, "level")?.trim().parse::<u32>().ok()?, bytes(&read(index, "size")?)?));
    (0..8).map_while(size).max_by_key(|(level, _)| *level).map(|(_, bytes)| bytes)
}

/// "16384K".
#[cfg(any(not(target_arch = "x86_64"), miri))]
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = |unit, by: u64| text.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok()?.checked_mul(by));
    unit('K', 1 << 10).or_else(|| unit('M', 1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_follow_vendor_and_cache() {
        const MIB: u64 = 1 << 20;
        for (vendor, cache, further, stream) in [
            ("GenuineIntel", Some(36 * MIB), FurtherResults::Copied, 16 * MIB),
            ("AuthenticAMD", Some(16 * MIB), FurtherResults::Stored, 8 * MIB),
            ("AuthenticAMD", Some(4 * MIB), FurtherResults::Stored, 2 * MIB),
            ("aarch64", None, FurtherResults::Stored, 16 * MIB),
        ] {
            let processor = Processor::of(vendor.to_owned(), 1, cache);
            assert_eq!((processor.further_results, processor.stream_bytes), (further, stream), "{vendor} {cache:?}");
        }
    }

    /// Of a real machine: what is asked of the processor is a cache's size and not another number of the same leaf.
    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
    fn the_cache_is_as_large_as_the_system_says() {
        let read = |index: u32, what| {
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}")).ok()
        };
        let last = (0..8).filter_map(|index| Some((read(index, "level")?, read(index, "size")?))).max();
        // Old processors do not say.
        let Some(((level, size), bytes)) = last.zip(cache_bytes()) else { return };
        assert_eq!(format!("{}K\n", bytes >> 10), size, "level {level}");
    }
}
