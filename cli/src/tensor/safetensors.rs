//! `.safetensors`: a length, a JSON header of named tensors, and their bytes.
//!
//! The crate checks the header; only the tensor that is wanted is then read, not the model around it.

use safetensors::tensor::Metadata;
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
    let metadata: Metadata = serde_json::from_slice(&json).map_err(|error| input.malformed(error.to_string()))?;
    let (promised, present) = (metadata.data_len() as u64, input.bytes - start);
    if promised != present {
        let reason = format!("its header promises {promised} bytes of tensors, but {present} bytes are there");
        return Err(input.malformed(reason));
    }

    let tensors = metadata.tensors();
    let mut names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    names.sort_unstable();
    let choice = |problem| Err(TensorError::Choice { path: input.path.to_owned(), problem });
    let info = match (name, names.as_slice()) {
        (_, []) => return choice("holds no tensor; save it again with one".to_owned()),
        (Some(name), _) => match metadata.info(name) {
            Some(info) => info,
            None => {
                let name = one_line(name, NAME);
                return choice(format!("holds no tensor '{name}'; choose one of: {}", listed(&names)));
            }
        },
        (None, [only]) => tensors[*only],
        (None, several) => {
            let (count, names) = (several.len(), listed(&names));
            return choice(format!("holds {count} tensors; name the one to read: {names}"));
        }
    };
    let type_text = info.dtype.to_string().to_lowercase();
    let (from, to) = info.data_offsets;
    Ok(Layout {
        data_type: DataType::ALL.iter().copied().find(|data_type| data_type.name() == type_text),
        type_text,
        shape: info.shape.iter().map(|&axis| axis as u64).collect(),
        start: start + from as u64,
        bytes: (to - from) as u64,
        big_endian: false,
        fortran: false,
    })
}

fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(SHOWN).map(|name| one_line(name, NAME)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
