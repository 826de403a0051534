//! The long form of the standing oracle: `cargo run -p xtask --release -- soak [--minutes N] [--seed S] [--device NAME]...`.
//!
//! Cases are numbered on from the seed, so that `--seed` with the number of one that failed begins with that. The oracle itself
//! stands in `tests/oracle`, where its short form is a test.

#[path = "../../tests/oracle/gpus.rs"]
#[allow(clippy::expect_used, reason = "a test's, in which a panic is a failure")]
mod gpus;
#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wgccl::cpu::Cpu;
use wgccl::gpu::{Gpu, open_all};

use oracle::case::{Case, Effort, Machines, examine};
use oracle::launch::Device;
use oracle::tally::Tally;

const USAGE: &str =
    "usage: cargo run -p xtask --release -- soak [--minutes N] [--seed S] [--cases N] [--show] [--device NAME]...

  --minutes N    how long (60)
  --seed S       the number of the first case (by the clock); that of a failure brings it back
  --cases N      end after so many cases; with 1, on every device by every way
  --show         print the schedule of the first case, and end
  --device NAME  a word of a GPU's name, 'cpu' for none (every GPU)";

/// Cases between two looks at the clock.
const BATCH: u64 = 200;

struct Asked<'a> {
    time: Duration,
    seed: u64,
    cases: u64,
    show: bool,
    devices: Vec<&'a str>,
}

/// Every GPU that opens, or those whose title holds one of `names`.
fn gpus(names: &[&str]) -> Vec<Device> {
    let opened = open_all().into_iter().filter_map(Result::ok);
    let wanted = |gpu: &Gpu| {
        let title = gpu.info().title().to_lowercase();
        names.is_empty() || names.iter().any(|name| title.contains(&name.to_lowercase()))
    };
    opened.filter(wanted).map(gpus::device).collect()
}

fn parse<'a>(options: &[&'a str]) -> Option<Asked<'a>> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut asked =
        Asked { time: Duration::from_secs(3600), seed: clock << 24, cases: u64::MAX, show: false, devices: Vec::new() };
    let mut options = options.iter();
    while let Some(&option) = options.next() {
        match option {
            "--show" => asked.show = true,
            "--minutes" => {
                asked.time = Duration::try_from_secs_f64(60.0 * options.next()?.parse::<f64>().ok()?).ok()?
            }
            "--seed" => asked.seed = options.next()?.parse().ok()?,
            "--cases" => asked.cases = options.next()?.parse().ok()?,
            "--device" => asked.devices.push(options.next()?),
            _ => return None,
        }
    }
    Some(asked)
}

/// Examines cases for as long as `options` say, and prints what was done.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let asked = parse(options).ok_or(USAGE)?;
    if asked.show {
        let case = Case::new(asked.seed);
        let text = serde_json::to_string_pretty(&case.schedule).map_err(|error| error.to_string())?;
        println!("seed {}, {}, in place: {}\n{text}", case.seed, case.kind, case.in_place);
        return Ok(());
    }
    let devices = if asked.devices == ["cpu"] { Vec::new() } else { gpus(&asked.devices) };
    println!("seed {}; GPUs: {}", asked.seed, names(&devices));
    // Panics are failures, told with their seed.
    std::panic::set_hook(Box::new(|_| {}));
    let effort = Effort {
        interleavings: 12,
        shapes: 2,
        launches: 2,
        gpu_percent: 6,
        gpu_launches: 12,
        everywhere: asked.cases == 1,
    };
    let (next, stop, start) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
    let (tally, failures, told) = (Mutex::new(Tally::default()), Mutex::new(0_u32), Mutex::new(Instant::now()));
    let work = || {
        let cpu = Cpu::new();
        let machines = Machines { cpu: &cpu, devices: &devices };
        while !stop.load(Ordering::Relaxed) && start.elapsed() < asked.time {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let mut local = Tally::default();
            for case in first..(first + BATCH).min(asked.cases) {
                if let Err(failure) = examine(asked.seed.wrapping_add(case), effort, &machines, &mut local) {
                    println!("\nDISAGREEMENT: {failure}\n");
                    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    *failures += 1;
                    // More than a few are the same one.
                    stop.fetch_or(*failures >= 5, Ordering::Relaxed);
                }
            }
            if first + BATCH >= asked.cases {
                stop.store(true, Ordering::Relaxed);
            }
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.add(local);
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.elapsed() > Duration::from_secs(60) {
                *told = Instant::now();
                let minutes = start.elapsed().as_secs() / 60;
                println!("{minutes} min: {} schedules, {} GPU launches", tally.all(), tally.gpu_launches());
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(work)));
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", tally.into_inner().unwrap_or_else(PoisonError::into_inner));
    println!("{failures} disagreements in {:.1?}; the next seed is {}", start.elapsed(), {
        asked.seed.wrapping_add(next.into_inner())
    });
    if failures == 0 {
        Ok(())
    } else {
        Err(format!("{failures} disagreements; --seed with the number above brings one back"))
    }
}

fn names(devices: &[Device]) -> String {
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let asked = parse(&["--seed", "7", "--cases", "1", "--device", "cpu", "--minutes", "0.5"]).unwrap();
        assert_eq!((asked.seed, asked.cases, asked.time), (7, 1, Duration::from_secs(30)));
        assert_eq!(asked.devices, ["cpu"]);
        for wrong in [&["--seed"][..], &["--seed", "x"], &["--minutes", "-1"], &["--minutes", "nan"], &["soak"]] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
