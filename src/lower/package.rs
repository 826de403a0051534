//! A package: all that a device needs to execute a proved schedule over a payload, as plain data.
//!
//! Whoever loads it creates buffers and a pipeline and dispatches; nothing is left to decide. It says how it is read, too:
//! where a rank's elements lie, and from the progress of lanes whether a launch finished.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::arena::{Arena, BINDING_ALIGN, Pieces};
use super::code::{Code, Words};
use super::error::LowerError;
use super::kernel::{Access, Kernel};
use super::ll::Ll;
use super::mode::{Mode, Protocol};
use super::partition::{Partition, Whole, hosting};
use super::plan::Plan;
use super::request::Request;
use super::simple::Simple;
use super::source::{Interpreter, Source};
use super::target::Target;
use super::tuning::Tuning;
use super::words::{Common, Hosting, NUMBERS, Params, Progress, launches, scale_words, starts};
use crate::collective::Op;
use crate::element::{DataType, supported};
use crate::fault::Fault;
use crate::payload::Payload;
use crate::proof::Proved;
use crate::schedule::Buffer;

/// A proved schedule as a device of some class executes it.
#[derive(Debug, Clone)]
pub struct Package {
    pub(super) proved: Proved,
    pub(super) code: Arc<dyn Code>,
    pub(super) fault: Option<Fault>,
    pub(super) hosting: Hosting,
    /// Instructions, or moves, of every lane, in the plan's order.
    pub(super) lanes: Vec<Range<u32>>,
    /// Dispatches that are the first of a launch for their lanes.
    first: Vec<bool>,
    /// How the payload is cut into chunks.
    pub payload: Payload,
    /// Element type.
    pub data_type: DataType,
    /// The operation, as the collective has it.
    pub op: Op,
    /// The protocol.
    pub protocol: Protocol,
    /// The parts of chunks that go through the device one after the other.
    pub pieces: Pieces,
    /// Where everything lies in the one buffer of a launch.
    pub arena: Arena,
    /// The dispatches.
    pub plan: Plan,
    /// What runs.
    pub kernel: Kernel,
    /// What it works on, in the order of its bindings.
    pub bindings: Vec<Binding>,
    /// Dispatches of the plan to begin with: fused launches finish once every lane was visited where all workgroups run
    /// together, and progress says if they did not.
    pub first_dispatches: usize,
    /// Invocations of a workgroup.
    pub workgroup: u32,
}

/// What is bound to a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// Its name in the shader.
    pub name: &'static str,
    /// What the kernel may do with it.
    pub access: Access,
    /// Bytes that are bound at a time.
    pub bytes: u64,
    /// What is there.
    pub contents: Contents,
}

/// What is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Inputs, outputs and slots: the first part of the arena.
    Vectors,
    /// What lanes share as atomics: the second part of the arena, zero before the first launch.
    Atomics,
    /// How far lanes got, zero before the first launch.
    Progress,
    /// What invocations remember from one dispatch to the next.
    Memory,
    /// Numbers that instructions draw, of a launch that is traced: zero but for the second word, which is this, and the first is
    /// zero again before each launch.
    Tickets {
        /// Instructions of a channel.
        instructions: u32,
    },
    /// The same words in every launch.
    Words(Vec<u32>),
}

/// A dispatch as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Offsets of the rows, in the order of their bindings.
    pub rows: [u32; 2],
    /// Number of workgroups.
    pub workgroups: u32,
}

/// Makes the package of `proved` for a launch of this shape on such a device.
///
/// # Errors
/// [`LowerError`].
pub fn lower(proved: &Proved, request: &Request, target: &Target) -> Result<Package, LowerError> {
    let schedule = proved.schedule();
    let &Request { data_type, mode, protocol, fault, .. } = request;
    let op = schedule.task.collective.op(request.op);
    supported(data_type, op)?;
    let op = op.over(schedule.ranks);
    if op == Op::Avg {
        proved.scalable()?;
    }
    for (what, number) in [("channels", request.channels), ("workgroups", request.workgroups)] {
        if number == Some(0) {
            return Err(LowerError::Nothing(what));
        }
    }
    for (what, limit) in [("invocations", target.limits.invocations), ("workgroups", target.limits.workgroups)] {
        if limit == 0 {
            return Err(LowerError::Limit(what));
        }
    }
    let unsound = |reason| LowerError::Unsound { mode, protocol, reason };
    target.support(mode, protocol).map_err(unsound)?;
    let code: Arc<dyn Code> = match protocol {
        Protocol::Simple => Arc::new(Simple::new(proved)),
        Protocol::Ll => {
            Ll::admit(proved.schedule())?;
            Arc::new(Ll::new(proved).map_err(unsound)?)
        }
    };

    let payload = proved.payload(request.count, data_type)?;
    let hosting = hosting(schedule, mode, request.workgroups);
    let interpreter = code.interpreter(mode, target.class.is_software());
    let tuning = Tuning::new(target, mode, interpreter, hosting.hosted);
    let whole =
        Whole { proved, payload: &payload, code: &*code, tuning: &tuning, hosting, limits: &target.limits, request };
    let Partition { pieces, arena, plan } = whole.partition()?;
    check_rows(&plan, target)?;
    let Words { instructions, links, lanes } = code.words(&plan, &arena, &tuning, fault);
    // Of other types there is no such kernel.
    let opaque = tuning.opaque() && data_type == DataType::F32;
    let tickets = request.tickets && interpreter == Interpreter::Fused;
    let (numbers, moves) = (tuning.numbers, code.moves());
    let kernel = Kernel::Executor { data_type, op, interpreter, opaque, numbers, moves, tickets };

    let last = if code.whole_pieces() { 0 } else { pieces.count() - 1 };
    let lengths = [0, last].map(|piece| pieces.vectors(piece).len() as u32);
    let scale = scale_words(data_type, op, schedule.ranks);
    let params = Common { plan: &plan, arena: &arena, hosting, scale }.params(lengths);
    let progress_words = lanes.len() * arena.channels as usize;
    let remembered = progress_words as u64 * u64::from(tuning.numbers.workgroup * code.remembered());
    let words = |words: Vec<u32>| ((words.len() * size_of::<u32>()) as u64, Contents::Words(words));
    let contents = [
        (arena.vector_bytes(), Contents::Vectors),
        (arena.atomic_bytes(), Contents::Atomics),
        words(instructions),
        words(links),
        ((progress_words * size_of::<Progress>()) as u64, Contents::Progress),
        (size_of::<Params>() as u64, Contents::Words(params)),
        words(starts(&plan, &lanes)),
        // As long as a uniform binding should be.
        (UNIFORM_BYTES, Contents::Words(launches())),
        match tickets {
            true => {
                let instructions = schedule.instructions() as u32;
                let words = 2 + 2 * u64::from(instructions) * u64::from(arena.channels);
                (words * size_of::<u32>() as u64, Contents::Tickets { instructions })
            }
            false => (remembered * size_of::<u32>() as u64, Contents::Memory),
        },
    ];
    let first = first_of_lanes(&plan);
    let slots = kernel.slots().iter().zip(contents);
    let bindings = slots.map(|(&(name, access), (bytes, contents))| Binding { name, access, bytes, contents });
    Ok(Package {
        first_dispatches: match mode {
            Mode::Fused if !target.class.is_software() => first.iter().filter(|&&first| first).count(),
            _ => plan.dispatches.len(),
        },
        first,
        workgroup: tuning.numbers.workgroup,
        bindings: bindings.collect(),
        proved: proved.clone(),
        code,
        fault,
        hosting,
        lanes,
        payload,
        data_type,
        op,
        protocol,
        pieces,
        arena,
        plan,
        kernel,
    })
}

/// Refuses more rows than a binding holds, before they are there: they grow with dispatches times lanes.
fn check_rows(plan: &Plan, target: &Target) -> Result<(), LowerError> {
    let (dispatches, lanes) = (plan.dispatches.len() as u64, plan.lanes.len() as u64);
    let starts = match plan.mode {
        Mode::Fused => 3,
        Mode::PerRank | Mode::PerStep => dispatches + 2,
    };
    let starts = starts * lanes * size_of::<u32>() as u64;
    // Of these a binding is one row; offsets have 32 bits.
    let params = (2 * dispatches + 1) * BINDING_ALIGN as u64;
    let limits = &target.limits;
    for (words, bytes) in [(starts, limits.binding_bytes), (params, limits.buffer_bytes.min(u32::MAX.into()))] {
        if words > bytes {
            return Err(LowerError::Words { words, bytes });
        }
    }
    Ok(())
}

/// A row of four words.
const UNIFORM_BYTES: u64 = 16;

fn first_of_lanes(plan: &Plan) -> Vec<bool> {
    let mut known = FxHashSet::default();
    plan.dispatches.iter().map(|dispatch| known.insert(dispatch.first_lane)).collect()
}

impl Package {
    /// The schedule, with its proofs.
    pub fn proved(&self) -> &Proved {
        &self.proved
    }

    /// The dispatch mode.
    pub fn mode(&self) -> Mode {
        self.plan.mode
    }

    /// The shader.
    pub fn source(&self) -> Source {
        self.kernel.source()
    }

    /// Whether instructions say in which order they ran.
    pub fn tells_order(&self) -> bool {
        self.bindings.iter().any(|binding| matches!(binding.contents, Contents::Tickets { .. }))
    }

    /// Whether a launch that stopped may go on in further dispatches: in others they have had their turn.
    pub fn may_go_on(&self) -> bool {
        self.plan.mode == Mode::Fused
    }

    /// How many progress words there are: one for each (channel, lane), lanes in the plan's order, fastest.
    pub fn progress_words(&self) -> usize {
        self.lanes.len() * self.arena.channels as usize
    }

    /// Bytes of these.
    pub fn progress_bytes(&self) -> u64 {
        (self.progress_words() * size_of::<Progress>()) as u64
    }

    /// The first `count` dispatches over `piece`, and the plan again from its beginning if they are more. They begin the
    /// launch of that number, 1 to [`NUMBERS`], or go on with what was begun before.
    pub fn steps(&self, piece: usize, number: Option<u32>, count: usize) -> impl Iterator<Item = Step> + '_ {
        let last = usize::from(piece + 1 == self.pieces.count());
        let first_row = last * self.plan.dispatches.len();
        let rows = (first_row..).zip(&self.plan.dispatches).cycle();
        let first = self.first.iter().copied().chain(std::iter::repeat(false));
        rows.zip(first).take(count).map(move |((row, dispatch), first)| Step {
            rows: [row, number.filter(|_| first).map_or(0, |number| number.min(NUMBERS) as usize)]
                .map(|row| (row * BINDING_ALIGN) as u32),
            workgroups: self.hosting.of(dispatch) * self.arena.channels,
        })
    }

    /// The dispatches of one of a part's epochs; the first of a launch begin the launch of that number.
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    pub(crate) fn steps_of_epoch(&self, piece: usize, number: u32, epoch: u32) -> impl Iterator<Item = Step> + '_ {
        let dispatches = self.plan.epoch(epoch);
        self.steps(piece, Some(number), dispatches.end).skip(dispatches.start)
    }

    /// A dispatch of one workgroup that begins nothing and has nothing to do.
    pub fn nothing(&self) -> Step {
        let rows = [2 * self.plan.dispatches.len() * BINDING_ALIGN, 0].map(|offset| offset as u32);
        Step { rows, workgroups: self.lanes.len().min(1) as u32 }
    }

    /// Contiguous runs of a part's elements that `piece` holds, each with the chunk at which it starts.
    pub fn runs_of_part(&self, piece: usize) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
        // Whole chunks lie one after the other in the arena as they do for the user.
        let whole = self.pieces.count() == 1 && self.payload.step == self.payload.chunk_elements;
        let chunks = if whole { 1 } else { self.payload.chunks };
        (0..chunks)
            .map(move |chunk| {
                let elements =
                    if whole { 0..self.payload.count } else { self.pieces.elements(&self.payload, chunk, piece) };
                (chunk, elements)
            })
            .filter(|(_, elements)| !elements.is_empty())
    }

    /// Contiguous runs of the bytes of these parts of `rank`'s buffer that `piece` holds, each with its first byte in the
    /// region of all ranks' buffers.
    pub fn runs(
        &self,
        piece: usize,
        buffer: Buffer,
        rank: u32,
        parts: Range<u32>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let (first, chunk_bytes) = (self.arena.user_byte(buffer, rank), self.arena.chunk_bytes() as usize);
        let bytes = self.payload.element_bytes;
        parts.flat_map(move |part| {
            let start = part as usize * self.payload.count;
            self.runs_of_part(piece).map(move |(chunk, elements)| {
                let at = (part * self.payload.chunks + chunk) as usize;
                (first + at * chunk_bytes, (start + elements.start) * bytes..(start + elements.end) * bytes)
            })
        })
    }
}
