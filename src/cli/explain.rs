//! `hrmc explain`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::explain_report::{ExplainedRun, page_text, parts, summary, tables};
use super::failure::{Failure, Stop};
use super::interrupt::{Busy, Interrupt};
use super::predict::SplitName;
use super::progress::Progress;
use super::project::{Devices, Project};
use super::run_arguments::AnswerArguments;
use super::terminal::counted;
use super::{run_arguments, terminal};
use crate::data::Split;
use crate::diagnostic::Code;
use crate::explain::{BATCH, ExplainRequest, Point, explain};
use crate::train::{Data, Splits};

const EXAMPLES: &str = "\
Examples:
  hrmc explain runs/quickstart-001
  hrmc explain runs/quickstart-001 -o explained.html
  hrmc explain runs/hierarchical-001 runs/recurrent-001 runs/direct-001 -o figures
  hrmc explain runs/sudoku-001 --data data/sudoku-hard --limit 100 --segments 1,2,4,8,16,32,64
  hrmc explain runs/sudoku-001 --position 0 --json";

/// Explain what trained models do: residuals, trajectories, dimensions, accuracy against computing.
///
/// Follows the states of each model through every update on held-out puzzles, and reports: how far the states move
/// (forward residual), where they go (principal components), how many dimensions they fill (participation ratio), with
/// the trained weights and with weights drawn anew; the accuracy after each update and with more segments; halting that
/// adapts against a fixed number of segments; whether states that settle are right; and what the model's own estimates are
/// worth. The definitions are those of arXiv:2506.21734.
///
/// Several runs are put side by side. Without `-o` it prints a summary.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folders of the runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Dataset folder to use instead of the data of the runs
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Split to use
    #[arg(long, value_name = "SPLIT", value_enum, default_value = "test")]
    split: SplitName,
    /// Puzzles, from the first
    #[arg(long, value_name = "N", default_value = "100", value_parser = super::positive)]
    limit: usize,
    /// Numbers of segments to evaluate with [default: 1, 2, 4 … up to twice those of an answer]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = super::positive)]
    segments: Vec<usize>,
    /// Follow the states at this position, from 0, with those of the puzzle vector first [default: their mean over all
    /// positions]
    #[arg(long, value_name = "N")]
    position: Option<usize>,
    /// File for a page, `.html`, or folder for the page, the figures in SVG, tables in CSV and everything in JSON
    #[arg(short, long, value_name = "DIR|FILE.html")]
    output: Option<PathBuf>,
    #[command(flatten)]
    answering: AnswerArguments,
    /// Write the result as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// Runs `hrmc explain`.
///
/// # Errors
///
/// Returns a failure if there is a problem with a run, its data or the memory, or it is stopped.
pub fn run(arguments: &Arguments, devices: &Devices, interrupt: &Interrupt) -> Result<(), Failure> {
    interrupt.begin(Busy {
        next: "stopping before the next segment; there will be no result".to_string(),
        cost: String::new(),
    });
    if let Some(output) = &arguments.output {
        check_output(output)?;
    }
    let project = Project::find(devices)?;
    let mut explained = Vec::new();
    for path in &arguments.runs {
        match arguments.explain(path, &project, interrupt)? {
            Ok(run) => explained.push(run),
            Err(stop) => {
                terminal::note("stopped; there is no result");
                return Err(Failure::Stopped(stop));
            }
        }
    }
    name_apart(&mut explained);
    let everything = json!(explained);
    match &arguments.output {
        Some(file) if is_page(file) => {
            terminal::write_file(file, &page_text(&explained, &parts(&explained)))?;
            terminal::note(format_args!("wrote the page to `{}`", file.display()));
        }
        Some(folder) => write_folder(folder, &explained, &everything)?,
        None => {}
    }
    match (arguments.json, &arguments.output) {
        (true, _) => terminal::print_json(&everything),
        (false, _) => terminal::print(summary(&explained)),
    }
}

impl Arguments {
    /// Explains one run; gives why it was stopped, if it was.
    fn explain(
        &self,
        path: &Path,
        project: &Project<'_>,
        interrupt: &Interrupt,
    ) -> Result<Result<ExplainedRun, Stop>, Failure> {
        // Of other compilers, `explain` explains errors.
        if let Some(code) = path.to_str().and_then(Code::from_text) {
            return Err(Failure::message(format!(
                "`{0}` is the code of an error; `hrmc help {0}` explains it",
                code.as_str()
            )));
        }
        let run = run_arguments::open(path, &self.answering.overrides)?;
        let split = Split::from(self.split);
        let data = match &self.data {
            Some(folder) => Data::open_splits(run.spec(), folder, Splits::Only(split))?,
            None => run.splits(project.root(), Splits::Only(split))?,
        };
        data.check_fit(run.spec())?;
        if self.data.is_some() {
            run_arguments::check_identifiers(&run, &data, project)?;
        }
        let dataset = data.of_split(split);
        if dataset.examples() == 0 {
            return Err(Failure::message(format!("{} has no puzzles to explain anything with", data.name())));
        }
        let model = run.spec().model();
        let mut request = ExplainRequest::of(model, self.limit.min(dataset.examples()));
        if !self.segments.is_empty() {
            request.segments = self.segments.clone();
            request.segments.sort_unstable();
            request.segments.dedup();
        }
        if let Some(position) = self.position {
            if position >= model.total_positions() {
                return Err(Failure::message(format!(
                    "`{}` has the positions 0 to {}; ask for one of them with `--position`",
                    path.display(),
                    model.total_positions() - 1
                )));
            }
            request.point = Point::Position(position);
        }
        request.batch = self.answering.small_batch(&run, request.limit, BATCH);
        let mut solver = self.answering.solver_of_batch(&run, project, request.batch)?;
        let mut progress = Progress::new("explaining", 0, (request.limit * request.passes()) as u64);
        let found = explain(&mut solver, dataset, &request, &mut |done, _| {
            progress.show(done as u64, String::new);
            if interrupt.reason().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        progress.clear();
        let of = format!("{} of {}", counted(request.limit, "puzzle"), data.name());
        Ok(match found {
            Some(explanation) => Ok(ExplainedRun {
                name: explanation.model.clone(),
                run: terminal::path_text(path),
                puzzles_of: of,
                explanation,
            }),
            None => Err(interrupt.reason().expect("only a signal stops it")),
        })
    }
}

/// Gives runs of models with equal names the names of their folders.
fn name_apart(runs: &mut [ExplainedRun]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for run in runs {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name.clone_from(&run.run);
        }
    }
}

fn is_page(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("html") || end.eq_ignore_ascii_case("htm"))
}

/// Refuses a file of another kind, before any work is done.
fn check_output(output: &Path) -> Result<(), Failure> {
    match output.extension() {
        Some(_) if !is_page(output) => Err(Failure::message(format!(
            "cannot tell the form of `{}` from its name; expected a file that ends in `.html`, or a folder without a dot in \
             its name",
            output.display()
        ))),
        _ => Ok(()),
    }
}

/// Writes the page, every figure, every table and everything in JSON.
fn write_folder(
    folder: &Path,
    explained: &[ExplainedRun],
    everything: &serde_json::Value,
) -> Result<(), Failure> {
    terminal::create_folder(folder)?;
    let parts = parts(explained);
    terminal::write_file(&folder.join("index.html"), &page_text(explained, &parts))?;
    terminal::write_file(&folder.join("explained.json"), &format!("{everything:#}\n"))?;
    let mut files = 2;
    for (name, text) in tables(&parts) {
        terminal::write_file(&folder.join(name), &text)?;
        files += 1;
    }
    terminal::note(format_args!("wrote {} to `{}`", counted(files, "file"), folder.display()));
    Ok(())
}
