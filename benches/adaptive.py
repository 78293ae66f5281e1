#!/usr/bin/env python3
"""Compares an evaluation whose rows leave when they have settled with one whose rows run all segments.

    python3 benches/adaptive.py target/release/hrmc runs/quickstart-001

Both run at most 16 segments. The distance at which a row has settled is chosen so that rows take 4 segments on average.
Then both are timed in turn, and the rows per second of each are the best of its runs. Needs nothing but Python.
"""

import json
import subprocess
import sys

SEGMENTS = 16
WANTED = 4.0
ROUNDS = 5


def evaluate(hrmc, run, *settings):
    overrides = [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(
        [hrmc, "eval", run, "--json", "--set", f"model.infer.segments={SEGMENTS}", *overrides],
        check=True,
        capture_output=True,
        text=True,
    )
    result = json.loads(done.stdout)
    cost, report = result["cost"], result["report"]
    return {
        "passes": cost["passes_per_puzzle"],
        "rate": 1.0 / cost["seconds_per_puzzle"],
        "exact": report["exact"]["share"],
        "rows": result["examples"],
    }


def settle_for(hrmc, run):
    """Returns the distance with which rows take the wanted number of segments, by halving its logarithm."""
    low, high = 1e-4, 10.0
    for _ in range(20):
        middle = (low * high) ** 0.5
        passes = evaluate(hrmc, run, f"model.infer.settle={middle:.6g}")["passes"]
        if abs(passes - WANTED) < 0.05:
            break
        low, high = (middle, high) if passes > WANTED else (low, middle)
    return middle


def main():
    hrmc, run = sys.argv[1:]
    settle = settle_for(hrmc, run)
    fixed, adaptive = [], []
    for _ in range(ROUNDS):
        fixed.append(evaluate(hrmc, run))
        adaptive.append(evaluate(hrmc, run, f"model.infer.settle={settle:.6g}"))
    best = {name: max(rows, key=lambda row: row["rate"]) for name, rows in [("fixed", fixed), ("adaptive", adaptive)]}
    for name, row in best.items():
        print(
            f"{name:<9} {row['passes']:6.2f} segments {row['rate']:9.1f} rows/s {100 * row['exact']:6.2f}% exact"
            f" of {row['rows']}"
        )
    print(f"settle = {settle:.4g}; {best['adaptive']['rate'] / best['fixed']['rate']:.2f} times the rows per second")


if __name__ == "__main__":
    main()
