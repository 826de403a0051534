//! Proof 1: everything that an instruction names exists, and notifies and waits pair up.
//!
//! The later proofs index by what they find in the schedule; this one makes that safe.

use smallvec::SmallVec;

use super::memory::Size;
use super::proved::Options;
use super::report::{Finding, Findings};
use crate::schedule::{
    Address, AddressMap, Buffer, Granularity, Graph, Instruction, Lane, MAX_RANKS, Schedule, Signal, Site, Sources,
};

/// Most chunks, of all ranks' buffers and slots together.
const MAX_PLACES: u64 = 1 << 27;

/// Most lanes: the race proof holds a clock of every lane for every lane that learns something.
pub(super) const MAX_LANES: usize = 1 << 15;

/// Most instructions, waits or notifies: they are numbered in 32 bits.
const MAX_NUMBER: u64 = u32::MAX as u64;

/// Addresses, lengths, ranks and rows in range; no operand overlaps a destination otherwise than exactly.
/// The map of what is the same memory is made on the way, and what there is is counted.
pub(super) fn ranges(schedule: &Schedule, options: Options) -> Result<(AddressMap, Size), Findings> {
    let mut findings = Findings::default();
    if !(1..=MAX_RANKS).contains(&schedule.ranks) {
        findings.push(|| Finding::new(format!("{} ranks: a schedule has 1 to {MAX_RANKS} ranks", schedule.ranks)));
        return Err(findings);
    }
    if schedule.chunks == 0 {
        findings.push(|| Finding::new("the payload is cut into 0 chunks; it needs at least 1"));
    }
    if let Granularity::DivisibleBy(n) = schedule.granularity
        && (n == 0 || n % schedule.chunks.max(1) != 0)
    {
        let chunks = schedule.chunks;
        findings.push(|| Finding::new(format!("counts divisible by {n} do not divide into {chunks} equal chunks")));
    }
    if schedule.slots.len() > schedule.ranks as usize {
        let (windows, ranks) = (schedule.slots.len(), schedule.ranks);
        findings.push(|| Finding::new(format!("slots are given for {windows} ranks of {ranks}")));
    }
    if let Err(error) = schedule.task.check(schedule.ranks) {
        findings.push(|| Finding::new(error.to_string()));
    }
    let collective = schedule.task.collective;
    if options.in_place && !collective.has_in_place() {
        findings.push(|| Finding::new(format!("{collective} has no form in place: leave in_place out")));
    }
    let buffers = [Buffer::Input, Buffer::Output, Buffer::Slot];
    let chunks_of = |rank| buffers.into_iter().map(move |buffer| u64::from(schedule.buffer_chunks(buffer, rank)));
    // A payload that nobody has is cut all the same.
    let all = (0..schedule.ranks).flat_map(chunks_of).sum::<u64>().max(schedule.chunks.into());
    if all > MAX_PLACES {
        let ranks = schedule.ranks;
        let text = || {
            format!("the {all} chunks and slots of {ranks} ranks are more than the {MAX_PLACES} that can be checked")
        };
        findings.push(|| Finding::new(text()));
    }
    if schedule.lanes.len() > MAX_LANES {
        let lanes = schedule.lanes.len();
        findings.push(|| Finding::new(format!("{lanes} lanes are more than the {MAX_LANES} that can be checked")));
    }
    numbered(&mut findings, "instructions", schedule.instructions() as u64);
    // What follows asks where chunks lie.
    let map = if findings.is_empty() { AddressMap::new(schedule, options.in_place) } else { None };
    let Some(map) = map else { return Err(findings) };
    let mut size = Size::default();
    for (lane_index, lane) in schedule.lanes.iter().enumerate() {
        if lane.rank >= schedule.ranks {
            let (rank, ranks) = (lane.rank, schedule.ranks);
            findings.push(|| Finding::new(format!("lane {lane_index} belongs to rank {rank} of {ranks}")));
            continue;
        }
        for (index, instruction) in lane.instructions.iter().enumerate() {
            size.add(instruction);
            let site = || Site::of(schedule, lane_index, index);
            mistakes(schedule, &map, lane, instruction, &mut |message| {
                findings.push(|| Finding::new(format!("{}: {}", site(), message())).at(site()));
            });
        }
    }
    numbered(&mut findings, "waits", size.waits);
    numbered(&mut findings, "notifies", size.notifies);
    if findings.is_empty() { Ok((map, size)) } else { Err(findings) }
}

fn numbered(findings: &mut Findings, what: &str, number: u64) {
    if number > MAX_NUMBER {
        findings.push(|| Finding::new(format!("{number} {what} are more than the {MAX_NUMBER} that can be checked")));
    }
}

/// Is told a mistake, whose text is made only if somebody reads it: an instruction may be as long as the schedule.
type Say<'a> = dyn FnMut(&dyn Fn() -> String) + 'a;

fn mistakes(schedule: &Schedule, map: &AddressMap, lane: &Lane, instruction: &Instruction, say: &mut Say<'_>) {
    if instruction.chunks == 0 {
        say(&|| "is 0 chunks long".to_owned());
    }
    match (instruction.from.is_empty(), instruction.to.is_empty()) {
        (false, true) => say(&|| "has no destination".to_owned()),
        (true, false) => say(&|| "has a destination but moves nothing".to_owned()),
        (true, true) if instruction.chunks > 1 => {
            say(&|| format!("is {} chunks long but moves nothing", instruction.chunks));
        }
        _ => {}
    }
    let mut exist = true;
    for &address in instruction.from.iter().chain(&instruction.to) {
        let chunks = || schedule.buffer_chunks(address.buffer, address.rank);
        if address.rank >= schedule.ranks {
            say(&|| format!("names {address}, but there are {} ranks", schedule.ranks));
        } else if u64::from(address.chunk) + u64::from(instruction.chunks) > u64::from(chunks()) {
            say(&|| format!("names {address}, {} chunks long, of {}", instruction.chunks, chunks()));
        } else {
            continue;
        }
        exist = false;
    }
    if exist {
        for &to in instruction.to.iter().filter(|to| to.buffer == Buffer::Input) {
            let output_chunks = schedule.buffer_chunks(Buffer::Output, to.rank);
            if !map.is_output(to, instruction.chunks, output_chunks) {
                say(&|| format!("writes {}, but inputs are only read", schedule.show(to)));
            }
        }
        overlaps(schedule, map, instruction, say);
    }
    for wait in &instruction.waits {
        let signal = Signal { rank: lane.rank, row: wait.row, sender: wait.sender };
        if wait.row >= schedule.signal_rows || wait.sender >= schedule.ranks {
            say(&|| format!("waits for {signal}; {}", extent(schedule)));
        }
        if wait.at_least == 0 {
            say(&|| format!("waits for 0 notifies on {signal}, which is no wait"));
        }
    }
    for notify in &instruction.notifies {
        let signal = Signal { rank: notify.peer, row: notify.row, sender: lane.rank };
        if notify.row >= schedule.signal_rows || notify.peer >= schedule.ranks {
            say(&|| format!("notifies {signal}; {}", extent(schedule)));
        }
    }
}

fn extent(schedule: &Schedule) -> String {
    format!("there are {} rows and {} ranks", schedule.signal_rows, schedule.ranks)
}

/// Destinations that overlap each other, and operands that overlap a destination otherwise than exactly.
fn overlaps(schedule: &Schedule, map: &AddressMap, instruction: &Instruction, say: &mut Say<'_>) {
    let overlap = |a: usize, b: usize| a.abs_diff(b) < instruction.chunks as usize;
    let place = |&address: &Address| (map.index(address), address);
    let show = |&(_, address): &(usize, Address)| schedule.show(address);
    let mut to: SmallVec<[(usize, Address); 2]> = instruction.to.iter().map(place).collect();
    to.sort_unstable();
    // Sorted, whatever overlaps is a neighbour: a schedule over a thousand ranks has thousands of addresses here.
    for pair in to.windows(2).filter(|pair| overlap(pair[0].0, pair[1].0)) {
        say(&|| format!("has overlapping destinations {} and {}", show(&pair[0]), show(&pair[1])));
    }
    for from in instruction.from.iter().map(place) {
        let at = to.partition_point(|to| to.0 < from.0);
        let before = at.checked_sub(1).and_then(|at| to.get(at));
        let after = to[at..].iter().find(|to| to.0 != from.0);
        let askew = before.into_iter().chain(after).filter(|to| overlap(to.0, from.0));
        for to in askew {
            say(&|| format!("reads {} and writes {}, which overlap in part", show(&from), show(to)));
        }
    }
}

/// Every notify is awaited, every wait can be met, and the rank that meets it is known.
pub(super) fn signals(schedule: &Schedule, graph: &Graph) -> Findings {
    let mut findings = Findings::default();
    let mut awaited = vec![0_u32; graph.cells() as usize];
    // Nobody reads more of them.
    const SHOWN: usize = 64;
    let notifiers = |cell| graph.notifiers_of(cell).iter().take(SHOWN).map(|&id| graph.site(schedule, id));
    for id in 0..graph.instructions() {
        if graph.instruction(schedule, id).zeroes_signals {
            findings.push(|| {
                let site = graph.site(schedule, id);
                let text =
                    format!("{site} zeroes signals inside the launch; the host's command stream does that before it");
                Finding::new(text).at(site)
            });
        }
        for &wait in graph.waits_of(id) {
            let most = &mut awaited[wait.cell as usize];
            *most = (*most).max(wait.at_least);
            let signal = graph.signal(wait.cell);
            let sent = graph.notifiers_of(wait.cell).len();
            let n = wait.at_least;
            let site = || graph.site(schedule, id);
            match graph.sources(wait) {
                Sources::Known(_) => {}
                Sources::Never => findings.push(|| {
                    let text =
                        format!("{} waits for notify {n} on {signal}, but rank {} sends {sent}", site(), signal.sender);
                    Finding::new(text).at(site()).on(signal).with(notifiers(wait.cell))
                }),
                Sources::Ambiguous => findings.push(|| {
                    let text = format!(
                        "{} waits for {n} of {sent} notifies on {signal}, which come from several lanes: \
                         it cannot know which",
                        site()
                    );
                    Finding::new(text).at(site()).on(signal).with(notifiers(wait.cell))
                }),
            }
        }
    }
    for cell in 0..graph.cells() {
        let notifiers = graph.notifiers_of(cell);
        if let Some(&id) = notifiers.get(awaited[cell as usize] as usize) {
            let (signal, site) = (graph.signal(cell), graph.site(schedule, id));
            findings.push(|| {
                Finding::new(format!("{site} notifies {signal}, but nobody waits for it")).at(site).on(signal)
            });
        }
    }
    findings
}

/// In place, a copy from input to output may find its operand where it is to go. Then it does nothing: executors leave it
/// out, so that nobody has to wait for it, and it is no access here either. None where there is no such copy.
pub(super) fn without_idle_copies(schedule: &Schedule, map: &AddressMap) -> Option<Schedule> {
    let idle = |instruction: &Instruction| -> Option<usize> {
        let [from] = instruction.from[..] else { return None };
        let same = |to: &Address| to.buffer != from.buffer && map.index(*to) == map.index(from);
        instruction.to.iter().position(same)
    };
    let mut effective: Option<Schedule> = None;
    for (l, lane) in schedule.lanes.iter().enumerate() {
        for (i, instruction) in lane.instructions.iter().enumerate() {
            // Destinations do not coincide, so there is one at most.
            let Some(destination) = idle(instruction) else { continue };
            let changed = &mut effective.get_or_insert_with(|| schedule.clone()).lanes[l].instructions[i];
            changed.to.remove(destination);
            if changed.to.is_empty() {
                changed.from.clear();
            }
        }
    }
    effective
}
