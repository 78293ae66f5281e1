"use strict";

// The page: what is shown, and the parts that show it. Every change goes through `show`, which brings all parts up to
// what `shown` says.

const at = (id) => document.getElementById(id);

/** What the page shows. `pointed` is the cell under the pointer, which goes before the chosen one. */
const shown = { puzzle: 0, rollout: 0, frame: 0, cell: null, pointed: null };

/** Timer of playing, or null. */
let playing = null;

/** Parts that were made for the puzzle and the rollout that are shown. */
const parts = { grid: null, rollouts: [], attention: null, charts: [], trajectories: [] };

/** Most values of a cell in its table. */
const MOST_VALUES = 24;
/** Most columns of a grid with room for a number beside each value. */
const MOST_COLUMNS_WITH_NOTES = 12;
/** Most columns of a Sudoku whose cells show candidates unless they are asked for. */
const MOST_COLUMNS_WITH_CANDIDATES = 9;
/** Cells that the strongest attention is told of. */
const STRONGEST = 3;
/** Milliseconds after which an update is read aloud, so that held keys do not fill the queue. */
const QUIET_TIME = 500;

const puzzle = () => trace.puzzles[shown.puzzle];
const rollout = () => puzzle().rollouts[shown.rollout];
/** The frame that the chosen rollout shows. */
const frameIndex = () => frameOf(rollout(), shown.frame);
const frame = () => rollout().frames[frameIndex()];
const cellInView = () => shown.pointed ?? shown.cell;

/** Returns which part of a canvas to draw, null for all. */
function area() {
  return puzzle().kind === "arc" && !at("canvas").checked ? arcArea(puzzle()) : null;
}

// The large grid, its marks and what is said about the update.

function buildGrid() {
  const label = `Answer of puzzle ${shown.puzzle + 1}`;
  const onChoose = (cell) => {
    shown.cell = cell;
    shown.pointed = null;
    show();
  };
  const onPoint = (cell) => {
    if (cell === shown.pointed) return;
    shown.pointed = cell;
    showAttention();
    if (at("shade").value === "attention") showGrid();
    showCell();
  };
  parts.grid = new Grid(puzzle(), { label, isLarge: true, area: area(), onChoose, onPoint });
  if (!parts.grid.cells.has(shown.cell)) shown.cell = liveliestCell(puzzle(), [...parts.grid.cells.keys()]);
  at("grid").replaceChildren(parts.grid.element);
  parts.grid.element.classList.toggle("numbered", at("numbers").checked);
}

/** Returns what else a cell may be, for `Grid.show`: nothing where the answer stands alone. */
function possibilities(cell) {
  const least = at("candidates").value;
  const shares = least === "off" ? null : probabilities(puzzle(), rollout(), frameIndex(), cell);
  if (shares === null) return {};
  const answer = frame().answer[cell];
  const isPossible = (token) => shares[token] / 255 >= Number(least) / 100;
  if (puzzle().kind === "maze") {
    return answer === MAZE.OPEN && isPossible(MAZE.PATH) ? { ring: shares[MAZE.PATH] / 255 } : {};
  }
  if (puzzle().kind !== "sudoku") return {};
  // Tokens from 2 on are digits.
  const digits = [...shares.keys()].filter((token) => token > 1 && isPossible(token));
  const isAlone = digits.length === 0 || (digits.length === 1 && digits[0] === answer);
  return isAlone ? {} : { candidates: digits };
}

/** Returns the classes of cells, by the marks that they have. */
function classesOf({ changed, against_rules: wrong }) {
  const [isChanged, isWrong] = [new Set(changed), new Set(wrong)];
  return (cell) => {
    const names = [];
    if (isGiven(puzzle(), cell)) names.push("given");
    if (isChanged.has(cell)) names.push("changed");
    if (isWrong.has(cell)) names.push("wrong");
    return names;
  };
}

/** What the classes mean, where a cell is read aloud. */
const CLASS_WORDS = { given: "given", changed: "changed", wrong: "against the rules" };

function showGrid() {
  const { answer, confidence } = frame();
  const classes = classesOf(frame());
  const mode = at("shade").value;
  const weights = mode === "attention" ? attentionInView()?.weights.cells : undefined;
  const most = weights === undefined ? 1 : Math.max(...weights, 1e-9);
  parts.grid.element.classList.toggle("shaded", mode === "shade");
  parts.grid.element.classList.toggle("weighted", weights !== undefined);
  parts.grid.show(answer, (cell) => {
    const names = classes(cell);
    const possible = possibilities(cell);
    const share = Math.round(100 * confidence[cell]);
    const words = [`${cellPlace(puzzle(), cell)}: ${tokenWord(puzzle(), answer[cell])}`, `${share}%`];
    const hasNote = mode === "number" && !names.includes("given") && possible.candidates === undefined;
    return {
      ...possible,
      classes: names.join(" "),
      confidence: confidence[cell],
      weight: weights === undefined ? 0 : weights[cell] / most,
      note: hasNote ? String(share) : "",
      words: [...words, ...names.map((name) => CLASS_WORDS[name])].join(", "),
    };
  });
  parts.grid.choose(shown.cell);
}

function showFacts() {
  const { segment, update, answer, confidence, changed, against_rules: wrong } = frame();
  const segments = rollout().segments;
  const place = `Update ${frameIndex() + 1} of ${rollout().frames.length}, segment ${segment} of ${segments}`;
  const hasEnded = shown.frame >= rollout().frames.length ? " (this rollout has ended)" : "";
  at("place").replaceChildren(element("b", "", place), element("span", "soft", ` ${updateWords(update)}${hasEnded}`));
  const mean = confidence.reduce((sum, share) => sum + share, 0) / confidence.length;
  const facts = [`${counted(changed.length, "cell has", "cells have")} changed`];
  if (["sudoku", "maze"].includes(puzzle().kind)) {
    facts.push(`${counted(wrong.length, "is", "are")} against the rules`);
  }
  const expected = answer.map((_, cell) => expectedToken(puzzle(), cell));
  const known = expected.filter((token) => token !== null).length;
  const right = expected.filter((token, cell) => token !== null && token === answer[cell]).length;
  if (known > 0) facts.push(`${right} of ${known} are as expected`);
  facts.push(`mean confidence ${percent(mean)}`);
  at("facts").textContent = facts.join(" · ");
  return `${place}: ${facts.slice(0, 2).join(", ")}`;
}

/** Says which marks a grid of this kind has. */
function buildMarks() {
  const kinds = {
    sudoku: [
      ["given", "given"],
      ["candidates", "candidates; the answer is boxed"],
    ],
    maze: [
      ["path", "path"],
      ["maybe", "perhaps path"],
    ],
    arc: [
      ["padding", "outside of the grid"],
      ["unsure", "smaller: less confident"],
    ],
  };
  const marks = [...(kinds[puzzle().kind] ?? []), ["changed", "changed in this update"]];
  if (["sudoku", "maze"].includes(puzzle().kind)) marks.push(["wrong", "against the rules"]);
  if (puzzle().kind !== "arc") marks.push(["unsure", "less confident"]);
  marks.push(["chosen", "chosen cell"]);
  at("marks").replaceChildren(
    ...marks.map(([name, words]) => {
      const item = element("li");
      item.append(element("span", `mark mark-${name} of-${puzzle().kind}`, "", { "aria-hidden": "true" }), words);
      return item;
    }),
  );
}

// The values of one cell.

/** Colour of bars that are drawn into canvases. The style sheet has it; asking for it costs a layout of the page. */
let barColour = "";

function readColours() {
  barColour = getComputedStyle(document.body).getPropertyValue("--bar");
}

/** Returns the tokens of a cell in its table: all in their order, or of many the most probable ones. */
function tokensInTable(shares) {
  const all = [...shares.keys()];
  if (all.length <= MOST_VALUES) return all;
  return all.sort((a, b) => shares[b] - shares[a] || a - b).slice(0, MOST_VALUES);
}

function showCell() {
  const cell = cellInView();
  const { answer, confidence } = frame();
  const heading = cellPlace(puzzle(), cell);
  at("cell-heading").textContent = heading[0].toUpperCase() + heading.slice(1);
  const expected = expectedToken(puzzle(), cell);
  const changes = rollout().frames.flatMap((one, index) => (one.changed.includes(cell) ? [index + 1] : []));
  const facts = [`${tokenWord(puzzle(), answer[cell])}, ${percent(confidence[cell])}`];
  if (isGiven(puzzle(), cell)) facts.push("given");
  if (expected !== null) facts.push(`expected: ${tokenWord(puzzle(), expected)}`);
  const last = changes.length === 0 ? "never changes" : `changes ${changes.length}×, last in update ${changes.at(-1)}`;
  at("cell-facts").textContent = [...facts, last].join(" · ");
  const shares = probabilities(puzzle(), rollout(), frameIndex(), cell);
  if (shares === null) {
    at("cell-values").replaceChildren(element("p", "", "The probabilities of this rollout were left out."));
    return;
  }
  const table = element("table", "values");
  const head = element("tr");
  for (const [name, className] of [
    ["Value", ""],
    ["Probability", "wide"],
    ["In all updates", "wide"],
  ]) {
    head.append(element("th", className, name, { scope: "col" }));
  }
  const header = element("thead");
  header.append(head);
  const body = element("tbody");
  for (const token of tokensInTable(shares)) body.append(valueRow(cell, token, shares[token] / 255, expected));
  table.append(element("caption", "hidden", `Probability of each value in ${heading}`), header, body);
  at("cell-values").replaceChildren(table);
}

function valueRow(cell, token, share, expected) {
  const row = element("tr", token === frame().answer[cell] ? "answer" : "");
  const name = element("th", "", tokenWord(puzzle(), token), { scope: "row" });
  if (puzzle().kind === "arc" && token >= ARC.FIRST_COLOUR) {
    name.prepend(element("span", `swatch token-${token}`, "", { "aria-hidden": "true" }));
  }
  if (token === expected) name.append(element("span", "soft", " ✓", { title: "expected", "aria-label": "expected" }));
  const bar = element("td", "wide");
  const inside = element("span", "bar");
  inside.style.setProperty("--share", share);
  bar.append(inside, element("span", "number", percent(share)));
  const history = element("td", "wide history");
  const canvas = element("canvas", "", "", { "aria-hidden": "true" });
  const frames = rollout().frames;
  const values = frames.map((_, index) => probabilities(puzzle(), rollout(), index, cell)[token] / 255);
  drawHistory(canvas, values, barColour);
  history.style.setProperty("--now", (frameIndex() + 0.5) / frames.length);
  history.append(canvas);
  row.append(name, bar, history);
  return row;
}

// Rollouts beside each other.

function buildRollouts() {
  const several = puzzle().rollouts.length > 1;
  at("rollouts").hidden = !several;
  if (!several) return void (parts.rollouts = []);
  parts.rollouts = puzzle().rollouts.map((one, index) => {
    const label = element("label", "rollout");
    const input = element("input", "", "", { type: "radio", name: "rollout" });
    input.checked = index === shown.rollout;
    input.addEventListener("change", () => {
      shown.rollout = index;
      buildRollout();
      show();
    });
    const grid = new Grid(puzzle(), { label: `Answer of rollout ${index + 1}`, area: area() });
    const facts = element("span", "soft");
    const title = element("span", "title");
    title.append(input, element("b", "", `Rollout ${index + 1}`));
    if (index === puzzle().best) title.append(element("span", "", "★ best"));
    label.append(title, grid.element, facts);
    label.classList.toggle("best", index === puzzle().best);
    return { label, grid, facts, one };
  });
  at("rollout-list").replaceChildren(...parts.rollouts.map(({ label }) => label));
}

const STOPPED_BY = {
  limit: "at the limit",
  halted: "halted by q",
  settled: "settled",
  checked: "checked",
};

function showRollouts() {
  for (const { grid, facts, one } of parts.rollouts) {
    const index = frameOf(one, shown.frame);
    const { answer, segment } = one.frames[index];
    const classes = classesOf(one.frames[index]);
    grid.show(answer, (cell) => ({ classes: classes(cell).join(" ") }));
    const isLast = index === one.frames.length - 1;
    const stopped = STOPPED_BY[one.stopped_by] ?? one.stopped_by;
    const end = isLast ? `, ${stopped}` : "";
    const halt = haltProbability(one.frames[index]);
    const q = halt === null ? "" : ` · halting ${percent(halt)}`;
    facts.textContent = `segment ${segment} of ${one.segments}${end}${q}`;
  }
}

// Attention.

/** Returns what is kept of the attention in a frame. */
function mapsOf(index) {
  return rollout().attention.filter((map) => map.frame === index);
}

/** Returns the weights that are asked for, with their map, or null where none are kept of this update. */
function attentionInView() {
  const map = mapsOf(frameIndex()).find(({ layer }) => String(layer) === at("layer").value);
  if (map === undefined) return null;
  const head = at("head").value === "mean" ? null : Number(at("head").value);
  return { map, weights: attentionOf(puzzle(), map, head, at("direction").value, cellInView()) };
}

function buildAttention() {
  const label = "Attention on the grid";
  parts.attention = new Grid(puzzle(), { label, area: area() });
  parts.attention.element.classList.add("weighted");
  at("attention-grid").replaceChildren(parts.attention.element);
}

/** Keeps the choice of a list whose entries change, as far as it is still there. */
function setOptions(select, options) {
  const value = select.value;
  if ([...select.options].map((option) => option.value).join() === options.map(([value]) => value).join()) return;
  select.replaceChildren(...options.map(([value, text]) => element("option", "", text, { value })));
  const isThere = options.some(([option]) => option === value);
  select.value = isThere ? value : (options.at(-1)?.[0] ?? "");
}

/** Says why there is no attention to show, with ways to some that there is. */
function sayNoAttention() {
  const none = at("attention-none");
  const kept = [...new Set(rollout().attention.map((map) => map.frame))].sort((a, b) => a - b);
  if (kept.length === 0) {
    const best = puzzle().rollouts[puzzle().best];
    const isElsewhere = best.attention.length > 0;
    if (!trace.has_attention) none.textContent = "The networks of this model have no attention.";
    else if (isElsewhere) none.textContent = `It was kept of the best rollout only, rollout ${puzzle().best + 1}.`;
    else none.textContent = "This file leaves it out.";
    return;
  }
  const updates = kept.map((index) => index + 1).join(", ");
  none.textContent = `None was kept of this update, but of ${kept.length === 1 ? "update" : "updates"} ${updates}. `;
  const nearest = kept.reduce((a, b) => (Math.abs(b - frameIndex()) < Math.abs(a - frameIndex()) ? b : a));
  const button = element("button", "", `Go to update ${nearest + 1}`, { type: "button" });
  button.addEventListener("click", () => {
    goTo(nearest);
    at("layer").focus();
  });
  none.append(button);
}

function showAttention() {
  const maps = mapsOf(frameIndex());
  at("attention-none").hidden = maps.length > 0;
  at("attention-shown").hidden = maps.length === 0;
  if (maps.length === 0) return sayNoAttention();
  setOptions(
    at("layer"),
    maps.map(({ layer }) => [String(layer), String(layer + 1)]),
  );
  const heads = Array.from({ length: maps[0].heads }, (_, head) => [String(head), String(head + 1)]);
  setOptions(at("head"), [...heads, ["mean", "mean of all"]]);
  const { map, weights } = attentionInView();
  const most = Math.max(...weights.cells, 1e-9);
  parts.attention.show(frame().answer, (cell) => ({
    classes: isGiven(puzzle(), cell) ? "given" : "",
    weight: weights.cells[cell] / most,
  }));
  parts.attention.choose(cellInView());
  const strongest = [...weights.cells.keys()].sort((a, b) => weights.cells[b] - weights.cells[a]);
  const told = strongest.slice(0, STRONGEST).filter((cell) => weights.cells[cell] > 0);
  const places = told.map((cell) => `${cellPlace(puzzle(), cell)} (${percent(weights.cells[cell])})`);
  const direction = at("direction").value;
  const network = trace.updates[frame().update].network;
  const facts = [
    places.length === 0
      ? `No weight ${direction === "onto" ? "onto" : "of"} this cell is among those kept.`
      : `In the network ${network}, ${direction === "onto" ? "most comes from" : "most goes to"} ${places.join("; ")}.`,
  ];
  if (trace.prefix > 0) {
    const prefix = `The puzzle vector ${direction === "onto" ? "gives" : "gets"} ${percent(weights.prefix)}.`;
    facts.push(prefix);
  }
  if (map.top !== null) facts.push(`Of each position only the ${map.top} largest weights were kept.`);
  at("attention-facts").textContent = facts.join(" ");
}

// Charts.

function buildCharts() {
  parts.charts.forEach((chart) => chart.close());
  const frames = rollout().frames;
  const measure = at("measure").value;
  const ofState = (state) => frames.map((one) => (trace.updates[one.update].state === state ? one[measure] : null));
  const series = trace.states.map((name, state) => ({ name, values: ofState(state) }));
  if (measure === "moved" && frames.some((one) => one.drift !== null)) {
    const name = `${trace.states[trace.answer_state]}, over a whole segment`;
    series.push({ name, values: frames.map((one) => one.drift), isPoints: true });
  }
  const onPick = (index) => goTo(index);
  const axis = measure === "residual" ? "rms of the change" : "relative change";
  const name = at("measure").selectedOptions[0].textContent;
  parts.charts = [new FrameChart(at("residual-chart"), { name, series, frames: frames.length, axis, onPick })];
  const halting = frames.map(haltProbability);
  at("halting").hidden = halting.every((value) => value === null);
  if (!at("halting").hidden) {
    const isLast = (index) => index === frames.length - 1 || frames[index + 1].segment !== frames[index].segment;
    const decided = halting.map((value, index) => (isLast(index) ? value : null));
    parts.charts.push(
      new FrameChart(at("halting-chart"), {
        name: "Probability of halting",
        series: [
          { name: "as it would be after this update", values: halting },
          { name: "at the end of a segment", values: decided, isPoints: true },
        ],
        frames: frames.length,
        range: [0, 1],
        axis: "probability",
        onPick,
      }),
    );
  }
  buildTrajectories();
}

function buildTrajectories() {
  parts.trajectories.forEach(({ chart }) => chart.close());
  const found = rollout().projection.filter(({ points }) => points.length > 0);
  if (found.length === 0) {
    parts.trajectories = [];
    const words = `These were kept of the best rollout only, rollout ${puzzle().best + 1}.`;
    at("trajectory-list").replaceChildren(element("p", "", words));
    return;
  }
  const places = found.map(() => element("div", "plot"));
  at("trajectory-list").replaceChildren(...places);
  parts.trajectories = found.map(({ state, points, shares }, index) => {
    const name = trace.states[state];
    return { state, chart: new TrajectoryChart(places[index], { name, index: state, points, shares }) };
  });
}

function showCharts() {
  parts.charts.forEach((chart) => chart.moveTo(frameIndex()));
  const made = rollout().frames.slice(0, frameIndex() + 1);
  for (const { state, chart } of parts.trajectories) {
    chart.moveTo(made.filter((one) => trace.updates[one.update].state === state).length);
  }
}

/** Draws how many cells change in each update, above the slider. */
function buildStrip() {
  const frames = rollout().frames;
  const count = frameCount(puzzle());
  const most = Math.max(...frames.map((one) => one.changed.length), 1);
  const strip = at("strip");
  strip.setAttribute("viewBox", `0 0 ${count} 100`);
  const bars = frames.map((one, index) => {
    const height = one.changed.length === 0 ? 0 : 8 + 92 * Math.sqrt(one.changed.length / most);
    return `M${index + 0.1} 100v${-height}h0.8v${height}z`;
  });
  let borders = "";
  for (let index = PER_SEGMENT; index < count; index += PER_SEGMENT) borders += `M${index} 0v100`;
  strip.replaceChildren(
    drawn("path", { class: "borders", d: borders, "vector-effect": "non-scaling-stroke" }),
    drawn("path", { class: "bars", d: bars.join("") }),
  );
}

// Question and expected answer.

function buildData() {
  const grids = [["Question", puzzle().input]];
  if (puzzle().label !== null) grids.push(["Expected answer", puzzle().label]);
  const figures = grids.map(([name, tokens]) => {
    const figure = element("figure");
    const grid = new Grid(puzzle(), { label: name, area: area() });
    grid.show(tokens, (cell) => ({ classes: isGiven(puzzle(), cell) ? "given" : "" }));
    figure.append(element("figcaption", "", name), grid.element);
    return figure;
  });
  at("data-list").replaceChildren(...figures);
}

// Building and showing.

/** Makes the parts that follow from the chosen rollout. */
function buildRollout() {
  buildCharts();
  buildStrip();
}

/** Makes all parts for the chosen puzzle. */
function buildPuzzle() {
  const { kind } = puzzle();
  shown.rollout = puzzle().best;
  shown.pointed = null;
  shown.cell = null;
  at("verdict").textContent = puzzle().verdict;
  at("candidates-choice").hidden = kind !== "sudoku" && kind !== "maze";
  at("candidates-name").textContent = kind === "maze" ? "Possible path" : "Small candidates";
  at("numbers-choice").hidden = kind !== "arc";
  at("canvas-choice").hidden =
    kind !== "arc" || String(arcArea(puzzle())) === `0,${puzzle().rows},0,${puzzle().columns}`;
  at("slider").max = frameCount(puzzle()) - 1;
  buildGrids();
  buildMarks();
  buildRollout();
}

/** Makes the grids of the chosen puzzle. */
function buildGrids() {
  const columns = rowsOfCells(puzzle(), area())[0].length;
  at("shade").querySelector("[value=number]").disabled = columns > MOST_COLUMNS_WITH_NOTES;
  if (at("shade").selectedOptions[0]?.disabled) at("shade").value = "shade";
  at("numbers").checked = columns <= MOST_COLUMNS_WITH_TEXT;
  buildGrid();
  buildRollouts();
  buildAttention();
  buildData();
}

function show() {
  at("slider").value = shown.frame;
  at("slider").style.setProperty("--played", shown.frame / Math.max(1, frameCount(puzzle()) - 1));
  const words = showFacts();
  at("slider").setAttribute("aria-valuetext", words);
  // Attention first: its lists say what the large grid may show.
  showAttention();
  showGrid();
  showCell();
  showRollouts();
  showCharts();
  return words;
}

let quiet = null;

/** Reads an update aloud, once the user rests. */
function announce(words) {
  clearTimeout(quiet);
  quiet = setTimeout(() => (at("announcement").textContent = words), QUIET_TIME);
}

/** Goes to a frame, as far as there are frames. */
function goTo(index) {
  shown.frame = Math.max(0, Math.min(frameCount(puzzle()) - 1, index));
  const words = show();
  if (playing === null && document.activeElement !== at("slider")) announce(words);
}

/** Goes on by updates, or back. */
function step(updates) {
  goTo(shown.frame + updates);
}

/** Goes to the last update of another segment: what the segment answers. */
function stepSegment(segments) {
  const segment = Math.floor(shown.frame / PER_SEGMENT);
  const isAtEnd = shown.frame % PER_SEGMENT === PER_SEGMENT - 1;
  const target = segment + (segments > 0 && !isAtEnd ? 0 : segments);
  goTo(target < 0 ? 0 : (target + 1) * PER_SEGMENT - 1);
}

// Playing.

function stop() {
  if (playing === null) return;
  clearInterval(playing);
  playing = null;
  at("play").textContent = "Play";
  announce(at("slider").getAttribute("aria-valuetext"));
}

function play() {
  if (shown.frame === frameCount(puzzle()) - 1) goTo(0);
  playing = setInterval(
    () => {
      step(1);
      if (shown.frame === frameCount(puzzle()) - 1) stop();
    },
    1000 / Number(at("speed").value),
  );
  at("play").textContent = "Stop";
}

function togglePlaying() {
  if (playing === null) play();
  else stop();
}

// Input.

/** Returns whether a key means something to the control that has the focus, so that it is not for the page. */
function isForControl(target, key) {
  if (target.matches("select")) return true;
  if (target.matches("button, [type=checkbox]")) return key === " ";
  return target.matches("[type=radio]") && (key === " " || key.startsWith("Arrow"));
}

function onKey(event) {
  const { target, key, shiftKey } = event;
  if (event.altKey || event.ctrlKey || event.metaKey || isForControl(target, key)) return;
  const actions = {
    ArrowLeft: () => (shiftKey ? stepSegment(-1) : step(-1)),
    ArrowRight: () => (shiftKey ? stepSegment(1) : step(1)),
    Home: () => goTo(0),
    End: () => goTo(frameCount(puzzle()) - 1),
    " ": togglePlaying,
  };
  const onSlider = {
    PageUp: () => stepSegment(1),
    PageDown: () => stepSegment(-1),
  };
  // Letters are for those who are in the grid, where arrows go from cell to cell.
  const inGrid = {
    n: () => step(1),
    p: () => step(-1),
    N: () => stepSegment(1),
    P: () => stepSegment(-1),
  };
  if (target === at("slider")) Object.assign(actions, onSlider);
  if (target.closest("[role=grid]") !== null) Object.assign(actions, inGrid);
  const action = actions[key];
  if (action === undefined) return;
  event.preventDefault();
  if (key !== " ") stop();
  action();
}

function listen() {
  document.addEventListener("keydown", onKey);
  at("slider").addEventListener("input", () => {
    stop();
    goTo(Number(at("slider").value));
  });
  const buttons = {
    "back-segment": () => stepSegment(-1),
    back: () => step(-1),
    on: () => step(1),
    "on-segment": () => stepSegment(1),
  };
  for (const [id, action] of Object.entries(buttons)) {
    at(id).addEventListener("click", () => {
      stop();
      action();
    });
  }
  at("play").addEventListener("click", togglePlaying);
  at("speed").addEventListener("change", () => {
    if (playing === null) return;
    stop();
    play();
  });
  at("puzzle").addEventListener("change", () => {
    stop();
    shown.puzzle = Number(at("puzzle").value);
    buildPuzzle();
    goTo(frameCount(puzzle()) - 1);
  });
  for (const id of ["shade", "candidates", "layer", "head", "direction"]) at(id).addEventListener("change", show);
  at("measure").addEventListener("change", () => {
    buildCharts();
    show();
  });
  at("canvas").addEventListener("change", () => {
    buildGrids();
    show();
  });
  at("numbers").addEventListener("change", () => {
    parts.grid.element.classList.toggle("numbered", at("numbers").checked);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    showCell();
  });
}

/** Says what the document is about. */
function introduce() {
  document.title = `Trace of ${trace.model}`;
  at("title").textContent = document.title;
  at("about").textContent = `${trace.run}, checkpoint ${trace.checkpoint}`;
  at("puzzle-choice").hidden = trace.puzzles.length < 2;
  // The list of puzzles has all verdicts.
  at("verdict").hidden = trace.puzzles.length > 1;
  trace.puzzles.forEach(({ row, verdict }, index) => {
    const place = row === null ? "" : ` (row ${row})`;
    at("puzzle").append(element("option", "", `${index + 1}${place}: ${verdict}`, { value: index }));
  });
  at("left-out").hidden = trace.left_out.length === 0;
  at("left-out-list").replaceChildren(...trace.left_out.map((what) => element("li", "", what)));
  // Sixteen digits are too small to read in a cell.
  if (puzzle().kind === "sudoku" && puzzle().columns > MOST_COLUMNS_WITH_CANDIDATES) at("candidates").value = "off";
  // Those who want little motion are shown one update after the other, slowly.
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) at("speed").value = "1";
}

introduce();
readColours();
listen();
buildPuzzle();
goTo(frameCount(puzzle()) - 1);
