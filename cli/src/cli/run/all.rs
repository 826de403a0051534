//! `wgccl run` over all tensors of a checkpoint: one run each, a row each, outputs of all of them together.

use std::sync::Arc;

use indicatif::ProgressStyle;
use wgccl::element::Element;
use wgccl::low_level::{Typed, typed};

use super::args::{RunArgs, check_op, found, of_file, of_refused, of_tensors, request};
use super::one::written;
use super::text::{device, time};
use crate::cli::each::{Each, NAME, Row};
use crate::cli::output::{
    BAD, DIM, GOOD, INTERRUPTED, Ticking, named, of_notes, plural, print, print_error, print_json,
};
use crate::device::Device;
use crate::error::{Error, exit};
use crate::plan::Plan;
use crate::run::{Outcome, Request, Source, ranks_of, run as execute};
use crate::signals::say;
use crate::tensor::{self, Files, Output, Tensors};
use crate::text::one_line;

/// A tensor whose element type is known.
struct One<'a> {
    tensors: &'a Tensors,
    request: &'a Request,
    device: &'a Device,
    /// Outputs are wanted.
    kept: bool,
}

/// The outcome, the error that it is, the output, and what is to be said of how it ran.
type Done = (Outcome, Option<Error>, Option<Output<'static>>, Vec<String>);

impl Typed for One<'_> {
    type Output = Result<Done, Error>;

    fn run<T: Element>(self) -> Result<Done, Error> {
        let finished = execute::<T>(self.request, self.device, &(Arc::new(|_| {}) as _))?;
        let error = finished.error();
        let output = (self.kept && error.is_none()).then(|| {
            let views: Vec<&[T]> = finished.outputs.iter().map(Vec::as_slice).collect();
            let shape = self.tensors.shape(self.request.plan.collective().only_root_gives());
            Output::new(self.tensors.name(), &views, shape).into_owned()
        });
        Ok((finished.outcome, error, output, finished.notes))
    }
}

pub(super) fn run(args: &RunArgs, plan: &Plan, files: &Files) -> Result<u8, Error> {
    let name = |tensors: &Tensors| tensors.name().unwrap_or_default().to_owned();
    let of = |tensors: &Tensors| {
        let name = one_line(&name(tensors), NAME);
        move |error: Error| Error::OfTensor { name, error: Box::new(error) }
    };
    // What can be refused of any is refused before the first is computed.
    let mut requests = Vec::new();
    for tensors in &files.tensors {
        let request =
            request(args, plan, Some(tensors.clone())).and_then(|request| check_op(&request).map(|()| request));
        requests.push(request.map_err(of(tensors))?);
    }
    check_ranks(&requests, files)?;
    let mut notes = Vec::new();
    let found = found(args, &mut notes)?;
    let of_inputs = files.tensors.iter().flat_map(|tensors| of_tensors(args, plan, tensors));
    notes.extend(of_file(args, plan));
    notes.extend(of_inputs.take(SHOWN));
    notes.extend(args.output.iter().flat_map(|dir| tensor::left_behind(dir)));

    let bar = Ticking::new();
    bar.bar().set_length(files.tensors.iter().map(Tensors::bytes).sum());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}, about {eta} left: {msg}") {
        bar.bar().set_style(style);
    }
    let saying = say(|| INTERRUPTED.to_owned());
    let (mut rows, mut outputs, mut error) = (Vec::new(), Vec::new(), None);
    for (tensors, request) in files.tensors.iter().zip(&requests) {
        bar.bar().set_message(one_line(&name(tensors), NAME));
        let one = One { tensors, request, device: &found, kept: args.output.is_some() && error.is_none() };
        let (mut outcome, wrong, output, said) =
            typed(request.data_type, one).map_err(|error| of_refused(args, plan, error)).map_err(of(tensors))?;
        outcome.ok = wrong.is_none();
        let new = said.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>();
        notes.extend(new);
        rows.push(Row { tensor: name(tensors), of: outcome });
        outputs.extend(output);
        error = error.or(wrong.map(of(tensors)));
        bar.bar().inc(tensors.bytes());
    }
    drop((saying, bar));

    let mut text = if args.json { String::new() } else { table(&rows, &notes) };
    if let (Some(dir), None) = (&args.output, &error) {
        match files.outputs.save(dir, &outputs) {
            Ok(()) => text += &written(dir),
            Err(failed) => error = Some(failed.into()),
        }
    }
    match args.json {
        true => print_json(&Each::new(&rows, &notes, error.as_ref()))?,
        false => {
            print(&text)?;
            error.iter().for_each(print_error);
        }
    }
    Ok(error.map_or(exit::OK, |error| error.exit_code()))
}

/// Notes on inputs that are shown: a checkpoint may have thousands of tensors of one kind.
const SHOWN: usize = 4;

/// Of a single file each tensor's first axis is the ranks, so all must have the same.
fn check_ranks(requests: &[Request], files: &Files) -> Result<(), Error> {
    let mut first = None;
    for (request, tensors) in requests.iter().zip(&files.tensors) {
        let Source::Files { ranks, .. } = request.source else { continue };
        let ranks = ranks_of(request.plan.task(), tensors, ranks)?;
        let (of, expected) = *first.get_or_insert((tensors, ranks));
        if ranks != expected {
            let [of, name] = [of, tensors].map(|tensors| one_line(tensors.name().unwrap_or_default(), NAME));
            return Err(Error::Usage(format!(
                "the first axis of a single file's tensors is the ranks, and '{of}' has {expected}, '{name}' {ranks}; give a file \
                 per rank, or --ranks 1 for one rank"
            )));
        }
    }
    Ok(())
}

/// What a person reads.
fn table(rows: &[Row<Outcome>], notes: &[String]) -> String {
    let mut text = of_notes(notes);
    let Some(Row { of: first, .. }) = rows.first() else { return text };
    let op = first.op.map_or_else(String::new, |op| format!(", {op}"));
    let tensors = plural(rows.len() as u64, "tensor");
    text += &format!("{}: {} of {tensors}{op}\n\n", first.collective, plural(first.ranks.into(), "rank"));
    text += &named("device", &device(first));
    let width = rows.iter().map(|row| row.tensor.chars().count().min(NAME + 3)).max().unwrap_or(0).max(6);
    text += &format!(
        "\n{DIM}{:<width$}  {:<6}  {:>12}  {:<20}  {:>10}  {:<9}  rounding{DIM:#}\n",
        "tensor", "type", "count", "algorithm", "time", "result"
    );
    for Row { tensor, of: o } in rows {
        let (style, verdict) = if o.ok { (GOOD, "bit-exact") } else { (BAD, "WRONG") };
        let rounding = o.accuracy.map_or_else(String::new, |accuracy| accuracy.brief());
        text += &format!(
            "{:<width$}  {:<6}  {:>12}  {:<20}  {:>10}  {style}{verdict:<9}{style:#}  {rounding}\n",
            one_line(tensor, NAME),
            o.data_type.name(),
            o.count,
            o.origin.to_string(),
            time(o.time_us),
        );
    }
    let (right, all) =
        rows.iter().fold((0, 0), |(right, all), Row { of: o, .. }| (right + o.elements - o.wrong, all + o.elements));
    text + &format!("\n{right} of {all} elements equal the golden")
}
