//! The command line with the device `luminal-cuda`, on the emulated driver (tier T0): luminal_cuda's own compiler and
//! kernels, the baseline.
//!
//! Without a C++ compiler these tests say so and pass. A pass is no evidence from a GPU.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests write files, start processes and wait")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hrmc_testing::fake_cuda;
use hrmc_testing::workplace::{Said, TINY, Workplace, repository};
use safetensors::SafeTensors;

/// The binary under test.
const BASELINE: &str = env!("CARGO_BIN_EXE_hrmc-baseline");

fn tiny() -> Workplace {
    let place = Workplace::new(BASELINE);
    place.write("tiny.hrm", TINY);
    place
}

/// What is trained: few steps, so that rounding has not grown.
const TRAIN: &str = "run tiny.hrm --train --steps 4";

/// Runs a command line on the emulated driver; `None` if there is no compiler.
fn emulated(place: &Workplace, arguments: &str, variables: &[(&str, &str)]) -> Option<Said> {
    let libraries = fake_cuda::libraries(env!("CARGO_TARGET_TMPDIR"))?;
    let mut command = place.command(arguments);
    command.env("LD_LIBRARY_PATH", libraries).envs(variables.iter().copied());
    Some(Said::of(command.output().expect("the binary runs")))
}

/// Compares a recorded model, its first segment and gradients, in the three orders of threads.
fn agrees(name: &str) {
    let place = Workplace::new(BASELINE);
    let fixture = repository().join("tests/fixtures").join(name);
    let arguments = format!("verify {} --device luminal-cuda", fixture.with_extension("json").display());
    for order in ["0", "1", "2"] {
        let Some(said) = emulated(&place, &arguments, &[("FAKE_CUDA_ORDER", order)]) else { return };
        assert_eq!(said.code, Some(0), "order {order}: {}{}", said.out, said.err);
        assert!(said.out.contains("on luminal-cuda: first segment and gradients"), "{}", said.out);
    }
}

macro_rules! recorded_models {
    ($($test:ident: $name:literal),+ $(,)?) => {
        $(
            #[test]
            fn $test() {
                agrees($name);
            }
        )+
    };
}

recorded_models!(
    rope_without_puzzles_agrees: "rope-nopuzzle",
    rope_with_puzzles_agrees: "rope-puzzle",
    learned_positions_and_softmax_agree: "learned-softmax",
    trm_with_attention_agrees: "trm-attention",
    trm_with_mixer_agrees: "trm-mixer",
    trm_with_continue_agrees: "trm-continue",
);

fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(path).expect("the run has saved its weights");
    let tensors = SafeTensors::deserialize(&bytes).expect("they are tensors");
    let numbers = |data: &[u8]| {
        data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
    };
    tensors.iter().map(|(name, tensor)| (name.to_string(), numbers(tensor.data()))).collect()
}

#[test]
fn training_equals_that_of_the_reference() {
    let place = tiny();
    let Some(said) = emulated(&place, &format!("{TRAIN} --device luminal-cuda --runs gpu"), &[]) else {
        return;
    };
    assert_eq!(said.code, Some(0), "{}", said.err);
    place.succeed(&format!("{TRAIN} --device reference --runs reference"));
    for file in ["last/weights.safetensors", "last/average.safetensors", "last/state.safetensors"] {
        let [found, expected] =
            ["gpu", "reference"].map(|runs| tensors(&place.path(runs).join("tiny-001").join(file)));
        assert!(found.keys().eq(expected.keys()), "{file}");
        for (name, expected) in &expected {
            let differences = found[name].iter().zip(expected).map(|(a, b)| (a - b).abs());
            let largest = differences.fold(0.0, f32::max);
            // Absolute: sums in another order, of numbers up to 5, through four steps.
            assert!(largest <= 2e-5, "{file}: `{name}` differs by {largest}");
        }
    }
}

/// Trains so many steps on the emulated driver and returns its counts.
fn counts(steps: usize) -> Option<BTreeMap<String, u64>> {
    let place = tiny();
    let report = place.path("report.json");
    let arguments = format!("run tiny.hrm --train --steps {steps} --device luminal-cuda");
    let said =
        emulated(&place, &arguments, &[("FAKE_CUDA_REPORT", report.to_str().expect("paths are UTF-8"))])?;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let text = fs::read_to_string(report).expect("the driver reports at the end");
    Some(serde_json::from_str(&text).expect("the report is JSON"))
}

#[test]
fn a_step_copies_rows_and_rates_in_and_results_out() {
    let (Some(few), Some(more)) = (counts(6), counts(8)) else { return };
    let in_two_steps = |count: &str| more[count] - few[count];
    // In: tokens, labels, puzzles, which rows begin and which are at their limit, and three numbers of the update,
    // each where it is new. Weights, moments, averages and carry, over forty tensors, are not among them.
    assert!((1..=16).contains(&in_two_steps("copies_in")), "{}", in_two_steps("copies_in"));
    // Out: three losses, two Q values, a Q target, what is right and what counts, and for each of 13 weights whether it
    // is finite.
    assert_eq!(in_two_steps("copies_out"), 2 * (8 + 13));
    assert_eq!(in_two_steps("compiles"), 0);
    assert_eq!(more["live_bytes"], 0, "everything is freed");
}

/// Trains where something is wrong, and returns the one message.
fn failure(variables: &[(&str, &str)]) -> Option<String> {
    let said = emulated(&tiny(), &format!("{TRAIN} --device luminal-cuda"), variables)?;
    assert_eq!(said.code, Some(1), "{}", said.err);
    let errors: Vec<&str> = said.err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(!said.err.contains("panicked") && errors.len() == 1, "{}", said.err);
    Some(errors[0].to_string())
}

#[test]
fn the_list_of_devices_has_it_after_those_of_hrmc() {
    let place = Workplace::new(BASELINE);
    let text = place.succeed("devices");
    let begins = text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next());
    assert_eq!(begins.collect::<Vec<_>>(), ["cpu", "reference", "cuda", "luminal-cuda"], "{text}");
    let json: serde_json::Value = serde_json::from_str(&place.succeed("devices --json")).expect("it is JSON");
    let [found, cuda] = ["luminal-cuda", "cuda"].map(|device| &json[device]);
    assert_eq!(found, &serde_json::json!({ "runs": cuda["runs"], "problem": cuda["problem"] }));
    let here = if found["runs"] == true { "luminal_cuda on the first device" } else { "cannot run here" };
    assert!(text.contains(&format!("luminal-cuda {here}")), "{text}");
}

#[test]
fn it_is_timed_beside_a_product_of_cublas_and_has_no_kernels_to_profile() {
    let place = tiny();
    let arguments = "bench tiny.hrm --device luminal-cuda --batch 2 --repeat 1 --program evaluate";
    let Some(said) = emulated(&place, arguments, &[]) else { return };
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.starts_with("tiny on luminal-cuda, batch 2"), "{}", said.out);
    assert!(said.out.contains("peak of one large product"), "{}", said.out);
    let message = place.fail("bench tiny.hrm --device luminal-cuda --profile");
    assert!(
        message.contains("`--profile` shows the kernels of a plan, and `luminal-cuda` runs none"),
        "{message}"
    );
}

#[test]
fn where_there_is_no_driver_it_says_so() {
    let place = tiny();
    // A folder without libraries is all that the loader may add to its own.
    let mut command = place.command(&format!("{TRAIN} --device luminal-cuda"));
    let said = Said::of(command.env("LD_LIBRARY_PATH", place.path("")).output().expect("the binary runs"));
    if said.code == Some(0) {
        // A machine with a GPU.
        return;
    }
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(said.err.starts_with("error: cannot run on CUDA: "), "{}", said.err);
}

#[test]
fn where_there_is_no_device_it_says_so() {
    let Some(message) = failure(&[("FAKE_CUDA_DEVICES", "0")]) else { return };
    assert!(message.starts_with("error: cannot run on CUDA: the driver, for CUDA "), "{message}");
}

#[test]
fn a_kernel_that_does_not_compile_is_one_message() {
    let Some(message) = failure(&[("FAKE_CUDA_FAIL_COMPILE", "1")]) else { return };
    assert!(
        message.starts_with("error: `luminal-cuda` does not work here: a kernel does not compile: "),
        "{message}"
    );
}

#[test]
fn memory_that_runs_out_anywhere_is_one_message() {
    // While constants and weights are copied, in the first step and in later ones, and at the evaluation.
    for allocation in ["1", "2", "3", "50", "200", "400", "500", "600", "1000", "1500", "4000", "8000"] {
        let Some(message) = failure(&[("FAKE_CUDA_FAIL_ALLOCATION", allocation)]) else { return };
        let expected =
            "error: the device has no memory left for `luminal-cuda`; use a smaller batch or model";
        assert_eq!(message, expected, "allocation {allocation}");
    }
}

#[test]
fn a_lost_device_is_one_message() {
    for launch in ["1", "3000"] {
        let Some(message) = failure(&[("FAKE_CUDA_FAIL_LAUNCH", launch)]) else { return };
        assert!(message.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "launch {launch}: {message}");
    }
}
