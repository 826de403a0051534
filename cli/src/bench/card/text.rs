//! A card as text and as Markdown, and the words that its picture has in common with them.

use std::fmt::Write;

use super::value::{Best, Card, Launch};
use crate::amount::size_name;
use crate::bench::plot::three_digits;
use crate::bench::result::Clock;
use crate::text::one_line;

/// What posts and terminals show of a line.
const WIDTH: usize = 72;

/// Name and kind of the device.
pub(super) fn device(card: &Card) -> String {
    let device = &card.device;
    match device.threads {
        Some(threads) => format!("{}, {threads} threads", device.name),
        None => format!("{} ({}, {})", one_line(&device.name, 40), device.backend, device.kind),
    }
}

/// Facts about what was measured on, by name; what is not known is not there.
pub(super) fn facts(card: &Card) -> Vec<(&'static str, String)> {
    let driver = card.device.driver.clone().unwrap_or_default();
    let all = [("driver", driver), ("machine", card.machine.hardware()), ("system", card.machine.system())];
    let room = WIDTH - 14;
    all.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, one_line(&text, room))).collect()
}

/// What all-reduces are of.
pub(super) fn all_reduce(card: &Card) -> String {
    let clock = match card.all_reduce.first().map(|best| best.clock) {
        Some(Clock::Device) => "medians by the device's clock",
        _ => "medians by the host's clock",
    };
    format!("all-reduce of f32, {} ranks, {clock}", card.ranks)
}

/// Microseconds, or of long times milliseconds.
pub(super) fn time(us: f64) -> String {
    if us < 10_000.0 { format!("{} us", three_digits(us)) } else { format!("{} ms", three_digits(us / 1e3)) }
}

pub(super) fn way(launch: &Launch) -> &str {
    launch.dispatch.as_deref().unwrap_or("threads")
}

/// Algorithm and mode.
pub(super) fn by(best: &Best) -> String {
    let mode = best.dispatch.iter().map(|mode| format!(", {mode}"));
    mode.fold(best.algorithm.clone(), |by, mode| by + &mode)
}

pub(super) fn percent(best: &Best) -> String {
    if best.roof_pct.is_finite() { format!("{:.0} %", best.roof_pct) } else { "-".to_owned() }
}

/// The copy that the roof is.
pub(super) fn roof(card: &Card) -> Option<String> {
    let roof = card.roof.as_ref()?;
    let by = roof.by.map_or_else(String::new, |by| format!(" by {by}"));
    Some(format!("{} GB/s, a copy of {}{by}", three_digits(roof.bandwidth), size_name(roof.bytes)))
}

/// Whether results were right.
pub(super) fn verdict(card: &Card) -> String {
    match (card.wrong, card.checked) {
        (0, 0) => "no result was checked".to_owned(),
        (0, _) => "every result bit-exact".to_owned(),
        (wrong, _) => format!("WRONG: {wrong} elements differ from the golden"),
    }
}

/// Program, commit and time.
pub(super) fn stamp(card: &Card) -> String {
    // The first ten digits of a hash name it.
    let commit =
        card.commit.map_or_else(String::new, |commit| format!(" ({})", one_line(commit, 10).replace("...", "")));
    format!("wgccl {}{commit}, {}", card.version, card.time_utc)
}

/// What is missing, one line each.
pub(super) fn left_out(card: &Card) -> impl Iterator<Item = String> {
    card.left_out.iter().map(|left| format!("left out: {}: {}", left.what, left.why))
}

/// As it is printed, without the last line feed.
pub fn text(card: &Card) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "{}", format!("{name:<12}{what}").trim_end());
    };
    line("device", &device(card));
    facts(card).iter().for_each(|(name, what)| line(name, what));
    let launches: Vec<String> =
        card.launch.iter().map(|launch| format!("{} {}", way(launch), three_digits(launch.us))).collect();
    if !launches.is_empty() {
        line("launch us", &launches.join(", "));
    }
    roof(card).iter().for_each(|roof| line("roof", roof));
    line("", "");
    line("size", &format!("{:>10}  {:>11}  {:>7}  algorithm", "time", "busbw", "of roof"));
    for best in &card.all_reduce {
        let bus_bw = format!("{} GB/s", three_digits(best.bus_bw));
        let values = format!("{:>10}  {bus_bw:>11}  {:>7}  {}", time(best.us), percent(best), by(best));
        line(&size_name(best.bytes), &values);
    }
    left_out(card).for_each(|left| line(&left, ""));
    line("", "");
    let _ = write!(text, "{}\n{}\n{}", all_reduce(card), verdict(card), stamp(card));
    text
}

/// As a heading and tables.
pub fn markdown(card: &Card) -> String {
    let mut text = format!("### {}\n\n| | |\n| :-- | :-- |\n", escaped(&device(card)));
    let mut row = |name: &str, what: &str| {
        let _ = writeln!(text, "| {name} | {} |", escaped(what));
    };
    facts(card).iter().for_each(|(name, what)| row(name, what));
    let launches: Vec<String> =
        card.launch.iter().map(|launch| format!("{} {}", way(launch), time(launch.us))).collect();
    if !launches.is_empty() {
        row("launch", &launches.join(", "));
    }
    roof(card).iter().for_each(|roof| row("roof", roof));
    let _ = write!(
        text,
        "\n{}:\n\n| size | time | busbw | of roof | algorithm |\n| --: | --: | --: | --: | :-- |\n",
        all_reduce(card)
    );
    for best in &card.all_reduce {
        let bus_bw = three_digits(best.bus_bw);
        let (size, by) = (size_name(best.bytes), by(best));
        let _ = writeln!(text, "| {size} | {} | {bus_bw} GB/s | {} | {by} |", time(best.us), percent(best));
    }
    left_out(card).for_each(|left| text.push_str(&format!("\n{}\n", escaped(&left))));
    text + &format!("\n{}. {}\n", verdict(card), stamp(card))
}

/// What names may hold that would end a cell or begin markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(c, '|' | '*' | '_' | '`' | '<' | '[' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
