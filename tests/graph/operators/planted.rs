//! Faults that are put into kernels on purpose: the emulator and the comparison have to find every one.

use hrmc::internals::device::cpu::Cpu;
use hrmc::internals::graph::ops::LinearSwiGlu;

use hrmc_testing::emulator::{Emulator, text_of_kernels};
use hrmc_testing::samples::{self, Draw, LARGE, Sample};

use super::emulated::differs;
use crate::CACHE;

/// Returns what is found in a sample where the first `right` of the kernels' text is `wrong` in place of it.
fn found(right: &str, wrong: &str, sample: fn(&mut Draw) -> Sample) -> Option<String> {
    let text = text_of_kernels();
    assert!(text.contains(right), "`{right}` stands in the kernels");
    let emulator = Emulator::of(&text.replacen(right, wrong, 1), CACHE)?;
    let sample = sample(&mut Draw::new(LARGE[0], 0));
    Some(differs(&emulator, &sample, &Cpu).unwrap_or_default())
}

/// Asserts that a fault is found, and that what is said about it contains `said`.
fn assert_found(right: &str, wrong: &str, sample: fn(&mut Draw) -> Sample, said: &str) {
    if let Some(found) = found(right, wrong, sample) {
        assert!(found.contains(said) && !found.is_empty(), "`{wrong}` in place of `{right}`: `{found}`");
    }
}

/// Returns a sample of the only product that a kernel of hrmc makes.
fn linear_swiglu(draw: &mut Draw) -> Sample {
    Sample { op: LinearSwiGlu { keep: false }.into(), ..samples::linear_swiglu(draw) }
}

#[test]
fn a_missing_barrier_before_a_read_is_found() {
    let right = "__syncthreads();\n    for (int l = 0; l < SLICE; l++)";
    assert_found(right, "for (int l = 0; l < SLICE; l++)", linear_swiglu, "order");
}

#[test]
fn a_missing_barrier_before_the_next_write_is_found() {
    let right = "// Nobody may overwrite a slice that others still read.\n    __syncthreads();";
    assert_found(right, "", linear_swiglu, "order");
    let right = "// Nobody may overwrite what others still read.\n    __syncthreads();";
    assert_found(right, "", samples::attention, "order");
}

#[test]
fn a_write_beyond_the_end_is_found() {
    let right = "for (; i < count; i++) add_pack<1>";
    assert_found(right, "for (; i <= count; i++) add_pack<1>", samples::add, "written outside of memory");
}

#[test]
fn a_read_beyond_the_end_of_a_row_is_found() {
    let right = "bool there = row < rows && term < terms;";
    assert_found(right, "bool there = row < rows && term <= terms;", linear_swiglu, "expected");
}

#[test]
fn a_barrier_that_some_threads_never_reach_is_found() {
    let right = "parts[threadIdx.y][threadIdx.x] = sum;\n  __syncthreads();";
    let wrong = "parts[threadIdx.y][threadIdx.x] = sum;\n  if (threadIdx.y > 3)\n __syncthreads();\n else\n __syncthreads();";
    assert_found(right, wrong, samples::sum_leading, "threads meet at different barriers");
}

#[test]
fn a_shuffle_that_some_lanes_miss_is_found() {
    let right = "float r = 1.0f / sqrtf(warp_sum(squares)";
    let wrong = format!("if (threadIdx.x > 20) return;\n  {right}");
    assert_found(right, &wrong, samples::rms_norm, "a shuffle of a warp that is not whole");
}
