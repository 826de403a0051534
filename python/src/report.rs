//! What the proofs say, as Python has it: the program's own words, and the lines that made the instructions that they name.

use std::sync::Arc;

use pyo3::prelude::*;
use wgccl::proof::{Finding, Outcome, Report, Verdict};
use wgccl::schedule::{Schedule, Site};

use crate::lines::{Line, Lines};
use crate::picture;

/// The rows of a signal matrix that have names.
pub(crate) type Rows = Vec<(u32, String)>;

/// Six proofs and how they ended.
#[pyclass(frozen, module = "wgccl", name = "Report")]
pub(crate) struct PyReport {
    report: Report,
    lines: Lines,
    /// To draw it, with whether it was proved in place.
    of: Option<(Arc<Schedule>, bool)>,
}

/// One of the proofs.
#[pyclass(frozen, get_all, module = "wgccl", name = "Proof")]
pub(crate) struct PyProof {
    name: String,
    /// One of holds, fails, not-reached.
    verdict: &'static str,
    ok: bool,
    /// What was proved, or what is the case instead.
    statement: &'static str,
    /// Up to eight.
    findings: Vec<Py<PyFinding>>,
    /// All of them.
    count: usize,
}

/// One thing that is wrong, and where.
#[pyclass(frozen, get_all, module = "wgccl", name = "Finding")]
pub(crate) struct PyFinding {
    message: String,
    rank: Option<u32>,
    lane: Option<u32>,
    instruction: Option<u32>,
    label: Option<String>,
    /// The Python line that made the instruction.
    file: Option<String>,
    line: Option<u32>,
    /// Ranks whose contribution is missing.
    lacks: Vec<u32>,
    /// Ranks whose contribution is there more than once.
    twice: Vec<u32>,
}

/// A text of the library's, with names for rows, and behind each instruction that it names the line that made it.
pub(crate) fn told(text: &str, schedule: &Schedule, lines: &Lines, rows: &Rows) -> String {
    const MARK: &str = "(lane ";
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let (before, named) = rest.split_at(at);
        told += before;
        let Some(end) = named.find(')') else { break };
        let (inside, after) = (&named[MARK.len()..end], &named[end..]);
        let numbers = inside.split_once(", instruction ").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        told += &named[..end];
        if let Some((lane, instruction)) = numbers
            && let Some(line) = lines.at(lane, instruction)
            // A label that is the line itself says it already.
            && Site::at(schedule, lane, instruction).is_some_and(|site| site.label != label(&line))
        {
            told += &format!(", {}", line.short());
        }
        rest = after;
    }
    told += rest;
    for (row, name) in rows {
        told = told.replace(&format!("[row {row}]"), &format!("[{name}]"));
    }
    told
}

/// What an instruction is called that nobody has named.
pub(crate) fn label(line: &Line) -> wgccl::schedule::Label {
    wgccl::schedule::Label::numbered(format!("{} line", crate::lines::name(&line.file)).into(), line.line)
}

/// The report with sentences as [`told`].
pub(crate) fn annotate(report: &mut Report, schedule: &Schedule, lines: &Lines, rows: &Rows) {
    for finding in report.proofs.iter_mut().flat_map(|outcome| &mut outcome.findings) {
        finding.message = told(&finding.message, schedule, lines, rows);
    }
}

impl PyReport {
    pub(crate) fn bare(report: Report) -> Self {
        Self { report, lines: Lines::default(), of: None }
    }

    /// Of a report that was annotated.
    pub(crate) fn new(report: Report, lines: Lines, of: (Arc<Schedule>, bool)) -> Self {
        Self { report, lines, of: Some(of) }
    }

    fn finding(&self, finding: &Finding) -> PyFinding {
        let site = finding.site.as_ref();
        let line = site.and_then(|site| self.lines.at(site.lane, site.instruction));
        PyFinding {
            message: finding.message.clone(),
            rank: site.map(|site| site.rank),
            lane: site.map(|site| site.lane),
            instruction: site.map(|site| site.instruction),
            label: site.map(|site| site.label.to_string()),
            file: line.as_ref().map(|line| line.file.to_string()),
            line: line.map(|line| line.line),
            lacks: finding.lacks.clone(),
            twice: finding.twice.clone(),
        }
    }

    fn proof(&self, py: Python<'_>, outcome: &Outcome) -> PyResult<PyProof> {
        let findings = outcome.findings.iter().map(|finding| Py::new(py, self.finding(finding)));
        Ok(PyProof {
            name: outcome.proof.to_string(),
            verdict: match outcome.verdict {
                Verdict::Holds => "holds",
                Verdict::Fails => "fails",
                _ => "not-reached",
            },
            ok: outcome.ok,
            statement: outcome.statement,
            findings: findings.collect::<PyResult<_>>()?,
            count: outcome.count,
        })
    }
}

#[pymethods]
impl PyReport {
    /// Whether the schedule may be run: every proof holds, information aside.
    #[getter]
    fn ok(&self) -> bool {
        self.report.ok()
    }

    /// The six, in order.
    #[getter]
    fn proofs(&self, py: Python<'_>) -> PyResult<Vec<PyProof>> {
        self.report.proofs.iter().map(|outcome| self.proof(py, outcome)).collect()
    }

    /// Of all proofs.
    #[getter]
    fn findings(&self) -> Vec<PyFinding> {
        let all = self.report.proofs.iter().flat_map(|outcome| &outcome.findings);
        all.map(|finding| self.finding(finding)).collect()
    }

    fn __bool__(&self) -> bool {
        self.ok()
    }

    /// As the program prints it.
    fn __repr__(&self) -> String {
        self.report.to_string()
    }

    /// The verdicts, and the picture.
    fn _repr_html_(&self) -> String {
        let text = format!("<pre>{}</pre>", picture::escape(&self.report.to_string()));
        let drawn = self.of.as_ref().and_then(|(schedule, in_place)| picture::drawing(schedule, *in_place, false).ok());
        text + &drawn.unwrap_or_default()
    }
}

#[pymethods]
impl PyProof {
    fn __bool__(&self) -> bool {
        self.ok
    }

    fn __repr__(&self) -> String {
        format!("<Proof {}: {}>", self.name, self.verdict)
    }
}

#[pymethods]
impl PyFinding {
    fn __repr__(&self) -> &str {
        &self.message
    }
}
