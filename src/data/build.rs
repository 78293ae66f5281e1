//! Building datasets from CSV files, or from generated puzzles.
//!
//! A folder has `train.csv` and `test.csv` with the columns `source,question,answer,rating` of the public
//! Sudoku and maze sets. What is built has the content that the published builders give it wherever they
//! leave nothing to chance: the same rows in the same order, groups and identifiers. They never seed their
//! random numbers, so subsets and random copies can only be alike in kind. Unlike them, every row is checked.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::augment::Augment;
use super::csv_rows::{CsvRow, CsvRows};
use super::dataset::{Dataset, DatasetBuilder, Metadata, Split};
use super::dihedral::{DIHEDRAL_IMAGES, dihedral_image};
use super::error::DataError;
use super::folder::check_csv;
use super::kind::PuzzleKind;
use super::maze;
use super::pair::{Pair, PuzzleSplits};
use super::random::Stream;
use super::sudoku::{self, BLANK, DIGIT_ZERO, SudokuSize};
use super::write::{SplitToWrite, write_dataset, write_split};
use super::writer::{DatasetWriter, Existing, TokenType, WrittenDataset};
use crate::reading::{self, shortened};

/// The header of a CSV file.
const COLUMNS: [&str; 4] = ["source", "question", "answer", "rating"];

/// How to build a Sudoku dataset from CSV files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SudokuBuild {
    /// Size of the grids.
    pub size: SudokuSize,
    /// Training puzzles to keep, drawn at random; all of them if there are not more.
    pub subsample: Option<usize>,
    /// Random symmetric copies of each training puzzle, besides the puzzle itself.
    pub copies: usize,
    /// Lowest rating to keep, in training and test; it is applied before the subsample is drawn.
    pub min_difficulty: Option<i64>,
    /// Seed of the subsample and of the copies.
    pub seed: u64,
}

/// How to build a maze dataset from CSV files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MazeBuild {
    /// Training mazes to keep, drawn at random; all of them if there are not more.
    pub subsample: Option<usize>,
    /// Whether each training maze is given in all eight dihedral images.
    pub dihedral: bool,
    /// Seed of the subsample.
    pub seed: u64,
}

/// Copies of each training puzzle; a puzzle and its copies make up a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// None, only the puzzle itself.
    None,
    /// This many random Sudoku symmetries, besides the puzzle itself.
    Symmetries(usize),
    /// All eight turns and flips of a maze, the puzzle itself being the first.
    Dihedral,
}

/// A dataset that was built, ready to be used or written.
#[derive(Debug, Clone, PartialEq)]
pub struct BuiltDataset {
    /// Training split.
    pub train: Dataset,
    /// Test split.
    pub test: Dataset,
    /// Integer type of the training tokens when written, as the published builders choose it.
    pub train_tokens: TokenType,
}

impl BuiltDataset {
    /// Builds a dataset from puzzles of one kind. Only training puzzles are copied.
    ///
    /// A random copy never shows the solution grid of a test puzzle.
    ///
    /// # Errors
    ///
    /// If the copies do not fit the kind of puzzle, or a puzzle does not have the size of the kind.
    pub fn from_puzzles(
        kind: PuzzleKind,
        splits: &PuzzleSplits,
        copies: Copies,
        seed: u64,
    ) -> Result<BuiltDataset, DataError> {
        check_copies(kind, copies)?;
        let test = in_memory(kind, &splits.test)?;
        let mut train = DatasetBuilder::new(Metadata::for_kind(kind))?;
        let mut copier = Copier::new(kind, copies, seed, &test);
        for pair in &splits.train {
            for copy in copier.group(pair) {
                train.add_example(&copy.question, &copy.answer)?;
                if let Some(rating) = copy.rating {
                    train.rate_example(rating);
                }
                train.end_puzzle(0)?;
            }
            train.end_group()?;
        }
        Ok(BuiltDataset { train: train.finish()?, test, train_tokens: train_tokens(copies) })
    }

    /// Writes the dataset to a folder.
    ///
    /// # Errors
    ///
    /// As [`write_dataset`].
    pub fn write(&self, folder: impl AsRef<Path>, existing: Existing) -> Result<(), DataError> {
        let splits = [
            SplitToWrite { split: Split::Train, dataset: &self.train, tokens: self.train_tokens },
            SplitToWrite { split: Split::Test, dataset: &self.test, tokens: TokenType::U1 },
        ];
        write_dataset(folder, &splits, &[BLANK_IDENTIFIER.to_owned()], existing)
    }
}

/// Puzzles that are to become a dataset in a folder. Copies are made while they are written, and never all at once.
#[derive(Debug, Clone, PartialEq)]
pub struct PuzzleBuild {
    kind: PuzzleKind,
    splits: PuzzleSplits,
    copies: Copies,
    seed: u64,
}

impl PuzzleBuild {
    /// Says what is to be built. Only training puzzles are copied.
    ///
    /// # Errors
    ///
    /// If the copies do not fit the kind of puzzle.
    pub fn new(
        kind: PuzzleKind,
        splits: PuzzleSplits,
        copies: Copies,
        seed: u64,
    ) -> Result<PuzzleBuild, DataError> {
        check_copies(kind, copies)?;
        Ok(PuzzleBuild { kind, splits, copies, seed })
    }

    /// Builds the dataset in memory.
    ///
    /// # Errors
    ///
    /// If a puzzle does not have the size of the kind.
    pub fn in_memory(&self) -> Result<BuiltDataset, DataError> {
        BuiltDataset::from_puzzles(self.kind, &self.splits, self.copies, self.seed)
    }

    /// Writes the dataset to a folder, with the bytes that [`BuiltDataset::write`] would give it, and returns what was
    /// written.
    ///
    /// `may_go_on` is called before every group and before the dataset is moved to its place. It may stop the work
    /// there, which then leaves nothing.
    ///
    /// # Errors
    ///
    /// As [`write_dataset`]; besides, if a puzzle does not have the size of the kind.
    pub fn write(
        &self,
        folder: impl AsRef<Path>,
        existing: Existing,
        may_go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), WrittenDataset>, DataError> {
        let test = in_memory(self.kind, &self.splits.test)?;
        let mut copier = Copier::new(self.kind, self.copies, self.seed, &test);
        let writer = DatasetWriter::create(folder.as_ref(), existing)?;
        let metadata = Metadata::for_kind(self.kind);
        let Metadata { seq_len, vocab_size, num_puzzle_identifiers, .. } = metadata;
        let mut rows = writer.begin_split(Split::Train, metadata, train_tokens(self.copies))?;
        for pair in &self.splits.train {
            if may_go_on().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            for copy in copier.group(pair) {
                rows.add_example(&copy.question, &copy.answer)?;
                if let Some(rating) = copy.rating {
                    rows.rate_example(rating);
                }
                rows.end_puzzle(0)?;
            }
            rows.end_group()?;
        }
        let train = rows.finish(num_puzzle_identifiers)?;
        let split = SplitToWrite { split: Split::Test, dataset: &test, tokens: TokenType::U1 };
        let ControlFlow::Continue(test) = write_split(&writer, &split, may_go_on)? else {
            return Ok(ControlFlow::Break(()));
        };
        if may_go_on().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        writer.finish(&[BLANK_IDENTIFIER.to_owned()])?;
        Ok(ControlFlow::Continue(WrittenDataset { train, test, seq_len, vocab_size }))
    }
}

/// The name of the only identifier, which belongs to no puzzle.
const BLANK_IDENTIFIER: &str = "<blank>";

fn check_copies(kind: PuzzleKind, copies: Copies) -> Result<(), DataError> {
    match (copies, kind) {
        (Copies::None, _)
        | (Copies::Symmetries(_), PuzzleKind::Sudoku(_))
        | (Copies::Dihedral, PuzzleKind::Maze { .. }) => Ok(()),
        (Copies::Symmetries(_), PuzzleKind::Maze { .. }) => {
            Err(DataError::request("a maze has no Sudoku symmetries; ask for dihedral images"))
        }
        (Copies::Dihedral, PuzzleKind::Sudoku(_)) => {
            Err(DataError::request("Sudoku is copied by its own symmetries, not turned and flipped"))
        }
        (Copies::Symmetries(_) | Copies::Dihedral, _) => Err(DataError::request(format!(
            "no symmetries are known of rows of the kind `{}`; ask for no copies",
            kind.family()
        ))),
    }
}

fn train_tokens(copies: Copies) -> TokenType {
    match copies {
        Copies::Symmetries(count) if count > 0 => TokenType::I8,
        Copies::Symmetries(_) | Copies::Dihedral | Copies::None => TokenType::U1,
    }
}

/// Makes the copies of one training puzzle after the other.
struct Copier {
    copies: Copies,
    augment: Option<Augment>,
    random: Stream,
}

impl Copier {
    /// Returns what makes copies of training puzzles, of which no random one shows the solution grid of a puzzle of
    /// `test`.
    fn new(kind: PuzzleKind, copies: Copies, seed: u64, test: &Dataset) -> Copier {
        let augment = match (copies, kind) {
            (Copies::Symmetries(_), PuzzleKind::Sudoku(size)) => Some(Augment::new(size).with_held_out(test)),
            _ => None,
        };
        Copier { copies, augment, random: Stream::new(seed, "augment", 0) }
    }

    /// Returns a puzzle and its copies.
    fn group(&mut self, pair: &Pair) -> Vec<Pair> {
        match (self.copies, &self.augment) {
            (Copies::Symmetries(count), Some(augment)) => {
                let mut group = vec![pair.clone()];
                group.extend((0..count).map(|_| {
                    let (question, answer) = augment.draw(&pair.question, &pair.answer, 1, &mut self.random);
                    Pair { question, answer, rating: pair.rating }
                }));
                group
            }
            (Copies::Dihedral, _) => (0..DIHEDRAL_IMAGES)
                .map(|image| Pair {
                    question: dihedral_image(&pair.question, image),
                    answer: dihedral_image(&pair.answer, image),
                    rating: pair.rating,
                })
                .collect(),
            (Copies::None | Copies::Symmetries(_), _) => vec![pair.clone()],
        }
    }
}

/// Returns puzzles as a split in memory, each in a group of its own.
fn in_memory(kind: PuzzleKind, pairs: &[Pair]) -> Result<Dataset, DataError> {
    let mut builder = DatasetBuilder::new(Metadata::for_kind(kind))?;
    for pair in pairs {
        builder.add_example(&pair.question, &pair.answer)?;
        if let Some(rating) = pair.rating {
            builder.rate_example(rating);
        }
        builder.end_puzzle(0)?;
        builder.end_group()?;
    }
    builder.finish()
}

/// Reads what a Sudoku dataset is built of from `train.csv` and `test.csv` in a folder.
///
/// # Errors
///
/// If a file is missing, a row is not a puzzle with its answer, or nothing is left of a split.
pub fn build_sudoku(folder: impl AsRef<Path>, options: &SudokuBuild) -> Result<PuzzleBuild, DataError> {
    let read = |split: Split| {
        let (file, reader) = open_csv(folder.as_ref(), split)?;
        sudoku_pairs(&file, reader, options.size, options.min_difficulty)
    };
    let train = subsample(read(Split::Train)?, options.subsample, options.seed)?;
    let splits = PuzzleSplits { train, test: read(Split::Test)? };
    let copies = Copies::Symmetries(options.copies);
    PuzzleBuild::new(PuzzleKind::Sudoku(options.size), splits, copies, options.seed)
}

/// Reads the Sudoku of a CSV file with a rating of at least `lowest`; errors call it `file`. A rating that is no whole
/// number is only an error where `lowest` is given.
///
/// # Errors
///
/// If a row is not a puzzle with its answer, or there is none.
pub fn sudoku_pairs(
    file: &Path,
    input: impl Read,
    size: SudokuSize,
    lowest: Option<i64>,
) -> Result<Vec<Pair>, DataError> {
    let mut pairs = Vec::new();
    read_csv(file, input, |row| {
        if let Some(lowest) = lowest {
            let rating: i64 = row[3]
                .parse()
                .map_err(|_| format!("the rating `{}` is not a whole number", shortened(&row[3])))?;
            if rating < lowest {
                return Ok(());
            }
        }
        let pair = parse_sudoku(size, &row[1], &row[2])?;
        pairs.push(Pair { rating: row[3].parse().ok(), ..pair });
        Ok(())
    })?;
    if pairs.is_empty() {
        let reason = match lowest {
            Some(lowest) => format!("has no puzzle with a rating of at least {lowest}"),
            None => "has no puzzles".to_owned(),
        };
        return Err(DataError::file(file, reason));
    }
    Ok(pairs)
}

/// Reads what a maze dataset is built of from `train.csv` and `test.csv` in a folder. The first row decides the size.
///
/// # Errors
///
/// If a file is missing, a row is not a maze with a path, or a split is empty.
pub fn build_maze(folder: impl AsRef<Path>, options: &MazeBuild) -> Result<PuzzleBuild, DataError> {
    let mut side = None;
    let mut read = |split: Split| {
        let (file, reader) = open_csv(folder.as_ref(), split)?;
        maze_pairs(&file, reader, &mut side)
    };
    let train = subsample(read(Split::Train)?, options.subsample, options.seed)?;
    let splits = PuzzleSplits { train, test: read(Split::Test)? };
    let side = side.expect("a split that is not empty has a first row");
    let copies = if options.dihedral { Copies::Dihedral } else { Copies::None };
    PuzzleBuild::new(PuzzleKind::Maze { side }, splits, copies, options.seed)
}

/// Reads the mazes of a CSV file, of the side that is given, or else that of the first one; errors call it `file`.
///
/// # Errors
///
/// If a row is not a maze with a path, or there is none.
pub fn maze_pairs(file: &Path, input: impl Read, side: &mut Option<usize>) -> Result<Vec<Pair>, DataError> {
    let mut pairs = Vec::new();
    read_csv(file, input, |row| {
        let side = match *side {
            Some(side) => side,
            None => *side.insert(side_of(&row[1])?),
        };
        pairs.push(parse_maze(side, &row[1], &row[2])?);
        Ok(())
    })?;
    if pairs.is_empty() {
        return Err(DataError::file(file, "has no mazes"));
    }
    Ok(pairs)
}

fn subsample(pairs: Vec<Pair>, count: Option<usize>, seed: u64) -> Result<Vec<Pair>, DataError> {
    match count {
        Some(0) => Err(DataError::request("a subsample of 0 puzzles leaves nothing to train on")),
        Some(count) if count < pairs.len() => {
            let chosen = Stream::new(seed, "subsample", 0).sample(pairs.len(), count);
            Ok(chosen.into_iter().map(|index| pairs[index].clone()).collect())
        }
        Some(_) | None => Ok(pairs),
    }
}

/// Opens the CSV file of a split.
fn open_csv(folder: &Path, split: Split) -> Result<(PathBuf, impl Read), DataError> {
    check_csv(folder)?;
    let file = folder.join(format!("{split}.csv"));
    match reading::open(&file, &reading::CSV) {
        Ok((reader, _)) => Ok((file, reader)),
        Err(reason) => Err(DataError::Read { file, reason }),
    }
}

/// Gives each row after the header to `take`, whose error becomes that of the row.
fn read_csv(
    file: &Path,
    input: impl Read,
    mut take: impl FnMut(&StringRecord) -> Result<(), String>,
) -> Result<(), DataError> {
    // A maze may begin and end with open cells, which are part of a field. A row with too few or too many columns is
    // reported below, with its own message.
    let mut rows = CsvRows::new(input);
    let mut row = 0;
    let mut has_header = false;
    while let Some(CsvRow { record, line }) = rows.next_row().map_err(|fault| fault.error(file, row + 1))? {
        if !has_header {
            check_header(record).map_err(|reason| DataError::file(file, reason))?;
            has_header = true;
            continue;
        }
        row += 1;
        let result = if record.len() == COLUMNS.len() {
            take(record)
        } else {
            Err(format!("has {} columns; expected {}", record.len(), COLUMNS.join(",")))
        };
        result.map_err(|reason| DataError::CsvRow { file: file.to_owned(), row, line, reason })?;
    }
    if has_header {
        Ok(())
    } else {
        Err(DataError::file(file, format!("is empty; expected the header `{}`", COLUMNS.join(","))))
    }
}

fn check_header(record: &StringRecord) -> Result<(), String> {
    if record.iter().eq(COLUMNS) {
        return Ok(());
    }
    let found: Vec<&str> = record.iter().collect();
    let found = shortened(&found.join(","));
    Err(format!("begins with the columns `{found}`; expected `{}`", COLUMNS.join(",")))
}

fn check_length(what: &str, text: &str, side: usize) -> Result<(), String> {
    let cells = side * side;
    match text.chars().count() {
        count if count == cells => Ok(()),
        count => Err(format!("the {what} has {count} characters; expected {cells} for {side}x{side}")),
    }
}

fn place(side: usize, cell: usize) -> String {
    format!("row {}, column {}", cell / side + 1, cell % side + 1)
}

fn parse_sudoku(size: SudokuSize, question: &str, answer: &str) -> Result<Pair, String> {
    let side = size.side();
    let digit = |character: char| sudoku::digit(size, character);
    check_length("question", question, side)?;
    check_length("answer", answer, side)?;
    let row = || Vec::with_capacity(side * side);
    let mut pair = Pair { question: row(), answer: row(), rating: None };
    for (cell, character) in question.chars().enumerate() {
        pair.question.push(match (character, digit(character)) {
            ('.' | '0', _) => BLANK,
            (_, Some(digit)) => DIGIT_ZERO + digit,
            (_, None) => {
                let place = place(side, cell);
                return Err(format!(
                    "the question has `{character}` at {place} of the grid; expected 1 to {side} or `.`"
                ));
            }
        });
    }
    for (cell, character) in answer.chars().enumerate() {
        let Some(digit) = digit(character) else {
            let place = place(side, cell);
            return Err(format!("the answer has `{character}` at {place} of the grid; expected 1 to {side}"));
        };
        let token = DIGIT_ZERO + digit;
        if pair.question[cell] != BLANK && pair.question[cell] != token {
            return Err(format!(
                "the answer has {digit} at {} of the grid, where the question has {}",
                place(side, cell),
                pair.question[cell] - DIGIT_ZERO
            ));
        }
        pair.answer.push(token);
    }
    match sudoku::find_conflict(size, &pair.answer) {
        None => Ok(pair),
        Some(conflict) => Err(format!(
            "the answer has {} twice in a {}: at {} and at {} of the grid",
            pair.answer[conflict.first] - DIGIT_ZERO,
            conflict.unit,
            place(side, conflict.first),
            place(side, conflict.second)
        )),
    }
}

fn side_of(question: &str) -> Result<usize, String> {
    let cells = question.chars().count();
    let side = cells.isqrt();
    if side * side == cells && side > 1 {
        Ok(side)
    } else {
        Err(format!("the question has {cells} characters, which do not make a square maze"))
    }
}

fn parse_maze(side: usize, question: &str, answer: &str) -> Result<Pair, String> {
    let parse = |what: &str, text: &str| {
        check_length(what, text, side)?;
        let token = |(cell, character)| {
            maze::token(character).ok_or_else(|| {
                let place = place(side, cell);
                format!("the {what} has `{character}` at {place} of the maze; expected `#`, space, `S`, `G` or `o`")
            })
        };
        text.chars().enumerate().map(token).collect::<Result<Vec<i32>, String>>()
    };
    let pair =
        Pair { question: parse("question", question)?, answer: parse("answer", answer)?, rating: None };
    maze::check_question(&pair.question)?;
    maze::check_answer(&pair.question, &pair.answer)?;
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::maze::generate_maze;
    use super::super::puzzle::is_valid_solution;
    use super::super::size::SplitSize;
    use super::super::sudoku::generate_sudoku;
    use super::*;

    const HEADER: &str = "source,question,answer,rating\n";
    const FOUR: SudokuBuild =
        SudokuBuild { size: SudokuSize::Four, subsample: None, copies: 0, min_difficulty: None, seed: 0 };
    const MAZE: MazeBuild = MazeBuild { subsample: None, dihedral: false, seed: 0 };
    const SUDOKU_ROW: &str = "x,1..4.4.2..4.4..1,1234341221434321,3\n";
    const MAZE_ROW: &str = "x,S  ##    G   # #,So ##o   G   # #,3\n";

    /// A folder with these two files, given without their headers.
    fn folder(train: &str, test: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("train.csv"), format!("{HEADER}{train}")).unwrap();
        fs::write(folder.path().join("test.csv"), format!("{HEADER}{test}")).unwrap();
        folder
    }

    fn message(folder: &tempfile::TempDir, result: Result<PuzzleBuild, DataError>) -> String {
        result.unwrap_err().to_string().replace(&folder.path().display().to_string(), "DIR")
    }

    fn sudoku_message(row: &str) -> String {
        let folder = folder(&format!("{SUDOKU_ROW}{row}\n"), SUDOKU_ROW);
        let message = message(&folder, build_sudoku(folder.path(), &FOUR));
        message.strip_prefix("`DIR/train.csv`, row 2 (line 3): ").unwrap().to_owned()
    }

    fn maze_message(row: &str) -> String {
        let folder = folder(MAZE_ROW, &format!("{MAZE_ROW}{row}\n"));
        let message = message(&folder, build_maze(folder.path(), &MAZE));
        message.strip_prefix("`DIR/test.csv`, row 2 (line 3): ").unwrap().to_owned()
    }

    /// Puzzles that are rated by their number.
    fn rated(size: SudokuSize, givens: usize, count: usize) -> Vec<Pair> {
        let made = generate_sudoku(size, givens, count, 0).unwrap();
        made.into_iter().zip(0..).map(|(pair, rating)| Pair { rating: Some(rating), ..pair }).collect()
    }

    fn character_row(pair: &Pair, character: impl Fn(i32) -> char, rating: Option<i32>) -> String {
        let rating = rating.map_or("easy".to_owned(), |rating| rating.to_string());
        let text = |tokens: &[i32]| tokens.iter().map(|&token| character(token)).collect::<String>();
        format!("made,{},{},{rating}\n", text(&pair.question), text(&pair.answer))
    }

    fn sudoku_rows(pairs: &[Pair]) -> String {
        let character =
            |token| if token == BLANK { '.' } else { char::from(b'0' + (token - DIGIT_ZERO) as u8) };
        pairs.iter().map(|pair| character_row(pair, character, pair.rating)).collect()
    }

    fn maze_rows(pairs: &[Pair]) -> String {
        pairs.iter().map(|pair| character_row(pair, maze::character, Some(0))).collect()
    }

    fn write(build: &PuzzleBuild, folder: &Path) -> WrittenDataset {
        let go_on = &mut || ControlFlow::Continue(());
        build.write(folder, Existing::Refuse, go_on).unwrap().continue_value().unwrap()
    }

    fn pairs(dataset: &Dataset) -> Vec<Pair> {
        (0..dataset.examples())
            .map(|example| Pair {
                question: dataset.inputs(example).collect(),
                answer: dataset.labels(example).collect(),
                rating: dataset.rating(example),
            })
            .collect()
    }

    #[test]
    fn sudoku_rows_keep_their_order_and_make_one_group_each() {
        let made = rated(SudokuSize::Nine, 40, 6);
        let folder = folder(&sudoku_rows(&made[..4]), &sudoku_rows(&made[4..]));
        let options = SudokuBuild { size: SudokuSize::Nine, copies: 3, ..FOUR };
        let built = build_sudoku(folder.path(), &options).unwrap().in_memory().unwrap();
        assert_eq!(built.train_tokens, TokenType::I8);
        assert_eq!(pairs(&built.test), made[4..]);
        assert_eq!((built.train.groups(), built.train.puzzles()), (4, 16));
        let train = pairs(&built.train);
        for (group, original) in made[..4].iter().enumerate() {
            let copies = &train[4 * group..4 * group + 4];
            assert_eq!(&copies[0], original);
            for copy in &copies[1..] {
                assert_ne!(copy.question, original.question);
                assert_eq!(copy.rating, original.rating, "a copy is as hard");
                assert!(is_valid_solution(
                    PuzzleKind::Sudoku(SudokuSize::Nine),
                    &copy.question,
                    &copy.answer
                ));
            }
        }
    }

    #[test]
    fn sudoku_without_copies_is_the_file_itself() {
        let made = rated(SudokuSize::Six, 20, 6);
        let folder = folder(&sudoku_rows(&made[..4]), &sudoku_rows(&made[4..]));
        let options = SudokuBuild { size: SudokuSize::Six, ..FOUR };
        let built = build_sudoku(folder.path(), &options).unwrap().in_memory().unwrap();
        assert_eq!(built.train_tokens, TokenType::U1);
        assert_eq!(pairs(&built.train), made[..4]);
    }

    #[test]
    fn what_is_written_copy_by_copy_is_what_memory_holds() {
        let made = rated(SudokuSize::Four, 8, 6);
        let folder = folder(&sudoku_rows(&made[..4]), &sudoku_rows(&made[4..]));
        let build = build_sudoku(folder.path(), &SudokuBuild { copies: 5, ..FOUR }).unwrap();
        let (streamed, whole) = (folder.path().join("streamed"), folder.path().join("whole"));
        let written = write(&build, &streamed);
        let built = build.in_memory().unwrap();
        built.write(&whole, Existing::Refuse).unwrap();
        let mut files = 0;
        for split in [Split::Train, Split::Test] {
            for entry in fs::read_dir(whole.join(split.name())).unwrap() {
                let name = entry.unwrap().file_name();
                let read = |folder: &Path| fs::read(folder.join(split.name()).join(&name)).unwrap();
                assert!(read(&streamed) == read(&whole), "{split} {}", name.display());
                files += 1;
            }
        }
        assert_eq!(files, 14, "six arrays, one of them of ratings, and the metadata of each split");
        assert_eq!(written.train, SplitSize { examples: 24, puzzles: 24, groups: 4, rated: 24 });
        assert_eq!(pairs(&Dataset::open(&streamed, Split::Train).unwrap()), pairs(&built.train));
        let metadata = Metadata::read(&streamed, Split::Train).unwrap().unwrap();
        assert_eq!(SplitSize::read(&streamed, Split::Train, &metadata).unwrap(), written.train);
    }

    #[test]
    fn ratings_are_written_if_every_row_has_one() {
        let mut made = rated(SudokuSize::Four, 8, 6);
        made[1].rating = None;
        let folder = folder(&sudoku_rows(&made[..4]), &sudoku_rows(&made[4..]));
        let build = build_sudoku(folder.path(), &FOUR).unwrap();
        let out = folder.path().join("out");
        write(&build, &out);
        let ratings = |split| {
            let dataset = Dataset::open(&out, split).unwrap();
            (0..dataset.examples()).map(|example| dataset.rating(example)).collect::<Vec<_>>()
        };
        assert_eq!(ratings(Split::Test), [Some(4), Some(5)]);
        assert_eq!(ratings(Split::Train), [None; 4]);
        assert!(!out.join("train/all__ratings.npy").exists());
    }

    #[test]
    fn difficulty_is_applied_to_both_splits_before_the_subsample() {
        let made = rated(SudokuSize::Four, 8, 10);
        let rows = sudoku_rows(&made);
        let folder = folder(&rows, &rows);
        let build =
            |options: &SudokuBuild| build_sudoku(folder.path(), options).unwrap().in_memory().unwrap();
        let built = build(&SudokuBuild { subsample: Some(3), min_difficulty: Some(6), ..FOUR });
        assert_eq!(pairs(&built.test), made[6..]);
        let chosen = pairs(&built.train);
        assert_eq!(chosen.len(), 3);
        assert!(chosen.iter().all(|pair| made[6..].contains(pair)));

        let all = SudokuBuild { subsample: Some(10), ..FOUR };
        assert_eq!(pairs(&build(&all).train), made);
        let few = |seed| build(&SudokuBuild { subsample: Some(5), copies: 1, seed, ..FOUR }).train;
        assert_eq!(few(1), few(1));
        assert_ne!(few(1), few(2));
    }

    #[test]
    fn a_maze_comes_in_all_its_images() {
        let made = generate_maze(6, 6, 3, 0).unwrap();
        let folder = folder(&maze_rows(&made[..2]), &maze_rows(&made[2..]));
        let build = |options| build_maze(folder.path(), &options).unwrap().in_memory().unwrap();
        let built = build(MazeBuild { dihedral: true, ..MAZE });
        assert_eq!((built.train.groups(), built.train.puzzles()), (2, 16));
        assert_eq!(pairs(&built.test), made[2..]);
        for (example, pair) in pairs(&built.train).iter().enumerate() {
            assert_eq!(pair.question, dihedral_image(&made[example / 8].question, example % 8));
            assert_eq!(pair.answer, dihedral_image(&made[example / 8].answer, example % 8));
        }
        assert_eq!(pairs(&build(MAZE).train), made[..2]);
    }

    #[test]
    fn a_sudoku_of_16x16_is_read_with_letters_and_copied() {
        let cell = |cell: usize| (cell / 16 % 4 * 4 + cell / 64 + cell % 16) % 16;
        let answer: String = (0..256).map(|at| "123456789ABCDEFG".as_bytes()[cell(at)] as char).collect();
        let question: String = answer.chars().map(|digit| if digit == 'C' { '.' } else { digit }).collect();
        let row = format!("x,{question},{answer},0\n");
        let folder = folder(&row, &row);
        let options = SudokuBuild { size: SudokuSize::Sixteen, copies: 2, ..FOUR };
        let built = build_sudoku(folder.path(), &options).unwrap().in_memory().unwrap();
        let kind = PuzzleKind::Sudoku(SudokuSize::Sixteen);
        assert_eq!((built.train.kind(), built.train.examples()), (kind, 3));
        for example in 0..3 {
            let question: Vec<i32> = built.train.inputs(example).collect();
            let labels: Vec<i32> = built.train.labels(example).collect();
            assert!(kind.accepts(&question, &labels));
        }
    }

    #[test]
    fn small_mazes_are_not_taken_for_sudoku() {
        let folder = folder(MAZE_ROW, MAZE_ROW);
        let build = build_maze(folder.path(), &MAZE).unwrap();
        write(&build, &folder.path().join("out"));
        let read = Dataset::open(folder.path().join("out"), Split::Train).unwrap();
        assert_eq!(read.kind(), PuzzleKind::Maze { side: 4 });
    }

    #[test]
    fn copies_never_show_a_test_solution() {
        let request =
            sudoku::SudokuRequest { size: SudokuSize::Four, givens: 8, train: 50, test: 50, seed: 0 };
        let splits = sudoku::generate_sudoku_splits(&request).unwrap();
        let kind = PuzzleKind::Sudoku(SudokuSize::Four);
        let built = BuiltDataset::from_puzzles(kind, &splits, Copies::Symmetries(10), 0).unwrap();
        let test: Vec<Vec<i32>> = splits.test.into_iter().map(|pair| pair.answer).collect();
        assert!(pairs(&built.train).iter().all(|pair| !test.contains(&pair.answer)));
    }

    #[test]
    fn a_wrong_sudoku_row_is_named_with_its_reason() {
        assert_eq!(
            sudoku_message("x,1..4.4.2..4.4..,1234341221434321,3"),
            "the question has 15 characters; expected 16 for 4x4"
        );
        assert_eq!(
            sudoku_message("x,1..4.4.2..4.4..1,12343412214343210,3"),
            "the answer has 17 characters; expected 16 for 4x4"
        );
        assert_eq!(
            sudoku_message("x,1..4.5.2..4.4..1,1234341221434321,3"),
            "the question has `5` at row 2, column 2 of the grid; expected 1 to 4 or `.`"
        );
        assert_eq!(
            sudoku_message("x,1..4.4.2..4.4..1,1234341221434.21,3"),
            "the answer has `.` at row 4, column 2 of the grid; expected 1 to 4"
        );
        assert_eq!(
            sudoku_message("x,2..4.4.2..4.4..1,1234341221434321,3"),
            "the answer has 1 at row 1, column 1 of the grid, where the question has 2"
        );
        assert_eq!(
            sudoku_message("x,1...............,1234341221431321,3"),
            "the answer has 1 twice in a column: at row 1, column 1 and at row 4, column 1 of the grid"
        );
        assert_eq!(
            sudoku_message("1..4.4.2..4.4..1,1234341221434321,3"),
            "has 3 columns; expected source,question,answer,rating"
        );
    }

    #[test]
    fn a_wrong_maze_row_is_named_with_its_reason() {
        assert_eq!(
            maze_message("x,S  ##    G   # ,So ##o   G   # ,3"),
            "the question has 15 characters; expected 16 for 4x4"
        );
        assert_eq!(
            maze_message("x,S  ##    G   # X,So ##o   G   # #,3"),
            "the question has `X` at row 4, column 4 of the maze; expected `#`, space, `S`, `G` or `o`"
        );
        assert_eq!(
            maze_message("x,S  ##    S   # #,So ##o   G   # #,3"),
            "the maze has 2 cells with start `S`; expected one"
        );
        assert_eq!(
            maze_message("x,So ##    G   # #,So ##o   G   # #,3"),
            "the question has path `o` at row 1, column 2"
        );
        assert_eq!(
            maze_message("x,S  ##    G   # #,So ##o   G   # o,3"),
            "the answer has `o` at row 4, column 4, where the question has `#`"
        );
        assert_eq!(
            maze_message("x,S  ##    G   # #,S  ##    G   # #,3"),
            "the path of the answer does not lead from `S` to `G`"
        );
    }

    #[test]
    fn a_first_maze_that_is_not_square_is_refused() {
        let folder = folder("x,S G,SoG,3\n", MAZE_ROW);
        assert_eq!(
            message(&folder, build_maze(folder.path(), &MAZE)),
            "`DIR/train.csv`, row 1 (line 2): the question has 3 characters, which do not make a square maze"
        );
    }

    #[test]
    fn wrong_files_are_named() {
        let wrong_folder = folder(SUDOKU_ROW, SUDOKU_ROW);
        let build =
            |options: &SudokuBuild| message(&wrong_folder, build_sudoku(wrong_folder.path(), options));
        let test = wrong_folder.path().join("test.csv");
        assert_eq!(
            build(&SudokuBuild { min_difficulty: Some(4), ..FOUR }),
            "`DIR/train.csv`: has no puzzle with a rating of at least 4"
        );
        assert_eq!(
            build(&SudokuBuild { subsample: Some(0), ..FOUR }),
            "a subsample of 0 puzzles leaves nothing to train on"
        );
        fs::write(&test, HEADER).unwrap();
        assert_eq!(build(&FOUR), "`DIR/test.csv`: has no puzzles");
        fs::write(&test, "").unwrap();
        assert_eq!(
            build(&FOUR),
            "`DIR/test.csv`: is empty; expected the header `source,question,answer,rating`"
        );
        fs::write(&test, "question,answer\n").unwrap();
        assert_eq!(
            build(&FOUR),
            "`DIR/test.csv`: begins with the columns `question,answer`; expected `source,question,answer,rating`"
        );
        fs::write(&test, [HEADER.as_bytes(), SUDOKU_ROW.as_bytes(), b"\xFF,,,\n"].concat()).unwrap();
        assert_eq!(build(&FOUR), "`DIR/test.csv`, row 2 (line 3): has characters that are not UTF-8 text");
        fs::remove_file(&test).unwrap();
        assert_eq!(build(&FOUR), "cannot read `DIR/test.csv`: there is no such file or folder");

        let unrated = folder("x,1..4.4.2..4.4..1,1234341221434321,hard\n", SUDOKU_ROW);
        let rated = SudokuBuild { min_difficulty: Some(1), ..FOUR };
        assert_eq!(
            message(&unrated, build_sudoku(unrated.path(), &rated)),
            "`DIR/train.csv`, row 1 (line 2): the rating `hard` is not a whole number"
        );
        assert!(build_sudoku(unrated.path(), &FOUR).is_ok(), "ratings are only read when they matter");
    }

    #[test]
    fn copies_must_fit_the_kind() {
        let splits = PuzzleSplits { train: Vec::new(), test: Vec::new() };
        let message =
            |kind, copies| BuiltDataset::from_puzzles(kind, &splits, copies, 0).unwrap_err().to_string();
        assert_eq!(
            message(PuzzleKind::Maze { side: 4 }, Copies::Symmetries(1)),
            "a maze has no Sudoku symmetries; ask for dihedral images"
        );
        assert_eq!(
            message(PuzzleKind::Sudoku(SudokuSize::Four), Copies::Dihedral),
            "Sudoku is copied by its own symmetries, not turned and flipped"
        );
    }
}
