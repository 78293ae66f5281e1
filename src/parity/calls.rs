//! Runs the calls a fixture records: the training step and the evaluation that people use, on recorded rows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::fixture::Fixture;
use super::{Extent, VerifyError};
use crate::data::{DataError, Dataset, DatasetBuilder, IGNORED_LABEL, Metadata, Row};
use crate::device::{Device, DeviceError, EngineOptions, Session};
use crate::ir::{Halt, Model};
use crate::lower::names::{self, Scope};
use crate::lower::parameters::Role;
use crate::lower::{LOCAL_PUZZLE_ROWS, Program, Sizes};
use crate::train::refill::mask;
use crate::train::{Error, EvaluationRequest, Metrics, Trainer, TrainerParts};

/// Values by name, without `expect.`.
pub(super) type Computed = BTreeMap<String, Vec<f64>>;

/// Runs everything a fixture records, as far as `extent` goes.
pub(super) fn run(
    fixture: &Fixture,
    device: &dyn Device,
    engine: EngineOptions,
    extent: Extent,
) -> Result<Computed, VerifyError> {
    let mut runner = Runner { fixture, device, engine, computed: Computed::new() };
    runner.fixed_weights(extent)?;
    if extent == Extent::Whole {
        runner.training()?;
    }
    Ok(runner.computed)
}

struct Runner<'a> {
    fixture: &'a Fixture,
    device: &'a dyn Device,
    engine: EngineOptions,
    computed: Computed,
}

impl Runner<'_> {
    /// Returns a trainer of `model` that begins where the record does: its weights, carry and slots.
    fn trainer(&self, mut model: Model, program: Program) -> Result<Trainer, VerifyError> {
        let Fixture { batch, puzzle_rows, total_steps, .. } = *self.fixture;
        // The record explores nothing.
        if let Halt::QLearning { explore, .. } | Halt::Bce { explore, .. } = &mut model.halt {
            *explore = 0.0;
        }
        let parts = TrainerParts {
            model,
            device: self.device,
            engine: self.engine,
            sizes: Sizes { batch, puzzle_rows },
            evaluate_batch: batch,
            data: Arc::new(self.dataset()?),
            augment: None,
            seed: 0,
            total_steps,
        };
        let mut trainer = Trainer::with_program(parts, program)?;
        let parameters = trainer.parameters().to_vec();
        let session = trainer.session_mut();
        for parameter in &parameters {
            let values = self.fixture.f32(&format!("param.{}", parameter.name));
            for memory in [names::parameter(&parameter.name), names::average(&parameter.name)] {
                if session.has(&memory) {
                    session.f32_mut(&memory)?.copy_from_slice(values);
                }
            }
        }
        for (state, recorded) in self.fixture.model.states.iter().zip(self.fixture.state_names()) {
            let values = self.fixture.f32(&format!("carry.{recorded}"));
            session.f32_mut(&Scope::Train.carry(&state.name))?.copy_from_slice(values);
        }
        let steps = self.fixture.i32("carry.steps").iter().map(|&steps| steps as u32).collect();
        let halted = self.fixture.i32("carry.halted").iter().map(|&halted| halted != 0).collect();
        trainer.set_slots(&self.rows("carry"), steps, halted)?;
        Ok(trainer)
    }

    /// Returns recorded rows, one for each slot.
    fn rows(&self, prefix: &str) -> Vec<Row> {
        let width = self.fixture.model.tokens.positions;
        let [inputs, labels, puzzles] = ["inputs", "labels", "puzzle_identifiers"]
            .map(|array| self.fixture.i32(&format!("{prefix}.{array}")));
        let rows = inputs.chunks(width).zip(labels.chunks(width)).zip(puzzles);
        rows.map(|((inputs, labels), &puzzle)| Row {
            inputs: inputs.to_vec(),
            labels: labels.to_vec(),
            puzzle,
        })
        .collect()
    }

    /// Returns the first recorded batch as a dataset.
    fn dataset(&self) -> Result<Dataset, DataError> {
        let tokens = &self.fixture.model.tokens;
        let mut builder = DatasetBuilder::new(Metadata {
            ignore_label_id: Some(IGNORED_LABEL),
            num_puzzle_identifiers: self.fixture.puzzle_rows.max(1),
            ..Metadata::new(tokens.vocab, tokens.positions)
        })?;
        for row in self.rows("batch.0") {
            builder.add_example(&row.inputs, &row.labels)?;
            builder.end_puzzle(row.puzzle)?;
            builder.end_group()?;
        }
        builder.finish()
    }

    /// Does a step in which slots that halted take their rows of a recorded batch.
    fn step(&self, trainer: &mut Trainer, batch: usize) -> Result<Metrics, Error> {
        let halted = trainer.slots().1.to_vec();
        let offered = self.rows(&format!("batch.{batch}")).into_iter().zip(halted);
        let rows: Vec<Row> = offered.filter(|(_, halted)| *halted).map(|(row, _)| row).collect();
        trainer.step_on(&rows).map(|report| report.metrics)
    }

    /// Calls with fixed weights: segments of training with the gradients of the first, then evaluation.
    fn fixed_weights(&mut self, extent: Extent) -> Result<(), VerifyError> {
        // Without averages, evaluation reads the weights themselves.
        let mut plain = self.fixture.model.clone();
        plain.train.iter_mut().for_each(|train| train.ema = None);
        let mut trainer = self.trainer(plain, Program::Gradients)?;
        let scope = Scope::Train;
        let segments = if extent == Extent::Whole { self.fixture.segments } else { 1 };
        for segment in 0..segments {
            let metrics = self.step(&mut trainer, segment)?;
            let prefix = format!("segment.{segment}");
            self.record_outputs(&prefix, trainer.session(), scope)?;
            self.record_metrics(&prefix, &metrics);
            self.record_slots(&prefix, &trainer);
            let session = trainer.session();
            if session.has(&scope.target_q_continue()) {
                let name = format!("{prefix}.target_q_continue");
                self.record(name, session.f32(&scope.target_q_continue())?);
            }
            for (state, recorded) in self.fixture.model.states.iter().zip(self.fixture.state_names()) {
                self.record(format!("{prefix}.{recorded}"), session.f32(&scope.carry(&state.name))?);
            }
            if segment == 0 {
                let trained = trainer.parameters().iter().filter(|parameter| parameter.role == Role::Trained);
                let names = trained
                    .map(|parameter| parameter.name.clone())
                    .chain(self.fixture.model.puzzles.is_some().then(|| LOCAL_PUZZLE_ROWS.to_string()));
                for name in names {
                    self.record(format!("grad.{name}"), session.f32(&scope.gradient(&name))?);
                }
            }
        }
        if extent == Extent::Whole {
            self.evaluation(&mut trainer, "eval")?;
        }
        Ok(())
    }

    /// Evaluates the first batch from an empty carry until every row has done its segments.
    fn evaluation(&mut self, trainer: &mut Trainer, prefix: &str) -> Result<(), VerifyError> {
        let whole = &mut |_| ControlFlow::Continue(());
        let evaluation =
            trainer.evaluate(&self.dataset()?, EvaluationRequest::default(), whole, &mut |_, _| {})?;
        let metrics = evaluation.expect("nothing stops it").metrics;
        self.record_outputs(prefix, trainer.session(), Scope::Evaluate)?;
        self.record_metrics(prefix, &metrics);
        Ok(())
    }

    /// Optimizer steps, and the evaluation with the averages after them.
    fn training(&mut self) -> Result<(), VerifyError> {
        let mut trainer = self.trainer(self.fixture.model.clone(), Program::Train)?;
        for step in 1..=self.fixture.optimizer_steps {
            let metrics = self.step(&mut trainer, step - 1)?;
            let prefix = format!("train.{step}");
            self.record_outputs(&prefix, trainer.session(), Scope::Train)?;
            self.record_metrics(&prefix, &metrics);
            self.record_slots(&prefix, &trainer);
            let session = trainer.session();
            for parameter in trainer.parameters() {
                let name = &parameter.name;
                self.record(format!("{prefix}.param.{name}"), session.f32(&names::parameter(name))?);
                if session.has(&names::average(name)) {
                    self.record(format!("{prefix}.ema.{name}"), session.f32(&names::average(name))?);
                }
            }
        }
        if self.fixture.ema().is_some() {
            self.evaluation(&mut trainer, "ema_eval")?;
        }
        Ok(())
    }

    fn record(&mut self, name: String, values: &[f32]) {
        self.computed.insert(name, values.iter().map(|&value| f64::from(value)).collect());
    }

    fn record_outputs(&mut self, prefix: &str, session: &Session, scope: Scope) -> Result<(), DeviceError> {
        self.record(format!("{prefix}.logits"), session.f32(&scope.logits())?);
        self.record(format!("{prefix}.q_halt_logits"), session.f32(&scope.q_halt())?);
        self.record(format!("{prefix}.q_continue_logits"), session.f32(&scope.q_continue())?);
        Ok(())
    }

    fn record_metrics(&mut self, prefix: &str, metrics: &Metrics) {
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

    fn record_slots(&mut self, prefix: &str, trainer: &Trainer) {
        let (steps, halted) = trainer.slots();
        let steps: Vec<f32> = steps.iter().map(|&steps| steps as f32).collect();
        self.record(format!("{prefix}.halted"), &mask(halted.iter().copied()));
        self.record(format!("{prefix}.steps"), &steps);
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
