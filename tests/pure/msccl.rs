//! MSCCL XML: a folder of real files, whose verdicts an independent model has written down.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::format::msccl::{self, Algo, LowerOptions, Proto};
use wgccl::proof::{self, Proof, check, prove};
use wgccl::schedule::{Algorithm, Buffer, Schedule, SyncStyle, build};

use crate::oracle::evaluate::{Cut, evaluate};
use crate::oracle::grow::grown;
use crate::oracle::promise::Places;

/// Where the files are.
fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("WGCCL_MSCCL").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/msccl");
    given.or_else(|| beside.is_dir().then_some(beside))
}

/// What is said of a file, and what it costs to know.
#[derive(Debug, PartialEq)]
enum Verdict {
    Unreadable,
    Invalid,
    Deadlock {
        fewest: Option<u32>,
    },
    Race,
    Wrong,
    /// Whether all ranks get the same bits, and the fewest messages on a connection.
    Right {
        identical: bool,
        fewest: Option<u32>,
    },
}

fn verdict(text: &[u8]) -> (Verdict, String) {
    let algo = match msccl::read(text) {
        Ok(algo) => algo,
        Err(error) => return (Verdict::Unreadable, error.to_string()),
    };
    let imported = match algo.lower(&LowerOptions::default()) {
        Ok(imported) => imported,
        Err(error) => return (Verdict::Invalid, error.to_string()),
    };
    let report = check(&imported.schedule, proof::Options::default().in_place(imported.in_place));
    let fails = |proof| report.outcome(proof).is_some_and(|outcome| matches!(outcome.verdict, proof::Verdict::Fails));
    let fewest = algo.fewest_fifo_slots();
    let verdict = match () {
        () if fails(Proof::Structure) => Verdict::Invalid,
        () if fails(Proof::DeadlockFree) => Verdict::Deadlock { fewest },
        () if fails(Proof::RaceFree) => Verdict::Race,
        () if !report.ok() => Verdict::Wrong,
        () => Verdict::Right { identical: report.holds(Proof::BitIdentical), fewest },
    };
    (verdict, report.failures().to_string())
}

/// What the manifest says of a file.
fn expected(columns: &[&str], algo: Option<&Algo>) -> Verdict {
    let [said, fewest, _, differing] = columns[17..21] else { panic!("{columns:?}") };
    let fewest = fewest.trim().parse().ok();
    let slots = algo.map_or(0, |algo| algo.proto.fifo_slots());
    match said {
        said if said.starts_with("ERR") => Verdict::Unreadable,
        said if said.starts_with("DEADLOCK") => Verdict::Deadlock { fewest: None },
        said if said.contains("WRONG") => Verdict::Wrong,
        said if said.contains("correct") && fewest > Some(slots) => Verdict::Deadlock { fewest },
        said if said.contains("correct") => {
            Verdict::Right { identical: differing.is_empty() || differing.starts_with("0/"), fewest }
        }
        said => panic!("{said}"),
    }
}

/// Where we say something else than the manifest, and why.
const EXCEPTIONS: [(&str, Verdict, &str); 1] = [(
    "mst_BAD_ring_4_2_dupconn.xml",
    Verdict::Invalid,
    "two thread blocks own one end of a connection: whose message is whose depends on the timing, so no result is looked at",
)];

/// Every built-in schedule that the format can express comes back with the same proof, at the fewest slots, in every number of ranks.
#[test]
fn what_is_written_is_read_again() {
    let (mut written, mut elided) = (0, 0);
    for &collective in Collective::ALL {
        for algorithm in Algorithm::of(collective) {
            for ranks in [1, 2, 3, 4, 5, 8] {
                let Ok(schedule) = build(collective, algorithm, ranks, SyncStyle::Neighbor) else { continue };
                let proved = prove(schedule, proof::Options::default()).unwrap();
                let algo = match Algo::of(&proved, Proto::Simple) {
                    Ok(algo) => algo,
                    Err(error) => {
                        assert!(matches!(collective, Collective::Barrier | Collective::SendRecv), "{error}");
                        continue;
                    }
                };
                let case = format!("{collective} by {algorithm} of {ranks}");
                let text = algo.to_string();
                let read = msccl::read(text.as_bytes()).unwrap_or_else(|error| panic!("{case}: {error}\n{text}"));
                assert_eq!(read.to_string(), text, "{case}");
                for fifo_slots in [Some(1), None, Some(u32::MAX)] {
                    let mut options = LowerOptions::default();
                    options.fifo_slots = fifo_slots;
                    let imported = read.lower(&options).unwrap_or_else(|error| panic!("{case}: {error}\n{text}"));
                    assert!(imported.warnings.is_empty(), "{case}: {:?}", imported.warnings);
                    let report = check(&imported.schedule, proof::Options::default());
                    assert!(report.ok(), "{case}: {}\n{text}", report.failures());
                    assert_eq!(report.holds(Proof::BitIdentical), proved.report().holds(Proof::BitIdentical), "{case}");
                    written += 1;
                }
                let mut direct = LowerOptions::default();
                direct.elide = true;
                let imported = read.lower(&direct).unwrap();
                let report = check(&imported.schedule, proof::Options::default());
                elided += usize::from(report.ok());
                assert!(report.ok() || !report.holds(Proof::RaceFree), "{case}: {}", report.failures());
                assert_eq!(read.fewest_fifo_slots(), Some(1), "{case}");
            }
        }
    }
    println!("{written} lowered, {elided} of {} right without FIFOs", written / 3);
    assert!(written > 300 && elided > 60, "{written} {elided}");
}

/// Random schedules that are proved come back from XML with the same proof and the same bits.
#[test]
fn random_schedules_come_back_as_they_were() {
    let (mut came_back, mut refused) = (0, 0);
    for seed in 0..1500 {
        let mut random = crate::oracle::random::Random::new(seed, 0);
        let (schedule, in_place) = grown(&mut random, 6);
        let Ok(proved) = prove(schedule, proof::Options::default()) else { continue };
        if in_place {
            continue;
        }
        let Ok(algo) = Algo::of(&proved, Proto::LowLatency) else {
            refused += 1;
            continue;
        };
        let text = algo.to_string();
        let mut options = LowerOptions::default();
        options.root = proved.schedule().task.root;
        options.fifo_slots = Some(1 + seed as u32 % 3);
        let imported = msccl::read(text.as_bytes()).unwrap().lower(&options);
        let imported = imported.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        let report = check(&imported.schedule, proof::Options::default());
        assert!(report.ok(), "seed {seed}: {}\n{text}", report.failures());
        // Floats that round, so that another order of additions would show.
        let bits = |schedule: &Schedule| {
            let places = Places::new(schedule, false);
            // Whole vectors in each chunk, so that both are cut alike.
            let count = schedule.chunks as usize * 4;
            let cut = Cut::new(schedule, count, DataType::F32);
            let number = |rank: u32, i: usize| ((rank as usize * 7919 + i * 104_729) % 1000) as f32 / 7.0 - 60.0;
            let length = |rank| count * places.chunks_of(rank, Buffer::Input) as usize / schedule.chunks as usize;
            let input = |rank| (0..length(rank)).map(|i| u64::from(number(rank, i).to_bits())).collect::<Vec<u64>>();
            let inputs: Vec<Vec<u64>> = (0..schedule.ranks).map(input).collect();
            evaluate(schedule, &places, false, (DataType::F32, Op::Sum), cut, &inputs)
        };
        assert_eq!(bits(proved.schedule()), bits(&imported.schedule), "seed {seed}\n{text}");
        came_back += 1;
    }
    println!("{came_back} came back, {refused} are of collectives that the format does not have");
    assert!(came_back > 200, "{came_back}");
}

/// Where the files are: real ones, none of which is in the repository.
fn real_files() -> Vec<(String, Vec<u8>, Vec<String>)> {
    let Some(folder) = folder() else {
        println!("skipped: no folder of MSCCL files; WGCCL_MSCCL names one, with its manifest.tsv");
        return Vec::new();
    };
    let manifest = fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let rows = manifest.lines().skip(1).map(|line| {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        (columns[0].clone(), fs::read(folder.join(&columns[0])).unwrap(), columns)
    });
    rows.collect()
}

#[test]
fn real_files_are_what_an_independent_model_says() {
    for (name, text, columns) in real_files() {
        let columns: Vec<&str> = columns.iter().map(String::as_str).chain([""; 4]).collect();
        let start = Instant::now();
        let (found, said) = verdict(&text);
        let time = start.elapsed();
        println!("{name:<58} {:<44} {time:?}", format!("{found:?}"));
        let exception = EXCEPTIONS.iter().find(|(of, ..)| *of == name);
        match exception {
            Some((_, verdict, why)) => assert_eq!(&found, verdict, "{name}: {why}"),
            None => assert_eq!(found, expected(&columns, msccl::read(&text).ok().as_ref()), "{name}: {said}"),
        }
    }
}

pub(super) const PAIR: &str = r#"<algo name="pair" proto="LL" nchannels="1" nchunksperloop="2" ngpus="2" coll="allreduce" inplace="1">
  <gpu id="0" i_chunks="2" o_chunks="0" s_chunks="1">
    <tb id="0" send="1" recv="1" chan="0">
      <step s="0" type="s" srcbuf="i" srcoff="1" dstbuf="s" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
      <step s="1" type="rrcs" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
      <step s="2" type="r" srcbuf="i" srcoff="1" dstbuf="i" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="0"/>
    </tb>
  </gpu>
  <gpu id="1" i_chunks="2" o_chunks="0" s_chunks="1">
    <tb id="0" send="0" recv="0" chan="0">
      <step s="0" type="s" srcbuf="i" srcoff="0" dstbuf="s" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
      <step s="1" type="rrcs" srcbuf="i" srcoff="1" dstbuf="i" dstoff="1" cnt="1" depid="-1" deps="-1" hasdep="0"/>
      <step s="2" type="r" srcbuf="i" srcoff="0" dstbuf="i" dstoff="0" cnt="1" depid="-1" deps="-1" hasdep="0"/>
    </tb>
  </gpu>
</algo>
"#;

/// One change to a right file each, and what is said of it, in the file's own terms.
#[test]
fn what_is_wrong_with_a_file_is_said_in_its_terms() {
    use Verdict::{Deadlock, Invalid, Unreadable, Wrong};
    let right = Verdict::Right { identical: true, fewest: Some(2) };
    let hangs = Deadlock { fewest: Some(2) };
    let first = r#"recv="1" chan="0">"#;
    let none = r#"depid="-1" deps="-1" hasdep="0"/>"#;
    for (from, to, expected, said) in [
        ("", "", right, ""),
        (r#"proto="LL""#, r#"proto="LL" nthreads="512""#, Verdict::Right { identical: true, fewest: Some(2) }, ""),
        (r#"proto="LL""#, r#"proto="LL3""#, Unreadable, "line 1, <algo>: proto=\"LL3\" is not Simple, LL or LL128"),
        (r#"ngpus="2""#, r#"ngpus="0""#, Unreadable, "ngpus=\"0\" is not a number from 1 to 4096"),
        (r#"coll="allreduce""#, r#"coll="sum""#, Unreadable, "coll=\"sum\" is not allreduce"),
        (r#"nchunksperloop="2" "#, "", Unreadable, "the attribute nchunksperloop is missing"),
        (r#"type="rrcs""#, r#"type="ra""#, Unreadable, "line 5, <step>: type=\"ra\" is not s, r, rcs"),
        (r#"chan="0""#, r#"chan="0.25""#, Unreadable, "line 3, <tb>: chan=\"0.25\" is not a whole number"),
        (r#"<gpu id="1""#, r#"<gpu id="2""#, Invalid, "ngpus is 2, and there are 2 gpus; their ids must be 0 to 1"),
        (first, r#"recv="1" chan="3">"#, Invalid, "on channel 0, and"),
        (r#"send="1""#, r#"send="0""#, Invalid, "gpu 0 tb 0 (line 3): send=\"0\" is this gpu itself"),
        (r#"send="1""#, r#"send="7""#, Invalid, "send=\"7\" is no gpu; there are 2"),
        (
            r#"send="1""#,
            r#"send="-1""#,
            Invalid,
            "gpu 0 tb 0 step 0 (line 4): s sends, and its thread block has no send",
        ),
        (r#"srcoff="1""#, r#"srcoff="2""#, Invalid, "s uses i[2], 1 chunks long, of 2 of srcbuf=\"i\""),
        (
            r#"srcoff="1" dstbuf="s" dstoff="0" cnt="1""#,
            r#"srcoff="0" dstbuf="s" dstoff="0" cnt="2""#,
            Invalid,
            "message 0 from gpu 0 to gpu 1 on channel 0 is sent as 2 chunks and received as 1",
        ),
        (r#"s="2" type="r""#, r#"s="3" type="r""#, Invalid, "s=\"3\" is the step of index 2"),
        (
            r#"type="rrcs""#,
            r#"type="rrc""#,
            Invalid,
            "1 messages are sent from gpu 0 to gpu 1 on channel 0, and 2 are received",
        ),
        (none, r#"depid="0" deps="1" hasdep="0"/>"#, Invalid, "depid=\"0\" is its own thread block"),
        (none, r#"depid="4" deps="1" hasdep="0"/>"#, Invalid, "depid=\"4\" is no thread block of this gpu"),
        (r#"type="rrcs" srcbuf="i" srcoff="0""#, r#"type="rrcs" srcbuf="i" srcoff="1""#, Wrong, "result does not hold"),
        (r#"proto="LL""#, r#"proto="Simple""#, Verdict::Right { identical: true, fewest: Some(2) }, ""),
        (
            r#"nchunksperloop="2""#,
            r#"nchunksperloop="4294967295""#,
            Invalid,
            "its inputs and outputs are 17179869180 chunks, and a file of so few steps may have 524288: lower nchunksperloop",
        ),
        (
            r#"s_chunks="1""#,
            r#"s_chunks="4294967295""#,
            Invalid,
            "its scratch buffers and connections hold 4294967300 chunks, and a file of so few steps may have 524288: lower s_chunks or cnt",
        ),
        (r#"s_chunks="1""#, r#"s_chunks="524283""#, Verdict::Right { identical: true, fewest: Some(2) }, ""),
        (r#"s_chunks="1""#, r#"s_chunks="524284""#, Invalid, "hold 524289 chunks"),
    ] {
        let text = PAIR.replacen(from, to, 1);
        assert!(from.is_empty() || text != PAIR, "{from}");
        let (found, why) = verdict(text.as_bytes());
        assert_eq!(found, expected, "{to}: {why}");
        assert!(why.contains(said), "{to}: {why}");
    }
    // With one message on a connection both wait for room.
    let mut one = LowerOptions::default();
    one.fifo_slots = Some(1);
    let imported = msccl::read(PAIR.as_bytes()).unwrap().lower(&one).unwrap();
    let report = check(&imported.schedule, proof::Options::default().in_place(true));
    assert!(!report.holds(Proof::DeadlockFree), "{hangs:?}");
    let said = report.failures().to_string();
    assert!(said.contains("gpu 0 tb 0 step 1") && said.contains("gpu 1 tb 0 step 1"), "{said}");
    for (text, why) in [
        ("", "there is no <algo>"),
        ("<a/>", "the outermost element of MSCCL XML is <algo>"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><algo/>", "document types, entities and CDATA are not read"),
        ("<algo name=\"&a;\"", "line 1"),
        (&format!("{PAIR}{PAIR}"), "line 17, <algo>: a second algorithm; a file holds one"),
        (&PAIR.replace("</gpu>", "text</gpu>"), "there is text between elements: 'text'"),
        (&PAIR[..PAIR.len() - 8], "the file ends before its elements do"),
        (&"<a>".repeat(100_000), "the outermost element"),
    ] {
        let error = msccl::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(msccl::read(b"<algo \xff").unwrap_err().to_string().contains("UTF-8"));
}

/// A few digits more ask for gigabytes: that is counted in 64 bits before anything is made.
#[test]
fn numbers_that_are_too_large_are_told_with_their_attribute() {
    let text = |collective, algorithm| {
        let schedule = build(collective, algorithm, 4, SyncStyle::Neighbor).unwrap();
        Algo::of(&prove(schedule, proof::Options::default()).unwrap(), Proto::Simple).unwrap().to_string()
    };
    let ring = text(Collective::AllReduce, Algorithm::Ring).replace("inplace=\"0\"", "inplace=\"1\"");
    let gather = text(Collective::AllGather, Algorithm::Ring);
    let wide = &ring
        .replace("nchunksperloop=\"4\"", "nchunksperloop=\"32768\"")
        .replace("s_chunks=\"4\"", "s_chunks=\"32768\"");
    for (text, from, to, said) in [
        (&ring, "nchunksperloop=\"4\"", "nchunksperloop=\"2147483648\"", "outputs are 17179869184 chunks"),
        (&gather, "nchunksperloop=\"4\"", "nchunksperloop=\"4294967292\"", "outputs are 21474836460 chunks"),
        (&ring, "s_chunks=\"4\"", "s_chunks=\"4294967295\"", "lower s_chunks or cnt"),
        (&ring, "cnt=\"1\"", "cnt=\"4294967295\"", "4294967295 chunks long, of 4 of srcbuf"),
        (wide, "cnt=\"1\"", "cnt=\"30000\"", "chunks, and a file of so few steps may have 524288: lower cnt"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(&changed, text, "{from}\n{text}");
        let (found, why) = verdict(changed.as_bytes());
        assert!(found == Verdict::Invalid && why.contains(said), "{to}: {why}");
    }
    let channels = ring.replace("chan=\"0\"", "chan=\"4294967295\"");
    let notes: Vec<String> =
        msccl::read(channels.as_bytes()).unwrap().lint().iter().map(|lint| lint.problem.to_string()).collect();
    assert!(notes.iter().any(|note| note.contains("name 4294967296 channels")), "{notes:?}");
}

/// What runtimes pass over is passed over, and told.
#[test]
fn what_nobody_reads_is_named() {
    let text = PAIR.replacen("<tb id", "<copy i_off=\"0\" o_off=\"1\"/><tb id", 1).replacen(
        " hasdep",
        " algostep=\"3\" colour=\"red\" hasdep",
        1,
    );
    let algo = msccl::read(text.as_bytes()).unwrap();
    assert_eq!(algo.ignored, ["colour of <step>"]);
    assert_eq!(algo.copies(), 1);
}

/// An all-gather of two ranks as TACCL writes it: what a rank has itself is in a `<copy>`.
const COPIED: &str = r#"<algo name="old" proto="Simple" nchannels="1" nchunksperloop="4" ngpus="2" coll="allgather" inplace="0">
  <gpu id="0" i_chunks="2" o_chunks="4" s_chunks="0">
    <copy i_off="0" o_off="0"/><copy i_off="1" o_off="1"/>
    <tb id="0" send="1" recv="-1" chan="0">
      <step s="0" type="s" srcbuf="o" srcoff="0" dstbuf="o" dstoff="0" cnt="2" depid="-1" deps="-1" hasdep="1"/>
    </tb>
    <tb id="1" send="-1" recv="1" chan="0">
      <step s="0" type="r" srcbuf="o" srcoff="2" dstbuf="o" dstoff="2" cnt="2" depid="0" deps="0" hasdep="1"/>
    </tb>
    <tb id="2" send="-1" recv="-1" chan="0">
      <step s="0" type="cpy" srcbuf="o" srcoff="2" dstbuf="o" dstoff="2" cnt="1" depid="1" deps="0" hasdep="0"/>
    </tb>
  </gpu>
  <gpu id="1" i_chunks="2" o_chunks="4" s_chunks="0">
    <copy i_off="0" o_off="2"/><copy i_off="1" o_off="3"/>
    <tb id="0" send="0" recv="0" chan="0">
      <step s="0" type="s" srcbuf="o" srcoff="2" dstbuf="o" dstoff="2" cnt="2" depid="-1" deps="-1" hasdep="0"/>
      <step s="1" type="r" srcbuf="o" srcoff="0" dstbuf="o" dstoff="0" cnt="2" depid="-1" deps="-1" hasdep="0"/>
    </tb>
  </gpu>
</algo>
"#;

/// Runtimes pass over `<copy>`, and who asks for it has it before everything else.
#[test]
fn copies_of_old_files_come_first_where_they_are_asked_for() {
    let read = |text: &str| msccl::read(text.as_bytes()).unwrap();
    let old = read(COPIED);
    assert_eq!(read(&old.to_string()).copies(), 4);
    assert!(matches!(verdict(COPIED.as_bytes()).0, Verdict::Wrong));
    let new = old.clone().copies_first();
    assert_eq!((new.copies(), new.blocks(), new.steps()), (0, 6, 9));
    // Where a first step waits for another, a nop takes the copies' dependence, and who waits for that block waits for its next step.
    let text = new.to_string();
    for line in [
        r#"<step s="0" type="cpy" srcbuf="i" srcoff="0" dstbuf="o" dstoff="0" cnt="2" depid="-1" deps="-1" hasdep="1"/>"#,
        r#"<step s="0" type="s" srcbuf="o" srcoff="0" dstbuf="o" dstoff="0" cnt="2" depid="3" deps="0" hasdep="1"/>"#,
        r#"<step s="0" type="nop" srcbuf="i" srcoff="-1" dstbuf="i" dstoff="-1" cnt="0" depid="3" deps="0" hasdep="0"/>"#,
        r#"<step s="1" type="r" srcbuf="o" srcoff="2" dstbuf="o" dstoff="2" cnt="2" depid="0" deps="0" hasdep="1"/>"#,
        r#"<step s="1" type="cpy" srcbuf="o" srcoff="2" dstbuf="o" dstoff="2" cnt="1" depid="1" deps="1" hasdep="0"/>"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let (found, why) = verdict(text.as_bytes());
    assert!(matches!(found, Verdict::Right { .. }), "{why}");
    let in_place = |text: &str| read(text).copies_are_in_place(Collective::AllGather);
    let meant = COPIED.replace("inplace=\"0\"", "inplace=\"1\"");
    assert!(!in_place(COPIED) && in_place(&meant) && !in_place(&meant.replace("o_off=\"3\"", "o_off=\"2\"")));
    // In place they change nothing.
    for text in [meant.clone(), read(&meant).copies_first().to_string()] {
        let (found, why) = verdict(text.as_bytes());
        assert!(matches!(found, Verdict::Right { .. }), "{why}\n{text}");
    }
    // A chunk that is not there is found like that of any step.
    let far =
        read(&COPIED.replace("i_off=\"1\" o_off=\"3\"", "i_off=\"4294967295\" o_off=\"3\"")).copies_first().to_string();
    let (found, why) = verdict(far.as_bytes());
    assert!(found == Verdict::Invalid && why.contains("cpy uses i[4294967295]"), "{why}");
    let missing = msccl::read(COPIED.replace(" o_off=\"3\"", "").as_bytes()).unwrap_err().to_string();
    assert_eq!(missing, "line 15, <copy>: the attribute o_off is missing");
}

/// xorshift64: the same mutants on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

#[test]
fn no_mutant_panics_or_takes_long() {
    let mutants = if cfg!(miri) { 20 } else { 4000 };
    const NUMBERS: [&str; 5] = ["4294967295", "2147483648", "1073741824", "1048576", "65536"];
    const PIECES: [&str; 12] = [
        "4294967295",
        "0",
        "-1",
        "2",
        "\"",
        "<",
        ">",
        "/>",
        "type=\"rcs\"",
        "chan=\"1\"",
        "<step s=\"0\"/>",
        "cnt=\"4294967295\"",
    ];
    let mut random = Random(0x5eed);
    let mut read = 0;
    for mutant in 0..mutants {
        let mut bytes = [PAIR, COPIED][mutant % 2].as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(6) {
                0 => bytes[at] ^= 1 << random.below(8),
                // A digit for a digit: most of these are files still.
                1 | 2 => {
                    let digits: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
                    bytes[digits[random.below(digits.len())]] = b'0' + random.below(10) as u8;
                }
                3 => {
                    let digits: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
                    let at = digits[random.below(digits.len())];
                    drop(bytes.splice(at..=at, NUMBERS[random.below(NUMBERS.len())].bytes()));
                }
                4 => drop(bytes.drain(at..(at + 1 + random.below(40)).min(bytes.len()))),
                _ => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            }
        }
        read += usize::from(!matches!(verdict(&bytes).0, Verdict::Unreadable));
        if let Ok(algo) = msccl::read(&bytes) {
            algo.copies_are_in_place(Collective::AllGather);
            algo.lint();
            verdict(algo.copies_first().to_string().as_bytes());
        }
    }
    println!("{read} of {mutants} mutants were files still");
    assert!(read > mutants / 10, "{read}");
}
