// Writes the page of a made-up trace: node documents.mjs KIND PAGE >made-up.html
//
// KIND is sudoku-6x6, sudoku-9x9, maze, arc, tokens or several. PAGE is a page that `hrmc` wrote, in which another
// document takes the place of its own. Documents have the form that `hrmc` writes (src/cli/trace/document.rs), and the
// sizes of the models that people train. No model was asked: answers grow right from one update to the next, as those of
// a trained model do, so that every part of the page has something to show.

import { readFileSync } from "node:fs";

/** Seed of all numbers. */
const SEED = 7;

/** Returns random numbers from 0 to 1, always the same ones. */
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const range = (count) => [...Array(count).keys()];
const base64 = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
const byte = (share) => Math.round(255 * share);

function softmax(values) {
  const most = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// Puzzles: what they are, their question and their answer.

function sudoku(boxRows, boxColumns, random) {
  const side = boxRows * boxColumns;
  const order = range(side).sort(() => random() - 0.5);
  const digit = (row, column) => order[((row % boxRows) * boxColumns + Math.floor(row / boxRows) + column) % side] + 2;
  const label = range(side * side).map((cell) => digit(Math.floor(cell / side), cell % side));
  const input = label.map((token) => (random() < 0.4 ? token : 1));
  const names = range(side).map((digit) => String(digit + 1));
  return {
    kind: "sudoku",
    rows: side,
    columns: side,
    box: [boxRows, boxColumns],
    input,
    label,
    tokens: ["", ".", ...names],
  };
}

function maze(side, random) {
  const [WALL, OPEN, START, GOAL, PATH] = [1, 2, 3, 4, 5];
  const neighbours = (cell) => [
    ...(cell + side < side * side ? [cell + side] : []),
    ...(cell % side > 0 ? [cell - 1] : []),
    ...(cell % side < side - 1 ? [cell + 1] : []),
    ...(cell >= side ? [cell - side] : []),
  ];
  const [start, goal] = [side + 1, side * side - side - 2];
  for (;;) {
    const input = range(side * side).map(() => (random() < 0.3 ? WALL : OPEN));
    [input[start], input[goal]] = [START, GOAL];
    const parents = new Map([[start, null]]);
    const queue = [start];
    for (const cell of queue) {
      for (const next of neighbours(cell)) {
        if (input[next] === WALL || parents.has(next)) continue;
        parents.set(next, cell);
        queue.push(next);
      }
    }
    if (!parents.has(goal)) continue;
    const label = [...input];
    for (let cell = parents.get(goal); cell !== start; cell = parents.get(cell)) label[cell] = PATH;
    return { kind: "maze", rows: side, columns: side, box: null, input, label, tokens: ["", "#", " ", "S", "G", "o"] };
  }
}

function arc(random) {
  const side = 30;
  const canvas = (rows, columns, colour) =>
    range(side * side).map((cell) => {
      const [row, column] = [Math.floor(cell / side) - 2, (cell % side) - 3];
      if (row >= 0 && column >= 0 && row < rows && column < columns) return 2 + colour(row, column);
      const isEnd =
        (row === rows && column >= 0 && column <= columns) || (column === columns && row >= 0 && row <= rows);
      return isEnd ? 1 : 0;
    });
  const shape = range(144).map(() => (random() < 0.6 ? 0 : Math.floor(10 * random())));
  const input = canvas(12, 6, (row, column) => shape[12 * row + column]);
  const label = canvas(12, 12, (row, column) => shape[12 * row + Math.min(column, 11 - column)]);
  const names = range(10).map(String);
  return { kind: "arc", rows: side, columns: side, box: null, input, label, tokens: ["", "end", ...names] };
}

function plainTokens(random) {
  const input = range(16).map(() => 1 + Math.floor(11 * random()));
  const label = [...input].sort((a, b) => a - b);
  return { kind: "tokens", rows: 1, columns: 16, box: null, input, label, tokens: range(12).map(String) };
}

// What a model does with a puzzle.

/** Cells of a Sudoku that break its rules. */
function againstRules({ kind, columns, box, input, label }, answer) {
  if (kind === "maze") {
    return range(answer.length).filter((cell) => answer[cell] === 5 && label[cell] !== 5);
  }
  if (kind !== "sudoku") return [];
  const units = (cell) => {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    return [`r${row}`, `c${column}`, `b${Math.floor(row / box[0])},${Math.floor(column / box[1])}`];
  };
  const seen = new Map();
  answer.forEach((token, cell) => {
    for (const unit of units(cell)) {
      const key = `${unit}:${token}`;
      seen.set(key, [...(seen.get(key) ?? []), cell]);
    }
  });
  const wrong = new Set([...seen.values()].filter((cells) => cells.length > 1).flat());
  return [...wrong].filter((cell) => input[cell] !== answer[cell]).sort((a, b) => a - b);
}

function rollout(puzzle, updates, { segments, random, certainty, isBest, layers, heads, top, prefix }) {
  const cells = puzzle.input.length;
  const vocab = puzzle.tokens.length;
  const perSegment = updates.length;
  const count = segments * perSegment;
  const hardness = range(cells).map(() => 0.3 + 1.4 * random());
  const noise = range(cells * vocab).map(() => 2 * random() - 1);
  const probabilities = new Uint8Array(count * cells * vocab);
  const frames = [];
  let before = puzzle.input;
  for (let at = 0; at < count; at += 1) {
    const [segment, update] = [Math.floor(at / perSegment), at % perSegment];
    const progress = ((at + 1) / count) ** 0.7 * certainty;
    const answer = [];
    const confidence = [];
    for (let cell = 0; cell < cells; cell += 1) {
      const isGiven =
        puzzle.kind !== "arc" &&
        puzzle.kind !== "tokens" &&
        puzzle.input[cell] === puzzle.label[cell] &&
        !(puzzle.kind === "maze" && puzzle.input[cell] === 2);
      const values = range(vocab).map((token) => {
        const at = cell * vocab + token;
        noise[at] = 0.8 * noise[at] + 0.9 * (random() - 0.5);
        const isTrue = token === puzzle.label[cell];
        if (isGiven) return isTrue ? 12 : 0;
        const isPlausible =
          puzzle.kind === "maze" ? token === 2 || token === 5 : token > (puzzle.kind === "arc" ? -1 : 1);
        return (isTrue ? 9 * progress * hardness[cell] : 0) + 1.5 * noise[at] + (isPlausible ? 2 : -3);
      });
      const shares = softmax(values);
      const best = shares.indexOf(Math.max(...shares));
      answer.push(best);
      confidence.push(Number(shares[best].toFixed(3)));
      shares.forEach((share, token) => (probabilities[(at * cells + cell) * vocab + token] = byte(share)));
    }
    const state = updates[update].state;
    const decay = Math.exp(-at / (state === 0 ? 0.25 * count : 0.35 * count));
    const jump =
      state === 0
        ? 1 / (1 + updates.slice(0, update).filter((one, i) => one.state === 0 && i >= update - 2).length)
        : 1;
    const residual = Number((0.8 * decay * jump * (0.8 + 0.4 * random())).toPrecision(4));
    frames.push({
      segment: segment + 1,
      update,
      answer,
      confidence,
      changed: range(cells).filter((cell) => before[cell] !== answer[cell]),
      against_rules: againstRules(puzzle, answer),
      q_halt: Number((8 * progress - 5 + random()).toFixed(3)),
      moved: Number((residual * 1.2).toPrecision(4)),
      residual,
      drift: update === perSegment - 1 ? Number((residual * 2).toPrecision(4)) : null,
    });
    before = answer;
  }
  return {
    segments,
    stopped_by: "limit",
    frames,
    probabilities: base64(probabilities),
    projection: isBest ? [0, 1].map((state) => projection(state, frames, updates, random)) : [],
    attention: isBest
      ? attention({ cells, perSegment, count, updates, layers, heads, top, prefix, puzzle, random })
      : [],
  };
}

function projection(state, frames, updates, random) {
  const own = frames.filter((frame) => updates[frame.update].state === state);
  const points = own.map((_, at) => {
    const t = (at + 1) / own.length;
    const shrink = 6 * (1 - t) ** 1.5;
    return [shrink * Math.cos(5 * t) + random() - 3, 0.6 * shrink * Math.sin(5 * t) + 0.6 * random()];
  });
  return {
    state,
    shares: [0.614, 0.207],
    points: points.map((point) => point.map((value) => Number(value.toPrecision(4)))),
  };
}

/** Attention of the last updates of both states in the first and the last segment, or with `top` in the last one. */
function attention({ cells, perSegment, count, updates, layers, heads, top, prefix, puzzle, random }) {
  const positions = prefix + cells;
  const first = top === null ? [0, count - perSegment] : [count - perSegment];
  const lastOf = (state) => updates.findLastIndex((update) => update.state === state);
  const maps = [];
  for (const frame of first.flatMap((begin) => [begin + lastOf(0), begin + lastOf(1)])) {
    for (let layer = 0; layer < layers; layer += 1) {
      const weights = new Uint8Array(heads * positions * (top ?? positions));
      const keys = top === null ? null : new Uint8Array(2 * heads * positions * top);
      for (let row = 0; row < heads * positions; row += 1) {
        const [head, query] = [Math.floor(row / positions), row % positions];
        const near = (key) => {
          const [a, b] = [query - prefix, key - prefix];
          if (a < 0 || b < 0) return 0;
          const isRow = Math.floor(a / puzzle.columns) === Math.floor(b / puzzle.columns);
          const isColumn = a % puzzle.columns === b % puzzle.columns;
          return [isRow, isColumn, isRow || isColumn, a === b][(head + layer) % 4] ? 3 : 0;
        };
        const shares = softmax(range(positions).map((key) => near(key) + 2 * random()));
        if (top === null) {
          shares.forEach((share, key) => (weights[row * positions + key] = byte(share)));
          continue;
        }
        const order = range(positions)
          .sort((a, b) => shares[b] - shares[a])
          .slice(0, top);
        order.forEach((key, at) => {
          weights[row * top + at] = byte(shares[key]);
          keys[2 * (row * top + at)] = key & 255;
          keys[2 * (row * top + at) + 1] = key >> 8;
        });
      }
      maps.push({ frame, layer, heads, top, keys: keys && base64(keys), weights: base64(weights) });
    }
  }
  return maps;
}

/** Returns a puzzle as a document has it. */
function traced(puzzle, updates, { row, rollouts, top, segments, layers, heads, certainty, random, prefix }) {
  const best = rollouts - 1;
  const made = range(rollouts).map((index) =>
    rollout(puzzle, updates, {
      // Some rollouts end before others.
      segments: index === 0 && rollouts > 1 ? Math.ceil(segments / 2) : segments,
      certainty: index === best ? certainty : 0.6 * certainty,
      isBest: index === best,
      random,
      layers,
      heads,
      top,
      prefix,
    }),
  );
  const { tokens, ...rest } = puzzle;
  const answer = made[best].frames.at(-1).answer;
  const isSolved = answer.every((token, cell) => token === puzzle.label[cell]);
  const verdict = isSolved ? "solved" : "not solved: the answer breaks the rules";
  return { row, ...rest, verdict, best, rollouts: made };
}

/** Updates of a segment: two cycles of two low-level updates and a high-level one. */
const UPDATES = [1, 2].flatMap((cycle) => [
  ...[1, 2].map((step) => ({ state: 0, network: "low", loops: ["cycle", "step"], iterations: [cycle, step] })),
  { state: 1, network: "high", loops: ["cycle"], iterations: [cycle] },
]);

const PLANS = {
  "sudoku-6x6": (random) => [
    [sudoku(2, 3, random)],
    { rollouts: 1, segments: 4, layers: 2, heads: 4, top: null, certainty: 1 },
  ],
  "sudoku-9x9": (random) => [
    [sudoku(3, 3, random)],
    { rollouts: 4, segments: 16, layers: 2, heads: 8, top: null, certainty: 1.3 },
  ],
  maze: (random) => [[maze(30, random)], { rollouts: 1, segments: 16, layers: 1, heads: 8, top: 8, certainty: 1 }],
  arc: (random) => [[arc(random)], { rollouts: 2, segments: 8, layers: 1, heads: 8, top: 8, certainty: 1.2 }],
  tokens: (random) => [
    [plainTokens(random)],
    { rollouts: 1, segments: 4, layers: 0, heads: 0, top: null, certainty: 1 },
  ],
  several: (random) => [
    range(3).map(() => sudoku(2, 3, random)),
    { rollouts: 3, segments: 4, layers: 1, heads: 4, top: null, certainty: 0.8 },
  ],
};

const [kind, file] = process.argv.slice(2);
if (!(kind in PLANS) || file === undefined) {
  console.error(`usage: node documents.mjs ${Object.keys(PLANS).join("|")} PAGE`);
  process.exit(2);
}
const random = randomNumbers(SEED);
const [puzzles, plan] = PLANS[kind](random);
const prefix = puzzles[0].kind === "tokens" ? 0 : 1;
const document = {
  format: "hrmc-trace",
  version: 1,
  model: `made-up ${puzzles[0].kind}`,
  run: "runs/made-up-001",
  checkpoint: "best",
  states: ["z_low", "z_high"],
  answer_state: 1,
  prefix,
  has_attention: plan.layers > 0,
  updates: UPDATES,
  tokens: puzzles[0].tokens,
  puzzles: puzzles.map((puzzle, row) =>
    traced(puzzle, UPDATES, { ...plan, row: puzzles.length > 1 ? row : null, prefix, random }),
  ),
  left_out: [
    ...(plan.top === null
      ? []
      : [`attention outside of the last segment, and all but the ${plan.top} largest weights of each position`]),
    ...(plan.rollouts > 1 ? ["attention and principal components of all rollouts but the best"] : []),
  ],
};
const element = /(<script id="trace"[^>]*>).*?(<\/script>)/s;
const text = JSON.stringify(document).replaceAll("<", "\\u003c");
process.stdout.write(readFileSync(file, "utf8").replace(element, (_, begin, end) => begin + text + end));
