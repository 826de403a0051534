//! The short form of the standing oracle on every GPU: a sample of random schedules, in every sound mode and protocol.

use std::time::{Duration, Instant};

use wgccl::cpu::Cpu;

use crate::common::devices::{devices, one_at_a_time};
use crate::gpus::device;
use crate::oracle::case::{Effort, Machines, examine};
use crate::oracle::launch::Device;
use crate::oracle::tally::Tally;

const EFFORT: Effort =
    Effort { interleavings: 3, shapes: 0, launches: 0, gpu_percent: 25, gpu_launches: 4, everywhere: false };

/// As many as half a minute allows; `WGCCL_ORACLE=SEED` begins with that seed.
#[test]
fn gpus_agree_with_the_oracle() {
    let _turn = one_at_a_time();
    let devices: Vec<Device> =
        devices().iter().map(|one| Device { name: one.name.clone(), ..device(one.gpu.clone()) }).collect();
    let seed = std::env::var("WGCCL_ORACLE").ok().and_then(|seed| seed.parse().ok());
    let (seed, start): (u64, _) = (seed.unwrap_or(1 << 32), Instant::now());
    // Two threads at once on the same devices, each with every other seed.
    let work = |first: u64| {
        let (cpu, mut tally, mut seed) = (Cpu::new(), Tally::default(), seed + first);
        let machines = Machines { cpu: &cpu, devices: &devices };
        while !devices.is_empty() && start.elapsed() < Duration::from_secs(30) {
            if let Err(failure) = examine(seed, EFFORT, &machines, &mut tally) {
                panic!("{failure}");
            }
            seed += 2;
        }
        tally
    };
    let work = &work;
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let running = [0, 1].map(|first| scope.spawn(move || work(first)));
        running.into_iter().for_each(|one| tally.add(one.join().expect("its message stands above")));
    });
    println!("{tally}");
    for device in &devices {
        assert!(tally.on_gpus.get(&device.name).is_some_and(|all| all.launches > 0), "{}: no launch", device.name);
    }
}
