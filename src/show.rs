//! Pictures of schedules: as text for a terminal, as SVG for a page, as one HTML file with all of it.
//!
//! What is drawn is decided once, as plain data: a [`Picture`]. The drawings only read it, so that they agree with each other and
//! with the proof.

mod picture;

pub use picture::{
    BufferOf, FindingOf, Inputs, LaneOf, MAX_STEPS, ModeOf, NoPicture, Picture, ProofOf, Step, StepNotify, StepWait,
};
