//! One tensor of one file: how many elements and rows it has, and its elements in C order.
//!
//! Every size that a header claims is compared with the bytes that are there before memory is asked for.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use wgccl::element::{DataType, Element};
use wgccl::schedule::MAX_RANKS;

use super::error::{TensorError, shape_text};
use super::input::{Data, Layout, malformed};

/// A tensor whose header has been read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What errors call it.
    pub(super) path: PathBuf,
    pub(super) layout: Layout,
}

impl Source {
    /// The number of elements, if they are of the type that is wanted and as many bytes as there are.
    pub(super) fn count(&self, wanted: DataType) -> Result<usize, TensorError> {
        match self.layout.data_type {
            Some(found) if found == wanted => count(&self.path, &self.layout, wanted),
            Some(_) => Err(self.layout.wrong_type(&self.path, wanted)),
            None => Err(self.layout.no_type(&self.path)),
        }
    }

    /// How many ranks it is, if it is the only one.
    pub(super) fn rows(&self) -> Result<usize, TensorError> {
        match *self.layout.shape {
            [] | [_] => Ok(1),
            [ranks, ..] if ranks > u64::from(MAX_RANKS) => {
                Err(TensorError::Ranks { path: self.path.clone(), shape: shape_text(&self.layout.shape), ranks })
            }
            [ranks, ..] => Ok(ranks as usize),
        }
    }

    /// Its elements, `rows` vectors of as many.
    pub(super) fn read<T: Element>(&self, count: usize, rows: usize) -> Result<Vec<Vec<T>>, TensorError> {
        let length = count / rows;
        if self.layout.fortran {
            let stored = self.read_all::<T>(count, 1)?.concat();
            return Ok(in_c_order(&stored, &self.layout.shape).chunks_exact(length).map(<[T]>::to_vec).collect());
        }
        self.read_all(length, rows)
    }

    /// As they lie there.
    fn read_all<T: Element>(&self, length: usize, rows: usize) -> Result<Vec<Vec<T>>, TensorError> {
        let mut vectors = Vec::new();
        for _ in 0..rows {
            let mut values = Vec::new();
            if values.try_reserve_exact(length).is_err() {
                return Err(TensorError::Memory { path: self.path.clone(), bytes: self.layout.data.bytes() });
            }
            values.resize(length, T::zeroed());
            vectors.push(values);
        }
        let mut into = |reader: &mut dyn Read| vectors.iter_mut().try_for_each(|values| self.fill(reader, values));
        let read = match &self.layout.data {
            Data::Plain(stored) => stored.open().and_then(|mut region| into(&mut region)),
            Data::Packed(packed) => packed.with(&mut into),
        };
        read.map_err(|error| self.failed(error)).map(|()| vectors)
    }

    fn fill<T: Element>(&self, reader: &mut dyn Read, values: &mut [T]) -> io::Result<()> {
        let bytes = bytemuck::cast_slice_mut::<T, u8>(values);
        reader.read_exact(bytes)?;
        self.in_this_order::<T>(bytes);
        Ok(())
    }

    /// Turns elements of the other byte order.
    pub(super) fn in_this_order<T: Element>(&self, bytes: &mut [u8]) {
        if self.layout.big_endian != cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        }
    }

    /// That its bytes cannot be read.
    pub(super) fn failed(&self, error: io::Error) -> TensorError {
        match (&self.layout.data, error.raw_os_error()) {
            (Data::Packed(_), None) => malformed(&self.path, "npz", error.to_string()),
            _ => TensorError::Read { path: self.path.clone(), error },
        }
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
    match (claimed == Some(layout.data.bytes()), count.and_then(|count| usize::try_from(count).ok())) {
        (true, Some(count)) => Ok(count),
        _ => Err(TensorError::Size {
            path: path.to_owned(),
            shape: shape(),
            claimed: claimed.map_or("more than 2^64".to_owned(), |bytes| bytes.to_string()),
            present: layout.data.bytes(),
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
