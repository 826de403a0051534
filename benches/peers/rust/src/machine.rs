//! What a stranger must know of the machine and of the versions to make sense of a record.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    /// Of the CPU, as many as this process may use.
    pub threads: usize,
    pub memory_gib: Option<u64>,
    pub os: String,
    /// `always`, `madvise` or `never`: decides what touching fresh memory costs.
    pub transparent_huge_pages: Option<String>,
}

impl Machine {
    pub fn this() -> Self {
        let os = field("/etc/os-release", "PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned());
        let kib = field("/proc/meminfo", "MemTotal:").and_then(|total| total.split(' ').next()?.parse::<u64>().ok());
        let pages = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok();
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            threads: threads(),
            memory_gib: kib.map(|kib| (kib + (1 << 19)) >> 20),
            os: os.unwrap_or_else(|| std::env::consts::OS.to_owned()),
            transparent_huge_pages: pages.and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())),
        }
    }
}

pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What follows `name`, and a colon if there is one, in the first line of a file that begins with it.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim_start().trim_start_matches(':').trim().to_owned())
}

/// Versions that were compiled in, and that of the compiler.
pub fn versions() -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for name in ["wgccl", "wgpu", "rayon"] {
        versions.extend(locked(include_str!("../Cargo.lock"), name));
    }
    if let Some(wgccl) = versions.get_mut("wgccl") {
        // A number alone does not say which state of a repository was measured.
        let commit = first_line(Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]));
        commit.into_iter().for_each(|commit| wgccl.push_str(&format!(" ({commit})")));
    }
    let rustc = first_line(Command::new("rustc").arg("--version"));
    versions.extend(rustc.map(|version| ("rustc".to_owned(), version.trim_start_matches("rustc ").to_owned())));
    versions
}

/// Of the package that measures burn-collective.
pub fn burn_versions() -> BTreeMap<String, String> {
    let lock = include_str!("../../burn/Cargo.lock");
    ["burn-collective", "burn-flex"].into_iter().filter_map(|name| locked(lock, name)).collect()
}

/// The version that a launcher prints, without anything that it says about how it was built.
pub fn launcher_version(launcher: &str) -> Option<String> {
    let output = Command::new(launcher).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    text.split_whitespace()
        .find(|word| is_version(word) && word.starts_with(|c: char| c.is_ascii_digit()))
        .map(Into::into)
}

fn locked(lock: &str, name: &str) -> Option<(String, String)> {
    let package = lock.split("[[package]]").find(|package| package.contains(&format!("name = \"{name}\"\n")))?;
    let version = package.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some((name.to_owned(), version.trim_matches('"').to_owned()))
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}
