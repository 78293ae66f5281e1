//! What a trained model does with puzzles: the analyses of [arXiv:2506.21734](https://arxiv.org/abs/2506.21734).
//!
//! # What it means
//!
//! A *trajectory* is what the states of a model go through while it works on one puzzle, from the initial states, for a
//! fixed number of segments without halting. A *point* is a state after one update, as the mean over its positions or at
//! one of them.
//!
//! - *Forward residual* (figure 3): `rms(z_i - z_(i-1))` of a state at an update, mean over the puzzles.
//! - *Principal components* (figure 3) of the points of all trajectories, for each state.
//! - *Participation ratio* (figure 8): how many dimensions the points of a state fill, for more and more trajectories;
//!   of the trained weights, and of weights drawn anew.
//! - *Accuracy by update* (figure 7): what the heads would answer after each update, see
//!   [`StateUpdate::tokens`](crate::StateUpdate::tokens).
//! - *More segments at inference* (figure 5c): the report of an evaluation for each of several numbers of segments.
//! - *Adaptive halting* (figure 5a, b): segments and accuracy if rows stop when the halting policy says so, at the latest
//!   after `M` segments, against always `M`.
//!
//! Everything is summed up while the puzzles go by. Of a puzzle, 16 bytes of scores are kept for each number of segments;
//! the points of a trajectory are kept until it ends.

mod sums;

use std::ops::ControlFlow;

use serde::Serialize;

use crate::data::{Dataset, PuzzleKind};
use crate::ir::{Infer, Model, unroll};
use crate::measures::{AnswerReport, Component, Measures, RightBy, judge_row, mean_over_positions};
use crate::train::{AskedRow, Error, SeenSegment, Solver, Tracer, Watching, rule};

use sums::{AdaptiveSums, StateSums, UpdateSums};

/// Rows that are worked on at once unless the user says otherwise: with more, the states of a large model do not fit.
pub const BATCH: usize = 16;

/// Trajectories whose places on the principal components are kept.
const DRAWN_TRAJECTORIES: usize = 3;

/// Principal components that are kept of each state.
const COMPONENTS: usize = 10;

/// Which point stands for a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The mean over its positions.
    Mean,
    /// One position, those of the puzzle vector first.
    Position(usize),
}

impl Point {
    fn of(self, state: &[f32], width: usize) -> Vec<f64> {
        match self {
            Point::Mean => mean_over_positions(state, width),
            Point::Position(position) => state[position * width..(position + 1) * width]
                .iter()
                .map(|&value| f64::from(value))
                .collect(),
        }
    }
}

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainRequest {
    /// Puzzles, from the first.
    pub limit: usize,
    /// Segments of a trajectory.
    pub traced: usize,
    /// Numbers of segments to evaluate with, ascending.
    pub segments: Vec<usize>,
    /// Which point stands for a state.
    pub point: Point,
    /// Rows that are worked on at once.
    pub batch: usize,
}

impl ExplainRequest {
    /// Returns what is asked for by default: trajectories of as many segments as an answer takes, and evaluations with 1,
    /// 2, 4 and so on, up to twice as many.
    pub fn of(model: &Model, limit: usize) -> ExplainRequest {
        let traced = model.inference().segments;
        let mut segments: Vec<usize> = std::iter::successors(Some(1), |count| Some(2 * count))
            .take_while(|&count| count < traced)
            .collect();
        segments.extend([traced, 2 * traced]);
        ExplainRequest { limit, traced, segments, point: Point::Mean, batch: BATCH }
    }

    /// Returns how many segments are run on a puzzle in all: evaluated, traced, and traced without training.
    pub fn passes(&self) -> usize {
        self.most_segments() + 2 * self.traced
    }

    /// Returns the most segments of an evaluation.
    pub fn most_segments(&self) -> usize {
        self.segments.iter().copied().max().unwrap_or(self.traced).max(self.traced)
    }
}

/// What was found about one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Name of the model.
    pub model: String,
    /// Puzzles.
    pub puzzles: usize,
    /// Segments of a trajectory.
    pub segments: usize,
    /// The updates of one segment, by the names of their states.
    pub schedule: Vec<String>,
    /// The states.
    pub states: Vec<StateExplanation>,
    /// The answers after each update of each segment.
    pub by_update: Vec<UpdateAccuracy>,
    /// Evaluations with several numbers of segments.
    pub by_segments: Vec<SegmentsReport>,
    /// Adaptive halting against a fixed number of segments; empty for a model that does not learn to halt.
    pub adaptive: Vec<AdaptiveHalting>,
}

/// What was found about one state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateExplanation {
    /// Its name.
    pub state: String,
    /// How far it moves at each of its updates.
    pub residuals: Vec<Residual>,
    /// Shares of the variance of the first principal components of all trajectories.
    pub component_shares: Vec<f64>,
    /// The first trajectories on the first two components, one point for each update.
    pub trajectories: Vec<Vec<[f64; 2]>>,
    /// Dimensions that the points fill, for more and more trajectories.
    pub participation: Vec<Participation>,
}

/// How far a state moves at one update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Residual {
    /// Segment, from 1.
    pub segment: usize,
    /// The update, counted from 0 over all updates of all segments.
    pub update: usize,
    /// `rms(z_i - z_(i-1))`, mean over the puzzles.
    pub residual: f64,
}

/// The participation ratio of the points of some trajectories.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Participation {
    /// Trajectories.
    pub trajectories: usize,
    /// With the trained weights; `None` if the points are all equal.
    pub trained: Option<f64>,
    /// With weights drawn anew.
    pub untrained: Option<f64>,
}

/// The answers after one update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UpdateAccuracy {
    /// Segment, from 1.
    pub segment: usize,
    /// The update, counted from 0 over all updates of all segments.
    pub update: usize,
    /// Mean over the puzzles of the share of the labels that are right.
    pub cells: f64,
    /// Share of the puzzles that are answered right: by the rules where there are any, else by the label.
    pub right: f64,
    /// Cells that differ from the answer one update earlier, mean over the puzzles.
    pub changed: f64,
}

/// An evaluation with a fixed number of segments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentsReport {
    /// Segments of every puzzle.
    pub segments: usize,
    /// What is said about the answers.
    pub report: AnswerReport,
}

/// Adaptive halting at the latest after some segments, against always so many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AdaptiveHalting {
    /// The most segments, `M`.
    pub most: usize,
    /// Segments that puzzles take, on average.
    pub mean_segments: f64,
    /// Share of the right answers.
    pub right: f64,
    /// The same with `M` segments for every puzzle.
    pub right_with_all: f64,
}

/// Explains what a model does with the first rows of a dataset. `watch` gets how many segments of how many are done, and
/// may stop it; that gives `None`.
///
/// # Errors
///
/// Returns an error if the dataset does not fit the model, memory cannot be had, or a device fails.
///
/// # Panics
///
/// If there are no puzzles, or the point is behind the last position.
pub fn explain(
    solver: &mut Solver,
    dataset: &Dataset,
    request: &ExplainRequest,
    watch: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<Explanation>, Error> {
    let model = solver.model().clone();
    let puzzles = request.limit.min(dataset.examples());
    assert!(puzzles > 0, "there is something to explain");
    let rule = rule(&model, dataset.kind());
    let mut watched = ExplainWork { dataset, puzzles, rule, done: 0, all: puzzles * request.passes(), watch };
    let Some(answers) = watched.evaluate(solver, &model, request)? else { return Ok(None) };
    let mut tracer = solver.new_tracer(request.batch.min(puzzles), false)?;
    let Some(trained) = watched.trace(&mut tracer, &model, request)? else { return Ok(None) };
    tracer.draw_weights(model.train.as_ref().map_or(0, |train| train.seed))?;
    let Some(untrained) = watched.trace(&mut tracer, &model, request)? else { return Ok(None) };

    let states = model.states.iter().zip(trained.states.into_iter().zip(untrained.states));
    Ok(Some(Explanation {
        model: model.name.clone(),
        puzzles,
        segments: request.traced,
        schedule: unroll(&model)
            .iter()
            .map(|update| model.states[update.update.state.0].name.clone())
            .collect(),
        states: states.map(|(state, (trained, untrained))| trained.finish(&state.name, &untrained)).collect(),
        by_update: trained.updates.finish(puzzles),
        by_segments: answers.by_segments,
        adaptive: answers.adaptive,
    }))
}

/// What the evaluation gives.
struct Answers {
    by_segments: Vec<SegmentsReport>,
    adaptive: Vec<AdaptiveHalting>,
}

/// What the traces give.
struct Traced {
    states: Vec<StateSums>,
    updates: UpdateSums,
}

/// The puzzles, and how much of the work is done.
struct ExplainWork<'a> {
    dataset: &'a Dataset,
    puzzles: usize,
    /// The kind by whose rules answers are right, if there are any.
    rule: Option<PuzzleKind>,
    /// Segments that are done, of all puzzles.
    done: usize,
    /// Segments in all.
    all: usize,
    watch: &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>,
}

/// Runs so many segments on every row.
fn fixed(segments: usize) -> Infer {
    Infer { segments, halt: false, settle: None, rollouts: None, check: None }
}

impl ExplainWork<'_> {
    /// Shows every segment of every puzzle to `see`, by way of `run`; returns whether it was stopped.
    fn watch(
        &mut self,
        run: impl FnOnce(Watching<'_>) -> Result<ControlFlow<()>, Error>,
        see: &mut dyn FnMut(&SeenSegment<'_>) -> Result<(), Error>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut rows = 0..self.puzzles;
        let done = std::cell::Cell::new(self.done);
        let dataset = self.dataset;
        let whole = run(Watching {
            next: &mut || Ok(rows.next().map(|row| AskedRow::of(dataset, row))),
            may_run: &mut || (self.watch)(done.get(), self.all),
            see: &mut |seen| {
                done.set(done.get() + 1);
                see(seen)
            },
        });
        self.done = done.get();
        whole
    }

    /// Evaluates with every number of segments in one go.
    fn evaluate(
        &mut self,
        solver: &mut Solver,
        model: &Model,
        request: &ExplainRequest,
    ) -> Result<Option<Answers>, Error> {
        let right_by = if self.rule.is_some() { RightBy::Rules } else { RightBy::Label };
        let measures = |_: &usize| Measures::new(right_by, self.puzzles);
        let mut by_segments: Vec<Measures> = request.segments.iter().map(measures).collect();
        let mut adaptive = AdaptiveSums::new(model, request.batch);
        let (rule, dataset) = (self.rule, self.dataset);
        let whole =
            self.watch(|watching| solver.watch(fixed(request.most_segments()), watching), &mut |seen| {
                let segment = seen.segment();
                let asked = request.segments.iter().position(|&count| count == segment);
                if asked.is_none() && !adaptive.wants(segment) {
                    return Ok(());
                }
                let tokens = seen.answer()?;
                let row = judge_row(rule, &seen.asked.tokens, &tokens, &seen.asked.labels);
                let is_right = row.is_valid.or(row.is_exact()) == Some(true);
                adaptive.add(seen, is_right);
                if let Some(index) = asked {
                    let mut row = row;
                    row.rating = dataset.rating(seen.asked.row);
                    row.segments = segment as u32;
                    row.q_halt = seen.q_halt().map(f64::from);
                    row.drift = Some(f64::from(seen.drift()));
                    by_segments[index].add(&row);
                }
                Ok(())
            })?;
        if whole.is_break() {
            return Ok(None);
        }
        let reports = request.segments.iter().zip(by_segments);
        let report = |(&segments, measures): (&usize, Measures)| SegmentsReport {
            segments,
            report: measures.report(),
        };
        Ok(Some(Answers {
            by_segments: reports.map(report).collect(),
            adaptive: adaptive.finish(self.puzzles),
        }))
    }

    /// Follows the trajectories of all puzzles.
    fn trace(
        &mut self,
        tracer: &mut Tracer,
        model: &Model,
        request: &ExplainRequest,
    ) -> Result<Option<Traced>, Error> {
        let schedule: Vec<usize> = unroll(model).iter().map(|update| update.update.state.0).collect();
        let state = |state| StateSums::new(model.hidden, &schedule, state, request);
        let mut states: Vec<StateSums> = (0..model.states.len()).map(state).collect();
        let mut updates = UpdateSums::new(schedule.len(), request);
        let (rule, vocab) = (self.rule, model.tokens.vocab);
        let whole = self.watch(
            |watching| tracer.watch(fixed(request.traced), watching),
            &mut |seen| {
                for update in seen.updates()? {
                    if !update.is_finite() {
                        return Err(Error::unsuitable(format!(
                            "the model computes numbers that are not finite for row {}, so there is nothing to explain; \
                             its weights are unusable, or too large for this puzzle: take another checkpoint \
                             (`--checkpoint`)",
                            seen.asked.row
                        )));
                    }
                    let point = request.point.of(update.after, model.hidden);
                    states[update.state].add(seen, &update, point);
                    updates.add(seen, &update, rule, vocab);
                }
                Ok(())
            },
        )?;
        Ok(whole.is_continue().then_some(Traced { states, updates }))
    }
}

/// Returns the shares of components.
fn shares(components: &[Component]) -> Vec<f64> {
    components.iter().map(|component| component.share).collect()
}
