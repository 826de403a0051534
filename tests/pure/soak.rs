//! The short form of the standing oracle on the CPU, and that it can fail.

use std::time::{Duration, Instant};

use wgccl::cpu::Cpu;
use wgccl::proof::{Options, Proof, prove};

use crate::oracle::case::{Case, Effort, Kind, Machines, examine};
use crate::oracle::judge::Wrong;
use crate::oracle::launch::Launch;
use crate::oracle::promise::Places;
use crate::oracle::random::Random;
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
    // It can fail: each proof has refused something in which the judge sees the same.
    for (proof, wrong) in [
        (Proof::Structure, Wrong::Deadlock),
        (Proof::DeadlockFree, Wrong::Deadlock),
        (Proof::RaceFree, Wrong::Race),
        (Proof::Result, Wrong::Result),
        (Proof::Result, Wrong::Early),
        (Proof::Initialised, Wrong::Uninitialised),
    ] {
        assert!(tally.refuted.contains_key(&(proof.to_string(), wrong)), "{proof}, {wrong:?}: {tally}");
    }
    for kind in [Kind::Right, Kind::Mutant, Kind::Wild] {
        assert!(tally.of_kind[&kind][0] > 0, "{kind}: {tally}");
    }
    assert!(tally.on_cpu.launches > 0, "{tally}");
}

#[test]
fn a_seed_is_a_case() {
    for seed in 0..100 {
        let (a, b) = (Case::new(seed), Case::new(seed));
        assert_eq!((a.kind, a.in_place, a.schedule), (b.kind, b.in_place, b.schedule), "{seed}");
    }
}

/// With an operand left out of what the oracle evaluates, nearly every launch of a reduction differs.
#[test]
fn an_operand_that_is_missing_is_seen() {
    let (cpu, mut seen, mut tried) = (Cpu::new(), 0, 0);
    for case in (0..400).map(Case::new).filter(|case| case.kind == Kind::Right) {
        let options = Options::default().in_place(case.in_place);
        let proved = prove(case.schedule.clone(), options).unwrap();
        let mut other = case.schedule.clone();
        let mut all = other.lanes.iter_mut().flat_map(|lane| &mut lane.instructions);
        let Some(sum) = all.find(|one| one.from.len() > 1) else { continue };
        sum.from.remove(0);
        let (places, random) = (Places::new(&other, case.in_place), &mut Random::new(case.seed, 9));
        let launch = Launch::new(random, &other, &proved, &places, case.in_place, 100);
        seen += u32::from(launch.on_cpu(random, &cpu, 2).is_err());
        tried += 1;
    }
    assert!(tried > 20 && seen > tried / 2, "{seen} of {tried}");
}
