//! The command line: arguments, files, output and exit codes. One file per subcommand.
//!
//! Exit codes: 0 for success, 1 for a problem of the user, said in one message on standard error, and 2
//! for a command line that cannot be read. Results go to standard output, everything said on the way to
//! standard error.

mod bench;
mod census;
mod check;
mod compile;
mod completions;
mod data;
mod datasets;
mod devices;
mod diff;
mod eval;
mod failure;
mod fmt;
mod help;
mod interrupt;
mod launches;
mod lsp;
mod memory;
mod picture;
mod progress;
mod project;
mod run;
mod show;
mod solve;
mod spec;
mod sweep;
mod terminal;
mod train;
mod trained;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

use crate::check::MOST_ROWS;

/// A compiler and runner for hierarchical reasoning models.
///
/// A spec, a text file like `specs/sudoku.hrm`, describes one model and how it is trained. hrmc checks it,
/// compiles it to a graph with gradients and on to a plan with static memory, and trains, evaluates and uses
/// the model.
#[derive(Debug, Parser)]
#[command(name = "hrmc", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  hrmc run --train                          train the built-in 6x6 Sudoku, two minutes
  hrmc run --puzzle my.txt                  solve a puzzle with what was trained
  hrmc check specs/sudoku.hrm               say everything that is wrong with a spec
  hrmc compile specs/sudoku.hrm             say what a model costs without running it
  hrmc data sudoku --generate -o data/mine  make a dataset
  hrmc help run                             say all about one subcommand
  hrmc help head-width                      explain an error by its code

`hrmc.toml` in the current folder, or one above it, holds defaults: spec, device, threads, runs.";

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    Compile(compile::Arguments),
    Show(show::Arguments),
    Diff(diff::Arguments),
    Fmt(fmt::Arguments),
    Run(run::Arguments),
    Sweep(sweep::Arguments),
    Eval(eval::Arguments),
    #[command(subcommand)]
    Data(data::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Devices(devices::Arguments),
    Lsp(lsp::Arguments),
    Completions(completions::Arguments),
    Help(help::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Compile(arguments) => compile::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Fmt(arguments) => fmt::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Data(arguments) => data::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Lsp(arguments) => lsp::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Help(arguments) => help::run(&arguments),
    };
    match result {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::from(1),
        Err(Failure::Message(message)) => {
            terminal::error(&message);
            ExitCode::from(1)
        }
    }
}

/// Reads a whole number of at least 1.
fn positive(text: &str) -> Result<usize, String> {
    match text.replace('_', "").parse() {
        Ok(0) | Err(_) => Err("expected a whole number of at least 1".to_string()),
        Ok(number) => Ok(number),
    }
}

/// Reads a number of rows, within the bounds of `batch` in a spec.
fn rows(text: &str) -> Result<usize, String> {
    let most = MOST_ROWS as usize;
    positive(text)
        .and_then(|rows| if rows <= most { Ok(rows) } else { Err(format!("expected at most {most} rows")) })
}

/// Returns the command line as data, for completions.
fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }

    #[test]
    fn every_subcommand_shows_examples() {
        fn visit(command: &clap::Command) {
            if command.get_name() != "hrmc" {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.starts_with("Examples:\n  hrmc "), "`{}` has no examples", command.get_name());
                assert!(command.get_about().is_some(), "`{}` has no help", command.get_name());
            }
            command.get_subcommands().for_each(visit);
        }
        visit(&super::command());
    }
}
