"use strict";

// Grids: the large one, which has a chosen cell, and small ones beside it. All are drawn by the same rules; the style
// sheet knows the kinds of puzzles by the classes that cells get here.

const SVG = "http://www.w3.org/2000/svg";

/** Cells of plain tokens in a line of a grid; more where there are many. */
const TOKENS_IN_LINE = 8;
const MANY_TOKENS = 128;
const MANY_TOKENS_IN_LINE = 16;

/** Steps in which cells show probabilities: finer ones cannot be seen, and cost a layout each. */
const STEP = 1 / 32;

/** Most columns for which cells of a grid have numbers in them. */
const MOST_COLUMNS_WITH_TEXT = 20;

/** Returns an element with a class, a text and attributes. */
function element(name, className = "", text = "", attributes = {}) {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  if (text !== "") made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Returns an element of SVG. */
function drawn(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== "") made.textContent = text;
  return made;
}

/** Returns a probability in steps. */
function inSteps(probability) {
  return Math.round(probability / STEP) * STEP;
}

/** Returns the cells of each row of a grid. `area` is what of a canvas to show, null for all. */
function rowsOfCells(puzzle, area) {
  const range = (first, end) => Array.from({ length: Math.max(0, end - first) }, (_, index) => first + index);
  if (puzzle.kind === "tokens") {
    const count = puzzle.input.length;
    const inLine = Math.min(count, count > MANY_TOKENS ? MANY_TOKENS_IN_LINE : TOKENS_IN_LINE);
    return range(0, Math.ceil(count / inLine)).map((row) => range(row * inLine, Math.min(count, (row + 1) * inLine)));
  }
  const [top, bottom, left, right] = area ?? [0, puzzle.rows, 0, puzzle.columns];
  return range(top, bottom).map((row) => range(row * puzzle.columns + left, row * puzzle.columns + right));
}

/** Returns the path of a maze as lines between cells that touch, in the units of cells. */
function pathLines(puzzle, answer) {
  const isOn = (cell) => answer[cell] >= MAZE.START;
  let lines = "";
  answer.forEach((_, cell) => {
    if (!isOn(cell)) return;
    const [row, column] = [Math.floor(cell / puzzle.columns), cell % puzzle.columns];
    if (column + 1 < puzzle.columns && isOn(cell + 1)) lines += `M${column + 0.5} ${row + 0.5}h1`;
    if (row + 1 < puzzle.rows && isOn(cell + puzzle.columns)) lines += `M${column + 0.5} ${row + 0.5}v1`;
  });
  return lines;
}

/**
 * A grid of cells.
 *
 * `label` names it. With `isLarge` it has a chosen cell that takes the focus, text for every cell, and candidates;
 * `onChoose(cell)` is called when the focus goes to a cell, and `onPoint(cell or null)` when the pointer does.
 */
class Grid {
  constructor(puzzle, { label, isLarge = false, area = null, onChoose = null, onPoint = null }) {
    this.puzzle = puzzle;
    this.isLarge = isLarge;
    this.rows = rowsOfCells(puzzle, area);
    this.columns = this.rows[0].length;
    const kind = puzzle.kind === "tokens" ? "grid-of tokens" : `grid-of ${puzzle.kind}`;
    this.element = element("div", isLarge ? kind : `${kind} small`, "", {
      role: isLarge ? "grid" : "img",
      "aria-label": label,
    });
    this.element.style.setProperty("--columns", this.columns);
    this.element.style.setProperty("--rows", this.rows.length);
    this.element.classList.toggle("dense", this.columns > MOST_COLUMNS_WITH_TEXT);
    this.cells = new Map();
    /** What each cell shows, so that only what changes is touched. */
    this.shown = new Map();
    this.rows.forEach((row, index) => this.element.append(this.makeRow(row, index)));
    if (puzzle.kind === "maze") {
      const view = `0 0 ${puzzle.columns} ${puzzle.rows}`;
      const svg = drawn("svg", { class: "path-line", viewBox: view, "aria-hidden": "true" });
      this.line = drawn("path");
      svg.append(this.line);
      this.element.append(svg);
    }
    if (isLarge) this.listen(onChoose, onPoint);
  }

  makeRow(cells, index) {
    const row = element("div", "row", "", this.isLarge ? { role: "row" } : {});
    for (const cell of cells) {
      const made = element("div", "cell", "", this.isLarge ? { role: "gridcell", tabindex: "-1" } : {});
      made.dataset.cell = cell;
      if (this.isLarge) made.append(element("span", "hidden"));
      if (this.puzzle.box !== null) {
        const [rows, columns] = this.puzzle.box;
        const column = cell % this.puzzle.columns;
        made.classList.toggle("begins-box-row", index > 0 && index % rows === 0);
        made.classList.toggle("begins-box-column", column > 0 && column % columns === 0);
      }
      this.cells.set(cell, made);
      row.append(made);
    }
    return row;
  }

  listen(onChoose, onPoint) {
    const cellOf = (event) => {
      const at = event.target.closest(".cell");
      return at === null ? null : Number(at.dataset.cell);
    };
    this.element.addEventListener("focusin", (event) => onChoose(cellOf(event)));
    this.element.addEventListener("pointermove", (event) => {
      // A pointer that rests gets events, too, when what is below it changes.
      const moves = event.movementX !== 0 || event.movementY !== 0;
      if (event.pointerType === "mouse" && moves) onPoint(cellOf(event));
    });
    this.element.addEventListener("pointerleave", () => onPoint(null));
    this.element.addEventListener("keydown", (event) => {
      const cell = cellOf(event);
      const next = cell === null ? null : this.neighbour(cell, event);
      if (next === null) return;
      event.preventDefault();
      event.stopPropagation();
      this.cells.get(next).focus();
    });
  }

  /** Returns the cell that a key leads to from another one, or null for a key that leads nowhere. */
  neighbour(cell, { key, ctrlKey, shiftKey, altKey, metaKey }) {
    if (shiftKey || altKey || metaKey) return null;
    const row = this.rows.findIndex((cells) => cells.includes(cell));
    const column = this.rows[row].indexOf(cell);
    const at = (row, column) => this.rows[row]?.[column] ?? cell;
    switch (key) {
      case "ArrowLeft":
        return at(row, column - 1);
      case "ArrowRight":
        return at(row, column + 1);
      case "ArrowUp":
        return at(row - 1, column);
      case "ArrowDown":
        return at(row + 1, column);
      case "Home":
        return ctrlKey ? this.rows[0][0] : this.rows[row][0];
      case "End":
        return (ctrlKey ? this.rows.at(-1) : this.rows[row]).at(-1);
      default:
        return null;
    }
  }

  /** Marks the chosen cell. The one of a large grid is the only one that Tab leads to. */
  choose(cell) {
    if (this.chosen !== undefined) {
      this.cells.get(this.chosen)?.classList.remove("chosen");
      if (this.isLarge) this.cells.get(this.chosen)?.setAttribute("tabindex", "-1");
    }
    this.chosen = cell;
    this.cells.get(cell)?.classList.add("chosen");
    if (this.isLarge) this.cells.get(cell)?.setAttribute("tabindex", "0");
  }

  /**
   * Shows tokens, [S]. `looks(cell)` says more about a cell, all of it optional: `classes`, `confidence` (0..1),
   * `weight` (0..1, the area of a disc), `candidates` (tokens in place of the one), `ring` (0..1, its size), `note` (a
   * small text) and `words` (for people who do not see the grid).
   */
  show(tokens, looks = () => ({})) {
    for (const [cell, made] of this.cells) {
      const look = looks(cell);
      const { confidence = 1, weight = 0, words = "" } = look;
      const token = tokens[cell];
      const sureness = inSteps(confidence);
      const ring = inSteps(look.ring ?? 0);
      const content = [token, look.classes, look.note, ring, look.candidates].join(" ");
      const before = this.shown.get(cell) ?? {};
      if (before.content !== content) this.fill(made, cell, token, { ...look, ring });
      if (before.sureness !== sureness) made.style.setProperty("--confidence", sureness);
      if (before.weight !== weight) made.style.setProperty("--weight", Math.sqrt(weight).toFixed(3));
      if (before.words !== words && this.isLarge) made.querySelector(".hidden").textContent = words;
      this.shown.set(cell, { content, sureness, weight, words });
    }
    this.line?.setAttribute("d", pathLines(this.puzzle, tokens));
  }

  fill(made, cell, token, { classes = "", candidates = [], ring, note = "" }) {
    const kept = ["begins-box-row", "begins-box-column", "chosen"].filter((name) => made.classList.contains(name));
    made.className = ["cell", `token-${token}`, classes, ...kept].filter((name) => name !== "").join(" ");
    made.dataset.token = token;
    const inside = [];
    if (candidates.length > 0) {
      inside.push(this.candidates(token, candidates));
    } else {
      const text = token === IGNORED_LABEL ? "" : this.text(token);
      inside.push(element("span", text.length > 2 ? "value long" : "value", text));
    }
    if (ring > 0) {
      const drawn = element("span", "ring");
      drawn.style.setProperty("--probability", ring);
      inside.push(drawn);
    }
    if (this.puzzle.kind === "tokens" && this.isLarge) inside.push(element("span", "position", String(cell + 1)));
    if (note !== "") inside.push(element("span", "note", note));
    if (this.isLarge) {
      // The words say all of this.
      inside.forEach((part) => part.setAttribute("aria-hidden", "true"));
      inside.push(made.querySelector(".hidden"));
    }
    made.replaceChildren(...inside);
  }

  /** Returns a mark for each candidate, at its place among all digits. */
  candidates(token, candidates) {
    const [rows, columns] = this.puzzle.box;
    const made = element("span", "candidates");
    made.style.setProperty("--box-columns", columns);
    made.style.setProperty("--box-rows", rows);
    for (const candidate of candidates) {
      const digit = candidate - 2;
      const mark = element("span", candidate === token ? "answer" : "", trace.tokens[candidate]);
      mark.style.gridArea = `${Math.floor(digit / columns) + 1} / ${(digit % columns) + 1}`;
      made.append(mark);
    }
    return made;
  }

  text(token) {
    switch (this.puzzle.kind) {
      case "sudoku":
        return token === 0 ? "?" : token === 1 ? "" : trace.tokens[token];
      case "maze":
        return token === MAZE.START || token === MAZE.GOAL ? trace.tokens[token] : "";
      case "arc":
        return token < ARC.FIRST_COLOUR ? "" : String(token - ARC.FIRST_COLOUR);
      default:
        return trace.tokens[token];
    }
  }
}
