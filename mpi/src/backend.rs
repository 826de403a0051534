//! The processes of a communicator as one backend: they introduce themselves once, and agree before every preparation.

use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::Communicator;
use serde::{Deserialize, Serialize};
use wgccl::backend::{Backend, DEFAULT_TIMEOUT, Member, Options, Shape, pieces, split};
use wgccl::error::{PrepareError, TransportError};
use wgccl::lower::Split;
use wgccl::proof::Proved;
use wgccl::schedule::{DeviceKind, Groups, Placement};

use crate::agree::agree;
use crate::courier::Traffic;
use crate::error::MpiError;
use crate::line::{Line, MOST_BYTES};
use crate::patience::{ALONE, CROWDED};
use crate::ready::MpiReady;
use crate::world::World;

/// What both sides of a message must have in common.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

/// The devices of several processes. Ranks are spread over processes in blocks, unless a placement says otherwise.
///
/// It belongs to the thread that made it, as MPI's handles do.
pub struct MpiBackend {
    world: Rc<World>,
    member: Arc<dyn Member>,
    placement: Option<Placement>,
    /// Of the first process, so that all choose the same algorithm.
    kind: DeviceKind,
    /// Threads for this process, where others share its cores.
    workers: usize,
    piece: usize,
}

/// How a process introduces itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hello {
    version: String,
    device: String,
    kind: usize,
    host: String,
    /// The cores that it may run on, as the system writes them.
    cores: String,
}

/// What a process is about to prepare, in words that are compared.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    named: Vec<(String, String)>,
    /// How much of it it can have, or why it cannot.
    has: Result<usize, String>,
}

/// What the first process says of all plans.
#[derive(Debug, Serialize, Deserialize)]
enum Verdict {
    /// On the least that each can have.
    Agreed(usize),
    Refused {
        process: u32,
        reason: String,
    },
    Unequal {
        process: u32,
        what: String,
        theirs: String,
        ours: String,
    },
}

impl MpiBackend {
    /// The processes of `comm`, all of which call this; `member` is the device of this one. Waits 60 s for the others.
    ///
    /// The communicator is duplicated, so that messages of its other users are not met.
    ///
    /// # Errors
    /// [`MpiError`].
    pub fn over(
        comm: &(impl Communicator + AsRaw<Raw = ffi::MPI_Comm>),
        member: Arc<dyn Member>,
    ) -> Result<Self, MpiError> {
        Self::over_within(comm, member, DEFAULT_TIMEOUT)
    }

    /// As [`over`](Self::over), waiting for so long.
    ///
    /// # Errors
    /// [`MpiError`].
    pub fn over_within(
        comm: &(impl Communicator + AsRaw<Raw = ffi::MPI_Comm>),
        member: Arc<dyn Member>,
        timeout: Duration,
    ) -> Result<Self, MpiError> {
        let (me, all) = Line::place_in(comm.as_raw())?;
        let unheard = || {
            let (me, peer) = (format!("process {me}"), "another process".to_owned());
            TransportError::Unheard { me, peer, timeout }
        };
        let line = Line::over(comm.as_raw(), timeout)?.ok_or_else(unheard)?;
        let mut world = World::new(line, me, all);
        let kinds = DeviceKind::ALL;
        let mine = Hello {
            version: VERSION.to_owned(),
            device: member.name(),
            kind: kinds.iter().position(|&kind| kind == member.kind()).unwrap_or(0),
            host: mpi::environment::processor_name().unwrap_or_default(),
            cores: cores(),
        };
        let hellos = agree(&world, mine, timeout, |all| all)?;
        world.names = (0..).zip(&hellos).map(|(process, hello)| name(process, hello.as_ref())).collect();
        let version =
            |hello: &Option<Hello>| hello.as_ref().map_or("another version", |hello| &hello.version).to_owned();
        let ours = hellos.first().map(version).unwrap_or_default();
        if let Some((process, theirs)) = (0..).zip(hellos.iter().map(version)).find(|(_, theirs)| *theirs != ours) {
            let (peer, first) = (world.name(process), world.name(0));
            return Err(MpiError::Version { peer, theirs, first, ours });
        }
        let hellos: Vec<Hello> = hellos.into_iter().flatten().collect();
        let mine =
            |hello: &&Hello| (&hello.host, &hello.cores) == (&hellos[me as usize].host, &hellos[me as usize].cores);
        let beside = hellos.iter().filter(mine).count().max(1);
        let cores = wgccl::cpu::cores();
        world.spins = if beside > cores { CROWDED } else { ALONE };
        let kind = hellos.first().and_then(|hello| kinds.get(hello.kind)).copied().unwrap_or(DeviceKind::Cpu);
        let (placement, piece) = (None, MOST_BYTES);
        Ok(Self { world: Rc::new(world), member, placement, kind, workers: (cores / beside).max(1), piece })
    }

    /// Places ranks so: device i of the placement is process i. The same on all processes.
    #[must_use]
    pub fn placement(mut self, placement: impl Into<Option<Placement>>) -> Self {
        self.placement = placement.into();
        self
    }

    /// The most bytes of one MPI message; longer ones go in pieces. The same on all processes; nearly 2 GiB if not given,
    /// which is what MPI can count.
    #[must_use]
    pub fn piece_bytes(mut self, bytes: usize) -> Self {
        self.piece = bytes.clamp(1, MOST_BYTES);
        self
    }

    /// This process's number in the communicator.
    pub fn process(&self) -> u32 {
        self.world.me
    }

    /// How many processes there are.
    pub fn processes(&self) -> u32 {
        self.world.all
    }

    /// What the processes are called in reports, with their devices and hosts.
    pub fn names(&self) -> &[String] {
        &self.world.names
    }

    /// Where `ranks` ranks live.
    pub fn placement_of(&self, ranks: u32) -> Placement {
        self.placement.clone().unwrap_or_else(|| Placement::even(ranks, self.world.all))
    }

    /// Threads of the CPU executor that this process uses: the cores that it may use, shared among those of its host that may use
    /// the same.
    pub fn workers(&self) -> usize {
        self.workers
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn piece(&self) -> usize {
        self.piece
    }

    fn check(&self, placement: &Placement) -> Result<(), PrepareError> {
        match (placement.devices(), self.world.all) {
            (placement, processes) if placement == processes => Ok(()),
            (placement, processes) if placement < processes => Err(PrepareError::Idle { placement, processes }),
            (placement, processes) => Err(PrepareError::Devices { placement, devices: processes as usize }),
        }
    }

    /// The whole split, and how much of a chunk this process's device can work on at a time.
    fn split(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<(Split, usize), PrepareError> {
        let placement = self.placement_of(proved.schedule().ranks);
        self.check(&placement)?;
        let split = split(proved, &placement, shape)?;
        let most = self.member.most_vectors(&split.parts()[self.world.me as usize], shape, &self.options(options))?;
        Ok((split, most))
    }

    /// Those for this process's device.
    fn options(&self, options: &Options) -> Options {
        let options = options.of_kind(self.member.kind());
        match self.member.kind() {
            DeviceKind::Cpu => options.workers(options.workers.unwrap_or(self.workers)),
            _ => options,
        }
    }

    /// The least that all have, where each has something.
    fn all_have(&self, mine: Plan, timeout: Duration) -> Result<usize, PrepareError> {
        let verdict =
            agree(&self.world, mine, timeout, judge).inspect_err(|error| self.world.fail(error.to_string()))?;
        match verdict {
            Verdict::Agreed(least) => Ok(least),
            Verdict::Unequal { process, what, theirs, ours } => {
                let (peer, first) = (self.world.name(process), self.world.name(0));
                Err(PrepareError::Unequal { peer, what, theirs, first, ours })
            }
            // The same error everywhere, so that no process tries again alone.
            Verdict::Refused { process, reason } => Err(PrepareError::Peer { peer: self.world.name(process), reason }),
        }
    }

    /// What is compared before anything moves.
    fn plan(&self, proved: &Proved, shape: Shape, has: Result<usize, String>) -> Plan {
        let schedule = proved.schedule();
        let mut hash = Hash(0xcbf2_9ce4_8422_2325);
        // Into a hash, which takes everything.
        let _ = serde_json::to_writer(&mut hash, schedule);
        let placement = self.placement_of(schedule.ranks).to_string();
        let named = [
            ("schedule", format!("{} of {} ranks ({:016x})", schedule.origin.name(), schedule.ranks, hash.0)),
            ("form", if proved.in_place() { "in place" } else { "out of place" }.to_owned()),
            ("count", shape.count.to_string()),
            ("element type", shape.data_type.to_string()),
            ("operation", shape.op.to_string()),
            ("placement", placement),
            ("limit of a message", self.piece.to_string()),
            ("number of schedules prepared", self.world.prepared.get().to_string()),
        ];
        Plan { named: named.map(|(what, value)| (what.to_owned(), value)).to_vec(), has }
    }
}

/// "process 2 (CPU on node7)".
fn name(process: u32, hello: Option<&Hello>) -> String {
    match hello {
        Some(Hello { device, host, .. }) if host.is_empty() => format!("process {process} ({device})"),
        Some(Hello { device, host, .. }) => format!("process {process} ({device} on {host})"),
        None => format!("process {process}"),
    }
}

/// Of Linux; elsewhere all processes of a host have all of its cores.
fn cores() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    of.map(|list| list.trim().to_owned()).unwrap_or_default()
}

/// FNV-1a: the same on every machine and in every version.
struct Hash(u64);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn judge(plans: Vec<Option<Plan>>) -> Verdict {
    let unreadable = || Plan { named: Vec::new(), has: Err("it sent what nobody can read".to_owned()) };
    let plans: Vec<Plan> = plans.into_iter().map(|plan| plan.unwrap_or_else(unreadable)).collect();
    let mut least = usize::MAX;
    for (process, plan) in (0..).zip(&plans) {
        let mut pairs = plans[0].named.iter().zip(&plan.named);
        if let Some(((what, ours), (_, theirs))) = pairs.find(|(ours, theirs)| ours != theirs) {
            let (what, theirs, ours) = (what.clone(), theirs.clone(), ours.clone());
            return Verdict::Unequal { process, what, theirs, ours };
        }
    }
    for (process, plan) in (0..).zip(plans) {
        match plan.has {
            Ok(has) => least = least.min(has),
            Err(reason) => return Verdict::Refused { process, reason },
        }
    }
    Verdict::Agreed(least)
}

impl Backend for MpiBackend {
    type Ready = MpiReady;

    /// That of the first process.
    fn kind(&self) -> DeviceKind {
        self.kind
    }

    fn groups(&self, ranks: u32) -> Option<Groups> {
        // Of a placement of other ranks the split will tell.
        Some(self.placement_of(ranks)).filter(|placement| placement.ranks() == ranks)?.groups()
    }

    fn is_here(&self, rank: u32, ranks: u32) -> bool {
        let placement = self.placement_of(ranks);
        rank < placement.ranks() && placement.device(rank) == self.world.me
    }

    fn admit(&self, ranks: u32, _: &Options) -> Result<(), PrepareError> {
        self.check(&self.placement_of(ranks))
    }

    fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<MpiReady, PrepareError> {
        self.world.usable()?;
        let timeout = options.timeout.unwrap_or(DEFAULT_TIMEOUT);
        self.world.prepared.set(self.world.prepared.get() + 1);
        let number = self.world.prepared.get();
        let split = self.split(proved, shape, options);
        let has = split.as_ref().map(|(_, most)| *most).map_err(ToString::to_string);
        let most = self.all_have(self.plan(proved, shape, has), timeout)?;
        let (split, _) = split?;
        let part = &split.parts()[self.world.me as usize];
        let pieced = pieces(proved, shape, most)?;
        let share = self.member.prepare_part(part, shape, pieced, &self.options(options));
        let has = share.as_ref().map(|_| 0).map_err(ToString::to_string);
        self.all_have(Plan { named: Vec::new(), has }, timeout)?;
        let (share, piece) = (share?, self.piece);
        let traffic = Traffic { boundaries: part.boundaries(), number, piece, timeout, spare: Vec::new() };
        Ok(MpiReady::new(self.world.clone(), split, pieced, share, traffic))
    }
}

impl fmt::Debug for MpiBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MpiBackend")
            .field("processes", &self.world.names)
            .field("process", &self.world.me)
            .field("placement", &self.placement)
            .finish_non_exhaustive()
    }
}
