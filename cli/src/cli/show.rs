//! `wgccl show`: a schedule as a picture, on the terminal or in a file.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;
use wgccl::proof;
use wgccl::show::{Line, Picture, Tone, text};

use super::args::{FileArgs, LaunchArgs, ScheduleArgs, ranks_of};
use super::output::{BAD, DIM, GOOD, Ticking, print, print_json};
use super::picture::{PictureArgs, check_size, picture};
use super::placed::Placed;
use super::source::{Source, sources};
use crate::amount::whole;
use crate::error::{Error, exit};
use crate::run::check_place;

/// Where nobody says how many.
const RANKS: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A collective, an algorithm of the all-reduce or of --collective, or a file with a schedule
    #[arg(default_value = "all-reduce", value_name = "COLLECTIVE|ALGORITHM|FILE", value_parser = sources())]
    what: Source,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    file: FileArgs,
    /// Number of ranks [default: 4]
    #[arg(short = 'P', long, alias = "nranks", value_name = "P", value_parser = whole::<u32>)]
    ranks: Option<u32>,
    #[command(flatten)]
    launch: LaunchArgs,
    /// Let every rank's input and output be one buffer, by NCCL's rules
    #[arg(long)]
    in_place: bool,
    #[command(flatten)]
    picture: PictureArgs,
    /// Print the picture's data as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    picture: &'a Picture,
    #[serde(skip_serializing_if = "Option::is_none")]
    placed: Option<Placed>,
}

pub(super) fn show(args: &ShowArgs) -> Result<u8, Error> {
    args.picture.check_targets(args.json.then_some("the object of --json"))?;
    let plan = args.what.plan(&args.schedule, &args.file)?;
    let collective = plan.collective();
    let in_place = args.in_place || plan.file().is_some_and(|loaded| loaded.in_place);
    check_place(collective, in_place)?;
    args.launch.check(collective)?;
    let ranks = ranks_of(&plan, args.ranks, RANKS)?;
    let only = args.picture.only(ranks)?;
    let spinner = Ticking::spinner("drawing");
    let draft = args.launch.draft(&plan, ranks)?;
    check_size(&draft)?;
    let schedule = draft.build()?;
    let picture = picture(&plan, &args.launch, &schedule, proof::Options::default().in_place(in_place))?;
    let placed = Placed::of(&args.launch, &plan, &schedule, in_place)?;
    drop(spinner);
    args.picture.write(&picture)?;
    if args.json {
        print_json(&Json { picture: &picture, placed })?;
    } else if !args.picture.is_given() {
        let placed = placed.map_or_else(String::new, |placed| format!("\n\n{}", placed.text().trim_end()));
        print(&(coloured(&text(&picture, only)) + &placed))?;
    }
    Ok(exit::OK)
}

fn coloured(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        for (tone, piece) in &line.0 {
            let style = style(*tone);
            let _ = write!(text, "{style}{piece}{style:#}");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Heading => Style::new().bold(),
        Tone::Dim => DIM,
        Tone::Reduce => AnsiColor::Cyan.on_default(),
        Tone::Bad => BAD,
        Tone::Good => GOOD,
        _ => Style::new(),
    }
}
