//! What is done to the candidates of a row between two segments: they are projected by what the model says, and one open
//! token takes a value.
//!
//! Every function here depends on its arguments alone, and on the random stream that it is given.

use super::streams::unit;
use crate::data::random::Stream;
use crate::ir::{self, CellChoice};
use crate::train::slots::sigmoid;

/// The candidates of one row, `[S, K]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateGrid {
    /// Number of values `K`.
    values: usize,
    /// Whether each value is still possible, token by token.
    possible: Vec<bool>,
    /// Whether the question gives each token.
    given: Vec<bool>,
}

/// How a row is shown to the model: its tokens in another order, and its values under other names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowView {
    /// Token of the puzzle that is shown at each position.
    pub tokens: Vec<usize>,
    /// Name under which each value is shown.
    pub values: Vec<usize>,
}

/// What the model says about a row in a view, by positions and shown values.
#[derive(Debug, Clone, Copy)]
pub struct Predicted<'a> {
    /// Logits that each candidate is to be kept, `[S, K]`.
    pub keep: &'a [f32],
    /// Logits of the values, `[S, K]`.
    pub tokens: &'a [f32],
    /// Logit that a true candidate is lost; `None` for a model without a conflict head.
    pub conflict: Option<f32>,
}

/// By which numbers a row is projected and branched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeductionPolicy {
    /// A candidate is removed when the probability that it is to be kept is below this.
    pub remove: f32,
    /// Probability from which on a conflict is believed.
    pub conflict: f32,
    /// Which open token takes a value.
    pub cell: CellChoice,
    /// Divides the logits of its values.
    pub temperature: f32,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deduced {
    /// A token has no candidate, or the model says that a true one is lost. Nothing was pinned.
    Conflict,
    /// Every token has one candidate.
    Solved,
    /// This token took a value.
    Pinned {
        /// The token.
        token: usize,
        /// Its value.
        value: usize,
    },
}

impl DeductionPolicy {
    /// Returns the policy of training.
    pub fn of_training(candidates: &ir::Candidates) -> DeductionPolicy {
        let ir::Candidates { remove, conflict, cell, temperature, .. } = *candidates;
        DeductionPolicy { remove, conflict, cell, temperature }
    }

    /// Returns the policy of a search.
    pub fn of_search(candidates: &ir::Candidates, search: &ir::Search) -> DeductionPolicy {
        let ir::Candidates { remove, temperature, .. } = *candidates;
        DeductionPolicy { remove, conflict: search.conflict, cell: search.cell, temperature }
    }
}

impl RowView {
    /// Returns the view that shows a row as it is.
    pub fn plain(tokens: usize, values: usize) -> RowView {
        RowView { tokens: (0..tokens).collect(), values: (0..values).collect() }
    }
}

impl CandidateGrid {
    /// Returns the candidates of a question: a token that it gives has that value alone, and every other one has all.
    pub fn of_question(candidates: &ir::Candidates, question: &[i32]) -> CandidateGrid {
        let given = question.iter().map(|&token| value_of(candidates, token));
        let possible = given.clone().flat_map(|given| {
            (0..candidates.values).map(move |value| given.is_none_or(|given| given == value))
        });
        CandidateGrid {
            values: candidates.values,
            possible: possible.collect(),
            given: given.map(|given| given.is_some()).collect(),
        }
    }

    /// Returns the candidates that were kept as numbers, 1 for one that is still there, of a question.
    pub fn kept(candidates: &ir::Candidates, question: &[i32], kept: &[f32]) -> CandidateGrid {
        let grid = CandidateGrid::of_question(candidates, question);
        CandidateGrid { possible: kept.iter().map(|&kept| kept != 0.0).collect(), ..grid }
    }

    /// Returns the number of tokens.
    pub fn tokens(&self) -> usize {
        self.given.len()
    }

    /// Returns whether each value of each token is possible, `[S, K]`.
    pub fn possible(&self) -> &[bool] {
        &self.possible
    }

    /// Returns whether the question gives a token.
    pub fn is_given(&self, token: usize) -> bool {
        self.given[token]
    }

    /// Returns whether a token may have a value.
    pub fn has(&self, token: usize, value: usize) -> bool {
        self.possible[token * self.values + value]
    }

    /// Returns the number of candidates of a token.
    pub fn count(&self, token: usize) -> usize {
        self.of(token).iter().filter(|&&possible| possible).count()
    }

    /// Returns the only candidate of a token; `None` if it has none, or several.
    pub fn only(&self, token: usize) -> Option<usize> {
        let mut possible = (0..self.values).filter(|&value| self.has(token, value));
        possible.next().filter(|_| possible.next().is_none())
    }

    fn of(&self, token: usize) -> &[bool] {
        &self.possible[token * self.values..(token + 1) * self.values]
    }

    /// Lets a token have one value alone.
    pub fn pin(&mut self, token: usize, value: usize) {
        let values = self.values;
        for (other, possible) in self.possible[token * values..(token + 1) * values].iter_mut().enumerate() {
            *possible = other == value;
        }
    }

    /// Removes the candidates that the model finds unlikely, though never those of a token that the question gives.
    pub fn project(&mut self, predicted: &Predicted<'_>, view: &RowView, remove: f32) {
        for (position, &token) in view.tokens.iter().enumerate().filter(|(_, token)| !self.given[**token]) {
            for value in 0..self.values {
                let shown = predicted.keep[position * self.values + view.values[value]];
                // A logit that is no number removes nothing.
                if sigmoid(shown) < f64::from(remove) {
                    self.possible[token * self.values + value] = false;
                }
            }
        }
    }

    /// Projects the candidates, and lets one open token take a value unless there is a conflict or nothing is open.
    pub fn deduce(
        &mut self,
        predicted: &Predicted<'_>,
        view: &RowView,
        policy: &DeductionPolicy,
        random: &mut Stream,
    ) -> Deduced {
        self.project(predicted, view, policy.remove);
        let believed = predicted.conflict.is_some_and(|logit| sigmoid(logit) > f64::from(policy.conflict));
        let counts: Vec<usize> = (0..self.tokens()).map(|token| self.count(token)).collect();
        if believed || counts.contains(&0) {
            return Deduced::Conflict;
        }
        let open: Vec<usize> = (0..counts.len()).filter(|&token| counts[token] > 1).collect();
        let Some(&first) = open.iter().min_by_key(|&&token| counts[token]) else { return Deduced::Solved };
        let token = match policy.cell {
            CellChoice::Fewest => first,
            CellChoice::Random => open[random.below(open.len())],
        };
        let position =
            view.tokens.iter().position(|&shown| shown == token).expect("a view shows every token");
        let logits = &predicted.tokens[position * self.values..(position + 1) * self.values];
        let choices: Vec<usize> = (0..self.values).filter(|&value| self.has(token, value)).collect();
        let logit = |value: usize| f64::from(logits[view.values[value]]) / f64::from(policy.temperature);
        let value = choices[draw(choices.iter().map(|&value| logit(value)), random)];
        self.pin(token, value);
        Deduced::Pinned { token, value }
    }

    /// Returns whether every token whose true value is known still has it.
    pub fn is_intact(&self, truth: &[i32]) -> bool {
        truth.iter().enumerate().all(|(token, &value)| value < 0 || self.has(token, value as usize))
    }
}

/// Returns the value that a token of a row stands for, if it is one of the values.
pub fn value_of(candidates: &ir::Candidates, token: i32) -> Option<usize> {
    let value = usize::try_from(token).ok()?.checked_sub(candidates.first)?;
    (value < candidates.values).then_some(value)
}

/// Draws an index with probabilities by softmax. A logit that is no number is not drawn, unless all are none.
fn draw(logits: impl Iterator<Item = f64>, random: &mut Stream) -> usize {
    let logits: Vec<f64> =
        logits.map(|logit| if logit.is_nan() { f64::NEG_INFINITY } else { logit }).collect();
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let place = unit(random);
    if !most.is_finite() {
        return (place * logits.len() as f64) as usize;
    }
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let mut left = place * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index;
        }
    }
    weights.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANDIDATES: ir::Candidates = ir::Candidates {
        values: 3,
        first: 2,
        remove: 0.1,
        conflict: 0.5,
        cell: CellChoice::Random,
        temperature: 1.0,
    };
    const POLICY: DeductionPolicy =
        DeductionPolicy { remove: 0.1, conflict: 0.5, cell: CellChoice::Random, temperature: 1.0 };

    /// A row of four tokens, of which the first is given.
    fn grid() -> CandidateGrid {
        CandidateGrid::of_question(&CANDIDATES, &[3, 1, 0, 1])
    }

    /// Logits that keep everything, but for these candidates.
    fn keep_all_but(removed: &[(usize, usize)]) -> Vec<f32> {
        let is_removed = |index: usize| removed.contains(&(index / 3, index % 3));
        (0..12).map(|index| if is_removed(index) { -5.0 } else { 5.0 }).collect()
    }

    fn random() -> Stream {
        Stream::new(1, "deduction", 0)
    }

    #[test]
    fn a_question_gives_some_values_and_leaves_all_others_open() {
        let grid = grid();
        assert_eq!(grid.possible()[..6], [false, true, false, true, true, true]);
        assert_eq!((grid.only(0), grid.only(1), grid.count(2)), (Some(1), None, 3));
        assert!(grid.is_given(0) && !grid.is_given(3));
        let kept: Vec<f32> = grid.possible().iter().map(|&kept| if kept { 1.0 } else { 0.0 }).collect();
        assert_eq!(CandidateGrid::kept(&CANDIDATES, &[3, 1, 0, 1], &kept), grid);
    }

    #[test]
    fn unlikely_candidates_go_but_never_those_that_are_given() {
        let mut grid = grid();
        let keep = keep_all_but(&[(0, 1), (1, 0), (2, 2)]);
        let predicted = Predicted { keep: &keep, tokens: &[0.0; 12], conflict: None };
        grid.project(&predicted, &RowView::plain(4, 3), 0.1);
        assert_eq!(grid.only(0), Some(1));
        assert!(!grid.has(1, 0) && grid.has(1, 1) && !grid.has(2, 2));
        // A half is not unlikely, and what is no number says nothing.
        let predicted = Predicted { keep: &[f32::NAN; 12], ..predicted };
        let before = grid.clone();
        grid.project(&predicted, &RowView::plain(4, 3), 0.1);
        assert_eq!(grid, before);
    }

    #[test]
    fn what_is_shown_under_a_view_is_read_through_it() {
        let view = RowView { tokens: vec![3, 2, 1, 0], values: vec![2, 0, 1] };
        // Position 2 shows token 1, and value 0 is shown as 2.
        let keep = keep_all_but(&[(2, 2)]);
        let mut seen = grid();
        seen.project(&Predicted { keep: &keep, tokens: &[0.0; 12], conflict: None }, &view, 0.1);
        let mut plain = grid();
        let keep = keep_all_but(&[(1, 0)]);
        plain.project(
            &Predicted { keep: &keep, ..Predicted { keep: &keep, tokens: &[0.0; 12], conflict: None } },
            &RowView::plain(4, 3),
            0.1,
        );
        assert_eq!(seen, plain);
        assert!(!seen.has(1, 0));
    }

    #[test]
    fn a_conflict_comes_before_a_solution_and_pins_nothing() {
        let view = RowView::plain(4, 3);
        let keep = keep_all_but(&[(1, 0), (1, 1), (1, 2)]);
        let predicted = Predicted { keep: &keep, tokens: &[0.0; 12], conflict: None };
        assert_eq!(grid().deduce(&predicted, &view, &POLICY, &mut random()), Deduced::Conflict);
        let keep = keep_all_but(&[(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]);
        let sure = |conflict| {
            let mut grid = grid();
            let predicted = Predicted { keep: &keep, tokens: &[0.0; 12], conflict };
            let deduced = grid.deduce(&predicted, &view, &POLICY, &mut random());
            (deduced, (0..4).map(|token| grid.only(token)).collect::<Vec<_>>())
        };
        let solved = vec![Some(1), Some(2), Some(2), Some(2)];
        assert_eq!(sure(None), (Deduced::Solved, solved.clone()));
        assert_eq!(sure(Some(-0.1)), (Deduced::Solved, solved.clone()));
        assert_eq!(sure(Some(0.1)), (Deduced::Conflict, solved));
    }

    #[test]
    fn one_open_token_takes_a_value_as_likely_as_the_model_finds_it() {
        let view = RowView::plain(4, 3);
        let keep = keep_all_but(&[(2, 0)]);
        // ln 4 against 0: four fifths of the draws.
        let tokens = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 4.0_f32.ln(), 0.0, 0.0, 0.0, 0.0];
        let predicted = Predicted { keep: &keep, tokens: &tokens, conflict: Some(-9.0) };
        let policy = DeductionPolicy { cell: CellChoice::Fewest, ..POLICY };
        let mut random = random();
        let mut first = 0;
        for _ in 0..1000 {
            let mut grid = grid();
            let deduced = grid.deduce(&predicted, &view, &policy, &mut random);
            let Deduced::Pinned { token: 2, value } = deduced else { panic!("{deduced:?}") };
            assert_eq!(grid.only(2), Some(value));
            assert!(value != 0, "a candidate that is gone is not drawn, whatever its logit");
            first += usize::from(value == 1);
        }
        // Five standard deviations of a binomial with mean 800 are 63.
        assert!(first.abs_diff(800) < 63, "{first}");
        let mut seen = [0; 4];
        for _ in 0..999 {
            let Deduced::Pinned { token, .. } = grid().deduce(&predicted, &view, &POLICY, &mut random) else {
                panic!("tokens are open")
            };
            seen[token] += 1;
        }
        assert!(seen[0] == 0 && seen[1..].iter().all(|count: &i32| count.abs_diff(333) < 75), "{seen:?}");
    }

    #[test]
    fn a_true_value_that_is_gone_is_noticed() {
        let mut grid = grid();
        assert!(grid.is_intact(&[1, 0, 2, -1]));
        grid.pin(2, 1);
        assert!(!grid.is_intact(&[1, 0, 2, -1]));
        assert!(grid.is_intact(&[1, 0, -1, -1]), "a token without a label has no true value");
    }
}
