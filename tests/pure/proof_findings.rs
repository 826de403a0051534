//! Small schedules by hand, each with exactly one defect: which proofs fail, and in what words.

use std::time::Instant;

use wgccl::collective::{Collective, Op, Task};
use wgccl::cpu;
use wgccl::low_level::payload::Payload;
use wgccl::proof::Proof::{self, BitIdentical, DeadlockFree, Initialised, RaceFree, Structure};
use wgccl::proof::{Finding, Options, Verdict, check, check_draft, prove};
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, MAX_RANKS, Schedule, Site, SyncStyle, build, draft};

const RESULT: Proof = Proof::Result;
fn out_of_place() -> Options {
    Options::default()
}

fn in_one_place() -> Options {
    Options::default().in_place(true)
}

fn input(rank: u32, chunk: u32) -> Address {
    Address::input(rank, chunk)
}

fn output(rank: u32, chunk: u32) -> Address {
    Address::output(rank, chunk)
}

fn slot(rank: u32, chunk: u32) -> Address {
    Address::slot(rank, chunk)
}

fn step() -> Instruction {
    Instruction::new("move")
}

fn all_reduce(ranks: u32, chunks: u32) -> Schedule {
    Schedule::new("by hand", Collective::AllReduce, ranks, chunks)
}

/// One lane a rank, made of that rank's instructions.
fn lanes(schedule: Schedule, lane: impl Fn(u32) -> Vec<Instruction>) -> Schedule {
    (0..schedule.ranks)
        .fold(schedule, |schedule, rank| schedule.lane(lane(rank).into_iter().fold(Lane::new(rank), Lane::with)))
}

/// Two ranks, one chunk: each pushes its input into the other's slot, notifies, waits, and adds.
fn push() -> Schedule {
    lanes(all_reduce(2, 1).slots(2).signal_rows(1), |rank| {
        let peer = 1 - rank;
        vec![
            step().copy(input(rank, 0)).to(slot(peer, 0)).notify(peer, 0),
            step().wait(0, peer).reduce(input(rank, 0), slot(rank, 0)).to(output(rank, 0)),
        ]
    })
}

/// Three ranks, one chunk: every rank reads all inputs; nothing to wait for.
fn pull(order: impl Fn(u32) -> [u32; 3]) -> Schedule {
    lanes(all_reduce(3, 1).slots(1), |rank| {
        let [a, b, c] = order(rank);
        vec![
            step().reduce(input(a, 0), input(b, 0)).to(slot(rank, 0)),
            step().reduce(slot(rank, 0), input(c, 0)).to(output(rank, 0)),
        ]
    })
}

/// `push` with one instruction changed.
fn broken(lane: usize, index: usize, change: impl Fn(Instruction) -> Instruction) -> Schedule {
    changed(push(), lane, index, change)
}

fn changed(mut schedule: Schedule, lane: usize, index: usize, change: impl Fn(Instruction) -> Instruction) -> Schedule {
    let instruction = &mut schedule.lanes[lane].instructions[index];
    *instruction = change(instruction.clone());
    schedule
}

/// `push` with one more instruction at the end of a lane.
fn extended(lane: usize, instruction: Instruction) -> Schedule {
    let mut schedule = push();
    schedule.lanes[lane].push(instruction);
    schedule
}

/// `push` where rank 0 waits for so many notifies of the one that is sent.
fn waiting_for(at_least: u32) -> Schedule {
    let mut schedule = push();
    schedule.lanes[0].instructions[1].waits[0].at_least = at_least;
    schedule
}

/// `push` on two chunks, in instructions of two chunks, with one more instruction in lane 0.
fn wide(instruction: Instruction) -> Schedule {
    let mut schedule = push().slots(4);
    schedule.chunks = 2;
    for instruction in schedule.lanes.iter_mut().flat_map(|lane| &mut lane.instructions) {
        instruction.chunks = 2;
    }
    schedule.lanes[0].push(instruction);
    schedule
}

fn without_action(mut instruction: Instruction) -> Instruction {
    instruction.from.clear();
    instruction
}

fn without_waits(mut instruction: Instruction) -> Instruction {
    instruction.waits.clear();
    instruction
}

fn without_destination(mut instruction: Instruction) -> Instruction {
    instruction.to.clear();
    instruction
}

struct Case {
    name: &'static str,
    schedule: Schedule,
    options: Options,
    /// All the proofs that fail; of the others every one holds, or is not reached after `structure` or a deadlock.
    fail: &'static [Proof],
    /// All in one message of the first of them.
    says: &'static [&'static str],
}

fn case(name: &'static str, schedule: Schedule, fail: &'static [Proof], says: &'static [&'static str]) -> Case {
    Case { name, schedule, options: out_of_place(), fail, says }
}

fn run(cases: Vec<Case>) {
    for Case { name, schedule, options, fail, says } in cases {
        let report = check(&schedule, options);
        let failed: Vec<Proof> =
            report.proofs.iter().filter(|o| o.verdict == Verdict::Fails).map(|outcome| outcome.proof).collect();
        assert_eq!(failed, fail, "{name}\n{:#?}", report.proofs);
        let Some(&first) = fail.first() else {
            assert!(report.proofs.iter().all(|outcome| outcome.ok), "{name}\n{report}");
            assert_eq!(report.failures().to_string(), "", "{name}");
            assert!(report.to_string().lines().count() == 6, "{name}\n{report}");
            continue;
        };
        let findings = &report.outcome(first).unwrap().findings;
        let said = findings.iter().any(|finding| says.iter().all(|says| finding.message.contains(says)));
        assert!(said, "{name}: no finding says {says:?}\n{findings:#?}");
        assert_eq!(report.ok(), fail == [BitIdentical], "{name}");
        assert_eq!(prove(schedule, options).is_ok(), report.ok(), "{name}");
    }
}

/// A cycle goes through as many lanes as there are. The finding has all of them; written out it has some, and says how many are left out.
#[test]
fn a_long_cycle_is_cut_where_it_is_written() {
    for (ranks, shown, left_out) in [(3, 2, None), (65, 64, None), (66, 64, Some(1)), (500, 64, Some(435))] {
        let turn = lanes(all_reduce(ranks, 1).signal_rows(1), |rank| {
            vec![step().wait(0, (rank + ranks - 1) % ranks), step().notify((rank + 1) % ranks, 0)]
        });
        let report = check(&turn, Options::default());
        let finding = &report.outcome(DeadlockFree).unwrap().findings[0];
        assert_eq!(finding.with.len() as u32, ranks - 1);
        let written = serde_json::to_value(finding).unwrap();
        assert_eq!(written["with"].as_array().unwrap().len(), shown, "{ranks}");
        assert_eq!(written.get("with_left_out").and_then(serde_json::Value::as_u64), left_out, "{ranks}");
        assert_eq!(written["message"], finding.message);
    }
}

#[test]
fn what_does_not_exist_is_named() {
    let no_ranks = all_reduce(0, 1);
    let too_many = all_reduce(MAX_RANKS + 1, 1);
    let mut foreign = push();
    foreign.lanes[1].rank = 2;
    let mut of_nothing = of_barrier();
    of_nothing.chunks = u32::MAX;
    let s = &[Structure];
    run(vec![
        case("no rank", no_ranks, s, &["0 ranks: a schedule has 1 to 4096 ranks"]),
        case("too many ranks", too_many, s, &["4097 ranks"]),
        case("no chunk", all_reduce(1, 0), s, &["cut into 0 chunks"]),
        case("a lane of an absent rank", foreign, s, &["lane 1 belongs to rank 2 of 2"]),
        case(
            "address out of range",
            broken(0, 0, |i| i.copy(input(0, 1))),
            s,
            &["rank 0 move (lane 0, instruction 0)", "names rank 0 input[1], 1 chunks long, of 1"],
        ),
        case(
            "a destination out of range",
            broken(1, 0, |i| without_destination(i).to(slot(0, 2))),
            s,
            &["rank 1 move (lane 1, instruction 0)", "names rank 0 slot[2], 1 chunks long, of 2"],
        ),
        case("the end out of range", broken(0, 0, |i| i.chunks(2)), s, &["rank 0 input[0], 2 chunks long, of 1"]),
        case(
            "the end beyond any number",
            broken(0, 0, |i| i.copy(input(0, u32::MAX)).chunks(u32::MAX)),
            s,
            &["input[4294967295], 4294967295 chunks long, of 1"],
        ),
        case(
            "rank out of range",
            broken(0, 0, |i| i.copy(input(2, 0))),
            s,
            &["rank 2 input[0], but there are 2 ranks"],
        ),
        case(
            "a wait's row out of range",
            extended(0, step().wait(1, 1)),
            s,
            &["waits for signal [row 1][sender 1] of rank 0; there are 1 rows and 2 ranks"],
        ),
        case("a wait's sender out of range", extended(0, step().wait(0, 2)), s, &["[row 0][sender 2] of rank 0"]),
        case(
            "a notify's row out of range",
            extended(0, step().notify(1, 1)),
            s,
            &["notifies signal [row 1][sender 0] of rank 1; there are 1 rows and 2 ranks"],
        ),
        case("a notify's peer out of range", extended(0, step().notify(2, 0)), s, &["[sender 0] of rank 2"]),
        case(
            "memory beyond any machine",
            push().slots(u32::MAX),
            s,
            &["the 8589934594 chunks and slots of 2 ranks are more than the 134217728 that can be checked"],
        ),
        case("chunks of nothing", of_nothing, s, &["the 4294967295 chunks and slots of 3 ranks are more"]),
        case(
            "more lanes than clocks",
            (0..=1 << 15).fold(push(), |schedule, _| schedule.lane(Lane::new(0))),
            s,
            &["32771 lanes are more than the 32768 that can be checked"],
        ),
    ]);
}

/// The last chunks of a payload may be shorter, or empty.
#[test]
fn what_user_memory_could_cut_is_named() {
    // One rank, two chunks: chunk `first` goes through output `through` before it arrives.
    let detour = |first: u32, through: Address| {
        let other = 1 - first;
        lanes(all_reduce(1, 2).slots(1), |_| {
            vec![
                step().copy(input(0, first)).to(through),
                step().copy(through).to(output(0, first)),
                step().copy(input(0, other)).to(output(0, other)),
            ]
        })
    };
    let sum = lanes(all_reduce(3, 2).slots(1), |rank| {
        let all = |chunk| step().reduce_all((0..3).map(|rank| input(rank, chunk)));
        match rank {
            0 => vec![all(0).to(output(0, 1)), step().copy(output(0, 1)).to(output(0, 0)), all(1).to(output(0, 1))],
            _ => vec![all(0).to(output(rank, 0)), all(1).to(output(rank, 1))],
        }
    });
    run(vec![
        case(
            "a whole chunk through the last",
            detour(0, output(0, 1)),
            &[RESULT],
            &["rank 0 move (lane 0, instruction 0) puts a chunk 0 into rank 0 output[1], which may be shorter"],
        ),
        case("a sum through the last", sum, &[RESULT], &["puts a chunk 0 into rank 0 output[1]", "use a chunk slot"]),
        case("the last through a whole one", detour(1, output(0, 0)), &[], &[]),
        case("a whole chunk through a slot", detour(0, slot(0, 0)), &[], &[]),
    ]);
    // What is proved is right on the shortest of payloads, too.
    for count in 1..12 {
        for schedule in [detour(1, output(0, 0)), detour(0, slot(0, 0))] {
            let payload = Payload::new(&schedule, count, 4).unwrap();
            let proved = prove(schedule, out_of_place()).unwrap();
            let mut executor = cpu::Executor::<i32>::new(&proved, payload.count, Op::Sum, &Default::default()).unwrap();
            let (input, mut output) = ((1..=count as i32).collect::<Vec<_>>(), vec![0; count]);
            executor.run(&[&input], &mut [&mut output]).unwrap();
            assert_eq!(input, output, "{count}");
        }
    }
}

#[test]
fn what_an_instruction_cannot_be_is_named() {
    let s = &[Structure];
    let both = step().copy(input(0, 0)).chunks(2);
    let mut overlapping = wide(step().copy(input(0, 0)).to(output(0, 1)).chunks(2)).slots(6);
    overlapping.chunks = 3;
    let mut zeroing = push();
    let mut zeroes = step();
    zeroes.zeroes_signals = true;
    zeroing.lanes[0].instructions.insert(0, zeroes);
    run(vec![
        case("4 chunks of nothing", extended(0, step().chunks(4)), s, &["is 4 chunks long but moves nothing"]),
        case("0 chunks", broken(0, 0, |i| i.chunks(0)), s, &["is 0 chunks long"]),
        case("a wait for 0", broken(0, 1, |i| i.wait_for(0, 1, 0)), s, &["waits for 0 notifies", "is no wait"]),
        case("no destination", broken(0, 0, without_destination), s, &["has no destination"]),
        case("a destination of nothing", broken(0, 0, without_action), s, &["has a destination but moves nothing"]),
        case(
            "an operand and a destination overlap in part",
            wide(step().copy(slot(0, 1)).to(slot(0, 2)).chunks(2)),
            s,
            &["reads rank 0 slot[1] and writes rank 0 slot[2], which overlap in part"],
        ),
        case(
            "overlapping destinations",
            wide(both.clone().to(slot(0, 2)).to(slot(0, 1))),
            s,
            &["has overlapping destinations rank 0 slot[1] and rank 0 slot[2]"],
        ),
        case("the same destination twice", wide(both.to(slot(0, 2)).to(slot(0, 2))), s, &["overlapping destinations"]),
        case(
            "a write to an input",
            extended(0, step().copy(output(0, 0)).to(input(0, 0))),
            s,
            &["writes rank 0 input[0], but inputs are only read"],
        ),
        Case {
            options: in_one_place(),
            ..case("input and output overlap in part, in place", overlapping, s, &["overlap in part"])
        },
        case(
            "zeroing in-kernel",
            zeroing,
            &[Structure, RaceFree],
            &["rank 0 move (lane 0, instruction 0) zeroes signals inside the launch"],
        ),
    ]);
}

#[test]
fn signals_that_do_not_pair_up_are_named() {
    // Rank 1 notifies from two lanes, the second of which does nothing else.
    let from_two_lanes = |at_least| {
        let mut schedule = push().lane(Lane::new(1).with(step().notify(0, 0)));
        schedule.lanes[0].instructions[1].waits[0].at_least = at_least;
        schedule
    };
    run(vec![
        case(
            "a notify that nobody waits for",
            extended(0, step().notify(1, 0)),
            &[Structure],
            &["lane 0, instruction 2", "notifies signal [row 0][sender 0] of rank 1, but nobody waits for it"],
        ),
        case(
            "a wait that nobody notifies",
            broken(0, 1, |i| i.wait(0, 0)),
            &[Structure, DeadlockFree],
            &["waits for notify 1 on signal [row 0][sender 0] of rank 0, but rank 0 sends 0"],
        ),
        case(
            "a wait for more than are sent",
            waiting_for(3),
            &[Structure, DeadlockFree],
            &["waits for notify 3 on signal [row 0][sender 1] of rank 0, but rank 1 sends 1"],
        ),
        // What is not known to have happened orders nothing.
        case(
            "an ambiguous wait",
            from_two_lanes(1),
            &[Structure, RaceFree],
            &["waits for 1 of 2 notifies on signal [row 0][sender 1] of rank 0", "several lanes: it cannot know which"],
        ),
        case("all notifies of several lanes", from_two_lanes(2), &[], &[]),
    ]);
}

#[test]
fn deadlocks_are_explained() {
    let turn = |ranks: u32| {
        lanes(all_reduce(ranks, 1).signal_rows(1), |rank| {
            let (left, right) = ((rank + ranks - 1) % ranks, (rank + 1) % ranks);
            vec![step().wait(0, left), step().notify(right, 0)]
        })
    };
    // Ranks 0 and 1 wait for each other, rank 2 for rank 0.
    let follower = lanes(all_reduce(3, 1).signal_rows(1), |rank| match rank {
        0 => vec![step().wait(0, 1), step().notify(1, 0).notify(2, 0)],
        1 => vec![step().wait(0, 0), step().notify(0, 0)],
        _ => vec![step().wait(0, 0)],
    });
    run(vec![
        case(
            "a cycle of two",
            turn(2),
            &[DeadlockFree],
            &[
                "wait cycle of 2:",
                "rank 0 move (lane 0, instruction 0) waits for signal [row 0][sender 1] of rank 0 >= 1, which is 0; \
                 rank 1 move (lane 1, instruction 1) should notify",
                "rank 1 move (lane 1, instruction 0) waits for signal [row 0][sender 0] of rank 1 >= 1, which is 0; \
                 rank 0 move (lane 0, instruction 1) should notify",
            ],
        ),
        case("a cycle of three", turn(3), &[DeadlockFree], &["wait cycle of 3:", "sender 0", "sender 1", "sender 2"]),
        case("a lane that waits for itself", turn(1), &[DeadlockFree], &["wait cycle of 1:", "should notify"]),
        case("a cycle and who waits for it", follower.clone(), &[DeadlockFree], &["wait cycle of 2:"]),
        case(
            "a peer that has finished",
            waiting_for(2),
            &[Structure, DeadlockFree],
            &["waits for notify 2 on signal [row 0][sender 1] of rank 0, but rank 1 sends 1"],
        ),
    ]);

    // Whoever is in the cycle is not told again.
    let report = check(&follower, out_of_place());
    let deadlock = report.outcome(DeadlockFree).unwrap();
    assert_eq!(deadlock.count, 2, "{report}");
    assert!(deadlock.findings[1].message.starts_with("rank 2 move"), "{report}");
    let report = check(&waiting_for(2), out_of_place());
    let message = &report.outcome(DeadlockFree).unwrap().findings[0].message;
    assert!(message.ends_with(">= 2, which is 1, and rank 1 never notifies it"), "{message}");
}

#[test]
fn races_are_named_by_both_sides() {
    let unsynchronised = {
        let mut schedule = push();
        for lane in &mut schedule.lanes {
            lane.instructions[0].notifies.clear();
            lane.instructions[1].waits.clear();
        }
        schedule
    };
    // Rank 0 writes its slot first, so that it is not also read uninitialised in the simulated run.
    let read_write = extended(0, step().copy(input(0, 0)).to(slot(1, 0)));
    let write_write = changed(broken(0, 0, |i| i.to(slot(0, 1))), 1, 0, |i| i.to(slot(0, 1)));
    let two_lanes = push()
        .lane(Lane::new(0).with(step().copy(input(0, 0)).to(slot(0, 1))))
        .lane(Lane::new(0).with(step().copy(slot(0, 1)).to(slot(1, 1))));
    // Its reads come late enough in the one run that was looked at: that nothing is wrong there says nothing of others.
    for schedule in [&unsynchronised, &read_write, &write_write] {
        let report = check(schedule, out_of_place());
        let verdicts = Proof::ALL.map(|proof| report.outcome(proof).unwrap().verdict);
        let [holds, not_reached] = [Verdict::Holds, Verdict::NotReached];
        assert_eq!(verdicts, [holds, holds, Verdict::Fails, not_reached, not_reached, not_reached], "{report}");
        assert!(
            report.to_string().ends_with("\nnot reached initialised   nothing is read that nobody wrote"),
            "{report}"
        );
    }
    run(vec![
        case(
            "read and write",
            read_write,
            &[RaceFree],
            &["rank 0 move (lane 0, instruction 2)", "slot[0], not ordered with rank 1 move (lane 1, instruction 1)"],
        ),
        case(
            "write and write",
            write_write,
            &[RaceFree],
            &[
                "(lane 1, instruction 0) writes rank 0 slot[1], not ordered with rank 0 move (lane 0, instruction 0), which also writes it",
            ],
        ),
        case(
            "two lanes of one rank",
            two_lanes,
            &[RaceFree],
            &[
                "(lane 3, instruction 0) reads rank 0 slot[1], not ordered with rank 0 move (lane 2, instruction 0), which writes it",
            ],
        ),
        // In place, the peer's input is also where the peer puts its result.
        Case {
            options: in_one_place(),
            ..case(
                "an input read while the peer's output is written, in place",
                lanes(all_reduce(2, 1), |rank| vec![step().reduce(input(0, 0), input(1, 0)).to(output(rank, 0))]),
                &[RaceFree],
                &["rank 1 move (lane 1, instruction 0) reads rank 0 input[0]", "which writes it"],
            )
        },
    ]);
}

#[test]
fn wrong_results_are_told_by_contribution() {
    let sum = |a: Address, b: Address| broken(0, 1, move |i| i.reduce(a, b));
    let mut unwritten = push();
    unwritten.lanes[0].instructions[1].to[0] = slot(0, 1);
    let mut wrong_chunk = wide(step());
    wrong_chunk.lanes[0].instructions[1].chunks = 1;
    wrong_chunk.lanes[0].instructions[2] = step().reduce(input(0, 1), slot(0, 0)).to(output(0, 1));
    // Seven more additions deep before the first leaf: as many nodes as a walk of a right tree may visit at all.
    let deep = |more: u32| {
        lanes(all_reduce(2, 1).slots(1), |rank| {
            let mut lane = vec![step().reduce(input(0, 0), input(1, 0)).to(output(rank, 0))];
            let again = || step().reduce(input(0, 0), output(rank, 0)).to(output(rank, 0));
            lane.extend((0..more).map(|_| again()));
            lane
        })
    };
    let mut cases = vec![
        case(
            "a slot that nobody wrote",
            sum(input(0, 0), slot(0, 1)),
            &[RESULT, BitIdentical, Initialised],
            &["rank 0 output[0]"],
        ),
        case(
            "a contribution is missing",
            broken(0, 1, |i| i.copy(input(0, 0))),
            &[RESULT, BitIdentical],
            &["rank 0 output[0] lacks the contribution of rank 1"],
        ),
        case(
            "a contribution counts twice",
            extended(0, step().reduce(output(0, 0), input(1, 0)).to(output(0, 0))),
            &[RESULT, BitIdentical],
            &["rank 0 output[0] holds the contribution of rank 1 more than once"],
        ),
        case(
            "one is missing and one counts twice",
            sum(slot(0, 0), slot(0, 0)),
            &[RESULT, BitIdentical],
            &["rank 0 output[0] lacks the contribution of rank 0 and holds that of rank 1 more than once"],
        ),
        case(
            "another chunk",
            wrong_chunk,
            &[RESULT, BitIdentical],
            &["rank 0 output[1] holds chunk 0 of rank 1's input"],
        ),
        case(
            "an output that is never written",
            unwritten,
            &[RESULT, BitIdentical],
            &["rank 0 output[0] was never written"],
        ),
        case(
            "another order on one rank",
            pull(|rank| if rank == 2 { [2, 1, 0] } else { [0, 1, 2] }),
            &[BitIdentical],
            &["chunk 0: rank 2 adds in another order than rank 0"],
        ),
    ];
    for more in 1..20 {
        cases.push(case("a contribution counts many times", deep(more), &[RESULT], &["rank 0 output[0] holds"]));
    }
    run(cases);

    let report = check(&sum(input(0, 0), slot(0, 1)), out_of_place());
    let message = &report.outcome(Initialised).unwrap().findings[0].message;
    assert_eq!(
        message,
        "rank 0 move (lane 0, instruction 1) reads rank 0 slot[1], which holds nothing that anybody wrote"
    );
}

/// Buffers of several parts, and of the root alone, in a user's words.
#[test]
fn other_collectives_are_held_to_what_they_promise() {
    let mesh = |task: Task, ranks| build(task, Algorithm::Mesh, ranks, SyncStyle::Neighbor).unwrap();
    let of = |collective: Collective| mesh(collective.into(), 3);
    let in_place = |schedule, fail, says| Case { options: in_one_place(), ..case("in place", schedule, fail, says) };
    let mut two_chunks = lanes(Schedule::new("by hand", Collective::AllGather, 2, 2), |rank| {
        let copy = |from| step().copy(input(from, 0)).to(output(rank, 2 * from)).chunks(2);
        vec![copy(0), copy(1)]
    });
    two_chunks.lanes[1].instructions[1] = step().copy(input(1, 0)).to(output(1, 3));
    let mut absent_root = of(Collective::Broadcast);
    absent_root.task.root = 3;
    let mut half = of(Collective::Barrier);
    half.lanes[2].instructions[1].waits.remove(0);
    half.lanes[0].instructions[0].notifies.retain(|notify| notify.peer != 2);
    // Instead of its own part rank 0 writes another's, where only inputs are.
    let foreign = changed(of(Collective::ReduceScatter), 0, 0, |i| without_destination(i).to(input(0, 1)));
    let own = changed(of(Collective::ReduceScatter), 1, 0, |i| without_destination(i).to(input(1, 1)));
    run(vec![
        case(
            "another rank's part",
            changed(of(Collective::AllGather), 2, 1, |i| i.copy(input(0, 0))),
            &[RESULT],
            &["rank 2 output[part 1] holds chunk 0 of rank 0's input, not chunk 0 of rank 1's input"],
        ),
        case(
            "another chunk of a part",
            two_chunks,
            &[RESULT],
            &["rank 1 output[part 1, chunk 1] holds chunk 0 of rank 1's input, not chunk 1 of rank 1's input"],
        ),
        case(
            "a reduction for a copy",
            changed(of(Collective::SendRecv), 1, 0, |i| i.reduce(input(0, 0), input(1, 0))),
            &[RESULT],
            &["rank 1 output[0] holds a reduction, not chunk 0 of rank 0's input"],
        ),
        case(
            "another part of an input",
            changed(of(Collective::ReduceScatter), 1, 0, |i| i.reduce_all([input(0, 1), input(1, 2), input(2, 1)])),
            &[RESULT],
            &["rank 1 output[0] holds part 2 of rank 1's input"],
        ),
        case(
            "an input that only the root has",
            changed(of(Collective::Scatter), 1, 0, |i| i.copy(input(1, 0))),
            &[Structure],
            &["names rank 1 input[0], 1 chunks long, of 0"],
        ),
        case("no such root", absent_root, &[Structure], &["root 3 is not a rank"]),
        case(
            "no such source",
            Schedule::new("", Task::send_recv(vec![1, 2]), 2, 1),
            &[Structure],
            &["rank 1 receives"],
        ),
        case("early", half, &[RESULT], &["rank 2 can leave the barrier before rank 0 has come"]),
        case("nobody meets", lanes(of_barrier(), |_| vec![]), &[RESULT], &["before rank 1, 2 has come"]),
        in_place(of(Collective::AllToAll), &[Structure], &["all-to-all has no form in place"]),
        in_place(of(Collective::AllGather), &[], &[]),
        in_place(own, &[], &[]),
        in_place(foreign, &[Structure], &["writes rank 0 input[part 1], but inputs are only read"]),
    ]);
}

/// What a picture draws of a finding: the instruction, the others, the chunks, and whose contributions are wrong.
#[test]
fn findings_name_all_that_is_to_be_drawn() {
    type Drawn = (Option<(u32, u32)>, Vec<(u32, u32)>, Vec<Address>, Vec<u32>, Vec<u32>);
    let drawn = |site: Option<(u32, u32)>, with: &[(u32, u32)], places: &[Address], lacks: &[u32], twice: &[u32]| {
        (site, with.to_vec(), places.to_vec(), lacks.to_vec(), twice.to_vec())
    };
    let turn = lanes(all_reduce(3, 1).signal_rows(1), |rank| {
        vec![step().wait(0, (rank + 2) % 3), step().notify((rank + 1) % 3, 0)]
    });
    // Lanes 3 and 4 wait for lane 0, which waits for itself.
    let followed = lanes(all_reduce(3, 1).signal_rows(1), |rank| match rank {
        0 => vec![step().wait(0, 0), step().notify(0, 0).notify(1, 0).notify(2, 0)],
        _ => vec![step().wait(0, 0)],
    });
    let many = (0..70).fold(push(), |schedule, _| schedule.lane(Lane::new(1).with(step().notify(0, 0))));
    let mut zeroing = push();
    zeroing.lanes[0].instructions.insert(0, Instruction::new("zero"));
    zeroing.lanes[0].instructions[0].zeroes_signals = true;
    let two_parts = lanes(Schedule::new("by hand", Collective::ReduceScatter, 2, 2), |rank| {
        let sum = |chunk| step().reduce(input(0, 2 * rank + chunk), input(1, 2 * rank + chunk));
        let second = if rank == 1 { step().copy(input(0, 3)) } else { sum(1) };
        vec![sum(0).to(output(rank, 0)), second.to(output(rank, 1))]
    });
    let cut = lanes(all_reduce(1, 2), |_| {
        vec![
            step().copy(input(0, 0)).to(output(0, 1)),
            step().copy(output(0, 1)).to(output(0, 0)),
            step().copy(input(0, 1)).to(output(0, 1)),
        ]
    });
    let gather = |change: &dyn Fn(Instruction) -> Instruction| {
        changed(build(Collective::AllGather, Algorithm::Mesh, 3, SyncStyle::Neighbor).unwrap(), 2, 1, change)
    };
    let sum = |a: Address, b: Address| broken(0, 1, move |i| i.reduce(a, b));
    let cases: Vec<(&str, Schedule, Proof, Drawn)> = vec![
        ("a cycle of three", turn, DeadlockFree, drawn(Some((0, 0)), &[(2, 0), (1, 0)], &[], &[], &[])),
        ("a cycle of one", followed.clone(), DeadlockFree, drawn(Some((0, 0)), &[], &[], &[], &[])),
        ("who waits for a cycle", followed, DeadlockFree, drawn(Some((2, 0)), &[(0, 1)], &[], &[], &[])),
        ("a wait for too many", waiting_for(2), Structure, drawn(Some((0, 1)), &[(1, 0)], &[], &[], &[])),
        ("that nobody ends", waiting_for(2), DeadlockFree, drawn(Some((0, 1)), &[], &[], &[], &[])),
        (
            "one of many notifies",
            many,
            Structure,
            drawn(
                Some((0, 1)),
                &[(1, 0)].into_iter().chain((2..65).map(|lane| (lane, 0))).collect::<Vec<_>>(),
                &[],
                &[],
                &[],
            ),
        ),
        (
            "a read and a write",
            broken(0, 1, without_waits),
            RaceFree,
            drawn(Some((1, 0)), &[(0, 1)], &[slot(0, 0)], &[], &[]),
        ),
        ("an erased notify", zeroing, RaceFree, drawn(Some((1, 0)), &[(0, 0)], &[], &[], &[])),
        (
            "one is missing and one counts twice",
            sum(slot(0, 0), slot(0, 0)),
            RESULT,
            drawn(None, &[], &[output(0, 0)], &[0], &[1]),
        ),
        ("only its own", broken(0, 1, |i| i.copy(input(0, 0))), RESULT, drawn(None, &[], &[output(0, 0)], &[1], &[])),
        ("a part", two_parts, RESULT, drawn(None, &[], &[output(1, 1)], &[1], &[])),
        ("another's copy", gather(&|i| i.copy(input(0, 0))), RESULT, drawn(None, &[], &[output(2, 1)], &[1], &[])),
        (
            "a reduction for a copy",
            gather(&|i| i.reduce(input(0, 0), input(1, 0))),
            RESULT,
            drawn(None, &[], &[output(2, 1)], &[], &[]),
        ),
        ("never written", all_reduce(1, 1), RESULT, drawn(None, &[], &[output(0, 0)], &[], &[])),
        ("what may be cut", cut, RESULT, drawn(Some((0, 0)), &[], &[output(0, 1)], &[], &[])),
        ("a barrier", lanes(of_barrier(), |_| vec![]), RESULT, drawn(None, &[], &[], &[1, 2], &[])),
        (
            "another order",
            pull(|rank| if rank == 0 { [2, 1, 0] } else { [0, 1, 2] }),
            BitIdentical,
            drawn(None, &[], &[output(0, 0), output(1, 0), output(2, 0)], &[], &[]),
        ),
        (
            "a slot that nobody wrote",
            sum(input(0, 0), slot(0, 1)),
            Initialised,
            drawn(Some((0, 1)), &[], &[slot(0, 1)], &[], &[]),
        ),
    ];
    for (name, schedule, proof, expected) in cases {
        let report = check(&schedule, out_of_place());
        let findings = &report.outcome(proof).unwrap().findings;
        let of = |finding: &Finding| {
            let at = |site: &Site| (site.lane, site.instruction);
            let Finding { site, with, places, lacks, twice, .. } = finding;
            let with = with.iter().map(at).collect();
            (site.as_ref().map(at), with, places.clone(), lacks.clone(), twice.clone())
        };
        let all: Vec<Drawn> = findings.iter().map(of).collect();
        assert!(all.contains(&expected), "{name}: {all:?}\n{report}");
        for (finding, (_, with, places, lacks, twice)) in findings.iter().zip(&all) {
            let json = serde_json::to_value(finding).unwrap();
            // What is not there is left out.
            let lists =
                [("with", with.len()), ("places", places.len()), ("lacks", lacks.len()), ("twice", twice.len())];
            for (key, len) in lists {
                assert_eq!(json.get(key).map(|list| list.as_array().unwrap().len()), Some(len).filter(|&len| len > 0));
            }
        }
    }
    let report = check(&sum(slot(0, 0), slot(0, 0)), out_of_place());
    let json = serde_json::to_value(&report.outcome(RESULT).unwrap().findings[0]).unwrap();
    let message = "rank 0 output[0] lacks the contribution of rank 0 and holds that of rank 1 more than once";
    let expected = serde_json::json!({
        "message": message, "site": null, "signal": null, "places": ["rank 0 output[0]"], "lacks": [0], "twice": [1],
    });
    assert_eq!(json, expected);
}

fn of_barrier() -> Schedule {
    Schedule::new("by hand", Collective::Barrier, 3, 1)
}

#[test]
fn a_report_stops_after_eight_findings() {
    let schedule = lanes(all_reduce(12, 1), |_| vec![]);
    let report = check(&schedule, out_of_place());
    let outcome = report.outcome(RESULT).unwrap();
    assert_eq!((outcome.findings.len(), outcome.count), (8, 12));
    let text = report.failures().to_string();
    assert!(text.starts_with("result does not hold\n  rank 0 output[0] was never written\n"), "{text}");
    assert!(text.ends_with("\n  and 4 more"), "{text}");
}

#[test]
fn what_is_right_is_proved() {
    let two_destinations = lanes(all_reduce(2, 2).signal_rows(1), |rank| {
        let peer = 1 - rank;
        let sum = step().reduce(input(0, rank), input(1, rank)).to(output(rank, rank)).to(output(peer, rank));
        vec![sum.notify(peer, 0), step().wait(0, peer)]
    });
    // Each rank's second lane carries the second chunk, with a row of its own.
    let mut two_lanes = all_reduce(2, 2).slots(2).signal_rows(2);
    for rank in 0..2 {
        for chunk in 0..2 {
            let peer = 1 - rank;
            let lane = Lane::new(rank)
                .with(step().copy(input(rank, chunk)).to(slot(peer, chunk)).notify(peer, chunk))
                .with(step().wait(chunk, peer).reduce(input(rank, chunk), slot(rank, chunk)).to(output(rank, chunk)));
            two_lanes = two_lanes.lane(lane);
        }
    }
    // Rank 0 gathers, adds and sends back; everyone waits for all it needs in one instruction.
    let several_waits = lanes(all_reduce(3, 1).slots(2).signal_rows(2), |rank| match rank {
        0 => vec![
            step().wait(0, 1).wait(0, 2).reduce(slot(0, 0), slot(0, 1)).to(slot(0, 0)),
            step().reduce(input(0, 0), slot(0, 0)).to(output(0, 0)).notify(1, 1).notify(2, 1),
        ],
        _ => vec![
            step().copy(input(rank, 0)).to(slot(0, rank - 1)).notify(0, 0),
            step().wait(1, 0).copy(output(0, 0)).to(output(rank, 0)),
        ],
    });
    // The second chunk says so by the second notify of the same signal.
    let counted = lanes(all_reduce(2, 2).slots(2).signal_rows(1), |rank| {
        let peer = 1 - rank;
        let send = |chunk| step().copy(input(rank, chunk)).to(slot(peer, chunk)).notify(peer, 0);
        let add = |chunk| {
            let sum = step().reduce(input(rank, chunk), slot(rank, chunk)).to(output(rank, chunk));
            sum.wait_for(0, peer, chunk + 1)
        };
        vec![send(0), send(1), add(0), add(1)]
    });
    let in_place = lanes(all_reduce(2, 1).slots(1).signal_rows(1), |rank| {
        let peer = 1 - rank;
        vec![
            step().copy(input(rank, 0)).to(slot(peer, 0)).notify(peer, 0),
            step().wait(0, peer).reduce(input(rank, 0), slot(rank, 0)).to(input(rank, 0)),
        ]
    });
    // The other lane's "all of them" is the last of both lanes, whichever comes later.
    let mut all_of_several = all_reduce(2, 2).slots(2).signal_rows(1);
    for rank in 0..2 {
        let peer = 1 - rank;
        let both = step().wait_for(0, peer, 2).reduce(input(rank, 0), slot(rank, 0)).to(output(rank, 0)).chunks(2);
        let send = |chunk| step().copy(input(rank, chunk)).to(slot(peer, chunk)).notify(peer, 0);
        all_of_several =
            all_of_several.lane(Lane::new(rank).with(send(0)).with(both)).lane(Lane::new(rank).with(send(1)));
    }
    let mut cases = vec![
        case("push", push(), &[], &[]),
        case("the same order everywhere", pull(|_| [0, 1, 2]), &[], &[]),
        case(
            "the same order but for the operands",
            pull(|rank| if rank == 1 { [1, 0, 2] } else { [0, 1, 2] }),
            &[],
            &[],
        ),
        case("two destinations", two_destinations, &[], &[]),
        case("two lanes a rank", two_lanes, &[], &[]),
        case("several waits", several_waits, &[], &[]),
        case("a counted signal", counted, &[], &[]),
        case("several chunks in one instruction", wide(step()), &[], &[]),
        case("all notifies of several lanes", all_of_several, &[], &[]),
        case("a lane without instructions", push().lane(Lane::new(1)), &[], &[]),
    ];
    cases.push(Case { options: in_one_place(), ..case("a write to an input, in place", in_place, &[], &[]) });
    run(cases);
}

/// Lanes this long need wider clocks than shorter ones.
#[test]
fn long_lanes_are_proved_alike() {
    for length in [32_765, 32_766, 32_767, 70_000] {
        let long = |schedule: Schedule| {
            let mut schedule = schedule;
            let again = (0..length).map(|_| step().copy(input(0, 0)).to(slot(0, 1)));
            schedule.lanes[0].instructions.splice(0..0, again);
            schedule
        };
        let racing = extended(0, step().copy(input(0, 0)).to(slot(1, 0)));
        run(vec![
            case("long", long(push()), &[], &[]),
            case("long, with a race at its end", long(racing), &[RaceFree], &["not ordered with"]),
        ]);
    }
}

/// No limit: the time is for the reader, and a proof that were quadratic in the instructions would not come back.
#[test]
fn large_rings_are_proved() {
    for (algorithm, sync, ranks) in
        [(Algorithm::Ring, SyncStyle::Neighbor, 1024), (Algorithm::RingExchange, SyncStyle::Barrier, 64)]
    {
        let alike = build(Collective::AllReduce, algorithm, ranks, sync).unwrap();
        // With a lane more not every rank does the same, so that all are walked through.
        let odd = alike.clone().lane(Lane::new(0));
        for schedule in [alike, odd] {
            let start = Instant::now();
            // What SECURITY.md says of it.
            let report = check(&schedule, out_of_place().memory(64 << 20));
            let (lanes, instructions) = (schedule.lanes.len(), schedule.instructions());
            println!("{algorithm} {sync}, {lanes} lanes, {instructions} instructions: {:?}", start.elapsed());
            assert!(report.ok(), "{report}");
        }
    }
}

/// A mistake that every rank makes, in a schedule large enough that one rank's lanes are looked at first: it is told as ever.
#[test]
fn what_all_ranks_do_wrong_is_told_of_one() {
    let of = |change: &dyn Fn(&mut Instruction)| {
        let mut schedule = build(Collective::AllReduce, Algorithm::BidirectionalRing, 64, SyncStyle::Neighbor).unwrap();
        schedule.lanes.iter_mut().for_each(|lane| change(&mut lane.instructions[70]));
        schedule
    };
    run(vec![
        case("nothing", of(&|_| ()), &[], &[]),
        case(
            "no wait",
            of(&|instruction| instruction.waits.clear()),
            &[Structure, RaceFree],
            &["rank 0 AG round 7 (lane 0, instruction 69) notifies", "but nobody waits for it"],
        ),
        case(
            "waits for too many",
            of(&|instruction| instruction.waits[0].at_least = 2),
            &[Structure, DeadlockFree],
            &["rank 0 AG round 8 (lane 0, instruction 70) waits for notify 2 on", "rank 63 sends 1"],
        ),
        case(
            "another chunk",
            of(&|instruction| instruction.from[0].chunk ^= 1),
            &[RaceFree],
            &["AG round 8 (lane", "not ordered with rank"],
        ),
    ]);
}

/// Lanes that are made when they are asked for are those of the schedule, and so is what is proved.
#[test]
fn a_draft_is_proved_as_its_schedule() {
    for (collective, algorithm, ranks) in [
        (Collective::AllReduce, Algorithm::Ring, 70),
        (Collective::AllToAll, Algorithm::Ring, 65),
        (Collective::AllReduce, Algorithm::Tree, 70),
        (Collective::AllReduce, Algorithm::OnePhaseOwnFirst, 70),
        (Collective::AllReduce, Algorithm::Ring, 1),
    ] {
        let schedule = build(collective, algorithm, ranks, SyncStyle::Neighbor).unwrap();
        let of = || draft(collective, algorithm, ranks, SyncStyle::Neighbor).unwrap();
        let mut lanes = Vec::new();
        (0..ranks).for_each(|rank| of().lanes(rank, &mut lanes));
        assert!(lanes == schedule.lanes && of().head().lanes.is_empty(), "{algorithm}");
        for options in [out_of_place(), in_one_place()] {
            let checked = check_draft(of(), options).unwrap();
            assert_eq!((checked.lanes, checked.instructions), (schedule.lanes.len(), schedule.instructions()));
            // With a lane more the proofs walk through all ranks.
            let odd = check(&schedule.clone().lane(Lane::new(0)), options);
            assert_eq!(checked.report.to_string(), odd.to_string(), "{algorithm}");
            assert_eq!(check(&schedule, options).to_string(), odd.to_string(), "{algorithm}");
        }
    }
}
