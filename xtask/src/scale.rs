//! How cost grows with ranks and with size, beside the law that it should follow.
//!
//! `cargo run -p xtask --release -- scale --out NAME [--device NAME]` writes NAME.json and NAME.md, overwriting them;
//! `scale --from NAME.json --out PICTURE` draws that record as PICTURE.svg. No criterion: a point is one number, and the
//! growth over four decades is what is looked at.

#![allow(clippy::unwrap_used, reason = "a measurement that fails has nothing to go on with")]

mod picture;

use std::fmt::{Display, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;
use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::{self, Cpu};
use wgccl::element::DataType;
use wgccl::gpu::{self, Gpu, adapters};
use wgccl::inputs::{Fill, generate};
use wgccl::proof::{self, Proved, check, prove};
use wgccl::schedule::{Algorithm, Schedule, SyncStyle, build};
use wgccl_cli::bench::now;

use self::picture::{Law, Line, Over, Panel, draw};

/// Of a rank's vector, in launches over ranks.
const BYTES: u64 = 64 << 10;
/// In launches over sizes.
const RANKS: u32 = 8;
/// A line ends after the first point above this: seconds of a proof, or of a launch.
const LONGEST: f64 = 2.0;

/// Times of a proof. Of each chunk, every contribution must be found in every output: P² terms, unless a chunk is all there
/// is. Partial sums in outputs are safe only because signals go all around the ring: a clock of P lanes for P² instructions.
const PROOFS: [(Algorithm, Law); 9] = [
    (Algorithm::Ring, Law::Square),
    (Algorithm::BidirectionalRing, Law::Cube),
    (Algorithm::Ibing, Law::Square),
    (Algorithm::Direct, Law::Square),
    (Algorithm::OnePhase, Law::Square),
    (Algorithm::TwoPhase, Law::Square),
    (Algorithm::RecursiveDoubling, Law::LinearLog),
    (Algorithm::HalvingDoubling, Law::Square),
    (Algorithm::Tree, Law::Square),
];

/// Times of a launch: by the bytes that move, P·N or P log P·N, but of the ring by its P² instructions.
const LAUNCHES: [(Algorithm, Law); 4] = [
    (Algorithm::Ring, Law::Square),
    (Algorithm::Direct, Law::Linear),
    (Algorithm::RecursiveDoubling, Law::LinearLog),
    (Algorithm::Tree, Law::Linear),
];

fn schedule(algorithm: Algorithm, ranks: u32) -> Schedule {
    build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap()
}

/// Median of as many runs as fit in a fifth of a second, 3 to 100. The first is for warming up.
fn median(mut run: impl FnMut() -> f64) -> f64 {
    let first = run();
    let runs = (0.2e6 / first).clamp(3.0, 100.0) as usize;
    let mut times: Vec<f64> = (0..runs).map(|_| run()).collect();
    times.sort_unstable_by(f64::total_cmp);
    times[runs / 2]
}

fn microseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6
}

fn line(name: &str, law: Law, xs: impl Iterator<Item = u64>, mut time: impl FnMut(u64) -> f64) -> Line {
    let mut points = Vec::new();
    for x in xs {
        let time = time(x);
        println!("{name} {x}: {time:.1} us");
        points.push((x, time));
        if time > LONGEST * 1e6 {
            break;
        }
    }
    Line { name: name.to_owned(), law, points }
}

fn powers(first: u64, last: u64, factor: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(first), move |x| Some(x * factor)).take_while(move |&x| x <= last)
}

struct Launch {
    proved: Proved,
    shape: Shape,
    inputs: Vec<Vec<f32>>,
}

impl Launch {
    fn new(algorithm: Algorithm, ranks: u32, bytes: u64) -> Self {
        let proved = prove(schedule(algorithm, ranks), proof::Options::default()).unwrap();
        let count = bytes as usize / 4;
        let shape = Shape::new(count, DataType::F32, Op::Sum);
        let inputs = (0..ranks).map(|rank| generate(Fill::Exact, 0, rank, ranks, count)).collect();
        Self { proved, shape, inputs }
    }

    fn inputs(&self) -> Vec<&[u8]> {
        self.inputs.iter().map(|input| bytemuck::cast_slice(input)).collect()
    }

    /// From inputs to outputs.
    fn on_cpu(&self) -> f64 {
        let inputs = self.inputs();
        let mut outputs = vec![vec![0.0_f32; self.shape.count]; inputs.len()];
        let mut outputs: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
        let mut ready = Cpu::new().prepare(&self.proved, self.shape, &Options::default()).unwrap();
        median(|| {
            microseconds(|| {
                ready.run(&inputs, &mut outputs).unwrap();
            })
        })
    }

    /// The dispatches, over inputs that are on the device.
    fn on(&self, gpu: &Gpu) -> f64 {
        let mut ready = gpu.prepare(&self.proved, self.shape, &Options::default()).unwrap();
        assert_eq!(ready.prepared().pieces, 1, "a launch is of one piece");
        ready.load(0, &self.inputs()).unwrap();
        median(|| {
            let ran = ready.time(1).unwrap()[0];
            ran.device.or(ran.time).unwrap_or_default().as_secs_f64() * 1e6
        })
    }
}

fn panels(gpu: Option<&Gpu>) -> Vec<Panel> {
    let mut panels = Vec::new();
    let proofs = PROOFS.iter().map(|&(algorithm, law)| {
        line(algorithm.name(), law, powers(4, 4096, 2), |ranks| {
            let schedule = schedule(algorithm, ranks as u32);
            median(|| microseconds(|| assert!(check(&schedule, proof::Options::default()).ok())))
        })
    });
    panels.push(Panel { caption: "proof (us)".to_owned(), over: Over::Ranks, lines: proofs.collect() });
    let over_ranks = |most: u32, time: &dyn Fn(&Launch) -> f64| {
        let of = |&(algorithm, law): &(Algorithm, Law)| {
            line(algorithm.name(), law, powers(2, most.into(), 2), |ranks| {
                time(&Launch::new(algorithm, ranks as u32, BYTES))
            })
        };
        LAUNCHES.iter().map(of).collect()
    };
    let lines = over_ranks(cpu::MAX_RANKS, &Launch::on_cpu);
    panels.push(Panel { caption: "launch of 64 KiB per rank, CPU executor (us)".to_owned(), over: Over::Ranks, lines });
    if let Some(gpu) = gpu {
        let caption = format!("launch of 64 KiB per rank, {} (us)", short(gpu));
        panels.push(Panel { caption, over: Over::Ranks, lines: over_ranks(gpu::MAX_RANKS, &|launch| launch.on(gpu)) });
    }
    // Larger ones go in pieces on some adapters.
    let of_size = |name: String, algorithm, time: &dyn Fn(&Launch) -> f64| {
        line(&name, Law::Linear, powers(1 << 10, 4 << 20, 4), |bytes| time(&Launch::new(algorithm, RANKS, bytes)))
    };
    let mut lines = Vec::new();
    for algorithm in [Algorithm::Direct, Algorithm::Ring] {
        lines.push(of_size(format!("{algorithm}, CPU executor"), algorithm, &Launch::on_cpu));
        if let Some(gpu) = gpu {
            lines.push(of_size(format!("{algorithm}, {}", short(gpu)), algorithm, &|launch| launch.on(gpu)));
        }
    }
    panels.push(Panel { caption: format!("launch over size, {RANKS} ranks (us)"), over: Over::Bytes, lines });
    panels
}

/// Names of devices hold their compilers.
fn short(gpu: &Gpu) -> &str {
    gpu.info().name.split(" (").next().unwrap_or_default()
}

/// A row for each x of a panel, a column for each line.
fn table(panel: &Panel) -> String {
    let mut xs: Vec<u64> = panel.lines.iter().flat_map(|line| &line.points).map(|&(x, _)| x).collect();
    xs.sort_unstable();
    xs.dedup();
    let x = if panel.over == Over::Ranks { "P" } else { "bytes" };
    let mut text = format!("\n## {}\n\n| {x} |", panel.caption);
    panel.lines.iter().for_each(|line| text.push_str(&format!(" {} |", line.name)));
    text.push_str(&format!("\n| --: |{}", " --: |".repeat(panel.lines.len())));
    for x in xs {
        let _ = write!(text, "\n| {x} |");
        for line in &panel.lines {
            match line.points.iter().find(|point| point.0 == x) {
                Some((_, time)) => text.push_str(&format!(" {time:.*} |", if *time < 100.0 { 1 } else { 0 })),
                None => text.push_str(" - |"),
            }
        }
    }
    text.push('\n');
    text
}

/// Of a record, what its picture needs.
#[derive(Debug, Deserialize)]
struct Recorded {
    version: String,
    threads: usize,
    panels: Vec<Panel>,
}

/// Draws the record `from` as `out`, with `.svg` behind it.
fn redraw(from: &Path, out: &Path) -> Result<(), String> {
    let named = |error: &dyn Display| format!("{}: {error}", from.display());
    let text = std::fs::read_to_string(from).map_err(|error| named(&error))?;
    let Recorded { version, threads, panels } = serde_json::from_str(&text).map_err(|error| named(&error))?;
    let title = format!("wgccl {version}: how cost grows, all-reduce of f32, {threads} threads");
    draw(&PathBuf::from(format!("{}.svg", out.display())), &title, &panels).map_err(|error| error.to_string())
}

/// Measures, prints, and writes what `options` names; or draws a record.
pub(crate) fn measure(options: &[&str]) -> Result<(), String> {
    const USAGE: &str = "usage: cargo run -p xtask --release -- scale [--out NAME] [--device NAME]
       cargo run -p xtask -- scale --from RECORD.json --out NAME";
    let (mut out, mut device, mut from) = (None, "auto", None);
    for option in options.chunks(2) {
        match option {
            ["--out", name] => out = Some(PathBuf::from(name)),
            ["--device", name] => device = name,
            ["--from", name] => from = Some(PathBuf::from(name)),
            _ => return Err(USAGE.to_owned()),
        }
    }
    if let Some(from) = from {
        return redraw(&from, &out.ok_or(USAGE)?);
    }
    let gpu = match device {
        "cpu" => None,
        "auto" => adapters().first().map(|adapter| Gpu::open(adapter).unwrap()),
        name => Some(Gpu::open(gpu::select(&adapters(), name).unwrap()).unwrap()),
    };
    let panels = panels(gpu.as_ref());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let on = gpu.as_ref().map(|gpu| format!("{}, {}", gpu.info().title(), gpu.info().driver));
    let Some(out) = out else { return Ok(()) };
    let json = serde_json::json!({
        "schema": "wgccl-scale/1", "version": env!("CARGO_PKG_VERSION"), "time": now(), "threads": threads,
        "device": on, "unit": "us", "panels": &panels,
    });
    let named = |end: &str| PathBuf::from(format!("{}.{end}", out.display()));
    std::fs::write(named("json"), serde_json::to_string_pretty(&json).unwrap() + "\n").unwrap();
    let mut text = format!(
        "# How cost grows\n\nMedians in microseconds, {threads} threads; {}; wgccl {}, {}. A dash: not measured, as the \
         point before took more than {LONGEST} s.\n",
        on.as_deref().unwrap_or("no graphics adapter"),
        env!("CARGO_PKG_VERSION"),
        now()
    );
    panels.iter().for_each(|panel| text.push_str(&table(panel)));
    std::fs::write(named("md"), text).map_err(|error| error.to_string())
}
