//! Arbitrary bytes as an input of the reader `times`. Run it with `cargo +nightly fuzz run times`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("times", bytes));
