//! Starts cases under `mpirun`, and is what is started.

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wgccl_mpi::mpi;

use crate::{Case, kill};

/// In the environment of processes that take part.
pub(crate) const CASE: &str = "WGCCL_MPI_CASE";

/// What a script says that cannot do it here.
const SKIPPED: i32 = 77;

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

/// What starts processes.
pub(crate) struct Mpirun {
    program: String,
    open_mpi: bool,
}

impl Mpirun {
    fn find() -> Option<Self> {
        let program = std::env::var("WGCCL_MPIRUN").unwrap_or_else(|_| "mpirun".to_owned());
        let version = Command::new(&program).arg("--version").output().ok()?;
        let open_mpi = String::from_utf8_lossy(&version.stdout).contains("Open MPI");
        Some(Self { program, open_mpi })
    }

    /// Of so many processes, more than there are cores if need be; `alone` leaves the others alone when one ends.
    pub(crate) fn command(&self, processes: u32, alone: bool) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-n", &processes.to_string()]);
        // Containers have no other user.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        if self.open_mpi {
            command.arg("--oversubscribe");
        }
        match (alone, self.open_mpi) {
            (true, true) => command.args(["--enable-recovery", "--mca", "orte_abort_on_non_zero_status", "0"]),
            (true, false) => command.arg("-disable-auto-cleanup"),
            (false, _) => &mut command,
        };
        // Other options of a user's: hosts, transports.
        command.args(std::env::var("WGCCL_MPIRUN_ARGS").unwrap_or_default().split_whitespace());
        command
    }
}

pub(crate) fn start_all(cases: &[Case]) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let Some(mpirun) = Mpirun::find() else {
        eprintln!("there is no mpirun; install Open MPI or MPICH, or name it in WGCCL_MPIRUN");
        return ExitCode::FAILURE;
    };
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted));
    let mut failed = 0;
    let mut judge = |what: String, run: &dyn Fn() -> Result<(), String>| {
        let start = Instant::now();
        let result = run();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("mpi {what} ... {verdict} ({:.1} s)", start.elapsed().as_secs_f64());
        if let Err(output) = result {
            eprintln!("{output}");
            failed += 1;
        }
    };
    for case in cases.iter().filter(|case| is_wanted(case.name)) {
        for &processes in case.processes {
            judge(format!("{} on {processes} processes", case.name), &|| {
                let mut command = mpirun.command(processes, false);
                command.env(CASE, case.name).arg(std::env::current_exe().unwrap());
                run(command)
            });
        }
    }
    for case in ["calls", "pieces", "unequal", "broken"].into_iter().filter(|_| is_wanted("hosts")) {
        judge(format!("{case} on 2 hosts of 2 processes"), &|| {
            let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hosts.sh"));
            command.env(CASE, case).arg(std::env::current_exe().unwrap());
            run(command)
        });
    }
    if is_wanted("killed") {
        let rounds = std::env::var("WGCCL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(9);
        judge(format!("killed, {rounds} times"), &|| kill::rounds(&mpirun, rounds));
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
        Some(status) if status.code() == Some(SKIPPED) => {
            println!("mpi skipped: {}", text.trim());
            Ok(())
        }
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
