//! Starts cases under `mpirun`, and is what is started.

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wgccl_mpi::mpi;

use crate::Case;

/// In the environment of processes that take part.
pub(crate) const CASE: &str = "WGCCL_MPI_CASE";

/// Nothing here takes a tenth of it; whoever hangs is ended.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn take_part(case: &Case) -> ExitCode {
    // Ends the others, too, which may wait for this one.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(101);
    }));
    let universe = mpi::initialize().unwrap();
    (case.run)(&universe.world());
    ExitCode::SUCCESS
}

pub(crate) fn start_all(cases: &[Case]) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mpirun = std::env::var("WGCCL_MPIRUN").unwrap_or_else(|_| "mpirun".to_owned());
    let version = Command::new(&mpirun).arg("--version").output();
    let Ok(version) = version else {
        eprintln!("there is no {mpirun}; install Open MPI or MPICH, or name it in WGCCL_MPIRUN");
        return ExitCode::FAILURE;
    };
    let open_mpi = String::from_utf8_lossy(&version.stdout).contains("Open MPI");
    let mut failed = 0;
    for case in cases.iter().filter(|case| wanted.is_empty() || wanted.iter().any(|name| case.name.contains(name))) {
        for &processes in case.processes {
            let start = Instant::now();
            let mut command = Command::new(&mpirun);
            command.args(["-n", &processes.to_string()]).env(CASE, case.name);
            if open_mpi {
                command.args(["--oversubscribe"]);
                // Containers have no other user.
                command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
            }
            command.arg(std::env::current_exe().unwrap());
            let result = run(command);
            let took = start.elapsed().as_secs_f64();
            let verdict = if result.is_ok() { "ok" } else { "FAILED" };
            println!("mpi {} on {processes} processes ... {verdict} ({took:.1} s)", case.name);
            if let Err(output) = result {
                eprintln!("{output}");
                failed += 1;
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What it printed, if it failed.
fn run(mut command: Command) -> Result<(), String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let (out, err) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > until {
            child.kill().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = out.join().unwrap() + &err.join().unwrap();
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{status}\n{text}")),
        None => Err(format!("it hung\n{text}")),
    }
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = from.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}
