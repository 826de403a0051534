//! Processes that are killed or stopped at a moment drawn by lot: the others end, with an error that names the one, and none hangs.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator as _;
use wgccl::backend::{Backend, Options, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};
use wgccl_mpi::{MpiBackend, mpi};

use crate::driver::{CASE, Mpirun};

/// Where processes write their numbers.
const FOLDER: &str = "WGCCL_MPI_FOLDER";
const RANKS: u32 = 6;
const PROCESSES: u32 = 3;
/// Of the launches, after which a silent process is an error.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Nobody may be there after it.
const PATIENCE: Duration = Duration::from_secs(40);

/// Launches until it is ended. A launch that succeeds is right.
pub(crate) fn endless(world: &SimpleCommunicator) {
    let folder = std::env::var(FOLDER).unwrap();
    let me = world.rank();
    let say = |what: &str| {
        let path = Path::new(&folder).join(format!("{what}{me}"));
        fs::write(&path, std::process::id().to_string()).unwrap();
    };
    say("started");
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let backend = MpiBackend::over_within(world, Arc::new(Cpu::new()), TIMEOUT)?;
        let schedule = build(Collective::AllReduce, Algorithm::Ring, RANKS, SyncStyle::Neighbor)?;
        let proved = prove(schedule, proof::Options::default())?;
        let options = Options::default().timeout(TIMEOUT);
        // Some are sent at once, and some only when the receiver has asked for them.
        let counts = [10, 30_000];
        let prepare = |count| backend.prepare(&proved, Shape::new(count, DataType::F32, Op::Sum), &options);
        let mut ready = counts.map(prepare).into_iter().collect::<Result<Vec<_>, _>>()?;
        for launch in 0_usize.. {
            let (ready, count) = (&mut ready[launch % 2], counts[launch % 2]);
            let length = |rank| if backend.is_here(rank, RANKS) { count } else { 0 };
            let inputs: Vec<Vec<f32>> = (0..RANKS).map(|rank| vec![1.0; length(rank)]).collect();
            let mut outputs = inputs.clone();
            let inputs: Vec<&[u8]> = inputs.iter().map(|input| bytemuck::cast_slice(input)).collect();
            let mut views: Vec<&mut [u8]> = outputs.iter_mut().map(|output| bytemuck::cast_slice_mut(output)).collect();
            ready.run(&inputs, &mut views)?;
            assert!(outputs.iter().flatten().all(|&element| element == RANKS as f32), "all there or not at all");
            if launch == 1 {
                say("launching");
            }
        }
        Ok(())
    };
    if let Err(error) = run() {
        // In one piece, because others say theirs at the same time.
        let _ = std::io::stderr().write_all(format!("process {me} says: {error}\n").as_bytes());
        // The way of a program that does not wait for the dead.
        std::process::exit(3);
    }
}

/// What happens to the one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// Killed, and `mpirun` ends the others at once.
    Killed,
    /// Killed, and `mpirun` leaves the others alone.
    KilledAlone,
    /// Stopped: it is there and does nothing.
    Stopped,
}

/// Rounds of it, each of another process at another moment.
pub(crate) fn rounds(mpirun: &Mpirun, rounds: u64) -> Result<(), String> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..rounds {
        let (victim, delay) = (draw(PROCESSES.into()), Duration::from_millis(draw(300)));
        let how = [How::Killed, How::KilledAlone, How::Stopped][round as usize % 3];
        let begun = Instant::now();
        let said = once(mpirun, how, victim, delay).map_err(|why| format!("round {round}, {how:?} {victim}: {why}"))?;
        println!(
            "round {round:>3}: process {victim} {how:?} after {delay:?}: all gone in {:.1?}{said}",
            begun.elapsed()
        );
    }
    Ok(())
}

fn once(mpirun: &Mpirun, how: How, victim: u64, delay: Duration) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let errors = fs::File::create(folder.path().join("errors")).map_err(|error| error.to_string())?;
    let mut command = mpirun.command(PROCESSES, how == How::KilledAlone);
    command.env(CASE, "endless").env(FOLDER, folder.path()).stdout(Stdio::null()).stderr(errors);
    let mut child = command.arg(std::env::current_exe().unwrap()).spawn().map_err(|error| error.to_string())?;
    let until = Instant::now() + PATIENCE;
    let over = || Instant::now() > until;
    let nap = || std::thread::sleep(Duration::from_millis(10));
    let id = |what: &str, process: u64| fs::read_to_string(folder.path().join(format!("{what}{process}"))).ok();
    // In the first of the ways at any moment, else when all launch, so that somebody waits.
    let what = if how == How::Killed { "started" } else { "launching" };
    let wanted: Vec<u64> = if how == How::Killed { vec![victim] } else { (0..PROCESSES.into()).collect() };
    while wanted.iter().any(|&process| id(what, process).is_none_or(|id| id.is_empty())) {
        if over() {
            let _ = child.kill();
            return Err("they did not start".to_owned());
        }
        nap();
    }
    std::thread::sleep(delay);
    let signal = if how == How::Stopped { "-STOP" } else { "-KILL" };
    let victims = id("started", victim).unwrap_or_default();
    Command::new("kill").args([signal, &victims]).status().map_err(|error| error.to_string())?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if !over() => nap(),
            _ => break None,
        }
    };
    let errors = fs::read_to_string(folder.path().join("errors")).unwrap_or_default();
    let alive = |process: &u64| id("started", *process).is_some_and(|id| runs(id.trim()));
    let mut left: Vec<u64> = (0..PROCESSES.into()).filter(alive).collect();
    while !left.is_empty() && !over() {
        nap();
        left.retain(alive);
    }
    for process in &left {
        let _ = Command::new("kill").args(["-KILL", &id("started", *process).unwrap_or_default()]).status();
    }
    let Some(status) = status else {
        let _ = child.kill();
        return Err(format!("mpirun hung; processes {left:?} were left\n{errors}"));
    };
    if !left.is_empty() {
        return Err(format!("processes {left:?} were left\n{errors}"));
    }
    // Told to leave the others alone, it may call that a success.
    if how != How::KilledAlone && status.success() {
        return Err(format!("mpirun saw no failure\n{errors}"));
    }
    let says = errors.lines().find(|line| line.contains("says: ") && line.contains(&format!("process {victim} (")));
    match (how, says) {
        (How::Killed, says) => Ok(says.map_or_else(String::new, |says| format!("\n           {says}"))),
        (_, Some(says)) => Ok(format!("\n           {says}")),
        (_, None) => Err(format!("nobody names process {victim}:\n{errors}")),
    }
}

/// Whether there is such a process, and it is not just one that nobody has waited for.
fn runs(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    status
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next())
        .is_some_and(|state| state != "Z" && state != "X")
}
