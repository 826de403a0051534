//! A row as if measured, for the tests of what is made of rows.
//!
//! Tests never depend on real times.

use wgccl::collective::{Collective, Op};
use wgccl::element::DataType;
use wgccl::lower::{Mode, Protocol};
use wgccl::schedule::{Algorithm, SyncStyle};

use super::result::{Clock, Device, Measured, Roof, Row, Samples};
use super::statistics::Statistics;

pub(crate) fn device() -> Device {
    Device {
        index: Some(0),
        name: "Device".to_owned(),
        backend: "vulkan".to_owned(),
        kind: "software".to_owned(),
        driver: Some("driver 1".to_owned()),
        threads: None,
        pci: None,
        processes: Vec::new(),
    }
}

pub(crate) fn row(size: u64, time: f64) -> Row {
    let placement = Measured {
        time,
        clock: Clock::Device,
        host_time: 2.0 * time,
        host_p50: Some(2.0 * time),
        alg_bw: size as f64 / time / 1e3,
        bus_bw: 1.5 * size as f64 / time / 1e3,
        mem_bw: 1.0,
        roof_pct: 50.0,
        nwrong: Some(0),
        dispatch: Some(Mode::PerStep),
        protocol: Some(Protocol::Simple),
        dispatches: Some(6),
        channels: 1,
        pieces: 1,
        device_bytes: Some((1 << 20, 1 << 10)),
        kernel: Some("0123456789abcdef".to_owned()),
    };
    let times = vec![0.9 * time, time, 1.1 * time];
    let statistics = Statistics::of(&times).unwrap();
    let samples = Samples { skipped_iterations: 0, statistics, times_us: times };
    Row {
        size,
        count: size as usize / 4,
        data_type: DataType::F32,
        redop: Some(Op::Sum),
        root: -1,
        collective: Collective::AllReduce,
        origin: Algorithm::Ring.into(),
        algorithm_auto: false,
        sync: SyncStyle::Neighbor,
        ranks: 4,
        device: 0,
        cycle: 0,
        timestamp: "2026-01-02 03:04:05".to_owned(),
        bytes_moved: 8 * size,
        roof: Roof { time: time / 4.0, clock: Clock::Device, bandwidth: 2.0, by: None },
        in_place: Some(Measured { nwrong: None, ..placement.clone() }),
        out_of_place: Some(placement),
        out_of_place_per_iter: Some(samples.clone()),
        in_place_per_iter: Some(samples),
    }
}

/// The same of a file that is right in place only.
pub(crate) fn in_place_only(row: Row) -> Row {
    Row { out_of_place: None, out_of_place_per_iter: None, ..row }
}

/// What [`row`] has out of place.
pub(crate) fn apart(row: &mut Row) -> &mut Measured {
    row.out_of_place.as_mut().unwrap()
}

/// Its times.
pub(crate) fn apart_times(row: &mut Row) -> &mut Samples {
    row.out_of_place_per_iter.as_mut().unwrap()
}
