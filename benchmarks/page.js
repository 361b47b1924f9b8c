"use strict";
// Browses the lines of a report. Every text reaches the page through textContent.
const { kind, lines } = JSON.parse(document.getElementById("data").textContent);
const searched = kind === "judged";
const root = document.getElementById("browse");
root.textContent = "";

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

const number = (x, digits) => (x === null || x === undefined ? "" : x.toFixed(digits));
const arm = (line) => `${line.policy} ${line.n}${line.blind ? "" : ", " + line.scorer}`;
const complete = (line) => line.candidates.filter((one) => one.ended === "eos");
const count = (found) => found.reduce((sum, one) => sum + one.multiplicity, 0);
const right = (line) => (searched ? count(complete(line).filter((one) => one.verdict === "passed")) : line["random@1"]);
const whole = (line) => (searched ? count(complete(line)) : null);
const tokens = (line) => (searched ? line.cost.tokens : line.tokens);
const time = (line) => (searched ? line.cost.seconds : line.steps);

const columns = searched
  ? [["problem", (l) => l.problem], ["difficulty", (l) => l.difficulty], ["tests", (l) => l.tests_kind], ["policy", arm],
     ["correct", right, 0], ["complete", whole, 0], ["tokens", tokens, 0], ["seconds", time, 1]]
  : [["problem", (l) => l.problem], ["difficulty", (l) => l.difficulty], ["tests", (l) => l.tests_kind], ["policy", arm],
     ["ranked by", (l) => l.scorer], ["pass@1", (l) => l["pass@1"], 3], ["random", right, 3], ["oracle", (l) => l.oracle, 3],
     ["tokens", tokens, 0], ["steps", time, 0]];

function choice(label, options) {
  const select = make("select");
  for (const option of options) select.append(make("option", option));
  const box = make("label", label + " ");
  box.append(select);
  controls.append(box);
  select.addEventListener("change", show);
  return select;
}

const unique = (values) => [...new Set(values)].sort();
const controls = make("div", undefined, "controls");
const search = make("input");
search.type = "search";
search.addEventListener("input", show);
const named = make("label", "problem ");
named.append(search);
controls.append(named);
const policy = choice("policy", ["all", ...unique(lines.map(arm))]);
const difficulty = choice("difficulty", ["all", ...unique(lines.map((l) => l.difficulty))]);
const verdict = choice("answers", ["all", "some correct", "some wrong and some correct", "none correct"]);
const ranking = searched ? choice("candidates by", unique(lines.flatMap((l) => l.scorers))) : null;
const total = make("p");
const table = make("table");
const MOST = 500; // rows at once: a browser draws more than that slowly
let sortBy = 0, falling = false;
const wide = make("div", undefined, "wide");
wide.append(table);
root.append(controls, total, wide);

function accepted(line) {
  if (!line.problem.includes(search.value.trim())) return false;
  if (policy.value !== "all" && arm(line) !== policy.value) return false;
  if (difficulty.value !== "all" && line.difficulty !== difficulty.value) return false;
  const good = right(line) > 0, bad = searched ? right(line) < whole(line) : right(line) < 1;
  if (verdict.value === "some correct") return good;
  if (verdict.value === "none correct") return !good;
  return verdict.value === "all" || (good && bad);
}

function show() {
  const read = columns[sortBy][1];
  const chosen = lines.filter(accepted).map((line, i) => [read(line), i, line]);
  const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  chosen.sort((a, b) => (falling ? -1 : 1) * order(a[0], b[0]) || a[1] - b[1]);
  const few = chosen.length > MOST ? `, the first ${MOST} shown` : "";
  total.textContent = `${chosen.length} of ${lines.length}${few}` + (searched ? "; click one for its candidates." : ".");
  table.textContent = "";
  const head = make("tr");
  columns.forEach(([name], i) => {
    const cell = make("th", name + (i === sortBy ? (falling ? " \u2193" : " \u2191") : ""));
    cell.style.cursor = "pointer";
    cell.addEventListener("click", () => { falling = i === sortBy ? !falling : false; sortBy = i; show(); });
    head.append(cell);
  });
  table.append(head);
  for (const [, , line] of chosen.slice(0, MOST)) {
    const row = make("tr", undefined, searched ? "search" : "");
    for (const [, value, digits] of columns) row.append(make("td", digits === undefined ? value(line) : number(value(line), digits)));
    table.append(row);
    if (searched) openable(row, line);
  }
}

function openable(row, line) {
  let detail = null;
  const toggle = () => {
    row.classList.toggle("open");
    if (detail) { detail.remove(); detail = null; return; }
    detail = make("tr", undefined, "detail");
    const cell = make("td");
    cell.colSpan = columns.length;
    const by = ranking.value;
    const score = (one) => (one.scores[by] === null || one.scores[by] === undefined ? -Infinity : one.scores[by]);
    const ended = (one) => (one.ended === "eos" ? 1 : 0);
    const ranked = [...line.candidates].sort((a, b) => ended(b) - ended(a) || score(b) - score(a));
    for (const one of ranked) cell.append(candidate(line, one));
    detail.append(cell);
    row.after(detail);
  };
  row.tabIndex = 0;
  row.addEventListener("click", toggle);
  row.addEventListener("keydown", (event) => { if (event.key === "Enter") toggle(); });
}

function candidate(line, one) {
  const box = make("div", undefined, "candidate"), facts = make("div", undefined, "facts");
  const told = one.verdict === null ? one.ended : one.verdict.replace("_", " ");
  const colour = one.verdict === null ? "" : one.verdict === "passed" ? " passed" : " failed";
  facts.append(make("span", told, "badge" + colour));
  if (one.multiplicity > 1) facts.append(` drawn ${one.multiplicity} times`);
  if (one.examples !== null) facts.append(one.examples ? ", passes the printed examples" : ", fails a printed example");
  for (const [name, score] of Object.entries(one.scores)) facts.append(make("div", `${name} ${number(score, 3)}`));
  facts.append(trace(one.trace), make("div", `${one.trace.length} tokens; ${line.trace_of} after each`));
  box.append(facts, make("pre", one.program || "(no program)"));
  return box;
}

function trace(values) {
  const space = "http://www.w3.org/2000/svg", width = 260, height = 60;
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "trace");
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  svg.setAttribute("role", "img");
  const known = values.filter((v) => v !== null);
  const low = Math.min(0, ...known), high = Math.max(low + 1e-9, known.some((v) => v < 0) ? 0 : 1, ...known);
  const points = [];
  values.forEach((v, i) => {
    const x = values.length > 1 ? (i / (values.length - 1)) * (width - 4) + 2 : width / 2;
    if (v !== null) points.push(`${x.toFixed(1)},${(height - 2 - ((v - low) / (high - low)) * (height - 4)).toFixed(1)}`);
  });
  const line = document.createElementNS(space, "polyline");
  line.setAttribute("points", points.join(" "));
  line.setAttribute("fill", "none");
  line.setAttribute("stroke", "#2b6cb0");
  line.setAttribute("stroke-width", "1.5");
  svg.append(line);
  const label = document.createElementNS(space, "title");
  label.textContent = `from ${number(low, 2)} to ${number(high, 2)}`;
  svg.append(label);
  return svg;
}

show();
