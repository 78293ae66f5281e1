//! Every operator on the device `luminal-cuda`, whose driver is emulated but in tier T2.

use std::env;
use std::process::Command;

use hrmc::internals::device::Device;

use crate::emulated::{LARGE, TOLERANCE};
use crate::fake_cuda;
use crate::gpu::on_a_gpu;
use crate::running::{Loaded, difference_within, graph_of};
use crate::samples::{Draw, Sample, Sizes};

/// Set in the process that has the emulated libraries.
const INSIDE: &str = "HRMC_TEST_INSIDE";

/// Two of each operator: each size has kernels of its own, and compiling them is what takes the time.
const SIZES: [Sizes; 2] = [Sizes { batch: 2, positions: 3, heads: 2, half: 1, inner: 3, vocab: 3 }, LARGE[1]];

/// Compares an operator with its decomposition in a process that has the emulated libraries; `test` is its whole
/// name.
pub fn agrees(test: &str, sample: fn(&mut Draw) -> Sample) {
    if env::var_os(INSIDE).is_some() || on_a_gpu() {
        for (seed, sizes) in SIZES.into_iter().enumerate() {
            let sample = sample(&mut Draw::new(sizes, seed as u64));
            let [found, expected] = [Device::LuminalCuda, Device::Reference]
                .map(|device| Loaded::new(graph_of(&sample), device).run(&sample.inputs));
            assert_eq!(difference_within(&found, &expected, TOLERANCE), None, "{:?}", sample.op);
        }
        return;
    }
    let Some(libraries) = fake_cuda::libraries() else { return };
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
