//! Square mazes: the label rule, checks, symmetries and a generator.
//!
//! Grids are rows of tokens, `[side * side]`. A maze has one start and one goal; a move goes to one of the
//! four neighbours. Walls are single cells, so there is rarely just one shortest path. The published mazes
//! all have the path that [`solve_maze`] finds, which makes the answer a function of the question.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use super::dihedral::{DIHEDRAL_IMAGES, dihedral_image};
use super::error::DataError;
use super::pair::{Pair, PuzzleSplits, check_room};
use super::random::Stream;

/// Token of a wall.
pub const WALL: i32 = 1;
/// Token of an open cell.
pub const OPEN: i32 = 2;
/// Token of the start.
pub const START: i32 = 3;
/// Token of the goal.
pub const GOAL: i32 = 4;
/// Token of a cell on the path.
pub const PATH: i32 = 5;

/// The characters of the tokens 1 to 5.
const CHARACTERS: [char; 5] = ['#', ' ', 'S', 'G', 'o'];

/// Yields the neighbours of a cell in the order down, left, right, up.
fn neighbours(side: usize, cell: usize) -> impl Iterator<Item = usize> {
    let (row, column) = (cell / side, cell % side);
    [
        (row + 1 < side).then(|| cell + side),
        (column > 0).then(|| cell - 1),
        (column + 1 < side).then(|| cell + 1),
        (row > 0).then(|| cell - side),
    ]
    .into_iter()
    .flatten()
}

/// What a breadth-first search from one cell finds.
struct Reachable {
    /// Moves to each cell, or `None` where it cannot be reached.
    moves: Vec<Option<usize>>,
    /// The cell before each reached cell.
    parents: Vec<usize>,
}

/// Searches breadth first over the cells that `is_free` allows. A cell keeps the first parent that finds it.
fn reach_from(side: usize, start: usize, is_free: impl Fn(usize) -> bool) -> Reachable {
    let mut reach = Reachable { moves: vec![None; side * side], parents: vec![start; side * side] };
    reach.moves[start] = Some(0);
    let mut queue = VecDeque::from([(start, 0)]);
    while let Some((cell, moves)) = queue.pop_front() {
        for next in neighbours(side, cell) {
            if reach.moves[next].is_none() && is_free(next) {
                reach.moves[next] = Some(moves + 1);
                reach.parents[next] = cell;
                queue.push_back((next, moves + 1));
            }
        }
    }
    reach
}

fn find(grid: &[i32], token: i32) -> Option<usize> {
    grid.iter().position(|&cell| cell == token)
}

/// Returns the answer of a maze: the question with the open cells of one shortest path marked, or `None` if
/// the goal cannot be reached.
///
/// The path is the one that a breadth-first search from the start finds when it tries down, left, right, up
/// in this order and a cell keeps its first parent.
///
/// # Panics
///
/// If the question has no start, no goal, or is not square.
pub fn solve_maze(question: &[i32]) -> Option<Vec<i32>> {
    let side = question.len().isqrt();
    assert_eq!(side * side, question.len(), "a maze is square");
    let start = find(question, START).expect("a maze has a start");
    let goal = find(question, GOAL).expect("a maze has a goal");
    let reach = reach_from(side, start, |cell| question[cell] != WALL);
    reach.moves[goal]?;
    let mut answer = question.to_vec();
    let mut cell = reach.parents[goal];
    while cell != start {
        answer[cell] = PATH;
        cell = reach.parents[cell];
    }
    Some(answer)
}

/// Returns for each cell of a maze whether a shortest path leads over it.
///
/// # Panics
///
/// If the question has no start, no goal, or is not square.
pub(crate) fn on_shortest_paths(question: &[i32]) -> Vec<bool> {
    let side = question.len().isqrt();
    let start = find(question, START).expect("a maze has a start");
    let goal = find(question, GOAL).expect("a maze has a goal");
    let [forth, back] = [start, goal].map(|from| reach_from(side, from, |cell| question[cell] != WALL).moves);
    let lies_on = |cell: usize| match (forth[cell], back[cell]) {
        (Some(forth), Some(rest)) => Some(forth + rest) == back[start],
        _ => false,
    };
    (0..question.len()).map(lies_on).collect()
}

/// Says why a grid is not a maze to be solved, naming the first cell where it can be told.
pub(crate) fn check_question(question: &[i32]) -> Result<(), String> {
    for (token, name) in [(START, "start `S`"), (GOAL, "goal `G`")] {
        match question.iter().filter(|&&cell| cell == token).count() {
            1 => {}
            count => return Err(format!("the maze has {count} cells with {name}; expected one")),
        }
    }
    if let Some(cell) = find(question, PATH) {
        return Err(format!("the question has path `o` at {}", place(question, cell)));
    }
    Ok(())
}

/// Says where an answer changes the question in another way than by marking open cells.
pub(super) fn check_cells(question: &[i32], answer: &[i32]) -> Result<(), String> {
    let changed = (0..question.len())
        .find(|&cell| answer[cell] != question[cell] && !(question[cell] == OPEN && answer[cell] == PATH));
    if let Some(cell) = changed {
        return Err(format!(
            "the answer has `{}` at {}, where the question has `{}`",
            character(answer[cell]),
            place(question, cell),
            character(question[cell])
        ));
    }
    Ok(())
}

/// Says why an answer is not the question with the open cells of one path marked.
pub(crate) fn check_answer(question: &[i32], answer: &[i32]) -> Result<(), String> {
    check_cells(question, answer)?;
    let side = question.len().isqrt();
    let start = find(question, START).expect("a checked maze has a start");
    let goal = find(question, GOAL).expect("a checked maze has a goal");
    let reach = reach_from(side, start, |cell| answer[cell] == PATH || answer[cell] == GOAL);
    let Some(moves) = reach.moves[goal] else {
        return Err("the path of the answer does not lead from `S` to `G`".to_owned());
    };
    let marked = answer.iter().filter(|&&cell| cell == PATH).count();
    if marked + 1 != moves {
        return Err(format!(
            "the answer marks {marked} cells, but {} of them lead from `S` to `G`; expected no others",
            moves - 1
        ));
    }
    Ok(())
}

/// Returns the moves of the path that an answer marks, or `None` if the answer is not the question with the open cells
/// of one path from start to goal marked, or the question is no maze.
///
/// Each marked cell must touch exactly two others of the path, start and goal included, and start and goal one: of a
/// path that runs beside itself, the marks do not tell which way it goes.
///
/// # Panics
///
/// If question and answer have different sizes, or are not square.
pub fn path_moves(question: &[i32], answer: &[i32]) -> Option<usize> {
    assert_eq!(question.len(), answer.len(), "question and answer have the same cells");
    let is_path = check_question(question).is_ok() && check_answer(question, answer).is_ok();
    is_path.then(|| marked_cells(answer) + 1)
}

/// Returns the moves of a shortest path from start to goal, or `None` if the goal cannot be reached.
///
/// # Panics
///
/// If the question has no start, no goal, or is not square.
pub fn shortest_moves(question: &[i32]) -> Option<usize> {
    Some(marked_cells(&solve_maze(question)?) + 1)
}

fn marked_cells(grid: &[i32]) -> usize {
    grid.iter().filter(|&&cell| cell == PATH).count()
}

/// Returns whether an answer marks one path from start to goal and no other is shorter.
///
/// # Panics
///
/// If the question is not a maze, or the answer has another size.
pub fn is_optimal_path(question: &[i32], answer: &[i32]) -> bool {
    assert_eq!(question.len(), answer.len(), "question and answer have the same cells");
    let Some(best) = shortest_moves(question) else {
        return false;
    };
    path_moves(question, answer) == Some(best)
}

/// Returns the token of a character.
pub(crate) fn token(character: char) -> Option<i32> {
    CHARACTERS.iter().position(|&known| known == character).map(|index| index as i32 + WALL)
}

/// Returns the character of a token, `?` if it has none.
pub(crate) fn character(token: i32) -> char {
    match token {
        WALL..=PATH => CHARACTERS[(token - WALL) as usize],
        _ => '?',
    }
}

fn place(grid: &[i32], cell: usize) -> String {
    let side = grid.len().isqrt();
    format!("row {}, column {}", cell / side + 1, cell % side + 1)
}

/// Layouts to try for one maze before its path length counts as out of reach.
const LAYOUTS_PER_MAZE: usize = 100_000;

/// Pairs of start and goal to try on one layout.
const PAIRS_PER_LAYOUT: usize = 10;

/// Cells on one side of the mazes that are generated.
pub const MAZE_SIDES: RangeInclusive<usize> = 3..=200;

/// What mazes to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MazeRequest {
    /// Cells on one side.
    pub side: usize,
    /// Fewest cells on the path, start and goal included.
    pub min_path: usize,
    /// Number of training mazes.
    pub train: usize,
    /// Number of test mazes.
    pub test: usize,
    /// Seed; the same seed gives the same mazes.
    pub seed: u64,
}

/// Makes `count` different mazes whose path has at least `min_path` cells, start and goal included.
///
/// # Errors
///
/// If that many mazes cannot be found.
pub fn generate_maze(side: usize, min_path: usize, count: usize, seed: u64) -> Result<Vec<Pair>, DataError> {
    Ok(generate_maze_splits(&MazeRequest { side, min_path, train: count, test: 0, seed })?.train)
}

/// Makes training and test mazes. No two of them have the same walls, nor can one be turned or flipped to
/// give another.
///
/// The recipe is that of the published mazes as far as it is known: the cells are shuffled; the first 30 to
/// 50 % become walls, each number equally likely; start and goal are two of the other cells. A layout is
/// kept if the shortest path between them is long enough, at least `side` cells in any case.
///
/// # Errors
///
/// If that many mazes cannot be found.
pub fn generate_maze_splits(request: &MazeRequest) -> Result<PuzzleSplits, DataError> {
    let MazeRequest { side, min_path, train, test, seed } = *request;
    if !MAZE_SIDES.contains(&side) {
        return Err(DataError::request(format!(
            "cannot make mazes of {side}x{side} cells; ask for {} to {} cells on a side",
            MAZE_SIDES.start(),
            MAZE_SIDES.end()
        )));
    }
    let most_open = side * side - fewest_walls(side);
    if min_path > most_open {
        return Err(DataError::request(format!(
            "no path of {min_path} cells fits in a {side}x{side} maze, which has at most {most_open} open cells"
        )));
    }
    check_room(train.saturating_add(test), side * side)?;
    let mut random = Stream::new(seed, "maze", 0);
    let mut layouts = BTreeSet::new();
    let test = draw_mazes(request, test, &mut layouts, &mut random)?;
    let train = draw_mazes(request, train, &mut layouts, &mut random)?;
    Ok(PuzzleSplits { train, test })
}

fn fewest_walls(side: usize) -> usize {
    side * side * 3 / 10
}

fn draw_mazes(
    request: &MazeRequest,
    count: usize,
    layouts: &mut BTreeSet<Vec<i32>>,
    random: &mut Stream,
) -> Result<Vec<Pair>, DataError> {
    let mut pairs = Vec::with_capacity(count);
    while pairs.len() < count {
        let new = (0..LAYOUTS_PER_MAZE).find_map(|_| {
            let question = draw_maze(request.side, request.min_path.max(request.side), random)?;
            layouts.insert(canonical_walls(&question)).then_some(question)
        });
        let Some(question) = new else {
            return Err(DataError::request(format!(
                "found only {} of {count} mazes of {side}x{side} cells with a path of at least {} cells, then \
                 no other one in {LAYOUTS_PER_MAZE} layouts; ask for fewer mazes or shorter paths",
                pairs.len(),
                request.min_path,
                side = request.side
            )));
        };
        let answer = solve_maze(&question).expect("a maze is only kept if its goal can be reached");
        pairs.push(Pair { question, answer, rating: None });
    }
    Ok(pairs)
}

/// Returns one layout, if it has a start and a goal that are far enough from each other.
fn draw_maze(side: usize, min_path: usize, random: &mut Stream) -> Option<Vec<i32>> {
    let cells = side * side;
    let most_walls = cells / 2;
    let walls = fewest_walls(side) + random.below(most_walls - fewest_walls(side) + 1);
    let mut order: Vec<usize> = (0..cells).collect();
    random.shuffle(&mut order);
    let mut question = vec![OPEN; cells];
    order[..walls].iter().for_each(|&cell| question[cell] = WALL);
    let open = &order[walls..];

    for _ in 0..PAIRS_PER_LAYOUT {
        let first = random.below(open.len());
        let second = random.below(open.len() - 1);
        let (start, goal) = (open[first], open[if second < first { second } else { second + 1 }]);
        let reach = reach_from(side, start, |cell| question[cell] != WALL);
        if reach.moves[goal].is_some_and(|moves| moves + 1 >= min_path) {
            question[start] = START;
            question[goal] = GOAL;
            return Some(question);
        }
    }
    None
}

/// Returns the walls of a maze, the same for all its dihedral images.
fn canonical_walls(question: &[i32]) -> Vec<i32> {
    let walls: Vec<i32> = question.iter().map(|&cell| i32::from(cell == WALL)).collect();
    (0..DIHEDRAL_IMAGES)
        .map(|image| dihedral_image(&walls, image))
        .min()
        .expect("a square has more than no images")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(rows: &[&str]) -> Vec<i32> {
        rows.iter().flat_map(|row| row.chars()).map(|character| token(character).unwrap()).collect()
    }

    #[test]
    fn down_comes_before_left_before_right_before_up() {
        let solve = |rows: &[&str]| solve_maze(&tokens(rows)).unwrap();
        assert_eq!(solve(&["S  ", "   ", "  G"]), tokens(&["S  ", "o  ", "ooG"]));
        assert_eq!(solve(&["  S", "   ", "G  "]), tokens(&["  S", "  o", "Goo"]));
        // Left comes before up: the search reaches every cell first through the leftmost column it can.
        assert_eq!(solve(&["G  ", "   ", "  S"]), tokens(&["G  ", "o  ", "ooS"]));
    }

    #[test]
    fn an_answer_must_be_one_path_over_open_cells() {
        let question = tokens(&["S  ", " # ", "  G"]);
        let check = |rows: &[&str]| check_answer(&question, &tokens(rows));
        assert_eq!(check(&["S  ", "o# ", "ooG"]), Ok(()));
        assert_eq!(check(&["Soo", " #o", "  G"]), Ok(()));
        assert_eq!(
            check(&["So ", " o ", " oG"]).unwrap_err(),
            "the answer has `o` at row 2, column 2, where the question has `#`"
        );
        assert_eq!(
            check(&["So ", " # ", " oG"]).unwrap_err(),
            "the path of the answer does not lead from `S` to `G`"
        );
        assert_eq!(
            check(&["Soo", "o#o", "ooG"]).unwrap_err(),
            "the answer marks 6 cells, but 3 of them lead from `S` to `G`; expected no others"
        );
    }

    #[test]
    fn a_detour_is_a_path_but_not_optimal() {
        let question = tokens(&["S G", "   ", "   "]);
        let detour = tokens(&["S G", "ooo", "   "]);
        assert_eq!(check_answer(&question, &detour), Ok(()));
        assert!(!is_optimal_path(&question, &detour));
        assert!(is_optimal_path(&question, &tokens(&["SoG", "   ", "   "])));
        assert_eq!((path_moves(&question, &detour), shortest_moves(&question)), (Some(4), Some(2)));
    }

    #[test]
    fn what_is_not_one_path_has_no_moves() {
        let question = tokens(&["S  ", "   ", " #G"]);
        let moves = |rows: &[&str]| path_moves(&question, &tokens(rows));
        assert_eq!(moves(&["Soo", "  o", " #G"]), Some(4));
        // The goal is reached, but a cell is left over.
        assert_eq!(moves(&["Soo", "  o", "o#G"]), None);
        // Right, right, down, left, left leads nowhere, and the marks touch the start again.
        assert_eq!(moves(&["Soo", "ooo", " #G"]), None);
        assert_eq!(moves(&["Soo", "  o", " oG"]), None, "a wall is changed");
        let no_goal = tokens(&["S  ", "   ", "   "]);
        assert_eq!(path_moves(&no_goal, &no_goal), None);
        assert_eq!(shortest_moves(&tokens(&["S# ", "## ", "  G"])), None);
        assert_eq!(shortest_moves(&tokens(&["SG", "  "])), Some(1));
    }

    #[test]
    fn generated_mazes_are_long_enough_and_labelled_by_the_rule() {
        let splits =
            generate_maze_splits(&MazeRequest { side: 8, min_path: 12, train: 30, test: 10, seed: 1 });
        let splits = splits.unwrap();
        for pair in splits.train.iter().chain(&splits.test) {
            assert_eq!(check_question(&pair.question), Ok(()));
            assert!(pair.answer.iter().filter(|&&cell| cell == PATH).count() + 2 >= 12);
            assert!(is_optimal_path(&pair.question, &pair.answer));
            assert_eq!(solve_maze(&pair.question).as_ref(), Some(&pair.answer));
        }
    }

    #[test]
    fn train_and_test_share_no_wall_layout() {
        let request = MazeRequest { side: 4, min_path: 3, train: 200, test: 100, seed: 2 };
        let splits = generate_maze_splits(&request).unwrap();
        let walls = |pairs: &[Pair]| -> BTreeSet<Vec<i32>> {
            pairs.iter().map(|pair| canonical_walls(&pair.question)).collect()
        };
        assert!(walls(&splits.train).is_disjoint(&walls(&splits.test)));
    }

    #[test]
    fn impossible_requests_are_refused() {
        let message =
            |side, min_path, count| generate_maze(side, min_path, count, 0).unwrap_err().to_string();
        assert_eq!(message(2, 2, 1), "cannot make mazes of 2x2 cells; ask for 3 to 200 cells on a side");
        assert_eq!(
            message(4, 13, 1),
            "no path of 13 cells fits in a 4x4 maze, which has at most 12 open cells"
        );
        assert!(message(3, 3, 1000).starts_with("found only"), "{}", message(3, 3, 1000));
    }
}
