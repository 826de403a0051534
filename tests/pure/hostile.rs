//! Schedules by whoever wants a process to end: what they ask for is counted before it is taken.
//!
//! Each case runs in a process of its own, in which an allocation beyond a limit ends it. Linux only: elsewhere nobody says
//! how much memory a process took.

#![cfg(target_os = "linux")]

use std::process::Command;

use wgccl::Communicator;
use wgccl::backend::{self, Shape};
use wgccl::collective::{Collective, Op, Task};
use wgccl::element::DataType;
use wgccl::error::PrepareError;
use wgccl::low_level::AddressMap;
use wgccl::proof::{Options, Proof, Report, Verdict, check, check_draft};
use wgccl::schedule::{
    Address, Algorithm, Granularity, Instruction, Lane, Notify, Schedule, SyncStyle, Wait, build, draft,
};

/// Names the case to the process that runs it.
const CASE: &str = "WGCCL_HOSTILE";

/// KiB of addresses that a case may have: what every proof may take, and room for the schedule itself.
const LIMIT: u64 = 2_000_000;

/// What must have come of it.
type Judge = fn();

const CASES: &[(&str, Judge)] = &[
    ("chunks of a barrier", || {
        for chunks in [u32::MAX, 400_000_000] {
            let mut schedule = build(Collective::Barrier, Algorithm::Mesh, 2, SyncStyle::Neighbor).unwrap();
            schedule.chunks = chunks;
            refused(&schedule, &[&format!("the {chunks} chunks and slots of 2 ranks are more than")]);
        }
    }),
    ("slots", || takes_too_much(&pair().slots_of_ranks([(1 << 27) - 8]), "chunks and slots")),
    ("the largest that has room", || {
        let report = check(&pair().slots_of_ranks([1 << 26]), Options::default());
        assert!(report.ok(), "{report}");
    }),
    ("a limit of the caller's own", || {
        let of_few = Options::default().memory(1 << 20);
        assert!(check(&pair(), of_few).ok());
        let report = check(&pair().slots_of_ranks([100_000]), of_few);
        assert!(says(
            &report,
            "and it may take 1048576: if the schedule is meant so, give more in proof::Options::memory"
        ));
    }),
    ("clocks", || takes_too_much(&talkers(), "clocks of lanes")),
    ("clocks of lanes that one edge orders", || {
        let report = check(&talkers_in_pairs(), Options::default());
        assert!(report.ok(), "{report}");
    }),
    ("reads", || takes_too_much(&readers(), "reads that are followed by no write")),
    ("terms", || takes_too_much(&doubler(), "reductions of chunks")),
    ("mistakes of one instruction", || {
        let wrong = Instruction::new("move").reduce_all((0..8_000_000).map(|chunk| Address::slot(5, chunk)));
        let report = check(&pair().lane(Lane::new(0).with(wrong.to(Address::slot(0, 0)))), Options::default());
        assert_eq!(report.outcome(Proof::Structure).unwrap().count, 8_000_000 + 1, "{report}");
    }),
    ("a label", || {
        let mut schedule = pair();
        schedule.lanes[0].instructions[0] = Instruction::new("x".repeat(100 << 20)).to(Address::slot(7, 0)).chunks(0);
        let report = check(&schedule, Options::default());
        assert!(report.to_string().len() < 2000 && !report.ok());
    }),
    ("what nobody has proved", || {
        let mut schedule = pair().slots_of_ranks([u32::MAX; 8]).signal_rows(u32::MAX);
        schedule.lanes[0].push(Instruction::new("move").to(Address::slot(7, 3)).chunks(u32::MAX));
        assert_eq!(schedule.slots_written(), u32::MAX - 3);
        schedule.ranks = u32::MAX;
        assert!(AddressMap::new(&schedule, false).is_none());
        refused(&schedule, &["4294967295 ranks"]);
        assert_eq!(schedule.clone().slots(u32::MAX).slots.len(), 4096);
    }),
    ("numbers near 2^32", || {
        const MOST: u32 = u32::MAX;
        let step = || Instruction::new("move").copy(Address::input(0, 0)).to(Address::output(0, 0));
        let with = |instruction| pair().signal_rows(MOST).lane(Lane::new(0).with(instruction));
        let of = |task: Task, ranks, chunks| Schedule::new("none", task, ranks, chunks);
        let cases = [
            (pair().slots_of_ranks([MOST, MOST]), "chunks and slots of 2 ranks are more than"),
            (pair().slots_of_ranks([1; 3]), "slots are given for 3 ranks of 2"),
            (pair().granularity(Granularity::DivisibleBy(0)), "divisible by 0"),
            (of(Collective::AllReduce.into(), 2, MOST), "chunks and slots of 2 ranks are more than"),
            (of(Collective::AllReduce.into(), MOST, 1), "4294967295 ranks"),
            (of(Task::from(Collective::Reduce).root(MOST), 2, 1), "root 4294967295 is not a rank"),
            (of(Task::send_recv(vec![MOST, 0]), 2, 1), "rank 0 receives from rank 4294967295"),
            (with(step().wait_for(MOST - 1, 0, MOST)), "waits for notify 4294967295 on"),
            (with(step().wait_for(MOST, 0, 1)), "there are 4294967295 rows"),
            (with(step().wait_for(0, MOST, 1)), "[sender 4294967295] of rank 0; there are"),
            (with(step().notify(MOST, 0)), "of rank 4294967295"),
            (with(step().notify(1, MOST - 1)), "nobody waits for it"),
            (with(step().chunks(MOST)), "4294967295 chunks long"),
            (with(step().to(Address::output(0, MOST))), "output[4294967295]"),
            (with(step().to(Address::slot(MOST, 0))), "rank 4294967295 slot[0]"),
            (pair().lane(Lane::new(MOST)), "belongs to rank 4294967295"),
            ((0..1 << 16).fold(pair(), |all, _| all.lane(Lane::new(0))), "65538 lanes are more than"),
        ];
        let before = memory("VmHWM:");
        for (schedule, text) in &cases {
            let report = check(schedule, Options::default());
            assert!(says(&report, text), "{text}\n{report}");
        }
        let took = memory("VmHWM:") - before;
        assert!(took <= 4 << 20, "{took}");
    }),
    ("ranks that no executor takes", || {
        let comm = Communicator::cpu(4096).algorithm(Algorithm::Ring);
        let shape = Shape::new(1, DataType::F32, Op::Sum);
        let refused = comm.prepare(Collective::AllReduce, shape, false).err().unwrap();
        assert!(matches!(refused, PrepareError::Ranks { ranks: 4096, most: 1024, .. }), "{refused}");
        let option = comm.options(backend::Options::default().arena_bytes(1));
        let refused = option.prepare(Collective::AllReduce, shape, false).err().unwrap();
        assert!(matches!(refused, PrepareError::Ranks { .. }), "{refused}");
    }),
    ("a barrier of all ranks", || {
        let refused = build(Collective::AllReduce, Algorithm::Ring, 4096, SyncStyle::Barrier).unwrap_err();
        assert!(
            refused.to_string().contains("274743705600 instructions, waits and notifies for 4096 ranks"),
            "{refused}"
        );
    }),
    // 4.3 GB of instructions, of which the first lane tells.
    ("a ring of all ranks", || {
        let refused = build(Collective::AllReduce, Algorithm::Ring, 4096, SyncStyle::Neighbor).unwrap_err();
        assert!(refused.to_string().contains("all-reduce by ring of 4096 ranks takes 4"), "{refused}");
    }),
    // A gigabyte, if it were written out.
    ("a ring of which one rank is there at a time", || {
        let ring = draft(Collective::AllReduce, Algorithm::Ring, 2048, SyncStyle::Neighbor).unwrap();
        let before = memory("VmHWM:");
        let checked = check_draft(ring, Options::default()).unwrap();
        assert!(checked.report.ok() && checked.instructions == 2 * 2047 * 2048, "{}", checked.report);
        let took = memory("VmHWM:") - before;
        assert!(took <= 16 << 20, "{took}");
    }),
    // There is room for the schedule, and not for what a proof makes of it.
    ("a ring that leaves no room", || {
        let ring = build(Collective::AllReduce, Algorithm::Ring, 2048, SyncStyle::Neighbor).unwrap();
        // With a lane more not every rank does the same.
        let ring = ring.lane(Lane::new(0));
        let _taken = Vec::<u8>::with_capacity(400 << 20);
        let report = check(&ring, Options::default());
        assert!(says(&report, "with its signals and order") && says(&report, "there are not so many"), "{report}");
    }),
    ("a document", || {
        let document = |slots: &str, instructions: &str| {
            format!(
                r#"{{"format": "wgccl-schedule/1", "name": "long", "collective": "barrier", "ranks": 2, "chunks": 1,
                "slots": [{slots}], "lanes": [{{"rank": 0, "instructions": [{instructions}]}}]}}"#
            )
        };
        let many = |item: &str, number: usize| vec![item; number].join(",");
        for text in [
            document("0", &many(r#"{"label":""}"#, 700_000)),
            document(&many("0", 5_000_000), r#"{"label":""}"#),
            document("0", &format!(r#"{{"label":"","waits":[{}]}}"#, many(r#"{"row":0,"sender":0}"#, 500_000))),
            document("0", &format!(r#"{{"label":"","from":[{}]}}"#, many(r#""rank 0 slot[0]""#, 500_000))),
        ] {
            let before = memory("VmRSS:");
            let schedule: Schedule = serde_json::from_str(&text).unwrap();
            let took = memory("VmHWM:") - before;
            println!("{} bytes of text, {took} to read them, {} instructions", text.len(), schedule.instructions());
            assert!(took <= 48 * text.len() as u64, "{took} for {}", text.len());
        }
    }),
    // Lists of each kind, long and short: a proof takes at most 16 times what they take.
    ("16 times: notifies", || {
        sixteen_times(|lane| {
            let mut one = Instruction::new("move");
            one.notifies.extend((0..2_000_000).map(|row| Notify { peer: 1, row }));
            lane.push(one);
        })
    }),
    ("16 times: waits", || {
        sixteen_times(|lane| {
            let mut one = Instruction::new("move");
            one.waits.extend((0..2_000_000).map(|row| Wait { row, sender: 1, at_least: 1 }));
            lane.push(one);
        })
    }),
    ("16 times: instructions", || {
        sixteen_times(|lane| {
            (0..300_000).for_each(|row| lane.push(Instruction::new("move").wait(row, 0).notify(0, row)))
        });
    }),
    ("16 times: addresses", || {
        sixteen_times(|lane| {
            lane.push(Instruction::new("move").reduce_all((0..2_000_000).map(|chunk| Address::slot(3, chunk))));
        })
    }),
    ("16 times: lanes that wait for each other", || {
        sixteen_times(|lane| {
            (0..300_000).for_each(|row| lane.push(Instruction::new("move").notify(0, row)));
            (0..300_000).for_each(|row| lane.push(Instruction::new("move").wait(row, 0)));
        })
    }),
];

/// Two ranks, each of which has the sum.
fn pair() -> Schedule {
    let lane = |rank| {
        let sum = Instruction::new("add").reduce(Address::input(0, 0), Address::input(1, 0));
        Lane::new(rank).with(sum.to(Address::output(rank, 0)))
    };
    Schedule::new("pair", Collective::AllReduce, 2, 1).lane(lane(0)).lane(lane(1))
}

/// 32,000 lanes in chains, each of which tells the next twenty times what it has heard. A barrier, so that all of it counts.
fn talkers() -> Schedule {
    const RANKS: u32 = 4000;
    const ROWS: u32 = 8;
    let mut schedule = Schedule::new("talkers", Collective::Barrier, RANKS, 1).signal_rows(ROWS);
    for number in 0..ROWS * RANKS {
        let (rank, row) = (number / ROWS, number % ROWS);
        let (before, after) = ((rank + RANKS - 1) % RANKS, (rank + 1) % RANKS);
        let tell = |n| match n {
            0 => Instruction::new("tell").notify(after, row),
            _ => Instruction::new("tell").wait_for(row, before, n).notify(after, row),
        };
        let lane = (0..20).map(tell).fold(Lane::new(rank), Lane::with);
        schedule = schedule.lane(lane.with(Instruction::new("end").wait_for(row, before, 20)));
    }
    schedule
}

/// 16,000 lanes that share nothing with any but one other.
fn talkers_in_pairs() -> Schedule {
    let mut schedule = Schedule::new("talkers", Collective::SendRecv, 4000, 1).signal_rows(4);
    for number in 0..16_000 {
        let (rank, row) = (number / 4, number % 4);
        let peer = rank ^ 1;
        let mut lane = Lane::new(rank);
        if row == 0 {
            let from = Address::input((rank + 3999) % 4000, 0);
            lane.push(Instruction::new("move").copy(from).to(Address::output(rank, 0)));
        }
        (0..20).for_each(|_| lane.push(Instruction::new("tell").notify(peer, row)));
        schedule = schedule.lane(lane.with(Instruction::new("end").wait_for(row, peer, 20)));
    }
    schedule
}

/// Six lanes that take turns to read a million slots, each sixty times.
fn readers() -> Schedule {
    const LANES: u32 = 6;
    let mut schedule = Schedule::new("readers", Collective::AllReduce, LANES, 1).signal_rows(1);
    schedule = schedule.slots_of_ranks([1 << 20, 1 << 20]);
    for rank in 0..LANES {
        let mut lane = Lane::new(rank);
        for turn in 0..60 {
            let mut read = Instruction::new("read").copy(Address::slot(0, 0)).chunks(1 << 20).to(Address::slot(1, 0));
            if rank + turn > 0 {
                let before = (rank + LANES - 1) % LANES;
                read = read.wait_for(0, before, turn + u32::from(rank > 0));
            }
            if rank + 1 < LANES || turn < 59 {
                read = read.notify((rank + 1) % LANES, 0);
            }
            lane.push(read);
        }
        schedule = schedule.lane(lane);
    }
    schedule
}

/// One rank that doubles a million slots, a hundred times.
fn doubler() -> Schedule {
    let twice = || Instruction::new("twice").reduce(Address::input(0, 0), Address::input(0, 0)).chunks(1 << 20);
    let mut lane = Lane::new(0).with(twice().to(Address::output(0, 0)));
    let again = |_| {
        let output = Address::output(0, 0);
        Instruction::new("again").reduce(output, output).chunks(1 << 20).to(output)
    };
    lane.instructions.extend((0..100).map(again));
    Schedule::new("doubler", Collective::AllReduce, 1, 1 << 20).lane(lane)
}

fn says(report: &Report, text: &str) -> bool {
    let structure = report.outcome(Proof::Structure).unwrap();
    structure.findings.iter().any(|finding| finding.message.contains(text))
}

fn refused(schedule: &Schedule, texts: &[&str]) {
    let report = check(schedule, Options::default());
    assert!(texts.iter().all(|text| says(&report, text)), "{report}");
    assert!(report.proofs[1..].iter().all(|outcome| outcome.verdict == Verdict::NotReached), "{report}");
}

/// By the bound that a proof has, and not only because the process has no more.
fn takes_too_much(schedule: &Schedule, what: &str) {
    let needs = format!("with its {what} the proof takes at least ");
    refused(schedule, &[&needs, ": if the schedule is meant so, give more in proof::Options::memory"]);
}

/// Bytes of memory that this process has, or has had at most.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// A proof of a lane that is filled so takes at most 16 times as much as the schedule, and some MB for itself.
fn sixteen_times(fill: impl FnOnce(&mut Lane)) {
    let mut lane = Lane::new(0);
    fill(&mut lane);
    let schedule = Schedule::new("long", Collective::Barrier, 2, 1).signal_rows(u32::MAX).lane(lane);
    let of = |instruction: &Instruction| {
        let Instruction { waits, from, notifies, .. } = instruction;
        let lists = [(waits.len(), 1, 12), (from.len(), 2, 12), (notifies.len(), 1, 8)];
        let long = lists.into_iter().filter(|&(len, here, _)| len > here);
        128 + long.map(|(len, _, bytes)| len as u64 * bytes).sum::<u64>()
    };
    let bytes: u64 = schedule.lanes[0].instructions.iter().map(of).sum();
    let before = memory("VmRSS:");
    let report = check(&schedule, Options::default().memory(0));
    let took = memory("VmHWM:") - before;
    println!("{} bytes, {took} for the proof: {:.1} times\n{report}", bytes, took as f64 / bytes as f64);
    assert!(took <= 16 * bytes + (2 << 20), "{took} of {bytes}\n{report}");
}

/// What a case runs in: no test of its own.
#[test]
#[ignore = "is run by another test, in a process of its own"]
fn case() {
    let name = std::env::var(CASE).unwrap();
    let &(_, judge) = CASES.iter().find(|case| case.0 == name).unwrap();
    judge();
}

#[test]
fn no_schedule_ends_the_process() {
    for (name, _) in CASES {
        let limited = format!("ulimit -v {LIMIT}; exec \"$0\" \"$@\"");
        let arguments = ["hostile::case", "--exact", "--ignored", "--nocapture", "--test-threads", "1"];
        let output = Command::new("sh")
            .args(["-c", &limited])
            .arg(std::env::current_exe().unwrap())
            .args(arguments)
            .env(CASE, name)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        println!("{name}: {text}");
        assert!(output.status.success() && text.contains("1 passed"), "{name}: {:?}\n{text}", output.status);
    }
}
