//! Models with candidates on the command line: training, evaluation, and a search that is drawn.

use hrmc_testing::workplace::Workplace;

use crate::HRMC;

/// A model that learns 4x4 Sudoku in some seconds.
const LATTICE: &str = "\
model lattice {
  tokens     { vocab = 6, positions = 16 }
  prefix     { positions = 1 }
  candidates { values = 4, first = 2 }

  block encoder {
    hidden = 32, heads = 2, positions = grid, mlp = gelu(width = 64), norm = pre_layer, bias = true, dropout = 0.1
  }
  network net = 1 * encoder
  state h = input

  segment { loop: repeat 2 { h <- norm(h + x + net(h + x)) } }
  gradient full
  supervise loop

  predict tokens from h { bias = 0 }
  predict keep from h
  predict conflict from h[0]

  halt solved { max_segments = 20 }
  infer { chains = 4, rounds = 20, cell = fewest, conflict = 0.7, dropout = 0.05, check = sudoku }
}

train {
  data       = sudoku(size = 4, givens = 8, train = 40, test = 9)
  loss       = softmax
  optimizer  = adamw(lr = 3e-3, weight_decay = 0.1)
  clip       = 1
  batch      = 32
  accumulate = 2
  hints      = 0.5
  errors     = 0.25
  steps      = 500
}
";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn a_search_solves_puzzles_says_what_it_did_and_never_answers_wrongly() {
    let place = Workplace::new(HRMC);
    place.write("lattice.hrm", LATTICE);
    let trained = json(&place.succeed("run lattice.hrm --train --json"));
    let removed = trained["evaluation"]["deduction"]["removed"].as_f64().expect("it was looked at");
    assert!(removed > 0.3, "{trained}");

    let report = json(&place.succeed("eval runs/lattice-001 --json"));
    assert_eq!(report["report"]["wrong"]["count"], 0, "{report}");
    let solved = report["report"]["exact"]["count"].as_u64().expect("it is a number");
    let abstained = report["report"]["abstained"]["count"].as_u64().expect("it is a number");
    assert_eq!(solved + abstained, 9, "{report}");
    assert!(solved > 4, "{report}");
    let text = place.succeed("eval runs/lattice-001");
    for part in ["no answer", "wrong       0.00% (0 of 9", "first pass  removes"] {
        assert!(text.contains(part), "{text}");
    }

    // A row, a column and a box are nearly full.
    place.write("puzzle.txt", "12..\n34..\n2.4.\n4...\n");
    let text = place.succeed("run runs/lattice-001 --puzzle puzzle.txt");
    let answer = json(&place.succeed("run runs/lattice-001 --puzzle puzzle.txt --json"));
    let standing = answer["standing"].as_str().expect("it is a text");
    assert!(text.ends_with(&format!("{standing}\n")), "{text}");
    assert!(text.contains("round 1: ") && text.contains(" of all chains\n"), "{text}");
    assert_eq!(answer["abstained"], standing == "abstained");
    assert_eq!(answer["valid"], standing == "solved (checked)");
    let rounds = answer["search"]["rounds"].as_array().expect("it is a list");
    assert_eq!(rounds.len(), answer["segments"].as_array().expect("it is a list").len());
    assert!(rounds[0]["left"].as_u64().expect("it is a number") >= 10, "{answer}");

    // One chain of one round has not enough time to begin again.
    let short =
        ["model.infer.chains=1", "model.infer.rounds=1"].map(|value| format!(" --set {value}")).concat();
    let report = json(&place.succeed(&format!("eval runs/lattice-001 --json{short}")));
    assert_eq!(report["cost"]["passes_per_puzzle"], 1.0, "{report}");

    let refused = place.fail("run runs/lattice-001 --puzzle puzzle.txt --trace");
    assert!(refused.contains("cannot be traced: it has candidates"), "{refused}");
    let lines = place.succeed("predict runs/lattice-001 puzzle.txt");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(json(&lines)["abstained"].is_boolean(), "{lines}");
}

#[test]
fn a_model_may_give_no_answer_where_its_state_has_not_settled() {
    let place = Workplace::new(HRMC);
    place.write("tiny.hrm", hrmc_testing::workplace::TINY);
    place.succeed("run tiny.hrm --train --steps 2");
    let report = |most: &str| {
        json(&place.succeed(&format!("eval runs/tiny-001 --json --set model.infer.abstain={most}")))
    };
    let (all, none) = (report("1e-6"), report("1e6"));
    assert_eq!(all["report"]["abstained"]["count"], 9, "{all}");
    assert_eq!((&all["report"]["wrong"]["count"], &all["report"]["exact"]["count"]), (&0.into(), &0.into()));
    assert_eq!(none["report"]["abstained"]["count"], 0, "{none}");
    place.write("puzzle.txt", "12..\n34..\n2.4.\n4...\n");
    let text = place.succeed("run runs/tiny-001 --puzzle puzzle.txt --set model.infer.abstain=1e-6");
    assert!(text.contains("abstained: the state moved by more than 0.000001"), "{text}");
}
