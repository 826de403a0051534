//! The rows of tensor files, one for each rank, read piece by piece: files may be larger than memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use wgccl::element::Element;

use super::{Source, TensorError, Tensors};

/// One row for each rank, or all files as one row.
pub struct Rows<T> {
    rows: Vec<Row<T>>,
}

enum Row<T> {
    Stored {
        file: File,
        path: PathBuf,
        start: u64,
        length: usize,
        big_endian: bool,
    },
    /// What lies in another order than it is read in.
    Loaded(Vec<T>),
}

impl Tensors {
    /// A row for each rank, as [`Self::read`] gives them; `whole`: the first file as one row, as [`Self::read_whole`].
    ///
    /// # Errors
    /// As [`Self::read`], but for rows of unlike lengths, which are the caller's to judge.
    pub fn rows<T: Element>(&self, whole: bool) -> Result<Rows<T>, TensorError> {
        let counts = self.sources.iter().map(|source| source.count(T::TYPE)).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new();
        for (source, &count) in self.sources.iter().zip(&counts) {
            let number = if whole || self.sources.len() > 1 { 1 } else { source.rows()? };
            rows.append(&mut source.open_rows(count, number)?);
            if whole {
                break;
            }
        }
        if rows.is_empty() { Err(TensorError::NoFiles) } else { Ok(Rows { rows }) }
    }
}

impl Source {
    fn open_rows<T: Element>(&self, count: usize, rows: usize) -> Result<Vec<Row<T>>, TensorError> {
        if self.layout.fortran && self.layout.shape.iter().filter(|&&axis| axis > 1).count() > 1 {
            return Ok(self.read(count, rows)?.into_iter().map(Row::Loaded).collect());
        }
        let length = count / rows;
        let row = |number: usize| {
            let file = File::open(&self.path).map_err(|error| TensorError::Read { path: self.path.clone(), error })?;
            let start = self.layout.start + (number * length * size_of::<T>()) as u64;
            Ok(Row::Stored { file, path: self.path.clone(), start, length, big_endian: self.layout.big_endian })
        };
        (0..rows).map(row).collect()
    }
}

impl<T: Element> Rows<T> {
    /// Elements of each row.
    pub fn lengths(&self) -> Vec<usize> {
        let length = |row: &Row<T>| match row {
            Row::Stored { length, .. } => *length,
            Row::Loaded(values) => values.len(),
        };
        self.rows.iter().map(length).collect()
    }

    /// Reads the elements of row `number` from `first` on, which must exist.
    ///
    /// # Errors
    /// [`TensorError::Read`], also of a file that has become shorter.
    pub fn read(&mut self, number: usize, first: usize, into: &mut [T]) -> Result<(), TensorError> {
        match &mut self.rows[number] {
            Row::Loaded(values) => into.copy_from_slice(&values[first..first + into.len()]),
            Row::Stored { file, path, start, big_endian, .. } => {
                let failed = |error| TensorError::Read { path: path.clone(), error };
                file.seek(SeekFrom::Start(*start + (first * size_of::<T>()) as u64)).map_err(failed)?;
                let bytes = bytemuck::cast_slice_mut::<T, u8>(into);
                file.read_exact(bytes).map_err(failed)?;
                if *big_endian != cfg!(target_endian = "big") {
                    bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
                }
            }
        }
        Ok(())
    }
}
