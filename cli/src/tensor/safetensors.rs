//! `.safetensors`: a length, a JSON header of named tensors, and their bytes.
//!
//! The header is parsed here and not by the format's crate, which refuses a whole model for one tensor of a type that is newer than
//! it is. Only tensors that are wanted are then read, not the model around them.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, io};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::json;
use wgccl::element::DataType;

use super::error::{NAME, TensorError};
use super::input::{Data, Input, Layout};
use super::stored::Stored;
use crate::text::one_line;

/// The limit of the format's own library.
const MAX_HEADER: u64 = 100_000_000;
/// The one key that is no tensor.
const METADATA: &str = "__metadata__";
/// To this the format's own library aligns the elements.
const ALIGNMENT: usize = 8;
/// What the header says.
pub(super) struct Contents {
    /// By name.
    pub(super) layouts: Vec<Layout>,
    pub(super) metadata: Metadata,
}

/// What the file says of itself.
pub(super) type Metadata = BTreeMap<String, String>;

/// The tensors of the file `stored`.
pub(super) fn contents(path: &Path, stored: &Stored) -> Result<Contents, TensorError> {
    let region = stored.open().map_err(|error| TensorError::Read { path: path.to_owned(), error })?;
    let mut input = Input::new(path, "safetensors", region, stored.bytes)?;
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
    let Header { tensors, metadata } =
        serde_json::from_slice(&json).map_err(|error| input.malformed(error.to_string()))?;
    check_offsets(&tensors, input.bytes - start).map_err(|reason| input.malformed(reason))?;
    let layout = |(name, info): (String, Info)| {
        let type_text = info.dtype.to_lowercase();
        let (from, to) = info.data_offsets;
        Layout {
            data_type: DataType::ALL.iter().copied().find(|&kind| dtype(kind) == info.dtype),
            type_text,
            shape: info.shape,
            name: Some(name),
            data: Data::Plain(stored.part(start + from, to - from)),
            big_endian: false,
            fortran: false,
        }
    };
    Ok(Contents { layouts: tensors.into_iter().map(layout).collect(), metadata })
}

/// What the format calls a type.
fn dtype(kind: DataType) -> String {
    match kind {
        DataType::F8E4M3 => "F8_E4M3".to_owned(),
        DataType::F8E5M2 => "F8_E5M2".to_owned(),
        _ => kind.name().to_uppercase(),
    }
}

/// Everything that goes before the little-endian elements of tensors of these names, types and shapes, which lie one behind the
/// other. Wider types first are all aligned.
pub(super) fn header<'a>(
    tensors: impl Iterator<Item = (&'a str, DataType, &'a [u64])>,
    metadata: &Metadata,
) -> io::Result<Vec<u8>> {
    let (mut header, mut start) = (serde_json::Map::new(), 0_u64);
    if !metadata.is_empty() {
        header.insert(METADATA.to_owned(), serde_json::to_value(metadata)?);
    }
    for (name, kind, shape) in tensors {
        let end = start + shape.iter().product::<u64>() * kind.bytes() as u64;
        header.insert(name.to_owned(), json!({ "dtype": dtype(kind), "shape": shape, "data_offsets": [start, end] }));
        start = end;
    }
    let mut json = serde_json::to_vec(&header)?;
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}

/// One tensor, whatever its type is called.
#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// All of it, tensors by name.
struct Header {
    tensors: BTreeMap<String, Info>,
    metadata: Metadata,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut tensors, mut metadata) = (BTreeMap::new(), Metadata::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        metadata = map.next_value()?;
                    } else if let Some(first) = tensors.insert(name, map.next_value::<Info>()?) {
                        return Err(A::Error::custom(format!(
                            "a tensor of shape {:?} has another's name",
                            first.shape
                        )));
                    }
                }
                Ok(Header { tensors, metadata })
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
