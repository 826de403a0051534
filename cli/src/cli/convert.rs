//! `wgccl convert`: a schedule in the format of other tools.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use wgccl::element::DataType;
use wgccl::format::chakra::{ChakraOptions, chakra};
use wgccl::format::goal::{GoalOptions, goal};
use wgccl::format::msccl::{Algo, Proto};
use wgccl::low_level::payload::Payload;
use wgccl::proof::{self, prove};
use wgccl::schedule::DeviceKind;

use super::args::{FileArgs, ScheduleArgs, cannot_write, default_count, ranks_of};
use super::output::{note_aside, print};
use super::source::{Source, sources};
use super::values::{Names, one_of};
use crate::amount::whole;
use crate::error::{Error, exit};
use crate::memory::check_count;
use crate::names;
use crate::signals::hold;
use crate::whole as files;

/// Where nobody says how many.
const RANKS: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// A collective, an algorithm of the all-reduce or of --collective, or a file with a schedule
    #[arg(value_name = "COLLECTIVE|ALGORITHM|FILE", value_parser = sources())]
    what: Source,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    file: FileArgs,
    /// Number of ranks [default: 4]
    #[arg(short = 'P', long, alias = "nranks", value_name = "P", value_parser = whole::<u32>)]
    ranks: Option<u32>,
    /// Format
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,
    /// Of MSCCL XML: what connections are made of [default: Simple]
    #[arg(long, value_name = "NAME", value_parser = protos())]
    proto: Option<Proto>,
    /// Elements of a part, of traces, which have bytes: 1000, 64K, 1e6 [default: 256]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    count: Option<usize>,
    /// Element type, of traces, which have bytes [default: f32]
    #[arg(short = 'd', long = "type", visible_alias = "datatype", alias = "dtype", value_name = "TYPE", value_parser = one_of(DataType::ALL, DataType::name))]
    data_type: Option<DataType>,
    /// A new file, or of chakra what the names PREFIX.RANK.et begin with [default: standard output]
    #[arg(long, value_name = "FILE|PREFIX")]
    output: Option<PathBuf>,
}

/// What other tools read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// MSCCL XML, which MSCCL, RCCL and the Azure executor run
    Msccl,
    /// Chakra execution traces, which ASTRA-sim reads
    Chakra,
    /// GOAL, which LogGOPSim reads
    Goal,
    /// A document of wgccl's
    Wgccl,
}

fn protos() -> Names<Proto> {
    const ALL: [Proto; 3] = [Proto::Simple, Proto::LowLatency, Proto::LowLatency128];
    Names::new(ALL.map(Proto::name), |text| {
        let found = ALL.into_iter().find(|proto| names::is(text, proto.name()));
        found.ok_or_else(|| format!("'{text}' is none of Simple, LL, LL128"))
    })
}

pub(super) fn convert(args: &ConvertArgs) -> Result<u8, Error> {
    check_flags(args)?;
    let plan = args.what.plan(&args.schedule, &args.file)?;
    let ranks = ranks_of(&plan, args.ranks, RANKS)?;
    let schedule = plan.draft(ranks, 0, DeviceKind::Cpu)?.build()?;
    let in_place = plan.file().is_some_and(|loaded| loaded.in_place);
    let proved = prove(schedule, proof::Options::default().in_place(in_place))?;
    if args.to == Format::Wgccl {
        if in_place {
            note_aside("a document does not say that it is for calls in place: give --in-place with it");
        }
        let text = serde_json::to_string_pretty(proved.schedule()).map_err(std::io::Error::from)?;
        return put(args, &text);
    }
    let algo = match plan.file().and_then(|loaded| loaded.msccl.as_ref()) {
        Some(of) => of.algo.clone().proto(args.proto.unwrap_or(of.algo.proto)),
        None => Algo::of(&proved, args.proto.unwrap_or(Proto::Simple)).map_err(|error| {
            let by_way = if args.to == Format::Msccl { "" } else { "traces are made of the steps of MSCCL XML: " };
            Error::Usage(format!("{by_way}{error}"))
        })?,
    };
    let count = args.count.unwrap_or_else(|| default_count(&plan));
    let element_bytes = args.data_type.unwrap_or(DataType::F32).bytes();
    check_count(plan.collective(), count)?;
    let payload = Payload::new(proved.schedule(), count, element_bytes)?;
    let chunk_bytes = payload.chunk_bytes() as u64;
    match args.to {
        Format::Msccl | Format::Wgccl => {
            let root = proved.schedule().task.root;
            if plan.collective().has_root() && root > 0 {
                note_aside(&format!("MSCCL XML does not say who the root is: read this with --root {root}"));
            }
            put(args, algo.to_string().trim_end())
        }
        Format::Goal => put(args, goal(&algo, GoalOptions::new(chunk_bytes)).trim_end()),
        Format::Chakra => traces(prefix(args)?, &chakra(&algo, ChakraOptions::new(chunk_bytes))),
    }
}

fn check_flags(args: &ConvertArgs) -> Result<(), Error> {
    if args.to != Format::Msccl {
        super::args::refuse_flags("only MSCCL XML has a proto", &[(args.proto.is_some(), "--proto")])?;
    }
    if matches!(args.to, Format::Msccl | Format::Wgccl) {
        let flags = [(args.count.is_some(), "--count"), (args.data_type.is_some(), "--type")];
        super::args::refuse_flags("this format has chunks and no bytes", &flags)?;
    }
    match &args.output {
        _ if args.to == Format::Chakra => prefix(args).map(drop),
        Some(path) => files::check(path).map_err(|error| cannot_write(path, &error)),
        None => Ok(()),
    }
}

/// What the names of files begin with.
fn prefix(args: &ConvertArgs) -> Result<&Path, Error> {
    let Some(prefix) = args.output.as_deref() else {
        return Err(Error::Usage("chakra is a file for each rank; give --output PREFIX".to_owned()));
    };
    let ends = |text: &str| prefix.as_os_str().as_encoded_bytes().ends_with(text.as_bytes());
    match prefix.file_name() {
        Some(_) if !ends("/") && !ends("/.") && !prefix.is_dir() => Ok(prefix),
        _ => Err(Error::Usage(format!(
            "--output is what the names of files begin with, and {} is a directory; add to it, as in {}",
            prefix.display(),
            prefix.join("ring").display()
        ))),
    }
}

fn put(args: &ConvertArgs, text: &str) -> Result<u8, Error> {
    match &args.output {
        None => print(text)?,
        Some(path) => {
            files::create(path, format!("{text}\n").as_bytes()).map_err(|error| cannot_write(path, &error))?;
        }
    }
    Ok(exit::OK)
}

/// All of them or none.
fn traces(prefix: &Path, ranks: &[Vec<u8>]) -> Result<u8, Error> {
    let path = |rank: usize| {
        let mut name = prefix.as_os_str().to_owned();
        name.push(format!(".{rank}.et"));
        PathBuf::from(name)
    };
    for rank in 0..ranks.len() {
        files::check(&path(rank)).map_err(|error| cannot_write(&path(rank), &error))?;
    }
    // A signal ends it between two files, and not without removing the first ones.
    let _held = hold();
    for (rank, bytes) in ranks.iter().enumerate() {
        if let Err(error) = files::create(&path(rank), bytes) {
            (0..rank).for_each(|rank| drop(std::fs::remove_file(path(rank))));
            return Err(cannot_write(&path(rank), &error));
        }
    }
    Ok(exit::OK)
}
