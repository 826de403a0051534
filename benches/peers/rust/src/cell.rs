//! Peers that live in this program, each measured in a process of its own so that none inherits another's memory.

mod copy;
mod rayon;
mod wgccl;

use ::wgccl::schedule::Algorithm;

use crate::error::Error;
use crate::sample::Case;

/// A peer of this program as command line words: `copy THREADS|streamed`, `rayon fused|naive`, `cpu ALGORITHM`,
/// `gpu ALGORITHM ADAPTER`, followed by those of [`Case::parse`].
///
/// # Errors
/// [`Error::Usage`], and what the peer itself fails with.
pub fn run(args: &[String]) -> Result<String, Error> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let case = |from: usize| Case::parse(&args[from..]).map_err(Error::Usage);
    match words[..] {
        ["copy", "streamed", ..] => wgccl::copy(case(2)?),
        ["copy", threads, ..] => copy::measure(case(2)?, threads.parse().map_err(|_| unknown(threads))?),
        ["rayon", "fused", ..] => rayon::measure(case(2)?, rayon::fused),
        ["rayon", "naive", ..] => rayon::measure(case(2)?, rayon::naive),
        ["cpu", name, ..] => wgccl::on_cpu(case(2)?, algorithm(name)?),
        ["gpu", name, adapter, ..] => {
            wgccl::on_gpu(case(3)?, algorithm(name)?, adapter.parse().map_err(|_| unknown(adapter))?)
        }
        _ => Err(Error::Usage("name a peer: copy, rayon, cpu or gpu".to_owned())),
    }
}

fn algorithm(name: &str) -> Result<Algorithm, Error> {
    ::wgccl::collective::parse(name).map_err(|error| Error::Usage(error.to_string()))
}

fn unknown(word: &str) -> Error {
    Error::Usage(format!("'{word}' is no number"))
}
