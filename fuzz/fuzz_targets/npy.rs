//! Arbitrary bytes as an input of the reader `npy`. Run it with `cargo +nightly fuzz run npy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::readers::read("npy", bytes));
