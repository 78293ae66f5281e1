//! The launches of CUDA for a model.

use crate::device::cuda::card::Card;
use crate::device::cuda::report::LaunchReport;
use crate::ir::Model;
use crate::lower::{Program, Sizes};
use crate::pipeline::compile_for;
use crate::plan::Demands;

impl LaunchReport {
    /// Compiles `model` for CUDA and returns what CUDA runs, with the time that a card should take at best.
    pub fn of(model: &Model, sizes: Sizes, card: Card) -> LaunchReport {
        launches(model, sizes, card)
    }
}

fn launches(model: &Model, sizes: Sizes, card: Card) -> LaunchReport {
    let demands = Demands::cuda(model.precision());
    let averaged = model.train.as_ref().is_some_and(|train| train.ema.is_some());
    let train = model.train.as_ref().map(|_| compile_for(model, Program::Train, sizes, demands));
    let evaluate = compile_for(model, Program::Evaluate { averaged }, sizes, demands);
    let training = train.iter().map(|compiled| ("a training segment", &compiled.plan));
    let programs: Vec<_> = training.chain([("an evaluation segment", &evaluate.plan)]).collect();
    LaunchReport::of_plans(&programs, card)
}

#[cfg(test)]
mod tests {
    use crate::device::cuda::card::Card;
    use crate::device::cuda::report::LaunchReport;
    use crate::lower::Sizes;
    use crate::spec::Spec;

    #[test]
    fn a_report_serialises() {
        let sizes = Sizes { batch: 2, puzzle_rows: 1 };
        let report = LaunchReport::of(Spec::quickstart().model(), sizes, Card::H200);
        let report = serde_json::to_value(report).expect("it is plain data");
        assert_eq!(report["card"], "H200");
        assert_eq!(report["programs"].as_array().map(Vec::len), Some(2));
    }
}
