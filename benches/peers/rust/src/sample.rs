//! What every Rust peer shares: inputs, how many calls one time is made of, and the line that hands a measurement over.
//!
//! `allreduce.c` does the same in C, so that all peers are measured alike.

use std::str::FromStr;
use std::time::Duration;

/// What to measure, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub ranks: usize,
    /// f32 elements of a rank's vector.
    pub count: usize,
    /// Seconds that the calls of one repetition should take together.
    pub seconds: f64,
    /// Most repetitions.
    pub repetitions: usize,
    /// Seconds that all repetitions may take; 3 are made in any case.
    pub budget: f64,
}

/// Fewest calls of a repetition and fewest repetitions.
const FEWEST: usize = 3;

impl Case {
    /// From `RANKS BYTES SECONDS REPETITIONS BUDGET`, as `allreduce.c` takes them.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let [ranks, bytes, seconds, repetitions, budget] = args else {
            return Err("give RANKS BYTES SECONDS REPETITIONS BUDGET".to_owned());
        };
        let bytes: usize = number(bytes)?;
        let (ranks, repetitions) = (number(ranks)?, number(repetitions)?);
        let case = Self { ranks, count: bytes / 4, seconds: number(seconds)?, repetitions, budget: number(budget)? };
        match case.ranks > 0 && case.count > 0 && bytes.is_multiple_of(4) {
            true => Ok(case),
            false => Err("RANKS and BYTES must be above 0, and BYTES a multiple of 4".to_owned()),
        }
    }

    /// Times repetitions of `batch`, which makes as many calls as it is told and says what the slowest rank took.
    pub fn measure<E>(&self, mut batch: impl FnMut(usize) -> Result<Duration, E>) -> Result<Times, E> {
        batch(1)?;
        let mut calls = 1;
        let per_call = loop {
            // The shorter of two: one interruption must not pass for a slow peer.
            let took = batch(calls)?.min(batch(calls)?).as_secs_f64();
            if took >= self.seconds / 4.0 {
                break took / calls as f64;
            }
            calls *= 2;
        };
        let calls = ((self.seconds / per_call) as usize).max(FEWEST);
        let affordable = (self.budget / (per_call * calls as f64)) as usize;
        let repetitions = affordable.clamp(FEWEST, self.repetitions.max(FEWEST));
        let times = (0..repetitions).map(|_| Ok(batch(calls)?.as_secs_f64() * 1e6 / calls as f64));
        Ok(Times { calls, times_us: times.collect::<Result<_, _>>()? })
    }

    /// The inputs of all ranks.
    pub fn inputs(&self) -> Vec<Vec<f32>> {
        (0..self.ranks).map(|rank| (0..self.count).map(|index| value(rank, index)).collect()).collect()
    }

    /// Elements of one rank's `output` that are not exactly the sum.
    pub fn wrong(&self, output: &[f32]) -> usize {
        let right = |&(index, &got): &(usize, &f32)| got == (0..self.ranks).map(|rank| value(rank, index)).sum::<f32>();
        let missing = self.count.abs_diff(output.len());
        missing + output.iter().enumerate().filter(|element| !right(element)).count()
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is no such number"))
}

/// Small whole numbers: their sums are exact in any order.
fn value(rank: usize, index: usize) -> f32 {
    ((index * 31 + rank * 17) % 1021) as f32
}

/// Microseconds a call, one for each repetition.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    pub calls: usize,
    pub times_us: Vec<f64>,
}

impl Times {
    /// The line for the program that started this one.
    pub fn line(&self, wrong: usize) -> String {
        let times: Vec<String> = self.times_us.iter().map(|time| format!("{time:.4}")).collect();
        format!("{{\"calls\":{},\"times_us\":[{}],\"wrong\":{wrong}}}", self.calls, times.join(","))
    }
}
