#!/usr/bin/env bash
# Tier T2: what only a GPU can show. One command that needs no registry:
#
#     tests/gpu.sh [FOLDER]
#
# It needs a GPU with its driver, NVRTC and cuBLAS, and either `cargo` with the crates of this checkout at hand, or a
# binary that was built elsewhere, which HRMC names. Optional: the baseline, luminal_cuda, where HRMC_BASELINE names the
# binary of `crates/baseline`, or `cargo` has its crates at hand; compute-sanitizer; PyTorch, where HRMC_TORCH names a
# benchmark for `benches/beside_torch.py` and PYTHON an interpreter that has it. What is said goes to FOLDER
# (`target/gpu` otherwise) too. Exits with 1 if anything fails; what could not be run is said at the end.
set -euo pipefail
# Paths are those of the folder that this was called in.
here=$PWD
cd "$(dirname "$0")/.."
absolute() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac; }
out=$(absolute "${1:-$PWD/target/gpu}")
[ -z "${HRMC:-}" ] || HRMC=$(absolute "$HRMC")
[ -z "${HRMC_BASELINE:-}" ] || HRMC_BASELINE=$(absolute "$HRMC_BASELINE")
mkdir -p "$out"
exec > >(tee "$out/report.txt") 2>&1

failed=()
left_out=()

# Runs a command; a failure is noted, and the rest goes on.
try() {
  local title=$1
  shift
  echo
  echo "== $title"
  if "$@"; then echo "passed: $title"; else failed+=("$title"); echo "FAILED: $title"; fi
}

if command -v cargo > /dev/null && [ -z "${HRMC:-}" ]; then
  cargo build --release --offline
  HRMC=$PWD/target/release/hrmc
fi
if [ ! -x "${HRMC:-}" ]; then
  echo "tests/gpu.sh: there is neither cargo nor a binary; name one with HRMC=PATH" >&2
  exit 1
fi

# A workspace of its own, in the same target folder, so that what both need is compiled once.
baseline=(--release --offline --manifest-path crates/baseline/Cargo.toml --target-dir target)
if command -v cargo > /dev/null && [ -z "${HRMC_BASELINE:-}" ] && cargo build "${baseline[@]}"; then
  HRMC_BASELINE=$PWD/target/release/hrmc-baseline
fi
if [ ! -x "${HRMC_BASELINE:-}" ]; then
  left_out+=("luminal-cuda: there is no binary of crates/baseline; name one with HRMC_BASELINE=PATH")
fi

echo "== devices"
"$HRMC" devices
devices=$("$HRMC" devices)
if ! grep -qE '^cuda +kernels and cuBLAS' <<< "$devices"; then
  echo "T2 did not run: hrmc finds no CUDA here; see above" >&2
  exit 1
fi
tier="T2, on a GPU"
if grep -q "emulated on the CPU" <<< "$devices"; then
  tier="a rehearsal of T2 on an emulated driver: NO evidence from a GPU"
fi
echo "this is $tier"
date --utc +%Y-%m-%dT%H:%MZ
# What it says is for the reader alone: where it fails, the rest goes on.
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv || true

for fixture in tests/fixtures/*.safetensors; do
  json=${fixture%.safetensors}.json
  try "verify $json on cuda" "$HRMC" verify "$json" --device cuda
  try "verify $json on cuda in bf16" "$HRMC" verify "$json" --device cuda --precision bf16
  if [ -x "${HRMC_BASELINE:-}" ]; then
    try "verify $json on luminal-cuda" "$HRMC_BASELINE" verify "$json" --device luminal-cuda
  fi
done

if command -v cargo > /dev/null; then
  try "operators on the driver of this machine" \
    env HRMC_T2=required cargo test --release --offline --test graph operators:: -- --nocapture
  try "the command line on the driver of this machine" \
    env HRMC_T2=required cargo test --release --offline --test cuda device:: -- --nocapture
  try "tests of luminal-cuda on the driver of this machine" \
    env HRMC_T2=required cargo test "${baseline[@]}" --test operators -- --nocapture
else
  left_out+=("tests on the driver of this machine: there is no cargo")
fi

train() {
  local runs
  runs=$(mktemp -d)
  "$HRMC" run specs/quickstart.hrm --train --device cuda --runs "$runs" --steps "${HRMC_STEPS:-2000}" &&
    "$HRMC" run --train --resume "$runs"/quickstart-001 --device cuda --steps "$((${HRMC_STEPS:-2000} + 100))" &&
    "$HRMC" eval "$runs"/quickstart-001 --device cpu
  local status=$?
  rm -rf "$runs"
  return $status
}
try "train the quickstart on cuda, go on, evaluate on cpu" train

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null || true)
if [ -n "$sanitizer" ]; then
  for tool in memcheck racecheck synccheck initcheck; do
    for precision in f32 bf16; do
      try "compute-sanitizer $tool in $precision" "$sanitizer" --tool "$tool" --error-exitcode 1 \
        "$HRMC" verify tests/fixtures/rope-puzzle.json --device cuda --first-segment --precision "$precision"
    done
  done
else
  left_out+=("compute-sanitizer: it is not here")
fi

# The baseline makes memory of B x M x N x K bytes of a product, so it is timed on a model it can hold.
small="--set model.tokens.positions=16 --set model.encoder.hidden=64 --batch 2 --repeat 3"
# shellcheck disable=SC2086
try "time the smallest model on cuda" "$HRMC" bench specs/sudoku-small.hrm --device cuda $small
if [ -x "${HRMC_BASELINE:-}" ]; then
  # shellcheck disable=SC2086
  try "time the smallest model on luminal-cuda" \
    "$HRMC_BASELINE" bench specs/sudoku-small.hrm --device luminal-cuda $small
fi

large() {
  "$HRMC" bench specs/sudoku.hrm --device cuda --batch "${HRMC_BATCH:-768}" --profile --set train.precision="$1" &&
    "$HRMC" bench specs/maze.hrm --device cuda --batch "${HRMC_MAZE_BATCH:-96}" --profile --set train.precision="$1"
}
if [ -z "${HRMC_QUICK:-}" ]; then
  try "time Sudoku and Maze on cuda in bf16" large bf16
  try "time Sudoku and Maze on cuda in f32" large f32
else
  left_out+=("times of Sudoku and Maze: HRMC_QUICK is set")
fi

if [ -n "${HRMC_TORCH:-}" ]; then
  try "beside PyTorch" "${PYTHON:-python3}" benches/beside_torch.py --torch "$HRMC_TORCH" --hrmc "$HRMC" --device cuda \
    --cases smallest,sudoku-small,sudoku-paper,maze-paper
else
  left_out+=("PyTorch: HRMC_TORCH names no benchmark")
fi

echo
echo "== result of $tier"
for what in "${left_out[@]}"; do echo "not run: $what"; done
for what in "${failed[@]}"; do echo "FAILED: $what"; done
if [ ${#failed[@]} -gt 0 ]; then exit 1; fi
echo "everything that was run passed"
