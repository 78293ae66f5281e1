//! Arbitrary bytes as an input of the reader `fixture`. Run it with `cargo +nightly fuzz run fixture`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("fixture", bytes));
