//! The rows of tensor files, one for each rank, read piece by piece: files may be larger than memory.

use rawzip::ReaderAt;
use wgccl::element::Element;

use super::Tensors;
use super::error::TensorError;
use super::input::Data;
use super::source::Source;
use super::stored::Stored;

/// One row for each rank, or all files as one row.
pub struct Rows<T> {
    rows: Vec<Row<T>>,
}

enum Row<T> {
    Stored {
        source: Source,
        data: Stored,
        length: usize,
    },
    /// What lies in another order than it is read in, or compressed.
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
            let number = if whole { 1 } else { self.rows_of(source)? };
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
        let turned = self.layout.fortran && self.layout.shape.iter().filter(|&&axis| axis > 1).count() > 1;
        let data = match &self.layout.data {
            Data::Plain(data) if !turned => data,
            _ => return Ok(self.read(count, rows)?.into_iter().map(Row::Loaded).collect()),
        };
        let length = count / rows;
        let bytes = (length * size_of::<T>()) as u64;
        let row = |number| Row::Stored { source: self.clone(), data: data.part(number * bytes, bytes), length };
        Ok((0..rows as u64).map(row).collect())
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
            Row::Stored { source, data, .. } => {
                let bytes = bytemuck::cast_slice_mut::<T, u8>(into);
                let start = (first * size_of::<T>()) as u64;
                data.open()
                    .and_then(|region| region.read_exact_at(bytes, start))
                    .map_err(|error| source.failed(error))?;
                source.in_this_order::<T>(bytes);
            }
        }
        Ok(())
    }
}
