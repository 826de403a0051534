//! Pictures of schedules: as text for a terminal, as SVG for a page, as one HTML file with all of it.
//!
//! What is drawn is decided once, as plain data: a [`Picture`]. The drawings only read it, so that they agree with each other and
//! with the proof.

#[cfg(feature = "show")]
mod columns;
#[cfg(feature = "show")]
mod html;
mod names;
mod picture;
mod svg;
mod text;

#[cfg(feature = "show")]
pub use html::html;
pub use picture::{
    BufferOf, FindingOf, Inputs, LaneOf, MAX_STEPS, ModeOf, NoPicture, PartOf, Picture, ProofOf, Step, StepNotify,
    StepWait,
};
pub use svg::{Drawing, TooMuch, svg};
pub use text::{Line, Tone, text};
