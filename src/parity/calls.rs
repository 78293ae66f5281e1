//! Runs the calls a fixture records.

use std::collections::BTreeMap;

use super::fixture::Fixture;
use super::{Extent, VerifyError};
use crate::device::{Device, DeviceError, Session};
use crate::lower::names::{self, Scope};
use crate::lower::parameters::{Parameter, Role, parameters};
use crate::lower::{LOCAL_PUZZLE_ROWS, Program, Sizes};
use crate::pipeline::executable;
use crate::train::halting::{SlotOutcome, halts, is_last};
use crate::train::metrics::{Metrics, SegmentRows};
use crate::train::refill::{mask, refill};
use crate::train::schedule::step_scalars;

/// Values by name, without `expect.`.
pub(super) type Computed = BTreeMap<String, Vec<f64>>;

const FIXED: &str = "fixed";
const TRAIN: &str = "train";
const EVALUATE: &str = "evaluate";
const EVALUATE_AVERAGE: &str = "evaluate_average";

pub(super) struct Runner<'a> {
    fixture: &'a Fixture,
    session: Session,
    parameters: Vec<Parameter>,
    slots: Slots,
    computed: Computed,
}

/// What each row of the batch holds.
#[derive(Clone)]
struct Slots {
    inputs: Vec<i32>,
    labels: Vec<i32>,
    puzzles: Vec<i32>,
    steps: Vec<u32>,
    halted: Vec<bool>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        fixture: &'a Fixture,
        device: Device,
        threads: usize,
        extent: Extent,
    ) -> Result<Self, VerifyError> {
        let options = Sizes { batch: fixture.batch, puzzle_rows: fixture.puzzle_rows };
        let mut session = Session::new(threads)?;
        let mut load = |name: &str, program: Program| {
            session.load(name, executable(&fixture.model, program, options, device))
        };
        load(FIXED, Program::Gradients)?;
        if extent == Extent::Whole {
            load(TRAIN, Program::Train)?;
            load(EVALUATE, Program::Evaluate { averaged: false })?;
            if fixture.ema().is_some() {
                load(EVALUATE_AVERAGE, Program::Evaluate { averaged: true })?;
            }
        }
        let parameters = parameters(&fixture.model, fixture.puzzle_rows);
        let slots = Slots::recorded(fixture, "carry");
        Ok(Runner { fixture, session, parameters, slots, computed: Computed::new() })
    }

    pub(super) fn run(mut self, extent: Extent) -> Result<Computed, DeviceError> {
        self.begin()?;
        let segments = if extent == Extent::Whole { self.fixture.segments } else { 1 };
        for segment in 0..segments {
            self.fixed_segment(segment)?;
        }
        if extent == Extent::Whole {
            self.evaluation(EVALUATE, "eval")?;
            self.begin()?;
            for step in 1..=self.fixture.optimizer_steps {
                self.training_step(step)?;
            }
            if self.fixture.ema().is_some() {
                self.evaluation(EVALUATE_AVERAGE, "ema_eval")?;
            }
        }
        Ok(self.computed)
    }

    /// Sets weights, carry and slots to what is recorded, moments to zero and averages to the weights.
    fn begin(&mut self) -> Result<(), DeviceError> {
        let names: Vec<String> = self.session.names().map(|(name, _)| name.to_string()).collect();
        // Content that is only on a device cannot be written over in part.
        names.iter().try_for_each(|name| self.session.fetch(name))?;
        for name in names.iter().filter(|name| name.starts_with("moment")) {
            self.session.f32_mut(name).fill(0.0);
        }
        for parameter in &self.parameters {
            let values = self.fixture.f32(&format!("param.{}", parameter.name));
            for memory in [names::parameter(&parameter.name), names::average(&parameter.name)] {
                if self.session.has(&memory) {
                    self.session.f32_mut(&memory).copy_from_slice(values);
                }
            }
        }
        for (state, recorded) in self.fixture.model.states.iter().zip(self.fixture.state_names()) {
            let values = self.fixture.f32(&format!("carry.{recorded}"));
            self.session.f32_mut(&Scope::Train.carry(&state.name)).copy_from_slice(values);
        }
        self.slots = Slots::recorded(self.fixture, "carry");
        Ok(())
    }

    /// Refills halted slots from a recorded batch and hands everything to the session.
    fn feed(&mut self, batch: usize, scope: Scope) {
        let offered = Slots::recorded(self.fixture, &format!("batch.{batch}"));
        let reset = mask(self.slots.halted.iter().copied());
        self.slots.refill(&offered);
        let halt = &self.fixture.model.halt;
        let at_limit = mask(self.slots.steps.iter().map(|steps| is_last(halt, steps + 1)));
        self.session.i32_mut(&scope.tokens()).copy_from_slice(&self.slots.inputs);
        self.session.i32_mut(&scope.labels()).copy_from_slice(&self.slots.labels);
        if self.session.has(&scope.puzzles()) {
            self.session.i32_mut(&scope.puzzles()).copy_from_slice(&self.slots.puzzles);
        }
        self.session.f32_mut(&scope.reset()).copy_from_slice(&reset);
        if self.session.has(&scope.at_limit()) {
            self.session.f32_mut(&scope.at_limit()).copy_from_slice(&at_limit);
        }
    }

    /// Counts the segment that ran and decides which slots halt; without exploration.
    fn decide(&mut self, scope: Scope, training: bool) {
        let halt = &self.fixture.model.halt;
        let q_halt = self.session.f32(&scope.q_halt());
        let q_continue = self.session.f32(&scope.q_continue());
        for row in 0..self.slots.steps.len() {
            self.slots.steps[row] += 1;
            let steps = self.slots.steps[row];
            let outcome = SlotOutcome {
                steps,
                floor: 1,
                q_halt: Some(q_halt[row]),
                q_continue: Some(q_continue[row]),
                residual: None,
            };
            self.slots.halted[row] = if training { halts(halt, outcome) } else { is_last(halt, steps) };
        }
    }

    fn record(&mut self, name: String, values: &[f32]) {
        self.computed.insert(name, values.iter().map(|&value| f64::from(value)).collect());
    }

    fn record_memory(&mut self, name: String, memory: &str) -> Result<(), DeviceError> {
        self.session.fetch(memory)?;
        let values: Vec<f64> = self.session.f32(memory).iter().map(|&value| f64::from(value)).collect();
        self.computed.insert(name, values);
        Ok(())
    }

    /// Records losses and metrics under `prefix`.
    fn tally(&mut self, prefix: &str, scope: Scope) {
        let session = &self.session;
        let continue_loss = scope.continue_loss();
        let rows = SegmentRows {
            token_loss: session.f32(&scope.token_loss()),
            halt_loss: Some(session.f32(&scope.halt_loss())),
            continue_loss: session.has(&continue_loss).then(|| session.f32(&continue_loss)),
            right: session.f32(&scope.right()),
            counted: session.f32(&scope.counted()),
            q_halt: Some(session.f32(&scope.q_halt())),
            steps: &self.slots.steps,
            halted: &self.slots.halted,
        };
        let metrics = Metrics::of(&rows, self.slots.steps.len());
        self.computed.insert(format!("{prefix}.loss"), vec![metrics.loss()]);
        let named = [
            ("count", Some(metrics.count as f64)),
            ("accuracy", Some(metrics.accuracy)),
            ("exact_accuracy", Some(metrics.exact_accuracy)),
            ("q_halt_accuracy", metrics.q_halt_accuracy),
            ("steps", Some(metrics.steps)),
            ("lm_loss", Some(metrics.token_loss)),
            ("q_halt_loss", metrics.halt_loss),
            ("q_continue_loss", metrics.continue_loss),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                self.computed.insert(format!("{prefix}.metric.{name}"), vec![value]);
            }
        }
    }

    fn outputs(&mut self, prefix: &str, scope: Scope) -> Result<(), DeviceError> {
        self.record_memory(format!("{prefix}.logits"), &scope.logits())?;
        self.record_memory(format!("{prefix}.q_halt_logits"), &scope.q_halt())?;
        self.record_memory(format!("{prefix}.q_continue_logits"), &scope.q_continue())?;
        self.tally(prefix, scope);
        Ok(())
    }

    fn fixed_segment(&mut self, segment: usize) -> Result<(), DeviceError> {
        let scope = Scope::Train;
        self.feed(segment, scope);
        self.session.run(FIXED)?;
        self.decide(scope, true);
        let prefix = format!("segment.{segment}");
        self.outputs(&prefix, scope)?;
        if self.session.has(&scope.target_q_continue()) {
            self.record_memory(format!("{prefix}.target_q_continue"), &scope.target_q_continue())?;
        }
        for (state, recorded) in self.fixture.model.states.iter().zip(self.fixture.state_names()) {
            self.record_memory(format!("{prefix}.{recorded}"), &scope.carry(&state.name))?;
        }
        self.record_slots(&prefix);
        if segment == 0 {
            let names: Vec<String> = self
                .parameters
                .iter()
                .filter(|parameter| parameter.role == Role::Trained)
                .map(|parameter| parameter.name.clone())
                .chain(self.fixture.model.puzzles.is_some().then(|| LOCAL_PUZZLE_ROWS.to_string()))
                .collect();
            for name in names {
                self.record_memory(format!("grad.{name}"), &scope.gradient(&name))?;
            }
        }
        Ok(())
    }

    fn record_slots(&mut self, prefix: &str) {
        let halted = mask(self.slots.halted.iter().copied());
        let steps: Vec<f32> = self.slots.steps.iter().map(|&steps| steps as f32).collect();
        self.record(format!("{prefix}.halted"), &halted);
        self.record(format!("{prefix}.steps"), &steps);
    }

    /// Runs the first batch from an empty carry until every slot halts.
    fn evaluation(&mut self, program: &str, prefix: &str) -> Result<(), DeviceError> {
        self.slots.halted.fill(true);
        for _ in 0..self.fixture.model.max_segments() {
            self.feed(0, Scope::Evaluate);
            self.session.run(program)?;
            self.decide(Scope::Evaluate, false);
        }
        self.outputs(prefix, Scope::Evaluate)
    }

    fn training_step(&mut self, step: usize) -> Result<(), DeviceError> {
        let scope = Scope::Train;
        self.feed(step - 1, scope);
        let train = self.fixture.model.train.as_ref().expect("a fixture's model has training settings");
        let scalars = step_scalars(train, step as u64, self.fixture.total_steps);
        let named = [
            (names::STEP_LR, Some(scalars.lr)),
            (names::STEP_SCALE, Some(scalars.step_scale)),
            (names::STEP_ROOT_SCALE, Some(scalars.root_scale)),
            (names::STEP_PUZZLE_LR, scalars.puzzle_lr),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                self.session.f32_mut(name)[0] = value;
            }
        }
        self.session.run(TRAIN)?;
        self.decide(scope, true);
        let prefix = format!("train.{step}");
        self.outputs(&prefix, scope)?;
        self.record_slots(&prefix);
        for parameter in self.parameters.clone() {
            let name = &parameter.name;
            self.record_memory(format!("{prefix}.param.{name}"), &names::parameter(name))?;
            if self.session.has(&names::average(name)) {
                self.record_memory(format!("{prefix}.ema.{name}"), &names::average(name))?;
            }
        }
        Ok(())
    }
}

impl Slots {
    /// Reads slots from the tensors of a carry, or of a batch, which has neither steps nor halted rows.
    fn recorded(fixture: &Fixture, prefix: &str) -> Self {
        let (steps, halted) = if prefix == "carry" {
            let steps = fixture.i32("carry.steps").iter().map(|&steps| steps as u32).collect();
            (steps, fixture.i32("carry.halted").iter().map(|&halted| halted != 0).collect())
        } else {
            (vec![0; fixture.batch], vec![false; fixture.batch])
        };
        Slots {
            inputs: fixture.i32(&format!("{prefix}.inputs")).to_vec(),
            labels: fixture.i32(&format!("{prefix}.labels")).to_vec(),
            puzzles: fixture.i32(&format!("{prefix}.puzzle_identifiers")).to_vec(),
            steps,
            halted,
        }
    }

    fn refill(&mut self, offered: &Slots) {
        let width = self.inputs.len() / self.steps.len();
        let refill = refill(&self.halted, &self.steps);
        for row in refill.slots {
            let cells = row * width..(row + 1) * width;
            self.inputs[cells.clone()].copy_from_slice(&offered.inputs[cells.clone()]);
            self.labels[cells.clone()].copy_from_slice(&offered.labels[cells]);
            self.puzzles[row] = offered.puzzles[row];
        }
        self.steps = refill.steps;
    }
}

impl Fixture {
    pub(super) fn ema(&self) -> Option<f32> {
        self.model.train.as_ref().and_then(|train| train.ema)
    }

    /// Returns the learning rate that moves the weights of a group.
    pub(super) fn learning_rate(&self, group: &str) -> f64 {
        let train = self.model.train.as_ref().expect("a fixture's model has training settings");
        match &train.puzzle_optimizer {
            Some(puzzles) if group.ends_with("puzzle_emb") => f64::from(puzzles.lr),
            _ => f64::from(train.optimizer.adam().lr),
        }
    }
}
