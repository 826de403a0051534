//! The trace of a launch on its way to a file, and what it says of the launch in a few lines.
//!
//! `run` and `bench` write the same file and say the same of it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::Serialize;
use wgccl::backend::Prepared;
use wgccl::collective::Op;
use wgccl::element::DataType;
use wgccl::low_level::payload::Payload;
use wgccl::proof::Proved;
use wgccl::schedule::Site;
use wgccl::show::{Picture, html};
use wgccl::trace::{After, Clock, CriticalPath, Link, Trace};

use crate::device::Description;
use crate::dispatch;
use crate::text::{one_line, plain};
use crate::whole;

/// A trace, and of what it is.
#[derive(Debug)]
pub struct Traced {
    /// When what ran.
    pub trace: Trace,
    /// What ran.
    pub proved: Proved,
    /// Over what.
    pub payload: Payload,
    /// Where.
    pub device: Description,
    /// How.
    pub prepared: Prepared,
    /// Element type.
    pub data_type: DataType,
    /// Reduction, where there is one.
    pub op: Option<Op>,
}

/// What is told of a trace that was written.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The file.
    file: String,
    /// Instructions, once for each channel and piece.
    spans: usize,
    /// What its numbers are.
    clock: Clock,
    /// Links of the path, of which those that took longest are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<usize>,
    /// Times are nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    critical_path: Option<CriticalPath>,
    #[serde(skip)]
    several_channels: bool,
    #[serde(skip)]
    page: bool,
}

/// Whether the page is meant, and not events.
fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("html"))
}

/// Links that are shown: those that took longest.
const SHOWN: usize = 4;
/// And those that a script gets.
const KEPT: usize = 1000;
/// Ranks that lanes waited for that are shown.
const RANKS: usize = 3;
/// Characters of an instruction.
const NAME: usize = 48;

impl Traced {
    /// Writes a new file: of a name that ends with `.html` the page of the schedule that plays the launch, else Chrome trace events.
    ///
    /// # Errors
    /// [`io::Error`]; nothing is left behind.
    pub(crate) fn write(&self, path: &Path) -> io::Result<Told> {
        let Self { trace, proved, payload, prepared, .. } = self;
        let page = is_page(path);
        if page {
            let picture = Picture::new(proved.schedule(), proved.options()).map_err(io::Error::other)?;
            let picture = picture.chunk_bytes(payload.chunk_bytes() as u64);
            whole::create_by(path, |out| html(&picture, Some(trace), out))?;
        } else {
            let facts = self.facts();
            let facts: Vec<(&str, &str)> = facts.iter().map(|(name, text)| (*name, text.as_str())).collect();
            whole::create_by(path, |out| trace.write_chrome(proved, payload, &facts, out))?;
        }
        let mut critical_path = trace.critical_path(proved);
        let instructions = critical_path.as_ref().map(|path| path.links.len());
        critical_path.iter_mut().for_each(|path| keep_longest(&mut path.links, KEPT));
        Ok(Told {
            file: path.display().to_string(),
            spans: trace.spans.len(),
            clock: trace.clock,
            instructions,
            critical_path,
            several_channels: prepared.channels > 1,
            page,
        })
    }

    /// What the events say of the launch.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let Self { device, prepared, data_type, op, .. } = self;
        let mode = prepared.dispatch.map(|(mode, protocol)| dispatch::name(mode, protocol));
        let facts = [
            ("type", Some(data_type.name().to_owned())),
            ("op", op.map(|op| op.name().to_owned())),
            ("device", Some(device.name.clone())),
            ("backend", Some(device.backend.clone())),
            ("driver", device.driver.clone()),
            ("dispatch", mode),
            ("channels", Some(prepared.channels.to_string())),
            ("pieces", Some(prepared.pieces.to_string())),
            ("wgccl", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ];
        facts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

impl Told {
    /// Names and texts of what there is to say.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let file = plain(&self.file);
        let by = self.clock.describe();
        let reader = if self.page { "a browser" } else { "ui.perfetto.dev" };
        let mut lines = vec![("trace", format!("{file}: {} spans by {by}; for {reader}", self.spans))];
        let Some((path, number)) = self.critical_path.as_ref().zip(self.instructions) else { return lines };
        let CriticalPath { total, moving, waiting, links, lanes, .. } = path;
        lines.push((
            "critical",
            format!(
                "{number} instruction{} in {}: {} moving ({}), {} waiting",
                if number == 1 { "" } else { "s" },
                time(*total),
                time(*moving),
                share(*moving, *total),
                time(*waiting)
            ),
        ));
        let mut shown = links.clone();
        keep_longest(&mut shown, SHOWN);
        lines.extend(shown.iter().map(|link| ("", self.link(link))));
        if number > SHOWN {
            lines.push(("", format!("and {} shorter", number - SHOWN)));
        }
        let all = lanes.moving + lanes.waiting + lanes.turn;
        let mut said = format!(
            "{} moving, {} waiting for notifies, {} waiting for their turn",
            share(lanes.moving, all),
            share(lanes.waiting, all),
            share(lanes.turn, all)
        );
        let ranks: Vec<String> =
            lanes.waited_for.iter().take(RANKS).map(|of| format!("rank {} {}", of.rank, time(of.time))).collect();
        if !ranks.is_empty() {
            said += &format!("; waited longest for {}", ranks.join(", "));
        }
        lines.push(("lanes", said));
        lines
    }

    /// A link of the path, in a line.
    fn link(&self, link: &Link) -> String {
        let channel = link.channel.filter(|_| self.several_channels);
        let channel = channel.map_or_else(String::new, |channel| format!(", channel {channel}"));
        let waited = match (link.waiting, &link.after) {
            (0, _) => String::new(),
            (waiting, After::Notify(site)) => format!(", after {} for {}", time(waiting), name(site)),
            (waiting, _) => format!(", after {}", time(waiting)),
        };
        format!("{}{channel}: {} moving{waited}", name(&link.site), time(link.moving))
    }
}

/// Leaves the `most` links that took longest, in their order.
fn keep_longest(links: &mut Vec<Link>, most: usize) {
    if links.len() <= most {
        return;
    }
    let time = |link: &Link| link.moving + link.waiting;
    let mut order: Vec<usize> = (0..links.len()).collect();
    order.sort_by_key(|&at| Reverse(time(&links[at])));
    order.truncate(most);
    let (mut at, kept) = (0, order.into_iter().collect::<BTreeSet<_>>());
    links.retain(|_| {
        at += 1;
        kept.contains(&(at - 1))
    });
}

fn name(site: &Site) -> String {
    format!("rank {} {}", site.rank, one_line(&site.label.to_string(), NAME))
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.0} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// Nanoseconds, for people.
fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        ns if ns < 1_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        ns if ns < 1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        ns => format!("{:.2} s", ns as f64 / 1e9),
    }
}
