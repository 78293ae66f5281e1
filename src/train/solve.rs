//! Solving puzzles segment by segment, so that the way to the answer can be shown.

use super::error::RuntimeError;
use super::infer::infer;
use super::slots::{self, SlotRow};
use crate::device::{DeviceError, Session};
use crate::ir::Model;
use crate::lower::IGNORED_LABEL;
use crate::lower::names::Scope;

const SCOPE: Scope = Scope::Evaluate;

/// A puzzle to solve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Tokens, `[S]`.
    pub tokens: Vec<i32>,
    /// Puzzle identifier; 0 is the blank one.
    pub puzzle: i32,
}

/// What a model thinks after a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct SolvedSegment {
    /// Segments done, counted from 1.
    pub segment: usize,
    /// Predicted tokens `[S]` of each question; those of one that stopped stay as they are.
    pub predictions: Vec<Vec<i32>>,
    /// Q value of halting of each question, before the sigmoid; `None` for a model without a Q head.
    pub q_halt: Option<Vec<f32>>,
}

/// The way to the answers, segment by segment, as an iterator that ends when the last question has stopped.
///
/// Of several rollouts, only the one that counts is shown.
#[derive(Debug, Clone)]
pub struct Solving {
    segments: std::vec::IntoIter<SolvedSegment>,
    rollouts: Vec<usize>,
}

/// The way to one answer.
#[derive(Debug, Clone, Default)]
struct Path {
    rollout: usize,
    thoughts: Vec<Thought>,
}

/// What a model thinks of one question after a segment.
#[derive(Debug, Clone)]
struct Thought {
    prediction: Vec<i32>,
    q_halt: Option<f32>,
}

impl Solving {
    pub(super) fn new(
        session: &mut Session,
        model: &Model,
        puzzle_rows: usize,
        questions: &[Question],
    ) -> Result<Self, RuntimeError> {
        let batch = slots::slots(session, SCOPE);
        if questions.len() > batch {
            return Err(RuntimeError::unsuitable(format!(
                "cannot solve {} puzzles at once; the program was compiled for {batch}",
                questions.len()
            )));
        }
        for question in questions {
            check(model, puzzle_rows, question)?;
        }
        let labels = vec![IGNORED_LABEL; model.tokens.positions];
        // Slots without a question get the first token everywhere; nobody looks at their answer.
        let filler = Question { tokens: vec![0; model.tokens.positions], puzzle: 0 };
        for slot in 0..batch {
            let Question { tokens, puzzle } = questions.get(slot).unwrap_or(&filler);
            slots::put(session, SCOPE, slot, SlotRow { tokens, labels: &labels, puzzle: *puzzle });
        }
        let paths = seek(session, model, questions.len())?;
        let most = paths.iter().map(|path| path.thoughts.len()).max().unwrap_or(0);
        let segments: Vec<SolvedSegment> = (0..most)
            .map(|segment| {
                let thoughts: Vec<&Thought> =
                    paths.iter().map(|path| &path.thoughts[segment.min(path.thoughts.len() - 1)]).collect();
                SolvedSegment {
                    segment: segment + 1,
                    predictions: thoughts.iter().map(|thought| thought.prediction.clone()).collect(),
                    q_halt: thoughts.iter().map(|thought| thought.q_halt).collect(),
                }
            })
            .collect();
        let rollouts = paths.iter().map(|path| path.rollout).collect();
        Ok(Solving { segments: segments.into_iter(), rollouts })
    }

    /// Returns which rollout counts for each question, from 0; always the first where there is one.
    pub fn rollouts(&self) -> &[usize] {
        &self.rollouts
    }
}

impl Iterator for Solving {
    type Item = SolvedSegment;

    fn next(&mut self) -> Option<SolvedSegment> {
        self.segments.next()
    }
}

/// Seeks the answers to the questions in the slots and returns the way to each.
fn seek(session: &mut Session, model: &Model, questions: usize) -> Result<Vec<Path>, DeviceError> {
    let mut best = vec![Path::default(); questions];
    let mut current = best.clone();
    infer(session, model, 0, questions, &mut |pass| {
        let q_halt = SCOPE.q_halt();
        for (row, path) in current.iter_mut().enumerate().filter(|(row, _)| pass.active[*row]) {
            if pass.segment == 1 {
                *path = Path { rollout: pass.rollout, thoughts: Vec::new() };
            }
            path.thoughts.push(Thought {
                prediction: slots::prediction(pass.session, SCOPE, row),
                q_halt: pass.session.has(&q_halt).then(|| pass.session.f32(&q_halt)[row]),
            });
            if pass.surest[row] {
                best[row].clone_from(path);
            }
        }
    })?;
    Ok(best)
}

fn check(model: &Model, puzzle_rows: usize, question: &Question) -> Result<(), RuntimeError> {
    let tokens = &model.tokens;
    if question.tokens.len() != tokens.positions {
        return Err(RuntimeError::unsuitable(format!(
            "the puzzle has {} tokens, but the model `{}` takes {}",
            question.tokens.len(),
            model.name,
            tokens.positions
        )));
    }
    let known = |&token: &i32| usize::try_from(token).is_ok_and(|token| token < tokens.vocab);
    if let Some(position) = question.tokens.iter().position(|token| !known(token)) {
        return Err(RuntimeError::unsuitable(format!(
            "token {} at position {position} of the puzzle is outside the vocabulary of {}",
            question.tokens[position], tokens.vocab
        )));
    }
    let in_table = usize::try_from(question.puzzle).is_ok_and(|puzzle| puzzle < puzzle_rows);
    if model.puzzles.is_some() && !in_table {
        return Err(RuntimeError::unsuitable(format!(
            "puzzle identifier {} is not one of the {puzzle_rows} of the model `{}`",
            question.puzzle, model.name
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing;

    #[test]
    fn a_puzzle_is_refined_segment_by_segment() {
        let mut evaluator = testing::evaluator();
        let questions = [testing::question(0), testing::question(1)];
        let segments: Vec<SolvedSegment> = evaluator.solve(&questions).expect("fits").collect();
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
        let first: Vec<SolvedSegment> = evaluator.solve(&questions).expect("fits").collect();
        let second: Vec<SolvedSegment> = evaluator.solve(&questions).expect("fits").collect();
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
        assert_eq!(refusal(&[short]), "the puzzle has 3 tokens, but the model `tiny` takes 16");
        let mut strange = good.clone();
        strange.tokens[5] = 6;
        assert_eq!(refusal(&[strange]), "token 6 at position 5 of the puzzle is outside the vocabulary of 6");
        let foreign = Question { puzzle: 9, ..good.clone() };
        assert_eq!(refusal(&[foreign]), "puzzle identifier 9 is not one of the 1 of the model `tiny`");
        let many = vec![good; testing::BATCH + 1];
        assert_eq!(refusal(&many), "cannot solve 5 puzzles at once; the program was compiled for 4");
    }
}
