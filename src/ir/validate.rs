//! Rules every checked model obeys.
//!
//! `check` establishes them, and every stage after it relies on them:
//!
//! * Sizes are at least 1; the vocabulary is at least 2.
//! * A puzzle vector fits into its prefix positions, `E <= P * D`.
//! * There is a state, a network and an update; networks have blocks, heads divide the width, and heads that
//!   are rotated have an even width. A model with learned positions rotates nothing.
//! * Every id of a state or a network lies in its list; every update reads something.
//! * Names of states and of networks are distinct, and so are the names they are stored under.
//! * Loops run at least once and have a body; no two loops share a label.
//! * `last COUNT LOOP` names a loop with at least `COUNT` iterations.
//! * Every state is updated; every network learns from some update.
//! * The Q head is there exactly if the halting policy reads it, has the outputs the policy needs, and
//!   reads a position that exists. A row runs at least one segment.
//! * Inference runs at least one segment. It halts early only under a policy that may, and rolls out at
//!   least twice, with noise, and only if a Q head can tell the rollouts apart.
//! * Every real number is finite and in its range: rates and widths above 0, shares from 0 to 1.
//! * The puzzle table has an optimizer exactly if it exists.
//! * What is said about evaluations on the way is said where there are some; patience is for at least one.
//! * Training rows pass through symmetries only if they have the sizes of Sudoku or of mazes, and not if
//!   generated Sudoku is to be shown as it is. Copies are of a folder of the sizes of ARC.

use std::collections::BTreeSet;

use super::{
    Augmentation, Data, Gradient, Halt, Length, Mixing, Model, OnDivergence, Operand, Optimizer, QOutputs,
    QTarget, Repeat, StateId, Step, Train, unroll,
};
use crate::data::{ARC_SIDE, ARC_VOCAB, PuzzleKind};

/// A broken rule; always a fault of hrmc, never of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// Checks `model` against the rules above.
///
/// # Errors
///
/// Returns every broken rule, in the order of the list above.
pub fn validate(model: &Model) -> Result<(), Vec<Violation>> {
    let mut rules = Rules { violations: Vec::new() };
    rules.sizes(model);
    rules.networks(model);
    rules.references(model);
    rules.names(model);
    let mut labels = Vec::new();
    rules.loops(&model.segment, &mut labels);
    rules.gradient(model, &labels);
    if rules.violations.is_empty() {
        rules.updates(model);
    }
    rules.heads(model);
    rules.infer(model);
    if let Some(train) = &model.train {
        rules.train(model, train);
    }
    if rules.violations.is_empty() { Ok(()) } else { Err(rules.violations) }
}

struct Rules {
    violations: Vec<Violation>,
}

impl Rules {
    fn require(&mut self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation(rule()));
        }
    }

    fn positive(&mut self, value: f32, what: &str) {
        self.require(value.is_finite() && value > 0.0, || format!("{what} must be above 0, found {value}"));
    }

    fn not_negative(&mut self, value: f32, what: &str) {
        self.require(value.is_finite() && value >= 0.0, || {
            format!("{what} must be at least 0, found {value}")
        });
    }

    fn fraction(&mut self, value: f32, what: &str) {
        self.require((0.0..=1.0).contains(&value), || {
            format!("{what} must be between 0 and 1, found {value}")
        });
    }

    fn open_fraction(&mut self, value: f32, what: &str) {
        self.require(value > 0.0 && value < 1.0, || format!("{what} must be in (0, 1), found {value}"));
    }

    fn sizes(&mut self, model: &Model) {
        self.require(model.hidden >= 1, || "the width is 0".to_string());
        self.require(model.tokens.vocab >= 2, || format!("the vocabulary has {} words", model.tokens.vocab));
        self.require(model.tokens.positions >= 1, || "there are no tokens".to_string());
        if let Some(puzzles) = &model.puzzles {
            self.require(puzzles.width >= 1 && puzzles.positions >= 1, || {
                "the puzzle vector is empty".to_string()
            });
            let room = puzzles.positions * model.hidden;
            self.require(puzzles.width <= room, || {
                format!("a puzzle vector of width {} does not fit into {room}", puzzles.width)
            });
        }
        self.require(!model.states.is_empty(), || "there is no state".to_string());
        self.require(!model.networks.is_empty(), || "there is no network".to_string());
        for state in &model.states {
            self.positive(state.init.std, "the deviation of an initial state");
            self.positive(state.init.truncate, "the cut of an initial state");
        }
    }

    fn networks(&mut self, model: &Model) {
        for network in &model.networks {
            let name = &network.name;
            self.require(network.layers >= 1, || format!("network `{name}` has no blocks"));
            self.require(network.block.inner >= 1, || {
                format!("the feed-forward unit of `{name}` has no width")
            });
            self.positive(network.block.norm_eps, "eps of a norm");
            match network.block.mixing {
                Mixing::Attention { heads, rope_theta } => {
                    let divides = heads >= 1 && model.hidden.is_multiple_of(heads);
                    self.require(divides, || format!("{heads} heads do not divide {}", model.hidden));
                    if let Some(theta) = rope_theta {
                        self.positive(theta, "theta of a rotation");
                        self.require(divides && (model.hidden / heads).is_multiple_of(2), || {
                            format!("`{name}` rotates heads of odd width")
                        });
                        self.require(!model.tokens.learned_positions, || {
                            format!("`{name}` rotates although positions are learned")
                        });
                    }
                }
                Mixing::Mlp { inner } => {
                    self.require(inner >= 1, || format!("the mixer of `{name}` has no width"));
                }
            }
        }
    }

    fn references(&mut self, model: &Model) {
        let state = |StateId(index): StateId| index < model.states.len();
        for update in model.updates() {
            self.require(state(update.state), || format!("update of unknown {:?}", update.state));
            self.require(update.network.0 < model.networks.len(), || {
                format!("use of unknown {:?}", update.network)
            });
            self.require(!update.operands.is_empty(), || "an update reads nothing".to_string());
            for operand in &update.operands {
                if let Operand::State(id) = operand {
                    self.require(state(*id), || format!("read of unknown {id:?}"));
                }
            }
        }
        self.require(state(model.token_head.state), || "the token head reads an unknown state".to_string());
        if let Some(q_head) = &model.q_head {
            self.require(state(q_head.state), || "the Q head reads an unknown state".to_string());
        }
    }

    fn names(&mut self, model: &Model) {
        self.distinct("state", model.states.iter().map(|state| &state.name));
        self.distinct("network", model.networks.iter().map(|network| &network.name));
        self.distinct("stored state", model.states.iter().map(|state| &state.stored_as));
        self.distinct("stored network", model.networks.iter().map(|network| &network.stored_as));
    }

    fn distinct<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a String>) {
        let mut seen = BTreeSet::new();
        for name in names {
            self.require(!name.is_empty(), || format!("a {what} has no name"));
            self.require(seen.insert(name), || format!("two of a {what} are called `{name}`"));
        }
    }

    fn loops<'a>(&mut self, steps: &'a [Step], labels: &mut Vec<&'a Repeat>) {
        for step in steps {
            let Step::Repeat(repeat) = step else { continue };
            self.require(repeat.count >= 1, || "a loop never runs".to_string());
            self.require(!repeat.body.is_empty(), || "a loop has no body".to_string());
            if let Some(label) = &repeat.label {
                let taken = labels.iter().any(|other| other.label.as_ref() == Some(label));
                self.require(!taken, || format!("two loops are labelled `{label}`"));
                labels.push(repeat);
            }
            self.loops(&repeat.body, labels);
        }
    }

    fn gradient(&mut self, model: &Model, labels: &[&Repeat]) {
        if let Gradient::Last { count, label } = &model.gradient {
            let found = labels.iter().find(|repeat| repeat.label.as_ref() == Some(label));
            self.require(found.is_some_and(|repeat| (1..=repeat.count).contains(count)), || {
                format!("there are no last {count} iterations of `{label}`")
            });
        }
    }

    /// Checks what the unrolled segment does; requires that all ids are valid.
    fn updates(&mut self, model: &Model) {
        let updates = unroll(model);
        for (index, state) in model.states.iter().enumerate() {
            let updated = updates.iter().any(|unrolled| unrolled.update.state.0 == index);
            self.require(updated, || format!("state `{}` is never updated", state.name));
        }
        for (index, network) in model.networks.iter().enumerate() {
            let learns =
                updates.iter().any(|unrolled| unrolled.differentiated && unrolled.update.network.0 == index);
            self.require(learns, || format!("network `{}` is in no differentiated update", network.name));
        }
    }

    fn heads(&mut self, model: &Model) {
        if let Some(q_head) = &model.q_head {
            self.require(q_head.bias.is_finite(), || "the bias of the Q head is not finite".to_string());
            self.require(q_head.position < model.total_positions(), || {
                format!("the Q head reads position {} of {}", q_head.position, model.total_positions())
            });
        }
        self.require(model.max_segments() >= 1, || "a row runs no segment".to_string());
        let outputs = model.q_head.as_ref().map(|q_head| q_head.outputs);
        let fits = match model.halt {
            Halt::QLearning { explore, target: QTarget::Bootstrap, .. } => {
                self.fraction(explore, "explore");
                outputs == Some(QOutputs::HaltContinue)
            }
            Halt::QLearning { explore, target: QTarget::None, .. } | Halt::Bce { explore, .. } => {
                self.fraction(explore, "explore");
                outputs.is_some()
            }
            Halt::Fixed { .. } => outputs.is_none(),
            Halt::Residual { eps, .. } => {
                self.positive(eps, "eps of a residual");
                outputs.is_none()
            }
        };
        self.require(fits, || format!("{:?} does not fit the outputs {outputs:?}", model.halt));
    }

    fn infer(&mut self, model: &Model) {
        let Some(infer) = &model.infer else { return };
        self.require(infer.segments >= 1, || "inference runs no segment".to_string());
        let may_halt = !matches!(model.halt, Halt::Fixed { .. });
        self.require(may_halt || !infer.halt, || "inference halts early under `fixed`".to_string());
        if let Some(settle) = infer.settle {
            self.positive(settle, "`settle`");
        }
        if let Some(check) = infer.check {
            self.require(check.fits(&model.tokens), || {
                format!("the tokens have no meaning for the rules of `{}`", check.name())
            });
        }
        if let Some(rollouts) = &infer.rollouts {
            self.require(rollouts.count >= 2, || format!("there are {} rollouts", rollouts.count));
            self.positive(rollouts.noise, "the noise of rollouts");
            let settles = matches!(model.halt, Halt::Residual { .. });
            self.require(model.q_head.is_some() || settles, || "nothing compares rollouts".to_string());
            self.require(!settles || infer.segments >= 2, || {
                "rollouts of one segment are compared by how they settle".to_string()
            });
        }
    }

    fn train(&mut self, model: &Model, train: &Train) {
        let adam = train.optimizer.adam();
        // Where the weights stay as they are, the vectors of puzzles can still be learned.
        if train.puzzle_optimizer.is_none() || adam.lr != 0.0 {
            self.positive(adam.lr, "a learning rate");
        }
        self.not_negative(adam.weight_decay, "a weight decay");
        for beta in [adam.beta1, adam.beta2] {
            self.require((0.0..1.0).contains(&beta), || format!("a beta must be in [0, 1), found {beta}"));
        }
        if let Optimizer::AdamW { eps, .. } = train.optimizer {
            self.positive(eps, "eps of the optimizer");
        }
        self.require(train.puzzle_optimizer.is_some() == model.puzzles.is_some(), || {
            "the puzzle table and its optimizer do not come together".to_string()
        });
        if let Some(puzzles) = &train.puzzle_optimizer {
            self.positive(puzzles.lr, "a learning rate");
            self.not_negative(puzzles.weight_decay, "a weight decay");
        }
        if let Some(ema) = train.ema {
            self.open_fraction(ema, "ema");
        }
        self.fraction(train.schedule.min_ratio, "min_ratio");
        self.require(train.batch >= 1, || "the batch is empty".to_string());
        if let OnDivergence::Rollback { lr_factor, most } = train.on_divergence {
            self.open_fraction(lr_factor, "lr_factor");
            self.require(most >= 1, || "a rollback happens at least once".to_string());
        }
        for length in std::iter::once(&train.length).chain(&train.eval_every) {
            let positive = match *length {
                Length::Epochs(epochs) => epochs.is_finite() && epochs > 0.0,
                Length::Steps(steps) => steps > 0,
            };
            self.require(positive, || format!("a stretch of training is empty: {length:?}"));
        }
        if let Some(share) = train.eval_share {
            self.open_fraction(share, "eval_share");
        }
        if let Some(patience) = train.patience {
            self.require(patience >= 1, || "patience ends before the first evaluation".to_string());
        }
        let is_about_some =
            train.eval_share.is_none() && train.patience.is_none() || train.eval_every.is_some();
        self.require(is_about_some, || "there are no evaluations on the way".to_string());
        self.augment(model, train);
        match &train.data {
            Data::Folder(folder) => {
                self.require(!folder.is_empty(), || "the data folder has no name".to_string())
            }
            Data::Sudoku(sudoku) => {
                self.require(matches!(sudoku.size, 4 | 6 | 9), || format!("Sudoku of side {}", sudoku.size));
                self.fits(model, sudoku.size + 2, sudoku.size);
            }
            Data::Maze(maze) => self.fits(model, 6, maze.size),
        }
    }

    fn augment(&mut self, model: &Model, train: &Train) {
        let (vocab, positions) = (model.tokens.vocab, model.tokens.positions);
        match (train.augment, &train.data) {
            (Augmentation::None, _) => {}
            (Augmentation::Symmetries, Data::Sudoku(sudoku)) => {
                self.require(sudoku.augment, || {
                    "generated Sudoku is shown as it is and augmented".to_string()
                });
            }
            (Augmentation::Symmetries, _) => {
                self.require(PuzzleKind::of_sizes(positions, vocab).is_some(), || {
                    format!("symmetries of rows with V = {vocab}, S = {positions}")
                });
            }
            (Augmentation::Copies { count, .. }, data) => {
                self.require(count >= 1, || "there are no copies".to_string());
                let has_tasks =
                    matches!(data, Data::Folder(_)) && (vocab, positions) == (ARC_VOCAB, ARC_SIDE * ARC_SIDE);
                self.require(has_tasks, || format!("copies of rows with V = {vocab}, S = {positions}"));
            }
        }
    }

    fn fits(&mut self, model: &Model, vocab: usize, size: usize) {
        let (found, positions) = (model.tokens.vocab, model.tokens.positions);
        self.require(found == vocab && positions == size * size, || {
            format!(
                "generated puzzles have V = {vocab}, S = {}, found V = {found}, S = {positions}",
                size * size
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::validate;
    use crate::ir::testing::{example, repeat, update};
    use crate::ir::{
        Gradient, Halt, Infer, Mixing, Model, Operand, Puzzles, QOutputs, Rollouts, StateId, Tokens,
    };

    /// Returns the broken rules of the example after a change.
    fn broken(change: impl FnOnce(&mut Model)) -> Vec<String> {
        let mut model = example();
        change(&mut model);
        match validate(&model) {
            Ok(()) => Vec::new(),
            Err(violations) => violations.into_iter().map(|violation| violation.0).collect(),
        }
    }

    #[test]
    fn the_example_obeys_every_rule() {
        assert_eq!(broken(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_checked() {
        let cases: Vec<(&str, Vec<String>)> = vec![
            ("the vocabulary has 1 words", broken(|model| model.tokens.vocab = 1)),
            (
                "a puzzle vector of width 9 does not fit into 8",
                broken(|model| model.puzzles = Some(Puzzles { width: 9, positions: 1 })),
            ),
            (
                "3 heads do not divide 8",
                broken(|model| {
                    model.networks[0].block.mixing = Mixing::Attention { heads: 3, rope_theta: None };
                }),
            ),
            (
                "`low` rotates heads of odd width",
                broken(|model| {
                    model.networks[0].block.mixing = Mixing::Attention { heads: 8, rope_theta: Some(10.0) };
                }),
            ),
            (
                "`low` rotates although positions are learned",
                broken(|model| {
                    model.tokens = Tokens { learned_positions: true, ..model.tokens.clone() };
                    model.networks[0].block.mixing = Mixing::Attention { heads: 2, rope_theta: Some(10.0) };
                }),
            ),
            (
                "read of unknown StateId(7)",
                broken(|model| {
                    model.segment.push(update(0, 0, &[Operand::State(StateId(7))]));
                }),
            ),
            ("an update reads nothing", broken(|model| model.segment.push(update(0, 0, &[])))),
            (
                "two of a stored state are called `H_init`",
                broken(|model| {
                    model.states[0].stored_as = "H_init".to_string();
                }),
            ),
            (
                "a loop never runs",
                broken(|model| {
                    model.segment.push(repeat(None, 0, vec![update(0, 0, &[Operand::Input])]));
                }),
            ),
            ("a loop has no body", broken(|model| model.segment.push(repeat(None, 1, Vec::new())))),
            (
                "there are no last 2 iterations of `a`",
                broken(|model| {
                    model.segment.push(repeat(Some("a"), 1, vec![update(0, 0, &[Operand::Input])]));
                    model.gradient = Gradient::Last { count: 2, label: "a".to_string() };
                }),
            ),
            (
                "state `z_low` is never updated",
                broken(|model| {
                    model.segment[0] = update(1, 0, &[Operand::Input]);
                    model.gradient = Gradient::Full;
                }),
            ),
            (
                "network `low` is in no differentiated update",
                broken(|model| {
                    model.segment.insert(0, repeat(Some("a"), 1, vec![update(0, 0, &[Operand::Input])]));
                    model.segment[1] = repeat(Some("b"), 1, vec![update(0, 1, &[Operand::Input])]);
                    model.gradient = Gradient::Last { count: 1, label: "b".to_string() };
                }),
            ),
            (
                "QLearning { max_segments: 2, explore: 0.5, target: Bootstrap } does not fit the outputs Some(Halt)",
                broken(|model| {
                    model.q_head.as_mut().expect("the example has one").outputs = QOutputs::Halt;
                }),
            ),
            (
                "a row runs no segment",
                broken(|model| {
                    model.halt = Halt::Fixed { segments: 0 };
                    model.q_head = None;
                }),
            ),
            (
                "the Q head reads position 4 of 4",
                broken(|model| {
                    model.q_head.as_mut().expect("the example has one").position = 4;
                }),
            ),
            (
                "eps of a residual must be above 0, found 0",
                broken(|model| {
                    model.halt = Halt::Residual { eps: 0.0, max_segments: 2 };
                    model.q_head = None;
                }),
            ),
            (
                "inference runs no segment",
                broken(|model| {
                    model.infer =
                        Some(Infer { segments: 0, halt: false, rollouts: None, settle: None, check: None })
                }),
            ),
            (
                "inference halts early under `fixed`",
                broken(|model| {
                    model.halt = Halt::Fixed { segments: 2 };
                    model.q_head = None;
                    model.infer =
                        Some(Infer { segments: 2, halt: true, rollouts: None, settle: None, check: None });
                }),
            ),
            (
                "there are 1 rollouts",
                broken(|model| {
                    let rollouts = Some(Rollouts { count: 1, noise: 0.5 });
                    model.infer =
                        Some(Infer { segments: 2, halt: false, rollouts, settle: None, check: None });
                }),
            ),
            (
                "rollouts of one segment are compared by how they settle",
                broken(|model| {
                    model.halt = Halt::Residual { eps: 0.1, max_segments: 2 };
                    model.q_head = None;
                    let rollouts = Some(Rollouts { count: 2, noise: 0.5 });
                    model.infer =
                        Some(Infer { segments: 1, halt: false, rollouts, settle: None, check: None });
                }),
            ),
            (
                "nothing compares rollouts",
                broken(|model| {
                    model.halt = Halt::Fixed { segments: 2 };
                    model.q_head = None;
                    let rollouts = Some(Rollouts { count: 2, noise: 0.5 });
                    model.infer =
                        Some(Infer { segments: 2, halt: false, rollouts, settle: None, check: None });
                }),
            ),
        ];
        for (expected, found) in cases {
            assert_eq!(found, [expected]);
        }
    }
}
