//! The command line: arguments to library calls to text. It decides nothing.
//!
//! `--json` prints one object and nothing else on stdout, also when a command fails.

mod args;
mod bench;
mod check;
mod devices;
mod layout;
mod output;
mod run;
mod verify;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::error::{Error, exit};
use crate::signals;
use output::{print_error, print_json, unless_gone};

#[derive(Debug, Parser)]
#[command(name = "wgccl", version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "Without a command, `wgccl run` with its defaults.\n\n\
Exit codes: 0 ok, 1 internal, 2 no such device or device lost, 4 did not finish (hang report),\n\
            6 usage or bad input, also a directory or file that another run has taken,\n\
            7 wrong data or (bench) too slow; 128 + its number where a shell reports a signal: 130 is Ctrl-C";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a collective on a device and compare every bit with the golden
    Run(run::RunArgs),
    /// Measure a collective over sizes, with nccl-tests' flags and columns
    Bench(Box<bench::BenchArgs>),
    /// Prove a schedule: deadlock, races, result
    Check(check::CheckArgs),
    /// Hold what another program computed against the golden, bit by bit
    Verify(verify::VerifyArgs),
    /// Show the window of a rank, byte by byte
    Layout(layout::LayoutArgs),
    /// List the devices and what each can do
    Devices(devices::DevicesArgs),
}

/// Runs the program with `arguments`, the first being its own name, and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    signals::install();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, json),
    };
    let result = match cli.command.unwrap_or_else(|| Command::Run(run::RunArgs::default())) {
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Check(args) => check::check(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Layout(args) => layout::layout(&args),
        Command::Devices(args) => devices::devices(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Where nothing can be written to stdout, stderr is left.
            let unprinted = matches!(error, Error::Print(_));
            let failure = || Failure { ok: false, error: error.to_string(), hang: error.hang() };
            if !json || unprinted || print_json(&failure()).is_err() {
                print_error(&error);
            }
            error.exit_code()
        }
    }
}

/// Whether these are a command line: what `fuzz/` asks.
#[doc(hidden)]
pub fn accepts(arguments: impl IntoIterator<Item = OsString>) -> bool {
    Cli::try_parse_from(arguments).is_ok()
}

/// What every failed command prints with `--json`.
#[derive(Serialize)]
struct Failure<'a> {
    ok: bool,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hang: Option<&'a wgccl::hang::Hang>,
}

/// Help and version are not errors; everything else is one line with a hint.
fn refuse(error: &clap::Error, json: bool) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match unless_gone(error.print().map_err(Error::from)) {
            Ok(()) => exit::OK,
            Err(error) => {
                print_error(&error);
                error.exit_code()
            }
        };
    }
    let printed = json && {
        let text = error.render().to_string();
        let advice = |line: &str| line.starts_with("Usage:") || line.starts_with("For more information");
        let lines = text.lines().take_while(|line| !advice(line)).flat_map(str::split_whitespace);
        let text = lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
        print_json(&Failure { ok: false, error: text, hang: None }).is_ok()
    };
    if !printed {
        let _ = error.print();
    }
    exit::USAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
