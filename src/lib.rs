//! x
pub mod collective;
pub mod element;
pub mod golden;
pub mod hang;
pub mod inputs;
pub mod schedule;
pub mod verify;
pub mod window;
