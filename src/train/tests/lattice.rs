//! Models with candidates, in training and in search.

use std::ops::ControlFlow;

use crate::lower::names::Scope;
use crate::train::testing;
use crate::train::{Evaluation, EvaluationRequest, RowAnswer, StoppedBy, Trainer};

fn trained(threads: usize, steps: usize) -> Trainer {
    let mut trainer = Trainer::new(testing::parts_of(testing::lattice(), threads)).expect("it fits");
    for _ in 0..steps {
        testing::step(&mut trainer);
    }
    trainer
}

fn evaluate(trainer: &mut Trainer) -> Evaluation {
    let request = EvaluationRequest { keep_answers: usize::MAX, ..EvaluationRequest::default() };
    let data = testing::data().test;
    let whole = &mut |_| ControlFlow::Continue(());
    trainer.evaluate(&data, request, whole, &mut |_, _| {}).expect("fits").expect("not stopped")
}

#[test]
fn it_learns_and_never_gives_a_wrong_answer_as_solved() {
    let mut model = testing::lattice();
    let train = model.train.as_mut().expect("the model is trained");
    (train.batch, train.accumulate) = (32, 2);
    let mut parts = testing::parts_of(model, 2);
    parts.total_steps = 500;
    let mut trainer = Trainer::new(parts).expect("it fits");
    let loss = |trainer: &mut Trainer, steps: usize| {
        (0..steps).map(|_| testing::step(trainer).means().loss).sum::<f64>() / steps as f64
    };
    let first = loss(&mut trainer, 10);
    loss(&mut trainer, 480);
    let last = loss(&mut trainer, 10);
    assert!(last < 0.6 * first, "{first} to {last}");
    let evaluation = evaluate(&mut trainer);
    let means = evaluation.means();
    let deduction = means.deduction.expect("the model has candidates");
    assert!(deduction.removed.expect("it was looked at") > 0.4, "{deduction:?}");
    let is_solved = |answer: &&RowAnswer| !answer.abstained;
    assert!(evaluation.answers.iter().filter(is_solved).count() > 5, "{means:?}");
    for answer in evaluation.answers.iter().filter(is_solved) {
        assert_eq!((answer.valid, answer.stopped_by), (Some(true), StoppedBy::Solved));
    }
    for answer in evaluation.answers.iter().filter(|answer| answer.abstained) {
        assert_eq!((answer.valid, answer.segments, answer.passes), (Some(false), 20, 60));
        assert!(!answer.equals_label());
    }
}

#[test]
fn a_step_has_the_same_bytes_for_any_number_of_threads() {
    let bytes = |threads| {
        let mut trainer = trained(threads, 4);
        let reports: Vec<_> = (0..4).map(|_| testing::step(&mut trainer)).collect();
        let deduced = trainer.session().f32(&Scope::Train.deduced()).expect("it is on the host").to_vec();
        (reports, deduced)
    };
    assert_eq!(bytes(1), bytes(2));
}

#[test]
fn a_search_finds_the_same_answers_beside_any_other_rows() {
    let mut trainer = trained(2, 60);
    let all = evaluate(&mut trainer);
    let mut model = testing::lattice();
    model.train.as_mut().expect("the model is trained").batch = 4;
    let mut parts = testing::parts_of(model, 1);
    parts.evaluate_batch = 2;
    let mut other = Trainer::new(parts).expect("it fits");
    for name in trainer.parameters().iter().map(|parameter| crate::lower::names::parameter(&parameter.name)) {
        let weights = trainer.session().f32(&name).expect("it is on the host").to_vec();
        other.session_mut().f32_mut(&name).expect("it is on the host").copy_from_slice(&weights);
    }
    let few = evaluate(&mut other);
    assert_eq!(all.answers, few.answers);
}

#[test]
fn a_training_goes_on_from_a_checkpoint_with_the_same_rows() {
    let folder = tempfile::tempdir().expect("there is room");
    let place = folder.path().join("last");
    let mut trainer = trained(2, 5);
    let before = crate::store::checkpoint::Before::Removed;
    trainer.save(&place, before, crate::train::Record::default()).expect("it is written");
    let mut other = trained(1, 0);
    other.restore(&place).expect("it is read");
    for _ in 0..5 {
        assert_eq!(testing::step(&mut trainer), testing::step(&mut other));
    }
}

#[test]
fn accumulated_gradients_are_those_of_the_whole_batch() {
    // Without dropout and clipping, all that differs is the order of sums.
    let steps = |ranges: usize| {
        let mut model = testing::model();
        let train = model.train.as_mut().expect("the model is trained");
        (train.batch, train.accumulate) = (8, ranges);
        let mut trainer = Trainer::new(testing::parts_of(model, 2)).expect("it fits");
        (0..6).map(|_| testing::step(&mut trainer)).collect::<Vec<_>>()
    };
    let whole = steps(1);
    for ranges in [2, 8] {
        for (whole, parts) in whole.iter().zip(steps(ranges)) {
            assert_eq!(
                (whole.refilled, whole.halted, whole.flops),
                (parts.refilled, parts.halted, parts.flops)
            );
            let [a, b] = [whole, &parts].map(|report| report.gradient_norm.expect("weights are trained"));
            // Rounding grows from step to step.
            assert!((a / b - 1.0).abs() < 1e-3, "{a} and {b}");
            let [a, b] = [whole, &parts].map(|report| report.means().loss);
            assert!((a / b - 1.0).abs() < 1e-4, "{a} and {b}");
        }
    }
}

#[test]
fn a_long_gradient_is_clipped_and_a_short_one_is_not() {
    let norm_and_loss = |clip| {
        let mut model = testing::model();
        model.train.as_mut().expect("the model is trained").clip = clip;
        let mut trainer = Trainer::new(testing::parts_of(model, 1)).expect("it fits");
        let reports: Vec<_> = (0..8).map(|_| testing::step(&mut trainer)).collect();
        (reports[0].gradient_norm.expect("weights are trained"), reports[7].means().loss)
    };
    let (norm, loss) = norm_and_loss(None);
    let (same_norm, same_loss) = norm_and_loss(Some(1e6));
    assert!(
        (norm / same_norm - 1.0).abs() < 1e-5,
        "the norm before clipping is told: {norm} and {same_norm}"
    );
    assert_eq!(loss, same_loss);
    assert_ne!(loss, norm_and_loss(Some(1e-3)).1);
}
