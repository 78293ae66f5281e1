//! `--device cuda`, on an emulated driver (tier T0): what it computes, what it costs, and what can go wrong.
//!
//! Each command runs in a process that is given the emulated libraries. A pass is no evidence from a GPU.

#[path = "emulator/fake_cuda.rs"]
mod fake_cuda;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::{Said, Workplace, shipped};

/// Counts of the emulated driver by name.
type Counts = BTreeMap<String, u64>;

/// Names of the fixtures.
const FIXTURES: [&str; 6] =
    ["rope-puzzle", "rope-nopuzzle", "learned-softmax", "trm-attention", "trm-mixer", "trm-continue"];

/// A model that trains quickly under the emulator.
const TINY: &str = "\
model tiny {
  tokens  { vocab = 6, positions = 16 }
  puzzles { width = 16 }

  block encoder { hidden = 16, heads = 2, mlp = swiglu(width = 16) }

  network low  = 1 * encoder
  network high = 1 * encoder

  state z_low, z_high = normal(std = 1, truncate = 2)

  segment {
    z_low  <- low(z_low + z_high + x)
    z_high <- high(z_high + z_low)
  }
  gradient one_step

  predict tokens from z_high
  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }

  halt q_learning { max_segments = 3, explore = 0.5 }
}

train {
  data       = sudoku(size = 4, givens = 8, train = 40, test = 9, augment = true)
  optimizer  = adam_atan2(lr = 1e-3, betas = (0.9, 0.95), weight_decay = 0.1)
  puzzles    = sign_sgd(lr = 1e-3, weight_decay = 0.1)
  ema        = 0.9
  schedule   = cosine(warmup_steps = 3, min_ratio = 0.1)
  batch      = 4
  steps      = 8
  eval_every = 4 steps
  seed       = 3
}
";

/// A folder whose commands find the emulated libraries.
struct Emulated {
    place: Workplace,
    libraries: std::path::PathBuf,
}

impl Emulated {
    /// Returns `None`, after saying that T0 did not run, where there is no C++ compiler.
    fn new() -> Option<Emulated> {
        let libraries = fake_cuda::libraries()?;
        let place = Workplace::new();
        place.write("tiny.hrm", TINY);
        Some(Emulated { place, libraries })
    }

    fn run_with(&self, arguments: &str, variables: &[(&str, &str)]) -> Said {
        let mut command = self.place.command(arguments);
        // Images for the emulator have no business in the cache of a user.
        command.env("LD_LIBRARY_PATH", &self.libraries).env("XDG_CACHE_HOME", self.place.path("cache"));
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
    let Some(emulated) = Emulated::new() else { return };
    for order in ["0", "1", "2"] {
        let text = emulated.succeed_with(
            &format!("verify {} --device cuda --threads 1", fixture(name)),
            &[("FAKE_CUDA_ORDER", order)],
        );
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first, format!("{name} on cuda: everything recorded"));
        let report = emulated.report();
        assert!(report["kernels"] > 0 && report["products"] > 0, "it ran there: {report:?}");
        assert_eq!(report["allocations"], report["frees"], "what is allocated is given back");
        assert_eq!(report["host_allocations"], report["host_frees"], "what is allocated is given back");
        eprintln!("T0 ran: `{name}` agrees on the emulated driver, threads in order {order}");
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
