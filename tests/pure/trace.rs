//! Traces: what the CPU executor notes of a launch, the file that is written of it, and the path that made it as long as it was.

use std::collections::BTreeMap;

use serde_json::Value;
use wgccl::backend::{Backend, Options, Ready, Shape, Spread};
use wgccl::collective::{Collective, Op};
use wgccl::cpu::Cpu;
use wgccl::element::DataType;
use wgccl::error::PrepareError;
use wgccl::fault::Fault;
use wgccl::proof::{self, Proved, prove};
use wgccl::schedule::{Address, Algorithm, Instruction, Lane, Schedule, SyncStyle, build};
use wgccl::trace::{After, Clock, CriticalPath, Link, MOST_SPANS, Span, Trace, Waited};

use crate::common::traces::{consistent, waits};

fn proved(schedule: Schedule) -> Proved {
    prove(schedule, proof::Options::default()).unwrap()
}

fn all_reduce(algorithm: Algorithm, ranks: u32) -> Proved {
    proved(build(Collective::AllReduce, algorithm, ranks, SyncStyle::Neighbor).unwrap())
}

/// One launch over zeroes.
fn launched(proved: &Proved, count: usize, options: Options) -> Trace {
    let mut ready = Cpu::new().prepare(proved, Shape::new(count, DataType::F32, Op::Sum), &options).unwrap();
    assert_eq!(ready.trace(), None, "nothing was launched");
    let inputs = vec![vec![0_u8; 4 * count]; proved.schedule().ranks as usize];
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs = vec![vec![0_u8; 4 * count]; inputs.len()];
    ready.run(&inputs, &mut outputs.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>()).unwrap();
    let trace = ready.trace().expect("a trace of the launch");
    assert_eq!(ready.trace(), None, "it was taken");
    trace
}

/// Category, beginning and end in nanoseconds, and arguments.
type Slice = (String, u64, u64, Value);

/// A file as a viewer has it.
struct File {
    other: Value,
    /// By process and thread.
    slices: BTreeMap<(u64, u64), Vec<Slice>>,
    processes: BTreeMap<u64, String>,
    threads: BTreeMap<(u64, u64), String>,
    /// Beginning and end: time, and the arguments of the slice there.
    flows: Vec<[(u64, Value); 2]>,
}

fn nanoseconds(value: &Value) -> u64 {
    let text = value.to_string();
    let (micros, rest) = text.split_once('.').unwrap_or((&text, ""));
    micros.parse::<u64>().unwrap() * 1000 + format!("{rest:0<3}").parse::<u64>().unwrap()
}

fn written(trace: &Trace, proved: &Proved, count: usize) -> String {
    let payload = proved.payload(count, DataType::F32).unwrap();
    let mut bytes = Vec::new();
    trace.write_chrome(proved, &payload, &[("device", "a \"device\"\n\\")], &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn read(text: &str) -> File {
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(value["displayTimeUnit"], "ns");
    let mut file = File {
        other: value["otherData"].clone(),
        slices: BTreeMap::new(),
        processes: BTreeMap::new(),
        threads: BTreeMap::new(),
        flows: Vec::new(),
    };
    let mut ends = BTreeMap::<u64, Vec<(&str, (u64, Value))>>::new();
    // As Perfetto does: by time, else as they stand in the file; a thread has slices that are open, the last on top, and a new
    // one closes those that have ended.
    let mut events: Vec<&Value> = value["traceEvents"].as_array().unwrap().iter().collect();
    events.sort_by_key(|event| event.get("ts").map_or(0, nanoseconds));
    let mut open = BTreeMap::<(u64, u64), Vec<(u64, u64, Value)>>::new();
    for event in events {
        let thread = || (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let name = || event["args"]["name"].as_str().unwrap().to_owned();
        match (event["ph"].as_str().unwrap(), event["name"].as_str().unwrap()) {
            ("M", "process_name") => {
                assert_eq!(file.processes.insert(event["pid"].as_u64().unwrap(), name()), None);
            }
            ("M", "thread_name") => assert_eq!(file.threads.insert(thread(), name()), None),
            ("M", "process_sort_index" | "thread_sort_index") => {}
            ("X", _) => {
                let begin = nanoseconds(&event["ts"]);
                let end = begin + nanoseconds(&event["dur"]);
                let category = event["cat"].as_str().unwrap().to_owned();
                file.slices.entry(thread()).or_default().push((category, begin, end, event["args"].clone()));
                let open = open.entry(thread()).or_default();
                open.retain(|&(before, ended, _)| ended > begin || (ended == begin && before == ended && begin == end));
                open.push((begin, end, event["args"].clone()));
            }
            (phase @ ("s" | "f"), _) => {
                let (at, top) = (nanoseconds(&event["ts"]), open[&thread()].last().unwrap().2.clone());
                ends.entry(event["id"].as_u64().unwrap()).or_default().push((phase, (at, top)));
            }
            other => panic!("{other:?}"),
        }
    }
    for (id, mut ends) in ends {
        // A zero is no time to tell them apart by.
        ends.sort_by_key(|(phase, _)| *phase == "f");
        let [("s", from), ("f", to)] = &ends[..] else { panic!("flow {id}: {ends:?}") };
        file.flows.push([from.clone(), to.clone()]);
    }
    file
}

/// What a viewer takes for granted; returns the instructions that slices are of, with their channels and pieces.
fn sound(file: &File, context: &str) -> Vec<(u64, u64, Value, u64)> {
    let mut instructions = Vec::new();
    for (thread, slices) in &file.slices {
        assert!(file.processes.contains_key(&thread.0), "{context}: process {thread:?} has no name");
        assert!(file.threads.contains_key(thread), "{context}: thread {thread:?} has no name");
        let in_order = slices.windows(2).all(|two| two[0].2 <= two[1].1);
        assert!(in_order, "{context}: slices of thread {thread:?} overlap");
        for (category, _, _, arguments) in slices.iter().filter(|(category, ..)| category != "wait") {
            assert!(["move", "order"].contains(&category.as_str()), "{context}: {category}");
            let of = |of: &Value| {
                let number = |name: &str| of[name].as_u64().unwrap();
                (number("lane"), number("instruction"), of["channel"].clone(), number("piece"))
            };
            match arguments["one time for"].as_array() {
                Some(several) => instructions.extend(several.iter().map(of)),
                None => instructions.push(of(arguments)),
            }
        }
    }
    for [(left, _), (arrived, _)] in &file.flows {
        assert!(left <= arrived, "{context}: an arrow back in time");
    }
    instructions
}

/// Every way in which lanes are shared out, and a launch that without a trace would take the short way.
#[test]
fn cores_note_every_instruction_once() {
    let mut cases = vec![(1, Options::default()), (1000, Options::default()), (300_000, Options::default())];
    for (workers, channels) in [(1, 1), (2, 3), (3, 2), (5, 7)] {
        for spread in [Spread::Lanes, Spread::Channels] {
            cases.push((1000, Options::default().workers(workers).channels(channels).spread(spread)));
        }
    }
    for (algorithm, ranks) in
        [(Algorithm::Ring, 4), (Algorithm::Direct, 3), (Algorithm::OnePhase, 3), (Algorithm::Tree, 5)]
    {
        let proved = all_reduce(algorithm, ranks);
        for &(count, options) in &cases {
            if cfg!(miri) && count > 1000 {
                continue;
            }
            let trace = launched(&proved, count, options.trace(true));
            let context = format!("{algorithm} of {ranks}, {count}, {options:?}");
            assert_eq!(trace.clock, Clock::Host, "{context}");
            consistent(&trace, &proved, &context);
            let path = trace.critical_path(&proved).unwrap();
            path_is_whole(&path, &trace, &context);
            let file = read(&written(&trace, &proved, count));
            assert_eq!(sound(&file, &context).len(), trace.spans.len(), "{context}");
            arrows_are_right(&file, &trace, &proved, &context);
        }
    }
}

/// An arrow for every wait and whoever ended it, in every channel, from slice to slice.
fn arrows_are_right(file: &File, trace: &Trace, proved: &Proved, context: &str) {
    let channels = trace.spans.len() / proved.schedule().instructions();
    let waits = waits(proved.schedule());
    let all = waits.iter().flat_map(|(&to, of)| of.iter().map(move |&from| (from, to)));
    let mut expected: Vec<_> =
        all.flat_map(|(from, to)| (0..channels as u64).map(move |channel| (channel, from, to))).collect();
    let place = |of: &Value| {
        let number = |name: &str| of[name].as_u64().unwrap_or_else(|| panic!("{context}: {of}"));
        (number("lane") as u32, number("instruction") as u32)
    };
    let arrow = |[(_, from), (_, to)]: &[(u64, Value); 2]| {
        assert_eq!(from["channel"], to["channel"], "{context}");
        (from["channel"].as_u64().unwrap_or(0), place(from), place(to))
    };
    let mut found: Vec<_> = file.flows.iter().map(arrow).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "{context}");
}

/// Links follow each other without a gap, from the beginning to the end of the last.
fn path_is_whole(path: &CriticalPath, trace: &Trace, context: &str) {
    assert_eq!(path.total, trace.spans.iter().map(|span| span.end).max().unwrap(), "{context}");
    assert_eq!(path.total, path.moving + path.waiting, "{context}");
    assert_eq!(path.moving, path.links.iter().map(|link| link.moving).sum::<u64>(), "{context}");
    assert_eq!(path.waiting, path.links.iter().map(|link| link.waiting).sum::<u64>(), "{context}");
    assert!(path.links[0].after == After::Begin && path.links[1..].iter().all(|link| link.after != After::Begin));
    let Totals { moving, waiting, turn } = totals(trace);
    assert_eq!(path.lanes.moving, moving, "{context}");
    assert_eq!(path.lanes.waiting + path.lanes.turn, waiting + turn, "{context}");
    assert_eq!(path.lanes.waiting, path.lanes.waited_for.iter().map(|of| of.time).sum::<u64>(), "{context}");
}

struct Totals {
    moving: u64,
    waiting: u64,
    turn: u64,
}

fn totals(trace: &Trace) -> Totals {
    let sum = |of: fn(&Span) -> u64| trace.spans.iter().map(of).sum();
    Totals { moving: sum(|span| span.end - span.ready), waiting: sum(|span| span.ready - span.begin), turn: 0 }
}

/// A launch that is not to be traced has no trace, one that did not finish neither, and the next one does.
#[test]
fn only_launches_that_succeed_have_a_trace() {
    let proved = all_reduce(Algorithm::Ring, 4);
    let run = |options: Options| {
        let mut ready = Cpu::new().prepare(&proved, Shape::new(4, DataType::F32, Op::Sum), &options).unwrap();
        let (inputs, mut outputs) = ([[0_u8; 16]; 4], [[0_u8; 16]; 4]);
        let inputs: Vec<&[u8]> = inputs.iter().map(|input| &input[..]).collect();
        let ran = ready.run(&inputs, &mut outputs.iter_mut().map(|x| &mut x[..]).collect::<Vec<_>>());
        (ran.is_ok(), ready.trace().is_some())
    };
    assert_eq!(run(Options::default()), (true, false));
    assert_eq!(run(Options::default().trace(true)), (true, true));
    let fault = Fault::DropNotify { rank: 1, row: 2 };
    assert_eq!(run(Options::default().trace(true).fault(fault)), (false, false));
    // Over what was loaded, and over and over again.
    let mut ready =
        Cpu::new().prepare(&proved, Shape::new(4, DataType::F32, Op::Sum), &Options::default().trace(true)).unwrap();
    let input: &[u8] = &[0; 16];
    ready.load(0, &[input; 4]).unwrap();
    for _ in 0..3 {
        ready.launch().unwrap();
        consistent(&ready.trace().unwrap(), &proved, "of a launch");
    }
}

#[test]
fn a_trace_that_nobody_could_look_at_is_refused() {
    let proved = all_reduce(Algorithm::Ring, 64);
    let options = Options::default().trace(true).channels(300);
    let shape = Shape::new(1 << 20, DataType::F32, Op::Sum);
    let refused = Cpu::new().prepare(&proved, shape, &options).unwrap_err();
    let PrepareError::Trace { instructions, most } = refused else { panic!("{refused}") };
    assert!(instructions > most && instructions.is_multiple_of(proved.schedule().instructions()));
    assert_eq!(most, MOST_SPANS);
}

/// Ranks 0 and 1 add both inputs; then each tells the other, and ends.
fn pair() -> Proved {
    let (a, b) = (Address::input(0, 0), Address::input(1, 0));
    let lane = |rank: u32| {
        Lane::new(rank)
            .with(Instruction::new("add \"both\"\u{1}").reduce(a, b).to(Address::output(rank, 0)).notify(1 - rank, 0))
            .with(Instruction::new("end").wait(0, 1 - rank))
    };
    proved(Schedule::new("pair", Collective::AllReduce, 2, 1).signal_rows(1).lane(lane(0)).lane(lane(1)))
}

fn spans(of: [[u64; 3]; 4]) -> Vec<Span> {
    let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
    places.into_iter().zip(of).map(|((lane, index), [a, b, c])| Span::new(lane, index).at(a, b, c)).collect()
}

/// What is walked back to, and whose time it is.
#[test]
fn the_critical_path_goes_to_whoever_let_an_instruction_go() {
    // Spans of the pair, then links: rank and instruction, moving, waiting, for whom; then for whom all lanes waited.
    type Links<'a> = &'a [((u32, u32), u64, u64, Option<u32>)];
    type Case<'a> = (&'a str, [[u64; 3]; 4], Links<'a>, &'a [(u32, u64)]);
    let cases: [Case<'_>; 4] = [
        (
            "rank 0 waits for the slow rank 1, and for its turn",
            [[0, 0, 10], [10, 35, 40], [0, 5, 30], [30, 31, 33]],
            &[((1, 0), 25, 5, None), ((0, 1), 5, 5, Some(1))],
            &[(1, 20)],
        ),
        (
            "nobody waits: the lane is its own reason",
            [[0, 0, 10], [10, 10, 50], [0, 0, 10], [10, 10, 20]],
            &[((0, 0), 10, 0, None), ((0, 1), 40, 0, None)],
            &[],
        ),
        (
            "both wait, rank 1 longer",
            [[0, 0, 30], [30, 31, 32], [0, 0, 20], [20, 30, 90]],
            &[((0, 0), 30, 0, None), ((1, 1), 60, 0, Some(0))],
            &[(0, 10)],
        ),
        (
            "one dispatch is one time, and the next begins late",
            [[0, 2, 10], [10, 20, 30], [0, 2, 10], [10, 20, 30]],
            &[((1, 0), 8, 2, None), ((1, 1), 10, 10, None)],
            &[],
        ),
    ];
    let proved = pair();
    for (name, of, links, waited) in cases {
        let trace = Trace::new(Clock::Host, spans(of));
        let path = trace.critical_path(&proved).unwrap();
        let got: Vec<_> = path
            .links
            .iter()
            .map(|link| {
                let for_rank = match &link.after {
                    After::Notify(site) => Some(site.rank),
                    _ => None,
                };
                ((link.site.lane, link.site.instruction), link.moving, link.waiting, for_rank)
            })
            .collect();
        assert_eq!(got, links, "{name}");
        path_is_whole(&path, &trace, name);
        let got: Vec<(u32, u64)> =
            path.lanes.waited_for.iter().map(|&Waited { rank, time, .. }| (rank, time)).collect();
        assert_eq!(got, waited, "{name}");
    }
}

/// A thread that is with another lane is a reason like any other, and the path goes through what it did there.
#[test]
fn the_path_goes_through_what_the_thread_did_meanwhile() {
    // Rank 0 adds, rank 1 adds and ends, and only then rank 0 is run again.
    let of = [[0, 2, 10], [10, 40, 50], [0, 10, 30], [30, 30, 38]];
    // Where rank 1 is on a thread of its own its add is what rank 0 waits for, and that began when it could.
    let apart = [(1, 0, "begin"), (0, 1, "notify")];
    let together = [(0, 0, "begin"), (1, 0, "core"), (1, 1, "lane"), (0, 1, "core")];
    for (threads, links, moving, waiting) in [([0, 0], &together[..], 46, 4), ([0, 1], &apart, 30, 20)] {
        let of_threads = spans(of).into_iter().map(|span| span.worker(threads[span.lane as usize]).channel(0));
        let path = Trace::new(Clock::Host, of_threads.collect()).critical_path(&pair()).unwrap();
        let after = |link: &Link| match link.after {
            After::Begin => "begin",
            After::Lane => "lane",
            After::Core => "core",
            _ => "notify",
        };
        let got: Vec<_> = path.links.iter().map(|link| (link.site.lane, link.site.instruction, after(link))).collect();
        assert_eq!(got, links);
        assert_eq!((path.moving, path.waiting, path.total), (moving, waiting, 50));
    }
    // What took no time at all is no circle.
    let still = spans([[5; 3]; 4]).into_iter().map(|span| span.worker(0).channel(0)).collect();
    let trace = Trace::new(Clock::Host, still);
    let path = trace.critical_path(&pair()).unwrap();
    assert_eq!((path.moving, path.waiting), (0, 5));
}

/// A clock may stand still for a few instructions: arrows go to the right ones all the same.
#[test]
fn arrows_find_slices_that_took_no_time() {
    for (name, of) in [
        ("an end without a duration", [[0, 0, 7], [7, 9, 9], [0, 0, 9], [9, 9, 9]]),
        ("a notify without a duration", [[0, 5, 5], [5, 9, 12], [0, 5, 5], [5, 6, 8]]),
        ("before a wait", [[0, 4, 4], [4, 10, 12], [0, 4, 9], [9, 9, 9]]),
    ] {
        let trace = Trace::new(Clock::Host, spans(of));
        let file = read(&written(&trace, &pair(), 4));
        arrows_are_right(&file, &trace, &pair(), name);
    }
}

/// What has no times has no path, and what is of another schedule neither path nor file.
#[test]
fn nothing_is_made_up() {
    let proved = pair();
    let times = spans([[0, 0, 10], [10, 35, 40], [0, 5, 30], [30, 31, 33]]);
    for measured in [false, true] {
        let trace = Trace::new(Clock::Order { measured }, times.clone());
        assert_eq!(trace.critical_path(&proved), None);
        let file = read(&written(&trace, &proved, 4));
        assert_eq!(sound(&file, "order").len(), 4);
        let names = file.processes.values().chain(file.threads.values());
        assert!(names.clone().count() == 4 && names.clone().all(|name| name.ends_with("(order only, no times)")));
        assert!(file.slices.values().flatten().all(|(category, ..)| category == "order"), "nobody waits without times");
        assert_eq!(file.other["calibrated"], Value::Null);
        assert!(file.other["clock"].as_str().unwrap().contains("no times"));
    }
    assert_eq!(Trace::new(Clock::Host, Vec::new()).critical_path(&proved), None);
    let foreign = Trace::new(Clock::Host, vec![Span::new(2, 0)]);
    assert_eq!(foreign.critical_path(&proved), None);
    let payload = proved.payload(4, DataType::F32).unwrap();
    let refused = foreign.write_chrome(&proved, &payload, &[], &mut Vec::new()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

/// Names, categories, times and arguments, word for word where somebody reads them.
#[test]
fn a_file_says_what_ran_where_and_how_long() {
    let proved = pair();
    let trace = Trace::new(
        Clock::Device { calibrated: false },
        spans([[0, 1500, 10_001], [10_001, 35_000, 40_000], [0, 5000, 30_000], [30_000, 31_000, 33_000]]),
    );
    let text = written(&trace, &proved, 5);
    let file = read(&text);
    assert_eq!(sound(&file, "pair").len(), 4);
    let other = |name: &str| file.other[name].as_str().unwrap();
    assert_eq!(
        ["schedule", "collective", "ranks", "count", "calibrated", "device"].map(other),
        ["pair", "all-reduce", "2", "5", "no", "a \"device\"\n\\"]
    );
    assert!(other("tracing").starts_with("on") && other("clock").contains("not calibrated"));
    assert_eq!(file.processes.values().collect::<Vec<_>>(), ["rank 0", "rank 1"]);
    assert_eq!(file.threads.values().collect::<Vec<_>>(), ["lane 0", "lane 1"]);
    let (first, slices) = file.slices.first_key_value().unwrap();
    assert_eq!(file.threads[first], "lane 0");
    let times: Vec<_> = slices.iter().map(|(category, begin, end, _)| (category.as_str(), *begin, *end)).collect();
    // The first instruction awaits nothing, so it did not wait.
    assert_eq!(times, [("move", 1500, 10_001), ("wait", 10_001, 35_000), ("move", 35_000, 40_000)]);
    assert_eq!(slices[0].3["label"], "add \"both\"\u{1}");
    assert_eq!(slices[0].3["from"], serde_json::json!(["rank 0 input[0]", "rank 1 input[0]"]));
    assert_eq!((&slices[0].3["bytes"], &slices[2].3["bytes"]), (&20.into(), &0.into()));
    assert_eq!(slices[1].3["for"], serde_json::json!(["rank 1 add \"both\"\u{1}"]));
    assert!(text.contains("\"ts\":10.001,\"dur\":24.999,\"cat\":\"wait\""), "{text}");
}

/// A device that has one time for several instructions of a lane shows one slice for them.
#[test]
fn instructions_of_one_dispatch_are_one_slice() {
    let proved = all_reduce(Algorithm::Tree, 4);
    let mut at = 0;
    let lanes = (0..).zip(&proved.schedule().lanes);
    let spans = lanes.flat_map(|(lane, of)| {
        at += 100;
        (0..of.instructions.len() as u32).map(move |index| Span::new(lane, index).at(at - 100, at - 50, at))
    });
    let trace = Trace::new(Clock::Device { calibrated: false }, spans.collect());
    let file = read(&written(&trace, &proved, 64));
    let mut instructions = sound(&file, "tree");
    assert_eq!(instructions.len(), proved.schedule().instructions());
    instructions.dedup();
    assert_eq!(instructions.len(), proved.schedule().instructions());
    let moves = file.slices.values().flatten().filter(|(category, ..)| category == "move").count();
    assert_eq!(moves, proved.schedule().lanes.len());
}

#[test]
fn a_trace_is_data() {
    let proved = all_reduce(Algorithm::Ring, 3);
    let trace = launched(&proved, 100, Options::default().trace(true));
    let text = serde_json::to_string(&trace).unwrap();
    assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), trace);
    assert!(
        text.starts_with(r#"{"clock":"host","spans":[{"lane":0,"instruction":0,"channel":0,"piece":0,"worker":0"#),
        "{text}"
    );
}
