//! The measurements of a card, in the order in which they are missed least if time runs out.

use std::time::{Duration, Instant};

use wgccl::collective::{Collective, Task};
use wgccl::schedule::{Algorithm, Selection};

use super::value::{Best, Card, CopyRoof, Launch, LeftOut, SCHEMA};
use crate::amount::size_name;
use crate::bench::bandwidth::rate;
use crate::bench::machine::Machine;
use crate::bench::request::Request;
use crate::bench::result::{self, Row};
use crate::bench::size::{Range, Step};
use crate::bench::stamp::utc;
use crate::bench::statistics::quartiles;
use crate::bench::sweep::{Next, Observer, Plan, sweep_on};
use crate::device::Device;
use crate::dispatch::Dispatch;
use crate::error::{BenchError, Error};
use crate::memory::check_memory;

/// Of a rank's vector.
const SIZES: [u64; 3] = [1 << 10, 1 << 20, 64 << 20];
/// Numbers of ranks, the first for which there is memory.
const RANKS: [u32; 3] = [8, 4, 2];
/// Which part of the time others than the chosen algorithm and mode may take.
const OTHERS: f64 = 0.4;
/// What the launches of a large size may take together.
const LAUNCHES: Duration = Duration::from_millis(1500);

/// Measures `device` until `end` at the latest, as far as a launch can be ended. `seen` gets every state of the card, and what
/// is measured next.
///
/// # Errors
/// Of a device that does not run the least of all launches.
pub fn measure(device: &Device, end: Instant, seen: &mut dyn FnMut(&Card, &str)) -> Result<Card, Error> {
    let ways: Vec<Dispatch> = match device.gpu() {
        None => vec![Dispatch::AUTO],
        Some(_) => Dispatch::all(None).into_iter().filter(|&way| device.refuses(way).is_none()).collect(),
    };
    let (ranks, fits) = ranks();
    let card = Card {
        schema: SCHEMA,
        ok: true,
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("WGCCL_COMMIT"),
        time_utc: utc(),
        device: device.describe(),
        machine: Machine::this(),
        ranks,
        launch: Vec::new(),
        roof: None,
        all_reduce: Vec::new(),
        left_out: Vec::new(),
        checked: 0,
        wrong: 0,
    };
    let mut work = Work { device, end, card, seen };
    work.launches(&ways)?;
    let mut done: Vec<Cost> = Vec::new();
    // Each size by what is chosen for it, before anything else is tried.
    for bytes in SIZES {
        let begun = Instant::now();
        let iterations = work.request(bytes, Selection::Auto, Dispatch::AUTO).iterations;
        let row = work.size(bytes, &done, fits)?;
        if let Some((row, (_, samples))) = row.as_ref().and_then(|row| Some((row, row.first()?))) {
            done.push(Cost {
                bytes,
                took: begun.elapsed(),
                iterations,
                launch: samples.statistics.p50,
                copy: row.roof.time,
            });
        }
    }
    work.others(&ways, &done);
    Ok(work.card)
}

/// What a row took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    bytes: u64,
    took: Duration,
    /// Timed launches, and copies of two kinds.
    iterations: usize,
    /// Medians in microseconds.
    launch: f64,
    copy: f64,
}

impl Cost {
    /// Seconds of launches and copies, were there so many of them.
    fn repeated(&self, iterations: usize) -> f64 {
        let n = iterations as f64;
        // Warm-up and check aside; copies are of two or three kinds.
        (1.2 * n * self.launch + 2.5 * n * self.copy) / 1e6
    }

    /// Seconds of everything else.
    fn rest(&self) -> f64 {
        (self.took.as_secs_f64() - self.repeated(self.iterations)).max(0.0)
    }
}

/// Seconds that a row of `bytes` takes, where everything but what the first row took as well grows in proportion.
fn needed(done: &[Cost], bytes: u64, iterations: usize) -> f64 {
    let (Some(first), Some(last)) = (done.first(), done.last()) else { return 0.0 };
    let growth = bytes as f64 / last.bytes as f64;
    let fixed = first.rest().min(last.rest());
    fixed + growth * (last.rest() - fixed + last.repeated(iterations))
}

/// How many ranks, and whether there is memory for the largest size.
fn ranks() -> (u32, bool) {
    let (task, largest) = (Task::from(Collective::AllReduce), (SIZES[2] / 4) as usize);
    // What a software device calls its memory is the machine's, too.
    let fits = |ranks: &u32| check_memory(&task, *ranks, 2 * largest, 4).is_ok();
    RANKS.into_iter().find(fits).map_or((RANKS[0], false), |ranks| (ranks, true))
}

struct Work<'a> {
    device: &'a Device,
    end: Instant,
    card: Card,
    seen: &'a mut dyn FnMut(&Card, &str),
}

/// Takes rows as they come.
struct Rows<'a> {
    rows: Vec<Row>,
    next: &'a mut dyn FnMut(&str),
}

impl Observer for Rows<'_> {
    fn begin(&mut self, _: &[result::Device], _: &Plan, _: &[String]) -> Result<(), Error> {
        Ok(())
    }

    fn next(&mut self, next: Next) {
        (self.next)(&next.what);
    }

    fn row(&mut self, row: Row) -> Result<(), Error> {
        self.rows.push(row);
        Ok(())
    }
}

impl Work<'_> {
    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// One row, checked.
    fn row(&mut self, request: &Request) -> Result<Option<Row>, Error> {
        let request = Request {
            ranks: vec![self.card.ranks],
            timeout: Some(self.left().max(Duration::from_millis(1))),
            only_apart: true,
            ..request.clone()
        };
        let Self { card, seen, .. } = self;
        let mut next = |what: &str| seen(card, what);
        let mut rows = Rows { rows: Vec::new(), next: &mut next };
        sweep_on(&request, std::slice::from_ref(self.device), Vec::new(), &mut rows)?;
        let row = rows.rows.pop();
        if let Some(wrong) = row.as_ref().and_then(|row| row.first()?.0.nwrong) {
            self.card.checked += 1;
            self.card.wrong += wrong;
            self.card.ok = self.card.wrong == 0;
        }
        Ok(row)
    }

    fn leave_out(&mut self, what: String, bytes: Option<u64>, why: String) {
        self.card.left_out.push(LeftOut { what, why, bytes });
    }

    /// Barriers in every mode.
    fn launches(&mut self, ways: &[Dispatch]) -> Result<(), Error> {
        for &way in ways {
            let request = Request {
                collective: Collective::Barrier,
                algorithms: vec![Selection::Auto],
                dispatch: vec![way],
                iterations: 100,
                warmup: 20,
                ..Request::default()
            };
            match self.row(&request) {
                Ok(row) => {
                    if let Some((placement, _)) = row.as_ref().and_then(Row::first) {
                        let us = placement.host_p50.unwrap_or(placement.host_time);
                        self.card.launch.push(Launch { dispatch: placement.dispatch_name(), us });
                    }
                }
                Err(error) => match late(&error) {
                    Some(why) => self.leave_out(format!("launch, {way}"), None, why),
                    None => return Err(error),
                },
            }
        }
        self.card.launch.sort_by(|a, b| a.us.total_cmp(&b.us));
        Ok(())
    }

    /// A size by what is chosen for it, if there is time and memory.
    fn size(&mut self, bytes: u64, done: &[Cost], fits: bool) -> Result<Option<Row>, Error> {
        let what = size_name(bytes);
        if bytes == SIZES[2] && !fits {
            self.leave_out(what, Some(bytes), "not enough memory is free".to_owned());
            return Ok(None);
        }
        let request = self.request(bytes, Selection::Auto, Dispatch::AUTO);
        let (left, needed) = (self.left().as_secs_f64(), needed(done, bytes, request.iterations));
        if left == 0.0 || (bytes == SIZES[2] && needed > left) {
            let why = match left == 0.0 {
                true => "no time was left".to_owned(),
                false => format!("it takes about {needed:.0} s, and {left:.0} s were left"),
            };
            self.leave_out(what, Some(bytes), why);
            return Ok(None);
        }
        let why = match self.row(&request) {
            Ok(row) => {
                row.iter().for_each(|row| self.take(row));
                return Ok(row);
            }
            Err(error) => match late(&error) {
                Some(why) => why,
                None if bytes == SIZES[2] => error.to_string(),
                None => return Err(error),
            },
        };
        self.leave_out(what, Some(bytes), why);
        Ok(None)
    }

    fn request(&self, bytes: u64, selection: Selection, way: Dispatch) -> Request {
        let (iterations, warmup) = match bytes {
            b if b <= SIZES[0] => (100, 20),
            b if b <= SIZES[1] => (30, 5),
            _ => {
                let of_less = self.card.all_reduce.iter().rfind(|best| best.bytes < bytes);
                let launch = of_less.map_or(1e6, |best| best.us * bytes as f64 / best.bytes as f64);
                let most = LAUNCHES.as_secs_f64() * 1e6 / launch.max(1.0);
                ((most as usize).clamp(3, 20), 1)
            }
        };
        Request {
            algorithms: vec![selection],
            dispatch: vec![way],
            range: Range { first: bytes, last: bytes, step: Step::Factor(2) },
            iterations,
            warmup,
            copies: iterations.min(20),
            ..Request::default()
        }
    }

    /// Puts a row on the card where it is the best of its size.
    fn take(&mut self, row: &Row) {
        let Some(best) = best(row) else { return };
        // The roof of large vectors is that of memory; of small ones, of launches.
        let bytes = row.size * u64::from(row.ranks);
        if self.card.roof.as_ref().is_none_or(|roof| roof.bytes < bytes) {
            self.card.roof = Some(CopyRoof { bytes, bandwidth: row.roof.bandwidth, by: row.roof.by });
        }
        match self.card.all_reduce.iter_mut().find(|known| known.bytes == best.bytes) {
            Some(known) => {
                let tried = known.tried + 1;
                if best.us < known.us {
                    *known = best;
                }
                known.tried = tried;
            }
            None => self.card.all_reduce.push(best),
        }
    }

    /// Other modes and algorithms, small sizes first, as long as there is time for them.
    fn others(&mut self, ways: &[Dispatch], done: &[Cost]) {
        let until = Instant::now() + self.left().mul_f64(OTHERS);
        for &Cost { bytes, took, .. } in done {
            let kind = self.card.device.device_kind();
            let chosen = Algorithm::choose(Collective::AllReduce, self.card.ranks, bytes, kind);
            let ways = ways.iter().filter(|way| way.mode.is_some()).map(|&way| (chosen, way));
            let others = Algorithm::of(Collective::AllReduce).into_iter().filter(|&algorithm| algorithm != chosen);
            let others = others.map(|algorithm| (algorithm, Dispatch::AUTO));
            for (algorithm, way) in ways.chain(others) {
                if Instant::now() + took > until {
                    break;
                }
                // What is none of a device's is no loss: the chosen one has been measured.
                let request = self.request(bytes, algorithm.into(), way);
                match self.row(&request) {
                    Ok(Some(row)) => self.take(&row),
                    Ok(None) => {}
                    Err(error) => log::info!("{} by {algorithm}, {way}: {error}", size_name(bytes)),
                }
            }
        }
    }
}

/// Why a row is left out that took too long.
fn late(error: &Error) -> Option<String> {
    match error {
        Error::Bench(BenchError::Timeout { .. }) => Some("the time was over".to_owned()),
        error if error.exit_code() == crate::error::exit::HANG => Some("it did not finish in time".to_owned()),
        _ => None,
    }
}

fn best(row: &Row) -> Option<Best> {
    let (placement, samples) = row.first()?;
    let times = samples.times_us.get(samples.skipped_iterations..).unwrap_or_default();
    let [low, us, high] = quartiles(times).unwrap_or([samples.statistics.p50; 3]);
    Some(Best {
        bytes: row.size,
        us,
        quartiles_us: [low, high],
        clock: placement.clock,
        bus_bw: rate(row.size as f64, us) * row.collective.bus_factor(row.ranks),
        roof_pct: 100.0 * rate(row.bytes_moved as f64, us) / row.roof.bandwidth.max(f64::MIN_POSITIVE),
        algorithm: row.origin.to_string(),
        dispatch: placement.dispatch_name(),
        tried: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_grows_with_what_is_moved() {
        let second = Duration::from_secs(1);
        // A second of pipelines, and then as well two of 100 launches and copies, which take next to nothing.
        let small = Cost { bytes: 1 << 10, took: second, iterations: 100, launch: 0.0, copy: 0.0 };
        let large = |launch, copy| Cost { bytes: 1 << 20, took: 3 * second, iterations: 100, launch, copy };
        for (done, iterations, expected) in [
            (vec![], 3, 0.0),
            (vec![small], 3, 1.0),
            // All of the two seconds are inputs and comparisons.
            (vec![small, large(0.0, 0.0)], 3, 129.0),
            // Or all are launches, of which there will be a tenth.
            (vec![small, large(2e4 / 1.2, 0.0)], 10, 1.0 + 64.0 * 0.2),
            (vec![small, large(0.0, 2e4 / 2.5)], 10, 1.0 + 64.0 * 0.2),
        ] {
            let found = needed(&done, 64 << 20, iterations);
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
