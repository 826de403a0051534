//! Tensor files: one vector of elements per rank from `.npy` and `.safetensors`, and back to `.npy`.
//!
//! So that a user's own gradients go through a collective and come back. Files are not trusted: every size that a
//! header claims is compared with the size of the file before memory is asked for.

mod error;
mod input;
mod npy;
mod rows;
mod safetensors;
mod save;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use wgccl::element::{DataType, Element};
use wgccl::schedule::MAX_RANKS;

pub use error::TensorError;
pub use rows::Rows;
pub(crate) use save::left_behind;
pub use save::{check_target, save, save_as};

use crate::text::one_line;
use error::shape_text;
use input::{Input, Layout};

/// Files whose headers have been read, each of them once: one may take seconds.
#[derive(Debug, Clone)]
pub struct Tensors {
    /// At least one.
    sources: Vec<Source>,
}

/// Reads one vector per rank, as [`Tensors::read`].
///
/// # Errors
/// [`TensorError`] for the first file that cannot be read as elements of `T`; NaN and infinities are data.
pub fn load<T: Element>(files: &[PathBuf], tensor: Option<&str>) -> Result<Vec<Vec<T>>, TensorError> {
    Tensors::open(files, tensor)?.read()
}

impl Tensors {
    /// Reads the headers of `files`. `tensor` names the tensor of `.safetensors` files and may be left out where a file holds
    /// exactly one.
    ///
    /// # Errors
    /// [`TensorError`] for the first file that is none, or damaged.
    pub fn open(files: &[PathBuf], tensor: Option<&str>) -> Result<Self, TensorError> {
        let sources = files.iter().map(|path| Source::open(path, tensor)).collect::<Result<Vec<_>, _>>()?;
        if sources.is_empty() { Err(TensorError::NoFiles) } else { Ok(Self { sources }) }
    }

    /// The type of the first file's elements.
    ///
    /// # Errors
    /// [`TensorError::NoType`] where no type of this program is that of the file.
    pub fn data_type(&self) -> Result<DataType, TensorError> {
        let first = self.sources.first().ok_or(TensorError::NoFiles)?;
        first.layout.data_type.ok_or_else(|| first.layout.no_type(&first.path))
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
            [one] => one.rows(),
            several => Ok(several.len()),
        }
    }

    /// The shape of what a rank has, where all ranks have one shape: that of the files, or of the rows of a single file;
    /// `whole`: of the first file. None of more axes than anybody has.
    pub fn shape(&self, whole: bool) -> Option<Vec<u64>> {
        const MOST_AXES: usize = 64;
        let (first, others) = self.sources.split_first()?;
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
            return one.read(*count, one.rows()?);
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

/// A file whose header has been read.
#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    layout: Layout,
}

impl Source {
    fn open(path: &Path, tensor: Option<&str>) -> Result<Self, TensorError> {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let layout = match extension.as_deref() {
            Some("npy") if tensor.is_some() => return Err(TensorError::Unnamed { path: path.to_owned() }),
            Some("npy") => npy::layout(&mut Input::open(path, "npy")?)?,
            Some("safetensors") => safetensors::layout(&mut Input::open(path, "safetensors")?, tensor)?,
            _ => return Err(TensorError::Extension { path: path.to_owned() }),
        };
        Ok(Self { path: path.to_owned(), layout })
    }

    /// The number of elements, if they are of the type that is wanted and as many bytes as there are.
    fn count(&self, wanted: DataType) -> Result<usize, TensorError> {
        match self.layout.data_type {
            Some(found) if found == wanted => count(&self.path, &self.layout, wanted),
            Some(_) => Err(self.layout.wrong_type(&self.path, wanted)),
            None => Err(self.layout.no_type(&self.path)),
        }
    }

    /// How many ranks the file is, if it is the only one.
    fn rows(&self) -> Result<usize, TensorError> {
        match *self.layout.shape {
            [] | [_] => Ok(1),
            [ranks, ..] if ranks > u64::from(MAX_RANKS) => {
                Err(TensorError::Ranks { path: self.path.clone(), shape: shape_text(&self.layout.shape), ranks })
            }
            [ranks, ..] => Ok(ranks as usize),
        }
    }

    fn read<T: Element>(&self, count: usize, rows: usize) -> Result<Vec<Vec<T>>, TensorError> {
        let failed = |error| TensorError::Read { path: self.path.clone(), error };
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.layout.start)).map_err(failed)?;
        let length = count / rows;
        if self.layout.fortran {
            let stored = self.read_next::<T>(&mut file, count)?;
            return Ok(in_c_order(&stored, &self.layout.shape).chunks_exact(length).map(<[T]>::to_vec).collect());
        }
        (0..rows).map(|_| self.read_next(&mut file, length)).collect()
    }

    fn read_next<T: Element>(&self, file: &mut File, length: usize) -> Result<Vec<T>, TensorError> {
        let mut values = Vec::new();
        if values.try_reserve_exact(length).is_err() {
            return Err(TensorError::Memory { path: self.path.to_owned(), bytes: self.layout.bytes });
        }
        values.resize(length, T::zeroed());
        let bytes = bytemuck::cast_slice_mut::<T, u8>(&mut values);
        file.read_exact(bytes).map_err(|error| TensorError::Read { path: self.path.to_owned(), error })?;
        if self.layout.big_endian != cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        }
        Ok(values)
    }
}

/// The number of elements, if the shape agrees with the bytes that are there.
fn count(path: &Path, layout: &Layout, wanted: DataType) -> Result<usize, TensorError> {
    let shape = || shape_text(&layout.shape);
    if layout.shape.contains(&0) {
        return Err(TensorError::NoElements { path: path.to_owned(), shape: shape() });
    }
    let count = layout.shape.iter().try_fold(1_u64, |product, &axis| product.checked_mul(axis));
    let claimed = count.and_then(|count| count.checked_mul(wanted.bytes() as u64));
    match (claimed == Some(layout.bytes), count.and_then(|count| usize::try_from(count).ok())) {
        (true, Some(count)) => Ok(count),
        _ => Err(TensorError::Size {
            path: path.to_owned(),
            shape: shape(),
            claimed: claimed.map_or("more than 2^64".to_owned(), |bytes| bytes.to_string()),
            present: layout.bytes,
        }),
    }
}

/// Fortran-ordered `values` of `shape`, none of whose axes is 0, in C order.
fn in_c_order<T: Copy>(values: &[T], shape: &[u64]) -> Vec<T> {
    // Axes of length 1 move nothing; without them at most 63 are left, however many the header lists.
    let axes: Vec<usize> = shape.iter().filter(|&&axis| axis > 1).map(|&axis| axis as usize).collect();
    let mut index = vec![0; axes.len()];
    let mut ordered = Vec::with_capacity(values.len());
    let mut from = 0;
    while ordered.len() < values.len() {
        ordered.push(values[from]);
        let mut stride = values.len();
        for (position, &axis) in index.iter_mut().zip(&axes).rev() {
            stride /= axis;
            *position += 1;
            from += stride;
            if *position < axis {
                break;
            }
            from -= axis * stride;
            *position = 0;
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::in_c_order;

    #[test]
    fn fortran_order_becomes_c_order() {
        for (shape, stored, expected) in [
            (&[][..], &[7][..], &[7][..]),
            (&[4], &[0, 1, 2, 3], &[0, 1, 2, 3]),
            (&[2, 3], &[0, 3, 1, 4, 2, 5], &[0, 1, 2, 3, 4, 5]),
            (&[3, 1, 2, 1], &[0, 2, 4, 1, 3, 5], &[0, 1, 2, 3, 4, 5]),
            (&[2, 2, 2], &[0, 4, 2, 6, 1, 5, 3, 7], &[0, 1, 2, 3, 4, 5, 6, 7]),
        ] {
            assert_eq!(in_c_order(stored, shape), expected, "{shape:?}");
        }
    }
}
