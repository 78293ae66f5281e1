"""Trains for long, and shows that nothing grows; and that a training in two parts gives the same bytes.

    cargo build --release
    python benches/load.py [--hrmc target/release/hrmc] [--minutes 20] [--steps 10000] [--threads 2]

The first part trains a small model for some minutes, with an evaluation and a save every thousand steps, and prints
resident memory, open files, threads and the median time of a step in the first and in the last minute. It fails if
memory grew by more than 2%, or the process has more files or threads. The second part trains once to the last step,
and once with a stop after two fifths of the steps; it fails if a file of the checkpoint or of the metrics differs.
`--minutes 0` or `--steps 0` leaves a part out. Both need Linux; times need an otherwise idle machine.
"""

import argparse
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = ["--set", "train.batch=8", "--set", "train.data.train=1000", "--set", "train.data.test=64"]
RUN = pathlib.Path("runs/quickstart-001")
# Until then, buffers still grow to their size.
WARM_S = 10


class Lines:
    """Counts the lines of a file that grows."""

    def __init__(self, path):
        self.path, self.file, self.count = path, None, 0

    def now(self):
        if self.file is None and self.path.exists():
            self.file = self.path.open("rb")
        if self.file is not None:
            self.count += self.file.read().count(b"\n")
        return self.count


def sample(process, lines):
    """Returns what the process has: time, lines of metrics, resident KiB, open files, threads."""
    folder = pathlib.Path(f"/proc/{process.pid}")
    status = (folder / "status").read_text()
    number = lambda label: int(re.search(rf"^{label}:\s*(\d+)", status, re.MULTILINE)[1])
    return {"time": time.monotonic(), "lines": lines.now(), "resident": number("VmRSS"),
            "threads": number("Threads"), "files": len(list((folder / "fd").iterdir()))}


def step_ms(samples):
    """Returns the median time of a step, over the pauses between samples."""
    pairs = [(b["time"] - a["time"], b["lines"] - a["lines"]) for a, b in zip(samples, samples[1:])]
    return statistics.median(1e3 * seconds / lines for seconds, lines in pairs if lines > 0)


def watch(options, place):
    command = [options.hrmc, "run", "--train", *SMALL, "--threads", str(options.threads)]
    command += ["--set", "train.steps=1000000000"]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun, samples, lines = time.monotonic(), [], Lines(pathlib.Path(place) / RUN / "metrics.jsonl")
    while time.monotonic() - begun < 60 * options.minutes:
        time.sleep(1)
        if process.poll() is not None:
            sys.exit(f"the training ended with {process.returncode}")
        samples.append(sample(process, lines))
    process.send_signal(signal.SIGINT)
    process.wait()
    samples = [one for one in samples if one["time"] - begun > WARM_S]
    first = [one for one in samples if one["time"] - samples[0]["time"] <= 60]
    last = [one for one in samples if samples[-1]["time"] - one["time"] <= 60]
    most = lambda part, figure: max(one[figure] for one in part)
    print(f"{samples[-1]['lines']:,} steps in {options.minutes:g} minutes, {options.threads} threads\n")
    print("| | first minute | last minute |\n|---|---|---|")
    for name, figure in [("resident, KiB", "resident"), ("open files", "files"), ("threads", "threads")]:
        print(f"| {name} | {most(first, figure):,} | {most(last, figure):,} |")
    print(f"| median step, ms | {step_ms(first):.2f} | {step_ms(last):.2f} |", flush=True)
    grown = [figure for figure in ("files", "threads") if most(last, figure) > most(first, figure)]
    if most(last, "resident") > 1.02 * most(first, "resident"):
        grown.append("resident")
    return [f"grew during the training: {', '.join(grown)}"] if grown else []


def files(folder):
    last = {str(file): file.read_bytes() for file in sorted((folder / "last").iterdir())}
    named = {pathlib.Path(name).name: content for name, content in last.items()}
    return named | {"metrics.jsonl": (folder / "metrics.jsonl").read_bytes()}


def compare(options, place):
    first = options.steps * 2 // 5
    def train(runs, *arguments):
        command = [options.hrmc, "run", "--train", "--threads", str(options.threads), *arguments, "--runs", runs]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
    small = [*SMALL, "--set", f"train.steps={options.steps}", "--set", f"train.eval_every={first} steps"]
    train("whole", *small)
    train("parts", *small, "--steps", str(first))
    train("parts", "--resume", "parts/quickstart-001")
    whole, parts = (files(pathlib.Path(place) / runs / RUN.name) for runs in ("whole", "parts"))
    differing = [name for name in sorted(whole | parts) if whole.get(name) != parts.get(name)]
    print(f"\n{options.steps:,} steps and {first:,} + {options.steps - first:,}: {len(whole)} files, "
          f"{len(differing)} differ", flush=True)
    return [f"differ: {', '.join(differing)}"] if differing else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hrmc", default=str(ROOT / "target/release/hrmc"))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.hrmc = os.path.abspath(options.hrmc)
    wrong = []
    with tempfile.TemporaryDirectory() as place:
        if options.minutes > 0:
            wrong += watch(options, place)
        if options.steps > 0:
            wrong += compare(options, place)
    if wrong:
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
