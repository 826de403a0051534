//! A schedule on a terminal: a row a level, a column a rank.
//!
//! 80 columns hold up to 16 ranks; of more the first are shown, and what all do alike is said once.

use std::fmt;

use super::names;
use super::picture::{Picture, Step};
use crate::proof::Verdict;

/// Columns.
const WIDTH: usize = 80;

/// Most ranks that are shown where nobody chose any.
const WHOLE: u32 = 16;

/// Of more ranks, as many.
const FIRST: u32 = 4;

/// What a piece of text is, so that it can be given a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// Names of ranks and rounds.
    Heading,
    /// What only helps to read.
    Dim,
    /// An addition.
    Reduce,
    /// A copy.
    Copy,
    /// Something is wrong.
    Bad,
    /// Something holds.
    Good,
}

/// A line, in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line(pub Vec<(Tone, String)>);

impl Line {
    fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self(vec![(tone, text.into())])
    }

    fn push(&mut self, tone: Tone, text: impl Into<String>) {
        self.0.push((tone, text.into()));
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(_, text)| f.write_str(text))
    }
}

/// The picture of `ranks`, or of the first ones where none are named, in lines of at most 80 columns.
pub fn text(picture: &Picture, ranks: &[u32]) -> Vec<Line> {
    let few = || if picture.ranks <= WHOLE { picture.ranks } else { FIRST };
    let shown: Vec<u32> = if ranks.is_empty() { (0..few()).collect() } else { ranks.to_vec() };
    let mut lines = title(picture);
    lines.push(Line::default());
    for block in shown.chunks(WHOLE as usize) {
        lines.extend(Grid::new(picture, block).lines());
        lines.push(Line::default());
    }
    lines.extend(LEGEND.map(|line| Line::of(Tone::Dim, line)));
    if ranks.is_empty() && (shown.len() as u32) < picture.ranks {
        let rest = format!("{} of {} ranks are shown; --only 5,6 shows others", shown.len(), picture.ranks);
        lines.push(Line::of(Tone::Dim, rest));
    }
    lines.push(Line::default());
    lines.extend(ends(picture));
    lines
}

const LEGEND: [&str; 3] = [
    "o output, i input, s slot; o3=1.o3+i3: output chunk 3 becomes rank 1's + the own",
    "input's; +3 and =3: adds to chunk 3, copies it; <1 waits for rank 1, >2 notifies",
    "rank 2; of chunks that are too long to name, as +3-12, the first; r is any rank",
];

/// In one line, or in two.
fn title(picture: &Picture) -> Vec<Line> {
    let Picture { collective, origin, ranks, chunks, levels, .. } = picture;
    let place = if picture.in_place { ", in place" } else { "" };
    let steps = picture.steps.len();
    let plural = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let [ranks, chunks] = [(*ranks, "rank"), (*chunks, "chunk")].map(|(n, what)| plural(n.into(), what));
    let (name, levels) = (cut(&format!("{collective} by {origin}"), WIDTH - 1), plural((*levels).into(), "level"));
    let size = format!("{ranks}, {chunks}{place}, {} in {levels}", plural(steps as u64, "instruction"));
    let mut head = Line::of(Tone::Heading, name);
    head.push(Tone::Plain, format!(": {size}"));
    if head.to_string().chars().count() <= WIDTH {
        return vec![head];
    }
    head.0.truncate(1);
    head.push(Tone::Plain, ":");
    vec![head, Line::of(Tone::Plain, size)]
}

/// Verdicts, and the order of additions of the first chunk.
fn ends(picture: &Picture) -> Vec<Line> {
    const SHOWN: usize = 2;
    let mut lines = Vec::new();
    if let Some(order) = order_of_additions(picture) {
        lines.push(Line::of(Tone::Plain, order));
    }
    let failed = picture.proofs.iter().filter(|proof| proof.verdict == Verdict::Fails);
    for proof in failed {
        let tone = if proof.information { Tone::Dim } else { Tone::Bad };
        let head = folded(&format!("{}: {}", proof.name, proof.statement));
        lines.extend(head.into_iter().map(|line| Line::of(tone, line.trim_start().to_owned())));
        for finding in proof.findings.iter().take(SHOWN) {
            let folded = finding.message.lines().flat_map(|line| folded(line.trim()));
            lines.extend(folded.map(|line| Line::of(Tone::Plain, line)));
        }
        let more = proof.count.saturating_sub(SHOWN);
        lines.extend((more > 0).then(|| Line::of(Tone::Dim, format!("  and {more} more: wgccl check"))));
    }
    if picture.is_right() {
        lines.push(Line::of(Tone::Good, "proved: it cannot hang, it cannot race, and its result is right"));
    }
    lines
}

/// "chunk 0 is ((1 + 2) + 3) + 0 on every rank", where the output is a reduction and short enough.
fn order_of_additions(picture: &Picture) -> Option<String> {
    if !picture.is_right() {
        return None;
    }
    let output = picture.buffers.iter().find(|of| of.buffer == crate::schedule::Buffer::Output)?;
    let holds = |&&id: &&u32| {
        let step = &picture.steps[id as usize];
        step.to.iter().any(|&to| (to..to + step.chunks).contains(&output.first))
    };
    let step = &picture.steps[*picture.order.iter().rev().find(holds)? as usize];
    let to = step.to.iter().find(|&&to| (to..to + step.chunks).contains(&output.first))?;
    let term = *step.values.get((output.first - to) as usize)?;
    term.checked_sub(1 + picture.inputs.terms)?;
    const HEAD: &str = "order of additions in chunk 0 of rank's output: ";
    let sum = names::sum(picture, term, WIDTH - HEAD.len())?;
    Some(format!("chunk 0 of rank {}'s output adds up as {sum}", output.rank))
}

/// Rows: of each level, those lanes of the shown ranks that have a step in it.
struct Grid<'a> {
    picture: &'a Picture,
    shown: &'a [u32],
    rows: Vec<Row<'a>>,
    /// Columns of a rank.
    cell: usize,
    /// Columns of what stands before the ranks.
    head: usize,
}

struct Row<'a> {
    /// By shown rank.
    cells: Vec<Option<&'a Step>>,
    label: String,
    /// Whom each rank reads, in terms of r.
    from: Option<String>,
}

impl<'a> Grid<'a> {
    fn new(picture: &'a Picture, shown: &'a [u32]) -> Self {
        let rows = rows(picture, shown);
        let label = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        let from = rows.iter().filter_map(|row| row.from.as_ref()).map(|from| from.chars().count() + 1).max();
        const NARROWEST: usize = 4;
        const LONGEST: usize = 26;
        let head = (label.max(from.unwrap_or(0)) + 2).min(LONGEST).min(WIDTH - NARROWEST * shown.len());
        let widest = rows.iter().flat_map(|row| row.cells.iter().flatten()).map(|step| forms(picture, step)[0].len());
        let cell = ((WIDTH - head) / shown.len().max(1)).min(widest.max().unwrap_or(0).max(7) + 2).max(NARROWEST);
        Self { picture, shown, rows, cell, head }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![self.heading()];
        let mut at = 0;
        while let Some(row) = self.rows.get(at) {
            lines.extend(self.row(row));
            at += 1;
            // What repeats, where the picture is not of the whole anyway.
            let alike = self.rows[at..].iter().take_while(|next| is_alike(row, next)).count();
            const KEPT: usize = 3;
            if self.picture.ranks > WHOLE && alike > 2 * KEPT {
                for row in &self.rows[at..at + KEPT - 1] {
                    lines.extend(self.row(row));
                }
                let left_out = alike - KEPT;
                lines.push(Line::of(Tone::Dim, format!("  ... {left_out} more of this kind")));
                lines.extend(self.row(&self.rows[at + alike - 1]));
                at += alike;
            }
        }
        lines
    }

    fn heading(&self) -> Line {
        let mut line = Line::of(Tone::Plain, " ".repeat(self.head));
        for rank in self.shown {
            let long = format!("rank {rank}");
            let name = if long.len() < self.cell { long } else { rank.to_string() };
            line.push(Tone::Heading, pad(&name, self.cell));
        }
        trimmed(line)
    }

    /// What is moved, and below it who waits for whom.
    fn row(&self, row: &Row<'_>) -> Vec<Line> {
        let mut moved = Line::of(Tone::Heading, pad(&cut(&row.label, self.head - 1), self.head));
        let from = row.from.as_ref().map_or_else(String::new, |from| format!(" {from}"));
        let mut signals = Line::of(Tone::Dim, pad(&cut(&from, self.head - 1), self.head));
        let what = self.fitting(&row.cells, |step| forms(self.picture, step));
        let whom = self.fitting(&row.cells, waits);
        for ((step, what), whom) in row.cells.iter().zip(what).zip(whom) {
            let reduces = step.is_some_and(|step| step.from.len() > 1);
            let tone = match step.is_some_and(|step| step.level.is_none()) {
                true => Tone::Bad,
                false if reduces => Tone::Reduce,
                false => Tone::Copy,
            };
            moved.push(tone, pad(&what, self.cell));
            signals.push(Tone::Dim, pad(&whom, self.cell));
        }
        let lines = [moved, signals].into_iter().map(trimmed);
        lines.filter(|line| !line.to_string().is_empty()).collect()
    }

    /// All cells of a row in the longest form in which each of them fits.
    fn fitting<const FORMS: usize>(
        &self,
        cells: &[Option<&Step>],
        forms: impl Fn(&Step) -> [String; FORMS],
    ) -> Vec<String> {
        let all: Vec<Option<[String; FORMS]>> = cells.iter().map(|step| step.map(&forms)).collect();
        let fits = |form: &usize| all.iter().flatten().all(|forms| forms[*form].chars().count() < self.cell);
        let form = (0..FORMS).find(fits).unwrap_or(FORMS - 1);
        let text = |forms: &Option<[String; FORMS]>| forms.as_ref().map_or_else(String::new, |all| all[form].clone());
        all.iter().map(|forms| cut(&text(forms), self.cell - 1)).collect()
    }
}

/// Whether what two rows are about differs in the round only.
fn is_alike(a: &Row<'_>, b: &Row<'_>) -> bool {
    let phase = |row: &Row<'_>| row.label.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    phase(a) == phase(b) && a.from == b.from
}

fn rows<'a>(picture: &'a Picture, shown: &[u32]) -> Vec<Row<'a>> {
    // Lanes of a rank by their index in it.
    let mut of_rank: Vec<Vec<u32>> = vec![Vec::new(); picture.ranks as usize];
    for (number, lane) in (0..).zip(&picture.lanes) {
        of_rank[lane.rank as usize].push(number);
    }
    let most = of_rank.iter().map(Vec::len).max().unwrap_or(0);
    let at = |lane: u32, level: u32| {
        let lane = picture.lanes[lane as usize];
        let steps = &picture.steps[lane.first as usize..(lane.first + lane.steps) as usize];
        let found = steps.partition_point(|step| step.level.is_some_and(|of| of < level));
        steps.get(found).filter(|step| step.level == Some(level))
    };
    let mut rows = Vec::new();
    for level in 0..picture.levels {
        for index in 0..most {
            let step = |&rank: &u32| of_rank[rank as usize].get(index).and_then(|&lane| at(lane, level));
            let cells: Vec<Option<&Step>> = shown.iter().map(step).collect();
            let Some(first) = cells.iter().flatten().next() else { continue };
            let one = cells.iter().flatten().all(|step| step.label == first.label);
            let lane = if index > 0 { format!(" lane {index}") } else { String::new() };
            let label =
                if one { picture.labels[first.label as usize].clone() } else { format!("level {}{lane}", level + 1) };
            let all: Vec<(u32, &Step)> = (0..picture.ranks).filter_map(|rank| Some((rank, step(&rank)?))).collect();
            let from = relation(picture, &all);
            rows.push(Row { cells, label, from });
        }
    }
    // Of lanes that do not get to their end: what they wait for.
    for index in 0..most {
        let never = |&rank: &u32| {
            let lane = picture.lanes[*of_rank[rank as usize].get(index)? as usize];
            let steps = &picture.steps[lane.first as usize..(lane.first + lane.steps) as usize];
            steps.iter().find(|step| step.level.is_none())
        };
        let cells: Vec<Option<&Step>> = shown.iter().map(never).collect();
        if cells.iter().any(Option::is_some) {
            rows.push(Row { cells, label: NEVER.to_owned(), from: None });
        }
    }
    rows
}

/// Stands before what never gets its turn.
const NEVER: &str = "never";

/// Whom every rank reads from, where one formula says it.
fn relation(picture: &Picture, steps: &[(u32, &Step)]) -> Option<String> {
    let ranks = picture.ranks;
    if steps.len() != ranks as usize || ranks < 3 {
        return None;
    }
    let by = |step: &Step| names::read_from(picture, step);
    let to = |step: &Step| names::written_to(picture, step);
    let formula = |of: &dyn Fn(&Step) -> Vec<u32>| {
        let (first, one) = (steps[0].0, of(steps[0].1));
        let [peer] = one[..] else { return None };
        let distance = (peer + ranks - first) % ranks;
        let single = |step: &Step| <[u32; 1]>::try_from(of(step)).ok().map(|[peer]| peer);
        if steps.iter().all(|&(rank, step)| single(step) == Some((rank + distance) % ranks)) {
            let back = ranks - distance;
            return Some(if back < distance { format!("r-{back}") } else { format!("r+{distance}") });
        }
        let mask = peer ^ first;
        let all = steps.iter().all(|&(rank, step)| single(step) == Some(rank ^ mask));
        all.then(|| format!("r xor {mask}"))
    };
    let from = formula(&by).map(|peer| format!("from {peer}"));
    from.or_else(|| formula(&to).map(|peer| format!("to {peer}")))
}

/// What an instruction moves, in ever fewer words.
fn forms(picture: &Picture, step: &Step) -> [String; 7] {
    let own = picture.rank_of(step);
    let chunks = step.chunks;
    let name = |&at: &u32| names::of_rank(picture, at, chunks, own);
    let (Some(first), true) = (step.to.first(), !step.from.is_empty()) else {
        // It only waits and notifies, which the line below says.
        return [if step.zeroes { "0" } else { "-" }; 7].map(str::to_owned);
    };
    let to: Vec<String> = step.to.iter().map(name).collect();
    let from: Vec<String> = step.from.iter().map(name).collect();
    let (others, pushed) = (names::read_from(picture, step), names::written_to(picture, step));
    let operation = if step.from.len() > 1 { "+" } else { "=" };
    let more = if step.to.len() > 1 { format!("*{}", step.to.len()) } else { String::new() };
    let short = names::place(picture, *first, chunks);
    let peers = match (&others[..], &pushed[..]) {
        ([], []) => "own".to_owned(),
        ([], pushed) => format!(">{}", names::list(pushed)),
        (others, _) => names::list(others),
    };
    let destination = if step.to.len() > 1 { format!("{}{more}", name(first)) } else { name(first) };
    let counted = if step.from.len() > 1 { format!("{} terms", step.from.len()) } else { from[0].clone() };
    [
        format!("{}={}", to.join(","), from.join("+")),
        format!("{destination}={}", from.join("+")),
        format!("{destination}={counted}"),
        format!("{short}{operation}{peers}"),
        format!("{operation}{short}"),
        format!("{operation}{}", &short[1..]),
        format!("{operation}{}", &names::place(picture, *first, 1)[1..]),
    ]
}

/// For whom an instruction waits and whom it notifies, in ever fewer words.
fn waits(step: &Step) -> [String; 4] {
    let senders: Vec<u32> = unique(step.waits.iter().map(|wait| wait.sender));
    let peers: Vec<u32> = unique(step.notifies.iter().map(|notify| notify.peer));
    let side = |sign: &str, ranks: &[u32]| match ranks {
        [] => String::new(),
        ranks => format!("{sign}{}", names::list(ranks)),
    };
    let counted = |sign: &str, ranks: &[u32]| match ranks {
        [_, _, ..] => format!("{sign}*{}", ranks.len()),
        ranks => side(sign, ranks),
    };
    let joined = |[a, b]: [String; 2], between: &str| match a.is_empty() || b.is_empty() {
        true => a + &b,
        false => format!("{a}{between}{b}"),
    };
    [
        joined([side("<", &senders), side(">", &peers)], " "),
        joined([counted("<", &senders), counted(">", &peers)], " "),
        side("<", &senders),
        counted("<", &senders),
    ]
}

fn unique(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_owned() } else { text.chars().take(width - 1).chain(['~']).collect() }
}

/// Lines that fit, two blanks before the first and four before the others.
fn folded(text: &str) -> Vec<String> {
    let mut lines = vec![String::from(" ")];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => *line += &format!(" {word}"),
            _ => lines.push(format!("    {word}")),
        }
    }
    lines
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

/// Without blanks at its end.
fn trimmed(mut line: Line) -> Line {
    while let Some((_, last)) = line.0.last_mut() {
        last.truncate(last.trim_end().len());
        if !last.is_empty() {
            break;
        }
        line.0.pop();
    }
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::proof::Options;
    use crate::schedule::{Algorithm, Schedule, SyncStyle, build};

    fn shown(schedule: &Schedule, ranks: &[u32]) -> String {
        let picture = Picture::new(schedule, Options::default()).unwrap();
        let lines: Vec<String> = text(&picture, ranks).iter().map(Line::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn the_ring_of_three_reads_well() {
        let ring = build(Collective::AllReduce, Algorithm::Ring, 3, SyncStyle::Neighbor).unwrap();
        assert_eq!(
            shown(&ring, &[]),
            "all-reduce by ring: 3 ranks, 3 chunks, 12 instructions in 4 levels\n\
             \n            \
             rank 0      rank 1      rank 2\n\
             RS round 1  s1=2.i1+i1  s2=0.i2+i2  s0=1.i0+i0\n \
             from r-1   >1          >2          >0\n\
             RS round 2  o0=2.s0+i0  o1=0.s1+i1  o2=1.s2+i2\n \
             from r-1   <2 >1       <0 >2       <1 >0\n\
             AG round 1  o2=2.o2     o0=0.o0     o1=1.o1\n \
             from r-1   <2 >1       <0 >2       <1 >0\n\
             AG round 2  o1=2.o1     o2=0.o2     o0=1.o0\n \
             from r-1   <2          <0          <1\n\
             \n\
             o output, i input, s slot; o3=1.o3+i3: output chunk 3 becomes rank 1's + the own\n\
             input's; +3 and =3: adds to chunk 3, copies it; <1 waits for rank 1, >2 notifies\n\
             rank 2; of chunks that are too long to name, as +3-12, the first; r is any rank\n\
             \n\
             chunk 0 of rank 0's output adds up as (1 + 2) + 0\n\
             proved: it cannot hang, it cannot race, and its result is right"
        );
    }

    #[test]
    fn everything_fits_80_columns() {
        for &collective in Collective::ALL {
            for algorithm in Algorithm::of(collective) {
                for &sync in SyncStyle::ALL {
                    for ranks in [1, 2, 5, 8, 16, 17, 40] {
                        let Ok(schedule) = build(collective, algorithm, ranks, sync) else { continue };
                        let text = shown(&schedule, &[]);
                        let long = text.lines().find(|line| line.chars().count() > WIDTH);
                        assert_eq!(long, None, "{collective} {algorithm} {ranks}\n{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn of_many_ranks_some_are_shown() {
        let ring = build(Collective::AllReduce, Algorithm::Ring, 64, SyncStyle::Neighbor).unwrap();
        let text = shown(&ring, &[]);
        assert!(text.contains("4 of 64 ranks are shown") && text.lines().count() < 40, "{text}");
        assert!(text.contains("... 59 more of this kind"), "{text}");
        let text = shown(&ring, &(0..64).collect::<Vec<_>>());
        assert!(text.contains(" 63") && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut ring = build(Collective::AllReduce, Algorithm::Ring, 3, SyncStyle::Neighbor).unwrap();
        ring.lanes[0].instructions[0].notifies.clear();
        let text = shown(&ring, &[]);
        assert!(text.contains("\nnever  ") && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("deadlock-free: a lane never reaches its end") && !text.contains("proved"), "{text}");
    }
}
