// Opens a page that `hrmc` wrote of a trace, in headless Chromium, and checks it:
//
//   node check.mjs PAGE [--answer TOKENS] [--pictures FOLDER [--update N]]
//
// TOKENS are those of the answer of the first puzzle, with commas between them: what the last frame must show.
// With `--pictures` it checks nothing, and writes pictures for narrow and wide screens, light and dark, into a folder; N
// is the update that they show, from 1, and `--puzzle N` the puzzle. A single picture is that of
// `--picture FILE --width W --height H [--scheme dark]`.
//
// Exit codes: 0 all is well, 1 something is wrong, which one line for each says, 3 there is no browser, or the packages
// are not installed (`npm ci` in this folder), so that nothing was checked.

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";

const NOT_CHECKED = 3;
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** Width and height of a phone, a tablet and a desk, in pixels. */
const SCREENS = [
  [360, 740],
  [768, 1024],
  [1440, 900],
];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    answer: { type: "string" },
    pictures: { type: "string" },
    picture: { type: "string" },
    update: { type: "string" },
    width: { type: "string", default: "1440" },
    height: { type: "string", default: "900" },
    scheme: { type: "string", default: "light" },
    puzzle: { type: "string", default: "1" },
  },
});

/** Ends the process: nothing can be checked here. */
function giveUp(reason) {
  console.log(`the page was not opened in a browser: ${reason}`);
  process.exit(NOT_CHECKED);
}

let chromium;
let axe;
try {
  ({ chromium } = await import("playwright-core"));
  axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
} catch (error) {
  giveUp(`${error.message.split("\n")[0]}; \`npm ci\` in tests/browser installs what is missing`);
}
const executablePath = BROWSERS.find((path) => existsSync(path));
if (executablePath === undefined) giveUp("Chromium is not installed");

const problems = [];
/** Notes a problem unless a condition holds. */
function expect(holds, problem) {
  if (!holds) problems.push(problem);
}

/** Opens a page at a size, calls `work(page)`, and notes what the page says against itself. */
async function withPage(context, file, [width, height], scheme, work) {
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(`the console says: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`a script fails: ${error.message}`));
  page.on("request", (request) => {
    const isOwn = request.url().startsWith("file:") || request.url().startsWith("data:");
    expect(isOwn, `the page asks for ${request.url()}`);
  });
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
  await page.goto(pathToFileURL(resolve(file)).href);
  if (options.puzzle !== "1") await page.locator("#puzzle").selectOption(String(Number(options.puzzle) - 1));
  await work(page);
  await page.close();
}

/** Goes to an update, from 1. */
const goTo = (page, update) =>
  page.locator("#slider").evaluate(
    (slider, value) => {
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    },
    Number(update) - 1,
  );

/** Returns the tokens that the large grid shows. */
const shownTokens = (page) =>
  page.locator("#grid .cell").evaluateAll((cells) => cells.map((cell) => Number(cell.dataset.token)));

async function takePictures(context, file) {
  const name = basename(file, ".html");
  for (const screen of SCREENS) {
    for (const scheme of ["light", "dark"]) {
      await withPage(context, file, screen, scheme, async (page) => {
        if (options.update !== undefined) await goTo(page, options.update);
        await page.waitForTimeout(200);
        const path = join(options.pictures, `${name}-${screen[0]}-${scheme}.png`);
        await page.screenshot({ path, fullPage: true });
      });
    }
  }
}

async function takePicture(context, file) {
  const screen = [Number(options.width), Number(options.height)];
  await withPage(context, file, screen, options.scheme, async (page) => {
    if (options.update !== undefined) await goTo(page, options.update);
    await page.waitForTimeout(200);
    await page.screenshot({ path: options.picture });
  });
}

/** Holds the page against what a person can do with it. */
async function checkPage(page, document) {
  const puzzle = document.puzzles[0];
  const best = puzzle.rollouts[puzzle.best];
  const last = best.frames.length - 1;
  const isCropped = (await page.locator("#grid .cell").count()) < puzzle.input.length;
  if (isCropped) await page.locator("#canvas").check();

  const slider = page.locator("#slider");
  const place = async () => Number(await slider.inputValue());
  const expectPlace = async (expected, how) => {
    const found = await place();
    expect(found === expected, `${how} leads to update ${found + 1}, not ${expected + 1}`);
    const frame = best.frames[Math.min(expected, last)];
    expect(
      String(await shownTokens(page)) === String(frame.answer),
      `${how} shows another grid than that of the update`,
    );
  };

  // The last frame is the answer.
  await goTo(page, last + 1);
  await expectPlace(last, "the slider");
  const answer = options.answer ?? String(best.frames[last].answer);
  expect(String(await shownTokens(page)) === answer, `the last frame shows ${await shownTokens(page)}, not ${answer}`);

  // The slider, keys and buttons change the update and the grid.
  const perSegment = document.updates.length;
  await goTo(page, 1);
  await expectPlace(0, "the slider");
  await page.locator("body").press("End");
  await expectPlace(Number(await slider.getAttribute("max")), "the key End");
  await page.locator("body").press("Home");
  await expectPlace(0, "the key Home");
  await page.locator("body").press("ArrowRight");
  await expectPlace(1, "the key →");
  await page.locator("body").press("ArrowLeft");
  await expectPlace(0, "the key ←");
  await page.locator("body").press("Shift+ArrowRight");
  await expectPlace(perSegment - 1, "Shift and the key →");
  await page.locator("body").press("Shift+ArrowRight");
  await expectPlace(2 * perSegment - 1, "Shift and the key → once more");
  await page.locator("body").press("Shift+ArrowLeft");
  await expectPlace(perSegment - 1, "Shift and the key ←");
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  await expectPlace(perSegment, "the key → on the slider");
  await page.getByRole("button", { name: "On by an update" }).click();
  await expectPlace(perSegment + 1, "the button");
  await page.getByRole("button", { name: "Back by a segment" }).click();
  await expectPlace(perSegment - 1, "the button");

  // Playing goes on by itself, until it is stopped.
  await page.locator("body").press("Home");
  await page.locator("#speed").selectOption("2");
  await page.getByRole("button", { name: "Play" }).click();
  await page.waitForFunction(() => Number(document.getElementById("slider").value) > 0);
  await page.getByRole("button", { name: "Stop" }).click();
  const stopped = await place();
  await page.waitForTimeout(700);
  expect((await place()) === stopped, "Stop does not stop");

  await goTo(page, 1);
  // Arrows move in the grid, and the probabilities are those of the cell.
  const cells = page.locator("#grid .cell");
  expect(
    (await page.locator("#grid .cell[tabindex='0']").count()) === 1,
    "Tab leads to more than one cell of the grid",
  );
  await cells.first().click();
  await page.keyboard.press("ArrowRight");
  const second = await page.evaluate(() => document.activeElement.dataset.cell);
  expect(second === "1", `→ in the grid leads from cell 0 to ${second}`);
  await page.keyboard.press("n");
  expect((await place()) === 1, "the key n in the grid does not go on by an update");
  const bytes = Buffer.from(best.probabilities, "base64");
  const vocab = document.tokens.length;
  const first = (puzzle.input.length + 1) * vocab;
  const rows = await page.locator("#cell-values tbody tr .bar + .number").allTextContents();
  const expected = [...bytes.subarray(first, first + vocab)].map((share) => `${Math.round((100 * share) / 255)}%`);
  expect(String(rows) === String(expected), `the probabilities of cell 1 are ${rows}, not ${expected}`);
  // The pointer goes before the chosen cell, as long as it is there.
  const heading = page.locator("#cell-heading");
  const chosen = await heading.textContent();
  await cells.last().hover();
  expect((await heading.textContent()) !== chosen, "the pointer does not show the probabilities of another cell");
  await page.mouse.move(0, 0);
  expect((await heading.textContent()) === chosen, "without the pointer, the chosen cell is not shown again");

  // Charts lead to an update.
  const chart = page.locator("#residual-chart .chart");
  const box = await chart.boundingBox();
  await chart.click({ position: { x: box.width - 14, y: 40 } });
  await expectPlace(last, "the end of the chart");

  // Attention is drawn where it was kept.
  const maps = best.attention;
  if (maps.length > 0) {
    await goTo(page, maps[0].frame + 1);
    expect(await page.locator("#attention-grid .cell").first().isVisible(), "attention that was kept is not drawn");
    const facts = page.locator("#attention-facts");
    const before = await facts.textContent();
    await page.locator("#direction").selectOption("from");
    expect((await facts.textContent()) !== before, "another direction of attention says the same");
  } else {
    const words = await page.locator("#attention-none").textContent();
    const expected = document.has_attention ? "leaves it out" : "have no attention";
    expect(words.includes(expected), `of attention that is not there it says: ${words}`);
  }

  // Other rollouts and puzzles.
  if (puzzle.rollouts.length > 1) {
    const other = puzzle.best === 0 ? 1 : 0;
    await page.getByRole("radio").nth(other).check();
    await page.locator("body").press("End");
    const shown = String(await shownTokens(page));
    expect(shown === String(puzzle.rollouts[other].frames.at(-1).answer), "another rollout is not shown");
  }
  if (document.puzzles.length > 1) {
    await page.locator("#puzzle").selectOption("1");
    const next = document.puzzles[1];
    const shown = String(await shownTokens(page));
    expect(shown === String(next.rollouts[next.best].frames.at(-1).answer), "another puzzle is not shown");
  }
}

/** Notes a page that is wider than the screen. */
async function checkWidth(page, width) {
  const more = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(more <= 0, `the page is ${more} pixels wider than a screen of ${width} px`);
}

/** Notes what axe-core finds that is serious. */
async function checkReading(page, name) {
  // The policy of the page forbids scripts from elsewhere; the debugger may run one.
  await page.evaluate(axe);
  // Rows of grids are all alike, and looking at each of them would take minutes.
  const { violations } = await page.evaluate(() => window.axe.run({ exclude: [[".row:nth-child(n+5)"]] }));
  for (const { id, impact, help, nodes } of violations) {
    if (["serious", "critical"].includes(impact)) {
      problems.push(
        `axe, ${name}: ${id} (${impact}): ${help}: ${nodes
          .slice(0, 3)
          .map((node) => node.html)
          .join(" ")}`,
      );
    }
  }
}

const [file] = positionals;
if (positionals.length !== 1) {
  console.error("usage: node check.mjs PAGE [--answer TOKENS] [--pictures FOLDER | --picture FILE] [--update N]");
  process.exit(2);
}
const profile = mkdtempSync(join(tmpdir(), "hrmc-browser-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  args: FLAGS,
  headless: true,
  offline: true,
});
// A machine that compiles beside this is slow.
context.setDefaultTimeout(60_000);
try {
  if (options.pictures !== undefined) await takePictures(context, file);
  else if (options.picture !== undefined) await takePicture(context, file);
  else {
    const html = readFileSync(file, "utf8");
    const document = JSON.parse(html.match(/<script id="trace"[^>]*>(.*?)<\/script>/s)[1]);
    await withPage(context, file, [1440, 900], "light", (page) => checkPage(page, document));
    for (const [screen, scheme] of [
      [SCREENS[0], "light"],
      [SCREENS[1], "light"],
      [SCREENS[2], "dark"],
    ]) {
      await withPage(context, file, screen, scheme, async (page) => {
        await checkWidth(page, screen[0]);
        if (screen !== SCREENS[1]) await checkReading(page, `${screen[0]} px, ${scheme}`);
      });
    }
  }
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
for (const problem of new Set(problems)) console.log(problem);
process.exit(problems.length === 0 ? 0 : 1);
