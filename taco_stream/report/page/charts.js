"use strict";
// Elements and charts. Nothing here ever parses HTML: what a run holds becomes text nodes and attribute values, so a
// program that is written to look like markup is shown as what it is.

/** An element. Attributes that are null or false are left out; functions become listeners; `style` is an object. */
function element(tag, attributes, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function shape(tag, attributes, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "tip") showTip(node, value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) node.style.setProperty(key, each);
    else if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}

/** Shows a text beside the pointer while it is over the node; `text` may be a function of the pointer's event. */
function showTip(node, text) {
  const tip = document.getElementById("tip");
  node.addEventListener("pointermove", event => {
    const words = typeof text === "function" ? text(event) : text;
    tip.hidden = !words;
    tip.textContent = words ?? "";
    const {width, height} = tip.getBoundingClientRect();
    const left = Math.min(Math.max(event.clientX - width / 2, 8), innerWidth - width - 8);
    const top = event.clientY - height - 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${top > 4 ? top : event.clientY + 18}px`;
  });
  node.addEventListener("pointerleave", () => { tip.hidden = true; });
}

const percent = (value, digits = 1) => value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)}\u00a0%`;
const whole = value => Math.round(value).toLocaleString("en");
const count = (number, word) => `${whole(number)} ${word}${number === 1 ? "" : "s"}`;
const words = name => String(name).replaceAll("_", " ");

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.round(seconds) % 60];
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return hours ? `${hours} h ${String(minutes).padStart(2, "0")} min` : `${minutes} min ${String(rest).padStart(2, "0")} s`;
}

/** Round values from 0 to at least `most`, about `wanted` of them. */
function ticks(most, wanted) {
  const rough = most / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(each => each * power).find(each => each >= rough && (Number.isInteger(each) || rough < 1));
  return Array.from({length: Math.ceil(most / step - 1e-9) + 1}, (_, index) => index * step);
}

/** An empty chart: the SVG, and the margins that its scales leave. */
function canvas(width, height, label) {
  return shape("svg", {viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label});
}

function gridLines(svg, values, y, left, right, name) {
  for (const value of values) {
    svg.append(
      shape("line", {class: "grid-line", x1: left, x2: right, y1: y(value), y2: y(value)}),
      shape("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, name(value)),
    );
  }
}

/** pass@k over k: the line, and the band of its 95 % intervals. */
function curveChart(curve, width) {
  const height = 220, left = 42, right = width - 14, top = 8, bottom = height - 26;
  const {points, samples} = curve;
  const most = Math.min(1, Math.max(...points.map(point => point.high)));
  const marks = ticks(100 * most, 4);
  const peak = Math.min(100, marks.at(-1)) / 100;
  const isWide = samples > 24;
  const x = k => left + (right - left) * (isWide ? Math.log(k) / Math.log(samples) : (k - 1) / (samples - 1));
  const y = value => bottom - (bottom - top) * value / peak;
  const last = points.at(-1);
  const svg = canvas(width, height, `pass@k rises from ${percent(points[0].value)} for k = 1 to ${percent(last.value)} for k = ${last.k}`);
  gridLines(svg, marks.filter(mark => mark <= 100 * peak), mark => y(mark / 100), left, right, mark => `${mark} %`);
  const kept = points.map(point => point.k);
  const roomy = isWide ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter(k => k < samples * 0.8).concat(samples)
    : kept.filter(k => kept.length <= 12 || k === 1 || k % 4 === 0);
  for (const k of roomy) svg.append(shape("text", {x: x(k), y: height - 8, "text-anchor": "middle"}, `${k}`));
  const at = (point, name) => `${x(point.k).toFixed(1)},${y(point[name]).toFixed(1)}`;
  svg.append(
    shape("path", {class: "band", d: `M${points.map(point => at(point, "high")).join("L")}L${points.toReversed().map(point => at(point, "low")).join("L")}Z`}),
    shape("path", {class: "line", d: `M${points.map(point => at(point, "value")).join("L")}`}),
  );
  for (const point of points) {
    svg.append(
      shape("circle", {class: "dot", cx: x(point.k), cy: y(point.value), r: points.length > 14 ? 2 : 3}),
      shape("circle", {class: "hit", cx: x(point.k), cy: y(point.value), r: 11,
        tip: `pass@${point.k}  ${percent(point.value)}\n95 % interval ${percent(point.low)} to ${percent(point.high)}`}),
    );
  }
  return svg;
}

/** The share of samples that passed, a bar for each problem, most first. `open` is called with the problem clicked. */
function solvedChart(problems, width, open) {
  const height = 220, left = 42, right = width - 4, top = 8, bottom = height - 26;
  const share = problem => problem.passed / problem.scored;
  const sorted = problems.filter(problem => problem.scored).toSorted((a, b) => share(b) - share(a));
  const solved = sorted.filter(problem => problem.passed).length;
  const y = value => bottom - (bottom - top) * value;
  const step = (right - left) / sorted.length, gap = step > 4 ? Math.min(3, step * .2) : 0;
  const svg = canvas(width, height, `${solved} of ${sorted.length} problems have a sample that passed`);
  gridLines(svg, [0, .25, .5, .75, 1], y, left, right, value => `${100 * value} %`);
  const bars = sorted.slice(0, solved).map((problem, index) => {
    const [from, to] = [left + index * step + gap / 2, left + (index + 1) * step - gap / 2];
    return `M${from.toFixed(2)},${bottom}V${y(share(problem)).toFixed(1)}H${to.toFixed(2)}V${bottom}Z`;
  });
  svg.append(shape("path", {class: "solved", d: bars.join("")}));
  if (solved < sorted.length) {
    const from = left + solved * step;
    svg.append(shape("rect", {class: "none", x: from + gap / 2, y: bottom - 4, width: right - from - gap / 2, height: 4}));
    const isRoomy = right - from > 110;
    svg.append(shape("text", {x: isRoomy ? (from + right) / 2 : right, y: bottom - 10, "text-anchor": isRoomy ? "middle" : "end"},
      `${sorted.length - solved} never`));
  }
  svg.append(shape("text", {x: left, y: height - 8}, `${solved} solved at least once`));
  const under = event => {
    const box = svg.getBoundingClientRect();
    const place = (event.clientX - box.left) * width / box.width;
    return sorted[Math.min(sorted.length - 1, Math.max(0, Math.floor((place - left) / step)))];
  };
  svg.append(shape("rect", {class: "hit", x: left, y: top, width: right - left, height: bottom - top, style: {cursor: "pointer"},
    click: event => open(under(event)),
    tip: event => { const problem = under(event); return `${problem.problem_id}\n${problem.passed} of ${problem.scored} passed`; }}));
  return svg;
}

/** Completion tokens by status: a row of bins for each, scaled to its own highest, and a mark at the median. */
function lengthsChart(lengths, width) {
  const statuses = Object.keys(lengths.counts), bins = Math.max(...Object.values(lengths.counts).map(each => each.length));
  const rowHeight = 46, left = 2, right = width - 2, height = statuses.length * rowHeight + 24;
  const most = bins * lengths.width;
  const x = tokens => left + (right - left) * tokens / most;
  const svg = canvas(width, height, `completion tokens by status, medians ${statuses.map(status => `${words(status)} ${lengths.medians[status]}`).join(", ")}`);
  statuses.forEach((status, row) => {
    const base = (row + 1) * rowHeight - 4, counts = lengths.counts[status];
    const peak = Math.max(...counts), median = lengths.medians[status];
    svg.append(
      shape("text", {x: left, y: base - 30}, words(status)),
      shape("text", {x: right, y: base - 30, "text-anchor": "end"}, `median ${whole(median)}`),
      shape("line", {class: "grid-line", x1: left, x2: right, y1: base, y2: base}),
    );
    counts.forEach((samples, bin) => {
      if (!samples) return;
      const tall = Math.max(1.5, 26 * samples / peak);
      svg.append(shape("rect", {class: `bin ${status}`, x: x(bin * lengths.width) + .5, y: base - tall, width: Math.max(1, x(lengths.width) - left - 1), height: tall,
        tip: `${words(status)}\n${count(samples, "sample")} of ${whole(bin * lengths.width)} to ${whole((bin + 1) * lengths.width - 1)} tokens`}));
    });
    svg.append(shape("line", {class: "tick", x1: x(median), x2: x(median), y1: base - 6, y2: base + 3}));
  });
  const marks = ticks(most, width < 420 ? 3 : 6).filter(tick => tick <= most);
  for (const tick of marks) {
    const anchor = tick === 0 ? "start" : x(tick) > right - 20 ? "end" : "middle";
    svg.append(shape("text", {x: x(tick), y: height - 6, "text-anchor": anchor}, whole(tick)));
  }
  return svg;
}

/** Both stages over time, when neither was busy, the speed and the queue between them: a lane each, one axis. */
function timelineChart(timeline, starts, width) {
  const until = timeline.at(-1).until, left = 2, right = width - 2;
  const mean = name => timeline.reduce((sum, each) => sum + each[name] * (each.until - each.since), 0) / until;
  const peak = name => Math.max(...timeline.map(each => each[name]));
  const lanes = [
    {title: "generating", name: "generating", style: "area", most: 1, note: `${percent(mean("generating"), 0)} of the time`},
    {title: "judging", name: "judging", style: "area", most: 1, note: `${percent(mean("judging"), 0)} of the time`},
    {title: "neither: idle or loading", name: "idle", style: "idle", most: 1, note: `${percent(mean("idle"), 0)} of the time`},
    {title: "batch rows in use while generating", name: "rows_busy", style: "area", most: 1, note: ""},
    {title: "evaluator workers busy", name: "workers_busy", style: "area", most: 1, note: `${percent(mean("workers_busy"), 0)} of their time`},
    {title: "tokens per second", name: "tokens_per_second", style: "area", most: peak("tokens_per_second"), note: `at most ${whole(peak("tokens_per_second"))}`},
    {title: "completions waiting for a verdict", name: "completions_waiting", style: "area", most: peak("completions_waiting"), note: `at most ${whole(peak("completions_waiting"))}`},
  ].filter(lane => lane.most > 0 && peak(lane.name) > 0);
  const tall = 44, rowHeight = tall + 28, height = lanes.length * rowHeight + 26;
  const x = seconds => left + (right - left) * seconds / until;
  const svg = canvas(width, height, `over ${duration(until)}: ${lanes.map(lane => `${lane.title} ${lane.note}`).join(", ")}`);
  lanes.forEach((lane, row) => {
    const base = (row + 1) * rowHeight - 6;
    const y = value => base - tall * Math.min(1, value / lane.most);
    const steps = timeline.map(each => `L${x(each.since).toFixed(1)},${y(each[lane.name]).toFixed(1)}H${x(each.until).toFixed(1)}`);
    svg.append(
      shape("text", {x: left, y: base - tall - 7}, lane.title),
      shape("text", {x: right, y: base - tall - 7, "text-anchor": "end"}, lane.note),
      shape("line", {class: "grid-line", x1: left, x2: right, y1: base - tall, y2: base - tall}),
      shape("path", {class: lane.style, d: `M${left},${base}${steps.join("")}V${base}Z`}),
      shape("line", {class: "grid-line", x1: left, x2: right, y1: base, y2: base}),
    );
  });
  const bottom = lanes.length * rowHeight - 6;
  for (const start of starts) svg.append(shape("line", {class: "start", x1: x(start), x2: x(start), y1: 20, y2: bottom, tip: `resumed after ${duration(start)}`}));
  for (const tick of timeTicks(until, width < 420 ? 3 : 6)) {
    const anchor = tick === 0 ? "start" : x(tick) > right - 30 ? "end" : "middle";
    svg.append(shape("text", {x: x(tick), y: height - 6, "text-anchor": anchor}, tick ? duration(tick).replace(/ 00 (s|min)$/, "") : "0"));
  }
  const cursor = shape("line", {class: "axis", y1: 20, y2: bottom, visibility: "hidden"});
  const under = event => {
    const box = svg.getBoundingClientRect();
    const seconds = ((event.clientX - box.left) * width / box.width - left) / (right - left) * until;
    const found = timeline.find(each => seconds <= each.until) ?? timeline.at(-1);
    const place = x((found.since + found.until) / 2);
    for (const [name, value] of [["x1", place], ["x2", place], ["visibility", "visible"]]) cursor.setAttribute(name, value);
    return `${duration(found.since)} to ${duration(found.until)}\n`
      + `generating ${percent(found.generating, 0)}, judging ${percent(found.judging, 0)}, neither ${percent(found.idle, 0)}\n`
      + `${whole(found.tokens_per_second)} tokens/s, ${whole(found.completions_waiting)} waiting`;
  };
  svg.append(cursor, shape("rect", {class: "hit", x: left, y: 0, width: right - left, height: bottom, tip: under,
    pointerleave: () => cursor.setAttribute("visibility", "hidden")}));
  return svg;
}

function timeTicks(most, wanted) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
  const step = steps.find(each => each >= most / wanted) ?? 86400 * Math.ceil(most / wanted / 86400);
  return Array.from({length: Math.floor(most / step) + 1}, (_, index) => index * step);
}
