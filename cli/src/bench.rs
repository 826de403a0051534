//! `wgccl bench`: how long a launch takes, over sizes, in the manner of nccl-tests.
//!
//! Inputs stay on the device while it is timed, results are checked apart from that, and next to every bandwidth stands
//! what a plain copy reaches on the same device in the same run.

pub mod bandwidth;
pub mod card;
pub mod chart;
pub mod command;
pub mod compare;
pub mod machine;
mod measure;
mod nccl;
mod number;
mod older;
pub mod plot;
pub mod record;
pub mod report;
pub mod request;
pub mod result;
mod roof;
mod significance;
pub mod size;
mod source;
mod stamp;
mod statistics;
pub mod summary;
pub mod sweep;
pub mod table;
#[cfg(test)]
mod testing;

pub use chart::check_new;
pub use stamp::{now, utc};
pub use statistics::Statistics;
