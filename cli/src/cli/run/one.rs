//! `wgccl run` over one tensor, or inputs that are made: everything there is to say of it.

use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use wgccl::collective::Collective;
use wgccl::element::Element;
use wgccl::error::PrepareError;
use wgccl::low_level::{Typed, typed};
use wgccl::schedule::{Algorithm, DeviceKind, SyncStyle};

use super::args::{RunArgs, check_op, found, of_file, of_refused, of_tensors};
use super::text::table;
use crate::cli::args::cannot_write;
use crate::cli::output::{DIM, INTERRUPTED, Ticking, print, print_json};
use crate::device::Device;
use crate::error::{Error, exit};
use crate::run::{Outcome, Request, Source, Stage, Watch, run as execute};
use crate::signals::say;
use crate::tensor::{self, Output, Outputs, Tensors};
use crate::text::plain;
use crate::trace::Told;
use crate::whole;

/// The outcome, and why it is not well if it is not.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn one(args: &RunArgs, request: Request, outputs: &Outputs) -> Result<u8, Error> {
    let mut notes = Vec::new();
    check_op(&request)?;
    let device = found(args, &mut notes)?;
    typed(request.data_type, One { args, request, outputs, device, notes })
}

/// A run whose element type is known.
struct One<'a> {
    args: &'a RunArgs,
    request: Request,
    outputs: &'a Outputs,
    device: Device,
    notes: Vec<String>,
}

impl Typed for One<'_> {
    type Output = Result<u8, Error>;

    fn run<T: Element>(self) -> Result<u8, Error> {
        run_one::<T>(self)
    }
}

fn run_one<T: Element>(of: One<'_>) -> Result<u8, Error> {
    let One { args, request, outputs, device, mut notes } = of;
    let bar = Ticking::new();
    let watch: Watch = {
        let bar = bar.bar().clone();
        Arc::new(move |stage| show(&bar, stage))
    };
    let saying = say(|| INTERRUPTED.to_owned());
    let finished = execute::<T>(&request, &device, &watch);
    drop((saying, bar));
    let mut finished = finished
        .map_err(|error| of_first_axis(args, request.plan.collective(), error))
        .map_err(|error| of_refused(args, &request.plan, error))?;
    let files = match &request.source {
        Source::Files { tensors, .. } => Some(tensors),
        Source::Generated { .. } => None,
    };
    notes.extend(of_file(args, &request.plan));
    notes.append(&mut finished.notes);
    notes.extend(files.into_iter().flat_map(|tensors| of_tensors(args, &request.plan, tensors)));
    if let Some(dir) = &args.output {
        notes.extend(tensor::left_behind(dir));
    }
    notes.extend(args.trace.iter().flat_map(|path| whole::notes(path)));
    let mut error = finished.error();
    let mut text = if args.json { String::new() } else { table(&finished, &notes, faster(args, &finished.outcome)) };
    if let (Some(dir), None) = (&args.output, &error) {
        let views: Vec<&[T]> = finished.outputs.iter().map(Vec::as_slice).collect();
        let shape = files.and_then(|files| files.shape(request.plan.collective().only_root_gives()));
        let name = files.and_then(Tensors::name);
        // The verdict stands, even if the disk is full by now.
        match outputs.save(dir, &[Output::new(name, &views, shape)]) {
            Ok(()) => text += &written(dir),
            Err(failed) => error = Some(failed.into()),
        }
    }
    let mut trace = None;
    if let (Some(path), Some(traced), None) = (&args.trace, &finished.traced, &error) {
        match traced.write(path) {
            Ok(told) => {
                told.lines().iter().for_each(|(name, line)| text += &format!("\n{DIM}{name:<9}{DIM:#} {line}"));
                trace = Some(told);
            }
            Err(failed) => error = Some(cannot_write(path, &failed)),
        }
    }
    finished.outcome.ok = error.is_none();
    if args.json {
        let error = error.as_ref().map(Error::to_string);
        print_json(&Json { outcome: &finished.outcome, notes: &notes, trace, error })?;
    } else {
        print(&text)?;
        if let Some(error) = &error {
            crate::cli::output::print_error(error);
        }
    }
    Ok(error.map_or(exit::OK, |error| error.exit_code()))
}

pub(super) fn written(dir: &Path) -> String {
    format!("\n{DIM}written{DIM:#}   {}", plain(&dir.display().to_string()))
}

/// Says what the run is at.
fn show(bar: &ProgressBar, stage: Stage) {
    let (template, message) = match stage {
        Stage::Launch { pieces, .. } if pieces > 1 => {
            ("{msg}  {bar:30} {bytes}/{total_bytes} of each part, {bytes_per_sec}, about {eta} left", "launch")
        }
        Stage::Launch { .. } => ("{spinner} {msg}", "launch"),
        Stage::Inputs => ("{spinner} {msg}", "inputs"),
        _ => ("{spinner} {msg}", "comparing every bit"),
    };
    match stage {
        Stage::Launch { done, pieces, part_bytes } if done > 0 => {
            bar.set_position(part_bytes / pieces as u64 * done as u64);
        }
        _ => {
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            if let Stage::Launch { part_bytes, .. } = stage {
                bar.set_length(part_bytes);
            }
            bar.set_message(message);
        }
    }
}

/// Where a file's first axis is more ranks than there can be, it hardly was meant so.
fn of_first_axis(args: &RunArgs, collective: Collective, error: Error) -> Error {
    match (&error, &args.input[..]) {
        (Error::Prepare(PrepareError::Ranks { ranks, .. }), [file]) if !collective.only_root_gives() => {
            Error::Usage(format!(
                "{error}\nthe first axis of {}, which is {ranks} long, was taken as ranks: give a file for each rank, or \
                 --ranks 1 for one rank",
                file.display()
            ))
        }
        _ => error,
    }
}

/// What `auto` takes in place of an algorithm that nobody named.
fn faster(args: &RunArgs, o: &Outcome) -> Option<Algorithm> {
    // What the table says is of one device.
    if o.shares.is_some() || o.sync != Some(SyncStyle::default()) || args.schedule.algorithm.is_some() {
        return None;
    }
    let kinds: &[DeviceKind] = match o.dispatch {
        None => &[DeviceKind::Cpu],
        Some(_) => &[DeviceKind::Software, DeviceKind::Gpu],
    };
    let part_bytes = (o.count as u64).saturating_mul(o.data_type.bytes() as u64);
    let mut chosen = kinds.iter().map(|&kind| Algorithm::choose(o.collective, o.ranks, part_bytes, kind));
    let first = chosen.next()?;
    (chosen.all(|other| other == first) && o.origin.algorithm() != Some(first)).then_some(first)
}
