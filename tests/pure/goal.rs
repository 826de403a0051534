//! GOAL, read as `txt2bin` reads it and replayed as LogGOPSim does, where no two operations of a rank want the same thing at once.

use std::collections::HashMap;

use wgccl::collective::Collective;
use wgccl::format::chakra::{ChakraOptions, chakra};
use wgccl::format::goal::{GoalOptions, goal};
use wgccl::format::msccl::{self, Algo, Proto};
use wgccl::proof::{self, prove};
use wgccl::schedule::{Algorithm, SyncStyle, build};

use super::msccl::PAIR;

/// LogGOPSim's own numbers, in nanoseconds: latency, overhead of a message at each end, and a byte.
const LATENCY: u64 = 2500;
const OVERHEAD: u64 = 1500;
const BYTE: u64 = 6;

/// Up to where LogGOPSim sends without a receiver.
const EAGER: u64 = 65535;

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Send,
    Recv,
    Calc,
}

#[derive(Debug)]
struct Operation {
    what: What,
    /// Nanoseconds of a calculation, else bytes.
    size: u64,
    /// Sender, receiver and tag.
    connection: (usize, usize, u64),
    /// What must have ended, and what must have begun.
    ended: Vec<usize>,
    begun: Vec<usize>,
}

/// The operations of all ranks; a label stands for one only behind it.
fn read(text: &str) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    let mut labels: HashMap<&str, usize> = HashMap::new();
    let (mut rank, mut ranks) = (None, 0);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| text.parse::<u64>().unwrap_or_else(|error| panic!("{line}: {error}"));
        let bytes = |text: &str| number(text.strip_suffix('b').unwrap_or_else(|| panic!("{line}")));
        let mut add = |label: &str, what, size, connection| {
            let label = &line[..label.len() - 1];
            assert!(labels.insert(label, operations.len()).is_none(), "{label} twice");
            operations.push(Operation { what, size, connection, ended: Vec::new(), begun: Vec::new() });
        };
        match (words.as_slice(), rank) {
            ([], _) | (["num_ranks", _], None) => {}
            (["rank", number, "{"], None) => {
                assert_eq!(*number, ranks.to_string());
                rank = Some(ranks);
                ranks += 1;
            }
            (["}"], Some(_)) => {
                rank = None;
                labels.clear();
            }
            ([label, "send", size, "to", to, "tag", tag], Some(rank)) => {
                add(label, What::Send, bytes(size), (rank, number(to) as usize, number(tag)));
            }
            ([label, "recv", size, "from", from, "tag", tag], Some(rank)) => {
                add(label, What::Recv, bytes(size), (number(from) as usize, rank, number(tag)));
            }
            ([label, "calc", time], Some(rank)) => add(label, What::Calc, number(time), (rank, rank, 0)),
            ([of, word, on], Some(_)) => {
                let find = |label| *labels.get(label).unwrap_or_else(|| panic!("{line}: {label} is not there yet"));
                let (of, on) = (find(of), find(on));
                match *word {
                    "requires" => operations[of].ended.push(on),
                    "irequires" => operations[of].begun.push(on),
                    _ => panic!("{line}"),
                }
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!((rank, text.lines().next()), (None, Some(format!("num_ranks {ranks}").as_str())));
    operations
}

/// When the last operation ends. A message longer than `eager` is sent only once its receiver is there.
fn replay(operations: &[Operation], eager: u64) -> u64 {
    // When each has begun and ended.
    let mut times: Vec<(Option<u64>, Option<u64>)> = vec![(None, None); operations.len()];
    let mut connections: HashMap<(usize, usize, u64), [Vec<usize>; 2]> = HashMap::new();
    let mut left = operations.len();
    loop {
        let before = (left, connections.values().flatten().map(Vec::len).sum::<usize>());
        for (at, operation) in operations.iter().enumerate() {
            let ended = operation.ended.iter().map(|&on| times[on].1);
            let begun = operation.begun.iter().map(|&on| times[on].0.map(|time| time + OVERHEAD));
            let Some(ready) = ended.chain(begun).collect::<Option<Vec<u64>>>() else { continue };
            if times[at].0.is_none() {
                let now = ready.into_iter().max().unwrap_or(0);
                times[at].0 = Some(now);
                let [sent, received] = connections.entry(operation.connection).or_default();
                match operation.what {
                    What::Calc => times[at].1 = Some(now + operation.size),
                    What::Send => sent.push(at),
                    What::Recv => received.push(at),
                }
                if operation.what == What::Send && operation.size <= eager {
                    times[at].1 = Some(now + OVERHEAD);
                }
            }
        }
        for [sent, received] in connections.values() {
            for (&send, &recv) in sent.iter().zip(received) {
                let size = operations[send].size;
                assert_eq!(size, operations[recv].size, "a message is received as it is sent");
                let (sent, posted) = (times[send].0.unwrap(), times[recv].0.unwrap());
                let arrived = posted.max(sent + OVERHEAD + LATENCY);
                times[recv].1 = Some(arrived + OVERHEAD + (size - 1) * BYTE);
                times[send].1 = times[send].1.or(Some(arrived));
            }
        }
        left = times.iter().filter(|(_, ended)| ended.is_none()).count();
        if before == (left, connections.values().flatten().map(Vec::len).sum()) {
            break;
        }
    }
    assert_eq!(left, 0, "operations that never end");
    times.iter().filter_map(|&(_, ended)| ended).max().unwrap_or(0)
}

fn written(algo: &Algo, chunk_bytes: u64) -> Vec<Operation> {
    read(&goal(algo, GoalOptions::new(chunk_bytes)))
}

fn of(collective: Collective, algorithm: Algorithm, ranks: u32) -> Option<Algo> {
    let schedule = build(collective, algorithm, ranks, SyncStyle::Neighbor).ok()?;
    Algo::of(&prove(schedule, proof::Options::default()).unwrap(), Proto::Simple).ok()
}

/// Every label is known where it is used, and every operation ends, whether or not messages wait for their receivers.
#[test]
fn everything_ends() {
    let mut seen = 0;
    for &collective in Collective::ALL {
        for algorithm in Algorithm::of(collective) {
            for ranks in [1, 2, 3, 4, 8] {
                let Some(algo) = of(collective, algorithm, ranks) else { continue };
                let operations = written(&algo, 1024);
                replay(&operations, EAGER);
                replay(&operations, 0);
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen}");
    // Thread blocks that send before they receive.
    let pair = msccl::read(PAIR.as_bytes()).unwrap();
    assert_eq!(written(&pair, 1024).len(), 2 * 5);
    replay(&written(&pair, 1024), 0);
}

/// The times that LogGOPSim 76451de gives with `-L 2500 -o 1500 -g 1000 -G 6 -O 0 -S 65535`.
#[test]
fn times_are_those_of_the_simulator() {
    for (algorithm, vector, expected) in [
        (Algorithm::Ring, 1 << 10, 87_759),
        (Algorithm::Ring, 1 << 20, 11_178_720),
        (Algorithm::Ring, 1 << 22, 44_484_111),
        (Algorithm::HalvingDoubling, 1 << 20, 11_134_764),
    ] {
        let algo = of(Collective::AllReduce, algorithm, 8).unwrap();
        let operations = written(&algo, vector / u64::from(algo.chunks_per_loop));
        assert_eq!(replay(&operations, EAGER), expected, "{algorithm}, {vector} bytes");
    }
    // By hand: 14 messages of a chunk, one behind the other, and 7 additions of it.
    let chunk = (1 << 20) / 8;
    let message = 2 * OVERHEAD + LATENCY + (chunk - 1) * BYTE;
    assert_eq!(14 * message + 7 * chunk.div_ceil(10), 11_178_720);
    // Two messages are behind each other where nobody has to wait for a wire, whatever the number of ranks.
    for algorithm in [Algorithm::Direct, Algorithm::TwoPhase] {
        let operations = written(&of(Collective::AllReduce, algorithm, 8).unwrap(), chunk);
        assert_eq!(replay(&operations, EAGER), 2 * message + 7 * chunk.div_ceil(10), "{algorithm}");
    }
}

/// What a nop publishes is lost, in the files that are written as in the runtimes.
#[test]
fn nobody_waits_for_a_nop() {
    let nop = r#"<step s="0" type="nop" srcbuf="i" srcoff="-1" dstbuf="o" dstoff="-1" cnt="0" depid="1" deps="0" hasdep="0"/>"#;
    let text = format!(
        r#"<algo name="x" proto="Simple" ngpus="1" nchunksperloop="1" coll="allreduce" inplace="0" nchannels="1">
             <gpu id="0" i_chunks="1" o_chunks="1" s_chunks="2">
               <tb id="0" send="-1" recv="-1" chan="0">
                 {nop}
                 <step s="1" type="cpy" srcbuf="s" srcoff="0" dstbuf="s" dstoff="1" cnt="1" depid="1" deps="0" hasdep="1"/>
               </tb>
               <tb id="1" send="-1" recv="-1" chan="0">
                 <step s="0" type="cpy" srcbuf="i" srcoff="0" dstbuf="s" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="1"/>
               </tb>
               <tb id="2" send="-1" recv="-1" chan="0">
                 <step s="0" type="cpy" srcbuf="s" srcoff="1" dstbuf="o" dstoff="0" cnt="1" depid="0" deps="0" hasdep="0"/>
               </tb>
             </gpu>
           </algo>"#
    );
    let published = msccl::read(text.replace(nop, &nop.replace("hasdep=\"0\"", "hasdep=\"1\"")).as_bytes()).unwrap();
    let lost = msccl::read(text.as_bytes()).unwrap();
    assert_ne!(published, lost);
    assert_eq!(replay(&written(&published, 1000), 0), 3 * 100, "three copies, one behind the other");
    assert_eq!(chakra(&published, ChakraOptions::new(1000)), chakra(&lost, ChakraOptions::new(1000)));
}
