//! `wgccl bench` over several processes: all of them measure, and the first one says everything.
//!
//! Apart from the table, because nothing of it is made where nothing is said.

use std::time::Duration;

use super::args::BenchArgs;
use super::request::request;
use crate::bench::result::{Device, Row};
use crate::bench::sweep::{Next, Observer, Plan, sweep};
use crate::device::processes::{is_first_silent, rank};
use crate::error::Error;

/// What the first one needs to say what went wrong, before `mpirun` ends it with this one.
const LINGER: Duration = Duration::from_secs(2);

struct Unseen;

impl Observer for Unseen {
    fn begin(&mut self, _: &[Device], _: &Plan, _: &[String]) -> Result<(), Error> {
        Ok(())
    }

    fn next(&mut self, _: Next) {}

    fn row(&mut self, _: Row) -> Result<(), Error> {
        Ok(())
    }
}

/// None where this process is the first, or the only one: it goes on, and says what there is to say.
pub(super) fn take_part(args: &BenchArgs) -> Option<Result<u8, Error>> {
    let first = rank()? == 0;
    match check(args) {
        Ok(()) if first => None,
        Ok(()) => Some(measure(args)),
        Err(error) if first => Some(Err(error)),
        Err(_) => Some(Err(Error::Told)),
    }
}

/// What is of one process.
fn check(args: &BenchArgs) -> Result<(), Error> {
    let reads = args.card.is_some() || !args.compare.is_empty() || !args.from.is_empty();
    let said = match &args.device[..] {
        _ if reads => "--card, --compare and --from are of one process; leave mpirun out",
        _ if args.trace.is_some() => "--trace is of one process; leave mpirun or --trace out",
        [_] => return Ok(()),
        _ => "a process has one device, and --device names several; start a process for each",
    };
    Err(Error::Usage(said.to_owned()))
}

fn measure(args: &BenchArgs) -> Result<u8, Error> {
    let Ok(request) = request(args) else { return Err(Error::Told) };
    match sweep(&request, &mut Unseen) {
        Err(error) if is_first_silent(&error) => Err(error),
        Err(Error::Run(_) | Error::Prepare(_) | Error::Bench(_)) => {
            std::thread::sleep(LINGER);
            Err(Error::Told)
        }
        _ => Err(Error::Told),
    }
}
