//! What a launch moves between hosts, for many more of them than anybody has: `cargo run -p xtask -- hosts [--check]`.
//!
//! Up to some hundreds of ranks the numbers are those of the schedules, split as a launch would split them. Beyond, they are those
//! of laws, and every law is held against all schedules that are split.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use wgccl::collective::Collective;
use wgccl::element::DataType;
use wgccl::lower::Split;
use wgccl::proof::{Options, prove};
use wgccl::schedule::{Algorithm, Placement, Recipe};

/// Ranks of a host.
const EACH: u32 = 8;
/// Hosts for which schedules are split; of algorithms whose proofs grow faster, fewer.
const SPLIT: [u32; 5] = [2, 4, 8, 16, 32];
/// Hosts of the page.
const SHOWN: [u32; 6] = [1, 2, 8, 64, 512, 8192];
/// Under the root.
const PAGE: &str = "docs/scale.md";
const BEGIN: &str = "<!-- hosts: begin -->\n";
const END: &str = "<!-- hosts: end -->\n";

/// What a launch takes of the host that it takes most of. Bytes are multiples of the payload of one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    /// Bytes that leave it.
    bytes: f64,
    /// Messages that leave it.
    messages: f64,
    /// Epochs, between which hosts wait for each other.
    epochs: f64,
    /// Bytes of inputs, outputs, slots, and copies of what lies on other hosts.
    memory: f64,
}

/// How an all-reduce grows with hosts.
struct Law {
    algorithm: Algorithm,
    /// What it says for this number of hosts, a power of two above 1.
    cost: fn(f64) -> Cost,
    /// For people.
    bytes: &'static str,
    epochs: &'static str,
    sensible: &'static str,
}

const P: f64 = EACH as f64;

const LAWS: [Law; 10] = [
    Law {
        algorithm: Algorithm::Ring,
        cost: |h| Cost {
            bytes: 2.0 * (P * h - 1.0) / (P * h),
            messages: 2.0 * h + 1.0,
            epochs: 2.0 * h + 1.0,
            memory: 26.0 + 1.0 / (P * h),
        },
        bytes: "2(P-1)/P",
        epochs: "2H+1",
        sensible: "large payloads on few hosts: every element passes every host twice, one after the other",
    },
    Law {
        algorithm: Algorithm::BidirectionalRing,
        cost: |h| Cost {
            bytes: 2.0 * (P * h - 1.0) / (P * h),
            messages: if h > 2.0 { 4.0 * h + 2.0 } else { 2.0 * h + 1.0 },
            epochs: 2.0 * h + 1.0,
            memory: 17.0 + 1.0 / (P * h),
        },
        bytes: "2(P-1)/P, half of it each way",
        epochs: "2H+1",
        sensible: "as ring, where links carry both ways at once",
    },
    Law {
        algorithm: Algorithm::Hierarchical,
        cost: |h| Cost {
            bytes: 2.0 * (h - 1.0) / h,
            messages: 2.0 * (h - 1.0),
            epochs: 2.0 * h - 1.0,
            memory: if h > 2.0 { 21.0 } else { 19.0 },
        },
        bytes: "2(H-1)/H, the least there can be",
        epochs: "2H-1",
        sensible: "everything from some 100 KiB on, on more hosts than should all talk to each other: its exchange between them is a ring",
    },
    Law {
        algorithm: Algorithm::HierarchicalTwoPhase,
        cost: |h| Cost { bytes: 2.0 * (h - 1.0) / h, messages: 2.0 * (h - 1.0), epochs: 3.0, memory: 19.0 - 1.0 / h },
        bytes: "2(H-1)/H, the least there can be",
        epochs: "3",
        sensible: "nearly everything, up to some hundreds of hosts: few epochs, and a message to every other host in two of them",
    },
    Law {
        algorithm: Algorithm::HierarchicalOnePhase,
        cost: |h| Cost { bytes: h - 1.0, messages: h - 1.0, epochs: 2.0, memory: 16.0 + h },
        bytes: "H-1",
        epochs: "2",
        sensible: "two hosts, where nothing moves fewer bytes, and small payloads on some tens of hosts",
    },
    Law {
        algorithm: Algorithm::HierarchicalDoubling,
        cost: |h| Cost { bytes: h.log2(), messages: h.log2(), epochs: h.log2() + 1.0, memory: 16.0 + 2.0 * h.log2() },
        bytes: "log H",
        epochs: "1 + log H",
        sensible: "payloads up to some 100 KiB on any number of hosts: the fewest messages, and an eighth of what recursive-doubling moves",
    },
    Law {
        algorithm: Algorithm::HalvingDoubling,
        cost: |h| Cost {
            bytes: 16.0 * (1.0 - 1.0 / h),
            messages: h.log2() * (h.log2() + 3.0) / 2.0,
            epochs: 2.0 * h.log2(),
            memory: 32.0 - 16.0 / h,
        },
        bytes: "16(1-1/H)",
        epochs: "2 log H",
        sensible: "ranks that are in no groups: few epochs, but every rank sends for itself",
    },
    Law {
        algorithm: Algorithm::RecursiveDoubling,
        cost: |h| Cost {
            bytes: 8.0 * h.log2(),
            messages: h.log2(),
            epochs: h.log2() + 1.0,
            memory: 32.0 + 8.0 * h.log2(),
        },
        bytes: "8 log H",
        epochs: "1 + log H",
        sensible: "the smallest payloads of ranks that are in no groups",
    },
    Law {
        algorithm: Algorithm::TwoPhase,
        cost: |h| Cost { bytes: 9.0 * (h - 1.0) / h, messages: 2.0 * (h - 1.0), epochs: 2.0, memory: 25.0 - 9.0 / h },
        bytes: "9(H-1)/H",
        epochs: "2",
        sensible: "up to some tens of hosts: two epochs, but a message to every other host in each",
    },
    Law {
        algorithm: Algorithm::OnePhase,
        cost: |h| Cost { bytes: 8.0 * (h - 1.0), messages: h - 1.0, epochs: 2.0, memory: 16.0 + 8.0 * h },
        bytes: "8(H-1)",
        epochs: "2",
        sensible: "a few hosts and a few KiB: memory and bytes grow with the ranks",
    },
];

/// By the schedule itself, split.
fn split(algorithm: Algorithm, hosts: u32) -> Result<Cost, String> {
    let (ranks, placement) = (hosts * EACH, Placement::even(hosts * EACH, hosts));
    let mut recipe = Recipe::new(Collective::AllReduce, ranks).algorithm(algorithm);
    if algorithm.has_groups() {
        recipe = recipe.groups(placement.groups());
    }
    let failed = |error: &dyn std::fmt::Display| format!("{algorithm} of {ranks} ranks: {error}");
    let schedule = recipe.build().map_err(|error| failed(&error))?;
    let proved = prove(schedule, Options::default()).map_err(|error| failed(&error))?;
    let split = Split::new(&proved, &placement).map_err(|error| failed(&error))?;
    // Every chunk is equally long.
    let count = 64 * ranks as usize;
    let payload = proved.payload(count, DataType::F32).map_err(|error| failed(&error))?;
    let links = split.links(&payload);
    let payload_bytes = (count * DataType::F32.bytes()) as f64;
    let of = |host: u32| links.iter().filter(move |link| link.from == host);
    let bytes = (0..hosts).map(|host| of(host).map(|link| link.bytes).sum::<u64>()).max().unwrap_or(0);
    let messages = (0..hosts).map(|host| of(host).map(|link| link.messages).sum::<usize>()).max().unwrap_or(0);
    let places = split.parts().iter().map(|part| part.proved().address_map().len()).max().unwrap_or(0);
    Ok(Cost {
        bytes: bytes as f64 / payload_bytes,
        messages: messages as f64,
        epochs: f64::from(split.epochs()),
        memory: (places * payload.chunk_bytes()) as f64 / payload_bytes,
    })
}

/// Where the law does not say what the schedule does.
fn hold(law: &Law, hosts: u32) -> Result<(), String> {
    let (said, found) = ((law.cost)(f64::from(hosts)), split(law.algorithm, hosts)?);
    let pairs = [
        (said.bytes, found.bytes),
        (said.messages, found.messages),
        (said.epochs, found.epochs),
        (said.memory, found.memory),
    ];
    match pairs.iter().all(|(said, found)| (said - found).abs() < 1e-9) {
        true => Ok(()),
        false => Err(format!("{} over {hosts} hosts: the law says {said:?}, the schedule {found:?}", law.algorithm)),
    }
}

/// What an epoch, a message and a byte take, of the model that compares algorithms.
const LATENCY: f64 = 5e-6;
const MESSAGE: f64 = 1e-6;
const BANDWIDTH: f64 = 25e9;
const PAYLOADS: [(&str, f64); 4] =
    [("1 KiB", 1024.0), ("256 KiB", 262_144.0), ("16 MiB", 16_777_216.0), ("1 GiB", 1_073_741_824.0)];

fn table() -> String {
    let mut text =
        String::from("| all-reduce | bytes out of a host | epochs | sensible for |\n| --- | --- | --- | --- |\n");
    for law in &LAWS {
        let _ = writeln!(text, "| `{}` | {} | {} | {} |", law.algorithm, law.bytes, law.epochs, law.sensible);
    }
    let head: Vec<String> = SHOWN.iter().map(|hosts| format!("{} on {hosts}", hosts * EACH)).collect();
    type Of = fn(Cost) -> String;
    let columns: [(&str, Of); 4] = [
        ("Bytes that leave a host, as multiples of a rank's payload", |cost| format!("{:.2}", cost.bytes)),
        ("Messages that leave a host", |cost| format!("{:.0}", cost.messages)),
        ("Epochs", |cost| format!("{:.0}", cost.epochs)),
        ("Memory of a host, as multiples of a rank's payload: inputs, outputs, slots, copies", |cost| {
            format!("{:.1}", cost.memory)
        }),
    ];
    for (title, of) in columns {
        let _ = write!(text, "\n{title}, by ranks on hosts:\n\n| all-reduce | {} |\n", head.join(" | "));
        let _ = writeln!(text, "|{}", " --- |".repeat(SHOWN.len() + 1));
        for law in &LAWS {
            let cells = SHOWN.iter().map(|&hosts| match hosts {
                1 => split(law.algorithm, 1).map_or_else(|_| "?".to_owned(), of),
                hosts => of((law.cost)(f64::from(hosts))),
            });
            let _ = writeln!(text, "| `{}` | {} |", law.algorithm, cells.collect::<Vec<_>>().join(" | "));
        }
    }
    let _ = write!(
        text,
        "\nThe least by a model of {:.0} us for each epoch, {:.0} us for each message and {:.0} GB/s out of each host, which is no measurement:\n\n| payload | {} |\n|{}\n",
        LATENCY * 1e6,
        MESSAGE * 1e6,
        BANDWIDTH / 1e9,
        head[1..].join(" | "),
        " --- |".repeat(SHOWN.len())
    );
    for (name, bytes) in PAYLOADS {
        let least = SHOWN[1..].iter().map(|&hosts| {
            let time = |law: &&Law| {
                let cost = (law.cost)(f64::from(hosts));
                cost.epochs * LATENCY + cost.messages * MESSAGE + cost.bytes * bytes / BANDWIDTH
            };
            let all = LAWS.iter().map(|law| (law.algorithm, time(&law)));
            all.min_by(|a, b| a.1.total_cmp(&b.1)).map_or_else(String::new, |(algorithm, _)| format!("`{algorithm}`"))
        });
        let _ = writeln!(text, "| {name} | {} |", least.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// The page with its tables as they are to be.
fn wanted(page: &str) -> Result<String, String> {
    let marked = || page.find(BEGIN).zip(page.find(END)).ok_or_else(|| format!("{PAGE} has no place for tables"));
    let (begin, end) = marked()?;
    Ok(format!("{}{}{}", &page[..begin + BEGIN.len()], table(), &page[end..]))
}

/// Holds the laws against the schedules and writes the page's tables.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    laws()?;
    let path = root.join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    fs::write(&path, wanted(&page)?).map_err(|error| format!("{PAGE}: {error}"))
}

/// Fails where a law does not hold, or the page is stale.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    laws()?;
    let page = fs::read_to_string(root.join(PAGE)).map_err(|error| format!("{PAGE}: {error}"))?;
    match wanted(&page)? == page {
        true => Ok(()),
        false => Err(format!("{PAGE} is stale; run: cargo run -p xtask -- hosts")),
    }
}

fn laws() -> Result<(), String> {
    let pairs = || LAWS.iter().flat_map(|law| SPLIT.iter().map(move |&hosts| (law, hosts)));
    pairs().try_for_each(|(law, hosts)| hold(law, hosts))
}

#[cfg(test)]
mod tests {
    #[test]
    fn laws_hold_and_the_page_is_up_to_date() {
        assert_eq!(super::check(crate::root()), Ok(()));
    }
}
