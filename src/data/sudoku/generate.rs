//! Making puzzles with exactly one solution.
//!
//! An empty grid is filled at random; then cells are made blank in random order, each only if the puzzle
//! keeps its single solution, until the wanted number of givens is left. A grid on which that number is out
//! of reach is given up for another one.
//!
//! Training and test puzzles share no solution grid. Of 9x9, no test grid can even be moved onto a training
//! grid by a symmetry, so training may be augmented freely. The grids of 6x6 fall into just 49 classes under
//! the symmetries (and those of 4x4 into two), so this cannot be had there: an augmented training row could
//! show the solution of a test puzzle. `Augment::with_held_out` draws again when one does.

use std::collections::BTreeSet;

use super::solve::Search;
use super::symmetry::signature;
use super::{BLANK, SudokuSize};
use crate::data::error::DataError;
use crate::data::pair::{Pair, PuzzleSplits, check_room};
use crate::data::random::Stream;

/// Grids to try for one puzzle before its number of givens counts as out of reach.
const GRIDS_PER_PUZZLE: usize = 2000;

/// What Sudoku puzzles to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SudokuRequest {
    /// Size of the grid.
    pub size: SudokuSize,
    /// Cells that are filled in a question.
    pub givens: usize,
    /// Number of training puzzles.
    pub train: usize,
    /// Number of test puzzles.
    pub test: usize,
    /// Seed; the same seed gives the same puzzles.
    pub seed: u64,
}

/// Makes `count` different puzzles with `givens` givens and exactly one solution each.
///
/// # Errors
///
/// If that many puzzles cannot be found.
pub fn generate_sudoku(
    size: SudokuSize,
    givens: usize,
    count: usize,
    seed: u64,
) -> Result<Vec<Pair>, DataError> {
    let splits = generate_sudoku_splits(&SudokuRequest { size, givens, train: count, test: 0, seed })?;
    Ok(splits.train)
}

/// Makes training and test puzzles, all different, with exactly one solution each. No solution grid of a
/// test puzzle is that of a training puzzle.
///
/// # Errors
///
/// If that many puzzles cannot be found.
pub fn generate_sudoku_splits(request: &SudokuRequest) -> Result<PuzzleSplits, DataError> {
    let SudokuRequest { size, givens, train, test, seed } = *request;
    if !SudokuSize::GENERATED.contains(&size) {
        return Err(DataError::request(format!(
            "Sudoku of {size} are not generated; read them from CSV files, with `--from`"
        )));
    }
    let (fewest, most) = (size.fewest_givens(), size.cells() - 1);
    if !(fewest..=most).contains(&givens) {
        return Err(DataError::request(format!(
            "a {size} Sudoku cannot have {givens} givens and one solution; ask for {fewest} to {most}"
        )));
    }
    check_room(train.saturating_add(test), size.cells())?;
    let mut random = Stream::new(seed, "sudoku", 0);
    if size == SudokuSize::Four {
        return splits_of_all_grids(request, &mut random);
    }

    let mut draw = |random: &mut Stream| random_grid(size, random);
    let test = draw_puzzles(request, test, &mut draw, &mut random)?;
    let train = if size == SudokuSize::Nine {
        let held_out: BTreeSet<[Vec<u64>; 2]> = test.iter().map(|pair| signature(&pair.answer)).collect();
        let mut draw = |random: &mut Stream| {
            draw_until(
                random,
                |random| random_grid(size, random),
                |grid| !held_out.contains(&signature(grid)),
            )
        };
        draw_puzzles(request, train, &mut draw, &mut random)?
    } else {
        let held_out: BTreeSet<&[i32]> = test.iter().map(|pair| pair.answer.as_slice()).collect();
        let mut draw = |random: &mut Stream| {
            draw_until(random, |random| random_grid(size, random), |grid| !held_out.contains(grid))
        };
        draw_puzzles(request, train, &mut draw, &mut random)?
    };
    Ok(PuzzleSplits { train, test })
}

/// Shares the few grids of 4x4 out between training and test, in proportion to the puzzles asked for.
fn splits_of_all_grids(request: &SudokuRequest, random: &mut Stream) -> Result<PuzzleSplits, DataError> {
    let mut grids = Vec::new();
    Search::new(request.size, &vec![BLANK; request.size.cells()]).visit(&mut |grid| {
        grids.push(grid.to_vec());
        false
    });
    random.shuffle(&mut grids);
    let puzzles = (request.train + request.test).max(1);
    let share = (grids.len() * request.test).div_ceil(puzzles);
    // Each split that is asked for needs at least one grid.
    let share = share.clamp(usize::from(request.test > 0), grids.len() - usize::from(request.train > 0));
    let (test_grids, train_grids) = grids.split_at(share);
    let mut draw = |random: &mut Stream| test_grids[random.below(test_grids.len())].clone();
    let test = draw_puzzles(request, request.test, &mut draw, random)?;
    let mut draw = |random: &mut Stream| train_grids[random.below(train_grids.len())].clone();
    let train = draw_puzzles(request, request.train, &mut draw, random)?;
    Ok(PuzzleSplits { train, test })
}

fn draw_until(
    random: &mut Stream,
    draw: impl Fn(&mut Stream) -> Vec<i32>,
    wanted: impl Fn(&[i32]) -> bool,
) -> Vec<i32> {
    // A test set is a vanishing part of all grids of 6x6 and 9x9, so this ends at once.
    loop {
        let grid = draw(random);
        if wanted(&grid) {
            return grid;
        }
    }
}

fn draw_puzzles(
    request: &SudokuRequest,
    count: usize,
    draw_grid: &mut impl FnMut(&mut Stream) -> Vec<i32>,
    random: &mut Stream,
) -> Result<Vec<Pair>, DataError> {
    let mut questions = BTreeSet::new();
    let mut pairs = Vec::with_capacity(count);
    while pairs.len() < count {
        let new = (0..GRIDS_PER_PUZZLE).find_map(|_| {
            let answer = draw_grid(random);
            let question = dig(request.size, &answer, request.givens, random)?;
            questions.insert(question.clone()).then_some(Pair { question, answer, rating: None })
        });
        let Some(pair) = new else {
            return Err(DataError::request(format!(
                "found only {} of {count} {} Sudokus with {} givens, then no other one on {GRIDS_PER_PUZZLE} \
                 grids; ask for fewer puzzles or more givens",
                pairs.len(),
                request.size,
                request.givens
            )));
        };
        pairs.push(pair);
    }
    Ok(pairs)
}

fn random_grid(size: SudokuSize, random: &mut Stream) -> Vec<i32> {
    let mut search = Search::new(size, &vec![BLANK; size.cells()]);
    assert!(search.fill(random), "an empty grid can always be filled");
    search.grid().to_vec()
}

/// Makes cells of a solved grid blank until `givens` are left, or returns `None` if that is not possible in
/// the order that is drawn.
fn dig(size: SudokuSize, answer: &[i32], givens: usize, random: &mut Stream) -> Option<Vec<i32>> {
    let mut order: Vec<usize> = (0..size.cells()).collect();
    random.shuffle(&mut order);
    let mut search = Search::new(size, answer);
    let mut left = size.cells();
    for cell in order {
        if left == givens {
            break;
        }
        if search.dig(cell) {
            left -= 1;
        }
    }
    (left == givens).then(|| search.grid().to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::{Solutions, SudokuSymmetry, is_solved_sudoku, solve_sudoku};
    use super::*;

    fn givens(pair: &Pair) -> usize {
        pair.question.iter().filter(|&&token| token != BLANK).count()
    }

    #[test]
    fn every_puzzle_has_its_answer_as_only_solution() {
        for (size, count_of_givens) in [(SudokuSize::Four, 5), (SudokuSize::Six, 14), (SudokuSize::Nine, 28)]
        {
            for pair in generate_sudoku(size, count_of_givens, 20, 11).unwrap() {
                assert_eq!(givens(&pair), count_of_givens);
                assert!(is_solved_sudoku(size, &pair.answer));
                assert_eq!(solve_sudoku(size, &pair.question), Solutions::One(pair.answer));
            }
        }
    }

    #[test]
    fn train_and_test_share_no_solution_grid() {
        for (size, givens) in [(SudokuSize::Four, 6), (SudokuSize::Six, 24), (SudokuSize::Nine, 40)] {
            let request = SudokuRequest { size, givens, train: 150, test: 50, seed: 5 };
            let PuzzleSplits { train, test } = generate_sudoku_splits(&request).unwrap();
            assert_eq!((train.len(), test.len()), (150, 50));
            let held_out: BTreeSet<&[i32]> = test.iter().map(|pair| pair.answer.as_slice()).collect();
            assert!(train.iter().all(|pair| !held_out.contains(pair.answer.as_slice())));
            let questions: BTreeSet<&[i32]> =
                train.iter().chain(&test).map(|pair| pair.question.as_slice()).collect();
            assert_eq!(questions.len(), 200);
        }
    }

    #[test]
    fn no_symmetry_moves_a_9x9_test_grid_onto_a_training_grid() {
        let request = SudokuRequest { size: SudokuSize::Nine, givens: 60, train: 50, test: 50, seed: 6 };
        let splits = generate_sudoku_splits(&request).unwrap();
        let mut random = Stream::new(0, "symmetry", 0);
        let train: BTreeSet<_> = splits.train.iter().map(|pair| signature(&pair.answer)).collect();
        for pair in &splits.test {
            let moved = SudokuSymmetry::draw(SudokuSize::Nine, &mut random).apply(&pair.answer);
            assert!(!train.contains(&signature(&moved)));
        }
    }

    #[test]
    fn the_seed_decides_the_puzzles() {
        let generate = |seed| generate_sudoku(SudokuSize::Six, 20, 5, seed).unwrap();
        assert_eq!(generate(1), generate(1));
        assert_ne!(generate(1), generate(2));
    }

    #[test]
    fn an_impossible_number_of_givens_is_refused() {
        let error = generate_sudoku(SudokuSize::Six, 7, 1, 0).unwrap_err().to_string();
        let request =
            SudokuRequest { size: SudokuSize::Nine, givens: 30, train: usize::MAX / 2, test: 1, seed: 0 };
        let room = generate_sudoku_splits(&request).expect_err("no memory holds them").to_string();
        assert!(room.contains("puzzles of 81 cells take") && room.ends_with("; ask for fewer"), "{room}");
        assert_eq!(error, "a 6x6 Sudoku cannot have 7 givens and one solution; ask for 8 to 35");
    }

    #[test]
    fn too_many_different_puzzles_are_an_error() {
        // There are 288 grids, each with 16 cells of which one may be blank.
        let error = generate_sudoku(SudokuSize::Four, 15, 288 * 16 + 1, 0).unwrap_err().to_string();
        assert!(
            error.starts_with("found only ") && error.contains(" of 4609 4x4 Sudokus with 15 givens"),
            "{error}"
        );
    }
}
