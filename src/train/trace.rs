//! The states of a model after every update, while it solves a puzzle.

use serde::Serialize;

use super::error::Error;
use super::slots;
use super::solve::{Question, check, put};
use crate::device::{Device, DeviceError, EngineOptions, Session};
use crate::ir::{Model, unroll};
use crate::lower::names::{self, Scope};
use crate::lower::parameters::parameters;
use crate::lower::{Program, Sizes};
use crate::pipeline::executable;

/// Name the program is loaded under.
const PROGRAM: &str = "trace";

const SCOPE: Scope = Scope::Evaluate;

/// A state after one update of the loop nest.
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
/// for update in solver.trace(&question, 2)? {
///     let positions = update.values.chunks(update.width).count();
///     println!("{} in segment {} moved by {:.3}", update.state, update.segment, update.moved);
///     assert!(positions >= 36);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateUpdate {
    /// Segment, counted from 1.
    pub segment: usize,
    /// Iteration of each loop around the update, outermost first, counted from 1.
    pub iterations: Vec<usize>,
    /// Name of the state.
    pub state: String,
    /// Relative distance by which the state moved, `|after - before| / |before|` over all positions.
    pub moved: f64,
    /// The state after the update, `[P + S, D]` row by row: the positions of the puzzle prefix, then the tokens.
    pub values: Vec<f32>,
    /// Width of the model, `D`.
    pub width: usize,
}

/// A model whose states can be read after every update.
pub(super) struct Tracer {
    model: Model,
    session: Session,
    puzzle_rows: usize,
}

impl Tracer {
    pub(super) fn new(
        model: Model,
        sizes: Sizes,
        device: &dyn Device,
        options: &EngineOptions,
    ) -> Result<Tracer, Error> {
        let mut session = Session::open(device, options)?;
        session.load(PROGRAM, executable(&model, Program::Trace, sizes, device))?;
        Ok(Tracer { model, session, puzzle_rows: sizes.puzzle_rows })
    }

    /// Takes the weights of another session of the model.
    pub(super) fn take_weights(&mut self, from: &Session) -> Result<(), DeviceError> {
        for parameter in parameters(&self.model, self.puzzle_rows) {
            let name = names::parameter(&parameter.name);
            if self.session.has(&name) {
                self.session.f32_mut(&name)?.copy_from_slice(from.f32(&name)?);
            }
        }
        Ok(())
    }

    /// Runs segments on one question, from the initial states.
    pub(super) fn trace(&mut self, question: &Question, segments: usize) -> Result<Vec<StateUpdate>, Error> {
        check(&self.model, self.puzzle_rows, question)?;
        put(&mut self.session, &self.model, std::slice::from_ref(question))?;
        let mut found = Vec::new();
        for segment in 1..=segments {
            let reset = if segment == 1 { 1.0 } else { 0.0 };
            slots::set_reset(&mut self.session, SCOPE, &[reset])?;
            self.session.run(PROGRAM)?;
            let begun = self.model.states.iter().map(|state| SCOPE.begun(&state.name));
            let mut newest: Vec<String> = begun.collect();
            for (index, unrolled) in unroll(&self.model).into_iter().enumerate() {
                let (state, after) = (unrolled.update.state.0, SCOPE.updated(index));
                let values = self.session.f32(&after)?.to_vec();
                found.push(StateUpdate {
                    segment,
                    iterations: unrolled.iterations.iter().map(|iteration| iteration + 1).collect(),
                    state: self.model.states[state].name.clone(),
                    moved: distance(self.session.f32(&newest[state])?, &values),
                    values,
                    width: self.model.hidden,
                });
                newest[state] = after;
            }
        }
        Ok(found)
    }
}

/// Returns `|after - before| / |before|`.
fn distance(before: &[f32], after: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let pairs = before.iter().zip(after);
    let moved = squares(&mut pairs.map(|(before, after)| f64::from(*after) - f64::from(*before)));
    (moved / squares(&mut before.iter().map(|&value| f64::from(value)))).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;
    use crate::train::infer;
    use crate::train::init::initialize;
    use crate::train::testing;

    fn tracer(model: Model) -> Tracer {
        let sizes = Sizes { batch: 1, puzzle_rows: testing::PUZZLE_ROWS };
        let mut tracer =
            Tracer::new(model, sizes, &Cpu, &EngineOptions { threads: 1 }).expect("the model is tiny");
        let all = parameters(&tracer.model, testing::PUZZLE_ROWS);
        initialize(&mut tracer.session, &all, 1).expect("the processor does not fail");
        tracer
    }

    #[test]
    fn every_update_of_every_segment_is_seen() {
        let found = tracer(testing::model()).trace(&testing::question(0), 2).expect("it fits");
        let seen: Vec<(usize, &[usize], &str)> = found
            .iter()
            .map(|update| (update.segment, update.iterations.as_slice(), update.state.as_str()))
            .collect();
        let segment = |number| {
            [
                (number, [1].as_slice(), "z_low"),
                (number, &[1], "z_high"),
                (number, &[2], "z_low"),
                (number, &[2], "z_high"),
            ]
        };
        assert_eq!(seen, [segment(1), segment(2)].concat());
        assert!(found.iter().all(|update| update.moved > 0.0 && update.values.len() == 17 * 16));
    }

    #[test]
    fn the_last_states_are_those_of_the_evaluation() {
        let found = tracer(testing::model()).trace(&testing::question(0), 1).expect("it fits");
        let mut evaluator = testing::evaluator_of(testing::model(), 1);
        put(evaluator.session_mut(), &testing::model(), &[testing::question(0)]).expect("it is here");
        slots::set_reset(evaluator.session_mut(), SCOPE, &[1.0]).expect("it is here");
        evaluator.session_mut().run(infer::PROGRAM).expect("the processor does not fail");
        for state in ["z_low", "z_high"] {
            let last = found.iter().rfind(|update| update.state == state).expect("it is updated");
            let carry = evaluator.session().f32(&SCOPE.carry(state)).expect("it is here");
            assert_eq!(last.values, carry, "{state}");
        }
    }

    #[test]
    fn distances_are_relative_to_the_state_before() {
        assert_eq!(distance(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(distance(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
    }
}
