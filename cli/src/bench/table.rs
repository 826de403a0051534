//! The columns of nccl-tests' report: its names, widths and digits, so that what reads its rows reads these.
//!
//! By default there is nothing else in a row, whichever end its columns are counted from; more stands on the right, on request.

use std::fmt::Write;

use wgccl::element::DataType;

use super::number::{cell, general};
use super::result::{Measured, Row, Samples, redop_name};

/// Which optional columns and lines there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Columns {
    /// `--columns wgccl`: ours, to the right of nccl-tests'.
    pub ours: bool,
    /// `-I`: statistics of the iterations.
    pub per_iteration: bool,
    /// `-S`: when each row was done.
    pub timestamps: bool,
    /// `-M`: device memory in the footer.
    pub memory: bool,
}

impl Columns {
    /// A row.
    pub fn row(&self, row: &Row) -> String {
        let mut text = format!(
            "{:>12}  {:>12}  {:>8}  {:>6}  {:>6}",
            row.size,
            row.count,
            type_name(row.data_type),
            redop_name(row.redop),
            row.root
        );
        if row.in_place_only() {
            text.push_str(&self.no_placement());
        }
        for (_, placement, samples) in row.placements() {
            text.push_str(&self.placement(placement, samples));
        }
        if row.in_place.is_none() {
            text.push_str(&self.no_in_place(row));
        }
        if self.timestamps {
            let _ = write!(text, "{:>21}", row.timestamp);
        }
        if self.ours
            && let Some((&Measured { mem_bw, roof_pct, dispatches, .. }, samples)) = row.first()
        {
            let dispatches = dispatches.map_or_else(|| "-".to_owned(), |n| n.to_string());
            let roof = if roof_pct.is_nan() { format!("{:>6}", "-") } else { cell(roof_pct, 6) };
            let _ = write!(text, "  {}  {roof}  {dispatches:>5}", cell(mem_bw, 6));
            if self.per_iteration {
                let _ = write!(text, "  {}", cell(samples.statistics.p50, 7));
            }
        }
        text
    }

    fn placement(&self, placement: &Measured, samples: &Samples) -> String {
        let wrong = placement.nwrong.map_or_else(|| "N/A".to_owned(), |wrong| general(wrong as f64));
        let (time, alg, bus) = (cell(placement.time, 7), cell(placement.alg_bw, 6), cell(placement.bus_bw, 6));
        let mut text = format!("  {time}  {alg}  {bus}  {wrong:>6}");
        if self.per_iteration {
            let s = &samples.statistics;
            for value in [s.min, s.max, s.p99, s.cv_pct] {
                let _ = write!(text, "  {}", cell(value, 7));
            }
        }
        text
    }

    /// Where nothing can be in place, nccl-tests prints numbers, too, and says `N/A` only of what was wrong: readers take the
    /// rest for numbers. A line of the header says that they are those of out-of-place again.
    fn no_in_place(&self, row: &Row) -> String {
        match row.first().filter(|_| !self.ours) {
            Some((placement, samples)) => self.placement(&Measured { nwrong: None, ..placement.clone() }, samples),
            None => self.no_placement(),
        }
    }

    fn no_placement(&self) -> String {
        let none = "N/A";
        let iterations = if self.per_iteration { 4 } else { 0 };
        format!("  {none:>7}  {none:>6}  {none:>6}  {none:>6}") + &format!("  {none:>7}").repeat(iterations)
    }

    /// The lines above the first row.
    pub fn captions(&self) -> String {
        let line = |first: [&str; 5], placement: &[&str; 4], iterations: [&str; 4], stamp: &str, new: [&str; 4]| {
            let [size, count, data_type, op, root] = first;
            let mut text = format!("# {size:>10}  {count:>12}  {data_type:>8}  {op:>6}  {root:>6}");
            for _ in 0..2 {
                let [time, alg, bus, wrong] = placement;
                let _ = write!(text, "  {time:>7}  {alg:>6}  {bus:>6}  {wrong:>6}");
                if self.per_iteration {
                    iterations.iter().for_each(|name| text.push_str(&format!("  {name:>7}")));
                }
            }
            if self.timestamps {
                let _ = write!(text, "{stamp:>21}");
            }
            if self.ours {
                let [membw, roof, disp, p50] = new;
                let _ = write!(text, "  {membw:>6}  {roof:>6}  {disp:>5}");
                if self.per_iteration {
                    let _ = write!(text, "  {p50:>7}");
                }
            }
            text + "\n"
        };
        let width = if self.per_iteration { 69 } else { 33 };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::{in_place_only, row};

    #[test]
    fn columns_are_those_of_nccl_tests() {
        let text = Columns::default().captions();
        let names = text.lines().nth(2).unwrap();
        assert_eq!(
            names,
            "#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   \
             busbw  #wrong"
        );
        assert_eq!(
            text.lines().nth(3).unwrap(),
            "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  \
             (GB/s)        "
        );
        assert_eq!(
            Columns::default().row(&row(1024, 12.5)),
            "        1024           256     float     sum      -1    12.50    0.08    0.12       0    12.50    0.08    \
             0.12     N/A"
        );
        // What was not measured in place has numbers that are read as such, and N/A where nccl-tests has it.
        let apart = Row { in_place: None, in_place_per_iter: None, ..row(1024, 12.5) };
        assert_eq!(Columns::default().row(&apart), Columns::default().row(&row(1024, 12.5)));
        let ours = Columns { ours: true, ..Columns::default() };
        assert!(ours.row(&apart).ends_with("      N/A     N/A     N/A     N/A    1.00   50.00      6"));
        assert!(ours.captions().lines().nth(2).unwrap().starts_with(names));
    }

    #[test]
    fn what_is_in_place_only_has_no_numbers_out_of_place() {
        let both = row(1024, 12.5);
        let only = in_place_only(both.clone());
        let words = |columns: Columns, row: &Row| -> Vec<String> {
            columns.row(row).split_whitespace().map(str::to_owned).collect()
        };
        for (columns, out_of_place) in [
            (Columns::default(), 5..9),
            (Columns { per_iteration: true, timestamps: true, ..Columns::default() }, 5..13),
            (Columns { ours: true, per_iteration: true, ..Columns::default() }, 5..13),
        ] {
            let (of_both, of_only) = (words(columns, &both), words(columns, &only));
            assert_eq!(of_both.len(), of_only.len());
            assert_eq!(columns.row(&both).len(), columns.row(&only).len());
            for (at, (both, only)) in of_both.iter().zip(&of_only).enumerate() {
                assert_eq!(only, if out_of_place.contains(&at) { "N/A" } else { both }, "{at} of {of_only:?}");
            }
        }
    }

    #[test]
    fn optional_columns_keep_the_order() {
        for ours in [false, true] {
            let columns = Columns { ours, per_iteration: true, timestamps: true, memory: true };
            let text = columns.captions() + &columns.row(&row(1024, 12.5));
            let lines: Vec<&str> = text.lines().collect();
            let [names, _, values] = lines[lines.len() - 3..] else { panic!("{text}") };
            let names: Vec<&str> = names.split_whitespace().skip(1).collect();
            let placement = ["time", "algbw", "busbw", "#wrong", "i_min", "i_max", "i_p99", "i_cv%"];
            assert_eq!(names[5..13], placement);
            assert_eq!(names[13..21], placement);
            let added = ["timestamp", "membw", "roof%", "disp", "i_p50"];
            assert_eq!(names[21..], added[..if ours { 5 } else { 1 }]);
            // The timestamp is two words.
            let values: Vec<&str> = values.split_whitespace().collect();
            assert_eq!(values.len(), names.len() + 1, "{values:?}");
            // 0.9, 1 and 1.1 times the time.
            assert_eq!(values[9..12], ["11.25", "13.75", "13.75"]);
            assert_eq!(values.get(26), ours.then_some(&"12.50"));
            let widths: Vec<usize> = lines[lines.len() - 3..].iter().map(|line| line.len()).collect();
            assert!(widths.iter().all(|&width| width == widths[0]), "{widths:?}\n{text}");
        }
    }
}
