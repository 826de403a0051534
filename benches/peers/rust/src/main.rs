//! wgccl and its peers, measured side by side on one machine; started by `benches/peers/run.sh`.
//!
//! Every measurement is a process of its own, and each round runs all peers at one number of ranks and one size before
//! the next, so that what disturbs the machine for a while disturbs all of them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cell;
mod error;
mod idle;
mod machine;
mod peers;
mod plot;
mod record;
mod sample;
mod summary;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use error::Error;
use idle::Ticks;
use machine::Machine;
use peers::{Programs, Starter};
use record::{Files, Method, Record, Round, Skipped};
use summary::{duration, size};
use wgccl_cli::bench::Statistics;

#[derive(Debug, Parser)]
#[command(about = "wgccl and its peers, measured side by side", bin_name = "benches/peers/run.sh")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure, and write NAME.json, NAME.md and NAME.svg
    #[command(
        after_help = "Of run.sh itself:\n  --burn        build and measure burn-collective too, which takes many minutes the first time\n  \
--no-install  install nothing"
    )]
    Run(Run),
    /// Join records of one machine, more rounds or other sizes, and write NAME.json, NAME.md and NAME.svg
    Join {
        /// Name of the files, without ending; existing ones are not touched
        #[arg(long, value_name = "NAME")]
        out: PathBuf,
        /// Records to join
        #[arg(required = true, value_name = "RECORD.json")]
        records: Vec<PathBuf>,
    },
    /// Measure one peer of this program once, in this process
    #[command(hide = true)]
    Cell { words: Vec<String> },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Name of the files, without ending; existing ones are not touched
    #[arg(long, value_name = "NAME", default_value = "peers")]
    out: PathBuf,
    /// Numbers of ranks
    #[arg(short = 'P', long, value_name = "P,..", value_delimiter = ',', default_value = "2,4,8")]
    ranks: Vec<usize>,
    /// Bytes of a rank's vector
    #[arg(long, value_name = "SIZE,..", value_delimiter = ',', default_value = "1K,32K,1M,16M,64M", value_parser = bytes)]
    sizes: Vec<usize>,
    /// Rounds of all peers at each number of ranks and size
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_1)]
    rounds: usize,
    /// Only peers whose name contains one of these
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Not peers whose name contains one of these
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    without: Vec<String>,
    /// Seconds that the back-to-back calls of a repetition should take; 3 are made in any case
    #[arg(long, value_name = "SECONDS", default_value_t = 0.03, value_parser = seconds)]
    seconds: f64,
    /// Most repetitions of a peer in a round
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = at_least_1)]
    repetitions: usize,
    /// Seconds that the repetitions of a peer in a round may take together; 3 are made in any case
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    budget: f64,
    /// Share of the machine that others may take: above it a measurement waits, and is repeated, up to 3 in all
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    others: f64,
    /// Seconds to wait for an idle machine before a measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = patience)]
    patience: f64,
    #[command(flatten)]
    programs: Programs,
}

fn bytes(text: &str) -> Result<usize, String> {
    let bytes = wgccl_cli::amount::bytes(text)?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes >= 4 && bytes.is_multiple_of(4) && bytes < 1 << 31 => Ok(bytes),
        _ => Err("give a multiple of 4 below 2G".to_owned()),
    }
}

fn at_least_1(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n: &usize| (1..=1000).contains(&n)).ok_or_else(|| "give 1 to 1000".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|&seconds: &f64| seconds > 0.0 && seconds <= 60.0);
    seconds.ok_or_else(|| "give a number of seconds above 0, at most 60".to_owned())
}

fn patience(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "give 0 to 3600 seconds".to_owned())
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help is no error.
            let code = if error.use_stderr() { wgccl_cli::error::exit::USAGE } else { wgccl_cli::error::exit::OK };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let result = match args.command {
        Command::Run(run) => measure(&run),
        Command::Join { out, records } => join(&out, &records),
        Command::Cell { words } => cell::run(&words).map(|line| println!("{line}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn measure(run: &Run) -> Result<(), Error> {
    if run.ranks.iter().any(|ranks| !(1..=64).contains(ranks)) {
        return Err(Error::Usage("--ranks are processes and threads of one machine; give 1 to 64".to_owned()));
    }
    let files = Files::new(&run.out)?;
    let myself = std::env::current_exe().map_err(Error::peer)?;
    let contains =
        |id: &str, words: &[String]| words.iter().any(|word| id.to_lowercase().contains(&word.to_lowercase()));
    let mut starters = peers::all(&run.programs, &myself);
    starters.retain(|starter| run.only.is_empty() || contains(&starter.peer.id, &run.only));
    starters.retain(|starter| !contains(&starter.peer.id, &run.without));
    if starters.is_empty() {
        let known: Vec<String> = peers::all(&run.programs, &myself).into_iter().map(|of| of.peer.id).collect();
        return Err(Error::Usage(format!("no peer is left; there are:\n  {}", known.join("\n  "))));
    }
    let mut record = begin(run, &starters);
    for skipped in &record.skipped {
        eprintln!("skipped: {}: {}", skipped.peer, skipped.why);
    }
    for &ranks in &run.ranks {
        for &bytes in &run.sizes {
            for round in 0..run.rounds {
                eprintln!("{ranks} ranks of {}, round {} of {}", size(bytes), round + 1, run.rounds);
                // Nobody always comes after the same neighbour.
                let third = (starters.len() / 3).max(1);
                starters.rotate_left(if round > 0 { third } else { 0 });
                for starter in starters.iter().filter(|starter| starter.suits(ranks)) {
                    one(run, &mut record, starter, ranks, bytes);
                }
            }
        }
    }
    finish(&record, &files)
}

/// A record without cells: what it is measured on and with.
fn begin(run: &Run, starters: &[Starter]) -> Record {
    let programs = &run.programs;
    let mut versions = machine::versions();
    let mut skipped = Vec::new();
    let mut skip = |peer: &str, why: &str| {
        skipped.push(Skipped { peer: peer.to_owned(), cell: None, why: why.to_owned() });
    };
    for (name, launcher, given) in
        [("Open MPI", peers::OPENMPI, programs.has_openmpi()), ("MPICH", peers::MPICH, programs.has_mpich())]
    {
        match machine::launcher_version(launcher).filter(|_| given) {
            Some(version) => drop(versions.insert(name.to_owned(), version)),
            None => skip(name, "not installed"),
        }
    }
    for (name, version, why) in [
        ("Gloo", programs.gloo_version(), "not installed"),
        ("oneCCL", programs.oneccl_version(), "not installed; give --oneccl"),
    ] {
        match version {
            Some(version) => drop(versions.insert(name.to_owned(), version.to_owned())),
            None => skip(name, why),
        }
    }
    match programs.has_burn() {
        true => versions.extend(machine::burn_versions()),
        false => skip("burn-collective", "not built; give --burn"),
    }
    for adapter in wgccl::gpu::adapters() {
        let info = adapter.info();
        versions.insert(format!("{} ({})", info.name, info.backend), info.driver.clone());
    }
    let method = Method { seconds: run.seconds, repetitions: run.repetitions, budget: run.budget };
    let peers = starters.iter().map(|starter| starter.peer.clone()).collect();
    let mut record = Record::new(Machine::this(), versions, method, peers);
    record.skipped = skipped;
    record
}

/// A peer that fails is skipped there; the others go on.
fn one(run: &Run, record: &mut Record, starter: &Starter, ranks: usize, bytes: usize) {
    let id = &starter.peer.id;
    match undisturbed(run, || starter.measure(ranks, bytes, record.method)) {
        Ok(round) => {
            let median = Statistics::of(&round.times_us).map_or(0.0, |statistics| statistics.p50);
            let wrong = if round.wrong > 0 { format!(", {} ELEMENTS WRONG", round.wrong) } else { String::new() };
            let others = round.others.filter(|&others| others > run.others);
            let others = others.map_or_else(String::new, |others| format!(", others took {:.0} %", 100.0 * others));
            eprintln!("  {:>9}  {id}{others}{wrong}", duration(median));
            record.add(id, (ranks, bytes), round);
        }
        Err(error) => {
            eprintln!("    skipped  {id}: {error}");
            let skipped = Skipped { peer: id.clone(), cell: Some((ranks, bytes)), why: error.to_string() };
            if !record.skipped.contains(&skipped) {
                record.skipped.push(skipped);
            }
        }
    }
}

/// The least disturbed of up to three measurements; one, where nobody disturbs it. A wrong result always counts.
fn undisturbed(run: &Run, measure: impl Fn() -> Result<Round, Error>) -> Result<Round, Error> {
    let mut best: Option<Round> = None;
    for _ in 0..3 {
        idle::wait(run.others, Duration::from_secs_f64(run.patience));
        let before = Ticks::now();
        let mut round = measure()?;
        if round.wrong > 0 {
            return Ok(round);
        }
        round.others = before.zip(Ticks::now()).map(|(before, after)| before.others(after));
        if best.as_ref().is_none_or(|best| round.others < best.others) {
            best = Some(round);
        }
        if best.as_ref().and_then(|best| best.others).is_none_or(|others| others <= run.others) {
            break;
        }
    }
    best.ok_or_else(|| Error::Peer("it was not measured".to_owned()))
}

fn join(out: &Path, paths: &[PathBuf]) -> Result<(), Error> {
    let files = Files::new(out)?;
    let Some((first, others)) = paths.split_first() else {
        return Err(Error::Usage("give a record".to_owned()));
    };
    let mut joined = Record::load(first)?;
    for path in others {
        joined.join(Record::load(path)?, path)?;
    }
    finish(&joined, &files)
}

/// Writes a record with wrong results too: it says so.
fn finish(record: &Record, files: &Files) -> Result<(), Error> {
    if record.cells.is_empty() {
        return Err(Error::Peer("nothing could be measured".to_owned()));
    }
    let markdown = table::markdown(record);
    files.write([&record.json()?, &markdown, &plot::svg(record)?])?;
    println!("{markdown}");
    match record.wrong() {
        wrong if wrong.is_empty() => Ok(()),
        wrong => Err(Error::Wrong(wrong.join("; "))),
    }
}
