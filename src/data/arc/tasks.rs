//! Reading tasks.
//!
//! Tasks are published as folders of folders with a file for each task (`data/training/007bbfb7.json`), and as one file
//! with all tasks by their names (`training.json`). The folder of a task, or the file with all of them, decides its
//! split: tasks of `evaluation` are for testing.

#![expect(clippy::disallowed_methods, reason = "folders of tasks are listed")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::data::canvas::{ArcGrid, ArcPair, parse_name};
use crate::data::dataset::Split;
use crate::data::error::DataError;
use crate::reading::json::Fault;
use crate::reading::{self, shortened};

/// The name of a folder, or of a file with all tasks, whose tasks are for testing.
const EVALUATION: &str = "evaluation";

/// Folders of repositories that have the folders of tasks.
const INNER_FOLDERS: [&str; 2] = ["data", "corpus"];

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcTask {
    /// Its name.
    pub id: String,
    /// Its demonstrations, at least one, all with their outputs.
    pub train: Vec<ArcPair>,
    /// Its test pairs, at least one.
    pub test: Vec<ArcPair>,
    /// The split that its test pairs belong to: that for testing if the task is for evaluation. Its demonstrations are
    /// trained on in either case.
    pub split: Split,
}

/// A task as a file has it.
#[derive(Deserialize)]
struct WrittenTask {
    name: Option<String>,
    train: Vec<WrittenPair>,
    test: Vec<WrittenPair>,
}

#[derive(Deserialize)]
struct WrittenPair {
    input: Vec<Vec<i64>>,
    output: Option<Vec<Vec<i64>>>,
}

/// Tasks by their names, in the order of the file, which may have a name twice.
struct NamedTasks(Vec<(String, WrittenTask)>);

impl<'de> Deserialize<'de> for NamedTasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NamedTasks, D::Error> {
        struct Tasks;

        impl<'de> Visitor<'de> for Tasks {
            type Value = NamedTasks;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NamedTasks, A::Error> {
                let mut tasks = Vec::new();
                while let Some(task) = map.next_entry()? {
                    tasks.push(task);
                }
                Ok(NamedTasks(tasks))
            }
        }

        deserializer.deserialize_map(Tasks)
    }
}

/// Reads a task from the text of its file, whose name it has unless it has another one of its own.
///
/// # Errors
///
/// If the text is not JSON, or not one task. An output may only be missing in test pairs of `split` test.
pub fn parse_task(file: &Path, text: &str, split: Split) -> Result<ArcTask, DataError> {
    let written: WrittenTask = reading::json::value(text)
        .map_err(|fault| DataError::file(file, format!("is not a task of ARC: {fault}")))?;
    checked(file, stem(file), written, split)
}

/// Reads the tasks of a file that has one or many. Many have the split that the name of the file says, and a single one
/// that of its folder, `split`.
///
/// # Errors
///
/// If the text is not JSON, something in it is not a task, a name is there twice, or there are none.
pub fn parse_tasks(file: &Path, text: &str, split: Split) -> Result<Vec<ArcTask>, DataError> {
    if is_single(file, text)? { Ok(vec![parse_task(file, text, split)?]) } else { parse_many(file, text) }
}

/// Returns whether a text is one task, be it a wrong one, and not tasks by their names.
fn is_single(file: &Path, text: &str) -> Result<bool, DataError> {
    let keys: BTreeMap<String, IgnoredAny> =
        reading::json::value(text).map_err(|fault| no_tasks(file, &fault))?;
    Ok(keys.contains_key("train") || keys.contains_key("test"))
}

fn no_tasks(file: &Path, fault: &Fault) -> DataError {
    DataError::file(file, format!("does not hold tasks of ARC: {fault}"))
}

fn parse_many(file: &Path, text: &str) -> Result<Vec<ArcTask>, DataError> {
    let NamedTasks(written) = reading::json::value(text).map_err(|fault| no_tasks(file, &fault))?;
    let split = split_of(&stem(file));
    let tasks: Result<Vec<ArcTask>, DataError> =
        written.into_iter().map(|(name, task)| checked(file, name, task, split)).collect();
    let tasks = tasks?;
    if tasks.is_empty() {
        return Err(DataError::file(file, "has no tasks"));
    }
    let mut names: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(tasks),
        Some(pair) => Err(DataError::file(file, format!("has the task `{}` twice", shortened(pair[0])))),
    }
}

/// Reads the tasks of files and folders, one after the other. Those of each come in the order of their folders and
/// names, whatever the order on the disk.
///
/// A folder has files of tasks, or folders of files of tasks; those may also lie in its folder `data` or `corpus`, as in
/// the published repositories.
///
/// # Errors
///
/// If a file cannot be read, something in it is not a task, a name is there twice, or a folder has no tasks.
pub fn read_tasks(sources: &[PathBuf]) -> Result<Vec<ArcTask>, DataError> {
    let mut all: Vec<ArcTask> = Vec::new();
    let mut places: BTreeMap<String, PathBuf> = BTreeMap::new();
    for source in sources {
        let files = if source.is_dir() { files_below(source)? } else { vec![source.clone()] };
        // By the folder, or by the file with many tasks.
        let mut tasks: Vec<(String, PathBuf, ArcTask)> = Vec::new();
        for file in files {
            let text = reading::text(&file, &reading::ARC)
                .map_err(|reason| DataError::Read { file: file.clone(), reason })?;
            if is_single(&file, &text)? {
                let folder = folder_name(&file);
                let task = parse_task(&file, &text, split_of(&folder))?;
                tasks.push((folder, file, task));
            } else {
                let stem = stem(&file);
                let found = parse_many(&file, &text)?;
                tasks.extend(found.into_iter().map(|task| (stem.clone(), file.clone(), task)));
            }
        }
        tasks.sort_by(|(set, _, task), (other_set, _, other)| (set, &task.id).cmp(&(other_set, &other.id)));
        for (_, file, task) in tasks {
            if let Some(other) = places.insert(task.id.clone(), file.clone()) {
                let reason = format!(
                    "has the task `{}`, which `{}` has already; leave one of them out",
                    shortened(&task.id),
                    other.display()
                );
                return Err(DataError::file(file, reason));
            }
            all.push(task);
        }
    }
    Ok(all)
}

fn split_of(name: &str) -> Split {
    if name == EVALUATION { Split::Test } else { Split::Train }
}

/// Returns the name of a file without its extension.
fn stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns the name of the folder that a file is in.
fn folder_name(file: &Path) -> String {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // `.` and `..` have names, too.
    let named = if folder.file_name().is_some() { None } else { folder.canonicalize().ok() };
    let name = named.as_deref().unwrap_or(folder).file_name();
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns the files of tasks that a folder of a published layout has.
fn files_below(source: &Path) -> Result<Vec<PathBuf>, DataError> {
    let inner = INNER_FOLDERS.iter().map(|name| source.join(name)).find(|folder| folder.is_dir());
    let folder = inner.as_deref().unwrap_or(source);
    let mut files = Vec::new();
    for entry in entries(folder)? {
        if entry.is_dir() {
            files.extend(entries(&entry)?.into_iter().filter(|file| is_task_file(file)));
        } else if is_task_file(&entry) {
            files.push(entry);
        }
    }
    if files.is_empty() {
        let reason =
            "has no tasks; expected `training/*.json` and `evaluation/*.json`, or `training.json` and \
                      `evaluation.json` with all tasks by their names"
                .to_owned();
        return Err(DataError::Folder { folder: source.to_owned(), reason });
    }
    Ok(files)
}

fn is_task_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json") && path.is_file()
}

/// Returns what is in a folder, sorted, without hidden entries.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let error = |reason| DataError::Read { file: folder.to_owned(), reason };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

fn checked(file: &Path, key: String, written: WrittenTask, split: Split) -> Result<ArcTask, DataError> {
    let id = written.name.unwrap_or(key);
    let wrong = |reason: String| DataError::file(file, format!("task `{}` {reason}", shortened(&id)));
    if id.is_empty() || id == "<blank>" || parse_name(&id).1.is_some() {
        return Err(wrong("cannot be called that, which is not the name of a task; rename it".to_owned()));
    }
    let pairs = |kind: &str, written: Vec<WrittenPair>, needs_output: bool| {
        if written.is_empty() {
            return Err(wrong(format!("has no {kind} pairs; expected at least one")));
        }
        (1..)
            .zip(written)
            .map(|(number, pair)| {
                let grid = |what: &str, rows: &[Vec<i64>]| {
                    ArcGrid::new(rows).map_err(|reason| {
                        wrong(format!("cannot be used: the {what} of {kind} pair {number} {reason}"))
                    })
                };
                if pair.output.is_none() && needs_output {
                    return Err(wrong(format!("needs an output in {kind} pair {number}")));
                }
                let input = grid("input", &pair.input)?;
                let output = pair.output.map(|rows| grid("output", &rows)).transpose()?;
                Ok(ArcPair { input, output })
            })
            .collect::<Result<Vec<ArcPair>, DataError>>()
    };
    let train = pairs("train", written.train, true)?;
    let test = pairs("test", written.test, split == Split::Train)?;
    Ok(ArcTask { id, train, test, split })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: &str = r#"{"input": [[1, 2]], "output": [[3]]}"#;

    fn task(train: &str, test: &str) -> String {
        format!(r#"{{"train": [{train}], "test": [{test}]}}"#)
    }

    fn said<T: fmt::Debug>(result: Result<T, DataError>) -> String {
        result.unwrap_err().to_string()
    }

    /// Returns what is wrong with a file of one task for training.
    fn refused(text: &str) -> String {
        said(parse_tasks(Path::new("training/a.json"), text, Split::Train))
    }

    #[test]
    fn a_malformed_task_is_named_with_its_pair() {
        let grid = |rows: &str| format!(r#"{{"input": {rows}, "output": [[1]]}}"#);
        let wrong = |train: &str, test: &str| {
            let said = refused(&task(train, test));
            said.strip_prefix("`training/a.json`: task `a` ").unwrap_or(&said).to_owned()
        };
        assert_eq!(wrong("", PAIR), "has no train pairs; expected at least one");
        assert_eq!(wrong(PAIR, ""), "has no test pairs; expected at least one");
        assert_eq!(wrong(PAIR, &format!(r#"{PAIR}, {{"input": [[1]]}}"#)), "needs an output in test pair 2");
        assert_eq!(wrong(r#"{"input": [[1]]}"#, PAIR), "needs an output in train pair 1");
        assert_eq!(
            wrong(&format!("{PAIR}, {}", grid("[]")), PAIR),
            "cannot be used: the input of train pair 2 has no rows"
        );
        assert_eq!(
            wrong(PAIR, &grid("[[1, 2], [3]]")),
            "cannot be used: the input of test pair 1 has 1 cells in row 2, but 2 in row 1"
        );
        assert_eq!(
            wrong(PAIR, &grid("[[1, 10]]")),
            "cannot be used: the input of test pair 1 has 10 at row 1, column 2; expected a colour, 0 to 9"
        );
    }

    #[test]
    fn what_is_no_task_is_refused_with_its_place() {
        assert_eq!(
            refused(r#"{"train": [], "test""#),
            "`training/a.json`: does not hold tasks of ARC: line 1, column 20: the text ends too early"
        );
        assert_eq!(
            refused(r#"{"train": []}"#),
            "`training/a.json`: is not a task of ARC: line 1, column 13: `test` is missing"
        );
        assert_eq!(
            refused("[1]"),
            "`training/a.json`: does not hold tasks of ARC: line 1, column 0: expected an object, found a list"
        );
        let many = |cell: &str| format!(r#"{{"b": {}}}"#, task(&PAIR.replace('3', cell), PAIR));
        assert_eq!(
            refused(&many("\"3\"")),
            "`training/a.json`: does not hold tasks of ARC: line 1, column 52: `b.train[0].output[0][0]` takes a whole \
             number, not `\"3\"`"
        );
        let twice = format!(r#"{{"b": {0}, "b": {0}}}"#, task(PAIR, PAIR));
        assert_eq!(refused(&twice), "`training/a.json`: has the task `b` twice");
        assert_eq!(refused("{}"), "`training/a.json`: has no tasks");
        for name in ["x_t4_0614732958", "", "<blank>"] {
            let text = format!(r#"{{"{name}": {}}}"#, task(PAIR, PAIR));
            let expected = "cannot be called that, which is not the name of a task; rename it";
            assert_eq!(refused(&text), format!("`training/a.json`: task `{name}` {expected}"));
        }
    }

    #[test]
    fn the_split_follows_from_the_file_with_many_tasks_or_from_the_folder_of_one() {
        let open = r#"{"input": [[5]]}"#;
        let one = task(PAIR, open);
        let parsed = parse_task(Path::new("task.json"), &one, Split::Test).unwrap();
        assert_eq!((parsed.id.as_str(), parsed.train.len(), &parsed.test[0].output), ("task", 1, &None));
        let many = format!(r#"{{"b": {one}}}"#);
        let split =
            |file: &str| parse_tasks(Path::new(file), &many, Split::Train).map(|tasks| tasks[0].split);
        assert_eq!(split("evaluation.json").unwrap(), Split::Test);
        assert_eq!(said(split("x.json")), "`x.json`: task `b` needs an output in test pair 1");
        let named = one.replacen('{', r#"{"name": "other", "#, 1);
        let tasks = parse_tasks(Path::new("a.json"), &named, Split::Test).unwrap();
        assert_eq!((tasks[0].id.as_str(), tasks[0].split), ("other", Split::Test));
    }

    #[test]
    fn folders_and_files_give_the_same_tasks_in_the_same_order() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        let write = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        let numbered = |number: usize| task(PAIR, &PAIR.replace('3', &number.to_string()));
        for (number, name) in ["training/b", "evaluation/d", "training/a", "evaluation/c"].iter().enumerate()
        {
            write(&format!("arc/data/{name}.json"), &numbered(number));
        }
        write("arc/data/training/._a.json", "not a task");
        write("arc/README.json", "not read");
        let (a, b, c, d) = (numbered(2), numbered(0), numbered(3), numbered(1));
        write("whole/training.json", &format!(r#"{{"b": {b}, "a": {a}}}"#));
        write("whole/evaluation.json", &format!(r#"{{"d": {d}, "c": {c}}}"#));
        let read = |paths: &[&str]| read_tasks(&paths.iter().map(|path| at(path)).collect::<Vec<_>>());
        let tasks = read(&["arc"]).unwrap();
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(ids, ["c", "d", "a", "b"]);
        let splits: Vec<Split> = tasks.iter().map(|task| task.split).collect();
        assert_eq!(splits, [Split::Test, Split::Test, Split::Train, Split::Train]);
        for same in [
            &["arc/data"][..],
            &["whole"],
            &["whole/evaluation.json", "whole/training.json"],
            &["arc/data/evaluation", "arc/data/training"],
            &["arc/data/evaluation/c.json", "arc/data/evaluation/d.json", "whole/training.json"],
        ] {
            assert_eq!(read(same).unwrap(), tasks, "{same:?}");
        }
        let here = |said: String| said.replace(&place.path().display().to_string(), "HERE");
        assert_eq!(
            here(said(read(&["arc", "whole"]))),
            "`HERE/whole/evaluation.json`: has the task `c`, which `HERE/arc/data/evaluation/c.json` has already; leave \
             one of them out"
        );
        fs::create_dir(at("empty")).unwrap();
        assert!(here(said(read(&["empty"]))).starts_with("`HERE/empty` has no tasks; expected"));
        assert_eq!(here(said(read(&["none"]))), "cannot read `HERE/none`: there is no such file or folder");
    }
}
