//! Whether memory is there, asked before many small pieces of it are taken, none of which could be refused.

/// Whether so many bytes could be had now.
pub(crate) fn is_there(bytes: u64) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}
