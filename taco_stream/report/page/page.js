"use strict";
// The page of a run, in a report of its own or served by `taco-stream view`. One document (`RunPage` of page_data.py)
// is drawn; where the reader is stands in the address behind the #, so that every place can be linked to and Back works.
//
// A served page asks for the document again every two seconds while the run is written. Each part of the page is kept
// until its own data change (`part`), so what is being read does not move and the focus stays where it is.

const MARKS = {passed: "✓", wrong_answer: "W", runtime_error: "R", time_limit: "T", memory_limit: "M", output_limit: "O",
  compile_error: "C", no_program: "N", sandbox_violation: "S", no_checker: "–", infrastructure_error: "E", waiting: "…"};
const STATES = {running: "running", complete: "complete", generated: "generated", failed: "failed", resumable: "stopped, resumable", gone: "server has gone"};
const TABS = {overview: "Overview", problems: "Problems", time: "Time", setup: "Setup"};
const ORDERS = {order: "by number", almost: "almost solved first", passed: "least passed first", solved: "most passed first"};
const POLL = 2000, POLL_IDLE = 5000, ROWS = 200;

const main = document.getElementById("main"), header = document.getElementById("top");
const embedded = JSON.parse(document.getElementById("data")?.textContent ?? "null");

// ---------------------------------------------------------------------------------------------------- where the data are

/** Asks the server, or looks into the document that the page brought with it. Answers null for what there is not. */
const source = embedded ? {
  runs: async () => null,
  run: async () => embedded,
  problem: async (run, problem) => embedded.embedded?.problems[problem] ?? null,
  sample: async (run, problem, sample) => embedded.embedded?.samples[problem]?.[sample] ?? null,
  compare: async () => null,
} : {
  runs: () => ask("runs"),
  run: run => ask("run", {run}),
  problem: (run, problem) => ask("problem", {run, problem}),
  sample: (run, problem, sample) => ask("sample", {run, problem, sample}),
  compare: (baseline, candidate) => ask("compare", {baseline, candidate}),
};

const answers = new Map(); // by address: the newest answer and its tag, so that an unchanged one is not sent again

async function ask(name, query = {}) {
  const address = `api/${name}?${new URLSearchParams(query)}`;
  const known = answers.get(address);
  const response = await fetch(address, {headers: known ? {"If-None-Match": known.tag} : {}, cache: "no-store"});
  if (response.status === 304) return known.value;
  if (response.status === 404) return null;
  const value = await response.json();
  if (!response.ok) throw new Refused(value.error);
  if (answers.size > 64) answers.clear();
  answers.set(address, {tag: response.headers.get("ETag"), value});
  return value;
}

/** The server understood and cannot answer; the message is its sentence. */
class Refused extends Error {}

// ---------------------------------------------------------------------------------------------------- where the reader is

const place = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

function address(changes) {
  const entries = Object.entries({...place(), ...changes}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `#${new URLSearchParams(entries)}`;
}

const go = changes => { location.hash = address(changes); };
/** The same without a step for Back: filters change with every letter. */
const adjust = changes => { history.replaceState(null, "", address(changes)); render(); };

/** One level up. */
function above(at) {
  if (at.problem !== undefined) return {problem: null, sample: null, left: null, right: null};
  if (at.baseline) return {baseline: null, candidate: null};
  if (at.view && at.view !== "overview") return {view: null, q: null, status: null, difficulty: null, sort: null};
  if (at.run && seen.runs?.runs.length > 1) return Object.fromEntries(Object.keys(at).map(name => [name, null]));
  return null;
}

// ---------------------------------------------------------------------------------------------------- what has been seen

const NOTHING = {runs: null, page: null, problem: null, sample: null, comparison: null, pair: null, failure: "", isGone: false};
const seen = {...NOTHING};
let asking = 0, timer = 0;

async function refresh() {
  const turn = ++asking, at = place();
  clearTimeout(timer);
  let found = {...NOTHING};
  try {
    found.runs = at.run && seen.runs ? seen.runs : await source.runs(); // the list is needed where it is shown
    const only = found.runs?.runs.length === 1 ? found.runs.runs[0].name : null;
    const name = at.run ?? only;
    if (at.candidate) {
      found.comparison = await source.compare(at.baseline, at.candidate);
      if (!found.comparison) found.failure = "One of these runs is not here.";
      else if (at.problem !== undefined) found.pair = await both(at);
    } else if (embedded || name) {
      found.page = await source.run(name);
      if (!found.page) found.failure = `There is no run ${name} here.`;
      else if (at.problem !== undefined) {
        found.problem = await source.problem(name, at.problem);
        const sample = at.sample ?? found.problem?.samples[0]?.sample_index;
        if (sample !== undefined) found.sample = await source.sample(name, at.problem, sample);
      }
    }
  } catch (error) {
    found = error instanceof Refused ? {...found, failure: error.message} : {...seen, isGone: true};
  }
  if (turn !== asking) return;
  Object.assign(seen, found);
  render();
  if (!embedded) {
    const isMoving = seen.isGone || seen.page?.state === "running" || !(seen.page || seen.comparison);
    timer = setTimeout(refresh, document.hidden ? POLL_IDLE : isMoving ? POLL : POLL_IDLE);
  }
}

/** A problem in two runs, and a sample of each: the one chosen, or else a failure of the run that is worse and a success. */
async function both(at) {
  const stories = await Promise.all([at.baseline, at.candidate].map(run => source.problem(run, at.problem)));
  const shares = stories.map(story => story ? story.samples.filter(row => row.status === "passed").length / story.samples.length : 0);
  return Promise.all([[at.baseline, at.left], [at.candidate, at.right]].map(async ([run, chosen], side) => {
    const rows = stories[side]?.samples ?? [], isWorse = shares[side] < shares[1 - side];
    const sample = chosen ?? (rows.find(row => (row.status === "passed") !== isWorse) ?? rows[0])?.sample_index;
    return {run, rows, sample: sample === undefined ? null : await source.sample(run, at.problem, sample)};
  }));
}

// ---------------------------------------------------------------------------------------------------- drawing

const parts = new Map(); // by name: the data that a part was drawn from, and its node
let drawn = new Set();

/** A part of the page, drawn again only if what it depends on has changed. */
function part(name, depends, draw) {
  const signature = JSON.stringify([depends, name in RESIZED ? main.clientWidth : 0]);
  let known = parts.get(name);
  if (known?.signature !== signature) parts.set(name, known = {signature, node: draw()});
  drawn.add(name);
  return known.node;
}

/** A part that is never drawn again: only its children are. */
function frame(name, attributes, children) {
  const node = part(name, null, () => element("div", attributes));
  sync(node, children.flat(Infinity).filter(Boolean));
  return node;
}

const RESIZED = {curve: 1, solved: 1, lengths: 1, timeline: 1};

function render() {
  const focused = document.activeElement?.dataset?.key;
  drawn = new Set();
  const at = place();
  document.getElementById("tip").hidden = true;
  const content = body(at);
  sync(header, [bar(at)]);
  sync(main, content.flat(Infinity).filter(Boolean));
  const filter = find("filter");
  if (filter && filter !== document.activeElement) filter.value = at.q ?? "";
  for (const name of parts.keys()) if (!drawn.has(name)) parts.delete(name);
  if (focused && document.activeElement?.dataset?.key !== focused) find(focused)?.focus({preventScroll: true});
}

/** Makes the nodes the children, without touching those that are in place already. */
function sync(parent, nodes) {
  nodes.forEach((node, index) => { if (parent.childNodes[index] !== node) parent.insertBefore(node, parent.childNodes[index] ?? null); });
  while (parent.childNodes.length > nodes.length) parent.lastChild.remove();
}

const find = key => document.querySelector(`[data-key="${CSS.escape(key)}"]`);

function body(at) {
  if (seen.failure) return [part("failure", seen.failure, () => element("p", {class: "notes"}, seen.failure))];
  if (at.candidate) return !seen.comparison ? [waiting("Comparing …")] : at.problem !== undefined ? pairView(seen, at) : comparisonView(seen.comparison, at);
  if (!seen.page) return seen.runs && !at.run && seen.runs.runs.length !== 1 ? runsView(seen.runs, at) : [waiting("Reading the run …")];
  if (at.problem !== undefined) return problemView(seen.page, at);
  return runView(seen.page, at);
}

const waiting = text => part("waiting", text, () => element("p", {class: "soft"}, text));

function bar(at) {
  const {page} = seen, state = seen.isGone ? "gone" : page?.state;
  const name = at.candidate ? `${at.baseline} and ${at.candidate}` : page?.name;
  document.title = [at.problem, name, "taco-stream"].filter(each => each !== undefined).join(" – ");
  return part("bar", [at, name, state, seen.runs?.runs.length, page?.summary.pass_at_k, page?.summary.coverage.samples], () => {
    const steps = [element("a", {class: "brand", href: seen.runs?.runs.length > 1 ? "#" : address({...at, ...above({problem: at.problem}), view: null})}, "taco-stream")];
    const step = (text, href) => steps.push(element("span", {class: "sep", "aria-hidden": "true"}, "/"), href ? element("a", {href}, text) : element("span", {"aria-current": "page"}, text));
    if (name) step(name, at.problem !== undefined ? address({problem: null, sample: null, left: null, right: null}) : null);
    if (at.problem !== undefined) step(at.problem);
    const first = page && Object.entries(page.summary.pass_at_k)[0];
    return element("div", {class: "bar"},
      element("nav", {"aria-label": "Where you are"}, steps),
      element("span", {class: "now"}, first && element("span", {class: "nums small"}, `pass@${first[0]} `, element("b", null, percent(first[1].value))),
        state && element("span", {class: `state ${state}`, role: "status"}, element("i"), STATES[state])),
    );
  });
}

// ---------------------------------------------------------------------------------------------------- all runs

function runsView(listing, at) {
  const wanted = (at.q ?? "").toLowerCase();
  const found = listing.runs.filter(run => `${run.name} ${run.title}`.toLowerCase().includes(wanted));
  const chosen = at.baseline ?? null;
  return [
    part("runs-head", listing.folder, () => element("div", null,
      element("h1", null, "Runs"), element("p", {class: "soft mono"}, listing.folder),
      element("div", {class: "filters"}, filterField(at)))),
    part("runs", [found, chosen, Math.floor(Date.now() / 60000)], () => element("div", {class: "card"},
      found.length ? element("table", {class: "stack"},
        element("thead", null, element("tr", null, ["run", "state", `pass@${[...new Set(found.map(run => run.k).filter(Boolean))].join(", ") || 1}`, "95 % interval", "samples", "written", listing.runs.length > 1 && "compare"].filter(Boolean).map(name =>
          element("th", {scope: "col", class: name === "state" ? "left" : null}, name)))),
        element("tbody", null, found.map(run => runRow(run, chosen, listing.runs.length > 1)))) : element("p", {class: "soft"}, listing.runs.length ? "No run matches." : "There is no run in this folder yet."))),
  ];
}

function runRow(run, chosen, isComparable) {
  const score = run.score;
  const href = `#${new URLSearchParams({run: run.name})}`;
  return goRow(href, `run ${run.name}`,
    element("td", null, element("a", {href, "data-key": `row ${run.name}`}, run.name), element("div", {class: "soft small"}, run.title)),
    element("td", {class: "left"}, run.error ? element("span", {class: "soft"}, run.error) : element("span", {class: `state ${run.state}`}, element("i"), STATES[run.state])),
    element("td", {"data-label": `pass@${run.k ?? 1}`}, score ? [percent(score.value), interval(score)] : "–"),
    element("td", {"data-label": "95 % interval", class: "soft"}, score ? `${(100 * score.low).toFixed(1)}–${(100 * score.high).toFixed(1)}` : ""),
    element("td", {"data-label": "samples"}, run.error ? "" : `${whole(run.samples)}${run.samples_expected && run.samples_expected !== run.samples ? ` of ${whole(run.samples_expected)}` : ""}`),
    element("td", {"data-label": "written"}, run.written_at ? age(run.written_at) : ""),
    isComparable && element("td", null, run.error || !score ? "" : compareLink(run.name, chosen)),
  );
}

function compareLink(name, chosen) {
  if (chosen === name) return element("a", {href: address({baseline: null}), class: "small"}, "chosen; undo");
  if (chosen) return element("a", {href: address({candidate: name}), class: "small"}, "with this");
  return element("a", {href: address({baseline: name}), class: "small", "aria-label": `compare ${name} with another run`}, "compare");
}

function age(seconds) {
  const passed = Date.now() / 1000 - seconds;
  for (const [size, name] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) if (passed >= size) return `${count(Math.floor(passed / size), name)} ago`;
  return "just now";
}

/** A row of which every part leads where its link does. */
function goRow(href, label, ...cells) {
  return element("tr", {class: "go", click: event => {
    if (!event.target.closest("a") && !getSelection().toString()) location.hash = href;
  }}, cells);
}

function filterField(at) {
  return element("input", {type: "search", value: at.q ?? null, placeholder: "Filter   /", "aria-label": "Filter", "data-key": "filter", autocomplete: "off", spellcheck: "false",
    input: event => adjust({q: event.target.value}) });
}

// ---------------------------------------------------------------------------------------------------- one run

function runView(page, at) {
  const view = at.view in TABS ? at.view : "overview";
  return [
    part("title", [page.title, page.summary.coverage.samples, page.mode, page.sandbox_tier, page.path], () => element("div", null,
      element("h1", null, page.title),
      element("p", {class: "soft small"}, `${count(page.summary.coverage.samples, "sample")} of ${count(page.summary.coverage.problems, "problem")}, judged under ${page.mode}`,
        page.sandbox_tier && `, sandbox ${page.sandbox_tier}`, `; started ${moment(page.created_at)}; `, element("span", {class: "mono"}, page.path)))),
    part("tabs", [at, view], () => element("nav", {class: "tabs", "aria-label": "Parts of the run"}, Object.entries(TABS).map(([name, title]) =>
      element("a", {href: address({view: name === "overview" ? null : name}), "aria-current": name === view ? "page" : null, "data-key": `tab ${name}`}, title)))),
    {overview: overview, problems: problemsView, time: timeView, setup: setupView}[view](page, at),
  ];
}

const moment = seconds => `${new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ")} UTC`;

function overview(page) {
  const {summary} = page;
  const splits = [["Difficulty", summary.by_difficulty], ["Comparison mode", {[`${page.mode} (scored)`]: summary.pass_at_k, ...summary.other_modes}], ["Skill", summary.by_skill]];
  return [
    page.notes.length && part("notes", page.notes, () => element("ul", {class: "notes"}, page.notes.map(note => element("li", null, note)))),
    page.embedded?.left_out > 0 && part("left-out", page.embedded.left_out, () => element("p", {class: "soft small"},
      `This file holds the programs of ${whole(summary.coverage.samples - page.embedded.left_out)} of ${count(summary.coverage.samples, "sample")}, of every problem those most worth a look as far as there is room. `,
      element("code", {class: "mono"}, page.embedded.command), " shows all of them.")),
    part("scores", [summary.pass_at_k, summary.coverage.samples], () => scores(summary.pass_at_k)),
    part("stages", [page.state, page.generated, summary.coverage, summary.throughput, page.seconds_left, page.is_loading], () => stages(page)),
    frame("grid", {class: "grid block"}, [
      page.curve && part("curve", page.curve, () => card("pass@k",
        curveChart(page.curve, chartWidth()), caption(`Of ${count(page.curve.problems, "problem")} with ${page.curve.samples} scored samples; the band is the 95 % interval over problems.`))),
      page.problems.some(problem => problem.scored) && part("solved", page.problems.map(each => [each.problem_id, each.passed, each.scored]), () => card("Samples that passed, by problem",
        solvedChart(page.problems, chartWidth(), problem => go({problem: problem.problem_id, sample: null})), caption("Problems side by side, the most solved first. Click one to see its samples."))),
      page.state === "running" && page.latest.length > 0 && part("latest", page.latest, () => card("Judged just now", latest(page.latest))),
      Object.keys(summary.statuses).length > 0 && part("statuses", summary.statuses, () => card("What became of the samples", shares(summary.statuses, true))),
      page.lengths && part("lengths", [page.lengths, page.tokens_per_solved], () => card("Length of completions, in tokens", lengthsChart(page.lengths, chartWidth()), caption(`Each row is scaled to its own highest bin; the mark is the median.${page.tokens_per_solved ? ` A problem that was solved cost ${whole(page.tokens_per_solved)} tokens, failures included.` : ""}`))),
      page.causes.length > 0 && part("causes", page.causes, () => card("Why programs failed", causes(page.causes))),
      page.hard_tests.length > 0 && part("hard", page.hard_tests, () => card("Tests that most samples failed first", hardTests(page.hard_tests), caption("Tests are counted from 0."))),
      splits.filter(([, split]) => Object.keys(split).length > 1).map(([title, split]) => part(`split ${title}`, [split, page.ks], () => card(title, splitTable(title, split, page.ks)))),
      Object.keys(summary.extractions).length > 0 && part("extractions", [summary.extractions, summary.finish_reasons], () => card("How programs were found, and completions ended",
        shares(summary.extractions), element("h3", null, "finish reason"), shares(summary.finish_reasons))),
    ]),
  ];
}

const card = (title, ...content) => element("section", {class: "card"}, element("h2", null, title), content);
const caption = text => element("p", {class: "caption"}, text);

/** How wide a chart in a card of the grid is: the grid has as many columns of 27 rem as there is room for. */
function chartWidth() {
  const style = getComputedStyle(main), rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const room = main.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const columns = Math.max(1, Math.floor((room + rem) / (27 * rem + rem)));
  return Math.max(200, Math.floor((room - (columns - 1) * rem) / columns - (innerWidth < 704 ? 1.8 : 2.3) * rem - 2));
}

function scores(estimates) {
  const entries = Object.entries(estimates);
  if (!entries.length) return element("p", {class: "soft"}, "Nothing has been judged yet.");
  return element("div", {class: "hero"}, entries.map(([k, estimate]) => element("div", {class: "score"},
    element("span", {class: "soft"}, `pass@${k}`), element("b", null, percent(estimate.value)), interval(estimate),
    element("span", {class: "soft small nums"}, `95 % interval ${(100 * estimate.low).toFixed(1)}–${(100 * estimate.high).toFixed(1)}, ${count(estimate.problems, "problem")}`))));
}

function interval(estimate) {
  return element("span", {class: "interval", role: "img", "aria-label": `95 % interval ${percent(estimate.low)} to ${percent(estimate.high)}`},
    element("i", {class: "span", style: {left: `${100 * estimate.low}%`, width: `${100 * (estimate.high - estimate.low)}%`}}),
    element("i", {class: "point", style: {left: `${100 * estimate.value}%`}}));
}

function meter(share, label) {
  return element("span", {class: "meter", role: "img", "aria-label": label}, element("i", {class: "ink", style: {width: `${100 * Math.min(1, share)}%`}}));
}

/** How far the run is while it is written, and how much of its time each stage was busy. */
function stages(page) {
  const {coverage, throughput} = page.summary, expected = coverage.samples_expected, rows = [];
  const row = (name, share, figure) => rows.push(element("span", null, name), meter(share, `${name} ${figure}`), element("span", {class: "nums soft"}, figure));
  if (page.state !== "complete" && expected && coverage.samples < expected) {
    row("judged", coverage.samples / expected, `${whole(coverage.samples)} of ${whole(expected)}`);
  }
  const time = throughput.wall_seconds;
  if (time) {
    row("generating", throughput.generating_seconds / time, `${percent(throughput.generating_seconds / time, 0)} of ${duration(time)}`);
    row("judging", throughput.judging_seconds / time, `${percent(throughput.judging_seconds / time, 0)}, ${percent(throughput.judging_seconds ? throughput.overlapped_seconds / throughput.judging_seconds : 0, 0)} of that while generating`);
  }
  const last = page.timeline.at(-1);
  const now = page.state === "running" && [page.is_loading && "loading the model", last && !page.is_loading && `${whole(last.tokens_per_second)} tokens/s, ${count(last.completions_waiting, "completion")} waiting for a verdict`,
    page.seconds_left !== null && `about ${duration(page.seconds_left)} left`].filter(Boolean).join("; ");
  return element("div", null, element("div", {class: "stages"}, rows), now && element("p", {class: "soft small", style: {"margin-top": ".6rem"}}, now));
}

function shares(counts, isStatus = false) {
  const total = Object.values(counts).reduce((sum, each) => sum + each, 0);
  return element("div", {class: "bars"}, Object.entries(counts).map(([name, number]) => [
    isStatus ? element("a", {class: `name chip ${name}`, href: address({view: "problems", status: name})}, words(name)) : element("span", {class: "name"}, words(name)),
    element("span", {class: "rail"}, element("i", {class: isStatus ? `fill ${name}` : "ink", style: {width: `${100 * number / total}%`}})),
    element("span", {class: "num"}, whole(number)), element("span", {class: "num soft"}, percent(number / total))]));
}

function causes(list) {
  const most = list[0].samples;
  return [element("div", {class: "bars"}, list.map(each => [
    element("a", {class: `name chip ${each.status}`, style: {"white-space": "normal"}, href: address({problem: each.problem_id, sample: each.sample_index}), tip: "Click for an example"}, each.cause || words(each.status)),
    element("span", {class: "rail"}, element("i", {class: `fill ${each.status}`, style: {width: `${100 * each.samples / most}%`}})),
    element("span", {class: "num", tip: `${whole(each.first_test)} of them at the problem's first test`}, whole(each.samples)),
    element("span", {class: "num soft"}, `${count(each.problems, "problem")}`)])),
  caption(`${percent(list.reduce((sum, each) => sum + each.first_test, 0) / list.reduce((sum, each) => sum + each.samples, 0), 0)} of these failed the problem's first test already.`)];
}

function hardTests(list) {
  return element("div", {class: "bars"}, list.map(each => [
    element("a", {class: "name", href: address({problem: each.problem_id, sample: null})}, each.problem_id),
    element("span", {class: "rail"}, element("i", {class: "ink", style: {width: `${100 * each.failed / each.scored}%`}})),
    element("span", {class: "num"}, `test ${each.test}`), element("span", {class: "num soft"}, `${whole(each.failed)} of ${whole(each.scored)}`)]));
}

function latest(list) {
  return element("ul", {class: "list small"}, list.toReversed().slice(0, 8).map(each => element("li", null,
    element("span", {class: `chip ${each.status}`}, words(each.status)),
    element("a", {href: address({problem: each.problem_id, sample: each.sample_index})}, `${each.problem_id} #${each.sample_index}`),
    element("span", {class: "grow soft"}, each.detail))));
}

function splitTable(title, split, ks) {
  const problems = estimates => Math.max(0, ...Object.values(estimates).map(each => each.problems));
  return element("table", {class: "stack"},
    element("thead", null, element("tr", null, [title.toLowerCase(), ...ks.map(k => `pass@${k}`), "problems"].map(name => element("th", {scope: "col"}, name)))),
    element("tbody", null, Object.entries(split).map(([name, estimates]) => element("tr", null,
      element("td", null, name),
      ks.map((k, index) => element("td", {"data-label": `pass@${k}`, tip: estimates[k] ? `95 % interval ${percent(estimates[k].low)} to ${percent(estimates[k].high)}` : null},
        percent(estimates[k]?.value), estimates[k] && estimates[k].problems !== problems(estimates) ? ` (${count(estimates[k].problems, "problem")})` : null, index === 0 && estimates[k] ? interval(estimates[k]) : null)),
      element("td", {"data-label": "problems"}, whole(problems(estimates)))))));
}

// ---------------------------------------------------------------------------------------------------- the problems

/** The problems that the filters leave, in the order chosen. */
function selected(page, at) {
  const wanted = (at.q ?? "").toLowerCase();
  const found = page.problems.filter(problem =>
    (!at.difficulty || problem.difficulty === at.difficulty) && (!at.status || problem.statuses[at.status])
    && (!wanted || [problem.problem_id, problem.difficulty, ...problem.skills].join(" ").toLowerCase().includes(wanted)));
  const share = problem => problem.scored ? problem.passed / problem.scored : -1;
  const almost = problem => problem.passed ? 2 + share(problem) : 1 - (problem.closest ?? 0);
  const orders = {almost: (a, b) => almost(a) - almost(b), passed: (a, b) => share(a) - share(b), solved: (a, b) => share(b) - share(a)};
  return at.sort in orders ? found.toSorted(orders[at.sort]) : found;
}

function problemsView(page, at) {
  const found = selected(page, at), shown = Math.max(ROWS, Number(at.rows) || 0);
  const isNarrowed = at.q || at.status || at.difficulty;
  return [
    part("filters", [page.problems.length, Object.keys(page.summary.statuses), Object.keys(page.summary.by_difficulty), at.status, at.difficulty, at.sort], () => element("div", {class: "filters"},
      filterField(at),
      choice("status", "any status", Object.fromEntries(Object.keys(page.summary.statuses).map(each => [each, words(each)])), at),
      choice("difficulty", "any difficulty", Object.fromEntries(Object.keys(page.summary.by_difficulty).map(each => [each, each])), at),
      choice("sort", null, ORDERS, at))),
    part("found", [found.length, page.problems.length], () => element("p", {class: "soft small", role: "status"}, isNarrowed || found.length !== page.problems.length
      ? `${whole(found.length)} of ${count(page.problems.length, "problem")}` : count(page.problems.length, "problem"))),
    part("table", [found.slice(0, shown), page.ks, at], () => found.length ? element("div", {class: "card"}, element("table", {class: "stack"},
      element("thead", null, element("tr", null, [["problem", "left"], ["difficulty", "left"], ["samples", "left"], ["passed", ""], ["furthest", ""], ...page.ks.map(k => [`pass@${k}`, ""])].map(([name, side]) =>
        element("th", {scope: "col", class: side || null}, name)))),
      element("tbody", null, found.slice(0, shown).map(problem => problemRow(problem, page.ks))))) : element("p", {class: "soft"}, page.problems.length ? "No problem matches." : "Nothing has been judged yet.")),
    found.length > shown && part("more", [found.length, shown, at], () => element("p", {style: {"margin-top": "1rem"}}, element("button", {class: "button", type: "button", "data-key": "more", click: () => adjust({rows: shown + 5 * ROWS})}, `Show more of ${whole(found.length - shown)} others`))),
  ];
}

function choice(name, nothing, options, at) {
  return element("select", {"aria-label": name, "data-key": name, change: event => adjust({[name]: event.target.value === "order" ? null : event.target.value, rows: null})},
    nothing && element("option", {value: ""}, nothing), Object.entries(options).map(([value, text]) => element("option", {value, selected: at[name] === value}, text)));
}

function problemRow(problem, ks) {
  const href = address({problem: problem.problem_id, sample: null});
  return goRow(href, problem.problem_id,
    element("td", null, element("a", {href, "data-key": `row ${problem.problem_id}`}, problem.problem_id), problem.skills.length > 0 && element("div", {class: "soft small"}, problem.skills.join(", "))),
    element("td", {class: "left"}, problem.difficulty),
    element("td", {class: "left grow"}, mix(problem.statuses)),
    element("td", {"data-label": "passed"}, `${problem.passed} of ${problem.scored}`),
    element("td", {"data-label": "furthest", tip: "The largest share of the tests that one sample passed"}, percent(problem.closest, 0)),
    problem.scores.map((value, index) => element("td", {"data-label": `pass@${ks[index]}`}, percent(value))));
}

function mix(statuses) {
  const total = Object.values(statuses).reduce((sum, each) => sum + each, 0);
  const order = Object.keys(MARKS).filter(status => statuses[status]);
  const text = order.map(status => `${statuses[status]} ${words(status)}`).join(", ");
  return element("span", {class: "mix", role: "img", "aria-label": text, tip: text.replaceAll(", ", "\n")}, order.map(status =>
    element("i", {class: `fill ${status}`, style: {width: `${100 * statuses[status] / total}%`}})));
}

// ---------------------------------------------------------------------------------------------------- one problem, one sample

function problemView(page, at) {
  const line = page.problems.find(each => each.problem_id === at.problem), story = seen.problem;
  const order = selected(page, at), index = order.findIndex(each => each.problem_id === at.problem);
  const neighbour = step => order[index + step] && index >= 0 ? address({problem: order[index + step].problem_id, sample: null}) : null;
  if (!line && !story) return [part("missing", at.problem, () => element("p", {class: "notes"}, "This run has no such problem."))];
  const rows = story?.samples ?? [];
  const current = at.sample !== undefined ? Number(at.sample) : rows[0]?.sample_index;
  const left = line ? line.samples - rows.filter(row => row.status).length : 0;
  return [
    part("problem-head", [line, neighbour(-1), neighbour(1), story?.fn_name], () => element("div", {class: "headline", style: {"margin-bottom": "1rem"}},
      element("div", null, element("h1", null, at.problem), element("p", {class: "soft", style: {margin: ".2rem 0 0"}},
        [line?.difficulty ?? story?.difficulty, ...(line?.skills ?? []), story?.fn_name && `function ${story.fn_name}`, line && `${line.passed} of ${line.scored} passed`].filter(Boolean).join(" · "))),
      element("div", {class: "pager"}, pageLink("← problem", neighbour(-1), "previous"), pageLink("problem →", neighbour(1), "next")))),
    story?.notes.length > 0 && part("problem-notes", story.notes, () => element("ul", {class: "notes"}, story.notes.map(note => element("li", null, note)))),
    left > 0 && embedded && part("left-out", left, () => leftOut(left)),
    rows.length > 0 && part("strip", [rows, current], () => card("Samples", sampleGroups(rows, current))),
    story?.question && part("question", story.question, () => element("section", {class: "card block question"}, element("details", null, element("summary", null, "The problem"), element("pre", {tabindex: 0}, story.question)))),
    seen.sample && String(seen.sample.sample_index) === String(current) && part("sample", seen.sample, () => sampleCard(seen.sample)),
    !seen.sample && rows.length > 0 && part("no-sample", current, () => element("p", {class: "notes"}, `The run has no sample ${current} of this problem.`)),
  ];
}

const pageLink = (text, href, rel) => element("a", {class: "button", href, rel, "aria-disabled": href ? null : "true", "data-key": rel}, text);

function leftOut(samples) {
  return element("p", {class: "soft small"}, `${count(samples, "sample")} of this problem had no room in this file. `,
    element("code", {class: "mono"}, embedded.embedded.command), " shows all of them.");
}

/** A square for each sample; if they failed in several ways, those that failed alike are in a row. */
function sampleGroups(rows, current, side = "sample") {
  const groups = new Map();
  for (const row of rows) {
    const status = row.status ?? "waiting";
    const name = row.failed_test === null || row.failed_test === undefined ? words(status) : `${words(status)} at test ${row.failed_test}`;
    if (!groups.has(name)) groups.set(name, {status, rows: []});
    groups.get(name).rows.push(row);
  }
  const squares = list => element("div", {class: "strip"}, list.map(row => element("a", {class: row.status ?? "waiting", href: address({[side]: row.sample_index}), "data-key": `${side} ${row.sample_index}`,
    "aria-current": row.sample_index === current ? "true" : null, "aria-label": `sample ${row.sample_index}, ${words(row.status ?? "waiting")}`,
    tip: [`sample ${row.sample_index}: ${words(row.status ?? "not judged yet")}`, row.detail].filter(Boolean).join("\n")}, MARKS[row.status ?? "waiting"])));
  const sorted = [...groups].toSorted(([, a], [, b]) => (b.status === "passed") - (a.status === "passed") || b.rows.length - a.rows.length);
  return element("div", {class: "groups"}, sorted.map(([name, group]) => element("div", {class: "row"}, element("span", {class: `chip ${group.status}`}, name, element("span", {class: "soft nums"}, whole(group.rows.length))), squares(group.rows))));
}

function sampleCard(story) {
  const verdict = story.verdicts[story.mode], status = verdict?.status ?? "waiting";
  const limits = story.limits;
  const facts = [
    verdict?.tests_total && ["tests", `${verdict.tests_run ?? 0} of ${verdict.tests_total} run`], ["extraction", words(story.extraction)], ["ended by", words(story.finish_reason)],
    story.completion_tokens && ["tokens", `${whole(story.completion_tokens)}, after a prompt of ${whole(story.prompt_tokens)}`], story.generate_seconds && ["generated in", brief(story.generate_seconds)],
    story.judge_seconds && ["judged in", brief(story.judge_seconds)], verdict?.peak_cpu_seconds && ["longest test", `${brief(verdict.peak_cpu_seconds)} CPU`],
    verdict?.peak_memory_bytes && ["memory", `${whole(verdict.peak_memory_bytes / 2 ** 20)} MiB`], limits && ["limits", describeLimits(limits)],
  ].filter(Boolean);
  const others = Object.entries(story.verdicts).filter(([mode]) => mode !== story.mode);
  return element("section", {class: "block"},
    element("article", {class: "card", "aria-label": `sample ${story.sample_index}`},
      element("h2", null, `Sample ${story.sample_index}`),
      element("div", {class: "verdict"}, element("span", {class: `chip ${status}`}, verdict ? words(status) : "not judged yet"),
        verdict?.detail && element("span", null, verdict.detail)),
      others.length > 0 && element("p", {class: "facts"}, element("span", null, `under ${story.mode}`), others.map(([mode, each]) => element("span", null, `${mode}: `, element("b", {class: each.status === status ? null : `chip ${each.status}`}, each.status === status ? "the same" : words(each.status))))),
      element("p", {class: "facts"}, facts.map(([name, value]) => element("span", null, `${name} `, element("b", null, value)))),
      verdict?.judged_in_program && element("p", {class: "facts"}, "Its tests ran in the program's own process: a program written to cheat could forge this verdict."),
      story.error && element("p", {class: "notes"}, story.error),
      story.notes.length > 0 && element("ul", {class: "notes"}, story.notes.map(note => element("li", null, note)))),
    story.failing && element("div", {class: "card block", style: {"margin-top": "1rem"}}, failing(story.failing, verdict)),
    element("div", {class: "card", style: {"margin-top": "1rem"}}, element("div", {class: "headline"}, element("h2", null, "Program"), story.program && copyButton(story.program)),
      story.program ? code(story.program, errorLine(verdict)) : element("p", {class: "soft"}, "No program was found in the completion."),
      isSameText(story) ? null : completion(story),
      story.prompt && element("details", {style: {"margin-top": ".5rem"}}, element("summary", null, "The prompt"), element("pre", {tabindex: 0}, story.prompt))));
}

const brief = seconds => seconds < 1 ? `${Math.ceil(1000 * seconds)} ms` : duration(seconds);
const describeLimits = limits => [limits.cpu_seconds && `${limits.cpu_seconds} s CPU`, limits.memory_bytes && `${whole(limits.memory_bytes / 2 ** 20)} MiB`].filter(Boolean).join(", ") || "none known";
const isSameText = story => story.completion === null || (story.program !== null && story.completion.trim() === story.program.trim());

function copyButton(text) {
  return navigator.clipboard ? element("button", {class: "button small", type: "button", "data-key": "copy", click: async event => {
    await navigator.clipboard.writeText(text);
    event.target.textContent = "copied";
  }}, "copy") : null;
}

function failing(found, verdict) {
  const {test} = found;
  const given = {standard_input: "standard input", call: "call", code: "code of the test"}[test?.kind] ?? "input";
  const hasAnswer = Boolean(found.actual_head), expected = test?.expected ?? null;
  const pane = (name, content) => element("div", {class: "pane"}, element("h3", null, name), content);
  return [element("h2", null, `Failing test ${found.index}`, element("span", {class: "soft small"}, ` ${verdict?.tests_total ? `of ${whole(verdict.tests_total)}, ` : ""}counted from 0`)),
    element("div", {class: "panes"},
      test && pane(given, element("pre", {tabindex: 0}, test.given)),
      expected !== null && pane("expected", element("pre", {tabindex: 0}, marked(expected, hasAnswer ? found.actual_head : null))),
      hasAnswer && pane(`got${found.actual_head.length >= 490 ? ", the first 500 bytes" : ""}`, element("pre", {tabindex: 0}, marked(found.actual_head, expected))),
      found.stderr_tail && pane("standard error", element("pre", {tabindex: 0}, found.stderr_tail)))];
}

/** A text with the first line that differs from another text marked. */
function marked(text, other) {
  if (other === null) return text;
  const lines = text.split("\n"), others = other.split("\n");
  const index = lines.findIndex((line, number) => line.trimEnd() !== (others[number] ?? "").trimEnd());
  if (index < 0) return text;
  const before = lines.slice(0, index).join("\n"), after = lines.slice(index + 1).join("\n");
  return [before && `${before}\n`, element("mark", null, lines[index] || " "), after && `\n${after}`].filter(Boolean);
}

/** The line of the program that its error names, if it names one. */
function errorLine(verdict) {
  if (!verdict || !["runtime_error", "compile_error"].includes(verdict.status)) return null;
  const named = /line (\d+)\)?$/.exec(verdict.detail ?? "") ?? [...(verdict.stderr_tail ?? "").matchAll(/line (\d+)/g)].at(-1);
  return named ? Number(named[1]) : null;
}

const PYTHON = /(#[^\n]*)|("""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)|\b(and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield|None|True|False)\b/g;

/** A program with numbered lines; `hot` is the number of the one to point at. */
function code(text, hot) {
  const lines = [element("span")];
  const add = (piece, kind) => piece.split("\n").forEach((line, index) => {
    if (index) lines.push(element("span"));
    if (line) lines.at(-1).append(kind ? element("i", {class: kind, style: {"font-style": "normal"}}, line) : line);
  });
  let end = 0;
  const trimmed = text.replace(/\n+$/, "");
  if (trimmed.length < 200000) for (const found of trimmed.matchAll(PYTHON)) {
    add(trimmed.slice(end, found.index));
    add(found[0], found[1] ? "rem" : found[2] ? "str" : "kw");
    end = found.index + found[0].length;
  }
  add(trimmed.slice(end));
  if (hot && lines[hot - 1]) lines[hot - 1].classList.add("hot");
  for (const line of lines) if (!line.hasChildNodes()) line.append(" ");
  return element("pre", {class: "code", tabindex: 0, "data-key": "program", "aria-label": "program"}, lines);
}

function completion(story) {
  const end = story.completion.length - story.cut_after.length;
  const middle = story.cut_before || story.cut_after ? story.completion.slice(Math.max(0, story.completion.indexOf(story.cut_before)) + story.cut_before.length, Math.max(0, end)) : story.completion;
  return element("details", {style: {"margin-top": "1rem"}}, element("summary", null, "The completion as it was generated"),
    element("pre", {tabindex: 0}, story.cut_before || story.cut_after ? [element("span", {class: "cut"}, story.cut_before), middle, element("span", {class: "cut"}, story.cut_after)] : story.completion));
}

// ---------------------------------------------------------------------------------------------------- two runs

function comparisonView(compared, at) {
  const [comparison] = compared.comparisons, {sign_test: sign} = comparison;
  const alone = [...comparison.only_in_baseline, ...comparison.only_in_candidate].length;
  const moved = comparison.changes.length;
  return [part("comparison", [compared, at], () => element("div", null,
    element("h1", null, `${at.candidate} (B) against ${at.baseline} (A)`),
    element("p", {class: "soft"}, `Problem by problem, judged under ${compared.mode}. ${whole(sign.better)} better, ${whole(sign.worse)} worse, ${whole(sign.equal)} equal: `,
      sign.better + sign.worse === 0 ? "no problem has another share of passes." : `chance alone would part them as far in ${sign.p_value < .001 ? "less than 0.1 %" : percent(sign.p_value)} of cases (sign test).`),
    compared.notes.length > 0 && element("ul", {class: "notes"}, compared.notes.map(note => element("li", null, note))),
    alone > 0 && element("p", {class: "soft"}, `${count(alone, "problem")} of one run alone are left out.`),
    element("div", {class: "hero"}, Object.entries(comparison.pass_at_k).map(([k, each]) => element("div", {class: "score"},
      element("span", {class: "soft"}, `pass@${k}, percentage points`), element("b", null, points(each.value)), differenceBar(each),
      element("span", {class: "soft small nums"}, `${percent(each.baseline)} → ${percent(each.candidate)}; 95 % interval ${points(each.low)} to ${points(each.high)}`)))),
    element("div", {class: "grid block"},
      element("section", {class: "card wide"}, element("h2", null, moved ? "Problems with another share of passes, the largest change first" : "No problem has another share of passes"),
        moved > 0 && element("table", {class: "stack"},
          element("thead", null, element("tr", null, [["problem", ""], ["difficulty", "left"], [at.baseline, ""], [at.candidate, ""], ["change", ""], ["", "left"]].map(([name, side]) => element("th", {scope: "col", class: side || null}, name)))),
          element("tbody", null, comparison.changes.slice(0, ROWS).map(change => changeRow(change, at)))),
        moved > ROWS && caption(`${whole(moved - ROWS)} more with smaller changes; taco-stream compare prints all of them.`)),
      Object.keys(comparison.by_difficulty).length > 1 && card("Difficulty", element("table", {class: "stack"},
        element("thead", null, element("tr", null, ["difficulty", ...compared.ks.map(k => `pass@${k}`)].map(name => element("th", {scope: "col"}, name)))),
        element("tbody", null, Object.entries(comparison.by_difficulty).map(([name, split]) => element("tr", null, element("td", null, name),
          compared.ks.map(k => element("td", {"data-label": `pass@${k}`, tip: split[k] ? `95 % interval ${points(split[k].low)} to ${points(split[k].high)}, ${count(split[k].problems, "problem")}` : null}, split[k] ? points(split[k].value) : "–"))))))),
      compared.setting_differences.length > 0 && card("What else differs", element("table", {class: "stack"},
        element("thead", null, element("tr", null, ["", at.baseline, at.candidate].map(name => element("th", {scope: "col"}, name)))),
        element("tbody", null, compared.setting_differences.map(each => element("tr", null, element("td", null, `${each.component}: ${words(each.name)}`),
          each.values.map((value, index) => element("td", {"data-label": [at.baseline, at.candidate][index], style: {"overflow-wrap": "anywhere"}}, readable(value)))))))))))];
}

/** A difference of shares in percentage points. */
const points = value => Math.abs(value) < 5e-4 ? "0.0" : `${value > 0 ? "+" : "−"}${(100 * Math.abs(value)).toFixed(1)}`;

/** A difference and its interval on a rail with nought in the middle; it has a colour if nought is outside. */
function differenceBar(each) {
  const reach = Math.max(Math.abs(each.low), Math.abs(each.high), .01), at = value => `${50 + 50 * value / reach}%`;
  const side = each.low > 0 ? "passed" : each.high < 0 ? "wrong_answer" : "undecided";
  return element("span", {class: `interval ${side}`, role: "img", "aria-label": `95 % interval ${points(each.low)} to ${points(each.high)} points`},
    element("i", {class: "span", style: {left: at(each.low), width: `${50 * (each.high - each.low) / reach}%`}}), element("i", {class: "nought"}), element("i", {class: "point", style: {left: at(each.value)}}));
}

function changeRow(change, at) {
  const href = address({problem: change.problem_id, left: null, right: null});
  const share = each => each.passed / each.scored, difference = share(change.candidate) - share(change.baseline);
  const word = !change.baseline.passed ? "gained" : !change.candidate.passed ? "lost" : "";
  return goRow(href, change.problem_id, element("td", null, element("a", {href, "data-key": `row ${change.problem_id}`}, change.problem_id)), element("td", {class: "left"}, change.difficulty),
    [change.baseline, change.candidate].map((each, index) => element("td", {"data-label": [at.baseline, at.candidate][index]}, `${each.passed} of ${each.scored}`)),
    element("td", {"data-label": "change"}, points(difference)), element("td", {class: "left"}, word && element("span", {class: `chip ${difference > 0 ? "passed" : "wrong_answer"}`}, word)));
}

/** One problem in both runs, side by side. */
function pairView({pair}, at) {
  if (!pair) return [waiting("Reading both runs …")];
  return [
    part("pair-head", at.problem, () => element("h1", {style: {"margin-bottom": "1rem"}}, at.problem)),
    part("pair", [pair, at], () => element("div", {class: "pair"}, pair.map(({run, rows, sample}, index) => element("section", {"aria-label": run, class: "half"},
      card(run, rows.length ? sampleGroups(rows, sample?.sample_index, index ? "right" : "left") : element("p", {class: "soft"}, "This run has no sample of this problem.")),
      sample && sampleCard(sample))))),
  ];
}

// ---------------------------------------------------------------------------------------------------- time and setup

function timeView(page) {
  const notes = page.incidents.toReversed();
  return [
    page.speed.length > 0 && part("speed", page.speed, () => element("p", null, page.speed.join("; "))),
    page.timeline.length > 0 ? part("timeline", [page.timeline, page.starts], () => element("section", {class: "card"}, element("h2", null, "Both stages over time"), timelineChart(page.timeline, page.starts, Math.max(200, main.clientWidth - (innerWidth < 704 ? 66 : 88))),
      caption(`Seconds of running${page.starts.length ? "; a dashed line is where a later start began, and the time between starts is left out" : ""}. An area is the share of the time that the stage was busy.`))) : element("p", {class: "soft"}, "There are no times yet: the first come after five seconds."),
    notes.length > 0 && part("incidents", page.incidents, () => element("section", {class: "card block", style: {"margin-top": "1rem"}}, element("h2", null, "What happened, newest first"), element("ul", {class: "list"}, notes.map(each => element("li", null,
      element("span", {class: "soft nums small"}, moment(each.at)), element("span", null, words(each.kind)), element("span", {class: "grow soft"}, each.message)))))),
  ];
}

function setupView(page) {
  const table = (title, values) => element("section", {class: "card"}, element("h2", null, title), element("dl", {class: "nums"}, Object.entries(values).map(([name, value]) => [element("dt", null, name), element("dd", null, readable(value))])));
  return [part("setup", [page.settings, page.versions, page.hardware], () => element("div", {class: "grid"},
    table("Settings", page.settings), table("Versions", {...page.versions, "git commit": page.git_commit ?? "unknown"}), table("Machine", page.hardware)))];
}

const readable = value => value === null ? "–" : Array.isArray(value) ? value.map(readable).join(", ") || "–" : typeof value === "object" ? JSON.stringify(value) : value === true ? "yes" : value === false ? "no" : String(value);

// ---------------------------------------------------------------------------------------------------- keys

const KEYS = {"/": "filter", "↑ ↓": "move through a table", "Enter": "open", "← →": "previous and next sample", "n p": "next and previous problem", "1 – 4": "the parts of a run", "Esc": "back, one level up", "?": "these keys"};

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("keys").open) return;
  const at = place(), {target} = event, isTyping = target.matches?.("input, select, textarea");
  if (event.key === "Escape") {
    const up = above(at);
    if (isTyping && target.value && target.type === "search") { target.value = ""; adjust({q: null}); }
    else if (isTyping) target.blur();
    else if (up) go(up);
    else return;
  } else if (isTyping && event.key !== "ArrowDown") return;
  else if (event.key === "/") {
    if (!document.querySelector("input[type=search]")) { history.pushState(null, "", address({view: "problems", problem: null, sample: null})); render(); }
    document.querySelector("input[type=search]")?.focus();
  } else if (event.key === "?") showKeys();
  else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && at.problem === undefined) { if (!moveRow(event.key === "ArrowDown" ? 1 : -1)) return; }
  else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && at.problem !== undefined && !at.candidate && !target.closest?.("pre")) moveSample(event.key === "ArrowRight" ? 1 : -1);
  else if ((event.key === "n" || event.key === "p") && at.problem !== undefined) document.querySelector(`.pager a[rel=${event.key === "n" ? "next" : "previous"}][href]`)?.click();
  else if (/^[1-4]$/.test(event.key) && seen.page && at.problem === undefined) go({view: event.key === "1" ? null : Object.keys(TABS)[event.key - 1]});
  else return;
  event.preventDefault();
}

function moveRow(step) {
  const rows = [...document.querySelectorAll("tr.go td:first-child a")];
  if (!rows.length) return false;
  const index = rows.indexOf(document.activeElement);
  const next = rows[Math.min(rows.length - 1, Math.max(0, index < 0 ? (step > 0 ? 0 : rows.length - 1) : index + step))];
  next.focus({preventScroll: true});
  next.scrollIntoView({block: "nearest"});
  return true;
}

function moveSample(step) {
  const squares = [...document.querySelectorAll(".strip a")], index = squares.findIndex(each => each.ariaCurrent === "true");
  const next = squares[index + step];
  if (next) { history.replaceState(null, "", next.getAttribute("href")); refresh().then(() => document.querySelector(".strip a[aria-current]")?.focus({preventScroll: true})); }
}

function showKeys() {
  const dialog = document.getElementById("keys");
  sync(dialog, [element("div", null, element("h2", null, "Keys"), element("dl", null, Object.entries(KEYS).map(([key, does]) => [element("dt", null, element("kbd", null, key)), element("dd", null, does)])),
    element("form", {method: "dialog"}, element("button", {class: "button"}, "Close")))]);
  dialog.showModal();
}

// ---------------------------------------------------------------------------------------------------- start

let wasAt = place();

function moved() {
  const at = place();
  const isElsewhere = ["run", "view", "problem", "baseline", "candidate"].some(name => at[name] !== wasAt[name]);
  if (at.run !== wasAt.run) seen.page = embedded ? seen.page : null;
  if (at.problem !== wasAt.problem) seen.problem = seen.sample = seen.pair = null;
  if (at.candidate !== wasAt.candidate) seen.comparison = null;
  const cameFrom = wasAt;
  wasAt = at;
  refresh().then(() => {
    if (!isElsewhere) return;
    const row = at.problem === undefined && cameFrom.problem !== undefined ? find(`row ${cameFrom.problem}`) : null;
    if (row) { row.focus({preventScroll: true}); row.scrollIntoView({block: "center"}); } else scrollTo(0, 0);
  });
}

sync(document.getElementById("bottom"), [element("p", null,
  "pass@k is the unbiased estimator of Chen et al. 2021. An interval says where the mean over other problems of the same kind lies in 95 % of cases. Samples that could not be judged are not scored. ",
  element("button", {class: "button small", type: "button", click: showKeys}, "Keys  ?"))]);
addEventListener("hashchange", moved);
addEventListener("keydown", press);
addEventListener("visibilitychange", () => { if (!document.hidden && !embedded) refresh(); });
new ResizeObserver(() => requestAnimationFrame(render)).observe(main);
refresh();
