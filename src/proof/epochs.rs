//! The epochs of a part's instructions: between two of them bytes move between devices.
//!
//! Apart from the part, because a proved schedule holds them and a part is made of one.

/// The epoch of every instruction, by its number in the part's graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Epochs {
    pub(super) of: Vec<u32>,
    pub(super) count: u32,
}
