//! `hrmc data check`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use serde_json::json;

use super::failure::{Failure, fail};
use super::terminal::{self, counted};
use crate::data::{Dataset, Finding, Split, audit, has_entry};
use crate::train::Data;

const EXAMPLES: &str = "\
Examples:
  hrmc data check data/sudoku-6x6
  hrmc data check data/mine --json";

/// Check a dataset for what keeps it from teaching.
///
/// Looks for labels that are all or mostly ignored, for answers that contradict their questions or the rules of the
/// puzzle, for equal questions with different answers, for test rows that are training rows, and for rows that are
/// repeated. Training does the same before its first step. The exit code is 1 if there is nothing to train on, or the
/// dataset is broken.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder of the dataset; one of its splits is enough
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write the result as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// Runs `hrmc data check`.
///
/// # Errors
///
/// Returns a failure if the dataset cannot be read, or there is nothing to train on.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    let OpenSplits { train, test } = open(folder)?;
    let findings = audit(train.as_ref(), test.as_ref());
    if arguments.json {
        let rows = |dataset: &Option<Dataset>| dataset.as_ref().map(Dataset::examples);
        let findings: Vec<_> = findings.iter().map(to_json).collect();
        terminal::print_json(&json!({
            "data": terminal::path_text(folder),
            "train": rows(&train),
            "test": rows(&test),
            "findings": findings,
        }))?;
    } else {
        report(&findings);
        let rows: Vec<String> = [(Split::Train, &train), (Split::Test, &test)]
            .iter()
            .filter_map(|(split, dataset)| {
                dataset.as_ref().map(|dataset| format!("{} in `{split}`", counted(dataset.examples(), "row")))
            })
            .collect();
        let found = match findings.len() {
            0 => "nothing is wrong".to_string(),
            found => counted(found, "finding"),
        };
        terminal::print(format!("`{}`: {}; {found}\n", folder.display(), rows.join(", ")))?;
    }
    if findings.iter().any(|finding| finding.kind.is_error()) { Err(Failure::Reported) } else { Ok(()) }
}

/// The splits that a dataset has: one of them, or both.
pub struct OpenSplits {
    /// Training examples.
    pub train: Option<Dataset>,
    /// Held-out examples.
    pub test: Option<Dataset>,
}

/// Reads the splits that a dataset has.
///
/// # Errors
///
/// Returns a failure if there is none, or one of them is broken.
pub fn open(folder: &Path) -> Result<OpenSplits, Failure> {
    let open = |split: Split| {
        // What is there and is no split is broken, and opening it says so.
        match has_entry(folder, &split.to_string()) {
            true => Dataset::open(folder, split).map(Some).map_err(fail),
            false => Ok(None),
        }
    };
    let (mut train, test) = (open(Split::Train)?, open(Split::Test)?);
    if train.is_none() && test.is_none() {
        // There is no dataset, and opening it says so.
        train = Some(Dataset::open(folder, Split::Train).map_err(fail)?);
    }
    Ok(OpenSplits { train, test })
}

/// Returns a finding with whether it is an error.
pub fn to_json(finding: &Finding) -> serde_json::Value {
    let mut value = json!(finding);
    value["severity"] = json!(if finding.kind.is_error() { "error" } else { "warning" });
    value
}

/// Writes findings to standard error, one line each.
pub fn report<'a>(findings: impl IntoIterator<Item = &'a Finding>) {
    for finding in findings {
        match finding.kind.is_error() {
            true => terminal::error(&finding.message),
            false => terminal::warning(&finding.message),
        }
    }
}

/// Warnings that were written. The trainings of a sweep often have the same data.
static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Writes what is wrong with data, and does not keep anybody from using it, to standard error: each line once.
pub fn warn(data: &Data) {
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    for finding in data.findings().iter().filter(|finding| !finding.kind.is_error()) {
        let message = format!("{}: {finding}", data.name());
        if warned.insert(message.clone()) {
            terminal::warning(&message);
        }
    }
}
