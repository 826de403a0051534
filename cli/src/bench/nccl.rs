//! What nccl-tests wrote: its table, with the `#` lines around it, or its JSON (`-J`).
//!
//! Columns are found by their names, so that older tables (no `root`, `error` for `#wrong`), other widths, `-I` and `-S` are read
//! alike. A reader's memory is a multiple of the text, whatever it says.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;

use super::result::redop_name;
use crate::text::one_line;

/// One placement of one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    /// Where the text says it.
    pub(super) collective: Option<Collective>,
    /// Where it lists them.
    pub(super) ranks: Option<u32>,
    pub(super) size: u64,
    /// By our names where we have the type and the operation.
    pub(super) data_type: String,
    pub(super) redop: String,
    pub(super) in_place: bool,
    /// Mean time in microseconds.
    pub(super) time: f64,
    /// Each iteration's, where it was reported.
    pub(super) times: Vec<f64>,
}

/// Columns of a table whose `#` lines are gone.
const COLUMNS: [&str; 13] =
    ["size", "count", "type", "redop", "root", "time", "algbw", "busbw", "#wrong", "time", "algbw", "busbw", "#wrong"];

/// Reads a table, or several.
///
/// # Errors
/// What is wrong with it, in one line.
pub(super) fn table(text: &str) -> Result<Vec<Test>, String> {
    let mut columns: Vec<&str> = COLUMNS.to_vec();
    let (mut collective, mut ranks) = (None, None);
    let mut tests = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> =
            line.trim_start_matches(['#', ' ', '\t']).split_whitespace().take(MOST_COLUMNS + 1).collect();
        if line.trim_start().starts_with('#') {
            match words[..] {
                ["Collective", "test", "starting:", .., program] => collective = named(program),
                ["Using", "devices"] => ranks = None,
                ["Rank", ..] => ranks = Some(ranks.unwrap_or(0_u32).saturating_add(1)),
                ["size", ..] => columns.clone_from(&words),
                _ => {}
            }
            continue;
        }
        // Other programs' lines stand between the rows of a log.
        if words.len() < 2 || !words[..2].iter().all(|word| word.parse::<u64>().is_ok()) {
            continue;
        }
        // A timestamp is two words.
        let expected = columns.len() + usize::from(columns.contains(&"timestamp"));
        if words.len() > MOST_COLUMNS {
            return Err(format!("line {number} has more fields than nccl-tests ever prints"));
        }
        if words.len() != expected {
            return Err(format!("line {number} has {} fields, and {expected} columns were announced", words.len()));
        }
        let of = |name: &str| columns.iter().position(|column| *column == name).and_then(|at| words.get(at).copied());
        let size = of("size").and_then(|size| size.parse().ok());
        let (Some(size), Some(data_type)) = (size, of("type")) else {
            return Err(format!("line {number}: its columns name no size and no type"));
        };
        let is_time = |column: &str| matches!(column, "time" | "cputime");
        let times = columns.iter().zip(&words).filter(|(column, _)| is_time(column)).map(|(_, word)| *word);
        for (in_place, time) in [false, true].into_iter().zip(times) {
            let time = match time.parse() {
                Ok(time) => time,
                Err(_) if matches!(time, "N/A" | "-") => continue,
                Err(_) => return Err(format!("line {number}: '{}' is no time", one_line(time, LONGEST))),
            };
            let (data_type, redop) = (type_name(data_type), op_name(of("redop").unwrap_or_default()));
            tests.push(Test { collective, ranks, size, data_type, redop, in_place, time, times: Vec::new() });
        }
    }
    match tests.is_empty() {
        true => Err("it is neither JSON nor a table of nccl-tests with a row".to_owned()),
        false => Ok(tests),
    }
}

/// More than nccl-tests has with all its flags.
const MOST_COLUMNS: usize = 64;
/// Of a name.
const LONGEST: usize = 24;

/// Reads JSON, whose text is plain already.
///
/// # Errors
/// What is wrong with it, in one line.
pub(super) fn json(value: Value) -> Result<Vec<Test>, String> {
    let Json { args, config, results } = Json::deserialize(value).map_err(|error| error.to_string())?;
    let collective = args.iter().find_map(|arg| named(arg).filter(|_| arg.contains("_perf")));
    let ranks = config.and_then(|config| config.devices).and_then(|devices| u32::try_from(devices.len()).ok());
    let mut tests = Vec::new();
    for Row { size, data_type, redop, out_of_place, in_place, out_of_place_per_iter, in_place_per_iter } in results {
        let (data_type, redop) = (type_name(&data_type), op_name(&redop));
        let placements = [(false, out_of_place, out_of_place_per_iter), (true, in_place, in_place_per_iter)];
        for (in_place, placement, samples) in placements {
            let Some(time) = placement.and_then(|placement| placement.time) else { continue };
            let times = samples.map_or_else(Vec::new, Samples::counted);
            let (data_type, redop) = (data_type.clone(), redop.clone());
            tests.push(Test { collective, ranks, size, data_type, redop, in_place, time, times });
        }
    }
    if tests.is_empty() { Err("it holds no result with a time".to_owned()) } else { Ok(tests) }
}

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    args: Vec<String>,
    config: Option<Config>,
    results: Vec<Row>,
}

#[derive(Deserialize)]
struct Config {
    devices: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct Row {
    size: u64,
    #[serde(rename = "type")]
    data_type: String,
    #[serde(default)]
    redop: String,
    out_of_place: Option<Measured>,
    in_place: Option<Measured>,
    out_of_place_per_iter: Option<Samples>,
    in_place_per_iter: Option<Samples>,
}

#[derive(Deserialize)]
struct Measured {
    /// `-C` measures the host's.
    #[serde(default, alias = "cpu_time", deserialize_with = "number")]
    time: Option<f64>,
}

#[derive(Deserialize)]
struct Samples {
    #[serde(default)]
    skipped_iterations: usize,
    #[serde(default)]
    times_us: Vec<f64>,
}

impl Samples {
    fn counted(mut self) -> Vec<f64> {
        self.times_us.drain(..self.skipped_iterations.min(self.times_us.len()));
        self.times_us
    }
}

/// NaN is a text there.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_f64())
}

/// The collective that a program is of: `./build/all_reduce_perf`, or our own command.
fn named(program: &str) -> Option<Collective> {
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = name.split_once("_perf").map_or(name, |(name, _)| name);
    let plain = |name: &str| name.replace(['-', '_'], "");
    Collective::ALL.iter().copied().find(|collective| plain(collective.name()) == plain(name))
}

fn type_name(name: &str) -> String {
    name.parse::<DataType>().map_or_else(|_| one_line(name, LONGEST), |data_type| data_type.name().to_owned())
}

/// Where nothing is reduced, older tables say nothing.
fn op_name(name: &str) -> String {
    match name {
        "" | "none" => redop_name(None).to_owned(),
        name => name.parse().map_or_else(|_| one_line(name, LONGEST), |op: Op| op.name().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tests: &[Test]) -> Vec<String> {
        let one = |test: &Test| {
            let collective = test.collective.map_or("?", Collective::name);
            let ranks = test.ranks.map_or_else(|| "?".to_owned(), |ranks| ranks.to_string());
            let place = if test.in_place { "in" } else { "out" };
            format!(
                "{collective} {ranks} {} {} {} {place} {} {:?}",
                test.size, test.data_type, test.redop, test.time, test.times
            )
        };
        tests.iter().map(one).collect()
    }

    #[test]
    fn columns_are_found_by_their_names() {
        const HEAD: &str = "# size count type redop root time algbw busbw #wrong time algbw busbw #wrong";
        for (text, rows) in [
            // Of today, and with what a log has between.
            (
                format!("# Collective test starting: all_reduce_perf\n# Using devices\n#  Rank  0 Group  0 x\n#  Rank  1 Group  0 x\n{HEAD}\n\
                         #  (B)\n  8  2  float  sum  -1  5.10  0.00  0.00  0  5.20  0.00  0.00  N/A\nhost:1:2 [0] NCCL INFO x\n"),
                &["all-reduce 2 8 f32 sum out 5.1 []", "all-reduce 2 8 f32 sum in 5.2 []"][..],
            ),
            // Older: no root, another name for what was wrong, narrower, and not said of what.
            (
                "#   Rank  0 Pid 1\n#  size   count  type  redop  time  algbw  busbw  error  time  algbw  busbw  error\n\
                 1024 256 half max 7 1 1 0e+00 N/A N/A N/A N/A\r\n"
                    .to_owned(),
                &["? 1 1024 f16 max out 7 []"],
            ),
            // Older, of what reduces nothing.
            (
                "# size count type time algbw busbw error time algbw busbw error\n64 4 int8 7e+01 1 1 0 8.0 1 1 0\n".to_owned(),
                &["? ? 64 i8 none out 70 []", "? ? 64 i8 none in 8 []"],
            ),
            // -C, -I and -S.
            (
                "# Collective test starting: build/sendrecv_perf_mpi\n\
                 # size count type redop root cputime algbw busbw #wrong i_min i_max i_p99 i_cv% cputime algbw busbw #wrong i_min i_max \
                 i_p99 i_cv% timestamp\n\
                 64 4 f8e4m9 none -1 1 0 0 0 1 1 1 1 2 0 0 N/A 1 1 1 1 2026-01-02 03:04:05\n"
                    .to_owned(),
                &["send-recv ? 64 f8e4m9 none out 1 []", "send-recv ? 64 f8e4m9 none in 2 []"],
            ),
            // Without its `#` lines.
            ("8 2 float sum -1 5 0 0 0 6 0 0 0\n".to_owned(), &["? ? 8 f32 sum out 5 []", "? ? 8 f32 sum in 6 []"]),
            // Two runs in one file.
            (
                format!("# Collective test starting: alltoall_perf\n{HEAD}\n8 1 float none -1 5 0 0 0 6 0 0 N/A\n\
                         # Collective test starting: hypercube_perf\n16 1 float none -1 5 0 0 0 N/A 0 0 N/A\n"),
                &["all-to-all ? 8 f32 none out 5 []", "all-to-all ? 8 f32 none in 6 []", "? ? 16 f32 none out 5 []"],
            ),
        ] {
            assert_eq!(shown(&table(&text).unwrap()), rows, "{text}");
        }
    }

    #[test]
    fn a_malformed_table_gets_one_clear_error() {
        for (text, why) in [
            (String::new(), "neither JSON nor a table"),
            ("# size count type time\nhello world\n".to_owned(), "neither JSON nor a table"),
            ("# x\n8 2 float sum\n".to_owned(), "line 2 has 4 fields, and 13 columns were announced"),
            ("8 2 float sum -1 x\u{1b}[2J 0 0 0 6 0 0 0\n".to_owned(), "line 1: 'x [2J' is no time"),
            ("# size count sort time\n8 2 float 3\n".to_owned(), "line 2: its columns name no size and no type"),
            (format!("# size {}\n8 {}\n", "x ".repeat(99999), "8 ".repeat(99999)), "line 2 has more fields than"),
            ("# size\n99999999999999999999 1\n".to_owned(), "neither JSON nor a table"),
            (format!("#\n{}", "8 1 float sum -1 N/A 0 0 0 N/A 0 0 0\n".repeat(9)), "neither JSON nor a table"),
        ] {
            let error = table(&text).unwrap_err();
            assert!(error.contains(why) && error.lines().count() == 1, "{why}: {error}");
        }
    }

    #[test]
    fn json_is_read() {
        let value = serde_json::json!({
            "version": 3,
            "args": ["./build/all_gather_perf", "-b", "8", "-J", "reduce.json"],
            "config": { "nthreads": 1, "ngpus": 2, "graph": "false", "devices": [{ "rank": 0 }, { "rank": 1 }] },
            "results": [
                {
                    "size": 64, "count": 8, "type": "double", "redop": "none", "root": -1,
                    "out_of_place": { "time": 12.5, "alg_bw": 1.0, "bus_bw": 0.5, "nwrong": "0" },
                    "in_place": { "cpu_time": 13.5, "alg_bw": "nan" },
                    "out_of_place_per_iter": { "skipped_iterations": 1, "times_us": [99.0, 12.0, 13.0], "p50_us": 12.0 },
                    "experiment_name": "x",
                },
                { "size": 128, "type": "float", "out_of_place": { "time": "nan" }, "in_place": null },
            ],
            "average_bus_bandwidth": { "bandwidth": 1.0, "okay": "true" },
        });
        let expected = ["all-gather 2 64 f64 none out 12.5 [12.0, 13.0]", "all-gather 2 64 f64 none in 13.5 []"];
        assert_eq!(shown(&json(value.clone()).unwrap()), expected);
        for (key, bad, why) in [
            ("results", serde_json::json!([]), "no result"),
            ("results", serde_json::json!({}), "invalid type"),
            ("results", serde_json::json!([{ "size": -8, "type": "float" }]), "invalid value"),
            ("results", serde_json::json!([{ "size": 8 }]), "missing field `type`"),
            ("args", 7.into(), "invalid type"),
        ] {
            let mut value = value.clone();
            value[key] = bad;
            let error = json(value).unwrap_err();
            assert!(error.contains(why) && error.lines().count() == 1, "{why}: {error}");
        }
    }
}
