//! `hrmc runs`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use serde_json::json;

use super::failure::Failure;
use super::interrupt::{Busy, Interrupt};
use super::project::{Devices, Project};
use super::terminal::{self, bytes, columns, counted, grouped, path_text, percent};
use crate::store::RunFolder;
use crate::train::{RunState, Standing};

const EXAMPLES: &str = "\
Examples:
  hrmc runs                              list the runs in the folder `runs`
  hrmc runs elsewhere --json
  hrmc runs --remove sudoku-001 sudoku-002
  hrmc runs --keep 2 --dry-run           what would go if only two finished runs of each model stayed";

/// List the runs in a folder, and remove those that are not wanted any more.
///
/// A run is finished if it has done all its steps or `patience` has ended it; else it is unfinished, running while a
/// process trains it, or damaged if its description or its newest checkpoint cannot be read. `--remove` and `--keep` remove runs for good, without a question, and say which; what a
/// process trains is never removed, and neither is a folder that is no run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("removal").args(["remove", "keep"]))]
pub struct Arguments {
    /// Folder of the runs [default: that of hrmc.toml, else runs]
    #[arg(value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Remove these runs: their names in the folder
    #[arg(long, value_name = "NAME", num_args = 1..)]
    remove: Vec<PathBuf>,
    /// Remove finished runs, but keep the newest N of each model, and those whose folders were renamed
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep: Option<usize>,
    /// Only say what would be removed
    #[arg(long, requires = "removal")]
    dry_run: bool,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `hrmc runs`.
///
/// # Errors
///
/// Returns a failure if the folder cannot be read, or a run is not there, in use, or cannot be removed.
pub fn run(arguments: &Arguments, devices: &Devices, interrupt: &Interrupt) -> Result<(), Failure> {
    let project = Project::find(devices)?;
    let folder = project.runs(arguments.runs.as_deref());
    let all = || Standing::all(&folder, project.root());
    if !arguments.remove.is_empty() {
        let named = arguments.remove.iter().map(|name| named(&folder, name, project.root()));
        return remove(&named.collect::<Result<Vec<_>, _>>()?, arguments, interrupt);
    }
    if let Some(keep) = arguments.keep {
        return remove(&superfluous(all()?, keep), arguments, interrupt);
    }
    let all = all()?;
    if arguments.json {
        return terminal::print_json(&json!(all.iter().map(to_json).collect::<Vec<_>>()));
    }
    if all.is_empty() {
        terminal::note(format_args!("there are no runs in `{}`", folder.display()));
        return Ok(());
    }
    terminal::print(table(&all))
}

/// Returns the run of a name in the folder of runs.
fn named(runs: &Path, name: &Path, root: &Path) -> Result<Standing, Failure> {
    // A path as it is listed is as good as a name, if it leads to the folder.
    let inner = name.strip_prefix(runs).unwrap_or(name);
    let is_name = inner.components().count() == 1 && inner.file_name().is_some();
    let path = runs.join(inner);
    if !is_name {
        return Err(Failure::message(format!(
            "`{}` is not the name of a run in `{}`; give the folder of the runs before `--remove`",
            name.display(),
            runs.display()
        )));
    }
    let folder = RunFolder::open(&path).map_err(crate::train::Error::from)?;
    let run = Standing::of(&folder, root);
    match &run.state {
        RunState::Running(holder) => Err(Failure::message(format!(
            "`{}` is being trained by {holder}; nothing was removed",
            path.display()
        ))),
        RunState::Finished | RunState::Unfinished | RunState::Damaged(_) => Ok(run),
    }
}

/// Returns the finished runs without the newest `keep` of each model. `all` is sorted by name and number. A run with
/// a name of its own is wanted, whatever its age, and a link is not the run that it leads to.
fn superfluous(all: Vec<Standing>, keep: usize) -> Vec<Standing> {
    let has_number = |run: &Standing| {
        let folder = RunFolder::open(&run.path);
        folder.is_ok_and(|folder| {
            !folder.is_link() && run.model.as_ref().is_some_and(|model| folder.is_named_for(model))
        })
    };
    let is_finished = |run: &Standing| run.state == RunState::Finished && has_number(run);
    let finished: Vec<Standing> = all.into_iter().filter(is_finished).collect();
    let newer = |index: usize| {
        let run: &Standing = &finished[index];
        finished[index + 1..].iter().filter(|other| other.model == run.model).count()
    };
    let goes: Vec<bool> = (0..finished.len()).map(|index| newer(index) >= keep).collect();
    finished.into_iter().zip(goes).filter_map(|(run, goes)| goes.then_some(run)).collect()
}

/// Removes runs, and says which.
fn remove(runs: &[Standing], arguments: &Arguments, interrupt: &Interrupt) -> Result<(), Failure> {
    interrupt.begin(Busy {
        next: "stopping after this run is removed".to_string(),
        cost: ", with part of it removed".to_string(),
    });
    let mut removed: Vec<(&Standing, u64)> = Vec::new();
    let mut failed = None;
    for run in runs {
        if interrupt.reason().is_some() {
            break;
        }
        let bytes = if arguments.dry_run {
            Ok(run.bytes)
        } else {
            RunFolder::open(&run.path).and_then(|folder| folder.remove())
        };
        match bytes {
            Ok(bytes) => removed.push((run, bytes)),
            Err(error) => {
                failed = Some(Failure::from(crate::train::Error::from(error)));
                break;
            }
        }
    }
    let total: u64 = removed.iter().map(|(_, bytes)| bytes).sum();
    if arguments.json {
        let runs = removed.iter().map(|(run, bytes)| json!({ "run": path_text(&run.path), "bytes": bytes }));
        terminal::print_json(&json!({
            "removed": runs.collect::<Vec<_>>(),
            "bytes": total,
            "dry_run": arguments.dry_run,
        }))?;
    } else {
        let verb = if arguments.dry_run { "would remove" } else { "removed" };
        let mut text = String::new();
        for (run, freed) in &removed {
            text.push_str(&format!("{verb} `{}` ({}), {}\n", run.path.display(), state(run), bytes(*freed)));
        }
        text.push_str(&format!("{verb} {}, {} in all\n", counted(removed.len(), "run"), bytes(total)));
        terminal::print(text)?;
    }
    match (failed, interrupt.reason()) {
        (Some(failure), _) => Err(failure),
        (None, Some(stop)) if removed.len() < runs.len() => Err(Failure::Stopped(stop)),
        (None, _) => Ok(()),
    }
}

/// Returns the state in a word.
fn state(run: &Standing) -> &'static str {
    match run.state {
        RunState::Finished => "finished",
        RunState::Unfinished => "unfinished",
        RunState::Running(_) => "running",
        RunState::Damaged(_) => "damaged",
    }
}

fn table(all: &[Standing]) -> String {
    let head = ["spec", "step", "of", "state", "best exact", "size"].map(str::to_string);
    let mut lines = vec![(head.to_vec(), "run".to_string())];
    let count = |steps: Option<u64>| steps.map_or("-".to_string(), grouped);
    for run in all {
        let cells = vec![
            run.model.clone().unwrap_or("-".to_string()),
            count(run.step),
            count(run.total_steps),
            state(run).to_string(),
            run.best.map_or("-".to_string(), percent),
            bytes(run.bytes),
        ];
        let remark = match &run.state {
            RunState::Running(holder) => format!("{} ({holder})", run.path.display()),
            RunState::Damaged(why) => format!("{}: {why}", run.path.display()),
            RunState::Finished | RunState::Unfinished => run.path.display().to_string(),
        };
        lines.push((cells, remark));
    }
    columns(&lines)
}

fn to_json(run: &Standing) -> serde_json::Value {
    let (holder, damage) = match &run.state {
        RunState::Running(holder) => (Some(holder), None),
        RunState::Damaged(why) => (None, Some(why)),
        RunState::Finished | RunState::Unfinished => (None, None),
    };
    json!({
        "run": path_text(&run.path),
        "spec": run.model,
        "step": run.step,
        "total_steps": run.total_steps,
        "state": state(run),
        "trained_by": holder,
        "damage": damage,
        "best_exact_accuracy": run.best,
        "bytes": run.bytes,
    })
}
