//! Who a schedule is, in JSON: `algorithm`, a name, and `origin`, where it comes from.
//!
//! Two keys beside others, so that what reads the algorithm as text reads it still.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wgccl::schedule::Origin;

#[derive(Serialize, Deserialize)]
struct Keys {
    algorithm: String,
    origin: String,
    /// Of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file_hash: Option<String>,
}

/// For `#[serde(flatten, with = "identity")]`.
pub(crate) fn serialize<S: Serializer>(origin: &Origin, serializer: S) -> Result<S::Ok, S::Error> {
    let file_hash = match origin {
        Origin::File { hash, .. } => Some(format!("{hash:016x}")),
        _ => None,
    };
    Keys { algorithm: origin.name().to_owned(), origin: origin.kind().to_owned(), file_hash }.serialize(serializer)
}

/// For `#[serde(flatten, with = "identity")]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Origin, D::Error> {
    let Keys { algorithm, origin, file_hash } = Keys::deserialize(deserializer)?;
    match origin.as_str() {
        "builtin" => algorithm.parse().map(Origin::Builtin).map_err(D::Error::custom),
        "custom" => Ok(Origin::Custom(algorithm)),
        "file" => {
            let hash = u64::from_str_radix(file_hash.as_deref().unwrap_or("0"), 16).map_err(D::Error::custom)?;
            Ok(Origin::File { name: algorithm, hash })
        }
        other => Err(D::Error::custom(format!("unknown origin '{other}'"))),
    }
}

#[cfg(test)]
mod tests {
    use wgccl::schedule::Algorithm;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Line {
        before: u32,
        #[serde(flatten, with = "super")]
        origin: Origin,
        after: f64,
    }

    #[test]
    fn every_origin_is_read_as_it_was_written() {
        for (origin, algorithm, kind) in [
            (Origin::Builtin(Algorithm::RingStaged), "ring-staged", "builtin"),
            (Origin::Custom("star".to_owned()), "star", "custom"),
            (Origin::File { name: "a.xml".to_owned(), hash: u64::MAX - 1 }, "a.xml", "file"),
        ] {
            let line = Line { before: 1, origin, after: 0.5 };
            let json = serde_json::to_value(&line).unwrap();
            assert_eq!((&json["algorithm"], &json["origin"]), (&algorithm.into(), &kind.into()));
            assert_eq!(json.as_object().unwrap().len(), if kind == "file" { 5 } else { 4 });
            assert_eq!(serde_json::from_value::<Line>(json).unwrap(), line);
        }
    }
}
