//! `wgccl verify`: what another program computed, held against a schedule's golden bit by bit.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::ProgressStyle;
use serde::Serialize;
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::{DataType, Element};
use wgccl::golden::Tolerance;
use wgccl::low_level::{Typed, typed};
use wgccl::schedule::Algorithm;

use super::args::{collectives, type_of};
use super::each::{Each, NAME, Row};
use super::output::{BAD, DIM, GOOD, Ticking, of_notes, plural, print, print_error, print_json};
use super::values::{Names, one_of};
use crate::amount::whole;
use crate::error::{Error, exit};
use crate::names;
use crate::tensor::{Files, Tensors};
use crate::text::one_line;
use crate::verify::{Expected, Report, Request, Watch, verify};

/// The word for any algorithm.
const ANY: &str = "any";

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// What was computed
    #[arg(long, default_value = "all-reduce", value_name = "NAME", value_parser = collectives())]
    collective: Collective,
    /// What went in: .npy, .npz or .safetensors, a file per rank
    ///
    /// One file per rank, or one of shape [ranks, n], which --ranks 1 takes whole; of broadcast and scatter the root's alone. An
    /// index of safetensors files stands for all of them, - is standard input. Of files that hold several tensors all are taken.
    #[arg(long, num_args = 1.., value_name = "FILE", required = true)]
    input: Vec<PathBuf>,
    /// What came out: as --input, of each rank that has an output
    ///
    /// Where all get the same, one file may stand for all.
    #[arg(long, num_args = 1.., value_name = "FILE", required = true)]
    output: Vec<PathBuf>,
    /// Of files that hold several tensors, take these
    #[arg(long, num_args = 1.., value_name = "NAME")]
    tensor: Vec<String>,
    /// Element type, where the files do not say it: fp8 in .npy files [default: that of the inputs]
    #[arg(short = 'd', long = "type", visible_alias = "datatype", alias = "dtype", value_name = "TYPE", value_parser = one_of(DataType::ALL, DataType::name))]
    data_type: Option<DataType>,
    /// Algorithm whose order of additions is expected, or any [default: any]
    ///
    /// Any finds out which orders give these bits [default: any].
    #[arg(long, alias = "algo", value_name = "NAME", value_parser = expected())]
    algorithm: Option<Expected>,
    /// Reduction; avg is of floats [default: sum]
    #[arg(short, long, alias = "redop", value_name = "OP", value_parser = one_of(Op::ALL, Op::name))]
    op: Option<Op>,
    /// Number of ranks, where the root's input alone does not say it
    #[arg(short = 'P', long, alias = "nranks", value_name = "P", value_parser = whole::<u32>)]
    ranks: Option<u32>,
    /// Root rank of broadcast, reduce, gather and scatter [default: 0]
    #[arg(short, long, value_name = "RANK", value_parser = whole::<u32>)]
    root: Option<u32>,
    #[command(flatten)]
    sources: super::args::SourcesArgs,
    /// Accept elements that are at most `atol + rtol * |expected|` apart
    ///
    /// Without --rtol and --atol every bit must be equal.
    #[arg(long, value_name = "X", value_parser = tolerance)]
    rtol: Option<f64>,
    /// See --rtol
    #[arg(long, value_name = "X", value_parser = tolerance)]
    atol: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn expected() -> Names<Expected> {
    let every = [ANY].into_iter().chain(Algorithm::ALL.iter().map(|algorithm| algorithm.name()));
    Names::new(every, |name| match names::is(name, ANY) {
        true => Ok(Expected::Any),
        false => names::parse(name).map(Expected::Of),
    })
}

fn tolerance(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|x: &f64| x.is_finite() && *x >= 0.0)
        .ok_or_else(|| "give a number that is not negative".into())
}

/// The report, and why it is not well if it is not.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

struct Verify<'a>(&'a Request, Watch);

impl Typed for Verify<'_> {
    type Output = Result<Report, Error>;

    fn run<T: Element>(self) -> Result<Report, Error> {
        verify::<T>(self.0, &self.1)
    }
}

pub(super) fn run(args: &VerifyArgs) -> Result<u8, Error> {
    let collective = args.collective;
    super::args::check_op(collective, args.op.is_some(), "--op")?;
    if args.root.is_some() && !collective.has_root() {
        return Err(Error::Usage(format!("{collective} has no root; leave --root out")));
    }
    let mut task = Task::from(collective).root(args.root.unwrap_or(0));
    task.sources = args.sources.of(collective)?;
    let mut inputs = Files::open(&args.input, &args.tensor)?.taken_as(args.data_type);
    if args.data_type.is_some() {
        inputs.tensors.iter().try_for_each(|tensors| type_of(tensors, &args.input, args.data_type).map(drop))?;
    }
    if args.ranks == Some(1) {
        inputs = inputs.as_one_rank();
    }
    let outputs = Files::open(&args.output, &args.tensor)?;
    let tolerance = (args.rtol.is_some() || args.atol.is_some())
        .then(|| Tolerance::new(args.rtol.unwrap_or(0.0), args.atol.unwrap_or(0.0)));
    let request = |inputs: &Tensors, outputs: &Tensors| Request {
        task: task.clone(),
        expected: args.algorithm.unwrap_or(Expected::Any),
        op: args.op.unwrap_or(Op::Sum),
        ranks: args.ranks,
        inputs: inputs.clone(),
        outputs: outputs.clone().taken_as(inputs.data_type().ok()),
        tolerance,
    };
    let taken = args.ranks.is_none() && !collective.only_root_gives();
    let first_axis = |tensors: &Tensors| taken.then(|| tensors.first_axis()).flatten();
    if let ([input], [output]) = (&inputs.tensors[..], &outputs.tensors[..]) {
        let notes: Vec<String> = first_axis(input).into_iter().collect();
        return one(args, &request(input, output), &notes);
    }
    let mut requests = Vec::new();
    for input in &inputs.tensors {
        let name = input.name().unwrap_or_default();
        let output = outputs.tensors.iter().find(|output| output.name() == Some(name)).ok_or_else(|| {
            Error::Usage(format!("the outputs hold no tensor '{}', which the inputs hold", one_line(name, NAME)))
        })?;
        requests.push((name.to_owned(), request(input, output)));
    }
    let notes: Vec<String> = inputs.tensors.first().and_then(first_axis).into_iter().collect();
    all(args, &requests, &notes)
}

fn bar() -> Ticking {
    let ticking = Ticking::new();
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, about {eta} left {msg}")
    {
        ticking.bar().set_style(style);
    }
    ticking
}

fn one(args: &VerifyArgs, request: &Request, notes: &[String]) -> Result<u8, Error> {
    let ticking = bar();
    let bar = ticking.bar().clone();
    let watch: Watch = Arc::new(move |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    let report = typed(request.inputs.data_type()?, Verify(request, watch));
    drop(ticking);
    let report = report?;
    let error = (!report.ok).then(|| of(&report));
    if args.json {
        print_json(&Json { report: &report, notes, error: error.as_ref().map(Error::to_string) })?;
    } else {
        print(&(of_notes(notes) + &table(&report, request, args)))?;
        error.iter().for_each(print_error);
    }
    Ok(error.map_or(exit::OK, |error| error.exit_code()))
}

/// Tensor by tensor, a row each.
fn all(args: &VerifyArgs, requests: &[(String, Request)], notes: &[String]) -> Result<u8, Error> {
    let ticking = bar();
    ticking.bar().set_length(requests.iter().map(|(_, request)| request.inputs.bytes()).sum());
    let (mut rows, mut error) = (Vec::new(), None);
    for (name, request) in requests {
        let of_tensor = |error: Error| Error::OfTensor { name: one_line(name, NAME), error: Box::new(error) };
        ticking.bar().set_message(one_line(name, NAME));
        let verified = request.inputs.data_type().map_err(Error::from);
        let verified = verified.and_then(|data_type| typed(data_type, Verify(request, Arc::new(|_, _| {}))));
        let report = verified.map_err(of_tensor)?;
        if !report.ok && error.is_none() {
            error = Some(of_tensor(of(&report)));
        }
        rows.push(Row { tensor: name.clone(), of: report });
        ticking.bar().inc(request.inputs.bytes());
    }
    drop(ticking);
    if args.json {
        print_json(&Each::new(&rows, notes, error.as_ref()))?;
    } else {
        print(&(of_notes(notes) + &table_of_all(&rows)))?;
        error.iter().for_each(print_error);
    }
    Ok(error.map_or(exit::OK, |error| error.exit_code()))
}

/// What a person reads of several tensors.
fn table_of_all(rows: &[Row<Report>]) -> String {
    let mut text = String::new();
    let Some(Row { of: first, .. }) = rows.first() else { return text };
    let op = first.op.map_or_else(String::new, |op| format!(", {op}"));
    let tensors = plural(rows.len() as u64, "tensor");
    text += &format!("{}: {} of {tensors}{op}\n", first.collective, plural(first.ranks.into(), "rank"));
    let width = rows.iter().map(|row| row.tensor.chars().count().min(NAME + 3)).max().unwrap_or(0).max(6);
    text += &format!("\n{DIM}{:<width$}  {:<6}  {:>12}  {:<8}  of{DIM:#}", "tensor", "type", "count", "result");
    for Row { tensor, of: report } in rows {
        let (style, verdict, of) = match (report.differences.differing, report.ok) {
            (0, _) => (GOOD, "equal", names(&report.equal)),
            (some, true) => (GOOD, "close", format!("{} but for {some} elements", report.against)),
            (some, false) => (BAD, "differs", format!("{} in {some} of {} elements", report.against, report.elements)),
        };
        text += &format!(
            "\n{:<width$}  {:<6}  {:>12}  {style}{verdict:<8}{style:#}  {of}",
            one_line(tensor, NAME),
            report.data_type.name(),
            report.count
        );
    }
    text
}

fn names(all: &[Algorithm]) -> String {
    all.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
}

/// The error that a difference is.
fn of(report: &Report) -> Error {
    let (rank, index) = report.differences.first.first().map_or((0, 0), |first| (first.rank, first.index));
    Error::Wrong { wrong: report.differences.differing, elements: report.elements, rank, index }
}

/// What a person reads.
fn table(report: &Report, request: &Request, args: &VerifyArgs) -> String {
    let Report { collective, op, data_type, ranks, count, elements, tried, equal, against, differences, accuracy, ok } =
        report;
    let op = op.map_or_else(String::new, |op| format!(", {op}"));
    let mut text = format!("{collective}: {} of {count} {data_type}{op}\n", plural((*ranks).into(), "rank"));
    let mut line = |name: &str, value: &str| {
        let _ = write!(text, "\n{DIM}{name:<9}{DIM:#} {value}");
    };
    if request.expected == Expected::Any {
        line("tried", &names(tried));
        line("equal", &if equal.is_empty() { "none of them gives these bits".to_owned() } else { names(equal) });
    }
    let of_all = format!("of {elements} elements");
    if differences.differing == 0 {
        let flushed = match differences.flushed {
            0 => String::new(),
            some => format!(", {some} of them where subnormals are flushed to zero"),
        };
        line("", &format!("{GOOD}equal{GOOD:#} in every bit to {against}: {elements} {of_all}{flushed}"));
        return text;
    }
    line("against", against.name());
    let style = if *ok { GOOD } else { BAD };
    let verdict = if *ok { "close" } else { "differs" };
    line("", &format!("{style}{verdict}{style:#}: {} {of_all} differ", differences.differing));
    if request.tolerance.is_some() {
        let (rtol, atol) = (args.rtol.unwrap_or(0.0), args.atol.unwrap_or(0.0));
        line("", &format!("{} of them by more than rtol {rtol:e}, atol {atol:e}", differences.beyond));
    }
    const SHOWN: usize = 8;
    let ranks: Vec<String> = differences
        .ranks_differing
        .iter()
        .take(SHOWN)
        .map(|of| format!("{} on rank {}", of.differing, of.rank))
        .collect();
    let more = differences.ranks_differing.len().saturating_sub(SHOWN);
    line("where", &(ranks.join(", ") + &if more > 0 { format!(" and {more} more ranks") } else { String::new() }));
    line("apart", &format!("at most {:.1} ulp of what was expected", differences.max_ulp_apart));
    for (name, said) in report.op.zip(*accuracy).map(|(op, of)| of.lines(op, *data_type)).into_iter().flatten() {
        line(name, &said);
    }
    let _ =
        writeln!(text, "\n\n{DIM}{:>6}  {:>12}  {:<26}  {:<26}  bits{DIM:#}", "rank", "element", "expected", "found");
    for first in &differences.first {
        let of = |value: &str, bits: &str| format!("{value} ({bits})");
        let bits: Vec<String> = first.bits.iter().map(u32::to_string).collect();
        let bits = if bits.len() > SHOWN { format!("{} bits", bits.len()) } else { bits.join(" ") };
        let _ = writeln!(
            text,
            "{:>6}  {:>12}  {:<26}  {:<26}  {bits}",
            first.rank,
            first.index,
            of(&first.expected, &first.expected_bits),
            of(&first.found, &first.found_bits)
        );
    }
    if differences.differing > differences.first.len() as u64 {
        let _ = writeln!(text, "{:>6}  and {} more", "", differences.differing - differences.first.len() as u64);
    }
    text.trim_end().to_owned()
}
