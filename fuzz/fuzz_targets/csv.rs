//! Arbitrary bytes as an input of the reader `csv`. Run it with `cargo +nightly fuzz run csv`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("csv", bytes));
