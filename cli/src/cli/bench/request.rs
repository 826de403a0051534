//! From the arguments of `wgccl bench` to what is measured.

use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::schedule::{Algorithm, Selection, SyncStyle};

use super::args::{BenchArgs, INAPPLICABLE};
use crate::bench::request::{Request, Roots};
use crate::bench::size::{Range, Step};
use crate::cli::args::{ScheduleArgs, Subject, check_op, refuse_flags};
use crate::cli::values::List;
use crate::dispatch::Dispatch;
use crate::error::Error;
use crate::file::Loaded;
use crate::plan::Plan;

/// Where nobody says how many.
const RANKS: u32 = 4;

/// What decides the schedule of a file; algorithms are measured beside it.
fn schedule_args(args: &BenchArgs) -> ScheduleArgs {
    let root = match (&args.what, args.root) {
        (Subject::File(_), Some(Roots::One(root))) => Some(root),
        _ => None,
    };
    ScheduleArgs { root, ..ScheduleArgs::default() }
}

fn ranks(args: &BenchArgs, file: Option<&Loaded>) -> Result<Vec<u32>, Error> {
    match (file.map(|file| file.schedule.ranks), &args.ranks[..]) {
        (None, []) => Ok(vec![RANKS]),
        (None, ranks) => Ok(ranks.to_vec()),
        (Some(ranks), []) => Ok(vec![ranks]),
        (Some(ranks), [given]) if *given == ranks => Ok(vec![ranks]),
        (Some(ranks), _) => Err(Error::Usage(format!("the file has {ranks} ranks; leave -P out"))),
    }
}

pub(super) fn request(args: &BenchArgs) -> Result<Request, Error> {
    if let Some((short, name, hint)) = args.refused.0.and_then(|index| INAPPLICABLE.get(index)) {
        return Err(Error::Usage(format!("-{short} (--{name}) of nccl-tests does not apply: {hint}")));
    }
    let plan = args.what.plan(&schedule_args(args), &args.file)?;
    let collective = plan.collective();
    let file = match plan {
        Plan::File(file) => Some(file),
        Plan::Builtin { .. } => None,
    };
    if args.root.is_some() && !collective.has_root() {
        return Err(Error::Usage(format!("{collective} has no root; leave -r out")));
    }
    check_op(collective, args.op.is_some(), "-o")?;
    if collective == Collective::Barrier {
        let sizes = [args.first, args.last, args.step, args.factor];
        let flags = ["-b", "-e", "-i", "-f"].into_iter().zip(sizes).map(|(flag, size)| (size.is_some(), flag));
        let others = [(args.data_type.is_some(), "-d"), (args.unalign > 0, "-u"), (args.seed.is_some(), "--seed")];
        let flags: Vec<_> = flags.chain(others).collect();
        refuse_flags("a barrier has no payload", &flags)?;
    }
    if args.json {
        let columns = (args.columns != "nccl", "--columns");
        let flags = [(args.per_iteration, "-I"), (args.timestamps, "-S"), (args.memory, "-M"), columns];
        refuse_flags("--json prints the record, which always has what these add to the table", &flags)?;
    }
    if args.cycles == 0 && (args.record.is_some() || args.plot.is_some() || args.json) {
        return Err(Error::Usage("-N 0 never ends, so no result would be whole; give a number of cycles".to_owned()));
    }
    let defaults = Request::default();
    let first = args.first.unwrap_or(defaults.range.first.min(args.last.unwrap_or(u64::MAX)));
    let last = args.last.unwrap_or(defaults.range.last.max(first));
    let step = match (args.factor, args.step) {
        (None | Some(1), Some(bytes)) => Step::Bytes(bytes),
        (Some(factor), _) => Step::Factor(factor),
        (None, None) => defaults.range.step,
    };
    let algorithms = match &args.algorithm {
        None if file.is_some() => Vec::new(),
        // The table of `auto` is of neighbours.
        None if args.sync == SyncStyle::Barrier => vec![Algorithm::default_of(collective).into()],
        None => vec![Selection::Auto],
        Some(List { all: true, .. }) => Algorithm::of(collective).into_iter().map(Selection::from).collect(),
        Some(List { names, .. }) => names.clone(),
    };
    let dispatch = match &args.dispatch {
        List { all: true, .. } => Dispatch::all(args.protocol),
        List { names, .. } => names.iter().map(|name| name.by(args.protocol)).collect::<Result<_, _>>()?,
    };
    Ok(Request {
        collective,
        roots: args.root.unwrap_or(Roots::One(0)),
        sources: args.sources.of(collective)?,
        algorithms,
        only_defined: args.algorithm.as_ref().is_some_and(|algorithm| algorithm.all),
        sync: args.sync,
        ranks: ranks(args, file.as_deref())?,
        file,
        data_types: args.data_type.as_ref().map_or(defaults.data_types, |data_type| data_type.or_all(DataType::ALL)),
        ops: args.op.as_ref().map_or(defaults.ops, |op| op.or_all(Op::ALL)),
        devices: args.device.clone(),
        place: args.place.clone(),
        dispatch,
        only_sound: args.dispatch.all,
        range: Range { first, last, step },
        iterations: args.iterations,
        warmup: args.warmup,
        skip: args.skip,
        checks: args.checks,
        copies: defaults.copies,
        only_apart: false,
        cycles: args.cycles,
        unalign: args.unalign,
        timeout: args.timeout,
        seed: args.seed.unwrap_or(0),
        trace: args.trace.is_some(),
    })
}
