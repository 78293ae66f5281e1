//! Arbitrary bytes as a spec. Run it with `cargo +nightly fuzz run spec`.

#![no_main]

#[path = "../entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::exercise(bytes));
