//! Arbitrary bytes as an input of the reader `project`. Run it with `cargo +nightly fuzz run project`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("project", bytes));
