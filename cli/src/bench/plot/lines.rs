//! Which lines a picture has: what tells rows apart, and what all of them have in common.
//!
//! One style is one algorithm everywhere: what has other ranks or another device has panels of its own. Where a single
//! algorithm was measured, its lines over ranks and devices share a panel instead.

use std::collections::{BTreeMap, BTreeSet};

use wgccl::collective::Collective;

use crate::bench::bandwidth::rate;
use crate::bench::machine::Machine;
use crate::bench::result::{Device, Group, Row, redop_name};
use crate::bench::statistics::quartiles;
use crate::text::short;

/// A record, as a picture shows it.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// For a legend, where records have to be told apart.
    pub name: String,
    /// What it was measured on.
    pub machine: Option<Machine>,
    /// Devices that rows name by index.
    pub devices: Vec<Device>,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// One line.
pub(super) struct Series {
    pub(super) group: Group,
    /// Which colour and mark: an index into the picture's labels.
    pub(super) style: usize,
    pub(super) points: Vec<Point>,
}

/// One place of a line: out of place, or in place where that is all there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Bytes, and of a barrier, which has none, ranks.
    pub(super) x: f64,
    /// Lower quartile, median and upper quartile of the launches, in microseconds.
    pub(super) time: [f64; 3],
    /// Of the same, so the highest first.
    pub(super) bus_bw: [f64; 3],
    pub(super) roof_time: f64,
    pub(super) roof_bus_bw: f64,
}

/// What is shown of a point.
pub(super) struct Measure {
    pub(super) caption: &'static str,
    pub(super) unit: &'static str,
    /// Median, and the ends of the middle half.
    pub(super) value: fn(&Point) -> [f64; 3],
    pub(super) roof: fn(&Point) -> f64,
}

const MEASURES: [Measure; 2] = [
    Measure { caption: "time of a launch (us)", unit: "us", value: |point| point.time, roof: |point| point.roof_time },
    Measure { caption: "busbw (GB/s)", unit: "GB/s", value: |point| point.bus_bw, roof: |point| point.roof_bus_bw },
];

/// What is shown.
pub(super) struct Lines {
    /// What all lines have in common.
    pub(super) title: String,
    /// Devices, drivers and machines.
    pub(super) notes: Vec<String>,
    /// Of each style.
    pub(super) labels: Vec<String>,
    /// Lines on the same axes, under a caption that tells these panels from others.
    pub(super) panels: Vec<(String, Vec<Series>)>,
    pub(super) x_label: &'static str,
    pub(super) over_ranks: bool,
    /// Each device and number of ranks has its own roof; where they share a panel it has their colour.
    pub(super) one_panel: bool,
}

/// What can tell two lines apart. The first two fields are a panel's, the others a style's.
const FIELDS: usize = 10;
const OF_PANEL: usize = 2;
const DEVICE: usize = 1;
const ALGORITHM: usize = 3;
const RECORD: usize = FIELDS - 1;

/// Of modes that devices chose by themselves nothing is said: an algorithm keeps its style on all of them.
fn tells_modes(rows: &[Row]) -> bool {
    let mode = Row::dispatch_name;
    let distinct: BTreeSet<_> = rows.iter().map(mode).collect();
    let on_devices: BTreeSet<_> = rows.iter().map(|row| (row.device, mode(row))).collect();
    let devices: BTreeSet<_> = rows.iter().map(|row| row.device).collect();
    distinct.len() == 1 || on_devices.len() > devices.len()
}

fn names(devices: &[Device], group: &Group, modes: bool) -> [String; FIELDS] {
    let device = devices.get(group.device);
    let what = match (group.collective, group.redop) {
        (Collective::Barrier, _) => group.collective.to_string(),
        (collective, None) => format!("{collective} {}", group.data_type),
        (collective, redop) => format!("{collective} {} {}", group.data_type, redop_name(redop)),
    };
    let over_ranks = group.collective == Collective::Barrier;
    [
        if over_ranks { String::new() } else { format!("{} ranks", group.ranks) },
        device.map_or_else(String::new, device_name),
        what,
        group.algorithm().to_owned(),
        group.dispatch.clone().filter(|_| modes).unwrap_or_default(),
        if group.in_place { "in place".to_owned() } else { String::new() },
        group.sync.to_string(),
        format!("root {}", group.root.max(0)),
        format!("cycle {}", group.cycle + 1),
        String::new(),
    ]
}

fn device_name(device: &Device) -> String {
    let name = short(&device.name);
    if device.backend == "cpu" { name.to_owned() } else { format!("{name} ({})", device.backend) }
}

/// Rows of all records with their names; devices that several records have are one.
fn merged(records: &[Shown]) -> (Vec<Device>, Vec<Row>, Vec<usize>) {
    let (mut devices, mut rows, mut record_of) = (Vec::new(), Vec::new(), Vec::new());
    for (index, record) in records.iter().enumerate() {
        let places: Vec<usize> = record
            .devices
            .iter()
            .map(|device| position(&mut devices, |known| known == device, || device.clone()))
            .collect();
        for row in &record.rows {
            rows.push(Row { device: places.get(row.device).copied().unwrap_or(row.device), ..row.clone() });
            record_of.push(index);
        }
    }
    (devices, rows, record_of)
}

/// Whether two records have the same row, or may have: then each line says of which it is.
fn tells_records(records: &[Shown], rows: &[Row], all: &[[String; FIELDS]], record_of: &[usize]) -> bool {
    let mut machines = records.iter().filter_map(|record| record.machine.as_ref());
    let first = machines.next();
    let mut seen = BTreeMap::new();
    let is_twice = |((row, names), &record): ((&Row, &[String; FIELDS]), &usize)| {
        *seen.entry((names.clone(), row.size)).or_insert(record) != record
    };
    machines.any(|machine| Some(machine) != first) || rows.iter().zip(all).zip(record_of).any(is_twice)
}

fn notes(records: &[Shown], devices: &[Device]) -> Vec<String> {
    let mut notes = Vec::new();
    if let [device] = devices {
        let driver = device.driver.iter().filter(|driver| !driver.is_empty()).map(|driver| format!(", {driver}"));
        let threads = device.threads.iter().map(|threads| format!(", {threads} threads"));
        notes.push(driver.chain(threads).fold(device_name(device), |name, more| name + &more));
    }
    let titles = records.iter().map(|record| record.machine.as_ref().map_or_else(String::new, Machine::title));
    let titles: Vec<(&str, String)> = records.iter().map(|record| record.name.as_str()).zip(titles).collect();
    let distinct: BTreeSet<&str> = titles.iter().map(|(_, title)| title.as_str()).collect();
    let known = |(_, title): &&(&str, String)| !title.is_empty();
    match distinct.len() {
        1 => notes.extend(distinct.into_iter().filter(|title| !title.is_empty()).map(str::to_owned)),
        _ => notes.extend(titles.iter().filter(known).map(|(name, title)| format!("{name}: {title}"))),
    }
    notes
}

impl Lines {
    pub(super) fn of(records: &[Shown]) -> Self {
        let (devices, rows, record_of) = merged(records);
        let collective = rows.first().map_or(Collective::AllReduce, |row| row.collective);
        let over_ranks = collective == Collective::Barrier;
        let modes = tells_modes(&rows);
        let mut all: Vec<[String; FIELDS]> = rows.iter().map(|row| names(&devices, &row.group(), modes)).collect();
        if tells_records(records, &rows, &all, &record_of) {
            all.iter_mut().zip(&record_of).for_each(|(of, &record)| of[RECORD].clone_from(&records[record].name));
        }
        let differs: [bool; FIELDS] = std::array::from_fn(|field| all.iter().any(|of| of[field] != all[0][field]));
        let differing = |of: &[String; FIELDS], fields: std::ops::Range<usize>| {
            let of: Vec<&str> = fields
                .filter(|&field| differs[field] && !of[field].is_empty())
                .map(|field| of[field].as_str())
                .collect();
            of.join(", ")
        };
        let one_panel = !differs[OF_PANEL..].contains(&true);

        let (mut labels, mut panels) = (Vec::new(), Vec::<(String, Vec<Series>)>::new());
        for (row, of) in rows.iter().zip(&all) {
            let style = differing(of, if one_panel { 0..FIELDS } else { OF_PANEL..FIELDS });
            let style = if style.is_empty() { of[ALGORITHM].clone() } else { style };
            let style = position(&mut labels, |label| *label == style, || style.clone());
            let caption = if one_panel { String::new() } else { differing(of, 0..OF_PANEL) };
            let panel = position(&mut panels, |(known, _)| *known == caption, || (caption.clone(), Vec::new()));
            let series = &mut panels[panel].1;
            let line = |series: &Series| series.style == style;
            let line = position(series, line, || Series { group: row.group(), style, points: Vec::new() });
            series[line].points.extend(point(row));
        }
        // The first cycle goes without saying, and so do the usual synchronisation and root; the device is a note.
        let usual = ["", "cycle 1", "neighbor", "root 0"];
        let title = (OF_PANEL..RECORD).chain([0]).filter(|&field| !differs[field] && field != DEVICE);
        let title = title.filter_map(|field| all.first().map(|of| of[field].as_str()));
        let title: Vec<&str> = title.filter(|name| !usual.contains(name)).collect();
        let x_label = match collective.size_parts(2) {
            0 => "ranks",
            1 => "bytes of a rank's vector",
            _ => "bytes of a rank's longer buffer",
        };
        Self {
            title: title.join(", "),
            notes: notes(records, &devices),
            labels,
            panels,
            x_label,
            over_ranks,
            one_panel,
        }
    }

    fn series(&self) -> impl Iterator<Item = &Series> {
        self.panels.iter().flat_map(|(_, series)| series)
    }

    pub(super) fn points(&self) -> impl Iterator<Item = &Point> {
        self.series().flat_map(|series| &series.points)
    }

    /// Those that have a value somewhere: no busbw of one rank or of a barrier.
    pub(super) fn measures(&self) -> Vec<&'static Measure> {
        MEASURES.iter().filter(|measure| self.points().any(|point| (measure.value)(point)[1] > 0.0)).collect()
    }

    /// One size: a line through one point is none.
    pub(super) fn is_of_one_size(&self) -> bool {
        let mut points = self.points();
        let first = points.next().map(|point| point.x);
        points.all(|point| Some(point.x) == first)
    }
}

/// Where the item is, put at the end if there is none.
fn position<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    items.iter().position(is).unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    })
}

fn point(row: &Row) -> Option<Point> {
    let (_, samples) = row.first()?;
    let times = samples.times_us.get(samples.skipped_iterations..).unwrap_or_default();
    let time = quartiles(times).unwrap_or([samples.statistics.p50; 3]);
    let (size, factor) = (row.size as f64, row.collective.bus_factor(row.ranks));
    // Of nothing there is no copy.
    let roof_time = if row.size > 0 { row.roof.time } else { 0.0 };
    Some(Point {
        x: if row.size > 0 { size } else { row.ranks.into() },
        time,
        bus_bw: time.map(|time| rate(size, time) * factor),
        roof_time,
        roof_bus_bw: rate(size, roof_time) * factor,
    })
}
