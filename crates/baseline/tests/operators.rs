//! Every operator on the device `luminal-cuda` against its decomposition into luminal's primitives, interpreted. The
//! driver is emulated (tier T0), but with the variable HRMC_T2 set to `required` it is that of this machine (tier T2).
//!
//! Without a C++ compiler these tests say so and pass.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

use std::env;
use std::process::Command;

use hrmc::internals::device::reference::Reference;
use hrmc::internals::device::{Device, Places};
use hrmc::internals::graph::Op;
use hrmc_baseline::LuminalCuda;
use hrmc_testing::running::{Loaded, TOLERANCE, difference_within, graph_of};
use hrmc_testing::samples::{self, Draw, LARGE, Sample, Sizes, every_operator};
use hrmc_testing::{fake_cuda, on_a_gpu};

/// Set in the process that has the emulated libraries.
const INSIDE: &str = "HRMC_TEST_INSIDE";

/// Two of each operator: each size has kernels of its own, and compiling them is what takes the time.
const SIZES: [Sizes; 2] = [Sizes { batch: 2, positions: 3, heads: 2, half: 1, inner: 3, vocab: 3 }, LARGE[1]];

/// Compares an operator with its decomposition in a process that has the emulated libraries; `test` is its whole
/// name.
fn agrees(test: &str, sample: fn(&mut Draw) -> Sample) {
    if env::var_os(INSIDE).is_some() || on_a_gpu() {
        let devices: [&dyn Device; 2] = [&LuminalCuda::new(Places::default()), &Reference];
        for (seed, sizes) in SIZES.into_iter().enumerate() {
            let sample = sample(&mut Draw::new(sizes, seed as u64));
            assert_sample_is_of(test, &sample.op);
            let [found, expected] =
                devices.map(|device| Loaded::new(graph_of(&sample), device).run(&sample.inputs));
            assert_eq!(difference_within(&found, &expected, TOLERANCE), None, "{:?}", sample.op);
        }
        return;
    }
    let Some(libraries) = fake_cuda::libraries(env!("CARGO_TARGET_TMPDIR")) else { return };
    let output = Command::new(env::current_exe().expect("the test has a path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("LD_LIBRARY_PATH", libraries)
        .output()
        .expect("the test can be started again");
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Makes a test of each operator. An operator that is missing here does not compile.
macro_rules! operators {
    ($($variant:ident => $sample:ident $(($($input:literal),+))?),+ $(,)?) => {
        fn assert_sample_is_of(test: &str, op: &Op) {
            let found = match op {
                Op::Input(_) => "input",
                $(Op::$variant(_) => stringify!($sample),)+
            };
            assert_eq!(found, test);
        }

        $(#[test]
        fn $sample() {
            agrees(stringify!($sample), samples::$sample);
        })+
    };
}

every_operator!(operators);
