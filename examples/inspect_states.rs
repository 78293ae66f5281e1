//! Loads a run and prints how far each state moves in each update while it solves a puzzle.
//!
//! ```text
//! cargo run --release -- run --train
//! cargo run --release --example inspect_states -- runs/quickstart-001
//! ```

#![allow(clippy::disallowed_methods, reason = "a program reads its arguments")]

use std::{env, error::Error};

use hrmc::{Checkpoint, Question, Run, SolveOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).unwrap_or_else(|| "runs/quickstart-001".to_string());
    let run = Run::open(path)?;
    let data = run.data(".")?;
    let question = Question::new(data.test().inputs(0).collect());

    let mut solver = run.solver(Checkpoint::default(), SolveOptions::default())?;
    let segments = solver.model().max_segments();
    println!("{:<8}{:<16}{:<10}{:>8}", "segment", "iteration", "state", "moved");
    for update in solver.trace(&question, segments)? {
        // `|after - before| / |before|`, over all positions.
        let iteration: Vec<String> = update.iterations.iter().map(ToString::to_string).collect();
        let bar = "#".repeat((20.0 * update.moved).min(60.0) as usize);
        println!(
            "{:<8}{:<16}{:<10}{:>8.4}  {bar}",
            update.segment,
            iteration.join("."),
            update.state,
            update.moved
        );
    }

    let answer = &solver.solve(std::slice::from_ref(&question))?[0];
    print!("{}", data.test().kind().draw(&question.tokens, Some(answer.tokens())));
    println!("the model gives itself {:.1}%", 100.0 * answer.confidence().unwrap_or(f64::NAN));
    Ok(())
}
