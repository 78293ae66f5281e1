//! `hrmc compile`: its report, its stages, and the number of parameters.

use std::fs;
use std::path::Path;

use hrmc::internals::ir::gated_width;
use hrmc_testing::workplace::{Workplace, shipped};

use crate::HRMC;

const SHIPPED: [&str; 16] = [
    "quickstart",
    "sudoku-small",
    "sudoku",
    "sudoku-full",
    "maze",
    "arc-1",
    "arc-2",
    "trm-sudoku",
    "trm-maze",
    "trm-arc",
    "ablation-3x3",
    "ablation-6x3",
    "direct",
    "recurrent",
    "no-act",
    "three-level",
];

fn snapshot(stage: &str, case: &str, input: &str, output: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new("../../snapshots").join(stage));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // How products are computed, and the size of the program, are those of the machine and of the build.
    settings.add_filter(
        r"(?m)^( +)(both in one session|arranged weights|work of 2 threads|program) +[0-9.]+ \w+$",
        "$1$2: by the machine",
    );
    settings.bind(|| {
        insta::assert_snapshot!(case, format!("{input}\n---------- {stage} ----------\n\n{output}"));
    });
}

#[test]
fn census_of_shipped_specs() {
    let place = Workplace::new(HRMC);
    for name in SHIPPED {
        let output = place.succeed(&format!("compile --threads 2 {}", shipped(&format!("{name}.hrm"))));
        snapshot("census", name, &format!("hrmc compile specs/{name}.hrm --threads 2\n"), &output);
    }
}

#[test]
fn the_memory_of_a_session_has_parts_and_knows_the_data() {
    let place = Workplace::new(HRMC);
    let session = |arguments: &str| -> serde_json::Value {
        let report = place.succeed(&format!("compile --threads 1 --emit json {arguments}"));
        serde_json::from_str(&report).expect("it is JSON")
    };
    let one = session("");
    let parts = ["program", "data", "named", "activations", "arranged", "scratch"];
    let bytes =
        |report: &serde_json::Value, part: &str| report["session"][part].as_u64().expect("it is there");
    assert_eq!(
        parts.iter().map(|part| bytes(&one, part)).sum::<u64>(),
        one["session_bytes"].as_u64().unwrap()
    );
    // 4,000 and 512 rows of 36 tokens in questions and answers, each with its puzzle and group.
    assert_eq!(bytes(&one, "data"), (4000 + 512) * (2 * 36 + 24));
    let more_data = session("--set train.data.train=8000");
    assert_eq!(bytes(&more_data, "data"), (8000 + 512) * (2 * 36 + 24));
    // The evaluation batch is that of a run: no larger than the data.
    let few = session("--set train.data.test=1");
    assert!(bytes(&few, "named") < bytes(&one, "named"));
    let folder = place.path("data");
    let folder = folder.display();
    place.succeed(&format!("data sudoku --generate --size 4 --train 20 --test 3 -o {folder}"));
    let from_folder = format!("--set model.side=4 --set train.data=\"{folder}\"");
    assert_eq!(bytes(&session(&from_folder), "data"), (20 + 3) * (2 * 16 + 24));
    let report = place.succeed("compile --set train.data=\"absent\"");
    assert!(report.contains("  without the data, which is not there\n"), "{report}");
}

#[test]
fn every_stage_is_the_same_from_run_to_run() {
    let place = Workplace::new(HRMC);
    let spec = shipped("quickstart.hrm");
    for stage in ["ast", "model", "svg", "graph", "plan", "dot", "json"] {
        let first = place.succeed(&format!("compile {spec} --emit {stage}"));
        place.succeed(&format!("compile {spec} --emit {stage} -o second"));
        assert_eq!(fs::read_to_string(place.path("second")).expect("it was written"), first, "{stage}");
        assert!(!first.is_empty(), "{stage}");
    }
}

#[test]
fn the_picture_of_the_documents_is_that_of_the_spec() {
    let place = Workplace::new(HRMC);
    let drawn = place.succeed(&format!("compile {} --emit svg", shipped("sudoku.hrm")));
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/segment.svg");
    let checked_in = fs::read_to_string(checked_in).expect("it is checked in");
    assert!(
        drawn == checked_in,
        "docs/segment.svg is not what `hrmc compile specs/sudoku.hrm --emit svg -o docs/segment.svg` writes"
    );
    let few = place.succeed(&format!("compile {} --emit svg --batch 2", shipped("sudoku.hrm")));
    assert!(few.contains("f32[2, 82, 512]") && drawn.contains("f32[768, 82, 512]"));
    let message = place.fail("compile --emit svg --program train");
    assert!(message.contains("`--program` is for `--emit graph`"), "{message}");
}

#[test]
fn programs_differ_and_dot_is_a_digraph() {
    let place = Workplace::new(HRMC);
    let train = place.succeed("compile --emit plan --program train");
    let evaluate = place.succeed("compile --emit plan --program evaluate");
    let has_gradients =
        |plan: &str| plan.lines().any(|line| line.split_whitespace().nth(1) == Some("backward"));
    assert!(has_gradients(&train), "{train}");
    assert!(!has_gradients(&evaluate), "{evaluate}");
    assert_eq!(place.succeed("compile --emit plan"), train);
    for whole in [
        "compile --program train",
        "compile --emit json --program train",
        "compile --emit model --program train",
    ] {
        let said = place.run(whole);
        assert!(said.code != Some(0) && said.err.contains("--"), "{whole}: {}", said.err);
    }
    let message = place.fail("compile --emit ast --program evaluate");
    assert!(message.contains("`--program` is for `--emit graph`"), "{message}");
    let dot = place.succeed("compile --emit dot");
    assert!(dot.starts_with("digraph hrmc {") && dot.ends_with("}\n"));
}

#[test]
fn a_plan_predicts_times_for_the_machine_it_is_told() {
    let place = Workplace::new(HRMC);
    /// Returns the microseconds at the end of the line that begins with `start`.
    fn predicted(plan: &str, start: &str) -> f64 {
        let line = plan.lines().find(|line| line.starts_with(start)).expect("the line is there");
        let figure = line.split(" predicted ").nth(1).expect("it has a prediction");
        figure.trim_end_matches(" us").parse().expect("it is a number")
    }
    let command = "compile --emit plan --program train";
    let slow = place.succeed(&format!("{command} --gflops 1 --gbs 1000000"));
    let flops: f64 = slow
        .lines()
        .find(|line| line.starts_with("total all"))
        .and_then(|line| line.split_whitespace().nth(5))
        .and_then(|figure| figure.parse().ok())
        .expect("the total has its operations");
    // What only moves memory takes next to nothing here, so the arithmetic at 10^9 per second is left.
    let all = predicted(&slow, "total all");
    assert!((all - flops / 1e3).abs() < 0.01 * all, "{all} us for {flops} operations");
    let phases: f64 = ["forward", "target", "backward", "update"]
        .map(|name| predicted(&slow, &format!("total {name}")))
        .iter()
        .sum();
    assert!((phases - all).abs() < 0.1, "{phases} of {all}");
    let fast = place.succeed(&format!("{command} --gflops 2 --gbs 2000000"));
    assert!((predicted(&fast, "total all") * 2.0 / all - 1.0).abs() < 1e-3);
    let message = place.fail("compile --emit graph --gbs 10");
    assert!(message.contains("`--gflops` and `--gbs` are for `--emit plan`"), "{message}");
    assert!(place.run("compile --emit plan --gflops 0").err.contains("a rate is a number above 0"));
}

#[test]
fn the_report_is_the_same_as_json() {
    let place = Workplace::new(HRMC);
    let report: serde_json::Value =
        serde_json::from_str(&place.succeed("compile --emit json")).expect("it is JSON");
    let phases = &report["train"]["phases"];
    let flops = |phase: &str| phases[phase]["flops"].as_u64().expect("a phase has work");
    let total = report["train"]["flops"].as_u64().expect("it is a number");
    assert_eq!(flops("forward") + flops("backward") + flops("target") + flops("update"), total);
    assert_eq!(flops("forward"), report["evaluate"]["flops"].as_u64().expect("it is a number"));
    assert_eq!(report["batch"], 32);
}

#[test]
fn a_spec_that_does_not_train_is_compiled_for_evaluation() {
    let place = Workplace::new(HRMC);
    let file =
        format!("{}/tests/fixtures/ok/direct_prediction_is_one_update.hrm", env!("CARGO_MANIFEST_DIR"));
    assert!(!place.succeed(&format!("compile {file}")).contains("training"));
    let message = place.fail(&format!("compile {file} --emit plan --program train"));
    assert!(message.contains("`direct` has no `train` block"), "{message}");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let place = Workplace::new(HRMC);
    let message = place.fail("compile -o absent/report.txt");
    assert!(message.starts_with("error: cannot write `absent/report.txt`: "), "{message}");
}

/// Memory of the backward pass under `one_step` must not grow with the loops.
#[test]
fn kept_activations_do_not_depend_on_the_loops_under_one_step() {
    let place = Workplace::new(HRMC);
    let kept = |overrides: &str| -> u64 {
        let spec = shipped("sudoku-small.hrm");
        let report = place.succeed(&format!("compile {spec} --batch 2 --emit json {overrides}"));
        let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
        assert_eq!(
            report["train"]["kept_bytes"], report["train"]["kept_bytes_with_doubled_loops"],
            "the report compiles with doubled loops itself"
        );
        report["train"]["kept_bytes"].as_u64().expect("it is a number")
    };
    let published = kept("");
    assert!(published > 0);
    assert_eq!(kept("--set model.N=5"), published);
    assert_eq!(kept("--set model.T=7"), published);
}

#[test]
fn sizes_beyond_any_memory_are_counted_without_overflow() {
    let place = Workplace::new(HRMC);
    place.write(
        "huge.hrm",
        "model huge {
  tokens { vocab = 1_048_576, positions = 65_536 }
  puzzles { width = 1_048_576 }
  block encoder { hidden = 65_536, heads = 1, mlp = swiglu(width = 67_108_864) }
  network net = 10 * encoder
  state z
  segment { repeat 3 { z <- net(z + x) } }
  gradient full
  predict tokens from z
  halt fixed(1)
}
train { data = \"x\", optimizer = adamw(lr = 1), puzzles = sign_sgd(lr = 1), batch = 1_048_576, steps = 9 }
",
    );
    let report = place.succeed("compile huge.hrm --emit json");
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    let peak = report["train"]["memory"]["peak"].as_u64().expect("it is a number");
    let activations = report["train"]["memory"]["activations"].as_u64().expect("it is a number");
    assert!(peak > activations && activations > 1 << 50, "{peak} and {activations}");
    assert!(report["train"]["flops"].as_u64() >= report["evaluate"]["flops"].as_u64());
    assert!(place.succeed("compile huge.hrm --emit plan").contains("total all"));
    assert!(place.succeed("compile huge.hrm --emit svg").contains("TFLOP"));
    let launches = place.succeed("compile huge.hrm --device cuda");
    assert!(launches.contains("more blocks than a device accepts: use a smaller batch\n"), "{launches}");
}

#[test]
fn kept_activations_that_depend_on_the_loops_are_reported_so() {
    let place = Workplace::new(HRMC);
    let full = fs::read_to_string(shipped("sudoku-small.hrm"))
        .expect("it is shipped")
        .replace("gradient one_step", "gradient full");
    place.write("full.hrm", &full);
    let report = place.succeed("compile full.hrm --batch 2");
    assert!(report.contains("they depend on the loop counts"), "{report}");
}

/// Sizes of a model of the published shape.
struct Published {
    hidden: usize,
    layers: usize,
    vocab: usize,
}

impl Published {
    /// Weights that are trained, without the puzzle table: per block `4 D^2` of attention and `3 D F` of the
    /// gated unit, both with `D = hidden`; `V D` for the embedding and the head each; `2 D + 2` for the Q head.
    fn parameters(&self) -> usize {
        let Published { hidden, layers, vocab } = *self;
        let inner = gated_width(4.0, hidden, 256);
        let block = 4 * hidden * hidden + 3 * hidden * inner;
        layers * block + 2 * vocab * hidden + 2 * hidden + 2
    }
}

fn count(place: &Workplace, arguments: &str, key: &str) -> usize {
    let report = place.succeed(&format!("compile {arguments} --batch 1 --emit json"));
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    report["parameters"][key].as_u64().expect("it is a number") as usize
}

#[test]
fn the_arc_setting_of_the_paper_has_27_million_parameters() {
    let place = Workplace::new(HRMC);
    let arguments =
        format!("{} --set model.tokens.vocab=12 --set model.tokens.positions=900", shipped("sudoku.hrm"));
    let found = count(&place, &arguments, "total_without_puzzle_table");
    assert_eq!(found, Published { hidden: 512, layers: 8, vocab: 12 }.parameters());
    assert_eq!(found, 27_276_290);
}

#[test]
fn shipped_specs_have_as_many_parameters_as_the_formula_says() {
    let place = Workplace::new(HRMC);
    let expected = [
        ("quickstart.hrm", Published { hidden: 64, layers: 2, vocab: 8 }, 256),
        ("sudoku-small.hrm", Published { hidden: 128, layers: 4, vocab: 11 }, 0),
        ("sudoku.hrm", Published { hidden: 512, layers: 8, vocab: 11 }, 512),
        ("maze.hrm", Published { hidden: 512, layers: 8, vocab: 6 }, 512),
    ];
    for (name, sizes, puzzle_width) in expected {
        let spec = shipped(name);
        let without = count(&place, &spec, "total_without_puzzle_table");
        assert_eq!(without, sizes.parameters(), "{name}");
        // There is no dataset, so the table has one row.
        assert_eq!(count(&place, &spec, "total"), without + puzzle_width, "{name}");
    }
}

#[test]
fn puzzle_rows_come_from_the_dataset_if_it_is_there() {
    let place = Workplace::new(HRMC);
    place.succeed("data maze --generate --size 4 --train 3 --test 2 -o data/maze-30x30-hard-1k");
    let spec = shipped("maze.hrm");
    let report = place.succeed(&format!("compile {spec} --batch 1"));
    assert!(report.contains("1 row, from `data/maze-30x30-hard-1k`"), "{report}");
    place.write("data/maze-30x30-hard-1k/train/dataset.json", "{}");
    let message = place.fail(&format!("compile {spec} --batch 1"));
    assert!(message.contains("dataset.json`: is not dataset metadata"), "{message}");
}

/// Returns the first number of the line of a text that begins with some words.
fn number_after(text: &str, words: &str) -> usize {
    let line = text.lines().find(|line| line.trim_start().starts_with(words));
    let line = line.unwrap_or_else(|| panic!("`{words}` is missing in:\n{text}"));
    let rest = line.trim_start()[words.len()..].trim_start();
    let digits: String = rest.chars().filter(|it| *it != ',').take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("`{line}` has a number"))
}

#[test]
fn what_cuda_would_run_is_reported_without_a_device() {
    let place = Workplace::new(HRMC);
    let spec = shipped("sudoku.hrm");
    let report = place.succeed(&format!("compile {spec} --device cuda"));
    assert!(report.starts_with("what CUDA runs"), "{report}");
    let train = report.split("an evaluation segment").next().expect("training comes first");
    let launches = number_after(train, "a training segment:");
    let phases = ["forward", "target", "backward", "update"].map(|phase| number_after(train, phase));
    assert_eq!(phases.iter().sum::<usize>(), launches, "{train}");
    let kernels: usize = train
        .lines()
        .filter(|line| line.starts_with("    "))
        .map(|line| {
            line.split_whitespace()
                .last()
                .expect("a count")
                .replace(',', "")
                .parse::<usize>()
                .expect("a count")
        })
        .sum();
    assert_eq!(kernels, launches, "{train}");
    assert!(launches <= 600, "the launches of a segment stay in their budget: {launches}");

    let plan = place.succeed(&format!("compile {spec} --device cuda --emit plan"));
    let shown = plan.lines().filter(|line| line.starts_with("       ")).count();
    assert_eq!(shown, launches);
    let faster = place.succeed(&format!("compile {spec} --device cuda --emit plan --gflops 1e12 --gbs 1e12"));
    assert_ne!(plan, faster, "rates are those that are given");

    let json = |options: &str| -> serde_json::Value {
        let text = place.succeed(&format!("compile {spec} --device cuda --emit json {options}"));
        serde_json::from_str(&text).expect("it is JSON")
    };
    let [h100, a100] = ["", "--card a100"].map(json);
    assert_eq!((h100["card"].as_str(), a100["card"].as_str()), (Some("H100"), Some("A100")));
    let training = |report: &serde_json::Value| report["programs"][0].clone();
    assert_eq!(training(&h100)["all"]["launches"], launches);
    assert!(training(&h100)["all"]["seconds"].as_f64() < training(&a100)["all"]["seconds"].as_f64());
    let share = training(&h100)["share_of_rate"].as_f64().expect("it is a number");
    assert!(share >= 0.6, "the target by prediction: {share}");
}

/// The most launches of a training segment. Those with more than 600 are deep: a layer has seven at least on its way
/// forward, of which each product and each attention is one.
const LAUNCHES: [(&str, usize); 16] = [
    ("ablation-3x3", 886),
    ("ablation-6x3", 1426),
    ("arc-1", 536),
    ("arc-2", 536),
    ("direct", 190),
    ("maze", 536),
    ("no-act", 322),
    ("quickstart", 142),
    ("recurrent", 627),
    ("sudoku", 528),
    ("sudoku-full", 1250),
    ("sudoku-small", 308),
    ("three-level", 1069),
    ("trm-arc", 473),
    ("trm-maze", 473),
    ("trm-sudoku", 721),
];

#[test]
fn launches_of_every_shipped_spec_stay_in_their_budgets() {
    let place = Workplace::new(HRMC);
    let specs = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/specs")).expect("specs are there");
    let specs = specs.map(|entry| entry.expect("they can be listed").path());
    let trained = specs.filter(|path| path.extension().is_some_and(|extension| extension == "hrm"));
    assert_eq!(trained.count(), LAUNCHES.len(), "every spec has a budget");
    for (name, most) in LAUNCHES {
        let report = place.succeed(&format!("compile {} --device cuda", shipped(&format!("{name}.hrm"))));
        let launches = number_after(&report, "a training segment:");
        assert!(launches <= most, "{name}: {launches} launches, at most {most}");
    }
}

#[test]
fn kernels_are_written_where_they_are_asked_for() {
    let place = Workplace::new(HRMC);
    let listed = place.succeed("compile --device cuda --emit kernels -o out/kernels");
    for name in ["product.cu", "attention.cu", "optimizer.cu"] {
        assert!(listed.lines().any(|line| line == name), "{listed}");
        let text = fs::read_to_string(place.path("out/kernels").join(name)).expect("it was written");
        assert!(
            text.contains("__global__ void") && text.contains("typedef unsigned long long u64;"),
            "{name}"
        );
    }
    assert!(place.fail("compile --card a100").contains("is for `--device cuda`"));
    assert!(place.fail("compile --emit kernels").contains("needs `--device cuda`"));
    assert!(place.fail("compile --device cuda --emit kernels").contains("with `-o`"));
    assert!(
        place.fail("compile --device cuda --emit graph").contains("other stages do not depend on a device")
    );
}
