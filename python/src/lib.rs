//! wgccl for Python: arrays in, arrays out, and schedules as Python objects.
//!
//! A door and nothing more: algorithms, proofs, executors and pictures are the library's.

mod arrays;
mod bench;
mod buffers;
mod calls;
mod communicator;
mod device;
mod errors;
mod lane;
mod lines;
mod picture;
mod report;
mod schedule;
mod signals;
mod sources;
mod types;
mod verify;
mod written;

use pyo3::prelude::*;

#[pymodule]
mod _wgccl {
    #[pymodule_export]
    use crate::bench::{PyRow, bench_row};
    #[pymodule_export]
    use crate::calls::{
        PyCommunicator, algorithms, all_gather, all_reduce, all_to_all, broadcast, gather, reduce, reduce_scatter,
        scatter, send_recv,
    };
    #[pymodule_export]
    use crate::device::{PyDevice, devices, forked};
    #[pymodule_export]
    use crate::lane::PyRank;
    #[pymodule_export]
    use crate::picture::PyPage;
    #[pymodule_export]
    use crate::report::{PyFinding, PyProof, PyReport};
    #[pymodule_export]
    use crate::sources::{build, load, loads};
    #[pymodule_export]
    use crate::verify::{PyDifference, PyVerification, verify};
    #[pymodule_export]
    use crate::written::{PyAddress, PySchedule};

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
