"""Holds what `hrmc explain --json` says about one model against numpy, by the definitions.

    python3 tests/explain.py WIDTH EXPLANATION < TRAJECTORIES

TRAJECTORIES has an object of JSON on each line, one for each puzzle:

- `question`, `label`: tokens;
- `updates`: for each update of each segment an object with `segment`, `state`, `before` and `after` (all positions, one
  row behind the other) and `tokens`, the answer there.

EXPLANATION is a file with what hrmc found. An answer counts as right if it equals the label everywhere, so the puzzles
need unique answers. Prints how many numbers were compared, or fails and prints what differs. Without numpy it prints
nothing.
"""

import json
import sys

try:
    import numpy
except ImportError:
    sys.exit(0)

# Sums of up to some thousand terms of f64 in another order, and eigenvalues, relative to the largest.
TOLERANCE = 1e-9

compared = 0
differences = []


def compare(name, found, expected):
    global compared
    compared += 1
    if found is None or abs(found - expected) > TOLERANCE * (1 + abs(expected)):
        differences.append(f"{name} is {found}, expected {expected}")


def ratio(points):
    """(sum of eigenvalues)^2 / sum of squared eigenvalues."""
    values = numpy.linalg.eigvalsh(numpy.cov(points, rowvar=False))
    return values.sum() ** 2 / (values**2).sum()


def main():
    width = int(sys.argv[1])
    with open(sys.argv[2]) as file:
        explained = json.load(file)
    rows = [json.loads(line) for line in sys.stdin]
    compare("puzzles", explained["puzzles"], len(rows))

    for state in explained["states"]:
        name = state["state"]
        own = [[update for update in row["updates"] if update["state"] == name] for row in rows]
        for at, found in enumerate(state["residuals"]):
            changes = [numpy.subtract(u[at]["after"], u[at]["before"]) for u in own]
            compare(f"{name} residual {at}", found["residual"],
                    numpy.mean([numpy.sqrt((change**2).mean()) for change in changes]))
        trajectories = [
            numpy.array([numpy.reshape(update["after"], (-1, width)).mean(axis=0) for update in updates])
            for updates in own
        ]
        points = numpy.concatenate(trajectories)
        values = numpy.linalg.eigvalsh(numpy.cov(points, rowvar=False))[::-1]
        for at, found in enumerate(state["component_shares"]):
            compare(f"{name} share {at}", found, values[at] / values.sum())
        _, _, directions = numpy.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        for puzzle, found in enumerate(state["trajectories"]):
            places = (trajectories[puzzle] - points.mean(axis=0)) @ directions[:2].T
            # The sign of a direction is a matter of taste.
            for axis in (0, 1):
                drawn = numpy.array(found)[:, axis]
                sign = numpy.sign(drawn @ places[:, axis])
                for at, place in enumerate(drawn):
                    compare(f"{name} place {puzzle} {at} {axis}", place, sign * places[at, axis])
        for found in state["participation"]:
            some = numpy.concatenate(trajectories[:found["trajectories"]])
            compare(f"{name} dimensions of {found['trajectories']}", found["trained"], ratio(some))

    for found in explained["by_update"]:
        at = found["update"]
        answers = [numpy.array(row["updates"][at]["tokens"]) for row in rows]
        before = [row["updates"][at - 1]["tokens"] if at else row["question"] for row in rows]
        equal = [answer == row["label"] for answer, row in zip(answers, rows)]
        compare(f"cells {at}", found["cells"], numpy.mean([right.mean() for right in equal]))
        compare(f"right {at}", found["right"], numpy.mean([right.all() for right in equal]))
        changed = [(answer != earlier).sum() for answer, earlier in zip(answers, before)]
        compare(f"changed {at}", found["changed"], numpy.mean(changed))
        compare(f"segment {at}", found["segment"], rows[0]["updates"][at]["segment"])

    for found in explained["by_segments"]:
        last = [[u for u in row["updates"] if u["segment"] == found["segments"]] for row in rows]
        if all(last):
            right = [(numpy.array(u[-1]["tokens"]) == row["label"]).all() for u, row in zip(last, rows)]
            compare(f"right with {found['segments']}", found["report"]["exact"]["count"], sum(right))

    for line in differences:
        print(line, file=sys.stderr)
    if differences:
        sys.exit(1)
    print(compared)


main()
