//! The phases of algorithms, as labels call them: reports of all algorithms use the same words.

pub(super) const STAGE_IN: &str = "stage-in";
pub(super) const PUBLISH: &str = "publish";
pub(super) const RS: &str = "RS";
pub(super) const AG: &str = "AG";
pub(super) const STAGE_OUT: &str = "stage-out";
pub(super) const MOVE: &str = "move";
