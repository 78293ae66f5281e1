//! Answers to questions, with the model's output after every segment.

use std::ops::ControlFlow;

use serde::Serialize;

use super::error::Error;
use super::infer::{Rows, SlotPass, infer};
use super::slots::{self, SlotRow};
use crate::check::{DatasetShape, fit};
use crate::data::puzzle::parse_puzzle;
use crate::data::{IGNORED_LABEL, PuzzleKind};
use crate::device::Session;
use crate::ir::Model;
use crate::lower::names::Scope;

const SCOPE: Scope = Scope::Evaluate;

/// A puzzle to solve.
///
/// # Examples
///
/// ```
/// use hrmc::{PuzzleKind, Question};
///
/// let maze = Question::parse(PuzzleKind::Maze { side: 4 }, "S..#\n#.##\n#..#\n##.G")?;
/// assert_eq!(maze.tokens.len(), 16);
/// assert_eq!(maze, Question::new(maze.tokens.clone()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Tokens, `[S]`.
    pub tokens: Vec<i32>,
    /// Puzzle identifier; 0 is the blank one.
    pub puzzle: i32,
}

impl Question {
    /// Returns a question of tokens, `[S]`, which belongs to no puzzle of a dataset.
    pub fn new(tokens: Vec<i32>) -> Question {
        Question { tokens, puzzle: 0 }
    }

    /// Parses a typed puzzle: Sudoku row by row with `.` for a blank cell, a maze with `#`, `.`, `S` and `G`.
    ///
    /// # Errors
    ///
    /// Returns an error that says what is wrong with the text.
    pub fn parse(kind: PuzzleKind, text: &str) -> Result<Question, Error> {
        parse_puzzle(kind, text).map(Question::new).map_err(|error| Error::unsuitable(error.to_string()))
    }
}

/// The output of a model for one question after a segment.
///
/// # Examples
///
/// ```
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// let mut solver = run.solver(hrmc::Checkpoint::Last, hrmc::SolveOptions::default())?;
/// # let question = hrmc::Question::new(training.data().test().inputs(0).collect());
/// let answer = &solver.solve(&[question])?[0];
/// for (segment, output) in answer.segments.iter().enumerate() {
///     println!("segment {}: q_halt {:?}, {:?}", segment + 1, output.q_halt, output.tokens);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentOutput {
    /// Predicted tokens, `[S]`.
    pub tokens: Vec<i32>,
    /// Q value of halting, before the sigmoid; `None` for a model without a Q head.
    pub q_halt: Option<f32>,
}

/// The answer to a question, with the outputs that led to it.
///
/// Of several rollouts, it has only the best one.
///
/// # Examples
///
/// ```
/// # let small = ["train.data.train=64", "train.data.test=8", "train.steps=3"];
/// # let spec = hrmc::Spec::open("specs/quickstart.hrm", &small)?;
/// # let data = hrmc::Data::of(&spec, ".".as_ref())?;
/// # let mut training = hrmc::Training::new(&spec, data, hrmc::TrainOptions::default())?;
/// # let folder = tempfile::tempdir()?;
/// # let run = hrmc::Run::create(folder.path(), &training)?;
/// # training.run(&run, |_| std::ops::ControlFlow::Continue(()))?;
/// let mut solver = run.solver(hrmc::Checkpoint::Last, hrmc::SolveOptions::default())?;
/// # let question = hrmc::Question::new(training.data().test().inputs(0).collect());
/// let answer = &solver.solve(&[question])?[0];
/// assert_eq!(answer.tokens().len(), 36);
/// assert_eq!(answer.segments.len(), solver.model().max_segments());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Answer {
    /// Number of the best rollout, from 0; always 0 if there is one rollout.
    pub rollout: usize,
    /// The output after each segment; the last one is the answer.
    pub segments: Vec<SegmentOutput>,
}

impl Answer {
    /// Returns the answer: the predicted tokens `[S]` after the last segment.
    pub fn tokens(&self) -> &[i32] {
        self.segments.last().map_or(&[], |output| &output.tokens)
    }

    /// Returns the probability of being right by the model's own estimate, the sigmoid of its Q value of halting;
    /// `None` for a model without a Q head.
    pub fn confidence(&self) -> Option<f64> {
        self.segments.last().and_then(SegmentOutput::confidence)
    }
}

impl SegmentOutput {
    /// Returns the probability of being right by the model's own estimate, the sigmoid of its Q value of halting;
    /// `None` for a model without a Q head.
    pub fn confidence(&self) -> Option<f64> {
        self.q_halt.map(slots::sigmoid)
    }
}

/// Answers questions with the program [`Evaluate`](crate::lower::Program::Evaluate), as many at once as it has rows.
pub(super) fn solve(
    session: &mut Session,
    model: &Model,
    puzzle_rows: usize,
    questions: &[Question],
) -> Result<Vec<Answer>, Error> {
    for question in questions {
        check(model, puzzle_rows, question)?;
    }
    let slots = slots::slots(session, SCOPE);
    let mut solving = Solving {
        questions,
        labels: vec![IGNORED_LABEL; model.tokens.positions],
        next: 0,
        current: vec![Answer::default(); slots],
        best: vec![Answer::default(); slots],
        answers: vec![Answer::default(); questions.len()],
        not_finite: None,
    };
    let whole = infer(session, model, &mut solving)?;
    debug_assert!(whole.is_continue(), "nothing stops it");
    match solving.not_finite {
        None => Ok(solving.answers),
        Some(row) => Err(Error::unsuitable(format!(
            "the model computes numbers that are not finite for puzzle {}, so it has no answer; its weights are \
             unusable, or too large for this puzzle: take another checkpoint (`--checkpoint`), or train again with \
             a lower learning rate",
            row + 1
        ))),
    }
}

/// Questions that are being answered.
struct Solving<'a> {
    questions: &'a [Question],
    /// Labels that ask for nothing, `[S]`.
    labels: Vec<i32>,
    /// Questions that were begun.
    next: usize,
    /// The way of the rollout in each slot so far, `[B]`.
    current: Vec<Answer>,
    /// The best rollout in each slot so far, `[B]`.
    best: Vec<Answer>,
    answers: Vec<Answer>,
    /// The first question for which logits or Q values are not finite.
    not_finite: Option<usize>,
}

impl Rows for Solving<'_> {
    fn next(&mut self, session: &mut Session, slot: usize) -> Result<Option<usize>, Error> {
        let Some(Question { tokens, puzzle }) = self.questions.get(self.next) else { return Ok(None) };
        slots::put(session, SCOPE, slot, SlotRow { tokens, labels: &self.labels, puzzle: *puzzle })?;
        self.next += 1;
        Ok(Some(self.next - 1))
    }

    fn may_run(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn take(&mut self, session: &Session, passes: &[SlotPass]) -> Result<(), Error> {
        for pass in passes {
            let answer = &mut self.current[pass.slot];
            if pass.outcome.steps == 1 {
                *answer = Answer { rollout: pass.rollout, segments: Vec::new() };
            }
            let q_halt = pass.outcome.q_halt;
            if q_halt.is_some_and(|q| !q.is_finite()) || !slots::is_finite(session, SCOPE, pass.slot)? {
                self.not_finite = Some(self.not_finite.map_or(pass.row, |first| first.min(pass.row)));
            }
            answer
                .segments
                .push(SegmentOutput { tokens: slots::prediction(session, SCOPE, pass.slot)?, q_halt });
            if pass.is_best {
                self.best[pass.slot].clone_from(answer);
            }
            if pass.leaves {
                self.answers[pass.row] = std::mem::take(&mut self.best[pass.slot]);
            }
        }
        Ok(())
    }
}

/// Checks that a question fits the model.
pub(super) fn check(model: &Model, puzzle_rows: usize, question: &Question) -> Result<(), Error> {
    check_row(model, puzzle_rows, &question.tokens, question.puzzle)
}

/// Checks that a row of tokens and a puzzle identifier fit the model.
pub(super) fn check_row(model: &Model, puzzle_rows: usize, row: &[i32], puzzle: i32) -> Result<(), Error> {
    let tokens = &model.tokens;
    let shape =
        DatasetShape { what: "the puzzles to solve".to_string(), vocab: tokens.vocab, positions: row.len() };
    fit(model, &shape).map_err(|misfits| Error::unsuitable(misfits.of_a_trained_model()))?;
    let known = |&token: &i32| usize::try_from(token).is_ok_and(|token| token < tokens.vocab);
    if let Some(position) = row.iter().position(|token| !known(token)) {
        return Err(Error::unsuitable(format!(
            "token {} at position {position} of the puzzle is outside the vocabulary of {}",
            row[position], tokens.vocab
        )));
    }
    let in_table = usize::try_from(puzzle).is_ok_and(|puzzle| puzzle < puzzle_rows);
    if model.puzzles.is_some() && !in_table {
        return Err(Error::unsuitable(format!(
            "puzzle identifier {puzzle} is not one of the {puzzle_rows} of the model `{}`",
            model.name
        )));
    }
    Ok(())
}

/// The output of a model for all questions after a segment.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SolvedSegment {
    pub segment: usize,
    pub predictions: Vec<Vec<i32>>,
    pub q_halt: Option<Vec<f32>>,
}

/// Returns answers segment by segment; a question that stopped stays as it is.
#[cfg(test)]
pub(super) fn by_segment(answers: &[Answer]) -> Vec<SolvedSegment> {
    let most = answers.iter().map(|answer| answer.segments.len()).max().unwrap_or(0);
    let after = |segment: usize| {
        let segments: Vec<&SegmentOutput> =
            answers.iter().map(|answer| &answer.segments[segment.min(answer.segments.len() - 1)]).collect();
        SolvedSegment {
            segment: segment + 1,
            predictions: segments.iter().map(|output| output.tokens.clone()).collect(),
            q_halt: segments.iter().map(|output| output.q_halt).collect(),
        }
    };
    (0..most).map(after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing;

    #[test]
    fn a_puzzle_is_refined_segment_by_segment() {
        let mut evaluator = testing::evaluator();
        let questions = [testing::question(0), testing::question(1)];
        let segments = by_segment(&evaluator.solve(&questions).expect("fits"));
        let numbers: Vec<usize> = segments.iter().map(|segment| segment.segment).collect();
        assert_eq!(numbers, (1..=evaluator.model().max_segments()).collect::<Vec<_>>());
        for segment in &segments {
            assert_eq!(segment.predictions.len(), 2);
            assert!(segment.predictions.iter().all(|row| row.len() == questions[0].tokens.len()));
            assert_eq!(segment.q_halt.as_ref().map(Vec::len), Some(2));
        }
        assert_ne!(segments[0].predictions, segments[1].predictions, "the carry goes on");
    }

    #[test]
    fn solving_again_begins_from_the_initial_states() {
        let mut evaluator = testing::evaluator();
        let questions = [testing::question(0)];
        let first = evaluator.solve(&questions).expect("fits");
        let second = evaluator.solve(&questions).expect("fits");
        assert_eq!(first, second);
    }

    #[test]
    fn unsuitable_questions_are_refused() {
        let mut evaluator = testing::evaluator();
        let mut refusal = |questions: &[Question]| match evaluator.solve(questions) {
            Ok(_) => panic!("the questions are unsuitable"),
            Err(error) => error.to_string(),
        };
        let good = testing::question(0);
        let short = Question { tokens: vec![1; 3], puzzle: 0 };
        assert_eq!(
            refusal(&[short]),
            "the puzzles to solve have positions = 3, the model has positions = 16"
        );
        let mut strange = good.clone();
        strange.tokens[5] = 6;
        assert_eq!(refusal(&[strange]), "token 6 at position 5 of the puzzle is outside the vocabulary of 6");
        let foreign = Question { puzzle: 9, ..good.clone() };
        assert_eq!(refusal(&[foreign]), "puzzle identifier 9 is not one of the 1 of the model `tiny`");
    }

    #[test]
    fn answers_that_are_not_made_of_numbers_are_refused() {
        use crate::lower::names;
        use crate::lower::parameters::{Q_BIAS, TOKEN_HEAD};
        for memory in [names::parameter(TOKEN_HEAD), names::parameter(Q_BIAS)] {
            let mut evaluator = testing::evaluator();
            evaluator.session_mut().f32_mut(&memory).expect("it is on the host")[0] = f32::NAN;
            let message =
                evaluator.solve(&[testing::question(0)]).expect_err("nothing is computed").to_string();
            let expected = "the model computes numbers that are not finite for puzzle 1, so it has no answer";
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn more_questions_than_rows_are_answered_in_turn() {
        let mut evaluator = testing::evaluator();
        let questions: Vec<Question> = (0..testing::BATCH + 1).map(testing::question).collect();
        let answers = evaluator.solve(&questions).expect("fits");
        assert_eq!(answers.len(), questions.len());
        let last = evaluator.solve(&questions[testing::BATCH..]).expect("fits");
        assert_eq!(answers[testing::BATCH..], last);
    }
}
