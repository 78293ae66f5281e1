//! Arbitrary bytes as an input of the reader `metrics`. Run it with `cargo +nightly fuzz run metrics`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("metrics", bytes));
