//! The record as Markdown: one table for each number of ranks, and where the subject is not the fastest.

use std::fmt::Write;

use wgccl_cli::bench::Statistics;

use crate::record::{Record, Role};
use crate::summary::{NOISE, Time, digits, duration, size};

pub fn markdown(record: &Record) -> String {
    let mut text = head(record);
    let (ranks, sizes) = record.axes();
    for &ranks in &ranks {
        let _ = writeln!(text, "\n## {ranks} ranks\n\n{}", header(&sizes));
        for (row, _) in record.rows() {
            let cells = sizes.iter().map(|&bytes| {
                record.best(row, ranks, bytes).map_or_else(|| "-".to_owned(), |time| cell(record, time, ranks, bytes))
            });
            line(&mut text, row, cells);
        }
    }
    text.push_str(&verdict(record, &ranks, &sizes));
    text.push_str("\n## All variants\n\nMedian (shortest).\n");
    for &ranks in &ranks {
        let _ = writeln!(text, "\n{ranks} ranks:\n\n{}", header(&sizes));
        for peer in &record.peers {
            let of = |bytes| record.times(ranks, bytes).find(|time| time.peer.id == peer.id);
            let text_of = |time: Time<'_>| format!("{} ({})", duration(time.median), duration(time.shortest));
            line(&mut text, &peer.id, sizes.iter().map(|&bytes| of(bytes).map_or_else(|| "-".to_owned(), text_of)));
        }
    }
    if !record.skipped.is_empty() {
        text.push_str("\n## Skipped\n\n");
        for skipped in &record.skipped {
            let place =
                skipped.cell.map_or_else(String::new, |(ranks, bytes)| format!(", {ranks} ranks of {}", size(bytes)));
            let _ = writeln!(text, "- {}{place}: {}", skipped.peer, skipped.why);
        }
    }
    text
}

fn head(record: &Record) -> String {
    let machine = &record.machine;
    let versions: Vec<String> = record.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let memory = machine.memory_gib.map_or_else(String::new, |gib| format!(", {gib} GiB"));
    let pages = machine.transparent_huge_pages.as_deref();
    let pages = pages.map_or_else(String::new, |pages| format!(", transparent huge pages: {pages}"));
    let (_, sizes) = record.axes();
    let cells = record.axes().0.into_iter().flat_map(|ranks| sizes.iter().map(move |&bytes| (ranks, bytes)));
    let rounds = cells.flat_map(|(ranks, bytes)| record.times(ranks, bytes).map(|time| time.rounds));
    let (least, most) = rounds.fold((usize::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
    let rounds = if least == most { most.to_string() } else { format!("{least} to {most}") };
    format!(
        "# All-reduce, f32, sum, out of place: wgccl and its peers\n\n\
         {}, {} threads{memory}; {}{pages}. Measured from {} to {}.\n\n\
         {}.\n\n\
         A cell is the median of each of {rounds} rounds, then the median of these, for the row's best variant: \
         time · ratio to `wgccl CPU direct` / ratio to the floor (variant). \
         Sizes are those of one rank's vector. {}Do not read differences below {NOISE}x as real. \
         `benches/peers/README.md` says what each row means and what it does not.\n",
        machine.cpu,
        machine.threads,
        machine.os,
        record.start_time,
        record.end_time,
        versions.join(", "),
        disturbance(record),
    )
}

/// What others took of the machine.
fn disturbance(record: &Record) -> String {
    let rounds = record.cells.iter().flat_map(|cell| &cell.rounds);
    let others: Vec<f64> = rounds.filter_map(|round| round.others).map(|others| 100.0 * others).collect();
    Statistics::of(&others).map_or_else(String::new, |others| {
        format!(
            "Other processes took {:.1} % of the machine in the median measurement, {:.0} % in one of a hundred. ",
            others.p50, others.p99
        )
    })
}

fn header(sizes: &[usize]) -> String {
    let names: Vec<String> = sizes.iter().map(|&bytes| size(bytes)).collect();
    format!("| | {} |\n|---|{}", names.join(" | "), "---:|".repeat(sizes.len()))
}

fn line(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
}

fn cell(record: &Record, time: Time<'_>, ranks: usize, bytes: usize) -> String {
    let ratio = |role| {
        let of = record.best_of(role, ranks, bytes);
        of.map_or_else(|| "-".to_owned(), |of| digits(time.median / of))
    };
    let variant = &time.peer.variant;
    let variant = if variant.is_empty() { String::new() } else { format!(" ({variant})") };
    let wrong = if time.wrong > 0 { " WRONG RESULT" } else { "" };
    format!("{} · {} / {}{variant}{wrong}", duration(time.median), ratio(Role::Subject), ratio(Role::Floor))
}

/// Every cell in which a peer that does the same is faster, or nearly so.
fn verdict(record: &Record, ranks: &[usize], sizes: &[usize]) -> String {
    let (mut faster, mut near) = (String::new(), String::new());
    for (&ranks, &bytes) in ranks.iter().flat_map(|ranks| sizes.iter().map(move |bytes| (ranks, bytes))) {
        let Some(subject) = record.best_of(Role::Subject, ranks, bytes) else { continue };
        for (row, _) in record.rows().into_iter().filter(|(_, role)| *role == Role::Peer) {
            let Some(time) = record.best(row, ranks, bytes) else { continue };
            let ratio = time.median / subject;
            let list = match ratio {
                r if r < 1.0 => &mut faster,
                r if r < NOISE => &mut near,
                _ => continue,
            };
            let _ = writeln!(list, "- {ranks} ranks of {}: {}, {ratio:.2}x", size(bytes), time.peer.id);
        }
    }
    let or_none = |list: String| if list.is_empty() { "Nowhere.\n".to_owned() } else { list };
    format!(
        "\n## Where a peer took less time than `wgccl CPU direct`\n\n{}\n\
         ## Where a peer took less than {NOISE}x its time\n\n{}",
        or_none(faster),
        or_none(near)
    )
}
