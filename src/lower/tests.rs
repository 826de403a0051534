//! Packages as text, for every mode, protocol and class of device: no device is needed.
