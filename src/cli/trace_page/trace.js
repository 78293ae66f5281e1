"use strict";

// The trace: the document that this page embeds, and what follows from it.
//
// A *frame* is what there is after one update of one segment. Frames are counted from 0 here and from 1 on the page.
// A *cell* is an index of the tokens of a puzzle.

const trace = JSON.parse(document.getElementById("trace").textContent);

/** Updates of a segment. */
const PER_SEGMENT = trace.updates.length;

/** Label of a cell of which nothing is expected. */
const IGNORED_LABEL = -100;

/** Tokens of mazes. */
const MAZE = { WALL: 1, OPEN: 2, START: 3, GOAL: 4, PATH: 5 };

/** Tokens of ARC; the colours follow. */
const ARC = { PADDING: 0, END: 1, FIRST_COLOUR: 2 };

const ARC_COLOURS = ["black", "blue", "red", "green", "yellow", "grey", "pink", "orange", "light blue", "maroon"];

/** Bytes that were decoded before, by the object that holds their text. */
const decoded = new WeakMap();

/** Returns the bytes of a property in base64, or null where there is none. */
function bytesOf(holder, property) {
  if (holder[property] === null) return null;
  const known = decoded.get(holder) ?? {};
  decoded.set(holder, known);
  known[property] ??= Uint8Array.from(atob(holder[property]), (letter) => letter.charCodeAt(0));
  return known[property];
}

/** Returns the probability of each token in a cell, [V] bytes of which 255 is 1, or null where they were left out. */
function probabilities(puzzle, rollout, frame, cell) {
  const bytes = bytesOf(rollout, "probabilities");
  if (bytes === null) return null;
  const vocab = trace.tokens.length;
  const first = (frame * puzzle.input.length + cell) * vocab;
  return bytes.subarray(first, first + vocab);
}

/** Returns a token as a person would say it. */
function tokenWord(puzzle, token) {
  switch (puzzle.kind) {
    case "sudoku":
      return token === 0 ? "padding" : token === 1 ? "blank" : trace.tokens[token];
    case "maze":
      return ["padding", "wall", "open", "start", "goal", "path"][token];
    case "arc":
      return token < ARC.FIRST_COLOUR ? ["padding", "end of the grid"][token] : ARC_COLOURS[token - 2];
    default:
      return trace.tokens[token];
  }
}

/** Returns where a cell is, in words. */
function cellPlace(puzzle, cell) {
  if (puzzle.rows === 1) return `position ${cell + 1}`;
  return `row ${Math.floor(cell / puzzle.columns) + 1}, column ${(cell % puzzle.columns) + 1}`;
}

/** Returns whether a cell is given by the question, so that an answer has to repeat it. */
function isGiven(puzzle, cell) {
  const token = puzzle.input[cell];
  if (puzzle.kind === "sudoku") return token !== 1;
  return puzzle.kind === "maze" && token !== MAZE.OPEN;
}

/** Returns what is expected in a cell, or null. */
function expectedToken(puzzle, cell) {
  const token = puzzle.label === null ? IGNORED_LABEL : puzzle.label[cell];
  return token === IGNORED_LABEL ? null : token;
}

/** Returns which of some cells changes most often in the best rollout, the first one of several. */
function liveliestCell(puzzle, cells) {
  const changes = new Array(puzzle.input.length).fill(0);
  puzzle.rollouts[puzzle.best].frames.forEach(({ changed }) => changed.forEach((cell) => (changes[cell] += 1)));
  return cells.reduce((best, cell) => (changes[cell] > changes[best] ? cell : best));
}

/** Returns frames of the longest rollout. */
function frameCount(puzzle) {
  return Math.max(...puzzle.rollouts.map((rollout) => rollout.frames.length));
}

/** Returns the frame that a rollout shows: its last one where it has ended before. */
function frameOf(rollout, frame) {
  return Math.min(frame, rollout.frames.length - 1);
}

/** Returns an update of a segment in words, as `z_low by low, cycle 1, step 2`. */
function updateWords(update) {
  const { state, network, loops, iterations } = trace.updates[update];
  const places = loops.map((label, depth) => `${label ?? "repetition"} ${iterations[depth]}`);
  return [`${trace.states[state]} by ${network}`, ...places].join(", ");
}

/** Returns a share as percent, without claiming more than a byte or three digits can hold. */
function percent(share) {
  return `${Math.round(100 * share)}%`;
}

/** Returns a count with its noun. */
function counted(count, one, several) {
  return `${count} ${count === 1 ? one : several}`;
}

/** Returns a number with three digits that count. */
function short(number) {
  if (number === 0) return "0";
  const size = Math.abs(number);
  return size >= 0.001 && size < 1000
    ? String(Number(number.toPrecision(3)))
    : number.toExponential(1).replace(".0e", "e");
}

/** Returns the probability of halting after a frame, or null for a model without. */
function haltProbability(frame) {
  return frame.q_halt === null ? null : 1 / (1 + Math.exp(-frame.q_halt));
}

/** Returns what a position gives of its attention to another one, 0..1; 0 for a weight that was left out. */
function attentionWeight(map, positions, head, query, key) {
  const weights = bytesOf(map, "weights");
  const row = head * positions + query;
  if (map.top === null) return weights[row * positions + key] / 255;
  const keys = bytesOf(map, "keys");
  for (let at = row * map.top; at < (row + 1) * map.top; at += 1) {
    if (keys[2 * at] + 256 * keys[2 * at + 1] === key) return weights[at] / 255;
  }
  return 0;
}

/**
 * Returns weights of attention between one cell and all others, `{ cells: [S], prefix }`: those of the cell onto the
 * others (`from`), or of the others onto the cell (`onto`). `head` is a number, or null for the mean of all.
 */
function attentionOf(puzzle, map, head, direction, cell) {
  const positions = trace.prefix + puzzle.input.length;
  const heads = head === null ? [...Array(map.heads).keys()] : [head];
  const own = trace.prefix + cell;
  const between = (other) => {
    const [query, key] = direction === "from" ? [own, other] : [other, own];
    const sum = heads.reduce((sum, one) => sum + attentionWeight(map, positions, one, query, key), 0);
    return sum / heads.length;
  };
  const found = Float64Array.from({ length: positions }, (_, other) => between(other));
  const prefix = found.subarray(0, trace.prefix).reduce((sum, weight) => sum + weight, 0);
  return { cells: found.subarray(trace.prefix), prefix };
}

/**
 * Returns what of a canvas of ARC to show, `[first row, end, first column, end]`: all that is no padding in the
 * question, in the expected answer and in the answer.
 */
function arcArea(puzzle) {
  const grids = [puzzle.input, puzzle.rollouts[puzzle.best].frames.at(-1).answer];
  if (puzzle.label !== null) grids.push(puzzle.label);
  const area = [puzzle.rows, 0, puzzle.columns, 0];
  for (const grid of grids) {
    grid.forEach((token, cell) => {
      if (token === ARC.PADDING || token === IGNORED_LABEL) return;
      const [row, column] = [Math.floor(cell / puzzle.columns), cell % puzzle.columns];
      area[0] = Math.min(area[0], row);
      area[1] = Math.max(area[1], row + 1);
      area[2] = Math.min(area[2], column);
      area[3] = Math.max(area[3], column + 1);
    });
  }
  return area[0] < area[1] ? area : [0, puzzle.rows, 0, puzzle.columns];
}
