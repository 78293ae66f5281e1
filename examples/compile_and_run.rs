//! Compiles a spec, says what it costs, trains a few steps of it and answers one puzzle.
//!
//! ```text
//! cargo run --release --example compile_and_run
//! cargo run --release --example compile_and_run -- specs/sudoku-small.hrm
//! ```

#![allow(clippy::disallowed_methods, reason = "a program reads its arguments")]

use std::{env, error::Error, path::Path};

use hrmc::{Compiled, Data, Program, Question, Sizes, Spec, TrainOptions, Training};

fn main() -> Result<(), Box<dyn Error>> {
    // Text to checked model; an error shows every problem with its line.
    let path = env::args().nth(1).unwrap_or_else(|| "specs/quickstart.hrm".to_string());
    let spec = Spec::open(&path, &[])?;

    // Model to plan: everything about memory and work is known before anything runs.
    let compiled = Compiled::of(spec.model(), Program::Train, Sizes::of(spec.model()));
    println!("the first lines of the plan:");
    compiled.to_string().lines().take(8).for_each(|line| println!("  {line}"));
    println!("{} calls, {} FLOP, {} bytes", compiled.calls(), compiled.flops(), compiled.memory_bytes());

    // One step is one segment of every row of the batch and one update of the weights.
    let data = Data::of(&spec, Path::new("."))?;
    let mut training = Training::new(&spec, data, TrainOptions::default())?;
    for _ in 0..10 {
        let report = training.step()?;
        println!("step {:>2}: loss {:.4}", report.step, report.means().loss);
    }

    let puzzle: Vec<i32> = training.data().test().inputs(0).collect();
    let answer = &training.solve(&[Question::new(puzzle.clone())])?[0];
    println!("puzzle {puzzle:?}\nanswer {:?} after {} segments", answer.tokens(), answer.segments.len());
    Ok(())
}
