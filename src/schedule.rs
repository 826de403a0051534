//! A schedule is data: what every rank does, step by step, and nothing about how it is executed.
//!
//! Proof, golden, executors and pictures all read this one value, so no formula of an algorithm is written twice.
//! Addresses may name a peer's memory: reading from it (pull) and writing to it (push) are the same instruction.
//! Instructions have no branches and signals only grow, so a schedule has one outcome whatever the timing.

pub(crate) mod address_map;
mod algorithm;
mod algorithms;
mod draft;
mod edit;
mod edit_text;
mod few;
mod find;
mod graph;
mod groups;
mod label;
mod origin;
mod placement;
mod recipe;
pub(crate) mod room;
mod selection;
mod site;
mod text;
mod value;

pub(crate) use address_map::AddressMap;
pub use algorithm::{Algorithm, SyncStyle};
pub use algorithms::{BuildError, build, draft};
pub use draft::Draft;
pub use edit::{At, Edit, EditError};
pub use edit_text::EditForm;
pub use few::Few;
pub use find::{PlaceError, SiteError};
pub(crate) use graph::{CellWait, Graph, Sources};
pub use groups::{Groups, GroupsError};
pub use label::Label;
pub use origin::Origin;
pub use placement::{Placement, PlacementError};
pub use recipe::Recipe;
pub use selection::{DeviceKind, Selection};
pub use site::{Signal, Site};
pub use text::AddressError;
pub use value::{Address, Buffer, Granularity, Instruction, Lane, MAX_RANKS, Notify, Schedule, Wait};
