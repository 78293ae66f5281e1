"""Times hrmc and PyTorch on the same models, one after the other, and prints one table in Markdown.

    cargo build --release
    python benches/beside_torch.py --torch PATH/bench_torch.py [--python PYTHON] [--repeat 5] [--rounds 1]
                                   [--cases smallest,sudoku-small,...] [--precisions f32,bf16] [--threads 2]
                                   [--device cpu|cuda]

`--torch` is a benchmark of the same models in PyTorch: a script with the dictionaries `TRAIN` and `INFER` of cases, which
prints one line of JSON when called with `--inside --cases CASE --modes MODE --dtype TYPE --threads N --repeat N`.
`--python` is the interpreter that has PyTorch. Each measurement runs in a process of its own, so that its
resident memory is its own. In each round hrmc and both modes of PyTorch follow on each other; the best of all
rounds counts, and of PyTorch's modes the faster time and the smaller memory. Run it on a machine that does nothing
else. With `--device cuda` both run on a GPU, with larger batches; memory is then still that of the process.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The smallest model, of which PyTorch's benchmark knows nothing.
SMALLEST = dict(vocab_size=11, seq_len=16, hidden_size=64, num_heads=4, expansion=4.0, H_cycles=2, L_cycles=2,
                H_layers=2, L_layers=2)
SMALLEST_SET = ["model.tokens.positions=16", "model.encoder.hidden=64"]

# Name of the case here and there, spec, overrides, batch, program, precisions.
CASES = [
    ("smallest", "sudoku-small", SMALLEST_SET, 32, "train", ["f32"]),
    ("sudoku-small", "sudoku-small", [], 32, "train", ["f32", "bf16"]),
    ("sudoku-paper", "sudoku", [], 16, "train", ["f32", "bf16"]),
    ("maze-paper", "maze", [], 2, "train", ["f32", "bf16"]),
    ("infer-sudoku-paper-b1", "sudoku", [], 1, "answer", ["f32"]),
    ("infer-sudoku-paper-b16", "sudoku", [], 16, "answer", ["f32"]),
]

# Batches that fill a GPU: those of the paper.
GPU_BATCH = {"smallest": 768, "sudoku-small": 768, "sudoku-paper": 768, "maze-paper": 96}

# Runs one case of PyTorch's benchmark in this process, with the smallest model among its cases. On a device other than
# the CPU everything that a step reads is moved there first, and each step waits for its end.
INSIDE = """
import importlib, pathlib, sys
import torch
path, smallest, device, batches = pathlib.Path(sys.argv[1]), eval(sys.argv[2]), sys.argv[3], eval(sys.argv[4])
sys.path.insert(0, str(path.parent))
bench = importlib.import_module(path.stem)
bench.TRAIN["smallest"] = (32, smallest)

def runner(cfg, batch_size, training, mode):
    model = bench.R
    batch = {name: value.to(device) for name, value in bench.batch_for(cfg, batch_size).items()}
    params = {name: value.detach().to(device).requires_grad_(value.requires_grad)
              for name, value in model.init_params(cfg).items()}
    torch.set_default_device(device)
    if training:
        settings = model.TrainConfig(total_steps=10 ** 9, lr_warmup_steps=10)
        trainer = model.Trainer(params, cfg, settings, explore_seed=None, compile_core=mode == "compile")
        step = lambda: trainer.step(batch)
    else:
        core = torch.compile(model.act_loss, dynamic=False) if mode == "compile" else model.act_loss
        tables = model.rope_tables(cfg)
        step = lambda: model.evaluate(params, cfg, batch, tables, core)
    return lambda: (step(), getattr(torch, device).synchronize())

if device != "cpu":
    bench.own_runner = runner
    bench.TRAIN = {name: (batches.get(name, size), cfg) for name, (size, cfg) in bench.TRAIN.items()}
sys.argv = [path.name, "--inside", *sys.argv[5:]]
bench.main()
"""


def last_line_of(command):
    """Runs a command and returns the JSON that it prints; None, with its message shown, if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout.strip():
        print(f"failed: {' '.join(command[:3])} ...\n{done.stderr[-800:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def batch_of(options, case):
    return case[3] if options.device == "cpu" else GPU_BATCH.get(case[0], case[3])


def run_hrmc(options, case, precision):
    _, spec, overrides, _, program, _ = case
    command = [options.hrmc, "bench", str(ROOT / "specs" / f"{spec}.hrm"), "--json"]
    command += ["--batch", str(batch_of(options, case)), "--device", options.device]
    command += ["--program", program, "--threads", str(options.threads), "--repeat", str(options.repeat)]
    for override in [*overrides, f"train.precision={precision}"]:
        command += ["--set", override]
    report = last_line_of(command)
    if report is None:
        return None
    row = report["programs"][0]
    resident = report["resident_bytes"]
    return {"best_s": row["best_s"], "gflop": row["gflop"], "share": row["share_of_peak"],
            "first_s": report["start_s"], "rss_mb": resident and resident / 1e6}


def run_torch(options, case, precision, mode):
    dtype = {"f32": "float32", "bf16": "bfloat16"}[precision]
    command = [options.python, "-c", INSIDE, options.torch, repr(SMALLEST), options.device, repr(GPU_BATCH)]
    command += ["--cases", case[0], "--modes", mode]
    command += ["--dtype", dtype, "--threads", str(options.threads), "--repeat", str(options.repeat)]
    line = last_line_of(command)
    return line and {"best_s": line["best_s"], "gflop": line["gflop"], "first_s": line["first_s"],
                     "rss_mb": line["peak_rss_mb"] * 2**20 / 1e6}


def better(old, new, memory=max):
    """Returns the faster of two runs, with the larger memory of both, or the smaller if so asked."""
    if old is None or new is None:
        return old or new
    best = dict(min(old, new, key=lambda run: run["best_s"]))
    best["rss_mb"] = memory(filter(None, [old["rss_mb"], new["rss_mb"]]), default=None)
    return best


def show(value, digits=1):
    return "-" if value is None else f"{value:.{digits}f}"


def get(run, key):
    return run and run[key]


def row(options, case, precision, hrmc, eager, compiled):
    torch = better(eager, compiled, memory=min)
    rate = lambda run: run and run["gflop"] / run["best_s"]
    ratio = hrmc and torch and torch["best_s"] / hrmc["best_s"]
    memory = hrmc and torch and hrmc["rss_mb"] and hrmc["rss_mb"] / torch["rss_mb"]
    share = hrmc and 100 * hrmc["share"]
    cells = [f"`{case[0]}`, B {batch_of(options, case)}", precision, show(get(hrmc or torch, "gflop")),
             show(get(eager, "best_s"), 4), show(get(compiled, "best_s"), 4), show(rate(torch), 0),
             show(get(hrmc, "best_s"), 4), show(rate(hrmc), 0), show(ratio, 2), show(share, 0),
             show(get(torch, "rss_mb"), 0), show(get(hrmc, "rss_mb"), 0), show(memory, 2),
             show(get(eager, "first_s")), show(get(compiled, "first_s")), show(get(hrmc, "first_s"))]
    return "| " + " | ".join(cells) + " |"


HEAD = """| case | precision | GFLOP | eager, s | compiled, s | PyTorch, GFLOP/s | hrmc, s | hrmc, GFLOP/s | ratio | % of peak \
| PyTorch, MB | hrmc, MB | ratio | first eager, s | first compiled, s | first hrmc, s |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", required=True, help="benchmark of the same models in PyTorch")
    parser.add_argument("--python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--hrmc", default=str(ROOT / "target/release/hrmc"), help="hrmc, built for speed")
    parser.add_argument("--cases", default=",".join(case[0] for case in CASES))
    parser.add_argument("--precisions", default="f32,bf16")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    wanted = options.cases.split(",")
    unknown = set(wanted) - {case[0] for case in CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    print(HEAD, flush=True)
    complete = True
    for case in CASES:
        for precision in case[5]:
            if case[0] not in wanted or precision not in options.precisions.split(","):
                continue
            hrmc = eager = compiled = None
            for _ in range(options.rounds):
                hrmc = better(hrmc, run_hrmc(options, case, precision))
                eager = better(eager, run_torch(options, case, precision, "eager"))
                compiled = better(compiled, run_torch(options, case, precision, "compile"))
            print(row(options, case, precision, hrmc, eager, compiled), flush=True)
            complete = complete and None not in (hrmc, eager, compiled)
    if not complete:
        sys.exit("some measurements failed")


if __name__ == "__main__":
    main()
