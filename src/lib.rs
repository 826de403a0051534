//! x
pub mod collective;
pub mod element;
pub mod golden;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod hang;
pub mod inputs;
pub mod plan;
pub mod schedule;
pub mod verify;
pub mod window;
