//! What is summed up while trajectories go by.

use super::{
    AdaptiveHalting, COMPONENTS, DRAWN_TRAJECTORIES, ExplainRequest, Participation, Residual,
    StateExplanation, UpdateAccuracy, shares,
};
use crate::data::puzzle::is_valid_solution;
use crate::data::{IGNORED_LABEL, PuzzleKind};
use crate::ir::{Halt, Model};
use crate::measures::Covariance;
use crate::train::{SeenSegment, SeenUpdate};

/// Sums over the trajectories of one state.
pub(super) struct StateSums {
    /// For each update of the state in each segment: its segment and its number among all updates.
    places: Vec<(usize, usize)>,
    /// Sum of the residuals at each of them.
    residuals: Vec<f64>,
    /// Rows that were seen at the last update.
    rows: usize,
    /// The points of the trajectories in the slots, which go on.
    open: Vec<Vec<Vec<f64>>>,
    covariance: Covariance,
    /// The first trajectories.
    drawn: Vec<Vec<Vec<f64>>>,
    /// Participation ratios for more and more trajectories.
    participation: Vec<(usize, Option<f64>)>,
    /// Trajectories after which the ratio is taken.
    every: usize,
}

impl StateSums {
    pub fn new(width: usize, schedule: &[usize], state: usize, request: &ExplainRequest) -> StateSums {
        let own = |segment: usize| {
            let places = schedule.iter().enumerate().filter(move |(_, of)| **of == state);
            places.map(move |(at, _)| (segment + 1, segment * schedule.len() + at))
        };
        let places: Vec<(usize, usize)> = (0..request.traced).flat_map(own).collect();
        StateSums {
            residuals: vec![0.0; places.len()],
            places,
            rows: 0,
            open: vec![Vec::new(); request.batch],
            covariance: Covariance::new(width),
            drawn: Vec::new(),
            participation: Vec::new(),
            every: request.limit.div_ceil(10).max(1),
        }
    }

    pub fn add(&mut self, seen: &SeenSegment<'_>, update: &SeenUpdate<'_>, point: Vec<f64>) {
        let open = &mut self.open[seen.slot()];
        self.residuals[open.len()] += update.residual();
        open.push(point);
        if open.len() < self.places.len() {
            return;
        }
        // Slots end in the order of their rows, for all take as many segments.
        let trajectory = std::mem::take(open);
        trajectory.iter().for_each(|point| self.covariance.add(point));
        self.rows += 1;
        if self.drawn.len() < DRAWN_TRAJECTORIES {
            self.drawn.push(trajectory);
        }
        if self.rows.is_multiple_of(self.every) {
            self.participation.push((self.rows, self.covariance.participation_ratio()));
        }
    }

    /// Returns what is said about the state; `untrained` are the sums of weights drawn anew.
    pub fn finish(mut self, name: &str, untrained: &StateSums) -> StateExplanation {
        if self.participation.last().is_none_or(|(rows, _)| *rows < self.rows) {
            self.participation.push((self.rows, self.covariance.participation_ratio()));
        }
        let residual = |(&(segment, update), sum): (&(usize, usize), &f64)| Residual {
            segment,
            update,
            residual: sum / self.rows as f64,
        };
        let of_untrained = |rows: usize| {
            let found = untrained.participation.iter().find(|(found, _)| *found == rows);
            found.map_or_else(|| untrained.covariance.participation_ratio(), |(_, ratio)| *ratio)
        };
        let (mean, components) = (self.covariance.mean(), self.covariance.components(COMPONENTS));
        let place = |point: &Vec<f64>| {
            [0, 1].map(|at| components.get(at).map_or(0.0, |component| component.place(point, &mean)))
        };
        StateExplanation {
            state: name.to_string(),
            residuals: self.places.iter().zip(&self.residuals).map(residual).collect(),
            component_shares: shares(&components),
            trajectories: self.drawn.iter().map(|points| points.iter().map(place).collect()).collect(),
            participation: self
                .participation
                .iter()
                .map(|&(trajectories, trained)| Participation {
                    trajectories,
                    trained,
                    untrained: of_untrained(trajectories),
                })
                .collect(),
        }
    }
}

/// Sums over the answers after every update.
pub(super) struct UpdateSums {
    updates: usize,
    sums: Vec<AnswerSums>,
    /// The newest answer in each slot.
    before: Vec<Vec<i32>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct AnswerSums {
    cells: f64,
    right: usize,
    changed: usize,
}

impl UpdateSums {
    pub fn new(updates: usize, request: &ExplainRequest) -> UpdateSums {
        let sums = vec![AnswerSums::default(); updates * request.traced];
        UpdateSums { updates, sums, before: vec![Vec::new(); request.batch] }
    }

    pub fn add(
        &mut self,
        seen: &SeenSegment<'_>,
        update: &SeenUpdate<'_>,
        rule: Option<PuzzleKind>,
        vocab: usize,
    ) {
        let at = (seen.segment() - 1) * self.updates + update.index;
        let (question, labels) = (&seen.asked.tokens, &seen.asked.labels);
        let before = &mut self.before[seen.slot()];
        if at == 0 {
            before.clone_from(question);
        }
        let tokens = update.tokens(vocab);
        let counted = labels.iter().zip(&tokens).filter(|(label, _)| **label != IGNORED_LABEL);
        let (right, counted) = counted.fold((0, 0), |(right, counted), (label, token)| {
            (right + usize::from(label == token), counted + 1)
        });
        let is_exact = counted > 0 && right == counted;
        let is_right = rule.map_or(is_exact, |kind| is_valid_solution(kind, question, &tokens));
        let sums = &mut self.sums[at];
        sums.cells += if counted > 0 { right as f64 / counted as f64 } else { 0.0 };
        sums.right += usize::from(is_right);
        sums.changed += before.iter().zip(&tokens).filter(|(before, after)| before != after).count();
        *before = tokens;
    }

    pub fn finish(self, puzzles: usize) -> Vec<UpdateAccuracy> {
        let mean = |(update, sums): (usize, &AnswerSums)| UpdateAccuracy {
            segment: update / self.updates + 1,
            update,
            cells: sums.cells / puzzles as f64,
            right: sums.right as f64 / puzzles as f64,
            changed: sums.changed as f64 / puzzles as f64,
        };
        self.sums.iter().enumerate().map(mean).collect()
    }
}

/// Sums over rows that stop when the halting policy says so.
pub(super) struct AdaptiveSums {
    limits: Vec<LimitSums>,
    /// Segments and outcome of the row in each slot since it stopped.
    stopped: Vec<Option<(usize, bool)>>,
}

#[derive(Debug, Clone, Copy)]
struct LimitSums {
    most: usize,
    segments: usize,
    right: usize,
    right_with_all: usize,
}

impl AdaptiveSums {
    /// Limits are 2, 4, 8 and so on, up to the largest number of segments in training.
    pub fn new(model: &Model, batch: usize) -> AdaptiveSums {
        let most = match model.halt {
            Halt::Fixed { .. } => 0,
            _ => model.max_segments(),
        };
        let mut limits: Vec<usize> = std::iter::successors(Some(2), |limit| Some(2 * limit))
            .take_while(|&limit| limit < most)
            .collect();
        limits.extend((most > 1).then_some(most));
        let sums = |most| LimitSums { most, segments: 0, right: 0, right_with_all: 0 };
        AdaptiveSums { limits: limits.into_iter().map(sums).collect(), stopped: vec![None; batch] }
    }

    /// Returns whether a segment is at or before the largest limit.
    pub fn wants(&self, segment: usize) -> bool {
        self.limits.last().is_some_and(|limit| segment <= limit.most)
    }

    pub fn add(&mut self, seen: &SeenSegment<'_>, is_right: bool) {
        let segment = seen.segment();
        if !self.wants(segment) {
            return;
        }
        let stopped = &mut self.stopped[seen.slot()];
        if segment == 1 {
            *stopped = None;
        }
        if seen.wants_to_halt() {
            stopped.get_or_insert((segment, is_right));
        }
        for limit in self.limits.iter_mut().filter(|limit| limit.most == segment) {
            let (segments, is_right_then) = stopped.unwrap_or((segment, is_right));
            limit.segments += segments;
            limit.right += usize::from(is_right_then);
            limit.right_with_all += usize::from(is_right);
        }
    }

    pub fn finish(self, puzzles: usize) -> Vec<AdaptiveHalting> {
        let mean = |count: usize| count as f64 / puzzles as f64;
        let halting = |limit: LimitSums| AdaptiveHalting {
            most: limit.most,
            mean_segments: mean(limit.segments),
            right: mean(limit.right),
            right_with_all: mean(limit.right_with_all),
        };
        self.limits.into_iter().map(halting).collect()
    }
}
