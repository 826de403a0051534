//! `.safetensors`: a length, a JSON header of named tensors, and their bytes.
//!
//! The header is parsed here and not by the format's crate, which refuses a whole model for one tensor of a type that is newer than
//! it is. Only the tensor that is wanted is then read, not the model around it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use wgccl::element::DataType;

use super::error::{NAME, TensorError};
use super::input::{Input, Layout};
use crate::text::one_line;

/// The limit of the format's own library.
const MAX_HEADER: u64 = 100_000_000;
/// Names that an error lists.
const SHOWN: usize = 8;

/// Where the elements of the tensor `name`, or of the only tensor, lie.
pub(super) fn layout(input: &mut Input<'_>, name: Option<&str>) -> Result<Layout, TensorError> {
    let length = input.take(size_of::<u64>(), "header length")?;
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    let start = match length.checked_add(size_of::<u64>() as u64) {
        Some(start) if start <= input.bytes && length <= MAX_HEADER => start,
        _ => {
            let bytes = input.bytes;
            return Err(input.malformed(format!("its header claims {length} bytes, the whole file has {bytes}")));
        }
    };
    let json = input.take(length as usize, "header")?;
    let Header(tensors) = serde_json::from_slice(&json).map_err(|error| input.malformed(error.to_string()))?;
    check_offsets(&tensors, input.bytes - start).map_err(|reason| input.malformed(reason))?;

    let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    let choice = |problem| Err(TensorError::Choice { path: input.path.to_owned(), problem });
    let (name, info) = match (name, names.as_slice()) {
        (_, []) => return choice("holds no tensor; save it again with one".to_owned()),
        (Some(name), _) => match tensors.get(name) {
            Some(info) => (name, info),
            None => {
                let name = one_line(name, NAME);
                return choice(format!("holds no tensor '{name}'; choose one of: {}", listed(&names)));
            }
        },
        (None, [only]) => (*only, &tensors[*only]),
        (None, several) => {
            let (count, names) = (several.len(), listed(&names));
            return choice(format!("holds {count} tensors; name the one to read: {names}"));
        }
    };
    let type_text = info.dtype.to_lowercase();
    let (from, to) = info.data_offsets;
    Ok(Layout {
        data_type: DataType::ALL.iter().copied().find(|data_type| data_type.name() == type_text),
        type_text,
        shape: info.shape.clone(),
        name: Some(name.to_owned()),
        start: start + from,
        bytes: to - from,
        big_endian: false,
        fortran: false,
    })
}

/// One tensor, whatever its type is called.
#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// All tensors by name.
struct Header(BTreeMap<String, Info>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<BTreeMap<String, String>>()?;
                    } else if let Some(first) = tensors.insert(name, map.next_value::<Info>()?) {
                        return Err(A::Error::custom(format!(
                            "a tensor of shape {:?} has another's name",
                            first.shape
                        )));
                    }
                }
                Ok(Header(tensors))
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

/// The format knows no holes and no overlaps. Tensors that share all of their bytes, tied weights, are read like others.
fn check_offsets(tensors: &BTreeMap<String, Info>, present: u64) -> Result<(), String> {
    let mut ranges: Vec<(u64, u64, &str)> =
        tensors.iter().map(|(name, info)| (info.data_offsets.0, info.data_offsets.1, name.as_str())).collect();
    ranges.sort_unstable();
    let (mut start, mut end) = (0, 0);
    for (from, to, name) in ranges {
        let shared = (from, to) == (start, end);
        if to < from || !(shared || from == end) {
            return Err(format!("the tensor '{}' has the invalid offsets [{from}, {to}]", one_line(name, NAME)));
        }
        (start, end) = (from, to);
    }
    match end == present {
        true => Ok(()),
        false => Err(format!("its header promises {end} bytes of tensors, but {present} bytes are there")),
    }
}

fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(SHOWN).map(|name| one_line(name, NAME)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
