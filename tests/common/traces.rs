//! What holds of every trace, whoever made it: held against the schedule's own words, without the library's graph.

use std::collections::{BTreeMap, BTreeSet};

use wgccl::proof::Proved;
use wgccl::schedule::Schedule;
use wgccl::trace::{Clock, Span, Trace};

/// For each instruction those whose notifies it waits for: lane and index of each.
pub(crate) fn waits(schedule: &Schedule) -> BTreeMap<(u32, u32), Vec<(u32, u32)>> {
    let mut sent = BTreeMap::<(u32, u32, u32), Vec<(u32, u32)>>::new();
    let all = || {
        (0..).zip(&schedule.lanes).flat_map(|(l, lane)| {
            (0..).zip(&lane.instructions).map(move |(i, instruction)| (l, lane.rank, i, instruction))
        })
    };
    for (lane, rank, index, instruction) in all() {
        for notify in &instruction.notifies {
            sent.entry((notify.peer, notify.row, rank)).or_default().push((lane, index));
        }
    }
    all()
        .map(|(lane, rank, index, instruction)| {
            let of = instruction.waits.iter().flat_map(|wait| {
                let sent = &sent[&(rank, wait.row, wait.sender)];
                // Of several lanes all are needed, else the last that is.
                match sent.iter().all(|at| at.0 == sent[0].0) {
                    true => vec![sent[wait.at_least as usize - 1]],
                    false => sent.clone(),
                }
            });
            ((lane, index), of.collect())
        })
        .collect()
}

/// Every instruction of every lane is there once a channel and piece, each lane goes from one to the next, no wait is over
/// before what it waited for, and a thread does one thing at a time.
pub(crate) fn consistent(trace: &Trace, proved: &Proved, context: &str) {
    let schedule = proved.schedule();
    let place = |span: &Span| (span.piece, span.channel, span.lane, span.instruction);
    let spans: BTreeMap<_, Span> = trace.spans.iter().map(|span| (place(span), *span)).collect();
    assert_eq!(spans.len(), trace.spans.len(), "{context}: an instruction is there twice");
    let slices: BTreeSet<_> = trace.spans.iter().map(|span| (span.piece, span.channel)).collect();
    let most = |of: &dyn Fn(&Span) -> u32| trace.spans.iter().map(of).max().map_or(1, |last| last as usize + 1);
    let expected = most(&|span| span.piece) * most(&|span| span.channel.unwrap_or(0));
    assert_eq!(slices.len(), expected, "{context}: a channel or piece is missing");
    assert_eq!(spans.len(), slices.len() * schedule.instructions(), "{context}: an instruction is missing");
    let waits = waits(schedule);
    for (&(piece, channel, lane, index), span) in &spans {
        assert!(span.begin <= span.ready && span.ready <= span.end, "{context}: {span:?}");
        if index > 0 {
            let before = &spans[&(piece, channel, lane, index - 1)];
            let together = (before.begin, before.ready, before.end) == (span.begin, span.ready, span.end);
            let follows = before.end == span.begin || trace.clock != Clock::Host && together;
            assert!(follows, "{context}: {span:?} does not follow {before:?}");
        }
        for &(lane, index) in &waits[&(lane, index)] {
            let notifier = &spans[&(piece, channel, lane, index)];
            assert!(notifier.end <= span.ready, "{context}: {span:?} was ready before {notifier:?} had ended");
        }
    }
    let mut shifts = BTreeMap::<u32, Vec<(u64, u64)>>::new();
    for span in &trace.spans {
        if let Some(worker) = span.worker {
            shifts.entry(worker).or_default().push((span.ready, span.end));
        }
    }
    for (worker, mut shifts) in shifts {
        shifts.sort_unstable();
        assert!(
            shifts.windows(2).all(|two| two[0].1 <= two[1].0),
            "{context}: worker {worker} does two things at once"
        );
    }
}
