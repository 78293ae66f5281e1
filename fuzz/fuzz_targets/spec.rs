//! Arbitrary bytes as a spec. Run it with `cargo +nightly fuzz run spec`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hrmc_fuzz_entry::exercise(bytes));
