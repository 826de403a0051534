//! What a placement on several devices would move, without launching anything.
//!
//! `check`, `layout` and `show` tell the same of it.

use serde::Serialize;
use wgccl::element::DataType;
use wgccl::lower::{Link, Split};
use wgccl::proof::{self, prove};
use wgccl::schedule::Schedule;

use super::args::LaunchArgs;
use super::output::{named, of_link, plural};
use crate::error::Error;
use crate::plan::Plan;

/// A schedule that is placed.
#[derive(Debug, Serialize)]
pub(super) struct Placed {
    devices: u32,
    placement: String,
    epochs: u32,
    count: usize,
    #[serde(rename = "type")]
    data_type: DataType,
    links: Vec<Link>,
}

impl Placed {
    /// Where `launch` says a placement: how `schedule` goes over it.
    pub(super) fn of(
        launch: &LaunchArgs,
        plan: &Plan,
        schedule: &Schedule,
        in_place: bool,
    ) -> Result<Option<Self>, Error> {
        let Some(placement) = &launch.place else { return Ok(None) };
        let (count, data_type) = (launch.count(plan), launch.data_type());
        let proved = prove(schedule.clone(), proof::Options::default().in_place(in_place))?;
        let payload = proved.payload(count, data_type)?;
        let split = Split::new(&proved, placement).map_err(wgccl::error::PrepareError::from)?;
        let (devices, placement, epochs) = (placement.devices(), placement.to_string(), split.epochs());
        Ok(Some(Self { devices, placement, epochs, count, data_type, links: split.links(&payload) }))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let devices = plural(self.devices.into(), "device");
        let payload = format!("{} {}", self.count, self.data_type);
        let epochs = format!("{} {}", self.epochs, if self.epochs == 1 { "epoch" } else { "epochs" });
        let mut text = named("placed", &format!("{} on {devices}, {epochs}; of {payload} moves", self.placement));
        if self.links.is_empty() {
            text += &named("", "nothing from device to device");
        }
        for link in &self.links {
            text += &named("", &of_link(link));
        }
        text
    }
}
