//! What happens around a program: datasets, policies of training, devices, and recorded models.

#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

mod datasets;
mod devices;
mod explain;
mod measures;
mod official_format;
mod parity;
mod policies;
