//! Trains on a dataset of one's own: sorting rows of eight digits.
//!
//! ```text
//! cargo run --release --example train_own_data
//! ```

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use hrmc::check::check;
use hrmc::data::random::Stream;
use hrmc::data::{Dataset, DatasetBuilder, Metadata};
use hrmc::device::Device;
use hrmc::lower::{Program, Sizes};
use hrmc::pipeline;
use hrmc::span::Source;
use hrmc::syntax::parse;
use hrmc::train::{EvaluationRequest, Question, Trainer, TrainerParts};

/// The model. Token 0 is padding, tokens 1 to 8 are the digits.
const SPEC: &str = r#"
model sorting {
  tokens  { vocab = 9, positions = 8 }
  puzzles { width = 32 }

  block encoder { hidden = 32, heads = 4, positions = rope(theta = 30) }

  network low  = 1 * encoder
  network high = 1 * encoder

  state z_low, z_high = normal(std = 1, truncate = 2)

  segment {
    repeat 2 { z_low <- low(z_low + z_high + x) }
    z_high <- high(z_high + z_low)
  }
  gradient one_step

  predict tokens from z_high
  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }

  halt q_learning { max_segments = 2, explore = 0.1 }
}

train {
  data      = "made in this program"
  optimizer = adam_atan2(lr = 3e-3, betas = (0.9, 0.95), weight_decay = 0.1)
  puzzles   = sign_sgd(lr = 1e-3, weight_decay = 0.1)
  ema       = 0.99
  schedule  = cosine(warmup_steps = 50, min_ratio = 0.1)
  batch     = 32
  steps     = 800
}
"#;

/// Makes rows of random digits, labelled with the same digits in order.
fn sorting(rows: usize, random: &mut Stream) -> Result<Dataset, Box<dyn Error>> {
    let mut builder = DatasetBuilder::new(Metadata::new(9, 8))?;
    for _ in 0..rows {
        let question: Vec<i32> = (0..8).map(|_| 1 + random.below(8) as i32).collect();
        let mut answer = question.clone();
        answer.sort_unstable();
        // Each row is a puzzle, and a group, of its own; all share the blank puzzle identifier.
        builder.add_example(&question, &answer)?;
        builder.end_puzzle(0)?;
        builder.end_group()?;
    }
    Ok(builder.finish()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut random = Stream::new(0, "sorting", 0);
    let (train, test) = (sorting(4000, &mut random)?, sorting(200, &mut random)?);

    let parsed = parse(&Source::new("sorting", SPEC));
    let model = check(&parsed.file).model.ok_or("the spec has errors; `hrmc check` shows them")?;
    let options = Sizes { batch: 32, puzzle_rows: train.metadata().num_puzzle_identifiers };
    let executable = |program| pipeline::executable(&model, program, options, Device::Cpu);
    let steps = 800;
    let mut trainer = Trainer::new(TrainerParts {
        train: executable(Program::Train),
        evaluate: executable(Program::Evaluate { averaged: true }),
        model: model.clone(),
        puzzle_rows: options.puzzle_rows,
        threads: 2,
        data: Arc::new(train),
        augment: None,
        seed: 0,
        total_steps: steps,
    })?;

    for _ in 0..steps {
        let report = trainer.step()?;
        if report.step.is_multiple_of(100) {
            println!("step {:>4}: loss {:.4}", report.step, report.metrics.means().loss);
        }
    }

    let everything = EvaluationRequest::default();
    let evaluation = trainer.evaluate(&test, everything, &mut |_| ControlFlow::Continue(()))?;
    let means = evaluation.ok_or("nothing stops the evaluation")?.metrics.means();
    println!("{:.1}% of 200 new rows sorted right", 100.0 * means.exact_accuracy.unwrap_or(0.0));

    let question = Question { tokens: vec![3, 1, 4, 1, 5, 8, 2, 6], puzzle: 0 };
    if let Some(solved) = trainer.solve(std::slice::from_ref(&question))?.last() {
        println!("{:?} -> {:?}", question.tokens, solved.predictions[0]);
    }
    Ok(())
}
