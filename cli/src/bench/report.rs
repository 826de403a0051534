//! nccl-tests' report: sections of `#` header, rows and footer, one after the other.
//!
//! What its columns do not tell apart, another algorithm say, is another section, and each is whole: readers of nccl-tests
//! know of one, and many take the last. Between the rows of a section stands nothing.

use std::collections::BTreeSet;
use std::fmt::Write;

use wgccl::schedule::Placement;

use super::number::general;
use super::request::Request;
use super::result::{Clock, Device, Row};
use super::size::Step;
use super::summary::{Summary, is_one_section};
use super::table::Columns;
use crate::device::Process;

/// Writes a report piece by piece, as rows come.
#[derive(Debug)]
pub struct Report<'a> {
    columns: Columns,
    request: &'a Request,
    devices: Vec<Device>,
    /// What `WGCCL_MIN_BW` asks for.
    least_bus_bw: Option<f64>,
    /// The rows of the section that is open, without their times.
    rows: Vec<Row>,
}

/// Ranks that get a line each.
const SHOWN_RANKS: u32 = 16;

impl<'a> Report<'a> {
    /// A report of tests on `devices`.
    pub fn new(columns: Columns, request: &'a Request, devices: Vec<Device>, least_bus_bw: Option<f64>) -> Self {
        Self { columns, request, devices, least_bus_bw, rows: Vec::new() }
    }

    /// A row; before it, if it is the first of a section, the footer of the last one and a header.
    pub fn row(&mut self, row: &Row) -> String {
        let mut text = String::new();
        if self.rows.last().is_none_or(|last| !is_one_section(self.request, last, row)) {
            if !self.rows.is_empty() {
                let _ = writeln!(text, "{}", self.footer(&[]));
            }
            self.rows.clear();
            text.push_str(&self.header(row));
        }
        text.push_str(&self.columns.row(row));
        let mut kept = row.clone();
        let samples = kept.out_of_place_per_iter.iter_mut().chain(&mut kept.in_place_per_iter);
        samples.for_each(|samples| samples.times_us = Vec::new());
        self.rows.push(kept);
        text
    }

    /// The lines after everything else.
    pub fn finish(&self, errors: &[String]) -> String {
        let head = if self.rows.is_empty() { self.preamble(&self.request.ranks) } else { String::new() };
        head + &self.footer(errors)
    }

    fn preamble(&self, ranks: &[u32]) -> String {
        let request = self.request;
        let (step, unit) = match request.range.step {
            Step::Factor(by) => (by, "factor"),
            Step::Bytes(by) => (by, "bytes"),
        };
        let mut text = format!(
            "# wgccl version {}\n# Collective test starting: {}\n# nThread 1 nGpus 1 minBytes {} maxBytes {} \
             step: {step}({unit}) warmup iters: {} iters: {} agg iters: 1 validation: {} graph: 0 unalign: {}\n\
             # nRanks {} seed: {}",
            env!("CARGO_PKG_VERSION"),
            program(request),
            request.range.first,
            request.range.last,
            request.warmup,
            request.iterations,
            request.checks,
            request.unalign,
            list(ranks),
            request.seed,
        );
        if !request.sources.is_empty() {
            let _ = write!(text, " sources: {}", list(&request.sources));
        }
        if self.columns.per_iteration {
            let _ = write!(text, "\n# Per-Iteration Report: i_* leave out the first {} iterations", request.skip);
        }
        text + "\n"
    }

    fn header(&self, row: &Row) -> String {
        let request = self.request;
        let mut text = self.preamble(&[row.ranks]);
        text.push_str("#\n# Using devices\n");
        if let Some(device) = self.devices.get(row.device) {
            text.push_str(&ranks(row, device, request.place.as_ref()));
            text.push_str(&title(row, device));
        }
        if self.columns.ours {
            let _ = writeln!(
                text,
                "# roof%: membw in percent of a copy of all ranks' vectors on this device (membw, roof%, disp{}: {})",
                if self.columns.per_iteration { ", i_p50" } else { "" },
                if row.in_place_only() { "in-place" } else { "out-of-place" },
            );
        } else if row.in_place.is_none() {
            let _ = writeln!(
                text,
                "# in-place: {} has none, so its numbers are those of out-of-place again, and none was checked (N/A)",
                row.collective
            );
        }
        if row.in_place_only() {
            let _ = writeln!(
                text,
                "# out-of-place: {} is right in place only, so it was not measured out of place (N/A)",
                row.origin
            );
        }
        text + &self.columns.captions()
    }

    fn footer(&self, errors: &[String]) -> String {
        let verdict = |good| if good { "OK" } else { "FAILED" };
        let summary = Summary::of(self.request, &self.rows, self.least_bus_bw);
        let mut text = self.chosen() + &self.pieces() + &self.best();
        let _ = write!(
            text,
            "# {:<20} : {} {}\n# {:<20} : {} {}\n#\n# Collective test concluded: {}\n",
            "Out of bounds values",
            summary.wrong,
            verdict(summary.wrong == 0),
            "Avg bus bandwidth",
            general(summary.average_bus_bw),
            summary.fast_enough().map_or("", verdict),
            program(self.request),
        );
        if self.columns.memory {
            let most = |of: fn((u64, u64)) -> u64| {
                let placements = self.rows.iter().flat_map(Row::placements);
                placements.filter_map(|(_, placement, _)| placement.device_bytes.map(of)).max().unwrap_or(0)
            };
            let (user, window) = (most(|(user, _)| user), most(|(_, window)| window));
            let [user, window, total] = [user, window, user + window].map(memory);
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

    /// What was chosen for which sizes, where that differs or was left to `auto`.
    fn chosen(&self) -> String {
        let way = |row: &Row| (row.origin.to_string(), row.dispatch_name());
        let runs: Vec<&[Row]> = self.rows.chunk_by(|a, b| way(a) == way(b)).collect();
        if runs.len() < 2 && !self.rows.first().is_some_and(|row| row.algorithm_auto) {
            return String::new();
        }
        let mut text = String::new();
        for run in runs {
            let ([first, ..], [.., last]) = (run, run) else { continue };
            let mode = first.dispatch_name().map_or_else(String::new, |mode| format!(", {mode}"));
            let _ = match first.size == last.size {
                true => writeln!(text, "# chosen: {}{mode} for {} bytes", first.origin, first.size),
                false => writeln!(text, "# chosen: {}{mode} for {} to {} bytes", first.origin, first.size, last.size),
            };
        }
        text
    }

    fn pieces(&self) -> String {
        let mut text = String::new();
        for (size, pieces) in self.rows.iter().filter_map(|row| Some((row.size, row.first()?.0.pieces))) {
            if pieces > 1 {
                let _ = writeln!(
                    text,
                    "# {size} bytes went in {pieces} pieces, one after the other: times are the sum, uploads not counted"
                );
            }
        }
        text
    }

    /// How near to the device's memory a section came, where that has no columns.
    fn best(&self) -> String {
        let placements = self.rows.iter().filter_map(|row| Some((row.size, row.first()?.0)));
        let near = placements.filter(|(_, placement)| placement.roof_pct.is_finite());
        match near.max_by(|(_, a), (_, b)| a.roof_pct.total_cmp(&b.roof_pct)) {
            Some((size, placement)) if !self.columns.ours => format!(
                "# {:<20} : at most {:.1} % of a copy, {:.2} GB/s, at {size} bytes (--columns wgccl: of every row)\n",
                "Memory bandwidth", placement.roof_pct, placement.mem_bw
            ),
            _ => String::new(),
        }
    }
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

fn program(request: &Request) -> String {
    format!("wgccl bench {}", request.collective)
}

/// Over several processes each rank is on its own's device.
fn ranks(row: &Row, device: &Device, place: Option<&Placement>) -> String {
    let mut text = String::new();
    let processes = &device.processes;
    let placement = place.cloned().unwrap_or_else(|| Placement::even(row.ranks, processes.len().max(1) as u32));
    let of_rank = |rank| processes.get(placement.device(rank) as usize);
    for rank in 0..row.ranks.min(SHOWN_RANKS) {
        let (pid, host, index, backend, name) = match of_rank(rank) {
            Some(Process { pid, host, index, name, backend }) => (*pid, host.as_str(), index, backend, name),
            None => (std::process::id(), "localhost", &device.index, &device.backend, &device.name),
        };
        let index = index.map_or(-1, |index| index as i64);
        let _ = writeln!(
            text,
            "#  Rank {rank:2} Group {:2} Pid {pid:6} on {host:>10} device {index:2} [{backend}] {name}",
            0,
        );
    }
    if row.ranks > SHOWN_RANKS {
        let on = if processes.is_empty() { "the same device" } else { "these processes" };
        let _ = writeln!(text, "#  and {} more ranks on {on}", row.ranks - SHOWN_RANKS);
    }
    if let Some(driver) = &device.driver {
        let _ = writeln!(text, "# Driver: {driver}, {}", device.kind);
    }
    text
}

/// What a section is of, in one line.
pub fn title(row: &Row, device: &Device) -> String {
    let algorithm = if row.algorithm_auto { "auto".to_owned() } else { row.origin.to_string() };
    let mode = match (row.dispatch_name(), device.threads) {
        (Some(mode), _) => format!(", {mode}"),
        (None, Some(threads)) => format!(", {threads} threads"),
        (None, None) => String::new(),
    };
    let clock = row.first().map_or("", |(placement, _)| match placement.clock {
        Clock::Device => "; time: GPU timestamps around the dispatches",
        Clock::Host => "; time: host clock, submission to completion",
    });
    let hosts = device.processes.iter().map(|process| &process.host).collect::<BTreeSet<_>>().len();
    let on = match device.processes.len() {
        0 => String::new(),
        processes => format!(" over {processes} processes on {hosts} host{}", if hosts == 1 { "" } else { "s" }),
    };
    let clock = if device.processes.is_empty() { clock.to_owned() } else { format!("{clock}, of the slowest process") };
    format!("# {} by {algorithm} ({}), {} ranks{on}{mode}{clock}\n", row.collective, row.sync, row.ranks)
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
    use wgccl::collective::Op;
    use wgccl::lower::Mode;
    use wgccl::schedule::Algorithm;

    use super::*;
    use crate::bench::testing::{apart, device, in_place_only, row};

    fn sections(rows: &[Row], columns: Columns, least: Option<f64>) -> Vec<String> {
        let request = Request::default();
        let mut report = Report::new(columns, &request, vec![device()], least);
        let mut text: String = rows.iter().map(|row| report.row(row) + "\n").collect();
        text += &report.finish(&["no\nmore".to_owned()]);
        text.split_inclusive("# Collective test concluded: wgccl bench all-reduce\n").map(str::to_owned).collect()
    }

    /// Types, operations, roots and repetitions have columns of their own, or are the same again.
    #[test]
    fn a_section_is_what_the_columns_do_not_tell_apart() {
        let base = row(1024, 10.0);
        let auto = Row { algorithm_auto: true, ..base.clone() };
        for (second, count) in [
            (row(2048, 10.0), 1),
            (Row { redop: Some(Op::Max), cycle: 1, root: 2, ..base.clone() }, 1),
            (Row { origin: Algorithm::Tree.into(), ..base.clone() }, 2),
            (Row { ranks: 8, ..base.clone() }, 2),
            (Row { device: 1, ..base.clone() }, 2),
            (auto.clone(), 2),
        ] {
            let all = sections(&[base.clone(), second.clone()], Columns::default(), None);
            assert_eq!(all.len(), count + 1, "{second:?}");
            for section in &all[..count] {
                for line in
                    ["# wgccl version", "# nThread 1", "# Using devices", "#       size ", "# Out of", "# Avg bus"]
                {
                    assert_eq!(section.matches(line).count(), 1, "{line}: {section}");
                }
                // Nothing stands between the rows.
                let rows: Vec<bool> = section.lines().map(|line| !line.starts_with('#')).collect();
                assert_eq!(rows.chunk_by(|a, b| a == b).count(), 3, "{section}");
            }
        }
        // One section, whatever was chosen for a size.
        let mut tree = Row { size: 4096, origin: Algorithm::Tree.into(), ..auto.clone() };
        apart(&mut tree).dispatch = Some(Mode::PerRank);
        let all = sections(&[auto.clone(), Row { size: 2048, ..auto }, tree], Columns::default(), None);
        assert_eq!(all.len(), 2);
        for line in
            ["by auto (neighbor)", "# chosen: ring, per-step for 1024 to 2048 bytes\n", ": tree, per-rank for 4096"]
        {
            assert!(all[0].contains(line), "{}", all[0]);
        }
    }

    #[test]
    fn each_section_has_its_own_sums() {
        let mut slow = Row { ranks: 8, ..row(1024, 10.0) };
        apart(&mut slow).bus_bw = 0.25;
        apart(&mut slow).nwrong = Some(3);
        slow.in_place = None;
        slow.in_place_per_iter = None;
        let all = sections(&[row(1024, 1.0), slow], Columns { memory: true, ..Columns::default() }, Some(1.0));
        for (section, lines) in all.iter().zip([
            ["values : 0 OK\n", "bandwidth    : 1.536 OK\n", "nRanks 4 seed", "Memory bandwidth     : at most 50.0 %"],
            [
                "values : 3 FAILED\n",
                "bandwidth    : 0.25 FAILED\n",
                "# in-place: all-reduce has none",
                "Total  1.00 MB",
            ],
        ]) {
            assert!(lines.iter().all(|line| section.contains(line)), "{lines:?}: {section}");
        }
        assert!(all[2].ends_with("#\n# error: no\n#   more"), "{}", all[2]);
        let none = sections(&[], Columns::default(), None);
        assert!(none[0].starts_with("# wgccl version") && none[0].contains("values : 0 OK"), "{none:?}");
    }

    #[test]
    fn a_section_says_that_it_is_in_place_only() {
        let only = in_place_only(row(1024, 1.0));
        let ours = Columns { ours: true, ..Columns::default() };
        let out_of_place = "# out-of-place: ring is right in place only, so it was not measured out of place (N/A)\n";
        for (row, columns, says, says_not) in [
            (
                &only,
                Columns::default(),
                vec![out_of_place, "at most 50.0 %", "time: GPU", "Avg bus bandwidth    : 1.536"],
                "in-place:",
            ),
            (&only, ours, vec![out_of_place, "disp: in-place)"], "disp: out-of-place)"),
            (&row(1024, 1.0), ours, vec!["disp: out-of-place)"], out_of_place),
        ] {
            let section = &sections(std::slice::from_ref(row), columns, None)[0];
            assert!(says.iter().all(|line| section.contains(line)), "{says:?}: {section}");
            assert!(!section.contains(says_not), "{section}");
        }
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
