//! What `--dispatch` and `--protocol` say together: a dispatch mode or `auto`, and a protocol.

use std::fmt;

use wgccl::backend::Options;
use wgccl::lower::{Mode, Protocol};

use crate::error::Error;
use crate::names;

/// The word that leaves a choice to the device, or the device to the program.
pub const AUTO: &str = "auto";
/// The name of fused dispatch by protocol `ll`.
const FUSED_LL: &str = "fused-ll";

/// A dispatch mode, or the device's choice, and a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dispatch {
    /// None: by device and schedule.
    pub mode: Option<Mode>,
    /// How lanes know that data has arrived; none: the default, or what a file says.
    pub protocol: Option<Protocol>,
}

/// What `--dispatch` says alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    mode: Option<Mode>,
    /// Where the name says it.
    protocol: Option<Protocol>,
}

impl Wanted {
    /// The device's choice.
    pub const AUTO: Self = Self { mode: None, protocol: None };

    /// Reads a mode's name, `auto` or `fused-ll`.
    ///
    /// # Errors
    /// What there is.
    pub fn parse(name: &str) -> Result<Self, String> {
        let fused_ll = Self { mode: Some(Mode::Fused), protocol: Some(Protocol::Ll) };
        match name.parse::<Mode>() {
            Ok(mode) => Ok(Self { mode: Some(mode), protocol: None }),
            Err(_) if names::is(name, AUTO) => Ok(Self::AUTO),
            Err(_) if names::is(&name.replace('_', "-"), FUSED_LL) => Ok(fused_ll),
            Err(error) => Err(names::explain(&error, &[FUSED_LL, AUTO])),
        }
    }

    /// What [`Self::parse`] takes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        [AUTO].into_iter().chain(Mode::ALL.iter().map(|mode| mode.name())).chain([FUSED_LL])
    }

    /// With what `--protocol` says.
    ///
    /// # Errors
    /// [`Error::Usage`] where they contradict each other.
    pub fn by(self, protocol: Option<Protocol>) -> Result<Dispatch, Error> {
        match (self.protocol, protocol) {
            (Some(named), Some(given)) if named != given => Err(Error::Usage(format!(
                "{FUSED_LL} is fused by protocol {named}, and --protocol says {given}; leave one of them out"
            ))),
            (named, given) => Ok(Dispatch { mode: self.mode, protocol: named.or(given) }),
        }
    }
}

impl Dispatch {
    /// The device's choice by the default protocol.
    pub const AUTO: Self = Self { mode: None, protocol: None };

    /// Every mode by every protocol that has it, or by this one.
    pub fn all(protocol: Option<Protocol>) -> Vec<Self> {
        let simple = Mode::ALL.iter().map(|&mode| Self { mode: Some(mode), protocol: Some(Protocol::Simple) });
        let ll = Self { mode: Some(Mode::Fused), protocol: Some(Protocol::Ll) };
        simple.chain([ll]).filter(|dispatch| protocol.is_none_or(|wanted| wanted == dispatch.protocol())).collect()
    }

    /// The options of launches that are dispatched so.
    pub fn options(self) -> Options {
        Options::default().dispatch(self.mode).protocol(self.protocol())
    }

    /// The protocol that was named, or the default.
    pub fn protocol(self) -> Protocol {
        self.protocol.unwrap_or_default()
    }
}

/// As `--dispatch` takes it, where that has a name.
impl fmt::Display for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mode, self.protocol()) {
            (None, Protocol::Simple) => f.pad(AUTO),
            (None, protocol) => f.pad(&format!("{AUTO} by {protocol}")),
            (Some(mode), protocol) => f.pad(&name(mode, protocol)),
        }
    }
}

/// The name of a mode by a protocol, in tables, pictures and comparisons.
pub(crate) fn name(mode: Mode, protocol: Protocol) -> String {
    match protocol {
        Protocol::Simple => mode.to_string(),
        protocol => format!("{mode}-{protocol}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_ll_is_fused_by_ll() {
        for (text, protocol, shown) in [
            ("auto", None, Some("auto")),
            ("auto", Some(Protocol::Ll), Some("auto by ll")),
            ("fused", None, Some("fused")),
            ("fused", Some(Protocol::Ll), Some("fused-ll")),
            ("fused-ll", None, Some("fused-ll")),
            ("fused-ll", Some(Protocol::Ll), Some("fused-ll")),
            ("fused-ll", Some(Protocol::Simple), None),
            ("per-step", Some(Protocol::Simple), Some("per-step")),
            ("PerStep", None, Some("per-step")),
            ("FUSED_LL", None, Some("fused-ll")),
            ("Auto", None, Some("auto")),
        ] {
            let dispatch = Wanted::parse(text).unwrap().by(protocol);
            assert_eq!(dispatch.ok().map(|dispatch| dispatch.to_string()).as_deref(), shown, "{text} {protocol:?}");
        }
        let error = Wanted::parse("fused-l").unwrap_err();
        assert!(error.contains("per-step") && error.ends_with("fused-ll, auto"), "{error}");
        assert_eq!(Dispatch::all(None).len(), 4);
        assert_eq!(Dispatch::all(Some(Protocol::Ll)).len(), 1);
    }
}
