//! Records of schema 1, brought to the keys of today.
//!
//! Only this file knows them: a schedule was always a built-in algorithm, and protocol `ll` a dispatch mode.

use serde_json::Value;

/// What they call themselves.
pub(super) const SCHEMA: &str = "wgccl-bench/1";

/// Adds what has gone without saying then.
pub(super) fn upgrade(record: &mut Value) {
    let Some(rows) = record["results"].as_array_mut() else { return };
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        row.insert("origin".to_owned(), "builtin".into());
        for placement in ["out_of_place", "in_place"] {
            let Some(placement) = row.get_mut(placement).and_then(Value::as_object_mut) else { continue };
            let (dispatch, protocol) = match placement.get("dispatch").and_then(Value::as_str) {
                None => continue,
                Some("fused-ll") => ("fused".to_owned(), "ll"),
                Some(mode) => (mode.to_owned(), "simple"),
            };
            placement.insert("dispatch".to_owned(), dispatch.into());
            placement.insert("protocol".to_owned(), protocol.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use crate::bench::record::Recorded;
    use crate::bench::{compare, plot};

    /// Every record of this repository, whatever its schema, is read, compared with itself and drawn.
    #[test]
    fn committed_records_are_still_read() {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/results");
        // Those of the peers, of growth and of several joined have layouts of their own.
        let is_record = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let schema = serde_json::from_str::<Value>(&text).map(|record| record["schema"].clone());
            schema.is_ok_and(|schema| schema.as_str().is_some_and(|schema| schema.starts_with("wgccl-bench/")))
        };
        let mut paths = Vec::new();
        let mut folders = vec![results];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { paths.push(path) }
            }
        }
        let mut names = BTreeSet::new();
        let mut older = 0;
        for path in paths.into_iter().filter(|path| is_record(path)) {
            let record = Recorded::read(&path).unwrap();
            assert!(!record.results.is_empty(), "{}", path.display());
            older += usize::from(std::fs::read_to_string(&path).unwrap().contains(super::SCHEMA));
            names.extend(record.results.iter().filter_map(|row| row.group().dispatch));
            let comparison = compare::compare(&path, &path).unwrap();
            assert!(comparison.rows.iter().all(|row| (row.ratio - 1.0).abs() < 1e-9), "{}", path.display());
            let folder = tempfile::tempdir().unwrap();
            plot::draw(&folder.path().join("p.svg"), &[record.shown(String::new())]).unwrap();
        }
        assert!(older > 0 && names.contains("fused") && names.contains("per-step"), "{names:?}");
    }

    #[test]
    fn fused_ll_was_a_mode() {
        let mut record = serde_json::json!({ "results": [{
            "algorithm": "ring",
            "out_of_place": { "dispatch": "fused-ll" },
            "in_place": { "dispatch": null },
        }, { "out_of_place": { "dispatch": "per-rank" }, "in_place": null }] });
        super::upgrade(&mut record);
        let [first, second] = &record["results"].as_array().unwrap()[..] else { panic!("{record}") };
        assert_eq!((&first["origin"], &first["algorithm"]), (&"builtin".into(), &"ring".into()));
        assert_eq!(first["out_of_place"], serde_json::json!({ "dispatch": "fused", "protocol": "ll" }));
        assert_eq!(first["in_place"], serde_json::json!({ "dispatch": null }));
        assert_eq!(second["out_of_place"], serde_json::json!({ "dispatch": "per-rank", "protocol": "simple" }));
    }
}
