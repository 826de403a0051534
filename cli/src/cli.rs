//! The command line: arguments to library calls to text. It decides nothing.
//!
//! `--json` prints one object and nothing else on stdout, also when a command fails.

mod args;
mod bench;
mod check;
mod completions;
mod convert;
mod devices;
mod each;
mod help;
mod layout;
mod lint;
mod man;
mod output;
mod picture;
mod placed;
mod run;
mod show;
mod source;
#[cfg(not(feature = "mpi"))]
mod unjoined;
mod values;
mod verify;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::error::{Error, exit};
use crate::signals;
use output::{print_error, print_json, unless_gone};

const NAME: &str = "wgccl";

#[derive(Debug, Parser)]
#[command(name = NAME, version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    shown: ShownArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// How everything is shown.
#[derive(Debug, Args)]
struct ShownArgs {
    /// Colours: on a terminal unless NO_COLOR is set, always, or never
    #[arg(long, alias = "colour", global = true, value_name = "WHEN", default_value = "auto", ignore_case = true)]
    color: ColorChoice,
    /// Results and errors only: no progress, no notes
    #[arg(short, long, global = true)]
    quiet: bool,
}

const EXIT_CODES: &str = "Without a command, `wgccl run` with its defaults. `wgccl COMMAND --help` has examples.\n\n\
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
    /// Draw a schedule: on the terminal, or as a picture
    Show(show::ShowArgs),
    /// Say what runtimes would refuse of an MSCCL file, and what it moves
    Lint(lint::LintArgs),
    /// Write a schedule in the format of other tools
    Convert(convert::ConvertArgs),
    /// Show the window of a rank, byte by byte
    Layout(layout::LayoutArgs),
    /// List the devices and what each can do
    Devices(devices::DevicesArgs),
    /// Print what a shell completes command lines with
    Completions(completions::CompletionsArgs),
    /// Print the manual
    Man(man::ManArgs),
}

/// The program's command line.
fn command() -> clap::Command {
    help::dress(Cli::command())
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// Runs the program with `arguments`, the first being its own name, and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    signals::install();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    color(&arguments);
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        // Help, too.
        #[cfg(feature = "mpi")]
        Err(_) if !crate::device::processes::is_first() => return exit::OK,
        Err(error) => return refuse(with_tip(error), json),
    };
    output::be_quiet(cli.shown.quiet);
    #[cfg(not(feature = "mpi"))]
    unjoined::note(|name| std::env::var(name).ok()).iter().for_each(|note| output::note_aside(note));
    let result = match cli.command.unwrap_or_else(|| Command::Run(run::RunArgs::default())) {
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Check(args) => check::check(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Show(args) => show::show(&args),
        Command::Lint(args) => lint::lint(&args),
        Command::Convert(args) => convert::convert(&args),
        Command::Layout(args) => layout::layout(&args),
        Command::Devices(args) => devices::devices(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
    };
    #[cfg(feature = "mpi")]
    let result = crate::device::processes::told_once(result);
    let code = match result {
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
    };
    signals::leave(code);
    code
}

/// Whether these are a command line: what `fuzz/` asks.
#[doc(hidden)]
pub fn accepts(arguments: impl IntoIterator<Item = OsString>) -> bool {
    parse(&arguments.into_iter().collect::<Vec<_>>()).is_ok()
}

/// Before arguments are understood, because what is wrong with them is shown so, too.
fn color(arguments: &[OsString]) {
    let mut choice = ColorChoice::Auto;
    for (i, argument) in arguments.iter().enumerate() {
        let argument = argument.to_string_lossy();
        let (name, value) = argument.split_once('=').map_or((&*argument, None), |(name, value)| (name, Some(value)));
        if ["--color", "--colour"].contains(&name) {
            let next = arguments.get(i + 1).map(|value| value.to_string_lossy());
            let value = value.or(next.as_deref()).unwrap_or_default();
            choice = ColorChoice::from_str(value, true).unwrap_or(choice);
        }
    }
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// With the commands that take an option which this one does not.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return error };
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let given = given.split('=').next().unwrap_or(given).to_owned();
    let takes = |arg: &clap::Arg| match given.strip_prefix("--") {
        Some(long) => arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long)),
        None => arg.get_short().is_some_and(|short| given == format!("-{short}")),
    };
    let program = command();
    let has = |command: &&clap::Command| command.get_arguments().any(|arg| !arg.is_hide_set() && takes(arg));
    let names: Vec<String> =
        program.get_subcommands().filter(has).map(|command| format!("'{NAME} {}'", command.get_name())).collect();
    if !names.is_empty() {
        let verb = if names.len() == 1 { "takes" } else { "take" };
        let tip = format!("{} {verb} {given}", names.join(" and "));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
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
fn refuse(error: clap::Error, json: bool) -> u8 {
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
        command().debug_assert();
    }
}
