//! `wgccl bench` over several processes: all of them measure, and the first one says everything.
//!
//! Apart from the table, because nothing of it is made where nothing is said.

use super::args::BenchArgs;
use super::request::request;
use crate::bench::result::{Device, Row};
use crate::bench::sweep::{Next, Observer, Plan, sweep};
use crate::device::processes::rank;
use crate::error::Error;

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
        Err(error) => Some(Err(error)),
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
    sweep(&request(args)?, &mut Unseen)?;
    Err(Error::Told)
}
