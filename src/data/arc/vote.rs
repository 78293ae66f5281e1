//! Voting: the answers to all copies of a task, mapped back and counted.
//!
//! Every copy of a test input is answered. The symmetry and the colours of the copy are undone, and equal grids are
//! counted together. The grid of most answers comes first; of equally many, that with the higher mean of
//! `sigmoid(q_halt)`; of equals there, that which was seen first. A task counts as solved by its first `k` answers if
//! those of *all* its test inputs have the right one, which is the score of the published code. The competition counts
//! the share of all test inputs.
//!
//! One thing differs from the published code: an answer that is no grid, because its first token is no colour, has no
//! vote. There it is one more answer, never right, that takes a place.
//!
//! Copies are given one at a time. For each test input, only the different answers are kept, half a byte for each cell.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::data::canvas::{ArcGrid, ArcPair, SIDE, crop, parse_name};
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::identifiers::IdentifierNames;
use crate::reading::shortened;

/// What is asked of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcQuestions {
    /// The name of the task.
    pub task: String,
    /// Its test inputs, in their order, with the right outputs where they are known.
    pub tests: Vec<ArcPair>,
}

/// Returns what a test split asks: the test inputs of its tasks, in their order, without their copies. `names` are
/// those of the identifiers.
///
/// # Errors
///
/// If the split does not have the rows of ARC, an identifier has no name, or an input is no grid.
pub fn questions(test: &Dataset, names: &IdentifierNames) -> Result<Vec<ArcQuestions>, DataError> {
    const SEQ_LEN: usize = SIDE * SIDE;
    if test.metadata().seq_len != SEQ_LEN {
        return Err(DataError::request(format!(
            "the test split has rows of {} tokens; those of ARC have {SEQ_LEN}",
            test.metadata().seq_len
        )));
    }
    let mut all = Vec::new();
    for puzzle in 0..test.puzzles() {
        let identifier = test.identifier(puzzle);
        let name = names.get(identifier).ok_or_else(|| {
            DataError::request(format!("puzzle identifier {identifier} has no name in `identifiers.json`"))
        })?;
        let (task, None) = parse_name(&name) else { continue };
        let pair = |example| {
            let input = crop(&test.inputs(example).collect::<Vec<_>>()).ok_or_else(|| {
                DataError::request(format!("a test input of task `{}` is no grid", shortened(task)))
            })?;
            Ok(ArcPair { input, output: crop(&test.labels(example).collect::<Vec<_>>()) })
        };
        let tests = test.examples_of(puzzle).map(pair).collect::<Result<Vec<ArcPair>, DataError>>()?;
        all.push(ArcQuestions { task: task.to_owned(), tests });
    }
    Ok(all)
}

/// A copy of a test input that was answered.
#[derive(Debug, Clone, Copy)]
pub struct AnsweredCopy<'a> {
    /// The name of its identifier.
    pub name: &'a str,
    /// What was asked, `[S]`.
    pub question: &'a [i32],
    /// What was answered, `[S]`.
    pub answer: &'a [i32],
    /// How sure the model was, as the logit `q_halt`, if it says so.
    pub q_halt: Option<f64>,
}

/// A vote that goes on.
#[derive(Debug, Clone)]
pub struct Vote {
    tasks: Vec<OpenTask>,
    /// The places of the tasks, by their names.
    places: BTreeMap<String, usize>,
}

#[derive(Debug, Clone)]
struct OpenTask {
    task: String,
    tests: Vec<OpenTest>,
}

#[derive(Debug, Clone)]
struct OpenTest {
    pair: ArcPair,
    answers: BTreeMap<PackedGrid, VoteTally>,
    copies: usize,
    without_grid: usize,
}

/// How an answer fared so far.
#[derive(Debug, Clone)]
struct VoteTally {
    /// Different answers that were seen before it.
    seen_before: usize,
    votes: usize,
    /// The sum of `sigmoid(q_halt)`, and the answers that had one.
    halt_sum: f64,
    halt_count: usize,
}

impl Vote {
    /// Begins a vote.
    ///
    /// # Errors
    ///
    /// If a task is there twice, or asks for the same input twice.
    pub fn new(questions: Vec<ArcQuestions>) -> Result<Vote, DataError> {
        let mut vote = Vote { tasks: Vec::new(), places: BTreeMap::new() };
        for ArcQuestions { task, tests } in questions {
            let wrong = |what: &str| Err(DataError::request(format!("task `{}` {what}", shortened(&task))));
            if vote.places.insert(task.clone(), vote.tasks.len()).is_some() {
                return wrong("is there twice");
            }
            let mut inputs: Vec<&ArcGrid> = tests.iter().map(|pair| &pair.input).collect();
            inputs.sort_unstable();
            if inputs.windows(2).any(|pair| pair[0] == pair[1]) {
                return wrong("has two equal test inputs, whose answers cannot be told apart");
            }
            let open = |pair| OpenTest { pair, answers: BTreeMap::new(), copies: 0, without_grid: 0 };
            vote.tasks.push(OpenTask { task, tests: tests.into_iter().map(open).collect() });
        }
        Ok(vote)
    }

    /// Counts an answer. Rows of padding, which have the identifier of no puzzle, are not to be given.
    ///
    /// # Errors
    ///
    /// If the copy is of none of the tasks, or its question of none of the test inputs of its task.
    pub fn add(&mut self, answered: AnsweredCopy<'_>) -> Result<(), DataError> {
        let (task, copy) = parse_name(answered.name);
        let undone = |grid: ArcGrid| copy.map_or_else(|| grid.clone(), |copy| copy.undo(&grid));
        let wrong = |what: &str| {
            DataError::request(format!(
                "the answer to `{}` cannot be counted: {what}",
                shortened(answered.name)
            ))
        };
        let place = self.places.get(task);
        let place = *place.ok_or_else(|| wrong("its task is not among those that are voted on"))?;
        let question = crop(answered.question).map(undone);
        let test =
            self.tasks[place].tests.iter_mut().find(|test| Some(&test.pair.input) == question.as_ref());
        let test = test.ok_or_else(|| wrong("its question is none of the test inputs of the task"))?;
        test.copies += 1;
        let Some(answer) = crop(answered.answer).map(undone) else {
            test.without_grid += 1;
            return Ok(());
        };
        let seen_before = test.answers.len();
        let new = VoteTally { seen_before, votes: 0, halt_sum: 0.0, halt_count: 0 };
        let tally = test.answers.entry(PackedGrid::of(&answer)).or_insert(new);
        tally.votes += 1;
        if let Some(q_halt) = answered.q_halt.filter(|q_halt| !q_halt.is_nan()) {
            tally.halt_sum += 1.0 / (1.0 + (-q_halt).exp());
            tally.halt_count += 1;
        }
        Ok(())
    }

    /// Ends the vote, and ranks the answers. A task of which nothing was answered is left out.
    pub fn finish(self) -> VoteOutcome {
        let tests = |test: OpenTest| {
            let mut answers: Vec<(usize, RankedAnswer)> = test
                .answers
                .into_iter()
                .map(|(grid, tally)| {
                    let halt = (tally.halt_count > 0).then(|| tally.halt_sum / tally.halt_count as f64);
                    (tally.seen_before, RankedAnswer { grid, votes: tally.votes, halt })
                })
                .collect();
            answers.sort_by(|(seen, answer), (other_seen, other)| {
                answer.better_first(other).then(seen.cmp(other_seen))
            });
            TestVotes {
                expected: test.pair.output,
                answers: answers.into_iter().map(|(_, answer)| answer).collect(),
                copies: test.copies,
                without_grid: test.without_grid,
            }
        };
        let task = |task: OpenTask| TaskVotes {
            task: task.task,
            tests: task.tests.into_iter().map(tests).collect(),
        };
        let is_answered = |task: &TaskVotes| task.tests.iter().any(|test| test.copies > 0);
        VoteOutcome { tasks: self.tasks.into_iter().map(task).filter(is_answered).collect() }
    }
}

/// A grid in half a byte for each cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PackedGrid {
    rows: u8,
    columns: u8,
    /// Two cells each, the first in the upper half.
    cells: Box<[u8]>,
}

impl PackedGrid {
    fn of(grid: &ArcGrid) -> PackedGrid {
        let packed = |pair: &[u8]| pair[0] << 4 | pair.get(1).copied().unwrap_or(0);
        PackedGrid {
            rows: grid.rows() as u8,
            columns: grid.columns() as u8,
            cells: grid.cells().chunks(2).map(packed).collect(),
        }
    }

    fn unpacked(&self) -> ArcGrid {
        let cells = self.cells.iter().flat_map(|pair| [pair >> 4, pair & 0xF]);
        let count = usize::from(self.rows) * usize::from(self.columns);
        ArcGrid::of_cells(usize::from(self.columns), cells.take(count).collect())
    }
}

/// An answer with its votes.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedAnswer {
    grid: PackedGrid,
    /// Copies that were answered so.
    pub votes: usize,
    /// The mean of `sigmoid(q_halt)` over them, if the model says how sure it is.
    pub halt: Option<f64>,
}

impl RankedAnswer {
    /// Returns the answer.
    pub fn grid(&self) -> ArcGrid {
        self.grid.unpacked()
    }

    fn better_first(&self, other: &RankedAnswer) -> Ordering {
        let halt = |answer: &RankedAnswer| answer.halt.unwrap_or(-1.0);
        other.votes.cmp(&self.votes).then(halt(other).total_cmp(&halt(self)))
    }
}

/// The answers to a test input.
#[derive(Debug, Clone, PartialEq)]
pub struct TestVotes {
    /// The right answer, where it is known.
    pub expected: Option<ArcGrid>,
    /// The different answers, the best first.
    pub answers: Vec<RankedAnswer>,
    /// Copies that were answered.
    pub copies: usize,
    /// Those of them whose answer is no grid, which have no vote.
    pub without_grid: usize,
}

impl TestVotes {
    /// Returns the place of the right answer, counted from 1; none if nobody knows it, or no copy was answered so.
    pub fn rank(&self) -> Option<usize> {
        let expected = PackedGrid::of(self.expected.as_ref()?);
        self.answers.iter().position(|answer| answer.grid == expected).map(|place| place + 1)
    }
}

/// The answers to a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskVotes {
    /// Its name.
    pub task: String,
    /// Those to its test inputs, in their order.
    pub tests: Vec<TestVotes>,
}

impl TaskVotes {
    /// Returns how many test inputs have the right answer among their first `k`; none if some right answer is not known,
    /// or some input was not answered.
    fn solved_at(&self, k: usize) -> Option<usize> {
        if self.tests.is_empty() || self.tests.iter().any(|test| test.expected.is_none() || test.copies == 0)
        {
            return None;
        }
        Some(self.tests.iter().filter(|test| test.rank().is_some_and(|rank| rank <= k)).count())
    }
}

/// How many tasks the first answers solve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArcScore {
    /// Tasks whose right answers are known.
    pub tasks: usize,
    /// Share of them that are solved in all their test inputs, as the published code counts.
    pub whole_tasks: f64,
    /// Share of all their test inputs that are solved, as the competition counts.
    pub test_inputs: f64,
}

/// A vote that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct VoteOutcome {
    /// The answers to all tasks, in their order.
    pub tasks: Vec<TaskVotes>,
}

impl VoteOutcome {
    /// Returns the score of the first `k` answers (pass@k) over the tasks whose right answers are known; none if there
    /// is no such task.
    pub fn pass_at(&self, k: usize) -> Option<ArcScore> {
        let solved: Vec<(usize, usize)> =
            self.tasks.iter().filter_map(|task| Some((task.solved_at(k)?, task.tests.len()))).collect();
        let whole = solved.iter().filter(|(solved, of)| solved == of).count();
        let (right, inputs) =
            solved.iter().fold((0, 0), |(right, inputs), (solved, of)| (right + solved, inputs + of));
        (!solved.is_empty()).then(|| ArcScore {
            tasks: solved.len(),
            whole_tasks: whole as f64 / solved.len() as f64,
            test_inputs: right as f64 / inputs as f64,
        })
    }

    /// Returns a table with a line for each test input: the copies that were answered, those without a grid, the
    /// different answers, the votes and the mean of `sigmoid(q_halt)` of the first two, and the place of the right one.
    pub fn table(&self) -> String {
        let header = ["task", "test", "copies", "no grid", "answers", "1st", "q", "2nd", "q", "right"];
        let mut lines = vec![header.map(str::to_owned)];
        for task in &self.tasks {
            for (number, test) in (1..).zip(&task.tests) {
                let votes = |place: usize| {
                    let answer = test.answers.get(place);
                    let votes = answer.map_or("-".to_owned(), |answer| answer.votes.to_string());
                    let halt = answer.and_then(|answer| answer.halt);
                    (votes, halt.map_or("-".to_owned(), |halt| format!("{halt:.3}")))
                };
                let ((first, first_halt), (second, second_halt)) = (votes(0), votes(1));
                let right = match (&test.expected, test.rank()) {
                    (None, _) => "unknown".to_owned(),
                    (Some(_), None) => "-".to_owned(),
                    (Some(_), Some(rank)) => rank.to_string(),
                };
                lines.push([
                    task.task.clone(),
                    number.to_string(),
                    test.copies.to_string(),
                    test.without_grid.to_string(),
                    test.answers.len().to_string(),
                    first,
                    first_halt,
                    second,
                    second_halt,
                    right,
                ]);
            }
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 10] = std::array::from_fn(width);
        let mut table = String::new();
        for line in &lines {
            let [task, numbers @ ..] = line;
            table.push_str(&format!("{task:<width$}", width = widths[0]));
            for (number, width) in numbers.iter().zip(&widths[1..]) {
                table.push_str(&format!("  {number:>width$}"));
            }
            table.push('\n');
        }
        table
    }

    /// Returns what the competition takes: two attempts at each test input of each task, in JSON. The only answer is
    /// given twice, and `[[0, 0], [0, 0]]` where there is none, as in the competition's example.
    pub fn submission(&self) -> String {
        const NO_ANSWER: &str = "[[0, 0], [0, 0]]";
        let attempts = |test: &TestVotes| {
            let attempt = |place: usize| test.answers.get(place).map(|answer| answer.grid().to_json());
            let first = attempt(0).unwrap_or_else(|| NO_ANSWER.to_owned());
            let second = attempt(1).unwrap_or_else(|| first.clone());
            format!("{{\"attempt_1\": {first}, \"attempt_2\": {second}}}")
        };
        let task = |task: &TaskVotes| {
            let name = serde_json::to_string(&task.task).expect("text is always valid JSON");
            let tests: Vec<String> = task.tests.iter().map(attempts).collect();
            format!("{name}: [{}]", tests.join(", "))
        };
        let tasks: Vec<String> = self.tasks.iter().map(task).collect();
        format!("{{{}}}", tasks.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::canvas::{ArcCopy, CanvasPlace, encode};
    use crate::data::dataset::{Split, read_identifiers};
    use crate::data::random::Stream;

    fn grid(rows: &[&[i64]]) -> ArcGrid {
        ArcGrid::new(&rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>()).unwrap()
    }

    fn tokens(grid: &ArcGrid) -> Vec<i32> {
        encode(Some(grid), CanvasPlace::default())
    }

    fn pair(input: &ArcGrid, output: &ArcGrid) -> ArcPair {
        ArcPair { input: input.clone(), output: Some(output.clone()) }
    }

    fn asked(task: &str, tests: Vec<ArcPair>) -> ArcQuestions {
        ArcQuestions { task: task.to_owned(), tests }
    }

    /// Answers a copy of `question`, called `name`, with the copy of `answer`.
    fn add(vote: &mut Vote, name: &str, question: &ArcGrid, answer: Option<&ArcGrid>, q_halt: Option<f64>) {
        let copied =
            |grid: &ArcGrid| parse_name(name).1.map_or_else(|| grid.clone(), |copy| copy.apply(grid));
        let question = tokens(&copied(question));
        let answer = encode(answer.map(copied).as_ref(), CanvasPlace::default());
        vote.add(AnsweredCopy { name, question: &question, answer: &answer, q_halt }).unwrap();
    }

    /// The task `a_b` and three copies of it, the last one as newer builders name it.
    const COPIES: [&str; 4] = ["a_b", "a_b_t1_0213456789", "a_b_t6_0987654321", "a_b|||t7|||0198765432"];

    #[test]
    fn votes_come_first_then_the_mean_of_q_then_what_was_seen_first() {
        let question = grid(&[&[1, 2, 3]]);
        let (right, other, third) = (grid(&[&[1], &[2]]), grid(&[&[5, 6]]), grid(&[&[0]]));
        let outcome = |answers: &[(&ArcGrid, Option<f64>)]| {
            let mut vote = Vote::new(vec![asked("a_b", vec![pair(&question, &right)])]).unwrap();
            for (name, &(answer, q_halt)) in COPIES.iter().zip(answers) {
                add(&mut vote, name, &question, Some(answer), q_halt);
            }
            let outcome = vote.finish();
            let test = &outcome.tasks[0].tests[0];
            let ranked: Vec<_> =
                test.answers.iter().map(|answer| (answer.grid(), answer.votes, answer.halt)).collect();
            (ranked, test.rank(), outcome)
        };
        // By hand: sigmoid(0) is a half, and two votes beat one however sure that is.
        let (ranked, rank, scored) =
            outcome(&[(&other, Some(50.0)), (&right, Some(0.0)), (&right, Some(0.0))]);
        assert_eq!(ranked, [(right.clone(), 2, Some(0.5)), (other.clone(), 1, Some(1.0))]);
        assert_eq!(rank, Some(1));
        assert_eq!(scored.pass_at(1), Some(ArcScore { tasks: 1, whole_tasks: 1.0, test_inputs: 1.0 }));
        // One vote each: the surer one first, and what does not say how sure it is last.
        let (ranked, rank, scored) = outcome(&[(&third, None), (&right, Some(0.0)), (&other, Some(2.0))]);
        let order: Vec<ArcGrid> = ranked.into_iter().map(|(grid, ..)| grid).collect();
        assert_eq!(order, [other.clone(), right.clone(), third.clone()]);
        assert_eq!(rank, Some(2));
        assert_eq!(scored.pass_at(1).unwrap().whole_tasks, 0.0);
        assert_eq!(scored.pass_at(2).unwrap().whole_tasks, 1.0);
        // Equal in both: as they were seen.
        let (ranked, _, _) =
            outcome(&[(&third, Some(1.0)), (&right, Some(1.0)), (&other, Some(1.0)), (&other, Some(1.0))]);
        let order: Vec<ArcGrid> = ranked.into_iter().map(|(grid, ..)| grid).collect();
        assert_eq!(order, [other, third, right]);
    }

    #[test]
    fn a_task_with_two_test_inputs_is_solved_by_both() {
        let (first, second) = (grid(&[&[1, 2]]), grid(&[&[3], &[4]]));
        let (right, wrong) = (grid(&[&[7]]), grid(&[&[8, 8]]));
        let tests = vec![pair(&first, &right), pair(&second, &right)];
        let other = asked("c", vec![pair(&first, &right)]);
        let mut vote = Vote::new(vec![asked("a_b", tests), other]).unwrap();
        // The second input is answered first, and its order in the task stays.
        add(&mut vote, COPIES[1], &second, Some(&wrong), None);
        add(&mut vote, COPIES[2], &second, Some(&right), None);
        add(&mut vote, COPIES[0], &first, Some(&right), None);
        add(&mut vote, COPIES[3], &first, None, None);
        add(&mut vote, "c", &first, None, Some(3.0));
        let outcome = vote.finish();
        let [task, silent] = &outcome.tasks[..] else { panic!("two tasks") };
        assert_eq!((task.tests[0].copies, task.tests[0].without_grid, task.tests[0].rank()), (2, 1, Some(1)));
        assert_eq!((task.tests[1].copies, task.tests[1].without_grid, task.tests[1].rank()), (2, 0, Some(2)));
        assert_eq!((silent.tests[0].answers.len(), silent.tests[0].without_grid), (0, 1));
        assert_eq!(outcome.pass_at(1), Some(ArcScore { tasks: 2, whole_tasks: 0.0, test_inputs: 1.0 / 3.0 }));
        assert_eq!(outcome.pass_at(2), Some(ArcScore { tasks: 2, whole_tasks: 0.5, test_inputs: 2.0 / 3.0 }));
        assert_eq!(
            outcome.submission(),
            "{\"a_b\": [{\"attempt_1\": [[7]], \"attempt_2\": [[7]]}, {\"attempt_1\": [[8, 8]], \"attempt_2\": \
             [[7]]}], \"c\": [{\"attempt_1\": [[0, 0], [0, 0]], \"attempt_2\": [[0, 0], [0, 0]]}]}"
        );
        assert_eq!(
            outcome.table(),
            "task  test  copies  no grid  answers  1st  q  2nd  q  right\n\
             a_b      1       2        1        1    1  -    -  -      1\n\
             a_b      2       2        0        2    1  -    1  -      2\n\
             c        1       1        1        0    -  -    -  -      -\n"
        );
    }

    #[test]
    fn without_right_answers_there_are_votes_but_no_score() {
        let question = grid(&[&[1]]);
        let tests = vec![ArcPair { input: question.clone(), output: None }];
        let mut vote = Vote::new(vec![asked("a", tests)]).unwrap();
        add(&mut vote, "a", &question, Some(&question), Some(0.0));
        let outcome = vote.finish();
        assert_eq!((outcome.pass_at(2), outcome.tasks[0].tests[0].rank()), (None, None));
        assert_eq!(outcome.submission(), "{\"a\": [{\"attempt_1\": [[1]], \"attempt_2\": [[1]]}]}");
        assert!(outcome.table().ends_with("unknown\n"));
    }

    #[test]
    fn what_cannot_be_counted_is_named() {
        let question = grid(&[&[1, 2]]);
        let tests = || vec![pair(&question, &question)];
        let mut vote = Vote::new(vec![asked("a_b", tests())]).unwrap();
        let mut said = |name: &str, question: &[i32]| {
            let answered = AnsweredCopy { name, question, answer: question, q_halt: None };
            vote.add(answered).unwrap_err().to_string()
        };
        assert_eq!(
            said("a", &tokens(&question)),
            "the answer to `a` cannot be counted: its task is not among those that are voted on"
        );
        let elsewhere = "its question is none of the test inputs of the task";
        assert_eq!(
            said("a_b_t0_0987654321", &tokens(&question)),
            format!("the answer to `a_b_t0_0987654321` cannot be counted: {elsewhere}")
        );
        assert!(said("a_b", &[0; 900]).ends_with(elsewhere));
        let refused = |questions| Vote::new(questions).unwrap_err().to_string();
        assert_eq!(refused(vec![asked("a", tests()), asked("a", tests())]), "task `a` is there twice");
        assert_eq!(
            refused(vec![asked("a", [tests(), tests()].concat())]),
            "task `a` has two equal test inputs, whose answers cannot be told apart"
        );
    }

    /// Ranks the answers to one input as the published code does: a list of (grid, votes, sum of q), sorted stably.
    fn plainly_ranked(answers: &[(ArcGrid, f64)]) -> Vec<(ArcGrid, usize, f64)> {
        let mut ranked: Vec<(ArcGrid, usize, f64)> = Vec::new();
        for (grid, q_halt) in answers {
            let q = 1.0 / (1.0 + (-q_halt).exp());
            match ranked.iter_mut().find(|(known, ..)| known == grid) {
                Some((_, votes, sum)) => (*votes, *sum) = (*votes + 1, *sum + q),
                None => ranked.push((grid.clone(), 1, q)),
            }
        }
        ranked.iter_mut().for_each(|(_, votes, sum)| *sum /= *votes as f64);
        ranked.sort_by(|(_, votes, q), (_, other_votes, other_q)| {
            (other_votes, other_q).partial_cmp(&(votes, q)).unwrap()
        });
        ranked
    }

    #[test]
    fn the_ranking_is_that_of_a_plain_count() {
        let folder = Path::new("tests/fixtures/official-format/arc");
        let test = Dataset::open(folder, Split::Test).unwrap();
        let names = IdentifierNames::Stored(read_identifiers(folder).unwrap());
        let questions = questions(&test, &names).unwrap();
        let sizes: Vec<(&str, usize)> =
            questions.iter().map(|asked| (asked.task.as_str(), asked.tests.len())).collect();
        assert_eq!(sizes, [("e133d23d", 1), ("e6de6e8f", 1), ("6ea4a07e", 2)]);
        let mut vote = Vote::new(questions.clone()).unwrap();
        let mut random = Stream::new(0, "answers", 0);
        // Few different answers and values of q, so that there are ties of both.
        let mut plain: BTreeMap<(String, ArcGrid), Vec<(ArcGrid, f64)>> = BTreeMap::new();
        for asked in &questions {
            for _ in 0..60 {
                let copy = ArcCopy::draw(&mut random);
                for pair in &asked.tests {
                    let answers =
                        [pair.output.clone().unwrap(), pair.input.clone(), grid(&[&[1, 2]]), grid(&[&[3]])];
                    let answer = &answers[random.below(answers.len())];
                    let q_halt = [-1.0, 0.0, 2.0][random.below(3)];
                    add(&mut vote, &copy.name(&asked.task), &pair.input, Some(answer), Some(q_halt));
                    let key = (asked.task.clone(), pair.input.clone());
                    plain.entry(key).or_default().push((answer.clone(), q_halt));
                }
            }
        }
        let outcome = vote.finish();
        let mut solved = 0;
        for (asked, task) in questions.iter().zip(&outcome.tasks) {
            let mut right = 0;
            for (pair, votes) in asked.tests.iter().zip(&task.tests) {
                let ranked = plainly_ranked(&plain[&(asked.task.clone(), pair.input.clone())]);
                let found: Vec<(ArcGrid, usize, f64)> = votes
                    .answers
                    .iter()
                    .map(|answer| (answer.grid(), answer.votes, answer.halt.unwrap()))
                    .collect();
                assert_eq!(found, ranked);
                right += usize::from(ranked[..2].iter().any(|(grid, ..)| Some(grid) == pair.output.as_ref()));
            }
            solved += usize::from(right == asked.tests.len());
        }
        assert_eq!(outcome.pass_at(2).unwrap().whole_tasks, solved as f64 / 3.0);
    }
}
