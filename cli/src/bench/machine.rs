//! What a benchmark ran on, apart from the device under test.
//!
//! A record that does not say it cannot be compared with another machine's. Names of hosts and users are nobody's business.

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// A machine in words. What a system does not tell is none, and so is what a record of another version leaves out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor's model.
    pub processor: Option<String>,
    /// As the processor's architecture is called.
    pub architecture: Option<String>,
    /// Of the whole machine; the device says how many threads a process may use.
    pub logical_cores: Option<usize>,
    /// Memory that there is, or as much of it as a container may use.
    pub memory_bytes: Option<u64>,
    /// The operating system or distribution.
    pub os: Option<String>,
    /// Its version.
    pub os_version: Option<String>,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// What decides about the cores' clocks, on Linux the governor's name.
    pub power: Option<String>,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(what);
        let cores = system.cpus();
        // A limit is only known where the total is.
        let total = Some(system.total_memory()).filter(|&bytes| bytes > 0);
        let memory_bytes =
            total.map(|bytes| system.cgroup_limits().map_or(bytes, |limits| limits.total_memory.min(bytes)));
        Self {
            processor: said(cores.first().map(|core| core.brand().to_owned())),
            architecture: said(Some(System::cpu_arch())),
            logical_cores: Some(cores.len()).filter(|&cores| cores > 0),
            memory_bytes,
            os: said(System::name()),
            os_version: said(System::os_version()),
            kernel: said(System::kernel_version()),
            power: said(std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()),
        }
    }

    /// For one line; empty where nothing is known.
    pub fn title(&self) -> String {
        let all = [self.hardware(), self.system()];
        all.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// Processor, cores and memory, for one line.
    pub fn hardware(&self) -> String {
        let cores = self.logical_cores.map(|cores| format!("{cores} logical cores"));
        let memory = self.memory_bytes.map(|bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)));
        joined([self.processor.clone(), cores, memory])
    }

    /// System and governor, for one line.
    pub fn system(&self) -> String {
        let os = self.os.as_ref().map(|os| [os.as_str(), self.os_version.as_deref().unwrap_or_default()].join(" "));
        joined([os, self.power.clone()])
    }
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().map(|text| text.trim().to_owned()).collect::<Vec<_>>().join(", ")
}

/// Files end in a line feed, and some systems pad what they say or say nothing.
fn said(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says in another place.
    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_this_machine() {
        let machine = Machine::this();
        let read = |path| std::fs::read_to_string(path).unwrap();
        let cores = read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
        assert_eq!(machine.logical_cores, Some(cores));
        let total = read("/proc/meminfo").split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10;
        assert!(machine.memory_bytes.is_some_and(|bytes| bytes > 0 && bytes <= total), "{machine:?} {total}");
        assert_eq!(machine.kernel.as_deref(), Some(read("/proc/sys/kernel/osrelease").trim()));
        for text in [&machine.os, &machine.architecture] {
            assert!(text.as_ref().is_some_and(|text| !text.is_empty() && text.trim() == text), "{machine:?}");
        }
        let host = read("/proc/sys/kernel/hostname");
        let words = machine.title();
        assert!(!words.split([' ', ',']).any(|word| word == host.trim()), "{words}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let machine = Machine { processor: Some("x".to_owned()), os: Some("y".to_owned()), ..Machine::default() };
        assert_eq!(machine.title(), "x, y");
        assert_eq!(Machine::default().title(), "");
        let known = Machine {
            memory_bytes: Some(3 << 29),
            logical_cores: Some(2),
            os_version: said(Some(" 12\n".to_owned())),
            ..machine
        };
        assert_eq!(known.title(), "x, 2 logical cores, 1.5 GiB, y 12");
        assert_eq!(said(Some(" \n".to_owned())), None);
        assert_eq!(serde_json::from_str::<Machine>("{\"processor\": \"x\", \"newer\": 1}").unwrap().title(), "x");
    }
}
