//! Two records row by row: is B faster, slower, or is that noise?
//!
//! A row's band is its median plus and minus how far the fastest iteration lies below it or the 84th percentile above
//! it, whichever is more: the slowest ones are the machine's, and must not widen it. Bands that touch are noise.
//! Two processes differ by more than iterations of one process show, so a band has a least width, which was measured. With it,
//! one row in ten to twenty of identical runs on a busy machine still counts as a difference.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use super::record::Recorded;
use super::result::{Clock, Samples, redop_name};
use super::statistics::nearest_rank;
use crate::error::BenchError;

/// Least half-width of a band by the host's clock, relative to the median: of 300 pairs of rows of the CPU executor in
/// identical runs, on a machine of two cores that others used, 3 % take 7 to 27 % for a difference, 15 % take 5 to 11 %, and
/// 30 % no fewer.
const LEAST_BY_HOST: f64 = 0.15;
/// The same by the device's own clock, which neither other processes nor submission are part of. On hardware not measured yet.
const LEAST_BY_DEVICE: f64 = 0.03;
/// One standard deviation above the median, if times were normal.
const HIGH: usize = 84;
/// Fewer iterations give no band.
const LEAST_ITERATIONS: usize = 5;

/// One placement of one size in one record.
#[derive(Debug)]
struct Entry {
    /// Collective, type, operation, root, sources: equal in both, or the rows are of different things.
    what: String,
    size: u64,
    ranks: u32,
    placement: String,
    /// Device, dispatch mode, algorithm, synchronisation: what a comparison may be about.
    how: [String; HOW],
    samples: Samples,
    /// Least half-width of its band.
    least: f64,
}

const HOW: usize = 4;

/// What a pair of rows says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// B's band lies below A's.
    Faster,
    /// B's band lies above A's.
    Slower,
    /// The bands touch.
    WithinNoise,
    /// Too few iterations to tell.
    Unknown,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::WithinNoise => "within noise",
            Self::Unknown => "too few iterations",
        }
    }
}

/// What two records say together.
#[derive(Debug)]
pub struct Comparison {
    /// For people.
    pub text: String,
    /// B/A in times, and what that means, of every row that both have.
    pub rows: Vec<(f64, Verdict)>,
}

impl Comparison {
    /// Rows that are slower beyond noise, and take more than `ratio` times as long.
    pub fn slower_than(&self, ratio: f64) -> usize {
        self.rows.iter().filter(|&&(of, verdict)| verdict == Verdict::Slower && of > ratio).count()
    }
}

/// Compares the records at `a` and `b`.
///
/// # Errors
/// [`BenchError::File`], [`BenchError::Record`] and [`BenchError::Unrelated`].
pub fn compare(a: &Path, b: &Path) -> Result<Comparison, BenchError> {
    let (of_a, of_b) = (Recorded::read(a)?, Recorded::read(b)?);
    let mut comparison = report(&entries(&of_a), &entries(&of_b))?;
    for (name, record) in [("B", of_b), ("A", of_a)] {
        if !record.complete {
            comparison.text.insert_str(0, &format!("# note: {name} is incomplete, its sweep did not end\n"));
        }
    }
    Ok(comparison)
}

fn entries(record: &Recorded) -> Vec<Entry> {
    let mut entries = Vec::new();
    let sources = record.sources();
    let sources = if sources.is_empty() { String::new() } else { format!(" from {sources:?}") };
    for row in &record.results {
        let device = record.devices.get(row.device).map(|device| format!("{} ({})", device.name, device.backend));
        let root = if row.root < 0 { String::new() } else { format!(" root {}", row.root) };
        for (name, placement, samples) in row.placements() {
            let mode = placement.dispatch_name().unwrap_or_default();
            entries.push(Entry {
                what: format!("{} {} {}{root}{sources}", row.collective, row.data_type, redop_name(row.redop)),
                size: row.size,
                ranks: row.ranks,
                placement: name.replace('_', "-"),
                how: [device.clone().unwrap_or_default(), mode, row.origin.to_string(), row.sync.to_string()],
                samples: samples.clone(),
                least: match placement.clock {
                    Clock::Device => LEAST_BY_DEVICE,
                    Clock::Host => LEAST_BY_HOST,
                },
            });
        }
    }
    entries
}

/// Which of the `how` fields tell rows apart: where each record has only one value, the comparison is about it.
fn telling(a: &[Entry], b: &[Entry]) -> [bool; HOW] {
    std::array::from_fn(|field| {
        let uniform = |entries: &[Entry]| entries.windows(2).all(|pair| pair[0].how[field] == pair[1].how[field]);
        !(uniform(a) && uniform(b))
    })
}

fn report(a: &[Entry], b: &[Entry]) -> Result<Comparison, BenchError> {
    let telling = telling(a, b);
    let key = |entry: &Entry| {
        let how: Vec<String> =
            entry.how.iter().zip(telling).filter(|(_, telling)| *telling).map(|(how, _)| how.clone()).collect();
        (entry.what.clone(), entry.size, entry.ranks, entry.placement.clone(), how)
    };
    // Repetitions of a row are compared in order.
    let mut of_b: HashMap<_, std::collections::VecDeque<&Entry>> = HashMap::new();
    b.iter().for_each(|entry| of_b.entry(key(entry)).or_default().push_back(entry));

    let mut text = String::new();
    for (field, name) in ["device", "dispatch", "algorithm", "sync"].into_iter().enumerate() {
        if let (false, [a, ..], [b, ..]) = (telling[field], a, b) {
            let (a, b) = (&a.how[field], &b.how[field]);
            let _ = match a == b {
                true if a.is_empty() => Ok(()),
                true => writeln!(text, "# {name}: {a}"),
                false => writeln!(text, "# {name}: A {}, B {}", or_none(a), or_none(b)),
            };
        }
    }
    let _ = writeln!(
        text,
        "# {:>10}  {:>5}  {:>12}  {:>9}  {:>9}  {:>6}  {:>7}  verdict\n# {:>10}  {:>5}  {:>12}  {:>9}  {:>9}  {:>6}  {:>7}",
        "size", "ranks", "", "A p50", "B p50", "B/A", "noise", "(B)", "", "", "(us)", "(us)", "(time)", "(%)"
    );
    let mut counts = [Verdict::Faster, Verdict::Slower, Verdict::WithinNoise, Verdict::Unknown].map(|v| (v, 0));
    let mut rows = Vec::new();
    for entry in a {
        let Some(other) = of_b.get_mut(&key(entry)).and_then(std::collections::VecDeque::pop_front) else { continue };
        let (p50, other_p50) = (entry.samples.statistics.p50, other.samples.statistics.p50);
        let ratio = other_p50 / p50;
        let verdict = judge(entry, other);
        counts.iter_mut().filter(|(v, _)| *v == verdict).for_each(|(_, n)| *n += 1);
        rows.push((ratio, verdict));
        let noise = 100.0 * (half_width(entry) / p50 + half_width(other) / other_p50);
        let how: Vec<&str> =
            entry.how.iter().zip(telling).filter(|(_, telling)| *telling).map(|(how, _)| how.as_str()).collect();
        let _ = writeln!(
            text,
            "{:>12}  {:>5}  {:>12}  {p50:>9.2}  {other_p50:>9.2}  {ratio:>6.3}  {noise:>7.1}  {:<12}  {}",
            entry.size,
            entry.ranks,
            entry.placement,
            verdict.name(),
            how.join(", ")
        );
    }
    if rows.is_empty() {
        return Err(BenchError::Unrelated);
    }
    let unmatched = a.len() + b.len() - 2 * rows.len();
    let counts: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(verdict, n)| format!("{n} {}", verdict.name())).collect();
    let _ = write!(
        text,
        "# B against A: {}; geometric mean of B/A {:.3} over {} rows",
        counts.join(", "),
        (rows.iter().map(|(ratio, _)| ratio.ln()).sum::<f64>() / rows.len() as f64).exp(),
        rows.len()
    );
    if unmatched > 0 {
        let _ = write!(text, "; {unmatched} rows are in one record only");
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Ok(Comparison { text: lines.join("\n"), rows })
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn half_width(Entry { samples, least, .. }: &Entry) -> f64 {
    let mut times = samples.times_us.get(samples.skipped_iterations..).unwrap_or_default().to_vec();
    times.sort_by(f64::total_cmp);
    let high = if times.is_empty() { samples.statistics.p50 } else { nearest_rank(&times, HIGH) };
    (samples.statistics.p50 - samples.statistics.min)
        .max(high - samples.statistics.p50)
        .max(least * samples.statistics.p50)
}

fn judge(a: &Entry, b: &Entry) -> Verdict {
    let counted = |Entry { samples, .. }: &Entry| samples.times_us.len().saturating_sub(samples.skipped_iterations);
    if counted(a).min(counted(b)) < LEAST_ITERATIONS {
        return Verdict::Unknown;
    }
    let band = |entry: &Entry| {
        (entry.samples.statistics.p50 - half_width(entry), entry.samples.statistics.p50 + half_width(entry))
    };
    let ((a_low, a_high), (b_low, b_high)) = (band(a), band(b));
    if b_high < a_low {
        Verdict::Faster
    } else if b_low > a_high {
        Verdict::Slower
    } else {
        Verdict::WithinNoise
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::statistics::Statistics;

    fn of(min: f64, p50: f64, iterations: usize) -> Entry {
        let statistics = Statistics { min, ..Statistics::of(&[p50]).unwrap() };
        let samples = Samples { skipped_iterations: 0, statistics, times_us: vec![p50; iterations] };
        Entry { samples, ..entry(8, "x", "ring", p50) }
    }

    #[test]
    fn bands_that_touch_are_noise() {
        for (a, b, verdict) in [
            ((100.0, 100.0), (100.0, 100.0), Verdict::WithinNoise),
            ((100.0, 100.0), (100.0, 105.9), Verdict::WithinNoise),
            ((100.0, 100.0), (107.0, 107.0), Verdict::Slower),
            ((100.0, 100.0), (90.0, 95.0), Verdict::WithinNoise),
            ((100.0, 100.0), (90.0, 91.0), Verdict::Faster),
            ((80.0, 100.0), (130.0, 130.0), Verdict::Slower),
            ((80.0, 100.0), (120.0, 122.0), Verdict::WithinNoise),
        ] {
            assert_eq!(judge(&of(a.0, a.1, 20), &of(b.0, b.1, 20)), verdict, "{a:?} {b:?}");
        }
        assert_eq!(judge(&of(1.0, 1.0, 4), &of(9.0, 9.0, 20)), Verdict::Unknown);
        // Between processes the host's clock is far less sure than within one.
        let by_host = |p50| Entry { least: LEAST_BY_HOST, ..of(p50, p50, 20) };
        for (p50, verdict) in [(134.0, Verdict::WithinNoise), (136.0, Verdict::Slower), (73.0, Verdict::Faster)] {
            assert_eq!(judge(&by_host(100.0), &by_host(p50)), verdict, "{p50}");
        }
    }

    fn entry(size: u64, device: &str, algorithm: &str, p50: f64) -> Entry {
        Entry {
            what: "all-reduce f32 sum".to_owned(),
            size,
            ranks: 4,
            placement: "out-of-place".to_owned(),
            how: [device.to_owned(), "fused".to_owned(), algorithm.to_owned(), "neighbor".to_owned()],
            samples: Samples {
                skipped_iterations: 0,
                statistics: Statistics::of(&[p50]).unwrap(),
                times_us: vec![p50; 20],
            },
            least: LEAST_BY_DEVICE,
        }
    }

    #[test]
    fn a_comparison_is_about_what_each_record_has_one_of() {
        let a = [entry(8, "x", "ring", 10.0), entry(16, "x", "ring", 10.0)];
        let b = [
            entry(8, "y", "ring-staged", 20.0),
            entry(16, "y", "ring-staged", 5.0),
            entry(32, "y", "ring-staged", 5.0),
        ];
        let comparison = report(&a, &b).unwrap();
        for (ratio, slower) in [(1.0, 1), (1.9, 1), (2.0, 0)] {
            assert_eq!(comparison.slower_than(ratio), slower, "{ratio}");
        }
        let text = comparison.text;
        for fragment in [
            "# device: A x, B y",
            "# algorithm: A ring, B ring-staged",
            "# sync: neighbor",
            "2.000",
            "slower",
            "0.500",
            "1 faster, 1 slower; geometric mean of B/A 1.000 over 2 rows; 1 rows are in one record only",
        ] {
            assert!(text.contains(fragment), "'{fragment}' is not in\n{text}");
        }
        // With two algorithms in a record they tell rows apart.
        let both = [entry(8, "x", "ring", 10.0), entry(8, "x", "ring-staged", 30.0)];
        assert!(report(&both, &both).unwrap().text.contains("2 within noise"));
        assert!(matches!(report(&a, &[entry(64, "x", "ring", 1.0)]), Err(BenchError::Unrelated)));
    }

    #[test]
    fn other_files_are_refused() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "schema"),
            ("[1]", "names no schema"),
            (r#"{"schema": "wgccl-bench/3", "devices": [], "results": []}"#, "wgccl-bench/3"),
        ] {
            let error = Recorded::parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
