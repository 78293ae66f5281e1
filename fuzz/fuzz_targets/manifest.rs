//! Arbitrary bytes as an input of the reader `manifest`. Run it with `cargo +nightly fuzz run manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("manifest", bytes));
