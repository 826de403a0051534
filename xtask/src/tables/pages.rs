//! Tables and pictures made from definitions and records. Tables are put between their markers, pictures are whole files.
//!
//! A published figure is what `benches/definitions` says it is: the command must be the one that the record holds, its
//! results must have been right, and no record and no picture lies around that no definition explains.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use wgccl_cli::bench::plot;
use wgccl_cli::bench::record::Recorded;
use wgccl_cli::bench::report::title;
use wgccl_cli::bench::table::Columns;

/// A page whose tables are stale, or a picture that is.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    /// What it should be.
    pub(crate) text: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("{path}: {why}")]
    Format { path: PathBuf, why: String },
    #[error("{record}: {why}")]
    Record { record: String, why: String },
    #[error("{file}: {why}")]
    Markers { file: String, why: String },
    #[error("{file}: {why}")]
    Picture { file: String, why: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    title: String,
    shows: String,
    does_not_show: String,
    /// With `{device}`, `{dispatch}` and `{record}` to be put in for each record.
    command: String,
    #[serde(default)]
    records: Vec<Source>,
    /// Paths in `benches/results`, without `.json`, of records of another form, each with a table of its own beside it.
    #[serde(default)]
    other_records: Vec<String>,
    #[serde(default)]
    tables: Vec<Table>,
    #[serde(default)]
    pictures: Vec<Picture>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    /// A path in `benches/results`, without `.json`: `<date>-<machine>/<name>`.
    record: String,
    device: String,
    /// Where the command takes one.
    #[serde(default)]
    dispatch: String,
    /// For the head of a column.
    label: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// As in its marker.
    name: String,
    file: String,
    layout: Layout,
    /// Only these; all if empty.
    #[serde(default)]
    ranks: Vec<u32>,
    /// Of a report: of what.
    record: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Picture {
    /// A name in `benches/pictures`.
    file: String,
    /// Which of the definition's records it shows, all on the same axes.
    records: Vec<String>,
    /// Only these; all if empty.
    #[serde(default)]
    ranks: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Layout {
    /// A table for each device with all columns.
    Full,
    /// One table, two columns for each device.
    Short,
    /// What the command printed, without what every machine prints otherwise.
    Report,
}

#[derive(Debug, Clone, Deserialize)]
struct Record {
    version: String,
    start_time: String,
    args: Vec<String>,
    devices: Vec<Device>,
    results: Vec<Row>,
    out_of_bounds: OutOfBounds,
    errors: Vec<String>,
    #[serde(default = "yes")]
    complete: bool,
}

/// Records of before that key were only written at the end.
fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Deserialize)]
struct Device {
    name: String,
    backend: String,
    driver: Option<String>,
    threads: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
struct OutOfBounds {
    okay: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Row {
    size: u64,
    algorithm: String,
    ranks: u32,
    /// None of a schedule that is right in place only.
    out_of_place: Option<Measured>,
    out_of_place_per_iter: Option<Samples>,
    #[serde(default)]
    in_place: Option<Measured>,
    #[serde(default)]
    in_place_per_iter: Option<Samples>,
}

impl Row {
    /// What a table shows: the row out of place, or where there is none in place, which is said of it.
    fn shown(&self) -> Option<(&Measured, &Samples)> {
        let apart = self.out_of_place.as_ref().zip(self.out_of_place_per_iter.as_ref());
        apart.or(self.in_place.as_ref().zip(self.in_place_per_iter.as_ref()))
    }

    /// By which algorithm.
    fn by(&self) -> String {
        let place = if self.out_of_place.is_none() { ", in place" } else { "" };
        format!("{}{place}", self.algorithm)
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Measured {
    /// Mean, which bandwidths are of.
    time: f64,
    clock: String,
    bus_bw: f64,
    mem_bw: f64,
    roof_pct: Option<f64>,
    dispatch: Option<String>,
    /// Records of schema 1 have none.
    protocol: Option<String>,
}

impl Measured {
    /// Dispatch mode and protocol in one word.
    fn way(&self) -> Option<String> {
        let protocol = self.protocol.as_deref().filter(|&protocol| protocol != "simple");
        Some(match (self.dispatch.as_deref()?, protocol) {
            (mode, None) => mode.to_owned(),
            (mode, Some(protocol)) => format!("{mode}-{protocol}"),
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Samples {
    p50_us: f64,
}

/// Where pictures lie, under the root.
const PICTURES: &str = "benches/pictures";

/// Pages and pictures under `root` that are not what definitions and records say.
pub(crate) fn stale_pages(root: &Path) -> Result<Vec<Page>, Error> {
    let definitions = definitions(&root.join("benches/definitions"))?;
    let results = root.join("benches/results");
    let mut bodies = BTreeMap::<&str, BTreeMap<&str, String>>::new();
    let list = overview(&definitions);
    bodies.entry("benches/README.md").or_default().insert("definitions", list);
    let mut explained = BTreeSet::new();
    for (_, definition) in &definitions {
        let mut records = Vec::new();
        for source in &definition.records {
            let record: Record = read(&results.join(&source.record).with_extension("json"), json)?;
            checked(definition, source, &record)?;
            explained.insert(source.record.clone());
            records.push((source, record));
        }
        explained.extend(definition.other_records.iter().cloned());
        for table in &definition.tables {
            let body = match table.layout {
                Layout::Full => full(table, &records),
                Layout::Short => short(table, &records),
                Layout::Report => report(definition, table, &results)?,
            };
            bodies.entry(&table.file).or_default().insert(&table.name, body);
        }
    }
    for name in records(&results)? {
        if !explained.contains(&name) {
            let why = "no definition names this record; add it to one of benches/definitions".to_owned();
            return Err(Error::Record { record: name, why });
        }
        let path = results.join(&name).with_extension("json");
        let text = std::fs::read_to_string(&path).map_err(|error| Error::File { path, error })?;
        super::records::look(&name, &text).map_err(|why| Error::Record { record: name, why })?;
    }
    let mut stale = stale_pictures(root, &definitions)?;
    for (file, bodies) in bodies {
        let path = root.join(file);
        let old = std::fs::read_to_string(&path).map_err(|error| Error::File { path: path.clone(), error })?;
        let text = spliced(&old, &bodies).map_err(|why| Error::Markers { file: file.to_owned(), why })?;
        if text != old {
            stale.push(Page { path, text });
        }
    }
    Ok(stale)
}

/// Those that are not what their records show. One that no definition draws is refused.
fn stale_pictures(root: &Path, definitions: &[(String, Definition)]) -> Result<Vec<Page>, Error> {
    let dir = root.join(PICTURES);
    let (mut stale, mut drawn) = (Vec::new(), BTreeSet::new());
    for (definition, picture) in definitions
        .iter()
        .flat_map(|(_, definition)| definition.pictures.iter().map(move |picture| (definition, picture)))
    {
        let (path, text) = (dir.join(&picture.file), picture.draw(definition, &root.join("benches/results"))?);
        drawn.insert(picture.file.clone());
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            stale.push(Page { path, text });
        }
    }
    match names(&dir, "svg")?.into_iter().map(|name| name + ".svg").find(|file| !drawn.contains(file)) {
        Some(file) => Err(Error::Picture { file, why: "no definition draws this picture".to_owned() }),
        None => Ok(stale),
    }
}

/// By name of their files.
fn definitions(dir: &Path) -> Result<Vec<(String, Definition)>, Error> {
    names(dir, "toml")?
        .into_iter()
        .map(|name| {
            let definition = read(&dir.join(&name).with_extension("toml"), toml)?;
            Ok((name, definition))
        })
        .collect()
}

/// Of files that end in `extension`, which is cut off.
fn names(dir: &Path, extension: &str) -> Result<BTreeSet<String>, Error> {
    let failed = |error| Error::File { path: dir.to_owned(), error };
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

/// All JSON in `results` and its folders, as definitions name them.
fn records(results: &Path) -> Result<BTreeSet<String>, Error> {
    let failed = |error| Error::File { path: results.to_owned(), error };
    let mut records = names(results, "json")?;
    for entry in std::fs::read_dir(results).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let (true, Some(folder)) = (path.is_dir(), path.file_name()) {
            records
                .extend(names(&path, "json")?.into_iter().map(|name| format!("{}/{name}", folder.to_string_lossy())));
        }
    }
    Ok(records)
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::File { path: path.to_owned(), error })?;
    parse(&text).map_err(|why| Error::Format { path: path.to_owned(), why })
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    ::toml::from_str(text).map_err(|error| error.to_string())
}

/// The record must be of the command that is published, of the date that its folder has, and right.
fn checked(definition: &Definition, source: &Source, record: &Record) -> Result<(), Error> {
    let failed = |why: String| Err(Error::Record { record: source.record.clone(), why });
    // Words first: a device's name may have spaces.
    let put_in = |word: &str| {
        let word = word.trim_matches('"');
        word.replace("{device}", &source.device).replace("{dispatch}", &source.dispatch)
    };
    let published: Vec<String> = definition.command.split_whitespace().skip(1).map(put_in).collect();
    let published = measured(&published);
    let date = record.start_time.split(' ').next().unwrap_or_default();
    match record {
        Record { args, .. } if measured(args.get(1..).unwrap_or_default()) != published => {
            failed(format!("it is of the command\n  {args:?}\nbut its definition says\n  {published:?}"))
        }
        Record { out_of_bounds: OutOfBounds { okay: false }, .. } => failed("it has wrong elements".to_owned()),
        Record { complete: false, .. } => failed("its sweep did not end".to_owned()),
        Record { errors, .. } if !errors.is_empty() => failed(format!("it has errors: {}", errors.join("; "))),
        Record { devices, .. } if devices.len() != 1 => failed(format!("it is of {} devices", devices.len())),
        _ if !source.record.starts_with(&format!("{date}-")) => failed(format!("it was measured on {date}")),
        _ => Ok(()),
    }
}

/// What of a command's words decides the figures: records, pictures and cards may be moved afterwards.
fn measured(args: &[String]) -> Vec<&String> {
    let mut args = args.iter();
    let mut kept = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-J" | "--plot" | "--card" => drop(args.next()),
            _ => kept.push(arg),
        }
    }
    kept
}

/// One row for each definition.
fn overview(definitions: &[(String, Definition)]) -> String {
    let mut text = String::new();
    for (name, Definition { title, shows, does_not_show, command, records, other_records, .. }) in definitions {
        let _ = writeln!(text, "**{title}** (`definitions/{name}.toml`)\n\n```sh\n{command}\n```\n");
        let _ = writeln!(text, "- shows: {shows}\n- does not show: {does_not_show}");
        if !records.is_empty() {
            let records: Vec<String> =
                records.iter().map(|source| format!("`{}` (`{}`)", source.record, source.device)).collect();
            let _ = writeln!(text, "- records (and `{{device}}`): {}", records.join(", "));
        }
        for record in other_records {
            let _ = writeln!(text, "- record: [`{record}`](results/{record}.json), [table](results/{record}.md)");
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

impl Table {
    /// The rows that it shows: ranks, then sizes, then algorithms in the order of the record.
    fn rows<'a>(&self, record: &'a Record) -> Vec<&'a Row> {
        let mut rows: Vec<&Row> =
            record.results.iter().filter(|row| self.ranks.is_empty() || self.ranks.contains(&row.ranks)).collect();
        rows.sort_by_key(|row| (row.ranks, row.size));
        rows
    }
}

/// Bandwidths of the record are of the mean time; `value` at the median.
fn at_p50((placement, samples): (&Measured, &Samples), value: f64) -> f64 {
    value * placement.time / samples.p50_us
}

impl Picture {
    /// As SVG.
    fn draw(&self, definition: &Definition, results: &Path) -> Result<String, Error> {
        let failed = |why: String| Error::Picture { file: self.file.clone(), why };
        let mut shown = Vec::new();
        for name in &self.records {
            if !definition.records.iter().any(|source| source.record == *name) {
                return Err(failed(format!("{name} is none of its definition's records")));
            }
            let record: Recorded = read(&results.join(name).with_extension("json"), Recorded::parse)?;
            let mut record = record.shown(name.clone());
            record.rows.retain(|row| self.ranks.is_empty() || self.ranks.contains(&row.ranks));
            shown.push(record);
        }
        let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
        let path = folder.path().join(&self.file);
        plot::draw(&path, &shown).map_err(|error| failed(error.to_string()))?;
        std::fs::read_to_string(&path).map_err(|error| Error::File { path, error })
    }
}

fn full(table: &Table, records: &[(&Source, Record)]) -> String {
    let mut text = String::new();
    for (source, record) in records {
        let rows = table.rows(record);
        let Some(device) = record.devices.first() else { continue };
        let mut about: Vec<String> = (device.name != source.label).then(|| device.name.clone()).into_iter().collect();
        about.extend((device.backend != "cpu").then(|| device.backend.clone()));
        about.extend(device.driver.clone());
        about.extend(device.threads.map(|threads| format!("{threads} threads")));
        let first = rows.first().and_then(|row| row.shown()).map(|(placement, _)| placement);
        about.extend(first.and_then(Measured::way));
        about.extend(first.map(|placement| format!("{} clock", placement.clock)));
        let date = record.start_time.split(' ').next().unwrap_or_default();
        let _ = write!(
            text,
            "**{}**: {}; wgccl {}, {date}, [record](results/{}.json)\n\n\
             | ranks | size | algorithm | p50 (us) | busbw (GB/s) | membw (GB/s) | roof (%) |\n\
             | --: | --: | :-- | --: | --: | --: | --: |\n",
            source.label,
            about.join(", "),
            record.version,
            source.record
        );
        for row in rows {
            let Some(shown @ (placement, samples)) = row.shown() else { continue };
            let [bus, mem] = [placement.bus_bw, placement.mem_bw].map(|bandwidth| number(at_p50(shown, bandwidth)));
            let roof = placement.roof_pct.map_or_else(|| "-".to_owned(), |percent| number(at_p50(shown, percent)));
            let (ranks, size, by, p50) = (row.ranks, bytes(row.size), row.by(), number(samples.p50_us));
            let _ = writeln!(text, "| {ranks} | {size} | {by} | {p50} | {bus} | {mem} | {roof} |");
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

fn short(table: &Table, records: &[(&Source, Record)]) -> String {
    let mut text = "| ranks | size | algorithm |".to_owned();
    for (source, _) in records {
        let _ = write!(text, " {0}: p50 (us) | busbw (GB/s) |", source.label);
    }
    text.push_str("\n| --: | --: | :-- |");
    text.push_str(&" --: | --: |".repeat(records.len()));
    let Some((_, first)) = records.first() else { return text };
    for row in table.rows(first) {
        let _ = write!(text, "\n| {} | {} | {} |", row.ranks, bytes(row.size), row.by());
        for (_, record) in records {
            let same = |other: &&Row| (other.ranks, other.size, other.by()) == (row.ranks, row.size, row.by());
            let cells = record.results.iter().find(same).and_then(Row::shown).map_or_else(
                || ["-".to_owned(), "-".to_owned()],
                |shown @ (placement, samples)| [number(samples.p50_us), number(at_p50(shown, placement.bus_bw))],
            );
            let _ = write!(text, " {} | {} |", cells[0], cells[1]);
        }
    }
    text
}

/// As the program prints rows, from the record.
fn report(definition: &Definition, table: &Table, results: &Path) -> Result<String, Error> {
    let named = |source: &&Source| Some(&source.record) == table.record.as_ref();
    let Some(source) = definition.records.iter().find(named) else {
        let record = table.record.clone().unwrap_or_default();
        return Err(Error::Record { record, why: format!("table '{}' is of none of its definition's", table.name) });
    };
    let path = results.join(&source.record).with_extension("json");
    let record: Recorded = read(&path, Recorded::parse)?;
    let command = definition.command.split(" -J ").next().unwrap_or_default().replace("{device}", &source.device);
    let mut text = format!("```text\n$ {}\n", command.trim());
    let columns = Columns::default();
    let mut last = String::new();
    for row in record.results.iter().filter(|row| table.ranks.is_empty() || table.ranks.contains(&row.ranks)) {
        let title = record.devices.get(row.device).map_or_else(String::new, |device| title(row, device));
        if title != last {
            let _ = write!(text, "...\n{title}");
            // One head of columns is enough.
            if last.is_empty() {
                text.extend(columns.captions().lines().skip(1).map(|line| format!("{}\n", line.trim_end())));
            }
            last = title;
        }
        let _ = writeln!(text, "{}", columns.row(row).trim_end());
    }
    Ok(text + "```")
}

/// Three significant digits.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        v if v < 0.995 => 3,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

fn bytes(size: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units.into_iter().find(|&(factor, _)| size >= factor && size.is_multiple_of(factor));
    whole.map_or_else(|| format!("{size} B"), |(factor, unit)| format!("{} {unit}", size / factor))
}

const BEGIN: &str = "<!-- table: ";
const NAME_END: &str = " -->\n";
const END: &str = "<!-- end -->";

/// `text` with every body between its markers. Each body must have its place, and each place its body.
fn spliced(text: &str, bodies: &BTreeMap<&str, String>) -> Result<String, String> {
    let mut used = BTreeSet::new();
    let mut parts = text.split(BEGIN);
    let mut new = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(NAME_END).ok_or("a table's marker does not end its line")?;
        let (_, after) = rest.split_once(END).ok_or_else(|| format!("table '{name}' has no {END}"))?;
        let body = bodies.get(name).ok_or_else(|| format!("no definition has a table '{name}' for this file"))?;
        used.insert(name);
        let _ = write!(new, "{BEGIN}{name}{NAME_END}\n{body}\n\n{END}{after}");
    }
    match bodies.keys().find(|name| !used.contains(*name)) {
        Some(name) => Err(format!("there is no place for table '{name}'; put in\n{BEGIN}{name}{NAME_END}{END}")),
        None => Ok(new),
    }
}
