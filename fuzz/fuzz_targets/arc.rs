//! Arbitrary bytes as an input of the reader `arc`. Run it with `cargo +nightly fuzz run arc`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("arc", bytes));
