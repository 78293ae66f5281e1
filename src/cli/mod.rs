//! The command line: arguments, files, output and exit codes. One file per subcommand.
//!
//! Exit codes: 0 for success, 1 for a problem of the user, which one message on standard error explains, 2 for a
//! command line that cannot be parsed, and those of [`Stop`](failure::Stop) for a command that ended before its end.
//! Results go to standard output, everything else to standard error.

mod adapt;
mod bench;
mod census;
mod check;
mod compile;
mod completions;
mod curves;
mod data;
mod data_check;
mod data_show;
mod devices;
mod diff;
mod eval;
mod eval_report;
mod event_files;
mod explain;
mod explain_report;
mod failure;
mod fmt;
mod help;
mod interrupt;
#[cfg(feature = "cuda")]
mod launches;
#[cfg(feature = "lsp")]
mod lsp;
mod over_seeds;
mod picture;
mod plot;
mod predict;
mod predict_output;
mod progress;
pub mod project;
mod run;
mod run_arguments;
mod runs;
mod screen;
mod show;
mod solve;
mod solve_arc;
mod spec;
mod sweep;
mod terminal;
mod trace;
mod trace_page;
mod train;
mod unknown;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use devices::run as list_devices;
use failure::Failure;
use interrupt::Interrupt;
use project::{Devices, device_names, places};

use crate::check::MAX_ROWS;
use crate::device::{Device, Places, devices};

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
  hrmc run --train                          train the built-in 6x6 Sudoku, up to two minutes
  hrmc run --puzzle my.txt                  solve a puzzle with the trained model
  hrmc check specs/sudoku.hrm               report every problem of a spec
  hrmc compile specs/sudoku.hrm             report the cost of a model without running it
  hrmc data sudoku --generate -o data/mine  make a dataset
  hrmc help run                             show the help of one subcommand
  hrmc help head-width                      explain an error by its code

`hrmc.toml` in the current folder, or one above it, holds defaults: spec, device, threads, runs.

Exit codes:
  0    done
  1    a problem, which one message explains
  2    a command line that cannot be read
  124  the time of `--max-time` was over before the work was done
  129, 130, 143  stopped by SIGHUP, Ctrl-C (SIGINT) or SIGTERM before the work was done";

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
    Explain(explain::Arguments),
    Predict(predict::Arguments),
    Adapt(adapt::Arguments),
    Runs(runs::Arguments),
    Plot(plot::Arguments),
    #[command(subcommand)]
    Data(data::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Devices(devices::Arguments),
    #[cfg(feature = "lsp")]
    Lsp(lsp::Arguments),
    Completions(completions::Arguments),
    Help(help::Arguments),
}

/// Runs the command line of this process, with devices of the caller's besides those of hrmc.
pub fn main(others: impl FnOnce(&Places) -> Vec<Arc<dyn Device>>) -> ExitCode {
    let places = places();
    let mut all = devices(&places);
    all.append(&mut others(&places));
    let devices = &all[..];
    let matches = match command_with(devices).try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let Some(message) = unknown::message(&error) else { error.exit() };
            terminal::error(&message);
            return ExitCode::from(2);
        }
    };
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Command::Run(arguments) = &arguments.command {
        arguments.check().unwrap_or_else(|error| error.exit());
    }
    let result = dispatch(arguments.command, devices);
    match result {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::from(1),
        Err(Failure::Stopped(stop)) => ExitCode::from(stop.code()),
        Err(Failure::Message(message)) => {
            terminal::error(&message);
            ExitCode::from(1)
        }
    }
}

/// Runs a subcommand.
fn dispatch(command: Command, devices: &Devices) -> Result<(), Failure> {
    // An editor ends its server as it likes; every other command says what a signal leads to.
    #[cfg(feature = "lsp")]
    if let Command::Lsp(arguments) = &command {
        return lsp::run(arguments);
    }
    let interrupt = Interrupt::listen()?;
    match command {
        Command::Check(arguments) => check::run(&arguments, devices),
        Command::Compile(arguments) => compile::run(&arguments, devices),
        Command::Show(arguments) => show::run(&arguments, devices),
        Command::Diff(arguments) => diff::run(&arguments, devices),
        Command::Fmt(arguments) => fmt::run(&arguments),
        Command::Run(arguments) => run::run(&arguments, devices, &interrupt),
        Command::Sweep(arguments) => sweep::run(&arguments, devices, &interrupt),
        Command::Eval(arguments) => eval::run(&arguments, devices, &interrupt),
        Command::Explain(arguments) => explain::run(&arguments, devices, &interrupt),
        Command::Predict(arguments) => predict::run(&arguments, devices, &interrupt),
        Command::Adapt(arguments) => adapt::run(&arguments, devices, &interrupt),
        Command::Runs(arguments) => runs::run(&arguments, devices, &interrupt),
        Command::Plot(arguments) => plot::run(&arguments),
        Command::Data(arguments) => data::run(&arguments, &interrupt),
        Command::Verify(arguments) => verify::run(&arguments, devices),
        Command::Bench(arguments) => bench::run(&arguments, devices),
        Command::Devices(arguments) => list_devices(&arguments, devices),
        #[cfg(feature = "lsp")]
        Command::Lsp(_) => unreachable!("it is answered above"),
        Command::Completions(arguments) => completions::run(&arguments, devices),
        Command::Help(arguments) => help::run(&arguments, devices),
    }
}

/// Reads an integer of at least 1.
fn positive(text: &str) -> Result<usize, String> {
    match text.replace('_', "").parse() {
        Ok(0) | Err(_) => Err("expected an integer of at least 1".to_string()),
        Ok(number) => Ok(number),
    }
}

/// Reads a number of copies of each task of ARC, within the bounds of `augment = copies(N)` in a spec.
fn copies(text: &str) -> Result<usize, String> {
    const MOST: usize = 10_000;
    let number = text.replace('_', "").parse().ok().filter(|&number| number <= MOST);
    number.ok_or_else(|| format!("expected an integer from 0 to {MOST}"))
}

/// Reads a number of rows, within the bounds of `batch` in a spec.
fn rows(text: &str) -> Result<usize, String> {
    let most = MAX_ROWS as usize;
    positive(text)
        .and_then(|rows| if rows <= most { Ok(rows) } else { Err(format!("expected at most {most} rows")) })
}

/// Returns the command line as data, with the names of devices.
fn command_with(devices: &Devices) -> clap::Command {
    fn name_devices(command: clap::Command, names: &[PossibleValue]) -> clap::Command {
        let has = command.get_arguments().any(|argument| argument.get_id() == "device");
        let named = command.mut_subcommands(|command| name_devices(command, names));
        if !has {
            return named;
        }
        let names = names.to_vec();
        named.mut_arg("device", |argument| argument.value_parser(PossibleValuesParser::new(names)))
    }
    let names: Vec<PossibleValue> =
        device_names(devices).into_iter().map(|(name, about)| PossibleValue::new(name).help(about)).collect();
    <Arguments as CommandFactory>::command().mut_subcommands(|command| match command.get_name() {
        // What a plan is for is none of the devices of this machine.
        "compile" => command,
        _ => name_devices(command, &names),
    })
}

#[cfg(test)]
mod tests {
    use crate::device::{Places, devices};

    fn command() -> clap::Command {
        super::command_with(&devices(&Places::default()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
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
        visit(&command());
    }
}
