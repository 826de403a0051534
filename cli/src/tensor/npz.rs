//! numpy's `.npz`: a zip archive of `.npy` files, stored or deflated.
//!
//! What is stored is read where it lies; what is deflated goes through memory.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder};

use super::error::{NAME, TensorError};
use super::input::{Data, Input, Layout, malformed};
use super::npy;
use super::packed::{self, MOST, Packed};
use super::stored::{Region, Stored};
use crate::text::one_line;

const FORMAT: &str = "npz";
/// What numpy appends to the name of an array.
const MEMBER: &str = ".npy";

/// A member of the archive.
struct Member {
    name: String,
    entry: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
    encrypted: bool,
    bytes: u64,
    packed_bytes: u64,
}

/// The arrays of the archive `stored`, in its order.
pub(super) fn layouts(path: &Path, stored: &Stored) -> Result<Vec<Layout>, TensorError> {
    if stored.bytes == 0 {
        return Err(TensorError::Empty { path: path.to_owned(), format: FORMAT });
    }
    let mut buffer = packed::buffer();
    let archive = packed::open(stored, &mut buffer).map_err(|error| failed(path, error))?;
    let members = members(path, &archive, &mut buffer)?;
    let (mut names, mut left) = (BTreeSet::new(), stored.bytes);
    for member in &members {
        let shown = one_line(&member.name, NAME);
        if !names.insert(&member.name) {
            return Err(malformed(path, FORMAT, format!("two members are called '{shown}'")));
        }
        // Overlapping members would take more time than the file has bytes.
        match left.checked_sub(member.packed_bytes) {
            Some(rest) => left = rest,
            None => return Err(malformed(path, FORMAT, "its members are longer than it is")),
        }
    }
    members.iter().map(|member| layout(path, stored, &archive, member)).collect()
}

fn failed(path: &Path, error: io::Error) -> TensorError {
    match error.raw_os_error() {
        Some(_) => TensorError::Read { path: path.to_owned(), error },
        None => malformed(path, FORMAT, error.to_string()),
    }
}

/// What ends like an array.
fn members(path: &Path, archive: &ZipArchive<Region>, buffer: &mut [u8]) -> Result<Vec<Member>, TensorError> {
    let damaged = |error: rawzip::Error| malformed(path, FORMAT, error.to_string());
    let mut entries = archive.entries(buffer);
    let mut members = Vec::new();
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        if let Some(name) = name.strip_suffix(MEMBER) {
            members.push(Member {
                name: name.to_owned(),
                entry: entry.wayfinder(),
                method: entry.compression_method(),
                encrypted: entry.flags().is_encrypted(),
                bytes: entry.uncompressed_size_hint(),
                packed_bytes: entry.compressed_size_hint(),
            });
        }
    }
    Ok(members)
}

fn layout(path: &Path, stored: &Stored, archive: &ZipArchive<Region>, member: &Member) -> Result<Layout, TensorError> {
    let failed = |error: io::Error| failed(path, error);
    let refused =
        |reason: String| malformed(path, FORMAT, format!("its member '{}' {reason}", one_line(&member.name, NAME)));
    let damaged = |error: rawzip::Error| refused(format!("is damaged: {error}"));
    if member.encrypted {
        return Err(refused("is encrypted".to_owned()));
    }
    let entry = archive.get_entry(member.entry).map_err(damaged)?;
    let mut layout = match member.method {
        CompressionMethod::STORE => {
            let whole = io::copy(&mut entry.verifying_reader(entry.reader()), &mut io::sink());
            whole.map_err(|error| refused(format!("is damaged: {error}")))?;
            let (start, end) = entry.compressed_data_range();
            let array = stored.part(start, end - start);
            let mut input = Input::new(path, FORMAT, array.open().map_err(failed)?, array.bytes)?;
            npy::layout(&mut input, |start| Data::Plain(array.part(start, u64::MAX)))?
        }
        CompressionMethod::DEFLATE if member.bytes > member.packed_bytes.saturating_mul(MOST) => {
            return Err(refused(format!("claims {} bytes out of {}", member.bytes, member.packed_bytes)));
        }
        CompressionMethod::DEFLATE => {
            let inflated = DeflateDecoder::new(entry.reader()).take(member.bytes);
            let mut input = Input::new(path, FORMAT, inflated, member.bytes)?;
            npy::layout(&mut input, |skip| {
                let bytes = member.bytes - skip;
                Data::Packed(Packed { archive: stored.clone(), entry: member.entry, skip, bytes })
            })?
        }
        _ => return Err(refused("is neither stored nor deflated; save it with numpy.savez".to_owned())),
    };
    layout.name = Some(member.name.clone());
    Ok(layout)
}
