//! What is measured of answers, held against plain Python that knows only the definitions (`tests/measures.py`),
//! against the metrics of recorded models, and against a dataset of the published code.

use std::fs;
use std::path::Path;

use hrmc::PuzzleKind;
use hrmc::internals::data::random::Stream;
use hrmc::internals::data::{Dataset, IGNORED_LABEL, Split, SudokuSize, TestBatches, solve_maze};
use hrmc::internals::measures::{AnswerReport, JudgedRow, Measures, PathOutcome, RightBy, judge_row};
use hrmc::internals::parity::Fixture;
use hrmc_testing::python::python;
use serde_json::{Value, json};

/// An answer with all that a report is made of.
struct Answered {
    kind: Option<PuzzleKind>,
    question: Vec<i32>,
    answer: Vec<i32>,
    labels: Vec<i32>,
    segments: u32,
    q_halt: Option<f32>,
    confidence: Option<f32>,
    drift: Option<f32>,
    rating: Option<i32>,
}

impl Answered {
    fn judged(&self) -> JudgedRow {
        JudgedRow {
            segments: self.segments,
            q_halt: self.q_halt.map(f64::from),
            confidence: self.confidence.map(f64::from),
            drift: self.drift.map(f64::from),
            rating: self.rating,
            ..judge_row(self.kind, &self.question, &self.answer, &self.labels)
        }
    }

    /// Returns the row as the script reads it.
    fn line(&self) -> String {
        let label = |&label: &i32| (label != IGNORED_LABEL).then_some(label);
        let row = json!({
            "kind": self.kind.map(PuzzleKind::family),
            "question": self.question,
            "answer": self.answer,
            "label": self.labels.iter().map(label).collect::<Vec<_>>(),
            "segments": self.segments,
            "q_halt": self.q_halt,
            "confidence": self.confidence,
            "drift": self.drift,
            "rating": self.rating,
        });
        format!("{row}\n")
    }
}

/// A complete grid with its digits renamed, of which about half are given.
fn sudoku(size: SudokuSize, random: &mut Stream) -> (Vec<i32>, Vec<i32>) {
    let (side, rows, columns) = (size.side(), size.box_rows(), size.box_columns());
    let mut digits: Vec<i32> = (2..2 + side as i32).collect();
    random.shuffle(&mut digits);
    let digit =
        |cell: usize| digits[(cell / side % rows * columns + cell / side / rows + cell % side) % side];
    let label: Vec<i32> = (0..size.cells()).map(digit).collect();
    let question = label.iter().map(|&token| if random.coin() { token } else { 1 }).collect();
    (question, label)
}

/// Overwrites a few cells with any token below `vocab`.
fn spoil(answer: &mut [i32], cells: usize, vocab: usize, random: &mut Stream) {
    for _ in 0..cells {
        answer[random.below(answer.len())] = random.below(vocab) as i32;
    }
}

/// Cells on one side of a maze.
const SIDE: usize = 6;

/// A maze with few walls, and a shortest path through it.
fn maze(random: &mut Stream) -> (Vec<i32>, Vec<i32>) {
    loop {
        let mut question: Vec<i32> =
            (0..SIDE * SIDE).map(|_| if random.below(6) == 0 { 1 } else { 2 }).collect();
        let ends = random.sample(SIDE * SIDE, 2);
        (question[ends[0]], question[ends[1]]) = (3, 4);
        if let Some(label) = solve_maze(&question) {
            return (question, label);
        }
    }
}

fn neighbours(cell: usize) -> Vec<usize> {
    let (row, column) = (cell / SIDE, cell % SIDE);
    let mut next = Vec::new();
    next.extend((row > 0).then(|| cell - SIDE));
    next.extend((row + 1 < SIDE).then_some(cell + SIDE));
    next.extend((column > 0).then(|| cell - 1));
    next.extend((column + 1 < SIDE).then_some(cell + 1));
    next
}

/// Marks a random walk from the start that ends at the goal if it comes near. Some walks run beside themselves.
fn walk(question: &[i32], random: &mut Stream) -> Vec<i32> {
    let mut answer = question.to_vec();
    let mut at = question.iter().position(|&cell| cell == 3).expect("there is a start");
    let is_careless = random.below(4) == 0;
    loop {
        let mut next = neighbours(at);
        if next.iter().any(|&cell| question[cell] == 4) {
            return answer;
        }
        let touches =
            |cell: usize| neighbours(cell).into_iter().any(|by| by != at && [3, 5].contains(&answer[by]));
        next.retain(|&cell| answer[cell] == 2 && (is_careless || !touches(cell)));
        if next.is_empty() {
            return answer;
        }
        at = next[random.below(next.len())];
        answer[at] = 5;
    }
}

/// Rows of all kinds: right, nearly right and wrong, some without labels, scores or ratings, and many of equal scores.
fn rows(seed: u64, count: usize) -> Vec<Answered> {
    let mut random = Stream::new(seed, "rows", 0);
    let sizes = [SudokuSize::Four, SudokuSize::Six, SudokuSize::Nine, SudokuSize::Sixteen];
    (0..count)
        .map(|row| {
            let random = &mut random;
            let (kind, question, label) = match row % 4 {
                0 => {
                    let (question, label) = maze(random);
                    (PuzzleKind::Maze { side: SIDE }, question, label)
                }
                _ => {
                    let size = sizes[random.below(sizes.len())];
                    let (question, label) = sudoku(size, random);
                    (PuzzleKind::Sudoku(size), question, label)
                }
            };
            let mut answer = label.clone();
            match random.below(3) {
                0 => {}
                1 if row % 4 == 0 => answer = walk(&question, random),
                _ => {
                    let cells = 1 + random.below(4);
                    spoil(&mut answer, cells, kind.vocab_size(), random);
                }
            }
            let is_right = answer == label;
            let mut labels = label;
            match random.below(10) {
                0 => labels.fill(IGNORED_LABEL),
                1 => spoil_labels(&mut labels, random),
                _ => {}
            }
            let advantage = if is_right { 1.0 } else { 0.0 };
            let mut score = |steps: usize, scale: f32| {
                (random.below(8) > 0)
                    .then(|| (random.below(steps) as f32 - advantage * steps as f32 / 3.0) * scale)
            };
            // A third of the steps is a whole number, so right and wrong answers have equal scores.
            let q_halt = score(60, -0.15);
            let confidence = score(21, -0.037).map(|score| 1.0 + score / 2.0);
            let drift = score(90, 0.01).map(|score| score + 1.0);
            Answered {
                kind: (random.below(20) > 0).then_some(kind),
                question,
                answer,
                labels,
                segments: 1 + random.below(8) as u32,
                q_halt,
                confidence,
                drift,
                rating: (random.below(8) > 0).then(|| random.below(160) as i32 - 10),
            }
        })
        .collect()
}

/// Takes some labels away.
fn spoil_labels(labels: &mut [i32], random: &mut Stream) {
    for _ in 0..5 {
        labels[random.below(labels.len())] = IGNORED_LABEL;
    }
}

fn report<'a>(rows: impl IntoIterator<Item = &'a JudgedRow>, right_by: RightBy) -> AnswerReport {
    let mut measures = Measures::new(right_by, 0);
    rows.into_iter().for_each(|row| measures.add(row));
    measures.report()
}

#[test]
fn reports_are_those_of_plain_python() {
    for (seed, right_by) in [(1, RightBy::Label), (2, RightBy::Rules), (3, RightBy::Label)] {
        let rows = rows(seed, 400);
        let judged: Vec<JudgedRow> = rows.iter().map(Answered::judged).collect();
        let found = report(&judged, right_by);

        // The rows have everything that is counted.
        let maze = found.maze.as_ref().expect("there are mazes");
        let longer = |row: &JudgedRow| match row.path {
            Some(PathOutcome::Path { moves, shortest }) => moves > shortest,
            _ => false,
        };
        assert!(judged.iter().any(longer) && maze.path.count < maze.path.of, "{maze:?}");
        assert!(found.sudoku.as_ref().is_some_and(|sudoku| sudoku.by_rating.len() == 7));
        assert!(found.unjudged > 0 && found.exact.of < found.rows);

        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("report.json");
        fs::write(&file, serde_json::to_vec(&found).expect("it is plain data")).expect("it can be written");
        let choice = if right_by == RightBy::Label { "label" } else { "rules" };
        let text: String = rows.iter().map(Answered::line).collect();
        let file = file.to_str().expect("the folder has a plain name");
        let Some(said) = python("tests/measures.py", &[choice, file], &text) else { return };
        let compared: usize = said.trim().parse().expect("it says how many numbers there are");
        assert!(compared > 500, "{compared} numbers were compared");
    }
}

#[test]
fn metrics_of_recorded_models_are_measured_in_their_outputs() {
    let names =
        ["rope-nopuzzle", "rope-puzzle", "learned-softmax", "trm-attention", "trm-mixer", "trm-continue"];
    let mut compared = 0;
    for name in names {
        let fixture = Fixture::open(&Path::new("tests/fixtures").join(name).with_extension("json"))
            .expect("the fixture is checked in");
        // The published code evaluates the first batch from the beginning, to the largest number of segments.
        let [inputs, labels] = ["inputs", "labels"].map(|name| fixture.i32(&format!("batch.0.{name}")));
        let length = fixture.model.tokens.positions;
        for scope in ["eval", "ema_eval"] {
            let name_of = |value: &str| format!("expect.{scope}.{value}");
            if !fixture.tensors.contains_key(&name_of("logits")) {
                continue;
            }
            let answers: Vec<i32> =
                fixture.f32(&name_of("logits")).chunks(fixture.model.tokens.vocab).map(largest).collect();
            let rows: Vec<JudgedRow> = (0..fixture.batch)
                .map(|row| {
                    let cells = row * length..(row + 1) * length;
                    let judged =
                        judge_row(None, &inputs[cells.clone()], &answers[cells.clone()], &labels[cells]);
                    let q_halt = fixture.f32(&name_of("q_halt_logits"))[row];
                    let segments = fixture.model.max_segments() as u32;
                    JudgedRow { segments, q_halt: Some(f64::from(q_halt)), ..judged }
                })
                .collect();
            let found = report(&rows, RightBy::Label);
            let metric = |value: &str| fixture.tensors[&name_of(&format!("metric.{value}"))].wide()[0];
            let count = metric("count");
            assert_eq!(found.exact.of as f64, count, "{name}, {scope}");
            assert_eq!(found.exact.count as f64, metric("exact_accuracy"), "{name}, {scope}");
            // Relative: the record is a sum in f32.
            let accuracy = found.mean_cells.expect("there are labels") * count;
            assert!((accuracy - metric("accuracy")).abs() < 1e-6 * accuracy, "{name}, {scope}: {accuracy}");
            assert_eq!(
                found.mean_segments.map(|mean| mean * count),
                Some(metric("steps")),
                "{name}, {scope}"
            );
            // A Q value of at least 0 says that the answer is right, and is then in the upper five bins.
            let bins = found.calibration.expect("there are Q values").bins;
            let upper: u64 = bins[5..].iter().map(|bin| bin.right.count).sum();
            let lower: u64 = bins[..5].iter().map(|bin| bin.right.of - bin.right.count).sum();
            assert_eq!((upper + lower) as f64, metric("q_halt_accuracy"), "{name}, {scope}");
            compared += 1;
        }
    }
    assert_eq!(compared, 9, "three models have averaged weights besides");
}

/// Returns the first of the largest values.
fn largest(logits: &[f32]) -> i32 {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best as i32
}

#[test]
fn cells_of_a_published_dataset_are_those_that_the_published_loader_counts() {
    let folder = Path::new("tests/fixtures/official-format");
    let text = fs::read_to_string(folder.join("expected-batches.json")).expect("it is checked in");
    let expected: Value = serde_json::from_str(&text).expect("it is JSON");
    let arc = &expected["arc"];
    let dataset = Dataset::open(folder.join("arc"), Split::Test).expect("the dataset is checked in");
    let length = dataset.metadata().seq_len;
    let batch_size = arc["batch_size"].as_u64().expect("it is a number") as usize;
    let batches = arc["test"].as_array().expect("it is a list");
    let mut all = Vec::new();
    for (batch, expected) in TestBatches::new(&dataset, batch_size).zip(batches) {
        // Where no label counts, any token will do.
        let answers: Vec<i32> =
            batch.labels.iter().map(|&label| if label == IGNORED_LABEL { 7 } else { label }).collect();
        let rows = answers.chunks(length).zip(batch.inputs.chunks(length)).zip(batch.labels.chunks(length));
        let rows: Vec<JudgedRow> = rows
            .map(|((answer, question), labels)| judge_row(Some(PuzzleKind::Arc), question, answer, labels))
            .collect();
        let ignored: Vec<u32> = rows.iter().map(|row| length as u32 - row.cells).collect();
        assert_eq!(json!(ignored), expected["label_ignored_per_row"]);
        let found = report(&rows, RightBy::Label);
        // Rows that fill up the batch count nowhere.
        assert_eq!(json!(found.exact.of), expected["effective"]);
        assert_eq!(found.exact.share, Some(1.0));
        all.extend(rows);
    }
    // 8 rows of 900 - 885 cells or more, and so on: the sums of the numbers above.
    let ignored = |batch: &Value| -> u64 {
        let rows = batch["label_ignored_per_row"].as_array().expect("it is a list");
        rows.iter().map(|row| row.as_u64().expect("it is a number")).sum()
    };
    let cells = (length * all.len()) as u64 - batches.iter().map(ignored).sum::<u64>();
    let found = report(&all, RightBy::Label);
    assert_eq!((found.rows, found.exact.of, found.cells.of, found.cells.count), (24, 20, cells, cells));
    assert!(cells > 0 && found.valid.is_none());
}
