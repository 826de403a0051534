//! Schedules that are nearly right: one to six edits of one that is.
//!
//! Most are wrong; some are right all the same, and what a proof makes of either must be true.

use wgccl::collective::Collective;
use wgccl::schedule::{Address, Buffer, Granularity, Instruction, Lane, Notify, Schedule, Wait};

use super::random::Random;

/// Edits `schedule`, and perhaps where it is for.
pub(crate) fn mutate(random: &mut Random, schedule: &mut Schedule, in_place: &mut bool) {
    for _ in 0..random.between(1, 6).min(random.between(1, 6)) {
        edit(random, schedule, in_place);
    }
}

/// An instruction by lane and index, of a schedule that has any.
fn any(random: &mut Random, schedule: &Schedule, fits: impl Fn(&Instruction) -> bool) -> Option<(usize, usize)> {
    let lanes = schedule.lanes.iter().enumerate();
    let all = lanes.flat_map(|(l, lane)| lane.instructions.iter().enumerate().map(move |(i, one)| (l, i, one)));
    let fitting: Vec<(usize, usize)> = all.filter(|(.., one)| fits(one)).map(|(l, i, _)| (l, i)).collect();
    (!fitting.is_empty()).then(|| *random.pick(&fitting))
}

/// A number next to this one, mostly, and rarely the greatest that there is.
fn near(random: &mut Random, number: u32) -> u32 {
    match random.below(100) {
        0 => u32::MAX,
        1..40 => number.saturating_sub(1),
        40..80 => number.saturating_add(1),
        _ => random.below(number.saturating_add(2)),
    }
}

/// A row near this one, mostly one of those that exist.
fn row(random: &mut Random, rows: u32, row: u32) -> u32 {
    let new = near(random, row);
    if rows == 0 || random.percent(5) { new } else { new % rows }
}

/// An address that exists, if the first few that come to mind do.
pub(crate) fn address(random: &mut Random, schedule: &Schedule) -> Address {
    let mut at = Address::default();
    for _ in 0..4 {
        at.rank = random.below(schedule.ranks.max(1));
        at.buffer = *random.pick(&[Buffer::Input, Buffer::Output, Buffer::Slot]);
        let chunks = schedule.buffer_chunks(at.buffer, at.rank).min(64);
        if chunks > 0 {
            at.chunk = random.below(chunks);
            break;
        }
    }
    at
}

/// Mostly one that exists as well.
fn changed(random: &mut Random, schedule: &Schedule, at: Address) -> Address {
    let new = match random.below(4) {
        0 => Address { chunk: near(random, at.chunk), ..at },
        1 => Address { rank: random.below(schedule.ranks.max(1)), ..at },
        2 => Address { buffer: *random.pick(&[Buffer::Input, Buffer::Output, Buffer::Slot]), ..at },
        _ => address(random, schedule),
    };
    match schedule.buffer_chunks(new.buffer, new.rank) {
        chunks if new.chunk < chunks || random.percent(10) => new,
        0 => address(random, schedule),
        chunks => Address { chunk: new.chunk % chunks, ..new },
    }
}

fn edit(random: &mut Random, schedule: &mut Schedule, in_place: &mut bool) {
    let (ranks, rows) = (schedule.ranks.max(1), schedule.signal_rows);
    match random.below(100) {
        // Waits.
        0..12 => {
            let Some((l, i)) = any(random, schedule, |i| !i.waits.is_empty()) else { return };
            let waits = &mut schedule.lanes[l].instructions[i].waits;
            let at = random.index(waits.len());
            waits.remove(at);
        }
        12..20 => {
            let Some((l, i)) = any(random, schedule, |i| !i.waits.is_empty()) else { return };
            let waits = &mut schedule.lanes[l].instructions[i].waits;
            let at = random.index(waits.len());
            let wait = &mut waits[at];
            match random.below(3) {
                0 => wait.at_least = near(random, wait.at_least),
                1 => wait.row = row(random, rows, wait.row),
                _ => wait.sender = random.below(ranks),
            }
        }
        20..24 => {
            let Some((l, i)) = any(random, schedule, |_| true) else { return };
            let wait = Wait { row: row(random, rows, 0), sender: random.below(ranks), at_least: 1 };
            schedule.lanes[l].instructions[i].waits.push(wait);
        }
        // Notifies.
        24..32 => {
            let Some((l, i)) = any(random, schedule, |i| !i.notifies.is_empty()) else { return };
            let notifies = &mut schedule.lanes[l].instructions[i].notifies;
            let at = random.index(notifies.len());
            notifies.remove(at);
        }
        32..37 => {
            let Some((l, i)) = any(random, schedule, |i| !i.notifies.is_empty()) else { return };
            let notifies = &mut schedule.lanes[l].instructions[i].notifies;
            let at = random.index(notifies.len());
            match random.below(2) {
                0 => notifies[at].row = row(random, rows, notifies[at].row),
                _ => notifies[at].peer = random.below(ranks),
            }
        }
        37..41 => {
            let Some((l, i)) = any(random, schedule, |_| true) else { return };
            let notify = Notify { peer: random.below(ranks), row: row(random, rows, 0) };
            schedule.lanes[l].instructions[i].notifies.push(notify);
        }
        // A wait with the notify that it is for, and a notify that is sent earlier or later.
        41..46 => drop_pair(random, schedule),
        46..50 => {
            let Some((l, i)) = any(random, schedule, |i| !i.notifies.is_empty()) else { return };
            let instructions = &mut schedule.lanes[l].instructions;
            let at = random.index(instructions[i].notifies.len());
            let notify = instructions[i].notifies.remove(at);
            let to = near(random, i as u32).min(instructions.len() as u32 - 1) as usize;
            instructions[to].notifies.push(notify);
        }
        // Addresses.
        50..58 => {
            let Some((l, i)) = any(random, schedule, |i| !i.from.is_empty()) else { return };
            let at = random.index(schedule.lanes[l].instructions[i].from.len());
            let new = changed(random, schedule, schedule.lanes[l].instructions[i].from[at]);
            schedule.lanes[l].instructions[i].from[at] = new;
        }
        58..66 => {
            let Some((l, i)) = any(random, schedule, |i| !i.to.is_empty()) else { return };
            let at = random.index(schedule.lanes[l].instructions[i].to.len());
            let new = changed(random, schedule, schedule.lanes[l].instructions[i].to[at]);
            schedule.lanes[l].instructions[i].to[at] = new;
        }
        66..70 => {
            let Some((l, i)) = any(random, schedule, |i| !i.from.is_empty()) else { return };
            let new = address(random, schedule);
            let instruction = &mut schedule.lanes[l].instructions[i];
            match random.below(4) {
                0 => instruction.from.push(new),
                1 => instruction.to.push(new),
                2 => _ = instruction.from.remove(random.index(instruction.from.len())),
                _ if instruction.to.is_empty() => {}
                _ => _ = instruction.to.remove(random.index(instruction.to.len())),
            }
        }
        70..73 => {
            let Some((l, i)) = any(random, schedule, |i| !i.from.is_empty()) else { return };
            let instruction = &mut schedule.lanes[l].instructions[i];
            let mut from = instruction.from.to_vec();
            random.shuffle(&mut from);
            instruction.from = from.into_iter().collect();
        }
        73..76 => {
            let Some((l, i)) = any(random, schedule, |i| !i.from.is_empty()) else { return };
            let chunks = schedule.lanes[l].instructions[i].chunks;
            schedule.lanes[l].instructions[i].chunks = near(random, chunks);
        }
        // The order of instructions, and whose they are.
        76..81 => {
            let Some((l, i)) = any(random, schedule, |_| true) else { return };
            let instruction = schedule.lanes[l].instructions.remove(i);
            if random.percent(70) {
                let to = if random.percent(70) { l } else { random.index(schedule.lanes.len()) };
                let instructions = &mut schedule.lanes[to].instructions;
                let at = if to == l { near(random, i as u32) as usize } else { random.index(instructions.len() + 1) };
                instructions.insert(at.min(instructions.len()), instruction);
            }
        }
        81..84 => {
            let Some((l, i)) = any(random, schedule, |_| true) else { return };
            let copy = schedule.lanes[l].instructions[i].clone();
            schedule.lanes[l].instructions.insert(i, copy);
        }
        84..87 => {
            let Some((l, i)) = any(random, schedule, |_| true) else { return };
            let rest = schedule.lanes[l].instructions.split_off(i);
            let mut lane = Lane::new(schedule.lanes[l].rank);
            lane.instructions = rest;
            schedule.lanes.push(lane);
        }
        87..89 if schedule.lanes.len() > 1 => {
            let from = random.index(schedule.lanes.len());
            let lane = schedule.lanes.remove(from);
            let into = random.index(schedule.lanes.len());
            schedule.lanes[into].instructions.extend(lane.instructions);
        }
        89..91 if !schedule.lanes.is_empty() => {
            let at = random.index(schedule.lanes.len());
            schedule.lanes[at].rank = near(random, schedule.lanes[at].rank);
        }
        91 => {
            let Some((l, i)) = any(random, schedule, |_| true) else { return };
            schedule.lanes[l].instructions[i].zeroes_signals = true;
        }
        // The schedule as a whole.
        92 => schedule.chunks = near(random, schedule.chunks).min(8),
        93 => schedule.ranks = near(random, schedule.ranks).min(9),
        94 if !schedule.slots.is_empty() => {
            let at = random.index(schedule.slots.len());
            schedule.slots[at] = near(random, schedule.slots[at]).min(64);
        }
        95 => schedule.signal_rows = near(random, schedule.signal_rows).min(64),
        96 => {
            schedule.granularity = match schedule.granularity {
                Granularity::Ragged => Granularity::DivisibleBy(near(random, schedule.chunks)),
                _ => Granularity::Ragged,
            };
        }
        97 => schedule.task.root = random.below(ranks),
        98 => schedule.task.collective = *random.pick(Collective::ALL),
        99 => *in_place = !*in_place,
        _ => {}
    }
}

/// A wait, and the notify that ends it; later ones then count one less.
fn drop_pair(random: &mut Random, schedule: &mut Schedule) {
    let Some((l, i)) = any(random, schedule, |i| !i.waits.is_empty()) else { return };
    let receiver = schedule.lanes[l].rank;
    let waits = &mut schedule.lanes[l].instructions[i].waits;
    let at = random.index(waits.len());
    let Wait { row, sender, at_least } = waits.remove(at);
    for lane in &mut schedule.lanes {
        let mut sent = 0;
        for instruction in &mut lane.instructions {
            if lane.rank == receiver {
                for wait in instruction.waits.iter_mut().filter(|wait| (wait.row, wait.sender) == (row, sender)) {
                    wait.at_least -= u32::from(wait.at_least > at_least);
                }
            }
            if lane.rank == sender {
                let this = Notify { peer: receiver, row };
                instruction.notifies.retain(|notify| {
                    sent += u32::from(*notify == this);
                    *notify != this || sent != at_least
                });
            }
        }
    }
}
