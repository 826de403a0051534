//! What is seen of a sweep while it goes on: the table, the record, and what a signal leaves.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::args::BenchArgs;
use super::progress::Progress;
use crate::bench::command;
use crate::bench::machine::Machine;
use crate::bench::record::{Contents, Record};
use crate::bench::report::Report;
use crate::bench::request::Request;
use crate::bench::result::{Device, Row};
use crate::bench::summary::Summary;
use crate::bench::sweep::{Next, Observer, Plan};
use crate::bench::table::Columns;
use crate::bench::{now, utc};
use crate::cli::args::cannot_write;
use crate::cli::output::{is_quiet, plural, print_or_fail};
use crate::error::Error;
use crate::text::plain;
use crate::trace::{Told, Traced};
use crate::whole;

/// Prints and records rows as they come.
pub(super) struct Printer<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) request: &'a Request,
    pub(super) least: Option<f64>,
    /// By the local clock and in UTC.
    pub(super) start: [String; 2],
    pub(super) machine: Machine,
    /// Once the sweep has begun.
    pub(super) report: Option<Report<'a>>,
    pub(super) record: Option<Record>,
    pub(super) devices: Vec<Device>,
    pub(super) rows: Vec<Row>,
    pub(super) progress: Progress,
    /// Of the launch that was traced.
    pub(super) told: Option<Told>,
    /// What a signal leaves.
    pub(super) kept: Arc<Mutex<String>>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(args: &'a BenchArgs, request: &'a Request, least: Option<f64>) -> Self {
        Self {
            args,
            request,
            least,
            start: [now(), utc()],
            machine: Machine::this(),
            report: None,
            record: None,
            devices: Vec::new(),
            rows: Vec::new(),
            progress: Progress::new(),
            told: None,
            kept: Arc::new(Mutex::new("interrupted before the first row".to_owned())),
        }
    }

    /// A line of the table. A reader that has gone ends the sweep.
    pub(super) fn line(&self, text: &str) -> Result<(), Error> {
        match self.args.json {
            true => Ok(()),
            false => self.progress.suspend(|| print_or_fail(text)),
        }
    }

    pub(super) fn with_contents<T>(
        &self,
        errors: &[String],
        complete: bool,
        then: impl FnOnce(&Contents<'_>) -> T,
    ) -> T {
        then(&Contents {
            args: &command::cleaned(std::env::args_os()),
            machine: &self.machine,
            request: self.request,
            devices: &self.devices,
            rows: &self.rows,
            summary: &self.summary(),
            errors,
            start_time: &self.start[0],
            start_time_utc: &self.start[1],
            complete,
        })
    }

    pub(super) fn summary(&self) -> Summary {
        Summary::of(self.request, &self.rows, self.least)
    }

    /// Notes what a signal leaves from now on.
    fn keep(&self) {
        let rows = plural(self.rows.len() as u64, "row");
        let text = match &self.record {
            Some(record) => format!("interrupted: {} keeps {rows}", shown(record.path())),
            None => format!("interrupted after {rows}: with -J FILE a record keeps them"),
        };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn update_record(&mut self) -> Result<(), Error> {
        let written = match self.record.take() {
            None => true,
            Some(mut record) => {
                let updated = self.with_contents(&[], false, |contents| record.update(contents));
                self.record = Some(record);
                updated?
            }
        };
        if written {
            self.keep();
        }
        Ok(())
    }
}

impl Observer for Printer<'_> {
    fn begin(&mut self, devices: &[Device], plan: &Plan, notes: &[String]) -> Result<(), Error> {
        let BenchArgs { per_iteration, timestamps, memory, .. } = *self.args;
        let rows = plan.rows.saturating_mul(self.request.cycles.max(1));
        if self.request.trace && (rows != 1 || self.request.cycles != 1) {
            return Err(Error::Usage(format!(
                "--trace is of one row, and these are {rows}; choose one size with -b and -e, and one device, mode, number of \
                 ranks, type, operation and algorithm"
            )));
        }
        self.devices = devices.to_vec();
        // Everything has been found to make sense by now.
        if let Some(path) = &self.args.record {
            self.record = Some(self.with_contents(&[], false, |contents| Record::create(path, contents))?);
        }
        self.keep();
        let columns = Columns { ours: self.args.columns == "wgccl", per_iteration, timestamps, memory };
        self.report = Some(Report::new(columns, self.request, devices.to_vec(), self.least));
        if let Some(record) = &self.record {
            self.line(&format!("# Writing record to {}", shown(record.path())))?;
        }
        let written = self.args.record.iter().chain(&self.args.plot).chain(&self.args.trace);
        let notes =
            notes.iter().cloned().chain(chosen(self.args, plan)).chain(written.flat_map(|path| whole::notes(path)));
        for note in notes.filter(|_| !is_quiet()) {
            self.line(&format!("# note: {}", plain(&note)))?;
        }
        self.progress.begin(plan, self.request.cycles);
        Ok(())
    }

    fn next(&mut self, next: Next) {
        self.progress.next(next);
    }

    fn row(&mut self, row: Row) -> Result<(), Error> {
        let text = self.report.as_mut().map_or_else(String::new, |report| report.row(&row));
        self.rows.push(row);
        self.update_record()?;
        self.progress.done();
        self.line(&text)
    }

    fn traced(&mut self, traced: Traced) -> Result<(), Error> {
        let Some(path) = &self.args.trace else { return Ok(()) };
        let told = traced.write(path).map_err(|error| cannot_write(path, &error))?;
        self.told = Some(told);
        Ok(())
    }
}

/// What `auto` takes, where nobody named an algorithm.
fn chosen(args: &BenchArgs, plan: &Plan) -> Option<String> {
    let unnamed = args.algorithm.is_none() && !plan.auto.is_empty();
    unnamed.then(|| format!("no --algorithm: measuring {}, which auto takes here", plan.auto.join(" and ")))
}

/// A path that a glob may have found.
pub(super) fn shown(path: &Path) -> String {
    plain(&path.display().to_string())
}
