//! What `check` answers beside its verdicts: what a launch would do, why a chunk holds what it holds, what orders two instructions.
//!
//! Questions of a schedule that was looked at already, so they are asked last.

use serde::Serialize;
use wgccl::proof::{Between, Effect, Harmless, Options, Proof, Report, Run, Why};
use wgccl::schedule::{Edit, Schedule};

use super::super::output::{BAD, DIM};
use crate::error::Error;
use crate::text::plain_lines;

/// What is asked.
pub(super) struct Questions<'a> {
    pub(super) why: &'a [String],
    /// Two instructions each.
    pub(super) order: &'a [String],
}

impl Questions<'_> {
    pub(super) fn are_there(&self) -> bool {
        !self.why.is_empty() || !self.order.is_empty()
    }
}

/// The answers.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answers {
    #[serde(skip_serializing_if = "Option::is_none")]
    launch: Option<Effect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    harmless: Option<Harmless>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<Why>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    order: Vec<Between>,
}

impl Answers {
    /// Asks `schedule`.
    pub(super) fn of(schedule: &Schedule, options: Options, questions: &Questions<'_>) -> Result<Self, Error> {
        if !questions.are_there() {
            return Ok(Self::default());
        }
        let usage = |error: &dyn std::error::Error| Error::Usage(error.to_string());
        let run = Run::of(schedule, options)?;
        let why = questions.why.iter().map(|text| {
            let place = schedule.place(text).map_err(|error| usage(&error))?;
            run.why(place).map_err(|error| usage(&error))
        });
        let order = questions.order.chunks_exact(2).map(|two| {
            let site = |text: &String| run.schedule().find(text).map_err(|error| usage(&error));
            run.between(&site(&two[0])?, &site(&two[1])?).map_err(|error| usage(&error))
        });
        let (why, order) = (why.collect::<Result<_, Error>>()?, order.collect::<Result<_, Error>>()?);
        Ok(Self { why, order, ..Self::default() })
    }

    /// Adds what a launch of `schedule` would do, if it is not safe: of a race, a run that goes wrong.
    pub(super) fn launch(&mut self, schedule: &Schedule, options: Options) {
        self.launch = Some(Effect::of(schedule, options));
    }

    /// Adds why `edit` does not harm `whole`, if that is so.
    pub(super) fn harmless(&mut self, whole: &Schedule, edit: Edit, options: Options) -> Result<(), Error> {
        self.harmless = Harmless::of(whole, edit, options).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(())
    }

    /// For people, behind the verdicts.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let launch = self.launch.as_ref().filter(|_| self.harmless.is_none());
        let mut add = |style: anstyle::Style, answer: String| {
            let answer = plain_lines(&answer);
            let (head, rest) = answer.split_once('\n').map_or((&*answer, ""), |(head, rest)| (head, rest));
            let gap = if rest.is_empty() { "" } else { "\n" };
            text += &format!("\n{style}{head}{style:#}{gap}{rest}\n");
        };
        if let Some(harmless) = &self.harmless {
            add(DIM, harmless.to_string());
        }
        if let Some(launch) = launch {
            add(BAD, launch.to_string());
        }
        self.why.iter().for_each(|why| add(DIM, why.to_string()));
        self.order.iter().for_each(|between| add(DIM, between.to_string()));
        text
    }
}

/// Whether a run that goes wrong says more than the report does.
pub(super) fn races(report: &Report) -> bool {
    report.holds(Proof::DeadlockFree) && !report.holds(Proof::RaceFree)
}
