// One search: its candidates, their traces and texts, and its tree.
const PREVIEW = 90;
let search = null, chosen = null, widest = 1;

function pathTo(one, node) {
  const path = [];
  for (; node >= 0; node = one.parents[node]) path.push(node);
  return path.reverse();
}

// What is computed of a search once, before it is shown or compared.
function prepared(one) {
  if (one.children) return one;
  one.children = new Map();
  one.parents.forEach((parent, node) => {
    if (!one.children.has(parent)) one.children.set(parent, []);
    one.children.get(parent).push(node);
  });
  one.ends = new Map();
  one.passing = new Array(one.parents.length).fill(0);
  one.candidates.forEach((candidate, i) => {
    candidate.path = pathTo(one, candidate.leaf);
    candidate.text = candidate.path.map((node) => one.texts[node]).join("");
    candidate.score = candidate.leaf < 0 ? null : one.scores[candidate.leaf];
    candidate.number = i + 1;
    candidate.path.forEach((node) => { one.passing[node] += candidate.times; });
    if (!one.ends.has(candidate.leaf)) one.ends.set(candidate.leaf, []);
    one.ends.get(candidate.leaf).push(candidate);
  });
  const rank = (candidate) => [candidate.verdict === "passed", candidate.ended === "eos", candidate.examples?.[0] ?? 0, candidate.likelihood?.probability ?? candidate.score ?? -1];
  one.candidates.sort((a, b) => { const x = rank(a), y = rank(b); for (let i = 0; i < 4; i++) if (x[i] !== y[i]) return y[i] - x[i]; return 0; });
  return one;
}

function open(one) {
  search = prepared(one);
  chosen = null;
  $("search").hidden = false;
  $("problem").hidden = !search.statement;
  $("text-of-problem").textContent = search.statement ?? "";
  $("score-name").textContent = search.scored_by;
  $("about").replaceChildren(...Object.entries(search.about).map(([name, value]) => {
    const row = made("tr");
    row.append(made("th", name), made("td", typeof value === "object" ? JSON.stringify(value) : value));
    return row;
  }));
  $("time").hidden = !search.timeline?.length;
  if (search.timeline?.length) timeLine($("search-time"), search.timeline);
  $("link").hidden = !search.name;
  choices("filter-ended", "any way", search.candidates.map((candidate) => candidate.ended));
  choices("filter-verdict", "any", search.candidates.map((candidate) => candidate.verdict ?? "not judged"));
  $("filter-text").value = "";
  plot();
  tree();
  list();
  if (search.candidates.length) choose(search.candidates[0]);
  compare();
}

// What the verdict says beside passed or failed.
function verdict(candidate) {
  const share = candidate.examples ? ` ${candidate.examples[0]}/${candidate.examples[1]}` : "";
  return candidate.verdict ? candidate.verdict + share : "–";
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
    const row = made("tr"), first = made("td");
    first.append(button(`#${candidate.number}`, () => choose(candidate)));
    const fork = candidate.fork < 0 ? "–" : candidate.path.indexOf(candidate.fork) + 1;
    row.append(first, made("td", verdict(candidate), candidate.verdict === "passed" ? "passed" : candidate.verdict ? "failed" : ""),
      made("td", percent(candidate.likelihood?.probability)), made("td", shown(candidate.score)), made("td", candidate.path.length),
      made("td", `${candidate.times}×`, "wide"), made("td", fork, "wide"), made("td", candidate.ended, "wide"));
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
    + (candidate.verdict ? `; verdict: ${verdict(candidate)}` : "") + likelihood(candidate.likelihood);
  $("copied").textContent = "";
  failure(candidate.failure);
  answer(candidate);
  $("cursor").max = Math.max(candidate.path.length - 1, 0);
  $("cursor").value = $("cursor").max;
  point();
}

function likelihood(known) {
  if (!known) return "";
  return `; correct with probability ${percent(known.probability)}` + (known.agreement === null ? "" : `, ${percent(known.agreement)} of the others do the same`);
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
  axes($("trace"), svg, widest, "tokens", 1, search.scored_by);
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
  svg.append(...lines, drawn("line", { class: "cursor", x1: 0, x2: 0, y1: 0, y2: 100 }));
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
    const end = made("p", undefined, "end"), go = button(`#${candidate.number}`, () => { choose(candidate); $("h-answer").scrollIntoView(); });
    end.append(go, ` ${candidate.why}`, made("span", candidate.verdict ? ` ${candidate.verdict}` : "", candidate.verdict === "passed" ? "passed" : "failed"));
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
document.onkeydown = (event) => {
  if (!search || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const cursor = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") { event.preventDefault(); $("filter-text").focus(); }
  else if (cursor) { $("cursor").value = Number($("cursor").value) + cursor; point(); }
};

$("copy").onclick = () => copied(chosen.program, "program");
$("link").onclick = () => copied(`${location.origin}${location.pathname}#${search.name}`, "link");
$("download").onclick = () => {
  const link = made("a");
  link.href = URL.createObjectURL(new Blob([`${chosen.program.trimEnd()}\n`], { type: "text/x-python" }));
  link.download = "solution.py";
  link.click();
  URL.revokeObjectURL(link.href);
};

async function copied(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    $("copied").textContent = `The ${what} is copied`;
  } catch {
    $("copied").textContent = `The browser does not let the page copy the ${what}`;
  }
}
