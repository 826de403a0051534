//! The command line: arguments to library calls to text. It decides nothing.
//!
//! `--json` prints one object and nothing else on stdout, also when a command fails.

mod bench;
mod check;
mod devices;
mod layout;
mod run;

use std::ffi::OsString;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use indicatif::ProgressBar;
use serde::Serialize;
use wgccl::collective::{Collective, Task};
use wgccl::element::DataType;
use wgccl::schedule::{Algorithm, Origin, Recipe, Schedule, Selection, SyncStyle};

use crate::device::{AUTO, kind_of};
use crate::error::{Error, exit};

#[derive(Debug, Parser)]
#[command(name = "wgccl", version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "Without a command, `wgccl run` with its defaults.\n\n\
Exit codes: 0 ok, 1 internal, 2 no such device or device lost, 4 did not finish (hang report),\n\
            6 usage or bad input, 7 wrong data or (bench) too slow;\n\
            130 where a shell reports Ctrl-C";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a collective on a device and compare every bit with the golden
    Run(run::RunArgs),
    /// Measure a collective over sizes, with nccl-tests' flags and columns
    Bench(Box<bench::BenchArgs>),
    /// Prove a schedule: deadlock, races, result
    Check(check::CheckArgs),
    /// Show the window of a rank, byte by byte
    Layout(layout::LayoutArgs),
    /// List the devices and what each can do
    Devices(devices::DevicesArgs),
}

/// Elements of a part where nobody said how many.
const COUNT: usize = 256;

/// Which schedule.
#[derive(Debug, Clone, Args)]
struct ScheduleArgs {
    #[arg(long, value_name = "NAME", value_parser = wgccl::collective::parse::<Selection>,
          help = format!("Algorithm: auto (the fastest by collective, size, ranks and device), {}; a collective has those that \
                          it names when given another [default: mesh, of an all-reduce ring]", algorithms()))]
    algorithm: Option<Selection>,
    /// Who waits for whom between rounds: neighbor or barrier
    #[arg(long, default_value = "neighbor", value_name = "NAME", value_parser = wgccl::collective::parse::<SyncStyle>)]
    sync: SyncStyle,
    /// Root rank of broadcast, reduce, gather and scatter [default: 0]
    #[arg(long, value_name = "RANK")]
    root: Option<u32>,
    #[command(flatten)]
    sources: SourcesArgs,
}

/// Who sends to whom.
#[derive(Debug, Clone, Args)]
struct SourcesArgs {
    /// Of send-recv: the rank from which each rank receives, such as 2,0,1 [default: the one before it]
    #[arg(long, value_name = "RANK,..", value_delimiter = ',')]
    sources: Vec<u32>,
}

impl SourcesArgs {
    fn of(&self, collective: Collective) -> Result<Vec<u32>, Error> {
        match collective {
            Collective::SendRecv => Ok(self.sources.clone()),
            _ if self.sources.is_empty() => Ok(Vec::new()),
            _ => Err(Error::Usage(format!("only send-recv has sources, not {collective}; leave --sources out"))),
        }
    }
}

impl ScheduleArgs {
    fn algorithm(&self, collective: Collective) -> Selection {
        self.algorithm.unwrap_or_else(|| Algorithm::default_of(collective).into())
    }

    fn task(&self, collective: Collective) -> Result<Task, Error> {
        if self.root.is_some() && !collective.has_root() {
            return Err(Error::Usage(format!("{collective} has no root; leave --root out")));
        }
        let mut task = Task::from(collective).root(self.root.unwrap_or(0));
        task.sources = self.sources.of(collective)?;
        Ok(task)
    }
}

/// What a task is beyond its collective, for people.
fn details(root: Option<u32>, sources: &[u32]) -> String {
    let mut text = root.map_or_else(String::new, |root| format!(", root {root}"));
    if !sources.is_empty() {
        let ranks: Vec<String> = sources.iter().map(u32::to_string).collect();
        text += &format!(", from {}", ranks.join(","));
    }
    text
}

/// The launch that `auto` chooses an algorithm for, where nothing is launched.
#[derive(Debug, Clone, Args)]
struct LaunchArgs {
    /// Elements of a part, NCCL's count; K, M and G multiply by powers of 1024 [default: 256]
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<usize>,
    /// Element type: f32, f16, bf16, f64, i32, u32, i64, u64, i8 or u8 [default: f32]
    #[arg(long = "type", value_name = "TYPE", value_parser = wgccl::collective::parse::<DataType>)]
    data_type: Option<DataType>,
    /// For --algorithm auto, as `wgccl run` takes it: auto, cpu, or an index or words of a name [default: auto]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

impl LaunchArgs {
    fn count(&self, collective: Collective) -> usize {
        self.count.unwrap_or(if collective == Collective::Barrier { 0 } else { COUNT })
    }

    fn data_type(&self) -> DataType {
        self.data_type.unwrap_or(DataType::F32)
    }

    /// The schedule, by a chosen algorithm if none is named. The device is looked for only then.
    fn build(&self, args: &ScheduleArgs, collective: Collective, ranks: u32) -> Result<Schedule, Error> {
        let selection = args.algorithm(collective);
        let mut recipe = Recipe::new(args.task(collective)?, ranks).algorithm(selection).sync(args.sync);
        if selection.is_auto() {
            let part_bytes = (self.count(collective) as u64).saturating_mul(self.data_type().bytes() as u64);
            let kind = kind_of(self.device.as_deref().unwrap_or(AUTO))?;
            recipe = recipe.part_bytes(part_bytes).device(kind);
        } else {
            let device = [(self.device.is_some(), "--device")];
            refuse_flags("a device only matters to --algorithm auto, and nothing is launched", &device)?;
        }
        Ok(recipe.build()?)
    }
}

/// Algorithm and synchronisation, and whether the former was chosen: `direct (auto, neighbor)`.
fn how(origin: &Origin, auto: bool, sync: SyncStyle) -> String {
    format!("{origin} ({}{sync})", if auto { "auto, " } else { "" })
}

/// Refuses the first of some flags that was given: it would have no effect.
fn refuse_flags(why: &str, flags: &[(bool, &str)]) -> Result<(), Error> {
    match flags.iter().find(|(given, _)| *given) {
        Some((_, flag)) => Err(Error::Usage(format!("{why}; leave {flag} out"))),
        None => Ok(()),
    }
}

fn check_op(collective: Collective, given: bool, flag: &str) -> Result<(), Error> {
    refuse_flags(&format!("{collective} reduces nothing"), &[(given && !collective.reduces(), flag)])
}

/// A number of things, for people.
fn plural(n: u64, what: &str) -> String {
    let many = if what.ends_with("ch") { "es" } else { "s" };
    format!("{n} {what}{}", if n == 1 { "" } else { many })
}

/// The names of all algorithms, for help.
fn algorithms() -> String {
    let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    names.join(", ")
}

/// Shows on a terminal that something goes on, if it takes longer than a tick; gone when dropped.
struct Spinner(ProgressBar);

impl Spinner {
    fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what);
        bar.enable_steady_tick(TICK);
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What takes less needs no spinner.
const TICK: Duration = Duration::from_millis(250);

/// What is computed, for the positional argument.
fn collective(name: &str) -> Result<Collective, String> {
    if name.ends_with(".xml") || name.ends_with(".json") {
        return Err(format!(
            "'{name}' is a schedule file, and importing those is not supported yet; name a collective"
        ));
    }
    wgccl::collective::parse(name).map_err(|error| error.to_string())
}

/// A count of elements: an integer, with K, M or G for the powers of 1024.
fn count(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: usize = digits.parse().map_err(|_| "give a whole number such as 256, 64K or 1M".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than memory can be addressed for".to_owned())
}

/// Runs the program with `arguments`, the first being its own name, and returns the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
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
        Command::Layout(args) => layout::layout(&args),
        Command::Devices(args) => devices::devices(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            if json {
                let _ = print_json(&Failure { ok: false, error: error.to_string(), hang: error.hang() });
            } else {
                print_error(&error);
            }
            error.exit_code()
        }
    }
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
        let _ = error.print();
        return exit::OK;
    }
    if json {
        let text = error.render().to_string();
        let advice = |line: &str| line.starts_with("Usage:") || line.starts_with("For more information");
        let lines = text.lines().take_while(|line| !advice(line)).flat_map(str::split_whitespace);
        let text = lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
        let _ = print_json(&Failure { ok: false, error: text, hang: None });
    } else {
        let _ = error.print();
    }
    exit::USAGE
}

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

fn print_error(error: &Error) {
    anstream::eprintln!("{BAD}error:{BAD:#} {error}");
}

/// One object, and a broken pipe is no reason to panic.
fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    print(&text)
}

fn print(text: &str) -> Result<(), Error> {
    match print_or_fail(text) {
        // Whoever has read enough has no use for an error.
        Err(Error::Print(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// As [`print`], for what should not go on without a reader.
fn print_or_fail(text: &str) -> Result<(), Error> {
    use std::io::Write;
    Ok(writeln!(anstream::stdout().lock(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn counts_have_binary_suffixes() {
        for (text, value) in
            [("256", Some(256)), ("64K", Some(65536)), ("1m", Some(1 << 20)), ("-1", None), ("1.5G", None), ("", None)]
        {
            assert_eq!(count(text).ok(), value, "{text}");
        }
        assert!(count("99999999999999999G").is_err());
    }
}
