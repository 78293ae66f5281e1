//! What the repository holds to: borders between modules, one name for each thing, a baseline that hrmc does not need.

#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

mod baseline;
mod layering;
mod names;
mod sources;
