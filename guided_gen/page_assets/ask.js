// The server's own page: ask it, watch the search, and find it again after a reload. Without a server: only what the page brings.
const STORED = "guided-gen:";
const FORM = ["statement", "n", "tokens", "seed"];
let asking = null;

function listSearches() {
  $("choose").hidden = searches.length < 2;
  $("searches").replaceChildren(...searches.map((one, i) => option(one.title || "a search", i)));
  $("searches").value = Math.max(searches.indexOf(search), 0);
}

$("searches").onchange = () => {
  const one = searches[Number($("searches").value)];
  open(one);
  if (one.name) history.replaceState(null, "", `#${one.name}`);
};
function live() {
  $("ask").hidden = false;
  $("n").max = data.live.most.n;
  $("tokens").max = data.live.most.tokens;
  $("policy").append(...data.live.policies.map((policy) => option(policy.name, policy.name)));
  $("policy").onchange = () => { policyForm({}); remember(); };
  restore();
  $("ask").oninput = remember;
  $("ask").onsubmit = (event) => { event.preventDefault(); if (!asking) ask(); };
  $("ask").onkeydown = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); $("ask").requestSubmit(); } };
  $("stop").onclick = stop;
  window.onhashchange = linked;
  linked();
  if (!$("statement").value) $("statement").focus();
}

// The settings of the chosen policy, as its class declares them.
function policyForm(values) {
  const policy = data.live.policies.find((one) => one.name === $("policy").value);
  $("policy-about").textContent = policy.about.replaceAll("`", "");
  $("policy-settings").replaceChildren(...policy.settings.map((setting) => {
    const label = made("label", undefined, "setting"), input = made("input");
    Object.assign(input, { type: "number", name: setting.name, step: setting.whole ? "1" : "any", placeholder: setting.default ?? "off", value: values[setting.name] ?? setting.default ?? "" });
    label.append(made("span", setting.name), input, made("span", setting.about, "faint"));
    return label;
  }));
}

const policySettings = () => Object.fromEntries([...$("policy-settings").querySelectorAll("input")].filter((input) => input.value !== "").map((input) => [input.name, input.value]));

function policyText() {
  const settings = Object.entries(policySettings()).map(([name, value]) => `${name}=${value}`).join(",");
  return $("policy").value + (settings && `:${settings}`);
}

function headers() {
  const told = { "Content-Type": "application/json" };
  if ($("key").value) told.Authorization = `Bearer ${$("key").value}`;
  return told;
}

async function ask() {
  asking = { abort: new AbortController(), name: null, focused: false };
  $("go").disabled = true;
  $("stop").disabled = false;
  $("progress").textContent = "Waiting for the model";
  beginWatching();
  try {
    const body = JSON.stringify({ statement: $("statement").value, n: Number($("n").value), max_tokens: Number($("tokens").value), policy: policyText(), seed: Number($("seed").value) });
    await lines(await fetch("search", { method: "POST", headers: headers(), body, signal: asking.abort.signal }), news);
  } catch (error) {
    $("progress").textContent = error.name === "AbortError" ? "Stopped before it began" : `The server did not answer: ${error.message}`;
  }
  if (!$("watch").hidden) { endWatching(); if (search) $("search").hidden = false; }
  const { focused } = asking;
  asking = null;
  $("go").disabled = false;
  $("stop").disabled = true;
  if (focused) $("go").focus();
}

// Once it is decoded it ends with its best answer so far; before, it is just not waited for.
async function stop() {
  asking.focused = document.activeElement === $("stop"); // a disabled button loses it
  $("stop").disabled = true;
  if (!asking?.name || !watched?.samples.length) asking?.abort.abort();
  else await fetch(`search/${asking.name}/stop`, { method: "POST", headers: headers(), body: "{}" });
}

async function lines(reply, each) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) each(JSON.parse(part), part);
    if (done) { if (rest) each(JSON.parse(rest), rest); return; }
  }
}

function news(line, text) {
  if (line.error) $("progress").textContent = line.error.message;
  else if (line.name) asking.name = line.name;
  else if (line.frame) takeFrame(line.frame);
  else if (line.search) {
    const { seconds } = line.search.about, tokens = line.search.about["decoded tokens"];
    endWatching();
    store(line.search.name, text);
    searches.unshift(line.search);
    open(line.search);
    listSearches();
    history.replaceState(null, "", `#${line.search.name}`);
    $("progress").textContent = `${line.search.candidates.reduce((sum, one) => sum + one.times, 0)} candidates, ${tokens} tokens in ${seconds.toFixed(1)} s`;
  }
}

// The browser's own storage holds what is typed, and the last searches, as many as fit. It may be switched off.
function remember() {
  const form = Object.fromEntries(FORM.map((id) => [id, $(id).value]));
  write(`${STORED}form`, JSON.stringify({ ...form, policy: $("policy").value, settings: policySettings() }));
}

function restore() {
  const form = JSON.parse(read(`${STORED}form`) ?? "{}");
  for (const id of FORM) if (form[id] !== undefined) $(id).value = form[id];
  if (data.live.policies.some((policy) => policy.name === form.policy)) $("policy").value = form.policy;
  policyForm(form.policy === $("policy").value ? form.settings : {});
  searches = names().map((name) => read(`${STORED}search:${name}`)).filter(Boolean).map((text) => JSON.parse(text).search);
}

const names = () => JSON.parse(read(`${STORED}searches`) ?? "[]");

function store(name, text) {
  let kept = names();
  while (!write(`${STORED}search:${name}`, text)) {
    if (!kept.length) return;
    remove(`${STORED}search:${kept.pop()}`);
  }
  for (const old of kept.slice(19)) remove(`${STORED}search:${old}`);
  write(`${STORED}searches`, JSON.stringify([name, ...kept.slice(0, 19)]));
}

// The search that the address names, of this browser or kept by the server; without a name the last one.
async function linked() {
  const name = location.hash.slice(1);
  let one = name ? searches.find((known) => known.name === name) : searches[0];
  if (name && !one) {
    try {
      const reply = await fetch(`search/${encodeURIComponent(name)}`, { headers: headers() }), line = await reply.json();
      if (line.error) throw new Error(line.error.message);
      one = line.search;
      searches.unshift(one);
    } catch (error) {
      $("progress").textContent = `This search cannot be shown: ${error.message}`;
    }
  }
  if (one && one !== search) open(one);
  listSearches();
}

function read(key) { try { return localStorage.getItem(key); } catch { return null; } }
function write(key, text) { try { localStorage.setItem(key, text); return true; } catch { return false; } }
function remove(key) { try { localStorage.removeItem(key); } catch { /* as if it were gone */ } }

if (searches.length) open(searches[0]);
listSearches();
if (data.live) live();
