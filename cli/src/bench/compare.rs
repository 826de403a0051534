//! Two records row by row, or one and what nccl-tests wrote: is B faster, slower, or is that noise?
//!
//! A row says how sure it is: the ratio of the medians with its 95 % interval, and a rank test's p-value. Noise is what neither
//! tells apart. Two processes may differ by more than the iterations of each show; a note counts such rows.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use super::number::{cell, general};
use super::significance::{Significance, spread_pct};
use super::source::{Entry, HOW, Source};
use super::statistics::Statistics;
use crate::error::BenchError;
use crate::text::{plain, short};

/// What a pair of rows says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Interval or ranks differ, and B's median is less.
    Faster,
    /// Interval or ranks differ, and B's median is more.
    Slower,
    /// The interval holds 1, and the ranks could be chance.
    WithinNoise,
    /// Too few iterations to tell.
    Unknown,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Faster, Self::Slower, Self::WithinNoise, Self::Unknown];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::WithinNoise => "within noise",
            Self::Unknown => "too few samples",
        }
    }
}

/// What two records say together.
#[derive(Debug)]
pub struct Comparison {
    /// For people.
    pub text: String,
    /// Every row that both have.
    pub rows: Vec<Compared>,
    /// What all rows are of, for a picture.
    pub title: String,
    /// What was compared on what, for a picture.
    pub about: Vec<String>,
}

/// A row that both have.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// What tells its line in a picture from others.
    pub line: String,
    /// Bytes, and of a barrier, which has none, ranks.
    pub over: u64,
    /// B/A in times.
    pub ratio: f64,
    /// Its 95 % interval, where that is known.
    pub interval: Option<(f64, f64)>,
    /// What that means.
    pub verdict: Verdict,
}

impl Comparison {
    /// Rows that are slower beyond noise, and take more than `ratio` times as long.
    pub fn slower_than(&self, ratio: f64) -> usize {
        self.rows.iter().filter(|row| row.verdict == Verdict::Slower && row.ratio > ratio).count()
    }
}

/// Compares what is at `a` and `b`.
///
/// # Errors
/// [`BenchError::Read`], [`BenchError::Record`] and [`BenchError::Unrelated`].
pub fn compare(a: &Path, b: &Path) -> Result<Comparison, BenchError> {
    let mut comparison = report(Source::read(a)?, Source::read(b)?)?;
    let files = [("A", a), ("B", b)].map(|(name, path)| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("{name}: {}", plain(&file))
    });
    comparison.about.insert(0, files.join(", "));
    Ok(comparison)
}

/// Where one does not say of which collective it is, and the other is of one only, it is that one.
fn name_collective(of: &mut [Entry], other: &[Entry]) -> Option<String> {
    let collective = other.first()?.collective?;
    let is_one = other.iter().all(|entry| entry.collective == Some(collective));
    let mut unnamed = of.iter_mut().filter(|entry| entry.collective.is_none()).peekable();
    if !is_one || unnamed.peek().is_none() {
        return None;
    }
    unnamed.for_each(|entry| entry.collective = Some(collective));
    Some(format!("does not say of which collective it is: taken for {collective}, as the other"))
}

/// Which of the `how` fields tell rows apart: where each record has only one value, the comparison is about it.
fn telling(a: &[Entry], b: &[Entry]) -> [bool; HOW.len()] {
    std::array::from_fn(|field| {
        let uniform = |entries: &[Entry]| entries.windows(2).all(|pair| pair[0].how[field] == pair[1].how[field]);
        !(uniform(a) && uniform(b))
    })
}

/// A row of A and the one of B that it is compared with.
struct Pair<'a> {
    a: &'a Entry,
    b: &'a Entry,
    /// Medians, or means where one of them has nothing else.
    times: [f64; 2],
    verdict: Verdict,
    significance: Option<Significance>,
}

impl<'a> Pair<'a> {
    fn new(a: &'a Entry, b: &'a Entry) -> Self {
        let median = |entry: &Entry| Statistics::of(&entry.times).map(|statistics| statistics.p50);
        let times = match (median(a), median(b)) {
            (Some(a), Some(b)) => [a, b],
            _ => [a.mean, b.mean],
        };
        let significance = Significance::of(&a.times, &b.times);
        let verdict = match significance {
            None => Verdict::Unknown,
            Some(found) if found.is_noise() => Verdict::WithinNoise,
            Some(_) if times[1] > times[0] => Verdict::Slower,
            Some(_) => Verdict::Faster,
        };
        Self { a, b, times, verdict, significance }
    }

    fn ratio(&self) -> f64 {
        self.times[1] / self.times[0]
    }

    /// It differs by no more than two runs of one program may.
    fn is_small(&self) -> bool {
        let allowed = 1.0 + self.a.between_runs.max(self.b.between_runs);
        matches!(self.verdict, Verdict::Faster | Verdict::Slower) && self.ratio().max(self.ratio().recip()) < allowed
    }

    fn line(&self, how: &str) -> String {
        let Self { a, b, times, verdict, significance } = self;
        let ranks = |entry: &Entry| entry.ranks.map_or_else(|| "-".to_owned(), |ranks| ranks.to_string());
        let (of_a, of_b) = (ranks(a), ranks(b));
        let ranks = if of_a == of_b { of_a } else { format!("{of_a}/{of_b}") };
        let spread = |entry: &Entry| {
            spread_pct(&entry.times).map_or_else(|| "-".to_owned(), |pct| cell(pct, 5).trim().to_owned())
        };
        let (interval, p) = match significance {
            Some(Significance { interval: (low, high), p }) => (
                format!("[{}, {}]", digits(*low), digits(*high)),
                if *p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") },
            ),
            None => ("-".to_owned(), "-".to_owned()),
        };
        format!(
            "{:>12}  {ranks:>5}  {:>12}  {}  {:>5}  {}  {:>5}  {:>6}  {interval:>16}  {p:>6}  {:<15}  {how}",
            a.size,
            a.placement,
            cell(times[0], 9),
            spread(a),
            cell(times[1], 9),
            spread(b),
            digits(self.ratio()),
            verdict.name(),
        )
    }
}

/// Three decimals, of what has not many digits before them.
fn digits(ratio: f64) -> String {
    if ratio < 1000.0 { format!("{ratio:.3}") } else { general(ratio) }
}

/// Rows of both that are of the same, in A's order, repetitions in order. By nccl-tests a row is of a collective, a type, an operation and a
/// size, and meets all of ours that are.
fn pairs<'a>(a: &'a Source, b: &'a Source, telling: [bool; HOW.len()]) -> Vec<Pair<'a>> {
    let loose = a.is_nccl || b.is_nccl;
    let key = |entry: &'a Entry| {
        let ours = (!loose).then(|| {
            let how: Vec<&str> =
                entry.how.iter().zip(telling).filter(|(_, telling)| *telling).map(|(how, _)| how.as_str()).collect();
            (entry.ranks, &entry.roles, how)
        });
        (entry.collective, &entry.data_type, &entry.redop, entry.size, entry.placement, ours)
    };
    let mut groups: HashMap<_, [Vec<&Entry>; 2]> = HashMap::new();
    a.entries.iter().for_each(|entry| groups.entry(key(entry)).or_default()[0].push(entry));
    b.entries.iter().for_each(|entry| groups.entry(key(entry)).or_default()[1].push(entry));
    let mut pairs = Vec::new();
    for entry in &a.entries {
        // All of a group at once, where A has its first.
        let Some([of_a, of_b]) = groups.remove(&key(entry)) else { continue };
        let met_again = loose && of_a.len().min(of_b.len()) == 1;
        let count = if met_again { of_a.len().max(of_b.len()) } else { of_a.len().min(of_b.len()) };
        pairs.extend((0..count).map(|i| Pair::new(of_a[i % of_a.len()], of_b[i % of_b.len()])));
    }
    pairs
}

fn report(mut a: Source, mut b: Source) -> Result<Comparison, BenchError> {
    let mut text = String::new();
    let mut note = |name: &str, what: &str| text.push_str(&format!("# note: {name} {what}\n"));
    for (name, source) in [("A", &a), ("B", &b)] {
        if !source.complete {
            note(name, "is incomplete, its sweep did not end");
        }
    }
    let named = [name_collective(&mut a.entries, &b.entries), name_collective(&mut b.entries, &a.entries)];
    for (name, found) in ["A", "B"].into_iter().zip(named) {
        found.iter().for_each(|found: &String| note(name, found));
    }
    for (name, source) in [("A", &a), ("B", &b)] {
        if source.is_nccl {
            note(name, "is by nccl-tests: its rows meet those of the same collective, type, operation and size");
        }
        if source.entries.iter().any(|entry| entry.times.is_empty()) {
            note(
                name,
                "has rows of a mean without samples: there means are compared, and nothing says how sure that is",
            );
        }
    }
    let telling = telling(&a.entries, &b.entries);
    let pairs = pairs(&a, &b, telling);
    if pairs.is_empty() {
        return Err(BenchError::Unrelated);
    }
    let mut abouts = Vec::new();
    let mut about = |name: &str, a: &str, b: &str| {
        let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        match a == b {
            true if a.is_empty() => {}
            true => abouts.push(format!("{name}: {a}")),
            false => abouts.push(format!("{name}: A {}, B {}", or_none(a), or_none(b))),
        }
    };
    for ((field, name), telling) in HOW.into_iter().enumerate().zip(telling) {
        if let (false, [a, ..], [b, ..]) = (telling, &a.entries[..], &b.entries[..]) {
            about(name, &a.how[field], &b.how[field]);
        }
    }
    about("machine", &a.machine.title(), &b.machine.title());
    abouts.iter().for_each(|line| text.push_str(&format!("# {line}\n")));
    text.push_str(
        "#       size  ranks                   A p50      +-      B p50     +-     B/A      95 % interval       p  verdict\n\
         #        (B)                           (us)     (%)       (us)    (%)  (time)         (of B/A)\n",
    );
    let how = |pair: &Pair<'_>| {
        let entry = if a.is_nccl { pair.b } else { pair.a };
        let told = entry.how.iter().zip(telling).filter(|(how, telling)| *telling && !how.is_empty());
        told.map(|(how, _)| how.as_str()).collect::<Vec<_>>().join(", ")
    };
    for pair in &pairs {
        let _ = writeln!(text, "{}", pair.line(&how(pair)));
    }
    text.push_str(&summary(&pairs, a.entries.len() + b.entries.len()));
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    // A picture has no room for what software devices call themselves.
    let shortly = |pair: &Pair<'_>| {
        let long = if a.is_nccl { &pair.b.how[0] } else { &pair.a.how[0] };
        let backend = long.rsplit_once(" (").map_or("", |(_, backend)| backend.trim_end_matches(')'));
        how(pair).replacen(long.as_str(), &format!("{} ({backend})", short(long)), usize::from(!long.is_empty()))
    };
    let (title, names) = pictured(&pairs, shortly);
    let compared = |(pair, line): (&Pair<'_>, String)| Compared {
        line,
        over: if pair.a.size > 0 { pair.a.size } else { pair.a.ranks.map_or(1, u64::from) },
        ratio: pair.ratio(),
        interval: pair.significance.map(|found| found.interval),
        verdict: pair.verdict,
    };
    let rows = pairs.iter().zip(names).map(compared).collect();
    Ok(Comparison { text: lines.join("\n"), rows, title, about: abouts })
}

/// What all pairs have in common, and what tells the line of each from others, for a picture.
fn pictured(pairs: &[Pair<'_>], how: impl Fn(&Pair<'_>) -> String) -> (String, Vec<String>) {
    let names = |pair: &Pair<'_>| {
        let Entry { collective, data_type, redop, roles, .. } = pair.a;
        let collective = collective.or(pair.b.collective).map_or_else(String::new, |collective| collective.to_string());
        let redop = if redop == "none" { String::new() } else { format!(" {redop}") };
        // A barrier's ranks are what it is drawn over.
        let ranks = pair.a.ranks.filter(|_| pair.a.size > 0).map_or_else(String::new, |ranks| format!("{ranks} ranks"));
        let what = format!("{collective} {data_type}{redop}{roles}").trim().to_owned();
        [what, ranks, pair.a.placement.to_owned(), how(pair)]
    };
    let all: Vec<_> = pairs.iter().map(names).collect();
    let told = |is_common: bool, of: &[String; 4]| {
        let common = |field: usize| all.iter().all(|of| of[field] == all[0][field]);
        let fields = (0..4).filter(|&field| common(field) == is_common && !of[field].is_empty());
        fields.map(|field| of[field].clone()).collect::<Vec<_>>().join(", ")
    };
    let title = all.first().map_or_else(String::new, |first| told(true, first));
    (format!("B against A: {title}"), all.iter().map(|of| told(false, of)).collect())
}

fn summary(pairs: &[Pair<'_>], entries: usize) -> String {
    let mut text = String::new();
    let count = |verdict: &Verdict| pairs.iter().filter(|pair| pair.verdict == *verdict).count();
    let small = pairs.iter().filter(|pair| pair.is_small()).count();
    if small > 0 {
        let allowed = pairs.iter().map(|pair| pair.a.between_runs.max(pair.b.between_runs)).fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "# {small} of the rows that differ do so by less than {:.0} %, as two runs of one program may: repeat before you believe \
             them",
            100.0 * allowed
        );
    }
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .map(|verdict| (count(verdict), verdict.name()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    let _ = write!(text, "# B against A: {}; ", counts.join(", "));
    let logs: Vec<f64> = pairs.iter().map(|pair| pair.ratio().ln()).filter(|log| log.is_finite()).collect();
    if !logs.is_empty() {
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        let _ = write!(text, "geometric mean of B/A {} over ", digits(mean));
    }
    let _ = write!(text, "{} rows", pairs.len());
    let met: std::collections::HashSet<*const Entry> =
        pairs.iter().flat_map(|pair| [pair.a, pair.b]).map(std::ptr::from_ref).collect();
    if entries > met.len() {
        let _ = write!(text, "; {} rows are in one record only", entries - met.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use wgccl::collective::Collective;

    use super::*;
    use crate::bench::machine::Machine;

    fn entry(size: u64, device: &str, algorithm: &str, times: &[f64]) -> Entry {
        Entry {
            collective: Some(Collective::AllReduce),
            data_type: "f32".to_owned(),
            redop: "sum".to_owned(),
            size,
            placement: "out-of-place",
            roles: String::new(),
            ranks: Some(4),
            how: [device, "fused", algorithm, "neighbor"].map(str::to_owned),
            mean: times.iter().sum::<f64>() / times.len().max(1) as f64,
            times: times.to_vec(),
            between_runs: 0.15,
        }
    }

    fn ours(entries: &[Entry]) -> Source {
        Source { entries: entries.to_vec(), is_nccl: false, complete: true, machine: Machine::default() }
    }

    fn theirs(entries: &[Entry]) -> Source {
        let bare = |entry: &Entry| Entry { how: Default::default(), ranks: Some(8), ..entry.clone() };
        Source {
            entries: entries.iter().map(bare).collect(),
            is_nccl: true,
            complete: true,
            machine: Machine::default(),
        }
    }

    fn ratios(comparison: &Comparison) -> Vec<(f64, Verdict)> {
        comparison.rows.iter().map(|row| (row.ratio, row.verdict)).collect()
    }

    /// Twenty launches: most near the median, and a tail that is the machine's.
    fn launches(median: f64, late: f64) -> Vec<f64> {
        (0..20).map(|i| if i < 13 { median * (0.97 + 0.003 * f64::from(i)) } else { late }).collect()
    }

    #[test]
    fn what_leaves_1_out_is_no_noise() {
        let near = |of: f64, expected: f64| (of / expected - 1.0).abs() < 0.01;
        for (a, b, verdict, small) in [
            (launches(100.0, 130.0), launches(100.0, 130.0), Verdict::WithinNoise, false),
            (launches(100.0, 500.0), launches(100.2, 110.0), Verdict::WithinNoise, false),
            // Tails that made bands so wide that this was noise.
            (launches(41.9, 180.0), launches(133.2, 400.0), Verdict::Slower, false),
            (launches(133.2, 400.0), launches(41.9, 180.0), Verdict::Faster, false),
            (launches(100.0, 130.0), launches(110.0, 130.0), Verdict::Slower, true),
            (vec![10.0; 5], vec![20.0; 5], Verdict::Slower, false),
            (vec![10.0; 4], vec![20.0; 5], Verdict::Unknown, false),
            (vec![10.0; 5], vec![0.0; 5], Verdict::Unknown, false),
            (vec![10.0; 5], vec![], Verdict::Unknown, false),
        ] {
            let comparison = report(ours(&[entry(8, "x", "ring", &a)]), ours(&[entry(8, "x", "ring", &b)])).unwrap();
            let Compared { ratio, verdict: found, .. } = comparison.rows[0].clone();
            assert_eq!(found, verdict, "{}", comparison.text);
            let middle = |times: &[f64]| Statistics::of(times).map_or(0.0, |statistics| statistics.p50);
            assert!(near(ratio, middle(&b) / middle(&a)) || verdict == Verdict::Unknown, "{}", comparison.text);
            assert_eq!(comparison.text.contains("differ do so by less than 15 %"), small, "{}", comparison.text);
            assert!(comparison.text.contains(verdict.name()), "{}", comparison.text);
        }
        let a = ours(&[entry(8, "x", "ring", &launches(41.9, 180.0))]);
        let b = ours(&[entry(8, "x", "ring", &launches(133.2, 400.0))]);
        let text = report(a, b).unwrap().text;
        let row = text.lines().find(|line| !line.starts_with('#')).unwrap();
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>().join(" "),
            "8 4 out-of-place 41.77 166.2 132.80 101.4 3.179 [0.738, 9.604] 0.003 slower"
        );
    }

    #[test]
    fn a_comparison_is_about_what_each_record_has_one_of() {
        let ten = [10.0; 20];
        let a = [entry(8, "x", "ring", &ten), entry(16, "x", "ring", &ten)];
        let b = [
            entry(8, "y", "ring-staged", &[20.0; 20]),
            entry(16, "y", "ring-staged", &[5.0; 20]),
            entry(32, "y", "ring-staged", &[5.0; 20]),
        ];
        let (mut of_a, of_b) = (ours(&a), ours(&b));
        of_a.complete = false;
        of_a.machine.processor = Some("six cores".to_owned());
        let comparison = report(of_a, of_b).unwrap();
        for (ratio, slower) in [(1.0, 1), (1.9, 1), (2.0, 0)] {
            assert_eq!(comparison.slower_than(ratio), slower, "{ratio}");
        }
        for fragment in [
            "# note: A is incomplete",
            "# device: A x, B y",
            "# algorithm: A ring, B ring-staged",
            "# sync: neighbor",
            "# machine: A six cores, B none",
            "2.000",
            "[0.500, 0.500]",
            "1 faster, 1 slower; geometric mean of B/A 1.000 over 2 rows; 1 rows are in one record only",
        ] {
            assert!(comparison.text.contains(fragment), "'{fragment}' is not in\n{}", comparison.text);
        }
        // With two algorithms in a record they tell rows apart.
        let both = [entry(8, "x", "ring", &ten), entry(8, "x", "ring-staged", &[30.0; 20])];
        assert!(report(ours(&both), ours(&both)).unwrap().text.contains("2 within noise"));
        for other in [
            entry(64, "x", "ring", &ten),
            Entry { ranks: Some(8), ..a[0].clone() },
            Entry { roles: " root 1".to_owned(), ..a[0].clone() },
            Entry { redop: "max".to_owned(), ..a[0].clone() },
            Entry { placement: "in-place", ..a[0].clone() },
        ] {
            assert!(
                matches!(report(ours(&a), ours(std::slice::from_ref(&other))), Err(BenchError::Unrelated)),
                "{other:?}"
            );
        }
    }

    #[test]
    fn rows_of_nccl_tests_meet_all_of_ours_that_are_of_the_same() {
        let ten = [10.0; 20];
        let of_ours = [entry(8, "x", "ring", &ten), entry(8, "x", "direct", &[5.0; 20]), entry(16, "x", "ring", &ten)];
        let mut one = entry(8, "", "", &[]);
        one.mean = 20.0;
        let comparison = report(theirs(std::slice::from_ref(&one)), ours(&of_ours)).unwrap();
        assert_eq!(ratios(&comparison), [(0.5, Verdict::Unknown), (0.25, Verdict::Unknown)]);
        for fragment in [
            "# note: A is by nccl-tests",
            "# note: A has rows of a mean without samples",
            "8/4",
            "ring\n",
            "direct\n",
            "2 too few samples; geometric mean of B/A 0.354 over 2 rows; 1 rows are in one record only",
        ] {
            assert!(comparison.text.contains(fragment), "'{fragment}' is not in\n{}", comparison.text);
        }
        // The other way round, with samples, and of a collective that is not said.
        let with = Entry { collective: None, ..entry(8, "", "", &[20.0; 20]) };
        let comparison = report(ours(&of_ours), theirs(&[with])).unwrap();
        assert_eq!(ratios(&comparison), [(2.0, Verdict::Slower), (4.0, Verdict::Slower)]);
        assert!(comparison.text.contains("# note: B does not say of which collective it is: taken for all-reduce"));
        let both = report(theirs(&of_ours[1..]), theirs(&of_ours[1..])).unwrap();
        assert_eq!(both.rows.len(), 2);
        let other = Entry { collective: Some(Collective::AllGather), ..one };
        assert!(matches!(report(theirs(&[other]), ours(&of_ours)), Err(BenchError::Unrelated)));
    }
}
