//! Calls over zero elements, which do nothing, as with NCCL.
//!
//! In a program empty shards are ordinary. What would be refused of any other count still is.

use super::{Communicator, Key};
use crate::backend::Backend;
use crate::buffers::{BufferError, UserBuffer};
use crate::collective::Collective;
use crate::element::supported;
use crate::error::{Error, PrepareError, RunError};

impl<B: Backend> Communicator<B> {
    /// Refuses what would be refused of any other count. Lengths are all 0 then, in bytes as in elements.
    pub(super) fn check(
        &self,
        key: &Key,
        what: UserBuffer,
        lengths: impl ExactSizeIterator<Item = usize>,
    ) -> Result<(), Error> {
        let Key { task, shape, in_place } = key;
        let (got, ranks, element_bytes) = (lengths.len(), self.ranks, shape.data_type.bytes());
        self.schedule(key)?;
        if *in_place && !task.collective.has_in_place() {
            self.prepared(task.clone(), *shape, true)?;
        }
        if task.collective.reduces() {
            supported(shape.data_type, shape.op).map_err(PrepareError::from)?;
        }
        if got != ranks as usize {
            return Err(RunError::from(BufferError::Number { what, got, ranks }).into());
        }
        let parts = |rank| match what {
            UserBuffer::Input => task.input_parts(rank, ranks),
            UserBuffer::Output => task.output_parts(rank, ranks),
            UserBuffer::InPlace => task.input_parts(rank, ranks).max(task.output_parts(rank, ranks)),
        };
        match (0..).zip(lengths).find(|&(_, got)| got > 0) {
            None => Ok(()),
            Some((rank, got)) if !got.is_multiple_of(element_bytes) => {
                Err(RunError::from(BufferError::Ragged { what, rank, got, element_bytes }).into())
            }
            Some((rank, got)) => {
                let (got, parts, count) = (got / element_bytes, parts(rank), shape.count);
                Err(RunError::from(BufferError::Length { what, rank, got, parts, count }).into())
            }
        }
    }
}

impl Key {
    /// A barrier has no elements and something to do.
    pub(super) fn is_nothing(&self) -> bool {
        self.shape.count == 0 && self.task.collective != Collective::Barrier
    }
}
