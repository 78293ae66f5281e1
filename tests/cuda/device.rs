//! `--device cuda`, on an emulated driver (tier T0): what it computes, what it costs, and what can go wrong.
//!
//! Each command runs in a process that is given the emulated libraries. A pass is no evidence from a GPU. With the
//! variable HRMC_T2 set to `required`, what needs no faults and no counts of the emulated driver runs on the driver of
//! the machine instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hrmc_testing::workplace::{Said, TINY, Workplace, shipped};
use hrmc_testing::{fake_cuda, on_a_gpu};

use crate::{CACHE, HRMC};

/// Counts of the emulated driver by name.
type Counts = BTreeMap<String, u64>;

/// Names of the fixtures.
const FIXTURES: [&str; 6] =
    ["rope-puzzle", "rope-nopuzzle", "learned-softmax", "trm-attention", "trm-mixer", "trm-continue"];

/// The tiny model, trained for fewer steps: the emulator is slow.
fn tiny() -> String {
    TINY.replace("steps      = 20", "steps      = 8").replace("eval_every = 8 steps", "eval_every = 4 steps")
}

/// A folder whose commands find the emulated libraries, or in tier T2 those of the machine.
struct Emulated {
    place: Workplace,
    libraries: Option<PathBuf>,
}

impl Emulated {
    /// Returns `None`, after saying that T0 did not run, where there is no C++ compiler.
    fn new() -> Option<Emulated> {
        if on_a_gpu() {
            eprintln!("not a part of T2: it asks for faults or counts of the emulated driver");
            return None;
        }
        Emulated::with(Some(fake_cuda::libraries(CACHE)?))
    }

    /// Returns the same for a test that a GPU passes too.
    fn or_gpu() -> Option<Emulated> {
        if on_a_gpu() { Emulated::with(None) } else { Emulated::new() }
    }

    fn with(libraries: Option<PathBuf>) -> Option<Emulated> {
        let place = Workplace::new(HRMC);
        place.write("tiny.hrm", &tiny());
        Some(Emulated { place, libraries })
    }

    /// Returns the name of the tier and of what runs in it.
    fn tier(&self) -> &'static str {
        if self.libraries.is_some() { "T0 ran, on the emulated driver" } else { "T2 ran, on a GPU" }
    }

    fn run_with(&self, arguments: &str, variables: &[(&str, &str)]) -> Said {
        let mut command = self.place.command(arguments);
        // Images for the emulator have no business in the cache of a user.
        command.envs(self.libraries.iter().map(|libraries| ("LD_LIBRARY_PATH", libraries)));
        command.env("XDG_CACHE_HOME", self.place.path("cache"));
        command.env("FAKE_CUDA_REPORT", self.place.path("report")).envs(variables.iter().copied());
        Said::of(command.output().expect("the binary runs"))
    }

    fn succeed(&self, arguments: &str) -> String {
        self.succeed_with(arguments, &[])
    }

    fn succeed_with(&self, arguments: &str, variables: &[(&str, &str)]) -> String {
        let said = self.run_with(arguments, variables);
        assert_eq!(said.code, Some(0), "`hrmc {arguments}` with {variables:?} failed: {}", said.err);
        said.out
    }

    fn fail_with(&self, arguments: &str, variables: &[(&str, &str)]) -> String {
        let said = self.run_with(arguments, variables);
        said.assert_one_message(arguments);
        said.err
    }

    /// Returns the counts of the last command.
    fn report(&self) -> Counts {
        counts(&self.place.path("report")).pop().expect("the driver reports at its end")
    }
}

fn counts(path: &Path) -> Vec<Counts> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("counts are JSON")).collect()
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

/// Checks that a recorded model gives on CUDA what it gave, whichever way threads are ordered.
fn agrees(name: &str) {
    let Some(emulated) = Emulated::or_gpu() else { return };
    for order in if on_a_gpu() { ["any"].as_slice() } else { &["0", "1", "2"] } {
        let text = emulated.succeed_with(
            &format!("verify {} --device cuda --threads 1", fixture(name)),
            &[("FAKE_CUDA_ORDER", order)],
        );
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first, format!("{name} on cuda: everything recorded"));
        eprintln!("{}: `{name}` agrees, threads in order {order}", emulated.tier());
        if on_a_gpu() {
            continue;
        }
        let report = emulated.report();
        assert!(report["kernels"] > 0 && report["products"] > 0, "it ran there: {report:?}");
        assert_eq!(report["allocations"], report["frees"], "what is allocated is given back");
        assert_eq!(report["host_allocations"], report["host_frees"], "what is allocated is given back");
    }
}

macro_rules! agree {
    ($($test:ident $name:literal),* $(,)?) => { $(#[test] fn $test() { agrees($name); })* };
}

agree!(
    rope_with_puzzles_agrees "rope-puzzle",
    rope_without_puzzles_agrees "rope-nopuzzle",
    learned_positions_and_softmax_agree "learned-softmax",
    trm_with_attention_agrees "trm-attention",
    trm_with_mixer_agrees "trm-mixer",
    trm_with_continue_agrees "trm-continue",
);

#[test]
fn every_fixture_is_verified() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = fs::read_dir(folder).expect("the folder can be read");
    let names = files.map(|file| file.expect("the folder can be read").file_name());
    let mut found: Vec<String> = names
        .filter_map(|name| name.to_string_lossy().strip_suffix(".safetensors").map(str::to_string))
        .collect();
    found.sort();
    let mut listed = FIXTURES.to_vec();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

/// Returns the losses of all training steps of a run.
fn losses(place: &Workplace, run: &str) -> Vec<f64> {
    let text =
        fs::read_to_string(place.path(format!("runs/{run}/metrics.jsonl"))).expect("the run has metrics");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("it is JSON"));
    lines.filter(|line| line["kind"] == "train").filter_map(|line| line["loss"].as_f64()).collect()
}

#[test]
fn training_goes_as_on_the_processor_and_can_go_on_there() {
    let Some(emulated) = Emulated::or_gpu() else { return };
    let said = emulated.run_with("run tiny.hrm --train --device cuda", &[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("device cuda"), "{}", said.err);
    emulated.succeed("run tiny.hrm --train --device cpu");
    let [cuda, cpu] = ["tiny-001", "tiny-002"].map(|run| losses(&emulated.place, run));
    assert_eq!((cuda.len(), cpu.len()), (8, 8));
    // Sums are rounded in another order, and the sign of a gradient near zero, which moves the puzzle table by 1e-3,
    // may differ.
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b.abs();
    for (&cuda, &cpu) in cuda.iter().zip(&cpu) {
        assert!(near(cuda, cpu), "{cuda} {cpu}");
    }
    // A checkpoint can be resumed on any device.
    emulated.succeed("run tiny.hrm --train --device cuda --steps 4");
    emulated.succeed("run --train --resume runs/tiny-003 --device cpu");
    emulated.succeed("eval runs/tiny-003 --device cuda");
    let [cuda, mixed] = ["tiny-001", "tiny-003"].map(|run| losses(&emulated.place, run));
    assert_eq!(cuda[..4], mixed[..4], "CUDA repeats itself");
    for (&cuda, &mixed) in cuda.iter().zip(&mixed) {
        assert!(near(mixed, cuda), "{cuda} {mixed}");
    }
}

#[test]
fn rows_that_leave_early_have_the_answers_of_the_processor() {
    let Some(emulated) = Emulated::or_gpu() else { return };
    emulated.succeed("run tiny.hrm --train --threads 1 --eval-limit 0");
    let rows = |settings: &str| -> Vec<serde_json::Value> {
        let out = emulated.succeed(&format!("predict runs/tiny-001 --threads 1 --batch 4 {settings}"));
        out.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
    };
    // Some rows have settled after two segments, and none of them barely.
    let mut drifts: Vec<f64> = rows("--set model.infer.segments=2")
        .iter()
        .map(|row| row["drift"].as_f64().expect("it is a number"))
        .collect();
    drifts.sort_by(f64::total_cmp);
    let gaps = drifts.windows(2).map(|pair| (pair[1] - pair[0], (pair[0] + pair[1]) / 2.0));
    let (gap, settle) = gaps.max_by(|one, other| one.0.total_cmp(&other.0)).expect("there are rows");
    assert!(gap > 1e-3 * settle, "{drifts:?}");
    let answers = |settings: &str| -> Vec<(String, u64)> {
        let answer = |row: serde_json::Value| {
            (row["answer"].to_string(), row["segments"].as_u64().expect("it is a number"))
        };
        rows(settings).into_iter().map(answer).collect()
    };
    let settled = format!("--set model.infer.segments=6 --set model.infer.settle={settle}");
    let expected = answers(&settled);
    let segments: std::collections::BTreeSet<u64> = expected.iter().map(|(_, segments)| *segments).collect();
    assert!(segments.len() > 1 && segments.contains(&2), "rows leave at their own time: {segments:?}");
    assert_eq!(answers(&format!("{settled} --device cuda")), expected);
    let rollouts = "--set model.infer.segments=3 --set model.infer.rollouts=2 --set model.infer.noise=0.5";
    assert_eq!(answers(&format!("{rollouts} --device cuda")), answers(rollouts));
    eprintln!("{}: rows of a batch of 4 leave as on the processor", emulated.tier());
}

#[test]
fn auto_takes_cuda_where_it_is() {
    let Some(emulated) = Emulated::new() else { return };
    let arguments = format!("verify {} --device auto --first-segment", fixture("trm-mixer"));
    let text = emulated.succeed(&arguments);
    assert!(text.starts_with("trm-mixer on cuda: first segment and gradients"), "{text}");
    let text = emulated.succeed_with(&arguments, &[("FAKE_CUDA_DEVICES", "0")]);
    assert!(text.starts_with("trm-mixer on cpu: first segment and gradients"), "{text}");
    let devices = emulated.succeed("devices");
    assert!(devices.contains("emulated on the CPU"), "{devices}");
    assert!(devices.contains("cuda         kernels and cuBLAS on the first device\n"), "{devices}");
}

/// The paper's Sudoku model with narrow layers and few rows: what is launched and copied does not depend on sizes.
const NARROW: &str = "
model narrow {
  puzzles { width = 32 }
  block encoder { hidden = 32, heads = 2, mlp = swiglu(expansion = 4, multiple_of = 16) }
}

train {
  data  = sudoku(size = 9, givens = 40, train = 4, test = 2, augment = false)
  batch = 2
  steps = 5
}
";

#[test]
fn a_training_segment_keeps_to_its_budget() {
    let Some(emulated) = Emulated::new() else { return };
    let trace = emulated.place.path("trace");
    emulated.place.write("narrow.hrm", &format!("base \"{}\"\n{NARROW}", shipped("sudoku.hrm")));
    let variables = [("FAKE_CUDA_TRACE", trace.display().to_string())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    emulated.succeed_with("run narrow.hrm --train --device cuda --eval-limit 0", &variables);
    let trace = counts(&trace);
    let segments: Vec<Counts> = trace
        .windows(2)
        .map(|pair| {
            pair[1].iter().map(|(name, after)| (name.clone(), after - pair[0][name].min(*after))).collect()
        })
        .filter(|change: &Counts| change["graph_launches"] > 0)
        .collect();
    // The first segment runs step by step, so that it can be recorded in the second.
    assert_eq!(segments.len(), 4, "every segment but the first is one piece");
    for segment in &segments[1..] {
        let budget = |name: &str, most: u64| assert!(segment[name] <= most, "{name}: {segment:?}");
        budget("allocations", 0);
        budget("host_allocations", 0);
        budget("graph_launches", 1);
        budget("kernel_launches", 0);
        budget("captures", 0);
        // Three copies in and two out would be within the budget; one of each is what there is.
        budget("copies_in", 1);
        budget("copies_out", 1);
        budget("synchronisations", 1);
        budget("memsets", 0);
        assert!(segment["kernels"] + segment["products"] <= 600, "{segment:?}");
    }
    // cuBLAS works in 32 MiB; the rest is what the plans of this narrow model say, and less than 3 MB.
    let peak = emulated.report()["peak_bytes"];
    assert!(((32 << 20)..(32 << 20) + 3_000_000).contains(&peak), "{peak}");
}

#[test]
fn memory_that_is_refused_anywhere_is_one_message() {
    let Some(emulated) = Emulated::new() else { return };
    emulated.succeed("run tiny.hrm --train --device cuda --steps 4");
    let all = emulated.report();
    let allocations = all["allocations"] + all["host_allocations"];
    assert!(allocations > 10, "{all:?}");
    let saved = |place: &Workplace| {
        fs::read(place.path("runs/tiny-001/last/weights.safetensors")).expect("it is there")
    };
    let before = saved(&emulated.place);
    for nth in 1..=allocations {
        let variables = [("FAKE_CUDA_FAIL_ALLOCATION", nth.to_string())];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let said = emulated.fail_with("run --train --resume runs/tiny-001 --device cuda", &variables);
        assert!(said.contains("cannot allocate") && said.contains("use a smaller batch or model"), "{said}");
        assert_eq!(saved(&emulated.place), before, "nothing is lost");
    }
    emulated.succeed("run --train --resume runs/tiny-001 --device cuda");
    assert_eq!(losses(&emulated.place, "tiny-001").len(), 8);
}

#[test]
fn a_device_that_fails_in_the_middle_is_one_message_and_loses_nothing() {
    let Some(emulated) = Emulated::new() else { return };
    emulated.succeed("run tiny.hrm --train --device cuda --steps 4");
    let kernels = emulated.report()["kernels"];
    // The first steps run again, and more of them, so that the failure comes after a save.
    let nth = (kernels / 2).to_string();
    let said = emulated
        .fail_with("run --train --resume runs/tiny-001 --device cuda", &[("FAKE_CUDA_FAIL_LAUNCH", &nth)]);
    assert!(
        said.contains("the GPU reported an error while") && said.contains("CUDA_ERROR_ILLEGAL_ADDRESS"),
        "{said}"
    );
    assert!(said.contains("in `runs/tiny-001/last` is whole, and training can go on from it"), "{said}");
    emulated.succeed("run --train --resume runs/tiny-001 --device cuda");
    emulated.succeed("run tiny.hrm --train --device cuda");
    let [interrupted, whole] = ["tiny-001", "tiny-002"].map(|run| losses(&emulated.place, run));
    assert_eq!(interrupted[interrupted.len() - 4..], whole[4..]);
}

#[test]
fn a_device_that_cannot_be_used_is_one_message() {
    let Some(emulated) = Emulated::new() else { return };
    let arguments = "run tiny.hrm --train --device cuda";
    for (variable, value, expected) in [
        ("FAKE_CUDA_DEVICES", "0", "cannot run on CUDA: the driver, for CUDA 12.8, finds no GPU"),
        (
            "FAKE_CUDA_DRIVER_VERSION",
            "11080",
            "cannot run on CUDA: the driver is too old: it supports CUDA 11.8",
        ),
        ("FAKE_CUDA_FAIL_COMPILE", "1", "cannot compile the kernels of `"),
        // 100 KiB hold nothing; the batch of four rows is asked about before anything is allocated.
        ("FAKE_CUDA_MEMORY", "102400", "use a smaller"),
    ] {
        let said = emulated.fail_with(arguments, &[(variable, value)]);
        assert!(said.contains(expected), "{variable}: {said}");
        assert!(!emulated.place.path("runs/tiny-001/last").exists(), "nothing was trained");
    }
}

#[test]
fn bf16_needs_a_device_that_has_it() {
    let Some(emulated) = Emulated::new() else { return };
    let old = [("FAKE_CUDA_CAPABILITY", "75")];
    let arguments = "run tiny.hrm --train --device cuda --steps 1 --eval-limit 0";
    let said = emulated.fail_with(&format!("{arguments} --set train.precision=bf16"), &old);
    let expected = "the device has compute capability 7.5, and `precision = bf16` needs 8.0; set `train.precision = f32`";
    assert!(said.contains(expected), "{said}");
    emulated.succeed_with(arguments, &old);
}

#[test]
fn without_a_driver_cuda_is_refused_and_nothing_else() {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", &tiny());
    let mut command = place.command("run tiny.hrm --train --device cuda");
    command.env("LD_LIBRARY_PATH", place.path(""));
    let said = Said::of(command.output().expect("the binary runs"));
    if said.code != Some(0) {
        said.assert_one_message("run tiny.hrm --train --device cuda");
        assert!(said.err.contains("cannot run on CUDA: the"), "{}", said.err);
    }
}

#[test]
fn programs_are_timed_on_the_device() {
    let Some(emulated) = Emulated::or_gpu() else { return };
    let text = emulated.succeed("bench tiny.hrm --device cuda --repeat 1 --profile --json");
    let report: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(report["device"], "cuda");
    assert!(report["peak_gflop_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{text}");
    assert!(report["copy_gigabytes_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{text}");
    let kernels = report["kernels"].as_array().expect("there is a list");
    assert!(kernels.iter().any(|kernel| kernel["operator"] == "attention"), "{text}");
    assert!(kernels.iter().all(|kernel| kernel["seconds"].as_f64().is_some_and(f64::is_finite)), "{text}");
}

/// Checks the first segment of a recorded model with products in bf16, whichever way threads are ordered.
#[test]
fn the_first_segment_agrees_in_bf16() {
    let Some(emulated) = Emulated::or_gpu() else { return };
    for (fixture_name, order) in FIXTURES.iter().zip(["0", "1", "2"].into_iter().cycle()) {
        let text = emulated.succeed_with(
            &format!("verify {} --device cuda --precision bf16", fixture(fixture_name)),
            &[("FAKE_CUDA_ORDER", order)],
        );
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first, format!("{fixture_name} on cuda: first segment and gradients"));
        eprintln!("{}: `{fixture_name}` agrees in bf16, threads in order {order}", emulated.tier());
    }
}
