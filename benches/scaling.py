"""Measures how a training segment scales: a table in Markdown, and a plot.

    cargo build --release
    python benches/scaling.py [--svg docs/scaling.svg] [--repeat 5] [--threads 2] [--axes batch,positions,width,cycles]

Varies one thing at a time in `specs/sudoku-small.hrm`: rows in a batch, positions, width, and the loops N x T. In the plot a
point is a measured time and the dashed line the time at the rate of one large product; both axes double from mark
to mark. The loops change the time and not the memory, because the gradient takes one step; the script
fails if that is not so. Run it on a machine that does nothing else.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCH = 8


def cases(axis):
    """Returns the points of an axis: place on the axis, label, rows in a batch, overrides."""
    if axis == "batch":
        return [(rows, str(rows), rows, []) for rows in (1, 2, 4, 8, 16, 32, 64)]
    if axis == "positions":
        return [(n, str(n), BATCH, [f"model.tokens.positions={n}"]) for n in (16, 32, 64, 128, 256, 512, 1024)]
    if axis == "width":
        return [(d, str(d), BATCH, [f"model.encoder.hidden={d}", f"model.encoder.heads={d // 32}"])
                for d in (64, 128, 256, 512)]
    return [(n * t, f"{n} x {t}", BATCH, [f"model.N={n}", f"model.T={t}"])
            for n, t in ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8))]


TITLES = {"batch": "rows in a batch", "positions": "positions", "width": "width", "cycles": "N x T"}


def measure(options, place, label, batch, overrides):
    command = [options.hrmc, "bench", str(ROOT / "specs/sudoku-small.hrm"), "--json", "--program", "train"]
    command += ["--batch", str(batch), "--threads", str(options.threads), "--repeat", str(options.repeat)]
    for override in overrides:
        command += ["--set", override]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    report = json.loads(done.stdout)
    row = report["programs"][0]
    return {"place": place, "label": label, "seconds": row["best_s"], "gflop": row["gflop"],
            "share": row["share_of_peak"], "peak": report["peak_gflop_per_s"],
            "bytes": report["memory_bytes"]}


def table(axis, points):
    lines = [f"| {TITLES[axis]} | GFLOP | ms | GFLOP/s | of peak | memory, MiB |", "|---|---|---|---|---|---|"]
    for point in points:
        lines.append(f"| {point['label']} | {point['gflop']:.2f} | {point['seconds'] * 1e3:.2f} "
                     f"| {point['gflop'] / point['seconds']:.0f} | {point['share']:.0%} "
                     f"| {point['bytes'] / 2**20:.1f} |")
    return "\n".join(lines) + "\n"


WIDTH, HEIGHT, MARGIN = 250, 200, 46


def panel(axis, points, left):
    """Returns one plot, times over the axis."""
    peak = max(point["peak"] for point in points)
    points = [{**point, "at_peak": point["gflop"] / peak} for point in points]
    times = [time * 1e3 for point in points for time in (point["seconds"], point["at_peak"])]
    low, high = math.floor(math.log2(min(times))), math.ceil(math.log2(max(times)))
    first, last = math.log2(points[0]["place"]), math.log2(points[-1]["place"])
    x = lambda place: left + MARGIN + (math.log2(place) - first) / max(last - first, 1) * (WIDTH - MARGIN - 14)
    y = lambda ms: 24 + (high - math.log2(ms)) / max(high - low, 1) * (HEIGHT - 24)
    out = [f'<text x="{left + MARGIN}" y="14">ms over {TITLES[axis]}</text>']
    for power in range(low, high + 1):
        at = y(2.0**power)
        out.append(f'<path class="grid" d="M{left + MARGIN} {at:.1f}H{left + WIDTH - 10}"/>')
        if (power - low) % (1 + (high - low) // 8) == 0:
            out.append(f'<text class="end" x="{left + MARGIN - 5}" y="{at + 4:.1f}">{2.0**power:g}</text>')
    for point in points:
        out.append(f'<text class="mid" x="{x(point["place"]):.1f}" y="{HEIGHT + 16}">{point["label"]}</text>')
    line = lambda key: " ".join(f'{x(p["place"]):.1f},{y(p[key] * 1e3):.1f}' for p in points)
    out.append(f'<polyline class="peak" points="{line("at_peak")}"/>')
    out.append(f'<polyline class="time" points="{line("seconds")}"/>')
    for point in points:
        out.append(f'<circle cx="{x(point["place"]):.1f}" cy="{y(point["seconds"] * 1e3):.1f}" r="3"/>')
    return "\n".join(out)


STYLE = """<style>
text { font: 11px sans-serif; fill: #333 } .mid { text-anchor: middle; font-size: 9px } .end { text-anchor: end }
.grid { stroke: #ddd } polyline { fill: none; stroke: #1f5fa8; stroke-width: 1.5 }
.peak { stroke: #888; stroke-dasharray: 4 3 } circle { fill: #1f5fa8 }
</style>"""


def plot(measured):
    width, height = WIDTH * len(measured), HEIGHT + 26
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    panels = [panel(axis, points, WIDTH * index) for index, (axis, points) in enumerate(measured.items())]
    return "\n".join([head, STYLE, '<rect width="100%" height="100%" fill="#fff"/>', *panels, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hrmc", default=str(ROOT / "target/release/hrmc"), help="hrmc, built for speed")
    parser.add_argument("--svg", default=str(ROOT / "docs/scaling.svg"), help="where the plot is written")
    parser.add_argument("--axes", default=",".join(TITLES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    measured = {}
    for axis in options.axes.split(","):
        if axis not in TITLES:
            parser.error(f"no such axis: {axis}; there are {', '.join(TITLES)}")
        measured[axis] = [measure(options, *case) for case in cases(axis)]
        print(table(axis, measured[axis]), flush=True)
    looped = {point["bytes"] for point in measured.get("cycles", [])}
    if len(looped) > 1:
        sys.exit(f"memory depends on the loops: {sorted(looped)} bytes")
    pathlib.Path(options.svg).write_text(plot(measured))


if __name__ == "__main__":
    main()
