//! One simulated run of a schedule, right or wrong, kept so that it can be asked: why, what orders these two, what goes wrong.
//!
//! A report says that something is so; questions are asked of what it was derived from. A schedule that is not proved has that
//! as well, as far as its lanes get.

use std::borrow::Cow;

use super::memory::Memory;
use super::prove::Refused;
use super::proved::{Options, Proved};
use super::report::{Finding, Findings, Report};
use super::simulate::Lanes;
use super::structure;
use crate::schedule::{Address, AddressMap, Buffer, Graph, Schedule, Site};

/// A run of a schedule from beginning to end, or until nobody can go on.
#[derive(Debug)]
pub struct Run<'s> {
    pub(crate) schedule: Cow<'s, Schedule>,
    pub(crate) map: Cow<'s, AddressMap>,
    pub(crate) graph: Cow<'s, Graph>,
    /// What was executed, by numbers of the graph.
    pub(crate) order: Cow<'s, [u32]>,
    pub(super) options: Options,
}

impl<'s> Run<'s> {
    /// Runs `schedule`, of which nothing need be proved but that what it names exists.
    ///
    /// # Errors
    /// [`Refused`] where an address, a rank or a row does not exist, or the schedule is too large for its proofs.
    pub fn of(schedule: &'s Schedule, options: Options) -> Result<Self, Box<Refused>> {
        let refused =
            |findings| Box::new(Refused { origin: schedule.origin.clone(), report: Report::of_structure(findings) });
        let (map, size) = structure::ranges(schedule, options).map_err(refused)?;
        Memory::new(&size, options.memory).ask(&size, options.in_place).map_err(|short| {
            let mut findings = Findings::default();
            findings.push(|| Finding::new(short.to_string()));
            refused(findings)
        })?;
        let effective = if options.in_place { structure::without_idle_copies(schedule, &map) } else { None };
        let schedule = effective.map_or(Cow::Borrowed(schedule), Cow::Owned);
        let graph = Graph::new(&schedule);
        let mut lanes = Lanes::new(&graph);
        lanes.run(|_| false);
        let order = Cow::Owned(lanes.order);
        Ok(Self { schedule, map: Cow::Owned(map), graph: Cow::Owned(graph), order, options })
    }

    /// The schedule as it is in effect: in place, copies from a place to itself are left out.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Whether every lane reached its end.
    pub fn finished(&self) -> bool {
        self.order.len() == self.graph.instructions() as usize
    }

    pub(super) fn site(&self, id: u32) -> Site {
        self.graph.site(&self.schedule, id)
    }

    /// The number of that instruction, if the schedule has it.
    pub(super) fn id(&self, site: &Site) -> Option<u32> {
        let lane = (site.lane < self.graph.lanes()).then(|| self.graph.lane(site.lane))?;
        lane.start.checked_add(site.instruction).filter(|id| lane.contains(id))
    }

    /// Whether there is such a chunk.
    pub(super) fn exists(&self, address: Address) -> bool {
        address.rank < self.schedule.ranks && address.chunk < self.schedule.buffer_chunks(address.buffer, address.rank)
    }

    /// The chunk of a rank's input that lies there before anybody writes.
    pub(super) fn input_at(&self, address: Address) -> Option<Address> {
        let input = Address::input(address.rank, 0);
        let chunks = self.schedule.buffer_chunks(Buffer::Input, address.rank);
        let chunk = self.map.index(address).checked_sub(self.map.index(input)).filter(|_| chunks > 0)?;
        (chunk < chunks as usize).then(|| Address::input(address.rank, chunk as u32))
    }
}

impl Proved {
    /// A run of the schedule, to be asked.
    pub fn run(&self) -> Run<'_> {
        Run {
            schedule: Cow::Borrowed(self.schedule()),
            map: Cow::Borrowed(self.address_map()),
            graph: Cow::Borrowed(self.graph()),
            order: Cow::Borrowed(self.order()),
            options: self.options(),
        }
    }
}
