//! Arbitrary bytes as an input of the reader `checkpoint`. Run it with `cargo +nightly fuzz run checkpoint`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("checkpoint", bytes));
