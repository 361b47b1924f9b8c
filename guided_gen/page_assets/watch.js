// A search while it runs: frames of what is new are taken as they come, and drawn at most once a screen refresh.
const DROPPED = ["pruned", "stopped"];
const CROWDED = 48; // rows; beyond them those that were dropped are not shown
const TAIL = 80; // characters of a candidate's last tokens
const TIME_LINE_MS = 250;
let watched = null;

function beginWatching() {
  watched = { texts: [], parents: [], depth: [], owner: [], samples: [], timeline: [], deepest: 1, best: null, drawing: false, drawnAt: -TIME_LINE_MS };
  $("watch").hidden = false;
  $("search").hidden = true;
  $("growing").replaceChildren();
  for (const id of ["best-why", "dropped"]) $(id).textContent = "";
  $("best-text").hidden = true;
  $("watch-time").replaceChildren();
}

function endWatching() {
  watched = null;
  $("watch").hidden = true;
}

function takeFrame(frame) {
  for (const [parent, text] of frame.nodes) {
    watched.texts.push(text);
    watched.parents.push(parent);
    watched.depth.push(parent < 0 ? 1 : watched.depth[parent] + 1);
  }
  for (const [i, leaf, fork, state, score, probability, examples] of frame.samples) {
    const sample = (watched.samples[i] ??= { begin: null });
    if (DROPPED.includes(state) && score === null) Object.assign(sample, { leaf, state, examples });
    else Object.assign(sample, { leaf, fork, state, score, probability, examples });
    own(sample, i);
    sample.changed = true;
  }
  watched.timeline.push([frame.seconds, frame.tokens, frame.live, frame.decisions]);
  watched.frame = frame;
  if (!watched.drawing) { watched.drawing = true; requestAnimationFrame(draw); }
}

// A token belongs to the first candidate that passes through it; a candidate's own line begins where it leaves the others'.
function own(sample, i) {
  let node = sample.leaf;
  while (node >= 0 && watched.owner[node] === undefined) { watched.owner[node] = i; node = watched.parents[node]; }
  const depth = sample.leaf < 0 ? 0 : watched.depth[sample.leaf];
  if (sample.begin === null && sample.leaf >= 0) sample.begin = node < 0 ? 0 : watched.depth[node];
  sample.depth = depth;
  watched.deepest = Math.max(watched.deepest, depth);
}

function draw(now) {
  if (!watched) return;
  watched.drawing = false;
  const { frame, samples } = watched, count = (states) => samples.filter((sample) => states.includes(sample.state)).length;
  const dropped = count(DROPPED), complete = count(["runs", "passes", "fails", "complete"]);
  $("progress").textContent = `${frame.live} growing, ${complete} complete, ${dropped} dropped · ${frame.tokens} tokens in ${frame.seconds.toFixed(1)} s`;
  samples.forEach((sample, i) => {
    sample.row ??= candidateRow(i);
    if (sample.changed || watched.scale !== watched.deepest) drawRow(sample);
    sample.row.box.hidden = samples.length > CROWDED && DROPPED.includes(sample.state);
  });
  watched.scale = watched.deepest;
  $("dropped").textContent = samples.length > CROWDED && dropped ? `${dropped} more were dropped.` : "";
  best();
  if (now - watched.drawnAt >= TIME_LINE_MS) { watched.drawnAt = now; timeLine($("watch-time"), watched.timeline); }
}

function candidateRow(i) {
  const row = { box: made("div", undefined, "grow"), state: made("span", undefined, "state"), track: made("span", undefined, "track"), own: made("span"), bar: made("span", undefined, "bar"), fill: made("span"), value: made("span"), tail: made("code", undefined, "tail"), text: made("span") };
  row.box.setAttribute("role", "listitem");
  row.track.append(row.own);
  row.bar.append(row.fill, row.value);
  row.tail.append(row.text);
  row.box.append(made("span", `#${i + 1}`), row.state, row.track, row.bar, row.tail);
  $("growing").append(row.box);
  return row;
}

function drawRow(sample) {
  const { row } = sample, begin = sample.begin ?? 0;
  sample.changed = false;
  row.box.dataset.state = sample.state;
  row.state.textContent = sample.examples ? `${sample.state} ${sample.examples[0]}/${sample.examples[1]}` : sample.state;
  row.own.style.left = `${(100 * begin) / watched.deepest}%`;
  row.own.style.width = `${(100 * (sample.depth - begin)) / watched.deepest}%`;
  row.track.title = `${sample.depth} tokens` + (begin ? `, the first ${begin} shared` : "");
  const value = sample.probability ?? sample.score;
  row.fill.style.width = percentOf(value);
  row.fill.style.background = value === null || value === undefined ? "" : `hsl(${Math.round(share(value) * 120)} 60% 45%)`;
  row.value.textContent = value === null || value === undefined ? "–" : share(value).toFixed(2);
  row.text.textContent = tail(sample.leaf);
}

// Scores are probabilities, or mean log-probabilities, shown as the probability of a token.
const share = (value) => (value < 0 ? Math.exp(value) : Math.min(value, 1));
const percentOf = (value) => (value === null || value === undefined ? "0" : `${100 * share(value)}%`);

function tail(leaf) {
  let text = "";
  for (let node = leaf; node >= 0 && text.length < TAIL; node = watched.parents[node]) text = watched.texts[node] + text;
  return text.replaceAll("\n", "⏎").slice(-TAIL);
}

// The best answer so far: complete ones first, by the examples that they pass, then by probability or score.
function best() {
  const rank = (sample) => [["runs", "passes", "fails", "complete"].includes(sample.state) ? 1 : 0, sample.examples ? sample.examples[0] / sample.examples[1] : 0, sample.probability ?? sample.score ?? -Infinity];
  let found = -1;
  watched.samples.forEach((sample, i) => {
    const x = rank(sample), y = found < 0 ? [-1] : rank(watched.samples[found]), at = x.findIndex((one, place) => one !== y[place]);
    if (sample.leaf >= 0 && at >= 0 && x[at] > y[at]) found = i;
  });
  if (found < 0) return;
  const sample = watched.samples[found], told = `${found} ${sample.leaf} ${sample.state} ${sample.probability}`;
  if (told === watched.best) return;
  watched.best = told;
  const likely = sample.probability === null || sample.probability === undefined ? "" : `, correct with probability ${percent(sample.probability)}`;
  const passes = sample.examples ? `, passes ${sample.examples[0]} of ${sample.examples[1]} examples` : "";
  $("best-why").textContent = `Best so far: #${found + 1}, ${sample.state}${passes}${likely}`;
  $("best-text").hidden = false;
  $("best-text").textContent = pathTo(watched, sample.leaf).map((node) => watched.texts[node]).join("");
  $("best-text").scrollTop = $("best-text").scrollHeight;
}
