//! What a benchmark is asked to measure, and what of it can be refused before anything runs.
//!
//! Apart from the sweep, because the record and the table of a sweep tell of its request, too.

use std::sync::Arc;
use std::time::Duration;

use wgccl::backend::Backend;
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::{DataType, supported};
use wgccl::low_level::payload::Payload;
use wgccl::schedule::{
    Algorithm, BuildError, DeviceKind, Granularity, Groups, MAX_RANKS, Placement, Recipe, Schedule, Selection,
    SyncStyle,
};

use super::size::{Parts, Range, Step};
use crate::device::{AUTO, Device};
use crate::dispatch::Dispatch;
use crate::error::{BenchError, Error};
use crate::file::Loaded;
use crate::memory::{check_count, check_memory};
use crate::protocol::Wish;

/// An algorithm or `auto`; none is the file.
pub(super) type Way = Option<Selection>;

/// Every device that there is.
pub const ALL: &str = "all";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is computed.
    pub collective: Collective,
    /// For collectives that have one.
    pub roots: Roots,
    /// Of send-recv: from whom each rank receives; empty is the rank before it.
    pub sources: Vec<u32>,
    /// By the schedule of a file, before those of `algorithms`.
    pub file: Option<Arc<Loaded>>,
    /// How, one after the other.
    pub algorithms: Vec<Selection>,
    /// Leave out, and note, an algorithm that is not defined for a number of ranks, in place of refusing everything.
    pub only_defined: bool,
    /// Who waits for whom.
    pub sync: SyncStyle,
    /// Numbers of participants, one after the other.
    pub ranks: Vec<u32>,
    /// Element types, one after the other.
    pub data_types: Vec<DataType>,
    /// Reductions, one after the other.
    pub ops: Vec<Op>,
    /// Devices, one after the other, as `--device` takes them.
    pub devices: Vec<String>,
    /// Of several devices that share the ranks: which has which.
    pub place: Option<Placement>,
    /// Dispatch modes and protocols on GPUs, one after the other.
    pub dispatch: Vec<Dispatch>,
    /// Leave out, and note, modes that a device does not bear, in place of refusing everything.
    pub only_sound: bool,
    /// Sizes.
    pub range: Range,
    /// Timed launches of a row.
    pub iterations: usize,
    /// Launches before them.
    pub warmup: usize,
    /// First timed launches that statistics leave out.
    pub skip: usize,
    /// Checked launches after them.
    pub checks: usize,
    /// Copies of each kind that the roof is the median of.
    pub copies: usize,
    /// Out of place only.
    pub only_apart: bool,
    /// Repetitions of everything; 0 is for ever.
    pub cycles: u64,
    /// First element of every buffer.
    pub unalign: usize,
    /// What a row may take.
    pub timeout: Option<Duration>,
    /// Of the generated inputs.
    pub seed: u64,
    /// After what is measured, one launch of each row that notes when each instruction runs.
    pub trace: bool,
}

/// Which roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// This one.
    One(u32),
    /// Every rank, one after the other.
    All,
}

impl Default for Request {
    /// Seven sizes, seconds on anything.
    fn default() -> Self {
        Self {
            collective: Collective::AllReduce,
            roots: Roots::One(0),
            sources: Vec::new(),
            file: None,
            algorithms: vec![Algorithm::Ring.into()],
            only_defined: false,
            sync: SyncStyle::Neighbor,
            ranks: vec![4],
            data_types: vec![DataType::F32],
            ops: vec![Op::Sum],
            devices: vec![AUTO.to_owned()],
            place: None,
            dispatch: vec![Dispatch::AUTO],
            only_sound: false,
            range: Range { first: 1 << 10, last: 4 << 20, step: Step::Factor(4) },
            iterations: 20,
            warmup: 5,
            skip: 0,
            checks: 1,
            copies: 20,
            only_apart: false,
            cycles: 1,
            unalign: 0,
            timeout: None,
            seed: 0,
            trace: false,
        }
    }
}

impl Request {
    /// The dispatch modes' names.
    pub fn dispatch_names(&self) -> String {
        let names = || self.dispatch.iter().map(Dispatch::to_string).collect::<Vec<_>>().join(",");
        if self.only_sound { ALL.to_owned() } else { names() }
    }

    /// The dispatch modes that are measured on `device`, and why any is left out.
    pub(super) fn dispatch_on(&self, device: &Device, notes: &mut Vec<String>) -> Vec<Dispatch> {
        let Some(gpu) = device.gpu() else { return vec![Dispatch::AUTO] };
        let mut sound = self.dispatch.clone();
        sound.retain(|&dispatch| match device.refuses(dispatch).filter(|_| self.only_sound) {
            Some(reason) => {
                notes.push(format!("left out: {dispatch} on {}: {reason}", gpu.info().title()));
                false
            }
            None => true,
        });
        sound
    }

    /// The reductions of every type, one after the other. Where several were asked for, one that does not exist is only
    /// noted.
    pub(super) fn redops(&self, notes: &mut Vec<String>) -> Result<Vec<(DataType, Option<Op>)>, Error> {
        if !self.collective.reduces() {
            return Ok(self.data_types.iter().map(|&data_type| (data_type, None)).collect());
        }
        let mut pairs = Vec::new();
        let mut refused = None;
        for (&data_type, &op) in self.data_types.iter().flat_map(|t| self.ops.iter().map(move |op| (t, op))) {
            match supported(data_type, op) {
                Ok(()) => pairs.push((data_type, Some(op))),
                Err(unsupported) => {
                    notes.push(unsupported.to_string());
                    refused.get_or_insert(unsupported);
                }
            }
        }
        match refused {
            Some(unsupported) if pairs.is_empty() => Err(unsupported.into()),
            _ => Ok(pairs),
        }
    }

    /// The roots among `ranks` ranks; one where roots mean nothing.
    pub(super) fn roots(&self, ranks: u32) -> std::ops::Range<u32> {
        match self.roots {
            Roots::One(root) => root..root + 1,
            Roots::All => 0..if self.collective.has_root() { ranks } else { 1 },
        }
    }

    /// Elements of a part in every size.
    pub(super) fn counts(&self, data_type: DataType, ranks: u32) -> Result<Vec<usize>, BenchError> {
        let mut counts = self.range.counts(data_type.bytes(), Parts::of(self.collective, ranks))?;
        if let Some(Granularity::DivisibleBy(n)) = self.file.as_ref().map(|file| file.schedule.granularity) {
            let n = n.max(1) as usize;
            counts.iter_mut().for_each(|count| *count = *count / n * n);
            counts.retain(|&count| count > 0);
            counts.dedup();
            if counts.is_empty() {
                let Range { first, last, .. } = self.range;
                return Err(BenchError::Granularity { first, last, n });
            }
        }
        Ok(counts)
    }

    /// Roots and schedules over `ranks` ranks, and why any is left out.
    pub(super) fn lines(&self, ranks: u32, notes: &mut Vec<String>) -> Result<Vec<(u32, Way)>, BuildError> {
        let mut lines: Vec<(u32, Way)> = self.file.iter().map(|file| (file.schedule.task.root, None)).collect();
        for (root, &selection) in self.roots(ranks).flat_map(|r| self.algorithms.iter().map(move |a| (r, a))) {
            let built = match selection {
                Selection::Named(algorithm) => self.schedule(root, Some(algorithm), ranks).map(drop),
                _ => Ok(()),
            };
            match built {
                Ok(()) => lines.push((root, Some(selection))),
                Err(error) if self.only_defined && !matches!(error, BuildError::Ranks(_)) => {
                    let note = format!("left out: {error}");
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(lines)
    }

    /// By an algorithm, or that of the file.
    pub(super) fn schedule(&self, root: u32, algorithm: Option<Algorithm>, ranks: u32) -> Result<Schedule, BuildError> {
        self.schedule_on(root, algorithm, ranks, None)
    }

    /// As [`schedule`](Self::schedule), where these ranks share a device.
    pub(super) fn schedule_on(
        &self,
        root: u32,
        algorithm: Option<Algorithm>,
        ranks: u32,
        placed: Option<Groups>,
    ) -> Result<Schedule, BuildError> {
        let algorithm = match (algorithm, &self.file) {
            (None, Some(file)) => return Ok(file.schedule.clone()),
            (None, None) => Algorithm::default_of(self.collective),
            (Some(algorithm), _) => algorithm,
        };
        Recipe::new(self.task(root), ranks).algorithm(algorithm).sync(self.sync).placed(placed).build()
    }

    fn task(&self, root: u32) -> Task {
        let mut task = Task::from(self.collective).root(root);
        task.sources.clone_from(&self.sources);
        task
    }

    /// Which algorithm a part of `count` elements goes by on `device`.
    pub(super) fn algorithm_on(
        &self,
        way: Way,
        ranks: u32,
        data_type: DataType,
        count: usize,
        device: &Device,
    ) -> Option<Algorithm> {
        let part_bytes = count as u64 * data_type.bytes() as u64;
        let recipe = Recipe::new(self.task(0), ranks).part_bytes(part_bytes).device(device.kind());
        way.map(|way| recipe.algorithm(way).placed(device.groups(ranks)).chosen())
    }

    /// Which algorithm a part of `count` elements goes by on a device of this kind.
    pub(super) fn algorithm(
        &self,
        way: Way,
        ranks: u32,
        data_type: DataType,
        count: usize,
        kind: DeviceKind,
    ) -> Option<Algorithm> {
        way.map(|way| way.algorithm(self.collective, ranks, count as u64 * data_type.bytes() as u64, kind))
    }

    /// The protocol that the file asks for.
    pub(super) fn wish(&self) -> Option<Wish> {
        self.file.as_deref().and_then(Wish::of)
    }

    /// Refuses what can be refused without a device and without a schedule: that of many ranks is gigabytes.
    pub(super) fn check_numbers(&self) -> Result<(), Error> {
        if self.iterations == 0 {
            return Err(Error::Usage("0 iterations measure nothing; give at least -n 1".to_owned()));
        }
        if self.skip >= self.iterations {
            return Err(Error::Usage(format!(
                "-K {} leaves out all of the {} iterations; give more of them with -n",
                self.skip, self.iterations
            )));
        }
        for &ranks in &self.ranks {
            if !(1..=MAX_RANKS).contains(&ranks) {
                return Err(BuildError::Ranks(ranks).into());
            }
            for &data_type in &self.data_types {
                let largest =
                    self.counts(data_type, ranks)?.into_iter().max().unwrap_or(0).saturating_add(self.unalign);
                check_count(self.collective, largest)?;
                // What a root alone has is as much, whichever rank it is.
                check_memory(&self.task(0), ranks, largest, data_type.bytes())?;
            }
        }
        Ok(())
    }

    /// Refuses what no device could run, whichever algorithm it would choose. `lines` are those over `ranks` ranks.
    pub(super) fn check(&self, ranks: u32, lines: &[(u32, Way)]) -> Result<(), Error> {
        for &(root, selection) in lines {
            for &data_type in &self.data_types {
                let counts = self.counts(data_type, ranks)?;
                let mut largest = Vec::<(Option<Algorithm>, usize)>::new();
                for (&kind, &count) in DeviceKind::ALL.iter().flat_map(|kind| counts.iter().map(move |c| (kind, c))) {
                    let algorithm = self.algorithm(selection, ranks, data_type, count, kind);
                    match largest.iter_mut().find(|(known, _)| *known == algorithm) {
                        Some((_, largest)) => *largest = count.max(*largest),
                        None => largest.push((algorithm, count)),
                    }
                }
                for (algorithm, count) in largest {
                    let schedule = self.schedule(root, algorithm, ranks)?;
                    if self.collective != Collective::Barrier {
                        Payload::new(&schedule, count.saturating_add(self.unalign), data_type.bytes())?;
                    }
                }
            }
        }
        Ok(())
    }
}
