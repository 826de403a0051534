//! Lanes that run as far as they can: one such run decides for every timing whether all of them end.
//!
//! Apart from the proof of deadlock, because questions about a schedule run lanes, too, with instructions held back or in an
//! order of their own.

use std::collections::VecDeque;

use crate::schedule::{CellWait, Graph};

const NOBODY: u32 = u32::MAX;

/// How far all lanes are.
pub(super) struct Lanes<'g> {
    graph: &'g Graph,
    /// What has been executed.
    pub(super) order: Vec<u32>,
    /// The next instruction of each lane; at its end that of the next lane.
    pub(super) next: Vec<u32>,
    /// Notifies of each cell.
    pub(super) arrived: Vec<u32>,
    /// Waits of a lane's next instruction that are met: signals only grow.
    met: Vec<u32>,
    blocked_on: Vec<Option<CellWait>>,
    /// Lanes that wait for a notify, as linked lists.
    waiting: Vec<u32>,
    also_waiting: Vec<u32>,
    ready: VecDeque<u32>,
}

/// A lane that waits for ever.
pub(super) struct Stuck {
    pub(super) id: u32,
    pub(super) cell: u32,
    pub(super) at_least: u32,
    pub(super) arrived: u32,
}

impl<'g> Lanes<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let lanes = graph.lanes() as usize;
        Self {
            graph,
            order: Vec::with_capacity(graph.instructions() as usize),
            next: (0..graph.lanes()).map(|lane| graph.lane(lane).start).collect(),
            arrived: vec![0; graph.cells() as usize],
            met: vec![0; lanes],
            blocked_on: vec![None; lanes],
            waiting: vec![NOBODY; graph.notifies() as usize],
            also_waiting: vec![NOBODY; lanes],
            ready: VecDeque::new(),
        }
    }

    /// Runs every lane as far as it goes, `held` instructions and what follows them left out.
    ///
    /// Every wait is looked at once when its lane comes to it, and once more when it is met.
    pub(super) fn run(&mut self, held: impl Fn(u32) -> bool) {
        self.waiting.fill(NOBODY);
        self.ready.clear();
        self.ready.extend(0..self.graph.lanes());
        while let Some(lane) = self.ready.pop_front() {
            let end = self.graph.lane(lane).end;
            while self.next[lane as usize] < end {
                let id = self.next[lane as usize];
                if held(id) {
                    break;
                }
                let waits = &self.graph.waits_of(id)[self.met[lane as usize] as usize..];
                let unmet = waits.iter().position(|wait| self.arrived[wait.cell as usize] < wait.at_least);
                if let Some(at) = unmet {
                    self.met[lane as usize] += at as u32;
                    self.blocked_on[lane as usize] = Some(waits[at]);
                    if let Some(notify) = self.graph.nth_notify(waits[at].cell, waits[at].at_least) {
                        self.also_waiting[lane as usize] = self.waiting[notify as usize];
                        self.waiting[notify as usize] = lane;
                    }
                    break;
                }
                self.execute(id);
            }
        }
    }

    /// Executes the next instruction of a lane, whose waits are met.
    pub(super) fn execute(&mut self, id: u32) {
        let lane = self.graph.lane_of(id) as usize;
        self.met[lane] = 0;
        self.blocked_on[lane] = None;
        self.order.push(id);
        self.next[lane] += 1;
        for &cell in self.graph.notifies_of(id) {
            self.arrived[cell as usize] += 1;
            let Some(notify) = self.graph.nth_notify(cell, self.arrived[cell as usize]) else { continue };
            let mut woken = std::mem::replace(&mut self.waiting[notify as usize], NOBODY);
            while woken != NOBODY {
                self.ready.push_back(woken);
                woken = std::mem::replace(&mut self.also_waiting[woken as usize], NOBODY);
            }
        }
    }

    /// Whether that instruction could be executed now.
    pub(super) fn can(&self, id: u32) -> bool {
        let met = |wait: &CellWait| self.arrived[wait.cell as usize] >= wait.at_least;
        self.next[self.graph.lane_of(id) as usize] == id && self.graph.waits_of(id).iter().all(met)
    }

    /// The lanes that wait.
    pub(super) fn stuck(&self) -> Vec<Stuck> {
        let of = |(lane, wait): (usize, &Option<CellWait>)| {
            let CellWait { cell, at_least } = (*wait)?;
            Some(Stuck { id: self.next[lane], cell, at_least, arrived: self.arrived[cell as usize] })
        };
        self.blocked_on.iter().enumerate().filter_map(of).collect()
    }
}
