//! `model.safetensors.index.json`: which of several `.safetensors` files holds which tensor of a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use serde::Deserialize;

use super::error::{NAME, TensorError};
use super::input::{Input, Layout, malformed};
use super::safetensors::{self, Contents, Metadata};
use super::stored::Stored;
use crate::text::one_line;

const FORMAT: &str = "safetensors.index.json";
/// As of the files that it names.
const LONGEST: u64 = 100_000_000;

#[derive(Deserialize)]
struct Index {
    /// The file of each tensor, beside the index.
    weight_map: BTreeMap<String, String>,
}

/// The tensors that the index `stored` names, from the files beside `path`.
pub(super) fn contents(path: &Path, stored: &Stored) -> Result<Contents, TensorError> {
    let region = stored.open().map_err(|error| TensorError::Read { path: path.to_owned(), error })?;
    let mut input = Input::new(path, FORMAT, region, stored.bytes)?;
    if stored.bytes > LONGEST {
        return Err(input.malformed(format!("it has {} bytes, more than {LONGEST}", stored.bytes)));
    }
    let json = input.take(stored.bytes as usize, "text")?;
    let Index { weight_map } = serde_json::from_slice(&json).map_err(|error| input.malformed(error.to_string()))?;
    let mut shards: BTreeMap<&str, (BTreeMap<String, Layout>, Metadata)> = BTreeMap::new();
    for shard in weight_map.values() {
        if !shards.contains_key(shard.as_str()) {
            shards.insert(shard, read(path, shard)?);
        }
    }
    // Of files of one model it is the same in each.
    let metadata = shards.values().next().map(|(_, metadata)| metadata.clone()).unwrap_or_default();
    let mut layouts = Vec::new();
    for (name, shard) in &weight_map {
        match shards.get_mut(shard.as_str()).and_then(|(tensors, _)| tensors.remove(name)) {
            Some(layout) => layouts.push(layout),
            None => {
                let [name, shard] = [name, shard].map(|text| one_line(text, NAME));
                return Err(malformed(
                    path,
                    FORMAT,
                    format!("it names the tensor '{name}' in {shard}, which is not there"),
                ));
            }
        }
    }
    Ok(Contents { layouts, metadata })
}

/// The tensors of one of the files.
fn read(index: &Path, name: &str) -> Result<(BTreeMap<String, Layout>, Metadata), TensorError> {
    let mut parts = Path::new(name).components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        let shown = one_line(name, NAME);
        return Err(malformed(index, FORMAT, format!("it names '{shown}', which is no file beside it")));
    }
    let path = index.with_file_name(name);
    let metadata = fs::metadata(&path).map_err(|error| TensorError::Read { path: path.clone(), error })?;
    if !metadata.is_file() {
        return Err(TensorError::NotAFile { path });
    }
    let Contents { layouts, metadata } = safetensors::contents(&path, &Stored::named(path.clone(), metadata.len()))?;
    let named = layouts.into_iter().filter_map(|layout| Some((layout.name.clone()?, layout)));
    Ok((named.collect(), metadata))
}
