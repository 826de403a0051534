//! `wgccl bench`: nccl-tests' flags in, its report out.

mod args;
mod card;
#[cfg(feature = "mpi")]
mod others;
mod printer;
mod progress;
mod request;

use std::path::Path;
use std::sync::PoisonError;

use super::args::{check_apart, check_trace};
use super::output::{print, print_error};
use crate::bench::plot::{self, Shown};
use crate::bench::record::{self, Recorded};
use crate::bench::sweep::sweep;
use crate::bench::{check_new, compare};
use crate::error::{BenchError, Error, exit};
use crate::signals::say;
use crate::text::plain;
use crate::trace::Told;
pub(super) use args::BenchArgs;
use printer::{Printer, shown};
use request::request;

/// What a CI sets to demand a bandwidth, in GB/s.
const MIN_BW: &str = "WGCCL_MIN_BW";

/// What `WGCCL_MIN_BW` demands.
fn least_bandwidth() -> Result<Option<f64>, Error> {
    match std::env::var(MIN_BW) {
        Err(_) => Ok(None),
        Ok(text) => match text.parse::<f64>() {
            Ok(least) if least.is_finite() => Ok(Some(least)),
            _ => Err(Error::Usage(format!("{MIN_BW} is '{text}'; give a bandwidth in GB/s"))),
        },
    }
}

/// How a picture calls the record at `path`.
fn name_of(path: &Path) -> String {
    plain(&path.file_stem().unwrap_or_default().to_string_lossy())
}

fn compared(args: &BenchArgs, a: &Path, b: &Path) -> Result<u8, Error> {
    if let Some(path) = &args.plot {
        check_new(path)?;
    }
    let comparison = compare::compare(a, b)?;
    print(&comparison.text)?;
    if let Some(path) = &args.plot {
        plot::draw_comparison(path, &comparison)?;
        print(&format!("# Picture written to {}", shown(path)))?;
    }
    match args.fail_above.map(|ratio| (comparison.slower_than(ratio), ratio)) {
        Some((rows, ratio)) if rows > 0 => Err(BenchError::Regressed { rows, ratio }.into()),
        _ => Ok(exit::OK),
    }
}

pub(super) fn bench(args: &BenchArgs) -> Result<u8, Error> {
    #[cfg(feature = "mpi")]
    if let Some(said) = others::take_part(args) {
        return said;
    }
    if let Some(file) = &args.card {
        return card::card(args, file.as_deref());
    }
    if let [a, b] = &args.compare[..] {
        return compared(args, a, b);
    }
    if let Some(path) = args.plot.as_ref().filter(|_| !args.from.is_empty()) {
        let records = args.from.iter().map(|path| Ok(Recorded::read(path)?.shown(name_of(path))));
        plot::draw(path, &records.collect::<Result<Vec<_>, BenchError>>()?)?;
        print(&format!("# Picture written to {}", shown(path)))?;
        return Ok(exit::OK);
    }
    let (request, least) = (request(args)?, least_bandwidth()?);
    let files = [("-J", &args.record), ("--plot", &args.plot), ("--trace", &args.trace)];
    check_apart(&files.map(|(flag, path)| (flag, path.as_deref())))?;
    if let Some(path) = &args.plot {
        check_new(path)?;
    }
    if let Some(path) = &args.trace {
        check_trace(path)?;
    }
    let mut printer = Printer::new(args, &request, least);
    let kept = printer.kept.clone();
    let saying = say(move || kept.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let result = sweep(&request, &mut printer);
    drop(saying);
    printer.progress.finish();
    if printer.report.is_none() {
        return result.map(|()| exit::OK);
    }

    let (complete, summary) = (result.is_ok(), printer.summary());
    let gone = matches!(&result, Err(Error::Print(error)) if error.kind() == std::io::ErrorKind::BrokenPipe);
    let mut error = match result {
        Err(_) if gone => None,
        Err(error) => Some(error),
        Ok(()) if summary.wrong > 0 => Some(BenchError::Wrong(summary.wrong).into()),
        Ok(()) if summary.fast_enough() == Some(false) => {
            let (average, least) = (summary.slowest, least.unwrap_or_default());
            Some(BenchError::Slow { average, least }.into())
        }
        Ok(()) => None,
    };
    let said = |error: &Option<Error>| error.iter().map(ToString::to_string).collect::<Vec<_>>();
    if let Some(mut record) = printer.record.take() {
        let written = printer.with_contents(&said(&error), complete, |contents| record.write(contents));
        error = error.or(written.err().map(Error::from));
    }
    if let (Some(path), false) = (&args.plot, printer.rows.is_empty()) {
        let (devices, rows) = (printer.devices.clone(), printer.rows.clone());
        let record = Shown { name: String::new(), machine: Some(printer.machine.clone()), devices, rows };
        match plot::draw(path, &[record]) {
            Ok(()) => drop(printer.line(&format!("# Picture written to {}", shown(path)))),
            Err(failed) => error = error.or(Some(failed.into())),
        }
    }
    for (name, line) in printer.told.iter().flat_map(Told::lines) {
        drop(printer.line(format!("# {name:<9} {line}").trim_end()));
    }
    if gone {
        return Ok(exit::OK);
    }
    let errors = said(&error);
    if args.json {
        let text = printer.with_contents(&errors, complete, record::json).map_err(std::io::Error::from)?;
        print(text.trim_end())?;
    } else if let Some(report) = &printer.report {
        print(&report.finish(&errors))?;
    }
    Ok(match error {
        Some(error) => {
            if !args.json {
                print_error(&error);
            }
            error.exit_code()
        }
        None => exit::OK,
    })
}
