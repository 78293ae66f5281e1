//! Trains on rows that the program makes: digits, and the same digits in order. The model is `examples/sorting.hrm`.
//!
//! ```text
//! cargo run --release --example train_own_data
//! ```

use std::error::Error;

use hrmc::{Data, Dataset, Question, Spec, TrainOptions, Training};
use rand::{Rng, SeedableRng, rngs::StdRng};

fn main() -> Result<(), Box<dyn Error>> {
    let spec = Spec::parse("sorting.hrm", include_str!("sorting.hrm"))?;
    let tokens = &spec.model().tokens;

    let mut random = StdRng::seed_from_u64(0);
    let mut rows = |count: usize| -> Vec<(Vec<i32>, Vec<i32>)> {
        let row = |_| {
            let digit = |_| random.random_range(1..tokens.vocab as i32);
            let question: Vec<i32> = (0..tokens.positions).map(digit).collect();
            let mut answer = question.clone();
            answer.sort_unstable();
            (question, answer)
        };
        (0..count).map(row).collect()
    };
    let [train, test] = [4000, 200].map(|count| Dataset::from_rows(tokens.vocab, &rows(count)));
    let data = Data::given(train?, test?);

    let mut training = Training::new(&spec, data, TrainOptions::default())?;
    while training.steps_done() < training.last_step() {
        let report = training.step()?;
        if report.step.is_multiple_of(100) {
            println!("step {:>4}: loss {:.4}", report.step, report.means().loss);
        }
    }

    let test = training.data().test().clone();
    let exact = training.evaluate(&test)?.means().exact_accuracy.unwrap_or(0.0);
    println!("{:.1}% of {} new rows sorted right", 100.0 * exact, test.examples());

    let question: Vec<i32> = test.inputs(0).collect();
    println!("{question:?} -> {:?}", training.solve(&[Question::new(question.clone())])?[0].tokens());
    Ok(())
}
