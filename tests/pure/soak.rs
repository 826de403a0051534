//! The short form of the standing oracle on the CPU, and that it can fail.

use std::time::{Duration, Instant};

use wgccl::cpu::Cpu;

use crate::oracle::case::{Effort, Kind, Machines, examine};
use crate::oracle::tally::Tally;

const EFFORT: Effort =
    Effort { interleavings: 6, shapes: 1, launches: 1, gpu_percent: 0, gpu_launches: 0, everywhere: false };

/// As many as a few seconds allow; `WGCCL_ORACLE=SEED` begins with that seed, such as one that failed elsewhere.
#[test]
fn proof_golden_and_cpu_agree_with_the_oracle() {
    let seed = std::env::var("WGCCL_ORACLE").ok().and_then(|seed| seed.parse().ok());
    let (cpu, mut tally, start) = (Cpu::new(), Tally::default(), Instant::now());
    let machines = Machines { cpu: &cpu, devices: &[] };
    let mut seed: u64 = seed.unwrap_or(1);
    while start.elapsed() < Duration::from_secs(20) {
        if let Err(failure) = examine(seed, EFFORT, &machines, &mut tally) {
            panic!("{failure}");
        }
        seed += 1;
    }
    println!("{tally}");
    assert_eq!(tally.unexplained, 0, "{tally}");
    assert!(tally.of_kind[&Kind::Right][0] > 100);
}
