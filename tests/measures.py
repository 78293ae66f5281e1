"""Says of answers what `hrmc eval --json` says under `report`, by the definitions and without hrmc.

    python3 tests/measures.py {label,rules} [REPORT] < ROWS

The first argument chooses what makes an answer right for the scores. With REPORT, a file with a report of hrmc, it
prints how many numbers of both were compared, or fails and prints what differs; else it prints its own report. ROWS has
an object of JSON on each line:

- `kind`: `sudoku`, `maze` or null, where no rules are known;
- `question`, `answer`, `label`: tokens, with null for a label that is not known;
- `segments`; and `q_halt` before the sigmoid or `q` behind it, `confidence`, `drift`, `rating`, each perhaps null.

Everything is computed from lists of all rows, as plainly as it can be said: pairs are counted one by one, and each
number of rows is looked at for itself. Reports may differ by rounding alone, at most by 1e-9.
"""

import json
import math
import statistics
import struct
import sys

BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3), 16: (4, 4)}
WALL, OPEN, START, GOAL, PATH = 1, 2, 3, 4, 5
RATINGS = [(None, 0), (1, 4), (5, 9), (10, 19), (20, 49), (50, 99), (100, None)]


def share(flags):
    """The share of true flags with its interval by Wilson: where |p - x| = z sqrt(x (1 - x) / n)."""
    flags = list(flags)
    count, of = sum(flags), len(flags)
    if of == 0:
        return {"count": 0, "of": 0, "share": None, "low": 0.0, "high": 1.0}
    z = statistics.NormalDist().inv_cdf(0.975)
    p = count / of
    # The equation, squared, is a x² - b x + c = 0.
    a, b, c = 1 + z * z / of, 2 * p + z * z / of, p * p
    root = math.sqrt(b * b - 4 * a * c)
    return {"count": count, "of": of, "share": p, "low": (b - root) / (2 * a), "high": (b + root) / (2 * a)}


def mean(numbers):
    numbers = list(numbers)
    return math.fsum(numbers) / len(numbers) if numbers else None


def given_labels(row):
    return [(token, label) for token, label in zip(row["answer"], row["label"]) if label is not None]


def is_exact(row):
    """Whether each cell with a label equals it; None without labels."""
    cells = given_labels(row)
    return all(token == label for token, label in cells) if cells else None


def units_of_sudoku(side):
    """The cells of each row, column and box."""
    high, wide = BOXES[side]
    rows = [[(row, column) for column in range(side)] for row in range(side)]
    columns = [[(row, column) for row in range(side)] for column in range(side)]
    boxes = [
        [(top + row, left + column) for row in range(high) for column in range(wide)]
        for top in range(0, side, high)
        for left in range(0, side, wide)
    ]
    return rows + columns + boxes


def rules_broken(row):
    """Digits that rows, columns and boxes lack, and givens that do not stand."""
    side = math.isqrt(len(row["question"]))
    digits = lambda unit: {row["answer"][y * side + x] - 1 for y, x in unit}
    missing = sum(len(set(range(1, side + 1)) - digits(unit)) for unit in units_of_sudoku(side))
    changed = sum(given != 1 and given != token for given, token in zip(row["question"], row["answer"]))
    return missing + changed


def givens(row):
    side = math.isqrt(len(row["question"]))
    return sum(2 <= token <= side + 1 for token in row["question"])


def neighbours(side, cell):
    row, column = divmod(cell, side)
    around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [row * side + column for row, column in around if 0 <= row < side and 0 <= column < side]


def moves_to_goal(cells, start, goal, side):
    """The moves from start to goal over cells, or None."""
    ring, seen, moves = {start}, {start}, 0
    while ring:
        if goal in ring:
            return moves
        ring = {next for cell in ring for next in neighbours(side, cell) if next in cells} - seen
        seen |= ring
        moves += 1
    return None


def path(row):
    """Moves of the one path that an answer marks, and those of a shortest one; None if it marks no such path.

    Open cells are marked and nothing else is changed. Each marked cell touches two cells of the path, start and goal
    touch one, and all hang together.
    """
    question, answer = row["question"], row["answer"]
    side = math.isqrt(len(question))
    if question.count(START) != 1 or question.count(GOAL) != 1 or PATH in question:
        return None
    if any(new != old and (old, new) != (OPEN, PATH) for old, new in zip(question, answer)):
        return None
    start, goal = question.index(START), question.index(GOAL)
    cells = {cell for cell, token in enumerate(answer) if token in (START, GOAL, PATH)}
    touched = {cell: sum(next in cells for next in neighbours(side, cell)) for cell in cells}
    if any(count != (1 if cell in (start, goal) else 2) for cell, count in touched.items()):
        return None
    if moves_to_goal(cells, start, goal, side) != len(cells) - 1:
        return None
    free = {cell for cell, token in enumerate(question) if token != WALL}
    return len(cells) - 1, moves_to_goal(free, start, goal, side)


def is_valid(row):
    """Whether the answer obeys the rules; None where there are none."""
    if row["kind"] == "sudoku":
        return rules_broken(row) == 0
    if row["kind"] == "maze":
        found = path(row)
        return found is not None and found[0] == found[1]
    return None


def known(flags):
    return [flag for flag in flags if flag is not None]


def group(rows, low, high):
    return {
        "from": low,
        "to": high,
        "rows": len(rows),
        "exact": share(known(map(is_exact, rows))),
        "rules_broken": sum(map(rules_broken, rows)),
    }


def sudoku_report(rows):
    rated = [row for row in rows if row.get("rating") is not None]
    inside = lambda row, low, high: (low is None or low <= row["rating"]) and (high is None or row["rating"] <= high)
    by_rating = [(low, high, [row for row in rated if inside(row, low, high)]) for low, high in RATINGS]
    return {
        "rules_broken": sum(map(rules_broken, rows)),
        "without_broken": share(rules_broken(row) == 0 for row in rows),
        "by_rating": [group(found, low, high) for low, high, found in by_rating if found],
        "by_givens": [
            group([row for row in rows if givens(row) == count], count, count)
            for count in sorted(set(map(givens, rows)))
        ],
    }


def maze_report(rows):
    paths = [path(row) for row in rows]
    found = known(paths)
    return {
        "exact": share(known(map(is_exact, rows))),
        "path": share(one is not None for one in paths),
        "shortest": share(one is not None and one[0] == one[1] for one in paths),
        "mean_extra_moves": mean(moves - shortest for moves, shortest in found),
        "mean_length_ratio": mean(moves / shortest for moves, shortest in found),
    }


def probability(row):
    """The probability of being right that the model gives by its Q value; None without one."""
    if row.get("q_halt") is not None:
        return 1 / (1 + math.exp(-row["q_halt"]))
    return row.get("q")


def calibration(rows, is_right):
    """Ten bins of equal width; `rows` all have a Q value."""
    if not rows:
        return None
    bins = []
    errors = []
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        inside = [row for row in rows if low <= probability(row) and (probability(row) < high or number == 9)]
        predicted = mean(map(probability, inside))
        right = share(map(is_right, inside))
        if inside:
            errors.append(len(inside) * abs(predicted - right["share"]))
        bins.append({"from": low, "to": high, "mean_predicted": predicted, "right": right})
    return {"rows": len(rows), "bins": bins, "expected_error": math.fsum(errors) / len(rows)}


def score_report(scored):
    """What scores say; `scored` has a score and whether the answer is right, for each row."""
    if not scored:
        return None
    right = [score for score, is_right in scored if is_right]
    wrong = [score for score, is_right in scored if not is_right]
    wins = [(1 if one > other else 0.5 if one == other else 0) for one in right for other in wrong]
    descending = sorted((score for score, _ in scored), reverse=True)
    risks = []
    for taken in range(1, len(scored) + 1):
        # Of the rows that are equal to the last one taken, each is as likely to be among those taken.
        last = descending[taken - 1]
        above = [is_right for score, is_right in scored if score > last]
        equal = [is_right for score, is_right in scored if score == last]
        wrong_of_equal = equal.count(False) * (taken - len(above)) / len(equal)
        risks.append((above.count(False) + wrong_of_equal) / taken)
    coverage = []
    for tenths in range(1, 11):
        last = descending[-(-len(scored) * tenths // 10) - 1]
        taken = [is_right for score, is_right in scored if score >= last]
        coverage.append({"coverage": tenths / 10, "right": share(taken)})
    return {
        "right": share(is_right for _, is_right in scored),
        "not_a_number": 0,
        "auc": mean(wins),
        "coverage": coverage,
        "risk_area": mean(risks),
    }


def single(number):
    """The nearest number of 32 bits, as which scores are compared."""
    return struct.unpack("f", struct.pack("f", number))[0]


def report(rows, right_by):
    exact = known(map(is_exact, rows))
    valid = known(map(is_valid, rows))
    cells = [given_labels(row) for row in rows]
    is_right = is_exact if right_by == "label" else is_valid
    judged = [row for row in rows if is_right(row) is not None]
    q_of = lambda row: single(row["q_halt"]) if row.get("q_halt") is not None else row.get("q")
    one_of = lambda key, sign: lambda row: None if row.get(key) is None else sign * single(row[key])
    scored = lambda score: [(score(row), is_right(row)) for row in judged if score(row) is not None]
    segments = [row["segments"] for row in rows]
    sudoku = [row for row in rows if row["kind"] == "sudoku"]
    mazes = [row for row in rows if row["kind"] == "maze"]
    return {
        "rows": len(rows),
        "exact": share(exact),
        "cells": share(token == label for row in cells for token, label in row),
        "mean_cells": mean(mean(token == label for token, label in row) for row in cells if row),
        "valid": share(valid) if valid else None,
        "mean_segments": mean(segments),
        "segments": [{"segments": one, "rows": segments.count(one)} for one in sorted(set(segments))],
        "sudoku": sudoku_report(sudoku) if sudoku else None,
        "maze": maze_report(mazes) if mazes else None,
        "right_by": right_by,
        "unjudged": len(rows) - len(judged),
        "calibration": calibration([row for row in judged if probability(row) is not None], is_right),
        "q_halt": score_report(scored(q_of)),
        "confidence": score_report(scored(one_of("confidence", 1))),
        "drift": score_report(scored(one_of("drift", -1))),
    }


def differences(found, expected, place):
    """Compares two results: yields None for two numbers that agree, and a text for what differs."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        for key in found:
            yield from differences(found[key], expected[key], f"{place}.{key}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, (one, other) in enumerate(zip(found, expected)):
            yield from differences(one, other, f"{place}[{index}]")
    elif all(isinstance(one, (int, float)) for one in (found, expected)):
        yield None if abs(found - expected) < 1e-9 else f"{place}: {found}, by the definition {expected}"
    elif found != expected:
        yield f"{place}: {found}, by the definition {expected}"


def main(right_by, file=None):
    own = report([json.loads(line) for line in sys.stdin if line.strip()], right_by)
    if file is None:
        print(json.dumps(own))
        return
    with open(file) as opened:
        compared = list(differences(json.load(opened), own, "report"))
    wrong = known(compared)
    if wrong:
        sys.exit("\n".join(wrong))
    print(len(compared))


if __name__ == "__main__":
    main(*sys.argv[1:])
