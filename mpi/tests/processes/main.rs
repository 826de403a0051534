//! Several processes under `mpirun`: cases that each of them takes part in.
//!
//! Run without `mpirun` it starts each case under it, as this same program; there the name of the case is in the environment.
//! `cargo test -p wgccl-mpi --test processes -- NAME` runs the cases with NAME in their names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod calls;
mod check;
mod driver;
mod failure;
mod kill;
mod matrix;

#[path = "../../../tests/common/mod.rs"]
mod common;

use mpi::topology::SimpleCommunicator;
use wgccl_mpi::mpi;

/// What every process does.
struct Case {
    name: &'static str,
    /// Numbers of processes, one run for each.
    processes: &'static [u32],
    run: fn(&SimpleCommunicator),
}

const CASES: &[Case] = &[
    Case { name: "matrix", processes: &[1, 2, 3, 4], run: matrix::every_collective },
    Case { name: "pieces", processes: &[2, 3], run: matrix::messages_in_pieces },
    Case { name: "calls", processes: &[2, 3], run: calls::every_call },
    Case { name: "traffic", processes: &[3], run: calls::beside_other_traffic },
    Case { name: "order", processes: &[2], run: calls::several_at_once },
    Case { name: "unequal", processes: &[3], run: agreement::unequal_plans },
    Case { name: "refused", processes: &[3], run: agreement::one_that_cannot },
    Case { name: "idle", processes: &[3], run: agreement::more_processes_than_ranks },
    Case { name: "absent", processes: &[3], run: agreement::one_that_does_not_come },
    Case { name: "broken", processes: &[2, 3], run: failure::one_that_fails },
    Case { name: "silent", processes: &[3], run: failure::one_that_is_silent },
    Case { name: "lengths", processes: &[2], run: failure::wrong_lengths },
    // Started where one of them is killed.
    Case { name: "endless", processes: &[], run: kill::endless },
];

fn main() -> std::process::ExitCode {
    match std::env::var(driver::CASE) {
        Ok(name) => driver::take_part(CASES.iter().find(|case| case.name == name).unwrap()),
        Err(_) => driver::start_all(CASES),
    }
}
