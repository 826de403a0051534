//! burn-collective on burn-flex, burn's CPU backend: P threads that call `all_reduce` on resident tensors.
//!
//! Its peers get reference-counted clones of one tensor. `private` adds x + 0 on every peer, so that each owns its
//! result as every other library's ranks do.

#[path = "../../rust/src/sample.rs"]
mod sample;

use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use burn_backend::ops::FloatTensorOps;
use burn_backend::{Scalar, TensorData, try_read_sync};
use burn_collective::{
    AllReduceStrategy, CollectiveConfig, CollectiveError, PeerId, ReduceOperation, all_reduce, register,
};
use burn_flex::{Flex, FlexDevice, FlexTensor};
use sample::Case;

const USAGE: &str = "usage: wgccl-peers-burn centralized|ring shared|private RANKS BYTES SECONDS REPETITIONS BUDGET";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<String, String> {
    let [strategy, placement, case @ ..] = args else { return Err("something is missing".to_owned()) };
    let strategy = match strategy.as_str() {
        "centralized" => AllReduceStrategy::Centralized,
        "ring" => AllReduceStrategy::Ring,
        other => return Err(format!("'{other}' is no strategy")),
    };
    let private = match placement.as_str() {
        "shared" => false,
        "private" => true,
        other => return Err(format!("'{other}' is no placement")),
    };
    let case = Case::parse(case)?;
    let device = FlexDevice;
    let inputs: Vec<FlexTensor> = case
        .inputs()
        .into_iter()
        .map(|input| Flex::float_from_data(TensorData::new(input, [case.count]), &device))
        .collect();
    join_all(case.ranks, device, strategy).map_err(failed)?;

    let call = |rank: usize| -> Result<FlexTensor, CollectiveError> {
        let sum = all_reduce::<Flex>(PeerId::from(rank), inputs[rank].clone(), ReduceOperation::Sum)?;
        Ok(if private { Flex::float_add_scalar(sum, Scalar::Float(0.0)) } else { sum })
    };
    let times = case.measure(|calls| batch(case.ranks, calls, &call)).map_err(failed)?;
    let outputs = on_all(case.ranks, call).map_err(failed)?;
    let mut wrong = 0;
    for output in outputs {
        let data = try_read_sync(Flex::float_into_data(output)).ok_or("the result is not there yet")?;
        let data = data.map_err(|error| format!("{error:?}"))?;
        wrong += case.wrong(data.as_slice::<f32>().map_err(|error| format!("{error:?}"))?);
    }
    Ok(times.line(wrong))
}

fn failed(error: CollectiveError) -> String {
    format!("burn-collective: {error:?}")
}

/// Every peer registers; none returns before all have.
fn join_all(ranks: usize, device: FlexDevice, strategy: AllReduceStrategy) -> Result<(), CollectiveError> {
    let config = CollectiveConfig::default().with_num_devices(ranks).with_local_all_reduce_strategy(strategy);
    on_all(ranks, |rank| register::<Flex>(PeerId::from(rank), device, config.clone()))?;
    Ok(())
}

/// `calls` calls on every rank between barriers; the time of the slowest.
fn batch(
    ranks: usize,
    calls: usize,
    call: &(impl Fn(usize) -> Result<FlexTensor, CollectiveError> + Sync),
) -> Result<Duration, CollectiveError> {
    let barrier = Barrier::new(ranks);
    let took = on_all(ranks, |rank| {
        barrier.wait();
        let start = Instant::now();
        for _ in 0..calls {
            drop(call(rank)?);
        }
        Ok(start.elapsed())
    })?;
    Ok(took.into_iter().max().unwrap_or_default())
}

/// One thread a rank.
fn on_all<T: Send>(
    ranks: usize,
    work: impl Fn(usize) -> Result<T, CollectiveError> + Sync,
) -> Result<Vec<T>, CollectiveError> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..ranks).map(|rank| scope.spawn(move || work(rank))).collect();
        let died = |_| CollectiveError::Other("a rank's thread panicked".to_owned());
        threads.into_iter().map(|thread| thread.join().map_err(died)?).collect()
    })
}
