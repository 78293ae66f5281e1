//! Arbitrary bytes as an input of the reader `puzzle`. Run it with `cargo +nightly fuzz run puzzle`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("puzzle", bytes));
