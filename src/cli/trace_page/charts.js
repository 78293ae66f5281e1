"use strict";

// Charts, as SVG that is drawn for the width it has: text keeps its size on a phone and on a wide screen. What changes
// from update to update, the cursor, is drawn apart from the rest.

const CHART = { height: 220, left: 52, right: 12, top: 10, bottom: 36, narrowest: 220 };
const DASHES = ["", "6 3", "2 3", "9 3 2 3", "9 5", "4 2 1 2", "1 2"];
/** Fewest pixels between two numbers of segments. */
const TICK_ROOM = 26;
/** Most decades that an axis shows below the largest value: what is smaller is nothing in f32. */
const MOST_DECADES = 9;

/** Returns the class of the line of a series. */
const lineClass = (index) => `line line-${index % 6}`;

/** Returns a marker for a series at a place: a shape of its own, so that lines differ without colour, too. */
function marker(index, x, y, size, className) {
  const shapes = [
    `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0z`,
    `M${x - size} ${y - size}h${2 * size}v${2 * size}h${-2 * size}z`,
    `M${x} ${y - 1.3 * size}l${1.3 * size} ${1.3 * size}l${-1.3 * size} ${1.3 * size}l${-1.3 * size} ${-1.3 * size}z`,
    `M${x} ${y - 1.2 * size}l${1.2 * size} ${2.2 * size}h${-2.4 * size}z`,
  ];
  return drawn("path", { d: shapes[index % shapes.length], class: className });
}

/** Returns round values of an axis from `low` to `high`, about `count` of them. */
function roundTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high * (1 + 1e-9); tick += 1) ticks.push(tick * step);
  return ticks;
}

/** Returns powers of ten in a range, thinned out; with 2 and 5 times them in a short range. */
function logTicks(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = Math.ceil((last - first) / 6);
  const factors = last - first <= 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = first; power <= last; power += every) {
    for (const factor of factors) ticks.push(factor * 10 ** power);
  }
  return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

/** Draws a chart into a place now and whenever its width changes. `draw(width)` returns its SVG. */
function drawAtWidth(place, draw) {
  let last = 0;
  const observer = new ResizeObserver(() => {
    const width = Math.max(CHART.narrowest, Math.floor(place.clientWidth));
    if (width === last || place.clientWidth === 0) return;
    last = width;
    place.replaceChildren(draw(width));
  });
  observer.observe(place);
  return observer;
}

/**
 * Lines over the frames of a rollout.
 *
 * `series` have `name`, `values` (a number or null for each frame) and, if they are not lines but single points,
 * `isPoints`. `range` is that of the axis, or null for a logarithmic one that follows from the values. `onPick(frame)`
 * is called when a frame is pointed at.
 */
class FrameChart {
  constructor(place, { name, series, frames, range = null, axis, onPick }) {
    Object.assign(this, { name, series, frames, range, axis, onPick, frame: 0 });
    this.plot = element("div", "plot");
    this.legend = element("ul", "legend");
    place.replaceChildren(this.plot, this.legend);
    this.observer = drawAtWidth(this.plot, (width) => this.draw(width));
    this.values = series.map((one, index) => {
      const item = element("li");
      const sample = drawn("svg", { viewBox: "0 0 30 10", class: "sample", "aria-hidden": "true" });
      if (!one.isPoints) {
        sample.append(drawn("path", { d: "M0 5h30", class: lineClass(index), "stroke-dasharray": DASHES[index % 7] }));
      }
      sample.append(marker(index, 15, 5, 3, `marker line-${index % 6}`));
      const value = element("b", "number");
      item.append(sample, element("span", "", one.name), value);
      this.legend.append(item);
      return value;
    });
  }

  close() {
    this.observer.disconnect();
  }

  draw(width) {
    const { height, left, right, top, bottom } = CHART;
    const [plotRight, plotBottom] = [width - right, height - bottom];
    const known = this.series.flatMap((one) => one.values).filter((value) => value !== null);
    const isLog = this.range === null;
    const positive = known.filter((value) => value > 0);
    const most = isLog ? (positive.length === 0 ? 1 : Math.max(...positive)) : this.range[1];
    const least = isLog ? Math.max(Math.min(...positive, most), most / 10 ** MOST_DECADES) : this.range[0];
    const [low, high] = isLog ? [least / 1.3, most * 1.3] : [least, most];
    const share = (value) =>
      isLog ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low);
    this.x = (frame) => left + ((frame + 0.5) / this.frames) * (plotRight - left);
    this.y = (value) => plotBottom - share(value) * (plotBottom - top);

    const svg = drawn("svg", { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    svg.setAttribute("aria-label", this.description());
    for (const tick of isLog ? logTicks(low, high) : roundTicks(low, high, 4)) {
      const y = this.y(tick);
      svg.append(drawn("path", { class: "rule", d: `M${left} ${y}H${plotRight}` }));
      const text = isLog ? short(tick) : String(Number(tick.toPrecision(6)));
      svg.append(drawn("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, text));
    }
    const segments = Math.ceil(this.frames / PER_SEGMENT);
    const segmentWidth = ((plotRight - left) * PER_SEGMENT) / this.frames;
    const every = [1, 2, 4, 5, 10, 20, 50, 100].find((every) => every * segmentWidth >= TICK_ROOM) ?? 200;
    for (let segment = 0; segment < segments; segment += 1) {
      const x = left + segment * segmentWidth;
      if (segment > 0) svg.append(drawn("path", { class: "rule", d: `M${x} ${top}V${plotBottom}` }));
      const isNamed = (segment + 1) % every === 0 || (segment === 0 && every > 2);
      if (!isNamed) continue;
      const place = { x: x + segmentWidth / 2, y: plotBottom + 15, "text-anchor": "middle" };
      svg.append(drawn("text", place, String(segment + 1)));
    }
    svg.append(drawn("path", { class: "axis", d: `M${left} ${top}V${plotBottom}H${plotRight}` }));
    const middle = { x: (left + plotRight) / 2, y: height - 4, "text-anchor": "middle" };
    svg.append(drawn("text", { ...middle, class: "soft" }, "segment"));
    const turned = `translate(11 ${(top + plotBottom) / 2}) rotate(-90)`;
    svg.append(drawn("text", { class: "soft", "text-anchor": "middle", transform: turned }, this.axis));
    this.series.forEach((one, index) => this.drawSeries(svg, one, index));
    this.cursor = drawn("g", { class: "cursor" });
    svg.append(this.cursor);
    this.listen(svg, left, plotRight);
    this.moveTo(this.frame);
    return svg;
  }

  drawSeries(svg, { values, isPoints = false }, index) {
    const places = values.map((value, frame) => [frame, value]).filter(([, value]) => value !== null);
    if (isPoints) {
      for (const [frame, value] of places) {
        svg.append(marker(index, this.x(frame), this.y(value), 3, `marker line-${index % 6}`));
      }
      return;
    }
    const line = places.map(([frame, value]) => `${this.x(frame).toFixed(1)} ${this.y(value).toFixed(1)}`);
    const d = line.length === 0 ? "" : `M${line.join("L")}`;
    svg.append(drawn("path", { class: lineClass(index), d, "stroke-dasharray": DASHES[index % DASHES.length] }));
  }

  listen(svg, left, right) {
    const pick = (event) => {
      const at = (event.clientX - svg.getBoundingClientRect().left - left) / (right - left);
      this.onPick(Math.max(0, Math.min(this.frames - 1, Math.floor(at * this.frames))));
    };
    svg.addEventListener("pointerdown", pick);
    svg.addEventListener("pointermove", (event) => {
      if (event.buttons === 1) pick(event);
    });
  }

  /** Returns the last value of a series at or before a frame, with its frame; null where there is none. */
  valueAt({ values }, frame) {
    for (let at = frame; at >= 0; at -= 1) {
      if (values[at] !== null) return [at, values[at]];
    }
    return null;
  }

  description() {
    const told = this.series.map((one) => {
      const known = one.values.filter((value) => value !== null);
      return known.length === 0 ? `${one.name}: none` : `${one.name} from ${short(known[0])} to ${short(known.at(-1))}`;
    });
    return `${this.name} over ${this.frames} updates: ${told.join("; ")}`;
  }

  moveTo(frame) {
    this.frame = frame;
    const found = this.series.map((one) => this.valueAt(one, frame));
    found.forEach((place, index) => (this.values[index].textContent = place === null ? "–" : short(place[1])));
    if (this.cursor === undefined) return;
    const x = this.x(frame);
    const line = drawn("path", { d: `M${x} ${CHART.top}V${CHART.height - CHART.bottom}` });
    const points = found.flatMap((place, index) =>
      place === null ? [] : [marker(index, this.x(place[0]), this.y(place[1]), 4, `marker line-${index % 6}`)],
    );
    this.cursor.replaceChildren(line, ...points);
  }
}

/**
 * The way of a state on its first two principal components, to one scale. `points` are those of its updates.
 */
class TrajectoryChart {
  constructor(place, { name, index, points, shares }) {
    Object.assign(this, { name, index, points, shares, count: 0 });
    this.observer = drawAtWidth(place, (width) => this.draw(Math.min(width, 420)));
  }

  close() {
    this.observer.disconnect();
  }

  draw(width) {
    const [left, right, top, bottom] = [24, 10, 24, 26];
    const height = Math.round(0.6 * width) + 30;
    const bounds = [0, 1].map((axis) => {
      const values = this.points.map((point) => point[axis]);
      return [Math.min(...values), Math.max(...values)];
    });
    const room = [width - left - right, height - top - bottom];
    const scales = bounds.map(([low, high], axis) => (room[axis] - 16) / Math.max(high - low, 1e-12));
    const scale = Math.min(...scales);
    const middle = bounds.map(([low, high]) => (low + high) / 2);
    this.place = ([x, y]) => [
      left + room[0] / 2 + (x - middle[0]) * scale,
      top + room[1] / 2 - (y - middle[1]) * scale,
    ];
    const svg = drawn("svg", { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    const [first, second] = this.shares.map(percent);
    svg.setAttribute(
      "aria-label",
      `The way of ${this.name} over ${this.points.length} updates; the first component has ${first} of the variance, ` +
        `the second ${second}`,
    );
    svg.append(drawn("text", { x: left, y: 14, class: "title" }, this.name));
    svg.append(drawn("rect", { class: "axis", x: left, y: top, width: room[0], height: room[1] }));
    const below = { x: left + room[0] / 2, y: height - 8, "text-anchor": "middle", class: "soft" };
    svg.append(drawn("text", below, `first component, ${first} of the variance`));
    const turned = `translate(16 ${top + room[1] / 2}) rotate(-90)`;
    svg.append(drawn("text", { transform: turned, "text-anchor": "middle", class: "soft" }, `second, ${second}`));
    svg.append(drawn("path", { class: "future", d: this.way(this.points) }));
    this.past = drawn("path", { class: lineClass(this.index) });
    this.now = drawn("g");
    svg.append(this.past, this.now);
    this.moveTo(this.count);
    return svg;
  }

  way(points) {
    const places = points.map((point) =>
      this.place(point)
        .map((value) => value.toFixed(1))
        .join(" "),
    );
    return places.length === 0 ? "" : `M${places.join("L")}`;
  }

  /** Shows that so many updates have been made. */
  moveTo(count) {
    this.count = count;
    if (this.past === undefined) return;
    this.past.setAttribute("d", this.way(this.points.slice(0, count)));
    const [startX, startY] = this.place(this.points[0]);
    const marks = [drawn("circle", { cx: startX, cy: startY, r: 3.5, class: "start" })];
    if (count > 0) {
      const [x, y] = this.place(this.points[count - 1]);
      marks.push(marker(this.index, x, y, 6, `marker line-${this.index % 6}`));
    }
    this.now.replaceChildren(...marks);
  }
}

/** Draws a value over all frames as bars, one for each frame, into a canvas of that many pixels. */
function drawHistory(canvas, values, colour) {
  const height = 16;
  canvas.width = values.length;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  values.forEach((value, frame) => context.fillRect(frame, height * (1 - value), 1, height * value));
}
