//! What is true of a schedule, found by brute force and with no code of `verify`.
//!
//! Happens-before is the transitive closure of program order and notify -> wait edges in a bit matrix; a race is any
//! unordered pair in the list of all accesses of a chunk; values are multisets of contributions.

use std::collections::BTreeMap;

use wgccl::collective::Collective;
use wgccl::schedule::{Address, Buffer, Instruction, Schedule};

use super::nccl::Nccl;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Truth {
    /// An address lies outside its buffer, two destinations coincide, or an operand shares chunks with a destination that
    /// begins elsewhere; nothing else is known then.
    pub(crate) malformed: bool,
    /// Some instruction can never begin; nothing that follows is known then.
    pub(crate) deadlock: bool,
    pub(crate) race: bool,
    /// Some output chunk is not what NCCL promises, or some rank can leave a barrier before another has come. Not defined
    /// where there is a race.
    pub(crate) wrong: bool,
    /// Something is read that nobody wrote before. Not defined where there is a race.
    pub(crate) uninitialised: bool,
    /// Some wait is for fewer notifies than several lanes send: nobody knows which.
    pub(crate) ambiguous: bool,
    /// A rank zeroes its signals, and some notify of them is not known to come after.
    pub(crate) erases: bool,
}

impl Truth {
    pub(crate) fn good(self) -> bool {
        self == Self::default()
    }
}

type Place = (u32, u8, u32);
/// How often each chunk of each rank's input is in it.
type Value = BTreeMap<(u32, u32), u32>;

pub(crate) fn truth(schedule: &Schedule, nccl: Nccl, in_place: bool) -> Truth {
    let mut truth = Truth::default();
    let chunks = schedule.chunks;
    let buffer_chunks = |a: Address| match a.buffer {
        Buffer::Input => nccl.parts(a.rank).0 * chunks,
        Buffer::Output => nccl.parts(a.rank).1 * chunks,
        Buffer::Slot => schedule.slots_of(a.rank),
    };
    let place = |a: Address, k: u32| -> Place {
        let at = |(input, output): (u32, u32)| match a.buffer {
            Buffer::Input => (a.rank, 1, input * chunks + a.chunk + k),
            Buffer::Output => (a.rank, 1, output * chunks + a.chunk + k),
            Buffer::Slot => (a.rank, 2, a.chunk + k),
        };
        match (a.buffer, in_place) {
            (_, true) => at(nccl.in_place(a.rank).unwrap()),
            (Buffer::Input, false) => (a.rank, 0, a.chunk + k),
            (_, false) => at((0, 0)),
        }
    };
    let lanes = schedule.lanes.iter().enumerate();
    let all: Vec<_> = lanes.flat_map(|(l, lane)| lane.instructions.iter().map(move |i| (l, lane.rank, i))).collect();
    truth.malformed = all.iter().any(|(_, _, i)| {
        let mut addresses = i.from.iter().chain(&i.to).copied();
        let twice = i.to.iter().enumerate().any(|(n, to)| i.to[..n].contains(to));
        if twice || addresses.any(|a| a.rank >= schedule.ranks || a.chunk + i.chunks > buffer_chunks(a)) {
            return true;
        }
        let places = |a: Address| (0..i.chunks).map(move |k| place(a, k));
        let shares = |a: Address, b: Address| places(a).any(|p| places(b).any(|q| p == q));
        i.from.iter().any(|&a| i.to.iter().any(|&b| place(a, 0) != place(b, 0) && shares(a, b)))
    });
    if truth.malformed {
        return truth;
    }

    let mut notified = BTreeMap::<(u32, u32, u32), Vec<usize>>::new();
    for (id, (_, rank, instruction)) in all.iter().enumerate() {
        for notify in &instruction.notifies {
            notified.entry((notify.peer, notify.row, *rank)).or_default().push(id);
        }
    }
    let words = all.len().div_ceil(64);
    let mut before = vec![vec![0_u64; words]; all.len()];
    let mut order = Vec::new();
    let mut done = vec![false; all.len()];
    loop {
        let ready = |id: &usize| {
            let (lane, rank, instruction) = all[*id];
            let next = *id == 0 || all[*id - 1].0 != lane || done[*id - 1];
            next && !done[*id]
                && instruction.waits.iter().all(|wait| {
                    let sent = notified.get(&(rank, wait.row, wait.sender)).into_iter().flatten();
                    sent.filter(|&&from| done[from]).count() >= wait.at_least as usize
                })
        };
        let round: Vec<usize> = (0..all.len()).filter(ready).collect();
        if round.is_empty() {
            break;
        }
        for id in round {
            let (lane, rank, instruction) = all[id];
            let mut after: Vec<usize> = (id > 0 && all[id - 1].0 == lane).then(|| id - 1).into_iter().collect();
            for wait in &instruction.waits {
                let sent = notified.get(&(rank, wait.row, wait.sender)).map_or(&[][..], Vec::as_slice);
                let n = wait.at_least as usize;
                // One lane notifies in its order; of several lanes it is only known that all have, if all have.
                match sent.iter().all(|&from| all[from].0 == all[sent[0]].0) {
                    true => after.extend(n.checked_sub(1).map(|n| sent[n])),
                    false if n == sent.len() => after.extend(sent),
                    false => truth.ambiguous = true,
                }
            }
            let mut mine = vec![0; words];
            for from in after {
                mine.iter_mut().zip(&before[from]).for_each(|(mine, theirs)| *mine |= theirs);
                mine[from / 64] |= 1 << (from % 64);
            }
            before[id] = mine;
            done[id] = true;
            order.push(id);
        }
    }
    truth.deadlock = order.len() < all.len();
    if truth.deadlock {
        return truth;
    }

    // A copy from an input to an output that is the same memory does nothing.
    let real = |i: &Instruction| -> (Vec<Address>, Vec<Address>) {
        let idle =
            |to: &&Address| i.from.len() == 1 && to.buffer != i.from[0].buffer && place(**to, 0) == place(i.from[0], 0);
        let to: Vec<Address> = i.to.iter().filter(|to| !idle(to)).copied().collect();
        if to.is_empty() { (Vec::new(), to) } else { (i.from.to_vec(), to) }
    };
    let mut accesses = BTreeMap::<Place, Vec<(usize, bool)>>::new();
    for (id, (_, _, instruction)) in all.iter().enumerate() {
        let (from, to) = real(instruction);
        let reads = from.into_iter().map(|a| (a, false));
        for (address, write) in reads.chain(to.into_iter().map(|a| (a, true))) {
            for k in 0..instruction.chunks {
                accesses.entry(place(address, k)).or_default().push((id, write));
            }
        }
    }
    let ordered = |a: usize, b: usize| a == b || before[b][a / 64] >> (a % 64) & 1 == 1;
    truth.race = accesses.values().any(|accesses| {
        let conflict =
            |&(a, wa): &(usize, bool), &(b, wb): &(usize, bool)| (wa || wb) && !ordered(a, b) && !ordered(b, a);
        accesses.iter().enumerate().any(|(n, a)| accesses[..n].iter().any(|b| conflict(a, b)))
    });

    let zeroings = all.iter().enumerate().filter(|(_, (_, _, i))| i.zeroes_signals);
    truth.erases = zeroings.into_iter().any(|(zeroing, (_, rank, _))| {
        let notifies = |id: usize| all[id].2.notifies.iter().any(|notify| notify.peer == *rank);
        (0..all.len()).any(|id| notifies(id) && before[id][zeroing / 64] >> (zeroing % 64) & 1 == 0)
    });

    if nccl.collective == Collective::Barrier {
        let ids_of = |rank: u32| -> Vec<usize> { (0..all.len()).filter(|&id| all[id].1 == rank).collect() };
        let knows = |rank, peer| {
            let ends = ids_of(rank).pop();
            ends.is_some_and(|end| ids_of(peer).into_iter().any(|id| before[end][id / 64] >> (id % 64) & 1 == 1))
        };
        let pairs = (0..schedule.ranks).flat_map(|rank| (0..schedule.ranks).map(move |peer| (rank, peer)));
        truth.wrong = pairs.into_iter().any(|(rank, peer)| rank != peer && !knows(rank, peer));
        return truth;
    }

    let mut memory = BTreeMap::<Place, Value>::new();
    for rank in 0..schedule.ranks {
        for chunk in 0..nccl.parts(rank).0 * chunks {
            memory.insert(place(Address::input(rank, chunk), 0), Value::from([((rank, chunk), 1)]));
        }
    }
    for id in order {
        let instruction = all[id].2;
        if instruction.to.is_empty() {
            continue;
        }
        for k in 0..instruction.chunks {
            let mut sum = Some(Value::new());
            for &address in &instruction.from {
                match (memory.get(&place(address, k)), &mut sum) {
                    (Some(value), Some(sum)) => value.iter().for_each(|(&from, n)| *sum.entry(from).or_default() += n),
                    (Some(_), None) => {}
                    (None, _) => {
                        truth.uninitialised = true;
                        sum = None;
                    }
                }
            }
            for &to in &instruction.to {
                match &sum {
                    Some(sum) => memory.insert(place(to, k), sum.clone()),
                    None => memory.remove(&place(to, k)),
                };
            }
        }
    }
    truth.wrong = (0..schedule.ranks).any(|rank| {
        (0..nccl.parts(rank).1).any(|part| {
            (0..chunks).any(|c| {
                let terms = nccl.terms(rank, part).into_iter();
                let right: Value = terms.map(|(from, part)| ((from, part * chunks + c), 1)).collect();
                memory.get(&place(Address::output(rank, part * chunks + c), 0)) != Some(&right)
            })
        })
    });
    truth
}
