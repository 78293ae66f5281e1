//! Arbitrary bytes as an input of the reader `questions`. Run it with `cargo +nightly fuzz run questions`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("questions", bytes));
