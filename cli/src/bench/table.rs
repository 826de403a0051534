//! nccl-tests' report: `#` header, columns, footer, so that what reads theirs reads this.
//!
//! Widths and digits are theirs; what is new stands to the right of it.

use std::fmt::Write;

use wgccl::element::DataType;
use wgccl::schedule::Origin;

use super::number::{cell, general};
use super::request::Request;
use super::result::{Clock, Device, Group, Placement, Row, Samples, Summary, redop_name};
use super::size::Step;

/// Which optional columns and lines there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Columns {
    /// `-I`: statistics of the iterations.
    pub per_iteration: bool,
    /// `-S`: when each row was done.
    pub timestamps: bool,
    /// `-M`: device memory in the footer.
    pub memory: bool,
}

/// Writes a report piece by piece, as rows come.
#[derive(Debug)]
pub struct Table {
    columns: Columns,
    devices: Vec<Device>,
    last: Option<(Group, Origin)>,
    user_bytes: u64,
    window_bytes: u64,
}

/// Ranks that get a line each.
const SHOWN_RANKS: u32 = 16;

impl Table {
    /// A report of tests on `devices`.
    pub fn new(columns: Columns, devices: Vec<Device>) -> Self {
        Self { columns, devices, last: None, user_bytes: 0, window_bytes: 0 }
    }

    /// The lines before everything else.
    pub fn header(&self, request: &Request) -> String {
        let list = |items: &[String]| items.join(",");
        let ranks: Vec<String> = request.ranks.iter().map(u32::to_string).collect();
        let algorithms: Vec<String> = request.algorithms.iter().map(ToString::to_string).collect();
        let (step, unit) = match request.range.step {
            Step::Factor(by) => (by, "factor"),
            Step::Bytes(by) => (by, "bytes"),
        };
        let mut text = format!(
            "# wgccl version {}\n# Collective test starting: {}\n# nThread 1 nGpus 1 nRanks {} minBytes {} maxBytes {} \
             step: {step}({unit}) warmup iters: {} iters: {} agg iters: 1 validation: {} graph: 0 unalign: {}\n\
             # algorithm: {} sync: {} seed: {}",
            env!("CARGO_PKG_VERSION"),
            program(request),
            list(&ranks),
            request.range.first,
            request.range.last,
            request.warmup,
            request.iterations,
            request.checks,
            request.unalign,
            list(&algorithms),
            request.sync,
            request.seed,
        );
        if !request.sources.is_empty() {
            let sources: Vec<String> = request.sources.iter().map(u32::to_string).collect();
            let _ = write!(text, " sources: {}", list(&sources));
        }
        if self.columns.per_iteration {
            let _ = write!(text, "\n# Per-Iteration Report: i_* leave out the first {} iterations", request.skip);
        }
        text
    }

    /// A row, after the lines of its group if it is the first.
    pub fn row(&mut self, row: &Row) -> String {
        let mut text = String::new();
        // Of rows by `auto`, those that one algorithm was chosen for.
        let part = Some((row.group(), row.origin.clone()));
        if self.last != part {
            self.last = part;
            text.push_str(&self.group(row));
        }
        for (user, window) in row.placements().filter_map(|(_, placement, _)| placement.device_bytes) {
            self.user_bytes = self.user_bytes.max(user);
            self.window_bytes = self.window_bytes.max(window);
        }
        let pieces = row.out_of_place.pieces;
        if pieces > 1 {
            let _ = writeln!(
                text,
                "# {} bytes go in {pieces} pieces, one after the other: times are the sum, uploads not counted",
                row.size
            );
        }
        let _ = write!(
            text,
            "{:>12}  {:>12}  {:>8}  {:>6}  {:>6}",
            row.size,
            row.count,
            type_name(row.data_type),
            redop_name(row.redop),
            row.root
        );
        for (_, placement, samples) in row.placements() {
            text.push_str(&self.placement(placement, samples));
        }
        if row.in_place.is_none() {
            text.push_str(&self.no_placement());
        }
        if self.columns.timestamps {
            let _ = write!(text, "{:>21}", row.timestamp);
        }
        let Placement { mem_bw, roof_pct, dispatches, .. } = row.out_of_place;
        let dispatches = dispatches.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let roof = if roof_pct.is_nan() { format!("{:>6}", "-") } else { cell(roof_pct, 6) };
        let _ = write!(text, "  {}  {roof}  {dispatches:>5}", cell(mem_bw, 6));
        if self.columns.per_iteration {
            let _ = write!(text, "  {}", cell(row.out_of_place_per_iter.statistics.p50, 7));
        }
        text
    }

    fn placement(&self, placement: &Placement, samples: &Samples) -> String {
        let wrong = placement.nwrong.map_or_else(|| "N/A".to_owned(), |wrong| general(wrong as f64));
        let (time, alg, bus) = (cell(placement.time, 7), cell(placement.alg_bw, 6), cell(placement.bus_bw, 6));
        let mut text = format!("  {time}  {alg}  {bus}  {wrong:>6}");
        if self.columns.per_iteration {
            let s = &samples.statistics;
            for value in [s.min, s.max, s.p99, s.cv_pct] {
                let _ = write!(text, "  {}", cell(value, 7));
            }
        }
        text
    }

    /// What has no time has no numbers; scrapers count on the columns.
    fn no_placement(&self) -> String {
        let none = "N/A";
        let iterations = if self.columns.per_iteration { 4 } else { 0 };
        format!("  {none:>7}  {none:>6}  {none:>6}  {none:>6}") + &format!("  {none:>7}").repeat(iterations)
    }

    fn group(&self, row: &Row) -> String {
        let mut text = "#\n# Using devices\n".to_owned();
        let Some(device) = self.devices.get(row.device) else { return text };
        let index = device.index.map_or(-1, |index| index as i64);
        for rank in 0..row.ranks.min(SHOWN_RANKS) {
            let _ = writeln!(
                text,
                "#  Rank {rank:2} Group {:2} Pid {:6} on {:>10} device {index:2} [{}] {}",
                0,
                std::process::id(),
                "localhost",
                device.backend,
                device.name
            );
        }
        if row.ranks > SHOWN_RANKS {
            let _ = writeln!(text, "#  and {} more ranks on the same device", row.ranks - SHOWN_RANKS);
        }
        if let Some(driver) = &device.driver {
            let _ = writeln!(text, "# Driver: {driver}, {}", device.kind);
        }
        let mode = match (row.out_of_place.dispatch_name(), device.threads) {
            (Some(mode), _) => format!(", {mode}"),
            (None, Some(threads)) => format!(", {threads} threads"),
            (None, None) => String::new(),
        };
        let clock = match row.out_of_place.clock {
            Clock::Device => "GPU timestamps around the dispatches",
            Clock::Host => "host clock, submission to completion",
        };
        let _ = writeln!(
            text,
            "# {} by {} ({}{}), {} ranks{mode}; time: {clock}\n\
             # roof%: membw in percent of a copy of all ranks' vectors on this device (membw, roof%, disp{}: out-of-place)",
            row.collective,
            row.origin,
            if row.algorithm_auto { "auto, " } else { "" },
            row.sync,
            row.ranks,
            if self.columns.per_iteration { ", i_p50" } else { "" }
        );
        text.push_str(&self.captions());
        text
    }

    fn captions(&self) -> String {
        let line = |first: [&str; 5], placement: &[&str; 4], iterations: [&str; 4], stamp: &str, new: [&str; 4]| {
            let [size, count, data_type, op, root] = first;
            let mut text = format!("# {size:>10}  {count:>12}  {data_type:>8}  {op:>6}  {root:>6}");
            for _ in 0..2 {
                let [time, alg, bus, wrong] = placement;
                let _ = write!(text, "  {time:>7}  {alg:>6}  {bus:>6}  {wrong:>6}");
                if self.columns.per_iteration {
                    iterations.iter().for_each(|name| text.push_str(&format!("  {name:>7}")));
                }
            }
            if self.columns.timestamps {
                let _ = write!(text, "{stamp:>21}");
            }
            let [membw, roof, disp, p50] = new;
            let _ = write!(text, "  {membw:>6}  {roof:>6}  {disp:>5}");
            if self.columns.per_iteration {
                let _ = write!(text, "  {p50:>7}");
            }
            text + "\n"
        };
        let width = if self.columns.per_iteration { 69 } else { 33 };
        let empty = format!("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}", "", "", "", "", "");
        let (apart, in_place) = ("out-of-place", "in-place");
        let names = ["size", "count", "type", "redop", "root"];
        let units = ["(B)", "(elements)", "", "", ""];
        let iterations = (["i_min", "i_max", "i_p99", "i_cv%"], ["(us)", "(us)", "(us)", "(%)"]);
        format!(
            "#\n{empty}{apart:^width$}{in_place:^width$}\n{}{}",
            line(
                names,
                &["time", "algbw", "busbw", "#wrong"],
                iterations.0,
                "timestamp",
                ["membw", "roof%", "disp", "i_p50"]
            ),
            line(
                units,
                &["(us)", "(GB/s)", "(GB/s)", ""],
                iterations.1,
                "%Y-%m-%d %H:%M:%S",
                ["(GB/s)", "(%)", "(n)", "(us)"]
            ),
        )
    }

    /// The lines after everything else.
    pub fn footer(&self, request: &Request, summary: &Summary, errors: &[String]) -> String {
        let verdict = |good| if good { "OK" } else { "FAILED" };
        let mut text = format!(
            "# {:<20} : {} {}\n# {:<20} : {} {}\n#\n# Collective test concluded: {}\n",
            "Out of bounds values",
            summary.wrong,
            verdict(summary.wrong == 0),
            "Avg bus bandwidth",
            general(summary.average_bus_bw),
            summary.fast_enough().map_or("", verdict),
            program(request),
        );
        if self.columns.memory {
            let total = self.user_bytes + self.window_bytes;
            let [user, window, total] = [self.user_bytes, self.window_bytes, total].map(memory);
            let _ = writeln!(
                text,
                "# {:<20} : User-Allocated {user} | Collective {window} | Total  {total}",
                "GPU memory usage"
            );
        }
        text.push('#');
        for error in errors {
            let _ = write!(text, "\n# error: {}", error.replace('\n', "\n#   "));
        }
        text
    }
}

fn program(request: &Request) -> String {
    format!("wgccl bench {}", request.collective)
}

/// As nccl-tests calls it.
fn type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::F32 => "float",
        DataType::F16 => "half",
        DataType::BF16 => "bfloat16",
        DataType::F64 => "double",
        DataType::I32 => "int32",
        DataType::U32 => "uint32",
        DataType::I64 => "int64",
        DataType::U64 => "uint64",
        DataType::I8 => "int8",
        DataType::U8 => "uint8",
        other => other.name(),
    }
}

fn memory(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let (amount, unit) = units
        .into_iter()
        .find(|(factor, _)| bytes >= *factor)
        .map_or((bytes as f64, "B"), |(factor, unit)| (bytes as f64 / factor as f64, unit));
    let decimals = match amount {
        a if a < 10.0 => 2,
        a if a < 100.0 => 1,
        _ => 0,
    };
    format!("{amount:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::row;

    fn table(columns: Columns) -> Table {
        let device = Device {
            index: Some(0),
            name: "Device".to_owned(),
            backend: "vulkan".to_owned(),
            kind: "software".to_owned(),
            driver: Some("driver 1".to_owned()),
            threads: None,
        };
        Table::new(columns, vec![device])
    }

    #[test]
    fn columns_are_those_of_nccl_tests() {
        let mut table = table(Columns::default());
        let text = table.row(&row(1024, 12.5));
        let lines: Vec<&str> = text.lines().collect();
        let [names, units, values] = lines[lines.len() - 3..] else { panic!("{text}") };
        assert_eq!(
            names,
            "#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   \
             busbw  #wrong   membw   roof%   disp"
        );
        assert_eq!(
            units,
            "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  \
             (GB/s)          (GB/s)     (%)    (n)"
        );
        assert_eq!(
            values,
            "        1024           256     float     sum      -1    12.50    0.08    0.12       0    12.50    0.08    \
             0.12     N/A    1.00   50.00      6"
        );
        assert!(text.contains("#  Rank  3 Group  0 Pid "), "{text}");
        // The second row of a group is nothing but the row.
        assert_eq!(table.row(&row(2048, 12.5)).lines().count(), 1);
    }

    #[test]
    fn optional_columns_keep_the_order() {
        let mut table = table(Columns { per_iteration: true, timestamps: true, memory: true });
        let text = table.row(&row(1024, 12.5));
        let lines: Vec<&str> = text.lines().collect();
        let [names, _, values] = lines[lines.len() - 3..] else { panic!("{text}") };
        let names: Vec<&str> = names.split_whitespace().skip(1).collect();
        let placement = ["time", "algbw", "busbw", "#wrong", "i_min", "i_max", "i_p99", "i_cv%"];
        assert_eq!(names[5..13], placement);
        assert_eq!(names[13..21], placement);
        assert_eq!(names[21..], ["timestamp", "membw", "roof%", "disp", "i_p50"]);
        // The timestamp is two words.
        let values: Vec<&str> = values.split_whitespace().collect();
        assert_eq!(values.len(), names.len() + 1, "{values:?}");
        // 0.9, 1 and 1.1 times the time.
        assert_eq!((&values[9..12], values[26]), (&["11.25", "13.75", "13.75"][..], "12.50"));
        let widths: Vec<usize> = lines[lines.len() - 3..].iter().map(|line| line.len()).collect();
        assert!(widths.iter().all(|&width| width == widths[0]), "{widths:?}\n{text}");
    }

    #[test]
    fn memory_has_three_digits() {
        for (bytes, text) in
            [(0, "0.00 B"), (1023, "1023 B"), (1024, "1.00 KB"), (3 << 19, "1.50 MB"), (64 << 30, "64.0 GB")]
        {
            assert_eq!(memory(bytes), text);
        }
    }
}
