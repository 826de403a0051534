//! The schedule flattened: instructions numbered through all lanes, signals as dense cells, notify -> wait edges.
//!
//! Proofs and launch plans walk this instead of the nested value, so that a million instructions stay cheap.

use rustc_hash::FxHashMap;

use super::{Instruction, Notify, Schedule, Signal, Site};

#[derive(Debug, Clone)]
pub(crate) struct Graph {
    /// First instruction of each lane, and the total.
    first: Vec<u32>,
    lane_of: Vec<u32>,
    wait_first: Vec<u32>,
    waits: Vec<CellWait>,
    notify_first: Vec<u32>,
    /// Cells, by notify.
    notifies: Vec<u32>,
    signals: Vec<Signal>,
    notifier_first: Vec<u32>,
    /// Instructions that notify a cell, by lane and then in program order.
    notifiers: Vec<u32>,
    ambiguous: Vec<bool>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct CellWait {
    pub(crate) cell: u32,
    pub(crate) at_least: u32,
}

/// Who must have notified before a wait is over.
pub(crate) enum Sources<'a> {
    /// These instructions, all of them.
    Known(&'a [u32]),
    /// Any of several sets: nothing is known to have happened.
    Ambiguous,
    /// More notifies than there are.
    Never,
}

/// Numbers of the signals that are in use. A barrier uses nearly all there are, a neighbour ring few of them.
enum Cells {
    All {
        rows: usize,
        ranks: usize,
        cells: Vec<u32>,
    },
    /// In one map, or in one for each rank: lanes follow each other by rank and mostly know few others, so that the maps of
    /// large schedules are in a cache when they are asked.
    Few(Vec<FxHashMap<(u64, u32), u32>>),
}

impl Cells {
    const NEW: u32 = u32::MAX;

    /// Signals that are named so often fit a cache in one map.
    const CACHED: usize = 1 << 14;

    fn new(schedule: &Schedule, used: usize) -> Self {
        let (rows, ranks) = (schedule.signal_rows as usize, schedule.ranks as usize);
        match ranks.checked_mul(ranks).and_then(|n| n.checked_mul(rows)) {
            Some(all) if all <= used.saturating_mul(4) => Self::All { rows, ranks, cells: vec![Self::NEW; all] },
            _ => {
                let maps = if used < Self::CACHED { 1 } else { ranks };
                // Most signals are named twice: by a notify and by its wait.
                let map = || FxHashMap::with_capacity_and_hasher(used / 2 / maps, Default::default());
                Self::Few((0..maps).map(|_| map()).collect())
            }
        }
    }

    fn entry(&mut self, Signal { rank, row, sender }: Signal) -> &mut u32 {
        match self {
            Self::All { rows, ranks, cells } => {
                &mut cells[(rank as usize * *rows + row as usize) * *ranks + sender as usize]
            }
            Self::Few(maps) => {
                let of_rank = if maps.len() == 1 { 0 } else { rank as usize };
                maps[of_rank].entry((u64::from(rank) << 32 | u64::from(row), sender)).or_insert(Self::NEW)
            }
        }
    }
}

impl Graph {
    /// `schedule` must have passed the range checks of `structure`.
    pub(crate) fn new(schedule: &Schedule) -> Self {
        Self::with(schedule, |rank, notify| Signal { rank: notify.peer, row: notify.row, sender: rank })
    }

    /// Of a schedule in which every rank does what rank 0 does, turned, and which has rank 0's lanes only: its signals, and the
    /// notifies that rank 0 gets, each in the place of that which it sends when the other is at it.
    pub(crate) fn folded(schedule: &Schedule) -> Self {
        let before = |distance: u32| if distance == 0 { 0 } else { schedule.ranks - distance };
        Self::with(schedule, |_, notify| Signal { rank: 0, row: notify.row, sender: before(notify.peer) })
    }

    /// `signal` says which one a rank's notify is of.
    fn with(schedule: &Schedule, signal: impl Fn(u32, &Notify) -> Signal) -> Self {
        let total = schedule.instructions();
        let instructions = || schedule.lanes.iter().flat_map(|lane| &lane.instructions);
        let waits = instructions().map(|instruction| instruction.waits.len()).sum();
        let notifies = instructions().map(|instruction| instruction.notifies.len()).sum();
        let firsts = |len: usize| {
            let mut firsts = Vec::with_capacity(len + 1);
            firsts.push(0);
            firsts
        };
        let mut graph = Self {
            first: firsts(schedule.lanes.len()),
            lane_of: Vec::with_capacity(total),
            wait_first: firsts(total),
            waits: Vec::with_capacity(waits),
            notify_first: firsts(total),
            notifies: Vec::with_capacity(notifies),
            signals: Vec::new(),
            notifier_first: Vec::new(),
            notifiers: Vec::new(),
            ambiguous: Vec::new(),
        };
        let mut cells = Cells::new(schedule, waits + notifies);
        for (lane_index, lane) in schedule.lanes.iter().enumerate() {
            for instruction in &lane.instructions {
                graph.lane_of.push(lane_index as u32);
                for wait in &instruction.waits {
                    let signal = Signal { rank: lane.rank, row: wait.row, sender: wait.sender };
                    let cell = graph.cell(&mut cells, signal);
                    graph.waits.push(CellWait { cell, at_least: wait.at_least });
                }
                graph.wait_first.push(graph.waits.len() as u32);
                for notify in &instruction.notifies {
                    let cell = graph.cell(&mut cells, signal(lane.rank, notify));
                    graph.notifies.push(cell);
                }
                graph.notify_first.push(graph.notifies.len() as u32);
            }
            graph.first.push(graph.lane_of.len() as u32);
        }
        graph.index_notifiers();
        graph
    }

    fn cell(&mut self, cells: &mut Cells, signal: Signal) -> u32 {
        let cell = cells.entry(signal);
        if *cell == Cells::NEW {
            *cell = self.signals.len() as u32;
            self.signals.push(signal);
        }
        *cell
    }

    fn index_notifiers(&mut self) {
        let mut first = vec![0_u32; self.signals.len() + 1];
        for &cell in &self.notifies {
            first[cell as usize + 1] += 1;
        }
        for cell in 0..self.signals.len() {
            first[cell + 1] += first[cell];
        }
        let mut next = first.clone();
        self.notifiers = vec![0; self.notifies.len()];
        for id in 0..self.instructions() {
            for notify in self.notify_first[id as usize]..self.notify_first[id as usize + 1] {
                let cell = self.notifies[notify as usize];
                self.notifiers[next[cell as usize] as usize] = id;
                next[cell as usize] += 1;
            }
        }
        self.notifier_first = first;
        self.ambiguous = (0..self.signals.len() as u32)
            .map(|cell| {
                let notifiers = self.notifiers_of(cell);
                notifiers.iter().any(|&id| self.lane_of(id) != self.lane_of(notifiers[0]))
            })
            .collect();
    }

    pub(crate) fn instructions(&self) -> u32 {
        self.lane_of.len() as u32
    }

    pub(crate) fn lanes(&self) -> u32 {
        self.first.len() as u32 - 1
    }

    /// Numbers of the lane's instructions.
    pub(crate) fn lane(&self, lane: u32) -> std::ops::Range<u32> {
        self.first[lane as usize]..self.first[lane as usize + 1]
    }

    pub(crate) fn lane_of(&self, id: u32) -> u32 {
        self.lane_of[id as usize]
    }

    /// Index of the instruction in its lane.
    pub(crate) fn index(&self, id: u32) -> u32 {
        id - self.first[self.lane_of(id) as usize]
    }

    pub(crate) fn instruction<'s>(&self, schedule: &'s Schedule, id: u32) -> &'s Instruction {
        &schedule.lanes[self.lane_of(id) as usize].instructions[self.index(id) as usize]
    }

    pub(crate) fn site(&self, schedule: &Schedule, id: u32) -> Site {
        Site::of(schedule, self.lane_of(id) as usize, self.index(id) as usize)
    }

    pub(crate) fn waits_of(&self, id: u32) -> &[CellWait] {
        &self.waits[self.wait_first[id as usize] as usize..self.wait_first[id as usize + 1] as usize]
    }

    /// Waits of all instructions.
    pub(crate) fn waits(&self) -> u32 {
        self.waits.len() as u32
    }

    /// Notifies of all instructions.
    pub(crate) fn notifies(&self) -> u32 {
        self.notifies.len() as u32
    }

    /// A number, below that of all notifies, for the `n`-th notify of `cell` that arrives, from 1. None if so many are not
    /// sent.
    pub(crate) fn nth_notify(&self, cell: u32, n: u32) -> Option<u32> {
        let [first, end] = [cell, cell + 1].map(|cell| self.notifier_first[cell as usize]);
        (1..=end - first).contains(&n).then(|| first + n - 1)
    }

    /// Cells that the instruction notifies.
    pub(crate) fn notifies_of(&self, id: u32) -> &[u32] {
        &self.notifies[self.notify_first[id as usize] as usize..self.notify_first[id as usize + 1] as usize]
    }

    pub(crate) fn cells(&self) -> u32 {
        self.signals.len() as u32
    }

    pub(crate) fn signal(&self, cell: u32) -> Signal {
        self.signals[cell as usize]
    }

    pub(crate) fn notifiers_of(&self, cell: u32) -> &[u32] {
        &self.notifiers[self.notifier_first[cell as usize] as usize..self.notifier_first[cell as usize + 1] as usize]
    }

    /// The notifies of one lane come in program order, so the n-th is known. With several lanes only "all" is known.
    pub(crate) fn sources(&self, wait: CellWait) -> Sources<'_> {
        let notifiers = self.notifiers_of(wait.cell);
        let n = wait.at_least as usize;
        match self.ambiguous[wait.cell as usize] {
            _ if n > notifiers.len() => Sources::Never,
            _ if n == 0 => Sources::Known(&[]),
            false => Sources::Known(&notifiers[n - 1..n]),
            true if n == notifiers.len() => Sources::Known(notifiers),
            true => Sources::Ambiguous,
        }
    }
}
