//! The cores that work is spread over.
//!
//! Apart from the CPU executor, because several devices of a process share them.

use std::sync::LazyLock;

/// Threads of an executor that is not told how many: one for each core that this process may use. Two threads of one core
/// share its caches and what it gets of the memory, which are what a reduction is limited by.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(of_machine())
}

/// Of the machine, each once, however many threads it runs at a time. Asked once, because Linux answers with a file.
pub(crate) fn of_machine() -> usize {
    // Miri does not let anybody ask.
    static CORES: LazyLock<usize> = LazyLock::new(|| if cfg!(miri) { usize::MAX } else { num_cpus::get_physical() });
    *CORES
}
