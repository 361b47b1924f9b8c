"use strict";
// Everything from the data is written as text (textContent), never as markup.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const PREVIEW = 90;
let search = null, chosen = null, traces = [], widest = 1;

function made(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  return element;
}
const shown = (score) => (score === null || score === undefined ? "–" : score.toFixed(3));
// Green above a half, red below; readable behind text in light and in dark.
const colour = (score) => (score === null ? "" : `hsl(${Math.round(score * 120)} 70% 50% / ${0.12 + 0.3 * Math.abs(score - 0.5)})`);

function pathTo(node) {
  const path = [];
  for (; node >= 0; node = search.parents[node]) path.push(node);
  return path.reverse();
}

function open(one) {
  search = one;
  chosen = null;
  search.children = new Map();
  search.parents.forEach((parent, node) => {
    if (!search.children.has(parent)) search.children.set(parent, []);
    search.children.get(parent).push(node);
  });
  search.ends = new Map();
  search.passing = new Array(search.parents.length).fill(0);
  search.candidates.forEach((candidate, i) => {
    candidate.path = pathTo(candidate.leaf);
    candidate.text = candidate.path.map((node) => search.texts[node]).join("");
    candidate.score = candidate.leaf < 0 ? null : search.scores[candidate.leaf];
    candidate.number = i + 1;
    candidate.path.forEach((node) => { search.passing[node] += candidate.times; });
    if (!search.ends.has(candidate.leaf)) search.ends.set(candidate.leaf, []);
    search.ends.get(candidate.leaf).push(candidate);
  });
  const rank = (candidate) => [candidate.verdict === "passed", candidate.ended === "eos", candidate.score ?? -1];
  search.candidates.sort((a, b) => { const x = rank(a), y = rank(b); for (let i = 0; i < 3; i++) if (x[i] !== y[i]) return y[i] - x[i]; return 0; });
  $("search").hidden = false;
  $("problem").hidden = !search.statement;
  $("text-of-problem").textContent = search.statement ?? "";
  $("score-name").textContent = search.scored_by;
  $("about").replaceChildren(...Object.entries(search.about).map(([name, value]) => {
    const row = made("tr");
    row.append(made("th", name), made("td", typeof value === "object" ? JSON.stringify(value) : value));
    return row;
  }));
  choices("filter-ended", "any way", search.candidates.map((candidate) => candidate.ended));
  choices("filter-verdict", "any", search.candidates.map((candidate) => candidate.verdict ?? "not judged"));
  $("filter-text").value = "";
  plot();
  tree();
  list();
  if (search.candidates.length) choose(search.candidates[0]);
}

function choices(id, all, names) {
  const any = made("option", all);
  any.value = "";
  $(id).replaceChildren(any, ...[...new Set(names)].sort().map((name) => made("option", name)));
}

function matching() {
  const text = $("filter-text").value, ended = $("filter-ended").value, verdict = $("filter-verdict").value;
  return search.candidates.filter((candidate) => candidate.text.includes(text) && (!ended || candidate.ended === ended)
    && (!verdict || (candidate.verdict ?? "not judged") === verdict));
}

function list() {
  const kept = matching();
  $("count").textContent = `${kept.length} of ${search.candidates.length}`;
  $("candidates").tBodies[0].replaceChildren(...kept.map((candidate) => {
    const row = made("tr"), button = made("button", `#${candidate.number}`), first = made("td");
    button.type = "button";
    button.onclick = () => choose(candidate);
    first.append(button);
    const fork = candidate.fork < 0 ? "–" : candidate.path.indexOf(candidate.fork) + 1;
    row.append(first, made("td", shown(candidate.score)), made("td", candidate.path.length), made("td", `${candidate.times}×`), made("td", fork),
      made("td", candidate.ended), made("td", candidate.verdict ?? "–", candidate.verdict === "passed" ? "passed" : candidate.verdict ? "failed" : ""));
    row.classList.toggle("chosen", candidate === chosen);
    candidate.row = row;
    return row;
  }));
  for (const candidate of search.candidates) candidate.line?.setAttribute("visibility", kept.includes(candidate) ? "visible" : "hidden");
}

function choose(candidate) {
  for (const [one, on] of [[chosen, false], [candidate, true]]) {
    one?.row?.classList.toggle("chosen", on);
    one?.line?.classList.toggle("chosen", on);
  }
  chosen = candidate;
  candidate.line?.parentNode.insertBefore(candidate.line, $("plot").querySelector(".cursor"));
  $("why").textContent = `#${candidate.number}: ${candidate.why}` + (candidate.fork < 0 ? "" : `, forked after ${candidate.path.indexOf(candidate.fork) + 1} tokens`)
    + (candidate.verdict ? `; verdict: ${candidate.verdict}` : "");
  failure(candidate.failure);
  answer(candidate);
  $("cursor").max = Math.max(candidate.path.length - 1, 0);
  $("cursor").value = $("cursor").max;
  point();
}

function failure(found) {
  $("failure").hidden = !found;
  if (!found) return;
  const rows = [["Failing test", `${found.index + 1} (${found.status})`], ["Input", found.input], ["Expected", found.expected], ["Got", found.got], ["Error", found.error]];
  $("failure").replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
}

function answer(candidate) {
  const parts = [];
  let run = 0, left = candidate.colours.length ? candidate.colours[0][1] : 0;
  candidate.path.forEach((node, i) => {
    const token = made("span"), text = search.texts[node];
    token.style.background = colour(search.scores[node]);
    token.title = `${search.scored_by} ${shown(search.scores[node])}, log-probability ${shown(search.logprobs[node])}`;
    if (node === candidate.fork) token.classList.add("fork");
    for (let at = 0; at < text.length;) {
      const take = run < candidate.colours.length ? Math.min(left, text.length - at) : text.length - at;
      token.append(made("span", text.slice(at, at + take), run < candidate.colours.length ? candidate.colours[run][0] : ""));
      at += take;
      left -= take;
      while (left <= 0 && run < candidate.colours.length) left = candidate.colours[++run]?.[1] ?? 0;
    }
    token.onclick = () => { $("cursor").value = i; point(); };
    parts.push(token);
  });
  $("answer").replaceChildren(...parts);
}

function point() {
  if (!chosen) return;
  const i = Number($("cursor").value), node = chosen.path[i];
  $("answer").querySelector(".at")?.classList.remove("at");
  $("answer").children[i]?.classList.add("at");
  const line = $("plot").querySelector(".cursor");
  if (line) { line.setAttribute("x1", i); line.setAttribute("x2", i); }
  const text = made("code", chosen.path.slice(Math.max(0, i - 12), i + 1).map((one) => search.texts[one]).join(""));
  $("under-cursor").replaceChildren(`Token ${i + 1} of ${chosen.path.length}: ${search.scored_by} ${shown(search.scores[node])}, log-probability ${shown(search.logprobs[node])} `, text);
}

function plot() {
  widest = Math.max(1, ...search.candidates.map((candidate) => candidate.path.length - 1));
  const svg = $("plot");
  svg.setAttribute("viewBox", `0 0 ${widest} 100`);
  const grid = [0, 25, 50, 75, 100].map((y) => drawn("line", { x1: 0, x2: widest, y1: y, y2: y }));
  const lines = search.candidates.map((candidate) => {
    let pen = "M", d = "";
    candidate.path.forEach((node, i) => {
      const score = search.scores[node];
      if (score === null) { pen = "M"; return; }
      d += `${pen}${i} ${((1 - score) * 100).toFixed(1)}`;
      pen = "L";
    });
    candidate.line = drawn("path", { d, class: candidate.verdict === "passed" ? "passed" : candidate.verdict ? "failed" : "" });
    return candidate.line;
  });
  svg.replaceChildren(...grid, ...lines, drawn("line", { class: "cursor", x1: 0, x2: 0, y1: 0, y2: 100 }));
}

function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// The tree as an outline: tokens without a fork are one line; a branch is built when it is first unfolded.
function tree() {
  const roots = search.children.get(-1) ?? [];
  $("tree").replaceChildren(...roots.map((node) => branch(node, roots.length === 1)));
}

function branch(first, unfolded) {
  let node = first, text = search.texts[node];
  while (search.children.get(node)?.length === 1 && !search.ends.has(node)) {
    node = search.children.get(node)[0];
    text += search.texts[node];
  }
  const below = search.children.get(node) ?? [], ends = search.ends.get(node) ?? [];
  const box = below.length ? made("details") : made("div");
  const label = below.length ? made("summary") : made("div", undefined, "leaf");
  const code = made("code", text.length > PREVIEW ? `${text.slice(0, PREVIEW - 1)}…` : text);
  code.style.background = colour(search.scores[node]);
  label.append(code, made("span", ` ${search.passing[node]} drawn, ${shown(search.scores[node])}`, "faint"));
  box.append(label);
  for (const candidate of ends) {
    const end = made("p", undefined, "end"), button = made("button", `#${candidate.number}`);
    button.type = "button";
    button.onclick = () => { choose(candidate); $("h-answer").scrollIntoView(); };
    end.append(button, ` ${candidate.why}`, made("span", candidate.verdict ? ` ${candidate.verdict}` : "", candidate.verdict === "passed" ? "passed" : "failed"));
    box.append(end);
  }
  if (below.length) {
    box.build = () => {
      if (box.build === null) return;
      box.build = null;
      box.append(...below.map((child) => branch(child, false)));
    };
    box.ontoggle = () => { if (box.open) box.build?.(); };
    if (unfolded) { box.build(); box.open = true; }
  }
  return box;
}

function foldAll(unfolded) {
  const waiting = [...$("tree").children];
  while (waiting.length) {
    const box = waiting.pop();
    if (box.tagName !== "DETAILS") continue;
    if (unfolded) box.build?.();
    box.open = unfolded;
    waiting.push(...box.children);
  }
}

function step(by) {
  const kept = matching(), at = kept.indexOf(chosen);
  const next = kept[Math.max(0, Math.min(kept.length - 1, at + by))];
  if (next) { choose(next); next.row.scrollIntoView({ block: "nearest" }); }
}

$("cursor").oninput = point;
$("plot").onpointermove = (event) => {
  const box = $("plot").getBoundingClientRect();
  $("cursor").value = Math.round(((event.clientX - box.left) / box.width) * widest);
  point();
};
for (const id of ["filter-text", "filter-ended", "filter-verdict"]) $(id).oninput = list;
$("unfold").onclick = () => foldAll(true);
$("fold").onclick = () => foldAll(false);
$("theme").onclick = () => {
  const root = document.documentElement, dark = root.classList.contains("dark") || (!root.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
  root.className = dark ? "light" : "dark";
};
document.onkeydown = (event) => {
  if (!search || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const cursor = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") { event.preventDefault(); $("filter-text").focus(); }
  else if (cursor) { $("cursor").value = Number($("cursor").value) + cursor; point(); }
};

if (data.searches.length > 1) {
  $("choose").hidden = false;
  $("searches").append(...data.searches.map((one, i) => { const option = made("option", one.title); option.value = i; return option; }));
  $("searches").onchange = () => open(data.searches[Number($("searches").value)]);
}
if (data.searches.length) open(data.searches[0]);
if (data.live) live();

// The server's own page: ask it, show how far it is, then the search.
function live() {
  $("ask").hidden = false;
  let asking = null;
  $("stop").onclick = () => asking?.abort();
  $("ask").onsubmit = async (event) => {
    event.preventDefault();
    asking = new AbortController();
    $("go").disabled = true;
    $("stop").disabled = false;
    $("settled").hidden = true;
    $("settled").textContent = "";
    $("progress").textContent = "Waiting for the model";
    try {
      const headers = { "Content-Type": "application/json" };
      if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
      const body = JSON.stringify({ statement: $("statement").value, n: Number($("n").value), max_tokens: Number($("tokens").value), policy: $("policy").value, seed: Number($("seed").value) });
      const reply = await fetch("search", { method: "POST", headers, body, signal: asking.signal });
      await lines(reply, news);
    } catch (error) {
      $("progress").textContent = error.name === "AbortError" ? "Stopped" : `The server did not answer: ${error.message}`;
    }
    $("go").disabled = false;
    $("stop").disabled = true;
  };
}

async function lines(reply, each) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) each(JSON.parse(part));
    if (done) { if (rest) each(JSON.parse(rest)); return; }
  }
}

function news(line) {
  if (line.error) $("progress").textContent = line.error.message;
  else if (line.settled) { $("settled").hidden = false; $("settled").textContent += line.settled; }
  else if (line.progress) $("progress").textContent = `${line.progress.live} growing, ${line.progress.finished} complete, ${line.progress.decoded_tokens} tokens in ${line.progress.seconds.toFixed(1)} s`;
  else if (line.search) { $("settled").hidden = true; open(line.search); }
}
