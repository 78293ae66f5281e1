//! `hrmc data show`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::data_check::{self, OpenSplits};
use super::failure::{Failure, fail};
use super::picture::side_by_side;
use super::terminal::{self, counted, grouped, percent};
use crate::data::puzzle::draw;
use crate::data::{
    Dataset, Description, EqualSolutions, Finding, FindingKind, IGNORED_LABEL, Leak, Leaks, Lengths,
    PuzzleKind, Split, audit, describe, find_equal_solutions, find_leaks, token_name,
};

const EXAMPLES: &str = "\
Examples:
  hrmc data show data/sudoku-6x6
  hrmc data show data/mine --strict --json
  hrmc data show data/arc-1 --against data/arc-2          are test tasks of one among the training tasks of the other?";

/// Describe a dataset, and find test puzzles that training data contains.
///
/// Shows sizes, lengths, how often each token is there, and a few rows of each split. Then it looks for test rows that
/// are also training rows, equal or by a symmetry of the puzzle: Sudoku with other digits and with rows and columns
/// moved, mazes turned and flipped, grids of ARC turned, flipped and with other colours. A group of copies counts once.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder of the dataset; one of its splits is enough
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Compare the test split with the training split of this dataset too
    #[arg(long, value_name = "OTHER_DIR")]
    against: Option<PathBuf>,
    /// Exit with 1 if training data contains test rows, or there is nothing to train on
    #[arg(long)]
    strict: bool,
    /// Write the result as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// Rows of a split that are shown.
const ROWS: usize = 2;
/// Tokens of a vocabulary that are listed, the most frequent ones.
const TOKENS: usize = 24;
/// Widths that a page is laid out for, in characters.
const WIDTHS: std::ops::RangeInclusive<usize> = 60..=200;
/// Longest bar, in characters.
const LONGEST_BAR: usize = 50;

/// Test rows that training data contains.
struct LeakReport {
    /// The other dataset; `None` for the training split beside the test split.
    other: Option<PathBuf>,
    leaks: Leaks,
    solutions: Option<EqualSolutions>,
}

impl LeakReport {
    fn of(other: Option<PathBuf>, train: &Dataset, test: &Dataset) -> LeakReport {
        LeakReport { other, leaks: find_leaks(train, test), solutions: find_equal_solutions(train, test) }
    }

    /// Returns the name of the training data.
    fn train(&self) -> String {
        match &self.other {
            None => "`train`".to_string(),
            Some(other) => format!("`train` of `{}`", other.display()),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "against": self.other.as_deref().map(terminal::path_text),
            "rows": self.leaks,
            "solutions": self.solutions,
        })
    }
}

/// Runs `hrmc data show`.
///
/// # Errors
///
/// Returns a failure if a dataset cannot be read, and with `--strict` if training data contains test rows, or there is
/// nothing to train on.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    let splits = data_check::open(folder)?;
    let mut comparisons = Vec::new();
    if let OpenSplits { train: Some(train), test: Some(test) } = &splits {
        comparisons.push(LeakReport::of(None, train, test));
    }
    if let Some(other) = &arguments.against {
        let train = Dataset::open(other, Split::Train).map_err(fail)?;
        let test = comparable(folder, &splits, other, &train)?;
        comparisons.push(LeakReport::of(Some(other.clone()), &train, test));
    }
    let findings = audit(splits.train.as_ref(), splits.test.as_ref());
    if arguments.json {
        let findings: Vec<Value> = findings.iter().map(data_check::to_json).collect();
        terminal::print_json(&json!({
            "data": terminal::path_text(folder),
            "train": splits.train.as_ref().map(split_json),
            "test": splits.test.as_ref().map(split_json),
            "leaks": comparisons.iter().map(LeakReport::to_json).collect::<Vec<_>>(),
            "findings": findings,
        }))?;
    } else {
        terminal::print(page(folder, &splits, &comparisons, terminal::output_columns()))?;
        // What the page has is not said again.
        let is_new =
            |finding: &&Finding| !matches!(finding.kind, FindingKind::SharedRows | FindingKind::RepeatedRows);
        data_check::report(findings.iter().filter(is_new));
    }
    let spoiled: Vec<&LeakReport> =
        comparisons.iter().filter(|comparison| comparison.leaks.count > 0).collect();
    let is_spoiled = !spoiled.is_empty() || findings.iter().any(|finding| finding.kind.is_error());
    if !(arguments.strict && is_spoiled) {
        return Ok(());
    }
    for comparison in spoiled {
        terminal::error(&format!(
            "{}; accuracy on them shows memory: remove them from one of the two",
            in_words(comparison)
        ));
    }
    if arguments.json {
        data_check::report(findings.iter().filter(|finding| finding.kind.is_error()));
    }
    Err(Failure::Reported)
}

/// Returns the test split, if it can be compared with the training split of another dataset.
fn comparable<'a>(
    folder: &Path,
    splits: &'a OpenSplits,
    other: &Path,
    train: &Dataset,
) -> Result<&'a Dataset, Failure> {
    let Some(test) = &splits.test else {
        return Err(Failure::message(format!(
            "`{}` has no test split that could be compared with `{}`",
            folder.display(),
            other.display()
        )));
    };
    let sizes = |dataset: &Dataset| {
        let metadata = dataset.metadata();
        format!("{} of a vocabulary of {}", counted(metadata.seq_len, "token"), metadata.vocab_size)
    };
    if sizes(train) == sizes(test) && train.kind() == test.kind() {
        return Ok(test);
    }
    Err(Failure::message(format!(
        "`{}` has rows of {}, and `{}` has rows of {}; compare datasets of one kind of puzzle",
        other.display(),
        sizes(train),
        folder.display(),
        sizes(test)
    )))
}

/// Returns a split and its first rows.
fn split_json(dataset: &Dataset) -> Value {
    let metadata = dataset.metadata();
    let mut value = json!(describe(dataset));
    value["kind"] = json!(dataset.kind().family());
    value["seq_len"] = json!(metadata.seq_len);
    value["vocab_size"] = json!(metadata.vocab_size);
    value["puzzle_identifiers"] = json!(metadata.num_puzzle_identifiers);
    let names = (0..metadata.vocab_size).map(|token| token_name(dataset.kind(), token as i32));
    value["token_names"] = names.collect();
    let rows = (0..dataset.examples().min(ROWS)).map(|row| {
        let labels = dataset.labels(row).map(|label| (label != IGNORED_LABEL).then_some(label));
        json!({
            "row": row,
            "inputs": dataset.inputs(row).collect::<Vec<_>>(),
            "labels": labels.collect::<Vec<_>>(),
        })
    });
    value["rows"] = rows.collect();
    value
}

/// Returns everything as text, in lines of at most `width` columns where words allow it.
fn page(folder: &Path, splits: &OpenSplits, comparisons: &[LeakReport], width: usize) -> String {
    let width = width.clamp(*WIDTHS.start(), *WIDTHS.end());
    let mut page = PageText { width, text: String::new() };
    for (split, dataset) in [(Split::Train, &splits.train), (Split::Test, &splits.test)] {
        if let Some(dataset) = dataset {
            page.heading(&format!("{split} of `{}`", folder.display()));
            split_page(&mut page, dataset);
        }
    }
    if !comparisons.is_empty() {
        page.heading("leaks");
    }
    for comparison in comparisons {
        leak_page(&mut page, comparison);
    }
    page.text
}

/// The text of a page.
struct PageText {
    width: usize,
    text: String,
}

impl PageText {
    fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&terminal::heading(text));
        self.text.push('\n');
    }

    /// Adds a sentence, wrapped at words.
    fn say(&mut self, text: &str) {
        for line in terminal::wrapped(text, self.width - INDENT.len()).lines() {
            self.indented(line);
        }
    }

    fn indented(&mut self, line: &str) {
        self.text.push_str(format!("{INDENT}{line}").trim_end());
        self.text.push('\n');
    }
}

const INDENT: &str = "  ";

fn split_page(page: &mut PageText, dataset: &Dataset) {
    let metadata = dataset.metadata();
    let description = describe(dataset);
    let Description { examples, puzzles, groups, repeated, .. } = &description;
    let kind = match dataset.kind() {
        PuzzleKind::Sudoku(size) => format!("Sudoku {size}, "),
        PuzzleKind::Maze { side } => format!("mazes {side}x{side}, "),
        PuzzleKind::Arc => "grids of ARC, ".to_string(),
        PuzzleKind::Grid { rows, columns, .. } => format!("grids {rows}x{columns}, "),
        PuzzleKind::Tokens { .. } => String::new(),
    };
    page.say(&format!(
        "{kind}{}, {}, {}, rows of {}, vocabulary of {}",
        counted(*examples, "example"),
        counted(*puzzles, "puzzle"),
        counted(*groups, "group"),
        counted(metadata.seq_len, "token"),
        metadata.vocab_size
    ));
    let sets = description.sets.iter().map(|set| format!("`{}` {}", set.name, grouped(set.examples as u64)));
    page.say(&format!("examples of each set: {}", sets.collect::<Vec<_>>().join(", ")));
    let (Some(inputs), Some(labels)) = (description.input_lengths, description.label_lengths) else { return };
    let lengths = |lengths: Lengths| match lengths {
        Lengths { min, max, .. } if min == max => format!("{min} in every row"),
        Lengths { min, median, max } => format!("{min} to {max} in a row, median {median}"),
    };
    page.say(&format!("tokens that are not padding: {}", lengths(inputs)));
    let ignored = description.ignored_labels as f64 / description.labels as f64;
    page.say(&format!("labels that count: {}; {} of all are ignored", lengths(labels), percent(ignored)));
    page.say(&match repeated.in_group + repeated.across_groups {
        0 => "no row occurs twice".to_string(),
        rows => format!(
            "{} of a row before, {} of them in its group",
            counted(rows, "repetition"),
            grouped(repeated.in_group as u64)
        ),
    });
    vocabulary(page, dataset, &description);
    for row in 0..dataset.examples().min(ROWS) {
        page.indented("");
        page.indented(&format!("row {row}"));
        for line in drawn_row(dataset, row, page.width - INDENT.len()).lines() {
            page.indented(line);
        }
    }
}

/// Lists the tokens that are there, with their shares as bars.
fn vocabulary(page: &mut PageText, dataset: &Dataset, description: &Description) {
    let Description { input_tokens, label_tokens, .. } = description;
    let share =
        |counts: &[u64], token: usize| counts[token] as f64 / counts.iter().sum::<u64>().max(1) as f64;
    let frequency = |token: usize| input_tokens[token] + label_tokens[token];
    let mut tokens: Vec<usize> = (0..input_tokens.len()).filter(|&token| frequency(token) > 0).collect();
    let others = tokens.len().saturating_sub(TOKENS);
    tokens.sort_by_key(|&token| std::cmp::Reverse(frequency(token)));
    tokens.truncate(TOKENS);
    tokens.sort_unstable();
    let names: Vec<String> = tokens
        .iter()
        .map(|&token| format!("{token:>3} {}", token_name(dataset.kind(), token as i32)))
        .collect();
    let name_width = names.iter().map(String::len).max().unwrap_or(0).max("token".len());
    const SHARE: usize = "100.00%".len();
    let shares = 2 * (SHARE + 3);
    let bar_width = (page.width.saturating_sub(INDENT.len() + name_width + shares) / 2).min(LONGEST_BAR);
    let half = SHARE + 1 + bar_width;
    page.indented("");
    page.indented(&format!(
        "{:name_width$}  {:half$}  {}",
        "token", "share of inputs", "of labels that count"
    ));
    for (token, name) in tokens.into_iter().zip(names) {
        let half = |counts: &[u64]| {
            let share = share(counts, token);
            // What is there has a bar.
            let filled = (share * bar_width as f64).ceil() as usize;
            format!("{:>SHARE$} {:<bar_width$}", percent(share), "=".repeat(filled))
        };
        page.indented(&format!("{name:name_width$}  {}  {}", half(input_tokens), half(label_tokens)));
    }
    if others > 0 {
        page.indented(&format!("and {} that are there less often", counted(others, "token")));
    }
}

/// Returns a row as a picture, or as its tokens.
fn drawn_row(dataset: &Dataset, row: usize, width: usize) -> String {
    let inputs: Vec<i32> = dataset.inputs(row).collect();
    let kind = dataset.kind();
    if matches!(kind, PuzzleKind::Grid { .. } | PuzzleKind::Tokens { .. }) {
        return tokens_of_row(dataset, row, width);
    }
    // Where a label is ignored, the answer is drawn with what the question has.
    let cells = inputs.iter().zip(dataset.labels(row));
    let answer: Vec<i32> =
        cells.map(|(&given, label)| if label == IGNORED_LABEL { given } else { label }).collect();
    let beside = side_by_side(kind, &inputs, &answer, None);
    let widest =
        anstream::adapter::strip_str(&beside).to_string().lines().map(|line| line.chars().count()).max();
    if widest.is_none_or(|widest| widest <= width) {
        return beside;
    }
    let drawn = |answer| terminal::coloured(&draw(kind, &inputs, answer, &[]));
    format!("{}\n{}", drawn(None), drawn(Some(&answer)))
}

/// Returns the tokens of a row: a line for each line of a grid or a square where that fits, without the padding at its
/// right and below. Padding and ignored labels are dots. Tokens of small vocabularies are one character: 0 to 9, then a
/// to z.
fn tokens_of_row(dataset: &Dataset, row: usize, width: usize) -> String {
    let metadata = dataset.metadata();
    let side = match dataset.kind() {
        PuzzleKind::Grid { columns, .. } => Some(columns),
        _ => Some(metadata.seq_len.isqrt()).filter(|side| side * side == metadata.seq_len),
    };
    let inputs: Vec<Option<i32>> =
        dataset.inputs(row).map(|token| (token != metadata.pad_id).then_some(token)).collect();
    let labels: Vec<Option<i32>> =
        dataset.labels(row).map(|label| (label != IGNORED_LABEL).then_some(label)).collect();
    let base = if metadata.vocab_size <= 36 { 36 } else { 10 };
    let digits = if base == 36 { 1 } else { (metadata.vocab_size - 1).to_string().len() };
    let used = |tokens: &[Option<i32>]| {
        let side = side?;
        (0..tokens.len()).filter(|&place| tokens[place].is_some()).map(|place| place % side + 1).max()
    };
    let columns = used(&inputs).max(used(&labels)).unwrap_or(0);
    let side = side.filter(|_| columns * digits <= width);
    let gap = usize::from(side.is_none() || columns * (digits + 1) <= width);
    let in_line = (width / (digits + 1)).max(1);
    let (line, shown) = side.map_or((in_line, in_line), |side| (side, columns));
    let lines = |tokens: &[Option<i32>]| {
        let end = tokens.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let text = |token: &Option<i32>| {
            let name = match token {
                None => ".".to_string(),
                Some(token) if base == 36 => char::from_digit(*token as u32, base).into_iter().collect(),
                Some(token) => token.to_string(),
            };
            format!("{name:>digits$}{:gap$}", "")
        };
        let lines = tokens[..end].chunks(line);
        lines.map(|line| line.iter().take(shown).map(text).collect::<String>() + "\n").collect::<String>()
    };
    format!("{}labels\n{}", lines(&inputs), lines(&labels))
}

fn leak_page(page: &mut PageText, comparison: &LeakReport) {
    page.say(&in_words(comparison));
    let LeakReport { leaks, solutions, other } = comparison;
    page_of_first(page, &leaks.first, leaks.count);
    if leaks.of_other_identifiers > 0 && other.is_none() {
        page.say(&format!(
            "{} of them are training rows of another puzzle identifier only",
            grouped(leaks.of_other_identifiers as u64)
        ));
    }
    if leaks.undecided > 0 {
        page.say(&format!(
            "{} compared as they are, for want of a canonical form",
            counted(leaks.undecided, "test row")
        ));
    }
    if let Some(solutions) = solutions {
        page.say(&format!(
            "test answers with a solution grid equivalent to that of a training puzzle: {} of {}",
            grouped(solutions.count as u64),
            grouped(solutions.of as u64)
        ));
        page_of_first(page, &solutions.first, solutions.count);
    }
}

/// Says which rows are the first ones.
fn page_of_first(page: &mut PageText, first: &[Leak], count: usize) {
    if first.is_empty() {
        return;
    }
    let rows = first.iter().map(|leak| format!("{} as {}", leak.test, leak.train));
    let more = if count > first.len() { ", …" } else { "" };
    page.say(&format!(
        "test rows as training rows, counted from 0: {}{more}",
        rows.collect::<Vec<_>>().join(", ")
    ));
}

/// Says how rows that were found are in the training data.
pub fn how_found(leaks: &Leaks) -> String {
    match (leaks.equal, leaks.count - leaks.equal) {
        (_, 0) => "all equal".to_string(),
        (0, _) => "all by a symmetry".to_string(),
        (equal, moved) => {
            format!("{} equal, {} by a symmetry", grouped(equal as u64), grouped(moved as u64))
        }
    }
}

/// Says how many test rows training data contains.
fn in_words(comparison: &LeakReport) -> String {
    let Leaks { count, of, groups, of_groups, .. } = comparison.leaks;
    let train = comparison.train();
    let of = counted(of, "test row");
    if count == 0 {
        return format!("none of {of} is in {train}");
    }
    let how = how_found(&comparison.leaks);
    format!(
        "{} of {of} {} also in {train} ({} of {}), {how}",
        grouped(count as u64),
        if count == 1 { "is" } else { "are" },
        grouped(groups as u64),
        counted(of_groups, "group")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{BuiltDataset, Copies, MazeRequest, generate_maze_splits};

    /// Returns the pages of mazes of 30x30, and of rows that hrmc knows nothing of: squares of few tokens, and lines of
    /// many.
    fn pages(width: usize) -> [String; 3] {
        let request = MazeRequest { side: 30, min_path: 30, train: 2, test: 1, seed: 0 };
        let splits = generate_maze_splits(&request).expect("there are some");
        let kind = PuzzleKind::Maze { side: 30 };
        let BuiltDataset { train, test, .. } =
            BuiltDataset::from_puzzles(kind, &splits, Copies::None, 0).expect("it fits");
        let mazes = OpenSplits { train: Some(train), test: Some(test) };
        let row = |token: i32| ((0..90).map(|place| (place * token) % 900).collect(), vec![token; 90]);
        let rows: Vec<(Vec<i32>, Vec<i32>)> = (1..60).map(row).collect();
        let plain = |vocab, rows: &[(Vec<i32>, Vec<i32>)]| {
            let dataset = || Some(Dataset::from_rows(vocab, rows).expect("it is sound"));
            OpenSplits { train: dataset(), test: dataset() }
        };
        let square: Vec<i32> = (0..900).map(|cell| cell % 11 + 1).collect();
        let squares = plain(12, &[(square.clone(), square)]);
        [mazes, squares, plain(900, &rows)].map(|splits| {
            let (train, test) = (splits.train.as_ref().expect("given"), splits.test.as_ref().expect("given"));
            let comparison = LeakReport::of(Some(PathBuf::from("data/other")), train, test);
            let text = page(Path::new("data/mine"), &splits, &[comparison], width);
            anstream::adapter::strip_str(&text).to_string()
        })
    }

    #[test]
    fn a_page_fits_60_to_200_columns_and_uses_them() {
        let widest = |page: &str| page.lines().map(|line| line.chars().count()).max().expect("it has lines");
        for width in [60, 61, 80, 120, 200] {
            for page in pages(width) {
                assert!(widest(&page) <= width, "{width}: {page}");
            }
        }
        assert_eq!(pages(20), pages(60));
        assert_eq!(pages(300), pages(200));
        let [_, squares, plain] = pages(200);
        assert!(widest(&plain) > 120, "{plain}");
        let first = "1 2 3 4 5 6 7 8 9 a b 1 2 3 4 5 6 7 8 9 a b 1 2 3 4 5 6 7 8";
        assert!(squares.contains(&format!("row 0\n  {first}\n")), "{squares}");
        assert!(pages(60)[1].contains(&format!("row 0\n  {}\n", first.replace(' ', ""))));
        let [narrow, wide] = [60, 80].map(|width| pages(width)[0].lines().count());
        assert!(
            narrow > wide + 60,
            "question and answer of a maze lie beside each other where there is room"
        );
    }

    #[test]
    fn the_most_frequent_tokens_of_a_large_vocabulary_are_listed() {
        let [_, _, plain] = pages(80);
        // 809 of the 900 tokens are there.
        assert!(plain.contains("  and 785 tokens that are there less often\n"), "{plain}");
        let listed = |line: &&str| line.contains('%') && line.contains("==");
        assert!(plain.lines().filter(listed).count() <= 2 * TOKENS);
    }
}
