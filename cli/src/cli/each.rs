//! What commands say of several tensors: one object in JSON, and a row for each.

use serde::Serialize;

use crate::error::Error;

/// Characters of a tensor's name in a row.
pub(super) const NAME: usize = 40;

/// What came of a tensor.
#[derive(Serialize)]
pub(super) struct Row<T> {
    pub(super) tensor: String,
    #[serde(flatten)]
    pub(super) of: T,
}

/// What came of all, and why they are not well if they are not.
#[derive(Serialize)]
pub(super) struct Each<'a, T> {
    tensors: &'a [Row<T>],
    ok: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a, T> Each<'a, T> {
    pub(super) fn new(tensors: &'a [Row<T>], notes: &'a [String], error: Option<&Error>) -> Self {
        Self { tensors, ok: error.is_none(), notes, error: error.map(Error::to_string) }
    }
}
