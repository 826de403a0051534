//! `wgccl bench`: how long a launch takes, over sizes, in the manner of nccl-tests.
//!
//! Inputs stay on the device while it is timed, results are checked apart from that, and next to every bandwidth stands
//! what a plain copy reaches on the same device in the same run.

pub mod bandwidth;
pub mod chart;
pub mod compare;
mod measure;
mod number;
mod older;
pub mod plot;
pub mod record;
pub mod request;
pub mod result;
mod roof;
pub mod size;
mod stamp;
mod statistics;
pub mod sweep;
pub mod table;
#[cfg(test)]
mod testing;

pub use chart::check_new;
pub use stamp::now;
pub use statistics::Statistics;
