//! `wgccl run`: one collective, judged bit for bit.

mod all;
mod args;
mod one;
mod text;

use super::args::check_apart;
use crate::error::Error;
use crate::tensor::{self, Outputs};
pub(super) use args::{DISPATCH, DISPATCH_LONG, PROTOCOL, PROTOCOL_LONG, RunArgs};
use args::{check_flags, files, request};
use one::one;

pub(super) fn run(args: &RunArgs) -> Result<u8, Error> {
    let plan = args.what.plan(&args.schedule, &args.file)?;
    check_flags(args, plan.collective())?;
    check_apart(&[("--output", args.output.as_deref()), ("--trace", args.trace.as_deref())])?;
    if let Some(dir) = &args.output {
        tensor::check_target(dir, &args.input)?;
    }
    let Some(files) = files(args)? else {
        let request = request(args, &plan, None)?;
        return one(args, request, &Outputs::default());
    };
    match &files.tensors[..] {
        [only] => one(args, request(args, &plan, Some(only.clone()))?, &files.outputs),
        several if args.trace.is_some() => Err(Error::Usage(format!(
            "--trace is of one launch, and the inputs hold {} tensors; choose one with --tensor",
            several.len()
        ))),
        #[cfg(feature = "mpi")]
        several if crate::device::processes::rank().is_some() => Err(Error::Usage(format!(
            "several processes run one tensor, and the inputs hold {}; choose one with --tensor",
            several.len()
        ))),
        _ => all::run(args, &plan, &files),
    }
}
