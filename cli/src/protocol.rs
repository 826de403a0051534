//! Which protocol a launch of a file runs by: the one that the file names, where nobody names another and it can be.
//!
//! Apart from devices and files, because it takes both: what a file wishes, a device and a proved schedule must bear.

use wgccl::backend::{Options, Shape};
use wgccl::error::PrepareError;
use wgccl::format::msccl::Proto;
use wgccl::lower::{LowerError, Protocol};
use wgccl::proof::Proved;

use crate::device::Device;
use crate::dispatch::Dispatch;
use crate::file::Loaded;

/// The protocol that a file wishes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// As the file spells it.
    proto: Proto,
    protocol: Protocol,
}

impl Wish {
    /// Of a file that names one which is not the default.
    pub(crate) fn of(file: &Loaded) -> Option<Self> {
        let proto = file.msccl.as_ref()?.algo.proto;
        match proto {
            Proto::Simple => None,
            // Both put a flag into the data; ours is one of a word's size.
            Proto::LowLatency | Proto::LowLatency128 => Some(Self { proto, protocol: Protocol::Ll }),
        }
    }
}

/// How a launch is dispatched, and what is to be said of it.
pub(crate) struct Settled {
    pub(crate) dispatch: Dispatch,
    pub(crate) note: Option<String>,
}

/// `dispatch` by the protocol of `wish`, where `dispatch` names none and `device` bears it; else as it is, with the reason.
pub(crate) fn settle(
    device: &Device,
    proved: &Proved,
    shape: Shape,
    (dispatch, wish): (Dispatch, Option<Wish>),
    options: impl Fn(Dispatch) -> Options,
) -> Settled {
    let (Some(gpu), None, Some(wish)) = (device.gpu(), dispatch.protocol, wish) else {
        return Settled { dispatch, note: None };
    };
    let Wish { proto, protocol } = wish;
    let wished = Dispatch { protocol: Some(protocol), ..dispatch };
    let (proto, default) = (proto.name(), Protocol::default());
    match gpu.lower(proved, shape, &options(wished)) {
        Ok(_) => Settled { dispatch: wished, note: Some(format!("protocol {protocol}: the file says proto {proto}")) },
        Err(PrepareError::Lower { error, .. }) => {
            let why = match &error {
                LowerError::Unsound { reason, .. } => reason.to_string(),
                error => error.to_string(),
            };
            let note = format!("protocol {default}, though the file says proto {proto}: {why}");
            Settled { dispatch, note: Some(note) }
        }
        // The launch says it itself.
        Err(_) => Settled { dispatch, note: None },
    }
}
