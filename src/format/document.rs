//! The project's own format, `wgccl-schedule/1`: serde's form of a schedule, written down in `docs/schedule-format.md`.
//!
//! A document names a schedule and cannot claim to be a built-in one: what is read has the origin of a custom schedule.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::collective::{Collective, Task};
use crate::schedule::{Address, Granularity, Instruction, Label, Lane, Notify, Schedule, Wait};

/// The name of the format, which every document begins with.
pub const FORMAT: &str = "wgccl-schedule/1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: Format,
    name: String,
    collective: Collective,
    #[serde(default, skip_serializing_if = "is_default")]
    root: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<u32>,
    ranks: u32,
    chunks: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    divisible_by: Option<u32>,
    #[serde(default, skip_serializing_if = "Slots::none")]
    slots: Slots,
    #[serde(default, skip_serializing_if = "is_default")]
    signal_rows: u32,
    lanes: Vec<DocumentLane>,
}

/// [`FORMAT`]: read first, because documents of another version have other members.
struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FORMAT.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            FORMAT => Ok(Self),
            other => Err(D::Error::custom(format!("the format is '{other}', and this version reads '{FORMAT}'"))),
        }
    }
}

/// Of every rank as many, or of each rank.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "slots are a number, or a list with a number for each rank")]
enum Slots {
    Each(u32),
    OfRanks(Vec<u32>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentLane {
    rank: u32,
    instructions: Vec<DocumentInstruction>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentInstruction {
    label: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waits: Vec<DocumentWait>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    from: Vec<Address>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    to: Vec<Address>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    chunks: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notifies: Vec<DocumentNotify>,
    #[serde(default, skip_serializing_if = "is_default")]
    zeroes_signals: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentWait {
    row: u32,
    sender: u32,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    at_least: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentNotify {
    peer: u32,
    row: u32,
}

fn one() -> u32 {
    1
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for Slots {
    fn default() -> Self {
        Self::Each(0)
    }
}

impl Slots {
    fn of(slots: &[u32], ranks: u32) -> Self {
        match slots {
            [] => Self::Each(0),
            [first, ..] if slots.len() == ranks as usize && slots.iter().all(|n| n == first) => Self::Each(*first),
            _ => Self::OfRanks(slots.to_vec()),
        }
    }

    fn none(&self) -> bool {
        matches!(self, Self::Each(0))
    }
}

impl From<&Schedule> for Document {
    fn from(schedule: &Schedule) -> Self {
        let Schedule { origin, task, ranks, chunks, granularity, slots, signal_rows, lanes } = schedule;
        Self {
            format: Format,
            name: origin.name().to_owned(),
            collective: task.collective,
            root: task.root,
            sources: task.sources.clone(),
            ranks: *ranks,
            chunks: *chunks,
            divisible_by: match granularity {
                Granularity::Ragged => None,
                Granularity::DivisibleBy(n) => Some(*n),
            },
            slots: Slots::of(slots, *ranks),
            signal_rows: *signal_rows,
            lanes: lanes.iter().map(DocumentLane::from).collect(),
        }
    }
}

impl From<&Lane> for DocumentLane {
    fn from(lane: &Lane) -> Self {
        let instruction = |instruction: &Instruction| DocumentInstruction {
            label: instruction.label.to_string(),
            waits: (instruction.waits.iter())
                .map(|&Wait { row, sender, at_least }| DocumentWait { row, sender, at_least })
                .collect(),
            from: instruction.from.to_vec(),
            to: instruction.to.to_vec(),
            chunks: instruction.chunks,
            notifies: instruction.notifies.iter().map(|&Notify { peer, row }| DocumentNotify { peer, row }).collect(),
            zeroes_signals: instruction.zeroes_signals,
        };
        Self { rank: lane.rank, instructions: lane.instructions.iter().map(instruction).collect() }
    }
}

/// Texts of labels, each once in memory.
#[derive(Default)]
struct Labels(HashMap<String, Arc<str>>);

impl Labels {
    fn label(&mut self, text: String) -> Label {
        let split = text.rsplit_once(' ').and_then(|(text, digits)| {
            let number: u32 = digits.parse().ok()?;
            (number.to_string() == digits).then_some((text, number))
        });
        match split {
            Some((text, number)) => {
                let shared = match self.0.get(text) {
                    Some(shared) => shared,
                    None => self.0.entry(text.to_owned()).or_insert_with(|| text.into()),
                };
                Label::numbered(Arc::clone(shared), number)
            }
            None => {
                let shared = self.0.entry(text).or_insert_with_key(|text| text.as_str().into());
                Label::new(Arc::clone(shared))
            }
        }
    }
}

impl From<Document> for Schedule {
    fn from(document: Document) -> Self {
        let Document { name, collective, root, sources, ranks, chunks, divisible_by, slots, signal_rows, .. } =
            document;
        let mut task = Task::from(collective).root(root);
        task.sources = sources;
        let schedule = Schedule::new(name, task, ranks, chunks).signal_rows(signal_rows);
        let mut schedule = match slots {
            Slots::Each(0) => schedule,
            Slots::Each(slots) => schedule.slots(slots),
            Slots::OfRanks(slots) => schedule.slots_of_ranks(slots),
        };
        schedule.granularity = divisible_by.map_or(Granularity::Ragged, Granularity::DivisibleBy);
        let mut labels = Labels::default();
        schedule.lanes.reserve_exact(document.lanes.len());
        for DocumentLane { rank, instructions } in document.lanes {
            let mut lane = Lane::new(rank);
            lane.instructions.extend(instructions.into_iter().map(|from| {
                let mut instruction = Instruction::new(labels.label(from.label)).chunks(from.chunks);
                instruction.waits.extend(from.waits.into_iter().map(|DocumentWait { row, sender, at_least }| Wait {
                    row,
                    sender,
                    at_least,
                }));
                instruction.from.extend(from.from);
                instruction.to.extend(from.to);
                instruction
                    .notifies
                    .extend(from.notifies.into_iter().map(|DocumentNotify { peer, row }| Notify { peer, row }));
                instruction.zeroes_signals = from.zeroes_signals;
                instruction
            }));
            schedule.lanes.push(lane);
        }
        schedule
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(deserializer)?;
        let Document { collective, root, sources, .. } = &document;
        if *root != 0 && !collective.has_root() {
            return Err(D::Error::custom(format!("{collective} has no root; leave \"root\" out")));
        }
        if !sources.is_empty() && *collective != Collective::SendRecv {
            return Err(D::Error::custom(format!(
                "{collective} has no sources, only send-recv has; leave \"sources\" out"
            )));
        }
        Ok(document.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Options, check};
    use crate::schedule::{Algorithm, Origin, SyncStyle, build};

    #[test]
    fn every_built_in_schedule_comes_back() {
        for &collective in Collective::ALL {
            for algorithm in Algorithm::of(collective) {
                for ranks in [1, 2, 3, 4, 8] {
                    let Ok(mut schedule) = build(collective, algorithm, ranks, SyncStyle::Neighbor) else { continue };
                    let text = serde_json::to_string(&schedule).unwrap();
                    let read: Schedule = serde_json::from_str(&text).unwrap();
                    assert_eq!(read.origin, Origin::Custom(algorithm.name().to_owned()));
                    schedule.origin = read.origin.clone();
                    assert_eq!(read, schedule, "{collective} by {algorithm} of {ranks}");
                    assert_eq!(serde_json::to_string(&read).unwrap(), text);
                }
            }
        }
    }

    /// The example of the format's page.
    #[test]
    fn a_document_by_hand_is_proved() {
        let page = include_str!("../../docs/schedule-format.md");
        let text = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let schedule: Schedule = serde_json::from_str(text).unwrap();
        let report = check(&schedule, Options::default());
        assert!(report.ok(), "{report}");
        assert_eq!(schedule.lanes[0].instructions[0].label, Label::from("publish"));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let good = serde_json::to_value(build(Collective::AllReduce, Algorithm::Ring, 2, SyncStyle::Neighbor).unwrap());
        let good = good.unwrap();
        let instruction = "/lanes/0/instructions/0";
        for (at, value, text) in [
            ("/format", "wgccl-schedule/9".into(), "this version reads 'wgccl-schedule/1'"),
            ("/collective", "all-reduced".into(), "does not exist here"),
            ("/ranks", (-1).into(), "expected u32"),
            ("/slots", "many".into(), "slots are a number, or a list"),
            ("/root", 1.into(), "all-reduce has no root"),
            ("/sources", vec![1].into(), "all-reduce has no sources"),
            (&format!("{instruction}/from/0"), "rank 0 input".into(), "'rank 0 input' is no address"),
            (&format!("{instruction}/from/0"), "rank 0 exit[1]".into(), "is no address"),
            (&format!("{instruction}/label"), 7.into(), "expected a string"),
        ] {
            let mut document = good.clone();
            match at.strip_prefix('/').filter(|member| ["root", "sources"].contains(member)) {
                Some(member) => document[member] = value,
                None => *document.pointer_mut(at).unwrap() = value,
            }
            let error = serde_json::from_value::<Schedule>(document).unwrap_err().to_string();
            assert!(error.contains(text), "{at}: {error}");
        }
        let later = r#"{ "format": "wgccl-schedule/2", "in_place": true }"#;
        let error = serde_json::from_str::<Schedule>(later).unwrap_err().to_string();
        assert!(error.contains("the format is 'wgccl-schedule/2'"), "{error}");
        let mut document = good;
        document["lane"] = 1.into();
        let error = serde_json::from_value::<Schedule>(document).unwrap_err().to_string();
        assert!(error.contains("unknown field `lane`"), "{error}");
    }

    #[test]
    fn slots_of_unlike_ranks_are_a_list() {
        let schedule = Schedule::new("unlike", Collective::AllReduce, 3, 2).slots_of_ranks([0, 2, 1]);
        let schedule = schedule.granularity(Granularity::DivisibleBy(4));
        let value = serde_json::to_value(&schedule).unwrap();
        assert_eq!((&value["slots"], &value["divisible_by"]), (&serde_json::json!([0, 2, 1]), &4.into()));
        assert_eq!(serde_json::from_value::<Schedule>(value).unwrap(), schedule);
    }

    #[test]
    fn windows_without_slots_at_the_end_are_left_out() {
        let good = serde_json::to_value(Schedule::new("few", Collective::AllReduce, 3, 2)).unwrap();
        for (listed, kept) in [(&[0][..], &[][..]), (&[0, 0, 0], &[]), (&[3, 0], &[3]), (&[0, 1, 0], &[0, 1])] {
            let mut document = good.clone();
            document["slots"] = listed.into();
            let schedule: Schedule = serde_json::from_value(document).unwrap();
            assert_eq!(schedule.slots, kept);
            let again = serde_json::to_value(&schedule).unwrap();
            assert_eq!(serde_json::from_value::<Schedule>(again).unwrap(), schedule);
        }
    }
}
