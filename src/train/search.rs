//! Search: computes the answers of a model with candidates.
//!
//! A row has several *chains*. In each *round*, every chain of the row is shown under a symmetry of its own, runs one
//! segment, is projected, and branches. A chain with a conflict begins again from the question. The first chain that has
//! one candidate for every token answers, if its answer passes the check; the lower chain of two in one round. A chain
//! whose answer does not pass begins again, too. After the last round the row has no answer.
//!
//! Passes of chains wait in a queue, so that a row that is answered makes room for the next. Each chain draws from a
//! stream of its row and its number, so an answer depends neither on the rows beside it nor on how many slots there are.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use serde::Serialize;

use super::answers::{AskedRow, RowAnswer, RowDeduction, rule};
use super::deduction::{CandidateGrid, Deduced, DeductionPolicy, RowView, value_of};
use super::error::Error;
use super::halting::StoppedBy;
use super::pool::{ShownRow, predicted};
use super::slots::{self, sigmoid};
use super::streams::SEARCH;
use crate::data::puzzle::is_valid_solution;
use crate::data::random::Stream;
use crate::data::{Augment, PuzzleKind};
use crate::device::{DeviceError, Session};
use crate::ir::{Augmentation, Candidates, Data, Infer, Model, Search};
use crate::lower::names::Scope;

const SCOPE: Scope = Scope::Evaluate;

/// Rows that are searched.
pub(super) struct Searching {
    candidates: Candidates,
    infer: Infer,
    search: Search,
    policy: DeductionPolicy,
    /// The kind by whose rules answers are checked, if there are any.
    rule: Option<PuzzleKind>,
    /// Symmetries under which rows are shown.
    augment: Option<Augment>,
    seed: u64,
    /// Rows that are not answered, by their number.
    rows: BTreeMap<usize, SearchedRow>,
    /// Chains whose passes are due, by the number of the row.
    due: VecDeque<(usize, usize)>,
    /// Numbers of the rows that were begun and not given away, in their order.
    begun: VecDeque<usize>,
    /// Answers to rows behind one that is not answered yet.
    answered: BTreeMap<usize, SearchedAnswer>,
    /// Whether the rounds of chains are kept.
    keeps_rounds: bool,
}

/// The answer to a row.
pub(super) struct SearchedAnswer {
    /// The row.
    pub asked: AskedRow,
    /// Its answer.
    pub answer: RowAnswer,
    /// The rounds of the chain that answers, or of the first one if none does; only where they are kept.
    pub rounds: Vec<SearchRound>,
}

/// One round of a chain.
///
/// # Examples
///
/// ```
/// let round = hrmc::SearchRound { left: 17, ..hrmc::SearchRound::default() };
/// assert_eq!(round.pinned, None);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct SearchRound {
    /// Candidates that are left of the tokens that the question leaves open, after the projection of the round.
    pub left: usize,
    /// The token that takes a value at the end of the round, and which one, as a token.
    pub pinned: Option<(usize, i32)>,
    /// Whether a conflict was found, so that the chain begins again.
    pub conflict: bool,
    /// Whether every token had one candidate, but the answer broke the rules, so that the chain begins again.
    pub refused: bool,
    /// Tokens of the row that are certain, and those of the question for all others.
    pub tokens: Vec<i32>,
}

struct SearchedRow {
    asked: AskedRow,
    /// The true value of each token, -1 where it is not known.
    truth: Vec<i32>,
    /// The candidates of the question.
    start: CandidateGrid,
    chains: Vec<Chain>,
    /// Rounds that are over.
    rounds: u32,
    /// Chains that have a pass to make in this round.
    waiting: usize,
    passes: u32,
    deduction: RowDeduction,
    token_loss: f32,
    /// The chain that answers, with its tokens and how sure the model is of them.
    found: Option<(usize, Vec<i32>, f64)>,
    /// How far the state moved in the last pass.
    drift: f32,
    /// The candidates after the first pass.
    first: Option<CandidateGrid>,
}

struct Chain {
    grid: CandidateGrid,
    random: Stream,
    /// Its rounds, if they are kept.
    rounds: Vec<SearchRound>,
}

/// One chain in one slot.
struct Pass {
    row: usize,
    chain: usize,
    view: RowView,
}

impl Searching {
    /// Returns a search for the rows of one kind; `None` for a model without candidates.
    pub fn new(model: &Model, kind: PuzzleKind) -> Option<Searching> {
        let infer = model.inference();
        let (candidates, search) = (model.candidates?, infer.search?);
        let is_augmented = model.train.as_ref().is_some_and(|train| match &train.data {
            Data::Sudoku(sudoku) => sudoku.augment || train.augment == Augmentation::Symmetries,
            Data::Folder(_) | Data::Maze(_) => train.augment == Augmentation::Symmetries,
        });
        Some(Searching {
            candidates,
            infer,
            search,
            policy: DeductionPolicy::of_search(&candidates, &search),
            rule: rule(model, kind),
            augment: if is_augmented { Augment::of_kind(kind) } else { None },
            seed: model.train.as_ref().map_or(0, |train| train.seed),
            rows: BTreeMap::new(),
            due: VecDeque::new(),
            begun: VecDeque::new(),
            answered: BTreeMap::new(),
            keeps_rounds: false,
        })
    }

    /// Keeps the rounds of chains.
    pub fn with_rounds(self) -> Searching {
        Searching { keeps_rounds: true, ..self }
    }

    /// Answers the rows that `next` gives, and gives each with its answer to `take`, in the order of the rows. `may_run` is
    /// called before every pass of the program and may end the work there.
    ///
    /// # Errors
    ///
    /// Returns an error if `next` does, or a device fails.
    pub fn run(
        mut self,
        session: &mut Session,
        program: &str,
        next: &mut dyn FnMut() -> Result<Option<AskedRow>, Error>,
        may_run: &mut dyn FnMut() -> ControlFlow<()>,
        take: &mut dyn FnMut(SearchedAnswer),
    ) -> Result<ControlFlow<()>, Error> {
        let slots = slots::slots(session, SCOPE);
        let mut is_over = false;
        loop {
            while self.due.len() < slots && !is_over {
                match next()? {
                    Some(asked) => self.begin(asked),
                    None => is_over = true,
                }
            }
            if self.due.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            if may_run().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let mut passes = Vec::with_capacity(slots);
            for slot in 0..slots.min(self.due.len()) {
                let (row, chain) = self.due.pop_front().expect("so many are due");
                passes.push(self.show(session, slot, row, chain)?);
            }
            session.run(program)?;
            for (slot, pass) in passes.into_iter().enumerate() {
                self.deduce(session, slot, &pass)?;
            }
            while let Some(found) = self.begun.front().and_then(|row| self.answered.remove(row)) {
                self.begun.pop_front();
                take(found);
            }
        }
    }

    fn begin(&mut self, asked: AskedRow) {
        let row = asked.row;
        let start = CandidateGrid::of_question(&self.candidates, &asked.tokens);
        let value = |&label: &i32| value_of(&self.candidates, label).map_or(-1, |value| value as i32);
        let truth: Vec<i32> = asked.labels.iter().map(value).collect();
        let count = self.search.chains;
        let chains = (0..count).map(|chain| Chain {
            grid: start.clone(),
            random: Stream::new(self.seed, SEARCH, (row as u64).wrapping_mul(count as u64) + chain as u64),
            rounds: Vec::new(),
        });
        let begun = SearchedRow {
            chains: chains.collect(),
            truth,
            start,
            rounds: 0,
            waiting: count,
            passes: 0,
            deduction: RowDeduction::default(),
            token_loss: 0.0,
            found: None,
            drift: 0.0,
            first: None,
            asked,
        };
        self.rows.insert(row, begun);
        self.begun.push_back(row);
        self.due.extend((0..count).map(|chain| (row, chain)));
    }

    /// Shows a chain in a slot.
    fn show(
        &mut self,
        session: &mut Session,
        slot: usize,
        row: usize,
        chain: usize,
    ) -> Result<Pass, DeviceError> {
        let searched = self.rows.get_mut(&row).expect("what is due is not answered");
        let Chain { grid, random, .. } = &mut searched.chains[chain];
        let Candidates { values, first, .. } = self.candidates;
        let symmetry = self
            .augment
            .as_ref()
            .and_then(|augment| augment.draw_symmetry(&searched.asked.tokens, (first, values), random));
        let view = match symmetry {
            Some((tokens, values)) => RowView { tokens, values },
            None => RowView::plain(grid.tokens(), values),
        };
        ShownRow::of(grid, &searched.truth, &view).write(session, SCOPE, slot)?;
        let keys = SCOPE.dropout_keys();
        if session.has(&keys) {
            session.i32_mut(&keys)?[slot] = random.below(1 << 24) as i32;
        }
        Ok(Pass { row, chain, view })
    }

    /// Takes what the program has said about the chain in a slot.
    fn deduce(&mut self, session: &Session, slot: usize, pass: &Pass) -> Result<(), DeviceError> {
        let Some(searched) = self.rows.get_mut(&pass.row) else { return Ok(()) };
        let size = searched.start.possible().len();
        let predicted = predicted(session, SCOPE, slot, size)?;
        let Chain { grid, random, rounds } = &mut searched.chains[pass.chain];
        let is_first = searched.rounds == 0 && pass.chain == 0;
        if is_first {
            let mut projected = grid.clone();
            projected.project(&predicted, &pass.view, self.policy.remove);
            searched.deduction =
                RowDeduction::of_first_pass(session, slot, grid, &projected, &searched.truth)?;
            searched.token_loss = session.f32(&SCOPE.token_loss())?[slot];
            searched.first = Some(projected);
        }
        let deduced = grid.deduce(&predicted, &pass.view, &self.policy, random);
        searched.passes += 1;
        searched.waiting -= 1;
        searched.drift = session.f32(&SCOPE.residual())?[slot];
        let mut refused = false;
        if deduced == Deduced::Solved {
            let tokens = answer_of(&self.candidates, grid);
            let passes =
                self.rule.is_none_or(|kind| is_valid_solution(kind, &searched.asked.tokens, &tokens));
            refused = !passes;
            let is_lowest = searched.found.as_ref().is_none_or(|(chain, _, _)| pass.chain < *chain);
            if passes && is_lowest {
                let confidence = predicted.conflict.map_or(1.0, |logit| 1.0 - sigmoid(logit));
                searched.found = Some((pass.chain, tokens, confidence));
            }
        }
        if self.keeps_rounds {
            let open = (0..grid.tokens()).filter(|&token| !grid.is_given(token));
            let pinned = match deduced {
                Deduced::Pinned { token, value } => Some((token, token_of(&self.candidates, value))),
                Deduced::Conflict | Deduced::Solved => None,
            };
            rounds.push(SearchRound {
                left: open.map(|token| grid.count(token)).sum(),
                pinned,
                conflict: deduced == Deduced::Conflict,
                refused,
                tokens: certain(&self.candidates, grid, &searched.asked.tokens),
            });
        }
        if refused || deduced == Deduced::Conflict {
            *grid = searched.start.clone();
            searched.deduction.restarts += 1;
        }
        if searched.waiting == 0 {
            self.end_round(pass.row);
        }
        Ok(())
    }

    /// Ends a round of a row, whose chains have all made their passes.
    fn end_round(&mut self, row: usize) {
        let searched = self.rows.get_mut(&row).expect("its last pass was just made");
        searched.rounds += 1;
        if searched.found.is_none() && (searched.rounds as usize) < self.infer.segments {
            searched.waiting = searched.chains.len();
            self.due.extend((0..searched.chains.len()).map(|chain| (row, chain)));
            return;
        }
        if let Some(searched) = self.rows.remove(&row) {
            let answer = searched.answer(&self.candidates, self.rule);
            let SearchedRow { asked, mut chains, .. } = searched;
            let rounds = std::mem::take(&mut chains[answer.rollout].rounds);
            self.answered.insert(row, SearchedAnswer { asked, answer, rounds });
        }
    }
}

impl SearchedRow {
    fn answer(&self, candidates: &Candidates, rule: Option<PuzzleKind>) -> RowAnswer {
        let abstained = self.found.is_none();
        // Without an answer, what is certain after the first pass is shown.
        let certain = || certain(candidates, self.first.as_ref().unwrap_or(&self.start), &self.asked.tokens);
        let (rollout, tokens, confidence) = self.found.clone().unwrap_or_else(|| (0, certain(), 0.0));
        let labelled = || self.asked.labels.iter().zip(&tokens).filter(|(label, _)| **label >= 0);
        let (labels, right) =
            (labelled().count(), labelled().filter(|(label, token)| label == token).count());
        RowAnswer {
            row: self.asked.row,
            rollout,
            segments: self.rounds,
            passes: self.passes,
            stopped_by: if abstained { StoppedBy::Limit } else { StoppedBy::Solved },
            abstained,
            q_halt: None,
            confidence,
            drift: self.drift,
            valid: rule.map(|kind| !abstained && is_valid_solution(kind, &self.asked.tokens, &tokens)),
            labels_right: right as u32,
            labels: labels as u32,
            token_loss: self.token_loss,
            halt_loss: None,
            deduction: Some(self.deduction),
            tokens,
        }
    }
}

fn token_of(candidates: &Candidates, value: usize) -> i32 {
    (candidates.first + value) as i32
}

/// Returns the tokens of a row that have one candidate, and those of the question for all others.
fn certain(candidates: &Candidates, grid: &CandidateGrid, question: &[i32]) -> Vec<i32> {
    let token =
        |(token, &asked): (usize, &i32)| grid.only(token).map_or(asked, |value| token_of(candidates, value));
    question.iter().enumerate().map(token).collect()
}

/// Returns the tokens of a row that is solved.
fn answer_of(candidates: &Candidates, grid: &CandidateGrid) -> Vec<i32> {
    let value = |token| grid.only(token).expect("a row that is solved has one candidate for each token");
    (0..grid.tokens()).map(|token| token_of(candidates, value(token))).collect()
}
