//! One collective from inputs to a judged result: build, prove, prepare, launch, compare with the golden.
//!
//! What `wgccl run` does, without any printing; the same request always gives the same bits.

mod accuracy;
mod fault;
mod request;
mod source;

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use wgccl::backend::{Backend, Ready, Shape};
use wgccl::collective::{Collective, Op};
use wgccl::element::{DataType, Element, supported};
use wgccl::error::{PayloadError, UserBuffer};
use wgccl::golden::{Comparison, compare};
use wgccl::low_level::payload::Payload;
use wgccl::lower::{Mode, Protocol};
use wgccl::proof::{self, prove};
use wgccl::schedule::{Origin, Schedule, SyncStyle};

use crate::bench::size::Parts;
use crate::device::{CPU, Description, Device, Shares};
use crate::dispatch::Dispatch;
use crate::error::Error;
use crate::identity;
use crate::memory::{check_count, check_memory, reserved};
use crate::protocol::{Settled, Wish, settle};
use crate::trace::Traced;
use crate::views::{bytes, bytes_mut, microseconds, views};
pub use accuracy::Accuracy;
use fault::check_fault;
pub use request::{Request, Source};
use source::{generated, load};
pub(crate) use source::{part_of, ranks_of};

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What was computed.
    pub collective: Collective,
    /// The root, where there is one.
    pub root: Option<u32>,
    /// Of send-recv: from whom each rank received, where that was not the one before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<u32>,
    /// By which schedule.
    #[serde(flatten, with = "identity")]
    pub origin: Origin,
    /// The algorithm was chosen by [`Algorithm::choose`](wgccl::schedule::Algorithm::choose) and not named.
    pub algorithm_auto: bool,
    /// Who waited for whom, where that can be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncStyle>,
    /// Participants.
    pub ranks: u32,
    /// Elements of a part: what NCCL's calls take as count.
    pub count: usize,
    /// Elements of all outputs together.
    pub elements: u64,
    /// Element type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Reduction, where there is one.
    pub op: Option<Op>,
    /// Input was output.
    pub in_place: bool,
    /// Name of the device.
    pub device: String,
    /// Its backend.
    pub backend: String,
    /// Its driver.
    pub driver: Option<String>,
    /// Dispatch mode, on a GPU.
    pub dispatch: Option<Mode>,
    /// Protocol, on a GPU.
    pub protocol: Option<Protocol>,
    /// Dispatches, on a GPU.
    pub dispatches: u32,
    /// Independent slices.
    pub channels: u32,
    /// Pieces that the payload went in.
    pub pieces: usize,
    /// Bytes of device memory that it took, on a GPU: bounded, whatever the payload.
    pub device_bytes: Option<u64>,
    /// On several devices: what each does, and what moves between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<Shares>,
    /// Instructions of the schedule.
    pub instructions: usize,
    /// Elements that differ from the golden, over all ranks.
    pub wrong: u64,
    /// Elements that agree only where subnormals are flushed to zero.
    pub flushed: u64,
    /// Ranks that must hold the same hold the same bits.
    pub bit_identical: bool,
    /// How near reductions are to exact ones, where there are any.
    #[serde(flatten)]
    pub accuracy: Option<Accuracy>,
    /// Microseconds from the first input to the last output, copies to and from the device included.
    pub time_us: f64,
    /// Microseconds that the proof took.
    pub proof_us: f64,
    /// Nothing is wrong.
    pub ok: bool,
}

/// An outcome with the data behind it.
#[derive(Debug)]
pub struct Finished<T> {
    /// What came out.
    pub outcome: Outcome,
    /// What went in: one vector per rank, empty where it has none.
    pub inputs: Vec<Vec<T>>,
    /// What came out: one vector per rank, empty where it has none.
    pub outputs: Vec<Vec<T>>,
    /// Where the first wrong element is.
    pub first_wrong: Option<(u32, usize)>,
    /// When what ran, if that was asked for.
    pub traced: Option<Traced>,
    /// What is to be said of how it ran.
    pub notes: Vec<String>,
}

impl<T> Finished<T> {
    /// The error that a wrong result is.
    pub fn error(&self) -> Option<Error> {
        let (rank, index) = self.first_wrong.unwrap_or_default();
        let Outcome { ok, wrong, elements, .. } = self.outcome;
        (!ok).then_some(Error::Wrong { wrong, elements, rank, index })
    }
}

/// What a run is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Inputs are made.
    Inputs,
    /// The collective runs.
    Launch {
        /// Pieces of the payload that are done.
        done: usize,
        /// Of how many.
        pieces: usize,
        /// Bytes of a part of the payload, over all pieces.
        part_bytes: u64,
    },
    /// Outputs are held against the golden.
    Compare,
}

/// Is told what a run is at.
pub type Watch = Arc<dyn Fn(Stage) + Send + Sync>;

/// What notifies are looked for in.
fn of_ranks(schedule: &Schedule) -> String {
    format!("{} of {} ranks", schedule.origin, schedule.ranks)
}

/// Runs `request` on `device`, and tells `watch` how far it is.
///
/// # Errors
/// [`Error`]; a wrong result is not one here, see [`Finished::error`].
pub fn run<T: Element>(request: &Request, device: &Device, watch: &Watch) -> Result<Finished<T>, Error> {
    let task = request.plan.task();
    let collective = task.collective;
    if collective.reduces() {
        supported(T::TYPE, request.op)?;
    }
    device.check_dispatch(request.dispatch)?;
    check_place(collective, request.in_place)?;
    // What can be refused without data is refused before data is made, and what needs no schedule before one is built: that
    // of many ranks is gigabytes.
    let ranks = match &request.source {
        Source::Generated { ranks, .. } => *ranks,
        Source::Files { tensors, ranks } => ranks_of(task, tensors, *ranks)?,
    };
    device.check_ranks(ranks)?;
    let (count, loaded) = match &request.source {
        Source::Generated { count, .. } => (*count, None),
        Source::Files { tensors, .. } => {
            let inputs = load::<T>(task, tensors, ranks)?;
            (part_of(task, &inputs.iter().map(Vec::len).collect::<Vec<_>>())?, Some(inputs))
        }
    };
    check_count(collective, count)?;
    check_memory(task, ranks, count, T::TYPE.bytes())?;
    let part_bytes = (count as u64).saturating_mul(T::TYPE.bytes() as u64);
    let schedule = request.plan.schedule(ranks, part_bytes, device)?;
    Payload::new(&schedule, count, T::TYPE.bytes()).map_err(|error| match (error, request.plan.file()) {
        (PayloadError::Indivisible { .. }, Some(_)) => {
            Error::Usage(format!("{error}, or let its last chunks be shorter with --force-size"))
        }
        _ => error.into(),
    })?;
    if let Some(fault) = request.fault {
        check_fault(fault, &of_ranks(&schedule), [&schedule].into_iter())?;
    }
    watch(Stage::Inputs);
    let inputs = match loaded {
        Some(inputs) => inputs,
        None => generated(request, &schedule, count)?,
    };

    let start = Instant::now();
    let proved = prove(schedule, proof::Options::default().in_place(request.in_place))?;
    let proof = start.elapsed();

    let payload = proved.payload(count, T::TYPE)?;
    let extents = proved.extents(count);
    let mut outputs = Vec::new();
    for (rank, input) in (0..).zip(&inputs) {
        let here = device.is_here(rank, ranks);
        let mut output = reserved(ranks, if here { extents.len(extents.results(), rank) } else { 0 })?;
        if here {
            extents.prepare(rank, input, &mut output);
        }
        outputs.push(output);
    }
    let shape = Shape::new(count, T::TYPE, request.op);
    let options = |dispatch: Dispatch| {
        let options = dispatch.options().channels(request.channels).timeout(request.timeout).fault(request.fault);
        options.trace(request.trace)
    };
    let wish = request.plan.file().and_then(Wish::of);
    let Settled { dispatch, note } = settle(device, &proved, shape, (request.dispatch, wish), options);
    let size = part_bytes.saturating_mul(Parts::of(collective, ranks).number());
    let said = request.plan.file().and_then(|file| file.said_of_size(size));
    let notes = note.into_iter().chain(said).collect();
    let mut ready = device.prepare(&proved, shape, &options(dispatch))?;
    if let (Some(fault), Some(split)) = (request.fault, ready.split()) {
        let what = format!(
            "{} within one device (between devices, messages take the place of notifies)",
            of_ranks(proved.schedule())
        );
        check_fault(fault, &what, split.parts().iter().map(|part| part.proved().schedule()))?;
    }
    let prepared = ready.prepared();
    let pieces = prepared.pieces;
    watch(Stage::Launch { done: 0, pieces, part_bytes });
    let of_piece = watch.clone();
    ready.on_piece(move |done| of_piece(Stage::Launch { done, pieces, part_bytes }));
    let start = Instant::now();
    let ran = match request.in_place {
        true => ready.run_in_place(&mut bytes_mut(&mut outputs, 0))?,
        false => {
            let of = |(rank, input)| if device.is_here(rank, ranks) { input } else { &[][..] };
            let here: Vec<&[T]> = (0..).zip(views(&inputs)).map(of).collect();
            ready.run(&bytes(&here), &mut bytes_mut(&mut outputs, 0))?
        }
    };
    let time = ran.time.unwrap_or_else(|| start.elapsed());
    let trace = ready.trace();
    let shares = device.shares(&ready, &payload);
    drop(ready);
    let time = device.collect(&extents, &mut outputs, time)?;
    // What else is in a buffer in place is the rank's input.
    for (rank, output) in (0..).zip(&mut outputs) {
        let range = extents.output(rank);
        output.truncate(range.end);
        output.drain(..range.start);
    }

    watch(Stage::Compare);
    let (input_views, output_views) = (views(&inputs), views(&outputs));
    let Comparison { wrong, first_wrong, flushed, bit_identical, accuracy, .. } =
        compare(&proved, &payload, request.op, &input_views, &output_views)?;
    let described = device.describe();
    let traced = trace.map(|trace| Traced {
        trace,
        proved: proved.clone(),
        payload,
        device: described.clone(),
        prepared,
        data_type: T::TYPE,
        op: collective.reduces().then_some(request.op),
    });
    let Description { index, name, backend, driver, .. } = described;
    let device_name = if index.is_some() || shares.is_some() { name } else { CPU.to_owned() };
    let outcome = Outcome {
        collective,
        root: collective.has_root().then_some(task.root),
        sources: task.sources.clone(),
        origin: proved.schedule().origin.clone(),
        algorithm_auto: request.plan.is_auto(),
        sync: request.plan.sync(),
        ranks,
        count,
        elements: extents.total(UserBuffer::Output) as u64,
        data_type: T::TYPE,
        op: collective.reduces().then_some(request.op),
        in_place: request.in_place,
        device: device_name,
        backend,
        driver,
        dispatch: prepared.dispatch.map(|(mode, _)| mode),
        protocol: prepared.dispatch.map(|(_, protocol)| protocol),
        dispatches: ran.dispatches,
        channels: prepared.channels,
        pieces,
        device_bytes: prepared.device_bytes,
        shares,
        instructions: proved.schedule().instructions(),
        wrong,
        flushed,
        bit_identical,
        accuracy: collective.reduces().then(|| Accuracy::new(&accuracy, T::TYPE)),
        time_us: microseconds(time),
        proof_us: microseconds(proof),
        ok: wrong == 0,
    };
    Ok(Finished { outcome, inputs, outputs, first_wrong, traced, notes })
}

/// Said in the program's words, before the proof says it in its own.
pub(crate) fn check_place(collective: Collective, in_place: bool) -> Result<(), Error> {
    match in_place && !collective.has_in_place() {
        true => Err(Error::Usage(format!("{collective} has no form in place; leave --in-place out"))),
        false => Ok(()),
    }
}
