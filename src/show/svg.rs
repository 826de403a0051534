//! The space-time diagram of a schedule as SVG: a row a lane, a column a level, an arrow for all that goes from rank to rank.
//!
//! One file for light and dark pages, readable without colours: what an instruction does is written on it.

use std::fmt::Write;

use rustc_hash::{FxHashMap, FxHashSet};

use super::names;
use super::picture::{Picture, Step};
use crate::proof::Verdict;
use crate::schedule::Buffer;

/// Most boxes and arrows; a drawing of more is a grey area.
const MOST: usize = 20_000;

const LEFT: u32 = 78;
const TOP: u32 = 66;
const COLUMN: u32 = 116;
const ROW: u32 = 52;
const BOX: [u32; 2] = [68, 30];
/// Room for the legend.
const NARROWEST: u32 = 500;

/// How a schedule is drawn.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Drawing {
    /// The ranks that are drawn; all if there are none.
    pub ranks: Vec<u32>,
    /// Levels appear one after the other, again and again.
    pub animated: bool,
}

impl Drawing {
    /// Draws these ranks only.
    #[must_use]
    pub fn ranks(mut self, ranks: impl Into<Vec<u32>>) -> Self {
        self.ranks = ranks.into();
        self
    }

    /// Lets levels appear one after the other.
    #[must_use]
    pub fn animated(mut self, animated: bool) -> Self {
        self.animated = animated;
        self
    }
}

/// More than a drawing can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the diagram would have {0} boxes and arrows, and {MOST} is the most; draw some ranks only, as in --only 0-3, or use --html"
)]
#[non_exhaustive]
pub struct TooMuch(
    /// Boxes and arrows.
    pub usize,
);

/// The diagram of `picture`.
///
/// # Errors
/// [`TooMuch`] for a drawing in which nothing could be seen.
pub fn svg(picture: &Picture, drawing: &Drawing) -> Result<String, TooMuch> {
    let sheet = Sheet::new(picture, drawing);
    let arrows = sheet.arrows();
    let elements = sheet.boxes().count() + arrows.len();
    if elements > MOST {
        return Err(TooMuch(elements));
    }
    Ok(sheet.draw(&arrows, drawing.animated))
}

/// Where things are.
struct Sheet<'a> {
    picture: &'a Picture,
    /// The row of each lane that is drawn.
    rows: FxHashMap<u32, u32>,
    /// Lanes, from top to bottom.
    lanes: Vec<u32>,
    /// Steps that never get their turn: of each lane the first.
    stuck: Vec<u32>,
    /// Steps that a finding names.
    wrong: FxHashSet<u32>,
}

/// From a step, or from a rank's inputs, to a step, or to a rank's memory after a level.
struct Arrow {
    from: End,
    to: End,
    kind: Kind,
    /// For its colour.
    chunk: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Step(u32),
    Inputs(u32),
    Memory(u32, u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Wait,
    Wrong,
}

impl<'a> Sheet<'a> {
    fn new(picture: &'a Picture, drawing: &Drawing) -> Self {
        let is_drawn = |rank: u32| drawing.ranks.is_empty() || drawing.ranks.contains(&rank);
        let mut lanes: Vec<u32> = (0..picture.lanes.len() as u32).collect();
        lanes.retain(|&lane| is_drawn(picture.lanes[lane as usize].rank));
        lanes.sort_by_key(|&lane| picture.lanes[lane as usize].rank);
        let rows = lanes.iter().copied().zip(0..).collect();
        let first_stuck = |&lane: &u32| {
            let of = picture.lanes[lane as usize];
            (of.first..of.first + of.steps).find(|&id| picture.steps[id as usize].level.is_none())
        };
        let failed = picture.proofs.iter().filter(|proof| proof.verdict == Verdict::Fails && !proof.information);
        let wrong = failed.flat_map(|proof| &proof.findings).flat_map(|finding| &finding.steps).copied().collect();
        Self { stuck: lanes.iter().filter_map(first_stuck).collect(), picture, rows, lanes, wrong }
    }

    /// Steps that have a box.
    fn boxes(&self) -> impl Iterator<Item = (u32, &'a Step)> {
        let steps = self.lanes.iter().flat_map(|&lane| {
            let of = self.picture.lanes[lane as usize];
            of.first..of.first + of.steps
        });
        let step = |id: u32| (id, &self.picture.steps[id as usize]);
        steps.map(step).filter(|(id, step)| step.level.is_some() || self.stuck.contains(id))
    }

    fn column(&self, id: u32) -> u32 {
        1 + self.picture.steps[id as usize].level.unwrap_or(self.picture.levels)
    }

    fn columns(&self) -> u32 {
        1 + self.picture.levels + u32::from(!self.stuck.is_empty())
    }

    /// The first row of a rank.
    fn row_of_rank(&self, rank: u32) -> Option<u32> {
        self.lanes.iter().position(|&lane| self.picture.lanes[lane as usize].rank == rank).map(|row| row as u32)
    }

    /// The middle of a box's left or right side.
    fn point(&self, end: End, right: bool) -> Option<(u32, u32)> {
        let (column, row) = match end {
            End::Step(id) => (self.column(id), *self.rows.get(&self.picture.steps[id as usize].lane)?),
            End::Inputs(rank) => (0, self.row_of_rank(rank)?),
            End::Memory(rank, level) => (level + 2, self.row_of_rank(rank)?),
        };
        let x = LEFT + column * COLUMN + if right { BOX[0] } else { 0 };
        Some((x - if column == 0 && right { BOX[0] / 2 } else { 0 }, TOP + row * ROW + BOX[1] / 2))
    }

    fn arrows(&self) -> Vec<Arrow> {
        let picture = self.picture;
        let mut arrows = Vec::new();
        // A notify that announces data goes along with it.
        let mut joined = FxHashSet::default();
        let mut read = FxHashSet::default();
        for (id, step) in self.boxes().filter(|(_, step)| step.level.is_some()) {
            let rank = picture.rank_of(step);
            let chunk = self.chunk(step);
            for (&from, made_by) in step.from.iter().zip(&step.made_by) {
                let holder = names::rank(picture, from);
                // What nobody wrote comes from nowhere.
                let is_input =
                    |at| picture.at(at).is_some_and(|(of, _)| of.buffer == Buffer::Input || picture.in_place);
                if made_by.is_none() && !is_input(from) {
                    continue;
                }
                let (end, maker) = match made_by {
                    Some(by) => (End::Step(*by), picture.rank_of(&picture.steps[*by as usize])),
                    None => (End::Inputs(holder), holder),
                };
                read.extend(made_by.map(|by| (by, from)));
                let other_lane = made_by.is_some_and(|by| picture.steps[by as usize].lane != step.lane);
                if (maker != rank || holder != rank || other_lane) && joined.insert((end, id)) {
                    arrows.push(Arrow { from: end, to: End::Step(id), kind: Kind::Data, chunk });
                }
            }
        }
        for (id, step) in self.boxes() {
            let Some(level) = step.level else {
                // What it never gets. Of those who should send it, the one that is itself stuck stands for its lane.
                let by = step.waits.iter().flat_map(|wait| &wait.by).filter_map(|&by| self.stands_for(by));
                arrows.extend(by.map(|by| Arrow {
                    from: End::Step(by),
                    to: End::Step(id),
                    kind: Kind::Wrong,
                    chunk: 0,
                }));
                continue;
            };
            for &by in step.waits.iter().flat_map(|wait| &wait.by) {
                if joined.insert((End::Step(by), id)) {
                    arrows.push(Arrow { from: End::Step(by), to: End::Step(id), kind: Kind::Wait, chunk: 0 });
                }
            }
            // Written to another rank and not fetched from there by anybody: an output.
            let rank = picture.rank_of(step);
            for &to in step.to.iter().filter(|&&to| names::rank(picture, to) != rank && !read.contains(&(id, to))) {
                let end = End::Memory(names::rank(picture, to), level);
                if end != End::Memory(rank, level) {
                    arrows.push(Arrow { from: End::Step(id), to: end, kind: Kind::Data, chunk: self.chunk(step) });
                }
            }
        }
        // Two accesses that nothing orders.
        for finding in picture.proofs.iter().filter(|proof| proof.name == "race-free").flat_map(|proof| &proof.findings)
        {
            if let &[a, b] = &finding.steps[..] {
                let (from, to) = if self.column(a) <= self.column(b) { (a, b) } else { (b, a) };
                arrows.push(Arrow { from: End::Step(from), to: End::Step(to), kind: Kind::Wrong, chunk: 0 });
            }
        }
        arrows.retain(|arrow| self.point(arrow.from, true).is_some() && self.point(arrow.to, false).is_some());
        arrows
    }

    /// The box of `step`, or of the step before which its lane is stuck.
    fn stands_for(&self, id: u32) -> Option<u32> {
        let step = &self.picture.steps[id as usize];
        if step.level.is_some() {
            return Some(id);
        }
        self.stuck.iter().copied().find(|&stuck| self.picture.steps[stuck as usize].lane == step.lane)
    }

    /// The chunk that a step's first value is made of.
    fn chunk(&self, step: &Step) -> u32 {
        let inputs = self.picture.inputs;
        let mut term = step.values.first().copied().unwrap_or(0);
        while let Some(at) = term.checked_sub(1 + inputs.terms) {
            term = self.picture.reductions[at as usize][0];
        }
        term.checked_sub(1).map_or(0, |term| term % inputs.chunks.max(1))
    }

    /// How many ranks' contributions each rank's bar shows, and which of them a value holds.
    fn holds(&self, step: &Step) -> Vec<bool> {
        let inputs = self.picture.inputs;
        let mut holds = vec![false; self.picture.ranks as usize];
        let mut stack: Vec<u32> = step.values.first().copied().into_iter().collect();
        let mut seen = FxHashSet::default();
        while let Some(term) = stack.pop() {
            match term.checked_sub(1 + inputs.terms) {
                _ if !seen.insert(term) || term == 0 => {}
                Some(at) => stack.extend(self.picture.reductions[at as usize]),
                None => holds[inputs.only.unwrap_or((term - 1) / inputs.chunks.max(1)) as usize] = true,
            }
        }
        holds
    }

    fn draw(&self, arrows: &[Arrow], animated: bool) -> String {
        let picture = self.picture;
        let [right, below] = if self.stuck.is_empty() { [26, 0] } else { [80, 14] };
        let width = (LEFT + (self.columns() - 1) * COLUMN + BOX[0] + right).max(NARROWEST);
        let height = TOP + (self.lanes.len() as u32).max(1) * ROW + below + 14 + 16 * LEGEND.len() as u32;
        let name = escaped(&format!("{} by {}, {} ranks", picture.collective, picture.origin, picture.ranks));
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{name}</title>\n\
             <desc id=\"desc\">A row for each rank, a column for each level. Boxes are instructions: + adds, = copies. Coloured arrows are data that goes from rank to rank, dashed ones signals. The bar below a box shows whose contributions the chunk holds.</desc>\n\
             <style>{STYLE}{}</style>\n<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n",
            if animated { self.keyframes() } else { String::new() }
        );
        let _ = writeln!(out, "{MARKERS}<text class=\"head\" x=\"14\" y=\"24\">{name}</text>");
        self.draw_frame(&mut out, width);
        let class = |column: u32| if animated { format!(" class=\"k{column}\"") } else { String::new() };
        // Arrows first: boxes lie on them.
        for column in 0..self.columns() {
            let mut group = String::new();
            for arrow in arrows.iter().filter(|arrow| self.column_of(arrow.to) == column) {
                self.draw_arrow(&mut group, arrow);
            }
            put_group(&mut out, &class(column), &group);
        }
        for column in 0..self.columns() {
            let mut group = String::new();
            for (id, step) in self.boxes().filter(|&(id, _)| self.column(id) == column) {
                self.draw_step(&mut group, id, step);
            }
            put_group(&mut out, &class(column), &group);
        }
        self.draw_legend(&mut out, height);
        out += "</svg>\n";
        out
    }

    fn column_of(&self, end: End) -> u32 {
        match end {
            End::Step(id) => self.column(id),
            End::Inputs(_) => 0,
            End::Memory(_, level) => level + 1,
        }
    }

    fn keyframes(&self) -> String {
        const LEVEL: f64 = 0.9;
        const REST: f64 = 3.0;
        let whole = f64::from(self.columns()) * LEVEL + REST;
        let mut style = String::from("@media (prefers-reduced-motion:no-preference){");
        for column in 1..self.columns() {
            let begin = 100.0 * f64::from(column - 1) * LEVEL / whole;
            let end = begin + 100.0 * LEVEL / 3.0 / whole;
            let _ = write!(
                style,
                "@keyframes f{column}{{0%,{begin:.2}%{{opacity:.07}}{end:.2}%,97%{{opacity:1}}100%{{opacity:.07}}}}.k{column}{{animation:f{column} {whole:.1}s infinite}}"
            );
        }
        style + "}"
    }

    /// Names of ranks and levels, a line for each lane.
    fn draw_frame(&self, out: &mut String, width: u32) {
        let picture = self.picture;
        let mut before = None;
        for (row, &lane) in (0..).zip(&self.lanes) {
            let rank = picture.lanes[lane as usize].rank;
            let y = TOP + row * ROW + BOX[1] / 2;
            let name = if before == Some(rank) { format!("lane {lane}") } else { format!("rank {rank}") };
            let class = if before == Some(rank) { "lane" } else { "rank" };
            before = Some(rank);
            let _ = writeln!(out, "<text class=\"{class}\" x=\"14\" y=\"{}\">{name}</text>", y + 4);
            let _ = writeln!(out, "<path class=\"line\" d=\"M{} {y}H{}\"/>", LEFT, width - 20);
            if class == "lane" {
                continue;
            }
            let _ = writeln!(out, "<circle class=\"input\" cx=\"{}\" cy=\"{y}\" r=\"5\"/>", LEFT + BOX[0] / 2);
        }
        let _ = writeln!(out, "<text class=\"level\" x=\"{}\" y=\"{}\">inputs</text>", LEFT + BOX[0] / 2, TOP - 14);
        for level in 0..picture.levels {
            let at_level = |&(_, step): &(u32, &Step)| step.level == Some(level);
            let mut labels = self.boxes().filter(at_level).map(|(_, step)| step.label);
            let Some(first) = labels.next() else { continue };
            let name = if labels.all(|label| label == first) {
                picture.labels[first as usize].clone()
            } else {
                format!("level {}", level + 1)
            };
            let x = LEFT + (level + 1) * COLUMN + BOX[0] / 2;
            let _ =
                writeln!(out, "<text class=\"level\" x=\"{x}\" y=\"{}\">{}</text>", TOP - 14, escaped(&cut(&name, 18)));
        }
        if !self.stuck.is_empty() {
            let x = LEFT + (picture.levels + 1) * COLUMN + BOX[0] / 2;
            let _ = writeln!(out, "<text class=\"level never\" x=\"{x}\" y=\"{}\">never</text>", TOP - 14);
        }
    }

    fn draw_arrow(&self, out: &mut String, arrow: &Arrow) {
        let (Some((x0, y0)), Some((x1, y1))) = (self.point(arrow.from, true), self.point(arrow.to, false)) else {
            return;
        };
        let (class, marker) = match arrow.kind {
            Kind::Data => (format!("data c{}", arrow.chunk % COLOURS), "data"),
            Kind::Wait => ("wait".to_owned(), "wait"),
            Kind::Wrong => ("wrong".to_owned(), "wrong"),
        };
        if x0 > x1 {
            // Both wait for ever, in one column: around its right side.
            let (x1, bulge) = (x1 + BOX[0] + 5, y0.abs_diff(y1).clamp(30, 90) / 3 + 14);
            let _ = writeln!(
                out,
                "<path class=\"{class}\" marker-end=\"url(#{marker})\" d=\"M{x0} {y0}C{} {y0} {} {y1} {x1} {y1}\"/>",
                x0 + bulge,
                x1 + bulge
            );
            return;
        }
        let bend = x1.saturating_sub(x0).clamp(30, 60) * 3 / 4;
        let (c0, c1) = (x0 + bend, x1.saturating_sub(bend));
        let _ = writeln!(
            out,
            "<path class=\"{class}\" marker-end=\"url(#{marker})\" d=\"M{x0} {y0}C{c0} {y0} {c1} {y1} {} {y1}\"/>",
            x1.saturating_sub(5)
        );
    }

    fn draw_step(&self, out: &mut String, id: u32, step: &Step) {
        let picture = self.picture;
        let Some((x, y)) = self.point(End::Step(id), false) else { return };
        let y = y - BOX[1] / 2;
        let kind = match step.from.len() {
            0 => "sync",
            1 => "copy",
            _ => "reduce",
        };
        let unknown = step.values.contains(&0);
        let wrong = if self.wrong.contains(&id) || step.level.is_none() || unknown { " bad" } else { "" };
        let chunk = self.chunk(step) % COLOURS;
        let text = match (step.to.first(), step.from.len()) {
            (None, _) | (_, 0) => "sync".to_owned(),
            (Some(&to), operands) => {
                let more = if step.to.len() > 1 { format!(" x{}", step.to.len()) } else { String::new() };
                let sign = if operands > 1 { "+" } else { "=" };
                format!("{sign} {}{more}", names::place(picture, to, step.chunks))
            }
        };
        let _ = writeln!(
            out,
            "<g><title>{}</title><rect class=\"box {kind} c{chunk}{wrong}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"6\"/>\
             <text class=\"what\" x=\"{}\" y=\"{}\">{}</text>",
            escaped(&sentence(picture, step)),
            BOX[0],
            BOX[1],
            x + BOX[0] / 2,
            y + 19,
            escaped(&cut(&text, 10))
        );
        if step.level.is_none() {
            let (label, below) = (cut(&picture.labels[step.label as usize], 18), y + BOX[1] + 13);
            let _ = write!(
                out,
                "<text class=\"level never\" x=\"{}\" y=\"{below}\">{}</text>",
                x + BOX[0] / 2,
                escaped(&label)
            );
        }
        const WIDEST: u32 = 64;
        if !step.values.is_empty() && picture.ranks <= WIDEST && picture.ranks > 1 {
            let holds = self.holds(step);
            let part = f64::from(BOX[0]) / f64::from(picture.ranks);
            let top = y + BOX[1] + 3;
            let _ = write!(out, "<rect class=\"none\" x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"5\"/>", BOX[0]);
            let mut bar = String::new();
            for rank in (0..picture.ranks).filter(|&rank| holds[rank as usize]) {
                let left = f64::from(x) + f64::from(rank) * part;
                let _ = write!(bar, "M{left:.1} {top}h{:.1}v5h-{:.1}z", part - 0.6, part - 0.6);
            }
            let _ = writeln!(out, "<path class=\"holds c{chunk}\" d=\"{bar}\"/>");
        }
        out.push_str("</g>\n");
    }

    fn draw_legend(&self, out: &mut String, height: u32) {
        for (line, text) in (0..).zip(LEGEND) {
            let y = height - 12 - 16 * (LEGEND.len() as u32 - 1 - line);
            let _ = writeln!(out, "<text class=\"legend\" x=\"14\" y=\"{y}\">{text}</text>");
        }
    }
}

const LEGEND: [&str; 2] = [
    "+ adds, = copies; o output, i input, s slot; bar: whose contributions a chunk holds",
    "arrows: data, by chunk; dashed: a signal that goes without data",
];

fn put_group(out: &mut String, class: &str, group: &str) {
    if !group.is_empty() {
        let _ = writeln!(out, "<g{class}>\n{group}</g>");
    }
}

/// What an instruction does, in words.
pub(super) fn sentence(picture: &Picture, step: &Step) -> String {
    let own = picture.rank_of(step);
    let of = |&at: &u32| names::of_rank(picture, at, step.chunks, own);
    let joined = |all: &[u32], between: &str| all.iter().map(of).collect::<Vec<_>>().join(between);
    let mut text = format!("rank {own}, {}", picture.labels[step.label as usize]);
    for wait in &step.waits {
        let times = if wait.at_least > 1 { format!(" x{}", wait.at_least) } else { String::new() };
        let _ = write!(text, "; waits for rank {} (row {}{times})", wait.sender, wait.row);
    }
    if !step.from.is_empty() {
        let _ = write!(text, "; {} = {}", joined(&step.to, ", "), joined(&step.from, " + "));
    }
    const LONGEST: usize = 200;
    if let Some(sum) = step.values.first().and_then(|&term| names::sum(picture, term, LONGEST)) {
        let _ = write!(text, "; holds the contributions of {sum}");
    }
    for notify in &step.notifies {
        let _ = write!(text, "; notifies rank {} (row {})", notify.peer, notify.row);
    }
    if step.level.is_none() {
        text += "; never gets its turn";
    }
    text
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const COLOURS: u32 = 8;

const MARKERS: &str = "<defs>\
<marker id=\"data\" viewBox=\"0 0 8 8\" refX=\"3\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker>\
<marker id=\"wait\" viewBox=\"0 0 8 8\" refX=\"3\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"grey\" d=\"M0 0L8 4L0 8z\"/></marker>\
<marker id=\"wrong\" viewBox=\"0 0 8 8\" refX=\"3\" refY=\"4\" markerWidth=\"9\" markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"red\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n";

/// Colours after Okabe and Ito, darker on white and lighter on black.
const STYLE: &str = "\
:root{--page:#fff;--ink:#1b1f24;--dim:#667;--line:#dde;--fill:#f4f5f8;--bad:#c1121f;\
--c0:#0072b2;--c1:#b35900;--c2:#00795c;--c3:#a3417c;--c4:#8a6d00;--c5:#2f7fb5;--c6:#c04a00;--c7:#555}\
@media (prefers-color-scheme:dark){:root{--page:#14171c;--ink:#e8eaee;--dim:#9aa3b2;--line:#2b313b;--fill:#20252d;--bad:#ff6b6b;\
--c0:#56b4e9;--c1:#e69f00;--c2:#2cc49a;--c3:#e08fc0;--c4:#f0e442;--c5:#8fc7ee;--c6:#ff8a4c;--c7:#b8b8b8}}\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--ink)}.page{fill:var(--page)}\
.head{font-size:15px;font-weight:600}.rank{font-weight:600}.lane,.legend{fill:var(--dim);font-size:11px}\
.level{text-anchor:middle;fill:var(--dim);font-size:11px}.never{fill:var(--bad);font-weight:600}\
.what{text-anchor:middle;font-weight:500}.line{stroke:var(--line);stroke-width:1.5;fill:none}\
.input{fill:var(--page);stroke:var(--dim);stroke-width:1.5}.none{fill:var(--line)}\
.box{fill:var(--page);stroke:var(--c);stroke-width:1.6}.reduce{fill:var(--fill);stroke-width:2.4}.sync{stroke:var(--dim);stroke-dasharray:3 3}\
.data{fill:none;stroke:var(--c);stroke-width:1.6}.holds{fill:var(--c)}.tip{fill:var(--ink)}\
.wait{fill:none;stroke:var(--dim);stroke-width:1.1;stroke-dasharray:4 3}.grey{fill:var(--dim)}\
.wrong{fill:none;stroke:var(--bad);stroke-width:2.2}.red{fill:var(--bad)}.bad{stroke:var(--bad);stroke-width:3}\
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}.c6{--c:var(--c6)}.c7{--c:var(--c7)}";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::proof::Options;
    use crate::schedule::{Algorithm, Schedule, SyncStyle, build};

    fn ring(ranks: u32) -> Schedule {
        build(Collective::AllReduce, Algorithm::Ring, ranks, SyncStyle::Neighbor).unwrap()
    }

    fn drawn(schedule: &Schedule, drawing: &Drawing) -> Result<String, TooMuch> {
        svg(&Picture::new(schedule, Options::default()).unwrap(), drawing)
    }

    fn count(text: &str, what: &str) -> usize {
        text.matches(what).count()
    }

    #[test]
    fn the_ring_has_a_box_a_step_and_an_arrow_a_message() {
        for (ranks, only, boxes, arrows) in [(4, &[][..], 24, 24), (2, &[], 4, 4), (8, &[0, 1], 28, 14)] {
            let text = drawn(&ring(ranks), &Drawing::default().ranks(only)).unwrap();
            assert_eq!(count(&text, "class=\"box "), boxes, "{ranks}");
            assert_eq!(count(&text, "class=\"data "), arrows, "{ranks}");
            // Its notifies all go along with data.
            assert_eq!(count(&text, "class=\"wait\""), 0, "{ranks}");
        }
    }

    #[test]
    fn barriers_are_dashed_and_pushes_end_in_memory() {
        let barrier = build(Collective::Barrier, Algorithm::Dissemination, 4, SyncStyle::Neighbor).unwrap();
        let text = drawn(&barrier, &Drawing::default()).unwrap();
        assert!(count(&text, "class=\"wait\"") > 0 && count(&text, "class=\"data ") == 0);
        let pushed = build(Collective::AllToAll, Algorithm::Mesh, 3, SyncStyle::Neighbor).unwrap();
        let text = drawn(&pushed, &Drawing::default()).unwrap();
        assert_eq!(count(&text, "class=\"data "), 6);
    }

    #[test]
    fn a_cycle_is_red() {
        let mut ring = ring(3);
        for lane in &mut ring.lanes {
            lane.instructions[0].notifies.clear();
            lane.instructions[1].notifies.clear();
        }
        let text = drawn(&ring, &Drawing::default()).unwrap();
        assert!(text.contains(">never</text>") && count(&text, " bad\"") >= 3, "{text}");
    }

    #[test]
    fn labels_are_text_and_sizes_are_bounded() {
        let mut hostile = ring(2);
        hostile.lanes[0].instructions[0].label = "<script>\"&".to_owned().into();
        let text = drawn(&hostile, &Drawing::default().animated(true)).unwrap();
        assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"));
        assert!(text.contains("@keyframes f2"));
        assert!(drawn(&ring(128), &Drawing::default()).is_err());
        assert!(drawn(&ring(128), &Drawing::default().ranks([3])).is_ok());
    }
}
