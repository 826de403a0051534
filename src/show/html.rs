//! A picture as one HTML file that plays it: style, scripts and data stand in it, and it asks for nothing else.
//!
//! The page only draws; what is true of a schedule was decided before. Its parts are plain files in `page/`, joined here, so that
//! no build step is needed. What it says of waits and values it reads from the picture's numbers.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

use super::columns::Column;
use super::picture::{Inputs, Picture, ProofOf};
use crate::trace::{Clock, Span, Trace};

const PAGE: &str = include_str!("page/page.html");

const STYLE: &str = include_str!("page/style.css");

/// In the order in which they need each other.
const SCRIPTS: [&str; 11] = [
    include_str!("page/model.js"),
    include_str!("page/timeline.js"),
    include_str!("page/words.js"),
    include_str!("page/stories.js"),
    include_str!("page/canvas.js"),
    include_str!("page/topology.js"),
    include_str!("page/grid.js"),
    include_str!("page/memory.js"),
    include_str!("page/details.js"),
    include_str!("page/controls.js"),
    include_str!("page/main.js"),
];

/// Writes the page of `picture`. With `trace`, a launch of the same schedule, the page also plays that, by its own times.
///
/// # Errors
/// What `to` says.
pub fn html(picture: &Picture, trace: Option<&Trace>, mut to: impl Write) -> io::Result<()> {
    // Names stand between two marks.
    for (at, piece) in PAGE.split("@@").enumerate() {
        match piece {
            _ if at % 2 == 0 => to.write_all(piece.as_bytes())?,
            "title" => escape(&format!("{} by {}", picture.collective, picture.origin), &mut to)?,
            "style" => to.write_all(STYLE.as_bytes())?,
            "picture" => Data::of(picture, trace).serialize(&mut Serializer::with_formatter(&mut to, Safe))?,
            _ => SCRIPTS.iter().try_for_each(|script| to.write_all(script.as_bytes()))?,
        }
    }
    Ok(())
}

/// Text as HTML.
fn escape(text: &str, to: &mut impl Write) -> io::Result<()> {
    let mut bytes = [0; 4];
    text.chars().try_for_each(|c| match c {
        '<' => to.write_all(b"&lt;"),
        '&' => to.write_all(b"&amp;"),
        c => to.write_all(c.encode_utf8(&mut bytes).as_bytes()),
    })
}

/// JSON in which no text can end the script that it stands in.
struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut pieces = fragment.split('<');
        pieces.next().map_or(Ok(()), |first| CompactFormatter.write_string_fragment(writer, first))?;
        pieces.try_for_each(|piece| {
            writer.write_all(b"\\u003c")?;
            CompactFormatter.write_string_fragment(writer, piece)
        })
    }
}

/// A picture as the page reads it: `page/model.js` takes it apart again. Columns are by step, in order; what a step has several of
/// stands in one column, and how many there are of each step in another.
#[derive(Serialize)]
struct Data<'a> {
    collective: &'a str,
    origin: &'a str,
    ranks: u32,
    chunks: u32,
    in_place: bool,
    chunk_bytes: Option<u64>,
    levels: u32,
    labels: &'a [String],
    inputs: Inputs,
    proofs: &'a [ProofOf],
    /// Rank and number of steps of each lane.
    lanes: [Column; 2],
    /// Rank, kind (0 input, 1 output, 2 slot), first place and chunks.
    buffers: [Column; 4],
    /// Rank or -1, and part.
    expected: [Column; 2],
    /// Left and right operand.
    reductions: [Column; 2],
    order: Column,
    critical: Column,
    label: Column,
    level: Column,
    span: Column,
    from: [Column; 2],
    to: [Column; 2],
    values: [Column; 2],
    /// How many of each step; then row, sender, at least, and how many steps end it; then those.
    waits: [Column; 6],
    /// How many of each step; then peer and row.
    notifies: [Column; 3],
    zeroes: Column,
    modes: Vec<(&'a str, Column)>,
    trace: Option<Run>,
}

impl<'a> Data<'a> {
    fn of(picture: &'a Picture, trace: Option<&Trace>) -> Self {
        let steps = || picture.steps.iter();
        let lists = |of: fn(&super::Step) -> &[u32]| {
            [steps().map(|step| of(step).len() as u32).collect(), steps().flat_map(of).copied().collect()]
        };
        let waits = || steps().flat_map(|step| &step.waits);
        let notifies = || steps().flat_map(|step| &step.notifies);
        let zeroes = (0_u32..).zip(steps()).filter(|(_, step)| step.zeroes);
        Self {
            collective: &picture.collective,
            origin: &picture.origin,
            ranks: picture.ranks,
            chunks: picture.chunks,
            in_place: picture.in_place,
            chunk_bytes: picture.chunk_bytes,
            levels: picture.levels,
            labels: &picture.labels,
            inputs: picture.inputs,
            proofs: &picture.proofs,
            lanes: [
                picture.lanes.iter().map(|lane| lane.rank).collect(),
                picture.lanes.iter().map(|lane| lane.steps).collect(),
            ],
            buffers: [
                picture.buffers.iter().map(|of| of.rank).collect(),
                picture.buffers.iter().map(|of| of.buffer as u32).collect(),
                picture.buffers.iter().map(|of| of.first).collect(),
                picture.buffers.iter().map(|of| of.chunks).collect(),
            ],
            expected: [
                picture.expected.iter().map(|part| part.rank).collect(),
                picture.expected.iter().map(|part| part.part).collect(),
            ],
            reductions: [0, 1].map(|side| picture.reductions.iter().map(|operands| operands[side]).collect()),
            order: picture.order.iter().copied().collect(),
            critical: picture.critical.iter().copied().collect(),
            label: steps().map(|step| step.label).collect(),
            level: steps().map(|step| step.level).collect(),
            span: steps().map(|step| step.chunks).collect(),
            from: lists(|step| &step.from),
            to: lists(|step| &step.to),
            values: lists(|step| &step.values),
            waits: [
                steps().map(|step| step.waits.len() as u32).collect(),
                waits().map(|wait| wait.row).collect(),
                waits().map(|wait| wait.sender).collect(),
                waits().map(|wait| wait.at_least).collect(),
                waits().map(|wait| wait.by.len() as u32).collect(),
                waits().flat_map(|wait| &wait.by).copied().collect(),
            ],
            notifies: [
                steps().map(|step| step.notifies.len() as u32).collect(),
                notifies().map(|notify| notify.peer).collect(),
                notifies().map(|notify| notify.row).collect(),
            ],
            zeroes: zeroes.map(|(id, _)| id).collect::<Column>(),
            modes: picture.modes.iter().map(|mode| (&*mode.name, mode.dispatches.iter().copied().collect())).collect(),
            trace: trace.map(Run::of),
        }
    }
}

/// A launch, as columns by span. Of a payload in several pieces it is the first: the others do the same.
#[derive(Serialize)]
struct Run {
    clock: Clock,
    /// What the clock is, for people.
    named: &'static str,
    /// Of how many pieces it is the first.
    pieces: u32,
    lane: Column,
    instruction: Column,
    /// Or -1 where all ran at once.
    channel: Column,
    begin: Column,
    /// After `begin`.
    ready: Column,
    /// After `ready`.
    end: Column,
}

impl Run {
    fn of(trace: &Trace) -> Self {
        let spans = || trace.spans.iter().filter(|span| span.piece == 0);
        let between = |from: fn(&Span) -> u64, to: fn(&Span) -> u64| {
            spans().map(|span| to(span).saturating_sub(from(span)).try_into().unwrap_or(i64::MAX)).collect()
        };
        Self {
            clock: trace.clock,
            named: trace.clock.describe(),
            pieces: trace.spans.iter().map(|span| span.piece + 1).max().unwrap_or(1),
            lane: spans().map(|span| span.lane).collect(),
            instruction: spans().map(|span| span.instruction).collect(),
            channel: spans().map(|span| span.channel).collect(),
            begin: spans().map(|span| span.begin.try_into().unwrap_or(i64::MAX)).collect(),
            ready: between(|span| span.begin, |span| span.ready),
            end: between(|span| span.ready, |span| span.end),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::collective::Collective;
    use crate::proof::Options;
    use crate::schedule::{Algorithm, Label, Origin, Schedule, SyncStyle, build};

    fn page(schedule: &Schedule) -> String {
        let picture = Picture::new(schedule, Options::default()).unwrap();
        let mut page = Vec::new();
        html(&picture, None, &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    /// What a browser takes for the picture: up to the first end of a script.
    fn data(page: &str) -> Value {
        let (_, rest) = page.split_once("<script type=\"application/json\" id=\"picture\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn names_of_strangers_end_nothing() {
        let hostile = "</script><img src=x onerror=alert(1)>&amp;\"'\u{2028}<!--@@picture@@";
        let mut ring = build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor).unwrap();
        ring.origin = Origin::Custom(hostile.to_owned());
        ring.lanes[0].instructions[0].label = Label::new(hostile);
        let page = page(&ring);
        let data = data(&page);
        assert_eq!(data["origin"], hostile);
        assert_eq!(data["labels"][0], hostile);
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("</script>").count(), 2);
        assert_eq!(page.matches("<img").count(), 0);
        assert!(page.contains("<title>all-reduce by &lt;/script>&lt;img src=x"));
    }

    #[test]
    fn a_launch_is_its_first_piece() {
        let ring = build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor).unwrap();
        let picture = Picture::new(&ring, Options::default()).unwrap();
        let span = |lane, piece| Span::new(lane, 1).piece(piece).at(10, 14, 20);
        let trace = Trace::new(Clock::Device { calibrated: false }, vec![span(0, 0), span(1, 0), span(0, 1)]);
        let mut page = Vec::new();
        html(&picture, Some(&trace), &mut page).unwrap();
        let run = &data(std::str::from_utf8(&page).unwrap())["trace"];
        assert_eq!(run["clock"]["device"]["calibrated"], false);
        for (column, numbers) in
            [("lane", [0, 1]), ("channel", [-1, -1]), ("begin", [10, 10]), ("ready", [4, 4]), ("end", [6, 6])]
        {
            assert_eq!(run[column], serde_json::json!(numbers), "{column}");
        }
        assert_eq!(run["pieces"], 2);
    }

    #[test]
    fn nothing_is_asked_for_and_nothing_is_left_out() {
        let parts = [PAGE, STYLE].into_iter().chain(SCRIPTS);
        for part in parts {
            for word in ["@import", "url(", "fetch(", "XMLHttpRequest", "innerHTML", "src=", "eval("] {
                assert!(!part.contains(word), "{word}");
            }
            // A namespace is a name, nothing is fetched from there.
            let addresses = part.matches("http").count() - part.matches("http-equiv").count();
            assert_eq!(addresses, part.matches("http://www.w3.org/2000/svg").count());
        }
        assert!(PAGE.contains("default-src 'none'"));
        let names: Vec<&str> = PAGE.split("@@").skip(1).step_by(2).collect();
        assert_eq!(names, ["title", "style", "title", "picture", "script"]);
    }

    #[test]
    fn built_in_schedules_of_16_ranks_are_below_250_kb() {
        for &collective in Collective::ALL {
            for algorithm in Algorithm::of(collective) {
                for &sync in SyncStyle::ALL {
                    let Ok(schedule) = build(collective, algorithm, 16, sync) else { continue };
                    let page = page(&schedule);
                    assert!(page.len() < 250_000, "{collective} {algorithm}: {}", page.len());
                    assert_eq!(data(&page)["ranks"], 16);
                }
            }
        }
    }
}
