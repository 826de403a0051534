//! Tensor files: one vector of elements per rank from `.npy`, `.npz` and `.safetensors`, and back to the same.
//!
//! So that a user's own gradients go through a collective and come back. Files are not trusted: every size that a
//! header claims is compared with the size of the file before memory is asked for.

mod container;
mod error;
mod index;
mod input;
mod npy;
mod npz;
mod packed;
mod rows;
mod safetensors;
mod save;
mod source;
mod stored;
mod target;

use std::path::PathBuf;

use wgccl::element::{DataType, Element};

pub use error::TensorError;
pub use rows::Rows;
pub use save::{Output, Outputs, save, save_as};
pub use target::check_target;
pub(crate) use target::left_behind;

use crate::text::one_line;
use container::{Container, STDIN};
use error::shape_text;
use input::Layout;
use source::Source;

/// Files whose headers have been read, each of them once: one may take seconds.
#[derive(Debug, Clone)]
pub struct Tensors {
    /// At least one.
    sources: Vec<Source>,
    /// A single file is one rank.
    whole: bool,
}

/// Reads one vector per rank, as [`Tensors::read`].
///
/// # Errors
/// [`TensorError`] for the first file that cannot be read as elements of `T`; NaN and infinities are data.
pub fn load<T: Element>(files: &[PathBuf], tensor: Option<&str>) -> Result<Vec<Vec<T>>, TensorError> {
    Tensors::open(files, tensor)?.read()
}

/// Tensors of files, each in all of them.
#[derive(Debug, Clone)]
pub struct Files {
    /// At least one: those that were named, or all.
    pub tensors: Vec<Tensors>,
    /// How outputs are written.
    pub outputs: Outputs,
}

impl Files {
    /// Reads the headers of `files`. `names` are tensors of files that have names; where there are none, all tensors are taken.
    ///
    /// # Errors
    /// [`TensorError`] for the first file that is none, or damaged, or has not all of the tensors.
    pub fn open(files: &[PathBuf], names: &[String]) -> Result<Self, TensorError> {
        let containers = open(files)?;
        let first = containers.first().ok_or(TensorError::NoFiles)?;
        let outputs = Outputs::like(first.format, containers.iter().map(|file| file.metadata.clone()).collect());
        if !names.is_empty() {
            return Ok(Self { tensors: named(&containers, names.iter().map(String::as_str))?, outputs });
        }
        if let Some(only) = only(&containers)? {
            return Ok(Self { tensors: vec![only], outputs });
        }
        for other in &containers {
            if let Some(name) = other.names().find(|name| !first.has(name)) {
                let name = one_line(name, error::NAME);
                return Err(
                    first.choice(format!("holds no tensor '{name}', which another file holds; name those to take"))
                );
            }
        }
        let mut tensors = named(&containers, first.names())?;
        // As outputs have them: wider ones first, so that all are aligned.
        tensors.sort_by_key(|tensors| std::cmp::Reverse(tensors.data_type().map_or(0, DataType::bytes)));
        Ok(Self { tensors, outputs })
    }

    /// See [`Tensors::taken_as`].
    pub fn taken_as(mut self, data_type: Option<DataType>) -> Self {
        self.tensors = self.tensors.into_iter().map(|tensors| tensors.taken_as(data_type)).collect();
        self
    }

    /// Takes a single file as one rank, whatever its first axis.
    pub fn as_one_rank(mut self) -> Self {
        self.tensors.iter_mut().for_each(|tensors| tensors.whole = true);
        self
    }
}

fn open(files: &[PathBuf]) -> Result<Vec<Container>, TensorError> {
    match files.iter().filter(|path| path.as_os_str() == STDIN).count() {
        0 | 1 => files.iter().map(|path| Container::open(path)).collect(),
        _ => Err(TensorError::Twice),
    }
}

/// The tensor of files that hold one each.
fn only(containers: &[Container]) -> Result<Option<Tensors>, TensorError> {
    let sources = containers.iter().map(Container::only).collect::<Result<Option<Vec<_>>, _>>()?;
    Ok(sources.map(Tensors::of))
}

fn named<'a>(containers: &[Container], names: impl Iterator<Item = &'a str>) -> Result<Vec<Tensors>, TensorError> {
    let of_all = |name| containers.iter().map(|file| file.named(name)).collect::<Result<_, _>>().map(Tensors::of);
    names.map(of_all).collect()
}

impl Tensors {
    fn of(sources: Vec<Source>) -> Self {
        Self { sources, whole: false }
    }

    /// Its name, where the first file has names.
    pub fn name(&self) -> Option<&str> {
        self.sources.first()?.layout.name.as_deref()
    }

    /// Reads the headers of `files`. `tensor` names the tensor of files that have names, and may be left out where a file
    /// holds exactly one.
    ///
    /// # Errors
    /// [`TensorError`] for the first file that is none, or damaged.
    pub fn open(files: &[PathBuf], tensor: Option<&str>) -> Result<Self, TensorError> {
        let containers = open(files)?;
        let first = containers.first().ok_or(TensorError::NoFiles)?;
        match tensor {
            Some(name) => named(&containers, [name].into_iter())?.pop().ok_or(TensorError::NoFiles),
            None => {
                only(&containers)?.ok_or_else(|| containers.iter().find(|of| !of.is_one()).unwrap_or(first).several())
            }
        }
    }

    /// The same, with bytes whose files say no type of them taken as `data_type`, if that is fp8: .npy files of it say none.
    #[must_use]
    pub fn taken_as(mut self, data_type: Option<DataType>) -> Self {
        let fp8 = data_type.filter(|data_type| matches!(data_type, DataType::F8E4M3 | DataType::F8E5M2));
        for layout in self.sources.iter_mut().map(|source| &mut source.layout) {
            if layout.type_text == error::UNTYPED {
                layout.data_type = layout.data_type.or(fp8);
            }
        }
        self
    }

    /// The type of the first file's elements.
    ///
    /// # Errors
    /// [`TensorError::NoType`] where no type of this program is that of the file.
    pub fn data_type(&self) -> Result<DataType, TensorError> {
        let first = self.sources.first().ok_or(TensorError::NoFiles)?;
        first.layout.data_type.ok_or_else(|| first.layout.no_type(&first.path))
    }

    /// Bytes of its elements in all files.
    pub fn bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.layout.data.bytes()).sum()
    }

    /// The files.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The ranks that [`Self::read`] gives.
    ///
    /// # Errors
    /// [`TensorError::Ranks`] of a single file with too long a first axis.
    pub fn ranks(&self) -> Result<usize, TensorError> {
        match self.sources.as_slice() {
            [one] => self.rows_of(one),
            several => Ok(several.len()),
        }
    }

    /// How many ranks a file is.
    fn rows_of(&self, source: &Source) -> Result<usize, TensorError> {
        if self.whole || self.sources.len() > 1 { Ok(1) } else { source.rows() }
    }

    /// In words, that the first axis of a single file was taken as ranks.
    pub fn first_axis(&self) -> Option<String> {
        let [only] = &self.sources[..] else { return None };
        let shape = &only.layout.shape;
        (!self.whole && shape.len() > 1).then(|| {
            let path = one_line(&only.path.display().to_string(), error::SENTENCE);
            format!(
                "the first axis of {path}, of shape {}, was taken as ranks; --ranks 1 takes it whole",
                shape_text(shape)
            )
        })
    }

    /// The shape of what a rank has, where all ranks have one shape: that of the files, or of the rows of a single file;
    /// `whole`: of the first file. None of more axes than anybody has.
    pub fn shape(&self, whole: bool) -> Option<Vec<u64>> {
        const MOST_AXES: usize = 64;
        let (first, others) = self.sources.split_first()?;
        let whole = whole || self.whole;
        let shape = match first.layout.shape.as_slice() {
            [_, row @ ..] if !whole && others.is_empty() && !row.is_empty() => row,
            shape => shape,
        };
        let alike = whole || others.iter().all(|other| other.layout.shape == first.layout.shape);
        (alike && shape.len() <= MOST_AXES).then(|| shape.to_vec())
    }

    /// In words, what tells files of as many elements apart: that they are summed may be a mistake.
    pub fn unlike(&self) -> Option<String> {
        let first = self.sources.first()?;
        let other = |differs: fn(&Layout, &Layout) -> bool| {
            self.sources.iter().find(|other| differs(&first.layout, &other.layout))
        };
        let text = |what: &str, of: &dyn Fn(&Source) -> String, other: &Source| {
            let at = |source: &Source| format!("{} in {}", of(source), source.path.display());
            format!("{what} differ, {} and {}: taken element by element, in C order", at(first), at(other))
        };
        let shapes = other(|a, b| a.shape != b.shape);
        let names = other(|a, b| a.name != b.name);
        let name =
            |source: &Source| format!("'{}'", one_line(source.layout.name.as_deref().unwrap_or(""), error::NAME));
        shapes
            .map(|other| text("shapes", &|source| shape_text(&source.layout.shape), other))
            .or_else(|| names.map(|other| text("names of tensors", &name, other)))
    }

    /// Reads one vector per rank.
    ///
    /// Several files are one rank each, of any shape, flattened in C order, and all must hold equally many elements. One
    /// file is one rank if it has at most one axis; otherwise its first axis is the ranks and the rest is flattened.
    ///
    /// # Errors
    /// [`TensorError`] for the first file that cannot be read as elements of `T`.
    pub fn read<T: Element>(&self) -> Result<Vec<Vec<T>>, TensorError> {
        // All before any data: a wrong last file is not found out after minutes of reading.
        let counts = self.sources.iter().map(|source| source.count(T::TYPE)).collect::<Result<Vec<_>, _>>()?;
        if let ([one], [count]) = (&self.sources[..], &counts[..]) {
            return one.read(*count, self.rows_of(one)?);
        }
        let first = self.sources.first().ok_or(TensorError::NoFiles)?;
        if let Some((other, &count)) = self.sources.iter().zip(&counts).find(|(_, count)| **count != counts[0]) {
            return Err(TensorError::Lengths {
                path: first.path.clone(),
                count: counts[0],
                shape: shape_text(&first.layout.shape),
                other: other.path.clone(),
                other_count: count,
                other_shape: shape_text(&other.layout.shape),
            });
        }
        let mut ranks = Vec::with_capacity(counts.len());
        for (source, &count) in self.sources.iter().zip(&counts) {
            ranks.append(&mut source.read(count, 1)?);
        }
        Ok(ranks)
    }

    /// Reads the first file whole, of any shape, flattened in C order: one vector.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_whole<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        let first = self.sources.first().ok_or(TensorError::NoFiles)?;
        Ok(first.read(first.count(T::TYPE)?, 1)?.concat())
    }
}
