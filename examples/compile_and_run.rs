//! Compiles a spec and runs one segment of it.
//!
//! ```text
//! cargo run --release --example compile_and_run
//! cargo run --release --example compile_and_run -- specs/sudoku-small.hrm
//! ```

use std::{env, error::Error, fs};

use hrmc::check::check;
use hrmc::device::{Device, Session};
use hrmc::diagnostic::{Appearance, render};
use hrmc::lower::names::Scope;
use hrmc::lower::parameters::parameters;
use hrmc::lower::{Program, Sizes};
use hrmc::span::Source;
use hrmc::syntax::parse;
use hrmc::train::init::initialize;
use hrmc::{pipeline, plan};

fn main() -> Result<(), Box<dyn Error>> {
    // Text to syntax tree to checked model. Each stage reports every problem it finds.
    let path = env::args().nth(1).unwrap_or_else(|| "specs/quickstart.hrm".to_string());
    let source = Source::new(&path, fs::read_to_string(&path)?);
    let parsed = parse(&source);
    let checked = check(&parsed.file);
    let Some(model) = checked.model else {
        eprint!("{}", render(&source, &parsed.diagnostics, Appearance::Plain));
        eprint!("{}", render(&source, &checked.diagnostics, Appearance::Plain));
        return Err("the spec has errors".into());
    };

    // Model to graph to plan: everything about memory and work is known before anything runs.
    let options = Sizes { batch: 2, puzzle_rows: 1 };
    let program = Program::Evaluate { averaged: false };
    let compiled = pipeline::compile(&model, program, options);
    println!("the first lines of the plan:");
    let machine = plan::Machine::reference(model.precision());
    plan::to_text(&compiled.plan, &machine).lines().take(8).for_each(|line| println!("  {line}"));
    println!("{} calls, {} FLOP", compiled.plan.calls.len(), compiled.plan.flops());

    // A session owns the memory, found by name. Weights are drawn from a seed.
    let mut session = Session::new(2)?;
    session.load("evaluate", pipeline::executable(&model, program, options, Device::Cpu))?;
    initialize(&mut session, &parameters(&model, options.puzzle_rows), 0);

    // One segment on two rows of made-up tokens that begin their sequence.
    let vocab = model.tokens.vocab;
    for (position, token) in session.i32_mut(&Scope::Evaluate.tokens()).iter_mut().enumerate() {
        *token = (position % vocab) as i32;
    }
    session.f32_mut(&Scope::Evaluate.reset()).fill(1.0);
    session.run("evaluate")?;

    // The most likely token of each position, `[B, S, V]` to `[B, S]`.
    let logits = session.f32(&Scope::Evaluate.logits());
    let likeliest = |scores: &[f32]| (0..vocab).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
    let answer: Vec<usize> = logits.chunks(vocab).map(likeliest).collect();
    println!("answer to the first row: {:?}", &answer[..model.tokens.positions]);
    Ok(())
}
