//! `wgccl verify`: what another program computed, held against a schedule's golden bit by bit.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::ProgressStyle;
use serde::Serialize;
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::Element;
use wgccl::golden::Tolerance;
use wgccl::low_level::{Typed, typed};
use wgccl::schedule::Algorithm;

use super::args::collectives;
use super::output::{BAD, DIM, GOOD, Ticking, plural, print, print_error, print_json};
use super::values::{Names, one_of};
use crate::amount::whole;
use crate::error::{Error, exit};
use crate::names;
use crate::tensor::Tensors;
use crate::verify::{Expected, Report, Request, Watch, verify};

/// The word for any algorithm.
const ANY: &str = "any";

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// What was computed
    #[arg(long, default_value = "all-reduce", value_name = "NAME", value_parser = collectives())]
    collective: Collective,
    /// What went in: .npy or .safetensors, a file per rank
    ///
    /// One file per rank, or one of shape [ranks, n]; of broadcast and scatter the root's alone.
    #[arg(long, num_args = 1.., value_name = "FILE", required = true)]
    input: Vec<PathBuf>,
    /// What came out: as --input, of each rank that has an output
    ///
    /// Where all get the same, one file may stand for all.
    #[arg(long, num_args = 1.., value_name = "FILE", required = true)]
    output: Vec<PathBuf>,
    /// Tensor of .safetensors files that hold several
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

struct Verify<'a>(&'a VerifyArgs, Request);

impl Typed for Verify<'_> {
    type Output = Result<u8, Error>;

    fn run<T: Element>(self) -> Result<u8, Error> {
        let Self(args, request) = self;
        let ticking = Ticking::new();
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, about {eta} left")
        {
            ticking.bar().set_style(style);
        }
        let bar = ticking.bar().clone();
        let watch: Watch = Arc::new(move |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        });
        let report = verify::<T>(&request, &watch);
        drop(ticking);
        let report = report?;
        let error = (!report.ok).then(|| of(&report));
        if args.json {
            print_json(&Json { report: &report, error: error.as_ref().map(Error::to_string) })?;
        } else {
            print(&table(&report, &request, args))?;
            if let Some(error) = &error {
                print_error(error);
            }
        }
        Ok(error.map_or(exit::OK, |error| error.exit_code()))
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
    let inputs = Tensors::open(&args.input, args.tensor.as_deref())?;
    let outputs = Tensors::open(&args.output, args.tensor.as_deref())?;
    let data_type = inputs.data_type()?;
    let tolerance = (args.rtol.is_some() || args.atol.is_some())
        .then(|| Tolerance::new(args.rtol.unwrap_or(0.0), args.atol.unwrap_or(0.0)));
    let request = Request {
        task,
        expected: args.algorithm.unwrap_or(Expected::Any),
        op: args.op.unwrap_or(Op::Sum),
        ranks: args.ranks,
        inputs,
        outputs,
        tolerance,
    };
    typed(data_type, Verify(args, request))
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
    let names = |all: &[Algorithm]| all.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
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
