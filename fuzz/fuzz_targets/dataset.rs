//! Arbitrary bytes as an input of the reader `dataset`. Run it with `cargo +nightly fuzz run dataset`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("dataset", bytes));
