//! What the repository holds to: borders between modules, and a baseline that hrmc does not need.

mod baseline;
mod layering;
