//! The positional argument of commands in which the name of an algorithm is enough.
//!
//! Apart from `args`, whose commands need to know a collective first.

use std::str::FromStr;

use wgccl::collective::Collective;
use wgccl::schedule::Algorithm;

use super::args::{FileArgs, ScheduleArgs, Subject, refuse_flags, subject};
use super::values::Names;
use crate::error::Error;
use crate::plan::Plan;

/// A collective, an algorithm of one, or a file.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Algorithm(Algorithm),
    Other(Subject),
}

pub(super) fn sources() -> Names<Source> {
    let every = Collective::ALL.iter().map(|collective| collective.name());
    Names::new(every.chain(Algorithm::ALL.iter().map(|algorithm| algorithm.name())), |text| {
        // Names of collectives are not names of algorithms.
        match Algorithm::from_str(text) {
            Ok(algorithm) => Ok(Source::Algorithm(algorithm)),
            Err(_) => {
                let algorithms: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
                subject(text, &algorithms).map(Source::Other)
            }
        }
    })
}

impl Source {
    /// The schedule that it is about. An algorithm is one of the all-reduce unless --collective names another.
    pub(super) fn plan(&self, schedule: &ScheduleArgs, file: &FileArgs) -> Result<Plan, Error> {
        match self {
            Self::Other(subject) => subject.plan(schedule, file),
            Self::Algorithm(algorithm) => {
                let named = [(schedule.algorithm.is_some(), "--algorithm")];
                refuse_flags("the algorithm is named already", &named)?;
                let subject = Subject::Collective(file.collective.unwrap_or(Collective::AllReduce));
                let schedule = ScheduleArgs { algorithm: Some((*algorithm).into()), ..schedule.clone() };
                subject.plan(&schedule, &FileArgs { collective: None, ..file.clone() })
            }
        }
    }
}
