//! `hrmc run RUN --puzzle` and `hrmc adapt` for tasks of ARC: every copy of a test input is asked, the answers are mapped
//! back and voted on, and the task is drawn with the two best.

use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value, json};

use super::failure::{Failure, Stop, fail};
use super::picture::row_of;
use super::progress::Progress;
use super::spec;
use super::terminal::{self, grouped, percent};
use crate::data::arc::{
    AnsweredCopy, ArcBuild, ArcCopy, ArcGrid, ArcPair, ArcQuestions, ArcTask, CanvasPlace, RankedAnswer,
    TaskVotes, TestVotes, Vote, encode, parse_name, parse_tasks,
};
use crate::data::puzzle::{Drawing, draw};
use crate::data::{IGNORED_LABEL, IdentifierNames, PuzzleKind, Split};
use crate::reading;
use crate::shell;
use crate::train::{AskedRow, Run, Solver};

/// Copies of a task that the run has never seen.
const COPIES_OF_UNSEEN: usize = 8;

/// Puzzles that are solved at once.
pub const MOST_AT_ONCE: usize = 32;

/// Attempts at a test input, as in the competition.
const ATTEMPTS: usize = 2;

/// Reads the tasks of a file, or of standard input for `-`; their test pairs are asked, and need no outputs.
///
/// # Errors
///
/// Returns a failure if the file cannot be read or has something that is no task.
pub fn read(file: &Path) -> Result<Vec<ArcTask>, Failure> {
    let text = spec::read_text(file, &reading::ARC)?;
    let name = if file == Path::new("-") { Path::new("standard input") } else { file };
    let mut tasks = parse_tasks(name, &text, Split::Test).map_err(fail)?;
    tasks.iter_mut().for_each(|task| task.split = Split::Test);
    Ok(tasks)
}

/// A task that is to be answered.
pub struct AskedTask {
    task: ArcTask,
    /// Its copies with the puzzle identifiers that the run has for them; 0 for a task that it has never seen.
    copies: Vec<(Option<ArcCopy>, i32)>,
    is_seen: bool,
}

impl AskedTask {
    /// Finds the copies of a task among the `names` of the puzzle identifiers of a run, at most `most` besides the task
    /// itself. A task that is not there has copies that are drawn.
    pub fn find(task: ArcTask, names: Option<&IdentifierNames>, most: Option<usize>) -> AskedTask {
        let known = names.into_iter().flat_map(IdentifierNames::iter).filter_map(|(identifier, name)| {
            let (of, copy) = parse_name(&name);
            (of == task.id).then_some((copy, identifier))
        });
        let mut copies: Vec<(Option<ArcCopy>, i32)> =
            known.take(most.unwrap_or(usize::MAX).saturating_add(1)).collect();
        let is_seen = !copies.is_empty();
        if !is_seen {
            let build = ArcBuild { copies: most.unwrap_or(COPIES_OF_UNSEEN), translate: false, seed: 0 };
            copies = build.copies_of(&task).into_iter().map(|copy| (copy, 0)).collect();
        }
        AskedTask { task, copies, is_seen }
    }

    /// Returns the name of a copy.
    fn name(&self, copy: Option<ArcCopy>) -> String {
        copy.map_or_else(|| self.task.id.clone(), |copy| copy.name(&self.task.id))
    }

    /// Returns the questions of all copies with the names of these.
    fn questions(&self) -> Vec<(String, AskedRow)> {
        let ask = |(copy, puzzle): &(Option<ArcCopy>, i32)| {
            let copied = |grid: &ArcGrid| {
                encode(Some(&copy.map_or_else(|| grid.clone(), |copy| copy.apply(grid))), CORNER)
            };
            let row = |pair: &ArcPair| {
                let tokens = copied(&pair.input);
                let labels = vec![IGNORED_LABEL; tokens.len()];
                (self.name(*copy), AskedRow { row: 0, tokens, labels, puzzle: *puzzle })
            };
            self.task.test.iter().map(row).collect::<Vec<_>>()
        };
        self.copies.iter().flat_map(ask).collect()
    }

    /// Returns the test inputs of the task itself, with their labels if the right answers are known.
    pub fn own_questions(&self) -> Vec<AskedRow> {
        let itself = self.copies.iter().find(|(copy, _)| copy.is_none());
        let puzzle = itself.map_or(0, |(_, puzzle)| *puzzle);
        let ask = |pair: &ArcPair| {
            let tokens = encode(Some(&pair.input), CORNER);
            let labels = match &pair.output {
                Some(output) => encode(Some(output), CORNER),
                None => vec![IGNORED_LABEL; tokens.len()],
            };
            AskedRow { row: 0, tokens, labels, puzzle }
        };
        self.task.test.iter().map(ask).collect()
    }
}

const CORNER: CanvasPlace = CanvasPlace { row: 0, column: 0 };

/// Returns how many questions the copies of tasks are.
pub fn count_questions(tasks: &[AskedTask]) -> usize {
    tasks.iter().map(|asked| asked.copies.len() * asked.task.test.len()).sum()
}

/// Answers the tasks of a file, and draws each with two attempts. `stop` is asked before every segment.
///
/// # Errors
///
/// Returns a failure if the model fails, or computes numbers that are not finite, or the work is stopped.
pub fn answer(
    run: &Run,
    tasks: &[AskedTask],
    file: &Path,
    solver: &mut Solver,
    is_json: bool,
    stop: &dyn Fn() -> Option<Stop>,
) -> Result<(), Failure> {
    let mut results = Vec::new();
    for (index, asked) in tasks.iter().enumerate() {
        let votes = vote(asked, solver, stop)?;
        if is_json {
            results.push(to_json(asked, &votes));
            continue;
        }
        let gap = if index == 0 { "" } else { "\n" };
        terminal::print(format!("{gap}{}", page(asked, &votes, terminal::output_columns())))?;
        if !asked.is_seen {
            let advice = match solver.model().puzzles {
                Some(_) => format!(
                    "; `hrmc adapt {} --task {}` learns from them first",
                    shell::path(run.path()),
                    shell::path(file)
                ),
                None => String::new(),
            };
            terminal::note(format_args!(
                "note: `{}` has never seen the task `{}`, so nothing was learned from its demonstrations{advice}",
                run.path().display(),
                asked.task.id,
            ));
        }
    }
    match (is_json, results.len()) {
        (false, _) => Ok(()),
        (true, 1) => terminal::print_json(&results[0]),
        (true, _) => terminal::print_json(&json!(results)),
    }
}

fn vote(
    asked: &AskedTask,
    solver: &mut Solver,
    stop: &dyn Fn() -> Option<Stop>,
) -> Result<TaskVotes, Failure> {
    let tests = asked.task.test.clone();
    let mut vote = Vote::new(vec![ArcQuestions { task: asked.task.id.clone(), tests }]).map_err(fail)?;
    let questions = asked.questions();
    let mut progress = Progress::new("answering", 0, questions.len() as u64);
    let mut waiting = questions.iter().enumerate();
    let mut next = || Ok(waiting.next().map(|(row, (_, asked))| AskedRow { row, ..asked.clone() }));
    let done = std::cell::Cell::new(0);
    let mut may_run = || {
        progress.show(done.get(), String::new);
        if stop().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut failed = None;
    let whole = solver.answer(PuzzleKind::Arc, &mut next, &mut may_run, &mut |asked, answer| {
        done.set(done.get() + 1);
        if !answer.is_finite() {
            failed.get_or_insert_with(|| {
                Failure::message(
                    "the model computes numbers that are not finite for this task, so there is no answer; take another \
                     checkpoint (`--checkpoint`)",
                )
            });
        }
        let (name, _) = &questions[asked.row];
        let q_halt = answer.q_halt.map(f64::from);
        let answered = AnsweredCopy { name, question: &asked.tokens, answer: &answer.tokens, q_halt };
        if let Err(error) = vote.add(answered) {
            failed.get_or_insert_with(|| fail(error));
        }
    })?;
    progress.clear();
    if let Some(failure) = failed {
        return Err(failure);
    }
    match stop() {
        Some(stop) if whole.is_break() => Err(Failure::Stopped(stop)),
        _ => Ok(vote.finish().tasks.remove(0)),
    }
}

/// Returns whether an attempt is right; nothing if nobody knows the right answer.
fn is_right(test: &TestVotes, attempt: &RankedAnswer) -> Option<bool> {
    test.expected.as_ref().map(|expected| *expected == attempt.grid())
}

fn to_json(asked: &AskedTask, votes: &TaskVotes) -> Value {
    let rows = |grid: &ArcGrid| json!(grid.cells().chunks(grid.columns()).collect::<Vec<_>>());
    let tests = votes.tests.iter().zip(&asked.task.test).map(|(test, pair)| {
        let attempts = test.answers.iter().take(ATTEMPTS).map(|attempt| {
            json!({
                "grid": rows(&attempt.grid()),
                "votes": attempt.votes,
                "q": attempt.halt,
                "right": is_right(test, attempt),
            })
        });
        json!({
            "question": rows(&pair.input),
            "expected": test.expected.as_ref().map(rows),
            "attempts": attempts.collect::<Vec<_>>(),
            "copies": test.copies,
            "without_grid": test.without_grid,
            "answers": test.answers.len(),
        })
    });
    json!({
        "task": asked.task.id,
        "seen": asked.is_seen,
        "copies": asked.copies.len() - 1,
        "tests": tests.collect::<Vec<_>>(),
    })
}

/// Draws a task: its demonstrations, and each question with two attempts beside it.
fn page(asked: &AskedTask, votes: &TaskVotes, columns: usize) -> String {
    let task = &asked.task;
    let copies = match asked.copies.len() - 1 {
        0 => "asked without copies".to_string(),
        1 => "asked in itself and 1 copy of it".to_string(),
        copies => format!("asked in itself and {} copies of it", grouped(copies as u64)),
    };
    let seen = if asked.is_seen { "" } else { ", never seen by the run" };
    let mut text = format!("{}{seen}, {copies}\n", terminal::heading(&format!("task {}", task.id)));
    for (number, pair) in (1..).zip(&task.train) {
        let output = pair.output.as_ref().expect("a demonstration has an output");
        let pictures =
            [(format!("demonstration {number}"), drawn(&pair.input)), ("output".into(), drawn(output))];
        text.push_str(&format!("\n{}", row_of(&pictures, columns)));
    }
    for (number, (test, pair)) in (1..).zip(votes.tests.iter().zip(&task.test)) {
        let of = test.copies;
        let attempts = test.answers.iter().take(ATTEMPTS).enumerate().map(|(place, attempt)| {
            let verdict = match is_right(test, attempt) {
                None => "",
                Some(true) => ", right",
                Some(false) => ", wrong",
            };
            let votes = format!("{} of {} votes", grouped(attempt.votes as u64), grouped(of as u64));
            (format!("attempt {}: {votes}{verdict}", place + 1), drawn(&attempt.grid()))
        });
        let question = (format!("question {number}"), drawn(&pair.input));
        let pictures: Vec<(String, Drawing)> = std::iter::once(question).chain(attempts).collect();
        text.push_str(&format!("\n{}", row_of(&pictures, columns)));
        if let Some(halt) = test.answers.first().and_then(|attempt| attempt.halt) {
            text.push_str(&format!("confidence of the first attempt {}\n", percent(halt)));
        }
        if test.without_grid > 0 {
            text.push_str(&format!(
                "{} no grid, and did not vote\n",
                match test.without_grid {
                    1 => "1 answer is".to_string(),
                    many => format!("{} answers are", grouped(many as u64)),
                }
            ));
        }
    }
    text
}

fn drawn(grid: &ArcGrid) -> Drawing {
    draw(PuzzleKind::Arc, &encode(Some(grid), CORNER), None, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str) -> ArcTask {
        let text = r#"{"train": [{"input": [[1, 2]], "output": [[2], [1]]}],
                       "test": [{"input": [[3, 0, 3]], "output": [[0]]}]}"#;
        let mut tasks =
            parse_tasks(Path::new(&format!("{id}.json")), text, Split::Test).expect("it is a task");
        tasks.remove(0)
    }

    fn names(names: &[&str]) -> IdentifierNames {
        IdentifierNames::Stored(names.iter().map(|name| (*name).to_string()).collect())
    }

    #[test]
    fn copies_that_the_run_knows_have_their_identifiers() {
        let names = names(&["<blank>", "b", "a", "a_t1_0213456789", "a|||t2|||0123456789"]);
        let asked = AskedTask::find(task("a"), Some(&names), None);
        assert!(asked.is_seen);
        assert_eq!(asked.copies.iter().map(|(_, puzzle)| *puzzle).collect::<Vec<_>>(), [2, 3, 4]);
        let questions = asked.questions();
        assert_eq!(questions[0].1.tokens[..4], [5, 2, 5, 1]);
        // A quarter to the left: the row is a column.
        assert_eq!([0, 30, 60].map(|cell| questions[1].1.tokens[cell]), [5, 2, 5]);
        assert_eq!(AskedTask::find(task("a"), Some(&names), Some(1)).copies.len(), 2);
    }

    #[test]
    fn a_task_that_the_run_does_not_know_has_copies_of_the_blank_puzzle() {
        let asked = AskedTask::find(task("new"), Some(&names(&["<blank>", "a"])), None);
        assert!(!asked.is_seen);
        assert_eq!(asked.copies.len(), COPIES_OF_UNSEEN + 1);
        assert!(asked.copies.iter().all(|(_, puzzle)| *puzzle == 0));
        assert_eq!(AskedTask::find(task("new"), None, Some(2)).copies.len(), 3);
    }

    #[test]
    fn a_page_has_the_task_and_two_attempts() {
        let asked = AskedTask::find(task("a"), Some(&names(&["<blank>", "a"])), None);
        let tests = asked.task.test.clone();
        let mut vote =
            Vote::new(vec![ArcQuestions { task: "a".to_string(), tests }]).expect("it is one task");
        let (name, question) = &asked.questions()[0];
        let zero = ArcGrid::new(&[vec![0]]).expect("it is a grid");
        for answer in [encode(Some(&zero), CORNER), vec![0; 900]] {
            vote.add(AnsweredCopy { name, question: &question.tokens, answer: &answer, q_halt: Some(0.0) })
                .expect("it is a copy");
        }
        let votes = vote.finish().tasks.remove(0);
        let plain = |columns| anstream::adapter::strip_str(&page(&asked, &votes, columns)).to_string();
        assert_eq!(
            plain(100),
            "task a, asked without copies\n\
             \n\
             demonstration 1   output\n\
             1 2               2 \n\
             \u{20}                 1 \n\
             \n\
             question 1   attempt 1: 1 of 2 votes, right\n\
             3 0 3        0 \n\
             confidence of the first attempt 50.00%\n\
             1 answer is no grid, and did not vote\n"
        );
        let found = to_json(&asked, &votes);
        assert_eq!(found["tests"][0]["attempts"][0]["grid"], json!([[0]]));
        assert_eq!(found["tests"][0]["attempts"][0]["right"], json!(true));
        assert_eq!(found["tests"][0]["without_grid"], json!(1));
    }
}
