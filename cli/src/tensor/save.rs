//! Writes every rank's outputs to a file of its own, all of them at once or none.
//!
//! Whoever finds the files may rely on them being whole and of one run, so their directory appears with all of them in it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rawzip::ZipArchiveWriter;
use rawzip::path::EntryPath;
use wgccl::element::{DataType, Element};

use super::container::Format;
use super::error::TensorError;
use super::safetensors::Metadata;
use super::target::{place, refused};
use super::{npy, safetensors};
use crate::whole::Folder;

/// A tensor of every rank.
#[derive(Debug, Clone)]
pub struct Output<'a> {
    /// For formats that have names.
    pub name: Option<String>,
    data_type: DataType,
    /// Of ranks that have as many elements; others are flat.
    shape: Option<Vec<u64>>,
    /// Little-endian elements of each rank.
    ranks: Vec<Cow<'a, [u8]>>,
}

impl<'a> Output<'a> {
    /// Of `ranks`, those without an output with an empty slice.
    pub fn new<T: Element>(name: Option<&str>, ranks: &[&'a [T]], shape: Option<Vec<u64>>) -> Self {
        let bytes = |values: &&'a [T]| match cfg!(target_endian = "little") {
            true => Cow::Borrowed(bytemuck::cast_slice(values)),
            false => Cow::Owned(turned(values)),
        };
        let name = name.map(str::to_owned);
        Self { name, data_type: T::TYPE, shape, ranks: ranks.iter().map(bytes).collect() }
    }

    /// With elements of its own.
    pub fn into_owned(self) -> Output<'static> {
        let ranks = self.ranks.into_iter().map(|bytes| Cow::Owned(bytes.into_owned())).collect();
        Output { name: self.name, data_type: self.data_type, shape: self.shape, ranks }
    }

    /// The elements of `rank` and their shape, if it has any.
    fn of(&self, rank: usize) -> Option<(&[u8], Vec<u64>)> {
        let bytes = self.ranks.get(rank).filter(|bytes| !bytes.is_empty())?;
        let elements = (bytes.len() / self.data_type.bytes()) as u64;
        let fits =
            |shape: &&Vec<u64>| shape.iter().try_fold(1_u64, |all, &axis| all.checked_mul(axis)) == Some(elements);
        Some((bytes, self.shape.as_ref().filter(fits).cloned().unwrap_or_else(|| vec![elements])))
    }
}

/// Elements with their bytes in the other order.
fn turned<T: Element>(values: &[T]) -> Vec<u8> {
    let bytes = bytemuck::cast_slice::<T, u8>(values);
    bytes.chunks_exact(size_of::<T>()).flat_map(|element| element.iter().rev().copied()).collect()
}

/// How outputs are written.
#[derive(Debug, Clone)]
pub struct Outputs {
    format: Format,
    /// What the files of the ranks say of themselves, or one for all.
    metadata: Vec<Metadata>,
}

impl Default for Outputs {
    /// As `.npy`.
    fn default() -> Self {
        Self { format: Format::Npy, metadata: Vec::new() }
    }
}

impl Outputs {
    /// As the inputs are.
    pub(super) fn like(format: Format, metadata: Vec<Metadata>) -> Self {
        Self { format, metadata }
    }

    fn extension(&self) -> &'static str {
        match self.format {
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::Safetensors | Format::Index => "safetensors",
        }
    }

    /// Writes `tensors` to `rank0.npy`, `rank1.npy`, ... in `dir`, which must not exist yet or be empty; `.npz` and `.safetensors`
    /// hold all of them, `.npy` the first. A rank without an output gets no file.
    ///
    /// `dir` appears with all files in it. Of several calls for one directory one succeeds.
    ///
    /// # Errors
    /// [`TensorError::Target`] or [`TensorError::Write`]; then nothing that this call wrote is left.
    pub fn save(&self, dir: &Path, tensors: &[Output<'_>]) -> Result<(), TensorError> {
        let place = place(dir, &[])?;
        let failed = |path: PathBuf| move |error| TensorError::Write { path, error };
        let mut folder = Folder::create(&place).map_err(failed(dir.to_owned()))?;
        let ranks = tensors.iter().map(|tensor| tensor.ranks.len()).max().unwrap_or(0);
        for rank in 0..ranks {
            let parts = tensors.iter().filter_map(|tensor| {
                let (bytes, shape) = tensor.of(rank)?;
                Some(Part { name: tensor.name.as_deref(), data_type: tensor.data_type, shape, bytes })
            });
            let parts: Vec<Part<'_>> = parts.collect();
            if !parts.is_empty() {
                let name = format!("rank{rank}.{}", self.extension());
                folder.write(&name, |file| self.write(rank, &parts, file)).map_err(failed(dir.join(name)))?;
            }
        }
        folder.publish().or_else(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => refused(
                dir,
                "another run, or somebody else, has written to it meanwhile, and nothing is overwritten; name another directory"
                    .to_owned(),
            ),
            io::ErrorKind::ResourceBusy => {
                refused(dir, "it is in use as a whole, as a mount point say; name a new one in it".to_owned())
            }
            _ => Err(failed(dir.to_owned())(error)),
        })
    }

    /// The file of a rank.
    fn write(&self, rank: usize, parts: &[Part<'_>], file: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Npy => parts.iter().take(1).try_for_each(|part| part.npy(file)),
            Format::Npz => {
                let mut archive = ZipArchiveWriter::new(file);
                for part in parts {
                    let name = format!("{}.npy", part.name.unwrap_or("arr_0"));
                    let (mut entry, config) =
                        archive.new_file(EntryPath::verbatim(name.as_bytes())).start().map_err(io::Error::other)?;
                    let mut member = config.wrap(&mut entry);
                    part.npy(&mut member)?;
                    let (_, written) = member.finish().map_err(io::Error::other)?;
                    entry.finish(written).map_err(io::Error::other)?;
                }
                archive.finish().map(drop).map_err(io::Error::other)
            }
            Format::Safetensors | Format::Index => {
                let none = Metadata::new();
                let metadata = self.metadata.get(rank).or(self.metadata.first()).unwrap_or(&none);
                let named =
                    parts.iter().map(|part| (part.name.unwrap_or("tensor"), part.data_type, part.shape.as_slice()));
                file.write_all(&safetensors::header(named, metadata)?)?;
                parts.iter().try_for_each(|part| file.write_all(part.bytes))
            }
        }
    }
}

/// A tensor of one rank.
struct Part<'a> {
    name: Option<&'a str>,
    data_type: DataType,
    shape: Vec<u64>,
    bytes: &'a [u8],
}

impl Part<'_> {
    fn npy(&self, file: &mut dyn Write) -> io::Result<()> {
        file.write_all(&npy::header(self.data_type, &self.shape))?;
        file.write_all(self.bytes)
    }
}

/// Writes `outputs[r]` to `rank{r}.npy` in `dir`, as [`Outputs::save`].
///
/// # Errors
/// As [`Outputs::save`].
pub fn save<T: Element>(dir: &Path, outputs: &[&[T]]) -> Result<(), TensorError> {
    save_as(dir, outputs, None)
}

/// As [`save`], outputs of as many elements as `shape` in that shape, others flat.
///
/// # Errors
/// As [`save`].
pub fn save_as<T: Element>(dir: &Path, outputs: &[&[T]], shape: Option<&[u64]>) -> Result<(), TensorError> {
    Outputs::default().save(dir, &[Output::new(None, outputs, shape.map(<[u64]>::to_vec))])
}
